from __future__ import annotations

import asyncio
import json
import socket

import pytest

from hands.core.commands import CancelOrder, QueryOrder, ReplaceOrder
from hands.core.events import Link, LinkReport, RequestAnswered, RequestFailed, RequestKind, RequestSent
from hands.core.orders import ApprovedEntry, ReducingOrder
from hands.core.units import NANO, NS_PER_S, Ns, Price, Qty
from hands.core.vocab import AssetClass, Leg, OrderClass, OrderStatus, OrderType, Side, TimeInForce
from hands.venues.alpaca.endpoints import Endpoints
from hands.venues.alpaca.order_entry import OrderEntry, pause_ns
from hands.venues.alpaca.rate import RateBudget

FAR = 10**18


class Clock:
    def __init__(self):
        self.now = 1000

    def __call__(self):
        self.now += 1
        return self.now


def entry(name="e1", deadline_ns=FAR):
    return ApprovedEntry(
        client_order_id=name,
        intent_id="x",
        symbol="AAPL",
        asset_class=AssetClass.EQUITY,
        side=Side.BUY,
        qty=Qty(NANO),
        limit_price=Price(150 * NANO),
        time_in_force=TimeInForce.GTC,
        order_class=OrderClass.BRACKET,
        take_profit=Price(155 * NANO),
        stop_loss=Price(148 * NANO),
        deadline_ns=Ns(deadline_ns),
    )


def exit_(name="x1"):
    return ReducingOrder(
        client_order_id=name,
        intent_id="x",
        leg=Leg.EXIT,
        symbol="AAPL",
        asset_class=AssetClass.EQUITY,
        side=Side.SELL,
        qty=Qty(NANO),
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
    )


def order_json(client_order_id, **changes):
    fields = {
        "id": f"id-{client_order_id}",
        "client_order_id": client_order_id,
        "symbol": "AAPL",
        "asset_class": "us_equity",
        "side": "buy",
        "type": "limit",
        "order_class": "",
        "status": "pending_new",
        "qty": "1",
        "filled_qty": "0",
        "legs": None,
    }
    return json.dumps(fields | changes)


def cid_of(request):
    if request.method == "POST":
        return json.loads(request.body)["client_order_id"]
    return request.path.partition("client_order_id=")[2]


class Desk:
    """An OrderEntry with everything it delivers."""

    def __init__(self, endpoints, credentials, **options):
        self.events = []
        self.clock = Clock()
        self.inside_a_call = False
        self.entry = OrderEntry(endpoints, credentials, self.clock, self._deliver, **options)

    def _deliver(self, event):
        assert not self.inside_a_call, "an event was delivered within a call of the core's"
        self.events.append(event)

    def call(self, method, argument):
        self.inside_a_call = True
        try:
            return method(argument)
        finally:
            self.inside_a_call = False

    def submit(self, order):
        return self.call(self.entry.submit, order)

    def cancel(self, order_id, client_order_id):
        return self.call(self.entry.cancel, CancelOrder(order_id=order_id, client_order_id=client_order_id))

    def query(self, client_order_id):
        return self.call(self.entry.query, QueryOrder(client_order_id=client_order_id))

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def links(self):
        return [(event.link, event.up) for event in self.of(LinkReport)]

    @property
    def warm(self):
        return self.entry._connections.free


@pytest.fixture
def trade(run, scripted, credentials, wait_until):
    """Run `scenario(desk, server)` with warm connections to a venue that answers with `respond`."""

    def start(scenario, respond, *, connections=3, **options):
        async def play():
            async with scripted(respond) as server:
                desk = Desk(server.endpoints, credentials, connections=connections, **options)
                await desk.entry.start()
                await wait_until(lambda: desk.warm == connections, "warm connections")
                await scenario(desk, server)
                await desk.entry.stop()

        run(play())

    return start


@pytest.fixture
def accept(reply):
    async def respond(request, writer):
        if request.method == "DELETE":
            writer.write(reply(204))
        else:
            writer.write(reply(200, order_json(cid_of(request))))

    return respond


def test_an_order_leaves_within_the_call(run, credentials, wait_until):
    """The bytes are at the peer before the loop has had a turn."""

    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            endpoints = Endpoints.of(f"http://127.0.0.1:{listener.getsockname()[1]}")
            desk = Desk(endpoints, credentials, connections=1)
            await desk.entry.start()
            await wait_until(lambda: desk.warm)
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(5)
                sent_ns = desk.submit(entry())
                data = peer.recv(65536)
                assert sent_ns is not None
                assert data.startswith(b"POST /v2/orders HTTP/1.1\r\n")
                assert data.endswith(b'"stop_loss":{"stop_price":"148"}}')
                await desk.entry.stop()

    run(scenario())


def test_an_answer_becomes_an_event(trade, accept, wait_until):
    async def scenario(desk, server):
        assert desk.submit(entry()) is not None
        await wait_until(lambda: desk.of(RequestAnswered))
        (answer,) = desk.of(RequestAnswered)
        assert (answer.kind, answer.client_order_id, answer.status) == (RequestKind.SUBMIT, "e1", 200)
        assert answer.order.status is OrderStatus.PENDING_NEW
        assert desk.of(RequestSent) == []  # the caller was told by the return value
        assert desk.links == [(Link.ORDER_ENTRY, True)]

    trade(scenario, accept)


def test_a_cancel_is_answered_without_an_order(trade, accept, wait_until):
    async def scenario(desk, server):
        desk.cancel("id-1", "e1")
        await wait_until(lambda: desk.of(RequestAnswered))
        (answer,) = desk.of(RequestAnswered)
        assert (answer.kind, answer.client_order_id, answer.status, answer.order) == (
            RequestKind.CANCEL,
            "e1",
            204,
            None,
        )
        assert server.lines == ["DELETE /v2/orders/id-1"]

    trade(scenario, accept)


def move(order_id="id-1", old="old", new="new"):
    return ReplaceOrder(
        order_id=order_id, client_order_id=old, new_client_order_id=new, stop_price=Price(149 * NANO)
    )


@pytest.mark.parametrize(
    "answer",
    [
        order_json("new", replaces="id-1"),
        order_json("a-name-of-the-venues", replaces="id-1"),  # one that does not take our name for it
    ],
)
def test_a_replace_is_answered_with_its_successor_under_the_old_orders_name(trade, reply, wait_until, answer):
    async def respond(request, writer):
        writer.write(reply(200, answer))

    async def scenario(desk, server):
        assert desk.call(desk.entry.replace, move()) is not None
        await wait_until(lambda: desk.of(RequestAnswered))
        (answered,) = desk.of(RequestAnswered)
        assert (answered.kind, answered.client_order_id, answered.status) == (RequestKind.REPLACE, "old", 200)
        assert answered.order.replaces == "id-1"
        assert server.lines == ["PATCH /v2/orders/id-1"]
        assert json.loads(server.requests[0].body) == {"stop_price": "149", "client_order_id": "new"}

    trade(scenario, respond)


def test_a_replace_that_is_answered_with_another_order_is_ambiguous(trade, reply, wait_until):
    async def respond(request, writer):
        writer.write(reply(200, order_json("old", replaces="something-else")))

    async def scenario(desk, server):
        desk.call(desk.entry.replace, move())
        await wait_until(lambda: desk.of(RequestFailed))
        (failed,) = desk.of(RequestFailed)
        assert (failed.kind, failed.client_order_id, failed.may_have_been_sent) == (
            RequestKind.REPLACE,
            "old",
            True,
        )

    trade(scenario, respond)


def test_after_too_many_requests_entries_pause_and_protection_goes_on(trade, reply, accept, wait_until):
    async def respond(request, writer):
        if b"first" in request.body:
            writer.write(reply(429, "{}", Retry_After="7"))
        else:
            await accept(request, writer)

    async def scenario(desk, server):
        desk.submit(exit_("first"))
        await wait_until(lambda: desk.of(RequestAnswered))
        assert desk.submit(entry("e1")) is None
        await wait_until(lambda: desk.of(RequestFailed))
        (failed,) = desk.of(RequestFailed)
        assert (failed.client_order_id, failed.may_have_been_sent) == ("e1", False)
        assert "pause" in failed.reason
        assert desk.submit(exit_("x2")) is not None
        assert desk.cancel("id-1", "c1") is not None
        await wait_until(lambda: desk.warm == 3)
        desk.clock.now += 7 * NS_PER_S
        assert desk.submit(entry("e2")) is not None

    trade(scenario, respond)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 1), ("", 1), ("7", 7), ("0", 1), ("3600", 60), ("9" * 40, 60), ("Fri, 20 Nov 2026 15:00:00 GMT", 1), ("-1", 1), ("\u0663", 1)],
)  # fmt: skip
def test_how_long_a_429_asks_to_wait(header, seconds):
    assert pause_ns(header) == seconds * NS_PER_S


def test_a_refusal_carries_everything_the_venue_said(trade, reply, wait_until):
    async def respond(request, writer):
        body = '{"code":40310000,"message":"insufficient buying power","buying_power":"1","cost_basis":"2"}'
        writer.write(reply(403, body))

    async def scenario(desk, server):
        desk.submit(entry())
        await wait_until(lambda: desk.of(RequestAnswered))
        (answer,) = desk.of(RequestAnswered)
        assert (answer.status, answer.code, answer.message) == (403, 40310000, "insufficient buying power")
        assert answer.extras == {"buying_power": "1", "cost_basis": "2"}

    trade(scenario, respond)


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_too_many_requests_and_server_errors_are_told_and_not_repeated(trade, reply, wait_until, status):
    """Trap 5."""

    async def respond(request, writer):
        writer.write(reply(status, "<html><title>Slow down</title></html>", Retry_After="7"))

    async def scenario(desk, server):
        desk.submit(entry())
        await wait_until(lambda: desk.of(RequestAnswered))
        (answer,) = desk.of(RequestAnswered)
        assert (answer.status, answer.code, answer.message) == (status, None, "Slow down")
        assert answer.extras == {"retry_after": "7"}
        assert len(server.requests) == 1

    trade(scenario, respond)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (302, ""),
        (200, "<html>"),
        (200, "{}"),
        (200, order_json("somebody-elses")),
        (200, ""),
    ],
)
def test_an_answer_that_proves_nothing_is_ambiguous(trade, reply, wait_until, status, body):
    async def respond(request, writer):
        writer.write(reply(status, body, Location="http://127.0.0.1:1/"))

    async def scenario(desk, server):
        desk.submit(entry())
        await wait_until(lambda: desk.of(RequestFailed))
        (failure,) = desk.of(RequestFailed)
        assert failure.may_have_been_sent
        assert len(server.requests) == 1

    trade(scenario, respond)


def test_a_broken_connection_is_ambiguous_and_replaced(trade, reply, wait_until):
    """Trap 1: never resend; the caller asks by id."""

    async def respond(request, writer):
        if request.method == "POST":
            writer.transport.abort()
        else:
            writer.write(reply(200, order_json(cid_of(request))))

    async def scenario(desk, server):
        desk.submit(entry())
        await wait_until(lambda: desk.of(RequestFailed))
        assert desk.of(RequestFailed)[0].may_have_been_sent
        await wait_until(lambda: desk.warm == 3, "a replacement")
        desk.query("e1")
        await wait_until(lambda: desk.of(RequestAnswered))
        assert [line.split()[0] for line in server.lines] == ["POST", "GET"]
        assert desk.links == [(Link.ORDER_ENTRY, True)]

    trade(scenario, respond)


def test_no_answer_in_time_is_ambiguous(trade, wait_until):
    async def respond(request, writer):
        pass

    async def scenario(desk, server):
        desk.submit(entry())
        await wait_until(lambda: desk.of(RequestFailed))
        (failure,) = desk.of(RequestFailed)
        assert failure.may_have_been_sent
        assert "no answer within" in failure.reason

    trade(scenario, respond, request_timeout_s=0.1)


def test_an_entry_at_its_deadline_is_not_sent(trade, accept, wait_until):
    async def scenario(desk, server):
        assert desk.submit(entry(deadline_ns=desk.clock.now)) is None
        await wait_until(lambda: desk.of(RequestFailed))
        assert not desk.of(RequestFailed)[0].may_have_been_sent
        assert server.requests == []

    trade(scenario, accept)


def test_a_waiting_entry_is_dropped_at_its_deadline(trade, wait_until):
    """Trap 20: a throttle that queues instead of refusing."""

    async def respond(request, writer):
        pass  # keep the connections busy

    async def scenario(desk, server):
        assert desk.submit(entry("e1")) is not None
        assert desk.submit(entry("e2")) is not None
        assert desk.submit(entry("e3", deadline_ns=desk.clock.now + 50_000_000)) is None
        await wait_until(lambda: desk.of(RequestFailed))
        (failure,) = desk.of(RequestFailed)
        assert (failure.client_order_id, failure.may_have_been_sent) == ("e3", False)
        assert len(server.requests) == 2

    trade(scenario, respond)


def test_one_connection_is_kept_for_what_protects(trade, wait_until):
    async def respond(request, writer):
        pass

    async def scenario(desk, server):
        assert [desk.submit(entry(f"e{n}")) is not None for n in range(3)] == [True, True, False]
        assert desk.query("e1") is None
        assert desk.submit(exit_("x1")) is not None
        assert desk.cancel("id", "e1") is None  # now all three are busy
        await wait_until(lambda: len(server.requests) == 3)

    trade(scenario, respond)


def test_protection_overtakes_questions_and_questions_overtake_entries(trade, reply, wait_until):
    async def scenario(desk, server):
        assert desk.submit(entry("first")) is not None
        desk.submit(entry("entry"))
        desk.query("question")
        desk.submit(exit_("exit"))
        desk.cancel("id-cancel", "cancel")
        release.set()
        await wait_until(lambda: len(desk.of(RequestAnswered)) == 5)
        order = [r.path.rpartition("id-")[2] if r.method == "DELETE" else cid_of(r) for r in server.requests]
        assert order == ["first", "exit", "cancel", "question", "entry"]
        assert [event.client_order_id for event in desk.of(RequestSent)] == [
            "exit",
            "cancel",
            "question",
            "entry",
        ]

    release = asyncio.Event()

    async def respond(request, writer):
        await release.wait()
        if request.method == "DELETE":
            writer.write(reply(204))
        else:
            writer.write(reply(200, order_json(cid_of(request))))

    trade(scenario, respond, connections=1)


def test_an_answer_finds_its_connection_free(trade, accept, wait_until):
    """What an answer causes is sent at once, on the connection that brought it."""

    async def scenario(desk, server):
        results = []
        desk.entry._deliver = lambda event: results.append(
            desk.entry.submit(exit_("x1")) if not results else event
        )
        desk.submit(entry())
        await wait_until(lambda: len(results) == 2)
        assert results[0] is not None
        assert results[1].client_order_id == "x1"

    trade(scenario, accept, connections=1)


def test_the_budget_stops_entries_then_questions_and_never_protection(trade, accept, wait_until):
    """Traps 20 and 25."""
    budget = RateBudget(entries_max=2, queries_max=3)

    async def scenario(desk, server):
        for name in ("e1", "e2", "e3"):
            desk.submit(entry(name))
            await wait_until(lambda: desk.warm == 3)
        for name in ("q1", "q2"):
            desk.query(name)
            await wait_until(lambda: desk.warm == 3)
        for name in ("x1", "x2"):
            assert desk.submit(exit_(name)) is not None
        await wait_until(lambda: len(desk.of(RequestAnswered)) == 5)
        assert [(f.client_order_id, f.may_have_been_sent) for f in desk.of(RequestFailed)] == [
            ("e3", False),
            ("q2", False),
        ]
        assert len(server.requests) == budget.used == 5

    trade(scenario, accept, budget=budget)


def test_a_dry_run_asks_and_never_writes_an_order_or_a_cancel(trade, accept, wait_until):
    async def scenario(desk, server):
        assert desk.submit(entry("e1")) is None
        assert desk.submit(exit_("x1")) is None
        assert desk.cancel("id-1", "c1") is None
        assert desk.call(desk.entry.replace, move("id-2", "r1")) is None
        assert desk.query("q1") is not None
        await wait_until(lambda: desk.of(RequestAnswered))
        assert {
            (f.kind, f.client_order_id, f.may_have_been_sent, f.reason) for f in desk.of(RequestFailed)
        } == {
            (RequestKind.SUBMIT, "e1", False, "dry run"),
            (RequestKind.SUBMIT, "x1", False, "dry run"),
            (RequestKind.CANCEL, "c1", False, "dry run"),
            (RequestKind.REPLACE, "r1", False, "dry run"),
        }
        assert [request.method for request in server.requests] == ["GET"]

    trade(scenario, accept, read_only=True)


def test_a_group_without_legs_is_asked_for_again(trade, reply, wait_until):
    async def respond(request, writer):
        if "nested" in request.path:
            leg = json.loads(order_json("leg", order_class="bracket", side="sell"))
            writer.write(reply(200, order_json("e1", order_class="bracket", legs=[leg])))
        else:
            writer.write(reply(200, order_json(cid_of(request), order_class="bracket")))

    async def scenario(desk, server):
        desk.query("e1")
        await wait_until(lambda: desk.of(RequestAnswered))
        (answer,) = desk.of(RequestAnswered)
        assert len(answer.order.legs) == 1
        assert server.lines == [
            "GET /v2/orders:by_client_order_id?client_order_id=e1",
            "GET /v2/orders/id-e1?nested=true",
        ]
        assert desk.of(RequestSent) == []

    trade(scenario, respond)


@pytest.mark.parametrize(
    ("body", "proof"),
    [
        ('{"code":40410000,"message":"order not found for e1"}', True),
        ("<html>404</html>", False),
        ("", False),
    ],
)
def test_only_the_venue_itself_can_say_that_an_order_does_not_exist(trade, reply, wait_until, body, proof):
    async def respond(request, writer):
        writer.write(reply(404, body))

    async def scenario(desk, server):
        desk.query("e1")
        await wait_until(lambda: desk.of(RequestAnswered) or desk.of(RequestFailed))
        assert bool(desk.of(RequestAnswered)) is proof

    trade(scenario, respond)


def test_an_unreachable_venue_is_reported_and_nothing_is_claimed_sent(
    run, credentials, scripted, accept, wait_until
):
    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        desk = Desk(Endpoints.of(f"http://127.0.0.1:{port}"), credentials, request_timeout_s=0.2)
        await desk.entry.start()
        await wait_until(lambda: desk.links)
        assert desk.links == [(Link.ORDER_ENTRY, False)]
        assert desk.submit(exit_()) is None
        await wait_until(lambda: desk.of(RequestFailed))
        assert not desk.of(RequestFailed)[0].may_have_been_sent
        await desk.entry.stop()

    run(scenario())


def test_the_link_goes_down_with_the_venue_and_comes_back(run, credentials, scripted, accept, wait_until):
    async def scenario():
        async with scripted(accept) as first:
            desk = Desk(first.endpoints, credentials)
            port = first.port
            await desk.entry.start()
            await wait_until(lambda: desk.warm == 3)
        await wait_until(lambda: len(desk.links) == 2)
        server = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", port)
        await wait_until(lambda: len(desk.links) >= 3)
        assert [up for _, up in desk.links][:3] == [True, False, True]
        await desk.entry.stop()
        server.close()
        await server.wait_closed()

    run(scenario())


def test_idle_connections_are_replaced_before_they_are_needed(trade, accept, wait_until):
    async def scenario(desk, server):
        await wait_until(lambda: server.connections >= 6, "a second generation")
        assert desk.links == [(Link.ORDER_ENTRY, True)]
        await wait_until(lambda: desk.warm > 0)
        assert desk.submit(entry()) is not None
        await wait_until(lambda: desk.of(RequestAnswered))

    trade(scenario, accept, idle_max_s=0.1)


def test_stopping_settles_everything(trade, wait_until):
    async def respond(request, writer):
        pass

    async def scenario(desk, server):
        desk.submit(entry("sent"))
        desk.submit(entry("waits"))
        await wait_until(lambda: server.requests)
        await desk.entry.stop()
        settled = {f.client_order_id: f.may_have_been_sent for f in desk.of(RequestFailed)}
        assert settled == {"sent": True, "waits": False}

    trade(scenario, respond, connections=1)
