"""The compiled looking: for a time, for a symbol's newest rows. (That no row is missed that matters: test_parity.)"""

from __future__ import annotations

import numpy as np
import pytest

from hands.core.rows import ROW, RowFlag, RowKind
from hands.core.units import round_to_tick
from hands.replay import reach
from tests.replay.markets import walk


@pytest.mark.parametrize("seed", range(4))
def test_the_newest_rows_are_those_a_plain_look_finds(seed: int) -> None:
    rows = walk(("A", "B", "C"), 90, seed, odd=0.4).all
    rows["sym"][::7] = 9  # no symbol of ours

    def is_one(row: np.void, kind: int) -> bool:
        if kind == 0:
            return bool(row["kind"] == RowKind.QUOTE)
        return bool(row["kind"] == RowKind.TRADE and row["flags"] & RowFlag.ELIGIBLE and row["price"] > 0)

    def plain(sym: int, kind: int, since: int, upto: int) -> int:
        found = [n for n in range(since, upto) if rows[n]["sym"] == sym and is_one(rows[n], kind)]
        return found[-1] if found else -1

    found = np.empty(2, np.int64)
    newest, numbers, scratch = (
        np.zeros((3, 2), ROW),
        np.full((3, 2), -1, np.int64),
        np.zeros((3, 2), np.uint8),
    )
    for since, upto in ((0, 90), (10, 11), (33, 33), (0, 1)):
        for sym in range(3):
            reach.latest(rows, since, upto, sym, found)
            assert found.tolist() == [plain(sym, kind, since, upto) for kind in (0, 1)]
    numbers[1, 0] = 10**6  # known from elsewhere to be newer
    reach.keep_newest(rows, 80, 1_000, newest, numbers, scratch)
    for sym in range(3):
        for kind in (0, 1):
            at = plain(sym, kind, 0, 80)
            if (sym, kind) == (1, 0):
                assert newest[sym, kind]["recv_ns"] == 0
            elif at >= 0:
                assert numbers[sym, kind] == 1_000 + at
                assert newest[sym, kind].tobytes() == rows[at].tobytes()


def test_a_time_is_found_as_numpy_finds_it() -> None:
    times = np.array([1, 3, 3, 3, 8, 9], np.int64)
    for start in range(6):
        for at_ns in range(11):
            expected = start + int(np.searchsorted(times[start:], at_ns))
            assert reach.first_at(times, start, at_ns) == expected


def test_amounts_are_rounded_as_the_engine_rounds_them() -> None:
    rng = np.random.default_rng(1)
    prices = [*rng.uniform(0, 1e5, 200), *np.round(rng.uniform(0, 1e5, 200), 2), 0.5e-9, 1.5e-9, 2.5e-9, 1e-9]
    for price in map(float, prices):
        assert reach._nano.py_func(price) == round_to_tick(price, 1)  # type: ignore[attr-defined]
    for price in (float("nan"), -1.0, 0.0, float("inf")):
        assert reach._nano.py_func(price) == 0  # type: ignore[attr-defined]
