"""The trading REST API: orders, positions and assets, and the other parts put together.

Owns paths, query parameters and status codes; the exchange decides, `rest_json` formats. Handlers never await
between reading a request and its effect, so requests take effect in the order in which they arrived.
"""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from hands.core.units import Qty
from hands.core.vocab import AssetClass, OrderStatus
from hands.sim.server import rest_parse as parse
from hands.sim.server.account_rest import AccountRest
from hands.sim.server.answers import json_response
from hands.sim.server.floor import TradingFloor
from hands.sim.server.order_list import chosen_orders
from hands.sim.server.rest_json import asset_json, order_json, position_json
from hands.sim.server.session_rest import SessionRest
from hands.sim.server.watchlists import Watchlists
from hands.sim.venue import errors
from hands.sim.venue.account import Position
from hands.sim.venue.exchange import Exchange
from hands.sim.venue.orders import Order

_NOT_CANCELABLE: Final = 500
"""The status of an order that a DELETE of all could not cancel, whatever it would be alone."""


class TradingRest:
    """The endpoints of one floor."""

    def __init__(self, floor: TradingFloor) -> None:
        self._floor = floor
        self._parts = (AccountRest(floor), SessionRest(floor), Watchlists(floor))

    def routes(self) -> list[web.RouteDef]:
        routes = [
            web.post("/v2/orders", self._submit),
            web.get("/v2/orders", self._list_orders),
            web.delete("/v2/orders", self._cancel_all),
            web.get("/v2/orders:by_client_order_id", self._order_by_client_id),
            web.get("/v2/orders/{order_id}", self._order),
            web.patch("/v2/orders/{order_id}", self._replace),
            web.delete("/v2/orders/{order_id}", self._cancel),
            web.get("/v2/positions", self._list_positions),
            web.delete("/v2/positions", self._close_all),
            web.get("/v2/positions/{symbol}", self._position),
            web.delete("/v2/positions/{symbol}", self._close),
            web.get("/v2/assets", self._list_assets),
            web.get("/v2/assets/{symbol:.+}", self._asset),
        ]
        return routes + [route for part in self._parts for route in part.routes()]

    @property
    def _exchange(self) -> Exchange:
        return self._floor.exchange

    def _shown(self, order: Order, *, nested: bool = True) -> dict[str, Any]:
        return order_json(order, self._exchange.quirks, nested=nested)

    def _order_id(self, request: web.Request) -> str:
        return parse.read_order_id(request.match_info["order_id"], self._exchange.quirks)

    async def _submit(self, request: web.Request) -> web.Response:
        order = self._exchange.submit(parse.order_request(parse.read_body(await request.read())))
        self._floor.flush_soon()
        return json_response(self._shown(order))

    async def _replace(self, request: web.Request) -> web.Response:
        changes = parse.replace_request(parse.read_body(await request.read()))
        order = self._exchange.replace(self._order_id(request), changes)
        self._floor.flush_soon()
        return json_response(self._shown(order, nested=False))

    async def _cancel(self, request: web.Request) -> web.Response:
        self._exchange.cancel(self._order_id(request))
        self._floor.flush_soon()
        return web.Response(status=204)

    async def _cancel_all(self, request: web.Request) -> web.Response:
        del request
        results = self._cancel_live()
        self._floor.flush_soon()
        return json_response(results, 207)

    def _cancel_live(self) -> list[dict[str, Any]]:
        """Cancel every live order and return what became of each; those that went with another have gone well."""
        self._exchange.advance()  # what was due before is no business of this request
        results: list[dict[str, Any]] = []
        for order in [order for order in self._exchange.blotter if order.is_live]:
            result: dict[str, Any] = {"id": order.order_id, "status": 200}
            if order.is_live and order.status is not OrderStatus.PENDING_CANCEL:
                try:
                    self._exchange.cancel(order.order_id)
                except errors.VenueError as refusal:
                    result = {"id": order.order_id, "status": _NOT_CANCELABLE, "body": refusal.body()}
            results.append(result)
        return results

    async def _order(self, request: web.Request) -> web.Response:
        order = self._exchange.blotter.find(self._order_id(request))
        return json_response(self._shown(order.snapshot(), nested=parse.read_flag(request.query, "nested")))

    async def _order_by_client_id(self, request: web.Request) -> web.Response:
        order = self._exchange.blotter.find_by_client_id(request.query.get("client_order_id", ""))
        return json_response(self._shown(order.snapshot(), nested=parse.read_flag(request.query, "nested")))

    async def _list_orders(self, request: web.Request) -> web.Response:
        exchange, nested = self._exchange, parse.read_flag(request.query, "nested")
        orders = chosen_orders(request.query, exchange.blotter, exchange.quirks, nested=nested)
        return json_response([self._shown(order.snapshot(), nested=nested) for order in orders])

    async def _list_positions(self, request: web.Request) -> web.Response:
        del request
        exchange = self._exchange
        positions = exchange.account.positions.values()
        return json_response([position_json(position, exchange, exchange.quirks) for position in positions])

    async def _position(self, request: web.Request) -> web.Response:
        position = self._exchange.position(request.match_info["symbol"])
        return json_response(position_json(position, self._exchange, self._exchange.quirks))

    async def _close(self, request: web.Request) -> web.Response:
        position = self._exchange.position(request.match_info["symbol"])
        qty = parse.closing_qty(request.query, position.qty, is_crypto=position.asset.is_crypto)
        order = self._liquidate(position, qty)
        self._floor.flush_soon()
        return json_response(self._shown(order))

    def _liquidate(self, position: Position, qty: Qty | None) -> Order:
        """Send the closing order; here the venue does not name the orders that hold the shares."""
        if qty == 0:
            raise errors.parameter("qty must be > 0")
        try:
            return self._exchange.close_position(position.asset.symbol, qty)
        except errors.VenueError as refusal:
            refusal.extras.pop("related_orders", None)
            raise

    async def _close_all(self, request: web.Request) -> web.Response:
        if parse.read_flag(request.query, "cancel_orders"):
            self._cancel_live()
        results: list[dict[str, Any]] = []
        for position in list(self._exchange.account.positions.values()):
            symbol = position.asset.joined_symbol
            try:
                results.append(
                    {"symbol": symbol, "status": 200, "body": self._shown(self._liquidate(position, None))}
                )
            except errors.VenueError as refusal:
                results.append({"symbol": symbol, "status": refusal.status, "body": refusal.body()})
        self._floor.flush_soon()
        return json_response(results, 207)

    async def _list_assets(self, request: web.Request) -> web.Response:
        query = request.query
        kind = query.get("asset_class", AssetClass.EQUITY.value)
        exchange, status = query.get("exchange"), query.get("status")
        attributes = set(filter(None, query.get("attributes", "").split(",")))
        assets = [
            asset
            for asset in self._exchange.assets
            if asset.asset_class == kind
            and exchange in (None, asset.exchange)
            and status in (None, asset.status)
            and (not attributes or attributes.intersection(asset.attributes))
        ]
        assets.sort(key=lambda asset: (asset.exchange, asset.symbol))
        return json_response([asset_json(asset) for asset in assets])

    async def _asset(self, request: web.Request) -> web.Response:
        key = request.match_info["symbol"]
        asset = self._exchange.assets.find(key)
        if asset is None:
            raise errors.not_found(f"asset not found for {key}")
        return json_response(asset_json(asset))
