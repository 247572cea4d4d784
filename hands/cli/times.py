"""Times on the command line: spans as people write them, moments as they read them.

Owns both forms. Moments are UTC, to the millisecond: the ledger, the venue and the receipts speak UTC too.
"""

from __future__ import annotations

import re
import time

from hands.cli.output import ExitCode, fail

SPAN = re.compile(r"([1-9]\d{0,5})([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def began_ns(span: str, *, as_json: bool) -> int:
    """Return the Unix nanosecond at which `span` ("90s", "30m", "24h", "7d") until now began; end with 2 for others."""
    match = SPAN.fullmatch(span)
    if match is None:
        fail(ExitCode.USAGE, f"--since takes 90s, 30m, 24h or 7d, not {span!r}", as_json=as_json)
    return max(0, time.time_ns() - int(match.group(1)) * SECONDS[match.group(2)] * 10**9)


def clock_text(ns: int | None) -> str:
    """Return Unix nanoseconds as "2026-11-20 15:00:00.123", UTC; a dash for None."""
    from hands.core.receipts import time_text

    text = time_text(ns)
    return "-" if text is None else short_time(text)


def short_time(text: str) -> str:
    """Return an RFC 3339 time as people read it, to the millisecond."""
    return f"{text[:10]} {text[11:23]}".rstrip("Z.")
