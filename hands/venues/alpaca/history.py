"""What traded before we listened: past trades and minute bars, asked for over REST and turned into rows and bars.

Owns the questions, their pages and their budget. May not decide what is done with an answer. The one idea: history is
never urgent. A question waits until the request budget has room beneath what everybody else may use, a page is turned
into rows a few hundred at a time so that the loop goes round in between, and there is a largest number of pages.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec
import numpy as np
from msgspec import field

from hands.core.market import Bar, RowKind, new_rows
from hands.core.units import NS_PER_S
from hands.venues.alpaca.conditions import flags_of
from hands.venues.alpaca.decode import decode_error
from hands.venues.alpaca.endpoints import CRYPTO_PATH, Credentials, Endpoints, origin_of
from hands.venues.alpaca.http import HttpError, HttpPool
from hands.venues.alpaca.rate import RateBudget
from hands.venues.alpaca.snapshots import VenueUnavailable
from hands.venues.alpaca.timestamps import parse_rfc3339, rfc3339

PAGE_LIMIT: Final = {"trades": 5_000, "bars": 10_000}
"""The venue allows ten thousand; that many trades would take the loop ten milliseconds to decode."""

SYMBOLS_AT_ONCE: Final = 100

LATEST_NS: Final = 2**62
"""The year 2116: times beyond it are a venue's way of saying nothing."""

AT_A_TIME: Final = 500
"""Items turned into rows before the loop goes round: about half a millisecond."""

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
    next_page_token: str | None = None


class _Trades(_Page):
    trades: dict[str, list[_Trade] | None] | None = None


class _Bars(_Page):
    bars: dict[str, list[_Bar] | None] | None = None


_AnyPage = TypeVar("_AnyPage", _Trades, _Bars)


@dataclass(frozen=True, slots=True)
class PastTrades:
    """Trades of some symbols as rows, each symbol's in order; not `complete` where there were too many pages."""

    rows: np.ndarray
    complete: bool


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
        parts: list[np.ndarray] = []
        complete = True
        for some in _portions(symbols):
            asked = {"start": rfc3339(start_ns), "end": rfc3339(end_ns)}
            async for page in self._pages("trades", some, asked, _Trades, pages):
                if page is None:
                    complete = False
                    break
                for symbol, trades in (page.trades or {}).items():
                    if symbol in self._index and trades:
                        parts.append(await self._rows(self._index[symbol], trades))
        rows = np.concatenate(parts) if parts else new_rows(0)
        return PastTrades(rows, complete)

    async def minute_bars(self, symbols: Sequence[str], start_ns: int, end_ns: int) -> dict[str, list[Bar]]:
        """Return the minutes in which something traded, oldest first. Raises `VenueUnavailable`."""
        found: dict[str, list[Bar]] = {symbol: [] for symbol in symbols}
        for some in _portions(symbols):
            asked = {"timeframe": "1Min", "start": rfc3339(start_ns), "end": rfc3339(end_ns)}
            async for page in self._pages("bars", some, asked, _Bars):
                if page is None:
                    raise VenueUnavailable(f"more than {self._pages_max} pages of bars")
                for symbol, bars in (page.bars or {}).items():
                    if symbol in found and bars:
                        found[symbol] += [bar for bar in map(_minute, bars) if bar is not None]
                    await asyncio.sleep(0)
        return {symbol: _in_order(bars) for symbol, bars in found.items()}

    async def _pages(
        self,
        kind: str,
        symbols: Sequence[str],
        asked: Mapping[str, str],
        shape: type[_AnyPage],
        most: int | None = None,
    ) -> Any:
        """Yield page after page, and None where there are more than may be asked for."""
        crypto = "/" in symbols[0]
        path = f"{CRYPTO_PATH if crypto else '/v2/stocks'}/{kind}"
        query = {"symbols": ",".join(symbols), **asked, "limit": str(PAGE_LIMIT[kind])}
        if not crypto:
            query["feed"] = str(self._feed)
        for _ in range(most or self._pages_max):
            page = await self._page(f"{path}?{urlencode(query)}", shape)
            yield page
            if not page.next_page_token:
                return
            query["page_token"] = page.next_page_token
        yield None

    async def _page(self, path: str, shape: type[_AnyPage]) -> _AnyPage:
        wait_s = self._budget.wait_s(self._budget.entries_max)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
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
            return msgspec.json.decode(response.body, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise VenueUnavailable(f"the venue's {what} cannot be read: {error}") from None

    async def _rows(self, sym: int, trades: list[_Trade]) -> np.ndarray:
        rows, count, now_ns = new_rows(len(trades)), 0, self._clock()
        for number, trade in enumerate(trades):
            if number % AT_A_TIME == AT_A_TIME - 1:
                await asyncio.sleep(0)
            if trade.update in _NOT_A_TRADE or not 0 <= trade.trade_id < 2**63:
                continue
            flags = flags_of(trade.conditions or (), trade.tape)
            rows[count] = (
                sym, RowKind.TRADE, flags, trade.price, trade.size, 0.0, 0.0, _time(trade.time), now_ns, trade.trade_id,
            )  # fmt: skip
            count += 1
        return rows[:count]


def _minute(bar: _Bar) -> Bar | None:
    """Return a minute of trading; None for one that was filled from quotes, or whose numbers are none."""
    start_ns = _time(bar.time)
    prices = (bar.open, bar.high, bar.low, bar.close)
    if start_ns % MINUTE_NS or not 0 <= bar.trades < 2**53:
        return None
    if not all(0.0 < number <= AMOUNT_MAX for number in (*prices, bar.volume)):
        return None
    vwap = bar.vwap if 0.0 < bar.vwap <= AMOUNT_MAX else bar.close
    return Bar(start_ns, *prices, bar.volume, vwap, bar.trades)


def _in_order(bars: list[Bar]) -> list[Bar]:
    """Return bars by time, of several with one start the last."""
    return [bar for _, bar in sorted({bar.start_ns: bar for bar in bars}.items())]


def _time(text: str) -> int:
    """Return a time that a row can hold. Raises `VenueUnavailable` for rubbish, a year 1 or a year 9999."""
    try:
        at_ns = parse_rfc3339(text)
    except ValueError as error:
        raise VenueUnavailable(f"the venue's history cannot be read: {error}") from None
    if not 0 <= at_ns < LATEST_NS:
        raise VenueUnavailable(f"the venue's history is of {text[:40]!r}")
    return at_ns


def _portions(symbols: Sequence[str]) -> Iterable[Sequence[str]]:
    """Yield symbols of one kind, equities or pairs, in portions that fit one request."""
    for of_kind in ([s for s in symbols if "/" not in s], [s for s in symbols if "/" in s]):
        for first in range(0, len(of_kind), SYMBOLS_AT_ONCE):
            yield of_kind[first : first + SYMBOLS_AT_ONCE]
