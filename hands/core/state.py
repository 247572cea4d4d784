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

from hands.core.change_ticket import ChangeTicket
from hands.core.events import AccountReport, Asset, Link, PositionSnapshot, SessionReport
from hands.core.ideas import Accepted, Ideas
from hands.core.limits import LimitsFile
from hands.core.market import Market
from hands.core.stakes import Stakes
from hands.core.ticket import Order, Ticket
from hands.core.units import Ns, Price, Qty, Usd
from hands.core.vocab import TradingState, Venue

FINISHED_KEPT = 2_000
"""How many finished tickets stay in memory (for status and late reports); the ledger has them all."""

DEAD_ORDERS_KEPT = 20
"""Exits that ended without a fill and are kept with their trade; the ledger has them all."""

UNNAMED = ""
"""Stands for the agent where nobody knows whose document it was: what it used up counts against every agent."""

_ACTIVE = TradingState.ACTIVE

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
    """What has been used up since the last roll; survives restarts.

    `stopped`: agents that had once lost all they may; nothing of theirs is entered before the roll, whatever becomes of
    the trades that they still hold.
    """

    started_ns: Ns = Ns(0)
    equity: Usd | None = None
    realised: dict[str, int] = {}
    unrealised_at_roll: dict[str, int] = {}
    trades: dict[str, int] = {}
    notional: dict[str, int] = {}
    stopped: tuple[str, ...] = ()

    def realised_of(self, agent: str | None) -> Usd:
        return Usd(_of(self.realised, agent))

    def unrealised_of(self, agent: str | None) -> Usd:
        """Return the open P&L that was there when the day began, which is no part of the day's result."""
        found = self.unrealised_at_roll
        return Usd(sum(found.values()) if agent is None else found.get(agent, 0))

    def trades_of(self, agent: str | None) -> int:
        return _of(self.trades, agent)

    def notional_of(self, agent: str) -> Usd:
        """Return what was approved of an agent's entries: what its own budget is held against."""
        return Usd(_of(self.notional, agent))


def _of(book: dict[str, int], agent: str | None) -> int:
    """Return one agent's part of a book with what nobody can be named for, or all of it."""
    return sum(book.values()) if agent is None else book.get(agent, 0) + book.get(UNNAMED, 0)


class Performance(msgspec.Struct, kw_only=True):
    """Owned P&L since the first start, and its peak (with the capital), for the drawdown limit."""

    capital: Usd | None = None
    realised: Usd = Usd(0)
    peak: Usd | None = None


class AgentBook(msgspec.Struct, kw_only=True):
    """Faults in a row of one agent's documents; latched until the operator says otherwise."""

    faults: int = 0
    latched: bool = False


VENUE_REJECTIONS_MAX = 5
"""Entries in a row that the venue rejects until nothing is entered any more, where nothing else was configured: what it
accepts is then not what we think."""


class BreakerBook(msgspec.Struct, kw_only=True):
    """What the breakers count: entries in a row that the venue rejected."""

    venue_rejections: int = 0


class LimitsNote(msgspec.Struct, frozen=True, kw_only=True):
    """The limits that were in force last, kept so that the next start can say what it loosens."""

    text: str
    symbols: tuple[str, ...] | None


class LimitsRefused(msgspec.Struct, frozen=True, kw_only=True):
    """A changed limits file that was not taken up, and everything that speaks against it."""

    sha256: str
    since_ns: Ns
    problems: tuple[str, ...]


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


_SINGLE: dict[str, tuple[str, type[msgspec.Struct]]] = {
    "day": ("day", DayBook),
    "performance": ("performance", Performance),
    "breakers": ("breakers", BreakerBook),
    "limits": ("limits_note", LimitsNote),
}
"""Entities of which there is one, and where `State` keeps them."""


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
        self.venue_rejections_max = VENUE_REJECTIONS_MAX
        # what the venue last said
        self.account: AccountReport | None = None
        self.assets: dict[str, Asset] = {}
        self.session: SessionReport | None = None
        self.positions: dict[str, PositionSnapshot] = {}
        self.foreign: dict[str, str] = {}
        self.foreign_seen_ns: dict[str, Ns] = {}
        self.links: dict[Link, bool] = {}
        self.reconciled = False
        self.fence = 0  # the watchdog's fence as we know it, and since when it holds us
        self.fenced_ns: Ns | None = None
        self.fence_patience_ns: Ns | None = None
        self.watchdog_acted = False
        self.recount_due = False
        self.truth_asked_ns: Ns | None = None
        self.truth_of_ns = Ns(0)
        self.fills_asked_ns = Ns(-(2**62))
        self.fills_due: dict[str, None] | None = None
        self.down_since_ns: dict[Link, Ns] = {}
        self.venue_offsets_ns: dict[Link, int] = {}
        self.confirmed: dict[str, Confirmation] = {}
        self.quote_again_ns: dict[str, Ns] = {}  # when an unseen coin may be asked for again
        self.halts: dict[str, Halt] = {}
        # our own business
        self.tickets: dict[str, Ticket] = {}
        self.stakes = Stakes()
        self.finished: OrderedDict[str, Ticket] = OrderedDict()
        self.changes: OrderedDict[str, ChangeTicket] = OrderedDict()
        self.by_order_id: dict[str, tuple[str, str]] = {}
        self.by_client_id: dict[str, str] = {}
        self.seen: dict[str, Seen] = {}
        self.waiting: dict[str, dict[str, Waiting]] = {}  # by symbol, then by intent_id in order of arrival
        self.triggers: dict[int, tuple[str, str]] = {}
        self.armed_slots: dict[tuple[str, str], int] = {}
        self.accepted = Ideas()
        self.approvals: deque[tuple[int, str]] = deque()
        self.suggested = (0, 0)  # the second, and how many suggestions were looked for in it
        self.stopped_out: dict[str, Ns] = {}
        self.last_stop_price: dict[str, Price] = {}
        # budgets and reasons
        self.day = DayBook()
        self.performance = Performance()
        self.agents: dict[str, AgentBook] = {}
        self.reasons: dict[str, Reason] = {}
        self.breakers = BreakerBook()
        self.limits_note: LimitsNote | None = None
        self.limits_refused: LimitsRefused | None = None
        self.limits_loosened: tuple[str, ...] = ()
        self.stopping = False
        self.stopped = False
        # what must be written ahead, and what must be told
        self.changed: dict[tuple[str, str], msgspec.Struct | None] = {}
        self.receipts_due: dict[str, None] = {}
        self._timers: list[tuple[int, str, str]] = []
        self._asked: dict[tuple[int, str, str], None] = {}  # the same, to be looked up

    # --- the trading state ---------------------------------------------------------------------------------

    @property
    def trading_state(self) -> TradingState:
        """The worst of all reasons."""
        if not self.reasons:
            return _ACTIVE
        states = {reason.state for reason in self.reasons.values()}
        if TradingState.HALTED in states:
            return TradingState.HALTED
        return TradingState.REDUCE_ONLY if states else TradingState.ACTIVE

    def ticket(self, intent_id: str) -> Ticket | None:
        """Return a ticket that is live or recently finished."""
        return self.tickets.get(intent_id) or self.finished.get(intent_id)

    def judged(self, intent_id: str) -> Ticket | ChangeTicket | None:
        """Return whatever has a receipt under that id: a ticket, or a document that changed one."""
        return self.ticket(intent_id) or self.changes.get(intent_id)

    def waiting_ticket(self, intent_id: str) -> Ticket | None:
        """Return the ticket under that id that waits for its quote, on whatever symbol."""
        return next((queue[intent_id].ticket for queue in self.waiting.values() if intent_id in queue), None)

    def live_on(self, symbol: str) -> list[Ticket]:
        """Return the tickets that count against budgets on `symbol` (at most one, by SYMBOL_BUSY)."""
        return [ticket for ticket in self.stakes.tickets() if ticket.symbol == symbol]

    def committed(self, agent: str | None = None) -> list[Ticket]:
        """Return every ticket from approval until flat, of one agent or of all."""
        return self.stakes.tickets(agent)

    def add(self, ticket: Ticket) -> None:
        """Put a ticket into the live book."""
        self.tickets[ticket.intent_id] = ticket
        self.stakes.note(ticket, in_book=True)

    # --- timers --------------------------------------------------------------------------------------------

    def wake_at(self, at_ns: int, kind: str, key: str) -> None:
        """Ask for `kind` to run for `key` at `at_ns`; asked twice it is one timer."""
        timer = (at_ns, kind, key)
        if timer not in self._asked:  # a trade that is held for weeks asks for its end at every look
            self._asked[timer] = None
            heapq.heappush(self._timers, timer)

    def due(self, now_ns: int) -> tuple[int, str, str] | None:
        """Take the next timer that is due at `now_ns`, None if there is none."""
        if self._timers and self._timers[0][0] <= now_ns:
            timer = heapq.heappop(self._timers)
            del self._asked[timer]
            return timer
        return None

    @property
    def next_wake_ns(self) -> int | None:
        return self._timers[0][0] if self._timers else None

    @property
    def timers(self) -> list[tuple[int, str, str]]:
        """The heap of timers as it lies; setting it takes over one that was a heap."""
        return self._timers

    @timers.setter
    def timers(self, heap: list[tuple[int, str, str]]) -> None:
        self._timers, self._asked = heap, dict.fromkeys(heap)

    # --- what changed --------------------------------------------------------------------------------------

    def touch(self, ticket: Ticket, *, receipt: bool = True) -> None:
        """Mark a ticket as changed: written ahead, counted or not, and (by default) its receipt due."""
        self.stakes.note(ticket, in_book=ticket.intent_id in self.tickets)
        self.changed["ticket", ticket.intent_id] = ticket
        if receipt:
            self.receipts_due[ticket.intent_id] = None

    def finish(self, ticket: Ticket) -> None:
        """Move a ticket that is over out of the live book; the journal keeps it until its last receipt is written."""
        self.tickets.pop(ticket.intent_id, None)
        self.stakes.note(ticket, in_book=False)
        self.finished[ticket.intent_id] = ticket
        self.changed["ticket", ticket.intent_id] = ticket
        self.receipts_due[ticket.intent_id] = None
        entry = ticket.entry
        ended = self.accepted.end(ticket.intent_id, void=entry is None or not entry.filled_qty)
        if ended is not None:
            self.changed["accepted", ticket.intent_id] = ended
        while len(self.finished) > FINISHED_KEPT:
            _, old = self.finished.popitem(last=False)
            for order in old.orders.values():
                self.by_order_id.pop(order.order_id or "", None)
                self.by_client_id.pop(order.client_order_id, None)

    def note_change(self, found: ChangeTicket) -> None:
        """Keep a judged document that changes an intent: written ahead until its receipt is, then only remembered."""
        self.changes[found.intent_id] = found
        self.changed["change", found.intent_id] = found
        self.receipts_due[found.intent_id] = None
        while len(self.changes) > FINISHED_KEPT:
            self.changes.popitem(last=False)

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
        accepted: list[Accepted] = []
        for kind, key, data in entities:
            match kind:
                case "day" | "performance" | "breakers" | "limits":
                    name, of = _SINGLE[kind]
                    setattr(self, name, msgspec.json.decode(data, type=of))
                case "ticket":
                    ticket = msgspec.json.decode(data, type=Ticket)
                    if ticket.is_live:
                        self.add(ticket)
                    else:
                        self.finished[key] = ticket
                    self.receipts_due[key] = None
                case "change":
                    self.changes[key] = msgspec.json.decode(data, type=ChangeTicket)
                    self.receipts_due[key] = None
                case "seen":
                    self.seen[key] = msgspec.json.decode(data, type=Seen)
                case "agent":
                    self.agents[key] = msgspec.json.decode(data, type=AgentBook)
                case "reason":
                    self.reasons[key] = msgspec.json.decode(data, type=Reason)
                case "accepted":
                    accepted.append(msgspec.json.decode(data, type=Accepted))
                case "halt":
                    self.halts[key] = msgspec.json.decode(data, type=Halt)
                case "stopped_out":
                    self.stopped_out[key] = msgspec.json.decode(data, type=StoppedOut).at_ns
                case _:
                    raise ValueError(f"the journal holds an entity of unknown kind {kind!r}")
        self.accepted = Ideas(sorted(accepted, key=lambda each: each.at_ns))
        for ticket in (*self.tickets.values(), *self.finished.values()):
            for order in ticket.orders.values():
                self.index_order(order)

    def index_order(self, order: Order) -> None:
        """Make an order of ours findable by either of its ids."""
        self.by_client_id[order.client_order_id] = order.intent_id
        if order.order_id is not None:
            self.by_order_id[order.order_id] = (order.intent_id, order.client_order_id)

    def forget_orders(self, ticket: Ticket) -> None:
        """Drop a ticket's oldest exits that ended without a fill, so that a long row of refusals or moves stays small."""
        live = [order for order in ticket.orders.values() if order.is_live]
        parents = {order.parent for order in live} | {order.replaces for order in live}
        dead = [
            order
            for order in ticket.exits
            if not order.is_live and not order.filled_qty and order.client_order_id not in parents
        ]
        for order in dead[: max(0, len(dead) - DEAD_ORDERS_KEPT)]:
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
