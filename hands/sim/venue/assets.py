"""What can be traded: equities and coins with their increments, found by symbol, joined symbol or id.

Owns the static facts of an asset. Ids are derived from symbols, so that they are the same in every run.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from hands.core.units import NANO, Price, Qty, equity_tick, nano
from hands.core.vocab import AssetClass
from hands.sim.venue import errors

_NAMESPACE: Final = uuid.UUID("6f1d3f2e-5d0b-4d1c-9a52-6d0f5b6f8a10")

_EQUITIES: Final = {
    "AAPL": ("NASDAQ", "Apple Inc. Common Stock"),
    "SPY": ("ARCA", "SPDR S&P 500 ETF Trust"),
    "MSFT": ("NASDAQ", "Microsoft Corporation Common Stock"),
    "BAC": ("NYSE", "Bank of America Corporation Common Stock"),
    "TSLA": ("NASDAQ", "Tesla, Inc. Common Stock"),
    "NVDA": ("NASDAQ", "NVIDIA Corporation Common Stock"),
    "FAKEPACA": ("NASDAQ", "The test feed's stock"),
}
# symbol: name, min_order_size, price_increment
_COINS: Final = {
    "BTC/USD": ("Bitcoin / US Dollar", "0.000015739", "0.01"),
    "ETH/USD": ("Ethereum / US Dollar", "0.000389105", "0.01"),
    "SOL/USD": ("Solana / US Dollar", "0.006644518", "0.001"),
}
_OTHER_COIN_MIN_ORDER_SIZE: Final = "0.001"
_OTHER_COIN_PRICE_INCREMENT: Final = "0.0001"


@dataclass(frozen=True, slots=True)
class Asset:
    """One tradable instrument. Increments and sizes in nano-units; they matter for crypto only."""

    symbol: str
    asset_id: str
    asset_class: AssetClass
    exchange: str
    name: str
    shortable: bool
    fractionable: bool
    marginable: bool
    min_order_size: Qty
    min_trade_increment: Qty
    price_increment: Price

    @property
    def is_crypto(self) -> bool:
        return self.asset_class is AssetClass.CRYPTO

    @property
    def joined_symbol(self) -> str:
        """The symbol as positions report it ("BTCUSD")."""
        return self.symbol.replace("/", "")

    @property
    def coin(self) -> str:
        """The code of what is bought ("BTC" of "BTC/USD")."""
        return self.symbol.partition("/")[0]

    def tick(self, price: int) -> Price:
        """Return the price increment at `price`."""
        return self.price_increment if self.is_crypto else equity_tick(price)


def asset_for(symbol: str) -> Asset:
    """Return the asset `symbol` names; a pair with a slash is a coin, anything else a share."""
    asset_id = str(uuid.uuid5(_NAMESPACE, symbol))
    if "/" in symbol:
        name, minimum, increment = _COINS.get(
            symbol, (symbol, _OTHER_COIN_MIN_ORDER_SIZE, _OTHER_COIN_PRICE_INCREMENT)
        )
        return Asset(
            symbol,
            asset_id,
            AssetClass.CRYPTO,
            "CRYPTO",
            name,
            shortable=False,
            fractionable=True,
            marginable=False,
            min_order_size=Qty(nano(minimum)),
            min_trade_increment=Qty(1),
            price_increment=Price(nano(increment)),
        )
    exchange, name = _EQUITIES.get(symbol, ("NASDAQ", symbol))
    return Asset(
        symbol,
        asset_id,
        AssetClass.EQUITY,
        exchange,
        name,
        shortable=True,
        fractionable=True,
        marginable=True,
        min_order_size=Qty(NANO),
        min_trade_increment=Qty(NANO),
        price_increment=Price(NANO // 100),
    )


class AssetTable:
    """Every asset of this exchange; symbols on the tape that were never listed are added as they appear."""

    def __init__(self, symbols: Iterable[str] = ()) -> None:
        self._by_key: dict[str, Asset] = {}
        self._assets: dict[str, Asset] = {}
        for symbol in (*_EQUITIES, *_COINS, *symbols):
            self.add(symbol)

    def __iter__(self) -> Iterator[Asset]:
        return iter(self._assets.values())

    def add(self, symbol: str) -> Asset:
        """Return the asset of `symbol`, listing it if it is new."""
        asset = self._assets.get(symbol)
        if asset is None:
            asset = self._assets[symbol] = asset_for(symbol)
            for key in (symbol, asset.joined_symbol, asset.asset_id):
                self._by_key.setdefault(key, asset)
        return asset

    def find(self, key: str) -> Asset | None:
        """Return the asset with this symbol ("BTC/USD" or "BTCUSD") or id, or None."""
        return self._by_key.get(key)

    def get(self, key: str) -> Asset:
        """Return the asset an order names. Raises `VenueError` 422 if there is none."""
        asset = self._by_key.get(key)
        if asset is None:
            raise errors.rule(f'asset "{key}" not found')
        return asset
