"""The tape: plays a recorded or made-up market at its own pace, re-timed so that its first row is now.

Owns pacing and nothing else; what is on the tape comes from `synthetic` or `files`. The one idea: a row's due
time is now + (its time - the first row's time) / speed; rows due within the same millisecond leave together,
and a tape that has fallen behind catches up in bounded batches, giving the loop a turn between them.

When a tape ends it stops: the market stays at its last quote and is silent, as a real one after hours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.sim.market.files import read_files
from hands.sim.market.synthetic import SyntheticTape
from hands.sim.venue.ticks import Quote, Tick, Trade

BATCH_NS = NS_PER_MS
BATCH_ROWS_MAX = 256

Emit = Callable[[Sequence[Tick]], None]


class TapeError(ValueError):
    """The tape asked for cannot be played."""


class Tape:
    """A market that plays itself, once; `run` returns at its end (at once for a manual one).

    `batches` are `(t_ns, ticks)` in non-decreasing `t_ns` of the tape's own time.
    """

    def __init__(
        self,
        batches: Iterable[tuple[int, Sequence[Tick]]],
        now_ns: Callable[[], int],
        speed: float = 1.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not speed > 0:
            raise TapeError(f"speed is {speed}; it must be above 0")
        self._batches = batches
        self._now_ns = now_ns
        self._speed = speed
        self._sleep = sleep
        self._origin_ns = 0
        self._first_ns = 0
        self._pending: list[Tick] = []
        self._pending_due_ns = 0

    async def run(self, emit: Emit) -> None:
        """Emit every tick when it is due, with its re-timed time; cancel it to stop."""
        is_first = True
        for t_ns, ticks in self._batches:
            if is_first:
                self._origin_ns, self._first_ns, is_first = self._now_ns(), t_ns, False
            due_ns = self._retimed(t_ns)
            for tick in ticks:
                if self._pending and not self._fits(due_ns):
                    await self._flush(emit)
                if not self._pending:
                    self._pending_due_ns = due_ns
                self._pending.append(retimed(tick, self._retimed(tick.t_ns)))
        if self._pending:
            await self._flush(emit)

    def _retimed(self, t_ns: int) -> int:
        return self._origin_ns + int((t_ns - self._first_ns) / self._speed)

    def _fits(self, due_ns: int) -> bool:
        """Whether a row due at `due_ns` still belongs to the pending batch."""
        if len(self._pending) >= BATCH_ROWS_MAX:
            return False
        return due_ns < self._pending_due_ns + BATCH_NS or due_ns <= self._now_ns()

    async def _flush(self, emit: Emit) -> None:
        wait_ns = self._pending_due_ns - self._now_ns()
        await self._sleep(wait_ns / NS_PER_S if wait_ns > 0 else 0)
        ticks, self._pending = self._pending, []
        emit(ticks)


def retimed(tick: Tick, t_ns: int) -> Tick:
    """Return the same tick at another time."""
    if isinstance(tick, Quote):
        return Quote(tick.symbol, tick.bid, tick.ask, tick.bid_size, tick.ask_size, Ns(t_ns))
    return Trade(tick.symbol, tick.price, tick.size, Ns(t_ns), tick.trade_id, tick.exchange, tick.conditions)


def tape_from_config(
    tape: Sequence[str], symbols: Sequence[str], seed: int, speed: float, now_ns: Callable[[], int]
) -> Tape:
    """Return the tape named on the command line: `["synthetic"]`, `["manual"]` or paths of recorded files.

    `symbols` and `seed` shape the synthetic market only; recorded files name their own symbols.

    Raises:
        TapeError: an impossible combination, or a speed that is not above 0.
        hands.sim.market.files.FileError: a file is absent or of no known format.
    """
    if not tape:
        raise TapeError("no tape given; allowed: synthetic, manual, or paths of files")
    if len(tape) > 1 and {"synthetic", "manual"} & set(tape):
        raise TapeError(f"tape {', '.join(tape)}: synthetic and manual stand alone")
    if tape[0] == "manual":
        return Tape((), now_ns, speed)
    if tape[0] == "synthetic":
        return Tape(SyntheticTape(symbols, seed, now_ns()), now_ns, speed)
    return Tape(read_files([Path(name) for name in tape]), now_ns, speed)
