"""One engine for all attacks: its market, its agents, and a Brain for each.

Each attack has an agent of its own, so that no latch is inherited.
"""

from __future__ import annotations

import dataclasses
import os
import pwd
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.adversarial.attacks import ATTACKS, Attack
from tests.adversarial.brain import Brain
from tests.adversarial.engine import Agent, Engine, engine_under_attack, made_up_symbol

QUOTE = Decimal("149.98"), Decimal("150.00")
COMMON, SPARE = "AAPL", "SPARE"
EXTRA = tuple(made_up_symbol("U", number) for number in range(6))
"""Symbols, and in small letters agents, for what is not in the table of attacks."""

SYMBOL_OF = {
    attack.name: made_up_symbol("T", number) if attack.orders else COMMON
    for number, attack in enumerate(ATTACKS)
}
"""An attack of which an order may come has a symbol of its own; on the common one there must never be any."""

QUOTES = dict.fromkeys((*SYMBOL_OF.values(), *EXTRA, SPARE), QUOTE)


def somebody_else() -> str | None:
    """Return a user of this machine that we are not."""
    return next((user.pw_name for user in pwd.getpwall() if user.pw_uid not in (0, os.geteuid())), None)


def agent_of(attack: Attack) -> Agent:
    agent = attack.agent(attack.agent_name)
    return dataclasses.replace(agent, user=somebody_else()) if agent.user else agent


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    found = engine_under_attack()
    try:
        found.start(
            tmp_path_factory.mktemp("engine"),
            QUOTES,
            [*map(agent_of, ATTACKS), *(Agent(symbol.lower()) for symbol in EXTRA), Agent("honest")],
        )
        yield found
    finally:
        found.stop()


@pytest.fixture
def brain(engine: Engine, tmp_path: Path) -> Callable[..., Brain]:
    """Make a Brain in the folder of an agent."""
    return lambda name, symbol: Brain(
        engine.intents, engine.intents / "agents" / name, tmp_path, name, symbol
    )
