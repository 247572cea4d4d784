"""The venue's calendar: half days, holidays, the phases of a day, and what is known when nobody can be asked."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import msgspec
import pytest

from hands.core.events import SessionReport
from hands.core.units import NS_PER_S, Ns
from hands.runtime.config import PollSection
from hands.runtime.polling import Poller
from hands.runtime.sessions import Sessions
from hands.sim.venue.calendar import trading_days
from hands.venues.alpaca.snapshots import NEW_YORK, Session, VenueUnavailable

BLACK_FRIDAY = date(2026, 11, 27)


def at(day: date, text: str) -> Ns:
    moment = datetime.combine(day, time.fromisoformat(text), NEW_YORK)
    return Ns(int(moment.timestamp()) * NS_PER_S)


def sessions(first: date = date(2026, 11, 20), last: date = date(2026, 12, 4)) -> list[Session]:
    return [
        Session(
            day.date.isoformat(),
            at(day.date, "04:00"),
            at(day.date, day.open.isoformat()),
            at(day.date, day.close.isoformat()),
            at(day.date, "20:00"),
        )
        for day in trading_days(first, last)
    ]


@pytest.fixture
def known(tmp_path: Path) -> Sessions:
    found = Sessions(tmp_path / "calendar.json")
    found.learn(sessions())
    return found


@pytest.mark.parametrize(
    ("day", "clock", "phase"),
    [
        ("2026-11-25", "03:59", "closed"),
        ("2026-11-25", "04:00", "pre"),
        ("2026-11-25", "09:30", "regular"),
        ("2026-11-25", "15:59", "regular"),
        ("2026-11-25", "16:00", "post"),
        ("2026-11-25", "20:00", "closed"),
        ("2026-11-26", "12:00", "closed"),  # Thanksgiving
        ("2026-11-27", "12:59", "regular"),
        ("2026-11-27", "13:00", "post"),  # a half day
        ("2026-11-28", "12:00", "closed"),  # a Saturday
        ("2027-06-01", "12:00", ""),  # nobody has told us
    ],
)
def test_the_phases_of_days_are_the_calendars(known: Sessions, day: str, clock: str, phase: str) -> None:
    assert known.phase(at(date.fromisoformat(day), clock)) == phase


def test_a_report_by_the_calendar_knows_the_half_day(known: Sessions) -> None:
    report = known.report(at(BLACK_FRIDAY, "10:00"))
    assert report is not None
    assert (report.is_open, report.phase) == (True, "regular")
    assert report.open_ns == at(BLACK_FRIDAY, "09:30")
    assert report.next_close_ns == at(BLACK_FRIDAY, "13:00")
    assert report.next_open_ns == at(date(2026, 11, 30), "09:30")
    closed = known.report(at(date(2026, 11, 26), "10:00"))
    assert closed is not None
    assert (closed.is_open, closed.next_open_ns, closed.open_ns) == (False, at(BLACK_FRIDAY, "09:30"), None)


def test_beyond_the_calendar_there_is_no_report(known: Sessions) -> None:
    assert known.report(at(date(2026, 12, 4), "21:00")) is None
    assert known.report(at(date(2026, 12, 4), "12:00")) is None, "what comes after it is not known"
    assert known.report(at(date(2026, 11, 1), "12:00")) is None


def test_what_was_learnt_survives_the_process(known: Sessions, tmp_path: Path) -> None:
    again = Sessions(tmp_path / "calendar.json")
    assert again.report(at(BLACK_FRIDAY, "10:00")) == known.report(at(BLACK_FRIDAY, "10:00"))
    again.learn([])
    assert again.phase(at(BLACK_FRIDAY, "10:00")) == "regular", "an empty answer is no calendar"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]"])
def test_a_file_that_cannot_be_read_is_no_obstacle(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "calendar.json"
    path.write_bytes(content)
    found = Sessions(path)
    assert found.phase(at(BLACK_FRIDAY, "10:00")) == ""
    found.learn(sessions())
    assert Sessions(path).phase(at(BLACK_FRIDAY, "10:00")) == "regular"


def test_a_directory_that_is_gone_is_no_obstacle(tmp_path: Path) -> None:
    found = Sessions(tmp_path / "gone" / "calendar.json")
    found.learn(sessions())
    assert found.phase(at(BLACK_FRIDAY, "10:00")) == "regular"


def test_some_weeks_are_wanted_around_today(known: Sessions) -> None:
    first, last = known.wanted(at(BLACK_FRIDAY, "23:00"))
    assert (BLACK_FRIDAY - first, last - BLACK_FRIDAY) == (timedelta(days=7), timedelta(days=35))
    assert datetime.fromtimestamp(at(BLACK_FRIDAY, "23:00") / NS_PER_S, UTC).date() > BLACK_FRIDAY


# --- when the venue's clock does not answer ------------------------------------------------------------------


class Venue:
    """Snapshots whose clock does not answer; the calendar does."""

    def __init__(self) -> None:
        self.asked_days: list[tuple[date, date]] = []

    async def session(self) -> SessionReport:
        raise VenueUnavailable("no clock today")

    async def sessions(self, first: date, last: date) -> list[Session]:
        self.asked_days.append((first, last))
        return sessions()


def polled(known: Sessions, now: list[Ns]) -> tuple[Poller, list[SessionReport], Venue]:
    told: list[SessionReport] = []
    venue = Venue()
    poller = Poller(
        venue,  # type: ignore[arg-type]
        PollSection(account_s=600.0, session_s=3600.0, truth_s=600.0),
        (),
        {},
        clock=lambda: now[0],
        feed=lambda event: None,
        take_rows=lambda rows, count: None,
        on_session=told.append,
        sessions=known,
    )
    return poller, told, venue


def test_the_venues_last_word_stands_until_the_session_should_have_turned(known: Sessions) -> None:
    async def scenario() -> None:
        now = [at(BLACK_FRIDAY, "12:00")]
        poller, told, _ = polled(known, now)
        last_word = known.report(now[0])
        assert last_word is not None
        last_word = msgspec.structs.replace(last_word, ahead_max_ns=7)
        poller._take_session(last_word)
        for clock, expected in (("12:30", 1), ("13:00", 2)):
            now[0] = at(BLACK_FRIDAY, clock)
            with pytest.raises(VenueUnavailable):
                await poller._ask_session()
            assert len(told) == expected
        assert (told[-1].is_open, told[-1].phase, told[-1].ahead_max_ns) == (False, "post", 7)
        await poller.stop()

    asyncio.run(scenario())


def test_the_venues_clock_has_the_last_word_on_the_phase(known: Sessions) -> None:
    async def scenario() -> None:
        now = [at(BLACK_FRIDAY, "12:00")]
        poller, told, _ = polled(known, now)
        report = SessionReport(
            ts_ns=now[0], is_open=False, next_open_ns=Ns(now[0] + 10**15), next_close_ns=Ns(now[0] + 10**15)
        )
        poller._take_session(report)
        assert told[0].phase == "closed"
        await poller.stop()

    asyncio.run(scenario())


def test_the_calendar_is_learnt_at_the_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        found = Sessions(tmp_path / "calendar.json")
        now = [at(BLACK_FRIDAY, "12:00")]
        poller, _, venue = polled(found, now)
        poller._spawn(poller._keep_calendar())
        async with asyncio.timeout(10):
            while not found.phase(now[0]):  # noqa: ASYNC110  (what is waited for has no event of its own)
                await asyncio.sleep(0.002)
        await poller.stop()
        assert len(venue.asked_days) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("data", [b"", b"{", b'[{"day":"\xff"}]', b"[7]"])
def test_a_calendar_on_disk_that_is_none_is_asked_for_anew(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "calendar.json"
    path.write_bytes(data)
    found = Sessions(path)
    found.learn(sessions())
    assert len(Sessions(path)._sessions) == len(sessions())
