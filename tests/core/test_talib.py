"""Every indicator that TA-Lib has, against TA-Lib, on every recorded series: in one call and row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hands.core.market import Market
from tests.core.recorded import BarSeries, TradeSeries, bar_series, rows_of_bars, rows_of_trades, trade_series

talib = pytest.importorskip("talib", reason="TA-Lib is not installed (it is with the extra `dev`)")

pytestmark = pytest.mark.data

RELATIVE = 1e-9
AFTER = 400
"""Bars before the first comparison; both sides agree from the first value on, but that is what is promised."""

NAMES = (
    "rsi",
    "macd",
    "macd_signal",
    "macd_hist",
    "ema",
    "atr",
    "bollinger_upper",
    "bollinger_middle",
    "bollinger_lower",
)


def reference(series: BarSeries, rsi: int = 14, macd: tuple[int, int, int] = (12, 26, 9)) -> np.ndarray:
    """Return TA-Lib's values after every bar, a column for each of `NAMES`."""
    close = series.close
    columns = (
        talib.RSI(close, rsi),
        *talib.MACD(close, *macd),
        talib.EMA(close, 20),
        talib.ATR(series.high, series.low, close, 14),
        *talib.BBANDS(close, 20, 2, 2),
    )
    return np.stack(columns, axis=1)


def row_by_row(series: BarSeries, periods: dict[str, float]) -> np.ndarray:
    """Return our values after every bar but the last, which never closes: every row is a call."""
    market, rows, found = Market(("X",), (series.interval_s,), {"X": periods}), rows_of_bars(series), []
    for at in range(len(rows) - 3):
        market.consume(rows, at, at + 1)
        if at % 4 == 0 and at:  # the first trade of a bar closes the one before
            known = market.indicators(0)
            found.append([getattr(known, name) for name in NAMES])
    return np.array(found, np.float64)


def in_one_call(series: BarSeries) -> list[float | None]:
    market, rows = Market(("X",), (series.interval_s,)), rows_of_bars(series)
    market.consume(rows, 0, len(rows) - 3)
    known = market.indicators(0)
    return [getattr(known, name) for name in NAMES]


def assert_equal(found: np.ndarray, expected: np.ndarray, name: str, last_bits_of: float = 0.0) -> None:
    """`last_bits_of` a price: what a difference of two averages may be off by where it is nearly nothing."""
    off = np.abs(found - expected) > np.maximum(RELATIVE * np.abs(expected), 4 * np.spacing(last_bits_of))
    assert not off.any(), f"{name}: {found[off][:3]} instead of {expected[off][:3]}"
    assert not np.isnan(found).any()


def test_bars_of_every_series_give_talibs_values(data_dir: Path) -> None:
    count = 0
    for name, series in bar_series(data_dir).items():
        assert len(series.close) > 2 * AFTER
        expected, found = reference(series), row_by_row(series, {})
        assert_equal(found[AFTER:], expected[AFTER:-1], name)
        assert in_one_call(series) == found[-1].tolist()
        count += 1
    assert count == 20


def test_other_periods_give_talibs_values_too(data_dir: Path) -> None:
    series = bar_series(data_dir)["SPY_1m_2011Jan_Mar.csv.gz"]
    periods = {"rsi": 9, "macd_fast": 5, "macd_slow": 35, "macd_signal": 5}
    expected = reference(series, 9, (5, 35, 5))
    assert_equal(row_by_row(series, periods)[AFTER:], expected[AFTER:-1], "SPY", series.close.max())


def test_ticks_of_every_series_give_talibs_values(data_dir: Path) -> None:
    """Where a price stands still for hundreds of trades, TA-Lib's RSI falls to 0 and ours stays (docs/indicators.md)."""
    count = 0
    for name, recorded in trade_series(data_dir).items():
        series = in_sequence(recorded)
        rsi, *macd = talib.RSI(series.price, 14), *talib.MACD(series.price, 12, 26, 9)
        market, rows, found = Market(("X",)), rows_of_trades(series), []
        for at in range(len(rows)):
            market.consume(rows, at, at + 1)
            if at >= AFTER and at % 11 == 0:
                known = market.indicators(0)
                found.append((known.tick_macd, known.tick_macd_signal, known.tick_macd_hist, known.tick_rsi))
        values, ats = np.array(found, np.float64), np.arange(len(rows))[AFTER + -AFTER % 11 :: 11]
        assert_equal(values[:, :3], np.stack(macd, axis=1)[ats], name, series.price.max())
        still = np.array([rsi[at] == 0.0 and np.ptp(series.price[at - 350 : at + 1]) == 0.0 for at in ats])
        assert still.mean() < 0.05
        assert_equal(values[~still, 3], rsi[ats][~still], name)
        whole = Market(("X",))
        whole.consume(rows, 0, len(rows))
        assert whole.digest() == market.digest()
        count += 1
    assert count == 4


def in_sequence(series: TradeSeries) -> TradeSeries:
    """Leave out what is a second late or more: the kernel makes no price of it, and TA-Lib knows no time."""
    newest = np.maximum.accumulate(series.venue_ns)
    kept = series.venue_ns >= newest - 10**9
    assert kept.mean() > 0.99
    return TradeSeries(*(column[kept] for column in series))
