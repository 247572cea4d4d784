"""Ticks and bars as the venue's market-data messages, in JSON text or msgpack, each encoded at most once.

Owns the shapes of the data messages and of the control messages; knows nothing of connections. The one idea:
a `Batch` remembers what was already encoded, per feed and encoding, so a hundred readers cost one encoding,
and a batch published twice costs none. Numbers become floats here because the protocol has JSON numbers;
`int / int` rounds correctly, so 150.14 leaves as 150.14.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any

import msgspec

from hands.core.units import NANO, NS_PER_S
from hands.sim.market.bars import Bar
from hands.sim.market.feeds import Channel, Wanted, is_crypto
from hands.sim.venue.ticks import Quote, Tick, Trade

Message = dict[str, Any]

TAPES = {"SPY": "B", "QQQ": "C", "BAC": "A", "IBM": "A", "AIG": "A", "FAKEPACA": "N"}
"""Who lists the stock: A New York, B the other exchanges, C Nasdaq; others by the length of their symbol."""

BAR_TYPES = {Channel.BARS: "b", Channel.UPDATED_BARS: "u", Channel.DAILY_BARS: "d"}

TAKER_SELLS = "S"
"""A crypto trade's conditions carry the taker's side: "B" (also when absent) or this."""


class Encoding(StrEnum):
    JSON = "application/json"
    MSGPACK = "application/msgpack"


def listing_tape(symbol: str) -> str:
    """Return the tape ("A", "B", "C", "N") that a stock's trades are reported on."""
    return TAPES.get(symbol) or ("C" if len(symbol) >= 4 else "A")


@lru_cache(maxsize=64)
def _second_text(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def rfc3339(t_ns: int) -> str:
    """Return `t_ns` (epoch) as RFC 3339 in UTC with as many of nine decimals as it needs."""
    second, fraction = divmod(t_ns, NS_PER_S)
    if not fraction:
        return f"{_second_text(second)}Z"
    return f"{_second_text(second)}.{f'{fraction:09d}'.rstrip('0')}Z"


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


def book_fields(quote: Quote) -> Message:
    """Return a quote as a complete one-level order book."""
    return {
        "b": [{"p": quote.bid / NANO, "s": quote.bid_size / NANO}],
        "a": [{"p": quote.ask / NANO, "s": quote.ask_size / NANO}],
        "r": True,
    }


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
        return msgspec.json.decode(raw) if self._is_json else msgspec.msgpack.decode(raw)


CODECS = {encoding: Codec(encoding) for encoding in Encoding}


class Batch:
    """Ticks to be published together, with what of them is already encoded.

    Build it once and publish it many times (a benchmark's prepared load), or let `publish` build it.
    """

    def __init__(self, ticks: Iterable[Tick]) -> None:
        self.ticks = tuple(ticks)
        self._channels = tuple(
            Channel.TRADES if isinstance(tick, Trade) else Channel.QUOTES for tick in self.ticks
        )
        self._messages: dict[Encoding, list[bytes | None]] = {}
        self._frames: dict[tuple[Encoding, Wanted], bytes | None] = {}

    def frame(self, encoding: Encoding, wanted: Wanted) -> bytes | None:
        """Return the frame of the ticks that `wanted` selects, or None if it selects nothing."""
        key = (encoding, wanted)
        if key not in self._frames:
            chosen = list(self._chosen(encoding, wanted))
            self._frames[key] = CODECS[encoding].join(chosen) if chosen else None
        return self._frames[key]

    def _chosen(self, encoding: Encoding, wanted: Wanted) -> Iterable[bytes]:
        for index, (tick, channel) in enumerate(zip(self.ticks, self._channels, strict=True)):
            if wanted.wants(channel, tick.symbol):
                yield self._tick_bytes(index, tick, encoding)
            if isinstance(tick, Quote) and wanted.wants(Channel.ORDERBOOKS, tick.symbol):
                yield CODECS[encoding].message("o", tick.symbol, book_fields(tick), tick.t_ns)

    def _tick_bytes(self, index: int, tick: Tick, encoding: Encoding) -> bytes:
        known = self._messages.get(encoding)
        if known is None:
            known = self._messages[encoding] = [None] * len(self.ticks)
        data = known[index]
        if data is None:
            kind = "t" if isinstance(tick, Trade) else "q"
            data = CODECS[encoding].message(kind, tick.symbol, history_fields(tick), tick.t_ns)
            known[index] = data
        return data
