"""What happens to an order once it is taken: release, election, fills, and what each does to its group.

Owns every change of status after acknowledgement. May not refuse anything (admission does) and reads no clock:
`t_ns` is the time of the operation under way. The rules of a group, in one place:

- a *complete* entry fill releases the legs: the take-profit is `new`, the stop stays `held` until it is elected;
- a take-profit's partial fill cuts the stop to the remainder, its complete fill cancels it without an event;
- a stop's fill does the same to the take-profit, with an event;
- ending any member ends the group; a partly filled entry's legs too, unless the quirk `partial_entry_legs` is "kept".
"""

from __future__ import annotations

import random
from typing import Final

from hands.core.units import NANO, Ns, Price, Qty
from hands.core.vocab import Leg, OrderStatus, TimeInForce
from hands.sim.venue import matching
from hands.sim.venue.account import Account
from hands.sim.venue.blotter import Blotter
from hands.sim.venue.calendar import MarketClock
from hands.sim.venue.matching import Book
from hands.sim.venue.orders import Fill, Group, Order
from hands.sim.venue.quirks import PLAIN
from hands.sim.venue.ticks import Quote, Tick, Trade

RANDOM_PARTIAL_RATE: Final = 0.1


class Lifecycle:
    """Moves live orders forward against the books."""

    def __init__(
        self,
        account: Account,
        blotter: Blotter,
        clock: MarketClock,
        *,
        sized: bool,
        chance: random.Random | None,
    ) -> None:
        self.books: dict[str, Book] = {}
        self.touched: set[str] = set()
        self.t_ns = Ns(0)
        self.quirks = PLAIN
        self._account = account
        self._blotter = blotter
        self._clock = clock
        self._sized = sized
        self._chance = chance

    def is_trading(self, order: Order) -> bool:
        """Return whether the session lets `order` trade now."""
        if order.asset.is_crypto or self._clock.is_always or self._clock.at(self.t_ns).is_open:
            return True
        return order.extended_hours and self._clock.is_extended(self.t_ns)

    def release(self, order: Order) -> None:
        """Bring an acknowledged order to the market, or leave it `accepted` until the session opens."""
        self.touched.add(order.symbol)
        if not self.is_trading(order):
            if order.status is not OrderStatus.ACCEPTED:
                self._set(order, OrderStatus.ACCEPTED, "accepted")
            return
        self._set(order, OrderStatus.NEW, "new")
        self.match(order)

    def match(self, order: Order) -> None:
        """Trade `order` against the touch; an IOC or FOK is over afterwards."""
        if order.can_trade and self.is_trading(order):
            book = self.books[order.symbol]
            deal = matching.at_touch(order, book, sized=self._sized)
            whole_only = order.tif is TimeInForce.FOK
            if deal is not None and not (whole_only and deal[1] < order.remaining):
                self._trade(order, book, *deal, whole_only=whole_only)
        if order.tif in (TimeInForce.IOC, TimeInForce.FOK) and order.can_trade:
            self.end(order, OrderStatus.CANCELED)

    def sweep(self, orders: tuple[Order, ...], tick: Tick) -> None:
        """Let one tick elect stops and fill what rests, oldest order first.

        A print fills only what rested before it: not the stop-limit that it has just elected.
        """
        resting = [order for order in orders if order.can_trade]
        for order in orders:
            if order.awaits_election and matching.elects(order, tick) and self.is_trading(order):
                self._elect(order)
        book = self.books[tick.symbol]
        for order in resting:
            if not order.can_trade:
                continue
            if isinstance(tick, Quote) or not book.is_quoted:
                self.match(order)
            else:
                self._match_print(order, tick)

    def _match_print(self, order: Order, trade: Trade) -> None:
        if matching.is_marketable(order, self.books[order.symbol].touch(order.side)):
            return  # it waits for displayed size; its own limit would be a worse price than the touch
        deal = matching.by_print(order, trade, sized=self._sized)
        if deal is not None and self.is_trading(order):
            price, qty = deal
            self._fill(order, price, qty)

    def _trade(self, order: Order, book: Book, price: Price, qty: Qty, *, whole_only: bool) -> None:
        if self._chance is not None and not whole_only and self._chance.random() < RANDOM_PARTIAL_RATE:
            lot = 1 if order.asset.is_crypto or order.qty % NANO else NANO
            lots = qty // lot
            qty = Qty(self._chance.randrange(1, lots) * lot) if lots > 1 else qty
        book.consume(order.side, qty)
        self._fill(order, price, qty)

    def _fill(self, order: Order, price: Price, qty: Qty) -> None:
        assert order.can_trade
        assert 0 < qty <= order.remaining
        assert matching.is_marketable(order, price)
        fee, fee_asset = self._account.apply(order.asset, order.side, price, qty, self.t_ns)
        order.filled_qty = Qty(order.filled_qty + qty)
        order.filled_cost += price * qty
        is_complete = not order.remaining
        if is_complete:
            self._blotter.finish(order, OrderStatus.FILLED, self.t_ns)
        else:
            order.set_status(OrderStatus.PARTIALLY_FILLED, self.t_ns)
        fill = Fill(
            execution_id=self._blotter.new_id(),
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            qty=qty,
            price=price,
            fee=fee,
            fee_asset=fee_asset,
            t_ns=self.t_ns,
            cum_qty=order.filled_qty,
            leaves_qty=order.remaining,
            status=order.status,
        )
        self._blotter.fills.append(fill)
        self.touched.add(order.symbol)
        event = "fill" if is_complete else "partial_fill"
        self._blotter.emit(event, order, self.t_ns, fill, self._account.qty(order.symbol))
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
                sibling.qty = Qty(sibling.filled_qty + order.remaining)
                sibling.updated_ns = self.t_ns
            else:
                streamed = sibling.leg is not Leg.STOP_LOSS or self.quirks.stop_cancel_event == "sent"
                self._finish(sibling, OrderStatus.CANCELED, is_streamed=streamed)

    def _activate(self, group: Group) -> None:
        group.active = True
        profit, stop = group.take_profit, group.stop_loss
        if profit is not None and profit.is_live:
            self._set(profit, OrderStatus.NEW, "new")
            self.match(profit)
        elif stop is not None and stop.is_live:
            self._set(stop, OrderStatus.NEW, "new")  # a stop with no target beside it has nothing to wait for
        if stop is not None and stop.awaits_election and stop.stop_price is not None:
            # The market may have gone through the stop while the entry was filling.
            mark = self.books[stop.symbol].mark()
            if matching.is_through_stop(stop.side, stop.stop_price, mark):
                self._elect(stop)

    def _elect(self, order: Order) -> None:
        order.elected = True
        if order.status is not OrderStatus.NEW:
            self._set(order, OrderStatus.NEW, "new")
        self.match(order)

    def end(self, order: Order, status: OrderStatus) -> None:
        """End a live order (`canceled`, `expired`) and with it its group."""
        self._finish(order, status, is_streamed=True)
        group = order.group
        if group is None:
            return
        if order is group.entry and order.filled_qty and self.quirks.partial_entry_legs == "kept":
            for leg in group.legs():
                leg.qty = order.filled_qty
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

    def _set(self, order: Order, status: OrderStatus, event: str) -> None:
        order.set_status(status, self.t_ns)
        self._blotter.emit(event, order, self.t_ns)
