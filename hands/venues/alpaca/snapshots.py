"""Asking the venue what is true: account, assets, session, open orders and positions, one quote.

Owns the questions and their assembly into reports. May not change anything at the venue. The one idea: a
report is complete or it is not made: whatever is missing, refused or unreadable raises `VenueUnavailable`, and
the engine goes on knowing that it does not know.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import msgspec

from hands.core.events import (
    AccountReport,
    Asset,
    AssetsReport,
    DayOrdersReport,
    FillsReport,
    SessionReport,
    TruthReport,
    VenueFill,
    VenueOrder,
)
from hands.core.orders import is_ours
from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.core.vocab import OrderClass
from hands.venues.alpaca import encode
from hands.venues.alpaca.activities import decode_fills
from hands.venues.alpaca.clock_offset import ClockBound
from hands.venues.alpaca.decode import (
    DecodeError,
    TradingDay,
    decode_account,
    decode_asset,
    decode_calendar,
    decode_clock,
    decode_error,
    decode_latest_quote,
    decode_order,
    decode_orders,
    decode_positions,
    slash_forms,
)
from hands.venues.alpaca.endpoints import Credentials, Endpoints, origin_of
from hands.venues.alpaca.http import HttpError, HttpPool
from hands.venues.alpaca.http_reader import Response
from hands.venues.alpaca.rate import RateBudget
from hands.venues.alpaca.timestamps import rfc3339

NEW_YORK = ZoneInfo("America/New_York")
PAGES_MAX = 40
FILLS_MAX = PAGES_MAX * encode.FILLS_PAGE_LIMIT
DAY_OVERLAP_NS = NS_PER_MS
"""By how much the pages of the day's orders overlap: the venue may cut its times to the millisecond."""


class Session(msgspec.Struct, frozen=True):
    """One trading day of equities, in nanoseconds: the regular session within the extended one."""

    date: str
    early_ns: Ns
    open_ns: Ns
    close_ns: Ns
    late_ns: Ns


class VenueUnavailable(Exception):  # noqa: N818
    """The venue did not answer, refused, or said something unreadable; the message says which, to whom."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status

    @property
    def is_final(self) -> bool:
        """Whether the venue refused the question itself: asked again it would be refused again."""
        return self.status in (400, 403, 404, 422)


class _FillsBegun(msgspec.Struct):
    """A list of fills that is being read: what is known of it, and the item after which it goes on."""

    after_ns: int = -1
    token: str | None = None
    found: dict[str, VenueFill] = {}
    is_whole: bool = False


class Snapshots:
    """Asks over its own few connections; `clock` gives the engine's time in nanoseconds.

    Requests to the trading host count in `budget`, which order entry shares; those to the data host in `data_budget`. A
    question that the budget does not allow is not asked: `VenueUnavailable`, like any other that got no answer.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        credentials: Credentials,
        clock: Callable[[], int],
        *,
        symbols: Iterable[str] = (),
        budget: RateBudget | None = None,
        data_budget: RateBudget | None = None,
        connections: int = 2,
        timeout_s: float = 5.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._clock = clock
        self._feed = endpoints.feed
        self._slashes = slash_forms(symbols)
        self._opens: dict[str, Ns | None] = {}
        self._clock_bound = ClockBound()
        self._fills_begun = _FillsBegun()
        self._budget = budget if budget is not None else RateBudget()
        self._data_budget = data_budget if data_budget is not None else RateBudget()
        self._trading = HttpPool(
            origin_of(endpoints.trading),
            credentials,
            connections=connections,
            timeout_s=timeout_s,
            budget=self._budget,
            tls=tls,
        )
        self._data = HttpPool(
            origin_of(endpoints.data),
            credentials,
            connections=connections,
            timeout_s=timeout_s,
            budget=self._data_budget,
            tls=tls,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._trading.close()
        await self._data.close()

    async def account(self) -> AccountReport:
        """Return the account. Raises `VenueUnavailable`."""
        _afford(self._budget, self._budget.regular_max)
        asked_ns = self._clock()
        response = await self._get(self._trading, encode.ACCOUNT_PATH)
        try:
            return decode_account(response.body, asked_ns=asked_ns, ts_ns=self._clock())
        except DecodeError as error:
            raise _unreadable("account", error) from None

    async def assets(self, symbols: Sequence[str]) -> AssetsReport:
        """Return what the venue says of `symbols`; those it does not know are left out. Raises `VenueUnavailable`."""
        found = await asyncio.gather(*(self._asset(symbol) for symbol in symbols))
        assets = tuple(asset for asset in found if asset is not None)
        return AssetsReport(ts_ns=Ns(self._clock()), assets=assets)

    async def _asset(self, symbol: str) -> Asset | None:
        response = await self._get(self._trading, encode.asset_path(symbol), may_be_missing=True)
        if response.status == 404:
            return None
        try:
            asset = decode_asset(response.body)
        except DecodeError as error:
            raise _unreadable(f"asset {symbol}", error) from None
        if asset.symbol != symbol:
            raise VenueUnavailable(f"the venue was asked for asset {symbol} and answered {asset.symbol}")
        return asset

    async def session(self) -> SessionReport:
        """Return the equity session on our clock. Raises `VenueUnavailable`.

        The venue's times are moved by the difference of the two clocks, taking its reading to be from the
        middle of the exchange.
        """
        _afford(self._budget, self._budget.regular_max)
        asked_ns = self._clock()
        response = await self._get(self._trading, encode.CLOCK_PATH)
        answered_ns = self._clock()
        try:
            clock = decode_clock(response.body)
        except DecodeError as error:
            raise _unreadable("clock", error) from None
        ahead_ns = (asked_ns + answered_ns) // 2 - clock.timestamp_ns
        least_ns, most_ns = self._clock_bound.bounds(clock.timestamp_ns, asked_ns, answered_ns)
        open_ns = await self._open_of(clock.next_close_ns) if clock.is_open else None
        known = open_ns is not None and open_ns <= clock.timestamp_ns
        return SessionReport(
            ts_ns=Ns(self._clock()),
            is_open=clock.is_open,
            next_open_ns=Ns(clock.next_open_ns + ahead_ns),
            next_close_ns=Ns(clock.next_close_ns + ahead_ns),
            open_ns=Ns(open_ns + ahead_ns) if open_ns is not None and known else None,
            ahead_max_ns=most_ns,
            ahead_min_ns=least_ns,
        )

    async def _open_of(self, close_ns: int) -> Ns | None:
        """Return when the trading day that closes at `close_ns` opened; None if the calendar has no such day."""
        day = datetime.fromtimestamp(close_ns // NS_PER_S, UTC).astimezone(NEW_YORK).date().isoformat()
        if day not in self._opens:
            opens = {session.date: session.open_ns for session in await self._sessions(day, day)}
            self._opens = {day: opens.get(day)}
        return self._opens[day]

    async def sessions(self, first: date, last: date) -> list[Session]:
        """Return the sessions of the venue's calendar from one day to another. Raises `VenueUnavailable`."""
        _afford(self._budget, self._budget.regular_max)
        return await self._sessions(first.isoformat(), last.isoformat())

    async def _sessions(self, first: str, last: str) -> list[Session]:
        response = await self._get(self._trading, encode.calendar_path(first, last))
        try:
            return [_session(day) for day in decode_calendar(response.body)]
        except ValueError as error:
            raise _unreadable("calendar", error) from None

    async def truth(self, client_order_ids: Sequence[str] = (), *, regular: bool = False) -> TruthReport:
        """Return every open order with its legs, all positions, and each asked order besides.

        A `regular` one leaves more of the request budget to others.

        Raises:
            VenueUnavailable: any part of it could not be had.
        """
        budget = self._budget
        # All of it is afforded at once: half a truth would be requests spent on nothing.
        _afford(budget, budget.regular_max if regular else budget.queries_max, 2 + len(client_order_ids))
        asked_ns = self._clock()
        # Positions first: a fill in between then shows in the orders alone, which the engine can tell from a loss.
        response = await self._get(self._trading, encode.POSITIONS_PATH)
        orders = await self._open_orders()
        open_ids = {order.client_order_id for order in orders}
        asked = [id_ for id_ in dict.fromkeys(client_order_ids) if id_ not in open_ids]
        answers = await asyncio.gather(*(self.order(id_) for id_ in asked))
        try:
            positions = decode_positions(response.body, self._slashes)
        except DecodeError as error:
            raise _unreadable("positions", error) from None
        return TruthReport(
            ts_ns=Ns(self._clock()),
            asked_ns=Ns(asked_ns),
            orders=(*orders, *(order for order in answers if order is not None)),
            missing=tuple(id_ for id_, order in zip(asked, answers, strict=True) if order is None),
            positions=tuple(positions),
        )

    async def _open_orders(self) -> list[VenueOrder]:
        """Return all open orders; pages overlap by nothing, and an order seen twice is taken once."""
        found: dict[str, VenueOrder] = {}
        after: str | None = None
        for _ in range(PAGES_MAX):
            response = await self._get(self._trading, encode.open_orders_path(after))
            try:
                page = decode_orders(response.body, self._slashes)
            except DecodeError as error:
                raise _unreadable("open orders", error) from None
            new = [order for order in page if order.order_id not in found]
            found.update((order.order_id, order) for order in new)
            # Legs may count towards the page's limit, so a page is full when orders and legs together are.
            if sum(1 + len(order.legs) for order in page) < encode.PAGE_LIMIT:
                return list(found.values())
            if not new:  # a venue that does not page: what it does not show may be there all the same
                raise VenueUnavailable("a full page of open orders brought nothing new")
            after = page[-1].order_id
        raise VenueUnavailable(f"more than {PAGES_MAX} pages of open orders")

    async def day_orders(self, since_ns: int, symbols: Sequence[str] = ()) -> DayOrdersReport:
        """Return every order of ours sent since `since_ns`, ended ones too, with its legs.

        The venue pages by the time of sending, and leaves out what was sent at that very moment: the pages overlap. Of
        `symbols` the newest 500 orders are read besides, however old.

        Raises:
            VenueUnavailable: any page of it could not be had, or not within the budget.
        """
        found = {} if not symbols else await self._orders_of(symbols)
        paged: dict[str, VenueOrder] = {}
        after_ns = since_ns - DAY_OVERLAP_NS
        for _ in range(PAGES_MAX):
            _afford(self._budget, self._budget.regular_max)
            response = await self._get(self._trading, encode.orders_since_path(rfc3339(after_ns)))
            try:
                page = decode_orders(response.body, self._slashes)
            except DecodeError as error:
                raise _unreadable("orders of the day", error) from None
            new = [order for order in page if order.order_id not in paged]
            paged.update((order.order_id, order) for order in new)
            if sum(1 + len(order.legs) for order in page) < encode.PAGE_LIMIT:
                found |= paged
                ours = tuple(order for order in found.values() if is_ours(order.client_order_id))
                return DayOrdersReport(ts_ns=Ns(self._clock()), since_ns=Ns(since_ns), orders=ours)
            last_ns = max((order.submitted_ns or 0 for order in page), default=0)
            if not new or last_ns - DAY_OVERLAP_NS <= after_ns:  # it would be the same page again
                raise VenueUnavailable("a full page of the day's orders brought nothing new")
            after_ns = last_ns - DAY_OVERLAP_NS
        raise VenueUnavailable(f"more than {PAGES_MAX} pages of the day's orders")

    async def _orders_of(self, symbols: Sequence[str]) -> dict[str, VenueOrder]:
        """Return the newest orders of `symbols`; none where the venue will not list one of them: it may be anything."""
        _afford(self._budget, self._budget.regular_max)
        try:
            response = await self._get(self._trading, encode.orders_of_path(symbols))
        except VenueUnavailable as error:
            if error.is_final:
                return {}
            raise
        try:
            return {order.order_id: order for order in decode_orders(response.body, self._slashes)}
        except DecodeError as error:
            raise _unreadable("orders of what is held", error) from None

    async def fills(self, after_ns: int) -> FillsReport:
        """Return every fill of the account later than `after_ns`, oldest first.

        Pages follow each other by the last item's id. The venue does not order the fills of one millisecond, so a page
        may repeat some of the one before. Of a list that has more than `FILLS_MAX` that many are returned. Asked again
        after a page that could not be had, it goes on there: from the beginning a long list might never fit the budget.

        Raises:
            VenueUnavailable: the next page of it could not be had, or not within the budget.
        """
        begun = self._fills_begun
        if begun.after_ns != after_ns:
            begun = self._fills_begun = _FillsBegun(after_ns)
        while not begun.is_whole and len(begun.found) < FILLS_MAX:
            try:
                await self._next_fills(begun)
            except VenueUnavailable as error:
                if error.is_final:
                    self._fills_begun = _FillsBegun()
                raise
        self._fills_begun = _FillsBegun()
        return FillsReport(ts_ns=Ns(self._clock()), after_ns=Ns(after_ns), fills=tuple(begun.found.values()))

    async def _next_fills(self, begun: _FillsBegun) -> None:
        """Read one page more. Raises `VenueUnavailable`."""
        _afford(self._budget, self._budget.regular_max)
        response = await self._get(self._trading, encode.fills_path(rfc3339(begun.after_ns), begun.token))
        try:
            page = decode_fills(response.body)
        except DecodeError as error:
            raise _unreadable("list of fills", error) from None
        known = len(begun.found)
        begun.found.update((row.id, row.fill) for row in page)
        begun.is_whole = len(page) < encode.FILLS_PAGE_LIMIT
        if not begun.is_whole:
            if len(begun.found) == known:
                raise VenueUnavailable("a full page of fills brought nothing new")
            begun.token = page[-1].id

    async def order(self, client_order_id: str) -> VenueOrder | None:
        """Return one order with its legs, None if the venue has never heard of it. Raises `VenueUnavailable`."""
        response = await self._get(self._trading, encode.query_path(client_order_id), may_be_missing=True)
        if response.status == 404:
            return None
        try:
            order = decode_order(response.body, self._slashes)
            if order.order_class is not OrderClass.SIMPLE and not order.legs:
                nested = await self._get(self._trading, encode.nested_order_path(order.order_id))
                order = decode_order(nested.body, self._slashes)
        except DecodeError as error:
            raise _unreadable("order", error) from None
        if order.client_order_id != client_order_id:
            raise VenueUnavailable(f"the venue was asked for order {client_order_id} and answered another")
        return order

    async def latest_quote(self, symbol: str) -> tuple[float, float, float, float, int] | None:
        """Return (bid, ask, bid size, ask size, venue_ns) of the latest quote, None if there is none.

        Raises:
            VenueUnavailable: the question was not answered.
        """
        _afford(self._data_budget, self._data_budget.regular_max)
        crypto = "/" in symbol
        path = (
            encode.latest_crypto_quote_path(symbol)
            if crypto
            else encode.latest_equity_quote_path(symbol, self._feed)
        )
        response = await self._get(self._data, path, may_be_missing=True)
        if response.status == 404:
            return None
        try:
            return decode_latest_quote(response.body, symbol)
        except DecodeError as error:
            raise _unreadable(f"quote of {symbol}", error) from None

    async def _get(self, pool: HttpPool, path: str, *, may_be_missing: bool = False) -> Response:
        """Return a 200 (or, if it `may_be_missing`, a 404 in the venue's own words). Raises `VenueUnavailable`."""
        what = path.partition("?")[0]
        try:
            response = await pool.fetch("GET", path)
        except HttpError as error:
            raise VenueUnavailable(f"GET {what}: {error}") from None
        if response.status == 200:
            return response
        code, message, _ = decode_error(response.body)
        if response.status == 404 and may_be_missing and code is not None:
            return response
        number = f" {code}" if code is not None else ""
        raise VenueUnavailable(f"GET {what}: HTTP {response.status}{number} {message}", response.status)


def _afford(budget: RateBudget, most: int, needed: int = 1) -> None:
    """Raise `VenueUnavailable` unless `needed` requests more stay within `most`; alone, a question is always asked."""
    used = budget.used
    if used + min(needed, most) > most:
        raise VenueUnavailable(
            f"request budget: {used} requests in the last minute; {most} are allowed before questions have to wait"
        )


def _unreadable(what: str, error: Exception) -> VenueUnavailable:
    return VenueUnavailable(f"the venue's {what} cannot be read: {error}")


def _session(day: TradingDay) -> Session:
    """Return a day of the calendar in nanoseconds. Raises `ValueError`."""
    return Session(
        date=day.date,
        early_ns=_new_york_ns(day.date, day.session_open),
        open_ns=_new_york_ns(day.date, day.open),
        close_ns=_new_york_ns(day.date, day.close),
        late_ns=_new_york_ns(day.date, day.session_close),
    )


def _new_york_ns(day: str, clock_time: str) -> Ns:
    """Return a New York wall time in nanoseconds. Raises `ValueError`."""
    moment = datetime.combine(date.fromisoformat(day), time.fromisoformat(clock_time), NEW_YORK)
    return Ns(int(moment.timestamp()) * NS_PER_S)
