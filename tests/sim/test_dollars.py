"""Orders in dollars and in parts of shares: the quantity is what the money buys where it trades."""

from __future__ import annotations

import pytest

from hands.core.units import NANO, decimal_text, mul_ceil
from hands.core.vocab import OrderStatus
from hands.sim.venue.errors import VenueError

FILLED = OrderStatus.FILLED


def dollars(desk, side, amount, kind="market", symbol="AAPL", **fields):
    return desk.send(symbol, side, "0", kind, notional=amount, **fields)


def test_the_quantity_is_reckoned_at_the_price_of_the_execution(desk):
    order = dollars(desk, "buy", "100")
    assert (order.status, decimal_text(order.qty)) == (FILLED, "0.666666666")
    assert desk.cash() == "99900.0000001"  # the next nano-share would have been a cent of a cent too much


def test_a_better_price_buys_more_and_never_for_more(desk):
    order = dollars(desk, "buy", "100", "limit", limit_price="149")
    assert 0 <= 100 * NANO - desk.exchange.funds().reserved < 149  # what a nano-share costs
    desk.quote("AAPL", "124.9", "125")
    assert (order.status, decimal_text(order.qty)) == (FILLED, "0.8")
    assert desk.cash() == "99900"


def test_each_part_is_reckoned_at_its_own_price(make_desk):
    desk = make_desk(fills="realistic", random_partials=False)
    desk.quote("AAPL", "99.9", "100", "4")
    order = dollars(desk, "buy", "1000")
    assert (order.status, decimal_text(order.filled_qty)) == (OrderStatus.PARTIALLY_FILLED, "4")
    desk.quote("AAPL", "79.9", "80", "100")
    assert (order.status, decimal_text(order.filled_qty)) == (FILLED, "11.5")  # 400 for four, 600 for 7.5
    assert order.traded_value == 1000 * NANO


def test_a_sale_in_dollars_never_sells_more_than_is_held_for_it(make_desk):
    desk = make_desk(session="calendar")
    desk.at(2026, 11, 18, 10, 0)
    desk.quote("AAPL", "99.9", "100")
    desk.send("AAPL", "buy", "10")
    desk.quote("AAPL", "100", "100.1")
    desk.at(2026, 11, 18, 21, 0)  # closed, so that it is reckoned at the last print
    desk.trade("AAPL", "100")
    order = dollars(desk, "sell", "1000")
    desk.quote("AAPL", "80", "80.1")
    desk.at(2026, 11, 19, 9, 30)
    assert order.status is FILLED
    assert desk.position("AAPL") == "0"


def test_a_sale_in_dollars_sells_less_when_the_price_is_better(desk):
    desk.send("AAPL", "buy", "10")
    order = dollars(desk, "sell", "300", "limit", limit_price="150")
    assert decimal_text(order.qty) == "2"
    desk.quote("AAPL", "160", "160.1")
    assert (order.status, decimal_text(order.filled_qty)) == (FILLED, "1.875")


def test_coins_for_dollars(desk):
    order = dollars(desk, "buy", "1000", symbol="BTC/USD")
    assert order.status is FILLED
    cost = mul_ceil(order.filled_qty, 60010 * NANO)
    assert 0 <= 1000 * NANO - cost < 60010


@pytest.mark.parametrize("fills", ["instant", "realistic"])
def test_parts_of_shares_fill_to_the_last_digit(make_desk, fills):
    desk = make_desk(fills=fills, random_partials=False)
    desk.quote("AAPL", "149.98", "150", "0.75")
    order = desk.send("AAPL", "buy", "1.123456789")
    desk.quote("AAPL", "149.98", "150", "0.75")
    assert (order.status, decimal_text(order.filled_qty)) == (FILLED, "1.123456789")


def test_a_purchase_in_dollars_that_closes_never_turns_the_holding_around(desk):
    """Ten are sold short and bought back for what they cost at the limit; a third less buys no fifteen."""
    desk.send("AAPL", "sell", "10")
    order = dollars(desk, "buy", "1400", "limit", limit_price="140")
    desk.quote("AAPL", "99.9", "100")
    assert (order.status, desk.position("AAPL")) == (FILLED, "0")


def test_what_is_left_of_the_dollars_is_what_stays_reserved(make_desk):
    desk = make_desk(fills="realistic", random_partials=False)
    desk.quote("AAPL", "159.9", "160", "4")
    order = dollars(desk, "buy", "1500", "limit", limit_price="150")
    assert desk.exchange.funds().reserved == 1500 * NANO
    desk.quote("AAPL", "99.9", "100", "4")
    assert decimal_text(order.filled_qty) == "4"
    assert desk.exchange.funds().reserved == 1100 * NANO


def test_an_order_whose_dollars_are_used_up_is_filled(make_desk):
    """All but a billionth of a coin is there; what is left of the dollars buys not even that any more."""
    desk = make_desk(fills="realistic", random_partials=False)
    desk.quote("BTC/USD", "60000", "60000.5", "0.016665999")
    order = dollars(desk, "buy", "999.968333", symbol="BTC/USD")
    assert (order.status, order.filled_qty) == (FILLED, 16_665_999)
    assert desk.exchange.funds().reserved == 0


@pytest.mark.parametrize("kind", ["market", "stop"])
def test_dollars_that_buy_nothing_are_refused(desk, kind):
    desk.quote("AAPL", "1000000000", "1000000000.01")
    stop = {"stop_price": "1020000000"} if kind == "stop" else {}
    with pytest.raises(VenueError, match="qty must be > 0"):
        dollars(desk, "buy", "1", kind, **stop)
