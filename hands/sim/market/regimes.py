"""The moods of a made-up market: trends, chops, gaps, a flash crash, halts, as courses that displace a price.

Owns when a price is pushed where, and when it stands still; the noise around it is `synthetic`'s. The one idea: a
regime is an endless list of `Leg`s (move to this displacement within so many seconds, or pause), so the displacement
at any time is a straight line between two known points, whatever the ticks in between.

Displacements are logarithms: 0.05 is about 5 % up. The regime `crash` draws from a stream that knows no symbol, so it
hits every symbol at the same moment, each by its beta; everything else is the symbol's own.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from hands.core.units import NS_PER_MS, NS_PER_S
from hands.sim.market.feeds import is_crypto

Legs = Iterator["Leg"]

DISPLACEMENT_MAX: Final = 0.15
"""A trend turns back here, so that prices stay prices for as long as a market runs."""

PAUSE_S: Final = 300.0
"""How long a limit-up limit-down pause lasts: five minutes, as the plan says."""

BAND: Final = 0.05
"""Half the width of the price bands of an index stock, relative to the reference price."""

LIMIT_RUN: Final = 0.044
"""How far a price runs before it is halted: near its band, with room for noise inside it."""

BETAS: Final = {"SPY": 1.0, "QQQ": 1.2, "AAPL": 1.2, "MSFT": 1.1, "BAC": 1.3, "BTC/USD": 1.6, "ETH/USD": 1.8}
FACTOR_STEP_NS: Final = 100 * NS_PER_MS
FACTOR_PULL_PER_S: Final = 1 / 7200


@dataclass(frozen=True, slots=True)
class Leg:
    """A stretch of time: the displacement moves in a straight line to `to`; 0 seconds is a jump.

    `activity` multiplies how much happens, `spread` how wide quotes are. During a pause nothing happens at all.
    """

    seconds: float
    to: float
    activity: float = 1.0
    spread: int = 1
    is_pause: bool = False
    is_limit_run: bool = False


def beta_of(symbol: str) -> float:
    """Return how strongly `symbol` moves with the market: well known, or 0.7..1.5 derived from its name."""
    known = BETAS.get(symbol)
    if known is not None:
        return known
    return 0.7 + 0.8 * int.from_bytes(hashlib.sha256(symbol.encode()).digest()[4:6], "big") / 2**16


@dataclass(frozen=True, slots=True)
class _Subject:
    """What goes through a regime: its chances, how strongly it follows the market, whether it has price bands."""

    chance: random.Random
    beta: float
    has_bands: bool


def _trend(subject: _Subject) -> Legs:
    """Legs of 4 to 10 minutes, each 0.6 % to 1.8 % one way."""
    chance, at = subject.chance, 0.0
    while True:
        way = chance.choice((-1, 1)) * chance.uniform(0.006, 0.018)
        at = at + way if abs(at + way) < DISPLACEMENT_MAX else at - way
        yield Leg(chance.uniform(240, 600), at)


def _chop(subject: _Subject) -> Legs:
    """Back and forth across the start, 0.2 % to 0.6 % to either side, every 20 to 60 seconds."""
    chance = subject.chance
    side = chance.choice((-1, 1))
    while True:
        yield Leg(chance.uniform(20, 60), side * chance.uniform(0.002, 0.006), activity=1.5)
        side = -side


def _gap(subject: _Subject) -> Legs:
    """Quiet, then 1.5 % to 4 % away within no time at all and with wide quotes for some seconds."""
    chance, at = subject.chance, 0.0
    while True:
        yield Leg(chance.uniform(60, 180), at)
        way = chance.choice((-1, 1)) * chance.uniform(0.015, 0.04)
        at = at + way if abs(at + way) < DISPLACEMENT_MAX else at - way
        yield Leg(0.0, at)
        yield Leg(chance.uniform(3, 8), at, activity=3.0, spread=4)


def _crash(subject: _Subject) -> Legs:
    """Quiet, then 6 % to 10 % (times beta) down in a minute or two, and most of it back within ten."""
    chance, beta, at = subject.chance, subject.beta, 0.0
    while True:
        yield Leg(chance.uniform(60, 150), at)
        depth, recovered = chance.uniform(0.06, 0.10) * beta, chance.uniform(0.7, 0.95)
        low = at - depth
        yield Leg(chance.uniform(60, 120), low, activity=4.0, spread=3)
        yield Leg(chance.uniform(5, 20), low, activity=4.0, spread=5)
        yield Leg(chance.uniform(240, 480), low + depth * recovered, activity=2.0, spread=2)
        yield Leg(chance.uniform(600, 1200), at)


def _halt(subject: _Subject) -> Legs:
    """Quiet, a run into the price band, a pause, and a reopening somewhere near; coins do not pause."""
    chance, at = subject.chance, 0.0
    while True:
        yield Leg(chance.uniform(45, 120), at)
        way = -1 if at > 0 else 1 if at < 0 else chance.choice((-1, 1))
        at += way * LIMIT_RUN
        yield Leg(chance.uniform(10, 30), at, activity=3.0, spread=2, is_limit_run=True)
        at += chance.uniform(-0.01, 0.01)
        if subject.has_bands:
            yield Leg(PAUSE_S, at, is_pause=True)
        yield Leg(chance.uniform(5, 20), at, activity=3.0, spread=2)
        yield Leg(chance.uniform(300, 900), at)


def _mixed(subject: _Subject) -> Legs:
    """Some legs of one mood after the other, each from where the last one ended."""
    chance, at = subject.chance, 0.0
    while True:
        mood = chance.choice((_trend, _chop, _gap, _crash, _halt))
        begun = at
        for leg in _some(mood(subject), chance.randint(3, 6)):
            at = max(-DISPLACEMENT_MAX, min(DISPLACEMENT_MAX, begun + leg.to))
            yield Leg(leg.seconds, at, leg.activity, leg.spread, leg.is_pause, leg.is_limit_run)


def _some(legs: Legs, count: int) -> Legs:
    """Yield `count` legs, and then on to the end of a pause that has begun or is about to."""
    for number, leg in enumerate(legs, 1):
        yield leg
        if number >= count and not leg.is_limit_run and not leg.is_pause:
            return


_LEGS: Final[dict[str, Callable[[_Subject], Legs]]] = {
    "trend": _trend,
    "chop": _chop,
    "gap": _gap,
    "crash": _crash,
    "halt": _halt,
    "mixed": _mixed,
}
REGIMES: Final = ("calm", *_LEGS)


class Course:
    """One symbol's way through a regime; ask it about times that do not go back."""

    def __init__(self, regime: str, symbol: str, seed: int, start_ns: int) -> None:
        stream = f"{seed}:regime" if regime == "crash" else f"{seed}:{symbol}:regime"
        chance = random.Random(stream)  # noqa: S311 - a market, not a secret
        self._legs = _LEGS[regime](_Subject(chance, beta_of(symbol), not is_crypto(symbol)))
        self._from = 0.0
        self.leg_start_ns = start_ns
        self.leg = next(self._legs)
        self.leg_end_ns = start_ns + int(self.leg.seconds * NS_PER_S)

    def displacement(self, t_ns: int) -> float:
        """Return the displacement at `t_ns` and move on to the leg that it is in."""
        while t_ns >= self.leg_end_ns:
            self._from = self.leg.to
            self.leg_start_ns = self.leg_end_ns
            self.leg = next(self._legs)
            self.leg_end_ns = self.leg_start_ns + int(self.leg.seconds * NS_PER_S)
        share = (t_ns - self.leg_start_ns) / (self.leg_end_ns - self.leg_start_ns)
        return self._from + (self.leg.to - self._from) * share


class CommonFactor:
    """What moves all symbols together: one slow random walk of its own stream, sampled every 100 ms.

    Ask it about times that do not go back; between two samples it is a straight line.
    """

    def __init__(self, seed: int, start_ns: int, volatility_per_root_s: float) -> None:
        self._random = random.Random(f"{seed}:factor")  # noqa: S311 - a market, not a secret
        self._step = volatility_per_root_s * math.sqrt(FACTOR_STEP_NS / NS_PER_S)
        self._keep = 1.0 - FACTOR_PULL_PER_S * FACTOR_STEP_NS / NS_PER_S
        self._start_ns = start_ns
        self._before = 0.0
        self._after = self._next(0.0)

    def displacement(self, t_ns: int) -> float:
        """Return how far the market as a whole has moved at `t_ns`, before any symbol's beta."""
        while t_ns >= self._start_ns + FACTOR_STEP_NS:
            self._start_ns += FACTOR_STEP_NS
            self._before, self._after = self._after, self._next(self._after)
        return self._before + (self._after - self._before) * (t_ns - self._start_ns) / FACTOR_STEP_NS

    def _next(self, value: float) -> float:
        return value * self._keep + self._random.gauss(0.0, self._step)
