"""The way to the exchange and back: what an answer knows, when it comes, and what is asked once more."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import pytest

from hands.core.commands import AnyCommand, CancelOrder, QueryOrder
from hands.core.events import (
    AccountReport,
    DayOrdersReport,
    FillsReport,
    OrderReport,
    QuoteFetched,
    RequestAnswered,
    RequestFailed,
    RequestSent,
    TruthReport,
)
from hands.core.orders import ApprovedEntry
from hands.core.rows import RowFlag, RowKind, new_rows
from hands.core.units import NANO, NS_PER_MS, NS_PER_S, Ns, Price, Qty, Usd, nano
from hands.core.vocab import AssetClass, OrderClass, OrderStatus, Side, TimeInForce
from hands.replay.agenda import Agenda
from hands.replay.engine import Engine
from hands.replay.floor import Floor
from hands.replay.venue import VenueLink
from hands.replay.ways import Ways
from tests.replay.markets import NOON

WAY = 20 * NS_PER_MS
ENTRY = "hands-00000000-0000-4000-8000-000000000001-entry-1"


class Desk:
    """A floor with one quote, its link, and all that has been told, with its moment in ms after noon."""

    def __init__(self) -> None:
        self.floor = Floor(
            ("AAPL", "SPY"), NOON, cash_usd=100_000 * NANO, seed=0, fills="instant", session="always"
        )
        self.agenda = Agenda()
        self.told: list[tuple[int, Any]] = []
        self.rows_taken = 0
        self.link = VenueLink(self.floor, self.agenda, Ways(WAY), self._tell, self._take)
        rows = new_rows(1)
        rows["kind"], rows["flags"] = RowKind.QUOTE, RowFlag.ELIGIBLE
        rows["price"], rows["price2"], rows["size"], rows["size2"] = 149.98, 150.0, 500, 500
        rows["recv_ns"] = rows["venue_ns"] = NOON
        self.floor.begin_chunk(rows, keep=True)
        self.floor.passed(1)

    def _tell(self, event: Any) -> None:
        self.told.append(((self.floor.now_ns - NOON) // NS_PER_MS, event))

    def _take(self, rows: Any, count: int) -> None:
        self.rows_taken += count
        assert int(rows["recv_ns"][0]) == self.floor.now_ns

    def pass_ms(self, ms: int) -> None:
        end_ns = self.floor.now_ns + ms * NS_PER_MS
        while self.agenda.next_ns <= end_ns:
            self.floor.now_ns = max(self.floor.now_ns, self.agenda.next_ns)
            self.agenda.take()()
        self.floor.now_ns = end_ns

    def of(self, kind: type) -> list[tuple[int, Any]]:
        return [(ms, event) for ms, event in self.told if isinstance(event, kind)]

    def enter(self, deadline_ns: int = NOON + 10 * NS_PER_S) -> None:
        self.link.submit(
            ApprovedEntry(  # the test's own: nothing in the house but the guardian makes one
                client_order_id=ENTRY,
                intent_id="00000000-0000-4000-8000-000000000001",
                symbol="AAPL",
                asset_class=AssetClass.EQUITY,
                side=Side.BUY,
                qty=Qty(10 * NANO),
                limit_price=Price(nano("150.05")),
                time_in_force=TimeInForce.GTC,
                order_class=OrderClass.BRACKET,
                take_profit=Price(nano("155")),
                stop_loss=Price(nano("148")),
                deadline_ns=Ns(deadline_ns),
            )
        )


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_an_order_takes_one_way_there_and_its_answer_one_back(desk: Desk) -> None:
    desk.enter()
    assert [(ms, event.client_order_id) for ms, event in desk.of(RequestSent)] == [(0, ENTRY)]
    desk.pass_ms(19)
    assert desk.floor.exchange.blotter.fills == []
    desk.pass_ms(1)
    assert [fill.t_ns for fill in desk.floor.exchange.blotter.fills] == [NOON + WAY]
    assert desk.of(RequestAnswered) == desk.of(OrderReport) == []
    assert desk.link.in_flight
    desk.pass_ms(20)
    [(ms, answer)] = desk.of(RequestAnswered)
    assert (ms, answer.status, answer.order.status) == (40, 200, OrderStatus.PENDING_NEW)
    reports = desk.of(OrderReport)
    assert {ms for ms, _ in reports} == {40}
    assert [report.event for _, report in reports][:3] == ["pending_new", "new", "fill"]
    assert desk.told.index((40, answer)) < desk.told.index(reports[0]), (
        "the answer goes out before the reports"
    )
    assert not desk.link.in_flight


def test_an_entry_past_its_deadline_is_not_sent(desk: Desk) -> None:
    desk.enter(deadline_ns=NOON)
    [(_, failed)] = desk.told
    assert isinstance(failed, RequestFailed)
    assert not failed.may_have_been_sent
    desk.pass_ms(100)
    assert len(desk.floor.exchange.blotter) == 0


def test_a_refusal_and_an_unknown_order_are_answers(desk: Desk) -> None:
    desk.link.query(QueryOrder(client_order_id="hands-nobody"))
    desk.link.cancel(
        CancelOrder(order_id="5d2f0c0e-6a51-4c0e-8f0a-9a1f7f4c2b11", client_order_id="hands-nobody")
    )
    desk.enter()
    desk.enter()
    desk.pass_ms(50)
    said = [(event.kind, event.status, event.code) for _, event in desk.of(RequestAnswered)]
    assert said[:2] == [("query", 404, 40410000), ("cancel", 404, 40410000)]
    assert [status for _, status, _ in said[2:]] == [200, 422]


def test_the_truth_names_what_is_open_held_and_missing_and_is_asked_once_more_where_it_was_asked_meanwhile(
    desk: Desk,
) -> None:
    desk.enter()
    desk.pass_ms(100)
    desk.link.request_truth((ENTRY, "hands-nobody"))
    desk.link.request_truth(("hands-somebody",))
    desk.link.request_truth(("hands-other",))
    desk.pass_ms(200)
    (first_ms, first), (again_ms, again) = desk.of(TruthReport)
    assert (first_ms, again_ms) == (140, 180)
    assert first.asked_ns == NOON + 100 * NS_PER_MS
    assert [order.client_order_id for order in first.orders] == [ENTRY]
    assert len(first.orders[0].legs) == 2
    assert [(held.symbol, held.qty) for held in first.positions] == [("AAPL", 10 * NANO)]
    assert (first.missing, again.missing) == (("hands-nobody",), ("hands-other",))


def test_fills_orders_and_account_are_told_as_they_were_when_they_were_asked_for(desk: Desk) -> None:
    desk.enter()
    desk.pass_ms(100)
    for after_ns in (0, NOON + WAY):
        desk.link.request_fills(after_ns)
        desk.link.request_day_orders(after_ns)
    desk.link.request_account()
    desk.pass_ms(100)
    every, later = (report.fills for _, report in desk.of(FillsReport))
    assert [fill.qty for fill in every] == [10 * NANO]
    assert later == ()
    orders = [report.orders for _, report in desk.of(DayOrdersReport)]
    assert [[order.client_order_id for order in found] for found in orders] == [[ENTRY], [ENTRY]]
    [(ms, account)] = desk.of(AccountReport)
    assert (ms, account.asked_ns, account.ts_ns) == (140, NOON + 100 * NS_PER_MS, NOON + 140 * NS_PER_MS)
    assert account.cash == Usd(98_500 * NANO)


def test_a_quote_is_the_venues_when_it_was_asked_and_one_that_never_was_is_none(desk: Desk) -> None:
    desk.link.fetch_quote("AAPL")
    desk.link.fetch_quote("SPY")
    desk.pass_ms(50)
    (_, apple), (_, spy) = desk.of(QuoteFetched)
    assert (apple.ok, apple.venue_ns, apple.asked_ns) == (True, NOON, NOON)
    assert (spy.ok, spy.venue_ns) == (False, None)
    assert desk.rows_taken == 1


def test_every_command_of_the_engine_is_carried_out_or_left_out_on_purpose() -> None:
    """A command that comes to the core later has to find its place in a replay too."""
    source = inspect.getsource(Engine._carry_out)
    nobody_is_there = {"OperatorAnswer", "Stopped"}
    for command in get_args(AnyCommand):
        name = command.__name__
        assert (f"{name}(" in source) is (name not in nobody_is_there), name
