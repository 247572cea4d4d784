"""The venue's JSON: orders, positions, account, assets, clock, activities and trade updates as documents.

Owns every field's name and type on the wire (amounts are decimal strings, times RFC 3339 in UTC). Reads the
exchange and changes nothing.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from hands.core.units import NANO, NS_PER_S, Usd, decimal_text, div_half_up
from hands.core.vocab import OrderClass
from hands.sim.venue.account import Position, closing_side, held_qty
from hands.sim.venue.assets import Asset
from hands.sim.venue.calendar import (
    NEW_YORK,
    SESSION_CLOSE,
    SESSION_OPEN,
    TradingDay,
    new_york_date,
    settlement_date,
)
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.orders import Fill, Order, TradeUpdate

ACCOUNT_NUMBER = "PA3SIM000001"
ACCOUNT_ID = "5d2f0c0e-6a51-4c0e-8f0a-9a1f7f4c2b11"


def time_text(t_ns: int | None) -> str | None:
    """Return a Unix time as RFC 3339 UTC with nanoseconds, trailing zeros cut; None stays None."""
    if t_ns is None:
        return None
    seconds, fraction = divmod(t_ns, NS_PER_S)
    text = dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f"{fraction:09d}".rstrip("0")
    return f"{text}.{digits}Z" if digits else f"{text}Z"


def new_york_text(t_ns: int) -> str:
    """Return a Unix time as RFC 3339 with the exchange's offset, as the clock reports it."""
    seconds, fraction = divmod(t_ns, NS_PER_S)
    moment = dt.datetime.fromtimestamp(seconds, NEW_YORK)
    offset = moment.strftime("%z")
    digits = f".{fraction:09d}" if fraction else ""
    return f"{moment.strftime('%Y-%m-%dT%H:%M:%S')}{digits}{offset[:3]}:{offset[3:]}"


def _amount(value: int | None) -> str | None:
    return None if value is None else decimal_text(value)


def _fraction(part: int, whole: int) -> str:
    return decimal_text(part * NANO // whole) if whole else "0"


def order_json(order: Order, *, nested: bool = True) -> dict[str, Any]:
    """Return an Order; `legs` are shown if `nested` and the order is a snapshot of a parent."""
    legs = [order_json(leg) for leg in order.legs] if nested and order.legs is not None else None
    return {
        "id": order.order_id,
        "client_order_id": order.client_order_id,
        "created_at": time_text(order.created_ns),
        "updated_at": time_text(order.updated_ns),
        "submitted_at": time_text(order.created_ns),
        "filled_at": time_text(order.filled_ns),
        "expired_at": time_text(order.expired_ns),
        "expires_at": time_text(order.expires_ns),
        "canceled_at": time_text(order.canceled_ns),
        "failed_at": time_text(order.failed_ns),
        "replaced_at": time_text(order.replaced_ns),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": order.asset.asset_id,
        "symbol": order.asset.symbol,
        "asset_class": order.asset.asset_class.value,
        "notional": None,
        "qty": decimal_text(order.qty),
        "filled_qty": decimal_text(order.filled_qty),
        "filled_avg_price": _amount(order.filled_avg_price),
        "order_class": "" if order.order_class is OrderClass.SIMPLE else order.order_class.value,
        "order_type": order.order_type.value,
        "type": order.order_type.value,
        "side": order.side.value,
        "position_intent": order.position_intent.value,
        "time_in_force": order.tif.value,
        "limit_price": _amount(order.limit_price),
        "stop_price": _amount(order.stop_price),
        "status": order.status.value,
        "extended_hours": order.extended_hours,
        "legs": legs,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "ratio_qty": None,
        "subtag": None,
        "source": None,
    }


def update_json(update: TradeUpdate) -> dict[str, Any]:
    """Return the `data` of one trade_updates message."""
    data: dict[str, Any] = {
        "event": update.event,
        "event_id": update.event_id,
        "execution_id": update.execution_id,
        "timestamp": time_text(update.t_ns),
        "order": order_json(update.order),
    }
    if update.qty is not None:
        data["price"] = _amount(update.price)
        data["qty"] = _amount(update.qty)
        data["position_qty"] = _amount(update.position_qty)
    return data


def position_json(position: Position, exchange: Exchange) -> dict[str, Any]:
    """Return a Position; coins are named without the slash, short quantities are negative."""
    asset, qty = position.asset, position.qty
    price, reference = exchange.mark(asset.symbol), exchange.book(asset.symbol).reference
    cost = position.cost if qty > 0 else -position.cost
    market_value = position.market_value(price)
    profit = market_value - cost
    held = held_qty(exchange.blotter.live_of(asset.symbol), closing_side(qty))
    free = max(0, abs(qty) - held)
    return {
        "asset_id": asset.asset_id,
        "symbol": asset.joined_symbol,
        "exchange": asset.exchange,
        "asset_class": asset.asset_class.value,
        "asset_marginable": asset.marginable,
        "qty": decimal_text(qty),
        "qty_available": decimal_text(free if qty > 0 else -free),
        "avg_entry_price": decimal_text(position.avg_entry_price),
        "side": "long" if qty > 0 else "short",
        "market_value": decimal_text(market_value),
        "cost_basis": decimal_text(cost),
        "unrealized_pl": decimal_text(profit),
        "unrealized_plpc": _fraction(profit, position.cost),
        "unrealized_intraday_pl": decimal_text(profit),
        "unrealized_intraday_plpc": _fraction(profit, position.cost),
        "current_price": decimal_text(price),
        "lastday_price": decimal_text(reference),
        "change_today": _fraction(price - reference, reference),
    }


def account_json(exchange: Exchange) -> dict[str, Any]:
    """Return the Account: money as decimal strings, flags as booleans."""
    funds, multiplier = exchange.funds(), exchange.account.multiplier
    maintenance = Usd((funds.long_market_value - funds.short_market_value) * 3 // 10)
    equity = decimal_text(funds.equity)
    return {
        "id": ACCOUNT_ID,
        "account_number": ACCOUNT_NUMBER,
        "status": "ACTIVE",
        "crypto_status": "ACTIVE",
        "currency": "USD",
        "cash": decimal_text(funds.cash),
        "equity": equity,
        "portfolio_value": equity,
        "last_equity": decimal_text(exchange.opening_equity_usd),
        "buying_power": decimal_text(funds.buying_power),
        "regt_buying_power": decimal_text(funds.buying_power),
        "non_marginable_buying_power": decimal_text(funds.non_marginable_buying_power),
        "options_buying_power": decimal_text(funds.non_marginable_buying_power),
        "long_market_value": decimal_text(funds.long_market_value),
        "short_market_value": decimal_text(funds.short_market_value),
        "initial_margin": decimal_text(funds.initial_margin),
        "maintenance_margin": decimal_text(maintenance),
        "last_maintenance_margin": "0",
        "sma": "0",
        "multiplier": str(multiplier),
        "accrued_fees": "0",
        "pending_reg_taf_fees": "0",
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "intraday_adjustments": "0",
        "balance_asof": new_york_date(exchange.created_ns).isoformat(),
        "created_at": time_text(exchange.created_ns),
        "trading_blocked": False,
        "account_blocked": False,
        "transfers_blocked": False,
        "trade_suspended_by_user": False,
        "shorting_enabled": multiplier > 1,
        "options_approved_level": 0,
        "options_trading_level": 0,
    }


def asset_json(asset: Asset) -> dict[str, Any]:
    """Return an Asset; the increments only for coins."""
    document: dict[str, Any] = {
        "id": asset.asset_id,
        "class": asset.asset_class.value,
        "exchange": asset.exchange,
        "symbol": asset.symbol,
        "name": asset.name,
        "status": "active",
        "tradable": True,
        "marginable": asset.marginable,
        "maintenance_margin_requirement": 30 if asset.marginable else 100,
        "margin_requirement_long": "30" if asset.marginable else "100",
        "margin_requirement_short": "30" if asset.shortable else "100",
        "shortable": asset.shortable,
        "easy_to_borrow": asset.shortable,
        "borrow_status": "easy_to_borrow" if asset.shortable else "not_shortable",
        "fractionable": asset.fractionable,
        "cusip": None,
        "attributes": [],
    }
    if asset.is_crypto:
        document["min_order_size"] = decimal_text(asset.min_order_size)
        document["min_trade_increment"] = decimal_text(asset.min_trade_increment)
        document["price_increment"] = decimal_text(asset.price_increment)
    return document


def clock_json(exchange: Exchange) -> dict[str, Any]:
    """Return the Clock in exchange time."""
    now_ns = exchange.now_ns()
    reading = exchange.clock.at(now_ns)
    return {
        "timestamp": new_york_text(now_ns),
        "is_open": reading.is_open,
        "next_open": new_york_text(reading.next_open_ns),
        "next_close": new_york_text(reading.next_close_ns),
    }


def calendar_json(day: TradingDay) -> dict[str, Any]:
    """Return one day of the calendar."""
    return {
        "date": day.date.isoformat(),
        "open": day.open.strftime("%H:%M"),
        "close": day.close.strftime("%H:%M"),
        "session_open": SESSION_OPEN.strftime("%H%M"),
        "session_close": SESSION_CLOSE.strftime("%H%M"),
        "settlement_date": settlement_date(day.date).isoformat(),
    }


def activity_json(fill: Fill) -> dict[str, Any]:
    """Return a FILL activity; its id ends with the execution id, its time is cut to microseconds, half up."""
    local = dt.datetime.fromtimestamp(fill.t_ns // NS_PER_S, NEW_YORK).strftime("%Y%m%d%H%M%S")
    return {
        "id": f"{local}{fill.t_ns // 1_000_000 % 1000:03d}::{fill.execution_id}",
        "activity_type": "FILL",
        "transaction_time": time_text(div_half_up(fill.t_ns, 1000) * 1000),
        "type": "partial_fill" if fill.leaves_qty else "fill",
        "price": decimal_text(fill.price),
        "qty": decimal_text(fill.qty),
        "side": fill.side.value,
        "symbol": fill.symbol,
        "leaves_qty": decimal_text(fill.leaves_qty),
        "order_id": fill.order_id,
        "cum_qty": decimal_text(fill.cum_qty),
        "order_status": fill.status.value,
    }


def fill_json(fill: Fill) -> dict[str, Any]:
    """Return a fill as the truth document shows it."""
    return {
        "execution_id": fill.execution_id,
        "order_id": fill.order_id,
        "client_order_id": fill.client_order_id,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "qty": decimal_text(fill.qty),
        "price": decimal_text(fill.price),
        "fee": decimal_text(fill.fee),
        "fee_asset": fill.fee_asset,
        "t_ns": fill.t_ns,
    }
