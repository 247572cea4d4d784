"""The rows that the core records are the rows that the ledger takes."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType

import pytest

from hands.core import breakers, ledger_rows
from hands.journal.schema import TABLES


def recorded(module: ModuleType) -> dict[str, set[str]]:
    """Return, for every function of a module that makes a row, the column names it writes as literals."""
    found = {}
    for function in ast.parse(inspect.getsource(module)).body:
        if isinstance(function, ast.FunctionDef):
            names = {
                key.value
                for node in ast.walk(function)
                if isinstance(node, ast.Dict)
                for key in node.keys
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            }
            if names:
                found[function.name] = names
    return found


@pytest.mark.parametrize(
    ("module", "function", "view"),
    [
        (ledger_rows, "intent_record", "intents"),
        (ledger_rows, "rejection_record", "rejections"),
        (ledger_rows, "order_record", "orders"),
        (ledger_rows, "fill_record", "fills"),
        (ledger_rows, "episode_record", "trade_episodes"),
        (breakers, "_row", "states"),
    ],
)
def test_every_column_that_the_core_names_exists(module: ModuleType, function: str, view: str):
    columns = {column.name for column in TABLES[view].columns}
    named = recorded(module)[function]
    assert named <= columns
    key = TABLES[view].key
    assert key is None or key in named
