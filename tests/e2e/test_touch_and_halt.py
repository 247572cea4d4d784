"""Waiting for a price, and stopping: touches, the HALT file, the operator."""

from __future__ import annotations

import json

import pytest

from tests.e2e.harness import Floor, until

pytestmark = pytest.mark.e2e

TOUCH = {"entry": "touch", "arm_seconds": 60}
BELOW = {"trigger_price": 149, "stop_loss": 147, "take_profit": 154}
ABOVE = {"trigger_price": 151, "stop_loss": 149, "take_profit": 156}


def test_a_touch_fires_from_below_and_from_above(floor: Floor) -> None:
    floor.open()
    above = floor.drop(**TOUCH, **ABOVE)
    below = floor.drop("SOL/USD", **TOUCH, trigger_price=149, stop_loss=144, take_profit=164)
    armed = floor.expect(above, "ARMED")
    floor.expect(below, "ARMED")
    assert (armed["verdict"], armed["order"]) == ("ACCEPTED", None)
    assert floor.status()["day"]["trades"] == 0, "arming took a trade"
    assert not floor.orders()

    floor.move("AAPL", 150.90, 150.92, print_at=150.92)
    floor.move("SOL/USD", 149.05, 149.10)
    floor.seen({"symbol": "SOL/USD", "bid": 149.05})
    assert not floor.orders(), "it fired before its price"

    floor.move("AAPL", 150.98, 151.00, print_at=151.00)
    receipt = floor.protected(above)
    assert receipt["order"]["limit_price"] == "151.15"
    floor.move("SOL/USD", 148.95, 149.00)  # coins fire on the far quote too
    floor.protected(below)
    assert len(floor.entries()) == 2


def test_a_touch_that_is_denied_when_it_fires_is_rejected_and_gone(floor: Floor) -> None:
    floor.open()
    intent_id = floor.drop(**TOUCH, **ABOVE)
    floor.expect(intent_id, "ARMED")
    floor.move("AAPL", 151.50, 151.60, print_at=151.50)  # through it: the ask is beyond the limit by then
    receipt = floor.expect(intent_id, "REJECTED")
    assert receipt["code"] == "SLIPPAGE"
    floor.move("AAPL", 150.98, 151.00, print_at=151.00)
    floor.seen({"symbol": "AAPL", "bid": 150.98})
    assert not floor.orders()


def test_a_touch_expires(floor: Floor) -> None:
    floor.open()
    intent_id = floor.drop(entry="touch", arm_seconds=0.5, **ABOVE)
    floor.expect(intent_id, "ARMED")
    floor.expect(intent_id, "EXPIRED")
    floor.move("AAPL", 150.98, 151.00, print_at=151.00)
    floor.seen({"symbol": "AAPL", "bid": 150.98})
    assert not floor.orders()


def test_sigterm_disarms(floor: Floor) -> None:
    floor.open()
    intent_id = floor.drop(**TOUCH, **ABOVE)
    floor.expect(intent_id, "ARMED")
    assert floor.stop() == 0
    floor.expect(intent_id, "CANCELED")
    floor.open()
    floor.move("AAPL", 150.98, 151.00, print_at=151.00)
    floor.seen({"symbol": "AAPL", "bid": 150.98})
    assert not floor.orders()


def test_a_halt_file_halts_disarms_and_latches_until_it_is_gone_and_the_operator_says_so(
    floor: Floor,
) -> None:
    floor.open()
    armed = floor.drop("SOL/USD", **TOUCH, trigger_price=149, stop_loss=144, take_profit=164)
    position = floor.drop()
    floor.expect(armed, "ARMED")
    floor.protected(position)
    floor.market({"symbol": "SPY", "bid": 599.97, "ask": 600.02, "ask_size": 0})
    floor.seen({"symbol": "SPY", "bid": 599.97})
    working = floor.drop("SPY")
    floor.expect(working, "WORKING", where=lambda r: r["stamps_ns"]["acked"])

    (floor.intents / "HALT").write_text("stop\n")
    until("HALTED", lambda: floor.status()["state"] == "HALTED")
    floor.expect(armed, "CANCELED")
    floor.expect(working, "CANCELED")
    assert floor.stops("AAPL") == 66, "a halt must leave the protection"
    denied = floor.expect(floor.drop("BTC/USD"), "REJECTED", code="HALTED")
    assert denied["retry"] == "after"

    refused = floor.hands("resume", "--json")
    assert refused.returncode == 1, refused
    assert [b["code"] for b in json.loads(refused.stdout)["blocking"]] == ["HALT_FILE"]
    (floor.intents / "HALT").unlink()
    assert floor.status()["state"] == "HALTED", "removing the file must not resume"

    floor.kill()
    floor.open()
    assert floor.status()["state"] == "HALTED", "a halt must survive a restart"
    floor.expect(floor.drop("BTC/USD"), "REJECTED", code="HALTED")
    assert floor.hands("resume").returncode == 0
    assert floor.status()["state"] == "ACTIVE"
    floor.move("AAPL", 155.10, 155.12, print_at=155.10)
    assert floor.expect(position, "CLOSED")["exit"]["reason"] == "TP"


def test_the_operator_halts_and_resumes_by_the_command_line(floor: Floor) -> None:
    floor.open()
    assert floor.hands("halt", "--reason", "lunch").returncode == 0
    assert floor.hands("status", "--json").returncode == 1
    floor.expect(floor.drop(), "REJECTED", code="HALTED", where=lambda r: "lunch" in r["message"])
    assert floor.hands("resume").returncode == 0
    floor.protected(floor.drop())
