"""The exchange's side of the rig: the simulator's own server on the rig's wires, and a hand to move its market.

Owns the floor, its server and its passing of time, and a record of every naked episode. May not know of the engine. The
one idea: it is `hands.sim` as it is served, its clock and its connections being the loop's; what a test wants of it, it
asks of the floor itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from hands.core.units import Ns, Price, Qty, nano
from hands.sim.market.times import rfc3339
from hands.sim.server.app import build_app
from hands.sim.server.config import SimConfig
from hands.sim.server.floor import TradingFloor
from hands.sim.server.gateway import protocol_factory
from hands.sim.venue.exposure import Exposure
from hands.sim.venue.orders import Order
from hands.sim.venue.ticks import Quote, Status, Tick, Trade
from tests.rig.loop import Life, VirtualLoop

PORT = 80
URL = "http://127.0.0.1:80"
PASS_S = 0.5
"""How often sessions, expiries and bars are looked at; what is due sooner wakes the floor by itself."""

SIZE = Qty(nano("500"))


@dataclass(slots=True)
class Naked:
    """One episode of a symbol without enough stops; `until_ns` is None while it lasts."""

    symbol: str
    since_ns: int
    until_ns: int | None = None


class RecordedExposure(Exposure):
    """The simulator's stopwatches, keeping each episode too."""

    def __init__(self) -> None:
        super().__init__()
        self.episodes: list[Naked] = []
        self._running: dict[str, Naked] = {}

    def note(self, symbol: str, now_ns: Ns, *, is_naked: bool) -> None:
        super().note(symbol, now_ns, is_naked=is_naked)
        running = self._running.get(symbol)
        if is_naked and running is None:
            episode = self._running[symbol] = Naked(symbol, now_ns)
            self.episodes.append(episode)
        elif not is_naked and running is not None:
            running.until_ns = now_ns
            del self._running[symbol]


class Exchange:
    """A simulated venue on a loop."""

    def __init__(self, loop: VirtualLoop, seed: int, symbols: tuple[str, ...], **options: Any) -> None:
        self.loop = loop
        self.life = Life("exchange")
        chosen = {
            "tape": "manual",
            "symbols": symbols,
            "seed": seed,
            "fills": "realistic",
            "start": rfc3339(loop.wall_ns),
        } | options
        config = SimConfig.of(chosen)
        self.floor = TradingFloor(config, config.open_clock())
        self.exposure = RecordedExposure()
        self.floor.exchange.exposure = self.exposure
        self.quotes: dict[str, Quote] = {}
        self.halts: list[tuple[str, int, int | None]] = []
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Serve. Run it in the exchange's own context."""
        self._runner = web.AppRunner(build_app(self.floor), access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        assert self._runner.server is not None
        factory = protocol_factory(self._runner.server, self.floor.clock)
        await self.loop.create_server(factory, "127.0.0.1", PORT)
        self.loop.create_task(self._pass_time())

    async def _pass_time(self) -> None:
        while True:
            await asyncio.sleep(PASS_S)
            self.floor.pass_time()

    # --- the market ----------------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        return self.floor.clock()

    def a_quote(
        self, symbol: str, bid: int, ask: int, size: int = SIZE, ask_size: int | None = None
    ) -> Quote:
        """Return a quote of now; prices and sizes are nano-units."""
        sizes = Qty(size), Qty(size if ask_size is None else ask_size)
        return Quote(symbol, Price(bid), Price(ask), *sizes, Ns(self.now_ns))

    def a_print(self, symbol: str, price: int, size: int = SIZE) -> Trade:
        """Return a print of now."""
        self.floor.trade_ids += 1
        return Trade(symbol, Price(price), Qty(size), Ns(self.now_ns), self.floor.trade_ids)

    def emit(self, ticks: Sequence[Tick]) -> None:
        """Let the market be so: matched, recorded, published."""
        self.quotes |= {tick.symbol: tick for tick in ticks if isinstance(tick, Quote)}
        if ticks:
            self.floor.emit(ticks)

    def quote(self, symbol: str, bid: int, ask: int, size: int = SIZE, ask_size: int | None = None) -> None:
        """Quote a symbol."""
        self.emit([self.a_quote(symbol, bid, ask, size, ask_size)])

    def halt(self, symbol: str) -> None:
        """Halt a symbol."""
        self.halts.append((symbol, self.now_ns, None))
        self.floor.emit([Status(symbol, "H", "Trading Halt", "T12", "pending", Ns(self.now_ns))])

    def resume(self, symbol: str) -> None:
        """Let a halted symbol go on."""
        self.halts = [
            (name, since, self.now_ns if name == symbol and until is None else until)
            for name, since, until in self.halts
        ]
        self.floor.emit([Status(symbol, "T", "Trading Resumed", "", "", Ns(self.now_ns))])

    def is_halted(self, symbol: str) -> bool:
        """Return whether a symbol is halted."""
        return any(name == symbol and until is None for name, _, until in self.halts)

    def faults(self, *rows: Mapping[str, Any]) -> None:
        """Install faults, in the contract's words."""
        self.floor.faults.install(rows)

    # --- the truth -----------------------------------------------------------------------------------------

    @property
    def orders(self) -> list[Order]:
        """Every order ever."""
        return list(self.floor.exchange.blotter)

    def held(self, symbol: str) -> int:
        """Return the account's position."""
        return self.floor.exchange.account.qty(symbol)
