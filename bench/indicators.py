"""The indicators beside what one would use instead, on the same ticks in the same run; and how right they are.

*nautilus*: RSI, MACD and VWAP of nautilus_trader, by their quickest way in (`update_raw`, floats, one time stamp made
beforehand). *talipp*: the same three of talipp. Hands does everything a row does (two bars, session VWAP, RSI and MACD,
last trade, triggers), in one call. A peer that is not installed is absent from the result.

`talib_max_rel_err` is the largest relative difference from TA-Lib over RSI, MACD, EMA, ATR and Bollinger of a random walk
of bars, from the 400th on; where a value is below a millionth of the price, relative to that.
"""

from __future__ import annotations

import statistics
import time
from importlib.util import find_spec

import numpy as np

from bench import kernel
from hands.core.market import Market, RowFlag, RowKind, new_rows

PACKAGES = {"nautilus": "nautilus_trader", "talipp": "talipp", "talib": "ta-lib"}
_MODULES = {"nautilus": "nautilus_trader", "talipp": "talipp", "talib": "talib"}

PIECE = 1_000
"""Ticks whose time is taken together: a fraction of a millisecond for a peer."""

BARS, AFTER = 20_000, 400


def missing() -> list[str]:
    """Return the packages that are not installed, of those that are compared with."""
    return [package for peer, package in PACKAGES.items() if find_spec(_MODULES[peer]) is None]


def run(quick: bool = False) -> dict[str, float]:
    """Return what the kernel takes, what its peers take, both in nanoseconds, and the largest error."""
    found = kernel.run(quick)
    count = 20_000 if quick else 200_000
    ticks = kernel.rows_of(count, RowKind.TRADE, 1)
    found["ns_per_tick_same"] = kernel.per_row(ticks, count, Market(("X",)))
    if find_spec("nautilus_trader"):
        found["nautilus_ns"] = _nautilus(ticks)
        found["nautilus_ratio"] = found["nautilus_ns"] / found["ns_per_tick_same"]
    if find_spec("talipp"):
        found["talipp_ns"] = _talipp(ticks[: count // 10])
        found["talipp_ratio"] = found["talipp_ns"] / found["ns_per_tick_same"]
    found = {name: round(value, 1) for name, value in found.items()}
    if find_spec("talib"):
        found["talib_max_rel_err"] = talib_max_rel_err(BARS // 10 if quick else BARS)
    return found


def _nautilus(ticks: np.ndarray) -> float:
    import pandas as pd
    from nautilus_trader.indicators import (
        MovingAverageConvergenceDivergence,
        RelativeStrengthIndex,
        VolumeWeightedAveragePrice,
    )

    prices, sizes, now = ticks["price"].tolist(), ticks["size"].tolist(), pd.Timestamp("2024-01-02", tz="UTC")
    rsi, macd, vwap = (
        RelativeStrengthIndex(14).update_raw,
        MovingAverageConvergenceDivergence(12, 26).update_raw,
        VolumeWeightedAveragePrice().update_raw,
    )

    took = []
    for start in range(0, len(prices), PIECE):
        piece = list(zip(prices[start : start + PIECE], sizes[start : start + PIECE], strict=True))
        began = time.perf_counter_ns()
        for price, size in piece:
            rsi(price)
            macd(price)
            vwap(price, size, now)
        took.append(time.perf_counter_ns() - began)
    return statistics.median(took) / PIECE


def _talipp(ticks: np.ndarray) -> float:
    from talipp.indicators import MACD, RSI, VWAP
    from talipp.ohlcv import OHLCV

    prices, sizes = ticks["price"].tolist(), ticks["size"].tolist()
    rsi, macd, vwap = RSI(14), MACD(12, 26, 9), VWAP()
    took = []
    for start in range(0, len(prices), PIECE // 10):
        piece = list(
            zip(prices[start : start + PIECE // 10], sizes[start : start + PIECE // 10], strict=True)
        )
        began = time.perf_counter_ns()
        for price, size in piece:
            rsi.add(price)
            macd.add(price)
            vwap.add(OHLCV(price, price, price, price, size))
        took.append((time.perf_counter_ns() - began) / len(piece))
    return statistics.median(took)


def talib_max_rel_err(bars: int) -> float:
    """Return the largest relative difference from TA-Lib over a random walk of so many bars."""
    import talib

    rows = new_rows(4 * bars)
    rows["kind"], rows["flags"] = RowKind.TRADE, RowFlag.ELIGIBLE
    rng = np.random.default_rng(11)
    parts = rows.reshape(-1, 4)  # four trades a bar, in any order of prices
    parts["price"] = np.round(150 + np.cumsum(rng.normal(0, 0.02, (bars, 4)).ravel()).reshape(-1, 4), 2)
    parts["venue_ns"] = np.arange(bars)[:, None] * 60_000_000_000
    high, low, close = parts["price"].max(axis=1), parts["price"].min(axis=1), parts["price"][:, 3].copy()
    upper, middle, lower = talib.BBANDS(close, 20, 2, 2)
    line, signal, _ = talib.MACD(close, 12, 26, 9)
    expected = {
        "rsi": talib.RSI(close, 14),
        "macd": line,
        "macd_signal": signal,
        "ema": talib.EMA(close, 20),
        "atr": talib.ATR(high, low, close, 14),
        "bollinger_upper": upper,
        "bollinger_middle": middle,
        "bollinger_lower": lower,
    }
    market, worst = Market(("X",), (60,)), 0.0
    for bar in range(bars - 1):
        market.consume(rows, 4 * bar + (1 if bar else 0), 4 * bar + 5)
        if bar < AFTER:
            continue
        known = market.indicators(0)
        for name, values in expected.items():
            value = getattr(known, name)
            assert value is not None
            worst = max(worst, abs(value - values[bar]) / max(abs(values[bar]), 1e-6 * close[bar]))
    return float(f"{worst:.1e}")
