"""The way in: documents read, recognised, judged, waiting for a quote, given back, and never judged twice."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from hands.core.admission import WAITING_MAX
from hands.core.commands import AnyCommand, ArchiveDocument, FetchQuote, Record, RefuseDocument, SubmitEntry
from hands.core.engine import decide
from hands.core.events import DocumentReceived, DocumentSettled, Link
from hands.core.market import Market
from hands.core.units import NS_PER_S, Ns
from hands.core.vocab import Code
from tests.core.desk import Desk, rfc3339
from tests.core.test_engine import TOUCH
from tests.core.test_protection import opened
from tests.core.world import document, encoded, intent_id, limits


def received(desk: Desk, data: bytes, name: str = "1.json", agent: str = "default", **facts: object) -> None:
    desk.feed(
        DocumentReceived(
            ts_ns=Ns(desk.now_ns), agent=agent, name=name, data=data, file_event_ns=Ns(desk.now_ns), **facts
        )  # type: ignore[arg-type]
    )


def document_of(desk: Desk, number: int = 1) -> bytes:
    return desk.ticket(number).document


def test_an_accepted_document_is_archived_and_its_order_sent_first() -> None:
    desk = Desk()
    names = [type(command).__name__ for command in desk.drop()]
    assert names.index("SubmitEntry") < names.index("ArchiveDocument")
    assert desk.sent(ArchiveDocument)[0].intent_id == intent_id(1)


def test_a_second_document_under_an_id_is_refused_and_touches_nothing() -> None:
    desk = opened()
    before = desk.receipt() | {"at": None}
    desk.drop(1, "SPY")
    (refused,) = desk.sent(RefuseDocument)
    assert refused.receipt["code"] == Code.DUPLICATE_INTENT
    assert desk.receipt() | {"at": None} == before


@pytest.mark.parametrize("agent", ["default", "other"])
def test_an_id_is_used_up_across_agents_and_after_a_restart(agent: str) -> None:
    desk = opened()
    desk.state.limits = limits(extra="[agents.other]")
    data = document_of(desk)
    desk.feed(DocumentSettled(ts_ns=Ns(desk.now_ns), intent_id=intent_id(1)))
    desk.crash()
    desk.restart()
    desk.run(1)
    received(desk, data, agent=agent)
    assert [command.receipt["code"] for command in desk.sent(RefuseDocument)] == [Code.DUPLICATE_INTENT]
    assert len(desk.sent(SubmitEntry)) == 1


def test_the_file_a_crash_left_behind_is_archived_and_not_judged_again() -> None:
    desk = opened()
    data = document_of(desk)
    desk.crash()
    desk.restart()
    desk.run(1)
    received(desk, data)
    assert desk.sent(RefuseDocument) == []
    assert len(desk.sent(ArchiveDocument)) == 2
    assert len(desk.sent(SubmitEntry)) == 1


def test_an_unreadable_document_uses_up_no_id() -> None:
    desk = Desk()
    received(desk, b"{")
    assert desk.sent(RefuseDocument)[0].receipt["code"] == Code.MALFORMED_JSON
    assert desk.state.seen == {}


# --- what is turned away early -----------------------------------------------------------------------------


def expired(desk: Desk) -> list[AnyCommand]:
    return desk.drop(timestamp=rfc3339(desk.now_ns - 60 * NS_PER_S))


def latched(desk: Desk) -> list[AnyCommand]:
    desk.state.agent_book("default").latched = True
    return desk.drop()


def rejection(desk: Desk) -> dict[str, Any]:
    (row,) = [command.row for command in desk.sent(Record) if command.table == "rejections"]
    return row


@pytest.mark.parametrize("drop", [expired, latched])
def test_what_is_turned_away_early_costs_no_look_at_the_market(
    drop: Callable[[Desk], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ten thousand old documents dropped at once, none may keep a good one waiting."""
    desk = Desk()
    for name in ("quote", "indicators", "side"):
        monkeypatch.delattr(Market, name)
    drop(desk)
    assert rejection(desk)["detail"]["scene"] == {"day": "2026-01-05", "arming": False, "equity": "100000"}
    assert desk.ticket().sizing is None


def test_any_other_refusal_is_kept_with_the_market_it_met() -> None:
    desk = Desk()
    desk.drop(confidence="0.1")
    scene = rejection(desk)["detail"]["scene"]
    assert (scene["bid"], scene["ask"], scene["limit_price"]) == ("149.98", "150", "150.15")
    assert desk.ticket().sizing is not None


def steps(age_s: int) -> int:
    """Return how many functions `decide` calls for a document of that age, ours and the interpreter's."""
    desk, called = Desk(), 0
    data = encoded(document(timestamp=rfc3339(desk.now_ns - age_s * NS_PER_S)))
    event = DocumentReceived(
        ts_ns=Ns(desk.now_ns), agent="default", name="1.json", data=data, file_event_ns=Ns(desk.now_ns)
    )

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal called
        called += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        decide(desk.state, event)
    finally:
        sys.setprofile(before)
    return called


def test_an_expired_document_takes_half_the_steps_of_a_good_one() -> None:
    """Its size and its market would be half as much again."""
    assert steps(age_s=60) < 0.55 * steps(age_s=0)


def test_the_indicators_are_kept_of_what_is_entered() -> None:
    desk = Desk()
    desk.drop(1, confidence="0.1")
    desk.drop(2, **TOUCH)
    desk.drop(3, "SPY")
    names = {"rsi_14", "macd_signal", "vwap", "volume_24h"}
    assert [set(desk.ticket(number).indicators) for number in (1, 2, 3)] == [set(), set(), names]


# --- waiting for a quote -----------------------------------------------------------------------------------


def quiet() -> Desk:
    """A desk whose quotes have gone stale while the feed is alive."""
    desk = Desk()
    desk.run(6)
    desk.poll()
    return desk


def test_all_who_wait_for_a_symbol_share_one_request() -> None:
    desk = quiet()
    desk.drop(1)
    desk.drop(2, trigger_price="150.01")
    assert len(desk.sent(FetchQuote)) == 1
    desk.quote("AAPL", "149.98", "150.00")
    desk.run(0.5)
    assert [desk.receipt(n)["code"] for n in (1, 2)] == [Code.OK, Code.SYMBOL_BUSY]


def test_a_file_noticed_twice_while_it_waits_is_one_document() -> None:
    desk = quiet()
    desk.drop(1)
    (waiting,) = desk.state.waiting["AAPL"].values()
    received(desk, waiting.ticket.document)
    assert desk.sent(RefuseDocument) == []
    received(desk, waiting.ticket.document, name="copy.json")
    assert desk.sent(RefuseDocument)[0].receipt["code"] == Code.DUPLICATE_INTENT


def test_an_id_that_waits_is_taken_on_every_symbol() -> None:
    desk = quiet()
    desk.drop(1)
    desk.drop(1, "SPY")
    assert desk.sent(RefuseDocument)[0].receipt["code"] == Code.DUPLICATE_INTENT
    desk.quote("AAPL", "149.98", "150.00")
    desk.quote("SPY", "599.98", "600.02")
    desk.run(0.5)
    assert len(desk.sent(SubmitEntry)) == 1


def test_of_a_flood_on_a_quiet_symbol_only_so_many_wait() -> None:
    """All who wait are judged in one turn of the loop: their number is the longest that anything else is kept up."""
    desk = quiet()
    for number in range(1, WAITING_MAX + 2):
        desk.drop(number)
    assert len(desk.state.waiting["AAPL"]) == WAITING_MAX
    assert len(desk.sent(FetchQuote)) == 1
    assert desk.receipt(WAITING_MAX + 1)["code"] == Code.STALE_MARKET_DATA
    desk.quote("AAPL", "149.98", "150.00")
    desk.run(0.5)
    assert desk.state.waiting == {}
    assert desk.receipt(1)["code"] == Code.OK
    assert {desk.receipt(n)["code"] for n in range(2, WAITING_MAX + 1)} == {Code.SYMBOL_BUSY}


def test_of_those_who_wait_only_the_late_ones_expire() -> None:
    desk = quiet()
    desk._carry_out = lambda _command: None  # type: ignore[method-assign]
    desk.drop(1)
    desk.drop(2, ttl_seconds="5")
    desk.run(6)
    assert desk.receipt(2)["code"] == Code.EXPIRED
    assert list(desk.state.waiting["AAPL"]) == [intent_id(1)]
    desk.run(10)
    assert desk.receipt(1)["code"] == Code.EXPIRED
    assert desk.state.waiting == {}


def test_with_the_feed_down_nobody_waits() -> None:
    desk = quiet()
    desk.link(Link.EQUITY_DATA, up=False)
    desk.drop(1)
    assert desk.sent(FetchQuote) == []
    assert desk.receipt()["code"] == Code.STALE_MARKET_DATA


def test_who_waits_too_long_expires() -> None:
    desk = quiet()
    desk._carry_out = lambda _command: None  # type: ignore[method-assign]
    desk.drop(1)
    desk.run(16)
    assert desk.receipt()["code"] == Code.EXPIRED
    assert desk.state.waiting == {}


# --- the same idea again -----------------------------------------------------------------------------------


def test_the_same_idea_is_refused_while_the_first_is_alive_or_filled() -> None:
    desk = opened()
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(1)
    desk.quote("AAPL", "149.98", "150.00")
    desk.drop(2)
    assert desk.receipt(2)["code"] == Code.SEMANTIC_DUPLICATE


def test_the_same_idea_may_be_tried_again_once_the_first_died_unfilled() -> None:
    desk = Desk()
    desk.venue.portion = lambda _order: 0
    desk.drop(1, ttl_seconds="2")
    desk.run(3)
    assert desk.receipt()["state"] == "EXPIRED"
    assert desk.state.day.trades_of(None) == 0
    desk.drop(2)
    assert desk.receipt(2)["code"] == Code.OK


def test_the_same_touch_twice_is_one_idea() -> None:
    desk = Desk()
    desk.drop(1, **TOUCH)
    desk.drop(2, **TOUCH)
    assert [desk.receipt(n)["code"] for n in (1, 2)] == [Code.OK, Code.SEMANTIC_DUPLICATE]
    desk.quote("AAPL", "149.48", "149.50")
    desk.print("AAPL", "149.5")
    desk.run(0.5)
    assert desk.receipt(1)["state"] == "OPEN"
