"""The engine's clock: it never steps, and it knows when the machine has slept."""

from __future__ import annotations

import time

import pytest

from hands.core.events import ClockStepped
from hands.core.units import NS_PER_MS, NS_PER_S
from hands.runtime.clock import Clock, steady_ns

NOW = 1_767_625_200 * NS_PER_S


class Machine:
    """Three sources of time, moved by hand."""

    def __init__(self) -> None:
        self.steady, self.awake, self.wall = 100 * NS_PER_S, 40 * NS_PER_S, NOW
        self.clock = Clock(steady=lambda: self.steady, awake=lambda: self.awake, wall=lambda: self.wall)

    def run(self, ns: int, *, asleep: bool = False) -> None:
        self.steady += ns
        self.wall += ns
        self.awake += 0 if asleep else ns


def test_it_runs_from_the_wall_and_on_through_a_sleep_and_never_with_a_step() -> None:
    machine = Machine()
    machine.run(NS_PER_S)
    assert machine.clock() == NOW + NS_PER_S
    machine.wall -= 3600 * NS_PER_S
    assert machine.clock() == NOW + NS_PER_S
    assert machine.clock.wall_offset_ns() == -3600 * NS_PER_S
    machine.run(600 * NS_PER_S, asleep=True)
    assert machine.clock() == NOW + 601 * NS_PER_S


@pytest.mark.parametrize("step_ns", [-3600 * NS_PER_S, 6 * NS_PER_MS])
def test_a_step_of_the_wall_clock_is_told_until_it_is_known(step_ns: int) -> None:
    machine = Machine()
    machine.wall += step_ns
    told = ClockStepped(ts_ns=machine.clock(), wall_offset_ns=step_ns)
    assert machine.clock.step(0) == machine.clock.step(0) == told
    assert machine.clock.step(step_ns) is None


def test_a_sleep_is_told_once_and_is_no_step() -> None:
    machine = Machine()
    assert machine.clock.step(0) is None
    machine.run(90 * NS_PER_S, asleep=True)
    machine.wall += NS_PER_MS
    told = machine.clock.step(0)
    assert told is not None
    assert (told.slept_ns, told.wall_offset_ns) == (90 * NS_PER_S, NS_PER_MS)
    assert machine.clock.step(0) is None
    machine.run(NS_PER_S)
    assert machine.clock.step(0) is None


def test_the_machines_own_sources_go_forward_together() -> None:
    clock = Clock()
    before, steady = clock(), steady_ns()
    until = time.monotonic_ns() + 20 * NS_PER_MS
    while time.monotonic_ns() < until:
        assert clock() >= before
        before = clock()
    assert abs(clock() - time.time_ns()) < NS_PER_S
    assert 20 * NS_PER_MS <= steady_ns() - steady < 20 * NS_PER_S
    assert clock.step(clock.wall_offset_ns()) is None
