"""A database's log beside it (`-wal`): how large it has become, and what is said of one that is not tidied up.

Owns that measure for both databases. The one idea: SQLite begins its log anew only when nobody reads from it, so one
reader that never ends its transaction makes it grow for ever, however often it is checkpointed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

MIB: Final = 1 << 20

TOLD: Final = 64 * MIB
"""A log that is larger is not being tidied up: thousands of commits fit into a few MiB."""

KEPT: Final = 16 * MIB
"""What a log is cut back to once it has begun anew (`PRAGMA journal_size_limit`)."""


def log_bytes(database: Path) -> int:
    """Return the size of the database's log, 0 where there is none."""
    try:
        return database.with_name(f"{database.name}-wal").stat().st_size
    except OSError:
        return 0


def log_fault(database: Path) -> str | None:
    """Return what is to be said of a log that has grown beyond measure, None of any other."""
    size = log_bytes(database)
    if size < TOLD:
        return None
    return f"{database.name}: its log has grown to {size // MIB} MiB: somebody holds it open in a read that does not end"
