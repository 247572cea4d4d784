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
from hands.core.ledger_rows import order_record
from hands.core.orders import ReducingOrder, client_order_id
from hands.core.pursuit import CANCEL_AGAIN_NS, ask, cancel, end_entry
from hands.core.reports import is_group
from hands.core.sizing import is_dust, mark_price
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

_ON_THE_WAY = frozenset(
    {
        OrderStatus.UNSENT,
        OrderStatus.UNKNOWN,
        OrderStatus.PENDING_NEW,
        OrderStatus.PENDING_REVIEW,
        OrderStatus.ACCEPTED_FOR_BIDDING,
        OrderStatus.PENDING_REPLACE,
    }
)
_RESTING = frozenset({OrderStatus.NEW, OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED})


def supervise(state: State, ticket: Ticket, out: list[AnyCommand]) -> None:
    """Do the next thing for one trade; harmless to call at any time."""
    entry = ticket.entry
    if not ticket.is_live or ticket.plan is None or entry is None:
        return
    _want_exit(state, ticket)
    end_entry(state, ticket, entry, out)
    for order in list(ticket.orders.values()):
        if order.status is OrderStatus.UNKNOWN:
            _chase(state, ticket, order, out)
    if not entry.is_live:
        if ticket.owned <= 0 or _is_rest_of_dust(state, ticket):
            _settle(state, ticket, out)
        elif any(order.status is OrderStatus.UNKNOWN for order in ticket.exits):
            pass  # an exit that may exist already: never a second one beside it
        elif ticket.exit_reason is not None and _can_exit_now(state, ticket):
            _exit(state, ticket, out)
        else:
            _protect(state, ticket, entry, out)
    _watch_clock(state, ticket, entry)
    watch_position(state, ticket)
    _name_state(state, ticket, entry)


# --- what is wanted ----------------------------------------------------------------------------------------


def _want_exit(state: State, ticket: Ticket) -> None:
    """Notice that the trade should end now: held long enough, the session's end, an elected stop that did not fill."""
    if ticket.exit_reason is not None or ticket.owned <= 0 or ticket.opened_ns is None or ticket.plan is None:
        return
    limits = state.limits.effective(ticket.agent, ticket.symbol)
    dues: list[tuple[int, ExitReason, str]] = []
    if ticket.intent.max_hold_ns is not None:
        dues.append(
            (ticket.opened_ns + ticket.intent.max_hold_ns, ExitReason.TIME, "max_hold_seconds is over")
        )
    before_close = state.limits.session.flatten_before_close_s
    if before_close and not ticket.plan.is_crypto and state.session is not None and state.session.is_open:
        dues.append((state.session.next_close_ns - before_close, ExitReason.TIME, "flatten_before_close_s"))
    if ticket.through_stop_ns is not None:
        bound = ticket.through_stop_ns + limits.unprotected_max_ms
        dues.append((bound, ExitReason.STOP_LOSS, "the stop was reached and its order has not filled"))
    for at_ns, reason, note in sorted(dues):
        if at_ns <= state.now_ns:
            want_exit(state, ticket, reason, note)
            return
        state.wake_at(at_ns, "ticket", ticket.intent_id)


def want_exit(state: State, ticket: Ticket, reason: ExitReason, note: str) -> None:
    """Mark a trade to be closed, once; the reason first given stands."""
    if ticket.exit_reason is None:
        ticket.exit_reason, ticket.exit_note, ticket.exit_since_ns = reason, note, state.now_ns
        ticket.retry_exit_ns = state.now_ns
        state.touch(ticket)


def _can_exit_now(state: State, ticket: Ticket) -> bool:
    """Equities exit in the regular session; outside it protection stays and the exit waits for the open."""
    if ticket.plan is not None and ticket.plan.is_crypto:
        return True
    session = state.session
    if session is not None and session.is_open and state.now_ns < session.next_close_ns:
        return True
    if session is not None and session.next_open_ns > state.now_ns:
        state.wake_at(session.next_open_ns, "ticket", ticket.intent_id)
    return False


def _chase(state: State, ticket: Ticket, order: Order, out: list[AnyCommand]) -> None:
    """Follow up an order whose fate is unknown. An exit the venue denies knowing is sent again *under its own id*,
    which the venue accepts at most once; an entry never is."""
    if order.leg is not Leg.ENTRY and order.missing and order.parent is None:
        order.missing = 0
        order.status = OrderStatus.UNSENT
        order.sent_ns = None
        out.append(SubmitExit(order=_again(ticket, order)))
        state.touch(ticket)
        return
    ask(state, ticket, order, out)


# --- protection --------------------------------------------------------------------------------------------


def protected_qty(ticket: Ticket) -> Qty:
    """Return how much of the position a live stop at the venue would sell; an OCO group counts once.

    A held leg counts only once its group is active: the entry filled completely, or its sibling already works.
    While a target fills the venue shrinks the stop beside it and may not say so: the sibling's rest is what counts.
    """
    total = 0
    for order in ticket.exits:
        if order.leg is not Leg.STOP_LOSS or not order.is_live:
            continue
        target = _target_beside(ticket, order)
        if order.status in _RESTING or (
            order.status is OrderStatus.HELD and _is_active(ticket, order, target)
        ):
            total += order.remaining if target is None else min(order.remaining, target.remaining)
    return Qty(total)


def _target_beside(ticket: Ticket, stop: Order) -> Order | None:
    """Return the working target of a stop's group: an OCO's parent, or a bracket's other leg."""
    for order in ticket.exits:
        same_group = order.client_order_id == stop.parent or (
            order.parent is not None and order.parent == stop.parent
        )
        if order.leg is Leg.TAKE_PROFIT and same_group and order.status in _RESTING:
            return order
    return None


def _is_active(ticket: Ticket, held: Order, target: Order | None) -> bool:
    parent = ticket.orders.get(held.parent or "")
    entry_filled = parent is not None and parent.leg is Leg.ENTRY and parent.status is OrderStatus.FILLED
    return entry_filled or target is not None


def _protect(state: State, ticket: Ticket, entry: Order, out: list[AnyCommand]) -> None:
    """Make sure a stop rests at the venue for all that is owned."""
    lot = ticket.plan.lot if ticket.plan is not None else NANO
    live = [order for order in ticket.exits if order.is_live]
    if is_group(entry) and not ticket.group_read and entry.order_id is not None:
        if not live or entry.status is not OrderStatus.FILLED:
            ask(state, ticket, entry, out)  # what became of the legs is the venue's to say
            return
        ticket.group_read = True
    covered = protected_qty(ticket)
    if live:
        settled = not any(order.status in _ON_THE_WAY for order in live)
        if settled and (covered < ticket.owned - lot + 1 or covered > ticket.owned):
            for order in live:
                cancel(state, ticket, order, out)
        elif not settled:
            state.wake_at(state.now_ns + NS_PER_S, "ticket", ticket.intent_id)
        return
    wait_until = max(ticket.retry_exit_ns, _calm_after(ticket))
    if state.now_ns < wait_until:
        state.wake_at(wait_until, "ticket", ticket.intent_id)
        return
    if _lost_protection(state, ticket, out) and _can_exit_now(state, ticket):
        _exit(state, ticket, out)
        return
    _submit(state, ticket, _protective_order(state, ticket), out)


def _calm_after(ticket: Ticket) -> int:
    """Return when protection may be placed once more: after a few tries only once a second, whatever the cause."""
    last = max((order.created_ns for order in ticket.exits), default=0)
    return last + NS_PER_S if sum(ticket.attempts.values()) >= TRIES_AT_ONCE else 0


def _lost_protection(state: State, ticket: Ticket, out: list[AnyCommand]) -> bool:
    """Whether a stop cannot help any more: the market is through it, or the venue refused it for too long."""
    plan = ticket.plan
    if plan is None:
        return False
    mark = _fresh_mark(state, ticket)
    if mark is not None and (mark <= plan.stop_loss if ticket.is_long else mark >= plan.stop_loss):
        want_exit(state, ticket, ExitReason.STOP_LOSS, "the market is already through the stop")
        return True
    bound = state.limits.effective(ticket.agent, ticket.symbol).unprotected_max_ms
    refused = any(order.refusal for order in ticket.exits)
    if refused and ticket.naked_since_ns is not None and state.now_ns - ticket.naked_since_ns >= bound:
        want_exit(state, ticket, ExitReason.LIQUIDATED, "the venue keeps refusing the stop")
        message = f"{ticket.symbol}: the venue keeps refusing the stop; closing the position"
        out.append(Alert(level="critical", code="UNPROTECTED", message=message))
        return True
    return False


def _fresh_mark(state: State, ticket: Ticket) -> Price | None:
    index = state.market.index.get(ticket.symbol)
    quote = None if index is None else state.market.quote(index)
    if quote is None or state.now_ns - quote.recv_ns > state.limits.hard.quote_age_max_ms:
        return None
    return quote.bid if ticket.is_long else quote.ask


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
            state.wake_at(state.now_ns + NS_PER_S, "ticket", ticket.intent_id)
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
    ticket.retry_exit_ns = Ns(state.now_ns + min(100 << min(len(tried), 5), 2_000) * NS_PER_MS)
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
    mark = _fresh_mark(state, ticket)
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

    Its quantity is what is owned less what other exits may still sell (none may be live), and in crypto at most
    what the venue last said is available; its side is against the holding, so it can only make it smaller.
    """
    plan = ticket.plan
    assert plan is not None
    assert ticket.owned != 0
    assert not any(order.is_live for order in ticket.exits)
    holding_long = ticket.is_long == (ticket.owned > 0)
    qty = abs(ticket.owned)
    last = next((order for order in reversed(ticket.exits) if order.refusal), None)
    if plan.is_crypto and last is not None and last.available:
        qty = min(qty, last.available)
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
    ticket.orders[order.client_order_id] = order
    state.index_order(order)
    out.append(SubmitExit(order=exit_order))
    out.append(order_record(order))
    state.touch(ticket)


# --- the end and the clock --------------------------------------------------------------------------------


def _is_rest_of_dust(state: State, ticket: Ticket) -> bool:
    mark = mark_price(state, ticket)
    nothing_live = not any(order.is_live for order in ticket.exits)
    return nothing_live and mark is not None and is_dust(ticket, ticket.owned, mark)


def _settle(state: State, ticket: Ticket, out: list[AnyCommand]) -> None:
    """Nothing is owned any more: make sure nothing can still trade, then end the ticket."""
    live = [order for order in ticket.exits if order.is_live]
    if ticket.owned < 0 and not live:
        detail = (
            f"{ticket.symbol}: both legs filled; {decimal_text(-ticket.owned)} too many are being bought back"
        )
        set_reason(state, out, "UNEXPLAINED_POSITION", TradingState.REDUCE_ONLY, OPERATOR, detail)
        want_exit(state, ticket, ExitReason.LIQUIDATED, detail)
        _submit(state, ticket, _exit_order(state, ticket), out)
        return
    if live:
        for order in live:
            if order.status is not OrderStatus.UNSENT:
                ask(state, ticket, order, out)  # the stream may never tell of a leg's cancel
            if order.cancel_ns is None and order.status in _RESTING and ticket.exit_filled:
                cancel(state, ticket, order, out)
        return
    wind_up(state, ticket, out)
    for kind in ("target", "stop", "touch"):
        disarm(state, ticket.intent_id, kind)


def _watch_clock(state: State, ticket: Ticket, entry: Order) -> None:
    """Keep the unprotected age: it runs while a live stop, or an exit on its way, covers less than is owned."""
    exiting = sum(o.remaining for o in ticket.exits if o.leg is Leg.EXIT and o.is_live)
    lot = ticket.plan.lot if ticket.plan is not None else NANO
    covered = max(protected_qty(ticket), exiting)
    if ticket.owned <= 0 or covered > ticket.owned - lot:
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
        state.wake_at(state.now_ns + CANCEL_AGAIN_NS, "ticket", ticket.intent_id)


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
