from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from aiohttp import web
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hands.core.units import NANO, NS_PER_MS, NS_PER_S, Ns, Price, Qty, nano
from hands.sim.market.feeds import PLANS, Plan
from hands.sim.market.load import FIRST_CYCLE, Burst, LoadTape
from hands.sim.market.times import rfc3339
from hands.sim.server.clock import ManualClock, WallClock
from hands.sim.server.faults import Faults
from hands.sim.server.market_stream import TEST_STEP_MS, MarketHub
from hands.sim.venue.quirks import Quirks
from hands.sim.venue.ticks import (
    Cancellation,
    Correction,
    MarketEvent,
    PriceBand,
    Quote,
    Status,
    Trade,
)

NOW_NS = 1_700_000_000_123_456_789
MINUTE_NS = 60 * NS_PER_S
KEYS = {"sim": "sim"}
DEADLINE_S = 10.0
IEX, SIP, TEST, CRYPTO = "/v2/iex", "/v2/sip", "/v2/test", "/v1beta3/crypto/us"

AUTH = {"action": "auth", "key": "sim", "secret": "sim"}
QUOTE = Quote("AAPL", nano("149.98"), nano("150.00"), Qty(500 * NANO), Qty(300 * NANO), Ns(NOW_NS))
TRADE = Trade("AAPL", nano("150.01"), Qty(100 * NANO), Ns(NOW_NS), 7)
COIN_QUOTE = Quote("BTC/USD", nano("60000.1"), nano("60018.25"), nano("0.5"), nano("1.25"), Ns(NOW_NS))
COIN_TRADE = Trade("BTC/USD", nano("60018.25"), nano("0.000123"), Ns(NOW_NS), 2**60 + 1, "V", ("S",))


class Market:
    """A hub on a real port, with a clock that the test sets."""

    def __init__(self, url: str, hub: MarketHub, faults: Faults, clock: ManualClock) -> None:
        self.url = url
        self.hub = hub
        self.faults = faults
        self.clock = clock

    def wait(self, ns: int) -> None:
        """Let the clock go on."""
        self.clock.move_to(self.clock() + ns)


@asynccontextmanager
async def market(**options: Any) -> AsyncIterator[Market]:
    clock = ManualClock(NOW_NS)
    faults = Faults(WallClock())
    hub = MarketHub(clock, KEYS, faults, **options)
    app = web.Application()
    app.add_routes(hub.routes())
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield Market(f"ws://127.0.0.1:{port}", hub, faults, clock)
    finally:
        hub.close()
        await runner.cleanup()


def run(scenario: Callable[[Market], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with market(**options) as venue, asyncio.timeout(DEADLINE_S * 2):
            await scenario(venue)

    asyncio.run(main())


def price(text: str) -> Price:
    return Price(nano(text))


async def receive(ws: ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(ws.recv(), DEADLINE_S))


async def say(ws: ClientConnection, message: Any) -> None:
    await ws.send(message if isinstance(message, str) else json.dumps(message))


async def ask(ws: ClientConnection, message: Any) -> Any:
    await say(ws, message)
    return await receive(ws)


def success(message: str) -> list[dict[str, str]]:
    return [{"T": "success", "msg": message}]


@asynccontextmanager
async def client(
    venue: Market, path: str = IEX, **subscription: list[str]
) -> AsyncIterator[ClientConnection]:
    async with connect(venue.url + path, compression=None) as ws:
        assert await receive(ws) == success("connected")
        assert await ask(ws, AUTH) == success("authenticated")
        if subscription:
            (ack,) = await ask(ws, {"action": "subscribe", **subscription})
            assert ack["T"] == "subscription"
        yield ws


async def until_connected(venue: Market, count: int) -> None:
    """Wait until the hub has at most `count` connections; a scenario's deadline bounds it."""
    while len(venue.hub._connections) > count:  # noqa: ASYNC110 - nobody announces it
        await asyncio.sleep(0.001)


async def error_of(ws: ClientConnection, message: Any) -> int:
    (answer,) = await ask(ws, message)
    assert answer["T"] == "error"
    assert isinstance(answer["msg"], str)
    return int(answer["code"])


# -- greeting, authentication, subscription -----------------------------------------------------------------


def test_a_client_is_greeted_authenticated_and_told_its_complete_subscription() -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, IEX, quotes=["SPY", "AAPL"]) as ws:
            ack = await ask(ws, {"action": "subscribe", "trades": ["AAPL"], "bars": ["*"]})
            assert ack == [
                {
                    "T": "subscription",
                    "trades": ["AAPL"],
                    "quotes": ["AAPL", "SPY"],
                    "bars": ["*"],
                    "updatedBars": [],
                    "dailyBars": [],
                    "statuses": [],
                    "lulds": [],
                    "corrections": ["AAPL"],
                    "cancelErrors": ["AAPL"],
                }
            ]
            (ack,) = await ask(ws, {"action": "unsubscribe", "quotes": ["SPY"], "trades": ["AAPL"]})
            assert (ack["trades"], ack["quotes"], ack["corrections"]) == ([], ["AAPL"], [])

    run(scenario)


def test_the_crypto_and_test_feeds_acknowledge_their_own_channels() -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, CRYPTO) as ws:
            (ack,) = await ask(ws, {"action": "subscribe", "trades": ["BTC/USD"], "orderbooks": ["BTC/USD"]})
            assert list(ack) == ["T", "trades", "quotes", "orderbooks", "bars", "updatedBars", "dailyBars"]
        async with client(venue, TEST) as ws:
            (ack,) = await ask(ws, {"action": "subscribe", "trades": ["FAKEPACA"]})
            assert ack == {"T": "subscription", "trades": ["FAKEPACA"], "quotes": [], "bars": []}

    run(scenario)


@pytest.mark.parametrize(
    "headers",
    [
        {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"},
        {"Authorization": "Basic " + base64.b64encode(b"sim:sim").decode()},
    ],
)
def test_credentials_in_the_headers_authenticate(headers: dict[str, str]) -> None:
    async def scenario(venue: Market) -> None:
        async with connect(venue.url + IEX, additional_headers=headers) as ws:
            assert await receive(ws) == success("connected")
            assert await receive(ws) == success("authenticated")
            assert await error_of(ws, AUTH) == 403

    run(scenario)


@pytest.mark.parametrize(
    "auth",
    [
        {"action": "auth", "key": "sim", "secret": "wrong"},
        {"action": "auth", "key": "other", "secret": "sim"},
        {"action": "auth", "key": 1, "secret": None},
        {"action": "auth"},
        {"action": "auth", "key": "\u00e9", "secret": "\u00e9"},
    ],
)
def test_wrong_credentials_are_refused_with_402_and_the_connection_ends(auth: dict[str, Any]) -> None:
    async def scenario(venue: Market) -> None:
        async with connect(venue.url + IEX) as ws:
            await receive(ws)
            assert await error_of(ws, auth) == 402
            with pytest.raises(ConnectionClosed):
                await receive(ws)

    run(scenario)


def test_a_client_that_never_authenticates_is_told_404_and_dropped() -> None:
    async def scenario(venue: Market) -> None:
        async with connect(venue.url + IEX) as ws:
            await receive(ws)
            assert await receive(ws) == [{"T": "error", "code": 404, "msg": "auth timeout"}]
            with pytest.raises(ConnectionClosed):
                await receive(ws)

    run(scenario, auth_timeout_s=0.05)


def test_a_second_connection_to_an_endpoint_gets_406_and_the_first_lives_on() -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, IEX, quotes=["AAPL"]) as first:
            async with connect(venue.url + IEX) as second:
                await receive(second)
                assert await error_of(second, AUTH) == 406
            async with client(venue, SIP):
                venue.hub.publish([QUOTE])
                assert (await receive(first))[0]["S"] == "AAPL"

    run(scenario)


def test_the_endpoint_is_free_again_when_the_connection_has_gone() -> None:
    async def scenario(venue: Market) -> None:
        for _ in range(3):
            async with client(venue, IEX):
                pass
            await until_connected(venue, 0)

    run(scenario)


def test_each_misuse_has_its_code_and_leaves_the_connection_open() -> None:
    async def scenario(venue: Market) -> None:
        async with connect(venue.url + IEX) as ws:
            await receive(ws)
            assert await error_of(ws, {"action": "subscribe", "trades": ["AAPL"]}) == 401
            assert await error_of(ws, "{not json") == 400
            assert await error_of(ws, "[]") == 400
            assert await ask(ws, AUTH) == success("authenticated")
            assert await error_of(ws, AUTH) == 403
            assert await error_of(ws, {"action": "dance"}) == 400
            assert await error_of(ws, {"action": "subscribe", "trades": "AAPL"}) == 400
            assert await error_of(ws, {"action": "subscribe", "trades": [7]}) == 400
            assert await error_of(ws, {"action": "subscribe", "trades": ["BTC/USD"]}) == 400
            assert await error_of(ws, {"action": "subscribe", "candles": ["AAPL"]}) == 400
            assert await error_of(ws, {"action": "subscribe", "orderbooks": ["AAPL"]}) == 410
            (ack,) = await ask(ws, {"action": "subscribe", "trades": ["AAPL"]})
            assert ack["trades"] == ["AAPL"]

    run(scenario)


def test_a_refused_subscription_changes_nothing() -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, IEX, quotes=["AAPL"]) as ws:
            assert await error_of(ws, {"action": "subscribe", "trades": ["SPY", "MSFT"]}) == 405
            assert await error_of(ws, {"action": "subscribe", "quotes": ["*"]}) == 405
            (ack,) = await ask(
                ws, {"action": "subscribe", "trades": ["AAPL", "SPY"], "bars": ["A", "B", "C"]}
            )
            assert (ack["trades"], ack["quotes"]) == (["AAPL", "SPY"], ["AAPL"])

    run(scenario, plan=Plan(symbols_max=2, is_sip_allowed=True))


def test_the_basic_plan_has_thirty_symbols_and_no_sip() -> None:
    async def scenario(venue: Market) -> None:
        names = [f"A{number}" for number in range(31)]
        async with client(venue, IEX, trades=names[:20], quotes=names[10:30], bars=names) as ws:
            assert await error_of(ws, {"action": "subscribe", "quotes": [names[30]]}) == 405
        async with connect(venue.url + SIP) as ws:
            await receive(ws)
            assert await error_of(ws, AUTH) == 409

    run(scenario, plan=PLANS["basic"])


# -- habits nobody has confirmed ------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [402, 404, 406])
@pytest.mark.parametrize("habit", ["closed", "open"])
def test_after_an_error_at_authentication_the_connection_ends_or_stays(habit: str, code: int) -> None:
    async def scenario(venue: Market) -> None:
        async with AsyncExitStack() as first, connect(venue.url + IEX) as ws:
            await receive(ws)
            if code == 406:
                await first.enter_async_context(client(venue, IEX))
                assert await error_of(ws, AUTH) == 406
            elif code == 402:
                assert await error_of(ws, AUTH | {"secret": "wrong"}) == 402
            else:
                assert (await receive(ws))[0]["code"] == 404
            await first.aclose()
            await until_connected(venue, 1)
            if habit == "open":
                assert await ask(ws, AUTH) == success("authenticated")
            else:
                with pytest.raises(ConnectionClosed):
                    await ask(ws, AUTH)

    timeout_s = 0.05 if code == 404 else 10.0
    run(scenario, quirks=Quirks(data_error_close=habit), auth_timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("habit", "said"), [("both", ["connected", "authenticated"]), ("authenticated", ["authenticated"])]
)
def test_keys_in_the_headers_are_greeted_once_or_twice(habit: str, said: list[str]) -> None:
    async def scenario(venue: Market) -> None:
        headers = {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"}
        async with connect(venue.url + IEX, additional_headers=headers) as ws:
            for word in said:
                assert await receive(ws) == success(word)
            assert (await ask(ws, {"action": "subscribe"}))[0]["T"] == "subscription"
        async with connect(venue.url + IEX) as ws:
            assert await receive(ws) == success("connected")

    run(scenario, quirks=Quirks(header_auth_greeting=habit))


@pytest.mark.parametrize("habit", ["none", "90s"])
@pytest.mark.parametrize("is_polite", [True, False])
def test_a_connection_that_vanished_may_count_for_a_while(habit: str, is_polite: bool) -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, IEX) as ws:
            if not is_polite:
                ws.transport.abort()
        await until_connected(venue, 0)
        counts = habit == "90s" and not is_polite
        async with connect(venue.url + IEX) as ws:
            await receive(ws)
            answer = (await ask(ws, AUTH))[0]
            assert answer.get("code") == (406 if counts else None)
        await until_connected(venue, 0)
        venue.wait(90 * NS_PER_S)
        async with client(venue, IEX):
            pass

    run(scenario, quirks=Quirks(linger=habit))


# -- data ---------------------------------------------------------------------------------------------------


def test_stock_messages_have_the_venues_shape_in_one_frame_per_publish() -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, IEX, quotes=["AAPL"], trades=["*"]) as ws:
            venue.hub.publish([QUOTE, TRADE, COIN_TRADE])
            stamp = "2023-11-14T22:13:20.123456789Z"
            assert await receive(ws) == [
                {
                    "T": "q", "S": "AAPL", "bx": "V", "bp": 149.98, "bs": 500, "ax": "V", "ap": 150.0, "as": 300,
                    "c": ["R"], "z": "C", "t": stamp,
                },
                {"T": "t", "S": "AAPL", "i": 7, "x": "V", "p": 150.01, "s": 100, "c": ["@"], "z": "C", "t": stamp},
            ]  # fmt: skip

    run(scenario)


def test_crypto_messages_have_the_venues_shape() -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, CRYPTO, quotes=["BTC/USD"], trades=["BTC/USD"], orderbooks=["*"]) as ws:
            venue.hub.publish([TRADE, COIN_QUOTE, COIN_TRADE])
            quote, book, trade = await receive(ws)
            stamp = rfc3339(NOW_NS)
            sides = {"bp": 60000.1, "bs": 0.5, "ap": 60018.25, "as": 1.25}
            assert quote == {"T": "q", "S": "BTC/USD", **sides, "t": stamp}
            assert book["b"] == [{"p": 60000.1, "s": 0.5}]
            assert (book["T"], book["r"]) == ("o", True)
            assert trade == {
                "T": "t", "S": "BTC/USD", "i": 2**60 + 1, "p": 60018.25, "s": 0.000123, "tks": "S", "t": stamp,
            }  # fmt: skip

    run(scenario)


NOTICES: list[MarketEvent] = [
    Status("AAPL", "H", "Trading Halt", "T12", "Trading Halted; For information requested", Ns(NOW_NS)),
    PriceBand("AAPL", price("157.5"), price("142.5"), "B", Ns(NOW_NS)),
    Correction("AAPL", TRADE, Trade("AAPL", price("150.02"), Qty(90 * NANO), Ns(NOW_NS), 8), Ns(NOW_NS)),
    Cancellation("AAPL", TRADE, Ns(NOW_NS), "E"),
]
STAMP = "2023-11-14T22:13:20.123456789Z"
SHAPES = {
    "s": {
        "sc": "H", "sm": "Trading Halt", "rc": "T12", "rm": "Trading Halted; For information requested",
    },
    "l": {"u": 157.5, "d": 142.5, "i": "B"},
    "c": {
        "x": "V", "oi": 7, "op": 150.01, "os": 100, "oc": ["@"], "ci": 8, "cp": 150.02, "cs": 90, "cc": ["@"],
    },
    "x": {"i": 7, "x": "V", "p": 150.01, "s": 100, "a": "E"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("subscription", "kinds"),
    [
        ({"statuses": ["*"]}, ["s"]),
        ({"lulds": ["AAPL"]}, ["l"]),
        ({"trades": ["AAPL"]}, ["t", "c", "x"]),
        ({"trades": ["*"], "statuses": ["AAPL"], "lulds": ["*"]}, ["t", "s", "l", "c", "x"]),
        ({"quotes": ["*"], "statuses": ["SPY"]}, ["q"]),
    ],
)
def test_notices_have_the_venues_shape_and_follow_their_subscription(
    subscription: dict[str, list[str]], kinds: list[str]
) -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, IEX, **subscription) as ws:
            venue.hub.publish([TRADE, QUOTE, *NOTICES] if kinds == ["q"] else [TRADE, *NOTICES])
            messages = await receive(ws)
            assert [message["T"] for message in messages] == kinds
            for message in messages:
                if message["T"] in SHAPES:
                    shape = {"S": "AAPL", **SHAPES[message["T"]], "z": "C", "t": STAMP}
                    assert message == {"T": message["T"], **shape}

    run(scenario)


def coin_quote(bid: str, bid_size: str, ask: str, ask_size: str) -> Quote:
    return Quote("BTC/USD", price(bid), price(ask), Qty(nano(bid_size)), Qty(nano(ask_size)), Ns(NOW_NS))


def test_an_order_book_is_whole_at_first_and_then_what_changed() -> None:
    async def scenario(venue: Market) -> None:
        publish = venue.hub.publish
        async with client(venue, CRYPTO, orderbooks=["BTC/USD"]) as ws:
            publish([coin_quote("60000", "1", "60010", "2")])
            (book,) = await receive(ws)
            whole = {"b": [{"p": 60000.0, "s": 1.0}], "a": [{"p": 60010.0, "s": 2.0}], "r": True}
            assert book == {"T": "o", "S": "BTC/USD", **whole, "t": STAMP}
            publish([coin_quote("60000", "1", "60010", "2")])  # nothing new
            publish([coin_quote("60001", "1.5", "60010", "2")])
            (book,) = await receive(ws)
            assert (book["r"], book["a"]) == (False, [])
            assert book["b"] == [{"p": 60000.0, "s": 0.0}, {"p": 60001.0, "s": 1.5}]
            publish([coin_quote("60001", "1.5", "60010", "0.5")])
            (book,) = await receive(ws)
            assert (book["b"], book["a"]) == ([], [{"p": 60010.0, "s": 0.5}])
            await ask(ws, {"action": "unsubscribe", "orderbooks": ["BTC/USD"]})
            await ask(ws, {"action": "subscribe", "orderbooks": ["*"]})
            (book,) = await receive(ws)  # who comes later starts with the whole book, at once
            assert (book["r"], book["b"]) == (True, [{"p": 60001.0, "s": 1.5}])
            await ask(ws, {"action": "subscribe", "orderbooks": ["BTC/USD"], "quotes": ["BTC/USD"]})
            publish([coin_quote("60001", "1", "60010", "0.5")])
            quote, book = await receive(ws)  # and is not told it twice
            assert (quote["T"], book["r"]) == ("q", False)
            venue.hub.reset(Quirks())
            publish([coin_quote("50000", "1", "50010", "1")])
            assert (await receive(ws))[1]["r"] is True

    run(scenario)


def test_only_what_is_subscribed_to_arrives() -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, IEX, trades=["SPY"], quotes=["AAPL"]) as ws:
            spy = Trade("SPY", nano("450"), Qty(NANO), Ns(NOW_NS), 1)
            venue.hub.publish([TRADE])
            venue.hub.publish([TRADE, spy, COIN_QUOTE])
            assert [message["S"] for message in await receive(ws)] == ["SPY"]
            await ask(ws, {"action": "unsubscribe", "trades": ["SPY"]})
            venue.hub.publish([spy])
            venue.hub.publish([QUOTE])
            assert [message["T"] for message in await receive(ws)] == ["q"]

    run(scenario)


def test_msgpack_both_ways_with_nanosecond_timestamps() -> None:
    def timestamp(code: int, data: memoryview) -> int:
        assert code == -1
        if len(data) == 4:
            return int(struct.unpack(">I", data)[0]) * NS_PER_S
        (both,) = struct.unpack(">Q", data)
        return (both & (2**34 - 1)) * NS_PER_S + (both >> 34)

    # The decoder turns extension -1 into a datetime, which has no nanoseconds: read it under another code.
    def decode(frame: bytes) -> Any:
        raw = frame.replace(b"\xd7\xff", b"\xd7\x01").replace(b"\xd6\xff", b"\xd6\x01")
        return msgspec.msgpack.decode(raw, ext_hook=lambda _, data: timestamp(-1, data))

    async def scenario(venue: Market) -> None:
        headers = {"Content-Type": "application/msgpack"}
        async with connect(venue.url + IEX, additional_headers=headers, compression=None) as ws:
            assert decode(await ws.recv(decode=False)) == success("connected")
            await ws.send(msgspec.msgpack.encode(AUTH))
            assert decode(await ws.recv(decode=False)) == success("authenticated")
            await ws.send(
                msgspec.msgpack.encode({"action": "subscribe", "quotes": ("AAPL",), "trades": ["*"]})
            )
            assert decode(await ws.recv(decode=False))[0]["quotes"] == ["AAPL"]
            whole = Trade("AAPL", nano("150"), Qty(NANO), Ns(NOW_NS // NS_PER_S * NS_PER_S), 8)
            venue.hub.publish([QUOTE, *[TRADE] * 20, whole])
            messages = decode(await ws.recv(decode=False))
            assert len(messages) == 22
            assert (messages[0]["bp"], messages[0]["bs"], messages[0]["t"]) == (149.98, 500, NOW_NS)
            assert messages[-1]["t"] == whole.t_ns
            await ws.send(b"\xc1")
            assert decode(await ws.recv(decode=False))[0]["code"] == 400

    run(scenario)


def test_deflate_is_not_used_unless_offered() -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, IEX, trades=["*"]) as ws:
            assert ws.response is not None
            assert "Sec-WebSocket-Extensions" not in ws.response.headers

    run(scenario)


def test_deflate_is_accepted_when_offered() -> None:
    async def scenario(venue: Market) -> None:
        async with connect(venue.url + IEX, compression="deflate") as ws:
            assert ws.response is not None
            assert "permessage-deflate" in ws.response.headers["Sec-WebSocket-Extensions"]
            await receive(ws)
            await ask(ws, AUTH)
            await ask(ws, {"action": "subscribe", "trades": ["*"]})
            venue.hub.publish([TRADE] * 100)
            assert len(await receive(ws)) == 100

    run(scenario)


def test_the_test_feed_moves_by_itself_and_carries_nothing_else() -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, TEST, quotes=["*"], trades=["*"]) as ws:
            venue.hub.publish([QUOTE])
            for step in (1, 2):
                venue.wait(TEST_STEP_MS * NS_PER_MS)
                messages = await receive(ws)
                assert {message["S"] for message in messages} == {"FAKEPACA"}
                shown_ns = NOW_NS + step * TEST_STEP_MS * NS_PER_MS
                assert {message["t"] for message in messages} == {rfc3339(shown_ns)}

    run(scenario)


def test_a_reset_begins_the_test_feeds_market_again() -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, TEST, quotes=["*"], trades=["*"]) as ws:

            async def step() -> list[dict[str, Any]]:
                await asyncio.sleep(0)  # a market that has just begun goes to sleep
                venue.wait(TEST_STEP_MS * NS_PER_MS)
                return [{**message, "t": ""} for message in await receive(ws)]

            first = [await step(), await step()]
            assert first[0] != first[1]
            venue.hub.reset(Quirks())
            assert [await step(), await step()] == first

    run(scenario)


# -- bars ---------------------------------------------------------------------------------------------------


def trade_at(t_ns: int, price: str, size: int, symbol: str = "AAPL") -> Trade:
    return Trade(symbol, Price(nano(price)), Qty(size * NANO), Ns(t_ns), 1)


def test_a_minute_bar_follows_its_minute_with_the_day_so_far_and_a_late_print_corrects_it() -> None:
    async def scenario(venue: Market) -> None:
        start_ns = NOW_NS // MINUTE_NS * MINUTE_NS
        async with client(venue, IEX, bars=["*"], updatedBars=["*"], dailyBars=["AAPL"]) as ws:
            prices = ["150", "151.5", "149", "150.5"]
            venue.hub.publish([trade_at(start_ns + n * NS_PER_S, p, 100) for n, p in enumerate(prices)])
            venue.clock.move_to(start_ns + MINUTE_NS)
            venue.hub.publish_bars()
            bar, day = await receive(ws)
            values = {"o": 150.0, "h": 151.5, "l": 149.0, "c": 150.5, "v": 400, "n": 4, "vw": 150.25}
            assert bar == {"T": "b", "S": "AAPL", **values, "t": rfc3339(start_ns)}
            assert day == {"T": "d", "S": "AAPL", **values, "t": "2023-11-14T05:00:00Z"}
            venue.hub.publish([trade_at(start_ns + 2 * NS_PER_S + 1, "140", 100)])
            venue.wait(30 * NS_PER_S)
            venue.hub.publish_bars()
            (corrected,) = await receive(ws)
            assert (corrected["T"], corrected["l"], corrected["c"], corrected["n"]) == ("u", 140.0, 150.5, 5)

    run(scenario)


def test_a_crypto_pair_without_trades_has_a_bar_of_its_mids_and_a_stock_has_none() -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, CRYPTO, bars=["*"]) as ws:
            venue.hub.publish([QUOTE, COIN_QUOTE])
            venue.wait(MINUTE_NS)
            venue.hub.publish_bars()
            (bar,) = await receive(ws)
            assert (bar["S"], bar["o"], bar["v"], bar["n"], bar["vw"]) == ("BTC/USD", 60009.175, 0.0, 0, 0.0)

    run(scenario)


def test_the_hub_says_when_it_will_have_bars_to_send() -> None:
    async def scenario(venue: Market) -> None:
        start_ns = NOW_NS // MINUTE_NS * MINUTE_NS
        assert venue.hub.next_due_ns is None
        venue.hub.publish([trade_at(NOW_NS, "150", 100)])
        assert venue.hub.next_due_ns == start_ns + MINUTE_NS
        venue.clock.move_to(start_ns + MINUTE_NS)
        venue.hub.publish_bars()
        assert venue.hub.next_due_ns is None

    run(scenario)


# -- faults and slow clients --------------------------------------------------------------------------------


def fault(do: str, **more: Any) -> dict[str, Any]:
    return {"on": "market_data", "do": do, **more}


def trades(*numbers: int) -> list[MarketEvent]:
    return [Trade("AAPL", nano("150"), Qty(NANO), Ns(NOW_NS), number) for number in numbers]


async def ids(ws: ClientConnection, frames: int) -> list[int]:
    return [message["i"] for _ in range(frames) for message in await receive(ws)]


async def until_closed(ws: ClientConnection) -> AsyncIterator[str | bytes]:
    try:
        while True:
            yield await asyncio.wait_for(ws.recv(), DEADLINE_S)
    except ConnectionClosed:
        return


def publish_each(venue: Market, ticks: Sequence[MarketEvent]) -> None:
    for tick in ticks:
        venue.hub.publish([tick])


@pytest.mark.parametrize(
    ("do", "expected"),
    [
        (fault("mute", times=2), [3, 4]),
        (fault("duplicate", times=1), [1, 1, 2, 3, 4]),
        (fault("reorder", times=1), [2, 3, 4, 1]),
        (fault("delay", times=1, delay_ms=30), [1, 2, 3, 4]),
    ],
)
def test_stream_faults_act_on_frames(do: dict[str, Any], expected: list[int]) -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, IEX, trades=["AAPL"]) as ws:
            venue.faults.install([do])
            publish_each(venue, trades(1, 2, 3, 4))
            assert await ids(ws, len(expected)) == expected

    run(scenario)


def test_a_delayed_stream_keeps_its_order() -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, IEX, trades=["AAPL"]) as ws:
            venue.faults.install([fault("delay", times=50, delay_ms=5)])
            publish_each(venue, trades(*range(300)))
            assert await ids(ws, 300) == list(range(300))

    run(scenario)


def test_disconnect_drops_every_connection_and_refuse_reconnect_keeps_them_out() -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, IEX, trades=["AAPL"]) as ws:
            venue.faults.install([fault("disconnect"), fault("refuse_reconnect", times=1)])
            with pytest.raises(ConnectionClosed):
                await receive(ws)
            with pytest.raises(InvalidStatus, match="429"):
                await connect(venue.url + IEX)
        await until_connected(venue, 0)
        async with client(venue, IEX, trades=["AAPL"]) as again:
            publish_each(venue, trades(5))
            assert await ids(again, 1) == [5]

    run(scenario)


def test_a_slow_client_is_dropped_with_407_and_the_others_are_not_held_up() -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, SIP, trades=["AAPL"]) as quick, client(venue, IEX, trades=["AAPL"]) as slow:
            slow.transport.pause_reading()
            batch = trades(*range(500))
            sent = 0
            slow_side = next(c for c in venue.hub._connections if c.feed.path == IEX)
            while not slow_side.is_closing:
                venue.hub.publish(batch)
                sent += 1
                assert slow_side.outbox_bytes <= slow_side.outbox_bytes_max + 200_000
                assert len(await receive(quick)) == 500
            assert sent > 1
            while slow_side in venue.hub._connections:  # noqa: ASYNC110 - bounded by the scenario's deadline
                await asyncio.sleep(0.01)
            slow.transport.resume_reading()
            received = [json.loads(frame)[0] async for frame in until_closed(slow)]
            assert {m["T"] for m in received[:-1]} <= {"t"}
            assert len(received) < sent + 1

    run(scenario, outbox_bytes_max=1_000_000)


def test_a_burst_over_the_bound_is_answered_with_407() -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, IEX, trades=["AAPL"]) as ws:
            for _ in range(30):
                venue.hub.publish(trades(*range(100)))
            assert (await receive(ws))[0]["code"] == 407
            with pytest.raises(ConnectionClosed):
                await receive(ws)

    run(scenario, outbox_bytes_max=100_000)


# -- the prepared load --------------------------------------------------------------------------------------

LOADED = ("AAPL", "SPY", "BTC/USD")
FRAME = 20


def load_tape() -> LoadTape:
    return LoadTape(LOADED, 1, lambda: NOW_NS, frame=FRAME)


def publish_load(venue: Market, load: LoadTape, first: int, count: int) -> Burst:
    burst = Burst(load, first, count, FIRST_CYCLE, Ns(NOW_NS))
    venue.hub.publish_load(burst, burst.ticks(set()))
    return burst


def expected_frames(load: LoadTape, first: int, count: int) -> list[Any]:
    """Return the stocks' trades and quotes of some frames, as (type, symbol, trade id)."""
    frames = []
    for number in range(first, first + count):
        burst = Burst(load, number, 1, FIRST_CYCLE, Ns(NOW_NS))
        ticks = load.ticks(burst, {"AAPL", "SPY"})
        frames.append(
            [("t", t.symbol, t.trade_id) if isinstance(t, Trade) else ("q", t.symbol, 0) for t in ticks]
        )
    return [frame for frame in frames if frame]


async def next_frames(ws: ClientConnection, count: int) -> list[Any]:
    return [[(m["T"], m["S"], m.get("i", 0)) for m in await receive(ws)] for _ in range(count)]


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_load_arrives_frame_by_frame_between_what_else_is_sent(compression: str | None) -> None:
    async def scenario(venue: Market) -> None:
        load = load_tape()
        wanted = {"action": "subscribe", "trades": ["*"], "quotes": ["*"]}
        async with connect(venue.url + IEX, compression=compression) as ws:
            await receive(ws)
            await ask(ws, AUTH)
            publish_load(venue, load, 0, 3)  # nobody wants it yet
            await ask(ws, wanted)
            publish_load(venue, load, 0, 4)
            venue.hub.publish([QUOTE])
            publish_load(venue, load, 4, 1)
            expected = expected_frames(load, 0, 4)
            assert await next_frames(ws, len(expected)) == expected
            assert await next_frames(ws, 1) == [[("q", "AAPL", 0)]]
            assert await next_frames(ws, 1) == expected_frames(load, 4, 1)
            await ask(ws, {"action": "unsubscribe", "quotes": ["*"]})
            publish_load(venue, load, 0, 4)
            only_trades = [[m for m in frame if m[0] == "t"] for frame in expected]
            only_trades = [frame for frame in only_trades if frame]
            assert await next_frames(ws, len(only_trades)) == only_trades

    run(scenario)


@pytest.mark.parametrize(
    ("do", "order"),
    [
        (fault("mute", times=2), [2, 3]),
        (fault("duplicate", times=1), [0, 0, 1, 2, 3]),
        (fault("reorder", times=1), [1, 2, 3, 0]),
        (fault("delay", times=1, delay_ms=30), [0, 1, 2, 3]),
    ],
)
def test_faults_act_on_the_frames_of_a_load(do: dict[str, Any], order: list[int]) -> None:
    async def scenario(venue: Market) -> None:
        load = load_tape()
        async with client(venue, IEX, trades=["*"], quotes=["*"]) as ws:
            venue.faults.install([do])
            publish_load(venue, load, 0, 1)
            publish_load(venue, load, 1, 3)
            each = expected_frames(load, 0, 4)
            assert await next_frames(ws, len(order)) == [each[number] for number in order]

    run(scenario)


def test_a_client_too_slow_for_the_load_is_told_407() -> None:
    async def scenario(venue: Market) -> None:
        load = load_tape()
        async with client(venue, SIP, trades=["*"], quotes=["*"]) as slow:
            slow.transport.pause_reading()
            (slow_side,) = venue.hub._connections
            bursts = 0
            while not slow_side.is_closing:
                publish_load(venue, load, 0, 100)
                bursts += 1
                assert slow_side.outbox_bytes <= slow_side.outbox_bytes_max + 400_000
                await asyncio.sleep(0)
            await until_connected(venue, 0)
            slow.transport.resume_reading()
            received = [json.loads(frame) async for frame in until_closed(slow)]
            assert bursts > 5
            assert len(received) < bursts * 100

    run(scenario, outbox_bytes_max=1_000_000)


def test_a_load_makes_bars_of_what_was_recorded() -> None:
    async def scenario(venue: Market) -> None:
        load = load_tape()
        async with client(venue, IEX, bars=["*"]) as ws:
            burst = Burst(load, 0, 10, FIRST_CYCLE, Ns(NOW_NS))
            ticks = burst.ticks({"AAPL"})
            venue.hub.publish_load(burst, ticks)
            venue.wait(MINUTE_NS)
            venue.hub.publish_bars()
            (bar,) = await receive(ws)
            assert (bar["S"], bar["n"]) == ("AAPL", sum(isinstance(tick, Trade) for tick in ticks))

    run(scenario)


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_nesting_without_end_is_invalid_syntax(encoding: str) -> None:
    async def scenario(venue: Market) -> None:
        headers = {"Content-Type": f"application/{encoding}"}
        async with connect(venue.url + IEX, compression=None, additional_headers=headers) as ws:
            await ws.recv()
            await ws.send("[" * 100_000 if encoding == "json" else b"\x91" * 100_000)
            raw = await asyncio.wait_for(ws.recv(), DEADLINE_S)
            (answer,) = json.loads(raw) if encoding == "json" else msgspec.msgpack.decode(raw)
            assert answer["code"] == 400

    run(scenario)


def test_a_long_publication_comes_in_frames_that_clients_take() -> None:
    async def scenario(venue: Market) -> None:
        async with client(venue, quotes=["AAPL"]) as ws:
            bids = [NANO + cent * NANO // 100 for cent in range(10_000)]
            venue.hub.publish([replace(QUOTE, bid=Price(bid)) for bid in bids])
            got: list[float] = []
            while len(got) < len(bids):
                got += [message["bp"] for message in await receive(ws)]
            assert got == [bid / NANO for bid in bids]

    run(scenario)
