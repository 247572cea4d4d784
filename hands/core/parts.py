"""Closing a part: what was asked for is sold, and the rest stands under a stop again.

Owns the steps of a wish for a part (`Ticket.close_qty`). May not count what was sold: that is merged from the venue's
reports (`hands.core.reports`), exactly once per fill, because the order says that it is for a part. The one idea: it is
an exit like any other, on the same path, that gives way to protection: two tries in a row, then the stop rests again
before the next, and a wish that cannot be had within its time is given up.
"""

from __future__ import annotations

from hands.core.commands import Alert, AnyCommand
from hands.core.coverage import covers
from hands.core.dues import can_exit_now, want_exit
from hands.core.pursuit import ask, cancel, cancel_resting
from hands.core.state import State
from hands.core.ticket import Ticket
from hands.core.units import NS_PER_S, Qty, decimal_text
from hands.core.vocab import ExitReason, Leg

PATIENCE_NS = 60 * NS_PER_S
"""How long a part is tried for, from the moment at which it could first be sold."""

WORKS_NS = NS_PER_S
"""How long one order for a part may work: meanwhile the rest has no stop."""

PAUSE_NS, PAUSE_MAX_NS = 5 * NS_PER_S, 60 * NS_PER_S
"""How long protection rests between two pairs of tries; before the next wish so long for every trade that is open, since
an agent may wish without end: what all parts together ask of the venue stays the same, and the stop rests most of the time."""


def notice_part(state: State, ticket: Ticket) -> None:
    """Close the whole trade where the part is all there is."""
    if ticket.close_qty > 0 and ticket.owned > 0 and covers(ticket, ticket.close_qty):
        ticket.close_qty, ticket.part_since_ns, ticket.part_tries = Qty(0), None, 0
        want_exit(state, ticket, ExitReason.MANUAL, "it was asked for")
    elif ticket.close_qty <= 0 and ticket.part_since_ns is not None:
        ticket.part_since_ns, ticket.part_tries = None, 0
        state.touch(ticket)


def is_part_due(state: State, ticket: Ticket) -> bool:
    """Whether a part should be sold now; while an order for it lives, it is."""
    if any(order.leg is Leg.EXIT and order.is_live for order in ticket.exits):
        return True
    if ticket.close_qty <= 0 or not can_exit_now(state, ticket):
        return False
    due_ns = _due_ns(state, ticket)
    if state.now_ns < due_ns:
        state.wake_at(due_ns, "ticket", ticket.intent_id)
        return False
    return True


def _due_ns(state: State, ticket: Ticket) -> int:
    """Return when the next order for a part may go: a second try at once, a next pair or a next wish after a pause."""
    last_ns = max((order.created_ns for order in ticket.exits if order.part), default=None)
    if last_ns is None or ticket.part_tries % 2:
        return 0
    if ticket.part_tries:
        return last_ns + PAUSE_NS
    return last_ns + min(PAUSE_NS * len(state.committed()), PAUSE_MAX_NS)


def clear_for_part(state: State, ticket: Ticket, out: list[AnyCommand]) -> bool:
    """Do what comes before an order for the part; True when it can be sent now."""
    working = [order for order in ticket.exits if order.leg is Leg.EXIT and order.is_live]
    for order in working:
        over_ns = order.created_ns + WORKS_NS
        if state.now_ns >= over_ns:
            cancel(state, ticket, order, out)
        else:
            state.wake_at(over_ns, "ticket", ticket.intent_id)
            if order.order_id is not None:
                ask(state, ticket, order, out)
    if working or ticket.close_qty <= 0:
        return False
    if ticket.part_since_ns is None:
        ticket.part_since_ns = state.now_ns
        state.touch(ticket)
    if cancel_resting(state, ticket, out):
        return False
    if state.now_ns < ticket.retry_exit_ns:
        state.wake_at(ticket.retry_exit_ns, "ticket", ticket.intent_id)
        return False
    return True


def give_up_part(state: State, ticket: Ticket, out: list[AnyCommand]) -> None:
    """Give up a part that could not be sold in its time; what protects is placed as ever."""
    since = ticket.part_since_ns
    if ticket.close_qty <= 0 or since is None or state.now_ns < since + PATIENCE_NS:
        return
    if any(order.leg is Leg.EXIT and order.is_live for order in ticket.exits):
        return
    message = f"{ticket.symbol}: {decimal_text(ticket.close_qty)} could not be sold in time and stays in the position"
    out.append(Alert(level="warning", code="PART_GIVEN_UP", message=message))
    ticket.close_qty, ticket.part_since_ns, ticket.part_tries = Qty(0), None, 0
    state.touch(ticket)
