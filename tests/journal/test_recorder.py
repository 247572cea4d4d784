"""The recorder: everything that was committed and every row, once, in its place: late, cut short, killed or on a full disk."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from hands.journal import anchors, recorder, segments
from hands.journal.anchors import anchors_path
from hands.journal.chain import Chain, chain_key
from hands.journal.keys import read_first_key
from hands.journal.retention import Keep
from hands.journal.segments import Kind, Segment, folder_of, segment_paths
from hands.journal.steps import ENDED, SNAPSHOT
from hands.journal.store import JournalStore
from tests.journal.market_rows import bits, some_rows
from tests.journal.record_desk import Desk, last_file, numbers
from tests.journal.seals import anchor_fault, check_seals


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Desk(tmp_path) as desk:
        yield desk


def test_a_session_is_recorded_whole(desk: Desk) -> None:
    for _ in range(30):
        desk.offer(17)
        desk.step()
        desk.work(1)
    assert desk.recorder.fault is None
    assert desk.end()
    desk.check()
    assert len(segment_paths(desk.segments)) == 1


def test_the_end_takes_rows_in_more_blocks_than_one(desk: Desk, monkeypatch) -> None:
    monkeypatch.setattr(recorder, "BLOCK_ROWS_MAX", 40)
    desk.offer(110)
    assert desk.end()
    desk.check()


def test_nothing_is_written_before_it_is_worth_it_or_late(desk: Desk) -> None:
    desk.work()
    desk.offer(10)
    desk.work(1)
    desk.step()
    began = last_file(desk).length
    desk.work(8)
    assert (last_file(desk).length, desk.recorder.moved_seq) == (began, 0)
    desk.work(2)
    assert desk.recorder.moved_seq == 2
    with_steps = last_file(desk).length
    desk.work(15)
    assert last_file(desk).length == with_steps
    desk.work(5)
    assert last_file(desk).next_row == 10
    desk.offer(64)  # a quarter of the ring
    desk.work()
    assert last_file(desk).next_row == 74


def test_many_steps_move_at_once_and_the_engine_can_trim_them(desk: Desk) -> None:
    for _ in range(recorder.BATCH_STEPS):
        desk.step(is_committed=False)
    desk.commit()
    desk.work(1)
    assert desk.recorder.moved_seq == desk.seq
    desk.trim()
    assert len(list(desk.store.steps())) == 1
    assert desk.recorded() == desk.committed


def test_a_snapshot_begins_a_file_and_rows_go_where_they_belong(desk: Desk) -> None:
    desk.offer(40)
    desk.step()
    desk.work(1)
    desk.offer(20)
    second, taken_ns = desk.step(SNAPSHOT), desk.now_ns
    desk.offer(5)
    desk.step()
    desk.work(1)
    assert (desk.recorder.segment_seq, desk.recorder.segment_began_ns) == (second, desk.now_ns)
    assert last_file(desk).head.began_ns == taken_ns
    assert desk.end()
    desk.check()
    one, two = (Segment(path) for path in segment_paths(desk.segments))
    assert (numbers(one), numbers(two)) == (list(range(60)), list(range(60, 65)))
    end = one.end()
    assert end is not None
    assert (end.first, end.next) == (second - 1, 60)


def test_a_file_is_only_read_again_where_it_has_rows_of_the_next(desk: Desk, monkeypatch) -> None:
    monkeypatch.setattr(Segment, "frames", lambda *_, **__: pytest.fail("64 MB would be read at each turn"))
    desk.offer(40)
    desk.work(1)
    desk.step(SNAPSHOT)
    desk.late()
    assert desk.recorder.fault is None
    assert desk.recorder.segment_seq == 2


def test_rows_that_were_written_before_their_snapshot_was_committed_are_in_both_files(desk: Desk) -> None:
    desk.offer(40)
    desk.work(1)
    desk.step(SNAPSHOT, is_committed=False)  # a busy disk: the commit is tried again later
    desk.offer(100)
    desk.work(1)
    assert last_file(desk).next_row == 140
    desk.commit()
    desk.offer(3)
    desk.work(1)
    assert last_file(desk).head.first_row == 40
    assert desk.end()
    desk.check()


def test_what_a_death_left_is_taken_up_by_the_next_start(desk: Desk) -> None:
    desk.offer(100)
    desk.step()
    desk.work(1)
    desk.offer(30)
    desk.step(SNAPSHOT)
    desk.offer(20)
    desk.step()
    desk.die()
    desk.begin()
    desk.work(1)
    desk.offer(9)
    assert desk.end()
    desk.check()
    assert sorted(desk.rows) == [1, 5]


def test_two_lives_that_never_got_to_their_first_file_are_told_apart(desk: Desk) -> None:
    for _ in range(2):
        desk.offer(30)
        desk.step()
        desk.die()
        desk.begin()
    desk.offer(7)
    assert desk.end()
    desk.check()
    assert [len(rows) for rows in desk.rows.values()] == [30, 30, 7]


def test_a_death_between_writing_and_releasing_writes_no_row_twice(desk: Desk, monkeypatch) -> None:
    desk.work()
    desk.offer(100)
    monkeypatch.setattr(desk.ring, "release", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        desk.work(1)
    desk.die()
    desk.begin()
    assert desk.end()
    desk.check()


def test_a_ring_that_ran_full_goes_on_after_a_declared_gap(desk: Desk) -> None:
    assert desk.offer(250)
    assert not desk.offer(10)
    assert not desk.ring.skip_to(desk.row)
    desk.work(1)  # a broken ring is emptied at once
    assert desk.ring.skip_to(desk.row)
    desk.step(SNAPSHOT)
    assert desk.offer(5)
    desk.work(1)
    assert desk.end()
    desk.check()
    one, two = (Segment(path) for path in segment_paths(desk.segments))
    assert (numbers(one), numbers(two)) == (list(range(250)), list(range(260, 265)))


def test_a_ring_of_another_start_of_the_machine_is_a_gap_and_not_an_end(desk: Desk, monkeypatch) -> None:
    desk.offer(30)
    desk.die()
    monkeypatch.setattr("hands.journal.ring.boot_number", lambda: 99)
    desk.rows[1].clear()
    desk.begin()
    assert desk.end()
    desk.check()


def test_a_journal_without_rows_is_recorded_too(tmp_path: Path) -> None:
    with Desk(tmp_path) as desk:
        desk.recorder._ring = None
        desk.offer(10)
        desk.late()
        assert desk.recorder.moved_seq == 1
        assert desk.recorder.fault is None


def test_a_record_that_lost_its_beginning_is_kept_from_where_it_is(desk: Desk) -> None:
    desk.step()
    desk.late()
    desk.trim()
    desk.die()
    for path in desk.segments.glob("*.seg"):
        path.unlink()
    desk.begin()
    desk.late()
    assert desk.recorder.fault is None
    assert desk.end()
    assert [step.seq for step in desk.recorded()] == [2, 3, 4]
    assert [Segment(path).head.session for path in segment_paths(desk.segments)] == [0, 3]


def test_steps_of_a_journal_from_before_the_record_are_moved_into_a_file_of_their_own(tmp_path: Path) -> None:
    store = JournalStore(tmp_path / "journal.db")
    for seq in (1, 2, 3):
        store.append(seq, seq, "Wake", b"{}")
    store.close()
    with Desk(tmp_path) as desk:
        desk.late()
        assert desk.end()
        assert [Segment(path).head.first_seq for path in segment_paths(desk.segments)] == [1, 4]
        assert [step.seq for step in desk.recorded()] == [1, 2, 3, 4, 5]


# --- what goes wrong -----------------------------------------------------------------------------------------


def test_a_full_disk_is_told_and_loses_nothing(desk: Desk, monkeypatch) -> None:
    desk.offer(20)
    desk.work(1)
    pwrite, is_full = os.pwrite, True

    def write(handle: int, data: memoryview, at: int) -> int:
        if is_full and len(data) > 100:
            return pwrite(handle, data[:90], at)
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(handle, data, at)

    monkeypatch.setattr(segments.os, "pwrite", write)
    for _ in range(5):
        desk.offer(20)
        desk.step()
        desk.step(SNAPSHOT)
        desk.work(40)
        assert desk.recorder.fault == "segments/: No space left on device"
    moved = desk.recorder.moved_seq
    assert moved == 0
    is_full = False
    desk.work(1)
    assert desk.recorder.fault is None
    assert desk.recorder.moved_seq >= desk.seq - 2
    assert desk.end()
    desk.check()


def test_a_disk_that_is_full_to_the_end_leaves_everything_to_the_next_start(desk: Desk, monkeypatch) -> None:
    desk.offer(20)
    desk.work(1)
    desk.offer(20)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(segments.os, "pwrite", full)
        assert not desk.end()
    desk.begin()
    assert desk.end()
    desk.check()


def test_segments_of_another_journal_are_left_alone_and_nothing_is_trimmed(desk: Desk) -> None:
    for _ in range(9):
        desk.step()
    desk.late()
    desk.die()
    (desk.folder / "journal.db").unlink()
    desk.committed.clear()
    before = {path: path.read_bytes() for path in segment_paths(desk.segments)}
    desk.begin()
    assert desk.seq > 10, "the journal goes on behind what is recorded"
    desk.late()
    assert desk.recorder.fault is None
    desk.recorder._session = 4
    desk.recorder._chain = None
    desk.work(1)
    assert "belong to another journal" in (desk.recorder.fault or "")
    assert all(path.read_bytes().startswith(data) for path, data in before.items())


def test_a_journal_that_is_new_beside_a_segment_without_a_step_goes_on_behind_it(desk: Desk) -> None:
    desk.work(1)
    assert desk.recorded() == []
    desk.die()
    (desk.folder / "journal.db").unlink()
    desk.committed.clear()
    desk.begin()
    assert desk.session == 2
    desk.late()
    assert desk.recorder.fault is None
    assert desk.recorded() == desk.committed


@pytest.mark.parametrize("column", ["ts_ns", "payload", "row", "commands", "epoch", "seal"])
def test_a_step_whose_column_is_of_another_type_takes_no_other_with_it(desk: Desk, column: str) -> None:
    for _ in range(3):
        desk.step()
    with closing(sqlite3.connect(desk.store.path)) as db:
        db.execute(f"UPDATE events SET {column} = '7x' WHERE seq = 3")
        db.execute("UPDATE events SET row = -1 WHERE seq = 1")
        db.commit()
    desk.late()
    assert desk.recorder.fault is None
    found = {step.seq: step for step in desk.recorded()}
    assert sorted(found) == [1, 2, 3, 4]
    assert [found[seq] == desk.committed[seq - 1] for seq in (2, 3, 4)] == [True, False, True]


@pytest.mark.parametrize("harm", ["removed", "replaced"])
def test_a_segment_that_is_taken_away_while_it_is_written_is_missed_and_nothing_more_is_lost(
    desk: Desk, harm: str
) -> None:
    desk.step()
    desk.late()
    desk.trim()
    desk.step()
    shutil.rmtree(desk.segments)
    if harm == "replaced":
        desk.segments.mkdir()
    desk.work(1)
    assert (desk.recorder.files_lost, desk.recorder.fault) == (1, None)
    desk.step(SNAPSHOT)
    desk.offer(30)
    desk.work(1)
    desk.late()
    assert [step.seq for step in desk.recorded()] == [2, 3, 4], (
        "of the first two the journal has kept the last"
    )
    assert numbers(Segment(last_file(desk).path)) == list(range(30))
    assert desk.recorder.files_lost == 1


def test_damage_in_the_middle_is_put_aside_and_the_record_goes_on_behind_what_is_whole(desk: Desk) -> None:
    desk.offer(100)
    desk.step()
    desk.work(1)
    desk.step()
    desk.late()
    path = last_file(desk).path
    desk.die()
    frames = list(Segment(path).frames())
    data = bytearray(path.read_bytes())
    rows = next(frame for frame in frames if frame.kind is Kind.ROWS)
    data[rows.at + 40] ^= 1
    path.write_bytes(data)
    desk.begin()
    desk.late()
    assert desk.recorder.fault is None
    assert desk.end()
    aside = path.with_name(f"{path.name}.cut-{rows.at}")
    assert aside.read_bytes() == bytes(data[rows.at :])


def test_a_file_that_has_not_even_a_head_is_put_aside(desk: Desk) -> None:
    desk.work(1)
    path = last_file(desk).path
    desk.die()
    path.write_bytes(bytes(500))
    desk.begin()
    assert desk.end()
    assert path.with_name(f"{path.name}.broken").read_bytes() == bytes(500)
    desk.check()


def test_segments_of_a_newer_version_are_not_touched(desk: Desk) -> None:
    desk.work(1)
    path = last_file(desk).path
    desk.die()
    path.write_bytes(b"HANDSSG7" + bytes(500))
    desk.begin()
    desk.work(1)
    assert "no segment of this version" in (desk.recorder.fault or "")
    assert path.read_bytes()[:8] == b"HANDSSG7"


def test_a_journal_that_cannot_be_read_is_told_and_tried_again(desk: Desk, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    with monkeypatch.context() as patch:
        patch.setattr(recorder, "open_read_only", refuse)
        desk.work(1)
        assert desk.recorder.fault == "segments/: unable to open database file"
    desk.work(1)
    assert desk.recorder.fault is None
    assert desk.end()
    desk.check()


def test_with_a_durable_disk_nothing_counts_as_moved_before_it_is_there(tmp_path: Path, monkeypatch) -> None:
    with Desk(tmp_path, is_durable=True) as desk:
        desk.work()
        desk.step()
        synced = []

        def refuse(handle: int) -> None:
            synced.append(handle)
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(segments.os, "fdatasync", refuse)
            desk.work(20)
            assert (len(synced), desk.recorder.moved_seq) == (1, 0)
        desk.work(1)
        assert desk.recorder.moved_seq == 2
        assert desk.end()
        desk.check()


# --- books ---------------------------------------------------------------------------------------------------


def test_anchors_say_how_far_the_record_is_and_bear_their_seals(desk: Desk) -> None:
    for _ in range(25):
        desk.offer(9)
        desk.step()
        desk.work(1)
    desk.work(5)
    told = list(anchors.read(anchors_path(desk.folder)))
    assert 10 < len(told) <= 31, "a line a second where there is something new"
    assert told[-1].seq == desk.seq
    assert (told[-1].segment, told[-1].length) == (last_file(desk).path.name, last_file(desk).length)
    assert told[-1].step_seal == desk.committed[-1].seal.hex()
    assert desk.end()
    key = chain_key(read_first_key(desk.folder / "first.key"), b"rows")
    assert anchor_fault(anchors_path(desk.folder), Chain(key)) is None
    last = anchors.newest(anchors_path(desk.folder))
    assert last is not None
    path = segment_paths(desk.segments)[-1]
    assert (last.seq, last.length) == (desk.seq, path.stat().st_size)
    assert list(Segment(path).frames())[-1].seal.hex() == last.head
    desk.begin()
    desk.work(1)
    desk.work(1)
    assert anchor_fault(anchors_path(desk.folder), Chain(key)) is None
    assert desk.end()


def test_keys_are_stored_and_the_old_ones_are_gone(desk: Desk) -> None:
    desk.work(1)
    rows_key = (desk.folder / "rows.key").read_text()
    epoch, key = desk.store.ratchet()
    desk.recorder.keep_steps_key(epoch, key)
    desk.step()
    desk.work(11)
    assert (desk.folder / "rows.key").read_text() != rows_key
    assert (desk.folder / "steps.key").read_text() == f"{epoch} {key.hex()}\n"


def test_the_oldest_segments_go_as_the_settings_say(tmp_path: Path) -> None:
    with Desk(tmp_path, keep=Keep(days=1, gb=1)) as desk:
        for _ in range(4):
            desk.offer(10)
            desk.step(SNAPSHOT)
            desk.work(10 * 3600)
        left = [Segment(path).head.first_seq for path in segment_paths(desk.segments)]
        assert left == [3, 4, 5], "the second was last in use thirty hours ago"


# --- the thread ----------------------------------------------------------------------------------------------


def test_the_thread_records_by_itself_and_stops_with_everything_written(desk: Desk) -> None:
    desk.recorder.start()
    for _ in range(6):
        desk.offer(64)
        desk.step()
        deadline = time.monotonic() + 5
        while desk.ring.head - desk.ring.tail >= 64 and time.monotonic() < deadline:
            time.sleep(0.005)
    desk.step(ENDED)
    assert desk.recorder.stop(10)
    assert desk.recorder.fault is None
    desk.check()


def test_a_thread_that_dies_says_so(desk: Desk, monkeypatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    monkeypatch.setattr(desk.recorder, "_work", lambda _: 1 // 0)
    desk.recorder.start()
    desk.recorder._thread.join(5)
    assert "ZeroDivisionError" in (desk.recorder.fault or "")
    assert not desk.recorder.stop(1)


# --- any order of everything ---------------------------------------------------------------------------------


class AnyLife(RuleBasedStateMachine):
    """Steps, rows, snapshots, late commits, full disks, torn tails, deaths and ends, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.room = tempfile.TemporaryDirectory()
        self.patch = pytest.MonkeyPatch()
        self.is_full, pwrite = False, os.pwrite

        def write(handle: int, data: memoryview, at: int) -> int:
            if self.is_full:
                raise OSError(errno.ENOSPC, "No space left on device")
            return pwrite(handle, data, at)

        self.patch.setattr(segments.os, "pwrite", write)
        self.patch.setattr(recorder, "BATCH_STEPS", 6)
        self.patch.setattr(recorder, "BATCH_STEPS_MAX", 4)
        self.patch.setattr(recorder, "BLOCK_ROWS_MAX", 50)
        self.patch.setattr(recorder, "LOOKED_AT", 7)
        self.desk = Desk(Path(self.room.name), capacity=120)

    @rule(count=st.integers(1, 5), is_committed=st.booleans())
    def steps(self, count: int, is_committed: bool) -> None:
        for _ in range(count):
            self.desk.step(is_committed=False)
        if is_committed:
            self.desk.commit()

    @rule(count=st.integers(1, 60))
    def rows(self, count: int) -> None:
        self.desk.offer(count)

    @rule(is_committed=st.booleans())
    def snapshot(self, is_committed: bool) -> None:
        if self.desk.ring.is_broken and not self.desk.ring.skip_to(self.desk.row):
            return
        self.desk.step(SNAPSHOT, is_committed=is_committed)

    @rule(seconds=st.sampled_from([0.1, 1, 11, 31]))
    def work(self, seconds: float) -> None:
        self.desk.work(seconds)
        assert (self.desk.recorder.fault is None) or self.is_full
        self.desk.trim()

    @rule()
    def fill_or_free(self) -> None:
        self.is_full = not self.is_full

    @rule(torn=st.integers(0, 80))
    def die(self, torn: int) -> None:
        self.desk.die()
        paths = segment_paths(self.desk.segments)
        if torn and paths and Segment(paths[-1]).end() is None:
            with paths[-1].open("ab") as file:  # a frame that did not become whole
                file.write(segments._FRAME.pack(Kind.ROWS, 5_000, 0, 0)[:torn] + b"x" * max(0, torn - 20))
        self.desk.begin()

    @precondition(lambda self: not self.is_full)
    @rule()
    def end(self) -> None:
        assert self.desk.end()
        self.desk.check()
        self.desk.begin()

    def teardown(self) -> None:
        self.is_full = False
        if self.desk.ring.is_broken:
            self.desk.work(1)
        assert self.desk.end(), self.desk.recorder.fault
        self.desk.check()
        self.patch.undo()
        self.room.cleanup()


AnyLife.TestCase.settings = settings(max_examples=12, stateful_step_count=20)
TestAnyLife = AnyLife.TestCase


# --- real processes ------------------------------------------------------------------------------------------

KILLED = """
import sys
from pathlib import Path
from hands.journal import recorder
from hands.journal.recorder import Recorder
from hands.journal.ring import Ring, ring_path
from hands.journal.steps import SESSION, SNAPSHOT
from hands.journal.store import JournalStore
from tests.journal.market_rows import some_rows

recorder.PASS_S, recorder.BLOCK_ROWS, recorder.BATCH_STEPS, recorder.LOOK_NS = 0.001, 100, 20, 1_000_000
folder = Path(sys.argv[1])
store = JournalStore(folder / "journal.db")
session = seq = store.last_seq() + 1
(folder / "segments").mkdir(mode=0o700, exist_ok=True)
ring = Ring.create(ring_path(folder / "segments", session), session, 4096)
desk = Recorder(folder, store.path, store.keys, ring, session)
store.append(seq, 1, SESSION, b"head", 0)
store.commit()
desk.start()
rows, row = some_rows(1 << 16), 0
while row < 65_000:
    while not ring.offer(rows, 7, row):
        assert ring.head == row
        ring.is_broken = False
    row += 7
    if row % 3 == 0:
        seq += 1
        store.append(seq, seq, SNAPSHOT if seq % 50 == 0 else "Wake", b"%d" % row, row)
        store.commit()
        store.trim_steps(desk.moved_seq)
        sys.stdout.write(f"{seq} {row}\\n"); sys.stdout.flush()
"""


def test_sigkill_in_the_middle_of_everything_loses_nothing(tmp_path: Path, root: Path) -> None:
    chance = random.Random(7)
    told: dict[int, int] = {}
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(chance.randint(60, 400))]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
        process.wait()
        process.stdout.close()
        told |= {int(seq): int(row) for seq, row in (line.split() for line in lines if line.endswith("\n"))}
    with Desk(tmp_path) as desk:
        desk.work(1)
        assert desk.end()
        steps = desk.recorded()
        assert [step.seq for step in steps] == list(range(1, desk.seq + 1))
        assert {step.seq: step.row for step in steps if step.seq in told} == told
        last_row: dict[int, int] = {}
        for path in segment_paths(folder_of(tmp_path)):
            segment = Segment(path)
            at = segment.head.first_row
            for first, rows in segment.rows():
                assert first == at
                assert bits(rows) == bits(some_rows(len(rows), first))
                at += len(rows)
            last_row[segment.head.session] = at
            assert all(step.row <= at for step in segment.steps())
        assert len(last_row) == 4
        chain = Chain(chain_key(read_first_key(tmp_path / "first.key"), b"rows"))
        for path in segment_paths(folder_of(tmp_path)):
            check_seals(Segment(path), chain)
        fault = anchor_fault(
            anchors_path(tmp_path), Chain(chain_key(read_first_key(tmp_path / "first.key"), b"rows"))
        )
        assert fault is None
