"""The core is closed: no clock, file, socket, thread, randomness, hash order or waiting; checked on its source.

The one idea: outside modules are an allow-list, so that what is not thought of is forbidden; and the few doors
that allowed modules have (a datetime's `now`, numpy's `load`) are named and shut.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "hands" / "core"

# fmt: off
OUTSIDE = frozenset({
    "__future__", "bisect", "collections", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "functools", "hashlib", "heapq", "itertools", "json", "llvmlite", "math", "msgspec", "numba",
    "numpy", "operator", "orjson", "pydantic", "re", "string", "struct", "tomllib",
    "types", "typing", "typing_extensions", "unicodedata",
})
# fmt: on

BUILTINS = frozenset({"open", "print", "input", "exec", "eval", "compile", "breakpoint", "hash", "id"})
"""Calls that leave the process, or whose answer changes from one process to the next."""

CLOCK = frozenset({"now", "utcnow", "today"})

NUMPY_DOORS = frozenset(
    {
        "random",
        "load",
        "save",
        "savez",
        "savez_compressed",
        "memmap",
        "fromfile",
        "loadtxt",
        "savetxt",
        "genfromtxt",
    }
)


def purity_faults(core: Path) -> list[str]:
    """Return one line per broken rule in the modules under `core`."""
    faults: list[str] = []
    for path in sorted(core.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            faults.extend(f"{path.name}:{line}: {what}" for line, what in _faults_of(node))
    return faults


def _faults_of(node: ast.AST) -> Iterator[tuple[int, str]]:
    match node:
        case ast.Import(lineno=line, names=names):
            yield from ((line, f"imports {alias.name}") for alias in names if not _is_allowed(alias.name))
        case ast.ImportFrom(lineno=line, module=str(module), level=0, names=names):
            if not _is_allowed(module):
                yield line, f"imports {module}"
            doors = NUMPY_DOORS if module == "numpy" else frozenset()
            yield from ((line, f"imports {module}.{alias.name}") for alias in names if alias.name in doors)
        case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
            yield node.lineno, "waits"
        case ast.Call(lineno=line, func=ast.Name(id=name)) if name in BUILTINS:
            yield line, f"calls {name}()"
        case ast.Call(lineno=line, func=ast.Attribute(attr=name)) if name in CLOCK or name == "tofile":
            yield line, f"calls .{name}()"
        case ast.Attribute(lineno=line, attr=name, value=owner) if name in CLOCK and _is_datetime(owner):
            yield line, f"reads the clock: {name}"
        case ast.Attribute(lineno=line, attr=name, value=ast.Name(id="np" | "numpy")) if name in NUMPY_DOORS:
            yield line, f"opens numpy.{name}"
        case ast.Call(lineno=line, keywords=keywords):
            yield from ((line, f"compiles with {k.arg}") for k in keywords if _reorders(k))


def _is_allowed(module: str) -> bool:
    first, *rest = module.split(".")
    if first == "numpy" and rest[:1] == ["random"]:
        return False
    return first in OUTSIDE or first in {"hands", "brain_bridge"}  # ours are the import rule's business


def _is_datetime(node: ast.AST) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name in {"datetime", "date", "dt"}


def _reorders(keyword: ast.keyword) -> bool:
    """Whether a keyword lets the compiler change the order of floating-point operations, so their result."""
    return keyword.arg in {"fastmath", "parallel"} and not (
        isinstance(keyword.value, ast.Constant) and keyword.value.value is False
    )


def test_the_core_touches_nothing_outside_itself() -> None:
    assert CORE.is_dir()
    assert purity_faults(CORE) == []


# One row per way out of the core: (its source, what the report must name).
BROKEN = [
    ("import time", "imports time"),
    ("import os", "imports os"),
    ("import random", "imports random"),
    ("from secrets import token_hex", "imports secrets"),
    ("import uuid", "imports uuid"),
    ("def f():\n    import socket", "imports socket"),
    ("from threading import Lock", "imports threading"),
    ("import asyncio", "imports asyncio"),
    ("from pathlib import Path", "imports pathlib"),
    ("import logging", "imports logging"),
    ("import sqlite3", "imports sqlite3"),
    ("import aiohttp", "imports aiohttp"),
    ("from zoneinfo import ZoneInfo", "imports zoneinfo"),
    ("import numpy.random", "imports numpy.random"),
    ("from numpy import random", "imports numpy.random"),
    ("import numpy as np\nx = np.random", "opens numpy.random"),
    ("import numpy as np\nx = np.memmap", "opens numpy.memmap"),
    ("a.tofile('x')", "calls .tofile()"),
    ("from datetime import datetime\nt = datetime.now()", "calls .now()"),
    ("import datetime as dt\nt = dt.date.today()", "calls .today()"),
    ("from datetime import datetime\nf = datetime.utcnow", "reads the clock: utcnow"),
    ("open('x')", "calls open()"),
    ("print('x')", "calls print()"),
    ("input()", "calls input()"),
    ("exec('x')", "calls exec()"),
    ("hash('x')", "calls hash()"),
    ("async def f():\n    pass", "waits"),
    ("async def f():\n    await g()", "waits"),
    ("@njit(cache=True, fastmath=True)\ndef f(): pass", "compiles with fastmath"),
    ("@njit(parallel=True)\ndef f(): pass", "compiles with parallel"),
]


@pytest.mark.parametrize(("source", "report"), BROKEN)
def test_a_way_out_of_the_core_is_reported(tmp_path: Path, source: str, report: str) -> None:
    (tmp_path / "leaky.py").write_text(source)
    assert any(fault.endswith(report) for fault in purity_faults(tmp_path)), purity_faults(tmp_path)


def test_parsing_a_time_is_not_reading_a_clock(tmp_path: Path) -> None:
    (tmp_path / "times.py").write_text(
        "from datetime import datetime\nimport numpy as np\nfrom collections.abc import Sequence\n"
        "t = datetime.fromisoformat('2026-01-01T00:00:00Z')\nx = np.zeros(3)\nnow = state.now\n"
    )
    assert purity_faults(tmp_path) == []
