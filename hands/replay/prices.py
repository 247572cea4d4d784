"""Where a report's prices come from: a market that was recorded, or minutes that were kept; or nowhere.

Owns the seam `Prices` and its sources. May not know of trades or pages. The one idea: a report asks for a stretch of one
symbol and says how many bars it can draw; how long a bar is is then the source's business.
"""

from __future__ import annotations

import csv
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from hands.core.members import parse_time_ns
from hands.core.rows import RowFlag, RowKind
from hands.core.units import NANO, NS_PER_S

DAY_NS: Final = 86_400 * NS_PER_S
MINUTES: Final = "minutes"
"""The folder of a state directory where the daemon keeps minute bars of past days, by venue, day and symbol."""

Bar = tuple[int, float, float, float, float]
"""(start_ns, open, high, low, close), prices in dollars."""

Span = tuple[str, int, int]
"""(symbol, from_ns, to_ns): a stretch of a symbol's market."""


class Prices(Protocol):
    """A market to look back at."""

    def bars(self, symbol: str, from_ns: int, to_ns: int, most: int) -> list[Bar]:
        """Return at most `most` bars of [from, to), oldest first; none where nothing is known."""
        ...


class NoPrices:
    """Nothing was recorded."""

    def bars(self, symbol: str, from_ns: int, to_ns: int, most: int) -> list[Bar]:  # noqa: ARG002
        return []


class FirstKnown:
    """Several sources: the first that knows a stretch answers."""

    def __init__(self, *sources: Prices) -> None:
        self._sources = sources

    def bars(self, symbol: str, from_ns: int, to_ns: int, most: int) -> list[Bar]:
        for source in self._sources:
            found = source.bars(symbol, from_ns, to_ns, most)
            if found:
                return found
        return []


class TickPrices:
    """Prices tick by tick, made into bars as they are asked for: (time, price) arrays by symbol, times not decreasing."""

    def __init__(self, ticks: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
        self._ticks = ticks

    @classmethod
    def of_rows(
        cls, symbols: Sequence[str], chunks: Iterable[np.ndarray], spans: Iterable[Span]
    ) -> TickPrices:
        """Return the prices of these spans, from one market's rows. See `of_markets`."""
        return cls.of_markets(((symbols, rows) for rows in chunks), spans)

    @classmethod
    def of_markets(
        cls, chunks: Iterable[tuple[Sequence[str], np.ndarray]], spans: Iterable[Span]
    ) -> TickPrices:
        """Return the prices of these spans, from rows (dtype `hands.core.rows.ROW`) with the symbols they number.

        Eligible trades; of a symbol without any, the mids of its two-sided quotes. In each chunk `recv_ns` does not
        decrease. Only what lies in a span is kept, so a market of any length can be read once.
        """
        wanted = _merged(spans)
        traded: dict[str, list[np.ndarray]] = {symbol: [] for symbol in wanted}
        quoted: dict[str, list[np.ndarray]] = {symbol: [] for symbol in wanted}
        for symbols, rows in chunks:
            if not len(rows):
                continue
            for number, symbol in enumerate(symbols):
                if symbol in wanted:
                    part = _within(rows, wanted[symbol])
                    part = part[part["sym"] == number]
                    _keep(part, traded[symbol], quoted[symbol])
        kept = {symbol: traded[symbol] or quoted[symbol] for symbol in wanted}
        return cls({symbol: _joined(parts) for symbol, parts in kept.items() if parts})

    def bars(self, symbol: str, from_ns: int, to_ns: int, most: int) -> list[Bar]:
        found = self._ticks.get(symbol)
        if found is None or most < 1:
            return []
        times, prices = found
        first, last = (int(n) for n in np.searchsorted(times, (from_ns, to_ns)))
        if first == last:
            return []
        times, prices = times[first:last], prices[first:last]
        width = -(-(to_ns - from_ns) // most)
        places = (times - from_ns) // width
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        ends = np.append(starts[1:], len(times)) - 1
        highs, lows = np.maximum.reduceat(prices, starts), np.minimum.reduceat(prices, starts)
        return [
            (from_ns + int(places[a]) * width, float(prices[a]), float(high), float(low), float(prices[b]))
            for a, b, high, low in zip(starts, ends, highs, lows, strict=True)
        ]


def _merged(spans: Iterable[Span]) -> dict[str, list[tuple[int, int]]]:
    """Return the spans by symbol, in order, those that touch made one."""
    found: dict[str, list[tuple[int, int]]] = {}
    for symbol, from_ns, to_ns in sorted(spans):
        stretches = found.setdefault(symbol, [])
        if stretches and from_ns <= stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], max(stretches[-1][1], to_ns))
        else:
            stretches.append((from_ns, to_ns))
    return found


def _within(rows: np.ndarray, stretches: list[tuple[int, int]]) -> np.ndarray:
    """Return the rows that lie in one of the stretches."""
    times = rows["recv_ns"]
    first_ns, last_ns = int(times[0]), int(times[-1])
    begin = bisect_right(stretches, first_ns, key=_end)
    end = bisect_right(stretches, last_ns, key=_begin)
    parts = [rows[slice(*np.searchsorted(times, stretch))] for stretch in stretches[begin:end]]
    return np.concatenate(parts) if parts else rows[:0]


def _begin(stretch: tuple[int, int]) -> int:
    return stretch[0]


def _end(stretch: tuple[int, int]) -> int:
    return stretch[1]


def _keep(rows: np.ndarray, traded: list[np.ndarray], quoted: list[np.ndarray]) -> None:
    trades = rows[(rows["kind"] == RowKind.TRADE) & ((rows["flags"] & RowFlag.ELIGIBLE) != 0)]
    if len(trades):
        traded.append(_pairs(trades["recv_ns"], trades["price"]))
    if not traded:
        quotes = rows[
            (rows["kind"] == RowKind.QUOTE) & (rows["price"] > 0) & (rows["price2"] >= rows["price"])
        ]
        if len(quotes):
            quoted.append(_pairs(quotes["recv_ns"], (quotes["price"] + quotes["price2"]) / 2))


_PAIR = np.dtype([("at", "i8"), ("price", "f8")])


def _pairs(times: np.ndarray, prices: np.ndarray) -> np.ndarray:
    found = np.empty(len(times), _PAIR)
    found["at"], found["price"] = times, prices
    return found


def _joined(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    whole = np.concatenate(parts)
    whole = whole[np.argsort(whole["at"], kind="stable")]  # two sessions' clocks may overlap
    return np.ascontiguousarray(whole["at"]), np.ascontiguousarray(whole["price"])


class KeptMinutes:
    """The minute bars that a daemon has kept in its state directory; days that were not asked for are not there.

    Where minutes of several venues or feeds were kept, the one with the most days speaks: two do not show one market.
    """

    def __init__(self, state: Path) -> None:
        folder = state / MINUTES
        feeds = [path for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
        self._folder = max(feeds, key=lambda path: sum(1 for _ in path.iterdir()), default=None)
        self._days: dict[tuple[str, int], list[Bar]] = {}

    def bars(self, symbol: str, from_ns: int, to_ns: int, most: int) -> list[Bar]:
        if self._folder is None or most < 1:
            return []
        found: list[Bar] = []
        for day_ns in range(from_ns - from_ns % DAY_NS, to_ns, DAY_NS):
            found += [bar for bar in self._day(symbol, day_ns) if from_ns <= bar[0] < to_ns]
        return _fewer(found, most)

    def _day(self, symbol: str, day_ns: int) -> list[Bar]:
        key = symbol, day_ns
        if key not in self._days:
            self._days[key] = self._read(symbol, day_ns)
        return self._days[key]

    def _read(self, symbol: str, day_ns: int) -> list[Bar]:
        """Return a kept day's bars; none where there is no such file, or it cannot be read."""
        if self._folder is None:
            return []
        day = datetime.fromtimestamp(day_ns // NANO, UTC)
        path = self._folder / f"{day:%Y-%m-%d}" / f"{symbol.replace('/', '-')}.csv"
        try:
            with path.open(encoding="utf-8", newline="") as text:
                return [_bar(row) for row in csv.DictReader(text)]
        except (OSError, ValueError, KeyError, TypeError, csv.Error):
            return []


def _bar(row: dict[str, str]) -> Bar:
    opened, high, low, closed = (float(row[name]) for name in ("open", "high", "low", "close"))
    if not all(map(math.isfinite, (opened, high, low, closed))):
        raise ValueError(f"no prices: {row}")
    return parse_time_ns(row["timestamp"]), opened, high, low, closed


def _fewer(bars: list[Bar], most: int) -> list[Bar]:
    """Return at most `most` bars, each made of as many neighbours."""
    together = -(-len(bars) // most)
    if together <= 1:
        return bars
    parts = [bars[n : n + together] for n in range(0, len(bars), together)]
    return [
        (part[0][0], part[0][1], max(bar[2] for bar in part), min(bar[3] for bar in part), part[-1][4])
        for part in parts
    ]
