"""Triggers of trades: arming and taking back the watch on a touch, an engine-held target or a stop's price.

Owns the book that says which trigger slot belongs to which ticket. May not act on a fired trigger.
"""

from __future__ import annotations

from hands.core.market import TriggerDirection, TriggerOn
from hands.core.state import State
from hands.core.ticket import Ticket
from hands.core.units import NANO, Price


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
    arm(state, ticket, "target", TriggerOn.BID, up if ticket.is_long else down, plan.take_profit)
    if ticket.through_stop_ns is None:
        on = TriggerOn.TRADE | TriggerOn.BID
        arm(state, ticket, "stop", on, down if ticket.is_long else up, plan.stop_loss)


def arm(
    state: State, ticket: Ticket, kind: str, on: TriggerOn, direction: TriggerDirection, level: Price
) -> None:
    """Arm one of a ticket's triggers, once."""
    key = (ticket.intent_id, kind)
    index = state.market.index.get(ticket.symbol)
    if key in state.armed_slots or index is None:
        return
    slot = state.market.arm(index, on, direction, level / NANO)
    state.armed_slots[key] = slot
    state.triggers[slot] = key


def disarm(state: State, intent_id: str, kind: str) -> None:
    """Take a trigger back, if it is armed."""
    slot = state.armed_slots.pop((intent_id, kind), None)
    if slot is not None:
        state.triggers.pop(slot, None)
        state.market.disarm(slot)
