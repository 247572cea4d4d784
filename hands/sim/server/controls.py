"""The simulator's own endpoints under /sim/v1: move the market, install faults, read the truth, start over.

Owns their documents. They need no keys and are never subject to a fault: they are the test's hand, not the
venue's. The truth is what nobody can see at a real venue: everything that happened, without a stream to lose it.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from aiohttp import web

from hands.core.units import NANO, Ns, NumberError, Price, Qty, nano_truncated
from hands.sim.server.faults import FaultError
from hands.sim.server.floor import TradingFloor
from hands.sim.server.gateway import json_response
from hands.sim.server.rest_json import account_json, fill_json, order_json, position_json
from hands.sim.venue.orders import Order
from hands.sim.venue.ticks import Quote, Tick, Trade

_QUOTE_KEYS = frozenset({"symbol", "bid", "ask", "bid_size", "ask_size"})
_TRADE_KEYS = frozenset({"symbol", "price", "size"})
_DEFAULT_SIZE = {"bid_size": 1000, "ask_size": 1000, "size": 100}


class ControlError(ValueError):
    """A control document is not understood; the message says what was found."""


class Controls:
    """The control endpoints of one floor."""

    def __init__(self, floor: TradingFloor) -> None:
        self._floor = floor

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/sim/v1/market", self._market),
            web.post("/sim/v1/faults", self._faults),
            web.get("/sim/v1/truth", self._truth),
            web.post("/sim/v1/reset", self._reset),
        ]

    async def _market(self, request: web.Request) -> web.Response:
        try:
            ticks = [self._tick(row) for row in _rows(await request.read())]
        except ControlError as error:
            return json_response({"message": str(error)}, 400)
        self._floor.emit(ticks)
        return json_response({"published": len(ticks)})

    async def _faults(self, request: web.Request) -> web.Response:
        try:
            rows = _rows(await request.read())
            installed = self._floor.faults.install([_plain(row) for row in rows])
        except (ControlError, FaultError) as error:
            return json_response({"message": str(error)}, 400)
        return json_response({"installed": installed})

    async def _truth(self, request: web.Request) -> web.Response:
        del request
        return json_response(truth_json(self._floor))

    async def _reset(self, request: web.Request) -> web.Response:
        del request
        self._floor.reset()
        return json_response({})

    def _tick(self, row: dict[str, Any]) -> Tick:
        symbol = row.get("symbol")
        if not isinstance(symbol, str) or not symbol:
            raise ControlError(f"a row needs a symbol: {row}")
        t_ns = Ns(self._floor.now_ns())
        if "price" in row:
            _check_keys(row, _TRADE_KEYS)
            self._floor.trade_ids += 1
            price, size = _amount(row, "price"), _amount(row, "size")
            return Trade(symbol, Price(price), Qty(size), t_ns, self._floor.trade_ids)
        _check_keys(row, _QUOTE_KEYS)
        if "bid" not in row and "ask" not in row:
            raise ControlError(f"a row is a trade (price) or a quote (bid, ask): {row}")
        # A side that is not given is empty: price and size 0.
        bid, ask = _amount(row, "bid"), _amount(row, "ask")
        bid_size = _amount(row, "bid_size") if bid else 0
        ask_size = _amount(row, "ask_size") if ask else 0
        return Quote(symbol, Price(bid), Price(ask), Qty(bid_size), Qty(ask_size), t_ns)


def truth_json(floor: TradingFloor) -> dict[str, Any]:
    """Return everything that happened since the start or the last reset."""
    exchange = floor.exchange
    now_ns = exchange.now_ns()
    return {
        "now_ns": now_ns,
        "account": account_json(exchange),
        "positions": [position_json(p, exchange) for p in exchange.account.positions.values()],
        "orders": [_order_truth(order) for order in exchange.blotter],
        "fills": [fill_json(fill) for fill in exchange.blotter.fills],
        "naked": exchange.exposure.at(now_ns),
        "requests": [
            {
                "method": record.method,
                "path": record.path,
                "body": record.body,
                "received_ns": record.received_ns,
                "status": record.status,
                "conn": record.conn,
            }
            for record in floor.requests
        ],
    }


def _order_truth(order: Order) -> dict[str, Any]:
    parent = order.group.parent if order.group is not None else None
    return order_json(order) | {
        "leg": order.leg.value,
        "parent_id": parent.order_id if parent is not None and parent is not order else None,
        "history": [[t_ns, status.value] for t_ns, status in order.history],
    }


def _rows(raw: bytes) -> list[dict[str, Any]]:
    """Return a JSON array of objects, or one object as an array; fractions as `Decimal`."""
    try:
        document = json.loads(raw, parse_float=Decimal)
    except ValueError as error:
        raise ControlError(f"not JSON: {error}") from error
    rows = document if isinstance(document, list) else [document]
    for row in rows:
        if not isinstance(row, dict):
            raise ControlError(f"an array of objects is expected, found {row!r}")
    return rows


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: float(value) if isinstance(value, Decimal) else value for key, value in row.items()}


def _check_keys(row: dict[str, Any], allowed: frozenset[str]) -> None:
    unknown = sorted(set(row) - allowed)
    if unknown:
        raise ControlError(f"unknown key {unknown[0]!r}; known here: {', '.join(sorted(allowed))}")


def _amount(row: dict[str, Any], key: str) -> int:
    value = row.get(key)
    if value is None:
        return _DEFAULT_SIZE.get(key, 0) * NANO
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        raise ControlError(f"{key} is {value!r}, not a number")
    try:
        amount = nano_truncated(str(value))
    except NumberError as error:
        raise ControlError(f"{key}: {error}") from error
    if amount < 0:
        raise ControlError(f"{key} is {value}, below zero")
    return amount
