"""The trade stream `/stream`: authentication, `listen`, and one message per event of an order's life.

Owns the protocol and each client's outbox. The one idea: `publish` only queues; one task per connection writes,
so a slow client never holds up the exchange. Like the venue's paper stream it sends JSON in *binary* frames
(MessagePack where the upgrade request asks for it), says nothing on connect, and never replays: who was not
listening has to ask REST. Both forms of authentication get the same answer, as observed.

What nobody has confirmed about the stream is a quirk: the frames' opcode, the heartbeat, which fields an update has,
how many connections there may be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import orjson
from aiohttp import WSMsgType, web

from hands.sim.market.times import rfc3339_in
from hands.sim.server.clock import Clock
from hands.sim.server.faults import Faults, StreamLine
from hands.sim.server.keys import OAUTH_KEY, Credentials, is_known
from hands.sim.server.rest_json import update_json
from hands.sim.venue.calendar import NEW_YORK
from hands.sim.venue.orders import Order, TradeUpdate
from hands.sim.venue.quirks import Quirks

TRADE_UPDATES: Final = "trade_updates"
HEARTBEAT: Final = b"\x01"
HEARTBEAT_MS: Final = 10_000
_FILLS: Final = frozenset({"fill", "partial_fill"})
_BEFORE_NEW: Final = frozenset({"pending_new", "accepted"})
_MSGPACK: Final = "application/msgpack"
_REQUEST_BYTES_MAX: Final = 64 * 1024
_OUTBOX_FRAMES_MAX: Final = 100_000
_CLOSE_TIMEOUT_S: Final = 1.0


class Listener:
    """One connection: what it may hear, and what waits to be written to it."""

    def __init__(self, request: web.Request, *, is_msgpack: bool, is_text: bool) -> None:
        self.is_msgpack = is_msgpack
        self.is_authorized = False
        self.is_listening = False
        self._request = request
        self._opcode = WSMsgType.TEXT if is_text and not is_msgpack else WSMsgType.BINARY
        self._outbox: asyncio.Queue[tuple[bytes, WSMsgType]] = asyncio.Queue(_OUTBOX_FRAMES_MAX)

    def encode(self, message: dict[str, Any]) -> bytes:
        return msgspec.msgpack.encode(message) if self.is_msgpack else orjson.dumps(message)

    def reply(self, message: dict[str, Any]) -> None:
        """Queue the answer to one of the client's messages."""
        self.send(self.encode(message))

    def send(self, frame: bytes) -> None:
        """Queue one frame; a client that does not read at all is dropped."""
        self._queue(frame, self._opcode)

    def beat(self) -> None:
        """Queue the heartbeat, which is no message."""
        self._queue(HEARTBEAT, WSMsgType.BINARY)

    def abort(self) -> None:
        """Drop the connection at once, without a closing handshake."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def write(self, ws: web.WebSocketResponse) -> None:
        """Write the outbox until the connection is gone."""
        while not ws.closed:
            frame, opcode = await self._outbox.get()
            try:
                await ws.send_frame(frame, opcode)
            except ConnectionError:
                return

    def _queue(self, frame: bytes, opcode: WSMsgType) -> None:
        if self._outbox.full():
            self.abort()
        else:
            self._outbox.put_nowait((frame, opcode))


class TradeStream:
    """Every listener; mount `routes()`, call `publish` from the event loop. `log` is every update there was."""

    def __init__(
        self,
        clock: Clock,
        credentials: Credentials,
        faults: Faults,
        log: Iterable[TradeUpdate],
        quirks: Quirks,
    ) -> None:
        self._clock = clock
        self._credentials = credentials
        self._faults = faults.stream(TRADE_UPDATES)
        self._log = log
        self._quirks = quirks
        self._listeners: dict[Listener, StreamLine] = {}
        self._heart: asyncio.Task[None] | None = None

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/stream", self._serve)]

    def publish(self, updates: Sequence[TradeUpdate]) -> None:
        """Send events, in order, to everyone who listens."""
        listening = [pair for pair in self._listeners.items() if pair[0].is_listening]
        if not listening:
            return
        messages = [
            {"stream": TRADE_UPDATES, "data": update_document(update, self._quirks)}
            for update in self._with_replays(updates)
        ]
        frames: dict[bool, list[bytes]] = {}
        for listener, line in listening:
            if listener.is_msgpack not in frames:
                frames[listener.is_msgpack] = [listener.encode(message) for message in messages]
            line.deliver(frames[listener.is_msgpack], listener.send)

    def reset(self, quirks: Quirks) -> None:
        """Go on with other habits; connections stay."""
        self._quirks = quirks
        self._mind_heart()

    def close(self) -> None:
        """Drop every connection."""
        for listener in tuple(self._listeners):
            listener.abort()

    def _with_replays(self, updates: Sequence[TradeUpdate]) -> list[TradeUpdate]:
        """Return `updates`, each terminal one followed by the whole history of its order where a fault says so."""
        told: list[TradeUpdate] = []
        for update in updates:
            told.append(update)
            if not self._faults.quiet and update.order.status.is_terminal:
                fault = self._faults.take("replay")
                if fault is not None:
                    told += self._history(update.order) * fault.copies
        return told

    def _history(self, order: Order) -> list[TradeUpdate]:
        """Return the events of an order from `new` on, as they were sent, execution ids and all."""
        return [
            update
            for update in self._log
            if update.order.order_id == order.order_id and update.event not in _BEFORE_NEW
        ]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        is_taken = self._quirks.trade_connections == "one" and self._listeners
        if is_taken or not self._faults.admits():
            return web.Response(status=429, text="too many requests")
        ws = web.WebSocketResponse(timeout=_CLOSE_TIMEOUT_S, max_msg_size=_REQUEST_BYTES_MAX)
        await ws.prepare(request)
        listener = Listener(
            request,
            is_msgpack=request.headers.get("Content-Type", "").startswith(_MSGPACK),
            is_text=self._quirks.trade_frames == "text",
        )
        line = self._listeners[listener] = self._faults.attach(listener.abort)
        self._mind_heart()
        writer = asyncio.create_task(listener.write(ws))
        try:
            async for message in ws:
                if message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                    self._handle(listener, message.data)
        finally:
            line.detach()
            del self._listeners[listener]
            self._mind_heart()
            writer.cancel()
            await asyncio.wait({writer})
        return ws

    def _handle(self, listener: Listener, data: bytes | str) -> None:
        """Answer one message of a client."""
        try:
            message = _decode(data, is_packed=listener.is_msgpack)
        except (orjson.JSONDecodeError, msgspec.DecodeError, RecursionError):  # the last: nested without end
            message = None
        if not isinstance(message, dict):
            return listener.reply(_error("invalid syntax"))
        action, data_part = message.get("action"), message.get("data")
        body = data_part if isinstance(data_part, dict) else {}
        if action in ("auth", "authenticate"):
            keys = (
                _presented(body) if action == "authenticate" else (message.get("key"), message.get("secret"))
            )
            listener.is_authorized = is_known(self._credentials, *keys)
            listener.is_listening = listener.is_listening and listener.is_authorized
            return listener.reply(_authorization(listener.is_authorized, "authenticate"))
        if action != "listen":
            return listener.reply(_error("unknown action"))
        if not listener.is_authorized:
            return listener.reply(_authorization(False, "listen"))
        wanted = body.get("streams")
        if not isinstance(wanted, list):
            return listener.reply(_error("invalid syntax"))
        # A set: what is not in it any more is not heard any more; streams that do not exist are left out.
        listener.is_listening = TRADE_UPDATES in wanted
        streams = [TRADE_UPDATES] if listener.is_listening else []
        return listener.reply({"stream": "listening", "data": {"streams": streams}})

    def _mind_heart(self) -> None:
        """Let the heart beat while anyone is connected, if the venue still has one."""
        is_wanted = bool(self._listeners) and self._quirks.heartbeat == "byte"
        if is_wanted and self._heart is None:
            self._heart = asyncio.create_task(self._beat())
        elif not is_wanted and self._heart is not None:
            self._heart.cancel()
            self._heart = None

    async def _beat(self) -> None:
        """Send the byte that older clients skip."""
        while True:
            await self._clock.sleep(HEARTBEAT_MS)
            for listener in self._listeners:
                listener.beat()


def update_document(update: TradeUpdate, quirks: Quirks) -> dict[str, Any]:
    """Return the `data` of one message, with the fields that the stream is said to send."""
    document = update_json(update, quirks)
    if quirks.event_ids == "absent":
        del document["event_id"]
    if quirks.life_execution_ids == "absent" and update.event not in _FILLS:
        del document["execution_id"]
    if quirks.update_zone == "new_york":
        order = document["order"]
        order["created_at"] = order["submitted_at"] = rfc3339_in(NEW_YORK, update.order.created_ns)
        order["updated_at"] = rfc3339_in(NEW_YORK, update.order.updated_ns)
    return document


def _presented(data: dict[str, Any]) -> tuple[object, object]:
    """Return the (key, secret) in the older form of authentication, of which one kind has a token instead."""
    if "oauth_token" in data:
        return OAUTH_KEY, data["oauth_token"]
    return data.get("key_id"), data.get("secret_key")


def _authorization(is_authorized: bool, action: str) -> dict[str, Any]:
    status = "authorized" if is_authorized else "unauthorized"
    return {"stream": "authorization", "data": {"status": status, "action": action}}


def _error(text: str) -> dict[str, Any]:
    # The shape is what a client library handles; the words are unconfirmed.
    return {"action": "error", "data": {"error_message": text}}


def _decode(data: bytes | str, *, is_packed: bool) -> Any:
    if is_packed and isinstance(data, bytes):
        return msgspec.msgpack.decode(data)
    return orjson.loads(data)
