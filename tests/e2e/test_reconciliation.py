"""What the venue knows and the state directory does not, and an owner who changes our orders: found, said, looked after."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

import pytest

from tests.e2e.harness import MARKET, Floor, stamp, until

pytestmark = pytest.mark.e2e

NOBODY_SELLS = {
    "AAPL": {"symbol": "AAPL", "bid": 149.97, "ask": 150.00, "ask_size": 0},
    "SOL/USD": {"symbol": "SOL/USD", "bid": 149.94, "ask": 150.00, "ask_size": 0},
}


def _working(floor: Floor, symbol: str = "AAPL", **changes: Any) -> str:
    """Drop an intent whose entry rests at the exchange, since nobody sells."""
    floor.market(NOBODY_SELLS[symbol])
    floor.seen(NOBODY_SELLS[symbol])
    intent_id = floor.drop(symbol, **({"ttl_seconds": 15} | changes))
    floor.expect(intent_id, "WORKING", where=lambda r: r["stamps_ns"]["acked"])
    return intent_id


def _reasons(floor: Floor) -> dict[str, str]:
    return {reason["code"]: reason["detail"] for reason in floor.status()["reasons"]}


def _change(floor: Floor, **fields: str) -> dict[str, Any]:
    """The owner edits our entry in the broker's app."""
    [entry] = floor.entries("SOL/USD")
    status, answer = floor.request("PATCH", f"/v2/orders/{entry['id']}", fields)
    assert status == 200, answer
    return answer


@pytest.mark.skipif(not os.environ.get("HANDS_SOAK"), reason="its rule is held by tables in tests/core")
def test_an_entry_that_the_owner_changed_stays_ours_and_what_it_fills_is_protected(floor: Floor) -> None:
    floor.open()
    intent_id = _working(floor, "SOL/USD")
    changed = _change(floor, limit_price="150.05")
    daemon = floor.daemon
    assert daemon is not None
    until("it is told", lambda: "CHANGED_ELSEWHERE" in daemon.said)
    floor.expect(intent_id, "WORKING")
    floor.move("SOL/USD", 149.95, 150.00)
    floor.protected(intent_id)
    assert floor.stops("SOL/USD") == floor.held("SOL/USD") > 0
    assert floor.status()["foreign"] == {}
    assert floor.status()["state"] == "ACTIVE"

    def row(client_order_id: str) -> str:
        found = floor.rows("SELECT status FROM orders WHERE client_order_id = ?", client_order_id)
        return str(found[0]["status"]) if found else ""

    until("it is in the ledger", lambda: row(changed["client_order_id"]) == "filled")
    assert row(f"hands-{intent_id}-entry-1") == "replaced"
    floor.move("SOL/USD", 165.10, 165.20)
    assert floor.expect(intent_id, "CLOSED")["exit"]["reason"] == "TP"


@pytest.mark.skipif(not os.environ.get("HANDS_SOAK"), reason="its rule is held by tables in tests/core")
def test_an_entry_that_the_owner_made_dearer_than_was_approved_is_cancelled(floor: Floor) -> None:
    floor.open()
    intent_id = _working(floor, "SOL/USD")
    changed = _change(floor, limit_price="151")
    until("it is cancelled", lambda: floor.orders(id=changed["id"], status="canceled"))
    floor.expect(intent_id, where=lambda r: r["state"] in ("EXPIRED", "CANCELED"))
    assert floor.held("SOL/USD") == 0
    assert floor.status()["foreign"] == {}


def test_a_lost_state_directory_keeps_the_protection_and_names_the_trades_that_nobody_knows(
    floor: Floor,
) -> None:
    floor.open()
    shares, coins = floor.drop("SPY"), floor.drop("SOL/USD")
    for intent_id in (shares, coins):
        floor.protected(intent_id)
    _working(floor)
    floor.kill()
    floor.state.rename(floor.folder / "lost")
    floor.launch().ready()
    assert floor.status()["state"] == "REDUCE_ONLY"
    detail = _reasons(floor)["UNEXPLAINED_POSITION"]
    for intent_id, symbol in ((shares, "SPY"), (coins, "SOL/USD")):
        [entry] = floor.entries(symbol)
        assert f"{symbol}: the venue holds" in detail
        assert f"hands-{intent_id}-entry-1 (order {entry['id']})" in detail
        assert floor.stops(symbol) == floor.held(symbol) > 0
    until("the entry is cancelled", lambda: floor.entries("AAPL")[0]["status"] == "canceled")
    floor.market(*MARKET)
    floor.seen(MARKET[0])
    floor.expect(floor.drop("AAPL"), "REJECTED", code="REDUCE_ONLY")
    floor.kill()
    floor.launch().ready()  # latched: another start changes nothing
    assert "UNEXPLAINED_POSITION" in _reasons(floor)
    assert floor.stops("SPY") == floor.held("SPY") > 0


@pytest.mark.skipif(not os.environ.get("HANDS_SOAK"), reason="its rule is held by tables in tests/core")
def test_a_document_that_a_lost_journal_has_entered_is_never_entered_again(floor: Floor) -> None:
    """The journal is yesterday's, the document is dropped once more: the venue's unique id is the last line."""
    floor.open()
    assert floor.stop() == 0
    copy = floor.folder / "copy"
    shutil.copytree(floor.state, copy, ignore=shutil.ignore_patterns("control.sock", "lock"))
    floor.open()
    document = floor.document("AAPL")
    name = f"{document['intent_id']}.json"
    floor.drop_bytes(json.dumps(document).encode(), name)
    floor.protected(document["intent_id"])
    floor.move("AAPL", 155.10, 155.12, print_at=155.10)
    first = floor.expect(document["intent_id"], "CLOSED")
    floor.kill()
    shutil.rmtree(floor.state)
    copy.rename(floor.state)
    (floor.intents / "receipts" / name).unlink()
    floor.open()
    floor.drop_bytes(json.dumps(document | {"timestamp": stamp()}).encode(), name)
    again = floor.expect(document["intent_id"], "CLOSED")
    assert again["order"]["client_order_id"] == first["order"]["client_order_id"]
    assert (again["exit"]["reason"], again["exit"]["pnl_usd"]) == ("TP", first["exit"]["pnl_usd"])
    assert len(floor.entries()) == 1
    assert floor.held("AAPL") == 0


@pytest.mark.skipif(not os.environ.get("HANDS_SOAK"), reason="its rule is held by tables in tests/core")
def test_two_copies_of_a_state_directory_used_in_turn_are_noticed(floor: Floor) -> None:
    """Each knows its own half: what the other one holds and has working is found at the venue."""
    floor.open()
    floor.protected(floor.drop("SPY"))
    assert floor.stop() == 0
    copy = floor.folder / "copy"
    shutil.copytree(floor.state, copy, ignore=shutil.ignore_patterns("control.sock", "lock"))
    floor.open()
    theirs = floor.drop("BTC/USD")
    floor.protected(theirs)
    assert floor.status()["state"] == "ACTIVE"
    floor.kill()
    original, floor.state = floor.state, copy
    floor.launch().ready()
    assert theirs in _reasons(floor)["UNEXPLAINED_POSITION"]
    assert floor.stops("BTC/USD") == floor.held("BTC/USD") > 0
    assert (floor.status()["day"]["trades"], floor.status()["day"]["live"]) == (2, 1)
    assert floor.stop() == 0
    floor.state = original
    floor.launch().ready()
    assert _reasons(floor) == {}
    assert (floor.status()["day"]["trades"], floor.status()["day"]["live"]) == (2, 2)
