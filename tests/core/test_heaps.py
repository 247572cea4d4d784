"""The heaps against a sorted list, and their shape: the way down the right is short whatever was done."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from hands.core import heaps
from hands.core.compiled import int64
from hands.core.heaps import LEFT, PARENT, RANK, RIGHT

NODES = 40
NODE = np.dtype(heaps.links(2), align=True)


@njit  # not cached: numba would not notice a change in what it calls
def push(table: np.ndarray, h: int, root: int, slot: int, key: float) -> int:
    return heaps.push(table, h, root, slot, key)


@njit  # not cached: numba would not notice a change in what it calls
def remove(table: np.ndarray, h: int, root: int, slot: int) -> int:
    return heaps.remove(table, h, root, slot)


@njit  # not cached: numba would not notice a change in what it calls
def merge(table: np.ndarray, h: int, a: int, b: int) -> int:
    return heaps.merge(table, h, a, b)


@njit  # not cached: numba would not notice a change in what it calls
def push_all(table: np.ndarray, keys: np.ndarray) -> int:
    root = int64(0)
    for i in range(1, len(table)):
        root = heaps.push(table, int64(0), root, int64(i), keys[i])
    return root


def members(table: np.ndarray, h: int, root: int) -> set[int]:
    """Walk a heap, checking everything that makes it one, and return its slots."""
    if root == 0:
        return set()
    found, ways = set(), [(root, 0)]
    while ways:
        slot, parent = ways.pop()
        assert slot not in found
        found.add(slot)
        links = table["links"][slot, h]
        assert links[PARENT] == parent
        assert parent == 0 or table["key"][parent, h] <= table["key"][slot, h]
        left_rank, right_rank = (table["links"][links[side], h, RANK] for side in (LEFT, RIGHT))
        assert left_rank >= right_rank
        assert links[RANK] == right_rank + 1
        ways += [(int(links[side]), slot) for side in (LEFT, RIGHT) if links[side]]
    assert table["links"][root, h, RANK] <= math.log2(len(found) + 1)
    return found


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["push", "push", "remove", "top", "merge"]), st.integers(0, 10**6), st.integers(0, 9)
    ),
    max_size=80,
)


@given(STEPS)
def test_it_holds_what_was_pushed_and_its_top_is_the_least(steps: list[tuple[str, int, int]]) -> None:
    table = np.zeros(NODES + 1, NODE)
    roots, kept = (
        [0, 0],
        [dict[int, float](), dict[int, float]()],
    )  # two heaps of the same column, to be merged
    for step, choice, key in steps:
        which = choice % 2
        free = [slot for slot in range(1, NODES + 1) if slot not in kept[0] and slot not in kept[1]]
        if step == "push" and free:
            slot = free[choice % len(free)]
            roots[which] = push(table, 1, roots[which], slot, float(key))
            kept[which][slot] = float(key)
        elif step in {"remove", "top"} and kept[which]:
            slot = roots[which] if step == "top" else sorted(kept[which])[choice % len(kept[which])]
            if step == "top":
                assert kept[which][slot] == min(kept[which].values())
            roots[which] = remove(table, 1, roots[which], slot)
            del kept[which][slot]
        elif step == "merge":
            roots = [merge(table, 1, *roots), 0]
            kept = [kept[0] | kept[1], {}]
        assert [members(table, 1, root) for root in roots] == [set(each) for each in kept]
    assert not table["links"][:, 0].any(), "another heap of the same slots is left alone"


def test_the_way_down_the_right_stays_short_whatever_the_order() -> None:
    keys = {
        "rising": np.arange(10_000.0),
        "falling": np.arange(10_000.0, 0.0, -1),
        "equal": np.zeros(10_000),
        "mixed": np.random.default_rng(1).permutation(np.arange(10_000.0)),
    }
    for order in keys.values():
        table = np.zeros(10_000, NODE)
        root = push_all(table, order)
        assert len(members(table, 0, root)) == 9_999
        popped = []
        for _ in range(9_999):
            popped.append(table["key"][root, 0])
            root = remove(table, 0, root, root)
        assert popped == sorted(order[1:])
