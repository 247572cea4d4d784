"""What a client asks the historical market data for: parameters read and refused as the data host does.

Owns the parameters of each endpoint, their meaning and the words of a refusal; knows nothing of what is remembered.
The one idea: a question is wholly checked before anything is looked up, so an answer never stops half-way. Texts
marked "observed" are the venue's own; the others follow its pattern and are unconfirmed, as is the order of checks.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from hands.core.units import floor_to
from hands.sim.market.feeds import Plan
from hands.sim.market.times import DAY_NS, MINUTE_NS, time_ns
from hands.sim.server.rest_parse import with_offset

LIMIT_DEFAULT: Final = 1_000
LIMIT_MAX: Final = 10_000
SIP_DELAY_NS: Final = 15 * MINUTE_NS
"""How old SIP data must be for a plan without it."""

FOREVER_NS: Final = 2**63 - 1
"""The end of what is not bounded: a tick is shown together with others and may be stamped a moment ahead."""

HISTORICAL_FEEDS: Final = ("sip", "iex", "otc", "boats")
LATEST_FEEDS: Final = (*HISTORICAL_FEEDS, "delayed_sip", "overnight")
AUCTION_FEEDS: Final = ("sip",)
EMPTY_FEEDS: Final = frozenset({"otc", "boats", "overnight"})
"""Where nothing trades in this market; the other feeds all show the whole of it."""

ADJUSTMENTS: Final = frozenset({"raw", "split", "dividend", "spin-off", "all"})
CURRENCIES: Final = ("USD",)

_COIN: Final = re.compile(r"[A-Z]+x?/[A-Z]+")
_STOCK: Final = re.compile(r"[A-Z]+(\.[A-Z]+)?")
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d))?", re.ASCII | re.IGNORECASE
)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIMEFRAME: Final = re.compile(r"(\d{1,9})(Min|T|Hour|H|Day|D|Week|W|Month|M)", re.ASCII)
_UNITS: Final = {"T": "Min", "H": "Hour", "D": "Day", "W": "Week", "M": "Month"}
_COUNTS: Final = {
    "Min": range(1, 60), "Hour": range(1, 24), "Day": (1,), "Week": (1,), "Month": (1, 2, 3, 4, 6, 12),
}  # fmt: skip

_PAGED: Final = frozenset({"start", "end", "limit", "page_token", "sort"})


class QueryError(ValueError):
    """A question that is answered with `status` and this message."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What is asked for where: `kind` is trades, quotes, bars, auctions, orderbooks or snapshots."""

    kind: str
    is_crypto: bool
    is_latest: bool = False
    is_single: bool = False

    def parameters(self) -> frozenset[str]:
        """Return the names that may be in the query; anything else is refused."""
        names = set() if self.is_single else {"symbols"}
        if not self.is_latest:
            names |= _PAGED
        if self.kind == "bars" and not self.is_latest:
            names.add("timeframe")
        if not self.is_crypto:
            names |= {"feed", "currency"}
            if not self.is_latest:
                names.add("asof")
                if self.kind == "bars":
                    names.add("adjustment")
        return frozenset(names)

    def feeds(self) -> tuple[str, ...]:
        """Return the feeds to choose from."""
        if self.kind == "auctions":
            return AUCTION_FEEDS
        return LATEST_FEEDS if self.is_latest else HISTORICAL_FEEDS


@dataclass(frozen=True, slots=True)
class Query:
    """One checked question; `start_ns` and `end_ns` are inclusive, `asof_ns` None asks for the symbol alone.

    `currency` is what was asked for, since only then the answer repeats it.
    """

    symbols: tuple[str, ...]
    start_ns: int
    end_ns: int
    limit: int
    is_descending: bool
    timeframe: tuple[int, str]
    after: tuple[str, int, int]
    feed: str
    adjusts_splits: bool
    asof_ns: int | None
    currency: str | None

    @classmethod
    def of(
        cls,
        endpoint: Endpoint,
        parameters: Mapping[str, str],
        symbols: Iterable[str] | None,
        now_ns: int,
        plan: Plan,
        is_listed: Callable[[str], bool],
    ) -> Query:
        """Return the checked parameters; `symbols` is None where the query must name them. Raises `QueryError`."""
        unexpected = sorted(set(parameters) - endpoint.parameters())
        if unexpected:
            raise QueryError(f"unexpected query parameter(s): {', '.join(unexpected)}")  # observed
        if symbols is None:
            symbols = _required(parameters, "symbols").split(",")
        feed = _feed(endpoint, parameters, plan)
        has_delay = not endpoint.is_crypto and feed == "sip" and not plan.is_sip_allowed
        latest_ns = now_ns - SIP_DELAY_NS if has_delay or feed == "delayed_sip" else now_ns
        query = cls(
            symbols=_symbols(symbols, endpoint.is_crypto, is_listed),
            start_ns=_time(parameters, "start", floor_to(latest_ns, DAY_NS)),
            end_ns=_time(parameters, "end", latest_ns if latest_ns < now_ns else FOREVER_NS),
            limit=_limit(parameters.get("limit")),
            is_descending=_sort(parameters.get("sort", "asc")) == "desc",
            timeframe=_timeframe(endpoint, parameters),
            after=_read_token(parameters.get("page_token")),
            feed=feed,
            adjusts_splits=_adjusts_splits(parameters.get("adjustment", "raw")),
            asof_ns=_asof(parameters.get("asof"), now_ns),
            currency=_currency(parameters.get("currency")),
        )
        if "end" in parameters and query.end_ns < query.start_ns:
            raise QueryError("end should not be before start")  # observed
        if has_delay and (endpoint.is_latest or query.end_ns > latest_ns):
            raise QueryError("subscription does not permit querying recent SIP data", 403)  # observed
        return query


def required(parameters: Mapping[str, str], name: str, allowed: Iterable[str]) -> str:
    """Return a parameter that must be one of `allowed`. Raises `QueryError`."""
    value = _required(parameters, name)
    if value not in allowed:
        raise QueryError(f"invalid {name}: {value}")
    return value


def page_token(symbol: str, last_ns: int, count: int) -> str:
    """Return the opaque word for "after the first `count` items of that time of that symbol"."""
    return base64.b64encode(f"{symbol}|{last_ns}|{count}".encode()).decode()


def _read_token(token: str | None) -> tuple[str, int, int]:
    if not token:
        return "", 0, 0
    try:
        text = base64.b64decode(token.replace(" ", "+"), validate=True).decode()
        symbol, last_ns, count = text.split("|")
        return symbol, int(last_ns), int(count)
    except (binascii.Error, ValueError):
        raise QueryError("invalid page_token") from None


def _required(parameters: Mapping[str, str], name: str) -> str:
    value = parameters.get(name)
    if not value:
        raise QueryError(
            f"Invalid format for parameter {name}: query parameter '{name}' is required"
        )  # observed
    return value


def _symbols(given: Iterable[str], is_crypto: bool, is_listed: Callable[[str], bool]) -> tuple[str, ...]:
    """Return the symbols in order; one that the market has shown is never malformed."""
    chosen = sorted({symbol.strip() for symbol in given} - {""})
    if not chosen:
        raise QueryError("Invalid format for parameter symbols: query parameter 'symbols' is required")
    for symbol in chosen:
        if is_listed(symbol) and ("/" in symbol) == is_crypto:
            continue
        if is_crypto and not _COIN.fullmatch(symbol):
            raise QueryError(f"invalid symbol: {symbol} does not match ^[A-Z]+x?/[A-Z]+$")  # observed
        if not is_crypto and not _STOCK.fullmatch(symbol):
            raise QueryError(f"invalid symbol: {symbol}")  # observed
    return tuple(chosen)


def _feed(endpoint: Endpoint, parameters: Mapping[str, str], plan: Plan) -> str:
    default = "iex" if endpoint.is_latest and not plan.is_sip_allowed else "sip"
    feed = parameters.get("feed", default)
    if feed not in endpoint.feeds():
        raise QueryError(f"invalid feed: {feed}")  # observed
    return feed


def _time(parameters: Mapping[str, str], name: str, default_ns: int) -> int:
    """Return a time or date parameter; a date as `end` means that whole day. A time needs its zone."""
    text = parameters.get(name)
    if text is None:
        return default_ns
    readable = with_offset(text)
    if not _TIME.fullmatch(readable):
        raise QueryError(_unreadable_time(name, text))
    try:
        at_ns = int(time_ns(readable.upper()))
    except ValueError:
        raise QueryError(_unreadable_time(name, text)) from None
    return at_ns + DAY_NS - 1 if name == "end" and _DATE.fullmatch(text) else at_ns


def _unreadable_time(name: str, text: str) -> str:
    """Return the refusal with the tail that the venue's own parser adds (observed for the first form)."""
    day, rest = text[:10], text[10:]
    why = f'extra text: "{rest}"' if _DATE.fullmatch(day) and rest else f'cannot parse "{text}" as "2006"'
    return (
        f"Invalid format for parameter {name}: error parsing '{text}' as RFC3339 or 2006-01-02 time: "
        f'parsing time "{text}" as "2006-01-02": {why}'
    )


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT_DEFAULT
    if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
        raise QueryError(
            "Invalid format for parameter limit: error binding string parameter: "
            f'strconv.ParseInt: parsing "{text}": invalid syntax'
        )
    if int(text) < 1:
        raise QueryError(f"invalid limit: {text}")
    if int(text) > LIMIT_MAX:
        raise QueryError(f"invalid limit: larger than the allowed maximum of {LIMIT_MAX}")  # observed
    return int(text)


def _sort(text: str) -> str:
    if text not in {"asc", "desc"}:
        raise QueryError(f"invalid sort: {text}")
    return text


def _timeframe(endpoint: Endpoint, parameters: Mapping[str, str]) -> tuple[int, str]:
    if "timeframe" not in endpoint.parameters():
        return 1, "Min"
    text = _required(parameters, "timeframe")
    match = _TIMEFRAME.fullmatch(text)
    if match is None:
        raise QueryError(f"invalid timeframe: {text}")  # observed
    count, unit = int(match.group(1)), _UNITS.get(match.group(2), match.group(2))
    if count > _COUNTS[unit][-1]:
        # observed up to "maximum"
        raise QueryError(
            f"timeframe period number is larger than the allowed maximum: {_COUNTS[unit][-1]} {unit}"
        )
    if count not in _COUNTS[unit]:
        raise QueryError(f"invalid timeframe: {text}")
    return count, unit


def _adjusts_splits(text: str) -> bool:
    words = set(text.split(","))
    if not words <= ADJUSTMENTS:
        raise QueryError(f"invalid adjustment: {text}")
    return bool(words & {"split", "all"})


def _asof(text: str | None, now_ns: int) -> int | None:
    """Return until when names count: the end of that day, now by default; "-" asks for the symbol alone."""
    if text is None:
        return now_ns
    if text == "-":
        return None
    try:
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        raise QueryError(f"invalid asof: {text}")
    return int(time_ns(text)) + DAY_NS - 1


def _currency(text: str | None) -> str | None:
    """The venue converts; this market knows no rates, and says so instead of giving dollars another name."""
    if text is not None and text not in CURRENCIES:
        raise QueryError(f"invalid currency: {text}")
    return text
