"""The market that Hands has seen itself: the record of its sessions as tapes, and the newest one as it grows.

Owns the way from a state directory's record to rows with named symbols. May not write there, nor hold up the daemon: rows
are copied out of the mapped ring or read from segments (`hands.journal.following`). What was put into a market otherwise
than by rows (warm-up, filled gaps) is no row, and not here; rows that were lost leave a hole in the times.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hands.core.views import SnapshotHead
from hands.journal import following
from hands.journal.heads import HeadError, read_head
from hands.journal.ring import session_of
from hands.journal.segments import Segment, SegmentFault, folder_of, segment_paths
from hands.journal.steps import SESSION, SNAPSHOT
from hands.replay.tape import Tape, merged
from hands.sim.market.file_rows import FileError


def is_state_directory(folder: Path) -> bool:
    """Whether a folder is where a daemon keeps its state."""
    return (folder / "journal.db").exists() or folder_of(folder).is_dir()


def market_of(folder: Path) -> Tape:
    """Return the market of all sessions that a state directory has a record of. Raises `FileError`."""
    try:
        sessions = sessions_of(folder)
        if not sessions:
            raise FileError(f"{folder}: no session is recorded in this state directory")
        return merged([rows_of_session(folder, session) for session in sessions])
    except (OSError, SegmentFault) as error:
        raise FileError(f"{folder}: {error}") from None


def sessions_of(folder: Path) -> list[int]:
    """Return the sessions of which there are rows, oldest first. Raises OSError, SegmentFault."""
    segments = folder_of(folder)
    found = {Segment(path).head.session for path in segment_paths(segments)}
    if segments.is_dir():
        found |= {number for path in segments.iterdir() if (number := session_of(path)) is not None}
    return sorted(found)


def rows_of_session(folder: Path, session: int) -> Tape:
    """Return the market that one session saw, so far as it is recorded by now.

    Raises:
        FileError: nothing says what its symbols were.
        OSError, SegmentFault: it cannot be read.
    """
    symbols = symbols_of(folder, session)

    def read() -> Iterator[np.ndarray]:
        last_ns = 0
        try:
            for _, rows in following.Rows(folder, session).read():
                yield (ordered := in_order(rows, last_ns))
                last_ns = int(ordered["recv_ns"][-1])
        except (OSError, SegmentFault) as error:
            raise FileError(f"{folder}, session {session}: {error}") from None

    return Tape(symbols, read)


def in_order(rows: np.ndarray, after_ns: int) -> np.ndarray:
    """Return rows whose receipt does not go back: a quote that was asked for is stamped when it was, and taken in later."""
    recv_ns = np.maximum.accumulate(np.maximum(rows["recv_ns"], after_ns))
    if (recv_ns != rows["recv_ns"]).any():
        rows = rows.copy()
        rows["recv_ns"] = recv_ns
    return rows


def symbols_of(folder: Path, session: int) -> tuple[str, ...]:
    """Return a session's symbols in the order of their numbers. Raises as `rows_of_session`."""
    firsts = [session, *(path_seq for path_seq, of in _stretches(folder) if of == session)]
    for first in firsts:
        for step in following.steps(folder, first):
            if step.seq == first and step.kind in (SESSION, SNAPSHOT):
                with contextlib.suppress(HeadError):
                    line = read_head(step.payload).market.partition(b"\n")[0]
                    if (head := SnapshotHead.read(line)) is not None:
                        return head.symbols
            break
    raise FileError(f"{folder}: the record of session {session} does not say which symbols it saw")


def _stretches(folder: Path) -> Iterator[tuple[int, int]]:
    for path in segment_paths(folder_of(folder)):
        head = Segment(path).head
        yield head.first_seq, head.session
