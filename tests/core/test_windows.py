"""The indicators of bars against plain numpy: EMA, ATR, Bollinger, volume, volatility, rolling VWAP, divergence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.bars import Bar
from hands.core.indicators import PIVOT_WING
from hands.core.market import Indicators, Market, RowFlag, RowKind, new_rows

S = 10**9
MINUTE = 60 * S
DAY = 24 * 60 * MINUTE


def bar_rows(bars: list[Bar]) -> np.ndarray:
    """Return four trades a bar, a quarter of its volume each, that make exactly these prices."""
    rows = new_rows(4 * len(bars))
    rows["kind"], rows["flags"] = RowKind.TRADE, RowFlag.ELIGIBLE
    for number, bar in enumerate(bars):
        part = rows[4 * number : 4 * number + 4]
        part["price"] = bar.open, bar.high, bar.low, bar.close
        part["size"] = bar.volume / 4
        part["venue_ns"] = bar.start_ns + np.arange(4) * S
    return rows


def random_bars(count: int, seed: int = 1) -> list[Bar]:
    rng = np.random.default_rng(seed)
    closes = np.round(100 + np.cumsum(rng.normal(0, 0.4, count)), 2)
    bars = []
    for number, close in enumerate(closes):
        open_ = closes[number - 1] if number else close
        high = round(max(open_, close) + rng.integers(0, 30) / 100, 2)
        low = round(min(open_, close) - rng.integers(0, 30) / 100, 2)
        volume = float(rng.integers(1, 5000) * 4)
        vwap = (open_ + high + low + close) / 4
        bars.append(Bar(number * MINUTE, open_, high, low, close, volume, vwap, 4))
    return bars


def after_each(bars: list[Bar], **periods: float) -> list[Indicators]:
    """Return what is known once each of the bars (but the last) has closed."""
    market = Market(("X",), (60,), {"X": periods})
    rows = bar_rows(bars)
    found = []
    for begin in range(4, len(rows), 4):
        market.consume(rows, begin - 4 if begin == 4 else begin - 3, begin + 1)
        found.append(market.indicators(0))
    return found


def column(bars: list[Bar], name: str) -> np.ndarray:
    return np.array([getattr(bar, name) for bar in bars])


BARS = random_bars(150)
KNOWN = after_each(BARS)


def test_the_average_true_range_is_wilders() -> None:
    highs, lows, closes = (column(BARS, name) for name in ("high", "low", "close"))
    ranges = np.maximum(highs[1:], closes[:-1]) - np.minimum(lows[1:], closes[:-1])
    assert [known.atr for known in KNOWN[:14]] == [None] * 14
    average = ranges[:14].mean()
    for number in range(14, len(KNOWN)):
        if number > 14:
            average = (average * 13 + ranges[number - 1]) / 14
        assert KNOWN[number].atr == pytest.approx(average, rel=1e-12)


def test_the_ema_is_seeded_by_the_mean_of_its_first_period() -> None:
    closes = column(BARS, "close")
    assert [known.ema for known in KNOWN[:19]] == [None] * 19
    average = closes[:20].mean()
    for number in range(19, len(KNOWN)):
        if number > 19:
            average += (closes[number] - average) * 2 / 21
        assert KNOWN[number].ema == pytest.approx(average, rel=1e-12)


def test_the_bands_are_the_mean_and_two_standard_deviations() -> None:
    closes = column(BARS, "close")
    assert [known.bollinger_middle for known in KNOWN[:19]] == [None] * 19
    for number in range(19, len(KNOWN)):
        window = closes[number - 19 : number + 1]
        known, reach = KNOWN[number], 2 * window.std()
        assert known.bollinger_middle == pytest.approx(window.mean(), rel=1e-14)
        assert known.bollinger_lower == pytest.approx(window.mean() - reach, rel=1e-13)
        assert known.bollinger_upper == pytest.approx(window.mean() + reach, rel=1e-13)


def test_the_bands_of_a_flat_market_are_its_price() -> None:
    flat = [Bar(n * MINUTE, 0.1, 0.1, 0.1, 0.1, 4.0, 0.1, 4) for n in range(30)]
    known = after_each(flat)[-1]
    middle = known.bollinger_middle
    assert middle == pytest.approx(0.1, rel=1e-15)
    assert (known.bollinger_lower, known.bollinger_upper) == pytest.approx((middle, middle), abs=1e-16)


def test_the_volume_is_judged_by_the_bars_before_it() -> None:
    volumes = column(BARS, "volume")
    assert [known.volume_z for known in KNOWN[:20]] == [None] * 20
    for number in range(20, len(KNOWN)):
        window = volumes[number - 20 : number]
        expected = (volumes[number] - window.mean()) / window.std()
        assert KNOWN[number].volume_z == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_volumes_that_were_all_the_same_judge_nothing() -> None:
    same = [Bar(n * MINUTE, 1.0, 1.0, 1.0, 1.0, 4.0, 1.0, 4) for n in range(30)]
    assert after_each(same)[-1].volume_z is None


def test_the_volatility_is_the_root_of_the_sum_of_squared_log_returns() -> None:
    returns = np.diff(np.log(column(BARS, "close")))
    assert [known.volatility for known in KNOWN[:20]] == [None] * 20
    for number in range(20, len(KNOWN)):
        expected = math.sqrt(math.fsum(returns[number - 20 : number] ** 2))
        assert KNOWN[number].volatility == pytest.approx(expected, rel=1e-12)


def test_the_rolling_vwap_is_of_the_last_intervals_and_the_one_in_progress() -> None:
    """In `KNOWN` one trade of the next bar has been made: its first."""
    assert [known.vwap_rolling for known in KNOWN[:28]] == [None] * 28
    vwaps, volumes, opens = (column(BARS, name) for name in ("vwap", "volume", "open"))
    for number in range(28, len(KNOWN)):
        window = slice(number - 28, number + 1)
        notional = math.fsum(vwaps[window] * volumes[window]) + opens[number + 1] * volumes[number + 1] / 4
        volume = math.fsum(volumes[window]) + volumes[number + 1] / 4
        assert KNOWN[number].vwap_rolling == pytest.approx(notional / volume, rel=1e-12)


def test_the_rolling_vwap_is_of_time_and_not_of_so_many_bars() -> None:
    """A bar every ten minutes: of the last thirty minutes are the one in progress and two others."""
    sparse = [
        Bar(n * 10 * MINUTE, 10.0 + n, 10.0 + n, 10.0 + n, 10.0 + n, 4.0, 10.0 + n, 4) for n in range(8)
    ]
    market = Market(("X",), (60,))
    rows = bar_rows(sparse)
    market.consume(rows, 0, len(rows))
    assert market.indicators(0).vwap_rolling == 16.0


# --- divergence --------------------------------------------------------------------------------------------------


def plain_divergence(bars: list[Bar], strengths: list[float | None], reach: int) -> list[float | None]:
    """Return the verdict after each bar, looked up in the whole series each time."""
    last: dict[str, int] = {}
    verdict: float | None = None
    verdicts = []
    for number in range(len(bars)):
        at = number - PIVOT_WING
        around = strengths[max(0, at - PIVOT_WING) : number + 1]
        if at >= PIVOT_WING and None not in around:
            before, here, behind = around[:PIVOT_WING], around[PIVOT_WING], around[PIVOT_WING + 1 :]
            for kind, sign in (("low", 1), ("high", -1)):
                if all(sign * here < sign * x for x in before) and all(
                    sign * here <= sign * x for x in behind
                ):
                    verdict = 0.0
                    if kind in last and at - last[kind] <= reach:
                        then = last[kind]
                        new, old = getattr(bars[at], kind), getattr(bars[then], kind)
                        if sign * new < sign * old and sign * here > sign * strengths[then]:
                            verdict = float(sign)
                    last[kind] = at
        verdicts.append(verdict)
    return verdicts


@given(st.integers(0, 10**9), st.sampled_from([5, 20, 60]), st.sampled_from([2, 7, 14]))
def test_a_divergence_is_what_the_definition_says(seed: int, reach: int, period: int) -> None:
    bars = random_bars(90, seed)
    found = after_each(bars, rsi=period, divergence_range=reach)
    expected = plain_divergence(bars[:-1], [known.rsi for known in found], reach)
    assert [known.rsi_divergence for known in found] == expected


def test_both_kinds_of_divergence_and_none_do_occur() -> None:
    found = [known.rsi_divergence for known in after_each(random_bars(400, 3), rsi=5)]
    assert {None, 0.0, 1.0, -1.0} == set(found)


# --- from history ------------------------------------------------------------------------------------------------


def together(bars: list[Bar]) -> Bar:
    volume = math.fsum(bar.volume for bar in bars)
    return Bar(
        bars[0].start_ns,
        bars[0].open,
        max(bar.high for bar in bars),
        min(bar.low for bar in bars),
        bars[-1].close,
        volume,
        math.fsum(bar.vwap * bar.volume for bar in bars) / volume,
        sum(bar.trades for bar in bars),
    )


def assert_alike(one: object, other: object) -> None:
    for name in one.__struct_fields__:
        if not name.startswith("tick_"):
            found, expected = getattr(one, name), getattr(other, name)
            assert found == (expected if expected is None else pytest.approx(expected, rel=1e-13)), name


def test_bars_from_history_are_as_good_as_their_trades() -> None:
    rows, history = bar_rows(BARS), BARS[:120]
    rows["sym"] = 1
    watched, loaded = Market(("Y", "X")), Market(("Y", "X"))
    loaded.load_bars(1, 60, history)
    loaded.load_bars(1, 300, [together(history[n : n + 5]) for n in range(0, 120, 5)])
    day = together(history)
    loaded.load_session(1, 0, day.trades, day.volume, day.vwap * day.volume)
    watched.consume(rows, 0, 480)
    for at in range(480, len(rows)):
        for market in (watched, loaded):
            market.consume(rows, at, at + 1)
        for interval_s in (60, 300):
            assert_alike(loaded.indicators(1, interval_s), watched.indicators(1, interval_s))
    for interval_s in (60, 300):
        pairs = zip(loaded.bars(1, interval_s, 500), watched.bars(1, interval_s, 500), strict=True)
        for one, other in pairs:
            assert_alike(one, other)
    assert loaded.indicators(0) == Market(("Y",)).indicators(0)


def test_more_bars_than_are_kept_leave_the_newest_and_an_indicator_of_all() -> None:
    bars = random_bars(700)
    loaded = Market(("X",), (60,))
    loaded.load_bars(0, 60, bars)
    assert [bar.start_ns for bar in loaded.bars(0, 60, 10**6)] == [bar.start_ns for bar in bars[-128:]]
    assert {bar.trades for bar in loaded.bars(0, 60, 10**6)} == {4}
    rows = bar_rows([*bars, Bar(700 * MINUTE, 1.0, 1.0, 1.0, 1.0, 4.0, 1.0, 4)])
    watched = Market(("X",), (60,))
    watched.consume(rows, 0, len(rows) - 3)
    assert loaded.indicators(0).rsi == watched.indicators(0).rsi
    assert loaded.indicators(0).macd_signal == watched.indicators(0).macd_signal


def test_trades_of_bars_that_were_loaded_are_not_counted_again() -> None:
    market = Market(("X",), (60,))
    market.load_bars(0, 60, BARS[:5])
    rows = bar_rows(BARS[4:6])
    market.consume(rows, 0, len(rows))
    assert_alike(market.bars(0, 60, 1)[0], BARS[4])
    assert_alike(market.forming(0, 60), BARS[5])


def test_a_days_volume_is_known_from_a_days_bars() -> None:
    sparse = [Bar(n * 60 * MINUTE, 1.0, 1.0, 1.0, 1.0, 2.0, 1.0, 1) for n in range(3, 27)]
    market = Market(("X",))
    market.load_bars(0, 300, sparse)
    assert market.indicators(0).volume_24h is None, (
        "the first bar was at three, and what was before is not said"
    )
    market.load_bars(0, 300, sparse, since_ns=0)
    assert market.indicators(0).volume_24h == 48.0


def test_bars_replace_what_was_known_and_time_goes_on() -> None:
    market = Market(("X",), (60,))
    rows = bar_rows(random_bars(40, 9))
    market.consume(rows, 0, len(rows))
    market.load_bars(0, 60, [])
    assert (market.bars(0, 60, 9), market.forming(0, 60), market.indicators(0).rsi) == ([], None, None)
    market.load_bars(0, 60, BARS[:30])
    fresh = Market(("X",), (60,))
    fresh.load_bars(0, 60, BARS[:30])
    assert market.bars(0, 60, 99) == fresh.bars(0, 60, 99)
    assert market.indicators(0).rsi == fresh.indicators(0).rsi


@pytest.mark.parametrize(
    "bars",
    [
        [BARS[1], BARS[0]],
        [BARS[0], BARS[0]],
        [Bar(1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1)],
        [Bar(0, math.nan, 1.0, 1.0, math.nan, 1.0, 1.0, 1)],
        [Bar(0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1)],
    ],
    ids=["order", "twice", "grid", "nan", "zero"],
)
def test_bars_that_are_none_are_refused_and_change_nothing(bars: list[Bar]) -> None:
    market = Market(("X",), (60,))
    before = market.digest()
    with pytest.raises(ValueError):
        market.load_bars(0, 60, bars)
    assert market.digest() == before
