"""The rows of recorded files: CSV, JSON lines and Parquet, plain or gzipped, one at a time, with line numbers.

Owns opening, splitting and the words of an error; what a row means is `files`' business. The one idea: numbers
stay text (also JSON's), so that nothing is rounded on the way to an exact integer.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hands.core.units import NS_PER_S, Ns

Row = Mapping[str, Any]
NumberedRows = Iterator[tuple[int, Row]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION = re.compile(r"\.(\d{1,9})", re.ASCII)


class FileError(ValueError):
    """A recorded market cannot be read; the message says where, what was found and what is allowed."""


@dataclass(frozen=True, slots=True)
class Source:
    """The file being read."""

    path: Path

    def fail(self, line: int, problem: str) -> FileError:
        return FileError(f"{self.path}:{line}: {problem}")


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
        except (csv.Error, UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
            raise source.fail(reader.line_num + 1, f"{error}; allowed is CSV in UTF-8") from error


def json_rows(source: Source) -> NumberedRows:
    """Return the objects of a file of JSON lines; a line may also be an array of them, as the venue's frames."""
    with _open_text(source.path) as text:
        line = 0
        try:
            for line, row in enumerate(text, 1):
                if row.strip():
                    values = json.loads(row, parse_float=str, parse_int=str)
                    for value in values if isinstance(values, list) else [values]:
                        yield line, value
        except (json.JSONDecodeError, UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
            raise source.fail(line, f"{error}; allowed is one JSON object or array per line") from error


def parquet_rows(source: Source) -> tuple[tuple[str, ...], NumberedRows]:
    """Return the columns and the rows of a Parquet file, if pyarrow is there to read it."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise FileError(
            f"{source.path}: a Parquet file needs pyarrow, which is not installed; allowed without it: .csv, .jsonl"
        ) from error
    file = parquet.ParquetFile(source.path)
    columns = tuple(file.schema_arrow.names)

    def rows() -> NumberedRows:
        number = itertools.count(1)
        for batch in file.iter_batches():
            for values in batch.to_pylist():
                yield next(number), {name: "" if v is None else str(v) for name, v in values.items()}

    return columns, rows()


def time_ns(text: str) -> Ns:
    """Return an ISO 8601 / RFC 3339 time (a space for the T is fine, no zone means UTC) as epoch nanoseconds.

    Raises:
        ValueError: not such a time.
    """
    fraction = _FRACTION.search(text)
    whole = datetime.fromisoformat(_FRACTION.sub("", text, count=1))
    if whole.tzinfo is None:
        whole = whole.replace(tzinfo=UTC)
    nanos = int(fraction.group(1).ljust(9, "0")) if fraction else 0
    return Ns((whole - _EPOCH) // timedelta(seconds=1) * NS_PER_S + nanos)


def _open_text(path: Path) -> io.TextIOWrapper:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")
