"""The operator's desk over a real state: acts go in as events, the core's answers come back to who asked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hands.core.commands import OperatorAnswer
from hands.core.events import AnyEvent, OperatorAction, OperatorRequest
from hands.core.units import Ns
from hands.runtime import operator_desk
from hands.runtime.control import SOCKET_NAME, ControlServer, call
from hands.runtime.operator_desk import OperatorDesk
from tests.core.desk import Desk
from tests.core.world import intent_id

ONE = intent_id(1)


class Counter:
    """An operator's desk before a core: acts are kept, and answered as the test says."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.core = Desk()
        self.at_once = at_once
        self.acts: list[OperatorRequest] = []
        self.says: OperatorAnswer | None = OperatorAnswer(ok=True, message="it is done")
        self.decided = 0
        self.desk = OperatorDesk(
            self.core.state,
            lambda: Ns(self.core.now_ns),
            intents=Path("nowhere"),
            agents={},
            feed=self.feed,
            seq=lambda: self.decided,
            faults=dict,
            streams=dict,
            watchdog=lambda: "alive",
        )
        self.desk.is_open = True

    def feed(self, event: AnyEvent) -> None:
        assert isinstance(event, OperatorRequest)
        self.acts.append(event)
        if self.at_once:
            self.decide()

    def decide(self) -> None:
        """Come to the oldest act: halts really happen, of the others only the answer is played."""
        self.decided += 1
        event = self.acts[-1]
        if event.action is OperatorAction.HALT:
            self.core.feed(event)
        if self.says is not None:
            self.desk.take_answer(self.says)

    def ask(self, **request: Any) -> Any:
        return self.desk.answer(request)


def test_an_act_is_answered_with_what_the_core_says_and_its_trades() -> None:
    counter = Counter()
    counter.core.drop(1)
    counter.core.run(1)
    counter.says = OperatorAnswer(ok=True, message="66 AAPL are being sold", intent_ids=(ONE, "unknown"))
    answer = counter.ask(do="close", target=ONE[:8])
    assert (answer["ok"], answer["message"], answer["state"]) == (True, "66 AAPL are being sold", "ACTIVE")
    assert answer["intent_ids"] == [ONE, "unknown"]
    [trade] = answer["trades"]
    assert (trade["intent_id"], trade["state"], trade["position"]["qty"]) == (ONE, "OPEN", "66")
    [act] = counter.acts
    assert (act.action, act.target, act.ts_ns) == (OperatorAction.CLOSE, ONE, counter.core.now_ns)


def test_a_no_of_the_core_is_an_error_with_its_words() -> None:
    counter = Counter()
    counter.says = OperatorAnswer(ok=False, message="148 is looser than 149: a stop can only be tightened")
    answer = counter.ask(do="amend", target=ONE, stop_loss="148")
    assert (answer["ok"], answer["error"]) == (False, counter.says.message)
    assert "usage" not in answer


def test_what_cannot_be_meant_never_reaches_the_core() -> None:
    counter = Counter()
    answer = counter.ask(do="amend", target="123", max_hold_seconds="-1")
    assert (answer["ok"], answer["usage"], len(answer["problems"])) == (False, True, 1)
    assert counter.acts == []


def test_a_silent_core_is_not_taken_for_a_yes() -> None:
    counter = Counter()
    counter.says = None
    assert counter.ask(do="flatten")["ok"] is False
    counter.says = OperatorAnswer(ok=True, message="the second")
    assert counter.ask(do="reduce_only")["message"] == "the second"


def test_acts_that_wait_their_turn_get_their_own_answers_in_order() -> None:
    counter = Counter(at_once=False)

    async def session() -> None:
        first = asyncio.ensure_future(counter.ask(do="reduce_only"))
        second = asyncio.ensure_future(counter.ask(do="flatten", symbol="AAPL"))
        await asyncio.sleep(0)
        for word in ("one", "two"):
            counter.desk.take_answer(OperatorAnswer(ok=True, message=word))
        assert [(await each)["message"] for each in (first, second)] == ["one", "two"]

    asyncio.run(session())


def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_desk, "ANSWER_WITHIN_S", 0.02)
    counter = Counter(at_once=False)

    async def session() -> None:
        late = await counter.ask(do="reduce_only")
        assert (late["ok"], "hands status" in late["error"]) == (False, True)
        waiting = asyncio.ensure_future(counter.ask(do="flatten"))
        await asyncio.sleep(0)
        counter.desk.take_answer(OperatorAnswer(ok=True, message="reduced, late"))
        counter.desk.take_answer(OperatorAnswer(ok=True, message="flat"))
        assert (await waiting)["message"] == "flat"

    asyncio.run(session())


def test_a_halt_is_not_mistaken_for_an_act(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter()
    counter.says = OperatorAnswer(ok=True, message="halted")
    assert counter.ask(do="halt", reason="enough")["status"]["state"] == "HALTED"
    counter.says = OperatorAnswer(ok=True, message="flat")
    assert counter.ask(do="flatten")["message"] == "flat"


def test_before_the_journal_is_read_only_questions_are_answered() -> None:
    counter = Counter()
    counter.desk.is_open = False
    for act in ("cancel", "close", "amend", "flatten", "reduce_only", "adopt", "halt", "resume"):
        assert "still starting" in counter.ask(do=act, target=ONE)["error"]
    for question in ("quote", "view"):
        assert counter.ask(do=question)["ok"]
    assert counter.ask(do="status")["status"]["starting"]
    for what in (
        "positions",
        "orders",
        "trades",
    ):  # nothing owned and not known what is owned are not the same
        assert counter.ask(do=what, ids=[ONE])["starting"]
    assert counter.acts == []
    counter.desk.is_open = True
    assert not counter.ask(do="status")["status"]["starting"]


@pytest.mark.parametrize("ids", [None, "x", [1], ["x"] * 201])
def test_trades_are_asked_for_by_a_bounded_list_of_ids(ids: Any) -> None:
    assert Counter().ask(do="trades", ids=ids)["ok"] is False


def test_what_watches_over_it_is_told() -> None:
    counter = Counter()
    assert counter.ask(do="status")["status"]["watchdog"] == {"state": "alive"}
    assert counter.ask(do="positions")["positions"]["watchdog"] == {"state": "alive"}


def test_acts_come_over_the_socket(state_dir: Path) -> None:
    counter = Counter()

    async def session() -> None:
        server = ControlServer(state_dir / SOCKET_NAME, counter.desk.answer)
        await server.start()
        try:
            answer = await asyncio.to_thread(call, state_dir, {"do": "flatten", "reason": "enough"})
            assert (answer["ok"], answer["message"]) == (True, "it is done")
        finally:
            await server.close()

    asyncio.run(session())
    [act] = counter.acts
    assert (act.action, act.reason, act.target) == (OperatorAction.FLATTEN, "enough", None)
