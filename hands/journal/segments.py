"""Segments: the durable record of sessions, one file for each stretch that can be run again by itself.

Owns the files `segments/<number of the first step>.seg` and their layout. May not interpret a step or decide what is
written when (`recorder`). The one idea: a file only ever grows by whole frames, each of them sealed under a key that is
thrown away (`chain`) over all that came before it; so what a crash tore is a last piece that is cut off, and what
somebody changed shows to whoever kept the first key.

    head    magic, session, first step, its row and time, epoch and seal of what came before; its own seal
    frame   type, length, epoch, CRC-32 of these and the body; the body; its seal over all of that
            steps  numbers of the first and the last, how many; zstandard over msgpack of `Step`s, every column
            rows   number of the first, how many; a row block (`blocks`)
            end    numbers of the last step and of the row after the last one, when

The CRC tells damage from no damage without any key. Rows behind the end's belong to the next file, which has them too.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import IO, Final

import msgspec
import numpy as np
import zstandard

from hands.journal.blocks import BlockFault, decode_block, encode_block
from hands.journal.chain import SEAL_BYTES, Chain
from hands.journal.steps import Step

FOLDER_NAME: Final = "segments"
SUFFIX: Final = ".seg"
BODY_MAX: Final = 1 << 30

_MAGIC: Final = b"HANDSSG1"
_HEAD: Final = struct.Struct(f"<8sQQQqQ{SEAL_BYTES}s")
_FRAME: Final = struct.Struct("<BxxxIQI")
_STEPS: Final = struct.Struct("<QQI")
_ROWS: Final = struct.Struct("<QI")
_END: Final = struct.Struct("<QQq")
_LEVEL: Final = 3

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(list[Step])


class SegmentFault(Exception):  # noqa: N818  (says what is the case)
    """A segment ends to be readable at byte `at` of `path`; `is_torn` where the file just stops, as a crash leaves it."""

    def __init__(self, path: Path, at: int, what: str, *, is_torn: bool = False) -> None:
        super().__init__(f"{path.name}, byte {at}: {what}")
        self.path, self.at, self.what, self.is_torn = path, at, what, is_torn


class Kind(IntEnum):
    STEPS = 1
    ROWS = 2
    END = 3


class Head(msgspec.Struct, frozen=True):
    """What a segment begins with: its session and first step, that step's row and time, and where the chain was."""

    session: int
    first_seq: int
    first_row: int
    began_ns: int
    epoch: int
    before: bytes

    def packed(self) -> bytes:
        return _HEAD.pack(
            _MAGIC, self.session, self.first_seq, self.first_row, self.began_ns, self.epoch, self.before
        )


class Frame(msgspec.Struct, frozen=True):
    """One frame from byte `at` to byte `end`; `first` and `next` number its steps or rows, the latter is not in it any more."""

    kind: Kind
    at: int
    end: int
    epoch: int
    first: int
    next: int
    count: int
    body: bytes
    seal: bytes

    def steps(self) -> list[Step]:
        """Return the steps of such a frame. Raises ValueError: they cannot be read."""
        try:
            packed = zstandard.ZstdDecompressor().decompress(
                self.body[_STEPS.size :], max_output_size=BODY_MAX
            )
            return _DECODER.decode(packed)
        except (zstandard.ZstdError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ValueError(f"steps that cannot be read: {error}") from error

    def rows(self) -> np.ndarray:
        """Return the rows of such a frame, dtype `ROW`. Raises ValueError: they cannot be read."""
        return decode_block(self.body[_ROWS.size :])

    @property
    def ended_ns(self) -> int:
        """When an end was written."""
        return int(_END.unpack_from(self.body)[2])


def folder_of(state: Path) -> Path:
    """Return the folder of a state directory's segments, whether or not it is there."""
    return state / FOLDER_NAME


def segment_path(folder: Path, first_seq: int) -> Path:
    return folder / f"{first_seq:016d}{SUFFIX}"


def segment_paths(folder: Path) -> list[Path]:
    """Return the segments there are, oldest first. Raises OSError."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX and path.stem.isdecimal())
    except FileNotFoundError:
        return []


# --- reading -------------------------------------------------------------------------------------------------


class Segment:
    """The segment at `path`, to be read as often as one likes; it may still be growing.

    Raises:
        OSError: it cannot be opened.
        SegmentFault: it is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            found = file.read(_HEAD.size + SEAL_BYTES)
        if len(found) < _HEAD.size + SEAL_BYTES:
            raise SegmentFault(path, 0, "the head is not complete", is_torn=True)
        magic, session, first_seq, first_row, began_ns, epoch, before = _HEAD.unpack_from(found)
        if magic != _MAGIC:
            raise SegmentFault(path, 0, "this is no segment of this version")
        self.head = Head(session, first_seq, first_row, began_ns, epoch, before)
        self.head_seal = found[_HEAD.size :]

    def frames(self, *, with_bodies: bool = True) -> Iterator[Frame]:
        """Yield the frames in order. Without bodies they are not checked either: only what they say of themselves is read.

        Raises:
            OSError: as ever.
            SegmentFault: where the first broken frame begins.
        """
        with self.path.open("rb") as file:
            at = file.seek(_HEAD.size + SEAL_BYTES)
            size = os.fstat(file.fileno()).st_size
            while at < size:
                frame = _frame_at(self.path, file, at, size, with_bodies=with_bodies)
                yield frame
                at = frame.end

    def steps(self) -> Iterator[Step]:
        """Yield the steps in order. Raises as `frames`."""
        for frame in self.frames():
            if frame.kind is Kind.STEPS:
                try:
                    yield from frame.steps()
                except ValueError as error:
                    raise SegmentFault(self.path, frame.at, str(error)) from error

    def rows(self, from_row: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (number of the first, rows) block by block, from that row on, without what belongs to the next segment.

        Numbers that do not follow each other are a gap: rows that were lost. Raises as `frames`.
        """
        end = self.end()
        with self.path.open("rb") as file:
            for short in self.frames(with_bodies=False):
                start = max(short.first, from_row)
                stop = short.next if end is None else min(short.next, end.next)
                if short.kind is not Kind.ROWS or start >= stop:
                    continue
                frame = _frame_at(self.path, file, short.at, short.end, with_bodies=True)
                try:
                    rows = frame.rows()
                except BlockFault as error:
                    raise SegmentFault(self.path, frame.at, str(error)) from error
                yield start, rows[start - frame.first : stop - frame.first]

    def end(self) -> Frame | None:
        """Return the last frame of a segment that was closed, None of one that was not. Raises OSError."""
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            at = size - _FRAME.size - _END.size - SEAL_BYTES
            try:
                frame = _frame_at(self.path, file, max(at, 0), size, with_bodies=True)
            except SegmentFault:
                return None
        return frame if frame.kind is Kind.END and frame.end == size else None

    def last_step(self) -> Step | None:
        """Return the last step that can be read, None where there is none. Raises OSError, SegmentFault."""
        found: list[Frame] = []
        with contextlib.suppress(SegmentFault):
            found.extend(frame for frame in self.frames(with_bodies=False) if frame.kind is Kind.STEPS)
        fault = None
        with self.path.open("rb") as file:
            for short in reversed(found):  # the newest may be damaged
                try:
                    steps = _frame_at(self.path, file, short.at, short.end, with_bodies=True).steps()
                except SegmentFault as error:
                    fault = fault or error
                except ValueError as error:
                    fault = fault or SegmentFault(self.path, short.at, str(error))
                else:
                    if steps:
                        return steps[-1]
        if fault is not None:
            raise fault
        return None


def sealed_frame(frame: Frame) -> bytes:
    """Return the bytes of a frame that its seal stands for."""
    return _frame_head(frame.kind, frame.body, frame.epoch) + frame.body


def _frame_head(kind: Kind, body: bytes, epoch: int) -> bytes:
    bare = _FRAME.pack(kind, len(body), epoch, 0)
    return _FRAME.pack(kind, len(body), epoch, zlib.crc32(body, zlib.crc32(bare)))


_NUMBERS_MAX: Final = _END.size
"""So much of a body is read where only its numbers are wanted."""


def _frame_at(path: Path, file: IO[bytes], at: int, size: int, *, with_bodies: bool) -> Frame:
    """Return the frame that begins at byte `at`. Raises OSError, SegmentFault."""
    file.seek(at)
    head = file.read(_FRAME.size)
    if len(head) < _FRAME.size:
        raise SegmentFault(path, at, "the frame is not complete", is_torn=True)
    word, length, epoch, _ = _FRAME.unpack(head)
    if word not in _KINDS or length > BODY_MAX:
        raise SegmentFault(path, at, f"no frame: type {word}, {length} bytes")
    end = at + _FRAME.size + length + SEAL_BYTES
    if end > size:
        raise SegmentFault(path, at, "the frame is not complete", is_torn=True)
    body = file.read(length if with_bodies else min(length, _NUMBERS_MAX))
    if with_bodies and head != _frame_head(Kind(word), body, epoch):
        raise SegmentFault(path, at, "the frame is damaged: its checksum does not fit")
    seal = file.read(SEAL_BYTES) if with_bodies else b""
    try:
        first, following, count = _numbers(Kind(word), body)
    except struct.error as error:
        raise SegmentFault(path, at, f"the frame is damaged: {error}") from error
    return Frame(Kind(word), at, end, epoch, first, following, count, body, seal)


_KINDS: Final = frozenset(Kind)


def _numbers(kind: Kind, body: bytes) -> tuple[int, int, int]:
    """Return the first number in a frame, the one after its last, and how many there are. Raises struct.error."""
    if kind is Kind.ROWS:
        first, count = _ROWS.unpack_from(body)
        return first, first + count, count
    if kind is Kind.STEPS:
        first, last, count = _STEPS.unpack_from(body)
        return first, last + 1, count
    last, row, _ = _END.unpack_from(body)
    return last, row, 0


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- writing -------------------------------------------------------------------------------------------------


class SegmentWriter:
    """The segment that is being written, at its end: see `create` and `resume`.

    What fails leaves the file as it was before, so that the same can be tried again.
    """

    def __init__(self, path: Path, head: Head, chain: Chain, handle: int, length: int) -> None:
        self.path, self.head, self.length = path, head, length
        self.last_seq, self.next_row, self.is_ended = head.first_seq - 1, head.first_row, False
        self._chain, self._handle, self._is_torn = chain, handle, False

    @classmethod
    def create(
        cls, folder: Path, session: int, first_seq: int, first_row: int, began_ns: int, chain: Chain
    ) -> SegmentWriter:
        """Begin a segment. Raises OSError: then there is none of that name, and the chain is where it was."""
        path = segment_path(folder, first_seq)
        head, was = Head(session, first_seq, first_row, began_ns, chain.epoch, chain.head), chain.head
        packed = head.packed()
        new = path.with_name(f"{path.name}.new")
        handle = -1
        try:
            handle = _open(new, os.O_CREAT | os.O_TRUNC)
            _write(handle, packed + chain.seal(packed), 0)
            new.rename(path)
        except OSError:
            chain.head = was
            if handle >= 0:
                os.close(handle)
                new.unlink(missing_ok=True)
            raise
        return cls(path, head, chain, handle, len(packed) + SEAL_BYTES)

    @classmethod
    def resume(cls, path: Path, chain: Chain, frames: Sequence[Frame], length: int) -> SegmentWriter:
        """Go on behind byte `length`, up to which `frames` were found whole (`survey`); what is behind it is cut off.

        Raises OSError, SegmentFault.
        """
        handle = _open(path, 0)
        try:
            writer = cls(path, Segment(path).head, chain, handle, length)
            os.ftruncate(handle, length)
        except BaseException:
            os.close(handle)
            raise
        for frame in frames:
            writer._note(frame.kind, frame.next)
        return writer

    @property
    def is_gone(self) -> bool:
        """Whether the file was removed or replaced under us: what is written now nobody finds. Raises OSError."""
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        ours = os.fstat(self._handle)
        return (found.st_dev, found.st_ino) != (ours.st_dev, ours.st_ino)

    def add_steps(self, steps: Sequence[Step]) -> None:
        """Append steps that follow each other. Raises OSError: nothing was appended."""
        numbers = _STEPS.pack(steps[0].seq, steps[-1].seq, len(steps))
        packed = zstandard.ZstdCompressor(level=_LEVEL).compress(_ENCODER.encode(steps))
        self._append(Kind.STEPS, numbers + packed, steps[-1].seq + 1)

    def add_rows(self, first: int, rows: np.ndarray) -> None:
        """Append a block of rows, the number of the first given. Raises OSError: nothing was appended."""
        body = _ROWS.pack(first, len(rows)) + encode_block(rows)
        self._append(Kind.ROWS, body, first + len(rows))

    def add_end(self, next_row: int, now_ns: int) -> None:
        """Append the last frame. Raises OSError: nothing was appended."""
        self._append(Kind.END, _END.pack(self.last_seq, next_row, now_ns), next_row)

    def sync(self) -> None:
        """Wait until all of it is on the disk. Raises OSError."""
        os.fdatasync(self._handle) if hasattr(os, "fdatasync") else os.fsync(self._handle)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _append(self, kind: Kind, body: bytes, following: int) -> None:
        if self._is_torn:
            os.ftruncate(self._handle, self.length)
            self._is_torn = False
        chain, was = self._chain, self._chain.head
        bare = _frame_head(kind, body, chain.epoch) + body
        try:
            _write(self._handle, bare + chain.seal(bare), self.length)
        except OSError:
            chain.head, self._is_torn = was, True
            raise
        self.length += len(bare) + SEAL_BYTES
        self._note(kind, following)

    def _note(self, kind: Kind, following: int) -> None:
        match kind:
            case Kind.STEPS:
                self.last_seq = following - 1
            case Kind.ROWS:
                self.next_row = following
            case Kind.END:
                self.is_ended = True


def survey(path: Path) -> tuple[list[Frame], SegmentFault | None, int]:
    """Return a segment's frames (without bodies) as far as they are whole, what ends them early, and up to which byte.

    Raises OSError, SegmentFault: not even the head can be read.
    """
    segment, found = Segment(path), []
    at = _HEAD.size + SEAL_BYTES
    try:
        for frame in segment.frames():
            found.append(msgspec.structs.replace(frame, body=b""))
            at = frame.end
    except SegmentFault as fault:
        return found, fault, at
    return found, None, at


def _open(path: Path, flags: int) -> int:
    return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)


def _write(handle: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(handle, view, at)
        view, at = view[done:], at + done
