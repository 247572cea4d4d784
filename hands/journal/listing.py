"""What is on record, as a list: sessions and their segments, how large, how fast they grow, how far they are anchored.

Owns that list. May not print, and looks at no more than the last steps of each session: whether seals hold is verification's business. The one idea:
what a directory says of itself must agree with itself; a segment that is shorter than an anchor of it has lost its end.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import msgspec

from hands.journal import anchors
from hands.journal.following import Stretch, stretch
from hands.journal.keys import FIRST_NAME
from hands.journal.segments import Segment, SegmentFault, folder_of, segment_paths
from hands.journal.steps import ENDED

HOUR_NS = 3_600 * 10**9


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A segment. `used_ns`: until when it was written; `anchored_ns`, `anchored_bytes`: its newest anchor; `fault`: what is
    wrong with it. A file whose head cannot be read has its size and its fault alone."""

    name: str
    size: int
    has: Stretch | None
    used_ns: int
    is_newest: bool
    anchored_ns: int | None
    anchored_bytes: int
    fault: str | None

    @property
    def gb_per_hour(self) -> float | None:
        """How fast it grew, in 10^9 bytes; None where it took no time."""
        took_ns = 0 if self.has is None else self.used_ns - self.has.began_ns
        return self.size / 10**9 * HOUR_NS / took_ns if took_ns > 0 else None


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of a session, 0 of steps from before the record. `ended_ns`: its orderly end, None where it had none yet.
    `lost` counts rows, also those between two segments.
    """

    session: int
    began_ns: int
    ended_ns: int | None
    segments: int
    steps: int
    rows: int
    lost: int
    size: int


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest first. `has_first_key`: it still lies where whoever breaks in finds it."""

    sessions: list[Session]
    segments: list[Listed]
    anchored_ns: int | None
    anchored_seq: int
    has_first_key: bool

    @property
    def size(self) -> int:
        return sum(each.size for each in self.segments)

    @property
    def faults(self) -> list[str]:
        return [each.fault for each in self.segments if each.fault is not None]


def listing(state: Path) -> Listing:
    """Return what is on record in a state directory. Raises OSError."""
    paths = segment_paths(folder_of(state))
    newest: dict[str, anchors.Anchor] = {}
    last = None
    for anchor in anchors.read(anchors.anchors_path(state)):
        newest[anchor.segment] = last = anchor
    segments = [
        _listed(path, newest.get(path.name), is_newest=path == paths[-1]) for path in paths if path.exists()
    ]  # one may have been pruned meanwhile
    return Listing(
        sessions=_sessions([each.has for each in segments if each.has is not None]),
        segments=segments,
        anchored_ns=None if last is None else last.at_ns,
        anchored_seq=0 if last is None else last.seq,
        has_first_key=(state / FIRST_NAME).exists(),
    )


def _listed(path: Path, anchor: anchors.Anchor | None, *, is_newest: bool) -> Listed:
    found = path.stat()
    try:
        has: Stretch | None = stretch(path)
        fault = None if has is None else has.fault
    except SegmentFault as error:
        has, fault = None, str(error)
    if fault is None and anchor is not None and found.st_size < anchor.length:
        fault = f"{path.name} has {found.st_size} bytes; there were {anchor.length} when it was anchored"
    ended_ns = None if has is None else has.ended_ns
    return Listed(
        name=path.name,
        size=found.st_size,
        has=has,
        used_ns=found.st_mtime_ns if ended_ns is None else ended_ns,
        is_newest=is_newest,
        anchored_ns=None if anchor is None else anchor.at_ns,
        anchored_bytes=0 if anchor is None else anchor.length,
        fault=fault,
    )


def _ended_ns(path: Path) -> int | None:
    """Return when the session whose last segment this is came to its orderly end. Raises OSError."""
    try:
        last = Segment(path).last_step()
    except SegmentFault:
        return None
    return last.ts_ns if last is not None and last.kind == ENDED else None


def _sessions(found: list[Stretch]) -> list[Session]:
    of: dict[int, list[Stretch]] = {}
    for each in found:
        of.setdefault(each.session, []).append(each)
    return [
        Session(
            session=session,
            began_ns=parts[0].began_ns,
            ended_ns=_ended_ns(parts[-1].path),
            segments=len(parts),
            steps=sum(part.steps for part in parts),
            rows=sum(part.rows for part in parts),
            lost=sum(part.lost for part in parts)
            + sum(max(0, b.first_row - a.next_row) for a, b in pairwise(parts)),
            size=sum(part.size for part in parts),
        )
        for session, parts in of.items()
    ]
