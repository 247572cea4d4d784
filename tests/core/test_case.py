"""The numbers every check shares: limit, stop, target, worst exit and risk of one unit, on the venue's ticks."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.case import Terms, protective_limit, seconds_text
from hands.core.units import NANO, NS_PER_S, decimal_text, nano
from hands.core.vocab import AssetClass
from tests.core.world import NOW, case, intent, limits, quote, world


def terms(
    symbol: str,
    direction: str,
    bid: str,
    ask: str,
    prices: tuple[str, str, str],
    **hard: Any,
) -> Terms:
    """Return the terms of an intent (trigger, stop, target) against a quote."""
    trigger, stop, target = prices
    state = world(quotes={symbol: (bid, ask)}, **hard)
    asked = intent(1, symbol, direction, trigger_price=trigger, stop_loss=stop, take_profit=target)
    found = case(state, asked).terms
    assert found is not None
    return found


# symbol, direction, bid, ask, (trigger, stop, target), limit, stop, target, worst exit, unit risk, unit reward
TABLE = [
    # the contract's example and its mirror
    ("AAPL", "LONG", "149.98", "150.00", ("150", "148", "155"), "150.15", "148", "155", "148", "2.15", "4.85"),
    ("AAPL", "SHORT", "150.00", "150.02", ("150", "152", "145"), "149.85", "152", "145", "152", "2.15", "4.85"),
    # the nearer of trigger and quote rules
    ("AAPL", "LONG", "149.48", "149.50", ("150", "148", "155"), "149.64", "148", "155", "148", "1.64", "5.36"),
    ("AAPL", "LONG", "150.48", "150.50", ("150", "148", "155"), "150.15", "148", "155", "148", "2.15", "4.85"),
    ("AAPL", "SHORT", "150.50", "150.52", ("150", "152", "145"), "150.35", "152", "145", "152", "1.65", "5.35"),
    ("AAPL", "SHORT", "149.50", "149.52", ("150", "152", "145"), "149.85", "152", "145", "152", "2.15", "4.85"),
    # off the tick: the limit towards the market's far side, stop and target towards the entry
    ("AAPL", "LONG", "149.98", "150.00", ("149.999", "147.991", "155.009"), "150.14", "148", "155", "148", "2.14", "4.86"),
    ("AAPL", "SHORT", "150.00", "150.02", ("150.001", "152.009", "144.991"), "149.86", "152", "145", "152", "2.14", "4.86"),
    # below a dollar there are four decimals; a tick belongs to its price, not to its order
    ("AAPL", "LONG", "0.4998", "0.5000", ("0.5", "0.45123", "0.61239"), "0.5005", "0.4513", "0.6123", "0.4513", "0.0492", "0.1118"),
    ("AAPL", "SHORT", "0.5000", "0.5002", ("0.5", "0.54999", "0.40001"), "0.4995", "0.5499", "0.4001", "0.5499", "0.0504", "0.0994"),
    ("AAPL", "LONG", "0.9998", "1.0000", ("1", "0.91234", "1.239"), "1", "0.9124", "1.23", "0.9124", "0.0876", "0.23"),
    ("AAPL", "SHORT", "1.00", "1.01", ("1", "1.1", "0.88"), "0.999", "1.1", "0.88", "1.1", "0.101", "0.119"),
    # crypto: three decimals, a stop-limit one percent below the stop, 25 bps each way
    ("SOL/USD", "LONG", "149.95", "150", ("150", "145", "165"), "150.15", "145", "165", "143.55", "7.33425", "14.062125"),
    ("SOL/USD", "LONG", "149.95", "150", ("150", "145.0004", "165.0009"), "150.15", "145.001", "165", "143.55", "7.33425", "14.062125"),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE)
def test_prices_of_an_entry(
    row: tuple[str, str, str, str, tuple[str, str, str], str, str, str, str, str, str],
) -> None:
    symbol, direction, bid, ask, prices, *expected = row
    found = terms(symbol, direction, bid, ask, prices)
    assert [
        decimal_text(value)
        for value in (
            found.limit_price, found.stop_loss, found.take_profit, found.worst_exit, found.unit_risk, found.unit_reward,
        )
    ] == expected  # fmt: skip


@pytest.mark.parametrize(
    ("stop", "offset", "increment", "long", "limit"),
    [
        ("145", "0.01", "0.001", True, "143.55"),
        ("145", "0.01", "0.001", False, "146.45"),
        ("145.001", "0.01", "0.001", True, "143.55"),
        ("145.001", "0.01", "0.001", False, "146.452"),
        ("100", "0.0005", "0.01", True, "99.95"),
        ("0.00002", "0.2", "0.000000001", True, "0.000016"),
        ("123.456789012", "0.01", None, True, "122.222221121"),
    ],
)
def test_the_protective_limit_lies_beyond_the_stop(
    stop: str, offset: str, increment: str | None, long: bool, limit: str
) -> None:
    hard = limits(stop_limit_offset=offset).hard
    step = None if increment is None else nano(increment)
    assert decimal_text(protective_limit(nano(stop), hard, step, long=long)) == limit


def test_without_a_market_there_are_no_terms_unless_it_is_armed() -> None:
    state = world(quotes={"AAPL": None})
    assert case(state).terms is None
    armed = case(state, intent(entry="touch"), arming=True).terms
    assert armed is not None
    assert decimal_text(armed.limit_price) == "150.15"


@pytest.mark.parametrize(
    ("bid", "ask", "sides"),
    [
        ("149.98", "150", True),
        ("150", "150", False),
        ("150.01", "150", False),
        ("0", "150", False),
        ("149.98", "0", False),
    ],
)
def test_a_quote_counts_as_two_sided_only_uncrossed(bid: str, ask: str, sides: bool) -> None:
    state = world(quotes={"AAPL": None})
    quote(state, "AAPL", bid, ask)
    found = case(state)
    assert (found.two_sided is not None) is sides
    assert (found.terms is not None) is sides


def test_an_unknown_symbol_makes_a_case_without_asset_and_market() -> None:
    found = case(world(), intent(asset="TSLA"))
    assert (found.asset, found.quote, found.terms) == (None, None, None)


def test_what_an_intent_is_follows_from_its_symbol_and_direction() -> None:
    long, short, coin = (
        case(world()),
        case(world(), intent(direction="SHORT")),
        case(world(), intent(asset="SOL/USD")),
    )
    assert (long.is_long, short.is_long) == (True, False)
    assert (long.asset_class, coin.asset_class) == (AssetClass.EQUITY, AssetClass.CRYPTO)


def test_the_limits_are_the_agents_and_the_symbols() -> None:
    state = world(extra="[agents.a]\nmax_position_size = 0.05\n[symbols.AAPL]\nmax_spread = 0.001")
    assert case(state, agent="a").limits.max_position_size == nano("0.05")
    assert case(state, agent="a").limits.max_spread == nano("0.001")
    assert case(state).limits.max_position_size == nano("0.1")


def test_the_wall_clock_is_ours_plus_its_offset() -> None:
    state = world()
    state.wall_offset_ns = -5 * NS_PER_S
    assert case(state).wall_ns == NOW - 5 * NS_PER_S


@pytest.mark.parametrize(
    ("ns", "text"), [(0, "0"), (400_000_000, "0.4"), (15 * NS_PER_S, "15"), (1_234_567_890, "1.235")]
)
def test_durations_are_told_in_seconds(ns: int, text: str) -> None:
    assert seconds_text(ns) == text


# --- properties --------------------------------------------------------------------------------------------

PRICES = st.decimals("0.01", 5000, places=4)
SLIPS = st.decimals(0, "0.05", places=4)


def on_tick(price: Decimal, rounding: str, tick: Decimal) -> Decimal:
    return (price / tick).to_integral_value(rounding) * tick


@given(PRICES, PRICES, SLIPS, st.sampled_from(["LONG", "SHORT"]))
def test_the_limit_follows_the_contracts_formula_and_never_rounds_for_the_trade(
    trigger: Decimal, market: Decimal, slip: Decimal, direction: str
) -> None:
    """LONG floor_tick(min(trigger, ask) x (1 + slip)), SHORT ceil_tick(max(trigger, bid) x (1 - slip))."""
    long = direction == "LONG"
    bid, ask = (market - Decimal("0.005"), market) if long else (market, market + Decimal("0.005"))
    found = terms(
        "AAPL",
        direction,
        f"{bid:f}",
        f"{ask:f}",
        (f"{trigger:f}", "148", "155"),
        max_slippage_pct=f"{slip:f}",
    )
    exact = min(trigger, ask) * (1 + slip) if long else max(trigger, bid) * (1 - slip)
    tick = Decimal("0.01") if exact >= 1 else Decimal("0.0001")
    limit = Decimal(found.limit_price) / NANO
    assert limit == on_tick(exact, ROUND_FLOOR if long else ROUND_CEILING, tick)
    assert limit <= exact if long else limit >= exact


@given(
    st.decimals("100", "160", places=9),
    st.decimals("140", "200", places=9),
    st.sampled_from(["AAPL", "SOL/USD"]),
    st.sampled_from(["LONG", "SHORT"]),
)
def test_stop_and_target_are_rounded_towards_the_entry(
    low: Decimal, high: Decimal, symbol: str, direction: str
) -> None:
    long = direction == "LONG"
    stop, target = (low, high) if long else (high, low)
    found = terms(symbol, direction, "149.98", "150", ("150", f"{stop:f}", f"{target:f}"))
    tick = Decimal("0.01") if symbol == "AAPL" else Decimal("0.001")
    rounded_stop, rounded_target = Decimal(found.stop_loss) / NANO, Decimal(found.take_profit) / NANO
    assert rounded_stop == on_tick(stop, ROUND_CEILING if long else ROUND_FLOOR, tick)
    assert rounded_target == on_tick(target, ROUND_FLOOR if long else ROUND_CEILING, tick)
    fee = Decimal("0.0025") if "/" in symbol else Decimal(0)
    limit, worst = Decimal(found.limit_price) / NANO, Decimal(found.worst_exit) / NANO
    sign = 1 if long else -1
    exact_risk = sign * (limit - worst) + fee * (limit + worst)
    exact_reward = sign * (rounded_target - limit) - fee * (limit + rounded_target)
    assert 0 <= Decimal(found.unit_risk) / NANO - exact_risk < Decimal("1e-9")
    assert 0 <= exact_reward - Decimal(found.unit_reward) / NANO < Decimal("1e-9")
