"""A venue that is out of order, or that has forgotten: exits are pressed without a storm, and the operator sees it."""

from __future__ import annotations

from typing import Any

import pytest

from hands.core.commands import QueryOrder, SubmitExit
from hands.core.events import Link
from hands.core.units import NS_PER_S
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


def test_after_a_5xx_an_exit_goes_again_under_its_own_id_without_asking_and_never_an_entry() -> None:
    desk = Desk()
    submit, refused = desk.venue.submit, [0]

    def out_of_order(order: Any) -> Any:
        if "-entry-" in order.client_order_id or refused[0] == 8:
            return submit(order)
        refused[0] += 1
        return (503, "out of order", {})

    desk.venue.submit = out_of_order  # type: ignore[method-assign]
    desk.drop(1, "SOL/USD")
    desk.run(10)
    sent = [command.order.client_order_id for command in desk.sent(SubmitExit)]
    assert len(sent) == 9
    assert len(set(sent)) == 1, "one exit, one id"
    assert desk.sent(QueryOrder) == []
    assert not desk.venue.is_naked("SOL/USD")
    times = [at for at, command in desk.commands if isinstance(command, SubmitExit)]
    assert times[-1] - times[0] >= 2 * NS_PER_S, "eight refusals are not met with a storm"
