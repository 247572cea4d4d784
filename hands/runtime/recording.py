"""What of a session is recorded besides its events: the market's rows, and where the record can be taken up.

Owns the way of rows into the ring, and the declared gap when it is full. May not write to the journal itself: the
sequencer does, since every step has its place in one order. The one idea: a row is in the ring, which outlives the
process, before the kernel sees it; so whatever was decided can be decided again from what is on disk.
"""

from __future__ import annotations

import logging
from typing import Protocol

import numpy as np

log = logging.getLogger("hands")


class Ring(Protocol):
    """Where rows wait for the recorder (`hands.journal.ring`)."""

    def offer(self, rows: np.ndarray, count: int) -> bool: ...
    def skip_to(self, row: int) -> bool: ...


class RowRecord:
    """Records rows. While `fault` is not None rows are lost, and nothing that is decided can be run again."""

    def __init__(self, ring: Ring | None) -> None:
        """Without a ring, which the disk refused, nothing is recorded."""
        self.fault: str | None = None if ring is not None else "the market's rows are not recorded"
        self.lost = 0
        self._ring = ring

    def take(self, rows: np.ndarray, count: int) -> bool:
        """Record rows[:count], which the kernel is about to consume; False where the record has just been broken off."""
        if self.fault is not None:
            self.lost += count
            return True
        ring = self._ring
        assert ring is not None
        if ring.offer(rows, count):
            return True
        self.lost += count
        self.fault = "the recorder does not keep up with the market: rows are not recorded"
        log.critical("%s", self.fault, extra={"code": "ROWS_LOST"})
        return False

    def heal(self, row: int) -> bool:
        """Go on recording with row number `row`, once all before the gap is safe; whether a snapshot is due, to go on from."""
        ring = self._ring
        if self.fault is None or ring is None or not ring.skip_to(row):
            return False
        log.warning("rows are recorded again; %d were lost", self.lost)
        self.fault, self.lost = None, 0
        return True
