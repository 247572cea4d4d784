"""Row blocks: the market's rows as columns, made small and compressed, and back again to the bit.

Owns the bytes of one block. May not read a file or know what a row means. The one idea: rows of one symbol and one kind lie
near each other in every column but time, so each column is put in the order of (symbol, kind), turned into small
numbers (a price into its decimal's digits, then the difference to the one before) and left to zstandard. The order itself
costs nothing: it follows from the symbols and kinds, which stand in the block as they came.

What came is what is given back, all 64 bytes of a row: a column that is not made of short decimals (NaN, -0.0, a
price in 17 digits) is kept as the bits of its numbers. A block stands by itself. Sizes and times are in
docs/adr/0011-what-is-kept-of-a-session.md.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
import zstandard

from hands.core.rows import ROW

ROWS_MAX: Final = 1 << 20
"""Rows of one block at most: what a reader is ready to make room for."""

LEVEL: Final = 3
"""Level 1 is 10 % quicker and 5 to 15 % larger, level 6 twice as slow and 2 % smaller."""

_VERSION: Final = 1
_HEAD: Final = struct.Struct("<BxxxI")

_BARE: Final[np.dtype[Any]] = np.dtype(
    [
        ("sym", "i4"), ("kind", "u1"), ("flags", "u1"), ("exchange", "u1"), ("gap", "u1"),
        ("price", "f8"), ("size", "f8"), ("price2", "f8"), ("size2", "f8"),
        ("venue_ns", "i8"), ("recv_ns", "i8"), ("trade_id", "i8"),
    ]
)  # fmt: skip
"""A row with the byte that aligns it: other members of `ROW` are another version of the block."""

_BITS, _SORTED, _STEPS, _PLANES = 1, 2, 4, 8
"""How a column is put down: its floats as digits or bits; in the order of (symbol, kind); as differences; the first bytes
of all numbers, then the second ones.
"""

_COLUMNS: Final[tuple[tuple[str, int], ...]] = (
    ("sym", 0),
    ("kind", 0),
    ("flags", _SORTED),
    ("exchange", _SORTED),
    ("gap", _SORTED),
    ("price", _BITS | _SORTED | _STEPS | _PLANES),
    ("size", _BITS | _SORTED),
    ("price2", _BITS | _SORTED | _STEPS | _PLANES),
    ("size2", _BITS | _SORTED),
    ("recv_ns", _STEPS | _PLANES),
    ("venue_ns", _STEPS | _PLANES),
    ("trade_id", _SORTED | _STEPS | _PLANES),
)
"""Symbols and kinds come first: the order of the others follows from them."""

_WIDTHS: Final[dict[int, np.dtype[Any]]] = {
    1: np.dtype("u1"),
    2: np.dtype("<u2"),
    4: np.dtype("<u4"),
    8: np.dtype("<u8"),
}
_AS_BITS: Final = 255
_PLACES: Final = (0, 2, 4, 6, 8, 9)
"""Decimal places that are tried, in this order."""

_DIGITS_MAX: Final = 2.0**53
_TRIED: Final = 256
"""So many of a column are tried before all of it is."""


class BlockFault(ValueError):  # noqa: N818  (says what is the case)
    """These bytes are no row block of this version."""


def encode_block(rows: np.ndarray) -> bytes:
    """Return the block of `rows` (dtype `ROW`, at most `ROWS_MAX`). Raises ValueError: other rows, or too many."""
    if rows.dtype != ROW or rows.ndim != 1 or len(rows) > ROWS_MAX:
        raise ValueError(f"a block holds at most {ROWS_MAX} rows, not {rows.shape} of {rows.dtype}")
    bare = np.ascontiguousarray(rows).view(_BARE)
    order = _order(bare["sym"], bare["kind"])
    codes, parts = bytearray(), []
    for name, how in _COLUMNS:
        column = bare[name][order] if how & _SORTED else np.ascontiguousarray(bare[name])
        places, numbers = _as_digits(column) if how & _BITS else (_AS_BITS, column.astype("i8", copy=False))
        if how & _STEPS:
            numbers = _steps(numbers)
        packed = _narrow(numbers)
        codes += bytes((places, packed.dtype.itemsize))
        parts.append(_planes(packed) if how & _PLANES else packed.tobytes())
    # a compressor made anew costs 2 µs and belongs to no other thread
    body = zstandard.ZstdCompressor(level=LEVEL).compress(b"".join(parts))
    return _HEAD.pack(_VERSION, len(rows)) + bytes(codes) + body


def decode_block(data: bytes | memoryview) -> np.ndarray:
    """Return the rows of a block: dtype `ROW`, contiguous, writable. Raises BlockFault: it is none."""
    count, codes, body = _opened(memoryview(data))
    rows = np.empty(count, ROW)
    bare = rows.view(_BARE)
    order = np.empty(0, np.intp)
    at = 0
    for (name, how), (places, width) in zip(_COLUMNS, codes, strict=True):
        packed = body[at : at + count * width]
        at += count * width
        if how & _PLANES and width > 1:
            packed = np.ascontiguousarray(packed.reshape(width, count).T)
        numbers = _unfolded(packed.reshape(-1).view(_WIDTHS[width]))
        if how & _STEPS:
            numbers = np.cumsum(numbers)
        column = _from_digits(places, numbers) if how & _BITS else numbers
        if how & _SORTED:
            bare[name][order] = column
        else:
            bare[name] = column
        if name == "kind":
            order = _order(bare["sym"], bare["kind"])
    return rows


def _opened(data: memoryview) -> tuple[int, list[tuple[int, int]], np.ndarray]:
    """Return how many rows a block says it has, how each column lies in it, and their bytes. Raises BlockFault."""
    start = _HEAD.size + 2 * len(_COLUMNS)
    if len(data) < start:
        raise BlockFault(f"{len(data)} bytes are no row block")
    version, count = _HEAD.unpack_from(data)
    if version != _VERSION or count > ROWS_MAX:
        raise BlockFault(f"a row block of version {version} with {count} rows; this is version {_VERSION}")
    codes = list(zip(data[_HEAD.size : start : 2], data[_HEAD.size + 1 : start : 2], strict=True))
    for places, width in codes:
        if width not in _WIDTHS or (places != _AS_BITS and places not in _PLACES):
            raise BlockFault(f"a row block with a column of width {width} and {places} places")
    size = count * sum(width for _, width in codes)
    packed = bytes(data[start:])
    try:
        if zstandard.frame_content_size(packed) != size:
            raise BlockFault(f"a row block whose columns are not {size} bytes")
        body = zstandard.ZstdDecompressor().decompress(packed, max_output_size=max(size, 1))
    except zstandard.ZstdError as error:
        raise BlockFault(f"a row block that cannot be unpacked: {error}") from error
    if len(body) != size:
        raise BlockFault(f"a row block of {len(body)} bytes instead of {size}")
    return count, codes, np.frombuffer(body, "u1")


def _order(syms: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Return a stable order by symbol and kind. Two symbols may share a key: then they are only packed less well."""
    keys = ((syms & 0x3FFF) << 2 | (kinds & 3)).astype(np.uint16)  # sixteen bits are sorted by radix
    return np.argsort(keys, kind="stable")


def _as_digits(column: np.ndarray) -> tuple[int, np.ndarray]:
    """Return with how many decimal places all of `column` are integers exactly, and those; else their bits.

    A float that was read from a decimal of up to 15 digits is the one next to digits / 10^places, and so is that
    division's result.
    """
    for places in _PLACES:
        if _digits(column[:_TRIED], places) is not None:
            digits = _digits(column, places)
            if digits is not None:
                return places, digits
    return _AS_BITS, column.view("i8")


def _digits(column: np.ndarray, places: int) -> np.ndarray | None:
    """Return `column` times 10^places, None where that does not lead back to every bit of it."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is no such number is found out below
        scaled = np.rint(column * 10.0**places)
    if not (np.abs(scaled) < _DIGITS_MAX).all():
        return None
    digits: np.ndarray = scaled.astype("i8")
    return digits if np.array_equal((digits / 10.0**places).view("i8"), column.view("i8")) else None


def _from_digits(places: int, numbers: np.ndarray) -> np.ndarray:
    return numbers.view("f8") if places == _AS_BITS else numbers / 10.0**places


def _steps(numbers: np.ndarray) -> np.ndarray:
    """Return the first number and the differences after it; both ways wrap around at 64 bits."""
    steps = numbers.copy()
    steps[1:] -= numbers[:-1]
    return steps


def _narrow(numbers: np.ndarray) -> np.ndarray:
    """Return signed numbers as unsigned ones (0, -1, 1, -2, …) of the narrowest width that holds them all."""
    folded: np.ndarray = ((numbers << 1) ^ (numbers >> 63)).view("u8")
    most = int(folded.max()) if len(folded) else 0
    width = 1 if most < 1 << 8 else 2 if most < 1 << 16 else 4 if most < 1 << 32 else 8
    return folded.astype(_WIDTHS[width])


def _unfolded(packed: np.ndarray) -> np.ndarray:
    folded = packed.astype("u8")
    numbers: np.ndarray = (folded >> np.uint64(1)).view("i8") ^ -(folded & np.uint64(1)).view("i8")
    return numbers


def _planes(packed: np.ndarray) -> bytes:
    return np.ascontiguousarray(packed.view("u1").reshape(len(packed), packed.itemsize).T).tobytes()
