"""What is being judged: one intent, the limits in force for it, and the market it meets.

Owns the numbers every check shares, computed once: the quote and its age, the limit price, the rounded stop and
target, the worst exit and the risk of one unit (the contract's §3). May not judge and may not change state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import msgspec

from hands.core.capabilities import Capabilities
from hands.core.events import Asset
from hands.core.freshness import quote_age_ns
from hands.core.intents import Intent
from hands.core.limits import Limits
from hands.core.market import QuoteView
from hands.core.stakes import Sum
from hands.core.state import State
from hands.core.ticket import Finding
from hands.core.units import NANO, NS_PER_S, Ns, Price, ceil_to, floor_to, mul_ceil
from hands.core.venue_rules import fee_rate, price_tick
from hands.core.vocab import AssetClass, Direction, Retry

if TYPE_CHECKING:
    from hands.core.sizing import Money

_LONG = Direction.LONG
_EQUITY, _CRYPTO = AssetClass.EQUITY, AssetClass.CRYPTO
# A member reached through its class costs 90 ns (Python 3.11), through a module 20.


@final
class Denial(msgspec.Struct, frozen=True):
    """A check's "no": what it saw, in words, and whether another intent could pass."""

    finding: Finding
    message: str
    retry: Retry = Retry.CHANGED
    retry_at_ns: Ns | None = None


class Terms(msgspec.Struct, frozen=True, gc=False):
    """The prices an entry would have; all on the venue's ticks. `unit_risk` includes fees both ways."""

    limit_price: Price
    stop_loss: Price
    take_profit: Price
    worst_exit: Price
    unit_risk: Price
    unit_reward: Price


class Case:
    """One intent before the guardian. `arming`: only whether it may wait for its touch is asked. `priced`: its market is
    looked at now, and not only when `price` is called.

    `two_sided` is the quote's bid and ask where both exist and neither lock nor cross; `quote_age_ns` its age by the
    rules of `freshness`; `terms` None where there is no market to take prices from, or no tick left of them.
    `live`: all trades that are committed. They count against `account`, its limits as a whole; where the agent has
    `limits` of its own, its own count against those too. A symbol's tighter limits are in both: while it is judged,
    nobody may have used up more.
    """

    __slots__ = (
        "account", "agent", "arming", "asset", "asset_class", "deadline_ns", "has_own_limits", "intent",
        "is_crypto", "is_long", "limits", "live", "may", "money", "new", "now_ns", "quote", "quote_age_ns", "state",
        "terms", "two_sided",
    )  # fmt: skip

    def __init__(
        self,
        state: State,
        intent: Intent,
        agent: str,
        now_ns: int,
        deadline_ns: int,
        *,
        arming: bool,
        new: bool = True,
        priced: bool = True,
    ) -> None:
        symbol = intent.asset
        self.state = state
        self.intent = intent
        self.agent = agent
        self.now_ns = now_ns
        self.deadline_ns = deadline_ns
        self.arming = arming
        self.new = new
        self.is_long: bool = intent.direction is _LONG
        self.is_crypto: bool = "/" in symbol
        self.asset_class: AssetClass = _CRYPTO if self.is_crypto else _EQUITY
        rules = state.limits
        self.limits: Limits = rules.effective(agent, symbol)
        self.has_own_limits: bool = agent in rules.agents
        self.account: Limits = rules.of_symbol(symbol) if self.has_own_limits else self.limits
        self.may: Capabilities = rules.may(agent)
        self.live: Sum = state.stakes.total()
        self.asset: Asset | None = state.assets.get(symbol)
        self.quote: QuoteView | None = None
        self.quote_age_ns: int | None = None
        self.two_sided: tuple[Price, Price] | None = None
        self.terms: Terms | None = None
        self.money: Money | None = None  # counted once, by the first check that asks
        if priced:
            self.price()

    def price(self) -> None:
        """Look at the market, and make the order's prices of it."""
        symbol, market = self.intent.asset, self.state.market
        index = market.index.get(symbol)
        if index is not None and (quote := market.quote(index)) is not None:
            self.quote, bid, ask = quote, quote.bid, quote.ask
            self.quote_age_ns = quote_age_ns(self.state, symbol, quote, self.now_ns)
            if bid is not None and ask is not None and bid < ask:
                self.two_sided = bid, ask
        if self.arming:  # the order would be made when the price is there: judge it as if it were
            bid = ask = self.intent.trigger_price
        elif self.two_sided is not None:
            bid, ask = self.two_sided
        else:
            return
        terms = order_terms(self.intent, self.asset_class, self.asset, bid, ask, self.limits)
        if terms.limit_price > 0:  # a price below the first tick is no price
            self.terms = terms

    @property
    def wall_ns(self) -> int:
        return self.now_ns + self.state.wall_offset_ns


def order_terms(
    intent: Intent, asset_class: AssetClass, asset: Asset | None, bid: int, ask: int, limits: Limits
) -> Terms:
    """Return an entry's prices against a quote, rounded to the tick: the limit away from the market's price,
    stop and target towards the entry."""
    increment = None if asset is None else asset.price_increment
    is_long, is_crypto = intent.direction is _LONG, asset_class is _CRYPTO
    stop: int = intent.stop_loss
    target: int = intent.take_profit
    slip = limits.max_slippage_pct
    if is_long:
        limit = min(intent.trigger_price, ask) * (NANO + slip) // NANO
        limit -= limit % price_tick(asset_class, limit, increment)
        stop += -stop % price_tick(asset_class, stop, increment)
        target -= target % price_tick(asset_class, target, increment)
    else:
        limit = -(-max(intent.trigger_price, bid) * (NANO - slip) // NANO)
        limit += -limit % price_tick(asset_class, limit, increment)
        stop -= stop % price_tick(asset_class, stop, increment)
        target += -target % price_tick(asset_class, target, increment)
    worst: int = protective_limit(stop, limits, increment, long=is_long) if is_crypto else stop
    risk, reward = (limit - worst, target - limit) if is_long else (worst - limit, limit - target)
    if fee := fee_rate(asset_class):
        risk, reward = risk + mul_ceil(limit + worst, fee), reward - mul_ceil(limit + target, fee)
    return Terms(Price(limit), Price(stop), Price(target), Price(worst), Price(risk), Price(reward))


def protective_limit(stop: int, limits: Limits, increment: int | None, *, long: bool) -> Price:
    """Return the limit of a crypto protective stop-limit: `stop_limit_offset` beyond the stop."""
    tick = increment or 1
    if long:
        return Price(floor_to(stop * (NANO - limits.stop_limit_offset) // NANO, tick))
    return Price(ceil_to(-(-stop * (NANO + limits.stop_limit_offset) // NANO), tick))


def seconds_text(ns: int) -> str:
    """Return a duration in seconds with at most three decimals."""
    return f"{ns / NS_PER_S:.3f}".rstrip("0").rstrip(".")
