"""The market-data websockets: one hub, a few feeds, and connections that are never waited for.

Owns the stream protocol (greeting, authentication, subscriptions, error codes) and who is sent what; the market
itself comes in through `publish`. The one idea: `publish` is synchronous, encodes what somebody wants once, and
only appends to the connections' outboxes.

Where the venue's behaviour is not documented a quirk chooses: whether it closes after 402, 404 and 406
(`data_error_close`), what it says first to keys in the upgrade's headers (`header_auth_greeting`), how long a
connection that vanished still counts (`linger`). Imbalances can be subscribed to and stay silent.

Markets move by the exchange's clock, the one of the test feed too. How long a client may take to authenticate, and to
say goodbye, is real time whatever the clock: nobody's client is made faster by moving it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec
from aiohttp import WSMsgType, web

from hands.core.units import NS_PER_S
from hands.sim.market.bars import StreamBars
from hands.sim.market.codec import BAR_TYPES, Batch, Encoding, OrderBooks, bar_fields, book_fields
from hands.sim.market.feeds import FAKEPACA, FEEDS, PLANS, SIP, TEST, Feed, Plan, SubscriptionError, Wanted
from hands.sim.market.load import Burst
from hands.sim.market.synthetic import SyntheticTape
from hands.sim.market.tape import retimed
from hands.sim.server.clock import Clock
from hands.sim.server.faults import Faults, StreamLine
from hands.sim.server.keys import Credentials, is_known, presented
from hands.sim.server.market_connection import CLOSE_TIMEOUT_S, CLOSES, MAY_STAY_OPEN, Connection
from hands.sim.venue.quirks import PLAIN, Quirks
from hands.sim.venue.ticks import MarketEvent, Quote, Tick, Trade

AUTH_TIMEOUT_S: Final = 10.0
OUTBOX_BYTES_MAX: Final = 8 * 1024 * 1024
TEST_STEP_MS: Final = 250
"""How often the market of the test feed moves while somebody is on it."""
REQUEST_BYTES_MAX: Final = 256 * 1024
FRAME_EVENTS_MAX: Final = 500
"""So many messages stay far below the megabyte at which client libraries give a frame up."""
LINGER_NS: Final = {"none": 0, "90s": 90 * NS_PER_S}


class MarketHub:
    """The feeds and their connections; `publish` from the exchange's event loop, mount `routes()`.

    `clock` is the exchange's; `credentials` maps a key to its secret; `plan` is what they have paid for.
    """

    def __init__(
        self,
        clock: Clock,
        credentials: Credentials,
        faults: Faults,
        *,
        plan: Plan = PLANS["plus"],
        quirks: Quirks = PLAIN,
        auth_timeout_s: float = AUTH_TIMEOUT_S,
        outbox_bytes_max: int = OUTBOX_BYTES_MAX,
    ) -> None:
        self._clock = clock
        self._credentials = credentials
        self._faults = faults.stream("market_data")
        self._plan = plan
        self._quirks = quirks
        self._auth_timeout_s = auth_timeout_s
        self._outbox_bytes_max = outbox_bytes_max
        self._bars = StreamBars()
        self._books = OrderBooks()
        self._connections: dict[Connection, StreamLine] = {}
        self._lingering: dict[tuple[Feed, object], int] = {}
        self._test_market: asyncio.Task[None] | None = None

    def routes(self) -> list[web.RouteDef]:
        """Return the websocket routes, one per feed."""
        return [web.get(feed.path, partial(self._serve, feed)) for feed in FEEDS]

    @property
    def next_due_ns(self) -> int | None:
        """When `publish_bars` has next to be called, given what is known now; None: no bars are open."""
        return self._bars.next_due_ns

    @property
    def backlog_bytes(self) -> int:
        """The most that any one client still has to be sent."""
        return max((connection.outbox_bytes for connection in self._connections), default=0)

    def publish(self, events: Sequence[MarketEvent]) -> None:
        """Send `events`, in order, to everyone who wants them: one frame per connection, unless there are many."""
        self.publish_bars()
        self._bars.add([event for event in events if isinstance(event, Quote | Trade)])
        for first in range(0, len(events), FRAME_EVENTS_MAX):
            batch = Batch(events[first : first + FRAME_EVENTS_MAX], self._books)
            for connection, line in self._connections.items():
                frame = batch.frame(connection.codec.encoding, connection.wanted)
                if frame is not None:
                    self._send(connection, line, frame)

    def publish_load(self, burst: Burst, recorded: Sequence[Tick]) -> None:
        """Send a burst of prepared frames to everyone who wants them; bars are made of what was `recorded`."""
        self.publish_bars()
        self._bars.add(recorded)
        for connection, line in self._connections.items():
            if not connection.is_authenticated:
                continue
            if line.quiet and not connection.is_compressed:
                connection.send_burst(burst)
            else:
                for frame in connection.prepared(burst.load).each(burst):
                    self._send(connection, line, frame)

    def publish_bars(self) -> None:
        """Send the bars whose time has come by the exchange's clock; `publish` does it too."""
        due = self._bars.due(self._clock())
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

    def reset(self, quirks: Quirks) -> None:
        """Forget the market that was: bars and books begin again; connections and subscriptions stay."""
        self._quirks = quirks
        self._bars = StreamBars()
        self._books.clear()
        self._lingering.clear()
        self._stop_test_market()
        self._mind_test_market()

    def close(self) -> None:
        """Drop every connection, so that a server can stop without waiting for its clients."""
        for connection in tuple(self._connections):
            connection.abort()

    def _send(self, connection: Connection, line: StreamLine, frame: bytes) -> None:
        if connection.is_closing:
            return
        line.deliver((frame,), connection.send)

    async def _serve(self, feed: Feed, request: web.Request) -> web.StreamResponse:
        if not self._faults.admits():
            return web.Response(status=429, text="too many requests")
        is_msgpack = request.headers.get("Content-Type", "").startswith(Encoding.MSGPACK)
        encoding = Encoding.MSGPACK if is_msgpack else Encoding.JSON
        ws = web.WebSocketResponse(timeout=CLOSE_TIMEOUT_S, max_msg_size=REQUEST_BYTES_MAX, writer_limit=0)
        await ws.prepare(request)
        transport = request.transport
        if transport is None:
            return ws  # gone already
        connection = Connection(
            feed,
            encoding,
            is_compressed=bool(ws.compress),
            outbox_bytes_max=self._outbox_bytes_max,
            closes=CLOSES if self._quirks.data_error_close == "closed" else CLOSES - MAY_STAY_OPEN,
            abort=transport.abort,
        )
        self._connections[connection] = line = self._faults.attach(connection.abort)
        self._mind_test_market()
        writer = asyncio.create_task(connection.write(ws, transport))
        too_late = asyncio.get_running_loop().call_later(self._auth_timeout_s, _late, connection)
        has_vanished = True
        try:
            self._greet(connection, request)
            while (message := await ws.receive()).type in {WSMsgType.TEXT, WSMsgType.BINARY}:
                if not connection.is_closing:
                    self._handle(connection, message.data)
            # Otherwise the socket ended without a closing handshake.
            has_vanished = message.type not in {WSMsgType.CLOSE, WSMsgType.CLOSING}
        finally:
            too_late.cancel()
            line.detach()
            del self._connections[connection]
            self._mind_test_market()
            if connection.is_authenticated and has_vanished and not connection.is_closing:
                self._lingering[feed, connection.key] = self._clock() + LINGER_NS[self._quirks.linger]
            writer.cancel()
            await asyncio.wait({writer})
        return ws

    def _greet(self, connection: Connection, request: web.Request) -> None:
        in_headers = presented(request.headers)
        if in_headers is None or self._quirks.header_auth_greeting == "both":
            connection.control({"T": "success", "msg": "connected"})
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
        before = connection.wanted
        try:
            connection.wanted = before.changed(
                request, add=action == "subscribe", symbols_max=self._plan.symbols_max
            )
        except SubscriptionError as error:
            return connection.fail(error.code)
        connection.control(connection.wanted.acknowledgement())
        return self._send_books(connection, before)

    def _send_books(self, connection: Connection, before: Wanted) -> None:
        """Send the whole books of the coins that were not subscribed to `before`: changes follow them."""
        had = {quote.symbol for quote in self._books.whole(before)}
        codec = connection.codec
        books = [
            codec.message("o", quote.symbol, book_fields(quote), quote.t_ns)
            for quote in self._books.whole(connection.wanted)
            if quote.symbol not in had
        ]
        if books:
            self._send(connection, self._connections[connection], codec.join(books))

    def _authenticate(self, connection: Connection, key: object, secret: object) -> None:
        if not is_known(self._credentials, key, secret):
            return connection.fail(402)
        if connection.feed is SIP and not self._plan.is_sip_allowed:
            return connection.fail(409)
        if self._is_taken(connection.feed, key):
            return connection.fail(406)
        connection.key = key
        return connection.control({"T": "success", "msg": "authenticated"})

    def _is_taken(self, feed: Feed, key: object) -> bool:
        """Whether the one connection of a key to a feed is in use, or was until not long enough ago."""
        if self._clock() < self._lingering.get((feed, key), 0):
            return True
        return any(c.feed is feed and c.key == key and not c.is_closing for c in self._connections)

    def _mind_test_market(self) -> None:
        """Let the test feed's market move while anyone is on it."""
        if not any(connection.feed is TEST for connection in self._connections):
            self._stop_test_market()
        elif self._test_market is None:
            self._test_market = asyncio.create_task(self._run_test_market())

    def _stop_test_market(self) -> None:
        if self._test_market is not None:
            self._test_market.cancel()
            self._test_market = None

    async def _run_test_market(self) -> None:
        """Publish the test feed's own market, each step stamped with the moment it is shown at."""
        for _, events in SyntheticTape((FAKEPACA,), 0, self._clock()):
            await self._clock.sleep(TEST_STEP_MS)
            now_ns = self._clock()
            self.publish([retimed(e, now_ns) for e in events if isinstance(e, Quote | Trade)])


def _late(connection: Connection) -> None:
    if not connection.is_authenticated:
        connection.fail(404)
