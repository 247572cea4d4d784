"""Suspicious prints: one alone changes nothing, two that agree are the market, and a state made anew agrees."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.market import Market, RowFlag, RowKind, TriggerDirection, TriggerOn, new_rows

S = 10**9
NOW = 1_700_000_000 * S - 1_700_000_000 * S % (300 * S)
JUMP = 0.10
ABOVE, BELOW = TriggerDirection.ABOVE, TriggerDirection.BELOW


def trades(*specs: tuple[float, float]) -> np.ndarray:
    """Return eligible trades of 2 given by (seconds from now, price)."""
    rows = new_rows(len(specs))
    rows["kind"], rows["flags"], rows["size"] = RowKind.TRADE, RowFlag.ELIGIBLE, 2.0
    for n, (seconds, price) in enumerate(specs):
        rows[n]["venue_ns"], rows[n]["price"], rows[n]["trade_id"] = NOW + int(seconds * S), price, n + 1
    return rows


def fed(market: Market, rows: np.ndarray) -> Market:
    at = 0
    while at < len(rows):
        at = market.consume(rows, at, len(rows))
    return market


def judged(*specs: tuple[float, float]) -> Market:
    return fed(Market(("X",), suspicious_jump=JUMP), trades(*specs))


def last(market: Market) -> float:
    found = market.last_trade(0)
    assert found is not None
    return found.price / 1e9


@pytest.mark.parametrize(
    ("specs", "price", "counted", "suspicious"),
    [
        pytest.param([(0, 100), (1, 110)], 110, 2, 0, id="as far as is allowed"),
        pytest.param([(0, 110), (1, 100)], 100, 2, 0, id="as far down"),
        pytest.param([(0, 100), (1, 110.01)], 100, 1, 1, id="further up"),
        pytest.param([(0, 110.01), (1, 100)], 110.01, 1, 1, id="further down"),
        pytest.param([(0, 100), (1, 1000), (2, 100.5)], 100.5, 2, 1, id="alone: forgotten"),
        pytest.param([(0, 100), (1, 120), (2, 121)], 121, 2, 1, id="a second one agrees: the market has moved"),
        pytest.param([(0, 100), (1, 120), (2, 121), (3, 122)], 122, 3, 1, id="and goes on there"),
        pytest.param([(0, 100), (1, 120), (2, 121), (3, 100)], 121, 2, 2, id="the way back is a jump too"),
        pytest.param([(0, 100), (1, 120), (1, 120)], 100, 1, 2, id="of one instant: they are one event"),
        pytest.param([(0, 100), (1, 120), (1, 118), (2, 117)], 117, 2, 2, id="the last of the instant is held"),
        pytest.param([(0, 100), (1, 120), (2, 60), (3, 61)], 61, 2, 2, id="far from both: held instead"),
        pytest.param([(0, 100), (1, 120), (2, 60), (3, 121)], 100, 1, 3, id="and the first one is forgotten"),
        pytest.param([(0, 100), (1, 112), (2, 106)], 106, 2, 1, id="near both: nothing has moved"),
        pytest.param([(0, 100), (1, 120), (2, 100), (3, 121)], 100, 2, 2, id="what is forgotten confirms nothing"),
        pytest.param([(0, 100), (60, 200)], 100, 1, 1, id="a minute after the last"),
        pytest.param([(0, 100), (60.001, 200)], 200, 2, 0, id="later: the last says nothing of now"),
        pytest.param([(0, 100), (30, 200), (61, 300)], 300, 2, 1, id="nor what is held"),
        pytest.param([(0, 1e-6)], 1e-6, 1, 0, id="the first of all"),
        pytest.param([(10, 100), (8, 50)], 100, 1, 1, id="a late one"),
        pytest.param([(10, 100), (8, 50), (11, 51)], 100, 1, 2, id="which confirms nothing"),
        pytest.param([(10, 100), (11, 51), (8, 50)], 100, 1, 2, id="nor takes the place of what is held"),
        pytest.param([(10, 100), (11, 51), (8, 50), (12, 52)], 52, 2, 2, id="so that the next one finds it"),
        pytest.param([(10, 100), (11, 51), (8, 99), (12, 52)], 52, 3, 1, id="a late one in place is not the next one"),
        pytest.param([(100, 100), (30, 50)], 100, 2, 0, id="a report of the past may be of another price"),
    ],
)  # fmt: skip
def test_what_counts(specs: list[tuple[float, float]], price: float, counted: int, suspicious: int) -> None:
    market = judged(*specs)
    assert last(market) == price
    assert market.indicators(0).volume == 2.0 * counted
    assert market.suspicious(0) == suspicious


def test_a_print_that_is_held_updates_nothing_at_all() -> None:
    good, bad = [(0.0, 100.0), (1.0, 101.0), (61.0, 100.5)], [(2.0, 10.0), (62.0, 1000.0)]
    market, without = judged(*sorted([*good, *bad])), judged(*good)
    assert market.indicators(0) == without.indicators(0)
    assert market.bars(0, 60, 9) == without.bars(0, 60, 9)
    assert market.forming(0, 60) == without.forming(0, 60)
    assert market.last_trade(0).size == 2.0


def test_it_lets_time_pass_all_the_same() -> None:
    market = judged((0, 100), (60, 10))
    assert [bar.close for bar in market.bars(0, 60, 9)] == [100.0]
    assert market.forming(0, 60) is None


def test_a_trade_that_is_no_price_is_neither_held_nor_confirms() -> None:
    rows = trades((0, 100), (1, 200), (2, 200), (3, 200), (4, 200))
    rows["flags"][2:4] = RowFlag.VOLUME, 0
    market = fed(Market(("X",), suspicious_jump=JUMP), rows[:4])
    assert (last(market), market.suspicious(0), market.indicators(0).volume) == (100.0, 1, 4.0)
    fed(market, rows[4:].copy())
    assert last(market) == 200.0


def test_it_fires_nothing_but_the_second_one_does_and_a_quote_always() -> None:
    market = Market(("X",), suspicious_jump=JUMP)
    stop = market.arm(0, TriggerOn.TRADE | TriggerOn.BID, BELOW, 95.0)
    trailing = market.arm_trailing(0, TriggerOn.TRADE, BELOW, 5.0)
    fed(market, trades((0, 100), (1, 50), (2, 200)))
    assert market.trigger(stop) is not None
    assert market.trigger(trailing).best == 100.0, "a peak that never was would have dragged it along"
    fed(market, trades((3, 51), (4, 50)))
    assert market.trigger(stop) is None
    assert market.trigger(trailing) is None
    market, quote = judged((0, 100)), new_rows(1)
    stop = market.arm(0, TriggerOn.TRADE | TriggerOn.BID, BELOW, 95.0)
    quote["kind"], quote["venue_ns"], quote["price"], quote["price2"] = RowKind.QUOTE, NOW + S, 50.0, 51.0
    fed(market, quote)
    assert market.trigger(stop) is None


def test_every_symbol_has_a_memory_of_its_own() -> None:
    rows = trades((0, 100), (0, 500), (1, 200), (1, 510), (2, 210))
    rows["sym"] = [0, 1, 0, 1, 0]
    market = fed(Market(("X", "Y"), suspicious_jump=JUMP), rows)
    assert [market.suspicious(sym) for sym in (0, 1)] == [1, 0]
    assert last(market) == 210.0


@pytest.mark.parametrize("prices", [(64.0, 80.0), (80.0, 64.0)])
def test_a_jump_is_allowed_to_the_last_digit(prices: tuple[float, float]) -> None:
    rows = trades((0, prices[0]), (1, prices[1]))
    assert fed(Market(("X",), suspicious_jump=0.25), rows).suspicious(0) == 0
    assert fed(Market(("X",), suspicious_jump=0.2499999), rows).suspicious(0) == 1


def test_nothing_is_far_from_a_last_trade_that_is_not_there() -> None:
    rows = trades((0, 100))
    rows["venue_ns"] = 1  # a clock that begins at nought, as in a simulation
    assert last(fed(Market(("X",), suspicious_jump=JUMP), rows)) == 100.0


def test_without_a_jump_nothing_is_suspicious() -> None:
    market = fed(Market(("X",)), trades((0, 1e-9), (1, 1e12), (2, 1e-9)))
    assert (last(market), market.suspicious(0)) == (1e-9, 0)


@pytest.mark.parametrize("jump", [0.0, -0.1, math.nan])
def test_a_jump_is_a_positive_fraction(jump: float) -> None:
    with pytest.raises(ValueError, match="is not a jump"):
        Market(("X",), suspicious_jump=jump)


def test_bars_of_history_are_no_prints() -> None:
    """The prices of a bar are as far from each other as they like: the venue has judged them."""
    market = Market(("X",), suspicious_jump=JUMP)
    bars = fed(Market(("X",)), trades((0, 100), (1, 200), (2, 50), (60, 500), (120, 80))).bars(0, 60, 9)
    market.load_bars(0, 60, bars)
    assert market.bars(0, 60, 9) == bars
    assert market.suspicious(0) == 0


def test_a_symbol_that_is_loaded_anew_keeps_the_rule_and_nothing_else() -> None:
    market = judged((0, 100), (1, 200))
    market.forget(0)
    assert market.suspicious(0) == 0
    fed(market, trades((2, 200), (3, 100)))
    assert (last(market), market.suspicious(0)) == (200.0, 1)


# --- for every sequence of rows ------------------------------------------------------------------------------


@st.composite
def jumpy_rows(draw: st.DrawFn) -> np.ndarray:
    """Draw rows of one symbol whose prices are near each other or far, and whose times sometimes step back."""
    rows, now = new_rows(draw(st.integers(1, 40))), NOW
    for n, row in enumerate(rows):
        now += draw(st.sampled_from([0, 1, S // 2, S, 20 * S, 61 * S, -S // 2, -3 * S]))
        row["kind"] = draw(st.sampled_from([RowKind.TRADE] * 4 + [RowKind.QUOTE]))
        row["flags"] = draw(st.sampled_from([1, 1, 1, 1, 2, 0]))
        row["price"] = draw(st.sampled_from([100.0, 101.0, 109.0, 110.0, 111.0, 121.0, 122.0, 90.0, 50.0]))
        row["price2"], row["size"] = row["price"] + 1, draw(st.sampled_from([1.0, 3.0]))
        row["venue_ns"], row["trade_id"] = now, n + 1
    return rows


def held_aside(rows: np.ndarray) -> list[int]:
    """Return which rows are held aside, by the rules as they are written and nothing else."""
    aside: list[int] = []
    counted: tuple[float, int] | None = None
    held: tuple[float, int] | None = None
    newest = seen = 0
    for n, row in enumerate(rows):
        at, price = int(row["venue_ns"]), float(row["price"])
        if row["kind"] == RowKind.QUOTE:
            quoted = [int(r["venue_ns"]) for r in rows[:n] if r["kind"] == RowKind.QUOTE]
            seen = max(seen, at) if at >= max(quoted, default=0) else seen
            continue
        seen = max(seen, at)
        if row["flags"] != RowFlag.ELIGIBLE:
            continue
        in_sequence = at >= newest - S and at >= seen - 10 * S
        lately = counted is not None and abs(at - counted[1]) <= 60 * S
        if counted is not None and lately and far(price, counted[0]):
            moved = in_sequence and held is not None and at != held[1] and not far(price, held[0])
            if not moved:
                aside.append(n)
                held = (price, at) if in_sequence else held
                continue
        if in_sequence:
            counted, held, newest = (price, at), None, max(newest, at)
    return aside


def far(one: float, other: float) -> bool:
    return max(one, other) > min(one, other) * (1 + JUMP)


@given(jumpy_rows(), st.lists(st.floats(40, 130), max_size=4))
def test_the_market_is_what_it_would_be_had_the_suspicious_prints_not_counted(
    rows: np.ndarray, levels: list[float]
) -> None:
    aside = held_aside(rows)
    without = rows.copy()
    without["flags"][aside] = 0
    plain, market = Market(("X",)), Market(("X",), suspicious_jump=JUMP)
    fired = []
    for each, its_rows in ((plain, without), (market, rows)):
        slots = [each.arm(0, TriggerOn.TRADE | TriggerOn.ASK, ABOVE, level) for level in levels]
        each.arm_trailing(0, TriggerOn.TRADE, BELOW, 5.0)
        at, found = 0, []
        while at < len(its_rows):
            at = each.consume(its_rows, at, len(its_rows))
            found += [(at, slot) for slot in each.fired[: each.fired_count].tolist()]
        fired.append((slots, found))
    assert fired[0] == fired[1]
    assert market.indicators(0) == plain.indicators(0)
    assert market.bars(0, 60, 99) == plain.bars(0, 60, 99)
    assert (market.forming(0, 60), market.last_trade(0)) == (plain.forming(0, 60), plain.last_trade(0))
    assert market.suspicious(0) == len(aside)


@given(jumpy_rows(), st.lists(st.integers(0, 40), max_size=6), st.integers(0, 40), st.integers(0, 40))
def test_neither_cuts_nor_a_gap_that_is_filled_nor_a_restart_changes_what_is_held(
    rows: np.ndarray, cuts: list[int], checked: int, lost: int
) -> None:
    whole, pieces = (fed(Market(("X",), suspicious_jump=JUMP), rows[:0]) for _ in range(2))
    fed(whole, rows)
    at = 0
    for stop in [*sorted(cut % (len(rows) + 1) for cut in cuts), len(rows)]:
        pieces.consume(rows, at, stop)
        at = stop
    assert pieces.digest() == whole.digest()
    checked, lost = sorted((checked % (len(rows) + 1), lost % (len(rows) + 1)))
    gappy = fed(Market(("X",), suspicious_jump=JUMP), rows[:checked].copy())
    checkpoint = gappy.checkpoint(0)
    gappy = Market.restore(gappy.snapshot())
    fed(gappy, rows[lost:].copy())
    gappy.rebuild(checkpoint, rows[checked:].copy())
    assert gappy.digest(0) == whole.digest(0)
