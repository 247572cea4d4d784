"""Anchors: each bears its seal and names the one before it; a forged, dropped or torn line shows or is passed over."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest

from hands.journal import anchors
from hands.journal.anchors import Anchor, anchors_path, append, newest, read
from hands.journal.chain import Chain, chain_key
from tests.journal.seals import anchor_fault

KEY = chain_key(b"k" * 32, b"rows")


def anchor(number: int, before: str = "", segment: str = "a.seg") -> Anchor:
    return Anchor(
        at_ns=number, seq=number, step_epoch=0, step_seal="ab", segment=segment, length=10 * number, head="cd",
        next_row=number, epoch=0, before=before,
    )  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Ten anchors in three segments."""
    path, chain, before = anchors_path(tmp_path), Chain(KEY), ""
    for number in range(10):
        before = append(path, anchor(number, before, f"{number // 4}.seg"), chain).seal
    return path


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_what_was_appended_is_read_and_each_under_a_key_of_its_own(path: Path) -> None:
    found = list(read(path))
    assert [each.seq for each in found] == list(range(10))
    assert [each.epoch for each in found] == list(range(10))
    assert newest(path) == found[-1]
    assert anchor_fault(path, Chain(KEY)) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_where_there_are_none_nothing_is_wrong(tmp_path: Path) -> None:
    path = anchors_path(tmp_path)
    assert list(read(path)) == []
    assert newest(path) is None
    assert anchor_fault(path, Chain(KEY)) is None


@pytest.mark.parametrize("number", [0, 4, 9])
@pytest.mark.parametrize("member", ["at_ns", "seq", "length", "next_row", "head", "segment", "step_seal"])
def test_a_changed_line_shows(path: Path, number: int, member: str) -> None:
    found = lines(path)
    one = msgspec.json.decode(found[number], type=Anchor)
    was = getattr(one, member)
    found[number] = msgspec.json.encode(
        msgspec.structs.replace(one, **{member: was + 1 if isinstance(was, int) else "00"})
    )
    path.write_bytes(b"\n".join(line.rstrip() for line in found) + b"\n")
    assert anchor_fault(path, Chain(KEY)) == f"anchor {number + 1} does not bear its seal"


def test_a_line_that_is_missing_in_the_middle_shows(path: Path) -> None:
    found = lines(path)
    path.write_bytes(b"".join(found[:3] + found[4:]))
    assert anchor_fault(path, Chain(KEY)) == "anchor 4 does not follow the one before it"
    path.write_bytes(b"".join([found[5], *found[:5]]))
    assert anchor_fault(path, Chain(KEY)) == "anchor 2: epoch 0 after epoch 5"


def test_who_has_todays_key_cannot_make_yesterdays_line(path: Path) -> None:
    today = Chain(KEY)
    today.advance(10)
    found = lines(path)
    forged = msgspec.structs.replace(anchor(3, list(read(path))[2].seal), epoch=3)
    found[3] = (
        msgspec.json.encode(msgspec.structs.replace(forged, seal=forged.sealed_with(today.key))) + b"\n"
    )
    path.write_bytes(b"".join(found))
    assert anchor_fault(path, Chain(KEY)) == "anchor 4 does not bear its seal"


@pytest.mark.parametrize("left", [0, 1, 60])
def test_a_torn_line_is_passed_over_and_the_next_stands_by_itself(path: Path, left: int) -> None:
    found = lines(path)
    path.write_bytes(b"".join(found[:-1]) + found[-1][:left])
    last = newest(path)
    assert last is not None
    assert last.seq == 8
    chain = Chain(KEY)
    chain.advance(9)
    append(path, anchor(11, last.seal), chain)
    assert [each.seq for each in read(path)] == [*range(9), 11]
    assert anchor_fault(path, Chain(KEY)) is None


def test_a_full_file_makes_place_for_a_new_one_and_both_are_read(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(anchors, "FULL", path.stat().st_size)
    chain, last = Chain(KEY), list(read(path))[-1]
    chain.advance(10)
    one = append(path, anchor(10, last.seal), chain)
    append(path, anchor(11, one.seal), chain)
    assert len(lines(path)) == 2
    assert [each.seq for each in read(path)] == list(range(12))
    assert anchor_fault(path, Chain(KEY)) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.unlink()  # a death between the two steps of it
    last = newest(path)
    assert last is not None
    assert last.seq == 9


def test_two_files_are_kept_and_no_more(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(anchors, "FULL", 500)
    chain, last = Chain(KEY), list(read(path))[-1]
    chain.advance(10)
    for number in range(10, 20):
        last = append(path, anchor(number, last.seal), chain)
    found = [each.seq for each in read(path)]
    assert found == list(range(20 - len(found), 20))
    assert len(found) <= 6
    assert anchor_fault(path, Chain(KEY)) is None
    assert sorted(each.name for each in path.parent.iterdir()) == ["anchors", "anchors.1"]


def test_a_file_that_makes_place_while_it_is_read_is_read_to_its_end(path: Path, monkeypatch) -> None:
    chain, last = Chain(KEY), list(read(path))[-1]
    chain.advance(10)
    reader = read(path)
    assert next(reader).seq == 0
    monkeypatch.setattr(anchors, "FULL", 1)
    for number in (10, 11):  # what is read is `anchors.1` now, and then it is gone
        last = append(path, anchor(number, last.seal), chain)
    assert [each.seq for each in reader] == list(range(1, 10))


def test_a_line_that_is_not_even_text_is_passed_over(path: Path) -> None:
    last = list(read(path))[-1]
    with path.open("ab") as file:
        file.write(path.read_bytes().splitlines()[-1].replace(b'"before":"', b'"before":"\xff') + b"\n")
    assert newest(path) == last
    assert list(read(path))[-1] == last
