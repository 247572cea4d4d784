"""Verification: a whole state directory looked at once, step by step; what is proven, what is not, and what is different.

Owns the one pass over the record in which everything is held against everything: decisions, states, requests, ledger rows,
the table of open business, seals and anchors. May not know how the venue writes a request (that is passed in). The one
idea: "nothing different" is only worth something where it is also said how much was compared, and what could not be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from hands.journal.anchors import Anchor
from hands.journal.business import Entities, Unlike, first_unlike
from hands.journal.differences import ABSENT, Difference, first_difference, shown
from hands.journal.evidence import Evidence, StepEvidence, check_frames, told_anchors
from hands.journal.ledger_check import LedgerCheck
from hands.journal.record import NoRecord, Record, Session
from hands.journal.reexecution import Gap, Rerun, Tally
from hands.journal.requests import Encoder

Progress = Callable[[int, int], None]
"""Called with the steps and the rows that were done since the last call."""

TRIES = 3
"""Retention may remove the oldest segments while they are read."""

TOLD_EVERY = 256
TOLD_ROWS = 1_000_000


class NoSession(Exception):  # noqa: N818  (says what is the case)
    """The session that was asked for is not on record."""


class SessionVerdict(msgspec.Struct, kw_only=True):
    """What became of one session. `is_ended`: orderly. `requests`: whose bytes were compared; `unknown_requests`:
    whose command lies before what is left of the record. `foreign`: why it was not compared."""

    number: int
    began_ns: int
    last_ns: int
    last_seq: int
    hands: str | None
    is_cut: bool
    is_ended: bool
    tally: Tally
    requests: int
    unknown_requests: int
    ledger_rows: int
    gaps: list[Gap]
    foreign: str | None
    difference: Difference | None

    @property
    def is_compared(self) -> bool:
        """Whether anything of it was run again."""
        return self.tally.decisions > 0 or self.tally.snapshots > 0


class Verdict(msgspec.Struct, kw_only=True):
    """What became of a state directory. `handovers`: how often what one session left was what the next began with;
    `table`: whether the table of open business was compared with the end. `differences` beside those of the sessions;
    `faults` is what is damaged or missing, `losses` what a crash of the machine took, and what a recorder put aside."""

    sessions: list[SessionVerdict]
    handovers: int
    is_table_compared: bool
    uncompared_ledger_rows: int
    differences: list[Difference]
    faults: list[str]
    losses: list[str]
    evidence: Evidence

    @property
    def first_difference(self) -> Difference | None:
        """The first difference of all."""
        found = [each.difference for each in self.sessions if each.difference is not None]
        return min((*found, *self.differences), key=lambda each: each.seq, default=None)

    @property
    def is_good(self) -> bool:
        """Whether nothing is different, and nothing was changed or taken away."""
        return self.first_difference is None and not self.faults and not self.evidence.fault_count


def verify(
    state: Path,
    encoders: Sequence[Encoder],
    *,
    first_keys: Sequence[bytes] = (),
    anchors: Path | None = None,
    only: int | str | None = None,
    anyway: bool = False,
    progress: Progress | None = None,
) -> Verdict:
    """Verify what is recorded in `state`; `only` names a session to be run again by its number, or "last".

    `anchors`: a file of them that was kept elsewhere, instead of the directory's own. Seals, anchors and numbers are checked
    of the whole record in any case.

    Raises:
        NoRecord: there is none, or it cannot be read.
        NoSession: there is no session `only`.
        OSError: a segment cannot be read.
    """
    for _ in range(TRIES - 1):
        try:
            return _verified(state, encoders, first_keys, anchors, only, anyway=anyway, progress=progress)
        except FileNotFoundError:
            continue  # the oldest segments were removed meanwhile: what is left begins later
    return _verified(state, encoders, first_keys, anchors, only, anyway=anyway, progress=progress)


def _verified(
    state: Path,
    encoders: Sequence[Encoder],
    first_keys: Sequence[bytes],
    anchors: Path | None,
    only: int | str | None,
    *,
    anyway: bool,
    progress: Progress | None,
) -> Verdict:
    with Record(state, anchors=anchors) as record:
        run = _Run(record, encoders, first_keys, only, anyway=anyway, progress=progress)
        run.all_steps()
        return run.verdict()


class _Run:
    """One pass over a record."""

    def __init__(
        self,
        record: Record,
        encoders: Sequence[Encoder],
        first_keys: Sequence[bytes],
        only: int | str | None,
        *,
        anyway: bool,
        progress: Progress | None,
    ) -> None:
        self._record = record
        self._encoders = encoders
        self._first_keys = first_keys
        self._anyway = anyway
        self._progress = progress
        self._found = Evidence(is_proven=bool(first_keys))
        self._steps = StepEvidence(self._found, first_keys, self._anchors(self._found, first_keys))
        self._ledger = LedgerCheck(record.ledger_rows())
        self._sessions = record.sessions()
        if not self._sessions:
            raise NoRecord(f"{record.state}: not a single step")
        self._chosen = _chosen(self._sessions, only)
        self._verdicts: list[SessionVerdict] = []
        self._differences: list[Difference] = []
        self._faults: list[str] = []
        self._left: Entities | None = None
        self._handovers = 0
        self._is_table_compared = False
        self._done = (0, 0)

    def all_steps(self) -> None:
        """Go through the record from its first step to its last."""
        for n, session in enumerate(self._sessions):
            following = self._sessions[n + 1].number if n + 1 < len(self._sessions) else None
            self._session(session, None if following is None else following - 1)
        self._steps.finish()
        self._ledger.finish()
        anchors = self._anchors(Evidence(is_proven=False), ())  # looked at before
        check_frames(self._record, self._found, self._first_keys, anchors)
        self._compare_table()

    def verdict(self) -> Verdict:
        """Return what was found."""
        if self._ledger.difference is not None:
            self._differences.append(self._ledger.difference)
        faults = [*self._record.faults, *self._faults, *self._ledger.faults]
        return Verdict(
            sessions=self._verdicts,
            handovers=self._handovers,
            is_table_compared=self._is_table_compared,
            uncompared_ledger_rows=self._ledger.uncompared,
            differences=self._differences,
            faults=list(dict.fromkeys(faults)),
            losses=list(self._record.losses),
            evidence=self._found,
        )

    # --- one session -------------------------------------------------------------------------------------------------

    def _session(self, session: Session, last: int | None) -> None:
        """Look at one session's steps, and run it again if it was chosen."""
        is_chosen = self._chosen is None or session.number == self._chosen
        rerun = Rerun(
            self._record.rows(session.number),
            self._encoders,
            anyway=self._anyway,
            on_step=self._ledger.take,
        )
        rows_before, seq, last_ns = self._ledger.compared, session.number, session.began_ns
        is_first = True
        for step in self._record.steps(session.number, last):
            self._steps.take(step)
            seq, last_ns = step.seq, step.ts_ns
            if is_chosen:
                rerun.take(step)
                if is_first:
                    self._compare_handover(rerun, seq, last_ns)
                self._tell_progress(rerun.tally)
            is_first = False
        if not is_chosen:
            self._left = None
            return
        rerun.finish()
        self._left = rerun.entities
        self._judge_gaps(rerun.gaps)
        self._verdicts.append(
            SessionVerdict(
                number=session.number,
                began_ns=session.began_ns,
                last_ns=last_ns,
                last_seq=seq,
                hands=None if rerun.recorded_by is None else rerun.recorded_by.hands,
                is_cut=session.is_cut,
                is_ended=rerun.is_ended,
                tally=rerun.tally,
                requests=rerun.requests.compared,
                unknown_requests=rerun.requests.of_unknown_commands,
                ledger_rows=self._ledger.compared - rows_before,
                gaps=rerun.gaps,
                foreign=rerun.foreign,
                difference=rerun.difference,
            )
        )
        self._done = 0, 0

    def _tell_progress(self, tally: Tally) -> None:
        if self._progress is None:
            return
        done = tally.steps + tally.skipped
        if done % TOLD_EVERY == 0 or tally.rows - self._done[1] >= TOLD_ROWS:
            self._progress(done - self._done[0], tally.rows - self._done[1])
            self._done = done, tally.rows

    def _judge_gaps(self, gaps: Sequence[Gap]) -> None:
        """What is missing and not declared was taken away; only a session's end can be lost by a crash of the machine."""
        for gap in gaps:
            if not gap.is_declared and not gap.is_at_end:
                self._faults.append(f"from step {gap.first_seq} on {gap.why}, and the record does not say so")

    # --- the table of open business ----------------------------------------------------------------------------------

    def _compare_handover(self, rerun: Rerun, seq: int, ts_ns: int) -> None:
        """Hold what one session left against what the next began with."""
        left, self._left = self._left, None
        if left is None or rerun.entities is None:
            return
        self._handovers += 1
        unlike = first_unlike(left, rerun.entities)
        if unlike is not None:
            what = "what the session began with, against what the one before left"
            self._differences.append(_difference(unlike, what, seq, ts_ns, "recorded first"))

    def _compare_table(self) -> None:
        """Hold the table as it is now against what the last session left."""
        table = self._record.business()
        if self._left is None or table is None:
            return
        self._is_table_compared = True
        unlike = first_unlike(table, self._left)
        if unlike is not None:
            last = self._verdicts[-1]
            what = "the journal's table of open business, against what the last step left"
            self._differences.append(_difference(unlike, what, last.last_seq, last.last_ns, "state"))

    def _anchors(self, found: Evidence, first_keys: Sequence[bytes]) -> Iterator[Anchor]:
        return told_anchors(self._record.anchors, self._record.newest_anchor, found, first_keys)


def _chosen(sessions: Sequence[Session], only: int | str | None) -> int | None:
    """Return the number of the session that is meant. Raises NoSession."""
    if only is None:
        return None
    numbers = [session.number for session in sessions]
    if only == "last" and numbers:
        return numbers[-1]
    if only not in numbers:
        raise NoSession(f"there is no session {only}; there are {', '.join(map(str, numbers))}")
    return int(only)


def _difference(unlike: Unlike, what: str, seq: int, ts_ns: int, kind: str) -> Difference:
    """Return the difference of two tables in words."""
    left, right = unlike.left, unlike.right
    if left is None or right is None:
        sides = "", ABSENT if left is None else shown(left), ABSENT if right is None else shown(right)
    else:
        sides = first_difference(left, right)
    at, recorded, again = sides
    return Difference(
        seq=seq, ts_ns=ts_ns, kind=kind, what=what, event="", at=f" {unlike.kind} {unlike.key}{at}",
        recorded=recorded, again=again,
    )  # fmt: skip
