"""nautilus_trader's backtest over a market's rows: RSI and MACD of every share on its trade ticks, and no orders.

Owns the peer alone, so that nothing is imported where it is not installed. Ticks are made and added beforehand; what is
timed is `BacktestEngine.run`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.indicators import MovingAverageConvergenceDivergence, RelativeStrengthIndex
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import QuoteTick, TradeTick
from nautilus_trader.model.enums import AccountType, AggressorSide, OmsType
from nautilus_trader.model.identifiers import TradeId, Venue
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy

from hands.core.rows import RowKind


class _Config(StrategyConfig, frozen=True):  # type: ignore[misc, call-arg]
    pass


class _Watcher(Strategy):  # type: ignore[misc]
    """Has the indicators kept up to date and does nothing."""

    def __init__(self, instruments: Sequence[Any]) -> None:
        super().__init__(_Config())
        self.instruments = instruments
        self.ticks = 0
        self.kept = {
            instrument.id: (RelativeStrengthIndex(14), MovingAverageConvergenceDivergence(12, 26))
            for instrument in instruments
        }

    def on_start(self) -> None:
        for instrument in self.instruments:
            self.subscribe_trade_ticks(instrument.id)
            self.subscribe_quote_ticks(instrument.id)

    def on_trade_tick(self, tick: TradeTick) -> None:
        self.ticks += 1
        rsi, macd = self.kept[tick.instrument_id]
        price = tick.price.as_double()
        rsi.update_raw(price)  # neither of them takes a trade tick by itself
        macd.update_raw(price)

    def on_quote_tick(self, tick: QuoteTick) -> None:  # noqa: ARG002
        self.ticks += 1


def ticks_per_s(rows: np.ndarray, symbols: Sequence[str]) -> float:
    """Return how many rows a second its engine plays."""
    instruments = [TestInstrumentProvider.equity(symbol=symbol, venue="SIM") for symbol in symbols]
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        venue=Venue("SIM"),
        oms_type=OmsType.NETTING,
        account_type=AccountType.CASH,
        base_currency=USD,
        starting_balances=[Money(1_000_000, USD)],
    )
    for instrument in instruments:
        engine.add_instrument(instrument)
    engine.add_data(_ticks(rows, [instrument.id for instrument in instruments]))
    watcher = _Watcher(instruments)
    engine.add_strategy(watcher)
    began = time.perf_counter()
    engine.run()
    took_s = time.perf_counter() - began
    if watcher.ticks != len(rows) or not all(
        each.initialized for both in watcher.kept.values() for each in both
    ):
        raise AssertionError(f"{watcher.ticks} of {len(rows)} ticks reached the strategy")
    engine.dispose()
    return len(rows) / took_s


def _ticks(rows: np.ndarray, ids: Sequence[Any]) -> list[QuoteTick | TradeTick]:
    return [
        QuoteTick(
            ids[sym], Price(price, 2), Price(price2, 2), Quantity(size, 0), Quantity(size2, 0), at_ns, at_ns
        )
        if kind == RowKind.QUOTE
        else TradeTick(
            ids[sym], Price(price, 2), Quantity(size, 0), AggressorSide.NO_AGGRESSOR, TradeId(str(number)), at_ns, at_ns
        )
        for sym, kind, price, size, price2, size2, at_ns, number in zip(
            *(
                rows[name].tolist()
                for name in ("sym", "kind", "price", "size", "price2", "size2", "recv_ns", "trade_id")
            ),
            strict=True,
        )
    ]  # fmt: skip
