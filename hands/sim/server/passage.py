"""How time passes on the floor: by the wall, or by somebody's hand.

Owns what happens in which order when the clock moves. The one idea: by hand, the clock is taken from one moment at
which something is due to the next, and everything due at a moment is done before it moves on; so the same moves make
the same history, however fast the machine is.

At one moment: first what was put down for it (the exchange's acknowledgements and fills, delayed answers and frames),
then sessions, expiries and bars, then the tape.
"""

from __future__ import annotations

import asyncio
from typing import Final

from hands.sim.market.file_rows import FileError
from hands.sim.market.times import MINUTE_NS
from hands.sim.server.clock import ManualClock
from hands.sim.server.floor import TradingFloor

CLOCK_STEP_S: Final = 0.25
"""How often sessions, expiries and bars are looked at on a wall clock."""

GRID_NS: Final = MINUTE_NS
"""On a manual one nothing is missed, since all of them say when they are due; the account is looked at every minute."""

TURNS: Final = 4
"""Turns of the event loop between two moments: a request that was waiting for the first runs to its answer."""

IDLE_STEPS_MAX: Final = 64
BACKLOG_BYTES_MAX: Final = 1_000_000
BACKLOG_WAITS_MAX: Final = 5_000
BACKLOG_WAIT_S: Final = 0.001


async def run_by_wall(floor: TradingFloor, stop: asyncio.Event) -> None:
    """Play the tape and let time pass until `stop`; a crash of either ends the server loudly.

    Raises:
        FileError: the tape cannot be read on.
    """
    try:
        async with asyncio.TaskGroup() as group:
            playing = group.create_task(_play(floor))
            ticking = group.create_task(_pass_time(floor))
            await stop.wait()
            playing.cancel()
            ticking.cancel()
    except ExceptionGroup as crash:
        match crash.exceptions:
            case (FileError() as unreadable,):
                raise unreadable from None
        raise


async def _play(floor: TradingFloor) -> None:
    """Play the market to its end, and after every reset from its beginning."""
    if floor.load is not None:
        return await floor.load.run(floor.emit_load)
    while True:
        floor.has_new_tape.clear()
        playing = asyncio.create_task(floor.tape.run(floor.emit))
        replaced = asyncio.create_task(floor.has_new_tape.wait())
        try:
            await asyncio.wait({playing, replaced}, return_when=asyncio.FIRST_COMPLETED)
            if playing.done():
                playing.result()  # or what went wrong with it
                await replaced
        finally:
            playing.cancel()
            replaced.cancel()
            await asyncio.wait({playing, replaced})


async def _pass_time(floor: TradingFloor) -> None:
    while True:
        await asyncio.sleep(CLOCK_STEP_S)
        floor.pass_time()


async def move_clock(floor: TradingFloor, clock: ManualClock, t_ns: int) -> None:
    """Move the clock to `t_ns`, doing what is due on the way, each at its own time; one move at a time."""
    async with floor.moving:
        idle = 0
        while clock() < t_ns:
            is_busy = _step(floor, clock, min(_next_due_ns(floor, clock), t_ns))
            idle = 0 if is_busy else idle + 1
            if is_busy or idle % IDLE_STEPS_MAX == 0:
                await _let_others_work(floor)
        # What is due at the very start of a tape is due now.
        _step(floor, clock, t_ns)
        await _let_others_work(floor)


def _next_due_ns(floor: TradingFloor, clock: ManualClock) -> int:
    """Return the next moment at which anything is due."""
    now_ns = clock()
    moments = [(now_ns // GRID_NS + 1) * GRID_NS]
    for due_ns in (clock.next_due_ns, floor.tape.next_due_ns):
        moments += [due_ns] if due_ns is not None else []
    bars_ns = floor.hub.next_due_ns
    moments += [bars_ns] if bars_ns is not None and bars_ns > now_ns else []
    return max(now_ns, min(moments))


def _step(floor: TradingFloor, clock: ManualClock, t_ns: int) -> bool:
    """Do everything that is due at `t_ns`; return whether anybody may have been told anything."""
    is_busy = clock.move_to(t_ns)
    floor.pass_time()
    due_ns = floor.tape.next_due_ns
    if due_ns is not None and due_ns <= t_ns:
        floor.tape.play_until(t_ns, floor.emit)
        is_busy = True
    return is_busy


async def _let_others_work(floor: TradingFloor) -> None:
    """Let waiting requests go on and the streams be written; a client on a stream is given the time to read."""
    for _ in range(TURNS):
        await asyncio.sleep(0)
    for _ in range(BACKLOG_WAITS_MAX):
        if floor.hub.backlog_bytes <= BACKLOG_BYTES_MAX:
            return
        await asyncio.sleep(BACKLOG_WAIT_S)
