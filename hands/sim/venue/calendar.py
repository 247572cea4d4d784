"""When the US equity exchanges are open: holidays and half days by rule, and the clock built on them.

Owns the calendar from 2011 on (Juneteenth from 2022) and the special closures since. No tables of dates but
those closures; the rules are NYSE Rule 7.2's: a holiday on a Sunday is observed on Monday, on a Saturday on
Friday, except New Year's Day, which is then not observed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from hands.core.units import NS_PER_S, Ns

NEW_YORK: Final = ZoneInfo("America/New_York")
OPEN: Final = dt.time(9, 30)
CLOSE: Final = dt.time(16, 0)
EARLY_CLOSE: Final = dt.time(13, 0)
SESSION_OPEN: Final = dt.time(4, 0)
SESSION_CLOSE: Final = dt.time(20, 0)
EARLY_SESSION_CLOSE: Final = dt.time(17, 0)

_SPECIAL_CLOSURES: Final = frozenset(
    {
        dt.date(2012, 10, 29),  # Hurricane Sandy
        dt.date(2012, 10, 30),
        dt.date(2018, 12, 5),  # day of mourning, G. H. W. Bush
        dt.date(2025, 1, 9),  # day of mourning, J. Carter
    }
)
_MONDAY, _THURSDAY, _SATURDAY, _SUNDAY = 0, 3, 5, 6
_DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TradingDay:
    """One day's regular session, exchange time."""

    date: dt.date
    open: dt.time
    close: dt.time

    @property
    def open_ns(self) -> Ns:
        return unix_ns(self.date, self.open)

    @property
    def close_ns(self) -> Ns:
        return unix_ns(self.date, self.close)

    @property
    def session_open(self) -> dt.time:
        """When extended hours begin."""
        return SESSION_OPEN

    @property
    def session_close(self) -> dt.time:
        """When extended hours end: four hours after the close."""
        return EARLY_SESSION_CLOSE if self.close == EARLY_CLOSE else SESSION_CLOSE

    @property
    def session_open_ns(self) -> Ns:
        return unix_ns(self.date, self.session_open)

    @property
    def session_close_ns(self) -> Ns:
        return unix_ns(self.date, self.session_close)


class Session(StrEnum):
    """What equities may do at one moment."""

    REGULAR = "regular"
    EXTENDED = "extended"
    """Before the opening and after the close: limit orders that ask for it trade, nothing else does."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What the clock says at one moment."""

    is_open: bool
    next_open_ns: Ns
    next_close_ns: Ns


def trading_day(date: dt.date) -> TradingDay | None:
    """Return the session of `date`, or None when the exchanges are closed."""
    if date.weekday() >= _SATURDAY or date in _SPECIAL_CLOSURES or date in holidays(date.year):
        return None
    return TradingDay(date, OPEN, EARLY_CLOSE if _is_half_day(date) else CLOSE)


def trading_days(start: dt.date, end: dt.date) -> Iterator[TradingDay]:
    """Yield the sessions from `start` to `end`, both included."""
    date = start
    while date <= end:
        day = trading_day(date)
        if day is not None:
            yield day
        date += _DAY


def settlement_date(date: dt.date) -> dt.date:
    """Return when a trade of `date` settles: one trading day later since 28 May 2024, before that two."""
    days = 1 if date >= dt.date(2024, 5, 28) else 2 if date >= dt.date(2017, 9, 5) else 3
    while days:
        date += _DAY
        days -= trading_day(date) is not None
    return date


@lru_cache(maxsize=64)
def holidays(year: int) -> frozenset[dt.date]:
    """Return the weekdays of `year` on which a holiday closes the exchanges."""
    days = [
        _nth(year, 1, _MONDAY, 3),
        _nth(year, 2, _MONDAY, 3),
        _easter(year) - 2 * _DAY,
        _last_monday_of_may(year),
        _observed(dt.date(year, 7, 4)),
        _nth(year, 9, _MONDAY, 1),
        _nth(year, 11, _THURSDAY, 4),
        _observed(dt.date(year, 12, 25)),
    ]
    new_year = dt.date(year, 1, 1)
    if new_year.weekday() != _SATURDAY:
        days.append(_observed(new_year))
    if year >= 2022:
        days.append(_observed(dt.date(year, 6, 19)))
    return frozenset(days)


def _is_half_day(date: dt.date) -> bool:
    if (date.month, date.day) in {(7, 3), (12, 24)}:
        # 3 July is short when the 4th is a weekday after it; Christmas Eve on any weekday it is not observed on.
        return date.weekday() <= _THURSDAY
    return date - _DAY == _nth(date.year, 11, _THURSDAY, 4)


def _observed(date: dt.date) -> dt.date:
    if date.weekday() == _SATURDAY:
        return date - _DAY
    return date + _DAY if date.weekday() == _SUNDAY else date


def _nth(year: int, month: int, weekday: int, n: int) -> dt.date:
    first = dt.date(year, month, 1)
    return first + dt.timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _last_monday_of_may(year: int) -> dt.date:
    last = dt.date(year, 5, 31)
    return last - dt.timedelta(days=last.weekday())


def _easter(year: int) -> dt.date:
    """Return Easter Sunday (Gregorian, after Meeus, Jones and Butcher)."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    h = (19 * a + b - d - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    i, k = divmod(c, 4)
    weekday = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * weekday) // 451
    month, day = divmod(h + weekday - 7 * m + 114, 31)
    return dt.date(year, month, day + 1)


def unix_ns(date: dt.date, time: dt.time) -> Ns:
    """Return the Unix time of an exchange date and time."""
    return Ns(int(dt.datetime.combine(date, time, NEW_YORK).timestamp()) * NS_PER_S)


def new_york_date(t_ns: int) -> dt.date:
    """Return the exchange's date at Unix time `t_ns`."""
    return dt.datetime.fromtimestamp(t_ns // NS_PER_S, NEW_YORK).date()


class MarketClock:
    """The equity session: the real calendar, or (`always`) open around the clock.

    `always` reports a close at the second UTC midnight ahead, so that it is never nearer than a day and no
    rule about the minutes before the close is ever tripped.
    """

    def __init__(self, session: str) -> None:
        if session not in {"always", "calendar"}:
            raise ValueError(f"session {session!r} is neither 'always' nor 'calendar'")
        self.is_always = session == "always"
        self._reading: ClockReading | None = None
        self._valid_from_ns = self._valid_until_ns = 0

    def at(self, t_ns: int) -> ClockReading:
        """Return the clock at `t_ns`; kept until the next opening or close, since the calendar is slow."""
        if self._reading is None or not self._valid_from_ns <= t_ns < self._valid_until_ns:
            self._reading, self._valid_until_ns = (
                self._always(t_ns) if self.is_always else self._calendar(t_ns)
            )
            self._valid_from_ns = t_ns
        return self._reading

    def session(self, t_ns: int) -> Session:
        """Return the equities' session at `t_ns`; what is no trading day, or between 20:00 and 4:00, is closed."""
        if self.at(t_ns).is_open:
            return Session.REGULAR
        moment = dt.datetime.fromtimestamp(t_ns // NS_PER_S, NEW_YORK)
        day = trading_day(moment.date())
        if day is not None and day.session_open <= moment.time() < day.session_close:
            return Session.EXTENDED
        return Session.CLOSED

    def is_extended(self, t_ns: int) -> bool:
        """Return whether orders for extended hours trade: from 4:00 to 20:00 (17:00 on a half day)."""
        return self.session(t_ns) is not Session.CLOSED

    def _always(self, t_ns: int) -> tuple[ClockReading, int]:
        day_ns = 86_400 * NS_PER_S
        midnight_ns = (t_ns // day_ns + 1) * day_ns
        close_ns = midnight_ns + day_ns
        return ClockReading(True, Ns(close_ns + 1800 * NS_PER_S), Ns(close_ns)), midnight_ns

    def _calendar(self, t_ns: int) -> tuple[ClockReading, int]:
        date = new_york_date(t_ns)
        days = trading_days(date, date + dt.timedelta(days=14))
        day = next(d for d in days if d.close_ns > t_ns)
        is_open = day.open_ns <= t_ns
        opening = next(days) if is_open else day
        reading = ClockReading(is_open, opening.open_ns, day.close_ns)
        return reading, day.close_ns if is_open else day.open_ns
