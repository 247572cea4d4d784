"""Upkeep: what one ticket needs now, whatever made somebody look.

Owns the fork between a touch that waits and a trade that is supervised. May not decide what a trade needs: that is
`hands.core.protection`. The one idea: every event that concerns a trade ends here, so none can forget a part of it.
"""

from __future__ import annotations

from hands.core.breakers import keep_watching, watch_losses
from hands.core.commands import AnyCommand
from hands.core.ledger_rows import intent_record
from hands.core.protection import supervise
from hands.core.state import State
from hands.core.ticket import Ticket
from hands.core.vocab import TradeState
from hands.core.watch import disarm

Out = list[AnyCommand]


def look_after(state: State, ticket: Ticket, out: Out) -> None:
    """Do what a ticket needs now: an armed one may have waited long enough, any other is supervised."""
    if ticket.state is TradeState.ARMED:
        arming = ticket.arming
        if arming is None or state.now_ns >= arming.until_ns:
            disarm_ticket(state, ticket, TradeState.EXPIRED, "its price was not touched in time", out)
        return
    supervise(state, ticket, out)
    watch_losses(state, out)
    keep_watching(state)


def disarm_ticket(state: State, ticket: Ticket, ended: TradeState, message: str, out: Out) -> None:
    disarm(state, ticket.intent_id, "touch")
    ticket.state, ticket.message, ticket.closed_ns = ended, message, state.now_ns
    state.finish(ticket)
    out.append(intent_record(ticket))
