"""Triggers of trades: arming and taking back the watch on a touch, an engine-held target, a stop's price, a step.

Owns the book that says which trigger slot belongs to which ticket. May not act on a fired trigger.
"""

from __future__ import annotations

from hands.core.market import TriggerDirection, TriggerOn
from hands.core.state import State
from hands.core.ticket import Order, Ticket
from hands.core.units import NANO, NS_PER_S, Price
from hands.core.vocab import Leg

TARGET_PAUSE_MAX_NS = 30 * NS_PER_S


def watch_position(state: State, ticket: Ticket) -> None:
    """Arm the engine-held target and the watch on the stop's price, where the venue keeps no pair."""
    plan, owned = ticket.plan, ticket.owned
    if ticket.basis:
        for kind in ("target", "moved"):
            disarm(state, ticket.intent_id, kind)
    if plan is None or not ticket.is_live or owned <= 0 or ticket.exit_reason is not None or ticket.basis:
        return
    up, down = TriggerDirection.ABOVE, TriggerDirection.BELOW
    _watch_target(state, ticket, up if ticket.is_long else down)
    if plan.is_crypto and ticket.through_stop_ns is None:
        on = TriggerOn.TRADE | TriggerOn.BID
        arm(state, ticket, "stop", on, down if ticket.is_long else up, ticket.stop_loss)
    elif not plan.is_crypto and ticket.stop_moved is not None and not _stop_rests(ticket):
        on = TriggerOn.BID if ticket.is_long else TriggerOn.ASK
        arm(state, ticket, "moved", on, down if ticket.is_long else up, ticket.stop_loss)
    else:
        disarm(state, ticket.intent_id, "moved")


def _watch_target(state: State, ticket: Ticket, direction: TriggerDirection) -> None:
    """Hold the target where the venue does not: of coins, and of shares that a plain stop protects."""
    target: Price | None = ticket.take_profit
    at_venue = ticket.plan is not None and not ticket.plan.is_crypto and _plain_stop(ticket) is None
    if target is None or at_venue:
        disarm(state, ticket.intent_id, "target")
        return
    again_ns = _target_again_ns(ticket)
    if state.now_ns >= again_ns:
        on = TriggerOn.BID if ticket.is_long else TriggerOn.ASK
        arm(state, ticket, "target", on, direction, target)
    else:
        state.wake_at(again_ns, "ticket", ticket.intent_id)


def _plain_stop(ticket: Ticket) -> Order | None:
    """Return a live stop that stands alone, without a target beside it."""
    found = (o for o in ticket.exits if o.leg is Leg.STOP_LOSS and o.parent is None and o.is_live)
    return next(found, None)


def _stop_rests(ticket: Ticket) -> bool:
    """Whether an acknowledged stop stands where the ticket wants it."""
    return any(
        order.leg is Leg.STOP_LOSS
        and order.is_live
        and order.order_id is not None
        and order.stop_price == ticket.stop_loss
        for order in ticket.exits
    )


def _target_again_ns(ticket: Ticket) -> int:
    """Return when the target may be taken (again): each time it slipped away, the next try waits twice as long.

    A price that flickers around the target would otherwise cost four requests, and a moment without a stop, a flicker.
    """
    slipped = [order for order in ticket.exits if order.leg is Leg.EXIT and not order.filled_qty]
    if not slipped:
        return 0
    return slipped[-1].created_ns + min(NS_PER_S << min(len(slipped) - 1, 5), TARGET_PAUSE_MAX_NS)


def arm(
    state: State, ticket: Ticket, kind: str, on: TriggerOn, direction: TriggerDirection, level: Price
) -> None:
    """Arm one of a ticket's triggers, once; one that waits at another level is moved.

    None is armed where the symbol has no market: a trade that was over at the start, and is not after a late fill.
    """
    index = state.market.index.get(ticket.symbol)
    if index is None:
        return
    key = (ticket.intent_id, kind)
    armed = state.armed_slots.get(key)
    if armed is not None:
        view = state.market.trigger(armed)
        if view is not None and view.level == level / NANO:
            return
        disarm(state, ticket.intent_id, kind)
    slot = state.market.arm(index, on, direction, level / NANO)
    state.armed_slots[key] = slot
    state.triggers[slot] = key


def disarm(state: State, intent_id: str, kind: str) -> None:
    """Take a trigger back, if it is armed."""
    slot = state.armed_slots.pop((intent_id, kind), None)
    if slot is not None:
        state.triggers.pop(slot, None)
        state.market.disarm(slot)
