"""Pushes: each moves one thing of a scenario to, just below or just above the place where it matters.

Owns chance, as `tests.oracle.stream` does. May not judge; where it needs an observed number to lay a limit on, it asks the
oracle's arithmetic for it.
"""

from __future__ import annotations

from decimal import Decimal
from random import Random

from tests.oracle import reckoning
from tests.oracle.edges import LAID, Push, around, lay_daily_loss, place, priced
from tests.oracle.guardian import rounded_prices
from tests.oracle.reckoning import NANO, ceil_to, floor_to
from tests.oracle.scenario import MS, SECOND, Agent, Idea, Quote, Scenario
from tests.oracle.stream import COINS, EQUITIES, NAMES, TICK, about, add_trade, comfortable, quote_of, tick_of

D = Decimal

# one thing of the document


def old(rng: Random, s: Scenario) -> None:
    s.document.age_ns = int(s.document.ttl_s * SECOND) + around(rng)


def ahead(rng: Random, s: Scenario) -> None:
    s.document.age_ns = -int(s.hard["clock_skew_max_ms"] * MS) + around(rng)


def long_lived(rng: Random, s: Scenario) -> None:
    if s.document.touch and rng.random() < 0.5:
        s.document.arm_s = s.hard["max_arm_seconds"] + around(rng) * NANO
    else:
        place(rng, s, "ttl_seconds", s.document.ttl_s)


def unsure(rng: Random, s: Scenario) -> None:
    s.document.confidence = min(D(1), max(D(0), s.hard["min_confidence"] + around(rng) * NANO))


def bent(rng: Random, s: Scenario) -> None:
    """Move stop or target onto the trigger, the limit or the market, a hair beside it, or to the other side."""
    doc, quote = s.document, s.quotes.get(s.document.asset)
    p = priced(s)
    places = [doc.trigger, *([quote.bid, quote.ask] if quote else []), *([p.limit, p.limit] if p else [])]
    hair = rng.choice((NANO, D("0.01"), D("0.0001")))
    value = max(NANO, rng.choice(places) + around(rng) * hair)
    if rng.random() < 0.5:
        doc.stop = value
    else:
        doc.target = value


def on_tick(rng: Random, s: Scenario) -> None:
    """Put a price on, just above or just below a tick; for sub-dollar shares around the dollar, where ticks change."""
    doc = s.document
    step = TICK.get(doc.asset) or D("0.01")
    if doc.asset == "PENNY" and rng.random() < 0.7:
        name, value = rng.choice((("trigger", D(1)), ("stop", D(1)), ("target", D(1))))
        value += around(rng) * rng.choice((NANO, D("0.0001"), D("0.00005")))
    else:
        name = rng.choice(("trigger", "stop", "target"))
        value = floor_to(getattr(doc, name), step) + around(rng) * NANO
    setattr(doc, name, max(NANO, value))


def quantity(rng: Random, s: Scenario) -> None:
    p = priced(s)
    if p is not None and p.smallest < 10**6:
        s.document.qty = max(NANO, p.smallest + around(rng) * rng.choice((NANO, p.lot)))


def trails(rng: Random, s: Scenario) -> None:
    bound = rng.choice(("max_stop_distance", "min_stop_distance"))
    s.document.trailing = min(D(1), max(NANO, reckoning.own(s, bound) + around(rng) * NANO))


def again(_rng: Random, s: Scenario) -> None:
    s.judged_before.add(s.document.number)


# one thing of the world


def latched(rng: Random, s: Scenario) -> None:
    s.latched.add(rng.choice((s.agent, s.agent, "somebody")))


def stopped_for_the_day(rng: Random, s: Scenario) -> None:
    s.day.stopped.add(rng.choice((s.agent, s.agent, "somebody")))


def stopped(rng: Random, s: Scenario) -> None:
    s.reasons["OPERATOR"] = rng.choice(("HALTED", "REDUCE_ONLY"))


def not_ready(rng: Random, s: Scenario) -> None:
    match rng.randrange(8):
        case 0:
            s.reconciled = False
        case 1 | 2:
            s.links_down.add(rng.choice(("equity_data", "crypto_data", "trade_updates", "order_entry")))
        case 3:
            s.account = None
        case 4:
            s.session = None
        case _ if s.account is not None:
            flags = ("trading_blocked", "account_blocked", "suspended", "status", "crypto_status")
            flag = rng.choice(flags)
            setattr(s.account, flag, rng.choice(("INACTIVE", "")) if flag.endswith("status") else True)


def old_account(rng: Random, s: Scenario) -> None:
    if s.account is not None:
        s.account.age_ns = int(s.hard["account_age_max_ms"] * MS) + around(rng)


def barred(rng: Random, s: Scenario) -> None:
    doc, agent = s.document, s.agents.setdefault(s.agent, Agent())
    match rng.randrange(8):
        case 0:
            s.allow = tuple(each for each in s.allow if each != doc.asset)
        case 1:
            agent.symbols = rng.choice(((doc.asset,), ("SPY", "BTC/USD")))
        case 2 | 3:
            agent.directions = rng.choice((("LONG",), ("SHORT",)))
        case 4:
            s.allow_short = False
        case 5:
            agent.expires_in_ns = around(rng)
        case 6:
            s.document.direction = "SHORT" if doc.long else "LONG"
        case 7:
            agent.daily_notional = D(rng.choice((0, 50_000)))


def shorting(rng: Random, s: Scenario) -> None:
    thing, account = s.instruments.get(s.document.asset), s.account
    if thing is None:
        return
    match rng.randrange(5):
        case 0:
            thing.shortable = False
        case 1:
            thing.easy_to_borrow = False
        case 2 if account:
            account.shorting = False
        case 3 if account:
            account.multiplier = rng.choice((1, 2))
        case _ if account:
            account.equity = D(2_000) + around(rng) * NANO


def unlisted(rng: Random, s: Scenario) -> None:
    thing = s.instruments.get(s.document.asset)
    if thing is None:
        return
    match rng.randrange(4):
        case 0:
            thing.tradable = False
        case 1:
            thing.status = "inactive"
        case 2:
            thing.halted = True
        case 3 if not any(each.symbol == s.document.asset for each in (*s.trades, *s.ideas)):
            del s.instruments[s.document.asset]
        case _:
            pass


def hours(rng: Random, s: Scenario) -> None:
    session = s.session
    if session is None:
        return
    match rng.randrange(4):
        case 0:
            session.is_open = False
        case 1:
            session.closes_in_ns = s.no_entry_last_s * SECOND + around(rng)
        case 2:
            s.no_entry_first_s = 300
            session.opened_ago_ns = rng.choice((None, 300 * SECOND + around(rng), 300 * SECOND + around(rng)))
        case 3:
            s.no_entry_last_s = 0
            session.closes_in_ns = around(rng)


def no_quote(rng: Random, s: Scenario) -> None:
    quote = s.quotes.get(s.document.asset)
    if quote is None:
        return
    match rng.randrange(5):
        case 0 if not any(t.symbol == s.document.asset for t in s.trades):
            del s.quotes[s.document.asset]
        case 1:
            quote.bid = D(0)
        case 2:
            quote.ask = D(0)
        case 3:
            quote.ask = quote.bid
        case _:
            quote.bid, quote.ask = quote.ask, quote.bid
    asked_again(rng, s)


def asked_again(rng: Random, s: Scenario) -> None:
    """Sometimes the venue has a quote when it is asked, sometimes its feed is down."""
    if rng.random() < 0.5:
        s.fetched = quote_of(rng, s.document.asset)
        s.fetched.age_ns = 0
        if s.document.asset in s.quotes and rng.random() < 0.7:
            near = s.quotes[s.document.asset]
            s.fetched = Quote(*sorted((near.bid or near.ask, near.ask or near.bid)))
            s.fetched.ask += rng.choice((0, 1)) * tick_of(s.document.asset, s.fetched.ask)
    if rng.random() < 0.2:
        s.links_down.add(rng.choice(("crypto_data", "equity_data")))


def one_sided_holding(rng: Random, s: Scenario) -> None:
    """The market of what is held has lost a side, or fallen through the stop."""
    for trade in s.trades:
        quote = s.quotes.get(trade.symbol)
        if quote is None or trade.symbol == s.document.asset:
            continue
        match rng.randrange(3):
            case 0:
                quote.bid = D(0)
            case 1:
                quote.ask = D(0)
            case 2:
                step = tick_of(trade.symbol, quote.bid)
                quote.bid = floor_to(quote.bid * D(rng.choice(("0.93", "0.98", "1.04"))), step)
                quote.ask = quote.bid + step


def stale(rng: Random, s: Scenario) -> None:
    quote = s.quotes.get(s.document.asset)
    if quote is None:
        return
    bound = int(reckoning.own(s, "quote_age_max_ms") * MS)
    match rng.randrange(5):
        case 0 | 1:
            quote.age_ns = bound + around(rng)
        case 2:
            s.offset_ns = rng.choice((None, 0, 40 * MS, 3 * SECOND, -20 * MS))
            if s.session is not None:
                s.session.clock_ahead_max_ns = rng.choice((None, 0, 30 * MS, 5 * SECOND))
            known = 0 if s.session is None else s.session.clock_ahead_max_ns or 0
            allowed = known + SECOND if s.offset_ns is None else min(s.offset_ns, known + SECOND)
            quote.lag_ns = bound - quote.age_ns + allowed + around(rng)
        case 3:
            quote.age_ns, quote.asked_ago_ns = bound + 3 * SECOND, rng.choice((0, bound + around(rng)))
        case 4:
            quote.age_ns = 3600 * SECOND
    asked_again(rng, s)


def busy(rng: Random, s: Scenario) -> None:
    if rng.random() < 0.3:
        s.foreign.add(rng.choice((s.document.asset, "SPY")))
    elif s.document.asset in s.quotes and s.document.asset in s.instruments:
        quote = s.quotes[s.document.asset]
        if quote.bid > 0 and quote.ask > 0:
            add_trade(rng, s, s.document.asset)


def same_idea(rng: Random, s: Scenario) -> None:
    doc = s.document
    if doc.asset not in s.instruments:
        return
    prices = rounded_prices(doc)
    window = int(reckoning.own(s, "semantic_duplicate_s") * SECOND)
    idea = Idea(800 + len(s.ideas), doc.asset, doc.direction, *prices, ago_ns=max(0, window + around(rng)))
    match rng.randrange(6):
        case 0:
            idea.symbol = "SPY"
        case 1:
            idea.direction = "SHORT" if doc.long else "LONG"
        case 2:
            idea.stop += D("0.01")
        case _:
            idea.ago_ns = rng.choice((idea.ago_ns, 0, SECOND))
    if rng.random() < 0.6:
        idea.fate = rng.choice(("armed", "closed", "expired", "void"))
    s.ideas.append(idea)


def cooling(rng: Random, s: Scenario) -> None:
    s.hard["cooldown_after_stop_s"] = D(300)
    s.stopped_out_ago_ns[s.document.asset] = 300 * SECOND + around(rng)


def crowded(rng: Random, s: Scenario) -> None:
    who = rng.choice((None, s.agent))
    place(rng, s, "max_concurrent", D(len(reckoning.of(s, who))))


def used_day(rng: Random, s: Scenario) -> None:
    for who in NAMES:
        s.day.trades[who] = rng.randrange(3)
    found = rng.choice((sum(s.day.trades.values()), s.day.trades[s.agent]))
    place(rng, s, "max_daily_trades", D(found))


def result_so_far(rng: Random, s: Scenario) -> None:
    """A day with results: losses, profits, and open results that were there at the roll."""
    for who in NAMES:
        s.day.realised[who] = about(rng, D(rng.choice((-300, -20, 500))))
        if rng.random() < 0.3:
            s.day.unrealised_at_roll[who] = about(rng, D(rng.choice((-50, 120))))
    place(rng, s, "max_daily_loss", D(rng.choice(("0.04", "0.004", "0.0008"))))


def budget(rng: Random, s: Scenario) -> None:
    p = priced(s)
    if p is None or p.smallest > 10**6:
        return
    used = about(rng, D(4_000))
    s.day.notional = {s.agent: used, "x": D(10_000)}
    count = rng.choice((p.smallest - p.lot, p.smallest, p.smallest, p.smallest * 5))
    agent = s.agents.setdefault(s.agent, Agent())
    agent.daily_notional = max(D(0), ceil_to(used + count * p.limit, NANO) + around(rng) * NANO)


def hectic(rng: Random, s: Scenario) -> None:
    s.entries = [
        (rng.choice((0, 30 * SECOND, 60 * SECOND - 1, 60 * SECOND, 60 * SECOND + 1)), rng.choice(NAMES))
        for _ in range(rng.randrange(1, 6))
    ]
    mine = [ago for ago, who in s.entries if ago < 60 * SECOND and who in {s.agent, rng.choice(NAMES)}]
    place(rng, s, "orders_per_minute", D(len(mine)))


def poor(rng: Random, s: Scenario) -> None:
    p, account = priced(s), s.account
    if p is None or account is None or p.smallest > 10**6:
        return
    unit = p.limit if s.document.long else max(p.limit, s.quotes[s.document.asset].ask * D("1.03"))
    count = rng.choice((p.smallest - p.lot, p.smallest, p.smallest, p.smallest * 3))
    reserved = -reckoning.buying_power(s) + (
        account.non_marginable if s.document.crypto else account.buying_power
    )
    money = max(D(0), ceil_to(reserved + count * unit, NANO) + around(rng) * NANO)
    if s.document.crypto:
        account.non_marginable = money
    else:
        account.buying_power = money


def small_capital(rng: Random, s: Scenario) -> None:
    """E is the smallest of three: make each of them the smallest, some of them much."""
    if s.account is None or s.day.equity is None:
        return
    amount = about(rng, D(rng.choice((20_000, 9_000, 1_000, 300))))
    match rng.randrange(3):
        case 0:
            s.account.equity = rng.choice((amount, amount, D(0), D(-5)))
        case 1:
            s.day.equity = amount
        case 2:
            s.hard["capital_usd"] = amount


def rich(rng: Random, s: Scenario) -> None:
    """A position cap at which a coin's order would be more than the venue takes."""
    if s.account is not None and s.day.equity is not None and s.document.crypto:
        s.account.equity = s.account.non_marginable = s.day.equity = D(50_000_000)
        s.hard["max_order_notional_usd"] = D(rng.choice((150_000, 200_000, 900_000)))


def run_away(rng: Random, s: Scenario) -> None:
    """Let the market be just at or just beyond the limit."""
    doc, quote = s.document, s.quotes.get(s.document.asset)
    p = priced(s)
    if quote is None or p is None:
        return
    step = tick_of(doc.asset, p.limit)
    width = quote.ask - quote.bid
    slip = reckoning.own(s, "max_slippage_pct")
    if doc.long:
        quote.ask = floor_to(doc.trigger * (1 + slip), step) + around(rng) * step
        quote.bid = max(step, quote.ask - width)
    else:
        quote.bid = ceil_to(doc.trigger * (1 - slip), step) + around(rng) * step
        quote.ask = quote.bid + width


def losing_day(rng: Random, s: Scenario) -> None:
    """A day with results and with trades in both directions, on the edge of what may be lost."""
    result_so_far(rng, s)
    s.hard["max_daily_loss"] = D("0.04")
    for table in (*s.by_symbol.values(), *(agent.limits for agent in s.agents.values())):
        table.pop("max_daily_loss", None)
    if s.document.asset in s.instruments:
        add_trade(rng, s, rng.choice(("AAPL", "SPY", "SOL/USD")) if s.document.asset == "PENNY" else "PENNY")
    lay_daily_loss(rng, s)


PUSHES: tuple[Push, ...] = (
    old, ahead, long_lived, unsure, bent, bent, on_tick, on_tick, quantity, trails, again, latched, stopped, not_ready, stopped_for_the_day,
    not_ready, old_account, barred, barred, barred, shorting, unlisted, hours, no_quote, stale, stale, busy, same_idea,
    same_idea, cooling, crowded, used_day, result_so_far, budget, budget, hectic, poor, poor, small_capital, rich,
    run_away, run_away, one_sided_holding, one_sided_holding,
    *LAID, lay_daily_loss, losing_day, losing_day,
)  # fmt: skip


def scenario(rng: Random, hard: dict[str, Decimal], symbols: tuple[str, ...] = EQUITIES + COINS) -> Scenario:
    """Return the next scenario, its document on one of `symbols`."""
    s = comfortable(rng, hard, symbols)
    for _ in range(rng.choice((0, 0, 1, 1, 1, 1, 2, 2, 3))):
        rng.choice(PUSHES)(rng, s)
    return s
