"""What happens to an order once it is taken: release, election, fills, and what each does to its group.

Owns every change of status that the market or a group brings about; what the client asks for later is the
amendments'. May not refuse anything (admission does) and reads no clock: `t_ns` is the time of the operation under
way. The rules of a group, in one place:

- a *complete* entry fill releases the legs: the take-profit is `new`, the stop stays `held` until it is elected. They
  are for what the entry filled, less what has been sold of it since (what the venue does then is unconfirmed);
- a take-profit's partial fill cuts the stop to the remainder, its complete fill cancels it without an event;
- a stop's fill does the same to the take-profit, with an event; both at once, so that the legs together never
  fill more than the entry did;
- ending any member ends the group; a partly filled entry's legs too, unless the quirk `partial_entry_legs` is "kept".
"""

from __future__ import annotations

from collections.abc import Callable

from hands.core.units import Ns, Price, Qty, floor_to
from hands.core.vocab import Leg, OrderClass, OrderStatus, OrderType, Side, TimeInForce
from hands.sim.venue import matching
from hands.sim.venue.account import free_qty
from hands.sim.venue.blotter import Blotter
from hands.sim.venue.executions import Executions
from hands.sim.venue.exposure import ELECTED_NS
from hands.sim.venue.hours import TradingHours
from hands.sim.venue.matching import Book
from hands.sim.venue.orders import AUCTIONS, Group, Order, ReplaceRequest
from hands.sim.venue.quirks import Latency, Quirks
from hands.sim.venue.schedule import Schedule
from hands.sim.venue.tickets import write_successor
from hands.sim.venue.ticks import Quote, Tick, Trade
from hands.sim.venue.trailing import follow, is_trailing

_IMMEDIATE_TIFS = frozenset({TimeInForce.IOC, TimeInForce.FOK})


class Lifecycle:
    """Moves live orders forward against the books; `sized`: what is displayed bounds what fills."""

    def __init__(
        self,
        blotter: Blotter,
        executions: Executions,
        hours: TradingHours,
        schedule: Schedule,
        *,
        sized: bool,
        quirks: Quirks,
        latency: Latency,
    ) -> None:
        self.books: dict[str, Book] = {}
        self.touched: set[str] = set()
        self.t_ns = Ns(0)
        self._blotter = blotter
        self._executions = executions
        self._hours = hours
        self._schedule = schedule
        self._sized = sized
        self._quirks = quirks
        self._latency = latency

    def is_trading(self, order: Order) -> bool:
        """Return whether the session lets `order` trade now."""
        return self._hours.may_trade(order, self.t_ns)

    def after(self, wait_ns: int, action: Callable[[], None]) -> None:
        """Do `action` when `wait_ns` have passed: now if that is 0."""
        if wait_ns:
            self._schedule.add(self.t_ns + wait_ns, action)
        else:
            action()

    def take(self, order: Order) -> None:
        """Take up a new order; it is acknowledged and released after the exchange's latency."""
        self.touched.add(order.symbol)
        self.watch_end(order)
        self._blotter.emit("pending_new", order, self.t_ns)
        for leg in order.group.legs() if order.group is not None else ():
            if leg is not order:
                self.watch_end(leg)
                if self._quirks.held_event == "sent":
                    self._blotter.emit("held", leg, self.t_ns)
        if not self._latency.ack_ns and not self._is_releasable(order):
            self._wait_for_session(order)

    def watch_end(self, order: Order) -> None:
        """Have `order` expire when its time in force runs out."""
        ends_ns = self._hours.runs_out_ns(order)
        if ends_ns is not None:
            self._schedule.add(ends_ns, lambda: self._expire(order))

    def _expire(self, order: Order) -> None:
        # A replacement with a later end leaves the date of the first where it was.
        ends_ns = self._hours.runs_out_ns(order)
        if order.is_live and order.takes_over_ns is None and ends_ns is not None and ends_ns <= self.t_ns:
            self.end(order, OrderStatus.EXPIRED)

    def release(self, order: Order) -> None:
        """Bring an acknowledged order to the market, or leave it `accepted` until the session opens."""
        if not order.is_live:
            return
        if not self._is_releasable(order):
            self._wait_for_session(order)
            return
        self.set_status(order, OrderStatus.NEW, "new")
        self.after(self._latency.fill_ns, lambda: self.enter(order))

    def _is_releasable(self, order: Order) -> bool:
        return order.tif not in AUCTIONS and self.is_trading(order)

    def _wait_for_session(self, order: Order) -> None:
        if order.own_status is not OrderStatus.ACCEPTED:
            self.set_status(order, OrderStatus.ACCEPTED, "accepted")

    def enter(self, order: Order) -> None:
        """Put a released order into the book, or what has replaced it on the way."""
        while order.status is OrderStatus.REPLACED and order.replaced_by is not None:
            order = self._blotter.find(order.replaced_by)
        if not order.is_live:
            return
        order.is_working = True
        if is_trailing(order):
            follow(order, self.books[order.symbol].mark())
        if order.order_class is OrderClass.OCO and order.group is not None:
            for leg in order.group.legs():
                leg.is_working = True
        self.match(order)

    def match(self, order: Order) -> None:
        """Trade `order` against the touch; an IOC or FOK is over afterwards."""
        if order.can_trade and self.is_trading(order):
            book = self.books[order.symbol]
            deal = matching.at_touch(order, book, sized=self._sized)
            whole_only = order.tif is TimeInForce.FOK
            if deal is not None and not (whole_only and deal[1] < order.wanted_at(deal[0])):
                price, qty = deal
                qty = qty if whole_only else self._executions.cut(order, qty)
                book.consume(order.side, qty)
                self._fill(order, price, qty)
            if self._sized and order.can_trade:
                matching.queue_up(order, book)
        if order.tif in _IMMEDIATE_TIFS and order.can_trade:
            self.end(order, OrderStatus.CANCELED)

    def sweep(self, orders: tuple[Order, ...], tick: Tick) -> None:
        """Let one tick elect stops and fill what rests, by price and time.

        A print fills only what rested before it: not the stop-limit that it has just elected.
        """
        resting = [order for order in orders if order.can_trade]
        book = self.books[tick.symbol]
        for order in orders:
            if order.awaits_election and self.is_trading(order):
                self._look_at_stop(order, tick, book)
        if len(resting) > 1:
            resting.sort(key=matching.eagerness)
        for order in resting:
            if not order.can_trade:
                continue
            if order.tif is TimeInForce.OPG:
                self._open(order, tick)
            elif isinstance(tick, Quote) or not book.is_quoted:
                self.match(order)
            else:
                self._match_print(order, book)

    def _look_at_stop(self, order: Order, tick: Tick, book: Book) -> None:
        trails = is_trailing(order)
        if trails and isinstance(tick, Trade) and book.contains(tick.price):
            follow(order, tick.price)
        within_quote = trails or self._quirks.stop_prints == "within_quote"
        if matching.elects(order, tick, book, within_quote=within_quote):
            self._elect(order)

    def _match_print(self, order: Order, book: Book) -> None:
        if not self.is_trading(order) or matching.is_marketable(order, book.touch(order.side)):
            return  # it waits for displayed size; its own limit would be a worse price than the touch
        deal = matching.by_print(order, book, sized=self._sized)
        if deal is not None:
            book.consume_print(deal[1])
            self._fill(order, *deal)

    def _open(self, order: Order, tick: Tick) -> None:
        """Fill an order for the opening against the first market of the session, and cancel what is left."""
        if not self.is_trading(order):
            return
        if isinstance(tick, Quote):
            self.match(order)
        else:
            book = self.books[tick.symbol]
            deal = matching.deal_at(order, tick.price, book.last_left if self._sized else None)
            if deal is not None:
                book.consume_print(deal[1])
                self._fill(order, *deal)
        if order.is_live:
            self.end(order, OrderStatus.CANCELED)

    def close(self, order: Order) -> None:
        """Fill an order for the close against the market as the session leaves it, and cancel what is left."""
        self.set_status(order, OrderStatus.NEW, "new")
        order.is_working = True
        book = self.books[order.symbol]
        deal = matching.at_touch(order, book, sized=self._sized)
        if deal is not None and order.symbol not in self._hours.halted:
            book.consume(order.side, deal[1])
            self._fill(order, *deal)
        if order.is_live:
            self.end(order, OrderStatus.CANCELED)

    def _fill(self, order: Order, price: Price, qty: Qty) -> None:
        self._executions.fill(order, price, qty, self.t_ns)
        self.touched.add(order.symbol)
        if order.group is not None:
            self._after_group_fill(order, order.group)

    def _after_group_fill(self, order: Order, group: Group) -> None:
        if order is group.entry:
            if not order.remaining:
                self._activate(group)
            return
        for sibling in group.legs():
            if sibling is order or not sibling.is_live:
                continue
            if order.remaining:
                self._cut_leg(sibling, order.remaining)
            elif sibling.leg is Leg.STOP_LOSS:
                is_streamed = self._quirks.stop_cancel_event == "sent"
                self._finish(sibling, OrderStatus.CANCELED, is_streamed=is_streamed)
            else:
                is_replaced = self._quirks.target_after_stop == "replaced"
                status = OrderStatus.REPLACED if is_replaced else OrderStatus.CANCELED
                self._finish(sibling, status, is_streamed=True)

    def _cut_leg(self, leg: Order, remainder: Qty) -> None:
        """Cut a leg to what the other one has left."""
        qty = Qty(leg.filled_qty + remainder)
        if self._quirks.reduced_stop == "new_id" and leg.status_behind is None:
            successor = write_successor(leg, ReplaceRequest(qty=qty), 0, self._blotter, self.t_ns)
            self._blotter.record(successor)
            self.substitute(leg, successor)
            return
        leg.qty, leg.updated_ns = qty, self.t_ns
        if self._quirks.reduced_stop == "same_id":
            # Which event tells of it is unconfirmed; this one is in the venue's own list and fits.
            self._blotter.emit("restated", leg, self.t_ns)

    def substitute(self, old: Order, new: Order) -> Order:
        """Let `new`, recorded and not yet live, take the place of `old`; return it as it was then."""
        if new.group is not None:
            new.group.substitute(old, new)
        old.replaced_by = new.order_id
        self._blotter.finish(old, OrderStatus.REPLACED, self.t_ns)
        self._blotter.enlist(new)
        self.watch_end(new)
        self.touched.add(new.symbol)
        self._blotter.emit("replaced", old, self.t_ns)
        replacement = new.snapshot()
        if new.own_status is not OrderStatus.HELD:
            self._blotter.emit("new", new, self.t_ns)
        elif self._quirks.held_event == "sent":
            self._blotter.emit("held", new, self.t_ns)
        return replacement

    def _activate(self, group: Group) -> None:
        group.active = True
        self._size_legs(group)
        profit = group.take_profit
        if profit is not None and profit.is_live:
            self.set_status(profit, OrderStatus.NEW, "new")
            self.match(profit)
        stop = group.stop_loss  # if the target has filled in part, that may be another one by now
        if stop is None or not stop.is_live:
            return
        if profit is None or self._quirks.stop_leg_status == "new":
            # A stop with no target beside it has nothing to wait for.
            self.set_status(stop, OrderStatus.NEW, "new")
        if stop.awaits_election and stop.stop_price is not None and self.is_trading(stop):
            # The market may have gone through the stop while the entry was filling.
            mark = self.books[stop.symbol].mark()
            if matching.is_through_stop(stop.side, stop.stop_price, mark):
                self._elect(stop)

    def _size_legs(self, group: Group) -> None:
        """Let the legs work for what the entry filled, as far as nothing else holds it back; for nothing they end."""
        entry, legs = group.entry, group.legs()
        assert entry is not None
        others = [order for order in self._blotter.live_of(entry.symbol) if order not in legs]
        free = free_qty(self._executions.account.qty(entry.symbol), others)
        for leg in legs:
            if free:
                leg.qty, leg.is_working = Qty(min(entry.filled_qty, free)), True
            else:
                self._finish(leg, OrderStatus.CANCELED, is_streamed=True)

    def _elect(self, order: Order) -> None:
        order.elected_ns = self.t_ns
        is_buy_stop = order.order_type is OrderType.STOP and order.side is Side.BUY
        if is_buy_stop and self._quirks.buy_stop == "limited":
            assert order.stop_price is not None
            cap = matching.buy_stop_cap(order.stop_price)
            order.cap_price = Price(floor_to(cap, order.asset.tick(cap)))
        if order.worst_price is not None:
            self.after(ELECTED_NS, lambda: self.touched.add(order.symbol))
        if order.own_status is not OrderStatus.NEW:
            self.set_status(order, OrderStatus.NEW, "new")
        self.match(order)

    def end(self, order: Order, status: OrderStatus) -> None:
        """End a live order (`canceled`, `expired`) and with it its group."""
        self._finish(order, status, is_streamed=True)
        group = order.group
        if group is None:
            return
        if order is group.entry and order.filled_qty and self._quirks.partial_entry_legs == "kept":
            self._activate(group)
            return
        for member in group.members():
            if member.is_live:
                self._finish(member, status, is_streamed=True)

    def _finish(self, order: Order, status: OrderStatus, *, is_streamed: bool) -> None:
        self.touched.add(order.symbol)
        self._blotter.finish(order, status, self.t_ns)
        if is_streamed:
            self._blotter.emit(status.value, order, self.t_ns)

    def set_status(self, order: Order, status: OrderStatus, event: str) -> None:
        """Change a live order's status and tell."""
        self.touched.add(order.symbol)
        order.set_status(status, self.t_ns)
        self._blotter.emit(event, order, self.t_ns)
