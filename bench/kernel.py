"""What one market row costs in the kernel: everything it does, measured with the engine's own calls.

Rows are eligible trades (the dearest kind: session sums, two bars, last trade, RSI and MACD, triggers) and,
apart, quotes, over eight symbols with a trigger armed far away on each. *Batch* is one call over all rows,
*single* one call per row, as a frame of one message would be. Times are taken of pieces of a millisecond or so, and
what is told is their median: what disturbs the machine touches few of them.

`scale` asks what more symbols and more triggers cost. Rows go from symbol to symbol at random, which is the worst for
the caches, and come 100 000 a second: at a slower pace more of them would close bars, with any number of symbols.
Of the rows among triggers one in a hundred fires one, which is armed again: both are in the time per row.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hands.core.market import Market, RowFlag, RowKind, TriggerDirection, TriggerOn, new_rows

SYMBOLS = 8
PIECE = 20_000
"""Rows whose time is taken together."""
PRICE = 150.0
PACE_NS = 10_000

SYMBOL_COUNTS = (1, 10, 100, 1_000, 5_000)
TRIGGER_COUNTS = (1, 100, 10_000, 100_000)
FIRES_EVERY = 100


def run(quick: bool = False) -> dict[str, float]:
    """Return nanoseconds per row: `ns_per_tick_batch`, `ns_per_tick_single`, `ns_per_quote_batch`; and per reading."""
    batch = 200_000 if quick else 2_000_000
    single = 20_000 if quick else 200_000
    Market.warm_up()
    trades, quotes = rows_of(batch, RowKind.TRADE, SYMBOLS), rows_of(batch, RowKind.QUOTE, SYMBOLS)
    return {
        "ns_per_tick_batch": per_row(trades, batch),
        "ns_per_tick_single": _one_by_one(trades, single),
        "ns_per_quote_batch": per_row(quotes, batch),
        "ns_per_indicators_read": _read_ns(trades[:10_000]),
    }


def scale(quick: bool = False) -> dict[str, Any]:
    """Return nanoseconds per row by the number of symbols and of triggers, and bytes of state per symbol."""
    count = 200_000 if quick else 1_000_000
    Market.warm_up()
    return {
        "symbols": {str(n): _among_symbols(n, count, RowKind.TRADE) for n in SYMBOL_COUNTS},
        "symbols_quotes": {str(n): _among_symbols(n, count, RowKind.QUOTE) for n in SYMBOL_COUNTS},
        "triggers": {str(n): _among_triggers(n, count // 5, _arm_fixed) for n in TRIGGER_COUNTS},
        "triggers_trailing": {str(n): _among_triggers(n, count // 5, _arm_trailing) for n in TRIGGER_COUNTS},
        "bytes_per_symbol": _bytes_per_symbol(),
        "bytes_per_trigger": _bytes_per_trigger(),
    }


def rows_of(count: int, kind: RowKind, symbols: int) -> np.ndarray:
    """Return a random walk of `count` rows, a millisecond apart, over so many symbols."""
    rng = np.random.default_rng(7)
    rows = new_rows(count)
    rows["sym"] = rng.integers(0, symbols, count)
    rows["kind"] = kind
    rows["flags"] = RowFlag.ELIGIBLE
    rows["price"] = np.round(PRICE + np.cumsum(rng.normal(0, 0.001, count)), 2)
    rows["size"] = rng.integers(1, 500, count)
    rows["price2"] = rows["price"] + 0.02
    rows["size2"] = rows["size"]
    rows["venue_ns"] = rows["recv_ns"] = 1_700_000_000_000_000_000 + np.arange(count) * 1_000_000
    return rows


def _market(symbols: int = SYMBOLS) -> Market:
    market = Market([f"S{i}" for i in range(symbols)])
    for sym in range(symbols):
        market.arm(sym, TriggerOn.TRADE | TriggerOn.ASK, TriggerDirection.ABOVE, 1e6)
    return market


def per_row(rows: np.ndarray, count: int, market: Market | None = None) -> float:
    """Return what a row takes when many are given at once: the median piece."""
    market, took = market or _market(), []
    for start in range(0, count, PIECE):
        began = time.perf_counter_ns()
        market.consume(rows, start, start + PIECE)
        took.append(time.perf_counter_ns() - began)
    return statistics.median(took) / PIECE


def _one_by_one(rows: np.ndarray, count: int) -> float:
    market, took, piece = _market(), [], PIECE // 20
    for start in range(0, count, piece):
        began = time.perf_counter_ns()
        for at in range(start, start + piece):
            market.consume(rows, at, at + 1)
        took.append(time.perf_counter_ns() - began)
    return statistics.median(took) / piece


def _read_ns(rows: np.ndarray) -> float:
    market, took = _market(), []
    market.consume(rows, 0, len(rows))
    for _ in range(2_000):
        began = time.perf_counter_ns()
        market.indicators(0)
        took.append(time.perf_counter_ns() - began)
    return statistics.median(took)


def _among_symbols(symbols: int, count: int, kind: RowKind) -> float:
    rows, market = rows_of(count, kind, symbols), _market(symbols)
    rows["venue_ns"] = rows["recv_ns"] = rows["venue_ns"][0] + np.arange(count) * PACE_NS
    per_row(rows, count, market)  # touches every page
    rows["venue_ns"] += count * PACE_NS
    rows["recv_ns"] = rows["venue_ns"]
    return round(per_row(rows, count, market), 1)


def _arm_fixed(market: Market, number: int) -> None:
    """Arm number 0 where the jump fires it; the others stand beyond, each at a level of its own."""
    market.arm(0, TriggerOn.TRADE, TriggerDirection.ABOVE, 2 * PRICE + number * 0.001)


def _arm_trailing(market: Market, number: int) -> None:
    """The jump up lifts all of them, and the fall behind it fires number 0; the others trail too far behind."""
    market.arm_trailing(
        0, TriggerOn.TRADE, TriggerDirection.BELOW, 1.0 + (1_000 + number * 0.001 if number else 0)
    )


def _among_triggers(triggers: int, count: int, arm: Callable[[Market, int], None]) -> float:
    rows = rows_of(count, RowKind.TRADE, 1)
    rows["price"][::FIRES_EVERY] = 2 * PRICE
    rows["price"][:: 2 * FIRES_EVERY] += 0.01  # not the same high again, so that trailing ones are lifted
    market, took = _market(1), []
    for number in range(triggers):
        arm(market, number)
    fired = 0
    for stop in range(FIRES_EVERY, count + 1, FIRES_EVERY):
        at = stop - FIRES_EVERY
        began = time.perf_counter_ns()
        while at < stop:
            at = market.consume(rows, at, stop)
            if market.fired_count:
                fired += market.fired_count
                arm(market, 0)
        took.append(time.perf_counter_ns() - began)
    assert fired >= count // FIRES_EVERY - 1
    return round(statistics.median(took) / FIRES_EVERY, 1)


def _bytes_per_symbol() -> int:
    many = 1_000
    return (Market([f"S{i}" for i in range(many)]).nbytes - Market(()).nbytes) // many


def _bytes_per_trigger() -> int:
    market = Market(("X",))
    empty = market.nbytes
    slots = [market.arm(0, TriggerOn.TRADE, TriggerDirection.ABOVE, 1e6) for _ in range(127)]
    return (market.nbytes - empty) // (len(slots) - 63)
