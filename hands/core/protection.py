"""Never naked: what a trade needs next, decided from how things stand.

Owns `supervise`, which is asked again after every event that concerns a trade and every timer it set. The orders
themselves are made in `hands.core.exits`. The one idea: it is level-triggered. It never remembers what it was about
to do; it looks at what is owned, what rests, what is unknown and what is wanted, and does the next thing, so a
crash, a lost reply or a report delivered twice leads to the same place. Ends of trades are in `hands.core.closing`.
"""

from __future__ import annotations

from hands.core.basis import is_unsure, let_go, stands_still
from hands.core.breakers import OPERATOR, set_reason
from hands.core.closing import wind_up
from hands.core.commands import Alert, AnyCommand, SubmitExit
from hands.core.coverage import (
    RESTING,
    covers,
    fresh_mark,
    is_due_for_renewal,
    is_in_session,
    is_on_the_way,
    is_rest_of_dust,
    look_again,
    protected_qty,
    watch_clock,
)
from hands.core.dues import can_exit_now, notice_dues, stands_in_halt, tell_of_halt, want_exit
from hands.core.exits import again, exit_order, protective_order
from hands.core.groups import take_as_read, unread
from hands.core.ledger_rows import order_record
from hands.core.moving import chase_move, follow, notice_overtaken, settle_moves
from hands.core.orders import ReducingOrder, parse_client_order_id
from hands.core.parts import clear_for_part, give_up_part, is_part_due, notice_part
from hands.core.pursuit import ASK_FIRST_NS, ask, cancel, cancel_resting, end_entry
from hands.core.reports import believe_refusal
from hands.core.state import State
from hands.core.ticket import Order, Ticket
from hands.core.trailing import trail
from hands.core.units import NS_PER_MS, NS_PER_S, Ns, Qty, decimal_text
from hands.core.vocab import (
    ExitReason,
    Leg,
    OrderStatus,
    TradeState,
    TradingState,
)
from hands.core.watch import disarm, watch_position

TRIES_AT_ONCE, TRIES_WITHIN_NS = 8, 10 * NS_PER_S
RESEND_REFUSED_NS = NS_PER_S // 2
RESEND_ASKED_NS = NS_PER_S
"""The longest pause before a lost exit is sent again: after a 5xx, and after a question (two requests each time)."""

ON_ITS_WAY_NS = NS_PER_S // 2
"""How long the venue has at least to put an exit in force, however long the position has been naked by then."""

ASKED_AT_LEAST = 3
"""So many questions about a group stay unanswered (0.7 s) before its word is not waited for any longer."""

FIRST_SEND_PARTS = 3, 4
"""For how much of the bound the first send of an exit may still arrive, after a repeat of it was refused."""

__all__ = ["TRIES_AT_ONCE", "protected_qty", "supervise", "want_exit"]


def supervise(state: State, ticket: Ticket, out: list[AnyCommand]) -> None:
    """Do the next thing for one trade; harmless to call at any time. Before the venue has spoken there is none."""
    entry = ticket.entry
    if not state.reconciled or state.dry_run or not ticket.is_live or ticket.plan is None or entry is None:
        return
    let_go(state, ticket)
    if ticket.basis:
        look_again(state, ticket)  # until the operator has said what is to become of it
    notice_dues(state, ticket)
    notice_part(state, ticket)
    trail(state, ticket)
    tell_of_halt(state, ticket, out)
    notice_overtaken(state, ticket)
    end_entry(state, ticket, entry, out)
    for order in list(ticket.orders.values()):
        if order.status is OrderStatus.UNKNOWN and order.replaces is not None and order.acked_ns is None:
            chase_move(state, ticket, order, out)
        elif order.status is OrderStatus.UNKNOWN:
            _chase(state, ticket, order, out)
    settle_moves(state, ticket, out)
    if not entry.is_live:
        if ticket.owned <= 0 or is_rest_of_dust(state, ticket):
            if not _awaits_word(state, ticket, unread(ticket), out) and _settle(state, ticket, out):
                return
        elif any(order.status is OrderStatus.UNKNOWN for order in ticket.exits):
            pass  # an exit that may exist already: never a second one beside it
        elif stands_still(ticket) or is_unsure(state, ticket, out):
            pass  # prices mean nothing here any more, or the venue has yet to say whether they do
        elif ticket.exit_reason is not None and can_exit_now(state, ticket):
            _exit(state, ticket, out)
        else:
            give_up_part(state, ticket, out)
            if is_part_due(state, ticket):
                _sell_part(state, ticket, out)
            else:
                _protect(state, ticket, entry, out)
    watch_clock(state, ticket, entry)
    watch_position(state, ticket)
    _name_state(state, ticket, entry)


def _chase(state: State, ticket: Ticket, order: Order, out: list[AnyCommand]) -> None:
    """Follow up an order whose fate is unknown. An exit the venue denies knowing is sent again *under its own id*,
    which the venue accepts at most once; an entry never is."""
    if order.refused_as:
        part, whole = FIRST_SEND_PARTS
        until = order.created_ns + _bound_ns(state, ticket) * part // whole
        if state.now_ns >= until:
            believe_refusal(state, ticket, order, out)
            return
        state.wake_at(until, "ticket", ticket.intent_id)
    elif order.missing and order.leg is not Leg.ENTRY and _may_be_resent(order):
        if order.qty > abs(ticket.owned):
            _give_up(state, ticket, order, out)  # what it was to sell has gone elsewhere
            return
        longest = RESEND_REFUSED_NS if order.query_ns is None else RESEND_ASKED_NS
        again_ns = order.updated_ns + min(ASK_FIRST_NS << min(order.resends, 5), longest)
        if state.now_ns < again_ns:  # a venue that is out of order is not helped by a storm
            state.wake_at(again_ns, "ticket", ticket.intent_id)
            return
        order.missing = 0
        order.resends += 1
        order.status = OrderStatus.UNSENT
        order.sent_ns = None
        out.append(SubmitExit(order=again(ticket, order)))
        state.touch(ticket)
        return
    ask(state, ticket, order, out)


def _may_be_resent(order: Order) -> bool:
    """Whether an exit is one that we named ourselves: no leg, nor what somebody put in its place in the broker's app."""
    return order.parent is None and parse_client_order_id(order.client_order_id) is not None


def _give_up(state: State, ticket: Ticket, order: Order, out: list[AnyCommand]) -> None:
    """Bury an exit that the venue denies knowing, twice, and that would sell more than is owned by now."""
    if order.missing < 2:
        ask(state, ticket, order, out)
        return
    order.status, order.refusal = OrderStatus.REJECTED, "the venue has never heard of it"
    out.append(order_record(order))
    state.touch(ticket)


def _bound_ns(state: State, ticket: Ticket) -> int:
    return state.limits.effective(ticket.agent, ticket.symbol).unprotected_max_ms


def _is_overdue(state: State, ticket: Ticket) -> bool:
    since = ticket.naked_since_ns
    return since is not None and state.now_ns - since >= _bound_ns(state, ticket)


def _awaits_word(state: State, ticket: Ticket, heads: list[Order], out: list[AnyCommand]) -> bool:
    """Ask for groups that may have a leg that nobody has named; True while nothing may be sent beside it.

    Where what is owned has been bare for as long as it may be, the word is not waited for any longer: the venue reserves
    what rests, and no exit of ours can open a position.
    """
    waits = False
    for head in heads:
        if ticket.owned > 0 and head.queries >= ASKED_AT_LEAST and _is_overdue(state, ticket):
            take_as_read(ticket, head)
            state.touch(ticket)
            message = f"{ticket.symbol}: the venue does not say what became of {head.client_order_id}; going on without"
            out.append(Alert(level="critical", code="GROUP_UNREAD", message=message))
            continue
        ask(state, ticket, head, out)
        waits = True
    return waits


# --- protection --------------------------------------------------------------------------------------------


def _protect(state: State, ticket: Ticket, entry: Order, out: list[AnyCommand]) -> None:
    """Make sure a stop rests at the venue for all that is owned."""
    live = [order for order in ticket.exits if order.is_live]
    covered = protected_qty(state, ticket)
    unknown = unread(ticket)
    if entry.is_group and not ticket.group_read and entry.order_id is not None:
        if entry.status is not OrderStatus.FILLED or not covers(ticket, covered):
            unknown = [entry, *(head for head in unknown if head is not entry)]
        else:
            ticket.group_read = True
    if not covers(ticket, covered) and _awaits_word(state, ticket, unknown, out):
        return  # what became of the legs is the venue's to say
    if live:
        _mind_resting(state, ticket, live, covered, out)
        return
    if _lost_protection(state, ticket, out) and can_exit_now(state, ticket):
        _exit(state, ticket, out)
        return
    wait_until = max(ticket.retry_exit_ns, _calm_after(state, ticket))
    if state.now_ns < wait_until:
        state.wake_at(wait_until, "ticket", ticket.intent_id)
        return
    _submit(state, ticket, protective_order(state, ticket), out)


def _mind_resting(
    state: State, ticket: Ticket, live: list[Order], covered: int, out: list[AnyCommand]
) -> None:
    """What rests must sell what is owned, no less and no more; else it makes room for what does."""
    in_session = is_in_session(state, ticket)
    on_the_way = [order for order in live if is_on_the_way(ticket, order, in_session=in_session)]
    overdue = _is_overdue(state, ticket)
    fresh_ns = (
        state.now_ns - ON_ITS_WAY_NS
    )  # one sent late is not older than it is because nothing protected before
    waits = [o for o in on_the_way if not overdue or o.order_id is None or o.created_ns > fresh_ns]
    if (
        not on_the_way
        and _is_all_there_is(ticket, covered)
        and not (overdue and not ticket.in_doubt(state.now_ns))
    ):
        look_again(state, ticket)  # the next snapshots tell whether the rest was sold elsewhere
        return
    fits = covers(ticket, covered) and covered <= ticket.owned
    if fits and not on_the_way and is_due_for_renewal(state, live) and can_exit_now(state, ticket):
        fits = False
    if not waits and not fits:
        if stands_in_halt(state, ticket):
            for order in on_the_way:
                ask(state, ticket, order, out)
            return
        for order in live:
            cancel(state, ticket, order, out)
            if order.status is OrderStatus.HELD:
                ask(state, ticket, order, out)  # its group may have ended without a word
        return
    if not on_the_way:
        follow(state, ticket, out)
    for order in waits:
        if order.order_id is not None and state.now_ns >= order.created_ns + ASK_FIRST_NS:
            ask(state, ticket, order, out)
        else:
            state.wake_at(max(order.created_ns, state.now_ns) + ASK_FIRST_NS, "ticket", ticket.intent_id)


def _is_all_there_is(ticket: Ticket, covered: int) -> bool:
    """Whether a stop covers less than is owned because the venue, refusing more, said that no more is there."""
    last = next((order for order in reversed(ticket.exits) if order.refusal and order.parent is None), None)
    return last is not None and 0 < covered < ticket.owned and last.available == covered


def _calm_after(state: State, ticket: Ticket) -> int:
    """Return when protection may be placed once more: after a few tries lately only once a second, whatever the cause."""
    tries = [order.created_ns for order in ticket.exits if order.parent is None and order.replaces is None]
    lately = sum(created_ns > state.now_ns - TRIES_WITHIN_NS for created_ns in tries)
    return max(tries) + NS_PER_S if lately >= TRIES_AT_ONCE else 0


def _lost_protection(state: State, ticket: Ticket, out: list[AnyCommand]) -> bool:
    """Whether a stop cannot help any more: the market is through it, or the venue refused it for too long."""
    plan = ticket.plan
    if plan is None:
        return False
    mark = fresh_mark(state, ticket)
    if mark is not None and (mark <= ticket.stop_loss if ticket.is_long else mark >= ticket.stop_loss):
        want_exit(state, ticket, ExitReason.STOP_LOSS, "the market is already through the stop")
        return True
    bound = _bound_ns(state, ticket)
    if ticket.in_doubt(state.now_ns):
        bound *= 2  # the owner may have sold: the next snapshot tells, and explains the refusals
    since = ticket.naked_since_ns
    if since is None:
        return False
    if state.now_ns < since + bound:
        state.wake_at(since + bound, "ticket", ticket.intent_id)
        return False
    tried = [order for order in ticket.exits if order.parent is None and order.created_ns >= since]
    if any(order.leg is not Leg.EXIT for order in tried):  # nothing is live now, so it did not hold
        if ticket.exit_reason is None:
            message = f"{ticket.symbol}: the venue does not keep the stop; closing the position"
            out.append(Alert(level="critical", code="UNPROTECTED", message=message))
        want_exit(state, ticket, ExitReason.LIQUIDATED, "the venue does not keep the stop")
        return True
    return False


# --- exits -------------------------------------------------------------------------------------------------


def _exit(state: State, ticket: Ticket, out: list[AnyCommand]) -> None:
    """Close the position: first whatever rests must be proven gone (it reserves the shares), then one order."""
    waits = _awaits_word(state, ticket, unread(ticket), out)
    if cancel_resting(state, ticket, out):
        return
    working = [order for order in ticket.exits if order.is_live]
    if working:
        for order in working:
            if order.order_id is not None:
                ask(state, ticket, order, out)
        look_again(state, ticket)
        return
    if waits:
        return
    tried = [order for order in ticket.exits if order.leg is Leg.EXIT]
    if (
        ticket.exit_reason is ExitReason.TAKE_PROFIT
        and tried
        and tried[-1].created_ns >= (ticket.exit_since_ns or 0)
    ):
        _resume_protection(state, ticket, out)  # the target slipped away: the stop rests again at once
        return
    if state.now_ns < ticket.retry_exit_ns:
        state.wake_at(ticket.retry_exit_ns, "ticket", ticket.intent_id)
        return
    failures = sum(1 for order in tried if not order.filled_qty)
    ticket.retry_exit_ns = Ns(state.now_ns + min(100 << min(failures, 5), 2_000) * NS_PER_MS)
    _submit(state, ticket, exit_order(state, ticket), out)


def _sell_part(state: State, ticket: Ticket, out: list[AnyCommand]) -> None:
    """Sell the part that was asked for, once nothing rests any more; what is left is protected right after."""
    waits = _awaits_word(state, ticket, unread(ticket), out)
    if clear_for_part(state, ticket, out) and not waits:
        ticket.part_tries += 1
        order = exit_order(state, ticket, min(ticket.close_qty, ticket.owned))
        _submit(state, ticket, order, out, part=True)


def _resume_protection(state: State, ticket: Ticket, out: list[AnyCommand]) -> None:
    ticket.exit_reason, ticket.exit_since_ns, ticket.exit_note = None, None, ""
    ticket.retry_exit_ns = state.now_ns
    state.touch(ticket)
    _submit(state, ticket, protective_order(state, ticket), out)


def _submit(
    state: State, ticket: Ticket, exit_order: ReducingOrder, out: list[AnyCommand], *, part: bool = False
) -> None:
    """Enter a reducing order in the table and hand it to the dispatcher (written ahead before it is sent)."""
    order = Order(
        client_order_id=exit_order.client_order_id,
        intent_id=ticket.intent_id,
        leg=exit_order.leg,
        symbol=exit_order.symbol,
        side=exit_order.side,
        order_type=exit_order.order_type,
        order_class=exit_order.order_class,
        time_in_force=exit_order.time_in_force,
        qty=exit_order.qty,
        limit_price=exit_order.limit_price if exit_order.take_profit is None else exit_order.take_profit,
        stop_price=exit_order.stop_price,
        take_profit=exit_order.take_profit,
        created_ns=state.now_ns,
        part=part,
    )
    state.forget_orders(ticket)
    ticket.orders[order.client_order_id] = order
    state.index_order(order)
    out.append(SubmitExit(order=exit_order))
    out.append(order_record(order))
    state.touch(ticket)


# --- the end and the clock --------------------------------------------------------------------------------


def _settle(state: State, ticket: Ticket, out: list[AnyCommand]) -> bool:
    """Nothing is owned any more: make sure nothing can still trade, then end the ticket (True)."""
    live = [order for order in ticket.exits if order.is_live]
    if ticket.owned < 0 and not live:
        plan = ticket.plan
        if plan is None or not plan.is_crypto:
            _buy_back(state, ticket, out)
            return False
        ticket.received_qty = Qty(
            ticket.received_qty - ticket.owned
        )  # coins cannot be short: the fee was smaller
    if live:
        for order in live:
            if order.status in RESTING:
                cancel(state, ticket, order, out)
            if order.status is not OrderStatus.UNSENT:
                ask(state, ticket, order, out)  # the stream may never tell of a leg's cancel
        return False
    wind_up(state, ticket, out)
    for kind in ("target", "stop", "touch", "moved", "step"):
        disarm(state, ticket.intent_id, kind)
    return True


def _buy_back(state: State, ticket: Ticket, out: list[AnyCommand]) -> None:
    """Both legs filled: what was closed too much is taken back, and the operator is told."""
    detail = (
        f"{ticket.symbol}: both legs filled; {decimal_text(-ticket.owned)} too many are being bought back"
    )
    set_reason(state, out, "UNEXPLAINED_POSITION", TradingState.REDUCE_ONLY, OPERATOR, detail)
    want_exit(state, ticket, ExitReason.LIQUIDATED, detail)
    wait_until = max(ticket.retry_exit_ns, _calm_after(state, ticket))
    if state.now_ns < wait_until:
        state.wake_at(wait_until, "ticket", ticket.intent_id)
        return
    _submit(state, ticket, exit_order(state, ticket), out)


def _name_state(state: State, ticket: Ticket, entry: Order) -> None:
    """Name how the ticket stands, for its receipt."""
    if not ticket.is_live:
        return
    if ticket.frozen:
        named = TradeState.FROZEN
    elif ticket.owned > 0:
        named = TradeState.OPEN if ticket.exit_reason is None else TradeState.CLOSING
    elif not entry.is_live and ticket.received_qty:
        named = TradeState.CLOSING
    else:
        named = TradeState.UNKNOWN if entry.status is OrderStatus.UNKNOWN else TradeState.WORKING
    if named is not ticket.state:
        ticket.state = named
        state.touch(ticket)
