"""The load: a prepared market, published as fast as one likes, so that a simulator can load what listens to it.

Owns the prepared market, its encoded frames and the pace; sends nothing. The one idea: a cycle of a synthetic
market is encoded once, with a blank time and blank trade ids, and published again and again; what goes out is a
slice of those bytes in which two `bytes.replace` have filled the blanks: 0.07 µs a message, where encoding one
takes 1.6. No message is an object of its own, unless somebody trades its symbol.

Under load:
- every message of a burst carries the time it is sent at; a trade's id is unique (`cycle` and place in it);
- symbols that are traded here or held go through the exchange and the history, tick by tick, as they were sent;
- of all others the last quote and trade of every second are kept (history, bars: true prices, small volumes);
- prices repeat with every cycle, which is some seconds of a quiet market;
- a publisher that falls behind its pace makes good `LATE_MAX_NS` and leaves out the rest (`left_out`).
"""

from __future__ import annotations

import asyncio
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Final

from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.sim.market.codec import CODECS, KINDS, Encoding, book_fields, history_fields
from hands.sim.market.feeds import Channel, Wanted
from hands.sim.market.synthetic import SyntheticTape
from hands.sim.market.times import rfc3339_whole
from hands.sim.venue.ticks import Quote, Tick, Trade

CYCLE_MESSAGES: Final = 8_192
"""Messages of a cycle, or eight for every symbol if that is more."""

FRAME_MAX: Final = 250
RATE_MAX: Final = 10_000_000

CYCLE_IDS: Final = 10**8
TRADES_MAX: Final = 256
"""Trades of one symbol in one cycle. A trade's id is cycle x 10^8 + its number: its last eight digits in JSON and,
since 256 divides 10^8, its last byte in msgpack are the trade's own; what is before them is the cycle's."""

FIRST_CYCLE: Final = 1_000_000
BLANK_CYCLE: Final = 9_999_999
"""Seven digits, and ids below 2^53, from the first cycle to the last."""

BLANK_NS: Final = Ns((2**34 - 1) * NS_PER_S + 999_999_999)
"""The last nanosecond that msgpack's eight-byte timestamp can tell, in the year 2514."""

BURST_MAX_NS: Final = 20 * NS_PER_MS
"""At most so much of the load is published before others have their turn."""

LATE_MAX_NS: Final = 250 * NS_PER_MS
PAUSE_MIN_NS: Final = NS_PER_MS
SAMPLE_EVERY_NS: Final = NS_PER_S


class LoadError(ValueError):
    """The load asked for cannot be made; the message says what is allowed."""


@dataclass(frozen=True, slots=True, eq=False)
class Burst:
    """The frames `first` to `first + count - 1` of `load`'s cycle, sent at `t_ns`; never beyond the cycle's end.

    `sampled` is how many messages were sent since the last sample was taken, in a burst that takes one; else 0.
    """

    load: LoadTape
    first: int
    count: int
    cycle: int
    t_ns: Ns
    sampled: int = 0

    def ticks(self, watched: Collection[str]) -> list[Tick]:
        """Return what of the burst is to be matched and recorded, in order: the ticks of `watched` symbols and,
        once in `SAMPLE_EVERY_NS`, the latest of every other one."""
        sampled = self.load.sample(self, watched) if self.sampled else []
        return sampled + self.load.ticks(self, watched)


class PreparedFrames:
    """The cycle's frames as one client wants them, back to back in one piece, blanks still blank.

    `frames` has one frame for each of the cycle's, empty where it holds nothing that is wanted; `head` returns
    what goes before a frame of some length on the socket.
    """

    def __init__(self, encoding: Encoding, frames: Sequence[bytes], head: Callable[[int], bytes]) -> None:
        sent = [(head(len(frame)), frame) for frame in frames if frame]
        self._encoding = encoding
        self._bytes = b"".join(part for pair in sent for part in pair)
        ends = list(accumulate((len(top) + len(frame) for top, frame in sent), initial=0))
        self._heads = ends
        self._starts = [end + len(top) for end, (top, _) in zip(ends, sent, strict=False)]
        self._before = list(accumulate((bool(frame) for frame in frames), initial=0))

    def wire(self, burst: Burst) -> tuple[bytes, bytes] | None:
        """Return the burst's frames: all but the last ready for the socket, and the last without its head."""
        first, end = self._before[burst.first], self._before[burst.first + burst.count]
        if first == end:
            return None
        framed = self._bytes[self._heads[first] : self._heads[end - 1]]
        return self._filled(framed, burst), self._filled(self._frame(end - 1), burst)

    def each(self, burst: Burst) -> Iterator[bytes]:
        """Yield the burst's frames one by one, without their heads."""
        for place in range(self._before[burst.first], self._before[burst.first + burst.count]):
            yield self._filled(self._frame(place), burst)

    def _frame(self, place: int) -> bytes:
        return self._bytes[self._starts[place] : self._heads[place + 1]]

    def _filled(self, data: bytes, burst: Burst) -> bytes:
        values = _blanks(self._encoding, burst.t_ns, burst.cycle)
        for blank, value in zip(_BLANK[self._encoding], values, strict=True):
            data = data.replace(blank, value)
        return data


class LoadTape:
    """`rate_per_s` messages a second of `symbols` in frames of `frame`, for ever; the same seed, the same market.

    Raises:
        LoadError: a rate or a frame that makes no sense.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        seed: int,
        now_ns: Callable[[], int],
        *,
        rate_per_s: int = 200_000,
        frame: int = 50,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not symbols:
            raise LoadError("a load needs at least one symbol")
        if not 1 <= frame <= FRAME_MAX:
            raise LoadError(f"load frame is {frame}; allowed: 1 to {FRAME_MAX} messages")
        if not 1 <= rate_per_s <= RATE_MAX:
            raise LoadError(f"load rate is {rate_per_s}; allowed: 1 to {RATE_MAX} messages a second")
        self.symbols = tuple(dict.fromkeys(symbols))
        self.frame = frame
        self.rate_per_s = rate_per_s
        self.left_out = 0
        self._now_ns = now_ns
        self._sleep = sleep
        self._seed = seed
        self._messages: dict[Encoding, list[bytes]] = {}
        self._sent = 0
        self._last_ns = Ns(0)
        self._sampled = 0
        self._sampled_ns = 0

    @cached_property
    def _ticks(self) -> tuple[Tick, ...]:
        """The cycle; made when it is first asked for, since that takes some ten milliseconds."""
        return _cycle(self.symbols, self._seed, self.frame)

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        """Where in the cycle the ticks of each symbol are."""
        places: dict[str, list[int]] = {symbol: [] for symbol in self.symbols}
        for place, tick in enumerate(self._ticks):
            places[tick.symbol].append(place)
        return places

    async def run(self, publish: Callable[[Burst], None]) -> None:
        """Publish at the pace, for ever; cancel it to stop."""
        frames = len(self._ticks) // self.frame
        origin_ns = self._now_ns()
        late_max = max(1, self._due(LATE_MAX_NS))
        counted = 0
        while True:
            due = self._due(self._now_ns() - origin_ns) - counted
            if due > late_max:
                self.left_out += due - late_max
                counted += due - late_max
                due = late_max
            if due > 0:
                counted += self._publish(due, frames, publish)
            more = self._due(self._now_ns() - origin_ns) > counted
            await self._sleep(0 if more else self._pause_s(counted, origin_ns))

    def ticks(self, burst: Burst, watched: Collection[str]) -> list[Tick]:
        """Return the ticks of `watched` symbols in a burst, in order, as they are sent."""
        first, end = burst.first * self.frame, (burst.first + burst.count) * self.frame
        places: list[int] = []
        for symbol in watched:
            known = self._places.get(symbol, [])
            places += known[bisect_left(known, first) : bisect_left(known, end)]
        return [_sent(self._ticks[place], burst.cycle, burst.t_ns) for place in sorted(places)]

    def latest(self, symbol: str) -> list[Tick]:
        """Return the last quote and trade of `symbol` that were published, the older first."""
        return [tick for _, tick in self._latest(symbol)]

    def sample(self, burst: Burst, watched: Collection[str]) -> list[Tick]:
        """Return the last quote and trade of every symbol but `watched`, if they came since the last sample."""
        others = (symbol for symbol in self.symbols if symbol not in watched)
        return [tick for symbol in others for age, tick in self._latest(symbol) if age < burst.sampled]

    def _latest(self, symbol: str) -> list[tuple[int, Tick]]:
        """Return the last of each kind, with how many messages ago it was."""
        known = self._places.get(symbol)
        if not known or not self._sent:
            return []
        cycle, place = divmod(self._sent * self.frame - 1, len(self._ticks))
        behind = bisect_right(known, place)
        # This cycle's, newest first, then those of the one before it.
        ages = [place - at for at in reversed(known[:behind])]
        if cycle:
            ages += [place - at + len(self._ticks) for at in reversed(known[behind:])]
        found: dict[type[Tick], tuple[int, Tick]] = {}
        for age in ages:
            tick = self._ticks[place - age]  # a negative place counts from the end, as a cycle does
            if type(tick) not in found:
                t_ns = Ns(self._last_ns - age * NS_PER_S // self.rate_per_s)
                found[type(tick)] = age, _sent(tick, _cycle_number(cycle - (age > place)), t_ns)
                if len(found) == 2:
                    break
        return list(reversed(found.values()))

    def prepare(self, encoding: Encoding, wanted: Wanted, head: Callable[[int], bytes]) -> PreparedFrames:
        """Return the cycle's frames with what `wanted` selects; takes some ten milliseconds the first time."""
        if encoding not in self._messages:
            self._messages[encoding] = [_message(encoding, tick) for tick in self._ticks]
        messages, codec = self._messages[encoding], CODECS[encoding]
        frames = []
        for first in range(0, len(self._ticks), self.frame):
            chosen: list[bytes] = []
            for place in range(first, first + self.frame):
                tick = self._ticks[place]
                if wanted.wants(KINDS[type(tick)][0], tick.symbol):
                    chosen.append(messages[place])
                if isinstance(tick, Quote) and wanted.wants(Channel.ORDERBOOKS, tick.symbol):
                    chosen.append(codec.message("o", tick.symbol, book_fields(tick), BLANK_NS))
            frames.append(codec.join(chosen) if chosen else b"")
        return PreparedFrames(encoding, frames, head)

    def _due(self, elapsed_ns: int) -> int:
        """Return how many frames belong to a time."""
        return elapsed_ns * self.rate_per_s // (self.frame * NS_PER_S)

    def _pause_s(self, counted: int, origin_ns: int) -> float:
        next_ns = origin_ns + -(-(counted + 1) * self.frame * NS_PER_S // self.rate_per_s)
        return max(next_ns - self._now_ns(), PAUSE_MIN_NS) / NS_PER_S

    def _publish(self, due: int, frames: int, publish: Callable[[Burst], None]) -> int:
        """Publish at most `due` frames, of a cycle of `frames`, in one burst and return how many it was."""
        cycle, first = divmod(self._sent, frames)
        count = min(due, frames - first, max(1, self._due(BURST_MAX_NS)))
        t_ns = Ns(self._now_ns())
        self._sent += count
        self._last_ns = t_ns
        sampled = 0
        if t_ns >= self._sampled_ns + SAMPLE_EVERY_NS:
            sampled = (self._sent - self._sampled) * self.frame
            self._sampled, self._sampled_ns = self._sent, t_ns
        publish(Burst(self, first, count, _cycle_number(cycle), t_ns, sampled))
        return count


def _cycle(symbols: Sequence[str], seed: int, frame: int) -> tuple[Tick, ...]:
    """Return whole frames of a calm market, with every symbol in them and at most `TRADES_MAX` trades of each."""
    wanted = max(CYCLE_MESSAGES, 8 * len(symbols))
    ticks: list[Tick] = []
    trades = dict.fromkeys(symbols, 0)
    for _, events in SyntheticTape(symbols, seed, 0):
        for event in events:
            if isinstance(event, Trade):
                number = trades[event.symbol]
                if number == TRADES_MAX:
                    return tuple(ticks[: len(ticks) // frame * frame])
                trades[event.symbol] += 1
                ticks.append(_sent(event, 0, Ns(0), number))
            elif isinstance(event, Quote):
                ticks.append(event)
        if len(ticks) >= wanted:
            return tuple(ticks[: len(ticks) // frame * frame])
    raise AssertionError("a synthetic market has no end")


def _cycle_number(cycle: int) -> int:
    return FIRST_CYCLE + cycle % (BLANK_CYCLE - FIRST_CYCLE)


def _sent(tick: Tick, cycle: int, t_ns: Ns, number: int | None = None) -> Tick:
    """Return a tick of the cycle as it is sent in `cycle` at `t_ns`."""
    if isinstance(tick, Quote):
        return Quote(tick.symbol, tick.bid, tick.ask, tick.bid_size, tick.ask_size, t_ns)
    trade_id = cycle * CYCLE_IDS + (tick.trade_id if number is None else number)
    return Trade(tick.symbol, tick.price, tick.size, t_ns, trade_id, tick.exchange, tick.conditions)


def _message(encoding: Encoding, tick: Tick) -> bytes:
    """Return a tick's message with a blank time and a blank cycle in its id."""
    blank = _sent(tick, BLANK_CYCLE, BLANK_NS)
    kind = KINDS[type(tick)][1]
    message = CODECS[encoding].message(kind, tick.symbol, history_fields(blank), BLANK_NS)
    found = [message.count(part) for part in _BLANK[encoding]]
    assert found == [1, isinstance(tick, Trade)], message
    return message


def _blanks(encoding: Encoding, t_ns: int, cycle: int) -> tuple[bytes, bytes]:
    """Return a time, and what the ids of a cycle's trades begin with, as they stand in a message."""
    if encoding is Encoding.JSON:
        return f'"t":"{rfc3339_whole(t_ns)}"'.encode(), f'"i":{cycle}'.encode()
    second, fraction = divmod(t_ns, NS_PER_S)
    stamp = b"\xd7\xff" + struct.pack(">Q", fraction << 34 | second)
    return stamp, b"\xa1i\xcf" + (cycle * CYCLE_IDS >> 8).to_bytes(7, "big")


_BLANK: Final = {encoding: _blanks(encoding, BLANK_NS, BLANK_CYCLE) for encoding in Encoding}
