"""What Hands holds and what it does not, and the orders behind that: the answers to `hands positions` and `orders`.

Owns their rendering. Pure functions of what they are given: they change nothing, read no clock and ask nobody. The one
idea: two columns that look alike are kept apart, what is *wanted* (the stop and target of a trade now, an exit that is
due) and what is *there* (what rests at the venue), because an operator looks when they differ.
"""

from __future__ import annotations

import itertools
from typing import Any

from hands.core.coverage import protected_qty
from hands.core.ledger_rows import own_stop
from hands.core.receipts import receipt, time_text
from hands.core.sizing import mark_price
from hands.core.state import State
from hands.core.ticket import Order, Ticket
from hands.core.units import NS_PER_MS, decimal_text, usd_text

SHOWN_MAX = 200
"""Trades, holdings and orders in one answer: it is made on the engine's thread."""

LATELY_LOOKED_AT = 200
"""Finished trades whose orders are looked through for `--all`."""

Document = dict[str, Any]


def price_text(value: int | None) -> str | None:
    return None if value is None else decimal_text(value, 2)


def _at(state: State, ns: int | None) -> str | None:
    return None if ns is None else time_text(ns + state.wall_offset_ns)


# --- what is wanted of a trade -------------------------------------------------------------------------------


def wishes(state: State, ticket: Ticket, now_ns: int) -> Document:
    """Return what is wanted of a trade beyond its plan: an exit, a part to be closed, levels that were moved."""
    plan = ticket.plan
    moved: Document = {}
    if plan is not None and ticket.stop_moved is not None:
        moved["stop_loss"] = {"from": price_text(plan.stop_loss), "to": price_text(ticket.stop_moved)}
    if plan is not None and ticket.target_moved is not None:
        moved["take_profit"] = {"from": price_text(plan.take_profit), "to": price_text(ticket.target_moved)}
    if ticket.hold_moved_ns is not None:
        moved["max_hold_seconds"] = {
            "from": _seconds(ticket.intent.max_hold_ns),
            "to": _seconds(ticket.hold_moved_ns),
        }
    is_leaving = ticket.is_live and (ticket.exit_reason is not None or ticket.close_qty > 0)
    return {
        "exit_wanted": _exit_wanted(state, ticket),
        "closing_qty": decimal_text(ticket.close_qty) if ticket.close_qty > 0 and ticket.is_live else None,
        "waits_for_open": opens_again(state, ticket, now_ns) if is_leaving else None,
        "moved": moved or None,
    }


def _seconds(ns: int | None) -> str | None:
    return None if ns is None else decimal_text(ns)


def _exit_wanted(state: State, ticket: Ticket) -> Document | None:
    if ticket.exit_reason is None or not ticket.is_live:
        return None
    return {
        "reason": str(ticket.exit_reason),
        "note": ticket.exit_note,
        "since": _at(state, ticket.exit_since_ns),
    }


def opens_again(state: State, ticket: Ticket, now_ns: int) -> str | None:
    """Return when the market opens that an exit of what is owned has to wait for; None where it need not wait."""
    session, plan = state.session, ticket.plan
    if plan is None or plan.is_crypto or session is None or ticket.owned <= 0:
        return None
    if session.is_open_at(now_ns):
        return None
    return _at(state, session.next_open_ns)


# --- positions -----------------------------------------------------------------------------------------------


def positions(state: State, now_ns: int) -> Document:
    """Return what Hands owns, what it waits to buy, and what is held or worked beside that and is left alone."""
    owning = [ticket for ticket in state.committed() if ticket.owned > 0]
    unfilled = [t for t in state.tickets.values() if t.is_live and t.owned <= 0]
    return {
        "daemon": True,
        "state": str(state.trading_state),
        "at": _at(state, now_ns),
        "owned": [_owned(state, ticket, now_ns) for ticket in owning[:SHOWN_MAX]],
        "owned_total": len(owning),
        "unfilled": [_unfilled(ticket) for ticket in unfilled[:SHOWN_MAX]],
        "unfilled_total": len(unfilled),
        "others": _others(state)[:SHOWN_MAX],
    }


def _owned(state: State, ticket: Ticket, now_ns: int) -> Document:
    mark, whole = mark_price(state, ticket), receipt(state, ticket)
    there = whole["protection"]
    naked_ns = None if ticket.naked_since_ns is None else max(0, now_ns - ticket.naked_since_ns)
    bound_ns = state.limits.effective(ticket.agent, ticket.symbol).unprotected_max_ms
    hold_ns, opened_ns = ticket.max_hold_ns, ticket.opened_ns
    return {
        "intent_id": ticket.intent_id,
        "agent": ticket.agent,
        "symbol": ticket.symbol,
        "direction": str(ticket.intent.direction),
        "state": str(ticket.state),
        "qty": decimal_text(ticket.owned),
        "avg_price": price_text(ticket.avg_entry),
        "mark": price_text(mark),
        "unrealised_usd": None if mark is None else usd_text(ticket.unrealised_usd(mark)),
        "realised_usd": usd_text(ticket.realised_usd()),
        "stop_loss": price_text(ticket.stop_loss),
        "take_profit": price_text(ticket.take_profit),
        "exit_by": None if hold_ns is None or opened_ns is None else _at(state, opened_ns + hold_ns),
        "protection": None if there is None else there | {"since": _at(state, there["since_ns"])},
        "protected_qty": decimal_text(min(ticket.owned, protected_qty(state, ticket))),
        "naked_ms": None if naked_ns is None else round(naked_ns / NS_PER_MS, 1),
        "naked_too_long": naked_ns is not None and naked_ns > bound_ns,
        **wishes(state, ticket, now_ns),
        "opens_again": opens_again(state, ticket, now_ns),
        "next": whole["next"],
    }


def _unfilled(ticket: Ticket) -> Document:
    return {
        "intent_id": ticket.intent_id,
        "agent": ticket.agent,
        "symbol": ticket.symbol,
        "direction": str(ticket.intent.direction),
        "state": str(ticket.state),
    }


def _others(state: State) -> list[Document]:
    """Return what is not ours, by symbol: holdings where no trade of ours lives, and strangers' orders."""
    found = []
    for symbol in sorted({*state.foreign, *state.positions}):
        ours, held, what = state.live_on(symbol), state.positions.get(symbol), state.foreign.get(symbol)
        if what is None and (held is None or not held.qty or ours or _sold_since(state, symbol)):
            continue
        alone = held is not None and not ours
        found.append(
            {
                "symbol": symbol,
                "qty": decimal_text(held.qty) if held is not None and alone else None,
                "avg_price": price_text(held.avg_price) if held is not None and alone else None,
                "what": what or "left over from trades of ours, too little to be sold",
            }
        )
    return found


def _sold_since(state: State, symbol: str) -> bool:
    """Whether a trade of ours ended there after the venue was last asked what it holds."""
    for ticket in itertools.islice(reversed(state.finished.values()), LATELY_LOOKED_AT):
        if ticket.symbol == symbol:
            return (ticket.closed_ns or 0) >= state.truth_of_ns
    return False


# --- orders --------------------------------------------------------------------------------------------------


def orders(state: State, *, every: bool) -> Document:
    """Return the orders that may still fill, oldest first; with `every` those that are over too, as far as known here."""
    lately = itertools.islice(reversed(state.finished.values()), LATELY_LOOKED_AT) if every else ()
    found = [
        order
        for ticket in (*state.committed(), *lately)
        for order in ticket.orders.values()
        if every or order.is_live
    ]
    found.sort(key=lambda order: (order.created_ns, order.client_order_id))
    return {
        "daemon": True,
        "orders": [
            order_row(order) | {"order_id": order.order_id, "created": _at(state, order.created_ns)}
            for order in found[-SHOWN_MAX:]
        ],
        "orders_total": len(found),
    }


def order_row(order: Order) -> Document:
    """Return one order in one line."""
    return {
        "client_order_id": order.client_order_id,
        "intent_id": order.intent_id,
        "symbol": order.symbol,
        "leg": str(order.leg),
        "side": str(order.side),
        "type": str(order.order_type),
        "qty": decimal_text(order.qty),
        "filled_qty": decimal_text(order.filled_qty),
        "limit_price": price_text(order.limit_price),
        "stop_price": price_text(own_stop(order)),
        "avg_price": price_text(order.avg_price),
        "status": str(order.status),
    }
