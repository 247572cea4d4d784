"""The engine as a whole: states and what they stop, stopping, the day, losses, dry runs, touches, restarts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hands.core.commands import CancelOrder, Record, Stopped, SubmitEntry, SubmitExit
from hands.core.events import Link, OperatorAction
from hands.core.units import NANO, NS_PER_S, Usd
from hands.core.vocab import Code, TradingState
from tests.core.desk import ACTIVE, HALTED, REDUCE_ONLY, Desk
from tests.core.test_protection import opened, partly
from tests.core.world import ROLL, account

TOUCH = {
    "entry": "touch",
    "trigger_price": "149.5",
    "stop_loss": "148",
    "take_profit": "155",
    "arm_seconds": "600",
}
DAY_NS = 86_400 * NS_PER_S


def waiting(desk: Desk | None = None, **changes: object) -> Desk:
    """A desk with an entry that works and does not fill."""
    desk = desk or Desk()
    desk.venue.portion = lambda _order: 0
    desk.drop(1, **changes)
    desk.run(0.5)
    assert desk.receipt()["state"] == "WORKING"
    return desk


# --- what trading states do --------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [OperatorAction.HALT, OperatorAction.HALT_FILE])
def test_a_halt_cancels_entries_and_disarms_but_closes_nothing(action: OperatorAction) -> None:
    desk = opened(asset="SOL/USD")
    desk.drop(2, **TOUCH)
    desk.venue.portion = lambda _order: 0
    desk.drop(3, "SPY")
    desk.run(0.5)
    desk.operator(action)
    desk.run(2)
    assert desk.state.trading_state is HALTED
    assert [desk.receipt(n)["state"] for n in (1, 2, 3)] == ["OPEN", "CANCELED", "CANCELED"]
    assert not desk.venue.is_naked("SOL/USD")
    assert desk.position("SOL/USD") != "0"
    desk.poll()
    desk.quote("AAPL", "149.98", "150.00")
    desk.drop(4)
    assert desk.receipt(4)["code"] == Code.HALTED


def test_a_disarmed_touch_tells_the_ledger() -> None:
    desk = Desk()
    desk.drop(1, **TOUCH)
    desk.operator(OperatorAction.HALT)
    rows = [record.row for record in desk.sent(Record) if record.table == "intents"]
    assert [row["state"] for row in rows] == ["ARMED", "CANCELED"]


def test_reduce_only_lets_targets_and_time_exits_go_on() -> None:
    desk = opened("SOL/USD", max_hold_seconds="30")
    desk.link(Link.JOURNAL, up=False)
    assert desk.state.trading_state is REDUCE_ONLY
    desk.run(33)
    assert desk.receipt()["exit"]["reason"] == "TIME"


def test_stopping_ends_once_every_entry_is_proven_over() -> None:
    desk = waiting()
    desk.drop(2, "SPY", **(TOUCH | {"trigger_price": "598", "stop_loss": "590", "take_profit": "620"}))
    left = ["drop_request"]
    desk.faults = lambda kind: left.pop() if kind == "cancel" and left else None
    desk.operator(OperatorAction.STOP)
    assert desk.sent(Stopped) == []
    desk.run(0.5)
    assert desk.sent(Stopped) == []
    desk.run(2)
    assert len(desk.sent(Stopped)) == 1
    assert [desk.receipt(n)["state"] for n in (1, 2)] == ["CANCELED", "CANCELED"]


def test_stopping_leaves_protection_at_the_venue_and_says_what_is_open() -> None:
    desk = opened()
    desk.operator(OperatorAction.STOP)
    desk.run(1)
    assert [command.still_open for command in desk.sent(Stopped)] == [("AAPL",)]
    assert desk.sent(CancelOrder) == []
    assert not desk.venue.is_naked("AAPL")


def test_stopping_while_an_entry_fills_protects_it_first() -> None:
    desk = partly(Desk(), "40")
    desk.run(0.05)
    desk.operator(OperatorAction.STOP)
    desk.run(2)
    assert len(desk.sent(Stopped)) == 1
    assert not desk.venue.is_naked("AAPL")


# --- losses and the day ------------------------------------------------------------------------------------


def test_the_daily_loss_reduces_until_the_roll() -> None:
    desk = opened(desk=Desk(max_daily_loss="0.001"))
    desk.state.day.realised["default"] = -20 * NANO
    desk.quote("AAPL", "148.10", "148.12")
    desk.run(1.5)
    assert desk.state.trading_state is REDUCE_ONLY
    assert desk.state.reasons["DAILY_LOSS"].clears == "roll"
    assert desk.receipt()["state"] == "OPEN"
    desk.quote("AAPL", "150", "150.02")
    desk.run((ROLL + DAY_NS - desk.now_ns) / NS_PER_S + 2)
    desk.poll()
    assert desk.state.trading_state is ACTIVE
    assert desk.state.day.started_ns == ROLL + DAY_NS
    assert desk.state.day.trades_of(None) == 0


def test_a_drawdown_halts_until_the_operator_accepts_it() -> None:
    desk = opened(desk=Desk(max_drawdown="0.0005"))
    desk.quote("AAPL", "148.50", "148.52")
    desk.run(1.5)
    assert desk.state.trading_state is HALTED
    assert not desk.venue.is_naked("AAPL")
    desk.operator(OperatorAction.RESUME)
    assert desk.state.trading_state is ACTIVE
    desk.run(3)
    assert desk.state.trading_state is ACTIVE


def test_watching_open_positions_is_one_timer_however_much_happens() -> None:
    desk = opened()
    for _ in range(200):
        desk.poll()
        desk.run(0.013)
    before = len(desk.log)
    desk.run(10)
    assert len(desk.log) - before <= 25


def test_nothing_wakes_an_engine_that_has_nothing_open() -> None:
    desk = opened()
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(30)
    before = len(desk.log)
    desk.run(3600)
    assert len(desk.log) - before <= 2


# --- dry runs, touches -------------------------------------------------------------------------------------


def test_a_dry_run_judges_and_sends_nothing() -> None:
    desk = Desk()
    desk.state.dry_run = True
    desk.drop()
    desk.run(20)
    assert desk.receipt()["state"] == "DRAFT"
    assert desk.receipt()["order"]["qty"] == "66"
    assert desk.sent(SubmitEntry) == []
    assert desk.state.day.trades_of(None) == 0


def test_a_touch_waits_for_its_price_and_is_judged_again() -> None:
    desk = Desk()
    desk.drop(1, **TOUCH)
    desk.run(30)
    assert desk.receipt()["state"] == "ARMED"
    assert desk.state.committed() == []
    desk.poll()
    desk.quote("AAPL", "149.48", "149.50")
    assert desk.sent(SubmitEntry) == []  # equities fire on prints only
    desk.print("AAPL", "149.50")
    desk.run(0.5)
    assert desk.receipt()["state"] == "OPEN"
    assert desk.ticket().deadline_ns > desk.now_ns + 14 * NS_PER_S


def test_a_touch_that_fires_into_a_denial_is_rejected() -> None:
    desk = Desk()
    desk.drop(1, **TOUCH)
    desk.run(30)  # no account, no quote since
    desk.print("AAPL", "149.40")
    assert desk.receipt()["verdict"] == "REJECTED"
    assert desk.receipt()["state"] == "REJECTED"
    assert desk.state.tickets == {}


def test_a_touch_that_is_not_reached_expires() -> None:
    desk = Desk()
    desk.drop(1, **(TOUCH | {"arm_seconds": "60"}))
    desk.run(61)
    assert desk.receipt()["state"] == "EXPIRED"
    assert desk.state.armed_slots == {}


def test_a_coin_touch_also_fires_on_the_far_quote() -> None:
    desk = Desk()
    desk.drop(1, "SOL/USD", entry="touch", trigger_price="149", stop_loss="145", take_profit="165")
    desk.quote("SOL/USD", "148.95", "149.00")
    assert len(desk.sent(SubmitEntry)) == 1


# --- restarts ----------------------------------------------------------------------------------------------


def bracket_target(desk: Desk) -> list[Callable[[], object]]:
    return [desk.drop, lambda: desk.run(1), lambda: desk.quote("AAPL", "155.01", "155.03")]


def bracket_stop(desk: Desk) -> list[Callable[[], object]]:
    return [
        desk.drop,
        lambda: desk.run(0.015),
        lambda: desk.run(1),
        lambda: desk.quote("AAPL", "147.9", "147.92"),
    ]


def partial_then_oco(desk: Desk) -> list[Callable[[], object]]:
    return [
        lambda: partly(desk, "40"),
        *(lambda s=s: desk.run(s) for s in (0.015, 0.2, 0.21, 0.02, 0.02, 0.02, 1)),
        lambda: desk.quote("AAPL", "147.9", "147.92"),
    ]


def coins_target(desk: Desk) -> list[Callable[[], object]]:
    return [
        lambda: desk.drop(1, "SOL/USD"),
        *(lambda s=s: desk.run(s) for s in (0.015, 0.02, 0.02, 1)),
        lambda: desk.quote("SOL/USD", "165.1", "165.2"),
        *(lambda s=s: desk.run(s) for s in (0.005, 0.02, 0.02)),
    ]


def coins_held_long_enough(desk: Desk) -> list[Callable[[], object]]:
    return [
        lambda: desk.drop(1, "SOL/USD", max_hold_seconds="10"),
        *(lambda s=s: desk.run(s) for s in (0.5, 9.5, 0.02, 0.01, 0.01, 0.02)),
    ]


def unfilled(desk: Desk) -> list[Callable[[], object]]:
    desk.venue.portion = lambda order: 0 if "-entry-" in order.client_order_id else order.remaining
    return [desk.drop, lambda: desk.run(5), lambda: desk.run(10.005), lambda: desk.run(0.02)]


@pytest.mark.parametrize(
    ("script", "ends"),
    [
        (bracket_target, "TP"),
        (bracket_stop, "SL"),
        (partial_then_oco, "SL"),
        (coins_target, "TP"),
        (coins_held_long_enough, "TIME"),
        (unfilled, None),
    ],
)
@pytest.mark.parametrize("lost", [False, True])
def test_a_death_after_any_step_leads_to_the_same_end(
    script: Callable[[Desk], list[Callable[[], object]]], ends: str | None, lost: bool
) -> None:
    """`lost`: the process dies with its last commands written down but not sent."""
    for dies_after in range(len(script(Desk()))):
        desk = Desk()
        steps = script(desk)
        for number, step in enumerate(steps):
            if number == dies_after and lost:
                desk._carry_out = lambda _command: None  # type: ignore[method-assign]
            step()
            if number == dies_after:
                desk.crash()
                desk._carry_out = lambda command, d=desk: type(d)._carry_out(d, command)  # type: ignore[method-assign]
                desk.run(0.5)
                desk.restart()
                desk.run(0.5)
        symbol = "SOL/USD" if script in (coins_target, coins_held_long_enough) else "AAPL"
        for _ in range(40):
            bid, ask = desk.venue.quotes[symbol]
            desk.quote(symbol, f"{bid / NANO}", f"{ask / NANO}")
            desk.run(1)
        context = f"{script.__name__}, dead after step {dies_after}"
        assert max(desk.venue.entries_accepted.values(), default=0) <= 1, context
        assert desk.venue.flips == [], context
        assert desk.position(symbol) in ("0", "0.0"), context
        assert desk.state.committed() == [], context
        filled = any(order.filled for order in desk.venue.orders.values())
        if filled:
            episodes = [record.row for record in desk.sent(Record) if record.table == "trade_episodes"]
            assert {row["exit_reason"] for row in episodes} == {ends}, (
                context
            )  # written anew where prices were found
        assert desk.state.trading_state is TradingState.ACTIVE, context
        assert not [key for key in desk.journal if key[0] == "ticket"], context


def test_an_armed_touch_survives_a_restart() -> None:
    desk = Desk()
    desk.drop(1, **TOUCH)
    desk.run(5)
    desk.crash()
    desk.restart()
    desk.run(1)
    assert desk.receipt()["state"] == "ARMED"
    desk.poll()
    desk.quote("AAPL", "149.48", "149.50")
    desk.print("AAPL", "149.45")
    desk.run(1)
    assert desk.receipt()["state"] == "OPEN"


def test_latched_reasons_and_counters_survive_a_restart() -> None:
    desk = opened()
    desk.operator(OperatorAction.HALT, reason="lunch")
    desk.crash()
    desk.restart()
    desk.run(1)
    assert desk.state.trading_state is HALTED
    assert desk.state.reasons["OPERATOR"].detail == "lunch"
    assert desk.state.day.trades_of(None) == 1
    assert desk.state.day.equity == Usd(100_000 * NANO)


def test_the_days_baseline_is_not_taken_anew_by_a_restart() -> None:
    desk = opened()
    desk.crash()
    desk.restart()
    desk.feed(account(ts_ns=desk.state.now_ns, asked_ns=desk.state.now_ns, equity="90000"))
    assert desk.state.day.equity == Usd(100_000 * NANO)


def test_a_position_sold_while_the_engine_was_dead_is_not_sold_again() -> None:
    desk = opened()
    desk.run(5)
    desk.crash()
    desk.quote("AAPL", "147.9", "147.92")
    desk.run(10)
    assert desk.position() == "0"
    desk.restart()
    desk.run(5)
    assert desk.sent(SubmitExit) == []
    assert desk.state.committed() == []
    assert desk.receipt()["exit"]["reason"] == "SL"
