"""From the socket's bytes to updated indicators: how many messages a second one core takes, and what alpaca-py takes.

Owns the runs and their order. A market is sent over a real loopback websocket by a process of its own
(`bench.market_load`), and received in another one (`bench.ingest_receivers`): by our feed and market, and by alpaca-py's
stream with a handler that only counts. Ours and the peer's runs take turns, so that what others do with the machine
falls on both; each number is the median of its runs. No run counts in which a message was lost.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers import missing
from bench.processes import ROOT, BenchError, running

FRAME_SIZE = 50
CALM, BURST = 100_000, 1_000_000
"""Messages a second before and after a burst, and for the second of it."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is sent: messages in large frames, in frames of one, and to the peer; and how often."""

    large: int
    single: int
    peer: int
    runs: int


FULL = Size(large=3_000_000, single=400_000, peer=300_000, runs=3)
QUICK = Size(large=1_000_000, single=100_000, peer=60_000, runs=1)


def runs_planned(size: Size) -> int:
    """Return how many runs `measure` makes."""
    return 3 * size.runs + 1


def measure(room: Path, size: Size, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return the block `ingest`; the peer's keys are absent where it is not installed. Raises BenchError."""
    has_peer = missing("naive") is None
    large: list[dict[str, Any]] = []
    single: list[dict[str, Any]] = []
    peer: list[dict[str, Any]] = []
    for _ in range(size.runs):
        tell("hands")
        large.append(_run(room, "hands", FRAME_SIZE, [(size.large, 0)]))
        tell("hands, frames of one")
        single.append(_run(room, "hands", 1, [(size.single, 0)]))
        tell("alpaca-py")
        if has_peer:
            peer.append(_run(room, "alpaca", FRAME_SIZE, [(size.peer, 0)]))
    tell("burst")
    burst = _run(room, "hands", FRAME_SIZE, [(CALM, CALM), (BURST, BURST), (CALM, CALM)])
    found = {
        "messages_per_s": _median(large, "wall_s"),
        "messages_per_cpu_s": _median(large, "cpu_s"),
        "frame_size": FRAME_SIZE,
        "single_messages_per_s": _median(single, "wall_s"),
        "burst_messages_per_s": BURST,
        "burst_calm_messages_per_s": CALM,
        "burst_late_max_ms": round(burst["late_max_ms"], 1),
        "messages": sum(run["messages"] for run in (*large, *single, burst)),
        "lost": 0,
    }
    if peer:
        theirs = _median(peer, "wall_s")
        found |= {
            "alpaca_py_messages_per_s": theirs,
            "ratio": round(found["messages_per_s"] / theirs, 1),
            "alpaca_py_messages_per_cpu_s": _median(peer, "cpu_s"),
        }
    return found


def _median(runs: list[dict[str, Any]], span: str) -> int:
    rates: list[float] = [run["messages"] / run[span] for run in runs]
    return round(statistics.median(rates))


def _run(room: Path, receiver: str, frame_size: int, phases: list[tuple[int, int]]) -> dict[str, Any]:
    """Send and receive once. Raises BenchError: not every message arrived."""
    load = ["-m", "bench.market_load", str(frame_size), *(f"{messages}@{rate}" for messages, rate in phases)]
    expected = sum(messages // frame_size * frame_size for messages, _ in phases)
    with running(load, room / "load.log") as sender:
        command = [
            sys.executable,
            "-m",
            "bench.ingest_receivers",
            receiver,
            sender.ready["url"],
            str(expected),
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("APCA_")}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise BenchError(f"{receiver} did not receive {expected} messages: {done.stderr[-1000:]}") from None
    if found["messages"] != expected:
        raise BenchError(f"{receiver}: {found['messages']} of {expected} messages arrived")
    return found
