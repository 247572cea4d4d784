"""Two hundred good intents, all different, valid at the market: not one is refused, and each becomes what it says."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adversarial.brain import POLL_S, WITHIN_S, Brain
from tests.adversarial.engine import Agent, Engine, engine_under_attack
from tests.adversarial.good import GOOD
from tests.adversarial.judge import unsafe_orders

pytestmark = pytest.mark.e2e

QUOTES = {good.symbol: (good.bid, good.ask) for good in GOOD}


@pytest.fixture
def roomy_engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine of its own, with a symbol for every two intents."""
    found = engine_under_attack()
    try:
        found.start(tmp_path, QUOTES, [Agent("honest")])
        yield found
    finally:
        found.stop()


def test_false_refusals_none(roomy_engine: Engine, tmp_path: Path) -> None:
    intents = roomy_engine.intents
    honest = Brain(intents, intents / "agents" / "honest", tmp_path, "honest", "")
    for number, good in enumerate(GOOD):
        data = good.say()
        honest.drop(data, f"good-{number}.json", claims=json.loads(data)["intent_id"])
    answers = honest.answers(within_s=60)
    refused = [
        (good.members, answer["code"], answer["message"])
        for good, answer in zip(GOOD, answers, strict=True)
        if answer["verdict"] != "ACCEPTED"
    ]
    assert refused == []
    at_once = {good.symbol for good in GOOD if good.members.get("entry") != "touch"}
    deadline = time.monotonic() + WITHIN_S
    while {order.symbol for order in roomy_engine.orders() if order.is_entry} != at_once:
        assert time.monotonic() < deadline, "what was accepted never reached the exchange"
        time.sleep(POLL_S)
    assert unsafe_orders(roomy_engine.orders(), QUOTES, dict.fromkeys(at_once, 1)) == []
    print(f"\n{len(GOOD)} good intents, {len(at_once)} entered at once, refused: 0")


def test_they_are_all_different() -> None:
    assert len({json.dumps(good.members, default=str, sort_keys=True) for good in GOOD}) == len(GOOD) == 200
    kinds = [(good.members["direction"], good.members.get("entry"), "qty" in good.members) for good in GOOD]
    assert len(set(kinds)) >= 8
