"""Dropping documents at a constant pace, whatever becomes of them.

Owns the documents and time zero. May not look at an answer. The one idea: the pace is set by the clock alone (an
open loop), so a slow answer never delays the next question, and what queues up behind it is measured as it would
be lived through: there is no coordinated omission to correct. Each file is written beforehand, in a folder that
nobody watches, and comes into sight by one rename; time zero is read just before that.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from bench.venue import SYMBOLS

_SPIN_NS = 300_000
"""The last part of a wait is spent reading the clock: sleeping overshoots by 60 us and more."""


class Drop(NamedTuple):
    """One document: when it should have been dropped, and when it was (monotonic ns, just before the rename)."""

    intent_id: str
    intended_ns: int
    zero_ns: int


def document(number: int) -> tuple[str, bytes]:
    """Return (intent_id, bytes) of an intent that passes every check: the contract's example, symbols in turns."""
    intent_id = str(uuid.uuid4())
    members = {
        "intent_id": intent_id,
        "asset": SYMBOLS[number % len(SYMBOLS)],
        "direction": "LONG",
        "trigger_price": 150.0,
        "take_profit": 155.0,
        "stop_loss": 148.0,
        "confidence": 0.8,
        "strategy_ref": "bench",
        "timestamp": datetime.now(UTC).isoformat(),
        "ttl_seconds": 15,
        "thesis": "Pullback to the session's VWAP on shrinking volume; the stop lies under yesterday's low.",
    }
    return intent_id, json.dumps(members).encode()


def drop_at_pace(folder: Path, count: int, interval_ns: int, tell: Callable[[], None]) -> list[Drop]:
    """Drop `count` documents into `folder`, one every `interval_ns`; `tell` is called after each."""
    making = folder.parent / f".{folder.name}.making"
    making.mkdir(exist_ok=True)
    drops: list[Drop] = []
    intended_ns = time.monotonic_ns() + interval_ns
    for number in range(count):
        intent_id, data = document(number)
        source, target = str(making / intent_id), str(folder / f"{intent_id}.json")
        (making / intent_id).write_bytes(data)
        _wait_until(intended_ns)
        zero_ns = time.monotonic_ns()
        os.rename(source, target)  # noqa: PTH104  (nothing between the stamp and the call)
        drops.append(Drop(intent_id, intended_ns, zero_ns))
        intended_ns += interval_ns
        tell()
    return drops


def _wait_until(at_ns: int) -> None:
    left_ns = at_ns - time.monotonic_ns()
    if left_ns > _SPIN_NS:
        time.sleep((left_ns - _SPIN_NS) / 1e9)
    while time.monotonic_ns() < at_ns:
        pass
