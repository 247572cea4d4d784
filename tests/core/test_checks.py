"""The guardian's checks on document, state and market: each passes, passes at its boundary, and fails beyond it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from hands.core import checks, other_trades
from hands.core.case import Case, Denial
from hands.core.checks import Result
from hands.core.events import Link
from hands.core.ideas import Accepted
from hands.core.state import Seen, State
from hands.core.ticket import Finding
from hands.core.units import NS_PER_MS, NS_PER_S, Ns, nano
from hands.core.vocab import Direction, OrderStatus, Retry, TradeState, TradingState
from tests.core.world import (
    NOW,
    account,
    asset,
    case,
    halt,
    intent,
    intent_id,
    live,
    quote,
    session,
    world,
)

Row = tuple[Callable[[Case], Result], Callable[[], Case], bool]


def at(ns: int, **facts: Any) -> State:
    """Return a world `ns` later, in which nothing else has happened."""
    state = world(**facts)
    state.now_ns = Ns(NOW + ns)
    return state


def said(check: Callable[[Case], Result], asked: Case) -> tuple[bool, Finding, Denial | None]:
    """Return whether a check passed, what it found, and its denial."""
    result = check(asked)
    if isinstance(result, Denial):
        assert not result.finding.ok
        return False, result.finding, result
    assert result.ok
    return True, result, None


def faulty(faults: int, *, latched: bool) -> State:
    state = world()
    book = state.agent_book("default")
    book.faults, book.latched = faults, latched
    return state


def seen(number: int) -> State:
    state = world()
    state.seen[intent_id(number)] = Seen(sha256="", agent="other", name="x", at_ns=NOW, settled=True)
    return state


DOCUMENT: dict[str, Row] = {
    "an agent without a book": (checks.agent_latched, lambda: case(world()), True),
    "an agent with faults": (checks.agent_latched, lambda: case(faulty(19, latched=False)), True),
    "a latched agent": (checks.agent_latched, lambda: case(faulty(20, latched=True)), False),
    "a latched agent is another's business": (
        checks.agent_latched, lambda: case(faulty(20, latched=True), agent="other"), True,
    ),
    "a new id": (checks.duplicate, lambda: case(seen(2)), True),
    "an id judged before, by any agent": (checks.duplicate, lambda: case(seen(1)), False),
    "a touch that is judged again": (checks.duplicate, lambda: case(seen(1), new=False), True),
    "fresh": (checks.ttl, lambda: case(world()), True),
    "a nanosecond before the deadline": (checks.ttl, lambda: case(at(15 * NS_PER_S - 1), received_ns=NOW), True),
    "at the deadline": (checks.ttl, lambda: case(at(15 * NS_PER_S), received_ns=NOW), False),
    "back-dated, seen only now": (
        checks.ttl, lambda: case(world(), intent(timestamp="2026-01-05T14:59:45Z")), False,
    ),
    "back-dated less than its life": (
        checks.ttl, lambda: case(world(), intent(timestamp="2026-01-05T14:59:45.000000001Z")), True,
    ),
    "pre-dated lives no longer": (
        checks.ttl, lambda: case(at(15 * NS_PER_S), intent(timestamp="2026-01-05T15:00:02Z"), received_ns=NOW), False,
    ),
    "a timestamp as far ahead as allowed": (
        checks.future_timestamp, lambda: case(world(), intent(timestamp="2026-01-05T15:00:02Z")), True,
    ),
    "a timestamp a nanosecond further": (
        checks.future_timestamp, lambda: case(world(), intent(timestamp="2026-01-05T15:00:02.000000001Z")), False,
    ),
    "a timestamp of yesterday": (
        checks.future_timestamp, lambda: case(world(), intent(timestamp="2026-01-04T15:00:00Z")), True,
    ),
    "the longest life": (checks.ttl_length, lambda: case(world(), intent(ttl_seconds="15")), True),
    "a life a nanosecond longer": (
        checks.ttl_length, lambda: case(world(), intent(ttl_seconds="15.000000001")), False,
    ),
    "the longest wait": (
        checks.ttl_length, lambda: case(world(), intent(entry="touch", arm_seconds="3600"), arming=True), True,
    ),
    "a wait a nanosecond longer": (
        checks.ttl_length, lambda: case(world(), intent(entry="touch", arm_seconds="3600.000000001"), arming=True), False,
    ),
    "a wait as long as its life, and no waiting allowed": (
        checks.ttl_length, lambda: case(world(max_arm_seconds=0), intent(entry="touch"), arming=True), False,
    ),
    "no waiting allowed, none asked": (checks.ttl_length, lambda: case(world(max_arm_seconds=0)), True),
    "a long life behind a short wait": (
        checks.ttl_length, lambda: case(world(), intent(entry="touch", arm_seconds="1", ttl_seconds="16"), arming=True), False,
    ),
    "sure enough": (checks.confidence, lambda: case(world(), intent(confidence="0.6")), True),
    "a nano less sure": (checks.confidence, lambda: case(world(), intent(confidence="0.599999999")), False),
    "long geometry": (checks.geometry, lambda: case(world()), True),
    "long, stop at the trigger": (checks.geometry, lambda: case(world(), intent(stop_loss="150")), False),
    "long, stop just below": (checks.geometry, lambda: case(world(), intent(stop_loss="149.999999999")), True),
    "long, stop above": (checks.geometry, lambda: case(world(), intent(stop_loss="152")), False),
    "long, target at the trigger": (checks.geometry, lambda: case(world(), intent(take_profit="150")), False),
    "long, target just above": (checks.geometry, lambda: case(world(), intent(take_profit="150.000000001")), True),
    "long with a short's prices": (
        checks.geometry, lambda: case(world(), intent(stop_loss="155", take_profit="148")), False,
    ),
    "short geometry": (checks.geometry, lambda: case(world(), intent(direction="SHORT")), True),
    "short, stop at the trigger": (
        checks.geometry, lambda: case(world(), intent(direction="SHORT", stop_loss="150")), False,
    ),
    "short, target at the trigger": (
        checks.geometry, lambda: case(world(), intent(direction="SHORT", take_profit="150")), False,
    ),
    "short with a long's prices": (
        checks.geometry, lambda: case(world(), intent(direction="SHORT", stop_loss="148", take_profit="155")), False,
    ),
}  # fmt: skip


def blocked(**facts: Any) -> State:
    return world(account=account(**facts))


def changed(**facts: Any) -> State:
    state = world()
    for name, value in facts.items():
        setattr(state, name, value)
    return state


def linked(link: Link, up: bool | None) -> State:
    state = world()
    if up is None:
        del state.links[link]
    else:
        state.links[link] = up
    return state


SHORTS: dict[str, Any] = {"allow_short": "true"}


def with_asset(symbol: str = "AAPL", **facts: Any) -> State:
    state = world(**SHORTS)
    state.assets[symbol] = asset(symbol, **facts)
    return state


def without_asset() -> State:
    state = world()
    del state.assets["AAPL"]
    return state


STATE: dict[str, Row] = {
    "active": (checks.halted, lambda: case(world()), True),
    "reduce only is not halted": (checks.halted, lambda: case(halt(world(), TradingState.REDUCE_ONLY)), True),
    "halted": (checks.halted, lambda: case(halt(world())), False),
    "active may enter": (checks.reduce_only, lambda: case(world()), True),
    "reduce only": (checks.reduce_only, lambda: case(halt(world(), TradingState.REDUCE_ONLY)), False),
    "halted may not enter either": (checks.reduce_only, lambda: case(halt(world())), False),
    "ready": (checks.ready, lambda: case(world()), True),
    "not reconciled": (checks.ready, lambda: case(changed(reconciled=False)), False),
    "stopping": (checks.ready, lambda: case(changed(stopping=True)), False),
    "no account": (checks.ready, lambda: case(changed(account=None)), False),
    "account as old as allowed": (checks.ready, lambda: case(at(15_000 * NS_PER_MS)), True),
    "account a nanosecond older": (checks.ready, lambda: case(at(15_000 * NS_PER_MS + 1)), False),
    "trade stream down": (checks.ready, lambda: case(linked(Link.TRADE_UPDATES, False)), False),
    "trade stream never up": (checks.ready, lambda: case(linked(Link.TRADE_UPDATES, None)), False),
    "order entry down": (checks.ready, lambda: case(linked(Link.ORDER_ENTRY, False)), False),
    "a data link is the quotes' business": (checks.ready, lambda: case(linked(Link.EQUITY_DATA, False)), True),
    "trading blocked": (checks.ready, lambda: case(blocked(trading_blocked=True)), False),
    "account blocked": (checks.ready, lambda: case(blocked(account_blocked=True)), False),
    "suspended by its user": (checks.ready, lambda: case(blocked(suspended_by_user=True)), False),
    "account closed": (checks.ready, lambda: case(blocked(status="ACCOUNT_CLOSED")), False),
    "account without a status": (checks.ready, lambda: case(blocked(status="")), False),
    "crypto not enabled, equity asked": (checks.ready, lambda: case(blocked(crypto_status="INACTIVE")), True),
    "crypto not enabled": (
        checks.ready, lambda: case(blocked(crypto_status="INACTIVE"), intent(asset="SOL/USD")), False,
    ),
    "crypto status not told": (
        checks.ready, lambda: case(blocked(crypto_status=""), intent(asset="SOL/USD")), False,
    ),
    "on the list": (checks.symbol_allowed, lambda: case(world()), True),
    "not on the list": (checks.symbol_allowed, lambda: case(world(), intent(asset="TSLA")), False),
    "an empty list": (checks.symbol_allowed, lambda: case(world(allow="[]")), False),
    "the joined name of a pair": (checks.symbol_allowed, lambda: case(world(), intent(asset="SOLUSD")), False),
    "tradable": (checks.asset_tradable, lambda: case(world()), True),
    "unknown to the venue": (checks.asset_tradable, lambda: case(without_asset()), False),
    "inactive": (checks.asset_tradable, lambda: case(with_asset(status="inactive")), False),
    "not tradable": (checks.asset_tradable, lambda: case(with_asset(tradable=False)), False),
    "a long needs no borrow": (checks.short_allowed, lambda: case(blocked(shorting_enabled=False)), True),
    "a short": (checks.short_allowed, lambda: case(world(**SHORTS), intent(direction="SHORT")), True),
    "shorts are off": (checks.short_allowed, lambda: case(world(), intent(direction="SHORT")), False),
    "the account may not short": (
        checks.short_allowed,
        lambda: case(world(account=account(shorting_enabled=False), **SHORTS), intent(direction="SHORT")), False,
    ),
    "no account to ask": (
        checks.short_allowed, lambda: case(world(account=None, **SHORTS), intent(direction="SHORT")), False,
    ),
    "not to be borrowed": (
        checks.short_allowed, lambda: case(with_asset(shortable=False), intent(direction="SHORT")), False,
    ),
    "a cash account": (
        checks.short_allowed,
        lambda: case(world(account=account(multiplier=1), **SHORTS), intent(direction="SHORT")), False,
    ),
    "a margin account just large enough to short": (
        checks.short_allowed,
        lambda: case(world(account=account(multiplier=2, equity="2000"), **SHORTS), intent(direction="SHORT")), True,
    ),
    "a margin account too small to short": (
        checks.short_allowed,
        lambda: case(world(account=account(equity="1999.99"), **SHORTS), intent(direction="SHORT")), False,
    ),
    "hard to borrow": (
        checks.short_allowed, lambda: case(with_asset(easy_to_borrow=False), intent(direction="SHORT")), False,
    ),
    "hard to borrow, bought": (checks.short_allowed, lambda: case(with_asset(easy_to_borrow=False)), True),
    "crypto short": (
        checks.short_allowed, lambda: case(world(**SHORTS), intent(asset="SOL/USD", direction="SHORT")), False,
    ),
}  # fmt: skip

CLOSE = NOW + 6 * 3600 * NS_PER_S
OPEN = NOW - 1800 * NS_PER_S


def later(ns: int, symbol: str = "AAPL", **rules: Any) -> Case:
    """Return a case at time `ns` of the session, by its rules."""
    state = world(**rules)
    state.now_ns = Ns(ns)
    return case(state, intent(asset=symbol))


def market(bid: str, ask: str, symbol: str = "AAPL", direction: str = "LONG", **hard: Any) -> Case:
    """Return the example against a quote."""
    state = world(quotes={symbol: None}, **hard)
    quote(state, symbol, bid, ask)
    return case(state, intent(asset=symbol, direction=direction))


def asked_at(
    bid: str, ask: str, symbol: str = "AAPL", hard: dict[str, Any] | None = None, **changes: Any
) -> Case:
    """Return a changed intent against a quote."""
    state = world(quotes={symbol: (bid, ask)}, **(hard or {}))
    return case(state, intent(asset=symbol, **changes))


def aged(ns: int) -> Case:
    return case(at(ns))


MARKET: dict[str, Row] = {
    "in session": (checks.session, lambda: case(world()), True),
    "no word of the session": (checks.session, lambda: case(world(session=None)), False),
    "closed": (checks.session, lambda: case(world(session=session(is_open=False))), False),
    "crypto never closes": (
        checks.session, lambda: case(world(session=session(is_open=False)), intent(asset="SOL/USD")), True,
    ),
    "crypto needs no clock": (checks.session, lambda: case(world(session=None), intent(asset="SOL/USD")), True),
    "a nanosecond before the last minute": (checks.session, lambda: later(CLOSE - 60 * NS_PER_S - 1), True),
    "the last minute": (checks.session, lambda: later(CLOSE - 60 * NS_PER_S), False),
    "the close": (checks.session, lambda: later(CLOSE, no_entry_last_s="0"), False),
    "a nanosecond before the close": (checks.session, lambda: later(CLOSE - 1, no_entry_last_s="0"), True),
    "an old word of an open session": (checks.session, lambda: later(CLOSE + 1, no_entry_last_s="0"), False),
    "the first minute": (
        checks.session, lambda: later(OPEN + 60 * NS_PER_S - 1, no_entry_first_s="60"), False,
    ),
    "after the first minute": (checks.session, lambda: later(OPEN + 60 * NS_PER_S, no_entry_first_s="60"), True),
    "the first minute of who knows when": (
        checks.session,
        lambda: case(world(session=session(open_ns=None), no_entry_first_s="60")), False,
    ),
    "two sides": (checks.market_data, lambda: market("149.98", "150"), True),
    "no quote": (checks.market_data, lambda: case(world(quotes={"AAPL": None})), False),
    "no bid": (checks.market_data, lambda: market("0", "150"), False),
    "no ask": (checks.market_data, lambda: market("149.98", "0"), False),
    "locked": (checks.market_data, lambda: market("150", "150"), False),
    "crossed": (checks.market_data, lambda: market("150.01", "150"), False),
    "a NaN for a side": (checks.market_data, lambda: market("nan", "150"), False),
    "an infinite side": (checks.market_data, lambda: market("149.98", "inf"), False),
    "a fresh quote": (checks.quote_age, lambda: aged(0), True),
    "a quote as old as allowed": (checks.quote_age, lambda: aged(5_000 * NS_PER_MS), True),
    "a quote a nanosecond older": (checks.quote_age, lambda: aged(5_000 * NS_PER_MS + 1), False),
    "no quote has no age": (checks.quote_age, lambda: case(world(quotes={"AAPL": None})), False),
    "a spread at the limit": (checks.spread, lambda: market("99.75", "100.25"), True),
    "a spread a nano over": (checks.spread, lambda: market("99.75", "100.2500002"), False),
    "a spread of a coin at the limit": (checks.spread, lambda: market("99.75", "100.25", "SOL/USD"), True),
    "a spread of nothing known": (checks.spread, lambda: market("0", "150"), False),
    "a trigger at the collar above": (
        checks.collar, lambda: asked_at("149.90", "150.10", trigger_price="153", take_profit="160"), True,
    ),
    "a trigger a nano beyond the collar above": (
        checks.collar, lambda: asked_at("149.90", "150.10", trigger_price="153.00000015", take_profit="160"), False,
    ),
    "a trigger at the collar below": (
        checks.collar, lambda: asked_at("149.90", "150.10", trigger_price="147", stop_loss="140"), True,
    ),
    "a trigger a nano beyond the collar below": (
        checks.collar, lambda: asked_at("149.90", "150.10", trigger_price="146.99999985", stop_loss="140"), False,
    ),
    "an invented decimal point": (
        checks.collar, lambda: asked_at("149.98", "150", trigger_price="15", stop_loss="14", take_profit="16"), False,
    ),
    "a coin's collar": (
        checks.collar, lambda: asked_at("149.90", "150.10", "SOL/USD", trigger_price="153.00000015"), False,
    ),
    "long, the ask at the limit": (checks.slippage, lambda: market("150.13", "150.15"), True),
    "long, the ask a cent beyond": (checks.slippage, lambda: market("150.14", "150.16"), False),
    "short, the bid at the limit": (checks.slippage, lambda: market("149.85", "149.87", direction="SHORT"), True),
    "short, the bid a cent beyond": (checks.slippage, lambda: market("149.84", "149.86", direction="SHORT"), False),
    "coin, the ask at the limit": (checks.slippage, lambda: market("150.1", "150.15", "SOL/USD"), True),
    "coin, the ask a tick beyond": (checks.slippage, lambda: market("150.1", "150.151", "SOL/USD"), False),
    "no slippage allowed, ask at the trigger": (
        checks.slippage, lambda: market("149.98", "150", max_slippage_pct="0"), True,
    ),
    "no slippage allowed, ask beyond": (
        checks.slippage, lambda: market("149.98", "150.01", max_slippage_pct="0"), False,
    ),
    "enclosed": (checks.geometry_market, lambda: case(world()), True),
    "long, stop at the bid": (checks.geometry_market, lambda: asked_at("149", "149.05", stop_loss="149"), False),
    "long, stop a cent below the bid": (
        checks.geometry_market, lambda: asked_at("149", "149.05", stop_loss="148.99"), True,
    ),
    "long, target at the limit": (
        checks.geometry_market, lambda: asked_at("149.98", "150", take_profit="150.15"), False,
    ),
    "long, target a cent above the limit": (
        checks.geometry_market, lambda: asked_at("149.98", "150", take_profit="150.16"), True,
    ),
    "long, target rounded down onto the limit": (
        checks.geometry_market, lambda: asked_at("149.98", "150", take_profit="150.1599"), False,
    ),
    "short, stop at the ask": (
        checks.geometry_market, lambda: asked_at("150.98", "151", direction="SHORT", stop_loss="151"), False,
    ),
    "short, stop a cent above the ask": (
        checks.geometry_market, lambda: asked_at("150.98", "151", direction="SHORT", stop_loss="151.01"), True,
    ),
    "short, target at the limit": (
        checks.geometry_market, lambda: asked_at("150", "150.02", direction="SHORT", take_profit="149.85"), False,
    ),
    "short, target a cent below the limit": (
        checks.geometry_market, lambda: asked_at("150", "150.02", direction="SHORT", take_profit="149.84"), True,
    ),
    "coin, stop at the bid": (
        checks.geometry_market, lambda: asked_at("149.95", "150", "SOL/USD", stop_loss="149.95"), False,
    ),
    # limit 100 where nothing may slip: distances come out even
    "a stop as far as allowed": (
        checks.stop_far,
        lambda: asked_at("99.98", "100", hard={"max_slippage_pct": "0"}, trigger_price="100", stop_loss="80"), True,
    ),
    "a stop a cent further": (
        checks.stop_far,
        lambda: asked_at("99.98", "100", hard={"max_slippage_pct": "0"}, trigger_price="100", stop_loss="79.99"), False,
    ),
    "a coin's stop a tick further": (
        checks.stop_far,
        lambda: asked_at("99.98", "100", "SOL/USD", hard={"max_slippage_pct": "0"}, trigger_price="100", stop_loss="79.999"),
        False,
    ),
    "a short's stop as far as allowed": (
        checks.stop_far,
        lambda: asked_at(
            "100", "100.02", hard={"max_slippage_pct": "0"}, direction="SHORT", trigger_price="100", stop_loss="120",
        ),
        True,
    ),
    "a short's stop a cent further": (
        checks.stop_far,
        lambda: asked_at(
            "100", "100.02", hard={"max_slippage_pct": "0"}, direction="SHORT", trigger_price="100", stop_loss="120.01",
        ),
        False,
    ),
    "a trail as far as allowed": (
        checks.stop_far, lambda: case(world(), intent(trailing_stop_pct="0.2")), True,
    ),
    "a trail a hair further": (
        checks.stop_far, lambda: case(world(), intent(trailing_stop_pct="0.200000001")), False,
    ),
    "a trail as close as allowed": (
        checks.stop_close, lambda: case(world(), intent(trailing_stop_pct="0.001")), True,
    ),
    "a trail a hair closer": (
        checks.stop_close, lambda: case(world(), intent(trailing_stop_pct="0.000999999")), False,
    ),
    "a stop as close as allowed": (
        checks.stop_close,
        lambda: asked_at("99.98", "100", hard={"max_slippage_pct": "0"}, trigger_price="100", stop_loss="99.90"), True,
    ),
    "a stop a cent closer": (
        checks.stop_close,
        lambda: asked_at("99.98", "100", hard={"max_slippage_pct": "0"}, trigger_price="100", stop_loss="99.91"), False,
    ),
    "a short's stop a cent closer": (
        checks.stop_close,
        lambda: asked_at(
            "100", "100.02", hard={"max_slippage_pct": "0"}, direction="SHORT", trigger_price="100", stop_loss="100.09",
        ),
        False,
    ),
    "a coin's stop a tick closer": (
        checks.stop_close,
        lambda: asked_at("99.98", "100", "SOL/USD", hard={"max_slippage_pct": "0"}, trigger_price="100", stop_loss="99.901"),
        False,
    ),
    "reward as large as risk": (
        checks.reward_risk, lambda: asked_at("149.98", "150", stop_loss="148", take_profit="152.30"), True,
    ),
    "reward a cent less": (
        checks.reward_risk, lambda: asked_at("149.98", "150", stop_loss="148", take_profit="152.29"), False,
    ),
    "a short's reward as large as its risk": (
        checks.reward_risk, lambda: asked_at("150", "150.02", direction="SHORT", stop_loss="152", take_profit="147.70"), True,
    ),
    "a short's reward a cent less": (
        checks.reward_risk, lambda: asked_at("150", "150.02", direction="SHORT", stop_loss="152", take_profit="147.71"), False,
    ),
    # limit 150.15, worst exit 143.55: risk 7.33425; target - 150.15 - (150.15 + target) x 0.0025 >= 7.33425
    "a coin's reward after fees": (
        checks.reward_risk, lambda: asked_at("149.95", "150", "SOL/USD", stop_loss="145", take_profit="158.256"), True,
    ),
    "a coin's reward, eaten by fees": (
        checks.reward_risk, lambda: asked_at("149.95", "150", "SOL/USD", stop_loss="145", take_profit="158.255"), False,
    ),
}  # fmt: skip


def after_stop(ns: int, wait: str = "60") -> Case:
    state = world(cooldown_after_stop_s=wait)
    state.stopped_out["AAPL"] = NOW
    state.now_ns = Ns(NOW + ns)
    return case(state)


def busy(number: int = 900, **facts: Any) -> State:
    state = world()
    live(state, number, "AAPL", qty="10", limit="150", stop="148", target="155", **facts)
    return state


def foreign(symbol: str) -> State:
    return changed(foreign={symbol: "a holding that is not ours"})


def armed() -> State:
    state = busy()
    state.tickets[intent_id(900)].state = TradeState.ARMED
    return state


def accepted(
    ns_ago: int,
    prices: tuple[str, str, str] = ("150", "148", "155"),
    symbol: str = "AAPL",
    direction: Direction = Direction.LONG,
    number: int = 7,
) -> State:
    """Return a world in which an intent of these prices was accepted `ns_ago`."""
    state = world()
    trigger, stop, target = (nano(price) // nano("0.01") for price in prices)
    state.accepted.append(
        Accepted(
            at_ns=Ns(NOW - ns_ago), intent_id=intent_id(number), symbol=symbol, direction=direction,
            prices=(trigger, stop, target),
        )
    )  # fmt: skip
    return state


def died(filled: bool) -> State:
    """Return a world whose accepted intent has ended, filled or not."""
    state = accepted(0)
    ticket = live(
        state, 7, "AAPL", qty="10", limit="150", stop="148", target="155", filled="1" if filled else None,
        status=OrderStatus.CANCELED,
    )  # fmt: skip
    ticket.state = TradeState.CLOSED if filled else TradeState.EXPIRED
    state.finish(ticket)
    return state


WINDOW = 30 * NS_PER_S

SYMBOL: dict[str, Row] = {
    "free": (other_trades.symbol_busy, lambda: case(world()), True),
    "a working order": (other_trades.symbol_busy, lambda: case(busy()), False),
    "an unknown order": (other_trades.symbol_busy, lambda: case(busy(status=OrderStatus.UNKNOWN)), False),
    "an open position": (other_trades.symbol_busy, lambda: case(busy(filled="10")), False),
    "another agent's trade": (other_trades.symbol_busy, lambda: case(busy(agent="other")), False),
    "a trade elsewhere": (other_trades.symbol_busy, lambda: case(busy(), intent(asset="SPY")), True),
    "its own ticket": (other_trades.symbol_busy, lambda: case(busy(1), new=False), True),
    "an armed touch holds nothing": (other_trades.symbol_busy, lambda: case(armed()), True),
    "a holding that is not ours": (other_trades.symbol_busy, lambda: case(foreign("AAPL")), False),
    "a holding elsewhere": (other_trades.symbol_busy, lambda: case(foreign("SPY")), True),
    "never stopped out": (other_trades.cooldown, lambda: case(world(cooldown_after_stop_s="60")), True),
    "just stopped out": (other_trades.cooldown, lambda: after_stop(0), False),
    "a nanosecond too early": (other_trades.cooldown, lambda: after_stop(60 * NS_PER_S - 1), False),
    "cooled down": (other_trades.cooldown, lambda: after_stop(60 * NS_PER_S), True),
    "no cooldown": (other_trades.cooldown, lambda: after_stop(0, "0"), True),
    "a new idea": (other_trades.semantic_duplicate, lambda: case(world()), True),
    "the same idea": (other_trades.semantic_duplicate, lambda: case(accepted(0)), False),
    "the same idea in a touch": (
        other_trades.semantic_duplicate, lambda: case(accepted(0), intent(entry="touch"), arming=True), False,
    ),
    "a nanosecond before the window ends": (other_trades.semantic_duplicate, lambda: case(accepted(WINDOW - 1)), False),
    "the window's end": (other_trades.semantic_duplicate, lambda: case(accepted(WINDOW)), True),
    "the same within half a cent": (
        other_trades.semantic_duplicate,
        lambda: case(accepted(0), intent(trigger_price="150.004", stop_loss="147.996", take_profit="155.0049")), False,
    ),
    "half a cent off": (other_trades.semantic_duplicate, lambda: case(accepted(0), intent(trigger_price="150.005")), True),
    "another stop": (other_trades.semantic_duplicate, lambda: case(accepted(0), intent(stop_loss="147")), True),
    "another target": (other_trades.semantic_duplicate, lambda: case(accepted(0), intent(take_profit="156")), True),
    "another symbol": (other_trades.semantic_duplicate, lambda: case(accepted(0, symbol="SPY")), True),
    "another direction": (other_trades.semantic_duplicate, lambda: case(accepted(0, direction=Direction.SHORT)), True),
    "itself, judged again": (other_trades.semantic_duplicate, lambda: case(accepted(0, number=1), new=False), True),
    "one that filled and ended": (other_trades.semantic_duplicate, lambda: case(died(filled=True)), False),
    "one that died unfilled": (other_trades.semantic_duplicate, lambda: case(died(filled=False)), True),
}  # fmt: skip

VENUE: dict[str, Row] = {
    "an equity bracket": (checks.venue_rule, lambda: case(world()), True),
    "a short bracket": (checks.venue_rule, lambda: case(world(), intent(direction="SHORT")), True),
    "a coin": (checks.venue_rule, lambda: case(world(), intent(asset="SOL/USD")), True),
    "a coin short": (checks.venue_rule, lambda: case(world(), intent(asset="SOL/USD", direction="SHORT")), False),
    "a trailing stop": (checks.venue_rule, lambda: case(world(), intent(trailing_stop_pct="0.02")), True),
    "a target a cent off": (checks.venue_rule, lambda: asked_at("149.98", "150", take_profit="150.16"), True),
    "a target under a cent off": (
        checks.venue_rule,
        lambda: asked_at("0.4998", "0.5", trigger_price="0.5", stop_loss="0.45", take_profit="0.5101"), False,
    ),
    "a stop under a cent off": (
        checks.venue_rule,
        lambda: asked_at("0.4998", "0.5", trigger_price="0.5", stop_loss="0.4906", take_profit="0.6"), False,
    ),
    "a target under a cent from the market": (
        checks.venue_rule,
        lambda: asked_at("0.4908", "0.5", trigger_price="0.49", stop_loss="0.45", take_profit="0.5062"), False,
    ),
    "a stop under a cent from the market": (
        checks.venue_rule,
        lambda: asked_at("0.4908", "0.5", trigger_price="0.5", stop_loss="0.4812", take_profit="0.6"), False,
    ),
    "a stop a cent from the market": (
        checks.venue_rule,
        lambda: asked_at("0.4908", "0.5", trigger_price="0.5", stop_loss="0.4808", take_profit="0.6"), True,
    ),
    "a coin's stop-limit at nothing": (
        checks.venue_rule, lambda: asked_at("149.95", "150", "SOL/USD", stop_loss="0.0005"), False,
    ),
}  # fmt: skip

ALL = DOCUMENT | STATE | MARKET | SYMBOL | VENUE


def test_no_two_rows_share_a_name() -> None:
    assert len(ALL) == sum(len(table) for table in (DOCUMENT, STATE, MARKET, SYMBOL, VENUE))


@pytest.mark.parametrize("name", ALL)
def test_a_check_says_what_it_should(name: str) -> None:
    check, build, passes = ALL[name]
    ok, finding, denial = said(check, build())
    assert ok is passes, finding
    assert denial is None or denial.message


@pytest.mark.parametrize("name", ALL)
def test_a_check_changes_nothing(name: str) -> None:
    check, build, _ = ALL[name]
    asked = build()
    assert check(asked) == check(asked)


# --- what is told ------------------------------------------------------------------------------------------


def denial_of(name: str) -> Denial:
    check, build, _ = ALL[name]
    result = check(build())
    assert isinstance(result, Denial)
    return result


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("at the deadline", "15 s old; its ttl_seconds is 15"),
        ("a timestamp a nanosecond further", "in the future; 2 s is allowed"),
        ("a life a nanosecond longer", "ttl_seconds is 15; at most 15 is allowed"),
        ("a wait a nanosecond longer", "arm_seconds"),
        ("halted", "OPERATOR"),
        ("no account", "no fresh account"),
        ("account a nanosecond older", "no fresh account"),
        ("trade stream down", "the trade stream is down"),
        ("not on the list", "TSLA is not on the allow-list"),
        ("unknown to the venue", "unknown to the venue"),
        ("shorts are off", "allow_short is false"),
        ("crypto short", "crypto cannot be sold short"),
        ("a nano less sure", "confidence is 0.599999999; at least 0.6"),
        ("long, stop above", "stop 152, trigger 150, target 155"),
        ("closed", "closed"),
        ("locked", "locked at 150"),
        ("crossed", "crossed at 150.01"),
        ("no bid", "one-sided"),
        ("no quote", "no quote yet"),
        ("an invented decimal point", "trigger_price 15 is 0.899993333 from the mid 149.99; at most 0.02"),
        ("long, the ask a cent beyond", "the ask 150.16 is beyond the limit 150.15"),
        ("short, the bid a cent beyond", "the bid 149.84 is beyond the limit 149.85"),
        ("a working order", f"live trade {intent_id(900)}"),
        ("a holding that is not ours", "not ours"),
        ("the same idea", f"the same idea as {intent_id(7)}"),
        ("a trail a hair further", "trailing_stop_pct is 0.200000001; at most 0.2"),
        ("a trail a hair closer", "trailing_stop_pct is 0.000999999; at least 0.001"),
    ],
)
def test_trap_33_a_no_says_what_was_found_and_what_is_allowed(name: str, fragment: str) -> None:
    assert fragment in denial_of(name).message


UNSEEN = {"the first minute of who knows when"}
"""Denied because something is not known: there is nothing to tell."""


@pytest.mark.parametrize("name", [name for name, row in ALL.items() if not row[2] and name not in UNSEEN])
def test_trap_33_every_no_carries_what_it_saw(name: str) -> None:
    denial = denial_of(name)
    assert denial.finding.observed is not None
    assert denial.finding.check
    assert len(denial.message) > 10


@pytest.mark.parametrize(
    ("name", "retry", "retry_at"),
    [
        ("closed", Retry.AFTER, NOW + 23 * 3600 * NS_PER_S + 1800 * NS_PER_S),
        ("the last minute", Retry.AFTER, NOW + 23 * 3600 * NS_PER_S + 1800 * NS_PER_S),
        ("the first minute", Retry.AFTER, OPEN + 60 * NS_PER_S),
        ("just stopped out", Retry.AFTER, NOW + 60 * NS_PER_S),
        ("the same idea", Retry.AFTER, NOW + WINDOW),
        ("halted", Retry.AFTER, None),
        ("a latched agent", Retry.AFTER, None),
        ("a quote a nanosecond older", Retry.AFTER, None),
        ("a nano less sure", Retry.CHANGED, None),
        ("long, stop above", Retry.CHANGED, None),
        ("shorts are off", Retry.NEVER, None),
    ],
)
def test_trap_33_a_no_says_whether_and_when_another_may_pass(
    name: str, retry: Retry, retry_at: int | None
) -> None:
    denial = denial_of(name)
    assert (denial.retry, denial.retry_at_ns) == (retry, retry_at)


@pytest.mark.parametrize(
    "name", [name for name, (_, _, passes) in MARKET.items() if not passes and "spread" in name]
)
def test_a_price_check_tells_the_age_of_its_quote(name: str) -> None:
    finding = denial_of(name).finding
    assert finding.age_ns == 0 or finding.check == "market_data"


# --- traps -------------------------------------------------------------------------------------------------

PRICED = [
    checks.market_data, checks.spread, checks.collar, checks.slippage, checks.geometry_market, checks.stop_far,
    checks.stop_close, checks.reward_risk,
]  # fmt: skip


@pytest.mark.parametrize("check", PRICED)
@pytest.mark.parametrize("sides", [None, ("0", "150"), ("149.98", "0"), ("nan", "nan"), ("150", "150")])
def test_trap_17_what_cannot_be_priced_is_never_allowed(
    check: Callable[[Case], Result], sides: tuple[str, str] | None
) -> None:
    state = world(quotes={"AAPL": None})
    if sides is not None:
        quote(state, "AAPL", *sides)
    assert isinstance(check(case(state)), Denial)


def test_trap_16_the_collar_needs_no_position() -> None:
    empty = asked_at("149.98", "150", trigger_price="160", take_profit="170")
    holding = busy(filled="10")
    full = case(holding, intent(trigger_price="160", take_profit="170"))
    assert isinstance(checks.collar(empty), Denial)
    assert isinstance(checks.collar(full), Denial)


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"asset": "APPL"}, checks.symbol_allowed),
        ({"asset": "SPX"}, checks.symbol_allowed),
        ({"trigger_price": "15.0", "stop_loss": "14.8", "take_profit": "15.5"}, checks.collar),
        ({"trigger_price": "1500", "stop_loss": "1480", "take_profit": "1550"}, checks.collar),
        ({"asset": "SPY"}, checks.collar),
        ({"stop_loss": "152"}, checks.geometry),
        ({"stop_loss": "155", "take_profit": "148"}, checks.geometry),
        ({"stop_loss": "14.8"}, checks.stop_far),
        ({"take_profit": "15.5", "stop_loss": "14.8"}, checks.geometry),
    ],
)
def test_trap_30_an_invented_symbol_or_number_is_denied(
    changes: dict[str, Any], check: Callable[[Case], Result]
) -> None:
    asked = intent(
        **{"asset": "AAPL", "trigger_price": "150", "stop_loss": "148", "take_profit": "155", **changes}
    )
    assert isinstance(check(case(world(), asked)), Denial)


def test_the_age_of_a_late_document_is_told() -> None:
    finding = denial_of("at the deadline").finding
    assert (finding.observed, finding.limit) == (15 * NS_PER_S, 15 * NS_PER_S)


@pytest.mark.parametrize(
    ("trigger", "near", "same"),
    [
        ("10", "10.004", True),
        ("10", "10.005", False),
        ("9.99", "9.990000001", False),
        ("9.99", "9.99", True),
    ],
)
def test_an_idea_is_told_apart_by_cents_from_ten_dollars_up(trigger: str, near: str, same: bool) -> None:
    one, other = (case(world(), intent(trigger_price=price)) for price in (trigger, near))
    assert (other_trades.idea(one) == other_trades.idea(other)) is same


def test_findings_are_plain_values() -> None:
    """They are stored with the ticket and rendered later: nothing in them may be a live object."""
    for check, build, _ in ALL.values():
        result = check(build())
        finding = result.finding if isinstance(result, Denial) else result
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(finding), type=Finding) == finding
