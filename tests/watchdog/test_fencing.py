"""What a fenced engine does: nothing, until it has asked; then it takes over what was sent in its name, and acts once."""

from __future__ import annotations

import msgspec
import pytest

from hands.core.commands import RequestTruth, SubmitExit
from hands.core.events import Fenced
from hands.core.fencing import PATIENCE_NS
from hands.core.orders import ReducingOrder, client_order_id
from hands.core.strays import find_or_adopt
from hands.core.units import NANO, NS_PER_S, Ns, Price, Qty
from hands.core.vocab import ExitReason, Leg, OrderStatus, TradeState
from tests.core.desk import Desk
from tests.core.test_protection import opened
from tests.core.world import intent_id
from tests.watchdog.test_rules import Silence, without_stop


def fence(desk: Desk, epoch: int = 1) -> None:
    desk.feed(Fenced(ts_ns=Ns(desk.now_ns), epoch=epoch, reason="a test"))


def stalled(symbol: str, *refusals: tuple[int, str, dict[str, str]]) -> tuple[Desk, list[ReducingOrder]]:
    """Return a desk whose engine stood still while its stop was lost and the watchdog acted, and what that sent."""
    desk = opened(symbol)
    engine, journal = desk.state, dict(desk.journal)
    desk.muted = True
    without_stop(desk, symbol)
    desk.venue.refuse = list(refusals)
    silence = Silence(desk).last(5)
    desk.state, desk.journal, desk.down, desk.muted = engine, journal, False, False
    return desk, silence.sent


@pytest.mark.parametrize(("symbol", "leg"), [("AAPL", Leg.TAKE_PROFIT), ("SOL/USD", Leg.STOP_LOSS)])
def test_the_watchdogs_stop_is_taken_over_and_no_second_is_sent(symbol: str, leg: Leg) -> None:
    desk, sent = stalled(symbol)
    exits = len(desk.sent(SubmitExit))
    fence(desk)
    desk.run(5)
    assert desk.state.fenced_ns is None
    assert len(desk.sent(SubmitExit)) == exits
    assert [order.leg for order in sent] == [leg]
    ticket = desk.ticket()
    assert ticket.orders[sent[0].client_order_id].is_live
    assert ticket.attempts[leg] == int(sent[0].client_order_id.rpartition("-")[2])
    assert not desk.venue.is_naked(symbol)
    assert desk.receipt()["protection"]["qty"] == desk.receipt()["position"]["qty"]
    assert "FENCED" in desk.alerts()
    assert "ADOPTED" in desk.alerts()


@pytest.mark.parametrize("symbol", ["AAPL", "SOL/USD"])
def test_a_trade_that_the_watchdog_closed_is_booked_and_over(symbol: str) -> None:
    desk, sent = stalled(symbol, (403, "no", {}))
    exits = len(desk.sent(SubmitExit))
    fence(desk)
    desk.run(5)
    assert sent[-1].leg is Leg.EXIT
    assert len(desk.sent(SubmitExit)) == exits
    ticket = desk.ticket()
    assert ticket.state is TradeState.CLOSED
    assert ticket.exit_reason is ExitReason.LIQUIDATED
    assert ticket.avg_exit is not None
    assert abs(ticket.avg_exit - desk.venue.quotes[symbol][0]) <= 1  # of a nano-dollar
    assert desk.position(symbol) == "0"
    assert not desk.state.committed()


def test_several_closing_orders_of_the_watchdog_are_all_found() -> None:
    desk = opened("SOL/USD")
    engine, journal = desk.state, dict(desk.journal)
    desk.muted = True
    without_stop(desk, "SOL/USD")
    desk.venue.refuse = [(403, "no", {})]
    desk.venue.portion = lambda order: order.remaining // 3
    silence = Silence(desk).last(4)
    desk.venue.portion = lambda order: order.remaining
    silence.last(8)
    closing = [order for order in silence.sent if order.leg is Leg.EXIT]
    assert len(closing) >= 3
    assert desk.position("SOL/USD") == "0"
    desk.state, desk.journal, desk.down, desk.muted = engine, journal, False, False
    fence(desk)
    desk.run(5)
    assert desk.ticket().state is TradeState.CLOSED
    assert {order.client_order_id for order in closing} <= desk.ticket().orders.keys()


def test_a_restart_after_a_kill_takes_over_too() -> None:
    desk = without_stop(opened("SOL/USD"), "SOL/USD")
    desk.venue.refuse = [(403, "no", {})]
    silence = Silence(desk).last(5)
    assert desk.position("SOL/USD") == "0"
    desk.down = False
    desk.restart()
    fence(desk)
    exits = len(desk.sent(SubmitExit))
    desk.run(5)
    ticket = desk.ticket()
    assert ticket.state is TradeState.CLOSED
    assert ticket.exit_reason is ExitReason.LIQUIDATED
    assert silence.sent[-1].client_order_id in ticket.orders
    assert len(desk.sent(SubmitExit)) == exits


def test_a_fenced_engine_sends_nothing_and_takes_no_entry_until_it_has_been_answered() -> None:
    desk = opened("SOL/USD")
    sent = len(desk.sent(SubmitExit))
    without_stop(desk, "SOL/USD")
    answer, desk._answer_truth = desk._answer_truth, lambda *_: None  # type: ignore[method-assign]
    fence(desk)
    desk.drop(2, "AAPL")
    desk.run(3)
    assert desk.receipt(2)["code"] == "NOT_READY"
    assert len(desk.sent(SubmitExit)) == sent
    desk._answer_truth = answer  # type: ignore[method-assign]
    fence(desk, 2)
    desk.run(1)
    assert len(desk.sent(SubmitExit)) == sent + 1
    assert not desk.venue.is_naked("SOL/USD")


def test_a_venue_that_names_no_truth_keeps_no_position_naked_for_ever() -> None:
    desk = opened("SOL/USD")
    sent = len(desk.sent(SubmitExit))
    without_stop(desk, "SOL/USD")
    desk._answer_truth = lambda *_: None  # type: ignore[method-assign]
    fence(desk)
    desk.run(PATIENCE_NS / NS_PER_S - 1)
    assert len(desk.sent(SubmitExit)) == sent
    desk.run(2)
    assert len(desk.sent(SubmitExit)) > sent
    assert not desk.venue.is_naked("SOL/USD")
    assert "FENCED" in desk.state.reasons
    desk.drop(2, "AAPL")
    desk.run(0.2)
    assert desk.receipt(2)["code"] == "REDUCE_ONLY"


def test_a_truth_asked_before_the_fence_is_not_believed() -> None:
    desk = opened("SOL/USD")
    old = desk.venue.truth(desk.now_ns, ())
    desk.run(1)
    fence(desk)
    desk.feed(old)
    assert desk.state.fenced_ns is not None
    assert not desk.state.reconciled


def test_the_ids_asked_for_are_the_ones_the_watchdog_can_have_used() -> None:
    desk = opened("SOL/USD")
    fence(desk)
    asked = desk.sent(RequestTruth)[-1].client_order_ids
    name = intent_id(1)
    assert {
        client_order_id(name, Leg.STOP_LOSS, 2),
        client_order_id(name, Leg.EXIT, 1),
        client_order_id(name, Leg.TAKE_PROFIT, 1),
    } <= set(asked)


def test_an_id_that_we_never_sent_is_what_the_venue_holds_under_it() -> None:
    desk = opened("SOL/USD")
    ticket = desk.ticket()
    known = ticket.orders[client_order_id(intent_id(1), Leg.STOP_LOSS, 1)]
    desk.state.by_order_id.pop(known.order_id or "")
    known.status, known.order_id = OrderStatus.REJECTED, None
    report = desk.venue.by_client[known.client_order_id].view()
    other = msgspec.structs.replace(report, qty=Qty(known.qty - 5), stop_price=Price(140 * NANO))
    assert find_or_adopt(desk.state, other, []) == (ticket, known)
    assert (known.qty, known.stop_price) == (other.qty, other.stop_price)


def test_an_order_that_was_held_back_by_the_fence_and_sent_by_the_watchdog_is_the_watchdogs() -> None:
    """The engine woke, decided on its next stop, and was stopped by the fence: the id is the same, the order is not."""
    desk = opened("SOL/USD")
    ticket = desk.ticket()
    without_stop(desk, "SOL/USD")
    blocked = client_order_id(intent_id(1), Leg.STOP_LOSS, 2)
    desk.faults = lambda kind: "not_sent" if kind == "submit" else None
    desk.until(lambda: blocked in ticket.orders and not ticket.orders[blocked].is_live, 5)
    journal = dict(desk.journal)
    desk.faults = lambda _kind: None
    fence(desk)
    assert ticket.orders[blocked].order_id is None
    last = ticket.attempts[Leg.STOP_LOSS]
    desk.muted = True
    engine = desk.state
    silence = Silence(desk)
    desk.state, desk.journal, desk.down = engine, journal, False
    silence.sheet = None
    assert silence.helds()[0].next_attempt(Leg.STOP_LOSS) == 2
    silence.last(4)
    desk.muted = False
    desk.run(5)
    order = ticket.orders[blocked]
    assert order.order_id is not None
    assert order.qty == silence.sent[0].qty
    assert not desk.venue.is_naked("SOL/USD")
    assert ticket.attempts[Leg.STOP_LOSS] == last
    assert desk.state.fenced_ns is None


def test_an_engine_that_only_stood_still_asks_for_one_truth_and_no_names() -> None:
    desk = opened("SOL/USD")
    fence(desk, epoch=0)
    names = desk.sent(RequestTruth)[-1].client_order_ids
    assert not {client_order_id(intent_id(1), leg, 1) for leg in (Leg.EXIT, Leg.TAKE_PROFIT)} & set(names)
    desk.run(1)
    assert desk.state.fenced_ns is None
    fence(desk, epoch=0)
    fence(desk, epoch=1)  # and then the watchdog acted all the same
    assert client_order_id(intent_id(1), Leg.EXIT, 1) in desk.sent(RequestTruth)[-1].client_order_ids


def test_a_start_behind_the_fence_waits_for_the_venue_and_loses_nothing_that_waited() -> None:
    """Its journal is old, and it does not beat yet, so the watchdog is still there."""
    desk = opened("SOL/USD")
    without_stop(desk, "SOL/USD")
    desk.drop(2, "AAPL", entry="touch", trigger_price="149.5", take_profit="155", arm_seconds="600")
    desk.run(0.1)
    assert desk.receipt(2)["state"] == "ARMED"
    desk.crash()
    answer, desk._answer_truth = desk._answer_truth, lambda *_: None  # type: ignore[method-assign]
    sent = len(desk.sent(SubmitExit))
    desk.restart()
    fence(desk)
    desk.run(PATIENCE_NS / NS_PER_S + 1)
    assert not desk.state.reconciled
    assert len(desk.sent(SubmitExit)) == sent
    desk._answer_truth = answer  # type: ignore[method-assign]
    fence(desk, 2)
    desk.run(1)
    assert desk.state.fenced_ns is None
    assert not desk.venue.is_naked("SOL/USD")
    desk.quote("AAPL", "149.49", "149.50")
    desk.print("AAPL", "149.50")
    desk.run(1)
    assert desk.receipt(2)["state"] == "OPEN"
