"""alpaca-py's historical clients, unmodified, on the simulator: what the market has shown, by its own models.

The clock stands still but for what a test lets pass, so every time and every bar is known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hands.sim.testing import Sim
from tests.conformance.conftest import MARKET, START, closing_session
from tests.conformance.sdk import (
    Adjustment,
    APIError,
    CryptoBarsRequest,
    CryptoHistoricalDataClient,
    CryptoLatestBarRequest,
    CryptoLatestOrderbookRequest,
    CryptoLatestQuoteRequest,
    CryptoLatestTradeRequest,
    CryptoQuoteRequest,
    CryptoSnapshotRequest,
    CryptoTradesRequest,
    DataFeed,
    Exchange,
    Sort,
    StockBarsRequest,
    StockHistoricalDataClient,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
    TimeFrame,
    TimeFrameUnit,
)

MINUTE = timedelta(minutes=1)
DATA_FRAMES = pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.dropna is deprecated")
"""What `.df` uses of pandas is deprecated in pandas 3.1: the SDK's to mend."""

NEW_YORK_MIDNIGHT = datetime(2026, 3, 10, 4, tzinfo=UTC)
UTC_MIDNIGHT = datetime(2026, 3, 10, tzinfo=UTC)

# minute after the start, symbol, price, size
PRINTS = (
    (0, "AAPL", 150.00, 100),
    (0, "SPY", 600.00, 10),
    (0.5, "AAPL", 150.50, 300),
    (1, "AAPL", 151.00, 50),
    (1, "BTC/USD", 100000.5, 0.25),
    (3, "AAPL", 149.00, 20),
    (3, "BTC/USD", 99000.0, 0.75),
)


@pytest.fixture
def clients(sim: Sim) -> Iterator[Callable[..., Any]]:
    """Makes clients of the SDK, and closes them."""
    with ExitStack() as endings:
        yield lambda kind, *keys, **more: endings.enter_context(
            closing_session(kind(*keys, url_override=sim.url, **more))
        )


@pytest.fixture
def stocks(clients: Callable[..., Any], sim: Sim) -> Any:
    return clients(StockHistoricalDataClient, sim.key, sim.secret)


@pytest.fixture
def crypto(clients: Callable[..., Any]) -> Any:
    """Without keys: crypto history is open to everyone."""
    return clients(CryptoHistoricalDataClient)


@pytest.fixture
def prints(sim: Sim) -> None:
    """Four minutes of market; then it is half a minute into the fifth."""
    passed = 0.0
    for minute, symbol, price, size in PRINTS:
        sim.advance(60_000 * (minute - passed))
        passed = minute
        sim.trade(symbol, price, size)
    sim.advance(90_000)


# -- stocks ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("prints")
def test_stock_bars(stocks: Any) -> None:
    request = StockBarsRequest(symbol_or_symbols=["AAPL", "SPY"], timeframe=TimeFrame.Minute, start=START)
    bars = stocks.get_stock_bars(request)
    assert {symbol: len(found) for symbol, found in bars.data.items()} == {"AAPL": 3, "SPY": 1}
    first, second, third = bars["AAPL"]
    assert [bar.timestamp for bar in bars["AAPL"]] == [START, START + MINUTE, START + 3 * MINUTE]
    assert (first.symbol, first.open, first.high, first.low, first.close) == (
        "AAPL",
        150.0,
        150.5,
        150.0,
        150.5,
    )
    assert (first.volume, first.trade_count, first.vwap) == (400.0, 2.0, pytest.approx(150.375))
    assert (second.open, second.volume, third.close) == (151.0, 50.0, 149.0)


@pytest.mark.usefixtures("prints")
@pytest.mark.parametrize(
    ("timeframe", "start"),
    [
        (TimeFrame(5, TimeFrameUnit.Minute), START),
        (TimeFrame.Hour, START - timedelta(minutes=30)),
        (TimeFrame.Day, NEW_YORK_MIDNIGHT),
        (TimeFrame.Week, datetime(2026, 3, 9, 4, tzinfo=UTC)),
        (TimeFrame.Month, datetime(2026, 3, 1, 5, tzinfo=UTC)),
    ],
    ids=str,
)
def test_stock_bars_of_longer_timeframes(stocks: Any, timeframe: TimeFrame, start: datetime) -> None:
    request = StockBarsRequest(symbol_or_symbols="AAPL", timeframe=timeframe, start=start)
    (bar,) = stocks.get_stock_bars(request)["AAPL"]
    assert bar.timestamp == start
    assert (bar.open, bar.high, bar.low, bar.close) == (150.0, 151.0, 149.0, 149.0)
    assert (bar.volume, bar.trade_count) == (470.0, 4.0)


@DATA_FRAMES
@pytest.mark.usefixtures("prints")
def test_bars_as_a_data_frame(stocks: Any) -> None:
    request = StockBarsRequest(
        symbol_or_symbols=["AAPL", "SPY"],
        timeframe=TimeFrame.Minute,
        start=START,
        adjustment=Adjustment.ALL,
        feed=DataFeed.IEX,
    )
    frame = stocks.get_stock_bars(request).df
    assert list(frame.index.names) == ["symbol", "timestamp"]
    assert list(frame.columns) == ["open", "high", "low", "close", "volume", "trade_count", "vwap"]
    assert frame.loc["AAPL"]["close"].tolist() == [150.5, 151.0, 149.0]
    assert frame.loc[("SPY", START), "volume"] == 10.0


@pytest.mark.usefixtures("prints")
def test_stock_trades_within_their_times(stocks: Any) -> None:
    def prices(**query: Any) -> list[float]:
        request = StockTradesRequest(symbol_or_symbols="AAPL", **query)
        return [trade.price for trade in stocks.get_stock_trades(request).data.get("AAPL", [])]

    assert prices(start=START) == [150.0, 150.5, 151.0, 149.0]
    assert prices(start=START, end=START + MINUTE) == [150.0, 150.5, 151.0]
    assert prices(start=START + MINUTE) == [151.0, 149.0]
    assert prices(start=START, limit=3) == [150.0, 150.5, 151.0]
    assert prices(start=START, sort=Sort.DESC) == [149.0, 151.0, 150.5, 150.0]
    assert prices(start=START + timedelta(hours=1)) == []

    trade = stocks.get_stock_trades(StockTradesRequest(symbol_or_symbols="AAPL", start=START))["AAPL"][0]
    assert (trade.symbol, trade.timestamp, trade.size, trade.exchange) == ("AAPL", START, 100.0, Exchange.V)
    assert (trade.conditions, trade.tape) == (["@"], "C")
    assert isinstance(trade.id, int)


def test_more_trades_than_fit_a_page(stocks: Any, sim: Sim) -> None:
    """The client asks for 10 000 at a time, over all symbols, and follows the token."""
    rows = [
        {"symbol": ("AAPL", "SPY")[n % 2], "price": round(100 + n / 100, 2), "size": 1} for n in range(10_100)
    ]
    sim.market(*rows)
    request = StockTradesRequest(symbol_or_symbols=["AAPL", "SPY"], start=START)
    trades = stocks.get_stock_trades(request)
    for symbol, offset in (("AAPL", 0), ("SPY", 1)):
        assert [trade.price for trade in trades[symbol]] == [row["price"] for row in rows[offset::2]]


@DATA_FRAMES
def test_stock_quotes(stocks: Any, sim: Sim) -> None:
    sim.advance(1_000)
    sim.quote("SPY", 599.9, 600.1, 200, 100)
    quotes = stocks.get_stock_quotes(StockQuotesRequest(symbol_or_symbols=["SPY", "AAPL"], start=START))
    assert {symbol: len(found) for symbol, found in quotes.data.items()} == {"AAPL": 1, "SPY": 2}
    quote = quotes["SPY"][1]
    assert (quote.symbol, quote.timestamp) == ("SPY", START + timedelta(seconds=1))
    assert (quote.bid_price, quote.bid_size, quote.ask_price, quote.ask_size) == (599.9, 200.0, 600.1, 100.0)
    assert (quote.bid_exchange, quote.ask_exchange, quote.conditions, quote.tape) == (
        Exchange.V, Exchange.V, ["R"], "B",
    )  # fmt: skip
    assert quotes.df.loc["SPY"]["ask_price"].tolist() == [600.02, 600.1]


@pytest.mark.usefixtures("prints")
def test_the_latest_of_stocks(stocks: Any) -> None:
    both = ["AAPL", "SPY", "MSFT"]  # nothing is known of the third
    trades = stocks.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols=both))
    assert {symbol: (trade.price, trade.size) for symbol, trade in trades.items()} == {
        "AAPL": (149.0, 20.0), "SPY": (600.0, 10.0),
    }  # fmt: skip
    quotes = stocks.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=both))
    assert {symbol: (quote.bid_price, quote.ask_price) for symbol, quote in quotes.items()} == {
        row["symbol"]: (row["bid"], row["ask"]) for row in MARKET if row["symbol"] in both
    }
    bars = stocks.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols="AAPL"))
    assert (bars["AAPL"].timestamp, bars["AAPL"].close) == (START + 3 * MINUTE, 149.0)


@pytest.mark.usefixtures("prints")
def test_stock_snapshots_of_two_days(stocks: Any, sim: Sim) -> None:
    sim.advance_to("2026-03-11T14:30:00Z")
    sim.trade("AAPL", 155, 40)
    sim.quote("AAPL", 154.98, 155.02)
    today = datetime(2026, 3, 11, 14, 30, tzinfo=UTC)
    snapshot = stocks.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=["AAPL", "SPY"]))["AAPL"]
    assert (snapshot.symbol, snapshot.latest_trade.price, snapshot.latest_trade.timestamp) == (
        "AAPL",
        155.0,
        today,
    )
    assert (snapshot.latest_quote.bid_price, snapshot.latest_quote.ask_price) == (154.98, 155.02)
    assert (snapshot.minute_bar.timestamp, snapshot.minute_bar.volume) == (today, 40.0)
    assert (snapshot.daily_bar.timestamp, snapshot.daily_bar.close) == (
        NEW_YORK_MIDNIGHT + timedelta(days=1),
        155.0,
    )
    assert (snapshot.previous_daily_bar.timestamp, snapshot.previous_daily_bar.volume) == (
        NEW_YORK_MIDNIGHT,
        470.0,
    )


def test_stocks_need_a_key(clients: Callable[..., Any], sim: Sim) -> None:
    request = StockLatestQuoteRequest(symbol_or_symbols="AAPL")
    basic = clients(StockHistoricalDataClient, sim.key, sim.secret, use_basic_auth=True)
    assert basic.get_stock_latest_quote(request)["AAPL"].ask_price == 150.0
    for stranger in (
        clients(StockHistoricalDataClient, sim.key, "wrong"),
        clients(StockHistoricalDataClient, sim.key, "wrong", use_basic_auth=True),
        clients(StockHistoricalDataClient, oauth_token="nobody"),
    ):
        with pytest.raises(APIError) as refused:
            stranger.get_stock_latest_quote(request)
        assert (refused.value.status_code, refused.value.message) == (401, "unauthorized.")


# -- crypto ---------------------------------------------------------------------------------------------------


@DATA_FRAMES
@pytest.mark.usefixtures("prints")
def test_crypto_bars_trades_and_quotes(crypto: Any) -> None:
    minutes = CryptoBarsRequest(symbol_or_symbols="BTC/USD", timeframe=TimeFrame.Minute, start=START)
    bars = {bar.timestamp: bar for bar in crypto.get_crypto_bars(minutes)["BTC/USD"] if bar.volume}
    assert {at: (bar.close, bar.volume) for at, bar in bars.items()} == {
        START + MINUTE: (100000.5, 0.25), START + 3 * MINUTE: (99000.0, 0.75),
    }  # fmt: skip
    days = CryptoBarsRequest(symbol_or_symbols="BTC/USD", timeframe=TimeFrame.Day, start=UTC_MIDNIGHT)
    (day,) = crypto.get_crypto_bars(days)["BTC/USD"]
    assert (day.timestamp, day.low, day.volume) == (UTC_MIDNIGHT, 99000.0, 1.0)

    trades = crypto.get_crypto_trades(CryptoTradesRequest(symbol_or_symbols="BTC/USD", start=START))
    assert [(trade.price, trade.size) for trade in trades["BTC/USD"]] == [(100000.5, 0.25), (99000.0, 0.75)]
    assert trades["BTC/USD"][0].timestamp == START + MINUTE
    assert trades.df.loc["BTC/USD"]["size"].sum() == 1.0

    quotes = crypto.get_crypto_quotes(CryptoQuoteRequest(symbol_or_symbols="BTC/USD", start=START))
    (quote,) = quotes["BTC/USD"]
    assert (quote.bid_price, quote.bid_size, quote.ask_price, quote.ask_size) == (99990.0, 5.0, 100010.0, 5.0)
    assert (quote.timestamp, quote.bid_exchange, quote.tape) == (START, None, None)


@pytest.mark.usefixtures("prints")
def test_the_latest_of_coins(crypto: Any) -> None:
    pair = "BTC/USD"
    trade = crypto.get_crypto_latest_trade(CryptoLatestTradeRequest(symbol_or_symbols=pair))[pair]
    assert (trade.price, trade.size, trade.timestamp) == (99000.0, 0.75, START + 3 * MINUTE)
    quote = crypto.get_crypto_latest_quote(CryptoLatestQuoteRequest(symbol_or_symbols=pair))[pair]
    assert (quote.bid_price, quote.ask_price) == (99990.0, 100010.0)
    bar = crypto.get_crypto_latest_bar(CryptoLatestBarRequest(symbol_or_symbols=pair))[pair]
    assert bar.close == 99000.0
    book = crypto.get_crypto_latest_orderbook(CryptoLatestOrderbookRequest(symbol_or_symbols=pair))[pair]
    assert ([(level.price, level.size) for level in book.bids], book.symbol) == ([(99990.0, 5.0)], pair)
    assert [(level.price, level.size) for level in book.asks] == [(100010.0, 5.0)]
    snapshot = crypto.get_crypto_snapshot(CryptoSnapshotRequest(symbol_or_symbols=[pair, "SOL/USD"]))[pair]
    assert (snapshot.latest_trade, snapshot.latest_quote) == (trade, quote)
    assert (snapshot.daily_bar.timestamp, snapshot.daily_bar.volume) == (UTC_MIDNIGHT, 1.0)
    assert snapshot.previous_daily_bar is None


def test_an_unknown_coin_is_empty_and_a_malformed_one_refused(crypto: Any) -> None:
    unknown = CryptoTradesRequest(symbol_or_symbols="NOPE/USD", start=START)
    assert crypto.get_crypto_trades(unknown).data == {}
    with pytest.raises(APIError) as refused:
        crypto.get_crypto_trades(CryptoTradesRequest(symbol_or_symbols="BTCUSD", start=START))
    assert (refused.value.status_code, refused.value.message) == (
        400, "invalid symbol: BTCUSD does not match ^[A-Z]+x?/[A-Z]+$",
    )  # fmt: skip


def test_wrong_keys_are_worse_than_none(clients: Callable[..., Any]) -> None:
    stranger = clients(CryptoHistoricalDataClient, "sim", "wrong")
    with pytest.raises(APIError) as refused:
        stranger.get_crypto_latest_quote(CryptoLatestQuoteRequest(symbol_or_symbols="BTC/USD"))
    assert refused.value.status_code == 401
