"""When an order may trade and when it runs out.

Owns the meaning of sessions, times in force and halts for orders; the calendar itself is the clock's. May not
change an order. The rules:

- coins trade always; equities in the regular session, orders for extended hours also before and after it;
- a symbol that is halted trades in no session;
- a day order ends with the session it was entered in or, entered after the close, with the next one: at the
  close, or when extended hours end if it is for those. Orders for the opening and the close end with that day too;
- anything else lives for 90 days, until the job that runs a quarter of an hour after the close of the last;
- with the session "always" there is no close, so that day orders do not end.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from hands.core.units import NS_PER_S, Ns
from hands.core.vocab import TimeInForce
from hands.sim.venue.assets import Asset
from hands.sim.venue.calendar import (
    CLOSE,
    MarketClock,
    TradingDay,
    new_york_date,
    trading_day,
    trading_days,
    unix_ns,
)
from hands.sim.venue.orders import AUCTIONS, Order

GTC_DAYS: Final = 90
GTC_JOB_NS: Final = Ns(15 * 60 * NS_PER_S)
_DAY: Final = dt.timedelta(days=1)
_LONGEST_BREAK: Final = dt.timedelta(days=10)


class TradingHours:
    """The clock and the halts, asked about orders."""

    def __init__(self, clock: MarketClock) -> None:
        self.halted: set[str] = set()
        self._clock = clock

    def may_trade(self, order: Order, t_ns: int) -> bool:
        """Return whether `order` may trade at `t_ns`."""
        if order.symbol in self.halted:
            return False
        if self.is_regular(order.asset, t_ns):
            return True
        return order.extended_hours and self._clock.is_extended(t_ns)

    def is_regular(self, asset: Asset, t_ns: int) -> bool:
        """Return whether the regular session of `asset` is on; a halt does not end it."""
        return asset.is_crypto or self._clock.is_always or self._clock.at(t_ns).is_open

    def expires_ns(self, tif: TimeInForce, t_ns: int, *, extended_hours: bool) -> Ns:
        """Return what an order entered at `t_ns` shows as its end."""
        if tif is not TimeInForce.DAY and tif not in AUCTIONS:
            return unix_ns(new_york_date(t_ns) + dt.timedelta(days=GTC_DAYS), CLOSE)
        if not extended_hours or self._clock.is_always:
            return self._clock.at(t_ns).next_close_ns
        return next(end for day in days_from(t_ns) if (end := day.session_close_ns) > t_ns)

    def runs_out_ns(self, order: Order) -> Ns | None:
        """Return when `order` is taken off the book if it still lives, None for never."""
        if order.tif is TimeInForce.DAY or order.tif in AUCTIONS:
            return None if self._clock.is_always else order.expires_ns
        return Ns(order.expires_ns + GTC_JOB_NS)

    def next_change_ns(self, t_ns: int) -> Ns | None:
        """Return when a session next begins or ends, None if that never happens."""
        if self._clock.is_always:
            return None
        return next(Ns(change) for day in days_from(t_ns) for change in _changes(day) if change > t_ns)

    def begins_at(self, t_ns: int) -> bool:
        """Return whether a trading day begins exactly at `t_ns`, with its extended hours."""
        day = trading_day(new_york_date(t_ns))
        return day is not None and day.session_open_ns == t_ns

    def opens_at(self, t_ns: int) -> bool:
        """Return whether the regular session opens exactly at `t_ns`."""
        day = trading_day(new_york_date(t_ns))
        return day is not None and day.open_ns == t_ns

    def closes_at(self, t_ns: int) -> bool:
        """Return whether the regular session closes exactly at `t_ns`."""
        day = trading_day(new_york_date(t_ns))
        return day is not None and day.close_ns == t_ns


def days_from(t_ns: int) -> list[TradingDay]:
    """Return the trading days from the one of `t_ns` on, as many as a long weekend needs."""
    date = new_york_date(t_ns)
    return list(trading_days(date, date + _LONGEST_BREAK))


def _changes(day: TradingDay) -> tuple[int, ...]:
    return day.session_open_ns, day.open_ns, day.close_ns, day.session_close_ns
