"""How much: the largest lot-rounded quantity within every cap, and how much of each budget is used up.

Owns the contract's sizing rule and the measures it shares with the budget checks (exposure, loss, risk).
Everything in flight counts as filled. Pure arithmetic on nano-units; rounding is always against the trade.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice

import msgspec

from hands.core.case import Case, Terms
from hands.core.limits import Limits
from hands.core.state import UNNAMED, State
from hands.core.ticket import Sizing, Ticket
from hands.core.units import NANO, NS_PER_S, Price, Qty, Usd, ceil_to, floor_to, mul_ceil, mul_floor
from hands.core.venue_rules import (
    CRYPTO_MAX_NOTIONAL,
    CRYPTO_MIN_NOTIONAL,
    SELLABLE_MARGIN,
    SHORT_MARGIN,
    fee_rate,
    received_qty,
)
from hands.core.vocab import OrderStatus

RATE_WINDOW_NS = 60 * NS_PER_S
"""How far back `orders_per_minute` looks."""

QTY_MAX = 10**9 * NANO
"""No order is larger, whatever a price of almost nothing would allow."""

_LAST = "\U0010ffff"
"""Stands behind every agent's name."""


def sizing_equity(state: State) -> Usd:
    """Return E: the least of the account's equity, the equity at the roll, and `capital_usd` where it is set."""
    account, at_roll, capital = state.account, state.day.equity, state.limits.hard.capital_usd
    equity: int = 0 if account is None else account.equity
    if at_roll is not None and at_roll < equity:
        equity = at_roll
    if capital and capital < equity:
        equity = capital
    return Usd(max(0, equity))


def mark_price(state: State, ticket: Ticket) -> Price | None:
    """Return what the position could be closed at now: longs at the bid, shorts at the ask."""
    side = _closing_price(state, ticket.symbol, ticket.is_long)
    return side if side is not None else ticket.avg_entry


def _closing_price(state: State, symbol: str, is_long: bool) -> Price | None:
    index = state.market.index.get(symbol)
    return None if index is None else state.market.side(index, not is_long)


class Used(msgspec.Struct, frozen=True, gc=False):
    """What trades use up until they are flat: all in dollars, everything in flight counted as filled.

    `exposure` is their notional at the limit price; `unrealised` the P&L of what they hold at its mark, exit fees
    included; `open_risk` what would be lost beyond that mark if every stop were hit.
    """

    exposure: int
    realised: int
    unrealised: int
    open_risk: int


def used(state: State, agent: str | None = None) -> Used:
    """Return what the committed trades use up, of one agent or of all."""
    total = state.stakes.total(agent)
    unrealised, open_risk = 0, total.waiting_risk
    for stake in total.holding:
        owned, is_long = stake.owned, stake.is_long
        mark = _closing_price(state, stake.symbol, is_long) or stake.avg_entry
        value = mark * owned // NANO
        unrealised += value - stake.cost if is_long else stake.cost - value
        if stake.fee_rate:
            unrealised -= mul_ceil(value, stake.fee_rate)
        fall = mark - stake.worst_exit if is_long else stake.worst_exit - mark
        if fall > 0:
            open_risk -= -fall * owned // NANO
    return Used(total.exposure, total.realised, unrealised, open_risk)


def exposure_usd(state: State, agent: str | None = None) -> Usd:
    """Return the notional of everything approved and not yet flat, at its limit price."""
    return Usd(used(state, agent).exposure)


def unrealised_usd(state: State, agent: str | None = None) -> Usd:
    """Return the P&L of open positions at their mark, exit fees included."""
    return Usd(used(state, agent).unrealised)


def day_realised_usd(state: State, agent: str | None = None) -> Usd:
    """Return today's realised P&L: of the trades that ended, and of the sold part of those still open."""
    return Usd(state.day.realised_of(agent) + used(state, agent).realised)


def day_loss_usd(state: State, agent: str | None = None, now: Used | None = None) -> Usd:
    """Return how much has been lost since the roll, realised and unrealised; a profit counts as no loss.

    `now`: what is used up, where that has been counted already.
    """
    return Usd(_day_loss(state, agent, used(state, agent) if now is None else now))


def _day_loss(state: State, agent: str | None, now: Used) -> int:
    day = state.day
    made = day.realised_of(agent) - day.unrealised_of(agent) + now.realised + now.unrealised
    return -made if made < 0 else 0


def open_risk_usd(state: State, agent: str | None = None) -> Usd:
    """Return what would be lost beyond today's mark if every stop were hit and everything in flight filled."""
    return Usd(used(state, agent).open_risk)


def day_loss_allowed(state: State, limits: Limits) -> Usd:
    """Return the most that may be lost between two rolls."""
    base = state.day.equity if state.day.equity is not None else sizing_equity(state)
    return Usd(mul_floor(base, limits.max_daily_loss))


def agent_left_usd(state: State, agent: str) -> Usd | None:
    """Return what is left of an agent's approved notional since the roll; None where it has no such budget."""
    budget = state.limits.may(agent).daily_notional_usd
    return None if budget is None else Usd(max(0, budget - state.day.notional_of(agent)))


def entries_last_minute(state: State, now_ns: int, agent: str | None = None) -> int:
    """Return how many entries were approved in the last 60 s."""
    approvals, since = state.approvals, now_ns - RATE_WINDOW_NS  # in the order of time
    over = 0 if not approvals or approvals[0][0] > since else bisect_right(approvals, (since, _LAST))
    if agent is None:
        return len(approvals) - over
    return sum(1 for _, who in islice(approvals, over, None) if who in (agent, UNNAMED))


def buying_power_usd(case: Case) -> Usd:
    """Return what the venue would lend us now: its last word, less what it cannot have counted yet."""
    account = case.state.account
    if account is None:
        return Usd(0)
    power: int = account.non_marginable_buying_power if case.is_crypto else account.buying_power
    for stake in case.live.stakes:
        if stake.acked_ns is None or stake.acked_ns >= account.asked_ns:
            power -= stake.reserve
    return Usd(max(0, power))


def unit_cost(case: Case, terms: Terms) -> Price:
    """Return what one unit takes from the buying power."""
    if case.is_long or case.quote is None or case.quote.ask is None:
        return terms.limit_price
    return Price(max(terms.limit_price, mul_ceil(case.quote.ask, SHORT_MARGIN)))


class Money(msgspec.Struct, frozen=True):
    """The money of one case, counted once. `loss` and `exposure`: (used, allowed) of the scope that leaves least.

    `unit_cost` is what one unit takes from the buying `power`. `forbids` names the cap that leaves less than the
    smallest order; None where there is one within every cap.
    """

    power: Usd
    unit_cost: Price
    loss: tuple[int, int]
    exposure: tuple[int, int]
    smallest: Qty
    qty: Qty
    sizing: Sizing
    forbids: str | None


def money(case: Case, terms: Terms) -> Money:
    """Return what the budgets leave for a case with these prices of its."""
    if case.money is None:
        case.money = _count(case, terms)
    return case.money


def _count(case: Case, terms: Terms) -> Money:
    state, equity = case.state, sizing_equity(case.state)
    loss, exposure = _budgets(state, None, case.account, equity)
    if case.has_own_limits:
        own_loss, own_exposure = _budgets(state, case.agent, case.limits, equity)
        loss, exposure = min(loss, own_loss, key=left), min(exposure, own_exposure, key=left)
    power, cost = buying_power_usd(case), unit_cost(case, terms)
    caps = _caps(case, terms, equity, left(loss), left(exposure), power, cost)
    binding, smallest = min(caps, key=caps.__getitem__), smallest_qty(case, terms)
    qty = caps[binding]
    forbids = binding if qty < smallest else None
    return Money(power, cost, loss, exposure, smallest, Qty(qty), Sizing(binding, caps), forbids)


def _budgets(
    state: State, agent: str | None, limits: Limits, equity: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (used, allowed) of the day's loss and of the exposure, for one agent's trades or for all."""
    now = used(state, agent)
    lost, allowed = _day_loss(state, agent, now) + now.open_risk, day_loss_allowed(state, limits)
    if agent in state.day.stopped:
        lost = max(lost, allowed)
    return (lost, allowed), (now.exposure, equity * limits.max_gross_exposure // NANO)


def left(budget: tuple[int, int]) -> int:
    """Return what (used, allowed) leaves, below zero where more is used."""
    return budget[1] - budget[0]


def _caps(
    case: Case, terms: Terms, equity: int, loss_left: int, exposure_left: int, power: int, cost: int
) -> dict[str, int]:
    """Return every cap as a lot-rounded quantity, in the order of the checks that answer for them."""
    own, asset = case.limits, case.asset
    lot = asset.lot if asset is not None else NANO
    loss_left, exposure_left = max(0, loss_left), max(0, exposure_left)
    lot_cost, lot_risk = terms.limit_price * lot, max(1, terms.unit_risk) * lot
    caps = {"max_daily_loss": loss_left * NANO // lot_risk * lot}
    if case.may.daily_notional_usd is not None:
        budget_left = case.may.daily_notional_usd - case.state.day.notional_of(case.agent)
        caps["daily_notional_usd"] = max(0, budget_left) * NANO // lot_cost * lot
    caps["max_order_notional_usd"] = own.max_order_notional_usd * NANO // lot_cost * lot
    caps["max_gross_exposure"] = exposure_left * NANO // lot_cost * lot
    caps["buying_power"] = power * NANO // (cost * lot) * lot
    caps["max_risk_per_trade"] = equity * own.max_risk_per_trade // NANO * NANO // lot_risk * lot
    caps["max_position_size"] = equity * own.max_position_size // NANO * NANO // lot_cost * lot
    if case.is_crypto:
        caps["venue_max_notional"] = CRYPTO_MAX_NOTIONAL * NANO // lot_cost * lot
    if case.intent.qty is not None:
        caps["qty"] = floor_to(case.intent.qty, lot)
    if max(caps.values()) <= QTY_MAX:
        return caps
    most = floor_to(QTY_MAX, lot)
    return {name: min(qty, most) for name, qty in caps.items()}


def size(case: Case, terms: Terms) -> Sizing:
    """Return every cap as a lot-rounded quantity, and which binds (the first of the smallest)."""
    return money(case, terms).sizing


def sized_qty(sizing: Sizing) -> Qty:
    """Return the quantity the caps leave."""
    return Qty(sizing.caps[sizing.binding])


def smallest_qty(case: Case, terms: Terms) -> Qty:
    """Return the smallest quantity worth having: one lot, the venue's minimum, and in crypto enough to be sellable.

    A crypto position shrinks by the fee taken in coins and must, even at its worst exit, be worth 1.1 x the
    venue's minimum order; otherwise its stop could be refused as too small.
    """
    asset = case.asset
    if asset is None:
        return Qty(NANO)
    if not case.is_crypto or terms.worst_exit <= 0:  # without an exit the venue rule says no
        return asset.lot if asset.min_order_qty <= asset.lot else Qty(ceil_to(asset.min_order_qty, asset.lot))
    net_needed = -(-mul_ceil(CRYPTO_MIN_NOTIONAL, SELLABLE_MARGIN) * NANO // terms.worst_exit)
    gross = -(-net_needed * NANO // (NANO - fee_rate(case.asset_class)))
    smallest = ceil_to(max(asset.lot, asset.min_order_qty, gross), asset.lot)
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
