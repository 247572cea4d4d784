"""The waterfall: stages from receipts, the outer two only while the wall clock stood still."""

from __future__ import annotations

import json

import pytest

from bench.drops import Drop
from bench.processes import BenchError
from bench.waterfall import explain_missing, read_receipts, wall_offset_ns, waterfall

OFFSET = 1_700_000_000_000_000_000
DROP = Drop("id-1", 900, 1_000)
RECEIPT = {
    "verdict": "ACCEPTED",
    "code": "OK",
    "message": "refused by the venue",
    "state": "VENUE_REJECTED",
    "stamps_ns": {
        "file_event": OFFSET + 51_000,
        "decided": OFFSET + 251_000,
        "journaled": OFFSET + 301_000,
        "sent": OFFSET + 341_000,
        "acked": None,
    },
}


def _stages(offsets):
    rows = waterfall({"id-1": RECEIPT}, [DROP], {"id-1": 321_000}, offsets)
    return {row["stage"]: row["p50_us"] for row in rows}


def test_the_stages_add_up_to_the_latency():
    assert _stages((OFFSET, OFFSET)) == {
        "rename → file_event": 50.0,
        "file_event → decided": 200.0,
        "decided → journaled": 50.0,
        "journaled → sent": 40.0,
        "journaled → first byte received": 20.0,
    }


def test_after_a_step_of_the_wall_clock_only_the_engines_own_stages_are_shown():
    assert list(_stages((OFFSET, OFFSET + 1_000_000))) == [
        "file_event → decided",
        "decided → journaled",
        "journaled → sent",
    ]


def test_a_stage_without_stamps_is_left_out_and_not_guessed():
    bare = RECEIPT | {"stamps_ns": RECEIPT["stamps_ns"] | {"decided": None, "journaled": None}}
    rows = waterfall({"id-1": bare}, [DROP], {"id-1": 321_000}, (OFFSET, OFFSET))
    assert [row["stage"] for row in rows] == ["rename → file_event"]


def test_the_offset_of_the_clocks_is_the_same_twice():
    assert abs(wall_offset_ns() - wall_offset_ns()) < 1_000_000_000


def test_a_receipt_is_read_once_its_order_was_refused(tmp_path):
    place = tmp_path / "receipts"
    place.mkdir()
    (place / "id-1.json").write_text(json.dumps(RECEIPT))
    assert read_receipts(tmp_path, [DROP]) == {"id-1": RECEIPT}


def test_a_document_that_did_not_become_an_order_fails_the_run_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.waterfall._READ_WITHIN_S", 0.0)
    place = tmp_path / "receipts"
    place.mkdir()
    denied = {"verdict": "REJECTED", "code": "SYMBOL_BUSY", "message": "AAPL is busy", "state": "REJECTED"}
    (place / "id-1.json").write_text(json.dumps(denied | {"stamps_ns": {"sent": None}}))
    with pytest.raises(BenchError, match="SYMBOL_BUSY"):
        read_receipts(tmp_path, [DROP])
    assert explain_missing(tmp_path, [DROP], {}) == "REJECTED SYMBOL_BUSY: AAPL is busy"
    assert explain_missing(tmp_path, [Drop("id-2", 0, 0)], {}) == "id-2 has no receipt"
    assert explain_missing(tmp_path, [DROP], {"id-1": 1}) == "every document has its order"
