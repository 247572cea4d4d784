from __future__ import annotations

import json

import pytest

from hands.core.commands import ReplaceOrder
from hands.core.orders import ApprovedEntry, ReducingOrder
from hands.core.units import Ns, Price, Qty, nano
from hands.core.vocab import AssetClass, Leg, OrderClass, OrderType, Side, TimeInForce
from hands.venues.alpaca import encode


def entry(**changes):
    fields = {
        "client_order_id": "hands-x-entry-1",
        "intent_id": "x",
        "symbol": "AAPL",
        "asset_class": AssetClass.EQUITY,
        "side": Side.BUY,
        "qty": Qty(nano("66")),
        "limit_price": Price(nano("150.15")),
        "time_in_force": TimeInForce.GTC,
        "order_class": OrderClass.BRACKET,
        "take_profit": Price(nano("155")),
        "stop_loss": Price(nano("148")),
        "deadline_ns": Ns(1),
    }
    return ApprovedEntry(**(fields | changes))


def exit_(**changes):
    fields = {
        "client_order_id": "hands-x-exit-1",
        "intent_id": "x",
        "leg": Leg.EXIT,
        "symbol": "AAPL",
        "asset_class": AssetClass.EQUITY,
        "side": Side.SELL,
        "qty": Qty(nano("66")),
        "order_type": OrderType.MARKET,
        "time_in_force": TimeInForce.DAY,
    }
    return ReducingOrder(**(fields | changes))


def test_a_bracket_entry_in_exact_decimal_text():
    assert encode.submit_body(entry()) == (
        b'{"symbol":"AAPL","qty":"66","side":"buy","type":"limit","time_in_force":"gtc","limit_price":"150.15",'
        b'"client_order_id":"hands-x-entry-1","order_class":"bracket","take_profit":{"limit_price":"155"},'
        b'"stop_loss":{"stop_price":"148"}}'
    )


def test_a_crypto_entry_has_no_legs_and_no_class():
    order = entry(
        symbol="BTC/USD",
        asset_class=AssetClass.CRYPTO,
        order_class=OrderClass.SIMPLE,
        take_profit=None,
        stop_loss=None,
        qty=Qty(123456789),
        time_in_force=TimeInForce.IOC,
    )
    fields = json.loads(encode.submit_body(order))
    assert fields["symbol"] == "BTC/USD"
    assert fields["qty"] == "0.123456789"
    assert not {"order_class", "take_profit", "stop_loss", "position_intent"} & set(fields)


@pytest.mark.parametrize(("side", "intent"), [(Side.SELL, "sell_to_close"), (Side.BUY, "buy_to_close")])
def test_an_equity_exit_can_only_close(side, intent):
    assert json.loads(encode.submit_body(exit_(side=side)))["position_intent"] == intent
    assert "position_intent" not in json.loads(encode.submit_body(exit_(side=side), close_intent=False))


def test_a_crypto_exit_carries_no_intent():
    order = exit_(
        symbol="BTC/USD",
        asset_class=AssetClass.CRYPTO,
        order_type=OrderType.STOP_LIMIT,
        limit_price=Price(nano("99")),
        stop_price=Price(nano("100")),
    )
    fields = json.loads(encode.submit_body(order))
    assert "position_intent" not in fields
    assert (fields["type"], fields["limit_price"], fields["stop_price"]) == ("stop_limit", "99", "100")


def test_an_oco_has_its_prices_in_its_legs_only():
    order = exit_(
        order_type=OrderType.LIMIT,
        order_class=OrderClass.OCO,
        time_in_force=TimeInForce.GTC,
        take_profit=Price(nano("155.5")),
        stop_price=Price(nano("148.25")),
    )
    fields = json.loads(encode.submit_body(order))
    assert fields["type"] == "limit"
    assert fields["order_class"] == "oco"
    assert fields["take_profit"] == {"limit_price": "155.5"}
    assert fields["stop_loss"] == {"stop_price": "148.25"}
    assert not {"limit_price", "stop_price"} & set(fields)


def test_no_order_leaves_with_extended_hours_or_a_number_that_is_not_text():
    for order in (entry(), exit_()):
        fields = json.loads(encode.submit_body(order), parse_float=pytest.fail, parse_int=pytest.fail)
        assert "extended_hours" not in fields


@pytest.mark.parametrize(
    ("prices", "written"),
    [
        ({"stop_price": "149.5"}, {"stop_price": "149.5"}),
        ({"limit_price": "155"}, {"limit_price": "155"}),
        (
            {"stop_price": "0.1234", "limit_price": "0.1221"},
            {"limit_price": "0.1221", "stop_price": "0.1234"},
        ),
    ],
)
def test_a_replace_says_its_prices_and_its_new_name_and_never_a_quantity(prices, written):
    command = ReplaceOrder(
        order_id="id",
        client_order_id="hands-x-sl-1",
        new_client_order_id="hands-x-sl-2",
        **{name: Price(nano(text)) for name, text in prices.items()},
    )
    assert json.loads(encode.replace_body(command)) == {**written, "client_order_id": "hands-x-sl-2"}


def test_paths_are_escaped():
    assert encode.asset_path("BTC/USD") == "/v2/assets/BTC%2FUSD"
    assert encode.order_path("a/../b?c") == "/v2/orders/a%2F..%2Fb%3Fc"
    assert encode.nested_order_path("id") == "/v2/orders/id?nested=true"
    assert encode.query_path("a b&c") == "/v2/orders:by_client_order_id?client_order_id=a+b%26c"
    assert encode.open_orders_path() == "/v2/orders?status=open&limit=500&nested=true&direction=asc"
    assert encode.open_orders_path("o1").endswith("&after_order_id=o1")
    assert encode.latest_crypto_quote_path("BTC/USD") == "/v1beta3/crypto/us/latest/quotes?symbols=BTC%2FUSD"
    assert encode.latest_equity_quote_path("AAPL", "iex") == "/v2/stocks/AAPL/quotes/latest?feed=iex"
    assert encode.calendar_path("2026-11-20", "2026-11-20") == "/v2/calendar?start=2026-11-20&end=2026-11-20"
