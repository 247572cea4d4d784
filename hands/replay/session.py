"""Days and sessions in a replay: when the market is open, when sums begin anew, when trading days roll.

Owns the session reports that the daemon's poller would feed, and what it tells the market of sessions. Pure but for that.
The calendar is the exchange's own (`hands.sim.venue.calendar`).
"""

from __future__ import annotations

import datetime as dt
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from hands.core.events import SessionReport
from hands.core.market import Market
from hands.core.units import NS_PER_S, Ns
from hands.sim.venue.calendar import MarketClock, Session, new_york_date, trading_day

DAY_NS: Final = 86_400 * NS_PER_S
MINUTE_NS: Final = 60 * NS_PER_S
_DAY: Final = dt.timedelta(days=1)


def session_report(clock: MarketClock, read_ns: int, ts_ns: int) -> SessionReport:
    """Return what the venue's clock said at `read_ns`; both clocks are one here."""
    reading = clock.at(read_ns)
    open_ns = None
    if reading.is_open:
        day = None if clock.is_always else trading_day(new_york_date(read_ns))
        open_ns = Ns(read_ns // DAY_NS * DAY_NS) if day is None else day.open_ns
    return SessionReport(
        ts_ns=Ns(ts_ns),
        is_open=reading.is_open,
        next_open_ns=reading.next_open_ns,
        next_close_ns=reading.next_close_ns,
        open_ns=open_ns,
        phase=_phase(clock, read_ns),
        ahead_max_ns=0,
        ahead_min_ns=0,
    )


def _phase(clock: MarketClock, at_ns: int) -> str:
    if clock.is_always:
        return "regular"
    session = clock.session(at_ns)
    if session is not Session.EXTENDED:
        return session.value
    day = trading_day(new_york_date(at_ns))
    return "pre" if day is not None and at_ns < day.open_ns else "post"


def turns_ns(clock: MarketClock, after_ns: int) -> int:
    """Return when the session is next to be asked for: where it turns, or at the next midnight if it never does."""
    reading = clock.at(after_ns)
    if clock.is_always:
        return (after_ns // DAY_NS + 1) * DAY_NS
    return reading.next_close_ns if reading.is_open else reading.next_open_ns


class SessionSums:
    """Tells `market` when the sums of its sessions begin: coins at midnight UTC, shares at the next open."""

    def __init__(self, market: Market, now_ns: int) -> None:
        self._market = market
        self._told_ns = 0
        for symbol, index in market.index.items():
            if "/" in symbol:
                market.set_session(index, (now_ns // DAY_NS + 1) * DAY_NS, DAY_NS)

    def take(self, report: SessionReport) -> None:
        """Note the next open of the equity session, once."""
        if report.is_open or report.next_open_ns == self._told_ns:
            return
        self._told_ns = report.next_open_ns
        for symbol, index in self._market.index.items():
            if "/" not in symbol:
                self._market.set_session(index, report.next_open_ns, 0)


def rolls_ns(roll_time: str, zone: str, first_ns: int, last_ns: int) -> tuple[int, ...]:
    """Return when trading days begin, from the one before `first_ns` to the one after `last_ns`.

    Raises:
        ValueError: there is no such time zone.
    """
    try:
        place = ZoneInfo(zone)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"day.roll: unknown time zone {zone!r}") from error
    hour, minute = (int(part) for part in roll_time.split(":"))
    day = dt.datetime.fromtimestamp(first_ns // NS_PER_S, place).date() - 2 * _DAY
    last = dt.datetime.fromtimestamp(last_ns // NS_PER_S, place).date() + 2 * _DAY
    found = []
    while day <= last:
        moment = dt.datetime.combine(day, dt.time(hour, minute), place)
        found.append(int(moment.timestamp()) * NS_PER_S)
        day += _DAY
    return tuple(found)


def looks_like_calendar(rows: np.ndarray, symbols: tuple[str, ...]) -> bool:
    """Whether a market's shares kept to their exchanges' days, as far as its first rows show; with no such row: yes.

    A market that was made up for any hour is then played as one that never closes, as is one of coins alone. Minutes are
    looked at, not rows: most of them lie in a trading day with its extended hours.
    """
    shares = np.array(["/" not in symbol for symbol in symbols] or [False])
    if not shares.any():
        return False
    times = rows["recv_ns"][shares[np.clip(rows["sym"], 0, len(shares) - 1)]]
    minutes = np.unique(times // MINUTE_NS) * MINUTE_NS
    some = minutes[:: max(1, len(minutes) // 200)].tolist()
    return 2 * sum(map(_is_traded, some)) >= len(some)


def _is_traded(at_ns: int) -> bool:
    day = trading_day(new_york_date(at_ns))
    return day is not None and day.session_open_ns <= at_ns < day.session_close_ns
