"""Recorded markets: CSV, JSON and Parquet files read as the events they recorded, in order of time.

Owns which format a file is of, merging, and what happens to rows that come late; pacing is the tape's. The one idea:
the set of columns names the format, each format is one small function from rows to events (`recordings`,
`bar_prints`, `alpaca_files`, with their rules), and numbers go from their text to exact integers.

- Files are merged by their own times. CSV, Parquet and JSON lines of ticks are read as they are played, whatever
  their size; bars, data frames and pages of the historical API are read as a whole and sorted.
- A trade earlier than the row before it is kept where it stands, with its own time and condition Z (sold out of
  sequence), as a late print arrives on a real feed; a quote earlier than the row before it is dropped, since it says
  what no longer is. Notices keep their place.
- Rows that name no symbol belong to the file's name up to the first underscore (BAC_20131008_trades.csv.gz).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from hands.sim.market.alpaca_files import frame_quotes, frame_trades, json_events
from hands.sim.market.bar_prints import Named, quote_bars, trade_bars
from hands.sim.market.file_rows import FileError, NumberedRows, Row, Source, csv_rows, parquet_rows
from hands.sim.market.recordings import (
    crypto_quotes,
    crypto_trades,
    equity_quotes,
    equity_trades,
    recorded_rows,
)
from hands.sim.venue.ticks import MarketEvent, Quote, Trade

Batches = Iterator[tuple[int, Sequence[MarketEvent]]]

CRYPTO_QUOTES = ("USDT", "USDC", "USD")


def read_files(paths: Sequence[Path]) -> Batches:
    """Yield (t_ns, events) of all files, merged by time; `t_ns` never decreases.

    Raises:
        FileError: at once if a file is absent or of no known format, later at the first row that is unreadable.
    """
    streams = [read_file(path) for path in paths]
    return heapq.merge(*streams, key=lambda batch: batch[0])


def read_file(path: Path) -> Batches:
    """Yield one file's (t_ns, events), `t_ns` never decreasing. Raises as `read_files`."""
    if not path.is_file():
        raise FileError(
            f"{path}: no such file; a tape is synthetic, manual, or files of recorded market data"
        )
    source = Source(path)
    name = source.plain_name
    symbol = symbol_of(name.rpartition(".")[0])
    if name.endswith((".jsonl", ".ndjson", ".json")):
        return _in_time(_later(partial(json_events, source, symbol)))
    if name.endswith(".parquet"):
        columns, rows = parquet_rows(source)
    elif name.endswith(".csv"):
        columns, rows = csv_rows(source)
    else:
        raise FileError(f"{path}: unknown kind of file; allowed: .csv, .jsonl, .json (also .gz) and .parquet")
    convert = next((convert for needed, convert in _FORMATS if needed <= set(columns)), None)
    if convert is None:
        known = "; ".join(" ".join(sorted(needed)) for needed, _ in _FORMATS)
        found = f"columns {' '.join(columns)}" if any(columns) else "no columns: the file is empty"
        raise FileError(f"{path}:1: {found}; allowed are files with all of: {known}")
    return _in_time(_later(partial(convert, source, rows, _named(symbol))))


def symbol_of(name: str) -> str:
    """Return the venue's symbol for a recording's name or a file's without its ending: "BAC_2013" BAC, "btcusdt" BTC/USD."""
    word = name.split("_", maxsplit=1)[0].upper()
    for currency in CRYPTO_QUOTES:
        coin = word.removesuffix(currency)
        if "/" not in word and coin not in {word, ""}:
            return f"{coin}/USD"
    return word


def _named(symbol: str) -> Named:
    """Return what names a row's symbol: its own column, or else the file."""

    def named(row: Row) -> str:
        own = row.get("symbol")
        return symbol_of(own) if own else symbol

    return named


def _later(events: Callable[[], Iterable[MarketEvent]]) -> Iterator[MarketEvent]:
    """Begin reading when the first event is asked for, not when the tape is put together."""
    yield from events()


def _in_time(events: Iterable[MarketEvent]) -> Batches:
    """Pair events with the time they are due; late quotes go, late trades stay where they are and say so."""
    due_ns = 0
    for event in events:
        if event.t_ns >= due_ns:
            due_ns = event.t_ns
            yield due_ns, (event,)
        elif isinstance(event, Trade):
            yield due_ns, (_late(event),)
        elif not isinstance(event, Quote):
            yield due_ns, (event,)


def _late(trade: Trade) -> Trade:
    if "Z" in trade.conditions:
        return trade
    conditions = (*trade.conditions, "Z")
    return Trade(
        trade.symbol, trade.price, trade.size, trade.t_ns, trade.trade_id, trade.exchange, conditions
    )


_BAR = {"open", "high", "low", "close", "volume"}
_QUOTE_BAR = {
    f"{side}_{part}" for side in ("bid", "ask") for part in ("open", "high", "low", "close", "size")
}
_ROW = {"kind", "flags", "exchange", "price", "size", "price2", "size2", "venue_ns", "recv_ns", "trade_id"}
_FORMATS: tuple[tuple[set[str], Callable[[Source, NumberedRows, Named], Iterator[MarketEvent]]], ...] = (
    ({"symbol", *_ROW}, recorded_rows),
    ({"ts_local_ns", "symbol", "trade_id", "price", "qty", "taker_side"}, crypto_trades),
    ({"ts_local_ns", "symbol", "bid", "bid_qty", "ask", "ask_qty"}, crypto_quotes),
    ({"ts_ms_utc", "price", "size", "exchange", "sale_condition", "suspicious"}, equity_trades),
    ({"ts_ms_utc", "bid", "bid_size", "ask", "ask_size", "exchange", "suspicious"}, equity_quotes),
    ({"ts_ms_utc", *_QUOTE_BAR}, quote_bars),
    ({"ts_ms_utc", *_BAR}, trade_bars),
    ({"timestamp", *_BAR}, trade_bars),
    ({"timestamp", "price", "size"}, frame_trades),
    ({"timestamp", "bid_price", "bid_size", "ask_price", "ask_size"}, frame_quotes),
)
