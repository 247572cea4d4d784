"""Prices and sizes: what an order fills at against one symbol's book, and when a stop is elected.

Owns the book (top of book, last print, what is left of the displayed size) and the matching rules; knows no
account and no order life. All functions are pure but for the book's own numbers.

Rules. A marketable order trades at the far touch, so a limit gets price improvement and never worse than its
price. A resting limit fills when the far quote reaches it, or at its own price when a print goes *through* it.
Equity stops are elected by prints at or through the stop. Coin stops also by the near quote (the bid for a sell
stop, the ask for a buy stop), since coins print rarely. A symbol that was never quoted (a tape of prints only)
trades at its last print on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

from hands.core.units import NANO, Price, Qty, floor_to
from hands.core.vocab import OrderType, Side
from hands.sim.venue.orders import NO_PRICE, NO_QTY, Order
from hands.sim.venue.ticks import Quote, Trade


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
    """The first price seen: what change_today is measured from."""
    is_quoted: bool = False

    def take_quote(self, quote: Quote) -> None:
        self.bid, self.ask = quote.bid, quote.ask
        self.bid_left, self.ask_left = quote.bid_size, quote.ask_size
        self.is_quoted = True
        if not self.reference:
            self.reference = self.mark()

    def take_trade(self, trade: Trade) -> None:
        self.last, self.last_left = trade.price, trade.size
        if not self.reference:
            self.reference = trade.price

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

    def consume(self, side: Side, qty: int) -> None:
        """Take `qty` off the size displayed to orders of `side`."""
        if not self.is_quoted:
            self.last_left = Qty(max(0, self.last_left - qty))
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
    """Return whether `order` accepts to trade at `price`; an elected plain stop accepts any."""
    if not price:
        return False
    if order.limit_price is None:
        return True
    return price <= order.limit_price if order.side is Side.BUY else price >= order.limit_price


def whole_lots(order: Order, qty: int) -> Qty:
    """Return `qty` cut to what can be one execution of `order`: whole shares for a whole-share order."""
    fractional = order.asset.is_crypto or order.qty % NANO
    return Qty(qty if fractional else floor_to(qty, NANO))


def at_touch(order: Order, book: Book, *, sized: bool) -> tuple[Price, Qty] | None:
    """Return (price, qty) that `order` trades now, at most the displayed size where `sized`; None if nothing."""
    price = book.touch(order.side)
    if not is_marketable(order, price):
        return None
    qty = min(order.remaining, book.displayed(order.side)) if sized else order.remaining
    qty = whole_lots(order, qty)
    return (price, qty) if qty > 0 else None


def by_print(order: Order, trade: Trade, *, sized: bool) -> tuple[Price, Qty] | None:
    """Return (price, qty) that a resting limit trades because `trade` printed through it; None if nothing."""
    limit = order.limit_price
    if limit is None:
        return None
    through = trade.price < limit if order.side is Side.BUY else trade.price > limit
    if not through:
        return None
    qty = whole_lots(order, min(order.remaining, trade.size) if sized else order.remaining)
    return (limit, qty) if qty > 0 else None


def is_through_stop(side: Side, stop_price: int, price: int) -> bool:
    """Return whether `price` is at or beyond the stop of an order of `side`."""
    return price > 0 and (price <= stop_price if side is Side.SELL else price >= stop_price)


def elects(order: Order, tick: Quote | Trade) -> bool:
    """Return whether `tick` elects the waiting stop `order`."""
    assert order.stop_price is not None
    if isinstance(tick, Trade):
        return is_through_stop(order.side, order.stop_price, tick.price)
    if not order.asset.is_crypto:
        return False
    near = tick.bid if order.side is Side.SELL else tick.ask
    return is_through_stop(order.side, order.stop_price, near)


def reserve_price(order_type: OrderType, side: Side, limit: int | None, stop: int | None, ask: int) -> Price:
    """Return the price an opening order is reserved at: its limit, or what it may cost; short sales at 1.03 x ask."""
    if side is Side.SELL:
        return Price(max(limit or 0, -(-103 * ask // 100)))
    if limit is not None:
        return Price(limit)
    if order_type is OrderType.STOP and stop is not None:
        # The venue turns a buy stop into a stop-limit 4 % (below 50 USD) or 2.5 % above it.
        return Price(-(-stop * (1040 if stop < 50 * NANO else 1025) // 1000))
    return Price(ask)
