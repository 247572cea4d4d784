"""Every request fault on every route of the venue, and every stream fault on both streams, over real sockets."""

from __future__ import annotations

import asyncio
import http.client
import re

import aiohttp
import orjson
import pytest

from hands.sim.market.feeds import FEEDS
from hands.sim.server.app import build_app
from hands.sim.server.clock import ManualClock
from hands.sim.server.config import SimConfig
from hands.sim.server.floor import TradingFloor
from hands.sim.testing import in_process_sim

GONE = {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
HTML = "<html><body>502 Bad Gateway</body></html>"
IN_PATHS = {
    "order_id": "6b0cbd9b-4b0c-4c5c-a2f6-1d7c7e9f0a11",
    "symbol": "AAPL",
    "type": "FILL",
    "ticktype": "trade",
}


def venue_routes() -> list[tuple[str, str]]:
    """Every (method, path) that is not the simulator's own, with something in the place of each parameter."""

    async def routes() -> list[tuple[str, str]]:
        app = build_app(TradingFloor(SimConfig(tape=("manual",)), ManualClock(0)))
        return sorted(
            (
                route.method,
                re.sub(r"\{(\w+)[^}]*\}", lambda m: IN_PATHS.get(m[1], "AAPL"), route.resource.canonical),
            )
            for route in app.router.routes()
            if route.resource is not None and not route.resource.canonical.startswith("/sim/")
        )

    return [(method, path) for method, path in asyncio.run(routes()) if method != "HEAD"]


ROUTES = venue_routes()
STREAMS = {"/stream", "/v2/events/trades", *(feed.path for feed in FEEDS)}


def test_there_is_something_to_fail() -> None:
    assert len(ROUTES) > 50
    assert {
        ("POST", "/v2/orders"),
        ("GET", "/stream"),
        ("GET", "/v2/stocks/AAPL/bars"),
        ("GET", "/v2/sip"),
    } <= set(ROUTES)


def test_every_route_can_answer_with_a_proxys_page_instead(on_simulator):
    async def scenario(client):
        for method, path in ROUTES:
            await client.fault({"on": f"{method} {path}", "do": "status", "status": 502, "body": HTML})
            assert await client.call(method, path) == (502, HTML), (method, path)
        assert (await client.call("GET", "/sim/v1/faults"))[1] == []

    on_simulator(scenario)


@pytest.mark.parametrize("do", ["drop_request", "drop_response"])
def test_every_route_can_be_left_without_an_answer(do):
    with in_process_sim() as sim:
        for method, path in ROUTES:
            if do == "drop_response" and path in STREAMS:
                continue  # these answer for as long as there is something to tell
            sim.fault(f"{method} {path}", do)
            with pytest.raises(http.client.RemoteDisconnected):
                sim.call(method, path, None, 10)
        assert sim.faults() == []


@pytest.mark.parametrize("path", ["/v2/orders?status=all", "/v2/account", "/v2/stocks/AAPL/quotes/latest"])
def test_an_answer_can_end_in_the_middle(on_simulator, path):
    async def scenario(client):
        await client.buy()
        await client.fault({"on": f"GET {path.partition('?')[0]}", "do": "truncate"})
        async with client.session.get(path) as response:
            assert response.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        assert (await client.call("GET", path))[0] == 200

    on_simulator(scenario)


def test_a_truncated_order_exists(on_simulator):
    async def scenario(client):
        await client.fault({"on": "POST /v2/orders", "do": "truncate"})
        with pytest.raises(aiohttp.ClientError):
            await client.buy(client_order_id="half")
        status, _ = await client.call("GET", "/v2/orders:by_client_order_id?client_order_id=half")
        assert status == 200

    on_simulator(scenario)


async def market_data(client):
    ws = await client.session.ws_connect("/v2/iex")
    await ws.receive_json(timeout=10)
    await ws.receive_json(timeout=10)
    await ws.send_json({"action": "subscribe", "quotes": ["AAPL"]})
    await ws.receive_json(timeout=10)
    return ws


async def both(client):
    """A connection to each stream, by name."""
    return {"trade_updates": await client.listen(), "market_data": await market_data(client)}


async def stir(client, n):
    """Make one event for each stream, told apart by `n`."""
    await client.quote("AAPL", 100 + n, 101 + n)
    await client.buy(type="limit", limit_price=str(n), client_order_id=f"{n}")


async def heard(name, ws):
    """The number of the next event of a stream: pending_new of an order, or a quote."""
    while True:
        message = orjson.loads((await ws.receive(timeout=10)).data)
        if name == "market_data":
            return int(message[0]["bp"]) - 100
        if message["data"]["event"] == "pending_new":
            return int(message["data"]["order"]["client_order_id"])


def test_both_streams_can_lose_double_and_reorder(on_simulator):
    async def scenario(client):
        streams = await both(client)
        for name in streams:
            await client.fault({"on": name, "do": "mute", "times": 2 if name == "trade_updates" else 1})
        for n in (1, 2):
            await stir(client, n)
        assert [await heard(name, ws) for name, ws in streams.items()] == [2, 2]
        for name in streams:
            await client.fault({"on": name, "do": "duplicate", "times": 1})
        await stir(client, 3)
        await stir(client, 4)
        for name, ws in streams.items():
            assert [await heard(name, ws) for _ in range(3)] == [3, 3, 4]

    on_simulator(scenario)


def test_both_streams_can_be_cut_and_refuse_to_come_back(on_simulator):
    async def scenario(client):
        streams = await both(client)
        for name in streams:
            await client.fault({"on": name, "do": "disconnect"}, {"on": name, "do": "refuse_reconnect"})
        for ws in streams.values():
            assert (await ws.receive(timeout=10)).type in GONE
        for path in ("/stream", "/v2/iex"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.session.ws_connect(path)
            assert refused.value.status == 429
        await both(client)

    on_simulator(scenario)
