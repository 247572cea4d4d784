"""What one agent may do, beside how much: which symbols, which directions, how much a day, until when.

Owns the keys of `[agents.<name>]` that are no hard limits, their strict reading, and which of two readings is looser.
May not judge: `hands.core.checks` and `hands.core.budgets` ask, `hands.core.admission` turns away who has expired. The
one idea: every key narrows what the account may do, and an absent key narrows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from hands.core.intents import Refusal
from hands.core.members import parse_time_ns
from hands.core.units import Ns, NumberError, Usd, nano_from_decimal
from hands.core.vocab import Code, Direction

DAILY_NOTIONAL_MAX_USD = 10**12
BOTH_WAYS = (Direction.LONG, Direction.SHORT)


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What one agent may do; None: whatever the account may. `expires_ns` is Unix time."""

    symbols: tuple[str, ...] | None = None
    directions: tuple[Direction, ...] = BOTH_WAYS
    daily_notional_usd: Usd | None = None
    expires: str = ""
    expires_ns: Ns | None = None


UNBOUNDED = Capabilities()
"""An agent of which the limits file says nothing more."""

CAPABILITY_KEYS = frozenset({"symbols", "directions", "daily_notional_usd", "expires"})


def read_capabilities(
    table: dict[str, Any], allow: Collection[str], where: str, problems: list[str]
) -> Capabilities:
    """Return what the table of one agent says of its capabilities; what is wrong with it goes to `problems`."""
    found: dict[str, Any] = {}
    readers: dict[str, Callable[[Any], dict[str, Any]]] = {
        "symbols": lambda value: {"symbols": _symbols(value, allow)},
        "directions": lambda value: {"directions": _directions(value)},
        "daily_notional_usd": lambda value: {"daily_notional_usd": _notional(value)},
        "expires": _expires,
    }
    for key, read in readers.items():
        if key in table:
            try:
                found |= read(table[key])
            except ValueError as error:
                problems.append(f"{where}.{key}: {error}")
    return Capabilities(**found)


def _symbols(value: Any, allow: Collection[str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(symbol, str) for symbol in value):
        raise ValueError(f'must be a list of symbols like ["AAPL"], found {value!r}')
    strange = [symbol for symbol in value if symbol not in allow]
    if strange:
        raise ValueError(f"may only name symbols of [symbols] allow; {', '.join(strange)} is not there")
    if len(set(value)) != len(value):
        raise ValueError("a symbol stands there twice")
    return tuple(value)


def _directions(value: Any) -> tuple[Direction, ...]:
    if not isinstance(value, list) or not value or any(found not in BOTH_WAYS for found in value):
        raise ValueError(f'must be ["LONG"], ["SHORT"] or ["LONG", "SHORT"], found {value!r}')
    return tuple(way for way in BOTH_WAYS if way in value)


def _notional(value: Any) -> Usd:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError(f"must be a number of dollars, found {value!r}")  # noqa: TRY004  (one kind of refusal)
    amount = Decimal(value)
    if not amount.is_finite() or not 0 <= amount <= DAILY_NOTIONAL_MAX_USD:
        raise ValueError(f"must be in 0..1e12, found {value}")
    try:
        return Usd(nano_from_decimal(amount))
    except NumberError as error:
        raise ValueError(str(error)) from error


def _expires(value: Any) -> dict[str, Any]:
    """Return the moment, written as a string like a document's timestamp or as TOML's own date-time."""
    text = value.isoformat() if isinstance(value, datetime) else value
    if not isinstance(text, str):
        raise ValueError(f'must be a time like "2026-12-31T22:00:00Z", found {value!r}')  # noqa: TRY004
    return {"expires": text, "expires_ns": parse_time_ns(text)}


def expired(may: Capabilities, agent: str, wall_ns: int) -> Refusal | None:
    """Return why nothing of an agent is read any more at `wall_ns` (Unix time), None where it still is."""
    if may.expires_ns is None or wall_ns < may.expires_ns:
        return None
    return Refusal(code=Code.UNAUTHORISED, message=f"agent {agent} was allowed to trade until {may.expires}")


def loosened(before: Capabilities, after: Capabilities) -> list[str]:
    """Return the keys by which `after` allows what `before` did not."""
    wider = []
    if before.symbols is not None and (after.symbols is None or set(after.symbols) - set(before.symbols)):
        wider.append("symbols")
    if set(after.directions) - set(before.directions):
        wider.append("directions")
    if _grows(before.daily_notional_usd, after.daily_notional_usd):
        wider.append("daily_notional_usd")
    if _grows(before.expires_ns, after.expires_ns):
        wider.append("expires")
    return wider


def _grows(before: int | None, after: int | None) -> bool:
    return before is not None and (after is None or after > before)
