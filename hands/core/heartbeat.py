"""The page that engine and watchdog share: one beats in it, the other may put up a fence.

Owns the layout of the file `beat` in the state directory: words of eight bytes, each written by one side only. May not
open or map anything: both sides bring the mapped memory. The one idea: a single aligned word is never seen half written, so
the time of the beat and the fence need no lock; what belongs together (who beats, and what it is doing) is written under
a sequence number, odd while it is being written.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec

from hands.core.units import NS_PER_MS

FILE_NAME: Final = "beat"
SIZE: Final = 256
BEAT_EVERY_NS: Final = 100 * NS_PER_MS

MAGIC: Final = int.from_bytes(b"HANDSBT1", "little")
"""Name and version of the layout: another version is another number, and is not read."""

# the engine's words
_MAGIC, _SEQ, _PID, _TOKEN, _PHASE, _BOOT = 0, 1, 2, 3, 4, 5
AT: Final = 8
"""When the engine last beat, by the machine's monotonic clock, in ns."""
EPOCH: Final = 9
"""The fence that the engine knows of and has taken account of: it has asked the venue since."""
# the watchdog's words
FENCE: Final = 16
"""Raised by one before each act of the watchdog; an engine that finds it changed sends nothing until it has asked."""
_DOG_PID, _DOG_BOOT = 17, 18
_DOG_AT, _DOG_ACTS = 19, 20

_TRIES = 16

Words = memoryview
"""The page as `memoryview(page).cast("Q")`."""


class Phase(IntEnum):
    """What the process that beats is doing; `STOPPED` is its last word, of an orderly end."""

    NEVER = 0
    STARTING = 1
    TRADING = 2
    STOPPED = 3


_PHASES: Final = frozenset(Phase)


class Beater(msgspec.Struct, frozen=True, kw_only=True):
    """Who beats: the process, its start (so that a pid used again is another), the machine's boot, and the phase."""

    pid: int
    token: int
    boot: int
    phase: Phase


class Dog(msgspec.Struct, frozen=True, kw_only=True):
    """The watchdog's own beat: its process, the machine's boot, when it last looked (monotonic ns), orders it has sent."""

    pid: int
    boot: int
    at_ns: int
    acts: int


def write_beater(words: Words, beater: Beater, at_ns: int) -> None:
    """Say who beats from now on, and beat."""
    words[_SEQ] = words[_SEQ] | 1  # odd also where the last writer was killed in the middle
    words[_PID], words[_TOKEN], words[_BOOT] = beater.pid, beater.token, beater.boot
    words[_PHASE], words[AT] = beater.phase, at_ns
    words[_MAGIC] = MAGIC
    words[_SEQ] = (words[_SEQ] + 1) % (1 << 64)


def read_beater(words: Words) -> Beater | None:
    """Return who beats; None where nobody ever did, in another layout, where it is no sense, or while it is being
    written (or was, for ever)."""
    if words[_MAGIC] != MAGIC:
        return None
    for _ in range(_TRIES):
        before = words[_SEQ]
        pid, token, boot, phase = words[_PID], words[_TOKEN], words[_BOOT], words[_PHASE]
        if not before & 1 and words[_SEQ] == before and phase in _PHASES:
            return Beater(pid=pid, token=token, boot=boot, phase=Phase(phase))
    return None


def has_beaten(words: Words) -> bool:
    """Whether an engine of this layout ever beat here."""
    return bool(words[_MAGIC] == MAGIC)


def write_dog(words: Words, dog: Dog) -> None:
    """Say that the watchdog looks."""
    words[_DOG_PID], words[_DOG_BOOT], words[_DOG_ACTS] = dog.pid, dog.boot, dog.acts
    words[_DOG_AT] = dog.at_ns


def read_dog(words: Words) -> Dog | None:
    """Return the watchdog's own beat, None where none ever looked."""
    if not words[_DOG_AT]:
        return None
    return Dog(pid=words[_DOG_PID], boot=words[_DOG_BOOT], at_ns=words[_DOG_AT], acts=words[_DOG_ACTS])
