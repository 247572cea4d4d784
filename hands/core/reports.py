"""What the venue says becomes what we know: reports, answers and silence about orders.

Owns every change to an `Order` that follows from the venue. May not decide what to do about it: that is
`hands.core.protection`, which is asked to look again after each of these. The one idea: every word is merged
through the order table and the largest cumulative quantity, so the same word twice, late or out of order is
harmless, and a word that no known behaviour explains freezes the symbol instead of raising.
"""

from __future__ import annotations

from hands.core.answers import Meaning, meaning_of
from hands.core.basis import note_end
from hands.core.breakers import OPERATOR, book_result, set_reason, venue_answered
from hands.core.commands import AnyCommand
from hands.core.events import Execution, RequestAnswered, VenueOrder
from hands.core.executions import note_fills, price_fills, record_execution
from hands.core.groups import note_leg_moved
from hands.core.ledger_rows import order_record
from hands.core.order_table import UnknownArcError, next_status
from hands.core.state import State
from hands.core.ticket import Order, Ticket
from hands.core.units import (
    NANO,
    NS_PER_MS,
    Ns,
    NumberError,
    Qty,
    nano_truncated,
)
from hands.core.venue_rules import received_qty
from hands.core.vocab import ExitReason, Leg, OrderStatus, OrderType, TradeState, TradingState

_ALREADY_THROUGH = {
    Meaning.THROUGH_STOP: (ExitReason.STOP_LOSS, "stop"),
    Meaning.THROUGH_TARGET: (ExitReason.TAKE_PROFIT, "target"),
}
"""What a position is due whose protective order the venue refused because it would trade at once."""

FEE_SLACK = 100
"""The largest part of a coin position (1/100) that a refusal may explain as fees."""

DENIALS_BELIEVED = 3
TRIES_BEFORE_PATIENCE = 15
"""Refusals in a row (about half a minute of them) after which exits are tried ever less often."""

LIMIT_TYPES = (OrderType.LIMIT, OrderType.MARKET)

_TOOK_OVER = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED})
"""What an order that replaces another can only be once it has."""


def freeze(state: State, ticket: Ticket, why: str, out: list[AnyCommand]) -> None:
    """Stop trusting what we know of a symbol: no entries anywhere until the operator has looked."""
    ticket.frozen = why
    state.touch(ticket)
    detail = f"{ticket.symbol}, intent {ticket.intent_id}: {why}"
    set_reason(state, out, "UNKNOWN_VENUE_BEHAVIOUR", TradingState.REDUCE_ONLY, OPERATOR, detail)


def absorb(
    state: State,
    ticket: Ticket,
    order: Order,
    report: VenueOrder,
    out: list[AnyCommand],
    *,
    execution: Execution | None = None,
    position_qty: Qty | None = None,
) -> None:
    """Merge one description of one order, from the stream, an answer or a snapshot."""
    try:
        status = next_status(order.status, report.status, report.status_text)
    except UnknownArcError as error:
        freeze(state, ticket, f"{order.leg} order: {error}", out)
        # what it became is unknown, what it filled is not: the quantities below are facts whatever the word
        status = OrderStatus.UNKNOWN if order.status is OrderStatus.UNSENT else None
    _take_place(ticket, order, report)
    if report.filled_qty > order.qty:
        why = f"{report.filled_qty / NANO:g} filled of an order for {order.qty / NANO:g}"
        freeze(state, ticket, f"{order.leg} order: {why}", out)
        return
    if order.order_id != report.order_id:
        order.order_id = report.order_id
        state.index_order(order)
    order.missing = 0
    if order.acked_ns is None:
        order.acked_ns = state.now_ns
        if order.leg is Leg.ENTRY:
            ticket.stamps.acked = state.now_ns
    _merge_fills(state, ticket, order, report, execution, position_qty, out)
    if status is not None:
        changed, order.status = status is not order.status, status
        if changed:
            order.queries = 0
            note_end(state, ticket, order)
            venue_answered(state, order, out)
            if status is OrderStatus.REPLACED and order.parent is not None:
                note_leg_moved(state, ticket, order)
    if order.refused_as:  # the first of its sends arrived after all
        order.refused_as, order.refusal, order.available = "", None, None
    shrinks = order.parent is not None or order.replaces is not None
    if report.qty and shrinks and report.qty != order.qty and report.qty >= order.filled_qty:
        order.qty = report.qty  # the venue shrinks a stop leg while its target fills
    order.updated_ns = state.now_ns
    for leg in report.legs:
        _adopt_leg(state, ticket, order, leg, out)
    out.append(order_record(order))
    state.touch(ticket)


def _take_place(ticket: Ticket, order: Order, report: VenueOrder) -> None:
    """Settle what an order took over from the one that it replaces: its fills and its legs.

    The venue either counts on from the old order's fills (then its quantity is the whole one) or begins anew with the
    rest; which, is not documented, so the first report tells.
    """
    before = ticket.orders.get(order.replaces or "")
    if before is None:
        return
    if order.acked_ns is None and report.qty:
        order.carries = report.qty >= before.qty
        order.qty = report.qty
    if before.status is OrderStatus.REPLACED or order.status in _TOOK_OVER:
        for leg in ticket.orders.values():
            if leg.parent == before.client_order_id:
                leg.parent = order.client_order_id


def _merge_fills(
    state: State,
    ticket: Ticket,
    order: Order,
    report: VenueOrder,
    execution: Execution | None,
    position_qty: Qty | None,
    out: list[AnyCommand],
) -> None:
    """Take over what a report says was filled, and what follows for the trade's quantities and its booked result."""
    booked = ticket.realised_usd() if ticket.state is TradeState.CLOSED else None
    grew = report.filled_qty > order.filled_qty
    if grew:
        if order.part:
            ticket.close_qty = Qty(max(0, ticket.close_qty - (report.filled_qty - order.filled_qty)))
        order.filled_qty = report.filled_qty
        ticket.last_fill_ns = state.now_ns
        _after_fill(state, ticket, order)
    record_execution(ticket, order, execution, out)
    if grew or execution is not None:
        # an average that came late is one of fewer fills
        price_fills(ticket, order, report.avg_price if report.filled_qty == order.filled_qty else None)
        note_fills(state, ticket)
    if order.leg is Leg.ENTRY and grew:
        _count_received(ticket, order, position_qty)
    if order.leg is not Leg.ENTRY and ticket.owned < 0 and ticket.written_off > 0:
        # what was taken for sold elsewhere is what this exit sold: the snapshot was ahead of its report
        ticket.written_off = Qty(ticket.written_off - min(ticket.written_off, -ticket.owned))
    if booked is not None:  # what was booked at its end stays what the trade made
        book_result(state, ticket, ticket.realised_usd() - booked)


def _after_fill(state: State, ticket: Ticket, order: Order) -> None:
    if order.leg is not Leg.ENTRY:
        return
    if ticket.first_fill_ns is None:
        ticket.first_fill_ns = ticket.opened_ns = state.now_ns
        ticket.stamps.filled = state.now_ns


def _count_received(ticket: Ticket, order: Order, position_qty: Qty | None) -> None:
    """Keep what the entry brought in, after a fee taken in coins; the venue's own position is the better witness,
    while it is news (a report told again is as old as its fill) and nothing has gone out yet."""
    plan = ticket.plan
    if plan is None or not order.filled_qty:
        return
    if not plan.is_crypto:
        ticket.received_qty = order.filled_qty
        return
    estimate = received_qty(plan.asset_class, order.filled_qty, plan.lot)
    if position_qty is not None and position_qty > 0 and not ticket.exit_filled and not ticket.written_off:
        ticket.received_qty = Qty(min(order.filled_qty, position_qty))
    elif ticket.received_qty < estimate:
        ticket.received_qty = estimate


def _adopt_leg(state: State, ticket: Ticket, parent: Order, leg: VenueOrder, out: list[AnyCommand]) -> None:
    """Learn of a leg from its parent (the venue names legs itself), or merge what is said of a known one."""
    found = state.find_order(leg.client_order_id, leg.order_id)
    if found is not None and found[0] is ticket:
        if found[1] is not parent:
            absorb(state, ticket, found[1], leg, out)
        return
    is_stop = leg.order_type not in LIMIT_TYPES
    before = state.find_order("", leg.replaces) if leg.replaces is not None else None
    after = next((each for each in ticket.exits if leg.order_id and each.replaces_id == leg.order_id), None)
    order = Order(
        client_order_id=leg.client_order_id,
        intent_id=ticket.intent_id,
        leg=Leg.STOP_LOSS if is_stop else Leg.TAKE_PROFIT,
        symbol=ticket.symbol,
        side=leg.side,
        order_type=leg.order_type,
        order_class=leg.order_class,
        time_in_force=parent.time_in_force,
        qty=leg.qty,
        limit_price=leg.limit_price,
        stop_price=leg.stop_price,
        order_id=leg.order_id,
        parent=parent.client_order_id,
        created_ns=state.now_ns,
        first_ns=parent.first_ns or parent.created_ns,
        sent_ns=parent.sent_ns,
        replaces=before[1].client_order_id if before is not None and before[0] is ticket else None,
        replaces_id=leg.replaces,
    )
    if after is not None:  # its successor was named first: what is told of it now is older than its end
        order.status = OrderStatus.REPLACED
        after.replaces, after.carries = order.client_order_id, after.qty >= order.qty
    ticket.orders[order.client_order_id] = order
    state.index_order(order)
    absorb(state, ticket, order, leg, out)


# --- answers to our own requests ---------------------------------------------------------------------------


def submit_answered(
    state: State, ticket: Ticket, order: Order, event: RequestAnswered, out: list[AnyCommand]
) -> None:
    """Merge the answer to a submit. A refusal is proof that the venue has no such order; a 5xx proves nothing, and the
    refusal of a repeat proves nothing of the first send, which may still arrive."""
    meaning = meaning_of(event)
    if event.order is not None and meaning is Meaning.TAKEN:
        absorb(state, ticket, order, event.order, out)
        return
    undecided = order.status in (OrderStatus.UNSENT, OrderStatus.UNKNOWN)
    if meaning in (Meaning.NEITHER, Meaning.EXISTS, Meaning.TAKEN):
        if undecided:
            order.status = OrderStatus.UNKNOWN
            order.query_ns = None
            # an exit may be sent again under its own id without asking: if it is there, the venue refuses the second
            order.missing = int(event.status >= 500 and order.leg is not Leg.ENTRY)
    elif undecided:
        order.refusal = f"{event.status} {event.code or ''} {event.message}".strip()
        order.available = _amount(event.extras.get("available"))
        if order.resends and meaning is Meaning.PAUSE:
            order.status, order.missing, order.refusal = (
                OrderStatus.UNKNOWN,
                1,
                None,
            )  # sent once more, as it is
        elif order.resends:
            order.status, order.refused_as, order.query_ns = OrderStatus.UNKNOWN, meaning, None
        else:
            order.status = OrderStatus.REJECTED
            if order.leg is not Leg.ENTRY:
                _exit_refused(state, ticket, order, meaning)
        if meaning is not Meaning.PAUSE:  # that says nothing of the order
            venue_answered(state, order, out)
    order.updated_ns = state.now_ns
    out.append(order_record(order))
    state.touch(ticket)


def believe_refusal(state: State, ticket: Ticket, order: Order, out: list[AnyCommand]) -> None:
    """Take the refusal of a repeated send for the fate of the order: the first has had its time to arrive."""
    meaning, order.refused_as = Meaning(order.refused_as), ""
    order.status, order.updated_ns = OrderStatus.REJECTED, state.now_ns
    _exit_refused(state, ticket, order, meaning)
    out.append(order_record(order))
    state.touch(ticket)


def _amount(text: str | None) -> Qty | None:
    try:
        return None if text is None else Qty(nano_truncated(text))
    except NumberError:
        return None


def _refusals_in_a_row(state: State, ticket: Ticket) -> int:
    """Return how many of the last exits the venue has refused, the latest included.

    What was accepted in between ends the row, and so does the open: refusals of a closed market say nothing of an
    open one.
    """
    session = state.session
    coins = ticket.plan is not None and ticket.plan.is_crypto
    since = (session.open_ns or 0) if session is not None and session.is_open and not coins else 0
    count = 0
    for order in reversed(ticket.exits):
        if order.parent is not None or order.replaces is not None:
            continue
        if not order.refusal or order.created_ns < since:
            break
        count += 1
    return count


def _refused_wait_ms(state: State, ticket: Ticket, tries: int) -> int:
    """Return how long to wait after a refused exit: 0.1 s to 2 s at first, up to a minute when it goes on and on.

    Equities outside the session wait up to five minutes: nothing can be sold then; the open ends the wait at once.
    """
    wait = min(100 << min(tries, 5), 2_000)
    if tries > TRIES_BEFORE_PATIENCE:
        wait = min(wait << min(tries - TRIES_BEFORE_PATIENCE, 5), 60_000)
    closed = state.session is not None and not state.session.is_open
    if closed and ticket.plan is not None and not ticket.plan.is_crypto:
        wait = min(100 << min(tries, 12), 300_000)
    return wait


def _exit_refused(state: State, ticket: Ticket, order: Order, meaning: Meaning) -> None:
    """Decide from a refused exit whether the market is already through the stop; otherwise try again shortly.

    Coins that the venue has slightly less of than we counted went to its fees: fills round them one by one.
    """
    short = 0 if order.available is None else ticket.owned - order.available
    if ticket.fee_rate and 0 < short <= ticket.owned // FEE_SLACK:
        ticket.received_qty = Qty(ticket.received_qty - short)
        ticket.retry_exit_ns = state.now_ns
        return
    tries = _refusals_in_a_row(state, ticket)
    ticket.retry_exit_ns = Ns(state.now_ns + _refused_wait_ms(state, ticket, tries) * NS_PER_MS)
    if ticket.exit_reason is not None:
        return
    through = _ALREADY_THROUGH.get(meaning)
    if through is not None:
        ticket.exit_reason, ticket.exit_since_ns = through[0], state.now_ns
        ticket.exit_note = f"the venue refused it because the market is already through the {through[1]}"
        ticket.retry_exit_ns = state.now_ns


def submit_failed(
    state: State, ticket: Ticket, order: Order, *, sent: bool, reason: str, out: list[AnyCommand]
) -> None:
    """Merge the failure of a submit: *unknown* unless not one byte left."""
    if order.status is not OrderStatus.UNSENT:
        return
    if sent or order.resends:  # that a repeat was not sent says nothing of the first
        order.status = OrderStatus.UNKNOWN
        order.query_ns = None
    else:
        order.status = OrderStatus.REJECTED
        order.refusal = f"not sent: {reason}"
    order.updated_ns = state.now_ns
    out.append(order_record(order))
    state.touch(ticket)


def deny(state: State, ticket: Ticket, order: Order, out: list[AnyCommand]) -> None:
    """Note that the venue denies knowing an order. One that it had acknowledged, denied three times, is gone.

    Then its legs are gone too, what they were believed to protect is bare, and the operator has to look.
    """
    order.missing += 1
    state.touch(ticket, receipt=False)
    family = [o for o in ticket.orders.values() if o is order or o.parent == order.client_order_id]
    forgotten = [member for member in family if member.is_live]
    if order.order_id is None or order.missing < DENIALS_BELIEVED or not forgotten:
        return
    for member in forgotten:
        member.status, member.refusal = OrderStatus.CANCELED, "the venue does not know it any more"
        member.legs_read, member.doubt_ns = True, Ns(0)
        member.updated_ns = state.now_ns
        out.append(order_record(member))
    freeze(state, ticket, f"the venue has forgotten the {order.leg} order {order.client_order_id}", out)
