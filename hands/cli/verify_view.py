"""What `hands verify` says: a verdict in words and as one document.

Owns the words. May not judge: it only tells what was found, and as plainly what was not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from hands.cli.times import clock_text
from hands.journal.differences import Difference
from hands.journal.evidence import Evidence
from hands.journal.reexecution import Gap
from hands.journal.verification import SessionVerdict, Verdict

FAULTS_SHOWN = 10


def word_of(verdict: Verdict) -> str:
    """Return the verdict in a word: identical, different, damaged (or changed), or not_compared."""
    if verdict.first_difference is not None:
        return "different"
    if not verdict.is_good:
        return "damaged"
    return "identical" if any(each.is_compared for each in verdict.sessions) else "not_compared"


def document(verdict: Verdict, state_dir: Path, took_s: float) -> dict[str, Any]:
    """Return the verdict as JSON has it."""
    first = verdict.first_difference
    steps, rows = _done(verdict)
    return {
        "ok": verdict.is_good,
        "verdict": word_of(verdict),
        "state_dir": str(state_dir),
        "sessions": [
            msgspec.to_builtins(each) | {"is_compared": each.is_compared} for each in verdict.sessions
        ],
        "handovers": verdict.handovers,
        "open_business_compared": verdict.is_table_compared,
        "uncompared_ledger_rows": verdict.uncompared_ledger_rows,
        "first_difference": None if first is None else msgspec.to_builtins(first),
        "faults": verdict.faults,
        "losses": verdict.losses,
        "evidence": msgspec.to_builtins(verdict.evidence),
        "took_s": round(took_s, 3),
        "steps_per_s": round(steps / took_s) if took_s > 0 else None,
        "rows_per_s": round(rows / took_s) if took_s > 0 else None,
    }


def lines(verdict: Verdict, took_s: float) -> Iterator[str]:
    """Yield the verdict for people: every session, what was looked at beside them, and the word at the end."""
    for each in verdict.sessions:
        yield from _session(each)
    yield from _beside(verdict)
    yield from _evidence(verdict.evidence)
    first = verdict.first_difference
    if first is not None:
        yield from _difference(first)
    steps, rows = _done(verdict)
    speed = f"{steps:,} steps and {rows:,} rows in {took_s:.1f} s"
    if took_s > 0:
        speed += f" ({steps / took_s:,.0f} steps/s, {rows / took_s:,.0f} rows/s)"
    yield speed
    yield _LAST[word_of(verdict)]


_LAST = {
    "identical": "IDENTICAL: what was recorded is what comes out again",
    "different": "DIFFERENT: something went in that is not on record, or the record was changed",
    "damaged": "DAMAGED: something was changed or taken away, or a disk has lost it",
    "not_compared": "NOT COMPARED: nothing here could be run again by this version",
}


def _session(each: SessionVerdict) -> Iterator[str]:
    how = "ended" if each.is_ended else "no orderly end is on record"
    cut = ", its beginning is not there any more" if each.is_cut else ""
    number = f"session {each.number}" if each.number else "before the first session"
    yield f"{number}  {clock_text(each.began_ns)} to {clock_text(each.last_ns)} UTC, {how}{cut}"
    tally = each.tally
    if each.is_compared:
        yield (
            f"  compared: {tally.decisions:,} decisions with {tally.commands:,} commands on {tally.rows:,} rows,"
            f" {each.requests:,} requests byte by byte, {each.ledger_rows:,} ledger rows,"
            f" {tally.snapshots:,} whole states"
        )
    if each.unknown_requests:
        yield f"  {each.unknown_requests:,} requests are of commands from before what is left of the record"
    if each.foreign is not None:
        yield f"  not compared: {each.foreign} (--anyway compares it all the same)"
    for gap in each.gaps:
        yield f"  {_gap(gap)}"


def _gap(gap: Gap) -> str:
    steps = (
        f"steps {gap.first_seq} to {gap.last_seq}"
        if gap.last_seq >= gap.first_seq
        else f"before step {gap.first_seq}"
    )
    rows = f", rows {gap.rows_from} to {gap.rows_to}" if gap.rows_to > gap.rows_from else ""
    how = "declared in the record" if gap.is_declared else "at the end" if gap.is_at_end else "NOT declared"
    return f"not run again: {steps}{rows}: {gap.why} ({how})"


def _beside(verdict: Verdict) -> Iterator[str]:
    if verdict.handovers:
        yield f"what one session left is what the next began with: compared {verdict.handovers} times"
    if verdict.is_table_compared:
        yield "the journal's open business is what the last step left: compared"
    if verdict.uncompared_ledger_rows:
        yield f"{verdict.uncompared_ledger_rows:,} ledger rows belong to steps that were not run again"
    yield from (f"lost: {loss}" for loss in verdict.losses)
    yield from _some("damaged", verdict.faults, len(verdict.faults))


def _evidence(found: Evidence) -> Iterator[str]:
    if found.is_proven:
        yield (
            f"seals: {found.steps - found.unsealed:,} steps, {found.frames:,} frames and {found.anchors:,} anchors were"
            " checked with the first key"
        )
    else:
        yield (
            "seals: NOT proven, for want of the first key (--key). Without it only what fits together is known, which"
            " whoever changed the record could have seen to"
        )
    if found.unsealed:
        yield f"  {found.unsealed:,} steps are of a version that did not seal"
    if found.anchored_seq:
        yield f"anchored until step {found.anchored_seq}, {clock_text(found.anchored_ns)} UTC"
        if found.unanchored_steps:
            yield f"  {found.unanchored_steps:,} later steps are not: had others been cut off there, nobody could tell"
    yield from (f"  {note}" for note in found.notes)
    yield from _some("does not fit", found.faults, found.fault_count)


def _some(word: str, faults: list[str], count: int) -> Iterator[str]:
    yield from (f"{word}: {fault}" for fault in faults[:FAULTS_SHOWN])
    if count > FAULTS_SHOWN:
        yield f"{word}: and {count - FAULTS_SHOWN} more"


def _difference(found: Difference) -> Iterator[str]:
    yield f"the first difference: step {found.seq} ({found.kind}), {clock_text(found.ts_ns)} UTC: {found.what}{found.at}"
    yield f"  recorded  {found.recorded}"
    yield f"  again     {found.again}"
    if found.event:
        yield f"  event     {found.event}"


def _done(verdict: Verdict) -> tuple[int, int]:
    tallies = [each.tally for each in verdict.sessions]
    return sum(each.steps for each in tallies), sum(each.rows for each in tallies)
