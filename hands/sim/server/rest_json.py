"""The venue's JSON: orders, positions, account, assets and trade updates as documents.

Owns every field's name and type on the wire (amounts are decimal strings, times RFC 3339 in UTC). Reads the
exchange and changes nothing. Where the venue's documents vary, `quirks` says which variant; without it they are
the plain ones, as the truth shows them.
"""

from __future__ import annotations

from typing import Any

from hands.core.units import NANO, Usd, decimal_text
from hands.core.vocab import OrderClass
from hands.sim.market.times import rfc3339
from hands.sim.venue.account import Position, free_qty
from hands.sim.venue.assets import Asset
from hands.sim.venue.calendar import new_york_date
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.orders import Fill, Order, TradeUpdate
from hands.sim.venue.quirks import PLAIN, Quirks

ACCOUNT_NUMBER = "PA3SIM000001"
ACCOUNT_ID = "5d2f0c0e-6a51-4c0e-8f0a-9a1f7f4c2b11"


def _time(t_ns: int | None) -> str | None:
    return None if t_ns is None else rfc3339(t_ns)


def _amount(value: int | None) -> str | None:
    return None if value is None else decimal_text(value)


def _fraction(part: int, whole: int) -> str:
    return decimal_text(part * NANO // whole) if whole else "0"


def order_json(order: Order, quirks: Quirks = PLAIN, *, nested: bool = True) -> dict[str, Any]:
    """Return an Order; `legs` are shown if `nested` and the order is a snapshot of a parent."""
    legs = [order_json(leg, quirks) for leg in order.legs] if nested and order.legs is not None else None
    simple = "" if quirks.order_class_text == "empty" else OrderClass.SIMPLE.value
    document = {
        "id": order.order_id,
        "client_order_id": order.client_order_id,
        "created_at": _time(order.created_ns),
        "updated_at": _time(order.updated_ns),
        "submitted_at": _time(order.created_ns),
        "filled_at": _time(order.filled_ns),
        "expired_at": _time(order.expired_ns),
        "expires_at": _time(order.expires_ns),
        "canceled_at": _time(order.canceled_ns),
        "failed_at": _time(order.failed_ns),
        "replaced_at": _time(order.replaced_ns),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": order.asset.asset_id,
        "symbol": order.asset.symbol,
        "asset_class": order.asset.asset_class.value,
        "notional": _amount(order.notional),
        "qty": decimal_text(order.qty) if order.notional is None else None,
        "filled_qty": decimal_text(order.filled_qty),
        "filled_avg_price": _amount(order.filled_avg_price),
        "order_class": simple if order.order_class is OrderClass.SIMPLE else order.order_class.value,
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
        "trail_percent": _amount(order.trail_percent),
        "trail_price": _amount(order.trail_price),
        "hwm": _amount(order.high_water_mark),
        "ratio_qty": None,
        "subtag": None,
        "source": None,
    }
    if quirks.position_intent_field == "absent":
        del document["position_intent"]
    return document


def update_json(update: TradeUpdate, quirks: Quirks = PLAIN) -> dict[str, Any]:
    """Return the `data` of one trade_updates message; its order also tells when a cancel was asked for."""
    data: dict[str, Any] = {
        "event": update.event,
        "event_id": update.event_id,
        "execution_id": update.execution_id,
        "timestamp": _time(update.t_ns),
        "order": order_json(update.order, quirks)
        | {"cancel_requested_at": _time(update.order.cancel_requested_ns)},
    }
    if update.qty is not None:
        data["price"] = _amount(update.price)
        data["qty"] = _amount(update.qty)
        data["position_qty"] = _amount(update.position_qty)
    return data


def position_json(position: Position, exchange: Exchange, quirks: Quirks = PLAIN) -> dict[str, Any]:
    """Return a Position; coins are named without the slash, short quantities are negative unless a quirk says not."""
    asset, qty = position.asset, position.qty
    price, reference = exchange.mark(asset.symbol), exchange.book(asset.symbol).reference
    cost = position.cost if qty > 0 else -position.cost
    market_value = position.market_value(price)
    profit = market_value - cost
    profit_today = market_value - (position.day_cost if qty > 0 else -position.day_cost)
    free = free_qty(qty, exchange.blotter.live_of(asset.symbol))
    sign = -1 if qty < 0 and quirks.short_qty == "negative" else 1
    return {
        "asset_id": asset.asset_id,
        "symbol": asset.joined_symbol,
        "exchange": asset.exchange,
        "asset_class": asset.asset_class.value,
        "asset_marginable": asset.marginable,
        "qty": decimal_text(sign * abs(qty)),
        "qty_available": decimal_text(sign * free),
        "avg_entry_price": decimal_text(position.avg_entry_price),
        "side": "long" if qty > 0 else "short",
        "market_value": decimal_text(market_value),
        "cost_basis": decimal_text(cost),
        "unrealized_pl": decimal_text(profit),
        "unrealized_plpc": _fraction(profit, position.cost),
        "unrealized_intraday_pl": decimal_text(profit_today),
        "unrealized_intraday_plpc": _fraction(profit_today, position.day_cost),
        "current_price": decimal_text(price),
        "lastday_price": decimal_text(reference),
        "change_today": _fraction(price - reference, reference),
    }


def account_json(exchange: Exchange, quirks: Quirks = PLAIN) -> dict[str, Any]:
    """Return the Account: money as decimal strings, flags as booleans; what was last is what it was opened with."""
    funds, multiplier = exchange.funds(), exchange.account.multiplier
    flags, chosen = exchange.flags, exchange.configurations
    maintenance = Usd((funds.long_market_value - funds.short_market_value) * 3 // 10)
    equity = decimal_text(funds.equity)
    document: dict[str, Any] = {
        "id": ACCOUNT_ID,
        "account_number": ACCOUNT_NUMBER,
        "status": flags.status,
        "crypto_status": flags.crypto_status,
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
        "created_at": _time(exchange.created_ns),
        "trading_blocked": flags.trading_blocked,
        "account_blocked": flags.account_blocked,
        "transfers_blocked": flags.transfers_blocked,
        "trade_suspended_by_user": chosen.suspend_trade,
        "shorting_enabled": flags.shorting_enabled and not chosen.no_shorting and multiplier > 1,
        "options_approved_level": 0,
        "options_trading_level": 0,
    }
    if quirks.pdt_fields == "present":
        # What they said of every account since the rule was given up: nobody is a pattern day trader.
        document["pattern_day_trader"] = False
        document["daytrade_count"] = 0
        document["daytrading_buying_power"] = decimal_text(funds.buying_power if multiplier == 4 else 0)
    return document


def asset_json(asset: Asset) -> dict[str, Any]:
    """Return an Asset; the increments only for coins, the borrowing status only for shares."""
    document: dict[str, Any] = {
        "id": asset.asset_id,
        "class": asset.asset_class.value,
        "exchange": asset.exchange,
        "symbol": asset.symbol,
        "name": asset.name,
        "status": asset.status,
        "tradable": asset.tradable,
        "marginable": asset.marginable,
        "maintenance_margin_requirement": 30 if asset.marginable else 100,
        "margin_requirement_long": "30" if asset.marginable else "100",
        "margin_requirement_short": "30" if asset.shortable else "100",
        "shortable": asset.shortable,
        "easy_to_borrow": asset.easy_to_borrow,
        "fractionable": asset.fractionable,
        "cusip": None,
        "attributes": list(asset.attributes),
    }
    if asset.is_crypto:
        document["min_order_size"] = decimal_text(asset.min_order_size)
        document["min_trade_increment"] = decimal_text(asset.min_trade_increment)
        document["price_increment"] = decimal_text(asset.price_increment)
    else:
        document["borrow_status"] = "easy_to_borrow" if asset.easy_to_borrow else "hard_to_borrow"
    return document


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
