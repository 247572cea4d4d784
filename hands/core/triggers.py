"""Triggers: price levels armed on a symbol, each reported once when the market reaches it; fixed ones and trailing.

Owns the table of triggers and what a symbol remembers of its own. May not know what a trigger is for.
The one idea: for each watched value a symbol remembers the open interval in which nothing happens, exactly. A row
whose values stay inside costs two comparisons each, however many triggers there are; one that leaves it is certain to
fire or to lift something, and heaps say what (`heaps`: O(log n) each, at worst).

Fixed triggers are in one heap per direction and watched value, the nearest level on top; one that watches several
values is in several.

A trailing trigger's level follows the best price since it was armed (the highest for BELOW, the lowest for ABOVE) at a
distance, or at a fraction of it. Those of one kind, direction and value that share their best price form a group: a
heap, the smallest distance on top, and only the top is in the heap of levels. The groups are a stack in order of
their best prices, the worst first. A new best price melts all groups that it beats into one, so a group costs once
what it cost to arm its first trigger, and a tick at a new high does the same work for one trigger and for all.

What one row fires is listed in order of arming. A slot means its trigger until that fires or is disarmed; afterwards
the number may be given to another. Slot 0 is no trigger: its `next` heads the list of free slots, its `seq` counts.
"""

# A compiled function takes its arguments by position: numba has no cheaper way.

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np

from hands.core import heaps
from hands.core.compiled import Record, compiled, compiled_apart, int64


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

FIXED, BY_DISTANCE, BY_FRACTION = 0, 1, 2
NONE = int64(0)
AT_TRADE, AT_BID, AT_ASK, AT_MID = (int64(i) for i in range(VALUES))
GROUP = int64(VALUES)
"""The heap of a trailing trigger's group; as soon as a trigger fires, the heap that sorts by order of arming."""

TRIGGER = np.dtype(
    [
        ("level", "f8"),
        ("distance", "f8"),
        ("best", "f8"),
        ("seq", "i8"),
        *heaps.links(VALUES + 1),
        ("sym", "i8"),
        ("next", "i8"),
        ("prev", "i8"),
        ("fired", "i8"),
        ("on", "i8"),
        ("direction", "i8"),
        ("armed", "i8"),
        ("trails", "i8"),
    ],
    align=True,
)
"""One trigger. Of a trailing one only a group's top has its `level` and `best`; `next` and `prev` are the tops of the
groups with a better and a worse best price. `fired` is not the trigger's: down the table, that column lists the slots
that fired last."""

WATCH = np.dtype(
    [
        ("above", "f8", (VALUES,)),
        ("below", "f8", (VALUES,)),
        ("nearest", "i8", (2, VALUES)),
        ("trailing", "i8", (2, 2, VALUES)),
    ],
    align=True,
)
"""A symbol's share, by watched value: something happens at a value from `above` on and down to `below`; the top of the
heap of levels by direction, and of the stack of groups by kind and direction."""


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
    watches["above"] = np.inf
    watches["below"] = -np.inf
    watches["nearest"] = 0
    watches["trailing"] = 0


@compiled
def level_behind(best: float, distance: float, trails: int, direction: int) -> float:
    """Return the level of a trailing trigger, on the nano grid: 10.01 less 0.05 is 9.96, not a little below.

    Before the first price it is as infinite as the best price, never NaN: a heap cannot sort by that.
    """
    if np.isinf(best):
        return best
    gap = best * distance if trails == BY_FRACTION else distance
    level = best + gap if direction == ABOVE else best - gap
    return float(np.rint(level * 1e9) / 1e9)


def trailing_level(table: np.ndarray, slot: int) -> tuple[float, float]:
    """Return (level, best price) of an armed trailing trigger; it takes as long as the way up in its group is."""
    trigger, top = table[slot], slot
    while table[top]["links"][GROUP, heaps.PARENT]:
        top = int(table[top]["links"][GROUP, heaps.PARENT])
    best = float(table[top]["best"])
    distance, direction = float(trigger["distance"]), int(trigger["direction"])
    return level_behind(best, distance, int(trigger["trails"]), direction), best


@compiled
def is_beaten(best: float, price: float, direction: int) -> bool:
    """Say whether `price` is better than `best` for a trailing trigger: higher where it waits below."""
    return price < best if direction == ABOVE else price > best


@compiled
def value_of(on: int) -> int:
    """Return the one value that a trailing trigger watches."""
    value = 0
    while on >> (value + 1):
        value += 1
    return value


@compiled
def _settle(watch: Record, table: np.ndarray, value: int) -> None:
    """Find anew between which prices of `value` nothing happens."""
    above, below = np.inf, -np.inf
    top = watch.nearest[ABOVE, value]
    if top != 0:
        above = table[top].level
    top = watch.nearest[BELOW, value]
    if top != 0:
        below = table[top].level
    for kind in range(2):
        top = watch.trailing[kind, BELOW, value]
        if (
            top != 0
        ):  # what is better than the best, not what equals it: a market may stay at its high for long
            above = min(above, np.nextafter(table[top].best, np.inf))
        top = watch.trailing[kind, ABOVE, value]
        if top != 0:
            below = max(below, np.nextafter(table[top].best, -np.inf))
    watch.above[value] = above
    watch.below[value] = below


@compiled
def _offer(watch: Record, table: np.ndarray, value: int, slot: int) -> None:
    """Put `slot` in the heap of levels of its direction."""
    direction = table[slot].direction
    key = table[slot].level if direction == ABOVE else -table[slot].level
    watch.nearest[direction, value] = heaps.push(table, value, watch.nearest[direction, value], slot, key)


@compiled
def _withdraw(watch: Record, table: np.ndarray, value: int, slot: int) -> None:
    direction = table[slot].direction
    watch.nearest[direction, value] = heaps.remove(table, value, watch.nearest[direction, value], slot)


# --- groups of trailing triggers -------------------------------------------------------------------------------


@compiled_apart
def _place_group(
    watch: Record, table: np.ndarray, value: int, top: int, best: float, worse: int, better: int
) -> None:
    """Make `top` the top of a group with this best price, between two others in the stack (0: none)."""
    group = table[top]
    group.best = best
    group.level = level_behind(best, group.distance, group.trails, group.direction)
    group.prev = worse
    group.next = better
    if worse != 0:
        table[worse].next = top
    else:
        watch.trailing[group.trails - 1, group.direction, value] = top
    if better != 0:
        table[better].prev = top
    _offer(watch, table, value, top)


@compiled
def _join(watch: Record, table: np.ndarray, value: int, slot: int, best: float) -> None:
    """Add a trailing trigger to the group with its best price, or make it a group of its own."""
    trigger = table[slot]
    worse, better = NONE, watch.trailing[trigger.trails - 1, trigger.direction, value]
    while better != 0 and is_beaten(table[better].best, best, trigger.direction):
        worse, better = better, table[better].next
    top = heaps.push(table, GROUP, NONE, slot, trigger.distance)
    if better != 0 and table[better].best == best:
        _withdraw(watch, table, value, better)
        top = heaps.merge(table, GROUP, better, slot)
        better = table[better].next
    _place_group(watch, table, value, top, best, worse, better)


@compiled_apart
def _leave(watch: Record, table: np.ndarray, value: int, slot: int) -> None:
    """Take a trailing trigger out of its group, and the group's next one to its place if it was the top."""
    trigger = table[slot]
    if trigger.links[GROUP, heaps.PARENT] != 0:
        heaps.remove(table, GROUP, NONE, slot)
        return
    worse, better = trigger.prev, trigger.next
    _withdraw(watch, table, value, slot)
    heir = heaps.remove(table, GROUP, slot, slot)
    if heir != 0:
        _place_group(watch, table, value, heir, trigger.best, worse, better)
        return
    if worse != 0:
        table[worse].next = better
    else:
        watch.trailing[trigger.trails - 1, trigger.direction, value] = better
    if better != 0:
        table[better].prev = worse


@compiled
def _lift(watch: Record, table: np.ndarray, value: int, price: float) -> None:
    """Melt the groups whose best price is beaten by `price` into one that has it."""
    for kind in range(2):
        for direction in range(2):
            better, melted = watch.trailing[kind, direction, value], NONE
            while better != 0 and is_beaten(table[better].best, price, direction):
                _withdraw(watch, table, value, better)
                melted = heaps.merge(table, GROUP, melted, better)
                better = table[better].next
            if melted == 0:
                continue
            _place_group(watch, table, value, melted, price, NONE, better)


# --- arming, disarming, firing ---------------------------------------------------------------------------------


@compiled
def _take_out(watch: Record, table: np.ndarray, slot: int) -> None:
    """Take `slot` out of every heap it is in."""
    trigger = table[slot]
    if trigger.trails != FIXED:
        _leave(watch, table, value_of(trigger.on), slot)
        return
    for value in range(VALUES):
        if trigger.on & (1 << value):
            _withdraw(watch, table, value, slot)


@compiled
def _settle_all(watch: Record, table: np.ndarray, on: int) -> None:
    for value in range(VALUES):
        if on & (1 << value):
            _settle(watch, table, value)


@compiled
def _free(table: np.ndarray, slot: int) -> None:
    table[slot].armed = 0
    table[slot].next = table[0].next
    table[0].next = slot


@compiled
def link(
    watch: Record,
    table: np.ndarray,
    sym: int,
    on: int,
    direction: int,
    trails: int,
    level: float,
    best: float,
) -> int:
    """Arm a trigger and return its slot; 0 if the table is full. `level` is the distance of one that trails."""
    slot = int(table[0].next)
    if slot == 0:
        return 0
    trigger = table[slot]
    table[0].next = trigger.next
    table[0].seq += 1
    trigger.seq = table[0].seq
    trigger.sym = sym
    trigger.on = on
    trigger.direction = direction
    trigger.trails = trails
    trigger.armed = 1
    trigger.next = 0
    trigger.prev = 0
    if trails == FIXED:
        trigger.level = level
        for value in range(VALUES):
            if on & (1 << value):
                _offer(watch, table, value, slot)
    else:
        trigger.distance = level
        _join(watch, table, value_of(on), slot, best)
    _settle_all(watch, table, on)
    return slot


@compiled
def unlink(watch: Record, table: np.ndarray, slot: int) -> None:
    """Disarm an armed trigger."""
    _take_out(watch, table, slot)
    _settle_all(watch, table, table[slot].on)
    _free(table, slot)


@compiled
def is_eventful(watch: Record, value: int, price: float) -> bool:
    """Say whether something happens when the watched value comes to `price`; nothing does where it is missing (NaN)."""
    return bool(price >= watch.above[value] or price <= watch.below[value])


@compiled_apart
def take_value(watch: Record, table: np.ndarray, value: int, price: float, fired: int) -> int:
    """Lift the trailing triggers that `price` lifts, and move those it reaches to the heap `fired`; return its top."""
    _lift(watch, table, value, price)
    for direction in range(2):
        while True:
            slot = watch.nearest[direction, value]
            if slot == 0:
                break
            level = table[slot].level
            if not (price >= level if direction == ABOVE else price <= level):
                break
            _take_out(watch, table, slot)
            fired = heaps.push(table, GROUP, fired, slot, float(table[slot].seq))
            _settle_all(watch, table, table[slot].on & ~(1 << value))
    _settle(watch, table, value)
    return fired


@compiled_apart
def list_fired(table: np.ndarray, fired: int) -> int:
    """List the slots of the heap `fired` in order of arming in the column of that name, free them, and count them."""
    count = 0
    while fired != 0:
        slot = fired
        fired = heaps.remove(table, GROUP, slot, slot)
        table[count].fired = slot
        count += 1
        _free(table, slot)
    return count
