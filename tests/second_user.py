"""Acting as another Unix user, for tests of what one may do to ours: needs root, and skips without it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

STRANGER, OTHER = 64_111, 64_112
"""User and group ids that nobody has."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as a second user")


_BECOME = """
import errno, fcntl, json, os, signal, socket, sqlite3, stat, sys, time
uid, gid, groups, code = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4]
del sys.argv[1:5]
os.setgroups(groups)
os.setgid(gid)
os.setuid(uid)
exec(code)
"""
"""The interpreter may lie where the other user cannot read, so all that the code needs is imported before."""


def as_user(
    code: str, *arguments: object, uid: int = STRANGER, gid: int | None = None, groups: tuple[int, ...] = ()
) -> str:
    """Run Python `code` (argv: `arguments`) under another user id and return what it printed; what fails there fails here.

    It has errno, fcntl, json, os, signal, socket, sqlite3, stat, sys and time, and no environment.
    """
    done = subprocess.run(
        [
            sys.executable, "-I", "-c", _BECOME, str(uid), str(uid if gid is None else gid), json.dumps(groups), code,
            *map(str, arguments),
        ],
        cwd="/", env={}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """Give a folder that every user can find the way to (a test's own is closed to others), and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="hands-test-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)
