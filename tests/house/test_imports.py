"""The house: who may import whom, checked on the source of every module, and that the check itself bites.

The one idea: an import names a room (the first folder under hands/) or a single module, and a table says what
each room may name. Imports inside functions and under TYPE_CHECKING count: they are promises too.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hands", "brain_bridge")

# What each room may import of ours, besides itself: whole rooms, or single modules by their full name.
# Only runtime and replay know both venues and journal (the command line reaches the venue through them).
# The simulator is the other side of a socket; replay uses what it has without one.
ALLOWED: dict[str, frozenset[str]] = {
    "hands": frozenset({"cli", "version"}),  # the package's own __init__ and __main__
    "version": frozenset(),
    "cli": frozenset({"runtime", "replay", "sim", "watchdog", "intake", "journal", "core", "version"}),
    "runtime": frozenset({"intake", "venues", "journal", "core", "version"}),
    "replay": frozenset(
        {
            "intake", "venues", "journal", "core", "version",
            "hands.sim.venue", "hands.sim.market",
        }
    ),
    "watchdog": frozenset({"venues", "core", "version"}),
    "intake": frozenset({"core", "version"}),
    "venues": frozenset({"core", "version"}),
    "journal": frozenset({"core", "version"}),
    "core": frozenset(),
    "sim": frozenset({"hands.core.units", "hands.core.vocab"}),
    "brain_bridge": frozenset({"hands.core.intents", "hands.core.units", "hands.core.vocab", "hands.journal.reader"}),
}  # fmt: skip

ENTRY_ORDER_HOME = "hands.core.risk"
REDUCING_ORDER_HOME = "hands.core.reducing"
CONSTRUCTED_ONLY_IN = {"ApprovedEntry": ENTRY_ORDER_HOME, "ReducingOrder": REDUCING_ORDER_HOME}

# The watchdog can only cancel and reduce: it may know neither who decides on entries nor the words for one.
NOT_THE_WATCHDOGS = frozenset({"hands.core.risk", "hands.core.admission", "hands.core.engine"})
ENTRY_WORDS = frozenset({"ApprovedEntry", "SubmitEntry"})

# aiohttp is the simulator's; the rest costs start-up time and memory that the daemon does not have to give
NOT_IN_THE_DAEMON = (
    "pandas",
    "pyarrow",
    "exchange_calendars",
    "alpaca",
    "aiohttp",
    "hands.sim",
    "hands.replay",
)


def modules(root: Path) -> dict[str, Path]:
    """Return every module of ours under `root`: full dotted name to file; a package is named by its folder."""
    found: dict[str, Path] = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(module: str) -> str:
    """Return the room a module is in; `hands` and `hands.__main__` are the room "hands"."""
    parts = module.split(".")
    if parts[0] != "hands":
        return parts[0]
    return parts[1] if len(parts) > 1 and parts[1] != "__main__" else "hands"


def imports_of(
    tree: ast.AST, module: str, is_package: bool, known: frozenset[str]
) -> Iterator[tuple[int, str]]:
    """Yield (line, full name) for everything a module imports; a name taken from a package is the submodule
    where there is one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                parts = module.split(".")
                kept = parts[: len(parts) - node.level + is_package]
                source = ".".join([*kept, source] if source else kept)
            for alias in node.names:
                full = f"{source}.{alias.name}"
                yield node.lineno, full if full in known or alias.name == "*" else source


def import_faults(root: Path) -> list[str]:
    """Return one line per broken rule under `root`: imports, dynamic imports, and orders made elsewhere."""
    tree_of = {name: ast.parse(path.read_text()) for name, path in modules(root).items()}
    is_package = {name: path.name == "__init__.py" for name, path in modules(root).items()}
    known = frozenset(tree_of)
    faults: list[str] = []
    for module, tree in tree_of.items():
        room = room_of(module)
        if room not in ALLOWED:
            faults.append(f"{module}: no such room in the house: {room}")
            continue
        for line, target in imports_of(tree, module, is_package[module], known):
            if target.split(".")[0] in PACKAGES and not _may_import(room, target):
                faults.append(f"{module}:{line}: {room} may not import {target}")
            if room == "watchdog" and any(
                target == name or target.startswith(f"{name}.") for name in NOT_THE_WATCHDOGS
            ):
                faults.append(f"{module}:{line}: watchdog may not import {target}")
        faults.extend(f"{module}:{fault}" for fault in _dynamic_imports(tree))
        faults.extend(f"{module}:{fault}" for fault in _orders_made(tree, module))
        if room == "watchdog":
            faults.extend(f"{module}:{fault}" for fault in _entries_named(tree))
    return faults


def _may_import(room: str, target: str) -> bool:
    target = target.removesuffix(".*")
    if room_of(target) == room:
        return True
    allowed = ALLOWED[room]
    if any(target == name or target.startswith(name + ".") for name in allowed if name.startswith("hands.")):
        return True
    return target != "hands" and room_of(target) in allowed


def _dynamic_imports(tree: ast.AST) -> Iterator[str]:
    """Yield what would go round the table: an import by a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in {"__import__", "import_module"}:
            yield f"{node.lineno}: imports by a string"


def _orders_made(tree: ast.AST, module: str) -> Iterator[str]:
    """Yield every construction, subclass or renaming of an order type outside its one home."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            names, what = [_name(node.func)], "constructs"
        elif isinstance(node, ast.ClassDef):
            names, what = [_name(parent) for parent in node.bases], "subclasses"
        elif isinstance(node, ast.ImportFrom):
            names, what = (
                [alias.name for alias in node.names if alias.asname not in {None, alias.name}],
                "renames",
            )
        elif isinstance(node, ast.Assign):
            names, what = [_name(node.value)], "renames"
        else:
            continue
        for name in names:
            if module != CONSTRUCTED_ONLY_IN.get(name, module):
                yield f"{node.lineno}: {what} {name}, which only {CONSTRUCTED_ONLY_IN[name]} may"


def _entries_named(tree: ast.AST) -> Iterator[str]:
    """Yield every place where an entry is named, be it to read one, to import one or in a string."""
    for node in ast.walk(tree):
        names = [_name(node)]
        if isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value]
        for name in ENTRY_WORDS.intersection(names):
            yield f"{getattr(node, 'lineno', 0)}: the watchdog names {name}"


def _name(node: ast.AST) -> str:
    """Return the last word of a name or attribute ("replace" of `msgspec.structs.replace`), else ""."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def test_every_module_imports_only_what_its_room_may() -> None:
    assert import_faults(ROOT) == []


def test_only_runtime_and_replay_know_both_venues_and_journal() -> None:
    both = {room for room, allowed in ALLOWED.items() if {"venues", "journal"} <= allowed}
    assert both == {"runtime", "replay"}
    assert "journal" not in ALLOWED["venues"]
    assert "venues" not in ALLOWED["journal"]


def test_the_table_has_no_way_back_up() -> None:
    def reaches(room: str) -> set[str]:
        return {room_of(name) if name.startswith("hands.") else name for name in ALLOWED[room]}

    order = [
        "hands",
        "cli",
        "runtime",
        "replay",
        "watchdog",
        "brain_bridge",
        "sim",
        "intake",
        "venues",
        "journal",
    ]
    order += ["core", "version"]
    assert set(order) == set(ALLOWED)
    for rank, room in enumerate(order):
        assert reaches(room) <= set(order[rank + 1 :]), room


def test_the_daemon_starts_without_the_heavy_and_the_foreign() -> None:
    if "hands.runtime.daemon" not in modules(ROOT):
        pytest.skip("there is no daemon in this tree")
    program = (
        "import sys, hands.runtime.daemon\n"
        f"print(*(name for name in {NOT_IN_THE_DAEMON!r} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def _plant(root: Path, sources: dict[str, str]) -> None:
    """Write modules under `root`, given by their full names."""
    for name, source in sources.items():
        path = root.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


# One row per way to break the rule: (the module, its source, what the report must name).
BROKEN = [
    (
        "hands.core.market",
        "import hands.venues.alpaca.codec",
        "core may not import hands.venues.alpaca.codec",
    ),
    ("hands.core.market", "from hands import version", "core may not import hands.version"),
    ("hands.core.market", "import hands", "core may not import hands"),
    ("hands.core.market", "from hands import *", "core may not import hands"),
    ("hands.core.market", "from ..journal import wal", "core may not import hands.journal"),
    (
        "hands.core.market",
        "def f():\n    from hands.runtime import clock",
        "core may not import hands.runtime",
    ),
    (
        "hands.core.market",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import hands.cli.main",
        "core may not import hands.cli.main",
    ),
    (
        "hands.venues.alpaca.codec",
        "from hands.journal.codec import pack",
        "venues may not import hands.journal",
    ),
    ("hands.journal.codec", "from ..venues import alpaca", "journal may not import hands.venues"),
    ("hands.journal.codec", "from hands.intake import inbox", "journal may not import hands.intake"),
    ("hands.intake.inbox", "import hands.journal", "intake may not import hands.journal"),
    ("hands.sim.server.rest", "from hands.core import orders", "sim may not import hands.core"),
    (
        "hands.sim.server.rest",
        "from hands.core.orders import is_ours",
        "sim may not import hands.core.orders",
    ),
    ("hands.replay.run", "import hands.sim.server.app", "replay may not import hands.sim.server.app"),
    ("hands.replay.run", "from hands.runtime import sequencer", "replay may not import hands.runtime"),
    ("hands.runtime.daemon", "from hands import sim", "runtime may not import hands.sim"),
    ("hands.runtime.daemon", "from hands.replay import run", "runtime may not import hands.replay"),
    ("hands.watchdog.main", "from hands.journal import wal", "watchdog may not import hands.journal"),
    ("hands.watchdog.main", "import hands.core.risk", "watchdog may not import hands.core.risk"),
    ("hands.watchdog.main", "from hands.core import risk", "watchdog may not import hands.core.risk"),
    ("hands.watchdog.main", "from hands.core.risk import approve", "watchdog may not import hands.core.risk"),
    ("hands.watchdog.main", "from hands.core.engine import decide", "may not import hands.core.engine"),
    ("hands.watchdog.main", "from hands.core.admission import x", "may not import hands.core.admission"),
    ("hands.watchdog.main", "from hands.runtime import beat", "watchdog may not import hands.runtime"),
    ("hands.watchdog.main", "from hands.core.orders import ApprovedEntry", "names ApprovedEntry"),
    ("hands.watchdog.main", "from hands.core import commands\nx = commands.SubmitEntry", "names SubmitEntry"),
    (
        "hands.watchdog.main",
        "from hands.core import commands\nx = getattr(commands, 'SubmitEntry')",
        "names SubmitEntry",
    ),
    (
        "brain_bridge.drop",
        "from hands.core.risk import check",
        "brain_bridge may not import hands.core.risk",
    ),
    (
        "brain_bridge.drop",
        "from hands.journal.store import JournalStore",
        "may not import hands.journal.store",
    ),
    ("brain_bridge.drop", "from hands.runtime import control", "brain_bridge may not import hands.runtime"),
    ("hands.utilities.text", "", "no such room"),
    ("hands.runtime.daemon", "import importlib\nimportlib.import_module('x')", "imports by a string"),
    ("hands.runtime.daemon", "__import__('hands.sim')", "imports by a string"),
    ("hands.core.engine", "e = ApprovedEntry(qty=1)", "constructs ApprovedEntry"),
    ("hands.core.risk", "o = orders.ReducingOrder(qty=1)", "constructs ReducingOrder"),
    ("hands.watchdog.main", "o = ReducingOrder(qty=1)", "constructs ReducingOrder"),
    ("hands.core.engine", "from hands.core.orders import ApprovedEntry as E", "renames ApprovedEntry"),
    ("hands.core.engine", "E = orders.ApprovedEntry", "renames ApprovedEntry"),
    ("hands.core.engine", "class E(ApprovedEntry): pass", "subclasses ApprovedEntry"),
]


@pytest.mark.parametrize(("module", "source", "report"), BROKEN)
def test_a_broken_rule_is_reported(tmp_path: Path, module: str, source: str, report: str) -> None:
    sources = {
        "hands.__main__": "from hands.cli.main import main",
        "hands.cli.main": "def run():\n    from hands.runtime import daemon",
        "hands.runtime.daemon": "import hands.venues.alpaca, hands.journal\nfrom hands.core import units",
        "hands.sim.server.rest": "from hands.core.units import NANO\nfrom hands.core import units\nimport hands.sim.venue.ticks",
        "hands.core.risk": "from hands.core.orders import ApprovedEntry\nentry = ApprovedEntry(qty=1)",
        "hands.core.reducing": "from .orders import ReducingOrder\norder = ReducingOrder(qty=1)",
        "hands.core.orders": "import msgspec\nfrom . import units",
        "hands.core.units": "NANO = 1",
        "brain_bridge.drop": "from hands.core.intents import Intent",
    }
    _plant(tmp_path, sources)
    assert import_faults(tmp_path) == []
    assert set(modules(tmp_path)) == set(sources)
