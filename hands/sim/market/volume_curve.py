"""How busy a stock is through the day: a U between open and close, little around it, nothing at night.

Owns a factor for how much happens at a time, by the exchange's calendar and New York time. The one idea: over a
regular session the factor averages one, so a rate keeps its meaning. Coins know no hours and do not ask.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hands.core.units import NS_PER_S
from hands.sim.venue.calendar import (
    SESSION_CLOSE,
    SESSION_OPEN,
    TradingDay,
    new_york_date,
    trading_days,
    unix_ns,
)

LOOK_AHEAD: Final = dt.timedelta(days=14)
EXTENDED: Final = 0.05
MIDDAY, EDGES = 0.5, 1.5
"""The factor is MIDDAY + EDGES x u^2, u running from -1 at the open to 1 at the close: 2 at either end, 1 on average."""


class Phase(StrEnum):
    """Which part of the exchange's day a time is in."""

    BEFORE = "pre-market"
    REGULAR = "regular"
    AFTER = "post-market"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A phase and the session it belongs to."""

    phase: Phase
    from_ns: int
    until_ns: int


class VolumeCurve:
    """The factor and the phase of any time; cheap for times that are close together."""

    def __init__(self) -> None:
        self._stretch = _Stretch(Phase.CLOSED, 0, 0)

    def activity(self, t_ns: int) -> float:
        """Return how much happens at `t_ns` compared with a session's average; 0 while the exchanges are closed."""
        stretch = self._at(t_ns)
        if stretch.phase is Phase.REGULAR:
            u = 2 * (t_ns - stretch.from_ns) / (stretch.until_ns - stretch.from_ns) - 1
            return MIDDAY + EDGES * u * u
        return 0.0 if stretch.phase is Phase.CLOSED else EXTENDED

    def phase(self, t_ns: int) -> Phase:
        """Return which part of the exchange's day `t_ns` is in."""
        return self._at(t_ns).phase

    def stretched(self, t_ns: int, average_s: float) -> float:
        """Return how long it takes from `t_ns` for what takes `average_s` at a session's average, nights left out."""
        at_ns = t_ns
        while True:
            activity = self.activity(at_ns)
            left_s = (self._stretch.until_ns - at_ns) / NS_PER_S
            if average_s < activity * left_s:
                return (at_ns - t_ns) / NS_PER_S + average_s / activity
            average_s -= activity * left_s
            at_ns = self._stretch.until_ns

    def _at(self, t_ns: int) -> _Stretch:
        if not self._stretch.from_ns <= t_ns < self._stretch.until_ns:
            self._stretch = _stretch(t_ns)
        return self._stretch


def _stretch(t_ns: int) -> _Stretch:
    date = new_york_date(t_ns)
    earlier_ns = 0
    for day in trading_days(date, date + LOOK_AHEAD):
        for phase, until_ns in _ends(day):
            if t_ns < until_ns:
                return _Stretch(phase, earlier_ns, until_ns)
            earlier_ns = until_ns
    raise AssertionError("there is a trading day in every fortnight")


def _ends(day: TradingDay) -> tuple[tuple[Phase, int], ...]:
    """Return the phases of a trading day in their order, the night before it included, and when each ends."""
    return (
        (Phase.CLOSED, unix_ns(day.date, SESSION_OPEN)),
        (Phase.BEFORE, day.open_ns),
        (Phase.REGULAR, day.close_ns),
        (Phase.AFTER, unix_ns(day.date, SESSION_CLOSE)),
    )
