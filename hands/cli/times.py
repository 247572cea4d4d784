"""Times on the command line: spans as people write them, moments as they read them.

Owns both forms. Moments are UTC, to the millisecond: the ledger, the venue and the receipts speak UTC too. Only where a
command takes a zone is a date that zone's.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime, tzinfo

from hands.cli.output import ExitCode, fail

SPAN = re.compile(r"([1-9]\d{0,5})([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def began_ns(span: str, *, as_json: bool) -> int:
    """Return the Unix nanosecond at which `span` ("90s", "30m", "24h", "7d") until now began; end with 2 for others."""
    match = SPAN.fullmatch(span)
    if match is None:
        fail(ExitCode.USAGE, f"--since takes 90s, 30m, 24h or 7d, not {span!r}", as_json=as_json)
    return max(0, time.time_ns() - int(match.group(1)) * SECONDS[match.group(2)] * 10**9)


def moment_ns(flag: str, text: str, *, as_json: bool, zone: tzinfo = UTC) -> int:
    """Return a date's first moment in `zone`, or an RFC 3339 time, as Unix ns; end with 2 where `text` is neither."""
    from hands.core.members import parse_time_ns

    try:
        if len(text) != len("2026-01-05"):
            return parse_time_ns(text)
        day = date.fromisoformat(text)
        return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 10**9
    except (ValueError, OverflowError) as error:
        fail(ExitCode.USAGE, f"{flag}: {error}; a date is midnight {_name(zone)}", as_json=as_json)


def zone_of(text: str, *, as_json: bool) -> tzinfo:
    """Return the zone of that name ("UTC", "America/New_York"); end with 2 where there is none."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return UTC if text == "UTC" else ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        fail(ExitCode.USAGE, f"--tz: there is no zone {text!r}; UTC, America/New_York", as_json=as_json)


def _name(zone: tzinfo) -> str:
    return "UTC" if zone is UTC else f"in {zone}"


def clock_text(ns: int | None) -> str:
    """Return Unix nanoseconds as "2026-11-20 15:00:00.123", UTC; a dash for None."""
    from hands.core.receipts import time_text

    text = time_text(ns)
    return "-" if text is None else short_time(text)


def short_time(text: str) -> str:
    """Return an RFC 3339 time as people read it, to the millisecond."""
    return f"{text[:10]} {text[11:23]}".rstrip("Z.")
