"""The one place where a `ReducingOrder` is made.

Owns the proof that such an order can only make a position smaller: its side is against the holding, and it sells at
most what is held. May not know tickets or states: the engine's protection and the watchdog both make theirs here,
from what each knows of the holding. The one idea: whoever wants to send anything but an approved entry has to say
what is held, and gets an order that cannot open, enlarge or turn it.
"""

from __future__ import annotations

import msgspec

from hands.core.orders import ReducingOrder, client_order_id
from hands.core.units import Price, Qty, floor_to
from hands.core.vocab import AssetClass, Leg, OrderClass, OrderType, Side, TimeInForce


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """What one trade of ours holds: `qty` is signed (short < 0), `lot` the smallest step of an order's quantity."""

    intent_id: str
    symbol: str
    asset_class: AssetClass
    qty: Qty
    lot: Qty


class NotReducingError(ValueError):
    """The order asked for would not make the holding smaller."""


def reducing_order(
    holding: Holding,
    leg: Leg,
    attempt: int,
    qty: int,
    *,
    order_type: OrderType,
    time_in_force: TimeInForce,
    order_class: OrderClass = OrderClass.SIMPLE,
    limit_price: Price | None = None,
    stop_price: Price | None = None,
    take_profit: Price | None = None,
) -> ReducingOrder:
    """Return an order against `holding` for `qty` (> 0), rounded down to its lot.

    The caller has made sure that no other exit can still sell the same quantity.

    Raises:
        NotReducingError: nothing is held, an entry was asked for, or `qty` is not in (0, what is held].
    """
    held = abs(holding.qty)
    rounded = floor_to(qty, holding.lot)
    if leg is Leg.ENTRY:
        raise NotReducingError("an entry cannot reduce")
    if not 0 < rounded <= held:
        raise NotReducingError(f"{rounded} of a holding of {held} cannot be sold")
    return ReducingOrder(
        client_order_id=client_order_id(holding.intent_id, leg, attempt),
        intent_id=holding.intent_id,
        leg=leg,
        symbol=holding.symbol,
        asset_class=holding.asset_class,
        side=Side.SELL if holding.qty > 0 else Side.BUY,
        qty=Qty(rounded),
        order_type=order_type,
        time_in_force=time_in_force,
        order_class=order_class,
        limit_price=limit_price,
        stop_price=stop_price,
        take_profit=take_profit,
    )
