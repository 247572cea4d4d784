"""Trade updates over plain HTTP: `GET /v2/events/trades`, the replay that the websocket does not have.

Owns the query, the server-sent events and each reader's bounded outbox; who may ask is the gateway's. The one idea:
the answer is the log from `since` on, followed by what happens from now on until `until`, without a hole between.

The venue's own client asks for it on the trading host; nobody has confirmed that ordinary keys may (a quirk), nor
whether the bounds are inclusive: here they are, so a reader that goes on from its last id sees that event again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from aiohttp import web

from hands.sim.market.times import rfc3339
from hands.sim.server.clock import Clock
from hands.sim.server.rest_json import update_json
from hands.sim.server.rest_parse import read_time_ns
from hands.sim.venue import errors
from hands.sim.venue.orders import TradeUpdate
from hands.sim.venue.quirks import Quirks

_OUTBOX_EVENTS_MAX: Final = 100_000
_COMMENT_EVERY_S: Final = 10.0
"""How often a silent stream says something, so that a reader who is gone is noticed."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which updates are asked for; both ends belong to it, None is open."""

    since_ns: int | None
    until_ns: int | None
    since_id: str | None
    until_id: str | None

    @property
    def has_start(self) -> bool:
        return self.since_ns is not None or self.since_id is not None

    def has_begun(self, update: TradeUpdate) -> bool:
        if self.since_ns is not None and update.t_ns < self.since_ns:
            return False
        return self.since_id is None or update.event_id >= self.since_id

    def is_over(self, update: TradeUpdate) -> bool:
        if self.until_ns is not None and update.t_ns > self.until_ns:
            return True
        return self.until_id is not None and update.event_id > self.until_id


@dataclass(slots=True, eq=False)
class Reader:
    """One open answer; None in its outbox ends it."""

    span: Span
    outbox: asyncio.Queue[TradeUpdate | None] = field(
        default_factory=lambda: asyncio.Queue(_OUTBOX_EVENTS_MAX)
    )

    def take(self, update: TradeUpdate) -> None:
        """Queue an update, or the end; a reader that does not read at all is cut off."""
        if self.span.is_over(update) or self.outbox.full():
            self.end()
        elif self.span.has_begun(update):
            self.outbox.put_nowait(update)
            if update.event_id == self.span.until_id:
                self.end()

    def end(self) -> None:
        if self.outbox.full():
            self.outbox.get_nowait()
        self.outbox.put_nowait(None)


class TradeEvents:
    """Every open answer; call `publish` from the event loop after the updates are in `log`."""

    def __init__(self, clock: Clock, log: Sequence[TradeUpdate], quirks: Callable[[], Quirks]) -> None:
        self._clock = clock
        self._log = log
        self._quirks = quirks
        self._readers: set[Reader] = set()

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v2/events/trades", self._serve)]

    def publish(self, updates: Sequence[TradeUpdate]) -> None:
        """Send updates to everyone who reads."""
        for reader in self._readers:
            for update in updates:
                reader.take(update)

    def close(self) -> None:
        """End every answer."""
        for reader in self._readers:
            reader.end()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        quirks = self._quirks()
        if quirks.events_replay == "absent":
            raise web.HTTPNotFound
        span = _span(request.query)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        )
        reader = Reader(span)
        if span.has_start:
            for update in self._log:
                reader.take(update)
        self._readers.add(reader)
        if span.until_ns is not None:
            self._clock.call_at(span.until_ns + 1, reader.end)
        try:
            await response.prepare(request)
            while (block := await _next_block(reader, quirks)) is not None:
                await response.write(block)
            await response.write_eof()
        except ConnectionError:
            pass  # the reader is gone
        finally:
            self._readers.discard(reader)
        return response


async def _next_block(reader: Reader, quirks: Quirks) -> bytes | None:
    """Return the next lines of the answer, None at its end."""
    try:
        update = await asyncio.wait_for(reader.outbox.get(), _COMMENT_EVERY_S)
    except TimeoutError:
        return b": still here\n\n"
    if update is None:
        return None
    document = update_json(update, quirks) | {"at": rfc3339(update.t_ns)}
    return b"data: " + orjson.dumps(document) + b"\n\n"


def _span(query: Mapping[str, Any]) -> Span:
    """Return what is asked for. Raises `VenueError` for bounds that exclude each other."""
    span = Span(
        read_time_ns(query, "since"),
        read_time_ns(query, "until"),
        query.get("since_id") or None,
        query.get("until_id") or None,
    )
    # The rules are the documented ones; the words are unconfirmed.
    if span.since_ns is not None and span.since_id is not None:
        raise errors.parameter("only one of since or since_id is accepted")
    if (span.until_ns is not None or span.until_id is not None) and not span.has_start:
        raise errors.parameter("until requires since, until_id requires since_id")
    return span
