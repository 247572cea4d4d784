"""The page about the simulator and the README: their programs run, their commands work, the table of quirks is the one there is."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hands.sim.server.config import RESETTABLE
from hands.sim.testing import Sim, in_process_sim
from hands.sim.venue.quirks import catalogue

ROOT = Path(__file__).resolve().parents[2]
PAGE, README = ROOT / "docs" / "simulator.md", ROOT / "README.md"
TEXT = PAGE.read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


def test_the_table_of_quirks_is_the_catalogue() -> None:
    rows = TEXT.partition("| quirk | default | else |")[2].partition("\n\n")[0].splitlines()[2:]
    assert rows == [
        f"| `{e.name}` | {e.allowed[0]} | {', '.join(e.allowed[1:])} | {e.what} |"
        for e in catalogue().values()
    ]


def test_it_names_every_control_the_object_has_and_what_a_reset_can_change() -> None:
    section = TEXT.partition("## The pytest fixture")[2].partition("\n## ")[0]
    methods = {name for name in vars(Sim) if not name.startswith("_")}
    technical = {"control", "call", "now_ns", "truth_bytes", "trade_stream_url", "market_stream_url"}
    assert set(re.findall(r"`\.(\w+)\(\)`", section)) == methods - technical
    assert set(re.findall(r"`(\w+)`", section.partition("reset can change (")[2].partition(")")[0])) == set(
        RESETTABLE
    )


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("curl ")])
def test_every_request_is_accepted(line: str) -> None:
    words = shlex.split(line)
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    body = json.loads(words[words.index("-d") + 1]) if "-d" in words else None
    (url,) = [word for word in words if word.startswith("$SIM")]
    with in_process_sim() as sim:
        for _ in range(2):
            sim.trade("AAPL", 150)  # what the corrections are about
        status, answer = sim.call(method, url.removeprefix("$SIM"), body, 10)
        assert status == 200, answer


@pytest.mark.e2e
@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("hands sim")])
def test_every_command_works(line: str) -> None:
    words = shlex.split(line.replace("127.0.0.1:8080", "127.0.0.1:0"))[1:]
    with subprocess.Popen(
        [sys.executable, "-m", "hands", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.terminate()
        _, err = process.communicate(timeout=20)
    assert first.startswith("QUIRK" if "--list-quirks" in words else '{"event":"ready"'), err


def test_nothing_else_is_shown_as_a_command() -> None:
    assert [line for line in COMMANDS if not line.startswith(("curl -s ", "hands sim "))] == []


@pytest.mark.e2e
def test_every_program_runs_as_it_stands(tmp_path: Path) -> None:
    programs = blocks("python")
    assert len(programs) > 5
    programs += re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "conftest.py").write_text(blocks("text")[0])
    for number, program in enumerate(programs):
        body = program
        if "def test_" not in program:
            body = "def test_program():\n" + re.sub(r"^(?=.)", "    ", program, flags=re.MULTILINE)
        (tmp_path / f"test_{number}.py").write_text(body)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--strict-markers",
        "--color=no",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(programs)} passed" in done.stdout
