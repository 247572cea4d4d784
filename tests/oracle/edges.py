"""Limits laid on what a scenario shows: exactly on it, or a hair to either side.

Owns the pushes of which the oracle's arithmetic says where the edge is. May not judge. The limit that moves may be the
account's, the symbol's or the agent's own.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random

from tests.oracle import reckoning
from tests.oracle.reckoning import NANO, Prices, ceil_to, floor_to
from tests.oracle.scenario import HIGHER_IS_TIGHTER, Agent, Quote, Scenario

D = Decimal
COUNTS = {"max_daily_trades", "max_concurrent", "orders_per_minute"}

Push = Callable[[Random, Scenario], None]


def around(rng: Random) -> int:
    return rng.choice((-1, 0, 0, 1))


def quantum(key: str) -> Decimal:
    if key in COUNTS:
        return D(1)
    return D("1e-6") if key.endswith("_ms") else NANO


def place(rng: Random, s: Scenario, key: str, value: Decimal) -> None:
    """Lay a limit on an observed value, or a hair beside it: the account's, or the symbol's or agent's own."""
    step = quantum(key)
    found = max(D(0), (floor_to if rng.random() < 0.5 else ceil_to)(value, step) + around(rng) * step)
    where = rng.choice(("hard", "hard", "symbol", "agent"))
    loosest = s.hard[key]
    tighter = found >= loosest if key in HIGHER_IS_TIGHTER else found <= loosest
    if where == "hard" or not tighter or key == "account_age_max_ms" or key == "clock_skew_max_ms":
        s.hard[key] = found
        for table in (*s.by_symbol.values(), *(agent.limits for agent in s.agents.values())):
            table.pop(key, None)
    elif where == "symbol":
        s.by_symbol.setdefault(s.document.asset, {})[key] = found
    else:
        s.agents.setdefault(s.agent, Agent()).limits[key] = found


def at_limit(key: str, observe: Callable[[Scenario], Decimal | None]) -> Push:
    def push(rng: Random, s: Scenario) -> None:
        value = observe(s)
        if value is not None and 0 <= value < 10**6:
            place(rng, s, key, value)

    return push


def priced(s: Scenario) -> Prices | None:
    quote = s.quotes.get(s.document.asset)
    if quote is None or not 0 < quote.bid < quote.ask or s.account is None or s.day.equity is None:
        return None
    if s.document.asset not in s.instruments:
        return None
    p = Prices(s, quote)
    return p if min(p.limit, p.unit_risk, p.worst) > 0 else None


def of_prices(figure: Callable[[Scenario, Prices], Decimal]) -> Callable[[Scenario], Decimal | None]:
    def observe(s: Scenario) -> Decimal | None:
        p = priced(s)
        return None if p is None else figure(s, p)

    return observe


def of_quote(figure: Callable[[Scenario, Quote, Decimal], Decimal]) -> Callable[[Scenario], Decimal | None]:
    def observe(s: Scenario) -> Decimal | None:
        quote = s.quotes.get(s.document.asset)
        return None if quote is None else figure(s, quote, (quote.bid + quote.ask) / 2 or D(1))

    return observe


def cap_of(
    key: str, money: Callable[[Scenario, Prices], Decimal], per: Callable[[Scenario], Decimal]
) -> Push:
    """Lay a cap so that it leaves exactly n lots, a hair less or a hair more; n from nothing to many."""

    def push(rng: Random, s: Scenario) -> None:
        p = priced(s)
        if p is None or per(s) <= 0:
            return
        qty = rng.choice((p.smallest, p.smallest, p.smallest - p.lot, p.smallest + p.lot, p.smallest * 7))
        used = money(s, p)
        unit = p.unit_risk if key in {"max_risk_per_trade", "max_daily_loss"} else p.limit
        value = (used + qty * unit) / per(s)
        if value < (10 if key != "max_order_notional_usd" else 10**9):
            place(rng, s, key, value)

    return push


def nothing(_s: Scenario, _p: Prices) -> Decimal:
    return D(0)


def exposed(s: Scenario, _p: Prices) -> Decimal:
    return max(sum((reckoning.exposure(t) for t in reckoning.of(s, who)), D(0)) for who in (None, s.agent))


def lost(s: Scenario, _p: Prices) -> Decimal:
    return reckoning.loss_today(s, None) + sum((reckoning.risk(s, t) for t in reckoning.alive(s)), D(0))


def e_of(s: Scenario) -> Decimal:
    return reckoning.equity(s)


def day_equity(s: Scenario) -> Decimal:
    return s.day.equity or D(0)


def one(_s: Scenario) -> Decimal:
    return D(1)


def spread(s: Scenario, quote: Quote, mid: Decimal) -> Decimal:
    del s
    return (quote.ask - quote.bid) / mid


def off_mid(s: Scenario, quote: Quote, mid: Decimal) -> Decimal:
    return abs(s.document.trigger - mid) / mid


def off_quote(s: Scenario, quote: Quote, mid: Decimal) -> Decimal:
    """The slippage at which the limit just reaches the quote."""
    near = quote.ask if s.document.long else quote.bid
    return abs(near - s.document.trigger) / (s.document.trigger if near else mid)


lay_daily_loss = cap_of("max_daily_loss", lost, day_equity)


LAID: tuple[Push, ...] = (
    at_limit("max_spread", of_quote(spread)),
    at_limit("price_collar", of_quote(off_mid)),
    at_limit("max_slippage_pct", of_quote(off_quote)),
    at_limit("max_stop_distance", of_prices(lambda _s, p: abs(p.limit - p.stop) / p.limit)),
    at_limit("min_stop_distance", of_prices(lambda _s, p: abs(p.limit - p.stop) / p.limit)),
    at_limit("min_reward_risk", of_prices(lambda _s, p: p.unit_reward / p.unit_risk)),
    cap_of("max_risk_per_trade", nothing, e_of),
    cap_of("max_position_size", nothing, e_of),
    cap_of("max_order_notional_usd", nothing, one),
    cap_of("max_gross_exposure", exposed, e_of),
)  # fmt: skip
