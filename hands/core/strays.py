"""Strays: an exit of ours that the journal does not know becomes its trade's own.

Owns the ids under which an exit of ours can exist that nobody wrote down, and how such an order is entered into its
ticket. May not merge what the venue says of it: the callers do, as for any other order. The one idea: the watchdog takes
the engine's own next id for a leg, and so does an engine whose journal cannot be written (an exit is sent all the same);
so whatever was sent is found by counting on, and nothing else carries such an id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hands.core.commands import Alert, AnyCommand
from hands.core.dues import want_exit
from hands.core.events import VenueOrder
from hands.core.orders import client_order_id, parse_client_order_id
from hands.core.state import State
from hands.core.ticket import Order, Ticket
from hands.core.units import NS_PER_S
from hands.core.vocab import ExitReason, Leg, OrderClass, OrderStatus, OrderType, TimeInForce

Out = list[AnyCommand]

NEVER_HEARD: Final = "the venue has never heard of it"
"""Why an entry ended that was sent, and that the venue, asked again and again, did not know."""

GIVEN_UP_NS: Final = 600 * NS_PER_S
"""How long an entry that the venue denied knowing is asked for again with everything else."""


def suspects(state: State) -> tuple[str, ...]:
    """Return the ids under which something may have been sent that we have not heard of: for every trade
    behind a fence that the watchdog raised, as it does before it sends anything; else for those of which some is missing.
    """
    behind_fence = state.watchdog_acted and state.fenced_ns is not None
    return tuple(
        name
        for ticket in state.committed()
        if behind_fence or ticket.doubted_qty
        for name in suspects_of(ticket)
    )


def given_up(state: State) -> Iterator[str]:
    """Yield the entries that ended of late because the venue did not know them: the request may have been on its way.

    Where the stream does not tell of its fill, the holding looks like somebody else's until the order is named.
    """
    for ticket in reversed(state.finished.values()):
        if (ticket.closed_ns or 0) <= state.now_ns - GIVEN_UP_NS:
            return  # they stand in the order in which they ended
        entry = ticket.entry
        if entry is not None and entry.order_id is None and entry.refusal == NEVER_HEARD:
            yield entry.client_order_id


def suspects_of(ticket: Ticket) -> Iterator[str]:
    """Yield, per leg, the last attempt of ours, where the venue never named an order for it, and the one after it."""
    for leg in (Leg.TAKE_PROFIT, Leg.STOP_LOSS, Leg.EXIT):
        last = ticket.attempts.get(leg, 0)
        for attempt in range(max(1, last), last + 2):
            name = client_order_id(ticket.intent_id, leg, attempt)
            known = ticket.orders.get(name)
            if known is None or known.order_id is None:
                yield name


def find_or_adopt(state: State, report: VenueOrder, out: Out) -> tuple[Ticket, Order] | None:
    """Return the order that a report is about; an exit of a live trade of ours that nobody knew is entered first."""
    found = state.find_order(report.client_order_id, report.order_id)
    if found is not None:
        known = found[1]
        if known.status is OrderStatus.REJECTED and known.order_id is None and known.leg is not Leg.ENTRY:
            _take_terms(known, report)  # we never sent it; somebody did, under the same id
        return found
    named = parse_client_order_id(report.client_order_id)
    ticket = None if named is None else state.tickets.get(named[0])
    if named is None or ticket is None or ticket.plan is None or named[1] is Leg.ENTRY or state.dry_run:
        return None
    _, leg, attempt = named
    order = Order(
        client_order_id=report.client_order_id,
        intent_id=ticket.intent_id,
        leg=leg,
        symbol=ticket.symbol,
        side=report.side,
        order_type=report.order_type,
        order_class=report.order_class,
        time_in_force=TimeInForce.GTC,
        qty=report.qty,
        created_ns=state.now_ns,
        sent_ns=report.submitted_ns,
    )
    _take_terms(order, report)
    ticket.orders[order.client_order_id] = order
    ticket.attempts[leg] = max(ticket.attempts.get(leg, 0), attempt)
    state.index_order(order)
    if leg is Leg.EXIT:
        want_exit(
            state,
            ticket,
            ExitReason.LIQUIDATED,
            "closed by an exit that was not written down: the watchdog's, or one sent while the journal failed",
        )
    message = f"{ticket.symbol}: {order.client_order_id}, which this engine did not send, is taken over"
    out.append(Alert(level="warning", code="ADOPTED", message=message))
    state.touch(ticket)
    return ticket, order


def _take_terms(order: Order, report: VenueOrder) -> None:
    """Let an order be what the venue holds under its id."""
    order.qty, order.side = report.qty, report.side
    order.order_type, order.order_class = report.order_type, report.order_class
    order.limit_price, order.stop_price = report.limit_price, report.stop_price
    if report.order_class is OrderClass.OCO:
        stop = next((leg for leg in report.legs if leg.stop_price is not None), None)
        order.take_profit = report.limit_price
        order.stop_price = report.stop_price if stop is None else stop.stop_price
    elif report.order_type is OrderType.MARKET:
        order.limit_price = None
