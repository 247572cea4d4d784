"""What a row of results is worth: ratios, drawdowns, spreads and shares, each by a formula that its docstring states.

Owns the formulas of the report; `docs/reports.md` tells the same. Pure functions over floats; may not know of trades,
files or pages. The one idea: what cannot be known from so few or such values is None, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DAYS_PER_YEAR_EXCHANGE = 252
DAYS_PER_YEAR_ALWAYS = 365

Z_95 = 1.959963984540054
"""The 97.5th percentile of the normal distribution."""

_NOTHING = 1e-15
"""A deviation below this is rounding: a constant row of returns has none."""


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The deepest fall of a curve below its highest value so far.

    `amount` is the deepest in units of the curve, and the indexes are its: of the peak, of the lowest value after it, and of
    the first value that is back at the peak, None if none is. `fraction` is the deepest in parts of the peak before it,
    which may be another fall; None where the curve does not begin above 0.
    """

    amount: float
    fraction: float | None
    peak: int
    trough: int
    recovered: int | None


def sharpe(returns: Sequence[float], per_year: int) -> float | None:
    """Return mean / standard deviation (n - 1) x sqrt(`per_year`), the risk-free rate taken as 0.

    Source: W. F. Sharpe, "The Sharpe Ratio", J. of Portfolio Management 21 (1994). None for fewer than two returns, or
    where they do not vary.
    """
    if len(returns) < 2:
        return None
    deviation = float(np.std(returns, ddof=1))
    if deviation < _NOTHING:
        return None
    return float(np.mean(returns)) / deviation * math.sqrt(per_year)


def sharpe_error(ratio: float, days: int, per_year: int) -> float:
    """Return the standard error of an annualised Sharpe ratio of `days` independent returns.

    Source: A. W. Lo, "The Statistics of Sharpe Ratios", Financial Analysts Journal 58 (2002): sqrt((1 + s^2 / 2) / n) of
    the daily ratio s.
    """
    daily = ratio / math.sqrt(per_year)
    return math.sqrt((1 + daily * daily / 2) / days) * math.sqrt(per_year)


def sortino(returns: Sequence[float], per_year: int) -> float | None:
    """Return mean / downside deviation x sqrt(`per_year`); the downside deviation is the root of the mean of min(r, 0)^2.

    Source: F. A. Sortino and R. van der Meer, "Downside Risk", J. of Portfolio Management 17 (1991), target 0. None for
    fewer than two returns, or where none is negative.
    """
    if len(returns) < 2:
        return None
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    if downside < _NOTHING:
        return None
    return float(np.mean(returns)) / downside * math.sqrt(per_year)


def drawdown(values: Sequence[float]) -> Drawdown | None:
    """Return the deepest drawdown of a curve, by amount; None where it never falls."""
    if len(values) < 2:
        return None
    curve = np.asarray(values, float)
    peaks = np.maximum.accumulate(curve)
    falls = peaks - curve
    trough = int(np.argmax(falls))
    if falls[trough] <= 0:
        return None
    peak = int(np.argmax(curve[: trough + 1]))
    back = np.flatnonzero(curve[trough:] >= peaks[trough])
    return Drawdown(
        amount=float(falls[trough]),
        fraction=deepest_fraction(values),
        peak=peak,
        trough=trough,
        recovered=trough + int(back[0]) if back.size else None,
    )


def deepest_fraction(values: Sequence[float]) -> float | None:
    """Return the largest fall as a fraction of the peak before it; None where a peak is not above 0."""
    curve = np.asarray(values, float)
    peaks = np.maximum.accumulate(curve)
    if not curve.size or peaks[0] <= 0:
        return None
    return float(np.max((peaks - curve) / peaks))


def wilson(successes: int, count: int) -> tuple[float, float] | None:
    """Return the 95 % interval of a share, None of nothing.

    Source: E. B. Wilson, "Probable Inference", J. of the American Statistical Association 22 (1927).
    """
    if count == 0:
        return None
    share, square = successes / count, Z_95 * Z_95
    middle = share + square / (2 * count)
    half = Z_95 * math.sqrt(share * (1 - share) / count + square / (4 * count * count))
    whole = 1 + square / count
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


def profit_factor(results: Sequence[float]) -> float | None:
    """Return what the winners made over what the losers lost; None where nothing was lost."""
    lost = -sum(result for result in results if result < 0)
    return sum(result for result in results if result > 0) / lost if lost > 0 else None


def mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def percentiles(values: Sequence[float], ranks: Sequence[float]) -> list[float | None]:
    """Return the percentiles (0..100) by linear interpolation between the two nearest values."""
    if not values:
        return [None] * len(ranks)
    return [float(value) for value in np.percentile(np.asarray(values, float), ranks)]


# --- how values are spread -------------------------------------------------------------------------------------


def round_step(rough: float) -> float:
    """Return the least of 1, 2, 2.5, 5 times a power of ten that is not below `rough` (> 0)."""
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1, 2, 2.5, 5, 10):
        if factor * power >= rough * (1 - 1e-9):
            return float(factor * power)
    return 10 * power


def spread(values: Sequence[float], bins: int) -> list[tuple[float, float, int]]:
    """Return (from, to, count) in bins of one round width, at most `bins` and two; 0 is an edge. A value lies in [from, to).

    One value, or equal ones, are one bin.
    """
    if not values:
        return []
    least, most = min(values), max(values)
    if most - least < _NOTHING * max(1.0, abs(most)):
        return [(least, most, len(values))]
    step = round_step((most - least) / bins)
    first, last = math.floor(least / step), math.floor(most / step)
    counts = [0] * (last - first + 1)
    for value in values:
        counts[min(last, max(first, math.floor(value / step))) - first] += 1
    return [((first + n) * step, (first + n + 1) * step, count) for n, count in enumerate(counts)]


def spread_by_factor(values: Sequence[float], per_decade: int) -> list[tuple[float, float, int]]:
    """Return (from, to, count) in bins that grow by the same factor; values that are not above 0 are left out."""
    known = [value for value in values if value > 0]
    if not known:
        return []
    places = [math.floor(math.log10(value) * per_decade + 1e-9) for value in known]
    first, last = min(places), max(places)
    counts = [0] * (last - first + 1)
    for place in places:
        counts[place - first] += 1
    return [
        (10 ** ((first + n) / per_decade), 10 ** ((first + n + 1) / per_decade), count)
        for n, count in enumerate(counts)
    ]
