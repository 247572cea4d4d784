"""Quiet or mute: whether silence on an open connection is the market's or the connection's.

Owns the judgement, per stream and per symbol, and the pace of the questions behind it. May not price anything: whether
a quote is too old for an entry is the guardian's business, and it does not wait for this. The one idea: the venue can
be asked for a symbol's latest quote. If that is the one we have, the symbol is quiet; if there is a newer one that the
stream has had time to bring, the stream is mute, however open its socket, and the connection is made anew. Of a busy symbol
there is always one so new that it may be on its way: then the stream has `LOOK_AGAIN_S` to bring a row, and is mute if
it does not.

By these rules:
- Only where data is expected: equities in their session, coins always.
- A stream silent for `mute_after_s` is judged by its most recent symbols; where the venue does not answer either, it is
  dropped. A symbol silent for so long on a live stream is judged by itself, one at a time, not oftener than every
  `PAUSE_S`; each time it was only quiet, the next question waits twice as long, up to `PATIENCE_MAX` times.
- A stream that was dropped for one symbol is not dropped for one again for `AGAIN_AFTER_S`, and each time for twice as
  long, up to `AGAIN_LONGEST_S`: the other symbols pay for it, and a feed may lack what the venue's REST shows.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from hands.core.events import Link
from hands.core.market import Market
from hands.core.units import NS_PER_S
from hands.venues.alpaca.standing import standing_task

log = logging.getLogger("hands")

LOOK_EVERY_S: Final = 1.0
SYMBOLS_A_LOOK: Final = 200
PAUSE_S: Final = 3.0
PATIENCE_MAX: Final = 16
WITNESSES: Final = 3
"""How many of its symbols are asked about before a silent stream is called quiet."""

GRACE_NS: Final = 2 * NS_PER_S
"""What the venue knows for so long the stream should have brought."""

LOOK_AGAIN_S: Final = 2.0
"""What is newer it has so long to bring."""

AGAIN_AFTER_S: Final = 600.0
AGAIN_LONGEST_S: Final = 4 * 3600.0


class Feed(Protocol):
    """What is needed to know of a feed, and done to it."""

    up_since_ns: int

    @property
    def is_up(self) -> bool: ...
    @property
    def expects_data(self) -> bool: ...
    @property
    def symbols(self) -> Sequence[str]: ...
    @property
    def venue_offset_ns(self) -> int: ...
    @property
    def heard_ns(self) -> int: ...
    def drop(self, reason: str) -> None: ...
    def excuse(self) -> None: ...


@dataclass(slots=True)
class _Patience:
    """How long a symbol may be silent before it is asked about, in multiples of the plain time; and its last quote."""

    times: int = 1
    venue_ns: int = 0


class Liveness:
    """Watches `feeds`; `latest_quote(symbol)` asks the venue, takes what it says into the market, and returns its stamp.

    `on_mute(link, symbol)` is told of a symbol found mute before its stream is dropped.
    """

    def __init__(
        self,
        feeds: Mapping[Link, Feed],
        market: Market,
        latest_quote: Callable[[str], Awaitable[int | None]],
        clock: Callable[[], int],
        *,
        mute_after_s: float,
        on_mute: Callable[[Link, str], None],
    ) -> None:
        self._feeds = feeds
        self._market = market
        self._latest_quote = latest_quote
        self._clock = clock
        self._mute_after_ns = int(mute_after_s * NS_PER_S)
        self._on_mute = on_mute
        self._patience: dict[str, _Patience] = {}
        self._turns = {link: itertools.cycle(feed.symbols) for link, feed in feeds.items()}
        self._not_before_ns: dict[Link, int] = dict.fromkeys(feeds, 0)
        self._again_after_s = dict.fromkeys(feeds, AGAIN_AFTER_S)
        self._judging: dict[Link, asyncio.Task[None]] = {}
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch single symbols."""
        self._watch = standing_task(self._look_around(), "the watch for mute symbols")

    async def stop(self) -> None:
        """Judge nothing any more."""
        tasks = [task for task in (self._watch, *self._judging.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- streams -----------------------------------------------------------------------------------------------

    def judge_silence(self, link: Link) -> None:
        """A whole stream has been silent: find out why."""
        if link not in self._judging:
            task = standing_task(self._judge_stream(link), f"asking about {link}")
            self._judging[link] = task
            task.add_done_callback(lambda _: self._judging.pop(link, None))

    async def _judge_stream(self, link: Link) -> None:
        feed = self._feeds[link]
        by_age = sorted(feed.symbols, key=self._received_ns, reverse=True)
        answered = False
        for symbol in by_age[:WITNESSES]:
            missed = await self._missed(feed, symbol, lambda asked_ns, _: feed.heard_ns >= asked_ns)
            if missed:
                feed.drop(f"connected, but mute: the venue has a newer quote of {symbol} than it sent")
                return
            answered = answered or missed is not None
        if answered:
            feed.excuse()
        elif feed.is_up:
            feed.drop("connected, but without any data, and the venue does not answer either")

    # --- symbols -----------------------------------------------------------------------------------------------

    async def _look_around(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for link, feed in self._feeds.items():
                symbol = self._silent_symbol(link, feed)
                if symbol is not None:
                    await self._judge_symbol(link, feed, symbol)

    def _silent_symbol(self, link: Link, feed: Feed) -> str | None:
        """Return the next symbol to ask about, None where nobody is silent for long enough or it is too soon."""
        now_ns = self._clock()
        if (
            not (feed.is_up and feed.expects_data)
            or now_ns < self._not_before_ns[link]
            or link in self._judging
        ):
            return None
        for symbol in itertools.islice(self._turns[link], min(SYMBOLS_A_LOOK, len(feed.symbols))):
            patience = self._patience.setdefault(symbol, _Patience())
            heard_ns = max(self._received_ns(symbol), feed.up_since_ns)
            if now_ns - heard_ns > patience.times * self._mute_after_ns:
                return symbol
        return None

    async def _judge_symbol(self, link: Link, feed: Feed, symbol: str) -> None:
        self._not_before_ns[link] = self._clock() + int(PAUSE_S * NS_PER_S)
        patience = self._patience[symbol]
        missed = await self._missed(feed, symbol, lambda _, told_ns: self._received_ns(symbol) > told_ns)
        if not missed:
            stamp_ns = self._stamp_ns(symbol)
            patience.times = min(2 * patience.times, PATIENCE_MAX) if stamp_ns == patience.venue_ns else 2
            patience.venue_ns = stamp_ns
            return
        patience.times = 1
        wait_s = self._again_after_s[link]
        self._not_before_ns[link] = self._clock() + int(wait_s * NS_PER_S)
        self._again_after_s[link] = min(2 * wait_s, AGAIN_LONGEST_S)
        log.warning("%s: %s is mute on a live stream", link, symbol, extra={"code": "MUTE"})
        self._on_mute(link, symbol)
        feed.drop(f"mute for {symbol}: the venue has a newer quote than it sent")

    # --- the question ------------------------------------------------------------------------------------------

    async def _missed(self, feed: Feed, symbol: str, has_spoken: Callable[[int, int], bool]) -> bool | None:
        """Whether the venue has a quote that the stream should have brought and did not; None: no answer.

        `has_spoken(asked_ns, told_ns)`: the stream has brought something since we asked, or since the venue told us.
        """
        had_ns, up_ns = self._stamp_ns(symbol), feed.up_since_ns
        asked_ns = self._clock()
        found_ns = await self._latest_quote(symbol)
        if found_ns is None:
            return None
        told_ns, made_ns = self._clock(), found_ns + feed.venue_offset_ns
        if found_ns <= had_ns or made_ns <= up_ns + GRACE_NS:
            return False
        if made_ns >= asked_ns - GRACE_NS:
            await asyncio.sleep(LOOK_AGAIN_S)
            if has_spoken(asked_ns, told_ns):
                return False
        return feed.is_up and feed.up_since_ns == up_ns

    def _received_ns(self, symbol: str) -> int:
        """When the last row of a symbol came, 0 for never."""
        index = self._market.index[symbol]
        quote, trade = self._market.quote(index), self._market.last_trade(index)
        return max(0 if quote is None else quote.recv_ns, 0 if trade is None else trade.recv_ns)

    def _stamp_ns(self, symbol: str) -> int:
        quote = self._market.quote(self._market.index[symbol])
        return 0 if quote is None else quote.venue_ns
