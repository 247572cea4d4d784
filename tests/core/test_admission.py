"""The way in: documents read, recognised, judged, waiting for a quote, given back, and never judged twice."""

from __future__ import annotations

import pytest

from hands.core.commands import ArchiveDocument, FetchQuote, RefuseDocument, SubmitEntry
from hands.core.events import DocumentReceived, DocumentSettled, Link
from hands.core.units import Ns
from hands.core.vocab import Code
from tests.core.desk import Desk
from tests.core.test_engine import TOUCH
from tests.core.test_protection import opened
from tests.core.world import intent_id


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
    (waiting,) = desk.state.waiting["AAPL"]
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
