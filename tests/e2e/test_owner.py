"""Ownership: the owner's own business on our symbols is left alone, and what the owner does to ours is followed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.harness import Floor, frozen, until

pytestmark = pytest.mark.e2e


def _owner(floor: Floor, **order: Any) -> dict[str, Any]:
    """Place an order in the broker's own app."""
    body = {"type": "market", "time_in_force": "day", "qty": "10", "side": "buy"} | order
    status, answer = floor.request("POST", "/v2/orders", body)
    assert status == 200, answer
    return answer


@pytest.mark.parametrize("before_start", [True, False])
def test_a_holding_of_the_owner_makes_its_symbol_busy_and_is_left_alone(
    floor: Floor, before_start: bool
) -> None:
    if before_start:
        _owner(floor, symbol="AAPL")
    floor.open()
    if not before_start:
        _owner(floor, symbol="AAPL")
    until("it is known", lambda: "AAPL" in floor.status()["foreign"])
    receipt = floor.expect(floor.drop(), "REJECTED", code="SYMBOL_BUSY")
    assert "not ours" in receipt["message"]
    other = floor.drop("SPY")
    floor.protected(other)
    assert floor.status()["state"] == "ACTIVE"
    assert floor.stop() == 0
    assert floor.held("AAPL") == 10
    assert {o["client_order_id"] for o in floor.orders(symbol="AAPL")} == {
        floor.orders(symbol="AAPL")[0]["client_order_id"]
    }


def test_a_resting_order_of_the_owner_makes_its_symbol_busy_until_it_is_gone(floor: Floor) -> None:
    floor.open()
    order = _owner(floor, symbol="AAPL", type="limit", limit_price="120")
    until("it is known", lambda: "AAPL" in floor.status()["foreign"])
    floor.expect(floor.drop(), "REJECTED", code="SYMBOL_BUSY")
    assert floor.request("DELETE", f"/v2/orders/{order['id']}")[0] == 204
    until("it is forgotten", lambda: "AAPL" not in floor.status()["foreign"])
    floor.move("AAPL", 149.97, 150.00)
    floor.protected(floor.drop())


def _owner_sells(floor: Floor, symbol: str, qty: str, tif: str) -> None:
    """Between two looks of the daemon the owner cancels our exits and sells."""
    daemon = floor.daemon
    assert daemon is not None
    with frozen(daemon):
        for order in floor.orders():
            if order["side"] == "sell" and order["status"] == "new":
                assert floor.request("DELETE", f"/v2/orders/{order['id']}")[0] == 204
        _owner(floor, symbol=symbol, side="sell", qty=qty, time_in_force=tif)


@pytest.mark.parametrize(("symbol", "tif"), [("AAPL", "day"), ("SOL/USD", "gtc")])
def test_all_sold_by_the_owner_closes_the_trade_as_manual(floor: Floor, symbol: str, tif: str) -> None:
    floor.open()
    intent_id = floor.drop(symbol)
    floor.protected(intent_id)
    _owner_sells(floor, symbol, str(floor.held(symbol)), tif)
    receipt = floor.expect(intent_id, "CLOSED")
    assert receipt["exit"]["reason"] == "MANUAL"
    assert floor.held(symbol) == 0, "we sold what was not there"
    assert floor.stops(symbol) == 0
    assert floor.status()["state"] == "ACTIVE", "a normal act is no reason to stop"


@pytest.mark.parametrize(("symbol", "qty", "tif"), [("AAPL", "20", "day"), ("SOL/USD", "20", "gtc")])
def test_exits_shrink_when_the_owner_sells_a_part(floor: Floor, symbol: str, qty: str, tif: str) -> None:
    floor.open()
    intent_id = floor.drop(symbol)
    floor.protected(intent_id)
    before = floor.held(symbol)
    _owner_sells(floor, symbol, qty, tif)
    until("a stop for the rest", lambda: floor.stops(symbol) == floor.held(symbol) == before - Decimal(qty))
    receipt = floor.protected(intent_id)
    assert Decimal(receipt["position"]["qty"]) == before - Decimal(qty)
    assert floor.naked_max_ms(symbol) < 2000


def test_a_group_that_the_owner_cancels_right_after_the_fill_is_back_at_once(floor: Floor) -> None:
    """One question to the venue tells that nothing but the group has changed."""
    floor.open()
    floor.protected(floor.drop())
    target = next(o for o in floor.orders(side="sell", symbol="AAPL") if o["status"] == "new")
    assert floor.request("DELETE", f"/v2/orders/{target['id']}")[0] == 204
    until(
        "it stands under another",
        lambda: floor.stops("AAPL") == 66 and len(floor.orders(side="sell", symbol="AAPL")) > 2,
    )
    assert floor.naked_max_ms("AAPL") < 2000
