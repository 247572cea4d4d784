"""Repair: a gap that was filled, or a trade that was taken back, leaves the state of a run in which all was well."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.bars import SPARE
from hands.core.market import Market, RowFlag, RowKind, TriggerDirection, TriggerOn, new_rows
from tests.core.test_kernel_properties import row_arrays

S = 10**9
MINUTE = 60 * S
NOW = 1_700_000_000 * S
ABOVE, BELOW = TriggerDirection.ABOVE, TriggerDirection.BELOW


def trades(*specs: tuple[int, float, float], sym: int = 0) -> np.ndarray:
    """Return eligible trades given by (seconds from now, price, size)."""
    rows = new_rows(len(specs))
    rows["sym"], rows["kind"], rows["flags"] = sym, RowKind.TRADE, RowFlag.ELIGIBLE
    for row, (seconds, price, size) in zip(rows, specs, strict=True):
        row["venue_ns"], row["price"], row["size"] = NOW + seconds * S, price, size
    return rows


def quote(seconds: int, bid: float, ask: float) -> np.ndarray:
    rows = new_rows(1)
    rows["kind"], rows["venue_ns"], rows["price"], rows["price2"] = RowKind.QUOTE, NOW + seconds * S, bid, ask
    return rows


def feed(market: Market, rows: np.ndarray) -> None:
    at = 0
    while at < len(rows):
        at = market.consume(rows, at, len(rows))


def random_walk(count: int, seed: int, every_ns: int = 3 * S) -> np.ndarray:
    """Return rows of three symbols, trades and quotes, some late and some ineligible."""
    rng = np.random.default_rng(seed)
    rows = new_rows(count)
    rows["sym"] = rng.integers(0, 3, count)
    rows["kind"] = rng.choice([RowKind.TRADE, RowKind.TRADE, RowKind.QUOTE], count)
    rows["flags"] = rng.choice([0, 1, 1, 1, 1, 2], count)
    rows["price"] = np.round(50 + np.cumsum(rng.normal(0, 0.05, count)), 2)
    rows["price2"] = rows["price"] + 0.01
    rows["size"] = rows["size2"] = rng.integers(1, 900, count)
    steps = rng.integers(0, 2 * every_ns, count)
    rows["venue_ns"] = NOW + np.cumsum(steps) - rng.choice([0, 0, 0, 0, S // 2, 70 * S], count)
    rows["recv_ns"] = NOW + np.cumsum(steps)
    rows["trade_id"] = np.arange(count)
    return rows


def market_of_three() -> Market:
    market = Market(("A", "B", "C"), (60, 300), {"B": {"rsi": 5, "bollinger": 7}})
    for sym in range(3):
        market.set_session(sym, NOW + (300 + sym) * S, 1000 * S)
    return market


@given(st.integers(0, 10**9), st.integers(0, 599), st.integers(0, 400), st.integers(0, 60))
def test_a_gap_that_is_filled_leaves_no_trace(seed: int, begin: int, length: int, earlier: int) -> None:
    """Rows are lost from `begin` on for `length`; the checkpoint is of some rows earlier; what came after is known."""
    rows = random_walk(600, seed)
    end, checked = min(begin + length, len(rows)), max(0, begin - earlier)
    whole, broken = market_of_three(), market_of_three()
    feed(whole, rows)
    feed(broken, rows[:checked].copy())
    checkpoints = [broken.checkpoint(sym) for sym in range(3)]
    feed(broken, rows[checked:begin].copy())
    feed(broken, rows[end:].copy())
    for sym, checkpoint in enumerate(checkpoints):
        since = rows[checked:]
        broken.rebuild(checkpoint, since[since["sym"] == sym].copy())
        assert broken.digest(sym) == whole.digest(sym)
        assert broken.indicators(sym, 300) == whole.indicators(sym, 300)
        assert broken.bars(sym, 60, 500) == whole.bars(sym, 60, 500)


@given(row_arrays(), st.integers(0, 60), st.integers(0, 60))
def test_nor_does_one_among_rows_that_are_hardly_rows(rows: np.ndarray, one: int, other: int) -> None:
    begin, end = sorted((one % (len(rows) + 1), other % (len(rows) + 1)))
    whole, broken = Market(("A", "B", "C")), Market(("A", "B", "C"))
    feed(whole, rows)
    feed(broken, rows[:begin].copy())
    checkpoints = [broken.checkpoint(sym) for sym in range(3)]
    feed(broken, rows[end:].copy())
    for sym, checkpoint in enumerate(checkpoints):
        since = rows[begin:]
        broken.rebuild(checkpoint, since[since["sym"] == sym].copy())
        assert broken.digest(sym) == whole.digest(sym)


@given(st.integers(0, 10**9), st.integers(50, 300), st.integers(1, 299))
def test_a_filled_gap_without_its_quotes_leaves_the_same_bars_and_indicators(
    seed: int, begin: int, length: int
) -> None:
    """Only trades in order of time can be had from history; the quotes come from what was heard since.

    Something was: where the last of all rows is a quote that was lost, nothing tells that its minute is over.
    """
    rows = random_walk(600, seed)
    rows["sym"] = 0
    rows.sort(order="venue_ns", kind="stable")
    whole, broken = market_of_three(), market_of_three()
    feed(whole, rows)
    feed(broken, rows[:begin].copy())
    checkpoint = broken.checkpoint(0)
    feed(broken, rows[begin + length :].copy())
    since = rows[begin:]
    broken.rebuild(checkpoint, since[since["kind"] == RowKind.TRADE].copy())
    assert broken.indicators(0) == whole.indicators(0)
    assert broken.indicators(0, 300) == whole.indicators(0, 300)
    assert broken.bars(0, 60, 500) == whole.bars(0, 60, 500)
    assert broken.forming(0, 60) == whole.forming(0, 60)
    assert broken.last_trade(0) == whole.last_trade(0)
    if (rows["kind"][begin + length :] == RowKind.QUOTE).any():
        assert broken.quote(0) == whole.quote(0)


def test_a_cancelled_trade_and_a_corrected_one_are_rebuilds() -> None:
    good = trades((0, 10, 1), (1, 11, 2), (61, 12, 3), (62, 13, 4))
    bad = trades((0, 10, 1), (1, 11, 2), (2, 99, 500), (61, 12, 3), (62, 31, 4))
    told, meant = Market(("X",)), Market(("X",))
    checkpoint = told.checkpoint(0)
    feed(told, bad)
    assert told.indicators(0).volume == 510
    told.rebuild(checkpoint, good)
    feed(meant, good)
    assert told.digest(0) == meant.digest(0)


def test_a_bar_that_was_only_a_cancelled_trade_is_no_bar() -> None:
    market = Market(("X",), (60,))
    feed(market, trades((0, 10, 1)))
    checkpoint = market.checkpoint(0)
    feed(market, trades((70, 99, 1), (130, 10, 1)))
    assert len(market.bars(0, 60, 9)) == 2
    market.rebuild(checkpoint, trades((130, 10, 1)))
    assert [bar.close for bar in market.bars(0, 60, 9)] == [10]


def test_no_trigger_fires_for_what_is_past_and_none_is_lost() -> None:
    market = Market(("X",))
    feed(market, trades((0, 10, 1)))
    early = market.arm(0, TriggerOn.TRADE, ABOVE, 22)
    checkpoint = market.checkpoint(0)
    fixed = market.arm(0, TriggerOn.TRADE, ABOVE, 20)
    trailing = market.arm_trailing(0, TriggerOn.TRADE, BELOW, 2)
    market.rebuild(checkpoint, trades((1, 25, 1), (2, 5, 1), (3, 10, 1)))
    assert market.fired_count == 0
    assert market.trigger(fixed).level == 20
    assert market.trigger(trailing).best == 10, "what it saw live"
    assert market.last_trade(0).price == 10 * 10**9
    market.consume(trades((4, 8, 1)), 0, 1)
    assert market.fired[: market.fired_count].tolist() == [trailing]
    market.consume(trades((5, 21, 1)), 0, 1)
    assert market.fired[: market.fired_count].tolist() == [fixed]
    market.consume(trades((6, 22, 1)), 0, 1)
    assert market.fired[: market.fired_count].tolist() == [early]


def test_time_that_has_passed_stays_passed_and_the_newer_quote_stays() -> None:
    market = Market(("X",), (60,))
    feed(market, trades((0, 10, 1)))
    checkpoint = market.checkpoint(0)
    feed(market, quote(200, 9, 11))
    assert len(market.bars(0, 60, 9)) == 1
    market.rebuild(checkpoint, trades((1, 11, 5)))
    assert [(bar.close, bar.volume) for bar in market.bars(0, 60, 9)] == [(11, 6)]
    assert market.forming(0, 60) is None
    assert market.quote(0).bid == 9 * 10**9


def test_a_session_told_since_the_checkpoint_stays_told() -> None:
    market = Market(("X",))
    feed(market, trades((0, 10, 1)))
    checkpoint = market.checkpoint(0)
    market.set_session(0, NOW + 100 * S, 0)
    feed(market, trades((50, 10, 2)))
    market.rebuild(checkpoint, trades((40, 10, 4), (50, 10, 2)))
    assert market.indicators(0).volume == 7
    feed(market, trades((100, 10, 8)))
    assert market.indicators(0).volume == 8
    market.rebuild(checkpoint, trades((40, 10, 4), (100, 10, 8), (101, 10, 16)))
    assert market.indicators(0).volume == 24


def test_other_symbols_and_the_count_of_rows_are_left_alone() -> None:
    market = market_of_three()
    feed(market, random_walk(300, 4))
    others, seen = [market.digest(1), market.digest(2)], market.rows_seen
    market.rebuild(market.checkpoint(0), trades((2000, 51, 1)))
    assert [market.digest(1), market.digest(2)] == others
    assert market.rows_seen == seen


def test_a_checkpoint_is_small_and_says_from_when_rows_are_needed() -> None:
    market = Market(("X",))
    feed(market, trades((0, 10, 1), (7, 11, 1)))
    checkpoint = market.checkpoint(0)
    assert checkpoint.seen_ns == NOW + 7 * S
    assert len(checkpoint.symbol) + len(checkpoint.series) < 2_100


def test_a_checkpoint_too_many_bars_ago_is_refused() -> None:
    market = Market(("X",), (60,))
    feed(market, trades((0, 10, 1)))
    checkpoint = market.checkpoint(0)
    feed(market, trades(*[(60 * n, 10 + n, 1) for n in range(1, SPARE + 1)]))
    market.rebuild(checkpoint, trades(*[(60 * n, 10 + n, 1) for n in range(1, SPARE + 1)]))
    feed(market, trades((60 * (SPARE + 1), 10, 1)))
    before = market.digest()
    with pytest.raises(ValueError, match=f"{SPARE + 1} bars have closed"):
        market.rebuild(checkpoint, trades((1, 10, 1)))
    assert market.digest() == before


def test_rows_of_another_symbol_are_refused() -> None:
    market = market_of_three()
    before = market.digest()
    with pytest.raises(ValueError, match="rows of other symbols than B"):
        market.rebuild(market.checkpoint(1), trades((0, 10, 1), sym=2))
    assert market.digest() == before


def test_rows_of_another_layout_are_refused_before_anything_is_changed() -> None:
    market = market_of_three()
    feed(market, random_walk(50, 1))
    before, rows = market.digest(), trades((1, 10, 1), (2, 10, 1), (3, 10, 1))
    with pytest.raises(TypeError, match="ROW"):
        market.rebuild(market.checkpoint(0), rows[::2])
    assert market.digest() == before


def test_of_two_quotes_with_one_stamp_the_later_one_stays():
    market = Market(("AAPL",))
    first, second = quote(1, 10.0, 10.01), quote(1, 9.0, 9.01)
    first["recv_ns"], second["recv_ns"] = NOW + 2 * S, NOW + 3 * S
    feed(market, first)
    checkpoint = market.checkpoint(0)
    feed(market, second)
    market.rebuild(checkpoint, trades((2, 9.5, 1.0)))
    assert market.quote(0).bid == 9 * 10**9


@given(st.integers(0, 10**9), st.integers(0, 200), st.data())
def test_triggers_do_not_notice_a_rebuild(seed: int, begin: int, data: st.DataObject) -> None:
    """Armed and disarmed before, between checkpoint and repair, and after; fixed and trailing: as without the repair."""
    rows = random_walk(400, seed)
    rows["sym"] %= 2
    end, stop = begin + 100, begin + 200
    alone, repaired = market_of_three(), market_of_three()
    wanted = st.tuples(st.integers(0, 1), st.sampled_from([1, 2, 4, 8]), st.booleans(), st.integers(-4, 4))

    def act(count: int) -> None:
        for sym, on, above, steps in data.draw(st.lists(wanted, min_size=count, max_size=count)):
            direction = ABOVE if above else BELOW
            for market in (alone, repaired):
                if steps < -2:
                    market.disarm(steps + 6)
                elif steps < 1:
                    distance = 0.01 * (3 + steps) if steps else 0.002
                    market.arm_trailing(sym, TriggerOn(on), direction, distance, is_fraction=steps == 0)
                else:
                    market.arm(sym, TriggerOn(on), direction, 50.0 + (0.1 if above else -0.1) * steps)

    def go(start: int, to: int) -> list[tuple[int, list[int]]]:
        fired = []
        for market in (alone, repaired):
            at, found = start, []
            while at < to:
                at = market.consume(rows, at, to)
                found += [(at, market.fired[: market.fired_count].tolist())] if market.fired_count else []
            fired.append(found)
        assert fired[0] == fired[1]
        return fired[0]

    act(4)
    go(0, begin)
    act(2)
    checkpoints = [repaired.checkpoint(sym) for sym in range(2)]
    go(begin, end)
    act(3)
    for sym, checkpoint in enumerate(checkpoints):
        since = rows[begin:end]
        other = since[since["sym"] == sym].copy()
        other["price"] += 1.0  # what should have come is not what came: no trigger may follow it
        other["price2"] += 1.0
        repaired.rebuild(checkpoint, other)
        repaired.rebuild(checkpoint, since[since["sym"] == sym].copy())
    assert repaired.digest() == alone.digest()
    go(end, stop)
    act(2)
    go(stop, 400)


def test_time_that_passes_before_anything_came_is_not_time_that_was_observed():
    """A symbol without history and without a row: the day's volume is not known, and not nought."""
    market = Market(("X",))
    market.pass_time(0, 0)
    assert market.indicators(0).volume_24h is None
