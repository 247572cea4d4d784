"""The operator's hand: halt, reduce, flatten, resume, change a trade, take a holding into care.

Owns what each request means, and its one answer. May not be reached by anybody else: what agents may ask is in
`hands.core.admission`. The one idea: the operator's changes are an agent's (`hands.core.changes`), of any trade and in
any trading state; and what stops trading is set before anything is closed, so that nothing is entered meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

from hands.core import adoption
from hands.core.admission import do_step
from hands.core.breakers import OPERATOR as BY_OPERATOR
from hands.core.breakers import clear_reason, reword_reason, set_reason
from hands.core.changes import OPERATOR, Nothing, Step, Wanted, consider, end, waits_for_open
from hands.core.commands import Alert, AnyCommand, OperatorAnswer
from hands.core.events import OperatorAction, OperatorRequest
from hands.core.state import State
from hands.core.ticket import Ticket
from hands.core.upkeep import disarm_ticket, look_after
from hands.core.vocab import ExitReason, TradeState, TradingState

Out = list[AnyCommand]


def operate(state: State, event: OperatorRequest, out: Out) -> None:
    """Carry out a request of the operator's; its answer is the last thing said about it, and the ledger keeps it."""
    answer = _ACTIONS[event.action](state, event, out)
    if answer.ok and event.action in _TOLD:
        message = f"{event.action}: {answer.message}" + (f" ({event.reason})" if event.reason else "")
        out.append(Alert(level="info", code="OPERATOR_ACT", message=message))
    out.append(answer)


# --- stopping and going on ---------------------------------------------------------------------------------


def _latch(state: State, out: Out, code: str, worst: TradingState, detail: str) -> None:
    """Set a reason of the operator's; asked for again it holds since then, and is told in the newest words."""
    known = state.reasons.get(code)
    if known is None or known.detail == detail:
        set_reason(state, out, code, worst, BY_OPERATOR, detail)
    else:
        reword_reason(state, out, known, detail)


def _halt(state: State, event: OperatorRequest, out: Out) -> OperatorAnswer:
    _latch(state, out, "OPERATOR", TradingState.HALTED, event.reason or "halted by the operator")
    return OperatorAnswer(ok=True, message="trading is HALTED: only the operator acts")


def _halt_file(state: State, _event: OperatorRequest, out: Out) -> OperatorAnswer:
    detail = "a HALT file appeared in the folder"
    set_reason(state, out, "HALT_FILE", TradingState.HALTED, BY_OPERATOR, detail)
    return OperatorAnswer(ok=True, message="trading is HALTED: a HALT file appeared")


def _reduce_only(state: State, event: OperatorRequest, out: Out) -> OperatorAnswer:
    detail = event.reason or "no entries, by the operator's word"
    _latch(state, out, "OPERATOR_REDUCE_ONLY", TradingState.REDUCE_ONLY, detail)
    message = f"trading is {state.trading_state}: nothing is entered, what is held stays protected"
    return OperatorAnswer(ok=True, message=message)


def _stop(state: State, _event: OperatorRequest, _out: Out) -> OperatorAnswer:
    state.stopping = True
    return OperatorAnswer(ok=True, message="stopping: unfilled entries are cancelled, protection stays")


def _resume(state: State, event: OperatorRequest, out: Out) -> OperatorAnswer:
    """Clear what is latched; `event.reason` "HALT_FILE" says that the file is still there and keeps its reason."""
    if event.agent is not None:
        book = state.agent_book(event.agent)
        book.faults, book.latched = 0, False
        state.changed["agent", event.agent] = book
        message = f"agent {event.agent} may trade again"
        out.append(Alert(level="info", code="AGENT_RESUMED", message=message))
        return OperatorAnswer(ok=True, message=message)
    if "DRAWDOWN" in state.reasons:
        state.performance.peak = None  # the operator accepts the loss: measure from here
        state.changed["performance", ""] = state.performance
    if state.breakers.venue_rejections:
        state.breakers.venue_rejections = 0
        state.changed["breakers", ""] = state.breakers
    for code, reason in sorted(state.reasons.items()):
        if reason.clears == BY_OPERATOR and code != event.reason:
            clear_reason(state, out, code)
    for ticket in [each for each in state.tickets.values() if each.frozen]:  # the operator has looked
        ticket.frozen = ""
        state.touch(ticket)
        look_after(state, ticket, out)
    if not state.reasons:
        return OperatorAnswer(ok=True, message="trading is ACTIVE")
    still = "; ".join(
        f"{code} (clears: {reason.clears}): {reason.detail}" for code, reason in sorted(state.reasons.items())
    )
    return OperatorAnswer(ok=False, message=f"trading is still {state.trading_state}: {still}")


def _flatten(state: State, event: OperatorRequest, out: Out) -> OperatorAnswer:
    """Halt, and end everything that lives: what waits, what is being entered, and what is held."""
    symbol = event.target
    if symbol is not None and symbol not in state.market.index and not _live(state, symbol):
        message = f"{symbol}: not a symbol of ours; nothing was done"
        return OperatorAnswer(ok=False, message=message)
    detail = event.reason or f"flattened by the operator: {symbol or 'everything'}"
    _latch(state, out, "FLATTEN", TradingState.HALTED, detail)
    tickets = _live(state, symbol)
    closing = [f"{ticket.symbol}{_waits(state, ticket)}" for ticket in tickets if ticket.owned > 0]
    for ticket in tickets:
        if ticket.state is TradeState.ARMED:
            disarm_ticket(state, ticket, TradeState.CANCELED, "cancelled by the operator: flatten", out)
            continue
        end(state, ticket, ExitReason.HALT, "closed by the operator: flatten")
        state.touch(ticket)
        look_after(state, ticket, out)
    message = f"closing {', '.join(closing)}" if closing else "nothing is held there"
    return OperatorAnswer(
        ok=True,
        message=f"{message}; trading is HALTED",
        intent_ids=tuple(ticket.intent_id for ticket in tickets),
    )


def _waits(state: State, ticket: Ticket) -> str:
    if ticket.plan is None or not waits_for_open(state, ticket.plan):
        return ""
    return " (the market is closed: the stop stays, the exit waits for the open)"


def _live(state: State, symbol: str | None) -> list[Ticket]:
    """Return what lives on a symbol, armed ones too, or on all of them."""
    return [ticket for ticket in state.tickets.values() if symbol is None or ticket.symbol == symbol]


# --- changing a trade --------------------------------------------------------------------------------------


def _change(state: State, event: OperatorRequest, out: Out) -> OperatorAnswer:
    """Change one intent by its id, or what lives on a symbol; an agent's own rules, but of any agent and always."""
    wanted = Wanted(
        kind=str(event.action),
        qty=event.qty,
        stop_loss=event.stop_loss,
        take_profit=event.take_profit,
        max_hold_ns=event.max_hold_ns,
    )
    if wanted.kind == "amend" and wanted.stop_loss is wanted.take_profit is wanted.max_hold_ns is None:
        return OperatorAnswer(ok=False, message="an amend needs a stop, a target or a time")
    tickets = _meant(state, event.target or "", wanted)
    if not tickets:
        return OperatorAnswer(ok=False, message=f"{event.target}: nothing of ours lives there")
    steps = [(ticket, consider(state, ticket, wanted)) for ticket in tickets]
    done = [(ticket, step) for ticket, step in steps if isinstance(step, Step)]
    for ticket, step in done:
        do_step(state, ticket, step, OPERATOR, out)
    said: list[tuple[Ticket, Step | Nothing]] = [*done] or steps
    message = "; ".join(f"{ticket.symbol} {ticket.intent_id[:8]}: {step.message}" for ticket, step in said)
    return OperatorAnswer(
        ok=bool(done), message=message, intent_ids=tuple(ticket.intent_id for ticket, _ in done)
    )


def _meant(state: State, target: str, wanted: Wanted) -> list[Ticket]:
    """Return the one intent of that id, or what a wish can mean on a symbol: a part or a new price, only what is held."""
    ticket = state.ticket(target) or state.waiting_ticket(target)
    if ticket is not None:
        return [ticket]
    if wanted.kind == "amend" or wanted.qty is not None:
        return state.live_on(target)
    waiting = [each.ticket for each in state.waiting.get(target, {}).values()]
    return [*_live(state, target), *waiting]


def _adopt(state: State, event: OperatorRequest, out: Out) -> OperatorAnswer:
    return adoption.adopt(state, event, out)


_ACTIONS: dict[OperatorAction, Callable[[State, OperatorRequest, Out], OperatorAnswer]] = {
    OperatorAction.HALT: _halt,
    OperatorAction.HALT_FILE: _halt_file,
    OperatorAction.REDUCE_ONLY: _reduce_only,
    OperatorAction.STOP: _stop,
    OperatorAction.RESUME: _resume,
    OperatorAction.FLATTEN: _flatten,
    OperatorAction.CANCEL: _change,
    OperatorAction.CLOSE: _change,
    OperatorAction.AMEND: _change,
    OperatorAction.ADOPT: _adopt,
}

_TOLD = frozenset({OperatorAction.FLATTEN, OperatorAction.CANCEL, OperatorAction.CLOSE, OperatorAction.AMEND})
"""Acts that are told as such; the others are told as the reasons that they set or cleared, or have an alert of their own."""
