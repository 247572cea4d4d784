"""The nearest admissible intent: what is shown passes, what could be shown is shown, and nothing is nearer."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from hands.core.intents import Intent, read_document
from hands.core.leeway import Leeway
from hands.core.nearest import nearest
from hands.core.risk import judge
from hands.core.state import State
from hands.core.units import NANO, Price, decimal_text, nano
from hands.core.venue_rules import price_tick
from hands.core.vocab import Code
from tests.core.world import account, case, document, encoded, halt, intent, live, verdict, world
from tests.core.world import asset as venue_asset

SOAK = bool(os.environ.get("HANDS_SOAK"))
PRICES = ("trigger_price", "stop_loss", "take_profit")


def suggested(state: State, asked: Intent, **facts: Any) -> dict[str, Any] | None:
    judged = case(state, asked, **facts)
    return nearest(judged, judge(judged))


# --- by hand: AAPL at 149.98/150.00, limit 150.15 from a trigger of 150 ----------------------------------------


@pytest.mark.parametrize(
    ("changes", "code", "nearest_admissible"),
    [
        ({"stop_loss": "149.99"}, Code.BRACKET_GEOMETRY, {"stop_loss": 149.97}),
        ({"stop_loss": "151"}, Code.BRACKET_GEOMETRY, {"stop_loss": 149.97}),
        ({"take_profit": "149.5"}, Code.BRACKET_GEOMETRY, {"take_profit": 152.3}),
        ({"stop_loss": "100", "take_profit": "260"}, Code.STOP_TOO_FAR, {"stop_loss": 120.12}),
        ({"take_profit": "151"}, Code.REWARD_RISK_TOO_LOW, {"stop_loss": 149.3}),
        ({"take_profit": "150.16", "stop_loss": "149"}, Code.REWARD_RISK_TOO_LOW, {"take_profit": 151.3}),
        ({"trigger_price": "149"}, Code.SLIPPAGE, {"trigger_price": 149.86}),
        ({"trigger_price": "153", "take_profit": "160"}, Code.PRICE_COLLAR, {"trigger_price": 152.98}),
        ({"qty": "0.5"}, Code.SIZE_TOO_SMALL, {"qty": 1}),
        ({"ttl_seconds": "60"}, Code.TTL_TOO_LONG, {"ttl_seconds": 15}),
        ({"entry": "touch", "arm_seconds": "9999"}, Code.TTL_TOO_LONG, {"arm_seconds": 3600}),
        (
            {"ttl_seconds": "60", "timestamp": "2026-01-05T14:59:40Z"},
            Code.TTL_TOO_LONG,
            {"ttl_seconds": 15, "timestamp": "2026-01-05T15:00:00.000000000Z"},
        ),
        (
            {"timestamp": "2026-01-05T15:00:10Z"},
            Code.FUTURE_TIMESTAMP,
            {"timestamp": "2026-01-05T15:00:00.000000000Z"},
        ),
    ],
)
def test_the_fewest_numbers_change_and_each_the_least(
    changes: dict[str, str], code: Code, nearest_admissible: dict[str, Any]
) -> None:
    state, asked = world(), intent(**changes)
    arming = asked.entry == "touch"
    assert verdict(state, asked, arming=arming).code is code
    assert suggested(state, asked, arming=arming) == nearest_admissible


def test_two_prices_move_only_where_one_is_not_enough_and_neither_far() -> None:
    state = world()
    assert suggested(state, intent(trigger_price="146.9", stop_loss="150.5")) == {
        "trigger_price": 149.86,
        "stop_loss": 149.85,
    }
    cents = intent(trigger_price="15000", stop_loss="14800", take_profit="15500")
    assert verdict(state, cents).code is Code.PRICE_COLLAR
    assert suggested(state, cents) is None


def test_a_document_that_contradicts_its_direction_is_not_turned_round() -> None:
    asked = intent(stop_loss="152", take_profit="145")
    assert verdict(world(), asked).code is Code.BRACKET_GEOMETRY
    assert suggested(world(), asked) is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"confidence": "0.1"}, Code.CONFIDENCE_TOO_LOW),
        ({"asset": "QQQ"}, Code.SYMBOL_NOT_ALLOWED),
        ({"direction": "SHORT", "stop_loss": "152", "take_profit": "145"}, Code.SHORT_NOT_ALLOWED),
        ({"timestamp": "2026-01-05T14:59:00Z"}, Code.EXPIRED),
        ({"trailing_stop_pct": "0.5"}, Code.STOP_TOO_FAR),
    ],
)
def test_what_no_number_should_cure_gets_no_suggestion(changes: dict[str, str], code: Code) -> None:
    asked = intent(**changes)
    assert verdict(world(), asked).code is code
    assert suggested(world(), asked) is None


def test_a_cure_that_runs_into_the_next_denial_is_none() -> None:
    asked = intent(stop_loss="100", take_profit="260")
    assert suggested(world(), asked) is not None
    busy = world()
    busy.foreign["AAPL"] = "a holding that is not ours"
    assert suggested(busy, asked) is None
    assert suggested(world(max_daily_trades="0"), asked) is None
    assert suggested(world(), intent(stop_loss="100", take_profit="260", confidence="0.1")) is None
    assert suggested(halt(world()), asked) is None


def test_a_stop_closer_in_fits_what_the_day_may_still_lose() -> None:
    state = world(max_daily_loss="0.000975")  # 97.50 USD
    live(state, 900, "SPY", qty="12", filled="12")  # 8 a share at risk
    assert verdict(state).code is Code.DAILY_LOSS
    found = suggested(state, intent())
    assert found is not None
    assert list(found) == ["stop_loss"]
    assert 148 < float(found["stop_loss"]) < 149.97


def test_a_touch_that_is_denied_as_it_fires_must_pass_when_armed_and_when_fired() -> None:
    state = world()
    asked = intent(entry="touch", trigger_price="149", timestamp="2026-01-05T14:59:00Z", arm_seconds="600")
    judged = case(state, asked, received_ns=state.now_ns, arming=False, new=False)
    judged.deadline_ns = state.now_ns + asked.ttl_ns
    judgement = judge(judged)
    assert judgement.code is Code.SLIPPAGE
    found = nearest(judged, judgement)
    assert found == {"trigger_price": 149.86, "timestamp": "2026-01-05T15:00:00.000000000Z"}


def test_a_touch_that_would_not_be_armed_again_gets_no_suggestion() -> None:
    """Fired far below its trigger the entry would pass with qty 1; armed, its reward to risk is too low."""
    state = world()
    asked = intent(entry="touch", trigger_price="152", qty="0.5")
    judged = case(state, asked, arming=False, new=False)
    judgement = judge(judged)
    assert judgement.code is Code.SIZE_TOO_SMALL
    assert verdict(state, intent(trigger_price="152", qty="1")).code is Code.OK
    assert nearest(judged, judgement) is None


@pytest.mark.parametrize(
    ("facts", "changes", "code"),
    [
        ({}, {"take_profit": "157", "stop_loss": "140"}, Code.REWARD_RISK_TOO_LOW),
        ({"max_risk_per_trade": "0.000003"}, {}, Code.SIZE_TOO_SMALL),
        ({"max_daily_loss": "0.000003"}, {}, Code.DAILY_LOSS),
    ],
)
def test_a_coins_stop_moves_no_further_than_fees_and_the_smallest_order_make_it(
    facts: dict[str, str], changes: dict[str, str], code: Code
) -> None:
    state = world(**facts)
    assert verdict(state, intent(1, "SOL/USD", **changes)).code is code
    found = suggested(state, intent(1, "SOL/USD", **changes))
    assert found is not None
    assert list(found) == ["stop_loss"]
    stop = nano(repr(found["stop_loss"]))
    for step, expected in ((0, Code.OK), (-NANO // 1000, code)):
        moved = intent(1, "SOL/USD", **changes | {"stop_loss": decimal_text(stop + step)})
        assert verdict(state, moved).code is expected


def test_a_coins_stop_moves_closer_where_the_smallest_order_costs_too_much() -> None:
    """The further away its stop, the more of a coin is needed to be sold there: 12.50 USD are enough for a closer one."""
    state = world(max_order_notional_usd="12.5")
    wide = {"stop_loss": "122", "take_profit": "200"}
    assert verdict(state, intent(1, "SOL/USD", **wide)).code is Code.ORDER_NOTIONAL
    found = suggested(state, intent(1, "SOL/USD", **wide))
    assert found is not None
    assert list(found) == ["stop_loss"]
    assert (
        verdict(state, intent(1, "SOL/USD", **wide | {"stop_loss": str(found["stop_loss"])})).code is Code.OK
    )


def test_trigger_and_stop_of_a_coin_move_although_the_smallest_order_with_the_old_stop_is_too_dear() -> None:
    state = world()
    state.assets["SOL/USD"] = venue_asset("SOL/USD")
    asked = intent(1, "SOL/USD", trigger_price="146.9", stop_loss="0.05")
    assert verdict(state, asked).denial is not None
    moved = Leeway(case(state, asked)).trigger(None, asked.take_profit)
    assert not moved.is_empty


# --- over random cases -----------------------------------------------------------------------------------------

_WORLDS: list[dict[str, Any]] = [
    {},
    {"allow_short": "true"},
    {"min_reward_risk": "3.0", "max_slippage_pct": "0", "min_stop_distance": "0"},
    {"min_reward_risk": "0", "max_stop_distance": "1", "price_collar": "0.2"},
    {"account": account(equity="1400"), "day_equity": "1400", "max_gross_exposure": "10", "max_position_size": "0.107"},
    {"account": account(equity="900"), "day_equity": "900", "max_position_size": "1", "max_gross_exposure": "1",
     "max_risk_per_trade": "0.0015"},
    {"max_order_notional_usd": "150"},
    {"max_daily_loss": "0.00001"},
    {"quotes": {"AAPL": ("0.9989", "0.9997"), "SOL/USD": ("0.00002999", "0.00003")}, "allow_short": "true"},
]  # fmt: skip


def _around(middle: str) -> st.SearchStrategy[str]:
    """Prices about `middle`: mostly near it, some far off."""
    centre = nano(middle)
    near = st.integers(-400, 400).map(lambda k: centre + k * centre // 20_000)
    far = st.integers(-30, 60).map(lambda k: centre + k * centre // 100)
    return st.one_of(near, near, far).map(lambda price: decimal_text(max(1, price)))


@st.composite
def _cases(draw: st.DrawFn) -> tuple[State, Intent]:
    facts = draw(st.sampled_from(_WORLDS))
    state = world(**facts)
    if "quotes" in facts:
        state.assets["SOL/USD"] = venue_asset("SOL/USD", price_increment=Price(10))
    asset = draw(st.sampled_from(["AAPL", "SOL/USD"]))
    short = facts.get("allow_short") == "true" and asset == "AAPL" and draw(st.booleans())
    quotes = facts.get("quotes", {}).get(asset, ("149.98", "150.00"))
    middle = quotes[1]
    risk, reward = draw(st.integers(-20, 300)), draw(st.integers(-20, 600))
    away = -1 if short else 1

    def off(permille: int) -> str:
        return decimal_text(max(1, nano(middle) * (1000 + permille) // 1000))

    members: dict[str, str] = {
        "trigger_price": draw(_around(middle)),
        "stop_loss": draw(st.one_of(st.just(off(-away * risk)), _around(middle))),
        "take_profit": draw(st.one_of(st.just(off(away * reward)), _around(middle))),
    }
    if draw(st.integers(0, 4)) == 0:
        members["qty"] = draw(st.sampled_from(["0.001", "0.5", "1", "3"]))
    if draw(st.integers(0, 4)) == 0:
        members["ttl_seconds"] = draw(st.sampled_from(["15.5", "60"]))
    if draw(st.integers(0, 4)) == 0:
        members |= {"entry": "touch"}
    return state, intent(1, asset, "SHORT" if short else "LONG", **members)


def _document_of(asked: Intent, changes: dict[str, Any]) -> bytes:
    """Return the denied document with the suggestion put in, as an agent would write it."""
    members: dict[str, Any] = {
        "intent_id": asked.intent_id,
        "asset": asked.asset,
        "direction": str(asked.direction),
        "confidence": 0.8,
        "strategy_ref": "test",
        "timestamp": "2026-01-05T15:00:00Z",
        "entry": asked.entry,
    }
    numbers = {
        "trigger_price": asked.trigger_price,
        "stop_loss": asked.stop_loss,
        "take_profit": asked.take_profit,
        "ttl_seconds": asked.ttl_ns,
        "qty": asked.qty,
    }
    members |= {name: float(decimal_text(value)) for name, value in numbers.items() if value is not None}
    return json.dumps(members | changes).encode()


@settings(max_examples=20_000 if SOAK else 100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_cases())
def test_what_is_suggested_passes_and_what_one_number_cures_is_suggested(found: tuple[State, Intent]) -> None:
    state, asked = found
    arming = asked.entry == "touch"
    judged = case(state, asked, arming=arming)
    judgement = judge(judged)
    assume(judgement.denial is not None)
    suggestion = nearest(judged, judgement)
    cured = _brute_force(state, asked, arming=arming)
    if suggestion is None:
        assert cured == {}, f"{judgement.code}: the grid finds {cured}"
        return
    again = read_document(_document_of(asked, suggestion))
    assert isinstance(again, Intent), again
    assert verdict(state, again, arming=arming).denial is None
    moved = [name for name in PRICES if name in suggestion]
    assert len(moved) == 1 or not cured or not moved, f"{suggestion}, and one was enough: {cured}"
    if len(moved) == 1 and len(suggestion) == 1:
        [name] = moved
        first = next(iter(cured), name)
        assert PRICES_IN_ORDER.index(name) <= PRICES_IN_ORDER.index(first), f"{suggestion} before {cured}"
        if name in cured:
            step = abs(getattr(again, name) - getattr(asked, name))
            assert step <= cured[name], f"{suggestion}, nearer by {cured[name] - step}"


PRICES_IN_ORDER = ("stop_loss", "take_profit", "trigger_price")


def _brute_force(state: State, asked: Intent, *, arming: bool) -> dict[str, int]:
    """Return the prices that alone, moved to some point of a grid, cure the document; with the shortest way there."""
    cured: dict[str, int] = {}
    if asked.ttl_ns > 15 * NANO or asked.qty is not None:
        return cured  # more than one number is at fault, or may be
    index = state.market.index[asked.asset]
    quote = state.market.quote(index)
    assert quote is not None
    assert quote.ask is not None
    asset = state.assets[asked.asset]

    def tick(price: int) -> int:
        return price_tick(asset.asset_class, price, asset.price_increment)

    fine = [quote.ask + k * tick(quote.ask) for k in range(-24, 25)]
    coarse = [quote.ask * (1000 + k) // 1000 for k in range(-215, 320, 8)]
    for name in PRICES_IN_ORDER:
        for price in {each - each % tick(each) for each in (*fine, *coarse)}:
            if price > 0 and _passes(state, asked, name, price, arming=arming):
                way = abs(price - getattr(asked, name))
                cured[name] = min(way, cured.get(name, way))
    return cured


def _passes(state: State, asked: Intent, name: str, price: int, *, arming: bool) -> bool:
    members = document(1, asked.asset, str(asked.direction), entry=asked.entry)
    for each in PRICES:
        members[each] = type(members[each])(decimal_text(getattr(asked, each)))
    members[name] = type(members[name])(decimal_text(price))
    moved = read_document(encoded(members))
    return isinstance(moved, Intent) and verdict(state, moved, arming=arming).denial is None
