"""The trade stream's protocol, its unconfirmed habits either way, and the replay over HTTP."""

from __future__ import annotations

import asyncio

import aiohttp
import msgspec
import orjson
import pytest

from hands.sim.server import trade_stream
from hands.sim.venue.quirks import Quirks

SIM_KEYS = {"action": "auth", "key": "sim", "secret": "sim"}
LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}


async def told(ws, message):
    """Send one message and return the answer."""
    await ws.send_bytes(orjson.dumps(message))
    return orjson.loads(await ws.receive_bytes(timeout=10))


async def updates(ws, count):
    return [orjson.loads(await ws.receive_bytes(timeout=10))["data"] for _ in range(count)]


def quirks(**chosen):
    return Quirks.of(chosen)


# --- the protocol ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (b"{", "invalid syntax"),
        (b"[1]", "invalid syntax"),
        (b'{"action":"dance"}', "unknown action"),
        (b'{"action":"listen","data":{"streams":"trade_updates"}}', "invalid syntax"),
    ],
)
def test_what_is_not_understood_is_answered_with_an_error_frame(on_simulator, message, text):
    async def scenario(client):
        ws = await client.session.ws_connect("/stream")
        await told(ws, SIM_KEYS)
        await ws.send_bytes(message)
        answer = orjson.loads(await ws.receive_bytes(timeout=10))
        assert answer == {"action": "error", "data": {"error_message": text}}

    on_simulator(scenario)


def test_nesting_without_end_is_invalid_syntax(on_simulator):
    async def scenario(client):
        headers = {"Content-Type": "application/msgpack"}
        for message, options in ((b"[" * 50_000, {}), (b"\x91" * 50_000, {"headers": headers})):
            ws = await client.session.ws_connect("/stream", **options)
            await ws.send_bytes(message)
            assert b"invalid syntax" in await ws.receive_bytes(timeout=10)

    on_simulator(scenario)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ({"action": "auth", "key": "oauth", "secret": "t0ken"}, "authorized"),
        ({"action": "authenticate", "data": {"key_id": "oauth", "secret_key": "t0ken"}}, "authorized"),
        ({"action": "authenticate", "data": {"oauth_token": "t0ken"}}, "authorized"),
        ({"action": "authenticate", "data": {"oauth_token": "wrong"}}, "unauthorized"),
        ({"action": "authenticate", "data": {"key_id": "oauth"}}, "unauthorized"),
        ({"action": "authenticate"}, "unauthorized"),
    ],
)
def test_every_form_of_authentication_gets_the_same_answer(on_simulator, message, status):
    async def scenario(client):
        ws = await client.session.ws_connect("/stream")
        answer = await told(ws, message)
        assert answer == {"stream": "authorization", "data": {"status": status, "action": "authenticate"}}

    on_simulator(scenario, key="oauth", secret="t0ken")


def test_listening_is_a_set_that_is_told_whole(on_simulator):
    async def scenario(client):
        ws = await client.session.ws_connect("/stream")
        await told(ws, SIM_KEYS)
        for streams, known in (
            (["trade_updates", "account_updates"], ["trade_updates"]),
            (["account_updates"], []),
            (["trade_updates"], ["trade_updates"]),
            ([], []),
        ):
            answer = await told(ws, {"action": "listen", "data": {"streams": streams}})
            assert answer == {"stream": "listening", "data": {"streams": known}}
        await client.buy(client_order_id="unheard")
        await told(ws, LISTEN)
        await client.buy(client_order_id="heard")
        assert {u["order"]["client_order_id"] for u in await updates(ws, 3)} == {"heard"}

    on_simulator(scenario)


def test_losing_the_authorization_ends_the_listening(on_simulator):
    async def scenario(client):
        ws = await client.listen()
        answer = await told(ws, SIM_KEYS | {"secret": "wrong"})
        assert answer["data"] == {"status": "unauthorized", "action": "authenticate"}
        await client.buy(client_order_id="unheard")
        assert (await told(ws, LISTEN))["data"] == {"status": "unauthorized", "action": "listen"}

    on_simulator(scenario)


def test_a_messagepack_client_gets_messagepack(on_simulator):
    async def scenario(client):
        ws = await client.session.ws_connect("/stream", headers={"Content-Type": "application/msgpack"})
        for message in (SIM_KEYS, LISTEN):
            await ws.send_bytes(msgspec.msgpack.encode(message))
            await ws.receive_bytes(timeout=10)
        await client.buy(client_order_id="mine")
        update = msgspec.msgpack.decode(await ws.receive_bytes(timeout=10))
        assert (update["stream"], update["data"]["order"]["client_order_id"]) == ("trade_updates", "mine")

    on_simulator(scenario)


# --- the quirks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "kind"), [("binary", aiohttp.WSMsgType.BINARY), ("text", aiohttp.WSMsgType.TEXT)]
)
def test_frames_are_binary_or_text(on_simulator, choice, kind):
    async def scenario(client):
        ws = await client.session.ws_connect("/stream")
        for message in (SIM_KEYS, LISTEN):
            await ws.send_bytes(orjson.dumps(message))
            assert (await ws.receive(timeout=10)).type is kind
        await client.buy()
        assert (await ws.receive(timeout=10)).type is kind

    on_simulator(scenario, quirks=quirks(trade_frames=choice))


def test_updates_carry_every_field_unless_a_quirk_leaves_it_out(on_simulator):
    async def scenario(client):
        ws = await client.listen()
        await client.buy()
        pending, new, fill = await updates(ws, 3)
        assert pending["execution_id"] is None
        assert len({u["event_id"] for u in (pending, new, fill)}) == 3
        assert new["execution_id"]
        assert new["execution_id"] != fill["execution_id"]
        assert {fill["order"][name][-1] for name in ("created_at", "updated_at", "submitted_at")} == {"Z"}

    on_simulator(scenario)


def test_fields_that_some_reports_do_not_have(on_simulator):
    async def scenario(client):
        ws = await client.listen()
        await client.buy()
        pending, new, fill = await updates(ws, 3)
        assert not any("event_id" in u for u in (pending, new, fill))
        assert ["execution_id" in u for u in (pending, new, fill)] == [False, False, True]
        order = fill["order"]
        assert {order[name][-6:] for name in ("created_at", "updated_at", "submitted_at")} == {"-05:00"}
        assert order["filled_at"].endswith("Z")

    absent = quirks(event_ids="absent", life_execution_ids="absent", update_zone="new_york")
    on_simulator(scenario, quirks=absent, clock="manual")


def test_the_heartbeat_is_one_byte_every_ten_seconds(on_simulator):
    async def scenario(client):
        ws = await client.listen()
        await client.call("POST", "/sim/v1/clock", {"advance_ms": 25_000})
        assert [await ws.receive_bytes(timeout=10) for _ in range(2)] == [b"\x01"] * 2
        await client.buy()
        assert (await updates(ws, 1))[0]["event"] == "pending_new"

    on_simulator(scenario, quirks=quirks(heartbeat="byte"), clock="manual")


@pytest.mark.parametrize(("choice", "is_admitted"), [("many", True), ("one", False)])
def test_a_second_connection_is_taken_or_answered_with_429(on_simulator, choice, is_admitted):
    async def scenario(client):
        first = await client.listen()
        if is_admitted:
            await client.listen()
            return
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.session.ws_connect("/stream")
        assert refused.value.status == 429
        await first.close()
        # The place is free once the server has noticed the close; the client cannot see when.
        async with asyncio.timeout(10):
            while True:
                try:
                    await client.listen()
                except aiohttp.WSServerHandshakeError:
                    continue
                return

    on_simulator(scenario, quirks=quirks(trade_connections=choice))


def test_a_client_that_does_not_read_is_dropped_and_holds_up_nobody(monkeypatch):
    class Transport:
        aborted = 0

        def abort(self):
            self.aborted += 1

    class Request:
        transport = Transport()

    monkeypatch.setattr(trade_stream, "_OUTBOX_FRAMES_MAX", 3)
    listener = trade_stream.Listener(Request(), is_msgpack=False, is_text=False)
    for n in range(5):
        listener.send(b"%d" % n)
    assert Request.transport.aborted == 2


# --- duplicates of a whole life ----------------------------------------------------------------------------------


def test_a_whole_life_is_sent_again_after_its_end_with_the_same_ids(on_simulator):
    async def scenario(client):
        ws = await client.listen()
        await client.fault({"on": "trade_updates", "do": "replay", "copies": 2})
        await client.buy(client_order_id="twice")
        await client.buy(client_order_id="once")
        told_once = ["pending_new", "new", "fill"]
        seen = await updates(ws, 10)
        assert [u["event"] for u in seen] == [*told_once, "new", "fill", "new", "fill", *told_once]
        ids = [u["execution_id"] for u in seen]
        assert ids[1:3] == ids[3:5] == ids[5:7]

    on_simulator(scenario)


# --- GET /v2/events/trades ---------------------------------------------------------------------------------------


async def events(client, query=""):
    """The updates of an answer that ends by itself."""
    async with client.session.get(f"/v2/events/trades{query}") as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        return _updates_of(await response.text())


def _updates_of(text):
    blocks = [block for block in text.split("\n\n") if block.startswith("data: ")]
    return [orjson.loads(block.removeprefix("data: ")) for block in blocks]


async def advance(client, ms):
    assert (await client.call("POST", "/sim/v1/clock", {"advance_ms": ms}))[0] == 200


def test_events_of_a_time_are_told_again(on_simulator):
    async def scenario(client):
        for name in ("a", "b", "c"):
            await client.buy(client_order_id=name)
            await advance(client, 1000)
        # b's second, both ends included: from 15:00:01 to 15:00:01.
        found = await events(client, "?since=2026-01-05T15:00:01Z&until=2026-01-05T15:00:01Z")
        assert [(u["event"], u["order"]["client_order_id"]) for u in found] == [
            ("pending_new", "b"),
            ("new", "b"),
            ("fill", "b"),
        ]
        assert found[0]["at"] == found[0]["timestamp"] == "2026-01-05T15:00:01Z"
        ids = [u["event_id"] for u in found]
        again = await events(client, f"?since_id={ids[1]}&until_id={ids[2]}")
        assert [u["event_id"] for u in again] == ids[1:]

    on_simulator(scenario, clock="manual")


def test_events_go_on_from_what_was_to_what_is_until_the_end(on_simulator):
    async def scenario(client):
        await client.buy(client_order_id="before")
        url = "/v2/events/trades?since=2026-01-05&until=2026-01-05T15:00:10Z"
        async with client.session.get(url) as response:
            await client.buy(client_order_id="after")
            await advance(client, 20_000)
            found = _updates_of(await response.text())
        names = [u["order"]["client_order_id"] for u in found]
        assert names == ["before"] * 3 + ["after"] * 3

    on_simulator(scenario, clock="manual")


@pytest.mark.parametrize(
    "query",
    ["?since=x", "?since=2026-01-05&since_id=A", "?until=2026-01-05T15:00:10Z", "?until_id=A"],
)
def test_events_of_no_time_are_refused(on_simulator, query):
    async def scenario(client):
        status, answer = await client.call("GET", f"/v2/events/trades{query}")
        assert (status, answer["code"]) == (422, 40010001)

    on_simulator(scenario)


def test_events_need_keys_and_may_not_be_there_at_all(on_simulator):
    async def no_keys(client):
        status, answer = await client.call(
            "GET", "/v2/events/trades?since=2026-01-05", headers={"APCA-API-SECRET-KEY": "wrong"}
        )
        assert (status, answer) == (401, {"message": "unauthorized."})

    async def not_there(client):
        assert (await client.call("GET", "/v2/events/trades?since=2026-01-05"))[0] == 404

    on_simulator(no_keys)
    on_simulator(not_there, quirks=quirks(events_replay="absent"))
