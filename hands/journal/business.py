"""Open business: what the journal's table `state` must hold, as it follows from a state.

Owns the way from a state to that table, and the comparison of two of them. May not write it. The one idea: the table is
what the next start knows, so it is a part of the proof: what one session left must be what the next began with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from hands.core.state import BreakerBook, DayBook, Performance, State, StoppedOut, encode

Entities = dict[tuple[str, str], bytes]
"""By kind and key: what the table holds."""

_DEFAULTS: Final[Entities] = {
    ("day", ""): encode(DayBook()),
    ("performance", ""): encode(Performance()),
    ("breakers", ""): encode(BreakerBook()),
}
"""What is not written before it has changed."""


class Unlike(NamedTuple):
    """One entry of two tables that should be the same; None where one has none."""

    kind: str
    key: str
    left: bytes | None
    right: bytes | None


def entities_of(state: State) -> Entities:
    """Return the table of a session's first state, which holds nothing but what was restored from it."""
    return {key: encode(entity) for key, entity in _entities(state)}


def _entities(state: State) -> Iterator[tuple[tuple[str, str], msgspec.Struct]]:
    for ticket in (*state.tickets.values(), *state.finished.values()):
        yield ("ticket", ticket.intent_id), ticket
    books: dict[str, Mapping[str, msgspec.Struct]] = {
        "change": state.changes,
        "seen": state.seen,
        "agent": state.agents,
        "reason": state.reasons,
        "halt": state.halts,
        "accepted": {accepted.intent_id: accepted for accepted in state.accepted},
        "stopped_out": {symbol: StoppedOut(at_ns=at_ns) for symbol, at_ns in state.stopped_out.items()},
    }
    for kind, book in books.items():
        for key, entity in book.items():
            yield (kind, key), entity
    singles = {"day": state.day, "performance": state.performance, "breakers": state.breakers}
    for kind, single in singles.items():
        yield (kind, ""), single
    if state.limits_note is not None:
        yield ("limits", ""), state.limits_note


def first_unlike(left: Entities, right: Entities) -> Unlike | None:
    """Return the first entry, in order of kind and key, in which two tables are not the same."""
    for kind, key in sorted(left.keys() | right.keys()):
        default = _DEFAULTS.get((kind, key))
        one, other = left.get((kind, key), default), right.get((kind, key), default)
        if one != other:
            return Unlike(kind, key, one, other)
    return None
