"""The trading state's reasons: what sets them, what clears them, and the loss and drawdown breakers.

Owns every change of `state.reasons`, the day's roll, and the measures behind the breakers. A reason is latched
(only the operator clears it), clears at the roll, or clears by itself. Neither state closes a position.
"""

from __future__ import annotations

from hands.core.commands import Alert, AnyCommand, Record
from hands.core.events import OperatorAction, OperatorRequest
from hands.core.sizing import day_loss_allowed, day_loss_usd, sizing_equity, unrealised_usd
from hands.core.state import DayBook, Reason, State
from hands.core.ticket import Ticket
from hands.core.units import NANO, Ns, Usd, mul_floor, usd_text
from hands.core.vocab import TradingState

AUTO, AT_ROLL, OPERATOR = "auto", "roll", "operator"
WATCH_NS = NANO
"""How often open positions are marked against the loss limits between other events: one second."""


def set_reason(
    state: State, out: list[AnyCommand], code: str, worst: TradingState, clears: str, detail: str
) -> None:
    """Set a reason (a second time changes nothing), record it and tell the operator."""
    if code in state.reasons:
        return
    before = state.trading_state
    reason = Reason(code=code, state=worst, since_ns=state.now_ns, clears=clears, detail=detail)
    state.reasons[code] = reason
    if clears != AUTO:
        state.changed["reason", code] = reason
    out.append(Record(table="states", row=_row(state, reason, "set", detail)))
    level = "critical" if worst is TradingState.HALTED or clears == OPERATOR else "warning"
    out.append(Alert(level=level, code=code, message=f"{before} -> {state.trading_state}: {detail}"))


def clear_reason(state: State, out: list[AnyCommand], code: str) -> None:
    """Clear a reason, if it is set, and record that."""
    reason = state.reasons.pop(code, None)
    if reason is None:
        return
    if reason.clears != AUTO:
        state.changed["reason", code] = None
    out.append(Record(table="states", row=_row(state, reason, "cleared", "")))
    out.append(Alert(level="info", code=code, message=f"cleared; now {state.trading_state}"))


def _row(state: State, reason: Reason, event: str, detail: str) -> dict[str, object]:
    return {
        "at_ns": state.now_ns,
        "state": str(state.trading_state),
        "reason": reason.code,
        "event": event,
        "detail": detail,
    }


def hold_reason(state: State, out: list[AnyCommand], code: str, detail: str | None) -> None:
    """Set or clear a self-clearing REDUCE_ONLY reason: `detail` None means it does not hold."""
    if detail is None:
        clear_reason(state, out, code)
    else:
        set_reason(state, out, code, TradingState.REDUCE_ONLY, AUTO, detail)


# --- the operator ------------------------------------------------------------------------------------------


def operate(state: State, event: OperatorRequest, out: list[AnyCommand]) -> None:
    """Carry out an operator's halt or resume. Nobody but the operator reaches this."""
    match event.action:
        case OperatorAction.HALT:
            set_reason(
                state,
                out,
                "OPERATOR",
                TradingState.HALTED,
                OPERATOR,
                event.reason or "halted by the operator",
            )
        case OperatorAction.HALT_FILE:
            set_reason(
                state, out, "HALT_FILE", TradingState.HALTED, OPERATOR, "a HALT file appeared in the folder"
            )
        case OperatorAction.RESUME:
            _resume(state, event, out)
        case OperatorAction.STOP:
            state.stopping = True


def _resume(state: State, event: OperatorRequest, out: list[AnyCommand]) -> None:
    """Clear what is latched; `event.reason` "HALT_FILE" says that the file is still there and keeps its reason."""
    if event.agent is not None:
        book = state.agent_book(event.agent)
        book.faults, book.latched = 0, False
        state.changed["agent", event.agent] = book
        out.append(Alert(level="info", code="AGENT_RESUMED", message=f"agent {event.agent} may trade again"))
        return
    if "DRAWDOWN" in state.reasons:
        state.performance.peak = None  # the operator accepts the loss: measure from here
        state.changed["performance", ""] = state.performance
    for code, reason in sorted(state.reasons.items()):
        if reason.clears == OPERATOR and code != event.reason:
            clear_reason(state, out, code)
    for ticket in state.tickets.values():
        if ticket.frozen:  # the operator has looked
            ticket.frozen = ""
            state.touch(ticket)


# --- the day -----------------------------------------------------------------------------------------------


def roll_day(state: State, out: list[AnyCommand]) -> None:
    """Begin a new trading day if the roll has passed: counters at zero, baselines taken anew."""
    started = state.roll_started_ns(state.now_ns)
    if state.day.started_ns == started and state.day.equity is not None:
        return
    if state.account is None:
        return
    if state.day.started_ns != started:
        state.day = DayBook(started_ns=started, unrealised_at_roll=_open_results(state))
        clear_reason(state, out, "DAILY_LOSS")
    state.day.equity = state.account.equity
    state.changed["day", ""] = state.day
    upcoming = state.next_roll_ns(state.now_ns)
    if upcoming is not None:
        state.wake_at(upcoming, "roll", "")


def _open_results(state: State) -> dict[str, int]:
    """Return each agent's P&L in trades that are still open: earned or lost before the day that begins now."""
    agents = sorted({ticket.agent for ticket in state.committed()})
    return {
        agent: sum(t.realised_usd() for t in state.committed(agent)) + unrealised_usd(state, agent)
        for agent in agents
    }


def book_result(state: State, ticket: Ticket, change: int | None = None) -> None:
    """Add a finished trade's P&L to the day and to the performance; or a `change` of what was booked before."""
    result = ticket.realised_usd() if change is None else change
    if not ticket.received_qty:
        return
    state.day.realised[ticket.agent] = state.day.realised.get(ticket.agent, 0) + result
    state.performance.realised = Usd(state.performance.realised + result)
    state.changed["day", ""] = state.day
    state.changed["performance", ""] = state.performance


def watch_losses(state: State, out: list[AnyCommand]) -> None:
    """Mark the book and trip the daily-loss and drawdown breakers where they are reached."""
    if state.account is None or state.day.equity is None:
        return
    loss, allowed = day_loss_usd(state), day_loss_allowed(state, state.limits.hard)
    if loss > 0 and loss >= allowed:
        detail = f"{usd_text(loss)} USD lost since the roll; {usd_text(allowed)} allowed"
        set_reason(state, out, "DAILY_LOSS", TradingState.REDUCE_ONLY, AT_ROLL, detail)
    performance = state.performance
    if performance.capital is None:
        performance.capital = sizing_equity(state)
        state.changed["performance", ""] = performance
    open_part = sum(ticket.realised_usd() for ticket in state.committed())
    value = performance.capital + performance.realised + open_part + unrealised_usd(state)
    if performance.peak is None or value > performance.peak:
        performance.peak = Usd(value)
        state.changed["performance", ""] = performance
    fall = performance.peak - value
    if fall > 0 and fall >= mul_floor(performance.peak, state.limits.hard.max_drawdown):
        detail = f"{usd_text(fall)} USD below the peak of {usd_text(performance.peak)}"
        set_reason(state, out, "DRAWDOWN", TradingState.HALTED, OPERATOR, detail)


def keep_watching(state: State) -> None:
    """Ask to be woken at the next whole second while anything is open: one timer, however often it is asked for."""
    if state.committed():
        state.wake_at(Ns((state.now_ns // WATCH_NS + 1) * WATCH_NS), "watch", "")


# --- agents ------------------------------------------------------------------------------------------------


def count_fault(state: State, out: list[AnyCommand], agent: str, most: int) -> None:
    """Count one more faulty document in a row; at `most` the agent is latched until the operator resumes it."""
    book = state.agent_book(agent)
    book.faults += 1
    if book.faults >= most and not book.latched:
        book.latched = True
        message = f"agent {agent}: {book.faults} faulty documents in a row; `hands resume --agent {agent}` clears it"
        out.append(Alert(level="warning", code="AGENT_LATCHED", message=message))
    state.changed["agent", agent] = book


def forgive(state: State, agent: str) -> None:
    """An accepted document ends the row of faults."""
    book = state.agent_book(agent)
    if book.faults:
        book.faults = 0
        state.changed["agent", agent] = book
