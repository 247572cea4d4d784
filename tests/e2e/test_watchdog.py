"""The watchdog at the engine's worst moments, each exact: stopped, killed, or itself killed half-way.

`tests/watchdog` shows the watchdog at work; the cells of `python -m tests.crash.real` with a watchdog cross it with the
deaths. Here the engine stands still, or dies, with a position that has no stop, and comes back in the middle of the very
call in which it stopped.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hands.core.guard_sheet import FILE_NAME as SHEET
from tests.crash.real_desk import Desk, events
from tests.crash.real_judge import Books, Story
from tests.e2e.harness import MARKET, Exchange, until

pytestmark = pytest.mark.e2e

SUBMIT = "POST /v2/orders"
PASS = {"on": SUBMIT, "do": "delay", "delay_ms": 1}
NOT_NOW = {"on": SUBMIT, "do": "status", "status": 403, "body": {"code": 40310000, "message": "not now"}}
LOST = {"on": SUBMIT, "do": "drop_request"}
FLAT_WITHIN_MS = 5000
COINS = "SOL/USD"


@pytest.fixture
def desk(tmp_path: Path, shared_exchange: Exchange) -> Iterator[Desk]:
    """A desk with a daemon that trades."""
    shared_exchange.reset()
    desk = Desk(tmp_path, shared_exchange)
    try:
        desk.start_life(*MARKET)
        yield desk
        desk.check()
    finally:
        desk.close()


def _drop(desk: Desk, **changes: Any) -> tuple[str, bytes]:
    document = desk.document(COINS, **changes)
    data = json.dumps(document).encode()
    desk.drop_bytes(data, f"{document['intent_id']}.json")
    return document["intent_id"], data


def _fill(desk: Desk, step: str, number: signal.Signals) -> tuple[str, bytes]:
    """Have an entry wait at the exchange, and fill it with the end at `step` prepared."""
    quote = {"symbol": COINS, "bid": 149.94, "ask": 150.00, "ask_size": 0}
    desk.market(quote)
    desk.seen(quote)
    intent_id, data = _drop(desk, ttl_seconds=15)
    desk.expect(intent_id, "WORKING", where=lambda r: r["stamps_ns"]["acked"])
    until("its stop is on the watchdog's sheet", lambda: intent_id in (desk.state / SHEET).read_text())
    desk.arm(step, number)
    desk.move(COINS, 149.95, 150.00)
    return intent_id, data


def _is_covered(desk: Desk) -> bool:
    return desk.truth()["naked"][COINS]["naked_since_ns"] is None


def _well_told(desk: Desk, intent_id: str, data: bytes, reason: str) -> None:
    """Wait until everything that was written of a trade is as the exchange has it."""
    said: list[str] = []

    def look() -> bool:
        said[:] = Story(desk.intents, desk.state, Books(desk.truth()), intent_id, data).complaints(reason)
        return not said

    try:
        until("the trade is told as it was", look)
    except AssertionError:
        raise AssertionError(f"what was written is not what was: {said}") from None


def _exits(desk: Desk) -> list[tuple[str, str]]:
    """Return every selling order of coins the exchange took, and what became of it."""
    return [(o["client_order_id"][-6:], o["status"]) for o in desk.orders(symbol=COINS, side="sell")]


def test_stopped_between_the_fill_and_the_stop_it_finds_itself_flat_and_does_not_act_twice(
    desk: Desk,
) -> None:
    """Every stop is refused, so the watchdog closes; the engine wakes up within the write of its own stop."""
    dog = desk.start_watchdog()
    intent_id, data = _fill(desk, "write/submit/sl:1:before", signal.SIGSTOP)
    desk.stand_still()
    desk.faults(NOT_NOW)  # the watchdog's stop
    until("flat", lambda: desk.held(COINS) == 0)
    assert desk.naked_max_ms(COINS) < FLAT_WITHIN_MS
    sold = _exits(desk)
    desk.go_on()
    desk.expect(intent_id, "CLOSED")
    _well_told(desk, intent_id, data, "LIQUIDATED")
    until("the watchdog stands down", lambda: "stands_down" in events(dog))
    until("the engine trades again", lambda: desk.status()["ready"])
    assert _exits(desk) == sold, "it acted twice"
    assert desk.held(COINS) == 0
    assert desk.status()["day"]["live"] == 0


def test_killed_before_the_stop_the_watchdog_places_it_and_the_next_life_keeps_it(desk: Desk) -> None:
    """The watchdog dies too, between its fence and its order; of the two that follow it one goes on."""
    dog = desk.start_watchdog()
    intent_id, data = _fill(desk, "write/submit/sl:1:before", signal.SIGKILL)
    desk.faults(LOST)  # the watchdog's order, where it is quicker than the kill
    until("the engine is dead", lambda: desk.is_dead)
    desk.bury("write/submit/sl:1:before")
    until("the fence is up", lambda: "fence" in events(dog))
    dog.end(signal.SIGKILL)
    assert not _exits(desk)
    assert desk.request("DELETE", "/sim/v1/faults")[0] in (200, 204)
    dogs = [desk.watch_on() for _ in range(2)]
    until("one of the two steps back", lambda: sum(one.is_running for one in dogs) == 1, 20.0)
    until("the stop stands", lambda: _is_covered(desk))
    placed = _exits(desk)
    assert [status for _, status in placed] == ["new"]
    desk.start_life(*MARKET)
    desk.protected(intent_id)
    assert _exits(desk) == placed
    desk.move(COINS, 165.10, 165.20)
    desk.expect(intent_id, "CLOSED")
    _well_told(desk, intent_id, data, "TP")


def test_stopped_in_the_middle_of_an_exit_nothing_is_sold_twice(desk: Desk) -> None:
    """The stop is cancelled and the sale not yet written: the watchdog protects anew, and then the engine writes it."""
    desk.start_watchdog()
    intent_id, data = _drop(desk)
    desk.protected(intent_id)
    desk.arm("write/submit/exit:1:before", signal.SIGSTOP)
    desk.move(COINS, 165.10, 165.20)
    desk.stand_still()
    began = time.monotonic()
    until("protected or flat", lambda: _is_covered(desk))
    assert time.monotonic() - began < FLAT_WITHIN_MS / 1000
    desk.go_on()
    until("the engine trades again", lambda: desk.status()["ready"])
    desk.move(COINS, 165.10, 165.20)
    desk.expect(intent_id, "CLOSED")
    _well_told(desk, intent_id, data, "TP")
    assert desk.held(COINS) < 1e-6
    assert desk.naked_max_ms(COINS) < FLAT_WITHIN_MS
