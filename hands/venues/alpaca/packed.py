"""Market-data frames in msgpack, read by compiled code: trades and quotes become rows without a Python object.

Owns the parser of the plain case: a frame of trades and quotes in the forms the venue uses. May not guess: whatever it
does not know for certain (another message, another form of a number, a missing member, a broken frame) it leaves
untouched and says where it stopped, for the general decoder to take up from there.
The one idea: the bytes are copied once into a buffer with `PAD` spare bytes behind them, so that compiled code need not
ask at every byte whether it is still inside (`packed_kernel`).

Speed (2-core cloud VM): about 0.1 us a message in frames of 50, where the msgspec structs and the packing of rows took
1.05 us.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from hands.core.market import RowFlag, new_rows
from hands.venues.alpaca import packed_kernel
from hands.venues.alpaca.conditions import flags_of
from hands.venues.alpaca.packed_kernel import (
    DESK,
    HASH_HIGH,
    HASH_LOW,
    HASH_SHIFT,
    MEMBERS,
    PAD,
    PRICE_ON_CTS,
    PRICE_ON_UTP,
    SYMBOL_BYTES_MAX,
    VOLUME_ON_CTS,
    VOLUME_ON_UTP,
)  # fmt: skip

Parsed = tuple[int, int, int, int]
"""How far a frame was read: rows written, where the next message begins, messages left, messages of unknown symbols."""


class PackedFrames:
    """The compiled parser with its buffers; `index` maps a symbol to its number."""

    def __init__(self, index: Mapping[str, int]) -> None:
        self._decode: Callable[..., Parsed] = packed_kernel.decode
        self._symbols = _symbol_table(index)
        self._desk = _new_desk()
        self._bytes = np.zeros(4096 + PAD, np.uint8)
        self._view = self._bytes.data

    def decode(self, data: bytes, rows: np.ndarray, recv_ns: int) -> Parsed:
        """Write trades and quotes to `rows` until the frame ends, `rows` is full or a message is not plain.

        `rows` is a contiguous array of `ROW`. A frame that does not begin as an array of up to 65 535 messages is
        not read at all: its next message is at 0.
        """
        size = len(data)
        if size > len(self._bytes) - PAD:
            self._bytes = np.zeros(2 * size + PAD, np.uint8)
            self._view = self._bytes.data
        self._view[:size] = data
        return self._decode(self._bytes, size, 0, -1, rows, self._symbols, self._desk, recv_ns)

    def decode_on(self, size: int, at: int, left: int, rows: np.ndarray, recv_ns: int) -> Parsed:
        """Go on with the last frame, of `size` bytes, at `at`, where `left` messages are to come."""
        return self._decode(self._bytes, size, at, left, rows, self._symbols, self._desk, recv_ns)

    def end_of(self, at: int, size: int) -> int:
        """Return where the value at `at` of the last frame, of `size` bytes, ends; -1: it does not."""
        return int(packed_kernel.end_of(self._bytes, at, size))

    @classmethod
    def warm_up(cls) -> None:
        """Compile the parser, or load it from the cache."""
        parser = cls({"X": 0})
        parser.decode(b"\x91\x80", new_rows(1), 0)
        parser.end_of(0, 2)


def _symbol_table(index: Mapping[str, int]) -> np.ndarray:
    """Return an open-addressing table, shape (2^n, 3): two words of the symbol's bytes and its number + 1."""
    capacity = 8
    while capacity < 4 * len(index):
        capacity *= 2
    table = np.zeros((capacity, 3), np.int64)
    for symbol, number in index.items():
        raw = symbol.encode()
        if 0 < len(raw) <= SYMBOL_BYTES_MAX and raw.isascii() and raw[-1]:
            low, high = np.frombuffer(raw.ljust(SYMBOL_BYTES_MAX, b"\0"), "<i8").tolist()
            place = ((low * HASH_LOW ^ high * HASH_HIGH) >> HASH_SHIFT) & (capacity - 1)
            while table[place, 2]:
                place = (place + 1) & (capacity - 1)
            table[place] = (low, high, number + 1)
    return table


def _new_desk() -> np.ndarray:
    """Return a desk: an array of one, since numba takes an array ten times faster than a record."""
    desks = np.zeros(1, DESK)
    desk = desks[0]
    for member, slot in MEMBERS.items():
        if member[0] == "b":
            desk["slot_of_side"][ord(member[1])] = slot
        elif len(member) == 1:
            desk["slot_of"][ord(member)] = slot
    for code in range(128):
        on_cts, on_utp = flags_of((chr(code),), "A"), flags_of((chr(code),), "C")
        desk["counts"][code] = (
            PRICE_ON_CTS * (on_cts == RowFlag.ELIGIBLE)
            | PRICE_ON_UTP * (on_utp == RowFlag.ELIGIBLE)
            | VOLUME_ON_CTS * (on_cts != 0)
            | VOLUME_ON_UTP * (on_utp != 0)
        )
    return desks
