"""What an order at the exchange must look like, whatever was dropped: held against the limits from outside the engine.

Owns the word "unsafe". May not ask the engine anything. Decimal throughout, and no code of the engine's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal

from tests.adversarial.engine import EQUITY, RULES, SentOrder

TICK = Decimal("0.01")


def unsafe_orders(
    orders: Iterable[SentOrder], quotes: Mapping[str, tuple[Decimal, Decimal]], allowed: Mapping[str, int]
) -> list[str]:
    """Return what is wrong with the orders: each by itself, and more entries on a symbol than are `allowed`."""
    found = list(orders)
    faults = [f"{order}: {fault}" for order in found if (fault := fault_of(order, quotes)) is not None]
    ids = Counter(order.client_order_id for order in found)
    faults += [f"the id {client_order_id} twice" for client_order_id, count in ids.items() if count > 1]
    entries = Counter(order.symbol for order in found if order.is_entry)
    faults += [
        f"{count} entries on {symbol}; {allowed.get(symbol, 0)} allowed"
        for symbol, count in entries.items()
        if count > allowed.get(symbol, 0)
    ]
    return faults


def fault_of(order: SentOrder, quotes: Mapping[str, tuple[Decimal, Decimal]]) -> str | None:
    """Return what is wrong with one order, None where nothing is; only entries can do harm in a market that stands."""
    if order.symbol not in quotes:
        return "a symbol that is not to be traded"
    if not order.is_entry:
        return None
    bid, ask = quotes[order.symbol]
    long = order.side == "buy"
    if order.limit is None:
        return "an entry at any price"
    if not 0 < order.qty * order.limit <= RULES.max_order_notional_usd:
        return f"{order.qty * order.limit} USD in one order"
    if order.qty * order.limit > EQUITY * RULES.max_position_size:
        return "too much in one symbol"
    worst = ask * (1 + RULES.max_slippage_pct) if long else bid * (1 - RULES.max_slippage_pct)
    if (order.limit > worst + TICK) if long else (order.limit < worst - TICK):
        return f"a limit beyond {worst}"
    if "/" in order.symbol:
        return None  # coins have no bracket: their stop is an order of its own
    if order.stop is None:
        return "no stop"
    distance = (order.limit - order.stop) / order.limit * (1 if long else -1)
    if not 0 < distance <= RULES.max_stop_distance:
        return f"a stop {distance} of the price away"
    if order.qty * abs(order.limit - order.stop) > EQUITY * RULES.max_risk_per_trade:
        return "too much at risk"
    return None
