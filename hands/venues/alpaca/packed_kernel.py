"""The compiled half of `packed`: what the bytes of one msgpack frame become.

Owns the reading of values, the judgement of a message and the one loop over a frame. May not allocate, and may not
guess (see `packed`). The one idea: a message is first laid out in numbered slots, one for each member that a row needs,
and then judged as a whole; so there is one place that reads values and one that knows what a trade is.

A read of fixed size may run past the end of a broken frame, by less than `PAD` bytes; every member ends with the check
that it did not. Compiling takes about three seconds, once on a machine; inlining more gained nothing and took ten.
"""

# A compiled function takes its arguments by position: numba has no cheaper way. Numbers are int64 throughout, since
# numba makes a float of a sum of signed and unsigned.

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numpy as np
from numba import njit

from hands.core.compiled import entry_point
from hands.core.market import ROW, RowFlag, RowKind

PAD: Final = 64
SYMBOL_BYTES_MAX: Final = 16
"""A symbol is compared as two words of eight bytes; messages of longer ones are left to the general decoder."""

_F = TypeVar("_F", bound=Callable[..., Any])
_OPTIONS: Final[dict[str, Any]] = {"error_model": "numpy", "_nrt": False}
_INSIDE: Final = _OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

# The members a row is made of, by slot; every other member has slot 0.
_TYPE, _SYMBOL, _TIME, _PRICE, _SIZE, _ID, _TAPE, _CONDITIONS = range(1, 9)
_BID, _BID_SIZE, _ASK, _ASK_SIZE = range(9, 13)
_EXCHANGE: Final = 13
_SLOTS: Final = 14
MEMBERS: Final = {
    "T": _TYPE, "S": _SYMBOL, "t": _TIME, "p": _PRICE, "s": _SIZE, "i": _ID, "z": _TAPE, "c": _CONDITIONS, "x": _EXCHANGE,
    "bp": _BID, "bs": _BID_SIZE, "ap": _ASK, "as": _ASK_SIZE,
}  # fmt: skip

# The form of a value, and what is kept of it: a number's bits, a time's nanoseconds, where a text or another begins.
_ABSENT, _WHOLE, _FLOAT, _STAMP, _TEXT, _NIL, _OTHER = range(7)

# The columns of a ROW as eight-byte words; word 0 holds symbol, kind, flags and exchange.
_W_HEAD, _W_PRICE, _W_SIZE, _W_PRICE2, _W_SIZE2, _W_VENUE, _W_RECV, _W_ID = range(8)
_KIND_TRADE, _KIND_QUOTE = 1 << 32, 2 << 32
_FLAG_ELIGIBLE, _FLAG_VOLUME = 1 << 40, 2 << 40
_AT_EXCHANGE: Final = 48
assert ROW.itemsize == 64
assert (RowKind.TRADE, RowKind.QUOTE) == (_KIND_TRADE >> 32, _KIND_QUOTE >> 32)
assert (RowFlag.ELIGIBLE, RowFlag.VOLUME) == (_FLAG_ELIGIBLE >> 40, _FLAG_VOLUME >> 40)

PRICE_ON_CTS, PRICE_ON_UTP, VOLUME_ON_CTS, VOLUME_ON_UTP = 1, 2, 4, 8
_ALL = PRICE_ON_CTS | PRICE_ON_UTP | VOLUME_ON_CTS | VOLUME_ON_UTP
_SECONDS_MAX: Final = (2**63 - 1) // 1_000_000_000 - 1
HASH_SHIFT: Final = 40
HASH_LOW: Final = -7046029254386353131
HASH_HIGH: Final = -4417276706812531889

DESK = np.dtype(
    [
        ("slot_of", "u1", 256),
        ("slot_of_side", "u1", 256),
        ("counts", "u1", 256),
        ("form", "i8", _SLOTS),
        ("value", "i8", _SLOTS),
    ],
    align=True,
)
"""What the parser has before it: the slot of each one-letter member and, by the second letter, of the bid's; what
each sale condition lets a trade count for, on which tapes; and the message in hand, by slot."""


def _inlined(function: _F) -> _F:
    return cast("_F", njit(forceinline=True, **_INSIDE)(function))


def _called(function: _F) -> _F:
    return cast("_F", njit(**_INSIDE)(function))


# --- values ------------------------------------------------------------------------------------------------------


@_inlined
def _byte(data: np.ndarray, at: int) -> Any:
    return np.int64(data[at])


@_called
def _big_endian(data: np.ndarray, at: int, size: int) -> int:
    value = 0
    for k in range(size):
        value = (value << 8) | _byte(data, at + k)
    return value


@_inlined
def _eight_bytes(data: np.ndarray, at: int) -> Any:
    """Return eight bytes, big-endian, as one word: written out, it compiles to one load."""
    high = (
        _byte(data, at) << 56
        | _byte(data, at + 1) << 48
        | _byte(data, at + 2) << 40
        | _byte(data, at + 3) << 32
    )
    low = (
        _byte(data, at + 4) << 24 | _byte(data, at + 5) << 16 | _byte(data, at + 6) << 8 | _byte(data, at + 7)
    )
    return high | low


@_called
def _skip(data: np.ndarray, at: int, end: int) -> int:
    """Return the index after the value at `at`, -1 if it does not end within the frame."""
    todo = 1
    while todo > 0:
        if at >= end or todo > end - at:  # every value takes a byte: more are announced than can follow
            return -1
        byte = _byte(data, at)
        at += 1
        todo -= 1
        if byte < 0x80 or byte >= 0xE0 or byte in (0xC0, 0xC2, 0xC3):
            continue
        if byte < 0x90:  # a small map
            todo += 2 * (byte & 15)
        elif byte < 0xA0:  # a small array
            todo += byte & 15
        elif byte < 0xC0:  # a short text
            at += byte & 31
        elif byte >= 0xCA and byte <= 0xD3:  # numbers: float 4, 8; unsigned and signed of 1, 2, 4, 8
            at += 4 << (byte - 0xCA) if byte <= 0xCB else 1 << ((byte - 0xCC) & 3)
        elif byte >= 0xD4 and byte <= 0xD8:  # extensions of 1, 2, 4, 8 and 16 bytes, and their type
            at += 1 + (1 << (byte - 0xD4))
        elif byte >= 0xDC:  # arrays and maps with two or four bytes of length
            size = 2 << (byte & 1)
            todo += _big_endian(data, at, size) << (byte >> 1 & 1)
            at += size
        elif byte >= 0xD9:  # text with one, two, four
            size = 1 << (byte - 0xD9)
            at += size + _big_endian(data, at, size)
        elif byte >= 0xC7:  # extensions, and their type
            size = 1 << (byte - 0xC7)
            at += 1 + size + _big_endian(data, at, size)
        elif byte >= 0xC4:  # bytes
            size = 1 << (byte - 0xC4)
            at += size + _big_endian(data, at, size)
        else:
            return -1
    return at if at <= end else -1


@_inlined
def _value(data: np.ndarray, at: int, end: int) -> tuple[int, int, int]:
    """Return (the index after the value at `at` or -1, its form, what is kept of it)."""
    byte = _byte(data, at)
    if byte == 0xCB:
        return at + 9, _FLOAT, _eight_bytes(data, at + 1)
    if byte < 0x80:
        return at + 1, _WHOLE, byte
    if byte >= 0xA0 and byte < 0xC0:
        return at + 1 + (byte & 31), _TEXT, at
    if byte >= 0xCC and byte <= 0xCF:
        size = 1 << (byte - 0xCC)
        whole = _big_endian(data, at + 1, size)
        if whole < 0:  # what is kept of another form is always a place in the frame
            return at + 1 + size, _OTHER, at
        return at + 1 + size, _WHOLE, whole
    if byte == 0xD7 and data[at + 1] == 0xFF:
        packed = _eight_bytes(data, at + 2)
        seconds, nanos = packed & 0x3_FFFF_FFFF, packed >> 34 & 0x3FFF_FFFF
        if seconds > _SECONDS_MAX:
            return at + 10, _OTHER, at
        return at + 10, _STAMP, seconds * 1_000_000_000 + nanos
    if byte == 0xC0:
        return at + 1, _NIL, 0
    return _skip(data, at, end), _OTHER, at


# --- messages ----------------------------------------------------------------------------------------------------


@_inlined
def _slot(data: np.ndarray, at: int, desk: Any) -> Any:
    """Return the slot of the member whose name, a short text, is at `at`."""
    slot = np.int64(0)
    if data[at] == 0xA1:
        slot = _byte(desk.slot_of, data[at + 1])
    elif data[at] == 0xA2 and (data[at + 1] == 0x62 or data[at + 1] == 0x61):
        slot = _byte(desk.slot_of_side, data[at + 2])
        if slot > 0 and data[at + 1] == 0x61:
            slot += _ASK - _BID
    return slot


@_called
def _lay_out(data: np.ndarray, at: int, end: int, desk: Any) -> int:
    """Fill the desk's slots from the message at `at`; return the index after it, -1 if it is not plain."""
    for slot in range(1, _SLOTS):
        desk.form[slot] = _ABSENT
    fields = _byte(data, at)
    if fields < 0x80 or fields >= 0x90:
        return -1
    at += 1
    for _ in range(fields & 15):
        name = _byte(data, at)
        if name < 0xA0 or name >= 0xC0 or at >= end:
            return -1
        slot = _slot(data, at, desk)
        at += 1 + (name & 31)
        if at >= end:
            return -1
        at, form, value = _value(data, at, end)
        if at < 0 or at > end:
            return -1
        if slot > 0:
            if desk.form[slot] != _ABSENT:  # a member twice
                return -1
            desk.form[slot] = form
            desk.value[slot] = value
    return at


@_inlined
def _letter(data: np.ndarray, desk: Any, slot: int) -> int:
    """Return the one ASCII character of a slot, -1 if it holds anything else."""
    at = desk.value[slot]
    if desk.form[slot] != _TEXT or data[at] != 0xA1 or data[at + 1] >= 0x80:
        return -1
    return int(_byte(data, at + 1))


@_called
def _symbol_number(data: np.ndarray, desk: Any, symbols: np.ndarray) -> int:
    """Return the number of the message's symbol, -1 if it is unknown, -2 if it is not plain."""
    if desk.form[_SYMBOL] != _TEXT:  # only then is its value a place to read at
        return -2
    at = desk.value[_SYMBOL]
    size = _byte(data, at) & 31
    if size == 0 or size > SYMBOL_BYTES_MAX or data[at + size] == 0:
        return -2
    low = 0
    high = 0
    seen = 0
    for k in range(size):
        byte = _byte(data, at + 1 + k)
        seen |= byte
        if k < 8:
            low |= byte << (8 * k)
        else:
            high |= byte << (8 * (k - 8))
    if seen >= 0x80:
        return -2
    mask = symbols.shape[0] - 1
    place = (((low * HASH_LOW) ^ (high * HASH_HIGH)) >> HASH_SHIFT) & mask
    while symbols[place, 2] != 0:
        if symbols[place, 0] == low and symbols[place, 1] == high:
            return int(symbols[place, 2]) - 1
        place = (place + 1) & mask
    return -1


@_called
def _counts(data: np.ndarray, desk: Any) -> int:
    """Return what all conditions of the trade together let it count for, -1 if they are not plain."""
    form = desk.form[_CONDITIONS]
    at = desk.value[_CONDITIONS]
    counts = _ALL
    if form in (_ABSENT, _NIL):
        return counts
    if form != _OTHER:  # only then is its value a place to read at
        return -1
    count = _byte(data, at)
    if count < 0x90 or count >= 0xA0:
        return -1
    at += 1
    for _ in range(count & 15):
        if data[at] == 0xA1 and data[at + 1] < 0x80:
            counts &= _byte(desk.counts, data[at + 1])
            at += 2
        elif data[at] == 0xA0:
            at += 1
        else:
            return -1
    return counts


@_inlined
def _put_amount(desk: Any, slot: int, words: np.ndarray, floats: np.ndarray, i: int, word: int) -> bool:
    """Write the number in a slot into a row; return whether it is one."""
    if desk.form[slot] == _FLOAT:
        words[i, word] = desk.value[slot]
        return True
    floats[i, word] = float(desk.value[slot])
    return bool(desk.form[slot] == _WHOLE)


@_called
def _put_trade(data: np.ndarray, desk: Any, words: np.ndarray, floats: np.ndarray, i: int) -> bool:
    """Write the trade on the desk into row `i`; return False if it is not plain."""
    ok = _put_amount(desk, _PRICE, words, floats, i, _W_PRICE)
    ok &= _put_amount(desk, _SIZE, words, floats, i, _W_SIZE)
    ok &= desk.form[_TIME] == _STAMP
    words[i, _W_PRICE2] = 0
    words[i, _W_SIZE2] = 0
    words[i, _W_ID] = 0
    if desk.form[_ID] != _ABSENT:
        words[i, _W_ID] = desk.value[_ID]
        ok &= desk.form[_ID] == _WHOLE
    tape = 0
    if desk.form[_TAPE] != _ABSENT:
        tape = _letter(data, desk, _TAPE)
    exchange = 0
    if desk.form[_EXCHANGE] != _ABSENT:
        exchange = _letter(data, desk, _EXCHANGE)
    counts = _counts(data, desk)
    head = _KIND_TRADE
    if counts & (PRICE_ON_UTP if tape == 0x43 else PRICE_ON_CTS):
        head |= _FLAG_ELIGIBLE
    elif counts & (VOLUME_ON_UTP if tape == 0x43 else VOLUME_ON_CTS):
        head |= _FLAG_VOLUME
    if exchange > 0:
        head |= exchange << _AT_EXCHANGE
    words[i, _W_HEAD] = head
    return ok and tape >= 0 and exchange >= 0 and counts >= 0


@_called
def _put_quote(desk: Any, words: np.ndarray, floats: np.ndarray, i: int) -> bool:
    """Write the quote on the desk into row `i`; return False if it is not plain."""
    ok = _put_amount(desk, _BID, words, floats, i, _W_PRICE)
    ok &= _put_amount(desk, _BID_SIZE, words, floats, i, _W_SIZE)
    ok &= _put_amount(desk, _ASK, words, floats, i, _W_PRICE2)
    ok &= _put_amount(desk, _ASK_SIZE, words, floats, i, _W_SIZE2)
    words[i, _W_ID] = 0
    words[i, _W_HEAD] = _KIND_QUOTE | _FLAG_ELIGIBLE
    return bool(ok and desk.form[_TIME] == _STAMP)


# --- frames ------------------------------------------------------------------------------------------------------


@entry_point
def end_of(data: np.ndarray, at: int, end: int) -> int:
    return _skip(data, at, end)


@entry_point
def decode(
    data: np.ndarray,
    end: int,
    at: int,
    left: int,
    rows: np.ndarray,
    symbols: np.ndarray,
    desks: np.ndarray,
    recv_ns: int,
) -> tuple[int, int, int, int]:
    """Read messages into rows; `left` is -1 where the array's header is to be read first."""
    desk = desks[0]
    words = rows.view(np.int64).reshape(-1, 8)
    floats = rows.view(np.float64).reshape(-1, 8)
    if left < 0:
        left = 0
        if end > 0 and data[0] >= 0x90 and data[0] < 0xA0:
            left = _byte(data, 0) & 15
            at = 1
        elif end >= 3 and data[0] == 0xDC:
            left = _big_endian(data, 1, 2)
            at = 3
    count = 0
    unknown = 0
    while left > 0 and at < end and count < words.shape[0]:
        after = _lay_out(data, at, end, desk)
        if after < 0:
            break
        kind = _letter(data, desk, _TYPE)
        if kind == 0x74:
            plain = _put_trade(data, desk, words, floats, count)
        elif kind == 0x71:
            plain = _put_quote(desk, words, floats, count)
        else:
            break
        number = _symbol_number(data, desk, symbols)
        if not plain or number == -2:
            break
        at = after
        left -= 1
        if number < 0:
            unknown += 1
            continue
        words[count, _W_HEAD] |= number
        words[count, _W_VENUE] = desk.value[_TIME]
        words[count, _W_RECV] = recv_ns
        count += 1
    return count, at, left, unknown
