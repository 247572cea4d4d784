"""Small made-up markets and documents for replays."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hands.core.receipts import time_text
from hands.core.rows import RowFlag, RowKind, new_rows
from hands.core.units import NS_PER_MS
from hands.replay.arrivals import Arrival

NOON = 1_767_625_200 * 10**9
"""2026-01-05 15:00 UTC: half an hour into Monday's regular session."""

SHIPPED = (Path(__file__).parents[2] / "config" / "risk_limits.toml").read_text()
LOOSE = {
    "max_daily_trades": 1000,
    "max_concurrent": 50,
    "max_daily_loss": 0.9,
    "max_drawdown": 0.9,
    "max_gross_exposure": 5.0,
    "rejections_latch": 1000,
    "orders_per_minute": 1000,
    "semantic_duplicate_s": 0,
    "max_arm_seconds": 3600,
    "max_spread": 0.05,
    "max_slippage_pct": 0.0002,
    "min_reward_risk": 0.01,
    "allow_short": "true",
}


def limits_file(folder: Path, name: str = "limits.toml", **changes: Any) -> Path:
    """Write the shipped limits with some lines changed."""
    text = SHIPPED
    for key, value in changes.items():
        text, count = re.subn(rf"(?m)^{key} *= *[^#\n]*", f"{key} = {value} ", text)
        assert count == 1, key
    path = folder / name
    path.write_text(text)
    return path


class Recorded:
    """Rows in memory, cut into chunks of some size."""

    def __init__(self, symbols: tuple[str, ...], rows: np.ndarray, chunk: int = 1 << 20) -> None:
        self.symbols = symbols
        self.all = rows
        self._chunk = chunk

    @property
    def rows(self) -> int:
        return len(self.all)

    def chunks(self) -> Iterator[np.ndarray]:
        for at in range(0, len(self.all), self._chunk):
            yield self.all[at : at + self._chunk]

    def cut(self, chunk: int) -> Recorded:
        return Recorded(self.symbols, self.all, chunk)


def walk(
    symbols: tuple[str, ...],
    count: int,
    seed: int,
    *,
    step_ms: float = 50,
    jump: float = 0.0004,
    price: float = 150.0,
    quotes: float = 0.6,
    odd: float = 0.1,
    size: int = 200,
    start_ns: int = NOON,
) -> Recorded:
    """Return a random walk per symbol; a part of the rows (`odd`) are one-sided, of no size, late or no print that counts."""
    rng = np.random.default_rng(seed)
    rows = new_rows(count)
    rows["sym"] = sym = rng.integers(0, len(symbols), count)
    is_quote = rng.random(count) < quotes
    rows["kind"] = np.where(is_quote, RowKind.QUOTE, RowKind.TRADE)
    rows["flags"] = RowFlag.ELIGIBLE
    moves = np.zeros((len(symbols), count))
    moves[sym, np.arange(count)] = rng.normal(0, jump, count)
    path = np.round(price * np.exp(moves.cumsum(axis=1)[sym, np.arange(count)]), 2)
    spread = rng.integers(1, 4, count) * 0.01
    rows["price"] = np.where(is_quote, path, np.round(path + rng.integers(0, 3, count) * 0.01, 2))
    rows["price2"] = np.where(is_quote, np.round(path + spread, 2), 0)
    rows["size"] = rng.integers(1, size, count)
    rows["size2"] = rng.integers(1, size, count)
    gaps = rng.integers(0, round(2 * step_ms * NS_PER_MS), count)
    gaps[rng.random(count) < 0.2] = 0  # several rows of one moment
    rows["recv_ns"] = start_ns + np.cumsum(gaps)
    rows["venue_ns"] = rows["recv_ns"]
    rows["trade_id"] = np.arange(count)
    strange = np.flatnonzero(rng.random(count) < odd)
    for at in strange:
        match rng.integers(0, 6):
            case 0:
                rows["price" if rng.random() < 0.5 else "price2"][at] = 0.0
            case 1:
                rows["size"][at] = rows["size2"][at] = 0
            case 2:
                rows["flags"][at] = 0
                rows["price"][at] *= 1.5 if rows["kind"][at] == RowKind.TRADE else 1.0
            case 3:
                rows["venue_ns"][at] -= 400 * NS_PER_MS
            case 4:
                rows["price"][at] = np.nan
            case _:
                rows["kind"][at] = 7
    return Recorded(symbols, rows)


def intent(number: int, at_ns: int, asset: str, price: float, **more: Any) -> Arrival:
    """Return an intent that buys at about `price`, with its stop half a percent below; it arrives as it is written."""
    long = more.get("direction", "LONG") == "LONG"
    sign = 1 if long else -1
    document: dict[str, Any] = {
        "intent_id": str(uuid.UUID(int=number + 1, version=4)),
        "asset": asset,
        "direction": "LONG",
        "trigger_price": round(price, 2),
        "take_profit": round(price * (1 + sign * 0.01), 2),
        "stop_loss": round(price * (1 - sign * 0.004), 2),
        "confidence": 0.9,
        "strategy_ref": "walk",
        "timestamp": time_text(at_ns),
        "ttl_seconds": 10,
    } | more
    return Arrival(at_ns, "default", f"{number}.json", json.dumps(document).encode())


def change(number: int, at_ns: int, kind: str, target: Arrival, **more: Any) -> Arrival:
    """Return a document that changes an earlier intent."""
    document = {
        "kind": kind,
        "intent_id": str(uuid.UUID(int=10_000 + number, version=4)),
        "target_id": json.loads(target.data)["intent_id"],
        "timestamp": time_text(at_ns),
    } | more
    return Arrival(at_ns, "default", f"change-{number}.json", json.dumps(document).encode())


def some_intents(market: Recorded, count: int, seed: int) -> list[Arrival]:
    """Return intents of every sort at random moments, near the market as it then is, and changes of some."""
    rng = np.random.default_rng(seed)
    rows, made = market.all, []
    for number in range(count):
        row = rows[int(rng.integers(len(rows) // 20, max(len(rows) // 20 + 1, len(rows) - 10)))]
        symbol, price = market.symbols[int(row["sym"])], float(row["price"])
        if not price > 0:
            continue
        at_ns = int(row["recv_ns"]) + int(rng.integers(0, 3))
        more: dict[str, Any] = {}
        sign = 1
        if rng.random() < 0.3 and "/" not in symbol:
            more["direction"], sign = "SHORT", -1
        if rng.random() < 0.6:  # a target so near that it rests where the market is
            more["take_profit"] = round(price * (1 + sign * float(rng.choice([0.0004, 0.0007, 0.002]))), 2)
        if rng.random() < 0.25:
            more |= {"entry": "touch", "arm_seconds": 600}
            price *= 1 + float(rng.normal(0, 0.001))
        if rng.random() < 0.25:
            more["trailing_stop_pct"] = 0.002
        if rng.random() < 0.3:
            more["max_hold_seconds"] = int(rng.integers(1, 120))
        if rng.random() < 0.2:
            more["ttl_seconds"] = 1
        if rng.random() < 0.2:
            more["qty"] = int(rng.integers(1, 5))
        arrival = intent(number, at_ns, symbol, price, **more)
        made.append(arrival)
        if rng.random() < 0.25:
            kind = ("close", "cancel", "amend")[int(rng.integers(0, 3))]
            extra = {"stop_loss": round(price * 0.998, 2)} if kind == "amend" else {}
            made.append(change(number, at_ns + int(rng.integers(0, 60 * 10**9)), kind, arrival, **extra))
    return made
