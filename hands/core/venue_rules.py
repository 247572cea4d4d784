"""What the venue accepts, as data: asset class x order class x type x time in force, and its minimums and fees.

Owns the engine's side of the rules; the simulator owns its own, and a test enumerates one against the other.
Sources: the venue's published order rules; see docs/architecture.md for what is configurable.
"""

from __future__ import annotations

from hands.core.units import NANO, Price, Qty, Ratio, Usd, equity_tick, floor_to
from hands.core.vocab import AssetClass, OrderClass, OrderType, TimeInForce

CRYPTO_TAKER_FEE = Ratio(2_500_000)
"""25 bps, the first tier, taken from the received asset: coins on a buy, dollars on a sale."""

CRYPTO_MIN_NOTIONAL = Usd(10 * NANO)
"""The venue's floor for an order's cost basis in crypto, whatever the asset's own minimum says."""

CRYPTO_MAX_NOTIONAL = Usd(200_000 * NANO)
"""The venue's ceiling for one crypto order."""

SELLABLE_MARGIN = Ratio(1_100_000_000)
"""A crypto position must be worth 1.1 x the minimum even at its worst exit, so that it can always be sold."""

_DAY_GTC = frozenset({TimeInForce.DAY, TimeInForce.GTC})
_CRYPTO_TIF = frozenset({TimeInForce.GTC, TimeInForce.IOC})
_SESSION_TIF = _DAY_GTC | {TimeInForce.IOC, TimeInForce.FOK}

LEGAL: dict[tuple[AssetClass, OrderClass, OrderType], frozenset[TimeInForce]] = {
    (AssetClass.EQUITY, OrderClass.SIMPLE, OrderType.MARKET): _SESSION_TIF,
    (AssetClass.EQUITY, OrderClass.SIMPLE, OrderType.LIMIT): _SESSION_TIF,
    (AssetClass.EQUITY, OrderClass.SIMPLE, OrderType.STOP): _DAY_GTC,
    (AssetClass.EQUITY, OrderClass.SIMPLE, OrderType.STOP_LIMIT): _DAY_GTC,
    (AssetClass.EQUITY, OrderClass.BRACKET, OrderType.MARKET): _DAY_GTC,
    (AssetClass.EQUITY, OrderClass.BRACKET, OrderType.LIMIT): _DAY_GTC,
    (AssetClass.EQUITY, OrderClass.OCO, OrderType.LIMIT): _DAY_GTC,
    (AssetClass.CRYPTO, OrderClass.SIMPLE, OrderType.MARKET): _CRYPTO_TIF,
    (AssetClass.CRYPTO, OrderClass.SIMPLE, OrderType.LIMIT): _CRYPTO_TIF,
    (AssetClass.CRYPTO, OrderClass.SIMPLE, OrderType.STOP_LIMIT): _CRYPTO_TIF,
}
"""Every combination the engine may send; what is not here is refused before approval."""


def illegal(
    asset_class: AssetClass,
    order_class: OrderClass,
    order_type: OrderType,
    tif: TimeInForce,
    qty: int,
    *,
    short: bool,
) -> str | None:
    """Return why the venue would refuse such an order, None if it would not."""
    allowed = LEGAL.get((asset_class, order_class, order_type))
    if allowed is None:
        return f"{asset_class} takes no {order_class} {order_type} order"
    if tif not in allowed:
        return f"{asset_class} takes no {order_class} {order_type} order with time in force {tif}"
    if short and asset_class is AssetClass.CRYPTO:
        return "crypto cannot be sold short"
    if asset_class is AssetClass.EQUITY and qty % NANO and (order_class is not OrderClass.SIMPLE or short):
        return f"{order_class} orders in equities need whole shares, not {qty / NANO:g}"
    return None


def fee_rate(asset_class: AssetClass) -> Ratio:
    """Return the share of an execution's value that the venue keeps (equities: none)."""
    return CRYPTO_TAKER_FEE if asset_class is AssetClass.CRYPTO else Ratio(0)


def price_tick(asset_class: AssetClass, price: int, increment: int | None) -> Price:
    """Return the price increment in force at `price`; `increment` is the asset's own, where it states one."""
    if asset_class is AssetClass.EQUITY:
        return equity_tick(price)
    return Price(increment or 1)


def received_qty(asset_class: AssetClass, filled: int, lot: int) -> Qty:
    """Return what a buy of `filled` leaves at worst after the fee taken in coins, floored to a lot."""
    if asset_class is AssetClass.EQUITY:
        return Qty(filled)
    return Qty(floor_to(filled * (NANO - CRYPTO_TAKER_FEE) // NANO, lot))
