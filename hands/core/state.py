"""All trading state, in one object that one thread owns.

Owns the data `decide` reads and changes, its timers, and what of it must be written ahead (`changed`). May not
decide. Everything that survives a crash is an *entity*: a small record under (kind, key), which the journal
stores in the same transaction as the event that changed it; start-up loads them and asks the venue the rest.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterable

import msgspec

from hands.core.events import AccountReport, Asset, Link, PositionSnapshot, SessionReport
from hands.core.limits import LimitsFile
from hands.core.market import Market
from hands.core.ticket import Order, Ticket
from hands.core.units import Ns, Price, Qty, Usd
from hands.core.vocab import Direction, TradingState, Venue

FINISHED_KEPT = 2_000
"""How many finished tickets stay in memory (for status and late reports); the ledger has them all."""


encode = msgspec.json.Encoder().encode
"""How events and entities are written down: JSON, because its integers have no largest."""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why not everything is allowed. `clears`: "auto", "roll" or "operator" (latched)."""

    code: str
    state: TradingState
    since_ns: Ns
    clears: str
    detail: str = ""


class DayBook(msgspec.Struct, kw_only=True):
    """What has been used up since the last roll; survives restarts."""

    started_ns: Ns = Ns(0)
    equity: Usd | None = None
    realised: dict[str, int] = {}
    unrealised_at_roll: dict[str, int] = {}
    trades: dict[str, int] = {}

    def realised_of(self, agent: str | None) -> Usd:
        return Usd(sum(self.realised.values()) if agent is None else self.realised.get(agent, 0))

    def unrealised_of(self, agent: str | None) -> Usd:
        """Return the open P&L that was there when the day began, which is no part of the day's result."""
        found = self.unrealised_at_roll
        return Usd(sum(found.values()) if agent is None else found.get(agent, 0))

    def trades_of(self, agent: str | None) -> int:
        return sum(self.trades.values()) if agent is None else self.trades.get(agent, 0)


class Performance(msgspec.Struct, kw_only=True):
    """Owned P&L since the first start, and its peak (with the capital), for the drawdown limit."""

    capital: Usd | None = None
    realised: Usd = Usd(0)
    peak: Usd | None = None


class AgentBook(msgspec.Struct, kw_only=True):
    """Faults in a row of one agent's documents; latched until the operator says otherwise."""

    faults: int = 0
    latched: bool = False


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """What the semantic-duplicate check remembers of an accepted intent."""

    at_ns: Ns
    intent_id: str
    symbol: str
    direction: Direction
    prices: tuple[int, int, int]
    entered: bool = True


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A document that has been judged: whose id is used up. `settled`: its file left the drop folder."""

    sha256: str
    agent: str
    name: str
    at_ns: Ns
    settled: bool


class Halt(msgspec.Struct, frozen=True, kw_only=True):
    """A symbol's trading halt: since when by our clock and by the venue's stamp, and in the venue's words."""

    symbol: str
    since_ns: Ns
    venue_ns: int
    words: str


class Confirmation(msgspec.Struct, frozen=True):
    """The venue said, asked at `asked_ns`, that the quote it stamped `venue_ns` is its latest."""

    venue_ns: int
    asked_ns: int


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A document whose symbol was quiet: judged again when the latest quote has been fetched."""

    ticket: Ticket
    until_ns: Ns


class State:
    """Everything the engine knows. Built once; `restore` fills it from the journal's entities."""

    def __init__(
        self, limits: LimitsFile, market: Market, venue: Venue, rolls_ns: Iterable[int] = ()
    ) -> None:
        self.limits = limits
        self.market = market
        self.venue = venue
        self.rolls_ns = sorted(rolls_ns)
        self.now_ns = Ns(0)
        self.wall_offset_ns = 0
        self.dry_run = False
        # what the venue last said
        self.account: AccountReport | None = None
        self.assets: dict[str, Asset] = {}
        self.session: SessionReport | None = None
        self.positions: dict[str, PositionSnapshot] = {}
        self.foreign: dict[str, str] = {}
        self.links: dict[Link, bool] = {}
        self.reconciled = False
        self.truth_asked_ns: Ns | None = None
        self.truth_of_ns = Ns(0)
        self.down_since_ns: dict[Link, Ns] = {}
        self.venue_offsets_ns: dict[Link, int] = {}
        self.confirmed: dict[str, Confirmation] = {}
        self.halts: dict[str, Halt] = {}
        # our own business
        self.tickets: dict[str, Ticket] = {}
        self.finished: OrderedDict[str, Ticket] = OrderedDict()
        self.by_order_id: dict[str, tuple[str, str]] = {}
        self.by_client_id: dict[str, str] = {}
        self.seen: dict[str, Seen] = {}
        self.waiting: dict[str, list[Waiting]] = {}
        self.triggers: dict[int, tuple[str, str]] = {}
        self.armed_slots: dict[tuple[str, str], int] = {}
        self.accepted: deque[Accepted] = deque()
        self.approvals: deque[tuple[int, str]] = deque()
        self.stopped_out: dict[str, Ns] = {}
        self.last_stop_price: dict[str, Price] = {}
        # budgets and reasons
        self.day = DayBook()
        self.performance = Performance()
        self.agents: dict[str, AgentBook] = {}
        self.reasons: dict[str, Reason] = {}
        self.stopping = False
        self.stopped = False
        # what must be written ahead, and what must be told
        self.changed: dict[tuple[str, str], msgspec.Struct | None] = {}
        self.receipts_due: dict[str, None] = {}
        self._timers: list[tuple[int, str, str]] = []

    # --- the trading state ---------------------------------------------------------------------------------

    @property
    def trading_state(self) -> TradingState:
        """The worst of all reasons."""
        states = {reason.state for reason in self.reasons.values()}
        if TradingState.HALTED in states:
            return TradingState.HALTED
        return TradingState.REDUCE_ONLY if states else TradingState.ACTIVE

    def ticket(self, intent_id: str) -> Ticket | None:
        """Return a ticket that is live or recently finished."""
        return self.tickets.get(intent_id) or self.finished.get(intent_id)

    def live_on(self, symbol: str) -> list[Ticket]:
        """Return the tickets that count against budgets on `symbol` (at most one, by SYMBOL_BUSY)."""
        return [ticket for ticket in self.tickets.values() if ticket.symbol == symbol and ticket.is_committed]

    def committed(self, agent: str | None = None) -> list[Ticket]:
        """Return every ticket from approval until flat, of one agent or of all."""
        return [t for t in self.tickets.values() if t.is_committed and agent in (None, t.agent)]

    # --- timers --------------------------------------------------------------------------------------------

    def wake_at(self, at_ns: int, kind: str, key: str) -> None:
        """Ask for `kind` to run for `key` at `at_ns`; asking twice is harmless, since what runs looks again."""
        heapq.heappush(self._timers, (at_ns, kind, key))

    def due(self, now_ns: int) -> tuple[int, str, str] | None:
        """Take the next timer that is due at `now_ns`, None if there is none."""
        if self._timers and self._timers[0][0] <= now_ns:
            timer = heapq.heappop(self._timers)
            while self._timers and self._timers[0] == timer:
                heapq.heappop(self._timers)
            return timer
        return None

    @property
    def next_wake_ns(self) -> int | None:
        return self._timers[0][0] if self._timers else None

    # --- what changed --------------------------------------------------------------------------------------

    def touch(self, ticket: Ticket, *, receipt: bool = True) -> None:
        """Mark a ticket as changed: written ahead, and (by default) its receipt due."""
        self.changed["ticket", ticket.intent_id] = ticket
        if receipt:
            self.receipts_due[ticket.intent_id] = None

    def finish(self, ticket: Ticket) -> None:
        """Move a ticket that is over out of the live book; the journal keeps it until its last receipt is written."""
        self.tickets.pop(ticket.intent_id, None)
        self.finished[ticket.intent_id] = ticket
        self.changed["ticket", ticket.intent_id] = ticket
        self.receipts_due[ticket.intent_id] = None
        while len(self.finished) > FINISHED_KEPT:
            _, old = self.finished.popitem(last=False)
            for order in old.orders.values():
                self.by_order_id.pop(order.order_id or "", None)
                self.by_client_id.pop(order.client_order_id, None)

    def agent_book(self, agent: str) -> AgentBook:
        return self.agents.setdefault(agent, AgentBook())

    def roll_started_ns(self, now_ns: int) -> Ns:
        """Return when the trading day of `now_ns` began (0 before the first known roll)."""
        started = 0
        for roll in self.rolls_ns:
            if roll > now_ns:
                break
            started = roll
        return Ns(started)

    def next_roll_ns(self, now_ns: int) -> Ns | None:
        return next((Ns(roll) for roll in self.rolls_ns if roll > now_ns), None)

    # --- restoring -----------------------------------------------------------------------------------------

    def restore(self, entities: Iterable[tuple[str, str, bytes]]) -> None:
        """Load what the journal kept: (kind, key, `encode`d). Unknown kinds are an error, not a guess."""
        for kind, key, data in entities:
            match kind:
                case "ticket":
                    ticket = msgspec.json.decode(data, type=Ticket)
                    (self.tickets if ticket.is_live else self.finished)[key] = ticket
                    self.receipts_due[key] = None
                case "seen":
                    self.seen[key] = msgspec.json.decode(data, type=Seen)
                case "day":
                    self.day = msgspec.json.decode(data, type=DayBook)
                case "performance":
                    self.performance = msgspec.json.decode(data, type=Performance)
                case "agent":
                    self.agents[key] = msgspec.json.decode(data, type=AgentBook)
                case "reason":
                    self.reasons[key] = msgspec.json.decode(data, type=Reason)
                case "accepted":
                    self.accepted.append(msgspec.json.decode(data, type=Accepted))
                case "halt":
                    self.halts[key] = msgspec.json.decode(data, type=Halt)
                case "stopped_out":
                    self.stopped_out[key] = msgspec.json.decode(data, type=StoppedOut).at_ns
                case _:
                    raise ValueError(f"the journal holds an entity of unknown kind {kind!r}")
        self.accepted = deque(sorted(self.accepted, key=lambda accepted: accepted.at_ns))
        for ticket in (*self.tickets.values(), *self.finished.values()):
            for order in ticket.orders.values():
                self.index_order(order)

    def index_order(self, order: Order) -> None:
        """Make an order of ours findable by either of its ids."""
        self.by_client_id[order.client_order_id] = order.intent_id
        if order.order_id is not None:
            self.by_order_id[order.order_id] = (order.intent_id, order.client_order_id)

    def forget_orders(self, ticket: Ticket, kept: int) -> None:
        """Drop a ticket's oldest exits that ended without a fill, so that a long row of refusals stays small."""
        parents = {order.parent for order in ticket.orders.values() if order.is_live}
        dead = [
            order
            for order in ticket.exits
            if not order.is_live and not order.filled_qty and order.client_order_id not in parents
        ]
        for order in dead[: max(0, len(dead) - kept)]:
            del ticket.orders[order.client_order_id]
            self.by_client_id.pop(order.client_order_id, None)
            self.by_order_id.pop(order.order_id or "", None)

    def find_order(self, client_order_id: str, order_id: str | None = None) -> tuple[Ticket, Order] | None:
        """Return the ticket and order behind either id, live or recently finished."""
        intent_id = self.by_client_id.get(client_order_id)
        if intent_id is None and order_id is not None and order_id in self.by_order_id:
            intent_id, client_order_id = self.by_order_id[order_id]
        ticket = None if intent_id is None else self.ticket(intent_id)
        order = None if ticket is None else ticket.orders.get(client_order_id)
        return None if ticket is None or order is None else (ticket, order)

    def holding(self, symbol: str) -> Qty:
        """Return the signed quantity our live trade holds in `symbol`."""
        return Qty(sum((t.owned if t.is_long else -t.owned) for t in self.live_on(symbol)))


def open_symbols(tickets: Iterable[bytes]) -> set[str]:
    """Return the symbols of the trades among `encode`d tickets that are not over: their market is still needed."""
    found = (msgspec.json.decode(data, type=Ticket) for data in tickets)
    return {ticket.symbol for ticket in found if ticket.is_live}


class StoppedOut(msgspec.Struct, frozen=True, kw_only=True):
    """When a symbol was last stopped out, for the cooldown."""

    at_ns: Ns
