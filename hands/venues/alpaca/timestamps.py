"""The venue's times as nanoseconds of the Unix epoch, exact to the last of nine digits.

Owns both spellings: RFC 3339 text with an offset, and msgpack's Timestamp extension. Neither goes through a
`datetime`, which would lose the last three digits and with them the order of ticks.
"""

from __future__ import annotations

import re
import struct
import time
from datetime import date
from functools import lru_cache

from hands.core.units import NS_PER_S, Ns

TIMESTAMP_EXT = -1
"""The msgpack extension type of a Timestamp."""

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d{1,18}))?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):?([0-5]\d))",
    re.ASCII,
)
_SECONDS = struct.Struct(">I")
_SECONDS_NANOS = struct.Struct(">Q")
_NANOS_SECONDS = struct.Struct(">Iq")


@lru_cache(maxsize=64)
def _midnight_s(day: str) -> int:
    return (date.fromisoformat(day).toordinal() - _EPOCH_DAY) * 86_400


def parse_rfc3339(text: str) -> Ns:
    """Return RFC 3339 `text` in nanoseconds; digits beyond the ninth are cut off.

    Raises:
        ValueError: not such a time, or without an offset.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:60]!r} is not an RFC 3339 time with an offset")
    day, hour, minute, second, fraction, sign, offset_hour, offset_minute = match.groups()
    seconds = _midnight_s(day) + int(hour) * 3600 + int(minute) * 60 + int(second)
    if sign is not None:
        offset = int(offset_hour) * 3600 + int(offset_minute) * 60
        seconds += offset if sign == "-" else -offset
    return Ns(seconds * NS_PER_S + (int(fraction[:9].ljust(9, "0")) if fraction else 0))


def rfc3339(ns: int) -> str:
    """Return nanoseconds as RFC 3339 text in UTC, with all nine digits."""
    second, fraction = divmod(ns, NS_PER_S)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return f"{moment}.{fraction:09d}Z"


def parse_timestamp_ext(data: bytes) -> int:
    """Return the payload of a msgpack Timestamp (4, 8 or 12 bytes) in nanoseconds.

    Raises:
        ValueError: another length, or a fraction of a second or more.
    """
    size = len(data)
    if size == 8:
        packed: int = _SECONDS_NANOS.unpack(data)[0]
        nanos, seconds = packed >> 34, packed & 0x3_FFFF_FFFF
    elif size == 4:
        nanos, seconds = 0, _SECONDS.unpack(data)[0]
    elif size == 12:
        nanos, seconds = _NANOS_SECONDS.unpack(data)
    else:
        raise ValueError(f"a msgpack Timestamp of {size} bytes; allowed are 4, 8 and 12")
    if nanos >= NS_PER_S:
        raise ValueError(f"a msgpack Timestamp with {nanos} nanoseconds")
    return seconds * NS_PER_S + nanos
