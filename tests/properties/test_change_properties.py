"""Whatever agents and the operator want, in whatever order: no stop is loosened, no position grows, nothing is sold twice.

Owns the random driving of documents of every kind and of operator requests against `tests.core.venue_model`, with fills,
moving markets, closed sessions and deaths between any two of them. Every run is a function of its seed.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hands.core.commands import OperatorAnswer, SubmitEntry, SubmitExit
from hands.core.events import OperatorAction
from hands.core.ticket import Ticket
from hands.core.units import NANO, Price, Qty, nano
from hands.core.vocab import Side
from tests.core.desk import Desk
from tests.core.test_changes import members, send
from tests.core.world import encoded, intent_id, limits, world

SYMBOLS = {"AAPL": ("148", "150", "155"), "SOL/USD": ("145", "150", "165")}
SOME = settings(max_examples=max(10, settings().max_examples // 4))
ACTIONS = (
    OperatorAction.CANCEL,
    OperatorAction.CLOSE,
    OperatorAction.AMEND,
    OperatorAction.AMEND,
    OperatorAction.REDUCE_ONLY,
    OperatorAction.RESUME,
    OperatorAction.RESUME,
    OperatorAction.FLATTEN,
    OperatorAction.HALT,
)


class Watched:
    """A desk, and what has been seen of each trade: it may never go back."""

    def __init__(self, seed: int) -> None:
        rules = limits(
            extra="[agents.other]", semantic_duplicate_s=0, max_daily_trades=1000, max_daily_loss="0.9"
        )
        self.desk = Desk(world(rules=rules))
        self.rng = Random(seed)
        self.stops: dict[str, int] = {}
        self.holds: dict[str, int] = {}
        self.last = 0
        self.sent = 100

    def trades(self) -> list[Ticket]:
        return [ticket for ticket in self.desk.state.tickets.values() if ticket.plan is not None]

    def look(self) -> None:
        """What must hold after every act, and between any two."""
        for ticket in self.trades():
            key, plan = ticket.intent_id, ticket.plan
            assert plan is not None
            assert ticket.stop_loss >= self.stops.get(key, 0), "a stop was loosened"
            self.stops[key] = ticket.stop_loss
            if ticket.max_hold_ns is not None:
                assert ticket.max_hold_ns <= self.holds.get(key, ticket.max_hold_ns), "a hold was made longer"
                self.holds[key] = ticket.max_hold_ns
            assert 0 <= ticket.owned <= plan.qty
            assert ticket.close_qty >= 0
            if ticket.owned > 0 and self.desk.state.reconciled:
                assert ticket.close_qty <= ticket.owned, "a part is more than there is"
        assert self.desk.venue.flips == [], "an exit sold more than there was"
        assert max(self.desk.venue.entries_accepted.values(), default=0) <= 1, "an entry twice"

    def looked_through(self, act: Any) -> None:
        """Let `act` happen; no wish makes an entry, and no part that it leaves is more than is owned."""
        parts = {ticket.intent_id: ticket.close_qty for ticket in self.trades()}
        out = act()
        assert not [command for command in out if isinstance(command, SubmitEntry)]
        for command in out:
            if isinstance(command, SubmitExit):
                held = self.desk.state.tickets[command.order.intent_id].owned
                assert command.order.qty <= abs(held)
        for ticket in self.trades():
            if ticket.close_qty != parts.get(ticket.intent_id, 0):
                assert ticket.close_qty < max(1, ticket.owned)
        self.look()


def price(rng: Random, symbol: str) -> str:
    """Return a price anywhere around the trade: looser, tighter, through the market, absurd."""
    stop, trigger, target = (nano(text) for text in SYMBOLS[symbol])
    chosen = rng.choice((stop, trigger, target, (stop + trigger) // 2, (trigger + target) // 2))
    moved = chosen + rng.randrange(-100, 100) * trigger // 20_000
    return f"{moved / NANO:.3f}"


def wish(watched: Watched) -> tuple[str, dict[str, str]]:
    rng = watched.rng
    kind = rng.choice(("cancel", "close", "close", "amend", "amend", "amend"))
    symbol = rng.choice(list(SYMBOLS))
    if kind == "close":
        return kind, {
            "qty": rng.choice(("0.01", "0.5", "1", "7", "30", "65", "66", "1000"))
        } if rng.random() < 0.7 else {}
    if kind == "amend":
        fields = {
            "stop_loss": price(rng, symbol),
            "take_profit": price(rng, symbol),
            "max_hold_seconds": rng.choice(("1", "60", "5000")),
        }
        return kind, {name: value for name, value in fields.items() if rng.random() < 0.6} or {
            "stop_loss": price(rng, symbol)
        }
    return kind, {}


def say(watched: Watched) -> None:
    """Drop a document of another kind; sometimes the process dies before anything of it was written down."""
    desk, rng = watched.desk, watched.rng
    watched.sent += 1
    kind, more = wish(watched)
    if rng.random() < 0.5:
        desk.operator(OperatorAction.RESUME)
    live = [number for number in range(1, watched.last + 1) if intent_id(number) in desk.state.tickets]
    target = rng.choice(live) if live and rng.random() < 0.9 else rng.randrange(1, watched.last + 2)
    facts: dict[str, Any] = {"target": target, "number": watched.sent, **more}
    agent = rng.choice(("default", "default", "default", "other"))
    assert encoded(members(kind, **facts))
    before, sent = dict(desk.durable), len(desk.sent(SubmitExit))
    watched.looked_through(lambda: send(desk, kind, agent=agent, **facts))
    if rng.random() < 0.2 and len(desk.sent(SubmitExit)) == sent:
        tickets = {key: (ticket.stop_loss, ticket.close_qty) for key, ticket in _by_id(watched).items()}
        desk.journal, desk.durable = dict(before), dict(before)
        desk.crash()
        desk.restart()
        watched.stops.clear()
        watched.holds.clear()
        send(desk, kind, agent=agent, **facts)  # its file was still in the folder
        for key, ticket in _by_id(watched).items():
            if key in tickets:
                assert ticket.close_qty <= max(tickets[key][1], 0) or ticket.close_qty < max(1, ticket.owned)
    for again in range(rng.randrange(3)):  # and read once more, in vain
        part = {key: ticket.close_qty for key, ticket in _by_id(watched).items()}
        watched.looked_through(lambda: send(desk, kind, agent=agent, **facts))
        assert {key: t.close_qty for key, t in _by_id(watched).items()} == part, again


def _by_id(watched: Watched) -> dict[str, Ticket]:
    return {ticket.intent_id: ticket for ticket in watched.trades()}


def operate(watched: Watched) -> None:
    rng, desk = watched.rng, watched.desk
    action = rng.choice(ACTIONS)
    kind, more = wish(watched)
    facts: dict[str, Any] = {"target": rng.choice((None, "AAPL", "SOL/USD", intent_id(max(1, watched.last))))}
    if action is OperatorAction.AMEND and kind == "amend":
        facts |= {name: Price(nano(text)) for name, text in more.items() if name != "max_hold_seconds"}
    if action is OperatorAction.CLOSE and "qty" in more:
        facts["qty"] = Qty(nano(more["qty"]))
    out: list[Any] = []
    watched.looked_through(lambda: out.extend(desk.operator(action, **facts)) or out)
    assert len([command for command in out if isinstance(command, OperatorAnswer)]) == 1


def live_on(watched: Watched) -> None:
    """An act of the world: an intent, a move, a fill in parts, a session's edge, a death."""
    rng, desk = watched.rng, watched.desk
    roll = rng.random()
    symbol = rng.choice(list(SYMBOLS))
    if roll < 0.45:
        bid, ask = {"AAPL": ("149.98", "150.00"), "SOL/USD": ("149.95", "150.00")}[symbol]
        desk.quote(symbol, bid, ask)
        desk.poll()
        watched.last += 1
        desk.drop(watched.last, symbol, max_hold_seconds=rng.choice((None, "30")))
    elif roll < 0.75:
        bid_nano = nano(price(rng, symbol)) // 10_000_000 * 10_000_000
        desk.quote(symbol, f"{bid_nano / NANO:.2f}", f"{bid_nano / NANO + 0.05:.2f}")
    elif roll < 0.85:
        lots = rng.random()
        desk.venue.portion = lambda order: order.remaining if lots < 0.6 or order.side is not Side.BUY else 0
    elif roll < 0.92:
        desk.set_session(is_open=rng.random() < 0.6, next_open_ns=desk.now_ns + 10**15)
    else:
        desk.crash()
        desk.run(rng.random())
        desk.restart()
    watched.look()


@SOME
@given(st.integers(0, 2**32))
def test_no_wish_loosens_enlarges_or_sells_twice(seed: int) -> None:
    watched = Watched(seed)
    for _ in range(25):
        watched.rng.choice((live_on, say, say, operate))(watched)
        for _ in range(watched.rng.randrange(4)):
            watched.desk.run(watched.rng.choice((0.0, 0.005, 0.05, 0.5, 3.0)))
            watched.look()
    settle(watched)


def settle(watched: Watched) -> None:
    """In an open market that fills everything, what is wanted closed is closed, and the rest stands under its stop."""
    desk = watched.desk
    desk.venue.portion = lambda order: order.remaining
    desk.set_session(is_open=True, next_open_ns=desk.now_ns + 10**15)
    for _ in range(90):
        for symbol in SYMBOLS:
            bid, ask = desk.venue.quotes[symbol]
            desk.quote(symbol, f"{bid / NANO:.9f}", f"{ask / NANO:.9f}")
        desk.run(1.0)
        watched.look()
    for ticket in watched.trades():
        assert ticket.exit_reason is None, f"{ticket.symbol} was to be closed: {ticket.exit_note}"
        assert ticket.close_qty == 0, f"a part of {ticket.symbol} is still to be closed"
    for symbol in desk.venue.positions:
        assert not desk.venue.is_naked(symbol), f"{symbol} has no stop"
