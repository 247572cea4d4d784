"""Groups: which legs the venue keeps under an entry's bracket or a pair, and whether all of them are known.

Owns the doubt about a group's legs, and what settles it. May not send anything, or ask. The one idea: a leg that nobody
has named may sell, so before an exit is sent every group whose legs may be others than we know is read again; an answer
settles a doubt only where it cannot be older than it.
"""

from __future__ import annotations

from hands.core.commands import AnyCommand
from hands.core.coverage import successors
from hands.core.events import VenueOrder
from hands.core.ledger_rows import order_record
from hands.core.state import State
from hands.core.ticket import Order, Ticket
from hands.core.units import Ns
from hands.core.vocab import Leg, OrderStatus


def doubt(state: State, ticket: Ticket, head: Order) -> None:
    """Note that a group may have other legs than are known: what was asked before now may not know of them."""
    if head.leg is Leg.ENTRY:
        ticket.doubt_group(state.now_ns)
    else:
        head.doubt_ns, head.legs_read = state.now_ns, False


def doubt_all(state: State, ticket: Ticket) -> bool:
    """Doubt every group of a trade that may still have a leg; False where there is none."""
    heads = [order for order in ticket.orders.values() if order.is_group]
    for head in heads:
        if head.leg is Leg.ENTRY or head.is_live or _may_have_legs(ticket, head):
            doubt(state, ticket, head)
    return bool(heads)


def may_tell(ticket: Ticket, head: Order) -> bool:
    """Whether the venue may have to say something of a group that has ended at its head: not of one that it refused, and
    not of one that gave way. Every name is a request, and of these there can be twenty per trade."""
    was_there = head.order_id is not None or head.missing > 0
    return head.is_group and was_there and not _gave_way(ticket, head)


def _may_have_legs(ticket: Ticket, head: Order) -> bool:
    """Whether a pair that has ended at its head may have a leg that lives, as far as we know."""
    if _gave_way(ticket, head):
        return False
    legs = [order for order in ticket.exits if order.parent == head.client_order_id]
    return not legs or any(leg.is_live or _is_open_ended(ticket, leg) for leg in legs)


def _gave_way(ticket: Ticket, head: Order) -> bool:
    """Whether a pair was replaced by another that we know: then its legs are that one's."""
    return head.status is OrderStatus.REPLACED and is_replaced(ticket, head)


def _is_open_ended(ticket: Ticket, leg: Order) -> bool:
    return leg.status is OrderStatus.REPLACED and not is_replaced(ticket, leg)


def is_replaced(ticket: Ticket, order: Order) -> bool:
    """Whether we know what has taken the place of an order, or asked for it; what the venue refused has not."""
    return any(each.status is not OrderStatus.REJECTED for each in successors(ticket, order))


def note_leg_moved(state: State, ticket: Ticket, leg: Order) -> None:
    """Doubt the group of a leg that was replaced by somebody else: its successor is found by reading the group."""
    head = ticket.orders.get(leg.parent or "")
    if head is not None and not is_replaced(ticket, leg):
        doubt(state, ticket, head)


def note_read(
    state: State, ticket: Ticket, head: Order, answer: VenueOrder, asked_ns: int, out: list[AnyCommand]
) -> None:
    """Settle what an answer about a group, asked for at `asked_ns`, can: which legs it has, if it is not older than the doubt.

    Only that of a group whose head has ended tells of all that will be. A leg that it leaves out has been replaced where
    it names the successor; else it is asked for itself from now on, since nested answers name only what has a place.
    """
    told = {leg.order_id for leg in answer.legs}
    working = {leg.order_id for leg in answer.legs if leg.status is not None and not leg.status.is_terminal}
    stale = asked_ns < _doubt_ns(ticket, head)
    for leg in ticket.exits:
        if leg.parent != head.client_order_id or leg.order_id is None:
            continue
        leg.unlisted = bool(told) and leg.order_id not in told
        if leg.unlisted and leg.is_live and _successor_in(ticket, leg, told):
            leg.status, leg.updated_ns = OrderStatus.REPLACED, state.now_ns
            out.append(order_record(leg))
            state.touch(ticket)
        # one that is shown at work, and has ended as we know: the answer was read before that
        stale = stale or (leg.order_id in working and not leg.is_live)
    if stale:
        return
    head.doubt_ns = Ns(0)
    if not head.is_live:
        head.legs_read = True
        if head.leg is Leg.ENTRY:
            ticket.group_read = True


def _successor_in(ticket: Ticket, leg: Order, told: set[str]) -> bool:
    return any(each.order_id in told for each in successors(ticket, leg))


def _doubt_ns(ticket: Ticket, head: Order) -> int:
    return ticket.group_doubt_ns if head.leg is Leg.ENTRY else head.doubt_ns


def unread(ticket: Ticket) -> list[Order]:
    """Return the groups of a trade that may have a leg that we do not know.

    A pair's head is told `canceled` when its stop is elected: a leg that nobody has named is about to sell, or has sold.
    """
    named = {order.parent for order in ticket.exits}
    heads = [order for order in ticket.orders.values() if order.is_group and order.order_id is not None]
    return [head for head in heads if _is_unread(ticket, head, named=head.client_order_id in named)]


def _is_unread(ticket: Ticket, head: Order, *, named: bool) -> bool:
    if head.leg is Leg.ENTRY:
        doubted = bool(ticket.group_doubt_ns) or not named
        return not head.is_live and head.filled_qty > 0 and not ticket.group_read and doubted
    if head.doubt_ns:
        return True
    return not head.is_live and not head.legs_read and not named and not _gave_way(ticket, head)


def take_as_read(ticket: Ticket, head: Order) -> None:
    """Stop waiting for the venue's word on a group that it does not give."""
    head.legs_read, head.doubt_ns = True, Ns(0)
    if head.leg is Leg.ENTRY:
        ticket.group_read = True
