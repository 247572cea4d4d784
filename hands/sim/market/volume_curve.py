"""How busy a stock is through the day: a U between open and close, little around it, nothing at night.

Owns a factor for how much happens at a time, by the exchange's calendar and New York time. The one idea: over a
regular session the factor averages one, so a rate keeps its meaning. Coins know no hours and do not ask.
"""

from __future__ import annotations

from typing import Final

from hands.core.units import NS_PER_S, Ns
from hands.sim.market.phases import Phase, Stretch, stretch_at

EXTENDED: Final = 0.05
MIDDAY, EDGES = 0.5, 1.5
"""The factor is MIDDAY + EDGES x u^2, u running from -1 at the open to 1 at the close: 2 at either end, 1 on average."""


class VolumeCurve:
    """The factor and the phase of any time; cheap for times that are close together."""

    def __init__(self) -> None:
        self._stretch = Stretch(Phase.CLOSED, Ns(0), Ns(0))

    def activity(self, t_ns: int) -> float:
        """Return how much happens at `t_ns` compared with a session's average; 0 while the exchanges are closed."""
        stretch = self._at(t_ns)
        if stretch.phase is Phase.CORE:
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

    def _at(self, t_ns: int) -> Stretch:
        if not self._stretch.from_ns <= t_ns < self._stretch.until_ns:
            self._stretch = stretch_at(t_ns)
        return self._stretch
