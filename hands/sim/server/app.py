"""The simulator as a server: one port for trading, both streams, history and controls.

Owns assembly, the listening socket and the end of the process; prints nothing. The idea: a configuration, a
floor built from it, and the tape and the clock running beside the server until it is told to stop.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from aiohttp import web

from hands.sim.server.clock import ManualClock
from hands.sim.server.config import ConfigError, SimConfig
from hands.sim.server.controls import Controls
from hands.sim.server.floor import TradingFloor
from hands.sim.server.gateway import Gateway, protocol_factory
from hands.sim.server.passage import run_by_wall
from hands.sim.server.rest import TradingRest

_SHUTDOWN_S: Final = 1.0


def build_app(floor: TradingFloor) -> web.Application:
    """Return the aiohttp application of a floor."""
    app = web.Application(middlewares=[Gateway(floor).middleware()])
    for part in (TradingRest(floor), Controls(floor), floor.stream, floor.events, floor.hub, floor.history):
        app.add_routes(part.routes())
    return app


async def serve(config: SimConfig, ready: Callable[[str], None]) -> None:
    """Serve until cancelled or told to stop by SIGTERM or SIGINT; `ready` gets the base URL.

    Raises:
        ConfigError: an option makes no sense, or the tape cannot be played.
        OSError: the address cannot be bound, or `ready` cannot say so.
        FileError: the tape was played until a row that cannot be read.
    """
    problems = config.problems()
    if problems:
        raise ConfigError(*problems)
    host, port = config.address()
    clock = config.open_clock()
    floor = TradingFloor(config, clock)
    runner = web.AppRunner(build_app(floor), access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    try:
        # Not a TCPSite: the connections must be our own kind, see StampedHandler.
        factory = protocol_factory(runner.server, clock)
        server = await loop.create_server(factory, host, port)
        try:
            with _stop_signals() as stop:
                shown = f"[{host}]" if ":" in host else host
                ready(f"http://{shown}:{server.sockets[0].getsockname()[1]}")
                await (stop.wait() if isinstance(clock, ManualClock) else run_by_wall(floor, stop))
        finally:
            server.close()
            floor.close()
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
