"""Checkpoints of the journal: its log is moved into the database file, away from the engine's thread.

Owns the thread and the connection that do it. May not write anything of its own. The one idea: a checkpoint costs up to
3.5 ms, so it never happens in a commit.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

COMMITS_PER_CHECKPOINT = 1_000
PASSES = 20
"""Of one checkpoint: each takes two syncs, and what is committed meanwhile is left for the next, shorter one. The log begins
anew only when a commit finds all of it moved."""

STALLED_S = 10.0
STOP_WITHIN_S = 1.0
BUSY_TIMEOUT_S = 0.1


def said(error: sqlite3.Error) -> str:
    """Return what SQLite says, with the error's name where it has one."""
    name = getattr(error, "sqlite_errorname", None)
    return f"{error} [{name}]" if name else str(error)


class Checkpointer(threading.Thread):
    """Moves the log into the database file, away from the engine's thread.

    PASSIVE never waits for the writer nor makes it wait. `commits` is counted up by the writer; plain ints and
    bools cross between the two threads, and being one commit late about them does not matter.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(name="journal-checkpoint", daemon=True)
        self.commits = 0
        self.restart_due = False
        self.fault: str | None = None
        self._began_s: float | None = None
        self._path = path
        self._stopped = threading.Event()

    def run(self) -> None:
        done = 0
        while not self._stopped.wait(1.0):
            now = self.commits
            if now - done >= COMMITS_PER_CHECKPOINT:
                self._checkpoint()
                done = now

    def stop(self) -> None:
        """End, with a last checkpoint; one that does not end is left: the next start reads the log all the same."""
        self._stopped.set()
        self.join(STOP_WITHIN_S)
        if not self.is_alive():
            self._checkpoint()

    def fault_now(self) -> str | None:
        """Return the last checkpoint's fault, or that the one in hand does not end."""
        began_s = self._began_s
        if began_s is not None and (lasts_s := time.monotonic() - began_s) > STALLED_S:
            return f"a checkpoint of the journal has been under way for {lasts_s:.0f} s: its disk stands, or is slow"
        return self.fault

    def _checkpoint(self) -> None:
        self._began_s = time.monotonic()
        try:
            db = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            try:
                before = -1
                for _ in range(PASSES):
                    # what it says is what there was when it began
                    _, logged, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                    if logged == moved == before:
                        self.restart_due = logged > 0
                        break
                    before = moved
            finally:
                db.close()
            self.fault = None
        except sqlite3.Error as error:
            self.fault = f"the journal was not checkpointed: {said(error)}"
        finally:
            self._began_s = None
