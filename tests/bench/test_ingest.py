"""The ingest measurement: what it sends is a market, what it counts is what arrived."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from bench import ingest
from bench.ingest import Size
from bench.market_load import SYMBOLS, Round
from bench.processes import BenchError
from hands.venues.alpaca.frames import FrameDecoder


def _payloads(data: bytes) -> list[bytes]:
    found = []
    while data:
        size, begin = data[1], 2
        if size == 126:
            size, begin = int.from_bytes(data[2:4], "big"), 4
        found.append(data[begin : begin + size])
        data = data[begin + size :]
    return found


@pytest.mark.parametrize("frame_size", [1, 50])
def test_a_round_is_the_venues_frames_with_the_times_they_were_given(frame_size):
    market = Round(frame_size)
    times = 1_700_000_000_000_000_000 + np.arange(market.messages) * 1_000_000_007
    market.stamp(0, market.frames, times)
    decoder = FrameDecoder({symbol: number for number, symbol in enumerate(SYMBOLS)})
    seen = []
    for payload in _payloads(bytes(market.of(0, market.frames))):
        found = decoder.decode(payload, 1)
        assert (found.count, found.malformed, found.unknown_symbols) == (frame_size, 0, 0)
        seen += decoder.rows["venue_ns"][:frame_size].tolist()
    assert seen == times.tolist()


def test_everything_that_is_sent_arrives_at_both_and_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(ingest, "CALM", 5_000)
    monkeypatch.setattr(ingest, "BURST", 50_000)
    found = ingest.measure(tmp_path, Size(large=5_000, single=500, peer=500, runs=1), lambda _: None)
    assert found["messages"] == 5_000 + 500 + 60_000
    assert found["messages_per_s"] > 0
    assert found["ratio"] == round(found["messages_per_s"] / found["alpaca_py_messages_per_s"], 1)
    json.dumps(found)


def test_a_run_in_which_messages_are_missing_is_no_measurement(tmp_path, monkeypatch):
    class Done:
        stdout = json.dumps({"messages": 99, "wall_s": 1.0, "cpu_s": 1.0})
        stderr = ""

    monkeypatch.setattr(ingest.subprocess, "run", lambda *_, **__: Done)
    with pytest.raises(BenchError, match="99 of 100 messages"):
        ingest._run(tmp_path, "hands", 50, [(100, 0)])


def test_a_receiver_that_fails_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BenchError):
        ingest._run(tmp_path, "hands", 50, [(100, 0)])
