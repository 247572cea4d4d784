"""The door of the REST side: arrival stamps, keys, rate limits, request faults, refusals, the request log.

Owns everything that happens to a request before and after its handler. The one idea: a trading request is
written down when it arrives, whatever becomes of it, with the time its first bytes came off the socket.

One port stands for the venue's two hosts, which have budgets of their own: requests for market data
(`/v2/stocks`, `/v1beta1`, `/v1beta3`) belong to the data host, which looks at keys itself; the rest to the trading
host. The streams and the simulator's own controls belong to neither.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from aiohttp import hdrs, web
from aiohttp.web_protocol import RequestHandler

from hands.sim.server.answers import challenged, check_repeatable, json_response, proxy_page, unauthorized
from hands.sim.server.fault_rows import FaultRow
from hands.sim.server.floor import RequestRecord, TradingFloor
from hands.sim.server.keys import is_known, presented
from hands.sim.server.rate import RateBudget, RateReading
from hands.sim.venue import errors
from hands.sim.venue.exchange import Exchange

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CONTROLS: Final = "/sim/v1/"
_DATA: Final = ("/v2/stocks/", "/v1beta1/", "/v1beta3/")
_TRADING: Final = (
    "/v2/orders",
    "/v2/positions",
    "/v2/account",
    "/v2/assets",
    "/v2/clock",
    "/v2/calendar",
    "/v2/watchlists",
    "/v2/events/",
    "/v3/",
)
_WITHOUT_KEYS_AT_THE_PROXY: Final = ("/v2/clock", "/v2/calendar")
"""Where a request without keys was seen to be answered by the proxy, not by the API."""
_DATA_SHARE: Final = {"basic": 1, "plus": 50}
"""What a plan allows on the data host for each request on the trading host: 200 and 10 000 for its 200."""


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
    """The middleware of one floor."""

    def __init__(self, floor: TradingFloor) -> None:
        self._floor = floor
        limit = floor.config.rate_limit  # the trading host's requests a minute, 0 for no limit on either host
        self._limits = limit, limit * _DATA_SHARE[floor.config.plan]
        self._ids = itertools.count(1)
        self._account: Exchange | None = None
        self._budgets: tuple[RateBudget | None, RateBudget | None] = (None, None)

    def middleware(self) -> Any:
        """Return the aiohttp middleware."""

        @web.middleware
        async def pass_through(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                return await self._handle(request, handler)
            except ConnectionResetError:  # the client has gone: there is nobody to answer
                return _hang_up(request)
            except web.RequestPayloadError:  # a body that is not in the encoding it says
                malformed = errors.VenueError(400, 40010000, "request body format is invalid")
                return json_response(malformed.body(), malformed.status)

        return pass_through

    async def _handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        protocol = request.protocol
        assert isinstance(protocol, StampedHandler)
        try:
            if request.path.startswith(_CONTROLS):
                return await _control(request, handler)
            if request.path.startswith(_DATA) and hdrs.UPGRADE not in request.headers:
                return await self._with_faults(request, self._metered(_with_json_404(handler)), None)
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
            return await self._with_faults(request, self._guarded(_with_json_404(handler)), record)
        finally:
            protocol.first_bytes_ns = 0

    async def _with_faults(
        self, request: web.Request, handler: Handler, record: RequestRecord | None
    ) -> web.StreamResponse:
        fault = self._floor.faults.for_request(request.method, request.path)
        do = fault.do if fault is not None else ""
        if do == "drop_request":
            return _hang_up(request)
        if fault is not None and do == "delay" and fault.at == "request":
            await self._floor.clock.sleep(fault.delay_ms)
        response = _planned(fault) if fault is not None and do == "status" else await handler(request)
        if do == "drop_response":
            return _hang_up(request)
        if fault is not None and do == "delay" and fault.at == "response":
            await self._floor.clock.sleep(fault.delay_ms)
        if do == "close":
            response.force_close()
        if record is not None:
            record.status = response.status
        if not response.prepared:  # a stream's headers are gone already
            response.headers["X-Request-ID"] = f"{next(self._ids):032x}"
        return await _truncated(request, response) if do == "truncate" else response

    def _guarded(self, handler: Handler) -> Handler:
        """Return the trading host's handler: keys first, then the budget, then the venue's own refusals."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            credentials = presented(request.headers)
            if credentials is None or not is_known(self._floor.credentials, *credentials):
                return self._unauthorized(request, has_keys=credentials is not None)
            reading = self._count(is_data=False)
            try:
                response = await handler(request) if not _is_over(reading) else self._too_many(is_data=False)
            except errors.VenueError as refusal:
                response = json_response(refusal.body(), refusal.status)
            shows = self._floor.exchange.quirks.rate_headers == "present"
            return _with_rate(response, reading, shows_budget=shows)

        return guarded

    def _metered(self, handler: Handler) -> Handler:
        """Return the data host's handler: its own budget; keys are the handler's business."""

        async def metered(request: web.Request) -> web.StreamResponse:
            reading = self._count(is_data=True)
            response = await handler(request) if not _is_over(reading) else self._too_many(is_data=True)
            return _with_rate(response, reading, shows_budget=True)

        return metered

    def _count(self, *, is_data: bool) -> RateReading | None:
        """Count one request of a host; None where there is no limit. A fresh account has fresh budgets."""
        exchange = self._floor.exchange
        if self._account is not exchange:
            is_sliding = exchange.quirks.rate_window == "sliding"
            trading, data = (RateBudget(n, is_sliding=is_sliding) if n else None for n in self._limits)
            self._account, self._budgets = exchange, (trading, data)
        budget = self._budgets[is_data]
        return budget.take(self._floor.now_ns()) if budget is not None else None

    def _unauthorized(self, request: web.Request, *, has_keys: bool) -> web.Response:
        is_proxy = self._floor.exchange.quirks.keyless_body == "html" and not has_keys
        if is_proxy and request.path in _WITHOUT_KEYS_AT_THE_PROXY:
            return challenged(proxy_page(401, "Authorization Required"))
        return unauthorized()

    def _too_many(self, *, is_data: bool) -> web.Response:
        """Return the 429; which body it has is unconfirmed, but the data host was never seen to send a code."""
        habit = self._floor.exchange.quirks.rate_body
        if habit == "html":
            return proxy_page(429, "Too Many Requests")
        if habit == "plain" or is_data:
            return json_response({"message": "too many requests."}, 429)
        return json_response({"code": errors.RATE_LIMIT, "message": "rate limit exceeded"}, 429)


def _is_over(reading: RateReading | None) -> bool:
    return reading is not None and reading.is_exceeded


def _with_rate(
    response: web.StreamResponse, reading: RateReading | None, *, shows_budget: bool
) -> web.StreamResponse:
    """Return `response` with the headers of the budget, if there is one."""
    if reading is None or response.prepared:
        return response
    if shows_budget:
        response.headers.update(reading.headers())
    if reading.is_exceeded:
        response.headers[hdrs.RETRY_AFTER] = str(reading.retry_after_s)
    return response


def _with_json_404(handler: Handler) -> Handler:
    """Answer an unknown path or method as JSON, as the venue does."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as missing:
            body = {"code": missing.status * 100_000 + 10_000, "message": "endpoint not found."}
            return json_response(body, missing.status)

    return answer


async def _control(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a control; of an unknown one or another method say what there is."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as refused:
        there_is = ", ".join(sorted(refused.allowed_methods))
        return json_response({"message": f"{request.path} takes {there_is}, not {request.method}"}, 405)
    except web.HTTPNotFound:
        paths = {resource.canonical for resource in request.app.router.resources()}
        there_is = ", ".join(sorted(path for path in paths if path.startswith(_CONTROLS)))
        return json_response({"message": f"no control {request.path}; there are {there_is}"}, 404)


def _hang_up(request: web.Request) -> web.Response:
    """Close the connection; what is returned is never written."""
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=500)


async def _truncated(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Send the headers and half of the body, then close. An answer without a body is not sent at all."""
    body = response.body if isinstance(response, web.Response) else None
    if not isinstance(body, bytes) or not body:
        return _hang_up(request)
    half = web.StreamResponse(status=response.status, headers=response.headers)
    half.content_length = len(body)
    await half.prepare(request)
    await half.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()  # once what was written is out
    return half


def _planned(fault: FaultRow) -> web.Response:
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
        document = orjson.loads(raw)
        check_repeatable(document)  # the truth is to tell it
    except ValueError:
        return raw.decode(errors="replace")
    return document
