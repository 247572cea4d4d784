"""What a review found in the core, one test per finding: doubts, dry runs, nights, links, strangers, scopes, clocks."""

from __future__ import annotations

from itertools import count

import pytest

from hands.core import budgets
from hands.core.case import Denial
from hands.core.commands import (
    Alert,
    AnyCommand,
    CancelOrder,
    QueryOrder,
    Record,
    RequestTruth,
    SubmitEntry,
    SubmitExit,
)
from hands.core.events import (
    AnyEvent,
    ClockStepped,
    DocumentReceived,
    Link,
    OperatorAction,
    PositionSnapshot,
    TruthReport,
)
from hands.core.receipts import time_text
from hands.core.strays import suspects_of
from hands.core.units import NANO, NS_PER_MS, NS_PER_S, Ns, Price, Qty, nano
from hands.core.vocab import Code, Leg, OrderClass, OrderType, Side, TimeInForce
from tests.core.desk import ACTIVE, HALTED, REDUCE_ONLY, Desk
from tests.core.test_engine import TOUCH
from tests.core.test_ownership import orphan
from tests.core.test_protection import opened
from tests.core.venue_model import Resting, S
from tests.core.world import case, frozen_bytes, live, world

HOUR_S = 3600
SENT_TO_THE_VENUE = (SubmitEntry, SubmitExit, CancelOrder)


# --- doubts about what is owned ----------------------------------------------------------------------------


def snapshot(desk: Desk, qty: int, *, asked_ns: int | None = None, by_name: bool = True) -> None:
    """Let a snapshot arrive that shows `qty` whole shares of AAPL, and every order as the venue has it.

    `by_name`: the venue was asked for the exits that could exist unknown, and has none of them.
    """
    asked = Ns(desk.now_ns if asked_ns is None else asked_ns)
    position = PositionSnapshot(
        symbol="AAPL", qty=Qty(qty * NANO), qty_available=Qty(0), avg_price=Price(150 * NANO)
    )
    names = tuple(name for ticket in desk.state.committed() for name in suspects_of(ticket))
    found = desk.venue.truth(asked, names if by_name else ())
    desk.feed(
        TruthReport(
            ts_ns=Ns(desk.now_ns),
            asked_ns=asked,
            orders=found.orders,
            missing=found.missing,
            positions=(position,) if qty else (),
        )
    )


def settled(*, answers: bool) -> Desk:
    """An open trade of 66 shares, long after its fill; without `answers` the venue tells no truth of its own."""
    desk = opened()
    desk.run(5)
    if not answers:
        desk._answer_truth = lambda asked, session: None  # type: ignore[method-assign]
    return desk


def written_off(desk: Desk) -> bool:
    return "SOLD_ELSEWHERE" in desk.alerts()


@pytest.mark.parametrize("later_s", [3, 9.5, 600])
def test_a_doubt_that_a_snapshot_refuted_is_gone_and_a_later_one_starts_anew(later_s: float) -> None:
    desk = settled(answers=True)
    snapshot(desk, 46)
    assert desk.ticket().in_doubt(desk.now_ns)
    desk.run(2)  # the engine has asked again, and the venue shows all of it
    assert not desk.ticket().in_doubt(desk.now_ns)
    desk.run(later_s - 2)
    snapshot(desk, 46)
    desk.run(5)
    assert not written_off(desk)
    assert desk.receipt()["position"]["qty"] == "66"


@pytest.mark.parametrize(
    ("apart_s", "believed"), [(0.4, False), (0.99, False), (1, True), (9, True), (10, True), (10.5, False)]
)
def test_two_snapshots_are_two_witnesses_if_they_are_neither_close_nor_long_apart(
    apart_s: float, believed: bool
) -> None:
    desk = settled(answers=False)
    snapshot(desk, 46)
    desk.run(apart_s)
    assert not written_off(desk)
    snapshot(desk, 46)
    assert written_off(desk) is believed
    assert desk.receipt()["position"]["qty"] == ("46" if believed else "66")


def test_a_snapshot_that_did_not_look_for_unknown_exits_is_no_second_witness() -> None:
    desk = settled(answers=False)
    snapshot(desk, 46)
    desk.run(2)
    snapshot(desk, 46, by_name=False)
    assert not written_off(desk)
    desk.run(2)
    snapshot(desk, 46)
    assert written_off(desk)


def test_a_doubt_that_has_grown_old_needs_two_new_snapshots() -> None:
    desk = settled(answers=False)
    snapshot(desk, 46)
    desk.run(HOUR_S)
    snapshot(desk, 46)
    assert not written_off(desk)
    desk.run(1)
    snapshot(desk, 46)
    assert written_off(desk)


def test_two_snapshots_that_miss_different_amounts_are_not_two_witnesses() -> None:
    desk = settled(answers=False)
    snapshot(desk, 46)
    desk.run(2)
    snapshot(desk, 36)
    assert not written_off(desk)
    desk.run(2)
    snapshot(desk, 36)
    assert desk.receipt()["position"]["qty"] == "36"


@pytest.mark.parametrize(("doubted_s", "bound_ms"), [(11, 2_000), (1, 4_000)])
def test_only_a_fresh_doubt_stretches_the_unprotected_bound(doubted_s: float, bound_ms: int) -> None:
    desk = settled(answers=False)
    snapshot(desk, 46)
    desk.run(doubted_s)
    desk.venue.refuse = [(403, "account is restricted", {})] * 100
    target = next(order for order in desk.working() if order.limit is not None)
    desk.venue.cancel(target.order_id)  # and with it the stop
    began = desk.now_ns
    desk.until(lambda: desk.exits(Leg.EXIT), 6)
    took_ms = (desk.now_ns - began) / NS_PER_MS
    assert bound_ms <= took_ms <= bound_ms + 200


def test_a_snapshot_asked_before_the_last_one_changes_nothing() -> None:
    desk = settled(answers=False)
    desk.drop(2, "SPY", **(TOUCH | {"trigger_price": "598", "stop_loss": "590", "take_profit": "620"}))
    desk.run(1)
    snapshot(desk, 66)
    asked_ns = desk.now_ns
    desk.ticket().orders[f"hands-{desk.ticket().intent_id}-entry-1"].queries = 3
    desk.run(2)
    desk.feed(ClockStepped(ts_ns=Ns(desk.now_ns), wall_offset_ns=0))  # time itself has passed
    before = frozen_bytes(desk.state)
    for qty in (0, 46, 80):
        assert (
            desk.feed(
                TruthReport(
                    ts_ns=Ns(desk.now_ns), asked_ns=Ns(asked_ns - 1), orders=(), missing=(), positions=()
                )
            )
            == []
        )
        snapshot(desk, qty, asked_ns=asked_ns - 1)
    assert frozen_bytes(desk.state) == before
    snapshot(desk, 80)
    assert "AAPL" in desk.state.foreign


# --- dry runs ----------------------------------------------------------------------------------------------


class DryDesk(Desk):
    """A desk whose state may be told, before its first event, that it runs dry."""

    dry = False

    def feed(self, event: AnyEvent) -> list[AnyCommand]:
        self.state.dry_run = self.dry
        return super().feed(event)


@pytest.mark.parametrize("symbol", ["AAPL", "SOL/USD"])
def test_a_dry_run_beside_open_trades_and_working_orders_sends_nothing_for_an_hour(symbol: str) -> None:
    desk = opened(symbol, desk=DryDesk(), max_hold_seconds="600")
    desk.venue.portion = lambda order: 0 if "-entry-" in order.client_order_id else order.remaining
    desk.drop(2, "SPY")  # works until its deadline
    desk.drop(3, "BTC/USD", entry="touch", trigger_price="99000", stop_loss="96000", take_profit="110000")
    desk.run(0.5)
    desk.crash()
    others = orphan(desk)
    begun = len(desk.commands)
    desk.dry = True  # type: ignore[attr-defined]
    desk.restart()
    desk.run(1)
    assert desk.state.reconciled
    assert desk.state.tickets
    desk.venue.tell("new", others, None, None)
    desk.drop(4, "BTC/USD")
    for minute in range(60):
        sign = (-1) ** minute
        for name, at in (("AAPL", 150), ("SOL/USD", 150), ("BTC/USD", 98000)):
            price = at * (100 + sign * (12 if minute > 20 else 3)) // 100  # through stops and targets
            desk.quote(name, f"{price}", f"{price + 0.02}")
            desk.print(name, f"{price}")
        desk.poll()
        desk.link(Link.TRADE_UPDATES, up=minute % 7 != 3)
        desk.set_session(is_open=minute % 10 != 5)
        if minute == 30:
            for order in desk.working(symbol):  # whatever still protects it
                if order is not others:
                    desk.venue.end(order, S.CANCELED)
        desk.drop(100 + minute)
        desk.run(60)
    assert not [c for _, c in desk.commands[begun:] if isinstance(c, SENT_TO_THE_VENUE)]
    assert others.live
    assert desk.receipt(4)["state"] == "DRAFT"


# --- a night without a stop --------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["closed", "through"])
def test_a_night_with_the_market_through_a_lost_stop_is_spent_patiently_and_ended_at_the_open(
    first: str,
) -> None:
    desk = opened()
    desk.run(5)
    opens_ns = desk.now_ns + HOUR_S * NS_PER_S
    if first == "closed":
        desk.set_session(is_open=False, next_open_ns=opens_ns)
    for order in desk.working():
        order.status = S.CANCELED  # without a word
    desk.quote("AAPL", "147.00", "147.02")
    if first == "through":
        desk.set_session(is_open=False, next_open_ns=opens_ns)
    target = next(order for order in desk.venue.orders.values() if order.parent and order.limit is not None)
    desk.venue.tell("canceled", target, None, None)
    begun = len(desk.exits())
    for minute in range(60):
        desk.run(60 if minute < 59 else 59.9)
        assert len(desk.ticket().orders) <= 25
    assert desk.position() == "66"
    assert 5 <= len(desk.exits()) - begun <= 40
    assert "waits for" in desk.receipt()["next"]
    desk.run(0.1)
    desk.set_session(is_open=True)
    opened_ns = desk.now_ns
    desk.until(lambda: desk.exits(Leg.EXIT), 1)
    assert desk.now_ns - opened_ns <= NS_PER_S
    desk.run(2)
    assert desk.position() == "0"
    assert desk.receipt()["exit"]["reason"] == "SL"
    assert desk.venue.flips == []


def test_a_refusal_at_the_open_is_not_answered_with_the_nights_patience() -> None:
    desk = opened()
    desk.run(5)
    desk.set_session(is_open=False, next_open_ns=desk.now_ns + HOUR_S * NS_PER_S)
    desk.venue.refuse = [(422, "stop_loss.stop_price must be <= base_price - 0.01", {})] * 100
    desk.venue.cancel(next(order for order in desk.working() if order.limit is not None).order_id)
    desk.run(HOUR_S)
    assert sum(desk.ticket().attempts.values()) > 15
    desk.venue.refuse = [(403, "insufficient qty available for order", {})] * 2
    desk.set_session(is_open=True, open_ns=Ns(desk.now_ns))
    desk.run(1)
    assert desk.position() == "0"


def test_a_refusal_late_in_a_long_trade_costs_no_more_than_an_early_one() -> None:
    desk = opened("SOL/USD")
    for _ in range(14):  # the target slips away again and again, and the stop rests again each time
        desk.venue.portion = lambda order: 0 if "-exit-" in order.client_order_id else order.remaining
        desk.run(31)
        desk.quote("SOL/USD", "165.1", "165.2")
        desk.run(1)
        desk.quote("SOL/USD", "160", "160.1")
        desk.run(1)
    assert sum(desk.ticket().attempts.values()) > 20
    desk.venue.portion = lambda order: order.remaining
    desk.venue.refuse = [(403, "try again", {})]
    desk.venue.cancel(desk.working("SOL/USD")[0].order_id)
    desk.run(5)
    assert desk.receipt()["state"] == "OPEN"
    assert not desk.venue.is_naked("SOL/USD")
    assert desk.worst_naked_ns <= 1_100 * NS_PER_MS


def test_a_venue_that_refuses_coins_exits_for_an_hour_is_asked_ever_less_often() -> None:
    desk = opened("SOL/USD")
    desk.venue.refuse = [(403, "account is restricted", {})] * 1000
    desk.venue.cancel(desk.working("SOL/USD")[0].order_id)
    desk.run(HOUR_S)
    assert 60 <= len(desk.exits()) <= 100
    assert len(desk.ticket().orders) <= 25
    desk.venue.refuse = []
    desk.run(61)
    assert desk.receipt()["state"] == "CLOSED"


# --- links -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [Link.CRYPTO_DATA, Link.TRADE_UPDATES])
def test_a_link_that_comes_up_makes_no_reason_of_one_that_has_just_gone(other: Link) -> None:
    desk = Desk()
    desk.drop(1, **TOUCH)
    desk.link(other, up=False)
    desk.run(0.2)
    desk.link(Link.ORDER_ENTRY, up=False)
    desk.run(0.4)
    desk.link(other, up=True)
    assert desk.state.trading_state is ACTIVE
    desk.run(9.5)
    assert desk.state.trading_state is ACTIVE
    desk.run(0.2)
    assert desk.state.reasons["VENUE_UNREACHABLE"].clears == "auto"
    assert desk.state.trading_state is REDUCE_ONLY
    desk.link(Link.ORDER_ENTRY, up=True)
    assert desk.state.trading_state is ACTIVE


def test_a_feed_that_comes_up_does_not_call_the_other_silent() -> None:
    desk = Desk()
    desk.link(Link.EQUITY_DATA, up=False)
    desk.link(Link.CRYPTO_DATA, up=False)
    desk.run(0.4)
    desk.link(Link.ORDER_ENTRY, up=True)
    assert desk.state.trading_state is ACTIVE
    desk.run(10)
    assert list(desk.state.reasons) == ["STALE_FEED"]
    desk.link(Link.CRYPTO_DATA, up=True)
    assert desk.state.trading_state is ACTIVE


def test_the_timer_of_an_outage_does_not_judge_a_later_one() -> None:
    desk = Desk()
    desk.link(Link.TRADE_UPDATES, up=False)
    desk.run(1)
    desk.link(Link.TRADE_UPDATES, up=True)
    desk.run(8.6)
    desk.link(Link.TRADE_UPDATES, up=False)
    desk.run(9.9)  # the first outage's ten seconds end in here
    assert desk.state.trading_state is ACTIVE
    desk.run(0.2)
    assert desk.state.trading_state is REDUCE_ONLY


def test_a_link_reported_down_again_and_again_is_down_since_the_first_report() -> None:
    desk = Desk()
    for _ in range(10):
        desk.link(Link.ORDER_ENTRY, up=False)
        desk.run(1)
    assert desk.state.trading_state is REDUCE_ONLY


@pytest.mark.parametrize(("down_s", "state"), [(0.4, "ARMED"), (9.9, "ARMED"), (10.1, "CANCELED")])
def test_an_armed_touch_survives_a_short_outage(down_s: float, state: str) -> None:
    desk = Desk()
    desk.drop(1, **TOUCH)
    for link in (Link.ORDER_ENTRY, Link.TRADE_UPDATES):
        desk.link(link, up=False)
    desk.run(down_s)
    for link in (Link.TRADE_UPDATES, Link.ORDER_ENTRY):
        desk.link(link, up=True)
    desk.run(1)
    assert desk.receipt()["state"] == state


# --- restarts ----------------------------------------------------------------------------------------------


def test_a_touch_is_armed_again_only_once_the_venue_has_spoken() -> None:
    desk = Desk()
    desk.drop(1, **TOUCH)
    desk.run(1)
    desk.crash()
    desk.restart()
    assert not desk.state.reconciled
    desk.print("AAPL", "149.45")  # could only be denied: NOT_READY
    assert desk.receipt()["state"] == "ARMED"
    assert desk.state.armed_slots == {}
    desk.run(1)
    assert desk.receipt()["state"] == "ARMED"
    assert len(desk.state.armed_slots) == 1
    desk.quote("AAPL", "149.48", "149.50")
    desk.print("AAPL", "149.45")
    desk.run(0.5)
    assert desk.receipt()["state"] == "OPEN"


def test_a_touch_is_disarmed_where_a_halt_comes_before_the_venues_first_word() -> None:
    desk = Desk()
    desk.drop(1, **TOUCH)
    desk.crash()
    desk.restart()
    desk.operator(OperatorAction.HALT_FILE)
    desk.run(1)
    assert desk.state.trading_state is HALTED
    assert desk.receipt()["state"] == "CANCELED"
    assert desk.state.armed_slots == {}
    desk.quote("AAPL", "149.48", "149.50")
    desk.print("AAPL", "149.45")
    assert desk.sent(SubmitEntry) == []


def test_after_a_restart_entries_count_against_the_order_rate_and_waiting_touches_do_not() -> None:
    desk = opened()
    desk.drop(2, "SPY", **(TOUCH | {"trigger_price": "598", "stop_loss": "590", "take_profit": "620"}))
    assert desk.receipt(2)["state"] == "ARMED"
    desk.run(1)
    before = list(desk.state.approvals)
    desk.crash()
    desk.restart()
    assert list(desk.state.approvals) == before
    assert len(before) == 1


def test_after_a_restart_a_touch_that_fired_counts_as_an_entry() -> None:
    desk = Desk()
    desk.drop(1, **TOUCH)
    desk.run(10)
    desk.poll()
    desk.quote("AAPL", "149.48", "149.50")
    desk.print("AAPL", "149.50")
    before = list(desk.state.approvals)
    desk.crash()
    desk.restart()
    assert list(desk.state.approvals) == before
    assert len(before) == 1


# --- whose fault a refusal is ------------------------------------------------------------------------------


def refuse(desk: Desk, agent: str, *, fault: Code | None = None, data: bytes = b"") -> None:
    now = Ns(desk.now_ns)
    desk.feed(
        DocumentReceived(
            ts_ns=now,
            agent=agent,
            name="x.json",
            data=data,
            file_event_ns=now,
            fault=fault,
            fault_detail="no",
        )
    )


LATCHING = "[agents.a]\nmax_concurrent = 1"


@pytest.mark.parametrize("fault", [Code.UNAUTHORISED, Code.UNKNOWN_AGENT, Code.NOT_REGULAR_FILE])
@pytest.mark.parametrize("agent", ["a", "default", "nobody"])
def test_a_file_that_an_agent_may_not_have_written_latches_nobody(fault: Code, agent: str) -> None:
    desk = Desk(world(extra=LATCHING, rejections_latch=3))
    for _ in range(10):
        refuse(desk, agent, fault=fault)
    assert not any(book.latched or book.faults for book in desk.state.agents.values())
    desk.drop(1, agent="default")
    assert desk.receipt()["code"] == Code.OK


@pytest.mark.parametrize(
    ("fault", "data"),
    [
        (Code.TOO_LARGE, b""),
        (None, b"{"),
        (None, b"{}"),
        (None, b'{"intent_id": 1, "intent_id": 1}'),
        (None, b'{"confidence": NaN}'),
    ],
)
@pytest.mark.parametrize("agent", ["a", "default"])
def test_a_document_that_is_no_document_is_its_agents_fault(
    fault: Code | None, data: bytes, agent: str
) -> None:
    desk = Desk(world(extra=LATCHING, rejections_latch=3))
    for _ in range(3):
        refuse(desk, agent, fault=fault, data=data)
    desk.drop(1, agent=agent)
    assert desk.receipt()["code"] == Code.AGENT_LATCHED
    other = "a" if agent == "default" else "default"
    desk.drop(2, agent=other)
    assert desk.receipt(2)["code"] == Code.OK


# --- strangers ---------------------------------------------------------------------------------------------


def stranger(desk: Desk, symbol: str = "AAPL", *, number: int = 1, status: S = S.NEW) -> Resting:
    """An order of somebody else's, of which the stream tells."""
    made = desk.venue._make(
        f"app-{number}", symbol, Side.BUY, OrderType.LIMIT, OrderClass.SIMPLE, TimeInForce.GTC, NANO, 100 * NANO,
        None, status,
    )  # fmt: skip
    desk.venue.tell(str(status), made, None, None)
    return made


def test_a_strangers_order_makes_its_symbol_busy_before_any_snapshot_and_is_told() -> None:
    desk = Desk()
    desk._answer_truth = lambda asked, session: None  # type: ignore[method-assign]
    stranger(desk)
    desk.run(0.02)
    desk.drop(1)
    assert desk.receipt()["code"] == Code.SYMBOL_BUSY
    desk.drop(2, "SPY")
    assert desk.receipt(2)["code"] == Code.OK
    assert [alert.message.split(":")[0] for alert in desk.sent(Alert) if alert.code == "FOREIGN"] == ["AAPL"]


def test_a_strangers_order_is_told_once_however_often_it_is_seen() -> None:
    desk = Desk()
    stranger(desk)
    desk.run(30)
    stranger(desk, number=2)
    desk.run(30)
    assert desk.alerts().count("FOREIGN") == 1


def test_a_strangers_order_that_is_over_makes_nothing_busy() -> None:
    desk = Desk()
    desk._answer_truth = lambda asked, session: None  # type: ignore[method-assign]
    stranger(desk, status=S.CANCELED)
    desk.run(0.02)
    desk.drop(1)
    assert desk.receipt()["code"] == Code.OK


def test_the_legs_of_our_own_bracket_are_no_strangers() -> None:
    desk = opened()
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(3)
    assert desk.receipt()["state"] == "CLOSED"
    assert desk.state.foreign == {}
    assert "FOREIGN" not in desk.alerts()


@pytest.mark.parametrize(("trade", "most"), [(True, 40), (False, 8)])
def test_a_busy_stranger_does_not_use_up_our_requests(trade: bool, most: int) -> None:
    desk = opened() if trade else Desk()
    desk.run(5)
    numbers = count(1)
    asked = []
    for _ in range(3):
        begun = len(desk.commands)
        for _ in range(600):  # ten orders a second, each told of twice
            order = stranger(desk, number=next(numbers))
            desk.run(0.05)
            desk.venue.end(order, S.CANCELED)
            desk.run(0.05)
        kinds = [type(command) for _, command in desk.commands[begun:]]
        asked.append((kinds.count(RequestTruth), kinds.count(QueryOrder)))
    assert all(truths <= most for truths, _ in asked), asked
    assert all(truths + queries <= 60 for truths, queries in asked), asked
    assert desk.state.trading_state is ACTIVE
    if trade:
        assert desk.receipt()["protection"]["qty"] == "66"


# --- budgets told in one scope -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "others", "own", "told"),
    [
        ("max_daily_loss = 0.01", "-500", "0", (0, 1_000)),
        ("max_daily_loss = 0.01", "-500", "-300", (300, 1_000)),
        ("max_daily_loss = 0.03", "-2000", "-300", (2_300, 4_000)),
    ],
)
def test_the_days_loss_is_told_with_the_limit_of_the_same_scope(
    limit: str, others: str, own: str, told: tuple[int, int]
) -> None:
    state = world(extra=f"[agents.a]\n{limit}")
    state.day.realised = {"b": nano(others), "a": nano(own)}
    found = budgets.daily_loss(case(state, agent="a"))
    assert not isinstance(found, Denial)
    assert (found.observed, found.limit) == (told[0] * NANO, told[1] * NANO)


@pytest.mark.parametrize(
    ("limit", "told"),
    [("max_gross_exposure = 0.15", (0, 15_000)), ("max_gross_exposure = 0.25", (6_000, 30_000))],
)
def test_exposure_is_told_with_the_limit_of_the_same_scope(limit: str, told: tuple[int, int]) -> None:
    state = world(extra=f"[agents.a]\n{limit}")
    live(state, 900, "SPY", qty="10", filled="10", agent="b")
    found = budgets.gross_exposure(case(state, agent="a"))
    assert not isinstance(found, Denial)
    assert (found.observed, found.limit) == (told[0] * NANO, told[1] * NANO)


# --- what is told of a trade -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "claimed", "told"), [(5.0, 7.0, 5.0), (None, 7.0, 7.0), (5.0, None, 5.0), (None, None, None)]
)
def test_the_volume_of_a_day_is_what_we_measured_before_what_the_agent_says(
    measured: float | None, claimed: float | None, told: float | None
) -> None:
    context = None if claimed is None else {"volume_24h": claimed, "vix_at_entry": 20.5}
    desk = opened(context=context)
    assert "volume_24h" in desk.ticket().indicators
    desk.ticket().indicators["volume_24h"] = measured
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(1)
    (row,) = [record.row for record in desk.sent(Record) if record.table == "trade_episodes"]
    assert row["volume_24h"] == told
    assert row["vix_at_entry"] == (None if claimed is None else 20.5)


STEP_NS = 90 * NS_PER_S


def step(desk: Desk) -> None:
    desk.feed(ClockStepped(ts_ns=Ns(desk.now_ns), wall_offset_ns=STEP_NS))


def test_a_deadline_is_told_as_wall_time() -> None:
    desk = Desk()
    desk.venue.portion = lambda _order: 0
    step(desk)
    desk.drop(1)
    desk.run(0.5)
    assert desk.receipt()["state"] == "WORKING"
    assert (time_text(desk.ticket().deadline_ns + STEP_NS) or "") in desk.receipt()["next"]


def test_the_end_of_a_wait_for_a_price_is_told_as_wall_time() -> None:
    desk = Desk()
    step(desk)
    desk.drop(1, **TOUCH)
    arming = desk.ticket().arming
    assert arming is not None
    assert (time_text(arming.until_ns + STEP_NS) or "") in desk.receipt()["next"]


def test_when_to_try_again_is_told_as_wall_time() -> None:
    desk = Desk(max_daily_trades=0)
    step(desk)
    desk.drop(1)
    found = desk.receipt()
    assert found["code"] == Code.DAILY_TRADES
    roll_ns = desk.state.next_roll_ns(desk.now_ns)
    assert roll_ns is not None
    assert found["retry_at"] == time_text(roll_ns + STEP_NS)
    assert found["retry_at"] in found["next"]


def test_an_exit_is_told_as_wall_time() -> None:
    desk = opened()
    step(desk)
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(1)
    found = desk.receipt()
    assert found["exit"]["at"] == time_text((desk.ticket().closed_ns or 0) + STEP_NS)
    assert found["exit"]["at"] <= found["at"]
