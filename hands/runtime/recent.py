"""What came lately: the newest market rows in a ring, and for each symbol a moment to go back to.

Owns the ring, the marks, and whose turn it is to make a symbol's state anew. May not change the market: whoever repairs
it takes a mark and the rows since. The one idea: a symbol's state is a function of a checkpoint and the rows after it, so
as long as both are at hand anything that should have come in between can still be put in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from hands.core.bars import SPARE
from hands.core.market import ROW, Checkpoint, Market, RowKind, new_rows
from hands.core.units import NS_PER_S
from hands.runtime.known import A_TURN, Known, Pause, by_time, mixes, taken, words

CAPACITY: Final = 1 << 17
"""Rows kept, 8 MB: minutes of an ordinary market, more than a second of a hundred thousand messages a second."""

MARK_EVERY_NS: Final = 60 * NS_PER_S
MARKS_KEPT: Final = 2
"""So the older one is between one and two minutes old (less where bars are of a few seconds), and 2 kB each."""

OVERTAKEN_NS: Final = 5 * NS_PER_S
"""A row that comes more than so much later than one made after it is late, and need not be put before that."""

HELD_MAX: Final = 4
"""Of a held symbol: the two there were, and two for what is repaired meanwhile."""


class GoneError(ValueError):
    """Rows that are asked for have left the ring."""


class Mark(NamedTuple):
    """A symbol's state when the ring was at `position`; marks are numbered in the order in which they were taken."""

    checkpoint: Checkpoint
    position: int
    taken_ns: int
    number: int


FAR: Final = 2**63 - 1


class Place(NamedTuple):
    """A trade that is kept, as an array of one row to be changed in place, and where to go back to for that.

    The mark is from before the row at `position`, which came, or no newer than the one numbered `number`, which it was added after.
    """

    row: np.ndarray
    position: int = FAR
    number: int = FAR


class Recent:
    """Keeps rows by position: the n-th row that ever came has position n - 1.

    `turn` is held by whoever makes a symbol's state anew: from the choice of a mark until it is done.
    """

    def __init__(self, market: Market, now_ns: int, capacity: int = CAPACITY) -> None:
        self.end = 0
        self.turn = asyncio.Lock()
        self._market = market
        self._capacity = capacity
        self._ring = new_rows(capacity)
        self._words = words(self._ring)
        self._source, self._source_words = self._ring, self._words
        self._marks: list[list[Mark]] = [[] for _ in market.symbols]
        # A third of the bars that may close since a checkpoint: two periods are still within them.
        self.mark_every_ns = min(MARK_EVERY_NS, SPARE // 3 * min(market.intervals_s) * NS_PER_S)
        self._added: dict[int, list[tuple[int, np.ndarray]]] = {}
        self._remembered: dict[int, Known] = {}
        self._replaced: dict[int, list[tuple[int, np.ndarray]]] = {}
        self._out_of_order: set[int] = set()
        self._held: set[int] = set()
        self._count = 0
        self._next = 0
        for sym in range(len(market.symbols)):
            self.mark(sym, now_ns)

    @property
    def first(self) -> int:
        """The position of the oldest row that is kept."""
        return max(0, self.end - self._capacity)

    @property
    def kept_from_ns(self) -> int:
        """From when on, by the venue's clock, all that came is kept; 0 where nothing is gone yet."""
        return int(self.row(self.first)["venue_ns"]) if self.first > 0 else 0

    @property
    def safe(self) -> int:
        """The position of the oldest row that will be kept for a while yet: an eighth of the ring is to come first."""
        return self.first + self._capacity // 8 if self.first > 0 else 0

    def keep(self, rows: np.ndarray, count: int) -> None:
        """Keep rows that the market has consumed."""
        if rows is not self._source:  # a feed has one buffer: making its view costs as much as the copy
            self._source, self._source_words = rows, words(rows)
        came = self._source_words[:count]
        if count > self._capacity:
            self.end += count - self._capacity
            came = came[count - self._capacity :]
        at = self.end % self._capacity
        room = self._capacity - at
        self._words[at : at + len(came)] = came[:room]
        if len(came) > room:
            self._words[: len(came) - room] = came[room:]
        self.end += len(came)

    def since(self, mark: Mark, also: np.ndarray | None = None) -> Since:
        """Return the rows of a mark's symbol since it was taken, with those added to them later, and `also` these."""
        sym = mark.checkpoint.sym
        added = [rows for number, rows in self._added.get(sym, ()) if number >= mark.number]
        missed = np.concatenate([new_rows(0) if also is None else also, *added])
        return Since(self, sym, mark.position, by_time(missed), is_in_order=sym not in self._out_of_order)

    def add(self, mark: Mark, rows: np.ndarray) -> None:
        """Add rows of a mark's symbol that should have come after it; their times say where."""
        self._added.setdefault(mark.checkpoint.sym, []).append((mark.number, rows))

    async def remember(self, rows: np.ndarray) -> None:
        """Know a symbol's trades that the market takes in without their coming here: those of its last loading."""
        if len(rows):
            known, pause = Known(), Pause()
            for first in range(0, len(rows), A_TURN):
                known.add(rows[first : first + A_TURN])
                await pause.after(A_TURN)
            self._remembered[int(rows["sym"][0])] = known

    def put_in_order(self, sym: int) -> None:
        """Give a symbol's rows in the order of their times from now on, not in that of their arrival."""
        self._out_of_order.add(sym)

    def arrived(self, sym: int, position: int, end: int | None = None) -> np.ndarray:
        """Return a copy of a symbol's rows from `position` on (before `end`) as they came."""
        syms = self._ring["sym"]
        parts = self._parts(position, self.end if end is None else end)
        places = [np.flatnonzero(syms[part] == sym) + part.start for part in parts]
        found = self._words.take(places[0] if len(places) == 1 else np.concatenate(places), axis=0)
        return found.view(ROW).reshape(-1)

    def _parts(self, position: int, end: int) -> list[slice]:
        """Return where in the ring the rows from `position` to `end` are, in order."""
        at = max(position, self.first)
        low, high = at % self._capacity, end % self._capacity
        if at >= end:
            return [slice(low, low)]
        return [slice(low, high)] if low < high else [slice(low, self._capacity), slice(0, high)]

    # --- what is known -----------------------------------------------------------------------------------------

    async def known(
        self, position: int, end: int, syms: Iterable[int], since_ns: int, until_ns: int
    ) -> Known:
        """Return the trades of `syms` that came at `position` or later, before `end`, stamped within those times.

        Raises `GoneError`: rows have left the ring before they could be looked at.
        """
        found, pause = Known(), Pause()
        wanted = np.zeros(len(self._marks), np.bool_)
        wanted[list(syms)] = True
        for first in range(position, end, A_TURN):
            if first < self.first:
                raise GoneError("rows that should be known are gone from the ring")
            for part in self._parts(first, min(first + A_TURN, end)):
                rows = self._ring[part]
                stamps = rows["venue_ns"]
                is_wanted = (rows["kind"] == RowKind.TRADE) & (stamps >= since_ns) & (stamps <= until_ns)
                found.add(taken(rows, np.flatnonzero(is_wanted & wanted[rows["sym"]])))
            await pause.after(A_TURN)
        return found

    def known_besides(self, sym: int) -> list[np.ndarray]:
        """Return the mixes of a symbol's trades that were added or remembered, or were something else before."""
        added = [mixes(rows) for _, rows in self._added.get(sym, ())]
        replaced = [mixed for position, mixed in self._replaced.get(sym, ()) if position >= self.first]
        return added + replaced + (self._remembered[sym].of(sym) if sym in self._remembered else [])

    # --- marks -------------------------------------------------------------------------------------------------

    def mark(self, sym: int, now_ns: int) -> Mark:
        """Take a mark of a symbol's state as it is now."""
        self._count += 1
        found = Mark(self._market.checkpoint(sym), self.end, now_ns, self._count)
        marks = self._marks[sym]
        marks.append(found)
        if sym in self._held:
            del marks[MARKS_KEPT : -(HELD_MAX - MARKS_KEPT)]
        else:
            del marks[:-MARKS_KEPT]
        if sym in self._added:
            self._added[sym] = [part for part in self._added[sym] if part[0] >= marks[0].number]
        return found

    def start_anew(self, sym: int, now_ns: int) -> None:
        """Forget a symbol's marks and what was added: its state is not that of the rows since."""
        self._marks[sym].clear()
        self._added.pop(sym, None)
        self.mark(sym, now_ns)

    def repaired(self, mark: Mark, now_ns: int) -> None:
        """A symbol's state has been made anew from `mark`: the marks that were taken since are wrong."""
        sym = mark.checkpoint.sym
        marks = self._marks[sym]
        while marks and marks[-1].number >= mark.number:
            marks.pop()
        marks.append(mark)
        if len(marks) < (HELD_MAX if sym in self._held else MARKS_KEPT):
            self.mark(sym, now_ns)  # else it would push out the oldest, and with it how far one can go back

    def hold(self, syms: Iterable[int]) -> None:
        """Keep the marks there are of these symbols, and take none by the way: they will be gone back to."""
        self._held.update(syms)

    def release(self, syms: Iterable[int]) -> None:
        """Undo `hold`."""
        self._held.difference_update(syms)

    def mark_some(self, now_ns: int, most: int) -> None:
        """Mark symbols whose newest mark is old, at most so many; for once in a while.

        None while a state is being made anew: that would push out the mark it goes back to, and what was added to it.
        """
        if self.turn.locked():
            return
        for _ in range(min(most, len(self._marks))):
            marks = self._marks[self._next]
            if now_ns - marks[-1].taken_ns >= self.mark_every_ns and self._next not in self._held:
                self.mark(self._next, now_ns)
            self._next = (self._next + 1) % len(self._marks)

    def before(self, sym: int, position: int, number: int = FAR) -> Mark | None:
        """Return a symbol's newest mark from before the row at `position`, None where it has none of which all is kept.

        None newer than the one numbered `number`.
        """
        marks = (mark for mark in reversed(self._marks[sym]) if self.first <= mark.position <= position)
        return next((mark for mark in marks if mark.number <= number), None)

    def oldest(self, sym: int) -> Mark | None:
        """Return a symbol's oldest mark, None where it has none of which all is kept."""
        return next((mark for mark in self._marks[sym] if mark.position >= self.first), None)

    def is_newer(self, sym: int, position: int) -> bool:
        """Whether a symbol was made anew, in some other way, after the row at `position`."""
        return self._marks[sym][0].position > position

    def marked_since_ns(self, sym: int) -> int:
        """Return when a symbol's oldest mark was taken: what should have come before cannot be put in any more."""
        return self._marks[sym][0].taken_ns

    def settled(self, sym: int, before_ns: int) -> Mark | None:
        """Return a symbol's newest mark that was taken by `before_ns`, None where it has none of which all is kept."""
        marks = (mark for mark in reversed(self._marks[sym]) if mark.taken_ns <= before_ns)
        mark = next(marks, None)
        return mark if mark is not None and mark.position >= self.first else None

    # --- single trades -----------------------------------------------------------------------------------------

    def find(self, sym: int, trade_id: int, price: float, size: float, exchange: int = 0) -> int | None:
        """Return the position of a trade, the newest where there are several, None if it is not kept.

        Two exchanges may give one id: of an `exchange` (`exchange_of`) that is known no other's trade is meant.
        """
        wanted = (trade_id, sym, int(RowKind.TRADE), price, size)
        for part in reversed(self._parts(self._marks[sym][0].position, self.end)):
            place = _find(self._ring[part], wanted, exchange)
            if place is not None:
                return int(self.end - 1 - (self.end - 1 - part.start - place) % self._capacity)
        return None

    def place_of(self, sym: int, trade_id: int, price: float, size: float, exchange: int = 0) -> Place | None:
        """Return where a trade is kept that came or was added, as `find`."""
        position = self.find(sym, trade_id, price, size, exchange)
        if position is not None:
            return Place(self._ring[position % self._capacity :][:1], position=position)
        wanted = (trade_id, sym, int(RowKind.TRADE), price, size)
        for number, rows in reversed(self._added.get(sym, ())):
            at = _find(rows, wanted, exchange)
            if at is not None:
                return Place(rows[at : at + 1], number=number)
        return None

    def row(self, position: int) -> np.void:
        """Return the row at `position`, to be changed in place."""
        assert self.first <= position < self.end
        found: np.void = self._ring[position % self._capacity]
        return found

    def replaced(self, sym: int, place: Place) -> np.ndarray:
        """Return the trade at a place, to be made another one; what it was stays known: history may still tell of it."""
        kept = [each for each in self._replaced.get(sym, ()) if each[0] >= self.first]
        self._replaced[sym] = [*kept, (min(place.position, self.end), mixes(place.row))]
        return place.row


def _find(rows: np.ndarray, wanted: tuple[float, ...], exchange: int) -> int | None:
    """Return which of `rows` is the trade `wanted`, (id, symbol, kind, price, size), the last where there are several."""
    for at in reversed(np.flatnonzero(rows["trade_id"] == wanted[0]).tolist()):
        row = rows[at]
        here = not exchange or row["exchange"] in (0, exchange)
        if here and tuple(row[name] for name in ("trade_id", "sym", "kind", "price", "size")) == wanted:
            return int(at)
    return None


class Since:
    """A symbol's rows since a place in the ring, as they should have come, in as many parts as the caller likes."""

    def __init__(
        self,
        recent: Recent,
        sym: int,
        position: int,
        missed: np.ndarray,
        *,
        from_ns: int = -(2**63),
        is_in_order: bool = True,
    ) -> None:
        """`missed` are to be put among them, by time; what came of before `from_ns` is left out."""
        self._recent = recent
        self._sym = sym
        self._at = position
        self._missed = missed
        self._newest_ns = -(2**63)
        self._from_ns = from_ns
        self._is_in_order = is_in_order
        self._waiting = new_rows(0)

    @property
    def behind(self) -> int:
        """How many rows of all symbols are still to be looked through."""
        return self._recent.end - self._at

    def part(self, size: int) -> np.ndarray:
        """Return a copy of the next rows, out of `size` in the ring. Raises `GoneError`."""
        live = self._live(min(self._at + size, self._recent.end))
        if not self._is_in_order:
            cut = (
                int(np.searchsorted(live["venue_ns"], live["venue_ns"][-1] - OVERTAKEN_NS))
                if len(live)
                else 0
            )
            live, self._waiting = live[:cut], live[cut:]
        if not len(live):
            return live
        before_ns, self._newest_ns = self._newest_ns, max(self._newest_ns, int(live["venue_ns"].max()))
        due = int(np.searchsorted(self._missed["venue_ns"], self._newest_ns))
        missed, self._missed = self._missed[:due], self._missed[due:]
        return spliced(live, missed, before_ns)

    def rest(self) -> np.ndarray:
        """Return a copy of all rows that are left. Raises `GoneError`."""
        live, missed = self._live(self._recent.end), self._missed
        self._waiting = new_rows(0)
        return spliced(live, missed, self._newest_ns)

    def _live(self, end: int) -> np.ndarray:
        if self._at < self._recent.first:
            raise GoneError("rows that came since are gone from the ring")
        live = self._recent.arrived(self._sym, self._at, end)
        self._at = end
        if self._from_ns > -(2**63):
            live = taken(live, np.flatnonzero(live["venue_ns"] >= self._from_ns))
        return live if self._is_in_order else by_time(np.concatenate([self._waiting, live]))


def spliced(live: np.ndarray, missed: np.ndarray, newest_ns: int = -(2**63)) -> np.ndarray:
    """Return `live` with each row of `missed` before the first one that is later, by the venue's time.

    Among themselves both keep their order, `missed` being sorted by time. `newest_ns` is the newest that came before.
    """
    if not len(missed):
        return live
    newest = np.maximum(np.maximum.accumulate(live["venue_ns"]) if len(live) else live["venue_ns"], newest_ns)
    places = np.searchsorted(newest, missed["venue_ns"], side="right")
    found = new_rows(len(live) + len(missed))
    is_missed = np.zeros(len(found), np.bool_)
    is_missed[places + np.arange(len(missed))] = True
    words(found)[is_missed], words(found)[~is_missed] = words(missed), words(live)
    return found
