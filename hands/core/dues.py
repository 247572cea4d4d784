"""When a trade should end: held long enough, the session's end, an elected stop that does not fill, a wish.

Owns a ticket's exit reason (the first one given stands) and whether an exit could trade now. May not send
anything: that is `hands.core.protection`.
"""

from __future__ import annotations

from hands.core.commands import Alert, AnyCommand
from hands.core.coverage import look_again
from hands.core.freshness import halt_of
from hands.core.state import State
from hands.core.ticket import Ticket
from hands.core.vocab import ExitReason


def notice_dues(state: State, ticket: Ticket) -> None:
    """Notice that the trade should end now: held long enough, the session's end, an elected stop that did not fill."""
    if (
        ticket.basis
        or ticket.exit_reason is not None
        or ticket.owned <= 0
        or ticket.opened_ns is None
        or ticket.plan is None
    ):
        return
    limits = state.limits.effective(ticket.agent, ticket.symbol)
    dues: list[tuple[int, ExitReason, str]] = []
    if ticket.max_hold_ns is not None:
        dues.append((ticket.opened_ns + ticket.max_hold_ns, ExitReason.TIME, "max_hold_seconds is over"))
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


def stands_in_halt(state: State, ticket: Ticket) -> bool:
    """Whether shares are halted at the venue: nothing of them trades, so nothing is sent or cancelled; looks again."""
    coins = ticket.plan is not None and ticket.plan.is_crypto
    if coins or halt_of(state, ticket.symbol) is None:
        return False
    look_again(state, ticket)
    return True


def tell_of_halt(state: State, ticket: Ticket, out: list[AnyCommand]) -> None:
    """Tell the operator, once per halt, that a stop does not act while its symbol is halted."""
    halt = halt_of(state, ticket.symbol)
    if halt is None or ticket.owned <= 0 or ticket.halt_told_ns == halt.since_ns:
        return
    ticket.halt_told_ns = halt.since_ns
    state.touch(ticket)
    message = f"{ticket.symbol}: its stop does not act while the symbol is halted; an exit waits until it trades again"
    out.append(Alert(level="warning", code="STOP_IN_HALT", message=message))


def can_exit_now(state: State, ticket: Ticket) -> bool:
    """Equities exit in the regular session and not into a halt; else protection stays and the exit waits."""
    if ticket.plan is not None and ticket.plan.is_crypto:
        return True
    if stands_in_halt(state, ticket):
        return False
    session = state.session
    if session is not None and session.is_open_at(state.now_ns):
        return True
    if session is not None and session.next_open_ns > state.now_ns:
        state.wake_at(session.next_open_ns, "ticket", ticket.intent_id)
    return False
