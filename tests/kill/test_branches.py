"""Every "no" of the guardian is met by a scenario, and a limit of one symbol is honoured there."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType
from typing import Any

import pytest

from hands.core import budgets, checks, other_trades
from hands.core.limit_keys import ACCOUNT_WIDE, LIMIT_KEYS, LimitKey
from hands.core.risk import judge
from tests.core.test_kill import DENIED, READ, loosest
from tests.kill.branches import BRANCHES

PER_SYMBOL = [
    key
    for key in LIMIT_KEYS
    if key.tighter
    and key.name not in ACCOUNT_WIDE
    and key.name != "rejections_latch"  # of unreadable ones too
]


@pytest.mark.parametrize("name", BRANCHES)
def test_this_branch_says_no(name: str) -> None:
    branch = BRANCHES[name]
    judgement = judge(branch.scenario())
    assert judgement.check is not None
    assert judgement.denial is not None
    assert judgement.check.name == branch.check
    assert re.search(branch.words, judgement.denial.message), judgement.denial.message


@pytest.mark.parametrize("key", PER_SYMBOL, ids=[key.name for key in PER_SYMBOL])
def test_every_hard_limit_holds_for_one_symbol_as_it_does_for_the_account(key: LimitKey) -> None:
    """With the account's as loose as can be, the symbol's own decides alone."""
    scenario = READ[key.name]
    tight = key.shipped if scenario.tight is None else scenario.tight
    symbols = ("AAPL", "SPY", "BTC/USD", "SOL/USD")
    own = "\n".join(f'[symbols."{symbol}"]\n{key.name} = {tight}' for symbol in symbols)
    held = scenario.play(**{key.name: loosest(key)}, extra=own)
    assert held == scenario.play(**{key.name: tight})
    assert held != scenario.play(**{key.name: loosest(key)})


# --- nothing says no unseen --------------------------------------------------------------------------------

GUARDIAN: tuple[ModuleType, ...] = (checks, budgets, other_trades)
REASONS = ("missing_for_ready", "_missing_for_short")
"""Functions that return why not, in words."""

STOPPED_BEFORE = {"unpriced": None, "quote_age": "there is no quote yet"}
"""What `market_data` and `slippage`, which stand before, say first: without a market, or a price, nothing gets there."""


def refusals(module: ModuleType) -> Iterator[tuple[int, str]]:
    """Yield (line, source) of every return that says no."""
    tree = ast.parse(inspect.getsource(module))
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for node in ast.walk(function):
            if isinstance(node, ast.Return) and node.value is not None and _says_no(function.name, node):
                yield node.lineno, ast.unparse(node)


def _says_no(function: str, node: ast.Return) -> bool:
    assert node.value is not None
    if function in REASONS:
        return not (isinstance(node.value, ast.Constant) and node.value.value is None)
    if function == "_deny" or (
        function in STOPPED_BEFORE and (STOPPED_BEFORE[function] or "") in ast.unparse(node)
    ):
        return False
    called = {
        c.func.id for c in ast.walk(node.value) if isinstance(c, ast.Call) and isinstance(c.func, ast.Name)
    }
    return bool(called & {"_deny", "Denial"})


def lines_run(act: Callable[[], Any]) -> set[tuple[str, int]]:
    """Return (file, line) of what `act` runs of the guardian."""
    files = {module.__file__ for module in GUARDIAN}
    seen: set[tuple[str, int]] = set()

    def trace(frame: FrameType, event: str, _arg: object) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            seen.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return seen


def test_every_no_of_the_guardian_is_met_by_a_scenario() -> None:
    """A branch that is added without one fails here, and is then no mutant that nobody kills."""

    def play() -> None:
        for scenario in (*DENIED.values(), *(branch.scenario for branch in BRANCHES.values())):
            judge(scenario())

    seen = lines_run(play)
    unseen = [
        f"{module.__name__}:{line}: {source}"
        for module in GUARDIAN
        for line, source in refusals(module)
        if (module.__file__, line) not in seen
    ]
    assert unseen == []
