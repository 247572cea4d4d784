"""Coverage: how much of a position stands under a live stop, and for how long some of it has not.

Owns the meaning of "protected" and the unprotected age of a ticket. May not send or decide anything. The one idea:
only an order that would act counts; one on its way does not yet, one in a group that has ended does not any more.
"""

from __future__ import annotations

from hands.core.freshness import quote_age_ns
from hands.core.sizing import is_dust, mark_price
from hands.core.state import State
from hands.core.ticket import Order, Ticket
from hands.core.units import NANO, NS_PER_S, Price, Qty
from hands.core.vocab import Leg, OrderClass, OrderStatus

ON_THE_WAY = frozenset(
    {
        OrderStatus.UNSENT,
        OrderStatus.UNKNOWN,
        OrderStatus.PENDING_NEW,
        OrderStatus.PENDING_REVIEW,
        OrderStatus.ACCEPTED_FOR_BIDDING,
        OrderStatus.PENDING_REPLACE,
        OrderStatus.SUSPENDED,
    }
)
RESTING = frozenset({OrderStatus.NEW, OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED})
RESTING_CLOSED = RESTING | {OrderStatus.DONE_FOR_DAY}
"""What acts at the open, where the market is closed: some venues say of an order that it is done for the day."""

ENDED = frozenset({OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REPLACED})
"""Ends of an order that was in force; a `rejected` successor never took the place of what it was to replace."""

RENEW_AFTER_NS = 80 * 24 * 3600 * NS_PER_S
"""A resting order is renewed after 80 days, in a session: the venue lets it expire after 90. Replacing it is no
renewal that anybody has documented, so its age is that of the first in its row."""


def protected_qty(state: State, ticket: Ticket) -> Qty:
    """Return how much of the position a live stop at the venue would sell; an OCO group counts once.

    A held leg counts only while its group is active: the entry filled completely and its target is not over, or its
    target works. While a target fills the venue shrinks the stop beside it and may not say so: the target's rest
    is what counts. Of an order and the one that is to replace it the old one counts until it is told to be over; while
    the venue is busy replacing it (`pending_replace`: whether it still acts then is not documented) neither does.
    What is done for the day counts until the market is open again.
    """
    total, acting = 0, RESTING if is_in_session(state, ticket) else RESTING_CLOSED
    for order in ticket.exits:
        if order.leg is not Leg.STOP_LOSS or not order.is_live or _waits_to_replace(ticket, order):
            continue
        if _gave_place(ticket, order):
            continue
        targets = _targets_beside(ticket, order)
        working = next((target for target in targets if target.status in acting), None)
        if order.status in acting or (
            order.status is OrderStatus.HELD and _is_active(ticket, order, targets, acting)
        ):
            total += order.remaining if working is None else min(order.remaining, working.remaining)
    return Qty(total)


def _waits_to_replace(ticket: Ticket, order: Order) -> bool:
    """Whether the order that this one is to replace still lives: then that one counts, or neither."""
    before = ticket.orders.get(order.replaces or "")
    return before is not None and before.is_live


def _gave_place(ticket: Ticket, order: Order) -> bool:
    """Whether the order that took the place of this one has ended: the word of this one's own end was lost."""
    return any(each.status in ENDED for each in successors(ticket, order))


def successors(ticket: Ticket, order: Order) -> list[Order]:
    """Return the orders that took the place of `order`, or were to take it, as we heard of them: refused ones too."""
    return [each for each in ticket.exits if each.replaces == order.client_order_id]


def _targets_beside(ticket: Ticket, stop: Order) -> list[Order]:
    """Return the targets of a stop's group: an OCO's parent, or a bracket's other leg (and those it replaced)."""
    return [
        order
        for order in ticket.exits
        if order.leg is Leg.TAKE_PROFIT
        and stop.parent is not None
        and stop.parent in (order.client_order_id, order.parent)
    ]


def _is_active(ticket: Ticket, held: Order, targets: list[Order], acting: frozenset[OrderStatus]) -> bool:
    """Whether the venue watches a held stop. Ending one leg ends the group, and the stop's end may never be told."""
    if any(target.status in acting for target in targets):
        return True
    if any(target.status is OrderStatus.DONE_FOR_DAY for target in targets):
        return False
    parent = ticket.orders.get(held.parent or "")
    entry_filled = parent is not None and parent.leg is Leg.ENTRY and parent.status is OrderStatus.FILLED
    return entry_filled and (not targets or any(target.is_live for target in targets))


def is_in_session(state: State, ticket: Ticket) -> bool:
    """Whether the market of a trade is open as far as we know; that of coins always is."""
    session = state.session
    coins = ticket.plan is not None and ticket.plan.is_crypto
    return coins or (session is not None and session.is_open_at(state.now_ns))


def is_on_the_way(ticket: Ticket, order: Order, *, in_session: bool = False) -> bool:
    """Whether it is too early to say what a live order covers: not acknowledged yet, or a pair whose stop the venue
    has not named yet (the stream tells of a pair's head alone, and may be quicker than the answer); suspended, or done
    for a day that has begun anew."""
    if order.status in ON_THE_WAY or (in_session and order.status is OrderStatus.DONE_FOR_DAY):
        return True
    is_head = order.order_class is OrderClass.OCO and order.parent is None
    return is_head and not any(other.parent == order.client_order_id for other in ticket.exits)


def is_due_for_renewal(state: State, live: list[Order]) -> bool:
    """Whether what rests is so old that the venue will soon let it expire."""
    oldest = min(
        (order.first_ns or order.created_ns for order in live if order.order_id), default=state.now_ns
    )
    return state.now_ns >= oldest + RENEW_AFTER_NS


def covers(ticket: Ticket, qty: int) -> bool:
    """Whether `qty` is all that is owned, to less than a lot."""
    lot = ticket.plan.lot if ticket.plan is not None else NANO
    return qty > ticket.owned - lot


def is_rest_of_dust(state: State, ticket: Ticket) -> bool:
    """Whether what is left cannot be sold: less than a lot, or coins below the venue's minimum.

    One absurd quote must not make a position dust: a bid below half the worst exit is taken for that half.
    """
    mark, plan = mark_price(state, ticket), ticket.plan
    if plan is None or any(order.is_live for order in ticket.exits):
        return False
    if ticket.owned < plan.lot:
        return True
    return mark is not None and is_dust(ticket, ticket.owned, max(mark, plan.worst_exit // 2))


def fresh_mark(state: State, ticket: Ticket) -> Price | None:
    """Return what the position could be closed at by a quote that is fresh, None without one."""
    index = state.market.index.get(ticket.symbol)
    quote = None if index is None else state.market.quote(index)
    if quote is None:
        return None
    if quote_age_ns(state, ticket.symbol, quote, state.now_ns) > state.limits.hard.quote_age_max_ms:
        return None
    return quote.bid if ticket.is_long else quote.ask


def watch_clock(state: State, ticket: Ticket, entry: Order) -> None:
    """Keep the unprotected age: it runs while a live stop, or an exit on its way, covers less than is owned."""
    exiting = sum(o.remaining for o in ticket.exits if o.leg is Leg.EXIT and o.is_live)
    covered = max(protected_qty(state, ticket), exiting)
    if ticket.owned <= 0 or covers(ticket, covered):
        if ticket.naked_since_ns is not None or (ticket.protected_since_ns is None and covered):
            ticket.protected_since_ns = state.now_ns if ticket.owned > 0 else None
            state.touch(ticket)
        ticket.naked_since_ns = None
        return
    if ticket.naked_since_ns is None:
        ticket.naked_since_ns, ticket.protected_since_ns = state.now_ns, None
        state.touch(ticket)
    bound = state.limits.effective(ticket.agent, ticket.symbol).unprotected_max_ms
    if state.now_ns < ticket.naked_since_ns + bound:
        state.wake_at(ticket.naked_since_ns + bound, "ticket", ticket.intent_id)
    elif entry.is_live:
        look_again(state, ticket)


def look_again(state: State, ticket: Ticket) -> None:
    """Ask to look at a ticket at the next whole second: however often it is asked, it is one timer."""
    state.wake_at((state.now_ns // NS_PER_S + 1) * NS_PER_S, "ticket", ticket.intent_id)
