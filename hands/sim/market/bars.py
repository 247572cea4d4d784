"""Bars: open, high, low, close, volume and VWAP of the trades in an interval, as exact integers.

Owns one record, its arithmetic and which prints count; what a bar is for (the stream's minute bars, the history) is
the callers'. The one idea: a bar that knows its first and last print's time can be merged with any other bar of its
symbol, in any order, so late prints and longer timeframes need no code of their own.

A stock's print counts as the venue documents for minute bars: its price moves open, high, low, close and VWAP unless
one of its sale conditions says that it is no price of this moment (an odd lot, out of sequence, average price, ...);
then only volume and number count, and of official prices not even those. A bar that got no price is never shown.
Longer bars are made of minutes, so that the venue's few other rules for a day (extended hours, say) are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from typing import Self

from hands.core.units import NS_PER_S, floor_to
from hands.sim.market.feeds import Channel, is_crypto
from hands.sim.market.tape_codes import UNCOUNTED, unpriced_conditions
from hands.sim.market.times import DAY_NS, MINUTE_NS
from hands.sim.venue.calendar import new_york_date, unix_ns
from hands.sim.venue.ticks import Quote, Tick, Trade

LATE_NS = 30 * NS_PER_S
"""How long after its end a minute's bar is corrected for late prints."""


def day_start_ns(symbol: str, t_ns: int) -> int:
    """Return when the day of `t_ns` began: midnight in New York for stocks, UTC for crypto."""
    if is_crypto(symbol):
        return floor_to(t_ns, DAY_NS)
    return unix_ns(new_york_date(t_ns), time())


@dataclass(slots=True)
class Bar:
    """Prices in nano-dollars, volumes in nano-units; prices of 0: nothing has set them yet.

    `turnover` is the sum of price x size of the prints that set prices, `priced_volume` that of their sizes,
    `first_ns` and `last_ns` when the first and the last of them were (of a bar without any: of all its prints).
    """

    start_ns: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    priced_volume: int
    turnover: int
    trades: int
    first_ns: int
    last_ns: int

    @classmethod
    def of_trade(cls, trade: Trade) -> Self:
        """Return the minute bar of one print."""
        t, size, count = trade.t_ns, int(trade.size), 1
        if not UNCOUNTED.isdisjoint(trade.conditions):
            size = count = 0
        if unpriced_conditions(trade.symbol).isdisjoint(trade.conditions):
            p = trade.price
            return cls(floor_to(t, MINUTE_NS), p, p, p, p, size, size, p * size, count, t, t)
        return cls(floor_to(t, MINUTE_NS), 0, 0, 0, 0, size, 0, 0, count, t, t)

    @classmethod
    def of_mid(cls, quote: Quote) -> Self:
        """Return the minute bar of one quote's mid, without volume: what a crypto bar is while nothing trades."""
        mid, t = (quote.bid + quote.ask) // 2, quote.t_ns
        return cls(floor_to(t, MINUTE_NS), mid, mid, mid, mid, 0, 0, 0, 0, t, t)

    @property
    def has_price(self) -> bool:
        """Whether anything has set its prices; without it is no bar to show."""
        return self.high > 0

    def merge(self, other: Bar) -> None:
        """Take `other`'s prints into this bar; the earliest opens it, the latest closes it."""
        if self.has_price == other.has_price:
            if other.first_ns < self.first_ns:
                self.first_ns, self.open = other.first_ns, other.open
            if other.last_ns >= self.last_ns:
                self.last_ns, self.close = other.last_ns, other.close
            self.high = max(self.high, other.high)
            self.low = min(self.low, other.low)
        elif other.has_price:
            self.open, self.high, self.low, self.close = other.open, other.high, other.low, other.close
            self.first_ns, self.last_ns = other.first_ns, other.last_ns
        self.volume += other.volume
        self.priced_volume += other.priced_volume
        self.turnover += other.turnover
        self.trades += other.trades

    def copy_at(self, start_ns: int) -> Bar:
        """Return an independent copy that starts at `start_ns`."""
        return Bar(
            start_ns, self.open, self.high, self.low, self.close,
            self.volume, self.priced_volume, self.turnover, self.trades, self.first_ns, self.last_ns,
        )  # fmt: skip

    @property
    def vwap(self) -> int:
        """The volume-weighted average price in nano-dollars, rounded down; 0 without volume."""
        return self.turnover // self.priced_volume if self.priced_volume else 0


class StreamBars:
    """The bars of the live stream: minute bars, their corrections, and the day so far.

    `add` the ticks, then ask `due`: a minute's bar comes with the first question after its end, a corrected one
    `LATE_NS` later if prints were late, and the day's bar with every minute's. A crypto pair that did not trade
    has a bar of its quotes' mids; a stock that did not trade has none. Prints older than the previous minute
    are left out.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[int, str], Bar] = {}
        self._mids: dict[tuple[int, str], Bar] = {}
        self._closed: dict[str, Bar] = {}
        self._days: dict[str, Bar] = {}
        self._corrected: dict[str, Bar] = {}
        self._end_ns = 0

    def add(self, ticks: Sequence[Tick]) -> None:
        """Take ticks in; their own times say which minute they belong to."""
        for tick in ticks:
            if isinstance(tick, Trade):
                bar = Bar.of_trade(tick)
                if bar.start_ns < self._end_ns - MINUTE_NS:
                    self._add_late(tick.symbol, bar)
                else:
                    _merge_into(self._open, (bar.start_ns, tick.symbol), bar)
            elif tick.bid and tick.ask and is_crypto(tick.symbol):
                bar = Bar.of_mid(tick)
                _merge_into(self._mids, (bar.start_ns, tick.symbol), bar)

    @property
    def next_due_ns(self) -> int | None:
        """When `due` has next to be asked, given what is known now; None: nothing is open."""
        if self._corrected:
            return self._end_ns - MINUTE_NS + LATE_NS
        first_ns = min((key[0] for bars in (self._open, self._mids) for key in bars), default=None)
        return None if first_ns is None else max(first_ns + MINUTE_NS, self._end_ns)

    def due(self, now_ns: int) -> list[tuple[Channel, str, Bar]]:
        """Return (channel, symbol, bar) of what is to be sent at `now_ns`, in the order to send it."""
        if not self._end_ns:
            self._end_ns = floor_to(now_ns, MINUTE_NS) + MINUTE_NS
        out: list[tuple[Channel, str, Bar]] = []
        if self._corrected and now_ns >= self._end_ns - MINUTE_NS + LATE_NS:
            out += _shown(Channel.UPDATED_BARS, self._corrected)
            self._corrected = {}
        if now_ns >= self._end_ns:
            end_ns = floor_to(now_ns, MINUTE_NS)
            self._end_ns = end_ns + MINUTE_NS
            out += self._close_minutes(end_ns)
        return out

    def _add_late(self, symbol: str, bar: Bar) -> None:
        if bar.start_ns != self._end_ns - 2 * MINUTE_NS:
            return
        known = self._closed.setdefault(symbol, bar)
        if known is not bar:
            known.merge(bar)
        self._corrected[symbol] = known
        self._add_to_day(symbol, bar)

    def _close_minutes(self, end_ns: int) -> list[tuple[Channel, str, Bar]]:
        for key in [key for key in self._mids if key[0] < end_ns]:
            self._open.setdefault(key, self._mids.pop(key))
        ended = sorted(key for key in self._open if key[0] < end_ns)
        self._closed = {}
        out = []
        for key in ended:
            bar = self._open.pop(key)
            self._closed[key[1]] = bar
            self._add_to_day(key[1], bar)
            out += _shown(Channel.BARS, {key[1]: bar})
        return out + _shown(
            Channel.DAILY_BARS, {symbol: self._days[symbol] for symbol in sorted(self._closed)}
        )

    def _add_to_day(self, symbol: str, bar: Bar) -> None:
        start_ns = day_start_ns(symbol, bar.start_ns)
        day = self._days.get(symbol)
        if day is None or day.start_ns < start_ns:
            self._days[symbol] = bar.copy_at(start_ns)
        else:
            day.merge(bar)


def _merge_into(bars: dict[tuple[int, str], Bar], key: tuple[int, str], bar: Bar) -> None:
    known = bars.get(key)
    if known is None:
        bars[key] = bar
    else:
        known.merge(bar)


def _shown(channel: Channel, bars: Mapping[str, Bar]) -> list[tuple[Channel, str, Bar]]:
    return [(channel, symbol, bar) for symbol, bar in bars.items() if bar.has_price]
