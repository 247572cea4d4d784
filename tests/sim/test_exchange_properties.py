"""Whatever is sent and however the market moves: nothing is created, overfilled or resurrected."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hands.core.units import CENT, NANO, Ns, Price, Qty, Usd, mul_floor
from hands.core.vocab import OrderClass, OrderStatus, OrderType, Side, TimeInForce
from hands.sim.venue.errors import VenueError
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.orders import OrderRequest, ReplaceRequest
from hands.sim.venue.quirks import Quirks
from hands.sim.venue.ticks import Quote, Trade

CASH = Usd(50_000 * NANO)
SYMBOLS = ("AAPL", "BTC/USD")
START_NS = 1_792_000_000 * 10**9

near = st.integers(9_800, 10_200).map(lambda n: Price(n * CENT))
below = st.integers(9_000, 9_750).map(lambda n: Price(n * CENT))
above = st.integers(10_250, 11_000).map(lambda n: Price(n * CENT))
lots = st.integers(1, 200).map(lambda n: Qty(n * NANO))
coins = st.integers(NANO // 5, 200 * NANO).map(Qty)
sides = st.sampled_from(Side)


@st.composite
def simple_orders(draw: st.DrawFn) -> OrderRequest:
    """An order of any type the asset takes, its stop mostly on the right side."""
    symbol, side = draw(st.sampled_from(SYMBOLS)), draw(sides)
    is_coin = symbol == "BTC/USD"
    kind = draw(
        st.sampled_from(
            [OrderType.MARKET, OrderType.LIMIT, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT]
        )
    )
    if is_coin and kind is OrderType.STOP:
        kind = OrderType.STOP_LIMIT
    has_limit = kind in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    has_stop = kind in (OrderType.STOP, OrderType.STOP_LIMIT)
    tifs = [TimeInForce.GTC, TimeInForce.GTC] if is_coin or has_stop else [TimeInForce.DAY, TimeInForce.FOK]
    tifs += [] if has_stop else [TimeInForce.IOC]
    return OrderRequest(
        symbol,
        side,
        kind,
        draw(st.sampled_from(tifs)),
        draw(coins if is_coin else lots),
        limit_price=draw(near) if has_limit else None,
        stop_price=draw(below if side is Side.SELL else above) if has_stop else None,
    )


@st.composite
def group_orders(draw: st.DrawFn) -> OrderRequest:
    """A bracket, or an OCO for a position there may or may not be, its legs on their sides."""
    order_class, side = draw(st.sampled_from([OrderClass.BRACKET, OrderClass.OCO])), draw(sides)
    is_oco = order_class is OrderClass.OCO
    closes_by_selling = (side is Side.SELL) == is_oco
    return OrderRequest(
        "AAPL",
        side,
        OrderType.LIMIT,
        TimeInForce.GTC,
        draw(lots),
        limit_price=None if is_oco else draw(near),
        order_class=order_class,
        take_profit_limit_price=draw(above if closes_by_selling else below),
        stop_loss_stop_price=draw(below if closes_by_selling else above),
    )


prices = st.one_of(near, below, above)
changes = st.builds(
    ReplaceRequest,
    qty=st.one_of(st.none(), lots),
    limit_price=st.one_of(st.none(), prices),
    stop_price=st.one_of(st.none(), prices),
)
symbols = st.sampled_from(SYMBOLS)
actions = st.one_of(
    st.tuples(st.just("submit"), simple_orders()),
    st.tuples(st.just("submit"), group_orders()),
    st.tuples(st.just("quote"), symbols, prices, st.integers(1, 20), st.integers(1, 100)),
    st.tuples(st.just("trade"), symbols, prices, st.integers(1, 100)),
    st.tuples(st.just("cancel"), st.integers(0, 50)),
    st.tuples(st.just("replace"), st.integers(0, 50), changes),
    st.tuples(st.just("close"), symbols),
)
scripts = st.lists(actions, min_size=5, max_size=40)


def act(exchange: Exchange, action: tuple, t_ns: int) -> None:
    match action:
        case ("submit", request):
            exchange.submit(request)
        case ("quote", symbol, bid, spread, size):
            sizes = Qty(size * NANO)
            exchange.on_ticks([Quote(symbol, bid, Price(bid + spread * CENT), sizes, sizes, Ns(t_ns))])
        case ("trade", symbol, price, size):
            exchange.on_ticks([Trade(symbol, price, Qty(size * NANO), Ns(t_ns), t_ns)])
        case ("close", symbol):
            exchange.close_position(symbol)
        case ("cancel", n):
            orders = list(exchange.blotter)
            exchange.cancel(orders[n % len(orders)].order_id if orders else "none")
        case ("replace", n, change):
            orders = list(exchange.blotter)
            exchange.replace(orders[n % len(orders)].order_id if orders else "none", change)


def check(exchange: Exchange) -> None:
    fills = exchange.blotter.fills
    cash, holdings = CASH, dict.fromkeys(SYMBOLS, 0)
    by_order: dict[str, int] = {}
    for fill in fills:
        sign = 1 if fill.side is Side.BUY else -1
        cash = Usd(
            cash - sign * mul_floor(fill.price, fill.qty) - (fill.fee if fill.fee_asset == "USD" else 0)
        )
        holdings[fill.symbol] += sign * fill.qty - (fill.fee if fill.fee_asset != "USD" else 0)
        by_order[fill.order_id] = by_order.get(fill.order_id, 0) + fill.qty
    # A purchase's cost is rounded up: at most one nano-dollar per fill.
    assert 0 <= cash - exchange.account.cash <= len(fills)
    assert all(exchange.account.qty(symbol) == qty for symbol, qty in holdings.items())
    assert exchange.account.qty("BTC/USD") >= 0, "coins cannot be sold short"
    funds = exchange.funds()
    assert funds.buying_power >= 0
    assert funds.non_marginable_buying_power >= 0
    for order in exchange.blotter:
        assert 0 <= order.filled_qty <= order.qty
        assert by_order.get(order.order_id, 0) <= order.filled_qty
        assert (order.status is OrderStatus.FILLED) == (order.remaining == 0)
        seen = [status for _, status in order.history]
        assert not any(status.is_terminal for status in seen[:-1]), "nothing happens to a finished order"
        live = order in exchange.blotter.live_of(order.symbol)
        assert live == order.is_live
    for fill in fills:
        order = exchange.blotter.find(fill.order_id)
        if order.limit_price is not None:
            is_inside = (
                fill.price <= order.limit_price if order.side is Side.BUY else fill.price >= order.limit_price
            )
            assert is_inside
    executions = [fill.execution_id for fill in fills]
    assert len(set(executions)) == len(executions)


@settings(max_examples=200)
@given(scripts, st.sampled_from(["instant", "realistic"]), st.integers(0, 3))
def test_books_balance_and_nothing_is_overfilled(script, fills, seed):
    t_ns = START_NS
    exchange = Exchange(lambda: t_ns, cash_usd=CASH, seed=seed, fills=fills)
    for symbol in SYMBOLS:
        act(exchange, ("quote", symbol, Price(10_000 * CENT), 2, 50), t_ns)
    for action in script:
        t_ns += 1_000_000
        before = len(exchange.blotter)
        try:
            act(exchange, action, t_ns)
        except VenueError:
            assert len(exchange.blotter) == before
        check(exchange)


@settings(max_examples=50)
@given(scripts)
def test_stream_alone_tells_the_whole_story(script):
    t_ns = START_NS
    exchange = Exchange(
        lambda: t_ns, cash_usd=CASH, fills="realistic", quirks=Quirks(stop_cancel_event="sent")
    )
    for action in script:
        t_ns += 1_000_000
        try:
            act(exchange, action, t_ns)
        except VenueError:
            continue
    told: dict[str, tuple[OrderStatus, int]] = {}
    for update in exchange.take_updates():
        told[update.order.order_id] = (update.order.status, update.order.filled_qty)
    for order in exchange.blotter:
        if order.status is not OrderStatus.HELD:
            assert told[order.order_id] == (order.status, order.filled_qty)


@settings(max_examples=30)
@given(scripts, st.integers(0, 5))
def test_same_script_gives_the_same_run(script, seed):
    def run() -> list[object]:
        t_ns = START_NS
        exchange = Exchange(lambda: t_ns, cash_usd=CASH, seed=seed, fills="realistic")
        for action in script:
            t_ns += 1_000_000
            try:
                act(exchange, action, t_ns)
            except VenueError:
                continue
        return [(u.event, u.event_id, u.execution_id, u.qty) for u in exchange.take_updates()]

    assert run() == run()


class Walk:
    """A long run that looks at the exchange before it acts, so that it gets where blind scripts seldom do."""

    def __init__(self, seed: int, fills: str) -> None:
        self.random = random.Random(seed)
        self.t_ns = START_NS
        self.exchange = Exchange(lambda: self.t_ns, cash_usd=CASH, seed=seed, fills=fills)
        self.mid = dict.fromkeys(SYMBOLS, 10_000)

    def price(self, symbol: str, low: int, high: int) -> Price:
        return Price((self.mid[symbol] + self.random.randint(low, high)) * CENT)

    def step(self) -> None:
        self.t_ns += self.random.randint(1, 50) * 1_000_000
        symbol = self.random.choice(SYMBOLS)
        moves = [self.quote, self.quote, self.quote, self.trade, self.trade, self.simple, self.bracket]
        self.random.choice(
            [*moves, self.oco, self.coin_stop, self.replace, self.replace, self.cancel, self.close]
        )(symbol)

    def quote(self, symbol: str) -> None:
        self.mid[symbol] = max(5_000, self.mid[symbol] + self.random.randint(-60, 60))
        bid, spread = self.mid[symbol] * CENT, self.random.randint(1, 10)
        act(self.exchange, ("quote", symbol, Price(bid), spread, self.random.randint(1, 60)), self.t_ns)

    def trade(self, symbol: str) -> None:
        act(
            self.exchange,
            ("trade", symbol, self.price(symbol, -80, 80), self.random.randint(1, 60)),
            self.t_ns,
        )

    def simple(self, symbol: str) -> None:
        is_limit = self.random.random() < 0.7
        tif = self.random.choice([TimeInForce.GTC, TimeInForce.IOC])
        kind = OrderType.LIMIT if is_limit else OrderType.MARKET
        limit = self.price(symbol, -50, 50) if is_limit else None
        qty = Qty(self.random.randint(1, 40) * NANO)
        self.exchange.submit(OrderRequest(symbol, self.random.choice(list(Side)), kind, tif, qty, limit))

    def bracket(self, _: str) -> None:
        side = self.random.choice(list(Side))
        sign = 1 if side is Side.BUY else -1
        self.exchange.submit(
            OrderRequest(
                "AAPL",
                side,
                OrderType.LIMIT,
                TimeInForce.GTC,
                Qty(self.random.randint(1, 60) * NANO),
                limit_price=self.price("AAPL", -10, 20),
                order_class=OrderClass.BRACKET,
                take_profit_limit_price=self.price("AAPL", sign * 120, sign * 120),
                stop_loss_stop_price=self.price("AAPL", -sign * 120, -sign * 120),
            )
        )

    def oco(self, _: str) -> None:
        held = self.exchange.account.qty("AAPL")
        sign = 1 if held > 0 else -1
        self.exchange.submit(
            OrderRequest(
                "AAPL",
                Side.SELL if held > 0 else Side.BUY,
                OrderType.LIMIT,
                TimeInForce.GTC,
                Qty(abs(held) // 2 // NANO * NANO),
                order_class=OrderClass.OCO,
                take_profit_limit_price=self.price("AAPL", sign * 90, sign * 90),
                stop_loss_stop_price=self.price("AAPL", -sign * 90, -sign * 90),
            )
        )

    def coin_stop(self, _: str) -> None:
        qty = self.exchange.account.qty("BTC/USD")
        stop, limit = self.price("BTC/USD", -50, -50), self.price("BTC/USD", -200, -150)
        request = OrderRequest("BTC/USD", Side.SELL, OrderType.STOP_LIMIT, TimeInForce.GTC, qty, limit, stop)
        self.exchange.submit(request)

    def replace(self, symbol: str) -> None:
        live = self.exchange.blotter.live_of(symbol)
        if live:
            order = self.random.choice(live)
            price = Price(
                (order.stop_price or order.limit_price or CENT) + self.random.randint(-40, 40) * CENT
            )
            change = (
                ReplaceRequest(stop_price=price) if order.stop_price else ReplaceRequest(limit_price=price)
            )
            self.exchange.replace(order.order_id, change)

    def cancel(self, symbol: str) -> None:
        live = self.exchange.blotter.live_of(symbol)
        if live:
            self.exchange.cancel(self.random.choice(live).order_id)

    def close(self, symbol: str) -> None:
        self.exchange.cancel_all()
        self.exchange.close_position(symbol)


@pytest.mark.parametrize("fills", ["instant", "realistic"])
def test_long_walks_keep_the_books_and_reach_every_corner(fills):
    seen: set[tuple[OrderClass, OrderStatus]] = set()
    for seed in range(12):
        walk = Walk(seed, fills)
        for symbol in SYMBOLS:
            walk.quote(symbol)
        for n in range(250):
            with contextlib.suppress(VenueError):
                walk.step()
            if n % 5 == 0:
                check(walk.exchange)
        check(walk.exchange)
        seen.update(
            (order.order_class, status) for order in walk.exchange.blotter for _, status in order.history
        )
    wanted = [OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.REPLACED]
    wanted += [OrderStatus.PARTIALLY_FILLED] if fills == "realistic" else []
    missing = [
        (order_class, status)
        for order_class in (OrderClass.SIMPLE, OrderClass.BRACKET, OrderClass.OCO)
        for status in wanted
        if (order_class, status) not in seen
    ]
    assert missing == []
