"""The account over REST: its state, what its owner has configured, its history and its activities.

Owns paths and parameters; the exchange knows the state and judges a change of configuration.
"""

from __future__ import annotations

import dataclasses

from aiohttp import web

from hands.core.units import decimal_text
from hands.sim.server import activities, portfolio
from hands.sim.server import rest_parse as parse
from hands.sim.server.answers import json_response
from hands.sim.server.floor import TradingFloor
from hands.sim.server.rest_json import account_json
from hands.sim.venue.calendar import new_york_date
from hands.sim.venue.exchange import Exchange


class AccountRest:
    """The account's endpoints of one floor."""

    def __init__(self, floor: TradingFloor) -> None:
        self._floor = floor

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v2/account", self._account),
            web.get("/v2/account/configurations", self._configurations),
            web.patch("/v2/account/configurations", self._configure),
            web.get("/v2/account/portfolio/history", self._history),
            web.get("/v2/account/activities", self._activities),
            web.get("/v2/account/activities/{type}", self._activities),
        ]

    @property
    def _exchange(self) -> Exchange:
        return self._floor.exchange

    async def _account(self, request: web.Request) -> web.Response:
        del request
        exchange = self._exchange
        close_ns = portfolio.previous_close_ns(exchange.now_ns())
        last = {
            "last_equity": decimal_text(self._floor.equity.at(close_ns)),
            "balance_asof": new_york_date(close_ns).isoformat(),
        }
        return json_response(account_json(exchange, exchange.quirks) | last)

    async def _configurations(self, request: web.Request) -> web.Response:
        del request
        return json_response(dataclasses.asdict(self._exchange.configurations))

    async def _configure(self, request: web.Request) -> web.Response:
        self._exchange.configure(parse.read_body(await request.read()))
        self._floor.flush_soon()
        return json_response(dataclasses.asdict(self._exchange.configurations))

    async def _history(self, request: web.Request) -> web.Response:
        exchange = self._exchange
        return json_response(
            portfolio.history_json(
                request.query,
                self._floor.equity,
                exchange.clock,
                exchange.now_ns(),
                exchange.funds().equity,
            )
        )

    async def _activities(self, request: web.Request) -> web.Response:
        exchange = self._exchange
        kind = request.match_info.get("type")
        fills = exchange.blotter.fills
        page = activities.page(request.query, kind, fills, exchange.quirks, exchange.now_ns())
        return json_response(page)
