"""The ledger's trades as a report needs them: plan, orders, fills and result in one record, exact.

Owns the questions that a report asks of the ledger's trades. Reads only, and may not compute a result anew: what a trade
came to is what the engine booked. The one idea: amounts stay integer nano-units as they are kept; None is unknown.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from hands.core.units import NumberError, nano

Row = dict[str, Any]

OPEN_STATES = ("OPEN", "CLOSING", "FROZEN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution: quantity, price and fee (USD) in nano-units; `fee` None where it is not known."""

    at_ns: int
    client_order_id: str
    leg: str
    side: str
    qty: int
    price: int
    fee: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order as the ledger last saw it; prices and quantities in nano-units."""

    client_order_id: str
    leg: str
    order_type: str | None
    order_class: str | None
    status: str | None
    qty: int | None
    filled_qty: int | None
    limit_price: int | None
    stop_price: int | None
    created_ns: int | None
    sent_ns: int | None
    acked_ns: int | None
    updated_ns: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A trade that was opened: ended (`closed_ns`), or still held. Prices, USD and fractions in nano-units."""

    intent_id: str
    agent: str
    symbol: str
    is_long: bool
    strategy_ref: str | None
    thesis: str | None
    confidence: int | None
    opened_ns: int
    closed_ns: int | None
    qty: int | None
    entry_price: int | None
    exit_price: int | None
    exit_reason: str | None
    trigger_price: int | None
    limit_price: int | None
    stop_loss: int | None
    take_profit: int | None
    risk: int | None
    pnl: int | None
    pnl_fraction: int | None
    expected: int | None
    fees: int | None
    fees_estimated: bool
    slippage: int | None
    latency_ns: int | None
    stamps_ns: dict[str, int] = field(default_factory=dict)
    fills: tuple[Fill, ...] = ()
    orders: tuple[Order, ...] = ()

    @property
    def sign(self) -> int:
        return 1 if self.is_long else -1

    @property
    def is_crypto(self) -> bool:
        return "/" in self.symbol

    @property
    def fees_in_coins(self) -> bool:
        """Whether the venue takes the entry's fee out of what was bought."""
        return self.is_crypto


_ENDED = """
SELECT e.*, i.receipt, i.trigger_price_nano, i.stop_loss_nano, i.take_profit_nano, i.document
FROM ledger_trade_episodes e LEFT JOIN ledger_intents i ON i.intent_id = e.intent_id
WHERE e.closed_at_ns >= ? AND e.closed_at_ns < ? ORDER BY e.closed_at_ns, e.number
"""

_HELD = f"""
SELECT i.* FROM ledger_intents i
WHERE i.kind = 'intent' AND i.state IN ({", ".join(f"'{state}'" for state in OPEN_STATES)}) AND i.decided_ns < ?
  AND NOT EXISTS (SELECT 1 FROM ledger_trade_episodes e WHERE e.intent_id = i.intent_id)
ORDER BY i.decided_ns, i.number
"""  # noqa: S608  (words of ours)


def trades(ledger: sqlite3.Connection, from_ns: int, to_ns: int) -> list[Trade]:
    """Return the trades that ended in [from, to), oldest end first, then those still held that began before `to_ns`.

    Raises sqlite3.Error.
    """
    ended = list(_rows(ledger, _ENDED, from_ns, to_ns))
    held = list(_rows(ledger, _HELD, to_ns))
    ids = {row["intent_id"] for row in (*ended, *held)}
    fills, orders = _fills(ledger, ids), _orders(ledger, ids)
    found = [_ended(row, fills, orders) for row in ended if row["opened_at_ns"] is not None]
    for row in held:
        trade = _held(row, fills, orders)
        if trade is not None:
            found.append(trade)
    return found


def _rows(ledger: sqlite3.Connection, sql: str, *values: int) -> Iterator[Row]:
    """Yield rows by name, whatever the connection's own row factory is."""
    cursor = ledger.execute(sql, values)
    names = [column[0] for column in cursor.description]
    return (dict(zip(names, row, strict=True)) for row in cursor)


def _fills(ledger: sqlite3.Connection, ids: set[str]) -> dict[str, list[Fill]]:
    found: dict[str, list[Fill]] = {}
    for row in _rows(ledger, "SELECT * FROM ledger_fills WHERE qty_nano > 0 ORDER BY at_ns, number"):
        if row["intent_id"] in ids and row["price_nano"] is not None and row["at_ns"] is not None:
            fill = Fill(
                at_ns=row["at_ns"],
                client_order_id=row["client_order_id"] or "",
                leg=row["leg"] or "",
                side=row["side"] or "",
                qty=int(row["qty_nano"]),
                price=int(row["price_nano"]),
                fee=row["fee_nano"],
            )
            found.setdefault(row["intent_id"], []).append(fill)
    return found


def _orders(ledger: sqlite3.Connection, ids: set[str]) -> dict[str, list[Order]]:
    found: dict[str, list[Order]] = {}
    for row in _rows(ledger, "SELECT * FROM ledger_orders ORDER BY created_ns, number"):
        if row["intent_id"] in ids:
            order = Order(
                client_order_id=row["client_order_id"],
                leg=row["leg"] or "",
                order_type=row["order_type"],
                order_class=row["order_class"],
                status=row["status"],
                qty=row["qty_nano"],
                filled_qty=row["filled_qty_nano"],
                limit_price=row["limit_price_nano"],
                stop_price=row["stop_price_nano"],
                created_ns=row["created_ns"],
                sent_ns=row["sent_ns"],
                acked_ns=row["acked_ns"],
                updated_ns=row["updated_ns"],
            )
            found.setdefault(row["intent_id"], []).append(order)
    return found


def _ended(row: Row, fills: dict[str, list[Fill]], orders: dict[str, list[Order]]) -> Trade:
    intent_id, receipt = row["intent_id"], as_object(row["receipt"])
    planned = as_object(receipt.get("order"))
    return Trade(
        intent_id=intent_id,
        agent=row["agent"] or "",
        symbol=row["asset"] or "",
        is_long=row["direction"] != "SHORT",
        strategy_ref=row["strategy_ref"],
        thesis=row["agent_thesis"],
        confidence=row["confidence_score_nano"],
        opened_ns=row["opened_at_ns"],
        closed_ns=row["closed_at_ns"],
        qty=row["qty_nano"],
        entry_price=row["entry_price_nano"],
        exit_price=row["exit_price_nano"],
        exit_reason=row["exit_reason"],
        trigger_price=row["trigger_price_nano"],
        limit_price=_amount(planned.get("limit_price")),
        stop_loss=_amount(planned.get("stop_loss")) or row["stop_loss_nano"],
        take_profit=_amount(planned.get("take_profit")) or row["take_profit_nano"],
        risk=_amount(planned.get("risk_usd")),
        pnl=row["actual_pnl_nano"],
        pnl_fraction=row["pnl_pct_nano"],
        expected=row["expected_pnl_nano"],
        fees=row["fees_nano"],
        fees_estimated=bool(row["fees_estimated"]),
        slippage=row["slippage_nano"],
        latency_ns=row["latency_ns"],
        stamps_ns=_stamps(receipt),
        fills=tuple(fills.get(intent_id, ())),
        orders=tuple(orders.get(intent_id, ())),
    )


def _held(row: Row, fills: dict[str, list[Fill]], orders: dict[str, list[Order]]) -> Trade | None:
    """Return a trade that is still held; None where the ledger has no fill of it."""
    intent_id, receipt = row["intent_id"], as_object(row["receipt"])
    planned, levels = as_object(receipt.get("order")), as_object(receipt.get("levels"))
    own = tuple(fills.get(intent_id, ()))
    entries = [fill for fill in own if fill.leg == "entry"]
    if not entries:
        return None
    bought = sum(fill.qty for fill in entries)
    average = sum(fill.qty * fill.price for fill in entries) // bought
    sign = -1 if row["direction"] == "SHORT" else 1
    trigger, stamps = row["trigger_price_nano"], _stamps(receipt)
    document = as_object(row["document"])
    thesis = document.get("thesis")
    return Trade(
        intent_id=intent_id,
        agent=row["agent"] or "",
        symbol=row["symbol"] or "",
        is_long=row["direction"] != "SHORT",
        strategy_ref=row["strategy_ref"],
        thesis=thesis if isinstance(thesis, str) else None,
        confidence=row["confidence_nano"],
        opened_ns=entries[0].at_ns,
        closed_ns=None,
        qty=bought,
        entry_price=average,
        exit_price=None,
        exit_reason=None,
        trigger_price=trigger,
        limit_price=_amount(planned.get("limit_price")),
        stop_loss=_amount(levels.get("stop_loss"))
        or _amount(planned.get("stop_loss"))
        or row["stop_loss_nano"],
        take_profit=_amount(levels.get("take_profit"))
        or _amount(planned.get("take_profit"))
        or row["take_profit_nano"],
        risk=_amount(planned.get("risk_usd")),
        pnl=None,
        pnl_fraction=None,
        expected=None,
        fees=fees_of(own),
        fees_estimated="/" in (row["symbol"] or ""),
        slippage=None if trigger is None else sign * (average - trigger),
        latency_ns=_latency(document, stamps),
        stamps_ns=stamps,
        fills=own,
        orders=tuple(orders.get(intent_id, ())),
    )


def _latency(document: Row, stamps: dict[str, int]) -> int | None:
    """Return how long a document took to the wire; a touch waited for its price, and when that came is not told."""
    begun, sent = stamps.get("file_event"), stamps.get("sent")
    return None if begun is None or sent is None or document.get("entry") == "touch" else sent - begun


def fees_of(fills: Iterable[Fill]) -> int | None:
    """Return what these fills cost in fees, nano-USD; None where one is not known."""
    total = 0
    for fill in fills:
        if fill.fee is None:
            return None
        total += fill.fee
    return total


def as_object(value: Any) -> Row:
    """Return a JSON object, be it given as text or read; an empty one for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _amount(value: Any) -> int | None:
    """Return a decimal text of a receipt in nano-units."""
    if not isinstance(value, str):
        return None
    try:
        return nano(value)
    except NumberError:
        return None


def _stamps(receipt: Row) -> dict[str, int]:
    return {
        name: at_ns for name, at_ns in as_object(receipt.get("stamps_ns")).items() if isinstance(at_ns, int)
    }
