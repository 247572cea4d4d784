"""Which trades are known: told by all that they are, in numbers of any size, and never for long at a time.

Owns the comparison of trades that history brings with those that came. May not read the ring or change the market.
The one idea: a trade is one 64-bit mix of its symbol, id, price, size and time, so that numpy can compare thousands in a
call (two different ones have the same mix once in 10^19); and whoever compares many lets the loop go round in between,
because orders may be waiting on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import numpy as np

from hands.core.market import ROW

A_TURN: Final = 4096
"""Rows that are copied, mixed or compared before the loop goes round: about half a millisecond."""

A_CALL: Final = 256
"""What a comparison costs of itself, in rows."""

_MIX: Final = np.int64(-7046029254386353131)
_MIX_TIME: Final = np.int64(-4417276706812531889)


class Pause:
    """Lets the loop go round each time `A_TURN` rows have been worked on."""

    def __init__(self) -> None:
        self._left = A_TURN

    async def after(self, rows: int) -> None:
        """Say that so many rows have been worked on, in one go."""
        self._left -= rows + A_CALL
        if self._left <= 0:
            self._left = A_TURN
            await asyncio.sleep(0)


def mixes(rows: np.ndarray) -> np.ndarray:
    """Return a number for each trade; trades have the same if and only if they are the same in all that a tape says."""
    mixed = (rows["trade_id"] * _MIX) ^ (rows["venue_ns"] * _MIX_TIME)
    mixed = (mixed ^ (rows["price"].view(np.int64) + rows["sym"])) * _MIX
    mixed ^= (mixed >> 31) ^ rows["size"].view(np.int64)
    found: np.ndarray = mixed * _MIX_TIME
    return found


def words(rows: np.ndarray) -> np.ndarray:
    """Return rows as plain words, shape (n, 8), which numpy copies five times as fast."""
    return rows.view(np.int64).reshape(-1, ROW.itemsize // 8)


def taken(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return a copy of the rows at some places."""
    return words(rows).take(places, axis=0).view(ROW).reshape(-1)


def by_time(rows: np.ndarray) -> np.ndarray:
    """Return rows in the order of their stamps, those with one as they were."""
    stamps = rows["venue_ns"]
    return rows if (stamps[1:] >= stamps[:-1]).all() else taken(rows, np.argsort(stamps, kind="stable"))


class Known:
    """The mixes of trades that are known, by symbol."""

    def __init__(self) -> None:
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []
        self.count = 0

    def add(self, rows: np.ndarray) -> None:
        """Know `rows`, at most `A_TURN` of them."""
        by_symbol = taken(rows, np.argsort(rows["sym"], kind="stable"))
        self._parts.append((by_symbol["sym"].copy(), mixes(by_symbol)))
        self.count += len(rows)

    def of(self, sym: int) -> list[np.ndarray]:
        """Return the mixes of a symbol's trades, in parts."""
        found = []
        for syms, mixed in self._parts:
            low, high = syms.searchsorted(np.array((sym, sym + 1), syms.dtype))
            if high > low:
                found.append(mixed[low:high])
        return found


class Question:
    """Trades of one symbol that may be missing: what is known among them is struck, what is left is missing."""

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows
        self._places: list[np.ndarray] = []
        self._mixed: list[np.ndarray] = []
        self._struck = np.zeros(len(rows), np.bool_)

    async def begin(self, pause: Pause) -> None:
        """Take in the trades; one that is there twice is struck once."""
        for first in range(0, len(self._rows), A_TURN):
            mixed = mixes(self._rows[first : first + A_TURN])
            for earlier in self._mixed:
                self._struck[first : first + len(mixed)] |= _among(mixed, earlier)[0]
                await pause.after(len(mixed))
            order = np.argsort(mixed, kind="stable")
            mixed, places = mixed[order], first + order
            self._struck[places[1:][mixed[1:] == mixed[:-1]]] = True
            self._places.append(places)
            self._mixed.append(mixed)
            await pause.after(len(mixed))

    async def strike(self, known: Iterable[np.ndarray], pause: Pause) -> int:
        """Strike what is among the mixes of `known`; return how many of those were found."""
        found = 0
        for part in known:
            for first in range(0, len(part), A_TURN):
                piece = part[first : first + A_TURN]
                for mixed, places in zip(self._mixed, self._places, strict=True):
                    hits, at = _among(piece, mixed)
                    self._struck[places[at[hits]]] = True
                    found += int(np.count_nonzero(hits))
                    await pause.after(len(piece))
        return found

    def ignore(self, these: np.ndarray) -> None:
        """Strike trades without comparing them; `these` is True where."""
        self._struck |= these

    def left(self) -> np.ndarray:
        """Return the trades that are not struck, by time."""
        return by_time(taken(self._rows, np.flatnonzero(~self._struck)))


def _among(mixed: np.ndarray, in_order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each of `mixed` whether it is among others that are in order, and the place of the first such."""
    at = np.searchsorted(in_order, mixed)
    at[at == len(in_order)] = 0
    return in_order[at] == mixed, at
