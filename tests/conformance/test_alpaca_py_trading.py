"""alpaca-py's TradingClient, unmodified, on the simulator: orders of every type and class, and positions.

Every answer goes through the SDK's own models, and its values are what the order and the market make them. The
clock of the exchange stands still, so an order's fate is known as soon as its request has been answered.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from hands.sim.testing import Sim
from tests.conformance.conftest import START
from tests.conformance.sdk import (
    AssetClass,
    AssetExchange,
    ClosePositionRequest,
    FailedClosePositionDetails,
    GetOrderByIdRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    Order,
    OrderClass,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionIntent,
    PositionSide,
    QueryOrderStatus,
    ReplaceOrderRequest,
    Sort,
    StopLimitOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TimeInForce,
    TrailingStopOrderRequest,
)

BUY, SELL = OrderSide.BUY, OrderSide.SELL
DAY, GTC, IOC, FOK = TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK
NESTED = GetOrderByIdRequest(nested=True)


def market(symbol: str = "AAPL", side: OrderSide = BUY, tif: TimeInForce = DAY, **more: Any) -> Any:
    return MarketOrderRequest(symbol=symbol, side=side, time_in_force=tif, **more)


def limit(
    price: float, symbol: str = "AAPL", side: OrderSide = BUY, tif: TimeInForce = DAY, **more: Any
) -> Any:
    return LimitOrderRequest(symbol=symbol, side=side, time_in_force=tif, limit_price=price, **more)


def fields(order: Order, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(order, name) for name in names)


# -- every type, time in force and amount ---------------------------------------------------------------------

N, F, C = OrderStatus.NEW, OrderStatus.FILLED, OrderStatus.CANCELED

# request, fields of the order beside those of the request, its status at once afterwards, what it filled and at what
ORDERS = {
    "market": (market(qty=10), {"qty": "10"}, F, "10", "150"),
    "market, fraction of a share": (market(qty=0.5), {"qty": "0.5"}, F, "0.5", "150"),
    "market, dollars": (market(notional=1000), {"qty": None, "notional": "1000"}, F, "6.666666666", "150"),
    "market, gtc": (market(qty=1, tif=GTC), {}, F, "1", "150"),
    "market, ioc, more than there is": (market(qty=800, tif=IOC), {}, C, "500", "150"),
    "market, fok": (market(qty=500, tif=FOK), {}, F, "500", "150"),
    "limit": (limit(140, qty=10), {"limit_price": "140"}, N, "0", None),
    "limit, fraction of a share": (limit(140.5, qty=1.5), {"qty": "1.5", "limit_price": "140.5"}, N, "0", None),
    "limit, dollars": (limit(150, notional=75), {"qty": None, "notional": "75"}, F, "0.5", "150"),
    "limit, gtc": (limit(140, qty=10, tif=GTC), {}, N, "0", None),
    "limit, improved": (limit(151, qty=10), {"limit_price": "151"}, F, "10", "150"),
    "limit, ioc, more than there is": (limit(150, qty=800, tif=IOC), {}, C, "500", "150"),
    "limit, ioc, nothing there": (limit(149.99, qty=10, tif=IOC), {}, C, "0", None),
    "limit, fok, more than there is": (limit(150, qty=501, tif=FOK), {}, C, "0", None),
    "limit, extended hours": (
        limit(140, qty=10, extended_hours=True), {"extended_hours": True}, N, "0", None,
    ),
    "stop": (
        StopOrderRequest(symbol="AAPL", qty=10, side=BUY, time_in_force=GTC, stop_price=155),
        {"stop_price": "155", "limit_price": None}, N, "0", None,
    ),
    "stop limit": (
        StopLimitOrderRequest(
            symbol="AAPL", qty=10, side=BUY, time_in_force=DAY, stop_price=155, limit_price=155.5
        ),
        {"stop_price": "155", "limit_price": "155.5"}, N, "0", None,
    ),
    "trailing stop, dollars": (
        TrailingStopOrderRequest(symbol="AAPL", qty=10, side=BUY, time_in_force=GTC, trail_price=2.5),
        {"trail_price": "2.5", "trail_percent": None}, N, "0", None,
    ),
    "trailing stop, per cent": (
        TrailingStopOrderRequest(symbol="AAPL", qty=10, side=BUY, time_in_force=DAY, trail_percent=1.5),
        {"trail_price": None, "trail_percent": "1.5"}, N, "0", None,
    ),
    "short": (
        market("SPY", SELL, qty=5), {"position_intent": PositionIntent.SELL_TO_OPEN}, F, "5", "599.98",
    ),
    "coin, market, dollars": (
        market("BTC/USD", tif=GTC, notional=1000),
        {"qty": None, "notional": "1000", "asset_class": AssetClass.CRYPTO}, F, "0.009999", "100010",
    ),
    "coin, limit": (limit(90000, "BTC/USD", tif=GTC, qty=0.25), {"qty": "0.25"}, N, "0", None),
    "coin, limit, ioc": (limit(100010, "BTC/USD", tif=IOC, qty=0.25), {}, F, "0.25", "100010"),
    "coin, stop limit": (
        StopLimitOrderRequest(
            symbol="BTC/USD", qty=0.1, side=BUY, time_in_force=GTC, stop_price=110000, limit_price=111000
        ),
        {"stop_price": "110000", "limit_price": "111000"}, N, "0", None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_of_this_kind_is_taken_and_does_what_it_should(trading: Any, name: str) -> None:
    request, more, status, filled_qty, filled_avg_price = ORDERS[name]
    taken = trading.submit_order(request)
    assert taken.status is OrderStatus.PENDING_NEW
    assert (taken.filled_qty, taken.filled_avg_price, taken.filled_at, taken.legs) == ("0", None, None, None)
    expected = {
        "symbol": request.symbol,
        "side": request.side,
        "type": request.type,
        "order_type": request.type,
        "time_in_force": request.time_in_force,
        "order_class": OrderClass.SIMPLE,
        "extended_hours": False,
        "asset_class": AssetClass.US_EQUITY,
        "notional": None,
        "submitted_at": START,
        "created_at": START,
        "replaces": None,
        "position_intent": PositionIntent.BUY_TO_OPEN,
    } | more
    if "/" in request.symbol:
        expected["asset_class"] = AssetClass.CRYPTO
    for field, value in expected.items():
        assert (field, getattr(taken, field)) == (field, value)

    later = trading.get_order_by_id(taken.id)
    assert (later.id, later.client_order_id) == (taken.id, taken.client_order_id)
    for field, value in expected.items():
        assert (field, getattr(later, field)) == (field, value)
    assert fields(later, "status", "filled_qty", "filled_avg_price") == (status, filled_qty, filled_avg_price)
    assert (later.filled_at, later.canceled_at) == (
        START if status is F else None,
        START if status is C else None,
    )
    assert trading.get_order_by_client_id(taken.client_order_id) == later


def test_the_clients_own_order_id_and_intent_come_back(trading: Any) -> None:
    request = limit(140, qty=1, client_order_id="mine", position_intent=PositionIntent.BUY_TO_OPEN)
    order = trading.submit_order(request)
    assert fields(order, "client_order_id", "position_intent") == ("mine", PositionIntent.BUY_TO_OPEN)
    assert trading.get_order_by_client_id("mine").id == order.id


def test_a_gtc_order_names_the_day_on_which_it_ends(trading: Any) -> None:
    gtc, day = (trading.submit_order(limit(140, qty=1, tif=tif)) for tif in (GTC, DAY))
    assert gtc.expires_at.date() == (START + timedelta(days=90)).date()
    assert day.expires_at == datetime(2026, 3, 10, 20, tzinfo=UTC)


def test_a_day_order_expires_at_the_close(trading: Any, sim: Sim) -> None:
    day, gtc = (trading.submit_order(limit(140, qty=1, tif=tif)) for tif in (DAY, GTC))
    sim.advance_to("2026-03-10T20:00:01Z")
    expired = trading.get_order_by_id(day.id)
    assert expired.status is OrderStatus.EXPIRED
    assert (
        datetime(2026, 3, 10, 20, tzinfo=UTC)
        <= expired.expired_at
        <= datetime(2026, 3, 10, 20, 0, 1, tzinfo=UTC)
    )
    assert trading.get_order_by_id(gtc.id).status in {OrderStatus.NEW, OrderStatus.ACCEPTED}


def test_a_stop_is_elected_by_a_print(trading: Any, sim: Sim) -> None:
    trading.submit_order(market(qty=10))
    request = StopOrderRequest(symbol="AAPL", qty=10, side=SELL, time_in_force=GTC, stop_price=148)
    stop = trading.submit_order(request)
    assert stop.position_intent is PositionIntent.SELL_TO_CLOSE
    sim.quote("AAPL", 147.50, 147.60)
    sim.trade("AAPL", 147.55)
    filled = trading.get_order_by_id(stop.id)
    assert fields(filled, "status", "filled_qty", "filled_avg_price") == (F, "10", "147.5")


@pytest.mark.parametrize(
    ("trail", "stop_at_start", "stop_at_top"),
    [({"trail_price": 2}, "148", "150"), ({"trail_percent": 1}, "148.5", "150.48")],
)
def test_a_trailing_stop_follows_the_prints_up_and_is_elected_on_the_way_down(
    trading: Any, sim: Sim, trail: dict[str, float], stop_at_start: str, stop_at_top: str
) -> None:
    sim.trade("AAPL", 150)
    trading.submit_order(market(qty=10))
    request = TrailingStopOrderRequest(symbol="AAPL", qty=10, side=SELL, time_in_force=GTC, **trail)
    trailing = trading.submit_order(request)
    assert fields(trading.get_order_by_id(trailing.id), "hwm", "stop_price") == ("150", stop_at_start)

    sim.quote("AAPL", 151.98, 152.02)
    sim.trade("AAPL", 152)
    assert fields(trading.get_order_by_id(trailing.id), "hwm", "stop_price") == ("152", stop_at_top)
    sim.quote("AAPL", 150.98, 151.02)
    sim.trade("AAPL", 151)
    assert fields(trading.get_order_by_id(trailing.id), "status", "hwm", "stop_price") == (
        N,
        "152",
        stop_at_top,
    )

    sim.quote("AAPL", 149.90, 149.92)
    sim.trade("AAPL", 149.91)
    filled = trading.get_order_by_id(trailing.id)
    assert fields(filled, "status", "filled_qty", "filled_avg_price") == (F, "10", "149.9")


def test_an_extended_hours_order_trades_after_the_close_and_others_wait(trading: Any, sim: Sim) -> None:
    sim.advance_to("2026-03-10T20:30:00Z")
    sim.quote("AAPL", 149.98, 150.00)
    waiting = trading.submit_order(limit(150, qty=1))
    assert waiting.status is OrderStatus.ACCEPTED
    trading_now = trading.submit_order(limit(150, qty=1, extended_hours=True))
    assert trading.get_order_by_id(trading_now.id).status is F
    assert trading.get_order_by_id(waiting.id).status is OrderStatus.ACCEPTED


def test_a_closing_auction_order_fills_at_the_close(trading: Any, sim: Sim) -> None:
    order = trading.submit_order(market(qty=3, tif=TimeInForce.CLS))
    assert trading.get_order_by_id(order.id).filled_qty == "0"
    sim.quote("AAPL", 150.98, 151)
    sim.trade("AAPL", 151)
    sim.advance_to("2026-03-10T20:00:01Z")
    filled = trading.get_order_by_id(order.id)
    assert fields(filled, "time_in_force", "status", "filled_avg_price") == (TimeInForce.CLS, F, "151")


def test_an_opening_auction_order_fills_at_the_next_opening(trading: Any, sim: Sim) -> None:
    sim.advance_to("2026-03-10T23:30:00Z")
    order = trading.submit_order(market(qty=3, tif=TimeInForce.OPG))
    assert order.status is OrderStatus.ACCEPTED
    sim.advance_to("2026-03-11T13:30:00Z")
    sim.quote("AAPL", 151.98, 152)
    sim.trade("AAPL", 152)
    sim.advance(1_000)
    filled = trading.get_order_by_id(order.id)
    assert fields(filled, "time_in_force", "status", "filled_avg_price") == (TimeInForce.OPG, F, "152")


# -- classes --------------------------------------------------------------------------------------------------

PROFIT, LOSS = TakeProfitRequest(limit_price=155), StopLossRequest(stop_price=148)


def test_a_bracket_from_its_submission_to_its_target(trading: Any, sim: Sim) -> None:
    request = limit(149, qty=10, tif=GTC, order_class=OrderClass.BRACKET, take_profit=PROFIT, stop_loss=LOSS)
    bracket = trading.submit_order(request)
    assert fields(bracket, "order_class", "type", "limit_price") == (
        OrderClass.BRACKET,
        OrderType.LIMIT,
        "149",
    )
    target, stop = bracket.legs
    assert fields(target, "type", "limit_price", "stop_price") == (OrderType.LIMIT, "155", None)
    assert fields(stop, "type", "limit_price", "stop_price") == (OrderType.STOP, None, "148")
    for leg in (target, stop):
        assert fields(leg, "side", "qty", "symbol", "time_in_force") == (SELL, "10", "AAPL", GTC)
        assert fields(leg, "status", "order_class", "legs") == (OrderStatus.HELD, OrderClass.BRACKET, None)
        assert leg.client_order_id != bracket.client_order_id

    assert trading.get_order_by_id(bracket.id).legs is None
    sim.quote("AAPL", 148.98, 149.00)
    entered = trading.get_order_by_id(bracket.id, NESTED)
    assert fields(entered, "status", "filled_avg_price") == (F, "149")
    assert [leg.status for leg in entered.legs] == [N, OrderStatus.HELD]

    sim.quote("AAPL", 155.00, 155.02)
    left = trading.get_order_by_id(bracket.id, NESTED)
    assert [(leg.id, leg.status, leg.filled_qty) for leg in left.legs] == [
        (target.id, F, "10"),
        (stop.id, C, "0"),
    ]
    assert trading.get_all_positions() == []


def test_a_short_bracket_at_the_market_with_a_stop_limit_that_is_elected(trading: Any, sim: Sim) -> None:
    request = market(
        "SPY",
        SELL,
        qty=5,
        order_class=OrderClass.BRACKET,
        take_profit=TakeProfitRequest(limit_price=580),
        stop_loss=StopLossRequest(stop_price=610, limit_price=615),
    )
    bracket = trading.submit_order(request)
    target, stop = bracket.legs
    assert fields(stop, "type", "side", "stop_price", "limit_price") == (
        OrderType.STOP_LIMIT,
        BUY,
        "610",
        "615",
    )
    assert trading.get_open_position("SPY").side is PositionSide.SHORT
    sim.quote("SPY", 610.98, 611.00)
    sim.trade("SPY", 611)
    closed = {leg.id: leg for leg in trading.get_order_by_id(bracket.id, NESTED).legs}
    assert fields(closed[stop.id], "status", "filled_avg_price") == (F, "611")
    assert closed[target.id].status is C
    assert trading.get_all_positions() == []


def test_canceling_one_leg_of_a_bracket_cancels_the_other(trading: Any) -> None:
    bracket = trading.submit_order(
        market(qty=10, order_class=OrderClass.BRACKET, take_profit=PROFIT, stop_loss=LOSS)
    )
    trading.cancel_order_by_id(bracket.legs[0].id)
    assert [leg.status for leg in trading.get_order_by_id(bracket.id, NESTED).legs] == [C, C]


@pytest.mark.parametrize(
    ("exits", "expected"),
    [
        ({"stop_loss": LOSS}, (OrderType.STOP, None, "148")),
        ({"take_profit": PROFIT}, (OrderType.LIMIT, "155", None)),
    ],
    ids=["stop", "target"],
)
def test_an_oto_has_one_leg(trading: Any, exits: dict[str, Any], expected: tuple[Any, ...]) -> None:
    oto = trading.submit_order(market(qty=10, tif=GTC, order_class=OrderClass.OTO, **exits))
    (leg,) = oto.legs
    assert oto.order_class is OrderClass.OTO
    assert fields(leg, "type", "limit_price", "stop_price") == expected
    assert fields(leg, "side", "qty", "status") == (SELL, "10", OrderStatus.HELD)
    # Its entry is filled, so the leg works now.
    assert trading.get_order_by_id(leg.id).status in {N, OrderStatus.HELD}
    trading.cancel_order_by_id(leg.id)
    assert trading.get_order_by_id(leg.id).status is C


def test_an_oco_is_a_target_with_a_stop_beneath_it(trading: Any, sim: Sim) -> None:
    trading.submit_order(market(qty=10))
    oco = trading.submit_order(
        LimitOrderRequest(
            symbol="AAPL",
            qty=10,
            side=SELL,
            time_in_force=GTC,
            order_class=OrderClass.OCO,
            take_profit=PROFIT,
            stop_loss=LOSS,
        )
    )
    assert fields(oco, "order_class", "type", "limit_price", "side") == (
        OrderClass.OCO,
        OrderType.LIMIT,
        "155",
        SELL,
    )
    (stop,) = oco.legs
    assert fields(stop, "type", "stop_price", "status") == (OrderType.STOP, "148", OrderStatus.HELD)
    sim.quote("AAPL", 147.00, 147.02)
    sim.trade("AAPL", 147.01)
    ended = trading.get_order_by_id(oco.id, NESTED)
    assert ended.status is C
    assert fields(ended.legs[0], "id", "status", "filled_avg_price") == (stop.id, F, "147")
    assert trading.get_all_positions() == []


# -- lists, replacing, canceling ------------------------------------------------------------------------------


def test_the_list_filters(trading: Any, sim: Sim) -> None:
    def names(**query: Any) -> list[str]:
        return [order.client_order_id for order in trading.get_orders(GetOrdersRequest(**query))]

    bracket = trading.submit_order(
        limit(
            140, qty=1, order_class=OrderClass.BRACKET, take_profit=PROFIT,
            stop_loss=StopLossRequest(stop_price=130), client_order_id="bracket",
        )
    )  # fmt: skip
    sim.advance(60_000)
    trading.submit_order(market("SPY", qty=1, client_order_id="filled"))
    sim.advance(60_000)
    trading.submit_order(limit(700, "SPY", SELL, qty=1, client_order_id="resting"))
    target, stop = (leg.client_order_id for leg in bracket.legs)

    assert [order.client_order_id for order in trading.get_orders()] == ["resting", stop, target, "bracket"]
    everything = ["resting", "filled", stop, target, "bracket"]
    assert names(status=QueryOrderStatus.ALL) == everything
    assert names(status=QueryOrderStatus.CLOSED) == ["filled"]
    assert names(status=QueryOrderStatus.ALL, direction=Sort.ASC) == everything[::-1]
    assert names(status=QueryOrderStatus.ALL, limit=2) == everything[:2]
    assert names(status=QueryOrderStatus.ALL, nested=True) == ["resting", "filled", "bracket"]
    assert names(status=QueryOrderStatus.ALL, symbols=["SPY", "BTC/USD"]) == ["resting", "filled"]
    assert names(status=QueryOrderStatus.ALL, side=SELL) == ["resting", stop, target]
    one_minute, two_minutes = START + timedelta(seconds=60), START + timedelta(seconds=120)
    assert names(status=QueryOrderStatus.ALL, after=START) == ["resting", "filled"]
    assert names(status=QueryOrderStatus.ALL, after=START, until=two_minutes) == ["filled"]
    assert names(status=QueryOrderStatus.ALL, after=one_minute) == ["resting"]
    (nested,) = trading.get_orders(GetOrdersRequest(nested=True, symbols=["AAPL"]))
    assert [leg.client_order_id for leg in nested.legs] == [target, stop]
    assert all(order.legs is None for order in trading.get_orders())


def test_replacing_makes_a_new_order_and_ends_the_old_one(trading: Any) -> None:
    old = trading.submit_order(limit(140, qty=10))
    new = trading.replace_order_by_id(
        old.id, ReplaceOrderRequest(qty=7, limit_price=141.5, time_in_force=GTC, client_order_id="again")
    )
    assert new.id != old.id
    assert fields(new, "qty", "limit_price", "time_in_force", "client_order_id") == (
        "7",
        "141.5",
        GTC,
        "again",
    )
    assert fields(new, "replaces", "replaced_by") == (old.id, None)
    assert trading.get_order_by_id(new.id).status is N
    assert fields(trading.get_order_by_id(old.id), "status", "replaced_by", "replaced_at") == (
        OrderStatus.REPLACED, new.id, START,
    )  # fmt: skip


def test_a_stop_and_a_trail_can_be_replaced(trading: Any, sim: Sim) -> None:
    sim.trade("AAPL", 150)
    stop = trading.submit_order(
        StopLimitOrderRequest(
            symbol="AAPL", qty=10, side=BUY, time_in_force=DAY, stop_price=155, limit_price=156
        )
    )
    moved = trading.replace_order_by_id(stop.id, ReplaceOrderRequest(stop_price=154, limit_price=155))
    assert fields(moved, "stop_price", "limit_price", "qty") == ("154", "155", "10")
    trailing = trading.submit_order(
        TrailingStopOrderRequest(symbol="AAPL", qty=10, side=BUY, time_in_force=GTC, trail_price=2)
    )
    wider = trading.replace_order_by_id(trailing.id, ReplaceOrderRequest(trail=3))
    assert fields(wider, "trail_price", "type") == ("3", OrderType.TRAILING_STOP)
    assert trading.get_order_by_id(wider.id).stop_price == "153"


def test_a_brackets_leg_can_be_moved(trading: Any) -> None:
    bracket = trading.submit_order(
        market(qty=10, order_class=OrderClass.BRACKET, take_profit=PROFIT, stop_loss=LOSS)
    )
    moved = trading.replace_order_by_id(bracket.legs[0].id, ReplaceOrderRequest(limit_price=156))
    assert fields(moved, "limit_price", "replaces", "order_class") == (
        "156", bracket.legs[0].id, OrderClass.BRACKET,
    )  # fmt: skip
    nested = trading.get_order_by_id(bracket.id, NESTED)
    assert moved.id in {leg.id for leg in nested.legs}


def test_canceling_one_and_all(trading: Any) -> None:
    first, second, third = (trading.submit_order(limit(140 - n, qty=1)) for n in range(3))
    filled = trading.submit_order(market(qty=1))
    assert trading.cancel_order_by_id(first.id) is None
    assert fields(trading.get_order_by_id(first.id), "status", "canceled_at") == (C, START)
    assert {(row.id, row.status) for row in trading.cancel_orders()} == {(second.id, 200), (third.id, 200)}
    assert trading.get_orders() == []
    assert trading.cancel_orders() == []
    assert [o.status for o in trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL))] == [
        F,
        C,
        C,
        C,
    ]
    assert trading.get_order_by_id(filled.id).status is F


# -- positions ------------------------------------------------------------------------------------------------


def test_positions_long_short_and_coin(trading: Any, sim: Sim) -> None:
    trading.submit_order(market(qty=10))
    trading.submit_order(market("SPY", SELL, qty=5))
    trading.submit_order(market("BTC/USD", tif=GTC, qty=0.1))
    trading.submit_order(limit(160, "AAPL", SELL, qty=4))
    sim.quote("AAPL", 151.98, 152.02)
    sim.trade("AAPL", 152)
    sim.quote("SPY", 605.98, 606.02)
    sim.trade("SPY", 606)
    positions = {position.symbol: position for position in trading.get_all_positions()}
    assert sorted(positions) == ["AAPL", "BTCUSD", "SPY"]

    aapl = positions["AAPL"]
    assert aapl == trading.get_open_position("AAPL") == trading.get_open_position(aapl.asset_id)
    assert fields(aapl, "side", "qty", "qty_available") == (PositionSide.LONG, "10", "6")
    assert fields(aapl, "avg_entry_price", "cost_basis", "current_price") == ("150", "1500", "152")
    assert fields(aapl, "market_value", "unrealized_pl") == ("1520", "20")
    assert float(aapl.unrealized_plpc) == pytest.approx(20 / 1500)
    assert fields(aapl, "exchange", "asset_class", "asset_marginable") == (
        AssetExchange.NASDAQ, AssetClass.US_EQUITY, True,
    )  # fmt: skip

    spy = positions["SPY"]
    assert fields(spy, "side", "qty", "avg_entry_price") == (PositionSide.SHORT, "-5", "599.98")
    assert fields(spy, "market_value", "unrealized_pl") == ("-3030", "-30.1")

    coin = positions["BTCUSD"]
    # The fee of 25 bps is taken from what was bought.
    assert fields(coin, "qty", "asset_class", "exchange") == (
        "0.09975",
        AssetClass.CRYPTO,
        AssetExchange.CRYPTO,
    )
    assert coin == trading.get_open_position("BTCUSD")


def test_closing_a_position_in_part_and_whole(trading: Any) -> None:
    trading.submit_order(market(qty=10))
    by_qty = trading.close_position("AAPL", ClosePositionRequest(qty="4"))
    assert fields(by_qty, "symbol", "side", "type", "qty", "time_in_force") == (
        "AAPL",
        SELL,
        OrderType.MARKET,
        "4",
        DAY,
    )
    assert trading.get_open_position("AAPL").qty == "6"
    by_percentage = trading.close_position("AAPL", ClosePositionRequest(percentage="50"))
    assert by_percentage.qty == "3"
    rest = trading.close_position(trading.get_open_position("AAPL").asset_id)
    assert rest.qty == "3"
    assert trading.get_all_positions() == []


def test_closing_a_short_buys_and_closing_a_coin_sells_all_of_it(trading: Any) -> None:
    trading.submit_order(market("SPY", SELL, qty=5))
    trading.submit_order(market("BTC/USD", tif=GTC, qty=0.1))
    assert fields(trading.close_position("SPY"), "side", "qty") == (BUY, "5")
    coin = trading.close_position("BTCUSD")
    assert fields(coin, "symbol", "side", "qty", "time_in_force") == ("BTC/USD", SELL, "0.09975", GTC)
    assert trading.get_all_positions() == []


def test_closing_everything_with_its_orders(trading: Any) -> None:
    trading.submit_order(market(qty=10))
    trading.submit_order(market("SPY", SELL, qty=5))
    resting = trading.submit_order(limit(160, "AAPL", SELL, qty=10))
    closed = {row.symbol: row for row in trading.close_all_positions(cancel_orders=True)}
    assert {symbol: row.status for symbol, row in closed.items()} == {"AAPL": 200, "SPY": 200}
    assert all(isinstance(row.body, Order) for row in closed.values())
    assert fields(closed["AAPL"].body, "side", "qty") == (SELL, "10")
    assert fields(closed["SPY"].body, "side", "qty") == (BUY, "5")
    assert trading.get_order_by_id(resting.id).status is C
    assert trading.get_all_positions() == []


def test_closing_everything_stops_at_shares_that_orders_hold(trading: Any) -> None:
    trading.submit_order(market(qty=10))
    trading.submit_order(limit(160, "AAPL", SELL, qty=4))
    (row,) = trading.close_all_positions(cancel_orders=False)
    assert (row.symbol, row.status) == ("AAPL", 403)
    assert isinstance(row.body, FailedClosePositionDetails)
    assert (row.body.code, row.body.available, row.body.existing_qty, row.body.held_for_orders) == (
        40310000,
        6,
        10,
        4,
    )
    assert row.body.message == "insufficient qty available for order (requested: 10, available: 6)"
    assert trading.get_open_position("AAPL").qty == "10"


def test_ids_are_uuids_and_the_same_everywhere(trading: Any) -> None:
    order = trading.submit_order(market(qty=1))
    asset = trading.get_asset("AAPL")
    assert isinstance(order.id, UUID)
    assert order.asset_id == asset.id == trading.get_open_position("AAPL").asset_id
