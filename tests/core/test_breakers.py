"""The trading state: what sets, clears and latches its reasons; the day's roll; daily loss and drawdown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hands.core import breakers, closing, operator
from hands.core.breakers import AT_ROLL, AUTO, OPERATOR
from hands.core.commands import Alert, AnyCommand, Record
from hands.core.events import OperatorAction, OperatorRequest
from hands.core.state import DayBook, Reason, State, encode
from hands.core.ticket import Ticket
from hands.core.units import NS_PER_S, Ns, Qty, Usd, nano, usd_text
from hands.core.vocab import Code, Leg, OrderStatus, TradeState, TradingState
from tests.core.world import DAY, NOW, ROLL, account, case, live, quote, verdict, world

ACTIVE, REDUCE_ONLY, HALTED = TradingState.ACTIVE, TradingState.REDUCE_ONLY, TradingState.HALTED


def operate(state: State, action: OperatorAction, **facts: str) -> list[AnyCommand]:
    out: list[AnyCommand] = []
    operator.operate(state, OperatorRequest(ts_ns=state.now_ns, action=action, **facts), out)
    return out


def watch(state: State) -> list[AnyCommand]:
    out: list[AnyCommand] = []
    breakers.watch_losses(state, out)
    return out


# --- reasons -----------------------------------------------------------------------------------------------


def test_the_trading_state_is_the_worst_of_its_reasons() -> None:
    state = world()
    out: list[AnyCommand] = []
    assert state.trading_state is ACTIVE
    breakers.set_reason(state, out, "FEED", REDUCE_ONLY, AUTO, "quiet")
    assert state.trading_state is REDUCE_ONLY
    breakers.set_reason(state, out, "OPERATOR", HALTED, OPERATOR, "stop")
    assert state.trading_state is HALTED
    breakers.clear_reason(state, out, "OPERATOR")
    assert state.trading_state is REDUCE_ONLY
    breakers.clear_reason(state, out, "FEED")
    assert state.trading_state is ACTIVE


def test_a_reason_is_recorded_and_told_once() -> None:
    state = world()
    out: list[AnyCommand] = []
    breakers.set_reason(state, out, "OPERATOR", HALTED, OPERATOR, "first")
    told = len(out)
    state.now_ns = Ns(NOW + 1)
    breakers.set_reason(state, out, "OPERATOR", REDUCE_ONLY, AUTO, "second")
    assert len(out) == told
    reason = state.reasons["OPERATOR"]
    assert (reason.detail, reason.since_ns, reason.state) == ("first", NOW, HALTED)
    assert [command.table for command in out if isinstance(command, Record)] == ["states"]
    alert = next(command for command in out if isinstance(command, Alert))
    assert (alert.level, alert.message) == ("critical", "ACTIVE -> HALTED: first")
    breakers.clear_reason(state, out, "NEVER_SET")
    assert len(out) == told


@pytest.mark.parametrize(("clears", "kept"), [(AUTO, False), (AT_ROLL, True), (OPERATOR, True)])
def test_trap_19_what_does_not_clear_by_itself_survives_a_restart(clears: str, kept: bool) -> None:
    state = world()
    breakers.set_reason(state, [], "X", REDUCE_ONLY, clears, "")
    assert (("reason", "X") in state.changed) is kept
    breakers.clear_reason(state, [], "X")
    assert state.changed.get(("reason", "X")) is None


@pytest.mark.parametrize(
    ("worst", "clears", "level"),
    [
        (HALTED, AUTO, "critical"),
        (REDUCE_ONLY, OPERATOR, "critical"),
        (REDUCE_ONLY, AT_ROLL, "warning"),
        (REDUCE_ONLY, AUTO, "warning"),
    ],
)
def test_what_needs_the_operator_is_critical(worst: TradingState, clears: str, level: str) -> None:
    state = world()
    out: list[AnyCommand] = []
    breakers.set_reason(state, out, "X", worst, clears, "")
    assert [command.level for command in out if isinstance(command, Alert)] == [level]


def test_an_operators_reason_is_kept() -> None:
    state = world()
    operate(state, OperatorAction.HALT, reason="lunch")
    assert state.reasons["OPERATOR"].detail == "lunch"


def test_a_condition_holds_as_long_as_it_holds() -> None:
    state = world()
    out: list[AnyCommand] = []
    breakers.hold_reason(state, out, "FEED", "quiet for 6 s")
    assert state.trading_state is REDUCE_ONLY
    breakers.hold_reason(state, out, "FEED", None)
    assert state.trading_state is ACTIVE
    breakers.hold_reason(state, out, "FEED", None)
    assert sum(isinstance(command, Record) for command in out) == 2


# --- the operator ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "code"), [(OperatorAction.HALT, "OPERATOR"), (OperatorAction.HALT_FILE, "HALT_FILE")]
)
def test_anyone_may_halt_and_only_resume_clears_it(action: OperatorAction, code: str) -> None:
    state = world()
    operate(state, action)
    assert state.trading_state is HALTED
    assert state.reasons[code].clears == OPERATOR
    operate(state, OperatorAction.RESUME)
    assert state.trading_state is ACTIVE


def test_trap_31_the_halt_file_taken_away_resumes_nothing() -> None:
    """Only an operator's resume clears it, and not even that while the file is still there."""
    state = world()
    operate(state, OperatorAction.HALT_FILE)
    operate(state, OperatorAction.HALT)
    operate(state, OperatorAction.RESUME, reason="HALT_FILE")
    assert sorted(state.reasons) == ["HALT_FILE"]


def test_resume_clears_what_is_latched_and_nothing_else() -> None:
    state = world()
    for code, clears in (("LATCHED", OPERATOR), ("LOSS", AT_ROLL), ("FEED", AUTO)):
        breakers.set_reason(state, [], code, REDUCE_ONLY, clears, "")
    operate(state, OperatorAction.RESUME)
    assert sorted(state.reasons) == ["FEED", "LOSS"]


def test_stopping_takes_no_new_entries() -> None:
    state = world()
    operate(state, OperatorAction.STOP)
    assert state.stopping
    assert verdict(state).code == "NOT_READY"


# --- agents ------------------------------------------------------------------------------------------------


def test_faults_in_a_row_latch_an_agent_until_the_operator_resumes_it() -> None:
    state = world()
    out: list[AnyCommand] = []
    for _ in range(19):
        breakers.count_fault(state, out, "a", 20)
    assert not state.agents["a"].latched
    breakers.count_fault(state, out, "a", 20)
    assert state.agents["a"].latched
    assert "hands resume --agent a" in next(c.message for c in out if isinstance(c, Alert))
    breakers.count_fault(state, out, "a", 20)
    assert sum(isinstance(command, Alert) for command in out) == 1
    assert ("agent", "a") in state.changed
    operate(state, OperatorAction.RESUME)
    assert state.agents["a"].latched  # a general resume is not about agents
    operate(state, OperatorAction.RESUME, agent="a")
    assert (state.agents["a"].latched, state.agents["a"].faults) == (False, 0)


def test_an_accepted_document_ends_the_row_but_not_the_latch() -> None:
    state = world()
    breakers.count_fault(state, [], "a", 3)
    breakers.count_fault(state, [], "a", 3)
    breakers.forgive(state, "a")
    assert state.agents["a"].faults == 0
    for _ in range(3):
        breakers.count_fault(state, [], "a", 3)
    breakers.forgive(state, "a")
    assert state.agents["a"].latched


# --- the day -----------------------------------------------------------------------------------------------


def test_nothing_rolls_within_a_day() -> None:
    state = world(account=account(equity="90000"))
    state.day.trades["default"] = 3
    breakers.roll_day(state, [])
    assert state.day.trades == {"default": 3}
    assert usd_text(state.day.equity or 0) == "100000.00"


def test_trap_29_the_day_rolls_at_the_configured_time_and_not_at_midnight() -> None:
    state = world(account=account(equity="90000"))
    state.day.trades["default"] = 5
    for hours in (1, 2, 3, 23):  # two hours after the roll at 22:00 it is midnight UTC
        state.now_ns = Ns(ROLL + hours * 3600 * NS_PER_S)
        breakers.roll_day(state, [])
        assert state.day.trades == {"default": 5}
    state.now_ns = Ns(ROLL + DAY - 1)
    breakers.roll_day(state, [])
    assert state.day.started_ns == ROLL
    state.now_ns = Ns(ROLL + DAY)
    breakers.roll_day(state, [])
    assert (state.day.started_ns, state.day.trades, state.day.realised) == (ROLL + DAY, {}, {})
    assert usd_text(state.day.equity or 0) == "90000.00"
    assert state.next_wake_ns == ROLL + 2 * DAY


def test_a_clock_set_back_or_a_roll_that_is_moved_forgets_nothing_of_the_day() -> None:
    state = world(account=account(equity="90000"))
    state.day.trades["default"], state.day.started_ns = 5, Ns(ROLL + 3600 * NS_PER_S)
    breakers.set_reason(state, [], "DAILY_LOSS", REDUCE_ONLY, AT_ROLL, "")
    breakers.roll_day(state, [])
    assert (state.day.started_ns, state.day.trades) == (ROLL, {"default": 5})
    assert usd_text(state.day.equity or 0) == "100000.00"
    assert "DAILY_LOSS" in state.reasons
    assert state.changed["day", ""] is state.day
    state.now_ns = Ns(ROLL + DAY)
    breakers.roll_day(state, [])
    assert state.day.trades == {}


def test_the_roll_clears_the_days_loss_and_nothing_latched() -> None:
    state = world()
    breakers.set_reason(state, [], "DAILY_LOSS", REDUCE_ONLY, AT_ROLL, "")
    breakers.set_reason(state, [], "OPERATOR", HALTED, OPERATOR, "")
    state.now_ns = Ns(ROLL + DAY)
    breakers.roll_day(state, [])
    assert sorted(state.reasons) == ["OPERATOR"]


def test_a_day_without_an_account_has_no_baseline_yet() -> None:
    state = world(account=None, day_equity=None)
    state.now_ns = Ns(ROLL + DAY)
    breakers.roll_day(state, [])
    assert state.day.equity is None
    assert state.day.started_ns == ROLL


def test_trap_19_the_baseline_of_a_day_survives_a_restart() -> None:
    """What `changed` holds is what a restart finds; the equity of the moment does not replace the roll's."""
    state = world(day_equity=None)
    breakers.roll_day(state, [])
    breakers.book_result(state, sold(state, "590"))
    kept = encode(state.changed["day", ""])
    later = world(account=account(equity="50000"))
    later.day = DayBook()
    later.restore([("day", "", kept)])
    breakers.roll_day(later, [])
    assert usd_text(later.day.equity or 0) == "100000.00"
    assert usd_text(later.day.realised["default"]) == "-100.00"


def test_what_was_already_lost_at_the_roll_is_not_lost_again_today() -> None:
    state = world()
    live(state, filled="10")
    quote(state, "SPY", "590", "590.02")
    state.now_ns = Ns(ROLL + DAY)
    breakers.roll_day(state, [])
    watch(state)
    assert usd_text(state.day.unrealised_of(None)) == "-100.00"
    assert "DAILY_LOSS" not in state.reasons


def test_what_was_sold_of_an_open_trade_before_the_roll_is_not_lost_again_today() -> None:
    state = world()
    half_sold(state)
    state.now_ns = Ns(ROLL + DAY)
    breakers.roll_day(state, [])
    assert usd_text(state.day.unrealised_of(None)) == "-100.00"
    watch(state)
    assert not state.reasons


# --- losses ------------------------------------------------------------------------------------------------


def sold(state: State, price: str, *, number: int = 800) -> Ticket:
    """Return a trade of ten SPY bought at 600 and sold at `price`."""
    ticket = live(state, number, filled="10")
    entry = ticket.entry
    assert entry is not None
    ticket.orders["exit"] = msgspec.structs.replace(
        entry, client_order_id="exit", leg=Leg.STOP_LOSS, filled_qty=nano("10"), value=Usd(nano(price) * 10),
        status=OrderStatus.FILLED,
    )  # fmt: skip
    return ticket


def half_sold(state: State) -> Ticket:
    """Return a trade of ten SPY bought at 600, five of them sold at 590, the market at 590."""
    ticket = sold(state, "590")
    ticket.orders["exit"].filled_qty, ticket.orders["exit"].value = Qty(nano("5")), Usd(nano("2950"))
    quote(state, "SPY", "590", "590.02")
    return ticket


@pytest.mark.parametrize(("bid", "reached"), [("200.000000001", False), ("200", True), ("199", True)])
def test_the_daily_loss_is_reached_at_the_limit(bid: str, reached: bool) -> None:
    """Ten SPY at 600, 4 % of 100 000: at 200 it is 4000."""
    state = world()
    live(state, filled="10")
    quote(state, "SPY", bid, "610")
    watch(state)
    assert ("DAILY_LOSS" in state.reasons) is reached
    if reached:
        assert state.reasons["DAILY_LOSS"].clears == AT_ROLL
        assert state.trading_state is REDUCE_ONLY


def test_a_recovery_within_the_day_does_not_clear_the_daily_loss() -> None:
    state = world()
    live(state, filled="10")
    quote(state, "SPY", "190", "610")
    watch(state)
    quote(state, "SPY", "600", "610")
    watch(state)
    assert "DAILY_LOSS" in state.reasons


def test_an_agent_that_has_lost_its_own_part_is_stopped_until_the_roll_whatever_recovers() -> None:
    state = world(extra="[agents.a]\nmax_daily_loss = 0.01\n[agents.b]\nmax_daily_loss = 0.03")
    live(state, agent="a", filled="10")
    quote(state, "SPY", "500.000000001", "610")
    assert watch(state) == []
    quote(state, "SPY", "500", "610")  # ten at 600: the thousand dollars that are one percent
    [alert] = watch(state)
    assert isinstance(alert, Alert)
    assert alert.code == "AGENT_DAILY_LOSS"
    assert not state.reasons
    quote(state, "SPY", "600", "600.02")
    assert watch(state) == []
    state.day = msgspec.json.decode(encode(state.changed["day", ""]), type=DayBook)  # as a restart finds it
    denied = verdict(state, agent="a")
    assert denied.code is Code.DAILY_LOSS
    assert denied.denial is not None
    assert denied.denial.retry_at_ns == ROLL + DAY
    assert verdict(state, agent="b").code is Code.OK
    state.now_ns = Ns(ROLL + DAY)
    breakers.roll_day(state, [])
    assert state.day.stopped == ()


def test_realised_losses_of_all_agents_count() -> None:
    state = world()
    state.day.realised = {"a": nano("-3000"), "b": nano("-1000")}
    watch(state)
    assert "DAILY_LOSS" in state.reasons


def test_no_loss_trips_nothing_even_at_a_limit_of_zero() -> None:
    state = world(max_daily_loss="0", max_drawdown="0")
    watch(state)
    assert not state.reasons


@pytest.mark.parametrize(("realised", "reached"), [("-9999.999999999", False), ("-10000", True)])
def test_drawdown_is_measured_from_the_peak_of_capital_and_profit(realised: str, reached: bool) -> None:
    state = world(max_daily_loss="1")
    watch(state)
    assert usd_text(state.performance.peak or 0) == "100000.00"
    state.performance.realised = Usd(nano(realised))
    watch(state)
    assert ("DRAWDOWN" in state.reasons) is reached
    assert (state.trading_state is HALTED) is reached


def test_the_peak_rises_with_profits_and_never_falls() -> None:
    state = world(max_daily_loss="1")
    watch(state)
    state.performance.realised = Usd(nano("10000"))
    watch(state)
    assert usd_text(state.performance.peak or 0) == "110000.00"
    state.performance.realised = Usd(nano("0"))
    watch(state)
    assert "DRAWDOWN" not in state.reasons
    state.performance.realised = Usd(nano("-1000"))
    watch(state)
    assert state.reasons["DRAWDOWN"] == Reason(
        code="DRAWDOWN", state=HALTED, since_ns=NOW, clears=OPERATOR,
        detail="11000.00 USD below the peak of 110000.00",
    )  # fmt: skip


def test_resuming_after_a_drawdown_measures_from_there() -> None:
    state = world(max_daily_loss="1")
    watch(state)
    state.performance.realised = Usd(nano("-10000"))
    watch(state)
    operate(state, OperatorAction.RESUME)
    watch(state)
    assert not state.reasons
    assert usd_text(state.performance.peak or 0) == "90000.00"


def test_a_deposit_is_no_profit() -> None:
    """The peak is of owned P&L and the capital at the first start, not of the account's equity."""
    state = world(max_daily_loss="1")
    watch(state)
    state.account = account(equity="500000")
    watch(state)
    assert usd_text(state.performance.peak or 0) == "100000.00"


def test_open_losses_count_towards_the_drawdown() -> None:
    state = world(max_daily_loss="1", max_drawdown="0.01")
    watch(state)
    live(state, filled="10")
    quote(state, "SPY", "500", "610")
    watch(state)
    assert "DRAWDOWN" in state.reasons


def test_sold_and_open_parts_count_towards_the_drawdown() -> None:
    state = world(max_daily_loss="1", max_drawdown="0.001")
    watch(state)
    half_sold(state)
    watch(state)
    assert state.reasons["DRAWDOWN"].detail == "100.00 USD below the peak of 100000.00"


def test_nothing_is_measured_before_the_first_account() -> None:
    state = world(account=None)
    watch(state)
    assert state.performance.capital is None


def test_open_trades_are_watched_every_second() -> None:
    state = world()
    breakers.keep_watching(state)
    assert state.next_wake_ns is None
    live(state)
    breakers.keep_watching(state)
    assert state.next_wake_ns == NOW + NS_PER_S


# --- ends of trades ----------------------------------------------------------------------------------------


def test_a_result_is_booked_to_the_day_its_agent_and_the_performance() -> None:
    state = world()
    breakers.book_result(state, sold(state, "590"))
    breakers.book_result(state, sold(state, "605", number=801))
    assert usd_text(state.day.realised["default"]) == "-50.00"
    assert usd_text(state.performance.realised) == "-50.00"


def test_what_never_filled_books_nothing() -> None:
    state = world()
    breakers.book_result(state, live(state))
    assert (state.day.realised, state.performance.realised) == ({}, 0)


@pytest.mark.parametrize(
    ("facts", "approved_ns", "left"),
    [
        ({"status": OrderStatus.CANCELED}, NOW, 0),
        ({"status": OrderStatus.REJECTED}, NOW, 0),
        ({"filled": "1", "status": OrderStatus.CANCELED}, NOW, 1),
        ({"status": OrderStatus.UNKNOWN}, NOW, 1),
        ({"status": OrderStatus.CANCELED}, ROLL - 1, 1),
    ],
)
def test_trap_01_a_trade_is_given_back_only_where_nothing_filled_today(
    facts: dict[str, Any], approved_ns: int, left: int
) -> None:
    """Never on a timeout: an unknown order may have filled."""
    state = world()
    state.day.trades["default"] = 1
    ticket = live(state, **facts)
    assert ticket.entry is not None
    ticket.entry.created_ns = Ns(approved_ns)
    closing.give_back(state, ticket)
    assert state.day.trades["default"] == left


def test_a_trade_that_ends_leaves_the_book_and_frees_its_budget() -> None:
    state = world()
    ticket = sold(state, "590")
    out: list[AnyCommand] = []
    closing.wind_up(state, ticket, out)
    assert ticket.state is TradeState.CLOSED
    assert ticket.intent_id in state.finished
    assert not state.committed()
    assert state.stopped_out["SPY"] == NOW
    assert ("stopped_out", "SPY") in state.changed
    assert case(state).state.day.realised["default"] == nano("-100")
