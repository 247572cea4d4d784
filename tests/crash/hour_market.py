"""One symbol of the hour's market, and the trades that are made in it one after the other.

Owns where the price goes and which document is dropped when. May not know of processes. The one idea: chance draws the
end of a trade before it begins (its target, its stop, a gap through the stop, its time), and the price walks there.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.harness import OVER, Floor

ENDS = ("target", "stop", "gap", "time", "target")
PARTIAL_RATE = 0.15
STEPS = 8
GIVE_UP_STEPS = 150
"""A trade that is not over after so many steps of the market is walked to its target again."""


@dataclass(slots=True)
class Lane:
    """A symbol; `base` is the ask at which its trades begin, distances are fractions of it."""

    symbol: str
    base: float
    stop: float
    target: float
    tick: float
    chance: random.Random
    at: float = 0.0
    goal: float = 0.0
    intent_id: str = ""
    end: str = ""
    steps: int = 0
    size: int = 500
    documents: dict[str, bytes] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """Walk on by one step and return its quote and its print."""
        self.steps += 1
        self.at += (self.goal - self.at) / max(1, STEPS - self.steps)
        ask = self._rounded(self.base * (1 + self.at) + self.tick * self.chance.randrange(-1, 2))
        bid = self._rounded(ask - 2 * self.tick)
        quote = {"symbol": self.symbol, "bid": bid, "ask": ask, "bid_size": 500, "ask_size": self.size}
        return [quote, {"symbol": self.symbol, "price": bid, "size": 100}]

    def _rounded(self, price: float) -> float:
        return round(round(price / self.tick) * self.tick, 4)

    def look(self, floor: Floor, *, may_begin: bool) -> None:
        """See what became of the trade in hand, and send the price on; begin another one where that is allowed."""
        receipt = floor.receipt(self.intent_id) if self.intent_id else None
        state = receipt["state"] if receipt else ""
        if self.intent_id and state in OVER:
            self._go(0.0)
            self.size = 500
            self.ends[state] = self.ends.get(state, 0) + 1
            self.intent_id = ""
        elif not self.intent_id:
            if may_begin and self.steps > STEPS and abs(self.at) < 1e-4:
                self._drop(floor)
        elif state == "OPEN" and self.goal == 0.0 and self.end != "time":
            self.size = 500
            self._go(
                {"target": 1.1 * self.target, "stop": -1.1 * self.stop, "gap": -1.6 * self.stop}[self.end]
            )
            if self.end == "gap":
                self.at = self.goal
        elif state in {"OPEN", "CLOSING"} and self.steps > GIVE_UP_STEPS:
            self._go(1.1 * self.target)

    def _go(self, goal: float) -> None:
        self.goal, self.steps = goal, 0

    def _drop(self, floor: Floor) -> None:
        self.end = self.chance.choice(ENDS)
        self.size = 15 if self.chance.random() < PARTIAL_RATE else 500
        changes: dict[str, Any] = {
            "trigger_price": self.base, "ttl_seconds": self.chance.choice((3, 6)),
            "stop_loss": self._rounded(self.base * (1 - self.stop)),
            "take_profit": self._rounded(self.base * (1 + self.target)),
        }  # fmt: skip
        if self.end == "time":
            changes["max_hold_seconds"] = self.chance.randrange(1, 4)
        document = floor.document(self.symbol, **changes)
        self.intent_id = document["intent_id"]
        self.documents[self.intent_id] = json.dumps(document).encode()
        self._go(0.0)
        floor.drop_bytes(self.documents[self.intent_id], f"{self.intent_id}.json")


def lanes(seed: int) -> list[Lane]:
    """Return the four symbols that are shipped."""
    told = (
        ("AAPL", 150.0, 0.012, 0.03, 0.01),
        ("SPY", 600.0, 0.012, 0.03, 0.01),
        ("SOL/USD", 150.0, 0.03, 0.08, 0.01),
        ("BTC/USD", 100_000.0, 0.03, 0.08, 1.0),
    )
    return [
        Lane(symbol, base, stop, target, tick, random.Random(f"{seed}/{symbol}"))
        for symbol, base, stop, target, tick in told
    ]
