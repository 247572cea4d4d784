"""Every way in which a check says no, each with a scenario that meets it and nothing before it.

Owns the table `BRANCHES`. A check with one reason stands in `tests.core.test_kill`; here stand the checks with several.
The one idea: a branch is known by its words, so that a mutant can make just this "no" a "yes".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hands.core.case import Case
from hands.core.events import Link
from hands.core.units import NS_PER_S, nano
from tests.core.world import NOW, account, asset, case, intent, live, session, world

SHORT = {"direction": "SHORT"}
OWN = "[agents.default]\n{}\n"


class Branch(NamedTuple):
    """`check` says no in `words` (a regular expression) to what `scenario` makes."""

    check: str
    words: str
    scenario: Callable[[], Case]


def spoilt(symbol: str = "AAPL", **facts: Any) -> Case:
    """Return a good intent in a state of which some fields are otherwise."""
    state = world()
    for name, value in facts.items():
        setattr(state, name, value)
    return case(state, intent(asset=symbol))


def unlinked(link: Link) -> Case:
    state = world()
    state.links[link] = False
    return case(state)


def at_venue(symbol: str = "AAPL", direction: str = "LONG", **facts: Any) -> Case:
    """Return an intent on an asset of which the venue says something else."""
    state = world(allow_short="true")
    state.assets[symbol] = asset(symbol, **facts)
    return case(state, intent(asset=symbol, direction=direction))


def short(rules: dict[str, Any] | None = None, **facts: Any) -> Case:
    return case(world(account=account(**facts), **(rules or {"allow_short": "true"})), intent(**SHORT))


def unknown_asset() -> Case:
    state = world()
    del state.assets["AAPL"]
    return case(state)


def old_account() -> Case:
    state = world()
    state.account = account(asked_ns=NOW - 16 * NS_PER_S)
    return case(state)


def quoted(bid: str, ask: str, **changes: Any) -> Case:
    return case(world(quotes={"AAPL": (bid, ask)}), intent(**changes))


def own_counter(line: str, **facts: Any) -> Case:
    """Return an intent of an agent with a tighter limit of its own, in a state where only that one is reached."""
    state = world(extra=OWN.format(line))
    if "trades" in facts:
        state.day.trades["default"] = facts["trades"]
    for _ in range(facts.get("approvals", 0)):
        state.approvals.append((NOW, "default"))
    if facts.get("live"):
        live(state, 900, "SPY", qty="1")
    if "lost" in facts:
        state.day.realised["default"] = -nano(facts["lost"])
    return case(state)


def busy_with_our_own() -> Case:
    state = world()
    live(state, 900, "AAPL", qty="1", limit="150", stop="148", target="155")
    return case(state, intent(trigger_price="150.01", take_profit="156"))


def busy_with_somebody_elses() -> Case:
    state = world()
    state.foreign["AAPL"] = "a holding of 5 that is not ours"
    return case(state)


def penny(**changes: Any) -> Case:
    """Return an intent on AAPL at half a dollar, where a tick is a hundredth of a cent."""
    prices = {"trigger_price": "0.5", "stop_loss": "0.4900", "take_profit": "0.52"}
    state = world(quotes={"AAPL": ("0.4999", "0.5000")}, max_spread="0.01", min_reward_risk="0")
    return case(state, intent(**(prices | changes)))


def no_worst_exit() -> Case:
    """A coin of next to nothing: its protective limit would lie at nothing at all."""
    state = world(
        max_stop_distance="1", min_reward_risk="0", quotes={"SOL/USD": ("0.0099", "0.0100")}, max_spread="0.02",
        stop_limit_offset="0.2",
    )  # fmt: skip
    return case(state, intent(asset="SOL/USD", trigger_price="0.0100", stop_loss="0.001", take_profit="0.02"))


BRANCHES: dict[str, Branch] = {
    "ready/recounted": Branch("ready", "not yet named the day's orders", lambda: spoilt(recount_due=True)),
    "ready/reconciled": Branch("ready", "not yet reconciled", lambda: spoilt(reconciled=False)),
    "ready/stopping": Branch("ready", "the engine is stopping", lambda: spoilt(stopping=True)),
    "ready/no_account": Branch("ready", "no fresh account", lambda: spoilt(account=None)),
    "ready/old_account": Branch("ready", "no fresh account", old_account),
    "ready/trade_stream": Branch("ready", "the trade stream is down", lambda: unlinked(Link.TRADE_UPDATES)),
    "ready/order_entry": Branch("ready", "order entry is down", lambda: unlinked(Link.ORDER_ENTRY)),
    "ready/trading_blocked": Branch(
        "ready", "blocked trading", lambda: spoilt(account=account(trading_blocked=True))
    ),
    "ready/account_blocked": Branch(
        "ready", "blocked trading", lambda: spoilt(account=account(account_blocked=True))
    ),
    "ready/suspended_by_user": Branch(
        "ready", "blocked trading", lambda: spoilt(account=account(suspended_by_user=True))
    ),
    "ready/status": Branch(
        "ready", "the account is CLOSED", lambda: spoilt(account=account(status="CLOSED"))
    ),
    "ready/crypto_status": Branch(
        "ready",
        "crypto status is INACTIVE",
        lambda: spoilt("SOL/USD", account=account(crypto_status="INACTIVE")),
    ),
    "symbol_allowed/account": Branch(
        "symbol_allowed", "not on the allow-list", lambda: case(world(allow='["SPY"]'))
    ),
    "symbol_allowed/agent": Branch(
        "symbol_allowed",
        "not among the symbols of agent default",
        lambda: case(world(extra=OWN.format('symbols = ["SPY"]'))),
    ),
    "asset_tradable/unknown": Branch("asset_tradable", "unknown to the venue", unknown_asset),
    "asset_tradable/inactive": Branch("asset_tradable", "inactive", lambda: at_venue(status="inactive")),
    "asset_tradable/not_tradable": Branch("asset_tradable", "not tradable", lambda: at_venue(tradable=False)),
    "short_allowed/switch": Branch(
        "short_allowed", "allow_short is false", lambda: short({"allow_short": "false"})
    ),
    "short_allowed/agent": Branch(
        "short_allowed",
        "may only go LONG",
        lambda: short({"allow_short": "true", "extra": OWN.format('directions = ["LONG"]')}),
    ),
    "short_allowed/crypto": Branch(
        "short_allowed",
        "crypto cannot",
        lambda: case(
            world(allow_short="true"),
            intent(asset="SOL/USD", direction="SHORT", stop_loss="155", take_profit="140"),
        ),
    ),
    "short_allowed/account": Branch(
        "short_allowed", "account may not", lambda: short(shorting_enabled=False)
    ),
    "short_allowed/margin": Branch("short_allowed", "account may not", lambda: short(multiplier=1)),
    "short_allowed/equity": Branch("short_allowed", "equity is below", lambda: short(equity="1999")),
    "short_allowed/shortable": Branch(
        "short_allowed", "cannot be borrowed", lambda: at_venue(direction="SHORT", shortable=False)
    ),
    "short_allowed/easy_to_borrow": Branch(
        "short_allowed", "hard to borrow", lambda: at_venue(direction="SHORT", easy_to_borrow=False)
    ),
    "ttl_length/ttl": Branch(
        "ttl_length", "^ttl_seconds is 16", lambda: case(world(), intent(ttl_seconds="16"))
    ),
    "ttl_length/arm": Branch(
        "ttl_length",
        "^arm_seconds is 3601",
        lambda: case(world(), intent(entry="touch", arm_seconds="3601"), arming=True),
    ),
    "ttl_length/arm_by_ttl": Branch(
        "ttl_length",
        "^ttl_seconds is 15; at most 10",
        lambda: case(world(max_arm_seconds="10"), intent(entry="touch"), arming=True),
    ),
    "geometry/long": Branch(
        "geometry", "^a LONG", lambda: quoted("150", "150.02", trigger_price="149.9", stop_loss="149.95")
    ),
    "geometry/short": Branch(
        "geometry",
        "^a SHORT",
        lambda: case(world(allow_short="true"), intent(**SHORT, stop_loss="149.9", take_profit="145")),
    ),
    "session/unknown": Branch("session", "clock is not known", lambda: spoilt(session=None)),
    "session/closed": Branch(
        "session", "session is closed", lambda: case(world(session=session(is_open=False)))
    ),
    "session/over": Branch(
        "session", "session is closed", lambda: case(world(session=session(next_close_ns=NOW)))
    ),
    "session/first": Branch(
        "session",
        "opened 30 s ago",
        lambda: case(world(session=session(open_ns=NOW - 30 * NS_PER_S), no_entry_first_s="60")),
    ),
    "session/opened_unknown": Branch(
        "session",
        "opened no one knows when",
        lambda: case(world(session=session(open_ns=None), no_entry_first_s="60")),
    ),
    "session/last": Branch(
        "session", "closes in 60 s", lambda: case(world(session=session(next_close_ns=NOW + 60 * NS_PER_S)))
    ),
    "market_data/none": Branch("market_data", "no quote yet", lambda: case(world(quotes={"AAPL": None}))),
    "market_data/one_sided": Branch("market_data", "one-sided", lambda: quoted("149.98", "0")),
    "market_data/locked": Branch("market_data", "locked", lambda: quoted("150", "150")),
    "market_data/crossed": Branch("market_data", "crossed", lambda: quoted("150.01", "150")),
    "slippage/long": Branch("slippage", "^the ask", lambda: quoted("150.50", "150.52")),
    "slippage/short": Branch(
        "slippage",
        "^the bid",
        lambda: case(world(allow_short="true", quotes={"AAPL": ("149.48", "149.50")}), intent(**SHORT)),
    ),
    "geometry_market/target": Branch(
        "geometry_market", "do not enclose", lambda: quoted("149.98", "150", take_profit="150.12")
    ),
    "geometry_market/stop": Branch(
        "geometry_market",
        "do not enclose",
        lambda: quoted("149.50", "150.00", stop_loss="149.60", take_profit="160"),
    ),
    "symbol_busy/ours": Branch("symbol_busy", "live trade", busy_with_our_own),
    "symbol_busy/foreign": Branch("symbol_busy", "not ours", busy_with_somebody_elses),
    "concurrent/agent": Branch(
        "concurrent", "at most 1 at once", lambda: own_counter("max_concurrent = 1", live=True)
    ),
    "daily_trades/agent": Branch(
        "daily_trades", "at most 2 a day", lambda: own_counter("max_daily_trades = 2", trades=2)
    ),
    "order_rate/agent": Branch(
        "order_rate", "at most 2$", lambda: own_counter("orders_per_minute = 2", approvals=2)
    ),
    "daily_loss/agent": Branch(
        "daily_loss", "of today's 1000.00", lambda: own_counter("max_daily_loss = 0.01", lost="999.99")
    ),
    "stop_far/trailing": Branch(
        "stop_far", "trailing_stop_pct", lambda: case(world(), intent(trailing_stop_pct="0.3"))
    ),
    "stop_close/trailing": Branch(
        "stop_close", "trailing_stop_pct", lambda: case(world(), intent(trailing_stop_pct="0.0005"))
    ),
    "venue_rule/bracket": Branch(
        "venue_rule", "at least 0.01", lambda: penny(stop_loss="0.4950", take_profit="0.53")
    ),
    "venue_rule/worst_exit": Branch("venue_rule", "would not be positive", no_worst_exit),
}
