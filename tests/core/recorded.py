"""The recorded series of ../shared/data as arrays: bars of every file that has them, and trades. Not a test."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hands.core.market import RowFlag, RowKind, new_rows

S = 10**9


class BarSeries(NamedTuple):
    """Bars of one interval; the columns are arrays of the same length."""

    interval_s: int
    start_ns: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray


class TradeSeries(NamedTuple):
    """Trades in the order of the file; conditions are LEAN's bits, 0 for crypto."""

    venue_ns: np.ndarray
    price: np.ndarray
    size: np.ndarray
    conditions: np.ndarray


def _lines(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


@lru_cache(maxsize=1)
def bar_series(data: Path) -> dict[str, BarSeries]:
    """Return every series of bars there is, by name: trades as they are, quotes once for each side. Not to be changed."""
    return dict(_bar_series(data))


def _bar_series(data: Path) -> Iterator[tuple[str, BarSeries]]:
    for path in sorted(data.glob("*/1min/*.csv.gz")):
        lines = _lines(path)
        starts = [int(datetime.fromisoformat(line["timestamp"]).timestamp()) * S for line in lines]
        yield path.name, _bars(60, starts, lines, "", "volume")
    for kind, interval_s in (("minute", 60), ("second", 1)):
        for path in sorted((data / "equity" / kind).glob("*.csv.gz")):
            lines = _lines(path)
            for symbol in sorted({line["symbol"] for line in lines}):
                chosen = [line for line in lines if line["symbol"] == symbol]
                starts = [int(line["ts_ms_utc"]) * 10**6 for line in chosen]
                if "open" in chosen[0]:
                    yield f"{path.name} {symbol}", _bars(interval_s, starts, chosen, "", "volume")
                    continue
                for side in ("bid", "ask"):
                    name = f"{path.name} {symbol} {side}"
                    yield name, _bars(interval_s, starts, chosen, f"{side}_", f"{side}_size")


def _bars(
    interval_s: int, starts: list[int], lines: list[dict[str, str]], prefix: str, volume: str
) -> BarSeries:
    columns = [[float(line[prefix + name]) for line in lines] for name in ("open", "high", "low", "close")]
    columns.append([float(line[volume]) for line in lines])
    kept = (np.array(columns[:4]) > 0).all(axis=0)  # a side of a quote may be missing
    return BarSeries(interval_s, np.array(starts)[kept], *(np.array(column)[kept] for column in columns))


@lru_cache(maxsize=1)
def trade_series(data: Path) -> dict[str, TradeSeries]:
    """Return every series of trades there is, by name. Not to be changed."""
    return dict(_trade_series(data))


def _trade_series(data: Path) -> Iterator[tuple[str, TradeSeries]]:
    for path in sorted(data.glob("*/ticks/*_trades.csv.gz")):
        lines = _lines(path)
        size = "qty" if "qty" in lines[0] else "size"
        time = "ts_exch_ms" if "ts_exch_ms" in lines[0] else "ts_ms_utc"
        yield (
            path.name,
            TradeSeries(
                np.array([int(line[time]) for line in lines]) * 10**6,
                np.array([float(line["price"]) for line in lines]),
                np.array([float(line[size]) for line in lines]),
                np.array([int(line.get("sale_condition") or "0", 16) for line in lines]),
            ),
        )


def rows_of_bars(series: BarSeries) -> np.ndarray:
    """Return four trades a bar that make its prices; its volume is the last one's."""
    rows = new_rows(4 * len(series.close))
    rows["kind"], rows["flags"] = RowKind.TRADE, RowFlag.ELIGIBLE
    parts = rows.reshape(-1, 4)
    parts["price"] = np.stack([series.open, series.high, series.low, series.close], axis=1)
    parts["size"][:, 3] = series.volume
    parts["venue_ns"] = series.start_ns[:, None]
    return rows


def rows_of_trades(series: TradeSeries) -> np.ndarray:
    rows = new_rows(len(series.price))
    rows["kind"], rows["flags"] = RowKind.TRADE, RowFlag.ELIGIBLE
    rows["price"], rows["size"], rows["venue_ns"] = series.price, series.size, series.venue_ns
    return rows
