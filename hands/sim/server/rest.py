"""The trading REST API under /v2: one short handler per endpoint.

Owns paths, query parameters and status codes; the exchange decides, `rest_json` formats. Handlers never await
between reading a request and its effect, so requests take effect in the order in which they arrived.

`nested=true` shows a group under its parent whenever any of its orders matches the filter.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiohttp import web

from hands.core.vocab import AssetClass, OrderStatus
from hands.sim.server import rest_parse as parse
from hands.sim.server.floor import TradingFloor
from hands.sim.server.gateway import json_response
from hands.sim.server.rest_json import (
    account_json,
    activity_json,
    asset_json,
    calendar_json,
    clock_json,
    order_json,
    position_json,
)
from hands.sim.venue import errors
from hands.sim.venue.calendar import new_york_date, trading_days
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.orders import Order

_ORDERS_MAX: Final = 500
_ACTIVITIES_MAX: Final = 100
_CALENDAR_END: Final = dt.date(2030, 12, 31)


class TradingRest:
    """The endpoints of one floor."""

    def __init__(self, floor: TradingFloor) -> None:
        self._floor = floor

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v2/orders", self._submit),
            web.get("/v2/orders", self._list_orders),
            web.delete("/v2/orders", self._cancel_all),
            web.get("/v2/orders:by_client_order_id", self._order_by_client_id),
            web.get("/v2/orders/{order_id}", self._order),
            web.patch("/v2/orders/{order_id}", self._replace),
            web.delete("/v2/orders/{order_id}", self._cancel),
            web.get("/v2/positions", self._list_positions),
            web.delete("/v2/positions", self._close_all),
            web.get("/v2/positions/{symbol:.+}", self._position),
            web.delete("/v2/positions/{symbol:.+}", self._close),
            web.get("/v2/account", self._account),
            web.get("/v2/account/activities", self._activities),
            web.get("/v2/account/activities/{type}", self._activities),
            web.get("/v2/assets", self._list_assets),
            web.get("/v2/assets/{symbol:.+}", self._asset),
            web.get("/v2/clock", self._clock),
            web.get("/v2/calendar", self._calendar),
        ]

    @property
    def _exchange(self) -> Exchange:
        return self._floor.exchange

    async def _submit(self, request: web.Request) -> web.Response:
        order = self._exchange.submit(parse.order_request(parse.read_body(await request.read())))
        self._floor.flush_soon()
        return json_response(order_json(order))

    async def _replace(self, request: web.Request) -> web.Response:
        changes = parse.replace_request(parse.read_body(await request.read()))
        order = self._exchange.replace(parse.read_order_id(request.match_info["order_id"]), changes)
        self._floor.flush_soon()
        return json_response(order_json(order))

    async def _cancel(self, request: web.Request) -> web.Response:
        self._exchange.cancel(parse.read_order_id(request.match_info["order_id"]))
        self._floor.flush_soon()
        return web.Response(status=204)

    async def _cancel_all(self, request: web.Request) -> web.Response:
        del request
        ids = self._exchange.cancel_all()
        self._floor.flush_soon()
        return json_response([{"id": order_id, "status": 200} for order_id in ids], 207)

    async def _order(self, request: web.Request) -> web.Response:
        order = self._exchange.blotter.find(parse.read_order_id(request.match_info["order_id"]))
        return json_response(order_json(order.snapshot(), nested=parse.read_flag(request.query, "nested")))

    async def _order_by_client_id(self, request: web.Request) -> web.Response:
        order = self._exchange.blotter.find_by_client_id(request.query.get("client_order_id", ""))
        return json_response(order_json(order.snapshot(), nested=parse.read_flag(request.query, "nested")))

    async def _list_orders(self, request: web.Request) -> web.Response:
        query = request.query
        limit = parse.read_count(query, "limit", 50, _ORDERS_MAX)
        is_ascending = parse.read_choice(query, "direction", "desc", ("asc", "desc")) == "asc"
        nested = parse.read_flag(query, "nested")
        wanted = _OrderFilter(query)
        matching = [order for order in self._exchange.blotter if wanted.admits(order)]
        first, last = self._page_bounds(query)
        shown = _parents(matching) if nested else matching
        chosen = [order for order in shown if first < order.sequence < last]
        chosen.sort(key=lambda order: order.sequence, reverse=not is_ascending)
        return json_response([order_json(order.snapshot(), nested=nested) for order in chosen[:limit]])

    def _page_bounds(self, query: Mapping[str, str]) -> tuple[float, float]:
        """Return the places, exclusive, between which the orders asked for were submitted."""
        after_id, before_id = query.get("after_order_id"), query.get("before_order_id")
        if after_id and before_id:
            raise errors.parameter("only one of before_order_id or after_order_id is accepted")
        if (after_id or before_id) and (query.get("after") or query.get("until")):
            raise errors.parameter("before_order_id and after_order_id cannot be used with after or until")
        find = self._exchange.blotter.find
        return (
            find(parse.read_order_id(after_id)).sequence if after_id else -math.inf,
            find(parse.read_order_id(before_id)).sequence if before_id else math.inf,
        )

    async def _list_positions(self, request: web.Request) -> web.Response:
        del request
        positions = self._exchange.account.positions.values()
        return json_response([position_json(position, self._exchange) for position in positions])

    async def _position(self, request: web.Request) -> web.Response:
        position = self._exchange.position(request.match_info["symbol"])
        return json_response(position_json(position, self._exchange))

    async def _close(self, request: web.Request) -> web.Response:
        position = self._exchange.position(request.match_info["symbol"])
        qty = parse.closing_qty(request.query, position.qty)
        order = self._exchange.close_position(position.asset.symbol, qty)
        self._floor.flush_soon()
        return json_response(order_json(order))

    async def _close_all(self, request: web.Request) -> web.Response:
        if parse.read_flag(request.query, "cancel_orders"):
            self._exchange.cancel_all()
        results: list[dict[str, Any]] = []
        for position in list(self._exchange.account.positions.values()):
            symbol = position.asset.joined_symbol
            try:
                body = order_json(self._exchange.close_position(position.asset.symbol))
                results.append({"symbol": symbol, "status": 200, "body": body})
            except errors.VenueError as refusal:
                results.append({"symbol": symbol, "status": refusal.status, "body": refusal.body()})
        self._floor.flush_soon()
        return json_response(results, 207)

    async def _account(self, request: web.Request) -> web.Response:
        del request
        return json_response(account_json(self._exchange))

    async def _activities(self, request: web.Request) -> web.Response:
        query = request.query
        kinds = request.match_info.get("type") or query.get("activity_types") or "FILL"
        size = parse.read_count(query, "page_size", _ACTIVITIES_MAX, _ACTIVITIES_MAX)
        is_ascending = parse.read_choice(query, "direction", "desc", ("asc", "desc")) == "asc"
        after_ns, until_ns = parse.read_time_ns(query, "after"), parse.read_time_ns(query, "until")
        date = parse.read_date(query, "date", dt.date.min)
        items: list[dict[str, Any]] = []
        for fill in self._exchange.blotter.fills if "FILL" in kinds.split(",") else ():
            is_too_old = after_ns is not None and fill.t_ns <= after_ns
            is_too_new = until_ns is not None and fill.t_ns >= until_ns
            is_other_day = date != dt.date.min and new_york_date(fill.t_ns) != date
            if not (is_too_old or is_too_new or is_other_day):
                items.append(activity_json(fill))
        if not is_ascending:
            items.reverse()
        token = query.get("page_token")
        if token:
            places = [place for place, item in enumerate(items) if item["id"] == token]
            items = items[places[0] + 1 :] if places else []
        return json_response(items[:size])

    async def _list_assets(self, request: web.Request) -> web.Response:
        query = request.query
        wanted = query.get("asset_class", AssetClass.EQUITY.value)
        exchange, status = query.get("exchange"), query.get("status", "active")
        assets = [
            asset_json(asset)
            for asset in self._exchange.assets
            if asset.asset_class == wanted and exchange in (None, asset.exchange) and status == "active"
        ]
        return json_response(assets)

    async def _asset(self, request: web.Request) -> web.Response:
        key = request.match_info["symbol"]
        asset = self._exchange.assets.find(key)
        if asset is None:
            raise errors.not_found(f"asset not found for {key}")
        return json_response(asset_json(asset))

    async def _clock(self, request: web.Request) -> web.Response:
        del request
        return json_response(clock_json(self._exchange))

    async def _calendar(self, request: web.Request) -> web.Response:
        today = new_york_date(self._exchange.now_ns())
        start = parse.read_date(request.query, "start", today)
        end = min(parse.read_date(request.query, "end", _CALENDAR_END), _CALENDAR_END)
        return json_response(
            [calendar_json(day) for day in trading_days(max(start, dt.date(2011, 1, 1)), end)]
        )


class _OrderFilter:
    """The filters of GET /v2/orders; `after` and `until` are exclusive and by submission."""

    def __init__(self, query: Any) -> None:
        self._status = parse.read_choice(query, "status", "open", ("open", "closed", "all"))
        self._after_ns = parse.read_time_ns(query, "after")
        self._until_ns = parse.read_time_ns(query, "until")
        self._side = query.get("side")
        self._symbols = {s.replace("/", "") for s in query.get("symbols", "").split(",") if s}
        self._classes = set(filter(None, query.get("asset_class", "").split(",")))

    def admits(self, order: Order) -> bool:
        """Return whether the order belongs in the list."""
        if self._status != "all" and order.is_live != (self._status == "open"):
            return False
        if self._after_ns is not None and order.created_ns <= self._after_ns:
            return False
        if self._until_ns is not None and order.created_ns >= self._until_ns:
            return False
        if self._side and order.side != self._side:
            return False
        if self._classes and order.asset.asset_class not in self._classes:
            return False
        return not self._symbols or order.asset.joined_symbol in self._symbols


def _parents(orders: Iterable[Order]) -> Iterable[Order]:
    """Return `orders` with the members of a group replaced by its parent, each once."""
    shown: dict[str, Order] = {}
    for order in orders:
        is_current = order.group is not None and order.status is not OrderStatus.REPLACED
        parent = order.group.parent if is_current and order.group is not None else order
        shown[parent.order_id] = parent
    return shown.values()
