"""kill -9: afterwards one order per intent at most, no naked position, and nothing forgotten.

Every exact moment is a cell of `python -m tests.crash.real`; a few of its cells and what no single trade shows are here.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.crash import hour, real_naked
from tests.crash.real import play
from tests.crash.real_cells import CELLS, EVERY_RUN, EVERY_TEST_RUN
from tests.crash.real_judge import Books, Story
from tests.e2e.harness import Floor, until

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


def test_the_worst_moments_of_each_scenario(tmp_path: Path) -> None:
    verdicts = play(EVERY_RUN, tmp_path, lambda verdict: None)
    assert [f"{v.cell.name}: {v.complaints}" for v in verdicts if not v.is_ok] == []
    assert len(verdicts) == len(EVERY_TEST_RUN)
    assert all(verdict.down_ms for verdict in verdicts), "nobody died"


def test_the_matrix_has_its_cells_once_each() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS) >= 60


Truth = dict[str, Any]


def _entered_twice(truth: Truth) -> None:
    entry = next(o for o in truth["orders"] if o["client_order_id"].endswith("-entry-1"))
    name = entry["client_order_id"].replace("-entry-1", "-entry-2")
    truth["orders"].append(entry | {"client_order_id": name, "id": "another"})


def _sent_twice(truth: Truth) -> None:
    truth["requests"].append(next(r for r in truth["requests"] if "-entry-1" in str(r["body"])))


def _filled_unheard(truth: Truth) -> None:
    truth["fills"][0]["execution_id"] = "another"


def _filled_dearer(truth: Truth) -> None:
    truth["fills"][0]["price"] = "150.01"


def _left_working(truth: Truth) -> None:
    truth["orders"][-1]["status"] = "new"


def _sold_less(truth: Truth) -> None:
    truth["fills"][-1]["qty"] = "60"


def _sold_more(truth: Truth) -> None:
    truth["fills"][-1]["qty"] = "70"


BREACHES: dict[Callable[[Truth], None], str] = {
    _entered_twice: "2 entry orders for one intent",
    _sent_twice: "the entry was sent 2 times",
    _filled_unheard: "fills without a row: buy 66",
    _filled_dearer: "P&L",
    _left_working: "orders are left at the exchange",
    _sold_less: "6.0 are left of it at the exchange",
    _sold_more: "more was sold than bought",
}


def test_the_judge_of_the_matrix_sees_what_is_wrong(floor: Floor) -> None:
    floor.open()
    document = floor.document()
    intent_id, data = document["intent_id"], json.dumps(document).encode()
    floor.drop_bytes(data, f"{intent_id}.json")
    floor.protected(intent_id)
    floor.move("AAPL", 155.10, 155.12, print_at=155.10)
    floor.expect(intent_id, "CLOSED")

    def complaints(truth: Truth, reason: str = "TP") -> list[str]:
        return Story(floor.intents, floor.state, Books(truth), intent_id, data).complaints(reason)

    until("all is well", lambda: not complaints(floor.truth()))
    truth = floor.truth()
    for breach, words in BREACHES.items():
        wrong = copy.deepcopy(truth)
        breach(wrong)
        assert any(words in complaint for complaint in complaints(wrong)), words
    assert complaints(truth, "SL") == ["it ended by TP, not by SL"]
    assert real_naked.disagreements(truth) == []
    assert real_naked.disagreements(truth | {"naked": {"AAPL": {"naked_ns": 10**9}}})
    (filed,) = (floor.intents / "archive").glob(f"*/{intent_id}.json")
    filed.write_bytes(data + b" ")
    assert complaints(truth) == ["the archived document is another one"]
    filed.unlink()
    (floor.intents / "receipts" / f"{intent_id}.json").unlink()
    assert complaints(truth) == ["archived 0 times: []", "receipts: []", "there is no receipt"]


@pytest.mark.skipif("HANDS_SOAK" not in os.environ, reason="takes minutes; HANDS_SOAK=1 runs it")
def test_minutes_on_the_wall_clock_with_faults_and_deaths_at_any_moment(tmp_path: Path) -> None:
    found = hour.trade_on(tmp_path, 3.0, seed=1)
    assert found["complaints"] == []
    assert found["trades"] > 50
    assert found["kills"] > 1
