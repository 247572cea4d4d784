"""A replay's ledger: the views of `hands.db`, in memory.

Owns one SQLite database that nobody else writes, filled through the ledger's own tables and rows
(`hands.journal.schema`), so that reports and exports work on a replay as on a state directory. A row that does not fit is
a defect of ours and raises.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from hands.journal.schema import GATES, OWN_TABLES, SCHEMA_VERSION, TABLES, decode_row, encode_row, statement


def new_ledger() -> sqlite3.Connection:
    """Return an empty ledger, its rows usable as mappings. It may be read from any thread, one at a time."""
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    for ddl in (*OWN_TABLES, *(ddl for table in TABLES.values() for ddl in table.ddl()), GATES):
        db.execute(ddl)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("BEGIN")
    db.row_factory = sqlite3.Row
    return db


def add_row(db: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    """Write a row of the core as the projection would, through the bytes that the journal keeps of it."""
    sql, values = statement(table, decode_row(encode_row(row)))
    db.execute(sql, values)
