"""alpaca-py, unmodified, with every unconfirmed habit of the venue turned the other way, and on a market that moves.

The SDK is a client that others rely on: whatever the switches say, its models must be able to read what comes.
"""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Any

import pytest

from hands.sim.testing import Sim, running_sim
from hands.sim.venue.quirks import catalogue
from tests.conformance.conftest import MARKET, closing_session
from tests.conformance.sdk import (
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    Order,
    OrderClass,
    OrderStatus,
    QueryOrderStatus,
    ReplaceOrderRequest,
    StockDataStream,
    StockHistoricalDataClient,
    StockLatestTradeRequest,
    StopLossRequest,
    TakeProfitRequest,
    Trade,
    TradeActivity,
    TradeUpdate,
    TradingClient,
    TradingStream,
    TrailingStopOrderRequest,
)
from tests.conformance.streams import Running, wait_until_listening
from tests.e2e.harness import until

OTHER_WAYS = [(name, value) for name, entry in catalogue().items() for value in entry.allowed[1:]]
ON_THE_TRADE_STREAM = {"trade_frames", "event_ids", "life_execution_ids", "update_zone", "stop_cancel_event"}


def trade_a_little(trading: Any, sim: Sim) -> Order:
    """A session that no switch makes illegal; returns the bracket in it, as it was taken."""
    entry = LimitOrderRequest(
        symbol="AAPL",
        qty=10,
        side="buy",
        time_in_force="day",
        limit_price=150,
        order_class=OrderClass.BRACKET,
        take_profit=TakeProfitRequest(limit_price=155),
        stop_loss=StopLossRequest(stop_price=148),
    )
    bracket = trading.submit_order(entry)
    short = MarketOrderRequest(symbol="SPY", qty=5, side="sell", time_in_force="day")
    trading.submit_order(short)
    coin = MarketOrderRequest(symbol="BTC/USD", notional=1000, side="buy", time_in_force="gtc")
    trading.submit_order(coin)
    cover = TrailingStopOrderRequest(symbol="SPY", qty=5, side="buy", time_in_force="gtc", trail_percent=1)
    trailing = trading.submit_order(cover)
    trading.replace_order_by_id(trailing.id, ReplaceOrderRequest(trail=2))
    assert {position.symbol for position in trading.get_all_positions()} == {"AAPL", "SPY", "BTCUSD"}
    trading.cancel_orders()
    trading.close_all_positions()
    sim.advance(1_000)
    return bracket


@pytest.mark.parametrize(("name", "value"), OTHER_WAYS, ids=str)
def test_the_models_read_every_document_whatever_the_switch(
    trading: Any, sim: Sim, name: str, value: str
) -> None:
    sim.reset(quirks={name: value})
    sim.market(*MARKET)
    bracket = trade_a_little(trading, sim)
    orders = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, nested=True))
    assert {order.symbol for order in orders} == {"AAPL", "SPY", "BTC/USD"}
    assert trading.get_order_by_id(bracket.id).status is OrderStatus.FILLED
    account = trading.get_account()
    assert float(account.equity) == pytest.approx(100_000, rel=0.01)
    fills = [
        TradeActivity(account_id=account.id, **row)
        for row in trading.get("/account/activities", {"activity_types": "FILL"})
    ]
    assert sum(fill.qty for fill in fills if fill.symbol == "AAPL") == 20
    assert trading.get_account_configurations().suspend_trade is False
    assert trading.get_all_positions() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [pair for pair in OTHER_WAYS if pair[0] in ON_THE_TRADE_STREAM],
    ids=str,
)
def test_the_models_read_every_trade_update_whatever_the_switch(
    trading: Any, sim: Sim, running: Running, name: str, value: str
) -> None:
    sim.reset(quirks={name: value})
    sim.market(*MARKET)
    stream = TradingStream(sim.key, sim.secret, url_override=sim.trade_stream_url)
    stream.subscribe_trade_updates(running.handler)
    running.start(stream)
    wait_until_listening(trading, running)
    bracket = trade_a_little(trading, sim)
    last = trading.submit_order(MarketOrderRequest(symbol="SPY", qty=1, side="buy", time_in_force="day"))
    running.until_seen(lambda update: (update.order.id, update.event) == (last.id, "fill"))
    events = [update.event for update in running.received(TradeUpdate) if update.order.id == bracket.id]
    assert events == ["pending_new", "new", "fill"]


def test_a_market_that_moves_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    """`hands sim` as it comes: made up, on the wall clock, always open."""
    caplog.set_level(logging.INFO, logger="alpaca")
    with running_sim(tape="synthetic") as sim, closing(Running(sim, caplog)) as running:
        stream = StockDataStream(sim.key, sim.secret, url_override=sim.market_stream_url("v2/iex"))
        stream.subscribe_trades(running.handler, "AAPL")
        running.start(stream)
        seen = running.received(Trade)[0]
        with closing_session(TradingClient(sim.key, sim.secret, url_override=sim.url)) as trading:
            assert trading.get_clock().is_open is True
            order = trading.submit_order(
                MarketOrderRequest(symbol="AAPL", qty=1, side="buy", time_in_force="day")
            )
            until("the fill", lambda: trading.get_order_by_id(order.id).status is OrderStatus.FILLED)
            price = trading.get_open_position("AAPL").avg_entry_price
        assert float(price) == pytest.approx(seen.price, rel=0.01)
        data = StockHistoricalDataClient(sim.key, sim.secret, url_override=sim.url)
        with closing_session(data):
            latest = data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))["AAPL"]
        assert latest.timestamp >= seen.timestamp
