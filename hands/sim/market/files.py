"""Recorded markets: CSV, JSON lines and Parquet files read row by row as the ticks they recorded.

Owns file formats only; pacing is the tape's. The one idea: the set of columns names the format, each format is
one small function from a row to ticks, and numbers go from their text to exact integers.

The rules, where a recording has to be interpreted:

- Files are merged by their own times; within a file only bars are sorted (such a file is read as a whole).
  A trade earlier than the row before it is kept where it stands, with its own time and condition Z (sold out of
  sequence), as a late print arrives on a real feed; a quote earlier than the row before it is dropped.
- Rows flagged `suspicious`, trades without a price or size, and quotes with neither side are dropped.
- Crypto ticks run on `ts_local_ns`, when they were received: the exchange's own stamp is missing on spot and
  ahead of that clock elsewhere.
- One-sided equity quotes are carried forward per exchange into a best bid and offer; a side that a newer quote
  locks or crosses is withdrawn as stale. Nothing is emitted until both sides exist, nor without a change.
- A bar becomes prints at its open, low and high (high and low if it fell), and close, spread over its length,
  its volume shared between them; equal neighbours print once, and a bar without volume not at all.
  A bar of quotes becomes up to four quotes likewise; those whose sides would lock or cross are left out, since
  it is we who paired them. A file of bars is of one-second bars if any of its first rows is off the minute.
- Rows that name no symbol belong to the file's name up to the first underscore (BAC_20131008_trades.csv.gz).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hands.core.units import NANO, NS_PER_MS, NS_PER_S, Ns, NumberError, Price, Qty, floor_to, nano_truncated
from hands.sim.market.feeds import is_crypto
from hands.sim.market.file_rows import (
    FileError,
    NumberedRows,
    Row,
    Source,
    csv_rows,
    json_rows,
    parquet_rows,
    time_ns,
)
from hands.sim.venue.ticks import Quote, Tick, Trade

Batches = Iterator[tuple[int, Sequence[Tick]]]
Convert = Callable[[Row], Iterable[Tick]]

BAR_PEEK_ROWS = 64
CRYPTO_QUOTES = ("USDT", "USDC", "USD")

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


def read_files(paths: Sequence[Path]) -> Batches:
    """Yield (t_ns, ticks) of all files, merged by time; `t_ns` never decreases.

    Raises:
        FileError: at once if a file is absent or of no known format, later at the first row that is unreadable.
    """
    streams = [read_file(path) for path in paths]
    return heapq.merge(*streams, key=lambda batch: batch[0])


def read_file(path: Path) -> Batches:
    """Yield one file's (t_ns, ticks), `t_ns` never decreasing. Raises as `read_files`."""
    if not path.is_file():
        raise FileError(
            f"{path}: no such file; a tape is synthetic, manual, or files of recorded market data"
        )
    source = Source(path)
    name = path.name.removesuffix(".gz")
    symbol = symbol_of(name.rpartition(".")[0])
    if name.endswith((".jsonl", ".ndjson", ".json")):
        return _in_time(_each(source, json_rows(source), _Messages(symbol), "a message of the venue's"))
    if name.endswith(".parquet"):
        columns, rows = parquet_rows(source)
    elif name.endswith(".csv"):
        columns, rows = csv_rows(source)
    else:
        raise FileError(f"{path}: unknown kind of file; allowed: .csv, .jsonl (also .gz) and .parquet")
    for needed, convert in _FORMATS:
        if needed <= set(columns):
            return _in_time(convert(source, symbol, rows))
    known = "; ".join(" ".join(sorted(needed)) for needed, _ in _FORMATS)
    raise FileError(f"{path}:1: columns {' '.join(columns)}; allowed are files with all of: {known}")


def symbol_of(name: str) -> str:
    """Return the venue's symbol for a recording's name or a file's without its ending: "BAC_2013" BAC, "btcusdt" BTC/USD."""
    word = name.split("_", maxsplit=1)[0].upper()
    for currency in CRYPTO_QUOTES:
        coin = word.removesuffix(currency)
        if "/" not in word and coin not in {word, ""}:
            return f"{coin}/USD"
    return word


def _in_time(ticks: Iterable[Tick]) -> Batches:
    """Pair ticks with the time they are due; late quotes go, late trades stay where they are and say so."""
    due_ns = 0
    for tick in ticks:
        if tick.t_ns >= due_ns:
            due_ns = tick.t_ns
            yield due_ns, (tick,)
        elif isinstance(tick, Trade):
            conditions = (*tick.conditions, "Z") if "Z" not in tick.conditions else tick.conditions
            late = Trade(
                tick.symbol, tick.price, tick.size, tick.t_ns, tick.trade_id, tick.exchange, conditions
            )
            yield due_ns, (late,)


def _each(source: Source, rows: NumberedRows, convert: Convert, allowed: str) -> Iterator[Tick]:
    """Convert row by row, naming the line of one that cannot be."""
    for line, row in rows:
        try:
            yield from convert(row)
        except KeyError as error:
            raise source.fail(line, f"{error} is missing; allowed is {allowed}") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise source.fail(line, f"{error}; allowed is {allowed}") from error


# -- one function or class per format -----------------------------------------------------------------------


class _Messages:
    """JSON as the venue writes it: trades, quotes and bars; "T" and "S" may be absent."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol

    def __call__(self, row: Mapping[str, Any]) -> Iterable[Tick]:
        symbol = str(row.get("S") or self._symbol)
        t_ns = time_ns(row["t"])
        if "bp" in row:
            bid, ask = _price(row["bp"]), _price(row["ap"])
            return [Quote(symbol, bid, ask, _qty(row["bs"]), _qty(row["as"]), t_ns)]
        if "p" in row:
            side = row.get("tks")
            conditions = (str(side),) if side else tuple(row.get("c") or ("@",))
            trade_id, exchange = int(row.get("i", 0)), str(row.get("x", "V"))
            return [Trade(symbol, _price(row["p"]), _qty(row["s"]), t_ns, trade_id, exchange, conditions)]
        if "o" in row:
            prices = [_price(row[key]) for key in "ohlc"]
            return _bar_prints(symbol, t_ns, 60 * NS_PER_S, prices, _qty(row["v"]))
        raise ValueError(f"a message with the keys {', '.join(row)}")


def _crypto_trades(source: Source, _: str, rows: NumberedRows) -> Iterator[Tick]:
    def convert(row: Row) -> Iterable[Tick]:
        if row["taker_side"] not in {"buy", "sell"}:
            raise ValueError(f"taker_side {row['taker_side']!r}")
        taker = "B" if row["taker_side"] == "buy" else "S"
        price, size, t_ns = _price(row["price"]), _qty(row["qty"]), Ns(int(row["ts_local_ns"]))
        if price and size:
            yield Trade(symbol_of(row["symbol"]), price, size, t_ns, int(row["trade_id"]), "V", (taker,))

    return _each(source, rows, convert, "ts_local_ns, symbol, trade_id, price, qty, taker_side buy or sell")


def _crypto_quotes(source: Source, _: str, rows: NumberedRows) -> Iterator[Tick]:
    def convert(row: Row) -> Iterable[Tick]:
        bid, ask = _price(row["bid"]), _price(row["ask"])
        if bid or ask:
            sizes = _qty(row["bid_qty"]), _qty(row["ask_qty"])
            yield Quote(symbol_of(row["symbol"]), bid, ask, *sizes, Ns(int(row["ts_local_ns"])))

    return _each(source, rows, convert, "ts_local_ns, symbol, bid, bid_qty, ask, ask_qty")


def _equity_trades(source: Source, symbol: str, rows: NumberedRows) -> Iterator[Tick]:
    numbers = itertools.count(1)

    def convert(row: Row) -> Iterable[Tick]:
        price, size = _price(row["price"]), _qty(row["size"])
        if row["suspicious"] == "0" and price and size:
            flags = int(row["sale_condition"] or "0", 16)
            told = tuple(dict.fromkeys(letter for bit, letter in SALE_CONDITIONS if flags & bit))
            t_ns = Ns(int(row["ts_ms_utc"]) * NS_PER_MS)
            name = row.get("symbol") or symbol
            yield Trade(name, price, size, t_ns, next(numbers), row["exchange"], ("@", *told))

    return _each(source, rows, convert, "ts_ms_utc, price, size, exchange, hexadecimal sale_condition")


class _BestQuotes:
    """One-sided quotes per exchange carried forward to a national best bid and offer."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._bids: dict[str, tuple[int, int]] = {}
        self._asks: dict[str, tuple[int, int]] = {}
        self._last: tuple[int, int, int, int] | None = None

    def __call__(self, row: Row) -> Iterable[Tick]:
        if row["suspicious"] != "0":
            return
        exchange, bid, ask = row["exchange"], _price(row["bid"]), _price(row["ask"])
        if bid:
            self._bids[exchange] = bid, _qty(row["bid_size"])
            self._asks = {x: quoted for x, quoted in self._asks.items() if quoted[0] > bid}
        if ask:
            self._asks[exchange] = ask, _qty(row["ask_size"])
            self._bids = {x: quoted for x, quoted in self._bids.items() if quoted[0] < ask}
        if not self._bids or not self._asks:
            return
        best_bid, best_ask = max(self._bids.values())[0], min(self._asks.values())[0]
        bid_size = sum(size for price, size in self._bids.values() if price == best_bid)
        ask_size = sum(size for price, size in self._asks.values() if price == best_ask)
        best = best_bid, best_ask, bid_size, ask_size
        if best != self._last:
            self._last = best
            t_ns = Ns(int(row["ts_ms_utc"]) * NS_PER_MS)
            yield Quote(self._symbol, Price(best_bid), Price(best_ask), Qty(bid_size), Qty(ask_size), t_ns)


def _equity_quotes(source: Source, symbol: str, rows: NumberedRows) -> Iterator[Tick]:
    return _each(source, rows, _BestQuotes(symbol), "ts_ms_utc, bid, bid_size, ask, ask_size, exchange")


def _trade_bars(source: Source, symbol: str, rows: NumberedRows) -> Iterator[Tick]:
    ordered, length_ns = _bars_in_time(source, rows)

    def convert(row: Row) -> Iterable[Tick]:
        prices = [_price(row[name]) for name in ("open", "high", "low", "close")]
        name = symbol_of(row["symbol"]) if row.get("symbol") else symbol
        return _bar_prints(name, _bar_time_ns(row), length_ns, prices, _qty(row["volume"]))

    return _each_bar(source, ordered, convert, "open, high, low, close, volume above or at 0")


def _quote_bars(source: Source, symbol: str, rows: NumberedRows) -> Iterator[Tick]:
    ordered, length_ns = _bars_in_time(source, rows)

    def convert(row: Row) -> Iterable[Tick]:
        rose = _price(row["bid_close"]) >= _price(row["bid_open"])
        t_ns, name = _bar_time_ns(row), symbol_of(row["symbol"]) if row.get("symbol") else symbol
        sizes = _qty(row["bid_size"]), _qty(row["ask_size"])
        for step, at in enumerate(("open", *(("low", "high") if rose else ("high", "low")), "close")):
            bid, ask = _price(row[f"bid_{at}"]), _price(row[f"ask_{at}"])
            if (bid or ask) and (not bid or not ask or bid < ask):
                yield Quote(name, bid, ask, *sizes, Ns(t_ns + step * length_ns // 4))

    return _each_bar(source, ordered, convert, "the bid's and the ask's open, high, low, close, size")


def _bars_in_time(source: Source, rows: NumberedRows) -> tuple[NumberedRows, int]:
    """Return the rows sorted by time (files of bars hold symbol after symbol) and the bars' length."""
    times = _each_time(source, rows)
    ordered = [row for _, row in sorted(times, key=lambda pair: pair[0])]
    is_of_seconds = any(_bar_time_ns(row) % (60 * NS_PER_S) for _, row in ordered[:BAR_PEEK_ROWS])
    return iter(ordered), NS_PER_S if is_of_seconds else 60 * NS_PER_S


def _each_time(source: Source, rows: NumberedRows) -> Iterator[tuple[int, tuple[int, Row]]]:
    for line, row in rows:
        try:
            yield _bar_time_ns(row), (line, row)
        except ValueError as error:
            raise source.fail(line, f"{error}; allowed is the start of the bar") from error


def _bar_time_ns(row: Row) -> Ns:
    if "ts_ms_utc" in row:
        return Ns(int(row["ts_ms_utc"]) * NS_PER_MS)
    return time_ns(row["timestamp"])


def _each_bar(source: Source, ordered: NumberedRows, convert: Convert, allowed: str) -> Iterator[Tick]:
    """Convert bars that are in order of their start, interleaving the ticks of those that start together."""
    for _, together in itertools.groupby(ordered, key=lambda numbered: _bar_time_ns(numbered[1])):
        yield from sorted(_each(source, together, convert, allowed), key=lambda tick: tick.t_ns)


def _bar_prints(symbol: str, t_ns: int, length_ns: int, prices: Sequence[int], volume: int) -> Iterable[Tick]:
    """Return a bar's prints; `prices` are open, high, low, close."""
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


def _price(text: object) -> Price:
    return Price(_amount(text))


def _qty(text: object) -> Qty:
    return Qty(_amount(text))


def _amount(text: object) -> int:
    value = nano_truncated(str(text))
    if value < 0:
        raise NumberError(f"{text} is negative")
    return value


_BAR = {"open", "high", "low", "close", "volume"}
_QUOTE_BAR = {
    f"{side}_{part}" for side in ("bid", "ask") for part in ("open", "high", "low", "close", "size")
}
_FORMATS: tuple[tuple[set[str], Callable[[Source, str, NumberedRows], Iterator[Tick]]], ...] = (
    ({"ts_local_ns", "symbol", "trade_id", "price", "qty", "taker_side"}, _crypto_trades),
    ({"ts_local_ns", "symbol", "bid", "bid_qty", "ask", "ask_qty"}, _crypto_quotes),
    ({"ts_ms_utc", "price", "size", "exchange", "sale_condition", "suspicious"}, _equity_trades),
    ({"ts_ms_utc", "bid", "bid_size", "ask", "ask_size", "exchange", "suspicious"}, _equity_quotes),
    ({"ts_ms_utc", *_QUOTE_BAR}, _quote_bars),
    ({"ts_ms_utc", *_BAR}, _trade_bars),
    ({"timestamp", *_BAR}, _trade_bars),
)
