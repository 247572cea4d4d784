"""Gaps, corrections and cancellations: afterwards everything is as if nothing had gone wrong."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from hands.core.events import Link
from hands.core.market import Market, RowFlag, RowKind, TriggerDirection, TriggerOn, new_rows
from hands.core.units import NS_PER_MS, NS_PER_S
from hands.runtime.audit import Audit
from hands.runtime.gaps import GAP_MAX_NS, Gaps
from hands.runtime.recent import Recent
from hands.runtime.repairs import REPLAYED_AT_ONCE, Repairs
from hands.venues.alpaca.frames import CancelError, Correction
from hands.venues.alpaca.history import PastTrades
from hands.venues.alpaca.snapshots import VenueUnavailable

SYMBOLS = ("AAPL", "SPY")
LINK = Link.EQUITY_DATA
T = 1_700_000_000 * NS_PER_S - 1_700_000_000 * NS_PER_S % (300 * NS_PER_S)
STAMP = Ext(-1, b"\0\0\0\1")


@dataclass
class Feed:
    symbols: tuple[str, ...] = SYMBOLS
    is_up: bool = True
    expects_data: bool = True
    venue_offset_ns: int = 0
    disordered: list[int] = field(default_factory=list)

    heard_of: list[int] = field(default_factory=list)
    heard_ns: int = 2**62

    def know(self, rows):
        self.heard_of += rows["trade_id"].tolist()

    def take_disordered(self):
        found, self.disordered = self.disordered, []
        return found


def past_trades(rows):
    found = PastTrades()
    for sym in np.unique(rows["sym"]).tolist():
        found.add(sym, rows[rows["sym"] == sym])
    return found


@dataclass
class Past:
    """History that knows `rows` as far as `behind` of its answers let it; a failure is raised instead of an answer."""

    rows: np.ndarray
    answers: list[object] = field(default_factory=list)
    asked: list[tuple[tuple[str, ...], int, int]] = field(default_factory=list)

    async def trades(self, symbols, start_ns, end_ns, *, pages=None):
        self.asked.append((tuple(symbols), start_ns, end_ns))
        answer = self.answers.pop(0) if self.answers else len(self.rows)
        if isinstance(answer, Exception):
            raise answer
        known = self.rows[: int(answer)]
        syms = [SYMBOLS.index(symbol) for symbol in symbols]
        wanted = (
            np.isin(known["sym"], syms)
            & (known["kind"] == RowKind.TRADE)
            & (known["venue_ns"] >= start_ns)
            & (known["venue_ns"] <= end_ns)
        )
        found = past_trades(known[wanted])
        found.complete = self.complete
        return found

    complete: bool = True


class World:
    """A market that rows are fed to, its recent rows, and repairs with a history."""

    def __init__(self, past, *, capacity=1 << 12, passes_s=(0.0, 0.0, 0.0)):
        self.market = Market(SYMBOLS, (5, 60))
        self.now_ns = T
        self.recent = Recent(self.market, T, capacity)
        self.feed = Feed()
        self.past = past
        self.reloaded = []
        feeds, clock = {LINK: self.feed}, lambda: self.now_ns
        self.repairs = Repairs(self.market, self.recent, feeds, clock)
        self.gaps = Gaps(
            self.market, self.recent, self.repairs, feeds, past, clock, self._reload, passes_s=passes_s, retry_s=0.001
        )  # fmt: skip

    def audit(self, clock=None, *, every_s=15.0):
        return Audit(
            self.market, self.recent, self.repairs, self.gaps, {LINK: self.feed}, self.past,
            clock or (lambda: self.now_ns), every_s=every_s,
        )  # fmt: skip

    async def _reload(self, symbols):
        self.reloaded.append(tuple(symbols))

    def take(self, rows):
        self.market.consume(rows, 0, len(rows))
        self.recent.keep(rows, len(rows))
        if len(rows):
            self.now_ns = max(self.now_ns, int(rows["venue_ns"].max()) + NS_PER_MS)

    def lose(self):
        self.feed.is_up = False
        self.gaps.link_changed(LINK, up=False)

    def find(self):
        self.feed.is_up = True
        self.gaps.link_changed(LINK, up=True)

    async def mended(self):
        async with asyncio.timeout(10):
            while self.gaps._gaps or not self.repairs.is_idle:  # noqa: ASYNC110  (it has no event of its own)
                await asyncio.sleep(0)

    def notice(self, *notices):
        async def scenario():
            for notice in notices:
                self.repairs.take_notice(notice)
            await self.mended()

        asyncio.run(scenario())

    def put_in_order(self):
        async def scenario():
            self.repairs.put_in_order()
            await self.mended()

        asyncio.run(scenario())

    def digests(self):
        return [self.market.digest(sym) for sym in range(len(SYMBOLS))]


def market_rows(steps):
    """Rows from (sym, is a trade, milliseconds since the last, cents), between two quotes of each symbol."""
    quotes = [(0, False, 5, 0), (1, False, 5, 0)]
    rows, at_ns, price = new_rows(len(steps) + 4), T, 100.0
    for n, (sym, is_trade, ms, cents) in enumerate([*quotes, *steps, *quotes]):
        at_ns += ms * NS_PER_MS
        price = round(max(1.0, price + cents / 100), 2)
        rows[n] = (
            sym, RowKind.TRADE if is_trade else RowKind.QUOTE, RowFlag.ELIGIBLE, 0, price, 1.0 + n % 7, price + 0.02, 5.0,
            at_ns, at_ns + NS_PER_MS, n if is_trade else 0,
        )  # fmt: skip
    return rows


steps = st.lists(
    st.tuples(st.integers(0, 1), st.booleans(), st.integers(1, 900), st.integers(-5, 5)),
    min_size=3,
    max_size=80,
)


@given(
    steps=steps,
    places=st.tuples(st.integers(0, 79), st.integers(0, 79), st.integers(0, 79)),
    lag=st.integers(0, 5),
)
@settings(max_examples=150)
def test_a_gap_that_is_filled_leaves_the_state_of_a_run_without_one(steps, places, lag):
    """However much is lost, whatever comes live before history answers, and though history is behind at first."""
    rows = market_rows(steps)
    lost, found, asked = (place % len(steps) for place in sorted(places))
    lost = max(
        2, lost
    )  # both symbols have been seen: from when on is not known of one whose first row was lost
    found = max(lost, found)
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(rows, 0, len(rows))

    async def scenario():
        world = World(Past(rows, answers=[max(0, found - lag), max(found, asked)]))
        world.take(rows[:lost].copy())
        world.lose()
        world.find()
        world.take(rows[found:asked].copy())
        await asyncio.sleep(0)
        world.take(rows[max(found, asked) :].copy())
        await world.mended()
        assert world.digests() == [plain.digest(0), plain.digest(1)]
        assert world.gaps.fault is None
        assert not world.reloaded

    asyncio.run(scenario())


def a_minute(count=120, every_ms=500):
    return market_rows([(n % 2, n % 3 != 0, every_ms, (n % 5) - 2) for n in range(count)])


def played(world, rows, lost, found):
    """Lose the rows between two places."""

    async def scenario():
        world.take(rows[:lost].copy())
        world.lose()
        world.find()
        world.take(rows[found:].copy())
        await world.mended()

    asyncio.run(scenario())


def test_what_is_asked_for_begins_a_little_before_the_last_row_and_ends_a_little_after_now():
    rows = a_minute()
    world = World(Past(rows))
    world.feed.venue_offset_ns = -1_300 * NS_PER_MS
    played(world, rows, 40, 60)
    ((symbols, start_ns, end_ns), *_) = world.past.asked
    assert symbols == SYMBOLS
    assert start_ns == rows["venue_ns"][39] - 2 * NS_PER_S
    assert end_ns == world.now_ns + 2_300 * NS_PER_MS
    assert world.gaps.filled[LINK].gaps == 1
    assert world.repairs.counts.trades == int((rows["kind"][40:60] == RowKind.TRADE).sum())
    assert sorted(world.feed.heard_of) == sorted(
        rows["trade_id"][40:60][rows["kind"][40:60] == RowKind.TRADE].tolist()
    ), "should they still come on the stream, they must not count twice"


def test_history_that_has_caught_up_is_not_asked_again():
    rows = a_minute()
    world = World(Past(rows))
    played(world, rows, 40, 60)
    assert len(world.past.asked) == 1


def test_a_quiet_market_is_asked_as_often_as_it_pays_and_then_believed():
    rows = a_minute()
    world = World(Past(rows[:50]))
    played(world, rows, 50, len(rows))
    assert len(world.past.asked) == 3
    assert world.gaps.filled[LINK].gaps == 1
    assert not world.gaps.open_gaps


def test_a_gap_within_a_gap_is_one_gap():
    rows = a_minute()
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(rows, 0, len(rows))
    world = World(Past(rows))

    async def scenario():
        world.take(rows[:30].copy())
        world.lose()
        world.find()
        await asyncio.sleep(0)
        world.take(rows[50:55].copy())
        world.lose()
        world.find()
        world.take(rows[70:].copy())
        await world.mended()

    asyncio.run(scenario())
    assert world.digests() == [plain.digest(0), plain.digest(1)]
    assert world.gaps.filled[LINK].gaps == 1


def test_a_venue_that_does_not_answer_is_asked_again_and_it_is_said():
    rows = a_minute()
    world = World(Past(rows, answers=[VenueUnavailable("no"), VenueUnavailable("no")]))
    faults = []

    async def scenario():
        world.take(rows[:40].copy())
        world.lose()
        world.find()
        world.take(rows[60:].copy())
        async with asyncio.timeout(10):
            while world.gaps.open_gaps:
                faults.append(world.gaps.fault)
                await asyncio.sleep(0.0002)

    asyncio.run(scenario())
    assert "a gap is not filled: no" in faults
    assert world.gaps.fault is None
    assert world.gaps.filled[LINK].gaps == 1


@pytest.mark.parametrize("why", ["too long", "too many pages", "too many rows since", "too many bars since"])
def test_a_gap_that_is_too_much_is_loaded_anew(why):
    rows = a_minute(240)
    past = Past(rows, complete=why != "too many pages")
    world = World(past, capacity=32 if why == "too many rows since" else 4096)

    async def scenario():
        world.take(rows[:40].copy())
        world.lose()
        if why == "too long":
            world.now_ns += GAP_MAX_NS + 1
        world.find()
        far = rows[60:].copy()
        if why == "too many bars since":
            far["venue_ns"] += np.arange(len(far)) * 10 * NS_PER_S
        world.take(far)
        await world.mended()
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert world.reloaded == [SYMBOLS]
    assert world.gaps.filled[LINK].gaps == 0


def test_rows_that_leave_the_ring_while_history_is_asked_are_not_forgotten_silently(monkeypatch):
    """A rebuild from the moment before would drop them: better anew from bars."""
    rows = a_minute(240)

    class Flooded(Past):
        async def trades(self, symbols, start_ns, end_ns, *, pages=None):
            world.take(rows[60:].copy())
            return await super().trades(symbols, start_ns, end_ns, pages=pages)

    world = World(Flooded(rows), capacity=32)
    rebuilt = []
    monkeypatch.setattr(world.market, "rebuild", lambda *arguments: rebuilt.append(arguments))

    async def scenario():
        world.take(rows[:20].copy())
        world.lose()
        world.find()
        await world.mended()
        await asyncio.sleep(0)

    asyncio.run(scenario())
    assert rebuilt == []
    assert world.reloaded == [SYMBOLS]


def test_before_the_first_row_there_is_no_gap():
    world = World(Past(new_rows(0)))

    async def scenario():
        world.lose()
        world.find()
        await world.mended()

    asyncio.run(scenario())
    assert world.past.asked == []
    assert world.gaps.filled[LINK].gaps == 0
    assert world.reloaded == []


def test_a_mute_symbol_is_asked_for_since_its_own_last_row():
    """The others were heard until the connection was dropped for it."""
    rows = a_minute()
    heard = rows[(rows["sym"] == 0) | (np.arange(len(rows)) < 30)]
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(rows, 0, len(rows))
    world = World(Past(rows))

    async def scenario():
        before = heard[heard["venue_ns"] < rows["venue_ns"][90]]
        world.take(before.copy())
        world.gaps.note_mute(LINK, "SPY")
        world.lose()
        world.find()
        world.take(rows[90:].copy())
        await world.mended()

    asyncio.run(scenario())
    assert [symbols for symbols, _, _ in world.past.asked[:2]] == [("AAPL",), ("SPY",)]
    assert world.past.asked[1][1] == rows["venue_ns"][:30][rows["sym"][:30] == 1].max()
    assert world.digests() == [plain.digest(0), plain.digest(1)]


def test_no_trigger_fires_for_the_past_and_none_is_lost():
    rows = a_minute()
    rows["price"] = np.where(np.arange(len(rows)) == 50, 500.0, rows["price"])
    world = World(Past(rows))
    slot = world.market.arm(int(rows["sym"][50]), TriggerOn.TRADE, TriggerDirection.ABOVE, 400.0)
    played(world, rows, 40, 60)
    assert world.repairs.counts.trades > 0
    assert world.market.disarm(slot), "it is still armed"


# --- corrections and cancellations ---------------------------------------------------------------------------


def correction(row, **changes):
    facts = {
        "symbol": SYMBOLS[row["sym"]], "time": STAMP, "original_id": int(row["trade_id"]),
        "original_price": float(row["price"]), "original_size": float(row["size"]), "trade_id": 9001, "price": 77.77,
        "size": 3.0, "conditions": ("@",), "tape": "A",
    }  # fmt: skip
    return Correction(**(facts | changes))


def cancel(row, **changes):
    facts = {
        "symbol": SYMBOLS[row["sym"]], "time": STAMP, "trade_id": int(row["trade_id"]), "price": float(row["price"]),
        "size": float(row["size"]), "action": "C",
    }  # fmt: skip
    return CancelError(**(facts | changes))


def trade_at(rows, place):
    """Return the first trade from `place` on."""
    return place + int(np.flatnonzero(rows["kind"][place:] == RowKind.TRADE)[0])


def test_a_corrected_trade_is_as_if_it_had_been_right_at_once():
    rows = a_minute()
    place = trade_at(rows, 70)
    world = World(Past(rows))
    world.take(rows.copy())
    world.notice(correction(rows[place]))
    right = rows.copy()
    right["trade_id"][place], right["price"][place], right["size"][place] = 9001, 77.77, 3.0
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(right, 0, len(right))
    assert world.digests() == [plain.digest(0), plain.digest(1)]
    assert world.repairs.counts.corrected == 1
    world.notice(cancel(right[place]))  # and the corrected one can be taken back too
    assert world.repairs.counts.corrected == 2


def test_a_cancelled_trade_is_as_if_only_time_had_passed():
    rows = a_minute()
    place = trade_at(rows, 70)
    world = World(Past(rows))
    world.take(rows.copy())
    world.notice(cancel(rows[place]))
    right = rows.copy()
    right["flags"][place] = 0
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(right, 0, len(right))
    assert world.digests() == [plain.digest(0), plain.digest(1)]


@pytest.mark.parametrize("what", ["unknown", "before the mark"])
def test_a_correction_of_what_is_not_at_hand_is_counted_and_changes_nothing(what):
    rows = a_minute()
    place = trade_at(rows, 20)
    world = World(Past(rows))
    world.take(rows[:60].copy())
    if what == "before the mark":
        for sym in range(2):
            world.recent.start_anew(sym, world.now_ns)
    world.take(rows[60:].copy())
    before = world.digests()
    notice = correction(rows[place], **({"original_price": 1.0} if what == "unknown" else {}))
    world.notice(notice)
    assert world.digests() == before
    assert (world.repairs.counts.corrected, world.repairs.counts.too_old) == (0, 1)


def test_a_correction_during_a_gap_keeps_what_was_spliced():
    rows = a_minute()
    place = trade_at(rows, 80)
    world = World(Past(rows), passes_s=(0.0, 0.02, 0.04))
    world.past.answers = [60]  # without the overlap: the gap stays open for another pass

    async def scenario():
        world.take(rows[:40].copy())
        world.lose()
        world.find()
        world.take(rows[60:].copy())
        async with asyncio.timeout(10):
            while not world.repairs.counts.trades:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert world.gaps.open_gaps
        world.repairs.take_notice(cancel(rows[place]))
        await world.mended()

    asyncio.run(scenario())
    right = rows.copy()
    right["flags"][place] = 0
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(right, 0, len(right))
    assert world.digests() == [plain.digest(0), plain.digest(1)]


# --- order ---------------------------------------------------------------------------------------------------


def shuffled(rows, places):
    """Let pairs of neighbouring blocks of rows change places."""
    order = list(range(len(rows)))
    for place in places:
        order[place : place + 4] = order[place + 2 : place + 4] + order[place : place + 2]
    return rows[order].copy()


@given(steps=steps, places=st.lists(st.integers(0, 70), min_size=1, max_size=3))
@settings(max_examples=100)
def test_trades_that_came_out_of_order_are_put_in_order(steps, places):
    rows = market_rows(steps)
    came = shuffled(rows, [place % len(rows) for place in places])
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(rows, 0, len(rows))
    world = World(Past(rows))
    world.take(came)
    world.now_ns += 5 * NS_PER_S
    world.feed.disordered = [0, 1]
    world.put_in_order()
    assert world.digests() == [plain.digest(0), plain.digest(1)]
    assert world.repairs.counts.ordered == 2


def test_what_is_too_fresh_to_be_put_in_order_waits():
    rows = a_minute()
    world = World(Past(rows))
    world.now_ns = T + 70 * NS_PER_S
    for sym in range(2):
        world.recent.start_anew(sym, world.now_ns)
    world.take(shuffled(rows, [10]))
    world.feed.disordered = [0]
    world.put_in_order()
    assert world.repairs.counts.ordered == 0
    world.now_ns += 6 * NS_PER_S
    world.put_in_order()
    assert world.repairs.counts.ordered == 1
    world.put_in_order()
    assert world.repairs.counts.ordered == 1, "once is enough"


def test_a_gap_in_a_disordered_stream_is_filled_in_order_too():
    rows = a_minute()
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(rows, 0, len(rows))
    world = World(Past(rows))

    async def scenario():
        world.take(rows[:40].copy())
        world.now_ns += 10 * NS_PER_S
        world.lose()
        world.find()
        await asyncio.sleep(0)
        world.take(shuffled(rows[60:], [5, 20]))
        world.feed.disordered = [0, 1]
        world.repairs.put_in_order()
        await world.mended()

    asyncio.run(scenario())
    assert world.digests() == [plain.digest(0), plain.digest(1)]


# --- losses that nobody sees ---------------------------------------------------------------------------------


def test_a_silence_after_which_rows_come_again_is_checked_and_filled():
    """The link was up all the time; what came first after the silence waits for nothing."""
    rows = a_minute()
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(rows, 0, len(rows))
    world = World(Past(rows))

    async def scenario():
        world.take(rows[:40].copy())
        world.gaps.silence_over(LINK)
        world.take(rows[60:].copy())
        await world.mended()

    asyncio.run(scenario())
    assert world.digests() == [plain.digest(0), plain.digest(1)]
    assert world.gaps.filled[LINK].gaps == 1


def test_a_silence_in_which_nothing_traded_is_no_gap_and_is_not_looked_into_all_the_time():
    rows = a_minute()
    world = World(Past(rows))

    async def scenario():
        world.take(rows[:40].copy())
        for place in range(40, 60):
            world.past.rows = rows[: place + 1]
            world.gaps.silence_over(LINK)
            world.take(rows[place : place + 1].copy())
            await world.mended()

    asyncio.run(scenario())
    assert world.gaps.filled[LINK].gaps == 0
    assert len(world.past.asked) <= 3
    assert world.gaps.open_gaps == ()


def test_a_history_that_names_its_trades_in_another_way_is_not_believed():
    rows = a_minute(every_ms=200)
    other = rows.copy()
    other["trade_id"] += 1000
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(np.concatenate([rows[:40], rows[60:]]), 0, len(rows) - 20)
    world = World(Past(other))
    played(world, rows, 40, 60)
    assert world.digests() == [plain.digest(0), plain.digest(1)]
    assert world.repairs.counts.trades == 0


# --- the audit -----------------------------------------------------------------------------------------------


def audited(world):
    world.feed.expects_data = True
    audit = world.audit()

    async def scenario():
        world.now_ns += 5 * NS_PER_S
        await audit.compare(LINK, world.feed)
        await world.mended()

    asyncio.run(scenario())
    return audit


@given(steps=steps, lost=st.lists(st.integers(0, 79), max_size=10))
@settings(max_examples=60)
def test_single_lost_rows_are_found_by_the_audit(steps, lost):
    rows = market_rows(steps)
    kept = np.ones(len(rows), bool)
    kept[[2 + place % len(steps) for place in lost]] = False
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(rows, 0, len(rows))
    world = World(Past(rows))
    world.recent.start_anew(0, T - NS_PER_S)
    world.recent.start_anew(1, T - NS_PER_S)
    world.take(rows[kept])
    world.now_ns = int(rows["venue_ns"][-1])
    audited(world)
    assert world.digests() == [plain.digest(0), plain.digest(1)]
    assert world.repairs.counts.trades == int((rows["kind"][~kept] == RowKind.TRADE).sum())


def test_the_audit_leaves_the_last_seconds_and_what_it_has_seen():
    rows = a_minute()
    world = World(Past(rows))
    world.take(rows.copy())
    audit = audited(world)
    (_, start_ns, end_ns) = world.past.asked[0]
    assert end_ns == world.now_ns - 3 * NS_PER_S
    world.now_ns += 15 * NS_PER_S
    asyncio.run(audit.compare(LINK, world.feed))
    assert world.past.asked[1][1] == end_ns
    assert end_ns - start_ns == 60 * NS_PER_S


@pytest.mark.parametrize("why", ["down", "nothing expected", "in a gap"])
def test_the_audit_does_not_disturb(why):
    rows = a_minute()
    world = World(Past(rows))
    world.take(rows.copy())
    audit = world.audit()

    async def scenario():
        if why == "in a gap":
            world.lose()
        world.feed.expects_data = why != "nothing expected"
        world.feed.is_up = why != "down"
        await audit.compare(LINK, world.feed)
        await world.gaps.stop()

    asyncio.run(scenario())
    assert world.past.asked == []


def test_the_audit_believes_no_history_that_knows_nothing_of_what_came():
    rows = a_minute()
    other = rows.copy()
    other["trade_id"] += 1000
    world = World(Past(other))
    world.take(rows.copy())
    before = world.digests()
    with pytest.raises(VenueUnavailable, match="another way"):
        audited(world)
    assert world.digests() == before


def test_an_audit_that_needs_too_many_pages_asks_about_fewer_symbols():
    rows = a_minute()
    world = World(Past(rows, complete=False))
    world.take(rows.copy())
    audit = audited(world)
    world.now_ns += 15 * NS_PER_S
    asyncio.run(audit.compare(LINK, world.feed))
    assert [len(symbols) for symbols, _, _ in world.past.asked] == [2, 1]


def test_the_audit_goes_round_by_itself_and_says_when_it_cannot():
    rows = a_minute()
    world = World(Past(rows, answers=[VenueUnavailable("gone")]))
    world.take(rows.copy())
    world.feed.expects_data = True
    audit = world.audit(lambda: world.now_ns + 5 * NS_PER_S, every_s=0.001)

    async def scenario():
        audit.start()
        async with asyncio.timeout(10):
            while audit.fault is None:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await audit.stop()

    asyncio.run(scenario())
    assert "gone" in audit.fault


def test_another_feeds_trades_are_no_strangers():
    """What came on one feed says nothing of another one's history."""
    rows = a_minute(every_ms=200)
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(rows, 0, len(rows))
    one = rows[rows["sym"] == 0]
    world = World(Past(one))
    world.feed.symbols = SYMBOLS[:1]

    async def scenario():
        world.take(rows[:40].copy())
        world.lose()
        world.find()
        live = rows[(rows["sym"] == 1) | (np.arange(len(rows)) >= 60)]
        world.take(live[live["venue_ns"] > rows["venue_ns"][39]].copy())
        await world.mended()

    asyncio.run(scenario())
    assert world.digests() == [plain.digest(0), plain.digest(1)]
    assert not world.reloaded


# --- a little at a time --------------------------------------------------------------------------------------


def turns_until(world, begin):
    """Begin some work and return how often the loop went round until all was repaired."""
    turns = 0

    async def scenario():
        nonlocal turns
        work = begin()
        work = asyncio.create_task(work) if work is not None else None
        while (work is not None and not work.done()) or world.gaps._gaps or not world.repairs.is_idle:
            turns += 1
            await asyncio.sleep(0)

    asyncio.run(scenario())
    return turns


def a_busy_stretch(count=80_000):
    rows = new_rows(count)
    rows["sym"], rows["kind"], rows["flags"] = np.arange(count) % 16 == 1, RowKind.TRADE, RowFlag.ELIGIBLE
    rows["price"], rows["size"] = 100 + np.arange(count) % 50 * 0.01, 1.0
    rows["venue_ns"] = T + np.arange(count) * 100_000
    rows["recv_ns"], rows["trade_id"] = rows["venue_ns"], np.arange(count) + 1
    return rows


def put_down(world):
    world.gaps.link_changed(LINK, up=False)


def put_up(world):
    world.gaps.link_changed(LINK, up=True)


@pytest.mark.parametrize("what", ["a gap", "a correction", "an order", "an audit"])
def test_trap_28_a_repair_of_many_rows_lets_the_loop_go_round(what):
    """Whatever is repaired with a ring full of rows, no turn of the loop takes more than some thousand of them."""
    rows = a_busy_stretch()
    world = World(Past(rows), capacity=1 << 17)
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(rows.copy(), 0, len(rows))
    lost = slice(70_000, 70_000) if what in ("a correction", "an order") else slice(70_000, 70_100)
    world.take(rows[: lost.start].copy())
    heard, enough = rows[lost.stop :].copy(), 80_000 // REPLAYED_AT_ONCE - 1

    def a_gap():
        world.gaps.note_mute(LINK, "AAPL")  # so that what is known begins with the first row
        put_down(world)
        put_up(world)
        world.take(heard)

    def a_correction():
        world.take(heard)
        world.repairs.take_notice(cancel(rows[100]))
        plain.rebuild(Market(SYMBOLS, (5, 60)).checkpoint(int(rows["sym"][100])), without(rows, 100))

    def an_order():
        world.take(heard)
        world.feed.disordered = [0]
        world.now_ns += 6 * NS_PER_S
        world.repairs.put_in_order()

    def an_audit():
        world.take(heard)
        world.now_ns += 5 * NS_PER_S
        return world.audit().compare(LINK, world.feed)

    begin = {"a gap": a_gap, "a correction": a_correction, "an order": an_order, "an audit": an_audit}[what]
    assert turns_until(world, begin) >= enough
    assert world.digests() == [plain.digest(0), plain.digest(1)]


def without(rows, place):
    """Return the rows of the symbol of the one at `place`, that one taken back."""
    found = rows[rows["sym"] == rows["sym"][place]].copy()
    found["flags"][found["trade_id"] == rows["trade_id"][place]] = 0
    return found


def test_rows_that_come_while_a_symbol_is_made_anew_are_not_lost():
    rows = a_busy_stretch(60_000)
    world = World(Past(rows), capacity=1 << 17)
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(rows.copy(), 0, len(rows))
    plain.rebuild(Market(SYMBOLS, (5, 60)).checkpoint(0), without(rows, 100))

    async def scenario():
        world.take(rows[:50_000].copy())
        world.repairs.take_notice(cancel(rows[100]))
        for first in range(50_000, 60_000, 2000):
            await asyncio.sleep(0)
            assert not world.repairs.is_idle
            world.take(rows[first : first + 2000].copy())
        await world.mended()

    asyncio.run(scenario())
    assert world.repairs.counts.corrected == 1
    assert world.digests() == [plain.digest(0), plain.digest(1)]


def test_a_correction_from_before_a_gap_survives_the_filling():
    """The gap's mark was taken before the correction; going back to it would take the correction back."""
    rows = a_minute()
    place = trade_at(rows, 20)
    right = rows.copy()
    right["flags"][place] = 0
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(right, 0, len(right))
    world = World(Past(rows))

    async def scenario():
        world.take(rows[:40].copy())
        world.lose()
        for _ in range(5):
            await asyncio.sleep(0)
        world.repairs.take_notice(cancel(rows[place]))
        while not world.repairs.is_idle:  # noqa: ASYNC110
            await asyncio.sleep(0)
        world.find()
        world.take(rows[60:].copy())
        await world.mended()

    asyncio.run(scenario())
    assert world.repairs.counts.corrected == 1
    assert world.digests() == [plain.digest(0), plain.digest(1)]


def test_a_symbol_that_was_loaded_anew_during_its_gap_is_left_as_it_is():
    rows = a_minute()
    world = World(Past(rows))

    async def scenario():
        world.take(rows[:40].copy())
        world.lose()
        await asyncio.sleep(0)
        world.find()
        world.take(rows[60:].copy())
        for sym in range(2):
            world.recent.start_anew(sym, world.now_ns)
        before = world.digests()
        await world.mended()
        assert world.digests() == before

    asyncio.run(scenario())
    assert world.reloaded == []


def test_more_corrections_than_can_wait_are_counted_and_left(monkeypatch):
    monkeypatch.setattr("hands.runtime.repairs.NOTICES_MAX", 2)
    rows = a_minute()
    world = World(Past(rows))
    world.take(rows.copy())
    places = [trade_at(rows, place) for place in (30, 50, 70)]
    world.notice(*(cancel(rows[place]) for place in places))
    assert (world.repairs.counts.corrected, world.repairs.counts.too_old) == (2, 1)


def test_the_marks_from_before_a_gap_outlast_it():
    """A link may be away for minutes, while others bring rows and marks are renewed every minute."""
    rows = a_minute()
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(rows, 0, len(rows))
    world = World(Past(rows))

    async def scenario():
        world.take(rows[:40].copy())
        world.lose()
        for minute in range(1, 5):
            await asyncio.sleep(0)
            world.recent.mark_some(world.now_ns + minute * 61 * NS_PER_S, 10)
        world.find()
        world.take(rows[60:].copy())
        world.recent.mark_some(world.now_ns + 310 * NS_PER_S, 10)
        world.recent.mark_some(world.now_ns + 370 * NS_PER_S, 10)
        await world.mended()

    asyncio.run(scenario())
    assert world.reloaded == []
    assert world.digests() == [plain.digest(0), plain.digest(1)]


def test_marks_that_were_taken_before_a_repair_of_what_preceded_them_are_not_gone_back_to():
    rows = a_minute()
    early, late = trade_at(rows, 20), trade_at(rows, 80)
    sym = int(rows["sym"][early])
    late += int(np.flatnonzero((rows["sym"][late:] == sym) & (rows["kind"][late:] == RowKind.TRADE))[0])
    right = rows.copy()
    right["flags"][[early, late]] = 0
    plain = Market(SYMBOLS, (5, 60))
    plain.consume(right, 0, len(right))
    world = World(Past(rows))
    world.take(rows[:60].copy())
    world.recent.mark(sym, world.now_ns)
    world.take(rows[60:].copy())
    world.notice(cancel(rows[early]))
    world.notice(cancel(rows[late]))
    assert world.repairs.counts.corrected == 2
    assert world.digests() == [plain.digest(0), plain.digest(1)]
