"""Heaps of triggers: which comes first, however many there are.

Owns the links in the table of triggers. May not know what a key means.
The one idea: a leftist heap. Every node knows the length of the shortest way down to where a child is missing, and
keeps the longer side left, so that the way down the right is at most log2(n + 1) long: pushing, merging and removing
from anywhere are each O(log n) *in the worst case*, and all of it is links between slots, without an array to grow.
(A pairing heap is as fast on average, but after n pushes its first removal visits all n.)

A slot is a node of several heaps at once: column `h` of the table's links and keys is heap number `h`'s. Slot 0 is no
node. Equal keys: which of them comes first depends on nothing but what was done before.

Source: C. A. Crane, Linear Lists and Priority Queues as Balanced Binary Trees (1972).
"""

# A compiled function takes its arguments by position: numba has no cheaper way.

from __future__ import annotations

import numpy as np

from hands.core.compiled import compiled, compiled_apart, int64

LEFT, RIGHT, PARENT, RANK = range(4)


def links(heaps: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return the fields by which a record is a node of so many heaps."""
    return [("key", "f8", (heaps,)), ("links", "i4", (heaps, 4))]


@compiled
def _lean_left(table: np.ndarray, h: int, slot: int) -> int:
    """Put the longer side left and return the slot's rank as it now should be."""
    links = table[slot].links
    left, right = links[h, LEFT], links[h, RIGHT]
    rank = table[right].links[h, RANK]
    other = table[left].links[h, RANK]
    if other < rank:
        links[h, LEFT], links[h, RIGHT] = right, left
        rank = other
    return int(int64(rank) + 1)


@compiled_apart
def merge(table: np.ndarray, h: int, a: int, b: int) -> int:
    """Make one heap of two, given by their roots (0: empty), and return its root."""
    if a == 0:
        return b
    if b == 0:
        return a
    if table[b].key[h] < table[a].key[h]:
        a, b = b, a
    side = merge(table, h, int64(table[a].links[h, RIGHT]), b)
    table[a].links[h, RIGHT] = side
    table[side].links[h, PARENT] = a
    table[a].links[h, RANK] = _lean_left(table, h, a)
    return a


@compiled
def push(table: np.ndarray, h: int, root: int, slot: int, key: float) -> int:
    """Add `slot` under `key` to the heap and return its root."""
    node = table[slot]
    node.key[h] = key
    node.links[h, LEFT] = 0
    node.links[h, RIGHT] = 0
    node.links[h, PARENT] = 0
    node.links[h, RANK] = 1
    return merge(table, h, root, slot)


@compiled_apart
def remove(table: np.ndarray, h: int, root: int, slot: int) -> int:
    """Take `slot` out of the heap it is in, whose root is `root`, and return the root of what remains."""
    links = table[slot].links
    left, right, parent = int64(links[h, LEFT]), int64(links[h, RIGHT]), int64(links[h, PARENT])
    if left != 0:
        table[left].links[h, PARENT] = 0
    if right != 0:
        table[right].links[h, PARENT] = 0
    heir = merge(table, h, left, right)
    if heir != 0:
        table[heir].links[h, PARENT] = parent
    if parent == 0:
        return heir
    side = LEFT if table[parent].links[h, LEFT] == slot else RIGHT
    table[parent].links[h, side] = heir
    while (
        parent != 0
    ):  # a rank that stays ends it; each that changes is one more than the last, so at most log n do
        rank = _lean_left(table, h, parent)
        if rank == table[parent].links[h, RANK]:
            break
        table[parent].links[h, RANK] = rank
        parent = int64(table[parent].links[h, PARENT])
    return root
