"""The kill tests are complete: nothing that can deny or bind is without a mutant, and a mutant that lives is seen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hands.core.capabilities import CAPABILITY_KEYS
from hands.core.limit_keys import ACCOUNT_WIDE, LIMIT_KEYS, SESSION_KEYS
from hands.core.missing_keys import SHIPPED
from hands.core.risk import CHECKS
from tests.core.test_latches import BREAKERS
from tests.kill.branches import BRANCHES
from tests.kill.changes import RULES
from tests.kill.moves import MOVES
from tests.kill.mutants import MUTANTS

SCOPED = [key.name for key in LIMIT_KEYS if key.tighter and key.name not in ACCOUNT_WIDE]
WANTED = [
    *(f"check {check.name}" for check in CHECKS),
    *(f"branch {name}" for name in BRANCHES),
    *(f"key {key.name}" for key in LIMIT_KEYS),
    *(f"key session.{key.name}" for key in SESSION_KEYS),
    *(f"key {table}.{line.name}" for table in ("symbols", "day") for line in SHIPPED[table]),
    *(f"key agents.{name}" for name in (*SCOPED, *sorted(CAPABILITY_KEYS), "user")),
    *(f"key symbols.{name}" for name in SCOPED),
    *(f"breaker {breaker.code}" for breaker in BREAKERS),
    *(f"change {name}" for name in RULES),
    *(f"move {name}" for name in MOVES),
]


@pytest.mark.parametrize("name", WANTED)
def test_it_has_a_mutant_and_a_test_that_kills_it(name: str) -> None:
    assert MUTANTS[name].killed_by


PROGRAM = """
from tests.kill.__main__ import kill
from tests.kill.mutants import MUTANTS, Mutant

def cannot():
    raise RuntimeError("no such thing to take out")

tests = MUTANTS["check spread"].killed_by
chosen = {name: MUTANTS[name] for name in ("check spread", "branch ready/stopping", "key max_spread")}
alive = kill({**chosen, "changes nothing": Mutant(lambda: None, tests), "breaks": Mutant(cannot, tests)})
print("alive:", ", ".join(sorted(alive)))
print("alive:", *kill({"no test": Mutant(cannot, ("tests/kill/test_mapping.py::test_of_nothing",))}))
"""


def test_every_mapped_test_is_there_and_a_mutant_that_lives_is_reported(root: Path) -> None:
    """A few mutants in processes of their own; all of them by `make kill-tests`."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    told = [line for line in done.stdout.splitlines() if line.startswith("alive:")]
    assert told == ["alive: breaks, changes nothing", "alive: the tests cannot be collected"], done
