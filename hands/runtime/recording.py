"""What of a session is recorded besides its events: the market's rows, and where the record can be taken up.

Owns the way of rows into the ring, the declared gap when it is full, and the recorder's life beside the engine's. May not
write steps itself: the sequencer does, since each has its place in one order. The one idea: a row is in the ring, which
outlives the process, before the kernel sees it; so whatever was decided can be decided again from what is on disk.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from hands.core.units import NS_PER_S
from hands.journal import ring as rings
from hands.journal.leftovers import make_folder
from hands.journal.recorder import Recorder
from hands.journal.retention import Keep
from hands.journal.segments import folder_of
from hands.journal.store import JournalStore
from hands.runtime.config import JournalSection

log = logging.getLogger("hands")

RING_ROWS: Final = rings.CAPACITY
RING_SHARE: Final = 1 / 8
"""A ring that would take more of the room that the disk has left stays in memory: it is then lost with the process."""

TRIMS_A_SECOND: Final = 32
"""Batches at most: 2 000 steps, more than an engine writes."""

MB: Final = 10**6


class Ring(Protocol):
    """Where rows wait for the recorder (`hands.journal.ring`)."""

    def offer(self, rows: np.ndarray, count: int) -> bool: ...
    def skip_to(self, row: int) -> bool: ...


class RowRecord:
    """Records rows. While `fault` is not None rows are lost, and nothing that is decided can be run again."""

    def __init__(self, ring: Ring) -> None:
        self.fault: str | None = None
        self.lost = 0
        self._ring = ring

    def take(self, rows: np.ndarray, count: int) -> bool:
        """Record rows[:count], which the kernel is about to consume; False where the record has just been broken off."""
        if self.fault is not None:
            self.lost += count
            return True
        if self._ring.offer(rows, count):
            return True
        self.lost += count
        self.fault = "the recorder does not keep up with the market: rows are not recorded"
        log.critical("%s", self.fault, extra={"code": "ROWS_LOST"})
        return False

    def heal(self, row: int) -> bool:
        """Go on recording with row number `row`, once all before the gap is safe; whether a snapshot is due, to go on from."""
        if self.fault is None or not self._ring.skip_to(row):
            return False
        log.warning("rows are recorded again; %d were lost", self.lost)
        self.fault, self.lost = None, 0
        return True


class Recording:
    """The record of one process life: `rows` for the sequencer, and the recorder behind it."""

    def __init__(self, state: Path, journal: JournalStore, settings: JournalSection) -> None:
        """The session begins with the journal's next step."""
        self._journal = journal
        self._settings = settings
        self._outgrown = self._lost = 0
        session = journal.last_seq() + 1
        ring = _ring_of(state, session)
        self.rows = RowRecord(ring)
        self.recorder = Recorder(
            state,
            journal.path,
            journal.keys,
            ring,
            session,
            is_durable=settings.durability == "disk",
            keep=Keep(days=settings.keep_days, gb=settings.keep_gb),
        )

    @property
    def fault(self) -> str | None:
        """What is wrong with the record, None where nothing is."""
        return self.rows.fault or self.recorder.fault

    def begin(self) -> None:
        """Let the recorder follow, once the session's first step is written."""
        self.recorder.start()

    def keep_house(self) -> bool:
        """Once a second: replace the key; whether it is time for a snapshot and a new segment."""
        recorder = self.recorder
        recorder.keep_steps_key(*self._journal.ratchet())
        if recorder.files_lost > self._lost:
            self._lost = recorder.files_lost
            return True
        began_ns = recorder.segment_began_ns
        if began_ns is None or recorder.segment_seq == self._outgrown:
            return False  # a snapshot is on its way to the recorder, whose disk may be full for hours
        is_old = abs(time.time_ns() - began_ns) > self._settings.segment_s * NS_PER_S
        is_due = is_old or recorder.segment_bytes > self._settings.segment_mb * MB
        if is_due:
            self._outgrown = recorder.segment_seq
        return is_due

    async def trim(self) -> None:
        """Once a second: remove from the journal what lies in segments, in batches that let an order go between.

        Raises JournalError.
        """
        journal = self._journal
        for _ in range(TRIMS_A_SECOND):
            if not journal.trim_steps(self.recorder.moved_seq) and not journal.pending:
                break
            await asyncio.sleep(0)

    def stop(self, timeout_s: float) -> bool:
        """Let the recorder take the rest; False where it could not: the next start does it."""
        self.recorder.keep_steps_key(*self._journal.ratchet())
        return self.recorder.stop(timeout_s)


def _ring_of(state: Path, session: int) -> rings.Ring:
    """Return the session's ring: in a file, or, where the disk is full or refuses, in memory."""
    folder = folder_of(state)
    try:
        make_folder(folder)
        found = os.statvfs(folder)
        if found.f_bavail * found.f_frsize * RING_SHARE > RING_ROWS * 64:
            return rings.Ring.create(rings.ring_path(folder, session), session, RING_ROWS)
        log.warning("%s: little room is left: rows on their way to it do not outlive the process", folder)
    except OSError as error:
        log.warning("%s: rows on their way to it do not outlive the process: %s", folder, error.strerror)
    return rings.Ring.create(None, session, RING_ROWS)
