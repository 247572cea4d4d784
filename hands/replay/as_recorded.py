"""The circumstances of a recorded session: what stood around its documents, read from a state directory's record.

Owns their reading: how long requests were on their way, what the operator did, the limits in force, the account and the
kind of session it began with. May not play anything, nor judge what was recorded. The one idea: a replay of a session's
own documents should differ from it by nothing that the record knows.

Ways are told in the replay's time, which is that of receipt: there an exchange sees a row when we did, which is later than it
was by what a message takes (`VenueClockMeasured`, which holds the difference of the clocks as well). So what the venue says
happened at its time t, happens at t plus that.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from hands.core.events import (
    AccountReport,
    LimitsRead,
    Link,
    OperatorRequest,
    OrderReport,
    PositionSnapshot,
    RequestAnswered,
    RequestFailed,
    RequestKind,
    RequestSent,
    SessionReport,
    TradingStatusReport,
    TruthReport,
    VenueClockMeasured,
    VenueOrder,
)
from hands.core.units import NS_PER_S
from hands.journal.heads import HeadError, read_head
from hands.journal.record import NoRecord, Record, session_rows
from hands.journal.steps import SESSION, SNAPSHOT, Step
from hands.replay.arrivals import ArrivalError
from hands.replay.placing import Sent, arrivals_ns
from hands.replay.ways import Heard, Measured, Report, Way, report_of
from hands.sim.venue.calendar import MarketClock

Circumstance = (
    AccountReport
    | LimitsRead
    | OperatorRequest
    | OrderReport
    | RequestAnswered
    | RequestFailed
    | RequestSent
    | SessionReport
    | TradingStatusReport
    | TruthReport
    | VenueClockMeasured
)
_TAGS: Final = frozenset(
    {
        "account",
        "limits_read",
        "operator",
        "order_report",
        "request_answered",
        "request_failed",
        "request_sent",
        "session",
        "trading_status",
        "truth",
        "venue_clock",
    }
)
LATE_NS: Final = NS_PER_S
"""A report that is later than this, is not of what had just happened."""

_KINDS: Final = {
    "submit_entry": RequestKind.SUBMIT,
    "submit_exit": RequestKind.SUBMIT,
    "cancel_order": RequestKind.CANCEL,
    "replace_order": RequestKind.REPLACE,
    "query_order": RequestKind.QUERY,
}
"""What a command asks the venue for."""
_ASKING: Final = tuple(f'"{command}"'.encode() for command in _KINDS)

_CLOCK_TOLERANCE_NS: Final = 60 * NS_PER_S
"""A session's end is corrected to our clock; two kinds of session differ by hours."""


class Restarted(msgspec.Struct, frozen=True):
    """A further process life began: what the last one only knew for itself is forgotten."""

    ts_ns: int


Act = OperatorRequest | LimitsRead | TradingStatusReport | Restarted
"""What was done to the engine from outside, beside its documents."""


@dataclass(frozen=True, slots=True)
class AsRecorded:
    """What a record says of the circumstances of its sessions; None where it says nothing.

    `limits`: the file as it was first read. `account`: its first report; `account_asked_ns`: when it was asked for at all. `acts`: what was done later, in order of time. `began_with`: the ids of trades
    that were alive before the record begins; `holdings` and `orders`: what else the account held then, and what worked at the
    venue. `began_ns`, `ended_ns`: its first step and its last; `first_row_ns`: its first row.
    """

    measured: Measured
    acts: tuple[Act, ...]
    limits: LimitsRead | None
    account: AccountReport | None
    account_asked_ns: tuple[int, ...]
    session: str | None
    began_with: tuple[str, ...]
    holdings: tuple[PositionSnapshot, ...]
    orders: tuple[VenueOrder, ...]
    sessions: int
    began_ns: int
    ended_ns: int
    first_row_ns: int | None


class _Tickets(msgspec.Struct, frozen=True):
    """As much of a state's image as is asked for here."""

    tickets: dict[str, msgspec.Raw]


def read_circumstances(state: Path) -> AsRecorded:
    """Return the circumstances that are on record in a state directory. Raises ArrivalError: there is no record."""
    reading = _Reading()
    try:
        with Record(state) as record:
            for step in record.steps():
                reading.take(step)
    except NoRecord as error:
        raise ArrivalError(f"{state}: {error}") from error
    with contextlib.suppress(NoRecord):  # its rows are all gone: then by the venue's time alone
        market = session_rows(state)
        reading.place(market.symbols, market.chunks)
    return reading.result()


class _Reading:
    """One pass over the steps of a record."""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder(Circumstance).decode
        self._waiting: dict[tuple[RequestKind, str], deque[int]] = defaultdict(deque)
        self._decided: dict[tuple[RequestKind, str], int] = {}
        self._requests: dict[tuple[RequestKind, str], list[Way]] = defaultdict(list)
        self.orders: list[Sent] = []
        self._ordered: list[tuple[tuple[RequestKind, str], int]] = []  # which request an order is of
        self._reports: dict[Report, list[Heard]] = defaultdict(list)
        self._offsets: dict[Link, int] = {}
        self._acts: list[Act] = []
        self._limits: LimitsRead | None = None
        self._account: AccountReport | None = None
        self._account_asked: list[int] = []
        self._truth: TruthReport | None = None
        self._clocks: Counter[str] = Counter()
        self._always = MarketClock("always")
        self._began_with: tuple[str, ...] | None = None
        self._sessions = 0
        self._began_ns = self._ended_ns = 0
        self._first_row_ns: int | None = None

    def take(self, step: Step) -> None:
        self._began_ns, self._ended_ns = self._began_ns or step.ts_ns, step.ts_ns
        if step.kind in {SESSION, SNAPSHOT} and self._began_with is None:
            self._began_with = _alive(step)
        if any(tag in step.commands for tag in _ASKING):
            self._asked(step)
        if step.kind == SESSION:
            self._sessions += 1
            self._waiting.clear()
            self._decided.clear()
            if self._sessions > 1:
                self._acts.append(Restarted(step.ts_ns))
        elif step.kind in _TAGS:
            self._take_event(self._decode(step.payload))

    def _take_event(self, event: Any) -> None:
        match event:
            case RequestSent():
                self._sent(event)
            case RequestAnswered():
                self._answered(event)
            case RequestFailed():
                self._begun(event)
            case OrderReport():
                self._reported(event)
            case VenueClockMeasured():
                self._offsets[event.link] = event.offset_ns
            case OperatorRequest() | TradingStatusReport():
                self._acts.append(event)
            case LimitsRead():
                if self._limits is None:
                    self._limits = event
                else:
                    self._acts.append(event)
            case SessionReport():
                self._clocks[self._kind_of(event)] += 1
            case AccountReport():
                self._account = self._account or event
                self._account_asked.append(event.asked_ns)
            case TruthReport():
                self._truth = self._truth or event

    # --- ways ------------------------------------------------------------------------------------------------

    def _asked(self, step: Step) -> None:
        """Note when requests were decided: in a replay they are then sent."""
        for command in msgspec.json.decode(step.commands):
            kind = _KINDS.get(command["type"])
            if kind is not None:
                about = command.get("entry") or command.get("order") or command
                self._decided[kind, about["client_order_id"]] = step.ts_ns

    def _sent(self, event: RequestSent) -> None:
        """Note that a request is on its way, by the newest decision for it: an older one was never sent."""
        key = event.kind, event.client_order_id
        self._waiting[key].append(self._decided.pop(key, event.sent_ns))

    def _begun(self, event: RequestAnswered | RequestFailed) -> int | None:
        """Return when the request was decided that has come to its end; None for one that was never sent."""
        waiting = self._waiting[event.kind, event.client_order_id]
        return waiting.popleft() if waiting else None

    def _answered(self, event: RequestAnswered) -> None:
        key, begun_ns = (event.kind, event.client_order_id), self._begun(event)
        if begun_ns is None:
            return
        whole_ns = max(0, event.ts_ns - begun_ns)
        there_ns = whole_ns // 2
        order = event.order
        if order is not None and order.submitted_ns is not None and event.kind in _ARRIVING:
            told_ns = order.submitted_ns + self._offset_ns(order.symbol) - begun_ns
            if abs(told_ns) <= 2 * whole_ns:  # else the clocks' difference is not known well enough
                there_ns = min(max(0, told_ns), whole_ns)
                sent = Sent(order.symbol, begun_ns, event.ts_ns, order.submitted_ns, begun_ns + there_ns)
                self.orders.append(sent)
                self._ordered.append((key, len(self._requests[key])))
        self._requests[key].append(Way(begun_ns, there_ns, whole_ns - there_ns))

    def place(self, symbols: Sequence[str], chunks: Iterable[np.ndarray]) -> None:
        """Let every order arrive between the rows between which it did, and note when the first row was received."""
        rest = iter(chunks)
        first = next(rest, None)
        if first is None:
            return
        self._first_row_ns = int(first["recv_ns"][0])
        found = arrivals_ns(self.orders, symbols, chain((first,), rest)) if self.orders else []
        for (key, number), order, at_ns in zip(self._ordered, self.orders, found, strict=True):
            way = Way(order.decided_ns, at_ns - order.decided_ns, max(0, order.answered_ns - at_ns))
            self._requests[key][number] = way

    def _reported(self, event: OrderReport) -> None:
        if event.execution is not None:
            told_ns: int | None = event.execution.at_ns
        else:
            told_ns = event.order.submitted_ns if event.event in _BEGINNINGS else None
        happened_ns: int | None = None
        if told_ns is not None:
            happened_ns = min(event.ts_ns, told_ns + self._offset_ns(event.order.symbol))
            if event.ts_ns - happened_ns > LATE_NS:  # a leg that was released, or a report after an outage
                happened_ns = None
        self._reports[report_of(event)].append(Heard(happened_ns, event.ts_ns))

    def _offset_ns(self, symbol: str) -> int:
        return self._offsets.get(Link.CRYPTO_DATA if "/" in symbol else Link.EQUITY_DATA, 0)

    def _kind_of(self, report: SessionReport) -> str:
        always = self._always.at(report.ts_ns)
        is_always = report.is_open and abs(report.next_close_ns - always.next_close_ns) < _CLOCK_TOLERANCE_NS
        return "always" if is_always else "calendar"

    # --- the result ------------------------------------------------------------------------------------------

    def result(self) -> AsRecorded:
        clocks = self._clocks.most_common(1)
        return AsRecorded(
            measured=Measured(dict(self._requests), dict(self._reports)),
            acts=tuple(sorted(self._acts, key=lambda act: act.ts_ns)),
            limits=self._limits,
            account=self._account,
            account_asked_ns=tuple(sorted(self._account_asked)),
            session=clocks[0][0] if clocks else None,
            began_with=self._began_with or (),
            holdings=() if self._truth is None else self._truth.positions,
            orders=() if self._truth is None else self._truth.orders,
            sessions=self._sessions,
            began_ns=self._began_ns,
            ended_ns=self._ended_ns,
            first_row_ns=self._first_row_ns,
        )


_ARRIVING: Final = frozenset({RequestKind.SUBMIT, RequestKind.REPLACE})
"""The requests whose answer says when they arrived: they make an order."""


_BEGINNINGS: Final = frozenset({"pending_new", "accepted", "new"})
"""The reports of an order that has just arrived."""


def _alive(step: Step) -> tuple[str, ...]:
    """Return the ids of the trades in a head's state; none where it cannot be read, as by a version that wrote others."""
    try:
        return tuple(msgspec.json.decode(read_head(step.payload).state, type=_Tickets).tickets)
    except (HeadError, msgspec.MsgspecError):
        return ()
