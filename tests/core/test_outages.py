"""A venue that is out of order, or that has forgotten: exits are pressed without a storm, and the operator sees it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from hands.core.commands import CancelOrder, FetchQuote, QueryOrder, SubmitExit
from hands.core.events import Link
from hands.core.units import NS_PER_MS, NS_PER_S, decimal_text, nano
from hands.core.vocab import Leg, TradingState
from tests.core.desk import Desk
from tests.core.test_protection import opened, partly


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


def coins_whose_entry_cannot_be_ended(answer: tuple[int, str, dict[str, Any]]) -> Desk:
    """Some SOL is bought, and no cancel of the rest is taken for 20 s."""
    desk = Desk()
    cancel, began_ns = desk.venue.cancel, desk.now_ns

    def unable(order_id: str) -> Any:
        return answer if desk.now_ns < began_ns + 20 * NS_PER_S else cancel(order_id)

    desk.venue.cancel = unable  # type: ignore[method-assign]
    return partly(desk, "1", asset="SOL/USD")


@pytest.mark.parametrize(
    "answer", [(504, "timeout", {}), (429, "rate limit exceeded", {}), (403, "not now", {})]
)
def test_a_cancel_that_a_naked_position_waits_for_is_pressed(answer: tuple[int, str, dict[str, Any]]) -> None:
    desk = coins_whose_entry_cannot_be_ended(answer)
    desk.run(20)
    assert 8 <= len(desk.sent(CancelOrder)) <= 12, "often, and not in a storm"
    desk.run(2.5)
    assert not desk.venue.is_naked("SOL/USD")


def test_a_stop_that_was_sent_late_has_its_time_to_get_in_force() -> None:
    """The position was naked for longer than it may be before the stop could be sent: that is not the stop's fault.

    Its answer says `pending_new`, and that it is in force it says only when it is asked.
    """
    desk = coins_whose_entry_cannot_be_ended((504, "timeout", {}))
    tell = desk.venue.tell

    def keep_still(event: str, *facts: Any) -> None:
        if event != "new":
            tell(event, *facts)

    desk.venue.tell = keep_still
    desk.run(25)
    assert [order.leg for order in desk.exits()] == [Leg.STOP_LOSS]
    cancelled = [command.client_order_id for command in desk.sent(CancelOrder)]
    assert not [name for name in cancelled if "-sl-" in name]


# --- the market's feed is away -----------------------------------------------------------------------------


def coins_without_a_feed() -> Desk:
    """SOL is held under its stop-limit, and the feed that watches it is away."""
    desk = opened("SOL/USD")
    desk.link(Link.CRYPTO_DATA, up=False)
    return desk


def asked_about(desk: Desk, symbol: str) -> list[float]:
    """Return when (s, of the desk) a symbol's quote was asked for."""
    return [
        at_ns / NS_PER_S
        for at_ns, command in desk.commands
        if isinstance(command, FetchQuote) and command.symbol == symbol
    ]


def test_coins_that_are_held_are_asked_for_while_their_feed_is_away() -> None:
    desk = coins_without_a_feed()
    desk.run(20)
    asked = asked_about(desk, "SOL/USD")
    assert 9 <= len(asked) <= 10
    assert all(later - former >= 1.5 for former, later in itertools.pairwise(asked))
    assert not asked_about(desk, "BTC/USD")
    desk.link(Link.CRYPTO_DATA, up=True)
    desk.run(20)
    assert asked_about(desk, "SOL/USD") == asked


def test_shares_are_not_asked_for_their_stop_is_the_venues() -> None:
    desk = opened("AAPL")
    desk.link(Link.EQUITY_DATA, up=False)
    desk.link(Link.CRYPTO_DATA, up=False)
    desk.run(20)
    assert not desk.sent(FetchQuote)


def test_a_question_that_is_not_answered_is_asked_again() -> None:
    desk = coins_without_a_feed()
    desk.mute_quotes = True
    desk.run(20)
    assert 2 <= len(asked_about(desk, "SOL/USD")) <= 4
    desk.mute_quotes = False
    desk.run(20)
    assert len(asked_about(desk, "SOL/USD")) >= 10


def test_a_gap_through_the_stop_limit_is_found_while_the_feed_is_away() -> None:
    """The venue elects the stop, whose limit is too high to fill, and tells of nothing; the trade closes all the same."""
    desk = coins_without_a_feed()
    stop = desk.ticket().stop_loss
    gapped = decimal_text(stop * 9 // 10)
    desk.venue.quote("SOL/USD", nano(gapped), nano(gapped) + NS_PER_MS)
    desk.until(lambda: not desk.ticket().is_live, seconds=8)
    assert desk.venue.positions.get("SOL/USD", 0) == 0
    assert desk.receipt()["exit"]["reason"] == "SL"
    assert desk.exits(Leg.EXIT)
