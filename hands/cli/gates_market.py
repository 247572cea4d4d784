"""Recorded files as minutes, and the hours in which they count: the market that `hands gates` looks back through.

Owns nothing else. May not know of refusals. The one idea: files are read as the simulator reads them, so what it can play
can be looked back through, and a minute is made of prints by the rules of its bars.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hands.core.hindsight import Minute
from hands.sim.market.bars import Bar
from hands.sim.market.files import read_files
from hands.sim.venue.calendar import MarketClock
from hands.sim.venue.ticks import Quote, Trade


def minutes_of(paths: Sequence[Path]) -> dict[str, list[Minute]]:
    """Return the minutes of recorded files by symbol, oldest first; of a symbol without trades those of its quotes.

    Raises:
        FileError: a file is absent, of no known kind, or unreadable.
    """
    traded: dict[str, dict[int, Bar]] = {}
    quoted: dict[str, dict[int, Bar]] = {}
    spreads: dict[tuple[str, int], int] = {}
    for _, events in read_files(paths):
        for event in events:
            if isinstance(event, Trade):
                _add(traded.setdefault(event.symbol, {}), Bar.of_trade(event))
            elif isinstance(event, Quote) and 0 < event.bid < event.ask:
                bar = Bar.of_mid(event)
                _add(quoted.setdefault(event.symbol, {}), bar)
                key = event.symbol, bar.start_ns
                spreads[key] = max(spreads.get(key, 0), event.ask - event.bid)
    found = {
        symbol: [_minute(bar, spreads.get((symbol, start), 0)) for start, bar in bars.items()]
        for symbol, bars in quoted.items()
    }
    found |= {
        symbol: [_minute(bar) for bar in bars.values() if bar.has_price] for symbol, bars in traded.items()
    }
    for minutes in found.values():
        minutes.sort(key=lambda minute: minute.start_ns)
    return found


def _add(bars: dict[int, Bar], bar: Bar) -> None:
    known = bars.setdefault(bar.start_ns, bar)
    if known is not bar:
        known.merge(bar)


def _minute(bar: Bar, spread: int = 0) -> Minute:
    return Minute(bar.start_ns, bar.open, bar.high, bar.low, bar.close, -(-spread // 2))


def regular(minutes: Iterable[Minute]) -> list[Minute]:
    """Return the minutes of the exchanges' regular sessions: outside of them no stop and no target of a stock trades."""
    clock = MarketClock("calendar")
    return [minute for minute in minutes if clock.at(minute.start_ns).is_open]
