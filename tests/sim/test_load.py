"""The prepared load: what is sent is a market, every id and time its own, at the pace asked for."""

from __future__ import annotations

import asyncio
import datetime as dt
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from hands.core.units import NANO, NS_PER_MS, NS_PER_S, Ns, Qty
from hands.core.vocab import OrderType, Side, TimeInForce
from hands.sim.market.codec import Encoding
from hands.sim.market.feeds import CRYPTO, IEX, Channel, Wanted
from hands.sim.market.load import (
    FIRST_CYCLE,
    LATE_MAX_NS,
    TRADES_MAX,
    Burst,
    LoadError,
    LoadTape,
    PreparedFrames,
)
from hands.sim.market.times import rfc3339_whole
from hands.sim.server.clock import WallClock
from hands.sim.server.config import SimConfig
from hands.sim.server.floor import TradingFloor
from hands.sim.venue.orders import Order, OrderRequest
from hands.sim.venue.ticks import Quote, Tick, Trade

NOW_NS = 1_700_000_000_123_456_789
SYMBOLS = ("AAPL", "SPY", "BTC/USD", "MSFT")
EVERYTHING = {Channel.TRADES: frozenset("*"), Channel.QUOTES: frozenset("*")}


class Time:
    """A clock that moves only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_ns = NOW_NS

    def __call__(self) -> int:
        return self.now_ns

    async def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * NS_PER_S)
        await asyncio.sleep(0)


def tape(symbols: tuple[str, ...] = SYMBOLS, time: Time | None = None, **options: Any) -> LoadTape:
    time = time or Time()
    return LoadTape(symbols, 7, time, sleep=time.sleep, **options)


class EnoughError(Exception):
    """Ends a load that would go on for ever."""


def play(load: LoadTape, publish: Callable[[Burst], None], is_enough: Callable[[], bool]) -> None:
    """Run `load` until `is_enough`."""

    def publish_until(burst: Burst) -> None:
        publish(burst)
        if is_enough():
            raise EnoughError

    with suppress(EnoughError):
        asyncio.run(load.run(publish_until))


def bursts(load: LoadTape, count: int) -> list[Burst]:
    """Return the first `count` bursts that `load` publishes."""
    found: list[Burst] = []
    play(load, found.append, lambda: len(found) == count)
    return found


def head(length: int) -> bytes:
    return struct.pack(">I", length)


def prepared(
    load: LoadTape, encoding: Encoding = Encoding.MSGPACK, wanted: Wanted | None = None
) -> PreparedFrames:
    return load.prepare(encoding, wanted or Wanted(IEX, EVERYTHING), head)


def decoded(frame: bytes, encoding: Encoding) -> list[dict[str, Any]]:
    """Decode a frame, its times to nanoseconds."""
    if encoding is Encoding.JSON:
        messages: list[dict[str, Any]] = msgspec.json.decode(frame)
        for message in messages:
            whole, _, fraction = message["t"].removesuffix("Z").partition(".")
            second = dt.datetime.fromisoformat(whole + "+00:00").timestamp()
            message["t"] = int(second) * NS_PER_S + int(fraction)
        return messages

    def timestamp(_: int, data: memoryview) -> int:
        (both,) = struct.unpack(">Q", data)
        return int((both & (2**34 - 1)) * NS_PER_S + (both >> 34))

    # The decoder turns extension -1 into a datetime, which has no nanoseconds: read it under another code.
    raw = frame.replace(b"\xd7\xff", b"\xd7\x01")
    found: list[dict[str, Any]] = msgspec.msgpack.decode(raw, ext_hook=timestamp)
    return found


def as_tick(message: dict[str, Any]) -> Tick:
    """Read a message of a stock back."""

    def exact(value: float) -> Any:
        return round(value * NANO)

    t_ns = Ns(message["t"])
    if message["T"] == "t":
        conditions = tuple(message["c"])
        return Trade(
            message["S"],
            exact(message["p"]),
            exact(message["s"]),
            t_ns,
            message["i"],
            message["x"],
            conditions,
        )
    bid, ask = exact(message["bp"]), exact(message["ap"])
    return Quote(message["S"], bid, ask, exact(message["bs"]), exact(message["as"]), t_ns)


@pytest.mark.parametrize("encoding", list(Encoding))
def test_what_is_sent_is_what_the_exchange_is_told(encoding: Encoding) -> None:
    load = tape(rate_per_s=1_000_000)
    frames = prepared(load, encoding)
    ids: set[tuple[str, int]] = set()
    count = 0
    for burst in bursts(load, 60):
        sent = [as_tick(m) for frame in frames.each(burst) for m in decoded(frame, encoding)]
        told = [tick for tick in load.ticks(burst, set(SYMBOLS)) if tick.symbol != "BTC/USD"]
        assert sent == told
        assert {tick.t_ns for tick in sent} <= {burst.t_ns}
        prints = [(tick.symbol, tick.trade_id) for tick in sent if isinstance(tick, Trade)]
        ids |= set(prints)
        count += len(prints)
        assert all(2**32 < number < 2**53 for _, number in prints)
    assert burst.cycle > FIRST_CYCLE + 1
    assert len(ids) == count


@pytest.mark.parametrize("encoding", list(Encoding))
def test_a_burst_is_its_frames_with_their_heads_and_the_last_without(encoding: Encoding) -> None:
    load = tape(rate_per_s=100_000)
    wanted = Wanted(IEX, {Channel.TRADES: frozenset({"SPY"})})
    frames = prepared(load, encoding, wanted)
    empty = 0
    for burst in bursts(load, 50):
        *others, last = list(frames.each(burst)) or [b""]
        wire = frames.wire(burst)
        if wire is None:
            empty += 1
            assert (others, last) == ([], b"")
        else:
            assert wire == (b"".join(head(len(frame)) + frame for frame in others), last)
        for frame in frames.each(burst):
            assert {(m["T"], m["S"]) for m in decoded(frame, encoding)} == {("t", "SPY")}
    assert empty < 50


def test_a_frame_holds_as_many_messages_as_were_asked_for() -> None:
    load = tape(("AAPL",), frame=7)
    frames = prepared(load)
    sizes = {len(decoded(f, Encoding.MSGPACK)) for b in bursts(load, 100) for f in frames.each(b)}
    assert sizes == {7}


def test_coins_are_sent_whole_books() -> None:
    load = tape(("BTC/USD",))
    wanted = Wanted(CRYPTO, {Channel.ORDERBOOKS: frozenset({"BTC/USD"})})
    frames = prepared(load, Encoding.JSON, wanted)
    messages = decoded(next(frames.each(burst_of(load, 0, 2))), Encoding.JSON)
    assert {(m["T"], m["r"], m["t"]) for m in messages} == {("o", True, NOW_NS)}


def burst_of(load: LoadTape, first: int, count: int) -> Burst:
    return Burst(load, first, count, FIRST_CYCLE, Ns(NOW_NS))


def test_the_same_seed_is_the_same_market_in_the_same_bytes() -> None:
    one, same = tape(), tape()
    other = LoadTape(SYMBOLS, 8, Time())

    def bytes_of(load: LoadTape) -> list[bytes]:
        return list(prepared(load).each(burst_of(load, 0, 50)))

    assert bytes_of(one) == bytes_of(same)
    assert bytes_of(one) != bytes_of(other)


@pytest.mark.parametrize("symbols", [("AAPL",), tuple(f"S{number}" for number in range(2_000))])
def test_a_cycle_has_every_symbol_and_room_for_the_ids_of_its_trades(symbols: tuple[str, ...]) -> None:
    load = tape(symbols)
    whole = burst_of(load, 0, len(load._ticks) // load.frame)
    ticks = load.ticks(whole, set(symbols))
    assert {tick.symbol for tick in ticks} == set(symbols)
    per_symbol = [sum(isinstance(t, Trade) and t.symbol == s for t in ticks) for s in symbols[:3]]
    assert max(per_symbol) <= TRADES_MAX


# -- the pace -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "frame"), [(200_000, 50), (20_000, 1), (3, 2)])
def test_the_pace_is_kept_by_the_clock(rate: int, frame: int) -> None:
    load = tape(rate_per_s=rate, frame=frame)
    found = bursts(load, 300)
    seconds = (found[-1].t_ns - NOW_NS) / NS_PER_S
    sent = sum(burst.count for burst in found) * frame
    assert abs(sent - rate * seconds) <= max(frame, rate / 1_000)
    assert load.left_out == 0


@pytest.mark.parametrize(("stall_ms", "is_left_out"), [(LATE_MAX_NS // NS_PER_MS, False), (10_000, True)])
def test_a_short_stall_is_made_good_and_a_long_one_is_left_out(stall_ms: int, *, is_left_out: bool) -> None:
    time = Time()
    load = tape(time=time, rate_per_s=100_000)
    counts: list[int] = []

    def publish(burst: Burst) -> None:
        counts.append(burst.count)
        if len(counts) == 1:
            time.now_ns += stall_ms * NS_PER_MS

    play(load, publish, lambda: time.now_ns > NOW_NS + (stall_ms + 1_000) * NS_PER_MS)
    due = (time.now_ns - NOW_NS) * 100_000 // (50 * NS_PER_S)
    assert abs(due - sum(counts) - load.left_out) <= 4
    assert (load.left_out > 0) is is_left_out
    made_good = stall_ms * 2 - load.left_out  # of two frames a millisecond
    assert made_good <= LATE_MAX_NS // NS_PER_MS * 2 + 4
    assert max(counts) <= 20 * 2  # in bursts of twenty milliseconds


@pytest.mark.parametrize(
    "options", [{"rate_per_s": 0}, {"rate_per_s": 10**8}, {"frame": 0}, {"frame": 251}, {"symbols": ()}]
)
def test_a_load_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(LoadError):
        tape(**options)


# -- what of it is known to the exchange --------------------------------------------------------------------


def test_the_latest_of_a_symbol_is_what_was_published_last() -> None:
    load = tape(rate_per_s=150_000)
    assert load.latest("AAPL") == []
    last: dict[tuple[str, type[Tick]], Tick] = {}
    seen: list[Burst] = []

    def publish(burst: Burst) -> None:
        seen.append(burst)
        for tick in load.ticks(burst, set(SYMBOLS)):
            last[tick.symbol, type(tick)] = tick
        for symbol in SYMBOLS:
            known = load.latest(symbol)
            assert len(known) == sum((symbol, kind) in last for kind in (Quote, Trade))
            assert [tick.t_ns for tick in known] == sorted(tick.t_ns for tick in known)
            for tick in known:
                truly = last[symbol, type(tick)]
                assert strip(tick) == strip(truly)
                assert abs(tick.t_ns - truly.t_ns) <= 30 * NS_PER_MS

    play(load, publish, lambda: len(seen) == 150)
    assert seen[-1].cycle > FIRST_CYCLE
    assert load.latest("XYZ") == []


def strip(tick: Tick) -> tuple[Any, ...]:
    """A tick without its time, of which `latest` knows only the pace."""
    if isinstance(tick, Quote):
        return (tick.symbol, tick.bid, tick.ask, tick.bid_size, tick.ask_size)
    return (tick.symbol, tick.price, tick.size, tick.trade_id)


def test_of_what_nobody_trades_the_last_quote_and_trade_of_a_second_are_kept() -> None:
    time = Time()
    load = tape(time=time, rate_per_s=50_000)
    kept: list[Tick] = []
    watched: list[Tick] = []
    found: list[Burst] = []

    def publish(burst: Burst) -> None:
        found.append(burst)
        ticks = burst.ticks({"AAPL"})
        kept.extend(tick for tick in ticks if tick.symbol != "AAPL")
        watched.extend(tick for tick in ticks if tick.symbol == "AAPL")

    play(load, publish, lambda: time.now_ns > NOW_NS + 5 * NS_PER_S)
    assert len(kept) <= 6 * 2 * (len(SYMBOLS) - 1)
    assert {tick.symbol for tick in kept} == set(SYMBOLS) - {"AAPL"}
    assert watched == [tick for burst in found for tick in load.ticks(burst, {"AAPL"})]
    assert len(watched) > 50_000


def test_a_slow_load_is_kept_at_most_once() -> None:
    time = Time()
    load = tape(time=time, rate_per_s=2, frame=1)
    kept: list[Tick] = []
    play(load, lambda burst: kept.extend(burst.ticks(())), lambda: time.now_ns > NOW_NS + 60 * NS_PER_S)
    prints = [(tick.symbol, tick.trade_id) for tick in kept if isinstance(tick, Trade)]
    assert 10 < len(kept) <= 120
    assert len(prints) == len(set(prints)) > 0


def test_a_whole_time_is_always_as_long() -> None:
    texts = [rfc3339_whole(t_ns) for t_ns in (0, NOW_NS, NOW_NS // NS_PER_S * NS_PER_S)]
    assert texts[1] == "2023-11-14T22:13:20.123456789Z"
    assert {len(text) for text in texts} == {30}


def test_an_order_under_load_meets_the_market_that_is_being_sent() -> None:
    config = SimConfig(tape=("load",), symbols=("AAPL", "SPY"), load_rate=50_000, fills="instant")
    floor = TradingFloor(config, WallClock())
    load = floor.load
    assert load is not None
    matched: list[Tick] = []
    take = floor.exchange.on_ticks
    floor.exchange.on_ticks = lambda ticks: (matched.extend(ticks), take(ticks))[1]  # type: ignore[method-assign]
    orders: list[Order] = []
    after: list[Burst] = []

    def publish(burst: Burst) -> None:
        floor.emit_load(burst)
        if orders:
            after.append(burst)
        elif load.latest("AAPL"):
            matched.clear()
            request = OrderRequest("AAPL", Side.BUY, OrderType.MARKET, TimeInForce.DAY, Qty(NANO))
            orders.append(floor.exchange.submit(request))
            (quote,) = (tick for tick in load.latest("AAPL") if isinstance(tick, Quote))
            bought = floor.exchange.position("AAPL")
            assert (bought.qty, bought.cost) == (NANO, quote.ask)

    play(load, publish, lambda: len(after) == 20)
    held = [tick for tick in matched if tick.symbol == "AAPL"]
    assert held == [tick for burst in after for tick in load.ticks(burst, {"AAPL"})]
    assert len([tick for tick in matched if tick.symbol == "SPY"]) <= 2 * 2
