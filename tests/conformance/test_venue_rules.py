"""The engine's table of what the venue accepts against the simulator's own rules, by enumeration.

The two are written independently and share only their words, so a disagreement is a defect of one of them. Every
combination of asset class, order class, type, time in force and direction is put to both.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from hands.core.units import NANO, Ns, Price, Qty, Usd, nano
from hands.core.venue_rules import illegal
from hands.core.vocab import AssetClass, OrderClass, OrderType, Side, TimeInForce
from hands.sim.venue.errors import VenueError
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.orders import OrderRequest
from hands.sim.venue.ticks import Quote

NOW = Ns(1_792_000_000 * NANO)
SYMBOLS = {AssetClass.EQUITY: "AAPL", AssetClass.CRYPTO: "SOL/USD"}
TYPES = (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT)
CLASSES = (OrderClass.SIMPLE, OrderClass.BRACKET, OrderClass.OCO)
AUCTIONS = (TimeInForce.OPG, TimeInForce.CLS)
COMBINATIONS = [
    combination
    for combination in product(AssetClass, CLASSES, TYPES, TimeInForce, (False, True))
    if not (combination[1] is OrderClass.OCO and combination[4])  # an OCO is an exit: it opens nothing
]


def price(text: str) -> Price:
    return Price(nano(text))


def exchange_with(symbol: str, held: int) -> Exchange:
    """An exchange at 149.98/150.00 that holds `held` units of the symbol for us."""
    exchange = Exchange(lambda: NOW, cash_usd=Usd(nano("1000000")))
    size = Qty(nano("100000"))
    exchange.on_ticks([Quote(symbol, price("149.98"), price("150.00"), size, size, NOW)])
    if held:
        tif = TimeInForce.GTC if "/" in symbol else TimeInForce.DAY
        exchange.submit(OrderRequest(symbol, Side.BUY, OrderType.MARKET, tif, Qty(held * NANO)))
    return exchange


def fitting(order_class: OrderClass, kind: OrderType, *, sell: bool) -> dict[str, Any]:
    """Prices that such an order would have; so a refusal is about its shape and not about its numbers."""
    fields: dict[str, Any] = {"order_class": order_class}
    if kind in (OrderType.LIMIT, OrderType.STOP_LIMIT):
        fields["limit_price"] = price("149" if sell else "151")
    if kind in (OrderType.STOP, OrderType.STOP_LIMIT):
        fields["stop_price"] = price("149" if sell else "151")
    if order_class is OrderClass.BRACKET:
        fields["take_profit_limit_price"] = price("140" if sell else "160")
        fields["stop_loss_stop_price"] = price("160" if sell else "140")
    if order_class is OrderClass.OCO:
        fields.pop("limit_price", None)
        fields["take_profit_limit_price"] = price("160")
        fields["stop_loss_stop_price"] = price("140")
    return fields


def venue_says(
    asset_class: AssetClass, order_class: OrderClass, kind: OrderType, tif: TimeInForce, *, short: bool
) -> str | None:
    """Return the simulator's refusal of such an order for ten units, None where it is accepted."""
    symbol = SYMBOLS[asset_class]
    exit_only = order_class is OrderClass.OCO
    exchange = exchange_with(symbol, held=10 if exit_only else 0)
    side = Side.SELL if exit_only or short else Side.BUY
    fields = fitting(order_class, kind, sell=side is Side.SELL)
    try:
        exchange.submit(OrderRequest(symbol, side, kind, tif, Qty(10 * NANO), **fields))
    except VenueError as refusal:
        return str(refusal.message)
    return None


@pytest.mark.parametrize(("asset_class", "order_class", "kind", "tif", "short"), COMBINATIONS)
def test_what_the_engine_holds_for_legal_the_venue_accepts_and_the_reverse(
    asset_class: AssetClass, order_class: OrderClass, kind: OrderType, tif: TimeInForce, short: bool
) -> None:
    ours = illegal(asset_class, order_class, kind, tif, 10 * NANO, short=short)
    theirs = venue_says(asset_class, order_class, kind, tif, short=short)
    if tif in AUCTIONS:
        assert ours is not None, "auction orders are not sent: the venue takes them only in certain hours"
    else:
        assert (ours is None) == (theirs is None), f"we say {ours!r}, the venue says {theirs!r}"


def test_the_enumeration_meets_both_answers() -> None:
    said = [illegal(c, o, k, t, 10 * NANO, short=s) is None for c, o, k, t, s in COMBINATIONS]
    assert said.count(True) > 20
    assert said.count(False) > 100


@pytest.mark.parametrize("order_class", [OrderClass.SIMPLE, OrderClass.BRACKET])
def test_a_part_of_a_share_is_no_bracket_and_no_short(order_class: OrderClass) -> None:
    half = NANO // 2
    kind, tif = OrderType.LIMIT, TimeInForce.DAY
    ours = illegal(AssetClass.EQUITY, order_class, kind, tif, half, short=order_class is OrderClass.SIMPLE)
    exchange = exchange_with("AAPL", held=0)
    side = Side.SELL if order_class is OrderClass.SIMPLE else Side.BUY
    with pytest.raises(VenueError):
        exchange.submit(
            OrderRequest(
                "AAPL", side, kind, tif, Qty(half), **fitting(order_class, kind, sell=side is Side.SELL)
            )
        )
    assert ours is not None
