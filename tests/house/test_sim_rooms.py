"""The simulator's three rooms import downwards only, and its exchange does no I/O and reads no clock."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SIM = Path(__file__).resolve().parents[2] / "hands" / "sim"
MAY_IMPORT = {"venue": {"venue"}, "market": {"venue", "market"}, "server": {"venue", "market", "server"}}
NOT_IN_THE_EXCHANGE = {
    "asyncio",
    "aiohttp",
    "time",
    "socket",
    "os",
    "threading",
    "subprocess",
    "msgspec",
    "orjson",
}


def imported(path: Path) -> set[str]:
    """Return the full names of what a module imports, names taken from a package included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def faults(room: str, path: Path) -> list[str]:
    found = []
    for name in sorted(imported(path)):
        parts = name.split(".")
        if parts[:2] == ["hands", "sim"] and len(parts) > 2 and parts[2] not in MAY_IMPORT[room]:
            found.append(f"{path.name}: {room} may not import {name}")
        if room == "venue" and parts[0] in NOT_IN_THE_EXCHANGE:
            found.append(f"{path.name}: the exchange may not import {name}")
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_downwards_only(room: str) -> None:
    paths = sorted((SIM / room).rglob("*.py"))
    assert len(paths) > 3
    assert [fault for path in paths for fault in faults(room, path)] == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("venue", "from hands.sim.market.tape import Tape"),
        ("market", "from hands.sim.server import keys"),
        ("venue", "import time"),
        ("venue", "def f():\n    from aiohttp import web"),
    ],
)
def test_a_breach_is_found(tmp_path: Path, room: str, source: str) -> None:
    path = tmp_path / "planted.py"
    path.write_text(source)
    assert faults(room, path)
