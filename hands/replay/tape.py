"""A tape: the rows of a market in the order in which they were received, in arrays, as often as one likes.

Owns the shape in which every market of the past is handed on, merging, and cutting by time and symbol. May not know a
file format. The one idea: a tape is a recipe, not a reading. Each call of `chunks` begins again at the first row and
holds a few chunks in memory, however long the market is; nothing here is done row by row in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from hands.core.rows import ROW, new_rows
from hands.replay.merging import Chunks, cut, merge


class TapeError(ValueError):
    """Rows that cannot be a tape, or a cut that the tape has nothing for."""


class Tape:
    """A market of `symbols`; `rows` is how many rows it has, None where nobody has counted.

    `read` begins at the first row each time it is called. What it yields are C-contiguous arrays of dtype `ROW` that
    belong to whoever takes them, `recv_ns` never decreasing from the first row to the last, and `sym` the place in
    `symbols`.
    """

    def __init__(
        self, symbols: Sequence[str], read: Callable[[], Chunks], *, rows: int | None = None
    ) -> None:
        self.symbols = tuple(symbols)
        self.rows = rows
        self._read = read
        if len(set(self.symbols)) != len(self.symbols):
            raise TapeError(f"a symbol twice among {', '.join(self.symbols)}")

    def __repr__(self) -> str:
        return f"<Tape {', '.join(self.symbols)}: {'?' if self.rows is None else self.rows} rows>"

    @classmethod
    def of(cls, symbols: Sequence[str], *arrays: np.ndarray) -> Tape:
        """Return a tape of arrays that stay in memory, one after the other.

        Raises:
            TapeError: another dtype, times that go back, or a `sym` that is no place in `symbols`.
        """
        last_ns = -(2**63)
        for rows in arrays:
            if rows.dtype != ROW or rows.ndim != 1:
                raise TapeError(f"an array of {rows.dtype} in {rows.ndim} dimensions; allowed are rows")
            if len(rows):
                if int(rows["sym"].min()) < 0 or int(rows["sym"].max()) >= len(symbols):
                    raise TapeError(f"rows of a symbol beyond the {len(symbols)} that are named")
                last_ns = in_order(rows, last_ns)

        def read() -> Chunks:
            for rows in arrays:
                yield from (chunk.copy() for chunk in cut(rows))

        return cls(symbols, read, rows=sum(len(rows) for rows in arrays))

    def chunks(self) -> Chunks:
        """Yield the rows, from the first on. Raises `TapeError` where a source breaks its promise of order."""
        last_ns = -(2**63)
        for chunk in self._read():
            if len(chunk):
                last_ns = in_order(chunk, last_ns)
                yield chunk

    def all_rows(self) -> np.ndarray:
        """Return everything at once: for markets that are known to be small."""
        return np.concatenate([new_rows(0), *self.chunks()])

    def between(self, start_ns: int | None = None, end_ns: int | None = None) -> Tape:
        """Return what was received from `start_ns` (inclusive) to `end_ns` (exclusive), None: as far as it goes."""
        if start_ns is None and end_ns is None:
            return self

        def read() -> Chunks:
            for chunk in self._read():
                recv_ns = chunk["recv_ns"]
                first = 0 if start_ns is None else int(np.searchsorted(recv_ns, start_ns, "left"))
                last = len(chunk) if end_ns is None else int(np.searchsorted(recv_ns, end_ns, "left"))
                if first < last:
                    whole = first == 0 and last == len(chunk)
                    yield chunk if whole else chunk[first:last].copy()
                if last < len(chunk):
                    return

        return Tape(self.symbols, read)

    def only(self, symbols: Sequence[str]) -> Tape:
        """Return the rows of these symbols, numbered in this order.

        Raises:
            TapeError: the tape does not have one of them.
        """
        absent = [symbol for symbol in symbols if symbol not in self.symbols]
        if absent:
            raise TapeError(f"{', '.join(absent)}: not in this market, which has {', '.join(self.symbols)}")
        if tuple(symbols) == self.symbols:
            return self
        chosen = {symbol: number for number, symbol in enumerate(symbols)}
        numbers = np.array([chosen.get(symbol, -1) for symbol in self.symbols], "i4")
        return Tape(symbols, lambda: _renumbered(self._read(), numbers))


def in_order(rows: np.ndarray, after_ns: int) -> int:
    """Return when the last of some rows was received. Raises `TapeError`: not in order, or before `after_ns`."""
    recv_ns = rows["recv_ns"]
    if int(recv_ns[0]) < after_ns or bool((recv_ns[1:] < recv_ns[:-1]).any()):
        raise TapeError("rows that were received earlier than rows before them")
    return int(recv_ns[-1])


def merged(tapes: Sequence[Tape]) -> Tape:
    """Return one tape of several, by the time of receipt; at the same time the earlier tape comes first.

    How the tapes are cut into chunks makes no difference. Symbols are in alphabetical order.
    """
    if len(tapes) == 1:
        return tapes[0]
    symbols = sorted({symbol for tape in tapes for symbol in tape.symbols})
    place = {symbol: number for number, symbol in enumerate(symbols)}

    def renumbered(tape: Tape) -> Chunks:
        return _renumbered(tape.chunks(), np.array([place[symbol] for symbol in tape.symbols], "i4"))

    def read() -> Chunks:
        return merge([partial(renumbered, tape) for tape in tapes], "recv_ns")

    counts = [tape.rows for tape in tapes]
    known = sum(count for count in counts if count is not None)
    return Tape(symbols, read, rows=None if None in counts else known)


def _renumbered(chunks: Iterable[np.ndarray], numbers: np.ndarray) -> Chunks:
    """Give each row the number of its symbol in `numbers`; rows of those with -1 are left out."""
    keeps_all = bool((numbers >= 0).all())
    changes_none = bool((numbers == np.arange(len(numbers))).all())
    for chunk in chunks:
        if changes_none:
            yield chunk
            continue
        chunk["sym"] = numbers[chunk["sym"]]
        yield chunk if keeps_all else chunk[chunk["sym"] >= 0]
