"""The two kinds of order that can leave this program, and how an order's id is made.

Owns the *types*; each is constructed in exactly one place, which a test checks: `ApprovedEntry` in
`hands.core.risk` (after every check has passed), `ReducingOrder` in `hands.core.reducing` (opposite side, at most
what is held). Nothing else can be put on the wire.
"""

from __future__ import annotations

import msgspec

from hands.core.units import Ns, Price, Qty
from hands.core.vocab import AssetClass, Leg, OrderClass, OrderType, Side, TimeInForce

ID_PREFIX = "hands"
"""Every client order id of ours begins with it: what carries it is ours, nothing else is."""


class ApprovedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that passed every check: a limit order, with its bracket where the venue keeps one.

    `take_profit` and `stop_loss` are None for crypto, where the venue refuses brackets. It must not be written
    to a socket at or after `deadline_ns`.
    """

    client_order_id: str
    intent_id: str
    symbol: str
    asset_class: AssetClass
    side: Side
    qty: Qty
    limit_price: Price
    time_in_force: TimeInForce
    order_class: OrderClass
    take_profit: Price | None
    stop_loss: Price | None
    deadline_ns: Ns


class ReducingOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that can only make a position of ours smaller.

    `order_class` OCO carries `take_profit` (its limit) and `stop_price`; otherwise it is simple.
    """

    client_order_id: str
    intent_id: str
    leg: Leg
    symbol: str
    asset_class: AssetClass
    side: Side
    qty: Qty
    order_type: OrderType
    time_in_force: TimeInForce
    order_class: OrderClass = OrderClass.SIMPLE
    limit_price: Price | None = None
    stop_price: Price | None = None
    take_profit: Price | None = None


def client_order_id(intent_id: str, leg: Leg, attempt: int) -> str:
    """Return the one id under which this leg's `attempt` (from 1) can ever exist at the venue (at most 128 chars)."""
    return "-".join((ID_PREFIX, intent_id, leg, str(attempt)))


def is_ours(client_order_id: str) -> bool:
    """Whether an order carries our prefix; legs the venue names itself are known by their parent instead."""
    return client_order_id.startswith(ID_PREFIX + "-")


def parse_client_order_id(text: str) -> tuple[str, Leg, int] | None:
    """Return (intent_id, leg, attempt) of an id of ours, None for anybody else's."""
    if not is_ours(text):
        return None
    intent_id, _, tail = text.removeprefix(ID_PREFIX + "-").rpartition("-")
    intent_id, _, leg = intent_id.rpartition("-")
    if len(intent_id) != 36 or leg not in set(Leg) or not tail.isdecimal():
        return None
    return intent_id, Leg(leg), int(tail)
