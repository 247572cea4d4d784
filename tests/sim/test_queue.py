"""Realistic fills: one displayed size for all our orders, and a place in the queue for those that rest."""

from __future__ import annotations

import pytest

from hands.core.units import Ns, Price, Qty, decimal_text, nano
from hands.core.vocab import OrderStatus
from hands.sim.venue.ticks import Quote, Trade

SIZES = Qty(nano("300")), Qty(nano("200"))


@pytest.fixture
def book(make_desk):
    """A desk where sizes count; 300 shares bid at 149.98, 200 offered at 150."""
    desk = make_desk(fills="realistic", random_partials=False)
    desk.quote("AAPL", "149.98", "150", "300", "200")
    return desk


def buy(desk, limit, qty="10"):
    return desk.send("AAPL", "buy", qty, "limit", limit_price=limit)


def price(text):
    return Price(nano(text))


def filled(*orders):
    return [decimal_text(order.filled_qty) for order in orders]


def test_prints_at_the_price_use_up_the_queue_first(book):
    order = buy(book, "149.98")
    for size, so_far in (("250", "0"), ("50", "0"), ("4", "4"), ("100", "10")):
        book.trade("AAPL", "149.98", size)
        assert filled(order) == [so_far]
    assert decimal_text(order.filled_avg_price) == "149.98"


def test_one_print_reaches_past_the_queue(book):
    order = buy(book, "149.98")
    book.trade("AAPL", "149.98", "306")
    assert filled(order) == ["6"]


def test_what_is_withdrawn_ahead_of_us_moves_us_up_and_what_comes_later_is_behind(book):
    order = buy(book, "149.98")
    book.quote("AAPL", "149.98", "150", "20", "200")
    book.quote("AAPL", "149.98", "150", "900", "200")
    book.trade("AAPL", "149.98", "25")
    assert filled(order) == ["5"]


def test_inside_the_spread_we_are_alone(book):
    order = buy(book, "149.99")
    book.trade("AAPL", "149.99", "4")
    assert filled(order) == ["4"]


def test_deeper_in_the_book_we_stand_nowhere_until_the_market_comes(book):
    order = buy(book, "149.95")
    book.trade("AAPL", "149.95", "1000")
    assert filled(order) == ["0"]
    book.quote("AAPL", "149.95", "150", "100", "200")
    book.trade("AAPL", "149.95", "105")
    assert filled(order) == ["5"]


def test_when_the_market_leaves_we_are_first(book):
    order = buy(book, "149.98")
    book.quote("AAPL", "149.97", "150", "300", "200")
    book.trade("AAPL", "149.98", "3")
    assert filled(order) == ["3"]


def test_a_print_through_the_price_asks_for_no_queue(book):
    order = buy(book, "149.98")
    book.trade("AAPL", "149.97", "6")
    assert filled(order) == ["6"]
    assert decimal_text(order.filled_avg_price) == "149.98"


def test_our_orders_share_one_print_by_price_and_time(book):
    behind, older, younger = buy(book, "149.96"), buy(book, "149.97"), buy(book, "149.97")
    book.trade("AAPL", "149.95", "16")
    assert filled(older, younger, behind) == ["10", "6", "0"]


def test_our_orders_share_one_queue(book):
    older, younger = buy(book, "149.98"), buy(book, "149.98")
    book.trade("AAPL", "149.98", "304")
    assert filled(older, younger) == ["4", "0"]
    book.trade("AAPL", "149.98", "11")
    assert filled(older, younger) == ["10", "5"]


def test_our_orders_share_one_quote(book):
    older, younger = buy(book, "149.5", "150"), buy(book, "149.5", "150")
    book.quote("AAPL", "149.3", "149.4", "300", "200")
    assert filled(older, younger) == ["150", "50"]
    book.trade("AAPL", "149.4", "100")
    assert filled(older, younger) == ["150", "50"]  # it was in that quote
    book.quote("AAPL", "149.3", "149.4", "300", "200")
    assert younger.status is OrderStatus.FILLED


@pytest.mark.parametrize(
    ("change", "keeps"),
    [({"qty": "5"}, True), ({"qty": "20"}, False), ({"limit_price": "149.99"}, None)],
)
def test_a_replacement_keeps_its_place_only_if_it_asks_for_less(book, change, keeps):
    order = buy(book, "149.98")
    book.trade("AAPL", "149.98", "300")  # first in the queue now
    book.quote("AAPL", "149.98", "150", "300", "200")
    new = book.replace(order, **change)
    book.trade("AAPL", "149.98" if keeps is not None else "149.99", "3")
    assert filled(new) == ["0" if keeps is False else "3"]


def test_a_sale_queues_at_the_offer(book):
    book.send("AAPL", "buy", "10")
    order = book.send("AAPL", "sell", "10", "limit", limit_price="150")
    book.trade("AAPL", "150", "195")
    assert filled(order) == ["5"]  # our own purchase of ten had taken from the 200 on offer


def test_instant_fills_know_no_queue(desk):
    order = buy(desk, "149.98")
    desk.trade("AAPL", "149.98", "100000")
    assert filled(order) == ["0"]
    desk.trade("AAPL", "149.97", "1")
    assert filled(order) == ["10"]


def test_a_tick_that_is_only_seen_moves_the_book_and_no_order(book):
    order = buy(book, "149.98")
    book.exchange.see(Quote("AAPL", price("149.90"), price("149.95"), *SIZES, Ns(book.t_ns)))
    book.exchange.see(Trade("AAPL", price("149.93"), SIZES[0], Ns(book.t_ns), 1))
    assert book.exchange.mark("AAPL") == price("149.93")
    assert filled(order) == ["0"]
    book.quote("AAPL", "149.90", "149.95", "300", "200")
    assert filled(order) == ["10"]
