"""The documents: every link leads somewhere, every file, command and module they name is there, nothing is left open.

The one idea: what a machine can hold a document to, it does; the rest is reading.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hands.cli.main import app
from hands.core.risk import CHECKS

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = {"var", "build", "dist"}
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in NOT_OURS for part in path.relative_to(ROOT).parts)
)

LINK = re.compile(r"\]\(([^()\s]+)\)")
ELSEWHERE = re.compile(r"[a-z][a-z+.-]*:", re.IGNORECASE)
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
NAMED_FILE = re.compile(r"`([\w./-]+\.(?:py|toml|md))`")
OPEN_END = re.compile(r"\b(?:TODO|FIXME|XXX|TBD|TBC|PLACEHOLDER)\b|^[A-Z]+(?:_[A-Z]+)+$", re.MULTILINE)
"""Words of somebody who meant to come back; or a line that is nothing but a name in capitals, waiting to be filled."""

PLACES = ("", "hands", "config", "docs", "tests/venues/alpaca")
"""Where a file named without its folder may be, besides beside the document."""


def _prose(text: str) -> str:
    return CODE_BLOCK.sub("", text)


def _anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", _prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def link_faults(document: Path, text: str) -> list[str]:
    """Return the relative links of a document that lead nowhere: no such file, or no such heading in it."""
    faults = []
    for target in LINK.findall(_prose(text)):
        if ELSEWHERE.match(target):
            continue
        name, _, anchor = target.partition("#")
        path = document.parent / name if name else document
        if name and not path.exists():
            faults.append(f"{target}: no such file")
        elif anchor and anchor not in _anchors(text if not name else path.read_text("utf-8")):
            faults.append(f"{target}: no such heading")
    return faults


def _commands() -> set[str]:
    """Return the commands that `hands --help` lists."""
    result = CliRunner().invoke(app, ["--help"], terminal_width=100)
    assert result.exit_code == 0
    return set(re.findall(r"^  ([a-z-]+) {2,}\S", result.output.partition("Commands:")[2], re.MULTILINE))


def _documented_commands() -> set[str]:
    """Return the commands in the first column of the README's table."""
    section = (ROOT / "README.md").read_text("utf-8").partition("\n## Commands\n")[2].partition("\n## ")[0]
    cells = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`hands ([a-z-]+)", cell)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    assert link_faults(document, document.read_text("utf-8")) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_named_is_there(document: Path) -> None:
    named = set(NAMED_FILE.findall(_prose(document.read_text("utf-8"))))
    places = (document.parent, *(ROOT / place for place in PLACES))
    assert [name for name in sorted(named) if not any((place / name).is_file() for place in places)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_waits_to_be_filled_in(document: Path) -> None:
    assert OPEN_END.findall(_prose(document.read_text("utf-8"))) == []


def test_the_readmes_table_has_the_commands_there_are_and_no_others() -> None:
    assert _documented_commands() == _commands() != set()


def test_the_readme_counts_the_checks_right() -> None:
    counted = re.findall(r"(\d+) checks", (ROOT / "README.md").read_text("utf-8"))
    assert set(counted) == {str(len(CHECKS))}


@pytest.mark.parametrize("room", ["core", "runtime", "sim/venue", "sim/market", "sim/server"])
def test_the_architecture_names_every_module_of_the_room(room: str) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    modules = {path.stem for path in (ROOT / "hands" / room).glob("*.py")} - {"__init__"}
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert modules - set(re.findall(r"`(\w+)`", " ".join(rows))) == set()


def test_every_decision_has_a_number_of_its_own_and_says_so() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(len(records)))
    assert [
        path.name for path in records if not path.read_text("utf-8").startswith(f"# {path.name[:4]}: ")
    ] == []


def test_a_link_that_leads_nowhere_is_reported(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    (tmp_path / "b.md").write_text("# B\n\n## One `thing`, and 2\n")
    good = "# A b\n[1](b.md) [2](b.md#one-thing-and-2) [3](#a-b) [4](https://x.example/y) [5](.)\n"
    bad = "[6](c.md) [7](b.md#two) [8](#c)\n```\n[9](d.md)\n```\n"
    assert link_faults(document, good) == []
    faults = link_faults(document, good + bad)
    assert faults == ["c.md: no such file", "b.md#two: no such heading", "#c: no such heading"]


@pytest.mark.parametrize("text", ["Later: TODO.", "a\n\nBENCH_TABLE\n\nb", "as of TBD"])
def test_an_open_end_is_reported(text: str) -> None:
    assert OPEN_END.search(text)


@pytest.mark.parametrize("text", ["`STALE_MARKET_DATA` is said", "| REDUCE_ONLY |", "HALTED\n"])
def test_a_word_of_the_contract_is_no_open_end(text: str) -> None:
    assert not OPEN_END.search(text)
