"""From a request to orders: builds an order with its group, and the successor of a replaced one.

Owns how a request's fields become orders (which leg is which, what is inherited, when it expires). May not
judge: admission has already said yes. Legs get ids of the exchange's own making, as the venue does.
"""

from __future__ import annotations

import copy

from hands.core.units import Ns, Price, Qty, Ratio
from hands.core.vocab import Leg, OrderClass, OrderStatus, OrderType, PositionIntent, Side
from hands.sim.venue.assets import Asset
from hands.sim.venue.blotter import Blotter
from hands.sim.venue.matching import reserve_price
from hands.sim.venue.orders import Group, Order, OrderRequest, ReplaceRequest
from hands.sim.venue.trailing import follow, is_trailing, trail_stop

_OPENING = frozenset({PositionIntent.BUY_TO_OPEN, PositionIntent.SELL_TO_OPEN})


def write_ticket(
    request: OrderRequest,
    asset: Asset,
    blotter: Blotter,
    *,
    qty: Qty,
    intent: PositionIntent,
    ask: Price,
    mark: Price,
    t_ns: Ns,
    expires_ns: Ns,
) -> Order:
    """Return the order `request` asks for, `pending_new`, in the blotter with its `held` legs.

    `qty` is what it is for: of an order in dollars what they buy.
    """
    is_oco = request.order_class is OrderClass.OCO
    limit = request.take_profit_limit_price if is_oco else request.limit_price
    order = Order(
        order_id=blotter.new_id(),
        client_order_id=request.client_order_id or blotter.new_id(),
        asset=asset,
        side=request.side,
        order_type=request.order_type,
        order_class=request.order_class,
        tif=request.tif,
        qty=qty,
        limit_price=limit,
        stop_price=request.stop_price,
        leg=Leg.TAKE_PROFIT if is_oco else Leg.ENTRY if intent in _OPENING else Leg.EXIT,
        position_intent=intent,
        extended_hours=request.extended_hours,
        created_ns=t_ns,
        expires_ns=expires_ns,
        sequence=len(blotter),
        status=OrderStatus.PENDING_NEW,
        updated_ns=t_ns,
        notional=request.notional,
        trail_price=request.trail_price,
        trail_percent=request.trail_percent,
    )
    if is_trailing(order):
        follow(order, mark)
    order.reserve_price = reserve_price(order.order_type, order.side, limit, order.stop_price, ask)
    order.set_status(OrderStatus.PENDING_NEW, t_ns)
    blotter.add(order)
    if request.order_class is not OrderClass.SIMPLE:
        _write_legs(request, order, blotter, t_ns)
    return order


def _write_legs(request: OrderRequest, parent: Order, blotter: Blotter, t_ns: Ns) -> None:
    is_oco = request.order_class is OrderClass.OCO
    group = parent.group = Group(request.order_class, None, None, None, active=is_oco)
    profit, stop = request.take_profit_limit_price, request.stop_loss_stop_price
    if is_oco:
        group.take_profit = parent
    else:
        group.entry = parent
        if profit is not None:
            group.take_profit = _leg(
                parent, Leg.TAKE_PROFIT, blotter, t_ns, order_type=OrderType.LIMIT, limit=profit
            )
    if stop is not None:
        limit = request.stop_loss_limit_price
        kind = OrderType.STOP if limit is None else OrderType.STOP_LIMIT
        group.stop_loss = _leg(parent, Leg.STOP_LOSS, blotter, t_ns, order_type=kind, limit=limit, stop=stop)


def _leg(
    parent: Order,
    leg: Leg,
    blotter: Blotter,
    t_ns: Ns,
    *,
    order_type: OrderType,
    limit: Price | None = None,
    stop: Price | None = None,
) -> Order:
    side = parent.side if parent.leg is Leg.TAKE_PROFIT else parent.side.opposite
    order = copy.copy(parent)
    order.order_id, order.client_order_id = blotter.new_id(), blotter.new_id()
    order.side, order.order_type, order.limit_price, order.stop_price = side, order_type, limit, stop
    order.leg, order.sequence, order.history = leg, len(blotter), []
    order.position_intent = PositionIntent.SELL_TO_CLOSE if side is Side.SELL else PositionIntent.BUY_TO_CLOSE
    order.set_status(OrderStatus.HELD, t_ns)
    blotter.add(order)
    return order


def write_successor(
    old: Order,
    request: ReplaceRequest,
    ask: int,
    blotter: Blotter,
    t_ns: Ns,
    *,
    expires_ns: Ns | None = None,
    qty_is_total: bool = True,
) -> Order:
    """Return the order that would replace `old`, not yet in the blotter: same status, fills carried on.

    `qty_is_total`: the quantity asked for includes what has filled so far; otherwise it comes on top.
    """
    new = copy.copy(old)
    new.order_id = blotter.new_id()
    new.client_order_id = request.client_order_id or blotter.new_id()
    new.replaces, new.replaced_by = old.order_id, None
    new.tif = request.tif if request.tif is not None else old.tif
    new.expires_ns = expires_ns if expires_ns is not None else old.expires_ns
    new.created_ns, new.sequence, new.history = t_ns, len(blotter), []
    new.status_behind = new.cancel_requested_ns = new.successor = new.takes_over_ns = None
    if request.qty is not None:
        new.qty = request.qty if qty_is_total else Qty(request.qty + old.filled_qty)
    carry_over(old, new, request)
    new.reserve_price = reserve_price(new.order_type, new.side, new.limit_price, new.stop_price, ask)
    new.set_status(old.own_status, t_ns)
    return new


def carry_over(old: Order, new: Order, request: ReplaceRequest) -> None:
    """Give `new` what `old` is by now, but for what `request` changes."""
    new.filled_qty, new.filled_cost, new.traded_value = old.filled_qty, old.filled_cost, old.traded_value
    new.elected_ns, new.cap_price, new.is_working = old.elected_ns, old.cap_price, old.is_working
    if request.qty is None:
        new.qty = old.qty
    new.limit_price = request.limit_price if request.limit_price is not None else old.limit_price
    new.stop_price = request.stop_price if request.stop_price is not None else old.stop_price
    if is_trailing(old):
        _carry_trail(old, new, request.trail)
    # Its place in the queue is lost, unless it only asks for less at the same price.
    keeps_place = new.limit_price == old.limit_price and new.qty <= old.qty
    new.queue_ahead = old.queue_ahead if keeps_place else None


def _carry_trail(old: Order, new: Order, trail: Ratio | None) -> None:
    new.high_water_mark = old.high_water_mark
    new.trail_price, new.trail_percent = old.trail_price, old.trail_percent
    if trail is not None and old.trail_price is not None:
        new.trail_price = Price(trail)
    elif trail is not None:
        new.trail_percent = trail
    if new.high_water_mark is not None:
        new.stop_price = trail_stop(new, new.high_water_mark)
