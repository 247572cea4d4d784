"""How long each symbol was naked: held with less stop protection than quantity.

Owns what counts as protection, and the stopwatches. The idea: between two events nothing changes, so it is enough to
look after each one. What counts is a released stop against the holding that would act:

- it is new, accepted, partly filled, or held where its group is active; before its acknowledgement it is nothing yet;
- while it is being replaced it goes on working; with a cancel on its way, to it or to its group, it is as good as gone;
- elected with a limit, it counts for two more seconds: what has not filled by then may never fill.

A remainder too small for the venue to accept an order for it does not count, since nothing could protect it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hands.core.units import NS_PER_S, Ns, Qty
from hands.core.vocab import OrderStatus
from hands.sim.venue.account import closing_side
from hands.sim.venue.orders import Order

ELECTED_NS: Final = Ns(2 * NS_PER_S)
"""How long an elected stop counts that takes no worse price than its limit."""
_RESTING: Final = frozenset(
    {OrderStatus.NEW, OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED, OrderStatus.DONE_FOR_DAY}
)


def bare_qty(position_qty: int, orders: Iterable[Order], t_ns: int) -> Qty:
    """Return how much of a holding the stops among its live `orders` would not close."""
    side = closing_side(position_qty)
    stops = (order for order in orders if order.is_stop and order.side is side)
    return Qty(max(0, abs(position_qty) - sum(o.remaining for o in stops if _protects(o, t_ns))))


def _protects(stop: Order, t_ns: int) -> bool:
    group = stop.group
    members = group.members() if group is not None else (stop,)
    if any(member.status is OrderStatus.PENDING_CANCEL for member in members):
        return False
    if stop.elected_ns is not None and stop.worst_price is not None and t_ns - stop.elected_ns >= ELECTED_NS:
        return False
    if stop.own_status is OrderStatus.HELD:
        return group is not None and group.active and group.parent.own_status is not OrderStatus.PENDING_NEW
    return stop.own_status in _RESTING


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
