"""The ring of recent rows: what is kept and found, and how missed rows find their places."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.market import Market, RowFlag, RowKind, new_rows
from hands.core.units import NS_PER_S
from hands.runtime.known import mixes
from hands.runtime.recent import HELD_MAX, MARK_EVERY_NS, GoneError, Recent, spliced

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


def test_of_two_exchanges_with_one_id_the_one_that_is_meant_is_found():
    recent = Recent(Market(SYMBOLS), 0)
    rows = rows_of((0, 5, 1), (0, 5, 2), (0, 5, 3))
    rows["price"], rows["exchange"] = 100.0, [ord("P"), ord("Q"), 0]
    recent.keep(rows, 2)
    assert recent.find(0, 5, 100.0, 1.0, ord("P")) == 0
    assert recent.find(0, 5, 100.0, 1.0, ord("Q")) == 1
    assert recent.find(0, 5, 100.0, 1.0, ord("Z")) is None
    assert recent.find(0, 5, 100.0, 1.0) == 1, "the newest, where nobody says"
    recent.keep(rows[2:], 1)
    assert recent.find(0, 5, 100.0, 1.0, ord("Z")) == 2, (
        "of a trade whose exchange is not known it may be that"
    )


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


def known_ids(recent, rows, syms, *, since_s=0, until_s=10**6, position=0):
    """Which of `rows` are known to have come."""

    async def scenario():
        known = await recent.known(position, recent.end, syms, since_s * NS_PER_S, until_s * NS_PER_S)
        mixed = np.concatenate([np.zeros(0, np.int64), *(part for sym in range(3) for part in known.of(sym))])
        return sorted(rows["trade_id"][np.isin(mixes(rows), mixed)].tolist())

    return asyncio.run(scenario())


@pytest.mark.parametrize("rows_a_turn", [4096, 2])
def test_what_is_known_are_the_trades_of_some_symbols_and_times(monkeypatch, rows_a_turn):
    monkeypatch.setattr("hands.runtime.recent.A_TURN", rows_a_turn)
    recent = Recent(Market(SYMBOLS), 0, capacity=8)
    rows = rows_of(*((n % 3, n, n) for n in range(10)))
    recent.keep(rows, 10)
    assert known_ids(recent, rows, [0, 1, 2], position=2) == list(range(2, 10))
    assert known_ids(recent, rows, [1], position=2) == [4, 7]
    assert known_ids(recent, rows, [0, 1, 2], since_s=4, until_s=6, position=2) == [4, 5, 6]
    recent.keep(rows_of((0, 99, 9), kind=RowKind.QUOTE), 1)
    assert known_ids(recent, rows, [0], position=3) == [3, 6, 9]
    with pytest.raises(GoneError):
        known_ids(recent, rows, [0], position=2)


def test_a_held_symbol_keeps_its_marks_whatever_is_repaired_meanwhile():
    recent = Recent(Market(SYMBOLS), 0)
    for n in range(3):
        recent.keep(rows_of((0, n, n)), 1)
        recent.mark(0, n)
    recent.hold([0])
    before = recent.before(0, 3)
    for n in range(3, 12):
        recent.keep(rows_of((0, n, n)), 1)
        recent.mark_some(n * MARK_EVERY_NS, 10)
        recent.repaired(recent.mark(0, n), n)
    assert recent.before(0, 3) is before
    assert len(recent._marks[0]) == HELD_MAX
    assert not recent.is_newer(0, 3)
    recent.release([0])
    recent.mark(0, 99)
    assert len(recent._marks[0]) == 2
    assert recent.is_newer(0, 3)


def test_what_was_put_in_or_loaded_is_known_beside_what_came():
    recent = Recent(Market(SYMBOLS), 0)
    asyncio.run(recent.remember(rows_of((0, 1, 1), (0, 2, 2))))
    recent.add(recent.before(0, 0), rows_of((0, 3, 3)))
    found = np.concatenate(recent.known_besides(0))
    assert np.isin(mixes(rows_of((0, 1, 1), (0, 2, 2), (0, 3, 3), (0, 4, 4))), found).tolist() == [
        True
    ] * 3 + [False]
    assert recent.known_besides(1) == []


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=40),
    st.lists(st.integers(0, 5), max_size=6),
    st.integers(1, 9),
    st.booleans(),
)
def test_rows_that_come_again_in_parts_are_those_that_come_again_at_once(live, missed, size, is_shuffled):
    recent = Recent(Market(SYMBOLS), 0, capacity=64)
    mark = recent.before(0, 0)
    rows = rows_of(*((sym, n, at) for n, (sym, at) in enumerate(live)))
    recent.keep(rows, len(rows))
    recent.add(mark, rows_of(*((0, 100 + n, at) for n, at in enumerate(missed))))
    if is_shuffled:
        recent.put_in_order(0)
    whole, since, parts = recent.since(mark).rest(), recent.since(mark), []
    while since.behind > size:
        parts += ids(since.part(size))
    parts += ids(since.rest())
    assert parts == ids(whole)
    assert sorted(parts) == sorted(
        [n for n, (sym, _) in enumerate(live) if sym == 0] + [100 + n for n in range(len(missed))]
    )


@pytest.mark.parametrize("overtaken_s", [1, 4])
def test_rows_of_a_busy_symbol_are_put_in_order_without_sorting_all_of_them_at_once(overtaken_s):
    """Hundreds of thousands would take the loop tens of milliseconds; none is overtaken by more than some seconds."""
    count, size, every_ns = 60_000, 4096, NS_PER_S // 1000
    chance = np.random.default_rng(overtaken_s)
    made = np.arange(count) * every_ns
    came = np.argsort(made + chance.integers(0, overtaken_s * NS_PER_S, count), kind="stable")
    rows = new_rows(count)
    rows["kind"], rows["venue_ns"], rows["trade_id"] = RowKind.TRADE, made[came], came + 1
    recent = Recent(Market(SYMBOLS), 0)
    recent.keep(rows, count)
    recent.put_in_order(0)
    since, parts = recent.since(recent.before(0, 0)), []
    while since.behind > size:
        parts.append(since.part(size))
    assert max(len(part) for part in parts) <= 2 * size
    parts.append(since.rest())
    assert np.concatenate(parts)["trade_id"].tolist() == list(range(1, count + 1))


def test_rows_that_left_the_ring_cannot_come_again():
    recent = Recent(Market(SYMBOLS), 0, capacity=4)
    since = recent.since(recent.before(0, 0))
    recent.keep(rows_of(*((0, n, n) for n in range(5))), 5)
    with pytest.raises(GoneError):
        since.part(2)


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
