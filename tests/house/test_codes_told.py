"""Every code that the operator can be told stands on a page that says what to do, and no page names one that is not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"`([A-Z][A-Z_]+)`")
SETTERS = {"set_reason", "hold_reason", "_latch"}


def _calls() -> Iterator[ast.Call]:
    for path in sorted((ROOT / "hands" / "core").glob("*.py")):
        yield from (
            node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)
        )


def _alerts() -> set[str]:
    """Return the codes of alerts that are no change of the trading state."""
    return {
        str(word.value.value)
        for call in _calls()
        if isinstance(call.func, ast.Name) and call.func.id == "Alert"
        for word in call.keywords
        if word.arg == "code" and isinstance(word.value, ast.Constant)
    }


def _reasons() -> set[str]:
    """Return the codes of the reasons that can be set."""
    return {
        str(given.value)
        for call in _calls()
        if isinstance(call.func, ast.Name) and call.func.id in SETTERS
        for given in call.args[2:3]
        if isinstance(given, ast.Constant)
    }


def _first_column(page: str, heading: str) -> set[str]:
    """Return the codes in the first column of the table under a heading."""
    section = (
        (ROOT / "docs" / page).read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    )
    cells = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    return {code for cell in cells for code in CODE.findall(cell)}


def test_the_operators_page_lists_the_alerts_there_are_and_no_others() -> None:
    assert _first_column("operator.md", "What the alerts say") == _alerts() != set()


def test_the_limits_page_lists_the_reasons_there_are_and_no_others() -> None:
    assert _first_column("limits.md", "What stops trading as a whole") == _reasons() != set()
