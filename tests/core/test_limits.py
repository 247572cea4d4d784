"""The limits file: it refuses to be used unless every limit is there, known, in range and meant as written."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

import pytest

from hands.core.limit_keys import ACCOUNT_WIDE, LIMIT_KEYS, LimitKey
from hands.core.limits import Limits, LimitsError, LimitsFile, read_limits
from hands.core.units import NANO, NS_PER_MS, NS_PER_S, nano
from tests.core.world import SHIPPED, limits, limits_text

KEYS = [pytest.param(key, id=key.name) for key in LIMIT_KEYS]
TIGHTENABLE = [
    pytest.param(key, id=key.name) for key in LIMIT_KEYS if key.tighter and key.name not in ACCOUNT_WIDE
]
FIXED = [pytest.param(key, id=key.name) for key in LIMIT_KEYS if not key.tighter or key.name in ACCOUNT_WIDE]


def problems(text: str) -> list[str]:
    with pytest.raises(LimitsError) as caught:
        read_limits(text)
    return caught.value.problems


def only_problem(text: str) -> str:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


def stored(key: LimitKey, text: str) -> int:
    """Return what a key's number is kept as."""
    return int(Decimal(text) * key.unit.scale)


def text_of(key: LimitKey, value: int) -> str:
    """Return the number that a kept value was read from."""
    return f"{Decimal(value) / key.unit.scale:f}"


# --- the file as shipped -----------------------------------------------------------------------------------


def test_the_shipped_file_says_what_the_table_says() -> None:
    file = read_limits(SHIPPED)
    for key in LIMIT_KEYS:
        assert getattr(file.hard, key.name) == stored(key, key.shipped), key.name
    assert file.allow == ("AAPL", "SPY", "BTC/USD", "SOL/USD")
    assert file.allow_short is False
    assert (file.symbols, file.agents) == ({}, {})
    assert file.session.no_entry_last_s == 60 * NS_PER_S
    assert (file.session.no_entry_first_s, file.session.flatten_before_close_s) == (0, 0)
    assert (file.roll_time, file.roll_zone) == ("17:00", "America/New_York")
    assert len(file.sha256) == 64


def test_the_table_is_the_contracts() -> None:
    """The contract's section 5, row by row: key, shipped, range, tighter."""
    contract = """
        max_risk_per_trade 0.02 0 0.5 -1 | max_position_size 0.10 0 1 -1 | max_slippage_pct 0.001 0 0.05 -1
        ttl_seconds 15 0 3600 -1 | max_daily_trades 5 0 1e6 -1 | max_concurrent 3 0 1e4 -1 | max_daily_loss 0.04 0 1 -1
        max_drawdown 0.10 0 1 -1 | max_gross_exposure 0.30 0 10 -1 | max_order_notional_usd 25000 0 1e9 -1
        max_stop_distance 0.20 0 1 -1 | min_stop_distance 0.001 0 1 1 | min_reward_risk 1.0 0 100 1
        min_confidence 0.60 0 1 1 | price_collar 0.02 0 1 -1 | max_spread 0.005 0 1 -1
        quote_age_max_ms 5000 1 600000 -1 | account_age_max_ms 15000 1 600000 -1 | clock_skew_max_ms 2000 0 60000 -1
        orders_per_minute 60 0 1e6 -1 | semantic_duplicate_s 30 0 86400 1 | cooldown_after_stop_s 0 0 86400 1
        rejections_latch 20 1 1e6 -1 | partial_grace_ms 400 0 15000 -1 | unprotected_max_ms 2000 100 60000 -1
        max_arm_seconds 3600 0 86400 -1 | stop_limit_offset 0.01 0.0005 0.2 0 | capital_usd 0 0 1e12 0
    """
    rows = [tuple(row.split()) for row in re.split(r"\||\n", contract) if row.strip()]
    assert [(key.name, key.shipped, key.low, key.high, str(key.tighter)) for key in LIMIT_KEYS] == rows


def test_every_key_is_a_limit_and_every_limit_a_key() -> None:
    assert tuple(key.name for key in LIMIT_KEYS) == Limits.__struct_fields__


def test_units_are_kept_as_they_are_meant() -> None:
    hard = limits(
        max_risk_per_trade="0.015", ttl_seconds="1.5", quote_age_max_ms="250", max_daily_trades="7"
    ).hard
    assert hard.max_risk_per_trade == 15_000_000
    assert hard.ttl_seconds == 1_500_000_000
    assert hard.quote_age_max_ms == 250 * NS_PER_MS
    assert hard.max_daily_trades == 7
    assert limits(max_order_notional_usd="1234.56").hard.max_order_notional_usd == nano("1234.56")


def test_the_sha_is_of_the_text() -> None:
    assert read_limits(SHIPPED).sha256 != read_limits(SHIPPED + "\n# a remark").sha256


# --- what refuses to start ---------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named_with_the_line_to_paste(key: LimitKey) -> None:
    found = only_problem(limits_text(without=(key.name,)))
    assert found == f"hard_limits.{key.name} is missing; paste: {key.line}"


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "value", ['"{shipped}"', "true", "false", "[{shipped}]", "{{a = 1}}", "2026-01-05", "-1", "1e13", "999999999999999"]
)  # fmt: skip
def test_a_value_that_cannot_be_meant_is_named_with_the_line_to_paste(key: LimitKey, value: str) -> None:
    found = only_problem(limits_text(**{key.name: value.format(shipped=key.shipped)}))
    assert found.startswith(f"hard_limits.{key.name}: must be")
    assert found.endswith(f"paste: {key.line}")


@pytest.mark.parametrize("key", KEYS)
def test_the_range_is_exact(key: LimitKey) -> None:
    for bound in (key.low, key.high):
        hard = read_limits(limits_text(**{key.name: bound})).hard
        assert getattr(hard, key.name) == stored(key, bound)
    step = Decimal(1) / key.unit.scale
    for outside in (Decimal(key.low) - step, Decimal(key.high) + step):
        found = only_problem(limits_text(**{key.name: f"{outside:f}"}))
        assert f"hard_limits.{key.name}: must be" in found


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", ["nan", "+nan", "-nan", "inf", "-inf"])
def test_trap_17_a_limit_that_is_not_a_number_refuses_to_start(key: LimitKey, value: str) -> None:
    assert problems(limits_text(**{key.name: value}))


@pytest.mark.parametrize("key", [p for p in KEYS if p.values[0].unit == "count"])
def test_half_a_trade_is_no_count(key: LimitKey) -> None:
    assert "finer than can be kept" in only_problem(limits_text(**{key.name: "1.5"}))


@pytest.mark.parametrize("name", ["max_risk_per_trade", "max_slippage_pct", "min_confidence"])
def test_a_fraction_finer_than_a_billionth_is_refused(name: str) -> None:
    assert "more than nine decimals" in only_problem(limits_text(**{name: "0.0010000000001"}))


@pytest.mark.parametrize(
    ("name", "percent"),
    [
        ("max_risk_per_trade", "2.0"),
        ("max_position_size", "10"),
        ("max_slippage_pct", "0.1"),
        ("max_daily_loss", "4.0"),
        ("max_drawdown", "10"),
        ("max_gross_exposure", "30"),
        ("max_stop_distance", "20.0"),
        ("min_confidence", "60"),
        ("price_collar", "2"),
        ("max_spread", "5"),
        ("stop_limit_offset", "1.0"),
    ],
)
def test_trap_22_percent_where_a_fraction_is_meant_refuses_to_start(name: str, percent: str) -> None:
    found = only_problem(limits_text(**{name: percent}))
    assert f"hard_limits.{name}: must be in" in found
    assert "(a fraction: 0.02 is 2 %)" in found


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("", "[hard_limits] is missing"),
        ("hard_limits = 3", "[hard_limits] is missing"),
        ("[hard_limits", "not readable"),
        (SHIPPED + "\n[hard_limit]\nx = 1\n", "[hard_limit] is not a known table"),
        (SHIPPED.replace("[session]", "[sesion]"), "[session] is missing"),
        (
            SHIPPED.replace("[symbols]", "max_leverage = 2\n[symbols]"),
            "hard_limits.max_leverage is not a known key",
        ),
        (
            SHIPPED.replace("[symbols]", "Max_Drawdown = 0.5\n[symbols]"),
            "hard_limits.Max_Drawdown is not a known key",
        ),
        (SHIPPED.replace("[symbols]", "max_drawdown = 0.5\n[symbols]"), "not readable"),
        (limits_text(allow='"AAPL"'), "symbols.allow: must be a list"),
        (limits_text(allow='["AAPL", 7]'), "symbols.allow: must be a list"),
        (limits_text(allow='["aapl"]'), "symbols.allow: must be a list"),
        (limits_text(allow='["AAPL\\n"]'), "symbols.allow: must be a list"),
        (limits_text(allow='["*"]'), "symbols.allow: must be a list"),
        (limits_text(allow='["AAPL", "AAPL"]'), "stands there twice"),
        (limits_text(without=("allow",)), "symbols.allow: must be a list"),
        (limits_text(without=("allow_short",)), "paste: allow_short = false"),
        (limits_text(allow_short='"false"'), "symbols.allow_short: must be true or false"),
        (limits_text(allow_short="0"), "symbols.allow_short: must be true or false"),
        (limits_text(no_entry_last_s="-1"), "session.no_entry_last_s: must be whole seconds"),
        (limits_text(no_entry_last_s="1.5"), "session.no_entry_last_s"),
        (limits_text(no_entry_last_s="true"), "session.no_entry_last_s"),
        (limits_text(no_entry_first_s="23401"), "session.no_entry_first_s"),
        (limits_text(without=("flatten_before_close_s",)), "paste: flatten_before_close_s = 0"),
        (SHIPPED.replace("[day]", "no_entry_ever = 1\n[day]"), "session.no_entry_ever"),
        (limits_text(roll='"25:00 America/New_York"'), "day.roll"),
        (limits_text(roll='"17:00"'), "day.roll"),
        (limits_text(roll="17"), "day.roll"),
        (limits_text(without=("roll",)), 'paste: roll = "17:00 America/New_York"'),
    ],
)
def test_a_file_that_cannot_be_meant_refuses_to_start(text: str, fragment: str) -> None:
    assert any(fragment in problem for problem in problems(text)), problems(text)


@pytest.mark.parametrize("seconds", ["0", "23400"])
def test_a_sessions_rule_may_take_the_whole_session(seconds: str) -> None:
    assert limits(no_entry_first_s=seconds).session.no_entry_first_s == int(seconds) * NS_PER_S


@pytest.mark.parametrize("value", ["1e400", "1e-400", "1e999999999", "1." + "0" * 40, "1" + "0" * 4000])
def test_a_number_of_absurd_size_is_refused_without_being_computed(value: str) -> None:
    found = only_problem(limits_text(max_spread=value))
    assert found.startswith("hard_limits.max_spread: must be")
    assert len(found) < 250


@pytest.mark.parametrize(("value", "kept"), [("+0.004", "0.004"), ("0.00_4", "0.004"), ("4e-3", "0.004")])
def test_a_number_may_be_written_as_toml_allows(value: str, kept: str) -> None:
    assert limits(max_spread=value).hard.max_spread == nano(kept)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        (
            limits_text(extra="[agents.a]\nroll = 3"),
            "agents.a.roll is not a known key there: it belongs into [day]",
        ),
        (
            SHIPPED.replace("[session]", "max_drawdown = 0.05\n[session]").replace(
                "allow_short = false", "", 1
            ),
            "symbols.max_drawdown",
        ),
        (
            SHIPPED.replace("[day]", "max_spread = 0.001\n[day]"),
            "session.max_spread is not a known key there: it belongs into [hard_limits]",
        ),
        (
            SHIPPED.replace("[symbols]", "no_entry_last_s = 60\n[symbols]"),
            "hard_limits.no_entry_last_s is not a known key there: it belongs into [session]",
        ),
        (
            "max_spread = 0.1\n" + SHIPPED,
            "top.max_spread is not a known key there: it belongs into [hard_limits]",
        ),
    ],
)
def test_a_key_in_the_wrong_table_is_named_with_the_right_one(text: str, fragment: str) -> None:
    assert any(fragment in problem for problem in problems(text)), problems(text)


def test_a_byte_order_mark_in_the_text_is_no_key() -> None:
    assert "not readable" in only_problem("\ufeff" + SHIPPED)


def test_all_problems_are_told_at_once() -> None:
    text = limits_text(without=("max_drawdown", "roll"), max_spread='"wide"', allow_short="1")
    found = problems(text)
    assert len(found) == 4
    for fragment in ("max_drawdown", "max_spread", "allow_short", "day.roll"):
        assert any(fragment in problem for problem in found)


def test_an_empty_allow_list_means_nothing_at_all() -> None:
    assert limits(allow="[]").allow == ()


# --- agents and symbols: only tighter ----------------------------------------------------------------------


def looser_and_tighter(key: LimitKey) -> tuple[str, str, str]:
    """Return a middle value for a key, one step looser and one step tighter."""
    low, high = Decimal(key.low), Decimal(key.high)
    step = Decimal(1) / key.unit.scale
    middle = (Decimal(key.shipped) if Decimal(key.shipped) not in (low, high) else (low + high) / 2).quantize(
        step
    )
    return f"{middle:f}", f"{middle - key.tighter * step:f}", f"{middle + key.tighter * step:f}"


TABLES = ["[agents.momentum]", '[symbols."AAPL"]']


def in_force(file: LimitsFile, table: str) -> Limits:
    return file.effective("momentum" if "agents" in table else "default", "AAPL")


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("key", TIGHTENABLE)
def test_an_agent_or_a_symbol_may_only_be_tighter(key: LimitKey, table: str) -> None:
    middle, looser, tighter = looser_and_tighter(key)

    def text(value: str) -> str:
        return limits_text(extra=f"{table}\n{key.name} = {value}", **{key.name: middle})

    for value in (middle, tighter):
        file = read_limits(text(value))
        assert getattr(in_force(file, table), key.name) == stored(key, value)
        assert file.effective("default", "SPY") == file.hard
    where = table.strip("[]")
    bound = "at most" if key.tighter < 0 else "at least"
    assert (
        only_problem(text(looser))
        == f"{where}.{key.name} may only be tighter: {bound} the account's, found {looser}"
    )


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("key", FIXED)
def test_what_belongs_to_the_account_cannot_differ(key: LimitKey, table: str) -> None:
    found = only_problem(limits_text(extra=f"{table}\n{key.name} = {key.shipped}"))
    assert f"{key.name} is one value for the whole account" in found


@pytest.mark.parametrize("table", TABLES)
def test_an_override_is_read_as_strictly_as_the_limit_itself(table: str) -> None:
    where = table.strip("[]")
    for line, fragment in (
        ("max_leverage = 1", f"{where}.max_leverage is not a known key"),
        ('max_spread = "0.001"', f"{where}.max_spread: must be a number"),
        ("max_spread = true", f"{where}.max_spread: must be a number"),
        ("max_spread = -0.001", f"{where}.max_spread: must be in"),
        ("max_daily_trades = 1.5", f"{where}.max_daily_trades: 1.5 is finer"),
    ):
        assert fragment in only_problem(limits_text(extra=f"{table}\n{line}"))


def test_the_tightest_of_account_agent_and_symbol_counts() -> None:
    file = limits(
        extra='[agents.a]\nmax_position_size = 0.05\nmin_confidence = 0.9\n[symbols."SPY"]\n'
        "max_position_size = 0.08\nmin_confidence = 0.95\nmax_spread = 0.001"
    )
    both = file.effective("a", "SPY")
    assert (both.max_position_size, both.min_confidence) == (nano("0.05"), nano("0.95"))
    assert both.max_spread == nano("0.001")
    assert file.effective("a", "AAPL").min_confidence == nano("0.9")
    assert file.effective("default", "SPY").max_position_size == nano("0.08")
    assert file.effective("nobody", "QQQ") == file.hard


def test_trap_22_a_tighter_percent_would_be_a_looser_fraction() -> None:
    """An agent's 1 % written as 1 is not tighter than 0.02: it is refused, not clipped."""
    found = only_problem(limits_text(extra="[agents.a]\nmax_position_size = 1"))
    assert "may only be tighter" in found


@pytest.mark.parametrize(
    ("extra", "fragment"),
    [
        ("[agents.UPPER]\n", "agents"),
        ('[agents."../x"]\n', "agents"),
        ("[agents]\nmomentum = 3", "agents.momentum"),
        ("[agents.a]\nuser = 7", "agents.a.user: must be a user's name"),
        ('[symbols."MSFT"]\nmax_spread = 0.001', "symbols.MSFT"),
        ("[agents.a]\nallow_short = true", "agents.a.allow_short is not a known key"),
    ],
)
def test_agents_and_symbols_that_cannot_be_meant(extra: str, fragment: str) -> None:
    if extra.startswith("[agents]"):
        assert any(fragment in problem for problem in problems(limits_text(extra=extra)))
    else:
        assert fragment in only_problem(limits_text(extra=extra))


def test_an_agents_user_is_kept() -> None:
    file = limits(extra='[agents.a]\nuser = "brain"\n[agents.b]')
    assert (file.agents["a"].user, file.agents["b"].user) == ("brain", None)
    assert file.agents["b"].limits == file.hard


def test_numbers_go_through_their_text_and_not_through_a_float() -> None:
    hard = limits(max_risk_per_trade="0.1000000010").hard
    assert hard.max_risk_per_trade == 100_000_001
    assert (
        limits(capital_usd="999999999999.123456789").hard.capital_usd == 999_999_999_999 * NANO + 123_456_789
    )


def at_depth(frames: int, text: str) -> list[str]:
    """Read a file with so many calls more on the stack."""
    return problems(text) if frames == 0 else at_depth(frames - 1, text)


@pytest.mark.parametrize("levels", [41, 300, 476, 1200])
@pytest.mark.parametrize(
    "text",
    [
        lambda n: "x = " + "[" * n + "]" * n,
        lambda n: "x = " + "{a = " * n + "1" + "}" * n,
        lambda n: "[day" + ".a" * n + "]\n",
        lambda n: limits_text(max_spread="0.005", roll="1").replace("roll =", "roll" + ".a" * n + " ="),
    ],
)
def test_what_is_nested_too_deep_is_refused_alike_however_deep_the_stack_is(
    levels: int, text: Callable[[int], str]
) -> None:
    said = problems(text(levels))
    assert said == ["not readable: nested deeper than 40 levels"]
    assert at_depth(200, text(levels)) == said


def test_brackets_in_comments_and_strings_are_no_nesting_while_they_are_few() -> None:
    assert read_limits(limits_text() + "# :[ " * 30 + "\n").allow
