"""The market-data websockets: one hub, a few feeds, and connections that are never waited for.

Owns the stream protocol (greeting, authentication, subscriptions, error codes) and each connection's bounded
outbox; the market itself comes in through `publish`. The one idea: `publish` is synchronous and only appends
encoded frames to outboxes; one writer task per connection empties its own, and a client that lets more than
`outbox_bytes_max` pile up is told 407 and dropped, so a slow reader can never hold up the exchange.

Where the venue's behaviour is not documented the hub chooses: after 402, 404 and 406 it closes the connection;
with credentials in the upgrade's headers it sends both success messages. Channels that nothing here feeds
(statuses, lulds, imbalances) can be subscribed to and stay silent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from hands.sim.market.bars import StreamBars
from hands.sim.market.codec import BAR_TYPES, CODECS, Batch, Encoding, bar_fields
from hands.sim.market.feeds import FAKEPACA, FEEDS, SIP, TEST, Feed, SubscriptionError, Wanted
from hands.sim.market.synthetic import SyntheticTape
from hands.sim.market.tape import retimed
from hands.sim.server.faults import Faults, StreamLine
from hands.sim.server.keys import Credentials, is_known, presented
from hands.sim.venue.ticks import Tick

AUTH_TIMEOUT_S = 10.0
OUTBOX_BYTES_MAX = 8 * 1024 * 1024
CLOSE_TIMEOUT_S = 1.0
CLOCK_STEP_S = 0.25
REQUEST_BYTES_MAX = 256 * 1024

ERRORS = {
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
CLOSES = frozenset({402, 404, 406, 407, 409})


class Connection:
    """One client on one feed: its state, its outbox and the task that writes it."""

    def __init__(
        self, feed: Feed, encoding: Encoding, outbox_bytes_max: int, abort: Callable[[], None]
    ) -> None:
        self.feed = feed
        self.codec = CODECS[encoding]
        self.wanted = Wanted(feed)
        self.key: object = None
        self.is_closing = False
        self.outbox_bytes = 0
        self.outbox_bytes_max = outbox_bytes_max
        self.abort = abort
        self._outbox: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._later: list[tuple[float, int, bytes]] = []
        self._later_count = 0

    @property
    def is_authenticated(self) -> bool:
        return self.key is not None

    def send(self, frame: bytes) -> None:
        """Queue a frame; over the bound the client is slow: what waits is dropped for error 407."""
        if self.is_closing:
            return
        self._queue(frame)
        if self.outbox_bytes > self.outbox_bytes_max:
            self._outbox.clear()
            self.fail(407)

    def control(self, message: dict[str, Any]) -> None:
        """Queue one control message."""
        self.send(self.codec.control(message))

    def send_later(self, delay_ms: float, frame: bytes) -> None:
        """Queue a frame `delay_ms` from now (0: at once), never overtaking one due within the same millisecond."""
        if delay_ms <= 0:
            self._send_due()
            return self.send(frame)
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_ms / 1000
        due = max((when for when, _, _ in self._later if due < when <= due + 0.001), default=due)
        self._later_count += 1
        heappush(self._later, (due, self._later_count, frame))
        loop.call_at(due, self._send_due)
        return None

    def fail(self, code: int) -> None:
        """Send error `code`; those that end a connection end it, politely or, if that hangs, at once."""
        if self.is_closing:
            return
        self._queue(self.codec.control({"T": "error", "code": code, "msg": ERRORS[code]}))
        if code in CLOSES:
            self.is_closing = True
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self.abort)

    async def write(self, ws: web.WebSocketResponse) -> None:
        """Write the outbox until the connection is closing and everything is out, then close it."""
        opcode = WSMsgType.TEXT if self.codec.encoding is Encoding.JSON else WSMsgType.BINARY
        while True:
            while self._outbox:
                frame = self._outbox.popleft()
                try:
                    await ws.send_frame(frame, opcode)
                except ConnectionError:
                    return
                self.outbox_bytes -= len(frame)
            if self.is_closing:
                await ws.close()
                return
            self._wake.clear()
            await self._wake.wait()

    def _queue(self, frame: bytes) -> None:
        self._outbox.append(frame)
        self.outbox_bytes += len(frame)
        self._wake.set()

    def _send_due(self) -> None:
        if not self._later:
            return
        now = asyncio.get_running_loop().time()
        while self._later and self._later[0][0] <= now + 0.001:
            self.send(heappop(self._later)[2])


class MarketHub:
    """The feeds and their connections; `publish` from the exchange's event loop, mount `routes()`.

    `now_ns` is the exchange's clock; `credentials` maps a key to its secret. `symbols_max` bounds the symbols of
    trades and quotes (the venue's basic plan: 30), `is_sip_allowed` whether `/v2/sip` may be used at all.
    """

    def __init__(
        self,
        now_ns: Callable[[], int],
        credentials: Credentials,
        faults: Faults | None = None,
        *,
        symbols_max: int | None = None,
        is_sip_allowed: bool = True,
        auth_timeout_s: float = AUTH_TIMEOUT_S,
        outbox_bytes_max: int = OUTBOX_BYTES_MAX,
    ) -> None:
        self._now_ns = now_ns
        self._credentials = credentials
        self._faults = (faults or Faults()).stream("market_data")
        self._symbols_max = symbols_max
        self._is_sip_allowed = is_sip_allowed
        self._auth_timeout_s = auth_timeout_s
        self._outbox_bytes_max = outbox_bytes_max
        self._bars = StreamBars()
        self._connections: dict[Connection, StreamLine] = {}
        self._clock: asyncio.Task[None] | None = None

    def routes(self) -> list[web.RouteDef]:
        """Return the websocket routes, one per feed."""
        return [web.get(feed.path, partial(self._serve, feed)) for feed in FEEDS]

    def publish(self, ticks: Sequence[Tick] | Batch) -> None:
        """Send `ticks`, in order, to everyone who wants them: at most one frame per connection."""
        batch = ticks if isinstance(ticks, Batch) else Batch(ticks)
        self.publish_bars()
        self._bars.add(batch.ticks)
        for connection, line in self._connections.items():
            frame = batch.frame(connection.codec.encoding, connection.wanted)
            if frame is not None:
                self._send(connection, line, frame)

    def publish_bars(self) -> None:
        """Send the bars whose time has come by the exchange's clock; `publish` does it too."""
        due = self._bars.due(self._now_ns())
        if not due:
            return
        for connection, line in self._connections.items():
            codec, wanted = connection.codec, connection.wanted
            messages = [
                codec.message(BAR_TYPES[channel], symbol, bar_fields(symbol, bar), bar.start_ns)
                for channel, symbol, bar in due
                if wanted.wants(channel, symbol)
            ]
            if messages:
                self._send(connection, line, codec.join(messages))

    def close(self) -> None:
        """Drop every connection, so that a server can stop without waiting for its clients."""
        for connection in tuple(self._connections):
            connection.abort()

    def _send(self, connection: Connection, line: StreamLine, frame: bytes) -> None:
        if connection.is_closing:
            return
        for delay_ms, sent in line.transform((frame,)):
            connection.send_later(delay_ms, sent)

    async def _serve(self, feed: Feed, request: web.Request) -> web.StreamResponse:
        if not self._faults.admits():
            return web.Response(status=429, text="too many requests")
        is_msgpack = request.headers.get("Content-Type", "").startswith(Encoding.MSGPACK)
        encoding = Encoding.MSGPACK if is_msgpack else Encoding.JSON
        ws = web.WebSocketResponse(timeout=CLOSE_TIMEOUT_S, max_msg_size=REQUEST_BYTES_MAX)
        await ws.prepare(request)
        connection = Connection(feed, encoding, self._outbox_bytes_max, partial(_abort, request))
        self._connections[connection] = line = self._faults.attach(connection.abort)
        writer = asyncio.create_task(connection.write(ws))
        too_late = asyncio.get_running_loop().call_later(self._auth_timeout_s, _late, connection)
        try:
            self._greet(connection, request)
            async for message in ws:
                if message.type in {WSMsgType.TEXT, WSMsgType.BINARY} and not connection.is_closing:
                    self._handle(connection, message.data)
        finally:
            too_late.cancel()
            line.detach()
            del self._connections[connection]
            writer.cancel()
            await asyncio.wait({writer})
        return ws

    def _greet(self, connection: Connection, request: web.Request) -> None:
        self._start_clock()
        connection.control({"T": "success", "msg": "connected"})
        in_headers = presented(request.headers)
        if in_headers is not None:
            self._authenticate(connection, *in_headers)

    def _handle(self, connection: Connection, data: bytes | str) -> None:
        """Answer one message of a client."""
        try:
            request = connection.codec.decode(data)
        except (msgspec.DecodeError, UnicodeError):
            return connection.fail(400)
        action = request.get("action") if isinstance(request, dict) else None
        if action == "auth":
            if connection.is_authenticated:
                return connection.fail(403)
            return self._authenticate(connection, request.get("key"), request.get("secret"))
        if action not in {"subscribe", "unsubscribe"}:
            return connection.fail(400)
        if not connection.is_authenticated:
            return connection.fail(401)
        try:
            connection.wanted = connection.wanted.changed(
                request, add=action == "subscribe", symbols_max=self._symbols_max
            )
        except SubscriptionError as error:
            return connection.fail(error.code)
        return connection.control(connection.wanted.acknowledgement())

    def _authenticate(self, connection: Connection, key: object, secret: object) -> None:
        if not is_known(self._credentials, key, secret):
            return connection.fail(402)
        if connection.feed is SIP and not self._is_sip_allowed:
            return connection.fail(409)
        if any(c.feed is connection.feed and c.key == key and not c.is_closing for c in self._connections):
            return connection.fail(406)
        connection.key = key
        return connection.control({"T": "success", "msg": "authenticated"})

    def _start_clock(self) -> None:
        if self._clock is None or self._clock.done():
            self._clock = asyncio.create_task(self._run_clock())

    async def _run_clock(self) -> None:
        """While anyone is connected: send bars on time even if nothing trades, and move the test feed."""
        test_market = iter(SyntheticTape((FAKEPACA,), 0, self._now_ns()))
        while self._connections:
            await asyncio.sleep(CLOCK_STEP_S)
            self.publish_bars()
            if any(connection.feed is TEST for connection in self._connections):
                _, ticks = next(test_market)
                self.publish([retimed(tick, self._now_ns()) for tick in ticks])


def _abort(request: web.Request) -> None:
    """Drop the request's socket without a goodbye; a second time is harmless."""
    if request.transport is not None:
        request.transport.abort()


def _late(connection: Connection) -> None:
    if not connection.is_authenticated:
        connection.fail(404)
