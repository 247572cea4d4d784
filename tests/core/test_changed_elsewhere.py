"""Our orders changed in the broker's app: they stay ours under their new names. And snapshots that are older than news."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hands.core.commands import CancelOrder
from hands.core.events import FillsReport, OrderReport, TruthReport, VenueOrder
from hands.core.units import NANO, Ns, nano
from hands.core.vocab import OrderClass, OrderStatus, OrderType, Side, TimeInForce
from tests.core.desk import Desk
from tests.core.test_protection import opened, partly
from tests.core.venue_model import Resting, S

COIN = "SOL/USD"


def resting(desk: Desk, filled: int = 0) -> Resting:
    """A working entry for coins, of which so much has filled."""
    desk.venue.portion = lambda order: 0
    desk.drop(1, COIN)
    desk.run(0.05)
    [entry] = [o for o in desk.working(COIN) if "-entry-" in o.client_order_id]
    if filled:
        desk.venue.fill(entry, filled, nano("150"))
        desk.run(0.03)
    return entry


def replaced(
    desk: Desk, old: Resting, *, carries: bool = True, tell_old: bool = True, **changes: Any
) -> Resting:
    """The owner replaces an order: the venue ends it and goes on with another, which names it."""
    venue = desk.venue
    fields: dict[str, Any] = {"qty": old.qty, "limit": old.limit, "stop": old.stop} | changes
    name = f"app-{len(venue.orders)}"
    old.status = S.REPLACED
    new = venue._make(
        name, old.symbol, old.side, old.order_type, OrderClass.SIMPLE, TimeInForce.GTC,
        fields["qty"], fields["limit"], fields["stop"], S.NEW,
    )  # fmt: skip
    if carries:
        new.filled, new.value = old.filled, old.value
    view = new.view

    def named(*, nested: bool = True) -> VenueOrder:
        return msgspec.structs.replace(view(nested=nested), replaces=old.order_id)

    new.view = named  # type: ignore[method-assign]
    if tell_old:
        venue.tell("replaced", old, None, None)
    venue.tell("new", new, None, None)
    return new


@pytest.mark.parametrize("tell_old", [True, False])
def test_a_changed_entry_stays_ours_and_what_it_fills_is_protected(tell_old: bool) -> None:
    desk = Desk()
    old = resting(desk)
    new = replaced(desk, old, tell_old=tell_old, limit=nano("149.99"))
    desk.run(0.1)
    assert desk.receipt()["state"] == "WORKING"
    assert "CHANGED_ELSEWHERE" in desk.alerts()
    assert desk.state.foreign == {}
    desk.venue.portion = lambda order: order.remaining
    desk.venue.fill(new, new.qty, nano("149.99"))
    desk.run(1)
    assert desk.receipt()["state"] == "OPEN"
    assert desk.venue.covered(COIN) >= desk.ticket().owned > 0
    assert desk.state.foreign == {}
    desk.crash()
    desk.restart()
    desk.run(2)
    assert desk.receipt()["state"] == "OPEN"
    assert desk.state.reasons == {}


@pytest.mark.parametrize(
    "changes", [{"limit": nano("160")}, {"qty": 10_000 * NANO}, {"limit": None}], ids=str
)
def test_a_changed_entry_that_asks_for_more_than_was_approved_is_cancelled(changes: dict[str, Any]) -> None:
    desk = Desk()
    new = replaced(desk, resting(desk), **changes)
    desk.run(1)
    assert not new.live
    assert desk.receipt()["state"] in ("EXPIRED", "CANCELED")
    assert desk.position(COIN) == "0"


def test_the_fills_of_the_old_order_count_once_and_go_along() -> None:
    desk = Desk()
    old = resting(desk, filled=10 * NANO)
    owned = desk.ticket().owned
    assert owned > 0
    new = replaced(desk, old, limit=nano("149.99"))
    desk.run(0.1)
    assert desk.ticket().owned == owned
    desk.run(20)
    assert not new.live  # the partial grace holds for it too
    assert desk.receipt()["state"] == "OPEN"
    assert desk.venue.covered(COIN) >= desk.ticket().owned == owned
    desk.feed(FillsReport(ts_ns=Ns(desk.now_ns), after_ns=Ns(0), fills=tuple(desk.venue.fills)))
    assert len(desk.receipt()["fills"]) == 1


def test_a_successor_without_the_fills_of_the_old_order_is_not_understood_and_freezes() -> None:
    desk = Desk()
    new = replaced(desk, resting(desk, filled=10 * NANO), carries=False)
    desk.run(0.2)
    assert "UNKNOWN_VENUE_BEHAVIOUR" in desk.state.reasons
    assert desk.ticket().entry is not None
    assert desk.ticket().entry.client_order_id != new.client_order_id  # type: ignore[union-attr]
    desk.run(5)
    assert desk.venue.covered(COIN) >= desk.ticket().owned > 0


@pytest.mark.parametrize("status", [OrderStatus.PENDING_NEW, OrderStatus.REJECTED, OrderStatus.CANCELED])
def test_a_change_that_is_not_in_force_takes_nothing_over(status: OrderStatus) -> None:
    desk = Desk()
    old = resting(desk)
    view = msgspec.structs.replace(
        old.view(), order_id="v-new", client_order_id="app-new", replaces=old.order_id, status=status,
        status_text=str(status),
    )  # fmt: skip
    desk.feed(OrderReport(ts_ns=Ns(desk.now_ns), event=str(status), order=view))
    assert desk.ticket().entry is not None
    assert desk.ticket().entry.client_order_id == old.client_order_id  # type: ignore[union-attr]
    desk.run(20)
    assert desk.receipt()["state"] == "EXPIRED"
    assert not old.live


def test_a_stop_that_the_owner_moved_goes_on_protecting_and_no_second_one_comes_to_rest() -> None:
    desk = opened(COIN)
    desk.run(3)
    [stop] = desk.working(COIN)
    placed = len(desk.exits())
    new = replaced(desk, stop, stop=nano("146"), limit=nano("144"))
    desk.run(10)
    assert [o.client_order_id for o in desk.working(COIN)] == [new.client_order_id]
    assert (
        len(desk.exits()) <= placed + 1
    )  # between the old one's end and the news of the new one: the venue refuses it
    assert desk.venue.covered(COIN) >= desk.ticket().owned
    assert desk.state.foreign == {}


# --- snapshots that are older than the news ------------------------------------------------------------------


def strangers_order(desk: Desk) -> None:
    made = desk.venue._make(
        "app-1",
        "AAPL",
        Side.BUY,
        OrderType.LIMIT,
        OrderClass.SIMPLE,
        TimeInForce.GTC,
        NANO,
        100 * NANO,
        None,
        S.NEW,
    )
    desk.feed(OrderReport(ts_ns=Ns(desk.now_ns), event="new", order=made.view()))


@pytest.mark.parametrize(("asked_after", "noted"), [(-1, True), (1, False)])
def test_a_snapshot_asked_for_before_a_strangers_order_was_told_of_does_not_forget_it(
    asked_after: int, noted: bool
) -> None:
    desk = Desk()
    desk.run(1)
    strangers_order(desk)
    assert "AAPL" in desk.state.foreign
    asked = Ns(desk.now_ns + asked_after)
    desk.now_ns += 10
    desk.feed(TruthReport(ts_ns=Ns(desk.now_ns), asked_ns=asked, orders=(), missing=(), positions=()))
    assert ("AAPL" in desk.state.foreign) is noted


def renamed(desk: Desk, head: Resting, *legs: Resting) -> None:
    """The venue goes on with a group under new ids, which name the old head's."""
    venue, old_id, view = desk.venue, head.order_id, head.view
    for order in (head, *legs):
        venue.by_client.pop(order.client_order_id, None)
        venue.orders.pop(order.order_id)
        order.order_id, order.client_order_id = f"n-{order.order_id}", f"app-{order.order_id}"
        venue.orders[order.order_id] = venue.by_client[order.client_order_id] = order

    def named(*, nested: bool = True) -> VenueOrder:
        return msgspec.structs.replace(view(nested=nested), replaces=old_id)

    head.view = named  # type: ignore[method-assign]


def test_a_changed_pair_is_taken_over_with_its_stop_and_what_is_owned_stays_covered() -> None:
    desk = partly(Desk(), "40")
    desk.run(2)
    [head] = [o for o in desk.working() if o.order_class is OrderClass.OCO and o.parent is None]
    placed, cancelled = len(desk.exits()), len(desk.sent(CancelOrder))
    renamed(desk, head, *head.legs)
    desk.venue.tell("new", head, None, None)
    for _ in range(50):
        desk.run(0.01)
        assert desk.ticket().naked_since_ns is None  # taken over without its stop, it would look bare
    desk.run(40)
    assert len(desk.exits()) == placed
    assert len(desk.sent(CancelOrder)) == cancelled
    assert desk.venue.covered("AAPL") == desk.ticket().owned == 40 * NANO
    live = {o.order_id for o in desk.ticket().exits if o.is_live}
    assert live == {o.order_id for o in desk.working()}
    assert "CHANGED_ELSEWHERE" in desk.alerts()
    assert desk.state.reasons == {}
    assert desk.state.foreign == {}


@pytest.mark.parametrize("new_legs", [True, False])
def test_the_legs_of_a_changed_bracket_are_read_anew_under_whatever_names(new_legs: bool) -> None:
    """None of the old ones may count as protection, and none of the new ones twice."""
    desk = Desk()
    venue = desk.venue
    venue.portion = lambda order: 0
    desk.drop(1)
    desk.run(0.05)
    [entry] = [o for o in desk.working() if "-entry-" in o.client_order_id]
    old_legs = [leg.order_id for leg in entry.legs]
    assert len([o for o in desk.ticket().exits if o.parent == entry.client_order_id]) == 2
    renamed(desk, entry, *(entry.legs if new_legs else ()))
    venue.tell("new", entry, None, None)
    desk.run(0.1)
    assert desk.receipt()["state"] == "WORKING"
    venue.portion = lambda order: order.remaining
    venue.fill(entry, entry.qty, nano("150"))
    desk.run(2)
    assert desk.receipt()["protection"] == {
        "kind": "venue_bracket", "stop": "148", "qty": "66", "since_ns": desk.receipt()["protection"]["since_ns"],
    }  # fmt: skip
    assert desk.exits() == []
    legs = [o for o in desk.ticket().exits if o.is_live]
    assert len(legs) == 2
    assert ({leg.order_id for leg in legs} == set(old_legs)) is not new_legs
    assert desk.worst_naked_ns == 0
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(2)
    assert desk.receipt()["exit"]["reason"] == "TP"
    assert desk.state.reasons == {}
