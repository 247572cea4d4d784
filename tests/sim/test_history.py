from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientSession, web

from hands.core.units import NANO, NS_PER_S, Ns, Qty, nano
from hands.sim.market.feeds import PLANS
from hands.sim.market.times import MINUTE_NS, rfc3339
from hands.sim.server.history import History
from hands.sim.venue.ticks import Cancellation, Correction, MarketEvent, Quote, Trade

DAY_START_NS = 1_700_006_400 * NS_PER_S  # 2023-11-15T00:00:00Z
START_NS = DAY_START_NS + 15 * 60 * MINUTE_NS
NOW_NS = START_NS + 120 * MINUTE_NS
HEADERS = {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"}

Get = Callable[..., Awaitable[tuple[int, Any]]]


MINUTE_BARS = {"timeframe": "1Min", "start": "2023-11-15"}


def history(*events: MarketEvent, plan: str = "plus", now_ns: int = NOW_NS) -> History:
    made = History(lambda: now_ns, {"sim": "sim"}, plan=PLANS[plan])
    made.record(events)
    return made


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


def test_what_was_shown_is_there_even_if_it_is_stamped_a_moment_ahead() -> None:
    market = history(quote(NOW_NS + 1, symbol="BTC/USD"), trade(NOW_NS + 1))

    async def scenario(get: Get) -> None:
        assert (await get("/v2/stocks/AAPL/trades/latest"))[0] == 200
        _, body = await get("/v1beta3/crypto/us/quotes", symbols="BTC/USD")
        assert len(body["quotes"]["BTC/USD"]) == 1
        _, body = await get("/v2/stocks/AAPL/trades", end=rfc3339(NOW_NS))
        assert body["trades"] is None

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


ZONELESS = "2025-12-01T00:37:12"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"limit": "10001"}, "invalid limit: larger than the allowed maximum of 10000"),
        ({"limit": "0"}, "invalid limit: 0"),
        (
            {"limit": "many"},
            (
                "Invalid format for parameter limit: error binding string parameter: "
                'strconv.ParseInt: parsing "many": invalid syntax'
            ),
        ),
        ({"sort": "up"}, "invalid sort: up"),
        (
            {"start": "0"},
            (
                "Invalid format for parameter start: error parsing '0' as RFC3339 or 2006-01-02 time: "
                'parsing time "0" as "2006-01-02": cannot parse "0" as "2006"'
            ),
        ),
        (
            {"end": ZONELESS},
            (
                f"Invalid format for parameter end: error parsing '{ZONELESS}' as RFC3339 or 2006-01-02 time: "
                f'parsing time "{ZONELESS}" as "2006-01-02": extra text: "T00:37:12"'
            ),
        ),
        ({"start": "2023-11-16", "end": "2023-11-15"}, "end should not be before start"),
        ({"timeframe": "30Sec"}, "invalid timeframe: 30Sec"),
        ({"timeframe": "0Min"}, "invalid timeframe: 0Min"),
        ({"timeframe": "60Min"}, "timeframe period number is larger than the allowed maximum: 59 Min"),
        ({"timeframe": "24Hour"}, "timeframe period number is larger than the allowed maximum: 23 Hour"),
        ({"timeframe": "2Day"}, "timeframe period number is larger than the allowed maximum: 1 Day"),
        ({"timeframe": "5Month"}, "invalid timeframe: 5Month"),
        (
            {"timeframe": ""},
            "Invalid format for parameter timeframe: query parameter 'timeframe' is required",
        ),
        ({"page_token": "!!"}, "invalid page_token"),
        ({"feed": "delayed_sip"}, "invalid feed: delayed_sip"),
        ({"adjustment": "splits"}, "invalid adjustment: splits"),
        ({"currency": "EUR"}, "invalid currency: EUR"),
        ({"asof": "lately"}, "invalid asof: lately"),
        ({"since": "2023-11-15"}, "unexpected query parameter(s): since"),
        ({"symbols": "AAPL"}, "unexpected query parameter(s): symbols"),
    ],
)
def test_wrong_parameters_are_answered_with_400(parameters: dict[str, str], message: str) -> None:
    async def scenario(get: Get) -> None:
        asked = {"timeframe": "1Min"} | parameters
        assert await get("/v2/stocks/AAPL/bars", **asked) == (400, {"message": message})

    run(history(), scenario)


@pytest.mark.parametrize(
    ("path", "symbols", "message"),
    [
        (
            "/v2/stocks/trades",
            "",
            "Invalid format for parameter symbols: query parameter 'symbols' is required",
        ),
        (
            "/v2/stocks/trades",
            ",",
            "Invalid format for parameter symbols: query parameter 'symbols' is required",
        ),
        ("/v2/stocks/trades", "AAPL,BRK-B", "invalid symbol: BRK-B"),
        ("/v2/stocks/quotes/latest", "BTC/USD", "invalid symbol: BTC/USD"),
        (
            "/v1beta3/crypto/us/trades",
            "BTCUSD",
            "invalid symbol: BTCUSD does not match ^[A-Z]+x?/[A-Z]+$",
        ),
    ],
)
def test_symbols_that_cannot_be_are_answered_with_400(path: str, symbols: str, message: str) -> None:
    async def scenario(get: Get) -> None:
        assert await get(path, symbols=symbols) == (400, {"message": message})

    run(history(quote(START_NS, symbol="BTC/USD")), scenario)


def test_a_symbol_on_the_tape_is_never_malformed_and_an_unknown_one_has_no_data() -> None:
    async def scenario(get: Get) -> None:
        _, body = await get("/v2/stocks/trades", symbols="X-2,NOPE", start="2023-11-15")
        assert list(body["trades"]) == ["X-2"]
        status, body = await get("/v1beta3/crypto/us/bars", symbols="NO/SUCH", timeframe="1Day")
        assert (status, body) == (200, {"bars": {}, "next_page_token": None})

    run(history(trade(START_NS, symbol="X-2")), scenario)


# -- plans and feeds ------------------------------------------------------------------------------------------


RECENT = {"message": "subscription does not permit querying recent SIP data"}


def test_the_basic_plan_gets_no_sip_data_of_the_last_quarter_of_an_hour() -> None:
    old_ns, young_ns = NOW_NS - 15 * MINUTE_NS, NOW_NS - 14 * MINUTE_NS
    market = history(quote(old_ns, "1", "2"), quote(young_ns, "3", "4"), plan="basic")

    async def scenario(get: Get) -> None:
        path = "/v2/stocks/AAPL/quotes"
        assert await get(path, end=rfc3339(NOW_NS)) == (403, RECENT)
        assert await get(path, end="2024-11-15") == (403, RECENT)  # whatever is not yet is recent, too
        assert (await get(path, end=rfc3339(old_ns)))[0] == 200
        assert (await get(path, end=rfc3339(old_ns + 1)))[0] == 403
        _, body = await get(path)  # by default it ends where it may
        assert [item["bp"] for item in body["quotes"]] == [1.0]
        _, body = await get(path, feed="iex")
        assert [item["bp"] for item in body["quotes"]] == [1.0, 3.0]
        assert await get(f"{path}/latest", feed="sip") == (403, RECENT)
        assert await get("/v2/stocks/snapshots", symbols="AAPL", feed="sip") == (403, RECENT)
        for parameters, bid in (({}, 3.0), ({"feed": "iex"}, 3.0), ({"feed": "delayed_sip"}, 1.0)):
            _, body = await get(f"{path}/latest", **parameters)
            assert body["quote"]["bp"] == bid

    run(market, scenario)


def test_the_other_plan_gets_everything_and_nothing_trades_over_the_counter() -> None:
    market = history(quote(NOW_NS - MINUTE_NS))

    async def scenario(get: Get) -> None:
        for feed, count in (("sip", 1), ("iex", 1), ("otc", 0), ("boats", 0)):
            _, body = await get("/v2/stocks/quotes", symbols="AAPL", feed=feed, end=rfc3339(NOW_NS))
            assert len(body["quotes"].get("AAPL", [])) == count
        assert (await get("/v2/stocks/AAPL/quotes/latest", feed="overnight"))[0] == 404
        assert (await get("/v2/stocks/AAPL/quotes/latest", feed="sip"))[0] == 200
        _, body = await get("/v2/stocks/AAPL/quotes/latest", currency="USD")
        assert body["currency"] == "USD"
        _, body = await get("/v2/stocks/snapshots", symbols="AAPL", currency="USD")
        assert set(body) == {"AAPL"}  # its keys are symbols, and nothing else

    run(market, scenario)


# -- bars, snapshots, books -----------------------------------------------------------------------------------


def test_weeks_begin_on_monday_and_months_are_counted_from_january() -> None:
    day_ns = 24 * 60 * MINUTE_NS
    times = [
        DAY_START_NS + 15 * 60 * MINUTE_NS + day * day_ns for day in (0, 4, 5, 20, 47)
    ]  # Wed .. 1 January
    market = history(*(trade(t_ns) for t_ns in times), now_ns=times[-1] + day_ns)
    market.record([trade(t_ns, symbol="BTC/USD") for t_ns in times])

    async def scenario(get: Get) -> None:
        async def starts(path: str, timeframe: str) -> list[str]:
            _, body = await get(path, timeframe=timeframe, symbols="BTC/USD", start="2023-01-01")
            return [bar["t"] for bar in body["bars"]["BTC/USD"]]

        async def stock_starts(timeframe: str) -> list[str]:
            _, body = await get("/v2/stocks/AAPL/bars", timeframe=timeframe, start="2023-01-01")
            return [bar["t"] for bar in body["bars"]]

        assert await stock_starts("1Week") == [
            "2023-11-13T05:00:00Z", "2023-11-20T05:00:00Z", "2023-12-04T05:00:00Z", "2024-01-01T05:00:00Z",
        ]  # fmt: skip
        assert await stock_starts("3M") == ["2023-10-01T04:00:00Z", "2024-01-01T05:00:00Z"]
        coins = "/v1beta3/crypto/us/bars"
        assert await starts(coins, "1W") == [
            "2023-11-13T00:00:00Z", "2023-11-20T00:00:00Z", "2023-12-04T00:00:00Z", "2024-01-01T00:00:00Z",
        ]  # fmt: skip
        assert await starts(coins, "1Month") == [
            "2023-11-01T00:00:00Z", "2023-12-01T00:00:00Z", "2024-01-01T00:00:00Z",
        ]  # fmt: skip

    run(market, scenario)


def test_a_coin_that_only_quotes_has_a_bar_of_its_mids_without_volume() -> None:
    market = history(
        quote(START_NS, "100", "102", "BTC/USD"),
        quote(START_NS + 1, "104", "106", "BTC/USD"),
        quote(START_NS + 2, "99", "100", "BTC/USD"),
        quote(START_NS + MINUTE_NS, "200", "202", "BTC/USD"),
        trade(START_NS + MINUTE_NS + 1, "50", symbol="BTC/USD"),
        quote(START_NS + 2 * MINUTE_NS, "7", "9", "BTC/USD"),
    )

    async def scenario(get: Get) -> None:
        _, body = await get("/v1beta3/crypto/us/bars", symbols="BTC/USD", **MINUTE_BARS)
        told = [[bar[key] for key in "ohlcvn"] for bar in body["bars"]["BTC/USD"]]
        assert told == [
            [101.0, 105.0, 99.5, 99.5, 0.0, 0],
            [50.0, 50.0, 50.0, 50.0, 100.0, 1],
            [8.0, 8.0, 8.0, 8.0, 0.0, 0],
        ]
        _, body = await get("/v1beta3/crypto/us/latest/bars", symbols="BTC/USD")
        assert body["bars"]["BTC/USD"]["vw"] == 0.0

    run(market, scenario)


def test_snapshots_tell_the_latest_and_leave_out_what_is_not_known() -> None:
    yesterday_ns = START_NS - 24 * 60 * MINUTE_NS
    market = history(
        trade(yesterday_ns, "140"), trade(START_NS, "150"), quote(START_NS), trade(START_NS + 9, "151")
    )
    market.record([quote(START_NS, "1", "2", "BTC/USD"), quote(START_NS, symbol="SPY")])

    async def scenario(get: Get) -> None:
        status, body = await get("/v2/stocks/snapshots", symbols="AAPL,SPY,MSFT")
        assert (status, set(body)) == (200, {"AAPL", "SPY"})
        assert list(body["SPY"]) == ["latestQuote"]
        whole = body["AAPL"]
        assert whole["latestTrade"]["p"] == 151.0
        assert whole["latestQuote"]["ap"] == 150.0
        assert [whole[name]["c"] for name in ("minuteBar", "dailyBar", "prevDailyBar")] == [
            151.0,
            151.0,
            140.0,
        ]
        _, body = await get("/v2/stocks/AAPL/snapshot")
        assert body == {"symbol": "AAPL", **whole}
        assert await get("/v2/stocks/ZZZZ/snapshot", feed="iex") == (
            404,
            {"message": "no snapshot found for ZZZZ"},
        )
        _, body = await get("/v1beta3/crypto/us/snapshots", symbols="BTC/USD,ETH/USD")
        assert set(body["snapshots"]) == {"BTC/USD"}
        assert set(body["snapshots"]["BTC/USD"]) == {"latestQuote", "minuteBar", "dailyBar"}

    run(market, scenario)


def test_an_order_book_is_the_last_quote() -> None:
    market = history(quote(START_NS, "1", "2", "BTC/USD"))

    async def scenario(get: Get) -> None:
        _, body = await get("/v1beta3/crypto/us/latest/orderbooks", symbols="BTC/USD")
        book = {"b": [{"p": 1.0, "s": 500.0}], "a": [{"p": 2.0, "s": 300.0}], "t": rfc3339(START_NS)}
        assert body == {"orderbooks": {"BTC/USD": book}}

    run(market, scenario)


def test_auctions_are_the_opening_and_closing_prints_of_a_day() -> None:
    def auction(seconds: int, price: str, exchange: str, *conditions: str) -> Trade:
        t_ns = Ns(START_NS + seconds * NS_PER_S)
        return Trade("AAPL", nano(price), Qty(500 * NANO), t_ns, seconds, exchange, conditions)

    market = history(
        trade(START_NS - NS_PER_S),
        auction(1, "150", "Q", "@", "O"),
        auction(2, "150", "Q", "Q"),
        auction(3, "150", "Q", "@", "Q"),  # the same again
        auction(4, "151", "P", "6"),
        auction(5, "151", "P", "@", "T"),
    )

    async def scenario(get: Get) -> None:
        _, body = await get("/v2/stocks/AAPL/auctions", start="2023-11-15")
        (day,) = body["auctions"]
        assert (body["symbol"], body["next_page_token"], day["d"]) == ("AAPL", None, "2023-11-15")
        assert [(item["c"], item["x"], item["t"]) for item in day["o"]] == [
            ("O", "Q", rfc3339(START_NS + NS_PER_S)),
            ("Q", "Q", rfc3339(START_NS + 2 * NS_PER_S)),
        ]
        assert day["c"] == [{"c": "6", "p": 151.0, "s": 500, "t": rfc3339(START_NS + 4 * NS_PER_S), "x": "P"}]
        _, body = await get("/v2/stocks/auctions", symbols="AAPL,SPY", start="2023-11-15", feed="sip")
        assert list(body["auctions"]) == ["AAPL"]
        status, body = await get("/v2/stocks/auctions", symbols="AAPL", feed="iex")
        assert (status, body) == (400, {"message": "invalid feed: iex"})

    run(market, scenario)


def test_the_letters_on_the_tapes_have_names() -> None:
    async def scenario(get: Get) -> None:
        _, exchanges = await get("/v2/stocks/meta/exchanges")
        assert exchanges["V"] == "IEX"
        for tape, name in (("A", "Odd Lot Trade"), ("B", "Odd Lot Trade"), ("C", "Odd Lot Trade")):
            _, conditions = await get("/v2/stocks/meta/conditions/trade", tape=tape)
            assert conditions["I"] == name
        _, conditions = await get("/v2/stocks/meta/conditions/quote", tape="C")
        assert "R" in conditions
        assert (await get("/v2/stocks/meta/conditions/quote", tape="Z"))[0] == 400
        assert (await get("/v2/stocks/meta/conditions/quote"))[0] == 400

    run(history(), scenario)


# -- what becomes of the past ---------------------------------------------------------------------------------


def test_corrected_and_canceled_prints_say_so_and_leave_their_bar() -> None:
    prints = [trade(START_NS + n, price, trade_id=n) for n, price in enumerate(["150", "999", "1", "151"])]
    right = trade(START_NS + 1, "152", trade_id=10)
    market = history(
        *prints,
        Correction("AAPL", prints[1], right, Ns(START_NS + 100)),
        Cancellation("AAPL", prints[2], Ns(START_NS + 101)),
    )

    async def scenario(get: Get) -> None:
        _, body = await get("/v2/stocks/AAPL/trades", start="2023-11-15")
        told = {item["i"]: item.get("u") for item in body["trades"]}
        assert told == {0: None, 1: "incorrect", 2: "canceled", 3: None, 10: "corrected"}
        _, body = await get("/v2/stocks/AAPL/bars", **MINUTE_BARS)
        (bar,) = body["bars"]
        assert [bar[key] for key in "ohlcn"] == [150.0, 152.0, 150.0, 151.0, 3]

    run(market, scenario)


def test_odd_lots_are_volume_and_no_price() -> None:
    odd = replace(trade(START_NS + NS_PER_S, "99", 10, trade_id=2), conditions=("@", "I"))
    alone = replace(trade(START_NS + MINUTE_NS, "99", 10, trade_id=3), conditions=("@", "I"))

    async def scenario(get: Get) -> None:
        _, body = await get("/v2/stocks/AAPL/bars", **MINUTE_BARS)
        (bar,) = body["bars"]
        assert (bar["l"], bar["h"], bar["vw"], bar["v"], bar["n"]) == (150.0, 150.0, 150.0, 110, 2)
        _, body = await get("/v2/stocks/AAPL/bars", **{**MINUTE_BARS, "timeframe": "1Day"})
        (day,) = body["bars"]
        assert (day["l"], day["c"], day["v"], day["n"]) == (150.0, 150.0, 120, 3)
        _, body = await get("/v2/stocks/AAPL/snapshot")
        assert (body["minuteBar"]["t"], body["dailyBar"]["v"]) == (rfc3339(START_NS), 120)
        assert "prevDailyBar" not in body

    run(history(trade(START_NS), odd, alone), scenario)


def test_a_taken_back_print_is_not_the_latest_nor_is_one_out_of_sequence() -> None:
    late = Trade("AAPL", nano("140"), Qty(NANO), Ns(START_NS - NS_PER_S), 7, "V", ("@", "Z"))
    wrong = trade(START_NS + 1, "999", trade_id=2)
    market = history(trade(START_NS), late, wrong, Cancellation("AAPL", wrong, Ns(START_NS + 2)))

    async def scenario(get: Get) -> None:
        _, body = await get("/v2/stocks/AAPL/trades/latest")
        assert body["trade"]["p"] == 150.0

    run(market, scenario)


def test_bars_before_a_split_are_restated_for_whoever_asks() -> None:
    now = [START_NS + MINUTE_NS]
    market = History(lambda: now[0], {"sim": "sim"})
    market.record([trade(START_NS, "1000", size=30)])
    market.split("AAPL", 10, 1)
    now[0] += MINUTE_NS
    market.record([trade(now[0], "101", size=40)])

    async def scenario(get: Get) -> None:
        for adjustment, told in (
            ("raw", [(1000.0, 30, 1000.0), (101.0, 40, 101.0)]),
            ("dividend", [(1000.0, 30, 1000.0), (101.0, 40, 101.0)]),
            ("split", [(100.0, 300, 100.0), (101.0, 40, 101.0)]),
            ("all", [(100.0, 300, 100.0), (101.0, 40, 101.0)]),
            ("split,spin-off", [(100.0, 300, 100.0), (101.0, 40, 101.0)]),
        ):
            _, body = await get("/v2/stocks/AAPL/bars", adjustment=adjustment, **MINUTE_BARS)
            assert [(bar["c"], bar["v"], bar["vw"]) for bar in body["bars"]] == told

    run(market, scenario)


def test_a_new_name_has_the_past_of_the_old_one_unless_the_symbol_alone_is_meant() -> None:
    market = history(trade(START_NS, symbol="FB"))
    market.rename("FB", "META")
    market.record([trade(START_NS + MINUTE_NS, symbol="META")])

    async def scenario(get: Get) -> None:
        for symbol, asof, count in (
            ("META", None, 2),
            ("META", "-", 1),
            ("META", "2023-11-14", 1),
            ("META", "2023-11-15", 2),
            ("FB", None, 1),
        ):
            asked = {"asof": asof} if asof else {}
            _, body = await get("/v2/stocks/trades", symbols=symbol, start="2023-11-15", **asked)
            assert len(body["trades"][symbol]) == count

    run(market, scenario)
