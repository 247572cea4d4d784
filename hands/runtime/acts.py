"""The operator's acts: what a request over the control socket asks to be done, read strictly.

Owns the reading: which members an act has, prices and quantities from their text, and how a trade is found by the
beginning of its id. May not do anything. The one idea: whatever cannot be meant is said at once, every problem of it,
and nothing happens; what can be meant but not done is the core's to say (`OperatorAnswer`).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from hands.core.events import OperatorAction, OperatorRequest
from hands.core.members import AMOUNT_MAX, SECONDS_MAX
from hands.core.state import State
from hands.core.units import NANO, Ns, NumberError, Price, Qty, nano

PREFIX_MIN = 6
"""So many characters of an id are needed, at least."""

NAMED_MAX = 5
REASON_MAX = 200
ID = re.compile(r"[0-9a-f-]{6,36}")
ID_LENGTH = 36


class NotMeant(ValueError):  # noqa: N818  (says what is the case)
    """A request that cannot be carried out as it stands. `usage`: it cannot be meant at all."""

    def __init__(self, problems: list[str], *, usage: bool = True) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.usage = usage


class Kind(msgspec.Struct, frozen=True):
    """An act: what it is to the core, and the members of its request, those that are needed first."""

    action: OperatorAction
    needed: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()


KINDS: Mapping[str, Kind] = {
    "cancel": Kind(OperatorAction.CANCEL, ("target",)),
    "close": Kind(OperatorAction.CLOSE, ("target",), ("qty",)),
    "amend": Kind(OperatorAction.AMEND, ("target",), one_of=("stop_loss", "take_profit", "max_hold_seconds")),
    "flatten": Kind(OperatorAction.FLATTEN, (), ("symbol", "reason")),
    "reduce_only": Kind(OperatorAction.REDUCE_ONLY, (), ("reason",)),
    "adopt": Kind(OperatorAction.ADOPT, ("symbol", "stop_loss"), ("take_profit",)),
}

NUMBERS = ("qty", "stop_loss", "take_profit", "max_hold_seconds")
TEXTS = ("target", "symbol", "reason")


def read_act(state: State, request: Mapping[str, Any], now_ns: Ns) -> OperatorRequest:
    """Return what `request` asks for as an event. An adoption gets a fresh id.

    Raises:
        NotMeant: it has members it may not have, lacks one, a number is none, or it names no trade that is known.
    """
    kind = KINDS[request["do"]]
    given = {name: value for name, value in request.items() if name != "do" and value is not None}
    known = (*kind.needed, *kind.optional, *kind.one_of)
    problems = [f"{request['do']} takes no {name[:64]!r}" for name in given if name not in known]
    problems += [f"{request['do']} needs {name}" for name in kind.needed if name not in given]
    if kind.one_of and not any(name in given for name in kind.one_of):
        problems.append(f"{request['do']} needs at least one of {', '.join(kind.one_of)}")
    numbers: dict[str, int] = {}
    for name in NUMBERS:
        if name in given and name in known:
            _number(name, given[name], numbers, problems)
    texts: dict[str, Any] = {name: given[name] for name in TEXTS if name in given and name in known}
    problems += [f"{name} must be text" for name, value in texts.items() if not isinstance(value, str)]
    if problems:
        raise NotMeant(problems)
    return OperatorRequest(
        ts_ns=now_ns,
        action=kind.action,
        target=_target(state, texts),
        qty=Qty(numbers["qty"]) if "qty" in numbers else None,
        stop_loss=Price(numbers["stop_loss"]) if "stop_loss" in numbers else None,
        take_profit=Price(numbers["take_profit"]) if "take_profit" in numbers else None,
        max_hold_ns=numbers.get("max_hold_seconds"),
        reason=texts.get("reason", "")[:REASON_MAX],
        new_id=str(uuid.uuid4()) if kind.action is OperatorAction.ADOPT else "",
    )


def _target(state: State, texts: Mapping[str, str]) -> str | None:
    if "target" in texts:
        return find_target(state, texts["target"])
    return texts["symbol"].upper() if "symbol" in texts else None


def _number(name: str, text: Any, numbers: dict[str, int], problems: list[str]) -> None:
    """Read a positive decimal number into nano-units (seconds become nanoseconds), bounded as in a document."""
    most = SECONDS_MAX if name == "max_hold_seconds" else AMOUNT_MAX
    try:
        value = nano(text) if isinstance(text, str) else None
    except NumberError as error:
        problems.append(f"{name}: {error}")
        return
    if value is None:
        problems.append(f"{name} must be the text of a number")
    elif value <= 0:
        problems.append(f"{name} must be above 0, not {text}")
    elif value > most * NANO:
        problems.append(f"{name} must be at most {most}, not {text}")
    else:
        numbers[name] = value


# --- which trade ---------------------------------------------------------------------------------------------


def find_target(state: State, text: str) -> str:
    """Return the symbol, or the whole id of the one trade, that `text` names.

    A trade that is live (or waits for its quote) comes before those that are over: of them one is named only so that the core can say so.

    Raises:
        NotMeant: it is neither, no trade's id begins so, or several do.
    """
    symbol = text.upper()
    if symbol in state.market.index or symbol in state.positions or symbol in state.foreign:
        return symbol
    start = text.lower()
    if not ID.fullmatch(start):
        raise NotMeant(
            [f"{text[:64]!r} is no symbol that is known, nor at least {PREFIX_MIN} characters of an id"]
        )
    if len(start) == ID_LENGTH:
        return start
    waiting = {key: each.ticket for queue in state.waiting.values() for key, each in queue.items()}
    for book in (state.tickets | waiting, state.finished):
        found = [intent_id for intent_id in book if intent_id.startswith(start)]
        if len(found) == 1:
            return found[0]
        if found:
            named = ", ".join(f"{i} ({book[i].symbol} {book[i].state})" for i in found[:NAMED_MAX])
            more = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
            raise NotMeant([f"several begin with {start}: {named}{more}"])
    raise NotMeant([f"the daemon knows no trade whose id begins with {start}"], usage=False)
