"""The ring of recent rows: what is kept and found, and how missed rows find their places."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.market import Market, RowFlag, RowKind, new_rows
from hands.core.units import NS_PER_S
from hands.runtime.recent import MARK_EVERY_NS, Recent, keys_of, not_among, spliced

SYMBOLS = ("AAPL", "SPY", "BTC/USD")


def rows_of(*facts, kind=RowKind.TRADE):
    """Rows from (sym, trade_id, time in seconds)."""
    rows = new_rows(len(facts))
    for row, (sym, trade_id, at_s) in zip(rows, facts, strict=True):
        row["sym"], row["kind"], row["flags"], row["trade_id"] = sym, kind, RowFlag.ELIGIBLE, trade_id
        row["price"], row["size"], row["venue_ns"] = 100.0 + trade_id, 1.0, int(at_s * NS_PER_S)
    return rows


def ids(rows):
    return rows["trade_id"].tolist()


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 8)), max_size=12), st.integers(0, 60))
def test_the_ring_gives_back_what_it_still_keeps_in_order(frames, position):
    recent, everything, count = Recent(Market(SYMBOLS), 0, capacity=16), [], 0
    for size, spare in frames:
        rows = rows_of(*((n % 3, n, n) for n in range(count, count + size + spare)))
        recent.keep(rows, size)
        everything += ids(rows[:size])
        count += size
    first = max(0, count - 16)
    assert (recent.end, recent.first) == (count, first)
    for sym in range(3):
        expected = [n for n in everything if n % 3 == sym and n >= max(position, first)]
        assert ids(recent.arrived(sym, position)) == expected


def test_a_frame_larger_than_the_ring_leaves_its_end():
    recent = Recent(Market(SYMBOLS), 0, capacity=8)
    recent.keep(rows_of(*((0, n, n) for n in range(30))), 30)
    assert ids(recent.arrived(0, 0)) == list(range(22, 30))


def test_what_is_given_out_is_a_copy_that_the_market_takes():
    market = Market(SYMBOLS)
    recent = Recent(market, 0)
    recent.keep(rows_of((0, 1, 1), (1, 2, 2)), 2)
    rows = recent.arrived(0, 0)
    rows["price"] = 1.0
    assert recent.row(0)["price"] == 101.0
    market.consume(rows, 0, len(rows))


@pytest.mark.parametrize("capacity", [8, 64])
def test_a_trade_is_found_where_it_is_and_only_if_it_is_that_one(capacity):
    recent = Recent(Market(SYMBOLS), 0, capacity=capacity)
    recent.keep(rows_of(*((n % 2, n % 10, n) for n in range(20))), 20)
    position = recent.find(1, 7, 107.0, 1.0)
    assert position == 17, "the newest of two"
    assert recent.row(position)["trade_id"] == 7
    for other in ((0, 7, 107.0, 1.0), (1, 7, 107.5, 1.0), (1, 7, 107.0, 2.0), (1, 77, 107.0, 1.0)):
        assert recent.find(*other) is None
    recent.row(position)["kind"] = RowKind.QUOTE
    assert recent.find(1, 7, 107.0, 1.0) == (7 if capacity == 64 else None)


def test_marks_are_renewed_in_turn_and_two_are_kept():
    recent = Recent(Market(SYMBOLS), 0)
    recent.mark_some(MARK_EVERY_NS - 1, 10)
    assert recent.before(0, 0).taken_ns == 0
    for n in range(1, 4):
        recent.keep(rows_of((0, n, n)), 1)
        recent.mark_some(n * MARK_EVERY_NS, 10)
    assert [mark.taken_ns // MARK_EVERY_NS for mark in recent._marks[2]] == [2, 3]
    assert [recent.before(2, place) and recent.before(2, place).position for place in (1, 2, 3, 9)] == [
        None,
        2,
        3,
        3,
    ]
    recent.mark_some(10 * MARK_EVERY_NS, 2)
    assert [len({mark.taken_ns for mark in marks}) for marks in recent._marks] == [2, 2, 2]
    assert sum(mark.taken_ns == 10 * MARK_EVERY_NS for marks in recent._marks for mark in marks) == 2


def test_bars_of_a_second_are_marked_more_often():
    assert Recent(Market(SYMBOLS, (1, 60)), 0).mark_every_ns == 10 * NS_PER_S
    assert Recent(Market(SYMBOLS), 0).mark_every_ns == MARK_EVERY_NS


def test_a_mark_whose_rows_are_gone_is_none():
    recent = Recent(Market(SYMBOLS), 0, capacity=4)
    recent.keep(rows_of(*((0, n, n) for n in range(5))), 5)
    assert recent.before(0, 3) is None
    recent.mark(0, 1)
    assert recent.before(0, 5).position == 5
    recent.start_anew(0, 2)
    assert len(recent._marks[0]) == 1


def test_trades_of_late_are_those_of_every_symbol():
    recent = Recent(Market(SYMBOLS), 0, capacity=8)
    recent.keep(rows_of(*((n % 3, n, n) for n in range(10))), 10)
    recent.keep(rows_of((0, 99, 9), kind=RowKind.QUOTE), 1)
    assert sorted(ids(recent.trades_since(7 * NS_PER_S))) == [7, 8, 9]


# --- splicing ------------------------------------------------------------------------------------------------


def test_a_missed_row_comes_before_the_first_that_is_later():
    live = rows_of((0, 1, 10), (0, 2, 12), (0, 3, 11), (0, 4, 20))
    missed = rows_of((0, 5, 9), (0, 6, 11), (0, 7, 12), (0, 8, 15), (0, 9, 30))
    assert ids(spliced(live, missed)) == [5, 1, 6, 2, 3, 7, 8, 4, 9]


@pytest.mark.parametrize(("live", "missed"), [([], [1, 2]), ([1, 2], []), ([], [])])
def test_nothing_to_splice_is_the_rest(live, missed):
    found = spliced(rows_of(*((0, n, n) for n in live)), rows_of(*((0, n, n) for n in missed)))
    assert ids(found) == live + missed


@given(st.lists(st.integers(0, 20)), st.lists(st.integers(0, 20)))
def test_splicing_loses_nothing_and_keeps_the_order_of_what_came(live, missed):
    one = rows_of(*((0, n, at) for n, at in enumerate(live)))
    other = rows_of(*((0, 100 + n, at) for n, at in enumerate(sorted(missed))))
    found = spliced(one, other)
    assert [n for n in ids(found) if n < 100] == ids(one)
    assert [n for n in ids(found) if n >= 100] == ids(other)
    assert found.flags.carray
    if live == sorted(live):
        assert found["venue_ns"].tolist() == sorted(found["venue_ns"].tolist())


def test_a_trade_is_known_by_all_that_it_is():
    rows = rows_of((0, 1, 3), (0, 1, 3), (1, 1, 3), (0, 2, 2), (0, 1, 4))
    fresh = not_among(rows, set(keys_of(rows_of((0, 2, 2)))))
    assert keys_of(fresh) == [
        (0, 1, 101.0, 1.0, 3 * NS_PER_S),
        (1, 1, 101.0, 1.0, 3 * NS_PER_S),
        (0, 1, 101.0, 1.0, 4 * NS_PER_S),
    ]
    assert len(not_among(rows[:0], set())) == 0
    assert isinstance(fresh, np.ndarray)
