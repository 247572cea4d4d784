"""A stage: one exchange and one engine on one loop, for the length of a run; and the hand that drops documents.

Owns putting it together and taking it down. The one idea: `with stage(...)` leaves nothing behind, neither files nor a
changed module, so runs can follow one another within a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web_app

from tests.rig.engine import Engine, Log, in_one_thread
from tests.rig.exchange import Exchange
from tests.rig.loop import VirtualLoop
from tests.rig.machine import virtual
from tests.rig.wires import Network
from tests.rig.witness import Limits, Witness

SYMBOLS = ("AAPL", "SPY", "BTC/USD", "SOL/USD")
START_NS = int(datetime(2026, 1, 5, 15, tzinfo=UTC).timestamp()) * 1_000_000_000
POLL_S = 0.01

ROOMY: dict[str, Any] = {
    "max_daily_trades": 100_000,
    "max_daily_loss": 0.9,
    "max_drawdown": 0.9,
    "semantic_duplicate_s": 0,
    "rejections_latch": 1_000_000,
    "max_concurrent": 4,
    "max_gross_exposure": 0.5,
}
"""Limits that let a run trade; each is in the run's own limits file."""

SHIPPED: dict[str, Any] = {
    "max_position_size": 0.10,
    "max_gross_exposure": 0.30,
    "max_order_notional_usd": 25_000,
    "max_risk_per_trade": 0.02,
    "max_concurrent": 3,
    "max_daily_trades": 5,
    "orders_per_minute": 60,
    "max_daily_loss": 0.04,
    "stop_limit_offset": 0.01,
}


@dataclass(slots=True)
class Stage:
    """What a run works with."""

    loop: VirtualLoop
    network: Network
    exchange: Exchange
    engine: Engine
    witness: Witness
    log: Log
    folder: Path
    documents: dict[str, bytes]
    """The first document dropped under each id that is one."""

    async def open(self, quotes: Callable[[], None]) -> None:
        """Open the exchange, start the engine on the market that `quotes` makes, and wait until it trades."""
        await self.loop.spawn(self.exchange.life, self.exchange.open())
        quotes()
        await self.start()
        quotes()
        await asyncio.sleep(0.05)

    async def start(self, within_s: float = 120.0) -> None:
        """Start the engine and wait until it is ready."""
        self.engine.start()
        await self.until("the engine is ready", lambda: self.engine.is_ready, within_s)

    async def until(self, what: str, look: Callable[[], object], within_s: float = 30.0) -> None:
        """Wait for a condition. Raises AssertionError."""
        end_s = self.loop.time() + within_s
        while not look():
            if self.loop.time() > end_s:
                raise AssertionError(f"{what}: not within {within_s:g} s")
            if self.engine.has_ended:
                raise AssertionError(f"{what}: the engine has ended by itself")
            await asyncio.sleep(POLL_S)

    def drop(self, document: dict[str, Any], *, name: str | None = None) -> str:
        """Drop a document as a Brain does, by a rename; return its id."""
        data = json.dumps(document).encode()
        intent_id = str(document.get("intent_id"))
        self.documents.setdefault(intent_id, data)
        self.drop_bytes(data, name or f"{intent_id}.json")
        return intent_id

    def drop_bytes(self, data: bytes, name: str) -> None:
        """Put bytes into the drop folder, as old as the virtual clock says."""
        part = self.engine.intents / f".{name}.tmp"
        part.write_bytes(data)
        now_ns = self.loop.wall_ns
        os.utime(part, ns=(now_ns, now_ns))
        part.rename(self.engine.intents / name)

    def rows(self, table: str) -> int:
        """Return how many rows a table of the ledger has."""
        with closing(sqlite3.connect(f"{(self.engine.state / 'hands.db').as_uri()}?mode=ro", uri=True)) as db:
            return int(db.execute(f"SELECT count(*) FROM ledger_{table}").fetchone()[0])

    @property
    def fills(self) -> int:
        """How many executions there were at the exchange."""
        return len(self.exchange.floor.exchange.blotter.fills)

    def now_text(self) -> str:
        """Return the wall's time, as a document writes it."""
        return datetime.fromtimestamp(self.loop.wall_ns / 1e9, UTC).isoformat()

    def receipt(self, intent_id: str) -> dict[str, Any] | None:
        """Return the current receipt, None where there is none."""
        try:
            found: dict[str, Any] = json.loads(
                (self.engine.intents / "receipts" / f"{intent_id}.json").read_bytes()
            )
        except FileNotFoundError:
            return None
        return found


def intent(number: int, symbol: str, stamp: str, **fields: Any) -> dict[str, Any]:
    """Return a document; `number` makes its id."""
    return {
        "intent_id": str(uuid.UUID(int=number, version=4)),
        "asset": symbol,
        "direction": "LONG",
        "confidence": 0.8,
        "strategy_ref": "rig",
        "timestamp": stamp,
        "ttl_seconds": 10,
    } | fields


def change(number: int, kind: str, target_id: str, stamp: str, **fields: Any) -> dict[str, Any]:
    """Return a document that changes what became of an earlier one."""
    named = {"intent_id": str(uuid.UUID(int=number, version=4)), "kind": kind, "target_id": target_id}
    return named | {"timestamp": stamp} | fields


def memory_folder() -> str | None:
    """Return a folder in memory where there is one: a run makes many small files."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@contextlib.contextmanager
def stage(
    seed: int,
    *,
    limits: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    symbols: tuple[str, ...] = SYMBOLS,
    **exchange_options: Any,
) -> Iterator[Stage]:
    """Yield a stage whose exchange and engine are made but not started."""
    chosen = ROOMY | (limits or {})
    folder = Path(tempfile.mkdtemp(prefix="hands-rig-", dir=memory_folder()))
    network = Network(str(seed))
    loop = VirtualLoop(START_NS, network)
    log = Log(loop)
    logger, server = logging.getLogger("hands"), logging.getLogger("aiohttp")
    level, propagates, server_level = logger.level, logger.propagate, server.level
    server.setLevel(logging.CRITICAL + 1)  # what it says of clients that die is what a run is about
    try:
        with in_one_thread(), virtual(loop, str(seed)):
            logger.addHandler(log)
            logger.setLevel(logging.INFO)
            logger.propagate = False
            asyncio.set_event_loop(loop)
            exchange = Exchange(loop, seed, symbols, **exchange_options)
            engine = Engine(loop, folder, limits=chosen, settings=settings or {}, symbols=symbols)
            known = SHIPPED | {name: value for name, value in chosen.items() if name in SHIPPED}
            documents: dict[str, bytes] = {}
            witness = Witness(exchange, Limits(**known), documents)
            yield Stage(loop, network, exchange, engine, witness, log, folder, documents)
    finally:
        logger.removeHandler(log)
        logger.setLevel(level)
        logger.propagate = propagates
        asyncio.set_event_loop(None)
        _end(loop)
        server.setLevel(server_level)
        shutil.rmtree(folder, ignore_errors=True)
        _tidy_up()


def _tidy_up() -> None:
    """Let go of what the runs left in circles; all of it every now and then, since that takes a while."""
    web_app._cached_build_middleware.cache_clear()  # it holds a thousand applications, and all they served
    global _runs  # noqa: PLW0603
    _runs += 1
    if _runs % 16 == 0:
        gc.collect()


_runs = 0


def _end(loop: VirtualLoop) -> None:
    """Let go of what still waits on the loop."""
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        coro: Any = task.get_coro()
        with contextlib.suppress(BaseException):
            coro.close()
    loop._ready.clear()
    loop._scheduled.clear()
    loop.close()
