"""What Alpaca itself wrote down: stream messages, pages of its historical API, and the Python SDK's data frames.

Owns those shapes. The rules:

- Stream messages (`T` and `S` in each, one or an array per line) are played as they come: quotes, trades, statuses,
  price bands, corrections and cancels of prints. Minute bars of a symbol are played as prints (see `bar_prints`)
  unless the recording has its trades too, which they would repeat. What moves no market (control messages, news,
  order books, imbalances, updated and daily bars) is passed over; a type nobody knows is an error.
- Pages of the historical API (`{"trades": {"AAPL": [...]}, "next_page_token": ...}`, bars and quotes likewise, one
  symbol as `{"trades": [...], "symbol": "AAPL"}`; one page or many, one per line or as an array) hold symbol after
  symbol, so such a file is read as a whole and sorted. Trades marked `u` keep only what was right: `canceled` and
  `incorrect` ones are dropped. Data frames (`bars.df.to_csv()`, `to_parquet()`) are read in the same way.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from hands.core.units import Ns
from hands.sim.market.bar_prints import Named, bar_length_ns, bar_prints
from hands.sim.market.file_rows import (
    NumberedRows,
    Row,
    Source,
    each,
    integer,
    json_values,
    price,
    qty,
    text_time,
)
from hands.sim.market.times import MINUTE_NS
from hands.sim.venue.ticks import Cancellation, Correction, MarketEvent, PriceBand, Quote, Status, Trade

PASSED_OVER: Final = frozenset({"success", "subscription", "error", "n", "o", "i", "u", "d"})
PAGE_TYPES: Final = {"trades": "t", "quotes": "q", "bars": "b"}
TAKEN_BACK: Final = frozenset({"canceled", "incorrect"})
ALLOWED: Final = "a message of the venue's"

_LETTER: Final = re.compile(r"[A-Z0-9@]")


def json_events(source: Source, symbol: str) -> Iterator[MarketEvent]:
    """Yield the events of a JSON file; rows that name no symbol belong to `symbol`."""
    values = json_values(source)
    first = next(values, None)
    if first is None:
        return iter(())
    values = itertools.chain([first], values)
    if _is_page(first[1]) or (isinstance(first[1], list) and first[1] and _is_page(first[1][0])):
        return _sorted_pages(source, values, symbol)
    return each(source, _rows(values), _Messages(symbol), ALLOWED)


def _rows(values: Iterable[tuple[int, Any]]) -> NumberedRows:
    """Yield the rows of lines that are one each, or an array of them as the venue's frames."""
    for line, value in values:
        for row in value if isinstance(value, list) else [value]:
            yield line, row


class _Messages:
    """JSON as the venue writes it to its streams; "T" and "S" may be absent from quotes, trades and bars."""

    def __init__(self, symbol: str, bar_length_ns: int = MINUTE_NS) -> None:
        self._symbol = symbol
        self._bar_length_ns = bar_length_ns
        self._traded: set[str] = set()

    def __call__(self, row: Mapping[str, Any]) -> Iterable[MarketEvent]:
        kind = row.get("T")
        if kind in PASSED_OVER:
            return []
        symbol = str(row.get("S") or self._symbol)
        if kind in {"s", "l", "c", "x"}:
            return [_notice(kind, symbol, row)]
        if "bp" in row:
            sizes = qty(row, "bs"), qty(row, "as")
            return [Quote(symbol, price(row, "bp"), price(row, "ap"), *sizes, text_time(row, "t"))]
        if "p" in row:
            self._traded.add(symbol)
            return _good_trade(symbol, row)
        if "o" in row:
            prices = [price(row, key) for key in "ohlc"]
            start_ns, volume = text_time(row, "t"), qty(row, "v")
            return [] if symbol in self._traded else self._prints(symbol, start_ns, prices, volume)
        raise ValueError(f"a message with the keys {', '.join(row)}")

    def _prints(self, symbol: str, start_ns: Ns, prices: list[Any], volume: int) -> Iterator[Trade]:
        return bar_prints(symbol, start_ns, self._bar_length_ns, prices, volume)


def _good_trade(symbol: str, row: Row) -> list[MarketEvent]:
    trade = _trade(symbol, row, "i", "p", "s", "c")
    return [] if row.get("u") in TAKEN_BACK else [trade]


def _trade(symbol: str, row: Row, number: str, at: str, size: str, conditions: str) -> Trade:
    """Return the print that these keys of a message tell of."""
    side = row.get("tks")
    letters = (str(side),) if side else tuple(map(str, row.get(conditions) or ("@",)))
    trade_id = integer(row, number) if number in row else 0
    exchange = str(row.get("x", "V"))
    return Trade(symbol, price(row, at), qty(row, size), text_time(row, "t"), trade_id, exchange, letters)


def _notice(kind: str, symbol: str, row: Row) -> MarketEvent:
    t_ns = text_time(row, "t")
    if kind == "s":
        code, message, reason, meaning = (str(row.get(key, "")) for key in ("sc", "sm", "rc", "rm"))
        return Status(symbol, code, message, reason, meaning, t_ns)
    if kind == "l":
        return PriceBand(symbol, price(row, "u"), price(row, "d"), str(row.get("i", "")), t_ns)
    if kind == "c":
        original = _trade(symbol, row, "oi", "op", "os", "oc")
        return Correction(symbol, original, _trade(symbol, row, "ci", "cp", "cs", "cc"), t_ns)
    return Cancellation(symbol, _trade(symbol, row, "i", "p", "s", "c"), t_ns, str(row.get("a", "C")))


# -- pages ------------------------------------------------------------------------------------------------------


def _is_page(value: object) -> bool:
    if not isinstance(value, Mapping) or "T" in value:  # an acknowledged subscription lists trades too
        return False
    return any(isinstance(value.get(kind), dict | list) for kind in PAGE_TYPES)


def _sorted_pages(source: Source, values: Iterable[tuple[int, Any]], symbol: str) -> Iterator[MarketEvent]:
    rows = list(_page_rows(source, values, symbol))
    starts = [(row["S"], line, row) for line, row in rows if row["T"] == "b"]
    length_ns = bar_length_ns((name, _start_ns(source, line, row)) for name, line, row in starts)
    # One conversion for all: it drops the bars of symbols with trades, so the trades have to come first.
    rows.sort(key=lambda numbered: numbered[1]["T"] == "b")
    events = each(source, iter(rows), _Messages(symbol, length_ns), ALLOWED)
    return iter(sorted(events, key=lambda event: event.t_ns))


def _start_ns(source: Source, line: int, row: Row) -> Ns:
    try:
        return text_time(row, "t")
    except (KeyError, ValueError) as error:
        raise source.fail(line, f"{error}; allowed is {ALLOWED}") from error


def _page_rows(source: Source, values: Iterable[tuple[int, Any]], symbol: str) -> NumberedRows:
    """Yield a page's items as messages, each with its type and its symbol."""
    for line, page in _rows(values):
        if not _is_page(page):
            raise source.fail(line, f"not a page; allowed are objects with one of {', '.join(PAGE_TYPES)}")
        for kind, letter in PAGE_TYPES.items():
            held = page.get(kind) or {}
            by_symbol = held if isinstance(held, Mapping) else {str(page.get("symbol") or symbol): held}
            for name, items in by_symbol.items():
                if not isinstance(items, list | None):
                    raise source.fail(line, f"{kind} of {name}: {items!r}; allowed is a list of items")
                for number, item in enumerate(items or (), 1):
                    if not isinstance(item, Mapping):
                        raise source.fail(
                            line, f"{kind} of {name}, item {number}: {item!r}; allowed is {ALLOWED}"
                        )
                    yield line, {**item, "T": letter, "S": name}


# -- data frames ------------------------------------------------------------------------------------------------


def frame_trades(source: Source, rows: NumberedRows, named: Named) -> Iterator[MarketEvent]:
    """Yield the trades of a data frame: symbol, timestamp, price, size, id, and conditions and exchange if known."""

    def convert(row: Row) -> Iterable[MarketEvent]:
        symbol, t_ns = named(row), text_time(row, "timestamp")
        conditions = tuple(_LETTER.findall(row.get("conditions") or "")) or ("@",)
        number = integer(row, "id") if row.get("id") else 0
        exchange = row.get("exchange") or "V"
        yield Trade(symbol, price(row, "price"), qty(row, "size"), t_ns, number, exchange, conditions)

    return _sorted_frame(source, rows, convert, "timestamp, price, size")


def frame_quotes(source: Source, rows: NumberedRows, named: Named) -> Iterator[MarketEvent]:
    """Yield the quotes of a data frame: symbol, timestamp, bid_price, bid_size, ask_price, ask_size."""

    def convert(row: Row) -> Iterable[MarketEvent]:
        sizes = qty(row, "bid_size"), qty(row, "ask_size")
        t_ns = text_time(row, "timestamp")
        yield Quote(named(row), price(row, "bid_price"), price(row, "ask_price"), *sizes, t_ns)

    return _sorted_frame(source, rows, convert, "timestamp, bid_price, bid_size, ask_price, ask_size")


def _sorted_frame(source: Source, rows: NumberedRows, convert: Any, allowed: str) -> Iterator[MarketEvent]:
    return iter(sorted(each(source, rows, convert, allowed), key=lambda event: event.t_ns))
