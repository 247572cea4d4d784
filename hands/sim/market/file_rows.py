"""The rows of recorded files: CSV, JSON lines and Parquet, plain or gzipped, one at a time, with line numbers.

Owns opening, splitting, exact numbers and the words of an error; what a row means is for `files` and its formats. The
one idea: numbers stay text (also JSON's), so that nothing is rounded on the way to an exact integer.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hands.core.units import NS_PER_MS, Ns, NumberError, Price, Qty, nano_truncated
from hands.sim.market.times import rfc3339_whole, time_ns
from hands.sim.venue.ticks import MarketEvent

Row = Mapping[str, Any]
NumberedRows = Iterator[tuple[int, Row]]
Convert = Callable[[Row], Iterable[MarketEvent]]

DOCUMENT_BYTES_MAX: Final = 256 * 2**20
"""How much JSON that is not in lines is read at once; one page of the venue's history is below 2 MB."""

_BROKEN = (UnicodeDecodeError, gzip.BadGzipFile, zlib.error, EOFError)


class FileError(ValueError):
    """A recorded market cannot be read; the message says where, what was found and what is allowed."""


class ColumnError(ValueError):
    """A value of a row cannot be what its column is for."""

    def __init__(self, column: str, problem: str) -> None:
        super().__init__(f"column {column}: {problem}")


@dataclass(frozen=True, slots=True)
class Source:
    """The file being read; its name without endings is what rows without a symbol belong to."""

    path: Path

    @property
    def plain_name(self) -> str:
        """The file's name without `.gz`."""
        return self.path.name.removesuffix(".gz")

    def fail(self, line: int, problem: str) -> FileError:
        return FileError(f"{self.path}:{line}: {problem}")


def each(source: Source, rows: NumberedRows, convert: Convert, allowed: str) -> Iterator[MarketEvent]:
    """Convert row by row, naming the line of one that cannot be."""
    for line, row in rows:
        try:
            yield from convert(row)
        except KeyError as error:
            raise source.fail(line, f"{error} is missing; allowed is {allowed}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise source.fail(line, f"{error}; allowed is {allowed}") from error


# -- lines and rows ---------------------------------------------------------------------------------------------


def csv_rows(source: Source) -> tuple[tuple[str, ...], NumberedRows]:
    """Return the columns and the rows of a CSV file with a heading."""
    rows = _csv_lines(source)
    _, heading = next(rows, (1, []))
    columns = tuple(name.strip() for name in heading)

    def named() -> NumberedRows:
        for line, values in rows:
            if len(values) != len(columns):
                raise source.fail(line, f"{len(values)} values; allowed are {len(columns)}, one per column")
            yield line, dict(zip(columns, values, strict=True))

    return columns, named()


def _csv_lines(source: Source) -> Iterator[tuple[int, list[str]]]:
    with _open_text(source.path) as text:
        reader = csv.reader(text)
        try:
            for values in reader:
                yield reader.line_num, values
        except (csv.Error, *_BROKEN) as error:
            raise source.fail(reader.line_num + 1, f"{error}; allowed is CSV in UTF-8") from error


def json_values(source: Source) -> Iterator[tuple[int, Any]]:
    """Return the values of a JSON file, numbers as text: one per line, or else the whole file as one value.

    Lines are read as they are needed. A file that is one value over many lines is read at once.
    """
    with _open_text(source.path) as text:
        line = 0
        try:
            for line, row in enumerate(text, 1):
                if not row.strip():
                    continue
                try:
                    value = _parsed(row)
                except json.JSONDecodeError:
                    if line > 1:
                        raise
                    yield line, _whole(source, row, text)
                    return
                yield line, value
        except (json.JSONDecodeError, RecursionError, *_BROKEN) as error:
            where = line + error.lineno - 1 if isinstance(error, json.JSONDecodeError) and line == 1 else line
            raise source.fail(where, f"{error}; allowed is JSON, a value per line or one in all") from error


def _whole(source: Source, begun: str, text: io.TextIOBase) -> Any:
    rest = text.read(DOCUMENT_BYTES_MAX)
    if len(rest) == DOCUMENT_BYTES_MAX:
        raise source.fail(1, f"one JSON value of over {DOCUMENT_BYTES_MAX >> 20} MB; allowed is one per line")
    return _parsed(begun + rest)


def _parsed(text: str) -> Any:
    return json.loads(text, parse_float=str, parse_int=str)


def parquet_rows(source: Source) -> tuple[tuple[str, ...], NumberedRows]:
    """Return the columns and the rows of a Parquet file, if pyarrow is there to read it."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise FileError(
            f"{source.path}: a Parquet file needs pyarrow, which is not installed; allowed without it: .csv, .jsonl"
        ) from error
    try:
        file = parquet.ParquetFile(source.path)
    except pa.ArrowException as error:
        raise source.fail(1, f"{error}; allowed is Parquet") from error
    columns = tuple(name for name in file.schema_arrow.names if not name.startswith("__index_level_"))

    def rows() -> NumberedRows:
        number = itertools.count(1)
        try:
            for batch in file.iter_batches(columns=list(columns)):
                texts = [_column_texts(pa, column) for column in batch.columns]
                for values in zip(*texts, strict=True):
                    yield next(number), dict(zip(columns, values, strict=True))
        except pa.ArrowException as error:
            raise source.fail(next(number), f"{error}; allowed is Parquet") from error

    return columns, rows()


def _column_texts(pa: Any, column: Any) -> list[str]:
    """Return a column as CSV would have it. Times go by way of integers: Python's have no nanoseconds."""
    if pa.types.is_timestamp(column.type):
        zoned = column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64()).to_pylist()
        return ["" if t_ns is None else rfc3339_whole(t_ns) for t_ns in zoned]
    return ["" if value is None else str(value) for value in column.to_pylist()]


def _open_text(path: Path) -> io.TextIOWrapper:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


# -- values -----------------------------------------------------------------------------------------------------


def price(row: Row, column: str) -> Price:
    """Return a price at or above 0. Raises `ColumnError`."""
    return Price(_amount(row, column))


def qty(row: Row, column: str) -> Qty:
    """Return a quantity at or above 0. Raises `ColumnError`."""
    return Qty(_amount(row, column))


def _amount(row: Row, column: str) -> int:
    try:
        value = nano_truncated(str(row[column]))
    except NumberError as error:
        raise ColumnError(column, str(error)) from None
    if value < 0:
        raise ColumnError(column, f"{row[column]} is negative")
    return value


def integer(row: Row, column: str) -> int:
    """Return a whole number; "17.0" is one, since tables of floats write it so. Raises `ColumnError`."""
    text = str(row[column])
    try:
        return int(text.removesuffix(".0"))
    except ValueError:
        raise ColumnError(column, f"{text!r} is not a whole number") from None


def ms_time(row: Row, column: str) -> Ns:
    """Return a time in epoch milliseconds. Raises `ColumnError`."""
    return Ns(integer(row, column) * NS_PER_MS)


def text_time(row: Row, column: str) -> Ns:
    """Return a time written out. Raises `ColumnError`."""
    try:
        return time_ns(str(row[column]))
    except ValueError:
        raise ColumnError(column, f"{row[column]!r} is not a time like 2024-01-02T15:00:00.5Z") from None
