"""Executions: what a deal does to the order, the account and the record.

Owns the one place where an order fills, and the dice that cut fills short. May not decide who trades or at what
price (matching does), nor what a fill means to other orders (the lifecycle does).
"""

from __future__ import annotations

import random
from typing import Final

from hands.core.units import NANO, Ns, Price, Qty, Usd, mul_ceil
from hands.core.vocab import OrderStatus
from hands.sim.venue.account import Account
from hands.sim.venue.blotter import Blotter
from hands.sim.venue.matching import is_marketable
from hands.sim.venue.orders import Fill, Order

RANDOM_PARTIAL_RATE: Final = 0.1


class Executions:
    """Books deals; `chance` None for fills that are never cut."""

    def __init__(self, account: Account, blotter: Blotter, chance: random.Random | None) -> None:
        self.account = account
        self._blotter = blotter
        self._chance = chance

    def cut(self, order: Order, qty: Qty) -> Qty:
        """Return `qty`, or one time in ten a random part of it."""
        if self._chance is None or self._chance.random() >= RANDOM_PARTIAL_RATE:
            return qty
        lot = 1 if order.is_fractional else NANO
        lots = qty // lot
        return Qty(self._chance.randrange(1, lots) * lot) if lots > 1 else qty

    def fill(self, order: Order, price: Price, qty: Qty, t_ns: Ns) -> None:
        """Execute `qty` of `order` at `price` and tell."""
        assert order.can_trade
        assert is_marketable(order, price)
        order.qty = Qty(order.filled_qty + order.wanted_at(price))
        assert 0 < qty <= order.remaining
        fee, fee_asset = self.account.apply(order.asset, order.side, price, qty, t_ns)
        order.filled_qty = Qty(order.filled_qty + qty)
        order.filled_cost += price * qty
        order.traded_value = Usd(order.traded_value + mul_ceil(price, qty))
        if not order.wanted_at(price):
            order.qty = order.filled_qty  # the dollars that are left buy nothing any more
        is_complete = not order.remaining
        if is_complete:
            self._blotter.finish(order, OrderStatus.FILLED, t_ns)
        else:
            order.set_status(OrderStatus.PARTIALLY_FILLED, t_ns)
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
            t_ns=t_ns,
            cum_qty=order.filled_qty,
            leaves_qty=order.remaining,
            status=order.own_status,
        )
        self._blotter.fills.append(fill)
        event = "fill" if is_complete else "partial_fill"
        self._blotter.emit(event, order, t_ns, fill, self.account.qty(order.symbol))
