"""A replay's ledger: the views of `hands.db`, in memory.

Owns one SQLite database that nobody else writes, filled through the ledger's own tables and rows
(`hands.journal.schema`), so that reports and exports work on a replay as on a state directory. A row that does not fit is
a defect of ours and raises. The one idea: nobody reads before the replay is over, so of an order that changed six times
only the last row is written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from hands.journal.schema import GATES, OWN_TABLES, SCHEMA_VERSION, TABLES, decode_row, encode_row, statement

WAITING_MAX = 10_000
"""So many keys wait at most: some megabytes."""


def new_ledger() -> sqlite3.Connection:
    """Return an empty ledger, its rows usable as mappings. It may be read from any thread, one at a time."""
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    for ddl in (*OWN_TABLES, *(ddl for table in TABLES.values() for ddl in table.ddl()), GATES):
        db.execute(ddl)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("BEGIN")
    db.row_factory = sqlite3.Row
    return db


class Rows:
    """Rows of the core on their way into a ledger, as the bytes that the journal keeps of them.

    Those under one key wait under it, and one of the same columns as an earlier one takes its place: what is written
    comes to the same, in the same order, as all of them one after the other.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._waiting: dict[tuple[str, Any], dict[tuple[str, ...], bytes]] = {}
        self._added = 0

    def add(self, table: str, row: Mapping[str, Any]) -> None:
        """Take a row. Raises RowError for one, here or earlier, that does not fit, by the time it is written."""
        self._added += 1
        key = TABLES[table].key if table in TABLES else None
        waiting = self._waiting.setdefault((table, self._added if key is None else row.get(key)), {})
        names = tuple(row)
        waiting.pop(names, None)  # behind rows of other columns: it is the last word on its own
        waiting[names] = encode_row(row)
        if len(self._waiting) >= WAITING_MAX:
            self.write()

    def write(self) -> None:
        """Write what waits, as the projection would. Raises RowError."""
        for (table, _), rows in self._waiting.items():
            for data in rows.values():
                self._db.execute(*statement(table, decode_row(data)))
        self._waiting.clear()
