"""How a simulator is asked for: every option, what it may be, and what is built from it.

Owns the options' names, defaults and their check, in one place for the command line, the fixture and the reset. The
one idea: whatever is wrong is said at once, all of it, before anything is opened.
"""

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Final

from hands.core.units import NANO_ABS_MAX, Usd, nano
from hands.sim.market.feeds import CRYPTO_SYMBOL, STOCK_SYMBOL
from hands.sim.market.load import LoadTape
from hands.sim.market.tape import MarketShape, Tape, tape_from_config
from hands.sim.market.times import rfc3339, time_ns
from hands.sim.server.clock import LAST_NS, MANUAL_START, ManualClock, WallClock
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.quirks import IMMEDIATE, PLAIN, Latency, Quirks

DEFAULT_SYMBOLS: Final = ("AAPL", "SPY", "MSFT", "BTC/USD", "ETH/USD", "SOL/USD")
WORDS: Final = {
    "session": ("always", "calendar"),
    "fills": ("realistic", "instant"),
    "plan": ("plus", "basic"),
    "clock": ("wall", "manual"),
}
"""The options that are one of a few words; the first is the default."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a number may be: a fraction above `low`, a whole number at least that; neither more than `high`."""

    low: float
    high: float
    is_whole: bool = False
    is_optional: bool = False

    def problem(self, value: object) -> str | None:
        """Return what is wrong with a value, None if nothing is."""
        if value is None and self.is_optional:
            return None
        kinds = int if self.is_whole else (int, float)
        is_nan = isinstance(value, float) and math.isnan(value)
        if isinstance(value, bool) or not isinstance(value, kinds) or is_nan:
            return f"{value!r} is not a {'whole ' if self.is_whole else ''}number"
        if value < self.low or (value == self.low and not self.is_whole):
            return f"{value!r}; it must be {'at least' if self.is_whole else 'above'} {self.low:g}"
        return f"{value!r}; it must be at most {self.high:,}" if value > self.high else None


MARKET_NUMBERS: Final = {
    "seed": Bounds(-(2**63), 2**63 - 1, is_whole=True),
    "speed": Bounds(0, 1_000_000),
    "rate": Bounds(0, 1_000_000, is_optional=True),
    "correlation": Bounds(-math.inf, math.inf),  # its bounds are the market's
    "load_rate": Bounds(1, math.inf, is_whole=True),
    "load_frame": Bounds(1, math.inf, is_whole=True),
}
"""What the market is made with; beyond these bounds nothing else would get a turn."""

PORT_MAX: Final = 65_535
LATENCIES: Final = tuple(f.name.removesuffix("_ns") for f in fields(Latency))
LATENCY_MS_MAX: Final = 3_600_000
MULTIPLIERS: Final = (1, 2, 4)
RESETTABLE: Final = ("cash", "fills", "latency", "multiplier", "quirks", "seed", "session")
"""What a reset may change; the rest is settled when the simulator starts."""


class ConfigError(ValueError):
    """The simulator cannot be started as asked; `problems` says everything that is wrong."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class SimConfig:
    """How to start the simulator. `cash` is decimal dollars; `rate_limit` requests a minute, 0 for none.

    `rate` is made-up events per second and symbol; `load_rate` and `load_frame` are messages per second and per
    frame of the tape "load". `start` (RFC 3339) is where the clock begins; without it a wall clock shows the time
    and a manual one `MANUAL_START`.
    """

    listen: str = "127.0.0.1:0"
    tape: tuple[str, ...] = ("synthetic",)
    speed: float = 1.0
    session: str = "always"
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    cash: str = "100000"
    multiplier: int = 2
    seed: int = 0
    fills: str = "realistic"
    regime: str = "calm"
    rate: float | None = None
    correlation: float = 0.0
    volume_curve: bool = False
    load_rate: int = 200_000
    load_frame: int = 50
    plan: str = "plus"
    rate_limit: int = 0
    clock: str = "wall"
    start: str | None = None
    quirks: Quirks = PLAIN
    latency: Latency = IMMEDIATE
    key: str = "sim"
    secret: str = field(default="sim", repr=False)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> SimConfig:
        """Return the checked configuration of plain values: quirks as {name: value}, latency as {name: ms}.

        Raises:
            ConfigError: with every problem there is.
        """
        return _changed(cls(), options, [field.name for field in fields(cls)])

    def changed(self, options: Mapping[str, Any]) -> SimConfig:
        """Return this configuration for a fresh start with other options. Raises `ConfigError`."""
        return _changed(self, options, RESETTABLE)

    @property
    def is_manual(self) -> bool:
        """Whether the market moves only by the controls."""
        return self.tape == ("manual",)

    def problems(self) -> list[str]:
        """Return everything that makes no sense; empty if it can be started."""
        wrong = list(self._wrong_words())
        of_the_market = list(self._wrong_numbers(MARKET_NUMBERS))
        wrong += [*of_the_market, *self._wrong_numbers({"rate_limit": Bounds(0, math.inf, is_whole=True)})]
        for name, pick in (("listen", self.address), ("start", self.start_ns), ("cash", self.cash_usd)):
            with _noting(name, wrong):
                pick()
        unreadable = [
            s for s in self.symbols if not (STOCK_SYMBOL.fullmatch(s) or CRYPTO_SYMBOL.fullmatch(s))
        ]
        wrong += [f"symbols: {symbol!r} is neither like AAPL nor like BTC/USD" for symbol in unreadable]
        if self.tape == ("load",) and self.clock == "manual":
            wrong.append("tape load runs by the wall: it cannot have a manual clock")
        if not of_the_market:
            with _noting("tape", wrong):
                self.open_load(lambda: 0)
                self.open_tape(lambda: 0)
        return wrong

    def _wrong_words(self) -> Iterator[str]:
        for name, allowed in WORDS.items():
            if getattr(self, name) not in allowed:
                yield f"{name} {getattr(self, name)!r}; allowed: {', '.join(allowed)}"
        if self.multiplier not in MULTIPLIERS or isinstance(self.multiplier, bool):
            yield f"multiplier {self.multiplier!r}; allowed: {', '.join(map(str, MULTIPLIERS))}"
        for name in ("key", "secret"):
            value = getattr(self, name)
            if not value or not isinstance(value, str):
                yield f"{name} is empty" if isinstance(value, str) else f"{name} {value!r} is no text"

    def _wrong_numbers(self, numbers: Mapping[str, Bounds]) -> Iterator[str]:
        for name, bounds in numbers.items():
            problem = bounds.problem(getattr(self, name))
            if problem is not None:
                yield f"{name} {problem}"

    def address(self) -> tuple[str, int]:
        """Return (host, port), the host without the brackets of a URL. Raises `ConfigError`."""
        host, _, port = self.listen.rpartition(":")
        if not host or not (port.isascii() and port.isdigit()) or int(port) > PORT_MAX:
            raise ConfigError(f"listen {self.listen!r} is not HOST:PORT; a port is from 0 to {PORT_MAX}")
        if not _is_loopback(host):
            raise ConfigError(
                f"listen {self.listen!r}: its controls know no password, so it serves this machine only"
            )
        return host.strip("[]"), int(port)

    def cash_usd(self) -> Usd:
        """Return the opening cash in nano-dollars. Raises `ConfigError`."""
        amount = nano(str(self.cash))
        if not 0 <= amount <= NANO_ABS_MAX:
            raise ConfigError(f"cash {self.cash!r} is less than nothing")
        return Usd(amount)

    def start_ns(self) -> int | None:
        """Return where the clock begins, None for now. Raises `ValueError`."""
        text = self.start or (MANUAL_START if self.clock == "manual" else None)
        if text is None:
            return None
        try:
            t_ns = time_ns(text)
        except ValueError as error:
            raise ConfigError(f"start {text!r} is not a time like {MANUAL_START} ({error})") from error
        if not 0 <= t_ns <= LAST_NS:
            raise ConfigError(f"start {text!r} is before 1970 or after {rfc3339(LAST_NS)}")
        return t_ns

    def open_clock(self) -> WallClock | ManualClock:
        """Return the clock everything runs on."""
        start_ns = self.start_ns()
        if self.clock == "manual":
            assert start_ns is not None
            return ManualClock(start_ns)
        return WallClock(start_ns)

    def open_tape(self, now_ns: Callable[[], int]) -> Tape:
        """Return the market, from its beginning; silent where it is a load. Raises what `tape_from_config` does."""
        if self.tape == ("load",):
            return Tape((), now_ns)
        shape = MarketShape(self.rate, self.regime, self.correlation, self.volume_curve)
        return tape_from_config(self.tape, self.symbols, self.seed, self.speed, now_ns, shape)

    def open_load(self, now_ns: Callable[[], int]) -> LoadTape | None:
        """Return the prepared market of the tape "load", None for every other tape. Raises `LoadError`."""
        if self.tape != ("load",):
            return None
        return LoadTape(self.symbols, self.seed, now_ns, rate_per_s=self.load_rate, frame=self.load_frame)

    def open_exchange(self, now_ns: Callable[[], int]) -> Exchange:
        """Return a fresh exchange. Random partial fills are off under a manual tape, so that tests are exact."""
        return Exchange(
            now_ns,
            symbols=self.symbols,
            cash_usd=self.cash_usd(),
            seed=self.seed,
            fills=self.fills,
            session=self.session,
            random_partials=not self.is_manual,
            multiplier=self.multiplier,
            quirks=self.quirks,
            latency=self.latency,
        )


def _changed(config: SimConfig, options: Mapping[str, Any], allowed: Sequence[str]) -> SimConfig:
    """Return `config` with plain values read into it. Raises `ConfigError` with every problem there is."""
    chosen = {name: value for name, value in options.items() if name in allowed}
    problems = [
        f"no option {name!r} here; there are {', '.join(allowed)}" for name in options if name not in chosen
    ]
    for name, read in _READERS.items():
        if name in chosen:
            value = chosen.pop(
                name
            )  # stays out if it cannot be read, so that nothing is complained about twice
            with _noting(name, problems):
                chosen[name] = read(value)
    changed = replace(config, **chosen)
    problems += changed.problems()
    if problems:
        raise ConfigError(*problems)
    return changed


@contextmanager
def _noting(name: str, wrong: list[str]) -> Iterator[None]:
    """Add to `wrong` what the block finds wrong with option `name`."""
    try:
        yield
    except ConfigError as error:
        wrong += error.problems
    except (ValueError, OSError) as error:
        wrong.append(f"{name}: {error}")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _quirks(value: object) -> Quirks:
    if isinstance(value, Quirks):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"quirks {value!r}: an object of names and values is expected")
    problems: list[str] = []
    for name, choice in value.items():
        with _noting("quirks", problems):
            Quirks.of({name: choice})
    if problems:
        raise ConfigError(*problems)
    return Quirks.of(value)


def _latency(value: object) -> Latency:
    if isinstance(value, Latency):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"latency {value!r}: an object of names and milliseconds is expected")
    problems = [
        f"no latency {name!r}; there are {', '.join(LATENCIES)}" for name in value if name not in LATENCIES
    ]
    problems += [
        f"latency {name} is {ms!r}; milliseconds from 0 to {LATENCY_MS_MAX}"
        for name, ms in value.items()
        if isinstance(ms, bool) or not isinstance(ms, (int, float)) or not 0 <= ms <= LATENCY_MS_MAX
    ]
    if problems:
        raise ConfigError(*problems)
    return Latency.of_ms(**value)


def _texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, (str, os.PathLike)):
        return (str(value),)
    if not isinstance(value, Iterable):
        raise ConfigError(f"{name} {value!r} is neither a text nor a list of texts")
    return tuple(map(str, value))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} {value!r} is no text")
    return value


def _switch(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{name} {value!r} is neither true nor false")
    return value


def _time(value: object) -> str | None:
    return None if value is None else _text("start", value)


_READERS: Final[dict[str, Callable[[object], Any]]] = {
    "quirks": _quirks,
    "latency": _latency,
    "tape": partial(_texts, "tape"),
    "symbols": partial(_texts, "symbols"),
    "cash": str,
    "volume_curve": partial(_switch, "volume_curve"),
    "listen": partial(_text, "listen"),
    "start": _time,
}
