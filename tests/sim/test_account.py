"""Money: fees, average cost, reservations, buying power, naked time."""

from __future__ import annotations

import pytest

from hands.core.units import NS_PER_MS, decimal_text
from hands.sim.server.rest_json import account_json, position_json
from hands.sim.venue.errors import VenueError


def test_coins_bought_pay_the_fee_in_coins_and_coins_sold_in_dollars(desk):
    order = desk.send("BTC/USD", "buy", "0.1", "limit", "ioc", limit_price="60100")
    assert decimal_text(order.filled_qty) == "0.1"  # gross
    assert desk.position("BTC/USD") == "0.09975"
    assert desk.cash() == "93999"
    desk.send("BTC/USD", "sell", "0.09975")
    assert desk.cash() == "99969.0375"  # 93999 + 5985 x 0.9975
    assert [(decimal_text(f.fee), f.fee_asset) for f in desk.exchange.blotter.fills] == [
        ("0.00025", "BTC"),
        ("14.9625", "USD"),
    ]


def test_stop_for_the_gross_quantity_is_refused(desk):
    desk.send("BTC/USD", "buy", "0.1")
    with pytest.raises(VenueError) as refusal:
        desk.send("BTC/USD", "sell", "0.1", "stop_limit", stop_price="59000", limit_price="58000")
    assert refusal.value.body() == {
        "code": 40310000,
        "message": "insufficient balance for BTC (requested: 0.1, available: 0.09975)",
        "available": "0.09975",
        "balance": "0.09975",
        "symbol": "BTC",
    }


def test_fee_is_rounded_up_to_the_last_decimal(desk):
    desk.send("BTC/USD", "buy", "0.000333333")
    assert desk.position("BTC/USD") == "0.000332499"


def test_average_price_follows_additions_and_not_reductions(desk):
    desk.send("AAPL", "buy", "10")
    desk.quote("AAPL", "151.98", "152")
    desk.send("AAPL", "buy", "10")
    position = desk.exchange.position("AAPL")
    assert decimal_text(position.avg_entry_price) == "151"
    desk.send("AAPL", "sell", "5")
    assert decimal_text(position.avg_entry_price) == "151"
    assert position_json(position, desk.exchange)["unrealized_pl"] == "14.85"


def test_short_position_has_negative_quantity_and_value(desk):
    desk.send("AAPL", "sell", "10")
    document = position_json(desk.exchange.position("AAPL"), desk.exchange)
    assert (document["qty"], document["side"]) == ("-10", "short")
    assert document["market_value"].startswith("-")
    assert desk.cash() == "101499.8"


def test_open_orders_reserve_buying_power(desk):
    desk.send("AAPL", "buy", "1000", "limit", limit_price="149")
    assert account_json(desk.exchange)["buying_power"] == "51000"
    with pytest.raises(VenueError, match="insufficient buying power"):
        desk.send("AAPL", "buy", "400", "limit", limit_price="149")
    desk.exchange.cancel_all()
    assert account_json(desk.exchange)["buying_power"] == "200000"


def test_exits_reserve_shares_and_no_money(desk):
    desk.bracket()
    document = account_json(desk.exchange)
    assert document["buying_power"] == decimal_text(desk.exchange.funds().buying_power)
    assert desk.exchange.funds().reserved == 0
    assert position_json(desk.exchange.position("AAPL"), desk.exchange)["qty_available"] == "0"


def test_coins_cannot_be_bought_on_margin(desk):
    desk.send("AAPL", "buy", "600")  # 90 000 of 100 000 dollars
    with pytest.raises(
        VenueError, match=r"insufficient balance for USD \(requested: 12002, available: 10000\)"
    ):
        desk.send("BTC/USD", "buy", "0.2")


def test_position_without_a_stop_is_naked_until_one_rests(desk):
    desk.send("AAPL", "buy", "10")
    desk.wait(30)
    assert desk.naked("AAPL") == {
        "naked_ns": 30 * NS_PER_MS,
        "naked_max_ns": 30 * NS_PER_MS,
        "naked_since_ns": desk.t_ns - 30 * NS_PER_MS,
    }
    stop = desk.send("AAPL", "sell", "10", "stop", stop_price="148")
    desk.wait(1000)
    desk.exchange.cancel(stop.order_id)
    desk.wait(20)
    desk.exchange.close_position("AAPL")
    desk.wait(1000)
    assert desk.naked("AAPL") == {
        "naked_ns": 50 * NS_PER_MS,
        "naked_max_ns": 30 * NS_PER_MS,
        "naked_since_ns": None,
    }


def test_bracketed_position_is_never_naked(desk):
    desk.bracket()
    desk.wait(1000)
    desk.quote("AAPL", "147", "147.02")
    desk.trade("AAPL", "147")
    assert desk.naked("AAPL") == {}


def test_partly_filled_bracket_is_naked_from_its_first_fill(make_desk):
    desk = make_desk(fills="realistic", random_partials=False)
    desk.quote("AAPL", "149.98", "150", "4")
    desk.bracket("6")
    desk.wait(40)
    desk.quote("AAPL", "149.98", "150", "4")
    desk.wait(40)
    assert desk.naked("AAPL") == {
        "naked_ns": 40 * NS_PER_MS,
        "naked_max_ns": 40 * NS_PER_MS,
        "naked_since_ns": None,
    }


def test_stop_smaller_than_the_position_leaves_it_naked(desk):
    desk.send("AAPL", "buy", "10")
    desk.send("AAPL", "sell", "9", "stop", stop_price="148")
    assert desk.naked("AAPL")["naked_since_ns"] == desk.t_ns


def test_dust_that_no_order_could_protect_is_not_naked(desk):
    desk.send("BTC/USD", "buy", "0.1")
    desk.send("BTC/USD", "sell", "0.0996", "stop_limit", stop_price="59000", limit_price="58000")
    assert desk.naked("BTC/USD")["naked_since_ns"] is None  # 0.00015 BTC are nine dollars
