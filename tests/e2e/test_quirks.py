"""The engine against a venue whose unconfirmed habits are the other way round, and against a slow one.

What holds must hold either way: one entry per intent, protection for all that is held within its time, no trade
given up for lost, profit and loss to the cent. `HANDS_SOAK=1` tries every switch by itself too.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from hands.sim.venue.quirks import catalogue
from tests.e2e.harness import Floor, until

pytestmark = pytest.mark.e2e

SLOW = {"ack": 40, "fill": 30, "cancel": 150, "replace": 60, "settle": 200}
OTHER_WAY = {name: entry.allowed[-1] for name, entry in catalogue().items()} | {"linger": "none"}
"""Without `linger`, which has a test of its own: it keeps a killed daemon's successor without data for 90 s."""
UNPROTECTED_MAX_MS = 2000


def drawn(seed: int) -> dict[str, str]:
    """Return every switch drawn at random."""
    chance = random.Random(seed)
    return {name: chance.choice(entry.allowed) for name, entry in catalogue().items()} | {"linger": "none"}


WORLDS: dict[str, dict[str, Any]] = {
    "the other way": {"quirks": OTHER_WAY},
    "slow, the other way": {"quirks": OTHER_WAY, "latency": SLOW},
    "slow, drawn": {"quirks": drawn(1), "latency": {"ack": 5, "cancel": 20, "settle": 50}},
}
if os.environ.get("HANDS_SOAK"):
    WORLDS |= {"slow": {"latency": SLOW}}
    WORLDS |= {
        f"{name}={value}": {"quirks": {name: value}, "latency": SLOW if is_slow else {}}
        for name, entry in catalogue().items()
        if name != "linger"
        for value in entry.allowed[1:]
        for is_slow in (False, True)
    }
    WORLDS |= {f"drawn {seed}": {"quirks": drawn(seed), "latency": SLOW} for seed in range(2, 12)}


@pytest.fixture(params=WORLDS.values(), ids=WORLDS.keys())
def floor(request: pytest.FixtureRequest, new_floor: Callable[..., Floor]) -> Floor:
    return new_floor(**request.param).open()


def shown(floor: Floor, symbol: str, bid: float, ask: float, size: float) -> None:
    """Quote a symbol and wait until the daemon has it."""
    quote = {"symbol": symbol, "bid": bid, "ask": ask, "bid_size": 500, "ask_size": size}
    floor.market(quote)
    floor.seen(quote)


def is_flat(floor: Floor, symbol: str) -> bool:
    return abs(floor.held(symbol)) < Decimal("0.000001")


def assert_calm(floor: Floor) -> None:
    """Nothing was frozen, doubted or left naked for longer than its time."""
    status = floor.status()
    assert (status["state"], status["reasons"]) == ("ACTIVE", [])
    for symbol in ("AAPL", "SPY", "SOL/USD"):
        assert floor.naked_max_ms(symbol) < UNPROTECTED_MAX_MS, symbol


def test_trades_go_from_file_to_flat(floor: Floor) -> None:
    """A bracket to its target, a partly filled bracket to its stop, coins to their target."""
    whole = floor.drop("AAPL")
    floor.protected(whole)
    shown(floor, "SPY", 599.98, 600.00, 5)
    partly = floor.drop("SPY")
    receipt = floor.protected(partly)
    bought = Decimal(receipt["position"]["qty"])
    assert 0 < bought <= 5
    coins = floor.drop("SOL/USD")
    floor.protected(coins)
    assert floor.stops("SOL/USD") == floor.held("SOL/USD") > 0
    assert floor.held("SPY") == bought

    floor.move("AAPL", 155.10, 155.12, print_at=155.10)
    receipt = floor.expect(whole, "CLOSED")
    assert (receipt["exit"]["reason"], receipt["exit"]["pnl_usd"]) == ("TP", "336.60")
    stop = Decimal(str(floor.document("SPY")["stop_loss"]))
    floor.move("SPY", float(stop) - 0.02, float(stop), print_at=float(stop) - 0.01)
    receipt = floor.expect(partly, "CLOSED")
    assert receipt["exit"]["reason"] == "SL"
    floor.move("SOL/USD", 165.10, 165.20)
    assert floor.expect(coins, "CLOSED")["exit"]["reason"] == "TP"
    until("everything is flat", lambda: all(is_flat(floor, s) for s in ("AAPL", "SPY", "SOL/USD")))
    assert_calm(floor)


def test_an_entry_that_does_not_fill_ends_and_leaves_nothing(floor: Floor) -> None:
    shown(floor, "AAPL", 149.98, 150.00, 0)
    shown(floor, "SOL/USD", 149.94, 150.00, 0)
    ids = [floor.drop("AAPL", ttl_seconds=2), floor.drop("SOL/USD", ttl_seconds=2)]
    for intent_id in ids:
        floor.expect(intent_id, "EXPIRED")
    until(
        "no order is open",
        lambda: not [o for o in floor.orders() if o["status"] in ("new", "pending_cancel")],
    )
    assert floor.status()["day"]["trades"] == 0
    assert floor.held("AAPL") == floor.held("SOL/USD") == 0
    assert_calm(floor)


def test_a_daemon_killed_in_the_middle_takes_up_what_it_left(floor: Floor) -> None:
    ids = [floor.drop("AAPL"), floor.drop("SOL/USD")]
    until("an order has arrived", floor.entries)
    floor.kill()
    floor.open()
    for intent_id in ids:
        receipt = floor.expect(
            intent_id, where=lambda r: r["state"] in ("OPEN", "EXPIRED", "CANCELED", "REJECTED")
        )
        if receipt["state"] == "OPEN":
            floor.protected(intent_id)
    assert len({o["client_order_id"] for o in floor.entries()}) == len(floor.entries()) <= 2
    assert floor.status()["state"] == "ACTIVE"


def test_a_venue_that_still_counts_the_dead_daemons_connections_costs_no_protection(
    new_floor: Callable[..., Floor],
) -> None:
    """For 90 s the successor gets no market data (406): it keeps what is there, and opens nothing."""
    floor = new_floor(quirks={"linger": "90s"}).open()
    whole, coins = floor.drop("AAPL"), floor.drop("SOL/USD")
    floor.protected(whole)
    floor.protected(coins)
    floor.kill()
    floor.launch()
    until("the daemon answers", floor.is_answering)
    for intent_id in (whole, coins):
        floor.protected(intent_id)
    denied = floor.expect(floor.drop("SPY"), where=lambda r: r["state"] in ("REJECTED", "EXPIRED"))
    assert denied["code"] in ("NOT_READY", "NO_MARKET_DATA", "STALE_MARKET_DATA", "EXPIRED")
    floor.move("AAPL", 155.10, 155.12, print_at=155.10)
    assert floor.expect(whole, "CLOSED")["exit"]["reason"] == "TP"
    assert floor.stops("SOL/USD") == floor.held("SOL/USD") > 0
