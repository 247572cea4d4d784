"""What `hands limits` shows: every key, where its value is from, what is used, and whether it can bind at all."""

from __future__ import annotations

from typing import Any

import pytest

from hands.core.engine import decide
from hands.core.events import LimitsRead
from hands.core.limit_keys import LIMIT_KEYS, SESSION_KEYS
from hands.core.limits import LimitsFile
from hands.core.risk import judge
from hands.core.units import NANO, NS_PER_S, Ns, nano
from hands.runtime.binding import Binding, binding
from hands.runtime.limits_table import limits_table
from tests.core.world import NOW, case, intent, limits, limits_text, live, world

EQUITY = 100_000 * NANO


def can(name: str, equity: int | None = EQUITY, symbol: str | None = None, **hard: Any) -> str:
    return found(name, equity, symbol, **hard).can


def found(name: str, equity: int | None = EQUITY, symbol: str | None = None, **hard: Any) -> Binding:
    file = limits(**hard)
    return binding(name, file.hard, file, equity, symbol)


# --- which can bind ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "facts", "expected"),
    [
        # with a position of 10 %, a risk of 2 % needs a stop 20 % away
        ("max_risk_per_trade", {}, "only"),
        ("max_risk_per_trade", {"symbol": "AAPL"}, "never"),
        ("max_risk_per_trade", {"max_stop_distance": "0.1"}, "never"),
        ("max_risk_per_trade", {"max_risk_per_trade": "0.005"}, "only"),
        ("max_risk_per_trade", {"max_risk_per_trade": "0"}, "always"),
        ("max_risk_per_trade", {"max_position_size": "0"}, "never"),
        ("max_position_size", {}, "yes"),
        ("max_position_size", {"max_order_notional_usd": "5000"}, "never"),
        ("max_position_size", {"max_order_notional_usd": "5000", "equity": None}, "yes"),
        ("max_position_size", {"max_gross_exposure": "0.1"}, "never"),
        ("max_position_size", {"max_risk_per_trade": "0.0001"}, "never"),
        ("max_order_notional_usd", {}, "never"),
        ("max_order_notional_usd", {"equity": 1_000_000 * NANO}, "yes"),
        ("max_order_notional_usd", {"equity": None}, "yes"),
        ("max_gross_exposure", {}, "only"),
        ("max_gross_exposure", {"max_gross_exposure": "0.2"}, "yes"),
        ("max_concurrent", {}, "yes"),
        ("max_concurrent", {"allow": '["AAPL", "SPY"]'}, "never"),
        ("max_daily_loss", {}, "yes"),
        ("max_daily_loss", {"max_daily_loss": "0.2"}, "only"),
        ("max_daily_loss", {"max_daily_loss": "1"}, "only"),
        ("max_daily_trades", {}, "yes"),
        ("max_daily_trades", {"max_daily_trades": "100000", "orders_per_minute": "1"}, "never"),
        ("min_reward_risk", {"min_reward_risk": "0"}, "never"),
        ("min_confidence", {"min_confidence": "0"}, "never"),
        ("min_stop_distance", {"min_stop_distance": "0"}, "never"),
        ("max_stop_distance", {"max_stop_distance": "1"}, "only"),
        ("price_collar", {"price_collar": "1"}, "only"),
        ("max_spread", {"max_spread": "1"}, "only"),
        ("cooldown_after_stop_s", {}, "never"),
        ("semantic_duplicate_s", {"semantic_duplicate_s": "0"}, "never"),
        ("max_arm_seconds", {"max_arm_seconds": "0"}, "always"),
        ("stop_limit_offset", {"allow": '["AAPL"]'}, "never"),
        ("capital_usd", {}, "never"),
        ("capital_usd", {"capital_usd": "50000"}, "yes"),
        ("capital_usd", {"capital_usd": "500000"}, "never"),
        ("ttl_seconds", {"ttl_seconds": "0"}, "always"),
    ],
)
def test_trap_21_a_limit_that_another_always_stops_first_is_named(
    name: str, facts: dict[str, Any], expected: str
) -> None:
    told = found(name, **facts)
    assert told.can == expected, told
    assert told.why or told.can == "yes"


def test_the_words_about_the_risk_cap_are_the_arithmetic() -> None:
    told = found("max_risk_per_trade", max_stop_distance="0.5")
    assert told.why == "beyond a stop 20 % away, fees included; nearer, max_position_size binds"


@pytest.mark.parametrize("stop", ["148", "140", "131", "125", "121", "110", "90"])
@pytest.mark.parametrize("risk", ["0.001", "0.005", "0.02", "0.04"])
def test_what_is_said_of_the_risk_cap_is_what_the_sizing_does(stop: str, risk: str) -> None:
    """Never is never, and `only` is beyond the distance that is named."""
    hard: dict[str, Any] = {"max_stop_distance": "0.3", "max_risk_per_trade": risk, "min_reward_risk": "0"}
    judgement = judge(case(world(**hard), intent(stop_loss=stop, take_profit="400")))
    if judgement.sizing is None or judgement.plan is None:
        return
    told = found("max_risk_per_trade", symbol="AAPL", **hard)
    caps = judgement.sizing.caps
    share = judgement.plan.unit_risk / judgement.plan.limit_price
    beyond = float(risk) / 0.10
    binds = caps["max_risk_per_trade"] < caps["max_position_size"]
    if told.can == "never":
        assert not binds
    elif told.can == "only" and binds:
        assert share >= beyond


# --- the table ---------------------------------------------------------------------------------------------


def rows(file: LimitsFile, *args: Any, **facts: Any) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in limits_table(file, *args, **facts)["rows"]}


def test_every_key_is_there_with_its_meaning() -> None:
    shown = rows(limits(), None, 0)
    assert set(shown) == {key.name for key in (*LIMIT_KEYS, *SESSION_KEYS)} | {"allow", "allow_short", "roll"}
    for key in LIMIT_KEYS:
        row = shown[key.name]
        assert row["meaning"] == key.meaning
        assert row["from"] == "hard_limits"
        assert row["tighter"] == {-1: "lower", 1: "higher", 0: None}[key.tighter]
    assert shown["max_position_size"]["value"] == "0.1"
    assert shown["quote_age_max_ms"]["value"] == "5000"
    assert all(row["used"] is None for row in shown.values()), "without a daemon no use is known"


EXTRA = '[agents.a]\nmax_position_size = 0.05\nmax_spread = 0.004\nsymbols = ["SPY"]\n[symbols."SPY"]\nmax_spread = 0.001\n'


def test_the_value_is_the_one_that_holds_and_says_where_it_is_from() -> None:
    shown = rows(limits(extra=EXTRA), None, 0, agent="a", symbol="SPY")
    assert (shown["max_spread"]["value"], shown["max_spread"]["from"]) == ("0.001", 'symbols."SPY"')
    assert (shown["max_position_size"]["value"], shown["max_position_size"]["from"]) == ("0.05", "agents.a")
    assert shown["price_collar"]["from"] == "hard_limits"
    assert (shown["symbols"]["value"], shown["symbols"]["from"]) == ("SPY", "agents.a")


@pytest.mark.parametrize("facts", [{"agent": "nobody"}, {"symbol": "QQQ"}])
def test_what_is_not_in_the_file_is_said(facts: dict[str, str]) -> None:
    with pytest.raises(KeyError):
        limits_table(limits(), None, 0, **facts)


def test_the_use_now_is_counted() -> None:
    state = world(extra="[agents.a]\n")
    live(state, filled="10", agent="a")
    state.day.trades = {"a": 2, "default": 1}
    state.day.realised["a"] = -nano("1000")
    state.approvals.append((NOW, "a"))
    state.agent_book("a").faults = 4
    now = Ns(NOW + 2 * NS_PER_S)
    everybody = rows(state.limits, state, now)
    assert (everybody["max_daily_trades"]["used"], everybody["max_daily_trades"]["allowed"]) == ("3", "5")
    assert everybody["max_concurrent"]["used"] == "1"
    assert everybody["max_gross_exposure"]["used"] == "6000.00 USD"
    assert everybody["max_gross_exposure"]["allowed"] == "30000.00"
    assert everybody["orders_per_minute"]["used"] == "1"
    assert everybody["max_daily_loss"]["used"].startswith("1")
    assert everybody["account_age_max_ms"]["used"] == "2000"
    assert rows(state.limits, state, now, agent="a")["max_daily_trades"]["used"] == "2"
    assert rows(state.limits, state, now, agent="a")["rejections_latch"]["used"] == "4"
    assert rows(state.limits, state, now, agent="default")["max_concurrent"]["used"] == "0"
    market = rows(state.limits, state, now, symbol="AAPL")
    assert market["quote_age_max_ms"]["used"] == "2000"
    assert float(market["max_spread"]["used"]) == pytest.approx(0.02 / 149.99, rel=1e-4)


def test_a_file_that_was_not_taken_up_is_shown_with_what_speaks_against_it() -> None:
    state = world()
    assert limits_table(state.limits, state, NOW)["refused"] is None
    decide(state, LimitsRead(ts_ns=NOW, text=limits_text(max_daily_trades="6")))
    refused = limits_table(state.limits, state, NOW)["refused"]
    assert refused["problems"] == ["hard_limits.max_daily_trades: 5 -> 6 (looser: takes a restart)"]
    assert refused["since"].startswith("2026-01-05T15:00:00")
