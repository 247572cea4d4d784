"""What Hands holds and what it does not, and its orders, told from a real state driven through a trade's life."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import structs

from hands.core.coverage import protected_qty
from hands.core.events import PositionSnapshot
from hands.core.receipts import time_text
from hands.core.units import NS_PER_S, Ns, Price, Qty, nano
from hands.core.vocab import ExitReason, Leg, OrderStatus
from hands.runtime import holdings, status, watching
from tests.core.desk import Desk
from tests.core.world import intent_id, session

ONE = intent_id(1)


def opened(**changes: Any) -> Desk:
    desk = Desk()
    desk.drop(1, **changes)
    desk.run(1)
    return desk


def told(desk: Desk) -> dict[str, Any]:
    found = holdings.positions(desk.state, desk.now_ns)
    json.dumps(found)
    return found


def test_what_is_owned_is_told_with_what_protects_it() -> None:
    desk = opened(max_hold_seconds=600)
    desk.quote("AAPL", "149.50", "149.52")
    [row] = told(desk)["owned"]
    ticket = desk.state.tickets[ONE]
    assert {name: row[name] for name in ("symbol", "direction", "state", "qty", "avg_price", "mark")} == {
        "symbol": "AAPL", "direction": "LONG", "state": "OPEN", "qty": "66", "avg_price": "150.00", "mark": "149.50",
    }  # fmt: skip
    assert (row["unrealised_usd"], row["stop_loss"], row["take_profit"]) == ("-33.00", "148.00", "155.00")
    assert (row["protection"]["kind"], row["protection"]["qty"], row["protected_qty"]) == (
        "venue_bracket",
        "66",
        "66",
    )
    assert row["protection"]["since"] == time_text(ticket.protected_since_ns)
    assert row["exit_by"] == time_text((ticket.opened_ns or 0) + 600 * NS_PER_S)
    assert (row["naked_ms"], row["naked_too_long"], row["exit_wanted"], row["moved"]) == (
        None,
        False,
        None,
        None,
    )


def test_a_position_without_its_stop_says_for_how_long() -> None:
    desk = opened()
    ticket = desk.state.tickets[ONE]
    ticket.naked_since_ns = Ns(desk.now_ns - 1_500_000_000)
    [row] = told(desk)["owned"]
    assert (row["naked_ms"], row["naked_too_long"]) == (1500.0, False)
    ticket.naked_since_ns = Ns(desk.now_ns - 2_500_000_000)
    [row] = told(desk)["owned"]
    assert (row["naked_ms"], row["naked_too_long"]) == (2500.0, True)


@pytest.mark.parametrize("is_open", [False, True])
def test_a_stop_that_is_done_for_the_day_protects_until_the_market_is_open_again(*, is_open: bool) -> None:
    """The same in `positions`, `status`, `watch` and the receipt, and what the guardian itself goes by."""
    desk = opened()
    ticket = desk.state.tickets[ONE]
    for order in ticket.exits:
        if order.leg is Leg.TAKE_PROFIT:
            order.status = OrderStatus.DONE_FOR_DAY
    desk.state.session = session(is_open=is_open)
    [row] = told(desk)["owned"]
    one_line = status.trade(desk.state, ticket, desk.now_ns)
    answer = watching.watch(desk.state, {"symbols": ["AAPL"]}, desk.now_ns, seq=1)["watch"]
    seen = answer["symbols"][0]["position"]
    qty = "0" if is_open else "66"
    assert [row["protected_qty"], one_line["protected_qty"], seen["protected_qty"]] == [qty, qty, qty]
    assert (row["protection"] is None) is is_open
    assert (one_line["protection"] is None) is is_open
    assert protected_qty(desk.state, ticket) == nano(qty)


def test_what_was_moved_and_what_is_wanted_is_told() -> None:
    desk = opened(max_hold_seconds=600)
    ticket = desk.state.tickets[ONE]
    ticket.stop_moved, ticket.target_moved = Price(nano("149")), Price(nano("156"))
    ticket.hold_moved_ns, ticket.close_qty = 60 * NS_PER_S, Qty(nano("10"))
    [row] = told(desk)["owned"]
    assert (row["stop_loss"], row["take_profit"], row["closing_qty"]) == ("149.00", "156.00", "10")
    assert row["moved"] == {
        "stop_loss": {"from": "148.00", "to": "149.00"},
        "take_profit": {"from": "155.00", "to": "156.00"},
        "max_hold_seconds": {"from": "600", "to": "60"},
    }
    [same] = status.status(desk.state, desk.now_ns)["trades"]
    assert all(same[name] == row[name] for name in ("moved", "closing_qty", "exit_wanted", "stop_loss"))


def test_an_exit_says_when_it_waits_for_the_open() -> None:
    desk = opened()
    ticket, session = desk.state.tickets[ONE], desk.state.session
    assert session is not None
    [row] = told(desk)["owned"]
    assert (row["opens_again"], row["waits_for_open"]) == (None, None)
    desk.state.session = structs.replace(session, is_open=False)
    [row] = told(desk)["owned"]
    assert (row["opens_again"], row["waits_for_open"]) == (time_text(session.next_open_ns), None)
    ticket.exit_reason, ticket.exit_note, ticket.exit_since_ns = (
        ExitReason.HALT,
        "flattened",
        Ns(desk.now_ns),
    )
    [row] = told(desk)["owned"]
    assert row["exit_wanted"] == {"reason": "HALT", "note": "flattened", "since": time_text(desk.now_ns)}
    assert row["waits_for_open"] == time_text(session.next_open_ns)


def test_a_coin_never_waits_for_an_open() -> None:
    desk = Desk()
    desk.drop(1, "SOL/USD", trigger_price=150, stop_loss=145, take_profit=165)
    desk.run(2)
    assert desk.state.session is not None
    desk.state.session = structs.replace(desk.state.session, is_open=False)
    [row] = told(desk)["owned"]
    assert (row["symbol"], row["opens_again"]) == ("SOL/USD", None)


def test_what_is_not_filled_yet_stands_apart() -> None:
    desk = Desk()
    desk.drop(1, entry="touch", trigger_price=149, stop_loss=147, arm_seconds=600)
    found = told(desk)
    assert (found["owned"], found["owned_total"], found["unfilled_total"]) == ([], 0, 1)
    assert found["unfilled"] == [
        {"intent_id": ONE, "agent": "default", "symbol": "AAPL", "direction": "LONG", "state": "ARMED"}
    ]


def test_what_is_not_ours_is_told_and_never_counted() -> None:
    desk = opened()
    desk.state.positions = {
        "TSLA": PositionSnapshot(
            symbol="TSLA", qty=Qty(nano("7")), qty_available=Qty(0), avg_price=Price(nano("200"))
        ),
        "AAPL": PositionSnapshot(
            symbol="AAPL", qty=Qty(nano("66")), qty_available=Qty(0), avg_price=Price(nano("150"))
        ),
        "SOL/USD": PositionSnapshot(
            symbol="SOL/USD", qty=Qty(5_000_000), qty_available=Qty(0), avg_price=Price(nano("150"))
        ),
    }
    desk.state.foreign = {
        "TSLA": "a holding of 7 that is not ours",
        "SPY": "an order that is not ours works there (x)",
    }
    found = told(desk)
    assert [(row["symbol"], row["qty"], row["avg_price"], row["what"]) for row in found["others"]] == [
        ("SOL/USD", "0.005", "150.00", "left over from trades of ours, too little to be sold"),
        ("SPY", None, None, "an order that is not ours works there (x)"),
        ("TSLA", "7", "200.00", "a holding of 7 that is not ours"),
    ]
    assert [row["symbol"] for row in found["owned"]] == ["AAPL"]


def test_what_was_sold_since_the_venue_was_asked_is_nobodys() -> None:
    desk = opened()
    desk.state.positions = {
        "AAPL": PositionSnapshot(
            symbol="AAPL", qty=Qty(nano("66")), qty_available=Qty(0), avg_price=Price(nano("150"))
        )
    }
    desk.state.truth_of_ns = Ns(desk.now_ns)
    desk.quote("AAPL", "155.10", "155.12")
    desk.until(lambda: not desk.state.tickets)
    assert desk.state.truth_of_ns <= (desk.state.finished[ONE].closed_ns or 0)
    assert told(desk)["others"] == []


def test_working_orders_and_all_of_them() -> None:
    desk = opened()
    working = holdings.orders(desk.state, every=False)
    assert sorted(order["leg"] for order in working["orders"]) == ["sl", "tp"]
    [stop] = [order for order in working["orders"] if order["leg"] == "sl"]
    assert (stop["symbol"], stop["side"], stop["qty"], stop["stop_price"]) == ("AAPL", "sell", "66", "148.00")
    everything = holdings.orders(desk.state, every=True)
    assert everything["orders_total"] == 3
    assert everything["orders"][0]["leg"] == "entry"
    desk.quote("AAPL", "155.10", "155.12")
    desk.until(lambda: not desk.state.tickets)
    assert holdings.orders(desk.state, every=False)["orders"] == []
    assert len(holdings.orders(desk.state, every=True)["orders"]) == 3
