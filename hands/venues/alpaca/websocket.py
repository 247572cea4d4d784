"""One websocket connection to the venue, over the Sans-I/O layer of `websockets`, with a shorter way for plain data.

Owns the socket, the opening handshake, pings and the reassembly of messages. May not reconnect and knows no
message: two callers with different protocols build on it. The one idea: everything happens inside the socket's
callback, so a frame's bytes become a call of `on_message` without a task, a queue or an `await` in between.

A whole message in one unmasked frame is cut out of the bytes here; every other frame, and whatever is wrong, is given to
the library, one complete frame at a time, so its parser is always between two frames and the protocol's rules stay its
own. It halves what a small frame costs (docs/adr/0009).

Compression is not offered: on loopback and in a data centre it costs more than the bytes it saves, and a small
frame could grow without bound on our side.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from hands.venues.alpaca.endpoints import origin_of
from hands.venues.alpaca.http import USER_AGENT, connect_reason, default_tls, set_nodelay

MESSAGE_MAX = 8 * 1024 * 1024

_END_OF_HEAD = b"\r\n\r\n"
_HEAD_MIN = 2
_WHOLE_TEXT = 0x81
_WHOLE = frozenset({_WHOLE_TEXT, 0x82})
"""The first byte of a frame that holds a whole message, text or binary, and uses no extension."""

# At DEBUG the library logs every frame, and our first one holds the secret: its logger is ours and stays above.
_QUIET = logging.getLogger(f"{__name__}.protocol")
_QUIET.setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Closed:
    """Why a connection ended; `http_status` where the server refused to make it a websocket."""

    reason: str
    http_status: int | None = None


class WebSocketClient(asyncio.Protocol):
    """A client connection: `await connect()` once, then callbacks until `on_close`, which is called exactly once.

    `on_message(data, is_text)` gets whole messages. `received_ns` is `clock()` at the start of the socket
    callback that brought them, read once for all messages in it.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], int],
        on_open: Callable[[], None],
        on_message: Callable[[bytes, bool], None],
        on_close: Callable[[Closed], None],
        headers: Mapping[str, str] | None = None,
        ping_every_s: float = 10.0,
        pong_within_s: float = 10.0,
        message_max: int = MESSAGE_MAX,
    ) -> None:
        self.received_ns = 0
        self._clock = clock
        self._on_open = on_open
        self._on_message = on_message
        self._on_close = on_close
        self._headers = dict(headers or {})
        self._ping_every_s = ping_every_s
        self._pong_within_s = pong_within_s
        self._loop = asyncio.get_running_loop()
        self._origin = origin_of(url)
        self._protocol = ClientProtocol(parse_uri(url), max_size=message_max, logger=_QUIET)
        self._transport: asyncio.Transport | None = None
        self._message_max = message_max
        self._handshake = bytearray()
        self._rest = bytearray()
        self._rest_needs = 0
        self._parts: list[bytes] = []
        self._parts_are_text = False
        self._timer: asyncio.TimerHandle | None = None
        self._heard_since_ping = False
        self._reason: Closed | None = None
        self._is_over = False

    async def connect(self, *, open_timeout_s: float = 10.0, tls: ssl.SSLContext | None = None) -> None:
        """Connect the socket and begin the handshake; `on_open` follows, or `on_close` says why not."""
        origin = self._origin
        try:
            async with asyncio.timeout(open_timeout_s):
                await self._loop.create_connection(
                    lambda: self,
                    origin.host,
                    origin.port,
                    ssl=(tls or default_tls()) if origin.tls else None,
                    server_hostname=origin.host if origin.tls else None,
                )
        except OSError as error:
            self.abort(f"cannot connect to {origin.authority}: {connect_reason(error)}")
            return
        if not self.is_open:
            self._arm(
                open_timeout_s, lambda: self.abort(f"no websocket handshake within {open_timeout_s:g} s")
            )

    @property
    def is_open(self) -> bool:
        return self._protocol.state is State.OPEN and not self._is_over

    def send(self, data: bytes, *, text: bool) -> None:
        """Send one message now; on a connection that is closing it is dropped, `on_close` is on its way."""
        if not self.is_open:
            return
        if text:
            self._protocol.send_text(data)
        else:
            self._protocol.send_binary(data)
        self._flush()

    def close(self, reason: str) -> None:
        """Say goodbye and drop the connection without waiting for the answer."""
        if self.is_open:
            self._protocol.send_close(1000)
            self._flush()
            if self._transport is not None:
                self._transport.close()  # lets the goodbye leave first
        self.abort(reason)

    def abort(self, reason: str) -> None:
        """Drop the connection at once; `on_close` is called before this returns."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.abort()
        self._end(Closed(reason))

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        set_nodelay(self._transport)
        request = self._protocol.connect()
        request.headers["User-Agent"] = USER_AGENT
        for name, value in self._headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)
        self._flush()

    def data_received(self, data: bytes) -> None:
        if self._is_over:
            return
        self.received_ns = self._clock()
        self._heard_since_ping = True
        if self._protocol.state is State.CONNECTING:
            data = self._shake_hands(data)
        if self._rest:
            self._rest += data
            if len(self._rest) < self._rest_needs:
                return
            data, self._rest = bytes(self._rest), bytearray()
        done = self._cut(data)
        if done < len(data):
            self._rest += data[done:]

    def eof_received(self) -> None:
        self._protocol.receive_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        how = "closed" if exc is None else f"broke ({type(exc).__name__})"
        handshake = self._protocol.handshake_exc
        self._transport = None
        self._end(_refusal(handshake) if handshake is not None else Closed(f"the connection {how}"))

    # --- inside

    def _shake_hands(self, data: bytes) -> bytes:
        """Give the library the server's answer, and return what came behind it."""
        self._handshake += data
        end = self._handshake.find(_END_OF_HEAD)
        if end < 0:
            self._give_library(data)
            return b""
        behind = bytes(self._handshake[end + len(_END_OF_HEAD) :])
        self._give_library(data[: len(data) - len(behind)])
        if self._protocol.state is not State.OPEN:  # a refusal, with a page that says why
            self._give_library(behind)
            return b""
        self._handshake.clear()
        return behind

    def _cut(self, data: bytes) -> int:
        """Take every complete frame of `data`; return where the first incomplete one begins."""
        at, size, on_message = 0, len(data), self._on_message
        self._rest_needs = _HEAD_MIN
        while size - at >= _HEAD_MIN and not self._is_over:
            head, length, begin = data[at], data[at + 1], at + _HEAD_MIN
            if length >= 126:
                begin = at + (4 if length == 126 else 10)
                if begin > size:
                    self._rest_needs = begin - at
                    return at
                if length <= 127:
                    length = int.from_bytes(data[at + _HEAD_MIN : begin], "big")
                else:  # masked, which a server's frames may not be
                    length = self._message_max + 1
            end = begin + length
            if length > self._message_max:
                self._give_library(data[at:])
                return size
            if end > size:
                self._rest_needs = end - at
                return at
            if head in _WHOLE and not self._parts:
                on_message(data[begin:end], head == _WHOLE_TEXT)
            else:
                self._give_library(data[at:end])
            at = end
        return at

    def _give_library(self, data: bytes) -> None:
        """Let the library parse `data`, act on what it found, and send what it wants sent."""
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            self._take(event)
        self._flush()
        if self._protocol.handshake_exc is not None:
            self._end_with(_refusal(self._protocol.handshake_exc))
        elif self._protocol.close_expected():
            self._end_with(Closed(self._goodbye()))

    def _opened(self) -> None:
        self._arm(self._ping_every_s, self._ping)
        self._on_open()

    def _take(self, event: object) -> None:
        if self._is_over:  # a callback has given up the connection
            return
        if isinstance(event, Frame):
            self._take_frame(event)
        elif isinstance(event, Response) and self._protocol.handshake_exc is None:
            self._opened()

    def _take_frame(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if frame.fin:
                self._on_message(bytes(frame.data), opcode is Opcode.TEXT)
                return
            self._parts = [bytes(frame.data)]
            self._parts_are_text = opcode is Opcode.TEXT
        elif opcode is Opcode.CONT:
            self._parts.append(bytes(frame.data))
            if frame.fin:
                parts, self._parts = self._parts, []
                self._on_message(b"".join(parts), self._parts_are_text)

    def _ping(self) -> None:
        self._heard_since_ping = False
        self._protocol.send_ping(b"")
        self._flush()
        self._arm(self._pong_within_s, self._expect_pong)

    def _expect_pong(self) -> None:
        # Any bytes count: behind a burst of data the pong itself may come late.
        if not self._heard_since_ping:
            self.abort(f"nothing was heard within {self._pong_within_s:g} s of a ping")
            return
        self._arm(max(0.0, self._ping_every_s - self._pong_within_s), self._ping)

    def _arm(self, delay_s: float, action: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if self._is_over else self._loop.call_later(delay_s, action)

    def _flush(self) -> None:
        transport = self._transport
        for data in self._protocol.data_to_send():
            if transport is not None and data and not transport.is_closing():
                transport.write(data)

    def _goodbye(self) -> str:
        fault = self._protocol.parser_exc
        if fault is not None:
            return f"the server broke the websocket protocol: {type(fault).__name__}: {str(fault)[:200]}"
        goodbye = self._protocol.close_rcvd
        if goodbye is None:
            return "the server ended the websocket without a word"
        return f"the server closed the websocket ({goodbye.code} {goodbye.reason[:200]})"

    def _end_with(self, closed: Closed) -> None:
        if self._transport is not None:
            self._transport.close()
        self._end(closed)

    def _end(self, closed: Closed) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._on_close(closed)


def _refusal(error: Exception) -> Closed:
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        return Closed(f"the server answered the websocket handshake with HTTP {status}", status)
    kind = "handshake" if isinstance(error, InvalidHandshake) else "connection"
    return Closed(f"the websocket {kind} failed: {type(error).__name__}: {str(error)[:200]}")
