"""How long the record is kept: by days and by gigabytes, oldest segments first.

Owns which segments may be removed, and their removal. May not touch the journal. The one idea: what goes is always the
oldest, so what stays is one stretch up to now; the newest segment is in use, or the next start goes on from it, and stays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from hands.core.units import NS_PER_S
from hands.journal.segments import Segment, SegmentFault, segment_paths

DAY_NS: Final = 86_400 * NS_PER_S
GB: Final = 10**9


class Keep(msgspec.Struct, frozen=True):
    """What is kept: segments that were in use within so many days, and together at most so many gigabytes (10^9 bytes)."""

    days: float
    gb: float


class Old(msgspec.Struct, frozen=True):
    """A segment that may go: its size in bytes, when it was last in use, and why."""

    path: Path
    size: int
    used_ns: int
    why: str


def too_old(folder: Path, keep: Keep, now_ns: int) -> list[Old]:
    """Return the segments in `folder` that are not to be kept, oldest first. Raises OSError.

    A segment was in use until the next one began.
    """
    paths = segment_paths(folder)
    sizes = [path.stat().st_size for path in paths]
    left = sum(sizes)
    found = []
    for path, following, size in zip(paths, paths[1:], sizes, strict=False):  # the newest has none after it
        used_ns = began_ns(following) or path.stat().st_mtime_ns
        if now_ns - used_ns > keep.days * DAY_NS:
            why = f"older than {keep.days:g} days"
        elif left > keep.gb * GB:
            why = f"all together are more than {keep.gb:g} GB"
        else:
            break
        found.append(Old(path, size, used_ns, why))
        left -= size
    return found


def remove(old: list[Old]) -> int:
    """Remove segments that `too_old` has named; return how many bytes that was. Raises OSError: those before it are gone."""
    freed = 0
    for each in old:
        each.path.unlink(missing_ok=True)  # the daemon and `hands journal prune` may both be at it
        freed += each.size
    return freed


def began_ns(path: Path) -> int | None:
    """Return when a segment began, None where its head cannot be read. Raises OSError."""
    try:
        return Segment(path).head.began_ns
    except SegmentFault:
        return None
