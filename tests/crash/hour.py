"""`python -m tests.crash.hour --minutes 60`: an hour on the wall clock, real sockets, faults, and SIGKILLs at any moment.

Owns the course of the hour and its reckoning. The matrix kills at every exact step (`tests.crash.real`); here nobody
knows the step. In the first two thirds the daemon is killed every half minute or so and started again after a pause;
in the last third it lives, so that its memory can be seen to stand still. Faults befall requests and streams all the
time. At the end every document, order, fill, dollar and naked moment is held against the exchange's truth.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.crash import real_naked
from tests.crash.hour_market import Lane, lanes
from tests.crash.real_desk import LIMITS
from tests.crash.real_judge import Books, Story
from tests.crash.real_play import BOUND_MS
from tests.e2e.harness import Exchange, Floor, until

STEP_S = 0.1
KILLS_PART = 2 / 3
KILL_EVERY_S = (8.0, 45.0)
DOWN_S = (0.0, 3.0)
FAULT_EVERY_S = (1.0, 5.0)
CLOSES_WITHIN_MS = 250
"""What is unprotected for longer than the bound is closed; that begins at the bound and takes a moment."""

FAULT_MS = 2500
"""What a fault in the midst of it may cost besides: a cancel that got no good answer is sent again after two seconds."""

STARTS_WITHIN_S = 30.0
ENDS_WITHIN_S = 90.0
GROWTH_MAX_MB = 16.0
"""What the last life's resident memory may grow by from a quarter of its length on, and its start over the first's."""

_ORDERS, _ORDER, _BY_ID = "POST /v2/orders", "DELETE /v2/orders/*", "GET /v2/orders:by_client_order_id"
FAULTS: tuple[dict[str, Any], ...] = (
    {"on": _ORDERS, "do": "drop_request"},
    {"on": _ORDERS, "do": "drop_response"},
    {"on": _ORDERS, "do": "delay", "delay_ms": 300, "at": "request"},
    {"on": _ORDERS, "do": "status", "status": 503, "body": "<html>"},
    {"on": _ORDERS, "do": "truncate"},
    {"on": _ORDER, "do": "drop_request"},
    {"on": _ORDER, "do": "drop_response"},
    {"on": _ORDER, "do": "status", "status": 500},
    {"on": _BY_ID, "do": "drop_response"},
    {"on": "GET /v2/positions", "do": "status", "status": 502, "body": "<html>"},
    {"on": "trade_updates", "do": "duplicate", "times": 5},
    {"on": "trade_updates", "do": "reorder", "times": 4},
    {"on": "trade_updates", "do": "delay", "delay_ms": 200, "times": 3},
    {"on": "trade_updates", "do": "disconnect"},
    {"on": "market_data", "do": "disconnect"},
    {"on": "market_data", "do": "delay", "delay_ms": 200, "times": 3},
)


class Hour:
    """The course: market, trades, faults, deaths."""

    def __init__(self, floor: Floor, minutes: float, seed: int) -> None:
        self.floor = floor
        self.chance = random.Random(seed)
        self.lanes: list[Lane] = lanes(seed)
        self.began = time.monotonic()
        self.length_s = minutes * 60
        self.downs: list[tuple[int, int]] = []
        self.starts_s: list[float] = []
        self.ready_mb: list[float] = []
        self.memory: list[tuple[float, float]] = []
        self._kill_at = self.began + self._draw(KILL_EVERY_S)
        self._start_at = 0.0
        self._fault_at = self.began
        self._died_ns = 0
        self._launched = 0.0

    def _draw(self, bounds: tuple[float, float]) -> float:
        return self.chance.uniform(*bounds)

    @property
    def passed_s(self) -> float:
        return time.monotonic() - self.began

    def run(self) -> None:
        """Trade for the time asked for, then until nothing is open any more."""
        floor = self.floor
        floor.launch().ready(STARTS_WITHIN_S)
        self._note_ready()
        told = 0
        while self.passed_s < self.length_s:
            self._step(may_begin=True)
            self._chaos()
            if int(self.passed_s // 60) > told:
                told += 1
                print(f"\r{self._progress()}", end="", file=sys.stderr, flush=True)
        floor.request("DELETE", "/sim/v1/faults")
        if self._start_at or self._launched:
            until("the last start", self._is_started, STARTS_WITHIN_S)
        deadline = time.monotonic() + ENDS_WITHIN_S
        while any(lane.intent_id for lane in self.lanes) and time.monotonic() < deadline:
            self._step(may_begin=False)

    def _progress(self) -> str:
        trades = sum(len(lane.documents) for lane in self.lanes)
        return f"{self.passed_s / 60:.0f} minutes, {trades} documents, {len(self.downs)} deaths"

    def _step(self, *, may_begin: bool) -> None:
        """One step of every market; documents only while somebody is there to see the quotes they are made of."""
        began = time.monotonic()
        floor = self.floor
        floor.market(*(row for lane in self.lanes for row in lane.rows()))
        alive = not self._start_at and not self._launched
        for lane in self.lanes:
            lane.look(floor, may_begin=may_begin and alive)
        if alive:
            self.memory.append((self.passed_s, self._resident_mb()))
        time.sleep(max(0.0, STEP_S - (time.monotonic() - began)))

    def _chaos(self) -> None:
        now = time.monotonic()
        if now >= self._fault_at:
            self._fault_at = now + self._draw(FAULT_EVERY_S)
            self.floor.faults(self.chance.choice(FAULTS))
        if self._start_at or self._launched:
            self._is_started()
        elif now >= self._kill_at and self.passed_s < self.length_s * KILLS_PART:
            self.floor.kill()
            self._died_ns = time.time_ns()
            self._start_at = now + self._draw(DOWN_S)

    def _is_started(self) -> bool:
        """Start a daemon when it is time, and note when it is ready; the market goes on meanwhile."""
        now = time.monotonic()
        if self._start_at:
            if now < self._start_at:
                return False
            self._start_at, self._launched = 0.0, now
            self.floor.launch()
        daemon = self.floor.daemon
        assert daemon is not None
        if "\n" not in daemon.log.with_suffix(".out").read_text():
            assert daemon.is_running, f"a start failed:\n{daemon.said}"
            assert now - self._launched < STARTS_WITHIN_S, "a start takes too long"
            return False
        self._note_ready()
        return True

    def _note_ready(self) -> None:
        now = time.monotonic()
        if self._launched:
            self.starts_s.append(now - self._launched)
            self.downs.append((self._died_ns, time.time_ns()))
        self._launched = 0.0
        self._kill_at = now + self._draw(KILL_EVERY_S)
        self.ready_mb.append(self._resident_mb())
        self.memory.clear()  # of the life that begins

    def _resident_mb(self) -> float:
        assert self.floor.daemon is not None
        status = Path(f"/proc/{self.floor.daemon.popen.pid}/status").read_text()
        line = next((line for line in status.splitlines() if line.startswith("VmRSS:")), "VmRSS: 0 kB")
        return int(line.split()[1]) / 1024


# --- the reckoning -------------------------------------------------------------------------------------------


def reckon(hour: Hour) -> dict[str, Any]:
    """Return the result; `complaints` is empty if all is well."""
    floor = hour.floor
    documents = {name: data for lane in hour.lanes for name, data in lane.documents.items()}
    complaints = [f"{lane.symbol}: {lane.intent_id} did not end" for lane in hour.lanes if lane.intent_id]
    status = floor.status()
    if status["state"] != "ACTIVE" or status["day"]["live"]:
        complaints.append(
            f"the engine says {status['state']} {status['reasons']}, {status['day']['live']} live"
        )
    code = floor.stop()
    if code:
        complaints.append(f"SIGTERM ended it with {code}")
    truth = floor.truth()
    books = Books(truth)
    trades = 0
    for intent_id, data in documents.items():
        story = Story(floor.intents, floor.state, books, intent_id, data)
        complaints += [f"{intent_id}: {complaint}" for complaint in story.complaints(None)]
        trades += bool(story.fills)
    filed = sum(1 for _ in (floor.intents / "archive").glob("*/*"))
    if filed != len(documents):
        complaints.append(f"{len(documents)} documents, {filed} archived")
    strangers = sum(len(orders) for name, orders in books.orders.items() if name not in documents)
    if strangers:
        complaints.append(f"{strangers} orders at the exchange belong to no document")
    naked = _naked(truth, hour, complaints)
    memory = _memory(hour, complaints)
    said = [process.name for process in floor.processes if "Traceback" in process.said]
    complaints += [f"{name} wrote a traceback" for name in said]
    return {
        "minutes": round(hour.length_s / 60, 2), "documents": len(documents), "trades": trades,
        "requests": len(truth["requests"]), "fills": len(truth["fills"]),
        "faults": len(truth["faults"]), "kills": len(hour.downs), "start_max_s": round(max(hour.starts_s, default=0.0), 2),
        "ends": {lane.symbol: lane.ends for lane in hour.lanes}, "naked": naked, "memory": memory,
        "complaints": complaints,
    }  # fmt: skip


def _naked(truth: dict[str, Any], hour: Hour, complaints: list[str]) -> dict[str, Any]:
    """Return the distribution of naked intervals, less the time without a daemon; what is beyond the bound is told."""
    complaints += real_naked.disagreements(truth)
    alive: list[float] = []
    longest_down = 0.0
    faults_ns = [fault["t_ns"] for fault in truth["faults"]]
    for symbol, spans in real_naked.episodes(truth).items():
        for span in spans:
            lived_ms = real_naked.alive_ns(span, hour.downs) / 1e6
            alive.append(lived_ms)
            longest_down = max(longest_down, (span[1] - span[0]) / 1e6 - lived_ms)
            is_disturbed = any(span[0] <= t_ns <= span[1] for t_ns in faults_ns)
            if lived_ms > BOUND_MS + CLOSES_WITHIN_MS + FAULT_MS * is_disturbed:
                complaints.append(
                    f"{symbol} was naked for {lived_ms:.0f} ms with a living engine, from {span[0]}"
                )
    alive.sort()
    place = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "max_ms": 1.0}
    found = {name: round(alive[math.ceil(p * len(alive)) - 1], 1) for name, p in place.items() if alive}
    return {"n": len(alive), **found, "bound_ms": BOUND_MS, "down_max_ms": round(longest_down, 1)}


def _memory(hour: Hour, complaints: list[str]) -> dict[str, Any]:
    """Return the last life's memory from a quarter of its length on, and what the starts took."""
    begin, end = hour.memory[0][0], hour.memory[-1][0]
    settled = [mb for at_s, mb in hour.memory if at_s >= begin + (end - begin) / 4]
    growth = settled[-1] - settled[0]
    starts = hour.ready_mb[-1] - hour.ready_mb[0]
    for what, mb in (("the last life grew by", growth), ("a start takes more than the first by", starts)):
        if mb > GROWTH_MAX_MB:
            complaints.append(f"memory: {what} {mb:.1f} MB; {GROWTH_MAX_MB:g} are allowed")
    return {
        "last_life_s": round(end - begin), "last_life_mb": [round(settled[0], 1), round(settled[-1], 1)],
        "growth_mb": round(growth, 1), "ready_mb": [round(hour.ready_mb[0], 1), round(hour.ready_mb[-1], 1)],
    }  # fmt: skip


def trade_on(folder: Path, minutes: float, seed: int) -> dict[str, Any]:
    """Trade for so long in `folder`, and return the reckoning."""
    exchange = Exchange(folder, tape=["manual"], fills="realistic", seed=seed)
    floor = Floor(folder, exchange)
    try:
        floor.limit(**LIMITS, max_concurrent=10, max_gross_exposure=2)
        floor.setting(requests_per_minute=100_000, rejections_latch=100_000)
        hour = Hour(floor, minutes, seed)
        hour.run()
        return reckon(hour)
    finally:
        floor.close()
        exchange.process.end(signal.SIGTERM)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trade, print the reckoning as JSON; return 1 if there is a complaint."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.hour", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it")
    options = parser.parse_args(arguments)
    if options.keep is not None:
        options.keep.mkdir(parents=True)
        found = trade_on(options.keep, options.minutes, options.seed)
    else:
        with tempfile.TemporaryDirectory(prefix="hands-hour-") as folder:
            found = trade_on(Path(folder), options.minutes, options.seed)
    text = json.dumps(found, indent=2)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n")
    return 1 if found["complaints"] else 0


if __name__ == "__main__":
    sys.exit(main())
