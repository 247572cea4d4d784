"""Receipts that teach: for every code a real denial goes through `decide`, and the words are looked at."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hands.core.advice import ADVICE, NEAREST, advice
from hands.core.case import Case
from hands.core.commands import RefuseDocument
from hands.core.engine import decide
from hands.core.events import DocumentReceived, Link
from hands.core.nearest import PER_SECOND_MAX
from hands.core.receipts import receipt
from hands.core.risk import CHECKS
from hands.core.state import State
from hands.core.units import NS_PER_S, Ns
from hands.core.vocab import Code
from tests.core.test_kill import DENIED
from tests.core.world import NOW, case, document, encoded, intent, intent_id, live, world

GUIDE = Path(__file__).parents[2] / "docs" / "verdicts.md"
NEVER_SAID = {Code.APPROVAL_REQUIRED}
REFUSED = {
    Code.MALFORMED_JSON: b"{",
    Code.DUPLICATE_KEY: b'{"asset": "AAPL", "asset": "SPY"}',
    Code.SCHEMA: b"{}",
    Code.NOT_FINITE: b'{"confidence": NaN}',
    Code.TOO_LARGE: b"",
    Code.NOT_REGULAR_FILE: b"",
    Code.UNAUTHORISED: b"",
    Code.UNKNOWN_AGENT: b"",
}
FOUND_BY_INTAKE = {Code.TOO_LARGE, Code.NOT_REGULAR_FILE, Code.UNAUTHORISED, Code.UNKNOWN_AGENT}


def dropped(
    state: State, data: bytes, *, name: str = "x.json", fault: Code | None = None, agent: str = "default"
) -> dict[str, Any]:
    """Return the receipt that a dropped file gets, as `decide` leads to it."""
    event = DocumentReceived(
        ts_ns=state.now_ns,
        agent=agent,
        name=name,
        data=data,
        file_event_ns=state.now_ns,
        fault=fault,
        fault_detail="a fault of the file" if fault else "",
    )
    commands = decide(state, event)
    refused = [command.receipt for command in commands if isinstance(command, RefuseDocument)]
    if refused:
        return refused[0]
    [ticket] = [each for each in state.finished.values() if each.name == name]
    return receipt(state, ticket)


def denied(asked: Case) -> dict[str, Any]:
    """Drop the document of a case into its state."""
    state, found = asked.state, asked.intent
    state.links[Link.EQUITY_DATA] = False  # a quiet symbol is judged at once
    members = {"timestamp": "2026-01-05T15:00:00Z"}
    for seconds in (-60, 10):
        if found.timestamp_ns == NOW + seconds * NS_PER_S:
            members["timestamp"] = f"2026-01-05T{'14:59:00' if seconds < 0 else '15:00:10'}Z"
    plain = intent()
    for name in ("trigger_price", "stop_loss", "take_profit", "confidence", "qty", "trailing_stop_pct"):
        if getattr(found, name) != getattr(plain, name):
            members[name] = f"{getattr(found, name) / 1e9:.9f}"
    if found.ttl_ns != plain.ttl_ns:
        members["ttl_seconds"] = str(found.ttl_ns // NS_PER_S)
    return dropped(state, encoded(document(1, found.asset, str(found.direction), **members)))


def _is_one_sentence(text: str) -> bool:
    return bool(re.fullmatch(r"[A-Z][^.!?]*(\b\.\b[^.!?]*)*\.", text)) and len(text) <= 220


@pytest.mark.parametrize("name", [check.name for check in CHECKS])
def test_every_denial_says_what_was_found_what_was_allowed_and_what_to_do(name: str) -> None:
    [check] = [each for each in CHECKS if each.name == name]
    found = denied(DENIED[name]())
    assert found["code"] == str(check.code)
    assert found["message"]
    assert len(found["message"]) <= 300
    assert found["message"].isprintable()
    assert found["retry"] in {"never", "changed", "after"}
    assert found["retry_at"] is None or found["retry"] == "after"
    assert _is_one_sentence(found["next"]), found["next"]
    assert found["next"] == (
        NEAREST if found["nearest_admissible"] else advice(check.code, when=found["retry_at"])
    )
    if found["verdict"] == "REFUSED":
        assert check.name == "duplicate"
        return
    last = found["checks"][-1]
    assert (last["check"], last["ok"]) == (name, False)
    assert last["observed"] is not None
    for value in (last["observed"], last["limit"]):
        assert value is None or (len(value) <= 200 and value.isprintable())
    numbers = [v for v in (last["observed"], last["limit"]) if v and re.fullmatch(r"[\d.]+", v)]
    assert all(number in found["message"] for number in numbers), found["message"]


def test_the_numbers_are_in_the_message() -> None:
    """The check above is about numbers: that there are some for most checks."""
    numeric = 0
    for name in DENIED:
        last = denied(DENIED[name]()).get("checks", [])[-1:]
        numeric += bool(last and last[0]["limit"] and re.fullmatch(r"[\d.]+", last[0]["limit"]))
    assert numeric >= 18


@pytest.mark.parametrize("code", [str(code) for code in REFUSED])
def test_every_refusal_says_what_to_do(code: str) -> None:
    data = REFUSED[Code(code)]
    found = dropped(world(), data, fault=Code(code) if Code(code) in FOUND_BY_INTAKE else None)
    assert (found["verdict"], found["code"]) == ("REFUSED", code)
    assert found["message"]
    assert found["next"] == ADVICE[Code(code)]
    assert found["nearest_admissible"] is None
    assert found["retry"] == ("never" if code in {"UNAUTHORISED", "UNKNOWN_AGENT"} else "changed")


def test_there_is_advice_for_every_code_and_it_is_one_sentence() -> None:
    assert set(ADVICE) == set(Code) - {Code.OK}
    for code in ADVICE:
        assert _is_one_sentence(advice(code)), advice(code)
        assert _is_one_sentence(advice(code, when="2026-01-05T15:00:00.5Z")), advice(code, when="x")
    assert _is_one_sentence(NEAREST)


def test_no_code_is_said_by_nothing() -> None:
    said = {check.code for check in CHECKS} | set(REFUSED) | NEVER_SAID | {Code.OK, Code.NOTHING_TO_DO}
    assert said == set(Code)


def test_the_guide_has_a_row_for_every_code() -> None:
    rows = set(re.findall(r"(?m)^\| `([A-Z_]+)` \|", GUIDE.read_text()))
    assert rows == {str(code) for code in Code} - {"OK"}


def test_trap_33_nothing_an_agent_wrote_comes_back_unescaped_or_unbounded() -> None:
    bell = "\x1b]0;pwned\x07"
    for data in (
        json.dumps({"intent_id": bell * 99}).encode(),
        json.dumps({bell * 99: 1}).encode(),
        json.dumps({"kind": bell * 99}).encode(),
        b'{"a": 1, "\x1b[2Ja\x1b": 2, "\x1b[2Ja\x1b": 3}',
        encoded(document(direction=bell)),
        encoded(document(context={bell: [1]})),
    ):
        found = dropped(world(), data)
        assert found["verdict"] == "REFUSED"
        assert len(found["message"]) <= 500
        assert found["message"].isprintable(), found["message"]


# --- the suggestion --------------------------------------------------------------------------------------------


def far(number: int, **changes: str) -> bytes:
    return encoded(document(number, stop_loss="100", take_profit="260", **changes))


def test_a_denial_carries_the_suggestion_and_it_survives_a_restart() -> None:
    state = world()
    found = dropped(state, far(1))
    assert found["nearest_admissible"] == {"stop_loss": 120.12}
    assert found["next"] == NEAREST
    [(key, ticket)] = [(key, each) for key, each in state.changed.items() if key[0] == "ticket"]
    again = State(state.limits, state.market, state.venue)
    from hands.core.state import encode

    again.restore([(*key, encode(ticket))])
    assert receipt(again, again.finished[intent_id(1)])["nearest_admissible"] == {"stop_loss": 120.12}


def test_a_suggestion_is_no_way_round_the_latch() -> None:
    """It counts as a fault like any other; at the latch there are no more."""
    state = world(rejections_latch="3")
    answers = [dropped(state, far(n), name=f"{n}.json") for n in range(1, 6)]
    assert [each["nearest_admissible"] is None for each in answers] == [False, False, True, True, True]
    assert state.agents["default"].latched
    assert [each["code"] for each in answers[3:]] == ["AGENT_LATCHED"] * 2


def test_suggestions_are_rationed_so_that_a_flood_cannot_starve_the_loop() -> None:
    state = world(rejections_latch="1000", max_daily_loss="0.000975")
    live(state, 900, "SPY", qty="12", filled="12")
    count = PER_SECOND_MAX + 5
    answers = [dropped(state, encoded(document(n)), name=f"{n}.json") for n in range(1, count + 1)]
    assert {each["code"] for each in answers} == {"DAILY_LOSS"}
    assert sum(each["nearest_admissible"] is not None for each in answers) == PER_SECOND_MAX
    state.now_ns = Ns(state.now_ns + NS_PER_S)
    assert dropped(state, encoded(document(999)), name="later.json")["nearest_admissible"] is not None


def test_denials_that_no_number_cures_use_up_no_suggestion() -> None:
    state = world(rejections_latch="1000")
    for number in range(1, PER_SECOND_MAX + 2):
        dropped(state, encoded(document(number, confidence="0.1")), name=f"{number}.json")
    assert dropped(state, far(999), name="last.json")["nearest_admissible"] is not None


def test_looking_for_a_suggestion_changes_nothing() -> None:
    from hands.core.nearest import nearest
    from hands.core.risk import judge
    from tests.core.world import frozen_bytes

    state = world()
    judged = case(state, intent(stop_loss="100", take_profit="260"))
    before, judgement = frozen_bytes(state), judge(judged)
    first = nearest(judged, judgement)
    assert first is not None
    assert nearest(judged, judgement) == first
    assert frozen_bytes(state) == before
