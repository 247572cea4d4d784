"""The price basis: splits and new names, recognised before anything is sent on prices that mean nothing any more.

Owns the doubt (`Ticket.basis_due_ns`), the verdict (`Ticket.basis`) and what may still be done then. May not sell or
protect. The one idea: such a thing shows as protection that ends without our asking and a position whose quantity has
changed while its cost has not; so when protection of shares ends like that, the venue's truth is looked at first, for a
part of the time that a position may be bare. Once the basis has changed no stop or target of the old one is placed and
no exit follows from a price: the trade is frozen, entries end, and what rests at the venue is left to the venue.

The way out is the operator's. `close` and `flatten` sell what the trade holds by the new count (not under a new name:
that is another symbol, and nobody's order of ours). `resume` lets the trade go: it ends at the value of now, and what it
held is the owner's, who may have it adopted with a stop of the new basis.
"""

from __future__ import annotations

from hands.core.breakers import OPERATOR, set_reason
from hands.core.commands import Alert, AnyCommand
from hands.core.events import Asset, AssetsReport, PositionSnapshot, TruthReport
from hands.core.groups import is_replaced
from hands.core.pursuit import ask_for_truth
from hands.core.sizing import mark_price
from hands.core.state import State
from hands.core.ticket import Order, Ticket
from hands.core.units import NANO, NS_PER_S, Price, Qty, decimal_text
from hands.core.vocab import ExitReason, Leg, OrderStatus, TradingState

LEAST_CHANGE = 100
"""By how much (1/100) the cost of one share must have changed to be another basis."""

SETTLED_NS = NS_PER_S
"""A trade that filled this shortly before a snapshot was asked for is not judged by it."""

_BY_PEOPLE = frozenset({ExitReason.MANUAL, ExitReason.HALT})
_ENDED = frozenset({OrderStatus.CANCELED, OrderStatus.REPLACED})


# --- the doubt ---------------------------------------------------------------------------------------------


def note_end(state: State, ticket: Ticket, order: Order) -> None:
    """Note that the venue ended an order that protects shares, and nobody here had asked for it."""
    entry, plan = ticket.entry, ticket.plan
    if plan is None or plan.is_crypto or entry is None or order.leg not in (Leg.TAKE_PROFIT, Leg.STOP_LOSS):
        return
    of_entry = order.parent == entry.client_order_id
    ended_by_entry = entry.is_live or (of_entry and entry.status is not OrderStatus.FILLED)
    began_ns = (
        order.first_ns or order.created_ns
    )  # what was cancelled or sold before it stood explains nothing
    asked = any(each.cancel_ns is not None and each.cancel_ns >= began_ns for each in ticket.orders.values())
    sold = any(each.filled_qty and each.created_ns >= began_ns for each in ticket.exits)
    explained = ended_by_entry or asked or sold or is_replaced(ticket, order)
    if order.status in _ENDED and not explained:
        ticket.basis_due_ns = state.now_ns


def is_unsure(state: State, ticket: Ticket, out: list[AnyCommand]) -> bool:
    """Whether protection waits for the venue's truth: for three quarters of the bound at most, then it is placed.

    A snapshot that shows what is owned settles it at once; one that shows anything else so soon after a fill may only be
    late, and another is waited for.
    """
    since = ticket.basis_due_ns
    if since is None:
        return False
    bound = state.limits.effective(ticket.agent, ticket.symbol).unprotected_max_ms
    until = since + bound * 3 // 4
    telling_ns = max(since, ticket.last_fill_ns + SETTLED_NS)  # from when on a snapshot can be judged by
    agrees = state.truth_of_ns >= since and _shown(state, ticket) == ticket.owned
    if ticket.owned <= 0 or agrees or state.truth_of_ns >= telling_ns or state.now_ns >= until:
        ticket.basis_due_ns = None
        return False
    if state.now_ns < telling_ns:
        state.wake_at(telling_ns, "ticket", ticket.intent_id)
    asked_ns, news_ns = state.truth_asked_ns, telling_ns if state.now_ns >= telling_ns else since
    if asked_ns is None or asked_ns < news_ns:
        ask_for_truth(
            state, f"{ticket.symbol}: what protected it ended, and nobody here asked for it", out, 0
        )
    state.wake_at(until, "ticket", ticket.intent_id)
    return True


def _shown(state: State, ticket: Ticket) -> int:
    position = state.positions.get(ticket.symbol)
    return 0 if position is None else position.qty * (1 if ticket.is_long else -1)


# --- the verdict -------------------------------------------------------------------------------------------


def judge(state: State, event: TruthReport, out: list[AnyCommand]) -> None:
    """Hold every trade in shares against the venue's positions, before they are compared for what was sold."""
    held = {position.symbol: position for position in event.positions}
    for ticket in list(state.tickets.values()):
        if not _may_be_judged(ticket, event.asked_ns):
            continue
        position = held.get(ticket.symbol)
        qty = 0 if position is None else position.qty * (1 if ticket.is_long else -1)
        if position is not None and qty > 0:
            if _is_split(ticket, qty, position):
                _split(state, ticket, qty, out)
        elif (successor := _renamed(state, ticket, held)) is not None:
            ticket.renamed = True
            _freeze(state, ticket, successor, out)


def _may_be_judged(ticket: Ticket, asked_ns: int) -> bool:
    entry, plan = ticket.entry, ticket.plan
    if plan is None or plan.is_crypto or entry is None or entry.is_live or ticket.basis or ticket.owned <= 0:
        return False
    exiting = any(order.leg is Leg.EXIT and order.is_live for order in ticket.exits)
    return not exiting and ticket.last_fill_ns <= asked_ns - SETTLED_NS


def _cost_of_one(ticket: Ticket) -> int:
    owned, cost, _ = ticket.result()
    return cost * NANO // owned if owned > 0 else 0


def _is_split(ticket: Ticket, qty: int, position: PositionSnapshot) -> bool:
    """Whether the quantity changed as much as one share's cost did, the other way; a fraction may be paid out."""
    ours, theirs = _cost_of_one(ticket), position.avg_price
    if ours <= 0 or theirs <= 0 or qty == ticket.owned or abs(ours - theirs) * LEAST_CHANGE < ours:
        return False
    expected = ticket.owned * ours // theirs
    return abs(qty - expected) <= max(NANO, expected // (2 * LEAST_CHANGE))


def _renamed(state: State, ticket: Ticket, held: dict[str, PositionSnapshot]) -> str | None:
    """Return what became of a holding that vanished: the same quantity at the same cost under a name that is new."""
    ours, asset = _cost_of_one(ticket), state.assets.get(ticket.symbol)
    for symbol, position in sorted(held.items()):
        known = state.reconciled and symbol in state.positions
        same_qty = abs(position.qty) == ticket.owned and (position.qty > 0) is ticket.is_long
        if not known and same_qty and abs(position.avg_price - ours) * LEAST_CHANGE <= ours:
            return f"its {decimal_text(ticket.owned)} are now {symbol}: the symbol has changed"
    if asset is not None and asset.status != "active":
        return f"the venue lists it as {asset.status} and the holding is gone from under this name"
    return None


def _split(state: State, ticket: Ticket, qty: int, out: list[AnyCommand]) -> None:
    """Count in the new shares from now on; their cost is what it was."""
    before = ticket.owned
    ticket.received_qty = Qty(ticket.received_qty + qty - before)
    why = f"{decimal_text(before)} became {decimal_text(qty)} at the same cost: a split, and the price basis has changed"
    _freeze(state, ticket, why, out)


def _freeze(state: State, ticket: Ticket, why: str, out: list[AnyCommand]) -> None:
    ticket.basis = ticket.frozen = why
    ticket.basis_due_ns, ticket.doubted_qty, ticket.close_qty = None, Qty(0), Qty(0)
    if ticket.exit_reason is not None and ticket.exit_reason not in _BY_PEOPLE:
        ticket.exit_reason, ticket.exit_since_ns, ticket.exit_note = None, None, ""
    state.touch(ticket)
    out_of_it = (
        "sell it in the broker's app, then `hands resume`"
        if ticket.renamed
        else "`hands close` sells it; `hands resume` lets it go, and `hands adopt` takes it up with a new stop"
    )
    detail = f"{ticket.symbol}, intent {ticket.intent_id}: {why}. It has no stop of ours: {out_of_it}"
    set_reason(state, out, "PRICE_BASIS", TradingState.REDUCE_ONLY, OPERATOR, detail)


# --- listings ----------------------------------------------------------------------------------------------


def tell_of_listings(state: State, event: AssetsReport, out: list[AnyCommand]) -> None:
    """Tell the operator, once, that the venue does not let a symbol be traded any more that a trade holds."""
    for asset in event.assets:
        before = state.assets.get(asset.symbol)
        if _trades(asset) or (before is not None and not _trades(before)):
            continue
        for ticket in state.live_on(asset.symbol):
            if ticket.owned > 0:
                listed = f"{asset.status}, {'' if asset.tradable else 'not '}tradable"
                message = (
                    f"{asset.symbol}: the venue lists it as {listed}; {decimal_text(ticket.owned)} are held, and their"
                    " stop may not act"
                )
                out.append(Alert(level="critical", code="ASSET_INACTIVE", message=message))


def _trades(asset: Asset) -> bool:
    return asset.status == "active" and asset.tradable


# --- what may still be done --------------------------------------------------------------------------------


def let_go(state: State, ticket: Ticket) -> None:
    """Once the operator has looked (`resume`), give the holding back to its owner; the trade ends at what it is worth."""
    if not ticket.basis or ticket.frozen or ticket.owned <= 0 or _is_being_closed(ticket):
        return
    mark = None if ticket.renamed else mark_price(state, ticket)
    # where nothing is known of its worth it is given back at its cost
    ticket.exit_price_hint = Price(_cost_of_one(ticket)) if mark is None else mark
    ticket.written_off = Qty(ticket.written_off + ticket.owned)
    ticket.exit_reason = ticket.exit_reason or ExitReason.MANUAL
    ticket.exit_note = "its price basis changed and it was given back to its owner"
    state.touch(ticket)


def _is_being_closed(ticket: Ticket) -> bool:
    return ticket.exit_reason in _BY_PEOPLE and not ticket.renamed


def stands_still(ticket: Ticket) -> bool:
    """Whether nothing may be sent for what a trade owns, because its prices mean nothing any more."""
    return bool(ticket.basis) and not _is_being_closed(ticket)
