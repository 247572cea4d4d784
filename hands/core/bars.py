"""Bars: open, high, low, close, volume, count and VWAP per interval, built from trades in exchange time.

Owns when a bar opens and closes, and the ring of completed ones. May not read a clock, and knows nothing of
quotes: the kernel tells it that exchange time has passed and that a trade was made.
The one idea: a bar closes when a row of its symbol arrives that belongs to a later interval, and then it is
final. So a bar depends only on the rows, an interval without trades makes no bar, and the bar in progress of a
silent symbol stays open until its next row.

Late trades. A trade of an interval that has already closed changes no bar (the session's VWAP and volume still
count it). A trade of the interval in progress always counts in its volume, VWAP, high and low; where it is out
of sequence (the kernel's word) it leaves the close alone.
"""

from __future__ import annotations

import msgspec
import numpy as np

from hands.core.indicators import STUDY, Record, advance, compiled

RING = 512
"""Completed bars kept per symbol and interval: 8.5 hours of minutes, 42 hours of five minutes."""

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

SERIES = np.dtype([("interval_ns", "i8"), ("bar", BAR), ("study", STUDY)], align=True)
"""One series of prices: the bar in progress and the indicators of the completed ones, whose number is
`study.count`. A symbol's series 0 is its ticks, has no interval and leaves the bar unused."""


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


@compiled
def pass_time(series: Record, ring: np.ndarray, venue_ns: int) -> None:
    """Close the bar in progress if `venue_ns` is in a later interval; a bar without trades leaves no trace.

    `ring` is the series' completed bars, the newest at `(study.count - 1) % RING`.
    """
    bar = series.bar
    if venue_ns < bar.start_ns + series.interval_ns:
        return
    if bar.trades > 0:
        ring[series.study.count % RING] = bar
        advance(series.study, bar.close)
        bar.trades = 0
    bar.start_ns = venue_ns - venue_ns % series.interval_ns


@compiled
def take_trade(bar: Record, price: float, size: float, venue_ns: int, in_sequence: bool) -> None:
    """Count a trade in the bar in progress, unless it belongs to an interval that has closed."""
    if venue_ns < bar.start_ns:
        return
    if bar.trades == 0:
        bar.open = price
        bar.high = price
        bar.low = price
        bar.close = price
        bar.volume = 0.0
        bar.notional = 0.0
    bar.high = max(bar.high, price)
    bar.low = min(bar.low, price)
    if in_sequence:
        bar.close = price
    bar.volume += size
    bar.notional += price * size
    bar.trades += 1


@compiled
def volume_within(series: Record, ring: np.ndarray, span_ns: int) -> float:
    """Return the volume of the `span_ns` that end with the interval in progress; at most `RING` bars back."""
    bar = series.bar
    total = bar.volume if bar.trades > 0 else 0.0
    oldest_ns = bar.start_ns + series.interval_ns - span_ns
    count = series.study.count
    for back in range(1, min(count, RING) + 1):
        completed = ring[(count - back) % RING]
        if completed.start_ns < oldest_ns:
            break
        total += completed.volume
    return total


def view(record: np.void) -> Bar:
    """Return an immutable `Bar` of a `BAR` record that has at least one trade."""
    start_ns, open_, high, low, close, volume, notional, trades = record.item()
    vwap = notional / volume if volume > 0 else close
    return Bar(start_ns, open_, high, low, close, volume, vwap, trades)
