"""Adoption: the operator hands a holding of the owner's over, to be protected like a trade of ours.

Owns the conditions and the ticket it becomes: as if an entry of ours had bought it at the venue's average price. May
not buy, and takes nothing that somebody else still works. The one idea: from here on it is a trade like any other,
counted against exposure and concurrency; what it had won or lost before is no result of the day.
"""

from __future__ import annotations

import msgspec

from hands.core.case import protective_limit
from hands.core.changes import last_quote, towards_market
from hands.core.commands import Alert, AnyCommand, OperatorAnswer
from hands.core.events import Asset, OperatorRequest, PositionSnapshot
from hands.core.intents import Intent
from hands.core.ledger_rows import intent_record
from hands.core.limits import Limits
from hands.core.orders import client_order_id
from hands.core.pursuit import ask_for_truth
from hands.core.sizing import unrealised_usd
from hands.core.state import Seen, State
from hands.core.ticket import Order, Plan, Stamps, Ticket
from hands.core.units import (
    NANO,
    NS_PER_S,
    Ns,
    Price,
    Qty,
    Ratio,
    Usd,
    ceil_to,
    decimal_text,
    floor_to,
    mul_ceil,
    mul_floor,
)
from hands.core.upkeep import look_after
from hands.core.venue_rules import CRYPTO_MIN_NOTIONAL, SELLABLE_MARGIN, fee_rate, price_tick
from hands.core.vocab import (
    AssetClass,
    Code,
    Direction,
    Leg,
    OrderClass,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
    TradeState,
    Verdict,
)

OPERATOR_AGENT = "operator"
"""Whose trades adopted ones are; no agent may have that name (`hands.core.limits`)."""

STRATEGY = "adopted"

TRUTH_AGE_MAX_NS = 60 * NS_PER_S
"""How old the venue's word on what is held may be; the daemon asks every 30 s unless it is told otherwise."""

Out = list[AnyCommand]


def adopt(state: State, event: OperatorRequest, out: Out) -> OperatorAnswer:
    """Take the holding of a symbol into care, with the operator's stop and, where given, target."""
    symbol = event.target or ""
    why = _hindrance(state, symbol, event)
    if why is None and state.now_ns > state.truth_of_ns + TRUTH_AGE_MAX_NS:
        ask_for_truth(state, f"{symbol} is to be adopted", out)
        why = "what is held there was last asked too long ago, and is asked now: try again in a moment"
    if why is not None:
        return OperatorAnswer(ok=False, message=f"{symbol}: {why}")
    ticket = _ticket(state, event, state.positions[symbol], state.assets[symbol])
    why = _misplaced(state, ticket)
    if why is not None:
        return OperatorAnswer(ok=False, message=f"{symbol}: {why}")
    _take(state, ticket)
    out.append(intent_record(ticket))
    held = f"{decimal_text(ticket.owned)} {symbol}"
    message = f"{held} adopted, with the stop at {decimal_text(ticket.stop_loss)}"
    out.append(Alert(level="info", code="ADOPTED", message=message))
    look_after(state, ticket, out)
    return OperatorAnswer(ok=True, message=message, intent_ids=(ticket.intent_id,))


def _hindrance(state: State, symbol: str, event: OperatorRequest) -> str | None:
    """Return why nothing there can be adopted, None where something can."""
    position, asset = state.positions.get(symbol), state.assets.get(symbol)
    if state.dry_run:
        return "this is a dry run: nothing is sent, so nothing could be protected"
    if state.stopping:
        return "the engine is stopping: adopt it after the next start"
    if not state.reconciled:
        return "the venue has not said yet what is held: try again in a moment"
    if symbol not in state.market.index or not state.limits.allows(symbol):
        return "it is not on the allow-list, so its market is not watched"
    if asset is None or not asset.tradable:
        return "the venue does not let it be traded"
    if event.stop_loss is None:
        return "a stop is needed"
    if not event.new_id or state.judged(event.new_id) is not None or event.new_id in state.seen:
        return "its new id has been used before"
    if state.live_on(symbol):
        return "a trade of ours lives there already"
    if position is None or not position.qty:
        return "nothing is held there"
    works = state.foreign.get(symbol, "")
    if "an order that is not ours works there" in works:
        return f"{works}: cancel it first"
    if abs(position.qty_available) < abs(position.qty):
        return f"of {decimal_text(position.qty)} only {decimal_text(position.qty_available)} are free: cancel what holds them"
    if position.qty % asset.lot or (asset.asset_class is AssetClass.EQUITY and position.qty % NANO):
        return f"{decimal_text(position.qty)} are not whole lots, which is all that can be protected"
    if asset.asset_class is AssetClass.CRYPTO and position.qty < 0:
        return "coins cannot be held short"
    return None


def _misplaced(state: State, ticket: Ticket) -> str | None:
    """Return what is wrong with the stop or the target against the market."""
    is_long = ticket.is_long
    mark = last_quote(state, ticket.symbol, ask=not is_long)  # however old: overnight there is no other
    stop, target = ticket.stop_loss, ticket.take_profit
    if mark is None:
        return "no quote of it has been seen that the stop could be held against"
    if stop >= mark if is_long else stop <= mark:
        return f"a stop at {decimal_text(stop)} is at or through the market ({decimal_text(mark)})"
    if target is not None and (target <= mark if is_long else target >= mark):
        return f"a target at {decimal_text(target)} is on the wrong side of the market ({decimal_text(mark)})"
    plan = ticket.plan
    assert plan is not None
    if plan.is_crypto and mul_floor(plan.worst_exit, plan.qty) < mul_ceil(
        CRYPTO_MIN_NOTIONAL, SELLABLE_MARGIN
    ):
        return "at its stop the venue would refuse to sell so few"
    return None


def _ticket(state: State, event: OperatorRequest, position: PositionSnapshot, asset: Asset) -> Ticket:
    """Return the ticket of a holding: an intent nobody wrote, and an entry that is filled."""
    assert event.stop_loss is not None
    is_long = position.qty > 0
    limits = state.limits.effective(OPERATOR_AGENT, position.symbol)
    target = event.take_profit
    if target is not None:
        tick = price_tick(asset.asset_class, target, asset.price_increment)
        target = Price(floor_to(target, tick) if is_long else ceil_to(target, tick))
    plan = Plan(
        asset_class=asset.asset_class,
        side=Side.BUY if is_long else Side.SELL,
        qty=Qty(abs(position.qty)),
        limit_price=position.avg_price,
        take_profit=target,
        stop_loss=event.stop_loss,
        worst_exit=event.stop_loss,
        unit_risk=Price(0),
        lot=asset.lot,
        price_increment=asset.price_increment,
    )
    plan = _with_stop(plan, event.stop_loss, limits, is_long=is_long)
    intent = Intent(
        intent_id=event.new_id,
        asset=position.symbol,
        direction=Direction.LONG if is_long else Direction.SHORT,
        trigger_price=position.avg_price,
        take_profit=target or Price(0),
        stop_loss=plan.stop_loss,
        confidence=Ratio(NANO),
        strategy_ref=STRATEGY,
        timestamp_ns=Ns(state.now_ns + state.wall_offset_ns),
        ttl_ns=Ns(NS_PER_S),
        max_hold_ns=None if event.max_hold_ns is None else Ns(event.max_hold_ns),
    )
    entry = _entry(state, intent, plan)
    return Ticket(
        intent=intent,
        agent=OPERATOR_AGENT,
        name="",
        document=b"",
        received_ns=state.now_ns,
        deadline_ns=state.now_ns,
        limits_sha256=state.limits.sha256,
        verdict=Verdict.ACCEPTED,
        code=Code.OK,
        message="adopted by the operator",
        state=TradeState.OPEN,
        plan=plan,
        orders={entry.client_order_id: entry},
        received_qty=plan.qty,
        fee_rate=fee_rate(plan.asset_class),
        group_read=True,
        first_fill_ns=state.now_ns,
        last_fill_ns=state.now_ns,
        opened_ns=state.now_ns,
        stamps=Stamps(decided=state.now_ns),
        adopted=True,
    )


def _with_stop(plan: Plan, stop: int, limits: Limits, *, is_long: bool) -> Plan:
    """Return the plan with its stop on the venue's tick, where that can sell at worst, and what a unit can lose."""
    rounded = towards_market(plan, stop)
    worst = rounded
    if plan.is_crypto:
        worst = protective_limit(rounded, limits, plan.price_increment, long=is_long)
    risk = plan.limit_price - worst if is_long else worst - plan.limit_price
    return msgspec.structs.replace(plan, stop_loss=rounded, worst_exit=worst, unit_risk=Price(max(0, risk)))


def _entry(state: State, intent: Intent, plan: Plan) -> Order:
    """Return the entry that stands for what the owner bought; the venue has no order of that id."""
    return Order(
        client_order_id=client_order_id(intent.intent_id, Leg.ENTRY, 1),
        intent_id=intent.intent_id,
        leg=Leg.ENTRY,
        symbol=intent.asset,
        side=plan.side,
        order_type=OrderType.LIMIT,
        order_class=OrderClass.SIMPLE,
        time_in_force=TimeInForce.GTC,
        qty=plan.qty,
        limit_price=plan.limit_price,
        status=OrderStatus.FILLED,
        filled_qty=plan.qty,
        avg_price=plan.limit_price,
        value=plan.notional_usd,
        created_ns=state.now_ns,
        acked_ns=state.now_ns,
        updated_ns=state.now_ns,
    )


def _take(state: State, ticket: Ticket) -> None:
    """Put the ticket into the book; what it had won or lost before is taken out of the day and the drawdown."""
    before = unrealised_usd(state, ticket.agent)
    state.add(ticket)
    state.touch(ticket)
    for order in ticket.orders.values():
        state.index_order(order)
    won = unrealised_usd(state, ticket.agent) - before
    at_roll = state.day.unrealised_at_roll
    at_roll[ticket.agent] = at_roll.get(ticket.agent, 0) + won
    state.performance.realised = Usd(state.performance.realised - won)
    state.changed["day", ""] = state.day
    state.changed["performance", ""] = state.performance
    state.foreign.pop(ticket.symbol, None)
    seen = Seen(sha256="", agent=ticket.agent, name="", at_ns=state.now_ns, settled=True)
    state.seen[ticket.intent_id] = seen
    state.changed["seen", ticket.intent_id] = seen
