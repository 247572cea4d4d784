"""Every attack of the table, then those that take a restart or a halt: unsafe orders 0, and each is told why.

Judged by the exchange's record. The last test judges everything that ever reached it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.adversarial.attacks import ATTACKS, Attack
from tests.adversarial.brain import POLL_S, WITHIN_S, Brain, read_json, stamp
from tests.adversarial.conftest import EXTRA, QUOTES, SYMBOL_OF, agent_of, somebody_else
from tests.adversarial.engine import RULES, Engine
from tests.adversarial.judge import unsafe_orders

pytestmark = pytest.mark.e2e

MakeBrain = Callable[[str, str], Brain]


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.agent_name for attack in ATTACKS])
def test_an_attack_comes_to_what_may_come_of_it(attack: Attack, brain: MakeBrain, engine: Engine) -> None:
    if attack.agent("").user and somebody_else() is None:
        pytest.skip("this machine has one user only")
    symbol = SYMBOL_OF[attack.name]
    attacker = brain(attack.agent_name, symbol)
    before = {order.client_order_id for order in engine.orders()}
    attack.act(attacker)
    answers = attacker.answers()
    codes = {answer["code"] for answer in answers}
    assert codes, "an attack without an answer shows nothing"
    assert codes <= attack.may, answers
    assert all(answer["message"] for answer in answers)
    accepted = {answer["intent_id"] for answer in answers if answer["verdict"] == "ACCEPTED"}
    assert len(accepted) <= attack.orders
    until_entered(engine, symbol, attack.orders)
    came_of_it = [order for order in engine.orders() if order.client_order_id not in before]
    assert unsafe_orders(came_of_it, QUOTES, {symbol: attack.orders}) == []
    assert all((attacker.folder / item.name).exists() for item in attacker.dropped if item.ignored)


def until_entered(engine: Engine, symbol: str, count: int) -> None:
    """Wait until the exchange has as many entries on a symbol as were accepted; more are for the judge."""
    deadline = time.monotonic() + WITHIN_S
    while sum(order.is_entry and order.symbol == symbol for order in engine.orders()) < count:
        assert time.monotonic() < deadline, f"{symbol}: what was accepted never reached the exchange"
        time.sleep(POLL_S)


ALLOWED = {SYMBOL_OF[attack.name]: attack.orders for attack in ATTACKS}


def test_every_attack_has_an_agent_and_a_name_of_its_own() -> None:
    assert (
        len({attack.agent_name for attack in ATTACKS})
        == len({attack.name for attack in ATTACKS})
        == len(ATTACKS)
    )
    assert {trap for attack in ATTACKS for trap in attack.traps.split()} >= {"30", "31", "32", "33"}
    assert all(agent_of(attack).name == attack.agent_name for attack in ATTACKS)


def test_a_receipt_belongs_to_the_first_document_of_its_id(brain: MakeBrain, engine: Engine) -> None:
    """Another agent's document under the same id touches neither the receipt nor the archived bytes."""
    victim, thief = brain(EXTRA[0].lower(), EXTRA[0]), brain(EXTRA[1].lower(), EXTRA[1])
    first = victim.drop(victim.good(confidence=0.1))
    victim.answers()
    assert first.intent_id is not None
    places = [victim.receipt_of(first), *engine.intents.glob(f"archive/*/{first.intent_id}.json")]
    before = [path.read_bytes() for path in places if path is not None]
    assert len(before) == 2
    thief.drop(thief.good(intent_id=first.intent_id))
    thief.drop(victim.good(intent_id=first.intent_id))
    assert {answer["code"] for answer in thief.answers()} == {"DUPLICATE_INTENT"}
    assert [path.read_bytes() for path in places if path is not None] == before


def test_the_latch_counts_and_lets_nothing_through_until_the_operator_has_looked(
    brain: MakeBrain, engine: Engine
) -> None:
    prober = brain(EXTRA[2].lower(), EXTRA[2])
    for _ in range(RULES.rejections_latch):
        prober.drop(prober.good(confidence=0.1))
    assert {answer["code"] for answer in prober.answers()} == {"CONFIDENCE_TOO_LOW"}
    prober.drop(prober.good())
    assert prober.answers()[-1]["code"] == "AGENT_LATCHED"


def test_taking_the_halt_away_does_not_resume(brain: MakeBrain, engine: Engine) -> None:
    halt = engine.intents / "HALT"
    halt.touch()
    stopped = brain(EXTRA[4].lower(), EXTRA[4])
    stopped.drop(stopped.good())
    assert stopped.answers()[-1]["code"] == "HALTED"
    halt.unlink()
    for name in ("RESUME", "HALT.json", "HALT.off"):
        (engine.intents / name).write_text("{}")
    halt.symlink_to("/nowhere")
    halt.unlink()
    stopped.drop(stopped.good())
    stopped.drop(json.dumps({"kind": "resume", "intent_id": "x", "timestamp": stamp()}).encode())
    assert {answer["code"] for answer in stopped.answers()} <= {"HALTED", "SCHEMA"}
    assert engine.is_halted()
    engine.resume()
    stopped.drop(stopped.good())
    assert stopped.answers()[-1]["code"] == "OK"


def test_what_was_is_known_after_a_restart(brain: MakeBrain, engine: Engine) -> None:
    """Files put back from the archive, a halt whose file is gone, and an idea said anew: nothing is forgotten."""
    agent, symbol = EXTRA[3].lower(), EXTRA[3]
    first = brain(agent, symbol)
    filled, denied = first.drop(first.good()), first.drop(first.good(confidence=0.1))
    assert [answer["code"] for answer in first.answers()] == ["OK", "CONFIDENCE_TOO_LOW"]
    archived = [
        next(engine.intents.glob(f"archive/*/{item.intent_id}.json")).read_bytes()
        for item in (filled, denied)
    ]

    def replay() -> set[str]:
        again = brain(agent, symbol)
        for item, data in zip((filled, denied), archived, strict=True):
            again.drop(data)
            again.drop(data, item.name)
        return {answer["code"] for answer in again.answers()}

    assert replay() == {"DUPLICATE_INTENT"}
    (engine.intents / "HALT").touch()
    deadline = time.monotonic() + WITHIN_S
    while not engine.is_halted():
        assert time.monotonic() < deadline, "the HALT file was not seen"
        time.sleep(POLL_S)
    (engine.intents / "HALT").unlink()
    engine.restart()
    assert engine.is_halted(), "a halt ends with the operator, not with the engine"
    assert replay() == {"DUPLICATE_INTENT"}
    engine.resume()
    anew = brain(agent, symbol)
    anew.drop(anew.good())
    assert anew.answers()[0]["code"] in {"SYMBOL_BUSY", "SEMANTIC_DUPLICATE"}
    until_entered(engine, symbol, 1)


def test_nothing_was_written_or_read_outside_and_nothing_is_left_lying(engine: Engine) -> None:
    left = [path for path in engine.intents.glob("agents/*/*.json") if not path.name.startswith(".")]
    assert left == []
    pwned = [path for path in (Path.cwd() / "pwned", engine.intents / "pwned") if path.exists()]
    assert pwned == []
    receipts = [read_json(path) for path in engine.intents.glob("receipts/*.json")]
    assert all(receipt is not None and receipt["verdict"] in ("ACCEPTED", "REJECTED") for receipt in receipts)


def test_no_unsafe_order_ever_reached_the_exchange(engine: Engine) -> None:
    allowed = ALLOWED | {EXTRA[3]: 1, EXTRA[4]: 1}
    assert unsafe_orders(engine.orders(), QUOTES, allowed) == []
    print(f"\n{len(ATTACKS)} attacks, {len(engine.orders())} orders at the exchange, unsafe: 0")
