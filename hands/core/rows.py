"""Rows: one market event each, the only thing that moves the market.

Owns the row's layout and the making of rows that stand for something else. May not say what a row does (`kernel`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, IntFlag

import numpy as np

from hands.core.bars import Bar


class RowKind(IntEnum):
    TRADE = 1
    QUOTE = 2


class RowFlag(IntFlag):
    """What the trade's sale conditions let it update.

    ELIGIBLE: last, high, low, volume and indicators. VOLUME: volume, VWAP and count alone (implied by ELIGIBLE).
    """

    ELIGIBLE = 1
    VOLUME = 2


ROW = np.dtype(
    [
        ("sym", "i4"),
        ("kind", "u1"),
        ("flags", "u1"),
        ("exchange", "u1"),
        ("price", "f8"),
        ("size", "f8"),
        ("price2", "f8"),
        ("size2", "f8"),
        ("venue_ns", "i8"),
        ("recv_ns", "i8"),
        ("trade_id", "i8"),
    ],
    align=True,
)
"""One market event, 64 bytes: a trade (price, size) or a quote (bid price, size; ask price2, size2).

Trade ids are unique per symbol, day and exchange; `exchange` is its letter on the tape (`exchange_of`), 0 where it is not
known. The market itself does not look at either.
"""


def new_rows(capacity: int) -> np.ndarray:
    """Return `capacity` empty rows; shape (capacity,), dtype `ROW`."""
    return np.zeros(capacity, ROW)


def exchange_of(letter: str | None) -> int:
    """Return an exchange's letter as a row has it, 0 for anything else."""
    return ord(letter) if letter and len(letter) == 1 and letter.isascii() else 0


def time_passes(sym: int, venue_ns: int) -> np.ndarray:
    """Return a row that does nothing but let time pass."""
    rows = new_rows(1)
    rows["sym"], rows["kind"], rows["price"], rows["venue_ns"] = sym, RowKind.TRADE, 1.0, venue_ns
    return rows


def rows_of_bars(completed: Sequence[Bar], interval_ns: int) -> np.ndarray:
    """Return trades that make these bars: their four prices without volume, then the volume at its VWAP.

    Raises ValueError: bars out of order or not on the grid.
    """
    starts = [bar.start_ns for bar in completed]
    if any(start % interval_ns for start in starts) or sorted(set(starts)) != starts:
        raise ValueError(f"bars that do not follow each other on the grid of {interval_ns} ns")
    rows = new_rows(5 * len(completed))
    if completed:
        of_each = rows.reshape(-1, 5)
        rows["kind"] = RowKind.TRADE
        of_each["flags"] = [RowFlag.ELIGIBLE] * 4 + [RowFlag.VOLUME]
        of_each["venue_ns"] = [[bar.start_ns] for bar in completed]
        of_each["price"] = [(bar.open, bar.high, bar.low, bar.close, bar.vwap) for bar in completed]
        of_each["size"][:, 4] = [bar.volume for bar in completed]
    return rows
