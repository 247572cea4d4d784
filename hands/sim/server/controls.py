"""The simulator's own endpoints under /sim/v1: move the market and the clock, install faults, read the truth.

Owns the endpoints and what each does to the floor. They need no keys and are never subject to a fault: they are the
test's hand, not the venue's. Every document is judged as a whole first: a 400 has changed nothing.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from hands.core.units import NS_PER_MS, Ns
from hands.sim.market.file_rows import FileError
from hands.sim.market.times import DAY_NS, rfc3339, time_ns
from hands.sim.server.answers import json_response
from hands.sim.server.clock import LAST_NS, ManualClock
from hands.sim.server.config import ConfigError
from hands.sim.server.control_rows import (
    ControlError,
    MarketRows,
    check_keys,
    check_symbol,
    plain,
    read_object,
    read_rows,
    read_symbol,
)
from hands.sim.server.fault_rows import FaultError
from hands.sim.server.floor import TradingFloor
from hands.sim.server.passage import move_clock
from hands.sim.server.truth import truth_json
from hands.sim.venue.assets import AssetError
from hands.sim.venue.configurations import FlagError
from hands.sim.venue.corporate import CorporateActionError

ADVANCE_MAX_NS: Final = 400 * DAY_NS
"""A manual clock is moved by at most so much at once: a little over a year."""

_FAR_MS: Final = 2 * ADVANCE_MAX_NS // NS_PER_MS

RATIO_MAX: Final = 10_000
"""A split makes at most so many of one, or one of so many."""

_REFUSALS: Final = (
    ControlError,
    FaultError,
    ConfigError,
    AssetError,
    FlagError,
    CorporateActionError,
    FileError,  # of a tape, where it turns out to be unreadable
)


class Controls:
    """The control endpoints of one floor."""

    def __init__(self, floor: TradingFloor) -> None:
        self._floor = floor

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/sim/v1/market", _answered(self._market)),
            web.get("/sim/v1/faults", _answered(self._list_faults)),
            web.post("/sim/v1/faults", _answered(self._install_faults)),
            web.delete("/sim/v1/faults", _answered(self._clear_faults)),
            web.get("/sim/v1/clock", _answered(self._clock)),
            web.post("/sim/v1/clock", _answered(self._move_clock)),
            web.post("/sim/v1/account", _answered(self._account)),
            web.post("/sim/v1/assets", _answered(self._assets)),
            web.post("/sim/v1/corporate-actions", _answered(self._corporate_actions)),
            web.get("/sim/v1/truth", _answered(self._truth)),
            web.post("/sim/v1/reset", _answered(self._reset)),
        ]

    async def _market(self, body: bytes) -> dict[str, Any]:
        floor = self._floor
        rows = MarketRows(Ns(floor.now_ns()), floor.trade_ids, floor.find_print)
        events = [rows.event(row) for row in read_rows(body)]
        for symbol in {event.symbol for event in events}:
            asset = floor.exchange.assets.find(symbol)
            if asset is not None and asset.symbol != symbol:
                raise ControlError(f"the market knows {symbol!r} as {asset.symbol!r}")
        floor.trade_ids = rows.trade_ids
        floor.remember_prints(rows.prints)
        floor.emit(events)
        prints = {"trade_ids": [trade.trade_id for trade in rows.prints]} if rows.prints else {}
        return {"published": len(events)} | prints

    async def _list_faults(self, body: bytes) -> list[dict[str, Any]]:
        del body
        return self._floor.faults.installed()

    async def _install_faults(self, body: bytes) -> dict[str, Any]:
        return {"installed": self._floor.faults.install([plain(row) for row in read_rows(body)])}

    async def _clear_faults(self, body: bytes) -> dict[str, Any]:
        del body
        cleared = len(self._floor.faults.installed())
        self._floor.faults.clear()
        return {"cleared": cleared}

    async def _clock(self, body: bytes) -> dict[str, Any]:
        del body
        now_ns = self._floor.now_ns()
        kind = "manual" if isinstance(self._floor.clock, ManualClock) else "wall"
        return {"clock": kind, "now_ns": now_ns, "now": rfc3339(now_ns)}

    async def _move_clock(self, body: bytes) -> dict[str, Any]:
        clock = self._floor.clock
        if not isinstance(clock, ManualClock):
            raise ControlError("the clock is the wall's and cannot be moved; start with --clock manual")
        await move_clock(self._floor, clock, _destination_ns(read_object(body), clock()))
        return await self._clock(b"")

    async def _account(self, body: bytes) -> dict[str, Any]:
        exchange = self._floor.exchange
        exchange.flags = exchange.flags.changed(read_object(body))
        return {}

    async def _assets(self, body: bytes) -> dict[str, Any]:
        changes = []
        for row in read_rows(body):
            symbol = read_symbol(row)
            changes.append((symbol, {key: value for key, value in plain(row).items() if key != "symbol"}))
        trial = copy.deepcopy(self._floor.exchange.assets)
        for assets in (trial, self._floor.exchange.assets):
            for symbol, facts in changes:
                assets.change(symbol, **facts)
        return {"changed": len(changes)}

    async def _corporate_actions(self, body: bytes) -> dict[str, Any]:
        row, floor = read_object(body), self._floor
        check_keys(row, frozenset({"symbol", "split", "rename"}))
        symbol, split, new_symbol = read_symbol(row), row.get("split"), row.get("rename")
        if (split is None) == (new_symbol is None):
            raise ControlError(f"a corporate action is a split or a rename: {row}")
        if split is not None:
            new, old = _ratio(split)
            floor.exchange.split(symbol, new, old)
            floor.history.split(symbol, new, old)
        else:
            if not isinstance(new_symbol, str) or not new_symbol:
                raise ControlError(f"rename is {new_symbol!r}; another symbol is expected")
            check_symbol(new_symbol)
            floor.exchange.rename(symbol, new_symbol)
            floor.history.rename(symbol, new_symbol)
        floor.flush()
        return {}

    async def _truth(self, body: bytes) -> dict[str, Any]:
        del body
        return truth_json(self._floor)

    async def _reset(self, body: bytes) -> dict[str, Any]:
        options = read_object(body)
        config = self._floor.started_with.changed(options) if options else None
        async with self._floor.moving:  # not in the middle of a move of the clock
            self._floor.reset(config)
        return {}


def _answered(control: Callable[[bytes], Awaitable[Any]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return the handler that answers with what `control` makes of the body, or with why it does not."""

    async def handler(request: web.Request) -> web.Response:
        try:
            return json_response(await control(await request.read()))
        except _REFUSALS as error:
            return json_response({"message": str(error)}, 400)

    return handler


def _ratio(split: object) -> tuple[int, int]:
    """Return (new, old) of a split. Raises `ControlError`."""
    match split:
        case [int() as new, int() as old] if 0 < new <= RATIO_MAX and 0 < old <= RATIO_MAX and new != old:
            return new, old
    raise ControlError(f"split is {split!r}; [new, old] is expected: [4, 1] makes four of one")


def _destination_ns(row: dict[str, Any], now_ns: int) -> int:
    """Return where the clock is to be moved to. Raises `ControlError`."""
    check_keys(row, frozenset({"advance_ms", "to"}))
    if len(row) != 1:
        raise ControlError("say either advance_ms or to")
    if "to" in row:
        try:
            t_ns: int = time_ns(str(row["to"]))
        except ValueError as error:
            raise ControlError(
                f"to is {row['to']!r}; a time like 2026-01-05T15:00:00Z is expected"
            ) from error
    else:
        ms = row["advance_ms"]
        is_infinite = isinstance(ms, float) and not math.isfinite(ms)
        if isinstance(ms, bool) or not isinstance(ms, (int, float)) or is_infinite:
            raise ControlError(f"advance_ms is {ms!r}, not a number")
        # Far beyond what is allowed there is no telling numbers apart, nor need there be.
        t_ns = now_ns + round(max(-_FAR_MS, min(ms, _FAR_MS)) * NS_PER_MS)
    if not 0 <= t_ns - now_ns <= ADVANCE_MAX_NS or t_ns > LAST_NS:
        raise ControlError(
            f"the clock stands at {rfc3339(now_ns)}; it moves forward only, by at most 400 days at once,"
            f" and ends at {rfc3339(LAST_NS)}"
        )
    return t_ns
