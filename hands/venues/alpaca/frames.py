"""Market-data frames as rows: the hot half of the codec.

Owns the market-data message types, in JSON and in msgpack, and the row buffer they are written to. Pure apart
from that buffer. The one idea: the plain case (trades and quotes in msgpack) is read by compiled code straight into one
preallocated array (`packed`); whatever that leaves over, and JSON, goes through typed decoders that read only the
members we use, and no object of ours survives the frame.

The time stays exact: msgspec would turn msgpack's Timestamp into a `datetime` of microseconds, so it is asked
for the raw extension instead.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Annotated, Any, Generic, TypeVar

import msgspec
import numpy as np
from msgspec import field
from msgspec.msgpack import Ext

from hands.core.market import ROW, RowFlag, RowKind, new_rows
from hands.core.rows import exchange_of
from hands.venues.alpaca.conditions import flags_of
from hands.venues.alpaca.packed import PackedFrames
from hands.venues.alpaca.timestamps import TIMESTAMP_EXT, parse_rfc3339, parse_timestamp_ext

Time = TypeVar("Time")


class FrameError(ValueError):
    """A frame that is not an array of messages at all."""


class Message(msgspec.Struct, tag_field="T", gc=False):
    """One element of a frame; `T` says which kind."""


class Trade(Message, Generic[Time], tag="t"):
    """A trade; crypto has no conditions and no tape."""

    symbol: str = field(name="S")
    price: float = field(name="p")
    size: float = field(name="s")
    time: Time = field(name="t")
    trade_id: int = field(name="i", default=0)
    conditions: tuple[str, ...] | None = field(name="c", default=None)
    tape: str = field(name="z", default="")
    exchange: str | None = field(name="x", default=None)


class Quote(Message, Generic[Time], tag="q"):
    """The best bid and offer."""

    symbol: str = field(name="S")
    bid: float = field(name="bp")
    bid_size: float = field(name="bs")
    ask: float = field(name="ap")
    ask_size: float = field(name="as")
    time: Time = field(name="t")


class Success(Message, tag="success"):
    """ "connected" or "authenticated"."""

    text: str = field(name="msg", default="")


class Failure(Message, tag="error"):
    """The venue says no to what we sent."""

    code: int = 0
    text: str = field(name="msg", default="")


class Subscription(Message, tag="subscription"):
    """Everything this connection is subscribed to now."""

    trades: list[str] = []
    quotes: list[str] = []


class Notice(Message, Generic[Time]):
    """What the venue says about its market beside trades and quotes; rare, so it leaves as an object."""

    symbol: str = field(name="S")
    time: Time = field(name="t")

    @property
    def venue_ns(self) -> int:
        """The venue's time of the notice. Raises ValueError: it is none."""
        return _venue_ns(self.time)  # type: ignore[arg-type]


class Correction(Notice[Time], tag="c", kw_only=True):
    """A trade that was reported wrongly, and what it should have been."""

    original_id: int = field(name="oi")
    original_price: float = field(name="op")
    original_size: float = field(name="os")
    trade_id: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] = field(name="ci")  # it goes into a row
    price: float = field(name="cp")
    size: float = field(name="cs")
    conditions: tuple[str, ...] | None = field(name="cc", default=None)
    tape: str = field(name="z", default="")
    exchange: str | None = field(name="x", default=None)

    @property
    def flags(self) -> int:
        """What the corrected trade counts for (`RowFlag`)."""
        return flags_of(self.conditions or (), self.tape)


class CancelError(Notice[Time], tag="x", kw_only=True):
    """A trade that never was: canceled ("C") or an error ("E")."""

    trade_id: int = field(name="i")
    price: float = field(name="p")
    size: float = field(name="s")
    action: str = field(name="a", default="")
    exchange: str | None = field(name="x", default=None)


class TradingStatus(Notice[Time], tag="s", kw_only=True):
    """Whether a stock trades, in the words of its tape."""

    code: str = field(name="sc")
    text: str = field(name="sm", default="")
    reason_code: str = field(name="rc", default="")
    reason_text: str = field(name="rm", default="")
    tape: str = field(name="z", default="")


class LimitBand(Message, tag="l"): ...


class MinuteBar(Message, tag="b"): ...


class UpdatedBar(Message, tag="u"): ...


class DailyBar(Message, tag="d"): ...


class Imbalance(Message, tag="i"): ...


class OrderBook(Message, tag="o"): ...


class News(Message, tag="n"): ...


Control = Success | Failure | Subscription
_Ignored = LimitBand | MinuteBar | UpdatedBar | DailyBar | Imbalance | OrderBook | News
"""What is not asked for, should it come all the same: bars are made here, and docs/market-data.md says why no bands."""
_Stamp = Ext | str
_JsonNotice = TradingStatus[str] | Correction[str] | CancelError[str]
_PackedNotice = TradingStatus[_Stamp] | Correction[_Stamp] | CancelError[_Stamp]
_JsonMessage = Trade[str] | Quote[str] | Control | _JsonNotice | _Ignored
_PackedMessage = Trade[_Stamp] | Quote[_Stamp] | Control | _PackedNotice | _Ignored
AnyNotice = _PackedNotice | _JsonNotice

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what they should be; the second for a type that is no UTF-8."""

_JSON_OPENERS = frozenset(b"[{ \t\r\n")
_TRADE, _QUOTE, _ELIGIBLE = int(RowKind.TRADE), int(RowKind.QUOTE), int(RowFlag.ELIGIBLE)
_PACKED_TIME = struct.Struct(">Q")
_SECONDS_MASK = 0x3_FFFF_FFFF


class FrameResult(msgspec.Struct, frozen=True, gc=False):
    """What a frame held: `count` rows are in the buffer; symbols nobody asked for and unreadable messages are
    counted, other kinds of data are not. (A struct is made three times as fast as a frozen dataclass.)
    """

    count: int
    controls: tuple[Control, ...] = ()
    unknown_symbols: int = 0
    malformed: int = 0
    notices: tuple[AnyNotice, ...] = ()


class FrameDecoder:
    """Turns frames into rows of `rows`, which is reused: what is in it is gone with the next frame.

    `index` maps a symbol (pairs with their slash) to its number in the market. The buffer grows to the largest
    frame seen, so hold on to the decoder, not to `rows`.
    """

    def __init__(self, index: Mapping[str, int], capacity: int = 1024) -> None:
        self._index = dict(index)
        self._plain = PackedFrames(index)
        self._json: msgspec.json.Decoder[list[Any]] = msgspec.json.Decoder(list[_JsonMessage])
        self._packed: msgspec.msgpack.Decoder[list[Any]] = msgspec.msgpack.Decoder(list[_PackedMessage])
        self._json_one: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_JsonMessage)
        self._packed_one: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(_PackedMessage)
        self._json_parts = msgspec.json.Decoder(list[msgspec.Raw])
        self._packed_parts = msgspec.msgpack.Decoder(list[msgspec.Raw])
        self._row = struct.Struct(_row_format())
        self._allocate(capacity)

    def _allocate(self, capacity: int) -> None:
        self.rows = new_rows(capacity)
        self._buffer = self.rows.view(np.uint8).data

    def decode(self, data: bytes, recv_ns: int) -> FrameResult:
        """Write the trades and quotes of one frame to `rows`, received at `recv_ns`.

        The encoding is told by the first byte: no msgpack array starts with a bracket.

        Raises:
            FrameError: the frame is not an array of messages.
        """
        as_json = bool(data) and data[0] in _JSON_OPENERS
        if not as_json:
            result = self._decode_plain(data, recv_ns)
            if result is not None:
                return result
        try:
            messages = self._json.decode(data) if as_json else self._packed.decode(data)
        except _UNREADABLE:
            messages = self._decode_singly(data, as_json=as_json)
        return self._pack(messages, recv_ns)

    def _decode_plain(self, data: bytes, recv_ns: int) -> FrameResult | None:
        """Read a msgpack frame in compiled code, and what that leaves over one by one; None: not to be read so."""
        plain, size = self._plain, len(data)
        count, at, left, unknown = plain.decode(data, self.rows, recv_ns)
        if at == size and not left and at:
            return FrameResult(count, (), unknown)
        if not at or left > size - at:  # no array of messages, or one that announces more than can follow
            return None
        if count + left > len(self.rows):
            self._allocate(2 * (count + left))
            return self._decode_plain(data, recv_ns)
        found = FrameResult(count, (), unknown)
        while left:
            end = plain.end_of(at, size)
            if end < 0:
                return None
            found = _joined(found, self._pack([self._read_one(data[at:end])], recv_ns, found.count))
            count, at, left, unknown = plain.decode_on(size, end, left - 1, self.rows[found.count :], recv_ns)
            found = _joined(found, FrameResult(count, (), unknown))
        return found if at == size else None

    def _read_one(self, data: bytes) -> Any:
        """Return one message, None if it is none of the venue's."""
        try:
            return self._packed_one.decode(data)
        except _UNREADABLE:
            return None

    def _decode_singly(self, data: bytes, *, as_json: bool) -> list[Any]:
        """Decode a frame with a strange message in it one by one; the strange ones become None."""
        try:
            parts = self._json_parts.decode(data) if as_json else self._packed_parts.decode(data)
        except _UNREADABLE as error:
            raise FrameError(f"a frame of {len(data)} bytes that is no array of messages: {error}") from None
        decoder = self._json_one if as_json else self._packed_one
        messages: list[Any] = []
        for part in parts:
            try:
                messages.append(decoder.decode(part))
            except _UNREADABLE:
                messages.append(None)
        return messages

    def _pack(self, messages: list[Any], recv_ns: int, first: int = 0) -> FrameResult:
        """Write `messages` to the rows from number `first` on; None among them is one that could not be read."""
        if first + len(messages) > len(self.rows):
            self._allocate(2 * len(messages))
        pack, buffer, width, index = self._row.pack_into, self._buffer, ROW.itemsize, self._index
        at = begin = first * width
        unknown = malformed = 0
        controls: list[Control] = []
        notices: list[AnyNotice] = []
        for message in messages:
            kind = type(message)
            try:
                if kind is Quote:
                    sym = index.get(message.symbol)
                    if sym is None:
                        unknown += 1
                        continue
                    pack(
                        buffer, at, sym, _QUOTE, _ELIGIBLE, 0, message.bid, message.bid_size, message.ask,
                        message.ask_size, _venue_ns(message.time), recv_ns, 0,
                    )  # fmt: skip
                    at += width
                elif kind is Trade:
                    sym = index.get(message.symbol)
                    if sym is None:
                        unknown += 1
                        continue
                    conditions = message.conditions
                    flags = flags_of(conditions, message.tape) if conditions else _ELIGIBLE
                    pack(
                        buffer, at, sym, _TRADE, flags, exchange_of(message.exchange), message.price, message.size,
                        0.0, 0.0, _venue_ns(message.time), recv_ns, message.trade_id,
                    )  # fmt: skip
                    at += width
                elif message is None:
                    malformed += 1
                elif kind is Success or kind is Failure or kind is Subscription:
                    controls.append(message)
                elif isinstance(message, Notice) and message.venue_ns is not None:
                    if message.symbol in index:
                        notices.append(message)  # type: ignore[arg-type]
                    else:
                        unknown += 1
            except (ValueError, struct.error):  # a time or an id that no row can hold
                malformed += 1
        return FrameResult((at - begin) // width, tuple(controls), unknown, malformed, tuple(notices))


def _joined(one: FrameResult, other: FrameResult) -> FrameResult:
    """Return what two parts of a frame held together."""
    return FrameResult(
        one.count + other.count,
        one.controls + other.controls,
        one.unknown_symbols + other.unknown_symbols,
        one.malformed + other.malformed,
        one.notices + other.notices,
    )


def _venue_ns(time: Ext | str) -> int:
    if type(time) is Ext:
        data = bytes(time.data)
        if len(data) == 8 and time.code == TIMESTAMP_EXT:
            packed: int = _PACKED_TIME.unpack(data)[0]
            return (packed & _SECONDS_MASK) * 1_000_000_000 + (packed >> 34)
        if time.code != TIMESTAMP_EXT:
            raise ValueError(f"a time as msgpack extension {time.code}")
        return parse_timestamp_ext(data)
    assert isinstance(time, str)
    return parse_rfc3339(time)


def _row_format() -> str:
    """Return the `struct` format of one ROW, its padding spelled out."""
    letters = {"int32": "i", "uint8": "B", "float64": "d", "int64": "q"}
    assert ROW.fields is not None
    assert ROW.names is not None
    text, at = "<", 0
    for name in ROW.names:
        dtype, offset = ROW.fields[name][:2]
        text += "x" * (offset - at) + letters[dtype.name]
        at = offset + dtype.itemsize
    return text + "x" * (ROW.itemsize - at)
