"""Whatever is sent and however the market moves: nothing is created, overfilled or resurrected.

Every habit, latency, session, type and class of order at random, with halts, splits and jumps over the close. The
world audits itself after every step; scripts shrink to the shortest one that breaks a rule. `HANDS_SOAK=1` goes on
for longer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hands.core.units import CENT, NANO, NS_PER_MS, Ns, Price, Qty, Ratio, Usd
from hands.core.vocab import OrderClass, OrderStatus, OrderType, Side, TimeInForce
from hands.sim.venue.errors import VenueError
from hands.sim.venue.orders import Order, OrderRequest, ReplaceRequest, TradeUpdate
from hands.sim.venue.quirks import Latency, Quirks, catalogue
from tests.sim.exchange_world import IS_SOAK, SYMBOLS, S, World

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


SILENT = {"stop_cancel_event": "sent", "held_event": "sent"}
"""What the stream leaves out by default, told."""


@settings(max_examples=500 if IS_SOAK else 50)
@given(scripts, worlds)
def test_stream_alone_tells_the_whole_story(script, options):
    """Status by status, what an order has been through is what was told of it; of a replacement from when it is live."""
    options["quirks"] = dataclasses.replace(options["quirks"], **SILENT)
    world = World(**options)
    world.play(script)
    world.audit_money()
    told: defaultdict[str, list[TradeUpdate]] = defaultdict(list)
    for update in world.exchange.take_updates():
        told[update.order.order_id].append(update)
    for order in world.exchange.blotter:
        updates, births = told[order.order_id], {S.PENDING_NEW, S.HELD} if order.replaces else set()
        happened = [status for _, status in order.history]
        assert life((u.order.status for u in updates), births) == life(happened, births)
        if updates:
            assert updates[-1].order.filled_qty == order.filled_qty
        assert sum(u.qty for u in updates if u.qty is not None) == world.filled[order.order_id]


def life(statuses: Iterable[OrderStatus], births: set[OrderStatus]) -> list[OrderStatus]:
    """Return the statuses after those an order is born with, without repetitions."""
    return [status for status, _ in itertools.groupby(itertools.dropwhile(births.__contains__, statuses))]


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
