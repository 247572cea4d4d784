"""The guardian's checks on the document, on the trading state and on the market: each a small pure function.

Owns what each check looks at and how its "no" is worded. Every check takes the `Case` and returns the `Finding`
it passed with, or the `Denial` it fails with; none changes anything. A "yes" makes no text: its numbers are kept as
they are, and written out when somebody reads the receipt. What is absent never passes. Money and counts are in
`hands.core.budgets`; the order of all checks is in `hands.core.risk`.
"""

from __future__ import annotations

from hands.core.case import Case, Denial, seconds_text
from hands.core.events import Link
from hands.core.freshness import halt_of
from hands.core.limits import Limits
from hands.core.state import State
from hands.core.ticket import Finding, Form, labelled
from hands.core.units import NANO, Ns, decimal_text, div_ceil, ratio_of, ratio_up, usd_text
from hands.core.venue_rules import LEG_ROOM, SHORT_EQUITY_MIN, entry_shape, illegal, legs_room
from hands.core.vocab import AssetClass, Direction, Retry, TradingState

Result = Finding | Denial

COUNT, PRICE, RATIO, SECONDS, USD = Form.COUNT, Form.PRICE, Form.RATIO, Form.SECONDS, Form.USD
ACTIVE, HALTED = TradingState.ACTIVE, TradingState.HALTED
TRADE_UPDATES, ORDER_ENTRY = Link.TRADE_UPDATES, Link.ORDER_ENTRY
LONG, SHORT = Direction.LONG, Direction.SHORT
# A member reached through its class costs 90 ns (Python 3.11), through a module 20.

_RUNNING = Finding("halted", True, ACTIVE)
_ENTRIES = Finding("reduce_only", True, ACTIVE)
_TRADABLE = Finding("asset_tradable", True, "active", "active")
_NOT_HALTED = Finding("trading_halt", True, "not halted")
_NOT_SHORT = Finding("short_allowed", True, "LONG")
_ALWAYS_OPEN = Finding("session", True, "24/7")
_TWO_SIDED = Finding("market_data", True, "two-sided")


# --- the agent and its document ----------------------------------------------------------------------------


def agent_latched(case: Case) -> Result:
    book, most = case.state.agents.get(case.agent), case.limits.rejections_latch
    if book is None:
        return Finding("agent_latched", True, 0, most, COUNT)
    finding = Finding("agent_latched", not book.latched, book.faults, most, COUNT)
    if not finding.ok:
        message = f"agent {case.agent} is latched after {book.faults} faulty documents in a row; {most} latch"
        return Denial(finding, message, Retry.AFTER)
    return finding


def duplicate(case: Case) -> Result:
    intent_id = case.intent.intent_id
    if case.new and intent_id in case.state.seen:
        return Denial(Finding("duplicate", False, intent_id), "this intent_id has been judged before")
    return Finding("duplicate", True, intent_id)


def ttl(case: Case) -> Result:
    """Deadline = min(timestamp, received) + ttl_seconds; at the deadline it is over."""
    lives = case.intent.ttl_ns
    age = case.now_ns - (case.deadline_ns - lives)
    finding = Finding("ttl", case.now_ns < case.deadline_ns, age, lives, SECONDS)
    if not finding.ok:
        return Denial(
            finding, f"the intent is {seconds_text(age)} s old; its ttl_seconds is {seconds_text(lives)}"
        )
    return finding


def future_timestamp(case: Case) -> Result:
    wall_ns, most = case.now_ns + case.state.wall_offset_ns, case.limits.clock_skew_max_ms
    ahead = case.intent.timestamp_ns - wall_ns
    finding = Finding("future_timestamp", ahead <= most, max(0, ahead), most, SECONDS)
    if not finding.ok:
        return Denial(
            finding, f"timestamp is {seconds_text(ahead)} s in the future; {seconds_text(most)} s is allowed"
        )
    return finding


def ttl_length(case: Case) -> Result:
    """How long it may work, and of a touch how long it may wait: without `arm_seconds` as long as it may work."""
    intent, limits = case.intent, case.limits
    asked, most, name = intent.ttl_ns, limits.ttl_seconds, "ttl_seconds"
    if asked <= most and intent.entry == "touch":
        most = limits.max_arm_seconds
        if intent.arm_ns is not None:
            asked, name = intent.arm_ns, "arm_seconds"
    finding = Finding("ttl_length", asked <= most, asked, most, SECONDS)
    if not finding.ok:
        return Denial(finding, f"{name} is {seconds_text(asked)}; at most {seconds_text(most)} is allowed")
    return finding


def halted(case: Case) -> Result:
    state = case.state.trading_state
    if state is HALTED:
        return Denial(
            Finding("halted", False, state, "not HALTED"), f"trading is halted: {_reasons(case)}", Retry.AFTER
        )
    return _RUNNING if state is ACTIVE else Finding("halted", True, state)


def _reasons(case: Case) -> str:
    return ", ".join(
        f"{reason.code} ({reason.detail})" if reason.detail else reason.code
        for _, reason in sorted(case.state.reasons.items())
    )


def missing_for_ready(state: State, now_ns: int, limits: Limits, *, is_crypto: bool) -> str | None:
    """Return what entries still wait for, None where nothing is missing."""
    if not state.reconciled:
        return "not yet reconciled with the venue"
    if state.recount_due:
        return "the venue has not yet named the day's orders"
    if state.stopping:
        return "the engine is stopping"
    if (account := state.account) is None or now_ns - account.asked_ns > limits.account_age_max_ms:
        return "no fresh account from the venue"
    if not state.links.get(TRADE_UPDATES):
        return "the trade stream is down"
    if not state.links.get(ORDER_ENTRY):
        return "order entry is down"
    if account.trading_blocked or account.account_blocked or account.suspended_by_user:
        return "the venue has blocked trading on this account"
    if account.status != "ACTIVE":
        return f"the account is {account.status or 'not active'}"
    if is_crypto and account.crypto_status != "ACTIVE":
        return f"the account's crypto status is {account.crypto_status or 'not known'}"
    return None


def ready(case: Case) -> Result:
    account = case.state.account
    age = None if account is None else case.now_ns - account.asked_ns
    missing = missing_for_ready(case.state, case.now_ns, case.limits, is_crypto=case.is_crypto)
    if missing is None:
        return Finding("ready", True, "ready", age_ns=age)
    return Denial(Finding("ready", False, missing, "ready", age_ns=age), f"not ready: {missing}", Retry.AFTER)


def reduce_only(case: Case) -> Result:
    state = case.state.trading_state
    if state is ACTIVE:
        return _ENTRIES
    message = f"only reductions are allowed: {_reasons(case)}"
    return Denial(Finding("reduce_only", False, state, "ACTIVE"), message, Retry.AFTER)


def symbol_allowed(case: Case) -> Result:
    """On the account's allow-list, and among the agent's own symbols where it has some."""
    symbol, limits = case.intent.asset, case.state.limits
    own, allowed = case.may.symbols, limits.allows(symbol)
    if allowed and (own is None or symbol in own):
        return Finding("symbol_allowed", True, symbol)
    finding = Finding("symbol_allowed", False, symbol, ", ".join(limits.allow if own is None else own)[:200])
    if allowed:
        return Denial(finding, f"{symbol} is not among the symbols of agent {case.agent}")
    return Denial(finding, f"{symbol} is not on the allow-list")


def asset_tradable(case: Case) -> Result:
    asset = case.asset
    if asset is not None and asset.tradable and asset.status == "active":
        return _TRADABLE
    if asset is None:
        found = "unknown to the venue"
    else:
        found = "not tradable" if asset.status == "active" else asset.status
    finding = Finding("asset_tradable", False, found, "active")
    return Denial(finding, f"{case.intent.asset} cannot be traded at the venue: {found}")


def trading_halt(case: Case) -> Result:
    """A halted symbol cannot be entered: not the document's fault, and over some time."""
    halt = halt_of(case.state, case.intent.asset)
    if halt is None:
        return _NOT_HALTED
    since = case.now_ns - halt.since_ns
    message = f"{case.intent.asset} has been halted at the venue for {seconds_text(since)} s: {halt.words}"
    return Denial(Finding("trading_halt", False, halt.words, "not halted"), message, Retry.AFTER)


def short_allowed(case: Case) -> Result:
    """Ours to allow first, then the venue's: it lends to margin accounts, and brackets only on easy borrows."""
    if case.is_long:
        return _NOT_SHORT
    missing = _missing_for_short(case)
    if missing is None:
        return Finding("short_allowed", True, "SHORT")
    return Denial(Finding("short_allowed", False, missing), f"no short sales: {missing}", Retry.NEVER)


def _missing_for_short(case: Case) -> str | None:
    account, asset = case.state.account, case.asset
    if not case.state.limits.allow_short:
        return "allow_short is false"
    if SHORT not in case.may.directions:
        return f"agent {case.agent} may only go LONG"
    if case.is_crypto:
        return "crypto cannot be sold short"
    if account is None or not account.shorting_enabled or account.multiplier <= 1:
        return "the account may not short"
    if account.equity < SHORT_EQUITY_MIN:
        return f"the account's equity is below {usd_text(SHORT_EQUITY_MIN)} USD"
    if asset is None or not asset.shortable:
        return "the asset cannot be borrowed"
    if not asset.easy_to_borrow:
        return "the asset is hard to borrow, and the venue takes no brackets on those"
    return None


def long_allowed(case: Case) -> Result:
    """A LONG is only ever barred by the agent's own `directions`."""
    direction = case.intent.direction
    if direction is not LONG or direction in case.may.directions:
        return Finding("long_allowed", True, direction)
    missing = f"agent {case.agent} may only go SHORT"
    return Denial(Finding("long_allowed", False, missing), f"no purchases: {missing}", Retry.NEVER)


def confidence(case: Case) -> Result:
    found, least = case.intent.confidence, case.limits.min_confidence
    finding = Finding("confidence", found >= least, found, least, RATIO)
    if not finding.ok:
        return Denial(finding, f"confidence is {decimal_text(found)}; at least {decimal_text(least)}")
    return finding


def geometry(case: Case) -> Result:
    """The document's own numbers: stop and target on opposite sides of the trigger, a stop where it can help."""
    intent = case.intent
    stop, trigger, target = intent.stop_loss, intent.trigger_price, intent.take_profit
    if case.is_long:
        ok, shape = stop < trigger < target, "stop_loss < trigger_price < take_profit"
    else:
        ok, shape = target < trigger < stop, "take_profit < trigger_price < stop_loss"
    found = ("stop", stop, "trigger", trigger, "target", target)
    finding = Finding("geometry", ok, found, shape)
    return finding if ok else Denial(finding, f"a {intent.direction} needs {shape}; found {labelled(found)}")


# --- the session and the market ----------------------------------------------------------------------------


def session(case: Case) -> Result:
    if case.is_crypto:
        return _ALWAYS_OPEN
    venue, rules, now = case.state.session, case.state.limits.session, case.now_ns
    if venue is None:
        return Denial(
            Finding("session", False, "unknown", "open"), "the venue's clock is not known", Retry.AFTER
        )
    if not venue.is_open_at(now):
        finding = Finding("session", False, "closed", "open")
        return Denial(finding, "the regular session is closed", Retry.AFTER, venue.next_open_ns)
    first, last = rules.no_entry_first_s, max(rules.no_entry_last_s, rules.flatten_before_close_s)
    since_open = None if venue.open_ns is None else now - venue.open_ns
    if first and (since_open is None or since_open < first):
        finding = Finding("session", False, since_open, first, SECONDS)
        after = None if venue.open_ns is None else Ns(venue.open_ns + first)
        opened = "no one knows when" if since_open is None else f"{seconds_text(since_open)} s ago"
        message = f"the session opened {opened}; no entries in its first {seconds_text(first)} s"
        return Denial(finding, message, Retry.AFTER, after)
    left = venue.next_close_ns - now
    finding = Finding("session", left > last, left, last, SECONDS)
    if not finding.ok:
        message = (
            f"the session closes in {seconds_text(left)} s; no entries in its last {seconds_text(last)} s"
        )
        return Denial(finding, message, Retry.AFTER, venue.next_open_ns)
    return finding


def market_data(case: Case) -> Result:
    if case.two_sided is not None:
        return _TWO_SIDED
    quote = case.quote
    if quote is None:
        found = "no quote yet"
    elif quote.bid is None or quote.ask is None:
        found = "one-sided"
    else:
        found = f"{'locked' if quote.bid == quote.ask else 'crossed'} at {decimal_text(quote.bid)}"
    return Denial(
        Finding("market_data", False, found, "two-sided"),
        f"the market cannot be priced: {found}",
        Retry.AFTER,
    )


def unpriced(case: Case, check: str) -> Denial:
    """Say no for a check that needs the order's prices where there are none: no market, or a limit of nothing."""
    no_market = market_data(case)
    if isinstance(no_market, Denial):
        return no_market
    finding = Finding(check, False, "the limit rounds to nothing")
    trigger = decimal_text(case.intent.trigger_price)
    return Denial(finding, f"no order can be priced from trigger_price {trigger}")


def quote_age(case: Case) -> Result:
    age, most = case.quote_age_ns, case.limits.quote_age_max_ms
    if age is None:
        finding = Finding("quote_age", False, "no quote yet", most, SECONDS)
        return Denial(finding, "there is no quote yet", Retry.AFTER)
    finding = Finding("quote_age", age <= most, age, most, SECONDS, age)
    if not finding.ok:
        message = f"the last quote is {seconds_text(age)} s old; at most {seconds_text(most)} s is allowed"
        return Denial(finding, message, Retry.AFTER)
    return finding


def spread(case: Case) -> Result:
    sides, most = case.two_sided, case.limits.max_spread
    if sides is None:
        return unpriced(case, "spread")
    bid, ask = sides
    found = div_ceil(2 * (ask - bid) * NANO, bid + ask)
    finding = Finding("spread", found <= most, found, most, RATIO, case.quote_age_ns)
    if not finding.ok:
        message = f"the spread is {decimal_text(found)} of the mid; at most {decimal_text(most)}"
        return Denial(finding, message, Retry.AFTER)
    return finding


def collar(case: Case) -> Result:
    sides, most = case.two_sided, case.limits.price_collar
    if sides is None:
        return unpriced(case, "collar")
    twice_mid = sides[0] + sides[1]
    off = ratio_up(abs(2 * case.intent.trigger_price - twice_mid), twice_mid)
    finding = Finding("collar", off <= most, off, most, RATIO, case.quote_age_ns)
    if not finding.ok:
        trigger, mid = decimal_text(case.intent.trigger_price), decimal_text(twice_mid // 2)
        away = f"{decimal_text(off)} from the mid {mid}; at most {decimal_text(most)}"
        return Denial(finding, f"trigger_price {trigger} is {away}")
    return finding


def slippage(case: Case) -> Result:
    """The market must not already be beyond the limit."""
    sides, terms = case.two_sided, case.terms
    if sides is None or terms is None:
        return unpriced(case, "slippage")
    limit = terms.limit_price
    market = sides[1] if case.is_long else sides[0]
    ok = market <= limit if case.is_long else market >= limit
    finding = Finding("slippage", ok, market, limit, PRICE, case.quote_age_ns)
    if not ok:
        side = "ask" if case.is_long else "bid"
        return Denial(finding, f"the {side} {decimal_text(market)} is beyond the limit {decimal_text(limit)}")
    return finding


def geometry_market(case: Case) -> Result:
    """Against the market: a LONG's stop below both limit and bid, its target above both limit and ask."""
    sides, terms = case.two_sided, case.terms
    if sides is None or terms is None:
        return unpriced(case, "geometry_market")
    bid, ask = sides
    limit, stop, target = terms.limit_price, terms.stop_loss, terms.take_profit
    if case.is_long:
        ok = stop < limit and stop < bid and target > limit and target > ask
    else:
        ok = stop > limit and stop > ask and target < limit and target < bid
    found, market = ("stop", stop, "target", target), ("limit", limit, "bid", bid, "ask", ask)
    finding = Finding("geometry_market", ok, found, market, PRICE, case.quote_age_ns)
    return finding if ok else Denial(finding, f"{labelled(found)} do not enclose {labelled(market)}")


def stop_far(case: Case) -> Result:
    """The stop's distance from the limit; one that trails may not fall further behind either."""
    terms, most = case.terms, case.limits.max_stop_distance
    if terms is None:
        return unpriced(case, "stop_far")
    found = ratio_up(abs(terms.limit_price - terms.stop_loss), terms.limit_price)
    finding = Finding("stop_far", found <= most, found, most, RATIO)
    if not finding.ok:
        message = f"the stop is {decimal_text(found)} of the limit away; at most {decimal_text(most)}"
        return Denial(finding, message)
    if (trail := case.intent.trailing_stop_pct) is not None and trail > most:
        message = f"trailing_stop_pct is {decimal_text(trail)}; at most {decimal_text(most)}"
        return Denial(Finding("stop_far", False, trail, most, RATIO), message)
    return finding


def stop_close(case: Case) -> Result:
    """The stop's distance from the limit; one that trails may not come closer to the market either."""
    terms, least = case.terms, case.limits.min_stop_distance
    if terms is None:
        return unpriced(case, "stop_close")
    found = ratio_of(abs(terms.limit_price - terms.stop_loss), terms.limit_price)
    finding = Finding("stop_close", found >= least, found, least, RATIO)
    if not finding.ok:
        message = f"the stop is only {decimal_text(found)} of the limit away; at least {decimal_text(least)}"
        return Denial(finding, message)
    if (trail := case.intent.trailing_stop_pct) is not None and trail < least:
        message = f"trailing_stop_pct is {decimal_text(trail)}; at least {decimal_text(least)}"
        return Denial(Finding("stop_close", False, trail, least, RATIO), message)
    return finding


def reward_risk(case: Case) -> Result:
    """(target - limit) / (limit - worst exit), both after fees."""
    terms, least = case.terms, case.limits.min_reward_risk
    if terms is None:
        return unpriced(case, "reward_risk")
    risk = terms.unit_risk
    found = ratio_of(terms.unit_reward, risk) if risk > 0 else 0
    finding = Finding("reward_risk", risk > 0 and found >= least, found, least, RATIO)
    if not finding.ok:
        message = f"reward to risk is {decimal_text(found)} after fees; at least {decimal_text(least)}"
        return Denial(finding, message)
    return finding


# --- the venue ---------------------------------------------------------------------------------------------

ENTRY_SHAPES = {
    (kind is AssetClass.CRYPTO, long): entry_shape(kind, long=long)
    for kind in AssetClass
    for long in (True, False)
}
"""How an entry is sent, by (crypto, long)."""
ILLEGAL_ENTRIES = {key: illegal(shape) for key, shape in ENTRY_SHAPES.items()}
_SHAPED = {
    key: (Finding("venue_rule", True, shape.words), ILLEGAL_ENTRIES[key])
    for key, shape in ENTRY_SHAPES.items()
}


def venue_rule(case: Case) -> Result:
    """What the venue would refuse, whatever we think of it."""
    terms = case.terms
    if terms is None:
        return unpriced(case, "venue_rule")
    legal, problem = _SHAPED[case.is_crypto, case.is_long]
    if problem is None and not case.is_crypto:
        market = None if case.arming else case.two_sided
        stop, target = terms.stop_loss, terms.take_profit
        if legs_room(terms.limit_price, stop, target, market, long=case.is_long) < LEG_ROOM:
            problem = (
                "the venue wants a bracket's stop and target at least 0.01 from the limit and the market"
            )
    if problem is None and terms.worst_exit <= 0:
        problem = "the protective order's price would not be positive"
    return legal if problem is None else Denial(Finding("venue_rule", False, legal.observed), problem)
