"""What a market is made of, on the exchange's side: quotes and trades as exact integers."""

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


Tick = Quote | Trade
