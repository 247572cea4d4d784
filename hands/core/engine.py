"""`decide(state, event) -> commands`: the whole engine, as one function without a world.

Owns the dispatch of events to the rooms that answer for them. Deterministic and closed: it reads no clock, does
no I/O, never awaits and never raises for anything the world does. Documents are handled in
`hands.core.admission`; every event that concerns a trade ends in `protection.supervise`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hands.core import freshness, recount, tightening
from hands.core.admission import (
    arm_touch,
    document_received,
    document_settled,
    quote_fetched,
    recall_approvals,
    rejudge_touch,
    waiting_over,
)
from hands.core.breakers import hold_reason, keep_watching, operate, roll_day, watch_losses
from hands.core.closing import reopen
from hands.core.commands import Alert, AnyCommand, ReceiptChanged, RequestTruth, Stopped
from hands.core.events import (
    AccountReport,
    AnyEvent,
    AssetsReport,
    ClockStepped,
    DocumentReceived,
    DocumentSettled,
    Link,
    LinkReport,
    OperatorRequest,
    OrderReport,
    QuoteFetched,
    ReceiptWritten,
    RequestAnswered,
    RequestFailed,
    RequestKind,
    RequestSent,
    SessionReport,
    Started,
    TriggersFired,
    TruthReport,
    Wake,
)
from hands.core.ledger_rows import intent_record
from hands.core.orders import is_ours
from hands.core.ownership import cancel_orphan, note_foreign, reconcile
from hands.core.protection import supervise, want_exit
from hands.core.reports import absorb, deny, is_group, submit_answered, submit_failed
from hands.core.state import State
from hands.core.ticket import Ticket
from hands.core.units import NS_PER_S
from hands.core.vocab import ExitReason, Leg, OrderStatus, TradeState, TradingState
from hands.core.watch import disarm

TRUTH_AGAIN_NS = NS_PER_S
LINK_PATIENCE_NS = 10 * NS_PER_S
"""How long a link may be down before it is a reason to reduce only; until then entries are NOT_READY or stale."""

Out = list[AnyCommand]


def decide(state: State, event: AnyEvent) -> Out:
    """Advance `state` by one event and return what is to be done, in order."""
    out: Out = []
    state.now_ns = type(state.now_ns)(max(state.now_ns, event.ts_ns))
    _run_timers(state, out)
    _HANDLERS[type(event)](state, event, out)
    _judge_coverage(state, out)
    _enforce_state(state, out)
    for intent_id in state.receipts_due:
        ticket = state.ticket(intent_id)
        if ticket is not None:
            ticket.seq += 1
            out.append(ReceiptChanged(intent_id=intent_id))
    state.receipts_due.clear()
    return out


# --- timers ------------------------------------------------------------------------------------------------


def _run_timers(state: State, out: Out) -> None:
    due = []
    while (timer := state.due(state.now_ns)) is not None:
        due.append(
            timer
        )  # taken first: one that asks to run again at once runs with the next event, not for ever
    for _, kind, key in due:
        match kind:
            case "ticket":
                ticket = state.tickets.get(key)
                if ticket is not None:
                    _look_after(state, ticket, out)
            case "waiting":
                waiting_over(state, key, out)
            case "roll":
                roll_day(state, out)
            case "watch":
                watch_losses(state, out)
                keep_watching(state)
            case "truth":
                _ask_for_truth(state, "again", out)
            case "links":
                _judge_links(state, out)


def _look_after(state: State, ticket: Ticket, out: Out) -> None:
    """Do what a ticket needs now: an armed one may have waited long enough, any other is supervised."""
    if ticket.state is TradeState.ARMED:
        arming = ticket.arming
        if arming is None or state.now_ns >= arming.until_ns:
            _disarm_ticket(state, ticket, TradeState.EXPIRED, "its price was not touched in time", out)
        return
    supervise(state, ticket, out)
    watch_losses(state, out)
    keep_watching(state)


def _disarm_ticket(state: State, ticket: Ticket, ended: TradeState, message: str, out: Out) -> None:
    disarm(state, ticket.intent_id, "touch")
    ticket.state, ticket.message, ticket.closed_ns = ended, message, state.now_ns
    state.finish(ticket)
    out.append(intent_record(ticket))


def _judge_coverage(state: State, out: Out) -> None:
    """While anything is unprotected beyond its bound nothing new is entered, and the operator sees it."""
    naked = [
        ticket.symbol
        for ticket in state.committed()
        if ticket.naked_since_ns is not None
        and state.now_ns - ticket.naked_since_ns
        >= state.limits.effective(ticket.agent, ticket.symbol).unprotected_max_ms
    ]
    if naked or "UNPROTECTED" in state.reasons:
        detail = f"{', '.join(sorted(naked))}: no stop rests at the venue for all that is owned"
        hold_reason(state, out, "UNPROTECTED", detail if naked else None)


def _enforce_state(state: State, out: Out) -> None:
    """Outside ACTIVE, and while stopping, nothing is armed and no entry works; stopping ends when that is so."""
    if state.trading_state is TradingState.ACTIVE and not state.stopping:
        return
    why = "the engine stops" if state.stopping else f"trading is {state.trading_state}"
    for ticket in list(state.tickets.values()):
        entry = ticket.entry
        if ticket.state is TradeState.ARMED:
            _disarm_ticket(state, ticket, TradeState.CANCELED, f"disarmed: {why}", out)
        elif entry is not None and entry.is_live and entry.cancel_ns is None:
            supervise(state, ticket, out)
    working = any(t.entry is not None and t.entry.is_live for t in state.tickets.values())
    if state.stopping and not state.stopped and not working:
        state.stopped = True
        out.append(Stopped(still_open=tuple(t.symbol for t in state.tickets.values() if t.owned)))


# --- the venue ---------------------------------------------------------------------------------------------


def _order_report(state: State, event: OrderReport, out: Out) -> None:
    report = event.order
    found = state.find_order(report.client_order_id, report.order_id)
    if found is None:
        _unknown_order(state, event, out)
        return
    ticket, order = found
    absorb(state, ticket, order, report, out, execution=event.execution, position_qty=event.position_qty)
    _after_report(state, ticket, out)


def _after_report(state: State, ticket: Ticket, out: Out) -> None:
    if ticket.intent_id not in state.tickets:
        _late_news(state, ticket, out)
        return
    _look_after(state, ticket, out)


def _late_news(state: State, ticket: Ticket, out: Out) -> None:
    """A finished ticket moved again: a late cancel is normal; a late fill brings the trade back to be protected."""
    entry = ticket.entry
    owns = ticket.owned != 0
    if not owns and not (entry is not None and entry.is_live):
        return
    state.finished.pop(ticket.intent_id, None)
    reopen(state, ticket)
    ticket.state = TradeState.OPEN if owns else TradeState.WORKING
    state.add(ticket)
    message = f"{ticket.symbol}: {ticket.intent_id} was thought over and is not; it is looked after again"
    out.append(Alert(level="critical", code="LATE_FILL", message=message))
    state.touch(ticket)
    supervise(state, ticket, out)


def _unknown_order(state: State, event: OrderReport, out: Out) -> None:
    """An order we cannot place: a leg whose parent has not answered yet, an orphan of ours, or somebody else's."""
    report = event.order
    if is_ours(report.client_order_id):
        cancel_orphan(state, report, out)
        _ask_for_truth(state, f"an unknown order of ours: {report.client_order_id}", out)
        return
    for ticket in state.live_on(report.symbol):
        if any(is_group(order) for order in ticket.orders.values()):
            ticket.group_read = False  # most likely one of its legs: read the group
            _look_after(state, ticket, out)
    if report.symbol in state.limits.allow:
        ours = bool(state.live_on(report.symbol))
        works = report.status is not None and not report.status.is_terminal
        if (
            works and not ours and report.symbol not in state.foreign
        ):  # beside a trade of ours it is busy anyway
            note_foreign(
                state, report.symbol, f"an order that is not ours works there ({report.order_id})", out
            )
        pace = TRUTH_AGAIN_NS * (2 if ours else 10)  # somebody else's trading must not use up our requests
        _ask_for_truth(state, f"an order on {report.symbol} that is not known", out, pace)


def _ask_for_truth(state: State, reason: str, out: Out, pace_ns: int = TRUTH_AGAIN_NS) -> None:
    """Ask the venue for everything, at most once in `pace_ns`; asked sooner it is remembered for later."""
    last = state.truth_asked_ns
    if last is not None and state.now_ns < last + pace_ns:
        state.wake_at(last + pace_ns, "truth", "")
        return
    state.truth_asked_ns = state.now_ns
    asked = [
        order.client_order_id
        for ticket in state.tickets.values()
        for order in ticket.orders.values()
        if order.parent is None and (order.is_live or is_group(order))
    ]
    out.append(RequestTruth(client_order_ids=tuple(asked), reason=reason))


def _request_sent(state: State, event: RequestSent, _out: Out) -> None:
    found = state.find_order(event.client_order_id)
    if found is None or event.kind is not RequestKind.SUBMIT:
        return
    ticket, order = found
    order.sent_ns = event.sent_ns
    if order.leg is Leg.ENTRY:
        stamps = ticket.stamps
        stamps.sent = event.sent_ns
        stamps.decided = (
            event.decided_ns or stamps.decided
        )  # an order that waited for a connection says neither
        stamps.journaled = event.journaled_ns or stamps.journaled
    state.touch(ticket)


def _request_answered(state: State, event: RequestAnswered, out: Out) -> None:
    found = state.find_order(event.client_order_id)
    if found is None:
        return
    ticket, order = found
    match event.kind:
        case RequestKind.SUBMIT:
            submit_answered(state, ticket, order, event, out)
            if 400 <= event.status < 500 and order.leg is not Leg.ENTRY:  # do we own what we think?
                _ask_for_truth(state, f"{ticket.symbol}: {event.message}", out)
        case RequestKind.CANCEL:
            if event.status in (404, 422):
                # it is over already, or cannot be cancelled: ask at once (a leg through its parent)
                ticket.orders.get(order.parent or "", order).query_ns = None
        case RequestKind.QUERY:
            if event.order is not None and event.status < 300:
                terminal = order.status.is_terminal
                absorb(state, ticket, order, event.order, out)
                ticket.group_read = ticket.group_read or (
                    is_group(order) and (terminal or order.status.is_terminal)
                )
            elif event.status == 404:
                deny(state, ticket, order, out)
    _after_report(state, ticket, out)


def _request_failed(state: State, event: RequestFailed, out: Out) -> None:
    found = state.find_order(event.client_order_id)
    if found is None:
        return
    ticket, order = found
    if event.kind is RequestKind.SUBMIT:
        submit_failed(state, ticket, order, sent=event.may_have_been_sent, reason=event.reason, out=out)
    _after_report(state, ticket, out)


def _account(state: State, event: AccountReport, out: Out) -> None:
    state.account = event
    roll_day(state, out)
    blocked = event.trading_blocked or event.account_blocked or event.suspended_by_user
    hold_reason(
        state, out, "ACCOUNT_BLOCKED", "the venue has blocked trading on this account" if blocked else None
    )
    watch_losses(state, out)
    keep_watching(state)


def _assets(state: State, event: AssetsReport, _out: Out) -> None:
    state.assets.update({asset.symbol: asset for asset in event.assets})


def _session(state: State, event: SessionReport, out: Out) -> None:
    opens = event.is_open and (state.session is None or not state.session.is_open)
    state.session = event
    for ticket in list(state.tickets.values()):
        if opens:
            ticket.retry_exit_ns = state.now_ns  # what was refused overnight is tried at once
        _look_after(state, ticket, out)


def _truth(state: State, event: TruthReport, out: Out) -> None:
    first = not state.reconciled
    if not reconcile(state, event, out):
        return
    if first:
        recount.ask(state, out)
    for ticket in list(state.tickets.values()):
        if first and ticket.state is TradeState.ARMED:
            # not before: what fires before the venue has spoken could only be denied
            arm_touch(state, ticket)
        for order in ticket.orders.values():
            order.query_ns, order.queries = None, 0
        _look_after(state, ticket, out)
    for ticket in list(state.finished.values()):
        if ticket.owned != 0:
            _late_news(state, ticket, out)


def _link(state: State, event: LinkReport, out: Out) -> None:
    before = state.links.get(event.link, False)
    state.links[event.link] = event.up
    if event.up:
        state.down_since_ns.pop(event.link, None)
    else:
        state.down_since_ns.setdefault(event.link, state.now_ns)
    if before is not event.up:
        level = "info" if event.up else "warning"
        message = f"{event.link} is {'up' if event.up else f'down: {event.reason}'}"
        out.append(Alert(level=level, code="LINK", message=message))
    if event.up:
        _judge_links(state, out)
    else:
        state.wake_at(state.now_ns + LINK_PATIENCE_NS, "links", "")
    if event.link is Link.JOURNAL:  # what cannot be written ahead must not be entered
        hold_reason(state, out, "JOURNAL", None if event.up else event.reason)
    if event.link is Link.TRADE_UPDATES and event.up:
        _ask_for_truth(state, "the trade stream is up: what was missed?", out)
    elif event.link is Link.TRADE_UPDATES:
        for ticket in list(state.tickets.values()):
            _look_after(state, ticket, out)  # entries that work are asked for from now on


def _judge_links(state: State, out: Out) -> None:
    """A link that stays down becomes a reason (and disarms); one that comes back at once is only not ready."""
    down = {link for link, since in state.down_since_ns.items() if state.now_ns - since >= LINK_PATIENCE_NS}
    lost = sorted(down & {Link.ORDER_ENTRY, Link.TRADE_UPDATES})
    hold_reason(state, out, "VENUE_UNREACHABLE", f"{', '.join(lost)} down" if lost else None)
    feeds = {Link.EQUITY_DATA, Link.CRYPTO_DATA} & set(state.links)
    silent = bool(feeds) and feeds <= down
    hold_reason(state, out, "STALE_FEED", "no market data arrives at all" if silent else None)


# --- the market, the operator, ourselves -------------------------------------------------------------------


def _triggers(state: State, event: TriggersFired, out: Out) -> None:
    for slot in event.slots:
        key = state.triggers.pop(slot, None)
        if key is None:
            continue
        state.armed_slots.pop(key, None)
        intent_id, kind = key
        ticket = state.tickets.get(intent_id)
        if ticket is None:
            continue
        if kind == "touch":
            rejudge_touch(state, ticket, out)
            continue
        if kind == "target":
            want_exit(state, ticket, ExitReason.TAKE_PROFIT, "the target was reached")
        elif ticket.through_stop_ns is None:
            ticket.through_stop_ns = state.now_ns
            state.touch(ticket, receipt=False)
        _look_after(state, ticket, out)


def _started(state: State, event: Started, _out: Out) -> None:
    """Begin a session: what was in flight when the last one ended is unknown until the venue has spoken."""
    state.rolls_ns = sorted(event.rolls_ns)
    for ticket in list(state.tickets.values()):
        for order in ticket.orders.values():
            if order.status is OrderStatus.UNSENT:
                order.status = OrderStatus.UNKNOWN
            order.query_ns, order.cancel_ns = None, None
        state.touch(ticket)
    recall_approvals(state)
    recount.begin(state)
    upcoming = state.next_roll_ns(state.now_ns)
    if upcoming is not None:
        state.wake_at(upcoming, "roll", "")


def _receipt_written(state: State, event: ReceiptWritten, _out: Out) -> None:
    """The last word on a finished ticket is on disk: the journal need not keep it any more."""
    if event.intent_id in state.finished and event.seq == state.finished[event.intent_id].seq:
        state.changed["ticket", event.intent_id] = None


def _clock_stepped(state: State, event: ClockStepped, out: Out) -> None:
    out.append(
        Alert(
            level="warning",
            code="CLOCK_STEPPED",
            message=f"the wall clock moved by {(event.wall_offset_ns - state.wall_offset_ns) / NS_PER_S:.3f} s",
        )
    )
    state.wall_offset_ns = event.wall_offset_ns


def _wake(_state: State, _event: Wake, _out: Out) -> None:
    """Timers have already run."""


_HANDLERS: dict[type[Any], Callable[[State, Any, Out], None]] = {
    OrderReport: _order_report,
    RequestSent: _request_sent,
    RequestAnswered: _request_answered,
    RequestFailed: _request_failed,
    AccountReport: _account,
    AssetsReport: _assets,
    SessionReport: _session,
    TruthReport: _truth,
    LinkReport: _link,
    QuoteFetched: quote_fetched,
    TriggersFired: _triggers,
    DocumentReceived: document_received,
    DocumentSettled: document_settled,
    OperatorRequest: operate,
    Started: _started,
    ReceiptWritten: _receipt_written,
    ClockStepped: _clock_stepped,
    Wake: _wake,
    **freshness.HANDLERS,
    **recount.HANDLERS,
    **tightening.HANDLERS,
}
