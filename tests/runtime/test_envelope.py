"""The envelope: what it says is inside passes, what is just outside is denied for the reason it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hands.core.state import State
from hands.core.units import Price, decimal_text, nano
from hands.core.venue_rules import price_tick
from hands.core.vocab import TradingState
from hands.runtime.envelope import envelope
from hands.runtime.operator_desk import OperatorDesk
from tests.core.world import NOW, account, asset, frozen_bytes, halt, intent, live, session, verdict, world

WORLDS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "shorts": {"allow_short": "true"},
    "strict": {"min_reward_risk": "3.0", "max_slippage_pct": "0", "min_stop_distance": "0.03", "allow_short": "true"},
    "loose": {"min_reward_risk": "0", "max_stop_distance": "0.9", "price_collar": "0.2", "min_stop_distance": "0"},
    "little risk": {"max_risk_per_trade": "0.00002", "allow_short": "true"},
    "little left today": {"max_daily_loss": "0.000035"},
    "coins: a dear one": {"quotes": {"SOL/USD": ("59977.79", "59996.76")}},
    "coins: small orders": {"max_order_notional_usd": "12.5"},
    "coins: little lent": {"account": account(equity="1000", non_marginable_buying_power="12.5")},
    "pennies": {"quotes": {"AAPL": ("0.9189", "0.9197")}, "allow_short": "true"},
}  # fmt: skip


def priced(state: State, symbol: str, trigger: int | None = None, stop: int | None = None) -> dict[str, Any]:
    return envelope(state, symbol, "default", state.now_ns, trigger=trigger, stop=stop)["directions"]


def tick(state: State, symbol: str, price: int) -> int:
    found = state.assets[symbol]
    return price_tick(found.asset_class, price, found.price_increment)


def code(state: State, symbol: str, way: str, trigger: int, stop: int, target: int, **more: str) -> str:
    prices = {"trigger_price": trigger, "stop_loss": stop, "take_profit": target}
    texts = {name: decimal_text(price) for name, price in prices.items()}
    return str(verdict(state, intent(1, symbol, way, **texts, **more)).code)


def end(span: dict[str, Any], name: str) -> tuple[int, str] | None:
    return None if span[name] is None else (nano(span[name]["price"]), span[name]["beyond"])


def target_for(row: dict[str, Any], way: str) -> int:
    """Return the nearest target that goes with a stop."""
    found = end(row["take_profit"], "min" if way == "LONG" else "max")
    assert found is not None
    return found[0]


CASES = [
    (name, symbol, way)
    for name, facts in WORLDS.items()
    for symbol in ("AAPL", "SOL/USD")
    for way in ("LONG", "SHORT")
    if way == "LONG" or ("allow_short" in facts and symbol == "AAPL")
    if symbol == "AAPL" or not name.startswith("little")  # no order of a coin is small enough there
    if symbol == "SOL/USD" or not name.startswith("coins")
]


@pytest.mark.parametrize(("name", "symbol", "way"), CASES)
def test_inside_passes_and_just_outside_is_what_it_says(name: str, symbol: str, way: str) -> None:
    state = world(**WORLDS[name])
    if name == "pennies":
        state.assets["SOL/USD"] = asset("SOL/USD", price_increment=Price(nano("0.01")))
    here = priced(state, symbol)[way]
    assert here["admissible"], here["blocks"]
    triggers = [end(here["trigger_price"], side) for side in ("min", "max")]
    assert all(triggers)
    low, high = triggers[0], triggers[1]
    assert low is not None
    assert high is not None
    middle = (low[0] + high[0]) // 2
    middle -= middle % tick(state, symbol, middle)
    for trigger in {low[0], middle, high[0], nano(here["at"]["trigger_price"])}:
        _holds_at(state, symbol, way, trigger)
    for at, sign in ((low, -1), (high, 1)):
        outside = at[0] + sign * tick(state, symbol, at[0] - (sign < 0))
        row = priced(state, symbol, outside)[way]["with_stop"][0]
        stop, target = nano(row["stop_loss"]), target_for(row, way)
        assert code(state, symbol, way, outside, stop, target) == at[1]


def _holds_at(state: State, symbol: str, way: str, trigger: int) -> None:
    here = priced(state, symbol, trigger)[way]
    rows = here["with_stop"]
    assert rows
    for row in rows:
        stop, target = nano(row["stop_loss"]), target_for(row, way)
        assert code(state, symbol, way, trigger, stop, target) == "OK"
        _target_ends(state, symbol, way, trigger, row)
        _largest(state, symbol, way, trigger, row)
    for side, sign in (("min", -1), ("max", 1)):
        found = end(here["stop_loss"], side)
        assert found is not None
        outside = found[0] + sign * tick(state, symbol, found[0] - (sign < 0))
        if outside <= 0:
            continue
        [row] = priced(state, symbol, trigger, outside)[way]["with_stop"]
        wide = end(row["take_profit"], "min" if way == "LONG" else "max")
        assert wide is not None
        if wide[0] > 0 and not row["take_profit"]["empty"]:
            assert code(state, symbol, way, trigger, outside, wide[0]) == found[1]


def _target_ends(state: State, symbol: str, way: str, trigger: int, row: dict[str, Any]) -> None:
    found = end(row["take_profit"], "min" if way == "LONG" else "max")
    assert found is not None
    sign = -1 if way == "LONG" else 1
    outside = found[0] + sign * tick(state, symbol, found[0] - (sign < 0))
    assert code(state, symbol, way, trigger, nano(row["stop_loss"]), outside) == found[1]


def _largest(state: State, symbol: str, way: str, trigger: int, row: dict[str, Any]) -> None:
    prices = {
        "trigger_price": trigger,
        "stop_loss": nano(row["stop_loss"]),
        "take_profit": target_for(row, way),
    }
    texts = {name: decimal_text(price) for name, price in prices.items()}
    plan = verdict(state, intent(1, symbol, way, **texts)).plan
    assert plan is not None
    assert decimal_text(plan.qty) == row["size"]["qty"]


# --- what blocks ---------------------------------------------------------------------------------------------------


def blocks(state: State, way: str = "LONG", symbol: str = "AAPL") -> list[str]:
    return [block["code"] for block in priced(state, symbol)[way]["blocks"]]


def test_everything_that_blocks_is_named_at_once() -> None:
    state = halt(world(session=session(is_open=False), max_daily_trades="0"), TradingState.REDUCE_ONLY)
    state.foreign["AAPL"] = "a holding that is not ours"
    assert blocks(state) == ["REDUCE_ONLY", "SESSION_CLOSED", "SYMBOL_BUSY", "DAILY_TRADES"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (world(quotes={"AAPL": None}), ["NO_MARKET_DATA", "STALE_MARKET_DATA"]),
        (world(quotes={"AAPL": ("150.02", "150")}), ["NO_MARKET_DATA"]),
        (world(quotes={"AAPL": ("149", "151")}), ["SPREAD_TOO_WIDE"]),
        (world(allow='["SPY"]'), ["SYMBOL_NOT_ALLOWED"]),
        (world(account=account(buying_power="100")), ["BUYING_POWER"]),
        (world(max_order_notional_usd="100"), ["ORDER_NOTIONAL"]),
        (world(account=account(equity="1000"), day_equity="1000"), ["SIZE_TOO_SMALL"]),
        (world(extra='[agents.default]\ndirections = ["SHORT"]'), ["LONG_NOT_ALLOWED"]),
    ],
)
def test_what_blocks(state: State, expected: list[str]) -> None:
    assert blocks(state) == expected


def test_a_direction_that_is_barred_has_no_prices() -> None:
    for symbol in ("AAPL", "SOL/USD"):
        short = priced(world(), symbol)["SHORT"]
        assert [block["code"] for block in short["blocks"]] == ["SHORT_NOT_ALLOWED"]
        assert "stop_loss" not in short


def test_a_day_with_nothing_left_to_lose_is_blocked() -> None:
    state = world()
    state.day.realised["default"] = -nano("4000")
    assert "DAILY_LOSS" in blocks(state)


def test_a_trigger_outside_is_blocked_by_its_own_code() -> None:
    state = world()
    assert [b["code"] for b in priced(state, "AAPL", nano("149"))["LONG"]["blocks"]] == ["SLIPPAGE"]
    assert [b["code"] for b in priced(state, "AAPL", nano("160"))["LONG"]["blocks"]] == ["PRICE_COLLAR"]


def test_counters_ages_and_an_agents_own_limits() -> None:
    state = world(extra="[agents.slow]\nmax_daily_trades = 2\nttl_seconds = 5\ndaily_notional_usd = 1000")
    state.day.trades["slow"] = 1
    live(state, 900, "SPY", qty="1", filled="1", agent="slow")
    state.agent_book("slow").faults = 3
    state.now_ns = type(state.now_ns)(NOW + 1_000_000_000)
    found = envelope(state, "AAPL", "slow", state.now_ns)
    assert found["counters"]["daily_trades"] == {"observed": "1", "limit": "2"}
    assert found["counters"]["agent_budget"]["limit"] == "1000.00"
    assert found["document"]["ttl_seconds_max"] == "5"
    assert found["document"]["faults"] == 3
    assert (found["market"]["age_ms"], found["account"]["age_ms"]) == (1000.0, 1000.0)
    [row, _] = found["directions"]["LONG"]["with_stop"]
    assert (row["size"]["qty"], row["size"]["binding"]) == ("6", "daily_notional_usd")


def test_asking_changes_nothing() -> None:
    state = world()
    before = frozen_bytes(state)
    first = envelope(state, "AAPL", "default", state.now_ns)
    assert envelope(state, "AAPL", "default", state.now_ns) == first
    assert frozen_bytes(state) == before


def test_an_unknown_symbol_is_answered() -> None:
    found = envelope(world(), "NOPE", "default", int(NOW))
    assert not found["directions"]["LONG"]["admissible"]
    assert "SYMBOL_NOT_ALLOWED" in [block["code"] for block in found["directions"]["LONG"]["blocks"]]


# --- over the control socket ---------------------------------------------------------------------------------------


def desk_of(state: State) -> OperatorDesk:
    desk = OperatorDesk(
        state,
        lambda: NOW,
        intents=Path("nowhere"),
        agents={"slow": None},
        feed=lambda _event: None,
        seq=lambda: 0,
        faults=dict,
        streams=dict,
    )
    desk.is_open = True
    return desk


def test_the_desk_answers_with_the_envelope() -> None:
    state = world()
    asked = {"do": "envelope", "symbol": "AAPL", "stop": "148", "trigger": "149.99"}
    answer = desk_of(state).answer(asked)
    assert answer["ok"]
    assert answer["envelope"] == envelope(
        state, "AAPL", "default", int(NOW), trigger=nano("149.99"), stop=nano("148")
    )
    assert desk_of(state).answer({"do": "envelope", "symbol": "AAPL", "agent": "slow"})["ok"]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({}, "must be names"),
        ({"symbol": "AAPL", "agent": 5}, "must be names"),
        ({"symbol": "AAPL", "agent": "nobody"}, "there is no agent"),
        ({"symbol": "AAPL", "stop": "a"}, "stop: 'a' is not a decimal number"),
        ({"symbol": "AAPL", "trigger": "1e9999"}, "trigger: "),
        ({"symbol": "AAPL", "trigger": "-1"}, "trigger must be positive"),
        ({"symbol": "AAPL", "stop": 0}, "stop must be positive"),
    ],
)
def test_the_desk_says_what_it_cannot_read(request_: dict[str, Any], error: str) -> None:
    answer = desk_of(world()).answer({"do": "envelope"} | request_)
    assert not answer["ok"]
    assert error in answer["error"]
