"""Bars: when they close, what late and ineligible trades do to them, and a real session against a plain grouping."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hands.core.bars import KEPT, Bar
from hands.core.market import Market, RowFlag, RowKind, new_rows

S = 10**9
MINUTE = 60 * S


def trades(*specs: tuple[int, float, float]) -> np.ndarray:
    """Return eligible trades given by (venue_ns, price, size)."""
    rows = new_rows(len(specs))
    rows["kind"] = RowKind.TRADE
    rows["flags"] = RowFlag.ELIGIBLE
    for row, (venue_ns, price, size) in zip(rows, specs, strict=True):
        row["venue_ns"], row["price"], row["size"] = venue_ns, price, size
    return rows


def after(rows: np.ndarray, intervals_s: Sequence[int] = (60,)) -> Market:
    market = Market(("X",), intervals_s)
    assert market.consume(rows, 0, len(rows)) == len(rows)
    return market


def test_a_bar_has_the_open_high_low_close_volume_count_and_vwap_of_its_trades() -> None:
    market = after(trades((0, 10, 1), (S, 12, 2), (2 * S, 9, 3), (59 * S, 11, 4), (MINUTE, 20, 5)))
    assert market.bars(0, 60, 9) == [Bar(0, 10, 12, 9, 11, 10, (10 + 24 + 27 + 44) / 10, 4)]
    assert market.forming(0, 60) == Bar(MINUTE, 20, 20, 20, 20, 5, 20, 1)


def test_a_bar_is_aligned_to_exchange_time_and_not_to_its_first_trade() -> None:
    start = 1_700_000_000 * S  # 20 s into a minute
    market = after(trades((start, 10, 1), (start + 39 * S, 11, 1), (start + 40 * S, 12, 1)))
    assert [bar.start_ns for bar in market.bars(0, 60, 9)] == [start - 20 * S]
    assert market.forming(0, 60).start_ns == start + 40 * S


def test_a_silent_interval_makes_no_bar() -> None:
    market = after(trades((0, 10, 1), (5 * MINUTE, 11, 1), (7 * MINUTE, 12, 1)))
    assert [bar.start_ns for bar in market.bars(0, 60, 9)] == [0, 5 * MINUTE]


@pytest.mark.parametrize("kind", ["quote", "ineligible trade"])
def test_any_row_of_a_later_interval_closes_the_bar(kind: str) -> None:
    rows = trades((0, 10, 1), (MINUTE, 99, 1))
    if kind == "quote":
        rows["kind"][1] = RowKind.QUOTE
    rows["flags"][1] = 0
    market = after(rows)
    assert market.bars(0, 60, 9) == [Bar(0, 10, 10, 10, 10, 1, 10, 1)]
    assert market.forming(0, 60) is None


def test_another_symbols_row_closes_nothing() -> None:
    rows = trades((0, 10, 1), (MINUTE, 99, 1))
    rows["sym"][1] = 1
    market = Market(("X", "Y"), (60,))
    market.consume(rows, 0, 2)
    assert market.bars(0, 60, 9) == []
    assert market.forming(0, 60) is not None


def test_a_row_that_is_ignored_closes_nothing() -> None:
    market = after(trades((0, 10, 1), (MINUTE, math.nan, 1)))
    assert market.bars(0, 60, 9) == []


def test_a_trade_of_a_closed_interval_changes_no_bar_but_counts_in_the_session() -> None:
    on_time = trades((0, 10, 1), (MINUTE, 20, 1))
    market = after(on_time)
    before = market.bars(0, 60, 9), market.forming(0, 60)
    late = trades((MINUTE - 1, 500, 2))
    market.consume(late, 0, 1)
    assert (market.bars(0, 60, 9), market.forming(0, 60)) == before
    assert market.indicators(0).volume == 4
    assert market.indicators(0).vwap == (10 + 20 + 1000) / 4


def test_a_late_trade_counts_in_the_longer_bar_that_is_still_open() -> None:
    market = after(trades((0, 10, 1), (MINUTE, 20, 1), (MINUTE - 1, 30, 2)), (60, 300))
    assert market.forming(0, 300) == Bar(0, 10, 30, 10, 30, 4, 22.5, 3)


def test_a_trade_out_of_sequence_moves_high_low_and_volume_but_not_the_close() -> None:
    market = after(trades((0, 10, 1), (30 * S, 20, 1), (28 * S, 5, 2)))
    assert market.forming(0, 60) == Bar(0, 10, 20, 5, 20, 4, 10, 3)


def test_trades_of_size_zero_have_their_close_as_vwap() -> None:
    assert after(trades((0, 10, 0), (1, 11, 0))).forming(0, 60) == Bar(0, 10, 11, 10, 11, 0, 11, 2)


def test_the_ring_keeps_the_newest_and_returns_them_oldest_first() -> None:
    market = after(trades(*[(i * MINUTE, 1 + i, 1) for i in range(KEPT + 40)]))
    kept = market.bars(0, 60, 10**6)
    assert [bar.start_ns for bar in kept] == [i * MINUTE for i in range(39, KEPT + 39)]
    assert market.bars(0, 60, 3) == kept[-3:]
    assert market.bars(0, 60, 0) == []


def test_asking_for_an_interval_that_is_not_kept_names_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"no bars of 30 s; there are \(60, 300\)"):
        Market(("X",)).bars(0, 30, 1)


def test_the_days_volume_is_unknown_until_a_day_was_seen_and_then_rolls() -> None:
    hours = [(i * 60 * MINUTE, 10.0, 1.0) for i in range(30)]
    day = [after(trades(*hours[:n]), (60, 300)).indicators(0).volume_24h for n in range(1, 31)]
    # At hour n the last 24 h end with the five minutes in progress, so hour n - 24 is just outside.
    assert day[:24] == [None] * 24
    assert day[24:] == [24.0] * 6


def test_the_days_volume_ends_with_the_interval_in_progress() -> None:
    day = 24 * 60 * MINUTE
    market = after(trades((0, 10, 1), (5 * MINUTE - 1, 10, 2), (5 * MINUTE, 10, 4), (day, 10, 8)), (60, 300))
    assert market.indicators(0).volume_24h == 12


def test_no_interval_long_enough_means_no_days_volume() -> None:
    market = after(trades((0, 10, 1), (2 * 24 * 60 * MINUTE, 10, 1)))
    assert market.indicators(0).volume_24h is None


@pytest.mark.data
def test_a_real_session_gives_the_bars_of_a_plain_grouping(data_dir: Path) -> None:
    times, prices, sizes = read_trades(data_dir / "equity/ticks/BAC_20131008_trades.csv.gz")
    assert (np.diff(times) >= 0).all()
    rows = trades(*[(0, 1, 1)] * len(times))
    rows["venue_ns"], rows["price"], rows["size"] = times, prices, sizes
    market = after(rows, (60, 300))
    for interval_s in (60, 300):
        starts = times // (interval_s * S) * (interval_s * S)
        expected = [
            grouped(start, prices[starts == start], sizes[starts == start]) for start in np.unique(starts)
        ]
        found = [*market.bars(0, interval_s, KEPT), market.forming(0, interval_s)]
        for bar, reference in zip(found, expected[-len(found) :], strict=True):
            assert (bar.start_ns, bar.open, bar.high, bar.low, bar.close, bar.trades) == reference[:6]
            assert (bar.volume, bar.vwap) == pytest.approx(reference[6:], rel=1e-9)
    session = market.indicators(0)
    volume = math.fsum(sizes)
    assert session.volume == volume
    assert session.vwap == pytest.approx(math.fsum(prices * sizes) / volume, rel=1e-12)


def grouped(start: int, prices: np.ndarray, sizes: np.ndarray) -> tuple[float, ...]:
    volume = math.fsum(sizes)
    ends = prices[0], prices.max(), prices.min(), prices[-1]
    return int(start), *ends, len(prices), volume, math.fsum(prices * sizes) / volume


def read_trades(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (venue_ns, price, size) of the session's unsuspicious trades."""
    with gzip.open(path, "rt", newline="") as file:
        kept = [row for row in csv.DictReader(file) if row["suspicious"] == "0"]
    times = np.array([int(row["ts_ms_utc"]) for row in kept]) * 10**6
    return (
        times,
        np.array([float(row["price"]) for row in kept]),
        np.array([float(row["size"]) for row in kept]),
    )
