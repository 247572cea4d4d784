"""The limits file on disk: read once, whole and strictly as text; and noticed when it changes while the daemon runs.

Owns the reading of the file's bytes and the looking for a change: by its identity, size and times once a second, which
sees a rename, a write in place and a symbolic link that leads elsewhere, on every kind of file system. May not judge
what the file says: the text becomes an event, and `hands.core.tightening` decides. The one idea: a file is read when it
has stood still between two looks, so that half of one is hardly ever read, and never matters: it is told and not taken.
"""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Callable
from pathlib import Path

from hands.core.events import LimitsRead
from hands.core.units import Ns

LIMITS_BYTES_MAX = 256 * 1024
"""Room for hundreds of agents with every key of theirs; what is larger is no limits file."""

_Look = tuple[int, ...] | None


class LimitsUnreadable(Exception):  # noqa: N818  (says what is the case)
    """There is no text to judge; the message says why, without the path."""


def read_limits_text(path: Path) -> str:
    """Return the text of the limits file at `path`.

    Raises:
        LimitsUnreadable: it is not there, not a regular file, too large, not UTF-8, or cannot be opened.
    """
    try:
        data = _read_bytes(path)
    except OSError as error:
        raise LimitsUnreadable(f"not readable: {error.strerror or error}") from error
    if len(data) > LIMITS_BYTES_MAX:
        raise LimitsUnreadable(f"larger than {LIMITS_BYTES_MAX} bytes: that is no limits file")
    if data.startswith(codecs.BOM_UTF8):
        raise LimitsUnreadable("begins with a byte order mark: save it as UTF-8 without one")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LimitsUnreadable(f"not UTF-8: {error.reason} at byte {error.start}") from error


def _read_bytes(path: Path) -> bytes:
    """Return the file's bytes, one more than are allowed at most; without waiting for the writer of a FIFO."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise LimitsUnreadable("not a regular file")
        data = b""
        while len(data) <= LIMITS_BYTES_MAX and (more := os.read(fd, LIMITS_BYTES_MAX + 1 - len(data))):
            data += more
        return data
    finally:
        os.close(fd)


def replace_limits_text(path: Path, text: str) -> None:
    """Put another text into the limits file at `path`, whole or not at all; its owner and mode stay, links too.

    Raises:
        OSError: it cannot be written; the old text is still there.
    """
    target = path.resolve(strict=True)
    found = target.stat()
    part = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fchown(fd, found.st_uid, found.st_gid)
            os.fchmod(fd, stat.S_IMODE(found.st_mode))
            os.fsync(fd)
        part.rename(target)
    except OSError:
        part.unlink(missing_ok=True)
        raise


class LimitsWatch:
    """Feeds `LimitsRead` at start, and whenever the file at `path` has another content than was last told."""

    def __init__(
        self,
        path: Path,
        text: str,
        symbols: tuple[str, ...] | None,
        clock: Callable[[], Ns],
        feed: Callable[[LimitsRead], None],
    ) -> None:
        self._path = path
        self._symbols = symbols
        self._clock = clock
        self._feed = feed
        self._told = (text, "")
        self._seen: _Look = ()
        self._judged: _Look = ()

    def begin(self) -> None:
        """Tell what this session begins with."""
        self._tell(at_start=True)

    def look(self) -> None:
        """Look at the file; where it changed and stands still again, read it and tell what is new."""
        now = _signature(self._path)
        if now == self._judged or now != self._seen:
            self._seen = now
            return
        self._judged = now
        try:
            found = (read_limits_text(self._path), "")
        except LimitsUnreadable as error:
            found = ("", f"{self._path}: {error}")
        if found != self._told:
            self._told = found
            self._tell()

    def _tell(self, *, at_start: bool = False) -> None:
        text, problem = self._told
        self._feed(
            LimitsRead(
                ts_ns=self._clock(), text=text, problem=problem, symbols=self._symbols, at_start=at_start
            )
        )


def _signature(path: Path) -> _Look:
    """Return what changes with a file's content or identity, links followed; None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns
