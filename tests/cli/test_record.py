"""`hands record`: what it writes and says, what a kill leaves, and that it keeps off a daemon's connection."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hands.replay.recorded_file import RecordedFile
from hands.replay.sources import open_market
from hands.sim.testing import Sim, in_process_sim
from tests.journal.market_rows import some_rows
from tests.journal.record_desk import Desk
from tests.replay.test_recording import MarketDesk

pytest.importorskip("pyarrow")


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sim]:
    for name in list(os.environ):
        if name.startswith("APCA_"):
            monkeypatch.delenv(name)
    with in_process_sim(tape="synthetic", symbols="AAPL,BTC/USD", rate=40.0) as running:
        yield running


@pytest.fixture
def record(hands: Any, sim: Sim, tmp_path: Path) -> Callable[..., Any]:
    def run(*arguments: object, state: Path | None = None) -> Any:
        folder = tmp_path / "nobody" if state is None else state
        return hands("record", *arguments, "--state", folder, "--alpaca-url", sim.url)

    return run


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hands", "record", *map(str, arguments), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(part: Path, size: int) -> None:
    """Wait until an unfinished recording has become so large."""
    end_s = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > size):
        assert time.monotonic() < end_s, "nothing was recorded"
        threading.Event().wait(0.02)


def test_the_market_is_recorded_for_a_time(record: Any, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    outcome = record("AAPL", "BTC/USD", "--out", out, "--for", "1s", "--json")
    assert outcome.exit_code == 0
    document = outcome.document
    rows = open_market([out]).all_rows()
    assert (document["rows"], document["symbols"]) == (len(rows), ["AAPL", "BTC/USD"])
    assert (document["bytes"], document["gaps"], document["went_on"]) == (out.stat().st_size, [], False)
    assert set(rows["sym"].tolist()) == {0, 1}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.parquet"]


def test_whatever_ends_it_what_was_recorded_is_there(record: Any, sim: Sim, tmp_path: Path) -> None:
    """SIGINT makes the file; SIGKILL leaves what the same command goes on with."""
    out, part = tmp_path / "m.parquet", tmp_path / "m.parquet.part"
    arguments = ("AAPL", "--out", out, "--state", tmp_path / "nobody", "--alpaca-url", sim.url)
    process = start(*arguments)
    wait_for(part, 500)
    process.kill()
    process.communicate()
    assert not out.exists()
    size = part.stat().st_size
    process = start(*arguments)
    wait_for(part, size + 200)
    process.send_signal(signal.SIGINT)
    said, complaint = process.communicate(timeout=120)
    assert process.returncode == 0, complaint
    document = json.loads(said)
    assert document["went_on"]
    assert [gap["reason"] for gap in document["gaps"]] == ["the recording was broken off"]
    assert len(open_market([out]).all_rows()) == document["rows"]
    assert not part.exists()


def test_what_a_kill_left_can_be_finished_without_listening(record: Any, sim: Sim, tmp_path: Path) -> None:
    out = tmp_path / "m.parquet"
    nothing = record("--out", out, "--finish")
    assert (nothing.exit_code, nothing.stderr) == (2, f"hands: there is no {out}.part to be finished\n")
    left = RecordedFile(out, ["AAPL"], 1)
    left.add(some_rows(40)[::3].copy())
    left.close()
    other = record("BTC/USD", "--out", out, "--for", "1s")
    assert other.exit_code == 2
    assert "a recording of AAPL that was broken off" in other.stderr
    outcome = record("--out", out, "--finish")
    assert outcome.exit_code == 0
    assert outcome.stdout.startswith(f"{out}: ")
    assert "missing" not in outcome.stdout
    assert len(open_market([out]).all_rows()) == 14


def test_everything_that_cannot_be_meant_is_said_at_once(record: Any, tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("mine")
    outcome = record("AAPL", "AAPL", "--out", tmp_path / "there.csv", "--for", "soon", "--json")
    assert outcome.exit_code == 2
    assert len(outcome.document["problems"]) == 4
    assert (tmp_path / "there.csv").read_text() == "mine"


def test_without_a_daemon_symbols_must_be_named(record: Any, tmp_path: Path) -> None:
    outcome = record("--out", tmp_path / "m.parquet")
    assert outcome.exit_code == 2
    assert "name the symbols" in outcome.stderr
    assert [*tmp_path.iterdir()] == []


def test_nothing_came_exits_1(record: Any, tmp_path: Path) -> None:
    outcome = record("QQQ", "--out", tmp_path / "m.parquet", "--for", "1s", "--json")
    assert (outcome.exit_code, outcome.document["rows"]) == (1, 0)


def test_beside_a_daemon_its_own_rows_are_recorded(record: Any, sim: Sim, tmp_path: Path) -> None:
    """The simulator trades all the while: none of its rows is among those that are recorded."""
    state = tmp_path / "state"
    state.mkdir()
    with MarketDesk(state) as desk:
        feeding = threading.Timer(0.4, desk.offer, (90,))
        feeding.start()
        outcome = record("SPY", "--out", tmp_path / "m.parquet", "--for", "1s", "--json", state=state)
        feeding.join()
    assert outcome.exit_code == 0
    assert outcome.document["rows"] == 30
    rows = open_market([tmp_path / "m.parquet"]).all_rows()
    assert set((rows["trade_id"] % 3).tolist()) == {1}


def test_a_daemon_that_does_not_watch_a_symbol_cannot_record_it(record: Any, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with MarketDesk(state):
        outcome = record("QQQ", "--out", tmp_path / "m.parquet", state=state)
    assert outcome.exit_code == 2
    assert "does not watch QQQ, but AAPL, SPY, BTC/USD" in outcome.stderr


def test_a_daemon_without_a_readable_record_is_no_reason_to_take_its_connection(
    record: Any, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with Desk(state):
        outcome = record("AAPL", "--out", tmp_path / "m.parquet", state=state)
    assert outcome.exit_code == 2
    assert "does not say which symbols" in outcome.stderr
