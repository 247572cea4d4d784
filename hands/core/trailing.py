"""Trailing stops: the stop of a trade follows the best price since its first fill, and never goes back.

Owns where such a stop belongs (`Ticket.stop_moved`). May not move orders: that is `hands.core.moving`, which paces them.
The one idea: a fixed trigger stands one step above the best price that the stop reflects, and what it wakes reads the
market at exactly that row; so no price is watched in between, a peak is missed by less than a step, and what has been
reached is in the ticket, which survives a crash.

What it follows is the price at which the position could be closed: a LONG the bid, a SHORT the ask. A print may be odd,
late or from another venue, and one that is wrong would pull the stop into the market for good. Equities trail in the
regular session only, where their stops act; outside it quotes are thin.
"""

from __future__ import annotations

from hands.core.coverage import fresh_mark
from hands.core.dues import can_exit_now
from hands.core.market import TriggerDirection, TriggerOn
from hands.core.state import State
from hands.core.ticket import Ticket
from hands.core.units import NANO, Price, Ratio, ceil_to, div_ceil, floor_to
from hands.core.venue_rules import LEG_ROOM, price_tick
from hands.core.watch import arm, disarm

STEPS = 10
"""A stop that trails moves by at least a tenth of the distance it trails at, and at least by a tick."""


def trail(state: State, ticket: Ticket) -> None:
    """Let the stop follow, and ask to be woken at the next step; harmless to call at any time."""
    pct = ticket.intent.trailing_stop_pct
    if pct is None or ticket.plan is None:
        return
    if (
        ticket.owned <= 0
        or ticket.exit_reason is not None
        or ticket.basis
        or not can_exit_now(state, ticket)
        or ticket.symbol not in state.market.index
    ):
        disarm(state, ticket.intent_id, "step")
        return
    step = _step(ticket, pct)
    mark = fresh_mark(state, ticket)
    if mark is not None:
        stop = _stop_behind(ticket, mark, pct)
        gain = stop - ticket.stop_loss if ticket.is_long else ticket.stop_loss - stop
        if gain >= step:
            ticket.stop_moved = stop
            state.touch(ticket)
            step = _step(ticket, pct)
    level = _best_of(ticket, ticket.stop_loss + step if ticket.is_long else ticket.stop_loss - step, pct)
    if _at_target(ticket, step):
        disarm(state, ticket.intent_id, "step")
    elif ticket.is_long:
        arm(state, ticket, "step", TriggerOn.BID, TriggerDirection.ABOVE, level)
    else:
        arm(state, ticket, "step", TriggerOn.ASK, TriggerDirection.BELOW, level)


def _tick(ticket: Ticket, price: int) -> Price:
    assert ticket.plan is not None
    return price_tick(ticket.plan.asset_class, price, ticket.plan.price_increment)


def _stop_behind(ticket: Ticket, best: int, pct: Ratio) -> Price:
    """Return the stop `pct` behind a price, on the tick away from the market; it stays short of the target."""
    target: Price | None = ticket.take_profit
    if ticket.is_long:
        stop = best * (NANO - pct) // NANO
        stop = stop if target is None else min(stop, target - LEG_ROOM)
        return Price(floor_to(stop, _tick(ticket, stop)))
    stop = -(-best * (NANO + pct) // NANO)
    stop = stop if target is None else max(stop, target + LEG_ROOM)
    return Price(ceil_to(stop, _tick(ticket, stop)))


def _best_of(ticket: Ticket, stop: int, pct: Ratio) -> Price:
    """Return the price that a stop is `pct` behind: the least (LONG), the highest (SHORT) that brings it there."""
    if ticket.is_long:
        return Price(div_ceil(stop * NANO, NANO - pct) if pct < NANO else stop)
    return Price(stop * NANO // (NANO + pct))


def _step(ticket: Ticket, pct: Ratio) -> int:
    """Return the smallest move worth making from where the stop is now."""
    stop = ticket.stop_loss
    distance = abs(_best_of(ticket, stop, pct) - stop)
    tick = _tick(ticket, stop)
    return max(int(tick), ceil_to(distance // STEPS, tick))


def _at_target(ticket: Ticket, step: int) -> bool:
    """Whether another step would bring the stop to the target or beyond."""
    target: Price | None = ticket.take_profit
    if target is None:
        return False
    room = target - ticket.stop_loss if ticket.is_long else ticket.stop_loss - target
    return room < step + LEG_ROOM
