"""Folders: made with the modes they must have, and opened one below the other without following a link.

Owns every way from a path to a folder's descriptor. May not look at a document. The one idea: what is below the drop
folder is reached from the drop folder's own descriptor, name by name, so that nobody who swaps a folder on the way
for a link gets anything read, written or moved elsewhere.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hands.intake.permissions import DROP_ONLY
from hands.intake.reading import IntakeError

DROP_MODE = 0o775 | DROP_ONLY
"""Others of its group may drop; nobody but a file's owner and Hands takes it away."""

OWN_MODE = 0o755

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_folder_fd(path: str | Path, *, at: int | None = None) -> int:
    """Return a descriptor of the folder (below the folder `at`), which the caller closes. Raises OSError."""
    return os.open(path, _FOLDER, dir_fd=at)


@contextmanager
def open_below(root: Path, *names: str, make: bool = False) -> Iterator[int]:
    """Open the folder `names` below the drop folder `root`; `make` what is missing of it. No symbolic link is followed.

    Raises:
        OSError: not there, not a folder, or it cannot be made.
    """
    if make:
        make_drop_folder(root)
    fd = open_folder_fd(root)
    try:
        for name in names:
            inner = _open_inner(fd, name, make=make)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


def _open_inner(fd: int, name: str, *, make: bool) -> int:
    try:
        return open_folder_fd(name, at=fd)
    except FileNotFoundError:
        if not make:
            raise
        make_folder(fd, name, OWN_MODE)
        return open_folder_fd(name, at=fd)


def make_folder(parent_fd: int, name: str, mode: int) -> None:
    """Make a folder, if it is not there, with exactly `mode` whatever the umask is.

    Raises:
        IntakeError: something else stands in its place.
        OSError: it cannot be made.
    """
    try:
        os.mkdir(name, mode & 0o700, dir_fd=parent_fd)
    except FileExistsError:
        found = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            raise IntakeError(f"{name!a} in the drop folder must be a folder of its own") from None
        return
    fd = open_folder_fd(name, at=parent_fd)
    try:
        os.fchmod(fd, mode | (os.fstat(fd).st_mode & stat.S_ISGID))
    finally:
        os.close(fd)


def make_drop_folder(root: Path) -> None:
    """Make the drop folder, if it is not there, so that others of its group can drop and do nothing else."""
    if root.is_dir():
        return
    root.mkdir(parents=True)
    root.chmod(DROP_MODE)


class FolderHold:
    """Holds the drop folder for this process: two daemons would judge the same documents and overwrite receipts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fd = -1

    def take(self) -> None:
        """Hold the folder that stands there now, made if there is none; nothing to do while that is the same.

        Raises:
            IntakeError: it cannot be opened, is a symbolic link by now, or another process holds it.
        """
        try:
            make_drop_folder(self._folder)
            found = self._folder.lstat()
            if stat.S_ISLNK(found.st_mode):
                raise IntakeError(f"{self._folder} was replaced by a symbolic link: it is not followed")
            if self._fd >= 0 and os.path.samestat(os.fstat(self._fd), found):
                return
            fd = open_folder_fd(self._folder)
        except OSError as error:
            raise IntakeError(f"{self._folder} cannot be opened: {error.strerror or error}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise IntakeError(f"another daemon watches {self._folder}") from error
        self.let_go()
        self._fd = fd

    def let_go(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
