"""Naked time: what protects a holding, from when, and until when."""

from __future__ import annotations

import pytest

from hands.core.units import NANO, NS_PER_MS
from hands.core.vocab import OrderStatus
from hands.sim.venue.exposure import bare_qty
from hands.sim.venue.quirks import Latency, Quirks

ELECTED_MS = 2_000
"""How long an elected stop with a limit still counts."""


def is_naked(desk, symbol="AAPL"):
    desk.exchange.advance()
    return desk.naked(symbol).get("naked_since_ns") is not None


@pytest.fixture
def held(make_desk):
    """Return a maker of desks that hold ten AAPL, whatever their latency, and are told what to do with them."""

    def make(quirks=None, session="always", **ms):
        desk = make_desk(latency=Latency.of_ms(**ms), quirks=quirks or Quirks(), session=session)
        desk.at(2026, 11, 18, 10, 0)
        desk.quote("AAPL", "149.98", "150")
        desk.send("AAPL", "buy", "10")
        desk.pass_ms(1_000)
        assert is_naked(desk)
        return desk

    return make


def oco(desk):
    return desk.send(
        "AAPL",
        "sell",
        "10",
        "limit",
        "gtc",
        order_class="oco",
        take_profit_limit_price="155",
        stop_loss_stop_price="148",
    )


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


# --- the statuses of a stop, one by one


STOPS = {
    "stop": ("stop", {"stop_price": "148"}),
    "stop limit": ("stop_limit", {"stop_price": "148", "limit_price": "147"}),
    "trailing stop": ("trailing_stop", {"trail_price": "2"}),
}


@pytest.mark.parametrize("kind", STOPS)
def test_a_stop_counts_from_its_acknowledgement(held, kind):
    desk = held(ack=40, fill=30)
    kind, fields = STOPS[kind]
    stop = desk.send("AAPL", "sell", "10", kind, "gtc", **fields)
    desk.wait(39)
    assert (is_naked(desk), stop.status) == (True, OrderStatus.PENDING_NEW)
    desk.wait(1)
    assert (is_naked(desk), stop.status) == (False, OrderStatus.NEW)


def test_the_held_stop_of_a_pair_counts_from_the_acknowledgement_of_its_target(held):
    desk = held(ack=40)
    target = oco(desk)
    stop = target.group.stop_loss
    assert (is_naked(desk), target.status, stop.status) == (
        True,
        OrderStatus.PENDING_NEW,
        OrderStatus.HELD,
    )
    desk.wait(40)
    assert (is_naked(desk), stop.status) == (False, OrderStatus.HELD)


def test_the_held_stop_of_a_bracket_counts_from_the_last_fill_of_its_entry(desk):
    _, stop = desk.legs(desk.bracket())
    assert (stop.status, is_naked(desk)) == (OrderStatus.HELD, False)


def test_a_stop_that_waits_for_its_session_counts(held):
    desk = held(session="calendar")
    desk.at(2026, 11, 18, 18, 0)
    stop = desk.send("AAPL", "sell", "10", "stop", "gtc", stop_price="148")
    assert (stop.status, is_naked(desk)) == (OrderStatus.ACCEPTED, False)


def test_a_stop_that_is_done_for_the_day_counts_until_it_wakes_again(held):
    desk = held(Quirks(day_end="done_for_day"), session="calendar")
    stop = desk.send("AAPL", "sell", "10", "stop", "gtc", stop_price="148")
    desk.at(2026, 11, 18, 18, 0)
    assert (stop.status, is_naked(desk)) == (OrderStatus.DONE_FOR_DAY, False)


def test_a_day_stop_does_not_count_over_night(held):
    desk = held(session="calendar")
    desk.send("AAPL", "sell", "10", "stop", "day", stop_price="148")
    desk.at(2026, 11, 18, 15, 59)
    assert not is_naked(desk)
    desk.at(2026, 11, 18, 16, 0)
    assert is_naked(desk)


def test_a_stop_on_its_way_out_does_not_count_and_one_that_is_being_replaced_does(held):
    desk = held(cancel=50, replace=50)
    stop = desk.send("AAPL", "sell", "10", "stop", "gtc", stop_price="148")
    stop = desk.replace(stop, stop_price="148.5")
    assert not is_naked(desk)
    desk.wait(50)
    assert not is_naked(desk)
    desk.exchange.cancel(stop.order_id)
    assert (stop.status, is_naked(desk)) == (OrderStatus.PENDING_CANCEL, True)


def test_a_cancel_on_its_way_to_the_target_takes_the_stop_with_it(held):
    desk = held(cancel=50)
    target = oco(desk)
    assert not is_naked(desk)
    desk.exchange.cancel(target.order_id)
    assert (target.group.stop_loss.status, is_naked(desk)) == (OrderStatus.HELD, True)


@pytest.mark.parametrize(("kind", "ends_naked"), [("stop limit", True), ("stop", False)])
def test_an_elected_stop_that_may_never_fill_counts_for_two_seconds(make_desk, kind, ends_naked):
    """The bid has gone: a stop waits for the next one at any price, a stop-limit perhaps in vain."""
    desk = make_desk()
    desk.quote("AAPL", "149.98", "150")
    desk.send("AAPL", "buy", "10")
    kind, fields = STOPS[kind]
    stop = desk.send("AAPL", "sell", "10", kind, "gtc", **fields)
    desk.quote("AAPL", "0", "150")
    desk.trade("AAPL", "146")
    assert (stop.elected, stop.status) == (True, OrderStatus.NEW)
    desk.wait(ELECTED_MS - 1)
    assert not is_naked(desk)
    desk.wait(1_000)
    assert is_naked(desk) == ends_naked
    assert bare_qty(10 * NANO, [stop], desk.t_ns) == (10 * NANO if ends_naked else 0)
    if ends_naked:
        assert desk.naked("AAPL")["naked_since_ns"] == stop.elected_ns + ELECTED_MS * NS_PER_MS
        desk.exchange.cancel(stop.order_id)
        desk.send("AAPL", "sell", "10", "stop", "gtc", stop_price="140")
        assert not is_naked(desk)


def test_a_short_is_protected_by_a_buy_stop_until_it_is_elected_above_its_cap(desk):
    desk.send("AAPL", "sell", "10")
    stop = desk.send("AAPL", "buy", "10", "stop", "gtc", stop_price="152")
    assert not is_naked(desk)
    desk.quote("AAPL", "159.98", "160")
    desk.trade("AAPL", "160")
    assert (stop.elected, stop.filled_qty) == (True, 0)
    desk.wait(ELECTED_MS)
    assert is_naked(desk)
