"""What a market is made of, on the exchange's side: quotes, trades and the notices about them, as exact integers.

A `Tick` moves the market: the exchange matches against it. A `Notice` says something about it: a print that was
wrong, a halt, price bands. Streams publish both; what a notice does to matching is the exchange's business.
"""

from __future__ import annotations

from dataclasses import dataclass

from hands.core.units import Ns, Price, Qty


@dataclass(frozen=True, slots=True)
class Quote:
    """The national best bid and offer of `symbol` at exchange time `t_ns`; sizes in nano-units (shares, coins)."""

    symbol: str
    bid: Price
    ask: Price
    bid_size: Qty
    ask_size: Qty
    t_ns: Ns


@dataclass(frozen=True, slots=True)
class Trade:
    """One print on the tape at exchange time `t_ns`; `trade_id` is unique per symbol and day."""

    symbol: str
    price: Price
    size: Qty
    t_ns: Ns
    trade_id: int
    exchange: str = "V"
    conditions: tuple[str, ...] = ("@",)


@dataclass(frozen=True, slots=True)
class Correction:
    """A print that was wrong, and what it should have been (the stream's `c`); sizes in nano-units."""

    symbol: str
    original: Trade
    corrected: Trade
    t_ns: Ns


@dataclass(frozen=True, slots=True)
class Cancellation:
    """A print that never was (the stream's `x`): `action` "C" canceled, "E" error."""

    symbol: str
    trade: Trade
    t_ns: Ns
    action: str = "C"


@dataclass(frozen=True, slots=True)
class Status:
    """A trading status (the stream's `s`): codes and their words as the tapes write them ("H", "T", "P", ...)."""

    symbol: str
    status_code: str
    status_message: str
    reason_code: str
    reason_message: str
    t_ns: Ns

    @property
    def is_halt(self) -> bool:
        """Whether trading stands still from now on; "T" (resumed) and the quotation codes do not halt it."""
        return self.status_code in {"H", "P", "2"}

    @property
    def is_resumption(self) -> bool:
        """Whether trading goes on from now on: "T", or "3" on the tapes A and B."""
        return self.status_code in {"T", "3"}


@dataclass(frozen=True, slots=True)
class PriceBand:
    """Limit-up limit-down bands (the stream's `l`)."""

    symbol: str
    limit_up: Price
    limit_down: Price
    indicator: str
    t_ns: Ns


Tick = Quote | Trade
Notice = Correction | Cancellation | Status | PriceBand
MarketEvent = Tick | Notice
