"""When the record is turned over: one snapshot for each segment that is too large or too old, and one after a gap."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hands.core.units import NS_PER_S
from hands.journal import segments, store
from hands.journal.ring import Ring
from hands.journal.steps import SESSION, SNAPSHOT
from hands.journal.store import JournalStore
from hands.runtime.config import JournalSection
from hands.runtime.recording import Recording, RowRecord
from tests.journal.market_rows import some_rows


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalStore]:
    store = JournalStore(tmp_path / "journal.db")
    yield store
    store.close()


def recording_of(tmp_path: Path, journal: JournalStore, *, mb: float = 64, s: float = 3600) -> Recording:
    """Return a recording whose session has begun; its recorder is driven by hand."""
    settings = JournalSection(durability="os", segment_mb=mb, segment_s=s, keep_days=1, keep_gb=1)
    recording = Recording(tmp_path, journal, settings)
    step(journal, SESSION)
    work(recording)
    return recording


def step(journal: JournalStore, kind: str) -> None:
    journal.append(journal.last_seq() + 1, 1, kind, b"head")
    journal.commit()


def work(recording: Recording, after_s: int = 0) -> None:
    while recording.recorder.work_once(time.time_ns() + after_s * NS_PER_S):
        pass


def test_a_segment_that_is_too_large_asks_for_one_snapshot(tmp_path: Path, journal: JournalStore) -> None:
    recording = recording_of(tmp_path, journal, mb=0.00001)
    assert recording.keep_house()
    assert not recording.keep_house(), "it is on its way"
    step(journal, SNAPSHOT)
    work(recording, 2)
    assert recording.recorder.segment_seq == 2
    assert recording.keep_house()
    assert recording.recorder.finish(time.time_ns())


def test_one_that_is_too_old_too_and_a_full_disk_does_not_make_it_ask_every_second(
    tmp_path: Path, journal: JournalStore, monkeypatch
) -> None:
    recording = recording_of(tmp_path, journal, s=60)
    assert not recording.keep_house()
    later_ns = time.time_ns() + 61 * NS_PER_S
    monkeypatch.setattr(time, "time_ns", lambda: later_ns)
    assert recording.keep_house()
    step(journal, SNAPSHOT)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(segments.os, "pwrite", full)
    work(recording, 2)
    assert recording.fault == "segments/: No space left on device"
    assert not any(recording.keep_house() for _ in range(5))
    assert not recording.recorder.finish(time.time_ns())


def test_steps_are_trimmed_in_batches_and_what_comes_meanwhile_goes_between(
    tmp_path: Path, journal: JournalStore
) -> None:
    recording = recording_of(tmp_path, journal)
    for _ in range(3 * store.TRIM_STEPS):
        step(journal, "wake")
    work(recording, 20)
    kept: list[int] = []

    async def look() -> None:
        while True:
            kept.append(sum(1 for _ in journal.steps()))
            if len(kept) == 2:  # the batch after it waits for the commit
                journal.append(journal.last_seq() + 1, 1, "wake", b"{}")
                asyncio.get_running_loop().call_soon(journal.commit)
            await asyncio.sleep(0)

    async def trim() -> None:
        looking = asyncio.ensure_future(look())
        await recording.trim()
        looking.cancel()

    asyncio.run(trim())
    left = [step.seq for step in journal.steps()]
    assert left == [recording.recorder.moved_seq + 1]
    assert len(set(kept)) >= 3, kept
    assert recording.recorder.finish(time.time_ns())


def test_rows_that_the_ring_refuses_are_a_gap_until_all_before_it_is_taken() -> None:
    ring, rows = Ring.create(None, 1, 10), some_rows(20)
    record = RowRecord(ring)
    assert record.take(rows, 8)
    assert not record.take(rows, 5), "it has just been broken off"
    assert record.take(rows, 1), "which is said once"
    assert record.fault is not None
    assert record.lost == 6
    assert not record.heal(14)
    ring.release(8)
    assert record.heal(14)
    assert record.fault is None
    assert record.take(rows, 3)
    assert ring.take(10)[0] == 14


def test_a_segment_that_was_taken_away_asks_for_one_snapshot(tmp_path: Path, journal: JournalStore) -> None:
    recording = recording_of(tmp_path, journal)
    shutil.rmtree(segments.folder_of(tmp_path))
    work(recording, 2)
    assert recording.keep_house()
    assert not recording.keep_house()
    assert recording.recorder.finish(time.time_ns())
