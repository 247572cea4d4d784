"""The engine's one clock: wall time at start, steady ever after, sleep included.

Owns "now". Its readings never step, so timers and latencies can be trusted; how far the wall clock has since
moved against it is told to the core as an event. It runs on through a suspended machine (CLOCK_BOOTTIME, where there
is one), so that a deadline which passed in a sleep has passed. The loop's own timers stand still meanwhile: whoever looks
once a second (`step`) makes up for them. Readings are Unix nanoseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from hands.core.events import ClockStepped
from hands.core.units import NS_PER_MS, Ns

STEP_MIN_NS = 5 * NS_PER_MS


def steady_ns() -> int:
    """Return nanoseconds since some moment before start; a suspended machine's sleep counts where that can be told."""
    return time.clock_gettime_ns(_STEADY)


_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock:
    """Wall anchor plus steady time elapsed. The three sources are the machine's; a test may bring its own."""

    def __init__(
        self,
        *,
        steady: Callable[[], int] = steady_ns,
        awake: Callable[[], int] = time.monotonic_ns,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self._steady = steady
        self._awake = awake
        self._wall = wall
        self._anchor_ns = wall() - steady()
        self._slept_ns = steady() - awake()

    def __call__(self) -> Ns:
        """Return now in Unix nanoseconds, never less than before."""
        return Ns(self._anchor_ns + self._steady())

    def wall_offset_ns(self) -> int:
        """Return how far the wall clock is ahead of this one."""
        return self._wall() - self()

    def step(self, known_offset_ns: int) -> ClockStepped | None:
        """Return what is to be told: the wall clock is elsewhere than `known_offset_ns` says, or the machine slept."""
        offset_ns, all_slept_ns = self.wall_offset_ns(), self._steady() - self._awake()
        slept_ns = all_slept_ns - self._slept_ns
        if slept_ns < STEP_MIN_NS:
            slept_ns = 0
        if not slept_ns and abs(offset_ns - known_offset_ns) <= STEP_MIN_NS:
            return None
        self._slept_ns += slept_ns
        return ClockStepped(ts_ns=self(), wall_offset_ns=offset_ns, slept_ns=slept_ns)
