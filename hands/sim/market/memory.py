"""What the market has shown so far: the trades, quotes and bars that the historical REST can be asked about.

Owns remembering and forgetting, and what corrections and splits make of the past; knows no requests and no clock.
The one idea: `record` only appends, everything else is worked out when somebody asks.

The bounds, per symbol: the newest `TICKS_MAX` trades and as many quotes, the bars of the newest `MINUTES_MAX` minutes,
and of `DAYS_MAX` days before those (a minute that is forgotten is folded into its day). For all symbols together
about `TICKS_TOTAL_MAX` ticks: with many symbols each one's share is halved until they fit. The oldest goes first.

Bars: a stock's are made of those of its trades that count, see `bars`. A pair that quoted in a minute without
trading has a bar of its mids, without volume. A trade that is corrected or canceled leaves its bar if the whole of that minute is still remembered, and
stays in it otherwise.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from hands.core.units import floor_to
from hands.sim.market.bars import Bar, day_start_ns
from hands.sim.market.feeds import is_crypto
from hands.sim.market.tape_codes import unpriced_conditions
from hands.sim.market.times import MINUTE_NS
from hands.sim.venue.ticks import Cancellation, Correction, MarketEvent, Quote, Trade

TICKS_MAX: Final = 20_000
TICKS_TOTAL_MAX: Final = 400_000
MINUTES_MAX: Final = 10_080
DAYS_MAX: Final = 1_000
AUCTION_PRINTS_MAX: Final = 1_000
MARKS_MAX: Final = 1_000

OPENING_CONDITIONS: Final = frozenset({"O", "Q"})
CLOSING_CONDITIONS: Final = frozenset({"6", "M"})
_AUCTION_CONDITIONS: Final = OPENING_CONDITIONS | CLOSING_CONDITIONS
OUT_OF_SEQUENCE: Final = "Z"

Split = tuple[int, int, int]
"""When, and how many new shares for how many old ones."""

INCORRECT, CORRECTED, CANCELED = "incorrect", "corrected", "canceled"
"""What a notice has said about a print (the history's `u`); the first and the last take it back."""


class SymbolMemory:
    """What is known of one symbol."""

    def __init__(self, symbol: str, shrink: int) -> None:
        self.symbol = symbol
        self.trades: deque[Trade] = deque(maxlen=TICKS_MAX >> shrink)
        self.quotes: deque[Quote] = deque(maxlen=TICKS_MAX >> shrink)
        self.auction_prints: deque[Trade] = deque(maxlen=AUCTION_PRINTS_MAX >> shrink)
        self.splits: list[Split] = []
        self._marks: dict[tuple[int, int], str] = {}
        self._minutes: dict[int, Bar] = {}
        self._mids: dict[int, Bar] = {}
        self._days: dict[int, Bar] = {}
        self._minutes_max = MINUTES_MAX >> shrink
        self._minute: Bar | None = None
        self._mid: Bar | None = None
        self._is_crypto = is_crypto(symbol)
        self._unpriced = unpriced_conditions(symbol)

    # -- recording ----------------------------------------------------------------------------------------------

    def add_quote(self, quote: Quote) -> None:
        self.quotes.append(quote)
        if self._is_crypto and quote.bid and quote.ask:
            self._add_mid(quote)

    def add_trade(self, trade: Trade) -> None:
        self.trades.append(trade)
        bar, t_ns, price = self._minute, trade.t_ns, trade.price
        # The usual print, next in the current minute, is added in place: half the time of making and merging a bar.
        if (
            bar is not None
            and bar.last_ns <= t_ns < bar.start_ns + MINUTE_NS
            and bar.has_price
            and self._unpriced.isdisjoint(trade.conditions)
        ):
            bar.last_ns, bar.close = t_ns, price
            if price > bar.high:
                bar.high = price
            elif price < bar.low:
                bar.low = price
            bar.volume += trade.size
            bar.priced_volume += trade.size
            bar.turnover += price * trade.size
            bar.trades += 1
        else:
            self._add_to_its_minute(trade)
        if not _AUCTION_CONDITIONS.isdisjoint(trade.conditions):
            self.auction_prints.append(trade)

    def correct(self, correction: Correction) -> None:
        """Take a wrong print back and remember the right one."""
        self._mark(self.find(correction.original.trade_id) or correction.original, INCORRECT)
        self._mark(correction.corrected, CORRECTED)
        self.add_trade(correction.corrected)

    def cancel(self, cancellation: Cancellation) -> None:
        """Take a print back."""
        self._mark(self.find(cancellation.trade.trade_id) or cancellation.trade, CANCELED)

    def shrink(self, shrink: int) -> None:
        """Forget the oldest until at most the smaller share is left."""
        self.trades = deque(self.trades, maxlen=TICKS_MAX >> shrink)
        self.quotes = deque(self.quotes, maxlen=TICKS_MAX >> shrink)
        self.auction_prints = deque(self.auction_prints, maxlen=AUCTION_PRINTS_MAX >> shrink)
        self._minutes_max = MINUTES_MAX >> shrink
        for bars in (self._minutes, self._mids):
            self._forget(bars)

    # -- asking -------------------------------------------------------------------------------------------------

    def find(self, trade_id: int) -> Trade | None:
        """Return the newest remembered trade of this number, or None."""
        return next((trade for trade in reversed(self.trades) if trade.trade_id == trade_id), None)

    def mark_of(self, trade: Trade) -> str | None:
        """Return what was said about `trade` since: INCORRECT, CORRECTED or CANCELED; None for a good print."""
        return self._marks.get((trade.t_ns, trade.trade_id)) if self._marks else None

    def is_good(self, trade: Trade) -> bool:
        """Return whether `trade` still counts."""
        return self.mark_of(trade) not in {INCORRECT, CANCELED}

    def last_trade(self, until_ns: int) -> Trade | None:
        """Return the last good print until then; one sold out of sequence is never the last."""
        for trade in reversed(self.trades):
            if trade.t_ns <= until_ns and OUT_OF_SEQUENCE not in trade.conditions and self.is_good(trade):
                return trade
        return None

    def last_quote(self, until_ns: int) -> Quote | None:
        """Return the quote that stood then."""
        return next((quote for quote in reversed(self.quotes) if quote.t_ns <= until_ns), None)

    def last_minute(self, until_ns: int) -> Bar | None:
        """Return the newest minute's bar that began until then."""
        bars = (bar for bar in self.minutes() if bar.start_ns <= until_ns and bar.has_price)
        return max(bars, key=lambda bar: bar.start_ns, default=None)

    def minutes(self) -> Iterator[Bar]:
        """Yield the bars of all remembered minutes, in no particular order; they are not the caller's to change."""
        yield from self._minutes.values()
        yield from (bar for start_ns, bar in self._mids.items() if start_ns not in self._minutes)

    def forgotten_days(self) -> Iterator[Bar]:
        """Yield, for days whose minutes are partly or wholly forgotten, a bar of the forgotten ones."""
        yield from self._days.values()

    # -- bars ---------------------------------------------------------------------------------------------------

    def _add_to_its_minute(self, trade: Trade) -> None:
        bar = Bar.of_trade(trade)
        known = self._minutes.get(bar.start_ns)
        if known is not None:
            known.merge(bar)
            return
        self._minutes[bar.start_ns] = bar
        if self._minute is None or bar.start_ns > self._minute.start_ns:
            self._minute = bar
        self._forget(self._minutes)

    def _add_mid(self, quote: Quote) -> None:
        bar, t_ns = self._mid, quote.t_ns
        if bar is not None and bar.last_ns <= t_ns < bar.start_ns + MINUTE_NS:
            mid = (quote.bid + quote.ask) // 2
            bar.last_ns, bar.close = t_ns, mid
            if mid > bar.high:
                bar.high = mid
            elif mid < bar.low:
                bar.low = mid
            return
        if bar is not None and bar.start_ns in self._minutes:
            del self._mids[bar.start_ns]
        bar = Bar.of_mid(quote)
        known = self._mids.get(bar.start_ns)
        if known is not None:
            known.merge(bar)
            return
        self._mids[bar.start_ns] = self._mid = bar
        self._forget(self._mids)

    def _forget(self, bars: dict[int, Bar]) -> None:
        """Fold the oldest minutes into their days until the others fit; days do not stay for ever either."""
        while len(bars) > self._minutes_max:
            bar = bars.pop(min(bars))
            start_ns = day_start_ns(self.symbol, bar.start_ns)
            day = self._days.get(start_ns)
            if day is None:
                self._days[start_ns] = bar.copy_at(start_ns)
            else:
                day.merge(bar)
            if len(self._days) > DAYS_MAX:
                del self._days[min(self._days)]

    def _mark(self, trade: Trade, mark: str) -> None:
        self._marks[trade.t_ns, trade.trade_id] = mark
        if len(self._marks) > MARKS_MAX:
            del self._marks[next(iter(self._marks))]
        if mark != CORRECTED:
            self._rebuild(floor_to(trade.t_ns, MINUTE_NS))

    def _rebuild(self, start_ns: int) -> None:
        """Make a minute's bar anew of its good prints, if all its prints are still here."""
        is_full = len(self.trades) == self.trades.maxlen
        if start_ns not in self._minutes or (is_full and self.trades[0].t_ns >= start_ns):
            return
        good = [
            trade
            for trade in self.trades
            if start_ns <= trade.t_ns < start_ns + MINUTE_NS and self.is_good(trade)
        ]
        if self._minute is self._minutes.pop(start_ns):
            self._minute = None
        for trade in good:
            self._add_to_its_minute(trade)


class MarketMemory:
    """Every symbol's memory."""

    def __init__(self) -> None:
        self._symbols: dict[str, SymbolMemory] = {}
        self._former: dict[str, tuple[int, SymbolMemory]] = {}
        self._shrink = 0

    def record(self, events: Iterable[MarketEvent]) -> None:
        """Remember what the market did; trading statuses and price bands are not history."""
        symbols = self._symbols
        for event in events:
            if isinstance(event, Quote):
                (symbols.get(event.symbol) or self._add(event.symbol)).add_quote(event)
            elif isinstance(event, Trade):
                (symbols.get(event.symbol) or self._add(event.symbol)).add_trade(event)
            elif isinstance(event, Correction):
                (symbols.get(event.symbol) or self._add(event.symbol)).correct(event)
            elif isinstance(event, Cancellation):
                (symbols.get(event.symbol) or self._add(event.symbol)).cancel(event)

    def clear(self) -> None:
        """Forget everything."""
        self._symbols.clear()
        self._former.clear()
        self._shrink = 0

    def of(self, symbol: str) -> SymbolMemory | None:
        """Return what is known under `symbol`, or None."""
        return self._symbols.get(symbol)

    def lineage(self, symbol: str, asof_ns: int | None) -> list[SymbolMemory]:
        """Return what is known of the company called `symbol` at `asof_ns`, under its former name too.

        None asks for the symbol alone.
        """
        found = [memory] if (memory := self._symbols.get(symbol)) is not None else []
        renamed_ns, former = self._former.get(symbol, (0, None))
        if former is not None and asof_ns is not None and asof_ns >= renamed_ns:
            found.insert(0, former)
        return found

    def split(self, symbol: str, new: int, old: int, t_ns: int) -> None:
        """Note that `new` shares were given for `old` at `t_ns`; ticks and raw bars stay what they were."""
        (self._symbols.get(symbol) or self._add(symbol)).splits.append((t_ns, new, old))

    def rename(self, symbol: str, new_symbol: str, t_ns: int) -> None:
        """Note that `symbol` is called `new_symbol` from `t_ns` on; its past stays under both names."""
        memory = self._symbols.get(symbol)
        if memory is not None:
            self._former[new_symbol] = (t_ns, memory)

    def _add(self, symbol: str) -> SymbolMemory:
        while 2 * (TICKS_MAX >> self._shrink) * (len(self._symbols) + 1) > TICKS_TOTAL_MAX:
            self._shrink += 1
            for memory in self._symbols.values():
                memory.shrink(self._shrink)
        memory = self._symbols[symbol] = SymbolMemory(symbol, self._shrink)
        return memory
