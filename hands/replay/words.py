"""How a report says numbers, times and other people's texts.

Owns formatting and escaping. May not compute. The one idea: whatever did not come from this program passes `said` on its way
to the page, and what is unknown is called so.
"""

from __future__ import annotations

import datetime as dt
import html
import math
from typing import Final
from zoneinfo import ZoneInfo

from hands.core.units import NANO

UNKNOWN: Final = '<span class="unk">unknown</span>'
MINUS: Final = "\u2212"

REASONS: Final = {
    "TP": "target",
    "SL": "stop",
    "TIME": "time",
    "MANUAL": "by hand",
    "HALT": "halt",
    "LIQUIDATED": "liquidated",
}
"""Why a trade ended, for people."""

_DIRECTIONS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of what stands around them: shown by their number instead."""


def said(text: object, most: int | None = None) -> str:
    """Return what somebody wrote as HTML text or attribute that is only that, cut after `most` characters.

    Control characters, lone surrogates and what changes the direction of text become visible; tags and quotes are escaped.
    """
    whole = str(text)
    shown = whole if most is None or len(whole) <= most else whole[:most].rstrip()
    rest = "" if shown == whole or most is None else f" \u2026 ({len(whole) - len(shown):,} more characters)"
    return html.escape("".join(map(_visible, shown)), quote=True) + rest


def _visible(character: str) -> str:
    number = ord(character)
    if character in "\n\t":
        return character
    if number < 0x20 or 0x7F <= number < 0xA0 or 0xD800 <= number < 0xE000:
        return "\ufffd"
    if character in _DIRECTIONS:
        return f"\\u{number:04x}"
    return character


def signed(value: float | None, places: int = 2, before: str = "", after: str = "") -> str:
    """Return a number with its sign, the true minus; "unknown" for None."""
    if value is None:
        return UNKNOWN
    text = f"{abs(value):,.{places}f}"
    is_nothing = not text.strip("0.,")
    return f"{'' if is_nothing else MINUS if value < 0 else '+'}{before}{text}{after}"


def plain(value: float | None, places: int = 2, before: str = "", after: str = "") -> str:
    """Return a number; "unknown" for None."""
    if value is None:
        return UNKNOWN
    sign = MINUS if value < 0 and f"{abs(value):.{places}f}".strip("0.") else ""
    return f"{sign}{before}{abs(value):,.{places}f}{after}"


def money(value: float | None) -> str:
    """Return dollars with a sign, whole ones from a hundred thousand on."""
    return signed(value, 0 if value is not None and abs(value) >= 100_000 else 2, "$")


def share(value: float | None, places: int = 1) -> str:
    return plain(None if value is None else value * 100, places, after=" %")


def tone(value: float | None) -> str:
    """Return the class of a result: "up", "down" or none; the sign in front says the same."""
    return "" if not value else " up" if value > 0 else " down"


def price(value: float | None) -> str:
    """Return a price with as many decimals as it takes: two from a dollar on, more below."""
    if value is None:
        return UNKNOWN
    return plain(value, price_places(value))


def price_places(value: float) -> int:
    if abs(value) >= 1 or value == 0:
        return 2
    return min(9, 3 - math.floor(math.log10(abs(value))))


def exact(text: str | None) -> str:
    """Return an exact amount given as decimal text, at most nine decimals as it has them."""
    if text is None:
        return UNKNOWN
    whole, _, part = text.removeprefix("-").partition(".")
    grouped = f"{int(whole):,}" + (f".{part}" if part else "")
    return f"{MINUS if text.startswith('-') else ''}{grouped}"


def lasting(ns: float | None) -> str:
    """Return a length of time in the two units that say it best; `ns` in nanoseconds."""
    if ns is None:
        return UNKNOWN
    seconds = ns / NANO
    if ns < 1_000:
        return f"{ns:,.0f} ns"
    if seconds < 1e-3:
        return f"{ns / 1e3:,.0f} \u00b5s"
    if seconds < 1:
        return f"{ns / 1e6:,.1f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, smaller, small in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size:,} {name}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def micros(value: float | None) -> str:
    """Return microseconds in the unit that says them best."""
    return UNKNOWN if value is None else lasting(value * 1_000)


def moment(at_ns: int | None, zone: ZoneInfo, *, seconds: bool = True) -> str:
    """Return a time in a zone: "20 Nov 2026 13:15:56"."""
    if at_ns is None:
        return UNKNOWN
    at = dt.datetime.fromtimestamp(at_ns // NANO, zone)
    return f"{at.day} {at:%b %Y %H:%M}" + (f":{at:%S}" if seconds else "")


def count(number: int, one: str, many: str | None = None) -> str:
    """Return "1 trade", "1,000 trades"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
