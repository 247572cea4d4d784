"""An exchange that takes its time: what an order is, and what can still happen to it, between request and effect."""

from __future__ import annotations

import pytest

from hands.core.units import NANO, NS_PER_MS
from hands.core.vocab import OrderStatus
from hands.sim.venue.errors import VenueError
from hands.sim.venue.quirks import Latency, Quirks

ACCEPTED, NEW, FILLED, CANCELED = (OrderStatus(s) for s in ("accepted", "new", "filled", "canceled"))
PENDING_NEW, PENDING_CANCEL, PENDING_REPLACE = (
    OrderStatus(s) for s in ("pending_new", "pending_cancel", "pending_replace")
)


@pytest.fixture
def slow(make_desk):
    """Return a maker of desks with the given latency in milliseconds, four shares of AAPL displayed."""

    def make(quirks=None, **ms):
        desk = make_desk(
            fills="realistic", random_partials=False, latency=Latency.of_ms(**ms), quirks=quirks or Quirks()
        )
        desk.quote("AAPL", "149.98", "150", "4")
        return desk

    return make


def told(desk):
    return [event for event, _ in desk.events()]


def test_an_order_is_pending_until_it_is_acknowledged(slow):
    desk = slow(ack=5)
    order = desk.send("AAPL", "buy", "1")
    assert desk.exchange.next_due_ns == desk.t_ns + 5 * NS_PER_MS
    desk.pass_ms(4)
    assert (order.status, told(desk)) == (PENDING_NEW, ["pending_new"])
    desk.pass_ms(1)
    assert (order.status, told(desk)) == (FILLED, ["new", "fill"])


def test_what_is_due_happens_at_its_own_time_and_before_the_next_request(slow):
    desk = slow(ack=5, fill=2)
    first = desk.send("AAPL", "buy", "1")
    sent_ns = desk.t_ns
    desk.wait(1000)
    desk.quote("AAPL", "139.98", "140", "4")  # the fill was due long before this quote
    assert first.filled_avg_price == 150 * NANO
    assert [at - sent_ns for at, _ in first.history] == [0, 5 * NS_PER_MS, 7 * NS_PER_MS]
    assert [update.t_ns - sent_ns for update in desk.exchange.take_updates()] == [
        0,
        5 * NS_PER_MS,
        7 * NS_PER_MS,
    ]
    assert desk.exchange.exposure.at(sent_ns + 8 * NS_PER_MS)["AAPL"]["naked_since_ns"] == first.filled_ns


def test_a_new_order_reaches_the_book_after_the_fill_latency(slow):
    desk = slow(fill=10)
    order = desk.send("AAPL", "buy", "1", "limit", limit_price="150")
    assert order.status is NEW
    desk.wait(9)
    desk.quote("AAPL", "149.98", "150", "4")
    desk.trade("AAPL", "149")
    assert order.filled_qty == 0
    desk.pass_ms(1)
    assert order.status is FILLED


def test_a_replacement_reaches_the_book_even_if_it_overtakes_the_original(slow):
    desk = slow(fill=10)
    old = desk.send("AAPL", "buy", "1", "limit", limit_price="150")
    desk.wait(2)
    new = desk.replace(old, limit_price="150.5")
    desk.pass_ms(8)
    assert (old.filled_qty, new.status) == (0, FILLED)


def test_what_is_canceled_before_its_acknowledgement_never_gets_one(slow):
    desk = slow(ack=5)
    order = desk.send("AAPL", "buy", "1")
    desk.exchange.cancel(order.order_id)
    desk.pass_ms(10)
    assert (order.status, told(desk)) == (CANCELED, ["pending_new", "canceled"])


def test_an_order_can_fill_while_its_cancel_is_pending(slow):
    desk = slow(cancel=100)
    order = desk.send("AAPL", "buy", "10", "limit", limit_price="149.9")
    desk.events()
    desk.exchange.cancel(order.order_id)
    assert (order.status, order.cancel_requested_ns) == (PENDING_CANCEL, desk.t_ns)
    desk.pass_ms(50)
    desk.quote("AAPL", "149.88", "149.9", "4")
    assert (order.status, order.filled_qty) == (PENDING_CANCEL, 4 * NANO)
    desk.pass_ms(50)
    assert (order.status, order.remaining) == (CANCELED, 6 * NANO)
    assert told(desk) == ["pending_cancel", "partial_fill", "canceled"]


def test_a_cancel_that_comes_too_late_is_told_so(slow):
    desk = slow(cancel=100)
    order = desk.send("AAPL", "buy", "4", "limit", limit_price="149.9")
    desk.events()
    desk.exchange.cancel(order.order_id)
    desk.quote("AAPL", "149.88", "149.9", "4")
    desk.pass_ms(100)
    assert (order.status, told(desk)) == (FILLED, ["pending_cancel", "fill", "order_cancel_rejected"])


@pytest.mark.parametrize("recancel", ["accepted", "refused"])
def test_a_second_cancel_changes_nothing(slow, recancel):
    desk = slow(Quirks(recancel=recancel), cancel=100)
    order = desk.send("AAPL", "buy", "10", "limit", limit_price="140")
    desk.exchange.cancel(order.order_id)
    asked_ns = desk.t_ns
    desk.wait(60)
    if recancel == "refused":
        with pytest.raises(VenueError, match='order is already in "pending_cancel" state'):
            desk.exchange.cancel(order.order_id)
    else:
        desk.exchange.cancel(order.order_id)
    desk.pass_ms(40)
    assert (order.status, order.canceled_ns, order.cancel_requested_ns) == (CANCELED, desk.t_ns, asked_ns)


def test_a_pending_cancel_of_one_leg_ends_the_group_only_when_it_is_due(slow):
    desk = slow(cancel=100)
    profit, stop = desk.legs(desk.bracket("4"))
    desk.exchange.cancel(profit.order_id)
    assert (profit.status, stop.status) == (PENDING_CANCEL, OrderStatus.HELD)
    desk.quote("AAPL", "147", "147.02", "4")
    desk.trade("AAPL", "147")
    assert stop.status is FILLED  # the protection held until the last moment
    desk.pass_ms(100)
    assert profit.status is CANCELED


def test_an_order_cannot_be_replaced_while_its_cancel_is_pending(slow):
    desk = slow(cancel=100)
    order = desk.send("AAPL", "buy", "10", "limit", limit_price="140")
    desk.exchange.cancel(order.order_id)
    with pytest.raises(VenueError, match="cannot replace order in pending_cancel status"):
        desk.replace(order, limit_price="141")


@pytest.fixture
def replacing(slow):
    """A desk where a replace takes 50 ms, with a resting order for ten and the replacement that waits for it."""

    def make(quirks=None, old_qty="10", **fields):
        desk = slow(quirks, replace=50)
        old = desk.send("AAPL", "buy", old_qty, "limit", limit_price="149")
        desk.events()
        return desk, old, desk.replace(old, **(fields or {"limit_price": "149.5"}))

    return make


def test_a_replacement_waits_and_then_takes_over(replacing):
    desk, old, new = replacing()
    assert (old.status, old.replaced_by) == (PENDING_REPLACE, None)
    assert (new.status, new.replaces) == (PENDING_NEW, old.order_id)
    assert told(desk) == ["pending_replace"]
    desk.quote("AAPL", "149.4", "149.5", "4")
    assert (old.filled_qty, new.filled_qty) == (0, 0)  # the old limit still holds
    desk.pass_ms(50)
    assert (old.status, old.replaced_by) == (OrderStatus.REPLACED, new.order_id)
    assert (new.status, new.filled_qty) == (OrderStatus.PARTIALLY_FILLED, 4 * NANO)
    assert [status.value for _, status in new.history] == ["pending_new", "new", "partially_filled"]
    assert told(desk) == ["replaced", "new", "partial_fill"]


def test_what_fills_while_the_replacement_waits_is_carried_over(replacing):
    desk, old, new = replacing()
    desk.quote("AAPL", "148.9", "149", "4")
    assert (old.status, old.filled_qty) == (PENDING_REPLACE, 4 * NANO)
    desk.quote("AAPL", "148.9", "149.9", "4")
    desk.pass_ms(50)
    assert (new.status, new.remaining, new.qty) == (OrderStatus.PARTIALLY_FILLED, 6 * NANO, 10 * NANO)
    assert told(desk) == ["pending_replace", "partial_fill", "replaced", "new"]


def test_a_replacement_is_rejected_when_the_old_order_fills_first(replacing):
    desk, old, new = replacing(old_qty="4")
    desk.quote("AAPL", "148.9", "149", "4")
    assert (old.status, new.status) == (FILLED, PENDING_NEW)
    desk.pass_ms(50)
    assert (new.status, new.failed_ns) == (OrderStatus.REJECTED, desk.t_ns)
    assert told(desk) == ["pending_replace", "fill", "order_replace_rejected", "rejected"]
    assert desk.position("AAPL") == "4"


def test_a_replacement_for_less_than_has_filled_by_then_is_rejected_and_the_old_order_goes_on(replacing):
    desk, old, new = replacing(qty="3")
    desk.quote("AAPL", "148.9", "149", "4")
    desk.pass_ms(50)
    assert (new.status, old.status) == (OrderStatus.REJECTED, OrderStatus.PARTIALLY_FILLED)
    desk.quote("AAPL", "148.9", "149", "10")
    assert old.status is FILLED


@pytest.mark.parametrize(("meaning", "total"), [("total", 12), ("remaining", 15)])
def test_the_new_quantity_is_the_total_or_what_remains_when_it_is_asked_for(slow, meaning, total):
    """What fills while it waits counts against it: no more is reserved for it than it asked for."""
    desk = slow(Quirks(replace_qty=meaning), replace=50)
    old = desk.send("AAPL", "buy", "10", "limit", limit_price="149")
    desk.quote("AAPL", "148.9", "149", "3")
    new = desk.replace(old, qty="12")
    desk.quote("AAPL", "148.9", "149", "4")
    desk.pass_ms(50)
    assert (old.status, new.qty, new.filled_qty) == (OrderStatus.REPLACED, total * NANO, 7 * NANO)


@pytest.mark.parametrize(
    ("which", "message"),
    [("old", "order already pending replacement"), ("new", "order chain not fully replaced")],
)
def test_neither_end_of_a_pending_replacement_can_be_replaced(replacing, which, message):
    desk, old, new = replacing()
    with pytest.raises(VenueError, match=message):
        desk.replace(old if which == "old" else new, limit_price="149.6")


def test_an_order_that_is_being_replaced_cannot_be_canceled_and_its_replacement_goes_after_it(replacing):
    desk, old, new = replacing()
    with pytest.raises(VenueError, match='order is already in "pending_replace" state'):
        desk.exchange.cancel(old.order_id)
    desk.exchange.cancel(new.order_id)
    assert new.status is PENDING_CANCEL
    desk.pass_ms(50)
    assert (old.status, new.status) == (OrderStatus.REPLACED, CANCELED)
    assert told(desk) == ["pending_replace", "pending_cancel", "replaced", "new", "canceled"]


def test_the_larger_of_both_is_reserved_while_a_replacement_waits(slow):
    desk = slow(replace=50)
    order = desk.send("AAPL", "buy", "10", "limit", limit_price="149")
    larger = desk.replace(order, qty="20")
    assert desk.exchange.funds().reserved == 20 * 149 * NANO
    desk.pass_ms(50)
    desk.replace(larger, qty="5")
    assert desk.exchange.funds().reserved == 20 * 149 * NANO
    desk.pass_ms(50)
    assert desk.exchange.funds().reserved == 5 * 149 * NANO


def test_what_a_replacement_will_sell_is_held_for_it_while_it_waits(slow):
    desk = slow(replace=50)
    desk.quote("BTC/USD", "60000", "60010")
    desk.send("BTC/USD", "buy", "1")
    order = desk.send("BTC/USD", "sell", "0.4", "limit", limit_price="70000")
    desk.replace(order, qty="0.9")
    with pytest.raises(VenueError, match=r"requested: 0\.4, available: 0\.0975"):
        desk.send("BTC/USD", "sell", "0.4", "limit", limit_price="70000")


def test_a_stop_leg_protects_while_it_is_being_replaced(slow):
    desk = slow(replace=50)
    entry = desk.bracket("4")
    profit, stop = desk.legs(entry)
    new = desk.replace(stop, stop_price="149")
    desk.quote("AAPL", "147", "147.02", "4")
    desk.trade("AAPL", "147")
    assert (stop.status, profit.status, new.status) == (FILLED, CANCELED, PENDING_NEW)
    desk.pass_ms(50)
    assert (new.status, desk.position("AAPL")) == (OrderStatus.REJECTED, "0")


def test_a_replaced_stop_leg_joins_the_group_when_it_takes_over(slow):
    desk = slow(replace=50)
    entry = desk.bracket("4")
    new = desk.replace(desk.legs(entry)[1], stop_price="149")
    desk.pass_ms(50)
    assert desk.legs(entry)[1] is new
    assert new.status is OrderStatus.HELD
    desk.quote("AAPL", "148.9", "148.92", "4")
    desk.trade("AAPL", "148.9")
    assert (new.status, desk.position("AAPL")) == (FILLED, "0")


@pytest.mark.parametrize("habit", ["immediate", "pending"])
def test_cancels_while_the_market_is_closed_may_wait_for_the_opening(make_desk, habit):
    desk = make_desk(session="calendar", quirks=Quirks(cancel_when_closed=habit))
    desk.at(2026, 11, 25, 10, 0)
    desk.quote("AAPL", "149.98", "150")
    desk.send("AAPL", "buy", "4")
    stop = desk.send("AAPL", "sell", "3", "stop", "gtc", stop_price="140")
    desk.at(2026, 11, 25, 17, 0)
    late = desk.send("AAPL", "sell", "1", "limit", limit_price="160")
    assert late.status is ACCEPTED
    for order in (stop, late):
        desk.exchange.cancel(order.order_id)
    if habit == "immediate":
        assert (stop.status, late.status) == (CANCELED, CANCELED)
        return
    assert (stop.status, late.status) == (PENDING_CANCEL, PENDING_CANCEL)
    with pytest.raises(VenueError, match="insufficient qty available") as refusal:
        desk.exchange.close_position("AAPL")
    assert refusal.value.extras["held_for_orders"] == "4"
    desk.at(2026, 11, 27, 9, 30)  # Thanksgiving lies between
    assert (stop.status, late.status, late.canceled_ns) == (CANCELED, CANCELED, desk.t_ns)
    desk.exchange.close_position("AAPL")
    assert desk.position("AAPL") == "0"
