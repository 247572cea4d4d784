"""Order entry: orders, cancels and questions about orders, on connections that are already open.

Owns the requests in flight and the short queue in front of them; answers become events. May not repeat a
request, and never calls `deliver` from within a call of ours: the caller is in the middle of a decision.

The one idea: submitting is synchronous. With a connection free, the bytes are in the socket when `submit`
returns. With none free they wait in one of three lanes: what protects or reduces goes first and one connection
is kept for it, questions next, entries last. An entry never leaves after its deadline; anything that could not
be sent in time ends as proof that it was not.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from enum import IntEnum

from hands.core.commands import CancelOrder, QueryOrder, ReplaceOrder
from hands.core.events import (
    AnyEvent,
    Link,
    LinkReport,
    RequestAnswered,
    RequestFailed,
    RequestKind,
    RequestSent,
    VenueOrder,
)
from hands.core.orders import ApprovedEntry, ReducingOrder
from hands.core.units import NS_PER_S, Ns
from hands.core.vocab import OrderClass
from hands.venues.alpaca import encode
from hands.venues.alpaca.connections import WarmConnections
from hands.venues.alpaca.decode import DecodeError, decode_error, decode_order, slash_forms
from hands.venues.alpaca.endpoints import Credentials, Endpoints, origin_of
from hands.venues.alpaca.http import HttpConnection, HttpFailure, Outcome, RequestHead
from hands.venues.alpaca.http_reader import Response
from hands.venues.alpaca.rate import RateBudget

PAUSE_NS = NS_PER_S
PAUSE_MAX_NS = 60 * NS_PER_S
"""How long entries pause after a 429 that does not say, and at most: the venue counts by the minute."""


def pause_ns(retry_after: str | None) -> int:
    """Return how long a 429 asks to wait, from its Retry-After in seconds; a date or nonsense is a second."""
    text = (retry_after or "").strip()
    if not text.isascii() or not text.isdecimal():
        return PAUSE_NS
    return min(max(int(text[:6]) * NS_PER_S, PAUSE_NS), PAUSE_MAX_NS)


class Lane(IntEnum):
    """The order in which waiting requests are sent."""

    PROTECTIVE = 0
    QUESTION = 1
    ENTRY = 2


class _Request:
    """One request on its way, or waiting for one."""

    __slots__ = (
        "answers_to", "client_order_id", "data", "deadline_ns", "is_second_step", "kind", "lane", "timer", "wire",
    )  # fmt: skip

    def __init__(
        self,
        kind: RequestKind,
        lane: Lane,
        client_order_id: str,
        wire: encode.Wire,
        head: RequestHead,
        deadline_ns: int | None = None,
        *,
        is_second_step: bool = False,
        answers_to: tuple[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.lane = lane
        self.client_order_id = client_order_id
        self.answers_to = answers_to
        self.wire = wire
        self.data = head.request(wire.method, wire.path, wire.body)
        self.deadline_ns = deadline_ns
        self.is_second_step = is_second_step
        self.timer: asyncio.TimerHandle | None = None


class OrderEntry:
    """Sends orders to one venue and delivers what came of each request.

    `clock` gives the engine's time in nanoseconds. `submit`, `cancel`, `replace` and `query` return the moment at which the
    bytes were handed to the socket; then the caller records that itself. They return None when the request
    waits or was refused here: a `RequestSent` or a `RequestFailed` follows. With `read_only` no order and no cancel is
    ever written: each ends as proof that it was not sent; questions are asked as ever.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        credentials: Credentials,
        clock: Callable[[], int],
        deliver: Callable[[AnyEvent], None],
        *,
        connections: int = 3,
        request_timeout_s: float = 5.0,
        symbols: Iterable[str] = (),
        budget: RateBudget | None = None,
        close_intent: bool = True,
        read_only: bool = False,
        idle_max_s: float = 30.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        origin = origin_of(endpoints.trading)
        self._clock = clock
        self._deliver = deliver
        self._timeout_s = request_timeout_s
        self._slashes = slash_forms(symbols)
        self._close_intent = close_intent
        self._read_only = read_only
        self.sent: encode.Wire | None = None
        """What was written last."""
        self._budget = budget if budget is not None else RateBudget()
        self._head = RequestHead(origin, credentials)
        self._reserve = 1 if connections > 1 else 0
        self._entries_after_ns = 0
        self._lanes: tuple[deque[_Request], ...] = tuple(deque() for _ in Lane)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connections = WarmConnections(
            origin,
            connections,
            on_free=self._drain,
            on_reachable=self._report_link,
            idle_max_s=idle_max_s,
            connect_timeout_s=request_timeout_s,
            tls=tls,
        )

    async def start(self) -> None:
        """Begin to connect; returns at once. `LinkReport(ORDER_ENTRY)` tells how it went."""
        self._loop = asyncio.get_running_loop()
        self._connections.start()

    async def stop(self) -> None:
        """Fail what waits (provably unsent) and what is in flight (ambiguous), and close every connection."""
        for lane in self._lanes:
            while lane:
                self._fail_unsent(lane.popleft(), "order entry is stopping")
        await self._connections.stop()
        self._loop = None

    def submit(self, order: ApprovedEntry | ReducingOrder) -> Ns | None:
        """Send an order. An entry at or past its deadline, or over the request budget, is refused here."""
        wire = encode.submit_wire(order, close_intent=self._close_intent)
        entry = isinstance(order, ApprovedEntry)
        request = _Request(
            RequestKind.SUBMIT,
            Lane.ENTRY if entry else Lane.PROTECTIVE,
            order.client_order_id,
            wire,
            self._head,
            order.deadline_ns if isinstance(order, ApprovedEntry) else None,
        )
        return self._offer(request)

    def cancel(self, command: CancelOrder) -> Ns | None:
        """Send a cancel; its answer says that it was taken, not that the order is gone."""
        wire = encode.cancel_wire(command)
        return self._offer(
            _Request(RequestKind.CANCEL, Lane.PROTECTIVE, command.client_order_id, wire, self._head)
        )

    def replace(self, command: ReplaceOrder) -> Ns | None:
        """Ask for an order to be moved to other prices; a yes says that it was taken, not that it is done."""
        wire = encode.replace_wire(command)
        return self._offer(
            _Request(
                RequestKind.REPLACE,
                Lane.PROTECTIVE,
                command.client_order_id,
                wire,
                self._head,
                answers_to=(command.new_client_order_id, command.order_id),
            )
        )

    def query(self, command: QueryOrder) -> Ns | None:
        """Ask for one order with its legs; that can take two requests, and has one answer."""
        wire = encode.query_wire(command)
        lane = Lane.PROTECTIVE if command.protective else Lane.QUESTION
        return self._offer(_Request(RequestKind.QUERY, lane, command.client_order_id, wire, self._head))

    # --- sending

    def _offer(self, request: _Request) -> Ns | None:
        loop = self._loop
        if loop is None:
            raise RuntimeError("order entry has not been started")
        refusal = self._refusal(request)
        if refusal is not None:
            loop.call_soon(self._fail_unsent, request, refusal)
            return None
        if self._has_connection(request.lane) and not any(self._lanes[: request.lane + 1]):
            return self._write(request)
        self._lanes[request.lane].append(request)
        request.timer = loop.call_later(self._patience_s(request), self._give_up, request)
        return None

    def _refusal(self, request: _Request) -> str | None:
        """Return why a request must not be sent now; nothing that protects is ever held back for the budget."""
        if self._read_only and request.kind is not RequestKind.QUERY:
            return "dry run"
        if request.deadline_ns is not None and self._clock() >= request.deadline_ns:
            return "the entry's deadline has passed"
        if request.lane is Lane.PROTECTIVE:
            return None
        if request.lane is Lane.ENTRY and self._clock() < self._entries_after_ns:
            return "the venue has had too many requests and asked for a pause"
        limit = self._budget.entries_max if request.lane is Lane.ENTRY else self._budget.queries_max
        used = self._budget.used
        if used >= limit:
            return f"{used} requests in the last minute; {limit} are allowed before this kind has to wait"
        return None

    def _has_connection(self, lane: Lane) -> bool:
        return self._connections.free > (0 if lane is Lane.PROTECTIVE else self._reserve)

    def _patience_s(self, request: _Request) -> float:
        if request.deadline_ns is None:
            return self._timeout_s
        return max(0.0, (request.deadline_ns - self._clock()) / NS_PER_S)

    def _write(self, request: _Request) -> Ns:
        connection = self._connections.take()
        self._budget.note()

        def done(outcome: Outcome) -> None:
            self._finish(request, connection, outcome)

        connection.send(request.data, self._timeout_s, done)
        self.sent = request.wire
        return Ns(self._clock())

    def _drain(self) -> None:
        """Send what waits, as far as connections go."""
        for lane in Lane:
            waiting = self._lanes[lane]
            while waiting and self._has_connection(lane):
                request = waiting.popleft()
                _disarm(request)
                refusal = self._refusal(request)
                if refusal is not None:
                    self._fail_unsent(request, refusal)
                    continue
                sent_ns = self._write(request)
                if not request.is_second_step:
                    self._deliver(
                        RequestSent(
                            ts_ns=sent_ns,
                            kind=request.kind,
                            client_order_id=request.client_order_id,
                            sent_ns=sent_ns,
                            wire=request.wire.text,
                        )
                    )

    def _give_up(self, request: _Request) -> None:
        waiting = self._lanes[request.lane]
        if request in waiting:
            waiting.remove(request)
            entry = request.deadline_ns is not None
            self._fail_unsent(
                request, "the entry's deadline has passed" if entry else "no connection was free"
            )

    # --- answers

    def _finish(self, request: _Request, connection: HttpConnection, outcome: Outcome) -> None:
        # The connection is free before the answer is told, so that what the answer causes can use it at once.
        self._connections.give_back(connection)
        if isinstance(outcome, HttpFailure):
            self._fail(request, outcome.reason, may_have_been_sent=outcome.may_have_been_sent)
        else:
            self._take_response(request, outcome)
        self._drain()

    def _take_response(self, request: _Request, response: Response) -> None:
        status = response.status
        if status < 200 or 300 <= status < 400:
            self._fail(
                request, f"HTTP {status}, which is neither a yes nor a no (redirects are not followed)"
            )
        elif status < 300:
            self._take_yes(request, response)
        else:
            self._take_no(request, response)

    def _take_yes(self, request: _Request, response: Response) -> None:
        if request.kind is RequestKind.CANCEL:
            self._answer(request, response.status)
            return
        try:
            order = decode_order(response.body, self._slashes)
        except DecodeError as error:
            self._fail(request, f"HTTP {response.status} with an order that cannot be read: {error}")
            return
        if not _is_about(order, request):
            self._fail(request, f"the answer is about another order, {order.client_order_id[:128]!r}")
            return
        grouped = order.order_class is not OrderClass.SIMPLE
        if request.kind is RequestKind.QUERY and grouped and not order.legs and not request.is_second_step:
            self._ask_for_legs(request, order.order_id)
            return
        self._answer(request, response.status, order=order)

    def _ask_for_legs(self, request: _Request, order_id: str) -> None:
        """Ask again by the venue's id, which shows the legs: an order without them would look unprotected."""
        wire = encode.Wire("GET", encode.nested_order_path(order_id))
        self._offer(
            _Request(
                RequestKind.QUERY,
                Lane.QUESTION,
                request.client_order_id,
                wire,
                self._head,
                is_second_step=True,
            )
        )

    def _take_no(self, request: _Request, response: Response) -> None:
        code, message, extras = decode_error(response.body)
        if response.status == 404 and (code is None or request.is_second_step):
            # A page of some proxy, or an order that was there a moment ago: no proof that it does not exist.
            self._fail(request, f"HTTP 404 that does not come from the venue's order book: {message}")
            return
        retry_after = response.headers.get("retry-after")
        if response.status == 429:
            self._entries_after_ns = max(self._entries_after_ns, self._clock() + pause_ns(retry_after))
        if retry_after is not None:
            extras = {**extras, "retry_after": retry_after[:64]}
        self._answer(request, response.status, code=code, message=message, extras=extras)

    # --- events

    def _answer(
        self,
        request: _Request,
        status: int,
        *,
        order: VenueOrder | None = None,
        code: int | None = None,
        message: str = "",
        extras: dict[str, str] | None = None,
    ) -> None:
        self._deliver(
            RequestAnswered(
                ts_ns=self._now(),
                kind=request.kind,
                client_order_id=request.client_order_id,
                status=status,
                order=order,
                code=code,
                message=message,
                extras=extras or {},
            )
        )

    def _fail_unsent(self, request: _Request, reason: str) -> None:
        _disarm(request)
        self._fail(request, reason, may_have_been_sent=False)

    def _fail(self, request: _Request, reason: str, *, may_have_been_sent: bool = True) -> None:
        self._deliver(
            RequestFailed(
                ts_ns=self._now(),
                kind=request.kind,
                client_order_id=request.client_order_id,
                may_have_been_sent=may_have_been_sent,
                reason=reason,
            )
        )

    def _report_link(self, up: bool, reason: str) -> None:
        self._deliver(LinkReport(ts_ns=self._now(), link=Link.ORDER_ENTRY, up=up, reason=reason))

    def _now(self) -> Ns:
        return Ns(self._clock())


def _is_about(order: VenueOrder, request: _Request) -> bool:
    """Whether an answer's order is the one that was asked for; of a replacement, the one that replaces."""
    if request.answers_to is None:
        return order.client_order_id == request.client_order_id
    successor, replaced = request.answers_to
    return order.client_order_id == successor or order.replaces == replaced


def _disarm(request: _Request) -> None:
    if request.timer is not None:
        request.timer.cancel()
        request.timer = None
