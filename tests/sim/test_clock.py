"""Both clocks: what is put down for a moment happens then, in order; and how a clock is moved by hand."""

from __future__ import annotations

import asyncio
import time

import pytest

from hands.core.units import NS_PER_MS, NS_PER_S
from hands.sim.server.clock import ManualClock, WallClock

START_NS = 1_792_000_000 * NS_PER_S


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(START_NS)
    assert clock() == clock() == START_NS
    clock.move_to(START_NS + 5)
    assert clock() == START_NS + 5
    clock.move_to(START_NS)
    assert clock() == START_NS + 5


def test_what_was_put_down_happens_at_its_own_time_and_in_order() -> None:
    clock = ManualClock(START_NS)
    done: list[tuple[int, str]] = []
    for after, name in ((30, "c"), (10, "a"), (10, "b"), (40, "d")):
        clock.call_at(START_NS + after, lambda name=name: done.append((clock() - START_NS, name)))
    assert clock.next_due_ns == START_NS + 10
    assert clock.move_to(START_NS + 30)
    assert done == [(10, "a"), (10, "b"), (30, "c")]
    assert not clock.move_to(START_NS + 35)
    assert clock.next_due_ns == START_NS + 40


def test_what_an_action_puts_down_for_the_way_happens_on_the_way() -> None:
    clock = ManualClock(START_NS)
    done: list[int] = []

    def again() -> None:
        done.append(clock() - START_NS)
        if len(done) < 3:
            clock.call_at(clock() + 10, again)

    clock.call_at(START_NS + 10, again)
    clock.move_to(START_NS + 100)
    assert done == [10, 20, 30]


def test_a_restart_leaves_nobody_waiting() -> None:
    async def scenario() -> int:
        clock = ManualClock(START_NS)
        asleep = asyncio.create_task(clock.sleep(1000))
        await asyncio.sleep(0)
        clock.move_to(START_NS + 500 * NS_PER_MS)
        clock.restart()
        await asyncio.wait_for(asleep, 10)
        return clock()

    assert asyncio.run(scenario()) == START_NS


def test_a_wall_clock_passes_as_the_wall_does_from_wherever_it_starts() -> None:
    before_ns = time.time_ns()
    clock = WallClock()
    assert abs(clock() - before_ns) < 5 * NS_PER_S
    assert 0 <= WallClock(START_NS)() - START_NS < 5 * NS_PER_S


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_wall_clock_wakes_in_order_and_never_early(loop: str) -> None:
    async def scenario() -> list[tuple[str, int]]:
        clock = WallClock()
        now_ns = clock()
        late: list[tuple[str, int]] = []
        done = asyncio.Event()

        def note(name: str, due_ns: int) -> None:
            late.append((name, clock() - due_ns))
            if len(late) == 4:
                done.set()

        # The second is put down before the first, which must rearm the timer; equal ones keep their order.
        for name, ms in (("c", 12), ("a", 3), ("b1", 7), ("b2", 7)):
            due_ns = now_ns + ms * NS_PER_MS
            clock.call_at(due_ns, lambda name=name, due_ns=due_ns: note(name, due_ns))
        await asyncio.wait_for(done.wait(), 20)
        return late

    if loop == "uvloop":
        import uvloop

        late = uvloop.run(scenario())
    else:
        late = asyncio.run(scenario())
    assert [name for name, _ in late] == ["a", "b1", "b2", "c"]
    assert all(ns >= 0 for _, ns in late)
