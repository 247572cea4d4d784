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
from hands.core.sizing import size, sized_qty, sizing_equity, smallest_qty
from hands.core.ticket import Finding, Plan, Sizing
from hands.core.units import Ns, mul_floor
from hands.core.venue_rules import illegal
from hands.core.vocab import Code, Leg


class Check(msgspec.Struct, frozen=True):
    """One check. `arming`: also asked before a touch may wait; `fault`: its "no" is the document's own fault."""

    name: str
    code: Code
    judge: Callable[[Case], Result]
    arming: bool
    fault: bool


CHECKS: tuple[Check, ...] = (
    Check("agent_latched", Code.AGENT_LATCHED, checks.agent_latched, arming=True, fault=False),
    Check("duplicate", Code.DUPLICATE_INTENT, checks.duplicate, arming=True, fault=True),
    Check("ttl", Code.EXPIRED, checks.ttl, arming=True, fault=False),
    Check("future_timestamp", Code.FUTURE_TIMESTAMP, checks.future_timestamp, arming=True, fault=True),
    Check("ttl_length", Code.TTL_TOO_LONG, checks.ttl_length, arming=True, fault=True),
    Check("halted", Code.HALTED, checks.halted, arming=True, fault=False),
    Check("ready", Code.NOT_READY, checks.ready, arming=True, fault=False),
    Check("reduce_only", Code.REDUCE_ONLY, checks.reduce_only, arming=True, fault=False),
    Check("symbol_allowed", Code.SYMBOL_NOT_ALLOWED, checks.symbol_allowed, arming=True, fault=True),
    Check("asset_tradable", Code.ASSET_NOT_TRADABLE, checks.asset_tradable, arming=True, fault=True),
    Check("trading_halt", Code.ASSET_NOT_TRADABLE, checks.trading_halt, arming=True, fault=False),
    Check("short_allowed", Code.SHORT_NOT_ALLOWED, checks.short_allowed, arming=True, fault=True),
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
    Check("order_rate", Code.ORDER_RATE, budgets.order_rate, arming=False, fault=False),
    Check("order_notional", Code.ORDER_NOTIONAL, budgets.order_notional, arming=False, fault=True),
    Check("gross_exposure", Code.GROSS_EXPOSURE, budgets.gross_exposure, arming=False, fault=False),
    Check("buying_power", Code.BUYING_POWER, budgets.buying_power, arming=False, fault=False),
    Check("order_size", Code.SIZE_TOO_SMALL, budgets.order_size, arming=False, fault=True),
    Check("venue_rule", Code.VENUE_RULE, checks.venue_rule, arming=True, fault=True),
)


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What the guardian says: every finding up to the first "no", and the plan where all said yes.

    `plan` is None for a denial and for a touch that may wait.
    """

    findings: list[Finding]
    denial: Denial | None = None
    check: Check | None = None
    sizing: Sizing | None = None
    plan: Plan | None = None

    @property
    def code(self) -> Code:
        return Code.OK if self.check is None else self.check.code


def judge(case: Case, asked: tuple[Check, ...] = CHECKS) -> Judgement:
    """Run the checks in order and stop at the first denial; changes nothing."""
    findings: list[Finding] = []
    for check in asked:
        if case.arming and not check.arming:
            continue
        result = check.judge(case)
        if isinstance(result, Denial):
            findings.append(result.finding)
            sizing = (
                None if case.terms is None or case.asset is None or case.arming else size(case, case.terms)
            )
            return Judgement(findings=findings, denial=result, check=check, sizing=sizing)
        findings.append(result)
    if case.arming or case.terms is None:
        return Judgement(findings=findings)
    sizing = size(case, case.terms)
    return Judgement(findings=findings, sizing=sizing, plan=_plan(case, sizing))


def _plan(case: Case, sizing: Sizing) -> Plan:
    terms, asset = case.terms, case.asset
    assert terms is not None
    assert asset is not None
    return Plan(
        asset_class=case.asset_class,
        side=case.side,
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
    plan, limits, state = judgement.plan, case.limits, case.state
    assert judgement.denial is None
    assert plan is not None
    assert case.terms is not None
    assert [finding.check for finding in judgement.findings] == [check.name for check in CHECKS]
    assert plan.qty >= smallest_qty(case, case.terms)
    assert plan.qty % plan.lot == 0
    assert plan.risk_usd <= mul_floor(limits.max_risk_per_trade, sizing_equity(state))
    assert plan.notional_usd <= limits.max_order_notional_usd
    assert case.now_ns < case.deadline_ns
    order_class, order_type, tif = checks.entry_shape(case)
    short = not case.intent.is_long
    assert illegal(case.asset_class, order_class, order_type, tif, plan.qty, short=short) is None
    return ApprovedEntry(
        client_order_id=client_order_id(case.intent.intent_id, Leg.ENTRY, 1),
        intent_id=case.intent.intent_id,
        symbol=case.intent.asset,
        asset_class=case.asset_class,
        side=plan.side,
        qty=plan.qty,
        limit_price=plan.limit_price,
        time_in_force=tif,
        order_class=order_class,
        take_profit=None if case.is_crypto else plan.take_profit,
        stop_loss=None if case.is_crypto else plan.stop_loss,
        deadline_ns=Ns(case.deadline_ns),
    )
