"""The demo's market: a seeded walk around levels that the script moves, published into the simulator.

Owns prices and their publication. May not know orders. The one idea: noise is bounded and returns to its level, so
nothing is hit by chance; what the script moves it moves all the way, so targets, stops and touches happen when it
says.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import aiohttp

START = {"AAPL": 150.0, "SPY": 450.0, "BTC/USD": 60_000.0, "SOL/USD": 150.0}
"""The prices that the example intents are written for."""

HALF_SPREAD = {"AAPL": 0.01, "SPY": 0.01, "BTC/USD": 3.0, "SOL/USD": 0.01}
NOISE_MAX = 0.0003
STEP_S = 0.1


@dataclass
class Level:
    """Where a symbol is, where it goes, and how much nearer it comes at every step."""

    price: float
    target: float
    stride: float = 0.0
    noise: float = 0.0


class DemoMarket:
    """Publishes all symbols every `STEP_S` until cancelled."""

    def __init__(self, url: str, session: aiohttp.ClientSession, seed: int) -> None:
        self._url = f"{url}/sim/v1/market"
        self._session = session
        self._random = random.Random(seed)  # noqa: S311  (a market, not a secret)
        self.levels = {symbol: Level(price, price) for symbol, price in START.items()}

    def factor(self, symbol: str) -> float:
        """Return how far a symbol has come from where the examples think it is (1 for one that is not traded)."""
        level = self.levels.get(symbol)
        return 1.0 if level is None else level.price / START[symbol]

    def move(self, symbol: str, target: float, steps: int) -> None:
        """Let `symbol` go to `target` in `steps` steps."""
        level = self.levels[symbol]
        level.target, level.stride = target, (target - level.price) / steps

    async def run(self) -> None:
        while True:
            await self.publish()
            await asyncio.sleep(STEP_S)

    async def publish(self) -> None:
        """Take one step and publish it: a quote and a trade of every symbol. Raises aiohttp.ClientError."""
        rows: list[dict[str, object]] = []
        for symbol, level in self.levels.items():
            rows += self._step(symbol, level)
        async with self._session.post(self._url, json=rows) as answer:
            answer.raise_for_status()

    def _step(self, symbol: str, level: Level) -> list[dict[str, object]]:
        left = level.target - level.price
        level.price += left if abs(left) <= abs(level.stride) else level.stride
        kick = self._random.gauss(0.0, NOISE_MAX / 4)
        level.noise = max(-NOISE_MAX, min(NOISE_MAX, 0.9 * level.noise + kick))
        mid, half = level.price * (1 + level.noise), HALF_SPREAD[symbol]
        bid, ask = round(mid - half, 2), round(mid + half, 2)
        size = float(self._random.randint(1, 8) * 100)
        quote = {"symbol": symbol, "bid": bid, "ask": ask, "bid_size": size + 500, "ask_size": size + 500}
        return [quote, {"symbol": symbol, "price": self._random.choice((bid, ask)), "size": size}]
