"""What is ours and what is not: owners who trade beside us, orphans, snapshots that are ahead of their reports."""

from __future__ import annotations

import pytest

from hands.core.commands import CancelOrder, RequestTruth, SubmitEntry
from hands.core.events import (
    Execution,
    Link,
    OperatorAction,
    OperatorRequest,
    PositionSnapshot,
    TruthReport,
)
from hands.core.orders import client_order_id
from hands.core.units import NANO, Ns, Price, Qty
from hands.core.vocab import Code, Leg, OrderClass, OrderType, Side, TimeInForce
from tests.core.desk import REDUCE_ONLY, Desk
from tests.core.test_protection import opened
from tests.core.venue_model import Resting, S
from tests.core.world import intent_id


def owner_sells(desk: Desk, qty: int, symbol: str = "AAPL") -> None:
    """Somebody sells in the broker's own app; the stream tells of a stranger's order."""
    venue = desk.venue
    side = Side.SELL if venue.positions[symbol] > 0 else Side.BUY
    venue.positions[symbol] -= qty if side is Side.SELL else -qty
    made = venue._make(
        f"app-{len(venue.orders)}", symbol, side, OrderType.MARKET, OrderClass.SIMPLE, TimeInForce.DAY, qty, None,
        None, S.FILLED,
    )  # fmt: skip
    made.filled = qty
    execution = Execution(
        execution_id=made.order_id, qty=Qty(qty), price=Price(150 * NANO), at_ns=Ns(desk.now_ns)
    )
    venue.tell("fill", made, execution, venue.positions[symbol])


def test_when_the_owner_sells_some_of_ours_the_exits_shrink_to_the_rest() -> None:
    desk = opened()
    desk.run(5)
    owner_sells(desk, 20 * NANO)
    desk.run(3)
    assert desk.receipt()["position"]["qty"] == "46"
    assert desk.venue.covered("AAPL") == 46 * NANO
    assert "SOLD_ELSEWHERE" in desk.alerts()
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(1)
    assert desk.position() == "0"
    assert desk.receipt()["exit"]["reason"] == "TP"


@pytest.mark.parametrize("direction", ["LONG", "SHORT"])
def test_when_the_owner_closes_all_of_ours_the_legs_are_cancelled(direction: str) -> None:
    desk = opened(desk=Desk(allow_short="true"), direction=direction)
    desk.run(5)
    left = ["drop_request"]
    desk.faults = lambda kind: (
        left.pop() if kind == "cancel" and left else None
    )  # and the first cancel is lost
    owner_sells(desk, 66 * NANO)
    desk.run(5)
    assert desk.working() == []
    assert desk.receipt()["exit"]["reason"] == "MANUAL"
    assert desk.position() == "0"
    assert desk.state.committed() == []


def test_a_sale_right_after_our_fill_is_noticed_when_things_have_settled() -> None:
    desk = opened()
    owner_sells(desk, 66 * NANO)
    desk.run(1)
    assert desk.receipt()["state"] == "OPEN"
    desk.run(5)
    assert desk.receipt()["exit"]["reason"] == "MANUAL"


def test_a_snapshot_ahead_of_our_stops_report_writes_nothing_off() -> None:
    desk = opened()
    desk.run(5)
    late = []
    desk.venue.tell = lambda *told: late.append(told)
    desk.quote("AAPL", "147.9", "147.92")
    assert desk.position() == "0"
    empty = TruthReport(ts_ns=Ns(desk.now_ns), asked_ns=Ns(desk.now_ns), orders=(), missing=(), positions=())
    desk.feed(empty)  # a regular snapshot: open orders and positions only
    assert "SOLD_ELSEWHERE" not in desk.alerts()
    desk.run(5)
    assert desk.receipt()["exit"]["reason"] == "SL"
    assert desk.venue.flips == []


def test_a_snapshot_torn_between_orders_and_positions_leads_to_no_buy_back() -> None:
    desk = opened()
    desk.run(5)
    torn = desk.venue.truth(desk.now_ns, ())
    late = []
    tell, desk.venue.tell = desk.venue.tell, lambda *told: late.append(told)
    desk.quote("AAPL", "147.9", "147.92")
    gone = TruthReport(
        ts_ns=Ns(desk.now_ns), asked_ns=torn.asked_ns, orders=torn.orders, missing=(), positions=()
    )
    desk.feed(gone)
    desk.venue.tell = tell
    for event, order, execution, position in late:
        tell(event, order, execution, position)
    desk.run(5)
    assert desk.receipt()["state"] == "CLOSED"
    assert desk.receipt()["exit"]["reason"] == "SL"
    assert desk.position() == "0"
    assert desk.exits() == []


def test_a_holding_that_is_not_ours_makes_the_symbol_busy_and_is_left_alone() -> None:
    desk = Desk()
    desk.venue.positions["AAPL"] = 5 * NANO
    desk.link(Link.TRADE_UPDATES, up=True)
    desk.run(1)
    desk.drop()
    assert desk.receipt()["code"] == Code.SYMBOL_BUSY
    assert desk.exits() == []
    assert "FOREIGN" in desk.alerts()


def test_an_order_that_is_not_ours_makes_the_symbol_busy_until_it_is_gone() -> None:
    desk = Desk()
    venue = desk.venue
    made = venue._make(
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
    venue.tell("new", made, None, None)
    desk.run(1)
    desk.drop(1)
    assert desk.receipt()["code"] == Code.SYMBOL_BUSY
    venue.end(made, S.CANCELED)
    desk.run(11)  # a stranger's orders are worth a question every ten seconds
    desk.quote("AAPL", "149.98", "150.00")
    desk.drop(2)
    assert desk.receipt(2)["code"] == Code.OK


def test_dust_that_a_trade_left_behind_does_not_block_its_symbol() -> None:
    desk = Desk()
    desk.venue.positions["SOL/USD"] = NANO // 100
    desk.link(Link.TRADE_UPDATES, up=True)
    desk.run(1)
    desk.drop(1, "SOL/USD")
    assert desk.receipt()["code"] == Code.OK


def test_a_snapshot_older_than_our_exit_does_not_make_our_position_a_strangers() -> None:
    desk = opened()
    before = desk.venue.truth(desk.now_ns, ())
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(0.5)
    assert desk.receipt()["state"] == "CLOSED"
    stale = TruthReport(
        ts_ns=Ns(desk.now_ns), asked_ns=before.asked_ns, orders=(), missing=(), positions=before.positions
    )
    desk.feed(stale)
    assert desk.state.foreign == {}
    desk.run(5)
    assert desk.state.foreign == {}


def orphan(desk: Desk, number: int = 77) -> Resting:
    """An entry under our prefix that the journal does not know."""
    return desk.venue._make(
        client_order_id(intent_id(number), Leg.ENTRY, 1), "AAPL", Side.BUY, OrderType.LIMIT, OrderClass.SIMPLE,
        TimeInForce.GTC, NANO, 100 * NANO, None, S.NEW,
    )  # fmt: skip


@pytest.mark.parametrize("told", ["stream", "snapshot"])
def test_an_orphan_entry_of_ours_is_cancelled(told: str) -> None:
    desk = Desk()
    order = orphan(desk)
    if told == "stream":
        desk.venue.tell("new", order, None, None)
    else:
        desk.link(Link.TRADE_UPDATES, up=True)
    desk.run(2)
    assert not order.live
    assert desk.state.trading_state != REDUCE_ONLY
    assert all(command.order_id == order.order_id for command in desk.sent(CancelOrder))


def test_an_orphan_that_filled_is_an_unexplained_position() -> None:
    desk = Desk()
    order = orphan(desk)
    order.filled, order.status = NANO // 2, S.PARTIALLY_FILLED
    desk.link(Link.TRADE_UPDATES, up=True)
    desk.run(1)
    assert desk.state.reasons["UNEXPLAINED_POSITION"].clears == "operator"
    desk.drop()
    assert desk.sent(SubmitEntry) == []


def test_more_than_ours_is_somebody_elses_and_never_sold() -> None:
    desk = opened(max_hold_seconds="20")
    desk.run(5)
    desk.venue.positions["AAPL"] += 10 * NANO
    desk.link(Link.TRADE_UPDATES, up=True)
    desk.run(1)
    assert "AAPL" in desk.state.foreign
    desk.run(30)
    assert desk.position() == "10"
    assert sum(order.qty for order in desk.exits()) == 66 * NANO


def test_while_a_flip_is_bought_back_the_snapshot_writes_nothing_off() -> None:
    desk = opened()
    desk.run(5)
    desk.venue.refuse = [(403, "account is restricted", {})] * 5
    for leg in desk.working():
        leg.order_class, leg.status = OrderClass.SIMPLE, S.NEW
        desk.venue.fill(leg, leg.qty, 150 * NANO)
    desk.run(0.1)
    position = PositionSnapshot(
        symbol="AAPL", qty=Qty(-70 * NANO), qty_available=Qty(0), avg_price=Price(NANO)
    )
    desk.ticket().last_fill_ns = Ns(0)  # as if it were long ago
    now = Ns(desk.now_ns)
    desk.feed(TruthReport(ts_ns=now, asked_ns=now, orders=(), missing=(), positions=(position,)))
    assert desk.ticket().owned == -66 * NANO
    assert "SOLD_ELSEWHERE" not in desk.alerts()


def test_the_truth_is_asked_for_at_most_once_a_second() -> None:
    desk = Desk()
    for _ in range(50):
        desk.link(Link.TRADE_UPDATES, up=True)
        desk.run(0.1)
    assert len(desk.sent(RequestTruth)) <= 7


def test_an_exit_that_was_sent_while_the_journal_failed_is_found_by_its_name_and_no_sale_of_the_owner() -> (
    None
):
    desk = opened()
    desk.run(5)
    written = dict(desk.journal)
    desk.quote("AAPL", "151.00", "151.02")
    desk.feed(OperatorRequest(ts_ns=Ns(desk.now_ns), action=OperatorAction.CLOSE, target="AAPL"))
    desk.run(2)
    assert desk.position() == "0"
    desk.journal = desk.durable = written  # nothing since could be written, and the process dies
    desk.crash()
    desk.restart()
    desk.run(10)
    receipt = desk.receipt()
    assert receipt["state"] == "CLOSED"
    assert receipt["exit"]["price"] == "151.00"
    assert [fill["leg"] for fill in receipt["fills"]] == ["entry", "exit"]
    assert "SOLD_ELSEWHERE" not in desk.alerts()
    assert desk.state.committed() == []


def test_an_exit_that_turns_up_in_a_snapshot_after_its_trade_was_over_is_cancelled() -> None:
    """It was taken for refused, and no report told of it; left alone it would sell what is nobody's of ours."""
    desk = Desk()
    desk.venue.refuse = [(403, "forbidden.", {})]
    opened("SOL/USD", desk)
    [gone] = [order for order in desk.ticket().exits if order.status is S.REJECTED]
    desk.operator(OperatorAction.CLOSE, target="SOL/USD")
    desk.run(5)
    assert desk.receipt()["state"] == "CLOSED"
    booked = desk.state.day.realised_of(None)
    late = desk.venue._make(
        gone.client_order_id, gone.symbol, gone.side, gone.order_type, gone.order_class, gone.time_in_force, gone.qty,
        gone.limit_price, gone.stop_price, S.NEW,
    )  # fmt: skip
    desk.link(Link.TRADE_UPDATES, up=True)
    desk.run(5)
    assert not late.live
    assert desk.receipt()["state"] == "CLOSED"
    assert desk.state.day.realised_of(None) == booked
