"""Hindsight: what a refused trade would have come to, walked through the market that was recorded after it.

Owns the walk and its rules. May not judge, and nothing that trades may ask it. The one idea: where a minute's bar leaves
open what came first, the worse is taken, so a gate is never said to have cost more than it has.

By these rules:
- Filled at the quote of the decision, where that was fresh, within the limit, and the market open. Otherwise in the first
  minute before the deadline that reaches the limit: at its open where that is better, in the minute of the decision at the
  limit itself. One that was refused as EXPIRED gets its time to live anew: else there would be nothing to look at.
- A touch first waits for its price, then has its time to live.
- The stop comes before the target where both are in one minute, and a minute that opens beyond the stop fills there. In the
  minute of the entry only the stop counts. A target fills at its price, never better.
- `max_hold_seconds` ends it at the close of the minute in which they are over. What is left after `HORIZON_NS`, or where the
  recording ends, is marked at the last close. Stops do not trail.
- No recording of that day, or not as far as the deadline: unknown, never nothing. Prices of which no order can be made: impossible.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from hands.core.units import NANO, NS_PER_MS, NS_PER_S, decimal_text, div_half_up, mul_ceil, mul_floor
from hands.core.vocab import Code

MINUTE_NS = 60 * NS_PER_S
DAY_NS = 86_400 * NS_PER_S

HORIZON_NS = 7 * DAY_NS
"""How long a refused trade is followed."""

FRESH_NS = 5 * NS_PER_S
"""A quote that is older says nothing about what an order would have got."""

RISKED = 100
"""Where the caps are not known, one part in so many of the equity stands for 1 R."""

NO_MARKET = frozenset(
    {Code.SESSION_CLOSED, Code.NO_MARKET_DATA, Code.STALE_MARKET_DATA, Code.ASSET_NOT_TRADABLE}
)
"""What was refused for want of a market did not meet the quote that was held."""

OWN_CAP = {
    "daily_loss": "max_daily_loss",
    "agent_budget": "daily_notional_usd",
    "order_notional": "max_order_notional_usd",
    "gross_exposure": "max_gross_exposure",
    "buying_power": "buying_power",
}
"""Without the check its cap would not have bound either."""


class Result(StrEnum):
    TARGET = "target"
    STOP = "stop"
    TIME = "time"
    OPEN = "open"
    UNFILLED = "unfilled"
    UNKNOWN = "unknown"
    IMPOSSIBLE = "impossible"


UNVALUED = frozenset({Result.UNKNOWN, Result.IMPOSSIBLE})


class Minute(msgspec.Struct, frozen=True, gc=False):
    """A minute of a market, in nano-dollars; of quotes without trades the mid's, `half_spread` beside it."""

    start_ns: int
    open: int
    high: int
    low: int
    close: int
    half_spread: int = 0

    @property
    def end_ns(self) -> int:
        return self.start_ns + MINUTE_NS


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A trade that was refused, as it would have been sent. `bid` and `ask` only where they were fresh and could be traded.

    `arming_until_ns`: it was to wait for `trigger` until then. `qty`: what the sizing left; `equity`: what it stood on.
    """

    intent_id: str
    at_ns: int
    check: str
    code: str
    agent: str
    symbol: str
    venue: str
    is_long: bool
    trigger: int
    limit: int
    stop: int
    target: int
    unit_risk: int
    deadline_ns: int
    ttl_ns: int
    fee_rate: int = 0
    bid: int | None = None
    ask: int | None = None
    arming_until_ns: int | None = None
    max_hold_ns: int | None = None
    qty: int | None = None
    equity: int | None = None

    @property
    def is_possible(self) -> bool:
        if self.is_long:
            return 0 < self.stop < self.limit < self.target and self.unit_risk > 0
        return 0 < self.target < self.limit < self.stop and self.unit_risk > 0


class Hindsight(msgspec.Struct, frozen=True, kw_only=True):
    """What would have become of it; `r` in nano-R and `usd` net of fees, None where that is not known.

    `sized`: "caps", as sizing would have had it, or "one_percent" of the equity; None where nothing says how much.
    """

    result: Result
    entry: int | None = None
    exit: int | None = None
    r: int | None = None
    usd: int | None = None
    sized: str | None = None
    ended_ns: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether more of the market cannot change it."""
        return self.result not in (Result.OPEN, Result.UNKNOWN)


def look_back(refused: Refused, minutes: Sequence[Minute]) -> Hindsight:
    """Return what would have become of a refused trade; `minutes` are its symbol's, oldest first, of its session only."""
    if not refused.is_possible:
        return Hindsight(result=Result.IMPOSSIBLE)
    at_ns = refused.at_ns
    first = bisect_right(minutes, at_ns - MINUTE_NS, key=_start_ns)
    last = bisect_right(minutes, at_ns + HORIZON_NS, key=_start_ns)
    if first == last or not _is_recorded(minutes, at_ns):
        return Hindsight(result=Result.UNKNOWN)
    ahead = _Ahead(minutes, first, last, is_long=refused.is_long)
    entry = _entry(refused, ahead)
    if isinstance(entry, Result):
        return Hindsight(result=entry)
    return _outcome(refused, ahead, *entry)


def _start_ns(minute: Minute) -> int:
    return minute.start_ns


def _is_recorded(minutes: Sequence[Minute], at_ns: int) -> bool:
    """Whether anything of that day (UTC) is."""
    midnight_ns = at_ns - at_ns % DAY_NS
    found = bisect_right(minutes, midnight_ns - 1, key=_start_ns)
    return found < len(minutes) and minutes[found].start_ns < midnight_ns + DAY_NS


class _Seen(msgspec.Struct, frozen=True, gc=False):
    """A minute as a buyer sees it; a seller's prices are below zero, so that less is always better to enter at.

    `cost` is what the spread adds to an entry, and takes from an exit.
    """

    start_ns: int
    open: int
    best: int
    worst: int
    close: int
    cost: int


class _Ahead:
    """The minutes from the decision on, each looked at when it is walked through: most trades end soon."""

    def __init__(self, minutes: Sequence[Minute], first: int, last: int, *, is_long: bool) -> None:
        self._minutes, self._first, self._is_long = minutes, first, is_long
        self.count = last - first

    def __getitem__(self, index: int) -> _Seen:
        minute = self._minutes[self._first + index]
        if self._is_long:
            prices = minute.open, minute.high, minute.low, minute.close
        else:
            prices = -minute.open, -minute.low, -minute.high, -minute.close
        return _Seen(minute.start_ns, *prices, minute.half_spread)

    @property
    def end_ns(self) -> int:
        """Up to where the market is known."""
        return self._minutes[self._first + self.count - 1].end_ns


def _entry(refused: Refused, ahead: _Ahead) -> tuple[int, int, int] | Result:
    """Return (which minute, when, at what price) it would have been filled, or that it would not, or that it is not known."""
    sign = 1 if refused.is_long else -1
    limit, first, at_ns, deadline_ns = sign * refused.limit, 0, refused.at_ns, refused.deadline_ns
    price = None if refused.code in NO_MARKET else refused.ask if refused.is_long else refused.bid
    price = None if price is None else sign * price
    if refused.arming_until_ns is not None:
        touched = _touch(refused, ahead, refused.arming_until_ns)
        if isinstance(touched, Result):
            return touched
        first, price = touched
        at_ns = max(at_ns, ahead[first].start_ns)
        deadline_ns = at_ns + refused.ttl_ns
    if at_ns >= deadline_ns:
        return Result.UNFILLED
    if price is not None and price <= limit:
        return first, at_ns, price
    for index in range(first, ahead.count):
        seen = ahead[index]
        if seen.start_ns >= deadline_ns:
            return Result.UNFILLED
        if seen.worst + seen.cost <= limit:
            from_its_open = seen.start_ns >= at_ns and not (index == first and price is not None)
            filled = min(limit, seen.open + seen.cost) if from_its_open else limit
            return index, max(at_ns, seen.start_ns), filled
    return Result.UNFILLED if ahead.end_ns >= deadline_ns else Result.UNKNOWN


def _touch(refused: Refused, ahead: _Ahead, until_ns: int) -> tuple[int, int] | Result:
    """Return the minute in which the price is touched, coming from the side it was on, and at what an order met it then."""
    sign = 1 if refused.is_long else -1
    level, now = sign * refused.trigger, ahead[0].open
    if refused.bid is not None and refused.ask is not None:
        now = sign * (refused.bid + refused.ask) // 2
    rising = level >= now
    for index in range(ahead.count):
        seen = ahead[index]
        if seen.start_ns >= until_ns:
            return Result.UNFILLED
        if (seen.best >= level) if rising else (seen.worst <= level):
            through = (seen.open > level) if rising else (seen.open < level)
            gapped = through and seen.start_ns >= refused.at_ns
            return index, (seen.open if gapped else level) + seen.cost
    return Result.UNFILLED if ahead.end_ns >= until_ns else Result.UNKNOWN


def _outcome(refused: Refused, ahead: _Ahead, first: int, filled_ns: int, entry: int) -> Hindsight:
    """Return how the trade would have ended that was filled in the minute `first` at `entry`."""
    sign = 1 if refused.is_long else -1
    stop, target = sign * refused.stop, sign * refused.target
    due_ns = None if refused.max_hold_ns is None else filled_ns + refused.max_hold_ns
    for index in range(first, ahead.count):
        seen, entering = ahead[index], index == first
        opened, end_ns = seen.open - seen.cost, seen.start_ns + MINUTE_NS
        if due_ns is not None and seen.start_ns >= due_ns and not entering:
            return _ended(refused, Result.TIME, entry, opened, seen.start_ns)
        if seen.worst - seen.cost <= stop:
            gapped = opened < stop and not entering
            return _ended(refused, Result.STOP, entry, opened if gapped else stop, end_ns)
        if due_ns is not None and due_ns < end_ns:
            return _ended(refused, Result.TIME, entry, seen.close - seen.cost, end_ns)
        if seen.best - seen.cost >= target and not entering:
            return _ended(refused, Result.TARGET, entry, target, end_ns)
    last = ahead[ahead.count - 1]
    return _ended(refused, Result.OPEN, entry, last.close - last.cost, ahead.end_ns)


def _ended(refused: Refused, result: Result, entry: int, exit_: int, ended_ns: int) -> Hindsight:
    gain = exit_ - entry
    if refused.fee_rate:
        gain -= mul_ceil(abs(entry) + abs(exit_), refused.fee_rate)
    r = div_half_up(gain * NANO, refused.unit_risk)
    usd, sized = None, None
    if refused.qty:
        usd, sized = mul_floor(gain, refused.qty), "caps"
    elif refused.equity:
        usd, sized = mul_floor(refused.equity // RISKED, r), "one_percent"
    return Hindsight(
        result=result,
        entry=abs(entry),
        exit=abs(exit_),
        r=r,
        usd=usd,
        sized=sized,
        ended_ns=ended_ns,
    )


# --- how much ------------------------------------------------------------------------------------------------


def sized_without(check: str, binding: str | None, caps: Mapping[str, int]) -> int | None:
    """Return the quantity that sizing would have left without the cap of the check that refused; None where it is none."""
    own = binding if check == "order_size" else OWN_CAP.get(check)
    left = [qty for name, qty in caps.items() if name != own]
    return min(left, default=0) or None


# --- check by check ------------------------------------------------------------------------------------------


class Gate(msgspec.Struct, kw_only=True):
    """What one check (of one agent or symbol, where that is asked) has refused, and what that would have come to.

    `r` and `usd` are sums in nano-units; `dollars` says of how many the dollars are known, `by_caps` of how many of those
    by the size that sizing would have given.
    """

    check: str
    code: str
    of: str | None = None
    fired: int = 0
    valued: int = 0
    won: int = 0
    lost: int = 0
    unfilled: int = 0
    still_open: int = 0
    impossible: int = 0
    r: int = 0
    usd: int = 0
    dollars: int = 0
    by_caps: int = 0

    @property
    def unknown(self) -> int:
        return self.fired - self.valued - self.impossible

    def count(self, found: Hindsight) -> None:
        """Count one refusal."""
        self.fired += 1
        self.impossible += found.result is Result.IMPOSSIBLE
        if found.result in UNVALUED:
            return
        self.valued += 1
        self.unfilled += found.result is Result.UNFILLED
        self.still_open += found.result is Result.OPEN
        self.won += (found.r or 0) > 0
        self.lost += (found.r or 0) < 0
        self.r += found.r or 0
        if found.usd is not None:
            self.usd += found.usd
            self.dollars += 1
            self.by_caps += found.sized == "caps"


# --- what is noted with a refusal ------------------------------------------------------------------------------


class Scene(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a decision saw and its document does not say, as the ledger keeps it with the refusal: decimals as text.

    `day`: the date on which the trading day ends. `arming`: whether it was to wait for its touch. The prices are those the
    order would have had.
    """

    day: str | None = None
    arming: bool = False
    open: bool = False
    bid: str | None = None
    ask: str | None = None
    quote_age_ms: float | None = None
    limit_price: str | None = None
    stop_loss: str | None = None
    take_profit: str | None = None
    unit_risk: str | None = None
    equity: str | None = None

    @property
    def can_trade(self) -> bool:
        """Whether an order would have met the quote."""
        return self.open and self.quote_age_ms is not None and self.quote_age_ms * NS_PER_MS <= FRESH_NS


def text(value: int | None) -> str | None:
    """Return nano-units as a scene keeps them."""
    return None if value is None else decimal_text(value)
