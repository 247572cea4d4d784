"""Time at the simulator: the wall's, or one that stands still until it is told to move; and what is due when.

Owns reading the time and everything that waits for a moment of it. May not decide what is due: who waits says when.
The one idea: both clocks keep one agenda in order of time, so that two things due at the same moment happen in the
order in which they were put down, whichever clock it is. On the wall clock the event loop's timer works the agenda
off; on the manual one whoever moves the clock does, each entry at its own time.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final, Protocol

from hands.core.units import NS_PER_MS, Ns

Action = Callable[[], object]

MANUAL_START: Final = "2026-01-05T15:00:00Z"
"""Where a manual clock stands unless told otherwise: a Monday, half an hour into the session."""


class Clock(Protocol):
    """What the rest of the simulator may ask of time; calling it reads it, in Unix nanoseconds."""

    def __call__(self) -> Ns: ...

    def call_at(self, t_ns: int, action: Action) -> None:
        """Have `action` called once the time is `t_ns`."""

    async def sleep(self, ms: float) -> None:
        """Return after `ms` of this clock's time."""


class Agenda:
    """What is to be done when; entries of the same moment keep their order."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, Action]] = []
        self._count = 0

    @property
    def next_ns(self) -> int | None:
        """When the first entry is due, None if there is none."""
        return self._entries[0][0] if self._entries else None

    def add(self, t_ns: int, action: Action) -> None:
        self._count += 1
        heappush(self._entries, (t_ns, self._count, action))

    def take_due(self, now_ns: int) -> Action | None:
        """Take out and return the first entry if it is due."""
        if self._entries and self._entries[0][0] <= now_ns:
            return heappop(self._entries)[2]
        return None

    def take_all(self) -> list[Action]:
        """Take out and return every entry, in order."""
        entries, self._entries = sorted(self._entries, key=lambda entry: entry[:2]), []
        return [action for _, _, action in entries]


class WallClock:
    """Unix nanoseconds that never step: the wall read once, plus the performance counter since.

    With `start_ns` it begins there instead and then passes as the wall does.
    """

    def __init__(self, start_ns: int | None = None) -> None:
        self._anchor_ns = (time.time_ns() if start_ns is None else start_ns) - time.perf_counter_ns()
        self._agenda = Agenda()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0

    def __call__(self) -> Ns:
        return Ns(self._anchor_ns + time.perf_counter_ns())

    def call_at(self, t_ns: int, action: Action) -> None:
        """Have `action` called by the running event loop once the time is `t_ns`."""
        self._agenda.add(t_ns, action)
        self._arm()

    async def sleep(self, ms: float) -> None:
        """Return after `ms`."""
        await _sleep_until(self, self() + int(ms * NS_PER_MS))

    def _arm(self) -> None:
        next_ns = self._agenda.next_ns
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
        while (action := self._agenda.take_due(self())) is not None:
            action()
        self._arm()


class ManualClock:
    """Time that stands still; `move_to` moves it and does what was put down for the way."""

    def __init__(self, start_ns: int) -> None:
        self.start_ns = Ns(start_ns)
        self._now_ns = self.start_ns
        self._agenda = Agenda()

    def __call__(self) -> Ns:
        return self._now_ns

    @property
    def next_due_ns(self) -> int | None:
        """When the first thing put down is due, None if nothing is."""
        return self._agenda.next_ns

    def call_at(self, t_ns: int, action: Action) -> None:
        """Have `action` called when the clock is moved to `t_ns` or beyond; at once if it stands there already."""
        if t_ns <= self._now_ns:
            action()
        else:
            self._agenda.add(t_ns, action)

    async def sleep(self, ms: float) -> None:
        """Return when the clock was moved on by `ms`."""
        await _sleep_until(self, self() + int(ms * NS_PER_MS))

    def move_to(self, t_ns: int) -> bool:
        """Move to `t_ns` (never back) doing what is due on the way at its time; return whether anything was."""
        was_due = False
        while (due_ns := self._agenda.next_ns) is not None and due_ns <= t_ns:
            self._now_ns = Ns(max(self._now_ns, due_ns))
            action = self._agenda.take_due(due_ns)
            assert action is not None
            action()
            was_due = True
        self._now_ns = Ns(max(self._now_ns, t_ns))
        return was_due

    def restart(self) -> None:
        """Go back to the start; what was to come comes now, so that nobody waits for ever."""
        for action in self._agenda.take_all():
            action()
        self._now_ns = self.start_ns


async def _sleep_until(clock: Clock, t_ns: int) -> None:
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not woken.done():  # whoever waits may have been canceled
            woken.set_result(None)

    clock.call_at(t_ns, wake)
    await woken
