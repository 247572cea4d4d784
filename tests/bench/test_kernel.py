"""What the kernel's benchmarks tell: every number there is to be, from a run too short to mean anything."""

from __future__ import annotations

import pytest

from bench import indicators, kernel


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(kernel, "SYMBOL_COUNTS", (1, 70))
    monkeypatch.setattr(kernel, "TRIGGER_COUNTS", (1, 50))


def test_a_row_is_measured_in_every_way(short):
    found = kernel.run(quick=True)
    assert set(found) == {
        "ns_per_tick_batch", "ns_per_tick_single", "ns_per_quote_batch", "ns_per_indicators_read",
    }  # fmt: skip
    assert all(value > 0 for value in found.values())
    assert found["ns_per_tick_single"] > found["ns_per_tick_batch"]


def test_scale_is_told_by_how_many_of_what(short):
    found = kernel.scale(quick=True)
    assert set(found["symbols"]) == set(found["symbols_quotes"]) == {"1", "70"}
    assert set(found["triggers"]) == set(found["triggers_trailing"]) == {"1", "50"}
    assert 30_000 < found["bytes_per_symbol"] < 40_000
    assert 200 < found["bytes_per_trigger"] < 300


def test_peers_that_are_not_installed_are_named_and_absent(monkeypatch):
    monkeypatch.setattr(indicators, "find_spec", lambda name: None)
    monkeypatch.setattr(kernel, "run", lambda quick: {"ns_per_tick_batch": 4.04})
    assert indicators.missing() == ["nautilus_trader", "talipp", "ta-lib"]
    found = indicators.run(quick=True)
    assert found.pop("ns_per_tick_same") > 0
    assert found == {"ns_per_tick_batch": 4.0}


def test_the_error_is_told_where_talib_is_installed():
    pytest.importorskip("talib")
    assert 0 < indicators.talib_max_rel_err(1_000) < 1e-9
