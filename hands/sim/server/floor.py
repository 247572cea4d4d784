"""The trading floor: the exchange, both streams, the history and the faults, wired together.

Owns what a tick and an order set in motion outside the exchange, and the way back to the start. The one idea:
everything happens on one event loop, in this order: the exchange matches, the market is recorded and published,
then the trade updates go out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hands.sim.server.faults import Faults
from hands.sim.server.history import History
from hands.sim.server.keys import Credentials
from hands.sim.server.market_stream import MarketHub
from hands.sim.server.trade_stream import TradeStream
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.ticks import Tick


class WallClock:
    """Unix nanoseconds that never step: the wall read once, plus the performance counter since."""

    def __init__(self) -> None:
        self._anchor_ns = time.time_ns() - time.perf_counter_ns()

    def __call__(self) -> int:
        return self._anchor_ns + time.perf_counter_ns()


@dataclass(slots=True)
class RequestRecord:
    """One trading request as it arrived. `received_ns` is when its first bytes came off the socket; `conn`
    numbers the connection; `status` is None when no answer was sent."""

    method: str
    path: str
    body: Any
    received_ns: int
    conn: int
    status: int | None = None


class TradingFloor:
    """Everything that is one simulated venue; `open_exchange` makes a fresh exchange."""

    def __init__(
        self, open_exchange: Callable[[], Exchange], now_ns: Callable[[], int], credentials: Credentials
    ) -> None:
        self.now_ns = now_ns
        self.credentials = credentials
        self.faults = Faults()
        self.hub = MarketHub(now_ns, credentials, self.faults)
        self.history = History(now_ns, credentials)
        self.stream = TradeStream(credentials, self.faults)
        self.exchange = open_exchange()
        self.requests: list[RequestRecord] = []
        self.trade_ids = 0
        self._open_exchange = open_exchange

    def emit(self, ticks: Sequence[Tick]) -> None:
        """Let the market move: match, record, publish, report."""
        self.exchange.on_ticks(ticks)
        self.history.record(ticks)
        self.hub.publish(ticks)
        self.flush()

    def flush(self) -> None:
        """Send the trade updates that are due."""
        updates = self.exchange.take_updates()
        if updates:
            self.stream.publish(updates)

    def flush_soon(self) -> None:
        """Send them after the current request has been answered, as the venue usually does."""
        asyncio.get_running_loop().call_soon(self.flush)

    def reset(self) -> None:
        """Go back to the start: a fresh exchange, no history, no faults, no requests; connections stay."""
        self.faults.clear()
        self.history.clear()
        self.requests.clear()
        self.trade_ids = 0
        self.exchange = self._open_exchange()
