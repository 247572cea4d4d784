"""One client of a market-data feed: its state, its bounded outbox and the task that writes it.

Owns what a connection is told when something is wrong and when it is dropped; what it is sent is the hub's. The
one idea: sending only appends to the outbox, one writer empties it, and a client that lets more than
`outbox_bytes_max` pile up is told 407 and dropped, so a slow reader can never hold up the exchange.

Not sent, because nothing here can cause them: 408 (an older protocol), 411 (keys with scopes), 412 and 413
(options), 500.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from aiohttp import WSMsgType, web

from hands.sim.market.codec import CODECS, Encoding
from hands.sim.market.feeds import Feed, Wanted
from hands.sim.market.load import Burst, LoadTape, PreparedFrames

CLOSE_TIMEOUT_S: Final = 1.0

ERRORS: Final = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
}
CLOSES: Final = frozenset({402, 404, 406, 407, 409})
MAY_STAY_OPEN: Final = frozenset({402, 404, 406})
"""Errors after which the venue closes the connection, or leaves it to the client: UNCONFIRMED, so a quirk."""


class Connection:
    """A client on one feed; `closes` are the errors that end it, `abort` drops its socket."""

    def __init__(
        self,
        feed: Feed,
        encoding: Encoding,
        *,
        is_compressed: bool,
        outbox_bytes_max: int,
        closes: frozenset[int],
        abort: Callable[[], None],
    ) -> None:
        self.feed = feed
        self.codec = CODECS[encoding]
        self.wanted = Wanted(feed)
        self.key: object = None
        self.is_closing = False
        self.outbox_bytes = 0
        self.outbox_bytes_max = outbox_bytes_max
        self.abort = abort
        self._opcode = WSMsgType.TEXT if encoding is Encoding.JSON else WSMsgType.BINARY
        self._closes = closes
        self.is_compressed = is_compressed
        self._prepared: tuple[LoadTape, Wanted, PreparedFrames] | None = None
        # A frame to be sent, after others that are ready for the socket (empty but for a load's burst).
        self._outbox: deque[tuple[bytes, bytes]] = deque()
        self._wake = asyncio.Event()

    @property
    def is_authenticated(self) -> bool:
        return self.key is not None

    def send(self, frame: bytes) -> None:
        """Queue a frame; over the bound the client is slow: what waits is dropped for error 407."""
        self._send(b"", frame)

    def send_burst(self, burst: Burst) -> None:
        """Queue what this client wants of a burst: all frames but the last in one piece."""
        wire = self.prepared(burst.load).wire(burst)
        if wire is not None:
            self._send(*wire)

    def prepared(self, load: LoadTape) -> PreparedFrames:
        """Return what this client wants of `load`, encoded once for as long as its subscription stays."""
        if self._prepared is None or self._prepared[0] is not load or self._prepared[1] is not self.wanted:
            frames = load.prepare(self.codec.encoding, self.wanted, self._head)
            self._prepared = (load, self.wanted, frames)
        return self._prepared[2]

    def control(self, message: dict[str, Any]) -> None:
        """Queue one control message."""
        self.send(self.codec.control(message))

    def fail(self, code: int) -> None:
        """Send error `code`; those that end a connection end it, politely or, if that hangs, at once."""
        if self.is_closing:
            return
        self._queue(b"", self.codec.control({"T": "error", "code": code, "msg": ERRORS[code]}))
        if code in self._closes:
            self.is_closing = True
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self.abort)

    async def write(self, ws: web.WebSocketResponse, transport: asyncio.WriteTransport) -> None:
        """Write the outbox until the connection is closing and everything is out, then close it.

        `ws` must have a writer limit of 0, so that every frame waits while the client's socket is full.
        """
        while True:
            while self._outbox:
                framed, frame = self._outbox.popleft()
                try:
                    if framed:
                        transport.write(framed)
                    await ws.send_frame(frame, self._opcode)
                except ConnectionError:
                    return
                self.outbox_bytes -= len(framed) + len(frame)
            if self.is_closing:
                await ws.close()
                return
            self._wake.clear()
            await self._wake.wait()

    def _send(self, framed: bytes, frame: bytes) -> None:
        if self.is_closing:
            return
        self._queue(framed, frame)
        if self.outbox_bytes > self.outbox_bytes_max:
            self._outbox.clear()
            self.fail(407)

    def _queue(self, framed: bytes, frame: bytes) -> None:
        self._outbox.append((framed, frame))
        self.outbox_bytes += len(framed) + len(frame)
        self._wake.set()

    def _head(self, length: int) -> bytes:
        """Return the head of an unmasked, final, uncompressed frame (RFC 6455, 5.2)."""
        first = 0x80 | self._opcode
        if length < 126:
            return bytes((first, length))
        if length < 65536:
            return bytes((first, 126)) + length.to_bytes(2, "big")
        return bytes((first, 127)) + length.to_bytes(8, "big")
