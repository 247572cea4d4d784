"""What a ledger tells of a session, as values of which two can be compared: a daemon's, and its replay's.

Owns which columns count: what was decided, ordered, filled and earned, to the last nano-unit, each table in its order. What
no two runs share is left out: times, the venue's own ids, and the ids that it gives to the legs of a group.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from hands.core.orders import is_ours

Story = dict[str, list[tuple[Any, ...]]]

_QUESTIONS = {
    "verdicts": "SELECT intent_id, agent, kind, symbol, verdict, code, state FROM ledger_intents",
    "orders": "SELECT client_order_id, intent_id, leg, symbol, side, order_type, qty_nano, filled_qty_nano,"
    " avg_price_nano, limit_price_nano, stop_price_nano, status FROM ledger_orders",
    "fills": "SELECT intent_id, leg, symbol, side, qty_nano, price_nano, fee_nano FROM ledger_fills",
    "trades": "SELECT intent_id, asset, direction, exit_reason, qty_nano, entry_price_nano, exit_price_nano,"
    " actual_pnl_nano, fees_nano FROM ledger_trade_episodes",
}


def story(ledger: sqlite3.Connection) -> Story:
    """Return the story of a ledger, oldest first."""
    return {
        name: [
            tuple(
                "the venue's" if _is_strange(column, value) else value
                for column, value in zip(names, row, strict=True)
            )
            for row in found
        ]
        for name, (names, found) in ((name, _asked(ledger, sql)) for name, sql in _QUESTIONS.items())
    }


def _asked(ledger: sqlite3.Connection, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    cursor = ledger.execute(f"{sql} ORDER BY number")
    return [column[0] for column in cursor.description], [tuple(row) for row in cursor]


def _is_strange(column: str, value: Any) -> bool:
    return column == "client_order_id" and not is_ours(value)
