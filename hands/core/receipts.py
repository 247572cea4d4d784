"""The receipt: a ticket told to its agent, as a function of the engine's state (contract §4).

Owns the rendering only. Prices and quantities are written as decimal strings, times as RFC 3339 UTC, stamps as
integer Unix nanoseconds; what is not known is null. Rendered after the order is on its way, never before.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from hands.core.advice import advice
from hands.core.change_ticket import ChangeTicket
from hands.core.coverage import protected_qty
from hands.core.ledger_rows import realised_reason
from hands.core.orders import client_order_id
from hands.core.state import State
from hands.core.ticket import Finding, Form, Observed, Stamps, Ticket, labelled
from hands.core.units import NANO, NS_PER_MS, NS_PER_S, decimal_text, usd_text
from hands.core.vocab import Code, Leg, OrderClass, ProtectionKind, Retry, TradeState, Verdict


def time_text(ns: int | None) -> str | None:
    """Return Unix nanoseconds as RFC 3339 UTC with all nine digits."""
    if ns is None:
        return None
    seconds, fraction = divmod(ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def _at(state: State, ns: int | None) -> str | None:
    """Return a moment of the engine's clock as wall time."""
    return None if ns is None else time_text(ns + state.wall_offset_ns)


def _number(value: Observed, form: Form) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return labelled(value)
    match form:
        case Form.PRICE | Form.QTY | Form.RATIO:
            return decimal_text(value)
        case Form.USD:
            return usd_text(value)
        case Form.SECONDS:
            return f"{value / NS_PER_S:.3f}".rstrip("0").rstrip(".")
        case _:
            return str(value)


def finding_row(finding: Finding) -> dict[str, Any]:
    """Return one check as the receipt writes it."""
    return {
        "check": finding.check,
        "ok": finding.ok,
        "observed": _number(finding.observed, finding.form),
        "limit": _number(finding.limit, finding.form),
        "age_ms": None if finding.age_ns is None else round(finding.age_ns / NS_PER_MS, 3),
    }


def receipt(state: State, ticket: Ticket | ChangeTicket) -> dict[str, Any]:
    """Return the current receipt of a ticket, or of a document that changed one."""
    if isinstance(ticket, ChangeTicket):
        return _change_receipt(state, ticket)
    return {
        "v": 1,
        "intent_id": ticket.intent_id,
        "kind": "intent",
        "agent": ticket.agent,
        "venue": str(state.venue),
        "verdict": str(ticket.verdict),
        "code": str(ticket.code),
        "message": ticket.message,
        "state": str(ticket.state),
        "seq": ticket.seq,
        "at": time_text(state.now_ns + state.wall_offset_ns),
        "limits_sha256": ticket.limits_sha256,
        "checks": [finding_row(finding) for finding in ticket.checks],
        "sizing": _sizing(ticket),
        "order": _order(ticket),
        "position": _position(ticket),
        "protection": _protection(state, ticket),
        "levels": _levels(ticket),
        "nearest_admissible": ticket.nearest,
        "retry": str(ticket.retry),
        "retry_at": _at(state, ticket.retry_at_ns),
        "fills": [
            {
                "execution_id": execution.execution_id,
                "leg": str(execution.leg),
                "qty": decimal_text(execution.qty),
                "price": decimal_text(execution.price, 2),
                "at_ns": execution.at_ns,
            }
            for execution in ticket.executions.values()
        ],
        "exit": _exit(state, ticket),
        "stamps_ns": _stamps(ticket.stamps),
        "next": _next(state, ticket),
    }


def _stamps(stamps: Stamps) -> dict[str, int | None]:
    return {
        "file_event": stamps.file_event,
        "decided": stamps.decided,
        "journaled": stamps.journaled,
        "sent": stamps.sent,
        "acked": stamps.acked,
        "filled": stamps.filled,
    }


def _change_receipt(state: State, found: ChangeTicket) -> dict[str, Any]:
    """Its end is its verdict: what becomes of the trade is told by the target's own receipt."""
    answer = _without_trade(
        found.intent_id,
        found.change.kind,
        agent=found.agent,
        venue=str(state.venue),
        at=time_text(state.now_ns + state.wall_offset_ns) or "",
        limits_sha256=found.limits_sha256,
    )
    accepted = found.verdict is Verdict.ACCEPTED
    return answer | {
        "target_id": found.change.target_id,
        "verdict": str(found.verdict),
        "code": str(found.code),
        "message": found.message,
        "state": str(found.state),
        "seq": found.seq,
        "retry": str(found.retry),
        "stamps_ns": _stamps(found.stamps),
        "next": f"What comes of it is told by the receipt of {found.change.target_id}."
        if accepted
        else advice(found.code),
    }


def _sizing(ticket: Ticket) -> dict[str, Any] | None:
    sizing = ticket.sizing
    if sizing is None:
        return None
    return {"binding": sizing.binding, "caps": {name: decimal_text(qty) for name, qty in sizing.caps.items()}}


def _order(ticket: Ticket) -> dict[str, Any] | None:
    plan = ticket.plan
    if plan is None or ticket.verdict is not Verdict.ACCEPTED or ticket.adopted:
        return None  # an adopted holding was bought by nobody's order of ours
    return {
        "client_order_id": client_order_id(ticket.intent_id, Leg.ENTRY, 1),
        "order_class": str(OrderClass.SIMPLE if plan.is_crypto else OrderClass.BRACKET),
        "side": str(plan.side),
        "qty": decimal_text(plan.qty),
        "limit_price": decimal_text(plan.limit_price),
        "take_profit": None if plan.take_profit is None else decimal_text(plan.take_profit),
        "stop_loss": decimal_text(plan.stop_loss),
        "risk_usd": usd_text(plan.risk_usd),
        "notional_usd": usd_text(plan.notional_usd),
    }


def _position(ticket: Ticket) -> dict[str, Any] | None:
    average = ticket.avg_entry
    if average is None:
        return None
    return {"qty": decimal_text(max(0, ticket.owned)), "avg_price": decimal_text(average, 2)}


def _levels(ticket: Ticket) -> dict[str, str | None] | None:
    """Return the stop and the target that are wanted of what is held: as planned, or as amended since."""
    if ticket.plan is None or ticket.owned <= 0:
        return None
    target: int | None = ticket.take_profit
    return {
        "stop_loss": decimal_text(ticket.stop_loss),
        "take_profit": None if target is None else decimal_text(target),
    }


def _protection(state: State, ticket: Ticket) -> dict[str, Any] | None:
    """What stands between the position and a loss: a venue order where one rests, else our own exit."""
    plan = ticket.plan
    if plan is None or ticket.owned <= 0:
        return None
    covered = protected_qty(state, ticket)
    stops = [order for order in ticket.exits if order.leg is Leg.STOP_LOSS and order.is_live]
    if covered and stops:
        parent = ticket.orders.get(stops[-1].parent or "")
        if parent is None:
            kind = ProtectionKind.VENUE_STOP
        else:
            kind = ProtectionKind.VENUE_BRACKET if parent.leg is Leg.ENTRY else ProtectionKind.VENUE_OCO
        stop = stops[-1].stop_price or ticket.stop_loss
        return {
            "kind": str(kind),
            "stop": decimal_text(stop),
            "qty": decimal_text(covered),
            "since_ns": ticket.protected_since_ns,
        }
    exiting = sum(order.remaining for order in ticket.exits if order.leg is Leg.EXIT and order.is_live)
    if exiting:
        return {
            "kind": str(ProtectionKind.ENGINE_EXIT),
            "stop": decimal_text(ticket.stop_loss),
            "qty": decimal_text(exiting),
            "since_ns": ticket.exit_since_ns,
        }
    return None


def _exit(state: State, ticket: Ticket) -> dict[str, Any] | None:
    if ticket.state is not TradeState.CLOSED:
        return None
    value, pnl, price = ticket.entry_value, ticket.realised_usd(), ticket.avg_exit
    return {
        "reason": str(realised_reason(ticket)),
        "price": None if price is None else decimal_text(price, 2),
        "pnl_usd": usd_text(pnl),
        "pnl_pct": None if not value else decimal_text(pnl * NANO // value),
        "at": _at(state, ticket.closed_ns),
    }


_NEXT = {
    TradeState.ARMED: "Waits for {symbol} to trade at {trigger} until {armed_until}.",
    TradeState.WORKING: "The entry works at the venue until {deadline}; what is unfilled then is cancelled.",
    TradeState.UNKNOWN: "The order was sent and its outcome is being asked; its budget stays reserved.",
    TradeState.OPEN: "The position runs with its stop at {stop} and {target}.",
    TradeState.CLOSING: "The position is being closed: {exit_note}.",
    TradeState.CLOSED: "The trade is over.",
    TradeState.EXPIRED: "Nothing was filled; send a new intent under a new id if the idea still holds.",
    TradeState.CANCELED: "Nothing was filled; send a new intent under a new id if the idea still holds.",
    TradeState.VENUE_REJECTED: "The venue refused the order; nothing was bought or sold.",
    TradeState.FROZEN: "The venue did something unknown; the operator has to look before anything else is entered.",
    TradeState.DRAFT: "It would be sent; nothing was.",
}


def _next(state: State, ticket: Ticket) -> str:
    if ticket.verdict is not Verdict.ACCEPTED:
        return advice(ticket.code, when=_at(state, ticket.retry_at_ns), nearest=ticket.nearest is not None)
    plan, intent = ticket.plan, ticket.intent
    text = _NEXT[ticket.state].format(
        symbol=ticket.symbol,
        trigger=decimal_text(intent.trigger_price),
        armed_until=_at(state, ticket.arming.until_ns if ticket.arming else None),
        deadline=_at(state, ticket.deadline_ns),
        stop=decimal_text(ticket.stop_loss if plan else intent.stop_loss),
        target=_target(ticket),
        exit_note=ticket.exit_note or "an exit is on its way",
    )
    if ticket.cancel_note and ticket.state in (TradeState.WORKING, TradeState.UNKNOWN):
        text = "Its entry is being cancelled; what has filled by then is told here."
    if ticket.close_qty and ticket.state is TradeState.OPEN:
        text += f" {decimal_text(ticket.close_qty)} of it are being closed."
    session = state.session
    waits = ticket.state is TradeState.CLOSING and plan is not None and not plan.is_crypto
    if waits and session is not None and not session.is_open_at(state.now_ns):
        text += (
            f" The market is closed: its stop stays, the exit waits for {_at(state, session.next_open_ns)}."
        )
    return text


def _target(ticket: Ticket) -> str:
    target = ticket.intent.take_profit if ticket.plan is None else ticket.take_profit
    return "no target" if target is None else f"its target at {decimal_text(target)}"


_NO_CHANGE_HELPS = frozenset({Code.DUPLICATE_INTENT, Code.UNAUTHORISED, Code.UNKNOWN_AGENT})


def refusal_receipt(
    code: Code,
    message: str,
    *,
    intent_id: str | None,
    agent: str,
    venue: str,
    at: str,
    limits_sha256: str,
    kind: str = "intent",
) -> dict[str, Any]:
    """Return the receipt of something that is not a document of its own (unreadable, or a duplicate)."""
    kind_known = None if intent_id is None else kind
    answer = _without_trade(
        intent_id, kind_known, agent=agent, venue=venue, at=at, limits_sha256=limits_sha256
    )
    return answer | {
        "verdict": str(Verdict.REFUSED),
        "code": str(code),
        "message": message,
        "state": str(TradeState.REFUSED),
        "seq": 1,
        "retry": str(Retry.NEVER if code in _NO_CHANGE_HELPS else Retry.CHANGED),
        "stamps_ns": _stamps(Stamps()),
        "next": advice(code),
    }


def _without_trade(
    intent_id: str | None, kind: str | None, *, agent: str, venue: str, at: str, limits_sha256: str
) -> dict[str, Any]:
    """Return a receipt's members, in their order, with all of a trade's empty; the verdict's are filled in after."""
    verdict = dict.fromkeys(("verdict", "code", "message", "state", "seq"))
    return {
        "v": 1,
        "intent_id": intent_id,
        "kind": kind,
        "agent": agent,
        "venue": venue,
        **verdict,
        "at": at,
        "limits_sha256": limits_sha256,
        "checks": [],
        "sizing": None,
        "order": None,
        "position": None,
        "protection": None,
        "levels": None,
        "nearest_admissible": None,
        "retry": None,
        "retry_at": None,
        "fills": [],
        "exit": None,
        "stamps_ns": {},
        "next": "",
    }


def receipt_row(state: State, judged: Ticket | ChangeTicket, document: dict[str, Any]) -> dict[str, Any]:
    """Return the ledger's row of a receipt: a function of the state too, so that a record of the state proves it."""
    return {
        "intent_id": document["intent_id"],
        "state": document["state"],
        "sent_ns": judged.stamps.sent,
        "updated_ns": state.now_ns,
        "receipt": orjson.dumps(document).decode(),
    }
