"""How long each symbol was naked: held with less stop protection than quantity.

Owns the stopwatches. The idea: between two events nothing changes, so it is enough to look after each one. A
remainder too small for the venue to accept an order for it does not count, since nothing could protect it.
"""

from __future__ import annotations

from dataclasses import dataclass

from hands.core.units import Ns


@dataclass(slots=True)
class Stopwatch:
    """Naked time of one symbol, nanoseconds; `since_ns` is None while protected or flat."""

    total_ns: int = 0
    longest_ns: int = 0
    since_ns: Ns | None = None


class Exposure:
    """The stopwatches of every symbol ever naked."""

    def __init__(self) -> None:
        self._watches: dict[str, Stopwatch] = {}

    def note(self, symbol: str, now_ns: Ns, *, is_naked: bool) -> None:
        """Record that from `now_ns` on `symbol` is naked, or is not."""
        watch = self._watches.get(symbol)
        if watch is None:
            if not is_naked:
                return
            watch = self._watches[symbol] = Stopwatch()
        if is_naked and watch.since_ns is None:
            watch.since_ns = now_ns
        elif not is_naked and watch.since_ns is not None:
            interval_ns = now_ns - watch.since_ns
            watch.total_ns += interval_ns
            watch.longest_ns = max(watch.longest_ns, interval_ns)
            watch.since_ns = None

    def at(self, now_ns: Ns) -> dict[str, dict[str, int | None]]:
        """Return naked_ns, naked_max_ns, naked_since_ns by symbol, a running interval included."""
        out: dict[str, dict[str, int | None]] = {}
        for symbol, watch in self._watches.items():
            running_ns = now_ns - watch.since_ns if watch.since_ns is not None else 0
            out[symbol] = {
                "naked_ns": watch.total_ns + running_ns,
                "naked_max_ns": max(watch.longest_ns, running_ns),
                "naked_since_ns": watch.since_ns,
            }
        return out
