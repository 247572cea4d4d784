"""Real processes: stops that trail and are amended, targets that move, parts that are sold, at an exchange that is slow.

The venue follows what a trade wants: by replacing what rests, never by taking it away first.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tests.e2e.harness import Floor, stamp, until

UNPROTECTED_MAX_MS = 2000
LIVE = ("new", "accepted", "held", "partially_filled")


def change(floor: Floor, target_id: str, kind: str, **members: Any) -> str:
    """Drop a document that changes a trade; return its own id."""
    own = str(uuid.uuid4())
    document = {"kind": kind, "intent_id": own, "target_id": target_id, "timestamp": stamp()} | members
    floor.drop_bytes(json.dumps(document).encode(), f"{own}.json")
    return own


def resting(floor: Floor, symbol: str, price: str) -> list[str]:
    """Return the stop prices (or limit prices of targets) of what rests to sell a symbol."""
    return [
        order[price]
        for order in floor.orders(side="sell", symbol=symbol)
        if order["status"] in LIVE and order[price] is not None
    ]


def patches(floor: Floor) -> list[dict[str, Any]]:
    return [asked for asked in floor.truth()["requests"] if asked["method"] == "PATCH"]


def naked_ns(floor: Floor, symbol: str) -> int:
    """Return for how long a symbol was without a stop so far."""
    return int(floor.truth()["naked"].get(symbol, {}).get("naked_ns", 0))


def climb(floor: Floor, symbol: str, bid: float, stop: str) -> None:
    """Let the market rise and wait until the stop has followed."""
    floor.move(symbol, bid, bid + 0.02)
    until(f"the stop of {symbol} is at {stop}", lambda: resting(floor, symbol, "stop_price") == [stop])


def test_shares_and_coins_trail_and_end_on_their_stops(new_floor: Callable[..., Floor]) -> None:
    floor = new_floor(latency={"replace": 60, "cancel": 20}).open()
    shares = floor.drop("AAPL", trailing_stop_pct=0.02, take_profit=165)
    coins = floor.drop("SOL/USD", trailing_stop_pct=0.03)
    floor.protected(shares)
    floor.protected(coins)
    bare_ns = [naked_ns(floor, symbol) for symbol in ("AAPL", "SOL/USD")]
    climb(floor, "AAPL", 154, "150.92")
    climb(floor, "SOL/USD", 158, "153.26")
    floor.move("AAPL", 152, 152.02)  # it never goes back
    climb(floor, "AAPL", 156, "152.88")
    for intent_id, stop in ((shares, "152.88"), (coins, "153.26")):
        receipt = floor.expect(
            intent_id, "OPEN", where=lambda r, stop=stop: (r["protection"] or {}).get("stop") == stop
        )
        assert receipt["protection"]["qty"] == receipt["position"]["qty"]
    assert all(asked["status"] == 200 for asked in patches(floor))
    assert len(patches(floor)) == 3
    floor.move("AAPL", 152.80, 152.82, print_at=152.80)
    floor.move("SOL/USD", 153.2, 153.22)
    for intent_id in (shares, coins):
        assert floor.expect(intent_id, "CLOSED")["exit"]["reason"] == "SL"
    assert floor.held("AAPL") == 0
    assert bare_ns[0] == 0  # the venue's own bracket protects from the fill on
    assert [naked_ns(floor, symbol) for symbol in ("AAPL", "SOL/USD")] == bare_ns, "a move took a stop away"


def test_an_amend_moves_the_legs_of_a_bracket_and_a_part_leaves_the_rest_protected(floor: Floor) -> None:
    floor.open()
    shares, coins = floor.drop("AAPL"), floor.drop("SOL/USD")
    floor.protected(shares)
    floor.protected(coins)
    amended = change(floor, shares, "amend", stop_loss=149, take_profit=156)
    floor.expect(amended, "DONE")
    until("the stop has moved", lambda: resting(floor, "AAPL", "stop_price") == ["149"])
    until("the target has moved", lambda: resting(floor, "AAPL", "limit_price") == ["156"])
    looser = change(floor, shares, "amend", stop_loss=148)
    assert "looser" in floor.expect(looser, "REJECTED", code="NOTHING_TO_DO")["message"]
    assert floor.naked_max_ms("AAPL") == 0
    assert floor.held("AAPL") == 66
    floor.expect(change(floor, shares, "close", qty=20), "DONE")
    floor.expect(shares, "OPEN", where=lambda r: r["position"]["qty"] == "46" and r["protection"])
    until("the rest is protected", lambda: floor.stops("AAPL") == 46)
    assert resting(floor, "AAPL", "stop_price") == ["149"]
    assert resting(floor, "AAPL", "limit_price") == ["156"]
    before = floor.held("SOL/USD")
    floor.expect(change(floor, coins, "close", qty=20), "DONE")
    until("a part of the coins is sold", lambda: floor.held("SOL/USD") == before - 20)
    until("the rest of the coins is protected", lambda: floor.stops("SOL/USD") == before - 20)
    floor.expect(change(floor, coins, "close"), "DONE")
    assert floor.expect(coins, "CLOSED")["exit"]["reason"] == "MANUAL"
    sold = [o for o in floor.orders(side="sell") if Decimal(o["filled_qty"])]
    assert sum(Decimal(o["filled_qty"]) for o in sold if o["symbol"] == "AAPL") == 20
    assert max(floor.naked_max_ms("AAPL"), floor.naked_max_ms("SOL/USD")) < UNPROTECTED_MAX_MS


def test_one_amend_sends_one_patch(new_floor: Callable[..., Floor]) -> None:
    """From a document or from the operator, and however slowly the venue answers."""
    for latency in ({"replace": 0}, {"replace": 60}):
        floor = new_floor(latency=latency).open()
        shares = floor.drop("AAPL")
        floor.protected(shares)
        for stop in ("148.5", "149"):
            before = len(patches(floor))
            if stop == "149":
                done = floor.hands("amend", shares, "--stop", stop)
                assert done.returncode == 0, done.stdout + done.stderr
            else:
                floor.expect(change(floor, shares, "amend", stop_loss=float(stop)), "DONE")
            until(
                "the stop has moved",
                lambda floor=floor, stop=stop: resting(floor, "AAPL", "stop_price") == [stop],
            )
            floor.expect(
                shares, "OPEN", where=lambda r, stop=stop: (r["protection"] or {}).get("stop") == stop
            )
            looser = change(floor, shares, "amend", stop_loss=140)
            floor.expect(
                looser, "REJECTED", code="NOTHING_TO_DO"
            )  # whatever followed the move has been decided
            asked = patches(floor)[before:]
            assert [each["status"] for each in asked] == [200]


def test_a_split_freezes_the_trade_and_sends_nothing(floor: Floor) -> None:
    floor.open()
    shares = floor.drop("AAPL")
    floor.protected(shares)
    asked = len(floor.truth()["requests"])
    status, answer = floor.request("POST", "/sim/v1/corporate-actions", {"symbol": "AAPL", "split": [4, 1]})
    assert status == 200, answer
    floor.move("AAPL", 37.49, 37.51)
    floor.expect(shares, "FROZEN")
    assert floor.held("AAPL") == 264
    assert [reason["code"] for reason in floor.status()["reasons"] if reason["clears"] == "operator"]
    posts = [
        r for r in floor.truth()["requests"][asked:] if r["method"] == "POST" and r["path"] == "/v2/orders"
    ]
    assert posts == []
