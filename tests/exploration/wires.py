"""The engine and its wires: a state, the exchange, and everything on its way between them at one moment.

Owns what is in flight, the journal, and the deciding of one event with what follows from it at once. May not choose what
happens next: that is `tests.exploration.situation`. The one idea: everything that makes a difference is in `key`, so that
two ways to the same place are seen to be one.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

from hands.core.commands import (
    Alert,
    AnyCommand,
    CancelOrder,
    QueryOrder,
    ReceiptChanged,
    ReplaceOrder,
    RequestDayOrders,
    RequestTruth,
    SubmitEntry,
    SubmitExit,
)
from hands.core.engine import decide
from hands.core.events import (
    AnyEvent,
    DayOrdersReport,
    Link,
    LinkReport,
    PositionSnapshot,
    ReceiptWritten,
    RequestFailed,
    RequestKind,
    RequestSent,
    VenueOrder,
)
from hands.core.orders import is_ours
from hands.core.state import State
from hands.core.ticket import Ticket
from hands.core.units import NS_PER_S, Ns
from tests.exploration.exchange import Exchange
from tests.exploration.likeness import age, copy_state, copy_ticket, packed, state_key, ticket_key

LAG_NS = NS_PER_S
"""How long after a fill the venue's list of positions may still be the one before it; the engine counts on no more."""

JOURNALED = ("ticket", "reason")
"""The entities that an order's future depends on; the others are kept for budgets and documents."""

SUBMIT, CANCEL, QUERY, REPLACE = (
    RequestKind.SUBMIT,
    RequestKind.CANCEL,
    RequestKind.QUERY,
    RequestKind.REPLACE,
)


FAULTS = {
    "report and": "duplicate",
    "report early": "reorder",
    "lose": "lose",
    "delay": "delay",
    "drop": "drop",
    "error": "error",
    "arrive unheard": "lose answer",
    "fill both": "both fill",
    "expire": "expire",
    "cancel": "owner",
    "replace": "replace",
    "truth reads old": "lag",
    "crash": "crash",
    "stream breaks": "stream",
}
"""Which kind of fault a move is, by its first words; "refuse" is one of two."""


class Request(NamedTuple):
    """A request on its way to the venue; `mute`: nobody waits for its answer any more."""

    kind: str
    client_id: str
    mute: bool
    order: Any


class Message(NamedTuple):
    """A report or an answer on its way to the engine. `name` and `key` say what is in it, `asked_ns` when it was asked."""

    name: str
    key: bytes
    event: AnyEvent
    asked_ns: int = 0


class Kept(NamedTuple):
    """One entity as the journal has it, and when it was written."""

    entity: Any
    key: tuple[Any, ...]
    at_ns: int


Journal = dict[tuple[str, str], Kept]


class Broken(AssertionError):  # noqa: N818
    """An invariant does not hold: which, and how."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant


def short(client_id: str) -> str:
    """Return an id of ours without prefix and document: "entry-1"."""
    return "-".join(client_id.rsplit("-", 2)[1:]) if is_ours(client_id) else client_id


def outline(order: VenueOrder | None) -> tuple[Any, ...]:
    """Return what of an order's description can differ."""
    if order is None:
        return ()
    return (
        order.client_order_id,
        str(order.status),
        order.qty,
        order.filled_qty,
        [outline(o) for o in order.legs],
    )


class Wires:
    """Everything there is at one moment. `faults`: how many more may happen, of the kinds in `menu`; `swings`: how often
    the market may still move."""

    def __init__(
        self, state: State, exchange: Exchange, menu: frozenset[str], faults: int, swings: int
    ) -> None:
        self.state = state
        self.exchange = exchange
        self.menu = menu
        self.faults = faults
        self.swings = swings
        self.now_ns = int(state.now_ns)
        self.requests: list[Request] = []
        self.stream: list[Message] = []
        self.answers: list[Message] = []
        self.truth: tuple[str, ...] | None = None
        self.truth_again: tuple[str, ...] | None = None
        self.truth_asked_ns = 0
        self.truth_positions: tuple[PositionSnapshot, ...] | None = None
        self.connection = "up"
        self.down = False
        self.journal: Journal = {}
        self.durable: Journal = {}
        self.alerts: frozenset[str] = frozenset()
        self.naked_since_ns: int | None = None
        self.filled_ns = 0
        self.decided = 0
        self._queue: list[AnyEvent] = []

    def copy(self) -> Self:
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        new.state = copy_state(self.state)
        new.exchange = self.exchange.copy()
        new.requests, new.stream, new.answers = self.requests[:], self.stream[:], self.answers[:]
        new.journal = self.journal.copy()
        new._queue = []
        return new

    def key(self) -> tuple[Any, ...]:
        """Return what makes two situations the same. The journal counts while the process may still die."""
        now = self.now_ns
        kept: list[Any] = []
        if self.may("crash") or self.down:
            for journal in (self.journal, self.durable):
                kept.extend((name, k.key, age(k.at_ns, now)) for name, k in sorted(journal.items()))
                kept.append(None)
        return (
            None if self.down else state_key(self.state),
            self.exchange.key(),
            (self.faults, self.swings, min(now - self.filled_ns, LAG_NS)),
            sorted((kind, name, mute) for kind, name, mute, _ in self.requests),
            [m.key for m in self.stream],
            sorted([(m.key, now - m.asked_ns if m.asked_ns else 0) for m in self.answers]),
            None if self.truth is None else (self.truth, now - self.truth_asked_ns),
            self.truth_again,
            None if self.truth_positions is None else [p.qty for p in self.truth_positions],
            self.connection,
            kept,
            None if self.naked_since_ns is None else min(now - self.naked_since_ns, 60 * NS_PER_S),
        )

    def may(self, fault: str) -> bool:
        """Whether a kind of fault may still happen."""
        return self.faults > 0 and fault in self.menu

    # --- deciding --------------------------------------------------------------------------------------

    def begin(self, out: list[AnyCommand]) -> None:
        """Put on its way what the first decision asked for, as `feed` does."""
        self._keep(durably=True)
        for command in out:
            self._carry_out(command)
        self._drain()

    def feed(self, event: AnyEvent) -> None:
        """Decide one event and what follows from it at once, and put what is asked for on its way."""
        self._queue.append(event)
        self._drain()

    def _drain(self) -> None:
        while self._queue:
            self._decide(self._queue.pop(0))

    def _decide(self, event: AnyEvent) -> None:
        self.decided += 1
        out = decide(self.state, event)
        wake = self.state.next_wake_ns
        if wake is not None and wake <= self.now_ns:
            raise Broken("time passes", f"a timer in the past after {type(event).__name__}")
        self._keep(durably=any(isinstance(c, SubmitEntry | SubmitExit) for c in out))
        for command in out:
            self._carry_out(command)

    def _keep(self, *, durably: bool) -> None:
        if "crash" in self.menu:
            for (kind, name), entity in self.state.changed.items():
                if kind not in JOURNALED:
                    continue
                if entity is None:
                    self.journal.pop((kind, name), None)
                elif isinstance(entity, Ticket):
                    ticket = copy_ticket(entity)
                    self.journal[kind, name] = Kept(ticket, ticket_key(ticket, self.now_ns), self.now_ns)
                else:
                    self.journal[kind, name] = Kept(entity, (), self.now_ns)
            if durably:
                self.durable = self.journal.copy()
        self.state.changed.clear()

    def _carry_out(self, command: AnyCommand) -> None:
        match command:
            case SubmitEntry(entry=order):
                if self.now_ns >= order.deadline_ns:
                    self._fail(SUBMIT, order.client_order_id, sent=False)
                else:
                    self._send(SUBMIT, order.client_order_id, order)
            case SubmitExit(order=order):
                self._send(SUBMIT, order.client_order_id, order)
            case CancelOrder(client_order_id=client_id):
                self._send(CANCEL, client_id, None)
            case QueryOrder(client_order_id=client_id):
                self._send(QUERY, client_id, None)
            case ReplaceOrder(client_order_id=client_id):
                self._send(REPLACE, client_id, command)
            case RequestTruth(client_order_ids=asked):
                self.ask_truth(asked)
            case RequestDayOrders(since_ns=since_ns):
                orders = tuple(
                    o for o in self.exchange.heads(tuple(self.exchange.orders)) if is_ours(o.client_order_id)
                )
                self._queue.append(DayOrdersReport(ts_ns=Ns(self.now_ns), since_ns=since_ns, orders=orders))
            case ReceiptChanged(intent_id=intent_id):
                ticket = self.state.ticket(intent_id)
                if ticket is not None and not ticket.is_live:
                    self._queue.append(
                        ReceiptWritten(ts_ns=Ns(self.now_ns), intent_id=intent_id, seq=ticket.seq)
                    )
            case Alert(code=code):
                self.alerts |= {code}
            case _:
                pass

    def _send(self, kind: RequestKind, client_id: str, order: Any) -> None:
        self.requests.append(Request(kind, client_id, False, order))
        if kind in (SUBMIT, REPLACE):
            sent = Ns(self.now_ns)
            self._queue.append(RequestSent(ts_ns=sent, kind=kind, client_order_id=client_id, sent_ns=sent))

    def ask_truth(self, asked: tuple[str, ...]) -> None:
        """Begin to ask the venue for everything; while it is being asked, once more afterwards."""
        if self.truth is not None:
            self.truth_again = asked
        else:
            self.truth, self.truth_asked_ns = asked, self.now_ns

    def _fail(self, kind: str, client_id: str, *, sent: bool) -> None:
        event = RequestFailed(
            ts_ns=Ns(0),
            kind=RequestKind(kind),
            client_order_id=client_id,
            may_have_been_sent=sent,
            reason="lost",
        )
        name = f"{kind} {short(client_id)} {'failed' if sent else 'was not sent'}"
        self.answers.append(Message(name, packed(name), event))


def link_report(now_ns: int, link: Link, *, up: bool) -> LinkReport:
    return LinkReport(ts_ns=Ns(now_ns), link=link, up=up, reason="" if up else "test")
