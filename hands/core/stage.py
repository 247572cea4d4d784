"""A symbol's state made anew beside the market, some rows at a time, and put in its place at the end.

Owns the copy until then. May not touch the market before `adopt`: it goes on consuming rows meanwhile.
The one idea: `Market.rebuild` lets all rows since a checkpoint come again in one call, which for a busy symbol takes
milliseconds. Here they come again in as many calls as their owner likes, and only the rows that came in the meantime are
left for the last one.
"""

from __future__ import annotations

import msgspec
import numpy as np

from hands.core import triggers
from hands.core.bars import SERIES, SPARE
from hands.core.kernel import SYMBOL
from hands.core.market import Checkpoint, Market

_TOLD = ["told_at_ns", "told_period_ns"]


class Stage:
    """One symbol of `market` as it was at `checkpoint`; `replay` what should have come since, then `adopt`.

    `copy` is a market of that symbol alone, its number 0.
    """

    def __init__(self, market: Market, checkpoint: Checkpoint) -> None:
        """Raises ValueError: more bars have closed since the checkpoint than are kept beyond those that can be read."""
        sym = checkpoint.sym
        self._sym = sym
        self._market = market
        self.copy = Market(market.symbols[sym : sym + 1], market.intervals_s)
        live, live_series, live_bars = market.records(sym)
        symbol, series, bars = self.copy.records(0)
        then = np.frombuffer(checkpoint.series, SERIES)
        closed = int((live_series["count"][1:] - then["count"][1:]).max())
        if closed > SPARE:
            raise ValueError(f"{closed} bars have closed since the checkpoint; at most {SPARE}")
        symbol[:] = np.frombuffer(checkpoint.symbol, SYMBOL)
        series[:] = then
        bars[:] = live_bars
        triggers.clear_watch(symbol["watch"])
        told = live[0]["reset"][_TOLD].item()
        if told != symbol[0]["reset"][_TOLD].item():
            self.copy.set_session(0, *told)

    def replay(self, rows: np.ndarray) -> None:
        """Let rows of the symbol come again; `rows` are the caller's copies, and changed. Raises TypeError as `consume`."""
        rows["sym"] = 0
        self.copy.consume(rows, 0, len(rows))

    def adopt(self, rows: np.ndarray) -> None:
        """Put the state in its place after `rows`, the last; as `Market.rebuild` from there."""
        _, live_series, live_bars = self._market.records(self._sym)
        _, series, bars = self.copy.records(0)
        live_series[:], live_bars[:] = series, bars
        now = self.copy.checkpoint(0)
        self._market.rebuild(msgspec.structs.replace(now, sym=self._sym), rows)
