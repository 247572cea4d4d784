"""A venue whose clock is not ours: no entries, said by how much, and over as soon as the clocks agree again."""

from __future__ import annotations

import os
from decimal import Decimal

import pytest

from tests.e2e.harness import Floor, stamp, until

pytestmark = pytest.mark.e2e


@pytest.mark.skipif(not os.environ.get("HANDS_SOAK"), reason="its rule is held by tables in tests/core")
def test_trap_29_clocks_that_are_apart_stop_entries_and_say_by_how_much(floor: Floor) -> None:
    floor.setting(session_s=0.5)
    floor.open()
    owned = floor.drop("SOL/USD")
    floor.protected(owned)
    clock = floor.request("GET", "/v2/clock")[1] | {"timestamp": stamp(-600)}
    floor.faults({"on": "GET /v2/clock", "do": "status", "status": 200, "body": clock, "times": 10_000})

    def detail() -> str:
        return next((r["detail"] for r in floor.status()["reasons"] if r["code"] == "CLOCK_SKEW"), "")

    until("it is noticed", detail)
    assert "s ahead of the venue's; 2 s are allowed (clock_skew_max_ms)" in detail()
    assert "the wall clock is 6" in detail()
    floor.expect(floor.drop("AAPL"), "REJECTED", code="REDUCE_ONLY")
    floor.move("SOL/USD", 165.10, 165.20)  # what is owned is looked after as ever
    assert floor.expect(owned, "CLOSED")["exit"]["reason"] == "TP"
    assert floor.held("SOL/USD") < Decimal("0.001")
    assert floor.request("DELETE", "/sim/v1/faults")[0] in (200, 204)
    until("the clocks agree again", lambda: not floor.status()["reasons"])
    floor.protected(floor.drop("SPY"))
