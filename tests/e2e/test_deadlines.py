"""Time runs out: deadlines of entries, the grace of a partial fill, the longest hold."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from tests.e2e.harness import Floor, stamp, until

pytestmark = pytest.mark.e2e

GRACE_MS = 400


def _nothing_displayed(floor: Floor, symbol: str, bid: float, ask: float, shown: float = 0) -> None:
    """A market in which an entry rests, or is filled with `shown` at most."""
    quote = {"symbol": symbol, "bid": bid, "ask": ask, "bid_size": 500, "ask_size": shown}
    floor.market(quote)
    floor.seen(quote)


def _ended_ns(order: dict, status: str) -> int:
    return next(at for at, name in order["history"] if name == status)


def test_an_unfilled_entry_is_cancelled_at_its_deadline_and_given_back(floor: Floor) -> None:
    floor.open()
    _nothing_displayed(floor, "AAPL", 149.97, 150.00)
    old = floor.drop(timestamp=stamp(-1.0), ttl_seconds=2)  # of its two seconds, one has passed
    floor.expect(old, "WORKING")
    assert floor.status()["day"]["trades"] == 1
    receipt = floor.expect(old, "EXPIRED")
    (entry,) = floor.entries()
    assert (entry["status"], entry["filled_qty"]) == ("canceled", "0")
    lived_s = (_ended_ns(entry, "canceled") - receipt["stamps_ns"]["file_event"]) / 1e9
    assert 0.8 < lived_s < 2.0
    day = floor.status()["day"]
    assert (day["trades"], day["live"]) == (0, 0)
    floor.move("AAPL", 149.98, 150.00)
    floor.seen({"symbol": "AAPL", "bid": 149.98})
    floor.protected(floor.drop())  # neither busy nor a duplicate of the idea that died unfilled


def test_a_partial_fill_of_shares_is_cut_off_after_its_grace_and_kept_by_an_oco(floor: Floor) -> None:
    floor.open()
    _nothing_displayed(floor, "AAPL", 149.97, 150.00, shown=20)
    intent_id = floor.drop(ttl_seconds=15)
    receipt = floor.protected(intent_id)
    assert receipt["position"]["qty"] == "20"
    assert receipt["protection"]["kind"] == "venue_oco"
    (entry,) = floor.entries()
    assert (entry["status"], entry["filled_qty"]) == ("canceled", "20")
    waited_ms = (_ended_ns(entry, "canceled") - _ended_ns(entry, "partially_filled")) / 1e6
    assert GRACE_MS <= waited_ms < 2000
    assert floor.stops("AAPL") == 20
    assert GRACE_MS <= floor.naked_max_ms("AAPL") < 2000
    floor.move("AAPL", 155.10, 155.12, print_at=155.10)
    receipt = floor.expect(intent_id, "CLOSED")
    assert (receipt["exit"]["reason"], receipt["exit"]["pnl_usd"]) == ("TP", "102.00")
    assert floor.held("AAPL") == 0


def test_the_legs_of_a_partial_entry_are_adopted_where_the_venue_keeps_them(
    new_floor: Callable[..., Floor],
) -> None:
    floor = new_floor(quirks={"partial_entry_legs": "kept"}).open()
    _nothing_displayed(floor, "AAPL", 149.97, 150.00, shown=20)
    intent_id = floor.drop()
    receipt = floor.protected(intent_id)
    assert receipt["protection"]["kind"] == "venue_bracket"
    assert floor.stops("AAPL") == 20
    assert len(floor.orders()) == 3
    floor.market(
        {"symbol": "AAPL", "bid": 147.8, "ask": 147.9}, {"symbol": "AAPL", "price": 147.9, "size": 100}
    )
    assert floor.expect(intent_id, "CLOSED")["exit"]["reason"] == "SL"
    assert floor.held("AAPL") == 0


def test_a_partial_fill_of_coins_is_cut_off_and_kept_by_a_stop_limit(floor: Floor) -> None:
    floor.open()
    _nothing_displayed(floor, "SOL/USD", 149.94, 150.00, shown=10)
    intent_id = floor.drop("SOL/USD")
    receipt = floor.protected(intent_id)
    assert receipt["protection"]["kind"] == "venue_stop"
    assert floor.stops("SOL/USD") == floor.held("SOL/USD") == Decimal("9.975")
    assert GRACE_MS <= floor.naked_max_ms("SOL/USD") < 2000


def test_orders_that_filled_at_the_books_pace_within_the_grace_are_whole(floor: Floor) -> None:
    floor.open()
    _nothing_displayed(floor, "AAPL", 149.97, 150.00, shown=20)
    intent_id = floor.drop()
    until("a first fill", lambda: floor.held("AAPL") == 20)
    floor.move("AAPL", 149.98, 150.00)
    receipt = floor.protected(intent_id)
    assert (receipt["position"]["qty"], receipt["protection"]["kind"]) == ("66", "venue_bracket")
    assert len(floor.entries()) == 1


@pytest.mark.parametrize("symbol", ["AAPL", "SOL/USD"])
def test_a_position_held_long_enough_is_closed(floor: Floor, symbol: str) -> None:
    floor.open()
    intent_id = floor.drop(symbol, max_hold_seconds=0.5)
    floor.protected(intent_id)
    receipt = floor.expect(intent_id, "CLOSED")
    assert receipt["exit"]["reason"] == "TIME"
    assert floor.held(symbol) < Decimal("0.000001")
    assert floor.stops(symbol) == 0
    assert floor.naked_max_ms(symbol) < 2000
    assert floor.episode(intent_id)["exit_reason"] == "TIME"
