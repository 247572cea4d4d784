"""The house style, where a machine can see it: readable modules, honest names, nothing left for later.

Owns what ruff and mypy cannot say. May not judge tests or bench by these rules, only what is shipped.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("hands", "brain_bridge")

LINES_MAX = 450
LONGER: frozenset[str] = frozenset()
"""Modules that may be longer; each would need a reason beside it."""

VAGUE = re.compile(r"(^|_)(util(s|ities)?|helpers?|managers?|base|misc|common)(_|$)")
LATER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
EVERYTHING = {"Exception", "BaseException"}
MACHINE_PATH = re.compile(r"/(work|root|home|Users)/")


def _too_long(path: Path, text: str) -> Iterator[str]:
    lines = text.count("\n")
    if lines > LINES_MAX and path.name not in LONGER:
        yield f"{lines} lines; a module fits one sitting, at most {LINES_MAX}"


def _no_docstring(path: Path, text: str) -> Iterator[str]:
    if not ast.get_docstring(ast.parse(text)):
        yield "no docstring saying what it owns, what it may not do, and the one idea"


def _vague_name(path: Path, text: str) -> Iterator[str]:
    if VAGUE.search(path.stem) or VAGUE.search(path.parent.name):
        yield f"{path.stem!r} says nothing about what is in it"


def _left_for_later(path: Path, text: str) -> Iterator[str]:
    yield from (
        f"line {n}: {m[0]}" for n, line in enumerate(text.splitlines(), 1) if (m := LATER.search(line))
    )


def _machine_path(path: Path, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if MACHINE_PATH.search(line):
            yield f"line {number}: a path of somebody's machine"


def _swallows(path: Path, text: str) -> Iterator[str]:
    """A handler for everything that does not end in `raise` hides our own bugs; so does `suppress(Exception)`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler):
            if isinstance(node.body[-1], ast.Raise):
                continue
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            caught = node.args if name == "suppress" else []
        else:
            continue
        if any(kind is None or (isinstance(kind, ast.Name) and kind.id in EVERYTHING) for kind in caught):
            yield f"line {node.lineno}: catches everything"


Rule = Callable[[Path, str], Iterator[str]]
RULES: dict[str, Rule] = {
    "length": _too_long,
    "docstring": _no_docstring,
    "name": _vague_name,
    "later": _left_for_later,
    "path": _machine_path,
    "swallow": _swallows,
}


def style_faults(root: Path, rule: Rule) -> list[str]:
    """Return one line per module under `root` and breach of `rule`."""
    paths = sorted(path for package in SHIPPED for path in (root / package).rglob("*.py"))
    return [f"{path.relative_to(root)}: {what}" for path in paths for what in rule(path, path.read_text())]


@pytest.mark.parametrize("rule", RULES)
def test_every_shipped_module_keeps_the_rule(rule: str) -> None:
    assert style_faults(ROOT, RULES[rule]) == []


BROKEN = [
    ("length", "market.py", '"""Doc."""\n' + "x = 1\n" * LINES_MAX),
    ("docstring", "market.py", "x = 1\n"),
    ("name", "order_utils.py", ""),
    ("name", "base.py", ""),
    ("later", "market.py", "x = 1  # TODO: later\n"),
    ("path", "market.py", f"STATE = '/{'root'}/var'\n"),
    ("path", "market.py", f"STATE = '/{'work'}/var'\n"),
    ("swallow", "market.py", "try:\n    f()\nexcept Exception:\n    pass\n"),
    ("swallow", "market.py", "try:\n    f()\nexcept (OSError, BaseException):\n    pass\n"),
    ("swallow", "market.py", "try:\n    f()\nexcept:\n    pass\n"),
    ("swallow", "market.py", "with contextlib.suppress(Exception):\n    f()\n"),
]


@pytest.mark.parametrize(("rule", "name", "source"), BROKEN)
def test_a_breach_is_reported(tmp_path: Path, rule: str, name: str, source: str) -> None:
    folder = tmp_path / "hands" / "core"
    folder.mkdir(parents=True)
    (folder / "units.py").write_text('"""Doc."""\n')
    assert style_faults(tmp_path, RULES[rule]) == []
    (folder / name).write_text(source)
    assert len(style_faults(tmp_path, RULES[rule])) == 1


def test_cleaning_up_before_raising_again_swallows_nothing(tmp_path: Path) -> None:
    source = "try:\n    f()\nexcept BaseException:\n    release()\n    raise\n"
    assert not list(_swallows(tmp_path / "store.py", source))


def test_database_is_a_word_and_not_a_vague_name(tmp_path: Path) -> None:
    assert not list(_vague_name(tmp_path / "database.py", ""))
