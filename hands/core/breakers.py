"""The trading state's reasons: what sets them, what clears them, and the loss and drawdown breakers.

Owns every change of `state.reasons`, the day's roll, and the measures behind the breakers. A reason is latched
(only the operator clears it), clears at the roll, or clears by itself. Neither state closes a position.
"""

from __future__ import annotations

import msgspec

from hands.core.commands import Alert, AnyCommand, Record
from hands.core.sizing import (
    Used,
    day_loss_allowed,
    day_loss_usd,
    sizing_equity,
    unrealised_usd,
    used,
)
from hands.core.state import DayBook, Reason, State
from hands.core.ticket import Order, Ticket
from hands.core.units import NANO, Ns, Usd, mul_floor, usd_text
from hands.core.vocab import Leg, OrderStatus, TradingState

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


def reword_reason(state: State, out: list[AnyCommand], reason: Reason, detail: str) -> None:
    """Let a reason that is set say something else, and record that; it holds since it was set."""
    state.reasons[reason.code] = reworded = msgspec.structs.replace(reason, detail=detail)
    if reason.clears != AUTO:
        state.changed["reason", reason.code] = reworded
    out.append(Record(table="states", row=_row(state, reworded, "set", detail)))


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


# --- the day -----------------------------------------------------------------------------------------------


def roll_day(state: State, out: list[AnyCommand]) -> None:
    """Begin a new trading day if the roll has passed: counters at zero, baselines taken anew."""
    started = state.roll_started_ns(state.now_ns)
    if state.day.started_ns == started and state.day.equity is not None:
        return
    if state.account is None:
        return
    if state.day.started_ns < started:
        state.day = DayBook(started_ns=started, unrealised_at_roll=_open_results(state))
        clear_reason(state, out, "DAILY_LOSS")
    else:  # the clock was set back, or the roll moved: what was counted counts on
        state.day.started_ns = started
    if state.day.equity is None:
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
    now = used(state)  # once for all that follows: this runs every second
    loss = day_loss_usd(state, None, now)
    if loss > 0 and loss >= (allowed := day_loss_allowed(state, state.limits.hard)):
        detail = f"{usd_text(loss)} USD lost since the roll; {usd_text(allowed)} allowed"
        set_reason(state, out, "DAILY_LOSS", TradingState.REDUCE_ONLY, AT_ROLL, detail)
    _watch_agents(state, out)
    performance = state.performance
    if performance.capital is None:
        performance.capital = sizing_equity(state)
        state.changed["performance", ""] = performance
    value = _worth(state, performance.capital, now)
    if performance.peak is None or value > performance.peak:
        performance.peak = Usd(value)
        state.changed["performance", ""] = performance
    fall = performance.peak - value
    if fall > 0 and fall >= mul_floor(performance.peak, state.limits.hard.max_drawdown):
        detail = f"{usd_text(fall)} USD below the peak of {usd_text(performance.peak)}"
        set_reason(state, out, "DRAWDOWN", TradingState.HALTED, OPERATOR, detail)


def _watch_agents(state: State, out: list[AnyCommand]) -> None:
    """Stop the agents that have lost all that they may lose themselves, until the roll."""
    day, agents = state.day, state.limits.agents
    if not agents or (not day.realised and not state.committed()):
        return
    for agent, own in agents.items():
        loss, allowed = day_loss_usd(state, agent), day_loss_allowed(state, own.limits)
        if 0 < loss >= allowed and agent not in day.stopped:
            day.stopped = (*day.stopped, agent)
            state.changed["day", ""] = day
            message = f"agent {agent}: {usd_text(loss)} USD lost since the roll; {usd_text(allowed)} allowed: no entries before the next"
            out.append(Alert(level="warning", code="AGENT_DAILY_LOSS", message=message))


def _worth(state: State, capital: int, now: Used) -> int:
    """Return the capital at the first start and everything that was earned or lost since, realised or not."""
    return capital + state.performance.realised + now.realised + now.unrealised


def drawdown(state: State) -> tuple[Usd, Usd] | None:
    """Return how far below its peak the worth is and how far it may be; None before anything was measured."""
    capital, peak = state.performance.capital, state.performance.peak
    if capital is None or peak is None:
        return None
    fall = max(0, peak - _worth(state, capital, used(state)))
    return Usd(fall), Usd(mul_floor(peak, state.limits.hard.max_drawdown))


def keep_watching(state: State) -> None:
    """Ask to be woken at the next whole second while anything is open: one timer, however often it is asked for."""
    if state.stakes.any:
        state.wake_at(Ns((state.now_ns // WATCH_NS + 1) * WATCH_NS), "watch", "")


# --- the venue ---------------------------------------------------------------------------------------------

_TAKEN = frozenset(
    {OrderStatus.NEW, OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED}
)  # what only an entry that the venue has accepted can be


def venue_answered(state: State, order: Order, out: list[AnyCommand]) -> None:
    """Count entries that the venue rejects one after the other; one that it takes ends the row."""
    book = state.breakers
    if order.leg is not Leg.ENTRY or (order.status in _TAKEN and not book.venue_rejections):
        return
    if order.status is OrderStatus.REJECTED:
        book.venue_rejections += 1
    elif order.status in _TAKEN:
        book.venue_rejections = 0
    else:
        return
    state.changed["breakers", ""] = book
    if book.venue_rejections >= state.venue_rejections_max:
        last = f"{order.symbol}: {order.refusal or 'no reason given'}"
        detail = f"the venue rejected {book.venue_rejections} entries in a row; the last, {last}"
        set_reason(state, out, "REJECTION_STORM", TradingState.REDUCE_ONLY, OPERATOR, detail)


# --- agents ------------------------------------------------------------------------------------------------


def count_fault(state: State, out: list[AnyCommand], agent: str, most: int) -> None:
    """Count one more faulty document in a row; at `most` the agent is latched until the operator resumes it."""
    book = state.agent_book(agent)
    book.faults += 1
    state.changed["agent", agent] = book
    latch_agent(state, out, agent, most)


def latch_agent(state: State, out: list[AnyCommand], agent: str, most: int) -> None:
    """Latch an agent that has reached `most` faults in a row."""
    book = state.agent_book(agent)
    if book.faults >= most and not book.latched:
        book.latched = True
        state.changed["agent", agent] = book
        message = f"agent {agent}: {book.faults} faulty documents in a row; `hands resume --agent {agent}` clears it"
        out.append(Alert(level="warning", code="AGENT_LATCHED", message=message))


def forgive(state: State, agent: str) -> None:
    """An accepted document ends the row of faults."""
    book = state.agent_book(agent)
    if book.faults:
        book.faults = 0
        state.changed["agent", agent] = book
