"""An order on the exchange's side: what was asked, what became of it, and the group it belongs to.

Owns the data and the questions an order can answer about itself. May not decide anything: admission says
whether an order may exist, matching what it fills at, the exchange what happens next. The idea to read it
with: `Order` is live and mutable; whoever shows one to the outside shows `snapshot()`.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Final

from hands.core.units import Ns, Price, Qty, Ratio, Usd, div_half_up
from hands.core.vocab import Leg, OrderClass, OrderStatus, OrderType, PositionIntent, Side, TimeInForce
from hands.sim.venue.assets import Asset

NO_PRICE: Final = Price(0)
NO_QTY: Final = Qty(0)
WORKING = frozenset({OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED})
NOT_REPLACEABLE = frozenset(
    {
        OrderStatus.ACCEPTED,
        OrderStatus.PENDING_NEW,
        OrderStatus.PENDING_CANCEL,
        OrderStatus.PENDING_REPLACE,
    }
)


@dataclass(slots=True)
class OrderRequest:
    """What a client asks for, parsed and not yet judged; amounts in nano-units. `qty` is 0 where `notional` is given."""

    symbol: str
    side: Side
    order_type: OrderType
    tif: TimeInForce
    qty: Qty = NO_QTY
    limit_price: Price | None = None
    stop_price: Price | None = None
    order_class: OrderClass = OrderClass.SIMPLE
    take_profit_limit_price: Price | None = None
    stop_loss_stop_price: Price | None = None
    stop_loss_limit_price: Price | None = None
    client_order_id: str | None = None
    extended_hours: bool = False
    position_intent: PositionIntent | None = None
    notional: Usd | None = None
    trail_price: Price | None = None
    trail_percent: Ratio | None = None
    """Per cent, as the venue writes it: 1.5 is one and a half per cent."""


@dataclass(slots=True)
class ReplaceRequest:
    """What a client asks to change; None leaves as it is."""

    qty: Qty | None = None
    limit_price: Price | None = None
    stop_price: Price | None = None
    tif: TimeInForce | None = None
    client_order_id: str | None = None
    trail: Ratio | None = None
    """The new trail: dollars or per cent, whichever the order trails by."""


@dataclass(slots=True, eq=False)
class Group:
    """The orders of one bracket, OCO or OTO. `active`: the legs are released (an OCO's always are)."""

    order_class: OrderClass
    entry: Order | None
    take_profit: Order | None
    stop_loss: Order | None
    active: bool

    def members(self) -> list[Order]:
        return [order for order in (self.entry, self.take_profit, self.stop_loss) if order is not None]

    def legs(self) -> list[Order]:
        """The closing orders: take-profit first, then stop."""
        return [order for order in (self.take_profit, self.stop_loss) if order is not None]

    @property
    def parent(self) -> Order:
        """The order the others are shown nested under: the entry, or an OCO's take-profit."""
        parent = self.entry if self.entry is not None else self.take_profit
        assert parent is not None
        return parent

    def children(self) -> list[Order]:
        """The legs shown nested under the parent."""
        return [leg for leg in self.legs() if leg is not self.parent]

    def substitute(self, old: Order, new: Order) -> None:
        """Put `new`, which replaces `old`, in its place."""
        if self.entry is old:
            self.entry = new
        elif self.take_profit is old:
            self.take_profit = new
        elif self.stop_loss is old:
            self.stop_loss = new


@dataclass(slots=True, eq=False)
class Order:
    """One order. Amounts in nano-units, times in Unix nanoseconds, `filled_cost` the exact sum of price x qty."""

    order_id: str
    client_order_id: str
    asset: Asset
    side: Side
    order_type: OrderType
    order_class: OrderClass
    tif: TimeInForce
    qty: Qty
    limit_price: Price | None
    stop_price: Price | None
    leg: Leg
    position_intent: PositionIntent
    extended_hours: bool
    created_ns: Ns
    expires_ns: Ns
    sequence: int
    status: OrderStatus
    updated_ns: Ns
    reserve_price: Price = NO_PRICE
    elected: bool = False
    filled_qty: Qty = NO_QTY
    filled_cost: int = 0
    filled_ns: Ns | None = None
    expired_ns: Ns | None = None
    canceled_ns: Ns | None = None
    failed_ns: Ns | None = None
    replaced_ns: Ns | None = None
    replaced_by: str | None = None
    replaces: str | None = None
    group: Group | None = None
    history: list[tuple[Ns, OrderStatus]] = field(default_factory=list)
    notional: Usd | None = None
    """Asked for in dollars; `qty` is then what they buy at the price it was last reckoned with."""
    trail_price: Price | None = None
    trail_percent: Ratio | None = None
    high_water_mark: Price | None = None
    """Of a trailing stop: the best price since it was released; `stop_price` follows it."""
    cancel_requested_ns: Ns | None = None
    legs: tuple[Order, ...] | None = None
    """Only in snapshots: the children as they were."""

    @property
    def symbol(self) -> str:
        return self.asset.symbol

    @property
    def remaining(self) -> Qty:
        return Qty(self.qty - self.filled_qty)

    @property
    def is_live(self) -> bool:
        return not self.status.is_terminal

    @property
    def is_complex(self) -> bool:
        return self.order_class is not OrderClass.SIMPLE

    @property
    def is_stop(self) -> bool:
        return self.order_type in (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP)

    @property
    def is_dormant(self) -> bool:
        """A leg whose entry is not completely filled: it reserves, protects and does nothing yet."""
        group = self.group
        return group is not None and not group.active and group.entry is not self

    @property
    def awaits_election(self) -> bool:
        return self.is_stop and not self.elected and self.is_live and not self.is_dormant

    @property
    def can_trade(self) -> bool:
        """Working at the exchange: released, elected if it is a stop, and not held back for the session."""
        return self.status in WORKING and (self.elected or not self.is_stop)

    @property
    def filled_avg_price(self) -> Price | None:
        return Price(div_half_up(self.filled_cost, self.filled_qty)) if self.filled_qty else None

    def set_status(self, status: OrderStatus, at_ns: Ns) -> None:
        """Change the status and remember when."""
        self.status = status
        self.updated_ns = at_ns
        self.history.append((at_ns, status))

    def snapshot(self) -> Order:
        """Return a copy that later events do not change, with copies of the children if this is a parent."""
        twin = copy.copy(self)
        twin.history = list(self.history)
        if self.group is not None and self.group.parent is self:
            twin.legs = tuple(copy.copy(child) for child in self.group.children())
        return twin


@dataclass(frozen=True, slots=True)
class TradeUpdate:
    """One event of the trade stream. `price`, `qty` are this execution's, `position_qty` signed and net of fees."""

    event: str
    order: Order
    t_ns: Ns
    event_id: str
    execution_id: str | None
    price: Price | None = None
    qty: Qty | None = None
    position_qty: Qty | None = None


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. `fee` is in `fee_asset`: the coin for a crypto purchase, else USD."""

    execution_id: str
    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    qty: Qty
    price: Price
    fee: int
    fee_asset: str
    t_ns: Ns
    cum_qty: Qty
    leaves_qty: Qty
    status: OrderStatus
