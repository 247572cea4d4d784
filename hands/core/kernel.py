"""The kernel: what one market row does to the state, compiled.

Owns the row format, the per-symbol state and the two compiled entry points, `consume` and `observe`. May not
allocate, read a clock, or decide anything.
The one idea: the event is the row. One compiled call consumes rows until one fires, so how a venue cut its
frames, and whether a dozen or a million rows are given at once, cannot change a bit of the state.

What a row does (all times are the venue's, all comparisons per symbol):
- A trade with a price or size that is not a possible amount, a row of an unknown symbol or kind, and a row
  stamped more than `FUTURE_MAX_NS` after it was received (one such stamp would make everything after it "old")
  are counted and change nothing else.
- A quote replaces the current one unless its stamp is older; at equal stamps the later arrival wins. A side
  without a possible price is missing: the quote is then one-sided, and a missing side fires nothing.
- Any other row lets time pass: bars of earlier intervals close, and the session restarts at its reset.
- An eligible trade counts in the session's VWAP and volume if it was made in this session, and in its bar if
  that has not closed. In sequence, it also becomes the last trade, advances the tick indicators and can fire
  triggers. It is out of sequence when more than `OUT_OF_SEQUENCE_NS` older than the newest eligible trade:
  stamps of one feed jitter by milliseconds between exchanges, but a report of the past must not move the last
  price nor fire an order. An ineligible trade only lets time pass.
- Repeated trades are not recognised here; who splices a backfill removes them by trade id.
"""

# A compiled function takes its arguments by position: numba has no cheaper way.

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, IntFlag
from typing import Any

import numpy as np

from hands.core import bars, indicators, triggers
from hands.core.indicators import ABSENT, SUM, Record, compiled, entry_point
from hands.core.triggers import WATCH
from hands.core.units import NANO_ABS_MAX, NS_PER_S


class RowKind(IntEnum):
    TRADE = 1
    QUOTE = 2


class RowFlag(IntFlag):
    """ELIGIBLE: the trade's sale conditions let it update last, high, low, volume and indicators."""

    ELIGIBLE = 1


TRADE = int(RowKind.TRADE)
QUOTE = int(RowKind.QUOTE)
ELIGIBLE = int(RowFlag.ELIGIBLE)

ROW = np.dtype(
    [
        ("sym", "i4"),
        ("kind", "u1"),
        ("flags", "u1"),
        ("price", "f8"),
        ("size", "f8"),
        ("price2", "f8"),
        ("size2", "f8"),
        ("venue_ns", "i8"),
        ("recv_ns", "i8"),
        ("trade_id", "i8"),
    ],
    align=True,
)
"""One market event, 64 bytes: a trade (price, size) or a quote (bid price, size; ask price2, size2)."""

AMOUNT_MAX = NANO_ABS_MAX / 1e9
FUTURE_MAX_NS = 60 * NS_PER_S
OUT_OF_SEQUENCE_NS = NS_PER_S
DAY_NS = 86_400 * NS_PER_S

QUOTE_STATE = np.dtype(
    [
        ("bid", "f8"),
        ("ask", "f8"),
        ("bid_size", "f8"),
        ("ask_size", "f8"),
        ("venue_ns", "i8"),
        ("recv_ns", "i8"),
        ("seen", "i8"),
    ],
    align=True,
)
TRADE_STATE = np.dtype(
    [
        ("price", "f8"),
        ("size", "f8"),
        ("venue_ns", "i8"),
        ("recv_ns", "i8"),
        ("trade_id", "i8"),
        ("newest_ns", "i8"),
        ("seen", "i8"),
    ],
    align=True,
)
SESSION_STATE = np.dtype(
    [
        ("reset_ns", "i8"),
        ("period_ns", "i8"),
        ("start_ns", "i8"),
        ("trades", "i8"),
        ("notional", SUM),
        ("volume", SUM),
    ],
    align=True,
)
SYMBOL = np.dtype(
    [
        ("first_ns", "i8"),
        ("quote", QUOTE_STATE),
        ("trade", TRADE_STATE),
        ("session", SESSION_STATE),
        ("watch", WATCH),
    ],
    align=True,
)


def new_rows(capacity: int) -> np.ndarray:
    """Return `capacity` empty rows; shape (capacity,), dtype `ROW`."""
    return np.zeros(capacity, ROW)


@compiled
def _roll_session(session: Record, venue_ns: int) -> None:
    """Restart the sums if the reset has come, and put the next one beyond `venue_ns`."""
    if session.reset_ns <= 0 or venue_ns < session.reset_ns:
        return
    session.start_ns = session.reset_ns
    session.reset_ns = 0
    if session.period_ns > 0:
        session.start_ns += (venue_ns - session.start_ns) // session.period_ns * session.period_ns
        session.reset_ns = session.start_ns + session.period_ns
    session.trades = 0
    session.notional.total = 0.0
    session.notional.lost = 0.0
    session.volume.total = 0.0
    session.volume.lost = 0.0


@compiled
def _pass_time(symbol: Record, series: np.ndarray, history: np.ndarray, sym: int, venue_ns: int) -> None:
    if symbol.first_ns < 0:
        symbol.first_ns = venue_ns
    _roll_session(symbol.session, venue_ns)
    for k in range(1, series.shape[1]):
        bars.pass_time(series[sym, k], history[:, sym, k - 1], venue_ns)


@compiled
def _take_quote(symbol: Record, row: Record) -> None:
    quote = symbol.quote
    quote.bid = 0.0
    quote.ask = 0.0
    quote.bid_size = 0.0
    quote.ask_size = 0.0
    if 0.0 < row.price <= AMOUNT_MAX and 0.0 <= row.size <= AMOUNT_MAX:
        quote.bid = row.price
        quote.bid_size = row.size
    if 0.0 < row.price2 <= AMOUNT_MAX and 0.0 <= row.size2 <= AMOUNT_MAX:
        quote.ask = row.price2
        quote.ask_size = row.size2
    quote.venue_ns = row.venue_ns
    quote.recv_ns = row.recv_ns
    quote.seen = 1


@compiled
def _take_trade(symbol: Record, series: np.ndarray, sym: int, row: Record) -> bool:
    """Count an eligible trade; return whether it was in sequence and so became the last trade."""
    trade = symbol.trade
    in_sequence = bool(trade.seen == 0 or row.venue_ns >= trade.newest_ns - OUT_OF_SEQUENCE_NS)
    session = symbol.session
    if row.venue_ns >= session.start_ns:
        session.trades += 1
        indicators.add(session.notional, row.price * row.size)
        indicators.add(session.volume, row.size)
    for k in range(1, series.shape[1]):
        bars.take_trade(series[sym, k].bar, row.price, row.size, row.venue_ns, in_sequence)
    if in_sequence:
        trade.price = row.price
        trade.size = row.size
        trade.venue_ns = row.venue_ns
        trade.recv_ns = row.recv_ns
        trade.trade_id = row.trade_id
        trade.newest_ns = max(trade.newest_ns, row.venue_ns)
        trade.seen = 1
        indicators.advance(series[sym, 0].study, row.price)
    return in_sequence


@compiled
def _test_quote(symbol: Record, table: np.ndarray) -> int:
    quote = symbol.quote
    bid = quote.bid if quote.bid > 0.0 else ABSENT
    ask = quote.ask if quote.ask > 0.0 else ABSENT
    # On the nano grid, so that a middle of 149.99 equals a level of 149.99; NaN if a side is missing.
    mid = np.rint((bid + ask) * 5e8) / 1e9
    if triggers.reaches_quote(symbol.watch, bid, ask, mid):
        return triggers.fire(symbol.watch, table, ABSENT, bid, ask, mid)
    return 0


@compiled
def _take_row(
    row: Record,
    symbols: np.ndarray,
    series: np.ndarray,
    history: np.ndarray,
    table: np.ndarray,
) -> int:
    """Advance the state by one row and return how many triggers it fired."""
    sym = row.sym
    venue_ns = row.venue_ns
    if sym < 0 or sym >= symbols.shape[0] or venue_ns < 0:
        return 0
    if row.recv_ns > 0 and venue_ns - row.recv_ns > FUTURE_MAX_NS:
        return 0
    symbol = symbols[sym]
    if row.kind == QUOTE:
        if symbol.quote.seen and venue_ns < symbol.quote.venue_ns:
            return 0
        _pass_time(symbol, series, history, sym, venue_ns)
        _take_quote(symbol, row)
        return _test_quote(symbol, table)
    if row.kind == TRADE:
        if not (0.0 < row.price <= AMOUNT_MAX and 0.0 <= row.size <= AMOUNT_MAX):
            return 0
        _pass_time(symbol, series, history, sym, venue_ns)
        moved = row.flags & ELIGIBLE and _take_trade(symbol, series, sym, row)
        if moved and triggers.reaches_trade(symbol.watch, row.price):
            return triggers.fire(symbol.watch, table, row.price, ABSENT, ABSENT, ABSENT)
    return 0


def _entry_points(fingerprint: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return (consume, observe), compiled on first use and cached under `fingerprint`."""

    @entry_point
    def consume(
        rows: np.ndarray,
        start: int,
        stop: int,
        symbols: np.ndarray,
        series: np.ndarray,
        history: np.ndarray,
        table: np.ndarray,
    ) -> tuple[int, int]:
        _ = fingerprint
        for i in range(start, stop):
            count = _take_row(rows[i], symbols, series, history, table)
            if count:
                return i + 1, count
        return stop, 0

    @entry_point
    def observe(
        symbols: np.ndarray, series: np.ndarray, history: np.ndarray, sym: int, k: int, k_day: int
    ) -> tuple[float, ...]:
        _ = fingerprint
        session = symbols[sym].session
        volume = ABSENT
        vwap = ABSENT
        if session.trades > 0:
            volume = session.volume.total + session.volume.lost
            if volume > 0.0:
                vwap = (session.notional.total + session.notional.lost) / volume
        volume_24h = ABSENT
        if k_day > 0 and symbols[sym].first_ns >= 0:
            day = series[sym, k_day]
            if symbols[sym].first_ns <= day.bar.start_ns + day.interval_ns - DAY_NS:
                volume_24h = bars.volume_within(day, history[:, sym, k_day - 1], DAY_NS)
        at_close = indicators.read(series[sym, k].study)
        at_ticks = indicators.read(series[sym, 0].study)
        return at_close + at_ticks + (vwap, volume, volume_24h)

    return consume, observe


KERNEL_FINGERPRINT = indicators.fingerprint(indicators, bars, triggers)
consume, observe = _entry_points(KERNEL_FINGERPRINT)
