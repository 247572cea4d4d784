"""What happened to the account, as the venue's list of activities: fills, and the fees of trading coins.

Owns which activities there are, when each is posted, their ids, filters and pages. Nothing is stored: every
activity is read off a fill, so that the list can never disagree with the fills.

A coin fee has the shape that was observed: type CFEE whichever way it was taken, no order id, the id's time that
of the day alone; a fee in dollars names no symbol and no quantity, only `net_amount`.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hands.core.units import NS_PER_MS, NS_PER_S, Price, decimal_text, div_half_up
from hands.sim.market.times import rfc3339
from hands.sim.server import rest_parse as parse
from hands.sim.venue import errors
from hands.sim.venue.calendar import NEW_YORK, new_york_date, unix_ns
from hands.sim.venue.orders import Fill
from hands.sim.venue.quirks import Quirks

PAGE_MAX: Final = 100
FILL: Final = "FILL"
COIN_FEE: Final = "CFEE"

_FEE_IDS: Final = uuid.UUID("0f6b5c1e-8f0b-4c7e-9d2a-3b1f7f0c6a55")
_TYPE_WORDS: Final = """
FILL TRANS MISC ACATC ACATS CFEE CGD CSD CSW DIV DIVCGL DIVCGS DIVFEE DIVFT DIVNRA DIVROC DIVTW DIVTXEX FEE INT
INTNRA INTTW JNL JNLC JNLS MA NC OPASN OPCA OPCSH OPEXC OPEXP OPTRD PTC PTR REORG SPIN SPLIT FOPT
"""
_TYPES: Final = frozenset(_TYPE_WORDS.split())
_GROUPS: Final = {"MISC": frozenset({COIN_FEE})}
"""Types that stand for several: MISC is everything but fills, transfers and dividends."""
_CATEGORIES: Final = {"trade_activity": frozenset({FILL}), "non_trade_activity": frozenset({COIN_FEE})}


@dataclass(frozen=True, slots=True)
class Activity:
    """One activity: the fill, or the fee of it, and when it was posted."""

    kind: str
    fill: Fill
    posted_ns: int

    @property
    def number(self) -> str:
        """The part of the id after the time: a fill's is its execution id."""
        execution = self.fill.execution_id
        return execution if self.kind == FILL else str(uuid.uuid5(_FEE_IDS, execution))


def page(
    query: Mapping[str, str], kind: str | None, fills: Iterable[Fill], quirks: Quirks, now_ns: int
) -> Any:
    """Return the page of activities a client asks for; `kind` is the type in the path. Raises `VenueError` 422."""
    size = parse.read_count(query, "page_size", PAGE_MAX, PAGE_MAX)
    is_ascending = parse.read_choice(query, "direction", "desc", ("asc", "desc")) == "asc"
    kinds = _kinds(query, kind)
    wanted = _Posted(query)
    found = [a for a in _activities(fills, kinds, quirks) if a.posted_ns <= now_ns and wanted.admits(a)]
    found.sort(key=lambda activity: activity.posted_ns)
    if not is_ascending:
        found.reverse()
    token = query.get("page_token")
    if token:
        number = token.partition("::")[2]
        places = [place for place, activity in enumerate(found) if activity.number == number]
        found = found[places[0] + 1 :] if places else []
    return [activity_json(activity, quirks) for activity in found[:size]]


def activity_json(activity: Activity, quirks: Quirks) -> dict[str, Any]:
    """Return an activity as the venue writes it; a time of a fill is cut to microseconds, half up."""
    fill = activity.fill
    if activity.kind == COIN_FEE:
        return _fee_json(activity)
    zone = NEW_YORK if quirks.activity_id_zone == "new_york" else dt.UTC
    local = dt.datetime.fromtimestamp(fill.t_ns // NS_PER_S, zone).strftime("%Y%m%d%H%M%S")
    return {
        "id": f"{local}{fill.t_ns // NS_PER_MS % 1000:03d}::{activity.number}",
        "activity_type": FILL,
        "transaction_time": _micros(fill.t_ns),
        "type": "partial_fill" if fill.leaves_qty else "fill",
        "price": decimal_text(fill.price),
        "qty": decimal_text(fill.qty),
        "side": fill.side.value,
        "symbol": fill.symbol,
        "leaves_qty": decimal_text(fill.leaves_qty),
        "order_id": fill.order_id,
        "cum_qty": decimal_text(fill.cum_qty),
        "order_status": fill.status.value,
    }


def _fee_json(activity: Activity) -> dict[str, Any]:
    fill, date = activity.fill, new_york_date(activity.fill.t_ns)
    is_cash = fill.fee_asset == "USD"
    document = {
        "id": f"{date:%Y%m%d}000000000::{activity.number}",
        "activity_type": COIN_FEE,
        "date": date.isoformat(),
        "created_at": _micros(activity.posted_ns),
        "net_amount": decimal_text(-fill.fee) if is_cash else "0",
        "description": f"Coin Pair Transaction Fee ({'USD' if is_cash else 'Non USD'})",
        "currency": "USD",
        "status": "executed",
    }
    if not is_cash:
        document["symbol"] = fill.symbol.replace("/", "")
        document["qty"] = decimal_text(-fill.fee)
        document["price"] = decimal_text(Price(fill.price))
    return document


def _activities(fills: Iterable[Fill], kinds: frozenset[str], quirks: Quirks) -> Iterator[Activity]:
    """Yield the activities of `kinds`, in the order of the fills."""
    is_at_fill = quirks.crypto_fees == "at_fill"
    for fill in fills:
        if FILL in kinds:
            yield Activity(FILL, fill, fill.t_ns)
        if COIN_FEE in kinds and fill.fee:
            yield Activity(COIN_FEE, fill, fill.t_ns if is_at_fill else _day_end_ns(fill.t_ns))


def _day_end_ns(t_ns: int) -> int:
    """Return the midnight in New York after `t_ns`, when the day's fees are posted."""
    return unix_ns(new_york_date(t_ns) + dt.timedelta(days=1), dt.time())


def _kinds(query: Mapping[str, str], kind: str | None) -> frozenset[str]:
    """Return the types asked for; the texts of the refusals are unconfirmed."""
    types, category = query.get("activity_types"), query.get("category")
    if types and category:
        raise errors.parameter("only one of activity_types or category is accepted")
    if category and kind is None:
        return _CATEGORIES[parse.read_choice(query, "category", "", tuple(_CATEGORIES))]
    words = [kind] if kind is not None else [word for word in (types or "").split(",") if word]
    for word in words:
        if word not in _TYPES:
            raise errors.parameter(f"invalid activity type: {word}")
    chosen = frozenset(words) or _TYPES
    return chosen.union(*(_GROUPS.get(word, frozenset()) for word in chosen))


class _Posted:
    """The filters by time: one day, or after and until, both exclusive."""

    def __init__(self, query: Mapping[str, str]) -> None:
        self._after_ns = parse.read_time_ns(query, "after")
        self._until_ns = parse.read_time_ns(query, "until")
        self._date = parse.read_date(query, "date", dt.date.min)
        if "date" in query and ("after" in query or "until" in query):
            raise errors.parameter("date cannot be used with after or until")  # unconfirmed

    def admits(self, activity: Activity) -> bool:
        """Return whether the activity was posted then."""
        if self._after_ns is not None and activity.posted_ns <= self._after_ns:
            return False
        if self._until_ns is not None and activity.posted_ns >= self._until_ns:
            return False
        return self._date == dt.date.min or new_york_date(activity.posted_ns) == self._date


def _micros(t_ns: int) -> str:
    return rfc3339(div_half_up(t_ns, 1000) * 1000)
