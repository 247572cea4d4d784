"""When the session's sums (VWAP) begin anew: crypto at midnight UTC, equities at the venue's next open.

Owns what was last told to the market. The one idea: a reset that waits for its first row is not told again, or an
answer of the venue between the moment and that row would move it to the next day.
"""

from __future__ import annotations

from hands.core.events import SessionReport
from hands.core.market import Market
from hands.core.units import NS_PER_S

DAY_NS = 86_400 * NS_PER_S
MINUTE_NS = 60 * NS_PER_S


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
        open_ns = on_the_minute(report.next_open_ns)
        if report.is_open or open_ns == self._next_open_ns:
            return
        self._next_open_ns = open_ns
        for symbol, index in self._market.index.items():
            if "/" not in symbol:
                self._market.set_session(index, open_ns, 0)


def on_the_minute(at_ns: int) -> int:
    """Return an open by the venue's clock, which the market goes by.

    A report's times were moved to ours by an estimate, off by some milliseconds; sessions begin on whole minutes. Without
    this, the first trades of a session, or its whole first minute, would count in the one before.
    """
    return (at_ns + MINUTE_NS // 2) // MINUTE_NS * MINUTE_NS
