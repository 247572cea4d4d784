"""A venue inside the process, on a clock that jumps: what the endurance run's daemon parts talk to.

Owns the loop, the connections that are no sockets, the conversation, the history and what goes wrong. May not know what
is done with what it sends. The one idea: the loop's time is made of what waits for it. Whenever nothing is left to do,
it is the time of the next timer; so twelve hours of a market, with every retry, question and pause in them, take as long
as the work they are.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import selectors
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec
import numpy as np

from bench.endurance_tape import AHEAD_NS, CONDITIONS, Cycle, feed_of, told
from bench.market_load import frame_head
from hands.core.units import NS_PER_S
from hands.sim.market.times import rfc3339, time_ns

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STREAMS: Final = {"/v2/iex": "equities", "/v1beta3/crypto/us": "coins"}


class _NoWaiting(selectors.SelectSelector):
    """Where the loop would wait, its clock is put forward instead."""

    clock: JumpingLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits for something that nobody will do")
        self.clock.now_ns += round(timeout * NS_PER_S)
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose connections all go to `venue`, and whose time costs nothing."""

    def __init__(self, start_ns: int) -> None:
        selector = _NoWaiting()
        selector.clock = self
        self.start_ns = self.now_ns = start_ns
        self.venue: Venue | None = None
        super().__init__(selector)

    def time(self) -> float:
        return (self.now_ns - self.start_ns) / NS_PER_S

    async def create_connection(self, factory: Callable[[], asyncio.Protocol], *_: Any, **__: Any) -> Any:  # type: ignore[override]
        """Connect a protocol to the venue."""
        assert self.venue is not None
        protocol = factory()
        wire = Wire(self, protocol, self.venue)
        protocol.connection_made(wire)
        return wire, protocol


class Wire(asyncio.Transport):
    """One connection, both ends of it."""

    def __init__(self, loop: JumpingLoop, protocol: asyncio.Protocol, venue: Venue) -> None:
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        self._venue = venue
        self._closing = False
        self.feed: str | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        del name
        return default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._loop.call_soon(self._venue.take, self, bytes(data))

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._venue.gone(self)
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def deliver(self, data: bytes) -> None:
        if not self._closing:
            self._protocol.data_received(data)

    def deliver_soon(self, data: bytes) -> None:
        self._loop.call_soon(self.deliver, data)


class Venue:
    """Answers what the daemon asks, and sends it the steps of `cycle`, with whatever is to go wrong."""

    def __init__(self, loop: JumpingLoop, cycle: Cycle) -> None:
        loop.venue = self
        self._loop = loop
        self._cycle = cycle
        self._index = {symbol: sym for sym, symbol in enumerate(cycle.symbols)}
        self._live: dict[str, Wire] = {}
        self._before = cycle.past[:0]
        self.refusals = 0
        self.questions = 0

    def begin(self, number: int, begun_ns: int, feeds: Sequence[str]) -> None:
        """Begin the next cycle on some of the feeds; history remembers the one before."""
        self._before = self._cycle.past
        self._cycle.begin(number, begun_ns, feeds)

    # --- the streams -------------------------------------------------------------------------------------------

    def send(self, feed: str, data: bytes) -> None:
        """Send to whoever is subscribed; nobody is, and it is gone."""
        wire = self._live.get(feed)
        if data and wire is not None:
            wire.deliver(data)

    def disconnect(self, feed: str) -> None:
        wire = self._live.get(feed)
        if wire is not None:
            wire.close()

    def gone(self, wire: Wire) -> None:
        if wire.feed is not None and self._live.get(wire.feed) is wire:
            del self._live[wire.feed]

    def take(self, wire: Wire, data: bytes) -> None:
        """Take what a client wrote: a request, or frames of its websocket."""
        if wire.feed is None:
            self._take_request(wire, data)
            return
        while data:
            opcode, payload, data = _unmasked(data)
            if opcode == 9:
                wire.deliver_soon(b"\x8a\x00")
            elif opcode == 2:
                self._converse(wire, msgspec.msgpack.decode(payload))

    def _converse(self, wire: Wire, said: dict[str, Any]) -> None:
        if said["action"] == "auth":
            _say(wire, {"T": "success", "msg": "authenticated"})
            return
        _say(wire, {"T": "subscription", "trades": self._cycle.symbols, "quotes": self._cycle.symbols})
        assert wire.feed is not None
        self._live[wire.feed] = wire

    # --- requests ----------------------------------------------------------------------------------------------

    def _take_request(self, wire: Wire, data: bytes) -> None:
        head = data.split(b"\r\n")
        target = urlsplit(head[0].split(b" ")[1].decode())
        if target.path in _STREAMS:
            self._upgrade(wire, _STREAMS[target.path], head)
            return
        self.questions += 1
        query = {name: values[0] for name, values in parse_qs(target.query).items()}
        kind = target.path.rpartition("/")[2]
        answer = self._trades(query) if kind == "trades" else {"bars": {}, "next_page_token": None}
        body = msgspec.json.encode(answer)
        wire.deliver_soon(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def _upgrade(self, wire: Wire, feed: str, head: Sequence[bytes]) -> None:
        if self.refusals:
            self.refusals -= 1
            wire.deliver_soon(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")
            return
        wire.feed = feed
        key = next(line.split(b": ")[1] for line in head if line.lower().startswith(b"sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
        wire.deliver_soon(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        _say(wire, {"T": "success", "msg": "connected"})

    def _trades(self, query: dict[str, str]) -> dict[str, Any]:
        """Return a page of what the venue knows by now of the trades of some symbols."""
        symbols = query["symbols"].split(",")
        syms = [self._index[symbol] for symbol in symbols]
        now_ns, first, limit = self._loop.now_ns, int(query.get("page_token", "0")), int(query["limit"])
        past = np.concatenate([self._before, self._cycle.past])
        wanted = (past["t"] >= time_ns(query["start"])) & (past["t"] <= time_ns(query["end"]))
        past = past[wanted & (past["from_ns"] <= now_ns) & np.isin(past["sym"], syms)]
        past = past[np.argsort(past["t"], kind="stable")]
        page: dict[str, list[dict[str, Any]]] = {}
        for sym, t, _, wrong_ns, number, price, size, c in past[first : first + limit].tolist():
            symbol = self._cycle.symbols[sym]
            conditions, tape = told(symbol, CONDITIONS[c])
            trade = {
                "t": rfc3339(t),
                "i": number,
                "p": price,
                "s": size,
                "c": conditions,
                "z": tape,
                "x": "V",
            }
            if wrong_ns <= now_ns:
                trade["u"] = "incorrect"
            page.setdefault(symbol, []).append(trade)
        more = str(first + limit) if len(past) > first + limit else None
        return {"trades": page, "next_page_token": more}

    def latest_quote(self, symbol: str) -> np.void | None:
        """Return the row of a symbol's latest quote, None before its first."""
        rows = self._cycle.rows
        ahead_ns = AHEAD_NS[feed_of(symbol)]
        mine = (rows["sym"] == self._index[symbol]) & (rows["venue_ns"] <= self._loop.now_ns + ahead_ns)
        quotes = np.flatnonzero(mine & (rows["kind"] == 2))
        found: np.void | None = rows[quotes[-1]] if len(quotes) else None
        return found


def _say(wire: Wire, message: dict[str, Any]) -> None:
    payload = msgspec.msgpack.encode([message])
    wire.deliver_soon(frame_head(len(payload)) + payload)


def _unmasked(data: bytes) -> tuple[int, bytes, bytes]:
    """Return opcode and payload of a client's first frame, and what comes behind it."""
    size, at = data[1] & 0x7F, 2
    if size == 126:
        size, at = int.from_bytes(data[2:4], "big"), 4
    mask, begin = data[at : at + 4], at + 4
    payload = bytes(byte ^ mask[n % 4] for n, byte in enumerate(data[begin : begin + size]))
    return data[0] & 15, payload, data[begin + size :]
