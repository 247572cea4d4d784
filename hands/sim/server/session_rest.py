"""When the markets are open: the clock and the calendar, in the second and third version of the venue's API.

Owns their parameters and documents. The calendar is that of the US equity exchanges; of the markets the third
version knows, those that keep it are offered, the others are refused.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from aiohttp import web

from hands.core.units import Ns
from hands.sim.market.phases import Phase, Stretch, stretch_at
from hands.sim.market.times import rfc3339_in
from hands.sim.server import rest_parse as parse
from hands.sim.server.answers import json_response
from hands.sim.server.clock import LAST_NS
from hands.sim.server.floor import TradingFloor
from hands.sim.venue import errors
from hands.sim.venue.calendar import (
    NEW_YORK,
    TradingDay,
    new_york_date,
    settlement_date,
    trading_day,
    trading_days,
)

FIRST_DAY: Final = dt.date(2011, 1, 1)
LAST_DAY: Final = dt.date(2029, 12, 31)
_SETTLING: Final = dt.timedelta(days=10)
"""Longer than any trade takes to settle, weekends and holidays included."""
_WEEK: Final = dt.timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Market:
    """One of the markets that keep this calendar."""

    mic: str
    acronym: str
    name: str

    def json(self) -> dict[str, Any]:
        """Return the market as the third version writes it."""
        return {"mic": self.mic, "acronym": self.acronym, "name": self.name, "timezone": "America/New_York"}


_NYSE: Final = Market("XNYS", "NYSE", "New York Stock Exchange")
_NASDAQ: Final = Market("XNAS", "NASDAQ", "Nasdaq")
_IEX: Final = Market("IEXG", "IEX", "Investors Exchange")
_OTC: Final = Market("OTCM", "OTC", "OTC Markets")
MARKETS: Final = {key: m for m in (_NYSE, _NASDAQ, _IEX, _OTC) for key in (m.acronym, m.mic)}


class SessionRest:
    """The clocks and calendars of one floor."""

    def __init__(self, floor: TradingFloor) -> None:
        self._floor = floor

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v2/clock", self._clock),
            web.get("/v3/clock", self._clocks),
            web.get("/v2/calendar", self._calendar),
            web.get("/v3/calendar/{market}", self._market_calendar),
        ]

    async def _clock(self, request: web.Request) -> web.Response:
        del request
        now_ns = self._floor.exchange.now_ns()
        reading = self._floor.exchange.clock.at(now_ns)
        return json_response(
            {
                "timestamp": _in_new_york(now_ns),
                "is_open": reading.is_open,
                "next_open": _in_new_york(reading.next_open_ns),
                "next_close": _in_new_york(reading.next_close_ns),
            }
        )

    async def _clocks(self, request: web.Request) -> web.Response:
        names = request.query.get("markets")
        markets = [_market(name) for name in names.split(",")] if names else [_NYSE, _NASDAQ, _IEX, _OTC]
        asked_ns = parse.read_time_ns(request.query, "time")
        if asked_ns is not None and not 0 <= asked_ns <= LAST_NS:
            raise errors.parameter(f"invalid time: {request.query['time']}")  # unconfirmed
        t_ns = self._floor.exchange.now_ns() if asked_ns is None else Ns(asked_ns)
        clock = self._floor.exchange.clock
        reading = clock.at(t_ns)
        # A market that never closes is always in its core.
        stretch = Stretch(Phase.CORE, t_ns, reading.next_close_ns) if clock.is_always else stretch_at(t_ns)
        is_market_day = clock.is_always or trading_day(new_york_date(t_ns)) is not None
        shown = {
            "timestamp": _in_new_york(t_ns),
            "is_market_day": is_market_day,
            "next_market_open": _in_new_york(reading.next_open_ns),
            "next_market_close": _in_new_york(reading.next_close_ns),
            "phase": stretch.phase.value,
            "phase_until": _in_new_york(stretch.until_ns),
        }
        return json_response({"clocks": [{"market": market.json()} | shown for market in markets]})

    async def _calendar(self, request: web.Request) -> web.Response:
        query = request.query
        start = max(parse.read_date(query, "start", FIRST_DAY), FIRST_DAY)
        end = min(parse.read_date(query, "end", LAST_DAY), LAST_DAY)
        kind = parse.read_choice(query, "date_type", "TRADING", ("TRADING", "SETTLEMENT"))
        if kind == "TRADING":
            return json_response([_legacy_day(day) for day in trading_days(start, end)])
        days = trading_days(max(start - _SETTLING, FIRST_DAY), end)
        return json_response([_legacy_day(day) for day in days if start <= settlement_date(day.date) <= end])

    async def _market_calendar(self, request: web.Request) -> web.Response:
        market = _market(request.match_info["market"])
        today = new_york_date(self._floor.exchange.now_ns())
        start = parse.read_date(request.query, "start", today)
        end = parse.read_date(request.query, "end", min(start, LAST_DAY) + _WEEK)
        zone = ZoneInfo(parse.read_choice(request.query, "timezone", NEW_YORK.key, ("UTC", NEW_YORK.key)))
        days = trading_days(max(start, FIRST_DAY), min(end, LAST_DAY))
        return json_response({"market": market.json(), "calendar": [_day(day, zone) for day in days]})


def _market(name: str) -> Market:
    market = MARKETS.get(name)
    if market is None:
        # Its wording is unconfirmed.
        raise errors.VenueError(400, 40010000, f"invalid market: {name}")
    return market


def _in_new_york(t_ns: int) -> str:
    return rfc3339_in(NEW_YORK, t_ns)


def _legacy_day(day: TradingDay) -> dict[str, Any]:
    return {
        "date": day.date.isoformat(),
        "open": day.open.strftime("%H:%M"),
        "close": day.close.strftime("%H:%M"),
        "session_open": day.session_open.strftime("%H%M"),
        "session_close": day.session_close.strftime("%H%M"),
        "settlement_date": settlement_date(day.date).isoformat(),
    }


def _day(day: TradingDay, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "date": day.date.isoformat(),
        "pre_start": rfc3339_in(zone, day.session_open_ns),
        "pre_end": rfc3339_in(zone, day.open_ns),
        "core_start": rfc3339_in(zone, day.open_ns),
        "core_end": rfc3339_in(zone, day.close_ns),
        "post_start": rfc3339_in(zone, day.close_ns),
        "post_end": rfc3339_in(zone, day.session_close_ns),
        "settlement_date": settlement_date(day.date).isoformat(),
    }
