"""The service units: what they start exists, nothing secret is in them, and one cannot take the other down."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hands.cli.main import app

UNITS = ("hands", "hands-watchdog")


def unit(root: Path, name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string((root / "deploy" / f"{name}.service").read_text())
    return parser


@pytest.mark.parametrize("name", UNITS)
def test_the_command_of_a_unit_has_the_flags_it_uses(root: Path, name: str) -> None:
    _, command, *rest = shlex.split(unit(root, name)["Service"]["ExecStart"])
    shown = CliRunner().invoke(app, [command, "--help"], terminal_width=120)
    assert shown.exit_code == 0
    flags = {word for word in rest if word.startswith("--")}
    assert flags
    assert flags <= set(re.findall(r"--[a-z-]+", shown.output))


def test_both_units_look_at_the_same_files(root: Path) -> None:
    words = [shlex.split(unit(root, name)["Service"]["ExecStart"]) for name in UNITS]
    for flag in ("--config", "--limits", "--state"):
        assert len({line[line.index(flag) + 1] for line in words}) == 1
    assert len({unit(root, name)["Service"]["User"] for name in UNITS}) == 1


@pytest.mark.parametrize("name", UNITS)
def test_no_secret_is_in_a_unit(root: Path, name: str) -> None:
    service = unit(root, name)["Service"]
    assert "EnvironmentFile" in service
    assert "APCA" not in service.get("Environment", "")


def test_the_watchdog_outlives_the_engine(root: Path) -> None:
    about = unit(root, "hands-watchdog")["Unit"]
    assert not {"PartOf", "BindsTo", "Requires"} & set(about)
    assert "hands.service" not in about.get("After", "")
    assert unit(root, "hands-watchdog")["Service"]["Restart"] == "always"
