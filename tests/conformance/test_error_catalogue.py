"""The venue's error catalogue, line by line, over the wire: what has to happen, and the exact answer to it.

Each line is a scenario: what the test's hand and the client do first, and the request that is refused last. The
answer's status and its whole document are compared, so code, message and the extra keys are exactly these. `Id(n)`
stands for the id of the n-th order taken on the way.
"""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hands.sim.server.app import serve
from hands.sim.server.config import SimConfig
from hands.sim.venue import admission

PARAMETER, RULE, FORBIDDEN, NOT_FOUND = 40010001, 42210000, 40310000, 40410000
SUBPENNY = "sub-penny increment does not fulfill minimum pricing criteria"
NOWHERE = "2f3a1c9e-0000-4000-8000-000000000001"
KEYS = {"APCA-API-KEY-ID": "sim", "APCA-API-SECRET-KEY": "sim"}
MARKET = (
    {"symbol": "AAPL", "bid": 149.98, "ask": 150.0},
    {"symbol": "BTC/USD", "bid": 60000, "ask": 60010},
    {"symbol": "GME", "bid": 24.98, "ask": 25.0},
    {"symbol": "BRK.A", "bid": 700000, "ask": 700100},
    {"symbol": "MULN", "bid": 0.4, "ask": 0.41},
    {"symbol": "UVXY", "bid": 19.99, "ask": 20.0},
)
"""The market every line begins with; the session is open and the account has 100 000 USD, twice that to buy with."""


@dataclass(frozen=True)
class Id:
    """The id of the n-th order taken in a scenario."""

    n: int


Step = tuple[str, str, Any]


def order(**fields: Any) -> Step:
    """A market order for one share of AAPL, but for `fields`; None leaves a field out."""
    body = {"symbol": "AAPL", "side": "buy", "qty": "1", "type": "market", "time_in_force": "day"} | fields
    return "POST", "/v2/orders", {key: value for key, value in body.items() if value is not None}


def limit(price: str, **fields: Any) -> Step:
    return order(**{"type": "limit", "limit_price": price} | fields)


def stop(price: str, **fields: Any) -> Step:
    return order(**{"type": "stop", "stop_price": price, "side": "sell"} | fields)


def trailing(**fields: Any) -> Step:
    return order(**{"type": "trailing_stop", "side": "sell"} | fields)


def bracket(profit: str = "155", loss: str = "148", **fields: Any) -> Step:
    return limit(
        fields.pop("price", "150.15"),
        **{
            "order_class": "bracket",
            "take_profit": {"limit_price": profit},
            "stop_loss": {"stop_price": loss},
            "time_in_force": "gtc",
        }
        | fields,
    )


def short_bracket(profit: str, loss: str, **fields: Any) -> Step:
    return bracket(profit, loss, side="sell", price="149.9", **fields)


def oco(profit: str = "155", loss: str = "148", **fields: Any) -> Step:
    """As a client sends it: a limit order whose limit is the take-profit's."""
    return order(
        **{
            "side": "sell",
            "type": "limit",
            "order_class": "oco",
            "take_profit": {"limit_price": profit},
            "stop_loss": {"stop_price": loss},
        }
        | fields
    )


def coin(**fields: Any) -> Step:
    return order(**{"symbol": "BTC/USD", "qty": "0.01", "time_in_force": "gtc"} | fields)


def replaced(n: int, **changes: Any) -> Step:
    return "PATCH", f"/v2/orders/{{{n}}}", changes


def canceled(n: int) -> Step:
    return "DELETE", f"/v2/orders/{{{n}}}", None


def configured(**changes: Any) -> Step:
    return "PATCH", "/v2/account/configurations", changes


def flagged(**flags: Any) -> Step:
    return "POST", "/sim/v1/account", flags


def listed(symbol: str, **facts: Any) -> Step:
    return "POST", "/sim/v1/assets", {"symbol": symbol, **facts}


def market(symbol: str, **row: Any) -> Step:
    return "POST", "/sim/v1/market", [{"symbol": symbol, **row}]


def waited(ms: int) -> Step:
    return "POST", "/sim/v1/clock", {"advance_ms": ms}


@dataclass(frozen=True)
class Line:
    """One line of the catalogue. `options` are what the simulator is reset with."""

    status: int
    code: int | None
    message: str
    scenario: tuple[Step, ...]
    extras: dict[str, Any]
    options: dict[str, Any]


def line(status: int, code: int | None, message: str, *scenario: Step, **options: Any) -> Line:
    return Line(status, code, message, scenario, options.pop("extras", {}), options)


def parameter(message: str, *scenario: Step, **options: Any) -> Line:
    return line(422, PARAMETER, message, *scenario, **options)


def rule(message: str, *scenario: Step, **options: Any) -> Line:
    return line(422, RULE, message, *scenario, **options)


def forbidden(message: str, *scenario: Step, **options: Any) -> Line:
    return line(403, FORBIDDEN, message, *scenario, **options)


def not_found(message: str, *scenario: Step, **options: Any) -> Line:
    return line(404, NOT_FOUND, message, *scenario, **options)


RESTING = limit("140")
HELD = order(qty="10")
WASH = "potential wash trade detected. use complex orders"
NOT_UNIQUE = "client_order_id must be unique"

PARAMETERS = [
    # the amount
    parameter("qty or notional is required", order(qty=None)),
    parameter("only one of qty or notional is accepted", order(notional="100")),
    line(
        400,
        PARAMETER,
        "only one of qty or notional is accepted",
        order(notional="100"),
        quirks={"both_amounts_status": "400"},
    ),
    parameter("qty must be > 0", order(qty="0")),
    parameter("qty must be > 0", order(qty="-1")),
    parameter("qty must be > 0", coin(qty="0.0000000009")),  # what is beyond the ninth digit is cut off
    parameter("qty is invalid", order(qty="many")),
    parameter("notional must be >= 1.00", order(qty=None, notional="0.99")),
    # the words
    parameter("symbol is required", order(symbol=None)),
    parameter("invalid side", order(side="short")),
    parameter("invalid order type", order(type="iceberg")),
    parameter("invalid order type", bracket(type="stop", limit_price=None, stop_price="151")),
    parameter("invalid time_in_force", order(time_in_force="gtd")),
    parameter("invalid time_in_force", stop("148", time_in_force="ioc")),
    parameter("invalid time_in_force", bracket(time_in_force="fok")),
    parameter("invalid time_in_force", order(time_in_force="ioc"), quirks={"ioc_fok": "refused"}),
    parameter("invalid time_in_force", order(time_in_force="cls"), quirks={"auctions": "refused"}),
    parameter("invalid order_class", order(order_class="mleg")),
    parameter("invalid position_intent", order(position_intent="buy")),
    parameter("extended_hours is invalid", order(extended_hours="yes")),
    # prices and types
    parameter("limit price must be > 0", limit("0")),
    parameter("stop price must be > 0", stop("-1")),
    parameter("take_profit.limit_price must be > 0", bracket(profit="0")),
    parameter("stop_loss.stop_price must be > 0", bracket(loss="0")),
    parameter(
        "stop_loss.limit_price must be > 0", bracket(stop_loss={"stop_price": "148", "limit_price": "0"})
    ),
    parameter("market orders require no stop or limit price", order(limit_price="150")),
    parameter("market orders require no stop or limit price", order(stop_price="150")),
    parameter("limit orders require a limit price", order(type="limit")),
    parameter("limit orders require no stop price", limit("150", stop_price="149")),
    parameter("stop orders require a stop price", order(type="stop")),
    parameter("stop orders require no limit price", stop("148", limit_price="147")),
    parameter(
        "stop limit orders require both stop and limit price", order(type="stop_limit", stop_price="151")
    ),
    parameter(
        "stop limit orders require both stop and limit price", order(type="stop_limit", limit_price="151")
    ),
    parameter("trailing stop orders must specify one of trail_price or trail_percent", trailing()),
    parameter(
        "trailing stop orders must specify one of trail_price or trail_percent",
        trailing(trail_price="1", trail_percent="1"),
    ),
    parameter("trail_percent must be greater than or equal to 0.1", trailing(trail_percent="0.09")),
    parameter("trail_price must be > 0", trailing(trail_price="0")),
    parameter(
        "trailing stop orders require no stop or limit price", trailing(trail_price="1", stop_price="148")
    ),
    parameter("market orders must not have trail_price", order(trail_price="1")),
    parameter(
        "stop limit orders must not have trail_percent",
        order(type="stop_limit", stop_price="151", limit_price="152", trail_percent="1"),
    ),
    # groups
    parameter("bracket orders require take_profit.limit_price", bracket(take_profit=None)),
    parameter("bracket orders require stop_loss.stop_price", bracket(stop_loss=None)),
    parameter("oco orders require take_profit.limit_price", oco(take_profit=None)),
    parameter("oco orders require stop_loss.stop_price", oco(stop_loss=None)),
    parameter("oto orders require exactly one of take_profit or stop_loss", bracket(order_class="oto")),
    parameter("oco orders must be limit orders", oco(type="market")),
    parameter("simple orders must not have take_profit or stop_loss", bracket(order_class=None)),
    parameter("take_profit is invalid", bracket(take_profit="155")),
    # identity
    parameter("client_order_id must be no more than 128 characters", order(client_order_id="x" * 129)),
    parameter("client_order_id is invalid", order(client_order_id=7)),
    parameter(NOT_UNIQUE, order(client_order_id="mine"), order(client_order_id="mine")),
    rule(NOT_UNIQUE, limit("140", client_order_id="mine"), order(client_order_id="mine")),
    parameter(
        NOT_UNIQUE,
        limit("140", client_order_id="mine"),
        order(client_order_id="mine"),
        quirks={"open_duplicate_code": "40010001"},
    ),
    # the asset
    rule('asset "ZZZ" not found', order(symbol="ZZZ")),
    parameter("asset MKR/USD is not active", coin(symbol="MKR/USD")),
    parameter("asset AAPL is not active", listed("AAPL", status="inactive"), order()),
    rule('asset "AAPL" is not tradable', listed("AAPL", tradable=False), order()),
]

INSTRUMENTS = [
    rule(f"invalid limit_price 290.123. {SUBPENNY}", limit("290.123")),
    rule(f"invalid limit_price 0.40001. {SUBPENNY}", limit("0.40001", symbol="MULN")),
    rule(f"invalid stop_price 148.001. {SUBPENNY}", stop("148.001")),
    rule(f"invalid take_profit.limit_price 155.001. {SUBPENNY}", bracket(profit="155.001")),
    rule(f"invalid stop_loss.stop_price 148.001. {SUBPENNY}", bracket(loss="148.001")),
    rule(
        f"invalid stop_loss.limit_price 147.001. {SUBPENNY}",
        bracket(stop_loss={"stop_price": "148", "limit_price": "147.001"}),
    ),
    rule(
        "invalid limit_price 60000.001. must be a multiple of price_increment 0.01",
        coin(type="limit", limit_price="60000.001"),
    ),
    # parts of a share
    rule("fractional orders must be DAY orders", order(qty="1.5", time_in_force="gtc")),
    rule("fractional orders must be DAY orders", order(qty=None, notional="100", time_in_force="gtc")),
    rule("fractional orders must be DAY orders", bracket(qty="1.5")),  # before the next
    rule("fractional orders must be simple orders", bracket(qty="1.5", time_in_force="day")),
    rule("fractional orders must be simple orders", bracket(qty=None, notional="500", time_in_force="day")),
    rule("fractional orders cannot be sold short", order(side="sell", qty="1.5")),
    rule("fractional orders cannot be sold short", order(side="sell", qty=None, notional="100")),
    rule("trailing stop orders must be for whole shares", trailing(qty="1.5", trail_price="1")),
    rule('asset "BRK.A" is not fractionable', order(symbol="BRK.A", qty="0.1")),
    forbidden(
        "requested asset is not fractionable",
        order(symbol="BRK.A", qty=None, notional="100"),
        quirks={"not_fractionable_refusal": "403"},
    ),
    # hours
    rule("extended hours order must be DAY or GTC limit orders", order(extended_hours=True)),
    rule(
        "extended hours order must be DAY or GTC limit orders",
        limit("150", time_in_force="ioc", extended_hours=True),
    ),
    rule("extended hours order must be DAY or GTC limit orders", bracket(extended_hours=True)),
    rule(
        "extended hours order must be DAY limit orders",
        limit("150", time_in_force="gtc", extended_hours=True),
        quirks={"extended_tif": "day"},
    ),
    rule("stop orders are not eligible for extended hours trading", stop("148", extended_hours=True)),
    rule(
        "stop orders are not eligible for extended hours trading",
        trailing(trail_price="1", extended_hours=True),
    ),
    rule(
        'market order rejected due to trading halt on symbol: "AAPL", please place a limit order instead',
        market("AAPL", status="H"),
        order(),
    ),
    # coins
    rule("invalid crypto time_in_force", coin(time_in_force="day")),
    rule("invalid crypto time_in_force", coin(time_in_force="fok")),
    parameter("invalid order type for crypto order", coin(type="stop", stop_price="70000")),
    parameter("invalid order type for crypto order", coin(type="trailing_stop", trail_percent="1")),
    rule("crypto orders not allowed for advanced order_class: otoco", bracket(symbol="BTC/USD")),
    rule(
        "crypto orders not allowed for advanced order_class: oto",
        bracket(symbol="BTC/USD", order_class="oto", take_profit=None),
    ),
    rule("crypto orders not allowed for advanced order_class: oco", oco(symbol="BTC/USD")),
    rule(
        "extended hours orders are not allowed for crypto",
        coin(type="limit", limit_price="60000", extended_hours=True),
    ),
    # where the market stands
    rule(
        "stop price must be less than current price",
        stop("149.99"),
        extras={"market_price": "149.99", "stop_price": "149.99"},
    ),
    rule(
        "stop price must be greater than current price",
        stop("149", side="buy"),
        extras={"market_price": "149.99", "stop_price": "149"},
    ),
    rule(
        "stop_loss.stop_price must be <= base_price - 0.01",
        bracket(loss="149.99"),  # below the entry's limit, not below the market
        extras={"base_price": "149.99"},
    ),
    rule(
        "stop_loss.stop_price must be <= base_price - 0.01",
        bracket(loss="148", price="148"),  # below the market, not below the entry's limit
        extras={"base_price": "148"},
    ),
    rule(
        "stop_loss.stop_price must be >= base_price + 0.01",
        short_bracket(profit="140", loss="149.99"),
        extras={"base_price": "149.99"},
    ),
    rule(
        "take_profit.limit_price must be >= base_price + 0.01",
        bracket(profit="150.15"),
        extras={"base_price": "150.15"},
    ),
    rule(
        "take_profit.limit_price must be >= base_price + 0.01",
        bracket(profit="149.99", type="market", limit_price=None),
        extras={"base_price": "149.99"},
    ),
    rule(
        "take_profit.limit_price must be <= base_price - 0.01",
        short_bracket(profit="149.9", loss="152"),
        extras={"base_price": "149.9"},
    ),
    rule("take_profit.limit_price must be > stop_loss.stop_price", bracket(profit="147")),
    rule("take_profit.limit_price must be < stop_loss.stop_price", short_bracket(profit="153", loss="152")),
    rule(
        "stop_loss.stop_price must be <= base_price - 0.01",
        HELD,
        oco(loss="149.99"),
        extras={"base_price": "149.99"},
    ),
    # what the position makes of it
    rule("bracket orders must be entry orders", order(side="sell", qty="10"), bracket()),
    line(
        403,
        FORBIDDEN,
        "bracket orders must be entry orders",
        HELD,
        short_bracket("140", "152"),
        quirks={"bracket_entry_refusal": "403"},
    ),
    rule("bracket orders must be entry orders", HELD, bracket(), quirks={"bracket_additions": "refused"}),
    rule(
        "oto orders must be entry orders",
        HELD,
        short_bracket("140", "152", order_class="oto", take_profit=None),
    ),
    rule("oco orders must be exit orders", oco()),
    rule("oco orders must be exit orders", HELD, oco(), latency={"settle": 50}),
    rule(
        "position intent mismatch, inferred: sell_to_open, specified: sell_to_close",
        order(side="sell", position_intent="sell_to_close"),
    ),
    rule(
        "position intent mismatch, inferred: sell_to_close, specified: sell_to_open",
        HELD,
        order(side="sell", position_intent="sell_to_open"),
    ),
    rule('asset "MULN" cannot be sold short', order(symbol="MULN", side="sell")),
    rule(
        'only day orders are allowed for hard-to-borrow asset "GME"',
        limit("25", symbol="GME", side="sell", time_in_force="gtc"),
    ),
    rule(
        'only day orders are allowed for hard-to-borrow asset "GME"',
        limit("24", symbol="GME", time_in_force="gtc"),
    ),
    rule(
        'only day orders are allowed for hard-to-borrow asset "GME"',
        bracket("30", "20", symbol="GME", price="25"),  # its legs sell
        quirks={"hard_to_borrow_tif": "sells"},
    ),
]

ACCOUNT = [
    # leave to trade
    forbidden("account is not authorized to trade", flagged(trading_blocked=True), order()),
    forbidden("account is not authorized to trade", flagged(account_blocked=True), order()),
    forbidden("account is not authorized to trade", flagged(status="ACCOUNT_UPDATED"), order()),
    forbidden("account is not authorized to trade", flagged(crypto_status="INACTIVE"), coin()),
    forbidden("new orders are rejected by user request", configured(suspend_trade=True), order()),
    forbidden("account is restricted to liquidation only", flagged(liquidation_only=True), order()),
    forbidden(
        "fractional trading is disabled for this account",
        configured(fractional_trading=False),
        order(qty="1.5"),
    ),
    forbidden('asset "UVXY" is a PTP with no exception', order(symbol="UVXY")),
    forbidden("account is not allowed to short", order(side="sell"), cash="1999"),
    forbidden("account is not allowed to short", order(side="sell"), multiplier=1),
    forbidden("account is not allowed to short", configured(no_shorting=True), order(side="sell")),
    forbidden("account is not allowed to short", configured(max_margin_multiplier="1"), order(side="sell")),
    forbidden("account is not allowed to short", flagged(shorting_enabled=False), order(side="sell")),
    # auctions: it is ten in the morning
    forbidden(
        "opg orders must be submitted after 7:00pm and before 9:28am",
        order(time_in_force="opg"),
        session="calendar",
    ),
    forbidden(
        "cls orders must be submitted after 7:00pm and before 3:55pm",
        waited(355 * 60_000),
        order(time_in_force="cls"),
        session="calendar",
    ),
    forbidden(
        "cls orders must be submitted after 7:00pm and before 3:50pm",
        waited(350 * 60_000),
        order(time_in_force="cls"),
        session="calendar",
        quirks={"cls_cutoff": "3:50pm"},
    ),
    # wash trades
    forbidden(
        WASH,
        stop("151", side="buy"),
        limit("160", side="sell"),
        extras={"existing_order_id": Id(0), "reject_reason": "opposite side market/stop order exists"},
    ),
    forbidden(
        WASH,
        RESTING,
        stop("139"),
        extras={"existing_order_id": Id(0), "reject_reason": "opposite side limit order exists"},
    ),
    forbidden(
        WASH,
        HELD,
        limit("160", side="sell"),
        limit("160"),
        extras={"existing_order_id": Id(1), "reject_reason": "opposite side limit order exists"},
    ),
    forbidden("cannot open a short sell while a long buy order is open", RESTING, trailing(trail_price="1")),
    forbidden(
        "cannot open a long buy while a short sell order is open", limit("160", side="sell"), limit("140")
    ),
    # shares and coins
    forbidden(
        "insufficient qty available for order (requested: 1, available: 0)",
        HELD,
        limit("160", side="sell", qty="10"),
        order(side="sell"),
        extras={
            "available": "0",
            "existing_qty": "10",
            "held_for_orders": "10",
            "related_orders": [Id(1)],
            "symbol": "AAPL",
        },
    ),
    forbidden(
        "insufficient qty available for order (requested: 11, available: 10)",
        HELD,
        order(side="sell", qty="11"),
        extras={
            "available": "10",
            "existing_qty": "10",
            "held_for_orders": "0",
            "related_orders": [],
            "symbol": "AAPL",
        },
    ),
    forbidden(
        "cannot flip position: order qty is larger than the position",
        HELD,
        order(side="sell", qty="11"),
        quirks={"short_flip": "cannot_flip"},
    ),
    forbidden(
        "insufficient qty available for order (requested: 10, available: 2)",
        HELD,
        limit("160", side="sell", qty="8"),
        ("DELETE", "/v2/positions/AAPL", None),
        extras={"available": "2", "existing_qty": "10", "held_for_orders": "8", "symbol": "AAPL"},
    ),
    forbidden(
        "insufficient balance for BTC (requested: 0.01, available: 0.009975)",
        coin(),
        coin(side="sell"),  # the fee was taken in coins
        extras={"available": "0.009975", "balance": "0.009975", "symbol": "BTC"},
    ),
    forbidden(
        "insufficient balance for BTC (requested: 0.01, available: 0)",
        coin(side="sell"),
        extras={"available": "0", "balance": "0", "symbol": "BTC"},
    ),
    # money
    forbidden(
        "insufficient balance for USD (requested: 120020, available: 100000)",
        coin(qty="2"),
        extras={"available": "100000", "balance": "100000", "symbol": "USD"},
    ),
    forbidden("cost basis must be >= minimal amount of order 10", coin(qty="0.0001")),
    forbidden("cost basis must be >= minimal amount of order 10", coin(qty=None, notional="9.99")),
    forbidden("cost basis must be >= minimal amount of order 1", order(qty="0.001")),
    forbidden("cost basis must be <= maximal amount of order 200000", coin(qty="4"), cash="1000000"),
    forbidden(
        "order has been rejected due to no available quote for symbol. please reenter with a limit",
        order(symbol="MSFT"),
    ),
    forbidden(
        "insufficient buying power",
        limit("150", qty="1400"),
        extras={"buying_power": "200000", "cost_basis": "210000"},
    ),
    forbidden(
        "insufficient buying power",
        order(qty=None, notional="200001"),
        extras={"buying_power": "200000", "cost_basis": "200001"},
    ),
    forbidden(
        "insufficient buying power",
        order(side="sell", qty="1300"),  # 3 % above the ask
        extras={"buying_power": "200000", "cost_basis": "200850"},
    ),
    forbidden(
        "insufficient buying power",
        stop("151", side="buy", qty="1300"),  # 2.5 % above the stop
        extras={"buying_power": "200000", "cost_basis": "201207.5"},
    ),
    forbidden(
        "insufficient buying power",
        order(symbol="MULN", qty="250000"),  # not marginable
        extras={"buying_power": "100000", "cost_basis": "102500"},
    ),
    forbidden(
        "insufficient buying power",
        configured(max_margin_multiplier="1"),
        limit("150", qty="700"),
        extras={"buying_power": "100000", "cost_basis": "105000"},
    ),
]

REPLACEMENT = [
    rule(
        "cannot replace order in accepted status",
        waited(400 * 60_000),
        RESTING,
        replaced(0, qty="2"),
        session="calendar",
    ),
    rule("cannot replace order in pending_new status", RESTING, replaced(0, qty="2"), latency={"ack": 50}),
    rule(
        "cannot replace order in pending_cancel status",
        RESTING,
        canceled(0),
        replaced(0, qty="2"),
        latency={"cancel": 50},
    ),
    rule(
        "order already pending replacement",
        RESTING,
        replaced(0, qty="2"),
        replaced(0, qty="3"),
        latency={"replace": 50},
    ),
    rule(
        "order chain not fully replaced",
        RESTING,
        replaced(0, qty="2"),
        replaced(1, qty="3"),
        latency={"replace": 50},
    ),
    rule("order already replaced", RESTING, replaced(0, qty="2"), replaced(0, qty="3")),
    rule("unable to replace order, order is not open", order(), replaced(0, qty="2")),
    rule("order parameters are not changed", RESTING, replaced(0)),
    rule("order parameters are not changed", RESTING, replaced(0, qty="1", limit_price="140")),
    rule(
        "qty must be > filled_qty",
        market("AAPL", bid=149.98, ask=150.0, ask_size=4),
        limit("150", qty="10"),
        replaced(0, qty="4"),
    ),
    parameter("qty must be > 0", RESTING, replaced(0, qty="0")),
    parameter("limit price must be > 0", RESTING, replaced(0, limit_price="0")),
    parameter("trail must be > 0", HELD, trailing(trail_price="1"), replaced(1, trail="0")),
    parameter("qty must be an integer", RESTING, replaced(0, qty="1.5")),
    parameter("notional is only accepted for ipo orders", RESTING, replaced(0, notional="100")),
    parameter("limit orders require no stop price", RESTING, replaced(0, stop_price="139")),
    parameter("stop orders require no limit price", HELD, stop("140"), replaced(1, limit_price="139")),
    parameter(
        "trailing stop orders require no stop price",
        HELD,
        trailing(trail_price="1"),
        replaced(1, stop_price="140"),
    ),
    parameter("limit orders must not have trail", RESTING, replaced(0, trail="1")),
    parameter(
        "trail_percent must be greater than or equal to 0.1",
        HELD,
        trailing(trail_percent="1"),
        replaced(1, trail="0.05"),
    ),
    parameter("invalid time_in_force", HELD, stop("140"), replaced(1, time_in_force="ioc")),
    parameter(
        "client_order_id must be no more than 128 characters", RESTING, replaced(0, client_order_id="x" * 129)
    ),
    rule(NOT_UNIQUE, limit("140", client_order_id="mine"), replaced(0, client_order_id="mine")),
    rule(f"invalid limit_price 140.001. {SUBPENNY}", RESTING, replaced(0, limit_price="140.001")),
    rule(
        "notional orders cannot be replaced",
        limit("140", qty=None, notional="500"),
        replaced(0, limit_price="141"),
    ),
    rule(
        "oto orders cannot be replaced",
        bracket(order_class="oto", take_profit=None, price="145", stop_loss={"stop_price": "140"}),
        replaced(0, limit_price="146"),
    ),
    rule("qty of a complex order cannot be replaced", bracket(price="149"), replaced(0, qty="2")),
    rule(
        "time_in_force of a complex order cannot be replaced",
        bracket(price="149"),
        replaced(0, time_in_force="day"),
    ),
    rule("fractional orders must be DAY orders", limit("140", qty="1.5"), replaced(0, time_in_force="gtc")),
    rule(
        "stop price must be less than current price",
        HELD,
        stop("148"),
        replaced(1, stop_price="150"),
        extras={"market_price": "149.99", "stop_price": "150"},
    ),
    rule(
        "stop_loss.stop_price must be <= base_price - 0.01",
        bracket(price="149"),
        replaced(0, limit_price="148"),
        extras={"base_price": "148"},
    ),
    rule(
        "take_profit.limit_price must be > stop_loss.stop_price", HELD, oco(), replaced(1, limit_price="147")
    ),
    forbidden(
        "insufficient buying power",
        limit("140", qty="1000"),
        replaced(0, qty="1500"),
        extras={"buying_power": "60000", "cost_basis": "210000"},
    ),
    forbidden(
        "insufficient qty available for order (requested: 9, available: 8)",
        HELD,
        limit("160", side="sell", qty="5"),
        limit("161", side="sell", qty="2"),
        replaced(1, qty="9"),
        extras={
            "available": "8",
            "existing_qty": "10",
            "held_for_orders": "2",
            "related_orders": [Id(2)],
            "symbol": "AAPL",
        },
    ),
    forbidden(
        WASH,
        HELD,
        limit("160", side="sell"),
        limit("140"),
        replaced(2, limit_price="160"),
        extras={"existing_order_id": Id(1), "reject_reason": "opposite side limit order exists"},
    ),
    forbidden(
        "new orders are rejected by user request",
        RESTING,
        configured(suspend_trade=True),
        replaced(0, qty="2"),
    ),
]

ELSEWHERE = [
    not_found(f"order not found for {NOWHERE}", ("GET", f"/v2/orders/{NOWHERE}", None)),
    not_found(f"order not found for {NOWHERE}", ("DELETE", f"/v2/orders/{NOWHERE}", None)),
    not_found(f"order not found for {NOWHERE}", ("PATCH", f"/v2/orders/{NOWHERE}", {"qty": "2"})),
    not_found(
        "order not found for nobody", ("GET", "/v2/orders:by_client_order_id?client_order_id=nobody", None)
    ),
    not_found("position does not exist", ("GET", "/v2/positions/AAPL", None)),
    not_found("position does not exist", ("DELETE", "/v2/positions/AAPL", None)),
    not_found("asset not found for ZZZ", ("GET", "/v2/assets/ZZZ", None)),
    parameter("order_id is missing", ("GET", "/v2/orders/17", None)),
    not_found("order not found for 17", ("GET", "/v2/orders/17", None), quirks={"malformed_order_id": "404"}),
    rule('order is already in "filled" state', order(), canceled(0)),
    rule(
        'order is already in "canceled" state',
        RESTING,
        canceled(0),
        canceled(0),
        quirks={"recancel": "refused"},
    ),
    parameter("pdt_check value is invalid", configured(pdt_check="never")),
    parameter("suspend_trade value is invalid", configured(suspend_trade=1)),
]

CATALOGUE = [*PARAMETERS, *INSTRUMENTS, *ACCOUNT, *REPLACEMENT, *ELSEWHERE]


class Wire:
    """A simulator on a loopback port in this process, and a client's connection to it."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._runner.run(self._open())

    async def _open(self) -> None:
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._server = asyncio.create_task(
            serve(SimConfig(tape=("manual",), clock="manual"), ready.set_result)
        )
        await asyncio.wait({self._server, ready}, return_when=asyncio.FIRST_COMPLETED)
        if self._server.done():
            self._server.result()
        self._client = aiohttp.ClientSession(await ready, headers=KEYS)

    def close(self) -> None:
        self._runner.run(self._close())
        self._runner.close()

    async def _close(self) -> None:
        await self._client.close()
        self._server.cancel()
        await asyncio.wait({self._server})

    def start_over(self, options: dict[str, Any]) -> None:
        assert self.call("POST", "/sim/v1/reset", options)[0] == 200
        assert self.call("POST", "/sim/v1/market", list(MARKET))[0] == 200

    def call(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        return self._runner.run(self._call(method, path, body))

    async def _call(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        async with self._client.request(method, path, json=body) as answer:
            return answer.status, await answer.json() if answer.status != 204 else None

    def play(self, scenario: tuple[Step, ...]) -> tuple[int, Any, list[str]]:
        """Return the last answer, and the ids of the orders taken on the way, each step of which succeeds."""
        taken: list[str] = []
        for number, (method, path, body) in enumerate(scenario, 1):
            status, document = self.call(method, path.format(*taken), body)
            if number == len(scenario):
                return status, document, taken
            assert status < 300, f"step {number} of the scenario was refused: {document}"
            if path.startswith("/v2/orders") and method in ("POST", "PATCH"):
                taken.append(document["id"])
        raise AssertionError("a scenario has steps")


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    opened = Wire()
    yield opened
    opened.close()


def _named(entry: Line) -> str:
    return f"{entry.status}-{entry.message[:60]}"


def _filled_in(value: Any, ids: list[str]) -> Any:
    if isinstance(value, list):
        return [_filled_in(item, ids) for item in value]
    return ids[value.n] if isinstance(value, Id) else value


@pytest.mark.parametrize("entry", CATALOGUE, ids=_named)
def test_refusal(wire: Wire, entry: Line) -> None:
    wire.start_over(entry.options)
    status, document, ids = wire.play(entry.scenario)
    extras = {key: _filled_in(value, ids) for key, value in entry.extras.items()}
    assert (status, document) == (entry.status, {"code": entry.code, "message": entry.message} | extras)


REFUSED_ORDERS = [
    entry
    for entry in CATALOGUE
    if entry.scenario[-1][:2] == ("POST", "/v2/orders") and "client_order_id" not in entry.scenario[-1][2]
]


@pytest.mark.parametrize("entry", REFUSED_ORDERS, ids=_named)
def test_refused_order_uses_up_no_client_order_id(wire: Wire, entry: Line) -> None:
    """Nothing is known under the id afterwards, and nothing else has changed either."""
    *before, (method, path, body) = entry.scenario
    wire.start_over(entry.options)
    if before:
        wire.play((*before, ("GET", "/v2/account", None)))
    truth = wire.call("GET", "/sim/v1/truth", None)[1]
    assert wire.call(method, path, body | {"client_order_id": "once"})[0] == entry.status
    assert wire.call("GET", "/v2/orders:by_client_order_id?client_order_id=once", None)[0] == 404
    after = wire.call("GET", "/sim/v1/truth", None)[1]
    assert {k: after[k] for k in ("account", "orders", "positions")} == {
        k: truth[k] for k in ("account", "orders", "positions")
    }


def test_id_of_a_refused_order_can_be_used(wire: Wire) -> None:
    wire.start_over({})
    assert wire.call(*order(qty="0", client_order_id="once"))[0] == 422
    assert wire.call(*order(qty="1400", client_order_id="once"))[0] == 403
    assert wire.call(*order(client_order_id="once"))[0] == 200


def test_requests_that_never_reach_the_rules(wire: Wire) -> None:
    wire.start_over({})

    async def strange(**options: Any) -> tuple[int, Any]:
        async with wire._client.post("/v2/orders", **options) as answer:
            return answer.status, await answer.json()

    unreadable = wire._runner.run(strange(data=b"{", headers={"Content-Type": "application/json"}))
    assert unreadable == (400, {"code": 40010000, "message": "request body format is invalid"})
    stranger = wire._runner.run(strange(json={}, headers=KEYS | {"APCA-API-SECRET-KEY": "wrong"}))
    assert stranger == (401, {"message": "unauthorized."})


REFUSALS = {"parameter", "rule", "forbidden", "not_found"}


def _messages(source: str) -> Iterator[str]:
    """Every message refused with in a module, as a pattern: what is filled in matches anything."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in REFUSALS | {"refuse", "VenueError", "_base_error"}:
            text = node.args[2 if name == "VenueError" else 0]
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield re.escape(text.value)
            elif isinstance(text, ast.JoinedStr):
                yield "".join(
                    re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in text.values
                )


def test_catalogue_has_every_refusal_of_an_order() -> None:
    rooms = Path(next(iter(admission.__path__)))
    patterns = {p for path in rooms.glob("*.py") for p in _messages(path.read_text())}
    assert len(patterns) > 60
    said = [entry.message for entry in CATALOGUE]
    assert [p for p in sorted(patterns) if not any(re.fullmatch(p, message) for message in said)] == []
