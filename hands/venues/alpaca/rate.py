"""How many requests the venue has had from us in the last minute.

Owns one sliding count, shared by everything that talks to the trading host under one key. The one idea: the
venue allows so many a minute for all of them together, so entries stop early and questions next; what protects
or reduces is never held back here.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class RateBudget:
    """Counts requests in a sliding window of `window_s` seconds; `monotonic` returns seconds.

    Where each kind stops, in requests of everybody together: entries at `entries_max`, what is asked regularly at
    `regular_max`, what has to be known now at `queries_max`. What is above that is kept for what protects.
    """

    def __init__(
        self,
        *,
        entries_max: int = 150,
        regular_max: int = 160,
        queries_max: int = 180,
        window_s: float = 60.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.entries_max = entries_max
        self.regular_max = regular_max
        self.queries_max = queries_max
        self._window_s = window_s
        self._monotonic = monotonic
        self._sent: deque[float] = deque()

    @classmethod
    def sharing(cls, requests_per_minute: int) -> RateBudget:
        """Return the budget of a venue that allows so many: the last tenth is for what protects alone."""
        return cls(
            entries_max=requests_per_minute * 3 // 4,
            regular_max=requests_per_minute * 4 // 5,
            queries_max=requests_per_minute * 9 // 10,
        )

    def note(self) -> None:
        """Count one request that is being sent."""
        self._sent.append(self._monotonic())

    def wait_s(self, most: int) -> float:
        """Return in how many seconds fewer than `most` requests are in the window, if none is sent meanwhile."""
        too_many = self.used - most
        return 0.0 if too_many < 0 else self._sent[too_many] + self._window_s - self._monotonic()

    @property
    def used(self) -> int:
        """Requests sent within the window."""
        oldest = self._monotonic() - self._window_s
        while self._sent and self._sent[0] <= oldest:
            self._sent.popleft()
        return len(self._sent)
