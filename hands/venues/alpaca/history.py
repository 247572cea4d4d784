"""What traded before we listened: past trades and minute bars, asked for over REST and turned into rows and bars.

Owns the questions, their pages and their budget. May not decide what is done with an answer. The one idea: history is
never urgent. A question waits until the request budget has room beneath what everybody else may use, a page is read
and turned into rows a few hundred items at a time so that the loop goes round in between, and there is a largest number
of pages.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar
from urllib.parse import urlencode

import msgspec
import numpy as np
from msgspec import field

from hands.core.bars import BAR
from hands.core.market import RowKind, new_rows
from hands.core.rows import exchange_of
from hands.core.units import NS_PER_S
from hands.venues.alpaca.conditions import flags_of
from hands.venues.alpaca.decode import decode_error
from hands.venues.alpaca.endpoints import CRYPTO_PATH, Credentials, Endpoints, origin_of
from hands.venues.alpaca.http import HttpError, HttpPool
from hands.venues.alpaca.rate import RateBudget
from hands.venues.alpaca.snapshots import VenueUnavailable
from hands.venues.alpaca.timestamps import parse_rfc3339, rfc3339

PAGE_LIMIT: Final = {"trades": 5_000, "bars": 10_000}
"""The venue allows ten thousand; so many trades, of one symbol often, would take the loop two milliseconds to cut up."""

SYMBOLS_AT_ONCE: Final = {"trades": 100, "bars": 50}
"""Five days of fifty stocks, from four in the morning to eight at night, are 24 pages of minutes."""

LATEST_NS: Final = 2**62
"""The year 2116: times beyond it are a venue's way of saying nothing."""

AT_A_TIME: Final = 200
"""Items decoded and turned into rows before the loop goes round: about half a millisecond."""

MINUTE_NS: Final = 60 * NS_PER_S
AMOUNT_MAX: Final = 1e12
_NOT_A_TRADE: Final = frozenset({"canceled", "incorrect"})
"""What the venue says of trades that never were, or were corrected: the corrected ones are listed besides."""


class _Trade(msgspec.Struct, gc=False):
    price: float = field(name="p")
    size: float = field(name="s")
    time: str = field(name="t")
    trade_id: int = field(name="i", default=0)
    conditions: tuple[str, ...] | None = field(name="c", default=None)
    tape: str = field(name="z", default="")
    exchange: str | None = field(name="x", default=None)
    update: str = field(name="u", default="")


class _Bar(msgspec.Struct, gc=False):
    time: str = field(name="t")
    open: float = field(name="o")
    high: float = field(name="h")
    low: float = field(name="l")
    close: float = field(name="c")
    volume: float = field(name="v")
    trades: int = field(name="n", default=0)
    vwap: float = field(name="vw", default=0.0)


class _Page(msgspec.Struct):
    """What a page holds by symbol, not decoded yet."""

    trades: dict[str, msgspec.Raw] | None = None
    bars: dict[str, msgspec.Raw] | None = None
    next_page_token: str | None = None


_PAGE: msgspec.json.Decoder[_Page] = msgspec.json.Decoder(_Page)
_ITEMS: msgspec.json.Decoder[list[msgspec.Raw] | None] = msgspec.json.Decoder(list[msgspec.Raw] | None)
_ONE_TRADE: msgspec.json.Decoder[_Trade] = msgspec.json.Decoder(_Trade)
_ONE_BAR: msgspec.json.Decoder[_Bar] = msgspec.json.Decoder(_Bar)
_Item = TypeVar("_Item", _Trade, _Bar)


class PastTrades:
    """Trades of some symbols, each symbol's in order; not `complete` where there were too many pages.

    `taken_back` are those, by symbol, that were cancelled or corrected since; they are not among the others.
    """

    def __init__(self) -> None:
        self.complete = True
        self.count = 0
        self.taken_back: dict[int, np.ndarray] = {}
        self._parts: dict[int, list[np.ndarray]] = {}

    def add(self, sym: int, rows: np.ndarray) -> None:
        """Take in rows of a symbol."""
        if len(rows):
            self._parts.setdefault(sym, []).append(rows)
            self.count += len(rows)

    def take_back(self, sym: int, rows: np.ndarray) -> None:
        """Note rows of a symbol that never were."""
        if len(rows):
            self.taken_back[sym] = np.concatenate([self.taken_back.get(sym, new_rows(0)), rows])

    def join(self, other: PastTrades) -> None:
        """Take in what another answer holds."""
        for sym, parts in other._parts.items():
            for rows in parts:
                self.add(sym, rows)
        for sym, rows in other.taken_back.items():
            self.take_back(sym, rows)
        self.complete = self.complete and other.complete

    @property
    def syms(self) -> Sequence[int]:
        """The numbers of the symbols that have any."""
        return sorted(self._parts)

    def of(self, sym: int) -> np.ndarray:
        """Return a symbol's trades."""
        return np.concatenate([new_rows(0), *self._parts.get(sym, ())])


class History:
    """Asks over one connection; `index` gives each symbol its number in the market, `clock` the engine's time.

    Requests count in `budget`, which the latest quotes share: history waits at three quarters of it.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        credentials: Credentials,
        index: Mapping[str, int],
        clock: Callable[[], int],
        *,
        budget: RateBudget | None = None,
        timeout_s: float = 10.0,
        pages_max: int = 40,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._feed = endpoints.feed
        self._index = index
        self._clock = clock
        self._budget = budget if budget is not None else RateBudget()
        self._pages_max = pages_max
        self._pool = HttpPool(
            origin_of(endpoints.data),
            credentials,
            connections=1,
            timeout_s=timeout_s,
            budget=self._budget,
            tls=tls,
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._pool.close()

    async def trades(
        self, symbols: Sequence[str], start_ns: int, end_ns: int, *, pages: int | None = None
    ) -> PastTrades:
        """Return what traded from `start_ns` to `end_ns`, both of the venue's clock and inclusive, in at most `pages`.

        Rows have the time of the answer as their receipt. Raises `VenueUnavailable`.
        """
        found = PastTrades()
        for some in _portions(symbols, "trades"):
            asked = {"start": rfc3339(start_ns), "end": rfc3339(end_ns)}
            async for page in self._pages("trades", some, asked, pages):
                if page is None:
                    found.complete = False
                    break
                for symbol, raw in (page.trades or {}).items():
                    if symbol in self._index:
                        async for trades in _decoded(raw, _ONE_TRADE):
                            self._sort(self._index[symbol], trades, found)
        return found

    async def minute_bars(self, symbols: Sequence[str], start_ns: int, end_ns: int) -> dict[str, np.ndarray]:
        """Return the minutes in which something traded, as `BAR`s, oldest first. Raises `VenueUnavailable`."""
        found: dict[str, list[np.ndarray]] = {symbol: [] for symbol in symbols}
        for some in _portions(symbols, "bars"):
            asked = {"timeframe": "1Min", "start": rfc3339(start_ns), "end": rfc3339(end_ns)}
            async for page in self._pages("bars", some, asked):
                if page is None:
                    raise VenueUnavailable(f"more than {self._pages_max} pages of bars")
                for symbol, raw in (page.bars or {}).items():
                    if symbol in found:
                        found[symbol].extend([_minutes(bars) async for bars in _decoded(raw, _ONE_BAR)])
        return {symbol: _in_order(parts) for symbol, parts in found.items()}

    async def _pages(
        self,
        kind: str,
        symbols: Sequence[str],
        asked: Mapping[str, str],
        most: int | None = None,
    ) -> AsyncIterator[_Page | None]:
        """Yield page after page, and None where there are more than may be asked for."""
        crypto = "/" in symbols[0]
        path = f"{CRYPTO_PATH if crypto else '/v2/stocks'}/{kind}"
        query = {"symbols": ",".join(symbols), **asked, "limit": str(PAGE_LIMIT[kind])}
        if not crypto:
            query["feed"] = str(self._feed)
        for _ in range(most or self._pages_max):
            page = await self._page(f"{path}?{urlencode(query)}")
            yield page
            if not page.next_page_token:
                return
            query["page_token"] = page.next_page_token
        yield None

    async def _room(self) -> None:
        """Wait until the budget has room for a request; others may be waiting for the same."""
        while True:
            wait_s = self._budget.wait_s(self._budget.entries_max)
            if wait_s <= 0:
                return
            await asyncio.sleep(wait_s)

    async def _page(self, path: str) -> _Page:
        await self._room()
        what = path.partition("?")[0]
        try:
            response = await self._pool.fetch("GET", path)
        except HttpError as error:
            raise VenueUnavailable(f"GET {what}: {error}") from None
        if response.status != 200:
            code, message, _ = decode_error(response.body)
            number = f" {code}" if code is not None else ""
            raise VenueUnavailable(f"GET {what}: HTTP {response.status}{number} {message}", response.status)
        try:
            return _PAGE.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise VenueUnavailable(f"the venue's {what} cannot be read: {error}") from None

    def _sort(self, sym: int, trades: list[_Trade], found: PastTrades) -> None:
        """Take in trades of a symbol: those that were, and those that were taken back."""
        found.add(sym, self._rows(sym, [trade for trade in trades if trade.update not in _NOT_A_TRADE]))
        found.take_back(sym, self._rows(sym, [trade for trade in trades if trade.update in _NOT_A_TRADE]))

    def _rows(self, sym: int, trades: list[_Trade]) -> np.ndarray:
        rows, count, now_ns = new_rows(len(trades)), 0, self._clock()
        for trade in trades:
            if not 0 <= trade.trade_id < 2**63:
                continue
            flags, exchange = flags_of(trade.conditions or (), trade.tape), exchange_of(trade.exchange)
            rows[count] = (
                sym, RowKind.TRADE, flags, exchange, trade.price, trade.size, 0.0, 0.0, _time(trade.time), now_ns,
                trade.trade_id,
            )  # fmt: skip
            count += 1
        return rows[:count]


async def _decoded(raw: msgspec.Raw, decoder: msgspec.json.Decoder[_Item]) -> AsyncIterator[list[_Item]]:
    """Yield a symbol's items in handfuls; the loop goes round after each. Raises `VenueUnavailable`."""
    try:
        items = _ITEMS.decode(raw) or []
        for first in range(0, len(items), AT_A_TIME):
            yield [decoder.decode(item) for item in items[first : first + AT_A_TIME]]
            await asyncio.sleep(0)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise VenueUnavailable(f"the venue's history cannot be read: {error}") from None


def _minutes(bars: Iterable[_Bar]) -> np.ndarray:
    return np.array([minute for minute in map(_minute, bars) if minute is not None], BAR)


def _minute(bar: _Bar) -> tuple[float, ...] | None:
    """Return a minute of trading as a `BAR`; None for one that was filled from quotes, or whose numbers are none."""
    start_ns = _time(bar.time)
    prices = (bar.open, bar.high, bar.low, bar.close)
    if start_ns % MINUTE_NS or not 0 <= bar.trades < 2**53:
        return None
    if not all(0.0 < number <= AMOUNT_MAX for number in (*prices, bar.volume)):
        return None
    vwap = bar.vwap if 0.0 < bar.vwap <= AMOUNT_MAX else bar.close
    return (start_ns, *prices, bar.volume, bar.volume * vwap, bar.trades)


def _in_order(parts: list[np.ndarray]) -> np.ndarray:
    """Return minutes by time, of several with one start the last."""
    minutes = np.concatenate([np.zeros(0, BAR), *parts])[::-1]
    _, firsts = np.unique(minutes["start_ns"], return_index=True)
    found: np.ndarray = minutes[firsts]
    return found


def _time(text: str) -> int:
    """Return a time that a row can hold. Raises `VenueUnavailable` for rubbish, a year 1 or a year 9999."""
    try:
        at_ns = parse_rfc3339(text)
    except ValueError as error:
        raise VenueUnavailable(f"the venue's history cannot be read: {error}") from None
    if not 0 <= at_ns < LATEST_NS:
        raise VenueUnavailable(f"the venue's history is of {text[:40]!r}")
    return at_ns


def _portions(symbols: Sequence[str], kind: str) -> Iterable[Sequence[str]]:
    """Yield symbols of one kind, equities or pairs, in portions that fit one request."""
    size = SYMBOLS_AT_ONCE[kind]
    for of_kind in ([s for s in symbols if "/" not in s], [s for s in symbols if "/" in s]):
        for first in range(0, len(of_kind), size):
            yield of_kind[first : first + size]
