"""Sessions, auctions and halts: when orders wake, when they end, and what stands still in between."""

from __future__ import annotations

import datetime as dt

import pytest

from hands.core.units import NANO, decimal_text
from hands.core.vocab import OrderStatus
from hands.sim.server.rest_json import position_json
from hands.sim.venue.calendar import CLOSE, NEW_YORK, SESSION_CLOSE, new_york_date
from hands.sim.venue.errors import VenueError
from hands.sim.venue.orders import ReplaceRequest
from hands.sim.venue.quirks import Latency, Quirks

ACCEPTED, NEW, FILLED, CANCELED, EXPIRED, HELD = (
    OrderStatus(word) for word in ("accepted", "new", "filled", "canceled", "expired", "held")
)
WEDNESDAY = (2026, 11, 18)
THURSDAY = (2026, 11, 19)


@pytest.fixture
def floor(make_desk):
    """Return a maker of desks under the real calendar, AAPL quoted; before the opening of a Wednesday."""

    def make(*time, **options):
        desk = make_desk(session="calendar", **options)
        desk.at(*WEDNESDAY, *(time or (8, 0)))
        desk.quote("AAPL", "149.98", "150")
        return desk

    return make


def told(desk):
    return [event for event, _ in desk.events()]


def new_york(t_ns):
    return dt.datetime.fromtimestamp(t_ns // NANO, NEW_YORK)


# --- sessions


def test_an_order_sent_while_closed_is_accepted_at_once_and_released_at_the_opening(floor):
    desk = floor()
    answer = desk.exchange.submit(desk.request("AAPL", "buy", "1"))
    order = desk.exchange.blotter.find(answer.order_id)
    assert (answer.status, told(desk)) == (ACCEPTED, ["pending_new", "accepted"])
    desk.at(*WEDNESDAY, 9, 29)
    assert order.status is ACCEPTED
    desk.at(*WEDNESDAY, 12, 0)  # nothing was asked of the exchange between
    assert (order.status, new_york(order.filled_ns).time()) == (FILLED, dt.time(9, 30))


def test_day_order_waits_for_the_open_and_expires_at_the_close(floor):
    desk = floor()
    resting = desk.send("AAPL", "buy", "1", "limit", limit_price="140")
    kept = desk.send("AAPL", "buy", "1", "limit", "gtc", limit_price="140")
    with pytest.raises(VenueError, match="cannot replace order in accepted status"):
        desk.exchange.replace(resting.order_id, ReplaceRequest(tif=kept.tif))
    desk.at(*WEDNESDAY, 16, 0)
    assert (resting.status, kept.status) == (EXPIRED, NEW)
    assert desk.events()[-1] == ("expired", "entry")
    desk.quote("AAPL", "130", "131")
    assert kept.status is NEW  # nothing trades after hours
    desk.at(*THURSDAY, 9, 31)
    desk.quote("AAPL", "130", "131")
    assert kept.status is FILLED


def test_what_is_sent_after_the_close_belongs_to_the_next_day(floor):
    desk = floor(17, 0)
    order = desk.send("AAPL", "buy", "1", "limit", limit_price="140")
    assert new_york(order.expires_ns) == dt.datetime(*THURSDAY, 16, 0, tzinfo=NEW_YORK)
    desk.at(*THURSDAY, 15, 59)
    assert order.status is NEW
    desk.at(*THURSDAY, 16, 0)
    assert order.status is EXPIRED


def test_a_jump_over_the_close_expires_before_the_next_market_is_seen(floor):
    desk = floor(15, 0)
    order = desk.send("AAPL", "buy", "1", "limit", limit_price="140")
    desk.t_ns += 24 * 3600 * NANO
    desk.quote("AAPL", "130", "131")
    assert (order.status, new_york(order.expired_ns).time()) == (EXPIRED, dt.time(16, 0))


@pytest.mark.parametrize("tif", ["day", "gtc"])
def test_orders_for_extended_hours_trade_before_and_after_the_session(floor, tif):
    desk = floor()
    early = desk.send("AAPL", "buy", "1", "limit", tif, limit_price="150", extended_hours=True)
    assert early.status is FILLED
    desk.at(*WEDNESDAY, 17, 0)
    late = desk.send("AAPL", "buy", "1", "limit", tif, limit_price="149", extended_hours=True)
    plain = desk.send("AAPL", "buy", "1", "limit", limit_price="149")
    desk.quote("AAPL", "148.9", "149")
    assert (late.status, plain.status) == (FILLED, ACCEPTED)


def test_a_day_order_for_extended_hours_ends_with_them(floor):
    desk = floor()
    order = desk.send("AAPL", "buy", "1", "limit", limit_price="140", extended_hours=True)
    assert new_york(order.expires_ns).time() == SESSION_CLOSE
    desk.at(*WEDNESDAY, 19, 59)
    assert order.status is NEW
    desk.at(*WEDNESDAY, 20, 0)
    assert order.status is EXPIRED
    night = desk.send("AAPL", "buy", "1", "limit", limit_price="150", extended_hours=True)
    assert night.status is ACCEPTED
    desk.at(*THURSDAY, 4, 0)
    assert night.status is FILLED


@pytest.mark.parametrize("symbol", ["AAPL", "BTC/USD"])
def test_an_order_until_canceled_ends_after_ninety_days(floor, symbol):
    desk = floor(10, 0)
    desk.quote("BTC/USD", "60000", "60010")
    price = "140" if symbol == "AAPL" else "50000"
    order = desk.send(symbol, "buy", "1", "limit", "gtc", limit_price=price)
    ends = new_york(order.expires_ns)
    assert (new_york_date(order.expires_ns) - dt.date(*WEDNESDAY)).days == 90
    assert ends.time() == CLOSE
    desk.at(ends.year, ends.month, ends.day, 16, 14)
    assert order.status is NEW
    desk.at(ends.year, ends.month, ends.day, 16, 15)  # the venue's job runs a quarter of an hour later
    assert order.status is EXPIRED


def test_nothing_ends_with_the_day_when_the_session_is_always_on(desk):
    order = desk.send("AAPL", "buy", "1", "limit", limit_price="140")
    desk.pass_ms(7 * 24 * 3600 * 1000)
    assert order.status is NEW


@pytest.mark.parametrize("habit", ["resting", "done_for_day"])
def test_orders_that_rest_over_night_may_be_done_for_the_day(floor, habit):
    desk = floor(15, 0, quirks=Quirks(day_end=habit), fills="realistic", random_partials=False)
    desk.quote("AAPL", "149.98", "150", "4")
    partly = desk.send("AAPL", "buy", "10", "limit", "gtc", limit_price="150")
    late = desk.send("AAPL", "buy", "1", "limit", "gtc", limit_price="140", extended_hours=True)
    desk.events()
    desk.at(*WEDNESDAY, 16, 0)
    evening = [partly.status.value, late.status.value, told(desk)]
    desk.at(*THURSDAY, 9, 30)
    assert partly.status is OrderStatus.PARTIALLY_FILLED
    if habit == "resting":
        assert evening == ["partially_filled", "new", []]
        assert told(desk) == []
    else:
        assert evening == ["done_for_day", "new", ["done_for_day"]]
        assert told(desk) == ["new"]


def test_a_replacement_that_waits_over_the_opening_is_not_done_for_the_day(floor):
    desk = floor(15, 0, quirks=Quirks(day_end="done_for_day"), latency=Latency.of_ms(replace=60_000))
    order = desk.send("AAPL", "buy", "10", "limit", "gtc", limit_price="140")
    desk.at(*THURSDAY, 9, 29, 30)
    new = desk.replace(order, limit_price="141")
    assert order.own_status is OrderStatus.DONE_FOR_DAY
    desk.at(*THURSDAY, 9, 31)
    assert (order.status, new.status) == (OrderStatus.REPLACED, NEW)


def test_a_day_counts_from_the_last_close(floor):
    desk = floor(10, 0)
    desk.send("AAPL", "buy", "10")
    desk.quote("AAPL", "151.98", "152")
    desk.trade("AAPL", "152")
    assert day(desk) == ("149.99", "20", "20")  # the first price seen; bought at 150
    desk.at(*WEDNESDAY, 16, 0)
    desk.quote("AAPL", "152.98", "153")
    desk.trade("AAPL", "153")
    desk.at(*THURSDAY, 3, 59)
    assert day(desk) == ("149.99", "30", "30")
    desk.at(*THURSDAY, 4, 0)
    assert day(desk) == ("152", "30", "10")
    desk.at(*THURSDAY, 10, 0)
    desk.send("AAPL", "buy", "10")  # at 153: 2 for the ten of yesterday less one for these
    desk.quote("AAPL", "151.98", "152")
    desk.trade("AAPL", "152")
    assert day(desk) == ("152", "10", "-10")
    desk.send("AAPL", "sell", "10")
    assert day(desk) == ("152", "5", "-5")


def day(desk):
    document = position_json(desk.exchange.position("AAPL"), desk.exchange)
    return document["lastday_price"], document["unrealized_pl"], document["unrealized_intraday_pl"]


def test_next_due_is_the_next_change_of_session(floor):
    desk = floor()
    assert new_york(desk.exchange.next_due_ns).time() == dt.time(9, 30)
    desk.at(*WEDNESDAY, 9, 30)
    assert new_york(desk.exchange.next_due_ns).time() == dt.time(16, 0)


def test_nothing_is_due_on_an_exchange_that_is_always_open(make_desk):
    assert make_desk().exchange.next_due_ns is None


# --- the auctions


@pytest.mark.parametrize(
    ("first", "kind", "fields", "price"),
    [
        (("q", "151", "151.05"), "market", {}, "151.05"),
        (("t", "151.2"), "market", {}, "151.2"),
        (("t", "151.2"), "limit", {"limit_price": "151.2"}, "151.2"),
        (("t", "151.2"), "limit", {"limit_price": "151"}, None),
        (("q", "151", "151.05"), "limit", {"limit_price": "151"}, None),
    ],
)
def test_an_order_for_the_opening_meets_the_first_market_of_the_session(floor, first, kind, fields, price):
    desk = floor()
    order = desk.send("AAPL", "buy", "10", kind, "opg", **fields)
    desk.quote("AAPL", "140", "141")  # before the opening: not for it
    desk.at(*WEDNESDAY, 9, 30)
    assert order.status is NEW
    if first[0] == "q":
        desk.quote("AAPL", *first[1:])
    else:
        desk.trade("AAPL", first[1])
    if price is None:
        assert (order.status, order.filled_qty) == (CANCELED, 0)
        desk.quote("AAPL", "140", "141")
        assert order.filled_qty == 0
    else:
        assert (order.status, decimal_text(order.filled_avg_price)) == (FILLED, price)


def test_the_opening_fills_what_is_there_and_cancels_the_rest(floor):
    desk = floor(fills="realistic", random_partials=False)
    order = desk.send("AAPL", "buy", "10", "market", "opg")
    desk.at(*WEDNESDAY, 9, 30)
    desk.trade("AAPL", "150", "6")
    assert (order.status, decimal_text(order.filled_qty)) == (CANCELED, "6")


@pytest.mark.parametrize(("limit", "outcome"), [("150.1", FILLED), ("149.9", CANCELED)])
def test_an_order_for_the_close_meets_the_last_market_of_the_session(floor, limit, outcome):
    desk = floor(10, 0)
    order = desk.send("AAPL", "buy", "10", "limit", "cls", limit_price=limit)
    desk.quote("AAPL", "148", "149")
    assert (order.status, order.filled_qty) == (ACCEPTED, 0)
    desk.at(*WEDNESDAY, 15, 59)
    desk.quote("AAPL", "149.98", "150.05")
    desk.at(*WEDNESDAY, 16, 0)
    assert order.status is outcome
    assert new_york(order.updated_ns).time() == dt.time(16, 0)
    if outcome is FILLED:
        assert decimal_text(order.filled_avg_price) == "150.05"


def test_an_order_for_the_opening_that_nobody_meets_ends_with_the_day(floor):
    desk = floor()
    order = desk.send("AAPL", "buy", "10", "market", "opg")
    desk.at(*WEDNESDAY, 16, 0)
    assert order.status is EXPIRED


# --- halts


def test_a_halt_stops_fills_and_elections_until_trading_resumes(desk):
    desk.send("AAPL", "buy", "10")
    stop = desk.send("AAPL", "sell", "5", "stop", stop_price="149")
    resting = desk.send("AAPL", "sell", "5", "limit", limit_price="151")
    desk.status("AAPL", "H")
    desk.quote("AAPL", "152", "152.1")
    desk.trade("AAPL", "148")
    assert (stop.status, resting.status, stop.elected) == (NEW, NEW, False)
    desk.status("AAPL", "Q")  # quoting resumes; trading does not
    desk.quote("AAPL", "152", "152.1")
    assert resting.status is NEW
    desk.status("AAPL", "T")
    desk.quote("AAPL", "152", "152.1")
    assert (stop.status, resting.status) == (NEW, FILLED)
    desk.quote("AAPL", "147", "147.1")
    desk.trade("AAPL", "147")
    assert (stop.status, decimal_text(stop.filled_avg_price)) == (FILLED, "147")  # far below its 149


def test_orders_sent_during_a_halt_wait_for_its_end(desk):
    desk.status("AAPL", "H")
    order = desk.send("AAPL", "buy", "1", "limit", limit_price="151")
    assert order.status is ACCEPTED
    elsewhere = desk.send("BTC/USD", "buy", "0.1")
    assert elsewhere.status is FILLED
    desk.status("AAPL", "T")
    assert (order.status, decimal_text(order.filled_avg_price)) == (FILLED, "150")


def test_what_is_halted_can_be_canceled(desk):
    order = desk.send("AAPL", "buy", "1", "limit", limit_price="140")
    desk.status("AAPL", "H")
    desk.exchange.cancel(order.order_id)
    assert order.status is CANCELED


def test_a_halt_between_acknowledgement_and_book_holds_the_order(make_desk):
    desk = make_desk(latency=Latency.of_ms(fill=10))
    desk.quote("AAPL", "149.98", "150")
    order = desk.send("AAPL", "buy", "1")
    desk.status("AAPL", "H")
    desk.pass_ms(20)
    assert order.status is NEW
    desk.status("AAPL", "T")
    desk.quote("AAPL", "149.98", "150.5")
    assert decimal_text(order.filled_avg_price) == "150.5"
