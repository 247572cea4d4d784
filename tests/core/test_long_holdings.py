"""Holdings over nights, halts and months: what counts as protected then, and what waits for the market."""

from __future__ import annotations

import pytest

from hands.core.commands import CancelOrder, SubmitExit
from hands.core.events import Ns, TradingStatusReport
from hands.core.units import NS_PER_MS, NS_PER_S
from hands.core.vocab import Leg, OrderClass, OrderStatus
from tests.core.desk import Desk
from tests.core.test_protection import COIN, opened

DAY_S = 24 * 3600


def halted(desk: Desk, *, on: bool) -> None:
    desk.feed(
        TradingStatusReport(
            ts_ns=Ns(desk.now_ns),
            symbol="AAPL",
            halted=on,
            venue_ns=desk.now_ns,
            code="H" if on else "T",
            text="x",
        )
    )


def night(desk: Desk, status: OrderStatus) -> None:
    """Close the market, with every resting order in a status of the night."""
    reopening = desk.now_ns + 3600 * NS_PER_S
    desk.set_session(is_open=False, next_open_ns=reopening, next_close_ns=reopening + 6 * 3600 * NS_PER_S)
    for order in desk.working():
        if order.status is not OrderStatus.HELD:
            order.status = status
            desk._tell(str(status), order, None, None)
    desk.run(30)


def days(desk: Desk, count: int) -> None:
    """Let days pass in one step: nothing happens in them."""
    desk._queue.clear()
    desk.now_ns += count * DAY_S * NS_PER_S
    desk.venue.now_ns = Ns(desk.now_ns)
    closes = desk.now_ns + 6 * 3600 * NS_PER_S
    desk.set_session(is_open=True, next_close_ns=closes, next_open_ns=closes + 18 * 3600 * NS_PER_S)
    bid, ask = ("149.95", "150.00")
    for symbol in ("AAPL", COIN):
        desk.quote(symbol, bid, ask)
    desk.poll()
    desk.run(5)


@pytest.mark.parametrize("asset", ["AAPL", COIN])
def test_what_rests_for_eighty_days_is_renewed_in_the_session(asset: str) -> None:
    desk = opened(asset)
    before = len(desk.exits())
    days(desk, 79)
    assert len(desk.exits()) == before
    days(desk, 2)
    assert len(desk.exits()) == before + 1
    assert not desk.venue.is_naked(asset)
    assert desk.worst_naked_ns <= 600 * NS_PER_MS
    if asset == "AAPL":
        assert desk.exits()[-1].order_class is OrderClass.OCO
    days(desk, 30)
    assert len(desk.exits()) == before + 1


def test_what_is_done_for_the_day_protects_at_night_and_is_asked_for_at_the_open() -> None:
    desk = opened()
    night(desk, OrderStatus.DONE_FOR_DAY)
    assert desk.sent(CancelOrder) == []
    assert desk.sent(SubmitExit) == []
    assert desk.receipt()["protection"]["qty"] == "66"
    for order in desk.working():
        if order.status is OrderStatus.DONE_FOR_DAY:
            order.status = OrderStatus.NEW  # and the stream says nothing of it
    desk.set_session(is_open=True, next_close_ns=desk.now_ns + 3600 * NS_PER_S)
    desk.run(3)
    assert desk.sent(CancelOrder) == []
    assert desk.sent(SubmitExit) == []
    assert all(order.status is not OrderStatus.DONE_FOR_DAY for order in desk.ticket().exits)


def test_what_stays_done_for_the_day_in_the_session_is_placed_again() -> None:
    desk = opened()
    night(desk, OrderStatus.DONE_FOR_DAY)
    desk.set_session(is_open=True, next_close_ns=desk.now_ns + 3600 * NS_PER_S)
    desk.run(6)
    assert desk.exits()[-1].order_class is OrderClass.OCO
    assert not desk.venue.is_naked("AAPL")


def test_an_exit_does_not_go_into_a_halt() -> None:
    desk = opened(max_hold_seconds="5")
    halted(desk, on=True)
    desk.run(30)
    assert desk.sent(CancelOrder) == []
    assert desk.exits() == []
    assert desk.alerts().count("STOP_IN_HALT") == 1
    assert desk.receipt()["state"] == "CLOSING"
    assert desk.receipt()["protection"]["kind"] == "venue_bracket"
    desk.now_ns += NS_PER_S
    halted(desk, on=False)
    desk.run(3)
    assert desk.receipt()["exit"]["reason"] == "TIME"


def test_a_suspended_stop_is_no_protection_and_is_not_cancelled_in_a_halt() -> None:
    desk = opened()
    halted(desk, on=True)
    for order in desk.working():
        order.status = OrderStatus.SUSPENDED
        desk._tell("suspended", order, None, None)
    desk.run(10)
    assert desk.sent(CancelOrder) == []
    assert "UNPROTECTED" in desk.state.reasons
    for order in desk.working():
        order.status = OrderStatus.NEW if order.limit is not None else OrderStatus.HELD
    desk.run(6)
    assert "UNPROTECTED" not in desk.state.reasons
    assert desk.exits(Leg.EXIT) == []
