"""Bars as ticks: what a recording that kept only open, high, low and close is played as.

Owns the path a price takes through its bar. The rules:

- A bar becomes prints at its open, low and high (high and low if it fell), and close, at the four quarters of its
  length, its volume shared between them; equal neighbours print once, and a bar without volume not at all.
- A bar of quotes becomes up to four quotes likewise; those whose sides would lock or cross are left out, since it is
  we who paired them.
- A bar lasts as long as the smallest distance between two bars of one symbol in its file, a minute if there are none.
  Such files hold symbol after symbol, so they are read as a whole and sorted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from hands.core.units import NANO, NS_PER_S, Ns, Price, Qty, floor_to
from hands.sim.market.feeds import is_crypto
from hands.sim.market.file_rows import NumberedRows, Row, Source, each, ms_time, price, qty, text_time
from hands.sim.market.times import MINUTE_NS
from hands.sim.venue.ticks import MarketEvent, Quote, Trade

Named = Callable[[Row], str]
"""Returns the symbol that a row is about."""


def bar_prints(symbol: str, t_ns: int, length_ns: int, prices: Sequence[int], volume: int) -> Iterator[Trade]:
    """Yield a bar's prints; `prices` are open, high, low, close. Raises `ValueError` for an impossible bar."""
    first, high, low, last = prices
    path = (first, low, high, last) if last >= first else (first, high, low, last)
    if not low <= min(first, last) <= max(first, last) <= high:
        raise ValueError("a bar whose open or close is outside its low and high")
    kept = [step for step in range(4) if step == 0 or path[step] != path[step - 1]]
    unit = 1 if is_crypto(symbol) else NANO
    share = max(floor_to(volume // len(kept), unit), unit)
    sizes = [share] * (len(kept) - 1)
    sizes.append(max(volume - sum(sizes), unit))
    if volume:
        for number, (step, size) in enumerate(zip(kept, sizes, strict=True)):
            at_ns = Ns(t_ns + step * length_ns // 4)
            trade_id = t_ns // NS_PER_S * 4 + number
            yield Trade(symbol, Price(path[step]), Qty(size), at_ns, trade_id)


def trade_bars(source: Source, rows: NumberedRows, named: Named) -> Iterator[MarketEvent]:
    """Yield the prints of a file of bars of trades."""
    ordered, length_ns = _in_time(source, rows, named)

    def convert(row: Row) -> Iterable[MarketEvent]:
        prices = [price(row, name) for name in ("open", "high", "low", "close")]
        return bar_prints(named(row), _start_ns(row), length_ns, prices, qty(row, "volume"))

    return _each_bar(source, ordered, convert, "open, high, low, close, volume above or at 0")


def quote_bars(source: Source, rows: NumberedRows, named: Named) -> Iterator[MarketEvent]:
    """Yield the quotes of a file of bars of quotes."""
    ordered, length_ns = _in_time(source, rows, named)

    def convert(row: Row) -> Iterable[MarketEvent]:
        rose = price(row, "bid_close") >= price(row, "bid_open")
        t_ns, sizes = _start_ns(row), (qty(row, "bid_size"), qty(row, "ask_size"))
        for step, at in enumerate(("open", *(("low", "high") if rose else ("high", "low")), "close")):
            bid, ask = price(row, f"bid_{at}"), price(row, f"ask_{at}")
            if (bid or ask) and (not bid or not ask or bid < ask):
                yield Quote(named(row), bid, ask, *sizes, Ns(t_ns + step * length_ns // 4))

    return _each_bar(source, ordered, convert, "the bid's and the ask's open, high, low, close, size")


def bar_length_ns(starts: Iterable[tuple[str, int]]) -> int:
    """Return the smallest distance between two of the (symbol, start) of one symbol; a minute if there is none."""
    last: dict[str, int] = {}
    smallest_ns = 0
    for symbol, start_ns in starts:
        distance_ns = abs(start_ns - last.get(symbol, start_ns))
        if distance_ns and (not smallest_ns or distance_ns < smallest_ns):
            smallest_ns = distance_ns
        last[symbol] = start_ns
    return smallest_ns or MINUTE_NS


def _in_time(source: Source, rows: NumberedRows, named: Named) -> tuple[NumberedRows, int]:
    """Return the rows sorted by time and the bars' length."""
    read = list(rows)
    ordered = sorted(read, key=lambda numbered: _numbered_start_ns(source, *numbered))
    return iter(ordered), bar_length_ns((named(row), _start_ns(row)) for _, row in ordered)


def _numbered_start_ns(source: Source, line: int, row: Row) -> int:
    try:
        return _start_ns(row)
    except ValueError as error:
        raise source.fail(line, f"{error}; allowed is the start of the bar") from error


def _start_ns(row: Row) -> Ns:
    return ms_time(row, "ts_ms_utc") if "ts_ms_utc" in row else text_time(row, "timestamp")


def _each_bar(
    source: Source, ordered: NumberedRows, convert: Callable[[Row], Iterable[MarketEvent]], allowed: str
) -> Iterator[MarketEvent]:
    """Convert bars that are in order of their start, interleaving the ticks of those that start together."""
    for _, together in itertools.groupby(ordered, key=lambda numbered: _start_ns(numbered[1])):
        yield from sorted(each(source, together, convert, allowed), key=lambda tick: tick.t_ns)
