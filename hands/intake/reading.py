"""Reading a file that a stranger wrote, and may still be changing.

Owns which names count and how a document is read. May not move or change anything. The one
idea: what is refused is not opened, and what is opened is read once, through one descriptor that provably is the file
that was looked at.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from typing import NamedTuple

from hands.core.intents import SIZE_MAX
from hands.core.vocab import Code

SUFFIX = ".json"
UNFINISHED = (".tmp", ".part")
NAME_BYTES_MAX = 200
"""A longer name could not be filed: `.1.receipt.json` must fit behind it within the file system's 255 bytes."""

_ATTEMPTS = 8
_NOT_A_FILE_OF_OURS = {errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EACCES}
"""Gone, a symbolic link, a pipe or socket, not for us to read: what opening says of something put in a file's place."""


class IntakeError(Exception):
    """The drop folder cannot be used as it must be: disk full, read-only, no permission. Worth trying again."""


class Identity(NamedTuple):
    """Which file this is, and in which version, as far as the file system tells."""

    dev: int
    ino: int
    mtime_ns: int
    size: int


class Reading(NamedTuple):
    """A file as it was found: its bytes, or the `fault` for which it was not opened."""

    identity: Identity
    data: bytes
    fault: Code | None = None
    detail: str = ""


def is_candidate(name: str) -> bool:
    """Whether a name in a drop folder can be a document's."""
    return name.endswith(SUFFIX) and not name.startswith(".") and not name.endswith(UNFINISHED)


def shown_name(name: str, *, suffix: str = SUFFIX) -> str:
    """Return `name` as it may be journaled, printed and used as a file name of ours.

    Itself, unless a stranger put unprintable or undecodable characters into it or made it too long to be filed.
    """
    raw = os.fsencode(name)
    if len(raw) <= NAME_BYTES_MAX and name.isprintable() and not _has_surrogates(name):
        return name
    clean = "".join(c if c.isascii() and c.isprintable() else "_" for c in name)[:100].removesuffix(suffix)
    return f"{clean}~{hashlib.blake2b(raw, digest_size=6).hexdigest()}{suffix}"


def read_document(
    folder_fd: int, name: str, owner: int | None = None, refusal: tuple[Code, str] | None = None
) -> Reading | None:
    """Read one file of a drop folder, once; None if it is gone or still being written.

    `owner` is the user id it must belong to, None for any; `refusal` why nothing in this folder may be read. What is
    refused is not opened.

    Raises:
        OSError: the system's own trouble (too many open files, I/O error).
    """
    for _ in range(_ATTEMPTS):
        try:
            found = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        refused = refusal or _refused(found, owner)
        if refused is not None:
            return Reading(_identity(found), b"", *refused)
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_fd)
        except PermissionError:
            return Reading(_identity(found), b"", Code.UNAUTHORISED, "Hands may not read it")
        except OSError as error:
            if error.errno in _NOT_A_FILE_OF_OURS:
                continue  # replaced since it was looked at
            raise
        try:
            opened = os.fstat(fd)
            if (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino):
                refused = _refused(opened, owner)  # what was done to it since it was looked at
                return (
                    _read_open(fd, opened) if refused is None else Reading(_identity(opened), b"", *refused)
                )
        finally:
            os.close(fd)
    return None


def _refused(found: os.stat_result, owner: int | None) -> tuple[Code, str] | None:
    if not stat.S_ISREG(found.st_mode):
        return Code.NOT_REGULAR_FILE, f"a {_KINDS.get(stat.S_IFMT(found.st_mode), 'special file')}"
    if found.st_nlink > 1:
        return Code.NOT_REGULAR_FILE, f"{found.st_nlink} hard links; at most 1"
    if owner is not None and found.st_uid != owner:
        return Code.UNAUTHORISED, f"written by user {found.st_uid}; this folder is for user {owner}"
    if found.st_size > SIZE_MAX:
        return Code.TOO_LARGE, f"{found.st_size} bytes; at most {SIZE_MAX}"
    return None


_KINDS = {
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "named pipe",
    stat.S_IFDIR: "folder",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}


def _read_open(fd: int, opened: os.stat_result) -> Reading | None:
    """Read an open regular file to its end; None where it changed meanwhile: its writer is not done."""
    data = _read_at_most(fd, SIZE_MAX + 1, opened.st_size)
    if len(data) > SIZE_MAX:
        return Reading(
            _identity(opened), b"", Code.TOO_LARGE, f"grew beyond {SIZE_MAX} bytes while it was read"
        )
    after = os.fstat(fd)
    if after.st_size != len(data) or after.st_mtime_ns != opened.st_mtime_ns:
        return None
    return Reading(_identity(opened), data)


def _read_at_most(fd: int, limit: int, expected: int = 0) -> bytes:
    """Return the file's bytes up to `limit`; where the first read gives the `expected` number, that is all of them."""
    data = os.read(fd, limit)
    while data and len(data) < limit and len(data) != expected:
        more = os.read(fd, limit - len(data))
        if not more:
            break
        data += more
    return data


def content(folder_fd: int, name: str, expected: int) -> bytes | None:
    """Return the bytes of a regular file, at most one more than `expected`; None for anything else."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_fd)
    except OSError as error:
        if error.errno in _NOT_A_FILE_OF_OURS:
            return None
        raise
    try:
        return _read_at_most(fd, expected + 1) if stat.S_ISREG(os.fstat(fd).st_mode) else None
    finally:
        os.close(fd)


def is_fresh(folder_fd: int, name: str, quiet_ns: int) -> bool:
    """Whether a regular file was written to less than `quiet_ns` ago: its writer may not be done."""
    found = looked_at(folder_fd, name)
    if found is None or not stat.S_ISREG(found.st_mode):
        return False
    return 0 <= time.time_ns() - found.st_mtime_ns < quiet_ns


def looked_at(folder_fd: int, name: str) -> os.stat_result | None:
    """Return what a name in a folder is, no link followed; None where there is nothing by now."""
    try:
        return os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _identity(found: os.stat_result) -> Identity:
    return Identity(found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


def _has_surrogates(name: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in name)
