"""How far the venue's clock is from ours: measured from a feed's messages, robustly, and bounded by its own word.

Owns one number per feed, and one bound for the venue. The one idea: receipt minus stamp is the clocks' offset plus the way, and the way is
shortest for the quickest message; so the offset is a running minimum. A stamp from the future must not be believed:
none that is seconds ahead, and of others the minima of single seconds are taken and the lowest tenth left out; and a feed that has
fallen behind must not be taken for a slow clock, therefore an hour remembers its best minute.

What no message can show is a feed that was behind from its first one on: its lag looks like a slow clock. The venue's
clock, asked over REST, tells them apart: it was read before the answer came, so ours is ahead of it by the difference at
most. How quotes are judged by both is in `hands.core.freshness`.

A venue's clock that jumps ahead is noticed within seconds, one that jumps back within the hour; until then its quotes
count as older than they are, never as younger.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from hands.core.units import NS_PER_MS, NS_PER_S

SAMPLE_EVERY_NS: Final = 20 * NS_PER_MS
AHEAD_MAX_NS: Final = 5 * NS_PER_S
"""A stamp from further ahead is wrong, not quick: two of them in a quiet minute would make every quote old for an hour."""

SECONDS_KEPT: Final = 60
SECONDS_NEEDED: Final = 3
MINUTES_KEPT: Final = 60
LEFT_OUT: Final = 10
"""One in so many of the seconds' minima, the lowest, is not believed; of fewer than so many, one."""

ANSWERS_KEPT: Final = 10
"""Clocks drift apart by milliseconds while so many are gathered, and the quickest of them bounds best."""


class ClockBound:
    """Takes answers of the venue's clock and says by how much ours can be ahead of it at most, and at least."""

    def __init__(self) -> None:
        self._differences: deque[int] = deque(maxlen=ANSWERS_KEPT)
        self._least: deque[int] = deque(maxlen=ANSWERS_KEPT)

    def answered(self, venue_ns: int, answered_ns: int) -> int:
        """Take a reading of the venue's clock, in our hands at `answered_ns`; return the bound."""
        self._differences.append(answered_ns - venue_ns)
        return min(self._differences)

    def bounds(self, venue_ns: int, asked_ns: int, answered_ns: int) -> tuple[int, int]:
        """Take a reading asked for at `asked_ns`; return the least and the most. It was read after the question.

        Where they contradict each other one of the clocks has stepped: then the newest answer alone counts.
        """
        self._least.append(asked_ns - venue_ns)
        most, least = self.answered(venue_ns, answered_ns), max(self._least)
        if least > most and len(self._least) > 1:
            self._differences.clear()
            self._least.clear()
            return self.bounds(venue_ns, asked_ns, answered_ns)
        return least, most


def latest_ns(recv_ns: int, ahead_max_ns: int | None) -> int:
    """Return the latest stamp that something received at `recv_ns` can have; `ahead_max_ns` is the `ClockBound`'s, if known.

    A later one is wrong, and everything after it would seem late. Where our clock is ahead no stamp is that far: the
    venue's answer may have been an old one, and then so little must not be believed.
    """
    return recv_ns + AHEAD_MAX_NS + max(0, -(ahead_max_ns or 0))


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
        if delay_ns < -AHEAD_MAX_NS:
            return False
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
