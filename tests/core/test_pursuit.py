"""Pursuit: asking and cancelling back off, never stop, and never loop within one event."""

from __future__ import annotations

import itertools

import pytest

from hands.core.commands import CancelOrder, QueryOrder, SubmitEntry
from hands.core.units import NS_PER_MS
from tests.core.desk import Desk
from tests.core.test_protection import drop_next, opened


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
