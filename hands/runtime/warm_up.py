"""History before the first tick: so that RSI and MACD are there when trading begins, and not half an hour later.

Owns what is asked for and how it becomes the market's state. May not hold up a start: a venue without history leaves
the indicators absent until they have seen enough by themselves, and the status says so. The one idea: bars for the
past and trades for the present. A day of trades of one busy stock is a hundred requests, its minutes are a part of one,
and everything that is taken at the close of bars needs nothing else; only the bars in progress and the indicators on
ticks need trades, and of those the last minutes will do. What came live meanwhile is spliced with them.

By these rules:
- Minutes are put together to the configured intervals; intervals that are not made of whole minutes begin empty.
- The trades begin with the bar in progress of the longest interval, at most `TRADES_S` ago. The bar in progress of a
  longer interval lacks what traded before.
- The session's VWAP and volume are those of its minutes so far, and of the trades since.
- Where the ring of what came live begins after the history ends, the trades between them are asked for.
- What is older than the history by `LATE_NS`, when it comes, is late: it moves no last price and fires nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import numpy as np

from hands.core.events import Link
from hands.core.freshness import link_of
from hands.core.market import Bar, Market
from hands.core.stage import Stage
from hands.core.units import NS_PER_S
from hands.runtime.known import A_TURN, Pause, Question, mixes
from hands.runtime.recent import GoneError, Recent, Since
from hands.venues.alpaca.history import PastTrades
from hands.venues.alpaca.snapshots import VenueUnavailable
from hands.venues.alpaca.standing import standing_task

log = logging.getLogger("hands")

MINUTE_NS: Final = 60 * NS_PER_S
HOUR_S: Final = 3600
TRADES_S: Final = 900
EQUITY_DAYS: Final = 5
"""So that there are two sessions in it after a long weekend: 150 bars of five minutes."""

LONG_DAYS: Final = 14
COIN_HOURS: Final = 26
BARS_NEEDED: Final = 40
BARS_MAX: Final = 1_200
"""Bars that are loaded of an interval: what an average of 40 remembers of the one before them is less than 1e-12."""

LATE_NS: Final = 60 * NS_PER_S
"""By the venue's clock as far as we know it, which in the first seconds is not at all."""

MARGIN_NS: Final = 2 * NS_PER_S
JOINS_MAX: Final = 5
PUBLISHED_AFTER_NS: Final = 2 * NS_PER_S
"""The minute that has just ended takes the venue a moment to publish."""

RETRIES_S: Final = (0.0, 2.0, 10.0, 60.0)
SELDOM_S: Final = 300.0
"""How often a venue is asked after that: an outage ends, and a venue without history costs a request."""


class Feed(Protocol):
    """What is needed to know of a feed."""

    @property
    def venue_offset_ns(self) -> int: ...
    def know(self, rows: np.ndarray) -> None: ...


class Past(Protocol):
    """Who is asked for history."""

    async def trades(self, symbols: Sequence[str], start_ns: int, end_ns: int) -> PastTrades: ...
    async def minute_bars(
        self, symbols: Sequence[str], start_ns: int, end_ns: int
    ) -> dict[str, np.ndarray]: ...


class WarmUp:
    """Loads symbols from `history`; `session_start(symbol, now_ns)` says when its session began, None if unknown."""

    def __init__(
        self,
        market: Market,
        recent: Recent,
        feeds: Mapping[Link, Feed],
        history: Past,
        clock: Callable[[], int],
        session_start: Callable[[str, int], int | None],
        *,
        retries_s: Sequence[float] = RETRIES_S,
        seldom_s: float = SELDOM_S,
    ) -> None:
        self.fault: str | None = None
        self.is_over = False
        self._market = market
        self._recent = recent
        self._feeds = feeds
        self._history = history
        self._clock = clock
        self._session_start = session_start
        self._retries_s = retries_s
        self._seldom_s = seldom_s
        self._intervals_s = [s for s in market.intervals_s if s % 60 == 0]
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to load every symbol."""
        self._task = standing_task(self._warm_up(), "the warm-up from history")

    async def stop(self) -> None:
        """Load nothing any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _warm_up(self) -> None:
        await self.load(self._market.symbols)
        self.is_over = True

    async def load(self, symbols: Sequence[str]) -> None:
        """Load `symbols` from bars and trades, whatever is known of them; until it succeeds, `fault` tells why not."""
        left = {link: [s for s in symbols if link_of(s) is link] for link in self._feeds}
        for after_s in itertools.chain(self._retries_s, itertools.repeat(self._seldom_s)):
            await asyncio.sleep(after_s)
            for link, names in list(left.items()):
                try:
                    if names:
                        await self._load(link, names)
                    del left[link]
                except VenueUnavailable as error:
                    level = logging.WARNING if self.fault is None else logging.INFO
                    self.fault = f"without history, indicators begin with the first tick: {error}"
                    log.log(level, "%s: %s", link, self.fault)
            if not left:
                self.fault = None
                return

    def _now_ns(self, link: Link) -> int:
        """Return now by the venue's clock."""
        return self._clock() - self._feeds[link].venue_offset_ns

    async def _load(self, link: Link, symbols: Sequence[str]) -> None:
        since_minute_ns = self._now_ns(link) % MINUTE_NS
        if since_minute_ns < PUBLISHED_AFTER_NS:
            await asyncio.sleep((PUBLISHED_AFTER_NS - since_minute_ns) / NS_PER_S)
        now_ns = self._now_ns(link)
        longest_s = max(self._intervals_s, default=60)
        minutes = await self._history.minute_bars(symbols, now_ns - self._reach_ns(link, longest_s), now_ns)
        this_minute_ns = now_ns - now_ns % MINUTE_NS
        trades_from_ns = min(now_ns - now_ns % (longest_s * NS_PER_S), this_minute_ns - MINUTE_NS)
        trades_from_ns = max(trades_from_ns, this_minute_ns - TRADES_S * NS_PER_S)
        past = await self._trades(symbols, trades_from_ns, now_ns)
        until_ns, joins = now_ns, 0
        for number, symbol in enumerate(symbols):
            while self._kept_from_ns() > until_ns - MARGIN_NS and joins < JOINS_MAX:
                joins, from_ns, until_ns = joins + 1, until_ns - MARGIN_NS, self._now_ns(link)
                past.join(await self._trades(symbols[number:], from_ns, until_ns))
            if self._kept_from_ns() > until_ns - MARGIN_NS:
                log.warning(
                    "%s: trades come faster than history tells of them; %s may lack some", link, symbol
                )
            sym = self._market.index[symbol]
            try:
                async with self._recent.turn:
                    await self._load_symbol(symbol, minutes[symbol], past.of(sym), trades_from_ns, now_ns)
                    self._market.pass_time(sym, until_ns - LATE_NS)
            except GoneError as error:
                log.warning("%s: %s is not loaded: %s", link, symbol, error)
            await asyncio.sleep(0)

    async def _trades(self, symbols: Sequence[str], from_ns: int, until_ns: int) -> PastTrades:
        return await self._history.trades(symbols, from_ns, until_ns + NS_PER_S)

    def _kept_from_ns(self) -> int:
        """Return from when on, by the venue's clock, what came live is spliced; 0 where nothing is gone yet."""
        recent = self._recent
        return int(recent.row(min(recent.safe, recent.end - 1))["venue_ns"]) if recent.first > 0 else 0

    @staticmethod
    def _reach_ns(link: Link, longest_s: int) -> int:
        """Return how far back the minutes should reach."""
        if link is Link.CRYPTO_DATA:
            return max(COIN_HOURS * HOUR_S, BARS_NEEDED * longest_s) * NS_PER_S
        days = EQUITY_DAYS if longest_s <= TRADES_S else LONG_DAYS
        return days * 24 * HOUR_S * NS_PER_S

    async def _load_symbol(
        self, symbol: str, minutes: np.ndarray, past: np.ndarray, trades_from_ns: int, now_ns: int
    ) -> None:
        """Begin a symbol anew: its bars, its session, and then its trades with what has come live.

        It is made beside the market, a part in each turn of the loop, and put in its place at the end.
        """
        market, recent, pause = self._market, self._recent, Pause()
        sym = market.index[symbol]
        position = recent.safe
        stage = Stage(market, market.checkpoint(sym))
        stage.copy.forget(0)
        for interval_s in self._intervals_s:
            interval_ns = interval_s * NS_PER_S
            over = minutes[minutes["start_ns"] < now_ns - now_ns % interval_ns]
            bars = put_together(over, interval_ns, BARS_MAX)
            since_ns = int(over["start_ns"][0]) if len(bars) < BARS_MAX and len(over) else None
            await asyncio.sleep(0)
            stage.copy.load_bars(0, interval_s, bars, since_ns)
            await asyncio.sleep(0)
        stage.copy.pass_time(0, trades_from_ns)  # all trades since are known; a session that began is begun
        self._load_session(stage.copy, symbol, minutes, trades_from_ns, now_ns)
        await recent.remember(past)
        missed = await self._missed(sym, past, position)
        self._feeds[link_of(symbol)].know(missed)
        since = Since(recent, sym, position, missed, from_ns=trades_from_ns)
        while since.behind > A_TURN:
            stage.replay(since.part(A_TURN))
            await pause.after(A_TURN)
        stage.adopt(since.rest())
        recent.start_anew(sym, self._clock())

    async def _missed(self, sym: int, past: np.ndarray, position: int) -> np.ndarray:
        """Return the trades of `past` that have not come since a place in the ring."""
        question, pause = Question(past), Pause()
        await question.begin(pause)
        while position < self._recent.end:
            end = min(position + A_TURN, self._recent.end)
            await question.strike([mixes(self._recent.arrived(sym, position, end))], pause)
            position = end
        return question.left()

    def _load_session(
        self, market: Market, symbol: str, minutes: np.ndarray, until_ns: int, now_ns: int
    ) -> None:
        """Take the minutes of the session in progress as its sums so far."""
        start_ns = self._session_start(symbol, now_ns)
        if start_ns is None:
            return
        of_session = minutes[(minutes["start_ns"] >= start_ns) & (minutes["start_ns"] < until_ns)]
        volume, notional = float(of_session["volume"].sum()), float(of_session["notional"].sum())
        trades = int(np.maximum(1, of_session["trades"]).sum())
        market.load_session(0, start_ns, trades, volume, notional)


def put_together(minutes: np.ndarray, interval_ns: int, most: int) -> list[Bar]:
    """Return the bars of an interval that these minutes make, the newest `most` of them."""
    starts = minutes["start_ns"] - minutes["start_ns"] % interval_ns
    firsts = np.flatnonzero(np.diff(starts, prepend=-1))
    if not len(firsts):
        return []
    lasts = np.append(firsts[1:], len(minutes)) - 1
    volume = np.add.reduceat(minutes["volume"], firsts)
    columns = (
        starts[firsts],
        minutes["open"][firsts],
        np.maximum.reduceat(minutes["high"], firsts),
        np.minimum.reduceat(minutes["low"], firsts),
        minutes["close"][lasts],
        volume,
        np.add.reduceat(minutes["notional"], firsts) / volume,
        np.add.reduceat(minutes["trades"], firsts),
    )
    return [Bar(*numbers) for numbers in zip(*(column[-most:].tolist() for column in columns), strict=True)]
