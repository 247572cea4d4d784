"""How long a position stands without a stop, trade by trade, by the exchange's stopwatch.

Owns whole trades, in and out, for both ways of protection: an equity's native bracket, and a coin whose stop and target
the engine holds itself; each with a quiet market and under load. May not take the engine's word: naked time is the
simulator's truth (`hands/sim/venue/exposure.py`). The one idea: one trade at a time, and the stopwatch is read when nothing is
owned, when the stop rests and when all is sold, so every trade has its own two numbers.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from bench.intent_to_wire import CONFIG
from bench.percentiles import nearest_rank
from bench.processes import BenchError, running
from hands.core.units import NS_PER_MS
from hands.runtime.control import call
from hands.sim.testing import Sim

MESSAGES_PER_S, FRAME = 50_000, 50
LOAD_SYMBOLS = ("AMD", "AMZN", "BAC", "CSCO", "GOOG", "IBM", "INTC", "KO", "META", "MSFT", "SPY")
DONE_WITHIN_S = 15.0
_LOOK_AGAIN_S = 0.001
QUANTILES = {"p50_ms": 0.50, "p90_ms": 0.90, "p99_ms": 0.99, "max_ms": 1.0}
METHOD = (
    "whole trades, one at a time, through `hands sim` on loopback, which answers at once and fills whole: what is measured is what Hands and"
    " the way to the exchange add to the venue's own time. Naked is every moment at which the exchange holds more for the"
    " account than its stops would close. entry: from the fill until a stop covers it; exit: at the target, from the"
    " stop's end until all is sold; a native bracket has neither. The market of what is traded moves by hand; under load"
    f" {len(LOAD_SYMBOLS)} other equities are streamed to the same engine"
)

Tell = Callable[[str], None]


class Size(NamedTuple):
    """Trades of each class that count."""

    trades: int


FULL = Size(trades=200)
QUICK = Size(trades=15)


@dataclass(frozen=True, slots=True)
class Way:
    """A symbol and its protection: the market in which a trade begins, and the one that ends it at its target."""

    name: str
    symbol: str
    stop: float
    target: float
    begin: tuple[float, float]
    end: tuple[float, float]


WAYS = (
    Way("native", "AAPL", 148, 155, (149.98, 150.00), (155.10, 155.12)),
    Way("engine_held", "SOL/USD", 145, 165, (149.95, 150.00), (165.10, 165.20)),
)
LOADS = ("idle", "loaded")


class Floor(NamedTuple):
    """The exchange's controls, the drop folder and the state directory of the daemon that trades there."""

    sim: Sim
    folder: Path
    state: Path


class Trade(NamedTuple):
    """Nanoseconds without a stop, on the way in and on the way out."""

    entry_ns: int
    exit_ns: int


def measure(room: Path, size: Size, tell: Tell) -> dict[str, Any]:
    """Return the `naked` object; `tell(what)` is told of every trade; `taken_per_s` is what the engine took of the load.

    Raises BenchError.
    """
    found: dict[str, Any] = {}
    taken_per_s = 0.0
    for load in LOADS:
        inner = room / load
        inner.mkdir()
        with _floor(inner, is_loaded=load == "loaded") as floor:
            began, rows = time.monotonic(), _rows_taken(floor.state)
            for way in WAYS:
                trades = [_trade(floor, way) for _ in _counted(size.trades, f"{way.name} {load}", tell)]
                found[f"{way.name}_{load}"] = result(trades)
            taken_per_s = (_rows_taken(floor.state) - rows) / (time.monotonic() - began)
    load_text = {"messages_per_s": MESSAGES_PER_S, "taken_per_s": round(taken_per_s), "frame_size": FRAME}
    return found | load_text | {"method": {"text": METHOD}}


def trades_planned(size: Size) -> int:
    """Return how many trades `measure` will tell of."""
    return size.trades * len(WAYS) * len(LOADS)


def result(trades: Sequence[Trade]) -> dict[str, float]:
    """Return the distribution of a trade's naked time in all, in milliseconds, and of its two parts."""
    parts = {
        "": [trade.entry_ns + trade.exit_ns for trade in trades],
        "entry_": [trade.entry_ns for trade in trades],
        "exit_": [trade.exit_ns for trade in trades],
    }
    found: dict[str, float] = {"n": len(trades)}
    for prefix, values in parts.items():
        ordered = sorted(values)
        for name, quantile in QUANTILES.items():
            found[prefix + name] = round(nearest_rank(ordered, quantile) / NS_PER_MS, 3)
    return found


def _rows_taken(state: Path) -> int:
    """Return how many rows of equities' market the engine has taken in."""
    return int(call(state, {"do": "status"})["status"]["streams"]["equity_data"]["rows"])


def _counted(count: int, what: str, tell: Tell) -> Iterator[int]:
    for number in range(count):
        yield number
        tell(what)


# --- one trade ---------------------------------------------------------------------------------------------


def _trade(floor: Floor, way: Way) -> Trade:
    """Buy, wait for the stop, let the market reach the target, wait for the end. Raises BenchError."""
    sim, folder = floor.sim, floor.folder
    before_ns = _naked_ns(sim, way.symbol)
    sim.quote(way.symbol, *way.begin)
    _wait_for_quote(floor.state, way)
    intent_id = _drop(folder, way)
    _wait(folder, intent_id, _is_covered)
    covered_ns = _naked_ns(sim, way.symbol)
    sim.market(
        {"symbol": way.symbol, "bid": way.end[0], "ask": way.end[1]},
        {"symbol": way.symbol, "price": way.end[0], "size": 100},
    )
    receipt = _wait(folder, intent_id, lambda receipt: receipt["state"] == "CLOSED")
    if receipt["exit"]["reason"] != "TP":
        raise BenchError(f"{way.symbol} ended by {receipt['exit']['reason']}, not at its target")
    return Trade(covered_ns - before_ns, _naked_ns(sim, way.symbol) - covered_ns)


def _wait_for_quote(state: Path, way: Way) -> None:
    """Return when the engine sees the market in which the trade begins. Raises BenchError."""
    deadline = time.monotonic() + DONE_WITHIN_S
    bid = None
    while time.monotonic() < deadline:
        bid = call(state, {"do": "quote", "symbols": [way.symbol]})["quotes"][0]["bid"]
        if bid is not None and float(bid) == way.begin[0]:
            return
        time.sleep(_LOOK_AGAIN_S)
    raise BenchError(f"{way.symbol}: the engine's bid is {bid}, not {way.begin[0]:g}")


def _naked_ns(sim: Sim, symbol: str) -> int:
    watch = sim.truth()["naked"].get(symbol)
    return 0 if watch is None else int(watch["naked_ns"])


def _drop(folder: Path, way: Way) -> str:
    intent_id = str(uuid.uuid4())
    document = {
        "intent_id": intent_id, "asset": way.symbol, "direction": "LONG", "trigger_price": way.begin[1],
        "take_profit": way.target, "stop_loss": way.stop, "confidence": 0.8, "strategy_ref": "naked",
        "timestamp": datetime.now(UTC).isoformat(), "ttl_seconds": 15,
    }  # fmt: skip
    part = folder / f".{intent_id}.tmp"
    part.write_text(json.dumps(document), "utf-8")
    os.rename(part, folder / f"{intent_id}.json")  # noqa: PTH104  (the watcher sees one rename)
    return intent_id


def _is_covered(receipt: dict[str, Any]) -> bool:
    position, protection = receipt["position"], receipt["protection"]
    return bool(
        receipt["state"] == "OPEN"
        and position
        and protection
        and float(protection["qty"]) >= float(position["qty"])
    )


def _wait(folder: Path, intent_id: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the first receipt for which `is_so`. Raises BenchError with the last one where none comes."""
    path = folder / "receipts" / f"{intent_id}.json"
    deadline = time.monotonic() + DONE_WITHIN_S
    receipt: dict[str, Any] = {}
    while time.monotonic() < deadline:
        try:
            receipt = json.loads(path.read_bytes())
        except FileNotFoundError:
            pass
        else:
            if is_so(receipt):
                return receipt
        time.sleep(_LOOK_AGAIN_S)
    told = {name: receipt.get(name) for name in ("state", "code", "message", "protection")}
    raise BenchError(f"a trade did not come to its end within {DONE_WITHIN_S:g} s: {told}")


# --- the processes -----------------------------------------------------------------------------------------


@contextmanager
def _floor(room: Path, *, is_loaded: bool) -> Iterator[Floor]:
    """Start an exchange and a daemon, and let it make a first trade of each kind. Raises BenchError."""
    market = ["--tape", "manual", "--fills", "instant"]
    if is_loaded:
        market = [
            "--tape",
            "load",
            "--fills",
            "instant",
            "--load-rate",
            str(MESSAGES_PER_S),
            "--load-frame",
            str(FRAME),
        ]
        market += ["--symbols", ",".join(LOAD_SYMBOLS)]
    limits = room / "risk_limits.toml"
    limits.write_text(_limits(), "utf-8")
    with running(["-m", "hands", "sim", "--listen", "127.0.0.1:0", *market], room / "simulator.log") as sim:
        controls = Sim(str(sim.ready["url"]))
        for way in WAYS:
            controls.quote(way.symbol, *way.begin)
        daemon = [
            "-m", "hands", "run", "--json", "--config", str(CONFIG / "hands.toml"), "--limits", str(limits),
            "--intents", str(room / "intents"), "--state", str(room / "state"), "--alpaca-url", controls.url,
        ]  # fmt: skip
        with running(daemon, room / "hands.log"):
            floor = Floor(controls, room / "intents", room / "state")
            for way in WAYS:
                _trade(floor, way)  # the first of each kind is not counted
            yield floor


def _limits() -> str:
    """Return the bench's limits with room for hundreds of like trades: counts, losses and repetitions; no check is off."""
    changes = {"max_daily_loss": "1", "max_drawdown": "1", "semantic_duplicate_s": "0"}
    symbols = ", ".join(json.dumps(symbol) for symbol in (*(way.symbol for way in WAYS), *LOAD_SYMBOLS))
    lines: list[str] = []
    is_listing = False
    for line in (CONFIG / "risk_limits.toml").read_text("utf-8").splitlines():
        name = line.partition("=")[0].strip()
        if is_listing:
            is_listing = not line.startswith("]")
        elif name == "allow":
            lines.append(f"allow = [{symbols}]")
            is_listing = "]" not in line
        else:
            lines.append(f"{name} = {changes[name]}" if name in changes else line)
    return "\n".join(lines) + "\n"
