"""Pursuit of the venue's word: cancelling, asking, and ending an entry that has had its time.

Owns when a cancel or a question is sent again. May not conclude anything from silence: only a report or an answer
that the order is over counts. The one idea: asking is cheap and idempotent, so it backs off but never stops.
"""

from __future__ import annotations

from hands.core.commands import AnyCommand, CancelOrder, QueryOrder, RequestTruth
from hands.core.coverage import successors
from hands.core.events import Link
from hands.core.groups import may_tell
from hands.core.ledger_rows import order_record
from hands.core.state import State
from hands.core.strays import NEVER_HEARD, given_up, suspects
from hands.core.ticket import Order, Ticket
from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.core.vocab import Leg, OrderStatus, TradingState

CANCEL_AGAIN_NS, CANCEL_AGAIN_MAX_NS = NS_PER_S, 10 * NS_PER_S
"""When a cancel is sent again: after a second; where it is not taken, after 1 s, 2 s, 4 s, 8 s, then every 10 s. In
between its order is asked for."""

CANCEL_URGENT_NS = 2 * NS_PER_S
"""The longest pause where a naked position or an exit waits for it: a venue may be well again at any moment."""

ASK_FIRST_NS = 100 * NS_PER_MS
ASK_LONGEST_NS = 5 * NS_PER_S
ASK_BLIND_NS = NS_PER_S
"""The same while the trade stream is down: an entry that fills unheard is naked until it is asked for."""

TRUTH_AGAIN_NS = NS_PER_S

CLOSE_MARGIN_NS = 2 * NS_PER_S
"""How long before the close an entry in shares is ended: a cancel may not get through once the market is closed."""

LOST_AFTER_NS = 2 * NS_PER_S
"""An entry that the venue denies knowing is given up this long after its deadline, and never sent again."""


def end_entry(state: State, ticket: Ticket, entry: Order, out: list[AnyCommand]) -> None:
    """Cancel what the entry has not filled: at its deadline, after the partial grace, just before its session ends (a
    GTC order would work on at the next open), or when entries are over."""
    if not entry.is_live:
        return
    now, ends = state.now_ns, ticket.deadline_ns
    if entry.order_id is not None and not state.links.get(Link.TRADE_UPDATES):
        ask(state, ticket, entry, out)  # nobody will tell of a fill
    if ticket.first_fill_ns is not None:
        grace = state.limits.effective(ticket.agent, ticket.symbol).partial_grace_ms
        ends = Ns(min(ends, ticket.first_fill_ns + grace))
    ends = min(ends, _session_ends_ns(state, ticket))
    over = state.trading_state is not TradingState.ACTIVE or state.stopping
    over = over or ticket.exit_reason is not None or bool(ticket.cancel_note)
    if now < ends and not over:
        state.wake_at(ends, "ticket", ticket.intent_id)
        return
    if (
        entry.status is OrderStatus.UNKNOWN
        and entry.missing >= 2
        and now >= ticket.deadline_ns + LOST_AFTER_NS
    ):
        entry.status = OrderStatus.REJECTED
        entry.refusal = NEVER_HEARD
        out.append(order_record(entry))
        state.touch(ticket)
        return
    cancel(state, ticket, entry, out)


def _session_ends_ns(state: State, ticket: Ticket) -> Ns:
    """Return when an entry in shares must be ended because its session ends; its deadline where nothing is known."""
    plan, session = ticket.plan, state.session
    if plan is None or plan.is_crypto or session is None:
        return ticket.deadline_ns
    return Ns(session.next_close_ns - CLOSE_MARGIN_NS) if session.is_open else state.now_ns


def cancel(state: State, ticket: Ticket, order: Order, out: list[AnyCommand]) -> None:
    """Ask for an order's cancellation and keep asking; only the venue's word that it is over counts."""
    now = state.now_ns
    if order.order_id is None:
        if order.sent_ns is not None or order.status is OrderStatus.UNKNOWN:
            ask(state, ticket, order, out)
        else:
            state.wake_at(now + ASK_FIRST_NS, "ticket", ticket.intent_id)  # not even sent: it will be dropped
        return
    is_urgent = ticket.naked_since_ns is not None or ticket.exit_reason is not None
    longest = CANCEL_URGENT_NS if is_urgent else CANCEL_AGAIN_MAX_NS
    again_ns = min(CANCEL_AGAIN_NS << min(order.refused_cancels, 4), longest)
    if order.cancel_ns is None or now - order.cancel_ns >= again_ns:
        if order.cancel_ns is not None:
            ask(state, ticket, order, out)
        order.cancel_ns = Ns(now)
        out.append(CancelOrder(order_id=order.order_id, client_order_id=order.client_order_id))
        state.touch(ticket, receipt=False)
    elif now - order.cancel_ns >= ASK_FIRST_NS:
        ask(state, ticket, order, out)
    for due_ns in (order.cancel_ns + ASK_FIRST_NS, order.cancel_ns + again_ns):
        if due_ns > now:  # a timer in the past would run again within the same event, for ever
            state.wake_at(due_ns, "ticket", ticket.intent_id)


def cancel_resting(state: State, ticket: Ticket, out: list[AnyCommand]) -> bool:
    """Have what protects cancelled, so that an exit can have what it reserves; True while some of it lives."""
    resting = [order for order in ticket.exits if order.is_live and order.leg is not Leg.EXIT]
    working_leg = any(order.status is not OrderStatus.HELD for order in resting)
    for order in resting:
        if order.status is OrderStatus.HELD and working_leg:
            continue  # cancelling its sibling cancels the group
        cancel(state, ticket, order, out)
    return bool(resting)


def ask(state: State, ticket: Ticket, order: Order, out: list[AnyCommand]) -> None:
    """Ask the venue how an order stands (a leg through its parent, nested), backing off from 0.1 s to 5 s.

    One that replaces another, or is replaced, or that its group's answer left out, is asked for itself: its parent names
    only what has a place now.
    """
    moves = order.replaces is not None or bool(successors(ticket, order))
    target = order if moves or order.unlisted else ticket.orders.get(order.parent or "", order)
    longest = ASK_LONGEST_NS if state.links.get(Link.TRADE_UPDATES) else ASK_BLIND_NS
    wait = min(ASK_FIRST_NS << min(target.queries, 6), longest)
    if target.query_ns is not None and state.now_ns < target.query_ns + wait:
        state.wake_at(target.query_ns + wait, "ticket", ticket.intent_id)
        return
    target.queries += 1
    target.query_ns = state.now_ns
    out.append(QueryOrder(client_order_id=target.client_order_id, protective=ticket.owned != 0))
    state.wake_at(state.now_ns + wait, "ticket", ticket.intent_id)


def ask_for_truth(state: State, reason: str, out: list[AnyCommand], pace_ns: int = TRUTH_AGAIN_NS) -> None:
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
        if order.parent is None and (order.is_live or may_tell(ticket, order))
    ]
    asked += (name for name in (*suspects(state), *given_up(state)) if name not in asked)
    out.append(RequestTruth(client_order_ids=tuple(asked), reason=reason))
