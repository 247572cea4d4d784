"""Trust, and look it up: now and then what has come live is held against the venue's own history.

Owns the pace of that and what is compared. May not hold anything up. The one idea: a stream that lost a few frames and
went on looks like any other, and only the venue's list of trades can tell; the list of the last seconds of all symbols
is one request.

By these rules:
- Every `every_s` seconds, for each feed that is up, expected to bring data, and in no gap: the trades since the last
  audit, but for the last `LAG_NS`, in which history may be behind the stream. What did not come is put in its place.
- So many symbols are asked about at once that their trades fit two pages, the others the next time.
- After a gap that was filled they are asked from `SPAN_MAX_NS` ago: the word that a trade was corrected or cancelled may
  have been lost in it. What history says of that is done.
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
from hands.runtime.gaps import Gaps
from hands.runtime.known import Known, Pause, Question
from hands.runtime.recent import GoneError, Mark, Recent
from hands.runtime.repairs import BeyondRepairError, Repairs
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
    """Compares what `recent` has kept with `history`, and has `repairs` put in what is missing."""

    def __init__(
        self,
        market: Market,
        recent: Recent,
        repairs: Repairs,
        gaps: Gaps,
        feeds: Mapping[Link, Feed],
        history: Trades,
        clock: Callable[[], int],
        *,
        every_s: float,
    ) -> None:
        self.fault: str | None = None
        self._market = market
        self._recent = recent
        self._repairs = repairs
        self._gaps = gaps
        self._feeds = feeds
        self._history = history
        self._clock = clock
        self._every_s = every_s
        self._until_ns: dict[str, int] = {}
        self._filled: dict[Link, int] = {}
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
                except (VenueUnavailable, GoneError) as error:
                    self.fault = f"what came is not held against history: {error}"
                    log.info("%s: %s", link, self.fault)

    async def compare(self, link: Link, feed: Feed) -> None:
        """Compare some symbols of a feed. Raises `VenueUnavailable`, or `GoneError`: too much comes for that."""
        if not (feed.is_up and feed.expects_data) or self._gaps.is_open(link):
            return
        recent = self._recent
        self._look_back_after_gaps(link, feed)
        symbols = list(itertools.islice(self._turns[link], self._at_once[link]))
        end_ns = self._clock() - feed.venue_offset_ns - LAG_NS
        oldest_ns = max(end_ns - SPAN_MAX_NS, recent.kept_from_ns)
        start_ns = max(oldest_ns, min(self._until_ns.get(symbol, oldest_ns) for symbol in symbols))
        if start_ns >= end_ns:
            return
        syms, position = [self._market.index[symbol] for symbol in symbols], recent.end
        known = await recent.known(recent.first, position, syms, start_ns, end_ns)
        found = await self._history.trades(symbols, start_ns, end_ns, pages=PAGES)
        self._adapt(link, complete=found.complete)
        questions = await self._ask(found, known, feed)
        missed = 0
        for sym, question in questions.items():
            if self._gaps.is_open(link):
                return
            missed += await self._put_in(sym, question, position, feed)
            await asyncio.sleep(0)
        self._repairs.take_back(found)
        if missed:
            log.warning("%s: %d trades had not come and were taken from history", link, missed)
        if found.complete:
            self._until_ns |= dict.fromkeys(symbols, end_ns)

    def _look_back_after_gaps(self, link: Link, feed: Feed) -> None:
        """After a gap begin again as far back as ever: what came before it may have been corrected in it."""
        filled = self._gaps.filled[link].gaps
        if filled != self._filled.get(link, 0):
            self._filled[link] = filled
            for symbol in feed.symbols:
                self._until_ns.pop(symbol, None)

    def _adapt(self, link: Link, *, complete: bool) -> None:
        """Ask about fewer symbols after an answer that was cut short, and slowly about more again: a market calms down."""
        at_once = self._at_once[link]
        most = min(SYMBOLS_MAX, len(self._feeds[link].symbols))
        self._at_once[link] = min(most, at_once + 1 + at_once // 8) if complete else max(1, at_once // 2)

    async def _ask(self, past: PastTrades, known: Known, feed: Feed) -> dict[int, Question]:
        """Return for each symbol which of its past trades are not known, as far as they can still be put in.

        Raises `VenueUnavailable`: the history is not of the trades that came.
        """
        questions, matched, pause = {}, 0, Pause()
        for sym in past.syms:
            trades = past.of(sym)
            question = questions[sym] = Question(trades)
            await question.begin(pause)
            matched += await question.strike(known.of(sym), pause)
            question.ignore(trades["venue_ns"] + feed.venue_offset_ns < self._recent.marked_since_ns(sym))
        if known.count >= STRANGERS_MAX and past.count and not matched:
            raise VenueUnavailable("it names its trades in another way")
        return questions

    async def _put_in(self, sym: int, question: Question, position: int, feed: Feed) -> int:
        """Put what is missing of a symbol in its place; return how many trades that were."""
        recent, counts = self._recent, self._repairs.counts

        def choose(missed: np.ndarray) -> Mark | None:
            mark = recent.settled(sym, int(missed["venue_ns"][0]) + feed.venue_offset_ns)
            counts.too_old += len(missed) if mark is None else 0
            return mark

        try:
            return (await self._repairs.put_in(sym, question, position, choose)).trades
        except BeyondRepairError:
            counts.too_old += 1
            recent.start_anew(sym, self._clock())
            return 0
