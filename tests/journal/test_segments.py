"""Segments: what was written is read, what was torn is cut, what was changed shows, and a full disk changes nothing."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hands.journal import segments
from hands.journal.chain import NO_SEAL, SEAL_BYTES, Chain, chain_key
from hands.journal.leftovers import newer_step
from hands.journal.segments import (
    Kind,
    Segment,
    SegmentFault,
    SegmentWriter,
    segment_path,
    segment_paths,
    survey,
)
from hands.journal.steps import SESSION, Step
from tests.journal.market_rows import bits, some_rows
from tests.journal.seals import check_seals

KEY = chain_key(b"k" * 32, b"rows")
HEAD_BYTES = segments._HEAD.size + SEAL_BYTES
NOW_NS = 1_767_366_000_000_000_000


def steps(first: int, last: int) -> list[Step]:
    return [
        Step(n, NOW_NS + n, SESSION if n == first else "Wake", b"payload %d" % n, 10 * n, b"[]", 2, b"s" * 16)
        for n in range(first, last + 1)
    ]


def write(folder: Path, *, end: bool = True, chain: Chain | None = None, first: int = 5) -> Path:
    """Write a segment of five steps and two blocks of rows from row 100 on, and its end."""
    writer = SegmentWriter.create(folder, first, first, 100, NOW_NS, chain or Chain(KEY))
    writer.add_steps(steps(first, first + 2))
    writer.add_rows(100, some_rows(50, 100))
    writer.add_steps(steps(first + 3, first + 4))
    writer.add_rows(150, some_rows(30, 150))
    if end:
        writer.add_end(180, NOW_NS + 9)
    writer.close()
    return writer.path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert path == segment_path(tmp_path, 5) == tmp_path / "0000000000000005.seg"
    segment = Segment(path)
    assert (segment.head.session, segment.head.first_seq, segment.head.first_row) == (5, 5, 100)
    assert segment.head.began_ns == NOW_NS
    found = list(segment.steps())
    assert found == [*steps(5, 7), *steps(8, 9)]
    blocks = list(segment.rows())
    assert [first for first, _ in blocks] == [100, 150]
    assert b"".join(bits(rows) for _, rows in blocks) == bits(some_rows(80, 100))
    end = segment.end()
    assert end is not None
    assert (end.first, end.next, end.ended_ns) == (9, 180, NOW_NS + 9)


def test_rows_can_be_read_from_any_number_on(tmp_path: Path) -> None:
    segment = Segment(write(tmp_path))
    for from_row in (0, 100, 101, 149, 150, 179, 180, 999):
        rows = [row for _, rows in segment.rows(from_row) for row in rows["trade_id"].tolist()]
        assert rows == list(range(max(from_row, 100), 180))


def test_rows_behind_the_end_are_the_next_segments(tmp_path: Path) -> None:
    path = write(tmp_path, end=False)
    frames, fault, length = survey(path)
    assert fault is None
    writer = SegmentWriter.resume(path, Chain(KEY), frames, length)
    assert (writer.last_seq, writer.next_row) == (9, 180)
    writer.add_end(160, NOW_NS)
    writer.close()
    assert [row for _, rows in Segment(path).rows() for row in rows["trade_id"].tolist()] == list(
        range(100, 160)
    )


def test_numbers_are_read_without_bodies(tmp_path: Path) -> None:
    frames = list(Segment(write(tmp_path)).frames(with_bodies=False))
    assert [(f.kind, f.first, f.next, f.count) for f in frames] == [
        (Kind.STEPS, 5, 8, 3),
        (Kind.ROWS, 100, 150, 50),
        (Kind.STEPS, 8, 10, 2),
        (Kind.ROWS, 150, 180, 30),
        (Kind.END, 9, 180, 0),
    ]


def test_files_are_private_and_found_in_order(tmp_path: Path) -> None:
    chain = Chain(KEY)
    later, earlier = write(tmp_path, chain=chain, first=70), write(tmp_path, chain=chain, first=5)
    (tmp_path / "ring-5").touch()
    (tmp_path / "0000000000000009.seg.new").touch()
    (tmp_path / "notes.seg").touch()
    assert segment_paths(tmp_path) == [earlier, later]
    assert segment_paths(tmp_path / "absent") == []
    assert stat.S_IMODE(earlier.stat().st_mode) == 0o600


def test_an_end_is_only_found_where_there_is_one(tmp_path: Path) -> None:
    path = write(tmp_path, end=False)
    assert Segment(path).end() is None
    with path.open("ab") as file:
        file.write(bytes(60))
    assert Segment(path).end() is None


# --- torn and damaged ----------------------------------------------------------------------------------------


def _ends(path: Path) -> list[int]:
    return [frame.end for frame in Segment(path).frames()]


@settings(max_examples=60)
@given(cut=st.integers(0, 5_000))
def test_a_file_that_was_cut_anywhere_is_read_up_to_there(tmp_path_factory, cut: int) -> None:
    path = write(tmp_path_factory.mktemp("cut"))
    whole, data = _ends(path), path.read_bytes()
    cut %= len(data)
    path.write_bytes(data[:cut])
    if cut < HEAD_BYTES:
        with pytest.raises(SegmentFault, match="head is not complete"):
            survey(path)
        return
    frames, fault, length = survey(path)
    assert [frame.end for frame in frames] == [end for end in whole if end <= cut]
    assert length == max([end for end in whole if end <= cut], default=length)
    assert (fault is None) is (cut == length)
    assert fault is None or (fault.at, fault.is_torn) == (length, True)


def test_every_changed_byte_shows(tmp_path: Path) -> None:
    path = write(tmp_path)
    data = path.read_bytes()
    for at in range(0, len(data), 29):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])
        with pytest.raises(SegmentFault) as told:
            check_seals(Segment(path), Chain(KEY))
        assert told.value.at <= at


def test_damage_shows_without_any_key_but_a_change_with_its_checksum_only_with_one(tmp_path: Path) -> None:
    path = write(tmp_path)
    first = next(Segment(path).frames())
    data = bytearray(path.read_bytes())
    data[first.at + 30] ^= 1
    path.write_bytes(data)
    with pytest.raises(SegmentFault, match="checksum") as told:
        list(Segment(path).steps())
    assert (told.value.at, told.value.is_torn) == (first.at, False)

    path = write(tmp_path)
    forged = segments.SegmentWriter.create(tmp_path, 5, 5, 100, NOW_NS, Chain(b"x" * 32))
    forged.add_steps(steps(5, 6))
    forged.close()
    assert len(list(Segment(path).steps())) == 2, "it reads well"
    with pytest.raises(SegmentFault, match="seal"):
        check_seals(Segment(path), Chain(KEY))


def test_seals_go_on_over_files_and_epochs_and_a_missing_frame_shows(tmp_path: Path) -> None:
    chain = Chain(KEY)
    one = write(tmp_path, chain=chain)
    assert chain.ratchet()
    two = write(tmp_path, chain=chain, first=70)
    reader = Chain(KEY)
    assert check_seals(Segment(one), reader) == 6
    assert check_seals(Segment(two), reader) == 6
    assert reader.head == chain.head
    assert Segment(two).head.before != NO_SEAL
    with pytest.raises(ValueError, match="erased"):
        check_seals(Segment(one), reader)

    second = list(Segment(two).frames())[1]
    data = two.read_bytes()
    two.write_bytes(data[: second.at] + data[second.end :])
    assert survey(two)[1] is None, "each frame is whole"
    with pytest.raises(SegmentFault, match="seal"):
        check_seals(Segment(two), Chain(KEY))


def test_what_is_no_segment_is_told(tmp_path: Path) -> None:
    path = segment_path(tmp_path, 1)
    path.write_bytes(b"HANDSSG9" + bytes(100))
    with pytest.raises(SegmentFault, match="no segment of this version"):
        Segment(path)
    path.write_bytes(b"HANDS")
    with pytest.raises(SegmentFault, match="not complete"):
        Segment(path)


def test_a_frame_that_says_it_has_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path, end=False)
    with path.open("ab") as file:
        file.write(segments._FRAME.pack(Kind.ROWS, 2**31, 0, 0) + bytes(1000))
    with pytest.raises(SegmentFault, match="no frame"):
        list(Segment(path).frames())


# --- writing on ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [0, 1, 30, 200])
def test_a_torn_file_is_gone_on_with_and_its_seals_hold(tmp_path: Path, lost: int) -> None:
    path = write(tmp_path, end=False)
    os.truncate(path, path.stat().st_size - lost)
    frames, _, length = survey(path)
    last = frames[-1]
    writer = SegmentWriter.resume(path, Chain(KEY, last.epoch, last.seal), frames, length)
    assert path.stat().st_size == length == writer.length
    writer.add_rows(writer.next_row, some_rows(5, writer.next_row))
    writer.add_end(writer.next_row, NOW_NS)
    writer.close()
    assert writer.is_ended
    assert check_seals(Segment(path), Chain(KEY)) == len(frames) + 3
    numbers = np.concatenate([rows["trade_id"] for _, rows in Segment(path).rows()])
    assert np.array_equal(numbers, np.arange(100, writer.next_row))


def test_a_full_disk_leaves_the_file_as_it_was_and_the_same_can_be_tried_again(
    tmp_path: Path, monkeypatch
) -> None:
    chain = Chain(KEY)
    writer = SegmentWriter.create(tmp_path, 5, 5, 0, NOW_NS, chain)
    writer.add_steps(steps(5, 6))
    was, pwrite = chain.head, os.pwrite
    calls = []

    def full(handle: int, data: memoryview, at: int) -> int:
        calls.append(at)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(handle, data[: len(data) // 2], at)

    monkeypatch.setattr(segments.os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        writer.add_rows(0, some_rows(100))
    assert (chain.head, writer.next_row) == (was, 0)
    assert writer.path.stat().st_size > writer.length, "half of it is there"
    monkeypatch.setattr(segments.os, "pwrite", pwrite)
    writer.add_steps(steps(7, 7))
    writer.add_rows(0, some_rows(100))
    writer.close()
    assert writer.path.stat().st_size == writer.length
    assert check_seals(Segment(writer.path), Chain(KEY)) == 4


def test_a_segment_that_cannot_be_begun_is_not_there_and_the_chain_has_not_moved(
    tmp_path: Path, monkeypatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    chain = Chain(KEY)
    monkeypatch.setattr(segments.os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        SegmentWriter.create(tmp_path, 5, 5, 0, NOW_NS, chain)
    assert (list(tmp_path.iterdir()), chain.head) == ([], NO_SEAL)


def test_the_newest_step_is_found_where_it_is_newer(tmp_path: Path) -> None:
    assert newer_step(tmp_path, 0) is None
    chain = Chain(KEY)
    write(tmp_path, chain=chain)
    SegmentWriter.create(tmp_path, 5, 10, 180, NOW_NS, chain).close()
    step = newer_step(tmp_path, 8)
    assert step is not None
    assert (step.seq, step.epoch, step.seal) == (10, 2, b"s" * 16), "step 10 was committed, and nobody has it"
    assert newer_step(tmp_path, 9) == step
    assert newer_step(tmp_path, 10) is None


def test_a_damaged_last_frame_does_not_hide_the_steps_before_it(tmp_path: Path) -> None:
    writer = SegmentWriter.create(tmp_path, 1, 1, 0, NOW_NS, Chain(KEY))
    for seq in (1, 2, 3):
        writer.add_steps([Step(seq, NOW_NS, "wake", b"{}", 0, b"", 0, b"s" * 16)])
    writer.close()
    data = bytearray(writer.path.read_bytes())
    data[-SEAL_BYTES - 1] ^= 1
    writer.path.write_bytes(data)
    step = newer_step(tmp_path, 0)
    assert step is not None
    assert step.seq == 2
