"""The two guardians side by side: a stream of scenarios, and what the one says against what the other does.

Owns the comparison, the naive look at an approved order, and the tally that shows whether a stream was worth anything.
May not make scenarios or judge them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random

from hands.core.vocab import Code
from tests.oracle import guardian, pushes, reckoning, seat
from tests.oracle.scenario import Outcome, Scenario

D = Decimal
ROUNDING = D("2e-8")
_NAMES = [code.value for code in Code]
ELSEWHERE = {"APPROVAL_REQUIRED", "NOTHING_TO_DO"}
"""Never said, and said of documents of other kinds alone."""

DENIALS = {"UNKNOWN_AGENT", "UNAUTHORISED", *_NAMES[_NAMES.index("AGENT_LATCHED") :]} - ELSEWHERE
"""Every code of a denial, and the two refusals that need no file; the last of the list is never said by this version."""


@dataclass
class Tally:
    """What a stream consisted of."""

    cases: int = 0
    accepted: int = 0
    armed: int = 0
    fired: int = 0
    codes: Counter[str] = field(default_factory=Counter)

    def count(self, s: Scenario, found: Outcome) -> None:
        self.cases += 1
        self.codes[found.code] += 1
        self.accepted += found.qty is not None
        self.armed += found.state == "ARMED"
        self.fired += found.qty is not None and s.document.touch


def differences(s: Scenario) -> tuple[Outcome, list[str]]:
    """Return what the oracle says of a scenario, and everything that speaks against the engine."""
    wanted = guardian.judge(s)
    found = seat.play(s, seat.state_of(s))
    agreed = found == wanted or within_rounding(s, found)
    wrong = [] if agreed else [f"the oracle says {wanted}", f"the engine says {found}"]
    if found.qty is not None:
        wrong += breaches(guardian.decided(s), found)
    return wanted, [*wrong, repr(s)] if wrong else []


def within_rounding(s: Scenario, found: Outcome) -> bool:
    """Whether the engine's answer lies between those to the same day with a hair more and a hair less lost.

    Only where coins are held: what a coin that was received has cost is no whole number of nano-dollars, and the engine
    rounds each of a few terms. With shares every result is exact, and so must be the answer.
    """
    if not any(trade.crypto and trade.received for trade in s.trades):
        return False
    less, more = (guardian.judge(with_result(s, hair)) for hair in (-ROUNDING, ROUNDING))
    if found in (less, more):
        return True
    if less.qty is None or more.qty is None or found.qty is None:
        return False
    return less.qty <= found.qty <= more.qty and replace(found, qty=less.qty) == less


def with_result(s: Scenario, usd: Decimal) -> Scenario:
    made = s.day.realised | {s.agent: s.day.realised.get(s.agent, D(0)) + usd}
    return replace(s, day=replace(s.day, realised=made))


def run(seeds: range, symbols: tuple[str, ...]) -> Tally:
    """Hold the engine against the oracle over seeds; the first disagreement fails, and names its seed."""
    tally, hard = Tally(), seat.shipped_values()
    for seed in seeds:
        s = pushes.scenario(Random(seed), hard, symbols)
        wanted, wrong = differences(s)
        assert not wrong, "\n".join((f"seed {seed} on {symbols}", *wrong))
        tally.count(s, wanted)
    return tally


def worth_something(tally: Tally, absent: set[str]) -> None:
    """A stream proves nothing about a code that it never met, nor if it approves nothing."""
    floor = tally.cases // 500
    seldom = {code: tally.codes[code] for code in DENIALS - absent if tally.codes[code] < floor}
    assert not seldom, f"fewer than {floor} of {tally.cases}: {seldom}"
    assert tally.accepted >= tally.cases // 10
    assert tally.armed >= tally.cases // 100
    assert tally.fired >= tally.cases // 100


def breaches(s: Scenario, order: Outcome) -> list[str]:
    """Return every limit that an approved order would break: from its own numbers, without any notion of a cap."""
    assert order.qty is not None
    assert order.limit is not None
    assert order.stop is not None
    assert order.target is not None
    assert s.account is not None
    doc, quote, qty, e = s.document, s.quotes[s.document.asset], order.qty, reckoning.equity(s)
    fee = D("0.0025") if doc.crypto else D(0)
    worst = reckoning.worst_exit(s, doc.asset, order.stop)
    notional = qty * order.limit
    loses = qty * (abs(order.limit - worst) + fee * (order.limit + worst))
    gains = qty * (abs(order.target - order.limit) - fee * (order.limit + order.target))
    reach = 1 + reckoning.own(s, "max_slippage_pct") * (1 if doc.long else -1)
    beyond = order.limit - doc.trigger * reach if doc.long else doc.trigger * reach - order.limit
    distance = abs(order.limit - order.stop) / order.limit
    rules = {
        "more than nothing": qty > 0 and qty % s.instruments[doc.asset].lot == 0,
        "max_order_notional_usd": notional <= reckoning.own(s, "max_order_notional_usd"),
        "max_position_size": notional <= e * reckoning.own(s, "max_position_size"),
        "max_risk_per_trade": loses <= e * reckoning.own(s, "max_risk_per_trade"),
        "min_reward_risk": gains >= loses * reckoning.own(s, "min_reward_risk"),
        "max_slippage_pct": beyond <= 0,
        "max_stop_distance": distance <= reckoning.own(s, "max_stop_distance"),
        "min_stop_distance": distance >= reckoning.own(s, "min_stop_distance"),
        "max_spread": (quote.ask - quote.bid) * 2 <= (quote.ask + quote.bid) * reckoning.own(s, "max_spread"),
        "min_confidence": doc.confidence >= reckoning.own(s, "min_confidence"),
        "qty": doc.qty is None or qty <= doc.qty,
        "buying_power": notional <= (s.account.non_marginable if doc.crypto else s.account.buying_power),
        "daily_notional_usd": budget_holds(s, notional),
        "allowed": doc.asset in s.allow and (doc.long or s.allow_short),
        "session": doc.crypto or (s.session is not None and s.session.is_open),
        "trading state": not s.reasons and s.agent not in s.latched,
    }
    hair = ROUNDING if any(trade.crypto and trade.received for trade in s.trades) else D(0)
    for who in reckoning.scopes(s):
        exposed = sum((reckoning.exposure(t) for t in reckoning.of(s, who)), notional)
        lost = reckoning.loss_today(s, who) + sum((reckoning.risk(s, t) for t in reckoning.of(s, who)), loses)
        trades = sum(s.day.trades.values()) if who is None else s.day.trades.get(who, 0)
        rules |= {
            f"max_gross_exposure of {who}": exposed <= e * reckoning.limit(s, "max_gross_exposure", who),
            f"max_daily_loss of {who}": lost
            <= (s.day.equity or D(0)) * reckoning.limit(s, "max_daily_loss", who) + hair,
            f"max_concurrent of {who}": len(reckoning.of(s, who)) < reckoning.limit(s, "max_concurrent", who),
            f"max_daily_trades of {who}": trades < reckoning.limit(s, "max_daily_trades", who),
        }
    return [f"an approved order breaks {name}" for name, holds in rules.items() if not holds]


def budget_holds(s: Scenario, notional: Decimal) -> bool:
    left = reckoning.budget_left(s)
    return left is None or notional <= left
