"""How long to wait before connecting again: exponential, jittered, bounded.

Owns no clock and no timer; it only counts failures. Jitter keeps several clients from returning at once.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Delays of `first_s`, doubling up to `most_s`, each taken at random from its upper half."""

    first_s: float
    most_s: float
    failures: int = 0

    def full_s(self) -> float:
        """Count one failure and return the longest that is waited for it."""
        full = min(self.first_s * 2.0 ** min(self.failures, 30), self.most_s)
        self.failures += 1
        return full

    def next_s(self, at_least_s: float = 0.0) -> float:
        """Count one failure and return the seconds to wait, never less than half of `at_least_s`."""
        full = max(self.full_s(), at_least_s)
        return full * (0.5 + secrets.randbelow(1_000_001) / 2_000_000)

    def reset(self) -> None:
        """Forget the failures: a connection worked."""
        self.failures = 0
