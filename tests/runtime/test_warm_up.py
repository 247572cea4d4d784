"""History before the first tick: the state it leaves is that of an engine that has been listening all along."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest

from hands.core.bars import BAR
from hands.core.events import Link
from hands.core.market import Bar, Market, RowFlag, RowKind, TriggerDirection, TriggerOn, new_rows
from hands.core.units import NS_PER_MS, NS_PER_S
from hands.runtime.recent import Recent
from hands.runtime.warm_up import JOINS_MAX, MINUTE_NS, WarmUp, put_together
from hands.venues.alpaca.history import PastTrades
from hands.venues.alpaca.snapshots import VenueUnavailable

SYMBOLS = ("AAPL", "BTC/USD")
DAY_NS = 86_400 * NS_PER_S
MIDNIGHT = 1_700_000_000 * NS_PER_S // DAY_NS * DAY_NS
OPEN = MIDNIGHT + 14 * 3600 * NS_PER_S + 1800 * NS_PER_S
NOW = OPEN + 6 * 3600 * NS_PER_S + 3 * MINUTE_NS + 17 * NS_PER_S


@dataclass
class Feed:
    symbols: tuple[str, ...]
    venue_offset_ns: int = 0

    def know(self, rows):
        """What history told of would be recognised on the stream."""


def past_trades(rows):
    found = PastTrades()
    for sym in np.unique(rows["sym"]).tolist():
        found.add(sym, rows[rows["sym"] == sym])
    return found


@dataclass
class Past:
    """History of `rows`, minutes put together from them; `failures` are raised first."""

    rows: np.ndarray
    failures: list[Exception] = field(default_factory=list)
    asked: list[tuple[str, tuple[str, ...], int, int]] = field(default_factory=list)

    def _asked(self, kind, symbols, start_ns, end_ns):
        self.asked.append((kind, tuple(symbols), start_ns, end_ns))
        if self.failures:
            raise self.failures.pop(0)
        syms = [SYMBOLS.index(symbol) for symbol in symbols]
        within = (self.rows["venue_ns"] >= start_ns) & (self.rows["venue_ns"] <= end_ns)
        return self.rows[np.isin(self.rows["sym"], syms) & within]

    async def trades(self, symbols, start_ns, end_ns):
        return past_trades(self._asked("trades", symbols, start_ns, end_ns))

    async def minute_bars(self, symbols, start_ns, end_ns):
        rows = self._asked("bars", symbols, start_ns, end_ns)
        return {symbol: minutes(rows[rows["sym"] == SYMBOLS.index(symbol)], end_ns) for symbol in symbols}


def minutes(rows, end_ns):
    """As `History` gives them."""
    bars = minute_bars(rows, end_ns)
    found = np.zeros(len(bars), BAR)
    for record, bar in zip(found, bars, strict=True):
        record["start_ns"], record["notional"] = bar.start_ns, bar.volume * bar.vwap
        for name in ("open", "high", "low", "close", "volume", "trades"):
            record[name] = getattr(bar, name)
    return found


def minute_bars(rows, end_ns):
    found = []
    for start_ns in np.unique(rows["venue_ns"] // MINUTE_NS * MINUTE_NS).tolist():
        part = rows[rows["venue_ns"] // MINUTE_NS * MINUTE_NS == start_ns]
        price, size = part["price"], part["size"]
        if start_ns + MINUTE_NS <= end_ns:
            vwap = float((price * size).sum() / size.sum())
            found.append(
                Bar(
                    start_ns,
                    price[0],
                    price.max(),
                    price.min(),
                    price[-1],
                    float(size.sum()),
                    vwap,
                    len(part),
                )
            )
    return found


def a_day(seed=3, every_s=7):
    """Trades of both symbols from the open until a little after `NOW`."""
    times = np.arange(OPEN, NOW + 60 * NS_PER_S, every_s * NS_PER_S)
    rows, rng = new_rows(len(times)), np.random.default_rng(seed)
    rows["sym"] = np.arange(len(times)) % 2
    rows["kind"], rows["flags"] = RowKind.TRADE, RowFlag.ELIGIBLE
    rows["price"] = np.round(150 + np.cumsum(rng.normal(0, 0.05, len(times))), 2)
    rows["size"] = rng.integers(1, 300, len(times))
    rows["venue_ns"] = times + rng.integers(0, NS_PER_S, len(times))
    rows["recv_ns"] = rows["venue_ns"] + NS_PER_MS
    rows["trade_id"] = np.arange(len(times)) + 1
    return rows


class World:
    """An engine that starts at `NOW`."""

    def __init__(self, past, *, intervals_s=(60, 300), session=OPEN, capacity=1 << 17):
        self.market = Market(SYMBOLS, intervals_s)
        self.now_ns = NOW
        self.recent = Recent(self.market, NOW, capacity=capacity)
        feeds = {Link.EQUITY_DATA: Feed(SYMBOLS[:1]), Link.CRYPTO_DATA: Feed(SYMBOLS[1:])}
        self.past = past
        self.warm_up = WarmUp(
            self.market, self.recent, feeds, past, lambda: self.now_ns, lambda symbol, now_ns: session,
            retries_s=(0.0, 0.0, 0.0), seldom_s=0.001,
        )  # fmt: skip

    def take(self, rows):
        rows = rows.copy()
        at = 0
        while at < len(rows):
            at = self.market.consume(rows, at, len(rows))
        self.recent.keep(rows, len(rows))

    def load(self):
        asyncio.run(self.warm_up.load(SYMBOLS))


def listening_all_along(rows, intervals_s=(60, 300)):
    market = Market(SYMBOLS, intervals_s)
    for sym in range(2):
        market.set_session(sym, OPEN, 0)
    market.consume(rows.copy(), 0, len(rows))
    return market


def shown(market, sym, interval_s):
    return msgspec.structs.asdict(market.indicators(sym, interval_s))


def on_bars(market, sym, interval_s):
    """What is taken at the close of bars, and the session's sums."""
    return {
        k: v
        for k, v in shown(market, sym, interval_s).items()
        if not k.startswith("tick_") and k != "volume_24h"
    }


def same(found, expected, rel=1e-9):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value is None or found[name] is None:
            assert found[name] is value, name
        else:
            assert found[name] == pytest.approx(value, rel=rel, abs=1e-9), name


@pytest.mark.parametrize("live_from_s", [-20, -1, 0, 5])
def test_an_engine_that_has_just_started_knows_what_one_that_listened_knows(live_from_s):
    """Whatever came live before history was there is spliced, once."""
    rows = a_day()
    so_far = rows[rows["venue_ns"] <= NOW]
    world = World(Past(so_far))
    world.take(so_far[so_far["venue_ns"] >= NOW + live_from_s * NS_PER_S])
    world.load()
    plain = listening_all_along(so_far)
    for sym in range(2):
        for interval_s in (60, 300):
            same(on_bars(world.market, sym, interval_s), on_bars(plain, sym, interval_s))
            assert world.market.forming(sym, interval_s) == plain.forming(sym, interval_s)
            assert [bar.start_ns for bar in world.market.bars(sym, interval_s, 50)] == [
                bar.start_ns for bar in plain.bars(sym, interval_s, 50)
            ]
        found = world.market.indicators(sym)
        assert found.rsi_14 is not None
        assert found.macd_signal is not None
        assert world.market.last_trade(sym) == plain.last_trade(sym)
    assert world.warm_up.fault is None


def test_it_goes_on_as_if_it_had_always_been_there():
    rows = a_day()
    so_far, later = rows[rows["venue_ns"] <= NOW], rows[rows["venue_ns"] > NOW]
    world = World(Past(so_far))
    world.load()
    world.take(later)
    plain = listening_all_along(rows)
    for sym in range(2):
        for interval_s in (60, 300):
            same(on_bars(world.market, sym, interval_s), on_bars(plain, sym, interval_s))


def printed(sym, at_ns, price, recv_ns=NOW):
    row = new_rows(1)
    row["sym"], row["kind"], row["flags"], row["price"], row["size"] = (
        sym,
        RowKind.TRADE,
        RowFlag.ELIGIBLE,
        price,
        1.0,
    )
    row["venue_ns"], row["recv_ns"], row["trade_id"] = at_ns, recv_ns, 99
    return row


def test_after_a_load_from_bars_alone_a_late_print_is_late():
    """Nothing traded in the window of trades; that must not make a report of an hour ago the last price."""
    rows = a_day()
    world = World(Past(rows[rows["venue_ns"] < NOW - 3600 * NS_PER_S]))
    slot = world.market.arm(0, TriggerOn.TRADE, TriggerDirection.BELOW, 140.0)
    world.load()
    assert world.market.indicators(0).rsi is not None
    assert world.market.last_trade(0) is None
    world.take(printed(0, NOW - 1800 * NS_PER_S, 120.0, recv_ns=NOW - 1800 * NS_PER_S))
    assert world.market.last_trade(0) is None
    assert world.market.trigger(slot) is not None
    world.take(printed(0, NOW - 5 * NS_PER_S, 130.0))
    assert world.market.last_trade(0).price == 130 * NS_PER_S
    assert world.market.trigger(slot) is None


def test_a_load_keeps_the_time_that_was_seen_live():
    """As the one above, by what came live: an old print cannot follow a new quote, reloaded or not."""
    rows = a_day()
    world = World(Past(rows[rows["venue_ns"] < NOW - 3600 * NS_PER_S]))
    quote = printed(0, NOW, 150.0)
    quote["kind"], quote["price2"] = RowKind.QUOTE, 150.1
    world.take(quote)
    world.load()
    world.take(printed(0, NOW - 30 * NS_PER_S, 120.0, recv_ns=NOW - 30 * NS_PER_S))
    assert world.market.last_trade(0) is None


@pytest.mark.parametrize("begun_ago_s", [0, 60, 2 * 86_400])
def test_the_session_that_was_told_long_ago_does_not_wipe_out_what_was_loaded(begun_ago_s):
    """A daemon that has run for days loads anew: the reset it was told of is over, at whatever row it begins again."""
    rows = a_day()
    so_far = rows[rows["venue_ns"] <= NOW]
    world = World(Past(so_far))
    for sym in range(2):
        world.market.set_session(sym, OPEN - begun_ago_s * NS_PER_S, DAY_NS if begun_ago_s else 0)
    world.take(so_far[-4:])
    world.load()
    plain = listening_all_along(so_far)
    for sym in range(2):
        found, expected = world.market.indicators(sym), plain.indicators(sym)
        assert (found.volume, found.vwap) == (expected.volume, pytest.approx(expected.vwap, rel=1e-9))


def test_what_history_told_of_counts_as_observed():
    """Nothing traded in the window: that is known, and a window of a minute before it is one without a trade."""
    world = World(Past(a_day()[:0]), intervals_s=(1, 60))
    world.load()
    world.take(printed(0, NOW, 150.0))
    assert world.market.indicators(0, 1).vwap_rolling == 150.0


@pytest.mark.parametrize("capacity", [16, 1 << 17])
def test_what_left_the_ring_before_it_could_be_spliced_is_asked_for(capacity):
    """While history answers, more comes live than the ring holds: between the two nothing may be missing."""
    rows = a_day(every_s=1)
    world = World(Past(rows), capacity=capacity)
    answer = world.past.trades

    async def slowly(symbols, start_ns, end_ns):
        found = await answer(symbols, start_ns, min(end_ns, world.now_ns))
        if len([kind for kind, *_ in world.past.asked if kind == "trades"]) <= 2:
            later = (rows["venue_ns"] > world.now_ns) & (rows["venue_ns"] <= world.now_ns + 25 * NS_PER_S)
            world.now_ns += 25 * NS_PER_S
            world.take(rows[later])
        return found

    world.past.trades = slowly
    world.load()
    asked = [start_ns for kind, _, start_ns, _ in world.past.asked if kind == "trades"]
    assert (len(asked) > 2) is (capacity == 16)
    plain = listening_all_along(rows[rows["venue_ns"] <= world.now_ns])
    for sym in range(2):
        for interval_s in (60, 300):
            assert world.market.forming(sym, interval_s) == plain.forming(sym, interval_s)
        assert world.market.last_trade(sym) == plain.last_trade(sym)


def test_a_stream_that_is_always_ahead_of_history_is_told_of_and_not_asked_after_for_ever(caplog):
    rows = a_day(every_s=1)
    world = World(Past(rows[rows["venue_ns"] <= NOW]), capacity=16)
    answer = world.past.trades

    async def slowly(symbols, start_ns, end_ns):
        found = await answer(symbols, start_ns, end_ns)
        world.now_ns += 100 * NS_PER_S
        flood = np.concatenate([printed(n % 2, world.now_ns + n, 150.0, world.now_ns) for n in range(20)])
        world.take(flood)
        return found

    world.past.trades = slowly
    world.load()
    assert len([kind for kind, *_ in world.past.asked if kind == "trades"]) == 2 * (1 + JOINS_MAX)
    assert "AAPL may lack some" in caplog.text
    assert world.market.indicators(0).rsi is not None


def test_before_it_is_warm_there_are_no_numbers_and_afterwards_ticks_have_theirs():
    rows = a_day(every_s=1)
    so_far = rows[rows["venue_ns"] <= NOW]
    world = World(Past(so_far))
    assert set(shown(world.market, 0, 60).values()) == {None}
    world.load()
    assert world.market.indicators(0).tick_rsi_14 is not None


def test_the_minutes_reach_back_far_enough_and_the_trades_no_further_than_needed():
    world = World(Past(a_day()))
    world.load()
    bars = {symbols: start for kind, symbols, start, _ in world.past.asked if kind == "bars"}
    trades = {symbols: start for kind, symbols, start, _ in world.past.asked if kind == "trades"}
    assert NOW - bars[("AAPL",)] == 5 * DAY_NS
    assert NOW - bars[("BTC/USD",)] == 26 * 3600 * NS_PER_S
    assert trades[("AAPL",)] == NOW - NOW % (300 * NS_PER_S)


def test_the_longest_interval_decides_how_far_but_not_for_trades():
    world = World(Past(a_day()), intervals_s=(60, 14_400))
    world.load()
    bars = {symbols: start for kind, symbols, start, _ in world.past.asked if kind == "bars"}
    trades = {symbols: start for kind, symbols, start, _ in world.past.asked if kind == "trades"}
    assert NOW - bars[("AAPL",)] == 14 * DAY_NS
    assert NOW - bars[("BTC/USD",)] == 40 * 14_400 * NS_PER_S
    assert trades[("AAPL",)] == NOW - NOW % MINUTE_NS - 900 * NS_PER_S


def test_intervals_that_are_not_of_whole_minutes_begin_empty():
    rows = a_day()
    world = World(Past(rows[rows["venue_ns"] <= NOW]), intervals_s=(7, 60))
    world.load()
    assert world.market.indicators(0, 60).rsi_14 is not None
    assert len(world.market.bars(0, 7, 100)) < 30


def test_an_unknown_session_leaves_its_sums_to_the_trades():
    rows = a_day()
    so_far = rows[rows["venue_ns"] <= NOW]
    world = World(Past(so_far), session=None)
    world.load()
    assert world.market.indicators(0).volume < listening_all_along(so_far).indicators(0).volume / 10


def test_a_symbol_without_history_begins_with_what_came_live():
    rows = a_day()
    live = rows[(rows["venue_ns"] > NOW - 3 * NS_PER_S) & (rows["venue_ns"] <= NOW)]
    world = World(Past(rows[:0]))
    world.take(live)
    world.load()
    assert world.market.indicators(0).rsi_14 is None
    assert [world.market.last_trade(sym) is not None for sym in range(2)] == [
        bool((live["sym"] == sym).any()) for sym in range(2)
    ]


def test_a_venue_without_history_is_told_and_asked_again():
    rows = a_day()
    world = World(Past(rows[rows["venue_ns"] <= NOW], failures=[VenueUnavailable("HTTP 403 no")]))
    world.load()
    assert world.warm_up.fault is None
    assert world.market.indicators(0).rsi_14 is not None


def test_a_history_that_is_back_after_an_outage_is_loaded_without_a_restart():
    rows = a_day()
    world = World(Past(rows[rows["venue_ns"] <= NOW], failures=[VenueUnavailable("HTTP 503 no")] * 12))
    faults = []

    async def scenario():
        world.warm_up.start()
        async with asyncio.timeout(30):
            while not world.warm_up.is_over:
                faults.append(world.warm_up.fault)
                await asyncio.sleep(0)

    asyncio.run(scenario())
    assert "without history, indicators begin with the first tick: HTTP 503 no" in faults
    assert not world.past.failures
    assert world.warm_up.fault is None
    assert world.market.indicators(0).rsi_14 is not None


def test_just_after_a_minute_its_bar_is_waited_for(monkeypatch):
    waited = []
    sleep = asyncio.sleep

    async def note(seconds):
        waited.append(seconds)
        world.now_ns += int(seconds * NS_PER_S)
        await sleep(0)

    rows = a_day()
    world = World(Past(rows[rows["venue_ns"] <= NOW]))
    world.now_ns = NOW - NOW % MINUTE_NS + NS_PER_S // 2
    monkeypatch.setattr(asyncio, "sleep", note)
    world.load()
    assert 1.5 in waited


def test_loading_again_leaves_the_same():
    """As after a gap that was too long to be filled."""
    rows = a_day()
    so_far = rows[rows["venue_ns"] <= NOW]
    world = World(Past(so_far))
    world.load()
    before = [shown(world.market, sym, 60) for sym in range(2)]
    world.load()
    for sym in range(2):
        same(shown(world.market, sym, 60), before[sym])


def test_minutes_make_the_bars_that_their_trades_make():
    rows = a_day()
    of_one = rows[rows["sym"] == 0]
    market = Market(("AAPL",), (300,))
    market.consume(of_one.copy(), 0, len(of_one))
    expected = market.bars(0, 300, 100)[:-1]
    made = {bar.start_ns: bar for bar in put_together(minutes(of_one, NOW), 300 * NS_PER_S, 1000)}
    for bar in expected[-50:]:
        found = made[bar.start_ns]
        assert (found.open, found.high, found.low, found.close, found.trades) == (
            bar.open, bar.high, bar.low, bar.close, bar.trades,
        )  # fmt: skip
        assert (found.volume, found.vwap) == (bar.volume, pytest.approx(bar.vwap, rel=1e-12))
