"""Exact numbers: prices, quantities and money as `int` nano-units, ratios as `int` nano-fractions.

Owns the only ways in (decimal text) and out (decimal text) of the integer world, and every rounding.
May not use floats, with one exception: `round_to_tick`, the one door from an indicator's float to a price.
The one idea: 150 x 1.001 in floats floors to 150.14; in integers it is 150.15, so nothing here is a float.

A `Price` is nano-dollars per unit, a `Qty` nano-units (nano-shares, nano-coins), a `Usd` nano-dollars,
a `Ratio` a nano-fraction (2 % = 20_000_000), an `Ns` nanoseconds (of the Unix epoch where it is a time).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NewType

Price = NewType("Price", int)
Qty = NewType("Qty", int)
Usd = NewType("Usd", int)
Ratio = NewType("Ratio", int)
Ns = NewType("Ns", int)

NANO = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
CENT = Price(NANO // 100)
_SUB_DOLLAR_TICK = Price(NANO // 10_000)

DIGITS_MAX = 30
"""Digits allowed in one number of a document: beyond it a number is a mistake or an attack."""

EXPONENT_MAX = 30
"""Largest absolute exponent looked at; it bounds the work that `1e999999999` could cause."""

NANO_ABS_MAX = 10**15 * NANO
"""Largest magnitude of any amount (10^15 dollars or units); every product of two amounts stays exact."""

_PRICE_MAX = NANO_ABS_MAX / NANO

_NUMBER = re.compile(r"-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,4}))?\Z", re.ASCII)


class NumberError(ValueError):
    """A number's text cannot be represented: malformed, too long, too large or finer than 10^-9."""


def parse_decimal(text: str) -> Decimal:
    """Return the exact value of a JSON-style number's `text`, bounding digits and exponent *before* converting.

    Raises:
        NumberError: not a finite decimal number, over `DIGITS_MAX` digits, or an exponent over `EXPONENT_MAX`.
    """
    match = _NUMBER.match(text)
    if match is None:
        raise NumberError(f"{text[:40]!r} is not a decimal number")
    digits = len(match.group(1)) + len(match.group(2) or "")
    if digits > DIGITS_MAX:
        raise NumberError(f"a number of {digits} digits; at most {DIGITS_MAX} are read")
    if match.group(3) is not None and abs(int(match.group(3))) > EXPONENT_MAX:
        raise NumberError(f"exponent {match.group(3)} of {text[:40]!r} is beyond +-{EXPONENT_MAX}")
    return Decimal(text)


def nano_from_decimal(value: Decimal, *, exact: bool = True) -> int:
    """Return `value` in nano-units; a remainder below 10^-9 is an error, or truncated with `exact=False`.

    Raises:
        NumberError: not finite, beyond `NANO_ABS_MAX`, or finer than 10^-9 while `exact`.
    """
    if not value.is_finite():
        raise NumberError(f"{value} is not finite")
    numerator, denominator = value.as_integer_ratio()
    nano, remainder = divmod(abs(numerator) * NANO, denominator)
    if remainder and exact:
        raise NumberError(f"{value} has more than nine decimals")
    if nano > NANO_ABS_MAX:
        raise NumberError(f"{value} is larger than anything traded here")
    return -nano if numerator < 0 else nano


def nano_down(value: Decimal) -> int:
    """Return non-negative `value` in nano-units, what is finer cut off. Raises `NumberError`."""
    return nano_from_decimal(value, exact=False)


def nano_nearest(value: Decimal) -> int:
    """Return non-negative `value` in nano-units, to the nearest (half up)."""
    numerator, denominator = value.as_integer_ratio()
    return div_half_up(numerator * NANO, denominator)


def nano(text: str) -> int:
    """Return decimal `text` ("150.15") in nano-units. Raises `NumberError`."""
    return nano_from_decimal(parse_decimal(text))


def nano_truncated(text: str) -> int:
    """Return decimal `text` in nano-units, digits beyond the ninth cut off: for what the *venue* writes."""
    return nano_from_decimal(parse_decimal(text), exact=False)


def decimal_text(value: int, places_min: int = 0) -> str:
    """Return nano-units as decimal text without trailing zeros, but with at least `places_min` decimals."""
    whole, fraction = divmod(abs(value), NANO)
    digits = f"{fraction:09d}".rstrip("0").ljust(places_min, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def usd_text(value: int) -> str:
    """Return money rounded half away from zero to whole cents, always with two decimals ("141.90")."""
    cents = div_half_up(abs(value), NANO // 100)
    sign = "-" if value < 0 and cents else ""
    return f"{sign}{cents // 100}.{cents % 100:02d}"


def div_half_up(numerator: int, denominator: int) -> int:
    """Return numerator / denominator rounded half up; both must be non-negative, the denominator positive."""
    return (2 * numerator + denominator) // (2 * denominator)


def div_ceil(numerator: int, denominator: int) -> int:
    """Return numerator / denominator rounded towards +infinity."""
    return -(-numerator // denominator)


def floor_to(value: int, step: int) -> int:
    """Return the largest multiple of `step` not above `value`."""
    return value - value % step


def ceil_to(value: int, step: int) -> int:
    """Return the smallest multiple of `step` not below `value`."""
    return value + -value % step


RATIO_MAX = 10**9 * NANO
"""Ratios are cut off here, far beyond every limit, so that a hostile document cannot make one of 40 digits."""
_RATIO_MIN = -RATIO_MAX


def ratio_of(part: int, whole: int) -> Ratio:
    """Return part / whole as a nano-fraction, rounded towards -infinity; `whole` must not be zero."""
    ratio = part * NANO // whole
    return Ratio(ratio) if _RATIO_MIN < ratio < RATIO_MAX else _cut_off(ratio)


def ratio_up(part: int, whole: int) -> Ratio:
    """Return part / whole as a nano-fraction, rounded towards +infinity: for what must not exceed a limit."""
    ratio = -(-part * NANO // whole)
    return Ratio(ratio) if _RATIO_MIN < ratio < RATIO_MAX else _cut_off(ratio)


def _cut_off(ratio: int) -> Ratio:
    return Ratio(RATIO_MAX if ratio > 0 else _RATIO_MIN)


def mul_floor(a: int, b: int) -> int:
    """Return the product of two nano-values in nano-units, rounded towards -infinity."""
    return a * b // NANO


def mul_ceil(a: int, b: int) -> int:
    """Return the product of two nano-values in nano-units, rounded towards +infinity."""
    return -(-a * b // NANO)


def notional(price: int, qty: int) -> Usd:
    """Return price x qty in nano-dollars, rounded up (what it could cost)."""
    return Usd(mul_ceil(price, qty))


def equity_tick(price: int) -> Price:
    """Return the minimum price increment of a US equity: one cent from one dollar up, else 0.0001 (Reg NMS 612)."""
    return CENT if price >= NANO else _SUB_DOLLAR_TICK


def round_to_tick(value: float, tick: int) -> Price:
    """Return a float price rounded to the nearest multiple of `tick` (nano): the one door from float to price.

    Raises:
        NumberError: `value` is not finite or not a possible price.
    """
    if not -_PRICE_MAX <= value <= _PRICE_MAX:  # a NaN is not either
        raise NumberError(f"{value} is not a price")
    nano_value = round(value * NANO)
    if tick == 1:  # how quotes are read, on every verdict
        return Price(nano_value)
    down = floor_to(nano_value, tick)
    return Price(down if 2 * (nano_value - down) < tick else down + tick)
