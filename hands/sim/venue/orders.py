"""An order on the exchange's side: what was asked, what became of it, and the group it belongs to.

Owns the data and the questions an order can answer about itself. May not decide anything: admission says
whether an order may exist, matching what it fills at, the exchange what happens next. The idea to read it
with: `Order` is live and mutable; whoever shows one to the outside shows `snapshot()`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Final

from hands.core.units import NANO, Ns, Price, Qty, Ratio, Usd, div_half_up
from hands.core.vocab import Leg, OrderClass, OrderStatus, OrderType, PositionIntent, Side, TimeInForce
from hands.sim.venue.assets import Asset

NO_PRICE: Final = Price(0)
NO_QTY: Final = Qty(0)
NO_USD: Final = Usd(0)
PENDING = frozenset({OrderStatus.PENDING_CANCEL, OrderStatus.PENDING_REPLACE})
_STOPS = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})
AUCTIONS = frozenset({TimeInForce.OPG, TimeInForce.CLS})
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
    elected_ns: Ns | None = None
    """When the market reached its stop: it has been a market or limit order since."""
    is_working: bool = False
    """In the book: acknowledged, brought to the session, its entry filled. A stop waits there to be elected."""
    status_behind: OrderStatus | None = None
    """What the status is but for a pending cancel or replace; None while neither is pending."""
    cap_price: Price | None = None
    """The limit that the venue gives a buy stop once it is elected; its `limit_price` stays as asked."""
    queue_ahead: Qty | None = None
    """Size that prints at our limit fill before us; None until the market was at or behind our limit."""
    traded_value: Usd = NO_USD
    """Sum of price x qty, each execution rounded up: what counts against `notional`."""
    successor: Order | None = None
    """The replacement that waits to take over while this order is `pending_replace`."""
    takes_over_ns: Ns | None = None
    """Of such a replacement: when it does, or is rejected. None for every order in its own right."""
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
        return self.order_type in _STOPS

    @property
    def is_dormant(self) -> bool:
        """A leg whose entry is not completely filled: it reserves, protects and does nothing yet."""
        group = self.group
        return group is not None and not group.active and group.entry is not self

    @property
    def is_fractional(self) -> bool:
        """Whether its executions may be other than whole shares."""
        return self.asset.is_crypto or self.notional is not None or self.qty % NANO != 0

    @property
    def elected(self) -> bool:
        return self.elected_ns is not None

    @property
    def awaits_election(self) -> bool:
        # told without the questions above: asked for every tick of every order that lives
        return (
            self.is_working
            and self.elected_ns is None
            and self.order_type in _STOPS
            and not self.status.is_terminal
        )

    @property
    def can_trade(self) -> bool:
        """In the book, and elected if it is a stop; a pending cancel or replace does not take it out."""
        return (
            self.is_working
            and (self.elected_ns is not None or self.order_type not in _STOPS)
            and not self.status.is_terminal
        )

    @property
    def worst_price(self) -> Price | None:
        """The price it accepts no worse than: its limit, or the venue's cap; None for any price."""
        return self.limit_price if self.limit_price is not None else self.cap_price

    @property
    def own_status(self) -> OrderStatus:
        """The status but for a pending cancel or replace."""
        return self.status if self.status_behind is None else self.status_behind

    @property
    def reach(self) -> Qty:
        """What may still trade of it, or of the replacement that waits to take over: the larger.

        In a group no replacement asks for more, and what is cut off a leg meanwhile is cut off its replacement too.
        """
        if self.successor is None or self.group is not None:
            return self.remaining
        return Qty(max(self.qty, self.successor.qty) - self.filled_qty)

    def wanted_at(self, price: int) -> Qty:
        """Return what is left to trade at `price`: of an order in dollars, what the rest of them buys there.

        One that closes never trades more than was reckoned when it was taken: no more of the holding is its own.
        """
        if self.notional is None:
            return self.remaining
        bought = (self.notional - self.traded_value) * NANO // price
        is_purchase = self.position_intent is PositionIntent.BUY_TO_OPEN
        return Qty(bought if is_purchase else min(bought, self.remaining))

    @property
    def filled_avg_price(self) -> Price | None:
        return Price(div_half_up(self.filled_cost, self.filled_qty)) if self.filled_qty else None

    def set_status(self, status: OrderStatus, at_ns: Ns) -> None:
        """Change the status and remember when; behind a pending cancel or replace unless it ends the order."""
        self.updated_ns = at_ns
        if self.status_behind is not None and not status.is_terminal:
            self.status_behind = status
            return
        self.status, self.status_behind = status, None
        self.history.append((at_ns, status))

    def set_pending(self, status: OrderStatus, at_ns: Ns) -> None:
        """Show a cancel or replace as pending in front of what the status is."""
        self.status_behind = self.status
        self.status, self.updated_ns = status, at_ns
        self.history.append((at_ns, status))

    def clear_pending(self, at_ns: Ns) -> None:
        """Show again what the status is."""
        status, self.status_behind = self.own_status, None
        self.set_status(status, at_ns)

    def snapshot(self) -> Order:
        """Return a copy that later events do not change, with copies of the children if this is a parent."""
        twin = _copy(self)
        twin.history = list(self.history)
        if self.group is not None and self.group.parent is self:
            twin.legs = tuple(_copy(child) for child in self.group.children())
        return twin


_FIELDS = attrgetter(*(each.name for each in fields(Order)))


def _copy(order: Order) -> Order:
    """Return a shallow copy: in 2 µs, where `copy.copy` takes 10."""
    return Order(*_FIELDS(order))


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
