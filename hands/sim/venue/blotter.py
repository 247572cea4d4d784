"""The blotter: every order ever, which of them are live, every fill, and the events not yet sent.

Owns identity (order ids, client order ids, execution and event ids, all from one generator seeded with the
opening time, so that a run under an injected clock repeats itself exactly) and the outbox. Decides nothing: it is told what happened.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from typing import Final

from hands.core.units import NS_PER_MS, Ns, Price, Qty
from hands.core.vocab import OrderStatus
from hands.sim.venue import errors
from hands.sim.venue.orders import Fill, Order, TradeUpdate

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_WITHOUT_EXECUTION_ID: Final = frozenset({"pending_new", "accepted"})


class Blotter:
    """All orders in order of submission, indexed by id, client order id and (live ones) symbol."""

    def __init__(self, seed: int, opened_ns: Ns) -> None:
        # The opening time too: a client that outlives a restart must never see an execution id a second time.
        self._ids = random.Random(f"{seed}/{opened_ns}")  # noqa: S311  reproducible, not secret
        self._orders: dict[str, Order] = {}
        self._by_client_id: dict[str, Order] = {}
        self.live: dict[str, list[Order]] = {}
        self.fills: list[Fill] = []
        self._outbox: list[TradeUpdate] = []
        self._events = 0

    def __iter__(self) -> Iterator[Order]:
        return iter(self._orders.values())

    def __len__(self) -> int:
        return len(self._orders)

    def new_id(self) -> str:
        """Return a fresh UUID."""
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))

    def with_client_id(self, client_order_id: str | None) -> Order | None:
        """Return the order that has ever had the id, None if none had."""
        return self._by_client_id.get(client_order_id) if client_order_id is not None else None

    def record(self, order: Order) -> None:
        """Take up an order under its ids, not yet as one that can trade: a replacement waits like this."""
        assert order.order_id not in self._orders
        assert order.client_order_id not in self._by_client_id
        self._orders[order.order_id] = order
        self._by_client_id[order.client_order_id] = order

    def enlist(self, order: Order) -> None:
        """Put a recorded order on the live list of its symbol."""
        self.live.setdefault(order.symbol, []).append(order)

    def add(self, order: Order) -> None:
        """Take up a new live order."""
        self.record(order)
        self.enlist(order)

    def find(self, order_id: str) -> Order:
        """Return the order. Raises `VenueError` 404."""
        order = self._orders.get(order_id)
        if order is None:
            raise errors.order_not_found(order_id)
        return order

    def find_by_client_id(self, client_order_id: str) -> Order:
        """Return the order. Raises `VenueError` 404."""
        order = self._by_client_id.get(client_order_id)
        if order is None:
            raise errors.order_not_found(client_order_id)
        return order

    def live_of(self, symbol: str) -> list[Order]:
        """Return the live orders of `symbol`, in order of submission."""
        return self.live.get(symbol, [])

    def finish(self, order: Order, status: OrderStatus, now_ns: Ns) -> None:
        """Give a live order its terminal `status` and take it off the live list, if it ever was on it."""
        assert order.is_live
        assert status.is_terminal
        order.set_status(status, now_ns)
        match status:
            case OrderStatus.FILLED:
                order.filled_ns = now_ns
            case OrderStatus.CANCELED:
                order.canceled_ns = now_ns
            case OrderStatus.EXPIRED:
                order.expired_ns = now_ns
            case OrderStatus.REPLACED:
                order.replaced_ns = now_ns
            case _:
                order.failed_ns = now_ns
        if order.takes_over_ns is None:
            live = self.live[order.symbol]
            live.remove(order)
            if not live:
                del self.live[order.symbol]

    def emit(
        self, event: str, order: Order, now_ns: Ns, fill: Fill | None = None, position_qty: int = 0
    ) -> None:
        """Queue one event of the trade stream, with the order as it is now."""
        self._events += 1
        execution_id: str | None = None
        price: Price | None = None
        qty: Qty | None = None
        if fill is not None:
            execution_id, price, qty = fill.execution_id, fill.price, fill.qty
        elif event not in _WITHOUT_EXECUTION_ID:
            execution_id = self.new_id()
        self._outbox.append(
            TradeUpdate(
                event,
                order.snapshot(),
                now_ns,
                _event_id(now_ns, self._events),
                execution_id,
                price,
                qty,
                Qty(position_qty) if fill is not None else None,
            )
        )

    def take_updates(self) -> list[TradeUpdate]:
        """Return the queued events, oldest first, and empty the outbox."""
        updates, self._outbox = self._outbox, []
        return updates


def _event_id(t_ns: int, number: int) -> str:
    """Return a ULID: 48 bits of milliseconds and an ever-growing number, so that ids sort as events happened."""
    value = (t_ns // NS_PER_MS) << 80 | number
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))
