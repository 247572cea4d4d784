"""The receiving socket: stamps the first byte of every order, refuses the order, and passes all else to the simulator.

Owns the end of every latency. One process of its own, the same for the floor, the peers and Hands. May not look at
an order before it is stamped. The one idea: an order refused with a plain 403 provably does not exist, so the
symbol is free at once and a thousand orders can follow each other, while the way to the wire is the one of an
accepted order, to the last byte.

Run as `python -m bench.receiver UPSTREAM_URL`; prints a ready line with its own URL. `GET /bench/arrivals` returns
and forgets `[[client_order_id, monotonic_ns], …]` in the order of arrival.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from typing import cast
from urllib.parse import urlsplit

import uvloop

ORDER = b"POST /v2/orders"
ARRIVALS = b"GET /bench/arrivals"
_END_OF_HEAD = b"\r\n\r\n"
_NO_BODY = json.dumps({"code": 40310000, "message": "the bench's exchange takes no orders"}).encode()
REFUSAL = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json; charset=utf-8\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_NO_BODY), _NO_BODY)
)

Arrivals = list[tuple[str, int]]


class Incoming(asyncio.Protocol):
    """A client's connection. Each request goes by its own first bytes; whatever follows them belongs to it."""

    def __init__(self, upstream: tuple[str, int], arrivals: Arrivals) -> None:
        self._upstream = upstream
        self._arrivals = arrivals
        self._order = bytearray()
        self._stamp_ns = 0
        self._relay: _Upstream | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        if self._stamp_ns:
            self._take_order(data)
        elif data.startswith(ORDER):
            self._stamp_ns = now_ns
            self._take_order(data)
        elif data.startswith(ARRIVALS):
            self._tell()
        else:
            self._pass_on(data)

    def _take_order(self, data: bytes) -> None:
        """Collect the request (some clients send head and body apart), note its arrival, refuse it."""
        self._order += data
        head, found, body = bytes(self._order).partition(_END_OF_HEAD)
        if not found or len(body) < _content_length(head):
            return
        self._arrivals.append((str(json.loads(body)["client_order_id"]), self._stamp_ns))
        self._order.clear()
        self._stamp_ns = 0
        self.transport.write(REFUSAL)

    def _tell(self) -> None:
        body = json.dumps(self._arrivals).encode()
        self._arrivals.clear()
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def _pass_on(self, data: bytes) -> None:
        if self._relay is None:
            self._relay = _Upstream(self.transport)
            self._connecting = asyncio.ensure_future(self._connect(self._relay))
        self._relay.send(data)

    async def _connect(self, relay: _Upstream) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: relay, *self._upstream)
        except OSError:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._relay is not None:
            self._relay.close()


class _Upstream(asyncio.Protocol):
    """The other half of a relayed connection; what comes before it is open waits."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._waiting = bytearray()
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._closed:
            transport.close()
        elif self._waiting:
            self._transport.write(bytes(self._waiting))

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._client.close()

    def send(self, data: bytes) -> None:
        if self._transport is None:
            self._waiting += data
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._closed = True
        if self._transport is not None:
            self._transport.close()


def _content_length(head: bytes) -> int:
    """Return what a request's head says of its body. Raises ValueError: a client that says nothing."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    raise ValueError("an order without Content-Length")


async def serve(upstream: tuple[str, int]) -> None:
    """Serve on a free loopback port until SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    arrivals: Arrivals = []
    server = await loop.create_server(lambda: Incoming(upstream, arrivals), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"event": "ready", "url": f"http://127.0.0.1:{port}"}), flush=True)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    target = urlsplit(sys.argv[1])
    assert target.hostname is not None
    assert target.port is not None
    uvloop.run(serve((target.hostname, target.port)))
