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
from hands.core.units import NS_PER_S
from hands.runtime.recent import Recent, keys_of, not_among, spliced
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
PUBLISHED_AFTER_NS: Final = 2 * NS_PER_S
"""The minute that has just ended takes the venue a moment to publish."""

RETRIES_S: Final = (0.0, 2.0, 10.0, 60.0)


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
    ) -> dict[str, list[Bar]]: ...


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
        self._intervals_s = [s for s in market.intervals_s if s % 60 == 0]
        self._pristine = [market.checkpoint(sym) for sym in range(len(market.symbols))]
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
        """Load `symbols` from bars and trades, whatever is known of them; a failure is told in `fault`."""
        left = {link: [s for s in symbols if link_of(s) is link] for link in self._feeds}
        for after_s in self._retries_s:
            await asyncio.sleep(after_s)
            for link, names in list(left.items()):
                try:
                    if names:
                        await self._load(link, names)
                    del left[link]
                except VenueUnavailable as error:
                    self.fault = f"without history, indicators begin with the first tick: {error}"
                    log.warning("%s: %s", link, self.fault)
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
        past = await self._history.trades(symbols, trades_from_ns, now_ns + NS_PER_S)
        self._recent.remember(past.rows)
        for symbol in symbols:
            sym = self._market.index[symbol]
            self._load_symbol(
                symbol, minutes[symbol], past.rows[past.rows["sym"] == sym], trades_from_ns, now_ns
            )
            await asyncio.sleep(0)

    @staticmethod
    def _reach_ns(link: Link, longest_s: int) -> int:
        """Return how far back the minutes should reach."""
        if link is Link.CRYPTO_DATA:
            return max(COIN_HOURS * HOUR_S, BARS_NEEDED * longest_s) * NS_PER_S
        days = EQUITY_DAYS if longest_s <= TRADES_S else LONG_DAYS
        return days * 24 * HOUR_S * NS_PER_S

    def _load_symbol(
        self, symbol: str, minutes: Sequence[Bar], past: np.ndarray, trades_from_ns: int, now_ns: int
    ) -> None:
        """Begin a symbol anew: its bars, its session, and then its trades with what has come live."""
        market, sym = self._market, self._market.index[symbol]
        live = self._recent.arrived(sym, self._recent.first)
        live = live[live["venue_ns"] >= trades_from_ns]
        for interval_s in market.intervals_s:
            market.load_bars(sym, interval_s, ())
        market.rebuild(self._pristine[sym], live[:0])
        reach_ns = minutes[0].start_ns if minutes else now_ns
        for interval_s in self._intervals_s:
            interval_ns = interval_s * NS_PER_S
            over = [bar for bar in minutes if bar.start_ns < now_ns - now_ns % interval_ns]
            market.load_bars(sym, interval_s, put_together(over, interval_ns), reach_ns if over else None)
        self._load_session(symbol, minutes, trades_from_ns, now_ns)
        missed = not_among(past, set(keys_of(live)))
        self._feeds[link_of(symbol)].know(missed)
        market.rebuild(market.checkpoint(sym), spliced(live, missed))
        self._recent.start_anew(sym, self._clock())

    def _load_session(self, symbol: str, minutes: Sequence[Bar], until_ns: int, now_ns: int) -> None:
        """Take the minutes of the session in progress as its sums so far."""
        start_ns = self._session_start(symbol, now_ns)
        if start_ns is None:
            return
        of_session = [bar for bar in minutes if start_ns <= bar.start_ns < until_ns]
        volume = sum(bar.volume for bar in of_session)
        notional = sum(bar.volume * bar.vwap for bar in of_session)
        trades = sum(max(1, bar.trades) for bar in of_session)
        self._market.load_session(self._market.index[symbol], start_ns, trades, volume, notional)


def put_together(minutes: Sequence[Bar], interval_ns: int) -> list[Bar]:
    """Return the bars of an interval that these minutes make."""
    found = []
    for start_ns, group in itertools.groupby(
        minutes, key=lambda bar: bar.start_ns - bar.start_ns % interval_ns
    ):
        parts = list(group)
        volume = sum(bar.volume for bar in parts)
        notional = sum(bar.volume * bar.vwap for bar in parts)
        found.append(
            Bar(
                start_ns,
                parts[0].open,
                max(bar.high for bar in parts),
                min(bar.low for bar in parts),
                parts[-1].close,
                volume,
                notional / volume,
                sum(bar.trades for bar in parts),
            )
        )
    return found
