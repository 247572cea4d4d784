"""What one market row costs in the kernel: everything it does, measured with the engine's own calls.

Rows are eligible trades (the dearest kind: session sums, two bars, last trade, RSI and MACD, triggers) and,
apart, quotes, over eight symbols with a trigger armed far away on each. *Batch* is one call over all rows,
*single* one call per row, as a frame of one message would be. Best of several runs: what disturbs a run only
ever makes it slower.
"""

from __future__ import annotations

import time

import numpy as np

from hands.core.market import Market, RowFlag, RowKind, TriggerDirection, TriggerOn, new_rows

SYMBOLS = 8
RUNS = 5


def run(quick: bool = False) -> dict[str, float]:
    """Return nanoseconds per row: `ns_per_tick_batch`, `ns_per_tick_single`, `ns_per_quote_batch`; and per reading."""
    batch = 200_000 if quick else 2_000_000
    single = 20_000 if quick else 200_000
    Market.warm_up()
    trades, quotes = _rows(batch, RowKind.TRADE), _rows(batch, RowKind.QUOTE)
    return {
        "ns_per_tick_batch": _best_ns(trades, batch, batch),
        "ns_per_tick_single": _best_ns(trades, single, 1),
        "ns_per_quote_batch": _best_ns(quotes, batch, batch),
        "ns_per_indicators_read": _read_ns(trades[:10_000]),
    }


def _rows(count: int, kind: RowKind) -> np.ndarray:
    """Return a random walk of `count` rows, a millisecond apart, over `SYMBOLS` symbols."""
    rng = np.random.default_rng(7)
    rows = new_rows(count)
    rows["sym"] = rng.integers(0, SYMBOLS, count)
    rows["kind"] = kind
    rows["flags"] = RowFlag.ELIGIBLE
    rows["price"] = np.round(150 + np.cumsum(rng.normal(0, 0.001, count)), 2)
    rows["size"] = rng.integers(1, 500, count)
    rows["price2"] = rows["price"] + 0.02
    rows["size2"] = rows["size"]
    rows["venue_ns"] = rows["recv_ns"] = 1_700_000_000_000_000_000 + np.arange(count) * 1_000_000
    return rows


def _market() -> Market:
    market = Market([f"S{i}" for i in range(SYMBOLS)])
    for sym in range(SYMBOLS):
        market.arm(sym, TriggerOn.TRADE | TriggerOn.ASK, TriggerDirection.ABOVE, 1e6)
    return market


def _best_ns(rows: np.ndarray, count: int, at_a_time: int) -> float:
    best = float("inf")
    for _ in range(RUNS):
        market = _market()
        began = time.perf_counter_ns()
        for start in range(0, count, at_a_time):
            market.consume(rows, start, start + at_a_time)
        best = min(best, (time.perf_counter_ns() - began) / count)
        assert market.rows_seen == count
    return best


def _read_ns(rows: np.ndarray) -> float:
    market = _market()
    market.consume(rows, 0, len(rows))
    reads = 5_000
    began = time.perf_counter_ns()
    for _ in range(reads):
        market.indicators(0)
    return (time.perf_counter_ns() - began) / reads
