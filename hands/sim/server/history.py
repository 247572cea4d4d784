"""The historical market-data REST: what was recorded of the market, page by page, and the latest of each.

Owns the memory of the market and the shapes of its answers; matching and streams are elsewhere. The one idea:
`record` appends to bounded rings per symbol (the newest `TICKS_MAX` trades and as many quotes, the bars of the
newest `MINUTES_MAX` minutes), and every question is a filter over them, so an answer is exact as soon as
`record` has returned.

Longer timeframes are merged from the minute bars, so they reach back as far as those. Parameters that select
what a simulation does not have (feed, adjustment, asof, currency) are accepted and change nothing.
"""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from aiohttp import web

from hands.core.units import floor_to
from hands.sim.market.bars import DAY_NS, MINUTE_NS, Bar, day_start_ns
from hands.sim.market.codec import Message, bar_fields, history_fields, rfc3339
from hands.sim.market.file_rows import time_ns
from hands.sim.server.keys import Credentials, is_known, presented
from hands.sim.venue.ticks import Quote, Tick, Trade

TICKS_MAX = 20_000
MINUTES_MAX = 10_080
LIMIT_DEFAULT = 1_000
LIMIT_MAX = 10_000
KINDS = ("trades", "quotes", "bars")

_TIMEFRAME = re.compile(r"(\d{1,2})(Min|T|Hour|H|Day|D)")
_TIMEFRAME_MAX = {"Min": 59, "T": 59, "Hour": 23, "H": 23, "Day": 1, "D": 1}

Item = tuple[int, Message]
"""An element of an answer and the time it is sorted by."""


class QueryError(ValueError):
    """A question the venue answers with 400 and this message."""


@dataclass(slots=True)
class _Memory:
    """What is known of one symbol."""

    trades: deque[Trade] = field(default_factory=lambda: deque(maxlen=TICKS_MAX))
    quotes: deque[Quote] = field(default_factory=lambda: deque(maxlen=TICKS_MAX))
    minutes: dict[int, Bar] = field(default_factory=dict)

    def add_trade(self, trade: Trade) -> None:
        self.trades.append(trade)
        bar = Bar.of_trade(trade)
        known = self.minutes.get(bar.start_ns)
        if known is not None:
            known.merge(bar)
            return
        self.minutes[bar.start_ns] = bar
        if len(self.minutes) > MINUTES_MAX:
            del self.minutes[min(self.minutes)]


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of one question; `start_ns` and `end_ns` are inclusive."""

    symbols: tuple[str, ...]
    start_ns: int
    end_ns: int
    limit: int
    is_descending: bool
    timeframe: tuple[int, str]
    after: tuple[str, int, int]

    @classmethod
    def of(cls, parameters: Mapping[str, str], symbols: Iterable[str], now_ns: int) -> Query:
        """Return the checked parameters. Raises `QueryError`."""
        chosen = sorted({symbol.strip() for symbol in symbols} - {""})
        if not chosen:
            raise QueryError("symbols is required")
        sort = parameters.get("sort", "asc")
        if sort not in {"asc", "desc"}:
            raise QueryError(f"invalid sort: {sort}")
        return cls(
            symbols=tuple(chosen),
            start_ns=_time(parameters, "start", floor_to(now_ns, DAY_NS)),
            end_ns=_time(parameters, "end", now_ns),
            limit=_limit(parameters.get("limit")),
            is_descending=sort == "desc",
            timeframe=_timeframe(parameters.get("timeframe", "1Min")),
            after=_read_token(parameters.get("page_token")),
        )


class History:
    """The market's memory; `record` it from the exchange, mount `routes()`."""

    def __init__(self, now_ns: Callable[[], int], credentials: Credentials) -> None:
        self._now_ns = now_ns
        self._credentials = credentials
        self._memories: dict[str, _Memory] = {}

    def record(self, ticks: Iterable[Tick]) -> None:
        """Remember `ticks`; what does not fit any more is forgotten, oldest first."""
        for tick in ticks:
            memory = self._memories.get(tick.symbol)
            if memory is None:
                memory = self._memories[tick.symbol] = _Memory()
            if isinstance(tick, Quote):
                memory.quotes.append(tick)
            else:
                memory.add_trade(tick)

    def clear(self) -> None:
        """Forget everything."""
        self._memories.clear()

    def routes(self) -> list[web.RouteDef]:
        """Return the REST routes, the more specific before those with a symbol in their path."""
        stocks, crypto = "/v2/stocks", "/v1beta3/crypto/us"
        routes = []
        for kind in KINDS:
            routes += [
                web.get(f"{stocks}/{kind}", partial(self._many, kind, is_stocks=True)),
                web.get(f"{stocks}/{kind}/latest", partial(self._latest, kind, is_stocks=True)),
                web.get(f"{crypto}/{kind}", partial(self._many, kind, is_stocks=False)),
                web.get(f"{crypto}/latest/{kind}", partial(self._latest, kind, is_stocks=False)),
                web.get(f"{stocks}/{{symbol}}/{kind}", partial(self._one, kind)),
                web.get(f"{stocks}/{{symbol}}/{kind}/latest", partial(self._latest_one, kind)),
            ]
        return routes

    # -- answers ------------------------------------------------------------------------------------------------

    async def _many(self, kind: str, request: web.Request, *, is_stocks: bool) -> web.Response:
        def answer() -> Message:
            query = Query.of(request.query, request.query.get("symbols", "").split(","), self._now_ns())
            found, token = self._page(kind, query)
            return {kind: found, "next_page_token": token}

        return self._answer(request, is_stocks, answer)

    async def _one(self, kind: str, request: web.Request) -> web.Response:
        def answer() -> Message:
            symbol = request.match_info["symbol"]
            found, token = self._page(kind, Query.of(request.query, [symbol], self._now_ns()))
            return {kind: found.get(symbol), "symbol": symbol, "next_page_token": token}

        return self._answer(request, True, answer)

    async def _latest(self, kind: str, request: web.Request, *, is_stocks: bool) -> web.Response:
        def answer() -> Message:
            symbols = Query.of(request.query, request.query.get("symbols", "").split(","), 0).symbols
            latest = {symbol: self._latest_item(kind, symbol) for symbol in symbols}
            return {kind: {symbol: item for symbol, item in latest.items() if item is not None}}

        return self._answer(request, is_stocks, answer)

    async def _latest_one(self, kind: str, request: web.Request) -> web.Response:
        symbol = request.match_info["symbol"]

        def answer() -> Message:
            item = self._latest_item(kind, symbol)
            if item is None:
                raise LookupError(f"no {kind.removesuffix('s')} found for {symbol}")
            return {"symbol": symbol, kind.removesuffix("s"): item}

        return self._answer(request, True, answer)

    def _answer(self, request: web.Request, needs_key: bool, answer: Callable[[], Message]) -> web.Response:
        """Return `answer()`, or the refusal the venue would give instead."""
        keys = presented(request.headers)
        if (keys is None and needs_key) or (keys is not None and not is_known(self._credentials, *keys)):
            return web.json_response({"message": "unauthorized."}, status=401)
        try:
            return web.json_response(answer())
        except QueryError as error:
            return web.json_response({"message": str(error)}, status=400)
        except LookupError as error:
            return web.json_response({"message": str(error.args[0])}, status=404)

    # -- what is remembered -------------------------------------------------------------------------------------

    def _latest_item(self, kind: str, symbol: str) -> Message | None:
        memory = self._memories.get(symbol)
        if memory is None:
            return None
        if kind == "bars":
            return _bar_item(symbol, memory.minutes[max(memory.minutes)])[1] if memory.minutes else None
        ticks: Sequence[Tick] = memory.trades if kind == "trades" else memory.quotes
        return _tick_item(ticks[-1])[1] if ticks else None

    def _page(self, kind: str, query: Query) -> tuple[dict[str, list[Message]], str | None]:
        """Return a page, symbol by symbol, and the token of the next one; the limit is for all symbols."""
        found: dict[str, list[Message]] = {}
        left = query.limit
        last_symbol, last_ns, last_count = query.after
        for symbol in query.symbols:
            if symbol < last_symbol:
                continue
            items = self._items(kind, symbol, query)
            if symbol == last_symbol:
                items = _beyond(items, last_ns, last_count, query.is_descending)
            page = items[:left]
            left -= len(page)
            if page:
                found[symbol] = [message for _, message in page]
                same = sum(1 for at_ns, _ in page if at_ns == page[-1][0])
                continues = (symbol, page[-1][0]) == (last_symbol, last_ns)
                last_symbol, last_ns, last_count = symbol, page[-1][0], same + last_count * continues
            if len(page) < len(items):
                return found, _token(last_symbol, last_ns, last_count)
        return found, None

    def _items(self, kind: str, symbol: str, query: Query) -> list[Item]:
        """Return everything of `symbol` within the query's times, in its order."""
        memory = self._memories.get(symbol)
        if memory is None:
            return []
        if kind == "bars":
            found = [_bar_item(symbol, bar) for bar in _bars(symbol, memory, query)]
        else:
            ticks: Iterable[Tick] = memory.trades if kind == "trades" else memory.quotes
            found = [_tick_item(tick) for tick in ticks if query.start_ns <= tick.t_ns <= query.end_ns]
        return sorted(found, key=lambda item: item[0], reverse=query.is_descending)


def _bars(symbol: str, memory: _Memory, query: Query) -> Iterable[Bar]:
    """Return the bars of the query's timeframe that start within its times."""
    merged: dict[int, Bar] = {}
    for minute in memory.minutes.values():
        start_ns = _bar_start_ns(symbol, minute.start_ns, query.timeframe)
        known = merged.get(start_ns)
        if known is None:
            merged[start_ns] = minute.copy_at(start_ns)
        else:
            known.merge(minute)
    return [bar for start_ns, bar in merged.items() if query.start_ns <= start_ns <= query.end_ns]


def _bar_start_ns(symbol: str, minute_ns: int, timeframe: tuple[int, str]) -> int:
    count, unit = timeframe
    if unit == "Day":
        return day_start_ns(symbol, minute_ns)
    return floor_to(minute_ns, count * (60 if unit == "Hour" else 1) * MINUTE_NS)


def _tick_item(tick: Tick) -> Item:
    return tick.t_ns, {**history_fields(tick), "t": rfc3339(tick.t_ns)}


def _bar_item(symbol: str, bar: Bar) -> Item:
    return bar.start_ns, {**bar_fields(symbol, bar), "t": rfc3339(bar.start_ns)}


def _time(parameters: Mapping[str, str], name: str, default_ns: int) -> int:
    """Return a time or date parameter; a date as `end` means that whole day."""
    text = parameters.get(name)
    if text is None:
        return default_ns
    try:
        at_ns = int(time_ns(text.replace(" ", "+")))  # an unescaped + of a zone arrives as a blank
    except ValueError:
        raise QueryError(f"invalid {name}: {text}") from None
    return at_ns + DAY_NS - 1 if name == "end" and len(text) == len("2024-01-01") else at_ns


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT_DEFAULT
    if not text.isdecimal() or int(text) < 1:
        raise QueryError(f"invalid limit: {text}")
    if int(text) > LIMIT_MAX:
        raise QueryError(f"invalid limit: larger than the allowed maximum of {LIMIT_MAX}")
    return int(text)


def _timeframe(text: str) -> tuple[int, str]:
    match = _TIMEFRAME.fullmatch(text)
    if match is None or not 1 <= int(match.group(1)) <= _TIMEFRAME_MAX[match.group(2)]:
        raise QueryError(f"invalid timeframe: {text}")
    unit = {"T": "Min", "H": "Hour", "D": "Day"}.get(match.group(2), match.group(2))
    return int(match.group(1)), unit


def _beyond(items: list[Item], last_ns: int, count: int, is_descending: bool) -> list[Item]:
    """Return the items after the first `count` of time `last_ns`: a position that survives what is added later."""
    same = [item for item in items if item[0] == last_ns]
    further = [item for item in items if (item[0] < last_ns if is_descending else item[0] > last_ns)]
    return same[count:] + further


def _token(symbol: str, last_ns: int, count: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([symbol, last_ns, count]).encode()).decode()


def _read_token(token: str | None) -> tuple[str, int, int]:
    """Return the symbol and time a page ended at, and how many items of that time it and those before it held."""
    if not token:
        return "", 0, 0
    try:
        symbol, last_ns, count = json.loads(base64.urlsafe_b64decode(token))
        return str(symbol), int(last_ns), int(count)
    except (ValueError, TypeError):
        raise QueryError(f"invalid page_token: {token}") from None
