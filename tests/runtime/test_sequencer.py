"""The one order of events, the write-ahead rule, and what happens while the disk refuses."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from hands.core.commands import Alert, AnyCommand, ReceiptChanged, SubmitEntry, SubmitExit
from hands.core.events import OperatorAction, OperatorRequest, RequestKind, RequestSent
from hands.core.market import RowFlag, RowKind, new_rows
from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.core.vocab import TradingState
from hands.journal import store as store_module
from hands.journal.schema import decode_row
from hands.runtime import sequencer as sequencer_module
from hands.runtime.sequencer import RETRY_NS, Sequencer
from hands.runtime.storage import CALM_NS, SLOW_NS
from tests.runtime.test_dispatcher import reducing


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


def test_every_alert_goes_into_the_ledger_with_its_event(books, out, sequencer):
    async def scenario():
        sequencer.feed(halt(books.clock()))
        sequencer.commit()
        with closing(sqlite3.connect(books.journal.path)) as db:
            rows = db.execute("SELECT seq, row FROM outbox WHERE tbl = 'alerts'").fetchall()
        [(seq, row)] = rows
        [alert] = [c for commands, _ in out.decisions for c in commands if isinstance(c, Alert)]
        said = {"level": alert.level, "code": alert.code, "message": alert.message}
        assert (seq, decode_row(row)) == (1, {"at_ns": books.state.now_ns} | said)

    played(scenario)


def test_what_the_operator_did_is_on_the_disk_when_it_is_answered(books, out, sequencer):
    """Else a flatten or a halt that was confirmed is forgotten by a process that is killed in that moment."""

    async def scenario():
        sequencer.feed(halt(books.clock()))
        with closing(sqlite3.connect(books.journal.path)) as db:
            assert db.execute("SELECT key FROM state WHERE entity = 'reason'").fetchall() == [("OPERATOR",)]

    played(scenario)


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
                sequencer.tell("intents", {"intent_id": "x"})
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
        books.journal.path.unlink()
        sequencer.feed(books.document())  # looked at before the entry is sent, and not a second later
        assert [journaled_ns for _, journaled_ns in out.submits()] == [None]
        sequencer.give_up_journal()
        sequencer.feed(books.document())
        sequencer.commit()
        sequencer.drain()
        assert "removed" in str(sequencer.journal_fault)
        assert books.state.trading_state is TradingState.REDUCE_ONLY
        assert all(journaled_ns is None for _, journaled_ns in out.submits())

    played(scenario)


# --- a disk that is slow, and one that is nearly full -----------------------------------------------------------


class SlowJournal:
    """The real journal behind a disk whose commits take `takes_ns` of the test's clock."""

    def __init__(self, books: Any) -> None:
        self._journal = books.journal
        self._clock = books.clock
        self.takes_ns = 0
        self.commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def commit(self) -> None:
        if self._journal.pending:
            self.commits += 1
            self._clock.now = Ns(self._clock.now + self.takes_ns)
        self._journal.commit()


@pytest.fixture
def disk(books) -> SlowJournal:
    return SlowJournal(books)


@pytest.fixture
def on_slow_disk(books, disk, out) -> Sequencer:
    return Sequencer(books.state, disk, books.clock, out)  # type: ignore[arg-type]


def commits(sequencer: Sequencer, books: Any, count: int) -> None:
    for _ in range(count):
        sequencer.feed(halt(books.clock()))
        sequencer.commit(at_once=True)
        sequencer.drain()


def test_one_slow_commit_is_a_hiccup_and_a_second_one_stops_entries_until_the_disk_is_calm(
    books, disk, out, on_slow_disk
):
    sequencer = on_slow_disk

    async def scenario():
        disk.takes_ns = SLOW_NS
        commits(sequencer, books, 1)
        assert sequencer.storage_fault is None
        commits(sequencer, books, 1)
        assert sequencer.storage_fault == "the journal's disk is slow: its last slow commit took 1000 ms"
        assert books.state.reasons["JOURNAL"].detail == sequencer.storage_fault
        assert sequencer.journal_fault is None, "nothing was lost"
        disk.takes_ns = 0
        commits(sequencer, books, 5)
        sequencer.mind_storage(None)
        assert "JOURNAL" in books.state.reasons
        books.clock.now = Ns(books.clock.now + CALM_NS)
        sequencer.mind_storage(None)
        assert "JOURNAL" not in books.state.reasons

    played(scenario)


def test_two_slow_commits_far_apart_are_two_hiccups(books, disk, out, on_slow_disk):
    async def scenario():
        for _ in range(3):
            disk.takes_ns = SLOW_NS
            commits(on_slow_disk, books, 1)
            disk.takes_ns = 0
            books.clock.now = Ns(books.clock.now + CALM_NS)
            on_slow_disk.mind_storage(None)
        assert on_slow_disk.storage_fault is None

    played(scenario)


def exit_of(books: Any, monkeypatch: pytest.MonkeyPatch) -> SubmitExit:
    """Let the next decision be one exit."""
    command = SubmitExit(order=reducing())
    monkeypatch.setattr(sequencer_module, "decide", lambda state, event: [command])
    return command


def test_an_exit_does_not_wait_for_a_disk_that_was_slow_and_is_written_down_behind_it(
    books, disk, out, on_slow_disk, monkeypatch
):
    sequencer = on_slow_disk

    async def scenario():
        commits(sequencer, books, 1)
        before = disk.commits
        exit_of(books, monkeypatch)
        sequencer.feed(halt(books.clock()))
        assert disk.commits == before + 1, "as a rule it is written ahead"
        disk.takes_ns = SLOW_NS
        sequencer.feed(halt(books.clock()))
        began = books.clock()
        sequencer.feed(halt(books.clock()))
        assert disk.commits == before + 2
        assert books.clock() == began, "it left at once"
        assert [journaled is not None for _, journaled in out.decisions[-3:]] == [True, True, False]
        sequencer.commit()
        assert disk.commits == before + 2, "the disk's time is not all of the time"
        books.clock.now = Ns(books.clock.now + 4 * SLOW_NS)
        sequencer.commit()
        assert disk.commits == before + 3
        assert not books.journal.pending

    played(scenario)


def test_an_entry_is_written_ahead_however_slow_the_disk_is(books, disk, out, on_slow_disk):
    async def scenario():
        disk.takes_ns = SLOW_NS
        commits_before = disk.commits
        on_slow_disk.feed(books.document())
        [(_, journaled_ns)] = out.submits()
        assert disk.commits == commits_before + 1
        assert journaled_ns == books.clock()

    played(scenario)


def test_too_little_room_stops_entries_before_a_record_is_lost(books, disk, out, on_slow_disk):
    sequencer = on_slow_disk

    async def scenario():
        sequencer.mind_storage("3 MiB are left")
        sequencer.mind_storage("2 MiB are left")
        assert books.state.reasons["JOURNAL"].detail == "3 MiB are left"
        assert sequencer.storage_fault == "2 MiB are left"
        sequencer.feed(books.document())
        assert out.submits() == []
        with books.refusing_disk():
            sequencer.feed(halt(books.clock()))
            sequencer.commit()
            sequencer.drain()
            sequencer.mind_storage(None)
            assert "JOURNAL" in books.state.reasons, "there is room, but it cannot be written"
        sequencer.commit(at_once=True)
        sequencer.drain()
        assert "JOURNAL" not in books.state.reasons

    played(scenario)
