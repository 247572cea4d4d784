"""Tables of recorded files, column by column: CSV and Parquet as numpy arrays, a few ten thousand rows at a time.

Owns opening, splitting and exact numbers, through pyarrow; without it CSV is read by Python's own reader, at about a
fifth of the speed. May not know what a column means. The one idea: only what is plainly in order is read here. At the
first value that takes a second look (a missing one, a "17.0" for a whole number, a broken row) everything from there on
is left to the simulator's reader (`NotPlain`), which goes row by row, accepts what can be accepted, and names the line
of what cannot. So both readers mean the same by a file.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np

from hands.core.units import NANO, nano_truncated
from hands.sim.market.file_rows import FileError, Source, csv_rows, parquet_rows
from hands.sim.market.times import time_ns

BLOCK_BYTES: Final = 4 << 20
TABLE_ROWS: Final = 1 << 16
PLAIN_ROWS: Final = 1 << 12
"""Of Python's own reader: more rows at once are lists that the garbage collector walks, at half the speed."""

AMOUNT_MAX: Final = 1e15
"""The largest price or quantity, as in `hands.core.units`."""


class NotPlain(Exception):  # noqa: N818  (no fault: somebody else reads it)
    """Something that only a reader of single rows can judge."""


class Kind(Enum):
    """What a column is read as: an exact amount or any number as float64, int64, int64 of epoch nanoseconds, `Words`."""

    AMOUNT = "amount"
    NUMBER = "number"
    INTEGER = "integer"
    TIME = "time"
    WORD = "word"


@dataclass(frozen=True, slots=True)
class Words:
    """A column of text in which values repeat: the place of each row's value in `values`."""

    codes: np.ndarray
    values: Sequence[str]

    def of(self, convert: Callable[[str], Any], dtype: str) -> np.ndarray:
        """Return `convert(value)` of each row; each value is converted once."""
        converted = np.array([convert(value) for value in self.values], dtype)
        found: np.ndarray = converted[self.codes]
        return found

    def where(self, keep: np.ndarray) -> Words:
        """Return the rows where `keep` is true."""
        return Words(self.codes[keep], self.values)


Columns = Mapping[str, Any]
"""By name: arrays, or `Words`."""


def heading(source: Source) -> tuple[str, ...]:
    """Return a file's columns.

    Raises:
        FileError: it cannot be opened, or pyarrow is needed and missing.
    """
    if source.plain_name.endswith(".parquet"):
        return parquet_rows(source)[0]
    columns, rows = csv_rows(source)
    if close := getattr(rows, "close", None):
        close()
    return columns


def tables(source: Source, wanted: Mapping[str, Kind]) -> Iterator[Columns]:
    """Yield the wanted columns of a CSV or Parquet file, table by table.

    Raises:
        NotPlain: a value or a row that has to be looked at for itself, or bytes that are no such file.
        FileError: Parquet, and no pyarrow.
    """
    if source.plain_name.endswith(".parquet"):
        return _parquet_tables(source, wanted)
    try:
        import pyarrow as pa
    except ImportError:
        return _plain_csv_tables(source, wanted)
    return _csv_tables(pa, source, wanted)


def count_of(source: Source) -> int | None:
    """Return how many rows a file has where it says so itself, None where they would have to be counted."""
    if not source.plain_name.endswith(".parquet"):
        return None
    from pyarrow import parquet

    return int(parquet.read_metadata(source.path).num_rows)


def exact(amounts: np.ndarray) -> np.ndarray:
    """Return prices or quantities with what is beyond the ninth decimal cut off, as exact numbers have it.

    Raises:
        NotPlain: one that is negative, no number, or too large.
    """
    if len(amounts) and not (float(amounts.min()) >= 0.0 and float(amounts.max()) <= AMOUNT_MAX):
        raise NotPlain
    kept: np.ndarray = amounts + 0.0  # a copy, without a minus before a zero
    finer = np.flatnonzero(np.rint(kept * NANO) / NANO != kept)
    for place in finer.tolist():
        kept[place] = nano_truncated(repr(float(kept[place]))) / NANO
    return kept


def utc_times(texts: Sequence[str]) -> np.ndarray:
    """Return times as epoch nanoseconds; those in UTC, as the venue writes them, are read all at once.

    Raises:
        NotPlain: one that is no time.
    """
    try:
        if all(text[-1:] == "Z" and text[10:11] == "T" and "1970" <= text[:4] < "2200" for text in texts):
            return np.array([text[:-1] for text in texts], "M8[ns]").astype("i8")
        return np.array([time_ns(text) for text in texts], "i8")
    except (ValueError, OverflowError) as error:
        raise NotPlain(str(error)) from None


def joined(parts: Sequence[Columns]) -> Columns:
    """Return several tables of the same columns as one."""
    found: dict[str, Any] = {}
    for name, first in parts[0].items():
        columns = [part[name] for part in parts]
        found[name] = _joined_words(columns) if isinstance(first, Words) else np.concatenate(columns)
    return found


def _joined_words(columns: Sequence[Words]) -> Words:
    places: dict[str, int] = {}
    codes = [column.of(lambda value: places.setdefault(value, len(places)), "i8") for column in columns]
    return Words(np.concatenate(codes), list(places))


# --- with pyarrow ----------------------------------------------------------------------------------------------


def _csv_tables(pa: Any, source: Source, wanted: Mapping[str, Kind]) -> Iterator[Columns]:
    from pyarrow import csv as arrow_csv

    types = {
        Kind.AMOUNT: pa.float64(),
        Kind.NUMBER: pa.float64(),
        Kind.INTEGER: pa.int64(),
        Kind.TIME: pa.string(),
        Kind.WORD: pa.dictionary(pa.int32(), pa.string()),
    }
    read = arrow_csv.ReadOptions(column_names=list(heading(source)), skip_rows=1, block_size=BLOCK_BYTES)
    convert = arrow_csv.ConvertOptions(
        column_types={name: types[kind] for name, kind in wanted.items()},
        include_columns=list(wanted),
        null_values=[""],
        strings_can_be_null=False,
        quoted_strings_can_be_null=False,
    )
    compression = "gzip" if source.path.suffix == ".gz" else None
    try:
        with (
            pa.input_stream(str(source.path), compression=compression) as stream,
            arrow_csv.open_csv(stream, read_options=read, convert_options=convert) as reader,
        ):
            for batch in reader:
                yield _columns(pa, batch, wanted)
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        if _has_no_rows(source):
            return
        raise NotPlain from error


def _has_no_rows(source: Source) -> bool:
    """Whether there is nothing behind the heading, which pyarrow takes for a fault."""
    _, rows = csv_rows(source)
    try:
        return next(rows, None) is None
    except FileError:
        return False


def _parquet_tables(source: Source, wanted: Mapping[str, Kind]) -> Iterator[Columns]:
    heading(source)  # says that pyarrow is missing, or that this is no Parquet
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(source.path) as file:
            words = [name for name, kind in wanted.items() if kind is Kind.WORD]
            schema = file.schema_arrow
            plain = [name for name in words if pa.types.is_string(schema.field(name).type)]
        with parquet.ParquetFile(source.path, read_dictionary=plain) as file:
            for batch in file.iter_batches(TABLE_ROWS, columns=list(wanted)):
                yield _columns(pa, batch, wanted)
    except (pa.ArrowException, OSError) as error:
        raise NotPlain from error


def _columns(pa: Any, batch: Any, wanted: Mapping[str, Kind]) -> Columns:
    read = {
        Kind.AMOUNT: _amounts,
        Kind.NUMBER: _numbers,
        Kind.INTEGER: _integers,
        Kind.TIME: _times,
        Kind.WORD: _words,
    }
    return {name: read[kind](pa, batch.column(name)) for name, kind in wanted.items()}


def _array(column: Any, dtype: str) -> np.ndarray:
    if column.null_count:
        raise NotPlain
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype)


def _amounts(pa: Any, column: Any) -> np.ndarray:
    return exact(_numbers(pa, column))


def _numbers(pa: Any, column: Any) -> np.ndarray:
    if pa.types.is_decimal(column.type):  # straight to float64 is off by a hair
        column = column.cast(pa.string())
    return _array(column.cast(pa.float64()), "f8")


def _integers(pa: Any, column: Any) -> np.ndarray:
    return _array(column.cast(pa.int64()), "i8")


def _times(pa: Any, column: Any) -> np.ndarray:
    if not pa.types.is_timestamp(column.type):
        texts = column.cast(pa.string())
        try:
            column = texts.cast(pa.timestamp("ns", "UTC"))
        except pa.ArrowInvalid:  # without a zone means UTC; a mixture is for the other reader
            column = texts.cast(pa.timestamp("ns"))
    return _array(column.cast(pa.timestamp("ns", column.type.tz)).cast(pa.int64()), "i8")


def _words(pa: Any, column: Any) -> Words:
    from pyarrow import compute

    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = compute.binary_join(column.cast(pa.list_(pa.string())), " ")
    if not pa.types.is_dictionary(column.type):
        column = column.cast(pa.string()).fill_null("").dictionary_encode()
    values = ["" if value is None else str(value) for value in column.dictionary.to_pylist()]
    codes = column.indices
    if codes.null_count:
        codes = codes.fill_null(len(values))
        values.append("")
    return Words(np.asarray(codes.to_numpy(zero_copy_only=False), "i8"), values)


# --- without ---------------------------------------------------------------------------------------------------


def _plain_csv_tables(source: Source, wanted: Mapping[str, Kind]) -> Iterator[Columns]:
    names = heading(source)
    opened = gzip.open if source.path.suffix == ".gz" else open
    try:
        with opened(source.path, "rt", encoding="utf-8", newline="") as text:
            reader = csv.reader(text)
            next(reader, None)
            while some := list(itertools.islice(reader, PLAIN_ROWS)):
                if any(len(row) != len(names) for row in some):
                    raise NotPlain
                columns = dict(zip(names, zip(*some, strict=True), strict=True))
                yield {name: _parsed(columns[name], kind) for name, kind in wanted.items()}
    except (csv.Error, UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise NotPlain from error


def _parsed(texts: Sequence[str], kind: Kind) -> Any:
    try:
        if kind is Kind.AMOUNT:
            return exact(np.array(list(map(float, texts)), "f8"))
        if kind is Kind.NUMBER:
            return np.array(list(map(float, texts)), "f8")
        if kind is Kind.INTEGER:
            return np.array(list(map(int, texts)), "i8")
        if kind is Kind.TIME:
            return np.array(list(map(time_ns, texts)), "i8")
    except (ValueError, OverflowError) as error:
        raise NotPlain from error
    values = list(dict.fromkeys(texts))
    places = {value: place for place, value in enumerate(values)}
    return Words(np.fromiter(map(places.__getitem__, texts), "i8", len(texts)), values)
