"""What is ours and what is not: the venue's whole truth held against our book.

Owns reconciliation (at start, and after every gap in the trade stream) and the list of symbols where anybody else
holds or works something. The one idea: ours is what carries our id prefix, its legs, and what those filled;
nothing else is ever sold, protected or counted. Differences shrink our book, or stop entries and are told.
"""

from __future__ import annotations

from hands.core.breakers import OPERATOR, set_reason
from hands.core.commands import Alert, AnyCommand, CancelOrder
from hands.core.events import TruthReport, VenueOrder
from hands.core.orders import is_ours
from hands.core.reports import absorb
from hands.core.sizing import mark_price
from hands.core.state import State
from hands.core.ticket import Ticket
from hands.core.units import NS_PER_S, Qty, decimal_text
from hands.core.vocab import ExitReason, Leg, TradingState

QUIET_NS = 2 * NS_PER_S
"""A trade that filled this shortly before a snapshot was asked for is not compared with it."""


def reconcile(state: State, event: TruthReport, out: list[AnyCommand]) -> None:
    """Merge the venue's truth; afterwards the book says what the venue says, or the operator knows why not."""
    foreign: dict[str, str] = {}
    for report in event.orders:
        _merge_order(state, report, foreign, out)
    for client_order_id in event.missing:
        found = state.find_order(client_order_id)
        if found is not None and found[1].is_live:
            found[1].missing += 1
            state.touch(found[0], receipt=False)
    _compare_positions(state, event, foreign, out)
    for symbol, what in foreign.items():
        if symbol in state.limits.allow and symbol not in state.foreign:
            out.append(Alert(level="info", code="FOREIGN", message=f"{symbol}: {what}; no entries there"))
    state.foreign = foreign
    state.positions = {position.symbol: position for position in event.positions}
    state.reconciled = True


def _merge_order(state: State, report: VenueOrder, foreign: dict[str, str], out: list[AnyCommand]) -> None:
    found = state.find_order(report.client_order_id, report.order_id)
    if found is not None:
        ticket, order = found
        absorb(state, ticket, order, report, out)
        if not ticket.is_live and order.is_live:
            _cancel_orphan(report, out)
        return
    if is_ours(report.client_order_id):
        _cancel_orphan(report, out)
        if report.filled_qty:
            detail = f"{report.symbol}: {report.client_order_id} filled, but the journal does not know it"
            set_reason(state, out, "UNEXPLAINED_POSITION", TradingState.REDUCE_ONLY, OPERATOR, detail)
        return
    if report.status is None or not report.status.is_terminal:
        foreign[report.symbol] = f"an order that is not ours works there ({report.order_id})"


def _cancel_orphan(report: VenueOrder, out: list[AnyCommand]) -> None:
    """Cancel an open entry of ours that no live ticket answers for. Its exits, if any, are left to protect."""
    if report.status is None or report.status.is_terminal or not _is_entry(report):
        return
    out.append(CancelOrder(order_id=report.order_id, client_order_id=report.client_order_id))
    message = f"{report.symbol}: cancelling {report.client_order_id}, which no live trade answers for"
    out.append(Alert(level="warning", code="ORPHAN", message=message))


def _is_entry(report: VenueOrder) -> bool:
    return f"-{Leg.ENTRY}-" in report.client_order_id


def _compare_positions(
    state: State, event: TruthReport, foreign: dict[str, str], out: list[AnyCommand]
) -> None:
    held = {position.symbol: position for position in event.positions}
    for symbol, position in held.items():
        if position.qty and not state.live_on(symbol):
            foreign[symbol] = f"a holding of {decimal_text(position.qty)} that is not ours"
    for ticket in list(state.tickets.values()):
        if not ticket.is_committed or not ticket.received_qty:
            continue
        entry = ticket.entry
        if entry is None or entry.is_live or _moved_lately(ticket, event.asked_ns):
            continue
        found = held.get(ticket.symbol)
        qty = 0 if found is None else found.qty
        _compare(state, ticket, qty if ticket.is_long else -qty, foreign, out)


def _moved_lately(ticket: Ticket, asked_ns: int) -> bool:
    """Whether fills may have happened that the snapshot could not show, or shows and we have not heard of."""
    unsettled = any(order.leg is Leg.EXIT and order.is_live for order in ticket.exits)
    return unsettled or ticket.last_fill_ns > asked_ns - QUIET_NS


def _compare(state: State, ticket: Ticket, qty: int, foreign: dict[str, str], out: list[AnyCommand]) -> None:
    """Hold the venue's position (in the trade's direction) against what the trade owns."""
    owned = ticket.owned
    if qty == owned:
        return
    entry = ticket.entry
    gross_left = 0 if entry is None else entry.filled_qty - ticket.exit_filled - ticket.written_off
    if ticket.plan is not None and ticket.plan.is_crypto and owned < qty <= gross_left:
        ticket.received_qty = Qty(ticket.received_qty + qty - owned)  # the fee was smaller than estimated
        state.touch(ticket)
        return
    if qty > owned:
        foreign[ticket.symbol] = f"{decimal_text(qty - owned)} more than our trade owns: not ours"
        return
    lost = owned - max(0, qty)
    ticket.exit_price_hint = mark_price(state, ticket)
    ticket.written_off = Qty(ticket.written_off + lost)
    if ticket.owned == 0 and ticket.exit_reason is None:
        ticket.exit_reason = ExitReason.MANUAL
    state.touch(ticket)
    message = f"{ticket.symbol}: {decimal_text(lost)} of what we owned was sold elsewhere; our exits shrink to the rest"
    out.append(Alert(level="warning", code="SOLD_ELSEWHERE", message=message))
    if qty < 0:
        foreign[ticket.symbol] = f"a position of {decimal_text(qty)} against our trade: not ours"
