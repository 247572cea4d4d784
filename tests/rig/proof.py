"""The proof at the end of a run: what was recorded is run again, and nothing may be different.

Owns the question and its strictness: here the program is the one that recorded, so that a session which is not compared
is a wrong too. The one idea: every run of every test that has a daemon is a test of the record.
"""

from __future__ import annotations

from pathlib import Path

from hands.journal.anchors import anchors_path
from hands.journal.keys import first_key
from hands.journal.record import NoRecord
from hands.journal.segments import folder_of, segment_paths
from hands.journal.verification import Verdict
from hands.runtime.proof import verify


def record_wrongs(state: Path) -> list[str]:
    """Return what is wrong with the record of a state directory whose processes have ended, or that is alive."""
    key = first_key(state)
    try:
        verdict = verify(state, first_keys=() if key is None else [key])
    except NoRecord as nothing:
        never_began = not anchors_path(state).exists() and not segment_paths(folder_of(state))
        return [] if never_began else [str(nothing)]
    return [f"the record: {wrong}" for wrong in _wrongs(verdict)]


def _wrongs(verdict: Verdict) -> list[str]:
    first = verdict.first_difference
    found = [] if first is None else [str(first)]
    found += verdict.faults + verdict.evidence.faults + verdict.losses
    found += [
        f"session {each.number} was not compared: {each.foreign}"
        for each in verdict.sessions
        if each.foreign is not None
    ]
    found += [
        f"session {each.number}: {gap}"
        for each in verdict.sessions
        for gap in each.gaps
        if not gap.is_declared
    ]
    if not any(each.is_compared for each in verdict.sessions):
        found.append("nothing was compared")
    return found
