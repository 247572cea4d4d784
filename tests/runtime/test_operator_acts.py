"""The operator's acts, from the request to what the venue does: the desk over the real core and a model of the venue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hands.core.commands import OperatorAnswer
from hands.core.events import AnyEvent, PositionSnapshot
from hands.core.receipts import time_text
from hands.core.units import Ns, Price, Qty, nano
from hands.runtime.acts import KINDS, NotMeant, read_act
from hands.runtime.operator_desk import OperatorDesk
from tests.core.desk import Desk
from tests.core.world import NOW, intent_id, world

ONE = intent_id(1)


class Floor:
    """The operator's desk, and behind it the core with everything it needs."""

    def __init__(self) -> None:
        self.core = Desk()
        self.desk = OperatorDesk(
            self.core.state,
            lambda: Ns(self.core.now_ns),
            intents=Path("nowhere"),
            agents={},
            feed=self._feed,
            seq=lambda: len(self.core.log),
            faults=dict,
            streams=dict,
        )
        self.desk.is_open = True

    def _feed(self, event: AnyEvent) -> None:
        for command in self.core.feed(event):
            if isinstance(command, OperatorAnswer):
                self.desk.take_answer(command)

    def ask(self, do: str, **members: Any) -> Any:
        return self.desk.answer({"do": do} | members)

    def trade(self, number: int = 1) -> Any:
        [found] = self.ask("trades", ids=[intent_id(number)])["trades"]
        return found

    def opened(self) -> Floor:
        self.core.drop(1)
        self.core.run(1)
        assert self.trade()["state"] == "OPEN"
        return self


def test_a_flatten_while_the_market_is_closed_waits_for_the_open_under_its_stop() -> None:
    floor = Floor().opened()
    floor.core.set_session(is_open=False)
    answer = floor.ask("flatten", reason="enough")
    assert (answer["ok"], answer["state"], answer["intent_ids"]) == (True, "HALTED", [ONE])
    assert "the exit waits for the open" in answer["message"]
    floor.core.run(5)
    session = floor.core.state.session
    assert session is not None
    trade = floor.trade()
    assert (trade["state"], trade["waits_for_open"]) == ("CLOSING", time_text(session.next_open_ns))
    assert trade["exit_wanted"]["reason"] == "HALT"
    assert trade["protected_qty"] == "66", "the stop stays"
    floor.core.set_session(is_open=True)
    floor.core.until(lambda: floor.trade()["state"] == "CLOSED")
    assert floor.trade()["exit"]["reason"] == "HALT"
    assert floor.core.worst_naked_ns < 2 * 10**9


def test_what_is_armed_and_what_is_held_ends_with_one_flatten() -> None:
    floor = Floor().opened()
    floor.core.drop(
        2, "SPY", entry="touch", trigger_price=599, stop_loss=590, take_profit=620, arm_seconds=600
    )
    told = floor.ask("positions")["positions"]
    assert [(len(told["owned"]), [row["state"] for row in told["unfilled"]])] == [(1, ["ARMED"])]
    answer = floor.ask("flatten")
    assert set(answer["intent_ids"]) == {ONE, intent_id(2)}
    floor.core.until(lambda: not floor.core.state.tickets)
    assert (floor.trade(1)["state"], floor.trade(2)["state"]) == ("CLOSED", "CANCELED")
    assert floor.ask("resume")["status"]["state"] == "ACTIVE"


def test_a_part_is_closed_once_and_the_rest_is_protected() -> None:
    floor = Floor().opened()
    answer = floor.ask("close", target=ONE, qty="20")
    assert answer["ok"], answer
    floor.core.until(lambda: floor.trade()["closing_qty"] is None)
    floor.core.run(5)
    trade = floor.trade()
    assert (trade["state"], trade["position"]["qty"], trade["protected_qty"]) == ("OPEN", "46", "46")
    assert trade["exit_wanted"] is None


def test_an_amend_is_wanted_at_once_and_there_soon_after() -> None:
    floor = Floor().opened()
    answer = floor.ask("amend", target=ONE, stop_loss="149", max_hold_seconds="3600")
    assert answer["ok"], answer
    [row] = floor.ask("positions")["positions"]["owned"]
    assert row["moved"]["stop_loss"] == {"from": "148.00", "to": "149.00"}
    assert row["moved"]["max_hold_seconds"] == {"from": None, "to": "3600"}
    floor.core.until(
        lambda: floor.ask("positions")["positions"]["owned"][0]["protection"]["stop"] == "149", seconds=10
    )
    looser = floor.ask("amend", target=ONE, stop_loss="148.5")
    assert (looser["ok"], "looser" in looser["error"]) == (False, True)


@pytest.mark.parametrize("target", [ONE, "AAPL"])
def test_a_close_is_followed_to_its_end_by_id_or_symbol(target: str) -> None:
    floor = Floor().opened()
    assert floor.ask("close", target=target)["intent_ids"] == [ONE]
    floor.core.until(lambda: floor.trade()["state"] == "CLOSED")
    assert floor.trade()["exit"]["reason"] == "MANUAL"
    again = floor.ask("close", target=ONE)
    assert (again["ok"], "over already" in again["error"]) == (False, True)


def test_a_holding_of_the_owner_becomes_a_trade() -> None:
    floor = Floor()
    floor.core.state.positions["SPY"] = PositionSnapshot(
        symbol="SPY", qty=Qty(nano("10")), qty_available=Qty(nano("10")), avg_price=Price(nano("598"))
    )
    floor.core.state.truth_of_ns = Ns(floor.core.now_ns)
    assert floor.ask("adopt", symbol="TSLA", stop_loss="100")["ok"] is False
    answer = floor.ask("adopt", symbol="spy", stop_loss="590")
    assert answer["ok"], answer
    [trade] = answer["trades"]
    assert (trade["symbol"], trade["agent"], trade["take_profit"]) == ("SPY", "operator", None)
    assert floor.ask("adopt", symbol="SPY", stop_loss="590")["ok"] is False


def test_reduce_only_stops_entries_and_nothing_else() -> None:
    floor = Floor().opened()
    assert floor.ask("reduce_only", reason="quiet")["state"] == "REDUCE_ONLY"
    floor.core.drop(2, "SPY", trigger_price=600, stop_loss=590, take_profit=620)
    assert floor.trade(1)["state"] == "OPEN"
    assert floor.core.receipt(2)["code"] == "REDUCE_ONLY"
    assert floor.ask("amend", target=ONE, stop_loss="149")["ok"]


_WORD = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40)
_JSON = _WORD | st.lists(_WORD, max_size=2) | st.dictionaries(st.text(max_size=8), _WORD, max_size=2)
_MEMBERS = ("target", "symbol", "reason", "qty", "stop_loss", "take_profit", "max_hold_seconds", "other")
_REQUESTS = st.fixed_dictionaries(
    {"do": st.sampled_from(sorted(KINDS))},
    optional=dict.fromkeys(_MEMBERS, _JSON | st.sampled_from(["AAPL", "149", "1e9", "-1", ONE, ONE[:7]])),
)
STATE = world()


@settings(max_examples=60, deadline=None)
@given(_REQUESTS)
def test_whatever_is_asked_is_an_act_or_refused_with_its_problems(request_: dict[str, Any]) -> None:
    problems, event = [""], None
    try:
        event = read_act(STATE, request_, NOW)
    except NotMeant as error:
        problems = error.problems
    if event is None:
        assert problems
        assert all(isinstance(problem, str) and problem for problem in problems)
        return
    numbers = (event.qty, event.stop_loss, event.take_profit, event.max_hold_ns)
    assert all(number is None or (type(number) is int and number > 0) for number in numbers)
    assert event.target is None or isinstance(event.target, str)
