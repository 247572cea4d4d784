"""The notices around a limit-up limit-down pause, in the words of the tape that the stock is reported on.

Owns codes and words only; when a symbol pauses is the regime's. The two tape plans name the same thing differently:
New York's (tapes A and B) has the numbers 2 and 3 for halt and resume, Nasdaq's (C) has P and T.
"""

from __future__ import annotations

from typing import Final

from hands.core.units import NANO, Ns, Price, floor_to
from hands.sim.market.regimes import BAND
from hands.sim.market.tape_codes import listing_tape
from hands.sim.venue.ticks import PriceBand, Status

OPENING, INTRADAY, DURING_PAUSE, REOPENING = "A", "B", "D", "E"
"""What a price band is said to be (the stream's `i`)."""

REOPENING_PRINT: Final = "5"
"""The sale condition of the first trade after a pause."""

_PAUSE_CODES: Final = {"C": ("P", "Volatility Trading Pause", "LUDP", "Volatility Trading Pause")}
_PAUSE_CODE_CTA: Final = ("2", "Trading Halt", "M", "Volatility Trading Pause")
# The reasons given with a resumption are unconfirmed: some tell again why trading stood still, some nothing.
_RESUME_CODES: Final = {"C": ("T", "Trading Resumption", "LUDP", "Volatility Trading Pause")}
_RESUME_CODE_CTA: Final = ("3", "Resume", "", "")


def pause(symbol: str, t_ns: Ns) -> Status:
    """Return the notice that trading of `symbol` stands still."""
    return Status(symbol, *_PAUSE_CODES.get(listing_tape(symbol), _PAUSE_CODE_CTA), t_ns)


def resumption(symbol: str, t_ns: Ns) -> Status:
    """Return the notice that `symbol` trades again."""
    return Status(symbol, *_RESUME_CODES.get(listing_tape(symbol), _RESUME_CODE_CTA), t_ns)


def bands(symbol: str, reference_usd: float, tick: int, indicator: str, t_ns: Ns) -> PriceBand:
    """Return the price bands around a reference price, rounded inwards to whole ticks."""
    up = floor_to(int(reference_usd * (1 + BAND) * NANO), tick)
    down = floor_to(int(reference_usd * (1 - BAND) * NANO), tick) + tick
    return PriceBand(symbol, Price(up), Price(down), indicator, t_ns)
