"""When a trade stood under a live stop and when it did not, made up from the times of its orders and fills.

Owns that reconstruction. May not say what protection should have been: the engine has its own, exact measure
(`hands.core.coverage`) and says UNPROTECTED where its bound is broken. The one idea: between two happenings nothing
changes, so each stretch between them is judged once: what was held, what live stops would have sold, what exits were out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from hands.core.vocab import OrderStatus
from hands.replay.trades import Order, Trade

FOREVER = 2**63
_DUST = 200
"""Coins: one part in so many of the entry may be dust or fees, which no stop has to cover."""

_TERMINAL = frozenset(str(status) for status in OrderStatus if status.is_terminal)
_NEVER = frozenset({str(OrderStatus.REJECTED), str(OrderStatus.UNSENT)})
_GROUPS = frozenset({"bracket", "oco"})
_STOPS = frozenset({"stop", "stop_limit", "trailing_stop"})


class Cover(StrEnum):
    STOP = "stop"
    EXIT = "exit"
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Stretch:
    """[from, to) with one kind of cover: a live stop for all that is held; an exit on its way for what no stop covers;
    neither; or a stop of which the ledger does not know when it began."""

    from_ns: int
    to_ns: int
    cover: Cover

    @property
    def ns(self) -> int:
        return self.to_ns - self.from_ns


@dataclass(frozen=True, slots=True)
class _Life:
    """An order that could sell: from when to when, and how much is left of it by its fills."""

    order: Order
    from_ns: int
    to_ns: int
    is_stop: bool


def stretches(trade: Trade, until_ns: int) -> list[Stretch]:
    """Return how a trade was covered from its first fill until it was flat, at most until `until_ns`; none without fills."""
    entries = [fill for fill in trade.fills if fill.leg == "entry"]
    if not entries:
        return []
    end_ns = until_ns if trade.closed_ns is None else trade.closed_ns
    lives, has_gaps = _lives(trade)
    times = {fill.at_ns for fill in trade.fills} | {at for life in lives for at in (life.from_ns, life.to_ns)}
    start_ns = entries[0].at_ns
    bounds = [start_ns, *sorted(at for at in times if start_ns < at < end_ns), end_ns]
    found: list[Stretch] = []
    for from_ns, to_ns in pairwise(bounds):
        if from_ns >= to_ns:
            continue
        cover = _cover(trade, lives, from_ns)
        if cover is None:
            continue
        if cover is Cover.NONE and has_gaps:
            cover = Cover.UNKNOWN
        if found and found[-1].cover is cover and found[-1].to_ns == from_ns:
            found[-1] = Stretch(found[-1].from_ns, to_ns, cover)
        else:
            found.append(Stretch(from_ns, to_ns, cover))
    return found


def _cover(trade: Trade, lives: list[_Life], at_ns: int) -> Cover | None:
    """Return what covered a trade at that moment, None where nothing was held."""
    bought = sum(fill.qty for fill in trade.fills if fill.leg == "entry" and fill.at_ns <= at_ns)
    sold = sum(fill.qty for fill in trade.fills if fill.leg != "entry" and fill.at_ns <= at_ns)
    tolerance = bought // _DUST if trade.is_crypto else 0
    held = bought - sold
    if held <= tolerance:
        return None
    stops = exits = 0
    for life in lives:
        if life.from_ns <= at_ns < life.to_ns:
            left = _left(trade, life.order, at_ns)
            if life.is_stop:
                stops += left + _taken_later(trade, life, left, at_ns)
            else:
                exits += left
    if stops >= held - tolerance:
        return Cover.STOP
    return Cover.EXIT if stops + exits >= held - tolerance else Cover.NONE


def _left(trade: Trade, order: Order, at_ns: int) -> int:
    """Return what is left of an order; one whose size is not known counts for the whole position."""
    if order.qty is None:
        return FOREVER
    own = order.client_order_id
    return order.qty - sum(
        fill.qty for fill in trade.fills if fill.client_order_id == own and fill.at_ns <= at_ns
    )


def _taken_later(trade: Trade, life: _Life, left: int, at_ns: int) -> int:
    """Return how much more a stop was for at `at_ns` than what the ledger has of it, which is what it was for last.

    In a group the venue takes from the stop what the target fills in part; the fill that completes a target ends the stop
    as it is. Never was a stop for more than its target.
    """
    if life.order.order_class not in _GROUPS:
        return 0
    targets = {each.client_order_id: each for each in trade.orders if each.leg == "tp"}
    later = most = 0
    for fill in trade.fills:
        target = targets.get(fill.client_order_id)
        if target is None or target.qty is None or not at_ns < fill.at_ns <= life.to_ns:
            continue
        if _left(trade, target, fill.at_ns) > 0:
            later += fill.qty
            most = max(most, target.qty)
    return max(0, min(later, most - left))


def _lives(trade: Trade) -> tuple[list[_Life], bool]:
    """Return when each stop and exit was live, and whether the ledger lacks the begin of a stop."""
    found: list[_Life] = []
    has_gaps = False
    for order in trade.orders:
        if order.leg == "entry" or order.status in _NEVER:
            continue
        is_stop = order.leg == "sl" or order.order_type in _STOPS
        if not is_stop and order.leg != "exit":
            continue
        from_ns = _stop_begins(trade, order) if is_stop else order.created_ns or order.sent_ns
        if from_ns is None:
            has_gaps = has_gaps or is_stop
            continue
        to_ns = order.updated_ns or from_ns if order.status in _TERMINAL else FOREVER
        found.append(_Life(order, from_ns, to_ns, is_stop))
    return found, has_gaps


def _stop_begins(trade: Trade, order: Order) -> int | None:
    """Return when a stop began to act: with the venue's word; in a bracket not before the entry had filled or ended.

    A leg that went out with its entry is in force at the venue from the entry's last fill on, whenever we were told.
    """
    if order.order_class != "bracket":
        return order.acked_ns
    entry = next((each for each in trade.orders if each.leg == "entry"), None)
    if entry is None:
        return order.acked_ns
    is_filled = entry.status == OrderStatus.FILLED
    last_fill = max((fill.at_ns for fill in trade.fills if fill.leg == "entry"), default=None)
    active_ns = last_fill if is_filled else entry.updated_ns
    if order.sent_ns is not None and order.sent_ns == entry.sent_ns:
        return active_ns
    return None if order.acked_ns is None or active_ns is None else max(order.acked_ns, active_ns)
