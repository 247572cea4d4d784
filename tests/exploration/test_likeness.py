"""The search is honest: a copy shares nothing that changes, and two situations with one key have one future."""

from __future__ import annotations

from collections import deque

import msgspec
import pytest

from hands.core.ticket import Order, Ticket
from tests.exploration.explorer import digest_of
from tests.exploration.likeness import LEFT_OUT_OF_ORDERS, LEFT_OUT_OF_TICKETS, Pit, copy_state
from tests.exploration.scenarios import SCENARIOS, first
from tests.exploration.situation import Situation


def everything(s: Situation) -> bytes:
    """Return all that the engine knows, as bytes, times as they are."""
    pit: Pit = s.state.market  # type: ignore[assignment]
    facts = {
        name: value
        for name, value in vars(s.state).items()
        if name not in ("market", "limits", "stakes", "accepted")
    }
    facts["stakes"] = s.state.stakes.total()
    facts["pit"] = pit.level, pit.armed
    return msgspec.msgpack.encode(sorted((name, repr(value)) for name, value in facts.items()))


def futures(s: Situation) -> dict[str, bytes]:
    """Return what each possible move leads to."""
    found = {}
    for move in s.moves():
        there = s.copy()
        there.make(move)
        found[move] = digest_of(there)
    return found


@pytest.mark.parametrize("name", ["partial", "coin-target"])
def test_what_happens_to_a_copy_does_not_happen_to_the_original(name: str) -> None:
    s = first(name)
    for _ in range(12):
        before, key = everything(s), digest_of(s)
        assert everything(s.copy()) == before
        for move in s.moves():
            s.copy().make(move)
        assert everything(s) == before
        assert digest_of(s) == key
        fair = s.fair_move()
        assert fair is not None
        s.make(fair)


@pytest.mark.parametrize(("name", "looked_at"), [("partial", 300), ("coin-stop", 300)])
def test_two_situations_with_one_key_have_one_future(name: str, looked_at: int) -> None:
    """Whatever the key leaves out: the same moves are possible, and each leads to situations with one key again."""
    start = first(name)
    known, waiting, alike = {digest_of(start): start}, deque([start]), 0
    while waiting and alike < looked_at // 10:
        here = waiting.popleft()
        for move in here.moves():
            there = here.copy()
            there.make(move)
            digest = digest_of(there)
            if digest not in known:
                known[digest] = there
                if len(known) < looked_at:
                    waiting.append(there)
            elif everything(known[digest]) != everything(there):
                assert futures(known[digest]) == futures(there)
                alike += 1
    assert alike > 5


def test_what_a_key_leaves_out_is_there_to_be_left_out() -> None:
    assert set(Order.__struct_fields__) >= LEFT_OUT_OF_ORDERS
    assert set(Ticket.__struct_fields__) >= LEFT_OUT_OF_TICKETS


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_state_is_copied_whole(name: str) -> None:
    """An attribute that the engine gains is in the copy, too."""
    state = first(name).state
    made = copy_state(state)
    assert set(vars(made)) == set(vars(state))
    shared = {
        k for k, v in vars(state).items() if isinstance(v, dict | list | set | deque) and v is vars(made)[k]
    }
    assert shared == set()
