"""What is told to the ledger: tickets, orders, fills and finished trades as rows of the contract's views.

Owns the mapping from our records to columns; values are nano-units as int, times Unix ns, unknown is None.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec

from hands.core.case import Case
from hands.core.change_ticket import ChangeTicket
from hands.core.commands import Alert, Record
from hands.core.hindsight import Scene, text
from hands.core.sizing import sizing_equity
from hands.core.ticket import ExecutionRecord, Order, Ticket
from hands.core.units import NANO, NS_PER_MS, NS_PER_S, Price, mul_floor
from hands.core.venue_rules import CRYPTO_TAKER_FEE
from hands.core.vocab import ExitReason, Leg, OrderType


def intent_record(ticket: Ticket | ChangeTicket) -> Record:
    """Return the row of a judged document; what an adopted trade was never told stays unknown."""
    if isinstance(ticket, ChangeTicket):
        return _change_record(ticket)
    intent = ticket.intent
    has_target = ticket.plan is None or ticket.plan.take_profit is not None
    return Record(
        table="intents",
        row={
            "intent_id": intent.intent_id,
            "agent": ticket.agent,
            "kind": "intent",
            "symbol": intent.asset,
            "direction": str(intent.direction),
            "verdict": str(ticket.verdict),
            "code": str(ticket.code),
            "state": str(ticket.state),
            "strategy_ref": intent.strategy_ref,
            "confidence": None if ticket.adopted else intent.confidence,
            "trigger_price": intent.trigger_price,
            "stop_loss": intent.stop_loss,
            "take_profit": intent.take_profit if has_target else None,
            "received_ns": ticket.received_ns,
            "decided_ns": ticket.stamps.decided,
            "sent_ns": ticket.stamps.sent,
            "updated_ns": ticket.closed_ns or ticket.received_ns,
            "document": None if ticket.adopted else ticket.document.decode("utf-8", "replace"),
        },
    )


def _change_record(found: ChangeTicket) -> Record:
    change = found.change
    return Record(
        table="intents",
        row={
            "intent_id": change.intent_id,
            "agent": found.agent,
            "kind": change.kind,
            "symbol": found.symbol,
            "verdict": str(found.verdict),
            "code": str(found.code),
            "state": str(found.state),
            "stop_loss": change.stop_loss,
            "take_profit": change.take_profit,
            "received_ns": found.received_ns,
            "decided_ns": found.stamps.decided,
            "updated_ns": found.received_ns,
            "document": found.document.decode("utf-8", "replace"),
        },
    )


def rejection_record(
    intent_id: str | None,
    agent: str,
    code: str,
    limit: str | None,
    observed: str | None,
    detail: dict[str, Any],
    at: int,
) -> Record:
    row = {
        "intent_id": intent_id,
        "agent": agent,
        "code": code,
        "limit_value": limit,
        "observed": observed,
        "detail": detail,
        "at_ns": at,
    }
    return Record(table="rejections", row=row)


def scene(case: Case) -> dict[str, Any]:
    """Return what a refusal is looked back at with (`hindsight`): the market and the prices the order would have had."""
    session, terms, quote, age_ns = case.state.session, case.terms, case.quote, case.quote_age_ns
    is_open = session is not None and session.is_open_at(case.now_ns)
    noted = Scene(
        day=_trading_day(case),
        arming=case.arming,
        open=case.is_crypto or is_open,
        bid=None if quote is None else text(quote.bid),
        ask=None if quote is None else text(quote.ask),
        quote_age_ms=None if age_ns is None else round(age_ns / NS_PER_MS, 3),
        limit_price=None if terms is None else text(terms.limit_price),
        stop_loss=None if terms is None else text(terms.stop_loss),
        take_profit=None if terms is None else text(terms.take_profit),
        unit_risk=None if terms is None else text(terms.unit_risk),
        equity=_equity(case),
    )
    found: dict[str, Any] = msgspec.to_builtins(noted)
    return found


def bare_scene(case: Case) -> dict[str, Any]:
    """Return as much of it as there is where a document was turned away before its market was looked at."""
    return {"day": _trading_day(case), "arming": case.arming, "equity": _equity(case)}


def _equity(case: Case) -> str | None:
    return text(sizing_equity(case.state)) if case.state.account is not None else None


def _trading_day(case: Case) -> str:
    roll_ns = case.state.next_roll_ns(case.now_ns)
    return _date((case.now_ns if roll_ns is None else roll_ns - 1) // (86_400 * NS_PER_S))


@cache
def _date(day: int) -> str:
    return f"{datetime.fromtimestamp(86_400 * day, UTC):%Y-%m-%d}"


def own_stop(order: Order) -> Price | None:
    """Return an order's stop; the head of a pair has its partner's too, as it was when both were sent: not its own."""
    return None if order.order_type in (OrderType.MARKET, OrderType.LIMIT) else order.stop_price


def order_record(order: Order) -> Record:
    return Record(
        table="orders",
        row={
            "client_order_id": order.client_order_id,
            "order_id": order.order_id,
            "intent_id": order.intent_id,
            "leg": str(order.leg),
            "symbol": order.symbol,
            "side": str(order.side),
            "order_type": str(order.order_type),
            "order_class": str(order.order_class),
            "time_in_force": str(order.time_in_force),
            "qty": order.qty,
            "filled_qty": order.filled_qty,
            "avg_price": order.avg_price,
            "limit_price": order.limit_price,
            "stop_price": own_stop(order),
            "status": str(order.status),
            "created_ns": order.created_ns,
            "sent_ns": order.sent_ns,
            "acked_ns": order.acked_ns,
            "updated_ns": order.updated_ns,
        },
    )


def fill_record(ticket: Ticket, order: Order, execution: ExecutionRecord) -> Record:
    """`fee` is in dollars, estimated at the taker rate where the venue charges one."""
    value = mul_floor(execution.price, execution.qty)
    return Record(
        table="fills",
        row={
            "execution_id": execution.execution_id,
            "client_order_id": order.client_order_id,
            "order_id": order.order_id,
            "intent_id": ticket.intent_id,
            "leg": str(order.leg),
            "symbol": order.symbol,
            "side": str(order.side),
            "qty": execution.qty,
            "price": execution.price,
            "fee": mul_floor(value, CRYPTO_TAKER_FEE) if ticket.fee_rate else 0,
            "at_ns": execution.at_ns,
        },
    )


def alert_record(alert: Alert, at_ns: int) -> Record:
    """Return the row of something the operator must see, said at `at_ns`."""
    row = {"at_ns": at_ns, "level": alert.level, "code": alert.code, "message": alert.message}
    return Record(table="alerts", row=row)


def realised_reason(ticket: Ticket) -> ExitReason:
    """Return why the trade ended: the leg that filled most, and for our own exits the reason they were for."""
    filled: dict[Leg, int] = {}
    for order in ticket.exits:
        filled[order.leg] = filled.get(order.leg, 0) + order.filled_qty
    most = max(filled, key=lambda leg: filled[leg], default=None)
    if most is not None and filled[most] >= ticket.written_off:
        if most is Leg.TAKE_PROFIT:
            return ExitReason.TAKE_PROFIT
        if most is Leg.STOP_LOSS:
            return ExitReason.STOP_LOSS
    return ticket.exit_reason or ExitReason.MANUAL


def pnl_fraction(ticket: Ticket) -> int | None:
    """Return the net P&L as a nano-fraction of the entry's notional, None before an entry filled."""
    value = ticket.entry_value
    return ticket.realised_usd() * NANO // value if value else None


def episode_record(ticket: Ticket) -> Record | None:
    """Return the row of a trade that was opened and is over; None if nothing ever filled."""
    plan, entry = ticket.plan, ticket.entry
    if plan is None or entry is None or not ticket.received_qty:
        return None
    sign = 1 if ticket.is_long else -1
    stamps, context = ticket.stamps, ticket.intent.context or {}
    entry_price = ticket.avg_entry
    began = ticket.fired_ns or stamps.file_event  # a touch is timed from its price, not from its file
    latency = stamps.sent - began if stamps.sent and began else None
    row: dict[str, Any] = {
        "id": ticket.intent_id,
        "intent_id": ticket.intent_id,
        "agent": ticket.agent,
        "asset": ticket.symbol,
        "direction": str(ticket.intent.direction),
        "qty": entry.filled_qty,
        "entry_price": entry_price,
        "exit_price": ticket.avg_exit,
        "pnl_pct": pnl_fraction(ticket),
        "rsi_14": ticket.indicators.get("rsi_14"),
        "macd_signal": ticket.indicators.get("macd_signal"),
        "vwap": ticket.indicators.get("vwap"),
        "agent_thesis": ticket.intent.thesis,
        "strategy_ref": ticket.intent.strategy_ref,
        "confidence_score": None if ticket.adopted else ticket.intent.confidence,
        "exit_reason": str(realised_reason(ticket)),
        "expected_pnl": None
        if plan.take_profit is None
        else sign * mul_floor(plan.take_profit - plan.limit_price, plan.qty),
        "actual_pnl": ticket.realised_usd(),
        "fees": ticket.fees_usd(),
        "fees_estimated": int(bool(ticket.fee_rate)),
        "opened_at": ticket.opened_ns,
        "closed_at": ticket.closed_ns,
        "latency_ns": latency,
        "slippage": None
        if entry_price is None or ticket.adopted
        else sign * (entry_price - ticket.intent.trigger_price),
    }
    for column in ("vix_at_entry", "funding_rate", "volume_24h"):
        claimed = context.get(column)  # what only the agent can know; what we measured ourselves comes first
        measured = ticket.indicators.get(column)
        row[column] = measured if measured is not None else claimed if isinstance(claimed, float) else None
    regime = context.get("regime")
    row["regime"] = regime if isinstance(regime, str) else None
    return Record(table="trade_episodes", row=row)
