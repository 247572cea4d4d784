"""The record of a state directory, read as one: every step and every row, wherever they lie just now.

Owns the way through `journal.db`, `segments/` and the rings, and what is not whole there. May not write anything, run
anything again, or judge a seal. The one idea: steps and rows wander from the journal and the ring into segments while
nobody stops for a reader, so what they wander *from* is copied first; whatever was moved meanwhile is then found where it
went, and what is found twice is taken once.

It may be opened while the daemon runs, after an orderly end, and after a crash from which nobody has recovered.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import numpy as np

from hands.core.events import DocumentReceived
from hands.core.rows import ROW
from hands.journal.anchors import anchors_path, newest
from hands.journal.business import Entities
from hands.journal.heads import Head, HeadError, read_head
from hands.journal.reader import open_read_only
from hands.journal.ring import Ring, RingFault, session_of
from hands.journal.segments import Segment, SegmentFault, folder_of, segment_paths
from hands.journal.steps import SESSION, SNAPSHOT, Step

JOURNAL_NAME = "journal.db"
FAULTS_MAX = 100
OLD_VERSION = 1
"""The journal's schema whose events have neither rows, commands nor seals."""

_STEPS = "CREATE TEMP VIEW steps AS SELECT seq, ts_ns, kind, payload, row, commands, epoch, seal FROM events"
_OLD_STEPS = "CREATE TEMP VIEW steps AS SELECT seq, ts_ns, kind, payload, 0, x'', 0, x'' FROM events"


class NoRecord(Exception):  # noqa: N818  (says what is the case)
    """There is no record in that directory, or it cannot be read."""


class Session(NamedTuple):
    """One process life, by the number of its first step; `began_ns` of what there is of it.

    `is_cut`: its beginning was removed, or never recorded (by a version that did not).
    """

    number: int
    began_ns: int
    is_cut: bool


class LedgerRow(NamedTuple):
    """A row on its way to the ledger, as the journal keeps it; `seq` is the step after which it was added."""

    number: int
    seq: int
    table: str
    row: bytes


class SessionMarket(NamedTuple):
    """The recorded rows of all sessions, in order: contiguous writable arrays of `ROW`, their `sym` an index of `symbols`."""

    symbols: tuple[str, ...]
    chunks: Iterator[np.ndarray]


class Record:
    """Everything recorded in `state`, as it was when this was made; to be read as often as one likes, then closed.

    `faults` grows while it is read: what is damaged, in words. `losses`: what a crash of the machine took,
    and what a recorder has put aside. Raises NoRecord.
    """

    def __init__(self, state: Path, *, anchors: Path | None = None) -> None:
        """`anchors`: a file of them that was kept elsewhere."""
        self.state = state
        self.anchors = anchors_path(state) if anchors is None else anchors
        self.faults: dict[str, None] = {}
        self.losses: dict[str, None] = {}
        try:
            self.newest_anchor = newest(self.anchors)  # first of all: what it names is there
        except OSError as error:
            raise NoRecord(f"{self.anchors}: {error.strerror}") from error
        self._journal = _copy_of_journal(state / JOURNAL_NAME)
        try:
            self._rings = self._copy_rings(folder_of(state))
            self.segments = self._open_segments(folder_of(state))
            self.first_seq, self.last_seq = self._extent()
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise NoRecord(f"{state}: {error}") from error
        if self._journal is None and not self.segments:
            raise NoRecord(f"{state}: neither {JOURNAL_NAME} nor segments")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    # --- sessions and steps ----------------------------------------------------------------------------------------

    def sessions(self) -> list[Session]:
        """Return the sessions, oldest first. Steps that belong to none, of older versions, are the session 0."""
        found: dict[int, Session] = {}
        for segment in self.segments:
            head = segment.head
            is_cut = head.first_seq != head.session
            found.setdefault(head.session, Session(head.session, head.began_ns, is_cut))
        if self._journal is not None:
            sql = "SELECT seq, ts_ns FROM steps WHERE kind = ? ORDER BY seq"
            for seq, ts_ns in self._journal.execute(sql, (SESSION,)):
                found[seq] = Session(seq, ts_ns, is_cut=False)
        found = {number: session for number, session in found.items() if number <= self.last_seq}
        first = next(self.steps(), None)
        if first is not None and first.seq < min(found, default=first.seq + 1):
            found[0] = Session(0, first.ts_ns, is_cut=True)
        return sorted(found.values())

    def steps(self, first: int = 0, last: int | None = None) -> Iterator[Step]:
        """Yield the steps numbered from `first` to `last`, in order; numbers that are missing are simply not there."""
        last = self.last_seq if last is None else min(last, self.last_seq)
        written, waiting = self._steps_in_segments(first, last), self._steps_in_journal(first, last)
        one, other = next(written, None), next(waiting, None)
        while one is not None or other is not None:
            if other is None or (one is not None and one.seq < other.seq):
                assert one is not None
                if self._kept_from <= one.seq:
                    self._fault(f"step {one.seq} is in its segment, but not in the journal any more")
                yield one
                one = next(written, None)
            elif one is None or other.seq < one.seq:
                yield other
                other = next(waiting, None)
            else:
                if one != other:
                    self._fault(f"step {one.seq} is not the same in the journal and in its segment")
                yield one
                one, other = next(written, None), next(waiting, None)

    def _steps_in_segments(self, first: int, last: int) -> Iterator[Step]:
        for n, segment in enumerate(self.segments):
            following = self.segments[n + 1].head.first_seq if n + 1 < len(self.segments) else None
            if segment.head.first_seq > last or (following is not None and following <= first):
                continue
            try:
                for step in segment.steps():
                    if first <= step.seq <= last:
                        yield step
            except SegmentFault as fault:
                self._note(fault, is_last=following is None)

    def _steps_in_journal(self, first: int, last: int) -> Iterator[Step]:
        if self._journal is None:
            return
        sql = "SELECT * FROM steps WHERE seq BETWEEN ? AND ? ORDER BY seq"
        try:
            for seq, ts_ns, kind, payload, row, commands, epoch, seal in self._journal.execute(
                sql, (first, last)
            ):
                try:
                    yield msgspec.convert((seq, ts_ns, kind, payload, row, commands, epoch, seal), Step)
                except msgspec.ValidationError as error:
                    self._fault(f"step {seq} of the journal is not one: {error}")
        except sqlite3.Error as error:
            self._fault(f"the journal cannot be read: {error}")

    def _extent(self) -> tuple[int, int]:
        """Return the numbers of the first step and of the last."""
        first, last = 2**63 - 1, 0
        self._kept_from = first
        if self._journal is not None:
            low, high = self._journal.execute("SELECT min(seq), max(seq) FROM events").fetchone()
            if high is not None:
                first, last = low, high
                self._kept_from = low  # only the oldest are ever removed, and never the last
            elif self.segments:
                self._fault("the journal holds no step, though there are segments")
        if self.segments:
            first = min(first, self.segments[0].head.first_seq)
        if last == 0:
            last = 2**63 - 1
        return first, last

    # --- rows ------------------------------------------------------------------------------------------------------

    def rows(self, session: int) -> SessionRows:
        """Return the rows of a session."""
        return SessionRows(self._blocks(session))

    def _blocks(self, session: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (number of the first row, rows), block by block, in order; what is given twice begins where it should."""
        done = 0
        last = self.segments[-1] if self.segments else None
        for segment in self.segments:
            if segment.head.session != session:
                continue
            try:
                for first, rows in segment.rows(done):
                    done = first + len(rows)
                    yield first, rows
            except SegmentFault as fault:
                self._note(fault, is_last=segment is last)
        if session in self._rings:
            first, rows = self._rings[session]
            if first + len(rows) > done:
                yield max(first, done), rows[max(0, done - first) :]

    def _copy_rings(self, folder: Path) -> dict[int, tuple[int, np.ndarray]]:
        """Return what waits in the rings, by session. Raises OSError."""
        found = {}
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            session = session_of(path)
            if session is None:
                continue
            try:
                ring = Ring.recover(path, only_look=True)
            except FileNotFoundError:
                continue  # its process has just ended orderly: all of it is in a segment
            except RingFault as fault:
                self.losses[str(fault)] = None
                continue
            first, rows = ring.take(ring.capacity)
            moved = max(
                0, ring.tail - first
            )  # meanwhile: those may be half another's by now, and are in a segment
            found[session] = first + moved, rows[moved:]
        return found

    # --- the journal's other tables ----------------------------------------------------------------------------------

    def business(self) -> Entities | None:
        """Return the table of open business as it is after the last step; None without a journal."""
        if self._journal is None:
            return None
        rows = self._journal.execute("SELECT entity, key, doc FROM state")
        return {(str(entity), str(key)): _bytes(doc) for entity, key, doc in rows}

    def ledger_rows(self) -> Iterator[LedgerRow] | None:
        """Return the rows on their way to the ledger that are still kept, oldest first; None without a journal."""
        if self._journal is None:
            return None
        rows = self._journal.execute("SELECT id, seq, tbl, row FROM outbox ORDER BY id")
        return (
            LedgerRow(number, self._number(seq), str(table), _bytes(row)) for number, seq, table, row in rows
        )

    def _number(self, seq: object) -> int:
        """Return the number of a step, 0 where something else stands in its place."""
        if isinstance(seq, int):
            return seq
        self._fault(f"a row on its way to the ledger is of no step: {str(seq)[:40]!r}")
        return 0

    # --- what is not whole -------------------------------------------------------------------------------------------

    def _open_segments(self, folder: Path) -> list[Segment]:
        """Return the segments, oldest first. Raises OSError."""
        found: list[Segment] = []
        for aside in sorted((*folder.glob("*.broken"), *folder.glob("*.cut-*"))):
            self.losses[f"{aside.name} was found damaged, and put aside"] = None
        paths = segment_paths(folder)
        for path in paths:
            try:
                found.append(Segment(path))
            except FileNotFoundError:
                continue  # removed since: it was the oldest
            except SegmentFault as fault:
                self._note(fault, is_last=path == paths[-1])
        return found

    def _note(self, fault: SegmentFault, *, is_last: bool) -> None:
        """Keep a fault; that the newest segment just stops is none: it is being written, or its process died."""
        if not (fault.is_torn and is_last):
            self._fault(str(fault))

    def _fault(self, what: str) -> None:
        if len(self.faults) < FAULTS_MAX:
            self.faults[what] = None


class SessionRows:
    """A session's rows, asked for in growing order; never more than a block of them is held."""

    def __init__(self, blocks: Iterator[tuple[int, np.ndarray]]) -> None:
        self._blocks = blocks
        self._first = 0
        self._rows = np.zeros(0, ROW)

    def at(self, row: int, stop: int) -> np.ndarray | None:
        """Return some rows from number `row` on, at most up to `stop`: contiguous and writable; None where the row is not
        recorded."""
        while row >= self._first + len(self._rows):
            found = next(self._blocks, None)
            if found is None:
                return None
            self._first, self._rows = found
        if row < self._first:
            return None
        return self._rows[row - self._first : stop - self._first]


# --- what others want of a record ------------------------------------------------------------------------------------


def session_rows(state: Path) -> SessionMarket:
    """Return the market of all sessions recorded in a state directory, as the engine saw it.

    The symbols are those of all sessions, in the order in which they first appear. What was lost on the way is simply not
    there. The record is closed when the chunks are at their end. Raises NoRecord: also where no row was recorded.
    """
    record = Record(state)
    parts: list[tuple[int, tuple[str, ...]]] = []
    for session in record.sessions():
        head = _first_head(record, session.number)
        if head is not None:
            parts.append((session.number, symbols_of(head)))
    if not parts:
        record.close()
        raise NoRecord(f"{state}: no market was recorded there")
    symbols = tuple(dict.fromkeys(symbol for _, named in parts for symbol in named))
    return SessionMarket(symbols, _chunks(record, parts, symbols))


def _chunks(
    record: Record, parts: list[tuple[int, tuple[str, ...]]], symbols: tuple[str, ...]
) -> Iterator[np.ndarray]:
    index = {symbol: sym for sym, symbol in enumerate(symbols)}
    with record:
        for number, named in parts:
            renumbered = np.array([index[symbol] for symbol in named], "i4")
            for _, rows in record._blocks(number):  # noqa: SLF001  (of this module)
                chunk = rows.copy()
                chunk["sym"] = renumbered[chunk["sym"]]
                yield chunk


def arrivals(state: Path) -> Iterator[DocumentReceived]:
    """Yield every document that arrived in the recorded sessions, in order, and each file once. Raises NoRecord.

    A file that still lay in the drop folder when its session ended was noticed again in the next, and only recognised.
    """
    decode = msgspec.json.Decoder(DocumentReceived).decode
    taken: set[tuple[str, str, bytes]] = set()
    with Record(state) as record:
        for step in record.steps():
            if step.kind == "document":
                event = decode(step.payload)
                file = event.agent, event.name, event.data
                if file in taken and not _is_news(step):
                    continue
                taken.add(file)
                yield event


_NEWS = frozenset({"record", "refuse_document", "fetch_quote"})
"""What is done about a document that is not one that is known already: it is judged, turned away, or waits for a quote."""


def _is_news(step: Step) -> bool:
    """Whether a document was not merely recognised; where nothing is known of what was decided, it was not."""
    return not step.commands or any(each["type"] in _NEWS for each in msgspec.json.decode(step.commands))


def symbols_of(head: Head) -> tuple[str, ...]:
    """Return the symbols of a session, in the order in which its rows number them."""
    about = msgspec.json.decode(head.market.partition(b"\n")[0])
    return tuple(about["symbols"])


def _first_head(record: Record, session: int) -> Head | None:
    """Return the first head that is left of a session, None where none can be read."""
    numbers = [each.number for each in record.sessions()]
    after = dict(pairwise(numbers)).get(session)
    for step in record.steps(session, None if after is None else after - 1):
        if step.kind in {SESSION, SNAPSHOT}:
            try:
                return read_head(step.payload)
            except HeadError:
                continue
    return None


def _bytes(value: object) -> bytes:
    """Return what stands where bytes should; anything else is not what was written, and will not be taken for it."""
    return value if isinstance(value, bytes) else repr(value).encode()


def _copy_of_journal(path: Path) -> sqlite3.Connection | None:
    """Return a private copy of a journal at one moment, None where there is none. Raises NoRecord.

    A reader that stayed would keep the engine's log from being cut back; SQLite keeps the copy in memory and, where it is
    large, in a file of its own that goes away by itself.
    """
    if not path.exists():
        return None
    copy = sqlite3.connect("", isolation_level=None)
    try:
        with closing(open_read_only(path)) as journal:
            journal.backup(copy)
        version = int(copy.execute("PRAGMA user_version").fetchone()[0])
        copy.execute(_OLD_STEPS if version == OLD_VERSION else _STEPS)
        copy.execute("SELECT count(*) FROM steps")
    except sqlite3.Error as error:
        copy.close()
        raise NoRecord(f"{path} cannot be read: {error}") from error
    return copy
