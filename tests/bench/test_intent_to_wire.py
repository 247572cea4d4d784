"""The measurement as a whole, with real processes and a handful of documents: every document has its order."""

from __future__ import annotations

import pytest

from bench import peers
from bench.intent_to_wire import Size, measure


@pytest.mark.e2e
def test_every_contender_turns_every_document_into_one_order_and_the_stages_are_explained(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(peers, "missing", lambda peer: None if peer == "tuned" else "alpaca-py")
    told = []
    found = measure(
        tmp_path, Size(samples=8, warm_up=2, rounds=2, naive=0), lambda name, drops: told.append(name)
    )
    assert found["n"] == found["tuned_n"] == 8
    assert 0 < found["p50_us"] <= found["p99_us"] <= found["p999_us"] <= found["max_us"]
    assert found["floor_p50_us"] > 0
    assert {row["stage"] for row in found["waterfall"]} >= {"file_event → decided", "decided → journaled"}
    assert {name: told.count(name) for name in set(told)} == {"floor": 18, "tuned": 10, "hands": 18}
    assert "naive_p50_us" not in found
