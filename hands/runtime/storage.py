"""Whether there is room to remember what would be done next: looked at once a second, before anything is lost.

Owns the measures of the state directory's disk: how much room is left on it, and what counts as slow. What follows (the
reason JOURNAL) is the sequencer's. May not touch a database. The one idea: an entry needs a record that survives it, so
entries end while there is still room for the records of what is open; what protects and reduces never waits for a disk.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from hands.core.units import NS_PER_S

MIB: Final = 1 << 20

ROOM_MIN: Final = 32 * MIB
"""Entries stop below it; a day of trading writes a few MiB, and what protects goes on writing."""

ROOM_AGAIN: Final = 48 * MIB
"""Entries go on from here, so that a disk at the edge does not flicker."""

SLOW_NS: Final = NS_PER_S
"""A commit that takes so long holds the engine's thread. After one of them no exit waits for the next; a second one
within `CALM_NS` stops entries.
"""

CALM_NS: Final = 30 * NS_PER_S
"""So long after the last slow commit the disk is trusted again."""


class Room:
    """The room on the disk of `folder`, with a band between too little and enough again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_low = False

    def risk(self) -> str | None:
        """Return why entries must stop, None where there is room enough."""
        try:
            found = os.statvfs(self._folder)
        except OSError as error:
            return f"the disk of {self._folder} cannot be looked at: {error.strerror}"
        left = found.f_bavail * found.f_frsize
        self._is_low = left < (ROOM_AGAIN if self._is_low else ROOM_MIN)
        if not self._is_low:
            return None
        return f"{left // MIB} MiB are left on the disk of {self._folder}: entries need {ROOM_MIN // MIB}"
