"""How far a feed's stamps are from our clock: measured from its messages, robustly.

Owns that one number per feed. The one idea: receipt minus stamp is the clocks' offset plus the way, and the way is
shortest for the quickest message; so the offset is a running minimum. A single stamp from the future must not be
believed, therefore the minima of single seconds are taken and the lowest tenth of them is left out; and a feed that has
fallen behind must not be taken for a slow clock, therefore an hour remembers its best minute.

A venue's clock that jumps ahead is noticed within seconds, one that jumps back within the hour; until then its quotes
count as older than they are, never as younger.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from hands.core.units import NS_PER_MS, NS_PER_S

SAMPLE_EVERY_NS: Final = 20 * NS_PER_MS
SECONDS_KEPT: Final = 60
SECONDS_NEEDED: Final = 3
MINUTES_KEPT: Final = 60
LEFT_OUT: Final = 10
"""One in so many of the seconds' minima, the lowest, is not believed; of fewer than so many, one."""


class ClockOffset:
    """Takes samples and says the offset; `offset_ns` is None until a few seconds have been seen."""

    def __init__(self) -> None:
        self.offset_ns: int | None = None
        self.due_ns = 0
        self._second = -1
        self._least_ns = 0
        self._seconds: deque[int] = deque(maxlen=SECONDS_KEPT)
        self._minutes: deque[tuple[int, int]] = deque(maxlen=MINUTES_KEPT)

    def sample(self, recv_ns: int, venue_ns: int) -> bool:
        """Take one message's receipt and stamp; return whether `offset_ns` has changed.

        More often than from `due_ns` on it need not be asked.
        """
        self.due_ns = recv_ns + SAMPLE_EVERY_NS
        delay_ns, second = recv_ns - venue_ns, recv_ns // NS_PER_S
        if second == self._second:
            self._least_ns = min(self._least_ns, delay_ns)
            return False
        begun = self._second >= 0
        if begun:
            self._seconds.append(self._least_ns)
        self._second, self._least_ns = second, delay_ns
        return begun and self._settle(second // 60)

    def _settle(self, minute: int) -> bool:
        """Take the last minute's seconds into the offset."""
        if len(self._seconds) < SECONDS_NEEDED:
            return False
        lowest = sorted(self._seconds)[max(1, len(self._seconds) // LEFT_OUT)]
        if self._minutes and self._minutes[-1][0] == minute:
            lowest = min(lowest, self._minutes.pop()[1])
        self._minutes.append((minute, lowest))
        while self._minutes[0][0] <= minute - MINUTES_KEPT:
            self._minutes.popleft()
        before, self.offset_ns = self.offset_ns, min(least for _, least in self._minutes)
        return before != self.offset_ns
