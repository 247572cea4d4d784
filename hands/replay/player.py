"""The player: rows, and everything that happens between them, in one order of time.

Owns the replay's clock and the question which rows may be given to the market at once. May not decide, match or ask: the
engine, the floor and the polls do. The one idea: whatever is due at a row's time or before comes before that row, the
exchange first, then what was asked for (answers, reports, documents, questions), then the engine's timers; so rows up to
the next thing due can be consumed in one call, and how they were cut into arrays can change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec
import numpy as np

from hands.core.events import AnyEvent, Wake
from hands.core.rows import ROW
from hands.core.state import State
from hands.core.units import Ns
from hands.replay import reach
from hands.replay.agenda import Agenda
from hands.replay.arrivals import Arrival, received
from hands.replay.engine import Engine
from hands.replay.floor import LOOK_AHEAD, Floor
from hands.replay.polls import Polls
from hands.replay.venue import VenueLink


class ReplayError(ValueError):
    """A market or a setting that cannot be replayed; the message says what was found and what is allowed."""


class Brain(Protocol):
    """What a strategy is to the player."""

    def row(self, sym: int, venue_ns: int) -> Iterable[Arrival]:
        """Return what it says to a row that it has waited for (`Floor.strategy_waits`)."""


class Player:
    """Plays chunks of rows. `end_ns`: nothing happens at or after it."""

    def __init__(
        self,
        state: State,
        engine: Engine,
        floor: Floor,
        venue: VenueLink,
        polls: Polls,
        agenda: Agenda,
        *,
        acts: bool,
        one_by_one: bool = False,
    ) -> None:
        self.rows = 0
        self.wakes = 0
        self.documents = 0
        self.acts = 0
        self.arrived = 0  # of those that were expected
        self.brain: Brain | None = None
        self._state = state
        self._engine = engine
        self._floor = floor
        self._venue = venue
        self._polls = polls
        self._agenda = agenda
        self._acts = acts
        self._one_by_one = one_by_one
        self._arrivals: Iterator[Arrival] = iter(())

    # --- documents -----------------------------------------------------------------------------------------

    def expect(self, arrivals: Iterable[Arrival]) -> None:
        """Let documents arrive, each at its time; they are in order."""
        self._arrivals = iter(arrivals)
        self._expect_next()

    def _expect_next(self) -> None:
        arrival = next(self._arrivals, None)
        if arrival is not None:
            self._agenda.at(max(arrival.at_ns, self._floor.now_ns), lambda: self._arrive(arrival, more=True))

    def _arrive(self, arrival: Arrival, *, more: bool) -> None:
        if more:
            self.arrived += 1
            self._expect_next()
        self.documents += 1
        self._polls.freshen()
        self._engine.feed(received(arrival, self._floor.now_ns))
        self._polls.look()

    def operate(self, event: AnyEvent) -> None:
        """Let the operator act, or a changed file be read, now."""
        self.acts += 1
        self._polls.freshen()
        self._engine.feed(msgspec.structs.replace(event, ts_ns=Ns(self._floor.now_ns)))
        self._polls.look()

    def drop(self, arrivals: Iterable[Arrival]) -> None:
        """Let documents arrive now."""
        for arrival in arrivals:
            self._arrive(arrival, more=False)

    # --- time ----------------------------------------------------------------------------------------------

    def next_ns(self) -> int:
        """Return when the next thing that is no row is due, NEVER if nothing is."""
        due_ns, wake_ns = self._agenda.next_ns, self._state.next_wake_ns
        if wake_ns is not None and wake_ns < due_ns:
            due_ns = wake_ns
        exchange_ns = self._floor.exchange.next_due_ns
        return due_ns if exchange_ns is None or exchange_ns > due_ns else exchange_ns

    def pass_time(self, until_ns: int) -> int:
        """Do everything that is due at `until_ns` or before, each at its own time; return when the next thing is due."""
        floor, agenda, exchange = self._floor, self._agenda, self._floor.exchange
        while (due_ns := self.next_ns()) <= until_ns:
            floor.now_ns = max(floor.now_ns, due_ns)
            exchange_ns = exchange.next_due_ns
            if exchange_ns is not None and exchange_ns <= due_ns:
                floor.catch_up()
                exchange.advance()
                self._venue.flush()
            elif agenda.next_ns <= due_ns:
                agenda.take()()
            else:
                self.wakes += 1
                self._polls.freshen()
                self._engine.feed(Wake(ts_ns=Ns(floor.now_ns)))
            self._polls.look()
        return due_ns

    # --- rows ------------------------------------------------------------------------------------------------

    def play(self, rows: np.ndarray) -> None:
        """Let the market's next rows pass.

        Raises:
            ReplayError: they are no rows, or not in order of time.
        """
        if rows.dtype != ROW or not rows.flags.carray:
            raise ReplayError(f"a market's rows are contiguous, writable arrays of ROW, not of {rows.dtype}")
        if not len(rows):
            return
        times = rows["recv_ns"].copy()
        if times[0] < self._last_ns or bool((times[1:] < times[:-1]).any()):
            raise ReplayError("the market's rows are not in the order in which they were received")
        self._last_ns = int(times[-1])
        self._floor.begin_chunk(rows, keep=self._acts)
        at, count, due_ns = 0, len(rows), self.next_ns()
        while at < count:
            stop = count if due_ns > self._last_ns else reach.first_at(times, at, due_ns)
            if stop > at:
                at = self._consume(rows, times, at, stop)
            if at < stop or at == count:
                due_ns = self.next_ns()
            else:
                self._floor.passed(at)
                due_ns = self.pass_time(times.item(at))
        self._floor.passed(count)
        self._floor.now_ns = max(self._floor.now_ns, self._last_ns)
        self.rows += count

    _last_ns = -(2**63)

    def _consume(self, rows: np.ndarray, times: np.ndarray, at: int, stop: int) -> int:
        """Let the market consume rows up to one that something must look at; return the index after it."""
        market, floor, matters = self._state.market, self._floor, None
        if floor.is_watching or self._one_by_one:
            last = min(stop, at + (1 if self._one_by_one else LOOK_AHEAD))
            found = floor.next_row(at, last)
            if found < last:
                matters, stop = found, found + 1
            else:
                stop = last
        end = market.consume(rows, at, stop)
        if matters is None and not market.fired_count:
            return end
        now_ns = floor.now_ns = int(times[end - 1])
        floor.passed(end)
        if matters is not None and end == stop:
            self._look_at(rows, matters)
        if market.fired_count:
            self._polls.freshen()
            self._engine.fired(now_ns)
        self._polls.look()
        return end

    def _look_at(self, rows: np.ndarray, number: int) -> None:
        floor = self._floor
        sym = floor.strategy_row(number)
        floor.show_row(number)
        self._venue.flush()
        if sym is not None and self.brain is not None:
            self.drop(self.brain.row(sym, int(rows["venue_ns"][number])))
