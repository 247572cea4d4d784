"""Paths on which an invariant once broke: each is played as far as the engine still goes it, and comes home."""

from __future__ import annotations

import pytest

from hands.core.vocab import OrderStatus
from tests.exploration.explorer import HOME_STEPS
from tests.exploration.invariants import ALWAYS, is_safe, plight
from tests.exploration.scenarios import first
from tests.exploration.situation import Situation

REPAIRED: dict[str, tuple[str, tuple[str, ...]]] = {
    "a moved leg of a pair": ("pair", (
            "market low", "report tp-1 canceled", "arrive cancel tp1/sl", "answer cancel tp1/sl 204", "arrive query tp-1",
            "replace tp1/sl", "report tp1/sl replaced", "answer query tp-1 200", "arrive submit tp-2",
    )),
    "a moved leg of a bracket that is to be closed": ("close", (
            "replace entry1/sl", "market low", "report entry1/sl replaced", "report entry1/tp canceled",
            "arrive cancel entry1/sl", "answer cancel entry1/sl 422", "arrive cancel entry1/tp",
            "answer cancel entry1/tp 422", "arrive submit exit-1",
    )),
    "a leg that comes back": ("cut", (
            "end entry-1", "report entry-1 canceled", "arrive query entry-1", "answer query entry-1 200",
            "arrive submit tp-1", "report tp-1 new", "time passes", "market high", "fill tp-1 one", "market mid",
            "report tp-1 partial_fill", "report tp1/sl replaced", "arrive query tp-1", "answer query tp-1 200",
            "answer submit tp-1 200",
    )),
    "a refused repeat": ("partial", (
            "end entry-1", "report entry-1 canceled", "arrive query entry-1", "answer query entry-1 200",
            "delay submit tp-1", "answer submit tp-1 failed", "market low", "time passes", "arrive query tp-1",
            "answer query tp-1 404", "arrive submit tp-1", "answer submit tp-1 422", "arrive submit exit-1",
            "arrive submit tp-1 (unanswered)",
    )),
    "the old of two counts where the new one has ended": ("cut", (
        "end entry-1", "report entry-1 canceled", "arrive query entry-1", "answer query entry-1 200",
        "arrive submit tp-1", "report tp-1 new", "replace tp1/sl", "report tp1/sl replaced",
        "answer submit tp-1 200", "arrive query tp-1", "answer query tp-1 200", "truth reads positions",
        "truth reads orders", "answer truth", "expire tp1/sl'", "report tp1/sl' expired",
    )),
    "the old of two counts where the new one is being cancelled": ("cut", (
        "end entry-1", "report entry-1 canceled", "arrive query entry-1", "answer query entry-1 200",
        "arrive submit tp-1", "report tp-1 new", "replace tp1/sl", "report tp1/sl replaced",
        "answer submit tp-1 200", "arrive query tp-1", "answer query tp-1 200", "truth reads positions",
        "truth reads orders", "cancel tp1/sl'", "report tp1/sl' pending_cancel", "answer truth",
    )),
    "the truth names the new one of two, and the old one counts": ("moved", (
        "arrive replace entry1/sl", "stream breaks", "stream is down", "stream is up", "answer replace entry1/sl 200",
        "truth reads positions", "truth reads orders", "cancel sl-1", "report sl-1 pending_cancel", "answer truth",
    )),
    "the owner's move passes for ours, and ours stays unsent": ("moved", (
        "replace entry1/sl", "report entry1/sl replaced", "expire entry1/sl'", "report entry1/sl' expired",
        "arrive query entry-1", "answer query entry-1 200", "arrive replace entry1/sl", "answer replace entry1/sl 422",
        "truth reads positions", "truth reads orders", "answer truth",
    )),
}  # fmt: skip
"""A defect that was: its scenario and the moves that showed it."""


def _judge(s: Situation, move: str) -> None:
    for name, holds in ALWAYS.items():
        assert list(holds(s)) == [], f"{name}, after {move}"


@pytest.mark.parametrize("name", REPAIRED)
def test_what_was_repaired_stays_repaired(name: str) -> None:
    scenario, path = REPAIRED[name]
    s = first(scenario, faults=len(path), swings=len(path))
    gone = 0
    for move in path:
        if move not in s.moves():
            break  # it does not ask for what this move would deliver any more
        s.make(move)
        _judge(s, move)
        gone += 1
    assert gone >= len(path) - 2
    for _ in range(HOME_STEPS):
        fair = s.fair_move()
        if is_safe(s) or fair is None:
            break
        s.make(fair)
        _judge(s, fair)
    assert is_safe(s), plight(s)


def test_a_leg_whose_successor_was_named_first_is_entered_as_replaced() -> None:
    scenario, path = REPAIRED["a leg that comes back"]
    s = first(scenario, faults=len(path), swings=len(path))
    for move in path:
        s.make(move)
    [ticket] = s.state.tickets.values()
    known = {order.client_order_id: order for order in ticket.exits}
    assert known["tp1/sl"].status is OrderStatus.REPLACED
    assert known["tp1/sl'"].replaces == "tp1/sl"
