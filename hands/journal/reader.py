"""Reading the ledger, without ever writing it: for the command line, exports and reports.

Owns read-only connections and the questions asked most. Every row is a plain dict with the contract's column
names. A reader may hold `hands.db` open for as long as it likes; what the journal holds is for `record` to read.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hands.journal.schema import VIEWS

LIVE_STATES = ("ARMED", "PENDING_APPROVAL", "WORKING", "UNKNOWN", "OPEN", "CLOSING", "FROZEN")
"""The states of an intent whose business is not over."""


class LedgerUnreadable(Exception):  # noqa: N818  (says what is the case)
    """There is no ledger (or journal) at that path, or it cannot be read."""


def open_read_only(path: Path, *, timeout_s: float = 1.0) -> sqlite3.Connection:
    """Return a connection that cannot write. Raises sqlite3.Error."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=timeout_s, isolation_level=None
    )


def open_ledger(path: Path) -> sqlite3.Connection:
    """Return a read-only connection to the ledger `hands.db`, its rows usable as mappings.

    Raises:
        LedgerUnreadable: no such file, no permission, or not a ledger.
    """
    try:
        path.stat()  # says why where SQLite only says that it cannot
        db = open_read_only(path)
    except (OSError, sqlite3.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise LedgerUnreadable(f"{path} cannot be opened: {why}") from error
    db.row_factory = sqlite3.Row
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        db.close()
        raise LedgerUnreadable(f"{path} cannot be read: {error}") from error
    if version == 0:
        db.close()
        raise LedgerUnreadable(f"{path} is not a ledger of Hands")
    return db


def rows(db: sqlite3.Connection, view: str) -> Iterator[dict[str, Any]]:
    """Yield all rows of one of the contract's views, oldest first. Raises ValueError for any other name."""
    if view not in VIEWS:
        raise ValueError(f"there is no view {view!r}; there are {', '.join(VIEWS)}")
    return _ask(db, f"SELECT * FROM {view}")  # noqa: S608  (a name of ours)


def open_trades(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return the intents whose business is not over, oldest first."""
    marks = ", ".join("?" * len(LIVE_STATES))
    sql = f"SELECT * FROM intents WHERE kind = 'intent' AND state IN ({marks}) ORDER BY decided_ns"  # noqa: S608
    return list(_ask(db, sql, *LIVE_STATES))


def levels(row: Mapping[str, Any]) -> dict[str, str | None]:
    """Return an open trade's stop and target as decimal text: as its last receipt has them, or as its intent had."""
    told = json.loads(row["receipt"]) if row["receipt"] else {}
    found = told.get("levels") or {name: row[name] for name in ("stop_loss", "take_profit")}
    return {name: None if value is None else _price(value) for name, value in found.items()}


def _price(value: str | float) -> str:
    """Return a price with two decimals at least."""
    whole, _, part = f"{float(value):.9f}".rstrip("0").partition(".")
    return f"{whole}.{part.ljust(2, '0')}"


def recent_verdicts(db: sqlite3.Connection, limit: int = 50, since_ns: int = 0) -> list[dict[str, Any]]:
    """Return the newest judged documents, newest first, with their denials' limit and observed value."""
    return list(
        _ask(
            db,
            "SELECT intent_id, agent, kind, symbol, direction, verdict, code, state, strategy_ref, decided_ns,"
            " (SELECT limit_value FROM rejections r WHERE r.intent_id = i.intent_id AND r.code = i.code) AS limit_value,"
            " (SELECT observed FROM rejections r WHERE r.intent_id = i.intent_id AND r.code = i.code) AS observed"
            " FROM intents i WHERE decided_ns >= ? ORDER BY decided_ns DESC LIMIT ?",
            since_ns,
            limit,
        )
    )


def states(db: sqlite3.Connection, limit: int = 50) -> list[dict[str, Any]]:
    """Return the newest changes of the trading state's reasons, newest first."""
    return list(_ask(db, "SELECT * FROM states ORDER BY at_ns DESC LIMIT ?", limit))


def reasons(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return the reasons of the trading state that are set now: each one's last change, where that set it."""
    return list(
        _ask(
            db,
            "SELECT at_ns, state, reason, event, detail FROM ledger_states s WHERE event = 'set' AND number ="
            " (SELECT max(number) FROM ledger_states t WHERE t.reason = s.reason) ORDER BY at_ns",
        )
    )


def intent(db: sqlite3.Connection, intent_id: str) -> dict[str, Any] | None:
    """Return one judged document's row, None if there is none."""
    return next(_ask(db, "SELECT * FROM intents WHERE intent_id = ?", intent_id), None)


def _ask(db: sqlite3.Connection, sql: str, *values: object) -> Iterator[dict[str, Any]]:
    return (dict(row) for row in db.execute(sql, values))
