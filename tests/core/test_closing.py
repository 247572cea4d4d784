"""How tickets end: in which state, with what booked, and what is given back."""

from __future__ import annotations

import pytest

from hands.core.commands import Record
from hands.core.units import NANO, NS_PER_S, Ns
from hands.core.vocab import Code
from tests.core.desk import Desk
from tests.core.test_protection import opened, partly


@pytest.mark.parametrize(("bid", "pnl"), [("155.01", "330.66"), ("147.90", "-138.60")])
def test_a_closed_trade_is_booked_and_told_as_an_episode(bid: str, pnl: str) -> None:
    desk = opened()
    desk.quote("AAPL", bid, f"{float(bid) + 0.02:.2f}")
    desk.run(1)
    assert desk.receipt()["exit"]["pnl_usd"] == pnl
    assert desk.state.day.realised_of("default") == round(float(pnl) * 100) * NANO // 100
    (row,) = [record.row for record in desk.sent(Record) if record.table == "trade_episodes"]
    assert (row["qty"], row["entry_price"], row["actual_pnl"]) == (
        66 * NANO,
        150 * NANO,
        desk.state.day.realised_of(None),
    )
    assert desk.state.day.trades_of(None) == 1


def test_a_stop_starts_the_cooldown_and_survives_a_restart() -> None:
    desk = opened(desk=Desk(cooldown_after_stop_s=600, semantic_duplicate_s=0))
    desk.quote("AAPL", "147.9", "147.92")
    desk.run(1)
    desk.crash()
    desk.restart()
    desk.run(1)
    desk.poll()
    desk.quote("AAPL", "149.98", "150.00")
    desk.drop(2)
    assert desk.receipt(2)["code"] == Code.COOLDOWN


@pytest.mark.parametrize(("after", "state"), [(20.0, "EXPIRED"), (1.0, "CANCELED")])
def test_an_entry_that_never_filled_gives_its_trade_back(after: float, state: str) -> None:
    desk = Desk()
    desk.venue.portion = lambda _order: 0
    desk.drop()
    desk.run(0.5)
    if state == "CANCELED":
        from hands.core.events import OperatorAction

        desk.operator(OperatorAction.HALT)
    desk.run(after)
    assert desk.receipt()["state"] == state
    assert desk.state.day.trades_of(None) == 0
    assert desk.receipt()["exit"] is None
    assert not [record for record in desk.sent(Record) if record.table == "trade_episodes"]


def test_a_touch_that_waited_over_the_roll_gives_its_trade_back_to_the_day_it_was_taken_from() -> None:
    desk = Desk()
    desk.state.rolls_ns.append(Ns(desk.now_ns + 5 * NS_PER_S))
    desk.state.rolls_ns.sort()
    desk.state.wake_at(desk.now_ns + 5 * NS_PER_S, "roll", "")
    desk.venue.portion = lambda _order: 0
    desk.drop(entry="touch", arm_seconds="60", trigger_price="149.90", stop_loss="148", take_profit="155")
    desk.run(6)
    assert desk.state.day.started_ns > desk.ticket().received_ns
    desk.poll()
    desk.quote("AAPL", "149.88", "149.90")
    desk.print("AAPL", "149.89")
    assert desk.state.day.trades_of(None) == 1
    desk.run(20)
    assert desk.receipt()["state"] == "EXPIRED"
    assert desk.state.day.trades_of(None) == 0


def test_an_entry_dropped_before_its_first_byte_expires() -> None:
    desk = Desk()
    desk.faults = lambda _kind: "not_sent"
    desk.drop()
    desk.run(0.5)
    assert desk.receipt()["state"] == "EXPIRED"
    assert "not sent" in desk.receipt()["message"]
    assert desk.state.day.trades_of(None) == 0


def test_a_trade_closed_in_parts_is_one_trade() -> None:
    desk = partly(Desk(), "40")
    desk.run(2)
    desk.venue.portion = lambda order: min(order.remaining, 15 * NANO)
    for bid in ("155.01", "155.02", "155.03"):
        desk.quote("AAPL", bid, f"{float(bid) + 0.02:.2f}")
        desk.run(1)
    assert desk.receipt()["exit"]["reason"] == "TP"
    assert desk.receipt()["exit"]["pnl_usd"] == "200.75"
    assert len(desk.receipt()["fills"]) == 4


def test_coins_pay_their_fees_in_the_result() -> None:
    desk = opened("SOL/USD")
    desk.quote("SOL/USD", "165.1", "165.2")
    desk.run(1)
    ticket = desk.ticket()
    gross = ticket.exit_value - ticket.entry_value
    assert ticket.realised_usd() < gross
    assert ticket.fees_usd() > 0
    assert desk.receipt()["exit"]["reason"] == "TP"
