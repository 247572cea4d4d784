"""Seals as a reader with the first key makes them again, written down a second time, for tests of what writes them."""

from __future__ import annotations

from pathlib import Path

from hands.journal.anchors import read
from hands.journal.chain import Chain
from hands.journal.segments import Segment, SegmentFault, sealed_frame


def check_seals(segment: Segment, chain: Chain) -> int:
    """Check every seal of a segment with a chain that has not gone beyond its beginning; return how many there were.

    The chain is taken to where the segment says it began, and left at its last frame. Raises SegmentFault: a frame that is
    broken or was changed; ValueError: the chain is further already.
    """
    chain.advance(segment.head.epoch)
    chain.head = segment.head.before
    if chain.seal(segment.head.packed()) != segment.head_seal:
        raise SegmentFault(segment.path, 0, "the head does not bear its seal")
    count = 1
    for frame in segment.frames():
        if frame.epoch < chain.epoch:
            raise SegmentFault(segment.path, frame.at, f"epoch {frame.epoch} after epoch {chain.epoch}")
        chain.advance(frame.epoch)
        if chain.seal(sealed_frame(frame)) != frame.seal:
            raise SegmentFault(segment.path, frame.at, "the frame does not bear its seal")
        count += 1
    return count


def anchor_fault(path: Path, chain: Chain) -> str | None:
    """Return what is wrong with the first anchor that does not bear its seal, None where all do; the chain goes along."""
    before: str | None = None
    for number, anchor in enumerate(read(path), 1):
        if anchor.epoch < chain.epoch:
            return f"anchor {number}: epoch {anchor.epoch} after epoch {chain.epoch}"
        chain.advance(anchor.epoch)
        if anchor.sealed_with(chain.key) != anchor.seal:
            return f"anchor {number} does not bear its seal"
        if before is not None and anchor.before != before:
            return f"anchor {number} does not follow the one before it"
        before = anchor.seal
    return None
