"""The parts of the exchanges' day: before the market, the session itself, after it, and closed.

Owns which part a time is in, from when and until when; the days themselves are the calendar's. The names are those of
the venue's own clock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hands.core.units import Ns
from hands.sim.venue.calendar import TradingDay, new_york_date, trading_days, unix_ns

_LOOK_AHEAD: Final = dt.timedelta(days=14)


class Phase(StrEnum):
    """Which part of the exchanges' day a time is in."""

    PRE = "pre"
    CORE = "core"
    POST = "post"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A phase and its bounds; a night begins with the midnight in it, or with the end of the day before that."""

    phase: Phase
    from_ns: Ns
    until_ns: Ns


def stretch_at(t_ns: int) -> Stretch:
    """Return the stretch that `t_ns` is in."""
    date = new_york_date(t_ns)
    from_ns = unix_ns(date, dt.time())
    for day in trading_days(date, date + _LOOK_AHEAD):
        for phase, until_ns in _ends(day):
            if t_ns < until_ns:
                return Stretch(phase, from_ns, until_ns)
            from_ns = until_ns
    raise AssertionError("there is a trading day in every fortnight")


def _ends(day: TradingDay) -> Iterator[tuple[Phase, Ns]]:
    """Yield the phases of a trading day in their order, the night before it included, and when each ends."""
    yield Phase.CLOSED, day.session_open_ns
    yield Phase.PRE, day.open_ns
    yield Phase.CORE, day.close_ns
    yield Phase.POST, day.session_close_ns
