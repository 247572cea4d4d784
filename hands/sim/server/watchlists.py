"""Watchlists: named lists of assets that the account keeps at the venue.

Owns the lists and their endpoints, by id and by name. The engine of the venue knows nothing of them. The texts of
the refusals are unconfirmed.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from hands.core.units import Ns
from hands.sim.market.times import rfc3339
from hands.sim.server import rest_parse as parse
from hands.sim.server.answers import json_response
from hands.sim.server.floor import TradingFloor
from hands.sim.server.rest_json import ACCOUNT_ID, asset_json
from hands.sim.venue import errors
from hands.sim.venue.assets import Asset
from hands.sim.venue.exchange import Exchange

NAME_MAX: Final = 64
_BY_NAME: Final = "/v2/watchlists:by_name"
_BY_ID: Final = "/v2/watchlists/{id}"
_IDS: Final = uuid.UUID("b1a3a2ab-8e34-4a3c-9f0e-4b6a0f5a7a51")


@dataclass(slots=True, eq=False)
class Watchlist:
    """One list; assets in the order in which they were added."""

    list_id: str
    name: str
    created_ns: Ns
    updated_ns: Ns
    assets: list[Asset] = field(default_factory=list)

    def json(self, *, with_assets: bool = True) -> dict[str, Any]:
        """Return the list as the venue writes it."""
        document: dict[str, Any] = {
            "id": self.list_id,
            "account_id": ACCOUNT_ID,
            "created_at": rfc3339(self.created_ns),
            "updated_at": rfc3339(self.updated_ns),
            "name": self.name,
        }
        return (
            document | {"assets": [asset_json(asset) for asset in self.assets]} if with_assets else document
        )


class Watchlists:
    """The lists of the floor's account; a fresh account has none."""

    def __init__(self, floor: TradingFloor) -> None:
        self._floor = floor
        self._owner: Exchange | None = None
        self._kept: dict[str, Watchlist] = {}
        self._made = 0

    def routes(self) -> list[web.RouteDef]:
        routes = [
            web.get("/v2/watchlists", self._list),
            web.post("/v2/watchlists", self._create),
            web.delete(f"{_BY_ID}/{{symbol}}", self._remove),
        ]
        for path in (_BY_NAME, _BY_ID):
            routes += [
                web.get(path, self._show),
                web.put(path, self._update),
                web.post(path, self._append),
                web.delete(path, self._delete),
            ]
        return routes

    @property
    def _lists(self) -> dict[str, Watchlist]:
        if self._owner is not self._floor.exchange:
            self._owner = self._floor.exchange
            self._kept.clear()
            self._made = 0
        return self._kept

    async def _list(self, request: web.Request) -> web.Response:
        del request
        return json_response([watchlist.json(with_assets=False) for watchlist in self._lists.values()])

    async def _create(self, request: web.Request) -> web.Response:
        document = parse.read_body(await request.read())
        name, assets = self._name(document), self._assets(document.get("symbols"))
        lists = self._lists
        self._made += 1
        now_ns = self._floor.exchange.now_ns()
        list_id = str(uuid.uuid5(_IDS, f"{self._floor.exchange.created_ns}/{self._made}"))
        lists[list_id] = Watchlist(list_id, name, now_ns, now_ns, assets)
        return json_response(lists[list_id].json())

    async def _show(self, request: web.Request) -> web.Response:
        return json_response(self._find(request).json())

    async def _update(self, request: web.Request) -> web.Response:
        document = parse.read_body(await request.read())
        watchlist = self._find(request)
        name = self._name(document, watchlist) if "name" in document else watchlist.name
        assets = self._assets(document["symbols"]) if "symbols" in document else watchlist.assets
        watchlist.name, watchlist.assets = name, assets
        return self._changed(watchlist)

    async def _append(self, request: web.Request) -> web.Response:
        document = parse.read_body(await request.read())
        watchlist = self._find(request)
        for asset in self._assets([document.get("symbol")]):
            if asset in watchlist.assets:
                raise errors.parameter(f"duplicate symbol: {asset.symbol}")
            watchlist.assets.append(asset)
        return self._changed(watchlist)

    async def _remove(self, request: web.Request) -> web.Response:
        watchlist = self._find(request)
        asset = self._floor.exchange.assets.find(request.match_info["symbol"])
        if asset is None or asset not in watchlist.assets:
            raise errors.not_found(f"symbol not found: {request.match_info['symbol']}")
        watchlist.assets.remove(asset)
        return self._changed(watchlist)

    async def _delete(self, request: web.Request) -> web.Response:
        del self._lists[self._find(request).list_id]
        return web.Response(status=204)

    def _changed(self, watchlist: Watchlist) -> web.Response:
        watchlist.updated_ns = self._floor.exchange.now_ns()
        return json_response(watchlist.json())

    def _find(self, request: web.Request) -> Watchlist:
        """Return the list that the path or the query names. Raises `VenueError` 404."""
        list_id = request.match_info.get("id")
        if list_id is not None:
            found = self._lists.get(list_id)
        else:
            name = request.query.get("name", "")
            found = next((w for w in self._lists.values() if w.name == name), None)
        if found is None:
            raise errors.not_found("watchlist not found")
        return found

    def _name(self, document: dict[str, Any], own: Watchlist | None = None) -> str:
        name = document.get("name")
        if not isinstance(name, str) or not 1 <= len(name) <= NAME_MAX:
            raise errors.parameter("watchlist name is invalid")
        if any(w.name == name and w is not own for w in self._lists.values()):
            raise errors.parameter("watchlist name must be unique")
        return name

    def _assets(self, symbols: Any) -> list[Asset]:
        """Return the assets of a body's list of symbols, each once."""
        if symbols is None:
            return []
        if not isinstance(symbols, list):
            raise errors.parameter("symbols is invalid")
        found: dict[str, Asset] = {}
        for asset in self._known(symbols):
            found[asset.symbol] = asset
        return list(found.values())

    def _known(self, symbols: Iterable[Any]) -> Iterable[Asset]:
        for symbol in symbols:
            asset = self._floor.exchange.assets.find(symbol) if isinstance(symbol, str) else None
            if asset is None:
                raise errors.not_found(f"asset not found for {symbol}")
            yield asset
