"""Orders in dollars and in parts of shares: the quantity is what the money buys where it trades."""

from __future__ import annotations

import pytest

from hands.core.units import NANO, decimal_text, mul_ceil
from hands.core.vocab import OrderStatus

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
