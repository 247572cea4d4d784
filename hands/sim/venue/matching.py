"""Prices and sizes: what an order fills at against one symbol's book, and when a stop is elected.

Owns the book (top of book, last print, what is left of the displayed sizes) and the matching rules; knows no
account and no order life. All functions are pure but for the book's own numbers and an order's place in the queue.

Rules. A marketable order trades at the far touch, so a limit gets price improvement and never worse than its
price; a stop that the market has jumped over trades worse than its stop, a stop-limit rests. A resting limit fills
when the far quote reaches it, or at its own price when a print goes *through* it. Where sizes count ("realistic"):

- all our orders share the size of one quote, and of one print;
- a resting limit stands in a queue. Inside the spread it is alone; at the near price everything displayed there
  is ahead of it, less when less is displayed later; deeper it stands nowhere until the market comes to it. Prints
  at its price use up first what is ahead, then fill it; a print through its price fills it whatever was ahead.

Equity stops are elected by prints at or through the stop; trailing stops, and with the quirk `stop_prints` every
other, only by prints within the quote. Coin stops also by the near quote (the bid for a sell
stop, the ask for a buy stop), since coins print rarely. A symbol that was never quoted (a tape of prints only)
trades at its last print on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hands.core.units import NANO, NANO_ABS_MAX, Price, Qty, div_ceil, floor_to
from hands.core.vocab import OrderType, Side
from hands.sim.venue.orders import NO_PRICE, NO_QTY, Order
from hands.sim.venue.ticks import Quote, Tick, Trade

_ANY_PRICE: Final = NANO_ABS_MAX


@dataclass(slots=True)
class Book:
    """The market in one symbol; 0 means unknown. `*_left` is the displayed size not yet taken by our fills."""

    symbol: str
    bid: Price = NO_PRICE
    ask: Price = NO_PRICE
    bid_left: Qty = NO_QTY
    ask_left: Qty = NO_QTY
    last: Price = NO_PRICE
    last_left: Qty = NO_QTY
    reference: Price = NO_PRICE
    """What today's change is measured from: the last close or, before there was one, the first price seen."""
    close: Price = NO_PRICE
    """The price when the regular session last closed; the reference from the next day on."""
    is_quoted: bool = False

    def take(self, tick: Tick) -> None:
        """Let the market move."""
        if isinstance(tick, Quote):
            self.bid, self.ask = tick.bid, tick.ask
            self.bid_left, self.ask_left = tick.bid_size, tick.ask_size
            self.is_quoted = True
        else:
            self.last, self.last_left = tick.price, tick.size
        if not self.reference:
            self.reference = self.mark()

    def begin_day(self) -> None:
        """Let today's change count from the last close."""
        self.reference = self.close or self.reference

    def touch(self, side: Side) -> Price:
        """Return what an order of `side` would pay or get now; 0 if there is nobody on the other side."""
        if not self.is_quoted:
            return self.last
        return self.ask if side is Side.BUY else self.bid

    def displayed(self, side: Side) -> Qty:
        """Return the size still available to an order of `side` at the touch."""
        if not self.is_quoted:
            return self.last_left
        return self.ask_left if side is Side.BUY else self.bid_left

    def near(self, side: Side) -> tuple[Price, Qty]:
        """Return the best price on the side where an order of `side` would rest, and the size shown there."""
        return (self.bid, self.bid_left) if side is Side.BUY else (self.ask, self.ask_left)

    def contains(self, price: int) -> bool:
        """Return whether `price` is within the quote; anything is where there is none."""
        return (not self.bid or self.bid <= price) and (not self.ask or price <= self.ask)

    def consume_print(self, qty: int) -> None:
        """Take `qty` off the size of the last print."""
        self.last_left = Qty(max(0, self.last_left - qty))

    def consume(self, side: Side, qty: int) -> None:
        """Take `qty` off the size displayed to orders of `side`."""
        if not self.is_quoted:
            self.consume_print(qty)
        elif side is Side.BUY:
            self.ask_left = Qty(max(0, self.ask_left - qty))
        else:
            self.bid_left = Qty(max(0, self.bid_left - qty))

    def mark(self) -> Price:
        """Return the current price: the last print if it is within the quote, else the middle; 0 if unknown."""
        if self.bid and self.ask:
            return self.last if self.bid <= self.last <= self.ask else Price((self.bid + self.ask) // 2)
        return self.last or self.bid or self.ask


def is_marketable(order: Order, price: int) -> bool:
    """Return whether `order` accepts to trade at `price`; one without limit or cap accepts any."""
    if not price:
        return False
    worst = order.worst_price
    if worst is None:
        return True
    return price <= worst if order.side is Side.BUY else price >= worst


def eagerness(order: Order) -> tuple[int, int]:
    """Return the sort key of price-time priority: whoever accepts the worse price first, then the older."""
    worst = order.worst_price
    if worst is None:
        return (-_ANY_PRICE, order.sequence)
    return (-worst if order.side is Side.BUY else worst, order.sequence)


def whole_lots(order: Order, qty: int) -> Qty:
    """Return `qty` cut to what can be one execution of `order`: whole shares for a whole-share order."""
    return Qty(qty if order.is_fractional else floor_to(qty, NANO))


def deal_at(order: Order, price: Price, available: int | None) -> tuple[Price, Qty] | None:
    """Return (price, qty) that `order` trades at `price`, at most `available` (None: any); None if nothing."""
    if not is_marketable(order, price):
        return None
    wanted = order.wanted_at(price)
    qty = whole_lots(order, wanted if available is None else min(wanted, available))
    return (price, qty) if qty > 0 else None


def at_touch(order: Order, book: Book, *, sized: bool) -> tuple[Price, Qty] | None:
    """Return (price, qty) that `order` trades now, at most the displayed size where `sized`; None if nothing."""
    return deal_at(order, book.touch(order.side), book.displayed(order.side) if sized else None)


def by_print(order: Order, book: Book, *, sized: bool) -> tuple[Price, Qty] | None:
    """Return (price, qty) that a resting limit trades because of the last print; None if nothing.

    Where `sized`, a print at the limit moves the queue up, whether or not it reaches `order`.
    """
    limit = order.worst_price
    if limit is None:
        return None
    available: int | None = book.last_left if sized else None
    if book.last == limit:
        if available is None or order.queue_ahead is None:
            return None
        before_us = min(order.queue_ahead, available)
        order.queue_ahead = Qty(order.queue_ahead - before_us)
        available -= before_us
    elif book.last > limit if order.side is Side.BUY else book.last < limit:
        return None
    return deal_at(order, limit, available)


def queue_up(order: Order, book: Book) -> None:
    """Give a resting limit its place behind what the quote displays at its price."""
    limit = order.worst_price
    if limit is None or not book.is_quoted:
        return
    near, size = book.near(order.side)
    if limit == near:
        order.queue_ahead = size if order.queue_ahead is None else Qty(min(order.queue_ahead, size))
    elif not near or (limit > near if order.side is Side.BUY else limit < near):
        order.queue_ahead = NO_QTY


def is_through_stop(side: Side, stop_price: int, price: int) -> bool:
    """Return whether `price` is at or beyond the stop of an order of `side`."""
    return price > 0 and (price <= stop_price if side is Side.SELL else price >= stop_price)


def elects(order: Order, tick: Tick, book: Book, *, within_quote: bool) -> bool:
    """Return whether `tick` elects the waiting stop `order`; with `within_quote` only prints within it do."""
    stop = order.stop_price
    if stop is None:
        return False  # a trailing stop that has seen no price yet
    if isinstance(tick, Trade):
        return is_through_stop(order.side, stop, tick.price) and (
            not within_quote or book.contains(tick.price)
        )
    if not order.asset.is_crypto:
        return False
    near = tick.bid if order.side is Side.SELL else tick.ask
    return is_through_stop(order.side, stop, near)


def buy_stop_cap(stop_price: int) -> Price:
    """Return the limit that the venue gives a buy stop: 4 % above a stop below 50 USD, 2.5 % above any other."""
    return Price(div_ceil(stop_price * (1040 if stop_price < 50 * NANO else 1025), 1000))


def reserve_price(order_type: OrderType, side: Side, limit: int | None, stop: int | None, ask: int) -> Price:
    """Return the price an opening order is reserved at: its limit, or what it may cost; short sales at 1.03 x ask."""
    if side is Side.SELL:
        return Price(max(limit or 0, div_ceil(103 * ask, 100)))
    if limit is not None:
        return Price(limit)
    if order_type in (OrderType.STOP, OrderType.TRAILING_STOP) and stop is not None:
        return buy_stop_cap(stop)
    return Price(ask)
