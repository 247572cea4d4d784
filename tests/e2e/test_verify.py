"""`hands verify` as it is shipped, beside the daemon as it is shipped: while it trades, after kill -9, after the end."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hands.journal.keys import read_first_key
from hands.journal.segments import folder_of, segment_paths
from hands.runtime.proof import verify
from tests.e2e.harness import HANDS, ROOT, Floor, environment

pytestmark = pytest.mark.e2e


def verified(floor: Floor, *more: str) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit code and its document."""
    done = subprocess.run(
        [*HANDS, "verify", str(floor.state), "--json", *more],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env=environment(),
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_every_session_can_be_run_again_at_any_time(floor: Floor, tmp_path: Path) -> None:
    floor.open()
    coins, shares = floor.drop("SOL/USD"), floor.drop("AAPL")
    for intent_id in (coins, shares):
        floor.protected(intent_id)
    code, alive = verified(floor)
    assert (code, alive["verdict"]) == (0, "identical"), alive
    (session,) = alive["sessions"]
    assert session["requests"] >= 3, "two entries and a stop, byte by byte"
    assert session["tally"]["rows"] > 0
    assert not session["is_ended"]

    floor.kill()
    key = tmp_path / "taken.key"
    (floor.state / "first.key").rename(key)
    dead = verify(floor.state, first_keys=[read_first_key(key)])
    assert dead.is_good
    assert dead.sessions[0].last_seq >= session["last_seq"]

    floor.launch().ready()
    floor.republish()
    floor.move("AAPL", 155.10, 155.12, print_at=155.10)
    floor.expect(shares, "CLOSED")
    assert floor.stop() == 0
    code, over = verified(floor, "--key", str(key))
    assert (code, over["verdict"]) == (0, "identical"), over
    assert [each["is_ended"] for each in over["sessions"]] == [False, True]
    assert over["handovers"] == 1
    assert over["open_business_compared"]
    assert over["evidence"]["is_proven"]
    assert over["evidence"]["unanchored_steps"] == 0

    path = segment_paths(folder_of(floor.state))[-1]
    data = path.read_bytes()
    path.write_bytes(data[:-100] + bytes([data[-100] ^ 1]) + data[-99:])
    assert not verify(floor.state, first_keys=[read_first_key(key)]).is_good
    path.write_bytes(data)
