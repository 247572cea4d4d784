"""Trailing stops: what moves the water mark, where the stop follows it, and what elects it."""

from __future__ import annotations

import pytest

from hands.core.units import decimal_text
from hands.core.vocab import OrderStatus


@pytest.fixture
def holding(desk):
    """A desk that holds ten shares bought at 150, the last print at 149.99."""
    desk.trade("AAPL", "149.99")
    desk.send("AAPL", "buy", "10")
    desk.events()
    return desk


def trailing(desk, side="sell", qty="10", **trail):
    return desk.send("AAPL", side, qty, "trailing_stop", "gtc", **trail)


def levels(order):
    return tuple(decimal_text(price) for price in (order.high_water_mark, order.stop_price))


@pytest.mark.parametrize(
    ("trail", "stop"),
    [
        ({"trail_price": "1.5"}, "148.49"),
        ({"trail_percent": "1"}, "148.49"),  # 148.4901, cut to the cent away from the market
        ({"trail_percent": "0.1"}, "149.84"),  # 149.84001
    ],
)
def test_the_stop_starts_from_the_current_price(holding, trail, stop):
    order = trailing(holding, **trail)
    assert levels(order) == ("149.99", stop)
    assert order.status is OrderStatus.NEW


def test_the_stop_follows_the_market_up_and_never_down(holding):
    order = trailing(holding, trail_price="2")
    holding.quote("AAPL", "150.98", "151.02")
    assert levels(order) == ("149.99", "147.99")  # a quote is no print
    holding.trade("AAPL", "151")
    assert levels(order) == ("151", "149")
    holding.quote("AAPL", "149.9", "150.1")
    holding.trade("AAPL", "150")
    assert (levels(order), order.status) == (("151", "149"), OrderStatus.NEW)
    holding.quote("AAPL", "148.9", "149.1")
    holding.trade("AAPL", "149")
    assert (order.status, decimal_text(order.filled_avg_price)) == (OrderStatus.FILLED, "148.9")


@pytest.mark.parametrize("print_", ["155", "140"])
def test_prints_outside_the_quote_neither_move_nor_elect_it(holding, print_):
    order = trailing(holding, trail_price="2")
    holding.trade("AAPL", print_)
    assert (levels(order), order.status) == (("149.99", "147.99"), OrderStatus.NEW)


def test_a_buy_trails_the_low(desk):
    desk.trade("AAPL", "149.99")
    order = trailing(desk, "buy", trail_percent="1")
    assert levels(order) == ("149.99", "151.49")
    desk.quote("AAPL", "147.98", "148.02")
    desk.trade("AAPL", "148")
    assert levels(order) == ("148", "149.48")
    desk.quote("AAPL", "149.48", "149.6")
    desk.trade("AAPL", "149.5")
    assert (order.status, decimal_text(order.filled_avg_price)) == (OrderStatus.FILLED, "149.6")


def test_only_prints_of_the_regular_session_move_it(make_desk):
    desk = make_desk(session="calendar")
    desk.at(2026, 11, 25, 10, 0)
    desk.quote("AAPL", "149.98", "150")
    desk.send("AAPL", "buy", "10")
    order = trailing(desk, trail_price="2")
    assert levels(order) == ("149.99", "147.99")  # the middle of the quote
    desk.trade("AAPL", "150")
    assert levels(order) == ("150", "148")
    desk.at(2026, 11, 25, 17, 0)
    desk.trade("AAPL", "149.99")
    desk.quote("AAPL", "152.98", "153")
    desk.trade("AAPL", "153")
    desk.trade("AAPL", "152.98")
    assert levels(order) == ("150", "148")


def test_a_new_trail_keeps_the_mark(holding):
    order = trailing(holding, trail_percent="1")
    holding.quote("AAPL", "150.98", "151.02")
    holding.trade("AAPL", "151")
    wider = holding.replace(order, trail="2")
    assert (wider.trail_price, decimal_text(wider.trail_percent)) == (None, "2")
    assert levels(wider) == ("151", "147.98")


def test_a_new_trail_is_in_dollars_where_the_old_one_was(holding):
    wider = holding.replace(trailing(holding, trail_price="1"), trail="2")
    assert (decimal_text(wider.trail_price), wider.trail_percent) == ("2", None)
    assert levels(wider) == ("149.99", "147.99")


def test_the_stop_never_falls_to_nothing(desk):
    desk.quote("CHEAP", "0.5", "0.51")
    desk.send("CHEAP", "buy", "10")
    order = desk.send("CHEAP", "sell", "10", "trailing_stop", "gtc", trail_price="3")
    assert decimal_text(order.stop_price) == "0.0001"
