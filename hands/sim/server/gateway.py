"""The door of the REST side: arrival stamps, keys, rate limit, request faults, refusals, the request log.

Owns everything that happens to a request before and after its handler. The one idea: a request is written down
when it arrives, whatever becomes of it, with the time its first bytes came off the socket.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from hands.core.units import NS_PER_S
from hands.sim.server.faults import RequestFault
from hands.sim.server.floor import RequestRecord, TradingFloor
from hands.sim.server.keys import is_known, presented
from hands.sim.venue import errors

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_TRADING: Final = ("/v2/orders", "/v2/positions", "/v2/account", "/v2/assets", "/v2/clock", "/v2/calendar")
_CONTROLS: Final = "/sim/v1/"
_WINDOW_S: Final = 60


def json_response(document: Any, status: int = 200) -> web.Response:
    """Return `document` as a JSON answer."""
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


class StampedHandler(RequestHandler):
    """A connection that remembers when the first bytes of the current request arrived.

    The time is taken in `data_received`, before parsing and before the event loop gets to the handler, since a
    client's latency is measured against it. The stamp is kept until `Gateway` has dealt with the request (its
    later segments are not a new request) and cleared before the answer is written, so the next bytes set it.
    """

    __slots__ = ("conn", "first_bytes_ns", "now_ns")

    def __init__(
        self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, now_ns: Callable[[], int], conn: int
    ) -> None:
        super().__init__(manager, loop=loop)
        self.now_ns = now_ns
        self.conn = conn
        self.first_bytes_ns = 0

    def data_received(self, data: bytes) -> None:
        if not self.first_bytes_ns:
            self.first_bytes_ns = self.now_ns()
        super().data_received(data)


def protocol_factory(server: web.Server, now_ns: Callable[[], int]) -> Callable[[], StampedHandler]:
    """Return what `loop.create_server` calls for each connection, numbering them from 1."""
    numbers = itertools.count(1)
    loop = asyncio.get_running_loop()
    return lambda: StampedHandler(server, loop=loop, now_ns=now_ns, conn=next(numbers))


class Gateway:
    """The middleware. `rate_limit` is requests a minute and key; 0 is no limit."""

    def __init__(self, floor: TradingFloor, rate_limit: int) -> None:
        self._floor = floor
        self._rate_limit = rate_limit
        self._window = 0
        self._used = 0
        self._requests = itertools.count(1)

    def middleware(self) -> Any:
        """Return the aiohttp middleware."""

        @web.middleware
        async def pass_through(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._handle(request, handler)

        return pass_through

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        protocol = request.protocol
        assert isinstance(protocol, StampedHandler)
        try:
            if request.path.startswith(_CONTROLS):
                return await handler(request)
            if not request.path.startswith(_TRADING):
                return await self._with_faults(request, _with_json_404(handler), None)
            record = RequestRecord(
                request.method,
                request.path_qs,
                _readable(await request.read()),
                protocol.first_bytes_ns,
                protocol.conn,
            )
            self._floor.requests.append(record)
            return await self._with_faults(request, self._checked(handler), record)
        finally:
            protocol.first_bytes_ns = 0

    async def _with_faults(
        self, request: web.Request, handler: Handler, record: RequestRecord | None
    ) -> web.StreamResponse:
        fault = self._floor.faults.for_request(request.method, request.path)
        if fault is not None and fault.do == "drop_request":
            return _hang_up(request)
        if fault is not None and fault.do == "delay" and fault.at == "request":
            await asyncio.sleep(fault.delay_ms / 1000)
        response = _planned(fault) if fault is not None and fault.do == "status" else await handler(request)
        if fault is not None and fault.do == "drop_response":
            return _hang_up(request)
        if fault is not None and fault.do == "delay" and fault.at == "response":
            await asyncio.sleep(fault.delay_ms / 1000)
        if fault is not None and fault.do == "close":
            response.force_close()
        if record is not None:
            record.status = response.status
        return response

    def _checked(self, handler: Handler) -> Handler:
        async def checked(request: web.Request) -> web.StreamResponse:
            limits = {}
            try:
                self._authenticate(request)
                limits = self._rate_headers()
                self._check_rate()
                response = await _with_json_404(handler)(request)
            except errors.VenueError as refusal:
                response = json_response(refusal.body(), refusal.status)
            response.headers.update(limits)
            response.headers["X-Request-ID"] = f"{next(self._requests):032x}"
            return response

        return checked

    def _authenticate(self, request: web.Request) -> None:
        credentials = presented(request.headers)
        if credentials is None or not is_known(self._floor.credentials, *credentials):
            raise errors.VenueError(401, None, "unauthorized.")

    def _rate_headers(self) -> dict[str, str]:
        """Count one request in the current minute and return the headers that tell what is left of it."""
        if not self._rate_limit:
            return {}
        window = self._floor.now_ns() // NS_PER_S // _WINDOW_S
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1
        return {
            "X-RateLimit-Limit": str(self._rate_limit),
            "X-RateLimit-Remaining": str(max(0, self._rate_limit - self._used)),
            "X-RateLimit-Reset": str((window + 1) * _WINDOW_S),
        }

    def _check_rate(self) -> None:
        if self._rate_limit and self._used > self._rate_limit:
            raise errors.VenueError(429, errors.RATE_LIMIT, "rate limit exceeded")


def _with_json_404(handler: Handler) -> Handler:
    """Answer an unknown path or method as JSON, as the venue does."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as missing:
            body = {"code": missing.status * 100_000 + 10_000, "message": "endpoint not found."}
            return json_response(body, missing.status)

    return answer


def _hang_up(request: web.Request) -> web.Response:
    """Close the connection; what is returned is never written."""
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=500)


def _planned(fault: RequestFault) -> web.Response:
    if isinstance(fault.body, str):
        return web.Response(text=fault.body, status=fault.status, content_type="text/html")
    return (
        json_response(fault.body, fault.status)
        if fault.body is not None
        else web.Response(status=fault.status)
    )


def _readable(raw: bytes) -> Any:
    """Return a body as JSON if it is, as text if not, None if empty."""
    if not raw:
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw.decode(errors="replace")
