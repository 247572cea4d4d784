"""Corrections and cancellations of trades that history brought, and those whose word was lost with a connection."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from hands.core.market import Market, RowKind
from hands.core.units import NS_PER_S
from tests.runtime.test_repairs import (
    LINK,
    SYMBOLS,
    Past,
    World,
    a_minute,
    audited,
    cancel,
    correction,
    past_trades,
    played,
    trade_at,
)

LOST, FOUND = 40, 60


def digests_of(rows):
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(rows.copy(), 0, len(rows))
    return [plain.digest(0), plain.digest(1)]


class Told(Past):
    """A history in which some rows were taken back, and others stand in their place."""

    taken_back = np.zeros(0, a_minute(1).dtype)

    async def trades(self, symbols, start_ns, end_ns, *, pages=None):
        found = await super().trades(symbols, start_ns, end_ns, pages=pages)
        stamps = self.taken_back["venue_ns"]
        told = self.taken_back[(stamps >= start_ns) & (stamps <= end_ns)]
        for sym in np.unique(told["sym"]).tolist():
            found.take_back(sym, told[told["sym"] == sym])
        return found

    def takes_back(self, rows, *places, becomes=None):
        """From now on the rows at `places` never were; the first one's price became another."""
        right = rows.copy()
        right["flags"][list(places)] = 0
        kept = np.delete(rows, list(places))
        if becomes is not None:
            right["flags"][places[0]] = rows["flags"][places[0]]
            right["price"][places[0]], right["trade_id"][places[0]] = becomes, 9001
            kept = np.sort(np.append(kept, right[places[0]]), order="venue_ns")
        self.rows, self.taken_back = kept, rows[list(places)]
        return right


@pytest.mark.parametrize("what", ["cancelled", "corrected"])
def test_a_trade_that_a_gap_was_filled_with_can_be_taken_back(what):
    rows = a_minute()
    place = trade_at(rows, 45)
    world = World(Past(rows))
    played(world, rows, LOST, FOUND)
    assert world.digests() == digests_of(rows)
    right = rows.copy()
    if what == "cancelled":
        world.notice(cancel(rows[place]))
        right["flags"][place] = 0
    else:
        world.notice(correction(rows[place]))
        right["trade_id"][place], right["price"][place], right["size"][place] = 9001, 77.77, 3.0
    assert (world.repairs.counts.corrected, world.repairs.counts.too_old) == (1, 0)
    assert world.digests() == digests_of(right)


def test_one_that_came_and_one_that_was_put_in_can_be_taken_back_at_once_in_any_order():
    rows = a_minute()
    first = trade_at(rows, 20)
    sym = int(rows["sym"][first])
    of_symbol = np.flatnonzero((rows["sym"] == sym) & (rows["kind"] == RowKind.TRADE))
    added, last = (int(of_symbol[of_symbol >= begin][0]) for begin in (45, 80))
    right = rows.copy()
    right["flags"][[first, added, last]] = 0
    for order in ((first, added, last), (last, added, first), (added, last, first)):
        world = World(Past(rows))
        played(world, rows, LOST, FOUND)
        world.notice(*(cancel(rows[place]) for place in order))
        assert world.repairs.counts.corrected == 3
        assert world.digests() == digests_of(right)


def test_history_may_go_on_to_tell_of_what_a_trade_that_was_put_in_was_before():
    rows = a_minute()
    place = trade_at(rows, 45)
    world = World(Past(rows))
    played(world, rows, LOST, FOUND)
    world.notice(correction(rows[place]))
    before, put_in = world.digests(), world.repairs.counts.trades
    audited(world)
    assert (world.digests(), world.repairs.counts.trades) == (before, put_in)


def test_one_whose_marks_are_gone_is_too_old():
    rows = a_minute()
    place = trade_at(rows, 45)
    world = World(Past(rows))
    played(world, rows, LOST, FOUND)
    world.recent.mark(int(rows["sym"][place]), world.now_ns)
    before = world.digests()
    world.notice(cancel(rows[place]))
    assert (world.repairs.counts.corrected, world.repairs.counts.too_old) == (0, 1)
    assert world.digests() == before


@pytest.mark.parametrize("becomes", [None, 77.77])
def test_what_was_taken_back_while_the_link_was_down_is_learned_by_the_next_audit(becomes):
    """The gap is asked about from two seconds before it; the trade that was wrong is older."""
    rows = a_minute()
    wrong, other = trade_at(rows, 15), trade_at(rows, 25)
    world = World(Told(rows))
    audit = world.audit()

    async def scenario():
        world.take(rows[:LOST].copy())
        world.now_ns += 5 * NS_PER_S
        await audit.compare(LINK, world.feed)
        world.now_ns -= 5 * NS_PER_S
        world.lose()
        right = world.past.takes_back(rows, wrong, other, becomes=becomes)
        world.find()
        world.take(rows[FOUND:].copy())
        await world.mended()
        assert world.digests() == digests_of(rows)
        world.now_ns += 5 * NS_PER_S
        for _ in range(2):
            await audit.compare(LINK, world.feed)
            await world.mended()
            assert world.digests() == digests_of(right)
            assert (world.repairs.counts.corrected, world.repairs.counts.too_old) == (2, 0)
            world.now_ns += 5 * NS_PER_S

    asyncio.run(scenario())


def test_an_audit_asks_once_about_the_time_before_a_gap():
    rows = a_minute()
    world = World(Past(rows))
    played(world, rows, LOST, FOUND)
    audit = audited(world)
    spans = [end - start for _, start, end in world.past.asked[1:]]
    world.now_ns += 5 * NS_PER_S
    asyncio.run(audit.compare(LINK, world.feed))
    spans.append(world.past.asked[-1][2] - world.past.asked[-1][1])
    assert spans == [60 * NS_PER_S, 5 * NS_PER_S]


def test_what_was_taken_back_just_before_a_gap_is_learned_with_it():
    rows = a_minute()
    wrong = trade_at(rows, LOST - 3)
    world = World(Told(rows))
    right = world.past.takes_back(rows, wrong, becomes=77.77)
    played(world, rows, LOST, FOUND)
    assert world.digests() == digests_of(right)


def test_what_is_told_again_is_not_done_again():
    rows = a_minute()
    place = trade_at(rows, 70)
    world = World(Told(rows))
    right = world.past.takes_back(rows, place)
    world.take(rows.copy())
    for _ in range(2):
        audited(world)  # a new one, which begins a minute ago
        assert world.digests() == digests_of(right)
        assert world.repairs.counts.corrected == 1


def test_of_what_history_says_was_taken_back_no_more_is_done_than_can_wait(monkeypatch):
    monkeypatch.setattr("hands.runtime.repairs.NOTICES_MAX", 2)
    rows = a_minute()
    world = World(Told(rows))
    places = [trade_at(rows, place) for place in (70, 80, 90)]
    world.past.takes_back(rows, *places)
    world.take(rows.copy())
    audited(world)
    assert world.repairs.counts.corrected == 2


@pytest.mark.parametrize("name", ["trade_id", "price", "size", "venue_ns"])
def test_what_is_taken_back_is_that_trade_and_no_other(name):
    rows = a_minute()
    world = World(Past(rows))
    world.take(rows.copy())
    other = rows[[trade_at(rows, 70)]]
    other[name] += 1
    found = past_trades(rows)
    found.take_back(int(other["sym"][0]), other)

    async def scenario():
        world.repairs.take_back(found)
        await world.mended()

    asyncio.run(scenario())
    assert world.digests() == digests_of(rows)
    assert (world.repairs.counts.corrected, world.repairs.counts.too_old) == (0, 0)
