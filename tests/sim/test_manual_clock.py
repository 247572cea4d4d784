"""Time moved by hand over HTTP: everything on the way happens at its own time, and twice the same."""

from __future__ import annotations

import asyncio
import os
from itertools import pairwise

import orjson
import pytest

from hands.core.units import NANO, NS_PER_MS, NS_PER_S, Price, Qty
from hands.core.vocab import OrderType, Side, TimeInForce
from hands.sim.market.times import time_ns
from hands.sim.server.clock import MANUAL_START, ManualClock
from hands.sim.server.config import SimConfig
from hands.sim.server.floor import TradingFloor
from hands.sim.testing import Sim, SimError, in_process_sim, running_sim
from hands.sim.venue.orders import OrderRequest
from hands.sim.venue.quirks import Latency

START_NS = 1_767_625_200 * NS_PER_S  # MANUAL_START


async def advance(client, ms):
    status, answer = await client.call("POST", "/sim/v1/clock", {"advance_ms": ms})
    assert status == 200, answer
    return answer["now_ns"]


async def to(client, time):
    status, answer = await client.call("POST", "/sim/v1/clock", {"to": time})
    assert (status, answer["now"]) == (200, time)


async def history(client, order_id):
    (order,) = [o for o in (await client.truth())["orders"] if o["id"] == order_id]
    return [((t_ns - START_NS) // NS_PER_MS, status) for t_ns, status in order["history"]]


def test_time_stands_still_and_moves_when_told(on_simulator):
    async def scenario(client):
        _, first = await client.call("GET", "/sim/v1/clock")
        assert first == {"clock": "manual", "now_ns": START_NS, "now": MANUAL_START}
        assert (await client.call("GET", "/v2/clock"))[1]["timestamp"] == "2026-01-05T10:00:00-05:00"
        assert await advance(client, 1500.5) == START_NS + 1_500_500_000
        await to(client, "2026-01-05T15:01:00Z")
        assert (await client.call("GET", "/v2/clock"))[1]["timestamp"] == "2026-01-05T10:01:00-05:00"

    on_simulator(scenario, clock="manual")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "either advance_ms or to"),
        ({"advance_ms": 1, "to": MANUAL_START}, "either advance_ms or to"),
        ({"advance_ms": -1}, "forward only"),
        ({"advance_ms": "5"}, "not a number"),
        ('{"advance_ms": 1e999}', "not a number"),
        ('{"advance_ms": NaN}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ({"to": "2026-01-05T14:59:59Z"}, "forward only"),
        ({"to": "2029-01-05T14:59:59Z"}, "400 days"),
        ({"to": "noon"}, "a time like"),
        ({"to": "9999-12-31T23:59:59Z"}, "ends at 2199-12-31"),
        ({"advance_ms": 1e308}, "stands at 2026-01-05T15:00:00Z; it moves forward only"),
        ('{"advance_ms": 1%s}' % ("0" * 400), "400 days"),
        ({"by": 1}, "unknown key 'by'"),
    ],
)
def test_a_move_that_makes_no_sense_is_refused(on_simulator, body, says):
    async def scenario(client):
        raw = body if isinstance(body, str) else orjson.dumps(body)
        status, answer = await client.call("POST", "/sim/v1/clock", data=raw)
        assert status == 400
        assert says in answer["message"]
        assert (await client.call("GET", "/sim/v1/clock"))[1]["now_ns"] == START_NS

    on_simulator(scenario, clock="manual")


def test_the_wall_is_not_moved(on_simulator):
    async def scenario(client):
        status, answer = await client.call("POST", "/sim/v1/clock", {"advance_ms": 1})
        assert (status, "--clock manual" in answer["message"]) == (400, True)

    on_simulator(scenario)


def test_the_venues_latency_passes_at_its_own_times(on_simulator):
    async def scenario(client):
        ws = await client.listen()
        _, order = await client.buy()
        _, resting = await client.buy(type="limit", limit_price="140")
        await advance(client, 4)
        assert (await client.call("GET", f"/v2/orders/{order['id']}"))[1]["status"] == "pending_new"
        await advance(client, 1000)
        assert await history(client, order["id"]) == [(0, "pending_new"), (5, "new"), (25, "filled")]
        assert (await client.call("DELETE", f"/v2/orders/{resting['id']}"))[0] == 204
        await advance(client, 1000)
        assert (await history(client, resting["id"]))[-2:] == [(1004, "pending_cancel"), (1104, "canceled")]
        told = [orjson.loads(await ws.receive_bytes(timeout=10))["data"] for _ in range(7)]
        # Two pending_new, two new, and so on: in the order of their own times.
        times = [time_ns(update["timestamp"]) for update in told]
        assert times == sorted(times)

    on_simulator(scenario, clock="manual", latency=Latency.of_ms(ack=5, fill=20, cancel=100))


def test_on_the_wall_the_exchange_is_woken_for_what_it_has_promised(on_simulator):
    async def scenario(client):
        ws = await client.listen()
        _, order = await client.buy()
        for event in ("pending_new", "new", "fill"):  # nobody touches the exchange meanwhile
            assert orjson.loads(await ws.receive_bytes(timeout=10))["data"]["event"] == event
        (pending, _), (new, _), (filled, _) = await history(client, order["id"])
        assert (new - pending, filled - new) == (3, 4)

    on_simulator(scenario, latency=Latency.of_ms(ack=3, fill=4))


def test_sessions_open_and_close_and_day_orders_end(on_simulator):
    async def scenario(client):
        _, day = await client.buy(type="limit", limit_price="140")
        _, gtc = await client.buy(type="limit", limit_price="140", time_in_force="gtc")
        await to(client, "2026-01-05T20:59:59Z")
        assert (await client.call("GET", "/v2/clock"))[1]["is_open"] is True
        await to(client, "2026-01-05T21:00:00Z")
        assert (await client.call("GET", "/v2/clock"))[1]["is_open"] is False
        assert (await history(client, day["id"]))[-1] == (6 * 3_600_000, "expired")
        _, night = await client.buy(type="limit", limit_price="140")
        await to(client, "2026-01-06T14:30:00Z")
        assert (await client.call("GET", "/v2/clock"))[1]["is_open"] is True
        assert [s for _, s in await history(client, night["id"])] == ["pending_new", "accepted", "new"]
        assert (await history(client, gtc["id"]))[-1][1] == "new"

    on_simulator(scenario, clock="manual", session="calendar")


def test_a_simulator_may_start_on_any_day(on_simulator):
    async def scenario(client):
        clock = (await client.call("GET", "/v2/clock"))[1]
        assert (clock["is_open"], clock["next_close"]) == (True, "2026-11-27T13:00:00-05:00")
        await to(client, "2026-11-27T18:00:00Z")
        assert (await client.call("GET", "/v2/clock"))[1]["next_open"] == "2026-11-30T09:30:00-05:00"

    # the half day after Thanksgiving
    on_simulator(scenario, clock="manual", session="calendar", start="2026-11-27T12:59:00-05:00")


def test_a_wall_clock_may_start_on_any_day_too(on_simulator):
    async def scenario(client):
        assert (await client.call("GET", "/v2/clock"))[1]["timestamp"].startswith("2026-07-03T12:")
        assert (await client.call("GET", "/v2/clock"))[1]["is_open"] is False  # the 4th is a Saturday

    on_simulator(scenario, session="calendar", start="2026-07-03T12:00:00-04:00")


def test_bars_close_with_their_minute(on_simulator):
    async def scenario(client):
        ws = await client.session.ws_connect("/v2/iex")
        await ws.receive_json(timeout=10)
        await ws.receive_json(timeout=10)
        await ws.send_json({"action": "subscribe", "bars": ["AAPL"]})
        await ws.receive_json(timeout=10)
        for price in (150, 151, 149.5):
            await client.call("POST", "/sim/v1/market", {"symbol": "AAPL", "price": price})
            await advance(client, 19_000)
        await advance(client, 10_000)
        (bar,) = await ws.receive_json(timeout=10)
        assert [bar[key] for key in ("T", "o", "h", "l", "c", "t")] == [
            "b",
            150,
            151,
            149.5,
            149.5,
            MANUAL_START,
        ]

    on_simulator(scenario, clock="manual")


@pytest.mark.parametrize(("at", "found"), [("response", 200), ("request", 404)])
def test_a_delayed_request_waits_for_the_clock(on_simulator, at, found):
    async def scenario(client):
        await client.fault({"on": "POST /v2/orders", "do": "delay", "delay_ms": 50, "at": at})
        slow = asyncio.create_task(client.buy(client_order_id="slow"))
        while not (await client.truth())["requests"]:
            assert not slow.done()
        await advance(client, 49)
        status, _ = await client.call("GET", "/v2/orders:by_client_order_id?client_order_id=slow")
        assert (slow.done(), status) == (False, found)
        await advance(client, 1000)
        _, order = await slow
        assert (await history(client, order["id"]))[0][0] == (50 if at == "request" else 0)

    on_simulator(scenario, clock="manual")


def test_delayed_frames_wait_for_the_clock(on_simulator):
    async def scenario(client):
        ws = await client.listen()
        await client.fault({"on": "trade_updates", "do": "delay", "delay_ms": 50, "times": 3})
        await client.buy(client_order_id="late")
        await advance(client, 49)
        await client.fault(
            {"on": "trade_updates", "do": "duplicate", "times": 1}
        )  # only what is sent from now on
        await advance(client, 1)
        seen = [orjson.loads(await ws.receive_bytes(timeout=10))["data"]["event"] for _ in range(3)]
        assert seen == ["pending_new", "new", "fill"]

    on_simulator(scenario, clock="manual")


def test_a_reset_takes_the_clock_and_the_market_back_to_the_start(on_simulator):
    async def scenario(client):
        async def first_seconds():
            await advance(client, 3000)
            await client.quote("AAPL", 149.98, 150.0)
            await client.buy(client_order_id="mine")
            await advance(client, 3000)
            return await client.truth()

        first = await first_seconds()
        assert (await client.call("POST", "/sim/v1/reset"))[0] == 200
        assert (await client.call("GET", "/sim/v1/clock"))[1]["now_ns"] == START_NS
        assert await first_seconds() == first

    on_simulator(scenario, clock="manual")


def test_waiting_for_the_exchange_leaves_nothing_behind():
    async def scenario():
        clock = ManualClock(START_NS)
        config = SimConfig(tape=("manual",), session="calendar", latency=Latency.of_ms(ack=1))
        floor = TradingFloor(config, clock)
        request = OrderRequest("AAPL", Side.BUY, OrderType.LIMIT, TimeInForce.DAY, Qty(NANO), Price(NANO))
        for _ in range(50):
            floor.exchange.submit(request)
            floor.flush()
            clock.move_to(clock() + NS_PER_MS)
        assert all(order.status == "new" for order in floor.exchange.blotter)
        left = 0
        while clock.next_due_ns is not None:
            clock._schedule.take()
            left += 1
        return left

    assert asyncio.run(scenario()) == 1  # the close of the session


# --- the same twice ------------------------------------------------------------------------------------------------

SESSION = {
    "tape": "synthetic",
    "symbols": "AAPL,SPY,BTC/USD",
    "clock": "manual",
    "session": "calendar",
    "seed": 11,
    "regime": "mixed",
    "fills": "realistic",
    "latency": {"ack": 5, "fill": 12, "cancel": 40, "replace": 30, "settle": 100},
    "quirks": {"partial_entry_legs": "kept", "held_event": "sent"},
}


def script(sim: Sim) -> bytes:
    """A session with a bit of everything, all times by hand; return the truth as it was sent."""

    def call(method, path, body=None):
        return sim.call(method, path, body, 20)

    def order(symbol, qty, side="buy", kind="market", tif="day", **more):
        body = {"symbol": symbol, "qty": qty, "side": side, "type": kind, "time_in_force": tif} | more
        status, raw = call("POST", "/v2/orders", body)
        return orjson.loads(raw)["id"] if status == 200 else "none"

    sim.fault("GET /v2/*", "status", rate=0.5, status=503, body="<html>busy</html>")
    sim.fault("POST /v2/orders", "delay", delay_ms=0, times=1)
    for round_ in range(4):
        sim.advance(2_345.678)
        entry = order("AAPL", "300", client_order_id=f"in-{round_}")
        legs = {"take_profit": {"limit_price": "600"}, "stop_loss": {"stop_price": "10"}}
        order("SPY", "7", kind="limit", limit_price="500", tif="gtc", order_class="bracket", **legs)
        order("BTC/USD", "0.01", tif="gtc")
        sim.advance(111)
        resting = order("AAPL", "5", "buy", "limit", "gtc", limit_price="100")
        sim.advance(77)
        call("PATCH", f"/v2/orders/{resting}", {"qty": "4"})
        for path in (f"orders/{entry}", "account", "positions"):
            call("GET", f"/v2/{path}")
        sim.advance(500)
        call("DELETE", f"/v2/orders/{resting}")
        order("AAPL", "1000000")
    sim.advance_to("2026-01-05T15:00:30Z")
    call("DELETE", "/v2/positions?cancel_orders=true")
    sim.advance(1000)
    sim.advance_to("2026-01-05T15:00:45Z")
    return sim.truth_bytes()


@pytest.mark.e2e
def test_the_same_script_leaves_the_same_bytes_in_every_process(monkeypatch):
    truths = []
    for hash_seed in ("1", "2"):  # the order of sets must not matter
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        with running_sim(**SESSION) as sim:
            truths.append(script(sim))
    assert os.environ["PYTHONHASHSEED"] == "2"
    with in_process_sim(**SESSION) as sim:
        truths.append(script(sim))
        sim.reset()
        truths.append(script(sim))
    assert all(left == right for left, right in pairwise(truths))
    truth = orjson.loads(truths[0])
    # It is about something: fills in parts, refusals and faults, notices, several symbols.
    assert len({fill["symbol"] for fill in truth["fills"]}) == 3
    assert "partially_filled" in {status for order in truth["orders"] for _, status in order["history"]}
    assert {200, 503} <= {request["status"] for request in truth["requests"]}
    assert len(truth["requests"]) > 25


@pytest.mark.e2e
def test_another_seed_leaves_another_truth():
    with in_process_sim(**SESSION) as sim:
        first = script(sim)
    with in_process_sim(**SESSION | {"seed": 12}) as sim:
        assert script(sim) != first


def test_a_tape_that_turns_out_to_be_unreadable_is_told_by_every_move(tmp_path):
    tape = tmp_path / "bad.csv"
    tape.write_text(
        "symbol,ts_local_ns,trade_id,price,qty,taker_side\n"
        "BTCUSDT,1767625200000000000,1,90000,1,buy\n"
        "BTCUSDT,1767625201000000000,2,no,1,buy\n"
    )
    with in_process_sim(tape=tape, clock="manual") as sim:
        for _ in range(2):
            with pytest.raises(SimError, match=r"bad\.csv:3: column price"):
                sim.advance(60_000)
        # What came before was played.
        _, raw = sim.call("GET", "/v1beta3/crypto/us/latest/trades?symbols=BTC/USD", None, 10)
        assert orjson.loads(raw)["trades"]["BTC/USD"]["p"] == 90_000


def test_time_ends_before_what_the_calendar_knows():
    with in_process_sim(clock="manual", start="2199-12-30T23:00:00Z", session="calendar") as sim:
        sim.advance(3_600_000)
        with pytest.raises(SimError, match="ends at 2199-12-31"):
            sim.advance(1)
        assert sim.call("GET", "/v2/clock", None, 10)[0] == 200
