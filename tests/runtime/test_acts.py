"""What a request for an act may say: a table of what is refused, all problems at once, and how a trade is found."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from hands.core.events import OperatorAction, OperatorRequest
from hands.core.units import NS_PER_S, Ns, nano
from hands.runtime.acts import NotMeant, read_act
from tests.core.desk import Desk
from tests.core.world import NOW, intent_id, world


def read(desk: Desk | None = None, **request: Any) -> OperatorRequest:
    return read_act(world() if desk is None else desk.state, request, NOW)


def wrong(desk: Desk | None = None, **request: Any) -> NotMeant:
    with pytest.raises(NotMeant) as raised:
        read(desk, **request)
    return raised.value


ONE = intent_id(1)


def test_each_act_is_read_into_what_it_is_to_the_core() -> None:
    assert read(do="cancel", target=ONE) == OperatorRequest(
        ts_ns=NOW, action=OperatorAction.CANCEL, target=ONE
    )
    assert read(do="close", target="aapl", qty="2.5") == OperatorRequest(
        ts_ns=NOW, action=OperatorAction.CLOSE, target="AAPL", qty=nano("2.5")
    )
    amended = read(do="amend", target=ONE, stop_loss="149.1", take_profit="160", max_hold_seconds="90.5")
    assert amended == OperatorRequest(
        ts_ns=NOW,
        action=OperatorAction.AMEND,
        target=ONE,
        stop_loss=nano("149.1"),
        take_profit=nano("160"),
        max_hold_ns=int(90.5 * NS_PER_S),
    )
    assert read(do="flatten") == OperatorRequest(ts_ns=NOW, action=OperatorAction.FLATTEN)
    flat = read(do="flatten", symbol="sol/usd", reason="x" * 500)
    assert (flat.target, flat.reason) == ("SOL/USD", "x" * 200)
    assert read(do="reduce_only", reason="quiet").reason == "quiet"


def test_an_adoption_gets_an_id_of_its_own() -> None:
    first, second = (read(do="adopt", symbol="AAPL", stop_loss="140", take_profit=None) for _ in range(2))
    assert (first.target, first.stop_loss, first.take_profit) == ("AAPL", nano("140"), None)
    assert first.new_id != second.new_id
    assert str(uuid.UUID(first.new_id)) == first.new_id


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"do": "cancel"}, ["cancel needs target"]),
        ({"do": "cancel", "target": ONE, "qty": "1"}, ["cancel takes no 'qty'"]),
        ({"do": "close", "target": ONE, "qty": "0"}, ["qty must be above 0"]),
        ({"do": "close", "target": ONE, "qty": "-3"}, ["qty must be above 0"]),
        ({"do": "close", "target": ONE, "qty": "many"}, ["qty: "]),
        ({"do": "close", "target": ONE, "qty": 3}, ["qty must be the text of a number"]),
        ({"do": "close", "target": ONE, "qty": "NaN"}, ["qty: "]),
        ({"do": "close", "target": ONE, "qty": "1e400"}, ["qty: "]),
        ({"do": "close", "target": ONE, "qty": "1000000000.1"}, ["qty must be at most 1000000000"]),
        (
            {"do": "amend", "target": ONE, "max_hold_seconds": "10000001"},
            ["max_hold_seconds must be at most"],
        ),
        ({"do": "close", "target": 7}, ["target must be text"]),
        ({"do": "amend", "target": ONE}, ["at least one of stop_loss, take_profit, max_hold_seconds"]),
        ({"do": "flatten", "symbol": ["AAPL"]}, ["symbol must be text"]),
        ({"do": "adopt", "symbol": "AAPL"}, ["adopt needs stop_loss"]),
        (
            {"do": "adopt", "stop_loss": "x", "take_profit": "0", "qty": "1"},
            [
                "adopt takes no 'qty'",
                "adopt needs symbol",
                "stop_loss: ",
                "take_profit must be above 0",
            ],
        ),
        ({"do": "cancel", "target": "12345"}, ["at least 6 characters"]),
        ({"do": "cancel", "target": "NOPE"}, ["no symbol that is known"]),
        ({"do": "cancel", "target": "g23456"}, ["no symbol that is known"]),
        ({"do": "cancel", "target": ONE + "0"}, ["no symbol that is known"]),
    ],
)
def test_what_cannot_be_meant_is_said_with_every_problem(request_: dict[str, Any], words: list[str]) -> None:
    found = wrong(**request_)
    assert found.usage
    assert len(found.problems) == len(words)
    assert all(word in problem for word, problem in zip(words, found.problems, strict=True))


def test_a_trade_is_found_by_the_beginning_of_its_id() -> None:
    desk = Desk()
    desk.drop(1)
    desk.run(1)
    assert read(desk, do="cancel", target=ONE[:6]).target == ONE
    assert read(desk, do="cancel", target=ONE[:13].upper()).target == ONE
    unknown = wrong(desk, do="cancel", target="ffffff")
    assert not unknown.usage
    assert "knows no trade" in str(unknown)


def test_what_waits_for_its_quote_is_found_too() -> None:
    desk = Desk()
    desk.now_ns += 30 * NS_PER_S  # the quote is old by now
    desk.state.now_ns = Ns(desk.now_ns)
    desk.poll()
    desk.drop(1)
    assert ONE not in desk.state.tickets
    assert read(desk, do="cancel", target=ONE[:8]).target == ONE


def test_several_that_begin_alike_are_named_and_nothing_is_guessed() -> None:
    desk = Desk()
    desk.drop(1, entry="touch", trigger_price=149, stop_loss=147, arm_seconds=600)
    desk.drop(2, "SPY", entry="touch", trigger_price=599, stop_loss=590, take_profit=620, arm_seconds=600)
    desk.run(0.1)
    shared = ONE[: next(n for n, (a, b) in enumerate(zip(ONE, intent_id(2), strict=True)) if a != b)]
    assert len(shared) >= 6
    found = wrong(desk, do="cancel", target=shared)
    assert found.usage
    assert f"{ONE} (AAPL ARMED)" in str(found)
    assert f"{intent_id(2)} (SPY ARMED)" in str(found)


def test_a_live_trade_comes_before_those_that_are_over() -> None:
    desk = Desk()
    desk.drop(1)
    desk.run(1)
    desk.quote("AAPL", "155.10", "155.12")
    desk.until(lambda: not desk.state.tickets)
    assert read(desk, do="close", target=ONE[:20]).target == ONE  # over: the core says so
    desk.drop(2, "SPY", trigger_price=600, stop_loss=590, take_profit=620)
    assert intent_id(2) in desk.state.tickets
    assert read(desk, do="close", target=ONE[:20]).target == intent_id(2)
