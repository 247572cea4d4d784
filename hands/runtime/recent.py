"""What came lately: the newest market rows in a ring, and for each symbol a moment to go back to.

Owns the ring and the marks. May not change the market: whoever repairs it takes a mark and the rows since. The one
idea: a symbol's state is a function of a checkpoint and the rows after it, so as long as both are at hand anything that
should have come in between can still be put in its place.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

import numpy as np

from hands.core.bars import SPARE
from hands.core.market import ROW, Checkpoint, Market, RowKind, new_rows
from hands.core.units import NS_PER_S

CAPACITY: Final = 1 << 17
"""Rows kept, 8 MB: minutes of an ordinary market, more than a second of a hundred thousand messages a second."""

MARK_EVERY_NS: Final = 60 * NS_PER_S
REMEMBERED_MAX: Final = 16
MARKS_KEPT: Final = 2
"""So the older one is between one and two minutes old (less where bars are of a few seconds), and 2 kB each."""


class Mark(NamedTuple):
    """A symbol's state when the ring was at `position`; marks are numbered in the order in which they were taken."""

    checkpoint: Checkpoint
    position: int
    taken_ns: int
    number: int


class Recent:
    """Keeps rows by position: the n-th row that ever came has position n - 1."""

    def __init__(self, market: Market, now_ns: int, capacity: int = CAPACITY) -> None:
        self.end = 0
        self._market = market
        self._capacity = capacity
        self._ring = new_rows(capacity)
        self._words = _words(self._ring)
        self._source, self._source_words = self._ring, self._words
        self._marks: list[deque[Mark]] = [deque(maxlen=MARKS_KEPT) for _ in market.symbols]
        # A third of the bars that may close since a checkpoint: two periods are still within them.
        self.mark_every_ns = min(MARK_EVERY_NS, SPARE // 3 * min(market.intervals_s) * NS_PER_S)
        self._added: dict[int, list[tuple[int, np.ndarray]]] = {}
        self._known: list[np.ndarray] = []
        self._out_of_order: set[int] = set()
        self._count = 0
        self._next = 0
        for sym in range(len(market.symbols)):
            self.mark(sym, now_ns)

    @property
    def first(self) -> int:
        """The position of the oldest row that is kept."""
        return max(0, self.end - self._capacity)

    def keep(self, rows: np.ndarray, count: int) -> None:
        """Keep rows that the market has consumed."""
        if rows is not self._source:  # a feed has one buffer: making its view costs as much as the copy
            self._source, self._source_words = rows, _words(rows)
        words = self._source_words[:count]
        if count > self._capacity:
            self.end += count - self._capacity
            words = words[count - self._capacity :]
        at = self.end % self._capacity
        room = self._capacity - at
        self._words[at : at + len(words)] = words[:room]
        if len(words) > room:
            self._words[: len(words) - room] = words[room:]
        self.end += len(words)

    def since(self, mark: Mark) -> np.ndarray:
        """Return a copy of the rows of a mark's symbol since it was taken, with those that were added to them later."""
        sym = mark.checkpoint.sym
        live = self.arrived(sym, mark.position)
        if sym in self._out_of_order:
            live = live[np.argsort(live["venue_ns"], kind="stable")]
        added = [rows for number, rows in self._added.get(sym, ()) if number >= mark.number]
        if not added:
            return live
        missed = np.concatenate(added)
        return spliced(live, missed[np.argsort(missed["venue_ns"], kind="stable")])

    def add(self, mark: Mark, rows: np.ndarray) -> None:
        """Add rows of a mark's symbol that should have come after it; their times say where."""
        self._added.setdefault(mark.checkpoint.sym, []).append((mark.number, rows))

    def remember(self, rows: np.ndarray) -> None:
        """Know trades that the market has taken in without their coming here."""
        self._known.append(rows)
        del self._known[:-REMEMBERED_MAX]

    def put_in_order(self, sym: int) -> None:
        """Give a symbol's rows in the order of their times from now on, not in that of their arrival."""
        self._out_of_order.add(sym)

    def arrived(self, sym: int, position: int) -> np.ndarray:
        """Return a copy of a symbol's rows from `position` on as they came."""
        syms = self._ring["sym"]
        places = [np.flatnonzero(syms[part] == sym) + part.start for part in self._parts(position)]
        found = self._words.take(places[0] if len(places) == 1 else np.concatenate(places), axis=0)
        return found.view(ROW).reshape(-1)

    def trades_since(self, venue_ns: int) -> np.ndarray:
        """Return the trades of all symbols that are stamped `venue_ns` or later, in no particular order."""
        wanted = (self._ring["venue_ns"] >= venue_ns) & (self._ring["kind"] == RowKind.TRADE)
        added = [rows for parts in self._added.values() for _, rows in parts]
        return np.concatenate([self._ring[wanted], *added, *self._known])

    def _parts(self, position: int) -> list[slice]:
        """Return where in the ring the rows from `position` on are, in order."""
        at = max(position, self.first)
        low, high = at % self._capacity, self.end % self._capacity
        if at >= self.end:
            return [slice(low, low)]
        return [slice(low, high)] if low < high else [slice(low, self._capacity), slice(0, high)]

    # --- marks -------------------------------------------------------------------------------------------------

    def mark(self, sym: int, now_ns: int) -> Mark:
        """Take a mark of a symbol's state as it is now."""
        self._count += 1
        found = Mark(self._market.checkpoint(sym), self.end, now_ns, self._count)
        marks = self._marks[sym]
        marks.append(found)
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
        self.mark(sym, now_ns)

    def mark_some(self, now_ns: int, most: int) -> None:
        """Mark symbols whose newest mark is old, at most so many; for once in a while."""
        for _ in range(min(most, len(self._marks))):
            marks = self._marks[self._next]
            if now_ns - marks[-1].taken_ns >= self.mark_every_ns:
                self.mark(self._next, now_ns)
            self._next = (self._next + 1) % len(self._marks)

    def before(self, sym: int, position: int) -> Mark | None:
        """Return a symbol's newest mark from before the row at `position`, None where it has none of which all is kept."""
        marks = (mark for mark in reversed(self._marks[sym]) if self.first <= mark.position <= position)
        return next(marks, None)

    def marked_since_ns(self, sym: int) -> int:
        """Return when a symbol's oldest mark was taken: what should have come before cannot be put in any more."""
        return self._marks[sym][0].taken_ns

    def settled(self, sym: int, before_ns: int) -> Mark | None:
        """Return a symbol's newest mark that was taken by `before_ns`, None where it has none of which all is kept."""
        marks = (mark for mark in reversed(self._marks[sym]) if mark.taken_ns <= before_ns)
        mark = next(marks, None)
        return mark if mark is not None and mark.position >= self.first else None

    # --- single trades -----------------------------------------------------------------------------------------

    def find(self, sym: int, trade_id: int, price: float, size: float) -> int | None:
        """Return the position of a trade, the newest where there are several, None if it is not kept."""
        wanted = (trade_id, sym, int(RowKind.TRADE), price, size)
        for part in reversed(self._parts(self._marks[sym][0].position)):
            for at in reversed(np.flatnonzero(self._ring["trade_id"][part] == trade_id).tolist()):
                place = part.start + at
                row = self._ring[place]
                if tuple(row[name] for name in ("trade_id", "sym", "kind", "price", "size")) == wanted:
                    return int(self.end - 1 - (self.end - 1 - place) % self._capacity)
        return None

    def row(self, position: int) -> np.void:
        """Return the row at `position`, to be changed in place."""
        assert self.first <= position < self.end
        found: np.void = self._ring[position % self._capacity]
        return found


def _words(rows: np.ndarray) -> np.ndarray:
    """Return rows as plain words, shape (n, 8), which numpy copies five times as fast."""
    return rows.view(np.int64).reshape(-1, ROW.itemsize // 8)


def spliced(live: np.ndarray, missed: np.ndarray) -> np.ndarray:
    """Return `live` with each row of `missed` before the first one that is later, by the venue's time.

    Among themselves both keep their order, `missed` being sorted by time.
    """
    newest = np.maximum.accumulate(live["venue_ns"]) if len(live) else live["venue_ns"]
    places = np.searchsorted(newest, missed["venue_ns"], side="right")
    return np.insert(live, places, missed)


Key = tuple[int, int, float, float, int]
"""What makes two reports of a trade the same: symbol, id, price, size and time. (Ids are unique per exchange and day.)"""


def keys_of(rows: np.ndarray) -> list[Key]:
    """Return the keys of rows that are trades."""
    columns = (rows[name].tolist() for name in ("sym", "trade_id", "price", "size", "venue_ns"))
    return list(zip(*columns, strict=True))


def not_among(rows: np.ndarray, known: set[Key]) -> np.ndarray:
    """Return the trades of `rows` that are not `known`, each once, by time."""
    keys = keys_of(rows)
    seen = set(known)
    fresh = []
    for number, key in enumerate(keys):
        if key not in seen:
            seen.add(key)
            fresh.append(number)
    found = rows[fresh]
    return found[np.argsort(found["venue_ns"], kind="stable")]
