"""Merging: several streams of arrays as one, by a field of time that never decreases in any of them.

Owns the algorithm. May not know what the arrays hold. The one idea: what is given out is earlier than the earliest of the
streams' last known times, since a stream may have more at exactly its last one. So the result does not depend on how
the streams are cut, equal times come in the order of the streams, and memory is a chunk or two of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

CHUNK_ROWS: Final = 1 << 16
"""Rows handed on at once, at most: 4 MB of the market's."""

OPEN_MAX: Final = 8
"""Of more sources than this, those whose time has not come are closed again: a year is a file a day."""

Chunks = Iterator[np.ndarray]
Source = Callable[[], Chunks]
"""Begins at the first row each time."""


def _nothing() -> np.ndarray:
    return np.zeros(0)


class _Stream:
    """One of those that are merged: its rows that have been read and not yet been given.

    A dormant one has been looked at for its first time, and is opened again when that has come.
    """

    def __init__(self, source: Source, by: str, *, is_dormant: bool) -> None:
        self._source = source
        self._by = by
        self._chunks = source()
        self._rows = _nothing()
        self._dormant_ns: int | None = None
        self.is_over = False
        self.more()
        if is_dormant and not self.is_over:
            self._dormant_ns = int(self._rows[by][0])
            self._rows, self._chunks = _nothing(), iter(())

    def more(self) -> None:
        """Read on behind what is still here."""
        if self._dormant_ns is not None:
            self._dormant_ns, self._chunks = None, self._source()
        for chunk in self._chunks:
            if len(chunk):
                self._rows = np.concatenate([self._rows, chunk]) if len(self._rows) else chunk
                return
        self.is_over = True

    @property
    def known_ns(self) -> int:
        """Everything of it that is earlier than this is here."""
        return int(self._rows[self._by][-1]) if self._dormant_ns is None else self._dormant_ns

    def holds_up(self, end_ns: int | None) -> bool:
        """Whether there is nothing beyond `end_ns` here."""
        return self.known_ns == end_ns

    def take_before(self, end_ns: int | None) -> np.ndarray:
        """Take what is earlier than `end_ns`, None: everything."""
        count = len(self._rows)
        if count and end_ns is not None:
            count = int(np.searchsorted(self._rows[self._by], end_ns, "left"))
        taken, self._rows = self._rows[:count], self._rows[count:]
        return taken


def merge(sources: Sequence[Source], by: str) -> Chunks:
    """Yield the rows of all sources by their field `by`, which is never decreasing in each of them."""
    many = len(sources) > OPEN_MAX
    streams = [_Stream(source, by, is_dormant=many) for source in sources]
    while True:
        reading = [stream for stream in streams if not stream.is_over]
        end_ns = min((stream.known_ns for stream in reading), default=None)
        parts = [part for stream in streams if len(part := stream.take_before(end_ns))]
        if len(parts) == 1:
            yield from cut(parts[0])
        elif parts:
            together = np.concatenate(parts)
            yield from cut(together[np.argsort(together[by], kind="stable")])
        if not reading:
            return
        for stream in reading:
            if stream.holds_up(end_ns):
                stream.more()


def cut(rows: np.ndarray) -> Chunks:
    """Yield rows in pieces of at most `CHUNK_ROWS`, which share their memory."""
    for first in range(0, len(rows), CHUNK_ROWS):
        yield rows[first : first + CHUNK_ROWS]
