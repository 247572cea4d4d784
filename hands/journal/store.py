"""The write-ahead journal: `journal.db`, one writer, on the engine's own thread.

Owns the durable record of inputs, of open business and of ledger rows not yet projected. May not interpret any
of it. The one idea: what one turn of the engine wants remembered is gathered in memory and written by
`commit()` in one transaction, so a crash leaves all of a turn or nothing of it, and a commit that failed keeps
its rows for the next one, so a disk that comes back has lost nothing.

Durability: a committed row survives the death of the process at any moment; with `durability="disk"` the death
of the machine too (an fsync per commit, ~180 us instead of ~15). Checkpoints cost up to 3.5 ms and therefore
never happen in a commit: a thread with a connection of its own does them.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from hands.journal import log_size
from hands.journal.chain import NO_SEAL, SEAL_BYTES
from hands.journal.checkpointer import BUSY_TIMEOUT_S, Checkpointer, said
from hands.journal.keys import Keys
from hands.journal.leftovers import newer_step
from hands.journal.lock import StateDirInUse, StateDirLock
from hands.journal.log_size import log_fault
from hands.journal.segments import folder_of
from hands.journal.steps import Step, sealed_body

__all__ = ["JournalError", "JournalStore", "StateDirBoundElsewhere", "StateDirInUse"]

SCHEMA_VERSION = 2
APPLICATION_ID = 0x48616E64  # "Hand"

OUTBOX_KEPT = 10_000
"""Projected ledger rows kept back, from which a lost `hands.db` is rebuilt."""

BACKLOG_MAX = 200_000
"""Rows held in memory while the disk refuses them; beyond it the journal refuses more."""

TRIM_BATCH = 256
TRIM_STEPS = 64
"""Ledger rows and steps, which are larger, removed at once: 0.2 ms of the engine's thread."""

_SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    (
        "CREATE TABLE events (seq INTEGER PRIMARY KEY, ts_ns INTEGER NOT NULL, kind TEXT NOT NULL, payload BLOB NOT NULL,"
        " row INTEGER NOT NULL DEFAULT 0, commands BLOB NOT NULL DEFAULT x'', epoch INTEGER NOT NULL DEFAULT 0,"
        " seal BLOB NOT NULL DEFAULT x'')"
    ),
    "CREATE TABLE state (entity TEXT, key TEXT, doc BLOB NOT NULL, PRIMARY KEY (entity, key)) WITHOUT ROWID",
    "CREATE TABLE outbox (id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, tbl TEXT NOT NULL, row BLOB NOT NULL)",
)

_MIGRATIONS = {
    1: (
        "ALTER TABLE events ADD COLUMN row INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE events ADD COLUMN commands BLOB NOT NULL DEFAULT x''",
        "ALTER TABLE events ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE events ADD COLUMN seal BLOB NOT NULL DEFAULT x''",
    ),
}
"""From each older schema to the next: what was written before 2 has no commands and no seal, and is never sealed later."""


_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def way_out(error: BaseException) -> str:
    """Return what an operator can do about a journal with which no start is possible, because of `error`.

    Only a broken one is given up: one whose disk is full, read-only or locked knows what is open as well as ever.
    """
    cause = error.__cause__ if isinstance(error, JournalError) else error
    code = getattr(cause, "sqlite_errorcode", None)
    if code is None or code & 0xFF in _BROKEN:
        return (
            "Nothing was changed. Move the whole state directory aside and start with an empty one: what is open at the"
            " venue is found there, stays protected, and is named (docs/recovery.md)"
        )
    return (
        "Keep the directory: its records are needed. Make room, let it be written, or end what holds it locked, and start"
        " again (docs/recovery.md)"
    )


class JournalError(Exception):
    """The journal cannot be opened, read or written; what was not committed before it is still pending."""


class StateDirBoundElsewhere(JournalError):  # noqa: N818  (a refusal, named for what is the case)
    """This state directory belongs to another venue, host or account."""


class JournalStore:
    """The open journal at `path`. Every method is for one thread, the one that runs the engine.

    Takes the exclusive lock of the directory that holds `path`.

    Raises:
        StateDirInUse: another process has this state directory open.
        JournalError: not a journal, a newer one than this program knows, or an I/O error.
    """

    def __init__(self, path: Path, *, durability: Literal["process", "disk"] = "process") -> None:
        self.path = path
        self._steps: list[tuple[int, int, str, bytes, int, bytes, int, bytes]] = []
        self._state: dict[tuple[str, str], bytes | None] = {}
        self._outbox: list[tuple[int, str, bytes]] = []
        self._closed = False
        self._patient = True
        self._lock = StateDirLock(path.parent)
        self._files = str(path), f"{path}-wal"
        try:
            self._db = _open_writer(path, durability)
            file, its_log = map(os.stat, self._files)
            self._last_seq, epoch, head = self._last_step()
            newer = None
            with contextlib.suppress(OSError):  # the recorder will tell of it
                newer = newer_step(folder_of(path.parent), self._last_seq)
        except BaseException:
            self._lock.release()
            raise
        if newer is not None:  # the machine died, and the log of the last commits with it
            self._last_seq, epoch, head = newer.seq, newer.epoch, newer.seal or NO_SEAL
        self.keys = Keys(path.parent)
        self._chain = self.keys.open("steps", epoch, head)
        self._identity, self._sizes = _ids(file, its_log), _sizes(file, its_log)
        self._checkpointer = Checkpointer(path)
        self._checkpointer.start()

    # --- writing -----------------------------------------------------------------------------------------

    @property
    def is_gone(self) -> bool:
        """Whether the file or its log was removed, replaced or cut under us: what is written now ends with the process."""
        path, log_path = self._files
        try:
            file, its_log = os.stat(path), os.stat(log_path)  # noqa: PTH116  (half of what Path.stat takes)
        except OSError:
            return True
        before, now = self._sizes, _sizes(file, its_log)
        self._sizes = now
        is_cut = now[0] < before[0] or now[1] < before[1]
        return is_cut or _ids(file, its_log) != self._identity

    @property
    def pending(self) -> bool:
        """Whether there is anything that the next `commit` would write."""
        return bool(self._steps or self._state or self._outbox)

    def append(
        self, seq: int, ts_ns: int, kind: str, payload: bytes, row: int = 0, commands: bytes = b""
    ) -> None:
        """Add a step (`hands.journal.steps`). Raises ValueError if `seq` does not grow, JournalError if the backlog is
        full."""
        if seq <= self._last_seq:
            raise ValueError(f"step {seq} after step {self._last_seq}: sequence numbers only grow")
        self._admit()
        chain = self._chain
        epoch = chain.epoch
        seal = chain.seal(sealed_body(seq, ts_ns, kind, payload, row, commands, epoch))
        self._steps.append((seq, ts_ns, kind, payload, row, commands, epoch, seal))
        self._last_seq = seq

    def ratchet(self) -> tuple[int, bytes]:
        """Go on to the chain's next key, if this one has sealed something; return the epoch and key of now, for whoever
        stores them."""
        self._chain.ratchet()
        return self._chain.epoch, self._chain.key

    def put(self, entity: str, key: str, doc: bytes) -> None:
        """Set the current state of one piece of open business; the last one before a commit counts."""
        self._state[entity, key] = doc

    def delete(self, entity: str, key: str) -> None:
        """Forget one piece of business that is over; unknown keys are fine."""
        self._state[entity, key] = None

    def outbox(self, seq: int, table: str, row: bytes) -> None:
        """Add a ledger row (`schema.encode_row`) that the projector will find once it is committed.

        There is always room for those of the step that has just been appended: it is not kept without them.
        """
        if not self._steps or self._steps[-1][0] != seq:
            self._admit()
        self._outbox.append((seq, table, row))

    def commit(self) -> None:
        """Write everything pending in one transaction; without anything pending do nothing.

        Raises:
            JournalError: disk full, I/O error, locked. Nothing was written, everything is still pending, and
                the next `commit` tries all of it again.
        """
        if not self.pending:
            return
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            if self._steps:
                db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._steps)
            if self._state:
                set_, gone = [], []
                for name, doc in self._state.items():
                    if doc is None:
                        gone.append(name)
                    else:
                        set_.append((*name, doc))
                db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", set_)
                if gone:
                    db.executemany("DELETE FROM state WHERE entity = ? AND key = ?", gone)
            if self._outbox:
                db.executemany("INSERT INTO outbox (seq, tbl, row) VALUES (?, ?, ?)", self._outbox)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            self._wait_when_busy(0.0)
            raise JournalError(f"journal not written ({said(error)}); kept for the next commit") from error
        self._steps.clear()
        self._state.clear()
        self._outbox.clear()
        if not self._patient:
            self._wait_when_busy(BUSY_TIMEOUT_S)
        self._checkpointer.commits += 1

    def refresh(self) -> None:
        """For idle moments: after a complete checkpoint pay for the log's restart now, not in an order's commit.

        The first commit after one has to sync the log's header (0.2 to 3 ms on the disks measured).
        """
        if self._checkpointer.restart_due and not self.pending:
            self._checkpointer.restart_due = False
            self.meta_set("refreshed", str(self._last_seq))

    def trim_outbox(self, position: int) -> int:
        """Remove some rows up to the ledger's `position`, never the newest 10 000; return how many.

        At most a small batch per call, so that it can be called on the engine's thread; none while something is pending,
        which goes first. Raises JournalError.
        """
        return self._trim("outbox", "id", position, OUTBOX_KEPT, TRIM_BATCH)

    def trim_steps(self, up_to: int) -> int:
        """Remove some steps up to number `up_to`, never the last one, on which the chain goes on; return how many.

        As `trim_outbox`: a small batch a call. Raises JournalError.
        """
        return self._trim("events", "seq", up_to, 1, TRIM_STEPS)

    def _trim(self, table: str, key: str, up_to: int, kept: int, most: int) -> int:
        """Remove the oldest rows. Both ends are read first: of two upper bounds SQLite goes by one, to its very end."""
        if self.pending:
            return 0
        try:
            ends = f"SELECT (SELECT min({key}) FROM {table}), (SELECT max({key}) FROM {table})"  # noqa: S608
            first, last = self._db.execute(ends).fetchone()
            if first is None or (end := min(up_to, last - kept, first + most - 1)) < first:
                return 0
            return self._db.execute(f"DELETE FROM {table} WHERE {key} <= ?", (end,)).rowcount  # noqa: S608
        except sqlite3.Error as error:
            raise JournalError(f"{table} not trimmed: {said(error)}") from error

    def meta_set(self, key: str, value: str) -> None:
        """Write one fact about the state directory at once, in a transaction of its own."""
        try:
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
        except sqlite3.Error as error:
            raise JournalError(f"{key} not written to the journal: {said(error)}") from error

    def bind(self, **identity: str) -> None:
        """Bind the state directory to `identity` (venue, host, account) at first use; later it must be the same.

        Raises:
            StateDirBoundElsewhere: it is bound to something else.
        """
        for name, value in identity.items():
            bound = self.meta_get(f"bound_{name}")
            if bound is not None and bound != value:
                raise StateDirBoundElsewhere(
                    f"{self.path.parent} belongs to {name} {bound!r}, not {value!r}: use another state directory"
                )
        for name, value in identity.items():
            if (
                self.meta_get(f"bound_{name}") is None
            ):  # else nothing is written: a start must do without room for it
                self.meta_set(f"bound_{name}", value)

    # --- reading (what is committed) ---------------------------------------------------------------------

    def load(self, entity: str) -> Iterator[tuple[str, bytes]]:
        """Yield (key, doc) of every piece of open business of that kind, in key order."""
        yield from self._rows("SELECT key, doc FROM state WHERE entity = ? ORDER BY key", (entity,))

    def events(self, from_seq: int = 0) -> Iterator[tuple[int, int, str, bytes]]:
        """Yield (seq, ts_ns, kind, payload) from `from_seq` on, in order; read it to its end."""
        yield from self._rows(
            "SELECT seq, ts_ns, kind, payload FROM events WHERE seq >= ? ORDER BY seq", (from_seq,)
        )

    def steps(self, from_seq: int = 0) -> Iterator[Step]:
        """Yield the steps from `from_seq` on as they were recorded, in order; read it to its end."""
        for row in self._rows("SELECT * FROM events WHERE seq >= ? ORDER BY seq", (from_seq,)):
            yield Step(*row)

    def last_seq(self) -> int:
        """Return the highest sequence number ever appended here, 0 in a new journal."""
        return self._last_seq

    def meta_get(self, key: str) -> str | None:
        found = next(self._rows("SELECT value FROM meta WHERE key = ?", (key,)), None)
        return None if found is None else str(found[0])

    @property
    def checkpoint_fault(self) -> str | None:
        """Why the log is not tidied up: a checkpoint that failed or does not end; None while all is well."""
        return self._checkpointer.fault_now()

    @property
    def fault(self) -> str | None:
        """What is wrong with the files just now, though commits succeed; None where nothing is."""
        return self.checkpoint_fault or log_fault(self.path)

    def close(self) -> None:
        """Commit what is pending, checkpoint, and give the directory back. May be called twice.

        Raises:
            JournalError: the last rows could not be written; everything is closed all the same.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self.commit()
        finally:
            self._checkpointer.stop()
            self._db.close()
            self._lock.release()

    # --- inside ------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        if len(self._steps) + len(self._outbox) >= BACKLOG_MAX:
            raise JournalError(f"{BACKLOG_MAX} rows wait for the disk: the journal takes no more")

    def _last_step(self) -> tuple[int, int, bytes]:
        """Return the number, the key's epoch and the seal of the last step. Raises JournalError.

        An epoch or a seal that is none keeps nobody from starting: it is verification's to tell.
        """
        last = next(self._rows("SELECT seq, epoch, seal FROM events ORDER BY seq DESC LIMIT 1", ()), None)
        if last is None:
            return 0, 0, NO_SEAL
        seq, epoch, seal = last
        is_one = isinstance(seal, bytes) and len(seal) == SEAL_BYTES
        return seq, epoch if isinstance(epoch, int) else 0, seal if is_one else NO_SEAL

    def _wait_when_busy(self, timeout_s: float) -> None:
        """Wait so long for a lock. After a failed commit not at all: the engine's thread would stand at each retry."""
        self._patient = timeout_s > 0
        self._db.execute(f"PRAGMA busy_timeout = {int(timeout_s * 1000)}")

    def _roll_back(self) -> None:
        if not self._db.in_transaction:  # a full disk has already ended it
            return
        try:
            self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise JournalError(f"journal not rolled back: {said(error)}") from error

    def _rows(self, sql: str, values: tuple[int | str, ...]) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.execute(sql, values)
        except sqlite3.Error as error:
            raise JournalError(f"journal not read: {said(error)}") from error


def _ids(file: os.stat_result, its_log: os.stat_result) -> tuple[int, int, int, int]:
    return file.st_dev, file.st_ino, its_log.st_dev, its_log.st_ino


def _sizes(file: os.stat_result, its_log: os.stat_result) -> tuple[int, int]:
    """Return what never shrinks: nothing here vacuums the file, and the log is only ever cut back to what is kept of it."""
    return file.st_size, min(its_log.st_size, _log_kept())


def _log_kept() -> int:
    """Return what a log is cut back to once it has begun anew: seldom, since it costs a commit."""
    return log_size.TOLD // 2


def _open_writer(path: Path, durability: Literal["process", "disk"]) -> sqlite3.Connection:
    """Return the journal's one writing connection. Raises JournalError."""
    try:
        # SQLite gives the log and its index the permissions of the database file.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        path.chmod(0o600)
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise JournalError(f"{path} cannot be opened: {error}") from error
    try:
        _prepare(db, path, durability)
    except sqlite3.Error as error:
        db.close()
        raise JournalError(f"{path} cannot be used as a journal: {said(error)}. {way_out(error)}") from error
    except JournalError:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path, durability: Literal["process", "disk"]) -> None:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    owner = int(db.execute("PRAGMA application_id").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"{path} was written by a newer Hands (journal version {version}, this one knows {SCHEMA_VERSION}): "
            "run that version, or start with another state directory"
        )
    if owner not in {0, APPLICATION_ID} or (version == 0 and _has_tables(db)):
        raise JournalError(f"{path} is a database, but not a journal of Hands")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {'FULL' if durability == 'disk' else 'NORMAL'}")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute(f"PRAGMA journal_size_limit = {_log_kept()}")
    db.execute("PRAGMA secure_delete = OFF")  # some builds write zeros over what is trimmed: twice the log
    if 0 < version < SCHEMA_VERSION:
        db.execute("BEGIN IMMEDIATE")
        for step in range(version, SCHEMA_VERSION):
            for statement in _MIGRATIONS[step]:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
    if version == 0:
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES ('journal_id', ?)", (secrets.token_hex(16),))
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")


def _has_tables(db: sqlite3.Connection) -> bool:
    return bool(db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
