"""The kernel: what one market row does to the state, compiled.

Owns the per-symbol state and the compiled entry points. May not allocate, read a clock, or decide
anything.
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
  triggers. It is out of sequence when more than `OUT_OF_SEQUENCE_NS` older than the newest eligible trade, or more
  than `LATE_NS` older than anything its symbol has seen (quotes, history that was loaded): stamps of one feed jitter
  by milliseconds between exchanges and reports take seconds, but a report of the past must not move the last price
  nor fire an order, the first trade of a day included. A trade that counts for volume alone does only that: in
  session and bar, VWAP among it. A trade that is neither only lets time pass.
- An eligible trade far from the last one may be suspicious (`suspects`); then it only lets time pass.
- A trade received more than `LONG_AGO_NS` after it was made fires nothing, whatever else it does: of a symbol that
  was silent for an hour nothing else tells a late print from a new one. (A quote is what is, however old.)
- Repeated trades are not recognised here; who splices a backfill removes them by trade id.
"""

# A compiled function takes its arguments by position: numba has no cheaper way.

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hands.core import bars, heaps, indicators, studies, suspects, triggers
from hands.core import compiled as compiling
from hands.core.compiled import (
    ABSENT,
    Record,
    compiled,
    compiled_apart,
    entry_point,
    int64,
    line_of,
    lines,
    prefetch,
)
from hands.core.indicators import SUM
from hands.core.rows import RowFlag, RowKind
from hands.core.triggers import WATCH
from hands.core.units import NANO_ABS_MAX, NS_PER_S

TRADE = int(RowKind.TRADE)
QUOTE = int(RowKind.QUOTE)
ELIGIBLE = int(RowFlag.ELIGIBLE)
COUNTS = int(RowFlag.ELIGIBLE | RowFlag.VOLUME)

AMOUNT_MAX = NANO_ABS_MAX / 1e9
PRICE_MIN = 1e-9
"""What is less is nought wherever prices are exact, and makes returns of it infinite."""
FUTURE_MAX_NS = 60 * NS_PER_S
OUT_OF_SEQUENCE_NS = NS_PER_S
LATE_NS = 10 * NS_PER_S
"""Exchanges' own prints come at once; what is reported from elsewhere has ten seconds before it counts as late."""
LONG_AGO_NS = 60 * NS_PER_S
"""By two clocks, so it is wide."""
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
        ("start_ns", "i8"),
        ("trades", "i8"),
        ("notional", SUM),
        ("volume", SUM),
    ],
    align=True,
)
RESET_STATE = np.dtype(
    [("at_ns", "i8"), ("period_ns", "i8"), ("told_at_ns", "i8"), ("told_period_ns", "i8")], align=True
)
SYMBOL = lines(
    [("due_ns", "i8"), ("seen_ns", "i8"), ("session", SESSION_STATE)],
    [("trade", TRADE_STATE), ("far_times", "f8")],
    [("watch", WATCH)],
    [("quote", QUOTE_STATE)],
    [("periods", studies.period_record(indicators.PERIODS))],
    [("reset", RESET_STATE), ("suspect", suspects.SUSPECT)],
)
"""One symbol. `due_ns` is the first time that closes a bar or restarts the session, `seen_ns` the newest time of a row
that let time pass, `far_times` how many times as high or low a suspicious print is at least. What a trade or a quote touches is in as few cache lines as can be."""

MANY = 512
"""From how many symbols on a row asks for later rows' cache lines ahead of time; those of fewer stay near anyway."""

AHEAD = 8
"""How many rows ahead. A trade among 5 000 symbols in turn: 27 ns without; with 4, 8 or 16 rows 24, 23 and 24."""

TRADE_LINE, WATCH_LINE, QUOTE_LINE, PERIODS_LINE = (
    line_of(SYMBOL, name) for name in ("trade", "watch", "quote", "periods")
)


@compiled
def _roll_session(session: Record, reset: Record, venue_ns: int) -> None:
    """Restart the sums if the reset has come, and put the next one beyond `venue_ns`."""
    if reset.at_ns <= 0 or venue_ns < reset.at_ns:
        return
    session.start_ns = reset.at_ns
    reset.at_ns = 0
    if reset.period_ns > 0:
        session.start_ns += (venue_ns - session.start_ns) // reset.period_ns * reset.period_ns
        reset.at_ns = session.start_ns + reset.period_ns
    session.trades = 0
    session.notional.total = 0.0
    session.notional.lost = 0.0
    session.volume.total = 0.0
    session.volume.lost = 0.0


@compiled_apart
def _come_due(symbols: np.ndarray, series: np.ndarray, history: np.ndarray, sym: int, venue_ns: int) -> None:
    symbol = symbols[sym]
    _roll_session(symbol.session, symbol.reset, venue_ns)
    due_ns = int64(2**63 - 1)
    if symbol.reset.at_ns > 0:
        due_ns = symbol.reset.at_ns
    for k in range(1, series.shape[1]):
        one = series[sym, k]
        ring = history[sym, one.ring_from : one.ring_to]
        due_ns = min(due_ns, bars.pass_time(one, ring, symbol.periods, venue_ns))
    symbol.due_ns = due_ns


@compiled
def _take_quote(symbol: Record, row: Record) -> None:
    quote = symbol.quote
    quote.bid = 0.0
    quote.ask = 0.0
    quote.bid_size = 0.0
    quote.ask_size = 0.0
    if PRICE_MIN <= row.price <= AMOUNT_MAX and 0.0 <= row.size <= AMOUNT_MAX:
        quote.bid = row.price
        quote.bid_size = row.size
    if PRICE_MIN <= row.price2 <= AMOUNT_MAX and 0.0 <= row.size2 <= AMOUNT_MAX:
        quote.ask = row.price2
        quote.ask_size = row.size2
    quote.venue_ns = row.venue_ns
    quote.recv_ns = row.recv_ns
    quote.seen = 1


@compiled
def _take_trade(symbol: Record, series: np.ndarray, history: np.ndarray, sym: int, row: Record) -> bool:
    """Count a trade that counts; return whether it became the last trade."""
    trade = symbol.trade
    in_sequence = bool(
        row.venue_ns >= trade.newest_ns - OUT_OF_SEQUENCE_NS and row.venue_ns >= symbol.seen_ns - LATE_NS
    )
    is_price = row.flags & ELIGIBLE != 0
    if is_price and suspects.is_far(row.price, trade.price, symbol.far_times):
        ticks, times = series[sym, 0].count, symbol.far_times
        if suspects.is_suspicious(symbol.suspect, trade, times, ticks, row.price, row.venue_ns, in_sequence):
            return False
    session = symbol.session
    if row.venue_ns >= session.start_ns:
        session.trades += 1
        indicators.add(session.notional, row.price * row.size)
        indicators.add(session.volume, row.size)
    for k in range(1, series.shape[1]):
        bars.take_trade(series[sym, k].bar, row.price, row.size, row.venue_ns, is_price, in_sequence)
    if is_price and in_sequence:
        trade.price = row.price
        trade.size = row.size
        trade.venue_ns = row.venue_ns
        trade.recv_ns = row.recv_ns
        trade.trade_id = row.trade_id
        trade.newest_ns = max(trade.newest_ns, row.venue_ns)
        trade.seen = 1
        bars.take_tick(series[sym, 0], history[sym], symbol.periods, row.price)
        return True
    return False


@compiled
def _mid(bid: float, ask: float) -> float:
    """Return the middle on the nano grid, so that one of 149.99 equals a level of 149.99; NaN if a side is missing."""
    return float(np.rint((bid + ask) * 5e8) / 1e9)


@compiled
def _bid(symbol: Record) -> float:
    return float(symbol.quote.bid) if symbol.quote.bid > 0.0 else ABSENT


@compiled
def _ask(symbol: Record) -> float:
    return float(symbol.quote.ask) if symbol.quote.ask > 0.0 else ABSENT


@compiled
def _is_quote_eventful(symbol: Record) -> bool:
    watch, bid, ask = symbol.watch, _bid(symbol), _ask(symbol)
    return bool(
        triggers.is_eventful(watch, triggers.AT_BID, bid)
        or triggers.is_eventful(watch, triggers.AT_ASK, ask)
        or triggers.is_eventful(watch, triggers.AT_MID, _mid(bid, ask))
    )


@compiled
def _value_now(symbol: Record, value: int) -> float:
    """Return what the market says of a watched value; NaN where it says nothing."""
    if value == 0:
        return float(symbol.trade.price) if symbol.trade.seen else ABSENT
    if value == 1:
        return _bid(symbol)
    if value == 2:
        return _ask(symbol)
    return _mid(_bid(symbol), _ask(symbol))


@compiled
def _better(symbol: Record, on: int, direction: int, best: float) -> float:
    """Return the better of `best` and the watched value now, for a trailing trigger."""
    now = _value_now(symbol, triggers.value_of(on))
    return now if triggers.is_beaten(best, now, direction) else best


@compiled_apart
def _fire(symbol: Record, table: np.ndarray, kind: int) -> int:
    """Let the symbol's triggers take the last trade or quote, and return how many it fires."""
    fired = int64(0)
    for value in range(0 if kind == TRADE else 1, 1 if kind == TRADE else triggers.VALUES):
        price = _value_now(symbol, value)
        if triggers.is_eventful(symbol.watch, value, price):
            fired = triggers.take_value(symbol.watch, table, value, price, fired)
    return triggers.list_fired(table, fired)


@compiled
def _take_row(row: Record, symbols: np.ndarray, series: np.ndarray, history: np.ndarray) -> bool:
    """Advance the state by one row and say whether it is one for the triggers."""
    sym = row.sym
    venue_ns = row.venue_ns
    if sym < 0 or sym >= symbols.shape[0] or venue_ns < 0:
        return False
    if row.recv_ns > 0 and venue_ns - row.recv_ns > FUTURE_MAX_NS:
        return False
    symbol = symbols[sym]
    if row.kind == QUOTE:
        if symbol.quote.seen and venue_ns < symbol.quote.venue_ns:
            return False
    elif row.kind != TRADE or not (PRICE_MIN <= row.price <= AMOUNT_MAX and 0.0 <= row.size <= AMOUNT_MAX):
        return False
    symbol.seen_ns = max(symbol.seen_ns, venue_ns)
    if venue_ns >= symbol.due_ns:
        _come_due(symbols, series, history, sym, venue_ns)
    if row.kind == QUOTE:
        _take_quote(symbol, row)
        return _is_quote_eventful(symbol)
    if not (row.flags & COUNTS and _take_trade(symbol, series, history, sym, row)):
        return False
    if row.recv_ns > 0 and row.recv_ns - venue_ns > LONG_AGO_NS:
        return False
    return triggers.is_eventful(symbol.watch, triggers.AT_TRADE, row.price)


@compiled
def _look_ahead(rows: np.ndarray, i: int, stop: int, symbols: np.ndarray, series: np.ndarray) -> None:
    """Ask for what row `i` + `AHEAD` will touch; it changes nothing but the time that row takes.

    Asking for an address that is not there (of a symbol that is not) is allowed, and nothing comes of it.
    """
    if symbols.shape[0] < MANY or i + AHEAD >= stop:
        return
    sym = int64(rows[i + AHEAD].sym)
    prefetch(symbols, sym, 0)
    prefetch(symbols, sym, WATCH_LINE)
    if rows[i + AHEAD].kind == QUOTE:
        prefetch(symbols, sym, QUOTE_LINE)
        return
    prefetch(symbols, sym, TRADE_LINE)
    prefetch(symbols, sym, PERIODS_LINE)
    ticks = sym * series.shape[1]
    for line in range(bars.TICK_LINES):
        prefetch(series, ticks, line)
    for k in range(1, series.shape[1]):
        prefetch(series, ticks + k, 0)


_AT_CLOSE = sum(len(study.values) for study in indicators.STUDIES)
_ON_TICKS = tuple(
    i for i, study in enumerate(study for study in indicators.STUDIES for _ in study.values) if study.ticks
)
_READ = _AT_CLOSE + len(_ON_TICKS)
_READ_ON_TICKS = _READ + sum(len(each.values) for each in indicators.READINGS)
_read_bars = studies.reading(indicators.READINGS, _READ, on_ticks=False)
_read_ticks = studies.reading(indicators.READINGS, _READ_ON_TICKS, on_ticks=True)


@compiled
def _volume_24h(day: Record, ring: np.ndarray) -> float:
    """Return the last day's volume, once a whole day was observed."""
    if day.since_ns < 0 or day.since_ns > day.bar.start_ns + day.interval_ns - DAY_NS:
        return ABSENT
    return bars.volume_within(day, ring, DAY_NS)


class EntryPoints(NamedTuple):
    """The functions that Python calls; compiled on first use."""

    consume: Callable[..., Any]
    observe: Callable[..., Any]
    arm: Callable[..., Any]
    disarm: Callable[..., Any]


def _entry_points(fingerprint: int) -> EntryPoints:
    """Return the entry points, to be cached under `fingerprint`."""

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
            _look_ahead(rows, i, stop, symbols, series)
            if _take_row(rows[i], symbols, series, history):
                count = _fire(symbols[rows[i].sym], table, rows[i].kind)
                if count:
                    return i + 1, count
        return stop, 0

    @entry_point
    def observe(
        symbols: np.ndarray,
        series: np.ndarray,
        history: np.ndarray,
        sym: int,
        k: int,
        k_day: int,
        out: np.ndarray,
    ) -> None:
        _ = fingerprint
        symbol, one, ticks = symbols[sym], series[sym, k], series[sym, 0]
        for i in range(len(out)):
            out[i] = ABSENT
        for i in range(_AT_CLOSE):
            out[i] = one.values[i]
        for i in range(len(_ON_TICKS)):
            out[_AT_CLOSE + i] = ticks.values[_ON_TICKS[i]]
        _read_bars(symbol, one, history[sym, one.ring_from : one.ring_to], out)
        _read_ticks(symbol, ticks, history[sym, 0:0], out)
        if k_day > 0:
            day = series[sym, k_day]
            out[len(out) - 1] = _volume_24h(day, history[sym, day.ring_from : day.ring_to])

    @entry_point
    def arm(
        symbols: np.ndarray,
        table: np.ndarray,
        sym: int,
        on: int,
        direction: int,
        trails: int,
        level: float,
        best: float,
    ) -> int:
        """Arm a trigger. A trailing one's best price is `best`, or that of the market now, whichever is better."""
        _ = fingerprint
        symbol = symbols[sym]
        if trails != triggers.FIXED:
            best = _better(symbol, on, direction, best)
        return triggers.link(symbol.watch, table, sym, on, direction, trails, level, best)

    @entry_point
    def disarm(symbols: np.ndarray, table: np.ndarray, slot: int) -> bool:
        _ = fingerprint
        if table[slot].armed == 0:
            return False
        triggers.unlink(symbols[table[slot].sym].watch, table, slot)
        return True

    return EntryPoints(consume, observe, arm, disarm)


KERNEL_FINGERPRINT = compiling.fingerprint(
    compiling, studies, indicators, bars, heaps, suspects, triggers, globals()
)
consume, observe, arm, disarm = _entry_points(KERNEL_FINGERPRINT)
