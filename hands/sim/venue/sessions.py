"""Openings, closes and halts: what they do to the orders that wait for them.

Owns the moments when sessions begin and end, each dealt with at its own time. May not say whether an order may
trade (the trading hours do). The rules:

- what was `accepted` while its session was closed, or its symbol halted, is released when it may trade;
- orders for the opening (opg) reach the book when the regular session opens. The first quote or print of the symbol
  after that is their auction: they fill at its touch, or at the print's price, and what is left is canceled;
- orders for the close (cls) fill when it closes, against the market as it is then, and what is left is canceled;
- what is quoted as a day's change counts from the price when the session last closed, coins included;
- a halt leaves every order as it is: nothing trades and no stop is elected until trading resumes.
"""

from __future__ import annotations

from hands.core.vocab import OrderStatus, TimeInForce
from hands.sim.venue.account import Account
from hands.sim.venue.blotter import Blotter
from hands.sim.venue.hours import TradingHours
from hands.sim.venue.lifecycle import Lifecycle
from hands.sim.venue.orders import Order
from hands.sim.venue.quirks import Quirks
from hands.sim.venue.schedule import SESSION, Schedule
from hands.sim.venue.ticks import Status

_RESTING = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED})


class Sessions:
    """Wakes and stops orders as sessions change."""

    def __init__(
        self,
        life: Lifecycle,
        account: Account,
        blotter: Blotter,
        hours: TradingHours,
        schedule: Schedule,
        quirks: Quirks,
    ) -> None:
        self._life = life
        self._account = account
        self._blotter = blotter
        self._hours = hours
        self._schedule = schedule
        self._is_done_for_day = quirks.day_end == "done_for_day"

    def watch(self) -> None:
        """Be there when the session next changes, if it ever does."""
        change_ns = self._hours.next_change_ns(self._life.t_ns)
        if change_ns is not None:
            self._schedule.add(change_ns, self._change, SESSION)

    def _change(self) -> None:
        t_ns = self._life.t_ns
        opens, closes = self._hours.opens_at(t_ns), self._hours.closes_at(t_ns)
        waiting = [order for orders in self._blotter.live.values() for order in orders]
        for order in sorted(waiting, key=lambda order: order.sequence):
            if not order.is_live or order.asset.is_crypto:
                continue
            if opens:
                self._open(order)
            elif closes:
                self._close(order)
            if order.status is OrderStatus.ACCEPTED:
                self._life.release(order)
        self._keep_day(begins=self._hours.begins_at(t_ns), closes=closes)
        self.watch()

    def _keep_day(self, *, begins: bool, closes: bool) -> None:
        """Note every price as the session closes; the next day's changes and profits count from there."""
        books = self._life.books
        for book in books.values() if begins or closes else ():
            if closes:
                book.close = book.mark()
            else:
                book.begin_day()
        if begins:
            self._account.begin_day(lambda symbol: books[symbol].reference)

    def _open(self, order: Order) -> None:
        if order.own_status is OrderStatus.DONE_FOR_DAY:
            status = OrderStatus.PARTIALLY_FILLED if order.filled_qty else OrderStatus.NEW
            self._life.set_status(order, status, "new")
        elif order.tif is TimeInForce.OPG and order.status is OrderStatus.ACCEPTED:
            order.is_working = True
            self._life.set_status(order, OrderStatus.NEW, "new")

    def _close(self, order: Order) -> None:
        if order.tif is TimeInForce.CLS and order.status is OrderStatus.ACCEPTED:
            self._life.close(order)
        elif self._is_done_for_day and order.own_status in _RESTING and _rests_overnight(order):
            self._life.set_status(order, OrderStatus.DONE_FOR_DAY, "done_for_day")

    def take_status(self, status: Status) -> None:
        """Halt a symbol, or let it trade again."""
        if status.is_halt:
            self._hours.halted.add(status.symbol)
        elif status.is_resumption and status.symbol in self._hours.halted:
            self._hours.halted.remove(status.symbol)
            for order in tuple(self._blotter.live_of(status.symbol)):
                if order.status is OrderStatus.ACCEPTED:
                    self._life.release(order)


def _rests_overnight(order: Order) -> bool:
    return order.tif is TimeInForce.GTC and not order.extended_hours
