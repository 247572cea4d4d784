"""Every switch of the simulator acts somewhere, and every value it can have is named by a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hands.sim.venue.quirks import QuirkEntry, catalogue

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    path: path.read_text() for path in (ROOT / "hands" / "sim").rglob("*.py") if path.name != "quirks.py"
}
TESTS = {path: path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)}


def places(name: str, sources: dict[Path, str]) -> list[str]:
    """Return the modules that ask for a switch."""
    return [path.name for path, text in sources.items() if re.search(rf"quirks\.{name}\b", text)]


def untested(entry: QuirkEntry, tests: dict[Path, str]) -> list[str]:
    """Return the values of a switch that no test which speaks of it has; the default need not be spelled out."""
    texts = [text for text in tests.values() if re.search(rf"\b{entry.name}\b", text)]
    return [value for value in entry.allowed[1:] if not any(says(text, value) for text in texts)]


def says(text: str, value: str) -> bool:
    return re.search(rf"[\"'=]{re.escape(value)}[\"']", text) is not None


@pytest.mark.parametrize("entry", catalogue().values(), ids=lambda entry: entry.name)
def test_a_switch_acts_and_is_tested_both_ways(entry: QuirkEntry) -> None:
    assert places(entry.name, SOURCES)
    assert untested(entry, TESTS) == []


def test_a_switch_that_does_nothing_is_found() -> None:
    idle = QuirkEntry("idle", ("off", "on"), "nothing")
    named = {Path("test_a.py"): "Quirks(idle='off')", Path("test_b.py"): "status == 'on'"}
    assert places("idle", {Path("a.py"): "quirks.busy, self.idle"}) == []
    assert untested(idle, named) == ["on"]
    assert (
        untested(idle, named | {Path("test_c.py"): '@pytest.mark.parametrize("idle", ["off", "on"])'}) == []
    )
