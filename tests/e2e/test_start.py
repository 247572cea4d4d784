"""Starts that once went wrong: a HALT file nobody had seen yet, a symbol no longer allowed, a dry run beside a daemon."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest

from tests.e2e.harness import MARKET, Floor, until

pytestmark = pytest.mark.e2e

TOUCH = {
    "entry": "touch",
    "arm_seconds": 60,
    "trigger_price": 98500,
    "stop_loss": 95000,
    "take_profit": 109000,
}
TOUCHED = {"symbol": "BTC/USD", "bid": 98490, "ask": 98500, "bid_size": 5, "ask_size": 5}


def _is_touched(floor: Floor) -> bool:
    """Publish the touch's price, and say whether the daemon, which may not have subscribed yet, has it."""
    floor.market(TOUCHED)
    found = floor.ask(do="quote", symbols=["BTC/USD"])["quotes"][0]
    return found["bid"] is not None and Decimal(found["bid"]) == TOUCHED["bid"]


@pytest.mark.parametrize("folder_is_safe", [True, False])
def test_a_halt_file_written_while_it_was_dead_is_seen_before_a_touch_may_fire(
    floor: Floor, folder_is_safe: bool
) -> None:
    """Where the drop folder cannot be watched any more, only the start itself looks for the file."""
    floor.open()
    armed, owned = floor.drop("BTC/USD", **TOUCH), floor.drop("SOL/USD")
    floor.expect(armed, "ARMED")
    floor.protected(owned)
    floor.kill()
    (floor.intents / "HALT").write_text("stop\n")
    if not folder_is_safe:
        floor.intents.chmod(0o777)  # the owner of SOL stays up all the same

    floor.market(TOUCHED)
    floor.launch()

    def halted() -> bool:
        floor.market(TOUCHED)  # again and again, from before its first word on
        return floor.is_answering() and floor.status()["state"] == "HALTED"

    until("HALTED", halted)
    floor.expect(armed, "CANCELED")
    until("it has seen the price", lambda: _is_touched(floor))
    assert not floor.entries("BTC/USD")
    assert floor.stops("SOL/USD") == floor.held("SOL/USD") > 0
    assert [reason["code"] for reason in floor.status()["reasons"]] == ["HALT_FILE"]
    floor.intents.chmod(0o755)


def test_what_is_owned_on_a_symbol_that_is_no_longer_allowed_is_still_closed_at_its_target(
    floor: Floor,
) -> None:
    floor.open()
    owned = floor.drop("SOL/USD")
    floor.protected(owned)
    assert floor.stop() == 0
    ready = floor.launch("--symbols", "AAPL").ready()
    assert ready["symbols"] == ["AAPL"]
    floor.market(*MARKET)
    floor.seen(MARKET[0])
    floor.protected(owned)
    floor.expect(floor.drop("SOL/USD"), "REJECTED", code="SYMBOL_NOT_ALLOWED")
    floor.expect(floor.drop("SPY"), "REJECTED", code="SYMBOL_NOT_ALLOWED")
    floor.move("SOL/USD", 165.10, 165.20)
    assert floor.expect(owned, "CLOSED")["exit"]["reason"] == "TP"
    assert floor.held("SOL/USD") < Decimal("0.001")
    assert len(floor.entries("SOL/USD")) == 1

    # the state directory is lost after the fifth trade of the day: the venue remembers
    assert floor.stop() == 0
    trade_by_hand(floor, times=4)
    floor.state.rename(floor.folder / "lost")
    floor.launch().ready()
    floor.market(*MARKET)
    floor.seen(MARKET[0])
    floor.expect(floor.drop("AAPL"), "REJECTED", code="DAILY_TRADES")
    status = floor.status()
    assert (status["state"], status["day"]["trades"]) == ("ACTIVE", 5)


def trade_by_hand(floor: Floor, times: int) -> None:
    """Buy and sell a share under ids like ours, as an engine with another state directory would."""
    for _ in range(times):
        name = f"hands-{uuid.uuid4()}"
        for side, leg in (("buy", "entry"), ("sell", "exit")):
            order = {"symbol": "SPY", "qty": "1", "side": side, "type": "market", "time_in_force": "day"}
            sent, answer = floor.request("POST", "/v2/orders", order | {"client_order_id": f"{name}-{leg}-1"})
            assert sent == 200, answer
            until(
                "it has filled", lambda n=f"{name}-{leg}-1": floor.orders(client_order_id=n, status="filled")
            )


def test_a_dry_run_beside_a_daemon_cancels_nothing_of_it(floor: Floor) -> None:
    folder = floor.folder / "dry"
    folder.mkdir()
    dry = Floor(folder, floor.exchange)
    floor.open()
    quote = {"symbol": "SPY", "bid": 599.97, "ask": 600.02, "ask_size": 0}
    floor.market(quote)
    floor.seen(quote)
    working = floor.drop("SPY", ttl_seconds=15)
    floor.expect(working, "WORKING", where=lambda r: r["stamps_ns"]["acked"])

    requests = len(floor.truth()["requests"])
    beside = floor.start("dry", dry.command("--dry-run"))
    assert beside.ready()["dry_run"] is True  # it has read every order by then
    asked = floor.truth()["requests"][requests:]
    assert ("GET", "/v2/orders") in {(request["method"], request["path"].split("?")[0]) for request in asked}
    assert beside.end() == 0
    asked = floor.truth()["requests"][requests:]
    assert [request for request in asked if request["method"] != "GET"] == []
    assert [(entry["symbol"], entry["status"]) for entry in floor.entries()] == [("SPY", "new")]
    floor.expect(working, "WORKING")
    floor.move("SPY", 599.98, 600.02)
    floor.protected(working)
