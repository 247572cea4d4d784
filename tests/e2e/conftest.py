"""Floors for tests, and their logs in the report of a failure.

Most tests share one exchange, which each of them takes back to the start; a daemon is never shared.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Exchange, Floor

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


@pytest.fixture(scope="session")
def shared_exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """The exchange of every test that wants nothing special of it."""
    exchange = Exchange(tmp_path_factory.mktemp("exchange"))
    yield exchange
    exchange.process.end()


@pytest.fixture
def new_floor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Floor]]:
    """Makes floors; each is closed at the end of the test, and checked for what always holds if it passed.

    With arguments (options of `hands sim`) a floor gets an exchange of its own.
    """
    floors: list[Floor] = []
    request.node.stash[FLOORS] = floors
    endings = ExitStack()

    def make(**simulator: Any) -> Floor:
        folder = tmp_path / f"floor-{len(floors)}"
        folder.mkdir()
        if simulator:
            exchange = Exchange(folder, **simulator)
            endings.callback(exchange.process.end)
        else:
            assert not floors, "one exchange cannot serve two floors"
            exchange = request.getfixturevalue("shared_exchange")
            exchange.reset()
        floor = Floor(folder, exchange)
        endings.callback(floor.close)
        floors.append(floor)
        return floor

    with endings:
        yield make
        if not request.node.stash.get(FAILED, False):
            for floor in floors:
                floor.check()


@pytest.fixture
def floor(new_floor: Callable[..., Floor]) -> Floor:
    """A floor with the shipped limits and an exchange on a manual tape; the daemon is not running yet."""
    return new_floor()
