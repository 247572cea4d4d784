"""Where a recording's rows come from: a connection of its own to the venue's market data, or a running daemon's record.

Owns both, and noticing what was missed. The one idea: the venue allows one data connection per key, so beside a daemon
there is none to be had: its rows are copied from where it puts them anyway (`hands.journal.record`), which costs it
nothing. May not write a file (`recorded_file`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol
from zoneinfo import ZoneInfo

import numpy as np

from hands.core.events import AnyEvent, Link, LinkReport
from hands.core.units import NS_PER_S
from hands.journal import following
from hands.journal.ring import Ring, RingFault, ring_path
from hands.journal.segments import SegmentFault, folder_of
from hands.replay.recorded_file import Chosen, Gap, RecordedFile
from hands.replay.recorded_sessions import symbols_of
from hands.sim.market.file_rows import FileError
from hands.venues.alpaca.endpoints import Credentials, Endpoints
from hands.venues.alpaca.market_feed import MarketFeed
from hands.venues.alpaca.reconnect import Pace

MUTE_AFTER_S: Final = 60.0
TURN_S: Final = 0.25
FLUSH_S: Final = 1.0
"""How much a SIGKILL may take."""

UNREADABLE: Final = (FileError, SegmentFault)
"""What a record that cannot be followed raises, besides OSError."""

STOCK_HOURS: Final = (4, 20)
"""From four to eight in New York on a weekday a silent feed of stocks is looked into; at other hours it is just night."""

NEW_YORK: Final = ZoneInfo("America/New_York")


class Listener(Protocol):
    """What a recording listens to. `state` is how it is, in a few words; `ok` whether rows can come."""

    async def start(self) -> None: ...
    def turn(self) -> None:
        """Take what has come; about four times a second."""

    async def stop(self) -> None: ...
    @property
    def ok(self) -> bool: ...
    @property
    def state(self) -> str: ...


def wall_clock() -> Callable[[], int]:
    """Return a clock of Unix nanoseconds that never steps: the wall's time of now, steady from then on."""
    anchor_ns = time.time_ns() - time.monotonic_ns()
    return lambda: anchor_ns + time.monotonic_ns()


# --- a connection of our own -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _LinkState:
    """How one link is: since when it is down (the recording's beginning counts as up), and why."""

    down_since_ns: int | None = None
    was_up: bool = False
    reason: str = "connecting"


class OwnConnection:
    """The venue's streams of `file.symbols`, stocks and coins each on a connection of their own."""

    def __init__(
        self,
        endpoints: Endpoints,
        credentials: Credentials,
        file: RecordedFile,
        clock: Callable[[], int],
        *,
        pace: Pace | None = None,
    ) -> None:
        self._file = file
        self._clock = clock
        self._links: dict[Link, _LinkState] = {}
        self._fault: OSError | None = None
        self.feeds: dict[Link, MarketFeed] = {}
        index = {symbol: number for number, symbol in enumerate(file.symbols)}
        for link in (Link.EQUITY_DATA, Link.CRYPTO_DATA):
            symbols = [symbol for symbol in file.symbols if ("/" in symbol) == (link is Link.CRYPTO_DATA)]
            if symbols:
                self._links[link] = _LinkState()
                self.feeds[link] = MarketFeed(
                    endpoints, credentials, symbols, index, self._take, self._deliver, clock, link,
                    on_silence=self._judge_silence, mute_after_s=MUTE_AFTER_S, pace=pace,
                )  # fmt: skip

    async def start(self) -> None:
        MarketFeed.warm_up()
        for feed in self.feeds.values():
            await feed.start()

    def turn(self) -> None:
        """Raises OSError: what came could not be written."""
        if self._fault is not None:
            raise self._fault

    async def stop(self) -> None:
        for feed in self.feeds.values():
            await feed.stop()
        for link, known in self._links.items():
            if known.down_since_ns is not None:
                self._file.note_gap(Gap(known.down_since_ns, self._clock(), f"{link}: {known.reason}"))

    @property
    def ok(self) -> bool:
        return all(feed.is_up for feed in self.feeds.values())

    @property
    def state(self) -> str:
        return "; ".join(f"{link} is {self._how(link)}" for link in self._links)

    def _how(self, link: Link) -> str:
        known = self._links[link]
        if not self.feeds[link].is_up:
            return f"down: {known.reason}"
        return f"up, {known.reason}" if known.reason else "up"

    def _take(self, rows: np.ndarray, count: int) -> None:
        try:
            self._file.add(rows[:count].copy())
        except OSError as error:  # told at the next turn: a protocol's callback has nobody to raise to
            self._fault = error

    def _deliver(self, event: AnyEvent) -> None:
        if not isinstance(event, LinkReport):
            return
        known, now_ns = self._links[event.link], self._clock()
        known.reason = event.reason
        if not event.up:
            if known.was_up and known.down_since_ns is None:
                known.down_since_ns = self.feeds[event.link].heard_ns or now_ns
            return
        if known.down_since_ns is not None:
            self._note(Gap(known.down_since_ns, now_ns, f"{event.link}: the connection was lost"))
        known.was_up, known.down_since_ns = True, None

    def _note(self, gap: Gap) -> None:
        try:
            self._file.note_gap(gap)
        except OSError as error:
            self._fault = error

    def _judge_silence(self, link: Link) -> None:
        """Connect anew, unless it is night; the next time wait longer."""
        feed = self.feeds[link]
        feed.excuse()
        if link is Link.CRYPTO_DATA or _is_stock_time(self._clock()):
            feed.drop("connected, but without any data")


def _is_stock_time(now_ns: int) -> bool:
    there = datetime.fromtimestamp(now_ns / NS_PER_S, UTC).astimezone(NEW_YORK)
    return there.weekday() < 5 and STOCK_HOURS[0] <= there.hour < STOCK_HOURS[1]


# --- a daemon's record -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class DaemonTap:
    """The rows that a daemon on `folder` takes in from now on, of the symbols of `file`; also those of its next life."""

    folder: Path
    file: RecordedFile
    clock: Callable[[], int]
    is_running: Callable[[], bool]
    _session: int | None = None
    _rows: following.Rows | None = None
    _chosen: Chosen | None = None
    _gone_since_ns: int | None = None
    _missing: tuple[str, ...] = field(default=())

    async def start(self) -> None:
        """Raises FileError, OSError, SegmentFault: there is no record to be read."""
        session = following.newest_session(self.folder)
        if session is None:
            raise FileError(f"{self.folder}: the daemon keeps no record there")
        self._follow(session, _next_row(self.folder, session))

    def turn(self) -> None:
        """Raises OSError, SegmentFault, FileError."""
        self._read()
        running = self.is_running()
        if not running and self._gone_since_ns is None:
            self._gone_since_ns = self.file.last_ns or self.clock()
        session = following.newest_session(self.folder) if running else None
        if session is None:
            return
        if session != self._session:
            self._read()  # what the one before still had
            try:
                self._follow(session, 0)
            except FileError:  # it has just begun: its first step is on its way
                return
            since_ns = self._gone_since_ns or self.file.last_ns or self.clock()
            self.file.note_gap(Gap(since_ns, self.clock(), "the daemon was started anew"))
            self._read()
        self._gone_since_ns = None

    async def stop(self) -> None:
        self._read()
        if self._gone_since_ns is not None:
            self.file.note_gap(Gap(self._gone_since_ns, self.clock(), "the daemon was not running"))

    @property
    def ok(self) -> bool:
        return self._gone_since_ns is None

    @property
    def state(self) -> str:
        if self._gone_since_ns is not None:
            return "the daemon is not running"
        missing = f", without {', '.join(self._missing)}" if self._missing else ""
        return f"beside the daemon{missing}"

    def _follow(self, session: int, row: int) -> None:
        market = symbols_of(self.folder, session)
        self._missing = tuple(symbol for symbol in self.file.symbols if symbol not in market)
        self._session, self._chosen = session, Chosen(market, self.file.symbols)
        self._rows = following.Rows(self.folder, session, row)

    def _read(self) -> None:
        assert self._rows is not None
        assert self._chosen is not None
        expected = self._rows.row
        for first, rows in self._rows.read():
            if first > expected and len(rows):
                self.file.note_gap(Gap(self.file.last_ns, int(rows["recv_ns"][0]), "the daemon lost rows"))
            expected = first + len(rows)
            self.file.add(self._chosen.of(rows))


def _next_row(folder: Path, session: int) -> int:
    """Return the number of the row that a session takes in next. Raises OSError, SegmentFault."""
    with contextlib.suppress(FileNotFoundError, RingFault):
        return Ring.recover(ring_path(folder_of(folder), session), only_look=True).head
    written = [stretch.next_row for stretch in following.stretches(folder) if stretch.session == session]
    return max(written, default=0)


def daemon_symbols(folder: Path) -> Sequence[str]:
    """Return the symbols of the session that a daemon records now. Raises FileError, OSError, SegmentFault."""
    session = following.newest_session(folder)
    if session is None:
        raise FileError(f"{folder}: the daemon keeps no record there")
    return symbols_of(folder, session)


# --- the recording -----------------------------------------------------------------------------------------------


async def listen(
    listener: Listener,
    file: RecordedFile,
    stop: asyncio.Event,
    *,
    for_s: float | None,
    told: Callable[[], None] = lambda: None,
) -> None:
    """Record until `stop` is set, or `for_s` seconds are over; `told` is called at every turn. The file stays unfinished.

    Raises:
        OSError, FileError, SegmentFault: it cannot go on; what was recorded by then stays.
    """
    loop = asyncio.get_running_loop()
    began_s = flushed_s = loop.time()
    await listener.start()
    try:
        while not stop.is_set():
            left_s = TURN_S if for_s is None else min(TURN_S, began_s + for_s - loop.time())
            if left_s <= 0:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), left_s)
            listener.turn()
            if loop.time() - flushed_s >= FLUSH_S:
                file.flush()
                flushed_s = loop.time()
            told()
    finally:
        await listener.stop()
        file.flush()
