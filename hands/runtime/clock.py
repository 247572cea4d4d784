"""The engine's one clock: wall time at start, monotonic ever after.

Owns "now". Its readings never step, so timers and latencies can be trusted; how far the wall clock has since
moved against it is told to the core as an event. Readings are Unix nanoseconds.
"""

from __future__ import annotations

import time

from hands.core.units import Ns


class Clock:
    """Wall anchor plus monotonic elapsed."""

    def __init__(self) -> None:
        self._anchor_ns = time.time_ns() - time.monotonic_ns()

    def __call__(self) -> Ns:
        """Return now in Unix nanoseconds, never less than before."""
        return Ns(self._anchor_ns + time.monotonic_ns())

    def wall_offset_ns(self) -> int:
        """Return how far the wall clock is ahead of this one."""
        return time.time_ns() - self()
