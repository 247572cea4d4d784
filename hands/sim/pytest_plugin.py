"""A pytest plugin: the fixture `alpaca_sim`, a simulator that every test finds as if just started.

Owns the fixture and its marker. The one idea: processes are shared by the whole run and reset for each test; a test
that asks for options which only a start can settle gets a process with those, shared by whoever asks for the same.

    pytest_plugins = ["hands.sim.pytest_plugin"]        # in conftest.py

    @pytest.mark.alpaca_sim(quirks={"stop_cancel_event": "sent"}, cash=5000)
    def test_my_bot(alpaca_sim): ...
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest

from hands.sim.testing import Sim, SimError, running_sim

MARKER: Final = "alpaca_sim(**options): options of `hands sim` for the fixture alpaca_sim, e.g. cash=5000"
RESETTABLE: Final = frozenset({"cash", "fills", "latency", "multiplier", "quirks", "seed", "session"})
"""What a reset can change; everything else needs a process of its own."""


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
        name = json.dumps(settled, sort_keys=True)
        if name not in self._sims:
            self._sims[name] = self._running.enter_context(running_sim(**settled))
        sim = self._sims[name]
        sim.reset(**{name: value for name, value in options.items() if name in RESETTABLE})
        return sim

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
def alpaca_sim(request: pytest.FixtureRequest, alpaca_sims: SimPool) -> Sim:
    """A simulator as if just started: on a manual tape unless the marker `alpaca_sim` says otherwise."""
    options: dict[str, Any] = {}
    for marker in reversed(
        list(request.node.iter_markers("alpaca_sim"))
    ):  # the test's own goes before its class's
        if marker.args:
            pytest.fail("the marker alpaca_sim takes options by name only", pytrace=False)
        options |= marker.kwargs
    try:
        return alpaca_sims.fresh(options)
    except SimError as error:
        pytest.fail(f"hands sim: {error}", pytrace=False)
