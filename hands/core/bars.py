"""Bars: open, high, low, close, volume, count and VWAP per interval, built from trades in exchange time.

Owns when a bar opens and closes, and the rings of completed ones. May not read a clock, and knows nothing of
quotes: the kernel tells it that exchange time has passed and that a trade was made.
The one idea: a bar closes when a row of its symbol arrives that belongs to a later interval, and then it is
final. So a bar depends only on the rows, an interval without trades makes no bar, and the bar in progress of a
silent symbol stays open until its next row.

Priced trades make open, high, low and close; a trade that counts for volume alone (an odd lot, say) makes none of
them, and an interval with no others makes no bar.

Late trades. A trade of an interval that has already closed changes no bar (the session's VWAP and volume still
count it). A trade of the interval in progress always counts in its volume, VWAP, high and low; where it is out
of sequence (the kernel's word) it leaves the close alone.
"""

from __future__ import annotations

import msgspec
import numpy as np

from hands.core import indicators, studies
from hands.core.compiled import ABSENT, Record, compiled, line_of, lines, on_lines
from hands.core.units import NS_PER_S

KEPT = 128
"""Completed bars that can be read, per symbol and interval: two hours of minutes. Every window fits."""

DAY_S = 86_400
DAY_BARS_MAX = 512
"""The shortest interval whose bars are kept for a whole day is the one with at most so many of them in it."""

SPARE = 32
"""Bars kept beyond those: a checkpoint need not carry any while at most so many have closed since (`Market.rebuild`)."""

BAR = np.dtype(
    [
        ("start_ns", "i8"),
        ("open", "f8"),
        ("high", "f8"),
        ("low", "f8"),
        ("close", "f8"),
        ("volume", "f8"),
        ("notional", "f8"),
        ("trades", "i8"),
    ],
    align=True,
)

SERIES = lines(
    [("bar", BAR)],
    [
        ("count", "i8"),
        ("values", "f8", (sum(len(study.values) for study in indicators.STUDIES),)),
        *studies.memories(indicators.STUDIES),
        ("interval_ns", "i8"),
        ("ring_from", "i8"),
        ("ring_to", "i8"),
        ("since_ns", "i8"),
    ],
)
"""One series of prices: the bar in progress, how many are completed, and what the studies remember and say of those.

A symbol's series 0 is its ticks: it has no interval, and its bar only has the last price as its close. Those of an
interval keep their completed bars in the symbol's history, from `ring_from` to `ring_to`, the newest at
`(count - 1) % length`, and have seen all trades since `since_ns` (-1: none yet).
"""


TICK_LINES = 1 + max(line_of(SERIES, study.name) for study in indicators.STUDIES if study.ticks)
"""How many cache lines of the series of ticks a trade touches."""


class Bar(msgspec.Struct, frozen=True, gc=False):
    """A bar, starting at `start_ns` exchange time; `vwap` is its close where all its trades had size zero."""

    start_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    vwap: float
    trades: int


def kept_of(interval_s: int, is_day: bool) -> int:
    """Return how many completed bars of an interval can be read; with `is_day`, a day's are among them."""
    return max(KEPT, -(-DAY_S // interval_s)) if is_day else KEPT


def day_interval(intervals_s: tuple[int, ...]) -> int | None:
    """Return the interval that the last 24 hours' volume is counted in: the finest that makes few enough bars."""
    return min((s for s in intervals_s if DAY_S >= s >= DAY_S / DAY_BARS_MAX), default=None)


def new_series(symbols: int, intervals_s: tuple[int, ...], ends: np.ndarray) -> np.ndarray:
    """Return the series of so many symbols before their first row; the rings of the intervals end at `ends`."""
    series = on_lines((symbols, 1 + len(intervals_s)), SERIES)
    intervals_ns = np.array(intervals_s, np.int64) * NS_PER_S
    series["values"] = ABSENT
    series["since_ns"] = -1
    series["interval_ns"][:, 1:] = intervals_ns
    series["ring_to"][:, 1:] = ends
    series["ring_from"][:, 2:] = ends[:-1]
    series["bar"]["start_ns"][:, 1:] = -intervals_ns  # so that a first row at time 0 opens a bar
    return series


advance_close = studies.advancing(indicators.STUDIES, on_ticks=False)
advance_tick = studies.advancing(indicators.STUDIES, on_ticks=True)


@compiled
def pass_time(series: Record, ring: np.ndarray, p: Record, venue_ns: int) -> int:
    """Close the bar in progress if `venue_ns` is in a later interval, and return when the one then open ends.

    A bar without a price leaves no trace.
    """
    bar = series.bar
    if series.since_ns < 0:
        series.since_ns = venue_ns
    if venue_ns >= bar.start_ns + series.interval_ns:
        if bar.open > 0.0:
            ring[series.count % len(ring)] = bar
            advance_close(series, ring, p)
            series.count += 1
        bar.start_ns = venue_ns - venue_ns % series.interval_ns
        bar.open = 0.0
        bar.volume = 0.0
        bar.notional = 0.0
        bar.trades = 0
    end_ns: int = bar.start_ns + series.interval_ns
    return end_ns


@compiled
def take_trade(
    bar: Record, price: float, size: float, venue_ns: int, is_price: bool, in_sequence: bool
) -> None:
    """Count a trade in the bar in progress, unless it belongs to an interval that has closed."""
    if venue_ns < bar.start_ns:
        return
    bar.volume += size
    bar.notional += price * size
    bar.trades += 1
    if not is_price:
        return
    if bar.open == 0.0:
        bar.open = price
        bar.high = price
        bar.low = price
        bar.close = price
    bar.high = max(bar.high, price)
    bar.low = min(bar.low, price)
    if in_sequence:
        bar.close = price


@compiled
def take_tick(series: Record, ring: np.ndarray, p: Record, price: float) -> None:
    """Take the price of a trade in sequence into the series of ticks."""
    series.bar.close = price
    advance_tick(series, ring, p)
    series.count += 1


@compiled
def volume_within(series: Record, ring: np.ndarray, span_ns: int) -> float:
    """Return the volume of the `span_ns` that end with the interval in progress, as far back as the ring reaches."""
    bar = series.bar
    total = float(bar.volume)
    oldest_ns = bar.start_ns + series.interval_ns - span_ns
    for back in range(1, min(series.count, len(ring)) + 1):
        completed = ring[(series.count - back) % len(ring)]
        if completed.start_ns < oldest_ns:
            break
        total += completed.volume
    return total


def view(record: np.void) -> Bar:
    """Return an immutable `Bar` of a `BAR` record that has a price."""
    start_ns, open_, high, low, close_, volume, notional, trades = record.item()
    vwap = notional / volume if volume > 0 else close_
    return Bar(start_ns, open_, high, low, close_, volume, vwap, trades)
