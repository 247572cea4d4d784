"""The orders that protect or close a trade: which kind, at what price, for how much.

Owns the choice; each is made by `hands.core.reducing`, the only place that can. May not send them or decide when:
that is `hands.core.protection`. The one idea: an order follows from what is owned and wanted now, never from a plan
that was made before.
"""

from __future__ import annotations

from hands.core.case import protective_limit
from hands.core.coverage import fresh_mark
from hands.core.orders import ReducingOrder, parse_client_order_id
from hands.core.reducing import Holding, reducing_order
from hands.core.state import State
from hands.core.ticket import Order, Ticket
from hands.core.units import NANO, Price, Qty, ceil_to, floor_to
from hands.core.venue_rules import price_tick
from hands.core.vocab import ExitReason, Leg, OrderClass, OrderType, TimeInForce


def protective_order(state: State, ticket: Ticket) -> ReducingOrder:
    """Return the resting protection: an OCO pair where the venue has one (a plain stop where the trade has no target),
    else a stop-limit for the position."""
    plan = ticket.plan
    assert plan is not None
    target: Price | None = ticket.take_profit
    if not plan.is_crypto and target is None:
        return _reducing(
            ticket,
            Leg.STOP_LOSS,
            order_type=OrderType.STOP,
            time_in_force=TimeInForce.GTC,
            stop_price=ticket.stop_loss,
        )
    if not plan.is_crypto:
        return _reducing(
            ticket,
            Leg.TAKE_PROFIT,
            order_type=OrderType.LIMIT,
            time_in_force=TimeInForce.GTC,
            order_class=OrderClass.OCO,
            stop_price=ticket.stop_loss,
            take_profit=target,
        )
    limits = state.limits.effective(ticket.agent, ticket.symbol)
    return _reducing(
        ticket,
        Leg.STOP_LOSS,
        order_type=OrderType.STOP_LIMIT,
        time_in_force=TimeInForce.GTC,
        stop_price=ticket.stop_loss,
        limit_price=protective_limit(ticket.stop_loss, limits, plan.price_increment, long=ticket.is_long),
    )


def exit_order(state: State, ticket: Ticket, qty: int | None = None) -> ReducingOrder:
    """Return the closing order, for all that is owned or for `qty` of it.

    Equities at market; crypto an IOC limit, from the second try on at market.
    """
    plan = ticket.plan
    assert plan is not None
    if not plan.is_crypto:
        return _reducing(
            ticket, Leg.EXIT, order_type=OrderType.MARKET, time_in_force=TimeInForce.DAY, most=qty
        )
    target: Price | None = ticket.take_profit
    if ticket.exit_reason is ExitReason.TAKE_PROFIT and target is not None:
        return _ioc(ticket, target, qty)
    mark = fresh_mark(state, ticket)
    since = ticket.exit_since_ns or ticket.part_since_ns or 0
    if mark is None or any(order.leg is Leg.EXIT and order.created_ns >= since for order in ticket.exits):
        return _reducing(
            ticket, Leg.EXIT, order_type=OrderType.MARKET, time_in_force=TimeInForce.IOC, most=qty
        )
    slip = state.limits.effective(ticket.agent, ticket.symbol).max_slippage_pct
    worst = mark * (NANO - slip) // NANO if ticket.is_long else -(-mark * (NANO + slip) // NANO)
    return _ioc(ticket, worst, qty)


def _ioc(ticket: Ticket, price: int, most: int | None) -> ReducingOrder:
    plan = ticket.plan
    assert plan is not None
    tick = price_tick(plan.asset_class, price, plan.price_increment)
    limit = floor_to(price, tick) if ticket.is_long else ceil_to(price, tick)
    return _reducing(
        ticket,
        Leg.EXIT,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.IOC,
        limit_price=Price(limit),
        most=most,
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
    most: int | None = None,
) -> ReducingOrder:
    """Return a new order against what this trade owns.

    Its quantity is what is owned less what other exits may still sell (none may be live), at most `most`, and at most
    what the venue, refusing the last one, said is available.
    """
    assert not any(order.is_live for order in ticket.exits)
    holding = _holding(ticket)
    qty = abs(ticket.owned)
    if most is not None:
        qty = max(int(holding.lot), min(qty, most))
    last = ticket.exits[-1] if ticket.exits else None
    if last is not None and last.refusal and last.available:
        qty = max(int(holding.lot), min(qty, last.available))
    attempt = ticket.attempts[leg] = ticket.attempts.get(leg, 0) + 1
    return reducing_order(
        holding,
        leg,
        attempt,
        qty,
        order_type=order_type,
        time_in_force=time_in_force,
        order_class=order_class,
        limit_price=limit_price,
        stop_price=stop_price,
        take_profit=take_profit,
    )


def _holding(ticket: Ticket) -> Holding:
    plan = ticket.plan
    assert plan is not None
    return Holding(
        intent_id=ticket.intent_id,
        symbol=ticket.symbol,
        asset_class=plan.asset_class,
        qty=Qty(ticket.owned if ticket.is_long else -ticket.owned),
        lot=plan.lot,
    )


def again(ticket: Ticket, order: Order) -> ReducingOrder:
    """Return an exit that the venue does not know, unchanged and under its own id."""
    named = parse_client_order_id(order.client_order_id)
    assert named is not None, "only exits that we named ourselves are sent again"
    return reducing_order(
        _holding(ticket),
        order.leg,
        named[2],
        order.qty,
        order_type=order.order_type,
        time_in_force=order.time_in_force,
        order_class=order.order_class,
        limit_price=order.limit_price if order.take_profit is None else None,
        stop_price=order.stop_price,
        take_profit=order.take_profit,
    )
