"""How long segments stay: by age and by size, the oldest first, and never the newest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hands.journal.chain import Chain
from hands.journal.retention import DAY_NS, Keep, began_ns, remove, too_old
from hands.journal.segments import SegmentWriter, segment_paths
from tests.journal.market_rows import BEGAN_NS

NOW_NS = BEGAN_NS + 10 * DAY_NS
FOR_EVER = 10_000.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten segments of a million bytes, one a day, the newest of an hour ago."""
    chain = Chain(b"k" * 32)
    for day in range(10):
        began = NOW_NS - (9 - day) * DAY_NS - DAY_NS // 24
        writer = SegmentWriter.create(tmp_path, 1, 100 + day, 0, began, chain)
        writer.close()
        os.truncate(writer.path, 1_000_000)
    return tmp_path


def days(folder: Path, keep: Keep, now_ns: int = NOW_NS) -> list[int]:
    return [int(old.path.stem) - 100 for old in too_old(folder, keep, now_ns)]


@pytest.mark.parametrize(
    ("keep", "gone"),
    [
        (Keep(FOR_EVER, 1), []),
        (Keep(3, 1), [0, 1, 2, 3, 4, 5]),
        (Keep(0.01, 1), [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (Keep(FOR_EVER, 0.005), [0, 1, 2, 3, 4]),
        (Keep(FOR_EVER, 0.0045), [0, 1, 2, 3, 4, 5]),
        (Keep(FOR_EVER, 0), [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (Keep(3, 0.003), [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_what_is_too_old_or_too_much_goes(folder: Path, keep: Keep, gone: list[int]) -> None:
    assert days(folder, keep) == gone
    assert remove(too_old(folder, keep, NOW_NS)) == 1_000_000 * len(gone)
    assert [int(path.stem) - 100 for path in segment_paths(folder)] == [n for n in range(10) if n not in gone]
    assert too_old(folder, keep, NOW_NS) == []


def test_the_newest_stays_however_old_and_large_it_is(folder: Path) -> None:
    assert days(folder, Keep(0.001, 0), NOW_NS + 9_999 * DAY_NS) == list(range(9))


def test_why_and_since_when_is_told(folder: Path) -> None:
    one, *_, last = too_old(folder, Keep(3, 0.003), NOW_NS)
    assert (one.why, one.size) == ("older than 3 days", 1_000_000)
    assert one.used_ns == began_ns(segment_paths(folder)[1])
    assert last.why == "all together are more than 0.003 GB"


def test_an_empty_folder_has_nothing_to_remove(tmp_path: Path) -> None:
    assert too_old(tmp_path / "absent", Keep(1, 1), NOW_NS) == []


def test_two_may_remove_the_same(folder: Path) -> None:
    old = too_old(folder, Keep(3, 1), NOW_NS)
    old[0].path.unlink()
    assert remove(old) == 6_000_000


def test_a_segment_with_a_broken_head_does_not_keep_the_others(folder: Path) -> None:
    path = segment_paths(folder)[4]
    path.write_bytes(bytes(1_000_000))
    os.utime(path, ns=(NOW_NS - 5 * DAY_NS, NOW_NS - 5 * DAY_NS))
    path = segment_paths(folder)[3]
    os.utime(path, ns=(NOW_NS - 5 * DAY_NS, NOW_NS - 5 * DAY_NS))
    assert began_ns(segment_paths(folder)[4]) is None
    assert days(folder, Keep(3, 1)) == [0, 1, 2, 3, 4, 5]
