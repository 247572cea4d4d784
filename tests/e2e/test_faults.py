"""A venue that misbehaves: lost answers, lost requests, refusals, streams that break, repeat, shuffle and fall silent."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.harness import Floor, until

pytestmark = pytest.mark.e2e

SUBMIT = "POST /v2/orders"
QUERY = "GET /v2/orders:by_client_order_id"
THROUGH = {"code": 42210000, "message": "stop price must be less than current price"}


def _pass(on: str) -> dict[str, Any]:
    """A fault that does nothing, to let one request pass before the next fault on the same path."""
    return {"on": on, "do": "delay", "delay_ms": 1}


def _no_more_than_one_order(floor: Floor, symbol: str) -> None:
    assert len(floor.entries(symbol)) == 1
    submits = [r for r in floor.truth()["requests"] if (r["method"], r["path"]) == ("POST", "/v2/orders")]
    assert sum("-entry-" in str(r["body"]) and symbol in str(r["body"]) for r in submits) == 1


def test_a_lost_answer_is_unknown_and_found_by_id_never_sent_twice(floor: Floor) -> None:
    floor.open()
    floor.faults(
        {"on": "trade_updates", "do": "mute", "for_ms": 1000},
        {"on": SUBMIT, "do": "drop_response"},
        {"on": QUERY, "do": "delay", "delay_ms": 200},
    )
    intent_id = floor.drop()
    floor.expect(intent_id, "UNKNOWN")
    assert floor.status()["day"]["live"] == 1, "its budget was released"
    receipt = floor.protected(intent_id)
    assert receipt["position"] == {"qty": "66", "avg_price": "150.00"}
    _no_more_than_one_order(floor, "AAPL")


def test_what_never_arrived_or_was_answered_503_ends_expired_and_is_given_back(floor: Floor) -> None:
    floor.open()
    floor.faults(
        {"on": SUBMIT, "do": "drop_request"}, {"on": SUBMIT, "do": "status", "status": 503, "body": "<html>"}
    )
    first = floor.drop("AAPL", ttl_seconds=1)
    floor.expect(first, "UNKNOWN")
    second = floor.drop("SPY", ttl_seconds=1)
    floor.expect(second, "UNKNOWN")
    assert floor.status()["day"]["trades"] == 2
    for intent_id in (first, second):
        floor.expect(intent_id, "EXPIRED")
    assert not floor.orders()
    day = floor.status()["day"]
    assert (day["trades"], day["live"]) == (0, 0)
    floor.move("AAPL", 149.97, 150.00)
    floor.seen({"symbol": "AAPL", "bid": 149.97})
    floor.protected(floor.drop("AAPL"))


def test_a_refused_entry_is_venue_rejected_and_given_back(floor: Floor) -> None:
    floor.open()
    body = {"code": 40310000, "message": "insufficient buying power"}
    floor.faults({"on": SUBMIT, "do": "status", "status": 403, "body": body})
    receipt = floor.expect(floor.drop(), "VENUE_REJECTED")
    assert "insufficient buying power" in receipt["message"]
    assert floor.status()["day"]["trades"] == 0
    assert not floor.orders()


def test_a_fill_during_a_broken_trade_stream_is_found_by_reconciliation(floor: Floor) -> None:
    floor.open()
    quote = {"symbol": "AAPL", "bid": 149.97, "ask": 150.00, "ask_size": 0}
    floor.market(quote)
    floor.seen(quote)
    intent_id = floor.drop(ttl_seconds=15)
    floor.expect(intent_id, "WORKING", where=lambda r: r["stamps_ns"]["acked"])
    floor.faults(
        {"on": "trade_updates", "do": "disconnect"}
    )  # it is back after a quarter of a second at the soonest
    floor.move("AAPL", 149.98, 150.00)
    receipt = floor.protected(intent_id)
    assert receipt["position"]["qty"] == "66"
    assert len(floor.entries()) == 1


def test_without_a_trade_stream_entries_wait_and_a_fill_is_still_protected_in_time(floor: Floor) -> None:
    """Refused with 429, the stream stays away for half a minute: coins that fill meanwhile must not be naked so long."""
    floor.open()
    quote = {"symbol": "SOL/USD", "bid": 149.94, "ask": 150.00, "ask_size": 0}
    floor.market(quote)
    floor.seen(quote)
    intent_id = floor.drop("SOL/USD", ttl_seconds=15)
    floor.expect(intent_id, "WORKING", where=lambda r: r["stamps_ns"]["acked"])
    floor.faults(
        {"on": "trade_updates", "do": "refuse_reconnect", "times": 9},
        {"on": "trade_updates", "do": "disconnect"},
    )
    until("the link is down", lambda: not floor.status()["links"]["trade_updates"])
    denied = floor.expect(floor.drop("SPY"), "REJECTED", code="NOT_READY")
    assert "trade stream" in denied["message"]
    floor.move("SOL/USD", 149.95, 150.00)
    until("it is filled", lambda: floor.held("SOL/USD") > 0)
    floor.protected(intent_id)
    assert floor.stops("SOL/USD") == floor.held("SOL/USD")
    assert floor.naked_max_ms("SOL/USD") < 2000


@pytest.mark.parametrize("trouble", ["duplicate", "reorder"])
def test_repeated_and_shuffled_updates_change_nothing(floor: Floor, trouble: str) -> None:
    floor.open()
    floor.faults({"on": "trade_updates", "do": trouble, "times": 50})
    intent_id = floor.drop()
    floor.protected(intent_id)
    coins = floor.drop("SOL/USD")
    floor.protected(coins)
    floor.move("AAPL", 155.10, 155.12, print_at=155.10)
    receipt = floor.expect(intent_id, "CLOSED")
    assert (receipt["exit"]["pnl_usd"], receipt["exit"]["reason"]) == ("336.60", "TP")
    ids = [fill["execution_id"] for fill in receipt["fills"]]
    assert len(ids) == len(set(ids)) == 2
    floor.move("SOL/USD", 165.10, 165.20)
    assert floor.expect(coins, "CLOSED")["exit"]["reason"] == "TP"
    status = floor.status()
    assert (status["state"], status["reasons"]) == ("ACTIVE", [])
    assert floor.held("SOL/USD") < Decimal("0.000001")


def test_coins_whose_stop_is_refused_because_the_market_is_through_it_are_sold(floor: Floor) -> None:
    floor.open()
    floor.faults(_pass(SUBMIT), {"on": SUBMIT, "do": "status", "status": 422, "body": THROUGH})
    intent_id = floor.drop("SOL/USD")
    receipt = floor.expect(intent_id, "CLOSED")
    assert receipt["exit"]["reason"] == "SL"
    assert floor.held("SOL/USD") < Decimal("0.000001")
    assert floor.naked_max_ms("SOL/USD") < 2000


def test_shares_whose_oco_is_refused_because_the_market_is_through_the_stop_are_sold(floor: Floor) -> None:
    floor.open()
    quote = {"symbol": "AAPL", "bid": 149.97, "ask": 150.00, "ask_size": 20}
    floor.market(quote)
    floor.seen(quote)
    floor.faults(_pass(SUBMIT), {"on": SUBMIT, "do": "status", "status": 422, "body": THROUGH})
    intent_id = floor.drop()
    receipt = floor.expect(intent_id, "CLOSED")
    assert receipt["exit"]["reason"] == "SL"
    assert floor.held("AAPL") == 0
    assert floor.naked_max_ms("AAPL") < 2000


def test_a_stop_that_stays_refused_for_other_reasons_is_not_waited_for_for_ever(floor: Floor) -> None:
    floor.open()
    body = {"code": 42210000, "message": "the venue is having one of its days"}
    floor.faults(_pass(SUBMIT), {"on": SUBMIT, "do": "status", "status": 422, "body": body, "times": 5})
    intent_id = floor.drop("SOL/USD")
    receipt = floor.expect(intent_id, "CLOSED", within_s=20)
    assert receipt["exit"]["reason"] == "LIQUIDATED"
    assert floor.held("SOL/USD") < Decimal("0.000001")


def test_books_that_settle_slowly_delay_protection_but_do_not_lose_it(
    new_floor: Callable[..., Floor],
) -> None:
    """For a while after a fill the venue says that what was bought is not available yet."""
    floor = new_floor(latency={"settle": 300}).open()
    quote = {"symbol": "AAPL", "bid": 149.97, "ask": 150.00, "ask_size": 20}
    floor.market(quote)
    floor.seen(quote)
    shares, coins = floor.drop(), floor.drop("SOL/USD")
    for intent_id, symbol in ((shares, "AAPL"), (coins, "SOL/USD")):
        floor.protected(intent_id)
        assert floor.stops(symbol) == floor.held(symbol) > 0
        assert floor.naked_max_ms(symbol) < 2000


def _let_the_quote_age(floor: Floor) -> None:
    until("an old quote", lambda: floor.ask(do="quote", symbols=["AAPL"])["quotes"][0]["age_ms"] > 400)


def test_a_mute_market_is_asked_once_and_a_fresh_quote_is_traded_on(floor: Floor) -> None:
    floor.limit(quote_age_max_ms=400)
    floor.open()
    floor.faults({"on": "market_data", "do": "mute"})
    floor.move("AAPL", 149.94, 149.96)  # the stream keeps it to itself; the quote by REST shows it
    _let_the_quote_age(floor)
    receipt = floor.protected(floor.drop())
    assert receipt["order"]["limit_price"] == "150.1"


def test_a_mute_market_that_cannot_be_asked_is_stale(floor: Floor) -> None:
    floor.limit(quote_age_max_ms=400)
    floor.open()
    floor.faults(
        {"on": "market_data", "do": "mute"},
        {"on": "GET /v2/stocks*", "do": "status", "status": 500, "times": 5},
    )
    _let_the_quote_age(floor)
    receipt = floor.expect(floor.drop(), "REJECTED", code="STALE_MARKET_DATA")
    assert receipt["retry"] == "after"
    assert not floor.orders()


def test_a_lost_cancel_is_asked_for_again(floor: Floor) -> None:
    floor.open()
    quote = {"symbol": "AAPL", "bid": 149.97, "ask": 150.00, "ask_size": 0}
    floor.market(quote)
    floor.seen(quote)
    floor.faults({"on": "DELETE /v2/orders/*", "do": "drop_request"})
    floor.expect(floor.drop(ttl_seconds=0.5), "EXPIRED")
    (entry,) = floor.entries()
    assert entry["status"] == "canceled"


@pytest.mark.parametrize("symbol", ["AAPL", "SOL/USD"])
def test_an_exit_whose_report_is_late_is_not_taken_for_a_sale_by_the_owner(floor: Floor, symbol: str) -> None:
    """The venue's snapshot knows of the exit before the stream has told of it: nothing may be booked, let alone bought."""
    floor.setting(truth_s=0.2)
    floor.open()
    intent_id = floor.drop(symbol)
    filled_ns = floor.protected(intent_id)["stamps_ns"]["filled"]
    until("the entry is old news", lambda: time.time_ns() - filled_ns > 1.5e9)
    floor.faults({"on": "trade_updates", "do": "delay", "delay_ms": 1000, "times": 20})
    if symbol == "AAPL":
        floor.move("AAPL", 155.10, 155.12, print_at=155.10)
    else:
        floor.move("SOL/USD", 144.90, 144.98)
    until("it is sold", lambda: floor.held(symbol) < Decimal("0.000001"))
    receipt = floor.expect(intent_id, "CLOSED", where=lambda r: len(r["fills"]) > 1)
    assert receipt["exit"]["reason"] == ("TP" if symbol == "AAPL" else "SL")
    assert len(floor.orders(side="buy")) == 1
    status = floor.status()
    assert (status["state"], status["reasons"]) == ("ACTIVE", [])
    assert "SOLD_ELSEWHERE" not in floor.daemon.said


@pytest.mark.parametrize("symbol", ["AAPL", "SOL/USD"])
def test_a_stop_that_fills_while_the_trade_stream_is_away_is_a_stop_and_no_sale_by_the_owner(
    floor: Floor, symbol: str
) -> None:
    floor.setting(truth_s=0.2)
    floor.open()
    intent_id = floor.drop(symbol)
    filled_ns = floor.protected(intent_id)["stamps_ns"]["filled"]
    until("the entry is old news", lambda: time.time_ns() - filled_ns > 1.5e9)
    floor.faults(
        {"on": "trade_updates", "do": "refuse_reconnect", "times": 9},
        {"on": "trade_updates", "do": "disconnect"},
    )
    until("the link is down", lambda: not floor.status()["links"]["trade_updates"])
    floor.move(symbol, 144.90, 144.98, print_at=144.95)
    receipt = floor.expect(intent_id, "CLOSED")
    assert receipt["exit"]["reason"] == "SL"
    assert receipt["exit"]["price"] == "144.90"
    assert floor.held(symbol) < Decimal("0.000001")
    assert "SOLD_ELSEWHERE" not in floor.daemon.said
