"""What is committed and what it uses up: added up once, and again whenever a ticket was touched."""

from __future__ import annotations

from hands.core.ideas import Accepted, Ideas
from hands.core.stakes import stake_of
from hands.core.units import Ns, Qty, Usd, nano
from hands.core.vocab import Direction, OrderStatus, TradeState
from tests.core.world import NOW, intent_id, live, world


def test_a_total_is_the_same_until_a_ticket_is_touched() -> None:
    state = world()
    ticket = live(state, qty="10")
    before = state.stakes.total()
    assert state.stakes.total() is before
    entry = ticket.entry
    assert entry is not None
    entry.status, entry.filled_qty, entry.value = (
        OrderStatus.PARTIALLY_FILLED,
        Qty(nano("4")),
        Usd(nano("2400")),
    )
    ticket.received_qty = Qty(nano("4"))
    state.touch(ticket)
    (stake,) = state.stakes.total().holding
    assert (stake.owned, stake.cost, stake.waiting_risk) == (nano("4"), nano("2400"), nano("48"))
    assert before.holding == ()


def test_the_parts_of_agents_make_the_whole() -> None:
    state = world()
    live(state, 900, "SPY", agent="a")
    live(state, 901, "AAPL", agent="b", limit="150", stop="148", target="155")
    whole, parts = state.stakes.total(), [state.stakes.total(agent) for agent in ("a", "b", "c")]
    assert whole.stakes == sum((part.stakes for part in parts), ())
    assert whole.exposure == sum(part.exposure for part in parts)
    assert parts[2].stakes == ()


def test_what_is_armed_or_over_is_not_committed_and_what_comes_back_is() -> None:
    state = world()
    ticket = live(state)
    assert [t.intent_id for t in state.committed()] == [ticket.intent_id]
    state.finish(ticket)
    assert (state.committed(), state.stakes.total().exposure) == ([], 0)
    state.finished.pop(ticket.intent_id)
    state.add(ticket)
    assert state.stakes.total().exposure == stake_of(ticket).exposure > 0
    ticket.state = TradeState.ARMED
    state.touch(ticket)
    assert state.committed() == []


def test_a_ticket_that_was_only_touched_is_not_taken_into_the_book() -> None:
    state = world()
    ticket = live(state)
    state.finish(ticket)
    ticket.state = TradeState.OPEN
    state.touch(ticket)
    assert state.committed() == []


def test_armed_tickets_leave_the_totals_alone() -> None:
    """Arming a hundred thousand touches must not make every verdict add up again."""
    state = world()
    live(state, 900)
    waiting = live(state, 901, "AAPL", limit="150", stop="148", target="155")
    waiting.state = TradeState.ARMED
    state.touch(waiting)
    total = state.stakes.total()
    state.touch(waiting)
    assert state.stakes.total() is total


# --- ideas -------------------------------------------------------------------------------------------------


def said(number: int, at: int, prices: tuple[int, int, int] = (1, 2, 3)) -> Accepted:
    return Accepted(
        at_ns=Ns(NOW + at),
        intent_id=intent_id(number),
        symbol="AAPL",
        direction=Direction.LONG,
        prices=prices,
    )


def test_the_newest_of_the_same_idea_comes_first_and_others_do_not_come() -> None:
    ideas = Ideas([said(1, 0), said(2, 1, (4, 5, 6)), said(3, 2)])
    assert [each.intent_id for each in ideas.alike("AAPL", Direction.LONG, (1, 2, 3))] == [
        intent_id(3),
        intent_id(1),
    ]
    assert list(ideas.alike("SPY", Direction.LONG, (1, 2, 3))) == []
    assert list(ideas.alike("AAPL", Direction.SHORT, (1, 2, 3))) == []


def test_what_is_too_old_is_forgotten_but_not_while_the_same_intent_was_accepted_again() -> None:
    """A touch is accepted when it is armed and again when it fires: the journal holds the last, and must keep it."""
    ideas = Ideas([said(1, 0), said(2, 1), said(1, 10)])
    assert ideas.forget_before(NOW + 5) == [intent_id(2)]
    assert [(each.intent_id, each.at_ns) for each in ideas] == [(intent_id(1), NOW + 10)]
    assert [each.at_ns for each in ideas.alike("AAPL", Direction.LONG, (1, 2, 3))] == [NOW + 10]
    assert ideas.forget_before(NOW + 11) == [intent_id(1)]
    assert len(ideas) == 0
    assert list(ideas.alike("AAPL", Direction.LONG, (1, 2, 3))) == []
