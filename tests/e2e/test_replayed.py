"""A session of the daemon's, replayed from its state directory: the same verdicts, orders, fills and results."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from hands.replay import replay
from tests.e2e.harness import MARKET, Floor, until
from tests.rig.story import story

pytestmark = pytest.mark.e2e

FEW_SPY = {"symbol": "SPY", "bid": 599.97, "ask": 600.02, "bid_size": 500, "ask_size": 5}
NOBODY_SELLS = {"symbol": "SPY", "bid": 599.96, "ask": 600.02, "bid_size": 500, "ask_size": 0}


def _change(floor: Floor, kind: str, target: str, **more: object) -> str:
    """Drop a document about an intent."""
    wanted = dict.fromkeys(
        (
            "asset",
            "direction",
            "confidence",
            "strategy_ref",
            "trigger_price",
            "stop_loss",
            "take_profit",
            "ttl_seconds",
        )
    )
    return floor.drop(**(wanted | {"kind": kind, "target_id": target, **more}))


def _first_life(floor: Floor) -> None:
    """A target and a touch, two coins, a part of an entry, a part of an exit, refusals, a cancel, the operator's hand."""
    shares, coins = floor.drop("AAPL"), floor.drop("SOL/USD")
    floor.protected(shares)
    floor.protected(coins)
    floor.expect(floor.drop("BTC/USD", confidence=0.1), "REJECTED", code="CONFIDENCE_TOO_LOW")
    floor.expect(floor.drop("AAPL", take_profit=156), "REJECTED", code="SYMBOL_BUSY")
    floor.move("AAPL", 155.10, 155.12, print_at=155.10)
    floor.move("SOL/USD", 165.40, 165.46)
    assert floor.expect(shares, "CLOSED")["exit"]["reason"] == "TP"
    assert floor.expect(coins, "CLOSED")["exit"]["reason"] == "TP"

    floor.republish()
    touch = floor.drop("BTC/USD", entry="touch", trigger_price=99_500, stop_loss=97_000, arm_seconds=600)
    floor.expect(touch, "ARMED")
    floor.market(FEW_SPY)
    floor.seen(FEW_SPY)
    part = floor.drop("SPY")
    coins, shares = floor.drop("SOL/USD"), floor.drop("AAPL")
    floor.protected(coins)
    floor.protected(shares)
    _change(floor, "close", shares, qty=20)
    floor.expect(shares, "OPEN", where=lambda r: r["position"]["qty"] == "46" and r["protection"])
    floor.market({"symbol": "BTC/USD", "bid": 99_470, "ask": 99_490, "bid_size": 5, "ask_size": 5})
    floor.protected(touch)
    assert floor.protected(part)["position"]["qty"] == "5"
    floor.move("SOL/USD", 144.90, 144.98)
    assert floor.expect(coins, "CLOSED")["exit"]["reason"] == "SL"
    _change(floor, "close", shares)
    assert floor.expect(shares, "CLOSED")["exit"]["reason"] == "MANUAL"
    floor.move("SPY", 589.90, 589.94, print_at=589.90)
    assert floor.expect(part, "CLOSED")["exit"]["reason"] == "SL"

    floor.market(NOBODY_SELLS)
    floor.seen(NOBODY_SELLS)
    working = floor.drop("SPY", ttl_seconds=15)
    floor.expect(working, "WORKING", where=lambda r: r["stamps_ns"]["acked"])
    _change(floor, "cancel", working)
    floor.expect(working, "CANCELED")
    floor.ask(do="flatten", reason="enough")
    assert floor.expect(touch, "CLOSED")["exit"]["reason"] == "HALT"
    assert floor.expect(floor.drop("AAPL"))["code"] == "HALTED"


def test_a_replay_of_a_recorded_session_tells_its_story(floor: Floor) -> None:
    floor.limit(max_daily_trades=20, max_concurrent=10, max_gross_exposure=2.0, semantic_duplicate_s=0)
    floor.open()
    _first_life(floor)
    floor.ask(do="resume")
    floor.republish()
    shares = floor.drop("AAPL")
    floor.protected(shares)
    floor.kill()
    floor.open()
    floor.move("AAPL", 147.90, 147.94, print_at=147.90)
    assert floor.expect(shares, "CLOSED")["exit"]["reason"] == "SL"
    until("its episode", lambda: floor.episode(shares))
    assert floor.stop() == 0

    found = replay(floor.state, floor.state)
    assert found.latency_from == "record"
    assert 0 < found.latency_ms < 100
    assert found.session == "always"
    with closing(sqlite3.connect(f"{(floor.state / 'hands.db').as_uri()}?mode=ro", uri=True)) as ledger:
        live = story(ledger)
    again = story(found.ledger)
    for name, rows in live.items():
        assert again[name] == rows, name
    assert len(live["trades"]) == 7
    assert len(live["fills"]) >= 15
