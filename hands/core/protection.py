"""Never naked: what a trade needs next, decided from how things stand, and the only maker of reducing orders.

Owns `supervise`, which is asked again after every event that concerns a trade and every timer it set, and
`ReducingOrder`'s only construction. The one idea: it is level-triggered. It never remembers what it was about
to do; it looks at what is owned, what rests, what is unknown and what is wanted, and does the next thing, so a
crash, a lost reply or a report delivered twice leads to the same place. Ends of trades are in `hands.core.closing`.
"""

from __future__ import annotations

from hands.core.breakers import OPERATOR, set_reason
from hands.core.case import protective_limit
from hands.core.closing import wind_up
from hands.core.commands import Alert, AnyCommand, SubmitExit
from hands.core.coverage import (
    RESTING,
    covers,
    fresh_mark,
    is_on_the_way,
    is_rest_of_dust,
    look_again,
    protected_qty,
    watch_clock,
)
from hands.core.dues import can_exit_now, notice_dues, want_exit
from hands.core.ledger_rows import order_record
from hands.core.orders import ReducingOrder, client_order_id
from hands.core.pursuit import ASK_FIRST_NS, ask, cancel, end_entry
from hands.core.reports import is_group
from hands.core.state import State
from hands.core.ticket import Order, Ticket
from hands.core.units import NANO, NS_PER_MS, NS_PER_S, Ns, Price, Qty, ceil_to, decimal_text, floor_to
from hands.core.venue_rules import price_tick
from hands.core.vocab import (
    ExitReason,
    Leg,
    OrderClass,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    TradeState,
    TradingState,
)
from hands.core.watch import disarm, watch_position

TRIES_AT_ONCE = 8
RESEND_REFUSED_NS = NS_PER_S // 2
RESEND_ASKED_NS = NS_PER_S
"""The longest pause before a lost exit is sent again: after a 5xx, and after a question (two requests each time)."""

DEAD_ORDERS_KEPT = 20
"""Refused and cancelled exits kept with their trade; the ledger has them all."""

__all__ = ["TRIES_AT_ONCE", "protected_qty", "supervise", "want_exit"]


def supervise(state: State, ticket: Ticket, out: list[AnyCommand]) -> None:
    """Do the next thing for one trade; harmless to call at any time. Before the venue has spoken there is none."""
    entry = ticket.entry
    if not state.reconciled or state.dry_run or not ticket.is_live or ticket.plan is None or entry is None:
        return
    notice_dues(state, ticket)
    end_entry(state, ticket, entry, out)
    for order in list(ticket.orders.values()):
        if order.status is OrderStatus.UNKNOWN:
            _chase(state, ticket, order, out)
    if not entry.is_live:
        if ticket.owned <= 0 or is_rest_of_dust(state, ticket):
            if _settle(state, ticket, out):
                return
        elif any(order.status is OrderStatus.UNKNOWN for order in ticket.exits):
            pass  # an exit that may exist already: never a second one beside it
        elif ticket.exit_reason is not None and can_exit_now(state, ticket):
            _exit(state, ticket, out)
        else:
            _protect(state, ticket, entry, out)
    watch_clock(state, ticket, entry)
    watch_position(state, ticket)
    _name_state(state, ticket, entry)


def _chase(state: State, ticket: Ticket, order: Order, out: list[AnyCommand]) -> None:
    """Follow up an order whose fate is unknown. An exit the venue denies knowing is sent again *under its own id*,
    which the venue accepts at most once; an entry never is."""
    if order.leg is not Leg.ENTRY and order.missing and order.parent is None:
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
        out.append(SubmitExit(order=_again(ticket, order)))
        state.touch(ticket)
        return
    ask(state, ticket, order, out)


def _give_up(state: State, ticket: Ticket, order: Order, out: list[AnyCommand]) -> None:
    """Bury an exit that the venue denies knowing, twice, and that would sell more than is owned by now."""
    if order.missing < 2:
        ask(state, ticket, order, out)
        return
    order.status, order.refusal = OrderStatus.REJECTED, "the venue has never heard of it"
    out.append(order_record(order))
    state.touch(ticket)


# --- protection --------------------------------------------------------------------------------------------


def _protect(state: State, ticket: Ticket, entry: Order, out: list[AnyCommand]) -> None:
    """Make sure a stop rests at the venue for all that is owned."""
    live = [order for order in ticket.exits if order.is_live]
    covered = protected_qty(ticket)
    if is_group(entry) and not ticket.group_read and entry.order_id is not None:
        if entry.status is not OrderStatus.FILLED or not covers(ticket, covered):
            ask(state, ticket, entry, out)  # what became of the legs is the venue's to say
            return
        ticket.group_read = True
    if live:
        _mind_resting(state, ticket, live, covered, out)
        return
    if _lost_protection(state, ticket, out) and can_exit_now(state, ticket):
        _exit(state, ticket, out)
        return
    wait_until = max(ticket.retry_exit_ns, _calm_after(ticket))
    if state.now_ns < wait_until:
        state.wake_at(wait_until, "ticket", ticket.intent_id)
        return
    _submit(state, ticket, _protective_order(state, ticket), out)


def _mind_resting(
    state: State, ticket: Ticket, live: list[Order], covered: int, out: list[AnyCommand]
) -> None:
    """What rests must sell what is owned, no less and no more; else it makes room for what does."""
    on_the_way = [order for order in live if is_on_the_way(ticket, order)]
    bound = state.limits.effective(ticket.agent, ticket.symbol).unprotected_max_ms
    overdue = ticket.naked_since_ns is not None and state.now_ns - ticket.naked_since_ns >= bound
    waits = [order for order in on_the_way if not overdue or order.order_id is None]
    if (
        not on_the_way
        and _is_all_there_is(ticket, covered)
        and not (overdue and not ticket.in_doubt(state.now_ns))
    ):
        look_again(state, ticket)  # the next snapshots tell whether the rest was sold elsewhere
        return
    if not waits and not (covers(ticket, covered) and covered <= ticket.owned):
        for order in live:
            cancel(state, ticket, order, out)
            if order.status is OrderStatus.HELD:
                ask(state, ticket, order, out)  # its group may have ended without a word
        return
    for order in waits:
        if order.order_id is not None and state.now_ns >= order.created_ns + ASK_FIRST_NS:
            ask(state, ticket, order, out)
        else:
            state.wake_at(max(order.created_ns, state.now_ns) + ASK_FIRST_NS, "ticket", ticket.intent_id)


def _is_all_there_is(ticket: Ticket, covered: int) -> bool:
    """Whether a stop covers less than is owned because the venue, refusing more, said that no more is there."""
    last = next((order for order in reversed(ticket.exits) if order.refusal and order.parent is None), None)
    return last is not None and 0 < covered < ticket.owned and last.available == covered


def _calm_after(ticket: Ticket) -> int:
    """Return when protection may be placed once more: after a few tries only once a second, whatever the cause."""
    last = max((order.created_ns for order in ticket.exits), default=0)
    return last + NS_PER_S if sum(ticket.attempts.values()) >= TRIES_AT_ONCE else 0


def _lost_protection(state: State, ticket: Ticket, out: list[AnyCommand]) -> bool:
    """Whether a stop cannot help any more: the market is through it, or the venue refused it for too long."""
    plan = ticket.plan
    if plan is None:
        return False
    mark = fresh_mark(state, ticket)
    if mark is not None and (mark <= plan.stop_loss if ticket.is_long else mark >= plan.stop_loss):
        want_exit(state, ticket, ExitReason.STOP_LOSS, "the market is already through the stop")
        return True
    bound = state.limits.effective(ticket.agent, ticket.symbol).unprotected_max_ms
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


def _protective_order(state: State, ticket: Ticket) -> ReducingOrder:
    """Return the resting protection: an OCO pair where the venue has one, else a stop-limit for the position."""
    plan = ticket.plan
    assert plan is not None
    if not plan.is_crypto:
        return _reducing(
            ticket,
            Leg.TAKE_PROFIT,
            order_type=OrderType.LIMIT,
            time_in_force=TimeInForce.GTC,
            order_class=OrderClass.OCO,
            stop_price=plan.stop_loss,
            take_profit=plan.take_profit,
        )
    limits = state.limits.effective(ticket.agent, ticket.symbol)
    return _reducing(
        ticket,
        Leg.STOP_LOSS,
        order_type=OrderType.STOP_LIMIT,
        time_in_force=TimeInForce.GTC,
        stop_price=plan.stop_loss,
        limit_price=protective_limit(plan.stop_loss, limits, plan.price_increment, long=ticket.is_long),
    )


# --- exits -------------------------------------------------------------------------------------------------


def _exit(state: State, ticket: Ticket, out: list[AnyCommand]) -> None:
    """Close the position: first whatever rests must be proven gone (it reserves the shares), then one order."""
    resting = [order for order in ticket.exits if order.is_live and order.leg is not Leg.EXIT]
    if resting:
        working_leg = any(order.status is not OrderStatus.HELD for order in resting)
        for order in resting:
            if order.status is OrderStatus.HELD and working_leg:
                continue  # cancelling its sibling cancels the group
            cancel(state, ticket, order, out)
        return
    working = [order for order in ticket.exits if order.is_live]
    if working:
        for order in working:
            if order.order_id is not None:
                ask(state, ticket, order, out)
        look_again(state, ticket)
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
    _submit(state, ticket, _exit_order(state, ticket), out)


def _resume_protection(state: State, ticket: Ticket, out: list[AnyCommand]) -> None:
    ticket.exit_reason, ticket.exit_since_ns, ticket.exit_note = None, None, ""
    ticket.retry_exit_ns = state.now_ns
    state.touch(ticket)
    _submit(state, ticket, _protective_order(state, ticket), out)


def _exit_order(state: State, ticket: Ticket) -> ReducingOrder:
    """Return the closing order: equities at market; crypto an IOC limit, from the second try on at market."""
    plan = ticket.plan
    assert plan is not None
    if not plan.is_crypto:
        return _reducing(ticket, Leg.EXIT, order_type=OrderType.MARKET, time_in_force=TimeInForce.DAY)
    if ticket.exit_reason is ExitReason.TAKE_PROFIT:
        return _ioc(ticket, plan.take_profit)
    mark = fresh_mark(state, ticket)
    since = ticket.exit_since_ns or 0
    if mark is None or any(order.leg is Leg.EXIT and order.created_ns >= since for order in ticket.exits):
        return _reducing(ticket, Leg.EXIT, order_type=OrderType.MARKET, time_in_force=TimeInForce.IOC)
    slip = state.limits.effective(ticket.agent, ticket.symbol).max_slippage_pct
    return _ioc(ticket, mark * (NANO - slip) // NANO if ticket.is_long else -(-mark * (NANO + slip) // NANO))


def _ioc(ticket: Ticket, price: int) -> ReducingOrder:
    plan = ticket.plan
    assert plan is not None
    tick = price_tick(plan.asset_class, price, plan.price_increment)
    limit = floor_to(price, tick) if ticket.is_long else ceil_to(price, tick)
    return _reducing(
        ticket, Leg.EXIT, order_type=OrderType.LIMIT, time_in_force=TimeInForce.IOC, limit_price=Price(limit)
    )


def _reducing(
    ticket: Ticket,
    leg: Leg,
    *,
    order_type: OrderType,
    time_in_force: TimeInForce,
    order_class: OrderClass = OrderClass.SIMPLE,
    limit_price: Price | None = None,
    stop_price: Price | None = None,
    take_profit: Price | None = None,
) -> ReducingOrder:
    """Return an order against what this trade owns. Every `ReducingOrder` is made here.

    Its quantity is what is owned less what other exits may still sell (none may be live), and at most what
    the venue, refusing the last one, said is available; its side is against the holding, so it can only make it smaller.
    """
    plan = ticket.plan
    assert plan is not None
    assert ticket.owned != 0
    assert not any(order.is_live for order in ticket.exits)
    holding_long = ticket.is_long == (ticket.owned > 0)
    qty = abs(ticket.owned)
    last = ticket.exits[-1] if ticket.exits else None
    if last is not None and last.refusal and last.available:
        qty = max(plan.lot, min(qty, last.available))
    attempt = ticket.attempts[leg] = ticket.attempts.get(leg, 0) + 1
    return ReducingOrder(
        client_order_id=client_order_id(ticket.intent_id, leg, attempt),
        intent_id=ticket.intent_id,
        leg=leg,
        symbol=ticket.symbol,
        asset_class=plan.asset_class,
        side=Side.SELL if holding_long else Side.BUY,
        qty=Qty(floor_to(qty, plan.lot)),
        order_type=order_type,
        time_in_force=time_in_force,
        order_class=order_class,
        limit_price=limit_price,
        stop_price=stop_price,
        take_profit=take_profit,
    )


def _again(ticket: Ticket, order: Order) -> ReducingOrder:
    """Return an exit that the venue does not know, unchanged and under its own id."""
    plan = ticket.plan
    assert plan is not None
    assert order.leg is not Leg.ENTRY
    return ReducingOrder(
        client_order_id=order.client_order_id,
        intent_id=ticket.intent_id,
        leg=order.leg,
        symbol=ticket.symbol,
        asset_class=plan.asset_class,
        side=order.side,
        qty=order.qty,
        order_type=order.order_type,
        time_in_force=order.time_in_force,
        order_class=order.order_class,
        limit_price=order.limit_price if order.take_profit is None else None,
        stop_price=order.stop_price,
        take_profit=order.take_profit,
    )


def _submit(state: State, ticket: Ticket, exit_order: ReducingOrder, out: list[AnyCommand]) -> None:
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
    )
    state.forget_orders(ticket, DEAD_ORDERS_KEPT)
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
    for kind in ("target", "stop", "touch"):
        disarm(state, ticket.intent_id, kind)
    return True


def _buy_back(state: State, ticket: Ticket, out: list[AnyCommand]) -> None:
    """Both legs filled: what was closed too much is taken back, and the operator is told."""
    detail = (
        f"{ticket.symbol}: both legs filled; {decimal_text(-ticket.owned)} too many are being bought back"
    )
    set_reason(state, out, "UNEXPLAINED_POSITION", TradingState.REDUCE_ONLY, OPERATOR, detail)
    want_exit(state, ticket, ExitReason.LIQUIDATED, detail)
    wait_until = max(ticket.retry_exit_ns, _calm_after(ticket))
    if state.now_ns < wait_until:
        state.wake_at(wait_until, "ticket", ticket.intent_id)
        return
    _submit(state, ticket, _exit_order(state, ticket), out)


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
