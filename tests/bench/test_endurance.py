"""The endurance run: its market is the venue's, what goes wrong does, and a value that is wrong is found."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bench import endurance
from bench.endurance import Size
from bench.endurance_tape import CYCLE_S, STEP_NS, Cycle
from bench.processes import BenchError
from hands.core.rows import RowKind
from hands.core.units import NS_PER_S
from hands.sim.market.synthetic import Rate
from hands.venues.alpaca.frames import FrameDecoder

BEGUN_NS = 1_767_621_600 * NS_PER_S


def _payloads(data):
    while data:
        size, begin = data[1], 2
        if size == 126:
            size, begin = int.from_bytes(data[2:4], "big"), 4
        yield data[begin : begin + size]
        data = data[begin + size :]


@pytest.fixture(scope="module")
def cycle():
    return Cycle(("AAPL", "BTC/USD"), 3, Rate(1.4, 0.6), [(0.0, 30.0)])


@pytest.mark.parametrize("number", [0, 7])
def test_a_cycle_is_the_venues_frames_and_what_they_say_is_what_history_says(cycle, number):
    cycle.begin(number, BEGUN_NS, ["equities", "coins"])
    decoder = FrameDecoder({symbol: sym for sym, symbol in enumerate(cycle.symbols)})
    heard, notices = [], 0
    for feed in cycle.feeds.values():
        for step in range(CYCLE_S * NS_PER_S // STEP_NS):
            for payload in _payloads(feed.of(step)):
                found = decoder.decode(payload, 1)
                assert (found.malformed, found.unknown_symbols) == (0, 0)
                heard.append(decoder.rows[: found.count].copy())
                notices += len(found.notices)
    rows = np.concatenate(heard)
    trades = rows[rows["kind"] == RowKind.TRADE]
    past = cycle.past[np.argsort(cycle.past["i"])]
    said = past[np.isin(past["i"], trades["trade_id"])]  # a trade that corrects another one is in the notice
    trades = trades[np.argsort(trades["trade_id"])]
    for ours, theirs in (("price", "p"), ("size", "s"), ("venue_ns", "t"), ("sym", "sym")):
        assert trades[ours].tolist() == said[theirs].tolist()
    assert len(past) - len(trades) <= notices
    assert (rows["kind"] == RowKind.QUOTE).sum() == (cycle.rows["kind"] == RowKind.QUOTE).sum()


def test_a_cycle_is_not_the_one_before_it(cycle):
    seen = []
    for number in (0, 1):
        cycle.begin(number, BEGUN_NS + number * CYCLE_S * NS_PER_S, ["coins"])
        seen.append((cycle.rows["price"].tolist(), set(cycle.past["i"].tolist())))
        assert set(cycle.rows["sym"].tolist()) == {1}
    assert seen[0][0] != seen[1][0]
    assert seen[0][1].isdisjoint(seen[1][1])


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Forty minutes: half an hour of coins alone, then the stocks' first minutes."""
    room = tmp_path_factory.mktemp("endurance")
    return room, endurance.measure(room, Size(hours=2 / 3, rate=3))


def test_a_run_with_everything_going_wrong_ends_where_a_perfect_client_does(played):
    _, found = played
    assert found["connections_lost"] == 4
    assert found["trades_repaired"] > 0
    assert found["orders_restored"] > 0
    assert found["triggers_fired"] > 0
    assert found["values_compared"] > 1_000
    assert found["drift_max_rel"] <= 1e-12
    json.dumps(found)


def test_a_value_that_is_not_the_one_computed_from_scratch_is_found(played):
    room, _ = played
    shown = json.loads((room / "shown.json").read_bytes())
    assert endurance.recomputed(room)[0] < 1e-12
    for name in ("vwap", "tick_rsi", "macd", "ema", "vwap_rolling"):
        wrong = json.loads(json.dumps(shown))
        known = next(i for about in wrong for i in about["intervals"] if i["indicators"].get(name))
        known["indicators"][name] *= 1.001
        (room / "shown.json").write_text(json.dumps(wrong))
        assert endurance.recomputed(room)[0] > 1e-6, name
    (room / "shown.json").write_text(json.dumps(shown))


def test_a_run_in_which_a_value_was_wrong_is_no_measurement(tmp_path, monkeypatch):
    found = {"different": 2, "compared": 9, "differences": ["cycle 0: AAPL vwap 1 instead of 2"]}
    monkeypatch.setattr(endurance, "_play", lambda *_: found)
    with pytest.raises(BenchError, match=r"2 of 9 values.*AAPL vwap 1 instead of 2"):
        endurance.measure(tmp_path, endurance.QUICK)
