"""How much: the largest lot-rounded quantity within every cap, and how much of each budget is used up.

Owns the contract's sizing rule and the measures it shares with the budget checks (exposure, loss, risk).
Everything in flight counts as filled. Pure arithmetic on nano-units; rounding is always against the trade.
"""

from __future__ import annotations

from itertools import takewhile

from hands.core.case import Case, Terms
from hands.core.limits import Limits
from hands.core.state import State
from hands.core.ticket import Sizing, Ticket
from hands.core.units import NANO, NS_PER_S, Price, Qty, Usd, floor_to, mul_ceil, mul_floor
from hands.core.venue_rules import (
    CRYPTO_MAX_NOTIONAL,
    CRYPTO_MIN_NOTIONAL,
    SELLABLE_MARGIN,
    fee_rate,
    received_qty,
)
from hands.core.vocab import OrderStatus

QTY_MAX = 10**9 * NANO
"""No order is larger, whatever a price of almost nothing would allow."""

SHORT_MARGIN = 1_030_000_000
"""The venue values an opening short at 1.03 x the ask when it checks buying power."""


def sizing_equity(state: State) -> Usd:
    """Return E: the least of the account's equity, the equity at the roll, and `capital_usd` where it is set."""
    candidates = [state.account.equity if state.account else 0]
    if state.day.equity is not None:
        candidates.append(state.day.equity)
    if state.limits.hard.capital_usd:
        candidates.append(state.limits.hard.capital_usd)
    return Usd(max(0, min(candidates)))


def mark_price(state: State, ticket: Ticket) -> Price | None:
    """Return what the position could be closed at now: longs at the bid, shorts at the ask."""
    index = state.market.index.get(ticket.symbol)
    quote = None if index is None else state.market.quote(index)
    side = None if quote is None else (quote.bid if ticket.is_long else quote.ask)
    return side if side is not None else ticket.avg_entry


def unfilled(ticket: Ticket) -> Qty:
    """Return what the entry may still fill; an approved entry not yet known to the table counts whole."""
    entry = ticket.entry
    if entry is None:
        return ticket.plan.qty if ticket.plan is not None else Qty(0)
    return entry.remaining if entry.is_live else Qty(0)


def exposure_usd(state: State, agent: str | None = None) -> Usd:
    """Return the notional of everything approved and not yet flat, at its limit price."""
    return Usd(
        sum(
            mul_ceil(t.plan.limit_price, abs(t.owned) + unfilled(t))
            for t in state.committed(agent)
            if t.plan is not None
        )
    )


def unrealised_usd(state: State, agent: str | None = None) -> Usd:
    """Return the P&L of open positions at their mark, exit fees included."""
    total = 0
    for ticket in state.committed(agent):
        mark = mark_price(state, ticket)
        if mark is not None and ticket.owned > 0:
            total += ticket.unrealised_usd(mark) - mul_ceil(mul_floor(mark, ticket.owned), ticket.fee_rate)
    return Usd(total)


def day_realised_usd(state: State, agent: str | None = None) -> Usd:
    """Return today's realised P&L: of the trades that ended, and of the sold part of those still open."""
    ended = state.day.realised_of(agent)
    return Usd(ended + sum(ticket.realised_usd() for ticket in state.committed(agent)))


def day_loss_usd(state: State, agent: str | None = None) -> Usd:
    """Return how much has been lost since the roll, realised and unrealised; a profit counts as no loss."""
    baseline = state.day.unrealised_of(agent)
    return Usd(max(0, -(day_realised_usd(state, agent) + unrealised_usd(state, agent) - baseline)))


def open_risk_usd(state: State, agent: str | None = None) -> Usd:
    """Return what would be lost beyond today's mark if every stop were hit and everything in flight filled."""
    total = 0
    for ticket in state.committed(agent):
        plan = ticket.plan
        if plan is None:
            continue
        mark = mark_price(state, ticket) or plan.limit_price
        fall = mark - plan.worst_exit if ticket.is_long else plan.worst_exit - mark
        total += max(0, mul_ceil(fall, max(0, ticket.owned))) + mul_ceil(plan.unit_risk, unfilled(ticket))
    return Usd(total)


def day_loss_allowed(state: State, limits: Limits) -> Usd:
    """Return the most that may be lost between two rolls."""
    base = state.day.equity if state.day.equity is not None else sizing_equity(state)
    return Usd(mul_floor(base, limits.max_daily_loss))


def entries_last_minute(state: State, now_ns: int, agent: str | None = None) -> int:
    """Return how many entries were approved in the last 60 s."""
    since = now_ns - 60 * NS_PER_S
    if agent is None:  # they stand in the order of time: only the oldest can be over
        return len(state.approvals) - sum(
            1 for _ in takewhile(lambda approval: approval[0] <= since, state.approvals)
        )
    return sum(1 for at, who in state.approvals if at > since and who == agent)


def buying_power_usd(case: Case) -> Usd:
    """Return what the venue would lend us now: its last word, less what it cannot have counted yet."""
    account = case.state.account
    if account is None:
        return Usd(0)
    power = account.non_marginable_buying_power if case.is_crypto else account.buying_power
    for ticket in case.state.committed():
        entry = ticket.entry
        unseen = entry is None or entry.acked_ns is None or entry.acked_ns >= account.asked_ns
        if unseen and ticket.plan is not None:
            value = ticket.plan.notional_usd
            power = Usd(power - (value if ticket.is_long else mul_ceil(value, SHORT_MARGIN)))
    return Usd(max(0, power))


def unit_cost(case: Case, terms: Terms) -> Price:
    """Return what one unit takes from the buying power."""
    if case.intent.is_long or case.quote is None or case.quote.ask is None:
        return terms.limit_price
    return Price(max(terms.limit_price, mul_ceil(case.quote.ask, SHORT_MARGIN)))


def size(case: Case, terms: Terms) -> Sizing:
    """Return every cap as a lot-rounded quantity, and which binds (the first of the smallest).

    The caps stand in the order of the checks that answer for them; the least of them is the order's quantity.
    """
    if case.sizing is not None:
        return case.sizing
    state, own, hard = case.state, case.limits, case.state.limits.hard
    equity = sizing_equity(state)
    lot = case.asset.lot if case.asset is not None else NANO
    limit, risk = terms.limit_price, max(1, terms.unit_risk)

    scopes = [(None, hard)] if own is hard else [(None, hard), (case.agent, own)]
    loss_left = min(
        day_loss_allowed(state, limits) - day_loss_usd(state, agent) - open_risk_usd(state, agent)
        for agent, limits in scopes
    )
    exposure_left = min(
        mul_floor(equity, limits.max_gross_exposure) - exposure_usd(state, agent) for agent, limits in scopes
    )
    caps = {
        "max_daily_loss": max(0, loss_left) * NANO // risk,
        "max_order_notional_usd": own.max_order_notional_usd * NANO // limit,
        "max_gross_exposure": max(0, exposure_left) * NANO // limit,
        "buying_power": buying_power_usd(case) * NANO // unit_cost(case, terms),
        "max_risk_per_trade": mul_floor(equity, own.max_risk_per_trade) * NANO // risk,
        "max_position_size": mul_floor(equity, own.max_position_size) * NANO // limit,
    }
    if case.is_crypto:
        caps["venue_max_notional"] = CRYPTO_MAX_NOTIONAL * NANO // limit
    if case.intent.qty is not None:
        caps["qty"] = case.intent.qty
    caps = {name: floor_to(min(qty, QTY_MAX), lot) for name, qty in caps.items()}
    case.sizing = Sizing(binding=min(caps, key=lambda name: caps[name]), caps=caps)
    return case.sizing


def sized_qty(sizing: Sizing) -> Qty:
    """Return the quantity the caps leave."""
    return Qty(sizing.caps[sizing.binding])


def smallest_qty(case: Case, terms: Terms) -> Qty:
    """Return the smallest quantity worth having: one lot, the venue's minimum, and in crypto enough to be sellable.

    A crypto position shrinks by the fee taken in coins and must, even at its worst exit, be worth 1.1 x the
    venue's minimum order; otherwise its stop could be refused as too small.
    """
    asset = case.asset
    if asset is None or not case.is_crypto or terms.worst_exit <= 0:  # without an exit the venue rule says no
        return Qty(asset.lot if asset is not None else NANO)
    net_needed = -(-mul_ceil(CRYPTO_MIN_NOTIONAL, SELLABLE_MARGIN) * NANO // terms.worst_exit)
    gross = -(-net_needed * NANO // (NANO - fee_rate(case.asset_class)))
    smallest = max(asset.lot, asset.min_order_qty, gross)
    smallest += -smallest % asset.lot
    while mul_floor(received_qty(case.asset_class, smallest, asset.lot), terms.worst_exit) < mul_ceil(
        CRYPTO_MIN_NOTIONAL, SELLABLE_MARGIN
    ):
        smallest += asset.lot  # flooring to lots may have cost one
    return Qty(smallest)


def is_dust(ticket: Ticket, qty: int, mark: int) -> bool:
    """Whether `qty` of a crypto position is too small for the venue to sell."""
    plan = ticket.plan
    return plan is not None and plan.is_crypto and mul_floor(mark, qty) < CRYPTO_MIN_NOTIONAL


def counts_as_trade(ticket: Ticket) -> bool:
    """Whether a finished ticket used up one of the day's trades: only one that filled did."""
    entry = ticket.entry
    return entry is not None and (entry.filled_qty > 0 or entry.status is OrderStatus.UNKNOWN)
