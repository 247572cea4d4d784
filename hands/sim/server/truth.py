"""The truth: everything that happened since the start or the last reset, as one document for tests to judge by.

Owns its shape; reads the floor and changes nothing. The one idea: it is what nobody can see at a real venue, without
a stream to lose it, and under a manual clock the same script leaves the same bytes.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hands.core.units import decimal_text
from hands.sim.server.floor import TradingFloor
from hands.sim.server.rest_json import account_json, fill_json, order_json, position_json
from hands.sim.venue.corporate import CorporateAction
from hands.sim.venue.orders import Order
from hands.sim.venue.ticks import Cancellation, Correction, Notice, PriceBand, Trade


def truth_json(floor: TradingFloor) -> dict[str, Any]:
    """Return everything that happened since the start or the last reset."""
    exchange = floor.exchange
    now_ns = exchange.now_ns()
    return {
        "now_ns": now_ns,
        "account": account_json(exchange),
        "positions": [position_json(p, exchange) for p in exchange.account.positions.values()],
        "orders": [_order_truth(order) for order in exchange.blotter],
        "fills": [fill_json(fill) for fill in exchange.blotter.fills],
        "naked": exchange.exposure.at(now_ns),
        "requests": _requests(floor),
        "notices": [_notice(notice) for notice in floor.notices],
        "corporate_actions": [_corporate_action(action) for action in exchange.corporate_actions],
        "faults": list(floor.faults.used),
        "quirks": asdict(exchange.quirks),
        "latency": asdict(exchange.latency),
        "flags": asdict(exchange.flags),
        "configurations": asdict(exchange.configurations),
    }


def _order_truth(order: Order) -> dict[str, Any]:
    parent = order.group.parent if order.group is not None else None
    return order_json(order) | {
        "leg": order.leg.value,
        "elected_ns": order.elected_ns,
        "parent_id": parent.order_id if parent is not None and parent is not order else None,
        "history": [[t_ns, status.value] for t_ns, status in order.history],
    }


def _requests(floor: TradingFloor) -> list[dict[str, Any]]:
    """Return the trading requests; connections are numbered from 1 in the order of their first one here."""
    numbers: dict[int, int] = {}
    return [
        {
            "method": record.method,
            "path": record.path,
            "body": record.body,
            "received_ns": record.received_ns,
            "status": record.status,
            "conn": numbers.setdefault(record.conn, len(numbers) + 1),
        }
        for record in floor.requests
    ]


def _notice(notice: Notice) -> dict[str, Any]:
    """Return a notice as a control could have made it, with its time."""
    head = {"t_ns": notice.t_ns, "symbol": notice.symbol}
    if isinstance(notice, Correction):
        return head | {"correct": notice.original.trade_id} | _print(notice.corrected)
    if isinstance(notice, Cancellation):
        return head | {"cancel": notice.trade.trade_id, "action": notice.action}
    if isinstance(notice, PriceBand):
        bands = {"limit_up": decimal_text(notice.limit_up), "limit_down": decimal_text(notice.limit_down)}
        return head | bands | {"indicator": notice.indicator}
    return head | {
        "status": notice.status_code,
        "status_message": notice.status_message,
        "reason": notice.reason_code,
        "reason_message": notice.reason_message,
    }


def _corporate_action(action: CorporateAction) -> dict[str, Any]:
    amounts = {name: decimal_text(getattr(action, name)) for name in ("qty_before", "qty_after", "cash")}
    return asdict(action) | amounts


def _print(trade: Trade) -> dict[str, Any]:
    return {"price": decimal_text(trade.price), "size": decimal_text(trade.size), "trade_id": trade.trade_id}
