"""The market of the endurance run: ten minutes of the simulator's own making, played again and again as new ones.

Owns the prepared minutes as the bytes of two websockets, what the venue's history says of them, and what a client that
missed nothing has heard. May not send anything. The one idea: a cycle is made and encoded once, and before each time it
is played its times, its trades' ids and its prices are written anew in place, by numpy; so twelve hours cost little
more than ten minutes, and no row of theirs is like another.

The made-up market is `mixed`: trends, gaps, halts, prints that are corrected or canceled. Besides, some prints come
seconds late, and the coins' clock runs ahead of ours, as the venue's does.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from bench.market_load import frame_head
from hands.core.rows import RowKind, new_rows
from hands.core.units import NANO, NS_PER_MS, NS_PER_S
from hands.sim.market.codec import CODECS, KINDS, Encoding, event_fields
from hands.sim.market.synthetic import Rate, SyntheticTape, crypto_tick, start_price_usd
from hands.sim.market.tape_codes import listing_tape
from hands.sim.venue.ticks import Cancellation, Correction, MarketEvent, PriceBand, Quote, Trade
from hands.venues.alpaca.conditions import flags_of

CYCLE_S: Final = 600
QUIET_S: Final = 60
"""At the end of a cycle nothing happens for so long: whatever is to be repaired has been by then."""

STEP_NS: Final = 100 * NS_PER_MS
"""What falls due within this comes with one read of the socket."""

FRAME_NS: Final = 20 * NS_PER_MS
AHEAD_NS: Final = {"equities": 0, "coins": 1_300 * NS_PER_MS}
"""How far each feed's stamps are ahead of our clock."""

LATE_SHARE: Final = 1 / 500
LATE_S: Final = (0.2, 2.5)
IDS: Final = 10**6
FIRST_ID: Final = 10**12
"""From here on an id takes nine bytes in msgpack, whichever it is."""

_BLANK_NS: Final = 1_700_000_000_123_456_789
_NEVER: Final = 2**62


def feed_of(symbol: str) -> str:
    """Return which of the two feeds a symbol comes on."""
    return "coins" if "/" in symbol else "equities"


def digits_of(symbol: str) -> int:
    """Return how many decimals a symbol's prices have."""
    return len(str(NANO // crypto_tick(start_price_usd(symbol)))) - 1 if "/" in symbol else 2


@dataclass(slots=True)
class _Places:
    """Where in a feed's bytes something has to be written anew, and its value in the cycle as it was made."""

    at: list[int] = field(default_factory=list)
    value: list[Any] = field(default_factory=list)
    digits: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Message:
    """One message, and where in it its ids and prices are."""

    data: bytes
    stamp_ns: int
    ids: list[tuple[int, int]]
    prices: list[tuple[int, float]]
    digits: int


class FeedBytes:
    """The frames of one feed of a cycle, in order; `of(step)` are those that fall due in a step."""

    def __init__(self, due: Sequence[tuple[int, _Message]], ahead_ns: int) -> None:
        self._ahead_ns = ahead_ns
        stamps, ids, prices = _Places(), _Places(), _Places()
        data = bytearray()
        ends = [0] * (CYCLE_S * NS_PER_S // STEP_NS)
        self.messages = len(due)
        self.frames = 0
        for step, frame in _frames(due):
            head = CODECS[Encoding.MSGPACK].join([message.data for message in frame])
            size = len(head)
            data += frame_head(size) + head
            at = len(data) - sum(len(message.data) for message in frame)
            for message in frame:
                _note(message, at, stamps, ids, prices)
                at += len(message.data)
            ends[step] = len(data)
            self.frames += 1
        self._ends = np.maximum.accumulate(np.array([0, *ends]))
        self._data = data
        self._raw = np.frombuffer(data, np.uint8)
        self._stamps, self._ids, self._prices = (_words(places) for places in (stamps, ids, prices))
        self._stamps_ns = np.array(stamps.value, np.int64)
        self._first_ids = np.array(ids.value, np.int64)
        self._first_prices = np.array(prices.value, np.float64)
        self._digits = np.array(prices.digits, np.int64)

    def renew(self, begun_ns: int, number: int, factor: float) -> None:
        """Make it cycle `number`, which begins at `begun_ns`, with prices times `factor`."""
        times = self._stamps_ns + begun_ns + self._ahead_ns
        packed = (times % NS_PER_S) << 34 | times // NS_PER_S
        self._write(self._stamps, packed.astype(">u8"))
        self._write(self._ids, (self._first_ids + number * IDS).astype(">u8"))
        self._write(self._prices, scaled(self._first_prices, factor, self._digits).astype(">f8"))

    def _write(self, places: np.ndarray, values: np.ndarray) -> None:
        self._raw[places] = values.view(np.uint8).reshape(-1, 8)

    def of(self, step: int) -> bytes:
        return bytes(self._data[self._ends[step] : self._ends[step + 1]])


class Cycle:
    """Ten minutes of a market of `symbols`; `begin(number, begun_ns)` makes them the next ones.

    `calm` are stretches, in seconds, in which nothing is corrected or canceled: what is said of trades while nobody can
    hear it is not said again.
    """

    def __init__(
        self, symbols: Sequence[str], seed: int, rate: Rate, calm: Sequence[tuple[float, float]]
    ) -> None:
        self.symbols = tuple(symbols)
        self._chance = np.random.default_rng(seed)
        self._level = 0.0
        due: dict[str, list[tuple[int, _Message]]] = {"equities": [], "coins": []}
        past = _Past(self.symbols)
        late = random.Random(seed)
        for event in _events(symbols, seed, rate, calm):
            at_ns = int(event.t_ns)
            if isinstance(event, Trade) and late.random() < LATE_SHARE:
                at_ns += int(late.uniform(*LATE_S) * NS_PER_S)
            due[feed_of(event.symbol)].append((at_ns, _message(event, past.ids)))
            past.take(event, at_ns)
        self.feeds = {
            name: FeedBytes(sorted(some, key=lambda pair: pair[0]), AHEAD_NS[name])
            for name, some in due.items()
        }
        self._past = past.columns()
        self._digits = np.array([digits_of(symbol) for symbol in self.symbols])
        self._rows = past.rows()
        self.rows, self.past = self._rows[:0], self._past[:0]

    def begin(self, number: int, begun_ns: int, feeds: Sequence[str]) -> None:
        """Make everything that of cycle `number`, which is played on some of the feeds."""
        self._level = 0.9 * self._level + self._chance.normal(0.0, 0.02)
        factor = float(np.exp(self._level))
        for feed in feeds:
            self.feeds[feed].renew(begun_ns, number, factor)
        played = np.array([feed_of(symbol) in feeds for symbol in self.symbols])
        rows = self._rows[played[self._rows["sym"]]]
        digits = self._digits[rows["sym"]]
        rows["price"] = scaled(rows["price"], factor, digits)
        rows["price2"] = scaled(rows["price2"], factor, digits)
        rows["venue_ns"] += begun_ns
        rows["trade_id"] += number * IDS * (rows["kind"] == RowKind.TRADE)
        self.rows = rows
        self.past = self._past[played[self._past["sym"]]]
        self.past["p"] = scaled(self.past["p"], factor, self._digits[self.past["sym"]])
        for name in ("t", "from_ns", "wrong_ns"):
            self.past[name] += begun_ns
        self.past["i"] += number * IDS


PAST = np.dtype(
    [("sym", "i8"), ("t", "i8"), ("from_ns", "i8"), ("wrong_ns", "i8"), ("i", "i8"), ("p", "f8"), ("s", "f8"), ("c", "i8")]
)  # fmt: skip
"""A trade in the venue's history: shown from `from_ns` on (our clock), called wrong from `wrong_ns` on; `c` is which of
`CONDITIONS` it has."""

CONDITIONS: list[tuple[str, ...]] = []


class _Past:
    """What history and a perfect listener make of a cycle."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.ids: dict[tuple[str, int], int] = {}
        self._index = {symbol: sym for sym, symbol in enumerate(symbols)}
        self._trades: list[list[Any]] = []
        self._place: dict[int, int] = {}
        self._quotes: list[Quote] = []

    def take(self, event: MarketEvent, at_ns: int) -> None:
        match event:
            case Quote():
                self._quotes.append(event)
            case Trade():
                self._add(event, at_ns)
            case Correction():
                self._wrong(event.original, at_ns)
                self._add(event.corrected, at_ns)
            case Cancellation():
                self._wrong(event.trade, at_ns)

    def _add(self, trade: Trade, at_ns: int) -> None:
        key = trade.symbol, trade.trade_id
        number = self.ids.setdefault(key, FIRST_ID + len(self.ids))
        if trade.conditions not in CONDITIONS:
            CONDITIONS.append(trade.conditions)
        stamp_ns = trade.t_ns + AHEAD_NS[feed_of(trade.symbol)]
        self._place[number] = len(self._trades)
        self._trades.append(
            [self._index[trade.symbol], stamp_ns, at_ns, _NEVER, number, trade.price / NANO, trade.size / NANO,
             CONDITIONS.index(trade.conditions)]
        )  # fmt: skip

    def _wrong(self, trade: Trade, at_ns: int) -> None:
        self._trades[self._place[self.ids[trade.symbol, trade.trade_id]]][3] = at_ns

    def columns(self) -> np.ndarray:
        return np.array([tuple(trade) for trade in self._trades], PAST)

    def rows(self) -> np.ndarray:
        """Return the rows of a client that heard everything, at once and in order; a canceled trade counts nothing."""
        past = self.columns()
        rows = new_rows(len(past) + len(self._quotes))
        trades, quotes = rows[: len(past)], rows[len(past) :]
        trades["kind"], quotes["kind"] = RowKind.TRADE, RowKind.QUOTE
        for name, column in (
            ("sym", "sym"),
            ("venue_ns", "t"),
            ("trade_id", "i"),
            ("price", "p"),
            ("size", "s"),
        ):
            trades[name] = past[column]
        symbols = tuple(self._index)
        flags = {
            (sym, c): flags_of(*told(symbols[sym], CONDITIONS[c]))
            for sym in range(len(symbols))
            for c in range(len(CONDITIONS))
        }
        trades["flags"] = [
            flags[sym, c] for sym, c in zip(past["sym"].tolist(), past["c"].tolist(), strict=True)
        ]
        trades["flags"][past["wrong_ns"] < _NEVER] = 0
        for row, quote in zip(quotes, self._quotes, strict=True):
            row["sym"], row["venue_ns"] = (
                self._index[quote.symbol],
                quote.t_ns + AHEAD_NS[feed_of(quote.symbol)],
            )
            row["price"], row["size"] = quote.bid / NANO, quote.bid_size / NANO
            row["price2"], row["size2"] = quote.ask / NANO, quote.ask_size / NANO
        return rows[np.argsort(rows["venue_ns"], kind="stable")]


def told(symbol: str, conditions: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Return the conditions and the tape that a message tells: none of a coin."""
    return ((), "") if "/" in symbol else (conditions, listing_tape(symbol))


def scaled(prices: np.ndarray, factor: float, digits: np.ndarray) -> np.ndarray:
    """Return prices times `factor`, each with its number of decimals."""
    grid = 10.0**digits
    found: np.ndarray = np.rint(prices * factor * grid) / grid
    return found


def _events(
    symbols: Sequence[str], seed: int, rate: Rate, calm: Sequence[tuple[float, float]]
) -> Iterator[MarketEvent]:
    """Yield what happens, without what nobody subscribes to."""
    for at_ns, batch in SyntheticTape(symbols, seed, 0, rate, regime="mixed"):
        if at_ns >= (CYCLE_S - QUIET_S) * NS_PER_S:
            return
        at_s = at_ns / NS_PER_S
        hushed = any(begin <= at_s <= end for begin, end in calm)
        for event in batch:
            if isinstance(event, PriceBand) or (hushed and isinstance(event, Correction | Cancellation)):
                continue
            yield event


def _message(event: MarketEvent, ids: Mapping[tuple[str, int], int]) -> _Message:
    """Return an event as the stream writes it; ids are numbered anew, so that all of them are of one length."""
    fields = dict(event_fields(event))
    known: dict[str, tuple[str, int]] = {}
    match event:
        case Trade():
            known["i"] = (event.symbol, event.trade_id)
        case Correction():
            known["oi"] = (event.symbol, event.original.trade_id)
            known["ci"] = (event.symbol, event.corrected.trade_id)
        case Cancellation():
            known["i"] = (event.symbol, event.trade.trade_id)
    following = FIRST_ID + len(ids)
    numbers = {name: ids.get(key, following) for name, key in known.items()}
    fields |= numbers
    data = CODECS[Encoding.MSGPACK].message(KINDS[type(event)][1], event.symbol, fields, _BLANK_NS)
    prices = {name: fields[name] for name in ("p", "bp", "ap", "op", "cp") if name in fields}
    return _Message(
        data,
        event.t_ns,
        [(_place(data, name, 0xCF), number) for name, number in numbers.items()],
        [(_place(data, name, 0xCB), price) for name, price in prices.items()],
        digits_of(event.symbol),
    )


def _place(data: bytes, name: str, form: int) -> int:
    """Return where the eight bytes of a member's value begin."""
    mark = bytes([0xA0 | len(name), *name.encode(), form])
    assert data.count(mark) == 1, (name, data)
    return data.index(mark) + len(mark)


def _frames(due: Sequence[tuple[int, _Message]]) -> Iterator[tuple[int, list[_Message]]]:
    """Yield frames with the step in which they come."""
    frame: list[_Message] = []
    of = -1
    for at_ns, message in due:
        if at_ns // FRAME_NS != of and frame:
            yield of * FRAME_NS // STEP_NS, frame
            frame = []
        of = at_ns // FRAME_NS
        frame.append(message)
    if frame:
        yield of * FRAME_NS // STEP_NS, frame


def _note(message: _Message, at: int, stamps: _Places, ids: _Places, prices: _Places) -> None:
    stamps.at.append(at + len(message.data) - 8)
    stamps.value.append(message.stamp_ns)
    for place, number in message.ids:
        ids.at.append(at + place)
        ids.value.append(number)
    for place, price in message.prices:
        prices.at.append(at + place)
        prices.value.append(price)
        prices.digits.append(message.digits)


def _words(places: _Places) -> np.ndarray:
    return np.array(places.at, np.int64)[:, None] + np.arange(8)
