"""The receiving ends that are compared: our feed and market, and alpaca-py's own stream with a handler that counts.

Owns one receiver a process: it takes a given number of messages and prints what that took, as one JSON line. Time begins
with the first data and ends with the last message: connecting is nobody's business here.

Run as `python -m bench.ingest_receivers hands|alpaca URL MESSAGES`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

from bench.market_load import SYMBOLS

PATIENCE_S = 120.0


class Watch:
    """When the first message came and the last, and what the processor did in between."""

    def __init__(self, messages: int) -> None:
        self._expected = messages
        self.messages = 0
        self.frames = 0
        self._began_s = self._began_cpu_s = self._ended_s = self._ended_cpu_s = 0.0

    def begin(self) -> None:
        self._began_s, self._began_cpu_s = time.perf_counter(), time.process_time()

    def is_over(self) -> bool:
        if self.messages < self._expected:
            return False
        self._ended_s, self._ended_cpu_s = time.perf_counter(), time.process_time()
        return True

    def result(self) -> dict[str, Any]:
        wall_s, cpu_s = self._ended_s - self._began_s, self._ended_cpu_s - self._began_cpu_s
        return {"messages": self.messages, "frames": self.frames, "wall_s": wall_s, "cpu_s": cpu_s}


async def hands(url: str, messages: int) -> dict[str, Any]:
    """Receive with `MarketFeed` into a `Market`, as the daemon does: every indicator is up to date after each row."""
    import numpy as np

    from hands.core.events import Link
    from hands.core.market import Market
    from hands.runtime.clock import Clock
    from hands.runtime.recent import Recent
    from hands.venues.alpaca.endpoints import Credentials, Endpoints
    from hands.venues.alpaca.market_feed import MarketFeed

    MarketFeed.warm_up()
    Market.warm_up()
    market, watch, over, clock = Market(SYMBOLS), Watch(messages), asyncio.Event(), Clock()
    recent = Recent(market, clock())
    late_ns = 0

    def take(rows: np.ndarray, count: int) -> None:
        nonlocal late_ns
        if not watch.messages:
            watch.begin()
        start = 0
        while start < count:
            start = market.consume(rows, start, count)
        recent.keep(rows, count)
        watch.frames += 1
        watch.messages += count
        late_ns = max(late_ns, clock() - int(rows["venue_ns"][0]))
        if watch.is_over():
            over.set()

    feed = MarketFeed(
        Endpoints.of(url),
        Credentials("sim", "sim"),
        SYMBOLS,
        market.index,
        take,
        lambda _: None,
        clock,
        Link.EQUITY_DATA,
    )
    await feed.start()
    async with asyncio.timeout(PATIENCE_S):
        await over.wait()
    await feed.stop()
    strange = feed.counts.malformed + feed.counts.unknown_symbols + feed.counts.unreadable_frames
    assert not strange, feed.counts
    assert market.rows_seen == messages
    return watch.result() | {"late_max_ms": late_ns / 1e6}


async def alpaca(url: str, messages: int) -> dict[str, Any]:
    """Receive with alpaca-py's `StockDataStream`: its models, and a handler that counts."""
    from alpaca.data.live import StockDataStream  # type: ignore[import-not-found,unused-ignore]

    watch, over = Watch(messages), asyncio.Event()
    stream = StockDataStream("sim", "sim", url_override=url.replace("http", "ws") + "/v2/iex")

    async def count(_: Any) -> None:
        if not watch.messages:
            watch.begin()
        watch.messages += 1
        if watch.is_over():
            over.set()

    stream.subscribe_trades(count, *SYMBOLS)
    stream.subscribe_quotes(count, *SYMBOLS)
    running = asyncio.ensure_future(stream._run_forever())  # noqa: SLF001  (its only way to run inside a loop)
    async with asyncio.timeout(PATIENCE_S):
        await over.wait()
    assert not running.done()
    return watch.result()


if __name__ == "__main__":
    import uvloop

    receiver = {"hands": hands, "alpaca": alpaca}[sys.argv[1]]

    async def receive() -> None:
        print(json.dumps(await receiver(sys.argv[2], int(sys.argv[3]))), flush=True)
        os._exit(0)  # alpaca-py's stream takes twenty seconds to be stopped

    uvloop.run(receive())
