"""Made-up rows for the tests of the record: like a market's, and like nothing that a market would send."""

from __future__ import annotations

import numpy as np

from hands.core.rows import ROW, RowKind, new_rows

BEGAN_NS = 1_767_366_000_000_000_000


def some_rows(count: int, first: int = 0) -> np.ndarray:
    """Return rows of three symbols, each one different: row `n` says in its trade id that it is `first` + n."""
    numbers = np.arange(first, first + count)
    rows = new_rows(count)
    rows["sym"], rows["kind"] = numbers % 3, np.where(numbers % 4, RowKind.QUOTE, RowKind.TRADE)
    rows["flags"], rows["exchange"] = rows["kind"] & 1, ord("V")
    rows["price"] = (15_000 + numbers % 7) / 100
    rows["price2"], rows["size2"] = (15_001 + numbers % 7) / 100, 100 * (numbers % 5)
    rows["size"] = numbers % 11 + 1
    rows["recv_ns"] = BEGAN_NS + numbers * 1_000_003
    rows["venue_ns"] = rows["recv_ns"] - 700_000 - numbers % 13
    rows["trade_id"] = numbers
    return rows


def bits(rows: np.ndarray) -> bytes:
    """Return rows as they lie in memory, the bytes between members included."""
    return np.ascontiguousarray(rows).tobytes()


def any_bits(count: int, seed: int) -> np.ndarray:
    """Return rows of random bits: NaN with payloads, denormals, -0.0, negative ids, bytes that no member covers."""
    return np.frombuffer(np.random.default_rng(seed).bytes(count * ROW.itemsize), ROW).copy()
