"""What is being judged: one intent, the limits in force for it, and the market it meets.

Owns the numbers every check shares, computed once: reference prices, the limit, the rounded stop and target,
the worst exit and the risk of one unit (the contract's §3). May not judge and may not change state.
"""

from __future__ import annotations

import msgspec

from hands.core.events import Asset
from hands.core.freshness import quote_age_ns
from hands.core.intents import Intent
from hands.core.limits import Limits
from hands.core.market import QuoteView
from hands.core.state import State
from hands.core.ticket import Finding, Sizing
from hands.core.units import NANO, NS_PER_S, Ns, Price, ceil_to, floor_to, mul_ceil
from hands.core.venue_rules import fee_rate, price_tick
from hands.core.vocab import AssetClass, Retry, Side


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """A check's "no": what it saw, in words, and whether another intent could pass."""

    finding: Finding
    message: str
    retry: Retry = Retry.CHANGED
    retry_at_ns: Ns | None = None


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The prices an entry would have; all on the venue's ticks. `unit_risk` includes fees both ways."""

    limit_price: Price
    stop_loss: Price
    take_profit: Price
    worst_exit: Price
    unit_risk: Price
    unit_reward: Price


class Case:
    """One intent before the guardian. `arming`: only whether it may wait for its touch is asked."""

    __slots__ = (
        "agent", "arming", "asset", "deadline_ns", "intent", "limits", "new", "now_ns", "quote", "sizing", "state",
        "terms",
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
    ) -> None:
        self.state = state
        self.intent = intent
        self.agent = agent
        self.now_ns = now_ns
        self.deadline_ns = deadline_ns
        self.arming = arming
        self.new = new
        self.limits: Limits = state.limits.effective(agent, intent.asset)
        self.asset: Asset | None = state.assets.get(intent.asset)
        index = state.market.index.get(intent.asset)
        self.quote: QuoteView | None = None if index is None else state.market.quote(index)
        self.terms: Terms | None = self._terms()
        self.sizing: Sizing | None = None  # computed once, by the first check that asks

    @property
    def wall_ns(self) -> int:
        return self.now_ns + self.state.wall_offset_ns

    @property
    def is_crypto(self) -> bool:
        return "/" in self.intent.asset

    @property
    def asset_class(self) -> AssetClass:
        return AssetClass.CRYPTO if self.is_crypto else AssetClass.EQUITY

    @property
    def side(self) -> Side:
        return Side.BUY if self.intent.is_long else Side.SELL

    @property
    def two_sided(self) -> tuple[Price, Price] | None:
        """The quote's bid and ask where both exist and do not lock or cross."""
        quote = self.quote
        if quote is None or quote.bid is None or quote.ask is None or quote.bid >= quote.ask:
            return None
        return quote.bid, quote.ask

    @property
    def quote_age_ns(self) -> int | None:
        """How old the quote is, by the rules of `freshness`."""
        if self.quote is None:
            return None
        return quote_age_ns(self.state, self.intent.asset, self.quote, self.now_ns)

    def _terms(self) -> Terms | None:
        """Return the order's prices; None where there is no market to take them from, or no tick left of them."""
        intent = self.intent
        if self.arming:  # the order would be made when the price is there: judge it as if it were
            bid = ask = intent.trigger_price
        elif self.two_sided is not None:
            bid, ask = self.two_sided
        else:
            return None
        terms = order_terms(intent, self.asset_class, self.asset, bid, ask, self.limits)
        return terms if terms.limit_price > 0 else None  # a price below the first tick is no price


def order_terms(
    intent: Intent, asset_class: AssetClass, asset: Asset | None, bid: int, ask: int, limits: Limits
) -> Terms:
    """Return an entry's prices against a quote, rounded to the tick: the limit away from the market's price,
    stop and target towards the entry."""
    increment = None if asset is None else asset.price_increment

    def floor_tick(price: int) -> Price:
        return Price(floor_to(price, price_tick(asset_class, price, increment)))

    def ceil_tick(price: int) -> Price:
        return Price(ceil_to(price, price_tick(asset_class, price, increment)))

    slip = limits.max_slippage_pct
    if intent.is_long:
        limit = floor_tick(min(intent.trigger_price, ask) * (NANO + slip) // NANO)
        stop, target = ceil_tick(intent.stop_loss), floor_tick(intent.take_profit)
        worst = (
            stop if asset_class is AssetClass.EQUITY else protective_limit(stop, limits, increment, long=True)
        )
    else:
        limit = ceil_tick(-(-max(intent.trigger_price, bid) * (NANO - slip) // NANO))
        stop, target = floor_tick(intent.stop_loss), ceil_tick(intent.take_profit)
        worst = (
            stop
            if asset_class is AssetClass.EQUITY
            else protective_limit(stop, limits, increment, long=False)
        )
    fee = fee_rate(asset_class)
    sign = 1 if intent.is_long else -1
    return Terms(
        limit_price=limit,
        stop_loss=stop,
        take_profit=target,
        worst_exit=worst,
        unit_risk=Price(sign * (limit - worst) + mul_ceil(limit + worst, fee)),
        unit_reward=Price(sign * (target - limit) - mul_ceil(limit + target, fee)),
    )


def protective_limit(stop: int, limits: Limits, increment: int | None, *, long: bool) -> Price:
    """Return the limit of a crypto protective stop-limit: `stop_limit_offset` beyond the stop."""
    tick = increment or 1
    if long:
        return Price(floor_to(stop * (NANO - limits.stop_limit_offset) // NANO, tick))
    return Price(ceil_to(-(-stop * (NANO + limits.stop_limit_offset) // NANO), tick))


def seconds_text(ns: int) -> str:
    """Return a duration in seconds with at most three decimals."""
    return f"{ns / NS_PER_S:.3f}".rstrip("0").rstrip(".")
