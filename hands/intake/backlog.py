"""The backlog: what was read and not yet delivered, and whose turn it is.

Owns the order of delivery while documents come faster than they are judged. May not judge: the deadline that it goes by
is a hint, read without trust; a lie about it gets a document a better place among its own agent's, and no more. The
one idea: agents take turns; of an agent the document whose deadline is next comes first, what is past its deadline last,
and every fourth time the one that has waited longest, so that nothing waits for ever.
"""

from __future__ import annotations

import heapq
import re
from collections import deque
from typing import NamedTuple

from hands.core.members import parse_time_ns
from hands.core.units import NS_PER_S, Ns
from hands.intake.claims import Claim

_TIMESTAMP = re.compile(rb'"timestamp"\s*:\s*"([0-9TZtz:.+-]{20,40})"')
_TTL = re.compile(rb'"ttl_seconds"\s*:\s*([0-9]{1,8}(?:\.[0-9]{1,9})?)')
_TURNS = 4
"""Of so many deliveries of an agent one goes to what has waited longest."""


class Waiting(NamedTuple):
    """A claimed document and when the kernel told of it."""

    claim: Claim
    shown_name: str
    file_event_ns: Ns


def deadline_hint(data: bytes) -> Ns | None:
    """Return the deadline that a document seems to give itself, None where none can be made out."""
    timestamp, ttl = _TIMESTAMP.search(data), _TTL.search(data)
    if timestamp is None or ttl is None:
        return None
    try:
        born = parse_time_ns(timestamp[1].decode("ascii"))
    except ValueError:
        return None
    return Ns(born + int(float(ttl[1]) * NS_PER_S))


class Backlog:
    """What waits, by agent; strangers' folders share one turn."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}
        self._turns: deque[str] = deque()

    def __bool__(self) -> bool:
        return bool(self._turns)

    def add(self, waiting: Waiting) -> None:
        drop = waiting.claim.drop
        turn = drop.agent if drop.known else ""
        queue = self._queues.get(turn)
        if queue is None:
            queue = self._queues[turn] = _Queue()
            self._turns.append(turn)
        queue.add(waiting, deadline_hint(waiting.claim.reading.data))

    def next(self, now_ns: Ns) -> Waiting:
        """Take out what is to be delivered now. Raises IndexError where nothing waits."""
        turn = self._turns.popleft()
        queue = self._queues[turn]
        waiting = queue.next(now_ns)
        if queue.waiting:
            self._turns.append(turn)
        else:
            del self._queues[turn]
        return waiting

    def clear(self) -> None:
        self._queues.clear()
        self._turns.clear()


class _Queue:
    """One agent's documents, by age and by deadline; what is taken out of one is skipped in the other."""

    def __init__(self) -> None:
        self.waiting: dict[int, Waiting] = {}
        self._by_age: deque[int] = deque()
        self._by_deadline: list[tuple[Ns, int]] = []
        self._number = 0
        self._turn = 0

    def add(self, waiting: Waiting, deadline_ns: Ns | None) -> None:
        self._number += 1
        self.waiting[self._number] = waiting
        self._by_age.append(self._number)
        if deadline_ns is not None:
            heapq.heappush(self._by_deadline, (deadline_ns, self._number))

    def next(self, now_ns: Ns) -> Waiting:
        self._turn = (self._turn + 1) % _TURNS
        if self._turn:
            while self._by_deadline:
                deadline_ns, number = heapq.heappop(self._by_deadline)
                if deadline_ns > now_ns and number in self.waiting:
                    return self.waiting.pop(number)
        while True:
            number = self._by_age.popleft()
            if number in self.waiting:
                return self.waiting.pop(number)
