"""A part of the crash matrix (`make crash-matrix` is all of it), and that the matrix sees what is wrong."""

from __future__ import annotations

import os

import pytest

from tests.crash.__main__ import COMMAND
from tests.crash.cells import Cell, cells, run
from tests.crash.scenarios import SCENARIOS

EVERY = 1 if os.environ.get("HANDS_SOAK") else 71
"""Of the cells this many-th is run; a prime, so that every kind of step has its turn."""


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_death_at_any_step_breaks_nothing(scenario: str) -> None:
    found = list(cells(scenario))
    first = list(SCENARIOS).index(scenario) % EVERY
    broken = []
    for cell in found[first::EVERY]:
        outcome = run(cell)
        if outcome.wrongs:
            broken.append(f'{COMMAND} --cell "{cell}"   # {outcome.step}: {outcome.wrongs[:3]}')
    assert not broken, "\n".join(broken)


def test_a_cell_repeats_itself() -> None:
    cell = Cell("partial fill, native", 20, "nothing")
    first, second = run(cell), run(cell)
    assert (first.step, first.naked_ms, first.log) == (second.step, second.naked_ms, second.log)
