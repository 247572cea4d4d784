"""Money and positions: cash, cost, fees, what open orders hold back, and what is left to spend.

Owns the account's arithmetic, all of it in integers. May not look at the market: prices are handed in. The
idea to read it with: money and shares are never set aside in a counter that could drift; what is reserved is
computed from the live orders every time it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from hands.core.units import NANO, Ns, Price, Qty, Ratio, Usd, div_half_up, mul_ceil, mul_floor
from hands.core.vocab import Side
from hands.sim.venue.assets import Asset
from hands.sim.venue.orders import Order

CRYPTO_FEE: Final = Ratio(NANO * 25 // 10_000)
"""25 basis points, taken out of what is received: coins when buying, dollars when selling. The venue has tiers by
thirty days' volume and charges makers less; this is what takers pay in the lowest, whoever makes the market here."""


@dataclass(slots=True, eq=False)
class Position:
    """A holding: signed `qty`, and `cost`, what it was opened for (always positive, average-cost method)."""

    asset: Asset
    qty: Qty
    cost: Usd
    day_cost: Usd
    """The same for today: what was held when the day began counts at the last close."""
    updated_ns: Ns

    @property
    def avg_entry_price(self) -> Price:
        return Price(div_half_up(self.cost * NANO, abs(self.qty)))

    def market_value(self, price: int) -> Usd:
        return Usd(mul_floor(self.qty, price))


@dataclass(frozen=True, slots=True)
class Funds:
    """The account at one moment; USD. `reserved` is what open orders may cost, margin what they tie up."""

    cash: Usd
    equity: Usd
    long_market_value: Usd
    short_market_value: Usd
    initial_margin: Usd
    reserved: Usd
    buying_power: Usd
    non_marginable_buying_power: Usd


class Account:
    """Cash and positions; changed by fills only."""

    def __init__(self, cash_usd: Usd, multiplier: int) -> None:
        self.cash = cash_usd
        self.multiplier = multiplier
        self.positions: dict[str, Position] = {}

    def qty(self, symbol: str) -> Qty:
        """Return the signed holding of `symbol`."""
        position = self.positions.get(symbol)
        return position.qty if position is not None else Qty(0)

    def apply(self, asset: Asset, side: Side, price: Price, qty: Qty, at_ns: Ns) -> tuple[int, str]:
        """Book one execution and return (fee, the asset the fee was taken in)."""
        if side is Side.BUY:
            self.cash = Usd(self.cash - mul_ceil(price, qty))
            fee = mul_ceil(qty, CRYPTO_FEE) if asset.is_crypto else 0
            self._move(asset, qty - fee, price, at_ns)
            return fee, asset.coin if asset.is_crypto else "USD"
        proceeds = mul_floor(price, qty)
        fee = mul_ceil(proceeds, CRYPTO_FEE) if asset.is_crypto else 0
        self.cash = Usd(self.cash + proceeds - fee)
        self._move(asset, -qty, price, at_ns)
        return fee, "USD"

    def _move(self, asset: Asset, change: int, price: Price, at_ns: Ns) -> None:
        position = self.positions.get(asset.symbol)
        if position is None:
            position = self.positions[asset.symbol] = Position(asset, Qty(0), Usd(0), Usd(0), at_ns)
        position.cost = _moved(position.cost, position.qty, change, price)
        position.day_cost = _moved(position.day_cost, position.qty, change, price)
        position.qty, position.updated_ns = Qty(position.qty + change), at_ns
        if not position.qty:
            del self.positions[asset.symbol]

    def begin_day(self, last_close: Callable[[str], Price]) -> None:
        """Let today's profit count from the last close."""
        for symbol, position in self.positions.items():
            position.day_cost = Usd(mul_floor(abs(position.qty), last_close(symbol)))

    def funds(self, mark: Callable[[str], Price], live: Mapping[str, Iterable[Order]]) -> Funds:
        """Return what the account is worth and may spend, `live` being the open orders by symbol."""
        long_value = short_value = margin = 0
        for symbol, position in self.positions.items():
            value = position.market_value(mark(symbol))
            if value >= 0:
                long_value += value
            else:
                short_value += value
            margin += self._margin(position.asset, abs(value))
        reserved = reserved_buys = 0
        for symbol, orders in live.items():
            for order, usd in opening_costs(orders, self.qty(symbol)):
                reserved += usd
                reserved_buys += usd if order.side is Side.BUY else 0
                margin += self._margin(order.asset, usd)
        equity = self.cash + long_value + short_value
        free = equity - margin
        return Funds(
            cash=self.cash,
            equity=Usd(equity),
            long_market_value=Usd(long_value),
            short_market_value=Usd(short_value),
            initial_margin=Usd(margin),
            reserved=Usd(reserved),
            buying_power=Usd(max(0, free) * self.multiplier),
            non_marginable_buying_power=Usd(max(0, min(self.cash - reserved_buys, free))),
        )

    def _margin(self, asset: Asset, value: int) -> int:
        # Rounded up, so that buying power is never more than it should be.
        return -(-value // self.multiplier) if asset.marginable else value


def _moved(cost: Usd, before: int, change: int, price: Price) -> Usd:
    """Return the cost of a holding of `before` after `change` at `price`."""
    after = before + change
    if before * change >= 0:
        return Usd(cost + mul_floor(abs(change), price))
    if abs(change) <= abs(before):
        return Usd(cost * abs(after) // abs(before))
    return Usd(mul_floor(abs(after), price))


def held_qty(orders: Iterable[Order], side: Side) -> Qty:
    """Return what the live orders of `side` hold back of a position they would close; a group counts once."""
    total = 0
    groups: dict[int, int] = {}
    for order in orders:
        if order.side is not side or not order.is_live or order.is_dormant:
            continue
        if _is_leg(order):
            key = id(order.group)
            groups[key] = max(groups.get(key, 0), order.reach)
        else:
            total += order.reach
    return Qty(total + sum(groups.values()))


def free_qty(position_qty: int, orders: Iterable[Order]) -> Qty:
    """Return how much of a holding none of `orders` holds back."""
    return Qty(max(0, abs(position_qty) - held_qty(orders, closing_side(position_qty))))


def _is_leg(order: Order) -> bool:
    return order.group is not None and order.group.entry is not order


def closing_side(position_qty: int) -> Side:
    """Return the side that reduces a holding."""
    return Side.SELL if position_qty >= 0 else Side.BUY


def opens(order: Order, position_qty: int) -> bool:
    """Return whether a live order opens or adds to a holding, no part of the holding being left to close."""
    return not _is_leg(order) and not (position_qty and order.side is closing_side(position_qty))


def reserved_cost(order: Order) -> Usd:
    """Return what an opening order holds back: what it may still cost, or the replacement on its way, the larger."""
    if order.notional is not None:
        return Usd(order.notional - order.traded_value)
    cost = mul_ceil(order.remaining, order.reserve_price)
    successor = order.successor
    return Usd(
        cost if successor is None else max(cost, mul_ceil(successor.remaining, successor.reserve_price))
    )


def opening_costs(orders: Iterable[Order], position_qty: int) -> list[tuple[Order, Usd]]:
    """Return every live order that opens or adds, with the USD its unfilled part may cost.

    Orders against the position first use it up, in order of submission; what is left of them opens.
    """
    closable = abs(position_qty)
    out: list[tuple[Order, Usd]] = []
    for order in orders:
        if not order.is_live or _is_leg(order):
            continue
        if opens(order, position_qty):
            out.append((order, reserved_cost(order)))
            continue
        used = min(closable, order.reach)
        closable -= used
        if order.reach > used:
            out.append((order, Usd(mul_ceil(order.reach - used, order.reserve_price))))
    return out
