"""Evidence: whether a record is what was recorded, by its seals, its anchors and its own numbers.

Owns the three checks: the chain of steps, the chain of frames, and the anchors against both. May not run anything again
(`hands.journal.reexecution`) or say who changed something. The one idea: a seal needs the key of its second, which was
thrown away; the operator who took the first key away can make them all again, and nobody else can make one that fits.
Without that key it is only checked that the record fits together, which whoever changed it could have seen to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from hands.journal.anchors import Anchor, read
from hands.journal.chain import NO_SEAL, SEAL_BYTES, Chain, chain_key
from hands.journal.record import Record
from hands.journal.segments import SegmentFault, sealed_frame
from hands.journal.steps import SESSION, Step, sealed_body

EPOCHS_LAST: Final = 1 << 28
"""More seconds than a directory is in use: eight years. A record whose beginning was removed begins at any of them."""

TOLD_MAX: Final = 20
"""Faults that are told; the others are counted."""


class Evidence(msgspec.Struct, kw_only=True):
    """What was found. `is_proven`: with the first key; otherwise the seals are there and prove nothing.

    `steps`, `frames`, `anchors`: how many were looked at; `unsealed` steps are of versions that did not seal. `faults`: what
    does not fit. `anchored_seq`, `anchored_ns`: how far, and until when, the anchors reach; 0 where there are none.
    """

    is_proven: bool
    steps: int = 0
    unsealed: int = 0
    frames: int = 0
    anchors: int = 0
    unanchored_steps: int = 0
    anchored_seq: int = 0
    anchored_ns: int = 0
    fault_count: int = 0
    faults: list[str] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)

    def fault(self, what: str) -> None:
        self.fault_count += 1
        if len(self.faults) < TOLD_MAX:
            self.faults.append(what)

    def note(self, what: str) -> None:
        if what not in self.notes:
            self.notes.append(what)


class Line:
    """All keys that follow from a first key, one after the other: those of one chain, each looked for from the last that was
    found, since a key that is a year away is half a minute away."""

    def __init__(self, name: bytes, first_key: bytes) -> None:
        self._fits = self._at = Chain(chain_key(first_key, name))
        self._is_found = False

    def at(self, epoch: int) -> Chain | None:
        """Return a chain under the key of an epoch, None where that cannot be."""
        if not (self._fits.reaches(epoch) if self._is_found else 0 <= epoch <= EPOCHS_LAST):
            return None
        near = self._at if self._at.epoch <= epoch else self._fits
        self._at = Chain(near.key, near.epoch)
        self._at.advance(epoch)
        return self._at

    def found(self) -> None:
        """Say that the key given last was the right one: no record of this line comes before it."""
        self._fits, self._is_found = self._at, True


class Seals:
    """One chain, checked record by record with the first keys there are; without one it only follows.

    Where the chain was begun anew, because its key was lost, one of the other first keys must fit from there on:
    `has_begun_anew`.
    """

    def __init__(self, name: bytes, first_keys: Sequence[bytes]) -> None:
        self._lines = [Line(name, first_key) for first_key in first_keys]
        self._line: Line | None = None
        self._before: bytes | None = None
        self.has_begun_anew = False

    def fits(self, epoch: int, seal: bytes, body: bytes, *, before: bytes | None = None) -> bool | None:
        """Say whether a record bears its seal, None where that cannot be known: without a key, or because nobody knows the
        seal before it. `before` is that seal, where the record itself tells it."""
        head, self._before = self._before if before is None else before, seal
        if not self._lines or head is None:
            return None
        if self._line is not None and _bears(self._line, epoch, seal, body, head):
            return True
        for line in self._lines:
            is_next = _bears(line, epoch, seal, body, head)
            if is_next or _bears(line, epoch, seal, body, NO_SEAL):
                self.has_begun_anew |= not is_next or self._line not in {None, line}
                self._line = line
                return True
        return False

    @property
    def has_fitted(self) -> bool:
        """Whether any record has borne its seal."""
        return self._line is not None

    def begin(self) -> None:
        """Say that the record's own beginning comes next, which no seal stands before."""
        self._before = NO_SEAL


def _bears(line: Line, epoch: int, seal: bytes, body: bytes, head: bytes) -> bool:
    """Whether a record bears the seal that it has after `head` under this line's key of its epoch."""
    chain = line.at(epoch)
    if chain is None:
        return False
    chain.head = head
    if chain.seal(body) != seal:
        return False
    line.found()
    return True


class StepEvidence:
    """The chain of steps, and the anchors that name them; take the steps in order, then `finish`."""

    def __init__(self, found: Evidence, first_keys: Sequence[bytes], anchors: Iterator[Anchor]) -> None:
        self._found = found
        self._seals = Seals(b"steps", first_keys)
        self._is_checked = bool(first_keys)
        self._anchors = anchors
        self._next = next(anchors, None)
        self._before: Step | None = None

    def take(self, step: Step) -> None:
        found, before, self._before = self._found, self._before, step
        found.steps += 1
        if not step.seal:
            found.unsealed += 1
            if before is not None and before.seal:
                found.fault(f"step {step.seq} bears no seal")
            elif step.row or step.commands or step.epoch:
                found.fault(f"step {step.seq} bears no seal, but is not of a version that did not seal")
        else:
            if step.seq == 1 or (before is not None and not before.seal):
                self._seals.begin()
            body = sealed_body(
                step.seq, step.ts_ns, step.kind, step.payload, step.row, step.commands, step.epoch
            )
            fits = self._seals.fits(step.epoch, step.seal, body)
            if fits is False:
                found.fault(f"step {step.seq} does not bear its seal, or one before it is missing")
            elif self._seals.has_begun_anew:
                self._note_new_chain(step)
        self._hold_against_anchors(step)

    def finish(self) -> None:
        """End: an anchor that names a later step says that the end is missing."""
        last = 0 if self._before is None else self._before.seq
        if self._next is not None:
            self._found.fault(
                f"the record ends with step {last}, but an anchor names step {self._next.seq}: its end is missing"
            )
        self._found.unanchored_steps = max(0, last - self._found.anchored_seq)
        if self._is_checked and not self._seals.has_fitted and self._found.steps > self._found.unsealed + 1:
            self._found.note(
                "not one step bears a seal of this first key: it may be that of another directory"
            )

    def _note_new_chain(self, step: Step) -> None:
        self._seals.has_begun_anew = False
        if step.kind != SESSION:
            self._found.fault(f"the chain of steps begins anew with step {step.seq}, which begins no session")
        self._found.note(f"the chain of steps begins anew with step {step.seq}: the former key was lost")

    def _hold_against_anchors(self, step: Step) -> None:
        found = self._found
        while (anchor := self._next) is not None and anchor.seq <= step.seq:
            if anchor.seq == step.seq and (anchor.step_epoch, anchor.step_seal) != (
                step.epoch,
                step.seal.hex(),
            ):
                found.fault(f"step {step.seq} is not the one that an anchor names")
            elif anchor.seq < step.seq and self._misses(anchor.seq):
                found.fault(f"step {anchor.seq}, which an anchor names, is missing")
            found.anchored_seq, found.anchored_ns = anchor.seq, anchor.at_ns
            self._next = next(self._anchors, None)

    def _misses(self, seq: int) -> bool:
        """Whether a step that has just been gone past is missing; those before the first are not expected."""
        return self._found.steps > 1 and seq > 0


def told_anchors(
    path: Path, newest: Anchor | None, found: Evidence, first_keys: Sequence[bytes]
) -> Iterator[Anchor]:
    """Yield the anchors up to `newest`, which was the last when the record was opened, and check each by itself.

    Raises OSError.
    """
    if newest is None:
        found.note("there are no anchors: that nothing was cut off at the end cannot be shown")
        return
    lines = [Line(b"rows", first_key) for first_key in first_keys]
    before: str | None = None
    for anchor in read(path):
        found.anchors += 1
        if before is not None and anchor.before != before:
            found.fault(f"anchor {found.anchors} does not follow the one before it")
        elif not anchor.before and anchor.epoch:
            found.fault(
                f"anchor {found.anchors} is not the first, but names none before it: those were removed"
            )
        if lines and not any(_bears_seal(anchor, line) for line in lines):
            found.fault(f"anchor {found.anchors} does not bear its seal")
        before = anchor.seal
        yield anchor
        if anchor.seal == newest.seal:
            return


def _bears_seal(anchor: Anchor, line: Line) -> bool:
    chain = line.at(anchor.epoch)
    if chain is None or anchor.sealed_with(chain.key) != anchor.seal:
        return False
    line.found()
    return True


def check_frames(
    record: Record, found: Evidence, first_keys: Sequence[bytes], anchors: Iterator[Anchor]
) -> None:
    """Check every frame of every segment, that the segments follow each other, and what anchors say of both. Raises OSError."""
    seals = Seals(b"rows", first_keys)
    named = _Named(anchors, found, [segment.path.name for segment in record.segments])
    last_seal: bytes | None = None
    for n, segment in enumerate(record.segments):
        name, before = segment.path.name, segment.head.before
        if last_seal is not None and before not in {last_seal, NO_SEAL}:
            found.fault(f"{name} does not follow the segment before it: one is missing, or was changed")
        last_seal = segment.head_seal
        packed = segment.head.packed()
        if seals.fits(segment.head.epoch, last_seal, packed, before=before) is False:
            found.fault(f"{name}: its head does not bear its seal")
        named.hold_against(name, len(packed) + SEAL_BYTES, last_seal)
        try:
            for frame in segment.frames():
                found.frames += 1
                if seals.fits(frame.epoch, frame.seal, sealed_frame(frame)) is False:
                    found.fault(f"{name}, byte {frame.at}: the frame does not bear its seal")
                last_seal = frame.seal
                named.hold_against(name, frame.end, frame.seal)
        except SegmentFault as fault:
            if not (fault.is_torn and n + 1 == len(record.segments)):
                found.fault(str(fault))
    named.finish()
    if seals.has_begun_anew:
        found.note("the chain of segments begins anew: the former key was lost")


class _Named:
    """The frames that anchors name, in order."""

    def __init__(self, anchors: Iterator[Anchor], found: Evidence, names: Sequence[str]) -> None:
        self._found = found
        self._names = names
        # what is older than the oldest was removed; of all of them nobody but a hand removes the newest
        self._anchors = (
            anchor for anchor in anchors if anchor.segment and (not names or anchor.segment >= names[0])
        )
        self._next = next(self._anchors, None)

    def hold_against(self, name: str, end: int, seal: bytes) -> None:
        """Look at a frame that ends at byte `end` of a segment: whether it is what anchors say, and none named before it is
        missing."""
        while (anchor := self._next) is not None and (anchor.segment, anchor.length) <= (name, end):
            if anchor.segment not in self._names:
                self._found.fault(f"{anchor.segment}, which an anchor names, is missing")
            elif anchor.segment != name:
                self._found.fault(f"{anchor.segment} ends before byte {anchor.length}, which an anchor names")
            elif (anchor.length, anchor.head) != (end, seal.hex()):
                self._found.fault(f"{name}, byte {anchor.length}: no frame ends there as an anchor says")
            self._next = next(self._anchors, None)

    def finish(self) -> None:
        """Look at the end: what an anchor names behind it is missing."""
        if self._next is not None and not self._names:
            self._found.fault(
                f"{self._next.segment}, which an anchor names, is missing, and so are all others"
            )
        elif self._next is not None:
            self._found.fault(
                f"the segments end before byte {self._next.length} of {self._next.segment}, which an anchor names"
            )
