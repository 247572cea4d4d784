"""What the heartbeat costs where it stands on the way of an order: `python -m tests.watchdog.beat_cost`.

Prints nanoseconds per call, the best of several rounds: one beat, one look at the fence, and the making of a guard sheet
of three trades (which is not on that way).
"""

from __future__ import annotations

import asyncio
import tempfile
import time
import timeit
from pathlib import Path

from hands.core.guard_sheet import guarded_trades
from hands.core.units import Ns
from hands.runtime.beat import Heartbeat
from tests.core.world import live, world

ROUNDS, CALLS = 7, 50_000


def best_ns(call: object, calls: int = CALLS) -> float:
    assert callable(call)
    return min(timeit.repeat(call, number=calls, repeat=ROUNDS)) / calls * 1e9


async def measure(folder: Path) -> dict[str, float]:
    state = world()
    for number, symbol in enumerate(("AAPL", "SPY", "SOL/USD"), 1):
        live(state, number, symbol)
    beat = Heartbeat(folder, state, lambda: Ns(time.time_ns()), lambda _: None, late_ns=1_000_000_000)
    beat.start()
    try:
        return {
            "beat_ns": round(best_ns(beat.touch), 1),
            "fence_ns": round(best_ns(beat.is_fenced), 1),
            "empty_call_ns": round(best_ns(lambda: None), 1),
            "sheet_of_3_ns": round(best_ns(lambda: guarded_trades(state), 2_000), 1),
        }
    finally:
        beat.stop(orderly=False)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(asyncio.run(measure(Path(folder))))
