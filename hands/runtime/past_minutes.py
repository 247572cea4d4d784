"""The market after a refusal: minute bars of past days, asked of the venue once and kept on disk.

Owns `minutes/` in the state directory, one file per day (UTC) and symbol. May not decide what is made of them. The one idea: a day that is over does not change any more, so it is asked for once; a day that
is not over is asked for every time and never kept.
"""

from __future__ import annotations

import asyncio
import csv
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from hands.core.hindsight import DAY_NS, HORIZON_NS, Minute, Refused
from hands.core.members import parse_time_ns
from hands.core.receipts import time_text
from hands.core.units import NANO, NS_PER_S, Ns, NumberError, decimal_text, nano
from hands.venues.alpaca.endpoints import Credentials, Endpoints, origin_of
from hands.venues.alpaca.history import History
from hands.venues.alpaca.snapshots import VenueUnavailable

log = logging.getLogger("hands")

FOLDER: Final = "minutes"
SETTLED_NS: Final = 3600 * NS_PER_S
"""So long after its end a day's late and corrected trades are in its bars."""

COLUMNS: Final = ("timestamp", "open", "high", "low", "close")
_REFUSED: Final = frozenset({400, 404, 422})
"""What the venue says where it does not know a symbol: of many it does not say which."""


class Unanswered(Exception):  # noqa: N818  (says what is the case)
    """The venue cannot be asked for its history; the message says why."""


class Bars(Protocol):
    """Who is asked for minutes."""

    async def minute_bars(
        self, symbols: Sequence[str], start_ns: int, end_ns: int
    ) -> dict[str, np.ndarray]: ...


def folder_of(state: Path, endpoints: Endpoints) -> Path:
    """Return where the minutes of one venue and feed are kept: two feeds do not show the same market."""
    authority = origin_of(endpoints.data).authority.replace(":", "_")
    return state / FOLDER / f"{authority}_{endpoints.feed}"


def wanted(refused: Sequence[Refused], now_ns: int) -> dict[int, set[str]]:
    """Return the symbols that are needed of each day (its first nanosecond, UTC) to follow these, oldest first."""
    days: dict[int, set[str]] = {}
    for each in refused:
        for day_ns in range(each.at_ns - each.at_ns % DAY_NS, min(each.at_ns + HORIZON_NS, now_ns), DAY_NS):
            days.setdefault(day_ns, set()).add(each.symbol)
    return dict(sorted(days.items()))


def fetch(
    endpoints: Endpoints,
    credentials: Credentials,
    state: Path,
    days: Mapping[int, set[str]],
    on_day: Callable[[], None],
) -> dict[str, list[Minute]]:
    """Return the minutes of these days for a command that has no event loop; paced. Raises `Unanswered`."""

    async def ask() -> dict[str, list[Minute]]:
        history = History(endpoints, credentials, {}, lambda: Ns(time.time_ns()))
        try:
            past = PastMinutes(folder_of(state, endpoints), history, time.time_ns())
            return await past.of(days, on_day)
        finally:
            await history.close()

    try:
        return asyncio.run(ask())
    except VenueUnavailable as error:
        raise Unanswered(str(error)) from error


class PastMinutes:
    """Minutes of past days, from disk where they are there, else from `bars`. `now_ns` is the wall's."""

    def __init__(self, folder: Path, bars: Bars, now_ns: int) -> None:
        self._folder = folder
        self._bars = bars
        self._now_ns = now_ns
        self._strangers: set[str] = set()

    async def of(
        self, days: Mapping[int, set[str]], on_day: Callable[[], None] = lambda: None
    ) -> dict[str, list[Minute]]:
        """Return the minutes of these symbols on these days (`wanted`), by symbol, oldest first.

        A symbol that the venue does not know has none. Raises `VenueUnavailable` where it cannot be asked.
        """
        found: dict[str, list[Minute]] = {}
        for day_ns, symbols in days.items():
            missing = []
            for symbol in sorted(symbols - self._strangers):
                kept = await asyncio.to_thread(self._kept, symbol, day_ns)
                if kept is None:
                    missing.append(symbol)
                else:
                    found.setdefault(symbol, []).extend(kept)
            for symbol, minutes in (await self._asked(missing, day_ns)).items():
                found.setdefault(symbol, []).extend(minutes)
                if day_ns + DAY_NS + SETTLED_NS <= self._now_ns:
                    await asyncio.to_thread(self._keep, symbol, day_ns, minutes)
            on_day()
        return found

    async def _asked(self, symbols: Sequence[str], day_ns: int) -> dict[str, list[Minute]]:
        if not symbols:
            return {}
        end_ns = min(day_ns + DAY_NS, self._now_ns) - 1
        try:
            bars = await self._bars.minute_bars(symbols, day_ns, end_ns)
        except VenueUnavailable as error:
            if error.status not in _REFUSED:
                raise
            if len(symbols) == 1:
                self._strangers |= set(symbols)
                return {}
            found: dict[str, list[Minute]] = {}
            for symbol in symbols:
                found |= await self._asked([symbol], day_ns)
            return found
        return {symbol: [_minute(bar) for bar in bars.get(symbol, ())] for symbol in symbols}

    # --- on disk -----------------------------------------------------------------------------------------------

    def _path(self, symbol: str, day_ns: int) -> Path:
        day = datetime.fromtimestamp(day_ns // NS_PER_S, UTC)
        return self._folder / f"{day:%Y-%m-%d}" / f"{symbol.replace('/', '-')}.csv"

    def _kept(self, symbol: str, day_ns: int) -> list[Minute] | None:
        path = self._path(symbol, day_ns)
        try:
            with path.open(encoding="utf-8", newline="") as text:
                return [_read(row) for row in csv.DictReader(text)]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, csv.Error, NumberError) as error:
            log.warning("%s cannot be read, and is asked for anew: %s", path, error)
            return None

    def _keep(self, symbol: str, day_ns: int, minutes: Sequence[Minute]) -> None:
        """Write a day; one that cannot be written is asked for the next time."""
        path = self._path(symbol, day_ns)
        fresh = path.with_name(f".{path.name}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with fresh.open("w", encoding="utf-8", newline="") as text:
                rows = csv.writer(text)
                rows.writerow(COLUMNS)
                rows.writerows(_row(minute) for minute in minutes)
            fresh.replace(path)
        except OSError as error:
            log.warning("%s cannot be written: %s", path, error)


def _minute(bar: np.void) -> Minute:
    prices = (round(float(bar[name]) * NANO) for name in ("open", "high", "low", "close"))
    return Minute(int(bar["start_ns"]), *prices)


def _row(minute: Minute) -> tuple[str | None, ...]:
    prices = (decimal_text(price) for price in (minute.open, minute.high, minute.low, minute.close))
    return time_text(minute.start_ns), *prices


def _read(row: dict[str, str]) -> Minute:
    prices = (nano(row[name]) for name in ("open", "high", "low", "close"))
    return Minute(parse_time_ns(row["timestamp"]), *prices)
