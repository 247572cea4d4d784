"""The watchdog as a process beside a real engine and a real exchange: the engine is stopped, killed, and comes back."""

from __future__ import annotations

import json
import signal
import time
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.harness import HANDS, Floor, Process, frozen, until

pytestmark = pytest.mark.e2e

REFUSAL = {"status": 403, "body": {"code": 40310000, "message": "not now"}}


def watchdog(floor: Floor, *more: str) -> Process:
    files = ("--config", str(floor.config), "--limits", str(floor.limits), "--state", str(floor.state))
    return floor.start("watchdog", (*HANDS, "watchdog", "--json", "--alpaca-url", floor.url, *files, *more))


def told(dog: Process) -> list[dict[str, Any]]:
    lines = dog.log.with_suffix(".out").read_text().splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def events(dog: Process) -> list[str]:
    return [str(event["event"]) for event in told(dog)]


def lose_stop(floor: Floor, symbol: str) -> None:
    """The stop is cancelled at the venue, over the engine's head."""
    for order in floor.orders(symbol=symbol):
        if order["stop_price"] is not None:
            floor.request("DELETE", f"/v2/orders/{order['id']}")
    assert floor.stops(symbol) == 0


def test_an_engine_is_stopped_and_comes_back_and_is_killed_and_starts_again(floor: Floor) -> None:
    """One engine and one watchdog through it all, since it is their starts that cost: the watchdog is there first."""
    floor.setting(late_ms=500)
    floor.limit(unprotected_max_ms=1000)
    idle, dog = watchdog(floor, "--once"), watchdog(floor)
    assert idle.popen.wait(20) == 0
    assert events(idle) == ["ready", "idle"]  # nothing was ever started there
    until("the one that stays has looked too", lambda: "idle" in events(dog))
    floor.open()
    second = watchdog(floor)
    until("the engine is seen", lambda: "alive" in events(dog))
    assert events(dog)[:2] == ["ready", "idle"]
    coins, shares = floor.drop("SOL/USD"), floor.drop("AAPL")
    floor.protected(coins)
    floor.protected(shares)
    until("the watchdog shows", lambda: floor.status()["watchdog"]["state"] == "alive")
    assert second.popen.wait(20) == 3
    assert "already looks after" in second.said
    _stopped_with_naked_coins(floor, dog, coins)
    quote = {"symbol": "SPY", "bid": 599.97, "ask": 600.02, "ask_size": 0}
    floor.market(quote)
    floor.seen(quote)
    _killed_with_an_entry_and_naked_shares(floor, dog, shares)


def _stopped_with_naked_coins(floor: Floor, dog: Process, coins: str) -> None:
    """The engine stands still, its stop is gone, and the venue refuses another: flat, and booked when it is back."""
    assert floor.daemon is not None
    others = len(floor.orders(symbol="AAPL"))
    with frozen(floor.daemon):
        began = time.monotonic()
        floor.faults({"on": "POST /v2/orders", "do": "status", "times": 1} | REFUSAL)
        lose_stop(floor, "SOL/USD")
        until("flat", lambda: floor.held("SOL/USD") == 0)
        assert time.monotonic() - began < 5
        sent = len(floor.orders(symbol="SOL/USD"))
    receipt = floor.expect(coins, "CLOSED")
    assert receipt["exit"]["reason"] == "LIQUIDATED"
    until("the watchdog stood down", lambda: "stands_down" in events(dog))
    words = [word for word in events(dog) if word in ("silent", "fence", "protect", "refused", "flatten")]
    # A slow machine's engine may have been silent for a moment before: that alone is no reason to act.
    assert [word for word in words if word != "silent"] == ["fence", "protect", "refused", "flatten"]
    assert words[words.index("fence") - 1] == "silent"
    episode = floor.episode(coins)
    assert Decimal(str(episode["actual_pnl"])).quantize(Decimal("0.01")) == _cash_change(floor)
    until("it is ready again", lambda: floor.status()["ready"])
    assert len(floor.orders(symbol="SOL/USD")) == sent
    assert len(floor.orders(symbol="AAPL")) == others


def _killed_with_an_entry_and_naked_shares(floor: Floor, dog: Process, shares: str) -> None:
    """Entry and stop are what the dead engine left: the one ends at its deadline, the other is placed again, once."""
    entry = floor.drop("SPY", ttl_seconds=5)
    floor.expect(entry, "WORKING", where=lambda r: r["stamps_ns"]["acked"])
    until("the sheet names it", lambda: entry in (floor.state / "guard.json").read_text())
    floor.kill()
    lose_stop(floor, "AAPL")
    until("the stop is back", lambda: floor.stops("AAPL") == floor.held("AAPL") > 0)
    (again,) = [o for o in floor.orders(symbol="AAPL") if o["client_order_id"].endswith("-tp-1")]
    assert again["order_class"] == "oco"
    until("the entry is cancelled", lambda: floor.entries("SPY")[0]["status"] == "canceled")
    assert dog.end(signal.SIGTERM) == 0
    once = watchdog(floor, "--once")
    sent = len(floor.orders(symbol="AAPL"))
    assert once.popen.wait(20) == 0  # all is well: the one before it had done what there was to do
    assert not {"protect", "flatten", "fence"} & {*events(once)}
    floor.launch().ready()
    floor.protected(shares)
    floor.expect(entry, "EXPIRED")
    until("its absence shows", lambda: floor.status()["watchdog"]["state"] == "late")
    floor.move("AAPL", 155.10, 155.12, print_at=155.10)
    assert floor.expect(shares, "CLOSED")["exit"]["reason"] == "TP"
    assert len(floor.orders(symbol="AAPL")) == sent


def _cash_change(floor: Floor) -> Decimal:
    """Return what the exchange's fills of coins came to, fees in dollars included, to the cent."""
    total = Decimal()
    for fill in floor.truth()["fills"]:
        if fill["symbol"] == "SOL/USD":
            amount = Decimal(fill["qty"]) * Decimal(fill["price"])
            total += amount if fill["side"] == "sell" else -amount
            total -= Decimal(fill["fee"]) if fill["fee_asset"] == "USD" else 0
    return total.quantize(Decimal("0.01"))
