"""Whatever is sent and however the market moves: nothing is created, overfilled or resurrected.

Every habit, latency, session, type and class of order at random, with halts, splits and jumps over the close.
`Audit` looks after every step; scripts shrink to the shortest one that breaks a rule, walks look before they act
and so get where blind scripts seldom do. `HANDS_SOAK=1` goes on for longer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import itertools
import os
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hands.core.units import CENT, NANO, NS_PER_MS, NS_PER_S, Ns, Price, Qty, Ratio, Usd, mul_ceil, mul_floor
from hands.core.vocab import OrderClass, OrderStatus, OrderType, Side, TimeInForce
from hands.sim.venue.calendar import NEW_YORK
from hands.sim.venue.errors import VenueError
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.orders import Order, OrderRequest, ReplaceRequest
from hands.sim.venue.quirks import Latency, Quirks, catalogue
from hands.sim.venue.ticks import Quote, Status, Trade

CASH = Usd(50_000 * NANO)
SYMBOLS = ("AAPL", "BTC/USD")
# Ten minutes before the close of a Wednesday, so that a script sees sessions change.
START_NS = int(dt.datetime(2026, 11, 18, 15, 50, tzinfo=NEW_YORK).timestamp()) * NS_PER_S
IS_SOAK = bool(os.environ.get("HANDS_SOAK"))

S = OrderStatus
ENDS = {S.CANCELED, S.EXPIRED}
PENDING = {S.PENDING_CANCEL, S.PENDING_REPLACE}
ARCS = {
    S.PENDING_NEW: ENDS | {S.ACCEPTED, S.NEW, S.PENDING_CANCEL, S.REJECTED, S.PARTIALLY_FILLED, S.HELD},
    S.ACCEPTED: ENDS | {S.NEW, S.PENDING_CANCEL},
    S.HELD: ENDS | PENDING | {S.NEW, S.REPLACED},
    S.NEW: ENDS | PENDING | {S.PARTIALLY_FILLED, S.FILLED, S.REPLACED, S.DONE_FOR_DAY},
    S.PARTIALLY_FILLED: ENDS | PENDING | {S.PARTIALLY_FILLED, S.FILLED, S.REPLACED, S.DONE_FOR_DAY},
    S.DONE_FOR_DAY: ENDS | PENDING | {S.NEW, S.PARTIALLY_FILLED, S.REPLACED},
    S.PENDING_CANCEL: ENDS | {S.FILLED, S.REPLACED, S.REJECTED},
    S.PENDING_REPLACE: ENDS | {S.FILLED, S.REPLACED, S.HELD, S.NEW, S.PARTIALLY_FILLED, S.DONE_FOR_DAY},
}
"""Where an order may go from where; what is terminal goes nowhere."""

near = st.integers(9_800, 10_200).map(lambda n: Price(n * CENT))
below = st.integers(9_000, 9_750).map(lambda n: Price(n * CENT))
above = st.integers(10_250, 11_000).map(lambda n: Price(n * CENT))
prices = st.one_of(near, below, above)
lots = st.integers(1, 200).map(lambda n: Qty(n * NANO))
parts = st.integers(NANO // 5, 200 * NANO).map(Qty)
amounts = st.integers(10 * NANO, 30_000 * NANO).map(Usd)
sides = st.sampled_from(Side)
symbols = st.sampled_from(SYMBOLS)
numbers = st.integers(0, 50)


@st.composite
def quirks(draw: st.DrawFn) -> Quirks:
    return Quirks.of({name: draw(st.sampled_from(entry.allowed)) for name, entry in catalogue().items()})


latencies = st.builds(
    Latency.of_ms, **dict.fromkeys(("ack", "fill", "cancel", "replace"), st.sampled_from([0, 1, 3, 20]))
)
worlds = st.fixed_dictionaries(
    {
        "fills": st.sampled_from(["instant", "realistic"]),
        "session": st.sampled_from(["always", "calendar"]),
        "seed": st.integers(0, 3),
        "quirks": quirks(),
        "latency": latencies,
    }
)


@st.composite
def simple_orders(draw: st.DrawFn) -> OrderRequest:
    """An order of any type, its stop mostly on the right side; not every combination is one the venue takes."""
    symbol, side, kind = draw(symbols), draw(sides), draw(st.sampled_from(OrderType))
    is_coin = symbol == "BTC/USD"
    if is_coin and kind in (OrderType.STOP, OrderType.TRAILING_STOP):
        kind = OrderType.STOP_LIMIT
    has_limit = kind in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    has_stop = kind in (OrderType.STOP, OrderType.STOP_LIMIT)
    trails = kind is OrderType.TRAILING_STOP
    tifs = [TimeInForce.GTC] if is_coin else [TimeInForce.DAY, TimeInForce.GTC]
    if not has_stop and not trails:
        tifs += [TimeInForce.IOC] if is_coin else list(TimeInForce)
    tif = draw(st.sampled_from(tifs))
    in_dollars = not trails and (is_coin or tif is TimeInForce.DAY) and draw(st.integers(0, 4)) == 0
    by_price = draw(st.booleans())
    return OrderRequest(
        symbol,
        side,
        kind,
        tif,
        Qty(0) if in_dollars else draw(parts if is_coin else lots),
        limit_price=draw(near) if has_limit else None,
        stop_price=draw(below if side is Side.SELL else above) if has_stop else None,
        notional=draw(amounts) if in_dollars else None,
        trail_price=Price(draw(st.integers(1, 300)) * CENT) if trails and by_price else None,
        trail_percent=Ratio(draw(st.integers(1, 30)) * NANO // 10) if trails and not by_price else None,
        extended_hours=kind is OrderType.LIMIT and not is_coin and draw(st.booleans()),
    )


@st.composite
def group_orders(draw: st.DrawFn) -> OrderRequest:
    """A group, its legs on their sides; an OCO for a position there may or may not be."""
    order_class, side = (
        draw(st.sampled_from([OrderClass.BRACKET, OrderClass.OCO, OrderClass.OTO])),
        draw(sides),
    )
    is_oco = order_class is OrderClass.OCO
    closes_by_selling = (side is Side.SELL) == is_oco
    leaves_out = draw(st.sampled_from(["target", "stop"])) if order_class is OrderClass.OTO else None
    return OrderRequest(
        "AAPL",
        side,
        OrderType.LIMIT,
        draw(st.sampled_from([TimeInForce.GTC, TimeInForce.DAY])),
        draw(lots),
        limit_price=None if is_oco else draw(near),
        order_class=order_class,
        take_profit_limit_price=None
        if leaves_out == "target"
        else draw(above if closes_by_selling else below),
        stop_loss_stop_price=None if leaves_out == "stop" else draw(below if closes_by_selling else above),
    )


changes = st.builds(
    ReplaceRequest,
    qty=st.one_of(st.none(), lots),
    limit_price=st.one_of(st.none(), prices),
    stop_price=st.one_of(st.none(), prices),
    tif=st.sampled_from([None, None, TimeInForce.DAY, TimeInForce.GTC]),
    trail=st.one_of(st.none(), st.integers(1, 20).map(lambda n: Ratio(n * NANO // 10))),
)
MINUTES_MS = 60_000
actions = st.one_of(
    st.tuples(st.just("submit"), simple_orders()),
    st.tuples(st.just("submit"), group_orders()),
    st.tuples(st.just("quote"), symbols, prices, st.integers(1, 20), st.integers(1, 100)),
    st.tuples(st.just("trade"), symbols, prices, st.integers(1, 100)),
    st.tuples(st.just("cancel"), numbers),
    st.tuples(st.just("replace"), numbers, changes),
    st.tuples(st.just("close"), symbols),
    st.tuples(st.just("halt"), st.sampled_from("HT")),
    st.tuples(st.just("wait"), st.sampled_from([1, 5, 10 * MINUTES_MS, 17 * 60 * MINUTES_MS])),
    st.tuples(st.just("split"), st.sampled_from([(2, 1), (1, 3), (3, 2)])),
)
scripts = st.lists(actions, min_size=5, max_size=40)


class World:
    """An exchange under a hand-wound clock, and the account as its fills alone say it should be."""

    def __init__(self, **options: Any) -> None:
        self.t_ns = START_NS
        self.exchange = Exchange(lambda: self.t_ns, cash_usd=CASH, **options)
        self.cash: int = CASH
        self.holdings = dict.fromkeys(SYMBOLS, 0)
        self.fills = self.splits = 0
        self.filled: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.closable: dict[int, int] = {}
        for symbol in SYMBOLS:
            self.act(("quote", symbol, Price(10_000 * CENT), 2, 50))

    def play(self, script: list[tuple[Any, ...]]) -> None:
        for action in script:
            self.t_ns += NS_PER_MS
            with contextlib.suppress(VenueError):
                self.act(action)

    def act(self, action: tuple[Any, ...]) -> None:
        exchange, t_ns = self.exchange, Ns(self.t_ns)
        match action:
            case ("submit", request):
                exchange.submit(request)
            case ("quote", symbol, bid, spread, size):
                sizes = Qty(size * NANO)
                exchange.on_ticks([Quote(symbol, bid, Price(bid + spread * CENT), sizes, sizes, t_ns)])
            case ("trade", symbol, price, size):
                exchange.on_ticks([Trade(symbol, price, Qty(size * NANO), t_ns, t_ns)])
            case ("close", symbol):
                exchange.close_position(symbol)
            case ("cancel", n):
                exchange.cancel(self.any_order(n))
            case ("replace", n, change):
                exchange.replace(self.any_order(n), change)
            case ("halt", code):
                exchange.on_notice(Status("AAPL", code, "", "", "", t_ns))
            case ("wait", ms):
                self.t_ns += ms * NS_PER_MS
                exchange.advance()
            case ("split", (new, old)):
                exchange.advance()
                self.audit_money()
                exchange.split("AAPL", new, old)
                self.audit_money()
            case _:
                raise AssertionError(action)

    def any_order(self, n: int) -> str:
        orders = list(self.exchange.blotter)
        return orders[n % len(orders)].order_id if orders else "none"

    # --- the audit

    def audit(self) -> None:
        self.audit_money()
        for order in self.exchange.blotter:
            self.audit_order(order)
        funds = self.exchange.funds()
        assert funds.buying_power >= 0
        assert funds.non_marginable_buying_power >= 0

    def audit_money(self) -> None:
        fills, done = self.exchange.blotter.fills, self.exchange.corporate_actions
        for fill in fills[self.fills :]:
            sign = 1 if fill.side is Side.BUY else -1
            value = mul_ceil(fill.price, fill.qty) if sign > 0 else mul_floor(fill.price, fill.qty)
            self.cash -= sign * value + (fill.fee if fill.fee_asset == "USD" else 0)
            self.holdings[fill.symbol] += sign * fill.qty - (fill.fee if fill.fee_asset != "USD" else 0)
            self.filled[fill.order_id] += fill.qty
            self.paid[fill.order_id] += mul_ceil(fill.price, fill.qty)
            self.audit_price(self.exchange.blotter.find(fill.order_id), fill.price)
        for action in done[self.splits :]:
            assert self.holdings[action.symbol] == action.qty_before
            self.cash += action.cash
            self.holdings[action.symbol] = action.qty_after
        self.fills, self.splits = len(fills), len(done)
        assert self.exchange.account.cash == self.cash
        assert {symbol: self.exchange.account.qty(symbol) for symbol in SYMBOLS} == self.holdings
        assert self.holdings["BTC/USD"] >= 0, "coins cannot be sold short"

    def audit_price(self, order: Order, price: int) -> None:
        limit = order.limit_price
        if limit is None and order.order_type is OrderType.STOP and order.side is Side.BUY:
            is_limited = self.exchange.quirks.buy_stop == "limited"
            assert order.stop_price is not None
            limit = order.stop_price * 104 // 100 if is_limited else None  # never looser than 4 %
        if limit is not None:
            assert price <= limit if order.side is Side.BUY else price >= limit

    def audit_order(self, order: Order) -> None:
        assert 0 <= order.filled_qty <= order.qty
        assert self.filled[order.order_id] <= order.filled_qty
        assert (order.status is S.FILLED) == (order.remaining == 0)
        assert order.notional is None or self.paid[order.order_id] <= order.notional
        if order.tif is TimeInForce.FOK:
            assert order.filled_qty in (0, order.qty)
        seen = [status for _, status in order.history]
        for before, after in itertools.pairwise(seen):
            assert after in ARCS.get(before, set()), f"{before} -> {after}"
        assert [at for at, _ in order.history] == sorted(at for at, _ in order.history)
        waits_to_take_over = order.takes_over_ns is not None
        is_listed = order in self.exchange.blotter.live_of(order.symbol)
        assert is_listed == (order.is_live and not waits_to_take_over)
        if order.group is not None:
            self.audit_group(order)

    def audit_group(self, order: Order) -> None:
        """Both legs together never fill more than there is to close."""
        group = order.group
        assert group is not None
        closed = sum(leg.filled_qty for leg in group.legs())
        if group.entry is not None:
            assert closed <= group.entry.filled_qty
        else:
            assert closed <= self.closable.setdefault(id(group), group.parent.qty)


@settings(max_examples=2_000 if IS_SOAK else 150)
@given(scripts, worlds)
def test_books_balance_and_nothing_is_overfilled(script, options):
    world = World(**options)
    for action in script:
        world.t_ns += NS_PER_MS
        before = len(world.exchange.blotter)
        try:
            world.act(action)
        except VenueError:
            assert len(world.exchange.blotter) == before
        world.audit()


def jump(bid: int, size: int) -> list[tuple[Any, ...]]:
    """A quote far away, a few shares of it, and a print there that elects what is to be elected."""
    price = Price(bid * NANO)
    return [("quote", "AAPL", price, 2, size), ("trade", "AAPL", price, 1)]


around_the_legs = st.lists(
    st.one_of(
        st.builds(jump, st.sampled_from([96, 100, 104]), st.integers(1, 15)),
        st.builds(jump, st.sampled_from([96, 104]), st.integers(1, 15)),
        st.tuples(st.tuples(st.just("replace"), numbers, changes)),
        st.tuples(st.tuples(st.just("wait"), st.sampled_from([1, 20]))),
    ),
    min_size=8,
    max_size=20,
).map(lambda parts: list(itertools.chain.from_iterable(parts)))


@settings(max_examples=2_000 if IS_SOAK else 150)
@given(around_the_legs, worlds, st.sampled_from([OrderClass.BRACKET, OrderClass.OCO]))
def test_both_legs_fill_only_as_far_as_the_position(script, options, order_class):
    """A market that jumps from one leg to the other, a few shares at a time: the holding never turns around."""
    world = World(**options | {"session": "always"})
    entry = OrderRequest(
        "AAPL", Side.BUY, OrderType.LIMIT, TimeInForce.GTC, Qty(40 * NANO), Price(102 * NANO)
    )
    legs = {"take_profit_limit_price": Price(103 * NANO), "stop_loss_stop_price": Price(97 * NANO)}
    is_oco = order_class is OrderClass.OCO
    world.exchange.submit(entry if is_oco else dataclasses.replace(entry, order_class=order_class, **legs))
    while world.exchange.account.qty("AAPL") < 40 * NANO:
        world.act(("wait", 50))
        world.act(("quote", "AAPL", Price(10_000 * CENT), 2, 50))
    if is_oco:
        oco = OrderRequest("AAPL", Side.SELL, OrderType.LIMIT, TimeInForce.GTC, Qty(40 * NANO))
        world.exchange.submit(dataclasses.replace(oco, order_class=order_class, **legs))
    world.act(("wait", 50))
    for action in script:
        world.play([action])
        world.audit()
        assert world.holdings["AAPL"] >= 0
        if not world.exchange.blotter.live_of("AAPL"):
            assert world.holdings["AAPL"] == 0


@settings(max_examples=500 if IS_SOAK else 50)
@given(scripts, worlds)
def test_stream_alone_tells_the_whole_story(script, options):
    options["quirks"] = dataclasses.replace(options["quirks"], stop_cancel_event="sent")
    world = World(**options)
    world.play(script)
    told: dict[str, tuple[OrderStatus, int]] = {}
    for update in world.exchange.take_updates():
        told[update.order.order_id] = (update.order.status, update.order.filled_qty)
    for order in world.exchange.blotter:
        is_silent = order.status is S.HELD or order.takes_over_ns is not None
        if order.order_id in told or not is_silent:
            assert told[order.order_id] == (order.status, order.filled_qty)


@settings(max_examples=500 if IS_SOAK else 50)
@given(scripts, worlds)
def test_time_does_not_go_backwards_and_nothing_is_told_twice(script, options):
    world = World(**options)
    world.play(script)
    updates = world.exchange.take_updates()
    times = [update.t_ns for update in updates]
    assert times == sorted(times)
    assert [u.event_id for u in updates] == sorted({u.event_id for u in updates})
    executions = [u.execution_id for u in updates if u.execution_id is not None]
    assert len(set(executions)) == len(executions)


def story(world: World) -> list[Any]:
    """Everything the exchange can tell about itself."""
    exchange = world.exchange
    fields = [field.name for field in dataclasses.fields(Order) if field.name not in {"group", "successor"}]
    return [
        [
            (u.event, u.t_ns, u.event_id, u.execution_id, u.price, u.qty, u.position_qty)
            for u in exchange.take_updates()
        ],
        [[getattr(order, name) for name in fields] for order in exchange.blotter],
        exchange.blotter.fills,
        exchange.exposure.at(Ns(world.t_ns)),
        dataclasses.astuple(exchange.funds()),
        exchange.next_due_ns,
    ]


@settings(max_examples=300 if IS_SOAK else 30)
@given(scripts, worlds)
def test_same_seed_same_ticks_same_requests_give_the_same_run(script, options):
    first, second = World(**options), World(**options)
    first.play(script)
    second.play(script)
    assert story(first) == story(second)


@settings(max_examples=300 if IS_SOAK else 30)
@given(scripts, worlds)
def test_it_does_not_matter_how_often_the_exchange_is_woken(script, options):
    """What is due happens at its own time, whether somebody looks at that moment or much later."""
    lazy, eager = World(**options), World(**options)
    lazy.play(script)
    for action in script:
        until_ns = eager.t_ns + NS_PER_MS * (1 + (action[1] if action[0] == "wait" else 0))
        while (due_ns := eager.exchange.next_due_ns) is not None and due_ns < until_ns:
            eager.t_ns = max(eager.t_ns, due_ns)
            eager.exchange.advance()
        eager.t_ns = until_ns
        with contextlib.suppress(VenueError):
            eager.act(("wait", 0) if action[0] == "wait" else action)
    assert story(lazy) == story(eager)


class Walk(World):
    """A long run that looks at the exchange before it acts, so that it gets where blind scripts seldom do."""

    def __init__(self, seed: int, **options: Any) -> None:
        self.random = random.Random(seed)
        self.mid = dict.fromkeys(SYMBOLS, 10_000)
        super().__init__(seed=seed, **options)

    def price(self, symbol: str, low: int, high: int) -> Price:
        return Price((self.mid[symbol] + self.random.randint(low, high)) * CENT)

    def step(self) -> None:
        self.t_ns += self.random.randint(1, 50) * NS_PER_MS
        symbol = self.random.choice(SYMBOLS)
        moves = [self.quote, self.quote, self.quote, self.trade, self.trade, self.simple, self.bracket]
        moves += [self.oco, self.coin_stop, self.trail, self.dollars, self.replace, self.replace]
        moves += [self.close, self.cancel] if self.random.random() < 0.2 else []
        if self.random.random() < 0.02:
            moves = [self.halt, self.split, self.sleep]
        self.random.choice(moves)(symbol)

    def quote(self, symbol: str) -> None:
        self.mid[symbol] = max(5_000, self.mid[symbol] + self.random.randint(-60, 60))
        bid, spread = Price(self.mid[symbol] * CENT), self.random.randint(1, 10)
        self.act(("quote", symbol, bid, spread, self.random.randint(1, 60)))

    def trade(self, symbol: str) -> None:
        self.act(("trade", symbol, self.price(symbol, -80, 80), self.random.randint(1, 60)))

    def simple(self, symbol: str) -> None:
        is_limit = self.random.random() < 0.7
        tif = self.random.choice([TimeInForce.GTC, TimeInForce.IOC])
        kind = OrderType.LIMIT if is_limit else OrderType.MARKET
        limit = self.price(symbol, -50, 50) if is_limit else None
        qty = Qty(self.random.randint(1, 40) * NANO)
        self.exchange.submit(OrderRequest(symbol, self.random.choice(list(Side)), kind, tif, qty, limit))

    def dollars(self, symbol: str) -> None:
        tif = TimeInForce.DAY if symbol == "AAPL" else TimeInForce.GTC
        amount = Usd(self.random.randint(10 * NANO, 2_000 * NANO))
        side = self.random.choice(list(Side))
        self.exchange.submit(OrderRequest(symbol, side, OrderType.MARKET, tif, notional=amount))

    def trail(self, _: str) -> None:
        trail = Price(self.random.randint(20, 100) * CENT)
        held = self.exchange.account.qty("AAPL")
        side, qty = (Side.SELL if held > 0 else Side.BUY), Qty(NANO)
        self.exchange.submit(
            OrderRequest("AAPL", side, OrderType.TRAILING_STOP, TimeInForce.GTC, qty, trail_price=trail)
        )

    def bracket(self, _: str) -> None:
        side = self.random.choice(list(Side))
        sign = 1 if side is Side.BUY else -1
        is_oto = self.random.random() < 0.3
        self.exchange.submit(
            OrderRequest(
                "AAPL",
                side,
                OrderType.LIMIT,
                TimeInForce.GTC,
                Qty(self.random.randint(1, 60) * NANO),
                limit_price=self.price("AAPL", -10, 20),
                order_class=OrderClass.OTO if is_oto else OrderClass.BRACKET,
                take_profit_limit_price=None if is_oto else self.price("AAPL", sign * 120, sign * 120),
                stop_loss_stop_price=self.price("AAPL", -sign * 120, -sign * 120),
            )
        )

    def oco(self, _: str) -> None:
        held = self.exchange.account.qty("AAPL")
        if abs(held) < 2 * NANO:
            return
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
        if not qty:
            return
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
                ReplaceRequest(trail=Ratio(self.random.randint(20, 100) * CENT))
                if order.order_type is OrderType.TRAILING_STOP
                else ReplaceRequest(stop_price=price)
                if order.stop_price
                else ReplaceRequest(limit_price=price)
            )
            self.exchange.replace(order.order_id, change)

    def cancel(self, symbol: str) -> None:
        live = self.exchange.blotter.live_of(symbol)
        if live:
            self.exchange.cancel(self.random.choice(live).order_id)

    def close(self, symbol: str) -> None:
        self.exchange.cancel_all()
        self.exchange.close_position(symbol)

    def halt(self, _: str) -> None:
        self.act(("halt", "H"))
        self.quote("AAPL")
        self.act(("halt", "T"))

    def split(self, _: str) -> None:
        self.act(("split", (self.random.choice([(2, 1), (1, 2), (3, 2)]))))
        self.mid["AAPL"] = max(5_000, int(self.exchange.mark("AAPL")) // CENT)

    def sleep(self, _: str) -> None:
        self.act(("wait", self.random.choice([1_000, 3_600_000])))


SLOW = Latency.of_ms(ack=20, fill=10, cancel=60, replace=40)
# With additions refused there would hardly be a group left to look at.
OTHER_WAY = dataclasses.replace(
    Quirks.of({name: entry.allowed[-1] for name, entry in catalogue().items()}), bracket_additions="accepted"
)
REPLACING = {S.REPLACED, S.PENDING_REPLACE}
"""What no order of an OTO becomes: the venue documents that it replaces none."""
WALKS: dict[str, dict[str, Any]] = {
    "instant": {"fills": "instant"},
    "realistic": {"fills": "realistic"},
    "slow": {"fills": "realistic", "latency": SLOW},
    "the other way": {"fills": "realistic", "latency": SLOW, "quirks": OTHER_WAY},
}


@pytest.mark.parametrize("options", WALKS.values(), ids=WALKS.keys())
def test_long_walks_keep_the_books_and_reach_every_corner(options):
    seen: set[tuple[OrderClass, OrderStatus]] = set()
    for seed in range(100 if IS_SOAK else 15):
        walk = Walk(seed, **options)
        for n in range(250):
            with contextlib.suppress(VenueError):
                walk.step()
            if n % 5 == 0:
                walk.audit()
        walk.audit()
        seen.update(
            (order.order_class, status) for order in walk.exchange.blotter for _, status in order.history
        )
    wanted = [S.FILLED, S.CANCELED, S.REPLACED]
    wanted += [S.PARTIALLY_FILLED] if options["fills"] == "realistic" else []
    wanted += [S.PENDING_CANCEL, S.PENDING_REPLACE] if "latency" in options else []
    missing = [
        (order_class, status)
        for order_class in OrderClass
        for status in wanted
        if (order_class, status) not in seen
        and (order_class is not OrderClass.OTO or status not in REPLACING)
    ]
    assert missing == []
