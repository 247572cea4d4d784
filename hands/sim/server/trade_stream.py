"""The trade stream `/stream`: authentication, `listen`, and one message per event of an order's life.

Owns the protocol and each client's outbox. The one idea: `publish` only queues; one task per connection writes,
so a slow client never holds up the exchange. Like the venue's paper stream it sends JSON in *binary* frames
(MessagePack where the upgrade request asks for it), says nothing on connect, and never replays: who was not
listening has to ask REST. Both forms of authentication get the same answer, as observed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec
import orjson
from aiohttp import WSMsgType, web

from hands.sim.server.faults import Faults, StreamLine
from hands.sim.server.keys import Credentials, is_known
from hands.sim.server.rest_json import update_json
from hands.sim.venue.orders import TradeUpdate

TRADE_UPDATES: Final = "trade_updates"
_MSGPACK: Final = "application/msgpack"
_REQUEST_BYTES_MAX: Final = 64 * 1024
_OUTBOX_FRAMES_MAX: Final = 100_000
_CLOSE_TIMEOUT_S: Final = 1.0


class Listener:
    """One connection: what it may hear, and what waits to be written to it."""

    def __init__(self, request: web.Request, *, is_msgpack: bool) -> None:
        self.is_msgpack = is_msgpack
        self.is_authorized = False
        self.is_listening = False
        self._request = request
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue(_OUTBOX_FRAMES_MAX)

    def encode(self, message: dict[str, Any]) -> bytes:
        return msgspec.msgpack.encode(message) if self.is_msgpack else orjson.dumps(message)

    def send(self, frame: bytes) -> None:
        """Queue one frame; a client that does not read at all is dropped."""
        if self._outbox.full():
            self.abort()
        else:
            self._outbox.put_nowait(frame)

    def abort(self) -> None:
        """Drop the connection at once, without a closing handshake."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def write(self, ws: web.WebSocketResponse) -> None:
        """Write the outbox until the connection is gone."""
        while not ws.closed:
            frame = await self._outbox.get()
            try:
                await ws.send_bytes(frame)
            except ConnectionError:
                return


class TradeStream:
    """Every listener; mount `routes()`, call `publish` from the event loop."""

    def __init__(self, credentials: Credentials, faults: Faults) -> None:
        self._credentials = credentials
        self._faults = faults.stream(TRADE_UPDATES)
        self._listeners: dict[Listener, StreamLine] = {}

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/stream", self._serve)]

    def publish(self, updates: Sequence[TradeUpdate]) -> None:
        """Send events, in order, to everyone who listens."""
        messages = [{"stream": TRADE_UPDATES, "data": update_json(update)} for update in updates]
        loop = asyncio.get_running_loop()
        for listener, line in tuple(self._listeners.items()):
            if not listener.is_listening:
                continue
            for delay_ms, frame in line.transform([listener.encode(message) for message in messages]):
                if delay_ms > 0:
                    loop.call_later(delay_ms / 1000, listener.send, frame)
                else:
                    listener.send(frame)

    def close(self) -> None:
        """Drop every connection."""
        for listener in tuple(self._listeners):
            listener.abort()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if not self._faults.admits():
            return web.Response(status=429, text="too many requests")
        ws = web.WebSocketResponse(timeout=_CLOSE_TIMEOUT_S, max_msg_size=_REQUEST_BYTES_MAX)
        await ws.prepare(request)
        is_msgpack = request.headers.get("Content-Type", "").startswith(_MSGPACK)
        listener = Listener(request, is_msgpack=is_msgpack)
        line = self._listeners[listener] = self._faults.attach(listener.abort)
        writer = asyncio.create_task(listener.write(ws))
        try:
            async for message in ws:
                if message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                    self._handle(listener, message.data)
        finally:
            line.detach()
            del self._listeners[listener]
            writer.cancel()
            await asyncio.wait({writer})
        return ws

    def _handle(self, listener: Listener, data: bytes | str) -> None:
        reply = partial(self._reply, listener)
        try:
            message = _decode(data, is_packed=listener.is_msgpack)
        except (orjson.JSONDecodeError, msgspec.DecodeError):
            message = None
        if not isinstance(message, dict):
            listener.send(listener.encode({"action": "error", "data": {"error_message": "invalid syntax"}}))
            return
        action, data_part = message.get("action"), message.get("data")
        body = data_part if isinstance(data_part, dict) else {}
        if action in ("auth", "authenticate"):
            key = message.get("key") if action == "auth" else body.get("key_id")
            secret = message.get("secret") if action == "auth" else body.get("secret_key")
            listener.is_authorized = is_known(self._credentials, key, secret)
            status = "authorized" if listener.is_authorized else "unauthorized"
            reply("authorization", {"status": status, "action": "authenticate"})
        elif action == "listen" and not listener.is_authorized:
            reply("authorization", {"status": "unauthorized", "action": "listen"})
        elif action == "listen":
            wanted = body.get("streams")
            listener.is_listening = isinstance(wanted, list) and TRADE_UPDATES in wanted
            reply("listening", {"streams": [TRADE_UPDATES] if listener.is_listening else []})
        else:
            listener.send(listener.encode({"action": "error", "data": {"error_message": "unknown action"}}))

    @staticmethod
    def _reply(listener: Listener, stream: str, data: dict[str, Any]) -> None:
        listener.send(listener.encode({"stream": stream, "data": data}))


def _decode(data: bytes | str, *, is_packed: bool) -> Any:
    if is_packed and isinstance(data, bytes):
        return msgspec.msgpack.decode(data)
    return orjson.loads(data)
