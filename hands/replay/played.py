"""Recorded files as the simulator plays them, as rows: what every quicker reader is held against, and their way out.

Owns what becomes of one event on its way to a row: what the venue's stream and the live codec together would make of it.
Notices (corrections, cancels, halts, price bands) move no market and are passed over. Slow: some hundred thousand events
a second, since each is an object.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from hands.core.rows import ROW, RowFlag, RowKind, exchange_of, new_rows
from hands.core.units import NANO
from hands.sim.market.feeds import is_crypto
from hands.sim.market.file_rows import FileError
from hands.sim.market.files import read_file
from hands.sim.market.tape_codes import listing_tape
from hands.sim.venue.ticks import MarketEvent, Quote, Trade
from hands.venues.alpaca.conditions import flags_of

AT_ONCE: Final = 1 << 14
_ELIGIBLE: Final = int(RowFlag.ELIGIBLE)
_TRADE, _QUOTE = int(RowKind.TRADE), int(RowKind.QUOTE)

Batches = Iterable[tuple[int, Sequence[MarketEvent]]]


def played_rows(batches: Batches, symbols: Sequence[str]) -> Iterator[np.ndarray]:
    """Yield the rows of what a tape plays; `recv_ns` is when each is due. Events of other symbols are passed over."""
    index = {symbol: number for number, symbol in enumerate(symbols)}
    found = (
        row
        for due_ns, events in batches
        for event in events
        if event.symbol in index and (row := _row(index[event.symbol], event, due_ns)) is not None
    )
    while some := list(itertools.islice(found, AT_ONCE)):
        rows = new_rows(len(some))  # zeros: also between the members
        for name, column in zip(ROW.names or (), zip(*some, strict=True), strict=True):
            rows[name] = column
        yield rows


def symbols_played(batches: Batches) -> set[str]:
    """Return the symbols that have quotes or prints."""
    return {event.symbol for _, events in batches for event in events if isinstance(event, Quote | Trade)}


def played_file(path: Path, symbols: Sequence[str], *, after: int = 0) -> Iterator[np.ndarray]:
    """Yield a file's rows but for the first `after`. Raises `FileError` at the first row that is unreadable."""
    try:
        for rows in played_rows(read_file(path), symbols):
            if after < len(rows):
                yield rows[after:].copy()
            after = max(0, after - len(rows))
    except OverflowError:
        raise FileError(
            f"{path}: a time or an id beyond what a row can hold; allowed are 64 bits, times until 2262"
        ) from None


def _row(number: int, event: MarketEvent, due_ns: int) -> tuple[Any, ...] | None:
    if isinstance(event, Quote):
        bid, ask = event.bid / NANO, event.ask / NANO
        sizes = event.bid_size / NANO, event.ask_size / NANO
        return number, _QUOTE, _ELIGIBLE, 0, bid, sizes[0], ask, sizes[1], event.t_ns, due_ns, 0
    if not isinstance(event, Trade):
        return None
    price, size = event.price / NANO, event.size / NANO
    flags, exchange = _ELIGIBLE, 0
    if not is_crypto(event.symbol):
        flags, exchange = flags_of(event.conditions, _tape(event.symbol)), exchange_of(event.exchange)
    return number, _TRADE, flags, exchange, price, size, 0.0, 0.0, event.t_ns, due_ns, event.trade_id


@lru_cache(maxsize=4096)
def _tape(symbol: str) -> str:
    return listing_tape(symbol)
