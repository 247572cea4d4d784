"""Triggers: price levels armed on a symbol, each reported once when the market reaches it.

Owns the table of triggers and the nearest levels per symbol. May not know what a trigger is for.
The one idea: a symbol remembers, for each watched value and direction, the nearest armed level, exactly. A row
that reaches none of the eight is done after eight comparisons, however many triggers there are; a row
that reaches one is certain to fire something, and only then are that symbol's triggers walked.

A symbol's triggers are a doubly linked list in order of arming, which is the order they fire in. Slot 0 is no
trigger: its `next` heads the list of free slots. A slot means its trigger until that fires or is disarmed;
afterwards the number may be given to another.
"""

# A compiled function takes its arguments by position: numba has no cheaper way.

from __future__ import annotations

import math
from enum import IntEnum, IntFlag

import numpy as np

from hands.core.indicators import Record, compiled, entry_point


class TriggerOn(IntFlag):
    """The values a trigger watches, any of them: the last eligible trade, either side of the quote, its middle."""

    TRADE = 1
    BID = 2
    ASK = 4
    MID = 8


class TriggerDirection(IntEnum):
    """ABOVE fires when a watched value is at or above the level, BELOW when it is at or below."""

    ABOVE = 0
    BELOW = 1


ABOVE = int(TriggerDirection.ABOVE)
BELOW = int(TriggerDirection.BELOW)
VALUES = len(TriggerOn)
MASK_MAX = (1 << VALUES) - 1

TRIGGER = np.dtype(
    [
        ("sym", "i4"),
        ("next", "i4"),
        ("prev", "i4"),
        ("on", "u1"),
        ("direction", "u1"),
        ("armed", "u1"),
        ("fired", "i4"),
        ("level", "f8"),
    ],
    align=True,
)
"""One trigger. `fired` is not the trigger's: down the table, that column lists the slots that fired last."""

WATCH = np.dtype([("nearest", "f8", (2, VALUES)), ("first", "i4"), ("last", "i4")], align=True)
"""A symbol's share: its nearest level by [direction, value], and the ends of its list (0: none)."""


def new_table(capacity: int) -> np.ndarray:
    """Return a table for `capacity` triggers, all free; shape (capacity + 1,), slot 0 is no trigger."""
    table = np.zeros(capacity + 1, TRIGGER)
    table["next"][:-1] = np.arange(1, capacity + 1)
    return table


def grown(table: np.ndarray) -> np.ndarray:
    """Return a copy with twice the slots, armed ones unchanged; only for a table without a free slot."""
    assert table["next"][0] == 0, "a table grows only when it is full"
    size = len(table)
    larger = np.zeros(2 * size, TRIGGER)
    larger[:size] = table
    larger["next"][0] = size
    larger["next"][size:-1] = np.arange(size + 1, 2 * size)
    return larger


def clear_watch(watches: np.ndarray) -> None:
    """Set `WATCH` records to "nothing armed"."""
    watches["nearest"][..., ABOVE, :] = math.inf
    watches["nearest"][..., BELOW, :] = -math.inf
    watches["first"] = 0
    watches["last"] = 0


@compiled
def reaches(direction: int, value: float, level: float) -> bool:
    """Say whether `value` is at or through `level`; a value that is not there (NaN) reaches nothing."""
    return value >= level if direction == ABOVE else value <= level


@compiled
def _reached(direction: int, on: int, level: float, trade: float, bid: float, ask: float, mid: float) -> bool:
    return (
        (on & 1 != 0 and reaches(direction, trade, level))
        or (on & 2 != 0 and reaches(direction, bid, level))
        or (on & 4 != 0 and reaches(direction, ask, level))
        or (on & 8 != 0 and reaches(direction, mid, level))
    )


@compiled
def reaches_trade(watch: Record, trade: float) -> bool:
    """Say whether a trade at `trade` fires anything of this symbol."""
    return bool(trade >= watch.nearest[ABOVE, 0] or trade <= watch.nearest[BELOW, 0])


@compiled
def reaches_quote(watch: Record, bid: float, ask: float, mid: float) -> bool:
    """Say whether a quote fires anything of this symbol."""
    return bool(
        bid >= watch.nearest[ABOVE, 1]
        or bid <= watch.nearest[BELOW, 1]
        or ask >= watch.nearest[ABOVE, 2]
        or ask <= watch.nearest[BELOW, 2]
        or mid >= watch.nearest[ABOVE, 3]
        or mid <= watch.nearest[BELOW, 3]
    )


@compiled
def _draw_near(watch: Record, trigger: Record) -> None:
    """Bring the nearest levels of what `trigger` watches as near as its own."""
    for value in range(VALUES):
        if trigger.on & (1 << value):
            if trigger.direction == ABOVE:
                watch.nearest[ABOVE, value] = min(watch.nearest[ABOVE, value], trigger.level)
            else:
                watch.nearest[BELOW, value] = max(watch.nearest[BELOW, value], trigger.level)


@compiled
def _survey(watch: Record, table: np.ndarray) -> None:
    """Find the nearest levels anew from the symbol's list."""
    for value in range(VALUES):
        watch.nearest[ABOVE, value] = np.inf
        watch.nearest[BELOW, value] = -np.inf
    slot = watch.first
    while slot != 0:
        _draw_near(watch, table[slot])
        slot = table[slot].next


@compiled
def _release(watch: Record, table: np.ndarray, slot: int) -> None:
    """Take `slot` out of the symbol's list and give it back to the free ones."""
    trigger = table[slot]
    if trigger.prev != 0:
        table[trigger.prev].next = trigger.next
    else:
        watch.first = trigger.next
    if trigger.next != 0:
        table[trigger.next].prev = trigger.prev
    else:
        watch.last = trigger.prev
    trigger.armed = 0
    trigger.prev = 0
    trigger.next = table[0].next
    table[0].next = slot


@compiled
def fire(watch: Record, table: np.ndarray, trade: float, bid: float, ask: float, mid: float) -> int:
    """Disarm every trigger that a value reaches, list their slots in `fired` in order of arming, count them."""
    count = 0
    slot = watch.first
    while slot != 0:
        trigger = table[slot]
        following = trigger.next
        if _reached(trigger.direction, trigger.on, trigger.level, trade, bid, ask, mid):
            table[count].fired = slot
            count += 1
            _release(watch, table, slot)
        slot = following
    if count:
        _survey(watch, table)
    return count


@entry_point
def link(symbols: np.ndarray, table: np.ndarray, sym: int, on: int, direction: int, level: float) -> int:
    """Arm a trigger at the end of the symbol's list and return its slot; 0 if the table is full.

    `symbols` are records with a `WATCH` named `watch`; as a view of its own that column's memory layout, and so
    the compiled code, would depend on how many symbols there are.
    """
    slot = int(table[0].next)
    if slot == 0:
        return 0
    table[0].next = table[slot].next
    watch = symbols[sym].watch
    trigger = table[slot]
    trigger.sym = sym
    trigger.on = on
    trigger.direction = direction
    trigger.level = level
    trigger.armed = 1
    trigger.next = 0
    trigger.prev = watch.last
    if watch.last != 0:
        table[watch.last].next = slot
    else:
        watch.first = slot
    watch.last = slot
    _draw_near(watch, trigger)
    return slot


@entry_point
def unlink(symbols: np.ndarray, table: np.ndarray, slot: int) -> bool:
    """Disarm `slot`; False if it is not armed. Walks the symbol's list only if it held a nearest level."""
    trigger = table[slot]
    if slot <= 0 or trigger.armed == 0:
        return False
    watch = symbols[trigger.sym].watch
    was_nearest = False
    for value in range(VALUES):
        if trigger.on & (1 << value) and watch.nearest[trigger.direction, value] == trigger.level:
            was_nearest = True
    _release(watch, table, slot)
    if was_nearest:
        _survey(watch, table)
    return True
