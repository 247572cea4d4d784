"""The projection: from the journal's outbox into `hands.db`, in a thread of its own.

Owns `hands.db`; everybody else opens it read-only (`reader`). May not be waited for by the engine. The one idea:
the outbox *is* the queue. The engine commits ledger rows with everything else and calls `wake()`; this thread
reads what is committed through its own read-only connection, writes it in batches, and keeps how far it has come
in the same transaction. So nothing is projected that was not committed, nothing twice, and nothing can
overflow: a slow or blocked `hands.db` only makes the views late, and a log that one endless reader holds open is bounded.

Guaranteed: once `flush` returns True, `hands.db` shows every row committed before it, each exactly once. Readers
cannot hurt the engine, whatever they hold open. Somebody holding a *write* lock on `hands.db` delays the views, not
the engine. A deleted or broken `hands.db` is rebuilt from the outbox, which keeps everything not yet projected
and at least the newest 10 000 rows; what is older is then gone from the views (the journal still has its events).
A row that does not fit the schema is set aside in `hands.db` and reported, and does not stop the others.
"""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from hands.journal.log_size import KEPT, MIB, log_bytes, log_fault
from hands.journal.reader import open_read_only
from hands.journal.schema import (
    ADDED,
    GATES,
    OWN_TABLES,
    SCHEMA_VERSION,
    TABLES,
    RowError,
    decode_row,
    statement,
)

BATCH_ROWS = 256
IDLE_S = 1.0
GATHER_S = 0.01
"""A pause after each wake-up, so that one turn's rows and the next one's share a transaction."""

LOG_MAX = 512 * MIB
"""While one reader holds the log open it grows up to this; then what is to be shown waits in the journal."""

HELD_BACK_S = 2.0
HELD_BACK_ROWS = 4096
"""While a reader holds the log, batches are rarer and larger: each one adds whole pages, however few its rows."""

RETRY_FIRST_S = 0.05
RETRY_MAX_S = 2.0
BUSY_TIMEOUT_S = 0.25

_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class LedgerError(Exception):
    """`hands.db` cannot be used: written by a newer program, or not a ledger at all."""


class Ledger:
    """The projector of the journal at `journal` into the database at `path`.

    `start` once, `wake` after commits, `flush` before stopping, `close` before the journal is closed. The properties may
    be read from any thread.
    """

    def __init__(self, path: Path, journal: Path) -> None:
        self.path = path
        self._journal_path = journal
        self._journal: sqlite3.Connection | None = None
        self._db: sqlite3.Connection | None = None
        self._inodes = (0, 0)
        self._ceiling: int | None = None
        self._position = 0
        self._set_aside = 0
        self._fault: str | None = None
        self._log_fault: str | None = None
        self._wake = threading.Event()
        self._pause = threading.Event()
        self._turn = threading.Condition()
        self._asked = 0
        self._answered = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def start(self) -> None:
        """Begin projecting, with what a former session left in the outbox. Call it before the first commit.

        Raises:
            LedgerError: `path` was written by a newer Hands or is another program's database, or there is no journal.
        """
        _refuse_foreign(self.path)
        [(self._ceiling,)] = self._ask_journal("SELECT coalesce(max(id), 0) FROM outbox")
        self._close_connections()  # a connection is opened by the thread that uses it
        self._thread.start()

    def wake(self) -> None:
        """Say that rows were committed. Costs about a microsecond; a forgotten call costs a second's delay."""
        self._wake.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until every row committed before this call is in `hands.db`; False if that takes too long."""
        if not self._thread.is_alive():
            return False
        with self._turn:
            self._asked += 1
            mine = self._asked
            self._wake.set()
            return self._turn.wait_for(lambda: self._answered >= mine, timeout_s)

    def close(self, timeout_s: float = 2.0) -> None:
        """Stop after the batch in hand. What is not projected stays in the outbox for the next start."""
        self._stopping = True
        self._pause.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def position(self) -> int:
        """The outbox position up to which everything is projected: what `JournalStore.trim_outbox` takes."""
        return self._position

    @property
    def fault(self) -> str | None:
        """Why the projection stands still just now; None while it runs."""
        if self._fault is None and self._thread.ident and not self._thread.is_alive() and not self._stopping:
            return f"{self.path.name}: the projecting thread has died"
        return self._fault or self._log_fault

    @property
    def set_aside(self) -> int:
        """How many rows did not fit the schema since start: a defect of ours that the operator must see."""
        return self._set_aside

    # --- the thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        retry_s = RETRY_FIRST_S
        while True:
            asked = self._asked
            try:
                moved = self._project_batch()
                self._mind_log()
            except (sqlite3.Error, OSError, LedgerError) as error:
                self._fault = f"{self.path.name}: {error}"
                self._give_up(error)
                if self._stopping:
                    break
                self._wake.clear()
                self._wake.wait(retry_s)
                retry_s = min(2 * retry_s, RETRY_MAX_S)
                continue
            self._fault = None
            retry_s = RETRY_FIRST_S
            if moved:
                if self._log_fault is not None:
                    self._pause.wait(HELD_BACK_S)
                continue
            with self._turn:
                self._answered = asked
                self._turn.notify_all()
            if self._stopping:
                break
            self._wake.wait(IDLE_S)
            self._wake.clear()
            if self._asked == asked and not self._stopping:
                time.sleep(GATHER_S)
        self._close_connections()

    def _mind_log(self) -> None:
        """Say of a log that it grows, let it grow less, and cut it back as soon as nobody holds it any more."""
        if log_fault(self.path) is not None and self._db is not None:
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._log_fault = log_fault(self.path)

    def _project_batch(self) -> int:
        """Project up to `BATCH_ROWS` rows in one transaction; return how many there were.

        Raises:
            LedgerError: a reader holds the log, and it has grown so large that the rows are safer in the journal.
        """
        db = self._ledger()
        if log_bytes(self.path) >= LOG_MAX:
            self._mind_log()
            if log_bytes(self.path) >= LOG_MAX:
                raise LedgerError(f"{log_fault(self.path)}; nothing is added to it until that is over")
        rows = self._outbox()
        if not rows:
            return 0
        db.execute("BEGIN IMMEDIATE")
        misfits = 0
        for position, seq, table, data in rows:  # one statement per row: each lets the engine's thread in
            reason = _project(db, table, data)
            if reason is not None:
                misfits += 1
                text = data.decode("utf-8", "replace")
                db.execute(
                    "INSERT INTO set_aside VALUES (?, ?, ?, ?, ?)", (position, seq, table, text, reason)
                )
        position, seq = rows[-1][0], rows[-1][1]
        db.execute("UPDATE projection SET position = ?, seq = ?", (position, seq))
        db.execute("COMMIT")
        self._position = position
        self._set_aside += misfits
        return len(rows)

    def _outbox(self) -> list[tuple[int, int, str, bytes]]:
        return self._ask_journal(
            "SELECT id, seq, tbl, row FROM outbox WHERE id > ? ORDER BY id LIMIT ?",
            (self._position, BATCH_ROWS if self._log_fault is None else HELD_BACK_ROWS),
        )

    def _ask_journal(self, sql: str, values: tuple[int, ...] = ()) -> list[Any]:
        try:
            if self._journal is None:
                self._journal = open_read_only(self._journal_path, timeout_s=BUSY_TIMEOUT_S)
            return self._journal.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise LedgerError(f"the journal's outbox cannot be read: {error}") from error

    def _ledger(self) -> sqlite3.Connection:
        """Return the open ledger; open it (again) if somebody removed or replaced the file or its log."""
        if self._db is not None and self._inodes == _inodes(self.path):
            return self._db
        self._close_connections()
        db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            _prepare(db)
            [(journal_id,)] = self._ask_journal("SELECT value FROM meta WHERE key = 'journal_id'")
            position = _resume(db, str(journal_id), self._ceiling)
        except BaseException:
            db.close()
            raise
        self._ceiling = None
        self._position = position
        self._inodes = _inodes(self.path)
        self._db = db
        return db

    def _give_up(self, error: Exception) -> None:
        """Undo the batch in hand; where the file itself is broken, move it aside so that a new one is built."""
        self._close_connections()
        if (
            isinstance(error, sqlite3.DatabaseError)
            and getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN
        ):
            _move_aside(self.path)

    def _close_connections(self) -> None:
        for connection in (self._db, self._journal):
            if connection is not None:
                connection.close()  # rolls an open transaction back
        self._db = self._journal = None


def _project(db: sqlite3.Connection, table: str, data: bytes) -> str | None:
    """Write one row of the outbox; return why it cannot be, None if it was."""
    try:
        sql, values = statement(table, decode_row(data))
        db.execute(sql, values)
    except (RowError, sqlite3.IntegrityError) as error:
        return str(error)
    return None


def _refuse_foreign(path: Path) -> None:
    """Raise LedgerError where `path` must not be touched; a broken one may be (it is moved aside)."""
    if not path.exists():
        return
    try:
        with closing(open_read_only(path, timeout_s=BUSY_TIMEOUT_S)) as db:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            foreign = version == 0 and bool(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    except sqlite3.Error:
        return  # locked or broken: the thread's business
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"{path} was written by a newer Hands (ledger version {version}, this one knows {SCHEMA_VERSION})"
        )
    if foreign:
        raise LedgerError(f"{path} is a database, but not a ledger of Hands")


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(f"PRAGMA journal_size_limit = {KEPT}")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        lacking = [*OWN_TABLES, *(ddl for table in TABLES.values() for ddl in table.ddl()), GATES]
    else:
        lacking = [ddl for older, added in sorted(ADDED.items()) if older >= version for ddl in added]
    if lacking:
        db.execute("BEGIN IMMEDIATE")
        for ddl in lacking:
            db.execute(ddl)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")


def _resume(db: sqlite3.Connection, journal_id: str, ceiling: int | None) -> int:
    """Return the position to go on from: from nothing in a new ledger, or where the journal is another one.

    A power cut may take the journal's last commits although their rows were projected; positions above `ceiling`
    will then be given out again, so they do not count as projected.
    """
    found = db.execute("SELECT journal_id, position, seq FROM projection").fetchone()
    if found is not None and found[0] == journal_id and (ceiling is None or found[1] <= ceiling):
        return int(found[1])
    same = found is not None and found[0] == journal_id
    position, seq = (ceiling or 0, int(found[2])) if same else (0, 0)
    db.execute("INSERT OR REPLACE INTO projection VALUES (1, ?, ?, ?)", (journal_id, position, seq))
    return position


def _inodes(path: Path) -> tuple[int, int]:
    """Return those of the database and of its log; 0 for one that is not there."""
    return _inode(path), _inode(path.with_name(f"{path.name}-wal"))


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _move_aside(path: Path) -> None:
    """Rename a broken database to the first free `<name>.broken-<n>`; its log belongs to it and goes along."""
    free = next(n for n in itertools.count(1) if not path.with_name(f"{path.name}.broken-{n}").exists())
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(path.with_name(f"{path.name}.broken-{free}{suffix}"))
