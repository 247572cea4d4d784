"""The session's edges: no entries near them, positions ended before them, nothing of an entry left behind them."""

from __future__ import annotations

import pytest

from hands.core.commands import CancelOrder, SubmitEntry
from hands.core.limits import read_limits
from hands.core.units import NS_PER_S
from hands.core.vocab import OrderStatus
from tests.core.desk import Desk
from tests.core.test_protection import COIN, opened
from tests.core.world import NOW, limits_text, session, world

HALF_DAY = {"next_close_ns": NOW + 3 * 3600 * NS_PER_S}
"""A session that ends at 13:00 New York: the venue's own clock says so."""


def desk_with(*, facts: dict[str, int] | None = None, **keys: int) -> Desk:
    """Return a desk whose `[session]` keys are changed, in a session of Monday's."""
    rules = read_limits(limits_text(**keys))
    return Desk(world(rules=rules, session=session(**(facts or {}))))


def until_close(desk: Desk, seconds: float) -> None:
    """Let time pass until so many seconds before the close, with the account polled and a fresh quote."""
    assert desk.state.session is not None
    desk.run((desk.state.session.next_close_ns - desk.now_ns) / NS_PER_S - seconds)
    desk.quote("AAPL", "149.98", "150.00")
    desk.poll()


@pytest.mark.parametrize(
    ("opened_s", "code"), [(0, "SESSION_CLOSED"), (299, "SESSION_CLOSED"), (300, "OK"), (301, "OK")]
)
def test_no_entry_in_the_first_seconds(opened_s: int, code: str) -> None:
    desk = desk_with(no_entry_first_s=300, facts={"open_ns": NOW - opened_s * NS_PER_S})
    desk.drop()
    assert desk.ticket().code == code
    if code != "OK":
        assert desk.ticket().retry_at_ns == NOW + (300 - opened_s) * NS_PER_S


@pytest.mark.parametrize("day", [{}, HALF_DAY], ids=["a whole day", "a half day"])
@pytest.mark.parametrize(("left_s", "code"), [(61, "OK"), (60, "SESSION_CLOSED"), (1, "SESSION_CLOSED")])
def test_no_entry_in_the_last_seconds(day: dict[str, int], left_s: int, code: str) -> None:
    desk = desk_with(no_entry_last_s=60, facts=day)
    until_close(desk, left_s)
    desk.drop()
    assert desk.ticket().code == code


def test_no_entry_where_it_would_be_flattened_at_once() -> None:
    desk = desk_with(no_entry_last_s=0, flatten_before_close_s=300)
    until_close(desk, 299)
    desk.drop()
    assert desk.ticket().code == "SESSION_CLOSED"
    assert desk.sent(SubmitEntry) == []


@pytest.mark.parametrize("day", [{}, HALF_DAY], ids=["a whole day", "a half day"])
def test_positions_in_shares_end_before_the_close_and_coins_do_not(day: dict[str, int]) -> None:
    desk = opened(desk=desk_with(flatten_before_close_s=300, facts=day))
    desk.drop(2, COIN)
    desk.run(1)
    until_close(desk, 301)
    assert desk.receipt()["state"] == "OPEN"
    desk.run(3)
    assert desk.receipt()["exit"]["reason"] == "TIME"
    assert desk.position() == "0"
    assert desk.receipt(2)["state"] == "OPEN"


def test_an_earlier_close_that_is_told_of_late_is_met() -> None:
    desk = opened(desk=desk_with(flatten_before_close_s=300))
    desk.run(60)
    desk.set_session(is_open=True, next_close_ns=desk.now_ns + 310 * NS_PER_S)
    desk.run(5)
    assert desk.receipt()["state"] == "OPEN"
    desk.run(7)
    assert desk.receipt()["exit"]["reason"] == "TIME"


def test_what_could_not_be_flattened_in_time_keeps_its_stop_and_goes_at_the_open() -> None:
    desk = opened(desk=desk_with(flatten_before_close_s=5))
    left = [1] * 1000
    desk.faults = lambda kind: "not_sent" if kind == "cancel" and left else None
    until_close(desk, 4)
    desk.run(5)
    reopening = desk.now_ns + 3600 * NS_PER_S
    desk.set_session(is_open=False, next_open_ns=reopening, next_close_ns=reopening + 3600 * NS_PER_S)
    left.clear()
    desk.run(30)
    assert desk.position() == "66"
    assert not desk.venue.is_naked("AAPL")
    assert "the exit waits for" in desk.receipt()["next"]
    desk.run(3600)
    desk.set_session(is_open=True, next_close_ns=desk.now_ns + 3600 * NS_PER_S)
    desk.run(3)
    assert desk.receipt()["exit"]["reason"] == "TIME"


def test_a_session_that_ends_takes_the_entrys_rest_with_it() -> None:
    """A GTC entry that still works at the close would fill at the next open, at another day's price."""
    desk = desk_with(no_entry_last_s=0)
    until_close(desk, 10)
    desk.venue.quotes["AAPL"] = 151 * 10**9, 152 * 10**9  # nothing will fill
    desk.drop(ttl_seconds="15")
    desk.run(7.5)
    assert desk.sent(CancelOrder) == []
    desk.run(1)
    (entry,) = (o for o in desk.venue.orders.values() if "-entry-" in o.client_order_id)
    assert entry.status is OrderStatus.CANCELED
    assert desk.now_ns < desk.state.session.next_close_ns


def test_a_session_that_ends_without_notice_ends_the_entry_at_once() -> None:
    desk = desk_with()
    desk.venue.quotes["AAPL"] = 151 * 10**9, 152 * 10**9
    desk.drop(ttl_seconds="15")
    desk.run(1)
    desk.set_session(is_open=False)
    desk.run(1)
    assert len(desk.sent(CancelOrder)) == 1


@pytest.mark.parametrize("qty", ["20", "66"])
def test_a_session_that_ends_while_orders_rest_keeps_what_was_bought_protected(qty: str) -> None:
    desk = desk_with(no_entry_last_s=0)
    until_close(desk, 3)
    desk.venue.portion = lambda order: (
        int(qty) * 10**9 if "-entry-" in order.client_order_id and not order.filled else 0
    )
    desk.drop()
    desk.run(4)
    reopening = desk.now_ns + 3600 * NS_PER_S
    desk.set_session(is_open=False, next_open_ns=reopening, next_close_ns=reopening + 3600 * NS_PER_S)
    desk.run(30)
    assert desk.position() == qty
    assert not desk.venue.is_naked("AAPL")
