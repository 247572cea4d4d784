"""The walk through the market after a refusal: every outcome, in both directions, and the worse where a minute is open."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.hindsight import (
    DAY_NS,
    HORIZON_NS,
    MINUTE_NS,
    Gate,
    Hindsight,
    Minute,
    Refused,
    Result,
    Scene,
    look_back,
    sized_without,
)
from hands.core.units import NANO, NS_PER_S
from hands.core.vocab import Code

MIDNIGHT = 20_000 * DAY_NS
AT = MIDNIGHT + 15 * 60 * MINUTE_NS + 37 * NS_PER_S
"""Within the minute 0 of these tests."""

MIRROR = 300
"""What is 150 stays; a fall becomes a rise."""


def nano(value: float) -> int:
    return round(value * NANO)


def refused(**changes) -> Refused:
    """A LONG at 150 with its stop at 148 and its target at 154, limit 150.15, that met 149.98 / 150.00."""
    found = Refused(
        intent_id="i", at_ns=AT, check="concurrent", code="CONCURRENT", agent="default", symbol="AAPL", venue="paper",
        is_long=True, trigger=nano(150), limit=nano(150.15), stop=nano(148), target=nano(154), unit_risk=nano(2.15),
        deadline_ns=AT + 15 * NS_PER_S, ttl_ns=15 * NS_PER_S, bid=nano(149.98), ask=nano(150),
    )  # fmt: skip
    prices = {"trigger", "limit", "stop", "target", "unit_risk", "bid", "ask", "qty", "equity"}
    return msgspec.structs.replace(
        found, **{n: nano(v) if n in prices and v is not None else v for n, v in changes.items()}
    )


def market(*bars: tuple[float, float, float, float], first: int = 0) -> list[Minute]:
    """Minutes of (open, high, low, close), one after the other; the first is that of the decision."""
    start = AT - AT % MINUTE_NS + first * MINUTE_NS
    return [
        Minute(start + number * MINUTE_NS, *(nano(price) for price in bar)) for number, bar in enumerate(bars)
    ]


def mirrored(case: Refused, minutes: list[Minute]) -> tuple[Refused, list[Minute]]:
    """The same idea the other way round, in a market the other way round."""

    def flip(price: int | None) -> int | None:
        return None if price is None else nano(MIRROR) - price

    short = msgspec.structs.replace(
        case, is_long=not case.is_long, trigger=flip(case.trigger), limit=flip(case.limit), stop=flip(case.stop),
        target=flip(case.target), bid=flip(case.ask), ask=flip(case.bid),
    )  # fmt: skip
    turned = [
        Minute(m.start_ns, flip(m.open), flip(m.low), flip(m.high), flip(m.close), m.half_spread)
        for m in minutes
    ]
    return short, turned


CALM = (150, 150.1, 149.9, 150)
UP = (151, 154.2, 150.9, 154)
DOWN = (149, 149.1, 147.9, 148)
QUOTE_GONE = {"bid": None, "ask": None}

WALKS = {
    "the target": ({}, [CALM, CALM, UP], Result.TARGET, 150, 154),
    "the stop": ({}, [CALM, DOWN], Result.STOP, 150, 148),
    "both in one minute": ({}, [CALM, (150, 155, 147, 154)], Result.STOP, 150, 148),
    "a gap through the stop": ({}, [CALM, (146, 155, 145, 150)], Result.STOP, 150, 146),
    "a gap over the target": ({}, [CALM, (156, 157, 155, 156)], Result.TARGET, 150, 154),
    "the target in the minute of the entry": ({}, [(150, 155, 149.9, 154), CALM], Result.OPEN, 150, 150),
    "the stop in the minute of the entry": ({}, [(147.9, 150, 147, 150), UP], Result.STOP, 150, 148),
    "still open": ({}, [CALM, (150, 151, 149, 150.5)], Result.OPEN, 150, 150.5),
    "time": ({"max_hold_ns": 90 * NS_PER_S}, [CALM, CALM, (150, 150.6, 149.8, 150.4), UP], Result.TIME, 150, 150.4),
    "time, but the stop in its minute": ({"max_hold_ns": 90 * NS_PER_S}, [CALM, CALM, DOWN], Result.STOP, 150, 148),
    "time, and the target in its minute": ({"max_hold_ns": 90 * NS_PER_S}, [CALM, CALM, UP], Result.TIME, 150, 154),
    "time within the minute of the entry": ({"max_hold_ns": 5 * NS_PER_S}, [CALM, UP], Result.TIME, 150, 150),
    "no quote, the limit in reach": (QUOTE_GONE, [CALM, UP], Result.TARGET, 150.15, 154),
    "no quote, out of reach": (QUOTE_GONE, [(151, 151, 150.5, 151), CALM], Result.UNFILLED, None, None),
    "no quote, at the open of a later minute": (
        QUOTE_GONE | {"deadline_ns": AT + 100 * NS_PER_S},
        [(151, 151, 150.5, 151), CALM, UP], Result.TARGET, 150, 154,
    ),
    "no quote, at the limit of a later minute": (
        QUOTE_GONE | {"deadline_ns": AT + 100 * NS_PER_S},
        [(151, 151, 150.5, 151), (151, 151, 150, 151), UP], Result.TARGET, 150.15, 154,
    ),
    "the quote beyond the limit": ({"ask": 150.2}, [(150.3, 150.4, 150.2, 150.3), CALM], Result.UNFILLED, None, None),
    "refused for want of a market": (
        {"code": "STALE_MARKET_DATA"}, [(151, 151, 150.5, 151), CALM], Result.UNFILLED, None, None,
    ),
    "a deadline that is over": ({"deadline_ns": AT}, [CALM, UP], Result.UNFILLED, None, None),
}  # fmt: skip


@pytest.mark.parametrize("turned", [False, True], ids=["long", "short"])
@pytest.mark.parametrize("walk", WALKS)
def test_how_it_would_have_ended(walk: str, turned: bool):
    changes, bars, result, entry, exit_ = WALKS[walk]
    case, minutes = refused(**changes), market(*bars)
    if turned:
        case, minutes = mirrored(case, minutes)
    found = look_back(case, minutes)
    mirror = (lambda price: nano(MIRROR - price)) if turned else nano
    wanted = (None, None) if entry is None else (mirror(entry), mirror(exit_))
    assert (found.result, found.entry, found.exit) == (result, *wanted)
    if entry is not None:
        assert found.r == pytest.approx((exit_ - entry) / 2.15 * NANO, abs=1)


TOUCH = QUOTE_GONE | {"trigger": 149, "limit": 149.1, "stop": 147, "target": 153}
ABOVE = (150, 150.2, 149.6, 150)
TOUCHES = {
    "from above": (TOUCH, [ABOVE, (149.5, 149.6, 148.9, 149.2), UP], Result.TARGET, 149),
    "gapped through": (TOUCH, [ABOVE, (148.5, 148.9, 148.4, 148.8), UP], Result.TARGET, 148.5),
    "from below": (
        TOUCH | {"trigger": 151, "limit": 151.1, "stop": 149},
        [ABOVE, (150, 151.2, 149.9, 151), UP],
        Result.TARGET,
        151,
    ),
    "from below, beyond the limit": (
        TOUCH | {"trigger": 151, "limit": 151.1, "stop": 149},
        [ABOVE, (152, 152.2, 151.9, 152), UP],
        Result.UNFILLED,
        None,
    ),
    "never": (TOUCH, [ABOVE, ABOVE, ABOVE, ABOVE, ABOVE], Result.UNFILLED, None),
    "nobody knows": (TOUCH, [ABOVE, ABOVE], Result.UNKNOWN, None),
}


@pytest.mark.parametrize("touch", TOUCHES)
def test_a_touch_waits_for_its_price(touch: str):
    changes, bars, result, entry = TOUCHES[touch]
    found = look_back(refused(**changes, arming_until_ns=AT + 200 * NS_PER_S), market(*bars))
    assert (found.result, found.entry) == (result, None if entry is None else nano(entry))


def test_of_a_touch_the_quote_says_from_which_side_it_comes():
    case = refused(trigger=150.05, arming_until_ns=AT + 200 * NS_PER_S)
    assert look_back(
        case, market((150.2, 150.3, 150.1, 150.2), (150.2, 150.3, 150.1, 150.2), UP)
    ).entry == nano(150.05)


@pytest.mark.parametrize(
    ("why", "minutes"),
    [
        ("nothing is recorded", []),
        ("only what was before", market(CALM, CALM, first=-9)),
        ("only another day", market(CALM, CALM, first=24 * 60)),
        ("it ends before the deadline", market((151, 151, 150.5, 151))),
    ],
)
def test_without_a_market_nothing_is_known(why: str, minutes: list[Minute]):
    del why
    case = refused(**QUOTE_GONE, deadline_ns=AT + 100 * NS_PER_S)
    assert look_back(case, minutes) == Hindsight(result=Result.UNKNOWN)


@pytest.mark.parametrize(
    "changes", [{"stop": 151}, {"target": 149}, {"unit_risk": 0}, {"limit": 160}, {"stop": 0}]
)
def test_prices_that_make_no_order_are_told_apart(changes: dict):
    assert look_back(refused(**changes), market(CALM, UP)).result is Result.IMPOSSIBLE


def test_nobody_is_followed_for_ever():
    minutes = market(CALM, CALM) + market(UP, first=HORIZON_NS // MINUTE_NS + 1)
    assert look_back(refused(), minutes).result is Result.OPEN
    minutes = market(CALM, CALM) + market(UP, first=HORIZON_NS // MINUTE_NS - 1)
    assert look_back(refused(), minutes).result is Result.TARGET


def test_fees_both_ways_and_a_spread_are_paid():
    case = refused(symbol="SOL/USD", fee_rate=2_500_000, unit_risk=2.895)
    found = look_back(case, market(CALM, UP))
    assert found.r == pytest.approx((4 - 304 * 0.0025) / 2.895 * NANO, rel=1e-6)
    wide = [msgspec.structs.replace(minute, half_spread=nano(0.3)) for minute in market(CALM, UP)]
    assert look_back(refused(), wide).result is Result.OPEN  # 154.2 less 0.3 is no 154
    wide = [msgspec.structs.replace(minute, half_spread=nano(0.2)) for minute in market(CALM, UP)]
    assert look_back(refused(**QUOTE_GONE), wide).entry == nano(150.15)
    assert look_back(refused(**QUOTE_GONE), wide).result is Result.TARGET


@pytest.mark.parametrize(
    ("changes", "usd", "sized"),
    [
        ({"qty": 66, "equity": 100_000}, 4 * 66, "caps"),
        ({"equity": 100_000}, 1_000 * 4 / 2.15, "one_percent"),
        ({}, None, None),
    ],
)
def test_dollars_are_those_of_the_size_or_of_one_percent_or_unknown(changes: dict, usd, sized):
    found = look_back(refused(**changes), market(CALM, UP))
    assert found.sized == sized
    assert found.usd == (None if usd is None else pytest.approx(usd * NANO, rel=1e-6))


def test_the_cap_of_the_check_that_refused_does_not_count():
    caps = {"max_gross_exposure": 0, "max_position_size": 66 * NANO, "qty": 40 * NANO}
    assert sized_without("gross_exposure", "max_gross_exposure", caps) == 40 * NANO
    assert sized_without("concurrent", "max_gross_exposure", caps) is None
    assert sized_without("order_size", "qty", {"qty": 0, "max_position_size": 66 * NANO}) == 66 * NANO
    assert sized_without("order_size", "qty", {"qty": 0}) is None


@pytest.mark.parametrize(
    ("scene", "met"),
    [
        (Scene(open=True, quote_age_ms=5000.0), True),
        (Scene(open=True, quote_age_ms=5000.1), False),
        (Scene(open=False, quote_age_ms=1.0), False),
        (Scene(open=True), False),
    ],
)
def test_a_quote_is_met_only_fresh_and_in_an_open_market(scene: Scene, met: bool):
    assert scene.can_trade is met


def test_a_gate_counts_what_it_knows_and_what_it_does_not():
    gate = Gate(check="concurrent", code=str(Code.CONCURRENT))
    for result, r, usd, sized in (
        (Result.TARGET, 2 * NANO, 20 * NANO, "caps"),
        (Result.STOP, -NANO, -10 * NANO, "one_percent"),
        (Result.OPEN, NANO // 2, None, None),
        (Result.UNFILLED, None, None, None),
        (Result.UNKNOWN, None, None, None),
        (Result.IMPOSSIBLE, None, None, None),
    ):
        gate.count(Hindsight(result=result, r=r, usd=usd, sized=sized))
    assert (gate.fired, gate.valued, gate.unknown, gate.impossible) == (6, 4, 1, 1)
    assert (gate.won, gate.lost, gate.unfilled, gate.still_open) == (2, 1, 1, 1)
    assert (gate.r, gate.usd, gate.dollars, gate.by_caps) == (NANO * 3 // 2, 10 * NANO, 2, 1)


PRICES = st.tuples(*[st.integers(145, 156)] * 4).map(lambda p: (p[0], max(p), min(p), p[3]))


@given(st.lists(PRICES, min_size=1, max_size=12), st.booleans(), st.integers(0, 400))
def test_the_worse_is_taken_and_both_directions_are_alike(bars, with_quote: bool, hold_s: int):
    """Never better than the target, and never a win where the stop was in reach before or with the target."""
    case = refused(max_hold_ns=hold_s * NS_PER_S or None, **({} if with_quote else QUOTE_GONE))
    minutes = market(*bars)
    found = look_back(case, minutes)
    assert look_back(*mirrored(case, minutes)).r == found.r
    if found.entry is not None:
        assert found.entry <= case.limit
        assert found.exit <= max(case.target, *(minute.high for minute in minutes))
    if found.result is Result.TARGET:
        assert all(minute.low > case.stop for minute in minutes if minute.end_ns <= found.ended_ns)
        assert found.exit == case.target
