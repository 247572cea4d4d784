"""The guardian's checks on the document, on the trading state and on the market: each a small pure function.

Owns what each check looks at and how its "no" is worded. Every check takes the `Case` and returns the `Finding`
it passed with, or the `Denial` it fails with; none changes anything. Money and counts are in
`hands.core.budgets`; the order of all checks is in `hands.core.risk`.
"""

from __future__ import annotations

from hands.core.case import Case, Denial, seconds_text
from hands.core.events import Link
from hands.core.freshness import halt_of
from hands.core.limits import Limits
from hands.core.state import State
from hands.core.ticket import Finding, Form
from hands.core.units import CENT, NANO, decimal_text, ratio_of, ratio_up
from hands.core.venue_rules import illegal
from hands.core.vocab import AssetClass, OrderClass, OrderType, Retry, TimeInForce, TradingState

Result = Finding | Denial


def _deny(
    finding: Finding, message: str, retry: Retry = Retry.CHANGED, retry_at_ns: int | None = None
) -> Denial:
    return Denial(finding=finding, message=message, retry=retry, retry_at_ns=retry_at_ns)  # type: ignore[arg-type]


# --- the agent and its document ----------------------------------------------------------------------------


def agent_latched(case: Case) -> Result:
    book = case.state.agents.get(case.agent)
    faults, most = (0 if book is None else book.faults), case.limits.rejections_latch
    latched = book is not None and book.latched
    finding = Finding("agent_latched", not latched, faults, most, Form.COUNT)
    if latched:
        return _deny(
            finding, f"agent {case.agent} is latched after {faults} faulty documents in a row", Retry.AFTER
        )
    return finding


def duplicate(case: Case) -> Result:
    seen = case.new and case.intent.intent_id in case.state.seen
    finding = Finding("duplicate", not seen, case.intent.intent_id)
    return _deny(finding, "this intent_id has been judged before", Retry.CHANGED) if seen else finding


def ttl(case: Case) -> Result:
    """Deadline = min(timestamp, received) + ttl_seconds; at the deadline it is over."""
    age = case.now_ns - (case.deadline_ns - case.intent.ttl_ns)
    finding = Finding("ttl", case.now_ns < case.deadline_ns, age, case.intent.ttl_ns, Form.SECONDS)
    if not finding.ok:
        return _deny(
            finding,
            f"the intent is {seconds_text(age)} s old; its ttl_seconds is {seconds_text(case.intent.ttl_ns)}",
        )
    return finding


def future_timestamp(case: Case) -> Result:
    ahead, most = case.intent.timestamp_ns - case.wall_ns, case.limits.clock_skew_max_ms
    finding = Finding("future_timestamp", ahead <= most, max(0, ahead), most, Form.SECONDS)
    if not finding.ok:
        return _deny(
            finding, f"timestamp is {seconds_text(ahead)} s in the future; {seconds_text(most)} s is allowed"
        )
    return finding


def ttl_length(case: Case) -> Result:
    asked, most, name = case.intent.ttl_ns, case.limits.ttl_seconds, "ttl_seconds"
    if asked <= most and case.intent.arm_ns is not None:
        asked, most, name = case.intent.arm_ns, case.limits.max_arm_seconds, "arm_seconds"
    finding = Finding("ttl_length", asked <= most, asked, most, Form.SECONDS)
    if not finding.ok:
        return _deny(finding, f"{name} is {seconds_text(asked)}; at most {seconds_text(most)} is allowed")
    return finding


def halted(case: Case) -> Result:
    state = case.state.trading_state
    finding = Finding("halted", state is not TradingState.HALTED, state)
    return finding if finding.ok else _deny(finding, f"trading is halted: {_reasons(case)}", Retry.AFTER)


def _reasons(case: Case) -> str:
    return ", ".join(
        f"{reason.code} ({reason.detail})" if reason.detail else reason.code
        for _, reason in sorted(case.state.reasons.items())
    )


def missing_for_ready(state: State, now_ns: int, limits: Limits, *, is_crypto: bool) -> str | None:
    """Return what entries still wait for, None where nothing is missing."""
    if not state.reconciled:
        return "not yet reconciled with the venue"
    if state.stopping:
        return "the engine is stopping"
    if (account := state.account) is None or now_ns - account.asked_ns > limits.account_age_max_ms:
        return "no fresh account from the venue"
    if not state.links.get(Link.TRADE_UPDATES):
        return "the trade stream is down"
    if not state.links.get(Link.ORDER_ENTRY):
        return "order entry is down"
    if account.trading_blocked or account.account_blocked or account.suspended_by_user:
        return "the venue has blocked trading on this account"
    if account.status != "ACTIVE" or (is_crypto and account.crypto_status not in ("", "ACTIVE")):
        return f"the account is {account.status or 'not active'}"
    return None


def ready(case: Case) -> Result:
    account = case.state.account
    age = None if account is None else case.now_ns - account.asked_ns
    missing = missing_for_ready(case.state, case.now_ns, case.limits, is_crypto=case.is_crypto)
    if missing is None:
        return Finding("ready", True, "ready", age_ns=age)
    finding = Finding("ready", False, missing, age_ns=age)
    return _deny(finding, f"not ready: {missing}", Retry.AFTER)


def reduce_only(case: Case) -> Result:
    state = case.state.trading_state
    finding = Finding("reduce_only", state is TradingState.ACTIVE, state)
    return (
        finding
        if finding.ok
        else _deny(finding, f"only reductions are allowed: {_reasons(case)}", Retry.AFTER)
    )


def symbol_allowed(case: Case) -> Result:
    allowed = case.intent.asset in case.state.limits.allow
    finding = Finding("symbol_allowed", allowed, case.intent.asset, ", ".join(case.state.limits.allow)[:200])
    return finding if allowed else _deny(finding, f"{case.intent.asset} is not on the allow-list")


def asset_tradable(case: Case) -> Result:
    asset = case.asset
    status = "unknown to the venue" if asset is None else asset.status
    tradable = asset is not None and asset.status == "active" and asset.tradable
    finding = Finding(
        "asset_tradable", tradable, status if not tradable or asset is None else "active", "active"
    )
    return (
        finding
        if tradable
        else _deny(finding, f"{case.intent.asset} cannot be traded at the venue: {status}")
    )


def trading_halt(case: Case) -> Result:
    """A halted symbol cannot be entered: not the document's fault, and over some time."""
    halt = halt_of(case.state, case.intent.asset)
    if halt is None:
        return Finding("trading_halt", True, "not halted")
    since = case.now_ns - halt.since_ns
    message = f"{case.intent.asset} has been halted at the venue for {seconds_text(since)} s: {halt.words}"
    return _deny(Finding("trading_halt", False, halt.words), message, Retry.AFTER)


def short_allowed(case: Case) -> Result:
    if case.intent.is_long:
        return Finding("short_allowed", True, "LONG")
    account, asset = case.state.account, case.asset
    if not case.state.limits.allow_short:
        missing = "allow_short is false"
    elif case.is_crypto:
        missing = "crypto cannot be sold short"
    elif account is None or not account.shorting_enabled:
        missing = "the account may not short"
    elif asset is None or not asset.shortable:
        missing = "the asset cannot be borrowed"
    else:
        return Finding("short_allowed", True, "SHORT")
    return _deny(Finding("short_allowed", False, missing), f"no short sales: {missing}", Retry.NEVER)


def confidence(case: Case) -> Result:
    found, least = case.intent.confidence, case.limits.min_confidence
    finding = Finding("confidence", found >= least, found, least, Form.RATIO)
    if not finding.ok:
        return _deny(finding, f"confidence {decimal_text(found)} is below {decimal_text(least)}")
    return finding


def geometry(case: Case) -> Result:
    """The document's own numbers: stop and target on opposite sides of the trigger, a stop where it can help."""
    intent = case.intent
    low, high = (
        (intent.stop_loss, intent.take_profit) if intent.is_long else (intent.take_profit, intent.stop_loss)
    )
    ok = low < intent.trigger_price < high
    shape = (
        "stop_loss < trigger_price < take_profit"
        if intent.is_long
        else "take_profit < trigger_price < stop_loss"
    )
    found = (
        f"stop {decimal_text(intent.stop_loss)}, trigger {decimal_text(intent.trigger_price)}, target "
        + (decimal_text(intent.take_profit))
    )
    finding = Finding("geometry", ok, found, shape)
    return finding if ok else _deny(finding, f"a {intent.direction} needs {shape}; found {found}")


# --- the session and the market ----------------------------------------------------------------------------


def session(case: Case) -> Result:
    if case.is_crypto:
        return Finding("session", True, "24/7")
    venue, rules, now = case.state.session, case.state.limits.session, case.now_ns
    if venue is None:
        return _deny(Finding("session", False, "unknown"), "the venue's clock is not known", Retry.AFTER)
    if not venue.is_open or now >= venue.next_close_ns:
        finding = Finding("session", False, "closed", "open")
        return _deny(finding, "the regular session is closed", Retry.AFTER, venue.next_open_ns)
    since_open = None if venue.open_ns is None else now - venue.open_ns
    if rules.no_entry_first_s and (since_open is None or since_open < rules.no_entry_first_s):
        finding = Finding("session", False, since_open, rules.no_entry_first_s, Form.SECONDS)
        after = None if venue.open_ns is None else venue.open_ns + rules.no_entry_first_s
        return _deny(
            finding, f"no entries in the first {seconds_text(rules.no_entry_first_s)} s", Retry.AFTER, after
        )
    left = venue.next_close_ns - now
    finding = Finding("session", left > rules.no_entry_last_s, left, rules.no_entry_last_s, Form.SECONDS)
    if not finding.ok:
        message = f"no entries in the last {seconds_text(rules.no_entry_last_s)} s of the session"
        return _deny(finding, message, Retry.AFTER, venue.next_open_ns)
    return finding


def market_data(case: Case) -> Result:
    quote = case.quote
    if case.two_sided is not None:
        return Finding("market_data", True, "two-sided")
    if quote is None:
        found = "no quote yet"
    elif quote.bid is None or quote.ask is None:
        found = "one-sided"
    else:
        found = f"{'locked' if quote.bid == quote.ask else 'crossed'} at {decimal_text(quote.bid)}"
    return _deny(Finding("market_data", False, found), f"the market cannot be priced: {found}", Retry.AFTER)


def unpriced(case: Case, check: str) -> Denial:
    """Say no for a check that needs the order's prices where there are none: no market, or a limit of nothing."""
    no_market = market_data(case)
    if isinstance(no_market, Denial):
        return no_market
    finding = Finding(check, False, "the limit rounds to nothing")
    return _deny(
        finding, f"no order can be priced from trigger_price {decimal_text(case.intent.trigger_price)}"
    )


def quote_age(case: Case) -> Result:
    known = case.quote_age_ns
    age = known if known is not None else case.limits.quote_age_max_ms + 1
    finding = Finding(
        "quote_age", age <= case.limits.quote_age_max_ms, age, case.limits.quote_age_max_ms, Form.SECONDS, age
    )
    if not finding.ok:
        return _deny(finding, f"the last quote is {seconds_text(age)} s old", Retry.AFTER)
    return finding


def spread(case: Case) -> Result:
    sides = case.two_sided
    if sides is None:
        return unpriced(case, "spread")
    bid, ask = sides
    found = ratio_up(2 * (ask - bid), bid + ask)
    finding = Finding(
        "spread",
        found <= case.limits.max_spread,
        found,
        case.limits.max_spread,
        Form.RATIO,
        case.quote_age_ns,
    )
    if not finding.ok:
        return _deny(finding, f"the spread is {decimal_text(found)} of the mid", Retry.AFTER)
    return finding


def collar(case: Case) -> Result:
    sides = case.two_sided
    if sides is None:
        return unpriced(case, "collar")
    twice_mid = sides[0] + sides[1]
    off = ratio_up(abs(2 * case.intent.trigger_price - twice_mid), twice_mid)
    finding = Finding(
        "collar",
        off <= case.limits.price_collar,
        off,
        case.limits.price_collar,
        Form.RATIO,
        case.quote_age_ns,
    )
    if not finding.ok:
        mid = decimal_text(twice_mid // 2)
        return _deny(
            finding, f"trigger_price {decimal_text(case.intent.trigger_price)} is too far from the mid {mid}"
        )
    return finding


def slippage(case: Case) -> Result:
    """The market must not already be beyond the limit."""
    sides, terms = case.two_sided, case.terms
    if sides is None or terms is None:
        return unpriced(case, "slippage")
    bid, ask = sides
    market = ask if case.intent.is_long else bid
    beyond = market > terms.limit_price if case.intent.is_long else market < terms.limit_price
    finding = Finding("slippage", not beyond, market, terms.limit_price, Form.PRICE, case.quote_age_ns)
    if beyond:
        side = "ask" if case.intent.is_long else "bid"
        return _deny(
            finding,
            f"the {side} {decimal_text(market)} is beyond the limit {decimal_text(terms.limit_price)}",
        )
    return finding


def geometry_market(case: Case) -> Result:
    """Against the market: a LONG's stop below both limit and bid, its target above both limit and ask."""
    sides, terms = case.two_sided, case.terms
    if sides is None or terms is None:
        return unpriced(case, "geometry_market")
    bid, ask = sides
    if case.intent.is_long:
        ok = terms.stop_loss < min(terms.limit_price, bid) and terms.take_profit > max(terms.limit_price, ask)
    else:
        ok = terms.stop_loss > max(terms.limit_price, ask) and terms.take_profit < min(terms.limit_price, bid)
    found = f"stop {decimal_text(terms.stop_loss)}, target {decimal_text(terms.take_profit)}"
    market = f"limit {decimal_text(terms.limit_price)}, bid {decimal_text(bid)}, ask {decimal_text(ask)}"
    finding = Finding("geometry_market", ok, found, market, age_ns=case.quote_age_ns)
    return finding if ok else _deny(finding, f"{found} do not enclose {market}")


def stop_far(case: Case) -> Result:
    terms, most = case.terms, case.limits.max_stop_distance
    if terms is None:
        return unpriced(case, "stop_far")
    found = ratio_up(abs(terms.limit_price - terms.stop_loss), terms.limit_price)
    finding = Finding("stop_far", found <= most, found, most, Form.RATIO)
    return finding if finding.ok else _deny(finding, f"the stop is {decimal_text(found)} of the limit away")


def stop_close(case: Case) -> Result:
    terms, least = case.terms, case.limits.min_stop_distance
    if terms is None:
        return unpriced(case, "stop_close")
    found = ratio_of(abs(terms.limit_price - terms.stop_loss), terms.limit_price)
    finding = Finding("stop_close", found >= least, found, least, Form.RATIO)
    return (
        finding if finding.ok else _deny(finding, f"the stop is only {decimal_text(found)} of the limit away")
    )


def reward_risk(case: Case) -> Result:
    """(target - limit) / (limit - worst exit), both after fees."""
    terms = case.terms
    if terms is None:
        return unpriced(case, "reward_risk")
    found = ratio_of(terms.unit_reward, terms.unit_risk) if terms.unit_risk > 0 else 0
    least = case.limits.min_reward_risk
    finding = Finding("reward_risk", terms.unit_risk > 0 and found >= least, found, least, Form.RATIO)
    if not finding.ok:
        return _deny(
            finding, f"reward to risk is {decimal_text(found)} after fees; at least {decimal_text(least)}"
        )
    return finding


# --- the venue ---------------------------------------------------------------------------------------------


def entry_shape(case: Case) -> tuple[OrderClass, OrderType, TimeInForce]:
    """Return how an entry is sent: a GTC bracket where the venue keeps one (its legs then outlive the day)."""
    order_class = OrderClass.SIMPLE if case.is_crypto else OrderClass.BRACKET
    return order_class, OrderType.LIMIT, TimeInForce.GTC


def venue_rule(case: Case) -> Result:
    order_class, order_type, tif = entry_shape(case)
    problem = illegal(case.asset_class, order_class, order_type, tif, NANO, short=not case.intent.is_long)
    terms = case.terms
    if problem is None and case.intent.trailing_stop_pct is not None:
        problem = "trailing stops are not offered by this version"
    if problem is None and terms is not None and case.asset_class is AssetClass.EQUITY:
        nearest = min(abs(terms.limit_price - terms.stop_loss), abs(terms.limit_price - terms.take_profit))
        if nearest < CENT:
            problem = "the venue wants a bracket's stop and target at least 0.01 from the limit"
    if problem is None and terms is not None and terms.worst_exit <= 0:
        problem = "the protective order's price would not be positive"
    finding = Finding("venue_rule", problem is None, f"{case.asset_class} {order_class} {order_type} {tif}")
    return finding if problem is None else _deny(finding, problem)
