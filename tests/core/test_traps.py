"""How other engines lost money, one test per trap (what is not here is named beside what it is about)."""

from __future__ import annotations

import pytest

from hands.core.commands import CancelOrder, FetchQuote, QueryOrder, SubmitEntry, SubmitExit
from hands.core.events import ClockStepped, Link, RequestAnswered, RequestKind
from hands.core.market import Market
from hands.core.orders import client_order_id
from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.core.vocab import Code, Leg, OrderClass, OrderStatus
from tests.core.desk import Desk
from tests.core.test_protection import drop_next, opened, partly
from tests.core.world import intent_id

COIN = "SOL/USD"


def test_trap_01_a_lost_answer_is_asked_for_by_id_and_never_sent_under_another() -> None:
    desk = Desk()
    drop_next(desk, "drop_answer")
    desk.drop()
    desk.venue.tell = lambda *_: None  # nor does the stream say anything
    desk.run(0.025)
    assert desk.receipt()["state"] == "UNKNOWN"
    assert len(desk.state.committed()) == 1
    assert desk.state.day.trades_of(None) == 1
    desk.run(1)
    assert desk.receipt()["state"] == "OPEN"
    assert [entry.entry.client_order_id for entry in desk.sent(SubmitEntry)] == [
        client_order_id(intent_id(1), Leg.ENTRY, 1)
    ]


def test_trap_01_a_request_that_never_arrived_keeps_its_budget_until_that_is_proven() -> None:
    desk = Desk()
    drop_next(desk, "drop_request")
    desk.drop()
    desk.run(14)
    assert desk.receipt()["state"] == "UNKNOWN"
    assert len(desk.state.committed()) == 1
    desk.run(10)
    assert desk.receipt()["state"] == "EXPIRED"
    assert desk.state.committed() == []
    assert desk.state.day.trades_of(None) == 0
    assert len(desk.sent(SubmitEntry)) == 1
    assert len(desk.sent(QueryOrder)) >= 2


def test_trap_01_an_entry_given_up_that_turns_out_to_exist_is_cancelled() -> None:
    desk = Desk()
    desk.venue.quotes["AAPL"] = 151 * 10**9, 152 * 10**9
    drop_next(desk, "drop_answer")
    find, desk._find = desk._find, lambda asked: (404, f"order not found for {asked}", {})  # type: ignore[method-assign]
    tell, desk.venue.tell = desk.venue.tell, lambda *_: None
    desk.drop()
    desk.run(30)
    assert desk.receipt()["state"] == "EXPIRED"
    desk._find, desk.venue.tell = find, tell  # type: ignore[method-assign]
    (order,) = [o for o in desk.working() if o.parent is None]
    desk.venue.tell("new", order, None, None)
    desk.run(2)
    assert desk.working() == []
    assert "LATE_FILL" in desk.alerts()


def test_trap_01_a_late_fill_of_an_entry_given_up_is_protected() -> None:
    desk = Desk()
    drop_next(desk, "drop_answer")
    find, desk._find = desk._find, lambda asked: (404, f"order not found for {asked}", {})  # type: ignore[method-assign]
    tell, desk.venue.tell = desk.venue.tell, lambda *_: None
    desk.drop()
    desk.run(30)
    assert desk.receipt()["state"] == "EXPIRED"
    desk._find, desk.venue.tell = find, tell  # type: ignore[method-assign]
    desk.venue.tell("fill", desk.venue.by_client[client_order_id(intent_id(1), Leg.ENTRY, 1)], None, None)
    desk.run(2)
    assert desk.receipt()["state"] == "OPEN"
    assert desk.receipt()["protection"]["qty"] == "66"
    assert desk.state.day.trades_of(None) == 1


@pytest.mark.parametrize("symbol", ["SOL/USD", "AAPL"])
def test_trap_01_a_late_fill_of_which_the_stream_does_not_tell_is_found_by_asking(symbol: str) -> None:
    desk = Desk()
    drop_next(desk, "drop_answer")
    find, desk._find = desk._find, lambda asked: (404, f"order not found for {asked}", {})  # type: ignore[method-assign]
    tell, desk.venue.tell = desk.venue.tell, lambda *_: None
    desk.drop(asset=symbol)
    desk.run(30)
    assert desk.receipt()["state"] == "EXPIRED"
    desk._find, desk.venue.tell = find, tell  # type: ignore[method-assign]
    desk.link(Link.TRADE_UPDATES, up=False)
    desk.link(Link.TRADE_UPDATES, up=True)
    desk.run(3)
    assert desk.receipt()["state"] == "OPEN"
    assert desk.receipt()["protection"]["qty"] == desk.receipt()["position"]["qty"] != "0"
    assert desk.state.day.trades_of(None) == 1


def test_trap_02_a_touch_that_fired_before_a_crash_fires_no_second_time() -> None:
    desk = Desk()
    desk.drop(1, entry="touch", trigger_price="149.5", stop_loss="148", take_profit="155", arm_seconds="600")
    assert desk.receipt()["state"] == "ARMED"
    desk.quote("AAPL", "149.40", "149.42")
    desk.print("AAPL", "149.45")
    assert len(desk.sent(SubmitEntry)) == 1
    desk.crash()
    desk.run(1)
    desk.restart()
    desk.print("AAPL", "149.45")
    desk.run(20)
    assert len(desk.sent(SubmitEntry)) == 1
    assert max(desk.venue.entries_accepted.values()) == 1


def test_trap_03_an_id_is_a_function_of_the_intent_the_leg_and_the_attempt() -> None:
    assert client_order_id(intent_id(7), Leg.EXIT, 2) == f"hands-{intent_id(7)}-exit-2"
    desk = Desk(semantic_duplicate_s=0)
    desk.drop(1)
    desk.run(0.5)
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(1)
    desk.quote("AAPL", "149.98", "150.00")
    desk.drop(2)  # the same idea once more, on purpose
    assert len({command.entry.client_order_id for command in desk.sent(SubmitEntry)}) == 2


def test_trap_04_an_execution_told_three_times_counts_once() -> None:
    desk = opened()
    from hands.core.events import OrderReport

    fills = [event for event in desk.log if isinstance(event, OrderReport) and event.execution]
    before = desk.receipt()
    for _ in range(2):
        for event in fills:
            desk.feed(event)
    after = desk.receipt()
    assert after["fills"] == before["fills"]
    assert after["position"] == before["position"]
    desk.run(5)
    assert desk.exits() == []


def test_trap_04_a_fill_before_the_answer_is_protected_without_waiting_for_it() -> None:
    desk = Desk()
    carry, held = desk._later, []

    def slow(make, delay_ns=None):
        if isinstance(make(Ns(desk.now_ns)), RequestAnswered):
            held.append(make)
        else:
            carry(make, delay_ns)

    desk._later = slow  # type: ignore[method-assign]
    desk.drop()
    desk.run(0.05)
    assert desk.receipt()["state"] == "OPEN"
    desk._later = carry  # type: ignore[method-assign]
    desk.run(1)
    assert desk.receipt()["protection"]["kind"] == "venue_bracket"
    for make in held:  # at last
        desk.feed(make(Ns(desk.now_ns)))
    desk.run(1)
    assert desk.receipt()["position"]["qty"] == "66"
    assert desk.sent(SubmitExit) == []


def test_trap_04_a_fill_that_overtakes_its_cancel_is_protected() -> None:
    desk = Desk()
    desk.venue.portion = lambda order: 0
    desk.drop(ttl_seconds="5")
    desk.run(1)
    entry = desk.venue.by_client[client_order_id(intent_id(1), Leg.ENTRY, 1)]
    desk.run(4.005)
    assert desk.sent(CancelOrder)
    desk.venue.tell("canceled", entry, None, None)  # told, although
    entry.status = OrderStatus.NEW
    desk.venue.fill(entry, entry.qty, 150 * 10**9)
    desk.run(3)
    assert desk.receipt()["position"]["qty"] == "66"
    assert not desk.venue.is_naked("AAPL")


def test_trap_05_the_venue_knowing_our_id_is_no_refusal() -> None:
    """Somebody on the way repeated our request: the second is refused as a duplicate, the first one works."""
    desk = Desk()
    drop_next(desk, "drop_answer")
    desk.drop()
    desk.feed(
        RequestAnswered(
            ts_ns=Ns(desk.now_ns),
            kind=RequestKind.SUBMIT,
            client_order_id=client_order_id(intent_id(1), Leg.ENTRY, 1),
            status=422,
            code=40010001,
            message="client_order_id must be unique",
        )
    )
    assert desk.receipt()["state"] == "UNKNOWN"
    desk.run(1)
    assert desk.receipt()["state"] == "OPEN"


@pytest.mark.parametrize("status", [500, 502, 504, 408, 425, 301, 200])
def test_trap_05_an_answer_that_decides_nothing_leaves_the_outcome_unknown(status: int) -> None:
    desk = Desk()
    drop_next(desk, "drop_answer")
    desk.drop()
    answered = RequestAnswered(
        ts_ns=Ns(desk.now_ns), kind=RequestKind.SUBMIT, client_order_id=client_order_id(intent_id(1), Leg.ENTRY, 1),
        status=status,
    )  # fmt: skip
    desk.feed(answered)
    assert desk.receipt()["state"] == "UNKNOWN"


@pytest.mark.parametrize("status", [403, 422, 429])
def test_trap_05_a_refusal_is_final_and_gives_the_trade_back(status: int) -> None:
    desk = Desk()
    drop_next(desk, "drop_request")
    desk.drop()
    desk.feed(
        RequestAnswered(
            ts_ns=Ns(desk.now_ns),
            kind=RequestKind.SUBMIT,
            client_order_id=client_order_id(intent_id(1), Leg.ENTRY, 1),
            status=status,
            message="insufficient buying power",
        )
    )
    assert desk.receipt()["state"] == "VENUE_REJECTED"
    assert desk.state.day.trades_of(None) == 0
    assert desk.state.committed() == []


def test_trap_10_an_exit_refused_for_shares_that_are_held_asks_what_holds_them() -> None:
    desk = partly(Desk(), "40")
    desk.run(2)
    desk.venue.refuse = [
        (403, "insufficient qty available for order (requested: 40, available: 0)", {"available": "0"})
    ]
    desk.venue.end(next(o for o in desk.working() if o.stop is not None), OrderStatus.CANCELED)
    from hands.core.commands import RequestTruth

    before = len(desk.sent(RequestTruth))
    desk.run(3)
    assert len(desk.sent(RequestTruth)) > before
    assert not desk.venue.is_naked("AAPL")


def test_trap_12_a_lost_stop_is_noticed_by_its_report_and_not_by_a_timer() -> None:
    desk = opened(COIN)
    (stop,) = desk.working(COIN)
    desk.venue.end(stop, OrderStatus.CANCELED)
    desk.run(0.02)
    assert len(desk.exits(Leg.STOP_LOSS)) == 2
    desk.run(0.05)
    assert not desk.venue.is_naked(COIN)


def test_trap_13_sizes_are_whole_shares_and_what_is_left_of_one_does_not_loop() -> None:
    desk = opened(max_hold_seconds="30")
    assert desk.ticket().plan.qty % 10**9 == 0
    desk.ticket().written_off = 500_000_000  # the owner sold half a share in the app
    desk.venue.positions["AAPL"] -= 500_000_000
    desk.run(40)
    assert desk.receipt()["state"] == "CLOSED"
    assert all(order.qty and order.qty % 10**9 == 0 for order in desk.exits())


def test_trap_19_entries_of_the_last_minute_still_count_after_a_restart() -> None:
    desk = Desk(orders_per_minute=1)
    desk.venue.quotes["AAPL"] = 151 * 10**9, 152 * 10**9
    desk.drop(1)
    desk.run(1)
    desk.crash()
    desk.run(1)
    desk.restart()
    desk.run(0.5)
    desk.poll()
    desk.quote("SPY", "599.98", "600.02")
    desk.drop(2, "SPY")
    assert desk.receipt(2)["code"] == Code.ORDER_RATE


def test_trap_19_what_is_in_flight_counts_before_and_after_a_restart() -> None:
    desk = Desk(max_concurrent=1)
    drop_next(desk, "drop_request")
    desk.drop(1)
    desk.drop(2, "SPY")
    assert desk.receipt(2)["code"] == Code.CONCURRENT
    desk.crash()
    desk.restart()
    desk.run(0.5)
    desk.poll()
    desk.quote("SPY", "599.98", "600.02")
    desk.drop(3, "SPY")
    assert desk.receipt(3)["code"] == Code.CONCURRENT


def test_trap_24_a_quote_that_has_gone_stale_is_asked_for_once_and_never_traded_on() -> None:
    desk = Desk()
    desk.run(6)
    desk.poll()
    desk._carry_out = lambda _command: None  # type: ignore[method-assign]  # no answer comes
    desk.drop(1)
    assert [command.symbol for command in desk.sent(FetchQuote)] == ["AAPL"]
    assert desk.sent(SubmitEntry) == []
    desk.run(16)
    assert desk.receipt()["code"] == Code.EXPIRED


def test_trap_24_a_fetched_quote_that_is_still_old_is_stale_market_data() -> None:
    desk = Desk()
    desk.run(6)
    desk.poll()
    desk.drop(1)
    desk.run(0.1)
    assert desk.receipt()["code"] == Code.STALE_MARKET_DATA
    assert len(desk.sent(FetchQuote)) == 1


def test_trap_24_a_fresh_quote_fetched_lets_the_intent_pass() -> None:
    desk = Desk()
    desk.run(6)
    desk.poll()
    desk.drop(1)
    desk.quote("AAPL", "149.98", "150.00")
    desk.run(0.1)
    assert desk.receipt()["code"] == Code.OK


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_trap_29_a_step_of_the_wall_clock_moves_no_deadline(step_s: int) -> None:
    desk = Desk()
    desk.venue.portion = lambda order: 0
    desk.drop(1)
    deadline = desk.ticket().deadline_ns
    desk.feed(ClockStepped(ts_ns=Ns(desk.now_ns), wall_offset_ns=step_s * NS_PER_S))
    desk.run(14)
    assert desk.ticket().deadline_ns == deadline
    assert desk.receipt()["state"] == "WORKING"
    desk.run(3)
    assert desk.receipt()["state"] == "EXPIRED"


def test_trap_29_a_stamp_is_read_against_the_stepped_clock() -> None:
    desk = Desk()
    desk.feed(ClockStepped(ts_ns=Ns(desk.now_ns), wall_offset_ns=3600 * NS_PER_S))
    desk.drop(1)
    assert desk.receipt()["code"] == Code.OK
    assert desk.ticket().deadline_ns <= desk.now_ns + 15 * NS_PER_S


def test_trap_29_time_told_backwards_does_not_run_backwards() -> None:
    desk = opened()
    from hands.core.events import Wake

    now = desk.state.now_ns
    desk.feed(Wake(ts_ns=Ns(now - 10 * NS_PER_S)))
    assert desk.state.now_ns == now


def test_trap_06_an_entry_partly_filled_when_trading_stops_is_protected_too() -> None:
    from hands.core.events import OperatorAction

    desk = partly(Desk(), "40")
    desk.run(0.05)
    desk.operator(OperatorAction.HALT)
    desk.run(1)
    assert [(o.order_class, o.qty) for o in desk.exits()] == [(OrderClass.OCO, 40 * 10**9)]
    assert desk.worst_naked_ns <= 200 * NS_PER_MS


def test_trap_01_a_late_fill_on_a_symbol_that_is_not_watched_any_more_is_protected() -> None:
    desk = Desk()
    drop_next(desk, "drop_answer")
    find, desk._find = desk._find, lambda asked: (404, f"order not found for {asked}", {})  # type: ignore[method-assign]
    tell, desk.venue.tell = desk.venue.tell, lambda *_: None
    desk.drop(1, "SOL/USD")
    desk.run(30)
    assert desk.receipt()["state"] == "EXPIRED"
    desk.state.market = Market(("AAPL",))  # taken off the allow-list: the next start has no market for it
    desk._find, desk.venue.tell = find, tell  # type: ignore[method-assign]
    desk.venue.tell("fill", desk.venue.by_client[client_order_id(intent_id(1), Leg.ENTRY, 1)], None, None)
    desk.run(2)
    assert desk.receipt()["state"] == "OPEN"
    assert desk.venue.covered("SOL/USD") >= desk.ticket().owned > 0
