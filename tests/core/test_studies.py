"""The tables: every indicator has its field, periods are checked and are the symbol's own, and a row is all it takes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit

from hands.core import studies
from hands.core.bars import KEPT, SPARE
from hands.core.compiled import Record, compiled
from hands.core.indicators import PERIODS, READINGS, SHOWN, STUDIES, WINDOW_MAX, Indicators
from hands.core.market import Market
from hands.core.studies import Period, Reading, Study
from tests.core.test_indicators import tick_rows


def test_every_value_of_the_tables_is_a_field_once() -> None:
    assert Indicators.__struct_fields__ == SHOWN
    assert len(set(SHOWN)) == len(SHOWN)
    for row in (*STUDIES, *READINGS):
        assert set(row.values) <= set(SHOWN)
        assert not row.ticks or {f"tick_{name}" for name in row.values} <= set(SHOWN)


def test_every_window_fits_what_is_kept_of_bars() -> None:
    assert WINDOW_MAX < KEPT, "n returns need n + 1 closes, and a volume is judged by the n before it"
    windowed = [period for reading in READINGS for period in reading.periods if period.is_whole]
    assert windowed
    assert all(period.high <= WINDOW_MAX for period in windowed)
    assert SPARE > 0


def test_periods_are_the_symbols_own() -> None:
    prices = 100 + np.cumsum(np.random.default_rng(5).normal(0, 0.3, 200))
    rows = tick_rows(prices)
    rows["venue_ns"] = np.arange(len(prices)) * 60 * 10**9
    short = {
        "rsi": 5,
        "macd_fast": 3,
        "macd_slow": 7,
        "macd_signal": 4,
        "bollinger": 10,
        "bollinger_width": 1.5,
    }
    market = Market(("X", "Y", "Z"), periods={"Y": short, "*": {"ema": 30}, "Z": {"ema": 40}})
    alone = {
        "X": Market(("X",), periods={"*": {"ema": 30}}),
        "Y": Market(("Y",), periods={"Y": {**short, "ema": 30}}),
        "Z": Market(("Z",), periods={"Z": {"ema": 40}}),
    }
    for sym, symbol in enumerate(market.symbols):
        rows["sym"] = sym
        market.consume(rows, 0, len(rows))
        rows["sym"] = 0
        alone[symbol].consume(rows, 0, len(rows))
        assert market.indicators(sym) == alone[symbol].indicators(0)
    x, y, z = (market.indicators(sym) for sym in range(3))
    assert len({x.ema, z.ema}) == 2
    assert len({x.rsi, y.rsi}) == 2
    assert (y.rsi_14, y.tick_rsi_14) == (None, None), "an RSI of another period is not shown under that name"
    assert (x.rsi_14, x.tick_rsi_14) == (x.rsi, x.tick_rsi)
    assert Market.restore(market.snapshot()).indicators(1) == y


def test_a_configured_period_decides_when_a_value_appears() -> None:
    market = Market(("X",), periods={"X": {"rsi": 3, "macd_fast": 2, "macd_slow": 4, "macd_signal": 2}})
    rows = tick_rows(np.array([10.0, 11, 10, 12, 11, 13, 12]))
    found = []
    for i in range(len(rows)):
        market.consume(rows, i, i + 1)
        found.append(market.indicators(0))
    assert [i.tick_rsi is not None for i in found].index(True) == 3
    assert [i.tick_macd is not None for i in found].index(True) == 3
    assert [i.tick_macd_signal is not None for i in found].index(True) == 4


@pytest.mark.parametrize(
    ("periods", "said"),
    [
        ({"X": {"rsj": 14}}, "no period is called 'rsj'; there are rsi, "),
        ({"Y": {"rsi": 14}}, "periods for Y"),
        ({"X": {"rsi": 1}}, "rsi is 1; from 2"),
        ({"X": {"rsi": 10**7}}, "to 100000"),
        ({"X": {"rsi": 14.5}}, "must be whole"),
        ({"X": {"rsi": math.nan}}, "rsi is nan"),
        ({"*": {"bollinger": 121}}, "bollinger is 121; from 2 to 120"),
        ({"X": {"bollinger_width": 0}}, "bollinger_width is 0"),
        ({"X": {"volume_z": True}}, "volume_z is True"),
        ({"X": {"macd_fast": 26}}, "macd_fast must be shorter"),
    ],
)
def test_periods_that_cannot_be_meant_are_an_error(periods: dict[str, dict[str, float]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Market(("X",), periods=periods)


def test_the_shipped_periods_are_possible() -> None:
    for period in PERIODS:
        assert period.low <= period.default <= period.high


# --- a table of one's own: what docs/indicators.md says is all there is to it ------------------------------------


@compiled
def highest(m: Record, series: Record, ring: np.ndarray, p: Record, v: np.ndarray) -> None:
    m.top = max(m.top, series.bar.close)
    if series.count + 1 >= p.patience:
        v[0] = m.top


@compiled
def doubled(m: Record, series: Record, ring: np.ndarray, p: Record, v: np.ndarray) -> None:
    m.calls += 1
    v[0], v[1] = 2 * series.highest.top, float(m.calls)


@compiled
def spread(symbol: Record, series: Record, ring: np.ndarray, v: np.ndarray) -> None:
    if symbol.ask > 0:
        v[0] = symbol.ask - series.bar.close


ROWS = (
    Study("highest", highest, (("top", "f8"),), ("highest",), (Period("patience", 2, 1, 9),), ticks=True),
    Study("doubled", doubled, (("calls", "i8"),), ("doubled", "calls")),
)
SERIES = np.dtype(
    [("bar", [("close", "f8")]), ("count", "i8"), ("values", "f8", (3,)), *studies.memories(ROWS)], align=True
)
SYMBOL = np.dtype([("ask", "f8"), ("periods", studies.period_record(ROWS[0].periods))], align=True)
advance = studies.advancing(ROWS, on_ticks=False)
advance_tick = studies.advancing(ROWS, on_ticks=True)
read = studies.reading(
    (Reading(spread, ("spread",)), Reading(spread, ("again",), ticks=True)), 1, on_ticks=False
)
read_tick = studies.reading(
    (Reading(spread, ("spread",)), Reading(spread, ("again",), ticks=True)), 0, on_ticks=True
)


@njit  # not cached: numba would not notice a change in what it calls
def play(symbols: np.ndarray, series: np.ndarray, prices: np.ndarray, out: np.ndarray) -> None:
    for price in prices:
        for k in range(2):
            series[k].bar.close = price
            if k:
                advance(series[k], out, symbols[0].periods)
            else:
                advance_tick(series[k], out, symbols[0].periods)
            series[k].count += 1
    read(symbols[0], series[1], out, out)
    read_tick(symbols[0], series[0], out, out)


def test_a_row_in_a_table_is_all_there_is_to_an_indicator() -> None:
    symbols, series, out = np.zeros(1, SYMBOL), np.zeros(2, SERIES), np.full(4, math.nan)
    studies.set_periods(symbols["periods"], ROWS[0].periods, {"patience": 3})
    series["values"] = math.nan
    symbols["ask"] = 7.0
    play(symbols, series, np.array([3.0, 5.0]), out)
    assert np.isnan(series["values"][0]).all(), (
        "not before its period, and not where it does not run on ticks"
    )
    assert series["values"][1].tolist()[1:] == [10.0, 2.0], "the study above it has taken the price already"
    assert out.tolist()[:3] == [2.0, 2.0, 2.0]
    play(symbols, series, np.array([4.0]), out)
    assert series["values"][:, 0].tolist() == [5.0, 5.0]
    assert symbols["periods"]["patience_step"] == 0.5


def test_a_table_without_rows_for_ticks_does_nothing_on_them() -> None:
    assert studies.advancing((), on_ticks=False) is studies.advancing((ROWS[1],), on_ticks=True)
