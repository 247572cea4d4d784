"""Every breaker: what sets it, what it stops, what clears it and what does not, and that it outlives a crash where it must."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import pytest

from hands.core.events import Link, OperatorAction, OrderReport
from hands.core.state import VENUE_REJECTIONS_MAX
from hands.core.units import NS_PER_S, Ns, Usd, nano
from hands.core.vocab import TradingState
from tests.core.desk import Desk
from tests.core.world import ROLL, account, intent_id, live

ACTIVE, REDUCE_ONLY, HALTED = TradingState.ACTIVE, TradingState.REDUCE_ONLY, TradingState.HALTED
DAY_S = 86_400


def lose(desk: Desk) -> None:
    """Four per cent are gone since the roll."""
    desk.state.day.realised["default"] = -nano("4000")
    desk.state.changed["day", ""] = desk.state.day
    desk.poll()


def fall(desk: Desk) -> None:
    """Ten per cent below the peak, over several days."""
    desk.poll()
    desk.state.performance.realised = Usd(-nano("10000"))
    desk.state.changed["performance", ""] = desk.state.performance
    desk.poll()


def reject(desk: Desk, count: int = VENUE_REJECTIONS_MAX, first: int = 100) -> None:
    """The venue rejects entries, one after the other."""
    real, desk.venue._refusal = desk.venue._refusal, lambda _order: (403, "no", {})  # type: ignore[method-assign]
    for number in range(first, first + count):
        desk.poll()
        desk.quote("AAPL", "149.98", "150.00")
        desk.drop(number)
        desk.run(1)
        assert desk.receipt(number)["state"] == "VENUE_REJECTED", desk.receipt(number)
    desk.venue._refusal = real  # type: ignore[method-assign]


def stay_silent(desk: Desk) -> None:
    """No market data arrives at all, for longer than a reconnection takes."""
    for link in (Link.EQUITY_DATA, Link.CRYPTO_DATA):
        desk.link(link, up=False)
    desk.run(11)


def speak_again(desk: Desk) -> None:
    for link in (Link.EQUITY_DATA, Link.CRYPTO_DATA):
        desk.link(link, up=True)


def say_something_unheard_of(desk: Desk) -> None:
    """An order of ours is said to be in a state that there is not."""
    desk.drop(50, "SPY")
    desk.run(1)
    order = next(o for o in desk.venue.orders.values() if o.symbol == "SPY")
    strange = msgspec.structs.replace(order.view(nested=False), status=None, status_text="levitating")
    desk.feed(OrderReport(ts_ns=Ns(desk.now_ns), event="levitating", order=strange))


def halt(desk: Desk) -> None:
    desk.operator(OperatorAction.HALT, reason="lunch")


def halt_by_file(desk: Desk) -> None:
    desk.operator(OperatorAction.HALT_FILE)


def reduce_only(desk: Desk) -> None:
    desk.operator(OperatorAction.REDUCE_ONLY)


def next_day(desk: Desk) -> None:
    desk.run((ROLL - desk.now_ns) / NS_PER_S + DAY_S + 1)
    desk.poll()


def resume(desk: Desk) -> None:
    desk.operator(OperatorAction.RESUME)


@dataclass(frozen=True)
class Breaker:
    code: str
    to: TradingState
    strike: Callable[[Desk], None]
    cure: Callable[[Desk], None]
    survives: bool = True


BREAKERS = [
    Breaker("DAILY_LOSS", REDUCE_ONLY, lose, next_day),
    Breaker("DRAWDOWN", HALTED, fall, resume),
    Breaker("REJECTION_STORM", REDUCE_ONLY, reject, resume),
    Breaker("STALE_FEED", REDUCE_ONLY, stay_silent, speak_again, survives=False),
    Breaker("UNKNOWN_VENUE_BEHAVIOUR", REDUCE_ONLY, say_something_unheard_of, resume),
    Breaker("OPERATOR", HALTED, halt, resume),
    Breaker("OPERATOR_REDUCE_ONLY", REDUCE_ONLY, reduce_only, resume),
    Breaker("HALT_FILE", HALTED, halt_by_file, resume),
]
each = pytest.mark.parametrize("breaker", BREAKERS, ids=[breaker.code for breaker in BREAKERS])


def struck(breaker: Breaker) -> Desk:
    desk = Desk(max_drawdown="0.10", max_daily_loss="0.04" if breaker.code == "DAILY_LOSS" else "1")
    breaker.strike(desk)
    return desk


def entered(desk: Desk, number: int = 1) -> bool:
    """Whether a good document is accepted now."""
    desk.poll()
    desk.quote("AAPL", "149.98", "150.00")
    desk.drop(number)
    return bool(desk.receipt(number)["verdict"] == "ACCEPTED")


@each
def test_it_is_set_and_nothing_is_entered(breaker: Breaker) -> None:
    desk = struck(breaker)
    assert breaker.code in desk.state.reasons
    assert desk.state.trading_state is breaker.to
    assert not entered(desk)


@each
def test_its_cure_and_nothing_else_clears_it(breaker: Breaker) -> None:
    desk = struck(breaker)
    for other in (resume, next_day, speak_again):
        if breaker.cure is other:
            continue
        if other is next_day and breaker.code == "STALE_FEED":
            continue  # a day without a word is the same silence
        other(desk)
        cured_by_itself = breaker.code == "STALE_FEED" and other is speak_again
        assert (breaker.code in desk.state.reasons) is not cured_by_itself, other.__name__
    breaker.cure(desk)
    assert breaker.code not in desk.state.reasons
    assert desk.state.trading_state is ACTIVE


@each
def test_trap_19_it_survives_a_crash_where_it_does_not_clear_by_itself(breaker: Breaker) -> None:
    desk = struck(breaker)
    desk.durable = dict(desk.journal)
    desk.crash()
    desk.restart()
    desk.run(1)
    assert (breaker.code in desk.state.reasons) is breaker.survives
    if breaker.survives:
        assert desk.state.trading_state is breaker.to
        assert not entered(desk)


@each
def test_positions_keep_their_protection(breaker: Breaker) -> None:
    """No breaker closes anything: what is protected stays so."""
    desk = Desk(max_daily_loss="0.04" if breaker.code == "DAILY_LOSS" else "1")
    desk.drop(9, "SOL/USD")
    desk.run(2)
    assert desk.venue.covered("SOL/USD") > 0
    breaker.strike(desk)
    desk.run(1)
    assert desk.venue.covered("SOL/USD") > 0
    assert not desk.venue.is_naked("SOL/USD")


# --- the rejection storm -----------------------------------------------------------------------------------


def test_rejections_of_the_venue_are_counted_in_a_row_and_an_entry_that_it_takes_ends_the_row() -> None:
    desk = Desk()
    reject(desk, VENUE_REJECTIONS_MAX - 1)
    assert desk.state.breakers.venue_rejections == VENUE_REJECTIONS_MAX - 1
    desk.drop(1, "SPY")
    desk.run(1)
    assert desk.state.breakers.venue_rejections == 0
    reject(desk, VENUE_REJECTIONS_MAX - 1, first=200)
    assert desk.state.trading_state is ACTIVE
    reject(desk, 1, first=300)
    assert "REJECTION_STORM" in desk.state.reasons
    assert "the last, AAPL: 403" in desk.state.reasons["REJECTION_STORM"].detail


def test_how_long_a_row_may_be_is_the_operator_s_to_say() -> None:
    desk = Desk()
    desk.state.venue_rejections_max = 2
    reject(desk, 2)
    assert "REJECTION_STORM" in desk.state.reasons


def test_the_row_goes_on_over_a_restart_and_begins_anew_after_a_resume() -> None:
    desk = Desk(semantic_duplicate_s="0")
    reject(desk, VENUE_REJECTIONS_MAX - 1)
    desk.durable = dict(desk.journal)
    desk.crash()
    desk.restart()
    desk.run(1)
    reject(desk, 1, first=200)
    assert "REJECTION_STORM" in desk.state.reasons
    resume(desk)
    reject(desk, VENUE_REJECTIONS_MAX - 1, first=300)
    assert desk.state.trading_state is ACTIVE


def test_what_never_left_and_what_the_guardian_denied_is_no_rejection_of_the_venue() -> None:
    desk = Desk()
    desk.faults = lambda kind: "not_sent" if kind == "submit" else None
    for number in range(100, 100 + 2 * VENUE_REJECTIONS_MAX):
        desk.drop(number)
        desk.run(1)
        desk.poll()
        desk.quote("AAPL", "149.98", "150.00")
    assert desk.state.breakers.venue_rejections == 0
    assert desk.state.trading_state is ACTIVE


def test_refused_exits_are_no_rejected_entries() -> None:
    desk = Desk()
    desk.venue.refuse = [(403, "insufficient", {})] * (2 * VENUE_REJECTIONS_MAX)
    desk.drop(1, "SOL/USD")
    desk.run(5)
    assert desk.state.breakers.venue_rejections == 0


def test_the_daily_loss_clears_at_the_roll_by_itself_and_not_by_the_operator() -> None:
    desk = struck(BREAKERS[0])
    resume(desk)
    assert "DAILY_LOSS" in desk.state.reasons
    live(desk.state, 900, "SPY")
    next_day(desk)
    assert "DAILY_LOSS" not in desk.state.reasons
    assert desk.state.day.realised == {}
    assert intent_id(900) in desk.state.tickets
    assert account().equity == desk.state.day.equity
