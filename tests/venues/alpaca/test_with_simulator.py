"""The whole shell against the exchange simulator, as a second process, over real sockets."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid

import pytest

from hands.core.commands import CancelOrder, QueryOrder
from hands.core.events import (
    Link,
    LinkReport,
    OrderReport,
    RequestAnswered,
    RequestFailed,
    RequestKind,
    TradingStatusReport,
)
from hands.core.orders import ApprovedEntry, ReducingOrder, client_order_id
from hands.core.units import Ns, Price, Qty, nano
from hands.core.vocab import AssetClass, Leg, OrderClass, OrderStatus, OrderType, Side, TimeInForce
from hands.venues.alpaca.endpoints import Credentials, Endpoints, origin_of
from hands.venues.alpaca.http import HttpPool
from hands.venues.alpaca.market_feed import MarketFeed
from hands.venues.alpaca.order_entry import OrderEntry
from hands.venues.alpaca.reconnect import Pace
from hands.venues.alpaca.snapshots import Snapshots
from hands.venues.alpaca.trade_stream import TradeStream

pytestmark = pytest.mark.e2e

SYMBOLS = ("AAPL", "BTC/USD")
KEYS = Credentials("sim", "sim")
LINKS = {Link.EQUITY_DATA, Link.CRYPTO_DATA, Link.TRADE_UPDATES, Link.ORDER_ENTRY}
QUICK = Pace(first_s=0.02, most_s=0.1)


@pytest.fixture
def exchange():
    """The base URL of a fresh simulator with a manual market."""
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "hands",
            "sim",
            "--listen",
            "127.0.0.1:0",
            "--tape",
            "manual",
            "--fills",
            "instant",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            process.wait(10)


class Shell:
    """All connections of an engine, and everything they brought."""

    def __init__(self, url):
        self.events = []
        self.rows = []
        endpoints = Endpoints.of(url)
        index = {symbol: n for n, symbol in enumerate(SYMBOLS)}
        self.orders = OrderEntry(endpoints, KEYS, time.time_ns, self.events.append, symbols=SYMBOLS)
        self.stream = TradeStream(
            endpoints, KEYS, self.events.append, time.time_ns, symbols=SYMBOLS, pace=QUICK
        )
        self.feeds = [
            MarketFeed(
                endpoints,
                KEYS,
                [symbol],
                index,
                self._take,
                self.events.append,
                time.time_ns,
                link,
                pace=QUICK,
            )
            for symbol, link in zip(SYMBOLS, (Link.EQUITY_DATA, Link.CRYPTO_DATA), strict=True)
        ]
        self.snapshots = Snapshots(endpoints, KEYS, time.time_ns, symbols=SYMBOLS)
        self.control = HttpPool(origin_of(url), KEYS)

    def _take(self, rows, count):
        self.rows.extend(rows[:count].tolist())

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def reports(self, name):
        return [event for event in self.of(OrderReport) if event.event == name]

    def answers(self, kind):
        return [event for event in self.of(RequestAnswered) if event.kind is kind]

    async def post(self, path, body):
        response = await self.control.fetch("POST", path, json.dumps(body).encode())
        assert response.status == 200, response.body

    async def __aenter__(self):
        for part in (self.orders, self.stream, *self.feeds):
            await part.start()
        return self

    async def __aexit__(self, *_):
        for part in (self.orders, self.stream, *self.feeds):
            await part.stop()
        await self.snapshots.close()
        await self.control.close()


@pytest.fixture
def play(run, exchange, wait_until):
    def start(scenario):
        async def whole():
            async with Shell(exchange) as shell:
                await wait_until(lambda: {e.link for e in shell.of(LinkReport) if e.up} == LINKS, "all links")
                await shell.post("/sim/v1/market", [
                    {"symbol": "AAPL", "bid": 150.0, "ask": 150.02, "bid_size": 500, "ask_size": 500},
                    {"symbol": "AAPL", "price": 150.01, "size": 100},
                    {"symbol": "BTC/USD", "bid": 50000, "ask": 50001, "bid_size": 1, "ask_size": 2},
                ])  # fmt: skip
                await wait_until(lambda: len(shell.rows) == 3, "the market")
                await scenario(shell)

        run(whole())

    return start


def entry(order_class=OrderClass.BRACKET):
    intent_id = str(uuid.uuid4())
    bracket = order_class is OrderClass.BRACKET
    return ApprovedEntry(
        client_order_id=client_order_id(intent_id, Leg.ENTRY, 1),
        intent_id=intent_id,
        symbol="AAPL",
        asset_class=AssetClass.EQUITY,
        side=Side.BUY,
        qty=Qty(nano("66")),
        limit_price=Price(nano("150.15")),
        time_in_force=TimeInForce.GTC,
        order_class=order_class,
        take_profit=Price(nano("155")) if bracket else None,
        stop_loss=Price(nano("148")) if bracket else None,
        deadline_ns=Ns(time.time_ns() + 10**10),
    )


def test_the_market_arrives_exactly(play):
    async def scenario(shell):
        assert {row[:8] for row in shell.rows} == {
            (0, 2, 1, 0, 150.0, 500.0, 150.02, 500.0),
            (0, 1, 1, ord("V"), 150.01, 100.0, 0.0, 0.0),
            (1, 2, 1, 0, 50000.0, 1.0, 50001.0, 2.0),
        }
        bid, ask, *_ = await shell.snapshots.latest_quote("AAPL")
        assert (bid, ask) == (150.0, 150.02)
        assert (await shell.snapshots.latest_quote("BTC/USD"))[:2] == (50000.0, 50001.0)

    play(scenario)


def test_a_bracket_lives_and_is_replaced_by_an_oco(play, wait_until):
    async def scenario(shell):
        order = entry()
        assert shell.orders.submit(order) is not None
        await wait_until(lambda: shell.reports("fill"), "the fill")
        await wait_until(lambda: shell.answers(RequestKind.SUBMIT), "the answer")
        (fill,) = shell.reports("fill")
        assert fill.order.client_order_id == order.client_order_id
        assert fill.execution.qty == fill.position_qty == nano("66")
        shell.orders.query(QueryOrder(client_order_id=order.client_order_id))
        await wait_until(lambda: shell.answers(RequestKind.QUERY))
        queried = shell.answers(RequestKind.QUERY)[0].order
        assert queried.status is OrderStatus.FILLED
        assert {leg.order_type for leg in queried.legs} == {OrderType.LIMIT, OrderType.STOP}
        leg = queried.legs[0]
        shell.orders.cancel(CancelOrder(order_id=leg.order_id, client_order_id=leg.client_order_id))
        await wait_until(lambda: len(shell.reports("canceled")) == 2, "both legs gone")
        oco = ReducingOrder(
            client_order_id=client_order_id(order.intent_id, Leg.EXIT, 1),
            intent_id=order.intent_id,
            leg=Leg.EXIT,
            symbol="AAPL",
            asset_class=AssetClass.EQUITY,
            side=Side.SELL,
            qty=order.qty,
            order_type=OrderType.LIMIT,
            time_in_force=TimeInForce.GTC,
            order_class=OrderClass.OCO,
            take_profit=Price(nano("155")),
            stop_price=Price(nano("148")),
        )
        shell.orders.submit(oco)
        await wait_until(lambda: len(shell.answers(RequestKind.SUBMIT)) == 2)
        assert shell.answers(RequestKind.SUBMIT)[1].status == 200
        truth = await shell.snapshots.truth([order.client_order_id, "hands-nobody"])
        assert truth.missing == ("hands-nobody",)
        assert {seen.client_order_id for seen in truth.orders} >= {order.client_order_id, oco.client_order_id}
        assert [(p.symbol, p.qty, p.qty_available) for p in truth.positions] == [("AAPL", nano("66"), 0)]
        assert shell.of(RequestFailed) == []

    play(scenario)


def test_the_same_id_twice_is_refused_by_the_venue(play, wait_until):
    async def scenario(shell):
        order = entry()
        shell.orders.submit(order)
        await wait_until(lambda: shell.answers(RequestKind.SUBMIT))
        shell.orders.submit(order)
        await wait_until(lambda: len(shell.answers(RequestKind.SUBMIT)) == 2)
        again = shell.answers(RequestKind.SUBMIT)[1]
        assert again.status == 422
        assert again.order is None
        assert "client_order_id" in again.message

    play(scenario)


@pytest.mark.parametrize(("fault", "status"), [("drop_response", 200), ("drop_request", 404)])
def test_a_lost_answer_is_unknown_and_the_order_is_asked_for_by_id(play, wait_until, fault, status):
    """Trap 1: the venue may or may not have the order; only asking tells."""

    async def scenario(shell):
        await shell.post("/sim/v1/faults", [{"on": "POST /v2/orders", "do": fault, "times": 1}])
        order = entry()
        shell.orders.submit(order)
        await wait_until(lambda: shell.of(RequestFailed))
        assert shell.of(RequestFailed)[0].may_have_been_sent
        shell.orders.query(QueryOrder(client_order_id=order.client_order_id))
        await wait_until(lambda: shell.answers(RequestKind.QUERY))
        assert shell.answers(RequestKind.QUERY)[0].status == status

    play(scenario)


def test_the_streams_come_back_by_themselves(play, wait_until):
    async def scenario(shell):
        for stream in ("trade_updates", "market_data"):
            await shell.post("/sim/v1/faults", [{"on": stream, "do": "disconnect", "times": 1}])
        await wait_until(lambda: len([e for e in shell.of(LinkReport) if not e.up]) >= 2, "the losses")
        await wait_until(
            lambda: shell.stream.is_up and all(feed.is_up for feed in shell.feeds), "all up again"
        )
        before = len(shell.rows)
        await shell.post("/sim/v1/market", [{"symbol": "AAPL", "price": 150.0, "size": 100}])
        await wait_until(lambda: len(shell.rows) > before, "data again")

    play(scenario)


def test_msgpack_and_json_bring_the_same_rows_and_notices(run, exchange, wait_until, monkeypatch):
    """We ask for msgpack; a venue that answers in JSON, as its default is, is understood just as well."""
    heard = {}

    async def listen(content_type):
        monkeypatch.setattr("hands.venues.alpaca.market_feed.CONTENT_TYPE", content_type)
        rows, notices, links = [], [], []
        feed = MarketFeed(
            Endpoints.of(exchange), KEYS, ["AAPL"], {"AAPL": 0}, lambda array, count: rows.extend(array[:count].copy()),
            links.append, time.time_ns, Link.EQUITY_DATA, pace=QUICK, on_notice=notices.append,
        )  # fmt: skip
        control = HttpPool(origin_of(exchange), KEYS)
        await control.fetch("POST", "/sim/v1/reset", b"{}")
        await feed.start()
        await wait_until(lambda: feed.counts.frames == 4, "the market and its statuses are subscribed to")
        market = [
            {"symbol": "AAPL", "price": 150.01, "size": 100, "conditions": ["@"]},
            {"symbol": "AAPL", "price": 150.5, "size": 7, "conditions": ["Z"]},
            {"symbol": "AAPL", "bid": 150.0, "ask": 150.02, "bid_size": 500, "ask_size": 300},
            {"symbol": "AAPL", "correct": 1, "price": 149.5},
            {"symbol": "AAPL", "cancel": 2},
            {"symbol": "AAPL", "status": "H", "reason": "T12"},
        ]
        response = await control.fetch("POST", "/sim/v1/market", json.dumps(market).encode())
        assert response.status == 200, response.body
        await wait_until(lambda: len(rows) == 3 and len(notices) == 3, "the market")
        assert (feed.counts.malformed, feed.counts.unknown_symbols, feed.counts.unreadable_frames) == (
            0,
            0,
            0,
        )
        await feed.stop()
        await control.close()
        names = ("sym", "kind", "flags", "exchange", "price", "size", "price2", "size2", "trade_id")
        correction, cancel, status = notices
        heard[content_type] = (
            [tuple(row[name].item() for name in names) for row in rows],
            (
                correction.original_id,
                correction.original_price,
                correction.trade_id,
                correction.price,
                correction.flags,
            ),
            (cancel.trade_id, cancel.price, cancel.size),
            (status.code, status.reason_code),
            [event.halted for event in links if isinstance(event, TradingStatusReport)],
        )

    async def scenario():
        for content_type in ("application/msgpack", "application/json"):
            await listen(content_type)

    run(scenario())
    packed, text = heard.values()
    assert packed == text
    assert [row[:3] for row in packed[0]] == [(0, 1, 1), (0, 1, 2), (0, 2, 1)]
    assert packed[1:] == ((1, 150.01, 3, 149.5, 1), (2, 150.5, 7.0), ("H", "T12"), [True])
