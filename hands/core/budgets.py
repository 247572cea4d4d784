"""The guardian's checks on counts and money: what has been used up, and whether one more lot fits.

Owns the budget checks; each is a small pure function as in `hands.core.checks`. Money caps answer through the
sizing: the check whose cap binds at less than the smallest order says no, and names itself.
"""

from __future__ import annotations

from hands.core.case import Case, Denial
from hands.core.checks import COUNT, USD, Result, unpriced
from hands.core.sizing import RATE_WINDOW_NS, entries_last_minute, money
from hands.core.state import State
from hands.core.ticket import Finding, Form, Ticket
from hands.core.units import Ns, decimal_text, mul_ceil, usd_text
from hands.core.vocab import Retry

QTY = Form.QTY
_NO_BUDGET = Finding("agent_budget", True)


def concurrent(case: Case) -> Result:
    count, most = len(case.live.stakes), case.account.max_concurrent
    if count < most and case.has_own_limits:
        count, most = len(case.state.stakes.total(case.agent).stakes), case.limits.max_concurrent
    finding = Finding("concurrent", count < most, count, most, COUNT)
    if not finding.ok:
        return Denial(finding, f"{count} trades are live; at most {most} at once", Retry.AFTER)
    return finding


def daily_trades(case: Case) -> Result:
    day = case.state.day
    count, most = day.trades_of(None), case.account.max_daily_trades
    if count < most and case.has_own_limits:
        count, most = day.trades_of(case.agent), case.limits.max_daily_trades
    finding = Finding("daily_trades", count < most, count, most, COUNT)
    if not finding.ok:
        retry_at_ns = case.state.next_roll_ns(case.now_ns)
        return Denial(
            finding, f"{count} trades since the roll; at most {most} a day", Retry.AFTER, retry_at_ns
        )
    return finding


def order_rate(case: Case) -> Result:
    state, now = case.state, case.now_ns
    count, most = entries_last_minute(state, now), case.account.orders_per_minute
    if count < most and case.has_own_limits:
        count, most = entries_last_minute(state, now, case.agent), case.limits.orders_per_minute
    finding = Finding("order_rate", count < most, count, most, COUNT)
    if not finding.ok:
        message = f"{count} entries in the last minute; at most {most}"
        return Denial(finding, message, Retry.AFTER, _next_over_ns(case))
    return finding


def _next_over_ns(case: Case) -> Ns | None:
    """Return when the oldest entry of the last minute is a minute old: before that, nothing has changed."""
    since = case.now_ns - RATE_WINDOW_NS
    oldest = next((at for at, _ in case.state.approvals if at > since), None)
    return None if oldest is None else Ns(oldest + RATE_WINDOW_NS)


def daily_loss(case: Case) -> Result:
    """Loss so far, the risk of what is open and the risk of one smallest order must fit within the day's."""
    terms, state = case.terms, case.state
    if terms is None:
        return unpriced(case, "daily_loss")
    found = case.money or money(case, terms)
    spent, allowed = found.loss
    finding = Finding("daily_loss", found.forbids != "max_daily_loss", spent, allowed, USD)
    if not finding.ok:
        least = usd_text(mul_ceil(terms.unit_risk, found.smallest))
        message = (
            f"{usd_text(spent)} USD of today's {usd_text(allowed)} are lost or at risk;"
            f" the smallest order risks {least}"
        )
        return Denial(finding, message, Retry.AFTER, state.next_roll_ns(case.now_ns))
    return finding


def agent_budget(case: Case) -> Result:
    """What the agent may still have approved today must hold at least the smallest order."""
    terms, state, agent, budget = case.terms, case.state, case.agent, case.may.daily_notional_usd
    if budget is None:
        return _NO_BUDGET
    if terms is None:
        return unpriced(case, "agent_budget")
    spent, found = state.day.notional_of(agent), case.money or money(case, terms)
    finding = Finding("agent_budget", found.forbids != "daily_notional_usd", spent, budget, USD)
    if not finding.ok:
        least = usd_text(mul_ceil(terms.limit_price, found.smallest))
        message = (
            f"{usd_text(spent)} USD of agent {agent}'s {usd_text(budget)} a day are approved;"
            f" the smallest order costs {least}"
        )
        return Denial(finding, message, Retry.AFTER, state.next_roll_ns(case.now_ns))
    return finding


def spend(state: State, ticket: Ticket) -> None:
    """Take an approved entry out of its agent's day: one trade, and its notional."""
    _book_day(state, ticket, 1)


def unspend(state: State, ticket: Ticket) -> None:
    """Give it back to the day it was taken from."""
    _book_day(state, ticket, -1)


def _book_day(state: State, ticket: Ticket, sign: int) -> None:
    day, agent = state.day, ticket.agent
    day.trades[agent] = max(0, day.trades.get(agent, 0) + sign)
    if ticket.plan is not None:
        day.notional[agent] = max(0, day.notional.get(agent, 0) + sign * ticket.plan.notional_usd)
    state.changed["day", ""] = day


def order_notional(case: Case) -> Result:
    terms = case.terms
    if terms is None:
        return unpriced(case, "order_notional")
    found = case.money or money(case, terms)
    least, most = mul_ceil(terms.limit_price, found.smallest), case.limits.max_order_notional_usd
    finding = Finding("order_notional", found.forbids != "max_order_notional_usd", least, most, USD)
    if not finding.ok:
        message = f"the smallest order costs {usd_text(least)} USD; at most {usd_text(most)}"
        return Denial(finding, message, Retry.CHANGED)
    return finding


def gross_exposure(case: Case) -> Result:
    terms = case.terms
    if terms is None:
        return unpriced(case, "gross_exposure")
    found = case.money or money(case, terms)
    taken, most = found.exposure
    finding = Finding("gross_exposure", found.forbids != "max_gross_exposure", taken, most, USD)
    if not finding.ok:
        least = usd_text(mul_ceil(terms.limit_price, found.smallest))
        message = f"{usd_text(taken)} USD of the allowed {usd_text(most)} are taken; the smallest order costs {least}"
        return Denial(finding, message, Retry.AFTER)
    return finding


def buying_power(case: Case) -> Result:
    terms, account = case.terms, case.state.account
    if terms is None:
        return unpriced(case, "buying_power")
    found = case.money or money(case, terms)
    least = mul_ceil(found.unit_cost, found.smallest)
    age = None if account is None else case.now_ns - account.asked_ns
    fits = account is not None and found.forbids != "buying_power"
    finding = Finding("buying_power", fits, found.power, least, USD, age)
    if not fits:
        message = f"{usd_text(found.power)} USD of buying power; the smallest order costs {usd_text(least)}"
        return Denial(finding, message, Retry.AFTER)
    return finding


def order_size(case: Case) -> Result:
    """At least the smallest order must be left by the caps of risk, position and `qty`."""
    terms = case.terms
    if terms is None:
        return unpriced(case, "order_size")
    found = case.money or money(case, terms)
    qty, least = found.qty, found.smallest
    finding = Finding("order_size", qty >= least, qty, least, QTY)
    if not finding.ok:
        binding = found.sizing.binding
        message = f"{binding} leaves {decimal_text(qty)}; the smallest order is {decimal_text(least)}"
        return Denial(finding, message, Retry.CHANGED)
    return finding
