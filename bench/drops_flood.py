"""Ten thousand documents at once: how long a good one in their midst waits for its verdict, and what the flood costs.

Owns the flood and its reading. The one idea: the good ones are spread over the middle third, so each has thousands of
documents before it and behind it; their verdicts' latencies are read from their own receipts' stamps, and the engine
is asked nothing meanwhile. Three floods, each with an engine of its own: what a Brain left behind (past its deadline, as at
a start after an outage), fresh documents that are all denied, and the fresh ones from another agent's folder.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from bench.drops import Drop, document
from bench.intent_to_wire import start_hands
from bench.percentiles import nearest_rank
from bench.processes import BenchError, Running
from bench.venue import Venue, open_venue
from bench.waterfall import wall_offset_ns

FULL, QUICK = 10_000, 1_000
GOOD = 100
JUDGED_WITHIN_S = 120.0
_LOOK_AGAIN_S = 0.25


class Flood(NamedTuple):
    """What fills it: `age_s` old documents of `confidence`, dropped into `folder`."""

    age_s: float
    confidence: float
    folder: str


FLOODS = {
    "stale": Flood(age_s=60.0, confidence=0.8, folder="."),
    "denied": Flood(age_s=0.0, confidence=0.1, folder="."),
    "another_agents": Flood(age_s=0.0, confidence=0.1, folder="agents/noisy"),
}


def measure(room: Path, *, quick: bool) -> dict[str, float]:
    """Return, for each flood, the good ones' verdict latency (ms), time until all have answers (s), memory (MB)."""
    count = QUICK if quick else FULL
    found: dict[str, float] = {"n": count, "good": GOOD}
    for name, flood in FLOODS.items():
        inner = room / name
        inner.mkdir()
        with open_venue(inner) as venue, start_hands(inner, venue, agents=("noisy",)) as daemon:
            venue.publish_quotes()
            found |= {
                f"{name}_{key}": value for key, value in _run(inner, flood, count, venue, daemon).items()
            }
    return found


def _run(room: Path, flood: Flood, count: int, venue: Venue, daemon: Running) -> dict[str, float]:
    intents = room / "intents"
    making = room / "making"
    making.mkdir()
    _wait_for(
        intents, 1, _drop(_written(making, 1, {0}, flood), intents, intents)
    )  # one alone: the first costs more
    venue.arrivals(1)
    before_mb = _memory_mb(daemon, "VmRSS:")
    third = count // 3
    files = _written(making, count, {third + number * third // GOOD for number in range(GOOD)}, flood)
    offset_ns = wall_offset_ns()
    began_s = time.monotonic()
    good = _drop(files, intents, intents / flood.folder)
    _wait_for(intents, count + 1, good)
    judged_s = time.monotonic() - began_s
    waits = sorted(_verdict_ns(intents, drop) - drop.zero_ns - offset_ns for drop in good)
    return {
        "verdict_p50_ms": round(nearest_rank(waits, 0.5) / 1e6, 2),
        "verdict_p99_ms": round(nearest_rank(waits, 0.99) / 1e6, 2),
        "verdict_max_ms": round(waits[-1] / 1e6, 2),
        "all_answered_s": round(judged_s, 2),
        "rss_before_mb": before_mb,
        "rss_peak_mb": _memory_mb(daemon, "VmHWM:"),
    }


def _written(making: Path, count: int, good: set[int], flood: Flood) -> list[tuple[str, Path]]:
    """Write all files where nobody watches; return (intent_id of a good one, else "", path) in the order of dropping."""
    files = [("", making / f"{time.time_ns()}-{number:05}.json") for number in range(count)]
    stamp = (datetime.now(UTC) - timedelta(seconds=flood.age_s)).isoformat()
    for number, (_, path) in enumerate(files):
        members = json.loads(document(number)[1]) | {"timestamp": stamp, "confidence": flood.confidence}
        path.write_bytes(json.dumps(members).encode())
    for number in good:  # last, so that none of them is old before it is dropped
        intent_id, data = document(number)
        files[number][1].write_bytes(data)
        files[number] = intent_id, files[number][1]
    return files


def _drop(files: list[tuple[str, Path]], good_folder: Path, flood_folder: Path) -> list[Drop]:
    """Bring all files into sight, one rename after the other; return the good ones."""
    moves = [
        (each, str(path), str((good_folder if each else flood_folder) / path.name)) for each, path in files
    ]
    drops = []
    for intent_id, source, target in moves:
        zero_ns = time.monotonic_ns()
        os.rename(source, target)  # noqa: PTH104  (nothing between the stamp and the call)
        if intent_id:
            drops.append(Drop(intent_id, zero_ns, zero_ns))
    return drops


def _wait_for(intents: Path, count: int, good: list[Drop]) -> None:
    """Wait until so many receipts are there, those of the `good` among them. Raises BenchError."""
    end = time.monotonic() + JUDGED_WITHIN_S
    while True:
        there = len(os.listdir(intents / "receipts")) + len(os.listdir(intents / "refused")) // 2  # noqa: PTH208
        missing = [drop for drop in good if not _receipt(intents, drop).exists()]
        if there >= count and not missing:
            return
        if time.monotonic() > end:
            raise BenchError(f"{count} documents, {there} answers; {len(missing)} good ones have none")
        time.sleep(_LOOK_AGAIN_S)


def _receipt(intents: Path, drop: Drop) -> Path:
    return intents / "receipts" / f"{drop.intent_id}.json"


def _verdict_ns(intents: Path, drop: Drop) -> int:
    receipt: dict[str, Any] = json.loads(_receipt(intents, drop).read_bytes())
    if receipt["verdict"] != "ACCEPTED" and receipt["code"] not in {"SYMBOL_BUSY", "SEMANTIC_DUPLICATE"}:
        raise BenchError(f"a good one was not taken: {receipt['code']}: {receipt['message']}")
    return int(receipt["stamps_ns"]["decided"])


def _memory_mb(daemon: Running, line: str) -> float:
    lines = Path(f"/proc/{daemon.process.pid}/status").read_text("utf-8").splitlines()
    return round(next(int(text.split()[1]) / 1024 for text in lines if text.startswith(line)), 1)
