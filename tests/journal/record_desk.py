"""An engine's side of the record for tests: commits steps, offers rows, dies, starts again, and knows what must be there."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from hands.journal.chain import Chain, chain_key
from hands.journal.keys import read_first_key
from hands.journal.recorder import Recorder
from hands.journal.retention import Keep
from hands.journal.ring import Ring, ring_path
from hands.journal.segments import Segment, SegmentWriter, folder_of, segment_paths
from hands.journal.steps import ENDED, SESSION, SNAPSHOT, Step
from hands.journal.store import JournalStore
from tests.journal.market_rows import BEGAN_NS, bits, some_rows
from tests.journal.seals import check_seals

S = 10**9
SUPPLY = 20_000


class Desk:
    """One state directory and the process lives in it. `now_ns` is moved by hand, and the recorder works only when told."""

    def __init__(
        self, folder: Path, *, capacity: int = 256, is_durable: bool = False, keep: Keep | None = None
    ) -> None:
        self.folder, self.segments = folder, folder_of(folder)
        self.now_ns = BEGAN_NS
        self.committed: list[Step] = []
        self.rows: dict[int, list[int]] = {}
        """By session: the numbers of the rows that were taken into its ring."""
        self._supply = some_rows(SUPPLY)
        self._options = capacity, is_durable, keep
        self.begin()

    def begin(self) -> None:
        """Start a process: its journal, its ring, its recorder, its first step."""
        capacity, is_durable, keep = self._options
        self.store = JournalStore(self.folder / "journal.db")
        self.seq, self.row = self.store.last_seq(), 0
        self.session = self.seq + 1
        self.segments.mkdir(mode=0o700, exist_ok=True)
        self.ring = Ring.create(ring_path(self.segments, self.session), self.session, capacity)
        self.recorder = Recorder(
            self.folder, self.store.path, self.store.keys, self.ring, self.session, is_durable=is_durable, keep=keep
        )  # fmt: skip
        self.rows[self.session] = []
        self._pending: list[Step] = []
        self.step(SESSION, payload=b"head" * 40)

    def step(self, kind: str = "Wake", *, payload: bytes = b"{}", is_committed: bool = True) -> int:
        """Take a step, after the rows that came so far."""
        self.seq += 1
        self.store.append(self.seq, self.now_ns, kind, payload, self.row, b"[%d]" % self.seq)
        if is_committed:
            self.commit()
        return self.seq

    def commit(self) -> None:
        last = self.committed[-1].seq if self.committed else 0
        self.store.commit()
        self.committed += self.store.steps(last + 1)

    def offer(self, count: int) -> bool:
        """Let rows come; the market consumes them whether or not the ring takes them."""
        taken = self.ring.offer(self._supply, count, self.row)
        if taken:
            self.rows[self.session] += range(self.row, self.row + count)
        self.row += count
        return taken

    def work(self, seconds: float = 0.0) -> None:
        self.now_ns += int(seconds * S)
        for _ in range(10_000):
            if not self.recorder.work_once(self.now_ns):
                return
        raise AssertionError("the recorder does not come to rest")

    def late(self) -> None:
        """Let so much time pass that nothing waits any more."""
        self.work()
        self.work(31)

    def trim(self) -> None:
        """Let the engine remove what has moved."""
        while self.store.trim_steps(self.recorder.moved_seq):
            pass

    def end(self) -> bool:
        """End orderly."""
        self.step(ENDED)
        done = self.recorder.finish(self.now_ns)
        self.store.close()
        return done

    def die(self) -> None:
        """End as a SIGKILL would: what was not committed is gone, the ring stays as it is."""
        self.store._steps.clear()
        self.recorder._close_journal()
        if self.recorder._file is not None:
            self.recorder._file.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.die()

    # --- what must be there --------------------------------------------------------------------------------

    def recorded(self) -> list[Step]:
        return [step for path in segment_paths(self.segments) for step in Segment(path).steps()]

    def check(self) -> None:
        """Every committed step once and in order; every row of every session, in the files where it belongs; all seals."""
        assert self.recorded() == self.committed
        heads = [Segment(path) for path in segment_paths(self.segments)]
        beginnings = [step for step in self.committed if step.kind in {SESSION, SNAPSHOT}]
        assert [(s.head.first_seq, s.head.first_row) for s in heads] == [(b.seq, b.row) for b in beginnings]
        for segment, beginning in zip(heads, beginnings, strict=True):
            self._check_rows(segment, beginning)
        chain = Chain(chain_key(read_first_key(self.folder / "first.key"), b"rows"))
        for segment in heads:
            check_seals(segment, chain)
        assert heads[-1].end() is not None
        assert not list(self.segments.glob("ring-*"))

    def _check_rows(self, segment: Segment, beginning: Step) -> None:
        session = segment.head.session
        following = [s for s in self.committed if s.seq > beginning.seq and s.kind in {SESSION, SNAPSHOT}]
        stop = following[0].row if following and following[0].kind == SNAPSHOT else SUPPLY
        expected = [n for n in self.rows[session] if beginning.row <= n < stop]
        found: list[int] = []
        for first, rows in segment.rows():
            assert bits(rows) == bits(self._supply[first : first + len(rows)])
            found += range(first, first + len(rows))
        assert found == expected, (segment.path.name, session)


def last_file(desk: Desk) -> SegmentWriter:
    file = desk.recorder._file
    assert file is not None
    return file


def numbers(segment: Segment) -> list[int]:
    """Return the numbers of all rows of a segment."""
    return [int(n) for first, rows in segment.rows() for n in np.arange(first, first + len(rows))]
