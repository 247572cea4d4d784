"""What is ours and what is not: the venue's whole truth held against our book.

Owns reconciliation (at start, and after every gap in the trade stream) and the list of symbols where anybody else
holds or works something. The one idea: ours is what carries our id prefix, its legs, and what those filled;
nothing else is ever sold, protected or counted. Differences shrink our book, or stop entries and are told.
"""

from __future__ import annotations

import msgspec

from hands.core.breakers import OPERATOR, set_reason
from hands.core.commands import Alert, AnyCommand, CancelOrder
from hands.core.events import PositionSnapshot, TruthReport, VenueOrder
from hands.core.groups import doubt, note_read
from hands.core.ledger_rows import order_record
from hands.core.orders import is_ours
from hands.core.pursuit import cancel
from hands.core.reports import absorb, deny, freeze
from hands.core.sizing import mark_price
from hands.core.state import State
from hands.core.strays import find_or_adopt, suspects_of
from hands.core.ticket import DOUBT_NS, Order, Ticket
from hands.core.units import NS_PER_S, Ns, Qty, decimal_text, mul_floor
from hands.core.venue_rules import CRYPTO_MIN_NOTIONAL
from hands.core.vocab import ExitReason, Leg, OrderClass, OrderStatus, TradingState

QUIET_NS = NS_PER_S
"""A trade that filled this shortly before a snapshot was asked for is not compared with it."""

EVIDENCE_MAX = 2_000
"""Characters of evidence kept with a reason; the log has all of it."""


def reconcile(state: State, event: TruthReport, out: list[AnyCommand]) -> bool:
    """Merge the venue's truth; afterwards the book says what the venue says, or the operator knows why not.

    A snapshot that a later question has overtaken is not merged: False.
    """
    if event.asked_ns < state.truth_of_ns:
        return False
    state.truth_of_ns = event.asked_ns
    foreign: dict[str, str] = {}
    for report in event.orders:
        _merge_order(state, event, report, foreign, out)
    for client_order_id in event.missing:
        found = state.find_order(client_order_id)
        if found is not None:
            deny(state, found[0], found[1], out)
    _compare_positions(state, event, foreign, out)
    for symbol in sorted(state.foreign.keys() - foreign.keys()):
        if state.foreign_seen_ns.get(symbol, 0) < event.asked_ns:  # else this snapshot is older than the news
            del state.foreign[symbol]
    for symbol, what in foreign.items():
        note_foreign(state, symbol, what, out)
    state.positions = {position.symbol: position for position in event.positions}
    state.reconciled = True
    return True


def note_foreign(state: State, symbol: str, what: str, out: list[AnyCommand]) -> None:
    """Note that somebody else holds or works something on a symbol; the first time on one of ours, tell the operator."""
    if symbol in state.limits.allow and symbol not in state.foreign:
        out.append(Alert(level="info", code="FOREIGN", message=f"{symbol}: {what}; no entries there"))
    state.foreign[symbol] = what
    state.foreign_seen_ns[symbol] = state.now_ns


def _merge_order(
    state: State, event: TruthReport, report: VenueOrder, foreign: dict[str, str], out: list[AnyCommand]
) -> None:
    found = find_or_adopt(state, report, out) or adopt_successor(state, report, out)
    if found is not None:
        ticket, order = found
        absorb(state, ticket, order, report, out)
        if order.is_group and report.legs:
            note_read(state, ticket, order, report, event.asked_ns, out)
        if not ticket.is_live and order.is_live:
            cancel_orphan(state, report, out)
        return
    if is_ours(report.client_order_id):
        cancel_orphan(state, report, out)
        if report.filled_qty:
            held = next((p.qty for p in event.positions if p.symbol == report.symbol), 0)
            detail = (
                f"{report.symbol}: the venue holds {decimal_text(held)}, we have"
                f" {decimal_text(state.holding(report.symbol))}; {report.client_order_id} (order {report.order_id}) is"
                f" {report.status_text} and filled {decimal_text(report.filled_qty)}, which the journal does not know"
            )
            unexplained(state, report.client_order_id, detail, out)
        return
    if report.status is None or not report.status.is_terminal:
        foreign[report.symbol] = f"an order that is not ours works there ({report.order_id})"


def unexplained(state: State, client_order_id: str, detail: str, out: list[AnyCommand]) -> None:
    """Latch UNEXPLAINED_POSITION; of what is found later each order is added to its evidence, once, and told."""
    known = state.reasons.get("UNEXPLAINED_POSITION")
    if known is None:
        set_reason(state, out, "UNEXPLAINED_POSITION", TradingState.REDUCE_ONLY, OPERATOR, detail)
    elif client_order_id not in known.detail and len(known.detail) < EVIDENCE_MAX:
        more = msgspec.structs.replace(known, detail=f"{known.detail}; {detail}")
        state.reasons["UNEXPLAINED_POSITION"] = state.changed["reason", "UNEXPLAINED_POSITION"] = more
        out.append(Alert(level="critical", code="UNEXPLAINED_POSITION", message=detail))


# --- our own, under another name -----------------------------------------------------------------------------


def adopt_successor(state: State, report: VenueOrder, out: list[AnyCommand]) -> tuple[Ticket, Order] | None:
    """Take over the order by which somebody replaced one of ours in the broker's app; None where it is none.

    The venue gives it new ids and lets it go on with the fills of the old one. A leg's successor is found by reading its
    group, and so is a pair's: without its legs it would leave the stop out. One that is not in force yet is not taken:
    the change may still be refused, and the old order live on. An entry that asks for more than was approved is ended at
    once: nobody has checked that.
    """
    found = None if report.replaces is None else state.find_order("", report.replaces)
    if found is None or not _has_taken_over(found[1], report):
        return None
    ticket, order = found
    if report.filled_qty < order.filled_qty:
        freeze(state, ticket, f"{order.leg} order: its successor has lost what it had filled", out)
        return None
    _rename(state, ticket, order, report, out)
    message = (
        f"{ticket.symbol}: our {order.leg} order was changed elsewhere: now {decimal_text(report.qty)} at"
        f" {_at(report)}; it stays ours"
    )
    if order.leg is Leg.ENTRY and _is_beyond_approval(ticket, report):
        ticket.deadline_ns = min(ticket.deadline_ns, state.now_ns)
        message += ", and is cancelled: it asks for more than was approved"
    out.append(Alert(level="warning", code="CHANGED_ELSEWHERE", message=message))
    return ticket, order


def _has_taken_over(order: Order, report: VenueOrder) -> bool:
    is_bare_pair = order.order_class is OrderClass.OCO and not report.legs
    if order.parent is not None or is_bare_pair or report.status is OrderStatus.PENDING_NEW:
        return False
    return report.status is None or not report.status.is_terminal or bool(report.filled_qty)


def _rename(state: State, ticket: Ticket, order: Order, report: VenueOrder, out: list[AnyCommand]) -> None:
    """Let an order go on under its successor's ids, with its fills. Its legs may have others: they are read anew."""
    old, new = order.client_order_id, report.client_order_id
    out.append(order_record(msgspec.structs.replace(order, status=OrderStatus.REPLACED)))
    state.by_client_id.pop(old, None)
    for member in [each for each in ticket.orders.values() if each.parent == old]:
        member.parent = new
        if not member.filled_qty:
            del ticket.orders[member.client_order_id]
            state.by_client_id.pop(member.client_order_id, None)
            state.by_order_id.pop(member.order_id or "", None)
    for execution_id, known in ticket.executions.items():
        if known.client_order_id == old:
            ticket.executions[execution_id] = msgspec.structs.replace(known, client_order_id=new)
    order.client_order_id, order.order_id = new, report.order_id
    order.qty, order.limit_price, order.stop_price = report.qty, report.limit_price, report.stop_price
    order.status = OrderStatus.UNKNOWN  # until what is told now has been merged
    order.cancel_ns, order.query_ns, order.queries, order.missing = None, None, 0, 0
    ticket.orders = {each.client_order_id: each for each in ticket.orders.values()}
    doubt(state, ticket, order)
    state.index_order(order)
    state.touch(ticket)


def _is_beyond_approval(ticket: Ticket, report: VenueOrder) -> bool:
    plan, price = ticket.plan, report.limit_price
    if plan is None or price is None or report.qty > plan.qty:
        return True
    return price > plan.limit_price if ticket.is_long else price < plan.limit_price


def _at(report: VenueOrder) -> str:
    prices = (("limit", report.limit_price), ("stop", report.stop_price))
    return (
        ", ".join(f"{word} {decimal_text(price)}" for word, price in prices if price is not None) or "market"
    )


def cancel_overdue(state: State, out: list[AnyCommand]) -> None:
    """At a start, before the venue is asked anything: cancel what the last session left working past its deadline."""
    if state.reconciled or state.dry_run:
        return
    for ticket in state.tickets.values():
        entry = ticket.entry
        if entry is not None and entry.is_live and entry.order_id and state.now_ns >= ticket.deadline_ns:
            cancel(state, ticket, entry, out)


# --- nobody's, and everybody else's --------------------------------------------------------------------------


def cancel_orphan(state: State, report: VenueOrder, out: list[AnyCommand]) -> None:
    """Cancel an open entry of ours that no live ticket answers for. Its exits, if any, are left to protect.

    A dry run sends nothing: the order is most likely that of a real daemon beside it.
    """
    if state.dry_run or report.status is None or report.status.is_terminal or not _is_entry(report):
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
        if not position.qty or state.live_on(symbol) or _is_dust(state, position):
            continue
        if _ended_lately(state, symbol, event.asked_ns):
            _compare_again(state)
        else:
            what = f"a holding of {decimal_text(position.qty)} that is not ours"
            foreign[symbol] = f"{foreign[symbol]}; {what}" if symbol in foreign else what
    told = {order.order_id for head in event.orders for order in (head, *head.legs)}
    for ticket in list(state.tickets.values()):
        if not ticket.is_committed or not ticket.received_qty or ticket.basis:
            continue
        entry = ticket.entry
        found = held.get(ticket.symbol)
        qty = (0 if found is None else found.qty) * (1 if ticket.is_long else -1)
        if entry is None or entry.is_live or ticket.owned <= 0:
            continue
        if qty == ticket.owned:
            ticket.doubted_qty = Qty(0)  # the snapshot agrees: whatever was doubted, was there
            continue
        if _moved_lately(ticket, event.asked_ns) or any(
            order.is_live and order.order_id not in told for order in ticket.exits
        ):
            _compare_again(state)  # an exit may be filling: with its own word the numbers will agree
        else:
            _compare(state, ticket, qty, event, foreign, out)


def _compare_again(state: State) -> None:
    """Ask for the truth once more when things have settled."""
    state.wake_at(state.now_ns + QUIET_NS, "truth", "")


def _is_dust(state: State, position: PositionSnapshot) -> bool:
    """Whether a holding is coins that the venue would not sell: what our trades leave behind is nobody's business."""
    if "/" not in position.symbol:
        return False
    index = state.market.index.get(position.symbol)
    quote = None if index is None else state.market.quote(index)
    price = position.avg_price if quote is None or quote.bid is None else max(quote.bid, position.avg_price)
    return 0 <= mul_floor(price, position.qty) < CRYPTO_MIN_NOTIONAL


def _ended_lately(state: State, symbol: str, asked_ns: int) -> bool:
    """Whether a trade of ours on the symbol ended so shortly before the snapshot that it may still show it."""
    for ticket in reversed(state.finished.values()):
        if (ticket.closed_ns or 0) <= asked_ns - QUIET_NS:
            return False  # they stand in the order in which they ended
        if ticket.last_fill_ns and ticket.symbol == symbol:
            return True
    return False


def _moved_lately(ticket: Ticket, asked_ns: int) -> bool:
    """Whether fills may have happened that the snapshot could not show, or shows and we have not heard of."""
    unsettled = any(order.leg is Leg.EXIT and order.is_live for order in ticket.exits)
    return unsettled or ticket.last_fill_ns > asked_ns - QUIET_NS


def _is_second_witness(ticket: Ticket, lost: int, asked_ns: int) -> bool:
    """Whether an earlier snapshot, not long ago, missed as much: the venue's books may lag behind its own fills."""
    return ticket.doubted_qty == lost and QUIET_NS <= asked_ns - ticket.doubted_ns <= DOUBT_NS


def _has_been_looked_for(ticket: Ticket, event: TruthReport) -> bool:
    """Whether the venue was asked for every exit of ours that may exist and was never written down."""
    answered = {*event.missing, *(order.client_order_id for order in event.orders)}
    return answered.issuperset(suspects_of(ticket))


def _compare(
    state: State, ticket: Ticket, qty: int, event: TruthReport, foreign: dict[str, str], out: list[AnyCommand]
) -> None:
    """Hold the venue's position (in the trade's direction) against what the trade owns."""
    asked_ns = event.asked_ns
    owned = ticket.owned
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
    if not _is_second_witness(ticket, lost, asked_ns) or not _has_been_looked_for(ticket, event):
        if ticket.doubted_qty != lost or asked_ns - ticket.doubted_ns > DOUBT_NS:
            ticket.doubted_qty, ticket.doubted_ns = Qty(lost), Ns(asked_ns)
            state.touch(ticket, receipt=False)
        _compare_again(state)
        return
    ticket.doubted_qty = Qty(0)
    ticket.exit_price_hint = mark_price(state, ticket)
    ticket.written_off = Qty(ticket.written_off + lost)
    # it explains the stop's refusals: one for what is left is placed at once
    ticket.naked_since_ns, ticket.retry_exit_ns = None, state.now_ns
    if ticket.owned == 0 and ticket.exit_reason is None:
        ticket.exit_reason = ExitReason.MANUAL
    state.touch(ticket)
    message = f"{ticket.symbol}: {decimal_text(lost)} of what we owned was sold elsewhere; our exits shrink to the rest"
    out.append(Alert(level="warning", code="SOLD_ELSEWHERE", message=message))
    if qty < 0:
        foreign[ticket.symbol] = f"a position of {decimal_text(qty)} against our trade: not ours"
