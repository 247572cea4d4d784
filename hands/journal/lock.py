"""One process per state directory: an advisory lock on the file `lock` inside it.

Owns that file and nothing else. The kernel drops the lock with the process, however it dies, so there is no
stale lock to clean up; the process id written into the file is only for the message.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class StateDirInUse(Exception):  # noqa: N818  (a refusal, named for what is the case)
    """Another process has the state directory open; `pid` is its id where it can be told."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        super().__init__(f"{folder} is in use by {f'process {pid}' if pid else 'another process'}")
        self.folder = folder
        self.pid = pid


class StateDirLock:
    """The exclusive lock of `folder` (made if it is missing), held until `release` or the process's end.

    Raises:
        StateDirInUse: somebody else holds it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 32).strip()
            os.close(self._fd)
            raise StateDirInUse(folder, int(holder) if holder.isdigit() else None) from None
        os.ftruncate(self._fd, 0)
        os.write(self._fd, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Give the directory back; may be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
