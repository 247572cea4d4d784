"""The guardian's checks on counts and money: what has been used up, and whether one more lot fits.

Owns the budget checks; each is a small pure function as in `hands.core.checks`. Money caps answer through the
sizing: the check whose cap binds at less than the smallest order says no, and names itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from hands.core.case import Case, Denial
from hands.core.checks import Result, unpriced
from hands.core.limits import Limits
from hands.core.sizing import (
    buying_power_usd,
    day_loss_allowed,
    day_loss_usd,
    entries_last_minute,
    exposure_usd,
    open_risk_usd,
    size,
    sized_qty,
    sizing_equity,
    smallest_qty,
)
from hands.core.ticket import Finding, Form
from hands.core.units import decimal_text, mul_ceil, mul_floor, usd_text
from hands.core.vocab import Retry


def _scopes(case: Case) -> tuple[tuple[str | None, Limits], ...]:
    """The account's counters against the account's limits, then the agent's own against its own, where they differ."""
    if case.limits is case.state.limits.hard:
        return ((None, case.limits),)  # an agent cannot have used more than the account
    return (None, case.state.limits.hard), (case.agent, case.limits)


def concurrent(case: Case) -> Result:
    finding = Finding("concurrent", True, 0, case.limits.max_concurrent, Form.COUNT)
    for agent, limits in _scopes(case):
        live = [t for t in case.state.committed(agent) if t.intent_id != case.intent.intent_id]
        finding = Finding(
            "concurrent", len(live) < limits.max_concurrent, len(live), limits.max_concurrent, Form.COUNT
        )
        if not finding.ok:
            message = f"{len(live)} trades are live; at most {limits.max_concurrent} at once"
            return Denial(finding=finding, message=message, retry=Retry.AFTER)
    return finding


def daily_trades(case: Case) -> Result:
    finding = Finding("daily_trades", True, 0, case.limits.max_daily_trades, Form.COUNT)
    for agent, limits in _scopes(case):
        used = case.state.day.trades_of(agent)
        finding = Finding(
            "daily_trades", used < limits.max_daily_trades, used, limits.max_daily_trades, Form.COUNT
        )
        if not finding.ok:
            message = f"{used} trades since the roll; at most {limits.max_daily_trades} a day"
            return Denial(
                finding=finding,
                message=message,
                retry=Retry.AFTER,
                retry_at_ns=case.state.next_roll_ns(case.now_ns),
            )
    return finding


def order_rate(case: Case) -> Result:
    finding = Finding("order_rate", True, 0, case.limits.orders_per_minute, Form.COUNT)
    for agent, limits in _scopes(case):
        used = entries_last_minute(case.state, case.now_ns, agent)
        finding = Finding(
            "order_rate", used < limits.orders_per_minute, used, limits.orders_per_minute, Form.COUNT
        )
        if not finding.ok:
            message = f"{used} entries in the last minute; at most {limits.orders_per_minute}"
            return Denial(finding=finding, message=message, retry=Retry.AFTER)
    return finding


def _tightest(budgets: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Return (used, allowed) of the scope that leaves least."""
    return min(budgets, key=lambda budget: budget[1] - budget[0])


def _binds(case: Case, name: str) -> bool:
    """Whether the cap `name` binds and leaves less than the smallest order."""
    terms = case.terms
    if terms is None:
        return False
    sizing = size(case, terms)
    return sizing.binding == name and sized_qty(sizing) < smallest_qty(case, terms)


def daily_loss(case: Case) -> Result:
    """Loss so far, the risk of what is open and the risk of one smallest order must fit within the day's."""
    terms, state = case.terms, case.state
    if terms is None:
        return unpriced(case, "daily_loss")
    used, allowed = _tightest(
        (day_loss_usd(state, agent) + open_risk_usd(state, agent), day_loss_allowed(state, limits))
        for agent, limits in _scopes(case)
    )
    finding = Finding("daily_loss", not _binds(case, "max_daily_loss"), used, allowed, Form.USD)
    if not finding.ok:
        message = f"{usd_text(used)} USD of today's {usd_text(allowed)} are lost or at risk"
        return Denial(
            finding=finding, message=message, retry=Retry.AFTER, retry_at_ns=state.next_roll_ns(case.now_ns)
        )
    return finding


def order_notional(case: Case) -> Result:
    terms = case.terms
    if terms is None:
        return unpriced(case, "order_notional")
    least = mul_ceil(terms.limit_price, smallest_qty(case, terms))
    most = case.limits.max_order_notional_usd
    finding = Finding("order_notional", not _binds(case, "max_order_notional_usd"), least, most, Form.USD)
    if not finding.ok:
        message = f"the smallest order costs {usd_text(least)} USD; at most {usd_text(most)}"
        return Denial(finding=finding, message=message)
    return finding


def gross_exposure(case: Case) -> Result:
    if case.terms is None:
        return unpriced(case, "gross_exposure")
    equity = sizing_equity(case.state)
    used, most = _tightest(
        (exposure_usd(case.state, agent), mul_floor(equity, limits.max_gross_exposure))
        for agent, limits in _scopes(case)
    )
    finding = Finding("gross_exposure", not _binds(case, "max_gross_exposure"), used, most, Form.USD)
    if not finding.ok:
        message = f"{usd_text(used)} USD of the allowed {usd_text(most)} are in the market or on the way"
        return Denial(finding=finding, message=message, retry=Retry.AFTER)
    return finding


def buying_power(case: Case) -> Result:
    terms, account = case.terms, case.state.account
    if terms is None or account is None:
        return unpriced(case, "buying_power")
    power = buying_power_usd(case)
    least = mul_ceil(terms.limit_price, smallest_qty(case, terms))
    age = case.now_ns - account.asked_ns
    finding = Finding("buying_power", not _binds(case, "buying_power"), power, least, Form.USD, age)
    if not finding.ok:
        message = f"{usd_text(power)} USD of buying power; the smallest order costs {usd_text(least)}"
        return Denial(finding=finding, message=message, retry=Retry.AFTER)
    return finding


def order_size(case: Case) -> Result:
    """At least the smallest order must be left by the caps of risk, position and `qty`."""
    terms = case.terms
    if terms is None:
        return unpriced(case, "order_size")
    sizing, least = size(case, terms), smallest_qty(case, terms)
    qty = sized_qty(sizing)
    finding = Finding("order_size", qty >= least, decimal_text(qty), decimal_text(least))
    if not finding.ok:
        message = f"{sizing.binding} leaves {decimal_text(qty)}; the smallest order is {decimal_text(least)}"
        return Denial(finding=finding, message=message)
    return finding
