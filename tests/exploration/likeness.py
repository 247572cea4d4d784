"""A `State` copied in microseconds, and the canonical key by which two of them count as the same.

Owns what a copy shares and what a key leaves out. The one idea: times enter a key as ages, exact up to a minute, so
that two ways to the same situation are one state although they took different times; what is left out is listed here
and cannot change what becomes of an order. A copy takes 13 µs where encoding the entities and restoring them takes 54
and making every move again takes 100 for each; a crash does encode and restore, as the daemon does.
"""

from __future__ import annotations

import copy
from collections import OrderedDict, deque
from typing import Any

import msgspec

from hands.core.market import QuoteView, TriggerDirection, TriggerOn
from hands.core.stakes import Stakes
from hands.core.state import State
from hands.core.ticket import Order, Ticket
from hands.core.units import NANO, NS_PER_S, Price
from hands.core.views import TriggerView

OLD_NS = 60 * NS_PER_S
"""Ages from here on are one age: nothing in the engine waits longer for an order."""

MOST_QUERIES = 7
"""From here on a question is repeated at the longest interval."""

LEFT_OUT_OF_ORDERS = {
    "avg_price", "value",  # money: what a trade made decides nothing about its orders here
    "acked_ns", "sent_ns",  # read as "is there one", which the key has
    "queries",  # capped
    "intent_id", "symbol", "side", "order_type", "order_class", "time_in_force", "limit_price", "stop_price",
    "take_profit", "leg",  # follow from its id
}  # fmt: skip
LEFT_OUT_OF_TICKETS = {
    "orders",  # have keys of their own
    "executions", "exit_price_hint", "sizing", "nearest", "checks", "indicators",  # money and records
    "stamps", "seq", "message", "exit_note", "settled", "protected_since_ns", "fired_ns", "opened_ns",
    "intent", "agent", "name", "document", "limits_sha256", "verdict", "code", "retry", "retry_at_ns", "plan",
    "arming", "fee_rate",  # the same in every state of a scenario, or written for people
}  # fmt: skip
TIMERS_LEFT_OUT = frozenset({"roll"})

_ORDER_FIELDS = [f for f in Order.__struct_fields__ if f not in LEFT_OUT_OF_ORDERS]
_ORDER_TIMES = [f for f in _ORDER_FIELDS if f.endswith("_ns")]
_ORDER_FACTS = [f for f in _ORDER_FIELDS if not f.endswith("_ns")]
_TICKET_FIELDS = [f for f in Ticket.__struct_fields__ if f not in LEFT_OUT_OF_TICKETS]
_TICKET_TIMES = [f for f in _TICKET_FIELDS if f.endswith("_ns")]
_TICKET_FACTS = [f for f in _TICKET_FIELDS if not f.endswith("_ns")]

LATE_NS = 1 << 62


class Pit:
    """A market of one symbol for `decide`: a quote that is always fresh, and triggers on it.

    It has what the core asks of `hands.core.market.Market` after an entry was approved, and nothing else: the market's
    own behaviour is tested where it lives.
    """

    def __init__(self, symbol: str, prices: dict[str, tuple[int, int]]) -> None:
        self.symbols = (symbol,)
        self.index = {symbol: 0}
        self.prices = prices
        self.level = "mid"
        self.armed: dict[int, tuple[bool, float]] = {}

    def copy(self) -> Pit:
        new = Pit.__new__(Pit)
        new.__dict__.update(self.__dict__)
        new.armed = dict(self.armed)
        return new

    def quote(self, _sym: int) -> QuoteView:
        bid, ask = self.prices[self.level]
        return QuoteView(Price(bid), Price(ask), 1e3, 1e3, LATE_NS, LATE_NS)

    def side(self, _sym: int, ask: bool) -> Price:
        return Price(self.prices[self.level][ask])

    def last_trade(self, _sym: int) -> None:
        return None

    def arm(self, _sym: int, _on: object, direction: TriggerDirection, level: float) -> int:
        slot = next(n for n in range(1, 9) if n not in self.armed)
        self.armed[slot] = direction is TriggerDirection.ABOVE, level
        return slot

    def disarm(self, slot: int) -> None:
        self.armed.pop(slot, None)

    def trigger(self, slot: int) -> TriggerView | None:
        if slot not in self.armed:
            return None
        above, level = self.armed[slot]
        direction = TriggerDirection.ABOVE if above else TriggerDirection.BELOW
        return TriggerView(0, TriggerOn.BID, direction, level, None)

    def reached(self) -> tuple[int, ...]:
        """Return the slots that the next quote at this level fires."""
        bid = self.prices[self.level][0] / NANO
        return tuple(
            slot
            for slot, (above, level) in sorted(self.armed.items())
            if (bid >= level if above else bid <= level)
        )


def copy_ticket(ticket: Ticket) -> Ticket:
    """Return a ticket that can be changed without changing the other (records that nobody changes are shared)."""
    new = copy.copy(ticket)
    new.orders = {name: copy.copy(order) for name, order in ticket.orders.items()}
    new.executions = dict(ticket.executions)
    new.attempts = dict(ticket.attempts)
    new.stamps = copy.copy(ticket.stamps)
    return new


def copy_state(old: State) -> State:
    """Return a state that can be decided on without changing the other."""
    new = State.__new__(State)
    facts = new.__dict__
    for name, value in old.__dict__.items():
        kind = type(value)
        if kind is dict or kind is list or kind is OrderedDict or kind is deque:
            facts[name] = value.copy()
        else:
            facts[name] = value
    new.market = old.market.copy()  # type: ignore[attr-defined]
    new.tickets = {name: copy_ticket(ticket) for name, ticket in old.tickets.items()}
    new.finished = OrderedDict((name, copy_ticket(ticket)) for name, ticket in old.finished.items())
    new.stakes = Stakes()
    for ticket in new.tickets.values():
        new.stakes.note(ticket, in_book=True)
    new.day = copy.copy(old.day)
    new.day.realised, new.day.trades = dict(old.day.realised), dict(old.day.trades)
    new.day.notional = dict(old.day.notional)
    new.performance = copy.copy(old.performance)
    new.breakers = copy.copy(old.breakers)
    return new


def age(then_ns: int | None, now_ns: int) -> int | None:
    """Return how long ago something was (below zero: how far ahead), old ages being all the same."""
    return None if then_ns is None else min(now_ns - then_ns, OLD_NS)


def order_key(order: Order, now_ns: int) -> tuple[Any, ...]:
    return (
        *[getattr(order, name) for name in _ORDER_FACTS],
        *[age(getattr(order, name), now_ns) for name in _ORDER_TIMES],
        order.sent_ns is None,
        order.acked_ns is None,
        min(order.queries, MOST_QUERIES),
    )


def ticket_key(ticket: Ticket, now_ns: int) -> tuple[Any, ...]:
    """Return everything about a ticket that its orders' future may depend on."""
    return (
        tuple([order_key(order, now_ns) for order in ticket.orders.values()]),
        *[getattr(ticket, name) for name in _TICKET_FACTS],
        *[age(getattr(ticket, name), now_ns) for name in _TICKET_TIMES],
        ticket.opened_ns is None,
    )


def state_key(state: State) -> tuple[Any, ...]:
    """Return everything about a state that its orders' future may depend on.

    Left out besides what the two lists above name: budgets, results, agents and ideas (they decide about documents,
    of which there will be no more), and indices that follow from the tickets.
    """
    now = state.now_ns
    pit: Pit = state.market  # type: ignore[assignment]
    return (
        tuple([(name, ticket_key(ticket, now)) for name, ticket in state.tickets.items()]),
        tuple([(name, ticket_key(ticket, now)) for name, ticket in state.finished.items()]),
        sorted({(at_ns - now, kind) for at_ns, kind, _ in state._timers if kind not in TIMERS_LEFT_OUT}),
        now % NS_PER_S,
        sorted(state.reasons),
        [up for _, up in sorted(state.links.items())],
        [(link, age(since, now)) for link, since in sorted(state.down_since_ns.items())],
        (state.reconciled, state.recount_due, state.stopping),
        (age(state.truth_asked_ns, now), age(state.truth_of_ns, now)),
        sorted(state.foreign),
        sorted((name, position.qty) for name, position in state.positions.items()),
        sorted(state.armed_slots),
        (pit.level, sorted(pit.armed.items())),
        state.breakers.venue_rejections,
    )


def packed(key: object) -> bytes:
    """Return a key as bytes."""
    return msgspec.msgpack.encode(key)
