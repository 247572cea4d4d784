"""What can be traded: equities and coins with their increments, found by symbol, joined symbol or id.

Owns the facts of an asset and what may be changed about one. Ids are derived from symbols, so that they are the
same in every run. Most listed equities are ordinary; a few have each one habit that orders trip over: GME is
hard to borrow, BRK.A cannot be bought in parts, MULN trades below a dollar and cannot be shorted, UVXY is a
publicly traded partnership, MKR/USD is no longer traded.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from hands.core.units import NANO, NumberError, Price, Qty, equity_tick, nano
from hands.core.vocab import AssetClass
from hands.sim.venue import errors

_NAMESPACE: Final = uuid.UUID("6f1d3f2e-5d0b-4d1c-9a52-6d0f5b6f8a10")

ACTIVE: Final = "active"
PTP_NO_EXCEPTION: Final = "ptp_no_exception"
ATTRIBUTES: Final = (
    PTP_NO_EXCEPTION,
    "ptp_with_exception",
    "ipo",
    "has_options",
    "options_late_close",
    "fractional_eh_enabled",
    "overnight_tradable",
    "overnight_halted",
)
"""What `attributes` may hold, as the venue's schema lists it."""
_LIQUID: Final = ("has_options", "fractional_eh_enabled", "overnight_tradable")

_EQUITIES: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "AAPL": ("NASDAQ", "Apple Inc. Common Stock", {"attributes": _LIQUID}),
    "SPY": ("ARCA", "SPDR S&P 500 ETF Trust", {"attributes": (*_LIQUID, "options_late_close")}),
    "MSFT": ("NASDAQ", "Microsoft Corporation Common Stock", {"attributes": _LIQUID}),
    "BAC": ("NYSE", "Bank of America Corporation Common Stock", {"attributes": _LIQUID}),
    "TSLA": ("NASDAQ", "Tesla, Inc. Common Stock", {"attributes": _LIQUID}),
    "NVDA": ("NASDAQ", "NVIDIA Corporation Common Stock", {"attributes": _LIQUID}),
    "FAKEPACA": ("NASDAQ", "The test feed's stock", {}),
    "GME": ("NYSE", "GameStop Corp. Class A", {"easy_to_borrow": False, "attributes": ("has_options",)}),
    "BRK.A": ("NYSE", "Berkshire Hathaway Inc. Class A", {"fractionable": False}),
    "MULN": (
        "NASDAQ",
        "Mullen Automotive, Inc. Common Stock",
        {"shortable": False, "easy_to_borrow": False, "marginable": False},
    ),
    "UVXY": (
        "BATS",
        "ProShares Ultra VIX Short-Term Futures ETF",
        {"attributes": (PTP_NO_EXCEPTION, "has_options")},
    ),
}
# symbol: name, min_order_size, price_increment, what is out of the ordinary
_COINS: Final[dict[str, tuple[str, str, str, dict[str, Any]]]] = {
    "BTC/USD": ("Bitcoin / US Dollar", "0.000015739", "0.01", {}),
    "ETH/USD": ("Ethereum / US Dollar", "0.000389105", "0.01", {}),
    "SOL/USD": ("Solana / US Dollar", "0.006644518", "0.001", {}),
    "MKR/USD": ("Maker / US Dollar", "0.000621504", "0.5", {"status": "inactive", "tradable": False}),
}
_OTHER_COIN_MIN_ORDER_SIZE: Final = "0.001"
_OTHER_COIN_PRICE_INCREMENT: Final = "0.0001"


class AssetError(ValueError):
    """A change that cannot be made to an asset; the message says what was found and what is allowed."""


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
    easy_to_borrow: bool
    status: str = ACTIVE
    tradable: bool = True
    attributes: tuple[str, ...] = ()

    @property
    def is_crypto(self) -> bool:
        return self.asset_class is AssetClass.CRYPTO

    @property
    def is_active(self) -> bool:
        return self.status == ACTIVE

    @property
    def is_hard_to_borrow(self) -> bool:
        """Shares to sell short must be located first; not the same as what cannot be shorted at all."""
        return not self.is_crypto and self.shortable and not self.easy_to_borrow

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
        name, minimum, increment, special = _COINS.get(
            symbol, (symbol, _OTHER_COIN_MIN_ORDER_SIZE, _OTHER_COIN_PRICE_INCREMENT, {})
        )
        ordinary = Asset(
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
            easy_to_borrow=False,
        )
    else:
        exchange, name, special = _EQUITIES.get(symbol, ("NASDAQ", symbol, {}))
        ordinary = Asset(
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
            easy_to_borrow=True,
        )
    return dataclasses.replace(ordinary, **special)


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
            asset = self._list(asset_for(symbol))
        return asset

    def rename(self, asset: Asset, new_symbol: str) -> Asset:
        """Take `asset` out of trade and return what it goes on as: the same facts under another symbol and id."""
        successor = self._assets.get(new_symbol)
        if successor is None:
            asset_id = asset_for(new_symbol).asset_id
            successor = self._list(dataclasses.replace(asset, symbol=new_symbol, asset_id=asset_id))
        self.change(asset.symbol, status="inactive", tradable=False)
        return successor

    def change(self, symbol: str, /, **changes: Any) -> Asset:
        """Change facts of a listed asset from now on and return it; orders taken before keep what they knew.

        `status`, `name`: text; `tradable`, `marginable`, `shortable`, `easy_to_borrow`, `fractionable`: booleans;
        `attributes`: a list of the venue's words; `min_order_size`, `min_trade_increment`, `price_increment`:
        decimal text.

        Raises:
            AssetError: no such asset or fact, or a value that it cannot have.
        """
        asset = self._by_key.get(symbol)
        if asset is None:
            raise AssetError(f"no asset {symbol!r}")
        return self._list(dataclasses.replace(asset, **{k: _fact(k, v) for k, v in changes.items()}))

    def find(self, key: str) -> Asset | None:
        """Return the asset with this symbol ("BTC/USD" or "BTCUSD") or id, or None."""
        return self._by_key.get(key)

    def get(self, key: str) -> Asset:
        """Return the asset an order names. Raises `VenueError` 422 if there is none."""
        asset = self._by_key.get(key)
        if asset is None:
            raise errors.rule(f'asset "{key}" not found')
        return asset

    def _list(self, asset: Asset) -> Asset:
        self._assets[asset.symbol] = asset
        for key in (asset.symbol, asset.joined_symbol, asset.asset_id):
            known = self._by_key.get(key)
            if known is None or known.symbol == asset.symbol:
                self._by_key[key] = asset
        return asset


_BOOLEANS: Final = ("tradable", "marginable", "shortable", "easy_to_borrow", "fractionable")
_AMOUNTS: Final = ("min_order_size", "min_trade_increment", "price_increment")
_CHANGEABLE: Final = ("status", "name", "attributes", *_BOOLEANS, *_AMOUNTS)


def _fact(name: str, value: Any) -> Any:
    """Return a changed fact as `Asset` holds it. Raises `AssetError`."""
    if name not in _CHANGEABLE:
        raise AssetError(f"an asset has no {name!r} to change; there are {', '.join(_CHANGEABLE)}")
    if name in _BOOLEANS and isinstance(value, bool):
        return value
    if name == "status" and value in (ACTIVE, "inactive"):
        return value
    if name == "name" and isinstance(value, str) and value:
        return value
    if name == "attributes" and isinstance(value, (list, tuple)) and all(a in ATTRIBUTES for a in value):
        return tuple(value)
    if name in _AMOUNTS and isinstance(value, str):
        try:
            amount = nano(value)
        except NumberError as error:
            raise AssetError(f"{name}: {error}") from error
        if amount > 0:
            return amount
    raise AssetError(f"{name} cannot be {value!r}")
