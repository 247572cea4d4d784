"""The ledger as rows for taxes and spreadsheets: trades with both legs, executions, judged documents.

Owns which columns an export has, their order, and what stands in them; reads only. May not round, guess or convert through
floats: amounts are decimal text made from the ledger's own nano-units, and what the ledger does not know is None, never 0.
The one idea: a sorted list of keys is read first (a few integers per row), then row by row what belongs to each, all in
one transaction: a hundred thousand rows cost no more memory than one, and a daemon that writes meanwhile changes nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

from hands.core.units import NANO, NS_PER_S, decimal_text
from hands.journal.reader import LedgerUnreadable, open_ledger
from hands.journal.schema import SCHEMA_VERSION, TABLES

Row = dict[str, Any]
"""Values by column: text (amounts, prices and quantities too), int (nanoseconds), bool, a list of ids, or None."""

EXACT = NANO * NANO


@dataclass(frozen=True, slots=True)
class Span:
    """From and to when, Unix ns, the end not included; None leaves a side open. Times are told in `zone`."""

    from_ns: int | None = None
    to_ns: int | None = None
    zone: tzinfo = UTC

    def text(self, ns: int | None) -> str | None:
        """Return a moment as RFC 3339 in the zone, with all nine digits of its second."""
        if ns is None:
            return None
        seconds, fraction = divmod(ns, NS_PER_S)
        clock, offset = datetime.fromtimestamp(seconds, self.zone).isoformat()[:19], self._offset(seconds)
        return f"{clock}.{fraction:09d}{offset}"

    def day(self, ns: int | None) -> str | None:
        """Return the date of a moment in the zone."""
        return None if ns is None else datetime.fromtimestamp(ns // NS_PER_S, self.zone).date().isoformat()

    def _offset(self, seconds: int) -> str:
        offset = datetime.fromtimestamp(seconds, self.zone).isoformat()[19:]
        return "Z" if offset == "+00:00" else offset


@dataclass(frozen=True, slots=True)
class Export:
    """One kind of export: its columns in order, the SQL of its keys (oldest first), and how a row is made of a key."""

    columns: tuple[str, ...]
    keys: str
    row: Callable[[sqlite3.Connection, tuple[Any, ...], Span], Row]
    reads: tuple[str, ...]

    def count(self, db: sqlite3.Connection, span: Span) -> int:
        """Return how many rows there are. Raises sqlite3.Error."""
        return int(db.execute(f"SELECT count(*) FROM ({self.keys})", _bounds(span)).fetchone()[0])  # noqa: S608

    def rows(self, db: sqlite3.Connection, span: Span) -> Iterator[Row]:
        """Yield every row, oldest first, with every column. Raises sqlite3.Error."""
        for key in db.execute(self.keys, _bounds(span)):
            found = self.row(db, tuple(key), span)
            yield {name: found[name] for name in self.columns}


def open_for_export(path: Path, kind: str) -> sqlite3.Connection:
    """Return a read-only connection in one transaction, which sees the ledger as it is now.

    Raises:
        LedgerUnreadable: no ledger, or one of another version that does not have what is wanted.
        sqlite3.Error: it is locked or broken.
    """
    db = open_ledger(path)
    try:
        db.execute("BEGIN")
        _check_version(db, path, kind)
    except BaseException:
        db.close()
        raise
    return db


def _check_version(db: sqlite3.Connection, path: Path, kind: str) -> None:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise LedgerUnreadable(
            f"{path} was written by a newer Hands (ledger version {version}, this one knows {SCHEMA_VERSION})"
        )
    lacking = [name for view in EXPORTS[kind].reads for name in _lacking(db, view)]
    if lacking:
        raise LedgerUnreadable(
            f"{path} was written by an older Hands (ledger version {version}, this one is at {SCHEMA_VERSION}) and"
            f" lacks {', '.join(lacking)}: only the daemon brings it up to date, so start `hands run` on it once"
        )


def _lacking(db: sqlite3.Connection, view: str) -> list[str]:
    """Return the columns of a view's table that the file does not have."""
    table = TABLES[view]
    there = {row[1] for row in db.execute(f"PRAGMA table_info({table.stored})")}
    return [f"{view}.{column.name}" for column in table.columns if column.stored not in there]


def _bounds(span: Span) -> dict[str, int | None]:
    return {"from": span.from_ns, "to": span.to_ns}


def _within(column: str) -> str:
    """Return the condition of a span; a row whose time nobody knows is in no span but the whole."""
    return f"(:from IS NULL OR {column} >= :from) AND (:to IS NULL OR {column} < :to)"


def _amount(value: float | None) -> str | None:
    """Return nano-units as exact decimal text; what was beyond 64 bits is kept as the nearest float."""
    return None if value is None else decimal_text(int(value))


def _product(value: int) -> str:
    """Return a price times a quantity (units of 10⁻¹⁸) as exact decimal text."""
    whole, rest = divmod(value, EXACT)
    digits = f"{rest:018d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def _object(text: str | None) -> Mapping[str, Any]:
    """Return a JSON column's object; an empty one where there is none."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# --- trades ------------------------------------------------------------------------------------------------------

_LEG = ("qty", "avg_price", "value_usd", "client_order_ids", "order_ids", "fills")
_LEG_TIMES = ("date", "first_fill_at", "first_fill_ns", "last_fill_at", "last_fill_ns")


def _leg_columns(leg: str) -> tuple[str, ...]:
    return tuple(f"{leg}_{name}" for name in (*_LEG_TIMES, *_LEG))


def _trade(db: sqlite3.Connection, key: tuple[Any, ...], span: Span) -> Row:
    with closing(db.execute("SELECT * FROM ledger_trade_episodes WHERE number = ?", key)) as found:
        told = found.fetchone()
    intent_id = told["intent_id"]
    entry, exit_ = _Leg(), _Leg()
    for leg, qty, price, at_ns in db.execute(
        "SELECT leg, qty_nano, price_nano, at_ns FROM ledger_fills WHERE intent_id = ? AND qty_nano IS NOT NULL"
        " AND price_nano IS NOT NULL AND at_ns IS NOT NULL ORDER BY at_ns, number",
        (intent_id,),
    ):
        (entry if leg == "entry" else exit_).fill(qty, price, at_ns)
    for leg, client_order_id, order_id in db.execute(
        "SELECT leg, client_order_id, order_id FROM ledger_orders WHERE intent_id = ? AND filled_qty_nano > 0"
        " ORDER BY created_ns, number",
        (intent_id,),
    ):
        (entry if leg == "entry" else exit_).order(client_order_id, order_id)
    return {
        "intent_id": intent_id,
        "agent": told["agent"],
        "strategy_ref": told["strategy_ref"],
        "asset": told["asset"],
        "direction": told["direction"],
        "opened_at": span.text(told["opened_at_ns"]),
        "opened_ns": told["opened_at_ns"],
        "closed_at": span.text(told["closed_at_ns"]),
        "closed_ns": told["closed_at_ns"],
        **entry.columns("entry", told["entry_price_nano"], span, qty=told["qty_nano"]),
        **exit_.columns("exit", told["exit_price_nano"], span),
        "fees_usd": _amount(told["fees_nano"]),
        "fees_estimated": None if told["fees_estimated"] is None else bool(told["fees_estimated"]),
        "pnl_usd": _amount(told["actual_pnl_nano"]),
        "pnl_pct": _amount(told["pnl_pct_nano"]),
        "exit_reason": told["exit_reason"],
        "thesis": told["agent_thesis"],
    }


class _Leg:
    """One side of a trade, added up from its executions."""

    def __init__(self) -> None:
        self.qty = 0
        self.value = 0
        self.fills = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.client_order_ids: list[str] = []
        self.order_ids: list[str] = []

    def fill(self, qty: int, price: int, at_ns: int) -> None:
        """Take the next execution, in the order of their times."""
        self.fills += 1
        self.qty += int(qty)
        self.value += int(qty) * int(price)
        self.first_ns = at_ns if self.first_ns is None else self.first_ns
        self.last_ns = at_ns

    def order(self, client_order_id: str, order_id: str | None) -> None:
        self.client_order_ids.append(client_order_id)
        if order_id is not None:
            self.order_ids.append(order_id)

    def columns(self, leg: str, average: int | None, span: Span, *, qty: int | None = None) -> Row:
        """Return its columns. `qty` is what the trade itself says, which goes before what its executions add up to: of
        an adopted holding there are none, and its price is the venue's average."""
        held = self.qty or None if qty is None else int(qty)
        value = self.value if held is not None and self.qty == held else None
        if value is None and held is not None and average is not None:
            value = held * int(average)
        return {
            f"{leg}_date": span.day(self.last_ns if leg == "exit" else self.first_ns),
            f"{leg}_first_fill_at": span.text(self.first_ns),
            f"{leg}_first_fill_ns": self.first_ns,
            f"{leg}_last_fill_at": span.text(self.last_ns),
            f"{leg}_last_fill_ns": self.last_ns,
            f"{leg}_qty": _amount(held),
            f"{leg}_avg_price": _amount(average),
            f"{leg}_value_usd": None if value is None else _product(value),
            f"{leg}_client_order_ids": self.client_order_ids,
            f"{leg}_order_ids": self.order_ids,
            f"{leg}_fills": self.fills or None,
        }


# --- fills -------------------------------------------------------------------------------------------------------


def _fill(db: sqlite3.Connection, key: tuple[Any, ...], span: Span) -> Row:
    told = db.execute(
        "SELECT f.*, i.agent, i.strategy_ref FROM ledger_fills f LEFT JOIN ledger_intents i"
        " ON i.intent_id = f.intent_id WHERE f.number = ?",
        key,
    ).fetchone()
    qty, price, fee = told["qty_nano"], told["price_nano"], told["fee_nano"]
    return {
        "execution_id": told["execution_id"],
        "date": span.day(told["at_ns"]),
        "at": span.text(told["at_ns"]),
        "at_ns": told["at_ns"],
        "symbol": told["symbol"],
        "side": told["side"],
        "leg": told["leg"],
        "qty": _amount(qty),
        "price": _amount(price),
        "value_usd": None if qty is None or price is None else _product(int(qty) * int(price)),
        "fee_usd": _amount(fee),
        # Only coins cost a fee, which the venue books later: the ledger has what it comes to at the taker's rate.
        "fee_estimated": None if fee is None else "/" in (told["symbol"] or ""),
        "client_order_id": told["client_order_id"],
        "order_id": told["order_id"],
        "intent_id": told["intent_id"],
        "agent": told["agent"],
        "strategy_ref": told["strategy_ref"],
    }


# --- intents -----------------------------------------------------------------------------------------------------

_JUDGED, _REFUSED = 0, 1
_PLANNED = (
    *("client_order_id", "order_class", "side", "qty", "limit_price", "take_profit", "stop_loss"),
    *("risk_usd", "notional_usd"),
)


def _intent(db: sqlite3.Connection, key: tuple[Any, ...], span: Span) -> Row:
    _, source, number = key
    return _judged(db, number, span) if source == _JUDGED else _refused(db, number, span)


def _judged(db: sqlite3.Connection, number: int, span: Span) -> Row:
    told = db.execute("SELECT * FROM ledger_intents WHERE number = ?", (number,)).fetchone()
    receipt, asked = _object(told["receipt"]), _object(told["document"])
    failed: Row = next((check for check in receipt.get("checks") or () if not check["ok"]), {})
    thesis = asked.get("thesis")
    return _empty() | {
        "intent_id": told["intent_id"],
        "kind": told["kind"],
        "agent": told["agent"],
        "strategy_ref": told["strategy_ref"],
        "symbol": told["symbol"],
        "direction": told["direction"],
        "received_at": span.text(told["received_ns"]),
        "received_ns": told["received_ns"],
        "decided_at": span.text(told["decided_ns"]),
        "decided_ns": told["decided_ns"],
        "sent_ns": told["sent_ns"],
        "verdict": told["verdict"],
        "code": told["code"],
        "message": receipt.get("message"),
        "check": failed.get("check"),
        "observed": failed.get("observed"),
        "allowed": failed.get("limit"),
        "state": told["state"],
        "confidence": _amount(told["confidence_nano"]),
        "asked_trigger_price": _amount(told["trigger_price_nano"]),
        "asked_stop_loss": _amount(told["stop_loss_nano"]),
        "asked_take_profit": _amount(told["take_profit_nano"]),
        **{f"plan_{name}": (receipt.get("order") or {}).get(name) for name in _PLANNED},
        "plan_bound_by": (receipt.get("sizing") or {}).get("binding"),
        "thesis": thesis if isinstance(thesis, str) else None,
    }


def _refused(db: sqlite3.Connection, number: int, span: Span) -> Row:
    """Return what could not be read as a document, or came under an id that was used up: it has no plan and no state."""
    told = db.execute("SELECT * FROM ledger_rejections WHERE number = ?", (number,)).fetchone()
    return _empty() | {
        "intent_id": told["intent_id"],
        "agent": told["agent"],
        "decided_at": span.text(told["at_ns"]),
        "decided_ns": told["at_ns"],
        "verdict": "REFUSED",
        "code": told["code"],
        "message": _object(told["detail"]).get("message"),
    }


def _empty() -> Row:
    return dict.fromkeys(EXPORTS["intents"].columns)


# --- the table -----------------------------------------------------------------------------------------------------

EXPORTS: Mapping[str, Export] = {
    "trades": Export(
        (
            *("intent_id", "agent", "strategy_ref", "asset", "direction"),
            *("opened_at", "opened_ns", "closed_at", "closed_ns"),
            *_leg_columns("entry"),
            *_leg_columns("exit"),
            *("fees_usd", "fees_estimated", "pnl_usd", "pnl_pct", "exit_reason", "thesis"),
        ),
        f"SELECT number FROM ledger_trade_episodes WHERE {_within('closed_at_ns')} ORDER BY closed_at_ns, number",  # noqa: S608
        _trade,
        ("trade_episodes", "orders", "fills"),
    ),
    "fills": Export(
        (
            *("execution_id", "date", "at", "at_ns", "symbol", "side", "leg", "qty", "price", "value_usd"),
            *(
                "fee_usd",
                "fee_estimated",
                "client_order_id",
                "order_id",
                "intent_id",
                "agent",
                "strategy_ref",
            ),
        ),
        f"SELECT number FROM ledger_fills WHERE {_within('at_ns')} ORDER BY at_ns, number",  # noqa: S608
        _fill,
        ("fills", "intents"),
    ),
    "intents": Export(
        (
            *("intent_id", "kind", "agent", "strategy_ref", "symbol", "direction"),
            *("received_at", "received_ns", "decided_at", "decided_ns", "sent_ns"),
            *("verdict", "code", "message", "check", "observed", "allowed", "state"),
            *("confidence", "asked_trigger_price", "asked_stop_loss", "asked_take_profit"),
            *(f"plan_{name}" for name in _PLANNED),
            *("plan_bound_by", "thesis"),
        ),
        f"""SELECT at, source, number FROM (
            SELECT coalesce(decided_ns, received_ns) AS at, {_JUDGED} AS source, number FROM ledger_intents
            UNION ALL
            SELECT at_ns, {_REFUSED}, number FROM ledger_rejections r WHERE NOT EXISTS (
              SELECT 1 FROM ledger_intents i WHERE i.intent_id = r.intent_id AND i.code = r.code)
        ) WHERE {_within("at")} ORDER BY at, source, number""",  # noqa: S608
        _intent,
        ("intents", "rejections"),
    ),
}
"""What can be exported. Every name in the SQL is ours."""
