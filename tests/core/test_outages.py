"""A venue that is out of order, or that has forgotten: exits are pressed without a storm, and the operator sees it."""

from __future__ import annotations

import pytest

from hands.core.commands import QueryOrder, SubmitExit
from hands.core.events import Link
from hands.core.vocab import TradingState
from tests.core.desk import Desk
from tests.core.test_protection import opened


def coins_whose_stop_never_arrives() -> Desk:
    """SOL is bought, and from then on no submit reaches the venue (the answer is lost, the order unknown to it)."""
    desk = Desk()
    bought: list[str] = []

    def fault(kind: str) -> str | None:
        if kind != "submit":
            return None
        bought.append(kind)
        return None if len(bought) == 1 else "drop_request"

    desk.faults = fault
    desk.drop(1, "SOL/USD")
    return desk


def test_a_lost_exit_is_pressed_with_a_growing_pause_and_not_in_a_storm() -> None:
    desk = coins_whose_stop_never_arrives()
    desk.run(60)
    sent = desk.sent(SubmitExit)
    assert 15 <= len(sent) <= 70, len(sent)
    assert len(desk.sent(QueryOrder)) <= 90, len(desk.sent(QueryOrder))


def test_questions_on_which_a_position_hangs_use_the_protective_lane() -> None:
    desk = coins_whose_stop_never_arrives()
    desk.run(5)
    asked = [query for query in desk.sent(QueryOrder) if "-sl-" in query.client_order_id]
    assert asked
    assert all(query.protective for query in asked)


def test_what_is_unprotected_beyond_the_bound_allows_no_entries_until_it_is_protected() -> None:
    desk = coins_whose_stop_never_arrives()
    desk.run(1.5)
    assert desk.state.trading_state is TradingState.ACTIVE
    desk.run(2)
    assert "UNPROTECTED" in desk.state.reasons
    assert desk.state.trading_state is TradingState.REDUCE_ONLY
    assert "UNPROTECTED" in desk.alerts()
    desk.faults = lambda _kind: None
    desk.run(10)
    assert "UNPROTECTED" not in desk.state.reasons
    assert not desk.venue.is_naked("SOL/USD")


@pytest.mark.parametrize("asset", ["AAPL", "SOL/USD"])
def test_a_venue_that_has_forgotten_everything_is_believed_and_told(asset: str) -> None:
    """A simulator that was started anew, a paper account that was reset: nothing is there to be protected."""
    desk = opened(asset)
    desk.run(5)
    for books in (desk.venue.orders, desk.venue.by_client, desk.venue.positions):
        books.clear()
    desk.link(Link.TRADE_UPDATES, up=True)  # the stream has come back: what was missed?
    desk.until(lambda: desk.state.committed() == [], seconds=60)
    assert "UNKNOWN_VENUE_BEHAVIOUR" in desk.state.reasons
    assert desk.receipt()["exit"]["reason"] == "MANUAL"
    before = len(desk.commands)
    desk.run(60)
    assert len(desk.commands) - before < 10, "it goes on asking for what is not there"
