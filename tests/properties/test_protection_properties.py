"""Whatever the venue and the network do, a position ends up covered or flat, once, and the engine says the same.

Owns the random driving of `decide` against `tests.core.venue_model`: partial fills, refused, lost and doubled
messages, reordered reports, gaps in the trade stream, deaths and restarts, moving markets. Every run is a function
of its seed.
"""

from __future__ import annotations

from collections import deque
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hands.core.commands import CancelOrder, QueryOrder, RequestTruth, SubmitEntry, SubmitExit
from hands.core.engine import decide
from hands.core.events import Link
from hands.core.market import Market
from hands.core.state import State
from hands.core.units import NANO, NS_PER_MS, NS_PER_S, nano
from hands.core.vocab import OrderClass, TradeState, TradingState, Venue
from tests.core.desk import Desk
from tests.core.venue_model import Resting
from tests.core.world import EXAMPLES, world

REQUESTS = (SubmitEntry, SubmitExit, CancelOrder, QueryOrder, RequestTruth)
TRADES = (("AAPL", "LONG"), ("AAPL", "SHORT"), ("SOL/USD", "LONG"), ("SPY", "LONG"))
TICK = {"AAPL": "0.02", "SPY": "0.04", "SOL/USD": "0.05"}
MINUTE_NS = 60 * NS_PER_S

SOME = settings(max_examples=settings().max_examples * 4 // 10)
"""Each example is minutes of trading: fewer than of a table, forty in `make test` and eight hundred in `make soak`."""


def build(seed: int, *, lossy: bool, partial: bool) -> Desk:
    state = world(
        allow_short="true",
        semantic_duplicate_s=0,
        max_daily_trades=100,
        max_daily_loss="0.9",
        max_drawdown="0.9",
        max_gross_exposure=5,
    )
    desk = Desk(state, seed=seed)
    rng = Random(seed ^ 0x5EED)
    desk.venue.tells_siblings = rng.random() < 0.5
    if partial:
        desk.venue.portion = lambda order: portion(order, rng)
    if lossy:
        words = ("not_sent", "drop_request", "drop_answer")
        desk.faults = lambda _kind: rng.choice(words) if rng.random() < 0.12 else None
    return desk


def portion(order: Resting, rng: Random) -> int:
    """Return how much of an order the venue fills now: often all, sometimes nothing."""
    if order.order_class is OrderClass.BRACKET and order.order_type == "stop":
        return order.remaining
    if rng.random() < 0.5:
        return order.remaining
    lot = 1_000 if "/" in order.symbol else NANO
    return rng.randrange(0, order.remaining // lot + 1) * lot


def middle(symbol: str, rng: Random) -> int:
    """Return a price around the example's: mostly near the entry, sometimes through the stop or the target."""
    prices = EXAMPLES[symbol, "LONG"]
    trigger, stop, target = (
        nano(str(prices[name])) for name in ("trigger_price", "stop_loss", "take_profit")
    )
    roll = rng.random()
    if roll < 0.4:
        away = rng.randrange(-20, 20) * trigger // 50_000
        return trigger + away
    if roll < 0.7:
        return stop - rng.randrange(0, 40) * trigger // 10_000
    return target + rng.randrange(0, 40) * trigger // 10_000


def move(desk: Desk, symbol: str, mid: int) -> None:
    tick = nano(TICK[symbol])
    bid = mid - mid % (NANO // 100)
    desk.quote(symbol, f"{bid / NANO:.2f}", f"{(bid + tick) / NANO:.2f}")


def act(desk: Desk, rng: Random, number: int, *, deaths: bool, gaps: bool) -> None:
    """One random act of the world."""
    roll = rng.random()
    if roll < 0.3:
        free = [trade for trade in TRADES if not desk.state.live_on(trade[0])]
        symbol, direction = rng.choice(free or list(TRADES))
        move(desk, symbol, nano(str(EXAMPLES[symbol, "LONG"]["trigger_price"])) - nano("0.02"))
        desk.poll()
        hold = rng.choice((None, None, "20"))
        desk.drop(number, symbol, direction, max_hold_seconds=hold)
    elif roll < 0.75:
        symbol = rng.choice(("AAPL", "SPY", "SOL/USD"))
        move(desk, symbol, middle(symbol, rng))
    elif roll < 0.80 and deaths:
        desk.run(rng.random() / 10)
        if rng.random() < 0.5:  # its last commands are written down and never carried out
            desk._carry_out = lambda _command: None  # type: ignore[method-assign]
            move(desk, "SOL/USD", middle("SOL/USD", rng))
            desk.run(rng.random() / 5)
            del desk._carry_out
        desk.crash()
        desk.run(rng.random() * 5)
        desk.restart()
    elif roll < 0.85 and gaps:
        desk.link(Link.TRADE_UPDATES, up=False)
        desk.muted = True
        desk.run(rng.random() * 2)
        desk.muted = False
        desk.link(Link.TRADE_UPDATES, up=True)
    desk.run(rng.choice((0.0, 0.01, 0.05, 0.3, 1.0, 4.0)))


def settle(desk: Desk) -> None:
    """No more faults: half a minute in which everything is delivered and every timer runs."""
    desk.faults = lambda _kind: None
    desk.venue.portion = lambda order: order.remaining
    for _ in range(30):
        for symbol in ("AAPL", "SPY", "SOL/USD"):
            bid, ask = desk.venue.quotes[symbol]
            desk.quote(symbol, f"{bid / NANO:.9f}", f"{ask / NANO:.9f}")
        desk.run(1.0)


def assert_bounded(desk: Desk) -> None:
    """At most 200 requests in any virtual minute."""
    window: deque[int] = deque()
    for at_ns, command in desk.commands:
        if isinstance(command, REQUESTS):
            window.append(at_ns)
            while window[0] <= at_ns - MINUTE_NS:
                window.popleft()
            assert len(window) <= 200, "a storm of requests"


def assert_sound(desk: Desk) -> None:
    """What must hold when all is quiet."""
    venue, state = desk.venue, desk.state
    assert max(venue.entries_accepted.values(), default=0) <= 1, "an entry twice"
    assert venue.flips == [], "an exit sold more than there was"
    for symbol, qty in venue.positions.items():
        assert not venue.is_naked(symbol), f"{symbol}: {qty} without a stop"
        live = state.live_on(symbol)
        if live:
            slack = NANO // 8 if "/" in symbol else 1  # dust of earlier trades lies there too
            assert abs(state.holding(symbol) - qty) < slack, (symbol, state.holding(symbol), qty)
        elif "/" not in symbol:
            assert qty == 0, f"{symbol}: {qty} that nobody answers for"
    for order in venue.orders.values():
        if order.live:
            assert state.live_on(order.symbol), f"{order.client_order_id} works without a trade"
    for ticket in state.committed():
        assert ticket.state is TradeState.OPEN, (ticket.state, ticket.message)
        assert ticket.owned > 0
    assert_bounded(desk)


@pytest.mark.parametrize("mode", ["calm", "partial", "lossy", "deaths", "gaps", "everything"])
@SOME
@given(seed=st.integers(0, 10**9))
def test_every_position_ends_up_covered_or_flat_and_no_entry_happens_twice(mode: str, seed: int) -> None:
    drive(mode, seed)


def drive(mode: str, seed: int) -> Desk:
    every = mode == "everything"
    desk = build(seed, lossy=every or mode == "lossy", partial=every or mode != "calm")
    rng = Random(seed)
    for number in range(1, 61):
        act(desk, rng, number, deaths=every or mode == "deaths", gaps=every or mode == "gaps")
    settle(desk)
    assert_sound(desk)
    if mode in ("calm", "partial"):
        assert desk.worst_naked_ns <= 2_000 * NS_PER_MS + 300 * NS_PER_MS, desk.worst_naked_ns / NS_PER_MS
        assert desk.state.trading_state is TradingState.ACTIVE
    return desk


def finish(desk: Desk) -> None:
    """Bring every market through its stops, so that everything ends."""
    for symbol, bid in (("AAPL", "140"), ("SPY", "580"), ("SOL/USD", "143.9"), ("AAPL", "160")):
        desk.quote(symbol, bid, f"{float(bid) + 0.02:.2f}")
        desk.run(5)


@SOME
@given(seed=st.integers(0, 10**9))
def test_budgets_return_to_zero_when_everything_is_flat(seed: int) -> None:
    desk = drive("partial", seed)
    finish(desk)
    assert desk.state.committed() == []
    assert [t.intent_id for t in desk.state.tickets.values()] == []
    assert not [key for key in desk.journal if key[0] == "ticket"]
    filled = {
        ticket.intent_id
        for ticket in desk.state.finished.values()
        if ticket.entry is not None and ticket.entry.filled_qty
    }
    assert desk.state.day.trades_of(None) == len(filled)


@SOME
@given(seed=st.integers(0, 10**9))
def test_the_same_events_lead_to_the_same_commands_and_the_same_tickets(seed: int) -> None:
    desk = drive("everything", seed)
    again = build(seed, lossy=False, partial=False).state
    if desk.start_bytes is not None:  # the last session began with what the journal kept
        again = State(again.limits, Market(again.market.symbols), Venue.SIM)
        again.restore((kind, key, data) for (kind, key), data in desk.start_bytes.items())
        again.now_ns = desk.start_ns
    decided = []
    for event in desk.log:
        if isinstance(event, np.ndarray):
            again.market.consume(event.copy(), 0, 1)
        else:
            decided.append(msgspec.msgpack.encode(decide(again, event)))
    assert decided == desk.decided
    assert encoded(again) == encoded(desk.state)
    assert again.next_wake_ns == desk.state.next_wake_ns


def encoded(state: State) -> list[bytes]:
    books = [*state.tickets.values(), *state.finished.values()]
    return [msgspec.msgpack.encode(book) for book in (*books, state.day, state.performance)]
