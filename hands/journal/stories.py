"""Why it did or did not trade: the ledger's rows of one document as a story, and of a time as a table.

Owns the questions behind `hands explain`; reads only, so it works with the daemon down. May not judge or guess: what the
ledger does not know is null. The one idea: a receipt is kept with its intent's row as it was last written, so what was
observed and allowed is told in the guardian's own words.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

Story = dict[str, Any]

SPANS = (
    ("decided", "file_event", "decided"),
    ("journaled", "decided", "journaled"),
    ("sent", "journaled", "sent"),
    ("file_to_sent", "file_event", "sent"),
    ("acknowledged", "sent", "acked"),
    ("filled", "sent", "filled"),
)
"""The ways whose time is told, by the receipt's stamps."""

PREFIX_MIN = 4
FOUND_MAX = 20


def matching(db: sqlite3.Connection, start: str) -> list[str]:
    """Return the ids that begin with `start` (or are it), newest first, at most `FOUND_MAX`. Raises sqlite3.Error."""
    sql = (
        "SELECT intent_id, max(at_ns) AS at_ns FROM ("
        " SELECT intent_id, received_ns AS at_ns FROM intents UNION ALL SELECT intent_id, at_ns FROM rejections)"
        " WHERE substr(intent_id, 1, ?) = ? GROUP BY intent_id ORDER BY at_ns DESC LIMIT ?"
    )
    return [row["intent_id"] for row in db.execute(sql, (len(start), start, FOUND_MAX))]


def story(db: sqlite3.Connection, intent_id: str) -> Story | None:
    """Return everything the ledger has about one document, None where it has nothing. Raises sqlite3.Error."""
    row = db.execute("SELECT * FROM intents WHERE intent_id = ?", (intent_id,)).fetchone()
    refusals = [
        {name: each[name] for name in ("agent", "code", "limit_value", "observed", "at_ns")}
        | {"detail": _json(each["detail"])}
        for each in db.execute("SELECT * FROM rejections WHERE intent_id = ? ORDER BY at_ns", (intent_id,))
    ]
    if row is None and not refusals:
        return None
    receipt = _json(row["receipt"]) if row is not None else None
    episode = db.execute("SELECT * FROM trade_episodes WHERE intent_id = ?", (intent_id,)).fetchone()
    return {
        "intent_id": intent_id,
        "intent": None
        if row is None
        else {n: row[n] for n in row.keys() if n not in ("document", "receipt")},  # noqa: SIM118
        "document": None if row is None else _json(row["document"]),
        "receipt": receipt,
        "rejections": refusals,
        "orders": _rows(db, "SELECT * FROM orders WHERE intent_id = ? ORDER BY created_ns", intent_id),
        "fills": _rows(db, "SELECT * FROM fills WHERE intent_id = ? ORDER BY at_ns", intent_id),
        "trade": None if episode is None else dict(episode),
        "latencies_us": _latencies(receipt),
    }


def _rows(db: sqlite3.Connection, sql: str, *values: object) -> list[Story]:
    return [dict(row) for row in db.execute(sql, values)]


def _json(text: str | None) -> Any:
    """Return what a JSON column holds; text that is none (a document as it was dropped) as it is."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _latencies(receipt: Any) -> dict[str, float | None]:
    stamps = receipt.get("stamps_ns") if isinstance(receipt, dict) else None
    found: dict[str, float | None] = {}
    for name, first, last in SPANS:
        begin, end = (stamps or {}).get(first), (stamps or {}).get(last)
        found[name] = None if begin is None or end is None else round((end - begin) / 1000, 1)
    return found


# --- a time --------------------------------------------------------------------------------------------------

_JUDGED = """
SELECT verdict, code, agent, symbol, count(*) AS count, max(coalesce(decided_ns, received_ns)) AS last_ns, intent_id,
  CASE WHEN json_valid(receipt) THEN json_extract(receipt, '$.message') END AS message
FROM intents WHERE coalesce(decided_ns, received_ns) >= ? GROUP BY verdict, code, agent, symbol
"""
_REFUSED = """
SELECT 'REFUSED' AS verdict, code, agent, NULL AS symbol, count(*) AS count, max(at_ns) AS last_ns, intent_id,
  CASE WHEN json_valid(detail) THEN json_extract(detail, '$.message') END AS message
FROM rejections r WHERE at_ns >= ?
  AND NOT EXISTS (SELECT 1 FROM intents i WHERE i.intent_id = r.intent_id AND i.code = r.code)
GROUP BY code, agent
"""
# With max(), SQLite takes the other columns from the row that has it: the last example.


def summary(db: sqlite3.Connection, since_ns: int) -> Story:
    """Return the verdicts since then by code, agent and symbol, the commonest first, and what the trades came to.

    Each row carries the last example's id and message. Raises sqlite3.Error.
    """
    rows = _rows(db, _JUDGED, since_ns) + _rows(db, _REFUSED, since_ns)
    rows.sort(key=lambda row: (-row["count"], -row["last_ns"]))
    ended = db.execute(
        "SELECT count(*), coalesce(sum(actual_pnl), 0), coalesce(sum(actual_pnl > 0), 0) FROM trade_episodes"
        " WHERE intent_id IN (SELECT intent_id FROM ledger_trade_episodes WHERE closed_at_ns >= ?)",
        (since_ns,),
    ).fetchone()
    return {
        "since_ns": since_ns,
        "documents": sum(row["count"] for row in rows),
        "verdicts": rows,
        "trades_closed": ended[0],
        "trades_won": ended[2],
        "pnl_usd": round(ended[1], 2),
    }
