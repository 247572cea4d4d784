"""An idea that died without a fill may be tried again, whether or not its ticket is still in memory."""

from __future__ import annotations

import pytest

from hands.core.vocab import Code, TradeState
from tests.core.desk import Desk


def tried_again(desk: Desk, *, restarted: bool) -> Code:
    """Return what is said of the same idea under another id."""
    if restarted:
        desk.crash()
        desk.restart()
        desk.run(1)
    desk.quote("AAPL", "149.98", "150.00")
    desk.poll()
    desk.drop(2)
    return desk.ticket(2).code


@pytest.mark.parametrize("restarted", [False, True])
def test_an_idea_that_died_without_a_fill_may_be_tried_again(restarted: bool) -> None:
    desk = Desk(semantic_duplicate_s=3600)
    desk.venue.portion = lambda _order: 0
    desk.drop(1)
    desk.run(20)
    assert desk.ticket(1).state is TradeState.EXPIRED
    assert tried_again(desk, restarted=restarted) is Code.OK


@pytest.mark.parametrize("restarted", [False, True])
def test_an_idea_that_was_filled_stays_one_when_it_is_over(restarted: bool) -> None:
    desk = Desk(semantic_duplicate_s=3600)
    desk.drop(1)
    desk.run(1)
    desk.quote("AAPL", "155.10", "155.12")
    desk.run(5)
    assert desk.ticket(1).state is TradeState.CLOSED
    assert tried_again(desk, restarted=restarted) is Code.SEMANTIC_DUPLICATE
