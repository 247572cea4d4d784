"""Where a gap begins, and how far back one can go: what was asked for, and what was repaired, must not hide what is missing."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from hands.core.market import Market, RowFlag, RowKind, new_rows
from hands.core.units import NS_PER_MS, NS_PER_S
from hands.runtime.recent import Recent
from tests.runtime.test_repairs import LINK, SYMBOLS, Past, T, World, a_minute, market_rows


def plain(rows):
    market = Market(SYMBOLS, (5, 60))
    market.consume(rows, 0, len(rows))
    return [market.digest(sym) for sym in range(len(SYMBOLS))]


def asked_for(world, sym, venue_ns):
    """Have the venue's latest quote taken in, as the one who asks does: it moves the market, and no feed brought it."""
    rows = new_rows(1)
    rows[0] = (sym, RowKind.QUOTE, RowFlag.ELIGIBLE, 0, 101.0, 5.0, 101.02, 5.0, venue_ns, venue_ns, 0)
    world.market.consume(rows, 0, 1)
    world.now_ns = max(world.now_ns, venue_ns + NS_PER_MS)


@pytest.mark.parametrize("symbols", [(0,), (0, 1)])
def test_trap_24_a_quote_that_was_asked_for_during_a_mute_does_not_make_the_gap_shorter(symbols):
    """Thirty seconds of silence, then the question whether it is one, then the loss: all of the silence is missing."""
    rows = a_minute(160)
    world = World(Past(rows))

    async def scenario():
        world.take(rows[:40].copy())
        world.feed.heard_ns = int(rows["recv_ns"][39])
        for sym in symbols:
            asked_for(world, sym, int(rows["venue_ns"][99]))
        world.lose()
        world.find()
        world.take(rows[110:].copy())
        await world.mended()

    asyncio.run(scenario())
    assert world.past.asked[0][1] < rows["venue_ns"][39] - NS_PER_S
    assert world.digests() == plain(rows)


def test_a_mute_symbol_is_asked_for_since_the_last_row_that_came_whatever_was_asked_for_since():
    rows = a_minute(160)
    world = World(Past(rows))
    came = rows[:100].copy()
    came = np.concatenate([came[:40], came[40:][came[40:]["sym"] == 0]])

    async def scenario():
        world.take(came)
        world.feed.heard_ns = int(came["recv_ns"][-1])
        asked_for(world, 1, int(rows["venue_ns"][98]))
        world.gaps.note_mute(LINK, "SPY")
        world.lose()
        world.find()
        world.take(rows[100:].copy())
        await world.mended()

    asyncio.run(scenario())
    assert world.digests() == plain(rows)


def test_a_trade_that_was_late_and_lost_still_finds_its_bar():
    """It was made before the last row that came, in a bar that this row closed, and would have come just after it."""
    steps = [(n % 2, True, 700, (n % 5) - 2) for n in range(60)]
    rows = market_rows(steps)
    edge = next(
        n
        for n in range(20, 60)
        if rows["venue_ns"][n] // (5 * NS_PER_S) > rows["venue_ns"][n - 2] // (5 * NS_PER_S)
    )
    late, closing = edge - 2, edge  # of one symbol, on both sides of the end of a bar
    world = World(Past(rows))
    world.feed.heard_ns = int(rows["recv_ns"][closing])

    async def scenario():
        world.take(np.concatenate([rows[:late], rows[late + 1 : closing + 1]]))
        world.lose()
        world.find()
        world.take(rows[closing + 1 :].copy())
        await world.mended()

    asyncio.run(scenario())
    assert world.digests() == plain(rows)


def test_repairs_one_after_the_other_leave_the_oldest_mark():
    """Each goes back to a newer mark; a correction that comes afterwards may be of a trade before all of them."""
    market = Market(("X",))
    recent = Recent(market, T)
    for minute in (1, 2, 3):
        recent.mark_some(T + minute * 60 * NS_PER_S, 1)
    reach_ns = recent.marked_since_ns(0)
    for second in range(1, 10):
        now_ns = T + (180 + second) * NS_PER_S
        mark = recent.settled(0, now_ns)
        assert mark is not None
        recent.repaired(mark, now_ns)
    assert recent.marked_since_ns(0) == reach_ns
