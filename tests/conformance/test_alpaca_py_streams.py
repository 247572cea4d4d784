"""alpaca-py's streams, unmodified, on the simulator: stock and crypto market data in msgpack, and trade updates.

What the SDK's models refuse it catches and logs, so an error in its log fails the test.
"""

from __future__ import annotations

import json
import logging
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hands.sim.testing import Sim, running_sim
from tests.conformance.conftest import STANDING, START
from tests.conformance.sdk import (
    Bar,
    CryptoDataStream,
    Exchange,
    LimitOrderRequest,
    MarketOrderRequest,
    Orderbook,
    OrderClass,
    OrderSide,
    OrderStatus,
    Quote,
    ReplaceOrderRequest,
    StockDataStream,
    StopLossRequest,
    TakeProfitRequest,
    TimeInForce,
    Trade,
    TradeCancel,
    TradeCorrection,
    TradeEvent,
    TradeUpdate,
    TradingStatus,
    TradingStream,
)
from tests.conformance.streams import Running, wait_until_listening
from tests.e2e.harness import until

STOCKS, TEST, CRYPTO = "v2/iex", "v2/test", "v1beta3/crypto/us"


def stocks(sim: Sim, path: str = STOCKS, **more: Any) -> Any:
    return StockDataStream(sim.key, sim.secret, url_override=sim.market_stream_url(path), **more)


def crypto(sim: Sim) -> Any:
    return CryptoDataStream(sim.key, sim.secret, url_override=sim.market_stream_url(CRYPTO))


# -- stocks ---------------------------------------------------------------------------------------------------


def test_stock_trades_and_quotes(sim: Sim, running: Running) -> None:
    stream = stocks(sim)
    stream.subscribe_trades(running.handler, "AAPL")
    stream.subscribe_quotes(running.handler, "AAPL", "SPY")
    running.start(stream)
    running.subscribed()
    sim.advance(1_500)
    sim.trade("SPY", 600.01, 7)
    sim.trade("AAPL", 150.01, 120)
    sim.quote("SPY", 599.99, 600.01, 300, 200)
    quote, trade = running.received(Quote)[0], running.received(Trade)[0]
    at = START + timedelta(seconds=1.5)
    assert (trade.symbol, trade.price, trade.size, trade.timestamp) == ("AAPL", 150.01, 120.0, at)
    assert (trade.exchange, trade.conditions, trade.tape) == (Exchange.V, ["@"], "C")
    assert isinstance(trade.id, int)
    assert (quote.symbol, quote.bid_price, quote.ask_price, quote.timestamp) == ("SPY", 599.99, 600.01, at)
    assert (quote.bid_size, quote.ask_size, quote.bid_exchange, quote.tape) == (300.0, 200.0, Exchange.V, "B")
    assert len(running.seen) == 2  # the trade in SPY was not asked for


def test_a_star_is_every_stock_and_no_coin(sim: Sim, running: Running) -> None:
    stream = stocks(sim)
    stream.subscribe_trades(running.handler, "*")
    running.start(stream)
    running.subscribed()
    sim.trade("BTC/USD", 100000, 1)
    sim.trade("MSFT", 500, 1)
    sim.trade("AAPL", 150, 1)
    assert [trade.symbol for trade in running.received(Trade, count=2)] == ["MSFT", "AAPL"]


def test_the_bar_of_a_minute_and_of_the_day(sim: Sim, running: Running) -> None:
    stream = stocks(sim)
    stream.subscribe_bars(running.handler, "AAPL")
    stream.subscribe_daily_bars(running.handler, "AAPL")
    running.start(stream)
    running.subscribed()
    for price, size in ((150, 100), (152, 50), (149, 30), (151, 20)):
        sim.trade("AAPL", price, size)
        sim.advance(10_000)
    sim.advance(20_000)
    minute, day = running.received(Bar, count=2)
    for bar in (minute, day):
        assert (bar.symbol, bar.open, bar.high, bar.low, bar.close) == ("AAPL", 150.0, 152.0, 149.0, 151.0)
        assert (bar.volume, bar.trade_count) == (200.0, 4.0)
        assert bar.vwap == pytest.approx((150 * 100 + 152 * 50 + 149 * 30 + 151 * 20) / 200)
    assert minute.timestamp == START
    assert day.timestamp == datetime(2026, 3, 10, 4, tzinfo=UTC)  # midnight in New York

    sim.trade("AAPL", 160, 200)
    sim.advance(60_000)
    minute, day = running.received(Bar, count=4)[2:]
    assert (minute.timestamp, minute.open, minute.volume) == (START + timedelta(minutes=1), 160.0, 200.0)
    assert (day.open, day.high, day.close, day.volume) == (150.0, 160.0, 160.0, 400.0)


def test_a_late_print_updates_the_bar(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Prints come late only on a recorded tape: its rows stand in the order in which they arrived."""
    rows = ((0, 150, 100), (30, 151, 50), (65, 152, 10), (50, 140, 40), (100, 153, 10))
    tape = tmp_path / "late.jsonl"
    with tape.open("w") as file:
        for number, (second, price, size) in enumerate(rows):
            at = (START + timedelta(seconds=second)).isoformat().replace("+00:00", "Z")
            trade = {
                "T": "t",
                "S": "AAPL",
                "i": number,
                "x": "V",
                "p": price,
                "s": size,
                "c": ["@"],
                "t": at,
                "z": "C",
            }
            file.write(json.dumps(trade) + "\n")
    caplog.set_level(logging.INFO, logger="alpaca")
    with (
        running_sim(tape=str(tape), **STANDING) as sim,
        closing(Running(sim, caplog)) as running,
    ):
        stream = stocks(sim)
        stream.subscribe_bars(running.handler, "AAPL")
        stream.subscribe_updated_bars(running.handler, "AAPL")
        running.start(stream)
        running.subscribed()
        sim.advance(62_000)
        (bar,) = running.received(Bar)
        assert (bar.timestamp, bar.low, bar.close, bar.volume) == (START, 150.0, 151.0, 150.0)
        sim.advance(30_000)
        updated = running.received(Bar, count=2)[1]
        # Sold out of sequence: volume, and no price of that minute.
        assert (updated.timestamp, updated.low, updated.close) == (START, 150.0, 151.0)
        assert (updated.volume, updated.trade_count) == (190.0, 3.0)


def test_a_halt_and_the_resumption(sim: Sim, running: Running) -> None:
    stream = stocks(sim)
    stream.subscribe_trading_statuses(running.handler, "*")
    running.start(stream)
    running.subscribed()
    sim.market({"symbol": "AAPL", "status": "H"})
    sim.advance(5_000)
    sim.market({"symbol": "AAPL", "status": "T"})
    halt, resumption = running.received(TradingStatus, count=2)
    assert (halt.symbol, halt.status_code, halt.tape, halt.timestamp) == ("AAPL", "H", "C", START)
    assert halt.status_message
    assert (resumption.status_code, resumption.timestamp) == ("T", START + timedelta(seconds=5))


def test_a_print_is_corrected_and_another_canceled(sim: Sim, running: Running) -> None:
    stream = stocks(sim)
    stream.subscribe_trades(running.handler, "AAPL")
    stream.register_trade_corrections(running.handler)
    stream.register_trade_cancels(running.handler)
    running.start(stream)
    running.subscribed()
    ids = [sim.trade("AAPL", 150, 100), sim.trade("AAPL", 190, 30)]
    right, wrong = running.received(Trade, count=2)
    assert [right.id, wrong.id] == ids
    sim.market({"symbol": "AAPL", "correct": right.id, "price": 150.5, "size": 90})
    sim.market({"symbol": "AAPL", "cancel": wrong.id})
    (correction,) = running.received(TradeCorrection)
    assert (correction.symbol, correction.exchange, correction.tape) == ("AAPL", Exchange.V, "C")
    assert (correction.original_id, correction.original_price, correction.original_size) == (
        right.id,
        150.0,
        100.0,
    )
    assert (correction.corrected_price, correction.corrected_size) == (150.5, 90.0)
    assert correction.original_conditions == correction.corrected_conditions == ["@"]
    (cancel,) = running.received(TradeCancel)
    assert (cancel.symbol, cancel.id, cancel.price, cancel.size) == ("AAPL", wrong.id, 190.0, 30.0)
    assert (cancel.action, cancel.exchange, cancel.tape) == ("C", Exchange.V, "C")


def test_the_test_feed_has_the_test_symbol(sim: Sim, running: Running) -> None:
    stream = stocks(sim, TEST)
    stream.subscribe_quotes(running.handler, "FAKEPACA")
    running.start(stream)
    running.subscribed()
    sim.quote("FAKEPACA", 134.56, 134.58, 200, 300)
    wanted = (134.56, 134.58, 200.0)
    until(
        "the quote",  # among those that the feed makes by itself
        lambda: wanted in [(quote.bid_price, quote.ask_price, quote.bid_size) for quote in running.seen],
    )
    assert {quote.symbol for quote in running.seen} == {"FAKEPACA"}


def test_subscriptions_change_while_the_stream_runs(sim: Sim, running: Running) -> None:
    stream = stocks(sim)
    stream.subscribe_trades(running.handler, "AAPL")
    running.start(stream)
    running.subscribed()
    stream.subscribe_trades(running.handler, "SPY")
    running.subscribed(times=2)
    stream.unsubscribe_trades("AAPL")
    running.subscribed(times=3)
    sim.trade("AAPL", 150)
    sim.trade("SPY", 600)
    assert [trade.symbol for trade in running.received(Trade)] == ["SPY"]


def test_raw_data_keeps_the_venues_own_words(sim: Sim, running: Running) -> None:
    stream = stocks(sim, raw_data=True)
    stream.subscribe_trades(running.handler, "AAPL")
    running.start(stream)
    running.subscribed()
    sim.trade("AAPL", 150.01, 120)
    (message,) = running.received(dict)
    assert message.keys() == {"T", "S", "i", "x", "p", "s", "c", "z", "t"}
    assert (message["T"], message["S"], message["p"], message["s"]) == ("t", "AAPL", 150.01, 120)
    assert message["t"].to_unix_nano() == int(START.timestamp()) * 1_000_000_000


# -- crypto ---------------------------------------------------------------------------------------------------


def test_crypto_trades_quotes_and_bars(sim: Sim, running: Running) -> None:
    stream = crypto(sim)
    stream.subscribe_trades(running.handler, "BTC/USD")
    stream.subscribe_quotes(running.handler, "BTC/USD")
    stream.subscribe_bars(running.handler, "BTC/USD")
    stream.subscribe_daily_bars(running.handler, "BTC/USD")
    running.start(stream)
    running.subscribed()
    sim.trade("BTC/USD", 100000.5, 0.125)
    sim.quote("BTC/USD", 100000.25, 100000.75, 1.5, 2.5)
    (trade,), (quote,) = running.received(Trade), running.received(Quote)
    assert (trade.symbol, trade.price, trade.size, trade.timestamp) == ("BTC/USD", 100000.5, 0.125, START)
    assert isinstance(trade.id, int)
    assert (trade.exchange, trade.tape) == (None, None)
    assert (quote.bid_price, quote.ask_price, quote.bid_size, quote.ask_size) == (
        100000.25,
        100000.75,
        1.5,
        2.5,
    )
    sim.advance(60_000)
    minute, day = running.received(Bar, count=2)
    assert (minute.symbol, minute.timestamp, minute.close, minute.volume) == (
        "BTC/USD",
        START,
        100000.5,
        0.125,
    )
    assert (day.timestamp, day.volume) == (datetime(2026, 3, 10, tzinfo=UTC), 0.125)


def test_a_crypto_order_book_begins_whole_and_is_then_updated(sim: Sim, running: Running) -> None:
    stream = crypto(sim)
    stream.subscribe_orderbooks(running.handler, "BTC/USD")
    running.start(stream)
    running.subscribed()
    sim.quote("BTC/USD", 99999, 100001, 2, 4)
    first = running.received(Orderbook)[0]
    assert (first.symbol, first.reset) == ("BTC/USD", True)
    assert first.bids
    assert first.asks
    sim.quote("BTC/USD", 99998, 100001, 3, 5)
    last = {}

    def book() -> bool:
        """Whether what was sent adds up to the market of now."""
        sides: tuple[dict[float, float], dict[float, float]] = ({}, {})
        for message in running.received(Orderbook):
            for side, levels in zip(sides, (message.bids, message.asks), strict=True):
                if message.reset:
                    side.clear()
                side.update({level.price: level.size for level in levels})
        last["bids"], last["asks"] = ({p: s for p, s in side.items() if s} for side in sides)
        return last == {"bids": {99998.0: 3.0}, "asks": {100001.0: 5.0}}

    until(f"the book of now, not {last}", book)
    assert [message.reset for message in running.seen].count(True) == 1


# -- what goes wrong ------------------------------------------------------------------------------------------


def test_a_data_stream_comes_back_after_it_was_cut_off(sim: Sim, running: Running) -> None:
    stream = stocks(sim)
    stream.subscribe_trades(running.handler, "AAPL")
    running.start(stream)
    running.subscribed()
    sim.trade("AAPL", 150)
    running.received(Trade)
    sim.fault("market_data", "disconnect")
    running.subscribed(times=2)
    sim.trade("AAPL", 151)
    assert [trade.price for trade in running.received(Trade, count=2)] == [150.0, 151.0]
    assert running.logged("restarting connection") == 1


def test_a_data_stream_that_has_gone_quiet_is_opened_again(sim: Sim, running: Running) -> None:
    """The socket stays open and says nothing: only the SDK's `data_timeout` notices."""
    stream = stocks(sim, data_timeout=0.5)
    stream.subscribe_trades(running.handler, "AAPL")
    sim.fault("market_data", "mute")
    running.start(stream)
    running.subscribed()
    sim.trade("AAPL", 150)
    until("the silence is noticed", lambda: running.logged("no data received"))
    sim.clear_faults()
    until("a trade again", lambda: sim.trade("AAPL", 151) and running.seen)
    assert {trade.price for trade in running.seen} == {151.0}


def test_a_data_stream_stops_when_it_is_told_to(sim: Sim, running: Running) -> None:
    stream = stocks(sim)
    stream.subscribe_trades(running.handler, "AAPL")
    running.start(stream)
    running.subscribed()
    running.stop(stream, lambda: sim.trade("AAPL", 150))
    assert running.logged("stream stopped") == 1
    assert running.logged("restarting connection") == 0


def test_wrong_keys_and_a_second_connection_are_told_so(sim: Sim, running: Running) -> None:
    running.expected_errors = ("auth failed", "connection limit exceeded", "failed to authenticate")
    stream = stocks(sim)
    stream.subscribe_trades(running.handler, "AAPL")
    running.start(stream)
    running.subscribed()
    second = stocks(sim)
    stranger = StockDataStream(sim.key, "wrong", url_override=sim.market_stream_url(STOCKS))
    for other in (second, stranger):
        other.subscribe_trades(running.handler, "AAPL")
        running.start(other)
    listener = TradingStream(sim.key, "wrong", url_override=sim.trade_stream_url)
    listener.subscribe_trade_updates(running.handler)
    running.start(listener)
    for text in running.expected_errors:
        until(text, lambda text=text: running.logged(text))


# -- trade updates --------------------------------------------------------------------------------------------


@pytest.fixture
def updates(sim: Sim, trading: Any, running: Running) -> Running:
    """A TradingStream that is known to listen; nothing is seen yet."""
    stream = TradingStream(sim.key, sim.secret, url_override=sim.trade_stream_url)
    stream.subscribe_trade_updates(running.handler)
    running.start(stream)
    wait_until_listening(trading, running)
    return running


def test_the_life_of_a_bracket_in_trade_updates(sim: Sim, trading: Any, updates: Running) -> None:
    bracket = trading.submit_order(
        LimitOrderRequest(
            symbol="AAPL",
            qty=10,
            side=OrderSide.BUY,
            time_in_force=TimeInForce.GTC,
            limit_price=150,
            order_class=OrderClass.BRACKET,
            take_profit=TakeProfitRequest(limit_price=155),
            stop_loss=StopLossRequest(stop_price=148),
        )
    )
    target, _ = bracket.legs
    pending, new, fill, active = updates.received(TradeUpdate, count=4)
    assert [u.event for u in (pending, new, fill, active)] == [
        TradeEvent.PENDING_NEW, TradeEvent.NEW, TradeEvent.FILL, TradeEvent.NEW,
    ]  # fmt: skip
    assert [u.order.id for u in (pending, new, fill, active)] == [bracket.id] * 3 + [target.id]
    assert (pending.execution_id, pending.price, pending.qty, pending.position_qty) == (None,) * 4
    assert (fill.price, fill.qty, fill.position_qty, fill.timestamp) == (150.0, 10.0, 10.0, START)
    assert (fill.order.status, fill.order.filled_qty, fill.order.filled_avg_price) == (
        OrderStatus.FILLED, "10", "150",
    )  # fmt: skip
    assert active.order.status is OrderStatus.NEW

    sim.advance(2_000)
    sim.quote("AAPL", 155.00, 155.02)
    exit_fill = updates.received(TradeUpdate, count=5)[4]
    assert (exit_fill.event, exit_fill.order.id) == (TradeEvent.FILL, target.id)
    assert (exit_fill.price, exit_fill.qty, exit_fill.position_qty) == (155.0, 10.0, 0.0)
    assert exit_fill.timestamp == START + timedelta(seconds=2)
    executions = [row["id"].partition("::")[2] for row in trading.get("/account/activities/FILL")]
    assert executions == [str(exit_fill.execution_id), str(fill.execution_id)]


def test_partial_fills_replacements_and_cancels_in_trade_updates(
    sim: Sim, trading: Any, updates: Running
) -> None:
    order = trading.submit_order(
        LimitOrderRequest(symbol="AAPL", qty=600, side="buy", time_in_force="day", limit_price=150)
    )
    partial = updates.received(TradeUpdate, count=3)[2]
    assert (partial.event, partial.qty, partial.position_qty) == (TradeEvent.PARTIAL_FILL, 500.0, 500.0)
    assert (partial.order.status, partial.order.filled_qty) == (OrderStatus.PARTIALLY_FILLED, "500")
    new = trading.replace_order_by_id(order.id, ReplaceOrderRequest(limit_price=149))
    trading.cancel_order_by_id(new.id)

    until("the cancel", lambda: updates.seen[-1].event == TradeEvent.CANCELED)
    rest = [(u.event, u.order.id) for u in updates.seen[3:]]
    assert (TradeEvent.REPLACED, order.id) in rest
    assert (TradeEvent.NEW, new.id) in rest
    replaced = next(u for u in updates.seen if u.event == TradeEvent.REPLACED)
    assert (replaced.order.status, replaced.order.replaced_by) == (OrderStatus.REPLACED, new.id)
    canceled = updates.seen[-1]
    assert (canceled.order.id, canceled.order.status) == (new.id, OrderStatus.CANCELED)


def test_an_expiry_in_trade_updates(sim: Sim, trading: Any, updates: Running) -> None:
    order = trading.submit_order(
        LimitOrderRequest(symbol="AAPL", qty=1, side="buy", time_in_force="day", limit_price=140)
    )
    sim.advance_to("2026-03-10T20:00:01Z")
    expired = updates.received(TradeUpdate, count=3)[2]
    assert (expired.event, expired.order.id, expired.order.status) == (
        TradeEvent.EXPIRED, order.id, OrderStatus.EXPIRED,
    )  # fmt: skip


def test_a_trade_update_that_is_sent_twice_arrives_twice(sim: Sim, trading: Any, updates: Running) -> None:
    """The SDK does not notice; only the execution's id says that it is the same."""
    sim.fault("trade_updates", "duplicate", times=3)
    trading.submit_order(MarketOrderRequest(symbol="AAPL", qty=1, side="buy", time_in_force="day"))
    seen = updates.received(TradeUpdate, count=6)
    assert [update.event for update in seen] == ["pending_new", "pending_new", "new", "new", "fill", "fill"]
    assert seen[4] == seen[5]
    assert seen[4].execution_id is not None
    assert trading.get_open_position("AAPL").qty == "1"


def test_the_trade_stream_comes_back_and_what_it_missed_is_not_sent_again(
    sim: Sim, trading: Any, updates: Running
) -> None:
    sim.fault("trade_updates", "disconnect")
    until("the loss is noticed", lambda: updates.logged("restarting"))
    missed = trading.submit_order(MarketOrderRequest(symbol="AAPL", qty=1, side="buy", time_in_force="day"))
    wait_until_listening(trading, updates)
    order = trading.submit_order(MarketOrderRequest(symbol="AAPL", qty=1, side="buy", time_in_force="day"))
    fill = updates.received(TradeUpdate, count=3)[2]
    assert (fill.event, fill.order.id, fill.position_qty) == (TradeEvent.FILL, order.id, 2.0)
    assert missed.id not in {update.order.id for update in updates.seen}
    assert trading.get_order_by_id(missed.id).status is OrderStatus.FILLED
