"""What the indicators should be after all those hours, computed from scratch by somebody else.

Owns the formulas once more, in decimal arithmetic of forty digits and exact sums, from the trades as a perfect client
heard them. May not import the kernel's: what is compared shares nothing with what it is compared to. The one idea: an
average that forgets is a function of its last few thousand prices, so it can be computed anew from those; sums are
computed over all of the session.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import Any, Final

import numpy as np

from hands.core.units import NS_PER_S

TAIL: Final = 6_000
"""So many prices back a weight of Wilder's average of 14 is 1e-193."""

PRICES_NEEDED: Final = 34
"""As many as a MACD signal takes."""

DIGITS: Final = 40
ELIGIBLE: Final = 1
_KEEPS_THE_PRICES_BITS: Final = frozenset({"macd", "macd_signal", "tick_macd", "tick_macd_signal"})
"""A difference of two averages is as exact as they are, however small it is."""


def expected(trades: np.ndarray, interval_s: int, seen_ns: int, session_ns: int) -> dict[str, float]:
    """Return what is to be shown of a symbol that heard `trades`, in order, and time pass until `seen_ns`."""
    bars = completed(trades, interval_s, seen_ns)
    prices = trades["price"][trades["flags"] == ELIGIBLE][-TAIL:].tolist()
    found = _of_prices(prices, "tick_") | _of_prices([bar[3] for bar in bars][-TAIL:], "")
    of_session = trades[trades["venue_ns"] >= session_ns]
    found["volume"] = math.fsum(of_session["size"].tolist())
    found["vwap"] = _notional(of_session) / found["volume"] if found["volume"] else math.nan
    if len(bars) > 21:
        found |= _of_windows(bars)
    if len(bars) > 14:
        found["atr"] = _atr(bars)
    rolling = _since_bucket(trades, interval_s, seen_ns, 30, {bar[6] for bar in bars})
    volume = math.fsum(rolling["size"].tolist())
    if volume:
        found["vwap_rolling"] = _notional(rolling) / volume
    return found


Bar = tuple[float, float, float, float, float, float, int]
"""Open, high, low, close, volume, volume x price, number of its interval."""


def completed(trades: np.ndarray, interval_s: int, seen_ns: int) -> list[Bar]:
    """Return the bars whose interval is over at `seen_ns`, oldest first."""
    number = trades["venue_ns"] // (interval_s * NS_PER_S)
    edges = np.flatnonzero(np.diff(number)) + 1
    found: list[Bar] = []
    for part in np.split(trades, edges):
        bucket = int(part["venue_ns"][0]) // (interval_s * NS_PER_S) if len(part) else 0
        prices = part["price"][part["flags"] == ELIGIBLE]
        if len(prices) and (bucket + 1) * interval_s * NS_PER_S <= seen_ns:
            open_, high, low, close = (
                float(each) for each in (prices[0], prices.max(), prices.min(), prices[-1])
            )
            found.append((open_, high, low, close, math.fsum(part["size"].tolist()), _notional(part), bucket))
    return found


def deviation(shown: Mapping[str, Any], wanted: Mapping[str, float], price: float) -> tuple[float, int]:
    """Return the largest relative difference, and how many values were compared; what is not shown is not."""
    worst, compared = 0.0, 0
    for name, value in wanted.items():
        here = shown.get(name)
        if here is None:
            continue
        scale = price if name in _KEEPS_THE_PRICES_BITS else max(abs(value), 1e-12)
        worst = max(worst, abs(here - value) / scale)
        compared += 1
    return worst, compared


def bars_deviation(shown: Sequence[Mapping[str, float]], bars: Sequence[Bar]) -> float:
    """Return the largest relative difference of the newest bars; 1 where they are not the same bars."""
    worst = 0.0
    for here, bar in zip(reversed(shown), reversed(bars), strict=False):
        open_, high, low, close, volume, notional, _ = bar
        if (here["open"], here["high"], here["low"], here["close"]) != (open_, high, low, close):
            return 1.0
        vwap = notional / volume if volume else close
        worst = max(worst, abs(here["volume"] - volume) / max(volume, 1e-12), abs(here["vwap"] / vwap - 1))
    return worst


def _notional(trades: np.ndarray) -> float:
    return math.fsum((trades["price"] * trades["size"]).tolist())


def _since_bucket(
    trades: np.ndarray, interval_s: int, seen_ns: int, intervals: int, priced: set[int]
) -> np.ndarray:
    """Return the trades of the last intervals, the one in progress among them, but for those that made no bar."""
    now = seen_ns // (interval_s * NS_PER_S)
    number = trades["venue_ns"] // (interval_s * NS_PER_S)
    found: np.ndarray = trades[(number > now - intervals) & np.isin(number, [*priced, now])]
    return found


# --- averages that forget ----------------------------------------------------------------------------------------


def _of_prices(prices: Sequence[float], prefix: str) -> dict[str, float]:
    if len(prices) < PRICES_NEEDED:
        return {}
    with localcontext() as context:
        context.prec = DIGITS
        exact = [Decimal(price) for price in prices]
        line, signal = _macd(exact)
        found = {"macd": float(line), "macd_signal": float(signal)}
        rsi = _rsi(exact)
        if rsi is not None:
            found["rsi"] = float(rsi)
        if not prefix:
            found["ema"] = float(_ema(exact, 20)[-1])
    return {prefix + name: value for name, value in found.items()}


def _rsi(prices: Sequence[Decimal], n: int = 14) -> Decimal | None:
    changes = [b - a for a, b in pairwise(prices)]
    gain = sum((max(c, Decimal()) for c in changes[:n]), Decimal()) / n
    loss = sum((max(-c, Decimal()) for c in changes[:n]), Decimal()) / n
    for change in changes[n:]:
        gain = (gain * (n - 1) + max(change, Decimal())) / n
        loss = (loss * (n - 1) + max(-change, Decimal())) / n
    return 100 * gain / (gain + loss) if gain + loss else None


def _ema(values: Sequence[Decimal], n: int) -> list[Decimal]:
    found = [sum(values[:n], Decimal()) / n]
    for value in values[n:]:
        found.append(found[-1] + (value - found[-1]) * 2 / (n + 1))
    return found


def _macd(prices: Sequence[Decimal]) -> tuple[Decimal, Decimal]:
    slow = _ema(prices, 26)
    fast = _ema(prices[14:], 12)
    line = [a - b for a, b in zip(fast, slow, strict=True)]
    return line[-1], _ema(line, 9)[-1]


def _atr(bars: Sequence[Bar], n: int = 14) -> float:
    with localcontext() as context:
        context.prec = DIGITS
        ranges = []
        for before, bar in pairwise(bars):
            high, low, last = Decimal(bar[1]), Decimal(bar[2]), Decimal(before[3])
            ranges.append(max(high, last) - min(low, last))
        average = sum(ranges[:n], Decimal()) / n
        for one in ranges[n:]:
            average = (average * (n - 1) + one) / n
        return float(average)


# --- windows -----------------------------------------------------------------------------------------------------


def _of_windows(bars: Sequence[Bar]) -> dict[str, float]:
    closes, volumes = [bar[3] for bar in bars[-21:]], [bar[4] for bar in bars[-21:]]
    middle, width = _mean_and_deviation(closes[1:])
    mean, spread = _mean_and_deviation(volumes[:-1])
    returns = [math.log(b / a) for a, b in pairwise(closes)]
    found = {
        "bollinger_lower": middle - 2 * width,
        "bollinger_middle": middle,
        "bollinger_upper": middle + 2 * width,
        "volatility": math.sqrt(math.fsum(each * each for each in returns)),
    }
    return found | ({"volume_z": (volumes[-1] - mean) / spread} if spread else {})


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and population standard deviation."""
    with localcontext() as context:
        context.prec = DIGITS
        exact = [Decimal(value) for value in values]
        mean = sum(exact, Decimal()) / len(exact)
        squares = sum(((value - mean) ** 2 for value in exact), Decimal()) / len(exact)
        return float(mean), float(squares.sqrt())
