"""Every command's help, its one JSON document, and the exit codes of the contract."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hands.runtime.control import note_drop_folder
from hands.version import __version__

COMMANDS = (
    "demo",
    "run",
    "sim",
    "new",
    "send",
    "check",
    "envelope",
    "explain",
    "gates",
    "report",
    "export",
    "verify",
    "status",
    "quote",
    "watch",
    "watchdog",
    "positions",
    "orders",
    "log",
    "cancel",
    "close",
    "amend",
    "halt",
    "reduce-only",
    "flatten",
    "resume",
    "adopt",
    "fetch",
    "replay",
    "record",
    "init",
    "doctor",
    "config",
    "schema",
    "limits",
    "journal",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_an_example(hands, command: str) -> None:
    result = hands(command, "--help")
    assert result.exit_code == 0
    assert f"hands {command}" in result.stdout
    assert "Example:" in result.stdout
    assert "--json" in result.stdout


def test_the_overview_names_every_command_and_nothing_else(hands) -> None:
    lines = hands("--help").stdout.partition("Commands:")[2].splitlines()
    assert tuple(line.split()[0] for line in lines if line.strip()) == COMMANDS


def test_the_version_is_printed(hands) -> None:
    assert hands("--version").stdout == f"hands {__version__}\n"
    assert hands("version", "--json").document["version"] == __version__


def test_help_and_version_load_nothing_heavy() -> None:
    program = (
        "import sys; import hands.cli.main\n"
        "print(*(name for name in ('numpy', 'numba', 'pydantic', 'aiohttp', 'hands.core.engine') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    "arguments",
    [("frobnicate",), ("send",), ("new", "AAPL"), ("new", "AAPL", "SIDEWAYS", "--stop", "1", "--target", "2"),
     ("schema", "order"), ("status", "--nonsense"), ("check",)],
)  # fmt: skip
def test_a_usage_error_exits_2(hands, arguments: tuple[str, ...]) -> None:
    result = hands(*arguments)
    assert result.exit_code == 2
    assert result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("status",), ("quote", "AAPL"), ("envelope", "AAPL"), ("explain", "abcd"), ("resume",), ("limits",), ("init",),
     ("watch", "AAPL"), ("positions",), ("orders",), ("log",), ("export", "fills"), ("cancel", "6f9619ff"), ("close", "AAPL"),
     ("amend", "6f9619ff", "--stop", "1"), ("reduce-only",), ("flatten",), ("adopt", "AAPL", "--stop", "1"), ("new", "AAPL", "LONG", "--stop", "148", "--target", "155"),
     ("check", "--live", "intents/examples/01-equity-bracket-long.json")],
)  # fmt: skip
def test_a_configuration_that_is_no_toml_is_one_document_too(
    hands, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    config = tmp_path / "hands.toml"
    config.write_text("x = [")
    result = hands(*arguments, "--config", config, "--json")
    assert result.exit_code == 2
    assert str(config) in result.document["error"]


def test_python_m_hands_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hands", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"hands {__version__}\n")


# --- with no daemon ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [("quote", "AAPL"), ("watch", "AAPL"), ("resume",), ("cancel", "6f9619ff"), ("close", "AAPL"), ("reduce-only",),
     ("amend", "6f9619ff", "--stop", "1"), ("flatten", "--yes"), ("adopt", "AAPL", "--stop", "1"), ("send", "intents/examples/01-equity-bracket-long.json"),
     ("new", "AAPL", "LONG", "--stop", "148", "--target", "155"),
     ("check", "--live", "intents/examples/01-equity-bracket-long.json")],
)  # fmt: skip
def test_what_needs_the_daemon_exits_3_without_one(
    hands, state_dir: Path, arguments: tuple[str, ...]
) -> None:
    result = hands(*arguments, "--state", state_dir, "--json")
    assert result.exit_code == 3
    assert result.document["ok"] is False
    assert "no daemon runs" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "way_out"),
    [(("flatten", "--yes"), "hands halt"), (("reduce-only",), "hands halt"), (("close", "AAPL"), "hands run"),
     (("cancel", "6f9619ff"), "the broker's own app"), (("resume",), "hands run")],
)  # fmt: skip
def test_without_a_daemon_it_is_said_what_can_be_done(
    hands, state_dir: Path, arguments: tuple[str, ...], way_out: str
) -> None:
    document = hands(*arguments, "--state", state_dir, "--json").document
    assert way_out in document["problems"][1]


def test_status_is_down_without_a_daemon(hands, state_dir: Path) -> None:
    result = hands("status", "--state", state_dir, "--json")
    assert result.exit_code == 1
    assert result.document["state"] == "DOWN"


def test_halt_writes_the_file_where_no_daemon_answers(hands, state_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "intents"
    result = hands("halt", "--reason", "smoke", "--state", state_dir, "--intents", folder, "--json")
    assert result.exit_code == 0
    assert result.document["by"] == "file"
    assert "smoke" in (folder / "HALT").read_text()


def test_halt_finds_the_folder_of_a_daemon_that_does_not_answer(
    hands, state_dir: Path, tmp_path: Path
) -> None:
    note_drop_folder(state_dir, tmp_path / "elsewhere")
    assert hands("halt", "--state", state_dir).exit_code == 0
    assert (tmp_path / "elsewhere" / "HALT").exists()


def test_halt_needs_no_readable_configuration(
    hands, daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.states("halt", "HALTED", "OPERATOR")
    desk = tmp_path / "desk"
    desk.mkdir()
    monkeypatch.chdir(desk)
    broken = desk / "hands.toml"
    broken.write_text("[venue")
    blind = hands("halt", "--config", broken)
    assert blind.exit_code == 3
    assert "NOT HALTED" in blind.stderr
    assert "--state" in blind.stderr
    (desk / "var").symlink_to(daemon.state_dir)
    assert hands("halt", "--config", broken).exit_code == 0
    assert [request["do"] for request in daemon.asked] == ["halt"]


def test_halt_says_loudly_that_it_could_not(hands, state_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "intents").write_text("a file in the folder's place")
    result = hands("halt", "--state", state_dir, "--intents", tmp_path / "intents")
    assert result.exit_code == 3
    assert "NOT HALTED" in result.stderr


# --- with a daemon -------------------------------------------------------------------------------------------


def test_status_exits_0_only_where_active_and_ready(hands, daemon) -> None:
    cases = [(("ACTIVE",), {}, 0), (("HALTED", "OPERATOR"), {}, 1), (("ACTIVE",), {"ready": False}, 1)]
    for state, changes, code in cases:
        document = daemon.states("status", *state, **changes)
        result = hands("status", "--state", daemon.state_dir, "--json")
        assert (result.exit_code, result.document) == (code, document)
    daemon.states("status", "HALTED", "OPERATOR")
    assert "OPERATOR since" in hands("status", "--state", daemon.state_dir).stdout


def test_quote_exits_1_for_a_symbol_without_one(hands, daemon) -> None:
    quote = daemon.quotes()
    result = hands("quote", "AAPL", "--state", daemon.state_dir, "--json")
    assert (result.exit_code, result.document) == (0, [quote])
    assert daemon.asked == [{"do": "quote", "symbols": ["AAPL"]}]
    daemon.quotes(bid=None, ask=None)
    assert hands("quote", "AAPL", "--state", daemon.state_dir).exit_code == 1


def test_halt_goes_over_the_socket_where_it_can(hands, daemon, tmp_path: Path) -> None:
    daemon.states("halt", "HALTED", "OPERATOR")
    arguments = ("halt", "--reason", "smoke", "--state", daemon.state_dir, "--intents", tmp_path / "intents")
    result = hands(*arguments, "--json")
    assert result.exit_code == 0
    assert result.document["by"] == "daemon"
    assert daemon.asked == [{"do": "halt", "reason": "smoke"}]
    assert not (tmp_path / "intents").exists()


def test_resume_names_what_still_blocks(hands, daemon) -> None:
    daemon.states("resume")
    result = hands("resume", "--state", daemon.state_dir, "--json")
    assert (result.exit_code, result.document["blocking"]) == (0, [])
    daemon.states("resume", "HALTED", "HALT_FILE")
    result = hands("resume", "--state", daemon.state_dir)
    assert result.exit_code == 1
    assert "HALT_FILE" in result.stdout
    assert daemon.asked[-1] == {"do": "resume", "agent": None}


def test_resume_names_what_is_missing_who_is_latched_and_what_still_closes(hands, daemon) -> None:
    wanted = {"reason": "HALT", "note": "flattened", "since": None}
    trade = {"intent_id": "x", "symbol": "AAPL", "exit_wanted": wanted}
    agents = {"a": {"faults": 20, "latched": True}, "b": {"faults": 1, "latched": False}}
    changes = {"agents": agents, "trades": [trade], "ready": False, "not_ready": "no account yet"}
    daemon.states("resume", "ACTIVE", **changes)
    result = hands("resume", "--state", daemon.state_dir, "--json")
    assert result.exit_code == 1
    assert [block["code"] for block in result.document["blocking"]] == ["NOT_READY"]
    assert (result.document["agents_latched"], result.document["closing"]) == (["a"], ["x"])
    lines = hands("resume", "--state", daemon.state_dir).stdout
    assert "hands resume --agent a" in lines
    assert "AAPL: still being closed (HALT: flattened)" in lines


def test_reduce_only_is_latched_by_the_daemon(hands, daemon) -> None:
    daemon.answers["reduce_only"] = {
        "ok": True,
        "message": "nothing is entered",
        "state": "REDUCE_ONLY",
        "trades": [],
    }
    result = hands("reduce-only", "--reason", "numbers", "--state", daemon.state_dir, "--json")
    assert (result.exit_code, result.document["state"]) == (0, "REDUCE_ONLY")
    assert daemon.asked == [{"do": "reduce_only", "reason": "numbers"}]
    assert "hands resume" in hands("reduce-only", "--state", daemon.state_dir).stdout


def test_status_tells_what_is_peculiar_about_a_trade(hands, daemon) -> None:
    trade = {
        "symbol": "AAPL", "direction": "LONG", "state": "OPEN", "stop_loss": "149.00", "take_profit": None, "pnl_usd": "1.00",
        "intent_id": "x", "exit_wanted": None, "closing_qty": "10", "waits_for_open": "2026-11-23T14:30:00.000000000Z",
        "moved": {"stop_loss": {"from": "148.00", "to": "149.00"}},
    }  # fmt: skip
    daemon.states("status", trades=[trade], watchdog={"state": "late", "detail": "no beat for 3 s"})
    lines = hands("status", "--state", daemon.state_dir).stdout
    assert "AAPL: 10 of it being closed" in lines
    assert "the exit waits for 2026-11-23 14:30:00" in lines
    assert "stop_loss moved from 148.00 to 149.00" in lines
    assert "watchdog: late, no beat for 3 s" in lines


def test_status_tells_what_holds_the_engine_and_what_is_broken(hands, daemon) -> None:
    agents = {"a": {"faults": 20, "latched": True}, "b": {"faults": 0, "latched": False}}
    daemon.states(
        "status",
        fenced="2026-11-20T15:00:00Z",
        clock_skew_ms=-2500.04,
        faults={"ledger": "the disk is full"},
        agents=agents,
    )
    lines = hands("status", "--state", daemon.state_dir).stdout
    assert "fenced since 2026-11-20 15:00:00 UTC: nothing is sent" in lines
    assert "clock: -2500.0 ms against the venue's" in lines
    assert "ledger: the disk is full" in lines
    assert lines.count("is latched") == 1


def test_what_the_daemon_refuses_exits_1(hands, daemon) -> None:
    daemon.answers["resume"] = {"ok": False, "error": "there is no agent 'x'"}
    result = hands("resume", "--agent", "x", "--state", daemon.state_dir)
    assert result.exit_code == 1
    assert "there is no agent" in result.stderr


# --- a refused start -----------------------------------------------------------------------------------------


def test_run_names_every_configuration_problem_and_exits_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hands", "run", "--json", "--state", str(tmp_path / "var")]
    command += ["--config", str(tmp_path / "no.toml"), "--limits", str(tmp_path / "none.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    problems = [json.loads(line)["message"] for line in done.stderr.splitlines()]
    assert done.returncode == 2
    assert any("no.toml" in problem for problem in problems)
    assert any("none.toml" in problem for problem in problems)
    assert not (tmp_path / "var").exists()


def test_a_live_host_without_live_exits_3(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hands", "run", "--state", str(tmp_path / "var")]
    environ = {
        "APCA_API_KEY_ID": "k",
        "APCA_API_SECRET_KEY": "s",
        "APCA_API_BASE_URL": "https://api.alpaca.markets",
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 3
    assert "--live" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("--listen", "nowhere"), ("--tape", "/no/such.csv"), ("--session", "never")]
)
def test_sim_refuses_what_makes_no_sense(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "hands", "sim", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("hands: ")
