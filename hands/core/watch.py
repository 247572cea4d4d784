"""Triggers of trades: arming and taking back the watch on a touch, an engine-held target or a stop's price.

Owns the book that says which trigger slot belongs to which ticket. May not act on a fired trigger.
"""

from __future__ import annotations

from hands.core.market import TriggerDirection, TriggerOn
from hands.core.state import State
from hands.core.ticket import Ticket
from hands.core.units import NANO, NS_PER_S, Price
from hands.core.vocab import Leg

TARGET_PAUSE_MAX_NS = 30 * NS_PER_S


def watch_position(state: State, ticket: Ticket) -> None:
    """Arm the engine-held target and the watch on the stop's price, where the venue keeps no pair."""
    plan = ticket.plan
    if (
        plan is None
        or not plan.is_crypto
        or not ticket.is_live
        or ticket.owned <= 0
        or ticket.exit_reason is not None
    ):
        return
    up, down = TriggerDirection.ABOVE, TriggerDirection.BELOW
    again_ns = _target_again_ns(ticket)
    if state.now_ns >= again_ns:
        arm(state, ticket, "target", TriggerOn.BID, up if ticket.is_long else down, plan.take_profit)
    else:
        state.wake_at(again_ns, "ticket", ticket.intent_id)
    if ticket.through_stop_ns is None:
        on = TriggerOn.TRADE | TriggerOn.BID
        arm(state, ticket, "stop", on, down if ticket.is_long else up, plan.stop_loss)


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
    """Arm one of a ticket's triggers, once."""
    key = (ticket.intent_id, kind)
    if key in state.armed_slots:
        return
    slot = state.market.arm(state.market.index[ticket.symbol], on, direction, level / NANO)
    state.armed_slots[key] = slot
    state.triggers[slot] = key


def disarm(state: State, intent_id: str, kind: str) -> None:
    """Take a trigger back, if it is armed."""
    slot = state.armed_slots.pop((intent_id, kind), None)
    if slot is not None:
        state.triggers.pop(slot, None)
        state.market.disarm(slot)
