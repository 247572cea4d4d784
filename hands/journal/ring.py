"""The ring: rows on their way from the engine to the disk, in memory that outlives the process.

Owns the file `ring-<session>` of the folder `segments/`: a page of words, then room for `capacity` rows. May not compress,
write or interpret rows. The one idea: the file is mapped, so what the engine has copied in belongs to the kernel of the
operating system and not to the process: SIGKILL takes none of it. One thread writes (the engine), one reads (the recorder); each
owns its own word, and a word is stored only after what it speaks of, so neither waits for the other.

Rows are numbered from 0 per session. `head` is the number of the next row to come, `tail` of the oldest that is still
needed. A ring that has no room refuses rows, and from then on all of them, since their numbers would be wrong: until
everything in it has been taken and the engine says with `skip_to` at which number it goes on. What lies between is a gap.

A crash of the machine is no death of the process: which pages had reached the disk nobody knows, so nothing is recovered
from a ring of another boot.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from pathlib import Path
from typing import Final

import numpy as np

from hands.core.rows import ROW

CAPACITY: Final = 1 << 18
"""16 MiB: 2.6 s of 100 000 rows a second, which is how long a disk may stand."""

_PAGE: Final = 4096
_SIZE: Final = ROW.itemsize
_WHOLE: Final = np.dtype(f"V{_SIZE}")
"""A row as bytes: copied with what lies between its members."""

_MAGIC: Final = int.from_bytes(b"HANDSRG1", "little")
"""Name and version of the layout, rows included."""

_NAME, _SESSION, _ROOM, _BOOT, _HEAD, _TAIL, _LOST = 0, 1, 2, 3, 8, 16, 9
"""Words of eight bytes. The tail is the reader's alone (but for `skip_to`), and on a cache line of its own."""

_AHEAD_ROWS: Final = 256
"""So much room at least is made ready ahead of the engine."""

_POPULATE_WRITE: Final = 23
"""MADV_POPULATE_WRITE, since Linux 5.14."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class RingFault(Exception):  # noqa: N818  (says what is the case)
    """A ring that cannot be read: another layout, or of another start of the machine."""


def ring_path(segments: Path, session: int) -> Path:
    """Return the ring's file of the session that began with step `session`."""
    return segments / f"ring-{session}"


def session_of(path: Path) -> int | None:
    """Return the session whose ring `path` is by its name, None where it is none."""
    word = path.name.removeprefix("ring-")
    return int(word) if path.name != word and word.isdecimal() and word.isascii() else None


class Ring:
    """The ring of one session, over memory that is mapped: see `create` and `recover`."""

    def __init__(self, mapped: mmap.mmap, path: Path | None) -> None:
        self.path = path
        self._words = memoryview(mapped)[:_PAGE].cast("Q")
        self._bytes = memoryview(mapped)[_PAGE:]
        self._rows = np.frombuffer(self._bytes, _WHOLE)
        self.session, self.capacity = int(self._words[_SESSION]), int(self._words[_ROOM])
        self.is_broken = False
        """Whether rows were refused since the last `skip_to`."""
        self._head = self._words[_HEAD]
        self._base = int(np.frombuffer(mapped, "u1").__array_interface__["data"][0])
        self._ready = self._passed = self._head
        self._ahead = _AHEAD_ROWS
        self._source: np.ndarray | None = None
        self._source_bytes = memoryview(b"")

    @classmethod
    def create(cls, path: Path | None, session: int, capacity: int = CAPACITY) -> Ring:
        """Return the empty ring of a session that begins, in a file of its own; one that is left of its number is no session's.

        `path` None: in memory alone, where the disk has no room: then a death loses what is in it.

        Raises:
            OSError: the file cannot be made, or the disk has no room for it.
            ValueError: no capacity.
        """
        if capacity < 1:
            raise ValueError(f"a ring of {capacity} rows")
        mapped = _new_map(path, _PAGE + capacity * _SIZE)
        words = memoryview(mapped)[:_PAGE].cast("Q")
        words[_SESSION], words[_ROOM], words[_BOOT] = session, capacity, boot_number()
        words[_NAME] = _MAGIC
        return cls(mapped, path)

    @classmethod
    def recover(cls, path: Path, *, only_look: bool = False) -> Ring:
        """Return the ring of a process that is dead, to be taken from; or of a living one, to `look` into.

        Raises:
            OSError: it cannot be opened.
            RingFault: it is none, or another start of the machine has made it.
        """
        handle = os.open(path, (os.O_RDONLY if only_look else os.O_RDWR) | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            size = os.fstat(handle).st_size
            if size < _PAGE + _SIZE:
                raise RingFault(f"{path.name} is no ring: {size} bytes")
            mapped = mmap.mmap(handle, size, access=mmap.ACCESS_READ if only_look else mmap.ACCESS_WRITE)
        finally:
            os.close(handle)
        words = memoryview(mapped)[:_PAGE].cast("Q")
        capacity, held = words[_ROOM], words[_HEAD] - words[_TAIL]
        if words[_NAME] != _MAGIC or size != _PAGE + capacity * _SIZE:
            raise RingFault(f"{path.name} is not a ring of this version")
        if words[_BOOT] != boot_number():
            raise RingFault(f"{path.name} is of another start of the machine: the rows in it are lost")
        if held > capacity:
            raise RingFault(f"{path.name} says that it holds {held} of {capacity} rows")
        ring = cls(mapped, path)
        ring.is_broken = True
        return ring

    def remove(self) -> None:
        """Remove the file; what is in it stays readable in this process."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    # --- the engine's thread -----------------------------------------------------------------------------------

    def offer(self, rows: np.ndarray, count: int, start: int = 0) -> bool:
        """Copy rows[start : start + count] in; False where there is no room, or was none before: then nothing is.

        `rows` as for `Market.consume`: contiguous, of dtype `ROW`. 0.4 µs and the copying.
        """
        words, head, capacity = self._words, self._head, self.capacity
        if self.is_broken or count > capacity - (head - words[_TAIL]):
            self.is_broken = True
            words[_LOST] += count
            return False
        if rows is not self._source:  # a feed has one buffer
            self._source, self._source_bytes = rows, rows.view("u1").data
        at, end = head % capacity, start + count
        turn = start + capacity - at  # the first of these rows that lies at the beginning again
        if end <= turn:
            self._bytes[at * _SIZE : (at + count) * _SIZE] = self._source_bytes[start * _SIZE : end * _SIZE]
        else:
            self._bytes[at * _SIZE :] = self._source_bytes[start * _SIZE : turn * _SIZE]
            self._bytes[: (end - turn) * _SIZE] = self._source_bytes[turn * _SIZE : end * _SIZE]
        self._head = words[_HEAD] = head + count
        return True

    def skip_to(self, row: int) -> bool:
        """Go on with the row of that number after a gap; False while there is something left to be taken.

        Raises ValueError: a number that was given before.
        """
        words = self._words
        if row < self._head:
            raise ValueError(f"row {row} after row {self._head}: numbers only grow")
        if words[_TAIL] != self._head:
            return False
        words[_TAIL] = row  # before the head: the reader must never see rows that are none
        self._head = words[_HEAD] = row
        self.is_broken = False
        return True

    @property
    def lost(self) -> int:
        """How many rows were refused in this session."""
        return int(self._words[_LOST])

    # --- the recorder's thread ---------------------------------------------------------------------------------

    @property
    def head(self) -> int:
        """The number of the next row to come: all before it can be taken."""
        return int(self._words[_HEAD])

    @property
    def tail(self) -> int:
        """The number of the oldest row that is not released."""
        return int(self._words[_TAIL])

    def make_ready(self) -> None:
        """Have the pages at hand into which the engine will write until the next call, as far as the last one tells.

        The first store into a page, and the first one after the system has written it to the disk, waits for the file
        system: 2 µs, and now and then as long as the disk takes. So it waits here, and lets others run meanwhile.
        """
        head, capacity = self.head, self.capacity
        came, self._passed = head - self._passed, head
        self._ahead = min(max(_AHEAD_ROWS, 2 * came, self._ahead * 7 // 8), capacity // 2)
        first, self._ready = max(self._ready, head), max(self._ready, head + self._ahead)
        while first < self._ready:
            at = first % capacity
            count = min(self._ready - first, capacity - at)
            _populate(self._base, _PAGE + at * _SIZE, _PAGE + (at + count) * _SIZE)
            first += count

    def take(self, most: int) -> tuple[int, np.ndarray]:
        """Return the number of the oldest row that is not released, and a copy of at most `most` from it on."""
        tail = self.tail
        return tail, self._copy(tail, max(0, min(most, self.head - tail)))

    def look(self, row: int, most: int) -> np.ndarray | None:
        """Return a copy of at most `most` rows from number `row` on, None where they have been released meanwhile.

        For another process: the room of rows is used again only after they were released, so what is still held when the copy
        is made was whole.
        """
        if row < self.tail:
            return None
        rows = self._copy(row, max(0, min(most, self.head - row)))
        return rows if row >= self.tail else None

    def _copy(self, row: int, count: int) -> np.ndarray:
        at = row % self.capacity
        first = min(count, self.capacity - at)
        rows = np.empty(count, ROW)
        whole = rows.view(_WHOLE)
        whole[:first], whole[first:] = self._rows[at : at + first], self._rows[: count - first]
        return rows

    def release(self, count: int) -> None:
        """Give back the room of the oldest `count` rows, which are durable elsewhere. Raises ValueError: more than there are."""
        tail = self.tail
        if not 0 <= count <= self.head - tail:
            raise ValueError(f"{count} of {self.head - tail} rows")
        self._words[_TAIL] = tail + count


def boot_number() -> int:
    """Return a number of this start of the machine, 0 where it has none."""
    try:
        return int(_BOOT_ID.read_text("ascii").replace("-", "")[:16], 16)
    except (OSError, ValueError):
        return 0


def _populate(base: int, start: int, end: int) -> None:
    """Let the system make the pages of a mapping ready for writing; where it cannot, they are as they come to be written."""
    if sys.platform == "linux":
        start = start // mmap.PAGESIZE * mmap.PAGESIZE
        _madvise(ctypes.c_void_p(base + start), ctypes.c_size_t(end - start), _POPULATE_WRITE)


_madvise = ctypes.CDLL(None).madvise
"""`mmap.madvise` would hold all threads up."""


def _new_map(path: Path | None, size: int) -> mmap.mmap:
    """Return zeros, mapped. Raises OSError."""
    if path is None:
        return mmap.mmap(-1, size)
    path.unlink(missing_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = os.open(path, flags, 0o600)
    try:
        if sys.platform == "linux":
            os.posix_fallocate(handle, 0, size)  # a store that the disk has no room for would kill us
        else:
            os.write(handle, bytes(size))
        return mmap.mmap(handle, size)
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(handle)
