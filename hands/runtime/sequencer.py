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

from hands.core.commands import AnyCommand, Record, SubmitEntry, SubmitExit
from hands.core.engine import decide
from hands.core.events import AnyEvent, Link, LinkReport, TriggersFired, Wake
from hands.core.state import State, encode
from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.journal.schema import encode_row
from hands.journal.store import JournalError, JournalStore

log = logging.getLogger("hands")

RETRY_NS = 100 * NS_PER_MS
"""A disk that refuses is not asked again by every frame that comes in."""

_SUBMITS = (SubmitEntry, SubmitExit)


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
    ) -> None:
        self.state = state
        self.seq = journal.last_seq()
        self._journal_gone = False
        self.journal_fault: str | None = None
        self.records_lost = 0
        self._journal = journal
        self._clock = clock
        self._dispatch = dispatch
        self._queue: deque[AnyEvent] = deque()
        self._busy = False
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
        start = 0
        while start < count:
            start = market.consume(rows, start, count)
            if market.fired_count:
                slots = tuple(int(slot) for slot in market.fired[: market.fired_count])
                self.feed(TriggersFired(ts_ns=Ns(int(rows[start - 1]["recv_ns"])), slots=slots))

    def _step(self, event: AnyEvent) -> None:
        self.seq += 1
        commands = decide(self.state, event)
        decided_ns = self._clock()
        self._write_down(event, commands)
        journaled_ns = None
        if any(isinstance(command, _SUBMITS) for command in commands):
            self.commit()
            journaled_ns = None if self.journal_fault else self._clock()
        self._dispatch(commands, decided_ns, journaled_ns)

    def _write_down(self, event: AnyEvent, commands: list[AnyCommand]) -> None:
        """Gather in the journal's transaction: the event, what it changed, and the ledger's rows."""
        journal, seq = self._journal, self.seq
        try:
            journal.append(seq, event.ts_ns, str(type(event).__struct_config__.tag), encode(event))
            for command in commands:
                if isinstance(command, Record):
                    journal.outbox(seq, command.table, encode_row(command.row))
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

    def add_row(self, table: str, row: dict[str, object]) -> None:
        """Add a ledger row that belongs to no event (a receipt as it was written); the next commit writes it."""
        try:
            self._journal.outbox(self.seq, table, encode_row(row))
        except JournalError as error:
            self._lose(error)

    def commit(self, *, at_once: bool = False) -> None:
        """Write what is gathered; a failure is told to the core, which then allows no entries.

        While the journal fails, calls within `RETRY_NS` of the last attempt do nothing, unless `at_once`.
        """
        if self.journal_fault is not None and not at_once and self._clock() < self._retry_ns:
            return
        try:
            self._journal.commit()
        except JournalError as error:
            self._retry_ns = self._clock() + RETRY_NS
            self._fault(str(error))
        else:
            if self.journal_fault is not None and not self._journal_gone:
                log.warning("the journal is written again; %d records were lost", self.records_lost)
                self.journal_fault = None
                self.records_lost = 0
                self._queue.append(LinkReport(ts_ns=self._clock(), link=Link.JOURNAL, up=True))

    def give_up_journal(self) -> None:
        """The journal's file is gone: what is written now nobody will find, so no entry is sent any more."""
        if not self._journal_gone:
            self._journal_gone = True
            log.critical("journal.db was removed or replaced while running: no entries until a restart")
            self._fault("journal.db was removed or replaced while running")
            self.drain()

    def _lose(self, error: JournalError) -> None:
        """The backlog is full: trading state is kept, but this record of what happened is gone."""
        if not self.records_lost:
            log.critical("records are being lost: %s", error, extra={"code": "RECORDS_LOST"})
        self.records_lost += 1
        self._fault(str(error))

    def _fault(self, reason: str) -> None:
        if self.journal_fault is None:
            self.journal_fault = reason
            self._queue.append(LinkReport(ts_ns=self._clock(), link=Link.JOURNAL, up=False, reason=reason))

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
