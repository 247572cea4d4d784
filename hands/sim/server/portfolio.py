"""What the account was worth, minute by minute, and the history of it that the venue tells.

Owns the record and the arithmetic of windows, baselines and profit. May not value anything: the account's equity is
handed in. The one idea: the record holds what was seen when the account was first looked at in each minute, so a
window's value is the last one seen before its end, and what nobody could have seen is not invented.

Profit follows the official examples: of a day window it is the window's own, its percentage that since the first
window; within the day both are against the close of the trading day before.
"""

from __future__ import annotations

import datetime as dt
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from hands.core.units import NANO, NS_PER_S, Ns, Usd
from hands.sim.market.times import DAY_NS, MINUTE_NS
from hands.sim.server import rest_parse as parse
from hands.sim.venue import errors
from hands.sim.venue.calendar import (
    NEW_YORK,
    MarketClock,
    new_york_date,
    trading_day,
    unix_ns,
)

MINUTES_MAX: Final = 100_000
"""How many minutes are remembered: sixty-nine days of them; then the oldest tenth is forgotten."""

_TIMEFRAMES: Final = {"1Min": 60, "5Min": 300, "15Min": 900, "1H": 3600, "1D": 86_400}
_DAYS_OF: Final = {"D": 1, "W": 7, "M": 30, "A": 365}
_INTRADAY_DAYS_MAX: Final = 30


class EquityRecord:
    """Equity by minute since the account was opened."""

    def __init__(self, opened_ns: Ns, equity: Usd) -> None:
        self.opened_ns = opened_ns
        self._times: list[int] = [opened_ns]
        self._values: list[Usd] = [equity]
        self._next_ns = (opened_ns // MINUTE_NS + 1) * MINUTE_NS

    def note(self, now_ns: int, equity: Callable[[], Usd]) -> None:
        """Remember what the account is worth, if a new minute has begun; to be called whenever something moved."""
        if now_ns < self._next_ns:
            return
        self._times.append(now_ns)
        self._values.append(equity())
        self._next_ns = (now_ns // MINUTE_NS + 1) * MINUTE_NS
        if len(self._times) > MINUTES_MAX:
            del self._times[: MINUTES_MAX // 10], self._values[: MINUTES_MAX // 10]

    def at(self, t_ns: int) -> Usd:
        """Return the equity last seen at `t_ns` or before; the first one remembered for a time before that."""
        # The first look in a minute comes a little after it began, and is what the minute before ended with.
        place = bisect_right(self._times, t_ns // MINUTE_NS * MINUTE_NS + MINUTE_NS - 1)
        return self._values[max(0, place - 1)]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request for history, read and completed."""

    start_ns: int
    end_ns: int
    timeframe: str
    reporting: str
    resets_daily: bool
    with_cashflow: bool

    @property
    def is_daily(self) -> bool:
        return self.timeframe == "1D"


@dataclass(frozen=True, slots=True)
class _Window:
    """One element of the series: its label (Unix seconds) and the moment whose equity it shows."""

    label_s: int
    end_ns: int


def history_json(
    query: Mapping[str, str], record: EquityRecord, clock: MarketClock, now_ns: int, equity: Usd
) -> dict[str, Any]:
    """Return the portfolio history a client asks for, `equity` being today's. Raises `VenueError` 422."""
    asked = _asked(query, now_ns)
    windows = list(_days(asked, clock) if asked.is_daily else _intervals(asked, clock))
    windows = [window for window in windows if window.end_ns > record.opened_ns]
    values = [equity if window.end_ns >= now_ns else record.at(window.end_ns) for window in windows]
    base, asof = _baseline(asked, record)
    if base is None:
        base = values[0] if values else equity
    floors = _floors(asked, windows, values, record, base)
    document: dict[str, Any] = {
        "timestamp": [window.label_s for window in windows],
        "equity": [_dollars(value) for value in values],
        "profit_loss": [_dollars(value - floor) for value, floor in zip(values, floors, strict=True)],
        "profit_loss_pct": [
            _share(value - (base if asked.is_daily else floor), base if asked.is_daily else floor)
            for value, floor in zip(values, floors, strict=True)
        ],
        "base_value": _dollars(base),
        "timeframe": asked.timeframe,
    }
    if asof is not None:
        document["base_value_asof"] = asof.isoformat()
    if asked.with_cashflow:
        document["cashflow"] = {}  # nothing is ever paid in or out here
    return document


def previous_close_ns(t_ns: int) -> Ns:
    """Return the close of the last trading day before the New York date of `t_ns`."""
    date = new_york_date(t_ns) - dt.timedelta(days=1)
    while (day := trading_day(date)) is None:
        date -= dt.timedelta(days=1)
    return day.close_ns


def _asked(query: Mapping[str, str], now_ns: int) -> _Asked:
    start_ns, end_ns = parse.read_time_ns(query, "start"), parse.read_time_ns(query, "end")
    period = query.get("period")
    if start_ns is not None and end_ns is not None and period is not None:
        # The texts of this endpoint's refusals are unconfirmed.
        raise errors.parameter("only two of start, end and period can be specified")
    days = _period_days(period or "1M")
    if end_ns is None:
        end_ns = now_ns if start_ns is None or period is None else start_ns + days * DAY_NS
    if start_ns is None:
        start_ns = end_ns - days * DAY_NS
    span_days = (end_ns - start_ns) / DAY_NS
    default = "1Min" if span_days < 7 else "15Min" if span_days < _INTRADAY_DAYS_MAX else "1D"
    timeframe = parse.read_choice(query, "timeframe", default, tuple(_TIMEFRAMES))
    if timeframe != "1D" and span_days > _INTRADAY_DAYS_MAX:
        raise errors.parameter(
            f"timeframe {timeframe} is only available for {_INTRADAY_DAYS_MAX} days or less"
        )
    reporting = parse.read_choice(
        query, "intraday_reporting", "market_hours", ("market_hours", "extended_hours", "continuous")
    )
    if parse.read_flag(query, "extended_hours") and "intraday_reporting" not in query:
        reporting = "extended_hours"
    resets = parse.read_choice(query, "pnl_reset", "per_day", ("per_day", "no_reset"))
    cashflow = query.get("cashflow_types", "NONE") != "NONE"
    # There was no account before 1970, nor a calendar.
    start_ns, end_ns = max(start_ns, 0), max(min(end_ns, now_ns), 0)
    return _Asked(start_ns, end_ns, timeframe, reporting, resets == "per_day", cashflow)


def _period_days(text: str) -> int:
    found = re.fullmatch(r"([1-9]\d{0,3})([DWMA])", text)
    if found is None:
        raise errors.parameter(f"invalid period: {text}")
    return int(found[1]) * _DAYS_OF[found[2]]


def _days(asked: _Asked, clock: MarketClock) -> Iterator[_Window]:
    """Yield a window per trading day, labelled with its UTC midnight; a market that never closes has every day."""
    date, last = new_york_date(asked.start_ns), new_york_date(asked.end_ns)
    while date <= last:
        label = dt.datetime.combine(date, dt.time(), dt.UTC)
        day = trading_day(date)
        if clock.is_always:
            yield _Window(int(label.timestamp()), unix_ns(date + dt.timedelta(days=1), dt.time()))
        elif day is not None:
            yield _Window(int(label.timestamp()), day.close_ns)
        date += dt.timedelta(days=1)


def _intervals(asked: _Asked, clock: MarketClock) -> Iterator[_Window]:
    """Yield a window per interval in which the account is reported on, labelled with its beginning."""
    step_ns = _TIMEFRAMES[asked.timeframe] * NS_PER_S
    if clock.is_always or asked.reporting == "continuous":
        yield from _steps(asked.start_ns // step_ns * step_ns, asked.end_ns, step_ns)
        return
    date, last = new_york_date(asked.start_ns), new_york_date(asked.end_ns)
    while date <= last:
        day = trading_day(date)
        if day is not None:
            is_extended = asked.reporting == "extended_hours"
            open_ns = unix_ns(date, day.session_open) if is_extended else day.open_ns
            close_ns = day.session_close_ns if is_extended else day.close_ns
            if close_ns >= asked.start_ns:  # a request from within a day gets that day from its opening
                yield from _steps(open_ns, min(close_ns, asked.end_ns), step_ns)
        date += dt.timedelta(days=1)


def _steps(start_ns: int, end_ns: int, step_ns: int) -> Iterator[_Window]:
    for t_ns in range(start_ns, end_ns, step_ns):
        yield _Window(t_ns // NS_PER_S, min(t_ns + step_ns, end_ns))


def _baseline(asked: _Asked, record: EquityRecord) -> tuple[Usd | None, dt.date | None]:
    """Return what profit is reckoned from and the trading day that closed with it; nothing for a new account."""
    close_ns = previous_close_ns(asked.start_ns)
    if asked.is_daily or close_ns < record.opened_ns:
        return None, None
    return record.at(close_ns), new_york_date(close_ns)


def _floors(
    asked: _Asked, windows: list[_Window], values: list[Usd], record: EquityRecord, base: Usd
) -> list[Usd]:
    """Return for every window what its profit is reckoned from."""
    if asked.is_daily:
        return [base, *(before for before, _ in pairwise(values))][: len(values)]
    if not asked.resets_daily:
        return [base] * len(windows)
    by_date: dict[dt.date, Usd] = {}
    for window in windows:
        date = dt.datetime.fromtimestamp(window.label_s, NEW_YORK).date()
        if date not in by_date:
            close_ns = previous_close_ns(window.label_s * NS_PER_S)
            by_date[date] = record.at(close_ns) if close_ns >= record.opened_ns else base
    return [by_date[dt.datetime.fromtimestamp(w.label_s, NEW_YORK).date()] for w in windows]


def _dollars(value: int) -> float:
    return round(value / NANO, 2)


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
