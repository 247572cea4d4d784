"""Cancels and replaces: what the client asks of a live order, and how long the exchange takes over it.

Owns the orders' pending states. May not judge a request (admission has) but for what cannot be canceled. With no
latency a cancel or replace is done within the request. Otherwise the order is `pending_cancel` or
`pending_replace` and goes on working until the time has come; what it has become by then decides:

- a cancel ends what still lives; of an order that filled first, `order_cancel_rejected` tells;
- a replacement exists from the start under its own id, `pending_new`, and reserves what it needs beyond the old
  order; it takes over with the fills of the old one, or is `rejected` (`order_replace_rejected` tells for the old
  one) when that has ended or has filled as much as the replacement asks for;
- a replacement that is canceled while it waits takes over first: requests are carried out in order.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from hands.core.units import Ns
from hands.core.vocab import OrderStatus
from hands.sim.venue import errors
from hands.sim.venue.blotter import Blotter
from hands.sim.venue.calendar import MarketClock
from hands.sim.venue.lifecycle import Lifecycle
from hands.sim.venue.orders import Order, ReplaceRequest
from hands.sim.venue.quirks import Latency, Quirks
from hands.sim.venue.tickets import carry_over

_ENDED_BY_CANCEL: Final = frozenset({OrderStatus.CANCELED, OrderStatus.PENDING_CANCEL})


class Amendments:
    """Requests about live orders on their way."""

    def __init__(
        self, life: Lifecycle, blotter: Blotter, clock: MarketClock, *, quirks: Quirks, latency: Latency
    ) -> None:
        self._life = life
        self._blotter = blotter
        self._clock = clock
        self._quirks = quirks
        self._latency = latency

    def cancel(self, order: Order) -> None:
        """Cancel a live order and its group. Raises `VenueError` 422 when it is too late or already under way."""
        if order.status in _ENDED_BY_CANCEL and self._quirks.recancel == "accepted":
            return
        if not order.is_live or order.status in _ENDED_BY_CANCEL | {OrderStatus.PENDING_REPLACE}:
            # That a pending replace refuses a cancel is documented; with which text is unconfirmed.
            raise errors.rule(f'order is already in "{order.status}" state')
        now_ns = self._life.t_ns
        order.cancel_requested_ns = now_ns
        self._life.touched.add(order.symbol)
        due_ns = self._cancel_due_ns(order)
        if due_ns > now_ns:
            order.set_pending(OrderStatus.PENDING_CANCEL, now_ns)
            self._blotter.emit("pending_cancel", order, now_ns)
        self._life.after(due_ns - now_ns, lambda: self._complete_cancel(order))

    def _cancel_due_ns(self, order: Order) -> Ns:
        begins_ns = self._life.t_ns
        if order.takes_over_ns is not None:
            return Ns(max(begins_ns + self._latency.cancel_ns, order.takes_over_ns))
        if self._quirks.cancel_when_closed == "pending" and self._waits_for_session(order):
            begins_ns = self._clock.at(begins_ns).next_open_ns
        return Ns(begins_ns + self._latency.cancel_ns)

    def _waits_for_session(self, order: Order) -> bool:
        reading = self._clock.at(self._life.t_ns)
        return not order.asset.is_crypto and not reading.is_open and not self._life.is_trading(order)

    def _complete_cancel(self, order: Order) -> None:
        if order.is_live:
            self._life.end(order, OrderStatus.CANCELED)
        elif order.status is OrderStatus.FILLED:
            self._blotter.emit("order_cancel_rejected", order, self._life.t_ns)

    def replace(self, old: Order, new: Order, request: ReplaceRequest) -> Order:
        """Let `new` replace `old` as soon as the exchange is ready; return `new` as it was acknowledged."""
        now_ns, wait_ns = self._life.t_ns, self._latency.replace_ns
        if old.group is not None:
            # It can only have named the quantity there is, and until it takes over the other leg may cut that.
            request = dataclasses.replace(request, qty=None)
        self._blotter.record(new)
        if not wait_ns:
            replacement = self._life.substitute(old, new)
            self._life.match(new)
            return replacement
        new.set_status(OrderStatus.PENDING_NEW, now_ns)
        new.history = new.history[-1:]
        new.takes_over_ns = Ns(now_ns + wait_ns)
        new.is_working = False
        old.successor = new
        old.set_pending(OrderStatus.PENDING_REPLACE, now_ns)
        self._blotter.emit("pending_replace", old, now_ns)
        self._life.after(wait_ns, lambda: self._take_over(old, new, request))
        return new.snapshot()

    def _take_over(self, old: Order, new: Order, request: ReplaceRequest) -> None:
        old.successor = None
        if not old.is_live or (request.qty is not None and new.qty <= old.filled_qty):
            self._reject(old, new)
            return
        carry_over(old, new, request)
        new.takes_over_ns = None
        new.set_status(old.own_status, self._life.t_ns)
        self._life.substitute(old, new)
        self._life.match(new)

    def _reject(self, old: Order, new: Order) -> None:
        now_ns = self._life.t_ns
        self._life.touched.add(old.symbol)
        if old.is_live:
            old.clear_pending(now_ns)
        self._blotter.finish(new, OrderStatus.REJECTED, now_ns)
        self._blotter.emit("order_replace_rejected", old, now_ns)
        self._blotter.emit("rejected", new, now_ns)
