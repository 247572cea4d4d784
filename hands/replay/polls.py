"""What the daemon asks for regularly, asked for when an answer can say something new.

Owns when account and session are asked for. May not read an answer. The one idea: while anything is held, working or on
its way the account is really asked for every five seconds, as the daemon does; while nothing is, every answer would say
the same, so only the last one there would have been is given, just before something is decided. A market in which nothing
happens then costs nothing. The daemon's regular comparison with all that the venue holds is left out: here no word is
ever lost, so it could find nothing; what the engine itself asks for is answered.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from hands.core.state import State
from hands.core.units import NS_PER_S
from hands.replay.agenda import Agenda
from hands.replay.engine import Engine
from hands.replay.floor import Floor
from hands.replay.session import SessionSums, session_report, turns_ns
from hands.replay.venue import VenueLink

ACCOUNT_NS: Final = 5 * NS_PER_S
"""The daemon's shipped pace."""


class Polls:
    """The questions of one replay that began at `began_ns`; `latency_ns` is a request's way, and an answer's.

    `asked_ns`: when the account was asked for in the session that is played again, in order; otherwise every five seconds.
    """

    def __init__(
        self,
        state: State,
        engine: Engine,
        venue: VenueLink,
        floor: Floor,
        agenda: Agenda,
        *,
        began_ns: int,
        latency_ns: int,
        asked_ns: Sequence[int] = (),
    ) -> None:
        self._state = state
        self._engine = engine
        self._venue = venue
        self._floor = floor
        self._agenda = agenda
        self._began_ns = began_ns
        self._latency_ns = latency_ns
        self._recorded = asked_ns
        self._asked_ns = began_ns  # when the account was last asked for
        self._awake = False
        self._sums = SessionSums(state.market, began_ns)

    # --- the account -----------------------------------------------------------------------------------------

    def look(self) -> None:
        """After anything was done: begin to ask, if something is held, working or on its way."""
        if not self._awake and self._is_busy():
            self._awake = True
            self._agenda.at(self._next_ns(), self._ask)

    def _is_busy(self) -> bool:
        return bool(self._venue.in_flight or self._state.stakes.any or self._floor.exchange.watched)

    def _next_ns(self) -> int:
        number = bisect_right(self._recorded, self._floor.now_ns)
        if number < len(self._recorded):
            return self._recorded[number]
        return self._began_ns + ((self._floor.now_ns - self._began_ns) // ACCOUNT_NS + 1) * ACCOUNT_NS

    def _ask(self) -> None:
        """Ask; once more after everything is over, so that the last word is of the account as it then was."""
        busy = self._is_busy()
        self._asked_ns = self._floor.now_ns
        self._venue.request_account()
        self._awake = busy
        if busy:
            self._agenda.at(self._next_ns(), self._ask)

    def freshen(self) -> None:
        """Before something is decided: give the last answer that would have come, if none is on its way anyway."""
        if self._awake:
            return
        answered_ns = self._floor.now_ns - 2 * self._latency_ns - self._began_ns
        last_ns = self._last_ns(self._began_ns + answered_ns)
        if last_ns > self._asked_ns:
            self._asked_ns = last_ns
            self._engine.feed(self._venue.account_now(last_ns))

    def _last_ns(self, by_ns: int) -> int:
        """Return when the account would last have been asked for by then."""
        number = bisect_right(self._recorded, by_ns)
        if number and by_ns < self._recorded[-1] + ACCOUNT_NS:
            return self._recorded[number - 1]
        return self._began_ns + (by_ns - self._began_ns) // ACCOUNT_NS * ACCOUNT_NS

    # --- the session -----------------------------------------------------------------------------------------

    def tell_session(self) -> None:
        """Tell of the session now, and again when it turns."""
        clock = self._floor.exchange.clock
        report = session_report(clock, self._floor.now_ns, self._floor.now_ns)
        self._engine.feed(report)
        self._sums.take(report)
        turn_ns = turns_ns(clock, self._floor.now_ns)
        self._agenda.at(turn_ns, self._session_turns)

    def _session_turns(self) -> None:
        """The session turns at this moment; asked now, the answer is here two ways later."""
        clock, read_ns = self._floor.exchange.clock, self._floor.now_ns + self._latency_ns

        def answered() -> None:
            report = session_report(clock, read_ns, self._floor.now_ns)
            self._engine.feed(report)
            self._sums.take(report)

        self._agenda.at(self._floor.now_ns + 2 * self._latency_ns, answered)
        self._agenda.at(turns_ns(clock, self._floor.now_ns), self._session_turns)
