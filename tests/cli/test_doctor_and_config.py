"""`hands doctor` and `hands config`: what they print and how they end; what is examined is tested with its module."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hands.core.limits import read_limits

SECRET = "sekrit-0123456789"


@pytest.fixture
def files(root: Path, tmp_path: Path) -> tuple[str, ...]:
    for name in ("hands.toml", "risk_limits.toml"):
        (tmp_path / name).write_text((root / "config" / name).read_text())
    return ("--config", str(tmp_path / "hands.toml"), "--limits", str(tmp_path / "risk_limits.toml"))


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APCA_API_KEY_ID", "PKTEST")
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)


@pytest.mark.usefixtures("keys")
def test_the_doctor_says_everything_and_ends_well_where_nothing_fails(
    hands: Callable[..., Any], files: tuple[str, ...], tmp_path: Path
) -> None:
    folders = ("--state", tmp_path / "var", "--intents", tmp_path / "intents")
    done = hands("doctor", "--offline", *files, *folders, "--json")
    assert done.exit_code == 0, done.document
    assert (done.document["ok"], done.document["failed"]) == (True, 0)
    assert all(set(line) == {"check", "status", "message", "do"} for line in done.document["checks"])
    plain = hands("doctor", "--offline", *files, *folders)
    assert f"{len(done.document['checks'])} checks, 0 failed" in plain.stdout
    assert SECRET not in plain.stdout + done.stdout


def test_the_doctor_ends_badly_where_something_fails_and_says_what_to_do(
    hands: Callable[..., Any], files: tuple[str, ...], tmp_path: Path
) -> None:
    done = hands("doctor", "--offline", *files, "--state", tmp_path / "var")
    assert done.exit_code == 1
    assert "fail  credentials" in done.stdout
    assert "-> export them" in done.stdout


@pytest.mark.usefixtures("keys")
def test_the_doctor_takes_the_symbols_of_a_start(hands: Callable[..., Any], files: tuple[str, ...]) -> None:
    done = hands("doctor", "--offline", *files, "--symbols", "AAPL,QQQ")
    assert done.exit_code == 1
    assert "not allowed there: QQQ" in done.stdout


@pytest.mark.parametrize(
    ("text", "cure"), [(None, "hands init makes what is missing"), ("x = [", "correct it")]
)
def test_the_doctor_knows_a_missing_file_from_a_wrong_one(
    hands: Callable[..., Any], files: tuple[str, ...], tmp_path: Path, text: str | None, cure: str
) -> None:
    limits = tmp_path / "risk_limits.toml"
    limits.unlink() if text is None else limits.write_text(text)
    lines = hands("doctor", "--offline", *files, "--json").document["checks"]
    [wrong] = [line for line in lines if line["status"] == "fail"]
    assert wrong["do"].startswith(cure)


@pytest.mark.usefixtures("keys")
def test_every_value_is_printed_with_its_place(
    hands: Callable[..., Any], files: tuple[str, ...], tmp_path: Path
) -> None:
    found = hands("config", *files, "--json").document
    limits = tomllib.loads((tmp_path / "risk_limits.toml").read_text())
    for key, value in limits["hard_limits"].items():
        entry = found[f"hard_limits.{key}"]
        path, _, line = entry["source"].rpartition(":")
        assert entry["value"] == value
        assert Path(path).read_text().splitlines()[int(line) - 1].startswith(f"{key} = ")
    assert found["alpaca_url"] == {"value": "https://paper-api.alpaca.markets", "source": "default"}
    assert found["APCA_API_SECRET_KEY"] == {"value": "set", "source": "environment"}
    assert read_limits((tmp_path / "risk_limits.toml").read_text()).allow == tuple(
        found["symbols.allow"]["value"]
    )


def test_the_command_line_and_the_environment_come_before_the_files(
    hands: Callable[..., Any], files: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APCA_API_BASE_URL", "http://127.0.0.1:1")
    arguments = (*files, "--symbols", "AAPL", "--state", tmp_path / "var", "--json")
    found = hands("config", *arguments).document
    assert found["symbols.allow"] == {"value": ["AAPL"], "source": "command line"}
    assert found["folders.state"] == {"value": str(tmp_path / "var"), "source": "command line"}
    assert found["alpaca_url"]["source"] == "environment"
    assert found["venue"]["value"] == "sim"
    assert found["APCA_API_KEY_ID"]["value"] == "not set"
    assert hands("config", *arguments, "--alpaca-url", "http://127.0.0.1:2").document["alpaca_url"] == {
        "value": "http://127.0.0.1:2",
        "source": "command line",
    }


def test_agents_tables_are_found_on_their_lines(
    hands: Callable[..., Any], files: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / "risk_limits.toml"
    path.write_text(
        path.read_text()
        + '\n[symbols."SOL/USD"]\nmax_spread = 0.001\n[agents.a-b]\nexpires = 2030-01-01T00:00:00Z\n'
    )
    lines = path.read_text().splitlines()
    found = hands("config", *files, "--json").document
    assert found["symbols.SOL/USD.max_spread"]["source"] == f"{path}:{lines.index('max_spread = 0.001') + 1}"
    assert found["agents.a-b.expires"] == {
        "value": "2030-01-01 00:00:00+00:00",
        "source": f"{path}:{len(lines)}",
    }
    assert "agents.a-b.expires" in hands("config", *files).stdout


def test_what_cannot_be_used_is_a_usage_error(
    hands: Callable[..., Any], files: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "hands.toml").write_text("nonsense")
    assert hands("config", *files).exit_code == 2
    assert hands("doctor", "--offline", *files).exit_code == 1
