"""What the instrument takes, and where its market stands to an order's prices.

Owns the refusals of 422/42210000: class, type, time in force, parts of a share, price increments, hours, the
geometry of groups, entry or exit, what can be sold short. May not look at the account's money. Equities and coins
have rules of their own; every rule of groups is here, since they are about prices.
"""

from __future__ import annotations

from typing import Final

from hands.core.units import CENT, Price, decimal_text
from hands.core.vocab import OrderClass, OrderType, PositionIntent, Side, TimeInForce
from hands.sim.venue import errors
from hands.sim.venue.admission.standing import Standing, infer_intent, is_fractional, reduces
from hands.sim.venue.assets import Asset, AssetTable
from hands.sim.venue.matching import is_through_stop
from hands.sim.venue.orders import AUCTIONS, OrderRequest
from hands.sim.venue.quirks import Quirks

_CLASS_WORDS: Final = {OrderClass.BRACKET: "otoco", OrderClass.OCO: "oco", OrderClass.OTO: "oto"}
_IMMEDIATE: Final = (TimeInForce.IOC, TimeInForce.FOK)
_DAY_GTC: Final = (TimeInForce.DAY, TimeInForce.GTC)
_CRYPTO_TIF: Final = (TimeInForce.GTC, TimeInForce.IOC)


def find_asset(key: str, assets: AssetTable) -> Asset:
    """Return the asset an order names by symbol or id. Raises unless there is one and it is traded."""
    asset = assets.get(key)
    if not asset.is_active:
        raise errors.parameter(f"asset {asset.symbol} is not active")
    if not asset.tradable:
        raise errors.rule(f'asset "{asset.symbol}" is not tradable')
    return asset


def check_instrument(request: OrderRequest, asset: Asset, quirks: Quirks) -> None:
    """Raise unless the asset may be traded by this class, type, time in force, quantity and price."""
    if asset.is_crypto:
        _check_crypto(request, asset, quirks)
    else:
        _check_equity(request, asset, quirks)
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


def check_tif(tif: TimeInForce, asset: Asset, quirks: Quirks) -> None:
    """Raise unless the asset's orders may have this time in force at all."""
    if asset.is_crypto:
        if tif not in _CRYPTO_TIF:
            raise errors.rule("invalid crypto time_in_force")
        return
    refused = (quirks.ioc_fok == "refused" and tif in _IMMEDIATE) or (
        quirks.auctions == "refused" and tif in AUCTIONS
    )
    if refused:
        raise errors.parameter("invalid time_in_force")
    if tif is not TimeInForce.DAY and asset.is_hard_to_borrow and quirks.hard_to_borrow_tif == "all":
        raise day_only(asset)


def _check_crypto(request: OrderRequest, asset: Asset, quirks: Quirks) -> None:
    if request.order_class is not OrderClass.SIMPLE:
        word = _CLASS_WORDS[request.order_class]
        raise errors.rule(f"crypto orders not allowed for advanced order_class: {word}")
    if request.order_type not in (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT):
        raise errors.parameter("invalid order type for crypto order")
    check_tif(request.tif, asset, quirks)
    if request.extended_hours:
        raise errors.rule("extended hours orders are not allowed for crypto")  # unconfirmed


def _check_equity(request: OrderRequest, asset: Asset, quirks: Quirks) -> None:
    if is_fractional(request):
        _check_fractional(request, asset, quirks)
    check_tif(request.tif, asset, quirks)
    takes_all_tifs = request.order_type in (OrderType.MARKET, OrderType.LIMIT)
    if request.tif not in _DAY_GTC and not takes_all_tifs:
        raise errors.parameter("invalid time_in_force")
    if request.order_class is not OrderClass.SIMPLE:
        if request.tif not in _DAY_GTC:
            raise errors.parameter("invalid time_in_force")
        if request.extended_hours:
            raise _not_for_extended_hours(quirks)
        if not takes_all_tifs:
            raise errors.parameter("invalid order type")
    if request.extended_hours:
        _check_extended_hours(request, quirks)


def _check_extended_hours(request: OrderRequest, quirks: Quirks) -> None:
    if request.order_type in (OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP):
        raise errors.rule("stop orders are not eligible for extended hours trading")
    if request.order_type is not OrderType.LIMIT:
        raise _not_for_extended_hours(quirks)
    check_extended_tif(request.tif, quirks)


def check_extended_tif(tif: TimeInForce, quirks: Quirks) -> None:
    """Raise unless orders for extended hours may have this time in force."""
    allowed = _DAY_GTC if quirks.extended_tif == "day_gtc" else (TimeInForce.DAY,)
    if tif not in allowed:
        raise _not_for_extended_hours(quirks)


def _not_for_extended_hours(quirks: Quirks) -> errors.VenueError:
    kinds = "DAY or GTC" if quirks.extended_tif == "day_gtc" else "DAY"
    return errors.rule(f"extended hours order must be {kinds} limit orders")


def _check_fractional(request: OrderRequest, asset: Asset, quirks: Quirks) -> None:
    if request.tif is not TimeInForce.DAY:
        raise errors.rule("fractional orders must be DAY orders")
    if request.order_class is not OrderClass.SIMPLE:
        raise errors.rule("fractional orders must be simple orders")
    if not asset.fractionable:
        if quirks.not_fractionable_refusal == "403":
            raise errors.forbidden("requested asset is not fractionable")
        raise errors.rule(f'asset "{asset.symbol}" is not fractionable')
    if request.order_type is OrderType.TRAILING_STOP:
        raise errors.rule("trailing stop orders must be for whole shares")  # unconfirmed


def check_market(request: OrderRequest, standing: Standing) -> None:
    """Raise unless the order's prices lie on their sides of the market, and its class and side fit the holding."""
    asset, quirks = standing.asset, standing.quirks
    is_refused_in_halt = standing.is_halted and quirks.halted_market == "refused"
    if request.order_type is OrderType.MARKET and is_refused_in_halt:
        raise errors.rule(
            f'market order rejected due to trading halt on symbol: "{asset.symbol}", '
            "please place a limit order instead"
        )
    if request.order_class is OrderClass.SIMPLE:
        check_stop(request.side, request.stop_price, standing.mark)
    else:
        _check_group(request, standing.mark)
    _check_intent(request, standing)
    if request.side is Side.SELL and not reduces(request.side, standing.position_qty) and not asset.is_crypto:
        _check_short(request, asset)
    if request.tif is not TimeInForce.DAY and asset.is_hard_to_borrow and _sells(request):
        raise day_only(asset)


def _check_intent(request: OrderRequest, standing: Standing) -> None:
    inferred = infer_intent(request.side, standing.position_qty)
    if request.position_intent not in (None, inferred):
        raise errors.rule(
            f"position intent mismatch, inferred: {inferred}, specified: {request.position_intent}"
        )
    closes = inferred in (PositionIntent.BUY_TO_CLOSE, PositionIntent.SELL_TO_CLOSE)
    is_entry_class = request.order_class in (OrderClass.BRACKET, OrderClass.OTO)
    is_addition = standing.position_qty != 0 and standing.quirks.bracket_additions == "refused"
    if is_entry_class and (closes or is_addition):
        refuse = errors.forbidden if standing.quirks.bracket_entry_refusal == "403" else errors.rule
        raise refuse(f"{request.order_class} orders must be entry orders")
    if request.order_class is OrderClass.OCO and (not closes or standing.is_settling):
        raise errors.rule("oco orders must be exit orders")


def _check_short(request: OrderRequest, asset: Asset) -> None:
    if not asset.shortable:
        raise errors.rule(f'asset "{asset.symbol}" cannot be sold short')
    if is_fractional(request):
        raise errors.rule("fractional orders cannot be sold short")


def _sells(request: OrderRequest) -> bool:
    """Return whether the order or one of its legs sells."""
    return request.side is Side.SELL or request.order_class in (OrderClass.BRACKET, OrderClass.OTO)


def day_only(asset: Asset) -> errors.VenueError:
    """Return the refusal of an order that outlives the day in an asset that is hard to borrow."""
    return errors.rule(f'only day orders are allowed for hard-to-borrow asset "{asset.symbol}"')


def _check_group(request: OrderRequest, mark: Price) -> None:
    profit, stop = request.take_profit_limit_price, request.stop_loss_stop_price
    if request.order_class is OrderClass.OCO:
        check_legs(request.side, profit, stop)
        check_stop_leg(request.side, stop, profit, mark)
        return
    side = request.side.opposite
    check_legs(side, profit, stop)
    check_stop_leg(side, stop, request.limit_price, mark)
    check_target_leg(side, profit, request.limit_price or mark)


def check_legs(side: Side, profit: Price | None, stop: Price | None) -> None:
    """Raise unless the target lies beyond the stop; `side` is the legs'."""
    if profit is None or stop is None:
        return
    if side is Side.SELL and profit <= stop:
        raise errors.rule("take_profit.limit_price must be > stop_loss.stop_price")
    if side is Side.BUY and profit >= stop:
        raise errors.rule("take_profit.limit_price must be < stop_loss.stop_price")


def check_stop_leg(side: Side, stop: Price | None, limit: Price | None, mark: Price) -> None:
    """Raise unless a group's stop is a cent off its base price: the group's limit and the market, the nearer."""
    bases = [price for price in (limit, mark) if price]
    if stop is None or not bases:
        return
    if side is Side.SELL and stop > min(bases) - CENT:
        raise _base_error("stop_loss.stop_price must be <= base_price - 0.01", min(bases))
    if side is Side.BUY and stop < max(bases) + CENT:
        raise _base_error("stop_loss.stop_price must be >= base_price + 0.01", max(bases))


def check_target_leg(side: Side, profit: Price | None, base: Price) -> None:
    """Raise unless an entry's target is a cent off its base price: the entry's limit, or the market without one."""
    if profit is None or not base:
        return
    if side is Side.SELL and profit < base + CENT:
        raise _base_error("take_profit.limit_price must be >= base_price + 0.01", base)
    if side is Side.BUY and profit > base - CENT:
        raise _base_error("take_profit.limit_price must be <= base_price - 0.01", base)  # unconfirmed


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
