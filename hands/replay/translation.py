"""What the exchange says, in the core's words: orders, reports, the account, assets, positions, fills.

Owns the translation that in live trading the wire does (JSON out of the exchange, `hands.venues.alpaca.decode` into the
engine). Pure. A test holds it against that detour, so that a replay's engine is told what a live one would be.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from hands.core import events as told
from hands.core.commands import ReplaceOrder
from hands.core.orders import ApprovedEntry, ReducingOrder
from hands.core.units import NANO, Ns, Price, Qty
from hands.core.vocab import AssetClass, OrderClass, OrderStatus, OrderType, PositionIntent, Side
from hands.sim.venue.account import Position, free_qty
from hands.sim.venue.assets import Asset
from hands.sim.venue.errors import VenueError
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.orders import Fill, Order, OrderRequest, ReplaceRequest, TradeUpdate
from hands.venues.alpaca.decode import decode_error

ACCOUNT_NUMBER = "REPLAY"


# --- what is asked of the exchange -----------------------------------------------------------------------


def order_request(order: ApprovedEntry | ReducingOrder, *, close_intent: bool) -> OrderRequest:
    """Return an order of ours as the exchange takes it, as `hands.venues.alpaca.encode` would write it."""
    if isinstance(order, ApprovedEntry):
        return OrderRequest(
            order.symbol,
            order.side,
            order_type=OrderType.LIMIT,
            tif=order.time_in_force,
            qty=order.qty,
            limit_price=order.limit_price,
            order_class=order.order_class,
            take_profit_limit_price=order.take_profit,
            stop_loss_stop_price=order.stop_loss,
            client_order_id=order.client_order_id,
        )
    request = OrderRequest(
        order.symbol,
        order.side,
        order.order_type,
        order.time_in_force,
        order.qty,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        order_class=order.order_class,
        client_order_id=order.client_order_id,
    )
    if order.order_class is OrderClass.OCO:
        request.order_type, request.limit_price, request.stop_price = OrderType.LIMIT, None, None
        request.take_profit_limit_price, request.stop_loss_stop_price = order.take_profit, order.stop_price
    if close_intent and order.asset_class is AssetClass.EQUITY:
        sells = order.side is Side.SELL
        request.position_intent = PositionIntent.SELL_TO_CLOSE if sells else PositionIntent.BUY_TO_CLOSE
    return request


def replace_request(command: ReplaceOrder) -> ReplaceRequest:
    """Return a move of a resting exit as the exchange takes it."""
    return ReplaceRequest(
        limit_price=command.limit_price,
        stop_price=command.stop_price,
        client_order_id=command.new_client_order_id,
    )


# --- what it answers and tells -----------------------------------------------------------------------------


def venue_order(order: Order, *, nested: bool = True) -> told.VenueOrder:
    """Return an order, with its legs where it is a snapshot of a parent and they are asked for."""
    legs = order.legs if nested and order.legs is not None else ()
    return told.VenueOrder(
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        symbol=order.asset.symbol,
        side=order.side,
        order_type=order.order_type,
        order_class=order.order_class,
        status=order.status,
        status_text=order.status.value,
        qty=order.qty if order.notional is None else Qty(0),
        filled_qty=order.filled_qty,
        avg_price=order.filled_avg_price,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        replaced_by=order.replaced_by,
        replaces=order.replaces,
        submitted_ns=order.created_ns,
        legs=tuple(venue_order(leg) for leg in legs),
    )


def order_report(update: TradeUpdate, ts_ns: int) -> told.OrderReport:
    """Return an event of the trade stream."""
    execution = None
    if update.event in {"fill", "partial_fill"}:
        assert update.execution_id is not None
        assert update.qty is not None
        assert update.price is not None
        execution = told.Execution(
            execution_id=update.execution_id, qty=update.qty, price=update.price, at_ns=update.t_ns
        )
    return told.OrderReport(
        ts_ns=Ns(ts_ns),
        event=update.event,
        order=venue_order(update.order),
        execution=execution,
        position_qty=update.position_qty,
    )


def refusal(error: VenueError) -> dict[str, Any]:
    """Return what a RequestAnswered says of a refusal, read from the very body that a server would send."""
    code, message, extras = decode_error(orjson.dumps(error.body()))
    return {"status": error.status, "code": code, "message": message, "extras": extras}


def account_report(exchange: Exchange, *, asked_ns: int, ts_ns: int) -> told.AccountReport:
    """Return the account as it is."""
    funds, flags = exchange.funds(), exchange.flags
    multiplier = exchange.account.multiplier
    return told.AccountReport(
        ts_ns=Ns(ts_ns),
        asked_ns=Ns(asked_ns),
        account_number=ACCOUNT_NUMBER,
        status=flags.status,
        equity=funds.equity,
        cash=funds.cash,
        buying_power=funds.buying_power,
        non_marginable_buying_power=funds.non_marginable_buying_power,
        shorting_enabled=flags.shorting_enabled and multiplier > 1,
        trading_blocked=flags.trading_blocked,
        account_blocked=flags.account_blocked,
        crypto_status=flags.crypto_status,
        multiplier=multiplier,
        last_equity=exchange.opening_equity_usd,
    )


def asset(found: Asset) -> told.Asset:
    """Return an instrument; the exchange's own increments count for coins alone."""
    crypto = found.is_crypto
    return told.Asset(
        symbol=found.symbol,
        asset_class=found.asset_class,
        status=found.status,
        tradable=found.tradable,
        shortable=found.shortable,
        fractionable=found.fractionable,
        lot=found.min_trade_increment if crypto else Qty(NANO),
        min_order_qty=found.min_order_size if crypto else Qty(NANO),
        price_increment=Price(found.price_increment) if crypto else None,
        easy_to_borrow=not crypto and found.easy_to_borrow,
    )


def position(found: Position, exchange: Exchange) -> told.PositionSnapshot:
    """Return a holding, a short one negative."""
    free = free_qty(found.qty, exchange.blotter.live_of(found.asset.symbol))
    return told.PositionSnapshot(
        symbol=found.asset.symbol,
        qty=found.qty,
        qty_available=Qty(-free if found.qty < 0 else free),
        avg_price=found.avg_entry_price,
    )


def open_orders(exchange: Exchange) -> tuple[told.VenueOrder, ...]:
    """Return every open order of the account, a group under its parent, oldest first."""
    return _under_parents(order for orders in exchange.blotter.live.values() for order in orders)


def orders_since(exchange: Exchange, after_ns: int) -> tuple[told.VenueOrder, ...]:
    """Return every order sent later than that, whatever became of it, a group under its parent, oldest first."""
    return _under_parents(order for order in exchange.blotter if order.created_ns > after_ns)


def _under_parents(orders: Iterable[Order]) -> tuple[told.VenueOrder, ...]:
    shown: dict[str, Order] = {}
    for order in orders:
        grouped = order.group is not None and order.status is not OrderStatus.REPLACED
        parent = order.group.parent if grouped and order.group is not None else order
        shown[parent.order_id] = parent
    oldest_first = sorted(shown.values(), key=lambda order: order.sequence)
    return tuple(venue_order(order.snapshot()) for order in oldest_first)


def venue_fill(fill: Fill) -> told.VenueFill:
    """Return a fill as the list of activities has it, its time cut to the microsecond, half up, as the venue does."""
    return told.VenueFill(
        execution_id=fill.execution_id,
        order_id=fill.order_id,
        qty=fill.qty,
        price=fill.price,
        cum_qty=fill.cum_qty,
        at_ns=Ns((fill.t_ns + 500) // 1000 * 1000),
    )
