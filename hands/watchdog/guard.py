"""The watchdog's life: look at the beat; while the engine is silent, look at the venue, and do the next thing.

Owns the loop, its pace and what it tells. May not decide what a trade needs: that is `hands.watchdog.rules`. The one
idea: every act is preceded by a look at the beat, when the connection stands and nothing else is left to wait for, so an
engine that is back finds the watchdog already gone; and the fence goes up before each act, so an engine that is back does
not act on what it believed, or on what it was told a moment before the act.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from hands.core.guard_sheet import GuardSheet
from hands.core.heartbeat import BEAT_EVERY_NS
from hands.core.limits import LimitsFile
from hands.core.units import NS_PER_MS, NS_PER_S, Price, decimal_text
from hands.venues.alpaca.endpoints import Credentials, Endpoints
from hands.venues.alpaca.snapshots import VenueUnavailable
from hands.watchdog.page import LockedElsewhere, Page, Pulse, take_lock
from hands.watchdog.rules import Bounds, Cancel, Episode, Seen, Step, Submit, is_naked, next_step
from hands.watchdog.trades import Held, symbols_to_ask, trades_held
from hands.watchdog.venue import Line, Refused, Truth, Unanswered

log = logging.getLogger("hands.watchdog")

TICK_S = BEAT_EVERY_NS / NS_PER_S
FENCE_WAIT_S = 1.5 * TICK_S
"""Between the first fence of a silence and the first act: an engine that lives has beaten by then."""

LOOK_QUICK_S = 0.25
LOOK_CALM_S = 2.0
LOOK_STOPPED_S = 10.0
"""Between two looks at the venue, of three requests each: while something has to be done; else; after an orderly end."""

QUICK_LOOKS = 14
QUICK_LOOKS_AFTER_ACT = 2
"""So many looks are quick in one silence, and after each act: what lasts longer must not use up the account's requests."""

UNREACHABLE_LONGEST_S = 5.0
KEYS_AGAIN_S = 30.0
"""How long a question for the account waits for its next try, while the engine beats."""

ONCE_WITHIN_S = 30.0

Say = Callable[[dict[str, object]], None]


class WrongAccount(Exception):  # noqa: N818  (says what is the case)
    """The keys are those of another account than the one that the engine's sheet was written for."""


class Watchdog:
    """Looks after one state directory. `say` is told of everything it notices and does, as a document with `event`."""

    def __init__(
        self,
        folder: Path,
        endpoints: Endpoints,
        credentials: Credentials,
        limits: LimitsFile,
        *,
        late_ns: int,
        close_intent: bool,
        requests_per_minute: int,
        timeout_s: float,
        account: str | None,
        say: Say,
    ) -> None:
        self._folder = folder
        self._endpoints = endpoints
        self._credentials = credentials
        self._limits = limits
        self._close_intent = close_intent
        self._requests_per_minute = requests_per_minute
        self._timeout_s = timeout_s
        self._account = account
        self._say = say
        self._bounds = Bounds(
            unprotected_max_ns=limits.hard.unprotected_max_ms, ttl_ns=limits.hard.ttl_seconds
        )
        self._page = Page(folder, late_ns=late_ns)
        self._line: Line | None = None
        self._episodes: dict[str, Episode] = {}
        self._fenced = False
        self._number: str | None = None
        self._twins: set[str] = set()
        self._wait_s = LOOK_QUICK_S
        self._quick_looks = QUICK_LOOKS
        self._is_busy = False
        self._is_answered = True
        self.naked: list[str] = []

    # --- life ----------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Watch until cancelled. Raises LockedElsewhere, WrongAccount, OSError."""
        if not self._folder.is_dir():
            self._tell("idle", f"{self._folder} is not there: waiting for an engine to be started")
            await self._until_there()
        take_lock(self._folder)
        beating = asyncio.create_task(self._beat())
        look_at_s, keys_at_s, before = 0.0, 0.0, None
        try:
            while True:
                pulse = self._page.pulse()
                if pulse is not before:
                    await self._turned(before, pulse)
                    before, look_at_s = pulse, 0.0
                if pulse in (Pulse.SILENT, Pulse.STOPPED) and time.monotonic() >= look_at_s:
                    await self._look_and_act(pulse)
                    look_at_s = time.monotonic() + self._wait_s
                elif pulse is Pulse.ALIVE and self._number is None and time.monotonic() >= keys_at_s:
                    await self._try_keys()
                    keys_at_s = time.monotonic() + KEYS_AGAIN_S
                await asyncio.sleep(TICK_S)
        finally:
            beating.cancel()
            await self._hang_up()

    async def _beat(self) -> None:
        """Say that the watchdog is there, also while it waits for the venue."""
        while True:
            self._page.beat()
            await asyncio.sleep(TICK_S)

    async def once(self) -> bool:
        """Look once, and act until there is nothing more to do; whether all is well then. Raises as `watch`."""
        if not self._folder.is_dir():
            self._tell("idle", "there is no state directory: nothing was ever started here")
            return True
        take_lock(self._folder)
        self._page.beat()
        pulse = self._page.pulse()
        self._tell("pulse", f"the engine is {pulse}", pulse=str(pulse))
        if pulse in (Pulse.ABSENT, Pulse.ALIVE):
            return True
        end_s = time.monotonic() + ONCE_WITHIN_S
        try:
            while time.monotonic() < end_s:
                await self._look_and_act(pulse)
                if self._is_answered and not self.naked and not self._is_busy:
                    return True
                if self._page.pulse() is Pulse.ALIVE:
                    return True
                await asyncio.sleep(self._wait_s)
            return False
        finally:
            await self._hang_up()

    async def _until_there(self) -> None:
        while not self._folder.is_dir():  # noqa: ASYNC110  another process makes it
            await asyncio.sleep(TICK_S)

    async def _turned(self, before: Pulse | None, pulse: Pulse) -> None:
        """The engine is otherwise than before: tell, and begin or end a silence."""
        self._episodes.clear()
        self._twins.clear()
        self._fenced, self._quick_looks = False, QUICK_LOOKS
        match pulse:
            case Pulse.ABSENT:
                self._tell("idle", "no engine was ever started here")
            case Pulse.ALIVE:
                word = "stands_down" if before in (Pulse.SILENT, Pulse.STOPPED) else "alive"
                self._tell(word, "the engine beats")
                await self._hang_up()
            case Pulse.SILENT:
                self._tell(
                    "silent", "the engine does not beat", silent_ms=self._page.silent_ms(), level="critical"
                )
            case Pulse.STOPPED:
                self._tell(
                    "stopped", "the engine was stopped orderly; what it left is looked at now and then"
                )

    async def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            await line.close()

    # --- a look --------------------------------------------------------------------------------------------

    async def _look_and_act(self, pulse: Pulse) -> None:
        """Read the truth, do at most one thing for each trade, and say when to look again."""
        try:
            helds, seen = await self._read()
        except VenueUnavailable as error:
            if self._is_answered:
                self._wait_s = LOOK_QUICK_S
            self._note_answer(error)
            self._wait_s = min(2 * self._wait_s, UNREACHABLE_LONGEST_S)
            return
        self._note_answer(None)
        busy = False
        self.naked = [held.symbol for held in helds if is_naked(held, seen)]
        for held in helds:
            episode = self._episodes.setdefault(held.intent_id, Episode())
            step = next_step(held, episode, seen, self._bounds)
            busy |= step is not None or episode.naked_since_ns is not None
            if step is not None and not await self._carry_out(step, held, episode):
                return
            if step is not None:
                self._quick_looks = max(self._quick_looks, QUICK_LOOKS_AFTER_ACT)
        self._is_busy = busy
        works = any(held.entry_works for held in helds)
        self._wait_s = LOOK_STOPPED_S if pulse is Pulse.STOPPED and not (busy or works) else LOOK_CALM_S
        if busy and self._quick_looks:
            self._quick_looks -= 1
            self._wait_s = LOOK_QUICK_S

    async def _read(self) -> tuple[list[Held], Seen]:
        """Return our trades and what else a decision needs. Raises VenueUnavailable, WrongAccount."""
        sheet = self._page.sheet()
        if self._line is None:
            self._line = self._call(sheet)
        line = self._line
        await self._check_account(line, sheet)
        wall_ns, silent_ms = time.time_ns(), self._page.silent_ms()
        truth = await line.truth(sheet, wall_ns, self._twins)
        assets = await line.assets(symbols_to_ask(truth.orders, sheet))
        beat_ns = None if silent_ms is None else wall_ns - silent_ms * NS_PER_MS
        helds = trades_held(truth.orders, truth.positions, sheet, assets, beat_ns=beat_ns)
        return helds, await self._seen(line, helds, truth)

    def _call(self, sheet: GuardSheet | None) -> Line:
        on_sheet = [] if sheet is None else [trade.symbol for trade in sheet.trades]
        return Line(
            self._endpoints,
            self._credentials,
            symbols={*self._limits.allow, *on_sheet},
            close_intent=self._close_intent,
            requests_per_minute=self._requests_per_minute,
            timeout_s=self._timeout_s,
        )

    async def _try_keys(self) -> None:
        """Ask once whose account the keys are of, while there is time to put them right. Raises WrongAccount."""
        sheet = self._page.sheet()
        line = self._call(sheet)
        try:
            await self._check_account(line, sheet)
        except VenueUnavailable as error:
            self._note_answer(error)
        else:
            self._note_answer(None)
        finally:
            await line.close()

    async def _check_account(self, line: Line, sheet: GuardSheet | None) -> None:
        """Raises VenueUnavailable, WrongAccount."""
        if self._number is None:
            self._number = await line.account_number()
        wanted = {self._account, None if sheet is None else sheet.account} - {None, self._number}
        if wanted:
            raise WrongAccount(
                f"the keys are those of account {self._number}, the engine's is {', '.join(map(str, wanted))}"
            )

    def _note_answer(self, error: VenueUnavailable | None) -> None:
        """Tell when the venue ceases to answer, and when it answers again."""
        if error is not None and self._is_answered:
            self._tell("unreachable", f"the venue does not answer: {error}", level="critical")
        elif error is None and not self._is_answered:
            self._tell("reachable", "the venue answers again")
        self._is_answered = error is None

    async def _seen(self, line: Line, helds: list[Held], truth: Truth) -> Seen:
        """Add the clocks and, where the market's price matters, its quotes: of coins, and of what may have to be closed."""
        quotes: dict[str, tuple[Price, Price]] = {}
        seen = self._now(truth, quotes)
        for held in helds:
            if held.owned and (held.is_crypto or is_naked(held, seen)):
                try:
                    quote = await line.quote(held.symbol)
                except VenueUnavailable:
                    quote = None  # a price is useful and not needed: the venue judges what it is sent
                if quote is not None:
                    quotes[held.symbol] = quote
        return self._now(truth, quotes)

    def _now(self, truth: Truth, quotes: Mapping[str, tuple[Price, Price]]) -> Seen:
        return Seen(
            mono_ns=time.monotonic_ns(),
            silent_ns=(self._page.silent_ms() or 0) * NS_PER_MS,
            wall_ns=time.time_ns(),
            session_open=truth.session_open,
            quotes=dict(quotes),
        )

    # --- acts ----------------------------------------------------------------------------------------------

    async def _carry_out(self, step: Step, held: Held, episode: Episode) -> bool:
        """Do one thing; False if the engine is back, and nothing was done."""
        line = self._line
        assert line is not None
        if self._is_back():
            return False
        epoch = self._page.raise_fence()
        if not self._fenced:
            self._tell("fence", "raised before the first act", epoch=epoch)
            self._fenced = True
            await asyncio.sleep(FENCE_WAIT_S)
            if self._is_back():
                return False
        about = {"symbol": held.symbol, "intent_id": held.intent_id}
        try:
            if isinstance(step, Cancel):
                self._tell(
                    "cancel", step.why, **about, client_order_id=step.order.client_order_id, level="warning"
                )
                await line.cancel(step.order, unless=self._is_back)
            else:
                order = step.order
                self._tell(
                    "flatten" if step.closes else "protect",
                    step.why,
                    **about,
                    client_order_id=order.client_order_id,
                    side=str(order.side),
                    qty=decimal_text(order.qty),
                    level="critical",
                )
                episode.sent(time.monotonic_ns(), closes=step.closes)
                self._page.acts += 1
                await line.submit(order, unless=self._is_back)
        except Refused as error:
            if error.is_twin and isinstance(step, Submit):
                self._twins.add(
                    step.order.client_order_id
                )  # it is there: the next look asks for it by its name
            else:
                episode.failed(time.monotonic_ns(), error.available)
            self._tell("refused", str(error), **about, level="warning")
        except Unanswered as error:
            if isinstance(step, Submit):
                episode.unanswered(time.monotonic_ns())
            self._tell("unanswered", str(error), **about, level="warning")
        return True

    def _is_back(self) -> bool:
        return self._page.pulse() is Pulse.ALIVE

    def _tell(self, event: str, message: str, *, level: str = "info", **more: object) -> None:
        log.log(_LEVELS[level], "%s: %s", event, message, extra={"code": event.upper()})
        self._say({"event": event, "message": message, **more})


_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}

__all__ = ["LockedElsewhere", "Watchdog", "WrongAccount"]
