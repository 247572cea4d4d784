"""The request budget of one host: how many a minute, how many are left, and when there are more.

Owns the counting; who is counted and how a refusal looks is the gateway's. The venue says when a budget resets,
which suggests a fixed minute; whether it is one nobody has confirmed, so the minute may also slide.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from hands.core.units import NS_PER_S, div_ceil

WINDOW_S: Final = 60
_WINDOW_NS: Final = WINDOW_S * NS_PER_S


@dataclass(frozen=True, slots=True)
class RateReading:
    """The budget just after a request was counted; `reset_s` is Unix seconds."""

    limit: int
    remaining: int
    reset_s: int
    retry_after_s: int
    is_exceeded: bool

    def headers(self) -> dict[str, str]:
        """Return the three headers by which the venue tells it."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset_s),
        }


class RateBudget:
    """`limit` requests a minute: of the clock, or (`is_sliding`) of any sixty seconds. Refused ones cost nothing."""

    def __init__(self, limit: int, *, is_sliding: bool) -> None:
        self._limit = limit
        self._is_sliding = is_sliding
        self._taken: deque[int] = deque()

    def take(self, now_ns: int) -> RateReading:
        """Count one request, if there is budget left for it."""
        minute_ns = now_ns // _WINDOW_NS * _WINDOW_NS
        while self._taken and (
            self._taken[0] <= now_ns - _WINDOW_NS if self._is_sliding else self._taken[0] < minute_ns
        ):
            self._taken.popleft()
        is_exceeded = len(self._taken) >= self._limit
        if not is_exceeded:
            self._taken.append(now_ns)
        reset_ns = (self._taken[0] if self._is_sliding else minute_ns) + _WINDOW_NS
        return RateReading(
            limit=self._limit,
            remaining=self._limit - len(self._taken),
            reset_s=div_ceil(reset_ns, NS_PER_S),
            retry_after_s=max(1, div_ceil(reset_ns - now_ns, NS_PER_S)),
            is_exceeded=is_exceeded,
        )
