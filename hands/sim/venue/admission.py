"""Which orders the venue takes: every rule of submission and replacement, in the order they are looked at.

Owns the rules and their refusals; changes nothing. Order: parameters (40010001), then asset, class and price
rules (42210000), then the account (403). Only the rank "fractional must be DAY" before "fractional must be
simple" was observed; the rest of the order is this exchange's choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from hands.core.units import CENT, NANO, Price, Qty, Usd, decimal_text, mul_ceil
from hands.core.vocab import OrderClass, OrderStatus, OrderType, PositionIntent, Side, TimeInForce
from hands.sim.venue import errors
from hands.sim.venue.account import Funds, closing_side, held_qty
from hands.sim.venue.assets import Asset
from hands.sim.venue.matching import is_marketable, is_through_stop
from hands.sim.venue.orders import NOT_REPLACEABLE, Order, OrderRequest, ReplaceRequest

CLIENT_ORDER_ID_MAX: Final = 128
CRYPTO_COST_MIN: Final = Usd(10 * NANO)
FRACTIONAL_COST_MIN: Final = Usd(NANO)
SHORTING_EQUITY_MIN: Final = Usd(2000 * NANO)

_CLASS_WORDS: Final = {OrderClass.BRACKET: "otoco", OrderClass.OCO: "oco", OrderClass.OTO: "oto"}
_EXTENDED: Final = "extended hours order must be DAY or GTC limit orders"


@dataclass(frozen=True, slots=True)
class Standing:
    """What the account looks like to one order: its market, holding, open orders of the symbol, and funds."""

    asset: Asset
    mark: Price
    ask: Price
    bid: Price
    position_qty: Qty
    live: Sequence[Order]
    funds: Funds
    is_settling: bool
    """Whether the books have not yet caught up with a fill."""


def check_parameters(request: OrderRequest) -> None:
    """Raise unless the fields are complete and agree with each other."""
    if request.qty <= 0:
        raise errors.parameter("qty must be > 0")
    _check_positive("limit price", request.limit_price)
    _check_positive("stop price", request.stop_price)
    _check_positive("take_profit.limit_price", request.take_profit_limit_price)
    _check_positive("stop_loss.stop_price", request.stop_loss_stop_price)
    _check_positive("stop_loss.limit_price", request.stop_loss_limit_price)
    has_limit, has_stop = request.limit_price is not None, request.stop_price is not None
    match request.order_type:
        case OrderType.MARKET if has_limit or has_stop:
            raise errors.parameter("market orders require no stop or limit price")
        case OrderType.LIMIT if not has_limit and request.order_class is not OrderClass.OCO:
            raise errors.parameter("limit orders require a limit price")
        case OrderType.LIMIT if has_stop:
            raise errors.parameter("limit orders require no stop price")
        case OrderType.STOP if not has_stop:
            raise errors.parameter("stop orders require a stop price")
        case OrderType.STOP if has_limit:
            raise errors.parameter("stop orders require no limit price")
        case OrderType.STOP_LIMIT if not (has_stop and has_limit):
            raise errors.parameter("stop limit orders require both stop and limit price")
        case OrderType.TRAILING_STOP:
            raise errors.parameter("invalid order type")
        case _:
            pass
    if request.client_order_id is not None and len(request.client_order_id) > CLIENT_ORDER_ID_MAX:
        raise errors.parameter("client_order_id must be no more than 128 characters")
    _check_class_parameters(request)


def _check_positive(name: str, price: Price | None) -> None:
    if price is not None and price <= 0:
        raise errors.parameter(f"{name} must be > 0")


def _check_class_parameters(request: OrderRequest) -> None:
    has_profit = request.take_profit_limit_price is not None
    has_stop = request.stop_loss_stop_price is not None
    order_class = request.order_class
    if order_class in (OrderClass.BRACKET, OrderClass.OCO):
        if not has_profit:
            raise errors.parameter(f"{order_class} orders require take_profit.limit_price")
        if not has_stop:
            raise errors.parameter(f"{order_class} orders require stop_loss.stop_price")
    if order_class is OrderClass.OTO and has_profit == has_stop:
        raise errors.parameter("oto orders require exactly one of take_profit or stop_loss")
    if order_class is OrderClass.OCO and request.order_type is not OrderType.LIMIT:
        raise errors.parameter("oco orders must be limit orders")


def check_rules(request: OrderRequest, asset: Asset) -> None:
    """Raise unless the asset may be traded by this type, time in force, class, quantity and price."""
    if asset.is_crypto:
        _check_crypto(request)
    else:
        _check_equity(request, asset)
    for name, price in (
        ("limit_price", request.limit_price),
        ("stop_price", request.stop_price),
        ("take_profit.limit_price", request.take_profit_limit_price),
        ("stop_loss.stop_price", request.stop_loss_stop_price),
        ("stop_loss.limit_price", request.stop_loss_limit_price),
    ):
        check_increment(name, price, asset)


def check_increment(name: str, price: Price | None, asset: Asset) -> None:
    """Raise unless `price` is a multiple of the asset's increment (the coins' wording is unconfirmed)."""
    if price is None or price % asset.tick(price) == 0:
        return
    why = (
        f"must be a multiple of price_increment {decimal_text(asset.price_increment)}"
        if asset.is_crypto
        else "sub-penny increment does not fulfill minimum pricing criteria"
    )
    raise errors.rule(f"invalid {name} {decimal_text(price)}. {why}")


def _check_crypto(request: OrderRequest) -> None:
    if request.order_class is not OrderClass.SIMPLE:
        raise errors.rule(
            f"crypto orders not allowed for advanced order_class: {_CLASS_WORDS[request.order_class]}"
        )
    if request.order_type not in (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT):
        raise errors.parameter("invalid order type for crypto order")
    if request.tif not in (TimeInForce.GTC, TimeInForce.IOC):
        raise errors.rule("invalid crypto time_in_force")


def _check_equity(request: OrderRequest, asset: Asset) -> None:
    if request.qty % NANO:
        _check_fractional(request, asset)
    simple_types = request.order_type in (OrderType.MARKET, OrderType.LIMIT)
    if request.tif is TimeInForce.OPG:
        # The auctions are not simulated: their windows are always shut.
        raise errors.forbidden("opg orders must be submitted after 7:00pm and before 9:28am")
    if request.tif is TimeInForce.CLS:
        raise errors.forbidden("cls orders must be submitted after 7:00pm and before 3:55pm")
    if request.tif in (TimeInForce.IOC, TimeInForce.FOK) and not simple_types:
        raise errors.parameter("invalid time_in_force")
    if request.order_class is not OrderClass.SIMPLE:
        if request.tif not in (TimeInForce.DAY, TimeInForce.GTC):
            raise errors.parameter("invalid time_in_force")
        if request.extended_hours:
            raise errors.rule(_EXTENDED)
        if request.order_class is not OrderClass.OCO and not simple_types:
            raise errors.parameter("invalid order type")
    if request.extended_hours:
        if request.order_type in (OrderType.STOP, OrderType.STOP_LIMIT):
            raise errors.rule("stop orders are not eligible for extended hours trading")
        if request.order_type is not OrderType.LIMIT or request.tif not in (TimeInForce.DAY, TimeInForce.GTC):
            raise errors.rule(_EXTENDED)


def _check_fractional(request: OrderRequest, asset: Asset) -> None:
    if request.tif is not TimeInForce.DAY:
        raise errors.rule("fractional orders must be DAY orders")
    if request.order_class is not OrderClass.SIMPLE:
        raise errors.rule("fractional orders must be simple orders")
    if not asset.fractionable:
        raise errors.rule(f'asset "{asset.symbol}" is not fractionable')


def check_group(request: OrderRequest, mark: Price) -> None:
    """Raise unless the legs lie on their sides of the base price: the limit if there is one, and the market."""
    profit, stop = request.take_profit_limit_price, request.stop_loss_stop_price
    is_oco = request.order_class is OrderClass.OCO
    closes_by_selling = (request.side is Side.SELL) if is_oco else (request.side is Side.BUY)
    limit = profit if is_oco else request.limit_price
    bases = [price for price in (limit, mark) if price]
    if closes_by_selling:
        if profit is not None and stop is not None and profit <= stop:
            raise errors.rule("take_profit.limit_price must be > stop_loss.stop_price")
        if stop is not None and bases and stop > min(bases) - CENT:
            raise _base_error("stop_loss.stop_price must be <= base_price - 0.01", min(bases))
        base = request.limit_price or mark
        if profit is not None and not is_oco and base and profit < base + CENT:
            raise _base_error("take_profit.limit_price must be >= base_price + 0.01", base)
    else:
        if profit is not None and stop is not None and profit >= stop:
            raise errors.rule("take_profit.limit_price must be < stop_loss.stop_price")
        if stop is not None and bases and stop < max(bases) + CENT:
            raise _base_error("stop_loss.stop_price must be >= base_price + 0.01", max(bases))
        base = request.limit_price or mark
        if profit is not None and not is_oco and base and profit > base - CENT:
            raise _base_error("take_profit.limit_price must be <= base_price - 0.01", base)


def _base_error(message: str, base: int) -> errors.VenueError:
    return errors.rule(message, base_price=decimal_text(base))


def check_stop(side: Side, stop_price: Price | None, mark: Price) -> None:
    """Raise if the market is already at or through the stop: such an order would be elected at once."""
    if stop_price is None or not is_through_stop(side, stop_price, mark):
        return
    word = "less" if side is Side.SELL else "greater"
    raise errors.rule(
        f"stop price must be {word} than current price",
        market_price=decimal_text(mark),
        stop_price=decimal_text(stop_price),
    )


def infer_intent(side: Side, position_qty: int) -> PositionIntent:
    """Return what an order of `side` does to the holding."""
    if side is Side.BUY:
        return PositionIntent.BUY_TO_CLOSE if position_qty < 0 else PositionIntent.BUY_TO_OPEN
    return PositionIntent.SELL_TO_CLOSE if position_qty > 0 else PositionIntent.SELL_TO_OPEN


def check_account(request: OrderRequest, standing: Standing) -> None:
    """Raise unless holding, open orders and money allow the order."""
    asset, position_qty = standing.asset, standing.position_qty
    inferred = infer_intent(request.side, position_qty)
    if request.position_intent not in (None, inferred):
        raise errors.rule(
            f"position intent mismatch, inferred: {inferred}, specified: {request.position_intent}"
        )
    closes = inferred in (PositionIntent.BUY_TO_CLOSE, PositionIntent.SELL_TO_CLOSE)
    if request.order_class in (OrderClass.BRACKET, OrderClass.OTO) and closes:
        raise errors.rule(f"{request.order_class} orders must be entry orders")
    if request.order_class is OrderClass.OCO and (not closes or standing.is_settling):
        raise errors.rule("oco orders must be exit orders")
    check_wash_trade(request, standing.live)
    price = request.limit_price or (standing.ask if request.side is Side.BUY else standing.bid)
    if not price:
        raise errors.forbidden(
            "order has been rejected due to no available quote for symbol. please reenter with a limit"
        )
    if asset.is_crypto:
        _check_crypto_account(request, standing, price)
    else:
        _check_equity_account(request, standing, price, closes=closes)


def check_wash_trade(request: OrderRequest, live: Sequence[Order]) -> None:
    """Raise if a simple order could trade with one of the account's own; groups are exempt."""
    if request.order_class is not OrderClass.SIMPLE:
        return
    for order in live:
        if order.side is request.side or order.is_complex:
            continue
        both_limits = order.order_type is OrderType.LIMIT and request.order_type is OrderType.LIMIT
        if both_limits:
            assert request.limit_price is not None
            if not is_marketable(order, request.limit_price):
                continue
        raise errors.forbidden(
            "potential wash trade detected. use complex orders",
            existing_order_id=order.order_id,
            reject_reason=f"opposite side {'limit' if both_limits else 'market/stop'} order exists",
        )


def _check_crypto_account(request: OrderRequest, standing: Standing, price: Price) -> None:
    asset, cost = standing.asset, mul_ceil(request.qty, price)
    if cost < CRYPTO_COST_MIN:
        raise errors.forbidden("cost basis must be >= minimal amount of order 10")
    if request.side is Side.BUY:
        spendable = standing.funds.non_marginable_buying_power
        if cost > spendable:
            raise _balance_error("USD", cost, spendable, standing.funds.cash)
        return
    available = max(0, standing.position_qty - held_qty(standing.live, Side.SELL))
    if request.qty > available:
        raise _balance_error(asset.coin, request.qty, available, standing.position_qty)


def _balance_error(symbol: str, requested: int, available: int, balance: int) -> errors.VenueError:
    return errors.forbidden(
        f"insufficient balance for {symbol} "
        f"(requested: {decimal_text(requested)}, available: {decimal_text(available)})",
        available=decimal_text(available),
        balance=decimal_text(balance),
        symbol=symbol,
    )


def _check_equity_account(request: OrderRequest, standing: Standing, price: Price, *, closes: bool) -> None:
    asset = standing.asset
    if request.qty % NANO and mul_ceil(request.qty, price) < FRACTIONAL_COST_MIN:
        raise errors.forbidden("cost basis must be >= minimal amount of order 1")
    if closes:
        check_available(request.qty, standing)
        return
    funds = standing.funds
    if request.side is Side.SELL:
        if not asset.shortable:
            raise errors.rule(f'asset "{asset.symbol}" cannot be sold short')
        if request.qty % NANO:
            raise errors.rule("fractional orders cannot be sold short")
        if funds.equity < SHORTING_EQUITY_MIN:
            raise errors.forbidden("account is not allowed to short")
        price = Price(max(price, -(-103 * standing.mark // 100)))
    cost = mul_ceil(request.qty, price)
    if cost > funds.buying_power:
        raise errors.forbidden(
            "insufficient buying power",
            buying_power=decimal_text(funds.buying_power),
            cost_basis=decimal_text(cost),
        )


def check_available(qty: Qty, standing: Standing) -> None:
    """Raise unless `qty` of the holding is free of other closing orders."""
    existing = abs(standing.position_qty)
    side = closing_side(standing.position_qty)
    held = held_qty(standing.live, side)
    available = max(0, existing - held)
    if qty <= available:
        return
    related = [o.order_id for o in standing.live if o.side is side and not o.is_dormant]
    raise errors.forbidden(
        f"insufficient qty available for order "
        f"(requested: {decimal_text(qty)}, available: {decimal_text(available)})",
        available=decimal_text(available),
        existing_qty=decimal_text(existing),
        held_for_orders=decimal_text(held),
        related_orders=related,
        symbol=standing.asset.symbol,
    )


def check_replace(order: Order, request: ReplaceRequest, mark: Price) -> None:
    """Raise unless `order` may be replaced as asked."""
    if order.status in NOT_REPLACEABLE:
        raise errors.rule(f"cannot replace order in {order.status} status")
    if order.status is OrderStatus.REPLACED:
        raise errors.rule("order already replaced")
    if not order.is_live:
        raise errors.rule("unable to replace order, order is not open")
    limit, stop = request.limit_price, request.stop_price
    _check_positive("limit price", limit)
    _check_positive("stop price", stop)
    if limit is not None and order.limit_price is None:
        raise errors.parameter(f"{_words(order)} orders require no limit price")
    if stop is not None and order.stop_price is None:
        raise errors.parameter(f"{_words(order)} orders require no stop price")
    unchanged = (
        request.qty in (None, order.qty)
        and limit in (None, order.limit_price)
        and stop in (None, order.stop_price)
        and request.tif in (None, order.tif)
        and request.client_order_id is None
    )
    if unchanged:
        raise errors.rule("order parameters are not changed")
    _check_new_qty(order, request.qty)
    _check_new_tif(order, request.tif)
    check_increment("limit_price", limit, order.asset)
    check_increment("stop_price", stop, order.asset)
    if not order.elected:
        check_stop(order.side, stop, mark)


def _check_new_qty(order: Order, qty: Qty | None) -> None:
    if qty is None:
        return
    if qty <= 0:
        raise errors.parameter("qty must be > 0")
    if qty <= order.filled_qty:
        raise errors.rule("qty must be > filled_qty")
    if not order.asset.is_crypto and (qty % NANO or order.qty % NANO):
        raise errors.parameter("qty must be an integer")
    if order.group is not None and qty != order.qty:
        raise errors.rule("qty of a complex order cannot be replaced")


def _check_new_tif(order: Order, tif: TimeInForce | None) -> None:
    allowed = (
        (TimeInForce.GTC, TimeInForce.IOC) if order.asset.is_crypto else (TimeInForce.DAY, TimeInForce.GTC)
    )
    if tif is not None and tif not in allowed:
        raise errors.parameter("invalid time_in_force")


def check_replacement(old: Order, new: Order, standing: Standing) -> None:
    """Raise unless the account could afford `new` in place of `old`: money if it opens, shares if it closes."""
    others = [order for order in standing.live if order is not old]
    if new.group is not None and new.group.entry is not old:
        return  # a leg keeps its quantity and never opens
    if new.side is closing_side(standing.position_qty) and standing.position_qty:
        check_available(new.remaining, replace(standing, live=others))
        return
    before, after = mul_ceil(old.remaining, old.reserve_price), mul_ceil(new.remaining, new.reserve_price)
    funds = standing.funds
    spendable = funds.non_marginable_buying_power if new.asset.is_crypto else funds.buying_power
    if after - before > spendable:
        raise errors.forbidden(
            "insufficient buying power",
            buying_power=decimal_text(spendable),
            cost_basis=decimal_text(after),
        )


def _words(order: Order) -> str:
    return order.order_type.replace("_", " ")
