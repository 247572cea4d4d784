"""Documents that change an intent: what each does in each state of its target, and what is never done."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from hands.core.commands import (
    AnyCommand,
    ArchiveDocument,
    CancelOrder,
    FetchQuote,
    Record,
    RefuseDocument,
    SubmitEntry,
    SubmitExit,
)
from hands.core.events import DocumentReceived, DocumentSettled, Link, OperatorAction
from hands.core.receipts import receipt
from hands.core.state import State
from hands.core.units import Ns, decimal_text, nano
from hands.core.vocab import ExitReason, Leg, TradeState, TradingState
from hands.runtime.daemon import ENTITIES
from tests.core.desk import Desk
from tests.core.world import Literal, encoded, halt, intent_id, limits, live, world

NUMERIC = {"qty", "stop_loss", "take_profit", "max_hold_seconds"}


def members(kind: str, target: int = 1, number: int = 100, **more: Any) -> dict[str, Any]:
    """Return a document's members that changes the `target`th intent; numbers as decimal text."""
    own = {key: Literal(value) if key in NUMERIC else value for key, value in more.items()}
    return {"kind": kind, "intent_id": intent_id(number), "target_id": intent_id(target)} | own


def send(
    desk: Desk, kind: str, target: int = 1, number: int = 100, *, agent: str = "default", **more: Any
) -> list[AnyCommand]:
    event = DocumentReceived(
        ts_ns=Ns(desk.now_ns),
        agent=agent,
        name=f"{number}.json",
        data=encoded(members(kind, target, number, **more)),
        file_event_ns=Ns(desk.now_ns),
    )
    return desk.feed(event)


def told(desk: Desk, number: int = 100) -> dict[str, Any]:
    found = desk.state.judged(intent_id(number))
    assert found is not None
    return receipt(desk.state, found)


def ask(desk: Desk, kind: str, target: int = 1, number: int = 100, **more: Any) -> dict[str, Any]:
    """Drop the document and return its receipt."""
    send(desk, kind, target, number, **more)
    return told(desk, number)


def build(**facts: Any) -> Desk:
    return Desk(world(rules=limits(extra="[agents.other]", **facts)))


# --- the states of a target --------------------------------------------------------------------------------


def armed(desk: Desk) -> None:
    desk.drop(1, entry="touch", trigger_price="149.5", stop_loss="148", take_profit="155", arm_seconds="600")
    assert desk.ticket().state is TradeState.ARMED


def working(desk: Desk) -> None:
    desk.venue.portion = lambda _order: 0
    desk.drop(1)
    desk.run(0.5)
    assert desk.ticket().state is TradeState.WORKING


def unknown(desk: Desk) -> None:
    desk.venue.portion = lambda _order: 0
    desk.faults = lambda kind: "drop_answer" if kind == "submit" else None
    desk.muted = True
    desk.drop(1)
    desk.run(0.03)
    desk.faults, desk.muted = lambda _kind: None, False
    assert desk.ticket().state is TradeState.UNKNOWN


def opened(desk: Desk) -> None:
    desk.drop(1)
    desk.run(1)
    assert desk.receipt()["state"] == "OPEN"
    assert desk.receipt()["protection"]["kind"] == "venue_bracket"


def coins(desk: Desk) -> None:
    desk.drop(1, "SOL/USD")
    desk.run(1)
    assert desk.receipt()["protection"]["kind"] == "venue_stop"


def closing(desk: Desk) -> None:
    opened(desk)
    desk.set_session(is_open=False)
    send(desk, "close", number=99)
    assert desk.receipt()["state"] == "CLOSING"


def finished(desk: Desk) -> None:
    opened(desk)
    desk.quote("AAPL", "155.00", "155.02")
    desk.run(1)
    assert desk.receipt()["state"] == "CLOSED"


def nowhere(_desk: Desk) -> None:
    """There is no such intent."""


def anothers(desk: Desk) -> None:
    desk.drop(1, agent="other")
    desk.run(1)
    assert desk.receipt()["state"] == "OPEN"


ALL_STATES = (armed, working, unknown, opened, coins, closing, finished, nowhere, anothers)
AMENDS = {"stop_loss": "149"}
DONE = {
    ("cancel", armed), ("cancel", working), ("cancel", unknown),
    ("close", armed), ("close", working), ("close", unknown), ("close", opened), ("close", coins),
    ("amend", opened), ("amend", coins),
}  # fmt: skip


@pytest.mark.parametrize("reach", ALL_STATES, ids=lambda reach: reach.__name__)
@pytest.mark.parametrize("kind", ["cancel", "close", "amend"])
def test_each_kind_in_each_state_of_its_target(kind: str, reach: Callable[[Desk], None]) -> None:
    desk = build()
    reach(desk)
    before = desk.state.tickets.get(intent_id(1))
    held = None if before is None else (before.stop_loss if before.plan else None, before.exit_reason)
    found = ask(desk, kind, **(AMENDS if kind == "amend" else {}))
    assert found["kind"] == kind
    assert found["target_id"] == intent_id(1)
    if (kind, reach) in DONE:
        assert (found["verdict"], found["code"], found["state"]) == ("ACCEPTED", "OK", "DONE"), found
        return
    assert (found["verdict"], found["code"], found["state"]) == ("REJECTED", "NOTHING_TO_DO", "REJECTED")
    assert found["message"]
    assert found["next"]
    if before is not None:
        assert held == (before.stop_loss if before.plan else None, before.exit_reason)
        assert before.stop_moved is None


def test_of_anothers_trade_nothing_is_told() -> None:
    """The very words for an intent that never was: whether another agent has one cannot be felt for."""
    desk = build()
    anothers(desk)
    for number, kind in enumerate(("cancel", "close", "amend"), 100):
        of_another = ask(desk, kind, 1, number, **(AMENDS if kind == "amend" else {}))
        of_nobody = ask(desk, kind, 2, number + 50, **(AMENDS if kind == "amend" else {}))
        differ = {key for key in of_another if of_another[key] != of_nobody[key]}
        assert differ <= {"intent_id", "target_id"}, differ
    desk.run(1)
    assert desk.position() == "66"


# --- cancel ------------------------------------------------------------------------------------------------


def test_a_cancelled_touch_never_fires() -> None:
    desk = build()
    armed(desk)
    ask(desk, "cancel")
    assert (desk.receipt()["state"], desk.receipt()["message"]) == ("CANCELED", "cancelled by its agent")
    desk.print("AAPL", "149.50")
    desk.run(1)
    assert not desk.sent(SubmitEntry)


@pytest.mark.parametrize("reach", [working, unknown])
def test_a_cancelled_entry_ends_unfilled(reach: Callable[[Desk], None]) -> None:
    desk = build()
    reach(desk)
    ask(desk, "cancel")
    assert "is being cancelled" in desk.receipt()["next"]
    desk.run(3)
    assert (desk.receipt()["state"], desk.receipt()["message"]) == (
        "CANCELED",
        "cancelled by its agent, unfilled",
    )
    assert desk.working() == []
    assert desk.state.day.trades_of(None) == 0  # given back, as for any entry that did not fill


def test_a_cancel_after_the_deadline_was_confirmed_late_still_says_cancelled() -> None:
    desk = build()
    working(desk)
    desk.latency_ns = 20 * 10**9
    send(desk, "cancel")
    desk.run(50)
    assert desk.receipt()["state"] == "CANCELED"


def test_a_cancel_that_meets_a_fill_leaves_a_protected_position() -> None:
    desk = build()
    working(desk)
    send(desk, "cancel")
    desk.venue.portion = lambda order: order.remaining  # before the cancel arrives
    desk.quote("AAPL", "149.97", "150.00")
    desk.run(3)
    assert desk.position() == "66"
    found = desk.receipt()
    assert (found["state"], found["exit"]) == ("OPEN", None)
    assert found["protection"]["qty"] == "66"
    assert not desk.venue.is_naked("AAPL")


def test_a_cancel_of_a_part_filled_entry_keeps_the_part() -> None:
    desk = build(partial_grace_ms=15000)
    desk.venue.portion = lambda order: nano("10") if order.side == "buy" and not order.filled else 0
    desk.drop(1)
    desk.run(0.2)
    assert desk.ticket().owned == nano("10")
    assert "the 10 it holds stay protected" in ask(desk, "cancel")["message"]
    assert ask(desk, "cancel", number=101)["code"] == "NOTHING_TO_DO"  # once is enough
    desk.run(2)
    assert desk.position() == "10"
    assert desk.receipt()["protection"]["qty"] == "10"


def test_a_cancel_of_what_is_being_closed_says_so() -> None:
    desk = build()
    closing(desk)
    assert ask(desk, "cancel")["message"] == "its entry is over and what it bought is being closed"


def test_what_waits_for_its_quote_is_taken_back() -> None:
    """Else the order would go out after its agent had been told that there was nothing to cancel."""
    desk = build()
    desk.now_ns += 30 * 10**9  # the quote is old by now
    desk.state.now_ns = Ns(desk.now_ns)
    desk.poll()
    out = desk.drop(1)
    assert any(isinstance(command, FetchQuote) for command in out)
    assert ask(desk, "amend", number=98, **AMENDS)["code"] == "NOTHING_TO_DO"
    assert ask(desk, "cancel", agent="default")["verdict"] == "ACCEPTED"
    assert desk.receipt()["state"] == "REJECTED"
    assert desk.receipt()["message"] == "cancelled by its agent while it waited for a quote"
    desk.quote("AAPL", "149.98", "150.00")
    desk.run(2)
    assert not desk.sent(SubmitEntry)


# --- close -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reach", [opened, coins])
def test_a_close_ends_all_of_it(reach: Callable[[Desk], None]) -> None:
    desk = build()
    reach(desk)
    found = ask(desk, "close")
    assert "are being closed" in found["message"]
    desk.run(3)
    assert desk.receipt()["exit"]["reason"] == "MANUAL"
    assert desk.venue.positions.get(desk.ticket().symbol, 0) == 0
    assert "MANUAL" in desk.alerts()


def test_a_close_of_what_is_not_filled_cancels_it_and_says_so() -> None:
    desk = build()
    working(desk)
    assert "its entry is cancelled" in ask(desk, "close")["message"]
    desk.run(2)
    assert desk.receipt()["state"] == "CANCELED"


def test_a_close_that_meets_its_entrys_fill_closes_it() -> None:
    desk = build()
    working(desk)
    send(desk, "close")
    desk.venue.portion = lambda order: order.remaining
    desk.quote("AAPL", "149.97", "150.00")
    desk.run(5)
    assert desk.position() == "0"
    assert desk.receipt()["exit"]["reason"] == "MANUAL"


def test_a_close_is_not_given_up_when_the_target_slips_away() -> None:
    """An exit at the target rests the stop again where it does not fill; a close goes on."""
    desk = build()
    coins(desk)
    ticket = desk.ticket()
    ticket.exit_reason, ticket.exit_note, ticket.exit_since_ns = (
        ExitReason.TAKE_PROFIT,
        "the target was reached",
        Ns(desk.now_ns),
    )
    assert ask(desk, "close", number=99, qty="1")["code"] == "NOTHING_TO_DO"
    assert ask(desk, "close")["verdict"] == "ACCEPTED"
    assert desk.ticket().exit_reason is ExitReason.MANUAL
    desk.run(3)
    assert desk.venue.positions.get("SOL/USD", 0) == 0


def test_a_market_that_is_closed_keeps_the_stop_and_the_exit_waits() -> None:
    desk = build()
    opened(desk)
    desk.set_session(is_open=False)
    assert "the exit waits for the open" in ask(desk, "close")["message"]
    desk.run(5)
    assert desk.position() == "66"
    assert not desk.venue.is_naked("AAPL")
    desk.crash()
    desk.run(1)
    desk.restart()
    desk.run(5)
    desk.set_session(is_open=True, next_open_ns=Ns(desk.now_ns + 10**15))
    desk.run(5)
    assert desk.position() == "0"
    assert desk.receipt()["exit"]["reason"] == "MANUAL"


# --- a part ------------------------------------------------------------------------------------------------

PARTS = [
    # symbol, held, stop, asked, then: all of it, or how much is to be closed (None: nothing)
    ("AAPL", "66", "148", "10", "10"),
    ("AAPL", "66", "148", "10.9", "10"),
    ("AAPL", "66", "148", "66", "all"),
    ("AAPL", "66", "148", "67", "all"),
    ("AAPL", "66", "148", "65", "65"),
    ("AAPL", "66", "148", "0.5", None),
    ("SOL/USD", "10", "145", "4", "4"),
    ("SOL/USD", "10", "145", "0.05", None),  # 7.50 USD: under the venue's minimum
    ("SOL/USD", "10", "145", "9.95", "all"),  # 0.05 are left: their stop would be refused
    ("SOL/USD", "10", "145", "9.92", "9.92"),  # 0.08 at 143.55 are 11.48 USD
    ("SOL/USD", "10", "145", "9.925", "all"),  # 0.075 at 143.55 are 10.77: under 1.1 times the minimum
]


@pytest.mark.parametrize(
    ("symbol", "held", "stop", "asked", "then"), PARTS, ids=[f"{row[0]}-{row[3]}" for row in PARTS]
)
def test_what_a_part_comes_to(symbol: str, held: str, stop: str, asked: str, then: str | None) -> None:

    desk = build()
    crypto = "/" in symbol
    ticket = live(
        desk.state,
        1,
        symbol,
        qty=held,
        limit="150",
        stop=stop,
        target="165" if crypto else "155",
        filled=held,
    )
    ticket.received_qty = ticket.plan.qty  # type: ignore[union-attr]
    ticket.opened_ns = Ns(desk.now_ns)
    found = ask(desk, "close", qty=asked)
    if then is None:
        assert (found["code"], ticket.close_qty, ticket.exit_reason) == ("NOTHING_TO_DO", 0, None)
        assert found["retry"] == "changed"
    elif then == "all":
        assert (found["code"], ticket.close_qty, ticket.exit_reason) == ("OK", 0, ExitReason.MANUAL)
        assert found["message"].startswith(f"all {held} are being closed")
    else:
        assert (found["code"], ticket.exit_reason) == ("OK", None), found
        assert found["message"].startswith(f"{then} of {held} are being closed")
        assert decimal_text(ticket.close_qty) == then
        assert f"{then} of it are being closed" in desk.receipt()["next"]


def test_parts_add_up_and_end_in_all() -> None:
    desk = build()
    opened(desk)
    desk.set_session(is_open=False)  # nothing is sold meanwhile
    ask(desk, "close", number=100, qty="30")
    assert desk.ticket().close_qty == nano("30")
    assert "60 in all" in ask(desk, "close", number=101, qty="30")["message"]
    assert desk.ticket().close_qty == nano("60")
    ask(desk, "close", number=102, qty="6")
    assert (desk.ticket().close_qty, desk.ticket().exit_reason) == (0, ExitReason.MANUAL)
    assert ask(desk, "close", number=103, qty="1")["code"] == "NOTHING_TO_DO"


@pytest.mark.parametrize("died", [False, True])
def test_a_part_is_taken_once_however_often_its_file_is_read(died: bool) -> None:
    """A crash leaves the judged file in the folder: it is archived, and nothing more is sold."""
    desk = build()
    opened(desk)
    desk.set_session(is_open=False)
    send(desk, "close", qty="30")
    if died:
        desk.crash()
        desk.run(1)
        desk.restart()
    out = send(desk, "close", qty="30")
    assert [c.intent_id for c in out if isinstance(c, ArchiveDocument)] == [intent_id(100)]
    assert desk.ticket().close_qty == nano("30")
    desk.feed(DocumentSettled(ts_ns=Ns(desk.now_ns), intent_id=intent_id(100)))
    out = send(desk, "close", qty="30")
    assert [c.receipt["code"] for c in out if isinstance(c, RefuseDocument)] == ["DUPLICATE_INTENT"]
    assert desk.ticket().close_qty == nano("30")


# --- amend -------------------------------------------------------------------------------------------------

AMENDMENTS = [
    # direction, members, what the ticket then wants (stop, target, hold) or the words of the no
    ("LONG", {"stop_loss": "149"}, ("149", None, None)),
    ("LONG", {"stop_loss": "149.001"}, ("149.01", None, None)),  # towards the entry: never looser than asked
    ("LONG", {"take_profit": "156"}, (None, "156", None)),
    ("LONG", {"take_profit": "155.999"}, (None, "155.99", None)),
    ("LONG", {"take_profit": "151"}, (None, "151", None)),
    ("LONG", {"max_hold_seconds": "60"}, (None, None, 60)),
    ("LONG", {"stop_loss": "149", "take_profit": "160", "max_hold_seconds": "60"}, ("149", "160", 60)),
    (
        "LONG",
        {"stop_loss": "148", "take_profit": "156"},
        (None, "156", None),
    ),  # the stop stands there already
    ("LONG", {"stop_loss": "147.99"}, "147.99 is looser than 148: a stop can only be tightened"),
    ("LONG", {"stop_loss": "148"}, "it stands so already"),
    ("LONG", {"stop_loss": "149.98"}, "at or through the market (149.98)"),
    ("LONG", {"stop_loss": "152"}, "at or through the market (149.98)"),
    ("LONG", {"take_profit": "150"}, "on the wrong side of the market (150)"),
    ("LONG", {"take_profit": "147"}, "on the wrong side of the market (150)"),
    ("LONG", {"max_hold_seconds": "3601"}, "3601 s is longer than 3600 s"),
    ("LONG", {"max_hold_seconds": "3600"}, "it stands so already"),
    ("LONG", {"stop_loss": "149", "max_hold_seconds": "3601"}, "3601 s is longer than 3600 s"),
    ("LONG", {"stop_loss": "147", "take_profit": "160"}, "147 is looser than 148"),
    ("SHORT", {"stop_loss": "151"}, ("151", None, None)),
    ("SHORT", {"stop_loss": "150.999"}, ("150.99", None, None)),
    ("SHORT", {"take_profit": "144.001"}, (None, "144.01", None)),
    ("SHORT", {"stop_loss": "152.01"}, "152.01 is looser than 152: a stop can only be tightened"),
    ("SHORT", {"stop_loss": "150"}, "at or through the market (150)"),
    ("SHORT", {"take_profit": "149.98"}, "on the wrong side of the market (149.98)"),
]


@pytest.mark.parametrize(
    ("direction", "asked", "then"),
    AMENDMENTS,
    ids=[
        "-".join((way, *(f"{name}={value}" for name, value in asked.items()))) for way, asked, _ in AMENDMENTS
    ],
)
def test_what_an_amend_comes_to(direction: str, asked: dict[str, str], then: Any) -> None:
    desk = build(allow_short="true")
    desk.drop(1, direction=direction, max_hold_seconds="3600")
    desk.run(1)
    ticket = desk.ticket()
    before = ticket.stop_loss, ticket.take_profit, ticket.max_hold_ns
    found = ask(desk, "amend", **asked)
    if isinstance(then, str):
        assert (found["verdict"], found["code"], found["retry"]) == ("REJECTED", "NOTHING_TO_DO", "changed")
        assert then in found["message"]
        assert (ticket.stop_loss, ticket.take_profit, ticket.max_hold_ns) == before
        assert (ticket.stop_moved, ticket.target_moved, ticket.hold_moved_ns) == (None, None, None)
        return
    stop, target, hold = then
    assert found["verdict"] == "ACCEPTED", found
    assert ticket.stop_moved == (None if stop is None else nano(stop))
    assert ticket.target_moved == (None if target is None else nano(target))
    assert ticket.hold_moved_ns == (None if hold is None else hold * 10**9)


def test_an_amend_outlives_a_crash_and_is_what_the_receipt_tells() -> None:
    desk = build()
    opened(desk)
    send(desk, "amend", stop_loss="149", take_profit="156")
    desk.crash()
    desk.run(1)
    desk.restart()
    desk.run(2)
    assert (desk.ticket().stop_loss, desk.ticket().take_profit) == (nano("149"), nano("156"))
    assert "its stop at 149 and its target at 156" in desk.receipt()["next"]
    assert desk.receipt()["levels"] == {"stop_loss": "149", "take_profit": "156"}
    assert ask(desk, "amend", number=101, stop_loss="148.5")["message"].startswith("148.5 is looser than 149")


def test_a_hold_that_is_over_closes_now() -> None:
    desk = build()
    opened(desk)
    desk.run(20)
    ask(desk, "amend", max_hold_seconds="5")
    desk.run(3)
    assert desk.receipt()["exit"]["reason"] == "TIME"


def test_the_stop_of_coins_is_watched_at_its_new_price() -> None:
    desk = build()
    coins(desk)
    ask(desk, "amend", stop_loss="148", take_profit="160")
    desk.run(1)
    slot = desk.state.armed_slots[intent_id(1), "stop"]
    view = desk.state.market.trigger(slot)
    assert view is not None
    assert view.level == 148.0


def test_no_price_of_a_frozen_trade_is_moved() -> None:
    desk = build()
    opened(desk)
    desk.ticket().frozen = "its price basis changed"
    assert "frozen" in ask(desk, "amend", stop_loss="149")["message"]
    assert ask(desk, "close", number=101)["verdict"] == "ACCEPTED"


# --- what has no say ---------------------------------------------------------------------------------------


def no_limits(desk: Desk) -> None:
    desk.state.day.trades["default"] = 10**6


def latched(desk: Desk) -> None:
    desk.state.agent_book("default").latched = True


def reduce_only(desk: Desk) -> None:
    halt(desk.state, TradingState.REDUCE_ONLY, "FEED")


def not_ready(desk: Desk) -> None:
    desk.state.account = None
    desk.state.links = dict.fromkeys(Link, False)


def quiet(desk: Desk) -> None:
    desk.now_ns += 60 * 10**9


@pytest.mark.parametrize(
    "hinder", [no_limits, latched, reduce_only, not_ready, quiet], ids=lambda h: h.__name__
)
@pytest.mark.parametrize("kind", ["close", "amend"])
def test_no_limit_and_no_latch_blocks_a_change(hinder: Callable[[Desk], None], kind: str) -> None:
    desk = build()
    opened(desk)
    hinder(desk)
    assert ask(desk, kind, **(AMENDS if kind == "amend" else {}))["verdict"] == "ACCEPTED"


@pytest.mark.parametrize("kind", ["cancel", "close", "amend"])
def test_halted_refuses_every_kind(kind: str) -> None:
    desk = build()
    opened(desk)
    halt(desk.state)
    found = ask(desk, kind, **(AMENDS if kind == "amend" else {}))
    assert (found["verdict"], found["code"], found["retry"]) == ("REJECTED", "HALTED", "after")
    assert (desk.ticket().exit_reason, desk.ticket().stop_moved) == (None, None)


def test_before_the_venue_has_spoken_it_is_taken_and_carried_out_after() -> None:
    desk = build()
    opened(desk)
    desk.crash()
    desk.run(0.1)
    real = desk._answer_truth
    desk._answer_truth = lambda *_args: None  # type: ignore[method-assign]
    desk.restart()
    assert not desk.state.reconciled
    sent = len(desk.sent(SubmitExit)) + len(desk.sent(CancelOrder))
    assert ask(desk, "close")["verdict"] == "ACCEPTED"
    desk.run(0.5)
    assert len(desk.sent(SubmitExit)) + len(desk.sent(CancelOrder)) == sent
    desk._answer_truth = real  # type: ignore[method-assign]
    desk.feed(desk.venue.truth(desk.now_ns, ()))
    desk.run(3)
    assert desk.position() == "0"


def test_it_costs_no_budget_and_counts_for_no_fault_unless_it_is_refused() -> None:
    desk = build()
    opened(desk)
    day, approvals = dict(desk.state.day.trades), len(desk.state.approvals)
    desk.state.agent_book("default").faults = 3
    for number in range(100, 130):
        ask(desk, "cancel", number=number)
    ask(desk, "amend", number=130, **AMENDS)
    assert desk.state.agent_book("default").faults == 3  # neither more nor forgiven
    assert (dict(desk.state.day.trades), len(desk.state.approvals)) == (day, approvals)
    send(desk, "cancel", number=131, qty="1")
    assert desk.state.agent_book("default").faults == 4


# --- what is told ------------------------------------------------------------------------------------------


def test_its_receipt_has_every_member_of_an_intents_and_nothing_of_a_trade() -> None:
    desk = build()
    opened(desk)
    found = ask(desk, "amend", **AMENDS)
    assert set(desk.receipt()) <= set(found)
    assert set(found) - set(desk.receipt()) == {"target_id"}
    empty = ("sizing", "order", "position", "protection", "nearest_admissible", "exit", "retry_at")
    assert [found[name] for name in empty] == [None] * len(empty)
    assert (found["fills"], found["checks"], found["seq"]) == ([], [], 1)
    assert found["next"] == f"What comes of it is told by the receipt of {intent_id(1)}."
    assert found["stamps_ns"]["file_event"] == found["stamps_ns"]["decided"] == desk.now_ns


def test_its_row_in_the_ledger() -> None:
    desk = build()
    opened(desk)
    rows = [c for c in send(desk, "amend", **AMENDS) if isinstance(c, Record)]
    (row,) = [c.row for c in rows if c.table == "intents" and c.row["intent_id"] == intent_id(100)]
    assert (row["kind"], row["verdict"], row["state"], row["symbol"]) == ("amend", "ACCEPTED", "DONE", "AAPL")
    assert row["stop_loss"] == nano("149")
    rows = [c for c in send(desk, "cancel", number=101) if isinstance(c, Record)]
    assert [(c.table, c.row["code"]) for c in rows] == [
        ("intents", "NOTHING_TO_DO"),
        ("rejections", "NOTHING_TO_DO"),
    ]


def test_its_record_is_kept_until_its_receipt_is_written_and_told_again_after_a_crash() -> None:
    desk = build()
    opened(desk)
    desk._write_receipt = lambda *_args: None  # type: ignore[method-assign]  # the disk refuses
    send(desk, "amend", **AMENDS)
    assert ("change", intent_id(100)) in desk.journal
    desk.crash()
    desk.run(1)
    del desk._write_receipt
    desk.restart()
    assert told(desk)["verdict"] == "ACCEPTED"
    assert told(desk)["seq"] == 2
    desk.run(1)
    assert ("change", intent_id(100)) not in desk.journal


def test_an_id_is_used_up_across_kinds() -> None:
    desk = build()
    opened(desk)
    out = send(desk, "close", number=1)
    (refused,) = [c.receipt for c in out if isinstance(c, RefuseDocument)]
    assert (refused["code"], refused["kind"]) == ("DUPLICATE_INTENT", "close")
    send(desk, "cancel", number=100)
    out = desk.drop(100)
    assert [c.receipt["code"] for c in out if isinstance(c, RefuseDocument)] == ["DUPLICATE_INTENT"]


def test_a_halted_entry_can_be_cancelled_by_the_operator_alone() -> None:
    desk = build()
    working(desk)
    desk.operator(OperatorAction.HALT)
    desk.run(2)
    assert desk.receipt()["state"] == "CANCELED"
    assert not desk.exits(Leg.EXIT)


def test_a_start_loads_every_kind_of_record_there_is() -> None:
    """One that is written and not loaded would be forgotten by every crash."""
    cases = re.findall(r"case (\".*\"):", inspect.getsource(State.restore))
    assert {word for case in cases for word in re.findall(r"\"(\w+)\"", case)} == set(ENTITIES)
