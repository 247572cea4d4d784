"""The ring: rows in order and whole, none lost by a full one without saying so, none by a SIGKILL."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hands.journal import ring as ring_module
from hands.journal.ring import Ring, RingFault, ring_path, session_of
from tests.journal.market_rows import any_bits, bits, some_rows


def test_what_is_taken_is_what_was_offered_to_the_bit(tmp_path: Path) -> None:
    ring, rows = Ring.create(tmp_path / "ring-7", 7, 100), any_bits(60, 1)
    assert ring.offer(rows, 60)
    first, taken = ring.take(1_000)
    assert (first, bits(taken)) == (0, bits(rows))
    assert (ring.session, ring.head, ring.tail, ring.lost) == (7, 60, 0, 0)


def test_a_part_of_a_buffer_can_be_offered_and_it_goes_round_the_end(tmp_path: Path) -> None:
    ring, rows = Ring.create(tmp_path / "ring-1", 1, 50), some_rows(90)
    assert ring.offer(rows, 40)
    ring.release(40)
    assert ring.offer(rows, 45, 42)
    first, taken = ring.take(100)
    assert (first, bits(taken)) == (40, bits(rows[42:87]))


def test_a_buffer_that_was_changed_between_two_frames_is_read_anew(tmp_path: Path) -> None:
    ring, rows = Ring.create(tmp_path / "ring-1", 1, 50), some_rows(5)
    ring.offer(rows, 5)
    rows["trade_id"] += 100
    ring.offer(rows, 5)
    assert ring.take(50)[1]["trade_id"].tolist() == [0, 1, 2, 3, 4, 100, 101, 102, 103, 104]


def test_a_full_ring_takes_nothing_more_until_it_is_told_where_it_goes_on(tmp_path: Path) -> None:
    ring, rows = Ring.create(tmp_path / "ring-1", 1, 10), some_rows(20)
    assert ring.offer(rows, 8)
    assert not ring.offer(rows, 3)
    assert not ring.offer(rows, 1), "its number would be wrong"
    assert (ring.lost, ring.is_broken) == (4, True)
    assert not ring.skip_to(12), "there is something left to be taken"
    ring.release(8)
    assert not ring.offer(rows, 1)
    assert ring.skip_to(13)
    assert ring.offer(rows, 2, 13)
    first, taken = ring.take(10)
    assert (first, taken["trade_id"].tolist()) == (13, [13, 14])
    with pytest.raises(ValueError, match="only grow"):
        ring.skip_to(14)


def test_more_than_a_ring_holds_is_refused_as_a_whole(tmp_path: Path) -> None:
    ring = Ring.create(tmp_path / "ring-1", 1, 10)
    assert not ring.offer(some_rows(11), 11)
    assert ring.take(10)[1].size == 0


def test_nothing_is_released_that_is_not_there(tmp_path: Path) -> None:
    ring = Ring.create(tmp_path / "ring-1", 1, 10)
    ring.offer(some_rows(3), 3)
    with pytest.raises(ValueError, match="4 of 3"):
        ring.release(4)


class AgainstAList(RuleBasedStateMachine):
    """A ring of a few rows against a list, through everything that both of its threads may do."""

    def __init__(self) -> None:
        super().__init__()
        self.ring, self.rows = Ring.create(None, 1, 16), some_rows(4_000)
        self.held: list[int] = []
        self.next, self.is_broken = 0, False

    @rule(count=st.integers(0, 20))
    def offer(self, count: int) -> None:
        fits = not self.is_broken and len(self.held) + count <= 16
        assert self.ring.offer(self.rows, count, self.next % 2_000) is fits
        if fits:
            self.held += range(self.next, self.next + count)
        self.is_broken = not fits
        self.next += count

    @rule(most=st.integers(0, 20), share=st.floats(0, 1))
    def take_and_release(self, most: int, share: float) -> None:
        first, taken = self.ring.take(most)
        expected = self.held[:most]
        assert [number % 2_000 for number in expected] == [
            n if n < 2_000 else n - 2_000 for n in taken["trade_id"].tolist()
        ]
        assert not expected or first == expected[0]
        count = int(share * len(taken))
        self.ring.release(count)
        del self.held[:count]

    @rule()
    def go_on(self) -> None:
        was_empty = not self.held
        assert self.ring.skip_to(self.next) is was_empty
        if was_empty:
            self.is_broken = False

    @invariant()
    def counts(self) -> None:
        assert self.ring.head - self.ring.tail == len(self.held)
        assert self.ring.is_broken == self.is_broken


AgainstAList.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestAgainstAList = AgainstAList.TestCase


# --- the file ------------------------------------------------------------------------------------------------


def test_room_is_made_ready_ahead_as_fast_as_rows_come_once_a_round_and_never_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring, rows, asked = Ring.create(tmp_path / "ring-1", 1, 1_000), some_rows(300), []
    monkeypatch.setattr(
        ring_module,
        "_populate",
        lambda base, start, end: asked.append(((start - 4096) / 64, (end - 4096) / 64)),
    )
    ring.make_ready()
    ring.make_ready()
    assert asked == [(0, 256)], "what is ready is not made ready again"
    for _ in range(3):
        assert ring.offer(rows, 300)
        ring.release(300)
        ring.make_ready()
    assert asked[1:] == [(300, 800), (800, 1_000), (0, 100), (100, 400)], (
        "up to half of the ring, round its end"
    )
    ring.offer(rows, 50)
    ring.release(50)
    ring.skip_to(1_750)
    ring.make_ready()
    assert asked[5:] == [(750, 1_000), (0, 250)], "a gap is gone over"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux makes pages ready")
def test_pages_that_are_ready_cost_the_writer_no_fault_and_keep_what_is_in_them(tmp_path: Path) -> None:
    if tuple(map(int, os.uname().release.split(".")[:2])) < (5, 14):
        pytest.skip("this system cannot")
    rows, faults = some_rows(6_400), {}
    for is_ready in (False, True):
        ring = Ring.create(tmp_path / "ring-1", 1, 12_800)
        ring.offer(rows, 1)
        if is_ready:
            ring_module._populate(ring._base, 4096, 4096 + 6_400 * 64)
        assert bits(ring.take(1)[1]) == bits(rows[:1])
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        ring.offer(rows, 6_300, 1)
        faults[is_ready] = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before
    assert faults[False] >= 90, "a page has room for 64 rows"
    assert faults[True] < 20


def test_the_file_is_private_and_its_room_is_taken_at_once(tmp_path: Path) -> None:
    path = ring_path(tmp_path, 41)
    Ring.create(path, 41, 1_000)
    found = path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_blocks * 512 >= 64_000
    assert session_of(path) == 41
    assert session_of(tmp_path / "ring-x") is session_of(tmp_path / "41") is None


def test_a_disk_without_room_is_told_and_leaves_no_file(tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        Ring.create(tmp_path / "ring-1", 1, 10)
    assert not list(tmp_path.iterdir())
    ring = Ring.create(None, 1, 10)
    assert ring.offer(some_rows(3), 3)
    ring.remove()


def test_a_ring_that_was_left_under_the_same_number_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "ring-5"
    Ring.create(path, 5, 10).offer(some_rows(3), 3)
    assert Ring.create(path, 5, 10).take(10)[1].size == 0


def test_a_dead_process_leaves_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "ring-5"
    ring = Ring.create(path, 5, 10)
    ring.offer(some_rows(8), 8)
    ring.release(3)
    left = Ring.recover(path)
    first, rows = left.take(100)
    assert (left.session, first, rows["trade_id"].tolist()) == (5, 3, [3, 4, 5, 6, 7])
    assert not left.offer(rows, 1), "nothing is added to a session that is over"
    left.remove()
    assert not path.exists()


def test_a_ring_of_another_start_of_the_machine_is_not_believed(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "ring-5"
    Ring.create(path, 5, 10).offer(some_rows(8), 8)
    monkeypatch.setattr(ring_module, "boot_number", lambda: 123)
    with pytest.raises(RingFault, match="another start of the machine"):
        Ring.recover(path)


@pytest.mark.parametrize("damage", ["short", "other", "grown", "overfull"])
def test_what_is_no_ring_is_told(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "ring-5"
    Ring.create(path, 5, 10)
    data = bytearray(path.read_bytes())
    if damage == "short":
        del data[100:]
    elif damage == "other":
        data[7:8] = b"2"
    elif damage == "grown":
        data += bytes(64)
    else:
        data[64:72] = (11).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(RingFault, match="ring-5"):
        Ring.recover(path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(bytes(10_000))
    (tmp_path / "ring-5").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        Ring.recover(tmp_path / "ring-5")


KILLED = """
import sys
from pathlib import Path
from hands.journal.ring import Ring
from tests.journal.market_rows import some_rows
ring, rows = Ring.create(Path(sys.argv[1]), 1, 1 << 16), some_rows(1 << 16)
while ring.head < 65_000:
    assert ring.offer(rows, 13, ring.head)
    if ring.head % 130 == 0:
        sys.stdout.write(f"{ring.head}\\n"); sys.stdout.flush()
"""


def test_sigkill_in_the_middle_of_offers_loses_no_row(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "ring-1"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(40)]
    process.send_signal(signal.SIGKILL)
    told += [int(line) for line in process.stdout.read().split()]
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    first, rows = Ring.recover(path).take(1 << 16)
    assert first == 0
    assert told[-1] <= len(rows) < 65_000
    assert bits(rows) == bits(some_rows(len(rows)))
    assert np.array_equal(rows["trade_id"], np.arange(len(rows)))
