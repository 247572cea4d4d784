"""The tape: plays a recorded or made-up market at its own pace, re-timed so that its first row is now.

Owns pacing and nothing else; what is on the tape comes from `synthetic` or `files`. The one idea: a row's due
time is now + (its time - the first row's time) / speed; rows due within the same millisecond leave together,
and a tape that has fallen behind catches up in bounded batches, giving the loop a turn between them.

`run` plays it by a clock that moves by itself. Where the clock is moved by hand, whoever moves it asks
`next_due_ns` and calls `play_until`. When a tape ends it stops: the market stays at its last quote and is silent,
as a real one after hours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.sim.market.file_rows import FileError
from hands.sim.market.files import read_files
from hands.sim.market.synthetic import Rate, SyntheticTape
from hands.sim.venue.ticks import Cancellation, Correction, MarketEvent, Quote, Tick, Trade

BATCH_NS = NS_PER_MS
BATCH_ROWS_MAX = 256

Emit = Callable[[Sequence[MarketEvent]], None]


class TapeError(ValueError):
    """The tape asked for cannot be played."""


class Tape:
    """A market that plays itself, once; `run` returns at its end (at once for a manual one).

    `batches` are `(t_ns, events)` in non-decreasing `t_ns` of the tape's own time. The tape begins when it is first
    asked for anything.
    """

    def __init__(
        self,
        batches: Iterable[tuple[int, Sequence[MarketEvent]]],
        now_ns: Callable[[], int],
        speed: float = 1.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not speed > 0:
            raise TapeError(f"speed is {speed}; it must be above 0")
        self._batches = iter(batches)
        self._now_ns = now_ns
        self._speed = speed
        self._sleep = sleep
        self._has_begun = False
        self._origin_ns = 0
        self._first_ns = 0
        self._next: tuple[int, Sequence[MarketEvent]] | None = None
        self._unreadable: FileError | None = None
        self._pending: list[MarketEvent] = []
        self._pending_due_ns = 0

    @property
    def next_due_ns(self) -> Ns | None:
        """When the next rows are due by the clock, None at the end of the tape.

        Raises:
            FileError: the tape cannot be read on; it never can again.
        """
        if not self._has_begun:
            self._has_begun = True
            self._read()
            if self._next is not None:
                self._origin_ns, self._first_ns = self._now_ns(), self._next[0]
        if self._unreadable is not None:
            raise self._unreadable
        return Ns(self._retimed(self._next[0])) if self._next is not None else None

    def play_until(self, t_ns: int, emit: Emit) -> None:
        """Emit everything due at `t_ns` or before, each batch of the tape for itself."""
        while (due_ns := self.next_due_ns) is not None and due_ns <= t_ns:
            emit(self._take())

    async def run(self, emit: Emit) -> None:
        """Emit every event when it is due, with its re-timed time; cancel it to stop."""
        while (due_ns := self.next_due_ns) is not None:
            for event in self._take():
                if self._pending and not self._fits(due_ns):
                    await self._flush(emit)
                if not self._pending:
                    self._pending_due_ns = due_ns
                self._pending.append(event)
        if self._pending:
            await self._flush(emit)

    def _take(self) -> list[MarketEvent]:
        """Return the next batch, re-timed, and read the one after it."""
        assert self._next is not None
        events = [self._moved(event) for event in self._next[1]]
        self._read()
        return events

    def _read(self) -> None:
        """Read the next batch; that it is unreadable is said once those before it have been played."""
        try:
            self._next = next(self._batches, None)
        except FileError as error:
            self._next, self._unreadable = None, error

    def _retimed(self, t_ns: int) -> int:
        return self._origin_ns + int((t_ns - self._first_ns) / self._speed)

    def _moved(self, event: MarketEvent) -> MarketEvent:
        t_ns = Ns(self._retimed(event.t_ns))
        if isinstance(event, (Quote, Trade)):
            return retimed(event, t_ns)
        # What a notice is about was printed on this tape too.
        if isinstance(event, Cancellation):
            return replace(event, trade=self._moved_trade(event.trade), t_ns=t_ns)
        if isinstance(event, Correction):
            original, corrected = self._moved_trade(event.original), self._moved_trade(event.corrected)
            return replace(event, original=original, corrected=corrected, t_ns=t_ns)
        return replace(event, t_ns=t_ns)

    def _moved_trade(self, trade: Trade) -> Trade:
        return replace(trade, t_ns=Ns(self._retimed(trade.t_ns)))

    def _fits(self, due_ns: int) -> bool:
        """Whether a row due at `due_ns` still belongs to the pending batch."""
        if len(self._pending) >= BATCH_ROWS_MAX:
            return False
        return due_ns < self._pending_due_ns + BATCH_NS or due_ns <= self._now_ns()

    async def _flush(self, emit: Emit) -> None:
        wait_ns = self._pending_due_ns - self._now_ns()
        await self._sleep(wait_ns / NS_PER_S if wait_ns > 0 else 0)
        events, self._pending = self._pending, []
        emit(events)


def retimed(tick: Tick, t_ns: int) -> Tick:
    """Return the same tick at another time."""
    if isinstance(tick, Quote):
        return Quote(tick.symbol, tick.bid, tick.ask, tick.bid_size, tick.ask_size, Ns(t_ns))
    return Trade(tick.symbol, tick.price, tick.size, Ns(t_ns), tick.trade_id, tick.exchange, tick.conditions)


@dataclass(frozen=True, slots=True)
class MarketShape:
    """How the made-up market behaves, see `SyntheticTape`."""

    events_per_s: float | None = None
    """Quotes and trades per second and symbol, in the usual proportion of the two; None: the usual rate."""
    regime: str = "calm"
    correlation: float = 0.0
    volume_curve: bool = False

    def rate(self) -> Rate:
        """Return the arrivals of quotes and of trades."""
        usual = Rate()
        if self.events_per_s is None:
            return usual
        share = self.events_per_s / (usual.quotes_per_s + usual.trades_per_s)
        return Rate(usual.quotes_per_s * share, usual.trades_per_s * share)


def tape_from_config(
    tape: Sequence[str],
    symbols: Sequence[str],
    seed: int,
    speed: float,
    now_ns: Callable[[], int],
    shape: MarketShape = MarketShape(),
) -> Tape:
    """Return the tape named on the command line: `["synthetic"]`, `["manual"]` or paths of recorded files.

    The tape "load" is no `Tape`: see `load`.
    `symbols`, `seed` and `shape` make the synthetic market only; recorded files name their own symbols.

    Raises:
        TapeError: an impossible combination, or a speed that is not above 0.
        hands.sim.market.files.FileError: a file is absent or of no known format.
        ValueError: the made-up market cannot have that shape.
    """
    if not tape:
        raise TapeError("no tape given; allowed: synthetic, manual, load, or paths of files")
    if len(tape) > 1 and {"synthetic", "manual", "load"} & set(tape):
        raise TapeError(f"tape {', '.join(tape)}: synthetic, manual and load stand alone")
    if tape[0] == "manual":
        return Tape((), now_ns, speed)
    if tape[0] == "synthetic":
        market = SyntheticTape(
            symbols, seed, now_ns(), shape.rate(), shape.regime, shape.correlation, shape.volume_curve
        )
        return Tape(market, now_ns, speed)
    return Tape(read_files([Path(name) for name in tape]), now_ns, speed)
