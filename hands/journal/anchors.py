"""Anchors: a line a second that says how far the record had come.

Owns the file `anchors` of the state directory, and `anchors.1`, which was that before. May not read segments. The one idea: seals show that a record was changed,
not that its end is missing; a line that was copied elsewhere in time (`tail -F anchors` to another machine) does. Each line
is sealed with the key of its second, which is thrown away right after, and names the seal of the line before it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from hands.journal.chain import SEAL_BYTES, Chain

FILE_NAME: Final = "anchors"
_PERSON: Final = b"hands.anchor"
_TAIL: Final = 4096
"""Longer than any line."""

FULL: Final = 4 << 20
"""A file so large (some hours of a busy engine) becomes `anchors.1` in place of the one before. What a line that is gone has
proven of closed segments the seals of the next ones do; and `tail -F` follows a file that is renamed, not one rewritten."""


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """What was on record at `at_ns`.

    `seq`, `step_epoch`, `step_seal`: the last committed step. `segment`: the newest one's name, `length` of it in bytes, the
    `head` of the chain of rows there and the number of the next row; empty and 0 before the first. `epoch`: of the key of
    `seal`, which stands for all the others and `before`, the seal of the line before this one. Seals are in hexadecimal.
    """

    at_ns: int
    seq: int
    step_epoch: int
    step_seal: str
    segment: str
    length: int
    head: str
    next_row: int
    epoch: int
    before: str
    seal: str = ""

    def sealed_with(self, key: bytes) -> str:
        """Return the seal that this line has under the key of its epoch."""
        bare = _ENCODER.encode(msgspec.structs.replace(self, seal=""))
        return blake2b(bare, digest_size=SEAL_BYTES, key=key, person=_PERSON).hexdigest()


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Anchor)


def anchors_path(state: Path) -> Path:
    return state / FILE_NAME


def append(path: Path, anchor: Anchor, chain: Chain) -> Anchor:
    """Append `anchor`, sealed with the chain's key, which is replaced; return it. Raises OSError: it may be there in part.

    A line that was torn before is ended first, so that this one stands by itself.
    """
    whole = msgspec.structs.replace(anchor, epoch=chain.epoch)
    whole = msgspec.structs.replace(whole, seal=whole.sealed_with(chain.key))
    if path.exists() and path.stat().st_size >= FULL:
        path.replace(_former(path))
    with open(path, "ab", opener=_private) as file:
        is_torn = file.tell() > 0 and _last_byte(path) != b"\n"
        file.write((b"\n" if is_torn else b"") + _ENCODER.encode(whole) + b"\n")
    chain.advance(chain.epoch + 1)
    return whole


def read(path: Path) -> Iterator[Anchor]:
    """Yield the anchors that can be read, oldest first, also of the file before; a torn line is passed over. Raises OSError.

    Both are opened before the first is yielded, the newer one first: whatever makes place for the next one meanwhile is read.
    """
    with ExitStack() as stack:
        files = []
        for each in (path, _former(path)):
            with suppress(FileNotFoundError):
                files.append(stack.enter_context(each.open("rb")))
        if len(files) == 2 and os.path.sameopenfile(files[0].fileno(), files[1].fileno()):
            files.pop()  # it has become the former one in between
        for file in reversed(files):
            for line in file:
                anchor = _decoded(line)
                if anchor is not None:
                    yield anchor


def newest(path: Path) -> Anchor | None:
    """Return the last anchor that can be read. Raises OSError."""
    for each in (path, _former(path)):
        try:
            with each.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
                lines = file.read().splitlines()
        except FileNotFoundError:
            continue
        found = next((anchor for line in reversed(lines) if (anchor := _decoded(line)) is not None), None)
        if found is not None:
            return found
    return None


def _former(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")


def _decoded(line: bytes) -> Anchor | None:
    try:
        return _DECODER.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
