"""Gaps in a stream are filled from the venue's history.

Owns what is a gap, what is asked about it, and when it is over. May not hold anything up: entries wait for a fresh quote,
never for this. The one idea: what a link lost is the trades that history has from just before the gap on, less those that
came; each is put in its place (`Repairs.put_in`).

By these rules:
- A gap begins at the last row that came before the link went down (for a symbol that was mute on a live link: at its own
  last row), whatever was asked for since, and is filled when the link is up again: the trades since, from `MARGIN_NS`
  before, without those that are known by id, price, size and time. Quotes of the past are gone.
- A link that was up and silent for a while may have lost rows too. When its rows come again, history is asked in the
  same way, at most every `SILENCES_APART_NS`.
- The venue's history may be a little behind its stream. It is asked again, `PASSES_S` after the link is up, until it
  holds a trade that has also come live; what it then still lacks stays missing.
- A gap that is too long to be filled trade by trade, or out of which too many rows have come, or that history does not
  answer for in some minutes, is not repaired but loaded anew: bars from history (`reload`), as soon as there are any.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np

from hands.core.events import Link
from hands.core.market import Market
from hands.core.units import NS_PER_S
from hands.runtime.known import Known, Pause, Question
from hands.runtime.recent import GoneError, Mark, Recent
from hands.runtime.repairs import BeyondRepairError, Repairs
from hands.venues.alpaca.history import PastTrades
from hands.venues.alpaca.snapshots import VenueUnavailable
from hands.venues.alpaca.standing import standing_task

log = logging.getLogger("hands")

MARGIN_NS: Final = 2 * NS_PER_S
"""Trades so much older than the newest row may still have been on their way when the connection broke."""

AHEAD_NS: Final = NS_PER_S
PASSES_S: Final = (0.0, 2.0, 8.0, 20.0)
GAP_MAX_NS: Final = 1800 * NS_PER_S
TRADES_MAX: Final = 50_000
RETRY_LONGEST_S: Final = 60.0
GIVE_UP_AFTER: Final = 12
STRANGERS_MAX: Final = 5
"""Trades that came just before a gap; a history that knows none of so many names its trades in another way."""

SILENCES_APART_NS: Final = 10 * NS_PER_S
MARKED_AT_ONCE: Final = 50
"""Symbols whose state is noted down in one turn of the loop: a third of a millisecond."""

FOREVER_NS: Final = 2**63 - 1
BEYOND: Final = -1
"""No position of a row: the gap cannot be spliced."""


class Feed(Protocol):
    """What is needed to know of a feed."""

    @property
    def is_up(self) -> bool: ...
    @property
    def symbols(self) -> Sequence[str]: ...
    @property
    def venue_offset_ns(self) -> int: ...
    @property
    def heard_ns(self) -> int: ...


class Trades(Protocol):
    """Who is asked for history."""

    async def trades(self, symbols: Sequence[str], start_ns: int, end_ns: int) -> PastTrades: ...


@dataclass(slots=True)
class Gap:
    """A time in which rows were missed, or may have been, since the row at `position`, which came at `heard_ns`.

    `asks` are symbols and from when on their trades are wanted; `known` are the trades since then that had come. Both are
    made in `noting`. `is_loss`: the link was down; `is_still`: it has not been up since. `found` counts the trades that
    history has brought.
    """

    begun_ns: int
    heard_ns: int
    position: int
    syms: list[int]
    mute: set[str]
    is_loss: bool
    is_still: bool
    newest_ns: int = 0
    asks: list[tuple[Sequence[str], int]] = field(default_factory=list)
    known: Known = field(default_factory=Known)
    found: int = 0
    noting: asyncio.Task[None] | None = None
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class Filled:
    """The gaps of one link that were filled, the trades they were filled with, and when the last one was."""

    gaps: int = 0
    trades: int = 0
    last_ns: int | None = None


class Gaps:
    """Fills the gaps of `feeds` by what `history` knows; `reload` loads symbols anew from bars."""

    def __init__(
        self,
        market: Market,
        recent: Recent,
        repairs: Repairs,
        feeds: Mapping[Link, Feed],
        history: Trades,
        clock: Callable[[], int],
        reload: Callable[[Sequence[str]], Awaitable[None]],
        *,
        passes_s: Sequence[float] = PASSES_S,
        retry_s: float = 1.0,
    ) -> None:
        self.fault: str | None = None
        self.filled = {link: Filled() for link in feeds}
        self._market = market
        self._recent = recent
        self._repairs = repairs
        self._feeds = feeds
        self._history = history
        self._clock = clock
        self._reload = reload
        self._passes_s = passes_s
        self._retry_s = retry_s
        self._gaps: dict[Link, Gap] = {}
        self._gap_of: dict[int, Gap] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loading: dict[Link, asyncio.Task[None]] = {}
        self._mute: dict[Link, set[str]] = {}
        self._not_before_ns: dict[Link, int] = {}

    @property
    def open_gaps(self) -> tuple[Link, ...]:
        """The links that were lost and whose gap is not filled yet."""
        return tuple(link for link, gap in self._gaps.items() if gap.is_loss)

    def is_open(self, link: Link) -> bool:
        """Whether something is being repaired there that an audit would only disturb."""
        return link in self._gaps

    async def stop(self) -> None:
        """Fill nothing any more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = standing_task(work, name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- when one begins ---------------------------------------------------------------------------------------

    def link_changed(self, link: Link, *, up: bool) -> None:
        """A feed was lost, or is there again."""
        gap = self._gaps.get(link)
        if up:
            if gap is not None and gap.task is None:
                gap.is_still = False
                self._start(link, gap)
        elif gap is None:
            self._begin(link, is_loss=True)
        else:  # a gap within a gap is one gap
            if gap.task is not None:
                gap.task.cancel()
                gap.task = None
            gap.is_loss = True

    def silence_over(self, link: Link) -> None:
        """A link that was up was silent for long enough to have missed something; its next rows are about to be taken."""
        now_ns = self._clock()
        if link in self._gaps or now_ns < self._not_before_ns.get(link, 0):
            return
        self._not_before_ns[link] = now_ns + SILENCES_APART_NS
        self._start(link, self._begin(link, is_loss=False))

    def note_mute(self, link: Link, symbol: str) -> None:
        """A symbol has been mute on a live link, which is about to be dropped for it."""
        self._mute.setdefault(link, set()).add(symbol)

    def _begin(self, link: Link, *, is_loss: bool) -> Gap:
        syms = [self._market.index[symbol] for symbol in self._feeds[link].symbols]
        mute = self._mute.pop(link, set())
        heard_ns = self._feeds[link].heard_ns
        gap = Gap(self._clock(), heard_ns, self._recent.end, syms, mute, is_loss=is_loss, is_still=is_loss)
        self._gaps[link] = gap
        self._gap_of |= dict.fromkeys(syms, gap)
        self._recent.hold(syms)
        self._mark(gap, syms[:MARKED_AT_ONCE])
        gap.noting = self._spawn(self._note(link, gap), f"noting what is known of {link}")
        return gap

    def _start(self, link: Link, gap: Gap) -> None:
        gap.task = self._spawn(self._fill(link, gap), f"filling the gap of {link}")

    def _mark(self, gap: Gap, syms: Sequence[int]) -> None:
        for sym in syms:
            self._saw(gap, self._recent.mark(sym, gap.begun_ns))

    def _saw(self, gap: Gap, mark: Mark) -> None:
        """Note down what one of a gap's symbols had seen last."""
        seen_ns, sym = mark.checkpoint.seen_ns, mark.checkpoint.sym
        gap.newest_ns = max(gap.newest_ns, seen_ns)
        if self._market.symbols[sym] in gap.mute and seen_ns > 0:
            came = self._recent.arrived(sym, self._recent.first, gap.position)
            last_ns = int(came["venue_ns"][-1]) if len(came) else self._recent.kept_from_ns or seen_ns
            gap.asks.append(([self._market.symbols[sym]], min(seen_ns, last_ns)))

    async def _note(self, link: Link, gap: Gap) -> None:
        """Note down where to go back to, from when on trades are wanted, and which of those had come.

        While the link is down its symbols stand still, and there is time to mark them all. Otherwise those that were not
        marked at once have the marks that they have, which are older.
        """
        recent = self._recent
        for first in range(MARKED_AT_ONCE, len(gap.syms), MARKED_AT_ONCE):
            await asyncio.sleep(0)
            some = gap.syms[first : first + MARKED_AT_ONCE]
            if gap.is_still:
                self._mark(gap, some)
                gap.position = recent.end
            else:
                for mark in filter(None, (recent.before(sym, gap.position) for sym in some)):
                    self._saw(gap, mark)
        if gap.newest_ns <= 0:  # nothing was ever there to be continued
            return
        # A quote that was asked for may be newer than the last row that came, and says nothing of what was missed.
        newest_ns = min(gap.newest_ns, gap.heard_ns - self._feeds[link].venue_offset_ns)
        from_ns = max(newest_ns - MARGIN_NS, recent.kept_from_ns)  # what left the ring is not known any more
        heard = [symbol for symbol in self._feeds[link].symbols if symbol not in gap.mute]
        if heard:
            gap.asks.insert(0, (heard, from_ns))
        since_ns = min((start_ns for _, start_ns in gap.asks), default=0)
        try:
            gap.known = await recent.known(recent.first, gap.position, gap.syms, since_ns, FOREVER_NS)
        except GoneError:
            gap.position = BEYOND

    # --- filling -----------------------------------------------------------------------------------------------

    async def _fill(self, link: Link, gap: Gap) -> None:
        """Ask until the history holds what has come live, or as often as it pays."""
        if gap.noting is not None:
            await asyncio.wait([gap.noting])
        if not gap.asks:
            self._forget(link)
            return
        feed = self._feeds[link]
        waited_s = 0.0
        for after_s in self._passes_s:
            await asyncio.sleep(after_s - waited_s)
            waited_s = after_s
            if self._is_beyond(gap):
                break
            found = await self._ask(feed, gap)
            if found is None or not found.complete or found.count > TRADES_MAX:
                break
            try:
                caught_up = await self._splice(link, gap, found)
            except BeyondRepairError as error:  # too many bars have closed meanwhile
                log.info("%s: %s", link, error)
                break
            if caught_up:
                self._close(link, gap)
                return
        else:
            self._close(link, gap)
            return
        await self._load_anew(link, gap)

    def _is_beyond(self, gap: Gap) -> bool:
        """Whether the gap cannot be spliced any more: it is too long, or rows since are gone from the ring."""
        return self._clock() - gap.begun_ns > GAP_MAX_NS or gap.position < self._recent.first

    async def _ask(self, feed: Feed, gap: Gap) -> PastTrades | None:
        """Return the trades since the gap began; None where the venue has no answer for too long."""
        delay_s = self._retry_s
        for _ in range(GIVE_UP_AFTER):
            until_ns = self._clock() - feed.venue_offset_ns + AHEAD_NS
            try:
                found = PastTrades()
                for some, from_ns in gap.asks:
                    found.join(await self._history.trades(some, from_ns, until_ns))
            except VenueUnavailable as error:
                if self.fault is None:
                    log.warning("a gap in the market data waits to be filled: %s", error)
                self.fault = f"a gap is not filled: {error}"
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, RETRY_LONGEST_S)
            else:
                self.fault = None
                return found
        return None

    async def _splice(self, link: Link, gap: Gap, past: PastTrades) -> bool:
        """Put what is missing in its place; return whether the history has caught up with the stream.

        Raises `BeyondRepairError`: a symbol's gap is too long, or the history is not of the same trades.
        """
        questions, matched, pause = {}, 0, Pause()
        for sym in past.syms:
            if self._gap_of.get(sym) is gap:  # else of another link: not what was asked for
                questions[sym] = Question(past.of(sym))
                await questions[sym].begin(pause)
                matched += await questions[sym].strike(gap.known.of(sym), pause)
        if gap.known.count >= STRANGERS_MAX and past.count and not matched:
            raise BeyondRepairError("the venue's history does not know the trades that came before the gap")
        caught_up, offset_ns = False, self._feeds[link].venue_offset_ns
        for sym, question in questions.items():
            done = await self._repairs.put_in(sym, question, gap.position, self._choice(sym, gap, offset_ns))
            gap.found += done.trades
            caught_up |= done.came_live
            await asyncio.sleep(0)
        self._repairs.take_back(past)
        return caught_up

    def _choice(self, sym: int, gap: Gap, offset_ns: int) -> Callable[[np.ndarray], Mark | None]:
        """Return how a symbol's mark from before the gap is found.

        Of one that has been loaded anew since, only what was made after that can be put in. Of others, one from before the first trade that was missed, if there is: what was made before the newest mark and comes after
        it finds its bar closed. There is none of some symbols where a link was only silent; what those lack is for the audit to find.
        """

        def choose(missed: np.ndarray) -> Mark | None:
            mark = self._recent.settled(sym, int(missed["venue_ns"][0]) + offset_ns)
            if self._recent.is_newer(sym, gap.position):
                return mark
            if mark is None or mark.position > gap.position:
                mark = self._recent.before(sym, gap.position)
            if mark is None and gap.is_loss:
                raise BeyondRepairError("rows that came since the gap are gone from the ring")
            return mark

        return choose

    def _forget(self, link: Link) -> None:
        gap = self._gaps.pop(link)
        for sym in gap.syms:
            del self._gap_of[sym]
        self._recent.release(gap.syms)

    def _close(self, link: Link, gap: Gap) -> None:
        self._forget(link)
        if gap.is_loss or gap.found:
            now_ns, filled = self._clock(), self.filled[link]
            filled.gaps += 1
            filled.trades += gap.found
            filled.last_ns = now_ns
            seconds = (now_ns - gap.begun_ns) / NS_PER_S
            log.info("%s: a gap of up to %.1f s is filled with %d trades", link, seconds, gap.found)

    async def _load_anew(self, link: Link, gap: Gap) -> None:
        self._forget(link)
        seconds = (self._clock() - gap.begun_ns) // NS_PER_S
        log.warning("%s: a gap since %d s ago is too much to be filled; loading bars", link, seconds)
        earlier = self._loading.pop(link, None)
        if earlier is not None:  # it may still be asking, and what it would load is older
            earlier.cancel()
        if gap.task is not None:
            self._loading[link] = gap.task
        await self._reload(self._feeds[link].symbols)
        self.fault = None
