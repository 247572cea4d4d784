"""A websocket that is kept up: connect, make ready, and after a loss connect again, never in a hot loop.

Owns the waiting between attempts and the `LinkReport`s. May not know what is said on the connection; its owner
sends, listens, and declares it ready or hopeless. The one idea: a link is *up* only when the venue has
confirmed that it will send us what we asked for, and every change of that is an event, so nobody trusts data
because a socket happens to be open.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hands.core.events import AnyEvent, Link, LinkReport
from hands.core.units import Ns
from hands.venues.alpaca.backoff import Backoff
from hands.venues.alpaca.endpoints import origin_of
from hands.venues.alpaca.http import default_tls
from hands.venues.alpaca.standing import standing_task
from hands.venues.alpaca.websocket import Closed, WebSocketClient


@dataclass(frozen=True, slots=True)
class Pace:
    """How patiently a stream is brought back; seconds.

    `busy_s`: the most we wait where the venue says we are already connected or too fast (it can take 90 s to notice a
    dead session); the first time it is `busy_first_s`, and doubles until a connection is up again.
    `refused_s`: it says no, and only a person can change that; we keep asking, slowly, in case one does.
    A connection that was up for `stable_s` starts again from `first_s`.
    """

    first_s: float = 0.5
    most_s: float = 30.0
    busy_first_s: float = 2.0
    busy_s: float = 30.0
    refused_s: float = 120.0
    stable_s: float = 10.0
    ready_within_s: float = 15.0
    ping_every_s: float = 10.0
    pong_within_s: float = 10.0


class StandingConnection:
    """Keeps one websocket to `url` and reports it as `link`."""

    def __init__(
        self,
        url: str,
        link: Link,
        *,
        clock: Callable[[], int],
        deliver: Callable[[AnyEvent], None],
        on_open: Callable[[], None],
        on_message: Callable[[bytes, bool], None],
        headers: Mapping[str, str] | None = None,
        pace: Pace | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.is_up = False
        self._url = url
        self._link = link
        self._clock = clock
        self._deliver = deliver
        self._on_open = on_open
        self._on_message = on_message
        self._headers = dict(headers or {})
        self._pace = pace if pace is not None else Pace()
        self._tls = tls if tls is not None or not origin_of(url).tls else default_tls()
        self._client: WebSocketClient | None = None
        self._task: asyncio.Task[None] | None = None
        self._over: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._at_least_s = 0.0
        self._up_since_s = 0.0
        self._down_reason: str | None = None
        self._stopping = False
        self._busy = Backoff(self._pace.busy_first_s, self._pace.busy_s)

    def start(self) -> None:
        """Begin to connect, and go on until `stop`."""
        assert self._task is None, "started twice"
        self._stopping = False
        self._task = standing_task(self._keep(), f"the {self._link} connection")

    async def stop(self) -> None:
        """Close the connection and connect no more; nothing is reported."""
        self._stopping = True
        if self._client is not None:
            self._client.close("stopped")
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def received_ns(self) -> int:
        """When the bytes being handled now were received."""
        return 0 if self._client is None else self._client.received_ns

    def send(self, data: bytes, *, text: bool) -> None:
        """Send one message on the present connection."""
        if self._client is not None:
            self._client.send(data, text=text)

    def declare_up(self, note: str = "") -> None:
        """The venue has confirmed everything asked of it on this connection."""
        self._cancel_timer()
        if not self.is_up:
            self.is_up = True
            self._up_since_s = asyncio.get_running_loop().time()
            self._down_reason = None
            self._report(up=True, reason=note)

    def give_up(self, reason: str, *, at_least_s: float = 0.0) -> None:
        """Drop this connection for `reason` and wait about `at_least_s` before the next."""
        self._at_least_s = max(self._at_least_s, at_least_s)
        if self._client is not None:
            self._client.close(reason)

    def give_up_busy(self, reason: str) -> None:
        """Drop this connection: the venue is busy with us, so each time wait longer."""
        self.give_up(reason, at_least_s=self._busy.full_s())

    def report_gap(self, reason: str) -> None:
        """Something was lost though the connection is fine: down and up again, so that the truth is asked for."""
        if self.is_up:
            self._report(up=False, reason=reason)
            self._report(up=True, reason="")

    # --- inside

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(self._pace.first_s, self._pace.most_s)
        while True:
            self._over = loop.create_future()
            self._at_least_s = 0.0
            client = WebSocketClient(
                self._url,
                clock=self._clock,
                on_open=self._opened,
                on_message=self._on_message,
                on_close=self._closed,
                headers=self._headers,
                ping_every_s=self._pace.ping_every_s,
                pong_within_s=self._pace.pong_within_s,
            )
            self._client = client
            self._up_since_s = float("inf")
            await client.connect(open_timeout_s=self._pace.ready_within_s, tls=self._tls)
            await self._over
            if loop.time() - self._up_since_s >= self._pace.stable_s:
                backoff.reset()
            if self._up_since_s != float("inf"):
                self._busy.reset()
            await asyncio.sleep(backoff.next_s(self._at_least_s))

    def _opened(self) -> None:
        pace = self._pace
        self._timer = asyncio.get_running_loop().call_later(
            pace.ready_within_s, self.give_up, f"the venue confirmed nothing within {pace.ready_within_s:g} s"
        )
        self._on_open()

    def _closed(self, closed: Closed) -> None:
        self._cancel_timer()
        if closed.http_status == 429:
            self._at_least_s = max(self._at_least_s, self._busy.full_s())
        elif closed.http_status is not None and 400 <= closed.http_status < 500:
            self._at_least_s = max(self._at_least_s, self._pace.refused_s)
        was_up, self.is_up = self.is_up, False
        if not self._stopping and (was_up or closed.reason != self._down_reason):
            self._down_reason = closed.reason
            self._report(up=False, reason=closed.reason)
        if self._over is not None and not self._over.done():
            self._over.set_result(None)

    def _report(self, *, up: bool, reason: str) -> None:
        self._deliver(LinkReport(ts_ns=Ns(self._clock()), link=self._link, up=up, reason=reason))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
