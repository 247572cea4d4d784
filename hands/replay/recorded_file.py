"""A recording on its way to a Parquet file: rows as they come, gaps as they are noticed, and the finish.

Owns the unfinished work (a spool beside the file) and the file's columns. May not listen to anything: rows are given to
it. The one idea: a Parquet file is unreadable until its last byte is written, so rows go to a spool about once a second,
which a SIGKILL cannot spoil, and become Parquet at the end; what a dead recording left is gone on with, or finished, by
the next one. The columns are those of a row, so that nothing is lost and nothing has to be interpreted again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from hands.core.rows import ROW
from hands.replay.item_files import GROUP_ITEMS, groups, needs_pyarrow, packing
from hands.replay.merging import Chunks
from hands.replay.recorded_sessions import in_order
from hands.replay.spool import Spool, SpoolError
from hands.sim.market.times import rfc3339
from hands.version import __version__

HELD_MAX: Final = 1 << 16
"""Rows that are kept in memory at most, whatever the time."""

_HEAD, _ROWS, _GAP = 16, 17, 18


class Gap(msgspec.Struct, frozen=True):
    """A time of which rows are missing, or may be."""

    from_ns: int
    to_ns: int
    reason: str


class _Head(msgspec.Struct, frozen=True):
    symbols: tuple[str, ...]
    began_ns: int


class RecordedFile:
    """Rows of `symbols` for `path`; a recording that was broken off there is gone on with, after a gap (`goes_on`).

    Raises:
        SpoolError: what is there is of other symbols, or no recording, or being written by another process.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, symbols: Sequence[str], now_ns: int, *, goes_on: bool = True) -> None:
        self.path = path
        self.rows = 0
        self.last_ns = 0
        self.gaps: list[Gap] = []
        self._held: list[np.ndarray] = []
        self._count = 0
        self._spool = Spool(path.with_name(f"{path.name}.part"))
        try:
            self._head = self._begin(tuple(symbols), now_ns)
        except BaseException:
            self._spool.close()
            raise
        self.went_on = self.rows > 0
        if self.went_on and goes_on:
            self.note_gap(Gap(self.last_ns, max(now_ns, self.last_ns), "the recording was broken off"))

    @property
    def symbols(self) -> tuple[str, ...]:
        return self._head.symbols

    def _begin(self, symbols: tuple[str, ...], now_ns: int) -> _Head:
        head: _Head | None = None
        for kind, body in self._spool.records():
            if kind == _HEAD:
                head = msgspec.json.decode(body, type=_Head)
            elif head is None:
                raise SpoolError(f"{self._spool.path} is no recording; remove it, or name another file")
            elif kind == _GAP:
                self.gaps.append(msgspec.json.decode(body, type=Gap))
            elif kind == _ROWS:
                rows = np.frombuffer(body, ROW)
                self.rows += len(rows)
                self.last_ns = max(self.last_ns, int(rows["recv_ns"].max()))
        if head is None:
            head = _Head(symbols, now_ns)
            self._spool.append(_HEAD, msgspec.json.encode(head))
        elif head.symbols != symbols:
            of = ", ".join(head.symbols)
            raise SpoolError(
                f"{self._spool.path} is a recording of {of} that was broken off; finish that first (--finish)"
            )
        return head

    def add(self, rows: np.ndarray) -> None:
        """Take rows, which must not change afterwards. Raises OSError where they had to be written and could not."""
        if len(rows):
            self._held.append(rows)
            self._count += len(rows)
            self.rows += len(rows)
            self.last_ns = max(self.last_ns, int(rows["recv_ns"][-1]))
            if self._count >= HELD_MAX:
                self.flush()

    def flush(self) -> None:
        """Hand what is held to the system: from then on it outlives the process. Raises OSError."""
        if self._held:
            self._spool.append(_ROWS, np.concatenate(self._held).tobytes())
            self._held, self._count = [], 0

    def note_gap(self, gap: Gap) -> None:
        """Note that rows are missing. Raises OSError."""
        self.flush()
        self.gaps.append(gap)
        self._spool.append(_GAP, msgspec.json.encode(gap))

    def close(self) -> None:
        """Leave it as it is, to be gone on with. Raises OSError."""
        self.flush()
        self._spool.close()

    def discard_if_empty(self) -> None:
        """Leave nothing of a recording in which nothing came. May be called after `close`."""
        if not self.rows and not self.gaps:
            self._spool.remove()

    def finish(self, now_ns: int) -> None:
        """Make the file, all of it or none; the spool goes. Raises OSError, `FileError`: the spool stays."""
        self.flush()
        made = self.path.with_name(f"{self.path.name}.new")
        try:
            self._write(made, now_ns)
            with made.open("rb+") as file:
                os.fsync(file.fileno())
            made.replace(self.path)
        finally:
            made.unlink(missing_ok=True)
        self._spool.remove()

    def about(self, now_ns: int) -> dict[str, Any]:
        """Return what the file says of itself."""
        return {
            "recorded_by": f"hands {__version__}",
            "symbols": list(self.symbols),
            "from": rfc3339(self._head.began_ns),
            "to": rfc3339(max(now_ns, self.last_ns)),
            "rows": self.rows,
            "gaps": [
                {"from": rfc3339(gap.from_ns), "to": rfc3339(gap.to_ns), "reason": gap.reason}
                for gap in self.gaps
            ],
        }

    def _chunks(self) -> Chunks:
        last_ns = 0
        for _, body in self._spool.records(frozenset({_ROWS})):
            yield (rows := in_order(np.frombuffer(body, ROW), last_ns))
            last_ns = int(rows["recv_ns"][-1])

    def _write(self, path: Path, now_ns: int) -> None:
        pa = needs_pyarrow(path)
        from pyarrow import parquet

        small = {"kind": pa.uint8(), "flags": pa.uint8(), "exchange": pa.uint8()}
        names = [name for name in ROW.names or () if name != "sym"]
        fields = [("symbol", pa.dictionary(pa.int32(), pa.string()))]
        fields += [(name, small.get(name, pa.from_numpy_dtype(ROW[name]))) for name in names]
        schema = pa.schema(fields, metadata={"hands": json.dumps(self.about(now_ns), sort_keys=True)})
        symbols = pa.array(self.symbols, pa.string())
        packed = packing(schema.names, frozenset({"venue_ns", "recv_ns", "trade_id"}))
        with parquet.ParquetWriter(path, schema, **packed) as writer:
            for group in groups(self._chunks(), ROW, GROUP_ITEMS):
                arrays = [pa.DictionaryArray.from_arrays(pa.array(group["sym"]), symbols)]
                arrays += [pa.array(np.ascontiguousarray(group[name])) for name in names]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema), GROUP_ITEMS)


def symbols_left(path: Path) -> tuple[str, ...] | None:
    """Return of what a recording for `path` was broken off, None where there is none.

    Raises:
        SpoolError: what is there is no recording, or is being written by another process.
        OSError: it cannot be read.
    """
    part = path.with_name(f"{path.name}.part")
    if not part.exists():
        return None
    with Spool(part) as spool:
        first = next(spool.records(), None)
    if first is None:
        return None
    if first[0] != _HEAD:
        raise SpoolError(f"{part} is no recording")
    return msgspec.json.decode(first[1], type=_Head).symbols


class Chosen:
    """Gives rows of a market the numbers that its chosen symbols have in a recording."""

    def __init__(self, market: Sequence[str], chosen: Sequence[str]) -> None:
        places = {symbol: number for number, symbol in enumerate(chosen)}
        self._numbers = np.array([places.get(symbol, -1) for symbol in market], "i4")

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Return a copy of the rows of chosen symbols."""
        numbers = self._numbers[rows["sym"]]
        kept: np.ndarray = rows[numbers >= 0]
        kept["sym"] = numbers[numbers >= 0]
        return kept


def recorded_gaps(path: Path) -> Iterator[Gap]:
    """Yield the gaps that a recorded file tells of. Raises `FileError`: no pyarrow."""
    needs_pyarrow(path)
    from pyarrow import parquet

    from hands.sim.market.times import time_ns

    metadata = parquet.read_schema(path).metadata or {}
    for gap in json.loads(metadata.get(b"hands", b"{}")).get("gaps", ()):
        yield Gap(time_ns(gap["from"]), time_ns(gap["to"]), gap["reason"])
