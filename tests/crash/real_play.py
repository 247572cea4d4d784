"""One cell: a trade from its document to its end, a real death at one step of it, a restart, and the verdict.

Owns the scenarios and the order of things in a cell. May not know how a daemon is made to die (`real_desk`) nor what is
right (`real_judge`). The one idea: every cell plays the same whole trade, in and out; a scenario only says when the
kill and the fault are set up: before the document is dropped, or before the market ends the trade.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from hands.runtime.control import NoDaemon, call
from tests.crash.real_desk import Desk, events
from tests.crash.real_judge import LIVE, Books, Story
from tests.e2e.harness import OVER, Process, stamp, until

BOUND_MS = 2000
"""`unprotected_max_ms` as shipped: longer than this a living engine may leave nothing naked."""

SETTLES_WITHIN_S = 20.0
TTL_S = 10
FAULTY_TTL_S = 4

Quote = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Market:
    """The prices of one symbol's trade: where it begins, where its target and its stop are hit."""

    symbol: str
    begin: tuple[float, float]
    target: tuple[float, float]
    stop: tuple[float, float]
    high: tuple[float, float]
    partial: float
    trail: float
    """`high`: so far the price goes for a stop that trails by `trail`. `partial`: so much is offered where an entry is to
    fill in part only."""


MARKETS = {
    "equity": Market(
        "AAPL", (149.98, 150.00), (155.10, 155.12), (147.90, 147.92), (152.98, 153.00), 20, 0.02
    ),
    "crypto": Market(
        "SOL/USD", (149.95, 150.00), (165.10, 165.20), (144.90, 144.98), (155.95, 156.00), 20, 0.04
    ),
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """`arms_before`: "entry" or "exit"; `ends`: a place of the market that ends the trade, or "time", "close", "flatten".

    `trails`: the stop follows the market up before the end.
    """

    arms_before: str
    ends: str
    is_partial: bool = False
    trails: bool = False

    @property
    def reason(self) -> str:
        return REASONS[self.ends]


SCENARIOS = {
    "entry": Scenario("entry", "target"),
    "partial": Scenario("entry", "target", is_partial=True),
    "target": Scenario("exit", "target"),
    "stop": Scenario("exit", "stop"),
    "time": Scenario("exit", "time"),
    "trail": Scenario("exit", "stop", trails=True),
    "close": Scenario("exit", "close"),
    "flatten": Scenario("exit", "flatten"),
}
REASONS = {"target": "TP", "stop": "SL", "time": "TIME", "close": "MANUAL", "flatten": "HALT"}

_ORDERS, _CANCELS, _CHANGES = "POST /v2/orders", "DELETE /v2/orders/*", "PATCH /v2/orders/*"
WATCHDOG = "watchdog"
NAKED_WATCHED_MS = 5000
"""Longer than this nothing may be naked while the engine is dead and a watchdog is not."""
FAULTS: dict[str, tuple[dict[str, Any], ...]] = {
    "none": (),
    "drop_request": ({"on": _ORDERS, "do": "drop_request"},),
    "drop_response": ({"on": _ORDERS, "do": "drop_response"},),
    "late": ({"on": _ORDERS, "do": "delay", "delay_ms": 1500, "at": "request"},),
    "duplicate": ({"on": "trade_updates", "do": "duplicate", "times": 20},),
    "delay": ({"on": "trade_updates", "do": "delay", "delay_ms": 300, "times": 4},),
    "drop_cancel": ({"on": _CANCELS, "do": "drop_request"},),
    "lose_cancel": ({"on": _CANCELS, "do": "drop_response"},),
    "drop_change": ({"on": _CHANGES, "do": "drop_request"},),
    "lose_change": ({"on": _CHANGES, "do": "drop_response"},),
    WATCHDOG: (),
    "drop_second": ({"on": _ORDERS, "do": "delay", "delay_ms": 1}, {"on": _ORDERS, "do": "drop_request"}),
    "lose_second": ({"on": _ORDERS, "do": "delay", "delay_ms": 1}, {"on": _ORDERS, "do": "drop_response"}),
}
"""What the venue does meanwhile. late: an order arrives when its sender is long dead; second: what protects the coins.
watchdog: nothing goes wrong, but a watchdog runs, and the next life begins only when it has done its work."""


@dataclass(frozen=True, slots=True)
class Cell:
    """`again`: a step at which the life that recovers dies too."""

    asset: str
    scenario: str
    step: str
    fault: str = "none"
    again: str = ""

    @property
    def name(self) -> str:
        more = f" then {self.again}" if self.again else ""
        return f"{self.asset} {self.scenario} | {self.step}{more} | {self.fault}"


@dataclass(slots=True)
class Verdict:
    """What became of a cell; times in milliseconds. `down_ms`: from the death to the recovered daemon's ready line."""

    cell: Cell
    complaints: list[str] = field(default_factory=list)
    state: str = ""
    naked_alive_ms: float = 0.0
    naked_down_ms: float = 0.0
    down_ms: float = 0.0
    took_s: float = 0.0

    @property
    def is_ok(self) -> bool:
        return not self.complaints


class Play:
    """Plays one cell at a desk whose daemon is alive and flat; leaves it alive and flat."""

    def __init__(self, desk: Desk, cell: Cell) -> None:
        self.desk = desk
        self.cell = cell
        self.scenario = SCENARIOS[cell.scenario]
        self.market = MARKETS[cell.asset]
        self.verdict = Verdict(cell)
        self._quote = self._at("begin")
        self._document = b""
        self._intent_id = ""
        self._dog: Process | None = None
        self._change_id = ""
        self._stop = ""
        self._armed = False
        self._has_begun_to_end = False

    def run(self) -> Verdict:
        """Play the cell and judge it."""
        began = time.monotonic()
        naked_before = self.desk.naked_ms(self.market.symbol)
        try:
            with self._watched():
                self._play()
                self._judge()
        except AssertionError as error:
            self.verdict.complaints.append(str(error).splitlines()[0][:600])
        naked_ms = self.desk.naked_ms(self.market.symbol) - naked_before
        self.verdict.naked_alive_ms = naked_ms - self.verdict.naked_down_ms
        if self.verdict.naked_alive_ms > BOUND_MS and self.verdict.is_ok:  # else nobody knows who lived when
            self.verdict.complaints.append(
                f"naked for {self.verdict.naked_alive_ms:.0f} ms with a living engine"
            )
        self.verdict.took_s = time.monotonic() - began
        return self.verdict

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Have a watchdog beside the daemon, where the cell says so."""
        if self.cell.fault != WATCHDOG:
            yield
            return
        self._dog = self.desk.start_watchdog()
        try:
            yield
        finally:
            self._dog.end()

    def _await_watchdog(self) -> None:
        """Wait until the watchdog has missed the engine, and has left nothing that could hurt."""
        dog, symbol = self._dog, self.market.symbol
        assert dog is not None

        def is_done() -> bool:
            truth = self.desk.truth()
            watch = truth["naked"].get(symbol)
            entries = [
                o for o in truth["orders"] if o["client_order_id"] == f"hands-{self._intent_id}-entry-1"
            ]
            works = any(o["status"] in LIVE for o in entries) and self.cell.asset == "crypto"
            return (
                "silent" in events(dog) and not works and (watch is None or watch["naked_since_ns"] is None)
            )

        until("the watchdog has done its work", is_done, SETTLES_WITHIN_S)

    # --- the trade -----------------------------------------------------------------------------------------

    def _play(self) -> None:
        desk, scenario = self.desk, self.scenario
        if scenario.is_partial:
            self._quote = self._at("begin", size=self.market.partial)
        self._publish()
        desk.seen(self._quote)
        if scenario.arms_before == "entry":
            self._arm()
        self._drop()
        self._wait(self._is_in)
        if self._is_over():
            return
        if scenario.arms_before == "exit":
            self._arm()
        if scenario.trails:
            self._stop = self._receipt()["protection"]["stop"]
            self._quote = self._at("high")
            self._publish(is_print=True)
            self._wait(self._has_trailed)
        self._has_begun_to_end = True
        self._end()
        self._wait(self._is_over)

    def _end(self) -> None:
        """Do what ends the trade, once more after a death: a document lies there still, an order to flatten does not."""
        match self.scenario.ends:
            case "time":
                self._publish()
            case "close":
                self._publish()
                self._close()
            case "flatten":
                self._publish()
                with suppress(NoDaemon, OSError, ValueError):
                    call(
                        self.desk.state,
                        {"do": "flatten", "symbol": self.market.symbol, "reason": "the matrix"},
                    )
            case place:
                self._quote = self._at(place)
                self._publish(is_print=True)

    def _close(self) -> None:
        if self._change_id:
            return
        self._change_id = str(uuid.uuid4())
        change = {
            "kind": "close",
            "intent_id": self._change_id,
            "target_id": self._intent_id,
            "timestamp": stamp(),
        }
        self.desk.drop_bytes(json.dumps(change).encode(), f"{self._change_id}.json")

    def _drop(self) -> None:
        changes: dict[str, Any] = {"ttl_seconds": FAULTY_TTL_S if "drop" in self.cell.fault else TTL_S}
        if self.scenario.ends == "time":
            changes["max_hold_seconds"] = 2
        if self.scenario.trails:
            changes["trailing_stop_pct"] = self.market.trail
        document = self.desk.document(self.market.symbol, **changes)
        self._intent_id = document["intent_id"]
        self._document = json.dumps(document).encode()
        self.desk.drop_bytes(self._document, f"{self._intent_id}.json")

    def _at(self, place: str, size: float = 500) -> Quote:
        bid, ask = getattr(self.market, place)
        return {"symbol": self.market.symbol, "bid": bid, "ask": ask, "bid_size": 500, "ask_size": size}

    def _publish(self, *, is_print: bool = False) -> None:
        rows = [self._quote]
        if is_print:
            rows.append({"symbol": self.market.symbol, "price": self._quote["bid"], "size": 100})
        self.desk.market(*rows)

    def _receipt(self) -> dict[str, Any]:
        return self.desk.receipt(self._intent_id) or {"state": "", "protection": None, "position": None}

    def _is_over(self) -> bool:
        return self._receipt()["state"] in OVER

    def _has_trailed(self) -> bool:
        protection = self._receipt()["protection"]
        return bool(protection and float(protection["stop"]) > float(self._stop)) or self._is_over()

    def _is_in(self) -> bool:
        receipt = self._receipt()
        if receipt["state"] in OVER:
            return True
        protection = receipt["protection"]
        return receipt["state"] == "OPEN" and protection and protection["qty"] == receipt["position"]["qty"]

    # --- death ---------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        self.desk.faults(*FAULTS[self.cell.fault])
        self.desk.arm(self.cell.step)
        self._armed = True

    def _wait(self, is_there: Any) -> None:
        """Wait for something that the engine does, through its death where that is what comes."""

        def look() -> bool:
            return bool(is_there()) or (self._armed and self.desk.is_dead)

        until(f"{self.cell.scenario}: {is_there.__name__}", look, SETTLES_WITHIN_S)
        if not self._armed:
            return
        if not self.desk.is_dead:
            self._give_it_time_to_die()
        self._recover()
        until(f"{self.cell.scenario}: {is_there.__name__} after the restart", is_there, SETTLES_WITHIN_S)

    def _give_it_time_to_die(self) -> None:
        """A step behind the one that is waited for: what people read comes last."""
        if self.scenario.arms_before == "exit" or not self._is_over():
            until(f"it dies at {self.cell.step}", lambda: self.desk.is_dead, 10.0)

    def _recover(self) -> None:
        desk, symbol = self.desk, self.market.symbol
        died = time.monotonic()
        naked_at_death = desk.naked_ms(symbol)
        self._armed = False
        desk.bury(self.cell.step)
        if self._dog is not None:
            self._await_watchdog()
            watched_ms = desk.naked_ms(symbol) - naked_at_death
            if watched_ms > NAKED_WATCHED_MS:
                self.verdict.complaints.append(f"naked for {watched_ms:.0f} ms beside a watchdog")
        if self.cell.again:
            desk.die_again(self.cell.again)
        desk.start_life()
        self.verdict.down_ms = (time.monotonic() - died) * 1000
        self.verdict.naked_down_ms = desk.naked_ms(symbol) - naked_at_death
        if self._has_begun_to_end:
            self._end()
        else:
            self._publish()

    # --- the verdict ---------------------------------------------------------------------------------------

    def _change_complaints(self) -> list[str]:
        """Return what is wrong with the document that closed the trade: it was carried out, told of once, filed once."""
        if not self._change_id:
            return []
        receipt = self.desk.receipt(self._change_id)
        filed = [path.name for path in (self.desk.intents / "archive").glob(f"*/{self._change_id}*")]
        told = "not answered" if receipt is None else f"{receipt['state']} {receipt['code']}"
        complaints = [] if told.startswith("DONE") else [f"the document that closes was {told}"]
        if filed != [f"{self._change_id}.json"]:
            complaints.append(f"the document that closes was archived as {filed}")
        return complaints

    def _judge(self) -> None:
        desk = self.desk
        desk.request("DELETE", "/sim/v1/faults")
        reason = None if self._dog is not None else self.scenario.reason
        deadline = time.monotonic() + 3.0
        while True:  # papers and the ledger come behind the engine
            story = Story(desk.intents, desk.state, Books(desk.truth()), self._intent_id, self._document)
            complaints = [*story.complaints(reason), *self._change_complaints()]
            if not complaints or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        self.verdict.complaints += complaints
        receipt = story.receipt()
        self.verdict.state = receipt["state"] if receipt else "?"
        if self.scenario.ends == "flatten":
            desk.ask(do="resume")
        status = desk.status()
        if status["state"] != "ACTIVE" or status["day"]["live"]:
            self.verdict.complaints.append(
                f"the engine says {status['state']} {status['reasons']}, {status['day']['live']} live"
            )
