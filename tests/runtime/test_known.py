"""Which trades are known: as a set of tuples would say, and never for long at a time."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.market import RowKind, new_rows
from hands.runtime.known import A_TURN, Known, Pause, Question, mixes

FIELDS = ("sym", "trade_id", "price", "size", "venue_ns")

trades = st.lists(
    st.tuples(st.just(1), st.integers(0, 3), st.sampled_from([1.0, 1.5]), st.sampled_from([1.0, 2.0]), st.integers(0, 3)),
    max_size=40,
)  # fmt: skip


def rows_of(facts):
    rows = new_rows(len(facts))
    for row, values in zip(rows, facts, strict=True):
        row["kind"] = RowKind.TRADE
        for name, value in zip(FIELDS, values, strict=True):
            row[name] = value
    return rows


def facts_of(rows):
    return [tuple(row[name].item() for name in FIELDS) for row in rows]


def left(asked, *known):
    async def scenario():
        question, pause = Question(rows_of(asked)), Pause()
        await question.begin(pause)
        hits = await question.strike([mixes(rows_of(facts)) for facts in known], pause)
        return question.left(), hits

    return asyncio.run(scenario())


@given(asked=trades, one=trades, other=trades)
@pytest.mark.parametrize("rows_a_turn", [A_TURN, 4])
def test_what_is_left_is_what_no_set_holds_each_once_and_by_time(rows_a_turn, asked, one, other):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hands.runtime.known.A_TURN", rows_a_turn)
        rows, hits = left(asked, one, other)
    expected = dict.fromkeys(fact for fact in asked if fact not in {*one, *other})
    assert facts_of(rows) == sorted(expected, key=lambda fact: fact[-1])
    assert bool(hits) == bool({*asked} & {*one, *other})


def test_what_is_ignored_is_not_left():
    async def scenario():
        question = Question(rows_of([(1, n, 1.0, 1.0, n) for n in range(4)]))
        await question.begin(Pause())
        question.ignore(np.array([True, False, False, True]))
        return question.left()["trade_id"].tolist()

    assert asyncio.run(scenario()) == [1, 2]


@pytest.mark.parametrize(
    "change", [{"sym": 2}, {"trade_id": 8}, {"price": 1.25}, {"size": 3.0}, {"venue_ns": 6}]
)
def test_a_trade_is_known_by_all_that_it_is(change):
    one = rows_of([(1, 7, 1.0, 2.0, 5)])
    other = one.copy()
    for name, value in change.items():
        other[name] = value
    other["recv_ns"], other["flags"] = 99, 1
    assert mixes(one) != mixes(other)
    other[list(change)] = one[list(change)]
    assert mixes(one) == mixes(other), "when it came and what it counts for are no part of it"


def test_a_hundred_thousand_trades_have_a_hundred_thousand_mixes():
    rows = new_rows(100_000)
    places = np.arange(len(rows))
    rows["sym"], rows["trade_id"], rows["price"] = places % 7, places // 50, 100 + places % 3 * 0.01
    rows["size"], rows["venue_ns"] = 1 + places % 5, 1_700_000_000_000_000_000 + places // 10 * 1000
    assert len(np.unique(mixes(rows))) == len(np.unique(rows[list(FIELDS)]))


def test_the_trades_of_each_symbol_are_found():
    known = Known()
    known.add(rows_of([(sym, n, 1.0, 1.0, n) for n, sym in enumerate([3, 1, 3, 2, 1])]))
    known.add(rows_of([(3, 9, 1.0, 1.0, 9)]))
    assert known.count == 6
    assert [sum(len(part) for part in known.of(sym)) for sym in range(5)] == [0, 2, 1, 3, 0]


def test_trap_28_the_loop_goes_round_while_many_are_compared():
    turns = 0

    async def compare():
        rows = new_rows(20 * A_TURN)
        rows["trade_id"] = np.arange(len(rows))
        question, pause = Question(rows[: 4 * A_TURN]), Pause()
        await question.begin(pause)
        await question.strike([mixes(rows)], pause)

    async def scenario():
        nonlocal turns
        work = asyncio.create_task(compare())
        while not work.done():
            turns += 1
            await asyncio.sleep(0)

    asyncio.run(scenario())
    assert turns >= 20 * 4
