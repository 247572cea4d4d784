"""Warm connections for order entry: opened before they are needed, replaced before a server tires of them.

Owns a fixed number of slots and which of their connections are free. May not send anything. The one idea: an
idle connection is replaced after `idle_max_s`, the new one being opened before the old one is closed, so that
a request practically never meets a connection that the server is just closing; where it does, the request is
ambiguous and nobody here hides that by sending it again.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable

from hands.venues.alpaca.backoff import Backoff
from hands.venues.alpaca.endpoints import Origin
from hands.venues.alpaca.http import HttpConnection, close_all, connect_reason, default_tls
from hands.venues.alpaca.standing import standing_task

_SHORT_LIFE_S = 1.0


class WarmConnections:
    """`count` connections to `origin`; `on_free` is called when a new one is there.

    `on_reachable(True, "")` is called when the first connection is there, `on_reachable(False, reason)` when
    none is left and a new one cannot be had.
    """

    def __init__(
        self,
        origin: Origin,
        count: int,
        *,
        on_free: Callable[[], None],
        on_reachable: Callable[[bool, str], None],
        idle_max_s: float = 30.0,
        connect_timeout_s: float = 5.0,
        backoff_first_s: float = 0.1,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._origin = origin
        self._count = count
        self._on_free = on_free
        self._on_reachable = on_reachable
        self._idle_max_s = idle_max_s
        self._connect_timeout_s = connect_timeout_s
        self._backoff_first_s = backoff_first_s
        self._tls = tls if tls is not None or not origin.tls else default_tls()
        self._tasks: list[asyncio.Task[None]] = []
        self._open: set[HttpConnection] = set()
        self._free: list[HttpConnection] = []
        self._retiring: set[HttpConnection] = set()
        self._reachable: bool | None = None

    def start(self) -> None:
        """Begin to open the connections."""
        assert not self._tasks, "started twice"
        self._tasks = [
            standing_task(self._keep_one(), f"order entry connection {n}") for n in range(self._count)
        ]

    async def stop(self) -> None:
        """Drop every connection; requests in flight end as ambiguous."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await close_all(self._open)

    @property
    def free(self) -> int:
        """How many connections can take a request now."""
        self._free = [connection for connection in self._free if connection.is_idle]
        return len(self._free)

    def take(self) -> HttpConnection:
        """Take the free connection that was used last; there must be one (`free`)."""
        return self._free.pop()

    def give_back(self, connection: HttpConnection) -> None:
        """Return a connection after its request; one that cannot be used again is left to close."""
        if connection in self._retiring:
            self._retiring.discard(connection)
            connection.close()
        elif connection.is_idle:
            self._free.append(connection)

    async def _keep_one(self) -> None:
        backoff = Backoff(self._backoff_first_s, 5.0)
        old: HttpConnection | None = None
        while True:
            try:
                connection = await HttpConnection.open(
                    self._origin, timeout_s=self._connect_timeout_s, tls=self._tls
                )
            except OSError as error:
                if not self._open:
                    self._report(reachable=False, reason=connect_reason(error))
                await asyncio.sleep(backoff.next_s())
                continue
            opened_s = time.monotonic()
            self._adopt(connection)
            if old is not None:
                self._retire(old)
            await self._until_stale(connection)
            old = None if connection.closed.done() else connection
            if connection.served or time.monotonic() - opened_s > _SHORT_LIFE_S:
                backoff.reset()
            else:  # a server that hangs up at once must not be called in a tight loop
                await asyncio.sleep(backoff.next_s())

    def _adopt(self, connection: HttpConnection) -> None:
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._open.discard(connection))
        self._free.append(connection)
        self._report(reachable=True, reason="")
        self._on_free()

    def _retire(self, connection: HttpConnection) -> None:
        if connection in self._free:
            self._free.remove(connection)
            connection.close()
        elif not connection.closed.done():
            self._retiring.add(connection)
            connection.closed.add_done_callback(lambda _: self._retiring.discard(connection))

    async def _until_stale(self, connection: HttpConnection) -> None:
        """Return when the connection is closed, or idle for so long that it should be replaced."""
        while not connection.closed.done():
            left_s = self._idle_max_s - (time.monotonic() - connection.last_used_s)
            if connection.is_idle and left_s <= 0:
                return
            await asyncio.wait({connection.closed}, timeout=max(left_s, 0.05))

    def _report(self, *, reachable: bool, reason: str) -> None:
        if self._reachable is not reachable:
            self._reachable = reachable
            self._on_reachable(reachable, reason)
