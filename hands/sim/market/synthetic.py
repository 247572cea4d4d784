"""A made-up market that is the same every time: seeded quotes and trades for any symbols.

Owns the price process and the tick shapes; reads no clock and sends nothing. The one idea: every symbol has
its own random stream, seeded by (seed, symbol), so adding a symbol never changes another one's ticks.

The mid follows a random walk in relative steps with a mild pull back to its start price and a variance that
feeds on its own last move (volatility clusters). Floats live only here; what leaves is exact integers.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace

from hands.core.units import CENT, NANO, NS_PER_MS, NS_PER_S, Ns, Price, Qty, floor_to, round_to_tick
from hands.sim.venue.ticks import Quote, Tick, Trade

START_PRICE_USD = {
    "AAPL": 150.0,
    "SPY": 450.0,
    "QQQ": 380.0,
    "MSFT": 330.0,
    "BAC": 32.0,
    "FAKEPACA": 133.0,
    "BTC/USD": 60_000.0,
    "ETH/USD": 3_000.0,
    "SOL/USD": 150.0,
    "DOGE/USD": 0.12,
}

BATCH_NS = NS_PER_MS
"""Ticks within the same millisecond leave in one batch."""

VOLATILITY_PER_ROOT_S = 1e-4
"""Long-run standard deviation of the relative move over one second: about 25 % a year of trading hours."""

PULL_PER_S = 1 / 7200
"""How fast a price returns to its start: two hours, which keeps it within a few percent for days."""

ARCH, GARCH = 0.04, 0.95
"""Weights of the last squared move and of the last variance; what is missing to one pulls to the long run."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Mean arrivals per second and symbol."""

    quotes_per_s: float = 10.0
    trades_per_s: float = 4.0

    def __post_init__(self) -> None:
        if self.quotes_per_s <= 0 or self.trades_per_s < 0:
            raise ValueError(f"a market needs quotes ({self.quotes_per_s}/s) and no negative rate")


def start_price_usd(symbol: str) -> float:
    """Return the price a symbol starts from: well known, or 20..420 (crypto 0.5..100) derived from its name."""
    known = START_PRICE_USD.get(symbol)
    if known is not None:
        return known
    part = int.from_bytes(hashlib.sha256(symbol.encode()).digest()[:4], "big") / 2**32
    return round(0.5 + part * 99.5, 3) if "/" in symbol else round(20 + part * 400, 2)


def crypto_tick(price_usd: float) -> Price:
    """Return a crypto pair's price increment: five to six significant digits, from 0.01 down to 10^-6."""
    tick = int(CENT)
    while price_usd < 1_000 and tick > 1_000:
        price_usd *= 10
        tick //= 10
    return Price(tick)


class _SymbolMarket:
    """One symbol's price process and its next arrival time."""

    def __init__(self, symbol: str, seed: int, start_ns: int, rate: Rate) -> None:
        self.symbol = symbol
        self.random = random.Random(f"{seed}:{symbol}")  # noqa: S311 - a market, not a secret
        self.is_crypto = "/" in symbol
        self.anchor = start_price_usd(symbol)
        self.tick = crypto_tick(self.anchor) if self.is_crypto else CENT
        self.mid = self.anchor
        self.variance = VOLATILITY_PER_ROOT_S**2
        self.trade_share = rate.trades_per_s / (rate.trades_per_s + rate.quotes_per_s)
        self.arrivals_per_s = rate.trades_per_s + rate.quotes_per_s
        self.has_opened = False
        self.trade_id = 0
        self.next_ns = start_ns
        self.quote = self._quote(start_ns)

    def step(self) -> Tick:
        """Return the tick at `next_ns` and draw the time of the one after it."""
        now_ns = self.next_ns
        elapsed_s = self.random.expovariate(self.arrivals_per_s)
        if not self.has_opened:
            self.has_opened = True  # with a quote: the market is known before anything trades
            tick: Tick = self.quote
        elif self.random.random() < self.trade_share:
            tick = self._trade(now_ns)
        else:
            self.quote = tick = self._quote(now_ns)
        self._move(elapsed_s)
        self.next_ns = now_ns + 1 + int(elapsed_s * NS_PER_S)
        return tick

    def _move(self, elapsed_s: float) -> None:
        long_run = VOLATILITY_PER_ROOT_S**2
        shock = self.random.gauss(0.0, 1.0)
        move = shock * (self.variance * elapsed_s) ** 0.5
        self.variance = (1 - ARCH - GARCH) * long_run + self.variance * (ARCH * shock * shock + GARCH)
        self.variance = min(self.variance, 25 * long_run)
        pull = PULL_PER_S * elapsed_s * (self.anchor - self.mid) / self.anchor
        self.mid = max(self.mid * (1.0 + move + pull), self.anchor * 0.2)

    def _quote(self, t_ns: int) -> Quote:
        if self.is_crypto:
            half_usd = self.mid * self.random.uniform(1e-4, 2e-4)
            bid = round_to_tick(self.mid - half_usd, self.tick)
            ask = max(round_to_tick(self.mid + half_usd, self.tick), bid + self.tick)
        else:
            cents = self.random.choices((1, 2, 3), (6, 3, 1))[0]
            bid = round_to_tick(self.mid - cents / 200, self.tick)
            ask = bid + cents * CENT
        return Quote(self.symbol, bid, Price(ask), self._quote_size(), self._quote_size(), Ns(t_ns))

    def _quote_size(self) -> Qty:
        if self.is_crypto:
            return self._coins(self.random.uniform(5_000, 60_000))
        return Qty(100 * self.random.randint(1, 12) * NANO)

    def _trade(self, t_ns: int) -> Trade:
        buys = self.random.random() < 0.5
        price = self.quote.ask if buys else self.quote.bid
        conditions: tuple[str, ...]
        if self.is_crypto:
            size = self._coins(50 + self.random.expovariate(1 / 1_500))
            conditions = ("B",) if buys else ("S",)
        elif self.random.random() < 0.3:
            size = Qty(self.random.randint(1, 99) * NANO)
            conditions = ("@", "I")
        else:
            size = Qty(100 * self.random.choices((1, 2, 3, 5, 10), (60, 20, 10, 7, 3))[0] * NANO)
            conditions = ("@",)
        self.trade_id += 1
        return Trade(self.symbol, price, size, Ns(t_ns), self.trade_id, "V", conditions)

    def _coins(self, notional_usd: float) -> Qty:
        """Return a coin quantity worth `notional_usd`, in steps of about a dollar's worth."""
        step = floor_to(int(NANO / self.mid), 10) or 10
        return Qty(max(floor_to(int(notional_usd / self.mid * NANO), step), step))


class SyntheticTape:
    """An endless market for `symbols` from `start_ns` on; the same arguments give the same ticks.

    Iterating yields batches `(t_ns, ticks)`: times strictly increase, ticks are in time order, and every
    symbol's first tick is a quote at `start_ns`. Each iteration starts from the beginning.
    """

    def __init__(self, symbols: Sequence[str], seed: int, start_ns: int, rate: Rate | None = None) -> None:
        if not symbols:
            raise ValueError("a synthetic market needs at least one symbol")
        self.symbols = tuple(dict.fromkeys(symbols))
        self.seed = seed
        self.start_ns = start_ns
        self.rate = rate or Rate()

    def __iter__(self) -> Iterator[tuple[int, list[Tick]]]:
        markets = [_SymbolMarket(symbol, self.seed, self.start_ns, self.rate) for symbol in self.symbols]
        queue = [(market.next_ns, rank) for rank, market in enumerate(markets)]
        heapify(queue)
        while True:
            first_ns = queue[0][0]
            batch: list[Tick] = []
            while queue[0][0] < first_ns + BATCH_NS:
                rank = queue[0][1]
                batch.append(markets[rank].step())
                heapreplace(queue, (markets[rank].next_ns, rank))
            yield first_ns, batch
