"""The whole record of a state directory, read from wherever it lies just now: segments, journal, rings.

Owns the reading that spans them. May not write anything, and holds nothing open, so that it can be used beside a running
daemon. The one idea: everything moves one way, from ring and journal into segments, and is given up only after it has
arrived; so who looks at the place it comes from first, and at where it goes afterwards, misses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np

from hands.journal.reader import open_read_only
from hands.journal.ring import Ring, RingFault, ring_path, session_of
from hands.journal.segments import Kind, Segment, SegmentFault, folder_of, segment_paths
from hands.journal.steps import Step

LOOKED_AT = 1 << 16
"""Rows that are copied out of a ring at once."""


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """What one segment has, by what its frames say of themselves; their bodies are not looked at.

    `last_seq` and `next_row`: its last step, the row after its last one; `lost`: rows between its first and last that are not
    there. `ended_ns` is None where it was not closed. `fault`: why it cannot be read to its end; None also where it just stops.
    """

    path: Path
    session: int
    first_seq: int
    last_seq: int
    first_row: int
    next_row: int
    began_ns: int
    ended_ns: int | None
    steps: int
    rows: int
    lost: int
    size: int
    fault: str | None


def stretches(state: Path) -> list[Stretch]:
    """Return what there is in the segments of a state directory, oldest first. Raises OSError, SegmentFault: a broken head."""
    return [stretch(path) for path in segment_paths(folder_of(state))]


def stretch(path: Path) -> Stretch:
    """Raises OSError, SegmentFault: not even the head can be read."""
    segment = Segment(path)
    head, ended_ns, fault = segment.head, None, None
    last_seq, steps, row, rows, lost = head.first_seq - 1, 0, head.first_row, 0, 0
    end = segment.end()
    stop = None if end is None else end.next
    try:
        for frame in segment.frames(with_bodies=False):
            if frame.kind is Kind.STEPS:
                last_seq, steps = frame.next - 1, steps + frame.count
            elif frame.kind is Kind.ROWS:
                following = frame.next if stop is None else min(frame.next, stop)
                rows, lost = rows + max(0, following - frame.first), lost + max(0, frame.first - row)
                row = max(row, following)
            else:
                ended_ns = frame.ended_ns
    except SegmentFault as found:
        fault = None if found.is_torn else str(found)
    return Stretch(
        path=path, session=head.session, first_seq=head.first_seq, last_seq=last_seq, first_row=head.first_row,
        next_row=row, began_ns=head.began_ns, ended_ns=ended_ns, steps=steps, rows=rows, lost=lost,
        size=path.stat().st_size, fault=fault,
    )  # fmt: skip


def steps(state: Path, from_seq: int = 0) -> Iterator[Step]:
    """Yield every step from number `from_seq` on, in order, each once: those in segments, then those in the journal.

    Numbers that do not follow each other are steps that were lost, or whose segments were removed.

    Raises:
        OSError, sqlite3.Error: it cannot be read.
        SegmentFault: a segment is damaged; one that just stops is read as far as it goes.
    """
    folder = folder_of(state)
    moved = max((stretch(path).last_seq for path in segment_paths(folder)[-1:]), default=0)
    waiting = list(_journaled(state / "journal.db", max(from_seq, moved + 1)))  # few: the rest has moved
    paths = segment_paths(folder)  # what was trimmed before the journal was read is in one of these
    last = from_seq - 1
    for path, following in zip(paths, [*paths[1:], None], strict=False):
        if following is not None and int(following.stem) <= from_seq:
            continue
        try:
            for step in Segment(path).steps():
                if step.seq > last:
                    yield step
                    last = step.seq
        except SegmentFault as fault:
            if not fault.is_torn:
                raise
    yield from (step for step in waiting if step.seq > last)


def _journaled(path: Path, from_seq: int) -> Iterator[Step]:
    if not path.exists():
        return
    with closing(open_read_only(path)) as db:
        for row in db.execute(
            "SELECT seq, ts_ns, kind, payload, row, commands, epoch, seal FROM events WHERE seq >= ? ORDER BY seq",
            (from_seq,),
        ):
            yield Step(*row)


def newest_session(state: Path) -> int | None:
    """Return the first step of the session that began last, None where none is recorded. Raises OSError, SegmentFault."""
    paths = segment_paths(folder_of(state))
    found = [Segment(path).head.session for path in paths[-1:]]
    if folder_of(state).is_dir():
        found += [session for path in folder_of(state).iterdir() if (session := session_of(path)) is not None]
    return max(found, default=None)


class Rows:
    """The rows of one session from number `row` on, as they come: call `read` as often as one likes.

    `row` is the number of the next one; a `read` that leaves a gap to the row before tells it by the numbers.
    """

    def __init__(self, state: Path, session: int, row: int = 0) -> None:
        self.row = row
        self._folder, self._session = folder_of(state), session
        self._ring: Ring | None = None

    def read(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (number of the first, rows) of all there is now and was not read yet. Raises OSError, SegmentFault."""
        while True:
            ring = self._open_ring()
            if ring is None:
                yield from self._from_segments()
                return
            tail, head = ring.tail, ring.head
            if self.row < tail:
                yield from self._from_segments()
                self.row = max(self.row, tail)  # what is neither here nor there is lost
            elif self.row >= head:
                return
            rows = ring.look(self.row, LOOKED_AT)
            if rows is not None and len(rows):
                self.row += len(rows)
                yield self.row - len(rows), rows

    def _open_ring(self) -> Ring | None:
        if self._ring is None:
            try:
                self._ring = Ring.recover(ring_path(self._folder, self._session), only_look=True)
            except (FileNotFoundError, RingFault):
                return None
        return self._ring

    def _from_segments(self) -> Iterator[tuple[int, np.ndarray]]:
        paths = segment_paths(self._folder)
        for path in paths:
            try:
                segment = Segment(path)
                if segment.head.session != self._session:
                    continue
                for first, rows in segment.rows(self.row):
                    self.row = first + len(rows)
                    yield first, rows
            except SegmentFault as fault:
                if not fault.is_torn:
                    raise
            except FileNotFoundError:
                continue  # removed, being too old
