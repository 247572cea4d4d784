"""Floors for tests, and their logs in the report of a failure."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Floor

FLOORS = pytest.StashKey[list[Floor]]()
FAILED = pytest.StashKey[bool]()
LOG_TAIL = 6_000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
        for floor in item.stash.get(FLOORS, []):
            for process in floor.processes:
                if text := process.log.read_text(errors="replace"):
                    report.sections.append((f"log of {process.name}", text[-LOG_TAIL:]))
    return report


@pytest.fixture
def new_floor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Floor]]:
    """Makes floors; each is closed at the end of the test, and checked for what always holds if it passed."""
    floors: list[Floor] = []
    request.node.stash[FLOORS] = floors

    def make(**simulator: Any) -> Floor:
        folder = tmp_path / f"floor-{len(floors)}"
        folder.mkdir()
        floor = Floor(folder, **simulator)
        floors.append(floor)
        return floor

    try:
        yield make
        if not request.node.stash.get(FAILED, False):
            for floor in floors:
                if floor.exchange.is_running:
                    floor.check()
    finally:
        for floor in floors:
            floor.close()


@pytest.fixture
def floor(new_floor: Callable[..., Floor]) -> Floor:
    """A floor with the shipped limits and an exchange on a manual tape; the daemon is not running yet."""
    return new_floor()
