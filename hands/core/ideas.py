"""What was accepted within the last day: in the order of time, and by what it says.

Owns both orders of the same records, so that asking whether an idea was there before costs the same after one
accepted document and after a hundred thousand. May not judge: that is `hands.core.other_trades`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

from hands.core.units import Ns
from hands.core.vocab import Direction


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """What the semantic-duplicate check remembers of an accepted intent. `void`: it died without a fill."""

    at_ns: Ns
    intent_id: str
    symbol: str
    direction: Direction
    prices: tuple[int, int, int]
    entered: bool = True
    void: bool = False


Idea = tuple[str, Direction, tuple[int, int, int]]


class Ideas:
    """Accepted intents, oldest first; what is appended must not be older than what is there.

    `void` are those that died without a fill, where that is known better than from their own records: an intent that is
    void, and then is not after a late fill, is appended but once.
    """

    def __init__(self, accepted: Iterable[Accepted] = (), void: Iterable[str] | None = None) -> None:
        self._by_time: deque[Accepted] = deque()
        self._by_idea: dict[Idea, deque[Accepted]] = {}
        self._latest: dict[str, Accepted] = {}
        self._void: set[str] = set()
        for each in accepted:
            self.append(each)
        if void is not None:
            self._void = set(void)

    @property
    def void(self) -> list[str]:
        """The ids of those that died without a fill, sorted."""
        return sorted(self._void)

    def __iter__(self) -> Iterator[Accepted]:
        return iter(self._by_time)

    def __len__(self) -> int:
        return len(self._by_time)

    def append(self, accepted: Accepted) -> None:
        self._by_time.append(accepted)
        self._latest[accepted.intent_id] = accepted
        self._by_idea.setdefault(_idea(accepted), deque()).append(accepted)
        if accepted.void:
            self._void.add(accepted.intent_id)

    def is_void(self, intent_id: str) -> bool:
        """Whether an intent is known to have died without a fill, also when its ticket is no longer kept."""
        return intent_id in self._void

    def end(self, intent_id: str, *, void: bool) -> Accepted | None:
        """Note how an accepted intent ended; return what is to be written ahead, None where nothing is."""
        accepted = self._latest.get(intent_id)
        if accepted is None or void == self.is_void(intent_id):
            return None
        (self._void.add if void else self._void.discard)(intent_id)
        return msgspec.structs.replace(accepted, void=void)

    def alike(self, symbol: str, direction: Direction, prices: tuple[int, int, int]) -> Iterator[Accepted]:
        """Return those that say the same, newest first."""
        return reversed(self._by_idea.get((symbol, direction, prices), ()))

    def forget_before(self, at_ns: int) -> list[str]:
        """Drop what was accepted before `at_ns`; return the intents that are gone (a touch is accepted twice)."""
        gone = []
        while self._by_time and self._by_time[0].at_ns < at_ns:
            oldest = self._by_time.popleft()
            alike = self._by_idea[_idea(oldest)]
            alike.popleft()
            if not alike:
                del self._by_idea[_idea(oldest)]
            if self._latest[oldest.intent_id] is oldest:
                del self._latest[oldest.intent_id]
                self._void.discard(oldest.intent_id)
                gone.append(oldest.intent_id)
        return gone


def _idea(accepted: Accepted) -> Idea:
    return accepted.symbol, accepted.direction, accepted.prices
