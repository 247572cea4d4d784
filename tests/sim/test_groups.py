"""Brackets and OCOs: when legs wake, what their fills do to each other, what a cancel takes with it."""

from __future__ import annotations

import pytest

from hands.core.units import NANO, decimal_text
from hands.core.vocab import OrderStatus, Side
from hands.sim.venue.account import held_qty
from hands.sim.venue.errors import VenueError
from hands.sim.venue.orders import ReplaceRequest
from hands.sim.venue.quirks import Latency, Quirks

CANCELED, FILLED, HELD, NEW = OrderStatus.CANCELED, OrderStatus.FILLED, OrderStatus.HELD, OrderStatus.NEW


@pytest.fixture
def thin(make_desk):
    """A desk where four shares are displayed at a time."""
    desk = make_desk(fills="realistic", random_partials=False)
    desk.quote("AAPL", "149.98", "150", "4")
    return desk


def oco(desk, qty="10", target="155", stop="148"):
    return desk.send(
        "AAPL",
        "sell",
        qty,
        "limit",
        "gtc",
        order_class="oco",
        take_profit_limit_price=target,
        stop_loss_stop_price=stop,
    )


def test_complete_entry_releases_the_target_and_leaves_the_stop_held(desk):
    profit, stop = desk.legs(desk.bracket())
    assert (profit.status, stop.status) == (NEW, HELD)
    assert desk.events() == [("pending_new", "entry"), ("new", "entry"), ("fill", "entry"), ("new", "tp")]


def test_partial_entry_keeps_the_legs_held_and_asleep(thin):
    entry = thin.bracket()
    profit, stop = thin.legs(entry)
    assert (profit.status, stop.status) == (HELD, HELD)
    thin.quote("AAPL", "156", "160", "4")  # through the target
    thin.trade("AAPL", "156")
    assert (profit.status, stop.status) == (HELD, HELD)
    assert thin.position("AAPL") == "4"


def test_canceling_the_rest_of_a_partial_entry_cancels_its_legs(thin):
    entry = thin.bracket()
    thin.events()
    thin.exchange.cancel(entry.order_id)
    profit, stop = thin.legs(entry)
    assert (entry.status, profit.status, stop.status) == (CANCELED, CANCELED, CANCELED)
    assert thin.events() == [("canceled", "entry"), ("canceled", "tp"), ("canceled", "sl")]
    assert thin.position("AAPL") == "4"
    assert oco(thin, "4").status is NEW


def test_legs_of_a_partial_entry_can_be_kept_for_what_was_filled(make_desk):
    desk = make_desk(fills="realistic", random_partials=False, quirks=Quirks(partial_entry_legs="kept"))
    desk.quote("AAPL", "149.98", "150", "4")
    entry = desk.bracket()
    desk.exchange.cancel(entry.order_id)
    profit, stop = desk.legs(entry)
    assert (profit.status, stop.status) == (NEW, HELD)
    assert profit.qty == stop.qty == 4 * NANO


def test_target_cancels_the_stop_without_an_event(desk):
    entry = desk.bracket()
    desk.events()
    desk.quote("AAPL", "155", "155.02")
    profit, stop = desk.legs(entry)
    assert (profit.status, stop.status) == (FILLED, CANCELED)
    assert desk.events() == [("fill", "tp")]
    assert desk.position("AAPL") == "0"


def test_silent_cancel_can_be_made_audible(make_desk):
    desk = make_desk(quirks=Quirks(stop_cancel_event="sent"))
    desk.quote("AAPL", "149.98", "150")
    desk.bracket()
    desk.events()
    desk.quote("AAPL", "155", "155.02")
    assert desk.events() == [("fill", "tp"), ("canceled", "sl")]


def test_stop_fills_at_the_market_and_cancels_the_target_with_an_event(desk):
    entry = desk.bracket()
    desk.events()
    desk.quote("AAPL", "147.5", "147.6")
    desk.trade("AAPL", "147.55")
    profit, stop = desk.legs(entry)
    assert (profit.status, stop.status) == (CANCELED, FILLED)
    assert decimal_text(stop.filled_avg_price) == "147.5"
    assert desk.events() == [("new", "sl"), ("fill", "sl"), ("canceled", "tp")]


def test_market_already_through_the_stop_when_the_entry_completes(thin):
    entry = thin.bracket("6")
    thin.quote("AAPL", "147.5", "147.6", "4")
    _, stop = thin.legs(entry)
    assert entry.status is FILLED
    assert stop.filled_qty == 4 * NANO


def test_partial_target_reduces_the_stop(thin):
    entry = thin.bracket("8")
    thin.quote("AAPL", "149.98", "150", "4")
    thin.quote("AAPL", "155", "155.02", "3")
    profit, stop = thin.legs(entry)
    assert (profit.filled_qty, stop.qty) == (3 * NANO, 5 * NANO)
    thin.quote("AAPL", "147", "147.02", "50")
    thin.trade("AAPL", "147")
    assert (stop.filled_qty, profit.status) == (5 * NANO, CANCELED)
    assert thin.position("AAPL") == "0"


def test_partly_filled_stop_reduces_the_target_so_that_the_position_cannot_flip(thin):
    entry = thin.bracket("4")
    thin.quote("AAPL", "147", "147.02", "3")
    thin.trade("AAPL", "147")
    thin.quote("AAPL", "156", "156.02", "50")
    profit, stop = thin.legs(entry)
    # Both could trade at 156; the stop is a market order by now, so it comes first and the target has nothing left.
    assert (stop.filled_qty, profit.qty, profit.status) == (4 * NANO, NANO, CANCELED)
    assert thin.position("AAPL") == "0"


@pytest.mark.parametrize("which", [0, 1])
def test_canceling_one_leg_cancels_the_group(desk, which):
    legs = desk.legs(desk.bracket())
    desk.events()
    desk.exchange.cancel(legs[which].order_id)
    assert [leg.status for leg in legs] == [CANCELED, CANCELED]
    assert sorted(desk.events()) == [("canceled", "sl"), ("canceled", "tp")]


def test_leg_ids_are_the_venues(desk):
    entry = desk.bracket(client_order_id="mine")
    assert entry.client_order_id == "mine"
    assert len({leg.client_order_id for leg in desk.legs(entry)} | {"mine"}) == 3


def test_stop_leg_changes_its_id_when_it_is_replaced_and_stays_in_the_group(desk):
    entry = desk.bracket()
    _, stop = desk.legs(entry)
    new = desk.exchange.replace(stop.order_id, ReplaceRequest(stop_price=stop.stop_price + NANO))
    profit, current = desk.legs(entry)
    assert current.order_id == new.order_id != stop.order_id
    assert (current.status, stop.status) == (HELD, OrderStatus.REPLACED)
    desk.quote("AAPL", "148.9", "148.92")
    desk.trade("AAPL", "148.9")
    assert (current.status, profit.status) == (FILLED, CANCELED)


def test_stop_leg_cannot_be_replaced_through_the_market(desk):
    _, stop = desk.legs(desk.bracket())
    with pytest.raises(VenueError, match="stop price must be less than current price"):
        desk.exchange.replace(stop.order_id, ReplaceRequest(stop_price=stop.stop_price + 2 * NANO))


def test_oco_protects_a_position_and_reserves_it_once(desk):
    desk.send("AAPL", "buy", "10")
    target = oco(desk)
    with pytest.raises(VenueError) as refusal:
        desk.send("AAPL", "sell", "1", order_class="simple")
    # A group is exempt from the wash rule, so that the shares are what is missing.
    assert refusal.value.extras["held_for_orders"] == "10"
    assert refusal.value.extras["related_orders"][0] == target.order_id


def test_oco_is_refused_while_the_books_are_behind_the_fill(make_desk):
    desk = make_desk(latency=Latency.of_ms(settle=50))
    desk.quote("AAPL", "149.98", "150")
    desk.send("AAPL", "buy", "10")
    with pytest.raises(VenueError, match="oco orders must be exit orders"):
        oco(desk)
    desk.wait(50)
    assert oco(desk).status is NEW


def test_short_bracket_mirrors_the_long_one(desk):
    entry = desk.send(
        "AAPL",
        "sell",
        "10",
        "limit",
        "gtc",
        limit_price="149.9",
        order_class="bracket",
        take_profit_limit_price="145",
        stop_loss_stop_price="152",
    )
    assert desk.position("AAPL") == "-10"
    desk.quote("AAPL", "152", "152.02")
    desk.trade("AAPL", "152.01")
    assert desk.legs(entry)[1].status is FILLED
    assert desk.position("AAPL") == "0"


def oto(desk, **leg):
    return desk.send("AAPL", "buy", "10", "limit", limit_price="150", order_class="oto", **leg)


def test_the_stop_of_an_oto_is_released_with_the_entry(desk):
    entry = oto(desk, stop_loss_stop_price="148")
    stop = entry.group.stop_loss
    assert (entry.status, stop.status, entry.group.take_profit) == (FILLED, NEW, None)
    assert desk.events() == [("pending_new", "entry"), ("new", "entry"), ("fill", "entry"), ("new", "sl")]
    desk.quote("AAPL", "147.9", "148")
    desk.trade("AAPL", "147.9")
    assert (stop.status, desk.position("AAPL")) == (FILLED, "0")


def test_the_target_of_an_oto_is_released_with_the_entry(desk):
    target = oto(desk, take_profit_limit_price="155").group.take_profit
    assert target.status is NEW
    desk.quote("AAPL", "155", "155.1")
    assert (target.status, desk.position("AAPL")) == (FILLED, "0")


def quoted(make_desk, size="1000", **habits):
    desk = make_desk(fills="realistic", random_partials=False, quirks=Quirks(**habits))
    desk.quote("AAPL", "149.98", "150", size)
    return desk


@pytest.mark.parametrize(("habit", "status", "events"), [("held", HELD, []), ("new", NEW, [("new", "sl")])])
def test_the_released_stop_is_held_or_new(make_desk, habit, status, events):
    desk = quoted(make_desk, stop_leg_status=habit)
    _, stop = desk.legs(desk.bracket())
    assert stop.status is status
    assert desk.events()[3:] == [("new", "tp"), *events]
    desk.quote("AAPL", "147", "147.02")
    desk.trade("AAPL", "147")
    elected = [("new", "sl")] if habit == "held" else []
    assert desk.events() == [*elected, ("fill", "sl"), ("canceled", "tp")]


@pytest.mark.parametrize(("habit", "events"), [("none", []), ("sent", [("held", "tp"), ("held", "sl")])])
def test_legs_may_tell_that_they_are_held(make_desk, habit, events):
    desk = quoted(make_desk, held_event=habit)
    desk.bracket()
    assert desk.events()[:-3] == [("pending_new", "entry"), *events]


@pytest.mark.parametrize("habit", ["canceled", "replaced"])
def test_what_a_filled_stop_makes_of_the_target(make_desk, habit):
    desk = quoted(make_desk, target_after_stop=habit)
    profit, _ = desk.legs(desk.bracket())
    desk.quote("AAPL", "147", "147.02")
    desk.trade("AAPL", "147")
    assert (profit.status.value, profit.replaced_by) == (habit, None)
    assert desk.events()[-1] == (habit, "tp")


@pytest.mark.parametrize(
    ("habit", "events"),
    [
        ("same_id", [("restated", "sl")]),
        ("new_id", [("replaced", "sl")]),  # and no `new`: it is held
        ("silent", []),
    ],
)
def test_how_a_stop_is_cut_to_what_the_target_left(make_desk, habit, events):
    desk = quoted(make_desk, "10", reduced_stop=habit)
    entry = desk.bracket()
    _, before = desk.legs(entry)
    desk.events()
    desk.quote("AAPL", "155", "155.02", "3")
    profit, stop = desk.legs(entry)
    assert desk.events() == [("partial_fill", "tp"), *events]
    assert (stop.qty, stop.status, desk.naked("AAPL").get("naked_since_ns")) == (7 * NANO, HELD, None)
    assert (stop is before) == (habit != "new_id")
    if habit == "new_id":
        assert (before.status, before.replaced_by) == (OrderStatus.REPLACED, stop.order_id)
    desk.quote("AAPL", "147", "147.02", "50")
    desk.trade("AAPL", "147")
    assert (stop.status, profit.status, desk.position("AAPL")) == (FILLED, CANCELED, "0")


@pytest.mark.parametrize("target", ["155", "149.99"])
def test_legs_never_fill_more_than_the_entry_together(thin, target):
    """Both legs are marketable in turn, four shares at a time."""
    entry = thin.bracket("10", limit="149.98", target=target)
    for bid in ("149.9", "149.9", "149.9", "155", "147", "155", "147", "155"):
        thin.quote("AAPL", bid, f"{float(bid) + 0.02:.2f}", "4")
        thin.trade("AAPL", bid)
    sold = sum(order.filled_qty for order in thin.exchange.blotter if order.side.value == "sell")
    assert (entry.filled_qty, sold, thin.position("AAPL")) == (10 * NANO, 10 * NANO, "0")


def test_a_day_bracket_leaves_nothing_after_the_close(make_desk):
    for habit, left in (("canceled", CANCELED), ("kept", OrderStatus.EXPIRED)):
        desk = make_desk(
            session="calendar",
            fills="realistic",
            random_partials=False,
            quirks=Quirks(partial_entry_legs=habit),
        )
        desk.at(2026, 11, 18, 10, 0)
        desk.quote("AAPL", "149.98", "150", "4")
        entry = desk.send(
            "AAPL",
            "buy",
            "10",
            "limit",
            limit_price="150",
            order_class="bracket",
            take_profit_limit_price="155",
            stop_loss_stop_price="148",
        )
        desk.at(2026, 11, 18, 16, 0)
        assert entry.status is OrderStatus.EXPIRED
        assert {leg.status for leg in desk.legs(entry)} == {OrderStatus.EXPIRED}, left


@pytest.mark.parametrize("replace_ms", [0, 50])
def test_the_entry_of_a_bracket_may_be_repriced_while_it_works(make_desk, replace_ms):
    """It opens, so it asks for money and not for shares, and its legs stay those of the group."""
    desk = make_desk(
        fills="realistic", random_partials=False, latency=Latency.of_ms(replace=replace_ms), multiplier=1
    )
    desk.quote("AAPL", "149.98", "150", "4")
    entry = desk.bracket()
    assert desk.position("AAPL") == "4"
    desk.quote("AAPL", "149.98", "151", "4")
    new = desk.replace(entry, limit_price="151")
    desk.pass_ms(replace_ms)
    desk.quote("AAPL", "149.98", "151", "6")
    profit, stop = desk.legs(new)
    assert (entry.status, new.status, profit.status, stop.status) == (OrderStatus.REPLACED, FILLED, NEW, HELD)
    assert desk.position("AAPL") == "10"


def test_a_dearer_entry_of_a_bracket_asks_for_money(make_desk):
    desk = make_desk(cash="1510", multiplier=1)
    desk.quote("AAPL", "152.98", "153")
    entry = desk.bracket()
    with pytest.raises(VenueError, match="insufficient buying power"):
        desk.replace(entry, limit_price="152")
    assert desk.replace(entry, limit_price="150.5").status is NEW


# --- legs that are released for less, or replaced in the middle of it


def test_legs_are_not_for_what_was_sold_while_the_entry_was_filling(thin):
    """Four of eight fill and are sold at once; when the rest fills there are only four to protect."""
    entry = thin.bracket("8")
    thin.exchange.close_position("AAPL")
    thin.quote("AAPL", "149.98", "150", "4")
    profit, stop = thin.legs(entry)
    assert (entry.filled_qty, thin.position("AAPL")) == (8 * NANO, "4")
    assert (profit.qty, stop.qty, stop.status) == (4 * NANO, 4 * NANO, HELD)
    assert thin.naked("AAPL")["naked_since_ns"] is None
    thin.quote("AAPL", "147", "147.02", "50")
    thin.trade("AAPL", "147")
    assert (stop.status, profit.status, thin.position("AAPL")) == (FILLED, CANCELED, "0")


def test_legs_for_nothing_are_canceled(make_desk):
    desk = quoted(make_desk, "4", partial_entry_legs="kept")
    entry = desk.bracket("8")
    desk.send("AAPL", "sell", "4", "limit", limit_price="160")
    desk.events()
    desk.exchange.cancel(entry.order_id)
    assert [leg.status for leg in desk.legs(entry)] == [CANCELED, CANCELED]
    assert desk.events() == [("canceled", "entry"), ("canceled", "tp"), ("canceled", "sl")]


@pytest.mark.parametrize("named", [{}, {"qty": "8"}])
def test_a_replacement_of_a_leg_that_was_cut_meanwhile_is_for_the_rest(make_desk, named):
    """Naming the quantity that the leg had is no change; three of the eight are sold before it takes over."""
    desk = make_desk(fills="realistic", random_partials=False, latency=Latency.of_ms(replace=50))
    desk.quote("AAPL", "149.98", "150", "50")
    entry = desk.bracket("8")
    new = desk.replace(desk.legs(entry)[1], stop_price="148.5", **named)
    desk.quote("AAPL", "155", "155.02", "3")
    assert held_qty(desk.exchange.blotter.live_of("AAPL"), Side.SELL) == 5 * NANO
    desk.pass_ms(50)
    assert (desk.legs(entry)[1], new.qty) == (new, 5 * NANO)
    desk.quote("AAPL", "147", "147.02", "50")
    desk.trade("AAPL", "147")
    assert (new.status, desk.position("AAPL")) == (FILLED, "0")


def test_the_stop_that_replaces_one_at_the_release_is_the_one_that_is_released(make_desk):
    """The target fills in part as it is released: what becomes `new` is the stop as it is afterwards."""
    desk = quoted(make_desk, "4", reduced_stop="new_id", stop_leg_status="new")
    entry = desk.bracket("8", limit="160", target="161")
    desk.quote(
        "AAPL", "162", "159.9", "4"
    )  # crossed for a moment: the entry completes and the target is marketable
    profit, stop = desk.legs(entry)
    assert (entry.status, profit.filled_qty) == (FILLED, 4 * NANO)
    assert (stop.status, stop.qty, stop.replaces is not None) == (NEW, 4 * NANO, True)


@pytest.mark.parametrize(("habit", "events"), [("none", []), ("sent", [("held", "sl")])])
def test_a_replaced_leg_may_tell_that_it_is_held(make_desk, habit, events):
    desk = quoted(make_desk, held_event=habit)
    _, stop = desk.legs(desk.bracket())
    desk.events()
    desk.replace(stop, stop_price="147")
    assert desk.events() == [("replaced", "sl"), *events]
