"""The one order of events, the write-ahead rule, and what happens while the disk refuses."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from hands.core.commands import AnyCommand, ReceiptChanged, SubmitEntry
from hands.core.events import OperatorAction, OperatorRequest, RequestKind, RequestSent
from hands.core.market import RowFlag, RowKind, new_rows
from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.core.vocab import TradingState
from hands.journal import store as store_module
from hands.runtime.sequencer import RETRY_NS, Sequencer


class Dispatched:
    """Takes every decision's commands; `then` is called with them, within the turn."""

    def __init__(self) -> None:
        self.decisions: list[tuple[list[AnyCommand], Ns | None]] = []
        self.then: Any = lambda commands: None
        self.depth = 0
        self.deepest = 0

    def __call__(self, commands: list[AnyCommand], decided_ns: Ns, journaled_ns: Ns | None) -> None:
        del decided_ns
        self.depth += 1
        self.deepest = max(self.deepest, self.depth)
        self.decisions.append((commands, journaled_ns))
        self.then(commands)
        self.depth -= 1

    def submits(self) -> list[tuple[SubmitEntry, Ns | None]]:
        return [
            (command, journaled_ns)
            for commands, journaled_ns in self.decisions
            for command in commands
            if isinstance(command, SubmitEntry)
        ]


@pytest.fixture
def out() -> Dispatched:
    return Dispatched()


@pytest.fixture
def sequencer(books, out) -> Sequencer:
    return Sequencer(books.state, books.journal, books.clock, out)


def played(scenario: Any) -> None:
    async def play() -> None:
        await scenario()

    asyncio.run(play())


def halt(at_ns: int) -> OperatorRequest:
    return OperatorRequest(ts_ns=Ns(at_ns), action=OperatorAction.HALT, reason="enough")


def test_events_are_journaled_in_the_order_in_which_they_were_decided(books, out, sequencer):
    async def scenario():
        sequencer.feed(books.document())
        sequencer.feed(halt(books.clock()))
        sequencer.feed(books.document())
        sequencer.commit()
        rows = list(books.journal.events())
        assert [row[0] for row in rows] == [1, 2, 3] == list(range(1, sequencer.seq + 1))
        assert [row[2] for row in rows] == ["document", "operator", "document"]

    played(scenario)


def test_an_order_is_written_down_before_it_is_dispatched(books, out, sequencer):
    seen = []
    out.then = lambda commands: seen.append((bool(out.submits()), books.written()))

    async def scenario():
        sequencer.feed(books.document())
        assert seen == [(True, ["document"])]
        [(_, journaled_ns)] = out.submits()
        assert journaled_ns == books.clock()
        assert dict(books.journal.load("ticket")), "what it changed is written with it"

    played(scenario)


def test_what_comes_in_while_deciding_waits_its_turn(books, out, sequencer):
    def feed_within(commands: list[AnyCommand]) -> None:
        for command in commands:
            if isinstance(command, SubmitEntry):
                sent = RequestSent(
                    ts_ns=books.clock(),
                    kind=RequestKind.SUBMIT,
                    client_order_id=command.entry.client_order_id,
                    sent_ns=books.clock(),
                )
                sequencer.feed(sent)
                sequencer.feed(halt(books.clock()))
                assert sequencer.seq == 1, "neither is decided before this decision is dispatched"

    out.then = feed_within

    async def scenario():
        sequencer.feed(books.document())
        assert out.deepest == 1
        assert sequencer.seq == 3
        sequencer.commit()
        assert books.written() == ["document", "request_sent", "operator"]

    played(scenario)


def test_a_timer_wakes_the_engine_and_is_gone_after_stop(books, out, sequencer, until):
    async def scenario():
        books.state.wake_at(books.clock() + 20 * NS_PER_MS, "truth", "")
        sequencer.feed(halt(books.clock()))
        assert sequencer._timer is not None
        books.clock.now = Ns(books.clock() + 20 * NS_PER_MS)
        await until(lambda: sequencer.seq == 2)
        sequencer.commit()
        assert books.written() == ["operator", "wake"]
        books.state.wake_at(books.clock() + NS_PER_S, "truth", "")
        sequencer.feed(halt(books.clock()))
        sequencer.stop()
        assert sequencer._timer is None

    played(scenario)


def test_a_row_in_the_middle_of_a_frame_fires_at_its_own_place(books, out, sequencer):
    """How the venue cut its frames must not change a decision."""

    async def scenario():
        sequencer.feed(books.document(entry="touch", trigger_price=150.05, arm_seconds=60))
        assert not out.submits()
        rows = new_rows(4)
        for n, price in enumerate((150.01, 150.05, 150.04, 150.06)):
            row = rows[n]
            row["sym"], row["kind"], row["flags"], row["price"], row["size"] = 0, RowKind.TRADE, RowFlag.ELIGIBLE, price, 1  # fmt: skip
            row["venue_ns"] = row["recv_ns"] = books.clock() + 1000 * (n + 1)
        sequencer.take_rows(rows, 4)
        sequencer.commit()
        kinds = [(kind, ts_ns - books.clock()) for _, ts_ns, kind, _ in books.journal.events()]
        assert kinds == [("document", 0), ("triggers_fired", 2000)]
        assert len(out.submits()) == 1
        last = books.state.market.last_trade(0)
        assert last is not None
        assert last.recv_ns == books.clock() + 4000, "the rows behind it were consumed too"

    played(scenario)


def test_while_the_journal_cannot_be_written_it_is_said_and_nothing_was_written_ahead(books, out, sequencer):
    async def scenario():
        with books.refusing_disk():
            sequencer.feed(books.document())
            [(_, journaled_ns)] = out.submits()
            assert journaled_ns is None
            assert "locked" in str(sequencer.journal_fault)
            assert "JOURNAL" in books.state.reasons
            assert books.state.trading_state is not TradingState.ACTIVE
        books.clock.now = Ns(books.clock() + RETRY_NS)
        sequencer.commit()
        sequencer.drain()
        assert sequencer.journal_fault is None
        assert "JOURNAL" not in books.state.reasons
        sequencer.commit()
        assert books.written() == ["document", "link", "link"], "nothing was lost"

    played(scenario)


def test_a_disk_that_refuses_is_not_asked_again_by_every_event(books, out, sequencer, monkeypatch):
    attempts = []
    commit = books.journal.commit
    monkeypatch.setattr(books.journal, "commit", lambda: (attempts.append(books.clock()), commit()))

    async def scenario():
        with books.refusing_disk():
            sequencer.feed(halt(books.clock()))
            sequencer.commit()
            for _ in range(50):
                sequencer.feed(halt(books.clock()))
                sequencer.commit()
            assert len(attempts) == 1
            books.clock.now = Ns(books.clock() + RETRY_NS)
            sequencer.commit()
            sequencer.commit()
            assert len(attempts) == 2
        sequencer.commit()
        assert len(attempts) == 2
        sequencer.commit(at_once=True)
        assert sequencer.journal_fault is None

    played(scenario)


def test_records_that_are_lost_are_told_once_and_counted(books, out, sequencer, monkeypatch, caplog):
    async def scenario():
        with books.refusing_disk():
            sequencer.feed(halt(books.clock()))
            sequencer.commit()
            monkeypatch.setattr(store_module, "BACKLOG_MAX", 1)
            for _ in range(5):
                sequencer.feed(halt(books.clock()))
                sequencer.add_row("intents", {"intent_id": "x"})
            losses = [r for r in caplog.records if "being lost" in r.getMessage()]
            assert [record.levelno for record in losses] == [logging.CRITICAL]
            assert sequencer.records_lost > 5
        monkeypatch.undo()
        sequencer.commit(at_once=True)
        assert sequencer.records_lost == 0
        assert any("records were lost" in r.getMessage() for r in caplog.records)
        sequencer.drain()
        sequencer.commit()
        assert next(iter(books.journal.load("reason")), None) is not None, "what is in force is still written"

    played(scenario)


def test_a_bug_in_a_decision_comes_out_of_feed_and_the_next_event_is_still_taken(books, out, sequencer):
    def fail(commands: list[AnyCommand]) -> None:
        raise RuntimeError("our own bug")

    out.then = fail

    async def scenario():
        with pytest.raises(RuntimeError, match="our own bug"):
            sequencer.feed(halt(books.clock()))
        out.then = lambda commands: None
        sequencer.feed(books.document())
        assert sequencer.seq == 2
        assert any(isinstance(command, ReceiptChanged) for command in out.decisions[-1][0])

    played(scenario)


def test_without_its_journals_file_no_entry_is_written_ahead_and_no_commit_forgives_it(books, out, sequencer):
    async def scenario():
        assert not books.journal.is_gone
        books.journal.path.unlink()
        assert books.journal.is_gone
        sequencer.give_up_journal()
        sequencer.feed(books.document())
        sequencer.commit()
        sequencer.drain()
        assert "removed" in str(sequencer.journal_fault)
        assert books.state.trading_state is TradingState.REDUCE_ONLY
        assert all(journaled_ns is None for _, journaled_ns in out.submits())

    played(scenario)
