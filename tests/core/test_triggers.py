"""Triggers: fired from either side and at the exact level, once, in order of arming, and by nothing else."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from hands.core.market import Market, RowFlag, RowKind, TriggerDirection, TriggerOn, TriggerView, new_rows

ABOVE, BELOW = TriggerDirection.ABOVE, TriggerDirection.BELOW
ON = TriggerOn
S = 10**9


def trade(price: float, *, sym: int = 0, eligible: bool = True, at: int = 0) -> np.ndarray:
    rows = new_rows(1)
    rows["sym"], rows["kind"], rows["venue_ns"] = sym, RowKind.TRADE, at
    rows["flags"] = RowFlag.ELIGIBLE if eligible else 0
    rows["price"], rows["size"] = price, 1
    return rows


def quote(bid: float, ask: float, *, sym: int = 0, at: int = 0) -> np.ndarray:
    rows = new_rows(1)
    rows["sym"], rows["kind"], rows["venue_ns"] = sym, RowKind.QUOTE, at
    rows["price"], rows["price2"] = bid, ask
    return rows


def fires(market: Market, *rows: np.ndarray) -> list[list[int]]:
    """Return, for each row, the slots it fired."""
    fired = []
    for row in rows:
        assert market.consume(row, 0, 1) == 1
        fired.append(market.fired[: market.fired_count].tolist())
    return fired


# (watched, direction, level, rows, which of them fires)
TABLE = {
    "a trade rises to the level": (ON.TRADE, ABOVE, 10, [trade(9.99), trade(10)], 1),
    "a trade jumps through the level": (ON.TRADE, ABOVE, 10, [trade(9), trade(12)], 1),
    "a trade falls to the level": (ON.TRADE, BELOW, 10, [trade(10.01), trade(10)], 1),
    "a trade falls through the level": (ON.TRADE, BELOW, 10, [trade(12), trade(9)], 1),
    "already through at the first row": (ON.TRADE, ABOVE, 10, [trade(11)], 0),
    "an ineligible trade does not fire": (ON.TRADE, ABOVE, 10, [trade(11, eligible=False), trade(10)], 1),
    "a trade stays away": (ON.TRADE, ABOVE, 10, [trade(9.99), quote(11, 12)], None),
    "another symbol's trade": (ON.TRADE, ABOVE, 10, [trade(11, sym=1)], None),
    "a trade of the past does not fire": (
        ON.TRADE,
        ABOVE,
        10,
        [trade(9, at=5 * S), trade(11, at=3 * S)],
        None,
    ),
    "a trade a jitter late does fire": (ON.TRADE, ABOVE, 10, [trade(9, at=5 * S), trade(11, at=4 * S)], 1),
    "the bid rises to the level": (ON.BID, ABOVE, 10, [quote(9.99, 10), trade(12), quote(10, 11)], 2),
    "the bid falls to the level": (ON.BID, BELOW, 10, [quote(10.01, 11), quote(10, 11)], 1),
    "the ask rises to the level": (ON.ASK, ABOVE, 10, [quote(9.98, 9.99), quote(9.98, 10)], 1),
    "the ask falls to the level": (ON.ASK, BELOW, 10, [quote(9, 10.01), trade(8), quote(9, 10)], 2),
    "the middle rises to the level": (ON.MID, ABOVE, 149.99, [quote(149.9, 150), quote(149.98, 150)], 1),
    "the middle falls to the level": (ON.MID, BELOW, 149.99, [quote(149.99, 150.01), quote(149.98, 150)], 1),
    "the middle in floats would be 10.030000000000001": (ON.MID, BELOW, 10.03, [quote(10, 10.06)], 0),
    "a missing bid is not a low bid": (ON.BID | ON.MID, BELOW, 10, [quote(0, 9), quote(math.nan, 9)], None),
    "a missing ask is not a low ask": (ON.ASK | ON.MID, BELOW, 10, [quote(9, 0), quote(9, -1)], None),
    "a missing side leaves the other": (ON.ASK, BELOW, 10, [quote(0, 10)], 0),
    "an older quote does not fire": (ON.ASK, BELOW, 10, [quote(11, 12, at=2), quote(8, 9, at=1)], None),
    "touch by trade": (ON.TRADE | ON.ASK, BELOW, 10, [quote(10, 10.1), trade(10)], 1),
    "touch by the far side": (ON.TRADE | ON.ASK, BELOW, 10, [trade(10.1), quote(9, 10)], 1),
    "the near side is not watched": (ON.TRADE | ON.ASK, BELOW, 10, [quote(8, 10.1)], None),
}


@pytest.mark.parametrize("case", TABLE)
def test_a_trigger_fires_where_the_table_says(case: str) -> None:
    on, direction, level, rows, expected = TABLE[case]
    market = Market(("X", "Y"))
    slot = market.arm(0, on, direction, level)
    fired = fires(market, *rows)
    assert fired == [[slot] if i == expected else [] for i in range(len(rows))]


def test_a_trigger_fires_once() -> None:
    market = Market(("X",))
    slot = market.arm(0, ON.TRADE, ABOVE, 10)
    assert fires(market, trade(10), trade(11), trade(9), trade(12)) == [[slot], [], [], []]
    assert not market.disarm(slot)


def test_a_disarmed_trigger_does_not_fire_and_leaves_the_others() -> None:
    market = Market(("X",))
    slots = [market.arm(0, ON.TRADE, ABOVE, level) for level in (10, 11, 12)]
    assert market.disarm(slots[0])
    assert not market.disarm(slots[0])
    assert fires(market, trade(10), trade(11), trade(12)) == [[], [slots[1]], [slots[2]]]


@pytest.mark.parametrize("gone", [0, 1, 2])
@pytest.mark.parametrize("how", ["fired", "disarmed"])
def test_a_trigger_armed_after_another_went_fires_too(gone: int, how: str) -> None:
    market = Market(("X",))
    slots = [market.arm(0, ON.TRADE, ABOVE, 10 if i == gone else 11) for i in range(3)]
    if how == "fired":
        assert fires(market, trade(10)) == [[slots[gone]]]
    else:
        assert market.disarm(slots[gone])
    kept = [slot for slot in slots if slot != slots[gone]]
    later = [market.arm(0, ON.TRADE, ABOVE, 11) for _ in range(2)]
    assert fires(market, trade(11), trade(12)) == [kept + later, []]
    last = market.arm(0, ON.TRADE, ABOVE, 11)
    assert fires(market, trade(11)) == [[last]]


def test_a_row_reports_all_it_fired_in_order_of_arming_even_in_used_slots() -> None:
    market = Market(("X",))
    first, second, third = [market.arm(0, ON.TRADE, ABOVE, level) for level in (10, 11, 10.5)]
    market.disarm(first)
    fourth = market.arm(0, ON.TRADE, ABOVE, 10)
    assert fourth == first  # the slot is used again: its number says nothing about the order
    assert fires(market, trade(12)) == [[second, third, fourth]]


def test_both_directions_on_both_sides_of_the_market() -> None:
    market = Market(("X",))
    high, low = market.arm(0, ON.TRADE, ABOVE, 11), market.arm(0, ON.TRADE, BELOW, 9)
    assert fires(market, trade(10), trade(11), trade(9)) == [[], [high], [low]]


def test_consume_stops_after_the_row_that_fires() -> None:
    market = Market(("X",))
    market.arm(0, ON.TRADE, ABOVE, 10)
    rows = np.concatenate([trade(9), trade(10), trade(11)])
    assert market.consume(rows, 0, 3) == 2
    assert market.fired_count == 1
    assert market.last_trade(0).price == 10 * 10**9
    assert market.consume(rows, 2, 3) == 3
    assert market.fired_count == 0


def test_the_table_grows_and_keeps_every_trigger() -> None:
    market = Market(("X", "Y"))
    slots = {market.arm(i % 2, ON.TRADE, ABOVE, 100 + i): 100 + i for i in range(1000)}
    assert len(slots) == 1000
    assert fires(market, trade(100)) == [[1]]
    assert fires(market, trade(2000)) == [
        [slot for slot, level in slots.items() if level % 2 == 0 and level > 100]
    ]
    assert market.fired_count == 499
    assert fires(market, trade(1099, sym=1)) == [[slot for slot, level in slots.items() if level % 2]]


def test_nearest_levels_follow_arming_firing_and_disarming() -> None:
    def nearest(market: Market) -> tuple[float, float]:
        watch = market._symbols["watch"][0]
        return watch["above"][0], watch["below"][0]

    market = Market(("X",))
    assert nearest(market) == (math.inf, -math.inf)
    far, near = market.arm(0, ON.TRADE, ABOVE, 12), market.arm(0, ON.TRADE, ABOVE, 11)
    low = market.arm(0, ON.TRADE, BELOW, 8)
    assert nearest(market) == (11, 8)
    market.disarm(far)
    assert nearest(market) == (11, 8)
    fires(market, trade(11))
    assert nearest(market) == (math.inf, 8)
    assert not market.disarm(near)
    market.disarm(low)
    assert nearest(market) == (math.inf, -math.inf)


@pytest.mark.parametrize(
    ("sym", "on", "direction", "level"),
    [
        (2, ON.TRADE, ABOVE, 10.0),
        (-1, ON.TRADE, ABOVE, 10.0),
        (0, ON(0), ABOVE, 10.0),
        (0, 16, ABOVE, 10.0),
        (0, ON.TRADE, 2, 10.0),
        (0, ON.TRADE, ABOVE, math.nan),
        (0, ON.TRADE, ABOVE, math.inf),
        (0, ON.TRADE, BELOW, 0.0),
    ],
)
def test_a_trigger_that_cannot_be_meant_is_an_error(sym: int, on: int, direction: int, level: float) -> None:
    market = Market(("X", "Y"))
    before = market.digest()
    with pytest.raises(ValueError):
        market.arm(sym, on, direction, level)
    assert market.digest() == before


@pytest.mark.parametrize("slot", [-1, 0, 1, 65, 10**6])
def test_disarming_what_is_not_armed_changes_nothing(slot: int) -> None:
    market = Market(("X",))
    before = market.digest()
    assert not market.disarm(slot)
    assert market.digest() == before


def test_what_is_armed_can_be_read() -> None:
    market = Market(("X",))
    slot = market.arm(0, ON.TRADE | ON.ASK, BELOW, 9.5)
    assert market.trigger(slot) == TriggerView(0, ON.TRADE | ON.ASK, BELOW, 9.5, None)
    market.disarm(slot)
    assert market.trigger(slot) is None
    assert market.trigger(0) is None
    assert market.trigger(10**6) is None


# --- trailing ----------------------------------------------------------------------------------------------------

# (watched, direction, distance, is it a fraction, rows before arming, rows after, which of these fires)
TRAILING = {
    "falls back from the high": (
        ON.TRADE,
        BELOW,
        1,
        False,
        [],
        [trade(10), trade(12), trade(11.01), trade(11)],
        3,
    ),
    "falls through": (ON.TRADE, BELOW, 1, False, [], [trade(10), trade(12), trade(5)], 2),
    "never falls so far": (
        ON.TRADE,
        BELOW,
        1,
        False,
        [],
        [trade(10), trade(9.01), trade(12), trade(11.5)],
        None,
    ),
    "the price at arming is the first": (ON.TRADE, BELOW, 1, False, [trade(10)], [trade(9)], 0),
    "prices before arming are not": (
        ON.TRADE,
        BELOW,
        1,
        False,
        [trade(20), trade(10)],
        [trade(9.5), trade(9)],
        1,
    ),
    "bounces from the low": (ON.TRADE, ABOVE, 1, False, [], [trade(10), trade(8), trade(8.99), trade(9)], 3),
    "a fraction of the high": (
        ON.TRADE,
        BELOW,
        0.1,
        True,
        [],
        [trade(10), trade(20), trade(18.01), trade(18)],
        3,
    ),
    "a fraction of the low": (
        ON.TRADE,
        ABOVE,
        0.1,
        True,
        [],
        [trade(20), trade(10), trade(10.99), trade(11)],
        3,
    ),
    "10.01 less 0.05 in floats would be below 9.96": (
        ON.TRADE,
        BELOW,
        0.05,
        False,
        [],
        [trade(10.01), trade(9.96)],
        1,
    ),
    "150.01 less 2 % in floats would be below": (
        ON.TRADE,
        BELOW,
        0.02,
        True,
        [],
        [trade(150.01), trade(147.0098)],
        1,
    ),
    "the bid": (ON.BID, BELOW, 1, False, [quote(10, 11)], [trade(5), quote(9.5, 20), quote(9, 10)], 2),
    "the ask": (ON.ASK, ABOVE, 1, False, [quote(10, 11)], [quote(5, 10.5), quote(5, 11.5)], 1),
    "the middle": (ON.MID, BELOW, 1, False, [quote(10, 11)], [quote(10, 10), quote(9, 10)], 1),
    "a missing side is not low": (ON.BID, BELOW, 1, False, [quote(10, 11)], [quote(0, 11), quote(9, 11)], 1),
    "an ineligible trade is no high": (
        ON.TRADE,
        BELOW,
        1,
        False,
        [trade(10)],
        [trade(20, eligible=False), trade(9.5)],
        None,
    ),
    "another symbol's trade": (ON.TRADE, BELOW, 1, False, [trade(10)], [trade(5, sym=1)], None),
}


@pytest.mark.parametrize("case", TRAILING)
def test_a_trailing_trigger_fires_where_the_table_says(case: str) -> None:
    on, direction, distance, is_fraction, before, rows, expected = TRAILING[case]
    market = Market(("X", "Y"))
    assert fires(market, *before) == [[]] * len(before)
    slot = market.arm_trailing(0, on, direction, distance, is_fraction=is_fraction)
    assert fires(market, *rows) == [[slot] if i == expected else [] for i in range(len(rows))]


def test_a_trailing_trigger_fires_once() -> None:
    market = Market(("X",))
    slot = market.arm_trailing(0, ON.TRADE, BELOW, 1)
    assert fires(market, trade(10), trade(9), trade(12), trade(5)) == [[], [slot], [], []]


def test_the_level_of_a_trailing_trigger_can_be_read() -> None:
    market = Market(("X",))
    slots = [market.arm_trailing(0, ON.TRADE, BELOW, distance) for distance in (3, 1, 2)]
    assert market.trigger(slots[0]) == TriggerView(0, ON.TRADE, BELOW, None, None)
    fires(market, trade(10), trade(12), trade(11.5))
    assert [market.trigger(slot).level for slot in slots] == [9, 11, 10]
    assert {market.trigger(slot).best for slot in slots} == {12}


def test_a_trailing_trigger_armed_again_goes_on_from_the_best_price_it_had() -> None:
    market = Market(("X",))
    fires(market, trade(10))
    kept = market.arm_trailing(0, ON.TRADE, BELOW, 1, best=10.8)
    worse = market.arm_trailing(0, ON.TRADE, BELOW, 1, best=9.5)  # the market is better already
    assert (market.trigger(kept).best, market.trigger(worse).best) == (10.8, 10)
    assert fires(market, trade(9.8), trade(9)) == [[kept], [worse]]


def test_groups_with_different_best_prices_melt_when_a_price_beats_them() -> None:
    market = Market(("X",))
    slots = []
    for price in (20, 18, 16, 14):  # each is armed at its own high
        fires(market, trade(price))
        slots.append(market.arm_trailing(0, ON.TRADE, BELOW, 9))
    assert [market.trigger(slot).best for slot in slots] == [20, 18, 16, 14]
    fires(market, trade(17))
    assert [market.trigger(slot).best for slot in slots] == [20, 18, 17, 17]
    fires(market, trade(18))
    assert [market.trigger(slot).best for slot in slots] == [20, 18, 18, 18]
    assert fires(market, trade(11), trade(9)) == [[slots[0]], slots[1:]]


@pytest.mark.parametrize("gone", range(4))
def test_disarming_a_trailing_trigger_leaves_the_others(gone: int) -> None:
    market = Market(("X",))
    fires(market, trade(10))
    slots = [market.arm_trailing(0, ON.TRADE, BELOW, distance) for distance in (1, 1, 2, 0.5)]
    fires(market, trade(11))
    assert market.disarm(slots[gone])
    assert not market.disarm(slots[gone])
    assert fires(market, trade(8)) == [[slot for slot in slots if slot != slots[gone]]]
    assert fires(market, trade(1)) == [[]]
    watch = market._symbols["watch"][0]
    assert (watch["above"][0], watch["below"][0]) == (math.inf, -math.inf)


def test_fixed_and_trailing_triggers_fire_together_in_order_of_arming() -> None:
    market = Market(("X",))
    fires(market, trade(10))
    slots = [
        market.arm(0, ON.TRADE, BELOW, 9),
        market.arm_trailing(0, ON.TRADE, BELOW, 1),
        market.arm(0, ON.TRADE | ON.BID, BELOW, 9.5),
        market.arm_trailing(0, ON.TRADE, BELOW, 0.05, is_fraction=True),
    ]
    assert fires(market, trade(9)) == [slots]


@pytest.mark.parametrize(
    ("on", "distance", "is_fraction", "best"),
    [
        (ON.TRADE | ON.BID, 1.0, False, None),
        (ON.TRADE, 0.0, False, None),
        (ON.TRADE, -1.0, False, None),
        (ON.TRADE, math.nan, False, None),
        (ON.TRADE, math.inf, False, None),
        (ON.TRADE, 1.0, True, None),
        (ON.TRADE, 1.0, False, 0.0),
        (ON.TRADE, 1.0, False, math.nan),
    ],
)
def test_a_trailing_trigger_that_cannot_be_meant_is_an_error(
    on: TriggerOn, distance: float, is_fraction: bool, best: float | None
) -> None:
    market = Market(("X",))
    before = market.digest()
    with pytest.raises(ValueError):
        market.arm_trailing(0, on, BELOW, distance, is_fraction=is_fraction, best=best)
    assert market.digest() == before


@pytest.mark.parametrize("rising", [True, False])
def test_a_hundred_thousand_triggers_fire_in_order_of_arming(rising: bool) -> None:
    """Armed in the order that is worst for a heap that is a list of children, or a chain of them."""
    market = Market(("X",))
    levels = range(1, 100_001) if rising else range(100_000, 0, -1)
    slots = [market.arm(0, ON.TRADE, ABOVE, level) for level in levels]
    first, last = (slots[0], slots[-1]) if rising else (slots[-1], slots[0])
    assert fires(market, trade(0.5), trade(1)) == [[], [first]]
    rest = [slot for slot in slots if slot not in {first, last}]
    assert fires(market, trade(99_999), trade(99_999.5), trade(100_000)) == [rest, [], [last]]


def test_trailing_triggers_with_the_same_best_price_are_one_group() -> None:
    """Or the first new high would melt as many as were armed."""
    market = Market(("X",))
    fires(market, trade(10))
    for number in range(100):
        market.arm_trailing(0, ON.TRADE, BELOW, 1 + number % 7)
    table, top = market._table, int(market._symbols["watch"]["trailing"][0, 0, BELOW, 0])
    assert (table["next"][top], table["prev"][top]) == (0, 0)
    fires(market, trade(11))
    top = int(market._symbols["watch"]["trailing"][0, 0, BELOW, 0])
    assert (table["next"][top], table["prev"][top], table["best"][top]) == (0, 0, 11)


def test_nothing_happens_between_the_levels_and_at_the_high() -> None:
    """What a symbol remembers is exact: after every change, and for every value that a trigger watched."""
    market = Market(("X",))
    watch = market._symbols["watch"]
    both = market.arm(0, ON.TRADE | ON.ASK, ABOVE, 12)
    market.arm(0, ON.ASK, ABOVE, 13)
    assert fires(market, trade(12)) == [[both]]
    assert watch["above"][0].tolist() == [math.inf, math.inf, 13, math.inf]
    market.arm_trailing(0, ON.TRADE, BELOW, 2)
    assert (watch["above"][0, 0], watch["below"][0, 0]) == (math.nextafter(12, 13), 10)
    fires(market, trade(12.5))
    assert (watch["above"][0, 0], watch["below"][0, 0]) == (math.nextafter(12.5, 13), 10.5)
    market.arm_trailing(0, ON.TRADE, ABOVE, 1)
    assert (watch["above"][0, 0], watch["below"][0, 0]) == (
        math.nextafter(12.5, 13),
        math.nextafter(12.5, 12),
    )


@pytest.mark.parametrize("direction", list(TriggerDirection))
def test_a_trailing_fraction_without_a_price_yet_keeps_the_heap_of_levels_sorted(direction):
    """Its level is no number then; wherever it is in the heap, the others must fire in their order."""
    sign = 1.0 if direction is TriggerDirection.ABOVE else -1.0
    for seed in range(200):
        chance, market = random.Random(seed), Market(("AAPL",))
        fixed = {}
        for number in range(12):
            if number == seed % 12:
                market.arm_trailing(0, TriggerOn.TRADE, direction, 0.5, is_fraction=True)
            price = 100.0 + sign * (1 + chance.randrange(40))
            fixed[market.arm(0, TriggerOn.TRADE, direction, price)] = price
        for slot in chance.sample(sorted(fixed), 5):
            market.disarm(slot)
            del fixed[slot]
        for step in range(42):
            now = 100.0 + sign * step
            (slots,) = fires(market, trade(now, at=1 + step))
            fired = set(slots) & fixed.keys()
            due = {slot for slot, price in fixed.items() if sign * now >= sign * price}
            assert fired == due
            for slot in due:
                del fixed[slot]
