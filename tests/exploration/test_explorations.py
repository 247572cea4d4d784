"""Every scenario explored as deep as there is time for: every invariant holds in every situation that was reached."""

from __future__ import annotations

import os

import pytest

from tests.exploration.explorer import Explorer, Result
from tests.exploration.scenarios import SCENARIOS

SOAK = bool(os.environ.get("HANDS_SOAK"))


def judged(result: Result) -> None:
    assert result.found == []
    assert result.checked["comes home"] > 0
    assert result.checked["one entry"] >= result.transitions > 0


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_order_of_every_move_to_a_depth(name: str) -> None:
    scenario = SCENARIOS[name]
    depth, faults = scenario.deep[:2] if SOAK else (scenario.depth, scenario.faults)
    judged(Explorer(name, faults=faults).to_depth(depth))


@pytest.mark.parametrize("name", SCENARIOS)
def test_whole_lives_that_depart_from_the_fair_one(name: str) -> None:
    scenario = SCENARIOS[name]
    most = scenario.deep[2] if SOAK else scenario.departures
    judged(Explorer(name, faults=most).to_departures(most))
