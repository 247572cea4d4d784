"""The numbers a verdict rests on: whose limit holds, the order's prices, what trades use up. In decimals of 60 digits.

Owns the contract's arithmetic (its sections 3 and 5), added up anew for every document, without any of the engine's code.
May not say yes or no: that is `tests.oracle.guardian`.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, setcontext

from tests.oracle.scenario import (
    HIGHER_IS_TIGHTER,
    Agent,
    Instrument,
    Quote,
    Scenario,
    Trade,
)

D = Decimal
NANO = D("1e-9")
CRYPTO_FEE = D("0.0025")
CRYPTO_ORDER_LEAST = D(10)
CRYPTO_ORDER_MOST = D(200_000)
SHORT_EQUITY_LEAST = D(2_000)
OVER = {"filled", "canceled", "expired", "rejected", "replaced"}
setcontext(Context(prec=60))


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    return (value / step).to_integral_value(ROUND_CEILING) * step


# --- whose limit ---------------------------------------------------------------------------------------------


def limit(s: Scenario, key: str, agent: str | None) -> Decimal:
    """Return the tightest value of a key: the account's, the symbol's and, where one is asked for, the agent's."""
    found = [s.hard[key], s.by_symbol.get(s.document.asset, {}).get(key, s.hard[key])]
    if agent is not None and agent in s.agents:
        found.append(s.agents[agent].limits.get(key, s.hard[key]))
    return max(found) if key in HIGHER_IS_TIGHTER else min(found)


def own(s: Scenario, key: str) -> Decimal:
    return limit(s, key, s.agent)


def scopes(s: Scenario) -> list[str | None]:
    """The account's counters, and inside them an agent's own where the limits file has a table for it."""
    return [None, s.agent] if s.agent in s.agents else [None]


# --- prices --------------------------------------------------------------------------------------------------


def tick(price: Decimal, thing: Instrument, crypto: bool) -> Decimal:
    if crypto:
        return thing.increment or NANO
    return D("0.01") if price >= 1 else D("0.0001")


class Prices:
    """The order's prices, all by the contract's section 3."""

    def __init__(self, s: Scenario, quote: Quote) -> None:
        doc, thing = s.document, s.instruments[s.document.asset]
        slip = own(s, "max_slippage_pct")
        self.doc, self.long = doc, doc.long

        def down(price: Decimal) -> Decimal:
            return floor_to(price, tick(price, thing, doc.crypto))

        def up(price: Decimal) -> Decimal:
            return ceil_to(price, tick(price, thing, doc.crypto))

        if doc.long:
            self.limit = down(min(doc.trigger, quote.ask) * (1 + slip))
            self.stop, self.target = up(doc.stop), down(doc.target)
        else:
            self.limit = up(max(doc.trigger, quote.bid) * (1 - slip))
            self.stop, self.target = down(doc.stop), up(doc.target)
        self.worst = worst_exit(s, doc.asset, self.stop)
        self.fee = CRYPTO_FEE if doc.crypto else D(0)
        # money is kept in nano-dollars, and rounded against the trade
        self.unit_risk = abs(self.limit - self.worst) + ceil_to((self.limit + self.worst) * self.fee, NANO)
        gain = self.target - self.limit if doc.long else self.limit - self.target
        self.unit_reward = gain - ceil_to((self.limit + self.target) * self.fee, NANO)
        self.lot = thing.lot
        self.smallest = self._smallest(thing)

    def _smallest(self, thing: Instrument) -> Decimal:
        """The smallest order: one share; for coins, what can be sold at the worst exit, net of the fee, by 1.1 x."""
        least = max(thing.lot, ceil_to(thing.min_qty, thing.lot))
        if not self.doc.crypto:
            return least
        if self.worst <= 0:
            return D("1e30")
        while True:
            kept = floor_to(least * (1 - CRYPTO_FEE), thing.lot)
            missing = CRYPTO_ORDER_LEAST * D("1.1") - kept * self.worst
            if missing <= 0:
                return least
            least += max(thing.lot, floor_to(missing / self.worst, thing.lot))


def worst_exit(s: Scenario, symbol: str, stop: Decimal) -> Decimal:
    if "/" not in symbol:
        return stop
    far = stop * (1 - s.hard["stop_limit_offset"])
    return floor_to(far, tick(far, s.instruments[symbol], crypto=True))


# --- what is used up -----------------------------------------------------------------------------------------


def alive(s: Scenario) -> list[Trade]:
    return [t for t in s.trades if t.state in {"WORKING", "UNKNOWN", "OPEN", "CLOSING", "FROZEN"}]


def of(s: Scenario, agent: str | None) -> list[Trade]:
    return [t for t in alive(s) if agent in (None, t.agent)]


def waiting(t: Trade) -> Decimal:
    return D(0) if t.status in OVER else t.qty - t.filled


def owned(t: Trade) -> Decimal:
    return t.received - t.sold


def exposure(t: Trade) -> Decimal:
    """In flight counts as filled."""
    return ceil_to(t.limit * (owned(t) + waiting(t)), NANO)


def cost_each(t: Trade) -> Decimal:
    """What one unit that was received has cost: the fee in coins makes it dearer."""
    return t.price * t.filled / t.received if t.received else D(0)


def fee_of(t: Trade) -> Decimal:
    return CRYPTO_FEE if t.crypto else D(0)


def realised(t: Trade) -> Decimal:
    made = (t.sold_at - cost_each(t)) * t.sold
    return (made if t.long else -made) - t.sold_at * t.sold * fee_of(t)


def mark(s: Scenario, t: Trade) -> Decimal:
    """Longs at the bid, shorts at the ask. Without that side the contract says nothing: what was paid.

    Loss so far and open risk together are the same wherever the mark is, down to the worst exit.
    """
    quote = s.quotes.get(t.symbol)
    side = D(0) if quote is None else quote.bid if t.long else quote.ask
    return side or t.price


def unrealised(s: Scenario, t: Trade) -> Decimal:
    made = (mark(s, t) - cost_each(t)) * owned(t)
    return (made if t.long else -made) - mark(s, t) * owned(t) * fee_of(t)


def risk(s: Scenario, t: Trade) -> Decimal:
    """What may be lost beyond what is: from the mark to the worst exit, and all of what is not yet filled.

    Money is counted in billionths of a dollar; what is to be feared is rounded up to the next.
    """
    worst = worst_exit(s, t.symbol, t.stop)
    fall = mark(s, t) - worst if t.long else worst - mark(s, t)
    unit = abs(t.limit - worst) + ceil_to((t.limit + worst) * fee_of(t), NANO)
    return ceil_to(max(D(0), fall) * owned(t), NANO) + ceil_to(unit * waiting(t), NANO)


def total(found: dict[str, Decimal], agent: str | None) -> Decimal:
    return sum(found.values(), D(0)) if agent is None else found.get(agent, D(0))


def loss_today(s: Scenario, agent: str | None) -> Decimal:
    """Loss since the roll; a profit is no loss, and raises no limit."""
    made = total(s.day.realised, agent) - total(s.day.unrealised_at_roll, agent)
    made += sum((realised(t) + unrealised(s, t) for t in of(s, agent)), D(0))
    return max(D(0), -made)


def equity(s: Scenario) -> Decimal:
    assert s.account is not None
    assert s.day.equity is not None
    capital = s.hard["capital_usd"]
    return max(D(0), min([s.account.equity, s.day.equity, *([capital] if capital > 0 else [])]))


def loss_left(s: Scenario, agent: str | None) -> Decimal:
    assert s.day.equity is not None
    allowed = s.day.equity * limit(s, "max_daily_loss", agent)
    if agent in s.day.stopped:
        return D(0)
    return allowed - loss_today(s, agent) - sum((risk(s, t) for t in of(s, agent)), D(0))


def exposure_left(s: Scenario, agent: str | None) -> Decimal:
    used = sum((exposure(t) for t in of(s, agent)), D(0))
    return equity(s) * limit(s, "max_gross_exposure", agent) - used


def budget_left(s: Scenario) -> Decimal | None:
    most = s.agents.get(s.agent, Agent()).daily_notional
    return None if most is None else most - s.day.notional.get(s.agent, D(0))


def buying_power(s: Scenario) -> Decimal:
    """What the venue said, less what it could not know yet when it was asked."""
    assert s.account is not None
    power = s.account.non_marginable if s.document.crypto else s.account.buying_power
    for t in alive(s):
        if t.known_ago_ns is None or t.known_ago_ns <= s.account.age_ns:
            power -= t.limit * t.qty * (D(1) if t.long else D("1.03"))
    return power
