"""The daemon as a process: how it ends, when it refuses to start, and that it keeps its secrets."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hands.journal.heads import read_head
from hands.journal.record import Record
from hands.journal.steps import SESSION
from tests.e2e.harness import Floor, Process, environment, until

pytestmark = pytest.mark.e2e

SECRET = "Zx81-not-to-be-seen-q7"


def _start(floor: Floor, *more: str, url: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Start a daemon that ends by itself, and return how."""
    command, environ = floor.command(*more, url=url), environment(**env)
    return subprocess.run(
        command, capture_output=True, text=True, timeout=30, env=environ, cwd=floor.folder, check=False
    )


def test_sigterm_cancels_entries_leaves_protection_and_ends_with_0(floor: Floor) -> None:
    floor.open()
    position, coins = floor.drop(), floor.drop("SOL/USD")
    floor.protected(position)
    floor.protected(coins)
    quote = {"symbol": "SPY", "bid": 599.97, "ask": 600.02, "ask_size": 0}
    floor.market(quote)
    floor.seen(quote)
    working = floor.drop("SPY")
    floor.expect(working, "WORKING", where=lambda r: r["stamps_ns"]["acked"])
    asked = time.monotonic()
    assert floor.stop() == 0
    assert time.monotonic() - asked < 5
    assert [o["status"] for o in floor.entries("SPY")] == ["canceled"]
    assert (floor.stops("AAPL"), floor.stops("SOL/USD")) == (66, floor.held("SOL/USD"))
    floor.expect(working, "CANCELED")
    down = floor.hands("status", "--json")
    assert (json.loads(down.stdout)["state"], down.returncode) == ("DOWN", 1)

    floor.open()
    assert floor.status()["day"]["trades"] == 2
    for intent_id in (position, coins):
        floor.protected(intent_id)
    floor.move("AAPL", 155.10, 155.12, print_at=155.10)
    assert floor.expect(position, "CLOSED")["exit"]["reason"] == "TP"


def test_documents_dropped_while_it_is_down_are_judged_at_the_start(floor: Floor) -> None:
    floor.open()
    assert floor.stop() == 0
    old = floor.drop(ttl_seconds=0.2)
    fresh = floor.drop("SPY", ttl_seconds=15)
    floor.open()
    floor.expect(old, "REJECTED", code="EXPIRED")
    floor.protected(fresh)


def test_a_process_that_ends_at_once_leaves_nothing_open(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "raise SystemExit('no')")
    process = Process("brief", command, tmp_path / "brief.log", environment())
    with pytest.raises(AssertionError, match=r"(?s)brief ended with 1:.*no"):
        process.ready()
    assert all(file.closed for file in process._files)


def test_a_state_directory_in_use_is_refused(floor: Floor) -> None:
    floor.open()
    second = _start(floor)
    assert second.returncode == 3
    assert "in use" in second.stderr
    assert floor.is_answering()


def test_a_state_directory_bound_to_another_account_is_refused(floor: Floor) -> None:
    floor.open()
    assert floor.stop() == 0
    _, account = floor.request("GET", "/v2/account")
    other = account | {"account_number": "PA3OTHER0002"}
    floor.faults({"on": "GET /v2/account", "do": "status", "status": 200, "body": other, "times": 5})
    refused = _start(floor)
    assert refused.returncode == 3
    assert "PA3OTHER0002" in refused.stderr


def test_a_live_host_needs_live(floor: Floor) -> None:
    keys = {"APCA_API_KEY_ID": "AK1", "APCA_API_SECRET_KEY": SECRET}
    refused = _start(floor, url="https://api.alpaca.markets", **keys)
    assert refused.returncode == 3
    assert "--live" in refused.stderr
    assert SECRET not in refused.stderr


def test_a_broken_limits_file_is_refused_with_every_problem_at_once(floor: Floor) -> None:
    text = floor.limits.read_text().replace("max_daily_trades = 5", "max_daily_trades = 5000000")
    text = re.sub(r"^max_spread .*\n", "", text, flags=re.MULTILINE)
    floor.limits.write_text(text + "\n[surprise]\nx = 1\n")
    refused = _start(floor)
    assert refused.returncode == 2
    for problem in ("max_daily_trades", "max_spread", "surprise"):
        assert problem in refused.stderr, problem
    assert not refused.stdout
    assert not (floor.state / "journal.db").exists()


def test_no_limits_file_is_a_refusal(floor: Floor) -> None:
    floor.limits.unlink()
    refused = _start(floor)
    assert refused.returncode == 2
    assert "risk_limits.toml" in refused.stderr


def test_symbols_narrow_the_allow_list_and_never_widen_it(floor: Floor) -> None:
    assert _start(floor, "--symbols", "AAPL,TSLA").returncode == 2
    floor.launch("--symbols", "SPY").ready()
    floor.market({"symbol": "SPY", "bid": 599.97, "ask": 600.02})
    floor.seen({"symbol": "SPY", "bid": 599.97})
    floor.expect(floor.drop("AAPL"), "REJECTED", code="SYMBOL_NOT_ALLOWED")
    floor.protected(floor.drop("SPY"))


def test_a_dry_run_judges_and_never_sends(floor: Floor) -> None:
    floor.open("--dry-run")
    receipt = floor.expect(floor.drop(), "DRAFT")
    assert (receipt["verdict"], receipt["order"]["qty"]) == ("ACCEPTED", "66")
    assert not floor.orders()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_with_the_venue_away_at_the_start_it_waits_and_becomes_ready(new_floor: Callable[..., Floor]) -> None:
    port = _free_port()
    floor = new_floor()  # its own exchange is not the daemon's: that one comes later
    daemon = floor.start("daemon", floor.command(url=f"http://127.0.0.1:{port}"))
    floor.daemon = daemon
    until("it has asked in vain", lambda: "asking again" in daemon.said)
    assert daemon.is_running
    assert '"ready"' not in daemon.said
    exchange = floor.start(
        "late", (*floor.command()[:3], "sim", "--listen", f"127.0.0.1:{port}", "--tape", "manual")
    )
    floor.url = exchange.ready()["url"]
    daemon.ready()
    floor.republish()
    floor.protected(floor.drop())


def test_sigterm_before_the_venue_was_ever_there_ends_with_0(floor: Floor) -> None:
    daemon = floor.start("daemon", floor.command(url=f"http://127.0.0.1:{_free_port()}"))
    until("it has asked in vain", lambda: "asking again" in daemon.said)
    assert daemon.end() == 0


def test_the_secret_is_in_no_log_no_receipt_and_no_file(new_floor: Callable[..., Floor]) -> None:
    floor = new_floor(key="AKSEEN", secret=SECRET)
    keys = {"APCA_API_KEY_ID": "AKSEEN", "APCA_API_SECRET_KEY": SECRET}
    floor.open(**keys)
    floor.faults(
        {"on": "GET /v2/account", "do": "status", "status": 401, "body": {"message": SECRET}, "times": 1}
    )
    floor.faults({"on": "trade_updates", "do": "disconnect"})
    intent_id = floor.drop("SOL/USD")
    floor.drop_bytes(b"{", "broken.json")
    until("a refusal", lambda: list((floor.intents / "refused").glob("broken.json.receipt.json")))
    floor.expect(intent_id)
    assert floor.hands("status").returncode in (0, 1)
    assert floor.stop() == 0
    wrong = _start(floor, APCA_API_KEY_ID="AKSEEN", APCA_API_SECRET_KEY=f"{SECRET} ")
    assert wrong.returncode == 2
    assert SECRET not in wrong.stderr + wrong.stdout
    looked_at = [path for path in floor.folder.rglob("*") if path.is_file()]
    assert {"journal.db", "hands.db", f"{intent_id}.json", "broken.json.receipt.json"} <= {
        p.name for p in looked_at
    }
    assert not [path for path in looked_at if SECRET.encode() in path.read_bytes()]
    with Record(floor.state) as record:  # what lies there is compressed
        steps = list(record.steps())
    heads = [read_head(step.payload).state for step in steps if step.kind == SESSION]
    assert heads
    assert not [step for step in steps if SECRET.encode() in step.payload + step.commands]
    assert not [head for head in heads if SECRET.encode() in head]
