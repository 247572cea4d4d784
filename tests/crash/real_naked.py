"""Every moment in which a holding had less stop than quantity, recomputed from the exchange's orders and fills.

Owns the intervals and what of them fell into a time when no daemon lived. May not ask the engine. The one idea: between
two changes of an order or a fill nothing changes, so it is enough to look after each one. The exchange keeps a stopwatch
of its own by the same rules; `disagreements` holds the two against each other.

What counts as protection is the exchange's definition (`hands/sim/venue/exposure.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from hands.core.units import NANO, mul_ceil, nano

RESTING = frozenset({"new", "accepted", "partially_filled", "done_for_day"})
DUST_USD = NANO
ELECTED_NS = 2_000_000_000
AGREE_WITHIN_NS = 5_000_000

Row = dict[str, Any]
Span = tuple[int, int]


class _Course:
    """An order's statuses and what was filled of it, by time."""

    def __init__(self, order: Row, fills: Sequence[Row]) -> None:
        self.order = order
        self.qty = nano(order["qty"])
        self.elected_ns = order["elected_ns"] if order["type"] == "stop_limit" else None
        self._times = [t_ns for t_ns, _ in order["history"]]
        self._statuses = [status for _, status in order["history"]]
        self._fills = [(fill["t_ns"], nano(fill["qty"])) for fill in fills]

    def status(self, t_ns: int) -> str:
        place = bisect_right(self._times, t_ns)
        return self._statuses[place - 1] if place else ""

    def filled(self, t_ns: int) -> int:
        return sum(qty for at_ns, qty in self._fills if at_ns <= t_ns)

    def remaining(self, t_ns: int) -> int:
        return self.qty - self.filled(t_ns)


def episodes(truth: Row) -> dict[str, list[Span]]:
    """Return (from, to) of every naked interval by symbol, in nanoseconds of the exchange's clock."""
    fills_of: dict[str, list[Row]] = defaultdict(list)
    for fill in truth["fills"]:
        fills_of[fill["order_id"]].append(fill)
    found: dict[str, list[Span]] = {}
    by_symbol: dict[str, list[_Course]] = defaultdict(list)
    for order in truth["orders"]:
        by_symbol[order["symbol"]].append(_Course(order, fills_of[order["id"]]))
    for symbol, courses in by_symbol.items():
        found[symbol] = _of_symbol(symbol, courses, fills_of, truth["now_ns"])
    return found


def _of_symbol(
    symbol: str, courses: list[_Course], fills_of: dict[str, list[Row]], now_ns: int
) -> list[Span]:
    groups: dict[str, list[_Course]] = defaultdict(list)
    for course in courses:
        groups[course.order["parent_id"] or course.order["id"]].append(course)
    moments: dict[int, set[str]] = defaultdict(set)
    for name, members in groups.items():
        for course in members:
            for t_ns, _ in course.order["history"]:
                moments[t_ns].add(name)
            if course.elected_ns is not None:
                moments[course.elected_ns + ELECTED_NS].add(name)
            for fill in fills_of[course.order["id"]]:
                moments[fill["t_ns"]].add(name)
    fills = (fill for course in courses for fill in fills_of[course.order["id"]])
    deals = sorted(fills, key=lambda fill: int(fill["t_ns"]))
    spans: list[Span] = []
    covers: dict[str, int] = {}
    held = price = place = 0
    since: int | None = None
    for t_ns in sorted(moments):
        while place < len(deals) and deals[place]["t_ns"] <= t_ns:
            held += _change(deals[place])
            price = nano(deals[place]["price"])
            place += 1
        for name in moments[t_ns]:
            covers[name] = sum(_cover(course, groups[name], t_ns) for course in groups[name])
            if not covers[name]:
                del covers[name]
        bare = max(0, held - sum(covers.values()))
        is_naked = bare > 0 and not ("/" in symbol and mul_ceil(bare, price) < DUST_USD)
        if is_naked and since is None:
            since = t_ns
        elif not is_naked and since is not None:
            spans.append((since, t_ns))
            since = None
    if since is not None:
        spans.append((since, now_ns))
    return [span for span in spans if span[1] > span[0]]


def _change(fill: Row) -> int:
    """Return what a fill does to the holding, a fee in coins taken off."""
    sign = 1 if fill["side"] == "buy" else -1
    fee = 0 if fill["fee_asset"] == "USD" else nano(fill["fee"])
    return sign * nano(fill["qty"]) - fee


def _cover(course: _Course, group: list[_Course], t_ns: int) -> int:
    """Return how much of a long holding an order would close as a stop."""
    order = course.order
    if order["side"] != "sell" or not order["type"].startswith("stop"):
        return 0
    if any(member.status(t_ns) == "pending_cancel" for member in group):
        return 0
    if course.elected_ns is not None and t_ns >= course.elected_ns + ELECTED_NS:
        return 0
    status = course.status(t_ns)
    if status == "held":
        parent = next((member for member in group if member.order["parent_id"] is None), course)
        is_exit_pair = parent.order["side"] == "sell"
        if not is_exit_pair and parent.status(t_ns) != "filled":
            return 0
        if is_exit_pair and parent.status(t_ns) == "pending_new":
            return 0
        return course.remaining(t_ns)
    return course.remaining(t_ns) if status in RESTING else 0


def alive_ns(span: Span, downs: Sequence[Span]) -> int:
    """Return how much of a span some daemon lived through; `downs` do not overlap."""
    begin, end = span
    return end - begin - sum(max(0, min(end, until_ns) - max(begin, from_ns)) for from_ns, until_ns in downs)


def disagreements(truth: Row) -> list[str]:
    """Return where the exchange's own stopwatch says something else."""
    found = episodes(truth)
    wrong = []
    for symbol in sorted(truth["naked"].keys() | found.keys()):
        mine = sum(end - begin for begin, end in found.get(symbol, []))
        its = truth["naked"].get(symbol, {"naked_ns": 0})["naked_ns"]
        if abs(mine - its) > AGREE_WITHIN_NS * max(1, len(found.get(symbol, []))):
            wrong.append(
                f"{symbol}: naked for {its / 1e6:.1f} ms by the exchange, {mine / 1e6:.1f} ms by its orders"
            )
    return wrong
