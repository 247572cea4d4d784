from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession, web

from hands.core.units import NANO, NS_PER_S, Ns, Qty, nano
from hands.sim.market.bars import MINUTE_NS
from hands.sim.market.codec import rfc3339
from hands.sim.server.history import MINUTES_MAX, TICKS_MAX, History
from hands.sim.venue.ticks import Quote, Trade

DAY_START_NS = 1_700_006_400 * NS_PER_S  # 2023-11-15T00:00:00Z
START_NS = DAY_START_NS + 15 * 60 * MINUTE_NS
NOW_NS = START_NS + 120 * MINUTE_NS
HEADERS = {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"}

Get = Callable[..., Awaitable[tuple[int, Any]]]


def history() -> History:
    return History(lambda: NOW_NS, {"sim": "sim"})


def trade(t_ns: int, price: str = "150", size: int = 100, symbol: str = "AAPL", trade_id: int = 1) -> Trade:
    return Trade(symbol, nano(price), Qty(size * NANO), Ns(t_ns), trade_id)


def quote(t_ns: int, bid: str = "149.98", ask: str = "150.00", symbol: str = "AAPL") -> Quote:
    return Quote(symbol, nano(bid), nano(ask), Qty(500 * NANO), Qty(300 * NANO), Ns(t_ns))


def run(market: History, scenario: Callable[[Get], Awaitable[None]]) -> None:
    async def main() -> None:
        app = web.Application()
        app.add_routes(market.routes())
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with ClientSession(base) as session, asyncio.timeout(20):

                async def get(
                    path: str, headers: dict[str, str] | None = None, **params: str | int
                ) -> tuple[int, Any]:
                    async with session.get(
                        path, params=params, headers=HEADERS if headers is None else headers
                    ) as answer:
                        return answer.status, await answer.json()

                await scenario(get)
        finally:
            await runner.cleanup()

    asyncio.run(main())


def test_the_latest_quote_is_exact_as_soon_as_it_is_recorded() -> None:
    market = history()

    async def scenario(get: Get) -> None:
        for cents in range(5):
            market.record([quote(START_NS + cents, f"149.9{cents}", "150.01")])
            status, body = await get("/v2/stocks/AAPL/quotes/latest", feed="iex")
            assert status == 200
            assert body == {
                "symbol": "AAPL",
                "quote": {
                    "bx": "V", "bp": float(f"149.9{cents}"), "bs": 500, "ax": "V", "ap": 150.01, "as": 300,
                    "c": ["R"], "z": "C", "t": rfc3339(START_NS + cents),
                },
            }  # fmt: skip

    run(market, scenario)


def test_latest_answers_leave_out_what_is_not_known() -> None:
    market = history()
    market.record([quote(START_NS), trade(START_NS), quote(START_NS, "1", "2", "BTC/USD")])

    async def scenario(get: Get) -> None:
        _, body = await get("/v2/stocks/quotes/latest", symbols="AAPL,MSFT")
        assert list(body["quotes"]) == ["AAPL"]
        _, body = await get("/v2/stocks/trades/latest", symbols="AAPL")
        assert body["trades"]["AAPL"]["p"] == 150.0
        _, body = await get("/v1beta3/crypto/us/latest/quotes", symbols="BTC/USD,ETH/USD")
        assert body == {
            "quotes": {"BTC/USD": {"bp": 1.0, "bs": 500.0, "ap": 2.0, "as": 300.0, "t": rfc3339(START_NS)}}
        }
        _, body = await get("/v1beta3/crypto/us/latest/trades", symbols="BTC/USD")
        assert body == {"trades": {}}
        status, body = await get("/v2/stocks/MSFT/quotes/latest")
        assert (status, body) == (404, {"message": "no quote found for MSFT"})

    run(market, scenario)


def test_trades_are_selected_by_time_inclusively_and_sorted() -> None:
    market = history()
    market.record([trade(START_NS + n * NS_PER_S, trade_id=n) for n in range(10)])

    async def scenario(get: Get) -> None:
        span = {"start": rfc3339(START_NS + 2 * NS_PER_S), "end": rfc3339(START_NS + 5 * NS_PER_S)}
        status, body = await get("/v2/stocks/AAPL/trades", **span)
        assert status == 200
        assert (body["symbol"], body["next_page_token"]) == ("AAPL", None)
        assert [item["i"] for item in body["trades"]] == [2, 3, 4, 5]
        assert list(body["trades"][0]) == ["i", "x", "p", "s", "c", "z", "t"]
        _, body = await get("/v2/stocks/AAPL/trades", sort="desc", **span)
        assert [item["i"] for item in body["trades"]] == [5, 4, 3, 2]
        _, body = await get("/v2/stocks/AAPL/trades", start="2023-11-15", end="2023-11-15")
        assert len(body["trades"]) == 10
        _, body = await get("/v2/stocks/AAPL/trades", start="2024-01-01")
        assert body == {"trades": None, "symbol": "AAPL", "next_page_token": None}

    run(market, scenario)


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_give_every_item_once_even_when_many_share_a_time_and_more_arrives(
    sort: str, limit: int
) -> None:
    market = history()
    market.record([trade(START_NS + n // 4, symbol="AAPL", trade_id=n) for n in range(11)])
    market.record([trade(START_NS + n // 4, symbol="SPY", trade_id=100 + n) for n in range(6)])

    async def scenario(get: Get) -> None:
        seen: list[int] = []
        token = ""
        while token is not None:
            page = {"page_token": token} if token else {}
            _, body = await get(
                "/v2/stocks/trades", symbols="SPY,AAPL", limit=limit, sort=sort, start="2023-11-15", **page
            )
            assert sum(map(len, body["trades"].values())) <= limit
            seen += [item["i"] for symbol in ("AAPL", "SPY") for item in body["trades"].get(symbol, [])]
            token = body["next_page_token"]
        assert sorted(seen) == [*range(11), *range(100, 106)]
        assert len(seen) == 17

    run(market, scenario)


def test_bars_are_built_from_the_trades_for_every_timeframe() -> None:
    market = history()
    prices = ["150", "152", "149", "151"]
    for minute in range(7):
        market.record([trade(START_NS + minute * MINUTE_NS + n, p) for n, p in enumerate(prices)])

    async def scenario(get: Get) -> None:
        _, body = await get("/v2/stocks/bars", symbols="AAPL", timeframe="1Min", start="2023-11-15")
        first = {"o": 150.0, "h": 152.0, "l": 149.0, "c": 151.0, "v": 400, "n": 4, "vw": 150.5}
        assert body["bars"]["AAPL"][0] == {**first, "t": rfc3339(START_NS)}
        assert len(body["bars"]["AAPL"]) == 7
        for timeframe, volumes in {"5Min": [2000, 800], "1Hour": [2800], "1Day": [2800]}.items():
            _, body = await get("/v2/stocks/AAPL/bars", timeframe=timeframe, start="2023-11-15")
            assert [bar["v"] for bar in body["bars"]] == volumes
        assert body["bars"][0]["t"] == "2023-11-15T05:00:00Z"
        _, body = await get(
            "/v2/stocks/AAPL/bars", timeframe="1Min", start=rfc3339(START_NS + MINUTE_NS), limit=2
        )
        assert [bar["t"] for bar in body["bars"]] == [rfc3339(START_NS + n * MINUTE_NS) for n in (1, 2)]
        assert body["next_page_token"]

    run(market, scenario)


def test_crypto_days_begin_at_midnight_utc_and_sizes_keep_their_fraction() -> None:
    market = history()
    market.record([Trade("BTC/USD", nano("60000"), nano("0.25"), Ns(START_NS), 1, "V", ("B",))])

    async def scenario(get: Get) -> None:
        _, body = await get(
            "/v1beta3/crypto/us/bars", symbols="BTC/USD", timeframe="1Day", start="2023-11-15"
        )
        (bar,) = body["bars"]["BTC/USD"]
        assert (bar["t"], bar["v"], bar["vw"]) == ("2023-11-15T00:00:00Z", 0.25, 60000.0)
        _, body = await get("/v1beta3/crypto/us/trades", symbols="BTC/USD")
        assert body["trades"]["BTC/USD"] == [
            {"i": 1, "p": 60000.0, "s": 0.25, "tks": "B", "t": rfc3339(START_NS)}
        ]
        _, body = await get("/v1beta3/crypto/us/trades", symbols="NO/SUCH")
        assert body == {"trades": {}, "next_page_token": None}

    run(market, scenario)


def test_a_late_print_finds_its_bar() -> None:
    market = history()
    market.record([trade(START_NS), trade(START_NS + MINUTE_NS), trade(START_NS + NS_PER_S, "160")])

    async def scenario(get: Get) -> None:
        _, body = await get("/v2/stocks/AAPL/bars", timeframe="1Min")
        assert [(bar["h"], bar["n"]) for bar in body["bars"]] == [(160.0, 2), (150.0, 1)]

    run(market, scenario)


def test_memory_is_bounded() -> None:
    market = history()
    market.record(quote(START_NS + n) for n in range(TICKS_MAX + 500))
    market.record(trade(START_NS + n * MINUTE_NS) for n in range(MINUTES_MAX + 50))
    memory = market._memories["AAPL"]
    assert len(memory.quotes) == TICKS_MAX
    assert memory.quotes[0].t_ns == START_NS + 500
    assert len(memory.minutes) == MINUTES_MAX
    assert min(memory.minutes) == START_NS + 50 * MINUTE_NS
    market.clear()
    assert not market._memories


@pytest.mark.parametrize("path", ["/v2/stocks/AAPL/trades", "/v2/stocks/quotes/latest", "/v2/stocks/bars"])
def test_stocks_need_a_key(path: str) -> None:
    async def scenario(get: Get) -> None:
        for headers in (
            {},
            {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "no"},
            {"Authorization": "Bearer x"},
        ):
            assert await get(path, headers=headers, symbols="AAPL") == (401, {"message": "unauthorized."})

    run(history(), scenario)


def test_crypto_needs_no_key_but_refuses_a_wrong_one() -> None:
    async def scenario(get: Get) -> None:
        path = "/v1beta3/crypto/us/latest/quotes"
        assert (await get(path, headers={}, symbols="BTC/USD"))[0] == 200
        wrong = {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "no"}
        assert (await get(path, headers=wrong, symbols="BTC/USD"))[0] == 401

    run(history(), scenario)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"limit": "10001"}, "invalid limit: larger than the allowed maximum of 10000"),
        ({"limit": "0"}, "invalid limit: 0"),
        ({"limit": "many"}, "invalid limit: many"),
        ({"sort": "up"}, "invalid sort: up"),
        ({"start": "yesterday"}, "invalid start: yesterday"),
        ({"timeframe": "60Min"}, "invalid timeframe: 60Min"),
        ({"timeframe": "2Day"}, "invalid timeframe: 2Day"),
        ({"page_token": "!!"}, "invalid page_token: !!"),
    ],
)
def test_wrong_parameters_are_answered_with_400(parameters: dict[str, str], message: str) -> None:
    async def scenario(get: Get) -> None:
        assert await get("/v2/stocks/AAPL/bars", **parameters) == (400, {"message": message})

    run(history(), scenario)


def test_a_question_without_symbols_is_answered_with_400() -> None:
    async def scenario(get: Get) -> None:
        assert (await get("/v2/stocks/trades"))[0] == 400

    run(history(), scenario)
