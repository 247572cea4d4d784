"""What the exchange has promised itself to do later, in the order it falls due.

Owns the order: earlier first, sessions before everything else of the same moment, then as promised. May not read
a clock: it is told what time it is. The idea: a promise is never taken back; whoever made it looks, when it falls
due, whether there is still anything to do.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from hands.core.units import Ns

SESSION, ORDER = 0, 1
"""Ranks of promises for one moment: what a session's opening or close does comes before what single orders do."""

Action = Callable[[], None]


class Schedule:
    """Actions by due time."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, Action]] = []
        self._numbers = itertools.count()
        self.next_due_ns: Ns | None = None

    def add(self, due_ns: int, action: Action, rank: int = ORDER) -> None:
        heapq.heappush(self._heap, (due_ns, rank, next(self._numbers), action))
        self.next_due_ns = Ns(self._heap[0][0])

    def is_due(self, now_ns: int) -> bool:
        return bool(self._heap) and self._heap[0][0] <= now_ns

    def take(self) -> tuple[Ns, Action]:
        """Remove and return the first promise: when it is due, and what it is."""
        due_ns, _, _, action = heapq.heappop(self._heap)
        self.next_due_ns = Ns(self._heap[0][0]) if self._heap else None
        return Ns(due_ns), action
