"""Quiet or mute: what silence means, per stream and per symbol, and how often the venue is asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from hands.core.events import Link
from hands.core.market import Market, RowFlag, RowKind, new_rows
from hands.core.units import NS_PER_S
from hands.runtime import liveness
from hands.runtime.liveness import Liveness

SYMBOLS = ("AAPL", "SPY", "QQQ", "TSLA")
LINK = Link.EQUITY_DATA
T = 1_700_000_000 * NS_PER_S
MUTE_S = 30.0


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(liveness, "LOOK_AGAIN_S", 0.001)


@dataclass
class Feed:
    symbols: tuple[str, ...] = SYMBOLS
    is_up: bool = True
    expects_data: bool = True
    venue_offset_ns: int = 0
    up_since_ns: int = T - 3600 * NS_PER_S
    heard_ns: int = 0
    dropped: list[str] = field(default_factory=list)
    excused: int = 0

    def drop(self, reason):
        self.dropped.append(reason)
        self.is_up = False

    def excuse(self):
        self.excused += 1


class World:
    """A feed, a market and a venue whose latest quotes the test sets; `None` is no answer."""

    def __init__(self):
        self.market = Market(SYMBOLS)
        self.feed = Feed()
        self.now_ns = T
        self.latest = {}
        self.asked = []
        self.mute = []
        self.liveness = Liveness(
            {LINK: self.feed}, self.market, self._latest_quote, lambda: self.now_ns, mute_after_s=MUTE_S,
            on_mute=lambda link, symbol: self.mute.append((link, symbol)),
        )  # fmt: skip

    def quote(self, symbol, stamp_ns, recv_ns=None):
        rows = new_rows(1)
        rows["sym"], rows["kind"], rows["flags"] = self.market.index[symbol], RowKind.QUOTE, RowFlag.ELIGIBLE
        rows["price"], rows["price2"], rows["size"], rows["size2"] = 100.0, 100.1, 1.0, 1.0
        rows["venue_ns"], rows["recv_ns"] = stamp_ns, stamp_ns if recv_ns is None else recv_ns
        self.market.consume(rows, 0, 1)

    async def _latest_quote(self, symbol):
        self.asked.append(symbol)
        await asyncio.sleep(0)
        stamp_ns = self.latest.get(symbol)
        if stamp_ns is not None:
            self.quote(symbol, stamp_ns, self.now_ns)
        return stamp_ns

    @staticmethod
    def while_waiting(monkeypatch, happens):
        """Have something happen while the stream is given its moment."""

        async def sleep(seconds):
            if seconds:
                happens()

        monkeypatch.setattr(liveness, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": sleep}))

    def silent_stream(self):
        async def scenario():
            self.liveness.judge_silence(LINK)
            self.liveness.judge_silence(LINK)  # asked twice, judged once
            while self.liveness._judging:  # noqa: ASYNC110  (what is waited for has no event of its own)
                await asyncio.sleep(0)

        asyncio.run(scenario())

    def look(self, seconds=1.0):
        """Let so many seconds pass, a look in each of them."""

        async def scenario():
            for _ in range(int(seconds)):
                self.now_ns += NS_PER_S
                symbol = self.liveness._silent_symbol(LINK, self.feed)
                if symbol is not None:
                    await self.liveness._judge_symbol(LINK, self.feed, symbol)

        asyncio.run(scenario())

    def all_quoted(self, ago_s):
        for symbol in SYMBOLS:
            stamp_ns = self.now_ns - int(ago_s * NS_PER_S)
            self.quote(symbol, stamp_ns)
            self.latest[symbol] = stamp_ns


# --- streams -------------------------------------------------------------------------------------------------


def test_a_silent_stream_whose_quotes_are_the_latest_is_a_quiet_market():
    world = World()
    world.all_quoted(ago_s=40)
    world.silent_stream()
    assert (world.feed.dropped, world.feed.excused) == ([], 1)
    assert len(world.asked) == 3, "three witnesses are enough"


def test_trap_24_a_silent_stream_behind_the_venue_is_mute():
    world = World()
    world.all_quoted(ago_s=40)
    world.latest["SPY"] = world.now_ns - 10 * NS_PER_S
    world.quote("SPY", world.now_ns - 35 * NS_PER_S)  # the last that was heard: it is asked about first
    world.silent_stream()
    assert world.asked == ["SPY"]
    assert "newer quote of SPY" in world.feed.dropped[0]


def test_a_silent_stream_of_a_venue_that_does_not_answer_is_dropped():
    world = World()
    world.all_quoted(ago_s=40)
    world.latest.clear()
    world.silent_stream()
    assert "does not answer either" in world.feed.dropped[0]


def test_one_answer_is_enough_to_call_it_quiet():
    world = World()
    world.all_quoted(ago_s=40)
    world.latest = {"QQQ": world.latest["QQQ"]}
    world.silent_stream()
    assert (world.feed.dropped, world.feed.excused) == ([], 1)


@pytest.mark.parametrize("made_s_ago", [0.0, 1.0, 10.0])
def test_trap_24_however_new_the_venues_quote_is_a_stream_that_does_not_bring_it_is_mute(made_s_ago):
    """Of a busy symbol the latest quote is always a moment old: that it may be on its way excuses nobody for ever."""
    world = World()
    world.all_quoted(ago_s=40)
    for symbol in SYMBOLS:
        world.latest[symbol] = world.now_ns - int(made_s_ago * NS_PER_S)
    world.silent_stream()
    assert (len(world.feed.dropped), world.feed.excused) == (1, 0)


def test_what_the_stream_has_had_no_time_to_bring_it_has_not_withheld(monkeypatch):
    """Its newest quote was on the way: the stream brings a row while it is being judged."""
    world = World()
    world.all_quoted(ago_s=40)
    for symbol in SYMBOLS:
        world.latest[symbol] = world.now_ns - NS_PER_S
    world.while_waiting(monkeypatch, lambda: setattr(world.feed, "heard_ns", world.now_ns))
    world.silent_stream()
    assert (world.feed.dropped, world.feed.excused) == ([], 1)


def test_quotes_from_before_the_connection_prove_nothing():
    world = World()
    world.feed.up_since_ns = world.now_ns - 60 * NS_PER_S
    for symbol in SYMBOLS:
        world.latest[symbol] = world.now_ns - 3600 * NS_PER_S
    world.silent_stream()
    assert (world.feed.dropped, world.feed.excused) == ([], 1)


def test_the_venues_clock_is_taken_into_account(monkeypatch):
    """Ahead by 1.3 s: a quote stamped now was made 1.3 s ago, one stamped a second ago 2.3 s ago."""
    for stamp_s_ago, may_be_on_its_way in ((0.0, True), (1.0, False)):
        world, waits = World(), []
        world.all_quoted(ago_s=40)
        world.feed.venue_offset_ns = -13 * NS_PER_S // 10
        for symbol in SYMBOLS:
            world.latest[symbol] = world.now_ns - int(stamp_s_ago * NS_PER_S)
        world.while_waiting(monkeypatch, lambda waits=waits: waits.append(1))
        world.silent_stream()
        assert bool(waits) is may_be_on_its_way


# --- symbols -------------------------------------------------------------------------------------------------


def alive(world, *symbols):
    """Have these symbols heard of just now."""
    for symbol in symbols:
        world.quote(symbol, world.now_ns)
        world.latest[symbol] = world.now_ns


def test_a_symbol_that_is_quiet_on_a_live_stream_is_asked_about_ever_more_seldom():
    world = World()
    world.all_quoted(ago_s=0)
    for _ in range(1200):
        alive(world, "AAPL", "QQQ", "TSLA")
        world.look()
    assert set(world.asked) == {"SPY"}
    assert 4 <= len(world.asked) <= 7, "after 30 s, 60 s, 120 s ..."
    assert world.feed.dropped == []


def test_a_symbol_that_is_mute_on_a_live_stream_costs_the_connection_once():
    world = World()
    world.all_quoted(ago_s=0)
    began_ns = world.now_ns
    while not world.feed.dropped:
        alive(world, "AAPL", "QQQ", "TSLA")
        world.latest["SPY"] = world.now_ns - 3 * NS_PER_S
        world.look()
    assert 30 <= (world.now_ns - began_ns) / NS_PER_S <= 33
    assert world.mute == [(LINK, "SPY")]
    assert "mute for SPY" in world.feed.dropped[0]
    world.feed.is_up = True
    world.feed.up_since_ns = world.now_ns
    for _ in range(500):  # it stays mute: the others must not pay for it all the time
        alive(world, "AAPL", "QQQ", "TSLA")
        world.latest["SPY"] = world.now_ns - 3 * NS_PER_S
        world.look()
    assert len(world.feed.dropped) == 1


def test_a_busy_symbol_that_is_mute_on_a_live_stream_is_found(monkeypatch):
    """Its latest quote is never older than a moment; only the stream's silence about it tells."""
    world = World()
    world.all_quoted(ago_s=0)
    for _ in range(35):
        alive(world, "AAPL", "QQQ", "TSLA")
        world.latest["SPY"] = world.now_ns
        world.look()
    assert world.mute == [(LINK, "SPY")]


def test_a_symbol_that_speaks_again_while_it_is_judged_is_not_mute(monkeypatch):
    world = World()
    world.all_quoted(ago_s=0)
    world.while_waiting(monkeypatch, lambda: world.quote("SPY", world.now_ns, world.now_ns + 1))
    for _ in range(35):
        alive(world, "AAPL", "QQQ", "TSLA")
        world.latest["SPY"] = world.now_ns
        world.look()
    assert world.asked
    assert world.feed.dropped == []


def test_one_symbol_is_asked_about_at_a_time_and_not_all_at_once():
    world = World()
    world.all_quoted(ago_s=40)
    world.look(12)
    assert len(world.asked) == 4
    assert set(world.asked) == set(SYMBOLS)


@pytest.mark.parametrize("why", ["closed", "down"])
def test_where_no_data_is_expected_nobody_is_asked(why):
    world = World()
    world.all_quoted(ago_s=4000)
    world.feed.expects_data = why != "closed"
    world.feed.is_up = why != "down"
    world.look(60)
    assert world.asked == []


def test_a_symbol_that_was_never_heard_of_is_given_time_from_the_connection_on():
    world = World()
    world.feed.up_since_ns = world.now_ns
    world.look(29)
    assert world.asked == []
    world.look(3)
    assert world.asked


def test_no_answer_is_no_proof():
    world = World()
    world.all_quoted(ago_s=40)
    world.latest.clear()
    world.look(12)
    assert world.asked
    assert world.feed.dropped == []


def test_it_watches_by_itself_and_stops(monkeypatch):
    monkeypatch.setattr(liveness, "LOOK_EVERY_S", 0.001)

    async def scenario():
        world = World()
        world.all_quoted(ago_s=40)
        world.liveness.start()
        async with asyncio.timeout(10):
            while not world.asked:  # noqa: ASYNC110  (what is waited for has no event of its own)
                await asyncio.sleep(0.001)
        await world.liveness.stop()

    asyncio.run(scenario())
