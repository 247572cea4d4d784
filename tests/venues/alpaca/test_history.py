"""Past trades and bars: the pages, the budget, what is left out, and what cannot be read."""

from __future__ import annotations

import asyncio
import inspect
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from hands.core.market import RowFlag
from hands.core.units import NS_PER_S
from hands.venues.alpaca.endpoints import Endpoints
from hands.venues.alpaca.history import PAGE_LIMIT, SYMBOLS_AT_ONCE, History
from hands.venues.alpaca.http_reader import Response
from hands.venues.alpaca.rate import RateBudget
from hands.venues.alpaca.snapshots import VenueUnavailable

T = 1_614_009_104 * NS_PER_S
INDEX = {"AAPL": 0, "SPY": 1, "BTC/USD": 2}
TRADE = {
    "t": "2021-02-22T15:51:44.208123456Z",
    "x": "D",
    "p": 126.55,
    "s": 1,
    "c": ["@"],
    "i": 96921,
    "z": "C",
}
COIN = {"t": "2021-02-22T15:51:45Z", "p": 50000.5, "s": 0.25, "i": 2**60, "tks": "B"}
BAR = {"t": "2021-02-22T15:51:00Z", "o": 1, "h": 3, "l": 0.5, "c": 2, "v": 100, "n": 7, "vw": 1.75}


@pytest.fixture
def ask(run, scripted, reply, credentials):
    """Run `scenario(history)` against a venue that answers each request by `answer(path, query)`; return its requests."""

    def start(scenario, answer, **options):
        asked = []

        async def respond(request, writer):
            parts = urlsplit(request.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            asked.append((parts.path, query))
            found = answer(parts.path, query)
            status, body = found if isinstance(found, tuple) else (200, found)
            writer.write(reply(status, body if isinstance(body, str) else json.dumps(body)))

        async def play():
            async with scripted(respond) as server:
                history = History(server.endpoints, credentials, INDEX, lambda: 99, **options)
                try:
                    await scenario(history)
                finally:
                    await history.close()

        run(play())
        return asked

    return start


def test_trades_of_both_kinds_become_rows(ask):
    def answer(path, query):
        if path == "/v2/stocks/trades":
            return {
                "trades": {"AAPL": [TRADE, TRADE | {"c": ["I"], "i": 2}], "SPY": None},
                "next_page_token": None,
            }
        return {"trades": {"BTC/USD": [COIN]}, "next_page_token": None}

    async def scenario(history):
        found = await history.trades(["BTC/USD", "AAPL", "SPY"], T, T + NS_PER_S)
        assert found.complete
        assert [*found.of(0).tolist(), *found.of(2).tolist()] == [
            (0, 1, RowFlag.ELIGIBLE, ord("D"), 126.55, 1.0, 0.0, 0.0, T + 208123456, 99, 96921),
            (0, 1, RowFlag.VOLUME, ord("D"), 126.55, 1.0, 0.0, 0.0, T + 208123456, 99, 2),
            (2, 1, RowFlag.ELIGIBLE, 0, 50000.5, 0.25, 0.0, 0.0, T + NS_PER_S, 99, 2**60),
        ]

    (path, query), (coins, query_of_coins) = ask(scenario, answer)
    assert (path, coins) == ("/v2/stocks/trades", "/v1beta3/crypto/us/trades")
    assert query == {
        "symbols": "AAPL,SPY",
        "start": "2021-02-22T15:51:44.000000000Z",
        "end": "2021-02-22T15:51:45.000000000Z",
        "limit": "5000",
        "feed": "iex",
    }
    assert "feed" not in query_of_coins


def test_pages_are_followed_to_the_end(ask):
    def answer(path, query):
        number = int(query.get("page_token", "0"))
        token = str(number + 1) if number < 3 else None
        return {"trades": {"AAPL": [TRADE | {"i": number}]}, "next_page_token": token}

    async def scenario(history):
        found = await history.trades(["AAPL"], T, T)
        assert found.of(0)["trade_id"].tolist() == [0, 1, 2, 3]
        assert found.complete

    assert len(ask(scenario, answer)) == 4


def test_history_without_end_is_cut_off_and_says_so(ask):
    def answer(path, query):
        return {"trades": {"AAPL": [TRADE]}, "next_page_token": "more"}

    async def scenario(history):
        found = await history.trades(["AAPL"], T, T)
        assert (found.count, found.complete) == (3, False)

    assert len(ask(scenario, answer, pages_max=3)) == 3


def test_what_never_traded_stands_apart(ask):
    trades = [
        TRADE | {"u": "canceled"},
        TRADE | {"u": "incorrect", "i": 4},
        TRADE | {"u": "corrected", "i": 5},
    ]

    async def scenario(history):
        found = await history.trades(["AAPL"], T, T)
        assert found.of(0)["trade_id"].tolist() == [5]
        found.join(await history.trades(["AAPL"], T, T))
        assert (found.count, found.syms, list(found.taken_back)) == (2, [0], [0])
        assert found.taken_back[0]["trade_id"].tolist() == [96921, 4, 96921, 4]
        assert found.taken_back[0]["venue_ns"].tolist() == [T + 208123456] * 4

    ask(scenario, lambda path, query: {"trades": {"AAPL": trades, "ZZZ": [TRADE]}})


def test_a_page_of_thousands_is_read_whole(ask):
    trades = [TRADE | {"i": number} for number in range(1700)]

    async def scenario(history):
        found = await history.trades(["AAPL"], T, T)
        assert found.of(0)["trade_id"].tolist() == list(range(1700))

    ask(scenario, lambda path, query: {"trades": {"AAPL": trades}})


def test_minutes_without_a_trade_are_no_bars(ask):
    """The venue fills them from quotes where coins are concerned."""
    empty = {"t": "2021-02-22T15:52:00Z", "o": 1, "h": 1, "l": 1, "c": 1, "v": 0, "n": 0, "vw": 0}

    async def scenario(history):
        found = await history.minute_bars(["AAPL"], T, T)
        (bar,) = found["AAPL"]
        assert bar.item() == (T - 44 * NS_PER_S, 1, 3, 0.5, 2, 100, 175, 7)

    ((_, query),) = ask(scenario, lambda path, query: {"bars": {"AAPL": [BAR, empty]}})
    assert query["timeframe"] == "1Min"


@pytest.mark.parametrize(
    "answer",
    [
        (403, {"code": 42210000, "message": "subscription does not permit querying recent SIP data"}),
        (500, "<html>"),
        (200, "{"),
        (200, {"trades": {"AAPL": [TRADE | {"p": "1"}]}}),
        (200, {"trades": {"AAPL": [TRADE | {"t": "noon"}]}}),
        (200, {"trades": {"AAPL": [TRADE | {"t": "0001-01-01T00:00:00Z"}]}}),
        (200, {"trades": {"AAPL": [TRADE | {"t": "9999-12-31T00:00:00Z"}]}}),
        (200, {"trades": [TRADE]}),
    ],
)
def test_what_is_refused_or_cannot_be_read_is_no_history(ask, answer):
    async def scenario(history):
        with pytest.raises(VenueUnavailable):
            await history.trades(["AAPL"], T, T)

    ask(scenario, lambda path, query: answer)


@pytest.mark.parametrize("trade_id", [-(2**63) - 1, -1, 2**63])
def test_a_trade_under_an_id_that_no_row_can_hold_is_left_out(ask, trade_id):
    async def scenario(history):
        past = await history.trades(["AAPL"], T, T)
        assert past.count == 1

    ask(scenario, lambda path, query: {"trades": {"AAPL": [TRADE | {"i": trade_id}, TRADE]}})


@pytest.mark.parametrize("change", [{"n": 2**63}, {"n": -1}, {"t": "2262-04-11T23:47:00Z"}])
def test_a_minute_that_no_bar_can_hold_is_none(ask, change):
    async def scenario(history):
        try:
            found = await history.minute_bars(["AAPL"], T, T)
            assert [*map(len, found.values())] == [0]
        except VenueUnavailable:
            assert "t" in change

    ask(scenario, lambda path, query: {"bars": {"AAPL": [BAR | change]}})


def test_history_waits_while_others_have_used_the_budget(ask, run):
    now = [0.0]
    budget = RateBudget(entries_max=2, window_s=60.0, monotonic=lambda: now[0])
    for at in (0.0, 10.0, 20.0):
        now[0] = at
        budget.note()
    now[0] = 30.0
    assert budget.wait_s(2) == pytest.approx(40.0)
    assert budget.wait_s(3) == pytest.approx(30.0)
    assert budget.wait_s(4) == 0.0
    quick = RateBudget(entries_max=1, window_s=0.05)
    quick.note()

    async def scenario(history):
        assert quick.used == 1
        await history.trades(["AAPL"], T, T)
        assert quick.used == 1, "the one before is out of the window"

    ask(scenario, lambda path, query: {"trades": {}}, budget=quick)


@pytest.mark.parametrize(("kind", "portions"), [("trades", [100, 100, 50]), ("minute_bars", [50] * 5)])
def test_many_symbols_are_asked_for_in_portions(ask, kind, portions):
    names = [f"S{number}" for number in range(250)]

    async def scenario(history):
        await getattr(history, kind)(names, T, T)

    asked = ask(scenario, lambda path, query: {})
    assert [query["symbols"].count(",") + 1 for _, query in asked] == portions


def test_five_days_of_minutes_of_the_busiest_stocks_are_no_more_pages_than_are_asked_for():
    minutes_a_day = 16 * 60
    items = SYMBOLS_AT_ONCE["bars"] * 5 * minutes_a_day
    assert items / PAGE_LIMIT["bars"] <= 0.75 * inspect.signature(History).parameters["pages_max"].default


class Host:
    """A data host of `trades` for each symbol, in pages of `PAGE_LIMIT`, whose clock only waiting moves."""

    def __init__(self, trades):
        self.now_s = 0.0
        self.sent_s = []
        self._trades = trades

    def monotonic(self):
        return self.now_s

    async def sleep(self, seconds):
        self.now_s += seconds

    async def fetch(self, method, path):
        self.budget.note()
        self.sent_s.append(self.now_s)
        self.now_s += 0.05
        query = parse_qs(urlsplit(path).query)
        symbols, first = query["symbols"][0].split(","), int(query.get("page_token", ["0"])[0])
        places = range(first, min(first + PAGE_LIMIT["trades"], len(symbols) * self._trades))
        found = {}
        for place in places:
            found.setdefault(symbols[place // self._trades], []).append(
                {"t": TRADE["t"], "p": 1.5, "s": 1, "i": place}
            )
        token = str(places.stop) if places.stop < len(symbols) * self._trades else None
        return Response(200, {}, json.dumps({"trades": found, "next_page_token": token}).encode())

    def most_in_a_minute(self):
        return max(sum(at <= other < at + 60 for other in self.sent_s) for at in self.sent_s)


@pytest.mark.parametrize(
    ("symbols", "trades", "others", "requests", "within_s"),
    [
        (1, 10, 0, 1, 1),
        (30, 3, 0, 1, 1),
        (200, 1, 0, 2, 1),
        (200, 1, 149, 2, 61),
        (200, 10, 0, 20, 1),
        (200, 10, 145, 20, 61),
        (1000, 20, 0, 200, 61),
    ],
)
def test_trap_25_the_filling_of_a_gap_stays_within_the_data_hosts_budget(
    run, credentials, monkeypatch, symbols, trades, others, requests, within_s
):
    """200 a minute are allowed for everybody under one key: history takes three quarters and waits for more.

    `others`: what the latest quotes, asked for just before, have used of it.
    """
    monkeypatch.setitem(PAGE_LIMIT, "trades", 100)
    host = Host(trades)
    budget = host.budget = RateBudget(entries_max=150, monotonic=host.monotonic)
    for _ in range(others):
        budget.note()
    names = [f"S{number}" for number in range(symbols)]
    index = {name: number for number, name in enumerate(names)}

    async def scenario():
        endpoints = Endpoints.of("http://127.0.0.1:1")
        history = History(endpoints, credentials, index, lambda: 99, budget=budget)
        monkeypatch.setattr(history._pool, "fetch", host.fetch)
        monkeypatch.setattr("hands.venues.alpaca.history.asyncio.sleep", host.sleep)
        found = await history.trades(names, T, T)
        assert found.complete
        assert found.count == symbols * trades

    run(scenario())
    assert len(host.sent_s) == requests
    assert host.most_in_a_minute() + (others if within_s < 60 else 0) <= 150
    assert host.now_s <= within_s + requests * 0.05


def test_of_several_who_wait_for_room_each_takes_one(run, credentials, monkeypatch):
    """They all wake up when one request has left the window."""
    host = Host(1)
    budget = host.budget = RateBudget(entries_max=2, monotonic=host.monotonic)
    sleep = asyncio.sleep

    async def slowly(seconds):
        until_s = host.now_s + seconds
        await sleep(0)
        host.now_s = max(host.now_s, until_s)

    async def scenario():
        history = History(Endpoints.of("http://127.0.0.1:1"), credentials, INDEX, lambda: 99, budget=budget)
        monkeypatch.setattr(history._pool, "fetch", host.fetch)
        monkeypatch.setattr("hands.venues.alpaca.history.asyncio.sleep", slowly)
        await asyncio.gather(*(history.trades(["AAPL"], T, T) for _ in range(7)))

    run(scenario())
    assert len(host.sent_s) == 7
    assert host.most_in_a_minute() <= 2
