"""Heads: the state that a session, or a stretch of one, begins with, and by whom it was recorded.

Owns the payloads of the steps `session`, `snapshot`, `mended` and `ended`. May not run anything again. The one idea: two
programs can only be expected to decide the same if they are the same, so a head names everything that decisions depend
on beside the record: the versions of Python and the libraries, the machine code, and the very text of the core.
"""

from __future__ import annotations

import functools
import hashlib
import platform
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import numba
import numpy as np
import zstandard

import hands.core
from hands.core.image import digest_of, image_of
from hands.core.market import KERNEL_FINGERPRINT
from hands.core.state import State
from hands.core.symbol_image import image_of_symbol
from hands.version import __version__

T = TypeVar("T", bound=msgspec.Struct)

FORMAT: Final = 1
LEVEL: Final = 1
"""Most of a market's image is empty: the quickest level makes it a tenth."""

HEAD_MAX: Final = 1 << 32
"""More bytes than any head has."""


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """What decisions depend on beside what was recorded. `core` is the SHA-256 of the core's source texts."""

    hands: str
    core: str
    kernel: int
    python: str
    numpy: str
    numba: str
    machine: str


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is the state's image, `market` the market's snapshot; both as they were after the step before this one."""

    format: int
    versions: Versions
    state: bytes
    market: bytes


class Mend(msgspec.Struct, frozen=True, kw_only=True):
    """What one symbol's market state was changed to."""

    sym: int
    image: bytes


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The digest of the state at the orderly end."""

    digest: str


class HeadError(Exception):
    """The bytes are none of these payloads, or of a format that this version does not know."""


@functools.cache
def versions() -> Versions:
    """Return what this process would record."""
    return Versions(
        hands=__version__,
        core=_core_text(),
        kernel=KERNEL_FINGERPRINT,
        python=platform.python_version(),
        numpy=np.__version__,
        numba=numba.__version__,
        machine=platform.machine(),
    )


def _core_text() -> str:
    sha = hashlib.sha256()
    for folder in hands.core.__path__:
        for path in sorted(Path(folder).glob("*.py")):
            sha.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return sha.hexdigest()


def head_of(state: State) -> bytes:
    """Return the payload of a `session` or `snapshot` step taken now."""
    return _pack(
        Head(format=FORMAT, versions=versions(), state=image_of(state), market=state.market.snapshot())
    )


def mend_of(state: State, sym: int) -> bytes:
    """Return the payload of a `mended` step for one symbol, as its market state is now."""
    return _pack(Mend(sym=sym, image=image_of_symbol(state.market, sym)))


def end_of(state: State) -> bytes:
    """Return the payload of an `ended` step."""
    return _pack(End(digest=digest_of(state)))


def read_head(payload: bytes) -> Head:
    """Raises HeadError."""
    head = _unpack(payload, Head)
    if head.format != FORMAT:
        raise HeadError(f"a head of format {head.format}; this version knows {FORMAT}")
    return head


def read_mend(payload: bytes) -> Mend:
    """Raises HeadError."""
    return _unpack(payload, Mend)


def read_end(payload: bytes) -> End:
    """Raises HeadError."""
    return _unpack(payload, End)


def _pack(value: Head | Mend | End) -> bytes:
    return zstandard.ZstdCompressor(level=LEVEL).compress(msgspec.msgpack.encode(value))


def _unpack(payload: bytes, of: type[T]) -> T:
    try:
        data = zstandard.ZstdDecompressor().decompress(payload, max_output_size=HEAD_MAX)
        return msgspec.msgpack.decode(data, type=of)
    except (zstandard.ZstdError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HeadError(f"not readable: {error}") from error
