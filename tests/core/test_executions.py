"""Fills that the trade stream did not tell of: found in the venue's list, each once, and priced exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from hands.core.commands import Alert, Record, RequestFills
from hands.core.events import Execution, FillsReport, Link, VenueFill
from hands.core.executions import ASKED_MAX, OVERLAP_NS
from hands.core.units import NANO, NS_PER_S, Ns, Price, Qty, nano
from tests.core.desk import Desk
from tests.core.test_moving import wish
from tests.core.test_operator import ADOPTED, adopt, owner_holds
from tests.core.test_protection import opened
from tests.core.venue_model import Resting

Change = Callable[[VenueFill], VenueFill]


class Book:
    """Puts the venue's list of fills into words of its own: `change` each, leave some out."""

    def __init__(self, desk: Desk) -> None:
        self.fills = desk.venue.fills
        self.change: Change = lambda fill: fill
        self.left_out: set[int] = set()
        since = desk.venue.fills_since

        def changed(after_ns: int) -> FillsReport:
            listed = [self.change(fill) for n, fill in enumerate(self.fills) if n not in self.left_out]
            return msgspec.structs.replace(since(after_ns), fills=tuple(listed))

        desk.venue.fills_since = changed  # type: ignore[method-assign]


def in_parts(desk: Desk, *prices: str, symbol_qty: int = 66) -> None:
    """Let the next entry fill in as many parts as there are prices, which differ."""
    desk.venue.portion = lambda order: 0
    desk.drop(1)
    desk.run(0.05)
    [entry] = [o for o in desk.working() if "-entry-" in o.client_order_id]
    left = symbol_qty
    for number, price in enumerate(prices):
        qty = left if number == len(prices) - 1 else 7
        left -= qty
        desk.venue.fill(entry, qty * NANO, nano(price))
    desk.venue.portion = lambda order: order.remaining


def rows(desk: Desk) -> list[dict[str, Any]]:
    return [r.row for r in desk.sent(Record) if r.table == "fills"]


def muted(*prices: str) -> tuple[Desk, Book]:
    """A desk whose entry filled in parts while its trade stream was mute, and which has asked for the truth since."""
    desk = Desk()
    book = Book(desk)
    desk.drop(2, "SPY")  # somebody else's fill in the list: another order of ours
    desk.run(0.5)
    desk.muted = True
    in_parts(desk, *prices)
    desk.run(0.1)
    desk.muted = False
    desk.link(Link.TRADE_UPDATES, up=True)
    desk.run(0.5)
    assert desk.ticket().owned == 66 * NANO
    return desk, book


def test_fills_that_the_stream_did_not_tell_of_are_found_and_priced_one_by_one() -> None:
    desk, _ = muted("150.003", "149.999", "150.001")
    assert rows(desk) == [r for r in rows(desk) if r["symbol"] == "SPY"]
    desk.run(2)
    [asked] = desk.sent(RequestFills)
    assert asked.after_ns == desk.ticket().received_ns - OVERLAP_NS
    own = [r for r in rows(desk) if r["symbol"] == "AAPL"]
    assert [(r["qty"], r["price"]) for r in own] == [
        (7 * NANO, nano("150.003")), (7 * NANO, nano("149.999")), (52 * NANO, nano("150.001")),
    ]  # fmt: skip
    entry = desk.ticket().entry
    assert entry is not None
    assert entry.value == 7 * nano("150.003") + 7 * nano("149.999") + 52 * nano("150.001")
    assert len(desk.receipt()["fills"]) == 3
    assert "FILLS_FOUND" in desk.alerts()


def test_what_the_stream_told_is_not_asked_for_and_a_settled_truth_asks_nothing() -> None:
    desk = Desk()
    Book(desk)
    opened(desk=desk)
    for _ in range(3):
        desk.link(Link.TRADE_UPDATES, up=True)
        desk.run(30)
    assert desk.sent(RequestFills) == []


def test_what_was_adopted_has_no_fills_at_the_venue_that_could_be_asked_for() -> None:
    desk = Desk()
    owner_holds(desk, "AAPL", "66", "150")
    assert adopt(desk).ok
    for _ in range(3):
        desk.link(Link.TRADE_UPDATES, up=True)
        desk.run(30)
    assert desk.state.tickets[ADOPTED].owned == 66 * NANO
    assert desk.sent(RequestFills) == []


LISTS: dict[str, Change] = {
    "as they are": lambda fill: fill,
    "cut to the microsecond": lambda fill: msgspec.structs.replace(fill, at_ns=Ns((fill.at_ns + 500) // 1000 * 1000)),
    "other ids, and cut": lambda fill: msgspec.structs.replace(
        fill, execution_id=f"other-{fill.execution_id}", at_ns=Ns((fill.at_ns + 500) // 1000 * 1000)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_a_fill_that_is_known_already_is_not_taken_again(name: str) -> None:
    """One of three was told by the stream; the venue's list has all of them, in its own words."""
    desk = Desk()
    desk.now_ns += 123  # the stream's stamps are not whole microseconds
    book = Book(desk)
    book.change = LISTS[name]
    desk.venue.portion = lambda order: 0
    desk.drop(1)
    desk.run(0.05)
    [entry] = [o for o in desk.working() if "-entry-" in o.client_order_id]
    desk.venue.fill(entry, 7 * NANO, nano("150.003"))
    desk.run(0.02)
    assert len(rows(desk)) == 1
    desk.muted = True
    desk.venue.fill(entry, 7 * NANO, nano("150.003"))
    desk.venue.fill(entry, 52 * NANO, nano("150.001"))
    desk.muted = False
    desk.link(Link.TRADE_UPDATES, up=True)
    desk.run(5)
    assert sorted(r["qty"] for r in rows(desk)) == [7 * NANO, 7 * NANO, 52 * NANO]
    assert len(desk.sent(RequestFills)) == 1


@pytest.mark.parametrize("apart_ns", [1, 200])
def test_two_fills_of_the_stream_that_are_alike_are_two(apart_ns: int) -> None:
    desk = Desk()
    desk.now_ns += 123
    desk.venue.portion = lambda order: 0
    desk.drop(1)
    desk.run(0.05)
    [entry] = [o for o in desk.working() if "-entry-" in o.client_order_id]
    for _ in range(2):
        desk.venue.fill(entry, 33 * NANO, nano("150"))
        desk.venue.now_ns = Ns(desk.venue.now_ns + apart_ns)
    desk.run(1)
    assert [r["qty"] for r in rows(desk)] == [33 * NANO, 33 * NANO]
    assert desk.sent(RequestFills) == []


def test_a_stream_without_ids_is_matched_by_the_cumulative_quantity() -> None:
    desk = Desk()
    book = Book(desk)
    tell = desk.venue.tell

    def nameless(event: str, order: Resting, execution: Execution | None, position: int | None) -> None:
        if execution is not None:
            name = f"{order.order_id}:{order.filled}"
            execution = msgspec.structs.replace(execution, execution_id=name)
        tell(event, order, execution, position)

    desk.venue.tell = nameless
    book.change = lambda f: msgspec.structs.replace(
        f, execution_id=f"uuid-{f.cum_qty}", at_ns=Ns(f.at_ns + 9_000_000)
    )
    desk.venue.portion = lambda order: 0
    desk.drop(1)
    desk.run(0.05)
    [entry] = [o for o in desk.working() if "-entry-" in o.client_order_id]
    desk.venue.fill(entry, 7 * NANO, nano("150"))
    desk.run(0.02)
    desk.muted = True
    desk.venue.fill(entry, 59 * NANO, nano("150"))
    desk.muted = False
    desk.link(Link.TRADE_UPDATES, up=True)
    desk.run(5)
    assert [r["qty"] for r in rows(desk)] == [7 * NANO, 59 * NANO]


def test_of_no_order_more_is_kept_than_it_filled() -> None:
    """Neither from a list that repeats itself under new ids, nor from the stream's own words, when they come after all."""
    desk, book = muted("150.003", "150.001")
    book.change = lambda f: msgspec.structs.replace(
        f, execution_id=f"list-{f.execution_id}", at_ns=Ns(f.at_ns + 5_000_000)
    )
    book.fills += [msgspec.structs.replace(f, execution_id=f"again-{f.execution_id}") for f in book.fills]
    desk.run(3)
    order = desk.venue.by_client[next(iter(desk.ticket().orders))]
    late = Execution(
        execution_id="x-late", qty=Qty(7 * NANO), price=Price(nano("150.003")), at_ns=Ns(desk.now_ns)
    )
    desk.venue.tell("fill", order, late, None)
    desk.run(1)
    assert sum(e.qty for e in desk.ticket().executions.values()) == 66 * NANO


def test_fills_of_an_order_that_filled_more_than_is_known_wait_for_its_own_word() -> None:
    """A list is no report: what an order filled is said by the order."""
    desk = opened()
    before = desk.ticket().owned
    entry = desk.ticket().entry
    assert entry is not None
    stop = next(order for order in desk.ticket().exits if order.stop_price)
    fill = VenueFill(
        execution_id="y", order_id=str(stop.order_id), qty=Qty(66 * NANO), price=Price(nano("148")),
        cum_qty=Qty(66 * NANO), at_ns=Ns(desk.now_ns),
    )  # fmt: skip
    desk.feed(FillsReport(ts_ns=Ns(desk.now_ns), after_ns=Ns(0), fills=(fill,)))
    assert desk.ticket().owned == before
    assert "y" not in desk.ticket().executions


def test_a_list_that_lacks_them_is_asked_so_often_and_then_told() -> None:
    desk, book = muted("150.003", "150.001")
    book.left_out = {1}
    for _ in range(3 * ASKED_MAX):
        desk.link(Link.TRADE_UPDATES, up=True)
        desk.run(30)
    assert len(desk.sent(RequestFills)) == ASKED_MAX
    [told] = [alert for alert in desk.sent(Alert) if alert.code == "FILLS_LACKING"]
    assert "filled 66, known 59" in told.message
    entry = desk.ticket().entry
    assert entry is not None
    exact = 7 * nano("150.003") + 59 * nano("150.001")
    assert abs(entry.value - exact) <= 66  # the order's own average is exact to a nano a share


def test_a_trade_that_is_over_is_booked_anew_to_the_cent_and_kept_until_then() -> None:
    """It closed while the stream was mute; the process dies before the venue's list has come."""
    desk = Desk()
    book = Book(desk)
    in_parts(desk, "150.00", "150.01")
    desk.run(0.5)
    desk.muted = True
    stop = next(o for o in desk.working() if o.stop is not None)
    for qty, price in ((20, "147.997"), (20, "147.990"), (26, "147.983")):
        desk.venue.fill(stop, qty * NANO, nano(price))
    desk.muted = False
    desk.link(Link.TRADE_UPDATES, up=True)
    desk.run(0.4)
    assert desk.receipt()["state"] == "CLOSED"
    desk.durable = dict(desk.journal)
    desk.crash()
    desk.restart()
    assert desk.receipt()["state"] == "CLOSED"
    desk.run(5)
    paid = 7 * nano("150.00") + 59 * nano("150.01")
    got = 20 * nano("147.997") + 20 * nano("147.990") + 26 * nano("147.983")
    assert desk.ticket().realised_usd() == got - paid
    assert desk.state.day.realised_of(None) == got - paid
    assert desk.state.performance.realised == got - paid
    episodes = [r.row for r in desk.sent(Record) if r.table == "trade_episodes"]
    assert episodes[-1]["actual_pnl"] == got - paid
    assert sum(f.qty for f in book.fills) == sum(r["qty"] for r in rows(desk)) == 132 * NANO
    desk.run(1)
    assert (
        "ticket",
        desk.ticket().intent_id,
    ) not in desk.journal  # its last receipt is written: nothing is owed


def test_a_list_is_asked_for_once_for_all_trades_and_not_again_at_once() -> None:
    desk, book = muted("150.003", "150.001")
    book.left_out = {0, 1, 2}
    desk.run(2)
    for _ in range(10):
        desk.link(Link.TRADE_UPDATES, up=True)
        desk.run(1)
    assert len(desk.sent(RequestFills)) == 1
    desk.run(20)
    assert len(desk.sent(RequestFills)) == 2
    assert desk.now_ns < desk.ticket().received_ns + 60 * NS_PER_S


@pytest.mark.parametrize("told", [True, False])
def test_a_successor_that_counts_on_lacks_only_the_fills_that_are_its_own(told: bool) -> None:
    """The target fills in part, is moved, and its successor fills the rest; the stream may tell of none of it."""
    desk = opened()
    desk.muted = not told
    [old] = [o for o in desk.working() if o.limit == nano("155")]
    desk.venue.fill(old, 10 * NANO, nano("155.003"))
    if not told:
        desk.link(Link.TRADE_UPDATES, up=True)
    desk.run(0.1)
    assert desk.position() == "56"
    wish(desk, target="156")
    desk.run(2)
    [new] = [o for o in desk.working() if o.limit == nano("156")]
    desk.venue.fill(new, 26 * NANO, nano("156.001"))
    desk.venue.fill(new, 30 * NANO, nano("156.002"))
    desk.run(0.1)
    desk.muted = False
    for _ in range(ASKED_MAX + 1):
        desk.link(Link.TRADE_UPDATES, up=True)
        desk.run(25)
    assert desk.receipt()["state"] == "CLOSED"
    assert "FILLS_LACKING" not in desk.alerts()
    sold = [(r["qty"], r["price"]) for r in rows(desk) if r["side"] == "sell"]
    assert sorted(sold) == [
        (10 * NANO, nano("155.003")),
        (26 * NANO, nano("156.001")),
        (30 * NANO, nano("156.002")),
    ]
    paid = desk.ticket().entry_value
    assert desk.ticket().realised_usd() == nano("1550.03") + nano("4056.026") + nano("4680.06") - paid
