"""A session of the daemon's, replayed from its state directory: the same verdicts, orders, fills and results."""

from __future__ import annotations

from contextlib import closing

import pytest

from hands.journal.reader import open_ledger
from hands.replay import replay
from hands.replay.outcome import NANO
from tests.e2e.harness import Floor
from tests.e2e.test_changes import change
from tests.rig.story import story

pytestmark = pytest.mark.e2e

FEW_SPY = {"symbol": "SPY", "bid": 599.97, "ask": 600.02, "bid_size": 500, "ask_size": 5}
NOBODY_SELLS = {"symbol": "SPY", "bid": 599.96, "ask": 600.02, "bid_size": 500, "ask_size": 0}


def _first_life(floor: Floor) -> None:
    """A target and a touch, two coins, a part of an entry, a part of an exit, refusals, a cancel, the operator's hand."""
    shares = floor.drop("AAPL")
    floor.protected(shares)
    coins = floor.drop("SOL/USD")
    floor.protected(coins)
    floor.expect(floor.drop("BTC/USD", confidence=0.1), "REJECTED", code="CONFIDENCE_TOO_LOW")
    floor.expect(floor.drop("AAPL", take_profit=156), "REJECTED", code="SYMBOL_BUSY")
    floor.move("AAPL", 155.10, 155.12, print_at=155.10)
    assert floor.expect(shares, "CLOSED")["exit"]["reason"] == "TP"
    floor.move("SOL/USD", 165.40, 165.46)
    assert floor.expect(coins, "CLOSED")["exit"]["reason"] == "TP"

    floor.republish()
    touch = floor.drop("BTC/USD", entry="touch", trigger_price=99_500, stop_loss=97_000, arm_seconds=600)
    floor.expect(touch, "ARMED")
    floor.market(FEW_SPY)
    floor.seen(FEW_SPY)
    part = floor.drop("SPY")
    floor.expect(part, "OPEN")
    coins = floor.drop("SOL/USD")
    floor.protected(coins)
    shares = floor.drop("AAPL")
    floor.protected(shares)
    change(floor, "close", shares, qty=20)
    floor.expect(shares, "OPEN", where=lambda r: r["position"]["qty"] == "46" and r["protection"])
    floor.market({"symbol": "BTC/USD", "bid": 99_470, "ask": 99_490, "bid_size": 5, "ask_size": 5})
    floor.protected(touch)
    assert floor.protected(part)["position"]["qty"] == "5"
    floor.move("SOL/USD", 144.90, 144.98)
    assert floor.expect(coins, "CLOSED")["exit"]["reason"] == "SL"
    change(floor, "close", shares)
    assert floor.expect(shares, "CLOSED")["exit"]["reason"] == "MANUAL"
    floor.move("SPY", 589.90, 589.94, print_at=589.90)
    assert floor.expect(part, "CLOSED")["exit"]["reason"] == "SL"

    floor.market(NOBODY_SELLS)
    floor.seen(NOBODY_SELLS)
    working = floor.drop("SPY", ttl_seconds=15)
    floor.expect(working, "WORKING", where=lambda r: r["stamps_ns"]["acked"])
    change(floor, "cancel", working)
    floor.expect(working, "CANCELED")
    floor.ask(do="flatten", reason="enough")
    assert floor.expect(touch, "CLOSED")["exit"]["reason"] == "HALT"
    assert floor.expect(floor.drop("AAPL"))["code"] == "HALTED"


def _further_lives(floor: Floor) -> None:
    """One ends by kill -9 while shares are held, the next is told to stop while a touch is armed."""
    floor.ask(do="resume")
    floor.republish()
    shares = floor.drop("AAPL")
    floor.protected(shares)
    floor.kill()
    floor.open()
    armed = floor.drop("BTC/USD", entry="touch", trigger_price=99_500, stop_loss=97_000, arm_seconds=600)
    floor.expect(armed, "ARMED")
    assert floor.stop() == 0
    floor.expect(armed, "CANCELED")
    floor.open()
    floor.move("BTC/USD", 99_470, 99_490, size=5)
    floor.move("AAPL", 147.90, 147.94, print_at=147.90)
    assert floor.expect(shares, "CLOSED")["exit"]["reason"] == "SL"
    floor.episode(shares)
    assert floor.stop() == 0


def test_a_replay_of_recorded_sessions_tells_their_story(floor: Floor) -> None:
    floor.limit(max_daily_trades=20, max_concurrent=10, max_gross_exposure=2.0, semantic_duplicate_s=0)
    floor.open()
    _first_life(floor)
    _further_lives(floor)

    found = replay(floor.state, floor.state)
    assert (found.latency_from, found.session) == ("record", "always")
    assert 0 < found.latency_ms < 100
    with closing(open_ledger(floor.state / "hands.db")) as ledger:
        live = story(ledger)
    again = story(found.ledger)
    for name, rows in live.items():
        assert again[name] == rows, name
    assert len(live["trades"]) == 7
    assert len(live["fills"]) >= 15
    assert found.realised_pnl == sum(trade[7] for trade in live["trades"]) / NANO
