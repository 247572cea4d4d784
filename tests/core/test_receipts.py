"""Receipts: what is told at every station of a trade, and that it is a function of the state."""

from __future__ import annotations

from hands.core.commands import ReceiptChanged
from hands.core.events import OperatorAction
from hands.core.receipts import receipt
from hands.core.units import NS_PER_S
from tests.core.desk import Desk
from tests.core.test_engine import TOUCH
from tests.core.test_protection import opened, partly


def test_the_contracts_example() -> None:
    desk = opened()
    found = desk.receipt()
    assert found["order"] == {
        "client_order_id": "hands-00000000-0000-4000-8000-000000000001-entry-1",
        "order_class": "bracket",
        "side": "buy",
        "qty": "66",
        "limit_price": "150.15",
        "take_profit": "155",
        "stop_loss": "148",
        "risk_usd": "141.90",
        "notional_usd": "9909.90",
    }
    assert found["position"] == {"qty": "66", "avg_price": "150.00"}
    assert found["sizing"]["binding"] == "max_position_size"
    assert found["sizing"]["caps"]["max_risk_per_trade"] == "930"
    assert (found["verdict"], found["code"], found["state"]) == ("ACCEPTED", "OK", "OPEN")
    assert found["exit"] is None


def test_every_change_raises_the_sequence_by_one_and_is_announced() -> None:
    desk = opened()
    changes = len(desk.sent(ReceiptChanged))
    assert desk.receipt()["seq"] == changes
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(1)
    assert desk.receipt()["seq"] == len(desk.sent(ReceiptChanged)) > changes


def test_protection_is_named_by_what_rests() -> None:
    assert opened().receipt()["protection"]["kind"] == "venue_bracket"
    assert opened("SOL/USD").receipt()["protection"]["kind"] == "venue_stop"
    desk = partly(Desk(), "40")
    desk.run(0.1)
    assert desk.receipt()["protection"] is None
    desk.run(2)
    assert desk.receipt()["protection"]["kind"] == "venue_oco"


def test_an_exit_on_its_way_is_protection_of_its_own() -> None:
    desk = opened(max_hold_seconds="5")
    desk.until(desk.exits, 6)
    found = desk.receipt()
    assert found["state"] == "CLOSING"
    assert found["protection"]["kind"] == "engine_exit"
    assert found["protection"]["since_ns"] == desk.ticket().exit_since_ns


def test_stamps_are_in_order() -> None:
    stamps = opened().receipt()["stamps_ns"]
    assert stamps["file_event"] <= stamps["decided"] or stamps["decided"] is None
    assert stamps["sent"] < stamps["acked"] <= stamps["filled"]


def test_a_restart_tells_every_open_receipt_again_and_unchanged() -> None:
    desk = opened()
    before = desk.receipt()
    desk.crash()
    desk.restart()
    desk.run(1)
    after = desk.receipt()
    for name in ("verdict", "state", "order", "position", "fills", "checks", "sizing", "protection"):
        assert after[name] == before[name], name
    assert after["seq"] > before["seq"]


def test_what_comes_next_is_said_in_every_state() -> None:
    desk = Desk()
    desk.drop(1, **TOUCH)
    assert "Waits for AAPL to trade at 149.5" in desk.receipt()["next"]
    desk.operator(OperatorAction.HALT)
    assert "new intent under a new id" in desk.receipt()["next"]
    desk.drop(2)
    assert desk.receipt(2)["retry"] == "after"
    assert "until the operator resumes" in desk.receipt(2)["next"]


def test_a_denial_carries_the_check_it_failed_last() -> None:
    desk = Desk()
    desk.drop(1, stop_loss="100")
    found = desk.receipt()
    assert (found["verdict"], found["code"]) == ("REJECTED", "STOP_TOO_FAR")
    assert found["checks"][-1]["ok"] is False
    assert all(check["ok"] for check in found["checks"][:-1])
    assert found["order"] is None


def test_a_receipt_changes_nothing() -> None:
    desk = opened()
    seq = desk.ticket().seq
    first = receipt(desk.state, desk.ticket())
    assert receipt(desk.state, desk.ticket()) == first
    assert desk.ticket().seq == seq
    assert desk.ticket().received_ns <= desk.now_ns + NS_PER_S
