"""What the replay's benchmark tells: every number there is to be, from a run too short to mean anything."""

from __future__ import annotations

import pytest

from bench import replay


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(replay, "QUICK_ROWS", 20_000)
    monkeypatch.setattr(replay, "QUICK_PEER_ROWS", 2_000)


def test_a_market_is_played_without_and_with_intents(short, monkeypatch):
    monkeypatch.setattr(replay, "find_spec", lambda name: None)
    assert replay.missing() == ["nautilus_trader"]
    found = replay.run(quick=True)
    assert set(found) == {
        "ticks_per_s",
        "ticks_per_s_with_intents",
        "ticks_per_s_with_long_trades",
        "intents",
    }
    assert all(value > 0 for value in found.values())


def test_the_peer_plays_the_same_rows_where_it_is_installed(short):
    pytest.importorskip("nautilus_trader")
    found = replay.run(quick=True)
    assert found["nautilus_ticks_per_s"] > 0
    assert found["ratio"] == pytest.approx(found["ticks_per_s"] / found["nautilus_ticks_per_s"], abs=0.1)


def test_intents_are_near_the_market():
    rows = replay.market(5_000)
    made = replay.intents(rows, 5)
    assert len({arrival.name for arrival in made}) == 5
    assert all(rows["recv_ns"][0] < arrival.at_ns <= rows["recv_ns"][-1] + 1 for arrival in made)
