"""Whether the account may send an order: leave to trade, wash trades, shares and money.

Owns the refusals of 403/40310000. May not look at what the order says of itself, which the earlier checks have
been through.

Wash trades, by the type of the live order on the other side and of the new one (bracket, OCO, OTO and trailing
stop orders are exempt on both sides): a live market or stop order refuses every new one; a live limit or
stop-limit order refuses market and stop orders, and limit and stop-limit orders that would cross it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from hands.core.units import NANO, NS_PER_S, Price, Qty, Usd, decimal_text
from hands.core.vocab import OrderClass, OrderType, Side, TimeInForce
from hands.sim.venue import errors
from hands.sim.venue.account import closing_side, free_qty, held_qty, opens
from hands.sim.venue.admission.standing import (
    CRYPTO_COST_MIN,
    Standing,
    cost_basis,
    is_fractional,
    opening_cost,
    reduces,
    requested_qty,
    traded_price,
)
from hands.sim.venue.assets import PTP_NO_EXCEPTION
from hands.sim.venue.calendar import CLOSE, NEW_YORK, trading_day
from hands.sim.venue.orders import AUCTIONS, Order, OrderRequest

CRYPTO_COST_MAX: Final = Usd(200_000 * NANO)
FRACTIONAL_COST_MIN: Final = Usd(NANO)
SHORTING_EQUITY_MIN: Final = Usd(2000 * NANO)
AUCTION_ENTRY_OPENS: Final = dt.time(19, 0)
OPG_ENTRY_CLOSES: Final = dt.time(9, 28)
CLS_ENTRY_LEAD: Final = {"3:55pm": dt.timedelta(minutes=5), "3:50pm": dt.timedelta(minutes=10)}
_PRICED: Final = (OrderType.LIMIT, OrderType.STOP_LIMIT)


def check_account(request: OrderRequest, standing: Standing) -> None:
    """Raise unless the account, its open orders, its shares and its money allow the order."""
    closes = reduces(request.side, standing.position_qty)
    check_authority(standing)
    _check_leave(request, standing, closes=closes)
    _check_auction_hours(request.tif, standing)
    check_wash_trade(
        request.order_class, request.order_type, request.side, request.limit_price, standing.live
    )
    if not closes:
        _check_direction(request.side, standing)
    if not traded_price(request, standing):
        raise errors.forbidden(
            "order has been rejected due to no available quote for symbol. please reenter with a limit"
        )
    if not requested_qty(request, standing):
        raise errors.parameter("qty must be > 0")  # the dollars buy less than the smallest part of one
    check_cost_basis(cost_basis(request, standing), standing, is_fractional=is_fractional(request))
    if closes or (standing.asset.is_crypto and request.side is Side.SELL):
        check_available(requested_qty(request, standing), standing)
    else:
        check_affordable(opening_cost(request, standing), standing)


def check_authority(standing: Standing) -> None:
    """Raise unless the account may send orders at all."""
    if not standing.flags.may_trade(crypto=standing.asset.is_crypto):
        raise errors.forbidden("account is not authorized to trade")
    if standing.configurations.suspend_trade:
        raise errors.forbidden("new orders are rejected by user request")


def _check_leave(request: OrderRequest, standing: Standing, *, closes: bool) -> None:
    """Raise unless the account may do this kind of thing."""
    asset, settings = standing.asset, standing.configurations
    if not closes and standing.flags.liquidation_only:
        raise errors.forbidden("account is restricted to liquidation only")
    if is_fractional(request) and not asset.is_crypto and not settings.fractional_trading:
        raise errors.forbidden("fractional trading is disabled for this account")
    opens_ptp = request.side is Side.BUY and not closes and PTP_NO_EXCEPTION in asset.attributes
    if opens_ptp and not settings.ptp_no_exception_entry:
        raise errors.forbidden(f'asset "{asset.symbol}" is a PTP with no exception')  # unconfirmed
    if request.side is Side.SELL and not closes and not asset.is_crypto:
        may_short = (
            standing.flags.shorting_enabled
            and not settings.no_shorting
            and standing.multiplier > 1
            and standing.funds.equity >= SHORTING_EQUITY_MIN
        )
        if not may_short:
            raise errors.forbidden("account is not allowed to short")


def _check_auction_hours(tif: TimeInForce, standing: Standing) -> None:
    """Raise between the deadline of an auction and 19:00 exchange time, on every day of the week.

    A session that is always open is always past the opening's deadline and has no close to come: neither auction
    is ever held, so neither order is taken.
    """
    if tif not in AUCTIONS:
        return
    cutoff = standing.quirks.cls_cutoff
    moment = dt.datetime.fromtimestamp(standing.t_ns // NS_PER_S, NEW_YORK)
    day = trading_day(moment.date())
    if tif is TimeInForce.OPG:
        deadline, words = OPG_ENTRY_CLOSES, "opg orders must be submitted after 7:00pm and before 9:28am"
    else:
        close = dt.datetime.combine(moment.date(), day.close if day is not None else CLOSE)
        deadline = (close - CLS_ENTRY_LEAD[cutoff]).time()
        words = f"cls orders must be submitted after 7:00pm and before {cutoff}"
    if standing.clock.is_always or deadline <= moment.time() < AUCTION_ENTRY_OPENS:
        raise errors.forbidden(words)


def check_wash_trade(
    order_class: OrderClass, order_type: OrderType, side: Side, limit: Price | None, live: Sequence[Order]
) -> None:
    """Raise if an order like this could trade with one of the account's own."""
    if order_class is not OrderClass.SIMPLE or order_type is OrderType.TRAILING_STOP:
        return
    for order in live:
        if order.side is side or order.is_complex or order.order_type is OrderType.TRAILING_STOP:
            continue
        is_priced = order.order_type in _PRICED
        if is_priced and order_type in _PRICED and not _cross(order, limit):
            continue
        raise errors.forbidden(
            "potential wash trade detected. use complex orders",
            existing_order_id=order.order_id,
            reject_reason=f"opposite side {'limit' if is_priced else 'market/stop'} order exists",
        )


def _cross(order: Order, limit: Price | None) -> bool:
    assert order.limit_price is not None
    assert limit is not None
    return limit >= order.limit_price if order.side is Side.SELL else limit <= order.limit_price


def _check_direction(side: Side, standing: Standing) -> None:
    """Raise if an order opens on one side while another opens on the other."""
    if standing.asset.is_crypto:
        return
    for order in standing.live:
        if order.side is side or not opens(order, standing.position_qty):
            continue
        mine, theirs = ("short sell", "long buy") if side is Side.SELL else ("long buy", "short sell")
        raise errors.forbidden(f"cannot open a {mine} while a {theirs} order is open")


def check_cost_basis(cost: Usd, standing: Standing, *, is_fractional: bool) -> None:
    """Raise unless the order is worth enough, and in coins not too much."""
    if standing.asset.is_crypto:
        if cost < CRYPTO_COST_MIN:
            raise errors.forbidden("cost basis must be >= minimal amount of order 10")
        if cost > CRYPTO_COST_MAX:
            raise errors.forbidden("cost basis must be <= maximal amount of order 200000")  # unconfirmed
    elif is_fractional and cost < FRACTIONAL_COST_MIN:
        raise errors.forbidden("cost basis must be >= minimal amount of order 1")


def check_available(qty: Qty, standing: Standing) -> None:
    """Raise unless `qty` of the holding is free of other closing orders."""
    asset, position_qty = standing.asset, standing.position_qty
    existing, side = abs(position_qty), closing_side(position_qty)
    held, available = held_qty(standing.live, side), free_qty(position_qty, standing.live)
    if qty <= available:
        return
    if asset.is_crypto:
        raise _balance_error(asset.coin, qty, available, existing)
    if qty > existing and standing.quirks.short_flip == "cannot_flip":
        # Unconfirmed: some say that a sale larger than the position has a refusal of its own.
        raise errors.forbidden("cannot flip position: order qty is larger than the position")
    raise errors.forbidden(
        f"insufficient qty available for order "
        f"(requested: {decimal_text(qty)}, available: {decimal_text(available)})",
        available=decimal_text(available),
        existing_qty=decimal_text(existing),
        held_for_orders=decimal_text(held),
        related_orders=[o.order_id for o in standing.live if o.side is side and not o.is_dormant],
        symbol=asset.symbol,
    )


def check_affordable(cost: Usd, standing: Standing, released: int = 0) -> None:
    """Raise unless `cost` can be spent, `released` of it being what another order gives back for this one."""
    spendable = standing.spendable
    if cost - released <= spendable:
        return
    if standing.asset.is_crypto:
        raise _balance_error("USD", cost, spendable, standing.funds.cash)
    raise errors.forbidden(
        "insufficient buying power", buying_power=decimal_text(spendable), cost_basis=decimal_text(cost)
    )


def _balance_error(symbol: str, requested: int, available: int, balance: int) -> errors.VenueError:
    return errors.forbidden(
        f"insufficient balance for {symbol} "
        f"(requested: {decimal_text(requested)}, available: {decimal_text(available)})",
        available=decimal_text(available),
        balance=decimal_text(balance),
        symbol=symbol,
    )
