"""The guardian's checks against our other business: what lives on the symbol, what was stopped out, what was said before.

Owns those checks; each is a small pure function as in `hands.core.checks`. May not change state.
"""

from __future__ import annotations

from hands.core.case import Case, Denial, seconds_text
from hands.core.checks import SECONDS, Result
from hands.core.orders import ID_PREFIX
from hands.core.ticket import Finding
from hands.core.units import CENT, NANO, Ns
from hands.core.vocab import Retry

_HALF_CENT = CENT // 2
_FREE = Finding("symbol_busy", True, "free")


def symbol_busy(case: Case) -> Result:
    """One live trade per symbol, all agents together; nothing where anybody else holds or works an order."""
    symbol, state, own = case.intent.asset, case.state, case.intent.intent_id
    for stake in case.live.stakes:
        if stake.symbol == symbol and stake.intent_id != own:
            found = f"live trade {stake.intent_id} ({state.tickets[stake.intent_id].state})"
            break
    else:
        if symbol not in state.foreign:
            return _FREE
        found = state.foreign[symbol]
    message = f"{symbol} is busy: {found}; everything {ID_PREFIX} trades there ends first"
    return Denial(Finding("symbol_busy", False, found, "free"), message, Retry.AFTER)


def cooldown(case: Case) -> Result:
    wait, stopped = case.limits.cooldown_after_stop_s, case.state.stopped_out.get(case.intent.asset)
    if stopped is None:
        return Finding("cooldown", True, None, wait, SECONDS)
    since = case.now_ns - stopped
    finding = Finding("cooldown", since >= wait, since, wait, SECONDS)
    if not finding.ok:
        message = f"{case.intent.asset} was stopped out {seconds_text(since)} s ago; {seconds_text(wait)} s must pass"
        return Denial(finding, message, Retry.AFTER, Ns(stopped + wait))
    return finding


def semantic_duplicate(case: Case) -> Result:
    """The same idea again: symbol, direction and rounded prices of an intent accepted lately and not dead."""
    window, intent = case.limits.semantic_duplicate_s, case.intent
    for other in case.state.accepted.alike(intent.asset, intent.direction, idea(case)):
        age = case.now_ns - other.at_ns
        if age >= window:
            break
        if other.intent_id != intent.intent_id and _counts(case, other.intent_id):
            finding = Finding("semantic_duplicate", False, age, window, SECONDS)
            message = f"the same idea as {other.intent_id}, accepted {seconds_text(age)} s ago; {seconds_text(window)} s must pass"
            return Denial(finding, message, Retry.AFTER, Ns(other.at_ns + window))
    return Finding("semantic_duplicate", True, None, window, SECONDS)


def idea(case: Case) -> tuple[int, int, int]:
    """Return an intent's prices rounded to whole cents (below ten dollars exactly)."""
    intent = case.intent
    trigger, stop, target = intent.trigger_price, intent.stop_loss, intent.take_profit
    if trigger < 10 * NANO:
        return trigger, stop, target
    return (
        (trigger + _HALF_CENT) // CENT,
        (stop + _HALF_CENT) // CENT,
        (target + _HALF_CENT) // CENT,
    )


def _counts(case: Case, intent_id: str) -> bool:
    """Whether an accepted intent is alive or filled; one that died unfilled may be tried again."""
    ticket = case.state.ticket(intent_id)
    if ticket is None:
        return not case.state.accepted.is_void(intent_id)
    entry = ticket.entry
    return ticket.is_live or (entry is not None and entry.filled_qty > 0)
