"""The formulas of the report, against a library that others keep, against small cases by hand, and against themselves."""

from __future__ import annotations

import math
from itertools import pairwise

import empyrical
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.replay import metrics

RETURNS = st.lists(st.floats(-0.2, 0.25, allow_nan=False), min_size=2, max_size=120)


def varied(returns: list[float]) -> bool:
    return float(np.std(returns)) > 1e-6 and min(returns) < -1e-6


@given(RETURNS.filter(varied), st.sampled_from([252, 365]))
def test_the_ratios_are_those_of_the_library(returns: list[float], per_year: int) -> None:
    series = pd.Series(returns)
    assert metrics.sharpe(returns, per_year) == pytest.approx(
        empyrical.sharpe_ratio(series, annualization=per_year), rel=1e-9
    )
    assert metrics.sortino(returns, per_year) == pytest.approx(
        empyrical.sortino_ratio(series, annualization=per_year), rel=1e-9
    )


@given(RETURNS)
def test_the_deepest_drawdown_is_the_librarys(returns: list[float]) -> None:
    curve = [100.0]
    for each in returns:
        curve.append(curve[-1] * (1 + each))
    expected = -empyrical.max_drawdown(pd.Series(returns))
    assert metrics.deepest_fraction(curve) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60))
def test_a_drawdown_lies_between_its_peak_and_its_trough(values: list[float]) -> None:
    found = metrics.drawdown(values)
    deepest = max(max(values[: n + 1]) - value for n, value in enumerate(values))
    if found is None:
        assert deepest == 0
        return
    assert found.amount == pytest.approx(deepest)
    assert found.peak < found.trough
    assert values[found.peak] - values[found.trough] == pytest.approx(found.amount)
    if found.recovered is None:
        assert max(values[found.trough :]) < values[found.peak]
    else:
        assert values[found.recovered] >= values[found.peak]
        assert all(value < values[found.peak] for value in values[found.trough : found.recovered])


def test_the_fraction_may_be_of_another_fall_than_the_amount() -> None:
    found = metrics.drawdown([100, 50, 1000, 900])
    assert found is not None
    assert (found.amount, found.fraction, found.peak, found.trough) == (100, 0.5, 2, 3)
    assert metrics.drawdown([0, 5, 3]).fraction is None
    assert metrics.drawdown([1, 2, 3]) is None


@pytest.mark.parametrize("returns", [[], [0.01], [0.01, 0.01, 0.01]])
def test_what_cannot_be_known_of_so_few_or_such_returns_is_not_told(returns: list[float]) -> None:
    assert metrics.sharpe(returns, 252) is None
    assert metrics.sortino(returns, 252) is None


def test_a_row_without_losses_has_no_sortino_and_no_profit_factor() -> None:
    assert metrics.sharpe([0.01, 0.02], 252) == pytest.approx(0.015 / 0.005 / math.sqrt(2) * math.sqrt(252))
    assert metrics.sortino([0.01, 0.02], 252) is None
    assert metrics.profit_factor([3, 1]) is None
    assert metrics.profit_factor([3, -2, -2, 0]) == 0.75
    assert metrics.profit_factor([]) is None


def test_a_sharpe_ratio_is_as_sure_as_lo_says() -> None:
    """By hand: the daily ratio is 2 / sqrt(252) = 0.12599, so sqrt((1 + 0.0079365) / 100) x sqrt(252)."""
    assert metrics.sharpe_error(2.0, 100, 252) == pytest.approx(1.59374, abs=1e-5)


@pytest.mark.parametrize(
    ("won", "count", "low", "high"),
    [(0, 10, 0.0, 0.27753), (5, 10, 0.23659, 0.76341), (10, 10, 0.72247, 1.0), (81, 263, 0.25529, 0.36620)],
)
def test_wilsons_interval_has_the_values_of_newcombes_table(
    won: int, count: int, low: float, high: float
) -> None:
    """R. G. Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263."""
    assert metrics.wilson(won, count) == pytest.approx((low, high), abs=2e-5)


def test_nothing_has_no_interval_no_mean_and_no_percentile() -> None:
    assert metrics.wilson(0, 0) is None
    assert metrics.mean([]) is None
    assert metrics.percentiles([], (50, 99)) == [None, None]
    assert metrics.percentiles([1, 2, 3, 4], (0, 50, 100)) == [1, 2.5, 4]


@given(st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=80), st.integers(2, 30))
def test_every_value_is_in_one_bin(values: list[float], bins: int) -> None:
    found = metrics.spread(values, bins)
    assert sum(count for _, _, count in found) == len(values)
    assert len(found) <= 2 * bins + 2
    assert all(a[1] == pytest.approx(b[0]) for a, b in pairwise(found))
    assert found[0][0] <= min(values) + 1e-9 * abs(min(values))
    assert found[-1][1] >= max(values) - 1e-9 * abs(max(values))


def test_zero_is_an_edge_and_equal_values_are_one_bin() -> None:
    assert 0.0 in [round(low, 9) for low, _, _ in metrics.spread([-3.7, 2.2, 5.1], 10)]
    assert metrics.spread([2.0, 2.0], 10) == [(2.0, 2.0, 2)]
    assert metrics.spread([], 10) == []


@given(st.lists(st.floats(1e-3, 1e7), min_size=1, max_size=60), st.integers(1, 12))
def test_bins_that_grow_hold_every_value_above_nothing(values: list[float], per_decade: int) -> None:
    found = metrics.spread_by_factor([*values, 0.0, -1.0], per_decade)
    assert sum(count for _, _, count in found) == len(values)
    for low, high, _ in found:
        assert high / low == pytest.approx(10 ** (1 / per_decade))


def test_round_steps() -> None:
    assert [metrics.round_step(x) for x in (0.7, 1.0, 1.1, 2.2, 3, 6, 180)] == [1, 1, 2, 2.5, 5, 10, 200]
