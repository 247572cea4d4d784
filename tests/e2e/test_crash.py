"""kill -9 at every moment: afterwards one order per intent at most, no naked position, and nothing forgotten."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest

from tests.e2e.harness import OVER, Floor, until

pytestmark = pytest.mark.e2e

TOUCH = {
    "entry": "touch",
    "arm_seconds": 60,
    "trigger_price": 98500,
    "stop_loss": 95000,
    "take_profit": 109000,
}


def test_a_position_a_working_entry_and_an_armed_touch_survive(floor: Floor) -> None:
    floor.open()
    coins = floor.drop("SOL/USD")
    armed = floor.drop("BTC/USD", **TOUCH)
    shares = floor.drop("AAPL")
    for intent_id in (shares, coins):
        floor.protected(intent_id)
    floor.expect(armed, "ARMED")
    quote = {"symbol": "SPY", "bid": 599.97, "ask": 600.02, "ask_size": 0}
    floor.market(quote)
    floor.seen(quote)
    working = floor.drop("SPY", ttl_seconds=15)
    floor.expect(working, "WORKING", where=lambda r: r["stamps_ns"]["acked"])
    floor.kill()
    receipts = floor.intents / "receipts"
    for intent_id in (coins, armed, shares, working):
        (receipts / f"{intent_id}.json").unlink()

    floor.launch().ready()
    floor.market(quote, *(row for row in _others(floor)))
    floor.expect(working, "WORKING")
    floor.expect(armed, "ARMED")
    for intent_id, symbol in ((shares, "AAPL"), (coins, "SOL/USD")):
        floor.protected(intent_id)
        assert floor.stops(symbol) == floor.held(symbol) > 0
        assert len(floor.entries(symbol)) == 1
    day = floor.status()["day"]
    assert (day["trades"], day["live"]) == (3, 3)
    floor.move("BTC/USD", 98490, 98500)  # the touch fires, and is judged with everything that lives counted
    floor.expect(armed, "REJECTED", code="CONCURRENT")

    floor.move("SPY", 599.98, 600.02)
    floor.protected(working)
    floor.move("AAPL", 155.10, 155.12, print_at=155.10)
    assert floor.expect(shares, "CLOSED")["exit"]["reason"] == "TP"
    floor.move("SOL/USD", 144.90, 144.98)
    assert floor.expect(coins, "CLOSED")["exit"]["reason"] == "SL"
    assert len(floor.entries()) == 3
    assert {row["intent_id"] for row in (floor.episode(shares), floor.episode(coins))} == {shares, coins}


def _others(floor: Floor) -> list[dict[str, object]]:
    return [
        {"symbol": "AAPL", "bid": 149.98, "ask": 150.00},
        {"symbol": "SOL/USD", "bid": 149.95, "ask": 150.00},
        {"symbol": "BTC/USD", "bid": 99990, "ask": 100010},
    ]


def test_the_days_trades_are_counted_across_a_crash(floor: Floor) -> None:
    floor.limit(max_daily_trades=1)
    floor.open()
    first = floor.drop()
    floor.protected(first)
    floor.kill()
    floor.open()
    floor.expect(floor.drop("SPY"), "REJECTED", code="DAILY_TRADES")
    floor.expect(first, "OPEN")


def test_an_armed_touch_fires_after_a_crash(floor: Floor) -> None:
    floor.open()
    armed = floor.drop("BTC/USD", **TOUCH)
    floor.expect(armed, "ARMED")
    floor.kill()
    floor.open()
    floor.expect(armed, "ARMED")
    floor.move("BTC/USD", 98490, 98500)
    floor.protected(armed)
    assert len(floor.entries()) == 1


def test_a_deadline_that_passed_while_it_was_dead_is_kept_at_the_start(floor: Floor) -> None:
    floor.open()
    quote = {"symbol": "AAPL", "bid": 149.97, "ask": 150.00, "ask_size": 0}
    floor.market(quote)
    floor.seen(quote)
    intent_id = floor.drop(ttl_seconds=2)  # until it is killed, on however busy a machine
    receipt = floor.expect(intent_id, "WORKING", where=lambda r: r["stamps_ns"]["acked"])
    floor.kill()
    deadline_ns = receipt["stamps_ns"]["file_event"] + 2_000_000_000
    until("the deadline has passed", lambda: floor.truth()["now_ns"] > deadline_ns)
    floor.market({"symbol": "AAPL", "bid": 149.97, "ask": 150.00, "ask_size": 0})
    floor.launch().ready()
    floor.expect(intent_id, "EXPIRED")
    (entry,) = floor.entries()
    assert entry["status"] == "canceled"
    assert floor.status()["day"]["trades"] == 0


def test_an_answer_lost_with_the_process_is_found_by_id(floor: Floor) -> None:
    floor.open()
    floor.faults(
        {"on": "POST /v2/orders", "do": "delay", "delay_ms": 2000}
    )  # it is taken, but the answer hangs
    intent_id = floor.drop("SOL/USD")
    until("the exchange has it", lambda: floor.held("SOL/USD") > 0)
    floor.kill()
    floor.open()
    floor.protected(intent_id)
    assert floor.stops("SOL/USD") == floor.held("SOL/USD")
    assert len(floor.entries()) == 1


def test_an_order_that_never_left_is_not_sent_by_the_next_life(floor: Floor) -> None:
    floor.open()
    floor.faults({"on": "POST /v2/orders", "do": "drop_request", "times": 1})
    intent_id = floor.drop(ttl_seconds=1)
    floor.expect(intent_id, "UNKNOWN")
    floor.kill()
    floor.open()
    floor.expect(intent_id, "EXPIRED")
    assert not floor.orders()
    assert floor.status()["day"]["trades"] == 0


def test_an_exit_that_was_under_way_is_finished_once(floor: Floor) -> None:
    """The stop is cancelled, the sale hangs on the wire: the worst moment for coins. It arrives after all, twice."""
    floor.open()
    intent_id = floor.drop("SOL/USD")
    floor.protected(intent_id)
    floor.faults({"on": "POST /v2/orders", "do": "delay", "delay_ms": 5000, "at": "request"})
    floor.move("SOL/USD", 165.10, 165.20)
    until("the sale is on its way", lambda: _answered_exits(floor) == [0])
    assert floor.stops("SOL/USD") == 0
    floor.kill()
    floor.launch().ready()
    receipt = floor.expect(intent_id, "CLOSED")
    assert receipt["exit"]["reason"] == "TP"
    until("both requests were answered", lambda: _answered_exits(floor) == [200, 422])
    assert 0 <= floor.held("SOL/USD") < Decimal("0.000001")
    assert (
        floor.naked_max_ms("SOL/USD") < 4500
    )  # start-up included: the next daemon sold, not the late request


def _answered_exits(floor: Floor) -> list[int]:
    submits = [r for r in floor.truth()["requests"] if (r["method"], r["path"]) == ("POST", "/v2/orders")]
    return sorted(r["status"] or 0 for r in submits if "-exit-" in str(r["body"]))


@contextmanager
def _no_receipts(floor: Floor) -> Iterator[None]:
    """The folder of receipts is away: whatever dies in here died between the journal's word and the receipt's."""
    folder, away = floor.intents / "receipts", floor.folder / "receipts"
    folder.rename(away)
    folder.write_bytes(b"in the way")
    try:
        yield
    finally:
        folder.unlink()
        away.rename(folder)


def test_a_rejection_whose_receipt_was_not_written_yet_gets_it_at_the_next_start(floor: Floor) -> None:
    floor.open()
    with _no_receipts(floor):
        intent_id = floor.drop(confidence=0.1)
        until("it is judged", lambda: floor.rows("SELECT * FROM intents WHERE intent_id = ?", intent_id))
        floor.kill()
    floor.open()
    floor.expect(intent_id, "REJECTED", code="CONFIDENCE_TOO_LOW")


def test_a_trade_that_closed_before_its_receipt_said_so_is_closed_at_the_next_start(floor: Floor) -> None:
    floor.open()
    intent_id = floor.drop()
    floor.protected(intent_id)
    with _no_receipts(floor):
        floor.move("AAPL", 155.10, 155.12, print_at=155.10)
        floor.episode(intent_id)
        floor.kill()
    floor.open()
    assert floor.expect(intent_id, "CLOSED")["exit"]["reason"] == "TP"


@pytest.mark.parametrize("seed", range(2))
def test_at_any_moment(new_floor: Callable[..., Floor], seed: int) -> None:
    """Drop, kill a moment later, start again; four times with one account and one state directory."""
    random_ = random.Random(seed)
    floor = new_floor()
    floor.limit(max_daily_trades=100, semantic_duplicate_s=0, max_daily_loss=0.5)
    floor.open()
    dropped = []
    for symbol in ("SOL/USD", "AAPL", "BTC/USD", "SPY"):
        moment = random_.choice(["dropped", "asked", "judged", "filled", "stopped"])
        count = len(floor.truth()["requests"])
        intent_id = floor.drop(symbol, ttl_seconds=15)
        dropped.append(intent_id)
        if moment == "asked":
            until("a request", lambda count=count: len(floor.truth()["requests"]) > count)
        elif moment == "judged":
            until("a receipt", lambda intent_id=intent_id: floor.receipt(intent_id))
        elif moment == "filled":
            until("a fill", lambda symbol=symbol: floor.held(symbol) > 0)
        elif moment == "stopped":
            until("a stop", lambda symbol=symbol: floor.stops(symbol) > 0)
        floor.kill()
        floor.open()
        receipt = floor.expect(intent_id, where=lambda r: r["state"] in OVER | {"OPEN"})
        held = floor.held(symbol)
        assert len(floor.entries(symbol)) <= 1, moment
        assert (held > 0) == (receipt["state"] == "OPEN"), (moment, receipt["state"])
        if held:
            floor.protected(intent_id)
            assert floor.stops(symbol) == held, moment
    live = sum(floor.expect(intent_id)["state"] == "OPEN" for intent_id in dropped)
    day = floor.status()["day"]
    assert (day["live"], day["trades"]) == (live, live)
    assert live <= 3
