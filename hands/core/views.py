"""What is read of the market: small immutable values, in which a missing number is `None`.

Owns their shapes, and the one that is read off the table of triggers; `market` makes the others.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from hands.core.triggers import FIXED, TriggerDirection, TriggerOn, trailing_level
from hands.core.units import Price


class QuoteView(msgspec.Struct, frozen=True, gc=False):
    """The current quote; a missing side is `None` with size 0. Prices are exact (see `Market.quote`)."""

    bid: Price | None
    ask: Price | None
    bid_size: float
    ask_size: float
    venue_ns: int
    recv_ns: int


class TradeView(msgspec.Struct, frozen=True, gc=False):
    """The last eligible trade that was in sequence."""

    price: Price
    size: float
    venue_ns: int
    recv_ns: int
    trade_id: int


class TriggerView(msgspec.Struct, frozen=True, gc=False):
    """An armed trigger: where it fires now. `best` is what a trailing one follows, `None` before its first price.

    `level` is `None` too then; a fixed trigger has a level and no `best`.
    """

    sym: int
    on: TriggerOn
    direction: TriggerDirection
    level: float | None
    best: float | None


def trigger_view(table: np.ndarray, slot: int) -> TriggerView:
    """Return the view of an armed trigger."""
    armed = table[slot]
    level, best = float(armed["level"]), None
    if armed["trails"] != FIXED:
        level, best = trailing_level(table, slot)
    return TriggerView(
        int(armed["sym"]),
        TriggerOn(int(armed["on"])),
        TriggerDirection(int(armed["direction"])),
        level if math.isfinite(level) else None,
        best if best is not None and math.isfinite(best) else None,
    )


class Checkpoint(msgspec.Struct, frozen=True, gc=False):
    """A symbol's state after a row, to go back to (`Market.rebuild`): everything but its bars and triggers.

    `seen_ns` is the newest time it had seen: what came later by that clock is to be replayed.
    """

    sym: int
    seen_ns: int
    symbol: bytes
    series: bytes


class SnapshotHead(msgspec.Struct, frozen=True):
    """The first line of a snapshot: what the bytes behind it are, in which layout; `table` is how many triggers."""

    v: int
    layout: str
    symbols: tuple[str, ...]
    intervals_s: tuple[int, ...]
    rows_seen: int
    table: int

    @classmethod
    def read(cls, line: bytes) -> SnapshotHead | None:
        """Return what a first line says, None where it is none."""
        try:
            return msgspec.json.decode(line, type=cls)
        except msgspec.DecodeError:
            return None
