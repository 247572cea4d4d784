"""The door of the REST side: keys, request ids, unknown paths, answers that break off."""

from __future__ import annotations

import asyncio
import base64
from urllib.parse import urlsplit

import aiohttp
import pytest

from hands.sim.server.keys import is_known, presented
from hands.sim.venue.quirks import Quirks

BASIC = "Basic " + base64.b64encode(b"sim:sim").decode()


async def bare(client, path: str, **headers: str):
    """Ask without the client's own headers: status, headers, body."""
    async with (
        aiohttp.ClientSession(client.url) as session,
        session.get(path, headers=headers) as response,
    ):
        return response.status, response.headers.copy(), await response.text()


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, None),
        ({"APCA-API-KEY-ID": "sim"}, ("sim", "")),
        ({"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "s"}, ("sim", "s")),
        ({"Authorization": BASIC}, ("sim", "sim")),
        ({"Authorization": "Basic ???"}, ("", "")),
        ({"Authorization": "Bearer token"}, ("oauth", "token")),
        ({"Authorization": "Digest x"}, ("", "")),
    ],
)
def test_what_a_request_presents(headers, found) -> None:
    assert presented(headers) == found


def test_a_token_is_known_only_if_it_was_given_out() -> None:
    assert not is_known({"sim": "sim"}, "oauth", "token")
    assert is_known({"sim": "sim", "oauth": "token"}, "oauth", "token")


def test_keys_are_asked_for_and_challenged(on_simulator) -> None:
    async def scenario(client) -> None:
        for headers in (
            {},
            {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "no"},
            {"Authorization": "Bearer x"},
        ):
            status, got, body = await bare(client, "/v2/account", **headers)
            assert (status, body) == (401, '{"message":"unauthorized."}')
            assert got["WWW-Authenticate"] == 'Bearer, Basic realm="alpaca.markets"'
        assert (await bare(client, "/v2/account", Authorization=BASIC))[0] == 200

    on_simulator(scenario)


@pytest.mark.parametrize("word", ["json", "html"])
def test_who_answers_a_request_without_keys(on_simulator, word) -> None:
    async def scenario(client) -> None:
        for path in ("/v2/clock", "/v2/calendar"):
            status, headers, body = await bare(client, path)
            assert status == 401
            assert headers["Content-Type"].startswith("text/html" if word == "html" else "application/json")
            assert ("nginx" in body) == (word == "html")
            wrong = await bare(client, path, **{"APCA-API-KEY-ID": "x"})
            assert wrong[2] == '{"message":"unauthorized."}'  # only who presents nothing meets the proxy
        assert (await bare(client, "/v2/account"))[2] == '{"message":"unauthorized."}'

    on_simulator(scenario, quirks=Quirks(keyless_body=word))


def test_every_answer_has_a_request_id_of_its_own(on_simulator) -> None:
    async def scenario(client) -> None:
        await client.fault({"on": "GET /v2/clock", "do": "status", "status": 503, "body": "<html></html>"})
        paths = ["/v2/clock", "/v2/clock", "/v2/account", "/v2/nothing", "/v2/stocks/AAPL/quotes/latest"]
        ids = [(await bare(client, path))[1]["X-Request-ID"] for path in paths]
        assert len(set(ids)) == len(paths)

    on_simulator(scenario)


@pytest.mark.parametrize("path", ["/v2/nothing", "/v2/account/nothing", "/v3/nothing", "/v2/stocks/nothing"])
def test_an_unknown_path_is_a_json_404(on_simulator, path) -> None:
    async def scenario(client) -> None:
        assert await client.call("GET", path) == (404, {"code": 40410000, "message": "endpoint not found."})

    on_simulator(scenario)


def test_malformed_ids_are_unprocessable_or_not_found(on_simulator) -> None:
    async def scenario(client) -> None:
        for method in ("GET", "DELETE"):
            assert await client.call(method, "/v2/orders/nonsense") == expected
        assert await client.call("PATCH", "/v2/orders/nonsense", {"qty": "2"}) == expected
        assert await client.call("GET", "/v2/orders?after_order_id=nonsense") == expected

    expected = 422, {"code": 40010001, "message": "order_id is missing"}
    on_simulator(scenario)
    expected = 404, {"code": 40410000, "message": "order not found for nonsense"}
    on_simulator(scenario, quirks=Quirks(malformed_order_id="404"))


async def raw_answer(client, method: str, path: str, body: bytes = b"") -> bytes:
    """Everything the simulator sends on a connection of its own until it closes it."""
    port = int(client.url.rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"{method} {path} HTTP/1.1\r\nHost: sim\r\nAPCA-API-KEY-ID: sim\r\nAPCA-API-SECRET-KEY: sim\r\n"
    writer.write(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


@pytest.mark.parametrize(
    "path", ["/v2/account", "/v2/assets", "/v2/stocks/AAPL/quotes/latest", "/v2/account/configurations"]
)
def test_an_answer_breaks_off_in_the_middle(on_simulator, path) -> None:
    async def scenario(client) -> None:
        async with client.session.get(path) as response:
            whole = await response.read()
        await client.fault({"on": f"GET {path}", "do": "truncate"})
        head, _, body = (await raw_answer(client, "GET", path)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert f"Content-Length: {len(whole)}".encode() in head
        assert len(body) == len(whole) // 2

    on_simulator(scenario)


def test_an_order_whose_answer_breaks_off_exists(on_simulator) -> None:
    async def scenario(client) -> None:
        await client.fault({"on": "POST /v2/orders", "do": "truncate"})
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.buy(client_order_id="cut")
        assert (await client.call("GET", "/v2/orders:by_client_order_id?client_order_id=cut"))[0] == 200
        requests = (await client.truth())["requests"]
        assert [r["status"] for r in requests if r["method"] == "POST"] == [200]

    on_simulator(scenario)


def test_an_answer_without_a_body_is_not_sent_at_all(on_simulator) -> None:
    async def scenario(client) -> None:
        _, order = await client.buy(type="limit", limit_price="100")
        await client.fault({"on": "DELETE /v2/orders/*", "do": "truncate"})
        assert await raw_answer(client, "DELETE", f"/v2/orders/{order['id']}") == b""
        assert (await client.call("GET", f"/v2/orders/{order['id']}"))[1]["status"] == "canceled"

    on_simulator(scenario)


ROUTES = [
    ("GET", "/v2/orders"),
    ("GET", "/v2/positions"),
    ("GET", "/v2/account"),
    ("GET", "/v2/account/activities"),
    ("GET", "/v2/account/portfolio/history"),
    ("GET", "/v2/assets/AAPL"),
    ("GET", "/v2/clock"),
    ("GET", "/v3/clock"),
    ("GET", "/v2/calendar?start=2026-01-05&end=2026-01-09"),
    ("GET", "/v2/watchlists"),
    ("DELETE", "/v2/orders"),
    ("GET", "/v2/stocks/trades?symbols=AAPL"),
    ("GET", "/v1beta3/crypto/us/quotes?symbols=BTC/USD"),
]


def test_every_route_can_fail_in_every_way(on_simulator) -> None:
    async def scenario(client) -> None:
        for method, path in ROUTES:
            on = f"{method} {path.partition('?')[0]}"
            for do in ("drop_request", "drop_response"):
                await client.fault({"on": on, "do": do})
                assert await raw_answer(client, method, path) == b"", (do, path)
            await client.fault({"on": on, "do": "truncate"})
            head, _, body = (await raw_answer(client, method, path)).partition(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            assert len(body) == length // 2 < length, path
            await client.fault({"on": on, "do": "close"}, {"on": on, "do": "delay", "delay_ms": 1})
            assert b"Connection: close" in (await raw_answer(client, method, path)).partition(b"\r\n\r\n")[0]
            assert (await client.call(method, path))[0] in {200, 207}
            page = "<html>upstream</html>"
            await client.fault({"on": on, "do": "status", "status": 502, "body": page})
            assert await client.call(method, path) == (502, page)

    on_simulator(scenario)


def test_the_log_has_trading_requests_only(on_simulator) -> None:
    async def scenario(client) -> None:
        for path in ("/v2/clock", "/v2/stocks/AAPL/quotes/latest", "/v2/watchlists", "/v3/clock"):
            await client.call("GET", path)
        logged = [r["path"] for r in (await client.truth())["requests"]]
        assert logged == ["/v2/clock", "/v2/watchlists", "/v3/clock"]

    on_simulator(scenario)


LIMIT = '"side":"buy","qty":"1","type":"limit","time_in_force":"day","limit_price":"1"'
UNREADABLE = [
    b'{"symbol":"\\ud800",' + LIMIT.encode() + b"}",
    b'{"symbol":"AAPL","client_order_id":"\\ud800",' + LIMIT.encode() + b"}",
    b'{"symbol":"\xed\xa0\x80",' + LIMIT.encode() + b"}",
    b'{"symbol":"\xff",' + LIMIT.encode() + b"}",
    ("{" + LIMIT + "}").encode("utf-16"),
    b'{"legs":' + b"[" * 500 + b"]" * 500 + b"}",
]


@pytest.mark.parametrize("raw", UNREADABLE)
def test_a_body_that_cannot_be_repeated_is_refused_and_still_told_by_the_truth(on_simulator, raw) -> None:
    async def scenario(client) -> None:
        malformed = {"code": 40010000, "message": "request body format is invalid"}
        assert await client.call("POST", "/v2/orders", data=raw) == (400, malformed)
        truth = await client.truth()
        assert truth["orders"] == []
        assert isinstance(truth["requests"][0]["body"], str)

    on_simulator(scenario)


@pytest.mark.parametrize("path", ["/v2/orders", "/sim/v1/market"])
def test_a_body_that_is_not_compressed_as_it_says_is_malformed(on_simulator, path) -> None:
    async def scenario(client) -> None:
        status, body = await client.call("POST", path, data=b"{}", headers={"Content-Encoding": "gzip"})
        assert (status, body["message"]) == (400, "request body format is invalid")

    on_simulator(scenario)


def test_clients_that_vanish_leave_nothing_in_the_log(on_simulator, caplog) -> None:
    upgrade = (
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        + (base64.b64encode(bytes(16)).decode())
    )

    async def scenario(client) -> None:
        address = urlsplit(client.url)
        for head in (
            f"GET /stream HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n\r\n",
            f"GET /v2/iex HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n\r\n",
            "POST /v2/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{",
            "POST /sim/v1/market HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{",
        ):
            for _ in range(5):
                _, writer = await asyncio.open_connection(address.hostname, address.port)
                writer.write(head.encode())
                await writer.drain()
                writer.transport.abort()
        # By then it has looked at them: connections are accepted in their order.
        for _ in range(5):
            assert (await client.call("GET", "/v2/clock"))[0] == 200

    on_simulator(scenario)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
