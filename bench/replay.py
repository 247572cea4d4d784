"""A market played from its beginning to its end: rows a second, beside nautilus_trader's backtest on the same ticks.

The market is made up: two shares, trades and quotes in equal parts on a random walk, ten million rows to a session of six
and a half hours. It lies ready in memory on both sides: reading files is not measured. *Hands* does all that a replay does:
quotes, bars, VWAP and every indicator, sessions, digest. *With intents* five hundred documents come with ten million rows;
each that is accepted is an order at the exchange, its bracket, an exit within a minute, and the engine's look at it every
second meanwhile. *With long trades*: the same documents with an exit within five minutes: something is nearly always held.
*nautilus*: its BacktestEngine with one strategy that keeps RSI and MACD of both shares up to date with each trade tick
and orders nothing; it gets the first part of the same rows. Its matching looks at every row, ours at those that can
matter; neither does more than its user asked for.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from hands.core.limits import read_limits
from hands.core.receipts import time_text
from hands.core.rows import RowFlag, RowKind, new_rows
from hands.core.units import NS_PER_S
from hands.replay.arrivals import Arrival
from hands.replay.run import replay

SYMBOLS: Final = ("AAPL", "SPY")
PRICE: Final = 150.0
START_NS: Final = 1_767_625_200 * NS_PER_S
"""A Monday, half an hour after the open."""
PACE_NS: Final = 2_340_000
ROWS, QUICK_ROWS = 10_000_000, 500_000
INTENTS_PER_ROW: Final = 500 / 10_000_000
PEER_ROWS, QUICK_PEER_ROWS = 1_000_000, 50_000
HOLD_S, LONG_S = 60, 300
"""How long a trade is held at most."""
LIMITS: Final = Path(__file__).parent / "config" / "risk_limits.toml"


class Prepared:
    """Rows that lie in memory."""

    def __init__(self, rows: np.ndarray) -> None:
        self.symbols = SYMBOLS
        self._rows = rows

    @property
    def rows(self) -> int:
        return len(self._rows)

    def chunks(self) -> Iterator[np.ndarray]:
        yield self._rows


def missing() -> list[str]:
    """Return the packages that are not installed, of those that are compared with."""
    return [] if find_spec("nautilus_trader") else ["nautilus_trader"]


def run(quick: bool = False) -> dict[str, float]:
    """Return rows a second without and with intents, the peer's, and the ratios of both to it."""
    count = QUICK_ROWS if quick else ROWS
    rows = market(count)
    documents = intents(rows, max(5, round(count * INTENTS_PER_ROW)))
    play(market(2_000), [])  # compiles, or loads what was compiled
    found = {
        "ticks_per_s": play(rows, []),
        "ticks_per_s_with_intents": play(rows, documents),
        "ticks_per_s_with_long_trades": play(rows, intents(rows, len(documents), LONG_S)),
        "intents": len(documents),
    }
    if find_spec("nautilus_trader"):
        found["nautilus_ticks_per_s"] = nautilus(rows[: QUICK_PEER_ROWS if quick else PEER_ROWS])
        found["ratio"] = round(found["ticks_per_s"] / found["nautilus_ticks_per_s"], 1)
        found["ratio_with_intents"] = round(
            found["ticks_per_s_with_intents"] / found["nautilus_ticks_per_s"], 1
        )
    return found


def market(count: int) -> np.ndarray:
    """Return the rows."""
    rng = np.random.default_rng(7)
    rows = new_rows(count)
    rows["sym"] = sym = rng.integers(0, len(SYMBOLS), count)
    is_quote = rng.random(count) < 0.5
    rows["kind"] = np.where(is_quote, RowKind.QUOTE, RowKind.TRADE)
    rows["flags"] = RowFlag.ELIGIBLE
    steps = rng.normal(0, 0.00002, count)
    for number in range(len(SYMBOLS)):
        own = np.flatnonzero(sym == number)
        rows["price"][own] = np.round(PRICE * np.exp(steps[own].cumsum()), 2)
    rows["price2"] = np.where(is_quote, np.round(rows["price"] + 0.01, 2), 0)
    rows["size"] = rng.integers(1, 500, count)
    rows["size2"] = rng.integers(1, 500, count)
    rows["venue_ns"] = rows["recv_ns"] = START_NS + np.arange(count) * PACE_NS
    rows["trade_id"] = np.arange(count)
    return rows


def intents(rows: np.ndarray, count: int, hold_s: int = HOLD_S) -> list[Arrival]:
    """Return documents spread over the market, each near it as it then is."""
    quotes = np.flatnonzero(rows["kind"] == RowKind.QUOTE)
    chosen = quotes[np.linspace(len(quotes) // 20, len(quotes) - 1, count).astype(int)]
    return [_intent(number, rows[at], hold_s) for number, at in enumerate(chosen.tolist())]


def _intent(number: int, row: Any, hold_s: int) -> Arrival:
    ask, at_ns = float(row["price2"]), int(row["recv_ns"]) + 1
    document: dict[str, Any] = {
        "intent_id": str(uuid.UUID(int=number + 1, version=4)),
        "asset": SYMBOLS[int(row["sym"])],
        "direction": "LONG",
        "trigger_price": ask,
        "stop_loss": round(ask * 0.997, 2),
        "take_profit": round(ask * 1.006, 2),
        "confidence": 0.9,
        "strategy_ref": "bench",
        "timestamp": time_text(at_ns),
        "ttl_seconds": 10,
        "max_hold_seconds": hold_s,
    }
    return Arrival(at_ns, "default", f"{number}.json", msgspec.json.encode(document))


def play(rows: np.ndarray, documents: list[Arrival]) -> float:
    """Return rows a second of one replay."""
    law = read_limits(LIMITS.read_text("utf-8"))
    began = time.perf_counter()
    found = replay(Prepared(rows), documents, limits=law, session="always")
    took_s = time.perf_counter() - began
    accepted = found.verdicts_by_code.get("OK", 0)
    if documents and accepted < len(documents) // 4:
        raise AssertionError(
            f"only {accepted} of {len(documents)} documents were accepted: {found.verdicts_by_code}"
        )
    found.close()
    return round(len(rows) / took_s)


def nautilus(rows: np.ndarray) -> float:
    """Return ticks a second of nautilus_trader's backtest over the same rows."""
    from bench import replay_nautilus

    return round(replay_nautilus.ticks_per_s(rows, SYMBOLS))
