"""When the session's sums (VWAP) begin anew: crypto at midnight UTC, equities at the venue's next open.

Owns what was last told to the market. The one idea: a reset that waits for its first row is not told again, or an
answer of the venue between the moment and that row would move it to the next day.
"""

from __future__ import annotations

from hands.core.events import SessionReport
from hands.core.market import Market
from hands.core.units import NS_PER_S

DAY_NS = 86_400 * NS_PER_S
SAME_OPEN_NS = 60 * NS_PER_S
"""The venue's times are moved to our clock anew in every report; by less than this it is the same open."""


class SessionResets:
    """Tells `market` when sessions begin; `now_ns` is the engine's time."""

    def __init__(self, market: Market, now_ns: int) -> None:
        self._market = market
        self._next_open_ns = 0
        midnight_ns = (now_ns // DAY_NS + 1) * DAY_NS
        for symbol, index in market.index.items():
            if "/" in symbol:
                market.set_session(index, midnight_ns, DAY_NS)

    def take(self, report: SessionReport) -> None:
        """Note the next open of the equity session, once."""
        if report.is_open or abs(report.next_open_ns - self._next_open_ns) < SAME_OPEN_NS:
            return
        self._next_open_ns = report.next_open_ns
        for symbol, index in self._market.index.items():
            if "/" not in symbol:
                self._market.set_session(index, report.next_open_ns, 0)
