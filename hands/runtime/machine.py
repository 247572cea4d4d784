"""The machine, as a start depends on it: Python and what is installed, disks, mounts, files, and the kernel's limits.

Owns one question each, answered as a `Line` for the doctor. May not know the configuration or the venue, and leaves
nothing behind.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import platform
import re
import resource
import shutil
import sqlite3
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path

from hands.intake.inotify import InotifyWatcher
from hands.journal.reader import open_read_only

PYTHON_MIN, PYTHON_BELOW = (3, 11), (3, 14)
SQLITE_MIN = (3, 35, 0)
MB = 1024 * 1024
DISK_FAIL_MB, DISK_WARN_MB, INODES_WARN = 100, 1024, 10_000
FILES_FAIL, FILES_WARN = 128, 1024
WATCHES_WARN = 1024
_REMOTE = re.compile(r"(nfs\d?|cifs|smb\w*|9p|fuse\S*|virtiofs|vboxsf|afs|ceph|glusterfs|lustre)\Z")
"""File systems on which others' writes raise no inotify events, and SQLite's shared memory is not to be trusted."""


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Line:
    """What was looked at, how it is, and where it is not well, what cures it."""

    what: str
    level: Level
    said: str
    cure: str = ""


def python() -> Line:
    found = sys.version_info[:2]
    said = f"{platform.python_version()} on {platform.system()} {platform.release()}"
    if not PYTHON_MIN <= found < PYTHON_BELOW:
        return Line("python", Level.FAIL, said, "3.11, 3.12 or 3.13")
    return Line("python", Level.OK, said)


def packages() -> Iterator[Line]:
    """What the package says it needs, and what of it is not there."""
    try:
        wanted = [line for line in metadata.requires("hands") or () if "extra ==" not in line]
    except metadata.PackageNotFoundError:
        yield Line("packages", Level.WARN, "hands is not installed; run from its sources", "pip install -e .")
        return
    names = [re.split(r"[<>=!~;\[ ]", line, maxsplit=1)[0] for line in wanted]
    missing = []
    for name in names:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Line("packages", Level.FAIL, f"not installed: {', '.join(missing)}", "pip install hands")
    else:
        yield Line("packages", Level.OK, f"{len(names)} of {len(names)} are installed")


def sqlite() -> Line:
    if sqlite3.sqlite_version_info < SQLITE_MIN:
        least = ".".join(map(str, SQLITE_MIN))
        return Line("sqlite", Level.FAIL, sqlite3.sqlite_version, f"at least {least}: a newer Python has it")
    return Line("sqlite", Level.OK, sqlite3.sqlite_version)


def compiled_code() -> Line:
    """Where numba keeps what it compiles: beside the code, or in the user's cache directory."""
    spec = importlib.util.find_spec("hands.core.kernel")
    beside = Path(spec.origin or "").parent if spec is not None else Path()
    own = os.environ.get("NUMBA_CACHE_DIR")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "numba"
    for place in (Path(own),) if own else (beside / "__pycache__", beside, home):
        if os.access(_nearest(place), os.W_OK | os.X_OK):
            return Line("compiled code", Level.OK, f"is kept in {place}")
    said = "cannot be kept: every start compiles anew, which takes seconds"
    return Line("compiled code", Level.WARN, said, "set NUMBA_CACHE_DIR to a folder that may be written")


def open_files() -> Line:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    level = Level.FAIL if soft < FILES_FAIL else Level.WARN if soft < FILES_WARN else Level.OK
    cure = "" if level is Level.OK else f"ulimit -n {FILES_WARN}, or LimitNOFILE in the service"
    return Line("open files", level, f"{soft} allowed, at most {hard}", cure)


def disk(path: Path) -> Iterator[Line]:
    """Whether there is room for the journal: a full disk stops entries, though never exits."""
    place = _nearest(path)
    free_mb = shutil.disk_usage(place).free // MB
    level = Level.FAIL if free_mb < DISK_FAIL_MB else Level.WARN if free_mb < DISK_WARN_MB else Level.OK
    cure = "" if level is Level.OK else f"make room: {DISK_WARN_MB} MB is little for a journal"
    yield Line("disk", level, f"{free_mb} MB free at {place}", cure)
    files = os.statvfs(place)
    if files.f_files and files.f_favail < INODES_WARN:
        yield Line("disk", Level.WARN, f"{files.f_favail} more files fit at {place}", "remove old receipts")


def mounts(paths: Iterable[Path], table: Path = Path("/proc/self/mounts")) -> Iterator[Line]:
    """Say what lies on a file system of another machine or of a container's host."""
    try:
        lines = [line.split() for line in table.read_text("utf-8", "replace").splitlines()]
    except OSError:
        return  # not Linux: nothing is known
    points = {Path(line[1].replace("\\040", " ")): line[2] for line in lines if len(line) > 2}
    for path in paths:
        place = _nearest(path).resolve()
        point = max((p for p in points if place.is_relative_to(p)), key=lambda p: len(p.parts), default=None)
        if point is not None and _REMOTE.match(points[point]):
            said = (
                f"{path} lies on {points[point]}: files that another machine drops are found up to 2 s late"
            )
            yield Line("mounts", Level.WARN, said, "a local disk, above all for the state directory")


def file_events(folders: int, proc: Path = Path("/proc/sys/fs/inotify")) -> Line:
    """Whether the kernel tells of new files at once, and of as many folders as there are."""
    if sys.platform != "linux":
        return Line(
            "file events", Level.WARN, "no inotify here: files are found by watchfiles", "Linux is faster"
        )
    try:
        InotifyWatcher().close()
    except OSError as error:
        cure = "sudo sysctl fs.inotify.max_user_instances=512"
        used_up = error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOSPC)
        said = "no inotify instance left: documents are found by looking again and again"
        return Line("file events", Level.WARN, said if used_up else f"inotify: {error.strerror}", cure)
    try:
        most = int((proc / "max_user_watches").read_text())
        queue = int((proc / "max_queued_events").read_text())
    except (OSError, ValueError):
        return Line("file events", Level.OK, "inotify")
    said = f"inotify, {most} folders to watch, a queue of {queue}"
    if most < max(WATCHES_WARN, 2 * folders):
        return Line("file events", Level.WARN, said, "sudo sysctl fs.inotify.max_user_watches=65536")
    return Line("file events", Level.OK, said)


def state_directory(folder: Path) -> Line:
    """Whose it is, whether others may look, and whether a daemon has it."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return Line("state directory", Level.OK, f"{folder} is made at the first start")
    if found.st_uid != os.geteuid():
        said = f"{folder} belongs to user {found.st_uid}"
        return Line("state directory", Level.FAIL, said, "run as that user, or sudo chown -R")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return Line(
            "state directory", Level.FAIL, f"{folder} may be written by others", f"chmod 700 {folder}"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        return Line("state directory", Level.WARN, f"{folder} may be read by others", f"chmod 700 {folder}")
    holder = holder_of(folder)
    return Line(
        "state directory", Level.OK, f"{folder} is {'free' if holder is None else f'in use by {holder}'}"
    )


def holder_of(folder: Path) -> str | None:
    """Return who holds the directory's lock, from the kernel's own list: taking it, even for a moment, could stop a start."""
    try:
        inode = (folder / "lock").stat().st_ino
        held = Path("/proc/locks").read_text("utf-8")
    except OSError:
        return None
    for line in held.splitlines():
        parts = line.split()
        if len(parts) > 5 and parts[1] == "FLOCK" and parts[5].endswith(f":{inode}"):
            return f"process {parts[4]}"
    return None


def bound_account(folder: Path) -> str | None:
    """Return the account number that a state directory belongs to, None where it belongs to none yet."""
    try:
        with closing(open_read_only(folder / "journal.db")) as db:
            row = db.execute("SELECT value FROM meta WHERE key = 'bound_account'").fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else str(row[0])


def _nearest(path: Path) -> Path:
    """Return the folder that is there: `path` or the closest above it."""
    return next((place for place in (path, *path.parents) if place.is_dir()), Path("/"))
