"""How a ticket ends: flat after a trade, or without ever having filled.

Owns the transition out of the live book and everything that is booked with it: the day's result, the episode,
the cooldown, the trade given back when nothing filled. May not send anything.
"""

from __future__ import annotations

from hands.core.breakers import book_result
from hands.core.budgets import spend, unspend
from hands.core.commands import Alert, AnyCommand
from hands.core.ledger_rows import episode_record, intent_record, realised_reason
from hands.core.sizing import counts_as_trade, mark_price
from hands.core.state import State, StoppedOut
from hands.core.ticket import Ticket
from hands.core.units import Qty, decimal_text
from hands.core.vocab import ExitReason, OrderStatus, TradeState


def wind_up(state: State, ticket: Ticket, out: list[AnyCommand]) -> None:
    """End a ticket with nothing owned (but dust) and nothing live."""
    if ticket.owned > 0:
        _write_off(state, ticket, out)
    ticket.closed_ns = state.now_ns
    if ticket.received_qty:
        ticket.state = TradeState.CLOSED
        ticket.exit_reason = realised_reason(ticket)
        if ticket.exit_reason is ExitReason.STOP_LOSS:
            state.stopped_out[ticket.symbol] = state.now_ns
            state.changed["stopped_out", ticket.symbol] = StoppedOut(at_ns=state.now_ns)
        book_result(state, ticket)
        episode = episode_record(ticket)
        if episode is not None:
            out.append(episode)
    else:
        ticket.state, ticket.message = _unfilled_end(state, ticket)
    give_back(state, ticket)
    state.finish(ticket)
    out.append(intent_record(ticket))


def _write_off(state: State, ticket: Ticket, out: list[AnyCommand]) -> None:
    """Book what is too small for the venue to sell at the price it could be sold for, and let it go."""
    mark = mark_price(state, ticket)
    message = (
        f"{ticket.symbol}: {decimal_text(ticket.owned)} is below the venue's minimum and stays in the account"
    )
    if ticket.exit_price_hint is None:
        ticket.exit_price_hint = mark
    ticket.written_off = Qty(ticket.written_off + ticket.owned)
    if ticket.exit_reason is None and not ticket.exit_filled:
        ticket.exit_reason = ExitReason.LIQUIDATED
    out.append(Alert(level="info", code="DUST", message=message))


def _unfilled_end(state: State, ticket: Ticket) -> tuple[TradeState, str]:
    entry = ticket.entry
    refused = entry is not None and entry.status is OrderStatus.REJECTED and entry.order_id is None
    if (
        entry is not None
        and refused
        and entry.refusal
        and not entry.refusal.startswith(("not sent", "the venue has"))
    ):
        return TradeState.VENUE_REJECTED, f"the venue refused the order: {entry.refusal}"
    if entry is not None and entry.status is OrderStatus.REJECTED and entry.order_id is not None:
        return TradeState.VENUE_REJECTED, "the venue rejected the order"
    if entry is not None and refused and entry.refusal:
        return TradeState.EXPIRED, f"never filled: {entry.refusal}"
    if ticket.cancel_note:
        return TradeState.CANCELED, f"{ticket.cancel_note}, unfilled"
    if state.now_ns < ticket.deadline_ns:
        return TradeState.CANCELED, "cancelled before its deadline, unfilled"
    return TradeState.EXPIRED, "its deadline passed and nothing was filled"


def reopen(state: State, ticket: Ticket) -> None:
    """Undo what a ticket's end booked: it is not over after all. Its result is booked again when it is."""
    if ticket.state is TradeState.CLOSED:
        book_result(state, ticket, -ticket.realised_usd())
    elif _taken_today(state, ticket):  # it had been given back as unfilled
        spend(state, ticket)
    ticket.closed_ns = None


def give_back(state: State, ticket: Ticket) -> None:
    """Return a trade to the day's budget if nothing filled and it was taken since the roll."""
    taken = state.day.trades.get(ticket.agent, 0)
    if taken and not counts_as_trade(ticket) and _taken_today(state, ticket):
        unspend(state, ticket)


def _taken_today(state: State, ticket: Ticket) -> bool:
    """Whether a trade was approved since the roll; a touch may have been received long before."""
    entry = ticket.entry
    return entry is not None and entry.created_ns >= state.day.started_ns
