"""Whether a live order may be replaced as asked: the same three steps for a change to an order.

Owns the refusals of PATCH /v2/orders/{id}. The idea: what the change makes of the order must itself be an order
the venue would take, but for its quantity, which only has to be worth more than what has filled already.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hands.core.units import NANO, Price, Qty, Usd, mul_ceil
from hands.core.vocab import OrderClass, OrderStatus, OrderType, Side, TimeInForce
from hands.sim.venue import errors
from hands.sim.venue.account import opens, reserved_cost
from hands.sim.venue.admission.account import (
    check_affordable,
    check_authority,
    check_available,
    check_cost_basis,
    check_wash_trade,
)
from hands.sim.venue.admission.instruments import (
    check_extended_tif,
    check_increment,
    check_legs,
    check_stop,
    check_stop_leg,
    check_target_leg,
    check_tif,
    day_only,
)
from hands.sim.venue.admission.parameters import (
    CLIENT_ORDER_ID_MAX,
    check_positive,
    check_trail_percent,
    words,
)
from hands.sim.venue.admission.standing import Standing
from hands.sim.venue.orders import AUCTIONS, NOT_REPLACEABLE, Group, Order, ReplaceRequest
from hands.sim.venue.quirks import Quirks

_AT_MARKET: Final = (OrderType.MARKET, OrderType.LIMIT)
_DAY_GTC: Final = (TimeInForce.DAY, TimeInForce.GTC)


def check_replace(order: Order, request: ReplaceRequest, standing: Standing) -> None:
    """Raise unless `order` may be replaced as asked, its account aside."""
    _check_status(order)
    _check_fields(order, request)
    if _is_unchanged(order, request, standing.quirks):
        raise errors.rule("order parameters are not changed")
    _check_new_qty(order, request.qty, standing.quirks)
    _check_new_tif(order, request, standing.quirks)
    check_increment("limit_price", request.limit_price, order.asset)
    check_increment("stop_price", request.stop_price, order.asset)
    if order.group is not None:
        _check_group(order, order.group, request, standing.mark)
    if not order.elected:
        check_stop(order.side, request.stop_price, standing.mark)


def check_replacement(old: Order, new: Order, standing: Standing) -> None:
    """Raise unless the account may have `new` in place of `old`: money if it opens, shares if it closes.

    Until the one has replaced the other the larger of the two is held back, so that only more than that is new.
    """
    check_authority(standing)
    if new.group is not None and new.group.entry is not old:
        return  # a leg keeps its quantity and never opens
    others = [order for order in standing.live if order is not old]
    check_wash_trade(new.order_class, new.order_type, new.side, new.limit_price, others)
    price = new.limit_price or new.reserve_price
    check_cost_basis(Usd(mul_ceil(new.qty, price)), standing, is_fractional=new.is_fractional)
    if opens(old, standing.position_qty):  # `new` is not its group's entry before it takes over
        check_affordable(reserved_cost(new), standing, released=reserved_cost(old))
    else:
        check_available(new.remaining, replace(standing, live=others))


def _check_status(order: Order) -> None:
    group = order.group
    siblings = group.members() if group is not None else []
    if order.status is OrderStatus.PENDING_REPLACE:
        raise errors.rule("order already pending replacement")
    if order.takes_over_ns is not None and order.is_live:
        raise errors.rule("order chain not fully replaced")
    if any(sibling.status is OrderStatus.PENDING_REPLACE for sibling in siblings):
        raise errors.rule("order chain not fully replaced")
    if order.status in NOT_REPLACEABLE:
        raise errors.rule(f"cannot replace order in {order.status} status")
    if order.status is OrderStatus.REPLACED:
        raise errors.rule("order already replaced")
    if not order.is_live:
        raise errors.rule("unable to replace order, order is not open")
    if order.notional is not None:
        raise errors.rule("notional orders cannot be replaced")  # documented, the wording is unconfirmed
    if order.order_class is OrderClass.OTO:
        raise errors.rule("oto orders cannot be replaced")  # documented, the wording is unconfirmed


def _check_fields(order: Order, request: ReplaceRequest) -> None:
    kind = words(order.order_type)
    is_trailing = order.order_type is OrderType.TRAILING_STOP
    check_positive("qty", request.qty)
    check_positive("limit price", request.limit_price)
    check_positive("stop price", request.stop_price)
    check_positive("trail", request.trail)
    # The wordings of the next three are unconfirmed.
    if request.limit_price is not None and order.limit_price is None:
        raise errors.parameter(f"{kind} orders require no limit price")
    if request.stop_price is not None and (order.stop_price is None or is_trailing):
        raise errors.parameter(f"{kind} orders require no stop price")
    if request.trail is not None and not is_trailing:
        raise errors.parameter(f"{kind} orders must not have trail")
    if order.trail_percent is not None:
        check_trail_percent(request.trail)
    if request.client_order_id is not None and len(request.client_order_id) > CLIENT_ORDER_ID_MAX:
        raise errors.parameter("client_order_id must be no more than 128 characters")


def _is_unchanged(order: Order, request: ReplaceRequest, quirks: Quirks) -> bool:
    return (
        (request.qty is None or _in_total(order, request.qty, quirks) == order.qty)
        and request.limit_price in (None, order.limit_price)
        and request.stop_price in (None, order.stop_price)
        and request.tif in (None, order.tif)
        and request.trail in (None, order.trail_price, order.trail_percent)
        and request.client_order_id is None
    )


def _in_total(order: Order, qty: Qty, quirks: Quirks) -> Qty:
    """Return the quantity that a replacement with `qty` would have, what has filled of `order` included."""
    return qty if quirks.replace_qty == "total" else Qty(qty + order.filled_qty)


def _check_new_qty(order: Order, qty: Qty | None, quirks: Quirks) -> None:
    if qty is None:
        return
    total = _in_total(order, qty, quirks)
    if total <= order.filled_qty:
        raise errors.rule("qty must be > filled_qty")
    if not order.asset.is_crypto and (qty % NANO or order.qty % NANO):
        raise errors.parameter("qty must be an integer")  # documented, the wording is unconfirmed
    if order.group is not None and total != order.qty:
        raise errors.rule(
            "qty of a complex order cannot be replaced"
        )  # documented, the wording is unconfirmed


def _check_new_tif(order: Order, request: ReplaceRequest, quirks: Quirks) -> None:
    tif = request.tif
    if tif is None or tif is order.tif:
        return
    check_tif(tif, order.asset, quirks)
    if order.group is not None:
        # Documented are new prices only; legs that end before their entry would take it with them.
        raise errors.rule("time_in_force of a complex order cannot be replaced")  # unconfirmed
    if order.asset.is_crypto:
        return
    if order.side is Side.SELL and order.asset.is_hard_to_borrow and tif is not TimeInForce.DAY:
        raise day_only(order.asset)
    if order.is_fractional and tif is not TimeInForce.DAY:
        raise errors.rule("fractional orders must be DAY orders")
    if order.extended_hours:
        check_extended_tif(tif, quirks)
    # Unconfirmed: an order in the book does not go back and wait for an auction.
    if tif in AUCTIONS or (tif not in _DAY_GTC and order.order_type not in _AT_MARKET):
        raise errors.parameter("invalid time_in_force")


def _check_group(order: Order, group: Group, request: ReplaceRequest, mark: Price) -> None:
    """Raise unless the group's prices would still lie on their sides: of each other, and of an entry to come."""
    entry, target, stop_leg = group.entry, group.take_profit, group.stop_loss
    side = order.side.opposite if order is entry else order.side
    profit, stop = (target.limit_price if target else None), (stop_leg.stop_price if stop_leg else None)
    base = entry.limit_price if entry is not None and not group.active else None
    if order is target:
        profit = request.limit_price or profit
    elif order is stop_leg:
        stop = request.stop_price or stop
    elif order is entry:
        base = request.limit_price or base
    check_legs(side, profit, stop)
    if not group.active:
        check_stop_leg(side, stop, base, mark)
        check_target_leg(side, profit, base or mark)
