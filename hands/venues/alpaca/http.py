"""HTTP/1.1 to the venue: one connection, one request at a time, nothing clever.

Owns the sockets of the REST interface and the parsing of responses. May not follow a redirect, repeat a
request or guess: a request either has a complete response or an `HttpFailure`. The one idea: from the moment
bytes were handed to a socket, every failure is *ambiguous*, and a connection that misbehaved in any way
(timeout, garbage, bytes nobody asked for) is closed, so that a late answer can never be taken for the answer
to another request.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import string
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from hands.venues.alpaca.endpoints import Credentials, Origin
from hands.venues.alpaca.http_reader import Response, ResponseReader
from hands.venues.alpaca.rate import RateBudget

BODY_MAX = 16 * 1024 * 1024
USER_AGENT = "hands"
CLOSE_WITHIN_S = 0.25
_PATH_LETTERS = frozenset(string.ascii_letters + string.digits + "/-._~%?&=:,+")


@dataclass(frozen=True, slots=True)
class HttpFailure:
    """No usable response. `may_have_been_sent` False is proof that not one byte left."""

    reason: str
    may_have_been_sent: bool


class HttpError(Exception):
    """An `HttpFailure` for those who await."""

    def __init__(self, failure: HttpFailure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


Outcome = Response | HttpFailure


class RequestHead:
    """Writes requests to one server; everything that does not change is encoded once."""

    def __init__(self, origin: Origin, credentials: Credentials) -> None:
        fields = {"Host": origin.authority, **credentials.headers, "User-Agent": USER_AGENT, "Accept": "*/*"}
        self._fixed = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode("ascii")
        self._json = self._fixed + b"Content-Type: application/json\r\nContent-Length: "

    def request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """Return a whole request; `body` is JSON. The path must be escaped already."""
        assert set(path) <= _PATH_LETTERS, "a path that is not escaped"
        line = f"{method} {path} HTTP/1.1\r\n".encode("ascii")
        if body is None:
            return line + self._fixed + b"\r\n"
        return b"%b%b%d\r\n\r\n%b" % (line, self._json, len(body), body)


class HttpConnection(asyncio.Protocol):
    """One connection with at most one request in flight."""

    def __init__(self, *, body_max: int = BODY_MAX) -> None:
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.last_used_s = time.monotonic()
        self.served = 0
        self._loop = loop
        self._body_max = body_max
        self._transport: asyncio.Transport | None = None
        self._on_done: Callable[[Outcome], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reader = ResponseReader(body_max)

    @classmethod
    async def open(
        cls,
        origin: Origin,
        *,
        timeout_s: float,
        tls: ssl.SSLContext | None = None,
        body_max: int = BODY_MAX,
    ) -> HttpConnection:
        """Connect, over TLS where the origin says so.

        Raises:
            OSError: the server cannot be reached or its certificate is not good (TimeoutError included).
        """
        async with asyncio.timeout(timeout_s):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: cls(body_max=body_max),
                origin.host,
                origin.port,
                ssl=(tls or default_tls()) if origin.tls else None,
                server_hostname=origin.host if origin.tls else None,
            )
        return connection

    @property
    def is_idle(self) -> bool:
        """Whether a request can be written now. A connection known to be closed never takes one."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and self._on_done is None

    def send(self, request: bytes, timeout_s: float, on_done: Callable[[Outcome], None]) -> None:
        """Hand the request's bytes to the socket now; `on_done` is called once, never within this call."""
        assert self.is_idle, "one request at a time, on an open connection"
        assert self._transport is not None
        self._reader = ResponseReader(self._body_max)
        self._on_done = on_done
        self._timer = self._loop.call_later(timeout_s, self._time_out, timeout_s)
        self._transport.write(request)

    async def request(self, request: bytes, timeout_s: float) -> Response:
        """Send and wait for the response. Raises `HttpError`; a cancelled wait closes the connection."""
        done: asyncio.Future[Outcome] = self._loop.create_future()

        def settle(outcome: Outcome) -> None:
            if not done.done():
                done.set_result(outcome)

        self.send(request, timeout_s, settle)
        try:
            outcome = await done
        except asyncio.CancelledError:
            self.abort("the request was given up")
            raise
        if isinstance(outcome, HttpFailure):
            raise HttpError(outcome)
        return outcome

    def close(self) -> None:
        """Close an idle connection; one with a request in flight is aborted."""
        if self._on_done is not None:
            self.abort("closed by us")
        elif self._transport is not None:
            self._transport.close()

    def abort(self, reason: str) -> None:
        """Drop the connection at once; a request in flight ends as ambiguous."""
        if self._transport is not None:
            self._transport.abort()
        self._finish(HttpFailure(reason, may_have_been_sent=True))

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        set_nodelay(self._transport)

    def data_received(self, data: bytes) -> None:
        if self._on_done is None:  # bytes nobody asked for
            if self._transport is not None:
                self._transport.abort()
            return
        reader = self._reader
        reader.feed(data)
        if reader.fault is not None:
            self.abort(reader.fault)
        elif reader.complete:
            self._answer()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
        self._transport = None
        if exc is None:
            self._reader.feed_eof()
        if self._on_done is not None and self._reader.complete:
            self._answer()
            return
        how = "closed the connection" if exc is None else f"broke the connection ({type(exc).__name__})"
        when = "in the middle of its answer" if self._reader.headers_done else "without an answer"
        self._finish(HttpFailure(f"the venue {how} {when}", may_have_been_sent=True))

    # --- inside

    def _answer(self) -> None:
        self.served += 1
        if self._transport is not None and not self._reader.reusable:
            self._transport.close()
        self._finish(self._reader.response())

    def _finish(self, outcome: Outcome) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        on_done, self._on_done = self._on_done, None
        self.last_used_s = time.monotonic()
        if on_done is not None:
            on_done(outcome)

    def _time_out(self, timeout_s: float) -> None:
        self.abort(f"no answer within {timeout_s:g} s")


class HttpPool:
    """A few connections for questions that may wait; opened when needed, dropped when idle for long."""

    def __init__(
        self,
        origin: Origin,
        credentials: Credentials,
        *,
        connections: int = 2,
        timeout_s: float = 5.0,
        idle_max_s: float = 30.0,
        budget: RateBudget | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._origin = origin
        self._head = RequestHead(origin, credentials)
        self._timeout_s = timeout_s
        self._idle_max_s = idle_max_s
        self._budget = budget
        self._tls = tls if tls is not None or not origin.tls else default_tls()
        self._free = asyncio.Semaphore(connections)
        self._idle: list[HttpConnection] = []

    async def fetch(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        unless: Callable[[], bool] = lambda: False,
    ) -> Response:
        """Send one request and return its response, whatever its status; never sends it twice.

        `unless` is asked when the connection stands and nothing is written yet: if it says so, nothing is.

        Raises:
            HttpError: no complete response, or called off.
        """
        request = self._head.request(method, path, body)
        async with self._free:
            connection = await self._connection()
            if unless():
                self._idle.append(connection)
                raise HttpError(HttpFailure("called off", may_have_been_sent=False))
            if self._budget is not None:
                self._budget.note()
            response = await connection.request(request, self._timeout_s)
            if connection.is_idle:
                self._idle.append(connection)
            return response

    async def _connection(self) -> HttpConnection:
        while self._idle:
            connection = self._idle.pop()
            fresh = time.monotonic() - connection.last_used_s < self._idle_max_s
            if connection.is_idle and fresh:
                return connection
            connection.close()
        try:
            return await HttpConnection.open(self._origin, timeout_s=self._timeout_s, tls=self._tls)
        except OSError as error:
            reason = f"cannot connect to {self._origin.authority}: {connect_reason(error)}"
            raise HttpError(HttpFailure(reason, may_have_been_sent=False)) from None

    async def close(self) -> None:
        """Close every idle connection; return when they are closed (`close_all`)."""
        connections, self._idle = self._idle, []
        await close_all(connections)


async def close_all(connections: Iterable[HttpConnection]) -> None:
    """Close connections, idle or not, and wait a little; those whose peer does not play along are then dropped."""
    closing = list(connections)
    for connection in closing:
        connection.close()
    if not closing:
        return
    # Over TLS a close waits for the peer's goodbye, for half a minute if it does not come.
    _, late = await asyncio.wait([connection.closed for connection in closing], timeout=CLOSE_WITHIN_S)
    if late:
        for connection in closing:
            connection.abort("it did not close in time")
        await asyncio.wait(late, timeout=CLOSE_WITHIN_S)


def default_tls() -> ssl.SSLContext:
    """Return a context that verifies the server's certificate and name."""
    return ssl.create_default_context()


def set_nodelay(transport: asyncio.BaseTransport) -> None:
    """Send small writes at once (Nagle would hold a cancel back behind an unacknowledged order)."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def connect_reason(error: OSError) -> str:
    """Return why a connection could not be made, in a few words."""
    return "timed out" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {str(error)[:200]}"
