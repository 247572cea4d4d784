"""The simulator as a server: one port for trading, both streams, history and controls.

Owns assembly, the listening socket and the end of the process; prints nothing. The idea: a configuration, a
floor built from it, and the tape and the clock running beside the server until it is told to stop.
"""

from __future__ import annotations

import asyncio
import ipaddress
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from hands.core.units import Usd, nano
from hands.sim.market.tape import Tape, tape_from_config
from hands.sim.server.controls import Controls
from hands.sim.server.floor import TradingFloor, WallClock
from hands.sim.server.gateway import Gateway, protocol_factory
from hands.sim.server.rest import TradingRest
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.quirks import IMMEDIATE, PLAIN, Latency, Quirks

DEFAULT_SYMBOLS: Final = ("AAPL", "SPY", "MSFT", "BTC/USD", "ETH/USD", "SOL/USD")
_CLOCK_STEP_S: Final = 0.25
_SHUTDOWN_S: Final = 1.0


class ConfigError(ValueError):
    """The simulator cannot be started as asked; the message says why."""


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class SimConfig:
    """How to start the simulator. `cash` is decimal dollars; `rate_limit` requests a minute, 0 for none."""

    listen: str = "127.0.0.1:0"
    tape: tuple[str, ...] = ("synthetic",)
    speed: float = 1.0
    session: str = "always"
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    cash: str = "100000"
    seed: int = 0
    fills: str = "realistic"
    rate_limit: int = 0
    quirks: Quirks = PLAIN
    latency: Latency = IMMEDIATE
    key: str = "sim"
    secret: str = field(default="sim", repr=False)

    @property
    def is_manual(self) -> bool:
        return self.tape == ("manual",)

    def address(self) -> tuple[str, int]:
        """Return (host, port). Raises `ConfigError`."""
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ConfigError(f"listen {self.listen!r} is not HOST:PORT")
        if not _is_loopback(host):
            raise ConfigError(
                f"listen {self.listen!r}: its controls know no password, so it serves this machine only"
            )
        return host, int(port)

    def open_exchange(self, now_ns: Callable[[], int]) -> Exchange:
        """Return a fresh exchange. Random partial fills are off under a manual tape, so that tests are exact."""
        if nano(self.cash) < 0:
            raise ConfigError(f"cash {self.cash!r} is less than nothing")
        return Exchange(
            now_ns,
            symbols=self.symbols,
            cash_usd=Usd(nano(self.cash)),
            seed=self.seed,
            fills=self.fills,
            session=self.session,
            random_partials=not self.is_manual,
            quirks=self.quirks,
            latency=self.latency,
        )


def build_app(floor: TradingFloor, rate_limit: int) -> web.Application:
    """Return the aiohttp application of a floor."""
    app = web.Application(middlewares=[Gateway(floor, rate_limit).middleware()])
    for part in (TradingRest(floor), Controls(floor), floor.stream, floor.hub, floor.history):
        app.add_routes(part.routes())
    return app


async def serve(config: SimConfig, ready: Callable[[str], None]) -> None:
    """Serve until cancelled or told to stop by SIGTERM or SIGINT; `ready` gets the base URL.

    Raises:
        ConfigError: the address, session, fills or cash make no sense.
        hands.sim.market.tape.TapeError, hands.sim.market.files.FileError: the tape cannot be played.
        OSError: the address cannot be bound.
    """
    now_ns = WallClock()
    try:
        floor = TradingFloor(lambda: config.open_exchange(now_ns), now_ns, {config.key: config.secret})
    except ValueError as error:
        raise ConfigError(str(error)) from error
    host, port = config.address()
    tape = tape_from_config(config.tape, config.symbols, config.seed, config.speed, now_ns)
    runner = web.AppRunner(build_app(floor, config.rate_limit), access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    try:
        # Not a TCPSite: the connections must be our own kind, see StampedHandler.
        server = await loop.create_server(protocol_factory(runner.server, now_ns), host, port)
        try:
            with _stop_signals() as stop:
                ready(f"http://{host}:{server.sockets[0].getsockname()[1]}")
                await _run(floor, tape, stop)
        finally:
            server.close()
            floor.hub.close()
            floor.stream.close()
    finally:
        await runner.cleanup()


@contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    """Yield an event that SIGTERM or SIGINT sets; from before the ready line, since it invites a signal."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    installed = []
    # Signals can be caught in the main thread only; elsewhere (a test's thread) cancelling is the way to stop.
    with suppress(ValueError, RuntimeError, NotImplementedError):
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
            installed.append(number)
    try:
        yield stop
    finally:
        for number in installed:
            loop.remove_signal_handler(number)


async def _run(floor: TradingFloor, tape: Tape, stop: asyncio.Event) -> None:
    """Play the tape and let time pass until `stop`; a crash of either ends the server loudly."""
    async with asyncio.TaskGroup() as group:
        playing = group.create_task(tape.run(floor.emit))
        ticking = group.create_task(_pass_time(floor))
        await stop.wait()
        playing.cancel()
        ticking.cancel()


async def _pass_time(floor: TradingFloor) -> None:
    """Open and close sessions, expire orders."""
    while True:
        await asyncio.sleep(_CLOCK_STEP_S)
        floor.exchange.advance()
        floor.flush()
