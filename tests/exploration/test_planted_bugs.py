"""The explorer catches what it is there for: each known bug, planted in the engine, breaks an invariant."""

from __future__ import annotations

import pytest

from tests.exploration.bugs import BUGS, plant
from tests.exploration.explorer import Explorer


@pytest.mark.parametrize("says", BUGS)
def test_a_planted_bug_is_caught(says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bug = BUGS[says]
    plant(bug, monkeypatch)
    explorer = Explorer(bug.scenario, faults=bug.departures, hasty=True)
    result = explorer.to_departures(bug.departures)
    assert [found.invariant in bug.noticed_by for found in result.found] == [True], result.found
