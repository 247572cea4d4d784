"""The whole record, wherever it lies: beside a daemon that writes, after a death, with gaps, with damage."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from hands.journal.following import Rows, newest_session, steps, stretch, stretches
from hands.journal.ring import ring_path
from hands.journal.segments import Segment, SegmentFault, segment_paths
from hands.journal.steps import SNAPSHOT
from tests.journal.market_rows import bits, some_rows
from tests.journal.record_desk import Desk, last_file


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Desk(tmp_path) as desk:
        yield desk


def read(rows: Rows) -> list[int]:
    """Return the numbers of what is read, each compared with what was offered under that number."""
    found: list[int] = []
    for first, some in rows.read():
        assert bits(some) == bits(some_rows(len(some), first))
        found += range(first, first + len(some))
    return found


def test_steps_are_found_wherever_they_lie(desk: Desk) -> None:
    for _ in range(12):
        desk.step()
    desk.late()
    desk.trim()
    desk.step(SNAPSHOT)
    desk.work(1)
    desk.step()
    assert list(steps(desk.folder)) == desk.committed
    for from_seq in (1, 2, 13, 14, 15, 16):
        assert [step.seq for step in steps(desk.folder, from_seq)] == list(range(from_seq, 16))
    desk.die()
    assert list(steps(desk.folder)) == desk.committed
    desk.begin()


def test_rows_are_read_as_they_come_and_in_whatever_place_they_are(tmp_path: Path) -> None:
    chance = random.Random(3)
    with Desk(tmp_path) as desk:
        desk.work()
        behind, close = Rows(tmp_path, 1), Rows(tmp_path, 1)
        slowly: list[int] = []
        closely: list[int] = []
        for _ in range(300):
            match chance.randrange(7):
                case 0 | 1 | 2:
                    desk.offer(chance.randint(1, 40))
                case 3:
                    desk.step(SNAPSHOT if chance.random() < 0.3 else "Wake")
                case 4 | 5:
                    desk.work(chance.choice([0.1, 1, 40]))
                case 6 if chance.random() < 0.3:
                    slowly += read(behind)
            if desk.ring.is_broken:
                desk.work(1)
                assert desk.ring.skip_to(desk.row)
                desk.step(SNAPSHOT)
            closely += read(close)
        assert desk.end()
        assert closely + read(close) == slowly + read(behind) == desk.rows[1] == read(Rows(tmp_path, 1))
        assert len(desk.rows[1]) > 2_000


def test_rows_of_a_dead_session_are_read_out_of_its_ring(desk: Desk) -> None:
    desk.offer(100)
    desk.work(1)
    desk.offer(50)
    desk.die()
    assert read(Rows(desk.folder, 1)) == list(range(150))
    assert read(Rows(desk.folder, 1, 120)) == list(range(120, 150))
    desk.begin()
    desk.offer(5)
    desk.work(1)
    assert read(Rows(desk.folder, 1, 130)) == list(range(130, 150))
    assert newest_session(desk.folder) == desk.session
    assert read(Rows(desk.folder, desk.session)) == [0, 1, 2, 3, 4]


def test_a_gap_shows_in_the_numbers(desk: Desk) -> None:
    desk.offer(250)
    assert not desk.offer(50)
    desk.work(1)
    assert desk.ring.skip_to(desk.row)
    desk.step(SNAPSHOT)
    desk.offer(10)
    rows = Rows(desk.folder, 1)
    assert read(rows) == [*range(250), *range(300, 310)]
    desk.offer(2)
    assert read(rows) == [310, 311]


def test_what_a_segment_has_is_told_from_its_frames_alone(desk: Desk) -> None:
    desk.offer(100)
    desk.step()
    desk.work(1)
    desk.offer(20)
    desk.step(SNAPSHOT)
    desk.work(1)
    desk.offer(10)
    desk.late()
    one, two = stretches(desk.folder)
    assert (one.session, one.first_seq, one.last_seq, one.steps) == (1, 1, 2, 2)
    assert (one.first_row, one.next_row, one.rows, one.lost) == (0, 120, 120, 0)
    assert one.ended_ns is not None
    assert (two.first_seq, two.rows, two.ended_ns, two.fault) == (3, 10, None, None)
    assert two.size == last_file(desk).length


def test_rows_that_are_not_there_are_counted(desk: Desk) -> None:
    desk.offer(250)
    assert not desk.offer(50)
    desk.work(1)
    assert desk.ring.skip_to(desk.row)
    desk.offer(10)
    desk.late()
    (only,) = stretches(desk.folder)
    assert (only.rows, only.lost, only.next_row) == (260, 50, 310)


def test_a_torn_tail_is_no_fault_and_damage_is_one(desk: Desk) -> None:
    desk.step()
    desk.offer(30)
    desk.late()
    path = last_file(desk).path
    data = path.read_bytes()
    path.write_bytes(data[:-5])
    assert stretch(path).fault is None
    assert [step.seq for step in steps(desk.folder)] == [1, 2]
    frame = next(Segment(path).frames())
    path.write_bytes(data[: frame.at] + b"\x09" + data[frame.at + 1 :])
    assert "no frame" in (stretch(path).fault or "")
    with pytest.raises(SegmentFault, match="no frame"):
        list(steps(desk.folder))
    ring_path(desk.segments, 1).unlink()
    with pytest.raises(SegmentFault, match="no frame"):
        read(Rows(desk.folder, 1))
    path.write_bytes(data)


def test_nothing_is_nothing(tmp_path: Path) -> None:
    assert stretches(tmp_path) == []
    assert list(steps(tmp_path)) == []
    assert newest_session(tmp_path) is None
    assert read(Rows(tmp_path, 1)) == []
    assert segment_paths(tmp_path) == []
