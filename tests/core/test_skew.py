"""Clocks that disagree: said plainly, with no entries meanwhile, and never on a slow answer alone. Trap 29."""

from __future__ import annotations

import pytest

from hands.core.commands import SubmitEntry
from hands.core.events import ClockStepped, Link, VenueClockMeasured
from hands.core.skew import skew_ns
from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.core.vocab import Code, Venue
from tests.core.desk import ACTIVE, REDUCE_ONLY, Desk
from tests.core.test_protection import opened
from tests.core.world import DAY, ROLL, session


def asked(desk: Desk, least_ms: int | None, most_ms: int | None) -> None:
    """The venue's clock was asked: ours is ahead of it by so much at least and at most."""
    least = None if least_ms is None else least_ms * NS_PER_MS
    most = None if most_ms is None else most_ms * NS_PER_MS
    desk.feed(session(ts_ns=Ns(desk.now_ns), ahead_min_ns=least, ahead_max_ns=most))


@pytest.mark.parametrize(
    ("least_ms", "most_ms", "found_ms", "trades"),
    [
        (-5, 5, 0, True),
        (1990, 2500, 1990, True),
        (2001, 2500, 2001, False),
        (-2500, -1990, -1990, True),
        (-2500, -2001, -2001, False),
        (-9000, 9000, 0, True),  # an answer that took long proves nothing
        (3000, 9000, 3000, False),
        (None, None, None, True),
    ],
)
def test_only_what_is_proven_stops_entries(
    least_ms: int | None, most_ms: int | None, found_ms: int | None, trades: bool
) -> None:
    desk = Desk()
    asked(desk, least_ms, most_ms)
    assert skew_ns(desk.state) == (None if found_ms is None else found_ms * NS_PER_MS)
    desk.drop()
    assert (desk.state.trading_state == ACTIVE) is trades
    assert desk.receipt()["code"] == (Code.OK if trades else Code.REDUCE_ONLY)
    assert len(desk.sent(SubmitEntry)) == int(trades)


@pytest.mark.parametrize(("venue", "trades"), [(Venue.SIM, True), (Venue.PAPER, False), (Venue.LIVE, False)])
def test_only_a_simulator_may_be_at_another_date(venue: Venue, trades: bool) -> None:
    desk = Desk()
    desk.state.venue = venue
    asked(desk, 86_400_000, 86_400_100)
    assert ("CLOCK_SKEW" not in desk.state.reasons) is trades


def test_it_says_by_how_much_and_which_way_and_clears_itself() -> None:
    desk = Desk()
    asked(desk, 3200, 3300)
    reason = desk.state.reasons["CLOCK_SKEW"]
    assert (reason.state, reason.clears) == (REDUCE_ONLY, "auto")
    assert reason.detail == (
        "the wall clock is 3.2 s ahead of the venue's; 2 s are allowed (clock_skew_max_ms)"
    )
    asked(desk, -7000, -6900)
    assert "6.9 s behind the venue's" in desk.state.reasons["CLOCK_SKEW"].detail
    assert desk.alerts().count("CLOCK_SKEW") == 1
    asked(desk, -10, 10)
    assert desk.state.reasons == {}
    desk.drop()
    assert desk.receipt()["code"] == Code.OK


@pytest.mark.parametrize("step_s", [-4, 4])
def test_a_step_of_the_wall_clock_is_judged_at_once_and_a_step_back_mends_it(step_s: int) -> None:
    desk = opened()
    asked(desk, -5, 5)
    desk.feed(ClockStepped(ts_ns=Ns(desk.now_ns), wall_offset_ns=step_s * NS_PER_S))
    assert "CLOCK_SKEW" in desk.state.reasons
    desk.run(60)
    assert desk.receipt()["state"] == "OPEN"  # what is owned is looked after as ever
    assert desk.venue.covered("AAPL") == desk.ticket().owned
    desk.feed(ClockStepped(ts_ns=Ns(desk.now_ns), wall_offset_ns=0))
    assert desk.state.reasons == {}


@pytest.mark.parametrize("step_days", [-1, 1])
def test_a_step_over_the_roll_begins_no_day_and_ends_none(step_days: int) -> None:
    desk = opened()
    desk.poll()
    began, trades = desk.state.day.started_ns, dict(desk.state.day.trades)
    desk.feed(ClockStepped(ts_ns=Ns(desk.now_ns), wall_offset_ns=step_days * DAY))
    desk.poll()
    assert (desk.state.day.started_ns, desk.state.day.trades) == (began, trades)
    desk.now_ns = ROLL + DAY + NS_PER_S  # by the engine's own clock it is the next day
    desk.venue.now_ns = Ns(desk.now_ns)
    desk.poll()
    assert (desk.state.day.started_ns, desk.state.day.trades) == (ROLL + DAY, {})


def test_where_the_venues_clock_does_not_answer_a_feed_that_is_ahead_of_us_shows_that_we_are_behind() -> None:
    desk = Desk()
    for offset_s, trades in ((5, True), (-1, True), (-3, False), (1, True)):
        offset = offset_s * NS_PER_S
        desk.feed(VenueClockMeasured(ts_ns=Ns(desk.now_ns), link=Link.EQUITY_DATA, offset_ns=offset))
        asked(desk, None, None)
        assert (desk.state.trading_state == ACTIVE) is trades, offset_s
    desk.feed(VenueClockMeasured(ts_ns=Ns(desk.now_ns), link=Link.EQUITY_DATA, offset_ns=-3 * NS_PER_S))
    asked(desk, -5, 5)  # the venue's own clock says more than a feed's stamps
    assert desk.state.trading_state == ACTIVE


def test_what_was_due_in_a_sleep_is_done_when_the_machine_wakes_and_is_said() -> None:
    desk = Desk()
    desk.venue.portion = lambda order: 0
    desk.drop()
    desk.run(1)
    desk.now_ns += 600 * NS_PER_S
    desk.venue.now_ns = Ns(desk.now_ns)
    desk.feed(ClockStepped(ts_ns=Ns(desk.now_ns), wall_offset_ns=0, slept_ns=600 * NS_PER_S))
    desk.run(0.5)
    assert desk.receipt()["state"] == "EXPIRED"
    assert desk.working() == []
    assert desk.alerts().count("SLEPT") == 1
    assert "CLOCK_STEPPED" not in desk.alerts()
