"""What was missed or was wrong is put right: a symbol's state is made anew with its rows as they should have come.

Owns the way from rows that are missing, out of order, corrected or cancelled to a state that is what it would be had all
been well. May not hold anything up: the loop goes round every few thousand rows, and entries wait for a fresh quote, never
for this. The one idea: go back to a moment before the damage and let the rows come again as they should have come, the
missing ones in their places, beside the market (`Stage`) where they are many. One symbol at a time: whoever chooses a
moment holds `Recent.turn` until the state is made.

By these rules:
- Trades that come out of order on a feed whose stamps are in order by nature are put in order, a few seconds back, soon
  after. On the consolidated tape the order of arrival is the tape's own, and stays.
- A correction (`c`) replaces a trade, a cancellation (`x`) makes one that counts for nothing, as long as it is among the
  recent rows or was put in among them. Older ones are counted and left. One that was missed is learned from history.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from hands.core.events import Link
from hands.core.freshness import link_of
from hands.core.market import Market, RowKind
from hands.core.rows import exchange_of
from hands.core.stage import Stage
from hands.core.units import NS_PER_S
from hands.runtime.known import A_TURN, Pause, Question, mixes
from hands.runtime.recent import FAR, Mark, Place, Recent
from hands.venues.alpaca.frames import AnyNotice, CancelError, Correction
from hands.venues.alpaca.history import PastTrades
from hands.venues.alpaca.standing import standing_task

SETTLED_NS: Final = 5 * NS_PER_S
"""How far back out-of-order rows are looked for: a mark so old was taken before them."""

REPLAYED_AT_ONCE: Final = 2 * A_TURN
"""Rows of the ring in one step of a replay: at most a third of a millisecond."""

NOTICES_MAX: Final = 10_000
"""Corrections and cancellations that wait their turn; those beyond are left."""


class Feed(Protocol):
    """What is needed to know of a feed."""

    @property
    def symbols(self) -> Sequence[str]: ...
    def take_disordered(self) -> list[int]: ...
    def know(self, rows: np.ndarray) -> None: ...


@dataclass(slots=True)
class RepairCounts:
    """What was repaired since the start, and what could not be."""

    trades: int = 0
    ordered: int = 0
    corrected: int = 0
    too_old: int = 0


class BeyondRepairError(ValueError):
    """Too much has happened since for rows to be put in their place: load the symbol anew."""


class TakenBack(NamedTuple):
    """A trade that never was, by the word of history."""

    sym: int
    trade_id: int
    price: float
    size: float
    exchange: int
    venue_ns: int


class PutIn(NamedTuple):
    """How many trades were put in their places, and whether some of those in question came live."""

    trades: int
    came_live: bool


class Repairs:
    """Repairs `market` by what `recent` kept."""

    def __init__(
        self, market: Market, recent: Recent, feeds: Mapping[Link, Feed], clock: Callable[[], int]
    ) -> None:
        self.counts = RepairCounts()
        self._market = market
        self._recent = recent
        self._feeds = feeds
        self._clock = clock
        self._disordered: dict[int, int] = {}
        self._notices: deque[Correction[Any] | CancelError[Any] | TakenBack] = deque()
        self._work: dict[str, asyncio.Task[None]] = {}

    async def stop(self) -> None:
        """Repair nothing any more."""
        tasks = list(self._work.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being put in order or corrected."""
        return not self._work

    def _begin(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Have something worked off that is not being worked off yet."""
        if name not in self._work:
            self._work[name] = standing_task(self._work_off(name, work), name)

    async def _work_off(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        finally:  # in the turn in which it found nothing left: what comes now begins anew
            del self._work[name]

    # --- missing trades ----------------------------------------------------------------------------------------

    async def put_in(
        self, sym: int, question: Question, position: int, choose: Callable[[np.ndarray], Mark | None]
    ) -> PutIn:
        """Put in their places what is left of `question` and has not come since `position`.

        `choose` gives the mark to go back to, None to leave the symbol as it is. Raises `BeyondRepairError`.
        """
        async with self._recent.turn:
            came = await self._strike_recent(sym, question, position)
            missed = question.left()
            mark = choose(missed) if len(missed) else None
            if mark is None:
                return PutIn(0, came)
            self._feeds[link_of(self._market.symbols[sym])].know(missed)
            await asyncio.sleep(0)
            await self._replay(mark, missed)
            self.counts.trades += len(missed)
            return PutIn(len(missed), came)

    async def _strike_recent(self, sym: int, question: Question, position: int) -> bool:
        """Strike what was put in earlier, and what came since; nothing more has come when this returns."""
        recent, pause, came = self._recent, Pause(), False
        await question.strike(recent.known_besides(sym), pause)
        at = position
        while at < recent.end:
            if at < recent.first:
                raise BeyondRepairError("rows that came since are gone from the ring")
            end = min(at + REPLAYED_AT_ONCE, recent.end)
            live = recent.arrived(sym, at, end)
            trades = live[live["kind"] == RowKind.TRADE]
            came |= await question.strike([mixes(trades)], pause) > 0
            at = end
            if at < recent.end:
                await pause.after(A_TURN)
        return came

    async def _replay(self, mark: Mark, missed: np.ndarray | None = None) -> None:
        """Let a symbol's rows come again since a mark, with those that were `missed`. Raises `BeyondRepairError`.

        Only what is in the state counts as put in: this may be cancelled in between.
        """
        since = self._recent.since(mark, missed)
        try:
            if since.behind > REPLAYED_AT_ONCE:
                stage = Stage(self._market, mark.checkpoint)
                while since.behind > REPLAYED_AT_ONCE:
                    rows = since.part(REPLAYED_AT_ONCE)
                    for first in range(0, max(1, len(rows)), REPLAYED_AT_ONCE):
                        stage.replay(rows[first : first + REPLAYED_AT_ONCE])
                        await asyncio.sleep(0)
                stage.adopt(since.rest())
            else:
                self._market.rebuild(mark.checkpoint, since.rest())
        except ValueError as error:
            raise BeyondRepairError(str(error)) from None
        if missed is not None:
            self._recent.add(mark, missed)
        self._recent.repaired(mark, self._clock())

    async def _has_come_again(self, mark: Mark | None) -> bool:
        """Let a symbol's rows come again since a mark; return whether there is one and they could."""
        try:
            if mark is not None:
                await self._replay(mark)
        except BeyondRepairError:
            return False
        return mark is not None

    # --- order -------------------------------------------------------------------------------------------------

    def put_in_order(self) -> None:
        """Put the trades of symbols in order where they came out of it; for once a second."""
        now_ns = self._clock()
        for feed in self._feeds.values():
            self._disordered = dict.fromkeys(feed.take_disordered(), now_ns) | self._disordered
        if self._disordered:
            self._begin("putting trades in order", self._order_all)

    async def _order_all(self) -> None:
        """Let rows come again since before they were out of order, or, where a symbol's marks are younger, since the oldest.

        A mark that was taken since may stand in the middle of the disorder: repairs of other kinds take marks too.
        """
        for sym, noted_ns in list(self._disordered.items()):
            async with self._recent.turn:
                mark = self._recent.settled(sym, noted_ns - SETTLED_NS)
                if mark is None and self._clock() - noted_ns > SETTLED_NS:
                    mark = self._recent.oldest(sym)
                if mark is None:
                    continue
                del self._disordered[sym]
                self._recent.put_in_order(sym)
                if await self._has_come_again(mark):
                    self.counts.ordered += 1
                else:
                    self.counts.too_old += 1
            await asyncio.sleep(0)

    # --- single trades -----------------------------------------------------------------------------------------

    def take_notice(self, notice: AnyNotice) -> None:
        """Repair soon what a correction or a cancellation says was wrong."""
        if not isinstance(notice, Correction | CancelError):
            return
        if len(self._notices) >= NOTICES_MAX:
            self.counts.too_old += 1
            return
        self._notices.append(notice)
        self._begin("correcting trades", self._correct_all)

    def take_back(self, past: PastTrades) -> None:
        """Let trades count for nothing, soon, that history says were cancelled or corrected and that are kept and counted.

        The word may have been lost with a connection. What they were corrected to is missing, like any other trade.
        """
        for sym, trades in past.taken_back.items():
            room = max(0, NOTICES_MAX - len(self._notices))
            facts = trades[list(TakenBack._fields[1:])][:room].tolist()
            self._notices.extend(TakenBack(sym, *each) for each in facts)
        if self._notices:
            self._begin("correcting trades", self._correct_all)

    async def _correct_all(self) -> None:
        while self._notices:
            async with self._recent.turn:
                await self._correct_some()

    async def _correct_some(self) -> None:
        """Write the corrections that wait into the rows, and then let each symbol's come again."""
        changed: dict[int, list[Place]] = {}
        for _ in range(len(self._notices)):
            notice = self._notices.popleft()
            if isinstance(notice, TakenBack):
                sym, place = notice.sym, self._taken_back(notice)
            else:
                sym = self._market.index[notice.symbol]
                place = self._corrected(sym, notice)
                self.counts.too_old += place is None
            if place is not None:
                changed.setdefault(sym, []).append(place)
            await asyncio.sleep(0)
        for sym, places in changed.items():
            await self._have_changed(sym, places)
            await asyncio.sleep(0)

    async def _have_changed(self, sym: int, places: Sequence[Place]) -> None:
        """Let a symbol's rows come again since some of them that were changed."""
        position = min((place.position for place in places), default=FAR)
        number = min((place.number for place in places), default=FAR)
        if await self._has_come_again(self._recent.before(sym, position, number)):
            self.counts.corrected += len(places)
        else:
            self.counts.too_old += len(places)

    def _taken_back(self, told: TakenBack) -> Place | None:
        """Let a trade count for nothing; return its place, None where it is not kept or counted for nothing before."""
        place = self._recent.place_of(told.sym, told.trade_id, told.price, told.size, told.exchange)
        if place is None or place.row["flags"][0] == 0 or place.row["venue_ns"][0] != told.venue_ns:
            return None
        place.row["flags"] = 0
        return place

    def _corrected(self, sym: int, notice: Correction[Any] | CancelError[Any]) -> Place | None:
        """Write a correction into the row that it means; return the row's place, None where it is not kept."""
        find, exchange = self._recent.place_of, exchange_of(notice.exchange)
        if isinstance(notice, CancelError):
            place = find(sym, notice.trade_id, notice.price, notice.size, exchange)
            if place is not None:
                place.row["flags"] = 0
            return place
        place = find(sym, notice.original_id, notice.original_price, notice.original_size, exchange)
        right = find(sym, notice.trade_id, notice.price, notice.size, exchange)
        if place is not None and right is not None and not np.shares_memory(right.row, place.row):
            place.row["flags"] = 0  # history told of it first, and what it should have been was put in
        elif place is not None:
            row = self._recent.replaced(sym, place)
            row["trade_id"], row["price"], row["size"] = notice.trade_id, notice.price, notice.size
            row["flags"] = notice.flags
        return place
