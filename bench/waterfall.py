"""Where the time goes: the stages of an intent's way, from the stamps in its receipts.

Owns the reading of receipts after a measurement. The one idea: the engine's stamps are a wall anchor plus
monotonic time, so they differ from the bench's monotonic clock by one constant of the process, which is found by
reading both clocks here; if the wall clock was stepped meanwhile the two outer stages are left out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.drops import Drop
from bench.percentiles import nearest_rank
from bench.processes import BenchError

_READ_WITHIN_S = 5.0
_STEP_MAX_NS = 20_000

INNER = (("file_event", "decided"), ("decided", "journaled"), ("journaled", "sent"))


def wall_offset_ns() -> int:
    """Return Unix time less monotonic time, the tightest of a few readings."""
    best, offset = 1 << 62, 0
    for _ in range(50):
        before = time.monotonic_ns()
        wall = time.time_ns()
        spent = time.monotonic_ns() - before
        if spent < best:
            best, offset = spent, wall - before - spent // 2
    return offset


def read_receipts(intents: Path, drops: Sequence[Drop]) -> dict[str, dict[str, Any]]:
    """Return the receipt of every drop, once the venue's answer stands in it. Raises BenchError."""
    end = time.monotonic() + _READ_WITHIN_S
    found: dict[str, dict[str, Any]] = {}
    for drop in drops:
        path = intents / "receipts" / f"{drop.intent_id}.json"
        while drop.intent_id not in found:
            receipt = json.loads(path.read_bytes()) if path.exists() else None
            if receipt is not None and receipt["stamps_ns"]["sent"] and receipt["state"] == "VENUE_REJECTED":
                found[drop.intent_id] = receipt
            elif time.monotonic() > end:
                raise BenchError(f"an intent did not end as measured: {receipt or 'no receipt'}")
            else:
                time.sleep(0.01)
    return found


def explain_missing(intents: Path, drops: Sequence[Drop], arrived: Mapping[str, int]) -> str:
    """Return why the first document without an order has none, as its receipt says it."""
    for drop in drops:
        if drop.intent_id not in arrived:
            path = intents / "receipts" / f"{drop.intent_id}.json"
            if not path.exists():
                return f"{drop.intent_id} has no receipt"
            receipt = json.loads(path.read_bytes())
            return f"{receipt['verdict']} {receipt['code']}: {receipt['message']}"
    return "every document has its order"


def waterfall(
    receipts: Mapping[str, Mapping[str, Any]],
    drops: Sequence[Drop],
    arrived: Mapping[str, int],
    offsets_ns: tuple[int, int],
) -> list[dict[str, Any]]:
    """Return one row per stage with p50 and p99 in microseconds, in the order of the way.

    `sent` is stamped when the write has returned, which is often after the order's first byte was received: so
    the last stage begins at `journaled`. `offsets_ns` is `wall_offset_ns` before and after the measurement.
    """
    spans: dict[str, list[int]] = {}
    stepped = abs(offsets_ns[1] - offsets_ns[0]) > _STEP_MAX_NS
    for drop in drops:
        stamps = receipts[drop.intent_id]["stamps_ns"]
        if not stepped:
            span = stamps["file_event"] - drop.zero_ns - offsets_ns[0]
            spans.setdefault("rename → file_event", []).append(span)
        for start, stop in INNER:
            if stamps[start] and stamps[stop]:
                spans.setdefault(f"{start} → {stop}", []).append(stamps[stop] - stamps[start])
        if not stepped and stamps["journaled"]:
            span = arrived[drop.intent_id] + offsets_ns[0] - stamps["journaled"]
            spans.setdefault("journaled → first byte received", []).append(span)
    rows = []
    for stage, values in spans.items():
        ordered = sorted(values)
        p50, p99 = nearest_rank(ordered, 0.5), nearest_rank(ordered, 0.99)
        rows.append({"stage": stage, "p50_us": round(p50 / 1e3, 1), "p99_us": round(p99 / 1e3, 1)})
    return rows
