"""What is to happen later in a replay, in the order in which it falls due.

Owns that order: the earlier first, and of one moment what was asked for first. May not know what it does. The one idea:
it never looks at rows, so it cannot depend on how they were cut into arrays.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

NEVER = 2**63 - 1
"""Later than any row. Nanoseconds."""


class Agenda:
    """Acts by due time, nanoseconds of the replay's clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._asked = 0
        self.next_ns = NEVER
        """When the next act is due, NEVER if there is none."""

    def at(self, due_ns: int, act: Callable[[], None]) -> None:
        """Ask for an act."""
        self._asked += 1
        heapq.heappush(self._heap, (due_ns, self._asked, act))
        self.next_ns = self._heap[0][0]

    def take(self) -> Callable[[], None]:
        """Remove and return the next act."""
        act = heapq.heappop(self._heap)[2]
        self.next_ns = self._heap[0][0] if self._heap else NEVER
        return act
