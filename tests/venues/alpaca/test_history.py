"""Past trades and bars: the pages, the budget, what is left out, and what cannot be read."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from hands.core.market import RowFlag
from hands.core.units import NS_PER_S
from hands.venues.alpaca.history import History
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
        assert found.rows.tolist() == [
            (0, 1, RowFlag.ELIGIBLE, 126.55, 1.0, 0.0, 0.0, T + 208123456, 99, 96921),
            (0, 1, RowFlag.VOLUME, 126.55, 1.0, 0.0, 0.0, T + 208123456, 99, 2),
            (2, 1, RowFlag.ELIGIBLE, 50000.5, 0.25, 0.0, 0.0, T + NS_PER_S, 99, 2**60),
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
        assert found.rows["trade_id"].tolist() == [0, 1, 2, 3]
        assert found.complete

    assert len(ask(scenario, answer)) == 4


def test_history_without_end_is_cut_off_and_says_so(ask):
    def answer(path, query):
        return {"trades": {"AAPL": [TRADE]}, "next_page_token": "more"}

    async def scenario(history):
        found = await history.trades(["AAPL"], T, T)
        assert (len(found.rows), found.complete) == (3, False)

    assert len(ask(scenario, answer, pages_max=3)) == 3


def test_what_never_traded_is_left_out(ask):
    trades = [TRADE | {"u": "canceled"}, TRADE | {"u": "incorrect"}, TRADE | {"u": "corrected", "i": 5}]

    async def scenario(history):
        found = await history.trades(["AAPL"], T, T)
        assert found.rows["trade_id"].tolist() == [5]

    ask(scenario, lambda path, query: {"trades": {"AAPL": trades, "ZZZ": [TRADE]}})


def test_a_page_of_thousands_is_read_whole(ask):
    trades = [TRADE | {"i": number} for number in range(1700)]

    async def scenario(history):
        found = await history.trades(["AAPL"], T, T)
        assert found.rows["trade_id"].tolist() == list(range(1700))

    ask(scenario, lambda path, query: {"trades": {"AAPL": trades}})


def test_minutes_without_a_trade_are_no_bars(ask):
    """The venue fills them from quotes where coins are concerned."""
    empty = {"t": "2021-02-22T15:52:00Z", "o": 1, "h": 1, "l": 1, "c": 1, "v": 0, "n": 0, "vw": 0}

    async def scenario(history):
        found = await history.minute_bars(["AAPL"], T, T)
        (bar,) = found["AAPL"]
        assert bar.start_ns == T - 44 * NS_PER_S
        assert (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.vwap, bar.trades) == (
            1,
            3,
            0.5,
            2,
            100,
            1.75,
            7,
        )

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
        assert len(past.rows) == 1

    ask(scenario, lambda path, query: {"trades": {"AAPL": [TRADE | {"i": trade_id}, TRADE]}})


@pytest.mark.parametrize("change", [{"n": 2**63}, {"n": -1}, {"t": "2262-04-11T23:47:00Z"}])
def test_a_minute_that_no_bar_can_hold_is_none(ask, change):
    async def scenario(history):
        try:
            assert await history.minute_bars(["AAPL"], T, T) == {"AAPL": []}
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


def test_many_symbols_are_asked_for_in_portions(ask):
    names = [f"S{number}" for number in range(250)]

    async def scenario(history):
        await history.trades(names, T, T)

    asked = ask(scenario, lambda path, query: {"trades": {}})
    assert [query["symbols"].count(",") + 1 for _, query in asked] == [100, 100, 50]
