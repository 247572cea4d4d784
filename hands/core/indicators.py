"""The indicators: what is computed from a symbol's trades and bars, and the tables that list it.

Owns the formulas, the periods they can be set to, and `Indicators`, which shows their values. May not know where a
price came from: no clock, no venue, no filter.
The one idea: an indicator is one compiled function and one row of a table, `STUDIES` if it remembers and `READINGS`
if it does not (docs/indicators.md says how to add one).

What is guaranteed. Every value is a function of the rows alone, to the bit. Nothing drifts, however long a session:
- a reading is computed from its window whenever it is read, so an error cannot outlive the window;
- an average that forgets (Wilder's, exponential) forgets its rounding errors too: what a price did is multiplied by
  at most 1 - 1/n per step, so the error stays below n + 1 roundings of the largest price (relative 2e-16 each);
- the session's sums are compensated (Neumaier): their relative error stays below 4e-16 at any length;
- a bar's volume and notional are plain sums of one interval: n trades, at most n roundings.
RSI, EMA, MACD and ATR do what TA-Lib does, in its order: what differs is a compiler's last bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from hands.core.compiled import Record, compiled
from hands.core.studies import Period, Reading, Study, period_record, set_periods

SUM = np.dtype([("total", "f8"), ("lost", "f8")], align=True)

FORGETS_MAX = 100_000
"""Longest period of an average that forgets."""

TINY = 1e-280
"""Averages that shrink below this while a price stands still are nought: near 1e-308 arithmetic takes 30 times as long."""

WINDOW_MAX = 120
"""Longest window, in bars; that many and a few more are kept of every interval."""


@compiled
def add(running: Record, value: float) -> None:
    """Add `value` to a compensated sum, keeping the digits that a plain sum would round away.

    Source: A. Neumaier (1974), the improved Kahan summation; the sum is `total + lost`.
    """
    total = running.total + value
    if abs(running.total) >= abs(value):
        running.lost += (running.total - total) + value
    else:
        running.lost += (value - total) + running.total
    running.total = total


# --- studies: (memory, series, ring, periods, v) -> v --------------------------------------------------------


@compiled
def rsi(m: Record, series: Record, ring: np.ndarray, p: Record, v: np.ndarray) -> None:
    """Return the relative strength index, from price n + 1 on, and only once something has moved.

    Source: J. Welles Wilder, New Concepts in Technical Trading Systems (1978), as TA-Lib computes it: the first
    averages are the plain means of the first n gains and losses, then average = (average x (n - 1) + change) / n.
    While the price stands still both averages shrink alike and the index stays what it is. (TA-Lib says 0, "oversold",
    once they are below 1e-14, and where nothing ever moved.)
    """
    seen, price = series.count, series.bar.close
    change = price - m.last
    m.last = price
    if seen == 0:
        return
    gain, loss = max(change, 0.0), max(-change, 0.0)
    if seen > p.rsi:
        m.gain = (m.gain * (p.rsi - 1) + gain) / p.rsi
        m.loss = (m.loss * (p.rsi - 1) + loss) / p.rsi
    else:
        m.gain += gain
        m.loss += loss
        if seen < p.rsi:
            return
        m.gain /= p.rsi
        m.loss /= p.rsi
    moved = m.gain + m.loss
    if moved > TINY:
        v[0] = 100.0 * (m.gain / moved)
    else:
        m.gain = 0.0
        m.loss = 0.0


@compiled
def _toward(average: float, value: float, step: float) -> float:
    return (value - average) * step + average


@compiled
def macd(m: Record, series: Record, ring: np.ndarray, p: Record, v: np.ndarray) -> None:
    """Return (line, signal, histogram): the line from price `macd_slow` on, the signal `macd_signal` - 1 later.

    Source: G. Appel's MACD with TA-Lib's alignment: every average is seeded by the plain mean of its first period of
    values, and both price averages start at the same price, so the fast one is seeded by the prices just before it.
    """
    seen, price = series.count, series.bar.close
    since = seen - (p.macd_slow - 1)
    if since > 0:
        m.slow = _toward(m.slow, price, p.macd_slow_step)
        m.fast = _toward(m.fast, price, p.macd_fast_step)
    else:
        m.slow += price
        if seen >= p.macd_slow - p.macd_fast:
            m.fast += price
        if since < 0:
            return
        m.slow /= p.macd_slow
        m.fast /= p.macd_fast
    line = v[0] = m.fast - m.slow
    if since >= p.macd_signal:
        m.signal = _toward(m.signal, line, p.macd_signal_step)
        if abs(m.signal) < TINY:
            m.signal = 0.0
    else:
        m.signal += line
        if since < p.macd_signal - 1:
            return
        m.signal /= p.macd_signal
    v[1] = m.signal
    v[2] = line - m.signal


@compiled
def ema(m: Record, series: Record, ring: np.ndarray, p: Record, v: np.ndarray) -> None:
    """Return the exponential moving average, from price n on: seeded by the mean of the first n, step 2 / (n + 1)."""
    seen, price = series.count, series.bar.close
    if seen >= p.ema:
        m.average = _toward(m.average, price, p.ema_step)
    else:
        m.average += price
        if seen < p.ema - 1:
            return
        m.average /= p.ema
    v[0] = m.average


@compiled
def atr(m: Record, series: Record, ring: np.ndarray, p: Record, v: np.ndarray) -> None:
    """Return Wilder's average true range, from bar n + 1 on.

    True range = max(high, last close) - min(low, last close), of every bar but the first. Source as for the RSI: the
    plain mean of the first n, then (average x (n - 1) + range) / n.
    """
    seen, bar = series.count, series.bar
    spread = max(bar.high - bar.low, abs(bar.high - m.last), abs(bar.low - m.last))
    m.last = bar.close
    if seen == 0:
        return
    if seen > p.atr:
        m.average = (m.average * (p.atr - 1) + spread) / p.atr
    else:
        m.average += spread
        if seen < p.atr:
            return
        m.average /= p.atr
    v[0] = m.average


PIVOT_WING = 5
PIVOT_SPAN = 2 * PIVOT_WING + 1


@compiled
def rsi_divergence(m: Record, series: Record, ring: np.ndarray, p: Record, v: np.ndarray) -> None:
    """Return 1 (bullish), -1 (bearish) or 0: what the last pivot of the RSI said; absent before the first pivot.

    A bar is a *pivot low* if its RSI is below those of the five bars before it and not above those of the five after
    it, and is known as one when the fifth has closed; a *pivot high* is the mirror image. The pivot says 1 if it is a
    low, at most `divergence_range` bars after the pivot low before it, with a lower bar low and a higher RSI than
    that one; -1 if it is a high, as near to the high before it, with a higher bar high and a lower RSI; otherwise 0.
    This is the regular divergence of TradingView's "RSI Divergence Indicator", kept until the next pivot.
    """
    number = series.count
    m.strengths[number % PIVOT_SPAN] = series.values[RSI_AT]
    at = number - PIVOT_WING
    if at < PIVOT_WING:
        return
    strength = m.strengths[at % PIVOT_SPAN]
    is_low = is_high = True
    for i in range(1, PIVOT_WING + 1):
        before, after = m.strengths[(at - i) % PIVOT_SPAN], m.strengths[(at + i) % PIVOT_SPAN]
        is_low = is_low and strength < before and strength <= after
        is_high = is_high and strength > before and strength >= after
    if is_low:
        price = ring[at % len(ring)].low
        near = m.low_at > 0 and at - m.low_at <= p.divergence_range
        v[0] = 1.0 if near and price < m.low and strength > m.low_rsi else 0.0
        m.low_at, m.low, m.low_rsi = at, price, strength
    elif is_high:
        price = ring[at % len(ring)].high
        near = m.high_at > 0 and at - m.high_at <= p.divergence_range
        v[0] = -1.0 if near and price > m.high and strength < m.high_rsi else 0.0
        m.high_at, m.high, m.high_rsi = at, price, strength


# --- readings: (symbol, series, ring, v) -> v ----------------------------------------------------------------


@compiled
def rsi_14(symbol: Record, series: Record, ring: np.ndarray, v: np.ndarray) -> None:
    """Return the RSI where its period is 14: the trades' ledger has a column of that name, which must not lie."""
    if symbol.periods.rsi == 14:
        v[0] = series.values[RSI_AT]


@compiled
def bollinger(symbol: Record, series: Record, ring: np.ndarray, v: np.ndarray) -> None:
    """Return (lower, middle, upper): the mean of the last n closes, and `bollinger_width` standard deviations of them.

    Source: J. Bollinger; the standard deviation is the population's (divided by n), as in TA-Lib.
    """
    n = symbol.periods.bollinger
    if series.count < n:
        return
    total = 0.0
    for back in range(n, 0, -1):
        total += ring[(series.count - back) % len(ring)].close
    middle = total / n
    squares = 0.0
    for back in range(n, 0, -1):
        distance = ring[(series.count - back) % len(ring)].close - middle
        squares += distance * distance
    reach = symbol.periods.bollinger_width * math.sqrt(squares / n)
    v[0], v[1], v[2] = middle - reach, middle, middle + reach


@compiled
def volume_z(symbol: Record, series: Record, ring: np.ndarray, v: np.ndarray) -> None:
    """Return how many standard deviations (population's) the last bar's volume is from the mean of the n before it.

    Absent where those n all had the same volume.
    """
    n = symbol.periods.volume_z
    if series.count <= n:
        return
    total = 0.0
    for back in range(n + 1, 1, -1):
        total += ring[(series.count - back) % len(ring)].volume
    mean = total / n
    squares = 0.0
    for back in range(n + 1, 1, -1):
        distance = ring[(series.count - back) % len(ring)].volume - mean
        squares += distance * distance
    if squares > 0.0:
        v[0] = (ring[(series.count - 1) % len(ring)].volume - mean) / math.sqrt(squares / n)


@compiled
def volatility(symbol: Record, series: Record, ring: np.ndarray, v: np.ndarray) -> None:
    """Return the realised volatility of the last n bars: the root of the sum of their squared log returns.

    It is a fraction of the price and of these n bars, not of a year; an interval without trades is not a bar.
    """
    n = symbol.periods.volatility
    if series.count <= n:
        return
    squares = 0.0
    last = ring[(series.count - n - 1) % len(ring)].close
    for back in range(n, 0, -1):
        close = ring[(series.count - back) % len(ring)].close
        change = math.log(close / last)
        squares += change * change
        last = close
    v[0] = math.sqrt(squares)


@compiled
def vwap_rolling(symbol: Record, series: Record, ring: np.ndarray, v: np.ndarray) -> None:
    """Return the VWAP of the last n intervals, the one in progress among them, once all of it was observed."""
    bar = series.bar
    oldest_ns = bar.start_ns + series.interval_ns * (1 - symbol.periods.vwap_rolling)
    if series.since_ns < 0 or series.since_ns > oldest_ns:
        return
    notional, volume = bar.notional, bar.volume
    for back in range(1, min(series.count, symbol.periods.vwap_rolling) + 1):
        completed = ring[(series.count - back) % len(ring)]
        if completed.start_ns < oldest_ns:
            break
        notional += completed.notional
        volume += completed.volume
    if volume > 0.0:
        v[0] = notional / volume


@compiled
def session(symbol: Record, series: Record, ring: np.ndarray, v: np.ndarray) -> None:
    """Return the session's (VWAP, volume) of eligible trades; the VWAP is absent while all had size zero."""
    sums = symbol.session
    if sums.trades == 0:
        return
    v[1] = volume = sums.volume.total + sums.volume.lost
    if volume > 0.0:
        v[0] = (sums.notional.total + sums.notional.lost) / volume


# --- the tables ------------------------------------------------------------------------------------------------

STUDIES = (
    Study(
        "rsi",
        rsi,
        memory=(("last", "f8"), ("gain", "f8"), ("loss", "f8")),
        values=("rsi",),
        periods=(Period("rsi", 14, 2, FORGETS_MAX),),
        ticks=True,
    ),
    Study(
        "macd",
        macd,
        memory=(("fast", "f8"), ("slow", "f8"), ("signal", "f8")),
        values=("macd", "macd_signal", "macd_hist"),
        periods=(
            Period("macd_fast", 12, 2, FORGETS_MAX),
            Period("macd_slow", 26, 2, FORGETS_MAX),
            Period("macd_signal", 9, 1, FORGETS_MAX),
        ),
        ticks=True,
    ),
    Study(
        "ema", ema, memory=(("average", "f8"),), values=("ema",), periods=(Period("ema", 20, 2, FORGETS_MAX),)
    ),
    Study(
        "atr",
        atr,
        memory=(("last", "f8"), ("average", "f8")),
        values=("atr",),
        periods=(Period("atr", 14, 2, FORGETS_MAX),),
    ),
    Study(
        "divergence",
        rsi_divergence,
        memory=(
            ("strengths", "f8", (PIVOT_SPAN,)),
            ("low_at", "i8"),
            ("low", "f8"),
            ("low_rsi", "f8"),
            ("high_at", "i8"),
            ("high", "f8"),
            ("high_rsi", "f8"),
        ),
        values=("rsi_divergence",),
        periods=(Period("divergence_range", 60, PIVOT_WING, FORGETS_MAX),),
    ),
)

READINGS = (
    Reading(rsi_14, ("rsi_14",), ticks=True),
    Reading(
        bollinger,
        ("bollinger_lower", "bollinger_middle", "bollinger_upper"),
        (Period("bollinger", 20, 2, WINDOW_MAX), Period("bollinger_width", 2.0, 0.1, 10.0)),
    ),
    Reading(volume_z, ("volume_z",), (Period("volume_z", 20, 2, WINDOW_MAX),)),
    Reading(volatility, ("volatility",), (Period("volatility", 20, 1, WINDOW_MAX),)),
    Reading(vwap_rolling, ("vwap_rolling",), (Period("vwap_rolling", 30, 1, WINDOW_MAX),)),
    Reading(session, ("vwap", "volume")),
)

PERIODS = tuple(period for row in (*STUDIES, *READINGS) for period in row.periods)

ALL_SYMBOLS = "*"


def choose_periods(
    records: np.ndarray, index: Mapping[str, int], chosen: Mapping[str, Mapping[str, float]]
) -> None:
    """Write every symbol's periods to its record: its own of `chosen`, else those of "*", else the defaults.

    Raises ValueError: periods of a symbol that is none of `index`, or that are not possible.
    """
    set_periods(records, PERIODS, chosen.get(ALL_SYMBOLS, {}))
    for symbol, own in chosen.items():
        if symbol == ALL_SYMBOLS:
            continue
        if symbol not in index:
            raise ValueError(f"periods for {symbol}, which is none of {tuple(index)}")
        sym = index[symbol]
        set_periods(records[sym : sym + 1], PERIODS, {**chosen.get(ALL_SYMBOLS, {}), **own})
    if (records["macd_fast"] >= records["macd_slow"]).any():
        raise ValueError("macd_fast must be shorter than macd_slow")


def check_periods(chosen: Mapping[str, Mapping[str, float]]) -> None:
    """Raise ValueError where `chosen` are not periods that symbols could have, whichever symbols there are."""
    index = {symbol: number for number, symbol in enumerate((ALL_SYMBOLS, *chosen))}
    choose_periods(np.zeros(1 + len(index), period_record(PERIODS)), index, chosen)


_STUDIED = tuple(name for study in STUDIES for name in study.values)
_STUDIED_ON_TICKS = tuple(f"tick_{name}" for study in STUDIES if study.ticks for name in study.values)
RSI_AT = _STUDIED.index("rsi")
_READ = tuple(name for each in READINGS for name in each.values)
_READ_ON_TICKS = tuple(f"tick_{name}" for each in READINGS if each.ticks for name in each.values)

SHOWN = (*_STUDIED, *_STUDIED_ON_TICKS, *_READ, *_READ_ON_TICKS, "volume_24h")
"""The fields of `Indicators`, in order."""

if TYPE_CHECKING:

    class Indicators(msgspec.Struct, frozen=True, gc=False):
        """What is known of a symbol: one field for every name in `SHOWN`."""

        def __getattr__(self, name: str) -> float | None: ...

else:
    Indicators = msgspec.defstruct(
        "Indicators", [(name, float | None) for name in SHOWN], frozen=True, gc=False, module=__name__
    )
    Indicators.__doc__ = """What is known of a symbol; `None` is "not known", never a number standing in for it.

    The unprefixed ones are taken at the close of bars, the `tick_` ones at every eligible trade. `vwap` and `volume`
    are the session's; `volume_24h` is the last 24 hours', known once 24 hours have been observed.
    """
