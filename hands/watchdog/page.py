"""The watchdog's side of the shared page, its lock, and the guard sheet as it lies on disk.

Owns the mapping of `beat` and how silence is judged. May not create the engine's files: where there are none, no engine was
ever started here. The one idea: a beat counts only within the same start of the machine, by the same monotonic clock; an
engine of another boot is silent, whatever its last number was.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from enum import StrEnum
from pathlib import Path

from hands.core.guard_sheet import FILE_NAME as SHEET_NAME
from hands.core.guard_sheet import SHEET_MAX, GuardSheet, decode_sheet
from hands.core.heartbeat import (
    AT,
    EPOCH,
    FENCE,
    FILE_NAME,
    SIZE,
    Dog,
    Phase,
    has_beaten,
    read_beater,
    write_dog,
)

LOCK_NAME = "watchdog.lock"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Pulse(StrEnum):
    """How the engine is: `ABSENT` where none was ever started here, `STOPPED` after an orderly end."""

    ABSENT = "absent"
    ALIVE = "alive"
    SILENT = "silent"
    STOPPED = "stopped"


class LockedElsewhere(Exception):  # noqa: N818  (says what is the case)
    """Another watchdog looks after this state directory."""


def boot_number() -> int:
    """Return a number of this start of the machine, 0 where it has none."""
    try:
        return int(BOOT_ID.read_text("ascii").replace("-", "")[:16], 16)
    except (OSError, ValueError):
        return 0


def take_lock(folder: Path) -> int:
    """Return the lock's descriptor, held until the process ends. Raises LockedElsewhere, OSError."""
    handle = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
        os.close(handle)
        raise LockedElsewhere(f"a watchdog already looks after {folder} (process {pid or '?'})") from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


class Page:
    """The engine's beat as the watchdog reads it; the fence and its own beat as it writes them."""

    def __init__(self, folder: Path, *, late_ns: int) -> None:
        self._folder = folder
        self._late_ns = late_ns
        self._boot = boot_number()
        self._words: memoryview | None = None
        self._inode = 0
        self.acts = 0

    def _look(self) -> memoryview | None:
        """Return the words of the page that is there now; it may have been made, or made anew, since."""
        path = self._folder / FILE_NAME
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            self._words = None
            return None
        try:
            about = os.fstat(handle)
            if self._words is None or about.st_ino != self._inode:
                if about.st_size < SIZE:
                    self._words = None
                else:
                    self._words, self._inode = memoryview(mmap.mmap(handle, SIZE)).cast("Q"), about.st_ino
        finally:
            os.close(handle)
        return self._words

    def beat(self) -> None:
        """Say that the watchdog looks."""
        words = self._look()
        if words is not None:
            dog = Dog(pid=os.getpid(), boot=self._boot, at_ns=time.monotonic_ns(), acts=self.acts)
            write_dog(words, dog)

    def pulse(self) -> Pulse:
        """Return how the engine is now."""
        words = self._words if self._words is not None else self._look()
        if words is None or not has_beaten(words):
            return Pulse.ABSENT
        beater = read_beater(words)
        if beater is not None and beater.phase is Phase.STOPPED:
            return Pulse.STOPPED
        # a number of the future is of another start of the machine
        recent = 0 <= time.monotonic_ns() - words[AT] <= self._late_ns
        # who died while saying who it is beats no more; the time alone is enough to tell, but for another boot's
        alive = recent and (beater is None or beater.boot == self._boot)
        return Pulse.ALIVE if alive else Pulse.SILENT

    def silent_ms(self) -> int | None:
        """Return for how long the engine has been silent, None where that cannot be said."""
        words = self._words
        beater = None if words is None else read_beater(words)
        if words is None or beater is None or beater.boot != self._boot:
            return None
        return max(0, time.monotonic_ns() - words[AT]) // 1_000_000

    def raise_fence(self) -> int:
        """Raise the fence and return it: an engine that wakes up now sends nothing before it has asked the venue."""
        words = self._words
        assert words is not None, "an engine that is silent has a page"
        words[FENCE] = max(words[FENCE], words[EPOCH]) + 1
        return words[FENCE]

    def sheet(self) -> GuardSheet | None:
        """Return the guard sheet, None where there is none that can be read."""
        try:
            # whatever lies there: nothing is waited for
            with open(self._folder / SHEET_NAME, "rb", opener=_as_it_lies) as file:
                data = file.read(SHEET_MAX + 1)
        except OSError:
            return None
        return decode_sheet(data) if len(data) <= SHEET_MAX else None


def _as_it_lies(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
