"""Fills made while nobody listened: every one is in the ledger afterwards, once, and the result is exact to the cent."""

from __future__ import annotations

import os
from decimal import Decimal
from typing import Any

import pytest

from hands.core.units import NS_PER_S
from tests.e2e.harness import MARKET, Floor, until

pytestmark = pytest.mark.e2e

NOBODY_SELLS = {"symbol": "SPY", "bid": 599.97, "ask": 600.02, "ask_size": 0}


def _fills(floor: Floor) -> dict[str, dict[str, Any]]:
    """Return the exchange's fills of our orders, by execution id."""
    return {fill["execution_id"]: fill for fill in floor.truth()["fills"]}


def _ledger(floor: Floor) -> dict[str, dict[str, Any]]:
    return {row["execution_id"]: row for row in floor.rows("SELECT * FROM fills")}


def _agree(floor: Floor) -> bool:
    ours, theirs = _ledger(floor), _fills(floor)
    if ours.keys() != theirs.keys():
        return False
    for name, fill in theirs.items():
        told = (ours[name]["side"], Decimal(str(ours[name]["qty"])), Decimal(str(ours[name]["price"])))
        assert told == (fill["side"], Decimal(fill["qty"]), Decimal(fill["price"])), name
        assert ours[name]["order_id"] == fill["order_id"]
    return True


def _result(floor: Floor) -> Decimal:
    values = ((f["side"], Decimal(f["qty"]) * Decimal(f["price"])) for f in _fills(floor).values())
    return sum((value if side == "sell" else -value for side, value in values), Decimal())


def _sell_in_parts(floor: Floor, *steps: tuple[float, int]) -> None:
    """Let the target fill in parts, each at its own price."""
    for bid, size in steps:
        row = {"symbol": "AAPL", "bid": bid, "ask": bid + 0.02, "bid_size": size, "ask_size": 500}
        floor.market(row, {"symbol": "AAPL", "price": bid, "size": size})


def _paths(floor: Floor, since: int) -> list[tuple[str, str]]:
    return [(r["method"], r["path"].split("?")[0]) for r in floor.truth()["requests"][since:]]


def test_after_an_outage_overdue_entries_end_first_and_every_fill_is_found_and_priced(floor: Floor) -> None:
    floor.open()
    intent_id = floor.drop()
    floor.protected(intent_id)
    until("the entry's fills are in the ledger", lambda: _agree(floor))
    floor.market(NOBODY_SELLS)
    floor.seen(NOBODY_SELLS)
    working = floor.drop("SPY", ttl_seconds=4)
    receipt = floor.expect(working, "WORKING", where=lambda r: r["stamps_ns"]["acked"])
    deadline_ns = receipt["stamps_ns"]["file_event"] + 4 * NS_PER_S
    floor.kill()
    count = len(_fills(floor))
    _sell_in_parts(floor, (155.01, 20), (155.03, 20), (155.07, 100))
    assert floor.held("AAPL") == 0
    assert len(_fills(floor)) >= count + 3
    until("the deadline has passed", lambda: floor.truth()["now_ns"] > deadline_ns)
    since = len(floor.truth()["requests"])
    floor.launch().ready()
    floor.expect(working, "EXPIRED")
    [entry] = floor.entries("SPY")
    asked = _paths(floor, since)
    cancelled = asked.index(("DELETE", f"/v2/orders/{entry['id']}"))
    assert asked[0] == ("GET", "/v2/account")  # whose account it is, comes before anything is done to it
    assert cancelled < min(
        asked.index(("GET", path)) for path in ("/v2/clock", "/v2/positions", "/v2/orders")
    )

    assert floor.expect(intent_id, "CLOSED")["exit"]["reason"] == "TP"
    until("every fill is in the ledger", lambda: _agree(floor))

    def is_booked() -> bool:
        return Decimal(str(floor.episode(intent_id)["actual_pnl"])) == _result(floor)

    until("the result is exact", is_booked)
    until(
        "the receipt has them", lambda: len((floor.receipt(intent_id) or {})["fills"]) == len(_fills(floor))
    )
    day = floor.status()["day"]
    assert Decimal(day["realised_usd"]) == _result(floor).quantize(Decimal("0.01"))
    asked = [r for r in floor.truth()["requests"] if r["path"].startswith("/v2/account/activities")]
    assert len(asked) == 1


@pytest.mark.skipif(not os.environ.get("HANDS_SOAK"), reason="its rule is held by tables in tests/core")
def test_fills_made_while_the_stream_was_mute_are_found(floor: Floor) -> None:
    floor.setting(truth_s=1.0)
    floor.open()
    intent_id = floor.drop()
    floor.protected(intent_id)
    floor.faults({"on": "trade_updates", "do": "mute", "for_ms": 60000})
    _sell_in_parts(floor, (155.01, 30), (155.03, 100))
    assert floor.expect(intent_id, "CLOSED")["exit"]["reason"] == "TP"
    until("every fill is in the ledger", lambda: _agree(floor))
    until(
        "the result is exact", lambda: Decimal(str(floor.episode(intent_id)["actual_pnl"])) == _result(floor)
    )
    floor.market(*MARKET)
