"""`python -m tests.kill [WORD...]`: apply every mutant, each in a process of its own, and see its test fail.

Prints one line per mutant (what was taken out, which test noticed, how long that took) and ends with 1 where one
survives: then something of the guardian is there that no test would miss. `WORD`: only mutants with it in their names.
The one idea: the tests are collected once, and each mutant is a fork of that, so that 200 of them take seconds.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from tests.kill.mutants import MUTANTS, Mutant

TOGETHER = len(os.sched_getaffinity(0))
UNCHANGED = "nothing is taken out"
SURVIVED, KILLED, BROKEN = 0, 1, 2
"""What a mutant's process ends with; BROKEN: the mutant itself could not be applied."""


class Killing:
    """A pytest plugin: runs mutants instead of the tests that were collected."""

    def __init__(self, mutants: dict[str, Mutant]) -> None:
        self.not_killed: list[str] = []
        self._mutants = mutants
        self._items: dict[str, pytest.Item] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # made once, for all forks
        self._items = {item.nodeid: item for item in session.items}
        gc.collect()
        gc.freeze()  # what is never looked at by the collector is never copied by a fork
        every = Mutant(
            lambda: None, tuple({node: None for m in self._mutants.values() for node in m.killed_by})
        )
        for name, code, ms in self._forks({UNCHANGED: every, **self._mutants}):
            self._report(name, code, ms)
        return True

    def _forks(self, mutants: dict[str, Mutant]) -> Iterator[tuple[str, int, float]]:
        """Run every mutant in a fork, some at a time, and yield how each ended."""
        waiting, began = list(mutants.items()), dict[int, tuple[str, float]]()
        while waiting or began:
            while waiting and len(began) < TOGETHER:
                name, mutant = waiting.pop(0)
                began[self._fork(mutant)] = name, time.monotonic()
            child, status = os.wait()
            name, since = began.pop(child)
            yield name, os.waitstatus_to_exitcode(status), 1000 * (time.monotonic() - since)

    def _fork(self, mutant: Mutant) -> int:
        sys.stdout.flush()
        child = os.fork()
        if child:
            return child
        code = BROKEN
        try:
            mutant.apply()
            code = KILLED if any(self._fails(node) for node in mutant.killed_by) else SURVIVED
        finally:
            os._exit(code)

    def _fails(self, node: str) -> bool:
        reports = runtestprotocol(self._items[node], log=False, nextitem=None)
        return any(report.failed for report in reports)

    def _report(self, name: str, code: int, ms: float) -> None:
        wanted = SURVIVED if name == UNCHANGED else KILLED
        if code != wanted:
            self.not_killed.append(name)
        if name == UNCHANGED:
            said = "every test passes" if code == SURVIVED else "A TEST FAILS WITHOUT ANY MUTANT"
        else:
            by = self._mutants[name].killed_by[0].rpartition("::")[2]
            said = {KILLED: by, SURVIVED: "SURVIVES"}.get(code, "BROKEN: it cannot be applied")
        print(f"{name:<40} {said:<92} {ms:5.0f} ms")


def kill(mutants: dict[str, Mutant]) -> list[str]:
    """Run the mutants; return those that were not killed, and tests that are not there or fail by themselves."""
    killing = Killing(mutants)
    nodes = list(dict.fromkeys(node for mutant in MUTANTS.values() for node in mutant.killed_by))
    nodes += [node for mutant in mutants.values() for node in mutant.killed_by if node not in nodes]
    with tempfile.TemporaryDirectory() as base:
        quiet = ["-qq", "-s", "--no-header", "--no-summary", "--tb=no", "--basetemp", str(Path(base, "kill"))]
        code = pytest.main([*quiet, "-p", "no:xdist", *nodes], plugins=[killing])
    return killing.not_killed if code == pytest.ExitCode.OK else ["the tests cannot be collected"]


def main(words: list[str]) -> int:
    chosen = {name: m for name, m in MUTANTS.items() if not words or any(word in name for word in words)}
    began = time.monotonic()
    alive = kill(chosen)
    print(f"{len(chosen) - len(alive)} of {len(chosen)} mutants killed in {time.monotonic() - began:.0f} s")
    for name in alive:
        print(f"not killed: {name}", file=sys.stderr)
    return 1 if alive or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
