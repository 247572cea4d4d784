"""How much market data the simulator can publish: a prepared load over a real socket to one counting consumer.

Owns both processes of the measurement and what is read of the sender: its time on its one core, its memory. The one
idea: the rate is the consumer's count, and the sender is asked for a tenth more than it has to show.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.footprint import resident_mb
from bench.processes import BenchError, Running, running

SECONDS, QUICK_SECONDS = 10.0, 2.0
END_WITHIN_S = 30.0
SYMBOLS = ("AAPL", "AMD", "AMZN", "BAC", "CSCO", "GOOG", "IBM", "INTC", "KO", "META", "MSFT", "SPY")
LOADS = {"50": (220_000, 50), "1": (22_000, 1)}
"""Messages a second asked for, and messages in a frame; each by the suffix of what it is called in the result."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One load as it arrived, and what it cost the sender."""

    frames: int
    messages: int
    seconds: float
    cpu_s: float | None
    rss_mb: tuple[float, float] | None


def measure(room: Path, *, quick: bool) -> dict[str, Any]:
    """Return the rates, the sender's share of a core for each, and its memory at the start and the end."""
    seconds = QUICK_SECONDS if quick else SECONDS
    return result({name: _send(room, name, seconds) for name in LOADS})


def result(sent: dict[str, Sent]) -> dict[str, Any]:
    """Return the JSON block of loads by their suffix; memory is of the load in which it grew the most."""
    of_fifty, of_one = sent["50"], sent["1"]
    found: dict[str, Any] = {
        "messages_per_s_50": round(of_fifty.messages / of_fifty.seconds),
        "frames_per_s_1": round(of_one.frames / of_one.seconds),
        "seconds": round(min(one.seconds for one in sent.values()), 2),
    }
    for name, one in sent.items():
        if one.cpu_s is not None:
            found[f"sender_core_{name}"] = round(one.cpu_s / one.seconds, 3)
    memory = [one.rss_mb for one in sent.values() if one.rss_mb is not None]
    if memory:
        start, end = max(memory, key=lambda pair: pair[1] - pair[0])
        found |= {"rss_mb_start": round(start, 1), "rss_mb_end": round(end, 1)}
    return found


def _send(room: Path, name: str, seconds: float) -> Sent:
    rate, frame = LOADS[name]
    load = ["--tape", "load", "--load-rate", str(rate), "--load-frame", str(frame)]
    simulator = ["-m", "hands", "sim", "--listen", "127.0.0.1:0", "--symbols", ",".join(SYMBOLS), *load]
    with running(simulator, room / f"simulator-{name}.log") as sim:
        _pin(sim.process.pid, 0)
        target = urlsplit(sim.ready["url"])
        counter = ["-m", "bench.counter", str(target.hostname), str(target.port), str(seconds)]
        with running(counter, room / f"counter-{name}.log") as consumer:
            _pin(consumer.process.pid, 1)
            cpu_s, rss_mb = _cpu_s(sim.process.pid), resident_mb(sim.process.pid)
            counted = _counted(consumer, room / f"counter-{name}.log")
            cpu_end_s, rss_end_mb = _cpu_s(sim.process.pid), resident_mb(sim.process.pid)
    return Sent(
        counted["frames"],
        counted["messages"],
        counted["seconds"],
        None if cpu_s is None or cpu_end_s is None else cpu_end_s - cpu_s,
        None if rss_mb is None or rss_end_mb is None else (rss_mb, rss_end_mb),
    )


def _counted(consumer: Running, log: Path) -> dict[str, Any]:
    """Return the consumer's second line. Raises BenchError."""
    stdout = consumer.process.stdout
    assert stdout is not None
    readable, _, _ = select.select([stdout], [], [], END_WITHIN_S)
    line = stdout.readline() if readable else b""
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError as error:
        said = log.read_text("utf-8", "replace")[-2_000:].strip()
        raise BenchError(f"the counting consumer counted nothing: {said or line!r}") from error
    return found


def _pin(pid: int, place: int) -> None:
    """Keep a process on one core, each on its own where there are two; where the system cannot, leave it."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        with contextlib.suppress(OSError):
            os.sched_setaffinity(pid, {cores[place % len(cores)]})


def _cpu_s(pid: int) -> float | None:
    """Return the processor time of a process, None where the system does not tell."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")
