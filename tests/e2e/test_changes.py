"""Changing one's mind through the drop folder, with a real daemon and a real exchange: cancel, close, amend."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.e2e.harness import Floor, until

pytestmark = pytest.mark.e2e


def change(floor: Floor, kind: str, target: str, **more: Any) -> str:
    """Drop a document that changes an intent, and return its id."""
    members = {"kind": kind, "intent_id": str(uuid.uuid4()), "target_id": target, **more}
    floor.drop_bytes(json.dumps(members).encode(), f"{members['intent_id']}.json")
    return str(members["intent_id"])


def test_an_agent_changes_its_mind(floor: Floor) -> None:
    floor.open()
    armed = floor.drop(
        "AAPL", entry="touch", trigger_price=149, stop_loss=147, take_profit=154, arm_seconds=60
    )
    floor.expect(armed, "ARMED")
    done = floor.expect(change(floor, "cancel", armed), "DONE")
    assert (done["kind"], done["verdict"], done["target_id"]) == ("cancel", "ACCEPTED", armed)
    assert floor.expect(armed, "CANCELED")["message"] == "cancelled by its agent"
    again = floor.expect(change(floor, "cancel", armed), "REJECTED")
    assert (again["code"], again["retry"]) == ("NOTHING_TO_DO", "never")

    held = floor.drop("AAPL")
    floor.protected(held)
    looser = floor.expect(change(floor, "amend", held, stop_loss=147), "REJECTED")
    assert "looser" in looser["message"]
    floor.expect(change(floor, "amend", held, stop_loss=148.5, take_profit=156), "DONE")
    floor.expect(held, "OPEN", where=lambda found: "its stop at 148.5 and its target at 156" in found["next"])

    floor.kill()  # what was wanted before is wanted after
    floor.open()
    floor.expect(held, "OPEN", where=lambda found: "its stop at 148.5 and its target at 156" in found["next"])
    closing = change(floor, "close", held)
    floor.expect(closing, "DONE")
    assert floor.expect(held, "CLOSED")["exit"]["reason"] == "MANUAL"
    assert floor.held("AAPL") == 0
    assert floor.naked_max_ms("AAPL") < 2000

    floor.drop_bytes(
        json.dumps({"kind": "cancel", "intent_id": closing, "target_id": held}).encode(), "again.json"
    )
    refused = floor.intents / "refused" / "again.json.receipt.json"
    until("the second document under the id is refused", refused.exists)
    found = json.loads(refused.read_text())
    assert (found["code"], found["kind"]) == ("DUPLICATE_INTENT", "cancel")
    rows = until("the ledger has them all", lambda: _kinds(floor))
    assert rows == {
        ("cancel", "OK"),
        ("cancel", "NOTHING_TO_DO"),
        ("amend", "OK"),
        ("amend", "NOTHING_TO_DO"),
        ("close", "OK"),
    }


def _kinds(floor: Floor) -> set[tuple[str, str]] | None:
    found = floor.rows("SELECT kind, code FROM intents WHERE kind != 'intent' AND receipt IS NOT NULL")
    return {(row["kind"], row["code"]) for row in found} if len(found) == 5 else None
