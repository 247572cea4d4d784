"""Fetching the venue's history: page after page, as slowly as it allows, to a file that appears when it is whole.

Owns the questions, the patience and the finish. May not know a file format. The one idea: each page goes into the spool
with the cursor of the next one before that is asked for, symbol after symbol. So whatever ends the process, the next run
goes on behind the last page; and the result is made of the spool alone, so it is the same to the byte.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import numpy as np

from hands.replay.item_files import write_items
from hands.replay.items import ItemsError, Vocabulary, items_of
from hands.replay.merging import Chunks, cut, merge
from hands.replay.spool import Spool, SpoolError
from hands.replay.tables import NotPlain, utc_times
from hands.sim.market.times import rfc3339, rfc3339_whole
from hands.venues.alpaca.backoff import Backoff
from hands.venues.alpaca.decode import decode_error
from hands.venues.alpaca.endpoints import CRYPTO_PATH, Credentials, Endpoints, origin_of
from hands.venues.alpaca.http import HttpError, HttpPool
from hands.venues.alpaca.http_reader import Response
from hands.venues.alpaca.rate import RateBudget

KINDS: Final = ("trades", "quotes", "bars")
PAGE_LIMIT: Final = 10_000
"""The venue's own."""

FAILURES_MAX: Final = 12
"""In a row, before it is given up: about seven minutes."""

WAIT_MAX_S: Final = 90.0
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_REQUEST, _PAGE, _SYMBOL, _DISORDER = 1, 2, 3, 4


class FetchError(Exception):
    """The venue refuses, or says what nobody can read; asked again it would be the same. What there is stays."""


class Unanswered(FetchError):  # noqa: N818  (named for what is the case)
    """The venue could not be asked for so long that it was given up; it can be gone on with."""


class Request(msgspec.Struct, frozen=True):
    """What is asked for: from `from_ns` to `to_ns`, which is not included. `timeframe` matters to bars alone."""

    symbols: tuple[str, ...]
    kind: str
    from_ns: int
    to_ns: int
    feed: str
    timeframe: str = ""


class _Cursor(msgspec.Struct, frozen=True):
    """A page that is there: of which symbol, how many items, the last one's time, and what to ask for next."""

    symbol: int
    count: int
    last_ns: int
    token: str | None


class _Page(msgspec.Struct):
    trades: dict[str, msgspec.Raw] | None = None
    quotes: dict[str, msgspec.Raw] | None = None
    bars: dict[str, msgspec.Raw] | None = None
    next_page_token: str | None = None

    def of(self, kind: str, symbol: str) -> bytes:
        """Return a symbol's items as they came."""
        listed = getattr(self, kind) or {}
        raw = listed.get(symbol)
        return b"[]" if raw is None or bytes(raw) == b"null" else bytes(raw)


class _Timed(msgspec.Struct):
    t: str


_PAGES: Final = msgspec.json.Decoder(_Page)
_TIMES: Final = msgspec.json.Decoder(list[_Timed])


@dataclass(slots=True)
class Progress:
    """How far it is: of all the time that is asked for, and what has come."""

    request: Request
    symbol: int = 0
    reached_ns: int = 0
    items: int = 0
    pages: int = 0
    requests: int = 0
    waits: str = ""
    """Why nothing is asked for just now, empty where something is."""

    @property
    def share(self) -> float:
        """The part of the time that is there, from 0 to 1."""
        span_ns = self.request.to_ns - self.request.from_ns
        within = min(max(self.reached_ns - self.request.from_ns, 0), span_ns) / span_ns
        return (self.symbol + within) / len(self.request.symbols)


def budget_of(requests_per_minute: int) -> RateBudget:
    """Return the budget of a plan that allows so many requests a minute."""
    return RateBudget.sharing(requests_per_minute)


def part_of(path: Path) -> Path:
    """Return where the unfinished work on `path` is."""
    return path.with_name(f"{path.name}.part")


def taken_up(spool: Spool, request: Request, *, has_end: bool) -> Request:
    """Return what is to be fetched: the request, or the same as an unfinished one has it.

    `has_end` False: the end was "now", and is the unfinished one's own.

    Raises:
        SpoolError: the spool is of something else.
    """
    if spool.is_new:
        return request
    kind, body = next(spool.records())
    try:
        known = msgspec.json.decode(body, type=Request) if kind == _REQUEST else None
    except msgspec.DecodeError:
        known = None
    if known is None:
        raise SpoolError(f"{spool.path} is no unfinished fetch; remove it, or name another file")
    if known != (request if has_end else msgspec.structs.replace(request, to_ns=known.to_ns)):
        of = f"{known.kind} of {', '.join(known.symbols)} from {rfc3339(known.from_ns)} to {rfc3339(known.to_ns)}"
        raise SpoolError(
            f"{spool.path} is of another fetch, {of} ({known.feed}); finish that, remove it, or name another file"
        )
    return known


@dataclass(slots=True)
class Fetch:
    """One fetch into `spool`; `told` is called after each page and before each wait. `sleep` takes seconds."""

    request: Request
    endpoints: Endpoints
    credentials: Credentials
    spool: Spool
    budget: RateBudget
    told: Callable[[Progress], None] = lambda progress: None  # noqa: ARG005
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    page_limit: int = PAGE_LIMIT
    timeout_s: float = 30.0
    progress: Progress = field(init=False)

    def __post_init__(self) -> None:
        self.progress = Progress(self.request, reached_ns=self.request.from_ns)

    async def run(self) -> Progress:
        """Ask for what is not there yet.

        Raises:
            FetchError: refused, unreadable, or (`Unanswered`) not answered for minutes.
            OSError: the spool cannot be written.
        """
        if self.spool.is_new:
            self.spool.append(_REQUEST, msgspec.json.encode(self.request))
        symbol, token = self._go_on()
        pool = HttpPool(
            origin_of(self.endpoints.data), self.credentials, connections=1, timeout_s=self.timeout_s,
            budget=self.budget,
        )  # fmt: skip
        try:
            while symbol < len(self.request.symbols):
                if token is None:
                    self.spool.append(_SYMBOL, str(symbol).encode())
                token = await self._take_page(pool, symbol, token)
                if token is None:
                    symbol += 1
        finally:
            await pool.close()
        return self.progress

    def _go_on(self) -> tuple[int, str | None]:
        """Return the symbol to go on with and its cursor; take in what is there."""
        symbol, token = 0, None
        for cursor, _ in _pages(self.spool, 0, None):
            self._note(cursor)
            symbol, token = (cursor.symbol, cursor.token) if cursor.token else (cursor.symbol + 1, None)
        return symbol, token

    def _note(self, cursor: _Cursor) -> None:
        progress = self.progress
        progress.items += cursor.count
        progress.pages += 1
        progress.symbol, progress.reached_ns = cursor.symbol, cursor.last_ns
        if cursor.token is None:
            progress.symbol, progress.reached_ns = cursor.symbol + 1, self.request.from_ns
        self.told(progress)

    async def _take_page(self, pool: HttpPool, symbol: int, token: str | None) -> str | None:
        """Ask for a page, put it away, and return the cursor of the next one."""
        name, kind = self.request.symbols[symbol], self.request.kind
        body = await self._answer(pool, self._path(name, token))
        try:
            page = _PAGES.decode(body)
            raw = page.of(kind, name)
            times_ns = utc_times([item.t for item in _TIMES.decode(raw)])
        except (msgspec.DecodeError, UnicodeDecodeError, NotPlain) as error:
            raise FetchError(f"the venue's {kind} of {name} cannot be read: {error}") from None
        if page.next_page_token and page.next_page_token == token:
            raise FetchError(
                f"the venue's {kind} of {name} go round in a circle: a page that leads to itself"
            )
        before_ns = self.progress.reached_ns
        last_ns = int(times_ns[-1]) if len(times_ns) else before_ns
        if bool((np.diff(times_ns, prepend=before_ns) < 0).any()):
            self.spool.append(_DISORDER, str(symbol).encode())
        cursor = _Cursor(symbol, len(times_ns), last_ns, page.next_page_token or None)
        self.spool.append(_PAGE, msgspec.json.encode(cursor) + b"\n" + raw)
        self._note(cursor)
        return cursor.token

    def _path(self, symbol: str, token: str | None) -> str:
        request = self.request
        crypto = "/" in symbol
        query = {
            "symbols": symbol,
            "start": rfc3339_whole(request.from_ns),
            "end": rfc3339_whole(request.to_ns - 1),
            "limit": str(self.page_limit),
        }
        if request.kind == "bars":
            query["timeframe"] = request.timeframe
        if not crypto:
            query["feed"] = request.feed
        if token is not None:
            query["page_token"] = token
        return f"{CRYPTO_PATH if crypto else '/v2/stocks'}/{request.kind}?{urlencode(query)}"

    async def _answer(self, pool: HttpPool, path: str) -> bytes:
        """Return the body of an answer, asking again where that may help."""
        backoff = Backoff(1.0, WAIT_MAX_S)
        reason = ""
        while backoff.failures < FAILURES_MAX:
            await self._room()
            self.progress.requests += 1
            at_least_s = 0.0
            try:
                response = await pool.fetch("GET", path)
            except HttpError as error:
                reason = str(error)
            else:
                if response.status == 200:
                    return response.body
                reason = _said(response)
                if response.status not in _AGAIN:
                    raise FetchError(f"the venue refuses {path.partition('?')[0]}: {reason}")
                at_least_s = _asked_to_wait_s(response)
            await self._wait(backoff.next_s(at_least_s), reason)
        raise Unanswered(f"given up after {FAILURES_MAX} tries: {reason}")

    async def _room(self) -> None:
        """Wait until the budget has room beneath what a running daemon may use."""
        while (wait_s := self.budget.wait_s(self.budget.entries_max)) > 0:
            await self._wait(wait_s, "the request budget is used up")

    async def _wait(self, seconds: float, reason: str) -> None:
        self.progress.waits = reason
        self.told(self.progress)
        await self.sleep(seconds)
        self.progress.waits = ""


def _said(response: Response) -> str:
    code, message, _ = decode_error(response.body)
    number = f" {code}" if code is not None else ""
    return f"HTTP {response.status}{number} {message}".strip()


def _asked_to_wait_s(response: Response) -> float:
    """Return how long the venue asks us to wait, in seconds, within reason."""
    try:
        if (after := response.headers.get("retry-after")) is not None:
            return min(max(float(after), 0.0), WAIT_MAX_S)
        reset = response.headers.get("x-ratelimit-reset")
        return 0.0 if reset is None else min(max(float(reset) - time.time(), 0.0), WAIT_MAX_S)
    except ValueError:
        return 0.0


# --- the finish ------------------------------------------------------------------------------------------------


def finish(request: Request, spool: Spool, path: Path, ending: str, about: Mapping[str, Any]) -> int:
    """Make the file of what was fetched, all of it or none, and remove the spool; return how many items it has.

    Raises:
        FetchError: an item of the venue's that cannot be one.
        OSError: the file cannot be written. The spool stays.
    """
    words = Vocabulary()
    places = {int(body): at for at, body in reversed([*spool.places(_SYMBOL)])}
    ends = [*(places[number] for number in range(1, len(request.symbols))), None]
    disordered = {int(body) for _, body in spool.places(_DISORDER)}

    def items(number: int) -> Chunks:
        """Yield one symbol's items, whose pages stand between two places of the spool."""
        pages = (
            items_of(request.kind, raw, request.symbols[number], words)
            for cursor, raw in _pages(spool, places[number], ends[number])
            if cursor.count
        )
        if number not in disordered:
            return pages
        together = np.concatenate([*pages])
        return cut(together[np.argsort(together["t_ns"], kind="stable")])

    sources = [partial(items, number) for number in range(len(request.symbols))]
    made = path.with_name(f"{path.name}.new")
    try:
        count = write_items(request.kind, merge(sources, "t_ns"), words, made, ending, about)
        with made.open("rb+") as file:
            os.fsync(file.fileno())
        made.replace(path)
    except ItemsError as error:
        raise FetchError(str(error)) from None
    finally:
        made.unlink(missing_ok=True)
    spool.remove()
    return count


def _pages(spool: Spool, first: int, end: int | None) -> Iterator[tuple[_Cursor, bytes]]:
    for _, body in spool.records(frozenset({_PAGE}), first, end):
        head, _, raw = body.partition(b"\n")
        yield msgspec.json.decode(head, type=_Cursor), raw


def default_name(request: Request, ending: str) -> str:
    """Return a name for the file of a request: "AAPL_trades_20240102_20240103.parquet"."""
    first = request.symbols[0].replace("/", "")
    others = f"+{len(request.symbols) - 1}" if len(request.symbols) > 1 else ""
    days = [_day(at_ns) for at_ns in (request.from_ns, request.to_ns)]
    frame = f"_{request.timeframe}" if request.kind == "bars" else ""
    return f"{first}{others}_{request.kind}{frame}_{days[0]}_{days[1]}{ending}"


def _day(at_ns: int) -> str:
    """Return a day, and the time of it where it is not midnight."""
    text = rfc3339_whole(at_ns)
    day, clock = text[:10].replace("-", ""), text[11:19].replace(":", "")
    return day if clock == "000000" else f"{day}T{clock}"


def check(request: Request) -> list[str]:
    """Return everything that is wrong with a request, so far as that can be seen from here."""
    problems = []
    if request.from_ns >= request.to_ns:
        problems.append("--from must lie before --to")
    twice = sorted({symbol for symbol in request.symbols if request.symbols.count(symbol) > 1})
    if twice:
        problems.append(f"a symbol twice: {', '.join(twice)}")
    problems += [f"{symbol!r} is no symbol" for symbol in request.symbols if not _is_symbol(symbol)]
    return problems


def _is_symbol(text: str) -> bool:
    parts: Sequence[str] = text.split("/")
    return len(parts) <= 2 and all(
        part.isascii() and part.isupper() and part.replace(".", "").isalnum() for part in parts
    )
