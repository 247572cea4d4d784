"""Moving what rests: a stop that was tightened or trails, a target that was changed, followed by the venue's orders.

Owns when a resting order is replaced, and what the answers to that mean. May not choose the prices: those are the
ticket's (`stop_loss`, `take_profit`). The one idea: the order that rests protects until the venue says that another
has taken its place, so nothing is ever cancelled to be moved. Old and new stand in the ticket side by side, the new one
with `replaces`; of the two only one ever counts (`hands.core.coverage`), and whatever comes of it, late, twice or not at
all, what is asked next follows from how both stand.
"""

from __future__ import annotations

import msgspec

from hands.core.answers import Meaning, meaning_of
from hands.core.case import protective_limit
from hands.core.commands import Alert, AnyCommand, ReplaceOrder
from hands.core.coverage import fresh_mark, successors
from hands.core.dues import can_exit_now, want_exit
from hands.core.events import RequestAnswered
from hands.core.groups import note_leg_moved
from hands.core.ledger_rows import order_record
from hands.core.orders import client_order_id, is_ours
from hands.core.pursuit import ASK_FIRST_NS, ask
from hands.core.reports import absorb
from hands.core.state import State
from hands.core.ticket import Order, Ticket
from hands.core.units import NS_PER_S, Ns, Price, Qty, Usd, decimal_text
from hands.core.venue_rules import LEG_ROOM
from hands.core.vocab import ExitReason, Leg, OrderStatus

PACE_NS, SHARE_NS = 2 * NS_PER_S, NS_PER_S
"""An order that was moved is moved again after this long; all stops that trail together at most once a second, and so all
other stops, and all targets: however prices run or are amended, the venue's budget of requests (200 a minute) is left to
what protects and what is entered."""

AGAIN_FIRST_NS, AGAIN_MAX_NS = NS_PER_S, 60 * NS_PER_S
"""How long to wait before a refused move is tried again, doubling."""

LOST_MOVE_NS = 2 * NS_PER_S
"""A move that the venue, asked twice, has never heard of is given up this long after it was sent."""

MOVABLE = frozenset({OrderStatus.NEW, OrderStatus.HELD, OrderStatus.PARTIALLY_FILLED})
"""What the venue replaces. An order that waits for the session (`accepted`) it does not: it is moved at the open."""

Out = list[AnyCommand]


# --- what is wanted ----------------------------------------------------------------------------------------


def tighter(ticket: Ticket, stop: int, than: int) -> bool:
    """Whether one stop is nearer to the market than another."""
    return stop > than if ticket.is_long else stop < than


def notice_overtaken(state: State, ticket: Ticket) -> None:
    """Close the trade where the market is through a tightened stop before the venue has it."""
    if (
        ticket.stop_moved is None
        or ticket.owned <= 0
        or ticket.plan is None
        or ticket.exit_reason is not None
    ):
        return
    if ticket.basis or not can_exit_now(state, ticket) or rests_where_wanted(ticket):
        return
    mark = fresh_mark(state, ticket)
    if mark is not None and not tighter(ticket, mark, ticket.stop_loss):
        note = "the market was through the stop before it had been moved"
        want_exit(state, ticket, ExitReason.STOP_LOSS, note)


def rests_where_wanted(ticket: Ticket) -> bool:
    """Whether a live stop stands at least as near as the ticket wants it."""
    return any(
        order.leg is Leg.STOP_LOSS
        and order.is_live
        and order.order_id is not None
        and order.stop_price is not None
        and not tighter(ticket, ticket.stop_loss, order.stop_price)
        for order in ticket.exits
    )


def _wanted(state: State, ticket: Ticket, order: Order) -> tuple[Price | None, Price | None] | None:
    """Return the (limit, stop) that an order should be moved to, None where it stands right. Never a looser stop."""
    plan = ticket.plan
    assert plan is not None
    if order.leg is Leg.STOP_LOSS:
        stop = ticket.stop_loss
        if order.stop_price is None or order.filled_qty or not tighter(ticket, stop, order.stop_price):
            return None
        if order.limit_price is None:
            return None, stop
        limits = state.limits.effective(ticket.agent, ticket.symbol)
        return protective_limit(stop, limits, plan.price_increment, long=ticket.is_long), stop
    target: Price | None = ticket.take_profit
    if order.leg is not Leg.TAKE_PROFIT or target is None or order.limit_price in (None, target):
        return None
    room = target - ticket.stop_loss if ticket.is_long else ticket.stop_loss - target
    return (target, None) if room >= LEG_ROOM else None


# --- asking for it -----------------------------------------------------------------------------------------


def follow(state: State, ticket: Ticket, out: Out) -> None:
    """Ask the venue to move what rests elsewhere than it is wanted: stops first, one order at a time.

    Called with nothing on its way and all that is owned covered.
    """
    if ticket.exit_reason is not None or ticket.close_qty:
        return
    resting = [order for order in ticket.exits if order.is_live and order.leg is not Leg.EXIT]
    if any(predecessor(ticket, order) in resting for order in resting):
        return  # which of the two has the place is still to be told
    for order in sorted(resting, key=lambda each: each.leg is not Leg.STOP_LOSS):
        wanted = _wanted(state, ticket, order)
        if wanted is None or order.status not in MOVABLE or order.order_id is None:
            continue
        due_ns = _due_ns(state, ticket, order)
        if state.now_ns < due_ns:
            state.wake_at(due_ns, "ticket", ticket.intent_id)
            return
        _replace(state, ticket, order, *wanted, out)
        return


def _due_ns(state: State, ticket: Ticket, order: Order) -> int:
    """Return when an order may be moved: at once where it never was, or after what was refused and at a pace."""
    if order.replaces is None:
        return ticket.move_again_ns
    book = state.committed()
    if order.leg is Leg.STOP_LOSS and _trails(ticket):
        book = [each for each in book if _trails(each)]
    return max(ticket.move_again_ns, order.created_ns + max(PACE_NS, len(book) * SHARE_NS))


def _trails(ticket: Ticket) -> bool:
    return ticket.intent.trailing_stop_pct is not None


def _replace(
    state: State, ticket: Ticket, old: Order, limit: Price | None, stop: Price | None, out: Out
) -> None:
    """Put the successor beside the order, and ask for it. Its quantity is the venue's to carry over."""
    attempt = ticket.attempts[old.leg] = ticket.attempts.get(old.leg, 0) + 1
    new = msgspec.structs.replace(
        old,
        client_order_id=client_order_id(ticket.intent_id, old.leg, attempt),
        replaces=old.client_order_id,
        limit_price=old.limit_price if limit is None else limit,
        stop_price=old.stop_price if stop is None else stop,
        take_profit=old.take_profit if limit is None or old.take_profit is None else limit,
        status=OrderStatus.UNSENT,
        order_id=None,
        filled_qty=Qty(0),
        avg_price=None,
        value=Usd(0),
        carries=False,
        created_ns=state.now_ns,
        first_ns=old.first_ns or old.created_ns,
        sent_ns=None,
        acked_ns=None,
        updated_ns=state.now_ns,
        cancel_ns=None,
        query_ns=None,
        queries=0,
        missing=0,
        refusal=None,
        available=None,
        resends=0,
        refused_cancels=0,
        doubt_ns=Ns(0),
        unlisted=False,
        replaces_id=old.order_id,
    )
    assert old.order_id is not None
    state.forget_orders(ticket)
    ticket.orders[new.client_order_id] = new
    state.index_order(new)
    out.append(
        ReplaceOrder(
            order_id=old.order_id,
            client_order_id=old.client_order_id,
            new_client_order_id=new.client_order_id,
            limit_price=limit,
            stop_price=stop,
        )
    )
    out.append(order_record(new))
    state.touch(ticket)


# --- what becomes of it ------------------------------------------------------------------------------------


def predecessor(ticket: Ticket, order: Order) -> Order | None:
    """Return the order whose place `order` takes, while that one is still kept."""
    return ticket.orders.get(order.replaces or "")


def successor_of(ticket: Ticket, order: Order) -> Order | None:
    """Return the newest order by which we asked to replace `order`; somebody else's, in the app, has a name of its own."""
    newest_first = reversed(successors(ticket, order))
    return next((each for each in newest_first if is_ours(each.client_order_id)), None)


def chase_move(state: State, ticket: Ticket, new: Order, out: Out) -> None:
    """Follow up a move whose answer was lost: ask for the new order and for the old one. Once the venue has denied the
    new one twice, the request never arrived; it is never repeated under a second id before."""
    sent_ns = new.sent_ns or new.created_ns
    if new.missing >= 2 and state.now_ns >= sent_ns + LOST_MOVE_NS:
        _bury(state, ticket, new, "the venue has never heard of it", out)
        put_off(state, ticket)
        return
    if new.missing >= 2:
        state.wake_at(sent_ns + LOST_MOVE_NS, "ticket", ticket.intent_id)
    else:
        ask(state, ticket, new, out)
    old = predecessor(ticket, new)
    if old is not None and old.is_live:
        ask(state, ticket, old, out)


def settle_moves(state: State, ticket: Ticket, out: Out) -> None:
    """Ask for an order that its acknowledged successor should have ended: the word of it may have been lost."""
    for new in ticket.exits:
        old = predecessor(ticket, new)
        if old is None or not old.is_live or new.acked_ns is None or new.status is OrderStatus.REJECTED:
            continue
        if state.now_ns >= new.acked_ns + ASK_FIRST_NS:
            ask(state, ticket, old, out)
        else:
            state.wake_at(new.acked_ns + ASK_FIRST_NS, "ticket", ticket.intent_id)


def _bury(state: State, ticket: Ticket, new: Order, why: str, out: Out) -> None:
    new.status, new.refusal, new.updated_ns = OrderStatus.REJECTED, why, state.now_ns
    out.append(order_record(new))
    old = predecessor(ticket, new)
    if old is not None and old.status is OrderStatus.REPLACED:
        note_leg_moved(state, ticket, old)  # by somebody else then
    state.touch(ticket)


def put_off(state: State, ticket: Ticket) -> None:
    """Let the next try wait, each time twice as long."""
    ticket.move_tries += 1
    wait_ns = min(AGAIN_FIRST_NS << min(ticket.move_tries - 1, 6), AGAIN_MAX_NS)
    ticket.move_again_ns = Ns(state.now_ns + wait_ns)


def move_answered(state: State, ticket: Ticket, old: Order, event: RequestAnswered, out: Out) -> None:
    """Merge the answer to a replace: a yes names the new order and does not say that the old one is gone."""
    named = None if event.order is None else ticket.orders.get(event.order.client_order_id)
    new = named if named is not None and named.replaces == old.client_order_id else successor_of(ticket, old)
    if new is None:
        return
    meaning = meaning_of(event)
    if meaning is Meaning.TAKEN and event.order is not None:
        ticket.move_tries = 0
        absorb(state, ticket, new, event.order, out)
        return
    if new.status not in (OrderStatus.UNSENT, OrderStatus.UNKNOWN):
        return  # the stream was quicker, and knows better
    if meaning in (Meaning.NEITHER, Meaning.EXISTS, Meaning.TAKEN):
        new.status, new.query_ns = OrderStatus.UNKNOWN, None
        state.touch(ticket)
        return
    _bury(state, ticket, new, f"{event.status} {event.code or ''} {event.message}".strip(), out)
    _refused(state, ticket, old, new, meaning, out)


def _refused(state: State, ticket: Ticket, old: Order, new: Order, meaning: Meaning, out: Out) -> None:
    """Do what a refused move calls for. The old order stays in any case: a stop is never loosened to be moved."""
    if meaning is Meaning.UNCHANGED:
        old.limit_price, old.stop_price = new.limit_price, new.stop_price
        return
    put_off(state, ticket)
    through = {
        Meaning.THROUGH_STOP: (Leg.STOP_LOSS, ExitReason.STOP_LOSS, "stop"),
        Meaning.THROUGH_TARGET: (Leg.TAKE_PROFIT, ExitReason.TAKE_PROFIT, "target"),
    }.get(meaning)
    if through is not None and through[0] is old.leg:
        want_exit(
            state, ticket, through[1], f"the venue would not move the {through[2]}: the market is through it"
        )
        return
    if meaning is Meaning.OVERTAKEN:
        old.query_ns = None
        ask(state, ticket, old, out)
        return
    if ticket.move_tries == 1:
        price = old.stop_price if old.leg is Leg.STOP_LOSS else old.limit_price
        wanted = new.stop_price if old.leg is Leg.STOP_LOSS else new.limit_price
        message = (
            f"{ticket.symbol}: the {'stop' if old.leg is Leg.STOP_LOSS else 'target'} stays at "
            f"{decimal_text(price or 0)} and is not yet at {decimal_text(wanted or 0)}: {new.refusal}"
        )
        out.append(Alert(level="warning", code="MOVE_REFUSED", message=message))


def move_failed(state: State, ticket: Ticket, old: Order, *, sent: bool, reason: str, out: Out) -> None:
    """Merge the failure of a replace: unknown, unless not one byte left."""
    new = successor_of(ticket, old)
    if new is None or new.status is not OrderStatus.UNSENT:
        return
    if sent:
        new.status, new.query_ns = OrderStatus.UNKNOWN, None
        state.touch(ticket)
        return
    _bury(state, ticket, new, f"not sent: {reason}", out)
    put_off(state, ticket)
