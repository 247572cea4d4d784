"""`hands limits` and `hands limits add-missing`: from a daemon, from the file, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hands.core.engine import decide
from hands.core.events import LimitsRead
from hands.core.limit_keys import LIMIT_KEYS
from hands.core.limits import read_limits
from hands.runtime.limits_table import limits_table
from tests.core.world import NOW, SHIPPED, limits_text, world


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "risk_limits.toml"
    found.write_text(SHIPPED)
    return found


def test_without_a_daemon_the_file_is_explained(hands, path: Path, state_dir: Path) -> None:
    plain = hands("limits", "--limits", path, "--state", state_dir)
    assert plain.exit_code == 0
    assert "no daemon" in plain.stdout
    for key in LIMIT_KEYS:
        assert key.meaning in plain.stdout
    assert "beyond a stop 20 % away" in plain.stdout
    document = hands("limits", "--json", "--limits", path, "--state", state_dir).document
    assert document["daemon"] is False
    assert document["sha256"] == read_limits(SHIPPED).sha256


def test_a_daemon_says_what_holds_and_what_is_used(hands, daemon, path: Path) -> None:
    state = world(extra="[agents.a]\nmax_daily_trades = 2\n")
    state.day.trades = {"a": 1}
    daemon.answers["limits"] = {"ok": True, "limits": limits_table(state.limits, state, NOW, agent="a")}
    result = hands(
        "limits", "--agent", "a", "--symbol", "AAPL", "--limits", path, "--state", daemon.state_dir
    )
    assert result.exit_code == 0
    assert daemon.asked == [{"do": "limits", "agent": "a", "symbol": "AAPL"}]
    assert "1 of 2" in result.stdout
    assert "agents.a" in result.stdout


def test_a_file_that_was_not_taken_up_is_exit_1_and_named(hands, daemon) -> None:
    state = world()
    decide(state, LimitsRead(ts_ns=NOW, text=limits_text(max_drawdown="0.2")))
    daemon.answers["limits"] = {"ok": True, "limits": limits_table(state.limits, state, NOW)}
    result = hands("limits", "--state", daemon.state_dir)
    assert result.exit_code == 1
    assert "hard_limits.max_drawdown: 0.1 -> 0.2 (looser: takes a restart)" in result.stdout


def test_what_the_daemon_does_not_know_is_exit_1(hands, daemon) -> None:
    daemon.answers["limits"] = {"ok": False, "error": "there is no agent 'x'"}
    result = hands("limits", "--agent", "x", "--state", daemon.state_dir)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no agent 'x'" in result.stderr


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (limits_text(max_spread="2.0"), 2, "a fraction: 0.02 is 2 %"),
        ("[hard_limits", 2, "not readable"),
        (SHIPPED, 1, "there is no agent 'x'"),
    ],
)
def test_a_file_that_cannot_be_explained_says_why(
    hands, path: Path, state_dir: Path, text: str, code: int, words: str
) -> None:
    path.write_text(text)
    result = hands("limits", "--agent", "x", "--limits", path, "--state", state_dir)
    assert result.exit_code == code
    assert words in result.stderr


# --- add-missing -------------------------------------------------------------------------------------------


def test_what_is_missing_is_added_and_said(hands, path: Path) -> None:
    path.write_text(limits_text(without=("max_drawdown", "no_entry_last_s")))
    result = hands("limits", "add-missing", "--limits", path, "--json")
    assert result.exit_code == 0
    assert result.document == {
        "ok": True,
        "added": [
            {"table": "hard_limits", "key": "max_drawdown", "value": "0.10"},
            {"table": "session", "key": "no_entry_last_s", "value": "60"},
        ],
        "problems": [],
    }
    assert read_limits(path.read_text()).hard == read_limits(SHIPPED).hard
    before = path.read_bytes()
    again = hands("limits", "add-missing", "--limits", path)
    assert (again.exit_code, again.stdout) == (0, "nothing is missing\n")
    assert path.read_bytes() == before


def test_what_is_wrong_besides_is_exit_1(hands, path: Path) -> None:
    path.write_text(limits_text(without=("max_drawdown",), max_spread="5"))
    result = hands("limits", "add-missing", "--limits", path)
    assert result.exit_code == 1
    assert "added to [hard_limits]: max_drawdown = 0.10" in result.stdout
    assert "max_spread" in result.stderr


def test_what_cannot_be_added_to_is_left_as_it_was(hands, path: Path) -> None:
    path.write_text("[hard_limits")
    result = hands("limits", "add-missing", "--limits", path)
    assert result.exit_code == 2
    assert path.read_text() == "[hard_limits"
    assert hands("limits", "add-missing", "--limits", path.with_name("none.toml")).exit_code == 2


def test_the_help_of_both_teaches_by_an_example(hands) -> None:
    for arguments in (["limits", "--help"], ["limits", "add-missing", "--help"]):
        result = hands(*arguments)
        assert result.exit_code == 0
        assert "Example: hands limits" in result.stdout
        assert "--json" in result.stdout
