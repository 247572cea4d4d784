"""A limits file that has changed: taken up where it only tightens, refused whole where anything loosens.

Owns the comparison of two limits files, key by key in the contract's direction, and what follows while running: the
swap at this point of the order of events, the breakers looked at again under the new limits, or the refusal that names
what would loosen. After a restart the file is law; then only what it loosens against the last session is told. May not
read files. The one idea: tighter is the only direction while running, and what has no direction needs a restart too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from hands.core.breakers import latch_agent, watch_losses
from hands.core.capabilities import CAPABILITY_KEYS, loosened
from hands.core.commands import Alert, AnyCommand, Record
from hands.core.events import LimitsRead
from hands.core.limit_keys import LIMIT_KEYS, SESSION_KEYS, LimitKey
from hands.core.limits import AgentLimits, LimitsError, LimitsFile, read_limits
from hands.core.protection import supervise
from hands.core.state import LimitsNote, LimitsRefused, State
from hands.core.vocab import TradeState

Out = list[AnyCommand]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference between two limits files. `looser` is also what has no direction: it takes a restart."""

    where: str
    before: str
    after: str
    looser: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.before} -> {self.after}"


# --- the comparison ----------------------------------------------------------------------------------------


def compare(before: LimitsFile, after: LimitsFile) -> list[Change]:
    """Return every difference, in the order of the file."""
    return [
        *_numbers("hard_limits", LIMIT_KEYS, before.hard, after.hard),
        *_lists(before, after),
        *_symbols(before, after),
        *_numbers("session", SESSION_KEYS, before.session, after.session),
        *_roll(before, after),
        *_agents(before, after),
    ]


def value_text(key: LimitKey, stored: int) -> str:
    """Return a key's number as the file would have it."""
    return f"{(Decimal(stored) / key.unit.scale).normalize():f}"


def _numbers(
    where: str, keys: Sequence[LimitKey], before: msgspec.Struct, after: msgspec.Struct
) -> Iterator[Change]:
    for key in keys:
        old, new = getattr(before, key.name), getattr(after, key.name)
        if old != new:
            yield Change(
                where=f"{where}.{key.name}",
                before=value_text(key, old),
                after=value_text(key, new),
                looser=(new - old) * key.tighter <= 0,
            )


def _lists(before: LimitsFile, after: LimitsFile) -> Iterator[Change]:
    for symbol in sorted(set(before.allow) ^ set(after.allow)):
        added = symbol in after.allow
        words = ("not there", "allowed") if added else ("allowed", "not there")
        yield Change(where=f'symbols.allow "{symbol}"', before=words[0], after=words[1], looser=added)
    if before.allow_short is not after.allow_short:
        yield Change(
            where="symbols.allow_short",
            before=str(before.allow_short).lower(),
            after=str(after.allow_short).lower(),
            looser=after.allow_short,
        )


def _symbols(before: LimitsFile, after: LimitsFile) -> Iterator[Change]:
    """Compare what single symbols are held to; of a symbol that is allowed no more nothing can loosen."""
    hard = set(_numbers("", LIMIT_KEYS, before.hard, after.hard))
    for symbol in sorted(before.symbols.keys() | after.symbols.keys()):
        if symbol in after.allow:
            where = f'symbols."{symbol}"'
            yield from _unless_said(where, hard, before.of_symbol(symbol), after.of_symbol(symbol))


def _unless_said(where: str, hard: set[Change], before: Any, after: Any) -> Iterator[Change]:
    """Compare merged limits, without repeating what the account's own change of the same key already says."""
    for change in _numbers("", LIMIT_KEYS, before, after):
        if change not in hard:
            yield msgspec.structs.replace(change, where=where + change.where)


def _roll(before: LimitsFile, after: LimitsFile) -> Iterator[Change]:
    old, new = (f"{file.roll_time} {file.roll_zone}" for file in (before, after))
    if old != new:
        yield Change(where="day.roll", before=old, after=new, looser=True)


def _agents(before: LimitsFile, after: LimitsFile) -> Iterator[Change]:
    """Compare the agents; one that comes or goes, or belongs to another user, needs its folder looked at: a restart."""
    hard = set(_numbers("", LIMIT_KEYS, before.hard, after.hard))
    for name in sorted(before.agents.keys() | after.agents.keys()):
        old, new = before.agents.get(name), after.agents.get(name)
        where = f"agents.{name}"
        if old is None or new is None:
            words = ("not there", "there") if old is None else ("there", "not there")
            yield Change(where=where, before=words[0], after=words[1], looser=True)
            continue
        if old.user != new.user:
            yield Change(where=f"{where}.user", before=str(old.user), after=str(new.user), looser=True)
        yield from _unless_said(where, hard, old.limits, new.limits)
        yield from _capabilities(where, old, new)


def _capabilities(where: str, before: AgentLimits, after: AgentLimits) -> Iterator[Change]:
    wider = loosened(before.may, after.may)
    for name in sorted(CAPABILITY_KEYS):
        old, new = getattr(before.may, name), getattr(after.may, name)
        if old != new:
            yield Change(where=f"{where}.{name}", before=_words(old), after=_words(new), looser=name in wider)


def _words(value: Any) -> str:
    if value is None:
        return "not said"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def narrowed(limits: LimitsFile, symbols: tuple[str, ...] | None) -> LimitsFile:
    """Return limits whose allow-list the command line narrows to `symbols`."""
    if symbols is None:
        return limits
    return msgspec.structs.replace(limits, allow=tuple(s for s in symbols if s in limits.allow))


# --- while running -----------------------------------------------------------------------------------------


def _limits_read(state: State, event: LimitsRead, out: Out) -> None:
    """Take up a limits file, or say what speaks against it; either is told once for the same content."""
    note = LimitsNote(text=event.text, symbols=event.symbols)
    if event.at_start:
        _tell_what_loosened(state, out)
        _keep(state, note)
        return
    sha256 = "" if event.problem else hashlib.sha256(event.text.encode()).hexdigest()
    if sha256 == state.limits.sha256:
        _refuse(state, None, out)
        return
    found = _read(event)
    if isinstance(found, LimitsFile):
        changes = compare(state.limits, found)
        looser = tuple(f"{change} (looser: takes a restart)" for change in changes if change.looser)
        if not looser:
            _refuse(state, None, out)
            _take(state, found, changes, out)
            _keep(state, note)
            return
        found = looser
    _refuse(state, LimitsRefused(sha256=sha256, since_ns=state.now_ns, problems=found), out)


def _read(event: LimitsRead) -> LimitsFile | tuple[str, ...]:
    """Return what the file says, or everything that is wrong with it."""
    if event.problem:
        return (event.problem,)
    try:
        return narrowed(read_limits(event.text), event.symbols)
    except LimitsError as error:
        return tuple(error.problems)


def _keep(state: State, note: LimitsNote) -> None:
    if note != state.limits_note:
        state.limits_note = note
        state.changed["limits", ""] = note


def _tell_what_loosened(state: State, out: Out) -> None:
    """Hold the limits of this start against the last session's: loosening by a restart is allowed, and is seen."""
    last = state.limits_note
    if last is None:
        return
    try:
        before = narrowed(read_limits(last.text), last.symbols)
    except LimitsError:  # another version's file: it had other keys
        message = "the last session's limits were of another version; what this start loosens is not known"
        out.append(Alert(level="warning", code="LIMITS_LOOSENED", message=message))
        return
    state.limits_loosened = tuple(str(change) for change in compare(before, state.limits) if change.looser)
    if state.limits_loosened:
        message = f"looser than in the last session, or another way: {'; '.join(state.limits_loosened)}"
        out.append(Alert(level="warning", code="LIMITS_LOOSENED", message=message))
        out.append(_record(state, "loosened", message))


def _take(state: State, found: LimitsFile, changes: list[Change], out: Out) -> None:
    """Let the new limits hold from here on, and look again at everything that they are a reason for."""
    before = state.limits
    gone = {symbol: own for symbol, own in before.symbols.items() if symbol not in found.allow}
    state.limits = msgspec.structs.replace(
        found, symbols=found.symbols | gone
    )  # what is held there stays as tight
    words = "; ".join(str(change) for change in changes) or "no value changed"
    message = f"the limits file is taken up ({found.sha256[:12]}): {words}"
    out.append(Alert(level="info", code="LIMITS_TIGHTENED", message=message))
    out.append(_record(state, "tightened", message))
    watch_losses(state, out)
    for agent in list(state.agents):
        latch_agent(state, out, agent, state.limits.effective(agent, "").rejections_latch)
    for ticket in list(state.tickets.values()):
        if ticket.state is not TradeState.ARMED:  # a touch is judged by them when it fires
            supervise(state, ticket, out)


def _refuse(state: State, refused: LimitsRefused | None, out: Out) -> None:
    before = state.limits_refused
    if (before and (before.sha256, before.problems)) == (refused and (refused.sha256, refused.problems)):
        return
    state.limits_refused = refused
    if refused is None:
        message = "the limits file is no longer at odds with the limits in force"
        out.append(Alert(level="info", code="LIMITS_REFUSED", message=message))
        return
    message = f"the changed limits file is not taken up, the old limits hold: {'; '.join(refused.problems)}"
    out.append(Alert(level="warning", code="LIMITS_REFUSED", message=message))
    out.append(_record(state, "refused", message))


def _record(state: State, event: str, detail: str) -> Record:
    row = {"at_ns": state.now_ns, "state": str(state.trading_state), "reason": "LIMITS", "event": event}
    return Record(table="states", row=row | {"detail": detail})


HANDLERS: Final[dict[type[msgspec.Struct], Callable[[State, Any, Out], None]]] = {LimitsRead: _limits_read}
"""What `decide` does with the events that only concern this room."""
