"""Exact numbers: what decimal text becomes, how every rounding goes, and that no digit is lost either way."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hands.core import units
from hands.core.units import NANO, NumberError

AMOUNTS = st.integers(-units.NANO_ABS_MAX, units.NANO_ABS_MAX)
STEPS = st.sampled_from([1, 1_000, 100_000, 1_000_000, 10_000_000, NANO])


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("0", 0),
        ("-0", 0),
        ("150.15", 150_150_000_000),
        ("0.000000001", 1),
        ("-0.000000001", -1),
        ("1e3", 1_000 * NANO),
        ("1E+3", 1_000 * NANO),
        ("1.5e-8", 15),
        ("0.02", 20_000_000),
        ("1000000000000000", units.NANO_ABS_MAX),
        ("00150", 150 * NANO),
        ("1.000000000000000000000", NANO),
    ],
)
def test_decimal_text_is_read_exactly(text: str, nanos: int) -> None:
    assert units.nano(text) == nanos


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("", "not a decimal number"),
        (" 1", "not a decimal number"),
        ("1\n", "not a decimal number"),
        ("+1", "not a decimal number"),
        (".5", "not a decimal number"),
        ("1.", "not a decimal number"),
        ("1_000", "not a decimal number"),
        ("0x10", "not a decimal number"),
        ("NaN", "not a decimal number"),
        ("Infinity", "not a decimal number"),
        ("-inf", "not a decimal number"),
        ("1e99999", "not a decimal number"),
        ("\u0661", "not a decimal number"),
        ("1" * 31, "31 digits"),
        ("0." + "0" * 30, "31 digits"),
        ("1e31", "beyond +-30"),
        ("1e-31", "beyond +-30"),
        ("0.0000000001", "more than nine decimals"),
        ("1e-10", "more than nine decimals"),
        ("1000000000000000.000000001", "larger than anything"),
        ("1e30", "larger than anything"),
    ],
)
def test_text_that_is_no_amount_is_an_error(text: str, fragment: str) -> None:
    with pytest.raises(NumberError, match=fragment.replace("+", r"\+")):
        units.nano(text)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "sNaN"])
def test_a_decimal_that_is_not_finite_is_an_error(value: str) -> None:
    with pytest.raises(NumberError, match="not finite"):
        units.nano_from_decimal(Decimal(value))


@pytest.mark.parametrize(
    ("text", "nanos"), [("0.0000000019", 1), ("-0.0000000019", -1), ("66.123456789999", 66_123_456_789)]
)
def test_what_the_venue_writes_is_cut_at_nine_digits(text: str, nanos: int) -> None:
    assert units.nano_truncated(text) == nanos


@given(AMOUNTS)
@example(-1)
def test_every_amount_survives_its_text(value: int) -> None:
    assert units.nano(units.decimal_text(value)) == value


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (0, 0, "0"),
        (0, 2, "0.00"),
        (150 * NANO, 2, "150.00"),
        (150_150_000_000, 0, "150.15"),
        (150_123_400_000, 2, "150.1234"),
        (-1, 0, "-0.000000001"),
        (-150_500_000_000, 2, "-150.50"),
    ],
)
def test_text_of_an_amount(value: int, places: int, text: str) -> None:
    assert units.decimal_text(value, places) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00"),
        (141_900_000_000, "141.90"),
        (5_000_000, "0.01"),
        (4_999_999, "0.00"),
        (-4_999_999, "0.00"),
        (-5_000_000, "-0.01"),
        (999_995_000_000, "1000.00"),
        (-1_005_000_000, "-1.01"),
    ],
)
def test_money_is_written_in_cents_half_away_from_zero(value: int, text: str) -> None:
    assert units.usd_text(value) == text


@given(AMOUNTS, STEPS)
def test_flooring_and_ceiling_enclose_a_value_on_the_step(value: int, step: int) -> None:
    down, up = units.floor_to(value, step), units.ceil_to(value, step)
    assert down <= value <= up
    assert down % step == up % step == 0
    assert up - down == (0 if value % step == 0 else step)


@given(AMOUNTS, AMOUNTS)
def test_products_round_down_and_up_around_the_exact_one(a: int, b: int) -> None:
    exact = a * b
    assert units.mul_floor(a, b) * NANO <= exact <= units.mul_ceil(a, b) * NANO
    assert units.mul_ceil(a, b) - units.mul_floor(a, b) == (exact % NANO != 0)
    assert units.notional(a, b) == units.mul_ceil(a, b)


@given(AMOUNTS, st.integers(1, units.NANO_ABS_MAX))
def test_quotients_round_as_they_say(numerator: int, denominator: int) -> None:
    up = units.div_ceil(numerator, denominator)
    assert (up - 1) * denominator < numerator <= up * denominator
    near = units.div_half_up(abs(numerator), denominator)
    assert abs(2 * (near * denominator - abs(numerator))) <= denominator
    ratio = units.ratio_of(numerator, denominator)
    if abs(ratio) == units.RATIO_MAX:  # cut off: beyond every limit, and still on the right side of it
        assert abs(numerator) * NANO >= (units.RATIO_MAX - 1) * denominator
    else:
        assert ratio * denominator <= numerator * NANO < (ratio + 1) * denominator


def test_half_rounds_up() -> None:
    assert [units.div_half_up(n, 2) for n in range(5)] == [0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("price", "tick"),
    [("1.00", "0.01"), ("0.999999999", "0.0001"), ("0.0001", "0.0001"), ("150", "0.01"), ("1.0001", "0.01")],
)
def test_equities_trade_in_cents_from_a_dollar_up(price: str, tick: str) -> None:
    assert units.equity_tick(units.nano(price)) == units.nano(tick)


@pytest.mark.parametrize(
    ("value", "tick", "text"),
    [
        (150.15, "0.01", "150.15"),
        (150.0 * 1.001, "0.01", "150.15"),
        (0.1 + 0.2, "0.01", "0.3"),
        (150.005, "0.01", "150.01"),
        (150.0049, "0.01", "150"),
        (0.99995, "0.0001", "1"),
        (-1.5, "1", "-1"),
    ],
)
def test_a_float_goes_to_the_nearest_tick(value: float, tick: str, text: str) -> None:
    assert units.decimal_text(units.round_to_tick(value, units.nano(tick))) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e16, -1e16])
def test_trap_17_a_float_that_is_no_price_never_becomes_one(value: float) -> None:
    with pytest.raises(NumberError, match="not a price"):
        units.round_to_tick(value, 1)


def test_the_example_that_floats_get_wrong() -> None:
    """150 x 1.001 is 150.15; through floats it floors to 150.14."""
    assert math.floor(150 * 1.001 * 100) == 15_014
    exact = units.nano("150") * units.nano("1.001") // NANO
    assert units.decimal_text(units.floor_to(exact, units.CENT)) == "150.15"
