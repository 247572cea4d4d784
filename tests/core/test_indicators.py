"""RSI, MACD and the compensated sum against whole-series computations that share nothing with the kernel."""

from __future__ import annotations

import csv
import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from hands.core import indicators
from hands.core.indicators import SUM, Indicators
from hands.core.market import Market, RowFlag, RowKind, new_rows

RELATIVE = 1e-9


def tick_rows(prices: np.ndarray) -> np.ndarray:
    rows = new_rows(len(prices))
    rows["kind"] = RowKind.TRADE
    rows["flags"] = RowFlag.ELIGIBLE
    rows["price"] = prices
    rows["size"] = 1
    rows["venue_ns"] = np.arange(len(prices))
    return rows


def on_ticks(prices: np.ndarray, at: list[int] | None = None) -> list[Indicators]:
    """Return the indicators after each price (or after those at the indices `at`)."""
    market, rows, seen = Market(("X",)), tick_rows(prices), []
    begin = 0
    for end in range(len(prices)) if at is None else at:
        market.consume(rows, begin, end + 1)
        begin = end + 1
        seen.append(market.indicators(0))
    return seen


def wilder_weights(n: int) -> np.ndarray:
    """Return the weight of each of `n` changes in Wilder's average: unrolled, the first 14 count alike."""
    weights = np.empty(n)
    weights[:14] = (13 / 14) ** (n - 14) / 14
    weights[14:] = (13 / 14) ** np.arange(n - 15, -1, -1) / 14
    return weights


def reference_rsi(prices: np.ndarray) -> float | None:
    changes = np.diff(prices)
    if len(changes) < 14 or not changes.any():
        return None
    weights = wilder_weights(len(changes))
    gain = weights @ np.clip(changes, 0, None)
    loss = weights @ np.clip(-changes, 0, None)
    return float(100 - 100 / (1 + gain / loss)) if loss else 100.0


def reference_ema(values: np.ndarray, period: int) -> np.ndarray:
    """Return the averages from the end of the first period on, each from its unrolled weights."""
    k = 2 / (period + 1)
    averages = []
    for n in range(period, len(values) + 1):
        weights = np.empty(n)
        weights[:period] = (1 - k) ** (n - period) / period
        weights[period:] = k * (1 - k) ** np.arange(n - period - 1, -1, -1)
        averages.append(weights @ values[:n])
    return np.array(averages)


def reference_macd(prices: np.ndarray) -> tuple[float | None, float | None]:
    if len(prices) < 26:
        return None, None
    line = reference_ema(prices[14:], 12) - reference_ema(prices, 26)
    return float(line[-1]), float(reference_ema(line, 9)[-1]) if len(line) >= 9 else None


def agrees(found: float | None, expected: float | None, scale: float) -> bool:
    if found is None or expected is None:
        return found is expected
    return math.isclose(found, expected, rel_tol=RELATIVE, abs_tol=RELATIVE * scale)


def assert_as_reference(prices: np.ndarray, found: Indicators) -> None:
    scale = float(np.abs(prices).max()) * 1e-3
    macd, signal = reference_macd(prices)
    assert agrees(found.tick_rsi_14, reference_rsi(prices), 1.0)
    assert agrees(found.tick_macd, macd, scale)
    assert agrees(found.tick_macd_signal, signal, scale)
    hist = None if macd is None or signal is None else macd - signal
    assert agrees(found.tick_macd_hist, hist, scale)


def test_every_value_of_a_random_walk_is_the_reference() -> None:
    prices = 100 + np.cumsum(np.random.default_rng(1).normal(0, 0.3, 120))
    for n, found in enumerate(on_ticks(prices), start=1):
        assert_as_reference(prices[:n], found)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=60))
def test_any_prices_give_the_reference(cents: list[int]) -> None:
    prices = np.array(cents) / 100
    assert_as_reference(prices, on_ticks(prices, [len(prices) - 1])[0])


def test_each_value_appears_at_its_own_length_and_not_before() -> None:
    found = on_ticks(np.arange(1.0, 41.0) ** 1.5)
    assert [i.tick_rsi_14 is not None for i in found].index(True) == 14
    assert [i.tick_macd is not None for i in found].index(True) == 25
    assert [i.tick_macd_signal is not None for i in found].index(True) == 33
    assert [i.tick_macd_hist is not None for i in found].index(True) == 33


def test_only_gains_is_100_and_only_losses_is_0() -> None:
    assert on_ticks(np.arange(1.0, 21.0))[-1].tick_rsi_14 == 100.0
    assert on_ticks(np.arange(40.0, 20.0, -1.0))[-1].tick_rsi_14 == 0.0


def test_a_price_that_never_moved_has_no_rsi() -> None:
    assert on_ticks(np.full(50, 7.0))[-1].tick_rsi_14 is None


def test_the_published_wilder_example() -> None:
    """The first 15 closes of StockCharts' RSI article, in cents; from unrounded ones the article has 70.53."""
    closes = [
        44.34,
        44.09,
        44.15,
        43.61,
        44.33,
        44.83,
        45.10,
        45.42,
        45.84,
        46.08,
        45.89,
        46.03,
        45.61,
        46.28,
        46.28,
    ]
    assert on_ticks(np.array(closes))[-1].tick_rsi_14 == pytest.approx(70.464, abs=0.001)


def test_the_bars_indicators_are_those_of_their_closes() -> None:
    closes = 50 + np.cumsum(np.random.default_rng(2).normal(0, 0.2, 90))
    rows = tick_rows(closes)
    rows["venue_ns"] = np.arange(len(closes)) * 60 * 10**9
    market = Market(("X",), (60, 300))
    market.consume(rows, 0, len(rows))
    minutes = market.indicators(0)
    assert agrees(minutes.rsi_14, reference_rsi(closes[:-1]), 1.0)  # the last minute is still open
    assert agrees(minutes.macd_signal, reference_macd(closes[:-1])[1], 0.05)
    fives = market.indicators(0, 300)
    assert agrees(fives.rsi_14, reference_rsi(closes[4:-1:5]), 1.0)
    assert fives.macd is None
    assert fives.tick_macd == minutes.tick_macd


@pytest.mark.data
def test_a_session_of_real_ticks_gives_the_reference(data_dir: Path) -> None:
    prices = read_prices(data_dir / "equity/ticks/BAC_20131008_trades.csv.gz", "price", 30_000)
    at = [14, 25, 33, 500, 2_999]
    for end, found in zip(at, on_ticks(prices, at), strict=True):
        assert_as_reference(prices[: end + 1], found)
    last = on_ticks(prices, [len(prices) - 1])[0]
    tail = prices[-1200:]  # weights older than this are below 1e-38 (Wilder) and 1e-40 (EMA 26)
    assert agrees(last.tick_rsi_14, reference_rsi(tail), 1.0)
    macd, signal = reference_macd(tail)
    assert agrees(last.tick_macd, macd, 0.01)
    assert agrees(last.tick_macd_signal, signal, 0.01)


@pytest.mark.data
def test_real_minutes_give_the_reference(data_dir: Path) -> None:
    closes = read_prices(data_dir / "equity/1min/SPY_1m_2011Jan_Mar.csv.gz", "close", 800)
    assert_as_reference(closes, on_ticks(closes, [len(closes) - 1])[0])


def read_prices(path: Path, column: str, count: int) -> np.ndarray:
    with gzip.open(path, "rt", newline="") as file:
        rows = csv.DictReader(file)
        return np.array([float(row[column]) for row, _ in zip(rows, range(count), strict=False)])


@njit  # not cached: numba would not notice a change in what it calls
def sum_into(running: np.ndarray, values: np.ndarray) -> None:
    for value in values:
        indicators.add(running[0], value)


@given(st.lists(st.floats(-1e12, 1e12), max_size=40))
def test_a_compensated_sum_is_the_exact_one(values: list[float]) -> None:
    running = np.zeros(1, SUM)
    sum_into(running, np.array(values, np.float64))
    found = running[0]["total"] + running[0]["lost"]
    magnitude = math.fsum(abs(value) for value in values)
    assert abs(found - math.fsum(values)) <= 1e-15 * abs(math.fsum(values)) + 1e-28 * magnitude


def test_a_compensated_sum_keeps_what_a_plain_one_loses() -> None:
    running = np.zeros(1, SUM)
    sum_into(running, np.array([1.0, 1e100, 1.0, -1e100]))
    assert running[0]["total"] + running[0]["lost"] == 2.0


def test_the_rsi_stays_what_it_is_while_the_price_stands_still() -> None:
    moving = 100 + np.cumsum(np.random.default_rng(4).normal(0, 0.3, 50))
    still = np.full(30_000, moving[-1])
    found = on_ticks(
        np.concatenate([moving, still, [moving[-1] + 1, moving[-1]]]), [49, 8_000, 30_049, 30_050, 30_051]
    )
    assert found[0].tick_rsi == pytest.approx(found[1].tick_rsi, rel=1e-12) == found[2].tick_rsi
    assert found[3].tick_rsi == 100.0, "what moved long ago weighs nothing against what moves now"
    assert found[4].tick_rsi == pytest.approx(100 * 13 / 27)
    assert found[2].tick_macd_signal == pytest.approx(0, abs=1e-12)
