"""One symbol's market state as bytes, and back: how the record of a session tells what was changed otherwise than by rows.

Owns nothing. May not change what it takes an image of. The one idea: triggers are left out on both ways; they are armed
and disarmed by decisions, which are run again.
"""

from __future__ import annotations

import numpy as np

from hands.core import triggers
from hands.core.market import Market


def image_of_symbol(market: Market, sym: int) -> bytes:
    """Return all that rows and repairs made of one symbol, as it lies in memory."""
    symbol, series, bars = market.records(sym)
    symbol = symbol.copy()
    triggers.clear_watch(symbol["watch"])
    return b"".join((symbol.tobytes(), series.tobytes(), bars.tobytes()))


def put_symbol(market: Market, sym: int, image: bytes) -> None:
    """Make one symbol what an image of it says. Raises ValueError: it is of another layout."""
    parts = market.records(sym)
    if len(image) != sum(part.nbytes for part in parts):
        raise ValueError(f"an image of {len(image)} bytes is not one of this market's symbols")
    watch = parts[0]["watch"].copy()
    for part in parts:
        part[...] = np.frombuffer(image[: part.nbytes], part.dtype).reshape(part.shape)
        image = image[part.nbytes :]
    parts[0]["watch"] = watch
