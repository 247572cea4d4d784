"""The order table: every arc of held status x report, and that late, doubled or strange news is told apart."""

from __future__ import annotations

from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.order_table import STALE, TABLE, UnknownArcError, next_status
from hands.core.vocab import OrderStatus as S

OURS = {S.UNSENT, S.UNKNOWN}
VENUES = [status for status in S if status not in OURS]
ENDS = [status for status in VENUES if status.is_terminal]
WORKING = [S.NEW, S.PARTIALLY_FILLED, S.HELD, S.SUSPENDED, S.STOPPED]


def after(held: S, *reports: S) -> S:
    """Return the status after a row of reports, late ones changing nothing."""
    for report in reports:
        moved = next_status(held, report, str(report))
        held = held if moved is STALE else moved
    return held


def test_every_status_has_a_row_and_only_the_venues_words_are_reported() -> None:
    assert {held for held, _ in TABLE} == set(S)
    assert {reported for _, reported in TABLE} == set(VENUES)


def test_an_arc_leads_to_what_was_reported_or_nowhere() -> None:
    assert all(result in (reported, STALE) for (_, reported), result in TABLE.items())


@pytest.mark.parametrize("status", VENUES)
def test_trap_04_the_same_word_twice_changes_nothing(status: S) -> None:
    assert after(S.UNSENT, status, status, status) is status


@pytest.mark.parametrize(("held", "status"), list(product(sorted(OURS), VENUES)))
def test_an_order_not_heard_of_yet_takes_the_venues_first_word(held: S, status: S) -> None:
    assert next_status(held, status, "") is status


@pytest.mark.parametrize("held", list(S))
def test_a_word_nobody_knows_is_no_arc(held: S) -> None:
    with pytest.raises(UnknownArcError, match="unknown status 'quantum'"):
        next_status(held, None, "quantum")


@pytest.mark.parametrize(("held", "ours"), list(product(S, sorted(OURS))))
def test_the_venue_never_reports_what_only_we_can_know(held: S, ours: S) -> None:
    with pytest.raises(UnknownArcError, match=f"an order that is {held} is reported {ours}"):
        next_status(held, ours, "")


@pytest.mark.parametrize(
    ("held", "reported"),
    [
        (S.FILLED, S.REPLACED),
        (S.FILLED, S.REJECTED),
        (S.CANCELED, S.REPLACED),
        (S.CANCELED, S.REJECTED),
        (S.EXPIRED, S.REJECTED),
        (S.REPLACED, S.EXPIRED),
        (S.PARTIALLY_FILLED, S.REJECTED),
        (S.NEW, S.UNSENT),
    ],
)
def test_an_arc_that_no_venue_behaviour_explains_raises(held: S, reported: S) -> None:
    with pytest.raises(UnknownArcError):
        next_status(held, reported, "")


@pytest.mark.parametrize(
    ("end", "late"), list(product(ENDS, [S.PENDING_NEW, S.ACCEPTED, S.NEW, S.PARTIALLY_FILLED]))
)
def test_trap_04_late_news_does_not_raise_the_dead(end: S, late: S) -> None:
    """Except after our own belief that an order was refused or lost: then the venue's word counts."""
    expected = late if end is S.REJECTED else STALE
    assert next_status(end, late, "") is expected


@pytest.mark.parametrize("end", [S.CANCELED, S.EXPIRED, S.REPLACED])
def test_trap_04_a_fill_may_overtake_the_report_of_an_end(end: S) -> None:
    assert next_status(end, S.FILLED, "") is S.FILLED
    assert next_status(S.FILLED, S.CANCELED, "") is STALE


@pytest.mark.parametrize("order", list(permutations([S.PENDING_NEW, S.NEW, S.PARTIALLY_FILLED, S.FILLED])))
def test_a_life_told_in_any_order_ends_filled(order: tuple[S, ...]) -> None:
    assert after(S.UNSENT, *order) is S.FILLED


@pytest.mark.parametrize("order", list(permutations([S.NEW, S.PENDING_CANCEL, S.CANCELED])))
def test_a_cancelled_life_told_in_any_order_ends_cancelled(order: tuple[S, ...]) -> None:
    assert after(S.PENDING_NEW, *order) is S.CANCELED


@pytest.mark.parametrize("late", [S.NEW, S.ACCEPTED, S.HELD, S.PARTIALLY_FILLED])
def test_a_pending_cancel_is_left_only_by_an_end(late: S) -> None:
    assert next_status(S.PENDING_CANCEL, late, "") is STALE
    assert {end for end in ENDS if next_status(S.PENDING_CANCEL, end, "") is end} == set(ENDS)


@pytest.mark.parametrize("back", [S.NEW, S.HELD, S.PARTIALLY_FILLED])
def test_a_refused_replace_goes_back_to_work(back: S) -> None:
    assert next_status(S.PENDING_REPLACE, back, "") is back


@pytest.mark.parametrize(("held", "end"), list(product(WORKING, [S.FILLED, S.CANCELED, S.EXPIRED])))
def test_whatever_works_can_end(held: S, end: S) -> None:
    assert next_status(held, end, "") is end


def test_a_held_leg_wakes_up() -> None:
    assert after(S.HELD, S.NEW) is S.NEW
    assert after(S.HELD, S.ACCEPTED, S.NEW, S.FILLED) is S.FILLED
    assert after(S.HELD, S.CANCELED) is S.CANCELED


@given(st.sampled_from(list(S)), st.sampled_from(VENUES), st.sampled_from(VENUES))
def test_hearing_it_again_never_moves_on(held: S, first: S, again: S) -> None:
    """After a report was taken, the same report is at most a repetition: it never raises."""
    try:
        moved = next_status(held, first, "")
    except UnknownArcError:
        return
    status = held if moved is STALE else moved
    assert next_status(status, first, "") in (status, STALE) or held is S.REJECTED
