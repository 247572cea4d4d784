"""`hands fetch`: what it writes, what it says, and that it goes on where it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hands.replay.sources import open_market
from hands.sim.testing import in_process_sim
from tests.replay.history_server import ITEMS, PAGE, HistoryServer, history_server

SPAN = ("--from", "2024-01-02", "--to", "2024-01-03")


@pytest.fixture
def venue(monkeypatch: pytest.MonkeyPatch) -> Iterator[HistoryServer]:
    for name in list(os.environ):
        if name.startswith("APCA_"):
            monkeypatch.delenv(name)
    with history_server() as served:
        yield served


@pytest.fixture
def fetch(hands: Any, venue: HistoryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `hands fetch` in an empty folder against the made-up past."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Any:
        return hands("fetch", *arguments, "--alpaca-url", venue.url)

    return run


def test_the_summary_says_what_there_is(fetch: Any, tmp_path: Path) -> None:
    outcome = fetch("AAPL", "BTC/USD", *SPAN, "--kind", "quotes", "--json")
    assert outcome.exit_code == 0
    path = tmp_path / "AAPL+1_quotes_20240102_20240103.parquet"
    assert outcome.document | {"seconds": 0} == {
        "ok": True, "file": path.name, "bytes": path.stat().st_size, "items": 2 * ITEMS, "pages": 10, "requests": 10,
        "went_on": False, "seconds": 0, "symbols": ["AAPL", "BTC/USD"], "kind": "quotes", "timeframe": None,
        "from": "2024-01-02T00:00:00Z", "to": "2024-01-03T00:00:00Z", "feed": "sip",
    }  # fmt: skip
    assert len(open_market([path]).all_rows()) == 2 * ITEMS


def test_people_are_told_in_a_line_and_nothing_is_overwritten(fetch: Any, tmp_path: Path) -> None:
    outcome = fetch("AAPL", *SPAN, "--kind", "bars", "--timeframe", "5Min")
    assert outcome.stdout.startswith(f"AAPL_bars_5Min_20240102_20240103.parquet: {ITEMS} bars of AAPL (")
    again = fetch("AAPL", *SPAN, "--kind", "bars", "--timeframe", "5Min")
    assert again.exit_code == 2
    assert "is there already" in again.stderr


def test_everything_that_cannot_be_meant_is_said_at_once(fetch: Any, venue: HistoryServer) -> None:
    outcome = fetch("AAPL", "--from", "yesterday", "--to", "2024-13-01", "--out", "x.xlsx", "--json")
    assert outcome.exit_code == 2
    assert len(outcome.document["problems"]) == 3
    assert fetch("aapl", "--from", "2024-01-03", "--to", "2024-01-02").exit_code == 2
    assert venue.asked == []


def test_a_refusal_says_what_to_do_and_leaves_nothing_behind(
    fetch: Any, venue: HistoryServer, tmp_path: Path
) -> None:
    venue.troubles = [(403, {}, '{"message":"subscription does not permit querying recent SIP data"}')]
    outcome = fetch("AAPL", "--from", "2024-01-02")
    assert outcome.exit_code == 1
    assert "recent SIP data" in outcome.stderr
    assert "--feed iex" in outcome.stderr
    assert [*tmp_path.iterdir()] == []


def test_a_past_without_anything_exits_1_and_has_a_file_all_the_same(fetch: Any, tmp_path: Path) -> None:
    outcome = fetch("NONE", *SPAN, "--out", "none.csv", "--json")
    assert (outcome.exit_code, outcome.document["items"]) == (1, 0)
    assert len(open_market([tmp_path / "none.csv"]).all_rows()) == 0


def test_without_keys_the_venue_is_not_asked(hands: Any, venue: HistoryServer, tmp_path: Path) -> None:
    outcome = hands("fetch", "AAPL", *SPAN, "--out", tmp_path / "x.csv")
    assert outcome.exit_code == 2
    assert "APCA_API_KEY_ID and APCA_API_SECRET_KEY: not in the environment" in outcome.stderr
    assert [*tmp_path.iterdir()] == []


def test_without_pyarrow_text_is_written(fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert fetch("AAPL", *SPAN, "--out", "x.parquet").exit_code == 2
    monkeypatch.setattr("hands.cli.fetch.find_spec", lambda name: None)
    assert fetch("AAPL", *SPAN).exit_code == 0
    assert [file.name for file in tmp_path.iterdir()] == ["AAPL_trades_20240102_20240103.csv.gz"]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_whatever_ends_it_the_same_command_goes_on_and_ends_in_the_same_bytes(
    fetch: Any, venue: HistoryServer, tmp_path: Path, end: signal.Signals
) -> None:
    assert fetch("AAPL", "SPY", *SPAN, "--out", "whole.parquet").exit_code == 0
    venue.asked.clear()
    venue.pages_until_hang = 7
    command = [sys.executable, "-m", "hands", "fetch", "AAPL", "SPY", *SPAN, "--out", "x.parquet", "--json"]
    process = subprocess.Popen(
        [*command, "--alpaca-url", venue.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, text=True
    )  # fmt: skip
    assert venue.hangs.wait(30)
    process.send_signal(end)
    said, complaint = process.communicate(timeout=120)
    venue.go_on.set()
    if end is signal.SIGINT:
        assert process.returncode == 130
        assert "the same command goes on" in json.loads(said)["error"]
        assert "Traceback" not in complaint
    assert not (tmp_path / "x.parquet").exists()
    assert (tmp_path / "x.parquet.part").exists()
    venue.pages_until_hang = None
    outcome = fetch("AAPL", "SPY", *SPAN, "--out", "x.parquet", "--json")
    assert (outcome.exit_code, outcome.document["went_on"]) == (0, True)
    assert outcome.document["requests"] == 2 * -(-ITEMS // PAGE) - 7
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["whole.parquet", "x.parquet"]


def test_the_simulators_history_is_fetched_as_it_happened(
    hands: Any, tmp_path: Path, venue: HistoryServer
) -> None:
    with in_process_sim(tape="manual", symbols="AAPL,BTC/USD") as sim:
        sim.quote("AAPL", 149.98, 150)
        sim.quote("BTC/USD", 60_000, 60_010)
        ids = [sim.trade("AAPL", 150 + n / 100, 10 + n) for n in range(5)]
        sim.trade("BTC/USD", 60_005.5, 0.25)
        out = tmp_path / "x.parquet"
        outcome = hands(
            "fetch", "AAPL", "BTC/USD", "--from", "2020-01-01", "--out", out, "--alpaca-url", sim.url
        )
    assert outcome.exit_code == 0
    rows = open_market([out]).all_rows()
    assert rows["trade_id"][:5].tolist() == ids
    assert rows["price"].tolist() == [150.0, 150.01, 150.02, 150.03, 150.04, 60_005.5]
    assert rows["size"].tolist() == [10, 11, 12, 13, 14, 0.25]


def test_stopped_before_it_has_begun_it_keeps_what_was_fetched_and_leaves_nothing_where_nothing_was(
    fetch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_after(pages: int) -> None:
        @contextmanager
        def bar() -> Iterator[Any]:
            if not pages:
                raise KeyboardInterrupt
            yield stop

        def stop(progress: Any) -> None:
            if progress.pages == pages:
                raise KeyboardInterrupt

        monkeypatch.setattr("hands.cli.fetch._bar", bar)

    stop_after(2)
    assert f"stopped; {2 * PAGE} trades are in x.csv.part" in fetch("AAPL", *SPAN, "--out", "x.csv").stderr
    before = (tmp_path / "x.csv.part").read_bytes()
    stop_after(0)
    outcome = fetch("AAPL", *SPAN, "--out", "x.csv", "--json")
    assert outcome.exit_code == 130
    assert "what was fetched is in x.csv.part: the same command goes on" in outcome.document["error"]
    assert (tmp_path / "x.csv.part").read_bytes() == before
    outcome = fetch("SPY", *SPAN, "--out", "y.csv", "--json")
    assert (outcome.exit_code, outcome.document["error"]) == (130, "stopped; nothing had come")
    assert not (tmp_path / "y.csv.part").exists()
