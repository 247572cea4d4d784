"""A pytest plugin: the fixture `alpaca_sim`, a simulator that every test finds as if just started.

Owns the fixture and its marker. The one idea: processes are shared by the whole run and reset for each test; a test
that asks for options which only a start can settle gets a process with those, shared by whoever asks for the same.

    pytest_plugins = ["hands.sim.pytest_plugin"]        # in conftest.py

    @pytest.mark.alpaca_sim(quirks={"stop_cancel_event": "sent"}, cash=5000)
    def test_my_bot(alpaca_sim): ...
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from hands.sim.server.config import RESETTABLE
from hands.sim.testing import Sim, SimError, running_sim

MARKER: Final = "alpaca_sim(**options): options of `hands sim` for the fixture alpaca_sim, e.g. cash=5000"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


class SimPool:
    """The simulators of a test run, by what they were started with."""

    def __init__(self) -> None:
        self._running = ExitStack()
        self._sims: dict[str, Sim] = {}

    def fresh(self, options: dict[str, Any]) -> Sim:
        """Return a simulator as if just started with `options`. Raises `SimError`."""
        settled = {name: value for name, value in options.items() if name not in RESETTABLE}
        changed = {name: value for name, value in options.items() if name in RESETTABLE}
        name = json.dumps(settled, sort_keys=True, default=str)
        if name in self._sims:
            try:
                self._sims[name].reset(**changed)
            except OSError:  # it died under an earlier test, whose report says so
                del self._sims[name]
        if name not in self._sims:
            self._sims[name] = self._running.enter_context(running_sim(**settled))
            self._sims[name].reset(**changed)
        return self._sims[name]

    def close(self) -> None:
        """End them all."""
        self._running.close()


@pytest.fixture(scope="session")
def alpaca_sims() -> Iterator[SimPool]:
    """The simulators of this run."""
    pool = SimPool()
    yield pool
    pool.close()


@pytest.fixture
def alpaca_sim(request: pytest.FixtureRequest, alpaca_sims: SimPool) -> Iterator[Sim]:
    """A simulator as if just started: on a manual tape unless the marker `alpaca_sim` says otherwise.

    What it writes to stderr meanwhile is shown with the report of a test that fails.
    """
    options: dict[str, Any] = {}
    # The nearest comes first, and the test's own goes before its class's.
    for marker in reversed(list(request.node.iter_markers("alpaca_sim"))):
        if marker.args:
            pytest.fail("the marker alpaca_sim takes options by name only", pytrace=False)
        options |= marker.kwargs
    try:
        sim = alpaca_sims.fresh(options)
    except SimError as error:
        pytest.fail(f"hands sim: {error}", pytrace=False)
    before = len(sim.said())
    yield sim
    sys.stderr.write(sim.said()[before:])
