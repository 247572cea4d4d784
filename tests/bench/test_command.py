"""`python -m bench`: what it measures, says and writes; absent keys are absent."""

from __future__ import annotations

import io
import json
import sys

import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from bench import __main__ as command
from bench import intent_to_wire, peers
from bench.drops import Drop
from bench.intent_to_wire import Contender
from bench.processes import BenchError, running
from bench.report import show

APP = Typer()
APP.command()(command.main)


def _contender(name, latency_ns):
    drops = [Drop(f"{name}-{number}", 0, 1_000) for number in range(10)]
    return Contender(
        name, None, str, drops=drops, arrived={drop.intent_id: 1_000 + latency_ns for drop in drops}
    )


def _result():
    stages = [{"stage": "rename → file_event", "p50_us": 50.0, "p99_us": 90.0}]
    others = {"floor": _contender("floor", 50_000), "tuned": _contender("tuned", 2_000_000)}
    return intent_to_wire._result(_contender("hands", 110_000), others, stages)


def test_the_ratio_is_hands_over_the_floor_and_a_peer_that_did_not_run_is_absent():
    found = _result()
    assert (found["n"], found["p50_us"], found["floor_p50_us"], found["ratio_p50"]) == (10, 110.0, 50.0, 2.2)
    assert found["tuned_p50_us"] == 2_000.0
    assert found["from_intended_p50_us"] == 111.0
    assert not [key for key in found if key.startswith("naive")]


def test_the_report_shows_what_was_measured_and_names_what_was_left_out():
    out = io.StringIO()
    machine = {
        "cpu": "some cpu", "cores": 2, "python": "CPython 3", "kernel": "Linux", "versions": {"hands": "0"},
        "load_average": [0.1, 0.1, 0.1], "busy_before": 0.5,
    }  # fmt: skip
    result = {"machine": machine, "intent_to_wire": _result(), "footprint": {"rss_mb": 150.0}}
    show(Console(file=out, width=120), result, ["the naive peer: alpaca-py is not installed"])
    for part in (
        "110.0",
        "2.2 x the floor",
        "rename → file_event",
        "footprint.rss_mb",
        "left out: the naive",
        "50%",
    ):
        assert part in out.getvalue()


def test_only_what_was_asked_for_is_in_the_json(tmp_path, monkeypatch):
    monkeypatch.setitem(
        command._MEASUREMENTS, command.Name.INDICATORS, lambda quick, _: {"ns_per_tick_batch": 4.0}
    )
    out = tmp_path / "bench.json"
    done = CliRunner().invoke(APP, ["--only", "indicators", "--json", str(out)])
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert set(found) == {"machine", "indicators"}
    assert set(found["machine"]) >= {"cpu", "cores", "python", "kernel", "versions", "load_average"}


def test_a_measurement_that_cannot_be_made_is_a_failure_and_not_a_number(tmp_path, monkeypatch):
    def broken(quick, console):
        raise BenchError("hands: 10 documents, 9 orders for them")

    monkeypatch.setitem(command._MEASUREMENTS, command.Name.FOOTPRINT, broken)
    out = tmp_path / "bench.json"
    done = CliRunner().invoke(APP, ["--only", "footprint", "--json", str(out)])
    assert done.exit_code == 1
    assert "9 orders" in done.output
    assert not out.exists()


def test_a_process_that_does_not_come_up_fails_with_what_it_said(tmp_path):
    program = ["-c", "import sys; sys.exit('no such venue')"]
    with pytest.raises(BenchError, match="no such venue"), running(program, tmp_path / "log"):
        pass


def test_credentials_of_the_shell_are_not_passed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("APCA_API_KEY_ID", "real")
    told = "import os, json; print(json.dumps({'event': 'ready', 'keys': [k for k in os.environ if 'APCA' in k]}))"
    with running(["-c", told], tmp_path / "log") as process:
        assert process.ready["keys"] == []


def test_a_peer_whose_package_is_absent_is_named_by_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "alpaca", None)
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    assert (peers.missing("naive"), peers.missing("tuned")) == ("alpaca-py", "aiohttp")
