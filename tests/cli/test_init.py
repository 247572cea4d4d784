"""`hands init`: what it says and what it asks for; what it makes is tested with `hands.runtime.set_up`."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hands.core.limits import read_limits

ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def init(hands: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: hands("init", *arguments)


def test_a_fresh_folder_becomes_one_in_which_hands_can_run(init: Callable[..., Any], tmp_path: Path) -> None:
    first = init("--json").document
    assert first["ok"]
    assert not first["dry_run"]
    assert all(step["done"].startswith("made") for step in first["steps"])
    assert read_limits((tmp_path / "config" / "risk_limits.toml").read_text()).allow
    assert stat.S_IMODE((tmp_path / "intents").stat().st_mode) == 0o3775
    again = init("--json").document
    assert [step["path"] for step in again["steps"]] == [step["path"] for step in first["steps"]]
    assert all(step["done"] == "" for step in again["steps"])


def test_a_dry_run_makes_nothing(init: Callable[..., Any], tmp_path: Path) -> None:
    done = init("--dry-run")
    assert "would be made" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_agent_gets_its_folder_and_the_lines_for_the_limits_file_until_they_are_there(
    init: Callable[..., Any], tmp_path: Path
) -> None:
    done = init("--agent", "momentum", "--user", ME, "--json").document
    assert done["add_to_limits"] == ["[agents.momentum]", f'user = "{ME}"']
    assert stat.S_IMODE((tmp_path / "intents" / "agents" / "momentum").stat().st_mode) == 0o3770
    with (tmp_path / "config" / "risk_limits.toml").open("a") as file:
        file.write("\n" + "\n".join(done["add_to_limits"]) + "\n")
    assert init("--agent", "momentum", "--user", ME, "--json").document["add_to_limits"] == []


def test_an_agent_without_a_user_needs_its_table_all_the_same(
    init: Callable[..., Any], tmp_path: Path
) -> None:
    """Without one it is unknown, and everything in its folder is refused."""
    assert init("--agent", "me", "--json").document["add_to_limits"] == ["[agents.me]"]
    assert "[agents.me]" in init("--agent", "me").stdout
    with (tmp_path / "config" / "risk_limits.toml").open("a") as file:
        file.write("\n[agents.me]\n")
    assert init("--agent", "me", "--json").document["add_to_limits"] == []


def test_folders_are_where_the_configuration_says(init: Callable[..., Any], tmp_path: Path) -> None:
    init()
    config = tmp_path / "config" / "hands.toml"
    config.write_text(config.read_text().replace('intents = "intents"', 'intents = "drop"'))
    init()
    assert (tmp_path / "drop" / "receipts").is_dir()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--user", ME), "--brain-user"),
        (("--agent", "../x"), "lower case"),
        (("--agent", "default"), "--brain-user"),
        (("--agent", "a", "--user", "nobody-has-this-name"), "there is no"),
        (("--brain-user", ME, "--group", "nobody-has-this-name"), "there is no group"),
        (("--brain-user", "nobody-has-this-name", "--group", "root"), "there is no user"),
        (("--brain-user", "nobody", "--group", "root"), "usermod --append --groups root nobody"),
        (("--group", "root"), "--brain-user"),
        (("--agent", "a", "--group", "root"), "--user"),
        (("--owner", "nobody-has-this-name"), "there is no user"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    init: Callable[..., Any], tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = init(*arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_the_way_is_named(init: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "intents").write_text("")
    done = init("--json")
    assert done.exit_code == 1
    assert "in the way" in done.document["error"]
