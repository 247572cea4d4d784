"""Trailing stops: the high water mark and the stop price that follows it.

Owns the arithmetic. Decides nothing about election: once it has a stop price, a trailing stop is elected as any
other stop. The rules: the mark starts at the current price when the order is taken, looks again when it reaches the
book, and moves from then on with prints within the quote in the regular session; it moves in the order's favour only.
The stop is rounded to the price increment away from the market, so that it is never tighter than asked.
"""

from __future__ import annotations

from typing import Final

from hands.core.units import NANO, Price, ceil_to, floor_to
from hands.core.vocab import OrderType, Side
from hands.sim.venue.orders import Order

_PER_CENT: Final = 100 * NANO


def is_trailing(order: Order) -> bool:
    return order.order_type is OrderType.TRAILING_STOP


def trail_stop(order: Order, mark: int) -> Price:
    """Return the stop price of `order` while its high (of a buy: low) water mark is `mark`."""
    if order.trail_price is not None:
        distance = int(order.trail_price)
    else:
        assert order.trail_percent is not None
        distance = mark * order.trail_percent // _PER_CENT
    if order.side is Side.SELL:
        stop = max(mark - distance, 1)
        return Price(max(floor_to(stop, order.asset.tick(stop)), order.asset.tick(stop)))
    stop = mark + distance
    return Price(ceil_to(stop, order.asset.tick(stop)))


def follow(order: Order, price: int) -> None:
    """Let the water mark of `order` follow a print at `price`, if that is in its favour, and the stop with it."""
    mark = order.high_water_mark
    if not price:
        return
    if mark is None or (price > mark if order.side is Side.SELL else price < mark):
        order.high_water_mark = Price(price)
        order.stop_price = trail_stop(order, price)
