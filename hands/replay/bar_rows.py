"""Recorded bars as rows: the prints, or quotes, that the simulator plays a bar as, for whole files at once.

Owns the path a price takes through its bar, in arrays. The rules are the simulator's (`hands.sim.market.bar_prints`):
up to four prints at the quarters of a bar, its volume shared between them; a bar lasts as long as the smallest distance
between two bars of one symbol, a minute if there are none. May not read a file.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from hands.core.rows import exchange_of
from hands.core.units import NANO, NS_PER_MS, NS_PER_S
from hands.replay.columns import ELIGIBLE, Naming, quotes, trades
from hands.replay.tables import Columns, NotPlain
from hands.sim.market.times import MINUTE_NS

UNITS_MAX: Final = 2**53
"""Beyond so many nano-units a float does not tell each of them any more."""


def bar_rows(naming: Naming, columns: Columns, numbers: np.ndarray | None = None) -> np.ndarray:
    """Return the rows of a file of bars, all of it, in the order in which they are played; without `recv_ns`.

    `numbers` are those of the bars' symbols, where no column says them.

    Raises:
        NotPlain: a bar whose prices contradict each other, or more volume than fits.
    """
    start_ns = columns["timestamp"] if "timestamp" in columns else columns["ts_ms_utc"] * NS_PER_MS
    if numbers is None:
        numbers = naming.numbers(columns, len(start_ns))
    order = np.argsort(start_ns, kind="stable")
    sorted_columns = {name: columns[name][order] for name in columns if name not in _NOT_NUMBERS}
    start_ns, numbers = start_ns[order], numbers[order]
    length_ns = bar_length_ns(numbers, start_ns)
    make = _quotes if "bid_open" in columns else _prints
    rows, starts = make(naming, numbers, start_ns, length_ns, sorted_columns)
    # Bars that start together are interleaved; of those that start later no print comes earlier.
    return rows[np.lexsort((rows["venue_ns"], starts))]


_NOT_NUMBERS: Final = frozenset({"symbol", "timestamp", "ts_ms_utc"})


def bar_length_ns(numbers: np.ndarray, start_ns: np.ndarray) -> int:
    """Return the smallest distance between two bars of one symbol, given by time; a minute if there is none."""
    order = np.argsort(numbers, kind="stable")
    distance_ns = np.diff(start_ns[order])[np.diff(numbers[order]) == 0]
    distance_ns = distance_ns[distance_ns > 0]
    return int(distance_ns.min()) if len(distance_ns) else MINUTE_NS


def _prints(
    naming: Naming, numbers: np.ndarray, start_ns: np.ndarray, length_ns: int, columns: Columns
) -> tuple[np.ndarray, np.ndarray]:
    """Return the prints of bars of trades, bar by bar, and each one's bar's start."""
    first, high, low, last = (columns[name] for name in ("open", "high", "low", "close"))
    if not ((low <= np.minimum(first, last)) & (np.maximum(first, last) <= high)).all():
        raise NotPlain
    rose = last >= first
    path = np.stack([first, np.where(rose, low, high), np.where(rose, high, low), last], axis=1)
    kept = np.ones(path.shape, bool)
    kept[:, 1:] = path[:, 1:] != path[:, :-1]
    count = kept.sum(axis=1)
    volume = _nano(columns["volume"])
    if (naming.is_coin[numbers] & (volume >= UNITS_MAX)).any():
        raise NotPlain
    unit = np.where(naming.is_coin[numbers], 1, NANO)
    share = volume // count
    share = np.maximum(share - share % unit, unit)
    size = np.repeat(share[:, None], 4, axis=1)
    number = np.cumsum(kept, axis=1) - 1
    ends = kept & (number == (count - 1)[:, None])
    size[ends] = np.maximum(volume - share * (count - 1), unit)
    kept &= (volume > 0)[:, None]
    bars, steps = np.nonzero(kept)
    t_ns = start_ns[bars]
    rows = trades(
        numbers[bars], t_ns + steps * length_ns // 4, path[kept], size[kept] / NANO,
        trade_id=t_ns // NS_PER_S * 4 + number[kept], flags=np.full(len(t_ns), ELIGIBLE, "u1"),
        exchange=np.where(naming.is_coin[numbers[bars]], 0, exchange_of("V")),
    )  # fmt: skip
    return rows, t_ns


def _quotes(
    naming: Naming,  # noqa: ARG001  as `_prints`
    numbers: np.ndarray,
    start_ns: np.ndarray,
    length_ns: int,
    columns: Columns,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the quotes of bars of quotes, bar by bar, and each one's bar's start."""
    rose = columns["bid_close"] >= columns["bid_open"]

    def path(side: str) -> np.ndarray:
        first, high, low, last = (columns[f"{side}_{part}"] for part in ("open", "high", "low", "close"))
        return np.stack([first, np.where(rose, low, high), np.where(rose, high, low), last], axis=1)

    bid, ask = path("bid"), path("ask")
    kept = ((bid > 0) | (ask > 0)) & ((bid == 0) | (ask == 0) | (bid < ask))
    bars, steps = np.nonzero(kept)
    t_ns = start_ns[bars]
    rows = quotes(
        numbers[bars], t_ns + steps * length_ns // 4, bid[kept], columns["bid_size"][bars], ask[kept],
        columns["ask_size"][bars],
    )  # fmt: skip
    return rows, t_ns


def _nano(amounts: np.ndarray) -> np.ndarray:
    """Return amounts in nano-units. Raises NotPlain: more than integers of 64 bits and floats can tell exactly."""
    if len(amounts) and float(amounts.max()) >= 2**62 / NANO:
        raise NotPlain
    whole = np.floor(amounts)
    fraction = np.rint((amounts - whole) * NANO)
    found: np.ndarray = whole.astype("i8") * NANO + fraction.astype("i8")
    if (found / NANO != amounts).any():
        raise NotPlain
    return found
