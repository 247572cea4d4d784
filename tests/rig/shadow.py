"""A shadow of `decide`: every event is decided a second time, on a copy made of the state's image and the market's snapshot.

Owns the comparison: the same commands, the same state, the same market. May not change what is decided. The one idea: what
decides alike once after each event decides alike for ever, so any test that drives `decide` is a test of images:

    python -m pytest -p tests.rig.shadow tests/core

lets every test of a folder be one (it takes about five times as long).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from hands.core import engine
from hands.core.commands import AnyCommand
from hands.core.events import AnyEvent
from hands.core.image import KNOWN, image_of, restore_image
from hands.core.market import Market
from hands.core.state import State, encode

_READ = msgspec.json.Decoder(AnyEvent)
_decide = engine.decide


def journaled(event: AnyEvent) -> AnyEvent:
    """Return an event as the journal gives it back."""
    found = _READ.decode(encode(event))
    assert found == event
    return found


class Shadow:
    """Stands where somebody calls `decide`; `faults` says what went differently.

    `closed`: between two events nobody may change the state, since what became of it would be no function of the events any
    more. (Tests that set the scene do.)
    """

    def __init__(self, *, closed: bool) -> None:
        self.decided = 0
        self.faults: list[str] = []
        self._closed = closed
        self._last: tuple[State, bytes] | None = None

    def decide(self, state: State, event: AnyEvent) -> list[AnyCommand]:
        if type(state.market) is not Market or vars(state).keys() != KNOWN:
            return _decide(state, event)  # a stand-in of some test
        before = image_of(state)
        if self._last is not None and self._last[0] is state and self._last[1] != before:
            self.faults.append(f"changed from outside before {event}")
        twin = restore_image(before, Market.restore(state.market.snapshot()))
        out, told = _decide(state, event), _decide(twin, journaled(event))
        if encode(out) != encode(told):
            self.faults.append(f"other commands after {event}")
        if image_of(state) != image_of(twin) or state.market.digest() != twin.market.digest():
            self.faults.append(f"another state after {event}")
        if self._closed:
            changed, state.changed = state.changed, {}
            self._last = state, image_of(state)  # as it is once they have been written ahead
            state.changed = changed
        self.decided += 1
        return out


# --- as a plugin -------------------------------------------------------------------------------------------------

_over_all = Shadow(closed=False)


def pytest_configure() -> None:
    """Stand in for `decide` before any test module takes it by name."""
    engine.decide = _over_all.decide


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield
    faults, _over_all.faults = _over_all.faults, []
    assert not faults, f"{item.nodeid}: {faults[:3]}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"{_over_all.decided} events were decided twice")
