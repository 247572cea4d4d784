"""The spool: what a long job has got so far, in a file that a death cannot spoil.

Owns one file, `NAME.part`, until the job is done and its result stands under its own name. May not know what the records
mean. The one idea: records are only ever added, each with its length and a checksum, and handed to the system at once. So
after a SIGKILL all of them are there but for a torn last one, which is cut off when the file is opened again. (After a
power cut the last seconds may be missing too: `sync` is for whoever cannot bear that.)
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

MAGIC: Final = b"hands spool 1\n"
_HEAD: Final = struct.Struct("<BII")
RECORD_MAX: Final = 1 << 28
LEVEL: Final = 1
"""Of compression: rows become a fifth at 100 MB/s, higher levels a sixth at a tenth of that."""


class SpoolError(Exception):
    """A spool that cannot be used; the message says why."""


class Spool:
    """The records of `path`, which is made if it is not there, and held by one process at a time.

    Raises:
        SpoolError: it is no spool, or another process has it.
        OSError: it cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b")
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SpoolError(f"{path} is being written by another process") from None
            self.bytes = self._whole_bytes()
        except BaseException:
            self._file.close()
            raise
        self._file.truncate(self.bytes)
        self._file.seek(self.bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _whole_bytes(self) -> int:
        """Return how far the file is in order, and begin it where it is new."""
        size = os.fstat(self._file.fileno()).st_size
        start = self._file.read(len(MAGIC))
        if start != MAGIC:
            if not MAGIC.startswith(start):
                raise SpoolError(f"{self.path} is in the way: it is no unfinished work of this kind")
            self._file.seek(0)
            self._file.write(MAGIC)
            self._file.flush()
            return len(MAGIC)
        at = len(MAGIC)
        while (end := self._end_of(at, size)) is not None:
            at = end
        return at

    def _end_of(self, at: int, size: int) -> int | None:
        """Return where the record at `at` ends, None where there is no whole one."""
        self._file.seek(at)
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        kind, length, checksum = _HEAD.unpack(head)
        end = at + _HEAD.size + length
        if length > RECORD_MAX or end > size:
            return None
        return end if zlib.crc32(self._file.read(length), kind) == checksum else None

    @property
    def is_new(self) -> bool:
        """Whether it has no records yet."""
        return self.bytes == len(MAGIC)

    def append(self, kind: int, body: bytes) -> None:
        """Add a record of `kind` (0..255); it has been handed to the system when this returns. Raises OSError."""
        packed = zlib.compress(body, LEVEL)
        assert len(packed) <= RECORD_MAX, "a record that could not be read again"
        self._file.write(_HEAD.pack(kind, len(packed), zlib.crc32(packed, kind)) + packed)
        self._file.flush()
        self.bytes += _HEAD.size + len(packed)

    def sync(self) -> None:
        """Wait until everything is on the disk. Raises OSError."""
        os.fdatasync(self._file.fileno())

    def records(
        self, kinds: frozenset[int] | None = None, first: int = 0, end: int | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Yield (kind, body) of the records, in their order; `kinds`: of these alone, the others are passed over.

        `first` and `end` are places (`places`) between which they begin. May be read while records are added.
        """
        for at, kind in self._walk(first, end):
            if kinds is None or kind in kinds:
                yield kind, self._body(at)

    def places(self, kind: int) -> Iterator[tuple[int, bytes]]:
        """Yield where the records of `kind` begin, and what they hold."""
        for at, each in self._walk(0, None):
            if each == kind:
                yield at, self._body(at)

    def _walk(self, first: int, end: int | None) -> Iterator[tuple[int, int]]:
        at = max(first, len(MAGIC))
        until = self.bytes if end is None else end
        with self.path.open("rb") as file:
            while at < until:
                file.seek(at)
                kind, length, _ = _HEAD.unpack(file.read(_HEAD.size))
                yield at, kind
                at += _HEAD.size + length

    def _body(self, at: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(at)
            _, length, _ = _HEAD.unpack(file.read(_HEAD.size))
            return zlib.decompress(file.read(length))

    def close(self) -> None:
        """Let go of the file, which stays."""
        self._file.close()

    def remove(self) -> None:
        """The job is done: the file goes."""
        self.path.unlink(missing_ok=True)
        self.close()
