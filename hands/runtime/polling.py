"""What has to be asked for: account, assets, session, the venue's truth, a quiet symbol's quote.

Owns the questions and their pace; every answer becomes an event. May not decide, and never gives up: a venue that
cannot be reached leaves the engine up, NOT_READY, and is asked again. One question of a kind at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec
import numpy as np

from hands.core.events import AccountReport, AnyEvent, FillsReport, QuoteFetched, SessionReport
from hands.core.market import RowFlag, RowKind, new_rows
from hands.core.units import NS_PER_S, Ns
from hands.runtime.config import PollSection
from hands.runtime.sessions import REFRESH_S, Sessions
from hands.venues.alpaca.clock_offset import latest_ns
from hands.venues.alpaca.snapshots import Snapshots, VenueUnavailable
from hands.venues.alpaca.standing import standing_task

log = logging.getLogger("hands")
T = TypeVar("T")

RETRY_FIRST_S = 0.5
RETRY_LONGEST_S = 10.0
TRUTH_RETRY_S = 0.5
TRUTH_RETRIES = 10
TRUTH_RETRY_LATER_S = 2.0
"""After so many in vain: what has to be known at once may not use up the requests, exits and cancels need some too."""

CALENDAR_RETRY_S = 60.0


class Poller:
    """Asks the venue and feeds what it says. `index` gives each symbol its number in the market."""

    def __init__(
        self,
        snapshots: Snapshots,
        pace: PollSection,
        symbols: tuple[str, ...],
        index: dict[str, int],
        *,
        clock: Callable[[], Ns],
        feed: Callable[[AnyEvent], None],
        take_rows: Callable[[np.ndarray, int], None],
        on_session: Callable[[SessionReport], None],
        sessions: Sessions,
    ) -> None:
        self._snapshots = snapshots
        self._pace = pace
        self._symbols = symbols
        self._index = index
        self._clock = clock
        self._feed = feed
        self._take_rows = take_rows
        self._on_session = on_session
        self._sessions = sessions
        self._tasks: set[asyncio.Task[None]] = set()
        self._truth: asyncio.Task[None] | None = None
        self._truth_again: tuple[str, ...] | None = None
        self._truth_turn = asyncio.Lock()
        self._fills: asyncio.Task[None] | None = None
        self._last_session: SessionReport | None = None
        self._turn: asyncio.TimerHandle | None = None

    # --- at start ------------------------------------------------------------------------------------------

    async def first_account(self) -> AccountReport:
        """Return the account, asking until the venue answers."""
        return await self._until_answered("account", self._snapshots.account)

    async def introduce(self) -> None:
        """Feed assets and session, asking until the venue answers."""
        self._feed(await self._until_answered("assets", lambda: self._snapshots.assets(self._symbols)))
        self._take_session(await self._until_answered("session", self._snapshots.session))

    async def _until_answered(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        delay_s = RETRY_FIRST_S
        while True:
            try:
                return await ask()
            except VenueUnavailable as error:
                log.warning("%s: %s; asking again in %.1f s", what, error, delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, RETRY_LONGEST_S)

    # --- all the time --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin the standing questions."""
        self._spawn(self._every(self._pace.account_s, "account", self._ask_account))
        self._spawn(self._every(self._pace.session_s, "session", self._ask_session))
        self._spawn(self._every(self._pace.truth_s, "truth", self._ask_regular_truth))
        self._spawn(self._keep_calendar())

    async def stop(self) -> None:
        """End every question; no answer is fed after this."""
        if self._turn is not None:
            self._turn.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = standing_task(work, "a question to the venue")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _every(self, period_s: float, what: str, ask: Callable[[], Awaitable[None]]) -> None:
        failing = False
        while True:
            await asyncio.sleep(period_s)
            try:
                await ask()
            except VenueUnavailable as error:
                if not failing:
                    log.warning("%s: %s", what, error)
                failing = True
            else:
                failing = False

    async def _ask_account(self) -> None:
        self._feed(await self._snapshots.account())

    async def _ask_session(self) -> None:
        """Ask the venue's clock. Where it does not answer, its last word stands until the session should have turned;
        from then on the calendar is believed.
        """
        try:
            report = await self._snapshots.session()
        except VenueUnavailable:
            known, last = self._sessions.report(self._clock()), self._last_session
            if known is not None and last is not None and self._clock() >= _turns_ns(last):
                least, most = last.ahead_min_ns, last.ahead_max_ns
                self._take_session(msgspec.structs.replace(known, ahead_max_ns=most, ahead_min_ns=least))
            raise
        self._take_session(report)

    async def _keep_calendar(self) -> None:
        """Learn the venue's calendar, now and every few hours."""
        while True:
            try:
                self._sessions.learn(await self._snapshots.sessions(*self._sessions.wanted(self._clock())))
            except VenueUnavailable as error:
                log.warning("calendar: %s", error)
                await asyncio.sleep(CALENDAR_RETRY_S)
            else:
                await asyncio.sleep(REFRESH_S)

    def _take_session(self, report: SessionReport) -> None:
        phase = self._sessions.phase(self._clock())
        if (phase == "regular") is not report.is_open:  # the venue's clock has the last word
            phase = "regular" if report.is_open else "closed"
        report = self._last_session = msgspec.structs.replace(report, phase=phase)
        self._feed(report)
        self._on_session(report)
        wait_s = (_turns_ns(report) - self._clock()) / NS_PER_S
        if 0 < wait_s < self._pace.session_s:  # the session turns before the next question: ask just after it
            if self._turn is not None:
                self._turn.cancel()
            loop = asyncio.get_running_loop()
            self._turn = loop.call_later(wait_s + 0.05, lambda: self._spawn(self._session_turned()))

    async def _session_turned(self) -> None:
        self._take_session(await self._until_answered("session", self._snapshots.session))

    # --- on demand -----------------------------------------------------------------------------------------

    def request_truth(self, client_order_ids: tuple[str, ...]) -> None:
        """Ask for everything the venue holds; while it is being asked, once more afterwards."""
        if self._truth is not None and not self._truth.done():
            self._truth_again = client_order_ids
            return
        self._truth = self._spawn(self._ask_truth(client_order_ids))

    async def _ask_truth(self, client_order_ids: tuple[str, ...]) -> None:
        asked: tuple[str, ...] | None = client_order_ids
        failed = 0
        while asked is not None:
            try:
                await self._take_truth(asked)
                asked, failed = None, 0
            except VenueUnavailable as error:
                if not failed:
                    log.warning("truth: %s; asking until it is answered", error)
                failed += 1
                await asyncio.sleep(TRUTH_RETRY_S if failed <= TRUTH_RETRIES else TRUTH_RETRY_LATER_S)
            if self._truth_again is not None:
                asked, self._truth_again = self._truth_again, None

    async def _ask_regular_truth(self) -> None:
        if not self._truth_turn.locked() and (self._truth is None or self._truth.done()):
            await self._take_truth((), regular=True)

    async def _take_truth(self, client_order_ids: tuple[str, ...], *, regular: bool = False) -> None:
        """Ask and feed, one truth at a time: of two side by side the older could be the last to be believed."""
        async with self._truth_turn:
            self._feed(await self._snapshots.truth(client_order_ids, regular=regular))

    def request_day_orders(self, since_ns: Ns, symbols: tuple[str, ...] = ()) -> None:
        """Ask for our orders since the roll, and the older ones of `symbols`, until the venue has named them all."""
        self._spawn(self._ask_day_orders(since_ns, symbols))

    async def _ask_day_orders(self, since_ns: Ns, symbols: tuple[str, ...]) -> None:
        ask = self._snapshots.day_orders
        self._feed(await self._until_answered("orders of the day", lambda: ask(since_ns, symbols)))

    def request_fills(self, after_ns: Ns) -> None:
        """Ask for the account's fills since then, until the venue has listed them all; one question at a time."""
        if self._fills is None or self._fills.done():
            self._fills = self._spawn(self._ask_fills(after_ns))

    async def _ask_fills(self, after_ns: Ns) -> None:
        async def ask() -> FillsReport:
            try:
                return await self._snapshots.fills(after_ns)
            except VenueUnavailable as error:
                if not error.is_final:
                    raise
                log.warning("fills: %s", error)  # a list without them: the core knows when to despair of it
                return FillsReport(ts_ns=self._clock(), after_ns=after_ns, fills=())

        self._feed(await self._until_answered("fills", ask))

    def fetch_quote(self, symbol: str) -> None:
        """Ask once for a symbol's latest quote; it goes through the market like any other row."""
        self._spawn(self._ask_quote(symbol))

    async def _ask_quote(self, symbol: str) -> None:
        await self.latest_quote(symbol)

    async def latest_quote(self, symbol: str) -> int | None:
        """Ask for a symbol's latest quote, take it in, and return its stamp; None where there is no answer."""
        asked_ns = self._clock()
        try:
            found = await self._snapshots.latest_quote(symbol)
        except VenueUnavailable as error:
            log.warning("quote of %s: %s", symbol, error)
            found = None
        if found is not None:
            bid, ask, bid_size, ask_size, venue_ns = found
            rows, now_ns = new_rows(1), self._clock()
            row = rows[0]
            row["sym"], row["kind"], row["flags"] = self._index[symbol], RowKind.QUOTE, RowFlag.ELIGIBLE
            row["price"], row["size"], row["price2"], row["size2"] = bid, bid_size, ask, ask_size
            row["venue_ns"], row["recv_ns"] = venue_ns, now_ns
            if venue_ns <= latest_ns(now_ns, self._last_session.ahead_max_ns if self._last_session else None):
                self._take_rows(rows, 1)
        self._feed(
            QuoteFetched(
                ts_ns=self._clock(),
                symbol=symbol,
                ok=found is not None,
                asked_ns=asked_ns,
                venue_ns=None if found is None else found[4],
            )
        )
        return None if found is None else found[4]


def _turns_ns(report: SessionReport) -> int:
    """Return when the session that is reported, open or closed, ends."""
    return report.next_close_ns if report.is_open else report.next_open_ns
