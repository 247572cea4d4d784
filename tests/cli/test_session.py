"""The commands against the real thing: simulator and daemon as processes, in the order an operator uses them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e


@contextmanager
def _running(log: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Run `hands <arguments>` until the block ends; gives the process and its ready line."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "hands", *arguments], stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith('{"event":"ready"'), log.read_text()
        yield process, json.loads(line)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(15)
        process.stdout.close()


def _first_ask(hands, state: Path) -> float:
    """Return AAPL's ask as soon as the daemon has one."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        [quote] = hands("quote", "AAPL", "--state", state, "--json").document
        if quote["ask"] is not None:
            return float(quote["ask"])
    raise AssertionError("no quote within 10 s")


def test_an_operators_session(hands, tmp_path: Path) -> None:
    state, intents = tmp_path / "var", tmp_path / "intents"
    with ExitStack() as stack:
        sim, ready = stack.enter_context(
            _running(tmp_path / "sim.log", "sim", "--seed", "3", "--fills", "instant")
        )
        where = ("--alpaca-url", ready["url"], "--state", str(state), "--intents", str(intents))
        daemon, about = stack.enter_context(_running(tmp_path / "run.log", "run", "--json", *where))
        assert (about["venue"], about["state"]) == ("sim", "ACTIVE")

        assert hands("status", "--state", state).exit_code == 0
        price = _first_ask(hands, state)
        new = (
            "new",
            "AAPL",
            "LONG",
            "--stop",
            f"{price * 0.98:.2f}",
            "--target",
            f"{price * 1.04:.2f}",
            "--state",
            state,
        )
        written = hands(*new)
        assert written.exit_code == 0
        path = tmp_path / "own.json"
        path.write_text(written.stdout)
        assert hands("check", "--live", path, "--state", state, "--json").document["code"] == "OK"
        sent = hands("send", path, "--state", state, "--json")
        assert (sent.exit_code, sent.document["code"]) == (0, "OK")
        assert hands("send", path, "--state", state, "--json").document["code"] == "DUPLICATE_INTENT"
        assert (
            hands("check", "--live", path, "--state", state, "--json").document["code"] == "DUPLICATE_INTENT"
        )

        assert hands("halt", "--reason", "enough", "--state", state).exit_code == 0
        halted = hands("status", "--state", state, "--json")
        assert (halted.exit_code, halted.document["state"]) == (1, "HALTED")
        assert hands(*new, "--send", "--json").document["code"] == "HALTED"
        assert hands("resume", "--state", state).exit_code == 0

        second = subprocess.run(
            [sys.executable, "-m", "hands", "run", *where],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert second.returncode == 3

        daemon.send_signal(signal.SIGINT)
        assert daemon.wait(15) == 0
        down = hands("status", "--state", state, "--json")
        assert (down.exit_code, down.document["state"]) == (1, "DOWN")
        assert [trade["symbol"] for trade in down.document["trades"]] == ["AAPL"]
        assert hands("send", path, "--state", state).exit_code == 3
        sim.send_signal(signal.SIGTERM)
        assert sim.wait(15) == 0
