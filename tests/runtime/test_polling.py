"""What is asked of the venue, and in which order the answers are believed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hands.core.events import (
    AnyEvent,
    DayOrdersReport,
    FillsReport,
    QuoteFetched,
    SessionReport,
    TruthReport,
    VenueFill,
)
from hands.core.units import NS_PER_S, Ns, Price, Qty
from hands.runtime import polling
from hands.runtime.config import PollSection
from hands.runtime.polling import Poller
from hands.runtime.sessions import Sessions
from hands.venues.alpaca.snapshots import VenueUnavailable

FILL = VenueFill(execution_id="x", order_id="o", qty=Qty(1), price=Price(1), cum_qty=Qty(1), at_ns=Ns(1))

REGULARLY = PollSection(account_s=600.0, session_s=3600.0, truth_s=0.01)


class Venue:
    """Snapshots whose truth is answered when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], bool, asyncio.Future[None]]] = []
        self.at_once_max = 0
        self.refusals = 0
        self.refused_with: int | None = None
        self.fills_asked = 0
        self.quoted_ns = 0
        self._at_once = 0

    async def truth(self, client_order_ids: tuple[str, ...] = (), *, regular: bool = False) -> TruthReport:
        number = len(self.asked) + 1
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked.append((client_order_ids, regular, answered))
        self._at_once += 1
        self.at_once_max = max(self.at_once_max, self._at_once)
        try:
            await answered
        finally:
            self._at_once -= 1
        return TruthReport(ts_ns=Ns(number), asked_ns=Ns(number), orders=(), missing=(), positions=())

    async def latest_quote(self, symbol: str) -> tuple[float, float, float, float, int]:
        return 10.0, 11.0, 1.0, 1.0, self.quoted_ns

    async def day_orders(self, since_ns: int, symbols: tuple[str, ...] = ()) -> DayOrdersReport:
        if self.refusals:
            self.refusals -= 1
            raise VenueUnavailable("not now")
        return DayOrdersReport(ts_ns=Ns(1), since_ns=Ns(since_ns), orders=())

    async def fills(self, after_ns: int) -> FillsReport:
        self.fills_asked += 1
        if self.refusals:
            self.refusals -= 1
            raise VenueUnavailable("not now", self.refused_with)
        return FillsReport(ts_ns=Ns(1), after_ns=Ns(after_ns), fills=(FILL,))

    def answer(self, number: int, failure: Exception | None = None) -> None:
        answered = self.asked[number][2]
        if failure is None:
            answered.set_result(None)
        else:
            answered.set_exception(failure)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (what is waited for has no event of its own)
            await asyncio.sleep(0.002)


def polled(scenario: Callable[[Venue, Poller, list[AnyEvent]], Awaitable[None]]) -> None:
    async def play() -> None:
        venue, events = Venue(), list[AnyEvent]()
        poller = Poller(
            venue,  # type: ignore[arg-type]
            REGULARLY,
            (),
            {},
            clock=lambda: Ns(1),
            feed=events.append,
            take_rows=lambda rows, count: None,
            on_session=lambda report: None,
            sessions=Sessions(Path("nowhere")),
        )
        try:
            await scenario(venue, poller, events)
        finally:
            await poller.stop()

    asyncio.run(play())


@pytest.mark.parametrize(("ahead_s", "is_taken"), [(5, True), (6, False)])
def test_trap_29_a_quote_from_the_future_is_an_answer_but_no_quote(ahead_s: int, is_taken: bool) -> None:
    """Taken in, it would keep every honest quote out until its time has come."""
    taken: list[int] = []

    async def scenario(venue: Venue, poller: Poller, events: list[AnyEvent]) -> None:
        poller._index = {"AAPL": 0}
        poller._take_rows = lambda rows, count: taken.append(int(rows["venue_ns"][0]))
        venue.quoted_ns = 1 + ahead_s * NS_PER_S
        assert await poller.latest_quote("AAPL") == venue.quoted_ns
        assert [event.ok for event in events if isinstance(event, QuoteFetched)] == [True]

    polled(scenario)
    assert bool(taken) is is_taken


def test_a_truth_asked_for_on_demand_waits_for_the_regular_one() -> None:
    """Two side by side: the older snapshot could be applied last."""

    async def scenario(venue: Venue, poller: Poller, events: list[AnyEvent]) -> None:
        poller.start()
        await until(lambda: venue.asked)
        poller.request_truth(("c1",))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(venue.asked) == 1, "one truth at a time"
        venue.answer(0)
        await until(lambda: len(venue.asked) == 2)
        assert [(ids, regular) for ids, regular, _ in venue.asked] == [((), True), (("c1",), False)]
        venue.answer(1)
        await until(lambda: len(events) == 2)
        assert [event.ts_ns for event in events] == [1, 2]
        assert venue.at_once_max == 1

    polled(scenario)


def test_a_truth_asked_for_while_one_is_asked_follows_it_once() -> None:
    async def scenario(venue: Venue, poller: Poller, events: list[AnyEvent]) -> None:
        poller.request_truth(("c1",))
        await until(lambda: venue.asked)
        poller.request_truth(("c2",))
        poller.request_truth(("c3",))
        venue.answer(0)
        await until(lambda: len(venue.asked) == 2)
        venue.answer(1)
        await until(lambda: len(events) == 2)
        assert [ids for ids, _, _ in venue.asked] == [("c1",), ("c3",)]

    polled(scenario)


def test_the_days_orders_are_asked_for_until_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "RETRY_FIRST_S", 0.001)

    async def scenario(venue: Venue, poller: Poller, events: list[AnyEvent]) -> None:
        venue.refusals = 3
        poller.request_day_orders(Ns(7))
        await until(lambda: events)
        assert events == [DayOrdersReport(ts_ns=Ns(1), since_ns=Ns(7), orders=())]
        assert venue.refusals == 0

    polled(scenario)


@pytest.mark.parametrize(("status", "asked", "found"), [(None, 3, (FILL,)), (429, 3, (FILL,)), (403, 1, ())])
def test_fills_are_asked_for_one_question_at_a_time_until_the_venue_answers_or_will_not(
    monkeypatch: pytest.MonkeyPatch, status: int | None, asked: int, found: tuple[VenueFill, ...]
) -> None:
    monkeypatch.setattr(polling, "RETRY_FIRST_S", 0.001)

    async def scenario(venue: Venue, poller: Poller, events: list[AnyEvent]) -> None:
        venue.refusals, venue.refused_with = 2, status
        poller.request_fills(Ns(7))
        poller.request_fills(Ns(8))
        await until(lambda: events)
        assert [(e.after_ns, e.fills) for e in events if isinstance(e, FillsReport)] == [(7, found)]
        assert venue.fills_asked == asked

    polled(scenario)


def test_a_truth_that_cannot_be_had_is_asked_for_again() -> None:
    async def scenario(venue: Venue, poller: Poller, events: list[AnyEvent]) -> None:
        poller.request_truth(("c1",))
        await until(lambda: venue.asked)
        venue.answer(0, VenueUnavailable("request budget"))
        await until(lambda: len(venue.asked) == 2)
        venue.answer(1)
        await until(lambda: events)
        assert [ids for ids, _, _ in venue.asked] == [("c1",), ("c1",)]

    polled(scenario)


def test_a_truth_that_cannot_be_had_for_long_is_asked_for_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two requests twice a second would be more than all there are: none were left for an exit."""
    monkeypatch.setattr(polling, "TRUTH_RETRY_S", 0.001)
    monkeypatch.setattr(polling, "TRUTH_RETRIES", 3)
    monkeypatch.setattr(polling, "TRUTH_RETRY_LATER_S", 3600.0)

    async def scenario(venue: Venue, poller: Poller, events: list[AnyEvent]) -> None:
        poller.request_truth(())
        for number in range(4):
            await until(lambda n=number: len(venue.asked) > n)  # type: ignore[misc]
            venue.answer(number, VenueUnavailable("<html>"))
        timers = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        now = asyncio.get_running_loop().time
        await until(lambda: any(timer.when() - now() > 3000 for timer in timers))
        assert len(venue.asked) == 4

    polled(scenario)


def test_after_the_end_the_turn_of_the_session_is_asked_about_no_more() -> None:
    turns: list[asyncio.TimerHandle] = []

    async def scenario(venue: Venue, poller: Poller, events: list[AnyEvent]) -> None:
        for seconds in (60, 30):
            report = SessionReport(
                ts_ns=Ns(1), is_open=True, next_open_ns=Ns(NS_PER_S), next_close_ns=Ns(seconds * NS_PER_S)
            )
            poller._take_session(report)
            assert poller._turn is not None
            turns.append(poller._turn)
        assert [turn.cancelled() for turn in turns] == [True, False], "one question about one turn"

    polled(scenario)
    assert all(turn.cancelled() for turn in turns)
