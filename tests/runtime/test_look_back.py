"""Looking back at night: from a session's rejections to the view `gates`, and the minutes that are kept for it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hands.core.bars import BAR
from hands.core.hindsight import DAY_NS, MINUTE_NS
from hands.core.units import NS_PER_S, Ns
from hands.core.vocab import Venue
from hands.journal.ledger import Ledger
from hands.journal.reader import open_ledger, rows
from hands.runtime import look_back as module
from hands.runtime.look_back import LookBack
from hands.runtime.past_minutes import PastMinutes
from hands.runtime.sequencer import Sequencer
from hands.runtime.sessions import Sessions
from hands.venues.alpaca.endpoints import Endpoints
from hands.venues.alpaca.snapshots import Session, VenueUnavailable
from tests.runtime.conftest import NOW, Books

TODAY = NOW - NOW % DAY_NS


class Venues:
    """A venue's history: calm at 150, then up to 156 from `rises_ns` on; keeps what it was asked."""

    def __init__(self, rises_ns: int, until_ns: int) -> None:
        self.rises_ns = rises_ns
        self.until_ns = until_ns
        self.asked: list[tuple[tuple[str, ...], int]] = []
        self.fault: VenueUnavailable | None = None
        self.strangers = {"QQQ"}

    async def minute_bars(self, symbols: Sequence[str], start_ns: int, end_ns: int) -> dict[str, np.ndarray]:
        self.asked.append((tuple(symbols), start_ns))
        if self.fault is not None:
            raise self.fault
        if self.strangers & set(symbols):
            raise VenueUnavailable("GET bars: HTTP 400 invalid symbol", 400)
        starts = range(
            max(start_ns, NOW - NOW % MINUTE_NS - MINUTE_NS), min(end_ns, self.until_ns), MINUTE_NS
        )
        bars = [
            (start, 150, 156 if start >= self.rises_ns else 150.1, 149.9, 150.0, 1, 1, 1) for start in starts
        ]
        return {symbol: np.array(bars, BAR) for symbol in symbols}


class Night:
    """A session that refused something, its ledger, and a look back."""

    def __init__(self, books: Books, folder: Path) -> None:
        self.books = books
        self.venue = Venues(NOW + 2 * MINUTE_NS, NOW + 10 * MINUTE_NS)
        self.ledger = Ledger(folder / "hands.db", books.journal.path)
        self.ledger.start()
        self.sequencer = Sequencer(books.state, books.journal, books.clock, lambda *_: None)
        self.config: Any = SimpleNamespace(
            state=folder, endpoints=Endpoints.of("http://127.0.0.1:1"), venue=Venue.PAPER
        )
        self.sessions = Sessions(folder / "calendar.json")
        regular = Session(
            date="2026-09-21", early_ns=Ns(NOW - 3600 * NS_PER_S), open_ns=Ns(NOW - 3600 * NS_PER_S),
            close_ns=Ns(NOW + 3600 * NS_PER_S), late_ns=Ns(NOW + 4000 * NS_PER_S),
        )  # fmt: skip
        self.sessions.learn([regular])
        self.roll_ns: list[int] = []

    def look_back(self) -> LookBack:
        return LookBack(
            self.config, self.venue, self.sessions, clock=self.books.clock,
            next_roll_ns=lambda now: next((roll for roll in self.roll_ns if roll > now), None),
            add_row=self.sequencer.tell,
        )  # fmt: skip

    def drop(self, **changes: Any) -> None:
        async def feed() -> None:
            self.sequencer.feed(self.books.document(**changes))
            self.sequencer.stop()

        asyncio.run(feed())
        self.settle()

    def settle(self) -> None:
        self.sequencer.commit()
        self.ledger.wake()
        assert self.ledger.flush(10), self.ledger.fault

    def look(self) -> int:
        valued = asyncio.run(self.look_back().look())
        self.settle()
        return valued

    def gates(self) -> dict[str, dict[str, Any]]:
        with closing(open_ledger(self.ledger.path)) as db:
            return {row["check"]: row for row in rows(db, "gates")}

    def close(self) -> None:
        self.ledger.close()


@pytest.fixture
def night(books: Books, state_dir: Path) -> Iterator[Night]:
    night = Night(books, state_dir)
    yield night
    night.close()


def test_counts_are_there_at_once_and_values_after_the_night(night: Night) -> None:
    night.drop(confidence=0.1)
    night.drop(confidence=0.2, stop_loss=149)
    night.drop(asset="QQQ")
    before = night.gates()
    sure = before["confidence"]
    assert (sure["day"], sure["code"], sure["agent"]) == ("2026-09-21", "CONFIDENCE_TOO_LOW", "default")
    assert (sure["fired"], sure["valued"], sure["would_have_won"], sure["r_sum"]) == (2, 0, None, None)
    night.books.clock.now = Ns(NOW + 10 * MINUTE_NS)
    assert night.look() == 3
    sure, other = night.gates()["confidence"], night.gates()["symbol_allowed"]
    assert (sure["fired"], sure["valued"], sure["would_have_won"], sure["would_have_lost"]) == (2, 2, 2, 0)
    assert sure["r_sum"] == pytest.approx(5 / 2.15 + 5 / 1.15)
    assert sure["usd_sum"] == pytest.approx(
        1_000 * sure["r_sum"]
    )  # no receipt was written: one percent of 100 000
    assert (other["fired"], other["valued"], other["usd_sum"]) == (1, 0, None)


def test_what_is_settled_is_not_looked_at_again_and_what_is_open_is(night: Night) -> None:
    night.drop(confidence=0.1)
    night.books.clock.now = Ns(NOW + MINUTE_NS)
    night.venue.until_ns = int(night.books.clock.now)
    assert night.look() == 1
    assert night.gates()["confidence"]["r_sum"] == 0.0  # marked at 150
    night.books.clock.now = Ns(NOW + 10 * MINUTE_NS)
    night.venue.until_ns = int(night.books.clock.now)
    assert night.look() == 1
    assert night.gates()["confidence"]["would_have_won"] == 1
    assert night.look() == 0


def test_of_stocks_only_the_session_counts_but_for_the_simulators(night: Night) -> None:
    later = (Ns(NOW + hours * 3600 * NS_PER_S) for hours in (1, 2, 3, 4))
    night.sessions.learn([Session("2026-09-21", *later)])
    night.drop(confidence=0.1)
    night.books.clock.now = Ns(NOW + 10 * MINUTE_NS)
    night.look()
    assert night.gates()["confidence"]["valued"] == 0
    night.config.venue = Venue.SIM
    night.look()
    assert night.gates()["confidence"]["valued"] == 1


def test_it_looks_after_the_roll_and_goes_on_where_the_venue_was_away(
    night: Night, monkeypatch: pytest.MonkeyPatch, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Two nights: in the first the venue does not answer."""
    night.drop(confidence=0.1)
    night.roll_ns = [NOW + 600 * NS_PER_S, NOW + 1200 * NS_PER_S]
    slept: list[float] = []
    sleep = asyncio.sleep

    async def nap(seconds: float) -> None:
        if seconds < 100:
            return await sleep(seconds)
        slept.append(seconds)
        night.venue.fault = VenueUnavailable("away") if len(slept) == 1 else None
        night.books.clock.now = Ns(NOW + 600 * len(slept) * NS_PER_S)
        return None

    async def scenario() -> None:
        looking = night.look_back()
        monkeypatch.setattr(module.asyncio, "sleep", nap)
        looking.start()
        await until(lambda: night.sequencer.has_unwritten, "a row")
        await looking.stop()

    asyncio.run(scenario())
    night.settle()
    assert slept[:2] == [600 + module.AFTER_ROLL_S, 600 + module.AFTER_ROLL_S]
    assert "not looked back at tonight: away" in caplog.text
    assert night.gates()["confidence"]["would_have_won"] == 1


# --- the minutes that are kept ---------------------------------------------------------------------------------


def _asked(venue: Venues, folder: Path, now_ns: int, days: dict[int, set[str]]) -> Any:
    turns: list[None] = []
    found = asyncio.run(PastMinutes(folder, venue, now_ns).of(days, lambda: turns.append(None)))
    assert len(turns) == len(days)
    return found


def test_a_day_that_is_over_is_asked_for_once_and_one_that_is_not_every_time(tmp_path: Path) -> None:
    venue, days = Venues(NOW, NOW + 10 * MINUTE_NS), {TODAY: {"AAPL", "BTC/USD"}}
    first = _asked(venue, tmp_path, TODAY + DAY_NS + 3599 * NS_PER_S, days)
    assert not list(tmp_path.rglob("*.csv"))
    second = _asked(venue, tmp_path, TODAY + DAY_NS + 3600 * NS_PER_S, days)
    third = _asked(venue, tmp_path, TODAY + 2 * DAY_NS, days)
    assert len(venue.asked) == 2
    assert first == second == third
    assert set(third) == {"AAPL", "BTC/USD"}
    assert [minute.high for minute in third["AAPL"]][1:3] == [150_100_000_000, 156_000_000_000]


def test_a_symbol_that_the_venue_does_not_know_does_not_hide_the_others(tmp_path: Path) -> None:
    venue = Venues(NOW, NOW + MINUTE_NS)
    days = {TODAY - DAY_NS: {"AAPL", "QQQ"}, TODAY: {"AAPL", "QQQ"}}
    found = _asked(venue, tmp_path, NOW + DAY_NS, days)
    assert found["AAPL"]
    assert "QQQ" not in found
    assert [symbols for symbols, _ in venue.asked] == [("AAPL", "QQQ"), ("AAPL",), ("QQQ",), ("AAPL",)]
    venue.fault = VenueUnavailable("away", 503)
    with pytest.raises(VenueUnavailable, match="away"):
        _asked(venue, tmp_path, NOW + 2 * DAY_NS, {TODAY + DAY_NS: {"AAPL"}})


def test_a_broken_file_is_asked_for_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    venue, days = Venues(NOW, NOW + MINUTE_NS), {TODAY: {"AAPL"}}
    good = _asked(venue, tmp_path, TODAY + 2 * DAY_NS, days)
    [path] = tmp_path.rglob("*.csv")
    path.write_text("timestamp,open\nsoon,1\n")
    assert _asked(venue, tmp_path, TODAY + 2 * DAY_NS, days) == good
    assert "asked for anew" in caplog.text
    assert len(venue.asked) == 2


# --- a ledger of before ------------------------------------------------------------------------------------------


def test_a_ledger_of_the_first_version_gets_what_it_lacks_and_keeps_what_it_has(night: Night) -> None:
    night.drop(confidence=0.1)
    night.close()
    with closing(sqlite3.connect(night.ledger.path, isolation_level=None)) as db:
        db.execute("DROP VIEW gates")
        db.execute("DROP VIEW hindsight")
        db.execute("DROP TABLE ledger_hindsight")
        db.execute("DROP VIEW alerts")
        db.execute("DROP TABLE ledger_alerts")
        db.execute("PRAGMA user_version = 1")
    night.ledger = Ledger(night.ledger.path, night.books.journal.path)
    night.ledger.start()
    night.drop(confidence=0.1)
    night.books.clock.now = Ns(NOW + 10 * MINUTE_NS)
    night.look()
    assert (night.gates()["confidence"]["fired"], night.gates()["confidence"]["valued"]) == (2, 2)
