"""The sequencer: every input gets its place in one order, is journaled, and is decided.

Owns the order of events and the write-ahead rule: what a decision changed is committed before any order of it is
handed to a socket. May not know what events mean. The one idea: a single queue on a single thread; an input that
arrives while another is being decided waits its turn, so `decide` is never entered twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

import numpy as np

from hands.core.commands import (
    Alert,
    AnyCommand,
    OperatorAnswer,
    Record,
    ReplaceOrder,
    SubmitEntry,
    SubmitExit,
)
from hands.core.engine import decide
from hands.core.events import AnyEvent, Link, LinkReport, TriggersFired, Wake
from hands.core.ledger_rows import alert_record
from hands.core.state import State, encode
from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.journal.heads import end_of, head_of, mend_of
from hands.journal.schema import encode_row
from hands.journal.steps import ENDED, MENDED, RECEIPT, SESSION, SNAPSHOT, TOLD, told_payload
from hands.journal.store import JournalError, JournalStore
from hands.runtime.recording import RowRecord
from hands.runtime.storage import CALM_NS, SLOW_NS

log = logging.getLogger("hands")

RETRY_NS = 100 * NS_PER_MS
"""A disk that refuses is not asked again by every frame that comes in."""

REST = 4
"""Between two commits of a slow disk so many times as long as the last one took belongs to everything else."""

_REDUCING = (SubmitExit, ReplaceOrder)
"""Written ahead where the disk is quick: an exit, and a stop that after a crash could else be moved back."""


class Sequencer:
    """Feeds events to `decide` one at a time and hands the commands to `dispatch`.

    `dispatch(commands, seq, decided_ns, journaled_ns)`: `journaled_ns` is None where nothing had to be written
    ahead, or where it could not be: then `journal_fault` says why, and no entry may be sent.
    """

    def __init__(
        self,
        state: State,
        journal: JournalStore,
        clock: Callable[[], Ns],
        dispatch: Callable[[list[AnyCommand], Ns, Ns | None], None],
        rows: RowRecord | None = None,
    ) -> None:
        """`rows` records the market; without one (tests of other things) nothing does."""
        self.state = state
        self.seq = journal.last_seq()
        self._journal_gone = False
        self.journal_fault: str | None = None
        self.records_lost = 0
        self._journal = journal
        self._clock = clock
        self._dispatch = dispatch
        self._rows = rows
        self._is_cut = False
        self._queue: deque[AnyEvent] = deque()
        self._busy = False
        self._risk: str | None = None
        self._room_risk: str | None = None
        self._slow_ns = 0
        self._slow_until_ns = 0
        self._slow_again = False
        self._retry_ns = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0

    def feed(self, event: AnyEvent) -> None:
        """Decide `event` now, or after the one in hand."""
        self._queue.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._queue:
                self._step(self._queue.popleft())
        finally:
            self._busy = False
        self._set_timer()

    def take_rows(self, rows: np.ndarray, count: int) -> None:
        """Let the market consume rows; each one that fires something is an event at exactly that row."""
        market = self.state.market
        now_ns = int(rows[0]["recv_ns"])
        due = self.state.next_wake_ns
        if due is not None and due <= now_ns:
            self.feed(Wake(ts_ns=Ns(now_ns)))
        if market.mended:
            self._note_mends()
        if self._rows is not None and not self._rows.take(rows, count):
            self._judge_risk(self._room_risk)
            self.drain()
        start = 0
        while start < count:
            start = market.consume(rows, start, count)
            if market.fired_count:
                slots = tuple(int(slot) for slot in market.fired[: market.fired_count])
                self.feed(TriggersFired(ts_ns=Ns(int(rows[start - 1]["recv_ns"])), slots=slots))

    # --- the record's own steps ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Record what this session begins with; before its first event."""
        self.state.market.mended.clear()  # the head has it
        self._note(SESSION, head_of(self.state))

    def snapshot(self) -> None:
        """Record the state as it is now, so that the session can be run again from here."""
        self._is_cut = False
        if self.state.market.mended:
            self._note_mends()  # for those that come from before it
        self._note(SNAPSHOT, head_of(self.state))

    def end(self) -> None:
        """Record that the session ended orderly, and with which state; nothing is decided after it."""
        if self.state.market.mended:
            self._note_mends()
        self._note(ENDED, end_of(self.state))
        self.commit(at_once=True)

    def _note_mends(self) -> None:
        mended = self.state.market.mended
        for sym in mended:
            self._note(MENDED, mend_of(self.state, sym))
        mended.clear()

    def _note(self, kind: str, payload: bytes, row: tuple[str, bytes] | None = None) -> None:
        """Add a step that nothing is decided upon, and its ledger row."""
        self.seq += 1
        try:
            self._journal.append(self.seq, self._clock(), kind, payload, self.state.market.rows_seen)
            if row is not None:
                self._journal.outbox(self.seq, *row)
        except JournalError as error:
            self._lose(error)

    # --- deciding ------------------------------------------------------------------------------------------

    def _step(self, event: AnyEvent) -> None:
        if self.state.market.mended:
            self._note_mends()
        self.seq += 1
        try:
            commands = decide(self.state, event)
        except BaseException:
            self._write_down_failed(event)
            raise
        decided_ns = self._clock()
        self._write_down(event, commands)
        journaled_ns = None
        if any(isinstance(command, SubmitEntry) for command in commands):
            if self._journal.is_gone:
                self.give_up_journal()
            self.commit(at_once=self.journal_fault is None)
            journaled_ns = None if self.journal_fault else self._clock()
        elif any(isinstance(command, _REDUCING) for command in commands) and not self._slow_ns:
            self.commit()  # one that is slow would keep what protects waiting: it is written behind the order
            journaled_ns = None if self.journal_fault else self._clock()
        self._dispatch(commands, decided_ns, journaled_ns)
        if any(isinstance(command, OperatorAnswer) for command in commands):
            self.commit(
                at_once=self.journal_fault is None
            )  # what the operator is told has happened outlives a crash

    def _write_down_failed(self, event: AnyEvent) -> None:
        """Gather the event on which a decision failed, without an answer: a bug of ours, which can then be met again."""
        kind, row = str(type(event).__struct_config__.tag), self.state.market.rows_seen
        try:
            self._journal.append(self.seq, event.ts_ns, kind, encode(event), row)
        except JournalError as error:
            self._lose(error)

    def _write_down(self, event: AnyEvent, commands: list[AnyCommand]) -> None:
        """Gather in the journal's transaction: the event, what it changed, and the ledger's rows."""
        journal, seq = self._journal, self.seq
        try:
            kind, row = str(type(event).__struct_config__.tag), self.state.market.rows_seen
            journal.append(seq, event.ts_ns, kind, encode(event), row, encode(commands))
            for command in commands:
                told = alert_record(command, self.state.now_ns) if isinstance(command, Alert) else command
                if isinstance(told, Record):
                    journal.outbox(seq, told.table, encode_row(told.row))
        except JournalError as error:
            self._lose(error)
        for (kind, key), entity in self.state.changed.items():
            if entity is None:
                journal.delete(kind, key)
            else:
                journal.put(kind, key, encode(entity))
        self.state.changed.clear()

    @property
    def has_unwritten(self) -> bool:
        """Whether the next commit has something to write that may be written now."""
        return self._journal.pending and self.journal_fault is None

    def tell(self, table: str, row: dict[str, object]) -> None:
        """Add a ledger row that follows from nothing on record (what a look back found); the next commit writes it."""
        data = encode_row(row)
        self._note(TOLD, told_payload(table, data), (table, data))

    def tell_receipt(self, intent_id: str, row: dict[str, object]) -> None:
        """Add the ledger row of a receipt that has just been written; it follows from the state as it is."""
        self._note(RECEIPT, intent_id.encode(), ("intents", encode_row(row)))

    def commit(self, *, at_once: bool = False) -> None:
        """Write what is gathered; a failure is told to the core, which then allows no entries.

        While the journal fails, calls within `RETRY_NS` of the last attempt do nothing, unless `at_once`; while it is
        slow, calls that would not leave time for anything else.
        """
        began_ns = self._clock()
        if not at_once and began_ns < self._retry_ns and (self.journal_fault is not None or self._slow_ns):
            return
        try:
            self._journal.commit()
        except JournalError as error:
            self._retry_ns = self._clock() + RETRY_NS
            self._fault(str(error))
        else:
            self._time_commit(began_ns)
            if self.journal_fault is not None and not self._journal_gone:
                log.warning("the journal is written again; %d records were lost", self.records_lost)
                self.journal_fault = None
                self.records_lost = 0
                self._report_journal()

    def _time_commit(self, began_ns: int) -> None:
        ended_ns = self._clock()
        took_ns = ended_ns - began_ns
        if took_ns >= SLOW_NS:
            self._slow_again = bool(self._slow_ns)
            self._slow_ns, self._slow_until_ns = took_ns, ended_ns + CALM_NS
            log.warning("a commit of the journal took %d ms", took_ns // NS_PER_MS)
            self._judge_risk(self._room_risk)
        if self._slow_ns:
            self._retry_ns = ended_ns + REST * took_ns

    # --- before it fails -----------------------------------------------------------------------------------

    @property
    def storage_fault(self) -> str | None:
        """Why entries stop for the sake of their records: the journal is not written, or soon may not be."""
        return self.journal_fault or self._risk

    def mind_storage(self, risk: str | None) -> None:
        """Say once a second whether there is room for records (`risk` None), and let a slow disk's time run out."""
        if self._slow_ns and self._clock() >= self._slow_until_ns:
            self._slow_ns, self._slow_again = 0, False
        market = self.state.market
        healed = self._rows is not None and self._rows.heal(market.rows_seen)
        if healed or (self._is_cut and self.journal_fault is None):
            self.snapshot()
        self._judge_risk(risk)
        self.drain()

    def _judge_risk(self, room: str | None) -> None:
        self._room_risk = room
        lags = None if self._rows is None else self._rows.fault
        if self._slow_again:
            lags = f"the journal's disk is slow: its last slow commit took {self._slow_ns // NS_PER_MS} ms"
        before, self._risk = self._risk, room or lags
        if (before is None) is not (self._risk is None):
            self._report_journal()

    def _report_journal(self) -> None:
        """Tell the core: entries are allowed where the journal is written and will be."""
        fault = self.storage_fault
        report = LinkReport(ts_ns=self._clock(), link=Link.JOURNAL, up=fault is None, reason=fault or "")
        self._queue.append(report)

    def give_up_journal(self) -> None:
        """The journal's file is gone: what is written now nobody will find, so no entry is sent any more."""
        if not self._journal_gone:
            self._journal_gone = True
            reason = "journal.db or its log was removed, replaced or cut while running"
            log.critical("%s: no entries until a restart", reason)
            self._fault(reason)
            self.drain()

    def _lose(self, error: JournalError) -> None:
        """The backlog is full: trading state is kept, but this record of what happened is gone."""
        self._is_cut = True
        if not self.records_lost:
            log.critical("records are being lost: %s", error, extra={"code": "RECORDS_LOST"})
        self.records_lost += 1
        self._fault(str(error))

    def _fault(self, reason: str) -> None:
        if self.journal_fault is None:
            self.journal_fault = reason
            self._report_journal()

    def drain(self) -> None:
        """Decide what `commit` itself had to say; for callers outside `feed`."""
        if self._queue and not self._busy:
            self.feed(self._queue.popleft())

    # --- timers --------------------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        due = self.state.next_wake_ns
        if self._timer is not None:
            if due == self._timer_ns:
                return
            self._timer.cancel()
            self._timer = None
        if due is not None:
            delay_s = max(0.0, (due - self._clock()) / NS_PER_S)
            self._timer_ns = due
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.feed(Wake(ts_ns=self._clock()))

    def stop(self) -> None:
        """Stop the timer; nothing is decided by itself any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
