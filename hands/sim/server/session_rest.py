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

from hands.sim.server import rest_parse as parse
from hands.sim.server.floor import TradingFloor
from hands.sim.server.gateway import json_response
from hands.sim.server.rest_json import new_york_text, zoned_text
from hands.sim.venue import errors
from hands.sim.venue.calendar import (
    NEW_YORK,
    ClockReading,
    MarketClock,
    TradingDay,
    new_york_date,
    settlement_date,
    trading_day,
    trading_days,
    unix_ns,
)

FIRST_DAY: Final = dt.date(2011, 1, 1)
LAST_DAY: Final = dt.date(2029, 12, 31)
_SETTLING: Final = dt.timedelta(days=10)
"""Longer than any trade takes to settle, weekends and holidays included."""
_WEEK: Final = dt.timedelta(days=7)
_DAY: Final = dt.timedelta(days=1)


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


@dataclass(frozen=True, slots=True)
class Phase:
    """What part of a market's day it is, and until when."""

    name: str
    until_ns: int
    is_market_day: bool


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
                "timestamp": new_york_text(now_ns),
                "is_open": reading.is_open,
                "next_open": new_york_text(reading.next_open_ns),
                "next_close": new_york_text(reading.next_close_ns),
            }
        )

    async def _clocks(self, request: web.Request) -> web.Response:
        names = request.query.get("markets")
        markets = [_market(name) for name in names.split(",")] if names else [_NYSE, _NASDAQ, _IEX, _OTC]
        t_ns = parse.read_time_ns(request.query, "time")
        if t_ns is None:
            t_ns = self._floor.exchange.now_ns()
        clock = self._floor.exchange.clock
        reading, phase = clock.at(t_ns), phase_at(clock, t_ns)
        return json_response({"clocks": [_clock_json(market, t_ns, reading, phase) for market in markets]})

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
        end = parse.read_date(request.query, "end", start + _WEEK)
        zone = ZoneInfo(parse.read_choice(request.query, "timezone", NEW_YORK.key, ("UTC", NEW_YORK.key)))
        days = trading_days(max(start, FIRST_DAY), min(end, LAST_DAY))
        return json_response({"market": market.json(), "calendar": [_day(day, zone) for day in days]})


def phase_at(clock: MarketClock, t_ns: int) -> Phase:
    """Return the phase of the day at `t_ns`; a market that never closes is always in its core."""
    if clock.is_always:
        return Phase("core", clock.at(t_ns).next_close_ns, is_market_day=True)
    date = new_york_date(t_ns)
    day = trading_day(date)
    for name, until_ns in _phases(day) if day is not None else ():
        if t_ns < until_ns:
            return Phase(name, until_ns, is_market_day=True)
    following = next(trading_days(date + _DAY, date + _SETTLING + _DAY))
    return Phase("closed", unix_ns(following.date, following.session_open), is_market_day=day is not None)


def _phases(day: TradingDay) -> tuple[tuple[str, int], ...]:
    """Return the phases of a trading day and when each ends, in order."""
    return (
        ("closed", unix_ns(day.date, day.session_open)),
        ("pre", day.open_ns),
        ("core", day.close_ns),
        ("post", day.session_close_ns),
    )


def _market(name: str) -> Market:
    market = MARKETS.get(name)
    if market is None:
        # Its wording is unconfirmed.
        raise errors.VenueError(400, 40010000, f"invalid market: {name}")
    return market


def _clock_json(market: Market, t_ns: int, reading: ClockReading, phase: Phase) -> dict[str, Any]:
    return {
        "market": market.json(),
        "timestamp": new_york_text(t_ns),
        "is_market_day": phase.is_market_day,
        "next_market_open": new_york_text(reading.next_open_ns),
        "next_market_close": new_york_text(reading.next_close_ns),
        "phase": phase.name,
        "phase_until": new_york_text(phase.until_ns),
    }


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
    pre, post = unix_ns(day.date, day.session_open), day.session_close_ns
    return {
        "date": day.date.isoformat(),
        "pre_start": zoned_text(pre, zone),
        "pre_end": zoned_text(day.open_ns, zone),
        "core_start": zoned_text(day.open_ns, zone),
        "core_end": zoned_text(day.close_ns, zone),
        "post_start": zoned_text(day.close_ns, zone),
        "post_end": zoned_text(post, zone),
        "settlement_date": settlement_date(day.date).isoformat(),
    }
