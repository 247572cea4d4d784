"""The fault registry: budgets, chance, order of frames, and descriptions that are refused."""

from __future__ import annotations

import pytest

from hands.core.units import NS_PER_MS
from hands.sim.server.clock import ManualClock
from hands.sim.server.fault_rows import FaultError
from hands.sim.server.faults import REORDER_HOLD_MS, Faults

START_NS = 1_792_000_000 * 10**9


@pytest.fixture
def clock():
    return ManualClock(START_NS)


@pytest.fixture
def faults(clock):
    return Faults(clock)


class Wire:
    """A connection to a stream: what arrived on it, and when (milliseconds since the start)."""

    def __init__(self, clock, faults, name="trade_updates"):
        self.clock = clock
        self.is_open = True
        self.arrived = []
        self.line = faults.stream(name).attach(self._close)

    def _close(self):
        self.is_open = False

    def send(self, frames):
        self.line.deliver(frames, lambda f: self.arrived.append(((self.clock() - START_NS) / NS_PER_MS, f)))

    def wait(self, ms):
        self.clock.move_to(self.clock() + ms * NS_PER_MS)


@pytest.fixture
def wire(clock, faults):
    return Wire(clock, faults)


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


def test_request_fault_may_last_for_a_time(faults, clock):
    faults.install([{"on": "* /v2/*", "do": "status", "status": 503, "for_ms": 100}])
    assert [faults.for_request("GET", "/v2/clock").status for _ in range(3)] == [503] * 3
    clock.move_to(START_NS + 100 * NS_PER_MS)
    assert faults.for_request("GET", "/v2/clock") is None


def test_chance_comes_from_the_seed_and_has_the_rate_asked_for(clock):
    def run(seed):
        faults = Faults(clock, seed)
        faults.install([{"on": "* /v2/*", "do": "status", "rate": 0.1}])
        return [faults.for_request("GET", "/v2/clock") is not None for _ in range(2000)]

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert 120 < sum(run(1)) < 280  # 200 expected; ten standard deviations are 134


def test_what_befalls_requests_does_not_depend_on_the_streams(clock):
    def run(frames):
        faults = Faults(clock, 1)
        faults.install(
            [{"on": "* /v2/*", "do": "status", "rate": 0.5}, {"on": "market_data", "do": "mute", "rate": 0.5}]
        )
        Wire(clock, faults, "market_data").send(frames)
        return [faults.for_request("GET", "/v2/clock") is not None for _ in range(50)]

    assert run([]) == run(["a", "b", "c"])


def test_chance_with_a_budget_ends(faults):
    faults.install([{"on": "* /v2/*", "do": "status", "rate": 0.5, "times": 3}])
    assert sum(faults.for_request("GET", "/v2/clock") is not None for _ in range(200)) == 3


def test_quiet_stream_passes_everything_at_once(faults, wire):
    wire.send(["a", "b"])
    assert (faults.stream("trade_updates").quiet, wire.arrived) == (True, [(0, "a"), (0, "b")])


@pytest.mark.parametrize(
    ("fault", "arrived"),
    [
        ({"do": "mute", "times": 1}, [(0, "b"), (0, "c")]),
        ({"do": "mute"}, []),
        ({"do": "duplicate"}, [(0, "a"), (0, "a"), (0, "b"), (0, "c")]),
        ({"do": "duplicate", "copies": 2}, [(0, f) for f in "aaabc"]),
        ({"do": "duplicate", "times": 3}, [(0, f) for f in "aabbcc"]),
        ({"do": "reorder"}, [(0, "b"), (0, "a"), (0, "c")]),
        ({"do": "delay", "delay_ms": 50, "times": 1}, [(50, "a"), (50, "b"), (50, "c")]),
        ({"do": "delay", "delay_ms": 50, "times": 2}, [(50, "a"), (50, "b"), (50, "c")]),
    ],
)
def test_stream_fault(faults, wire, fault, arrived):
    faults.install([{"on": "trade_updates"} | fault])
    wire.send(["a", "b", "c"])
    wire.wait(1000)
    assert wire.arrived == arrived


def test_frame_alone_in_its_burst_is_kept_back_to_be_overtaken(faults, wire):
    faults.install([{"on": "trade_updates", "do": "reorder"}])
    wire.send(["a"])
    wire.send(["b"])
    wire.wait(1000)
    assert wire.arrived == [(0, "b"), (REORDER_HOLD_MS, "a")]


def test_frames_never_overtake_delayed_ones(faults, wire):
    faults.install([{"on": "trade_updates", "do": "delay", "delay_ms": 50}])
    wire.send(["a"])
    wire.wait(20)
    wire.send(["b"])
    wire.wait(40)
    wire.send(["c"])
    assert wire.arrived == [(50, "a"), (50, "b"), (60, "c")]


def test_what_is_on_its_way_to_a_connection_that_ends_never_arrives(faults, wire):
    faults.install([{"on": "trade_updates", "do": "delay", "delay_ms": 50}])
    wire.send(["a"])
    wire.line.detach()
    wire.wait(1000)
    assert wire.arrived == []


def test_clearing_lets_delayed_frames_arrive_and_a_reset_does_not(faults, wire):
    delay = {"on": "trade_updates", "do": "delay", "delay_ms": 50}
    faults.install([delay])
    wire.send(["a"])
    faults.clear()
    wire.wait(50)
    faults.install([delay])
    wire.send(["b"])
    faults.reset(0)
    wire.wait(1000)
    wire.send(["c"])
    assert wire.arrived == [(50, "a"), (1050, "c")]


def test_window_ends_by_time(faults, clock):
    wire = Wire(clock, faults, "market_data")
    faults.install([{"on": "market_data", "do": "mute", "for_ms": 100}])
    wire.send(["a"])
    wire.wait(100)
    wire.send(["b"])
    assert wire.arrived == [(100, "b")]


def test_disconnect_drops_every_connection_now_and_later_ones_at_their_first_frame(faults, clock, wire):
    faults.install([{"on": "trade_updates", "do": "disconnect", "times": 2}])
    assert not wire.is_open
    wire.line.detach()
    second, third = Wire(clock, faults), Wire(clock, faults)
    second.send(["a"])
    third.send(["a"])
    assert (second.is_open, second.arrived, third.is_open, third.arrived) == (False, [], True, [(0, "a")])


def test_reconnects_are_refused_as_often_as_asked(faults):
    faults.install([{"on": "market_data", "do": "refuse_reconnect", "times": 2}])
    assert [faults.stream("market_data").admits() for _ in range(3)] == [False, False, True]
    assert faults.stream("trade_updates").admits()


def test_what_is_installed_is_listed_with_what_is_left_of_it(faults, clock):
    rows = [
        {"on": "POST /v2/orders", "do": "status", "status": 504, "body": "<html>", "times": 2},
        {"on": "trade_updates", "do": "mute", "for_ms": 500},
        {"on": "market_data", "do": "duplicate", "rate": 0.5},
    ]
    faults.install(rows)
    faults.for_request("POST", "/v2/orders")
    clock.move_to(START_NS + 200 * NS_PER_MS)
    left = [rows[0] | {"times": 1}, rows[2], rows[1] | {"for_ms": 300}]
    assert faults.installed() == left
    clock.move_to(START_NS + 500 * NS_PER_MS)
    assert faults.installed() == left[:2]
    faults.clear()
    assert faults.installed() == []


def test_every_use_is_written_down(faults, wire):
    faults.install(
        [{"on": "* /v2/*", "do": "delay", "delay_ms": 5}, {"on": "trade_updates", "do": "mute", "times": 1}]
    )
    faults.for_request("GET", "/v2/clock")
    wire.wait(7)
    wire.send(["a"])
    assert list(faults.used) == [
        {"t_ns": START_NS, "on": "* /v2/*", "do": "delay", "what": "GET /v2/clock"},
        {"t_ns": START_NS + 7 * NS_PER_MS, "on": "trade_updates", "do": "mute", "what": "trade_updates"},
    ]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({}, "'on' and 'do'"),
        ({"on": "POST /v2/orders"}, "'on' and 'do'"),
        ({"on": "POST /v2/orders", "do": "explode"}, "cannot 'explode'"),
        ({"on": "POST /v2/orders", "do": "mute"}, "cannot 'mute'"),
        ({"on": "trade_updates", "do": "drop_response"}, "cannot 'drop_response'"),
        ({"on": "market_data", "do": "replay"}, "only trade_updates"),
        ({"on": "nowhere", "do": "delay"}, "neither"),
        ({"on": "POST /v2/orders", "do": "delay", "delay_ms": -1}, "from 0"),
        ({"on": "POST /v2/orders", "do": "delay", "delay_ms": "5"}, "a number"),
        ({"on": "POST /v2/orders", "do": "delay", "at": "noon"}, "'request' or 'response'"),
        ({"on": "POST /v2/orders", "do": "delay", "at": ["request"]}, "'request' or 'response'"),
        ({"on": "POST /v2/orders", "do": "status", "status": 99}, "from 200 to 599"),
        ({"on": "POST /v2/orders", "do": "status", "times": 0}, "from 1"),
        ({"on": "POST /v2/orders", "do": "status", "times": 1.5}, "whole"),
        ({"on": "POST /v2/orders", "do": "status", "rate": 1.5}, "from 0 to 1"),
        ({"on": "POST /v2/orders", "do": "close", "status": 500}, "unknown key 'status'"),
        ({"on": "POST /v2/orders", "do": "delay", "when": "now"}, "unknown key 'when'"),
    ],
)
def test_description_that_is_not_understood_installs_nothing(faults, fault, says):
    with pytest.raises(FaultError, match=says):
        faults.install([{"on": "POST /v2/orders", "do": "close"}, fault])
    assert faults.for_request("POST", "/v2/orders") is None
