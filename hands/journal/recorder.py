"""The recorder: what the engine has committed, and the rows it has seen, move behind it into segments.

Owns the thread, the segment in hand, the chain of rows and the anchors. May not be waited for by the engine, and may not write to
the journal: it publishes how far it is (`moved_seq`), and the engine trims. The one idea: nothing is given back before it
lies in a segment (a row to the ring, a step to be trimmed), and a segment that was torn or cut short is gone on with;
so a death at any moment, and a disk that is full for hours, cost nothing but time.

Two sources are brought to one place: steps in order, each of which says after how many rows it was taken, and rows by their
number. A `session` or `snapshot` step begins a new file; the rows before it go into the old one. Rows may have been written
before such a step was committed: then they are in both files.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from hands.core.units import NS_PER_S
from hands.journal.blocks import BlockFault
from hands.journal.books import Books
from hands.journal.chain import Chain
from hands.journal.keys import Keys
from hands.journal.leftovers import Stuck, dead_ring, make_folder, remove_rings, take_over
from hands.journal.reader import open_read_only
from hands.journal.retention import Keep
from hands.journal.ring import Ring
from hands.journal.segments import Kind, Segment, SegmentFault, SegmentWriter, folder_of, sync_folder
from hands.journal.steps import ENDED, SESSION, SNAPSHOT, Step

log = logging.getLogger("hands")

PASS_S: Final = 0.1
"""Between two looks at the ring; one costs a few microseconds where there is nothing to do."""

RETRY_S: Final = 1.0
LOOK_NS: Final = NS_PER_S
"""Between two looks at the journal, and two anchors."""

BLOCK_ROWS: Final = 1 << 14
BLOCK_ROWS_MAX: Final = 1 << 16
BLOCK_AFTER_NS: Final = 30 * NS_PER_S
"""A block is written from so many rows on, or so late: until then the rows are in the ring, and outlive the process there."""

BATCH_STEPS: Final = 500
BATCH_AFTER_NS: Final = 10 * NS_PER_S
BATCH_STEPS_MAX: Final = 2_000
BATCH_BYTES: Final = 4 << 20

LOOKED_AT: Final = 10_000
BUSY_TIMEOUT_S: Final = 0.25

_INT, _BLOB = "max(0, CAST({0} AS INTEGER))", "CAST({0} AS BLOB)"
_SEEN: Final = (
    f"seq, {_INT.format('ts_ns')}, kind, {_INT.format('row')}, {_INT.format('epoch')}, {_BLOB.format('seal')}"
)
_WHOLE: Final = (
    f"seq, {_INT.format('ts_ns')}, kind, {_BLOB.format('payload')}, {_INT.format('row')}, {_BLOB.format('commands')},"
    f" {_INT.format('epoch')}, {_BLOB.format('seal')}"
)
"""A step of which somebody has changed the type of a column must not take others with it: its seal tells."""

_BEGINNINGS: Final = frozenset({SESSION, SNAPSHOT})


class _Waiting(NamedTuple):
    """A committed step that is in no segment yet."""

    seq: int
    ts_ns: int
    kind: str
    row: int


class Recorder:
    """Records the session that began with step `session`, whose rows come through `ring` (None: none are recorded).

    `work_once(now_ns)` does what is due; `start` lets a thread do it. `finish`, or `stop` where there is a thread, at the end.
    What a former process left is taken up first. `keep`: how long, None for ever. `is_durable`: wait for the disk.
    """

    def __init__(
        self,
        state: Path,
        journal: Path,
        keys: Keys,
        ring: Ring | None,
        session: int,
        *,
        is_durable: bool = False,
        keep: Keep | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.moved_seq = 0
        """Steps up to this one lie in segments: the engine may trim them."""
        self.files_lost = 0
        """How often the segment in hand was removed or replaced: after each the record wants a snapshot to go on from."""
        self._state, self._folder, self._journal_path = state, folder_of(state), journal
        self._keys, self._ring, self._session = keys, ring, session
        self._books = Books(state, keys, keep)
        self._is_durable, self._clock = is_durable, clock
        self._fault: str | None = None
        self._db: sqlite3.Connection | None = None
        self._chain: Chain | None = None
        self._file: SegmentWriter | None = None
        self._begun_ns: int | None = None
        self._carry_from: Path | None = None
        self._source: Ring | None = None
        self._waiting: deque[_Waiting] = deque()
        self._committed = (0, 0, b"")
        self._is_last_ended = self._is_finishing = self._is_unsynced = self._is_more_there = False
        self._steps_since_ns: int | None = None
        self._rows_since_ns: int | None = None
        self._looked_ns = self._booked_ns = -LOOK_NS
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    # --- what others see -----------------------------------------------------------------------------------

    @property
    def fault(self) -> str | None:
        """Why nothing is being recorded just now, None where all is well."""
        was_started = self._thread.ident is not None
        if (
            self._fault is None
            and was_started
            and not self._thread.is_alive()
            and not self._stopping.is_set()
        ):
            return "the recording thread has died"
        return self._fault

    @property
    def segment_seq(self) -> int:
        """The first step of the segment in hand, 0 without one."""
        return 0 if self._file is None else self._file.head.first_seq

    @property
    def segment_bytes(self) -> int:
        """How long the segment in hand is."""
        return 0 if self._file is None else self._file.length

    @property
    def segment_began_ns(self) -> int | None:
        """When the segment in hand was begun, by the recorder's own clock; None before this process has begun one."""
        return self._begun_ns

    def keep_steps_key(self, epoch: int, key: bytes) -> None:
        """Take the key that the chain of steps has now, to be stored off the engine's thread."""
        self._books.steps_key = epoch, key

    # --- life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Let a thread do the work from now on."""
        self._close_journal()  # a connection is opened by the thread that uses it
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Record all that is committed, and end; False where that was not possible in time: the next start does the rest."""
        if self._thread.ident is None:
            return self.finish(self._clock())
        self._stopping.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and self._fault is None

    def work_once(self, now_ns: int) -> bool:
        """Do what is due; whether there is more to do at once. What the disk or the journal refuses becomes `fault`."""
        try:
            is_more = self._work(now_ns)
        except (OSError, sqlite3.Error, SegmentFault, Stuck) as error:
            self._tell(error)
            return False
        self._fault = None
        return is_more

    def finish(self, now_ns: int) -> bool:
        """Record all that is committed and end the segment; False where something refuses, and the next start does it."""
        self._is_finishing = True
        while self.work_once(now_ns):
            pass
        if self._fault is None:
            try:
                self._end(now_ns)
            except (OSError, SegmentFault) as error:
                self._tell(error)
        self._close_journal()
        if self._file is not None:
            self._file.close()
        return self._fault is None

    def _run(self) -> None:
        pause_s = 0.0
        try:
            while not self._stopping.wait(pause_s):
                is_more = self.work_once(self._clock())
                pause_s = 0.0 if is_more else PASS_S if self._fault is None else RETRY_S
            self.finish(self._clock())
        except BaseException as error:
            self._fault = f"the recording thread has died: {error!r}"
            log.critical("%s", self._fault, exc_info=True)
            raise

    def _tell(self, error: Exception) -> None:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        fault = f"{self._folder.name}/: {why}"
        if fault != self._fault:
            log.critical("%s", fault, extra={"code": "RECORD_FAULT"})
        self._fault = fault

    # --- one pass ------------------------------------------------------------------------------------------

    def _work(self, now_ns: int) -> bool:
        if self._ring is not None:
            self._ring.make_ready()
        are_rows_due = self._are_rows_due(now_ns)
        is_time = are_rows_due or self._is_finishing or abs(now_ns - self._looked_ns) >= LOOK_NS
        if is_time and self._file is not None and self._file.is_gone:
            self._lose(self._file)
        chain = self._chain or self._open()
        if (is_time or self._is_more_there) and len(self._waiting) < LOOKED_AT:
            self._look(now_ns)
        self._carry()
        is_more = self._turn_over(chain, now_ns) or self._move_steps(now_ns)
        if not is_more and are_rows_due:
            is_more = self._move_rows(now_ns)
        self._sync()
        if self._file is not None:
            self.moved_seq = self._file.last_seq
        if self._is_finishing or abs(now_ns - self._booked_ns) >= LOOK_NS:
            self._booked_ns = now_ns
            self._books.keep(chain, self._committed, self._file, now_ns)
        return is_more or self._is_more_there

    def _open(self) -> Chain:
        """Take up what is there. Raises OSError, SegmentFault, Stuck."""
        make_folder(self._folder)
        left = take_over(self._folder, self._state, self._keys, self._session)
        self._chain, self._file, self._carry_from = left.chain, left.file, left.carry_from
        self.moved_seq, self._books.before = left.last_seq, left.anchor_seal
        if self._file is not None:
            self._source = self._ring_of(self._file.head.session)
        self._committed = (left.last_seq, 0, b"")
        return left.chain

    def _lose(self, file: SegmentWriter) -> None:
        """Begin again with what the journal still has, as a start does: the segment in hand is not where it was."""
        log.critical(
            "%s was removed or replaced while it was being written: what it had is lost",
            file.path.name, extra={"code": "RECORD_FAULT"},
        )  # fmt: skip
        file.close()
        self._file = self._chain = self._steps_since_ns = None
        self._waiting.clear()
        self.files_lost += 1

    def _ring_of(self, session: int) -> Ring | None:
        return self._ring if session == self._session else dead_ring(self._folder, session)

    def _look(self, now_ns: int) -> None:
        """Learn which steps were committed meanwhile. Raises sqlite3.Error."""
        if self._db is None:
            self._db = open_read_only(self._journal_path, timeout_s=BUSY_TIMEOUT_S)
        found = self._db.execute(
            f"SELECT {_SEEN} FROM events WHERE seq > ? ORDER BY seq LIMIT ?",  # noqa: S608  (ours)
            (self._committed[0], LOOKED_AT),
        ).fetchall()
        self._looked_ns, self._is_more_there = now_ns, len(found) == LOOKED_AT
        self._waiting.extend(_Waiting(*row[:4]) for row in found)
        if found:
            self._committed = found[-1][0], found[-1][4], found[-1][5]
        if self._waiting and self._steps_since_ns is None:
            self._steps_since_ns = now_ns

    # --- steps ---------------------------------------------------------------------------------------------

    def _turn_over(self, chain: Chain, now_ns: int) -> bool:
        """Where a step that waits begins a new file: end the one in hand before it, and begin; whether it was so.

        Each part may fail and is tried again: it finds what was done.
        """
        old, first = self._file, self._next_beginning()
        if first is None:
            return False
        if old is not None and not old.is_ended:
            while self._waiting[0].seq < first.seq:
                self._add_steps(old, first.seq - 1)
            before = None if first.kind == SESSION else first.row
            self._drain(old, before)
            old.add_end(old.next_row if before is None else before, now_ns)
            self._is_unsynced = True
        self._sync()
        if old is not None:
            # its full length is anchored: nothing can be cut from its end unseen
            self._books.anchor(chain, self._committed, old, now_ns)
        self._begin(chain, old, first, now_ns)
        return True

    def _next_beginning(self) -> _Waiting | None:
        """Return the first waiting step that a new file begins with; without one in hand that is any step."""
        file = self._file
        if file is None or file.is_ended:
            return self._waiting[0] if self._waiting else None
        begun = file.head.first_seq
        return next((step for step in self._waiting if step.kind in _BEGINNINGS and step.seq != begun), None)

    def _begin(self, chain: Chain, old: SegmentWriter | None, first: _Waiting, now_ns: int) -> None:
        before = 0 if old is None else old.head.session
        is_live = first.seq >= self._session
        session = first.seq if first.kind == SESSION else self._session if is_live else before
        source = self._source if session == before else self._ring_of(session)
        self._file = SegmentWriter.create(self._folder, session, first.seq, first.row, first.ts_ns, chain)
        self._source, self._rows_since_ns, self._begun_ns = source, None, now_ns
        if old is not None:
            self._carry_from = old.path if session == before and old.next_row > first.row else None
            old.close()
        if self._is_durable:
            sync_folder(self._folder)
        if session != before:
            remove_rings(self._folder, session)
        self._carry()

    def _move_steps(self, now_ns: int) -> bool:
        """Move a batch if that is due; whether there is another."""
        since_ns, file = self._steps_since_ns, self._file
        if file is None or not self._waiting:
            return False
        is_late = since_ns is not None and abs(now_ns - since_ns) >= BATCH_AFTER_NS
        if not (is_late or self._is_finishing or len(self._waiting) >= BATCH_STEPS):
            return False
        self._add_steps(file, self._waiting[-1].seq)
        if not self._waiting:
            self._steps_since_ns = None
        return bool(self._waiting)

    def _add_steps(self, file: SegmentWriter, last: int) -> None:
        """Append a batch of the steps that wait, at most up to number `last`. Raises OSError, sqlite3.Error."""
        assert self._db is not None
        rows = self._db.execute(
            f"SELECT {_WHOLE} FROM events WHERE seq >= ? AND seq <= ? ORDER BY seq",  # noqa: S608  (ours)
            (self._waiting[0].seq, last),
        )
        steps, size = [], 0
        for row in rows:
            steps.append(Step(*row))
            size += len(row[3]) + len(row[5])
            if size >= BATCH_BYTES or len(steps) >= BATCH_STEPS_MAX:
                break
        rows.close()
        if not steps:
            raise Stuck(f"the journal does not have step {self._waiting[0].seq} any more")
        file.add_steps(steps)
        self._is_unsynced, self._is_last_ended = True, steps[-1].kind == ENDED
        while self._waiting and self._waiting[0].seq <= steps[-1].seq:
            self._waiting.popleft()

    # --- rows ----------------------------------------------------------------------------------------------

    def _are_rows_due(self, now_ns: int) -> bool:
        source = self._source
        held = 0 if source is None else source.head - source.tail
        if source is None or held <= 0:
            self._rows_since_ns = None
            return False
        if self._rows_since_ns is None:
            self._rows_since_ns = now_ns
        is_late = abs(now_ns - self._rows_since_ns) >= BLOCK_AFTER_NS
        enough = min(BLOCK_ROWS, source.capacity // 4)
        return is_late or source.is_broken or self._is_finishing or held >= enough

    def _move_rows(self, now_ns: int) -> bool:
        """Move a block of rows; whether there is another."""
        source, file = self._source, self._file
        if source is None or file is None or file.is_ended:
            return False
        self._add_rows(file, source, source.head)
        self._rows_since_ns = None
        return self._are_rows_due(now_ns)

    def _drain(self, file: SegmentWriter, before: int | None) -> None:
        """Move all rows that there are, or those before number `before`. Raises OSError."""
        source = self._source
        if source is not None:
            while (last := source.head if before is None else min(before, source.head)) > source.tail:
                self._add_rows(file, source, last)

    def _add_rows(self, file: SegmentWriter, source: Ring, before: int) -> None:
        first, rows = source.take(min(BLOCK_ROWS_MAX, before - source.tail))
        had = min(max(0, file.next_row - first), len(rows))  # written, and not released when the process died
        if had < len(rows):
            file.add_rows(first + had, rows[had:])
            self._is_unsynced = True
        source.release(len(rows))

    def _carry(self) -> None:
        """Put into the new file what was written into the old one of its rows. Raises OSError, SegmentFault."""
        if self._carry_from is None or self._file is None:
            return
        try:
            for frame in Segment(self._carry_from).frames():
                if frame.kind is Kind.ROWS and frame.next > self._file.next_row:
                    start = max(0, self._file.next_row - frame.first)
                    self._file.add_rows(frame.first + start, frame.rows()[start:])
        except (SegmentFault, BlockFault, FileNotFoundError) as fault:  # it may have been pruned
            log.critical("rows are lost: %s", fault, extra={"code": "ROWS_LOST"})
        self._carry_from = None

    # --- the end -------------------------------------------------------------------------------------------

    def _sync(self) -> None:
        if self._is_durable and self._is_unsynced and self._file is not None:
            self._file.sync()
        self._is_unsynced = False

    def _end(self, now_ns: int) -> None:
        """End the segment of a session that has ended, and its ring. Raises OSError."""
        file, chain = self._file, self._chain
        if file is None or chain is None or file.is_ended or not self._is_last_ended:
            return
        file.add_end(file.next_row, now_ns)
        self._is_unsynced = True
        self._sync()
        self._books.keep(chain, self._committed, self._file, now_ns)
        if self._source is not None:
            self._source.remove()

    def _close_journal(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
