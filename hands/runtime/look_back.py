"""Looking back, once a night: what the last days' refused trades would have come to, noted for the view `gates`.

Owns when that is looked at, and how much. May not decide anything, and nothing that trades reads what it finds. The one
idea: it is never urgent. History paces the questions, the ledger is read and the market walked in a thread, and what could
not be had tonight is asked for tomorrow.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Final

from hands.core.hindsight import DAY_NS, Hindsight, Minute, Refused, look_back
from hands.core.units import NS_PER_S
from hands.core.vocab import Venue
from hands.journal.reader import LedgerUnreadable, open_ledger
from hands.journal.refusals import hindsight_row, noted, refusals
from hands.runtime.config import Config
from hands.runtime.past_minutes import Bars, PastMinutes, folder_of, wanted
from hands.runtime.sessions import Sessions
from hands.venues.alpaca.snapshots import VenueUnavailable
from hands.venues.alpaca.standing import standing_task

log = logging.getLogger("hands")

BACK_NS: Final = 6 * DAY_NS
"""The calendar that is kept reaches back so far."""

AFTER_ROLL_S: Final = 1800.0
"""The venue's free data ends a quarter of an hour ago; nobody waits for this."""

MOST: Final = 1_000
"""Of a flood of refusals the newest are valued; all are counted."""

AT_A_TIME: Final = 20
Minutes = dict[str, list[Minute]]


class LookBack:
    """Looks back after each roll. `next_roll_ns(now)` says when the day ends, `add_row` hands a row to the journal."""

    def __init__(
        self,
        config: Config,
        bars: Bars,
        sessions: Sessions,
        *,
        clock: Callable[[], int],
        next_roll_ns: Callable[[int], int | None],
        add_row: Callable[[str, dict[str, object]], None],
    ) -> None:
        self._ledger = config.state / "hands.db"
        self._minutes = folder_of(config.state, config.endpoints)
        self._venue = config.venue
        self._bars = bars
        self._sessions = sessions
        self._clock = clock
        self._next_roll_ns = next_roll_ns
        self._add_row = add_row
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to wait for the nights."""
        self._task = standing_task(self._every_night(), "the nightly look back")

    async def stop(self) -> None:
        """Add no row any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _every_night(self) -> None:
        while (roll_ns := self._next_roll_ns(self._clock())) is not None:
            await asyncio.sleep((roll_ns - self._clock()) / NS_PER_S + AFTER_ROLL_S)
            try:
                valued = await self.look()
            except (VenueUnavailable, LedgerUnreadable, sqlite3.Error) as error:
                log.warning("what was refused is not looked back at tonight: %s", error)
            else:
                log.info("looked back at %d refused trades", valued)

    async def look(self) -> int:
        """Value what was refused in the last days and is not settled; return how many there were.

        Raises `VenueUnavailable`, `LedgerUnreadable`, sqlite3.Error.
        """
        now_ns = self._clock()
        found = await asyncio.to_thread(self._unsettled, now_ns)
        minutes = await PastMinutes(self._minutes, self._bars, now_ns).of(
            wanted([each for each, _ in found], now_ns)
        )
        traded = await asyncio.to_thread(self._in_session, minutes)
        for first in range(0, len(found), AT_A_TIME):
            some = found[first : first + AT_A_TIME]
            for intent_id, hindsight in await asyncio.to_thread(_valued, some, traded):
                self._add_row("hindsight", hindsight_row(intent_id, hindsight, now_ns))
        return len(found)

    def _unsettled(self, now_ns: int) -> list[tuple[Refused, Hindsight | None]]:
        since_ns = now_ns - BACK_NS
        with closing(open_ledger(self._ledger)) as db:
            before = noted(db, since_ns, now_ns)
            found = [(each, before.get(each.intent_id)) for each in refusals(db, since_ns, now_ns)]
        return [(each, last) for each, last in found if last is None or not last.is_final][-MOST:]

    def _in_session(self, minutes: Minutes) -> Minutes:
        """Return the minutes in which stops and targets trade; coins have no session, the simulator its own hours."""
        if self._venue is Venue.SIM:
            return minutes
        phase = self._sessions.phase
        return {
            symbol: every if "/" in symbol else [each for each in every if phase(each.start_ns) == "regular"]
            for symbol, every in minutes.items()
        }


def _valued(some: list[tuple[Refused, Hindsight | None]], minutes: Minutes) -> list[tuple[str, Hindsight]]:
    """Return those, by their intent, of which something new is known."""
    found = [(each, last, look_back(each, minutes.get(each.symbol, ()))) for each, last in some]
    return [(each.intent_id, now) for each, last, now in found if now != last]
