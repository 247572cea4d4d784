"""A made-up market that is the same every time: seeded quotes and trades for any symbols.

Owns the price process and the tick shapes; reads no clock and sends nothing. The one idea: every symbol has
its own random stream, seeded by (seed, symbol), so adding a symbol never changes another one's ticks; what
symbols share (the common factor, a crash) has a stream of its own.

The mid follows a random walk in relative steps with a mild pull back to its start price and a variance that
feeds on its own last move (volatility clusters). On top of it lies a displacement: the regime's course, and beta
times the common factor. `calm` without correlation has none, and is the plain walk to the last digit.
Floats live only here and in `regimes`; what leaves is exact integers.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace

from hands.core.units import CENT, NANO, NS_PER_MS, NS_PER_S, Ns, Price, Qty, floor_to, round_to_tick
from hands.sim.market import halts
from hands.sim.market.feeds import is_crypto
from hands.sim.market.phases import Phase
from hands.sim.market.regimes import REGIMES, CommonFactor, Course, beta_of
from hands.sim.market.volume_curve import VolumeCurve
from hands.sim.venue.ticks import Cancellation, Correction, MarketEvent, Notice, Quote, Trade

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

MISTAKE_SHARE = 1 / 250
"""How many prints of a `mixed` market turn out to be wrong and are corrected or canceled a moment later."""


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
    return round(0.5 + part * 99.5, 3) if is_crypto(symbol) else round(20 + part * 400, 2)


def crypto_tick(price_usd: float) -> Price:
    """Return a crypto pair's price increment: five to six significant digits, from 0.01 down to 10^-6."""
    tick = int(CENT)
    while price_usd < 1_000 and tick > 1_000:
        price_usd *= 10
        tick //= 10
    return Price(tick)


class _SymbolMarket:
    """One symbol's price process and its next arrival time."""

    def __init__(self, tape: SyntheticTape, symbol: str, factor: CommonFactor | None) -> None:
        seed, start_ns, rate = tape.seed, tape.start_ns, tape.rate
        self.symbol = symbol
        self.random = random.Random(f"{seed}:{symbol}")  # noqa: S311 - a market, not a secret
        self.is_crypto = is_crypto(symbol)
        self.anchor = start_price_usd(symbol)
        self.tick = crypto_tick(self.anchor) if self.is_crypto else CENT
        self.walk = self.price = self.anchor
        self.variance = VOLATILITY_PER_ROOT_S**2
        self.own_share = math.sqrt(1.0 - tape.correlation)
        self.trade_share = rate.trades_per_s / (rate.trades_per_s + rate.quotes_per_s)
        self.arrivals_per_s = rate.trades_per_s + rate.quotes_per_s
        self.has_opened = False
        self.trade_id = 0
        self.next_ns = start_ns
        self.factor = factor
        self.beta = beta_of(symbol)
        self.course = None if tape.regime == "calm" else Course(tape.regime, symbol, seed, start_ns)
        self.curve = VolumeCurve() if tape.volume_curve and not self.is_crypto else None
        self.phase = self.curve.phase(start_ns) if self.curve else Phase.CLOSED
        self.has_bands = tape.regime in {"halt", "mixed"} and not self.is_crypto
        self.is_paused = self.is_running = False
        self.mistakes = random.Random(f"{seed}:{symbol}:mistakes")  # noqa: S311 - likewise
        self.mistake_share = MISTAKE_SHARE if tape.regime == "mixed" and not self.is_crypto else 0.0
        self.awaited: list[tuple[int, Trade]] = []
        self.quote = self._quote(start_ns)

    def step(self) -> Sequence[MarketEvent]:
        """Return what happens at `next_ns` and draw the time of what happens after it."""
        now_ns = self.next_ns
        self._displace(now_ns)
        events: list[MarketEvent] = []
        if self.has_bands:
            events += self._halts(now_ns)
        if self.is_paused:
            assert self.course is not None
            self.next_ns = self.course.leg_end_ns
            return events
        if self.awaited:
            events += self._mistakes_found(now_ns)
        elapsed_s = self.random.expovariate(self.arrivals_per_s)
        if not self.has_opened:
            self.has_opened = True  # with a quote: the market is known before anything trades
            events.append(self.quote)
        elif self.random.random() < self.trade_share:
            events.append(self._trade(now_ns))
        else:
            self.quote = self._quote(now_ns)
            events.append(self.quote)
        elapsed_s = self._paced(now_ns, elapsed_s)
        self._move(elapsed_s)
        self.next_ns = now_ns + 1 + int(elapsed_s * NS_PER_S)
        return events

    def _displace(self, now_ns: int) -> None:
        """Set the price: the walk, and what the course and the common factor add to it."""
        displacement = 0.0
        if self.course is not None:
            displacement = self.course.displacement(now_ns)
        if self.factor is not None:
            displacement += self.beta * self.factor.displacement(now_ns)
        self.price = self.walk * math.exp(displacement) if displacement else self.walk

    def _move(self, elapsed_s: float) -> None:
        long_run = VOLATILITY_PER_ROOT_S**2
        shock = self.random.gauss(0.0, 1.0)
        move = shock * (self.variance * elapsed_s) ** 0.5 * self.own_share
        self.variance = (1 - ARCH - GARCH) * long_run + self.variance * (ARCH * shock * shock + GARCH)
        self.variance = min(self.variance, 25 * long_run)
        pull = PULL_PER_S * elapsed_s * (self.anchor - self.walk) / self.anchor
        self.walk = max(self.walk * (1.0 + move + pull), self.anchor * 0.2)

    def _paced(self, now_ns: int, elapsed_s: float) -> float:
        """Return the time to the next arrival at the pace of the hour and of the leg, nights left out."""
        if self.course is not None:
            elapsed_s /= self.course.leg.activity
        return elapsed_s if self.curve is None else self.curve.stretched(now_ns, elapsed_s)

    # -- ticks --------------------------------------------------------------------------------------------------

    def _quote(self, t_ns: int) -> Quote:
        width = self.course.leg.spread if self.course is not None else 1
        if self.is_crypto:
            half_usd = self.price * self.random.uniform(1e-4, 2e-4) * width
            bid = round_to_tick(self.price - half_usd, self.tick)
            ask = max(round_to_tick(self.price + half_usd, self.tick), bid + self.tick)
        else:
            cents = self.random.choices((1, 2, 3), (6, 3, 1))[0] * width
            bid = round_to_tick(self.price - cents / 200, self.tick)
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
        if self.curve is not None:
            conditions += self._auction(t_ns)
        trade = self._printed(price, size, t_ns, conditions)
        if self.mistake_share and self.mistakes.random() < self.mistake_share:
            self.awaited.append((t_ns + int(self.mistakes.uniform(0.2, 3.0) * NS_PER_S), trade))
        return trade

    def _printed(self, price: Price, size: Qty, t_ns: int, conditions: tuple[str, ...]) -> Trade:
        self.trade_id += 1
        return Trade(self.symbol, price, size, Ns(t_ns), self.trade_id, "V", conditions)

    def _coins(self, notional_usd: float) -> Qty:
        """Return a coin quantity worth `notional_usd`, in steps of about a dollar's worth."""
        step = floor_to(int(NANO / self.price), 10) or 10
        return Qty(max(floor_to(int(notional_usd / self.price * NANO), step), step))

    def _auction(self, t_ns: int) -> tuple[str, ...]:
        """Return the condition of the day's first regular print (O) and of the first one after the close (6)."""
        assert self.curve is not None
        before, self.phase = self.phase, self.curve.phase(t_ns)
        if before is self.phase:
            return ()
        return {Phase.CORE: ("O",), Phase.POST: ("6",)}.get(self.phase, ())

    # -- notices ------------------------------------------------------------------------------------------------

    def _halts(self, now_ns: int) -> Sequence[MarketEvent]:
        """Return the price bands as they change, the pause, and the quote and print that end it."""
        assert self.course is not None
        leg, t_ns = self.course.leg, Ns(now_ns)
        if not self.has_opened:
            return [halts.bands(self.symbol, self.price, self.tick, halts.OPENING, t_ns)]
        if leg.is_limit_run != self.is_running:
            self.is_running = leg.is_limit_run
            if leg.is_limit_run:
                return [halts.bands(self.symbol, self.price, self.tick, halts.INTRADAY, t_ns)]
        if leg.is_pause and not self.is_paused:
            self.is_paused = True
            suspended = halts.bands(self.symbol, self.price, self.tick, halts.DURING_PAUSE, t_ns)
            return [halts.pause(self.symbol, t_ns), suspended]
        if self.is_paused and not leg.is_pause:
            self.is_paused = False
            self.quote = self._quote(now_ns)
            size = Qty(100 * self.random.randint(5, 50) * NANO)
            return [
                halts.resumption(self.symbol, t_ns),
                halts.bands(self.symbol, self.price, self.tick, halts.REOPENING, t_ns),
                self.quote,
                self._printed(self.quote.ask, size, now_ns, ("@", halts.REOPENING_PRINT)),
            ]
        return []

    def _mistakes_found(self, now_ns: int) -> list[Notice]:
        """Return the corrections and cancellations that are due, half and half."""
        due = [trade for due_ns, trade in self.awaited if due_ns <= now_ns]
        self.awaited = [item for item in self.awaited if item[0] > now_ns]
        found: list[Notice] = []
        for trade in due:
            if self.mistakes.random() < 0.5:
                found.append(Cancellation(self.symbol, trade, Ns(now_ns)))
                continue
            cents = self.mistakes.choice((-2, -1, 1, 2)) * CENT
            right = self._printed(Price(trade.price + cents), trade.size, trade.t_ns, trade.conditions)
            found.append(Correction(self.symbol, trade, right, Ns(now_ns)))
        return found


class SyntheticTape:
    """An endless market for `symbols` from `start_ns` on; the same arguments give the same events.

    Iterating yields batches `(t_ns, events)`: times strictly increase, events are in time order, and every
    symbol's first tick is a quote at `start_ns`. Each iteration starts from the beginning.

    `regime` is one of `REGIMES`; `correlation` (0 to below 1) is about how the returns of two symbols with a beta of
    one correlate; `volume_curve` makes stocks busy at the open and the close and silent at night, New York time.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        seed: int,
        start_ns: int,
        rate: Rate | None = None,
        regime: str = "calm",
        correlation: float = 0.0,
        volume_curve: bool = False,
    ) -> None:
        if not symbols:
            raise ValueError("a synthetic market needs at least one symbol")
        if regime not in REGIMES:
            raise ValueError(f"regime {regime!r}; allowed: {', '.join(REGIMES)}")
        if not 0.0 <= correlation < 1.0:
            raise ValueError(f"correlation {correlation}; allowed: from 0 to below 1")
        self.symbols = tuple(dict.fromkeys(symbols))
        self.seed = seed
        self.start_ns = start_ns
        self.rate = rate or Rate()
        self.regime = regime
        self.correlation = correlation
        self.volume_curve = volume_curve

    def __iter__(self) -> Iterator[tuple[int, list[MarketEvent]]]:
        factor = None
        if self.correlation:
            volatility = VOLATILITY_PER_ROOT_S * math.sqrt(self.correlation)
            factor = CommonFactor(self.seed, self.start_ns, volatility)
        markets = [_SymbolMarket(self, symbol, factor) for symbol in self.symbols]
        queue = [(market.next_ns, rank) for rank, market in enumerate(markets)]
        heapify(queue)
        while True:
            first_ns = queue[0][0]
            batch: list[MarketEvent] = []
            while queue[0][0] < first_ns + BATCH_NS:
                rank = queue[0][1]
                batch += markets[rank].step()
                heapreplace(queue, (markets[rank].next_ns, rank))
            if batch:
                yield first_ns, batch
