"""The exchange calendar against published closures, and the clock built on it."""

from __future__ import annotations

import datetime as dt

import pytest

from hands.core.units import NS_PER_S
from hands.sim.venue.calendar import (
    NEW_YORK,
    MarketClock,
    Session,
    holidays,
    settlement_date,
    trading_day,
    trading_days,
)

CLOSED = [
    "2012-01-02",  # New Year's Day on a Sunday
    "2012-10-29",  # Sandy
    "2013-03-29",  # Good Friday
    "2015-07-03",  # the 4th on a Saturday
    "2018-12-05",
    "2021-07-05",  # the 4th on a Sunday
    "2021-12-24",  # Christmas on a Saturday
    "2022-06-20",  # Juneteenth on a Sunday
    "2022-12-26",
    "2023-01-16",
    "2024-03-29",
    "2024-05-27",
    "2025-01-09",
    "2025-04-18",
    "2026-06-19",
    "2026-07-03",
    "2026-11-26",
    "2027-03-26",
    "2030-11-28",
]
SHORT = ["2012-12-24", "2013-07-03", "2017-07-03", "2023-07-03", "2024-11-29", "2025-07-03", "2026-12-24"]
FULL = [
    "2011-07-01",
    "2015-07-02",
    "2021-06-18",  # Juneteenth was no holiday yet
    "2021-12-31",  # New Year's Day on a Saturday is not observed
    "2022-01-03",
    "2022-12-23",
    "2026-07-02",
    "2027-12-31",
]


@pytest.mark.parametrize("text", CLOSED)
def test_exchange_is_closed(text):
    assert trading_day(dt.date.fromisoformat(text)) is None


@pytest.mark.parametrize("text", SHORT)
def test_exchange_closes_early(text):
    day = trading_day(dt.date.fromisoformat(text))
    assert day is not None
    assert day.close == dt.time(13, 0)


@pytest.mark.parametrize("text", FULL)
def test_exchange_is_open_all_day(text):
    day = trading_day(dt.date.fromisoformat(text))
    assert day is not None
    assert day.close == dt.time(16, 0)


@pytest.mark.parametrize(
    ("year", "count"), [(2011, 252), (2012, 250), (2018, 251), (2024, 252), (2025, 250), (2026, 251)]
)
def test_year_has_the_published_number_of_sessions(year, count):
    assert sum(1 for _ in trading_days(dt.date(year, 1, 1), dt.date(year, 12, 31))) == count


def test_holidays_are_weekdays():
    assert all(date.weekday() < 5 for year in range(2011, 2031) for date in holidays(year))


def test_settlement_is_one_session_later():
    assert settlement_date(dt.date(2026, 11, 25)) == dt.date(2026, 11, 27)
    assert settlement_date(dt.date(2020, 7, 1)) == dt.date(2020, 7, 6)


def _ns(*parts: int) -> int:
    return int(dt.datetime(*parts, tzinfo=NEW_YORK).timestamp()) * NS_PER_S


@pytest.mark.parametrize(
    ("at", "is_open", "next_open", "next_close"),
    [
        ((2026, 11, 25, 9, 29), False, (2026, 11, 25, 9, 30), (2026, 11, 25, 16, 0)),
        ((2026, 11, 25, 9, 30), True, (2026, 11, 27, 9, 30), (2026, 11, 25, 16, 0)),
        ((2026, 11, 25, 16, 0), False, (2026, 11, 27, 9, 30), (2026, 11, 27, 13, 0)),
        (
            (2026, 3, 7, 12, 0),
            False,
            (2026, 3, 9, 9, 30),
            (2026, 3, 9, 16, 0),
        ),  # the clocks change on the 8th
    ],
)
def test_clock_follows_the_calendar(at, is_open, next_open, next_close):
    clock = MarketClock("calendar")
    reading = clock.at(_ns(*at))
    assert (reading.is_open, reading.next_open_ns, reading.next_close_ns) == (
        is_open,
        _ns(*next_open),
        _ns(*next_close),
    )


@pytest.mark.parametrize(
    ("at", "session"),
    [
        ((2026, 11, 25, 3, 59), Session.CLOSED),
        ((2026, 11, 25, 4, 0), Session.EXTENDED),
        ((2026, 11, 25, 9, 30), Session.REGULAR),
        ((2026, 11, 25, 16, 0), Session.EXTENDED),
        ((2026, 11, 25, 20, 0), Session.CLOSED),
        ((2026, 11, 26, 12, 0), Session.CLOSED),  # Thanksgiving
        ((2026, 11, 27, 13, 0), Session.EXTENDED),  # the half day after it
        ((2026, 11, 27, 17, 0), Session.CLOSED),
        ((2026, 11, 28, 12, 0), Session.CLOSED),
    ],
)
def test_day_has_its_sessions(at, session):
    clock = MarketClock("calendar")
    assert clock.session(_ns(*at)) is session
    assert clock.is_extended(_ns(*at)) == (session is not Session.CLOSED)
    assert MarketClock("always").session(_ns(*at)) is Session.REGULAR


def test_extended_hours_end_early_on_a_half_day():
    full, half = trading_day(dt.date(2026, 11, 25)), trading_day(dt.date(2026, 11, 27))
    assert [f"{day.session_open:%H%M}-{day.session_close:%H%M}" for day in (full, half)] == [
        "0400-2000",
        "0400-1700",
    ]


def test_clock_notices_the_opening_it_predicted():
    clock = MarketClock("calendar")
    assert not clock.at(_ns(2026, 11, 25, 9, 29)).is_open
    assert clock.at(_ns(2026, 11, 25, 9, 30)).is_open
    assert not clock.at(_ns(2026, 11, 25, 16, 0)).is_open


def test_session_that_is_always_open_never_comes_near_its_close():
    clock = MarketClock("always")
    for minute in range(0, 3 * 1440, 7):
        t_ns = _ns(2026, 11, 20, 0, 0) + minute * 60 * NS_PER_S
        reading = clock.at(t_ns)
        assert reading.is_open
        assert reading.next_close_ns - t_ns >= 86_400 * NS_PER_S
