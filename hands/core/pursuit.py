"""Pursuit of the venue's word: cancelling, asking, and ending an entry that has had its time.

Owns when a cancel or a question is sent again. May not conclude anything from silence: only a report or an answer
that the order is over counts. The one idea: asking is cheap and idempotent, so it backs off but never stops.
"""

from __future__ import annotations

from hands.core.commands import AnyCommand, CancelOrder, QueryOrder
from hands.core.events import Link
from hands.core.ledger_rows import order_record
from hands.core.state import State
from hands.core.ticket import Order, Ticket
from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.core.vocab import OrderStatus, TradingState

CANCEL_AGAIN_NS = NS_PER_S
ASK_FIRST_NS = 100 * NS_PER_MS
ASK_LONGEST_NS = 5 * NS_PER_S
ASK_BLIND_NS = NS_PER_S
"""The same while the trade stream is down: an entry that fills unheard is naked until it is asked for."""

LOST_AFTER_NS = 2 * NS_PER_S
"""An entry that the venue denies knowing is given up this long after its deadline, and never sent again."""


def end_entry(state: State, ticket: Ticket, entry: Order, out: list[AnyCommand]) -> None:
    """Cancel what the entry has not filled: at its deadline, after the partial grace, or when entries are over."""
    if not entry.is_live:
        return
    now, ends = state.now_ns, ticket.deadline_ns
    if entry.order_id is not None and not state.links.get(Link.TRADE_UPDATES):
        ask(state, ticket, entry, out)  # nobody will tell of a fill
    if ticket.first_fill_ns is not None:
        grace = state.limits.effective(ticket.agent, ticket.symbol).partial_grace_ms
        ends = Ns(min(ends, ticket.first_fill_ns + grace))
    over = state.trading_state is not TradingState.ACTIVE or state.stopping or ticket.exit_reason is not None
    if now < ends and not over:
        state.wake_at(ends, "ticket", ticket.intent_id)
        return
    if (
        entry.status is OrderStatus.UNKNOWN
        and entry.missing >= 2
        and now >= ticket.deadline_ns + LOST_AFTER_NS
    ):
        entry.status = OrderStatus.REJECTED
        entry.refusal = "the venue has never heard of it"
        out.append(order_record(entry))
        state.touch(ticket)
        return
    cancel(state, ticket, entry, out)


def cancel(state: State, ticket: Ticket, order: Order, out: list[AnyCommand]) -> None:
    """Ask for an order's cancellation and keep asking; only the venue's word that it is over counts."""
    now = state.now_ns
    if order.order_id is None:
        if order.sent_ns is not None or order.status is OrderStatus.UNKNOWN:
            ask(state, ticket, order, out)
        else:
            state.wake_at(now + ASK_FIRST_NS, "ticket", ticket.intent_id)  # not even sent: it will be dropped
        return
    if order.cancel_ns is None or now - order.cancel_ns >= CANCEL_AGAIN_NS:
        if order.cancel_ns is not None:
            ask(state, ticket, order, out)
        order.cancel_ns = Ns(now)
        out.append(CancelOrder(order_id=order.order_id, client_order_id=order.client_order_id))
        state.touch(ticket, receipt=False)
    elif now - order.cancel_ns >= ASK_FIRST_NS:
        ask(state, ticket, order, out)
    for due_ns in (order.cancel_ns + ASK_FIRST_NS, order.cancel_ns + CANCEL_AGAIN_NS):
        if due_ns > now:  # a timer in the past would run again within the same event, for ever
            state.wake_at(due_ns, "ticket", ticket.intent_id)


def ask(state: State, ticket: Ticket, order: Order, out: list[AnyCommand]) -> None:
    """Ask the venue how an order stands (a leg through its parent, nested), backing off from 0.1 s to 5 s."""
    target = ticket.orders.get(order.parent or "", order)
    longest = ASK_LONGEST_NS if state.links.get(Link.TRADE_UPDATES) else ASK_BLIND_NS
    wait = min(ASK_FIRST_NS << min(target.queries, 6), longest)
    if target.query_ns is not None and state.now_ns < target.query_ns + wait:
        state.wake_at(target.query_ns + wait, "ticket", ticket.intent_id)
        return
    target.queries += 1
    target.query_ns = state.now_ns
    out.append(QueryOrder(client_order_id=target.client_order_id, protective=ticket.owned != 0))
    state.wake_at(state.now_ns + wait, "ticket", ticket.intent_id)
