"""Whether the fields of an order are complete and agree with each other: what needs no market and no account.

Owns the refusals of 422/40010001. Knows nothing but the request (and, for a client order id, the order that has it).
"""

from __future__ import annotations

from typing import Final

from hands.core.units import NANO, Price, Ratio, Usd
from hands.core.vocab import OrderClass, OrderType
from hands.sim.venue import errors
from hands.sim.venue.orders import Order, OrderRequest
from hands.sim.venue.quirks import Quirks

CLIENT_ORDER_ID_MAX: Final = 128
NOTIONAL_MIN: Final = Usd(NANO)
TRAIL_PERCENT_MIN: Final = Ratio(NANO // 10)


def check_parameters(request: OrderRequest, quirks: Quirks) -> None:
    """Raise unless the fields are complete and agree with each other."""
    _check_amount(request, quirks)
    check_positive("limit price", request.limit_price)
    check_positive("stop price", request.stop_price)
    check_positive("take_profit.limit_price", request.take_profit_limit_price)
    check_positive("stop_loss.stop_price", request.stop_loss_stop_price)
    check_positive("stop_loss.limit_price", request.stop_loss_limit_price)
    _check_type(request)
    _check_trail(request)
    if request.client_order_id is not None and len(request.client_order_id) > CLIENT_ORDER_ID_MAX:
        raise errors.parameter("client_order_id must be no more than 128 characters")
    _check_class(request, quirks)


def check_client_order_id(prior: Order | None, quirks: Quirks) -> None:
    """Raise if an order `prior` has the id; which code is said to depend on whether that order is still open."""
    if prior is None:
        return
    message = "client_order_id must be unique"
    is_rule = prior.is_live and quirks.open_duplicate_code == str(errors.RULE)
    raise errors.rule(message) if is_rule else errors.parameter(message)


def check_positive(name: str, value: int | None) -> None:
    """Raise if a price is given and is no price."""
    if value is not None and value <= 0:
        raise errors.parameter(f"{name} must be > 0")


def check_trail_percent(value: int | None) -> None:
    """Raise if a trail in per cent is given and too small."""
    if value is not None and value < TRAIL_PERCENT_MIN:
        raise errors.parameter("trail_percent must be greater than or equal to 0.1")


def words(order_type: OrderType) -> str:
    """Return the type as messages name it ("stop limit")."""
    return order_type.replace("_", " ")


def _check_amount(request: OrderRequest, quirks: Quirks) -> None:
    if request.notional is None:
        check_positive("qty", request.qty)
        return
    if request.qty:
        status = int(quirks.both_amounts_status)
        raise errors.VenueError(status, errors.PARAMETER, "only one of qty or notional is accepted")
    if request.notional < NOTIONAL_MIN:
        raise errors.parameter("notional must be >= 1.00")


def _check_type(request: OrderRequest) -> None:
    has_limit, has_stop = request.limit_price is not None, request.stop_price is not None
    match request.order_type:
        case OrderType.MARKET if has_limit or has_stop:
            raise errors.parameter("market orders require no stop or limit price")
        case OrderType.LIMIT if not has_limit and request.order_class is not OrderClass.OCO:
            raise errors.parameter("limit orders require a limit price")
        case OrderType.LIMIT if has_stop:
            raise errors.parameter("limit orders require no stop price")  # unconfirmed
        case OrderType.STOP if not has_stop:
            raise errors.parameter("stop orders require a stop price")
        case OrderType.STOP if has_limit:
            raise errors.parameter("stop orders require no limit price")  # unconfirmed
        case OrderType.STOP_LIMIT if not (has_stop and has_limit):
            raise errors.parameter("stop limit orders require both stop and limit price")
        case OrderType.TRAILING_STOP if has_limit or has_stop:
            raise errors.parameter("trailing stop orders require no stop or limit price")  # unconfirmed
        case _:
            pass


def _check_trail(request: OrderRequest) -> None:
    trails: tuple[tuple[str, Price | Ratio | None], ...] = (
        ("trail_price", request.trail_price),
        ("trail_percent", request.trail_percent),
    )
    given = [name for name, value in trails if value is not None]
    if request.order_type is not OrderType.TRAILING_STOP:
        if given:
            raise errors.parameter(f"{words(request.order_type)} orders must not have {given[0]}")
        return
    if len(given) != 1:
        raise errors.parameter("trailing stop orders must specify one of trail_price or trail_percent")
    check_positive("trail_price", request.trail_price)  # the wording is unconfirmed
    check_trail_percent(request.trail_percent)


def _check_class(request: OrderRequest, quirks: Quirks) -> None:
    has_profit = request.take_profit_limit_price is not None
    has_stop = request.stop_loss_stop_price is not None
    has_legs = has_profit or has_stop or request.stop_loss_limit_price is not None
    order_class = request.order_class
    match order_class:
        case OrderClass.SIMPLE if has_legs and quirks.simple_legs == "refused":
            raise errors.parameter("simple orders must not have take_profit or stop_loss")  # unconfirmed
        case OrderClass.BRACKET | OrderClass.OCO if not has_profit:
            raise errors.parameter(f"{order_class} orders require take_profit.limit_price")
        case OrderClass.BRACKET | OrderClass.OCO if not has_stop:
            raise errors.parameter(f"{order_class} orders require stop_loss.stop_price")
        case OrderClass.OTO if has_profit == has_stop:
            raise errors.parameter(
                "oto orders require exactly one of take_profit or stop_loss"
            )  # unconfirmed
        case OrderClass.OCO if request.order_type is not OrderType.LIMIT:
            raise errors.parameter("oco orders must be limit orders")  # unconfirmed
        case _:
            pass
