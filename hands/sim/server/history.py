"""The historical market-data REST: what the tape has shown, page by page, the latest of each, and snapshots.

Owns the routes and the shapes of the answers; remembering is `market.memory`'s, reading a question `history_query`'s.
The one idea: a question is a filter over what `record` has put away, so an answer is exact as soon as `record` has
returned, and nothing that the tape has not shown is ever in one.

One market stands for all feeds and places: sip, iex and the coins' locations show the same, delayed_sip what stood a
quarter of an hour ago; on otc, boats and overnight nothing trades. The current minute's bar is there while it grows.
Hours and minutes are counted from the day's midnight (New York for stocks, UTC for coins), weeks from Monday.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any, Final

from aiohttp import web

from hands.core.units import NS_PER_S, floor_to
from hands.sim.market.bars import Bar, day_start_ns
from hands.sim.market.codec import Message, bar_fields, book_fields, history_fields
from hands.sim.market.feeds import PLANS, Plan, is_crypto
from hands.sim.market.memory import CLOSING_CONDITIONS, OPENING_CONDITIONS, MarketMemory, Split, SymbolMemory
from hands.sim.market.tape_codes import EXCHANGES, QUOTE_CONDITIONS, TRADE_CONDITIONS
from hands.sim.market.times import MINUTE_NS, rfc3339
from hands.sim.server.answers import json_response, unauthorized
from hands.sim.server.history_query import EMPTY_FEEDS, Endpoint, Query, QueryError, page_token, required
from hands.sim.server.keys import Credentials, is_known, presented
from hands.sim.venue.calendar import NEW_YORK, new_york_date
from hands.sim.venue.ticks import MarketEvent, Quote, Tick, Trade

STOCKS: Final = "/v2/stocks"
CRYPTO: Final = "/v1beta3/crypto/{loc:us|us-1|us-2|eu-1|bs-1}"
KINDS: Final = ("trades", "quotes", "bars")
DAY: Final = (1, "Day")
CONDITIONS: Final = {"trade": TRADE_CONDITIONS, "quote": QUOTE_CONDITIONS}

Items = list[tuple[int, Callable[[], Message]]]
"""The elements of an answer: the time each is sorted by, and what makes it; only those of the page are made."""


class History:
    """The market's memory and its REST; `record` what the market does, mount `routes()`."""

    def __init__(
        self, now_ns: Callable[[], int], credentials: Credentials, *, plan: Plan = PLANS["plus"]
    ) -> None:
        self._now_ns = now_ns
        self._credentials = credentials
        self._plan = plan
        self._memory = MarketMemory()

    def record(self, events: Iterable[MarketEvent]) -> None:
        """Remember what the market did; what does not fit any more is forgotten, oldest first."""
        self._memory.record(events)

    def split(self, symbol: str, new: int, old: int) -> None:
        """Note a split of now: bars of before are served adjusted to whoever asks for that."""
        self._memory.split(symbol, new, old, self._now_ns())

    def rename(self, symbol: str, new_symbol: str) -> None:
        """Note that `symbol` is called `new_symbol` from now on: its past is found under the new name too."""
        self._memory.rename(symbol, new_symbol, self._now_ns())

    def clear(self) -> None:
        """Forget everything."""
        self._memory.clear()

    def routes(self) -> list[web.RouteDef]:
        """Return the REST routes, the more specific before those with a symbol in their path."""
        routes = [
            web.get(f"{STOCKS}/meta/exchanges", self._exchanges),
            web.get(f"{STOCKS}/meta/conditions/{{ticktype:trade|quote}}", self._conditions),
        ]

        def add(path: str, answer: Callable[[Endpoint, Query], Message], endpoint: Endpoint) -> None:
            routes.append(web.get(path, partial(self._handle, answer, endpoint)))

        stocks, coins = partial(Endpoint, is_crypto=False), partial(Endpoint, is_crypto=True)
        for kind in (*KINDS, "auctions"):
            add(f"{STOCKS}/{kind}", self._pages, stocks(kind))
        for kind in KINDS:
            add(f"{STOCKS}/{kind}/latest", self._latest, stocks(kind, is_latest=True))
            add(f"{CRYPTO}/{kind}", self._pages, coins(kind))
        for kind in (*KINDS, "orderbooks"):
            add(f"{CRYPTO}/latest/{kind}", self._latest, coins(kind, is_latest=True))
        add(f"{STOCKS}/snapshots", self._snapshots, stocks("snapshots", is_latest=True))
        add(f"{CRYPTO}/snapshots", self._snapshots, coins("snapshots", is_latest=True))
        one = partial(stocks, is_single=True)
        for kind in (*KINDS, "auctions"):
            add(f"{STOCKS}/{{symbol}}/{kind}", self._pages, one(kind))
        for kind in KINDS:
            add(f"{STOCKS}/{{symbol}}/{kind}/latest", self._latest, one(kind, is_latest=True))
        add(f"{STOCKS}/{{symbol}}/snapshot", self._snapshots, one("snapshots", is_latest=True))
        return routes

    # -- answers ------------------------------------------------------------------------------------------------

    async def _handle(
        self, answer: Callable[[Endpoint, Query], Message], endpoint: Endpoint, request: web.Request
    ) -> web.Response:
        def answered() -> Message:
            now_ns, is_listed = self._now_ns(), self._is_listed
            symbols = [request.match_info["symbol"]] if endpoint.is_single else None
            query = Query.of(endpoint, request.query, symbols, now_ns, self._plan, is_listed)
            return answer(endpoint, query)

        return self._answer(request, answered, needs_key=not endpoint.is_crypto)

    async def _exchanges(self, request: web.Request) -> web.Response:
        return self._answer(request, lambda: EXCHANGES, needs_key=True)

    async def _conditions(self, request: web.Request) -> web.Response:
        by_tape = CONDITIONS[request.match_info["ticktype"]]
        return self._answer(
            request, lambda: by_tape[required(request.query, "tape", by_tape)], needs_key=True
        )

    def _answer(
        self, request: web.Request, answer: Callable[[], Message], *, needs_key: bool
    ) -> web.Response:
        """Return `answer()`, or the refusal the venue would give instead."""
        keys = presented(request.headers)
        if (keys is None and needs_key) or (keys is not None and not is_known(self._credentials, *keys)):
            return unauthorized()
        try:
            return json_response(answer())
        except QueryError as error:
            return json_response({"message": str(error)}, error.status)

    def _pages(self, endpoint: Endpoint, query: Query) -> Message:
        found, token = self._page(endpoint.kind, query)
        if not endpoint.is_single:
            return {endpoint.kind: found, "next_page_token": token} | _currency(query)
        (symbol,) = query.symbols
        items = found.get(symbol)
        return {endpoint.kind: items, "symbol": symbol, "next_page_token": token} | _currency(query)

    def _latest(self, endpoint: Endpoint, query: Query) -> Message:
        made = {symbol: self._latest_item(endpoint.kind, symbol, query) for symbol in query.symbols}
        found = {symbol: item for symbol, item in made.items() if item is not None}
        if not endpoint.is_single:
            return {endpoint.kind: found} | _currency(query)
        (symbol,), name = query.symbols, endpoint.kind.removesuffix("s")
        if symbol not in found:
            raise QueryError(f"no {name} found for {symbol}", 404)
        return {"symbol": symbol, name: found[symbol]} | _currency(query)

    def _snapshots(self, endpoint: Endpoint, query: Query) -> Message:
        made = {symbol: self._snapshot(symbol, query) for symbol in query.symbols}
        found = {symbol: snapshot for symbol, snapshot in made.items() if snapshot}
        if endpoint.is_crypto:
            return {"snapshots": found}
        if not endpoint.is_single:
            return found
        (symbol,) = query.symbols
        if symbol not in found:
            raise QueryError(f"no snapshot found for {symbol}", 404)  # observed
        return {"symbol": symbol, **found[symbol]} | _currency(query)

    # -- the latest ---------------------------------------------------------------------------------------------

    def _is_listed(self, symbol: str) -> bool:
        return self._memory.of(symbol) is not None

    def _seen(self, symbol: str, query: Query) -> SymbolMemory | None:
        return None if query.feed in EMPTY_FEEDS else self._memory.of(symbol)

    def _latest_item(self, kind: str, symbol: str, query: Query) -> Message | None:
        memory = self._seen(symbol, query)
        if memory is None:
            return None
        if kind == "bars":
            bar = memory.last_minute(query.end_ns)
            return _bar_message(symbol, bar) if bar is not None else None
        if kind == "trades":
            trade = memory.last_trade(query.end_ns)
            return _tick_message(trade, memory) if trade is not None else None
        quote = memory.last_quote(query.end_ns)
        if quote is None:
            return None
        return _book_message(quote) if kind == "orderbooks" else _tick_message(quote, memory)

    def _snapshot(self, symbol: str, query: Query) -> Message:
        """Return what there is of a snapshot; a part that is not known is left out."""
        memory = self._seen(symbol, query)
        if memory is None:
            return {}
        parts = {
            "latestTrade": self._latest_item("trades", symbol, query),
            "latestQuote": self._latest_item("quotes", symbol, query),
            "minuteBar": self._latest_item("bars", symbol, query),
        }
        for name, day in zip(("dailyBar", "prevDailyBar"), _last_days(memory, query.end_ns), strict=False):
            parts[name] = _bar_message(symbol, day)
        return {name: part for name, part in parts.items() if part is not None}

    # -- pages --------------------------------------------------------------------------------------------------

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
                found[symbol] = [message() for _, message in page]
                same = sum(1 for at_ns, _ in page if at_ns == page[-1][0])
                continues = (symbol, page[-1][0]) == (last_symbol, last_ns)
                last_symbol, last_ns, last_count = symbol, page[-1][0], same + last_count * continues
            if len(page) < len(items):
                return found, page_token(last_symbol, last_ns, last_count)
        return found, None

    def _items(self, kind: str, symbol: str, query: Query) -> Items:
        """Return everything of `symbol` within the query's times, in its order."""
        memories = [] if query.feed in EMPTY_FEEDS else self._memory.lineage(symbol, query.asof_ns)
        found: Items
        if kind == "bars":
            found = [(bar.start_ns, partial(_bar_message, symbol, bar)) for bar in _bars(memories, query)]
        elif kind == "auctions":
            found = [(day_ns, partial(dict, day)) for day_ns, day in _auctions(memories)]
        else:
            found = [
                (tick.t_ns, partial(_tick_message, tick, memory))
                for memory in memories
                for tick in _ticks(kind, memory)
                if query.start_ns <= tick.t_ns <= query.end_ns
            ]
        within = [item for item in found if query.start_ns <= item[0] <= query.end_ns]
        return sorted(within, key=lambda item: item[0], reverse=query.is_descending)


def _beyond(items: Items, last_ns: int, count: int, is_descending: bool) -> Items:
    """Return the items after the first `count` of time `last_ns`: a position that survives what is added later."""
    same = [item for item in items if item[0] == last_ns]
    further = [item for item in items if (item[0] < last_ns if is_descending else item[0] > last_ns)]
    return same[count:] + further


def _ticks(kind: str, memory: SymbolMemory) -> Iterable[Tick]:
    return memory.trades if kind == "trades" else memory.quotes


# -- bars -------------------------------------------------------------------------------------------------------


def _bars(memories: Iterable[SymbolMemory], query: Query) -> Iterable[Bar]:
    """Return the bars of the query's timeframe that begin within its times, in no particular order."""
    merged: dict[int, Bar] = {}
    for memory in memories:
        splits = memory.splits if query.adjusts_splits else ()
        for piece in _pieces(memory, query.timeframe):
            start_ns = _bar_start_ns(memory.symbol, piece.start_ns, query.timeframe)
            if query.start_ns <= start_ns <= query.end_ns:
                _merge(merged, piece, start_ns, splits)
    return [bar for bar in merged.values() if bar.has_price]


def _last_days(memory: SymbolMemory, until_ns: int) -> list[Bar]:
    """Return the bars of the last two days that traded until then, the newest first."""
    pieces = [
        (_bar_start_ns(memory.symbol, piece.start_ns, DAY), piece)
        for piece in _pieces(memory, DAY)
        if piece.start_ns <= until_ns
    ]
    starts = sorted({start_ns for start_ns, piece in pieces if piece.has_price}, reverse=True)[:2]
    merged: dict[int, Bar] = {}
    for start_ns, piece in pieces:
        if start_ns in starts:
            _merge(merged, piece, start_ns, ())
    return [merged[start_ns] for start_ns in starts]


def _merge(merged: dict[int, Bar], piece: Bar, start_ns: int, splits: Sequence[Split]) -> None:
    bar = piece.copy_at(start_ns)
    _adjust(bar, splits)
    known = merged.get(start_ns)
    if known is None:
        merged[start_ns] = bar
    else:
        known.merge(bar)


def _pieces(memory: SymbolMemory, timeframe: tuple[int, str]) -> Iterator[Bar]:
    """Yield what the bars of a timeframe are made of: minutes, and for days and more the folded ones before."""
    if timeframe[1] in {"Day", "Week", "Month"}:
        yield from memory.forgotten_days()
    yield from memory.minutes()


def _adjust(bar: Bar, splits: Sequence[Split]) -> None:
    """Restate a bar in the shares of today; the money that changed hands stays the same."""
    for t_ns, new, old in splits:
        if bar.last_ns < t_ns:
            bar.open, bar.high = bar.open * old // new, bar.high * old // new
            bar.low, bar.close = bar.low * old // new, bar.close * old // new
            bar.volume = bar.volume * new // old
            bar.priced_volume = bar.priced_volume * new // old


@lru_cache(maxsize=65_536)
def _bar_start_ns(symbol: str, minute_ns: int, timeframe: tuple[int, str]) -> int:
    """Return when the bar began that a minute belongs to."""
    count, unit = timeframe
    if unit == "Min" and count == 1:
        return minute_ns
    day_ns = day_start_ns(symbol, minute_ns)
    if unit in {"Min", "Hour"}:
        return day_ns + floor_to(minute_ns - day_ns, count * (60 if unit == "Hour" else 1) * MINUTE_NS)
    if unit == "Day":
        return day_ns
    midnight = datetime.fromtimestamp(day_ns // NS_PER_S, UTC if is_crypto(symbol) else NEW_YORK)
    if unit == "Week":
        first = midnight - timedelta(days=midnight.weekday())
    else:
        first = midnight.replace(month=(midnight.month - 1) // count * count + 1, day=1)
    return int(first.timestamp()) * NS_PER_S


# -- auctions ---------------------------------------------------------------------------------------------------


def _auctions(memories: Iterable[SymbolMemory]) -> Iterable[tuple[int, Message]]:
    """Return (midnight, the day's opening and closing prints), each price, exchange and condition once."""
    days: dict[int, dict[str, dict[tuple[Any, ...], Message]]] = {}
    for memory in memories:
        for trade in sorted(memory.auction_prints, key=lambda trade: trade.t_ns):
            day = days.setdefault(day_start_ns(memory.symbol, trade.t_ns), {"o": {}, "c": {}})
            for condition in trade.conditions if memory.is_good(trade) else ():
                side = "o" if condition in OPENING_CONDITIONS else "c"
                if condition in OPENING_CONDITIONS | CLOSING_CONDITIONS:
                    key = (trade.price, trade.exchange, condition)
                    day[side].setdefault(key, _auction_message(trade, condition))
    for day_ns, sides in days.items():
        yield (
            day_ns,
            {
                "d": new_york_date(day_ns).isoformat(),
                **{side: list(found.values()) for side, found in sides.items()},
            },
        )


def _auction_message(trade: Trade, condition: str) -> Message:
    fields = history_fields(trade)
    return {"c": condition, "p": fields["p"], "s": fields["s"], "t": rfc3339(trade.t_ns), "x": trade.exchange}


# -- messages ---------------------------------------------------------------------------------------------------


def _tick_message(tick: Tick, memory: SymbolMemory) -> Message:
    message = {**history_fields(tick), "t": rfc3339(tick.t_ns)}
    mark = memory.mark_of(tick) if isinstance(tick, Trade) else None
    return message if mark is None else message | {"u": mark}


def _bar_message(symbol: str, bar: Bar) -> Message:
    return {**bar_fields(symbol, bar), "t": rfc3339(bar.start_ns)}


def _book_message(quote: Quote) -> Message:
    sides = book_fields(quote)
    return {"b": sides["b"], "a": sides["a"], "t": rfc3339(quote.t_ns)}


def _currency(query: Query) -> Message:
    """Return what an answer says about the currency: nothing, unless it was asked for."""
    return {} if query.currency is None else {"currency": query.currency}
