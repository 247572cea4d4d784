"""Engine and watchdog stopped, killed and woken at random around each other, against the real exchange (`HANDS_SOAK=1`).

The one idea: whatever happened in a round, at its end every position stands under stops for exactly what is held, nothing
was sold that had not been bought, no id was used twice, and what the owner has is as it was. `HANDS_SOAK_SEED` plays a
round of games again.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.harness import MARKET, Floor, until
from tests.watchdog.test_processes import told, watchdog

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not os.environ.get("HANDS_SOAK"), reason="takes minutes: HANDS_SOAK=1"),
]

ROUNDS = 24
SYMBOLS = ("SOL/USD", "AAPL")
ACTS = ("cancel", "fence", "protect", "flatten")
LOT = Decimal("0.01")


class Storm:
    """A floor, its watchdog, and the chance that plays with both."""

    def __init__(self, floor: Floor, seed: int) -> None:
        self.floor = floor
        self.rnd = random.Random(seed)
        self.dog = watchdog(floor)

    def round(self) -> list[str]:
        """Play one game; return what was done, for the report of a failure."""
        floor, rnd = self.floor, self.rnd
        floor.market(*MARKET)
        symbols = rnd.sample(SYMBOLS, rnd.choice((1, 2)))
        done = [f"{symbol} {self._enter(symbol)}" for symbol in symbols]
        time.sleep(
            rnd.choice((0.003, 0.02, 0.1, 0.3, 0.6))
        )  # the stage at which it strikes is what is played with
        if rnd.random() < 0.5:  # stops that trail are on their way
            for symbol in symbols:
                floor.move(symbol, 153.0, 153.05, print_at=153.0)
        assert floor.daemon is not None
        end = rnd.choice(("stop", "stop", "stop", "kill", "kill and start"))
        if end == "stop":
            floor.daemon.popen.send_signal(signal.SIGSTOP)
        else:
            floor.kill()
        done += [end, *(self._strike(symbol) for symbol in symbols), self._spoil_sheet()]
        if rnd.random() < 0.2:
            self.dog.end(signal.SIGKILL)
            self.dog = watchdog(floor)
        if end == "kill and start":
            floor.launch()
        asleep = self._pass(rnd.choice((0.3, 0.7, 1.35, 2.2, 3.0)), may_stop=rnd.random() < 0.6)
        wakes = [lambda: self.dog.popen.send_signal(signal.SIGCONT)] if asleep else []
        if end == "stop":
            engine = floor.daemon
            wakes.append(lambda: engine.popen.send_signal(signal.SIGCONT))
        elif end == "kill":
            wakes.append(lambda: (floor.launch(), None)[1])
        rnd.shuffle(wakes)
        for wake in wakes:
            wake()
            time.sleep(rnd.choice((0, 0.02, 0.2)))
        return done

    def _enter(self, symbol: str) -> str:
        size = self.rnd.choice((0, 3, 20, 500, 500, 500))
        if size < 500:
            self.floor.market(
                {"symbol": symbol, "bid": 149.95, "ask": 150.0, "bid_size": 500, "ask_size": size}
            )
        trail = self.rnd.choice((None, 0.01, 0.02))
        self.floor.drop(symbol, trailing_stop_pct=trail)
        return f"{size} offered, trailing {trail}"

    def _strike(self, symbol: str) -> str:
        """Something happens at the venue while nobody looks."""
        what = self.rnd.choice(("nothing", "lost", "lost", "lost and refused", "through", "target"))
        if what == "through":
            self.floor.move(symbol, 144.0, 144.1, print_at=144.0)
        elif what == "target":
            self.floor.move(symbol, 166.0, 166.1, print_at=166.0)
        elif what != "nothing":
            if what == "lost and refused":
                body = {"code": 40310000, "message": "not now"}
                times, status = self.rnd.choice((1, 2)), self.rnd.choice((403, 429, 500))
                self.floor.faults(
                    {"on": "POST /v2/orders", "do": "status", "times": times, "status": status, "body": body}
                )
            for order in self.floor.orders(symbol=symbol):
                if order["stop_price"] is not None:
                    self.floor.request("DELETE", f"/v2/orders/{order['id']}")
        return what

    def _spoil_sheet(self) -> str:
        sheet, how = (
            self.floor.state / "guard.json",
            self.rnd.choice(("whole", "whole", "gone", "cut", "a lie")),
        )
        if how == "whole" or not sheet.exists():
            return "whole"
        data = sheet.read_bytes()
        if not data.endswith(b"}"):
            return "cut before"
        if how == "gone":
            sheet.unlink()
        elif how == "cut":
            sheet.write_bytes(data[:-30])
        else:
            document: dict[str, Any] = json.loads(data)
            for trade in document["trades"]:
                trade["lot"] = 0
            sheet.write_text(json.dumps(document))
        return how

    def _pass(self, seconds: float, *, may_stop: bool) -> bool:
        """Let time pass; True if the watchdog was stopped right after it began to act."""
        before, end = len(told(self.dog)), time.monotonic() + seconds
        while time.monotonic() < end:
            if may_stop and any(event["event"] in ACTS for event in told(self.dog)[before:]):
                time.sleep(self.rnd.choice((0, 0.05, 0.16)))
                self.dog.popen.send_signal(signal.SIGSTOP)
                return True
            time.sleep(0.002)
        return False

    def is_settled(self) -> bool:
        """Whether exactly what is held stands under stops."""
        for symbol in SYMBOLS:
            held = self.floor.held(symbol)
            if held < 0 or (held > LOT and abs(self.floor.stops(symbol) - held) > LOT / 1000):
                return False
        return True

    def close(self) -> None:
        """Let every target be reached, for the next round."""
        until("it is ready", lambda: self.floor.is_answering() and self.floor.status()["ready"], 40)
        for symbol in SYMBOLS:
            self.floor.move(symbol, 170.0, 170.1, print_at=170.0)
        until("all is sold", lambda: all(self.floor.held(symbol) <= LOT for symbol in SYMBOLS), 30)


def test_whatever_is_stopped_or_killed_when_nothing_stays_bare_and_nothing_is_sold_twice(
    floor: Floor,
) -> None:
    seed = int(os.environ.get("HANDS_SOAK_SEED", "1"))
    floor.setting(late_ms=500)
    floor.limit(unprotected_max_ms=1000, max_daily_trades=900, semantic_duplicate_s=0, max_daily_loss=0.9)
    floor.limit(max_drawdown=0.9)
    floor.open()
    buy = {"symbol": "BTC/USD", "qty": "0.05", "side": "buy", "type": "market", "time_in_force": "gtc"}
    assert floor.request("POST", "/v2/orders", buy)[0] == 200
    owners = until("the owner's coins", lambda: floor.held("BTC/USD"))
    sale = buy | {"qty": "0.01", "side": "sell", "type": "limit", "limit_price": "150000"}
    order = floor.request("POST", "/v2/orders", sale)[1]["id"]
    storm = Storm(floor, seed)
    for number in range(ROUNDS):
        done = storm.round()
        what = f"seed {seed}, round {number}: {done}"
        until(what, storm.is_settled, 30)
        _check_what_was_sent(floor, what)
        storm.close()
    assert floor.held("BTC/USD") == owners
    assert floor.request("GET", f"/v2/orders/{order}")[1]["status"] == "new"


def _check_what_was_sent(floor: Floor, what: str) -> None:
    truth = floor.truth()
    names = [order["client_order_id"] for order in truth["orders"]]
    assert len(names) == len(set(names)), what
    for symbol in SYMBOLS:
        fills = [fill for fill in truth["fills"] if fill["symbol"] == symbol]
        bought, sold = (
            sum((Decimal(fill["qty"]) for fill in fills if fill["side"] == side), Decimal())
            for side in ("buy", "sell")
        )
        assert sold <= bought, what
