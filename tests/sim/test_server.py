"""The simulator over real sockets: REST, the trade stream, the controls, every request fault."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import msgspec
import orjson
import pytest
from yarl import URL

from hands.sim.testing import in_process_sim

BRACKET = {
    "symbol": "AAPL",
    "qty": "66",
    "side": "buy",
    "type": "limit",
    "time_in_force": "gtc",
    "limit_price": "150.15",
    "order_class": "bracket",
    "take_profit": {"limit_price": "155"},
    "stop_loss": {"stop_price": "148"},
    "client_order_id": "mine",
}


async def updates(ws, count):
    """The next `count` events of the trade stream."""
    return [orjson.loads(await ws.receive_bytes(timeout=10))["data"] for _ in range(count)]


def test_bracket_from_submission_to_the_target(on_simulator):
    async def scenario(client):
        ws = await client.listen()
        status, order = await client.call("POST", "/v2/orders", BRACKET)
        assert (status, order["status"], [leg["status"] for leg in order["legs"]]) == (
            200,
            "pending_new",
            ["held"] * 2,
        )
        events = await updates(ws, 4)
        assert [e["event"] for e in events] == ["pending_new", "new", "fill", "new"]
        assert events[0]["execution_id"] is None
        fill = events[2]
        assert (fill["price"], fill["qty"], fill["position_qty"], fill["order"]["filled_qty"]) == (
            "150",
            "66",
            "66",
            "66",
        )
        await client.quote("AAPL", 155.0, 155.02)
        (target,) = await updates(ws, 1)
        assert (target["event"], target["position_qty"]) == ("fill", "0")
        _, found = await client.call("GET", "/v2/orders:by_client_order_id?client_order_id=mine&nested=true")
        assert [leg["status"] for leg in found["legs"]] == ["filled", "canceled"]
        assert (await client.call("GET", "/v2/positions")) == (200, [])
        _, fills = await client.call("GET", "/v2/account/activities/FILL?direction=asc")
        assert [f["id"].partition("::")[2] for f in fills] == [fill["execution_id"], target["execution_id"]]

    on_simulator(scenario)


def test_order_document_has_the_venues_types(on_simulator):
    async def scenario(client):
        _, order = await client.call("POST", "/v2/orders", BRACKET)
        assert order["order_class"] == "bracket"
        assert {type(order[k]) for k in ("qty", "filled_qty", "limit_price", "created_at", "expires_at")} == {
            str
        }
        assert (order["filled_avg_price"], order["notional"], order["stop_price"]) == (None, None, None)
        assert order["extended_hours"] is False
        _, simple = await client.buy()
        assert (simple["order_class"], simple["legs"]) == ("", None)

    on_simulator(scenario)


def test_order_list_filters(on_simulator):
    async def scenario(client):
        await client.call("POST", "/v2/orders", BRACKET)
        await client.buy(type="limit", limit_price="140", client_order_id="resting")

        async def ids(query):
            status, orders = await client.call("GET", f"/v2/orders?{query}")
            assert status == 200
            return [o["client_order_id"] for o in orders]

        assert len(await ids("status=all")) == 4
        assert len(await ids("")) == 3
        assert await ids("status=closed") == ["mine"]
        assert await ids("status=all&nested=true") == ["resting", "mine"]
        assert await ids("status=all&nested=true&direction=asc&limit=1") == ["mine"]
        every = (await client.call("GET", "/v2/orders?status=all&direction=asc"))[1]
        first, last = every[0]["id"], every[-1]["id"]
        names = [o["client_order_id"] for o in every]
        assert await ids(f"status=all&direction=asc&after_order_id={first}") == names[1:]
        assert await ids(f"status=all&direction=asc&after_order_id={first}&limit=1") == names[1:2]
        assert await ids(f"status=all&direction=asc&after_order_id={last}") == []
        assert await ids(f"status=all&before_order_id={last}") == names[-2::-1]
        assert await ids(f"status=all&nested=true&direction=asc&after_order_id={first}") == ["resting"]
        for wrong in (
            f"after_order_id={first}&before_order_id={last}",
            f"after_order_id={first}&after=2100-01-01T00:00:00Z",
            "after_order_id=x",
        ):
            assert (await client.call("GET", f"/v2/orders?{wrong}"))[0] == 422
        assert len(await ids("side=sell")) == 2
        assert await ids("symbols=SPY,BTC/USD&status=all") == []
        assert await ids("status=all&after=2100-01-01T00:00:00Z") == []
        assert (await client.call("GET", "/v2/orders?status=strange"))[0] == 422
        assert (await client.call("GET", "/v2/orders?limit=501"))[0] == 422

    on_simulator(scenario)


def test_refusals_over_the_wire(on_simulator):
    async def scenario(client):
        assert await client.call("GET", "/v2/orders/6b0cbd9b-4b0c-4c5c-a2f6-1d7c7e9f0a11") == (
            404,
            {"code": 40410000, "message": "order not found for 6b0cbd9b-4b0c-4c5c-a2f6-1d7c7e9f0a11"},
        )
        assert (await client.call("GET", "/v2/orders/nonsense"))[0] == 422
        assert (await client.call("GET", "/v2/positions/AAPL"))[1]["message"] == "position does not exist"
        assert (await client.call("GET", "/v2/assets/NOPE"))[1]["message"] == "asset not found for NOPE"
        assert (await client.call("GET", "/v2/nowhere"))[0] == 404
        assert (await client.buy(qty=None))[1] == {"code": 40010001, "message": "qty or notional is required"}
        assert (await client.buy(notional="10"))[1]["message"] == "only one of qty or notional is accepted"
        assert (await client.buy(side="hold"))[1]["message"] == "invalid side"
        async with client.session.post("/v2/orders", data=b"{") as response:
            assert response.status == 400
        for headers in ({"APCA-API-SECRET-KEY": "wrong"}, {"APCA-API-KEY-ID": "wrong"}):
            assert await client.call("GET", "/v2/account", headers=headers) == (
                401,
                {"message": "unauthorized."},
            )

    on_simulator(scenario)


def test_numbers_are_read_by_their_text(on_simulator):
    async def scenario(client):
        body = b'{"symbol":"AAPL","side":"buy","type":"limit","time_in_force":"day","qty":10,"limit_price":150.15}'
        async with client.session.post("/v2/orders", data=body) as response:
            assert (await response.json())["limit_price"] == "150.15"
        await client.quote("BTC/USD", 60000, 60010)
        _, order = await client.buy(symbol="BTC/USD", qty="0.1000000009", time_in_force="gtc")
        assert order["qty"] == "0.1"

    on_simulator(scenario)


def test_cancel_replace_and_close_over_rest(on_simulator):
    async def scenario(client):
        _, order = await client.buy(type="limit", limit_price="140", qty="5")
        _, new = await client.call("PATCH", f"/v2/orders/{order['id']}", {"qty": "6", "limit_price": "141"})
        assert (new["replaces"], new["qty"], new["limit_price"]) == (order["id"], "6", "141")
        assert (await client.call("DELETE", f"/v2/orders/{new['id']}"))[0] == 204
        assert (await client.call("DELETE", f"/v2/orders/{new['id']}"))[0] == 204  # the quirk `recancel`
        _, filled = await client.buy()
        assert (await client.call("DELETE", f"/v2/orders/{filled['id']}"))[0] == 422
        await client.call("DELETE", "/v2/positions/AAPL")
        await client.buy(type="limit", limit_price="140")
        status, results = await client.call("DELETE", "/v2/orders")
        assert (status, [r["status"] for r in results]) == (207, [200])
        await client.buy(qty="10")
        _, sold = await client.call("DELETE", "/v2/positions/AAPL?percentage=50")
        assert (sold["qty"], sold["side"]) == ("5", "sell")
        assert (await client.call("DELETE", "/v2/positions/AAPL?qty=9"))[0] == 403
        await client.call("POST", "/v2/orders", BRACKET)
        _, kept = await client.call("DELETE", "/v2/positions")
        assert kept[0]["status"] == 403
        status, closed = await client.call("DELETE", "/v2/positions?cancel_orders=true")
        assert (status, closed[0]["symbol"], closed[0]["status"]) == (207, "AAPL", 200)
        assert (await client.call("GET", "/v2/positions")) == (200, [])

    on_simulator(scenario)


def test_coins_are_named_as_the_venue_names_them(on_simulator):
    async def scenario(client):
        await client.quote("BTC/USD", 60000, 60010)
        await client.buy(symbol="BTCUSD", qty="0.1", time_in_force="gtc")
        _, orders = await client.call("GET", "/v2/orders?status=all")
        _, positions = await client.call("GET", "/v2/positions")
        assert (orders[0]["symbol"], positions[0]["symbol"], positions[0]["qty"]) == (
            "BTC/USD",
            "BTCUSD",
            "0.09975",
        )
        for path in (
            "/v2/positions/BTCUSD",
            "/v2/positions/BTC%2FUSD",
            "/v2/assets/BTC%2FUSD",
            "/v2/assets/BTCUSD",
        ):
            assert (await client.call("GET", URL(client.url + path, encoded=True)))[0] == 200

    on_simulator(scenario)


def test_clock_calendar_and_account(on_simulator):
    async def scenario(client):
        _, clock = await client.call("GET", "/v2/clock")
        assert clock["is_open"] is True
        _, days = await client.call("GET", "/v2/calendar?start=2026-11-25&end=2026-11-28")
        assert [(d["date"], d["close"]) for d in days] == [("2026-11-25", "16:00"), ("2026-11-27", "13:00")]
        _, account = await client.call("GET", "/v2/account")
        assert (account["cash"], account["buying_power"], account["status"]) == ("100000", "200000", "ACTIVE")

    on_simulator(scenario)


def test_rate_limit_counts_and_refuses(on_simulator):
    async def scenario(client):
        statuses = []
        for _ in range(4):
            async with client.session.get("/v2/clock") as response:
                statuses.append((response.status, response.headers["X-RateLimit-Remaining"]))
        # The minute may turn in between, and then the count starts again.
        assert statuses[0] == (200, "1")
        assert (429, "0") in statuses

    on_simulator(scenario, rate_limit=2)


@pytest.mark.parametrize(
    "auth",
    [
        {"action": "auth", "key": "sim", "secret": "sim"},
        {"action": "authenticate", "data": {"key_id": "sim", "secret_key": "sim"}},
    ],
)
def test_stream_takes_both_forms_of_authentication(on_simulator, auth):
    async def scenario(client):
        ws = await client.session.ws_connect("/stream")
        await ws.send_json({"action": "listen", "data": {"streams": ["trade_updates"]}})
        reply = orjson.loads(await ws.receive_bytes(timeout=10))
        assert reply == {"stream": "authorization", "data": {"status": "unauthorized", "action": "listen"}}
        await ws.send_bytes(orjson.dumps(auth))
        reply = orjson.loads(await ws.receive_bytes(timeout=10))
        assert reply == {
            "stream": "authorization",
            "data": {"status": "authorized", "action": "authenticate"},
        }
        await ws.send_json({"action": "listen", "data": {"streams": ["trade_updates", "other"]}})
        reply = orjson.loads(await ws.receive_bytes(timeout=10))
        assert reply == {"stream": "listening", "data": {"streams": ["trade_updates"]}}

    on_simulator(scenario)


def test_stream_refuses_a_wrong_key_and_speaks_messagepack(on_simulator):
    async def scenario(client):
        ws = await client.session.ws_connect("/stream", headers={"Content-Type": "application/msgpack"})
        await ws.send_bytes(msgspec.msgpack.encode({"action": "auth", "key": "sim", "secret": "nope"}))
        reply = msgspec.msgpack.decode(await ws.receive_bytes(timeout=10))
        assert reply["data"]["status"] == "unauthorized"

    on_simulator(scenario)


def test_truth_remembers_every_request_and_status(on_simulator):
    async def scenario(client):
        before_ns = time.time_ns()
        await client.buy(client_order_id="a")
        await client.buy(qty="0")
        truth = await client.truth()
        after_ns = time.time_ns()
        first, second = truth["requests"]
        assert (first["method"], first["path"], first["status"], second["status"]) == (
            "POST",
            "/v2/orders",
            200,
            422,
        )
        assert first["body"]["client_order_id"] == "a"
        assert first["conn"] == second["conn"]
        slack_ns = 50_000_000  # the simulator's clock is anchored to the wall once
        assert before_ns - slack_ns <= first["received_ns"] <= second["received_ns"] <= after_ns + slack_ns
        (order,) = truth["orders"]
        assert [status for _, status in order["history"]] == ["pending_new", "new", "filled"]
        (fill,) = truth["fills"]
        assert (fill["client_order_id"], fill["qty"], fill["price"], fill["fee"]) == ("a", "1", "150", "0")
        assert truth["naked"]["AAPL"]["naked_since_ns"] == fill["t_ns"]

    on_simulator(scenario)


def test_arrival_is_stamped_at_the_first_byte_not_at_the_handler(on_simulator):
    async def scenario(client):
        host, port = client.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = (
            "POST /v2/orders HTTP/1.1\r\nHost: x\r\nAPCA-API-KEY-ID: sim\r\nAPCA-API-SECRET-KEY: sim\r\n"
            "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n"
        )
        for _ in range(2):  # the second request of a connection gets its own stamp
            writer.write(head.encode())
            await client.call("GET", "/v2/clock")  # served while the first request's body is still missing
            writer.write(b"{}")
            assert (await reader.readuntil(b"\r\n")).split()[1] == b"422"
            await client.call("GET", "/v2/clock")
            headers = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(h.split(b":")[1])
                for h in headers.split(b"\r\n")
                if h.lower().startswith(b"content-length")
            )
            await reader.readexactly(length)
        writer.close()
        requests = (await client.truth())["requests"]
        posts = [r["received_ns"] for r in requests if r["method"] == "POST"]
        clocks = [r["received_ns"] for r in requests if r["method"] == "GET"]
        assert posts[0] < clocks[0] < clocks[1] < posts[1] < clocks[2]

    on_simulator(scenario)


def test_reset_goes_back_to_the_start(on_simulator):
    async def scenario(client):
        await client.buy(client_order_id="a")
        await client.fault({"on": "POST /v2/orders", "do": "status", "status": 500})
        first = (await client.truth())["fills"][0]["execution_id"]
        assert (await client.call("POST", "/sim/v1/reset"))[0] == 200
        truth = await client.truth()
        assert (truth["orders"], truth["fills"], truth["requests"], truth["naked"]) == ([], [], [], {})
        await client.quote("AAPL", 149.98, 150.0)
        assert (await client.buy(client_order_id="a"))[0] == 200
        assert (await client.truth())["fills"][0]["execution_id"] != first

    on_simulator(scenario)


def test_lost_response_leaves_an_order_that_can_be_found(on_simulator):
    async def scenario(client):
        await client.fault({"on": "POST /v2/orders", "do": "drop_response"})
        with pytest.raises(aiohttp.ClientError):
            await client.buy(client_order_id="lost")
        status, order = await client.call("GET", "/v2/orders:by_client_order_id?client_order_id=lost")
        assert (status, order["status"]) == (200, "filled")
        assert (await client.truth())["requests"][0]["status"] is None

    on_simulator(scenario)


def test_lost_request_leaves_nothing(on_simulator):
    async def scenario(client):
        await client.fault({"on": "POST /v2/orders", "do": "drop_request"})
        with pytest.raises(aiohttp.ClientError):
            await client.buy(client_order_id="lost")
        assert (await client.call("GET", "/v2/orders:by_client_order_id?client_order_id=lost"))[0] == 404
        assert (await client.truth())["requests"][0]["body"]["client_order_id"] == "lost"

    on_simulator(scenario)


def test_delayed_answer_arrives(on_simulator):
    async def scenario(client):
        await client.fault({"on": "POST /v2/orders", "do": "delay", "delay_ms": 20})
        before_ns = time.perf_counter_ns()
        assert (await client.buy())[0] == 200
        assert time.perf_counter_ns() - before_ns >= 20_000_000

    on_simulator(scenario)


def test_planned_status_and_closed_connection(on_simulator):
    async def scenario(client):
        await client.fault(
            {"on": "POST /v2/orders", "do": "status", "status": 504, "body": "<html>gateway</html>"},
            {"on": "POST /v2/orders", "do": "status", "status": 429, "body": {"message": "slow down"}},
            {"on": "POST /v2/orders", "do": "close"},
        )
        assert await client.buy() == (504, "<html>gateway</html>")
        assert await client.buy() == (429, {"message": "slow down"})
        async with client.session.post("/v2/orders", json={}) as response:
            assert (response.status, response.headers["Connection"]) == (422, "close")
        assert len((await client.truth())["orders"]) == 0

    on_simulator(scenario)


def test_stream_disconnect_loses_events_and_a_refused_reconnect_is_tried_again(on_simulator):
    async def scenario(client):
        ws = await client.listen()
        await client.fault(
            {"on": "trade_updates", "do": "disconnect"}, {"on": "trade_updates", "do": "refuse_reconnect"}
        )
        assert (await ws.receive(timeout=10)).type in {
            aiohttp.WSMsgType.CLOSED,
            aiohttp.WSMsgType.CLOSE,
            aiohttp.WSMsgType.ERROR,
        }
        await client.buy()
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.session.ws_connect("/stream")
        again = await client.listen()
        await client.buy(client_order_id="later")
        (event,) = await updates(again, 1)
        assert event["order"]["client_order_id"] == "later"  # nothing is replayed

    on_simulator(scenario)


def test_stream_duplicates_and_reorders(on_simulator):
    async def scenario(client):
        ws = await client.listen()
        await client.fault({"on": "trade_updates", "do": "duplicate", "times": 3})
        await client.buy()
        events = await updates(ws, 6)
        assert [e["event"] for e in events] == ["pending_new", "pending_new", "new", "new", "fill", "fill"]
        assert events[4]["execution_id"] == events[5]["execution_id"]
        await client.fault({"on": "trade_updates", "do": "reorder"})
        await client.buy()
        assert [e["event"] for e in await updates(ws, 3)] == ["new", "pending_new", "fill"]

    on_simulator(scenario)


def test_muted_stream_says_nothing(on_simulator):
    async def scenario(client):
        ws = await client.listen()
        await client.fault({"on": "trade_updates", "do": "mute", "times": 3})
        await client.buy(client_order_id="unheard")
        await client.buy(client_order_id="heard")
        assert {e["order"]["client_order_id"] for e in await updates(ws, 3)} == {"heard"}

    on_simulator(scenario)


@pytest.mark.e2e
def test_process_prints_one_ready_line_and_ends_on_sigterm(root: Path):
    command = [sys.executable, "-m", "hands", "sim", "--tape", "manual"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        ready = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert ready.startswith(b'{"event":"ready","url":"http://127.0.0.1:')
    assert (process.returncode, out, err) == (0, b"", b"")


def test_reset_begins_a_tape_again_that_runs_by_the_wall(tmp_path):
    tape = tmp_path / "AAPL_quotes.csv"
    tape.write_text(
        "timestamp,bid_price,bid_size,ask_price,ask_size\n2026-01-05T15:00:00Z,149.98,100,150.00,100\n"
    )
    latest = "/v2/stocks/quotes/latest?symbols=AAPL"

    def bids(sim):
        return [
            quote["bp"] for quote in orjson.loads(sim.call("GET", latest, None, 10)[1])["quotes"].values()
        ]

    with in_process_sim(tape=tape) as sim:
        for _ in range(3):
            deadline = time.monotonic() + 20
            while bids(sim) != [149.98] and time.monotonic() < deadline:
                time.sleep(0.01)
            assert bids(sim) == [149.98]
            sim.reset()
