"""What a former process left in `segments/`: the segment it wrote last, and the ring that it died with.

Owns the taking up of both, and how far they reach. May not write rows or steps. The one idea: a process that died is gone on with, exactly where its
last whole frame ends; what cannot be made sense of is put aside under another name and told, never thrown away.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Final, NamedTuple

from hands.journal import anchors
from hands.journal.chain import NO_SEAL, Chain
from hands.journal.keys import Keys
from hands.journal.ring import Ring, RingFault, ring_path, session_of
from hands.journal.segments import Kind, Segment, SegmentFault, SegmentWriter, segment_paths, survey

log = logging.getLogger("hands")

SEQ_END: Final = 1 << 60
"""No step has a number so large: what says so is damaged."""

_OURS: Final = b"HANDSSG"
"""What a segment of any version begins with."""


class Stuck(Exception):  # noqa: N818  (says what is the case)
    """What is there cannot be gone on with; somebody has to move it away."""


class Left(NamedTuple):
    """Where to go on: the chain of rows, the last segment, and the one before it where that has rows of the last."""

    chain: Chain
    file: SegmentWriter | None
    carry_from: Path | None
    last_seq: int
    anchor_seal: str


class Newest(NamedTuple):
    """How far segments reach: the number of the newest step, and the epoch and seal of the newest one that can be read."""

    seq: int
    epoch: int = 0
    seal: bytes = b""


def newer_step(folder: Path, than: int) -> Newest | None:
    """Return how far the segments reach, if that is further than step `than`. Raises OSError.

    After a crash of the machine segments may have what the journal has lost. The step that a segment began with was
    committed, also where the segment has nothing but its head.
    """
    reached = 0
    for path in reversed(segment_paths(folder)):
        with contextlib.suppress(SegmentFault):
            segment = Segment(path)
            if segment.head.first_seq < SEQ_END:
                reached = max(reached, segment.head.first_seq)
            step = segment.last_step()
            if step is not None and step.seq < SEQ_END:
                reached = max(reached, step.seq)
                return Newest(reached, step.epoch, step.seal) if reached > than else None
    return Newest(reached) if reached > than else None


def make_folder(folder: Path) -> None:
    """Make the folder of segments, private, and remove what was not finished in it. Raises OSError."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for path in folder.glob("*.new"):
        path.unlink()


def take_over(folder: Path, state: Path, keys: Keys, session: int) -> Left:
    """Go on with what is there in the session that began with step `session`.

    Raises:
        OSError: as ever.
        SegmentFault: the last segment is of another version.
        Stuck: the segments do not belong to this journal.
    """
    paths = _readable(segment_paths(folder))
    anchor = anchors.newest(anchors.anchors_path(state))
    epoch, anchor_seal = (0, "") if anchor is None else (anchor.epoch + 1, anchor.seal)
    if not paths:
        return Left(keys.open("rows", epoch, NO_SEAL), None, None, 0, anchor_seal)
    path = paths[-1]
    frames, fault, length = survey(path)
    segment = Segment(path)
    last_seq = max((frame.next - 1 for frame in frames if frame.kind is Kind.STEPS), default=0)
    if max(last_seq, segment.head.first_seq) >= session:
        raise Stuck(
            f"{path.name} holds steps up to {last_seq}, but this session begins with step {session}: the segments belong to"
            " another journal, and nothing is recorded until they are moved away"
        )
    if fault is not None:
        _set_tail_aside(path, fault, length)
    at_epoch, seal = (
        (frames[-1].epoch, frames[-1].seal) if frames else (segment.head.epoch, segment.head_seal)
    )
    chain = keys.open("rows", max(epoch, at_epoch), seal)
    file = SegmentWriter.resume(path, chain, frames, length)
    before = paths[-2] if len(paths) > 1 else None
    carry_from = before if before is not None and _reaches_into(before, file) else None
    return Left(chain, file, carry_from, file.last_seq, anchor_seal)


def dead_ring(folder: Path, session: int) -> Ring | None:
    """Return the ring of a session that is over, None where nothing is left of it. Raises OSError."""
    path = ring_path(folder, session)
    try:
        return Ring.recover(path)
    except FileNotFoundError:
        return None
    except RingFault as fault:
        log.warning("%s", fault, extra={"code": "ROWS_LOST"})
        return None


def remove_rings(folder: Path, before: int) -> None:
    """Remove the rings of sessions that began before step `before`. Raises OSError."""
    for path in folder.glob("ring-*"):
        session = session_of(path)
        if session is not None and session < before:
            path.unlink()


def _readable(paths: list[Path]) -> list[Path]:
    """Return the segments without the newest ones that are not even begun, which are put aside. Raises OSError, SegmentFault."""
    while paths:
        try:
            Segment(paths[-1])
        except SegmentFault as fault:
            with paths[-1].open("rb") as file:
                if file.read(len(_OURS)) == _OURS and not fault.is_torn:
                    raise
            log.critical("%s: put aside", fault, extra={"code": "RECORD_FAULT"})
            paths[-1].rename(paths[-1].with_name(f"{paths[-1].name}.broken"))
            paths = paths[:-1]
        else:
            break
    return paths


def _set_tail_aside(path: Path, fault: SegmentFault, length: int) -> None:
    """Keep what is behind byte `length`, unless it is only what a crash tore. Raises OSError."""
    if fault.is_torn:
        log.info("%s: cut off, as a crash has left it", fault)
        return
    with path.open("rb") as file:
        file.seek(length)
        tail = file.read()
    aside = path.with_name(f"{path.name}.cut-{length}")
    aside.write_bytes(tail)
    aside.chmod(0o600)
    log.critical(
        "%s: %d bytes are put aside as %s", fault, len(tail), aside.name, extra={"code": "RECORD_FAULT"}
    )


def _reaches_into(before: Path, file: SegmentWriter) -> bool:
    """Whether the segment before has rows that belong to this one and are not in it. Raises OSError."""
    try:
        segment = Segment(before)
        if segment.head.session != file.head.session:
            return False
        frames = segment.frames(with_bodies=False)
        return any(frame.kind is Kind.ROWS and frame.next > file.next_row for frame in frames)
    except SegmentFault:
        return False
