"""What was missed or was wrong is put right: gaps are filled from history, corrected and cancelled trades taken back.

Owns the way from a lost connection to a state that is what it would have been, had nothing been lost. May not hold
anything up: entries wait for a fresh quote, never for this. The one idea: go back to the last moment before the damage
and let the rows come again as they should have come (`Market.rebuild`), the missing ones in their places.

By these rules:
- A gap begins at the last row before the link went down (for a symbol that was mute on a live link: at its own last
  row) and is filled when the link is up again: the trades since, from `MARGIN_NS` before, without those that are known
  by id, price, size and time. Quotes of the past are gone.
- A link that was up and silent for a while may have lost rows too. When its rows come again, history is asked in the
  same way, at most every `SILENCES_APART_NS`.
- The venue's history may be a little behind its stream. It is asked again, `PASSES_S` after the link is up, until it
  holds a trade that has also come live; what it then still lacks stays missing.
- A gap that is too long to be filled trade by trade, or out of which too many rows have come, is not repaired but
  loaded anew: bars from history (`reload`).
- Trades that come out of order on a feed whose stamps are in order by nature are put in order, a few seconds back, soon
  after. On the consolidated tape the order of arrival is the tape's own, and stays.
- A correction (`c`) replaces a trade, a cancellation (`x`) makes one that counts for nothing, as long as it is among the
  recent rows. Older ones are counted and left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from hands.core.events import Link
from hands.core.freshness import link_of
from hands.core.market import Market, RowKind, new_rows
from hands.core.units import NS_PER_S
from hands.runtime.recent import Key, Mark, Recent, keys_of, not_among
from hands.venues.alpaca.frames import AnyNotice, CancelError, Correction
from hands.venues.alpaca.history import PastTrades
from hands.venues.alpaca.snapshots import VenueUnavailable
from hands.venues.alpaca.standing import standing_task

log = logging.getLogger("hands")

MARGIN_NS: Final = 2 * NS_PER_S
"""Trades so much older than the newest row may still have been on their way when the connection broke."""

AHEAD_NS: Final = NS_PER_S
PASSES_S: Final = (0.0, 2.0, 8.0, 20.0)
GAP_MAX_NS: Final = 1800 * NS_PER_S
RETRY_LONGEST_S: Final = 60.0
GIVE_UP_AFTER: Final = 12
STRANGERS_MAX: Final = 5
"""Trades that came just before a gap; a history that knows none of so many names its trades in another way."""

SILENCES_APART_NS: Final = 10 * NS_PER_S
SETTLED_NS: Final = 5 * NS_PER_S
"""How far back out-of-order rows are looked for: a mark so old was taken before them."""

ORDERED_AT_ONCE: Final = 20
"""Symbols put in order in one go: each takes about a millisecond."""


class Feed(Protocol):
    """What is needed to know of a feed."""

    @property
    def is_up(self) -> bool: ...
    @property
    def symbols(self) -> Sequence[str]: ...
    @property
    def venue_offset_ns(self) -> int: ...
    def take_disordered(self) -> list[int]: ...
    def know(self, rows: np.ndarray) -> None: ...


class Trades(Protocol):
    """Who is asked for history."""

    async def trades(self, symbols: Sequence[str], start_ns: int, end_ns: int) -> PastTrades: ...


@dataclass(slots=True)
class Gap:
    """A time in which rows were missed, or may have been: each symbol's last moment before it.

    `asks` are symbols and from when on their trades are wanted; `known` are the trades since then that had come.
    `is_loss`: the link was down. `found` counts the trades that history has brought.
    """

    begun_ns: int
    marks: dict[int, Mark]
    asks: list[tuple[Sequence[str], int]]
    known: set[Key]
    is_loss: bool
    found: int = 0
    task: asyncio.Task[None] | None = None


@dataclass(slots=True)
class RepairCounts:
    """What was repaired since the start, and what could not be."""

    gaps: int = 0
    trades: int = 0
    ordered: int = 0
    corrected: int = 0
    too_old: int = 0


class Repairs:
    """Repairs `market` by what `recent` kept and `history` knows; `reload` loads symbols anew from bars."""

    def __init__(
        self,
        market: Market,
        recent: Recent,
        feeds: Mapping[Link, Feed],
        history: Trades,
        clock: Callable[[], int],
        reload: Callable[[Sequence[str]], Awaitable[None]],
        *,
        passes_s: Sequence[float] = PASSES_S,
        retry_s: float = 1.0,
    ) -> None:
        self.counts = RepairCounts()
        self.fault: str | None = None
        self._market = market
        self._recent = recent
        self._feeds = feeds
        self._history = history
        self._clock = clock
        self._reload = reload
        self._passes_s = passes_s
        self._retry_s = retry_s
        self._gaps: dict[Link, Gap] = {}
        self._mute: dict[Link, set[str]] = {}
        self._not_before_ns: dict[Link, int] = {}
        self._disordered: dict[int, None] = {}

    @property
    def open_gaps(self) -> tuple[Link, ...]:
        """The links that were lost and whose gap is not filled yet."""
        return tuple(link for link, gap in self._gaps.items() if gap.is_loss)

    async def stop(self) -> None:
        """Repair nothing any more."""
        tasks = [gap.task for gap in self._gaps.values() if gap.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- gaps --------------------------------------------------------------------------------------------------

    def link_changed(self, link: Link, *, up: bool) -> None:
        """A feed was lost, or is there again."""
        if up:
            gap = self._gaps.get(link)
            if gap is not None and gap.task is None:
                self._start(link, gap)
        elif link in self._gaps:
            self._interrupt(self._gaps[link])
            self._gaps[link].is_loss = True
        else:
            self._begin(link, is_loss=True)

    def silence_over(self, link: Link) -> None:
        """A link that was up was silent for long enough to have missed something; its next rows are about to be taken."""
        now_ns = self._clock()
        if link in self._gaps or now_ns < self._not_before_ns.get(link, 0):
            return
        self._not_before_ns[link] = now_ns + SILENCES_APART_NS
        gap = self._begin(link, is_loss=False)
        if gap is not None:
            self._start(link, gap)

    def _start(self, link: Link, gap: Gap) -> None:
        gap.task = standing_task(self._fill(link, gap), f"filling the gap of {link}")

    def note_mute(self, link: Link, symbol: str) -> None:
        """A symbol has been mute on a live link, which is about to be dropped for it."""
        self._mute.setdefault(link, set()).add(symbol)

    def _begin(self, link: Link, *, is_loss: bool) -> Gap | None:
        """Remember the moment; a gap within a gap is one gap."""
        now_ns, index, symbols = self._clock(), self._market.index, self._feeds[link].symbols
        marks = {index[symbol]: self._recent.mark(index[symbol], now_ns) for symbol in symbols}
        seen_ns = max((mark.checkpoint.seen_ns for mark in marks.values()), default=-1)
        mute = self._mute.pop(link, set())
        if seen_ns <= 0:  # nothing was ever there to be continued
            return None
        from_ns = seen_ns - MARGIN_NS
        if self._recent.first > 0:  # what left the ring is not known any more
            from_ns = max(from_ns, int(self._recent.row(self._recent.first)["venue_ns"]))
        asks: list[tuple[Sequence[str], int]] = [([s for s in symbols if s not in mute], from_ns)]
        asks += [([symbol], max(0, marks[index[symbol]].checkpoint.seen_ns)) for symbol in sorted(mute)]
        asks = [(some, start_ns) for some, start_ns in asks if some and start_ns > 0]
        known = self._recent.trades_since(min((start_ns for _, start_ns in asks), default=0))
        ours = {key for key in keys_of(known) if key[0] in marks}
        gap = Gap(begun_ns=now_ns, marks=marks, asks=asks, known=ours, is_loss=is_loss)
        self._gaps[link] = gap
        return gap

    def _interrupt(self, gap: Gap) -> None:
        if gap.task is not None:
            gap.task.cancel()
            gap.task = None

    async def _fill(self, link: Link, gap: Gap) -> None:
        """Ask until the history holds what has come live, or as often as it pays."""
        feed = self._feeds[link]
        waited_s = 0.0
        for after_s in self._passes_s:
            await asyncio.sleep(after_s - waited_s)
            waited_s = after_s
            if self._is_beyond(gap):
                break
            found = await self._ask(feed, gap)
            if found is None:
                return
            if not found.complete:
                break
            try:
                caught_up = await self._splice(gap, found.rows)
            except ValueError as error:  # too many bars have closed meanwhile
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
        oldest = min((mark.position for mark in gap.marks.values()), default=0)
        return self._clock() - gap.begun_ns > GAP_MAX_NS or oldest < self._recent.first

    async def _ask(self, feed: Feed, gap: Gap) -> PastTrades | None:
        """Return the trades since the gap began; None where the venue has no answer for too long."""
        delay_s = self._retry_s
        for _ in range(GIVE_UP_AFTER):
            until_ns = self._clock() - feed.venue_offset_ns + AHEAD_NS
            try:
                parts = [await self._history.trades(some, from_ns, until_ns) for some, from_ns in gap.asks]
            except VenueUnavailable as error:
                if self.fault is None:
                    log.warning("a gap in the market data waits to be filled: %s", error)
                self.fault = f"a gap is not filled: {error}"
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, RETRY_LONGEST_S)
            else:
                self.fault = None
                rows = np.concatenate([new_rows(0), *(part.rows for part in parts)])
                return PastTrades(rows, all(part.complete for part in parts))
        log.error("a gap in the market data stays: %s", self.fault)
        return None

    async def _splice(self, gap: Gap, past: np.ndarray) -> bool:
        """Put what is missing in its place; return whether the history has caught up with the stream.

        Symbol by symbol, so that the loop goes round in between. Raises ValueError where a symbol's gap is too long.
        """
        if len(gap.known) >= STRANGERS_MAX and gap.known.isdisjoint(keys_of(past)):
            raise ValueError("the venue's history does not know the trades that came before the gap")
        caught_up = False
        for sym in np.unique(past["sym"]).tolist():
            if sym not in gap.marks:  # of another link: not what was asked for
                continue
            trades, mark = past[past["sym"] == sym], gap.marks[sym]
            if mark.position < self._recent.first:
                raise ValueError("rows that came since the gap are gone from the ring")
            came = self._recent.since(mark)
            came_live = set(keys_of(came[came["kind"] == RowKind.TRADE]))
            arrived = self._recent.arrived(sym, mark.position)
            caught_up = caught_up or not set(keys_of(arrived)).isdisjoint(keys_of(trades))
            missed = not_among(trades, gap.known | came_live)
            if len(missed):
                self._add(mark, missed)
                self._market.rebuild(mark.checkpoint, self._recent.since(mark))
                self._recent.repaired(mark, self._clock())
                gap.found += len(missed)
                self.counts.trades += len(missed)
            await asyncio.sleep(0)
        return caught_up

    def _close(self, link: Link, gap: Gap) -> None:
        del self._gaps[link]
        if gap.is_loss or gap.found:
            self.counts.gaps += 1
            seconds = (self._clock() - gap.begun_ns) / NS_PER_S
            log.info("%s: a gap of up to %.1f s is filled with %d trades", link, seconds, gap.found)

    async def _load_anew(self, link: Link, gap: Gap) -> None:
        del self._gaps[link]
        symbols = self._feeds[link].symbols
        log.warning(
            "%s: a gap since %d s ago is too much to be filled; loading bars",
            link,
            _age_s(self._clock(), gap),
        )
        await self._reload(symbols)

    # --- what an audit finds -----------------------------------------------------------------------------------

    def in_gap(self, link: Link) -> bool:
        """Whether something is being repaired there that an audit would only disturb."""
        return link in self._gaps

    def kept_from_ns(self) -> int:
        """Return from when on, by the venue's clock, all that came is kept; 0 where nothing is gone yet."""
        return int(self._recent.row(self._recent.first)["venue_ns"]) if self._recent.first > 0 else 0

    def kept_since(self, venue_ns: int) -> np.ndarray:
        """Return the trades that came, or were put in, since a time."""
        return self._recent.trades_since(venue_ns)

    def is_within_reach(self, rows: np.ndarray, venue_offset_ns: int) -> np.ndarray:
        """Return for each row whether it is young enough to be put in its place."""
        since_ns = [self._recent.marked_since_ns(sym) for sym in rows["sym"].tolist()]
        return np.asarray(rows["venue_ns"] + venue_offset_ns >= np.array(since_ns, np.int64))

    def put_in(self, missed: np.ndarray, venue_offset_ns: int) -> None:
        """Put trades of one symbol, in order of time, in their place."""
        sym = int(missed["sym"][0])
        mark = self._recent.settled(sym, int(missed["venue_ns"][0]) + venue_offset_ns)
        if mark is None:
            self.counts.too_old += len(missed)
            return
        self._add(mark, missed)
        if self._replay(mark):
            self.counts.trades += len(missed)
        else:
            self.counts.too_old += len(missed)
            self._recent.start_anew(sym, self._clock())

    # --- order -------------------------------------------------------------------------------------------------

    def put_in_order(self) -> None:
        """Put the trades of symbols in order where they came out of it; for once a second, and bounded."""
        for feed in self._feeds.values():
            self._disordered |= dict.fromkeys(feed.take_disordered())
        for sym in list(self._disordered)[:ORDERED_AT_ONCE]:
            gap = self._gap_of(sym)
            settled = self._recent.settled(sym, self._clock() - SETTLED_NS)
            mark = settled if gap is None else gap.marks[sym]
            if mark is None or mark.position < self._recent.first:
                continue
            del self._disordered[sym]
            self._recent.put_in_order(sym)
            if self._replay(mark):
                self.counts.ordered += 1

    def _gap_of(self, sym: int) -> Gap | None:
        """Return the gap that a symbol is in, None where it is in none."""
        return next((gap for gap in self._gaps.values() if sym in gap.marks), None)

    def _add(self, mark: Mark, missed: np.ndarray) -> None:
        """Keep rows of a mark's symbol that should have come since, and know them should they still come."""
        self._recent.add(mark, missed)
        self._feeds[link_of(self._market.symbols[mark.checkpoint.sym])].know(missed)

    def _replay(self, mark: Mark) -> bool:
        """Let a symbol's rows come again since a mark; False where too many bars have closed since."""
        try:
            self._market.rebuild(mark.checkpoint, self._recent.since(mark))
        except ValueError:
            return False
        self._recent.repaired(mark, self._clock())
        return True

    # --- single trades -----------------------------------------------------------------------------------------

    def take_notice(self, notice: AnyNotice) -> None:
        """Repair what a correction or a cancellation says was wrong."""
        if isinstance(notice, Correction):
            self._correct(notice)
        elif isinstance(notice, CancelError):
            self._cancel(notice)

    def _correct(self, notice: Correction[Any]) -> None:
        sym = self._market.index[notice.symbol]
        place = self._recent.find(sym, notice.original_id, notice.original_price, notice.original_size)
        if place is not None:
            row = self._recent.row(place)
            row["trade_id"], row["price"], row["size"] = notice.trade_id, notice.price, notice.size
            row["flags"] = notice.flags
        self._count(sym, place)

    def _cancel(self, notice: CancelError[Any]) -> None:
        sym = self._market.index[notice.symbol]
        place = self._recent.find(sym, notice.trade_id, notice.price, notice.size)
        if place is not None:
            self._recent.row(place)["flags"] = 0
        self._count(sym, place)

    def _count(self, sym: int, place: int | None) -> None:
        """Let a symbol's rows come again since a mark before `place`, and count whether that could be done."""
        mark = None if place is None else self._recent.before(sym, place)
        if mark is not None and self._replay(mark):
            self.counts.corrected += 1
        else:
            self.counts.too_old += 1


def _age_s(now_ns: int, gap: Gap) -> int:
    return (now_ns - gap.begun_ns) // NS_PER_S
