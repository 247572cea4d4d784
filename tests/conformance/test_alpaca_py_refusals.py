"""alpaca-py's APIError, unmodified, on the simulator's refusals: status, code, message and what else they carry.

The whole catalogue is tested elsewhere, on the bare protocol; here is what an SDK's user sees of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from requests.exceptions import RequestException

from hands.sim.testing import Sim
from tests.conformance.conftest import closing_session
from tests.conformance.sdk import (
    APIError,
    ClosePositionRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    OrderClass,
    OrderSide,
    OrderStatus,
    PositionIntent,
    ReplaceOrderRequest,
    StopLossRequest,
    StopOrderRequest,
    TakeProfitRequest,
    TimeInForce,
    TradingClient,
    TrailingStopOrderRequest,
)

BUY, SELL = OrderSide.BUY, OrderSide.SELL
DAY, GTC = TimeInForce.DAY, TimeInForce.GTC
NOBODY = "00000000-0000-4000-8000-000000000000"

Act = Callable[[Any], Any]


def market(symbol: str, qty: float | None, side: OrderSide = BUY, tif: TimeInForce = DAY, **more: Any) -> Act:
    request = MarketOrderRequest(symbol=symbol, qty=qty, side=side, time_in_force=tif, **more)
    return lambda trading: trading.submit_order(request)


def limit(
    symbol: str, qty: float, price: float, side: OrderSide = BUY, tif: TimeInForce = DAY, **more: Any
) -> Act:
    request = LimitOrderRequest(
        symbol=symbol, qty=qty, side=side, time_in_force=tif, limit_price=price, **more
    )
    return lambda trading: trading.submit_order(request)


def after(*acts: Act) -> Act:
    """All of `acts`, of which the last is to be refused."""
    return lambda trading: [act(trading) for act in acts]


def to(earlier: Act, act: Callable[[Any, Any], Any]) -> Act:
    """Do `act` to the order that `earlier` placed."""
    return lambda trading: act(trading, earlier(trading))


# what is done, status, code, message
REFUSALS: dict[str, tuple[Act, int, int, str]] = {
    "more than the account can pay": (limit("AAPL", 2000, 150), 403, 40310000, "insufficient buying power"),
    "more shares than are free": (
        after(market("AAPL", 10), limit("AAPL", 8, 160, SELL), limit("AAPL", 8, 161, SELL)),
        403, 40310000, "insufficient qty available for order (requested: 8, available: 2)",
    ),
    "a coin short": (
        market("BTC/USD", 1, SELL, GTC),
        403, 40310000, "insufficient balance for BTC (requested: 1, available: 0)",
    ),
    "a coin for two dollars": (
        market("BTC/USD", 0.00002, BUY, GTC),
        403, 40310000, "cost basis must be >= minimal amount of order 10",
    ),
    "trading with oneself": (
        after(limit("AAPL", 1, 149), market("AAPL", 1, SELL)),
        403, 40310000, "potential wash trade detected. use complex orders",
    ),
    "an id twice, the first open": (
        after(limit("AAPL", 1, 140, client_order_id="mine"), limit("AAPL", 1, 140, client_order_id="mine")),
        422, 42210000, "client_order_id must be unique",
    ),
    "an id twice, the first done": (
        after(market("AAPL", 1, client_order_id="mine"), market("AAPL", 1, client_order_id="mine")),
        422, 40010001, "client_order_id must be unique",
    ),
    "an id that is too long": (
        market("AAPL", 1, client_order_id="x" * 129),
        422, 40010001, "client_order_id must be no more than 128 characters",
    ),
    "no shares at all": (market("AAPL", 0), 422, 40010001, "qty must be > 0"),
    "less than a dollar": (market("AAPL", None, notional=0.5), 422, 40010001, "notional must be >= 1.00"),
    "no such asset": (market("ZZZZ", 1), 422, 42210000, 'asset "ZZZZ" not found'),
    "a tenth of a cent": (
        limit("AAPL", 1, 140.123), 422, 42210000,
        "invalid limit_price 140.123. sub-penny increment does not fulfill minimum pricing criteria",
    ),
    "a fraction until canceled": (
        market("AAPL", 0.5, BUY, GTC), 422, 42210000, "fractional orders must be DAY orders",
    ),
    "a fraction short": (
        market("AAPL", 0.5, SELL), 422, 42210000, "fractional orders cannot be sold short",
    ),
    "a fraction with legs": (
        market(
            "AAPL", 0.5, order_class=OrderClass.BRACKET,
            take_profit=TakeProfitRequest(limit_price=155), stop_loss=StopLossRequest(stop_price=148),
        ),
        422, 42210000, "fractional orders must be simple orders",
    ),
    "a coin for the day": (market("BTC/USD", 1), 422, 42210000, "invalid crypto time_in_force"),
    "a coin with legs": (
        market(
            "BTC/USD", 0.1, BUY, GTC, order_class=OrderClass.BRACKET,
            take_profit=TakeProfitRequest(limit_price=155000), stop_loss=StopLossRequest(stop_price=90000),
        ),
        422, 42210000, "crypto orders not allowed for advanced order_class: otoco",
    ),
    "a stop loss above the entry": (
        limit(
            "AAPL", 1, 149, order_class=OrderClass.BRACKET,
            take_profit=TakeProfitRequest(limit_price=155), stop_loss=StopLossRequest(stop_price=149),
        ),
        422, 42210000, "stop_loss.stop_price must be <= base_price - 0.01",
    ),
    "an oco without a position": (
        lambda trading: trading.submit_order(
            LimitOrderRequest(
                symbol="AAPL", qty=1, side=SELL, time_in_force=DAY, order_class=OrderClass.OCO,
                take_profit=TakeProfitRequest(limit_price=155), stop_loss=StopLossRequest(stop_price=148),
            )
        ),
        422, 42210000, "oco orders must be exit orders",
    ),
    "a stop that would go off": (
        lambda trading: trading.submit_order(
            StopOrderRequest(symbol="AAPL", qty=1, side=BUY, time_in_force=DAY, stop_price=140)
        ),
        422, 42210000, "stop price must be greater than current price",
    ),
    "a trail too close": (
        lambda trading: trading.submit_order(
            TrailingStopOrderRequest(symbol="AAPL", qty=1, side=BUY, time_in_force=DAY, trail_percent=0.05)
        ),
        422, 40010001, "trail_percent must be greater than or equal to 0.1",
    ),
    "a market order after hours": (
        market("AAPL", 1, extended_hours=True),
        422, 42210000, "extended hours order must be DAY or GTC limit orders",
    ),
    "the wrong intent": (
        market("AAPL", 1, position_intent=PositionIntent.BUY_TO_CLOSE),
        422, 42210000, "position intent mismatch, inferred: buy_to_open, specified: buy_to_close",
    ),
    "an auction at the wrong hour": (
        market("AAPL", 1, tif=TimeInForce.OPG),
        403, 40310000, "opg orders must be submitted after 7:00pm and before 9:28am",
    ),
    "canceling what is filled": (
        to(market("AAPL", 1), lambda trading, order: trading.cancel_order_by_id(order.id)),
        422, 42210000, 'order is already in "filled" state',
    ),
    "replacing what is filled": (
        to(
            market("AAPL", 1),
            lambda trading, order: trading.replace_order_by_id(order.id, ReplaceOrderRequest(qty=2)),
        ),
        422, 42210000, "unable to replace order, order is not open",
    ),
    "replacing by the same": (
        to(
            limit("AAPL", 1, 140),
            lambda trading, order: trading.replace_order_by_id(order.id, ReplaceOrderRequest(limit_price=140)),
        ),
        422, 42210000, "order parameters are not changed",
    ),
    "no such order": (
        lambda trading: trading.get_order_by_id(NOBODY), 404, 40410000, f"order not found for {NOBODY}",
    ),
    "canceling no such order": (
        lambda trading: trading.cancel_order_by_id(NOBODY), 404, 40410000, f"order not found for {NOBODY}",
    ),
    "no such order of the client's": (
        lambda trading: trading.get_order_by_client_id("never"), 404, 40410000, "order not found for never",
    ),
    "no such position": (
        lambda trading: trading.get_open_position("AAPL"), 404, 40410000, "position does not exist",
    ),
    "closing no position": (
        lambda trading: trading.close_position("AAPL", ClosePositionRequest(percentage="50")),
        404, 40410000, "position does not exist",
    ),
    "looking for no asset": (
        lambda trading: trading.get_asset("ZZZZ"), 404, 40410000, "asset not found for ZZZZ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_says_what_it_is(trading: Any, name: str) -> None:
    act, status, code, message = REFUSALS[name]
    with pytest.raises(APIError) as refused:
        act(trading)
    error = refused.value
    assert (error.status_code, error.code, error.message) == (status, code, message)


def test_a_refusal_carries_the_venues_numbers(trading: Any) -> None:
    with pytest.raises(APIError) as refused:
        limit("AAPL", 2000, 150)(trading)
    body = json.loads(str(refused.value))
    assert {key: body[key] for key in ("buying_power", "cost_basis")} == {
        "buying_power": "200000", "cost_basis": "300000",
    }  # fmt: skip


def test_a_refused_order_does_not_use_up_its_id(trading: Any) -> None:
    with pytest.raises(APIError):
        limit("AAPL", 2000, 150, client_order_id="mine")(trading)
    assert limit("AAPL", 1, 140, client_order_id="mine")(trading).client_order_id == "mine"


@pytest.mark.parametrize(
    "keys",
    [
        {"api_key": "sim", "secret_key": "wrong"},
        {"api_key": "nobody", "secret_key": "sim"},
        {"oauth_token": "nobody"},
    ],
    ids=["secret", "key", "token"],
)
def test_wrong_keys_are_unauthorized_and_have_no_code(sim: Sim, keys: dict[str, str]) -> None:
    with (
        closing_session(TradingClient(**keys, url_override=sim.url)) as client,
        pytest.raises(APIError) as refused,
    ):
        client.get_account()
    assert (refused.value.status_code, refused.value.message) == (401, "unauthorized.")
    with pytest.raises(KeyError):
        _ = refused.value.code


def test_an_order_whose_answer_is_lost_is_found_by_its_id(trading: Any, sim: Sim) -> None:
    sim.fault("POST /v2/orders", "drop_response")
    buy = limit("AAPL", 1, 140, client_order_id="mine")
    with pytest.raises(RequestException):
        buy(trading)
    assert trading.get_order_by_client_id("mine").status is OrderStatus.NEW
    with pytest.raises(APIError, match="client_order_id must be unique"):
        buy(trading)


@pytest.mark.parametrize("do", ["drop_request", "drop_response", "truncate"])
def test_a_broken_answer_is_an_exception_and_the_next_is_whole(trading: Any, sim: Sim, do: str) -> None:
    sim.fault("GET /v2/account", do)
    with pytest.raises(RequestException):
        trading.get_account()
    assert trading.get_account().cash == "100000"


def test_a_gateways_page_is_no_json(trading: Any, sim: Sim) -> None:
    """What the SDK's users trip over: a 502 whose body is HTML leaves an error without code and message."""
    sim.fault("GET /v2/account", "status", status=502, body="<html><h1>502 Bad Gateway</h1></html>")
    with pytest.raises(APIError) as refused:
        trading.get_account()
    assert refused.value.status_code == 502
    with pytest.raises(json.JSONDecodeError):
        _ = refused.value.code
    assert trading.get_account().status.value == "ACTIVE"
