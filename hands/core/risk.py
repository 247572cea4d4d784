"""The guardian: every check in the contract's order, and the one place where an entry can be approved.

Owns `CHECKS` (the order is part of the product: cheap and safe first), `judge` (pure: changes nothing, so that
anybody may ask "what if") and `approve`, the only constructor of `ApprovedEntry`, which re-asserts what the
checks promised. May not send, record or change state.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from hands.core import budgets, checks, other_trades
from hands.core.case import Case, Denial
from hands.core.checks import Result
from hands.core.orders import ApprovedEntry, client_order_id
from hands.core.sizing import money, sized_qty, sizing_equity
from hands.core.ticket import Finding, Plan, Sizing
from hands.core.units import Ns, mul_floor
from hands.core.venue_rules import amount_of, off_increment, wrong_size
from hands.core.vocab import Code, Leg, Side


class Check(msgspec.Struct, frozen=True):
    """One check. `arming`: also asked before a touch may wait; `fault`: its "no" is the document's own fault.

    `early`: its "no" looks at nothing but the document and its agent, and is as cheap as can be: a flood of such
    documents must not keep the others waiting. So it comes without a size and without the market.
    """

    name: str
    code: Code
    judge: Callable[[Case], Result]
    arming: bool
    fault: bool
    early: bool = False


CHECKS: tuple[Check, ...] = (
    Check("agent_latched", Code.AGENT_LATCHED, checks.agent_latched, arming=True, fault=False, early=True),
    Check("duplicate", Code.DUPLICATE_INTENT, checks.duplicate, arming=True, fault=True, early=True),
    Check("ttl", Code.EXPIRED, checks.ttl, arming=True, fault=False, early=True),
    Check("future_timestamp", Code.FUTURE_TIMESTAMP, checks.future_timestamp, arming=True, fault=True),
    Check("ttl_length", Code.TTL_TOO_LONG, checks.ttl_length, arming=True, fault=True),
    Check("halted", Code.HALTED, checks.halted, arming=True, fault=False),
    Check("ready", Code.NOT_READY, checks.ready, arming=True, fault=False),
    Check("reduce_only", Code.REDUCE_ONLY, checks.reduce_only, arming=True, fault=False),
    Check("symbol_allowed", Code.SYMBOL_NOT_ALLOWED, checks.symbol_allowed, arming=True, fault=True),
    Check("asset_tradable", Code.ASSET_NOT_TRADABLE, checks.asset_tradable, arming=True, fault=True),
    Check("trading_halt", Code.ASSET_NOT_TRADABLE, checks.trading_halt, arming=True, fault=False),
    Check("short_allowed", Code.SHORT_NOT_ALLOWED, checks.short_allowed, arming=True, fault=True),
    Check("long_allowed", Code.LONG_NOT_ALLOWED, checks.long_allowed, arming=True, fault=True),
    Check("confidence", Code.CONFIDENCE_TOO_LOW, checks.confidence, arming=True, fault=True),
    Check("geometry", Code.BRACKET_GEOMETRY, checks.geometry, arming=True, fault=True),
    Check("session", Code.SESSION_CLOSED, checks.session, arming=True, fault=False),
    Check("market_data", Code.NO_MARKET_DATA, checks.market_data, arming=True, fault=False),
    Check("quote_age", Code.STALE_MARKET_DATA, checks.quote_age, arming=True, fault=False),
    Check("spread", Code.SPREAD_TOO_WIDE, checks.spread, arming=False, fault=False),
    Check("collar", Code.PRICE_COLLAR, checks.collar, arming=True, fault=True),
    Check("slippage", Code.SLIPPAGE, checks.slippage, arming=False, fault=True),
    Check("geometry_market", Code.BRACKET_GEOMETRY, checks.geometry_market, arming=False, fault=True),
    Check("stop_far", Code.STOP_TOO_FAR, checks.stop_far, arming=True, fault=True),
    Check("stop_close", Code.STOP_TOO_CLOSE, checks.stop_close, arming=True, fault=True),
    Check("reward_risk", Code.REWARD_RISK_TOO_LOW, checks.reward_risk, arming=True, fault=True),
    Check("symbol_busy", Code.SYMBOL_BUSY, other_trades.symbol_busy, arming=False, fault=False),
    Check(
        "semantic_duplicate",
        Code.SEMANTIC_DUPLICATE,
        other_trades.semantic_duplicate,
        arming=True,
        fault=True,
    ),
    Check("cooldown", Code.COOLDOWN, other_trades.cooldown, arming=False, fault=False),
    Check("concurrent", Code.CONCURRENT, budgets.concurrent, arming=False, fault=False),
    Check("daily_trades", Code.DAILY_TRADES, budgets.daily_trades, arming=False, fault=False),
    Check("daily_loss", Code.DAILY_LOSS, budgets.daily_loss, arming=False, fault=False),
    Check("agent_budget", Code.AGENT_BUDGET, budgets.agent_budget, arming=False, fault=False),
    Check("order_rate", Code.ORDER_RATE, budgets.order_rate, arming=False, fault=False),
    Check("order_notional", Code.ORDER_NOTIONAL, budgets.order_notional, arming=False, fault=True),
    Check("gross_exposure", Code.GROSS_EXPOSURE, budgets.gross_exposure, arming=False, fault=False),
    Check("buying_power", Code.BUYING_POWER, budgets.buying_power, arming=False, fault=False),
    Check("order_size", Code.SIZE_TOO_SMALL, budgets.order_size, arming=False, fault=True),
    Check("venue_rule", Code.VENUE_RULE, checks.venue_rule, arming=True, fault=True),
)

EARLY = tuple(check for check in CHECKS if check.early)
"""What can be asked of a case that has not been priced."""

_WHEN_ARMING = tuple(check for check in CHECKS if check.arming)
_OK, _ENTRY, _BUY, _SELL = Code.OK, Leg.ENTRY, Side.BUY, Side.SELL


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What the guardian says: every finding up to the first "no", and the plan where all said yes.

    `asked` are the checks that were to be run; `plan` is None for a denial and for a touch that may wait.
    """

    asked: tuple[Check, ...]
    findings: list[Finding]
    denial: Denial | None = None
    check: Check | None = None
    sizing: Sizing | None = None
    plan: Plan | None = None

    @property
    def code(self) -> Code:
        return _OK if self.check is None else self.check.code


def judge(case: Case, asked: tuple[Check, ...] = CHECKS) -> Judgement:
    """Run the checks in order and stop at the first denial; changes nothing."""
    findings: list[Finding] = []
    if case.arming:
        asked = _WHEN_ARMING if asked is CHECKS else tuple(check for check in asked if check.arming)
    for check in asked:
        result = check.judge(case)
        if (
            type(result) is Denial
        ):  # it is final, and this 30 ns less than isinstance, on each of forty checks
            findings.append(result.finding)
            sizing = None if check.early else _sizing(case)
            return Judgement(asked=asked, findings=findings, denial=result, check=check, sizing=sizing)
        findings.append(result)
    sizing = _sizing(case)
    plan = None if sizing is None else _plan(case, sizing)
    return Judgement(asked=asked, findings=findings, sizing=sizing, plan=plan)


def _sizing(case: Case) -> Sizing | None:
    """Return how much would be ordered, None for a touch that is to wait and where nothing can be priced."""
    if case.arming or case.terms is None or case.asset is None:
        return None
    return money(case, case.terms).sizing


def _plan(case: Case, sizing: Sizing) -> Plan:
    terms, asset = case.terms, case.asset
    assert terms is not None
    assert asset is not None
    return Plan(
        asset_class=case.asset_class,
        side=_BUY if case.is_long else _SELL,
        qty=sized_qty(sizing),
        limit_price=terms.limit_price,
        take_profit=terms.take_profit,
        stop_loss=terms.stop_loss,
        worst_exit=terms.worst_exit,
        unit_risk=terms.unit_risk,
        lot=asset.lot,
        price_increment=asset.price_increment,
    )


def approve(case: Case, judgement: Judgement) -> ApprovedEntry:
    """Return the entry a favourable judgement leads to. The only place where one is made.

    The assertions repeat what no entry may violate: they fail loudly if a check was ever lost.
    """
    plan, limits, state, intent = judgement.plan, case.limits, case.state, case.intent
    assert judgement.denial is None
    assert plan is not None
    assert case.money is not None
    assert judgement.asked is CHECKS
    assert len(judgement.findings) == len(CHECKS)
    assert plan.qty >= case.money.smallest
    assert plan.risk_usd <= mul_floor(limits.max_risk_per_trade, sizing_equity(state))
    assert plan.notional_usd <= limits.max_order_notional_usd
    budget = case.may.daily_notional_usd
    assert budget is None or state.day.notional_of(case.agent) + plan.notional_usd <= budget
    assert case.now_ns < case.deadline_ns
    key = case.is_crypto, case.is_long
    shape, least = checks.ENTRY_SHAPES[key], 0 if case.asset is None else case.asset.min_order_qty
    assert checks.ILLEGAL_ENTRIES[key] is None
    assert case.is_crypto or amount_of(plan.qty) is shape.amount
    assert wrong_size(case.asset_class, plan.qty, plan.limit_price, lot=plan.lot, least=least) is None
    assert plan.take_profit is not None
    for price in (plan.limit_price, plan.stop_loss, plan.take_profit):
        assert not off_increment(case.asset_class, price, plan.price_increment)
    return ApprovedEntry(
        client_order_id=client_order_id(intent.intent_id, _ENTRY, 1),
        intent_id=intent.intent_id,
        symbol=intent.asset,
        asset_class=case.asset_class,
        side=plan.side,
        qty=plan.qty,
        limit_price=plan.limit_price,
        time_in_force=shape.tif,
        order_class=shape.order_class,
        take_profit=None if case.is_crypto else plan.take_profit,
        stop_loss=None if case.is_crypto else plan.stop_loss,
        deadline_ns=Ns(case.deadline_ns),
    )
