"""`decide(state, event) -> commands`: the whole engine, as one function without a world.

Owns the dispatch of events to the rooms that answer for them. Deterministic and closed: it reads no clock, does
no I/O, never awaits and never raises for anything the world does. Documents are handled in
`hands.core.admission`; every event that concerns a trade ends in `protection.supervise`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hands.core import basis, executions, fencing, freshness, links, recount, skew, tightening, venue_events
from hands.core.admission import (
    document_received,
    quote_fetched,
    recall_approvals,
    rejudge_touch,
    waiting_over,
)
from hands.core.breakers import hold_reason, keep_watching, roll_day, watch_losses
from hands.core.commands import AnyCommand, ReceiptChanged, Stopped
from hands.core.events import (
    AccountReport,
    AnyEvent,
    AssetsReport,
    DocumentReceived,
    DocumentSettled,
    OperatorRequest,
    QuoteFetched,
    ReceiptWritten,
    SessionReport,
    Started,
    TriggersFired,
    Wake,
)
from hands.core.filing import document_settled
from hands.core.links import judge_links
from hands.core.operator import operate
from hands.core.protection import supervise, want_exit
from hands.core.pursuit import ask_for_truth
from hands.core.state import State
from hands.core.upkeep import disarm_ticket, look_after
from hands.core.vocab import ExitReason, OrderStatus, TradeState, TradingState

Out = list[AnyCommand]


def decide(state: State, event: AnyEvent) -> Out:
    """Advance `state` by one event and return what is to be done, in order."""
    out: Out = []
    state.now_ns = max(state.now_ns, event.ts_ns)
    _run_timers(state, out)
    _HANDLERS[type(event)](state, event, out)
    _judge_coverage(state, out)
    _enforce_state(state, out)
    for intent_id in state.receipts_due:
        judged = state.judged(intent_id)
        if judged is not None:
            judged.seq += 1
            out.append(ReceiptChanged(intent_id=intent_id))
    state.receipts_due.clear()
    return out


# --- timers ------------------------------------------------------------------------------------------------


def _run_timers(state: State, out: Out) -> None:
    due = []
    while (timer := state.due(state.now_ns)) is not None:
        # taken first: one that asks to run again at once runs with the next event, not for ever
        due.append(timer)
    for _, kind, key in due:
        match kind:
            case "ticket":
                ticket = state.tickets.get(key)
                if ticket is not None:
                    look_after(state, ticket, out)
            case "waiting":
                waiting_over(state, key, out)
            case "roll":
                roll_day(state, out)
            case "watch":
                freshness.ask_unseen(state, out)
                watch_losses(state, out)
                keep_watching(state)
            case "truth":
                ask_for_truth(state, "again", out)
            case "links":
                judge_links(state, out)
            case "fills":
                executions.ask(state, out)
            case "fence":
                fencing.fence_patience_over(state, out)


def _judge_coverage(state: State, out: Out) -> None:
    """While anything is unprotected beyond its bound nothing new is entered, and the operator sees it."""
    naked = [
        ticket.symbol
        for ticket in state.committed()
        if ticket.naked_since_ns is not None
        and state.now_ns - ticket.naked_since_ns
        >= state.limits.effective(ticket.agent, ticket.symbol).unprotected_max_ms
    ]
    if naked or "UNPROTECTED" in state.reasons:
        detail = f"{', '.join(sorted(naked))}: no stop rests at the venue for all that is owned"
        hold_reason(state, out, "UNPROTECTED", detail if naked else None)


def _enforce_state(state: State, out: Out) -> None:
    """Outside ACTIVE, and while stopping, nothing is armed and no entry works; stopping ends when that is so."""
    if state.trading_state is TradingState.ACTIVE and not state.stopping:
        return
    why = "the engine stops" if state.stopping else f"trading is {state.trading_state}"
    for ticket in list(state.tickets.values()):
        entry = ticket.entry
        if ticket.state is TradeState.ARMED:
            disarm_ticket(state, ticket, TradeState.CANCELED, f"disarmed: {why}", out)
        elif entry is not None and entry.is_live and entry.cancel_ns is None:
            supervise(state, ticket, out)
    working = any(t.entry is not None and t.entry.is_live for t in state.tickets.values())
    if state.stopping and not state.stopped and not working:
        state.stopped = True
        out.append(Stopped(still_open=tuple(t.symbol for t in state.tickets.values() if t.owned)))


# --- the venue ---------------------------------------------------------------------------------------------


def _account(state: State, event: AccountReport, out: Out) -> None:
    state.account = event
    roll_day(state, out)
    blocked = event.trading_blocked or event.account_blocked or event.suspended_by_user
    hold_reason(
        state, out, "ACCOUNT_BLOCKED", "the venue has blocked trading on this account" if blocked else None
    )
    watch_losses(state, out)
    keep_watching(state)


def _assets(state: State, event: AssetsReport, out: Out) -> None:
    basis.tell_of_listings(state, event, out)
    state.assets.update({asset.symbol: asset for asset in event.assets})


def _session(state: State, event: SessionReport, out: Out) -> None:
    opens = event.is_open and (state.session is None or not state.session.is_open)
    state.session = event
    skew.judge_clocks(state, out)
    for ticket in list(state.tickets.values()):
        if opens:
            ticket.retry_exit_ns = state.now_ns  # what was refused overnight is tried at once
        look_after(state, ticket, out)


# --- the market, the operator, ourselves -------------------------------------------------------------------


def _triggers(state: State, event: TriggersFired, out: Out) -> None:
    # all of them first: what one of them arms may get the slot of another that has fired with it
    fired = [key for slot in event.slots if (key := state.triggers.pop(slot, None)) is not None]
    for key in fired:
        state.armed_slots.pop(key, None)
    for intent_id, kind in fired:
        ticket = state.tickets.get(intent_id)
        if ticket is None:
            continue
        if kind == "touch":
            rejudge_touch(state, ticket, out)
            continue
        if kind == "target":
            want_exit(state, ticket, ExitReason.TAKE_PROFIT, "the target was reached")
        elif kind == "stop" and ticket.through_stop_ns is None:
            ticket.through_stop_ns = state.now_ns
            state.touch(ticket, receipt=False)
        look_after(state, ticket, out)


def _started(state: State, event: Started, _out: Out) -> None:
    """Begin a session: what was in flight when the last one ended is unknown until the venue has spoken."""
    state.rolls_ns = sorted(event.rolls_ns)
    for ticket in list(state.tickets.values()):
        for order in ticket.orders.values():
            if order.status is OrderStatus.UNSENT:
                order.status = OrderStatus.UNKNOWN
            order.query_ns, order.cancel_ns = None, None
        state.touch(ticket)
    recall_approvals(state)
    recount.begin(state)
    upcoming = state.next_roll_ns(state.now_ns)
    if upcoming is not None:
        state.wake_at(upcoming, "roll", "")


def _receipt_written(state: State, event: ReceiptWritten, _out: Out) -> None:
    """The last word on a finished ticket is on disk: the journal need not keep it any more."""
    ticket = state.finished.get(event.intent_id)
    if ticket is not None and event.seq == ticket.seq and not executions.lacks_fills(ticket):
        state.changed["ticket", event.intent_id] = None
    change = state.changes.get(event.intent_id)
    if change is not None and event.seq == change.seq:
        state.changed["change", event.intent_id] = None


def _wake(_state: State, _event: Wake, _out: Out) -> None:
    """Timers have already run."""


_HANDLERS: dict[type[Any], Callable[[State, Any, Out], None]] = {
    AccountReport: _account,
    AssetsReport: _assets,
    SessionReport: _session,
    QuoteFetched: quote_fetched,
    TriggersFired: _triggers,
    DocumentReceived: document_received,
    DocumentSettled: document_settled,
    OperatorRequest: operate,
    Started: _started,
    ReceiptWritten: _receipt_written,
    Wake: _wake,
    **executions.HANDLERS,
    **fencing.HANDLERS,
    **freshness.HANDLERS,
    **recount.HANDLERS,
    **links.HANDLERS,
    **skew.HANDLERS,
    **tightening.HANDLERS,
    **venue_events.HANDLERS,
}
