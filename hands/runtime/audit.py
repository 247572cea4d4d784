"""Trust, and look it up: now and then what has come live is held against the venue's own history.

Owns the pace of that and what is compared. May not hold anything up. The one idea: a stream that lost a few frames and
went on looks like any other, and only the venue's list of trades can tell; the list of the last seconds of all symbols
is one request.

By these rules:
- Every `every_s` seconds, for each feed that is up, expected to bring data, and in no gap: the trades since the last
  audit, but for the last `LAG_NS`, in which history may be behind the stream. What did not come is put in its place.
- So many symbols are asked about at once that their trades fit two pages, the others the next time.
- A history that knows none of many trades that came names them in another way, and is not believed.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from hands.core.events import Link
from hands.core.market import Market
from hands.core.units import NS_PER_S
from hands.runtime.recent import keys_of, not_among
from hands.runtime.repairs import Repairs
from hands.venues.alpaca.history import PastTrades
from hands.venues.alpaca.snapshots import VenueUnavailable
from hands.venues.alpaca.standing import standing_task

log = logging.getLogger("hands")

SELDOM_S: Final = 300.0
"""How often a venue is asked that did not answer the last time."""

LAG_NS: Final = 3 * NS_PER_S
SPAN_MAX_NS: Final = 60 * NS_PER_S
SYMBOLS_MAX: Final = 100
PAGES: Final = 2
STRANGERS_MAX: Final = 20


class Feed(Protocol):
    """What is needed to know of a feed."""

    @property
    def is_up(self) -> bool: ...
    @property
    def expects_data(self) -> bool: ...
    @property
    def symbols(self) -> Sequence[str]: ...
    @property
    def venue_offset_ns(self) -> int: ...


class Trades(Protocol):
    """Who is asked for history."""

    async def trades(
        self, symbols: Sequence[str], start_ns: int, end_ns: int, *, pages: int | None = None
    ) -> PastTrades: ...


class Audit:
    """Compares what `repairs` has kept with `history`, and has put in what is missing."""

    def __init__(
        self,
        market: Market,
        repairs: Repairs,
        feeds: Mapping[Link, Feed],
        history: Trades,
        clock: Callable[[], int],
        *,
        every_s: float,
    ) -> None:
        self.fault: str | None = None
        self._market = market
        self._repairs = repairs
        self._feeds = feeds
        self._history = history
        self._clock = clock
        self._every_s = every_s
        self._until_ns: dict[str, int] = {}
        self._turns = {link: itertools.cycle(feed.symbols) for link, feed in feeds.items()}
        self._at_once = {link: min(SYMBOLS_MAX, len(feed.symbols)) for link, feed in feeds.items()}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to compare."""
        self._task = standing_task(self._go_round(), "the audit of the market data")

    async def stop(self) -> None:
        """Compare nothing any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _go_round(self) -> None:
        while True:
            await asyncio.sleep(self._every_s if self.fault is None else max(self._every_s, SELDOM_S))
            self.fault = None
            for link, feed in self._feeds.items():
                try:
                    await self.compare(link, feed)
                except VenueUnavailable as error:
                    self.fault = f"what came is not held against history: {error}"
                    log.info("%s: %s", link, self.fault)

    async def compare(self, link: Link, feed: Feed) -> None:
        """Compare some symbols of a feed. Raises `VenueUnavailable`."""
        if not (feed.is_up and feed.expects_data) or self._repairs.in_gap(link):
            return
        symbols = list(itertools.islice(self._turns[link], self._at_once[link]))
        end_ns = self._clock() - feed.venue_offset_ns - LAG_NS
        oldest_ns = max(end_ns - SPAN_MAX_NS, self._repairs.kept_from_ns())
        start_ns = max(oldest_ns, min(self._until_ns.get(symbol, oldest_ns) for symbol in symbols))
        if start_ns >= end_ns:
            return
        found = await self._history.trades(symbols, start_ns, end_ns, pages=PAGES)
        if not found.complete:
            self._at_once[link] = max(1, self._at_once[link] // 2)
        if self._repairs.in_gap(link):
            return
        known = keys_of(self._repairs.kept_since(start_ns))
        syms = {self._market.index[symbol] for symbol in symbols}
        came = {key for key in known if key[0] in syms and key[-1] <= end_ns}
        if len(came) >= STRANGERS_MAX and len(found.rows) and came.isdisjoint(keys_of(found.rows)):
            raise VenueUnavailable("it names its trades in another way")
        within_reach = self._repairs.is_within_reach(found.rows, feed.venue_offset_ns)
        missed = not_among(found.rows[within_reach], set(known))
        for sym in np.unique(missed["sym"]).tolist():
            self._repairs.put_in(missed[missed["sym"] == sym], feed.venue_offset_ns)
            await asyncio.sleep(0)
        if len(missed):
            log.warning("%s: %d trades had not come and were taken from history", link, len(missed))
        self._until_ns |= dict.fromkeys(symbols, end_ns)
