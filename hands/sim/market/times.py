"""Times as text: ISO 8601 and RFC 3339 read and written, to the nanosecond; and the lengths that others count in.

Owns both directions for every room above the exchange, whose own times are integers. The one idea: Python's times end
at microseconds, so whole seconds go through them and the fraction never does.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from hands.core.units import NS_PER_S, Ns

MINUTE_NS: Final = 60 * NS_PER_S
DAY_NS: Final = 24 * 60 * MINUTE_NS

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION: Final = re.compile(r"\.(\d+)", re.ASCII)


def time_ns(text: str) -> Ns:
    """Return a time or a date as epoch nanoseconds; a blank for the T is fine, and no zone means UTC.

    Raises:
        ValueError: not such a time.
    """
    fraction = _FRACTION.search(text)
    whole = datetime.fromisoformat(_FRACTION.sub("", text, count=1))
    if whole.tzinfo is None:
        whole = whole.replace(tzinfo=UTC)
    nanos = int(fraction[1][:9].ljust(9, "0")) if fraction else 0
    return Ns((whole - _EPOCH) // timedelta(seconds=1) * NS_PER_S + nanos)


def rfc3339(t_ns: int) -> str:
    """Return `t_ns` in UTC with as many of nine decimals as it needs."""
    second, fraction = divmod(t_ns, NS_PER_S)
    if not fraction:
        return f"{_second_text(second)}Z"
    return f"{_second_text(second)}.{f'{fraction:09d}'.rstrip('0')}Z"


def rfc3339_whole(t_ns: int) -> str:
    """Return `t_ns` in UTC with all nine decimals: always of the same length."""
    second, fraction = divmod(t_ns, NS_PER_S)
    return f"{_second_text(second)}.{fraction:09d}Z"


def rfc3339_in(zone: tzinfo, t_ns: int) -> str:
    """Return `t_ns` with the offset of `zone`, zero written as an offset too; no decimals or all nine."""
    second, fraction = divmod(t_ns, NS_PER_S)
    text, offset = datetime.fromtimestamp(second, zone).strftime("%Y-%m-%dT%H:%M:%S %z").split(" ")
    decimals = f".{fraction:09d}" if fraction else ""
    return f"{text}{decimals}{offset[:3]}:{offset[3:]}"


@lru_cache(maxsize=64)
def _second_text(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
