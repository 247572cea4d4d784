"""History as files: Parquet, CSV and JSON lines, in the shapes that the venue's own SDK and streams give it.

Owns the columns and the lines. May not decide which items there are, nor in what order. The one idea: what is written is
a function of the items alone (row groups are counted in items, texts are looked up before they are encoded), so that a
fetch that was interrupted ten times ends in the same bytes as one that was not. Parquet and CSV are read back by
`hands.replay.sources`, by the simulator and by pandas; JSON lines as a recorded stream (bars: as pages).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import msgspec
import numpy as np

from hands.replay.items import LAYOUTS, Vocabulary
from hands.replay.merging import Chunks
from hands.sim.market.file_rows import FileError
from hands.sim.market.times import rfc3339_whole

GROUP_ITEMS: Final = 1 << 17
PAGE_ITEMS: Final = 10_000
_TEXTS: Final = frozenset({"symbol", "exchange", "bid_exchange", "ask_exchange", "conditions", "tape"})
_WORDS: Final = {
    "trades": {"exchange": "x", "price": "p", "size": "s", "id": "i", "tape": "z"},
    "quotes": {
        "bid_exchange": "bx", "bid_price": "bp", "bid_size": "bs", "ask_exchange": "ax", "ask_price": "ap",
        "ask_size": "as", "tape": "z",
    },
    "bars": {
        "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v", "trade_count": "n", "vwap": "vw",
    },
}  # fmt: skip


def columns_of(kind: str) -> list[str]:
    """Return the columns of a file, those of the SDK's data frames first and in their order."""
    names = [name for name in LAYOUTS[kind].names or () if name not in ("t_ns", "symbol")]
    return ["symbol", "timestamp", *names]


def write_items(
    kind: str, chunks: Chunks, words: Vocabulary, path: Path, ending: str, about: Mapping[str, Any]
) -> int:
    """Write items to `path` in the format of `ending`, and return how many there were.

    `about` says in a Parquet file what it is of.

    Raises:
        FileError: Parquet, and no pyarrow.
        OSError: the file cannot be written.
    """
    if ending == ".parquet":
        return _write_parquet(kind, chunks, words, path, about)
    write = _csv_texts if ending.startswith(".csv") else _jsonl_pages if kind == "bars" else _jsonl_texts
    count = 0
    with _opened(path, is_packed=ending.endswith(".gz")) as file:
        if ending.startswith(".csv"):
            file.write((",".join(columns_of(kind)) + "\n").encode())
        for group in groups(chunks, LAYOUTS[kind], PAGE_ITEMS):
            count += len(group)
            for text in write(kind, group, words):
                file.write(text)
    return count


def needs_pyarrow(path: Path) -> Any:
    """Return the library that writes Parquet. Raises `FileError`: it is not installed."""
    try:
        import pyarrow as pa
    except ImportError:
        problem = (
            "a Parquet file needs pyarrow (pip install 'hands[parquet]'); allowed without it: .csv, .jsonl"
        )
        raise FileError(f"{path}: {problem}") from None
    return pa


@contextmanager
def _opened(path: Path, *, is_packed: bool) -> Iterator[BinaryIO]:
    with path.open("wb") as file:
        if not is_packed:
            yield cast("BinaryIO", file)
            return
        with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:  # without a time: the same bytes each time
            yield cast("BinaryIO", packed)


# --- Parquet ---------------------------------------------------------------------------------------------------


def _write_parquet(kind: str, chunks: Chunks, words: Vocabulary, path: Path, about: Mapping[str, Any]) -> int:
    pa = needs_pyarrow(path)
    from pyarrow import parquet

    named = pa.dictionary(pa.int32(), pa.string())
    types = {"timestamp": pa.timestamp("ns", "UTC"), "id": pa.int64(), **dict.fromkeys(_TEXTS, named)}
    fields = [(name, types.get(name, pa.float64())) for name in columns_of(kind)]
    schema = pa.schema(fields, metadata={"hands": json.dumps(about, sort_keys=True)})
    count = 0
    with parquet.ParquetWriter(
        path, schema, **packing(columns_of(kind), frozenset({"timestamp", "id"}))
    ) as writer:
        for group in groups(chunks, LAYOUTS[kind], GROUP_ITEMS):
            count += len(group)
            arrays = []
            for name, typed in fields:
                if name in _TEXTS:
                    arrays.append(pa.array(words.texts(group[name]), pa.string()).dictionary_encode())
                else:
                    values = group["t_ns" if name == "timestamp" else name]
                    arrays.append(pa.array(np.ascontiguousarray(values)).cast(typed))
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), GROUP_ITEMS)
    return count


def packing(columns: Sequence[str], growing: frozenset[str]) -> dict[str, Any]:
    """Return how a Parquet writer packs columns, of which `growing` hold numbers that mostly grow: as differences.

    Half the size of the writer's own choice (6 to 11 bytes a row of the market, not 13 to 20), and quicker to read.
    """
    return {
        "compression": "zstd",
        "use_dictionary": [name for name in columns if name not in growing],
        "column_encoding": {name: "DELTA_BINARY_PACKED" for name in columns if name in growing},
    }


def groups(chunks: Chunks, layout: np.dtype[Any], size: int) -> Chunks:
    """Yield the same items in groups of `size`, the last one shorter; none is empty."""
    held: list[np.ndarray] = []
    count = 0
    for chunk in chunks:
        held.append(chunk)
        count += len(chunk)
        if count >= size:
            together = np.concatenate(held)
            whole = count - count % size
            for first in range(0, whole, size):
                yield together[first : first + size]
            held, count = [together[whole:]], count - whole
    if count:
        yield np.concatenate([np.zeros(0, layout), *held])


# --- text ------------------------------------------------------------------------------------------------------


def _plain(value: float) -> float | int:
    """Return a whole number without its .0, as the venue writes sizes and counts."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _lists(kind: str, chunk: np.ndarray, words: Vocabulary) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name in columns_of(kind):
        if name in _TEXTS:
            found[name] = words.texts(chunk[name])
        elif name == "timestamp":
            found[name] = [rfc3339_whole(t_ns) for t_ns in chunk["t_ns"].tolist()]
        elif name == "id":
            found[name] = chunk[name].tolist()
        else:
            found[name] = [_plain(value) for value in chunk[name].tolist()]
    return found


def _csv_texts(kind: str, chunk: np.ndarray, words: Vocabulary) -> Iterator[bytes]:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(zip(*_lists(kind, chunk, words).values(), strict=True))
    yield text.getvalue().encode()


def _jsonl_texts(kind: str, chunk: np.ndarray, words: Vocabulary) -> Iterator[bytes]:
    """Yield each item as the stream would have sent it."""
    lists = _lists(kind, chunk, words)
    for values in zip(*lists.values(), strict=True):
        item = dict(zip(lists, values, strict=True))
        message = {"T": kind[0], "S": item["symbol"], **_item(kind, item)}
        yield msgspec.json.encode(message) + b"\n"


def _jsonl_pages(kind: str, chunk: np.ndarray, words: Vocabulary) -> Iterator[bytes]:
    """Yield bars as pages of the historical API: a bar of the stream is always one minute long."""
    lists = _lists(kind, chunk, words)
    by_symbol: dict[str, list[dict[str, Any]]] = {}
    for values in zip(*lists.values(), strict=True):
        item = dict(zip(lists, values, strict=True))
        by_symbol.setdefault(item["symbol"], []).append(_item(kind, item))
    yield msgspec.json.encode({"bars": by_symbol, "next_page_token": None}) + b"\n"


def _item(kind: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item in the words of the historical API."""
    found = {short: item[name] for name, short in _WORDS[kind].items() if item[name] != ""}
    conditions = item.get("conditions", "")
    if "/" in item["symbol"]:
        found |= {"tks": conditions} if conditions else {}
    elif kind != "bars":
        found["c"] = conditions.split()
    return {"t": item["timestamp"], **found}
