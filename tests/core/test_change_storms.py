"""An agent that changes its mind without end: what is sent stays within bounds, and what is held within its bound too.

Documents that change an intent are blocked by no limit, so what keeps them from using up the venue's requests, or
from keeping a position without its stop, is the pace at which they are carried out.
"""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from hands.core.commands import CancelOrder, QueryOrder, ReplaceOrder, SubmitExit
from hands.core.units import NANO, nano
from hands.core.vocab import Leg
from tests.core.desk import Desk
from tests.core.test_changes import ask, build

STORM_S = 60
EVERY_S = 0.1
A_MINUTE = 200
"""Requests that the venue takes."""

_ids = itertools.count(1_000)


def sent(desk: Desk, since_ns: int) -> Counter[str]:
    """Return how many requests about orders went out since then, by kind."""
    kinds = (SubmitExit, CancelOrder, ReplaceOrder, QueryOrder)
    return Counter(
        type(c).__name__ for at_ns, c in desk.commands if at_ns > since_ns and isinstance(c, kinds)
    )


def opened(desk: Desk, symbols: tuple[str, ...]) -> None:
    for number, symbol in enumerate(symbols, 1):
        desk.drop(number, symbol)
    desk.run(5)
    for number in range(1, len(symbols) + 1):
        assert desk.receipt(number)["state"] == "OPEN"


@pytest.mark.parametrize("symbols", [("AAPL",), ("SOL/USD",), ("AAPL", "SPY", "SOL/USD")])
def test_a_storm_of_amends_moves_an_order_at_a_pace(symbols: tuple[str, ...]) -> None:
    desk = build()
    opened(desk, symbols)
    began_ns = desk.now_ns
    wanted: dict[int, str] = {}
    for turn in range(int(STORM_S / EVERY_S)):
        for number in range(1, len(symbols) + 1):
            plan = desk.ticket(number).plan
            assert plan is not None
            wanted[number] = str((plan.take_profit or 0) // NANO + 1 - turn % 2)
            assert ask(desk, "amend", number, next(_ids), take_profit=wanted[number])["code"] == "OK"
        desk.run(EVERY_S)
    used = sent(desk, began_ns)
    assert sum(used.values()) <= A_MINUTE, used
    assert desk.worst_naked_ns < 2 * 10**9
    desk.run(10)
    for number, symbol in enumerate(symbols, 1):  # the last word holds
        resting = [
            order for order in desk.ticket(number).exits if order.is_live and order.leg is Leg.TAKE_PROFIT
        ]
        assert [order.limit_price for order in resting] == ([] if "/" in symbol else [nano(wanted[number])])


@pytest.mark.parametrize("symbols", [("AAPL",), ("SOL/USD",), ("AAPL", "SPY", "SOL/USD")])
def test_a_storm_of_parts_leaves_the_rest_protected_most_of_the_time(symbols: tuple[str, ...]) -> None:
    desk = build()
    opened(desk, symbols)
    began_ns, turns = desk.now_ns, int(STORM_S / EVERY_S)
    naked: Counter[str] = Counter()
    for turn in range(turns):
        if turn % 5 == 0:
            for number in range(1, len(symbols) + 1):
                ask(desk, "close", number, next(_ids), qty="1")
        desk.run(EVERY_S)
        naked.update(symbol for symbol in symbols if desk.venue.is_naked(symbol))
    used = sent(desk, began_ns)
    assert sum(used.values()) <= A_MINUTE, used
    assert desk.worst_naked_ns < 2 * 10**9
    assert all(count < turns // 10 for count in naked.values()), naked
