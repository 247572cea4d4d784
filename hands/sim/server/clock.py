"""Time at the simulator: the wall's, or one that stands still until it is told to move; and what is due when.

Owns reading the time and everything that waits for a moment of it. May not decide what is due: who waits says when.
The one idea: both clocks keep one schedule, so that two things due at the same moment happen in the order in which
they were put down, whichever clock it is. On the wall clock the event loop's timer works it off; on the manual one
whoever moves the clock does, each entry at its own time.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final, Protocol

from hands.core.units import NS_PER_MS, Ns
from hands.sim.market.times import time_ns
from hands.sim.venue.schedule import Action, Schedule

MANUAL_START: Final = "2026-01-05T15:00:00Z"
"""Where a manual clock stands unless told otherwise: a Monday, half an hour into the session."""

LAST_NS: Final = time_ns("2199-12-31T00:00:00Z")
"""Where the simulator's time ends: the calendar and every format of a time know a good while after it."""


class Clock(Protocol):
    """What the rest of the simulator may ask of time; calling it reads it, in Unix nanoseconds."""

    def __call__(self) -> Ns: ...

    def call_at(self, t_ns: int, action: Action) -> None:
        """Have `action` called once the time is `t_ns`."""

    async def sleep(self, ms: float) -> None:
        """Return after `ms` of this clock's time."""


class WallClock:
    """Unix nanoseconds that never step: the wall read once, plus the performance counter since.

    With `start_ns` it begins there instead and then passes as the wall does.
    """

    def __init__(self, start_ns: int | None = None) -> None:
        self._anchor_ns = (time.time_ns() if start_ns is None else start_ns) - time.perf_counter_ns()
        self._schedule = Schedule()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0

    def __call__(self) -> Ns:
        return Ns(self._anchor_ns + time.perf_counter_ns())

    def call_at(self, t_ns: int, action: Action) -> None:
        """Have `action` called by the running event loop once the time is `t_ns`."""
        self._schedule.add(t_ns, action)
        self._arm()

    async def sleep(self, ms: float) -> None:
        """Return after `ms`."""
        await _sleep_until(self, self() + int(ms * NS_PER_MS))

    def _arm(self) -> None:
        next_ns = self._schedule.next_due_ns
        if next_ns is None or (self._timer is not None and self._timer_ns <= next_ns):
            return
        if self._timer is not None:
            self._timer.cancel()
        # Loops keep whole milliseconds: rounded up, or the timer goes off too early, over and over.
        wait_ms = math.ceil(max(0, next_ns - self()) / NS_PER_MS)
        self._timer_ns = next_ns
        self._timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._work)

    def _work(self) -> None:
        self._timer = None
        while self._schedule.is_due(self()):
            _, action = self._schedule.take()
            action()
        self._arm()


class ManualClock:
    """Time that stands still; `move_to` moves it and does what was put down for the way."""

    def __init__(self, start_ns: int) -> None:
        self.start_ns = Ns(start_ns)
        self._now_ns = self.start_ns
        self._schedule = Schedule()

    def __call__(self) -> Ns:
        return self._now_ns

    @property
    def next_due_ns(self) -> Ns | None:
        """When the first thing put down is due, None if nothing is."""
        return self._schedule.next_due_ns

    def call_at(self, t_ns: int, action: Action) -> None:
        """Have `action` called when the clock is moved to `t_ns` or beyond; at once if it stands there already."""
        if t_ns <= self._now_ns:
            action()
        else:
            self._schedule.add(t_ns, action)

    async def sleep(self, ms: float) -> None:
        """Return when the clock was moved on by `ms`."""
        await _sleep_until(self, self() + int(ms * NS_PER_MS))

    def move_to(self, t_ns: int) -> bool:
        """Move to `t_ns` (never back) doing what is due on the way at its time; return whether anything was."""
        was_due = False
        while self._schedule.is_due(t_ns):
            due_ns, action = self._schedule.take()
            self._now_ns = Ns(max(self._now_ns, due_ns))
            action()
            was_due = True
        self._now_ns = Ns(max(self._now_ns, t_ns))
        return was_due

    def restart(self) -> None:
        """Go back to the start; what was to come comes now, so that nobody waits for ever."""
        due, self._schedule = self._schedule, Schedule()  # what they put down is for after the restart
        while due.next_due_ns is not None:
            _, action = due.take()
            action()
        self._now_ns = self.start_ns


async def _sleep_until(clock: Clock, t_ns: int) -> None:
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not woken.done():  # whoever waits may have been canceled
            woken.set_result(None)

    clock.call_at(t_ns, wake)
    await woken
