"""The operator's requests: each ends with one answer, acts in any trading state, and outlives a crash where it must."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from hands.core.adoption import TRUTH_AGE_MAX_NS
from hands.core.commands import (
    Alert,
    OperatorAnswer,
    Record,
    RequestFills,
    RequestTruth,
    SubmitEntry,
    SubmitExit,
)
from hands.core.events import OperatorAction, PositionSnapshot
from hands.core.orders import ReducingOrder
from hands.core.sizing import day_loss_usd, exposure_usd
from hands.core.units import NS_PER_S, Ns, Price, Qty, decimal_text, nano
from hands.core.vocab import Code, ExitReason, OrderClass, OrderType, TradeState, TradingState
from tests.core.desk import Desk
from tests.core.test_changes import AMENDS, anothers, ask, build, coins, opened, send, unknown, working
from tests.core.world import halt, intent, intent_id, live, quote, verdict

ADOPTED = "00000000-0000-4000-9000-000000000001"
A = OperatorAction


def request(desk: Desk, action: OperatorAction, **facts: Any) -> OperatorAnswer:
    """Let the operator act, and return the one answer; prices and quantities as decimal text."""
    for name in ("qty", "stop_loss", "take_profit"):
        if isinstance(facts.get(name), str):
            facts[name] = nano(facts[name])
    (answer,) = [c for c in desk.operator(action, **facts) if isinstance(c, OperatorAnswer)]
    return answer


@pytest.mark.parametrize("action", list(OperatorAction))
@pytest.mark.parametrize("reconciled", [True, False])
def test_every_request_ends_with_exactly_one_answer(action: OperatorAction, reconciled: bool) -> None:
    desk = build()
    opened(desk)
    desk.state.reconciled = reconciled
    for target in (None, "", "AAPL", "NOSUCH", intent_id(1), intent_id(2)):
        answers = [c for c in desk.operator(action, target=target) if isinstance(c, OperatorAnswer)]
        assert len(answers) == 1
        assert answers[0].message


# --- stopping and going on ---------------------------------------------------------------------------------


def test_reduce_only_is_latched_cancels_entries_and_keeps_positions() -> None:
    desk = build()
    opened(desk)
    desk.drop(
        2, "SPY", entry="touch", trigger_price="599", stop_loss="592", take_profit="620", arm_seconds="60"
    )
    assert request(desk, A.REDUCE_ONLY).ok
    assert desk.state.trading_state is TradingState.REDUCE_ONLY
    assert desk.receipt(2)["state"] == "CANCELED"
    desk.crash()
    desk.run(1)
    desk.restart()
    desk.run(1)
    assert desk.state.trading_state is TradingState.REDUCE_ONLY
    assert verdict(desk.state, intent(9)).code is Code.REDUCE_ONLY
    assert desk.position() == "66"
    assert ask(desk, "amend", **AMENDS)["verdict"] == "ACCEPTED"
    assert request(desk, A.HALT).ok  # one does not hide the other
    assert desk.state.trading_state is TradingState.HALTED
    assert request(desk, A.RESUME).message == "trading is ACTIVE"


def test_resume_names_what_still_blocks() -> None:
    desk = build()
    halt(desk.state, code="OPERATOR")
    desk.state.reasons["STALE_FEED"] = msgspec.structs.replace(
        desk.state.reasons["OPERATOR"], code="STALE_FEED", clears="auto", detail="no data"
    )
    answer = request(desk, A.RESUME)
    assert not answer.ok
    assert "STALE_FEED (clears: auto): no data" in answer.message
    assert "OPERATOR" not in answer.message


@pytest.mark.parametrize("symbol", [None, "AAPL"])
def test_flatten_ends_everything_there_and_halts(symbol: str | None) -> None:
    desk = build()
    opened(desk)
    desk.drop(2, "SOL/USD")
    desk.run(1)
    desk.drop(
        3, "SPY", entry="touch", trigger_price="599", stop_loss="592", take_profit="620", arm_seconds="60"
    )
    answer = request(desk, A.FLATTEN, target=symbol)
    assert answer.ok
    assert "trading is HALTED" in answer.message
    desk.run(5)
    assert desk.state.trading_state is TradingState.HALTED
    assert desk.receipt(1)["exit"]["reason"] == "HALT"
    assert desk.receipt(3)["state"] == "CANCELED"
    assert (desk.position("SOL/USD") == "0") is (symbol is None)
    assert (desk.receipt(2)["state"] == "CLOSED") is (symbol is None)
    assert not desk.venue.is_naked("SOL/USD")


def test_a_second_flatten_says_what_it_is_for_and_every_act_is_told() -> None:
    desk = Desk()
    desk.drop(1)
    desk.drop(2, "SOL/USD")
    desk.run(1)
    request(desk, OperatorAction.CLOSE, target="AAPL", qty="6")
    request(desk, OperatorAction.FLATTEN, target="SOL/USD")
    since_ns = desk.state.reasons["FLATTEN"].since_ns
    desk.run(1)
    request(desk, OperatorAction.FLATTEN, reason="enough")
    [reason] = desk.state.reasons.values()
    assert (reason.code, reason.detail, reason.since_ns) == ("FLATTEN", "enough", since_ns)
    rows = [c.row for _, c in desk.commands if isinstance(c, Record) and c.table == "states"]
    assert [(row["event"], row["detail"]) for row in rows] == [
        ("set", "flattened by the operator: SOL/USD"),
        ("set", "enough"),
    ]
    told = [c.message for _, c in desk.commands if isinstance(c, Alert) and c.code == "OPERATOR_ACT"]
    assert [words.split(":")[0] for words in told] == ["close", "flatten", "flatten"]
    assert told[2] == "flatten: closing AAPL; trading is HALTED (enough)"
    desk.run(5)
    desk.crash()
    desk.restart()
    assert desk.state.reasons["FLATTEN"].detail == "enough"


def test_a_symbol_that_is_misspelt_is_not_taken_for_a_flat_one() -> None:
    desk = build()
    opened(desk)
    answer = request(desk, A.FLATTEN, target="APPL")
    assert (answer.ok, desk.state.trading_state) == (False, TradingState.ACTIVE)


@pytest.mark.parametrize("reach", [working, unknown])
def test_a_flatten_that_meets_its_entrys_fill_closes_that_too(reach: Callable[[Desk], None]) -> None:
    desk = build()
    reach(desk)
    request(desk, A.FLATTEN)
    desk.venue.portion = lambda order: order.remaining
    desk.quote("AAPL", "149.97", "150.00")
    desk.run(5)
    assert desk.position() == "0"
    assert desk.receipt()["exit"]["reason"] == "HALT"


@pytest.mark.parametrize("died", [False, True])
def test_a_flatten_of_a_closed_market_waits_under_its_stop_also_through_a_crash(died: bool) -> None:
    desk = build()
    opened(desk)
    desk.set_session(is_open=False)
    assert "the exit waits for the open" in request(desk, A.FLATTEN).message
    if died:
        desk.crash()
        desk.run(1)
        desk.restart()
    desk.run(5)
    assert desk.position() == "66"
    assert not desk.venue.is_naked("AAPL")
    assert "The market is closed" in desk.receipt()["next"]
    desk.set_session(is_open=True, next_open_ns=Ns(desk.now_ns + 10**15))
    desk.run(5)
    assert desk.position() == "0"
    assert desk.receipt()["exit"]["reason"] == "HALT"
    assert desk.state.trading_state is TradingState.HALTED


def test_a_flatten_is_not_given_up_when_the_target_slips_away() -> None:
    desk = build()
    coins(desk)
    desk.ticket().exit_reason = ExitReason.TAKE_PROFIT
    desk.ticket().exit_since_ns = Ns(desk.now_ns)
    request(desk, A.FLATTEN)
    desk.run(5)
    assert desk.position("SOL/USD") == "0"


# --- changing a trade --------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["AAPL", intent_id(1)])
@pytest.mark.parametrize("halted", [False, True])
@pytest.mark.parametrize("reach", [opened, anothers])
def test_the_operator_closes_amends_and_parts_whosever_it_is_and_halted_too(
    target: str, halted: bool, reach: Callable[[Desk], None]
) -> None:
    desk = build()
    reach(desk)
    if halted:
        halt(desk.state)
    answer = request(desk, A.AMEND, target=target, stop_loss="149")
    assert (answer.ok, answer.intent_ids) == (True, (intent_id(1),))
    assert desk.ticket().stop_loss == nano("149")
    answer = request(desk, A.AMEND, target=target, stop_loss="148.5")
    assert not answer.ok
    assert "148.5 is looser than 149" in answer.message
    assert request(desk, A.CLOSE, target=target, qty="6").ok
    assert request(desk, A.CLOSE, target=target).ok
    desk.run(5)
    assert desk.position() == "0"
    assert desk.receipt()["exit"]["reason"] == "MANUAL"


def test_a_symbol_means_all_that_lives_there() -> None:
    desk = build()
    opened(desk)
    for number in (2, 3):
        desk.drop(
            number,
            entry="touch",
            trigger_price=f"149.{number}",
            stop_loss="147",
            take_profit="155",
            arm_seconds="60",
        )
    answer = request(desk, A.CANCEL, target="AAPL")
    assert (answer.ok, answer.intent_ids) == (True, (intent_id(2), intent_id(3)))
    assert desk.ticket().is_live
    answer = request(desk, A.CANCEL, target="AAPL")
    assert not answer.ok
    assert "only a close ends that" in answer.message
    assert not request(desk, A.CLOSE, target="SPY").ok
    assert not request(desk, A.AMEND, target="AAPL").ok  # nothing is said


def test_the_operator_takes_back_what_waits_for_its_quote() -> None:
    desk = build()
    desk.now_ns += 30 * NS_PER_S
    desk.state.now_ns = Ns(desk.now_ns)
    desk.poll()
    desk.drop(1)
    assert request(desk, A.CANCEL, target="AAPL").ok
    desk.quote("AAPL", "149.98", "150.00")
    desk.run(2)
    assert not desk.sent(SubmitEntry)


def test_an_operators_close_waits_for_the_venue_to_have_spoken() -> None:
    desk = build()
    opened(desk)
    desk.crash()
    desk.run(0.1)
    real = desk._answer_truth
    desk._answer_truth = lambda *_args: None  # type: ignore[method-assign]
    desk.restart()
    assert request(desk, A.CLOSE, target="AAPL").ok
    desk._answer_truth = real  # type: ignore[method-assign]
    desk.feed(desk.venue.truth(desk.now_ns, ()))
    desk.run(3)
    assert desk.position() == "0"


# --- adopting ----------------------------------------------------------------------------------------------


def owner_holds(desk: Desk, symbol: str, qty: str, avg: str, **facts: Any) -> None:
    """The owner bought something in the broker's own app, and the venue has said so."""
    held = Qty(nano(qty))
    desk.venue.positions[symbol] = held
    desk.state.positions[symbol] = PositionSnapshot(
        symbol=symbol, qty=held, qty_available=Qty(nano(facts.get("free", qty))), avg_price=Price(nano(avg))
    )
    desk.state.foreign[symbol] = f"a holding of {qty} that is not ours"
    desk.state.truth_of_ns = Ns(desk.now_ns)


def adopt(desk: Desk, symbol: str = "AAPL", stop: str = "148", **facts: Any) -> OperatorAnswer:
    facts.setdefault("new_id", ADOPTED)
    return request(desk, A.ADOPT, target=symbol, stop_loss=stop, **facts)


def exits(desk: Desk) -> list[ReducingOrder]:
    return [command.order for command in desk.sent(SubmitExit)]


def test_an_adopted_holding_without_a_target_gets_a_plain_stop() -> None:
    desk = build()
    owner_holds(desk, "AAPL", "20", "140")
    answer = adopt(desk)
    assert (answer.ok, answer.intent_ids) == (True, (ADOPTED,))
    (order,) = exits(desk)
    assert (order.order_class, order.order_type, order.stop_price) == (
        OrderClass.SIMPLE,
        OrderType.STOP,
        nano("148"),
    )
    assert (decimal_text(order.qty), order.take_profit) == ("20", None)
    ticket = desk.state.tickets[ADOPTED]
    assert (ticket.agent, ticket.intent.strategy_ref, ticket.take_profit) == ("operator", "adopted", None)
    assert "AAPL" not in desk.state.foreign


def test_one_with_a_target_gets_a_pair() -> None:
    desk = build()
    owner_holds(desk, "AAPL", "20", "140")
    assert adopt(desk, take_profit="156").ok
    (order,) = exits(desk)
    assert (order.order_class, order.stop_price, order.take_profit) == (
        OrderClass.OCO,
        nano("148"),
        nano("156"),
    )


def test_adopted_coins_get_a_stop_limit() -> None:
    desk = build()
    owner_holds(desk, "SOL/USD", "2.5", "120")
    assert adopt(desk, "SOL/USD", "145").ok
    (order,) = exits(desk)
    assert (order.order_type, order.stop_price, decimal_text(order.qty)) == (
        OrderType.STOP_LIMIT,
        nano("145"),
        "2.5",
    )
    desk.quote("SOL/USD", "400.00", "400.05")  # no target: nothing is sold there
    desk.run(2)
    assert desk.state.tickets[ADOPTED].owned == nano("2.5")


def test_an_adopted_trade_counts_and_its_result_counts_from_its_adoption() -> None:
    desk = build()
    desk.poll()
    owner_holds(desk, "AAPL", "100", "400")  # 25 002 USD under water before we had anything to do with it
    worth = desk.state.performance.peak
    assert adopt(desk).ok
    desk.poll()
    assert day_loss_usd(desk.state) == 0
    assert desk.state.trading_state is TradingState.ACTIVE
    assert (desk.state.performance.peak, exposure_usd(desk.state)) == (worth, nano("40000"))
    assert len(desk.state.committed()) == 1
    assert verdict(desk.state).code is Code.SYMBOL_BUSY
    quote(desk.state, "AAPL", "148.98", "149.00")
    assert day_loss_usd(desk.state) == nano("100")
    send(desk, "close", number=100, target=1)  # no agent may touch it
    assert desk.state.tickets[ADOPTED].exit_reason is None


def test_it_ends_like_any_other_and_what_is_not_known_is_null() -> None:
    desk = build()
    owner_holds(desk, "AAPL", "20", "140")
    out = desk.operator(A.ADOPT, target="AAPL", stop_loss=Price(nano("148")), new_id=ADOPTED)
    (row,) = [c.row for c in out if isinstance(c, Record) and c.table == "intents"]
    assert (row["take_profit"], row["confidence"], row["document"]) == (None, None, None)
    assert not [
        c for c in out if isinstance(c, Record) and c.table in ("orders", "fills") and c.row["leg"] == "entry"
    ]
    found = ask_receipt(desk)
    assert (found["order"], found["state"], found["position"]) == (
        None,
        "OPEN",
        {"qty": "20", "avg_price": "140.00"},
    )
    assert "its stop at 148 and no target" in found["next"]
    assert request(desk, A.CLOSE, target=ADOPTED).ok
    desk.commands.clear()
    ticket = desk.state.tickets[ADOPTED]
    sell_all(desk, ticket.symbol)
    (episode,) = [c.row for c in desk.sent(Record) if c.table == "trade_episodes"]
    assert (episode["expected_pnl"], episode["slippage"], episode["confidence_score"]) == (None, None, None)
    assert (episode["entry_price"], episode["strategy_ref"], episode["exit_reason"]) == (
        nano("140"),
        "adopted",
        "MANUAL",
    )
    assert desk.state.day.realised == {"operator": episode["actual_pnl"]}


def test_what_the_owner_bought_is_not_looked_for_in_the_venues_list() -> None:
    desk = Desk()
    owner_holds(desk, "AAPL", "10", "140")
    assert adopt(desk).ok
    desk.run(1)
    desk.crash()
    desk.restart()
    desk.run(300)
    assert not desk.sent(RequestFills)
    assert "FILLS_LACKING" not in desk.alerts()


def ask_receipt(desk: Desk) -> dict[str, Any]:
    from hands.core.receipts import receipt

    found = desk.state.judged(ADOPTED)
    assert found is not None
    return receipt(desk.state, found)


def sell_all(desk: Desk, symbol: str) -> None:
    desk.run(5)
    assert desk.venue.positions.get(symbol, 0) == 0, desk.venue.positions


def test_it_outlives_a_crash() -> None:
    desk = build()
    owner_holds(desk, "AAPL", "20", "140")
    assert adopt(desk).ok
    desk.run(1)
    desk.crash()
    desk.run(1)
    desk.restart()
    desk.run(2)
    ticket = desk.state.tickets[ADOPTED]
    assert (decimal_text(ticket.owned), ticket.state) == ("20", TradeState.OPEN)
    assert len(exits(desk)) == 1
    out = desk.drop(intent_number := 5, intent_id=ADOPTED)
    assert intent_number
    assert any(getattr(c, "receipt", {}).get("code") == "DUPLICATE_INTENT" for c in out)


def short_of_truth(desk: Desk) -> None:
    desk.state.reconciled = False


def dry(desk: Desk) -> None:
    desk.state.dry_run = True


def stopping(desk: Desk) -> None:
    desk.operator(A.STOP)


def ours_there(desk: Desk) -> None:
    live(desk.state, 1, "AAPL", limit="150", stop="148", target="155", qty="10", filled="10")


def order_there(desk: Desk) -> None:
    desk.state.foreign["AAPL"] = "an order that is not ours works there (x); a holding of 20 that is not ours"


def sold_meanwhile(desk: Desk) -> None:
    del desk.state.positions["AAPL"]


def held_by_an_order(desk: Desk) -> None:
    owner_holds(desk, "AAPL", "20", "140", free="5")


def parts_of_a_share(desk: Desk) -> None:
    owner_holds(desk, "AAPL", "20.5", "140")


def no_quote(desk: Desk) -> None:
    quote(desk.state, "AAPL", "0", "0")


def asked_long_ago(desk: Desk) -> None:
    desk.state.truth_of_ns = Ns(desk.now_ns - TRUTH_AGE_MAX_NS - 1)


def used_id(desk: Desk) -> None:
    desk.drop(7, "SPY", intent_id=ADOPTED)


HINDRANCES: list[tuple[Callable[[Desk], None] | None, dict[str, Any], str]] = [
    (short_of_truth, {}, "the venue has not said yet what is held"),
    (dry, {}, "this is a dry run"),
    (stopping, {}, "the engine is stopping"),
    (ours_there, {}, "a trade of ours lives there already"),
    (order_there, {}, "an order that is not ours works there"),
    (sold_meanwhile, {}, "nothing is held there"),
    (held_by_an_order, {}, "of 20 only 5 are free"),
    (parts_of_a_share, {}, "not whole lots"),
    (no_quote, {}, "no quote of it has been seen"),
    (asked_long_ago, {}, "try again in a moment"),
    (used_id, {}, "its new id has been used before"),
    (None, {"new_id": ""}, "its new id has been used before"),
    (None, {"stop": "149.98"}, "at or through the market"),
    (None, {"stop": "151"}, "at or through the market"),
    (None, {"take_profit": "149"}, "wrong side of the market"),
    (None, {"symbol": "TSLA"}, "not on the allow-list"),
    (None, {"symbol": "SPY", "stop": "592"}, "nothing is held there"),
]


@pytest.mark.parametrize(
    ("hinder", "asked", "why"),
    HINDRANCES,
    ids=[
        "-".join((hinder.__name__ if hinder else "", *asked.values())).strip("-") or "used"
        for hinder, asked, _ in HINDRANCES
    ],
)
def test_what_cannot_be_adopted_and_why(
    hinder: Callable[[Desk], None] | None, asked: dict[str, Any], why: str
) -> None:
    desk = build()
    owner_holds(desk, "AAPL", "20", "140")
    if hinder is not None:
        hinder(desk)
    before = set(desk.state.tickets)
    answer = adopt(desk, **asked)
    assert not answer.ok
    assert why in answer.message, answer.message
    assert set(desk.state.tickets) == before
    assert not exits(desk)
    assert bool(desk.sent(RequestTruth)) is (hinder is asked_long_ago)


def test_a_short_holding_is_bought_back_at_its_stop() -> None:
    desk = build()
    owner_holds(desk, "AAPL", "-20", "160")
    assert not adopt(desk, stop="149").ok
    assert adopt(desk, stop="152", take_profit="145").ok
    (order,) = exits(desk)
    assert (str(order.side), order.stop_price, decimal_text(order.qty)) == ("buy", nano("152"), "20")


def test_coins_too_few_to_be_sold_at_their_stop_are_not_adopted() -> None:
    desk = build()
    owner_holds(desk, "SOL/USD", "0.07", "140")
    assert "refuse to sell so few" in adopt(desk, "SOL/USD", "145").message
