"""A second guardian, written from the contract alone: slow, exact, and without any of the engine's code.

Owns `judge`: a scenario in, the outcome that the contract's sections 3 to 5 ask for. May not import the engine. The one
idea: every sentence of the contract is one line here, in the contract's order, in decimals of 60 digits, added up anew
for every document. Where the contract leaves a choice, a comment says which reading was taken and where it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

from tests.oracle.reckoning import (
    CRYPTO_ORDER_MOST,
    NANO,
    SHORT_EQUITY_LEAST,
    Prices,
    alive,
    budget_left,
    buying_power,
    ceil_to,
    equity,
    exposure_left,
    floor_to,
    limit,
    loss_left,
    of,
    own,
    scopes,
)
from tests.oracle.scenario import MS, SECOND, Agent, Document, Outcome, Quote, Scenario

D = Decimal

# --- the checks, in the contract's order -----------------------------------------------------------------------


def age_of(s: Scenario, quote: Quote) -> int:
    """From receipt; older where the venue's stamp, moved to our clock, says so (docs/market-data.md)."""
    ahead = s.session.clock_ahead_max_ns if s.session is not None else None
    bound = (0 if ahead is None else ahead) + SECOND
    offset = bound if s.offset_ns is None else min(s.offset_ns, bound)
    age = max(quote.age_ns, quote.age_ns + quote.lag_ns - offset)
    return age if quote.asked_ago_ns is None else min(age, quote.asked_ago_ns)


def refusals(s: Scenario) -> Iterator[tuple[str, bool]]:
    doc = s.document
    yield "UNKNOWN_AGENT", s.agent != "default" and s.agent not in s.agents
    expires = s.agents.get(s.agent, Agent()).expires_in_ns
    yield "UNAUTHORISED", expires is not None and expires <= 0
    yield "DUPLICATE_INTENT", doc.number in s.judged_before


def about_the_document(s: Scenario) -> Iterator[tuple[str, bool]]:
    doc = s.document
    life = doc.ttl_s * SECOND
    arm = doc.arm_s if doc.arm_s is not None else doc.ttl_s
    yield "AGENT_LATCHED", s.agent in s.latched
    yield "EXPIRED", max(doc.age_ns, 0) >= life
    yield "FUTURE_TIMESTAMP", -doc.age_ns > own(s, "clock_skew_max_ms") * MS
    yield "TTL_TOO_LONG", doc.ttl_s > own(s, "ttl_seconds")
    yield "TTL_TOO_LONG", doc.touch and arm > own(s, "max_arm_seconds")


def about_trading(s: Scenario) -> Iterator[tuple[str, bool]]:
    doc, account = s.document, s.account
    thing = s.instruments.get(doc.asset)
    agent = s.agents.get(s.agent, Agent())
    yield "HALTED", "HALTED" in s.reasons.values()
    yield "NOT_READY", not s.reconciled or bool(s.links_down & {"trade_updates", "order_entry"})
    yield "NOT_READY", account is None or s.day.equity is None
    assert account is not None
    yield "NOT_READY", account.age_ns > own(s, "account_age_max_ms") * MS
    yield "NOT_READY", account.status != "ACTIVE" or account.trading_blocked or account.account_blocked
    yield "NOT_READY", account.suspended
    # the contract names no code for this one: an account's flag, like the others
    yield "NOT_READY", doc.crypto and account.crypto_status != "ACTIVE"
    yield "REDUCE_ONLY", "REDUCE_ONLY" in s.reasons.values()
    yield "SYMBOL_NOT_ALLOWED", doc.asset not in s.allow
    yield "SYMBOL_NOT_ALLOWED", agent.symbols is not None and doc.asset not in agent.symbols
    yield "ASSET_NOT_TRADABLE", thing is None or thing.status != "active" or not thing.tradable
    assert thing is not None
    yield "ASSET_NOT_TRADABLE", thing.halted
    if not doc.long:
        yield "SHORT_NOT_ALLOWED", not s.allow_short or doc.crypto or "SHORT" not in agent.directions
        yield "SHORT_NOT_ALLOWED", not (thing.shortable and thing.easy_to_borrow and account.shorting)
        yield "SHORT_NOT_ALLOWED", account.multiplier <= 1 or account.equity < SHORT_EQUITY_LEAST
    yield "LONG_NOT_ALLOWED", doc.long and "LONG" not in agent.directions
    yield "CONFIDENCE_TOO_LOW", doc.confidence < own(s, "min_confidence")
    sides = (doc.stop, doc.trigger, doc.target) if doc.long else (doc.target, doc.trigger, doc.stop)
    yield "BRACKET_GEOMETRY", not sides[0] < sides[1] < sides[2]
    if not doc.crypto:
        yield "SESSION_CLOSED", s.session is None
        assert s.session is not None
        opened, closes = s.session.opened_ago_ns, s.session.closes_in_ns
        yield "SESSION_CLOSED", not s.session.is_open or closes <= 0
        yield "SESSION_CLOSED", closes <= s.no_entry_last_s * SECOND
        if s.no_entry_first_s:
            yield "SESSION_CLOSED", opened is None or opened < s.no_entry_first_s * SECOND


def about_the_market(s: Scenario) -> Iterator[tuple[str, bool]]:
    """What must be known of the market; a touch waits for its price, and how wide the market is then is asked then."""
    doc, quote = s.document, s.quotes.get(s.document.asset)
    yield "NO_MARKET_DATA", quote is None or not (0 < quote.bid < quote.ask)
    assert quote is not None
    yield (
        "NO_MARKET_DATA",
        -quote.lag_ns > 60 * SECOND,
    )  # stamped so far ahead of its receipt, it never was the market
    yield "STALE_MARKET_DATA", age_of(s, quote) > own(s, "quote_age_max_ms") * MS
    mid = (quote.bid + quote.ask) / 2
    yield "SPREAD_TOO_WIDE", not doc.touch and quote.ask - quote.bid > own(s, "max_spread") * mid
    yield "PRICE_COLLAR", abs(doc.trigger - mid) > own(s, "price_collar") * mid


def about_the_order(s: Scenario) -> Iterator[tuple[str, bool]]:
    """The order's own numbers; a touch is asked about the order it would be if the market stood at its trigger."""
    doc, quote = s.document, s.quotes[s.document.asset]
    p = Prices(s, Quote(doc.trigger, doc.trigger) if doc.touch else quote)
    distance = abs(p.limit - p.stop)
    if doc.touch:
        pass
    elif p.long:
        yield "SLIPPAGE", quote.ask > p.limit
        yield (
            "BRACKET_GEOMETRY",
            not (p.stop < min(p.limit, quote.bid) and p.target > max(p.limit, quote.ask)),
        )
    else:
        yield "SLIPPAGE", quote.bid < p.limit
        yield (
            "BRACKET_GEOMETRY",
            not (p.stop > max(p.limit, quote.ask) and p.target < min(p.limit, quote.bid)),
        )
    yield "STOP_TOO_FAR", distance > own(s, "max_stop_distance") * p.limit
    yield "STOP_TOO_FAR", doc.trailing is not None and doc.trailing > own(s, "max_stop_distance")
    yield "STOP_TOO_CLOSE", distance < own(s, "min_stop_distance") * p.limit
    yield "STOP_TOO_CLOSE", doc.trailing is not None and doc.trailing < own(s, "min_stop_distance")
    # a stop that rounding has put on the limit or beyond it has no risk to hold a reward against; only a touch comes here
    yield "REWARD_RISK_TOO_LOW", p.worst >= p.limit if p.long else p.worst <= p.limit
    yield "REWARD_RISK_TOO_LOW", p.unit_reward < own(s, "min_reward_risk") * p.unit_risk


def rounded_prices(doc: Document) -> tuple[Decimal, Decimal, Decimal]:
    """Return trigger, stop and target rounded. To what, the contract leaves open: to cents, below ten dollars to nothing."""
    step = D("0.01") if doc.trigger >= 10 else NANO
    half = step / 2
    trigger, stop, target = (floor_to(price + half, step) for price in (doc.trigger, doc.stop, doc.target))
    return trigger, stop, target


def about_other_trades(s: Scenario) -> Iterator[tuple[str, bool]]:
    doc = s.document
    yield (
        "SYMBOL_BUSY",
        not doc.touch and (any(t.symbol == doc.asset for t in alive(s)) or doc.asset in s.foreign),
    )
    mine = rounded_prices(doc)
    for idea in s.ideas:
        same = (idea.symbol, idea.direction) == (doc.asset, doc.direction)
        same = same and (idea.trigger, idea.stop, idea.target) == mine
        same = same and idea.fate not in {"expired", "void"}
        yield "SEMANTIC_DUPLICATE", same and idea.ago_ns < own(s, "semantic_duplicate_s") * SECOND
    ago = s.stopped_out_ago_ns.get(doc.asset)
    yield "COOLDOWN", not doc.touch and ago is not None and ago < own(s, "cooldown_after_stop_s") * SECOND


def about_budgets(s: Scenario) -> Iterator[tuple[str, bool]]:
    """Counts and money. A touch that is armed takes none of it."""
    caps = quantities(s)
    least = Prices(s, s.quotes[s.document.asset]).smallest
    binding = next(name for name, qty in caps.items() if qty == min(caps.values()))
    too_small = CODES.get(binding, "SIZE_TOO_SMALL") if caps[binding] < least else ""
    recent = [who for ago, who in s.entries if ago < 60 * SECOND]
    for who in scopes(s):
        yield "CONCURRENT", len(of(s, who)) >= limit(s, "max_concurrent", who)
    for who in scopes(s):
        trades = sum(s.day.trades.values()) if who is None else s.day.trades.get(who, 0)
        yield "DAILY_TRADES", trades >= limit(s, "max_daily_trades", who)
    yield "DAILY_LOSS", too_small == "DAILY_LOSS"
    yield "AGENT_BUDGET", too_small == "AGENT_BUDGET"
    for who in scopes(s):
        rate = len(recent) if who is None else recent.count(who)
        yield "ORDER_RATE", rate >= limit(s, "orders_per_minute", who)
    yield too_small, too_small != ""


CODES = {
    "max_daily_loss": "DAILY_LOSS",
    "daily_notional_usd": "AGENT_BUDGET",
    "max_order_notional_usd": "ORDER_NOTIONAL",
    "max_gross_exposure": "GROSS_EXPOSURE",
    "buying_power": "BUYING_POWER",
}
"""The caps with codes of their own; the rest (risk, position, `qty`, the venue's) is SIZE_TOO_SMALL."""


def quantities(s: Scenario) -> dict[str, Decimal]:
    """Return the largest quantity that each cap allows, in whole lots: the first of the smallest binds."""
    doc, quote = s.document, s.quotes[s.document.asset]
    p = Prices(s, quote)
    e = equity(s)
    unit_power = p.limit if p.long else max(p.limit, ceil_to(quote.ask * D("1.03"), NANO))
    money = {"max_daily_loss": (min(loss_left(s, who) for who in scopes(s)), p.unit_risk)}
    left = budget_left(s)
    if left is not None:
        money["daily_notional_usd"] = left, p.limit
    money |= {
        "max_order_notional_usd": (own(s, "max_order_notional_usd"), p.limit),
        "max_gross_exposure": (min(exposure_left(s, who) for who in scopes(s)), p.limit),
        "buying_power": (buying_power(s), unit_power),
        "max_risk_per_trade": (e * own(s, "max_risk_per_trade"), p.unit_risk),
        "max_position_size": (e * own(s, "max_position_size"), p.limit),
    }
    if doc.crypto:
        money["venue"] = CRYPTO_ORDER_MOST, p.limit
    caps = {name: max(D(0), floor_to(usd, NANO)) / each for name, (usd, each) in money.items()}
    if doc.qty is not None:
        caps["qty"] = doc.qty
    return {name: floor_to(qty, p.lot) for name, qty in caps.items()}


def about_the_venue(s: Scenario) -> Iterator[tuple[str, bool]]:
    """What the venue would refuse: its brackets want a cent between stop or target and both limit and market."""
    doc, quote = s.document, s.quotes[s.document.asset]
    if not doc.crypto:
        p = Prices(s, Quote(doc.trigger, doc.trigger) if doc.touch else quote)
        low, high = sorted((p.stop, p.target))
        inner = (p.limit, p.limit) if doc.touch else (min(p.limit, quote.bid), max(p.limit, quote.ask))
        yield "VENUE_RULE", inner[0] - low < D("0.01") or high - inner[1] < D("0.01")


Part = Callable[[Scenario], Iterator[tuple[str, bool]]]
DENIALS: tuple[Part, ...] = (
    about_the_document, about_trading, about_the_market, about_the_order, about_other_trades, about_budgets,
    about_the_venue,
)  # fmt: skip
ON_ARMING = tuple(part for part in DENIALS if part is not about_budgets)
"""What is asked before a touch may wait. The contract says that arming takes no budget; the rest follows from what it is
for: what cannot be known before the price is there is asked when it is."""


def first_no(s: Scenario, parts: tuple[Part, ...]) -> str | None:
    return next((code for part in parts for code, no in part(s) if no), None)


UNKNOWN_MARKET = {"NO_MARKET_DATA", "STALE_MARKET_DATA"}


def judge(s: Scenario) -> Outcome:
    """Return what the contract says of a scenario: where the feed is alive but quiet, after one question for a quote."""
    return judge_once(asked_again(s))


def asked_again(s: Scenario) -> Scenario:
    down = ("crypto_data" if s.document.crypto else "equity_data") in s.links_down
    if s.fetched is None or down or judge_once(s).code not in UNKNOWN_MARKET:
        return s
    return replace(s, quotes=s.quotes | {s.document.asset: s.fetched})


def judge_once(s: Scenario) -> Outcome:
    refused = first_no(s, (refusals,))
    if refused is not None:
        return Outcome("REFUSED", refused, "REFUSED")
    if s.document.touch:
        no = first_no(s, ON_ARMING)
        if no is not None:
            return Outcome("REJECTED", no, "REJECTED")
        return Outcome("ACCEPTED", "OK", "ARMED") if s.fires_at is None else judge(fired(s, s.fires_at))
    no = first_no(s, DENIALS)
    if no is not None:
        return Outcome("REJECTED", no, "REJECTED")
    p = Prices(s, s.quotes[s.document.asset])
    return Outcome("ACCEPTED", "OK", "WORKING", min(quantities(s).values()), p.limit, p.stop, p.target)


def decided(s: Scenario) -> Scenario:
    """Return the scenario in which the order was approved: the touch fired, the quote fetched."""
    if s.document.touch and s.fires_at is not None:
        s = fired(s, s.fires_at)
    return asked_again(s)


def fired(s: Scenario, at: Quote) -> Scenario:
    """Return the scenario in which a touch fires: a fresh time to live, the market of then, everything judged again."""
    doc: Document = replace(s.document, touch=False, arm_s=None, age_ns=0)
    return replace(s, document=doc, quotes=s.quotes | {doc.asset: at}, fires_at=None)
