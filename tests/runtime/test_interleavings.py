"""What may happen between two turns of a repair: a link lost again, a mark taken, a symbol loaded anew, a late correction."""

from __future__ import annotations

import asyncio
import os

import numpy as np
import pytest

from hands.core.market import Market, RowKind
from hands.core.units import NS_PER_S
from hands.venues.alpaca.snapshots import VenueUnavailable
from tests.runtime.test_lost_notices import Told
from tests.runtime.test_repairs import (
    LINK,
    SYMBOLS,
    Past,
    T,
    World,
    a_busy_stretch,
    a_minute,
    audited,
    cancel,
    correction,
    market_rows,
    trade_at,
)


def digests_after(rows):
    market = Market(SYMBOLS, (5, 60))
    market.consume(rows.copy(), 0, len(rows))
    return [market.digest(sym) for sym in range(len(SYMBOLS))]


class UpToNow(Past):
    """History that knows nothing of the future: here all of it is written down already."""

    async def trades(self, symbols, start_ns, end_ns, *, pages=None):
        return await super().trades(symbols, start_ns, min(end_ns, self.now_ns()), pages=pages)


def a_world(rows, **options):
    world = World(UpToNow(rows), **options)
    world.past.now_ns = lambda: world.now_ns
    return world


async def turned(turns):
    for _ in range(turns):
        await asyncio.sleep(0)


@pytest.mark.parametrize("turns", range(0, 40, 3))
def test_a_link_that_is_lost_again_while_its_gap_is_filled_loses_nothing(turns):
    """Whatever was being put in when the filling was given up is put in by the next."""
    rows = a_minute()
    world = a_world(rows)

    async def scenario():
        world.take(rows[:40].copy())
        world.lose()
        world.find()
        world.take(rows[60:80].copy())
        await turned(turns)
        world.lose()
        world.find()
        world.take(rows[80:].copy())
        await world.mended()

    asyncio.run(scenario())
    assert world.digests() == digests_after(rows)


def test_a_filling_that_is_given_up_before_the_state_is_made_has_put_in_nothing(monkeypatch):
    rows = a_minute()
    world = a_world(rows)
    replay = world.repairs._replay

    async def lost_again(*arguments):
        monkeypatch.setattr(world.repairs, "_replay", replay)
        world.lose()
        world.find()
        world.take(rows[80:].copy())
        await asyncio.sleep(0)
        raise AssertionError("it should have been cancelled")

    monkeypatch.setattr(world.repairs, "_replay", lost_again)

    async def scenario():
        world.take(rows[:40].copy())
        world.lose()
        world.find()
        world.take(rows[60:80].copy())
        await world.mended()

    asyncio.run(scenario())
    assert world.digests() == digests_after(rows)


@pytest.mark.parametrize("turn", range(3))
def test_a_mark_that_falls_due_during_a_repair_does_not_make_it_forget_what_was_put_in_earlier(turn):
    """The housekeeping's second may come between any two turns; a later repair goes back further than all of it."""
    rows = a_busy_stretch(60_000)
    lost = slice(20_000, 20_010)
    right = rows.copy()
    right["flags"][[16_000, 16_002]] = 0
    assert rows["sym"][[16_000, 16_002, 20_000]].tolist() == [0, 0, 0]
    world = World(Past(rows), capacity=1 << 17)

    async def scenario():
        world.take(rows[: lost.start].copy())
        world.take(rows[lost.stop : 30_000].copy())
        world.recent.mark(0, world.now_ns)
        world.take(rows[30_000:].copy())
        world.now_ns = int(rows["venue_ns"][-1]) + 5 * NS_PER_S
        await world.audit().compare(LINK, world.feed)
        assert world.repairs.counts.trades == 10
        world.repairs.take_notice(cancel(rows[16_000]))
        while not world.recent.turn.locked():  # noqa: ASYNC110
            await asyncio.sleep(0)
        await turned(turn)
        for minute in (1, 2):
            world.recent.mark_some(world.now_ns + minute * 61 * NS_PER_S, 2)
        await world.mended()
        world.repairs.take_notice(cancel(rows[16_002]))
        await world.mended()

    asyncio.run(scenario())
    assert world.repairs.counts.corrected == 2
    assert world.digests() == digests_after(right)


def test_a_mark_that_was_taken_amid_the_disorder_is_not_gone_back_to():
    """A repair takes one when it is done, whatever the next row is."""
    rows = a_minute()
    came = rows[[*range(60), 62, 63, 60, 61, *range(64, len(rows))]]
    world = World(Past(rows))

    async def scenario():
        world.take(rows[:40].copy())
        for sym in range(2):
            world.recent.start_anew(sym, world.now_ns)
        world.take(came[40:62].copy())
        for sym in range(2):
            world.recent.mark(sym, world.now_ns)
        world.take(came[62:70].copy())
        world.now_ns = int(rows["venue_ns"][40]) + NS_PER_S
        world.feed.disordered = [0, 1]
        world.repairs.put_in_order()
        await world.mended()
        world.take(came[70:].copy())
        world.now_ns += 6 * NS_PER_S
        world.repairs.put_in_order()
        await world.mended()

    asyncio.run(scenario())
    assert world.repairs.counts.ordered == 2
    assert world.digests() == digests_after(rows)


def test_what_is_lost_after_a_symbol_was_loaded_anew_within_its_gap_is_put_in():
    """The load knew what there was until it ended; the other feed's rows went on meanwhile."""
    rows = a_minute()
    rows = rows[rows["kind"] == RowKind.TRADE]
    world = World(Past(rows))
    world.feed.symbols = SYMBOLS[:1]
    ours = rows["sym"] == 0

    async def scenario():
        world.take(rows[:30].copy())
        world.lose()
        await turned(3)
        world.take(rows[30:40][~ours[30:40]].copy())
        loaded = rows[:40][ours[:40]].copy()
        world.market.consume(loaded[loaded["venue_ns"] >= rows["venue_ns"][30]], 0, int(ours[30:40].sum()))
        world.recent.start_anew(0, world.now_ns)  # as a load does that had begun before the link was lost
        await world.recent.remember(loaded)
        world.take(rows[40:60][~ours[40:60]].copy())
        world.find()
        world.take(rows[60:].copy())
        await world.mended()

    asyncio.run(scenario())
    assert world.digests() == digests_after(rows)
    assert not world.reloaded


def test_a_history_that_knows_nothing_yet_is_not_one_that_names_its_trades_in_another_way():
    rows = market_rows([(n % 2, True, 50, (n % 5) - 2) for n in range(200)])
    world = World(Past(rows, answers=[0]))

    async def scenario():
        world.take(rows[:100].copy())
        world.lose()
        world.find()
        world.take(rows[120:].copy())
        await world.mended()

    asyncio.run(scenario())
    assert world.reloaded == []
    assert world.digests() == digests_after(rows)


def test_a_gap_that_nobody_answers_for_is_left_to_a_load_and_marks_are_taken_again(monkeypatch):
    """Otherwise nothing of that link could be corrected or audited until it is lost once more."""
    monkeypatch.setattr("hands.runtime.gaps.GIVE_UP_AFTER", 2)
    rows = a_minute()
    world = World(Past(rows, answers=[VenueUnavailable("never")] * 2))
    faults = []

    async def reload(symbols):
        faults.append(world.gaps.fault)
        world.reloaded.append(tuple(symbols))

    world.gaps._reload = reload

    async def scenario():
        world.take(rows[:40].copy())
        world.lose()
        world.find()
        world.take(rows[60:].copy())
        await world.mended()
        await turned(2)

    asyncio.run(scenario())
    assert world.reloaded == [SYMBOLS]
    assert "never" in faults[0], "until it is loaded"
    assert world.gaps.fault is None
    assert not world.gaps.is_open(LINK)
    reach_ns = world.recent.marked_since_ns(0)
    for minute in (1, 2, 3):
        world.recent.mark_some(world.now_ns + minute * 61 * NS_PER_S, 2)
    assert world.recent.marked_since_ns(0) > reach_ns


def test_of_two_loads_of_one_link_only_the_later_goes_on(monkeypatch):
    monkeypatch.setattr("hands.runtime.gaps.GIVE_UP_AFTER", 1)
    rows = a_minute()
    world = World(Past(rows, answers=[VenueUnavailable("never")] * 2))
    loading, ended = [], []

    async def reload(symbols):
        loading.append(symbols)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(symbols)

    world.gaps._reload = reload

    async def scenario():
        world.take(rows[:40].copy())
        for _ in range(2):
            world.lose()
            world.find()
            await world.mended()
            await turned(3)
        assert (len(loading), len(ended)) == (2, 1)
        await world.gaps.stop()

    asyncio.run(scenario())
    assert len(ended) == 2


def test_a_corrected_trade_that_history_still_tells_of_as_it_was_does_not_come_back():
    """The stream says it first; until history says it too, an audit must not take the wrong trade for a missing one."""
    rows = a_minute()
    place = trade_at(rows, 70)
    world = World(Past(rows))
    for sym in range(2):
        world.recent.start_anew(sym, T - NS_PER_S)
    world.take(rows.copy())
    world.notice(correction(rows[place]))
    right = rows.copy()
    right["trade_id"][place], right["price"][place], right["size"][place] = 9001, 77.77, 3.0
    assert world.digests() == digests_after(right)
    world.now_ns += 5 * NS_PER_S
    asyncio.run(world.audit().compare(LINK, world.feed))
    assert world.digests() == digests_after(right)


def test_a_correction_that_history_told_of_first_counts_once():
    """The audit has taken the wrong one back and put the right one in; then the stream says the same."""
    rows = a_minute()
    place = trade_at(rows, 70)
    world = World(Told(rows))
    for sym in range(2):
        world.recent.start_anew(sym, T - NS_PER_S)
    world.take(rows.copy())
    right = world.past.takes_back(rows, place, becomes=77.77)
    audited(world)
    assert world.digests() == digests_after(right)
    world.notice(correction(rows[place], size=float(rows["size"][place])))
    assert world.digests() == digests_after(right)


def test_an_audit_that_had_to_ask_about_few_symbols_asks_about_all_again():
    rows = a_minute()
    world = World(Past(rows, complete=False))
    world.take(rows.copy())
    audit = world.audit(lambda: world.now_ns + 5 * NS_PER_S)

    async def scenario():
        for _ in range(3):
            world.past.complete = len(world.past.asked) >= 1
            await audit.compare(LINK, world.feed)
            world.now_ns += 15 * NS_PER_S

    asyncio.run(scenario())
    assert [len(symbols) for symbols, _, _ in world.past.asked] == [2, 1, 2]


def test_a_correction_that_comes_as_the_last_one_is_done_does_not_wait_for_another(monkeypatch):
    rows = a_minute()
    first, second = trade_at(rows, 60), trade_at(rows, 70)
    world = World(Past(rows))
    some = world.repairs._correct_some

    async def and_another():
        await some()
        if world.repairs.counts.corrected == 1:
            asyncio.get_running_loop().call_soon(world.repairs.take_notice, cancel(rows[second]))

    monkeypatch.setattr(world.repairs, "_correct_some", and_another)

    async def scenario():
        world.take(rows.copy())
        world.repairs.take_notice(cancel(rows[first]))
        async with asyncio.timeout(10):
            while world.repairs.counts.corrected < 2:  # noqa: ASYNC110
                await asyncio.sleep(0)

    asyncio.run(scenario())


OPERATIONS = ("lose", "find", "find", "silence", "cancel", "cancel", "mark", "audit", "disorder", "", "", "")


class Storm:
    """Everything at once: rows come, are lost, come out of order, are taken back, while repairs of every kind go on."""

    def __init__(self, seed: int) -> None:
        self.chance = rng = np.random.default_rng(seed)
        steps = [
            (int(rng.integers(2)), rng.random() < 0.8, int(rng.integers(5, 80)), int(rng.integers(-5, 6))) for _ in range(1500)
        ]  # fmt: skip
        self.rows = market_rows(steps)
        self.trades = np.flatnonzero(self.rows["kind"] == RowKind.TRADE)
        self.world = a_world(self.rows, capacity=1 << 14)
        self.cancelled: set[int] = set()
        self.struck: set[int] = set()
        corrected = self.world.repairs._corrected

        def noted(sym, notice):
            place = corrected(sym, notice)
            self.struck |= set() if place is None else {notice.trade_id}
            return place

        self.world.repairs._corrected = noted

    async def play(self) -> None:
        rng, world, rows, place = self.chance, self.world, self.rows, 200
        audit, comparing = world.audit(), None
        world.take(rows[:place].copy())
        while place < len(rows) - 2:
            some = rows[place : min(place + int(rng.integers(1, 40)), len(rows) - 2)].copy()
            what = str(rng.choice(OPERATIONS))
            if what == "audit" and (comparing is None or comparing.done()):
                comparing = asyncio.create_task(audit.compare(LINK, world.feed))
            self.happen(what, place)
            if what == "disorder" and world.feed.is_up:
                some = some[
                    np.argsort(some["venue_ns"] + rng.integers(0, 150_000_000, len(some)), kind="stable")
                ]
                world.feed.disordered = [0, 1]
            if world.feed.is_up:
                world.take(some)
            place += len(some)
            world.now_ns = max(world.now_ns, int(rows["venue_ns"][place - 1]) + 1)
            world.repairs.put_in_order()
            await turned(int(rng.integers(0, 4)))
        world.find()
        world.take(rows[place:].copy())  # a quote of each: those that were lost are gone
        await world.mended()
        if comparing is not None:
            await comparing
        world.now_ns += 6 * NS_PER_S
        world.repairs.put_in_order()
        await world.mended()

    def happen(self, what: str, place: int) -> None:
        world = self.world
        if what == "mark":
            world.recent.mark_some(world.now_ns + 61 * NS_PER_S, 1)
        elif what == "find" and not world.feed.is_up:
            world.find()
        elif what == "lose" and world.feed.is_up:
            world.lose()
        elif what == "silence" and world.feed.is_up:
            world.gaps.silence_over(LINK)
        elif what == "cancel" and world.feed.is_up:
            wrong = int(self.chance.choice(self.trades[self.trades < place][-100:]))
            if wrong not in self.cancelled:
                self.cancelled.add(wrong)
                world.repairs.take_notice(cancel(self.rows[wrong]))


@pytest.mark.parametrize("seed", range(500 if os.environ.get("HANDS_SOAK") else 5))
def test_repairs_of_every_kind_at_once_leave_what_should_have_come(seed):
    storm = Storm(seed)
    asyncio.run(storm.play())
    world, right = storm.world, storm.rows.copy()
    right["flags"][np.isin(right["trade_id"], list(storm.struck)) & (right["kind"] == RowKind.TRADE)] = 0
    assert not world.reloaded
    assert world.repairs.counts.corrected + world.repairs.counts.too_old >= len(storm.cancelled)
    assert world.digests() == digests_after(right)
