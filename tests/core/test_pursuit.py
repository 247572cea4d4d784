"""Pursuit: asking and cancelling back off, never stop, and never loop within one event."""

from __future__ import annotations

import itertools

import pytest

from hands.core.commands import AnyCommand, CancelOrder, QueryOrder, RequestTruth, SubmitEntry, SubmitExit
from hands.core.events import OperatorAction
from hands.core.protection import supervise
from hands.core.pursuit import ask_for_truth
from hands.core.units import NS_PER_MS, Price, nano
from hands.core.vocab import OrderStatus
from tests.core.desk import Desk
from tests.core.test_protection import drop_next, opened, partly


def times(desk: Desk, kind: type) -> list[int]:
    return [at_ns for at_ns, command in desk.commands if isinstance(command, kind)]


def gaps_ms(desk: Desk, kind: type) -> list[int]:
    found = times(desk, kind)
    return [(b - a) // NS_PER_MS for a, b in itertools.pairwise(found)]


def test_questions_about_an_unknown_order_back_off_and_go_on() -> None:
    desk = Desk()
    drop_next(desk, "drop_request")
    desk.drop()
    find, desk._find = desk._find, lambda asked: (503, "unavailable", {})  # type: ignore[method-assign]
    desk.run(60)
    gaps = gaps_ms(desk, QueryOrder)
    assert gaps[0] <= 200
    assert max(gaps) <= 5_000
    assert gaps == sorted(gaps)
    assert desk.receipt()["state"] == "UNKNOWN"
    desk._find = find  # type: ignore[method-assign]
    desk.run(12)
    assert desk.receipt()["state"] == "EXPIRED"
    assert len(desk.sent(SubmitEntry)) == 1


def test_a_cancel_that_is_ignored_is_repeated_every_second() -> None:
    desk = Desk()
    desk.venue.portion = lambda _order: 0
    desk.venue.cancel = lambda _order_id: None  # type: ignore[method-assign]
    desk.drop(ttl_seconds="2")
    desk.run(32)
    assert 25 <= len(desk.sent(CancelOrder)) <= 32
    assert min(gaps_ms(desk, CancelOrder)) >= 1_000
    assert desk.receipt()["state"] == "WORKING"


@pytest.mark.parametrize("at", [0.05, 0.15, 0.95])
def test_looking_again_while_a_cancel_is_under_way_sets_no_timer_in_the_past(at: float) -> None:
    desk = Desk()
    desk.venue.portion = lambda _order: 0
    desk.venue.cancel = lambda _order_id: None  # type: ignore[method-assign]
    desk.drop(ttl_seconds="2")
    desk.run(2 + at)
    desk.poll()  # the desk checks that no timer is due after any event
    desk.set_session(is_open=True)
    desk.run(3)


def test_a_leg_is_asked_for_through_its_parent() -> None:
    desk = opened()
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(1)
    assert {command.client_order_id for command in desk.sent(QueryOrder)} == {
        desk.ticket().entry.client_order_id
    }


def test_an_answer_that_says_over_ends_the_pursuit() -> None:
    desk = Desk()
    desk.venue.portion = lambda _order: 0
    tell = desk.venue.tell
    desk.venue.tell = lambda event, *rest: None if event == "canceled" else tell(event, *rest)
    desk.drop(ttl_seconds="2")
    desk.run(3)
    assert desk.receipt()["state"] == "EXPIRED"
    questions = len(desk.sent(QueryOrder))
    desk.run(30)
    assert len(desk.sent(QueryOrder)) == questions


def test_a_trade_that_is_looked_at_often_waits_on_no_more_timers() -> None:
    desk = opened(max_hold_seconds=86_400)
    before = len(desk.state._timers)
    for _ in range(200):
        supervise(desk.state, desk.ticket(), [])
    assert len(desk.state._timers) <= before + 1


def test_an_order_that_somebody_else_named_is_asked_for_and_never_sent_again() -> None:
    desk = opened("SOL/USD")
    ticket = desk.ticket()
    (stop,) = ticket.exits
    del ticket.orders[stop.client_order_id]
    stop.client_order_id, stop.status, stop.missing = "app-1", OrderStatus.UNKNOWN, 1
    ticket.orders[stop.client_order_id] = stop
    out: list[AnyCommand] = []
    supervise(desk.state, ticket, out)
    assert [command.client_order_id for command in out if isinstance(command, QueryOrder)] == ["app-1"]
    assert not any(isinstance(command, SubmitExit) for command in out)


def test_the_truth_is_not_asked_by_name_for_what_was_refused_or_gave_way() -> None:
    desk = partly(Desk(), "20")
    desk.venue.refuse = [(403, "forbidden.", {})] * 3
    desk.run(8)
    heads = [order for order in desk.ticket().exits if order.parent is None]
    assert [order.status for order in heads] == [OrderStatus.REJECTED] * 3 + [OrderStatus.NEW]
    for price in ("155.5", "156", "156.5"):
        desk.operator(OperatorAction.AMEND, target="AAPL", take_profit=Price(nano(price)))
        desk.run(4)
    heads = [order for order in desk.ticket().exits if order.parent is None]
    assert [order.status for order in heads[3:]] == [OrderStatus.REPLACED] * 3 + [OrderStatus.NEW]
    out: list[AnyCommand] = []
    ask_for_truth(desk.state, "a test", out, 0)
    [asked] = [command for command in out if isinstance(command, RequestTruth)]
    entry = desk.ticket().entry
    assert entry is not None
    assert asked.client_order_ids == (entry.client_order_id, heads[-1].client_order_id)
