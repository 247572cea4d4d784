"""What the venue says of our orders, put where it belongs: reports, answers, failures, and the whole truth.

Owns the way from such an event to the ticket it concerns, and the questions that follow where it concerns none. May
not merge anything itself: that is `hands.core.reports`. The one idea: whatever was said, the ticket is looked after
again, so nothing hangs on which of the venue's channels was the first to speak.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hands.core import basis, executions, recount
from hands.core.admission import arm_touch
from hands.core.answers import Meaning, meaning_of
from hands.core.breakers import hold_reason
from hands.core.closing import reopen
from hands.core.commands import Alert, AnyCommand
from hands.core.events import (
    OrderReport,
    RequestAnswered,
    RequestFailed,
    RequestKind,
    RequestSent,
    TruthReport,
)
from hands.core.groups import doubt_all, note_read
from hands.core.moving import move_answered, move_failed, successor_of
from hands.core.orders import is_ours
from hands.core.ownership import adopt_successor, cancel_orphan, note_foreign, reconcile
from hands.core.protection import supervise
from hands.core.pursuit import TRUTH_AGAIN_NS, ask_for_truth
from hands.core.reports import absorb, deny, submit_answered, submit_failed
from hands.core.state import State
from hands.core.strays import find_or_adopt, suspects
from hands.core.ticket import Ticket
from hands.core.upkeep import look_after
from hands.core.vocab import Leg, TradeState

_OF_OUR_HOLDING = frozenset(
    {Meaning.REFUSED, Meaning.SETTLING, Meaning.EXISTS, Meaning.THROUGH_STOP, Meaning.THROUGH_TARGET}
)
"""Refusals of an exit after which the venue is asked what we hold."""

Out = list[AnyCommand]


def _order_report(state: State, event: OrderReport, out: Out) -> None:
    report = event.order
    found = find_or_adopt(state, report, out) or adopt_successor(state, report, out)
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
    look_after(state, ticket, out)


def _late_news(state: State, ticket: Ticket, out: Out) -> None:
    """A finished ticket moved again: a late cancel is normal; a late fill brings the trade back to be protected, and an
    order that can still trade brings it back to be followed."""
    owns = ticket.owned != 0
    if not owns and not any(order.is_live for order in ticket.orders.values()):
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
        ask_for_truth(state, f"an unknown order of ours: {report.client_order_id}", out)
        return
    for ticket in state.live_on(report.symbol):
        if doubt_all(state, ticket):  # most likely one of its legs: read the group
            look_after(state, ticket, out)
    if report.symbol in state.limits.allow:
        ours = bool(state.live_on(report.symbol))
        works = report.status is not None and not report.status.is_terminal
        known = state.foreign.get(report.symbol, "")
        if works and not ours and "an order that is not ours" not in known:  # beside ours it is busy anyway
            note_foreign(
                state, report.symbol, f"an order that is not ours works there ({report.order_id})", out
            )
        pace = TRUTH_AGAIN_NS * (2 if ours else 10)  # somebody else's trading must not use up our requests
        ask_for_truth(state, f"an order on {report.symbol} that is not known", out, pace)


def _request_sent(state: State, event: RequestSent, _out: Out) -> None:
    found = state.find_order(event.client_order_id)
    if found is None or event.kind not in (RequestKind.SUBMIT, RequestKind.REPLACE):
        return
    ticket, order = found
    if event.kind is RequestKind.REPLACE:
        moved = successor_of(ticket, order)
        if moved is not None:
            moved.sent_ns = event.sent_ns
        return
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
    meaning = meaning_of(event)
    match event.kind:
        case RequestKind.SUBMIT:
            submit_answered(state, ticket, order, event, out)
            if meaning in _OF_OUR_HOLDING and order.leg is not Leg.ENTRY:  # do we own what we think?
                ask_for_truth(state, f"{ticket.symbol}: {event.message}", out)
        case RequestKind.CANCEL:
            order.refused_cancels = 0 if meaning is Meaning.TAKEN else order.refused_cancels + 1
            if meaning is Meaning.OVERTAKEN:
                # it is over already, or cannot be cancelled: ask at once (a leg through its parent)
                ticket.orders.get(order.parent or "", order).query_ns = None
        case RequestKind.REPLACE:
            move_answered(state, ticket, order, event, out)
        case RequestKind.QUERY:
            if event.order is not None and event.status < 300:
                absorb(state, ticket, order, event.order, out)
                if order.is_group:
                    note_read(state, ticket, order, event.order, order.query_ns or 0, out)
            elif meaning is Meaning.DENIED:
                deny(state, ticket, order, out)
    _after_report(state, ticket, out)


def _request_failed(state: State, event: RequestFailed, out: Out) -> None:
    found = state.find_order(event.client_order_id)
    if found is None:
        return
    ticket, order = found
    if event.kind is RequestKind.SUBMIT:
        submit_failed(state, ticket, order, sent=event.may_have_been_sent, reason=event.reason, out=out)
    elif event.kind is RequestKind.REPLACE:
        move_failed(state, ticket, order, sent=event.may_have_been_sent, reason=event.reason, out=out)
    _after_report(state, ticket, out)


def _truth(state: State, event: TruthReport, out: Out) -> None:
    first = not state.reconciled
    if event.asked_ns >= state.truth_of_ns:
        basis.judge(state, event, out)
    if not reconcile(state, event, out):
        return
    if state.fenced_ns is not None and not _leave_fence(state, event, out):
        return
    if first:
        recount.ask(state, out)
    for ticket in list(state.tickets.values()):
        if first and ticket.state is TradeState.ARMED:
            # not before: what fires before the venue has spoken could only be denied
            arm_touch(state, ticket)
        for order in ticket.orders.values():
            order.query_ns, order.queries = None, 0
        look_after(state, ticket, out)
    for ticket in list(state.finished.values()):
        _late_news(state, ticket, out)
    executions.look(state)


def _leave_fence(state: State, event: TruthReport, out: Out) -> bool:
    """End the fence, unless the truth named orders that others may follow, or was asked without looking for them."""
    answered = {*event.missing, *(order.client_order_id for order in event.orders)}
    if not answered.issuperset(suspects(state)):
        state.reconciled = False
        state.wake_at(state.now_ns + TRUTH_AGAIN_NS, "fence", "")
        ask_for_truth(state, "fenced: what else was sent for us?", out, 0)
        return False
    state.fenced_ns = None
    hold_reason(state, out, "FENCED", None)
    out.append(Alert(level="info", code="FENCE_PASSED", message="the venue's truth is known again"))
    return True


HANDLERS: dict[type[Any], Callable[[State, Any, Out], None]] = {
    OrderReport: _order_report,
    RequestSent: _request_sent,
    RequestAnswered: _request_answered,
    RequestFailed: _request_failed,
    TruthReport: _truth,
}
