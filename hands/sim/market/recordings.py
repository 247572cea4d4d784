"""Recordings as CSV or Parquet: one-sided equity quotes, equity prints, crypto quotes and prints; and `hands record`'s own.

Owns one small function per set of columns, from a row to ticks. The rules, where a row has to be interpreted:

- Equity rows flagged `suspicious`, trades without a price or size, and quotes with neither side are dropped.
- One-sided equity quotes are carried forward per exchange into a best bid and offer, sizes at the best price added
  up; a side that a newer quote locks or crosses is withdrawn as stale. Nothing is emitted until both sides exist,
  nor without a change.
- Crypto ticks run on `ts_local_ns`, when they were received: the exchange's own stamp is missing on spot and ahead of
  that clock elsewhere.
- Rows of `hands record` run on `recv_ns` likewise. They keep what a print counts for, not its conditions: it is given one
  that counts for the same. Prints without a possible price or size, as a feed may bring them, are dropped.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from hands.core.units import Ns, Price, Qty
from hands.sim.market.bar_prints import Named
from hands.sim.market.file_rows import (
    ColumnError,
    NumberedRows,
    Row,
    Source,
    each,
    integer,
    ms_time,
    price,
    qty,
)
from hands.sim.venue.ticks import MarketEvent, Quote, Trade

SALE_CONDITIONS = (
    (1 << 5, "F"),  # intermarket sweep
    (1 << 6, "O"),  # opening print
    (1 << 7, "6"),  # closing print
    (1 << 8, "5"),  # reopening print
    (1 << 9, "4"),  # derivatively priced
    (1 << 10, "T"),  # form T
    (1 << 13, "T"),  # extended hours
    (1 << 14, "Z"),  # sold out of sequence
    (1 << 20, "W"),  # average price
)
"""Bits of the recordings' hexadecimal sale conditions and the venue's letter for them; others are not told."""

RECORDED_QUOTE = 2
RECORDED_CONDITIONS = {0: ("@", "M"), 1: ("@",), 2: ("@", "I")}
"""By the flags of a row: counts for nothing, for price and volume, for volume alone."""

TAKERS = {"buy": "B", "sell": "S"}


def crypto_trades(source: Source, rows: NumberedRows, named: Named) -> Iterator[MarketEvent]:
    """Yield the prints of a coin, each with its taker's side."""

    def convert(row: Row) -> Iterable[MarketEvent]:
        taker = TAKERS.get(row["taker_side"])
        if taker is None:
            raise ColumnError("taker_side", f"{row['taker_side']!r} is neither buy nor sell")
        at, size, t_ns = price(row, "price"), qty(row, "qty"), Ns(integer(row, "ts_local_ns"))
        if at and size:
            yield Trade(named(row), at, size, t_ns, integer(row, "trade_id"), "V", (taker,))

    return each(source, rows, convert, "ts_local_ns, symbol, trade_id, price, qty, taker_side buy or sell")


def crypto_quotes(source: Source, rows: NumberedRows, named: Named) -> Iterator[MarketEvent]:
    """Yield the best bids and offers of a coin."""

    def convert(row: Row) -> Iterable[MarketEvent]:
        bid, ask = price(row, "bid"), price(row, "ask")
        if bid or ask:
            sizes = qty(row, "bid_qty"), qty(row, "ask_qty")
            yield Quote(named(row), bid, ask, *sizes, Ns(integer(row, "ts_local_ns")))

    return each(source, rows, convert, "ts_local_ns, symbol, bid, bid_qty, ask, ask_qty")


def equity_trades(source: Source, rows: NumberedRows, named: Named) -> Iterator[MarketEvent]:
    """Yield the prints of a stock, numbered in their order."""
    numbers = itertools.count(1)

    def convert(row: Row) -> Iterable[MarketEvent]:
        at, size = price(row, "price"), qty(row, "size")
        if row["suspicious"] == "0" and at and size:
            conditions = ("@", *_letters(row))
            yield Trade(
                named(row), at, size, ms_time(row, "ts_ms_utc"), next(numbers), row["exchange"], conditions
            )

    return each(source, rows, convert, "ts_ms_utc, price, size, exchange, hexadecimal sale_condition")


def _letters(row: Row) -> tuple[str, ...]:
    try:
        flags = int(row["sale_condition"] or "0", 16)
    except ValueError:
        raise ColumnError("sale_condition", f"{row['sale_condition']!r} is not hexadecimal") from None
    return tuple(dict.fromkeys(letter for bit, letter in SALE_CONDITIONS if flags & bit))


def equity_quotes(source: Source, rows: NumberedRows, named: Named) -> Iterator[MarketEvent]:
    """Yield the national best bid and offer that one-sided quotes of many exchanges make."""
    return each(source, rows, _BestQuotes(named), "ts_ms_utc, bid, bid_size, ask, ask_size, exchange")


def recorded_rows(source: Source, rows: NumberedRows, named: Named) -> Iterator[MarketEvent]:
    """Yield the prints and quotes of rows as they were received."""

    def convert(row: Row) -> Iterable[MarketEvent]:
        symbol, t_ns = named(row), Ns(integer(row, "recv_ns"))
        if integer(row, "kind") == RECORDED_QUOTE:
            yield Quote(
                symbol, price(row, "price"), price(row, "price2"), qty(row, "size"), qty(row, "size2"), t_ns
            )
            return
        at, size = price(row, "price"), qty(row, "size")
        if at and size:
            conditions = RECORDED_CONDITIONS.get(integer(row, "flags"), RECORDED_CONDITIONS[0])
            exchange = chr(integer(row, "exchange") or ord("V"))
            yield Trade(symbol, at, size, t_ns, integer(row, "trade_id"), exchange, conditions)

    return each(source, rows, convert, "the columns of a row of the market")


class _Book:
    """One stock's sides, by exchange."""

    def __init__(self) -> None:
        self.bids: dict[str, tuple[int, int]] = {}
        self.asks: dict[str, tuple[int, int]] = {}
        self.last: tuple[int, int, int, int] | None = None

    def best(self) -> tuple[int, int, int, int] | None:
        """Return bid, ask and the sizes at them; None if a side is missing or nothing changed since."""
        if not self.bids or not self.asks:
            return None
        bid, ask = max(self.bids.values())[0], min(self.asks.values())[0]
        bid_size = sum(size for at, size in self.bids.values() if at == bid)
        ask_size = sum(size for at, size in self.asks.values() if at == ask)
        best = bid, ask, bid_size, ask_size
        if best == self.last:
            return None
        self.last = best
        return best


class _BestQuotes:
    """One-sided quotes per exchange carried forward to a national best bid and offer."""

    def __init__(self, named: Named) -> None:
        self._named = named
        self._books: dict[str, _Book] = {}

    def __call__(self, row: Row) -> Iterable[MarketEvent]:
        if row["suspicious"] != "0":
            return
        symbol, exchange = self._named(row), row["exchange"]
        book = self._books.setdefault(symbol, _Book())
        bid, ask = price(row, "bid"), price(row, "ask")
        if bid:
            book.bids[exchange] = bid, qty(row, "bid_size")
            book.asks = {x: quoted for x, quoted in book.asks.items() if quoted[0] > bid}
        if ask:
            book.asks[exchange] = ask, qty(row, "ask_size")
            book.bids = {x: quoted for x, quoted in book.bids.items() if quoted[0] < ask}
        best = book.best()
        if best is not None:
            yield Quote(
                symbol, Price(best[0]), Price(best[1]), Qty(best[2]), Qty(best[3]), ms_time(row, "ts_ms_utc")
            )
