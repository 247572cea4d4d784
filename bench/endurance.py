"""Twelve hours of a market at full speed: memory stays where it is, and no number drifts.

Owns the run and the verdict. The market is played by `bench.endurance_play` in a process of its own, through what the
daemon has between the socket's bytes and the engine, with everything going wrong that a feed can do: cut connections,
refusals, lost, doubled, overtaking and late messages, corrections, silence on an open connection. Afterwards every
indicator is computed from scratch from the trades that were made. The one idea: whatever repairs there were, the state is
that of a client that heard every trade once and in order, so there is one right number and the run has to show it.

Memory counts from the end of the first hour on: until then buffers find their size. (It falls when the stocks close,
since the market that is played is a smaller one then.) A run in which a value is wrong is
no measurement.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.endurance_check import bars_deviation, completed, deviation, expected
from bench.processes import ROOT, BenchError
from hands.core.rows import ROW

DRIFT_MAX: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Size:
    """Simulated hours, and quotes and trades a second of each of the sixteen symbols."""

    hours: float
    rate: float


FULL = Size(hours=12, rate=20)
QUICK = Size(hours=3, rate=5)


def measure(room: Path, size: Size) -> dict[str, Any]:
    """Return the block `endurance`. Raises BenchError: a value was wrong, or the run did not come to its end."""
    played = _play(room, size)
    if played["different"]:
        first = "; ".join(played["differences"][:3])
        raise BenchError(
            f"{played['different']} of {played['compared']} values are not a perfect client's: {first}"
        )
    drift, values = recomputed(room)
    if drift > DRIFT_MAX:
        raise BenchError(f"computed from scratch, a value differs by {drift:.1e} of it")
    rss_mb = [each for each in played["rss_mb"] if each]
    found = {
        "hours": played["hours"],
        "messages": played["messages"],
        "messages_per_s": round(played["messages"] / played["seconds"]),
        "values_compared": played["compared"] + values,
        "drift_max_rel": drift,
        "triggers_fired": played["fired"],
        "connections_lost": played["cut"],
        "trades_repaired": played["repaired"]["trades"],
        "orders_restored": played["repaired"]["ordered"],
        "corrections": played["repaired"]["corrected"],
    }
    if rss_mb:
        found |= {
            "rss_mb_first_hour": rss_mb[0],
            "rss_mb_last_hour": rss_mb[-1],
            "rss_growth_percent": round(100 * (max(rss_mb) / rss_mb[0] - 1), 2),
        }
    return found


def _play(room: Path, size: Size) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.endurance_play", str(size.hours), str(size.rate), str(room)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("APCA_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise BenchError(f"the market was not played to its end: {done.stderr[-1000:]}") from None
    return found


def recomputed(room: Path) -> tuple[float, int]:
    """Return the largest relative difference from a computation from scratch, and how many values were compared."""
    shown = json.loads((room / "shown.json").read_bytes())
    rows = np.fromfile(room / "trades.npy", ROW)
    worst, compared = 0.0, 0
    for about in shown:
        trades = rows[rows["sym"] == about["sym"]]
        price = float(trades["price"][-1])
        for interval in about["intervals"]:
            interval_s, seen_ns = interval["interval_s"], about["seen_ns"]
            wanted = expected(trades, interval_s, seen_ns, about["session_ns"])
            found, count = deviation(interval["indicators"], wanted, price)
            bars = completed(trades, interval_s, seen_ns)
            worst = max(worst, found, bars_deviation(interval["bars"], bars))
            compared += count + 6 * min(len(bars), len(interval["bars"]))
    return float(f"{worst:.1e}"), compared
