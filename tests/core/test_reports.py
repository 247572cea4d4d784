"""Reports, answers and silence: whatever order they come in, the same is known afterwards."""

from __future__ import annotations

from itertools import permutations

import pytest

from hands.core.commands import Alert
from hands.core.events import Execution, OrderReport, VenueOrder
from hands.core.orders import client_order_id
from hands.core.units import NANO, Ns, Price, Qty
from hands.core.vocab import Code, Leg, OrderClass, OrderStatus, OrderType, Side
from tests.core.desk import ACTIVE, REDUCE_ONLY, Desk
from tests.core.test_protection import opened
from tests.core.world import intent_id

ENTRY = client_order_id(intent_id(1), Leg.ENTRY, 1)


def told(
    desk: Desk,
    status: str,
    filled: int,
    *,
    step: int = 0,
    price: int = 150,
    avg: int | None = None,
    event: str = "",
) -> OrderReport:
    """A report about the entry for 66: `filled` cumulative, `step` shares in this execution."""
    known = OrderStatus(status) if status in set(OrderStatus) else None
    order = VenueOrder(
        order_id="v-1",
        client_order_id=ENTRY,
        symbol="AAPL",
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        order_class=OrderClass.BRACKET,
        status=known,
        status_text=status,
        qty=Qty(66 * NANO),
        filled_qty=Qty(filled * NANO),
        avg_price=None if avg is None else Price(avg * NANO),
    )
    execution = (
        Execution(execution_id=f"x-{filled}", qty=Qty(step * NANO), price=Price(price * NANO), at_ns=Ns(1))
        if step
        else None
    )
    return OrderReport(ts_ns=Ns(desk.now_ns), event=event or status, order=order, execution=execution)


@pytest.fixture
def desk() -> Desk:
    """An entry on its way, and nothing that answers."""
    desk = Desk()
    desk._carry_out = lambda _command: None  # type: ignore[method-assign]
    desk.drop()
    return desk


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_reports_in_any_order_lead_to_the_same_trade(desk: Desk, order: tuple[int, ...]) -> None:
    reports = [
        told(desk, "new", 0),
        told(desk, "partially_filled", 20, step=20, price=149, avg=149),
        told(desk, "partially_filled", 50, step=30, price=150, avg=149),
        told(desk, "filled", 66, step=16, price=151, avg=150),
    ]
    for i in order:
        desk.feed(reports[i])
    entry = desk.ticket().entry
    assert entry is not None
    assert (entry.status, entry.filled_qty) == (OrderStatus.FILLED, 66 * NANO)
    assert entry.value == (20 * 149 + 30 * 150 + 16 * 151) * NANO
    assert len(desk.receipt()["fills"]) == 3
    assert desk.state.trading_state is ACTIVE


def test_a_late_average_does_not_reprice_later_fills(desk: Desk) -> None:
    desk.feed(told(desk, "filled", 66, avg=150))  # told by a query: no executions
    desk.feed(told(desk, "partially_filled", 20, step=20, price=149, avg=149))
    entry = desk.ticket().entry
    assert entry is not None
    assert entry.avg_price == 150 * NANO
    assert entry.value == 66 * 150 * NANO


@pytest.mark.parametrize(
    ("first", "then", "why"),
    [("new", "weird", "unknown status 'weird'"), ("filled", "rejected", "is reported rejected")],
)
def test_what_no_known_behaviour_explains_freezes_and_latches_reduce_only(
    desk: Desk, first: str, then: str, why: str
) -> None:
    filled = 66 if first == "filled" else 0
    desk.feed(told(desk, first, filled))
    desk.feed(told(desk, then, filled))
    assert desk.receipt()["state"] == "FROZEN"
    assert why in desk.ticket().frozen
    assert desk.state.trading_state is REDUCE_ONLY
    assert desk.state.reasons["UNKNOWN_VENUE_BEHAVIOUR"].clears == "operator"
    assert [alert.level for alert in desk.sent(Alert) if alert.code == "UNKNOWN_VENUE_BEHAVIOUR"] == [
        "critical"
    ]


def test_an_unknown_word_about_an_order_on_its_way_makes_it_unknown_and_it_is_cancelled_by_id(
    desk: Desk,
) -> None:
    desk.feed(told(desk, "weird", 0))
    entry = desk.ticket().entry
    assert entry is not None
    assert (entry.status, entry.order_id) == (OrderStatus.UNKNOWN, "v-1")
    from hands.core.commands import CancelOrder

    desk.run(1)
    assert {command.order_id for command in desk.sent(CancelOrder)} == {"v-1"}


def test_more_filled_than_ordered_is_not_believed(desk: Desk) -> None:
    desk.feed(told(desk, "filled", 67))
    assert desk.ticket().owned == 0
    assert desk.receipt()["state"] == "FROZEN"


def test_the_operators_resume_takes_the_freeze_away() -> None:
    from hands.core.events import OperatorAction

    desk = opened()
    ticket = desk.ticket()
    from hands.core.reports import freeze

    freeze(desk.state, ticket, "test", [])
    desk.run(2)
    desk.operator(OperatorAction.RESUME)
    desk.run(2)
    assert desk.receipt()["state"] == "OPEN"
    assert desk.state.trading_state is ACTIVE


def test_late_news_of_a_finished_trade_is_booked_once() -> None:
    desk = opened()
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(1)
    day = desk.state.day.realised_of(None)
    assert day == desk.ticket().realised_usd()
    for event in list(desk.log):
        if isinstance(event, OrderReport):
            desk.feed(event)
    assert desk.state.day.realised_of(None) == day
    assert desk.receipt()["state"] == "CLOSED"


def test_a_trade_that_comes_back_to_life_is_not_booked_twice() -> None:
    desk = opened()
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(1)
    first = desk.state.day.realised_of(None)
    stop = next(o for o in desk.venue.orders.values() if o.stop is not None)
    stop.order_class, stop.status = OrderClass.SIMPLE, OrderStatus.NEW
    desk.venue.fill(stop, stop.qty, 155 * NANO)  # after all
    desk.run(3)
    ticket = desk.ticket()
    assert desk.receipt()["state"] == "CLOSED"
    assert desk.position() == "0"
    assert desk.state.day.realised_of(None) == ticket.realised_usd()
    assert desk.state.performance.realised == ticket.realised_usd()
    assert desk.state.day.realised_of(None) != 2 * first
    assert desk.state.day.trades_of(None) == 1


def test_an_entry_the_venue_rejects_on_the_stream_is_over(desk: Desk) -> None:
    desk.feed(told(desk, "rejected", 0))
    assert desk.receipt()["state"] == "VENUE_REJECTED"
    assert desk.state.committed() == []
    assert desk.receipt()["code"] == Code.OK
