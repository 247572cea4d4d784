"""The market as the venue's data messages, in JSON text or msgpack, each encoded at most once.

Owns the shapes of the data messages and of the control messages; knows nothing of connections. The one idea:
a `Batch` remembers what was already encoded, per subscription and encoding, so a hundred readers cost one
encoding. Numbers become floats here because the protocol has JSON numbers; `int / int` rounds correctly, so
150.14 leaves as 150.14.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from hands.core.units import NANO, NS_PER_S
from hands.sim.market.bars import Bar
from hands.sim.market.feeds import Channel, Wanted, is_crypto
from hands.sim.market.tape_codes import listing_tape
from hands.sim.market.times import rfc3339
from hands.sim.venue.ticks import Cancellation, Correction, MarketEvent, PriceBand, Quote, Status, Tick, Trade

Message = dict[str, Any]

KINDS: dict[type[MarketEvent], tuple[Channel, str]] = {
    Trade: (Channel.TRADES, "t"),
    Quote: (Channel.QUOTES, "q"),
    Status: (Channel.STATUSES, "s"),
    PriceBand: (Channel.LULDS, "l"),
    Correction: (Channel.TRADES, "c"),
    Cancellation: (Channel.TRADES, "x"),
}
"""Which subscription an event follows, and its message's type."""

BAR_TYPES = {Channel.BARS: "b", Channel.UPDATED_BARS: "u", Channel.DAILY_BARS: "d"}

TAKER_SELLS = "S"
"""A crypto trade's conditions carry the taker's side: "B" (also when absent) or this."""


class Encoding(StrEnum):
    JSON = "application/json"
    MSGPACK = "application/msgpack"


def msgpack_timestamp(t_ns: int) -> msgspec.msgpack.Ext:
    """Return `t_ns` as msgpack's Timestamp extension (-1), to the nanosecond (`datetime` would lose digits)."""
    second, fraction = divmod(t_ns, NS_PER_S)
    if fraction == 0 and second < 2**32:
        return msgspec.msgpack.Ext(-1, struct.pack(">I", second))
    return msgspec.msgpack.Ext(-1, struct.pack(">Q", fraction << 34 | second))


def history_fields(tick: Tick) -> Message:
    """Return a tick as the historical REST writes it: all fields but the type, the symbol and the time."""
    crypto = is_crypto(tick.symbol)
    if isinstance(tick, Trade):
        if crypto:
            side = "S" if TAKER_SELLS in tick.conditions else "B"
            return {"i": tick.trade_id, "p": tick.price / NANO, "s": tick.size / NANO, "tks": side}
        return {
            "i": tick.trade_id,
            "x": tick.exchange,
            "p": tick.price / NANO,
            "s": tick.size // NANO,
            "c": tick.conditions,
            "z": listing_tape(tick.symbol),
        }
    bid, ask = tick.bid / NANO, tick.ask / NANO
    if crypto:
        return {"bp": bid, "bs": tick.bid_size / NANO, "ap": ask, "as": tick.ask_size / NANO}
    return {
        "bx": "V",
        "bp": bid,
        "bs": tick.bid_size // NANO,
        "ax": "V",
        "ap": ask,
        "as": tick.ask_size // NANO,
        "c": ("R",),
        "z": listing_tape(tick.symbol),
    }


def bar_fields(symbol: str, bar: Bar) -> Message:
    """Return a bar as the historical REST writes it: all fields but the type, the symbol and the time."""
    return {
        "o": bar.open / NANO,
        "h": bar.high / NANO,
        "l": bar.low / NANO,
        "c": bar.close / NANO,
        "v": bar.volume / NANO if is_crypto(symbol) else bar.volume // NANO,
        "n": bar.trades,
        "vw": bar.vwap / NANO,
    }


def event_fields(event: MarketEvent) -> Message:
    """Return an event as the stream writes it: all fields but the type, the symbol and the time."""
    if isinstance(event, Quote | Trade):
        return history_fields(event)
    listed = {"z": listing_tape(event.symbol)}
    if isinstance(event, Status):
        words = {"sc": event.status_code, "sm": event.status_message}
        return words | {"rc": event.reason_code, "rm": event.reason_message} | listed
    if isinstance(event, PriceBand):
        return {"u": event.limit_up / NANO, "d": event.limit_down / NANO, "i": event.indicator} | listed
    if isinstance(event, Correction):
        both = _print("o", event.original) | _print("c", event.corrected)
        return {"x": event.original.exchange} | both | listed
    trade = event.trade
    said = {"i": trade.trade_id, "x": trade.exchange, "p": trade.price / NANO, "s": trade.size // NANO}
    return said | {"a": event.action} | listed


def _print(side: str, trade: Trade) -> Message:
    """Return one side of a correction: `side` "o" is what was printed, "c" what should have been."""
    return {
        f"{side}i": trade.trade_id,
        f"{side}p": trade.price / NANO,
        f"{side}s": trade.size // NANO,
        f"{side}c": trade.conditions,
    }


def book_fields(quote: Quote) -> Message:
    """Return a quote as a complete one-level order book."""
    return {"b": [_level(quote.bid, quote.bid_size)], "a": [_level(quote.ask, quote.ask_size)], "r": True}


def _level(price: int, size: int) -> dict[str, float]:
    return {"p": price / NANO, "s": size / NANO}


class OrderBooks:
    """The order books of the coins as the stream tells them: whole at first, then what a quote changed.

    One level a side, since a tape has no more. A client that comes later is given `whole` books and can follow.
    """

    def __init__(self) -> None:
        self._quotes: dict[str, Quote] = {}

    def change(self, quote: Quote) -> Message | None:
        """Return what `quote` makes of its book: all of it (`r`), the levels that changed, or None."""
        before = self._quotes.get(quote.symbol)
        self._quotes[quote.symbol] = quote
        if before is None:
            return book_fields(quote)
        sides = {
            "b": _changes((before.bid, before.bid_size), (quote.bid, quote.bid_size)),
            "a": _changes((before.ask, before.ask_size), (quote.ask, quote.ask_size)),
        }
        return {**sides, "r": False} if sides["b"] or sides["a"] else None

    def whole(self, wanted: Wanted) -> list[Quote]:
        """Return the last quote of every book that `wanted` selects."""
        return [q for symbol, q in sorted(self._quotes.items()) if wanted.wants(Channel.ORDERBOOKS, symbol)]

    def clear(self) -> None:
        """Forget every book: each begins again with the next quote."""
        self._quotes.clear()


def _changes(before: tuple[int, int], after: tuple[int, int]) -> list[dict[str, float]]:
    """Return the levels of one side that changed; a level that went has size 0."""
    if before == after:
        return []
    gone = [_level(before[0], 0)] if before[0] != after[0] else []
    return [*gone, _level(*after)]


class Codec:
    """One encoding: whole frames of control messages, single data messages, and joining the latter to frames."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self._is_json = encoding is Encoding.JSON
        self._encode = msgspec.json.Encoder().encode if self._is_json else msgspec.msgpack.Encoder().encode

    def message(self, kind: str, symbol: str, fields: Message, t_ns: int) -> bytes:
        """Return one encoded data message of type `kind` ("t", "q", "b", ...)."""
        stamp = rfc3339(t_ns) if self._is_json else msgpack_timestamp(t_ns)
        return self._encode({"T": kind, "S": symbol, **fields, "t": stamp})

    def join(self, messages: Sequence[bytes]) -> bytes:
        """Return a frame: the array of messages that are already encoded."""
        if self._is_json:
            return b"[" + b",".join(messages) + b"]"
        count = len(messages)
        if count < 16:
            head = bytes((0x90 | count,))
        elif count < 65536:
            head = struct.pack(">BH", 0xDC, count)
        else:
            head = struct.pack(">BI", 0xDD, count)
        return head + b"".join(messages)

    def control(self, message: Message) -> bytes:
        """Return a frame of exactly one control message."""
        return self._encode([message])

    def decode(self, data: bytes | str) -> Any:
        """Return what a client sent. Raises `msgspec.DecodeError` (also for text that is not UTF-8)."""
        raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        try:
            return msgspec.json.decode(raw) if self._is_json else msgspec.msgpack.decode(raw)
        except RecursionError as error:
            raise msgspec.DecodeError("nested too deeply") from error


CODECS = {encoding: Codec(encoding) for encoding in Encoding}


class Batch:
    """Events to be published together, with what of them is already encoded; `books` is taken along."""

    def __init__(self, events: Iterable[MarketEvent], books: OrderBooks) -> None:
        self._rows: list[tuple[Channel, str, MarketEvent, Message | None]] = []
        for event in events:
            coin = is_crypto(event.symbol)
            if coin and not isinstance(event, Quote | Trade):
                continue  # the coins' feed has no notices
            self._rows.append((*KINDS[type(event)], event, None))
            if coin and isinstance(event, Quote):
                change = books.change(event)
                if change is not None:
                    self._rows.append((Channel.ORDERBOOKS, "o", event, change))
        self._messages: dict[Encoding, list[bytes | None]] = {}
        self._frames: dict[tuple[Encoding, Wanted], bytes | None] = {}

    def frame(self, encoding: Encoding, wanted: Wanted) -> bytes | None:
        """Return the frame of the messages that `wanted` selects, or None if it selects nothing."""
        key = (encoding, wanted)
        if key not in self._frames:
            chosen = [
                self._encoded(place, encoding)
                for place, (channel, _, event, _) in enumerate(self._rows)
                if wanted.wants(channel, event.symbol)
            ]
            self._frames[key] = CODECS[encoding].join(chosen) if chosen else None
        return self._frames[key]

    def _encoded(self, place: int, encoding: Encoding) -> bytes:
        known = self._messages.setdefault(encoding, [None] * len(self._rows))
        data = known[place]
        if data is None:
            _, kind, event, fields = self._rows[place]
            fields = event_fields(event) if fields is None else fields
            data = known[place] = CODECS[encoding].message(kind, event.symbol, fields, event.t_ns)
        return data
