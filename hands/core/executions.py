"""Every fill once: what the trade stream did not tell of is made up for from the venue's list of fills.

Owns the records of single fills, the average price and the money that follow from them, and the question for those
that are lacking. May not change how much was filled: quantities are the venue's cumulative ones (`hands.core.reports`),
and here they only say whether a fill is still to be found. The one idea: an order whose known fills do not add up to
what it filled is asked about, some time after the venue's truth has settled, and not for ever.

That the list's id is the stream's execution id is what one observer saw. So a fill of the list is also known by its
order and cumulative quantity, and by its quantity, price and time, which the list cuts to the microsecond, half up; and
of no order more is ever kept than it filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from hands.core.breakers import book_result
from hands.core.commands import Alert, AnyCommand, Record, RequestFills
from hands.core.events import Execution, FillsReport, VenueFill
from hands.core.ledger_rows import episode_record, fill_record, order_record
from hands.core.state import State
from hands.core.ticket import ExecutionRecord, Order, Ticket
from hands.core.units import NANO, NS_PER_S, Ns, Price, Usd, decimal_text, div_half_up, mul_floor
from hands.core.vocab import TradeState

SETTLE_NS = NS_PER_S
"""What the stream may still be bringing is not asked for."""

ASK_AGAIN_NS = 20 * NS_PER_S
OVERLAP_NS = 60 * NS_PER_S
"""How much earlier than our order the first fill may be stamped: the venue's clock is not ours."""

ASKED_MAX = 5
"""So many lists without a fill that its order had: then it is told, and the order's average price has to do."""

_MICRO_NS = 1_000

Out = list[AnyCommand]


# --- what is known ---------------------------------------------------------------------------------------


def record_execution(ticket: Ticket, order: Order, execution: Execution | None, out: Out) -> None:
    """Keep a fill that the trade stream told of; the same one again changes nothing."""
    if execution is not None and _is_new(ticket, order, execution):
        _keep(ticket, order, execution, out)


def _is_new(ticket: Ticket, order: Order, found: Execution) -> bool:
    if found.execution_id in ticket.executions or _known_qty(ticket, order) + found.qty > _own_qty(
        ticket, order
    ):
        return False
    own = (each for each in ticket.executions.values() if each.client_order_id == order.client_order_id)
    return not any(_is_cut(known, found) for known in own)


def _is_cut(one: ExecutionRecord, other: Execution) -> bool:
    """Whether one is the other with its time cut to the microsecond. Two fills of the stream are never taken for one."""
    cut = {one.at_ns % _MICRO_NS == 0, other.at_ns % _MICRO_NS == 0}
    apart_ns = abs(one.at_ns - other.at_ns)
    return (one.qty, one.price) == (other.qty, other.price) and len(cut) == 2 and apart_ns <= _MICRO_NS


def _keep(ticket: Ticket, order: Order, execution: Execution, out: Out) -> None:
    record = ExecutionRecord(
        execution_id=execution.execution_id,
        client_order_id=order.client_order_id,
        leg=order.leg,
        qty=execution.qty,
        price=execution.price,
        at_ns=execution.at_ns,
    )
    ticket.executions[execution.execution_id] = record
    out.append(fill_record(ticket, order, record))


def _known_qty(ticket: Ticket, order: Order) -> int:
    known = ticket.executions.values()
    return sum(each.qty for each in known if each.client_order_id == order.client_order_id)


def _own_qty(ticket: Ticket, order: Order) -> int:
    """Return what an order filled itself: where it counts on from another's fills, those are that one's."""
    return ticket.own_part(order)[0]


def price_fills(ticket: Ticket, order: Order, avg_price: Price | None) -> None:
    """Set an order's average price and money: from the executions where we have them all, else as the venue says."""
    own = [e for e in ticket.executions.values() if e.client_order_id == order.client_order_id]
    own_qty = _own_qty(ticket, order)
    if own_qty and sum(e.qty for e in own) == own_qty:
        before = ticket.orders.get(order.replaces or "") if order.carries else None
        carried = (0 if before is None else before.value * NANO) + sum(e.price * e.qty for e in own)
        order.avg_price = Price(div_half_up(carried, order.filled_qty))
        order.value = Usd(carried // NANO)
    elif avg_price is not None:
        order.avg_price = avg_price
        order.value = Usd(mul_floor(avg_price, order.filled_qty))


# --- what is lacking -------------------------------------------------------------------------------------


def lacks_fills(ticket: Ticket) -> bool:
    """Whether fills of a trade are still to be found, and looked for."""
    return ticket.fills_asked < ASKED_MAX and any(_lacking(ticket))


def _lacking(ticket: Ticket) -> Iterator[Order]:
    """Return the orders of a trade whose fills are lacking; the venue has none of what never was an order there."""
    for order in ticket.orders.values():
        if (
            order.order_id is not None
            and order.filled_qty
            and _known_qty(ticket, order) < _own_qty(ticket, order)
        ):
            yield order


def note_fills(state: State, ticket: Ticket) -> None:
    """After a fill was merged: remember the trade, where fills of it are still to be found."""
    if state.fills_due is not None and lacks_fills(ticket):
        state.fills_due[ticket.intent_id] = None


def _incomplete(state: State) -> list[Ticket]:
    """Return the trades that lack fills: all are gone through at a start, then only those that were noted."""
    if state.fills_due is None:
        state.fills_due = dict.fromkeys((*state.tickets, *state.finished))
    found = [
        ticket for key in state.fills_due if (ticket := state.ticket(key)) is not None and lacks_fills(ticket)
    ]
    state.fills_due = {ticket.intent_id: None for ticket in found}
    return found


def look(state: State) -> None:
    """After the venue's truth: where fills are lacking, ask for them when things have settled."""
    if _incomplete(state):
        state.wake_at(max(state.now_ns + SETTLE_NS, state.fills_asked_ns + ASK_AGAIN_NS), "fills", "")


def ask(state: State, out: Out) -> None:
    """Ask for what is still lacking, once for all trades."""
    tickets = _incomplete(state)
    if not tickets or state.now_ns < state.fills_asked_ns + ASK_AGAIN_NS:
        return
    state.fills_asked_ns = state.now_ns
    after_ns = min(_began_ns(ticket, order) for ticket in tickets for order in _lacking(ticket)) - OVERLAP_NS
    out.append(RequestFills(after_ns=Ns(max(0, after_ns))))


def _began_ns(ticket: Ticket, order: Order) -> int:
    """Return when the first fill of an order can have been; a leg is met long after it was made, with its parent."""
    parent = ticket.orders.get(order.parent or "", order)
    return min(parent.created_ns, order.created_ns) or ticket.received_ns


# --- what is found ---------------------------------------------------------------------------------------


def _fills(state: State, event: FillsReport, out: Out) -> None:
    """Take in the fills that were lacking; what is in the list and is not ours is nobody's business here."""
    by_order: dict[str, list[VenueFill]] = {}
    for fill in event.fills:
        by_order.setdefault(fill.order_id, []).append(fill)
    for ticket in _incomplete(state):
        booked, episode = ticket.realised_usd(), _episode(ticket)
        taken = sum(_take(ticket, order, by_order, out) for order in list(_lacking(ticket)))
        if any(_lacking(ticket)):
            ticket.fills_asked += 1
            _despair(ticket, out)
        elif taken:
            out.append(_told(ticket, taken))
        if ticket.state is TradeState.CLOSED and episode != (exact := _episode(ticket)):
            book_result(state, ticket, ticket.realised_usd() - booked)
            out.extend(exact)
        state.touch(ticket)  # the last receipt of a trade that is over is written once more


def _take(ticket: Ticket, order: Order, by_order: dict[str, list[VenueFill]], out: Out) -> int:
    """Keep one order's fills; return how many were new."""
    taken = 0
    for fill in by_order.get(order.order_id or "", ()):
        execution = Execution(
            execution_id=fill.execution_id, qty=fill.qty, price=fill.price, at_ns=fill.at_ns
        )
        unnamed = (
            f"{fill.order_id}:{fill.cum_qty}"  # what the stream's fill is called where it came without an id
        )
        if unnamed not in ticket.executions and _is_new(ticket, order, execution):
            _keep(ticket, order, execution, out)
            taken += 1
    if taken:
        price_fills(ticket, order, order.avg_price)
        out.append(order_record(order))
    return taken


def _despair(ticket: Ticket, out: Out) -> None:
    if ticket.fills_asked < ASKED_MAX:
        return
    lacking = ", ".join(
        f"{order.client_order_id} filled {decimal_text(_own_qty(ticket, order))},"
        f" known {decimal_text(_known_qty(ticket, order))}"
        for order in _lacking(ticket)
    )
    message = f"{ticket.symbol}: the venue's list lacks fills of {lacking}; its average price has to do"
    out.append(Alert(level="warning", code="FILLS_LACKING", message=message))


def _told(ticket: Ticket, taken: int) -> Alert:
    message = (
        f"{ticket.symbol}: {taken} fills that the trade stream did not tell of were found in the venue's list"
    )
    return Alert(level="info", code="FILLS_FOUND", message=message)


def _episode(ticket: Ticket) -> list[Record]:
    """Return the row of a trade that is over, which must follow its exact prices."""
    found = episode_record(ticket) if ticket.state is TradeState.CLOSED else None
    return [] if found is None else [found]


HANDLERS: Final[dict[type[msgspec.Struct], Callable[[State, Any, Out], None]]] = {FillsReport: _fills}
"""What `decide` does with the event that only concerns this room."""
