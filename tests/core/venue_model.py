"""A venue on a virtual clock: orders, groups, fills, reservations, coin fees, refusals.

Owns its own books and knows nothing of the engine's; `tests.core.desk` connects the two. The one idea: it is honest
and strict (it refuses what the real one refuses, and tells of a group's members as little), so that whatever it
lets through counts. `flips` lists exits that sold more than there was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from hands.core.commands import ReplaceOrder
from hands.core.events import (
    DayOrdersReport,
    Execution,
    FillsReport,
    PositionSnapshot,
    TruthReport,
    VenueFill,
    VenueOrder,
)
from hands.core.orders import ApprovedEntry, ReducingOrder, is_ours
from hands.core.units import NANO, Ns, Price, Qty, decimal_text
from hands.core.venue_rules import Shape, amount_of, illegal
from hands.core.vocab import OrderClass, OrderStatus, OrderType, PositionIntent, Side, TimeInForce
from tests.core.world import NOW

S = OrderStatus
WORKING = frozenset({S.NEW, S.ACCEPTED, S.PARTIALLY_FILLED})
MIN_COIN_NOTIONAL = 10 * NANO


@dataclass(eq=False)
class Resting:
    """One order as the venue keeps it. `active`: a held stop leg that the venue watches."""

    order_id: str
    client_order_id: str
    symbol: str
    side: Side
    order_type: OrderType
    order_class: OrderClass
    time_in_force: TimeInForce
    qty: int
    limit: int | None
    stop: int | None
    status: OrderStatus
    filled: int = 0
    value: int = 0
    active: bool = False
    elected: bool = False
    parent: Resting | None = None
    legs: list[Resting] = field(default_factory=list)
    history: list[OrderStatus] = field(default_factory=list)
    sent_ns: int = 0
    replaces: str | None = None
    replaced_by: str | None = None

    @property
    def live(self) -> bool:
        return not self.status.is_terminal

    @property
    def remaining(self) -> int:
        return self.qty - self.filled

    @property
    def group(self) -> list[Resting]:
        """The exits that stand for one another: a bracket's two legs, or an OCO's parent and child."""
        if self.order_class is OrderClass.BRACKET:
            return self.parent.legs if self.parent is not None else []
        if self.order_class is OrderClass.OCO:
            head = self.parent or self
            return [head, *head.legs]
        return [self]

    def view(self, *, nested: bool = True) -> VenueOrder:
        return VenueOrder(
            order_id=self.order_id,
            client_order_id=self.client_order_id,
            symbol=self.symbol,
            side=self.side,
            order_type=self.order_type,
            order_class=self.order_class,
            status=self.status,
            status_text=str(self.status),
            qty=Qty(self.qty),
            filled_qty=Qty(self.filled),
            avg_price=Price(self.value * NANO // self.filled) if self.filled else None,
            limit_price=None if self.limit is None else Price(self.limit),
            stop_price=None if self.stop is None else Price(self.stop),
            replaces=self.replaces,
            replaced_by=self.replaced_by,
            legs=tuple(leg.view() for leg in self.legs) if nested else (),
        )


Refusal = tuple[int, str, dict[str, str]]


def shape_of(order: ApprovedEntry | ReducingOrder) -> Shape:
    """Return everything about an order but its symbol and its numbers."""
    opens, buys = isinstance(order, ApprovedEntry), order.side is Side.BUY
    if opens:
        effect = PositionIntent.BUY_TO_OPEN if buys else PositionIntent.SELL_TO_OPEN
    else:
        effect = PositionIntent.BUY_TO_CLOSE if buys else PositionIntent.SELL_TO_CLOSE
    return Shape(
        asset_class=order.asset_class,
        order_class=order.order_class,
        order_type=OrderType.LIMIT if opens else order.order_type,
        tif=order.time_in_force,
        effect=effect,
        amount=amount_of(order.qty),
    )


class VenueModel:
    """The venue's own books. `tell(event, order, execution, position)` is its stream."""

    def __init__(self, tell: Callable[[str, Resting, Execution | None, int | None], None]) -> None:
        self.tell = tell
        self.orders: dict[str, Resting] = {}
        self.by_client: dict[str, Resting] = {}
        self.positions: dict[str, int] = {}
        self.quotes: dict[str, tuple[int, int]] = {}
        self.is_open = True
        self.now_ns = NOW
        self.tells_siblings = False
        self.portion: Callable[[Resting], int] = lambda order: order.remaining
        self.refuse: list[Refusal] = []
        self.refuse_moves: list[Refusal] = []
        self.at_rest: Callable[[Resting], None] = self.try_fill
        self.flips: list[str] = []
        self.entries_accepted: dict[str, int] = {}
        self.fills: list[VenueFill] = []
        self.refused: list[tuple[str, str]] = []
        self._count = 0

    # --- requests --------------------------------------------------------------------------------------

    def submit(self, order: ApprovedEntry | ReducingOrder) -> Resting | Refusal:
        found = self._refusal(order)
        assert illegal(shape_of(order)) is None, order
        if found is not None:
            self.refused.append((order.client_order_id, found[1]))
            return found
        entry = isinstance(order, ApprovedEntry)
        if entry:
            self.entries_accepted[order.intent_id] = self.entries_accepted.get(order.intent_id, 0) + 1
        kind = OrderType.LIMIT if entry else order.order_type
        limit = order.limit_price
        if not entry and order.order_class is OrderClass.OCO:
            limit = order.take_profit
        queued = not self.is_open and "/" not in order.symbol
        made = self._make(
            order.client_order_id, order.symbol, order.side, kind, order.order_class, order.time_in_force,
            order.qty, limit, None if entry or order.order_class is OrderClass.OCO else order.stop_price,
            S.ACCEPTED if queued else S.NEW,
        )  # fmt: skip
        if entry and order.order_class is OrderClass.BRACKET:
            self._leg(made, OrderType.LIMIT, order.take_profit, None)
            self._leg(made, OrderType.STOP, None, order.stop_loss)
        elif order.order_class is OrderClass.OCO:
            assert isinstance(order, ReducingOrder)
            self._leg(made, OrderType.STOP, None, order.stop_price).active = True
        self.tell("new", made, None, None)
        return made

    def _refusal(self, order: ApprovedEntry | ReducingOrder) -> Refusal | None:
        if order.client_order_id in self.by_client:
            return 422, "client_order_id must be unique", {}
        if self.refuse and isinstance(order, ReducingOrder):
            return self.refuse.pop(0)
        if isinstance(order, ApprovedEntry):
            return None
        held = self.positions.get(order.symbol, 0)
        against = held if order.side is Side.SELL else -held
        coin = "/" in order.symbol
        if order.order_class is OrderClass.OCO and against < order.qty:
            return 422, "oco orders must be exit orders", {}
        if against <= 0 and not coin:
            return 422, "position intent mismatch, inferred: sell_to_open, specified: sell_to_close", {}
        free = max(0, against) - self._reserved(order.symbol, order.side)
        if order.qty > free:
            what = "insufficient balance for SOL" if coin else "insufficient qty available for order"
            return 403, f"{what} (available: {decimal_text(free)})", {"available": decimal_text(free)}
        if order.qty <= 0:
            return 422, "qty must be > 0", {}
        bid, ask = self.quotes[order.symbol]
        price = order.limit_price or (bid if order.side is Side.SELL else ask)
        if coin and price * order.qty // NANO < MIN_COIN_NOTIONAL:
            return 403, "cost basis must be >= minimal amount of order 10", {}
        return self._price_refusal(order, bid, ask)

    def _price_refusal(self, order: ReducingOrder, bid: int, ask: int) -> Refusal | None:
        selling = order.side is Side.SELL
        market = bid if selling else ask
        if order.stop_price is not None and (
            order.stop_price >= market if selling else order.stop_price <= market
        ):
            if order.order_class is OrderClass.OCO:
                return 422, "stop_loss.stop_price must be <= base_price - 0.01", {}
            return 422, "stop price must be less than current price", {}
        if order.take_profit is not None and (
            order.take_profit <= market if selling else order.take_profit >= market
        ):
            return 422, "take_profit.limit_price must be >= base_price + 0.01", {}
        return None

    def _reserved(self, symbol: str, side: Side) -> int:
        total = 0
        for order in self.orders.values():
            if order.symbol != symbol or order.side is not side or not order.live:
                continue
            if order.order_class is OrderClass.BRACKET and (order.parent is None or not order.active):
                continue
            if order.order_class in (OrderClass.BRACKET, OrderClass.OCO):
                first = next((o for o in order.group if o.live), None)
                if first is not order:
                    continue  # a group counts once
            total += order.remaining
        return total

    def _make(
        self, client_id: str, symbol: str, side: Side, kind: OrderType, order_class: OrderClass,
        tif: TimeInForce, qty: int, limit: int | None, stop: int | None, status: OrderStatus,
        parent: Resting | None = None,
    ) -> Resting:  # fmt: skip
        self._count += 1
        made = Resting(
            f"v{self._count}", client_id, symbol, side, kind, order_class, tif, qty, limit, stop, status, parent=parent
        )  # fmt: skip
        made.history.append(status)
        made.sent_ns = self.now_ns
        self.orders[made.order_id] = self.by_client[client_id] = made
        return made

    def _leg(self, parent: Resting, kind: OrderType, limit: int | None, stop: int | None) -> Resting:
        side = parent.side.opposite if parent.order_class is OrderClass.BRACKET else parent.side
        leg = self._make(
            f"leg-{self._count + 1}", parent.symbol, side, kind, parent.order_class, parent.time_in_force,
            parent.qty, limit, stop, S.HELD, parent,
        )  # fmt: skip
        parent.legs.append(leg)
        return leg

    def cancel(self, order_id: str) -> Refusal | None:
        order = self.orders.get(order_id)
        if order is None:
            return 404, f"order not found for {order_id}", {}
        if not order.live:
            return 422, f'order is already in "{order.status}" state', {}
        self.end(order, S.CANCELED)
        return None

    def replace(self, command: ReplaceOrder) -> Resting | Refusal:
        """Move a live order to other prices, as the venue does: a new order that counts on from the old one's fills."""
        old = self.orders.get(command.order_id)
        if old is None:
            return 404, f"order not found for {command.order_id}", {}
        if self.refuse_moves:
            return self.refuse_moves.pop(0)
        if old.status is S.REPLACED:
            return 422, "order already replaced", {}
        if old.status in (S.ACCEPTED, S.PENDING_NEW, S.PENDING_CANCEL, S.PENDING_REPLACE):
            return 422, f"cannot replace order in {old.status} status", {}
        if not old.live:
            return 422, "unable to replace order, order is not open", {}
        if command.new_client_order_id in self.by_client:
            return 422, "client_order_id must be unique", {}
        selling = old.side is Side.SELL
        market = self.quotes[old.symbol][0 if selling else 1]
        stop = command.stop_price
        if stop is not None and (stop >= market if selling else stop <= market):
            return 422, "stop price must be less than current price", {}
        new = self._make(
            command.new_client_order_id, old.symbol, old.side, old.order_type, old.order_class,
            old.time_in_force, old.qty, command.limit_price or old.limit, stop or old.stop, old.status, old.parent,
        )  # fmt: skip
        new.filled, new.value, new.active, new.legs = old.filled, old.value, old.active, old.legs
        new.replaces, old.legs = old.order_id, []
        for leg in new.legs:
            leg.parent = new
        if old.parent is not None:
            old.parent.legs[old.parent.legs.index(old)] = new
        old.replaced_by = new.order_id
        self._set(old, S.REPLACED)
        self.tell("replaced", old, None, None)
        self.tell("new", new, None, None)
        self.at_rest(new)
        return new

    def end(self, order: Resting, status: OrderStatus, *, silent: bool = False) -> None:
        """End an order and what depends on it; the stream tells of the order itself, seldom of the others."""
        others = [o for o in order.group if o is not order] if order.parent or not order.legs else order.legs
        self._set(order, status)
        if not silent:
            self.tell(str(status), order, None, None)
        for other in [o for o in others if o.live]:
            self._set(other, S.CANCELED)
            if self.tells_siblings:
                self.tell("canceled", other, None, None)

    def _set(self, order: Resting, status: OrderStatus) -> None:
        order.status = status
        order.history.append(status)

    # --- the market ------------------------------------------------------------------------------------

    def quote(self, symbol: str, bid: int, ask: int) -> None:
        self.quotes[symbol] = bid, ask
        self.match(symbol)

    def match(self, symbol: str) -> None:
        for order in list(self.orders.values()):
            if order.symbol == symbol:
                self.try_fill(order)

    def try_fill(self, order: Resting) -> None:
        if (
            not order.live
            or order.symbol not in self.quotes
            or (not self.is_open and "/" not in order.symbol)
        ):
            return
        if order.status is S.HELD and not order.active:
            return
        if order.status is S.HELD and order.order_type is not OrderType.STOP:
            return
        bid, ask = self.quotes[order.symbol]
        selling = order.side is Side.SELL
        touch = bid if selling else ask
        if order.stop is not None and not order.elected:
            if touch > order.stop if selling else touch < order.stop:
                return
            order.elected = True
            for other in order.group:
                if other is not order and other.live:
                    self._set(other, S.CANCELED)
                    self.tell("canceled", other, None, None)
        if order.limit is None or (touch >= order.limit if selling else touch <= order.limit):
            qty = min(self.portion(order), order.remaining)
            if qty > 0:
                self.fill(order, qty, touch)
        if order.time_in_force is TimeInForce.IOC and order.live:
            self.end(order, S.CANCELED)

    def fill(self, order: Resting, qty: int, price: int) -> None:
        """Fill an order, move the position (coins pay their fee), and do what that means for its group."""
        before = self.positions.get(order.symbol, 0)
        order.filled += qty
        order.value += price * qty // NANO
        gain = qty if order.side is Side.BUY else -qty
        if "/" in order.symbol and gain > 0:
            gain = gain * 9975 // 10000
        after = self.positions[order.symbol] = before + gain
        if before * after < 0 or (before == 0 and after and "-entry-" not in order.client_order_id):
            self.flips.append(order.client_order_id)
        self._set(order, S.FILLED if not order.remaining else S.PARTIALLY_FILLED)
        self._count += 1
        execution = Execution(
            execution_id=f"x{self._count}", qty=Qty(qty), price=Price(price), at_ns=Ns(self.now_ns)
        )
        self.fills.append(
            VenueFill(
                execution_id=execution.execution_id,
                order_id=order.order_id,
                qty=execution.qty,
                price=execution.price,
                cum_qty=Qty(order.filled),
                at_ns=execution.at_ns,
            )
        )
        self.tell("fill" if not order.remaining else "partial_fill", order, execution, after)
        if order.order_class is OrderClass.BRACKET and order.parent is None:
            if order.status is S.FILLED:
                for leg in order.legs:
                    leg.active = True
                    if leg.order_type is OrderType.LIMIT:
                        self._set(leg, S.NEW)
                        self.tell("new", leg, None, None)
        elif order.order_class in (OrderClass.BRACKET, OrderClass.OCO):
            for other in order.group:
                if other is order or not other.live:
                    continue
                if order.status is S.FILLED:
                    self._set(other, S.CANCELED)
                    if self.tells_siblings:
                        self.tell("canceled", other, None, None)
                else:
                    other.qty = order.remaining + other.filled

    # --- what an outsider can see ----------------------------------------------------------------------

    def covered(self, symbol: str) -> int:
        """How much of the position a live stop, or an exit on its way, would close."""
        held = self.positions.get(symbol, 0)
        side = Side.SELL if held > 0 else Side.BUY
        total = 0
        for order in self.orders.values():
            if (
                order.symbol != symbol
                or order.side is not side
                or not order.live
                or "-entry-" in order.client_order_id
            ):
                continue
            stop = order.stop is not None and (
                order.status in WORKING or (order.status is S.HELD and order.active)
            )
            if stop or "-exit-" in order.client_order_id:
                total += order.remaining
        return total

    def is_naked(self, symbol: str) -> bool:
        bare = abs(self.positions.get(symbol, 0)) - self.covered(symbol)
        bid, _ = self.quotes.get(symbol, (0, 0))
        if (
            "/" in symbol
        ):  # dust of an earlier trade lies there too, and it may have been dust at another price
            return bare * bid // NANO >= 2 * MIN_COIN_NOTIONAL
        return bare > 0

    def day_orders(self, since_ns: int, held: tuple[str, ...] = ()) -> DayOrdersReport:
        heads = [
            o for o in self.orders.values() if o.parent is None and (o.sent_ns > since_ns or o.symbol in held)
        ]
        orders = (msgspec.structs.replace(o.view(), submitted_ns=Ns(o.sent_ns)) for o in heads)
        ours = tuple(order for order in orders if is_ours(order.client_order_id))
        return DayOrdersReport(ts_ns=Ns(self.now_ns), since_ns=Ns(since_ns), orders=ours)

    def fills_since(self, after_ns: int) -> FillsReport:
        found = tuple(fill for fill in self.fills if fill.at_ns > after_ns)
        return FillsReport(ts_ns=Ns(self.now_ns), after_ns=Ns(after_ns), fills=found)

    def truth(self, now_ns: int, asked: tuple[str, ...]) -> TruthReport:
        heads = [o for o in self.orders.values() if o.parent is None]
        wanted = [o for o in heads if o.live or any(leg.live for leg in o.legs) or o.client_order_id in asked]
        return TruthReport(
            ts_ns=Ns(now_ns),
            asked_ns=Ns(now_ns),
            orders=tuple(o.view() for o in wanted),
            missing=tuple(a for a in asked if a not in self.by_client),
            positions=tuple(
                PositionSnapshot(symbol=s, qty=Qty(q), qty_available=Qty(q), avg_price=Price(NANO))
                for s, q in sorted(self.positions.items())
                if q
            ),
        )
