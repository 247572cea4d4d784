"""Twelve hours of market without a break: nothing has drifted from what a computation from scratch says.

The rows are made for it: awkward decimals, prices over four orders of magnitude, sizes over twelve, two symbols.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from hands.core.market import Market, RowFlag, RowKind, new_rows
from tests.core.test_indicators import reference_macd, reference_rsi

S = 10**9
HOURS, PER_HOUR = 12, 120_000
NOW = 1_700_000_100 * S  # on the grid of five minutes
SPREAD_NS = 3600 * S // PER_HOUR

MACD_ERROR = 4 * 2**-52
"""Of the largest price: a difference of two averages keeps their last bits, however small it is."""


def hour(number: int) -> np.ndarray:
    """Return the rows of one hour."""
    rng = np.random.default_rng(number)
    rows = new_rows(PER_HOUR)
    rows["sym"] = rng.integers(0, 2, PER_HOUR)
    rows["kind"] = rng.choice([RowKind.TRADE, RowKind.TRADE, RowKind.TRADE, RowKind.QUOTE], PER_HOUR)
    rows["flags"] = RowFlag.ELIGIBLE
    rows["price"] = np.round(10 ** (1 + number / 4) * np.exp(np.cumsum(rng.normal(0, 1e-4, PER_HOUR))), 7)
    rows["price2"] = rows["price"] * 1.0001
    rows["size"] = np.round(10 ** rng.uniform(-6, 6, PER_HOUR), 8)
    rows["venue_ns"] = NOW + number * 3600 * S + np.arange(PER_HOUR) * SPREAD_NS
    return rows


@pytest.fixture(scope="module")
def played() -> tuple[Market, np.ndarray]:
    """Return the market after twelve hours, and the trades of its symbol 1."""
    market = Market(("X", "Y"), (60, 300))
    size, trades = market.nbytes, []
    for number in range(HOURS):
        rows = hour(number)
        market.consume(rows, 0, len(rows))
        trades.append(
            rows[(rows["sym"] == 1) & (rows["kind"] == RowKind.TRADE)][["price", "size", "venue_ns"]]
        )
    assert market.nbytes == size
    return market, np.concatenate(trades)


def closes(trades: np.ndarray, interval_s: int) -> np.ndarray:
    """Return the closes of all completed bars."""
    bar = trades["venue_ns"] // (interval_s * S)
    return trades["price"][np.flatnonzero(np.diff(bar))]


def test_the_sessions_sums_are_exact_to_the_last_bits(played: tuple[Market, np.ndarray]) -> None:
    market, trades = played
    known = market.indicators(1)
    volume, notional = math.fsum(trades["size"]), math.fsum(trades["price"] * trades["size"])
    assert abs(known.volume / volume - 1) <= 4e-16
    assert abs(known.vwap / (notional / volume) - 1) <= 8e-16


def test_indicators_of_ticks_are_those_of_the_last_prices_alone(played: tuple[Market, np.ndarray]) -> None:
    """Weights of Wilder's average older than 3 000 prices are below 1e-96: what was before must not show."""
    market, trades = played
    known, tail = market.indicators(1), trades["price"][-3_000:]
    assert known.tick_rsi == pytest.approx(reference_rsi(tail), rel=1e-12)
    macd, signal = reference_macd(tail)
    error = MACD_ERROR * tail.max()
    assert known.tick_macd == pytest.approx(macd, rel=0, abs=error)
    assert known.tick_macd_signal == pytest.approx(signal, rel=0, abs=error)


@pytest.mark.parametrize("interval_s", [60, 300])
def test_indicators_of_bars_are_those_of_a_computation_from_scratch(
    played: tuple[Market, np.ndarray], interval_s: int
) -> None:
    market, trades = played
    known, prices = market.indicators(1, interval_s), closes(trades, interval_s)
    assert len(prices) == HOURS * 3600 // interval_s - 1
    assert known.rsi == pytest.approx(reference_rsi(prices), rel=1e-12)
    macd, signal = reference_macd(prices)
    error = MACD_ERROR * prices.max()
    assert known.macd == pytest.approx(macd, rel=0, abs=error)
    assert known.macd_signal == pytest.approx(signal, rel=0, abs=error)
    window = prices[-20:]
    exact = math.fsum(window) / 20
    deviation = math.sqrt(math.fsum((price - exact) ** 2 for price in window) / 20)
    assert known.bollinger_middle == pytest.approx(exact, rel=1e-15)
    assert known.bollinger_upper - known.bollinger_lower == pytest.approx(4 * deviation, rel=1e-10)
    returns = [math.log(b / a) for a, b in zip(prices[-21:-1], prices[-20:], strict=True)]
    assert known.volatility == pytest.approx(math.sqrt(math.fsum(r * r for r in returns)), rel=1e-12)


def test_the_last_bars_are_exact(played: tuple[Market, np.ndarray]) -> None:
    market, trades = played
    for bar in market.bars(1, 60, 100):
        inside = trades[trades["venue_ns"] // (60 * S) == bar.start_ns // (60 * S)]
        assert bar.volume == pytest.approx(math.fsum(inside["size"]), rel=1e-13)
        notional = math.fsum(inside["price"] * inside["size"])
        assert bar.vwap == pytest.approx(notional / math.fsum(inside["size"]), rel=1e-13)


def test_a_market_that_saw_only_the_last_hours_says_the_same(played: tuple[Market, np.ndarray]) -> None:
    market, _ = played
    late = Market(("X", "Y"), (60, 300))
    for number in range(HOURS - 4, HOURS):
        rows = hour(number)
        late.consume(rows, 0, len(rows))
    found, expected = late.indicators(1), market.indicators(1)
    for name in (
        "tick_rsi",
        "rsi",
        "atr",
        "ema",
        "bollinger_upper",
        "volume_z",
        "volatility",
        "vwap_rolling",
    ):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-6), name
    for name in ("bollinger_upper", "volume_z", "volatility", "vwap_rolling"):
        assert getattr(found, name) == getattr(expected, name), f"{name}: a window, to the bit"
    assert late.bars(1, 60, 100) == market.bars(1, 60, 100)
    assert late.quote(1) == market.quote(1)
