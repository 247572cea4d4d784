"""The fault registry: budgets, order of frames, and descriptions that are refused."""

from __future__ import annotations

import pytest

from hands.sim.server.faults import REORDER_HOLD_MS, FaultError, Faults


class Clock:
    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def faults(clock):
    return Faults(clock)


def test_request_fault_is_used_up(faults):
    faults.install([{"on": "POST /v2/orders", "do": "drop_response", "times": 2}])
    assert faults.for_request("GET", "/v2/orders") is None
    assert faults.for_request("POST", "/v2/orders").do == "drop_response"
    assert faults.for_request("POST", "/v2/orders") is not None
    assert faults.for_request("POST", "/v2/orders") is None


def test_request_fault_may_name_a_pattern(faults):
    faults.install([{"on": "DELETE /v2/orders/*", "do": "status", "status": 504}])
    assert faults.for_request("DELETE", "/v2/orders") is None
    assert faults.for_request("DELETE", "/v2/orders/abc").status == 504


def test_quiet_stream_passes_everything_at_once(faults):
    line = faults.stream("market_data").attach(lambda: None)
    assert faults.stream("market_data").quiet
    assert line.transform([b"a", b"b"]) == [(0.0, b"a"), (0.0, b"b")]


@pytest.mark.parametrize(
    ("fault", "sent"),
    [
        ({"do": "mute", "times": 1}, [(0, "b"), (0, "c")]),
        ({"do": "mute"}, []),
        ({"do": "duplicate"}, [(0, "a"), (0, "a"), (0, "b"), (0, "c")]),
        ({"do": "duplicate", "times": 3}, [(0, f) for f in "aabbcc"]),
        ({"do": "reorder"}, [(0, "b"), (0, "a"), (0, "c")]),
        ({"do": "delay", "delay_ms": 50, "times": 1}, [(50, "a"), (50, "b"), (50, "c")]),
    ],
)
def test_stream_fault(faults, fault, sent):
    faults.install([{"on": "trade_updates"} | fault])
    line = faults.stream("trade_updates").attach(lambda: None)
    assert line.transform(["a", "b", "c"]) == sent


def test_frame_alone_in_its_burst_is_kept_back_to_be_overtaken(faults):
    faults.install([{"on": "trade_updates", "do": "reorder"}])
    line = faults.stream("trade_updates").attach(lambda: None)
    assert line.transform(["a"]) == [(REORDER_HOLD_MS, "a")]
    assert line.transform(["b"]) == [(0, "b")]


def test_frames_never_overtake_delayed_ones(faults, clock):
    faults.install([{"on": "trade_updates", "do": "delay", "delay_ms": 50}])
    line = faults.stream("trade_updates").attach(lambda: None)
    assert line.transform(["a"]) == [(50, "a")]
    clock.ns = 20_000_000
    assert line.transform(["b"]) == [(30, "b")]
    clock.ns = 60_000_000
    assert line.transform(["c"]) == [(0, "c")]


def test_window_ends_by_time(faults, clock):
    faults.install([{"on": "market_data", "do": "mute", "for_ms": 100}])
    line = faults.stream("market_data").attach(lambda: None)
    assert line.transform(["a"]) == []
    clock.ns = 100_000_000
    assert line.transform(["b"]) == [(0, "b")]


def test_disconnect_drops_every_connection_now_and_later_ones_at_their_first_frame(faults):
    closed = []
    stream = faults.stream("trade_updates")
    first = stream.attach(lambda: closed.append(1))
    faults.install([{"on": "trade_updates", "do": "disconnect", "times": 2}])
    first.detach()
    second = stream.attach(lambda: closed.append(2))
    assert second.transform(["a"]) == []
    assert closed == [1, 2]
    assert stream.attach(lambda: None).transform(["a"]) == [(0, "a")]


def test_reconnects_are_refused_as_often_as_asked(faults):
    faults.install([{"on": "market_data", "do": "refuse_reconnect", "times": 2}])
    assert [faults.stream("market_data").admits() for _ in range(3)] == [False, False, True]
    assert faults.stream("trade_updates").admits()


@pytest.mark.parametrize(
    "fault",
    [
        {},
        {"on": "POST /v2/orders"},
        {"on": "POST /v2/orders", "do": "explode"},
        {"on": "POST /v2/orders", "do": "mute"},
        {"on": "trade_updates", "do": "drop_response"},
        {"on": "nowhere", "do": "delay"},
        {"on": "POST /v2/orders", "do": "delay", "delay_ms": -1},
        {"on": "POST /v2/orders", "do": "delay", "delay_ms": "5"},
        {"on": "POST /v2/orders", "do": "status", "status": 99},
        {"on": "POST /v2/orders", "do": "delay", "when": "now"},
    ],
)
def test_description_that_is_not_understood_installs_nothing(faults, fault):
    with pytest.raises(FaultError):
        faults.install([{"on": "POST /v2/orders", "do": "close"}, fault])
    assert faults.for_request("POST", "/v2/orders") is None
