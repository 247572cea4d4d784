"""The guardian's checks against our other business: what lives on the symbol, what was stopped out, what was said before.

Owns those checks; each is a small pure function as in `hands.core.checks`. May not change state.
"""

from __future__ import annotations

from hands.core.case import Case, Denial, seconds_text
from hands.core.checks import Result
from hands.core.orders import ID_PREFIX
from hands.core.ticket import Finding, Form
from hands.core.units import CENT, NANO, Ns
from hands.core.vocab import Retry


def symbol_busy(case: Case) -> Result:
    """One live trade per symbol, all agents together; nothing where anybody else holds or works an order."""
    symbol, state = case.intent.asset, case.state
    live = [ticket for ticket in state.live_on(symbol) if ticket.intent_id != case.intent.intent_id]
    if live:
        found = f"live trade {live[0].intent_id} ({live[0].state})"
    elif symbol in state.foreign:
        found = state.foreign[symbol]
    else:
        return Finding("symbol_busy", True, "free")
    message = f"{symbol} is busy: {found}; everything {ID_PREFIX} trades there ends first"
    return Denial(finding=Finding("symbol_busy", False, found), message=message, retry=Retry.AFTER)


def cooldown(case: Case) -> Result:
    wait = case.limits.cooldown_after_stop_s
    stopped = case.state.stopped_out.get(case.intent.asset)
    since = None if stopped is None else case.now_ns - stopped
    finding = Finding("cooldown", since is None or since >= wait, since, wait, Form.SECONDS)
    if stopped is not None and not finding.ok:
        message = f"{case.intent.asset} was stopped out {seconds_text(case.now_ns - stopped)} s ago"
        return Denial(finding=finding, message=message, retry=Retry.AFTER, retry_at_ns=Ns(stopped + wait))
    return finding


def semantic_duplicate(case: Case) -> Result:
    """The same idea again: symbol, direction and rounded prices of an intent accepted lately and not dead."""
    window, state = case.limits.semantic_duplicate_s, case.state
    prices = idea(case)
    for other in reversed(state.accepted):
        age = case.now_ns - other.at_ns
        if age >= window:
            break
        same = other.symbol == case.intent.asset and other.direction is case.intent.direction
        if (
            same
            and other.prices == prices
            and other.intent_id != case.intent.intent_id
            and _counts(case, other.intent_id)
        ):
            finding = Finding("semantic_duplicate", False, age, window, Form.SECONDS)
            message = f"the same idea as {other.intent_id}, accepted {seconds_text(age)} s ago"
            return Denial(
                finding=finding, message=message, retry=Retry.AFTER, retry_at_ns=Ns(other.at_ns + window)
            )
    return Finding("semantic_duplicate", True, None, window, Form.SECONDS)


def idea(case: Case) -> tuple[int, int, int]:
    """Return an intent's prices rounded to whole cents (below ten dollars exactly)."""
    step = CENT if case.intent.trigger_price >= 10 * NANO else 1
    prices = (case.intent.trigger_price, case.intent.stop_loss, case.intent.take_profit)
    trigger, stop, target = ((2 * price + step) // (2 * step) for price in prices)
    return trigger, stop, target


def _counts(case: Case, intent_id: str) -> bool:
    """Whether an accepted intent is alive or filled; one that died unfilled may be tried again."""
    ticket = case.state.ticket(intent_id)
    if ticket is None:
        return True
    entry = ticket.entry
    return ticket.is_live or (entry is not None and entry.filled_qty > 0)
