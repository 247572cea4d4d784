"""A desk to trade at: an exchange under a hand-wound clock, and a running simulator on a loopback port."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import orjson
import pytest

from hands.core.units import NS_PER_MS, NS_PER_S, Ns, Price, Qty, Usd, decimal_text, nano
from hands.core.vocab import OrderClass, OrderType, Side, TimeInForce
from hands.sim.server.app import SimConfig, serve
from hands.sim.venue.calendar import NEW_YORK
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.orders import Order, OrderRequest, ReplaceRequest
from hands.sim.venue.ticks import Quote, Status, Trade

START_NS = 1_792_000_000 * 10**9


def price(text: str) -> Price:
    return Price(nano(text))


def _is_amount(name: str) -> bool:
    return name.endswith("_price") or name in {"notional", "trail_percent", "trail"}


class Desk:
    """An exchange and shorthand for what tests do with it; amounts are decimal text."""

    def __init__(self, cash: str = "100000", **options: Any) -> None:
        self.t_ns = START_NS
        self.exchange = Exchange(lambda: self.t_ns, cash_usd=Usd(nano(cash)), **options)
        self._trade_id = 0

    def wait(self, ms: int) -> None:
        """Let the clock go on; the exchange notices when it is next asked for something."""
        self.t_ns += ms * NS_PER_MS

    def pass_ms(self, ms: int) -> None:
        """Let that much time pass, and the exchange do what was due."""
        self.wait(ms)
        self.exchange.advance()

    def quote(self, symbol: str, bid: str, ask: str, size: str = "1000", ask_size: str | None = None) -> None:
        sizes = Qty(nano(size)), Qty(nano(ask_size or size))
        self.exchange.on_ticks([Quote(symbol, price(bid), price(ask), *sizes, Ns(self.t_ns))])

    def trade(self, symbol: str, at: str, size: str = "100") -> None:
        self._trade_id += 1
        self.exchange.on_ticks([Trade(symbol, price(at), Qty(nano(size)), Ns(self.t_ns), self._trade_id)])

    def request(
        self, symbol: str, side: str, qty: str, kind: str = "market", tif: str | None = None, **fields: Any
    ) -> OrderRequest:
        default_tif = "gtc" if "/" in symbol else "day"
        amounts: dict[str, Any] = {name: nano(fields.pop(name)) for name in list(fields) if _is_amount(name)}
        others = fields
        if "order_class" in others:
            others["order_class"] = OrderClass(others["order_class"])
        return OrderRequest(
            symbol,
            Side(side),
            OrderType(kind),
            TimeInForce(tif or default_tif),
            Qty(nano(qty)),
            **amounts,
            **others,
        )

    def send(
        self, symbol: str, side: str, qty: str, kind: str = "market", tif: str | None = None, **f: Any
    ) -> Order:
        """Submit and return the *live* order, not the acknowledged snapshot."""
        order = self.exchange.submit(self.request(symbol, side, qty, kind, tif, **f))
        return self.exchange.blotter.find(order.order_id)

    def replace(self, order: Order, **fields: Any) -> Order:
        """Replace and return the *live* order that the exchange answered with; `qty` as decimal text too."""
        amounts = {name: nano(v) for name, v in fields.items() if _is_amount(name) or name == "qty"}
        request = ReplaceRequest(**(fields | amounts))
        return self.exchange.blotter.find(self.exchange.replace(order.order_id, request).order_id)

    def status(self, symbol: str, code: str) -> None:
        """Let a trading status come over the tape: "H" halts, "T" resumes."""
        self.exchange.on_notice(Status(symbol, code, "", "", "", Ns(self.t_ns)))

    def at(self, *parts: int) -> None:
        """Move the clock to an exchange date and time and let that much time pass."""
        self.t_ns = int(dt.datetime(*parts, tzinfo=NEW_YORK).timestamp()) * NS_PER_S
        self.exchange.advance()

    def bracket(
        self, qty: str = "10", limit: str = "150.15", target: str = "155", stop: str = "148", **f: Any
    ) -> Order:
        return self.send(
            "AAPL",
            "buy",
            qty,
            "limit",
            "gtc",
            limit_price=limit,
            order_class="bracket",
            take_profit_limit_price=target,
            stop_loss_stop_price=stop,
            **f,
        )

    def legs(self, entry: Order) -> tuple[Order, Order]:
        """The take-profit and the stop of a bracket."""
        assert entry.group is not None
        profit, stop = entry.group.take_profit, entry.group.stop_loss
        assert profit is not None
        assert stop is not None
        return profit, stop

    def position(self, symbol: str) -> str:
        return decimal_text(self.exchange.account.qty(symbol))

    def cash(self) -> str:
        return decimal_text(self.exchange.account.cash)

    def events(self) -> list[tuple[str, str]]:
        """What the stream would carry since the last call: (event, leg)."""
        return [(update.event, update.order.leg.value) for update in self.exchange.take_updates()]

    def naked(self, symbol: str) -> dict[str, int | None]:
        return self.exchange.exposure.at(Ns(self.t_ns)).get(symbol, {})


@pytest.fixture
def desk() -> Desk:
    """Instant fills, AAPL at 149.98/150.00 and BTC/USD at 60000/60010."""
    made = Desk()
    made.quote("AAPL", "149.98", "150")
    made.quote("BTC/USD", "60000", "60010")
    return made


@pytest.fixture
def make_desk() -> Callable[..., Desk]:
    return Desk


async def receive(ws: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """Return the next message of a trade stream, which must come in a binary frame."""
    return orjson.loads(await ws.receive_bytes(timeout=10))


class Client:
    """A client of a running simulator."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        async with self.session.request(method, path, json=body, **options) as response:
            is_json = response.content_type == "application/json"
            return response.status, await response.json() if is_json else await response.text()

    async def quote(self, symbol: str, bid: float, ask: float, size: float = 1000) -> None:
        row = {"symbol": symbol, "bid": bid, "ask": ask, "bid_size": size, "ask_size": size}
        assert await self.call("POST", "/sim/v1/market", [row]) == (200, {"published": 1})

    async def buy(self, **fields: Any) -> tuple[int, Any]:
        order = {"symbol": "AAPL", "side": "buy", "qty": "1", "type": "market", "time_in_force": "day"}
        return await self.call("POST", "/v2/orders", order | fields)

    async def truth(self) -> dict[str, Any]:
        return (await self.call("GET", "/sim/v1/truth"))[1]

    async def fault(self, *faults: dict[str, Any]) -> None:
        assert await self.call("POST", "/sim/v1/faults", list(faults)) == (200, {"installed": len(faults)})

    async def listen(self) -> aiohttp.ClientWebSocketResponse:
        ws = await self.session.ws_connect("/stream")
        await ws.send_json({"action": "auth", "key": "sim", "secret": "sim"})
        assert (await receive(ws))["data"]["status"] == "authorized"
        await ws.send_json({"action": "listen", "data": {"streams": ["trade_updates"]}})
        assert (await receive(ws))["data"] == {"streams": ["trade_updates"]}
        return ws


@pytest.fixture
def on_simulator() -> Callable[..., None]:
    """Return a function that runs `scenario(client)` against a fresh simulator with a manual tape."""

    def run(scenario: Callable[[Client], Awaitable[None]], **options: Any) -> None:
        async def main() -> None:
            ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            server = asyncio.create_task(serve(SimConfig(tape=("manual",), **options), ready.set_result))
            await asyncio.wait({server, ready}, return_when=asyncio.FIRST_COMPLETED)
            if server.done():
                server.result()
            headers = {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"}
            try:
                async with aiohttp.ClientSession(await ready, headers=headers) as session:
                    client = Client(session, ready.result())
                    await client.quote("AAPL", 149.98, 150.0)
                    await asyncio.wait_for(scenario(client), 20)
            finally:
                server.cancel()
                await asyncio.wait({server})

        asyncio.run(main())

    return run
