"""A session on a rig's clock, with a market that moves all the time, replayed from its record; and how the command line says it."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hands.cli.main import app
from hands.journal.reader import open_ledger
from hands.replay import replay
from tests.journal.recorded import record
from tests.replay.markets import limits_file
from tests.rig.stage import Stage
from tests.rig.story import story
from tests.storms.storm import Brain, Market

SYMBOLS = ("SOL/USD", "AAPL", "BTC/USD", "SPY")


async def thinks(made: Stage, market: Market, brain: Brain) -> None:
    for symbol in (*SYMBOLS, *SYMBOLS):
        brain.think_of(symbol)
        await asyncio.sleep(3.7)


@pytest.fixture(scope="module", params=[1, 8])
def state(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("again") / "var", thinks, seed=request.param)


def test_a_session_in_a_moving_market_comes_to_the_same(state: Path) -> None:
    found = replay(state, state)
    with closing(open_ledger(state / "hands.db")) as ledger:
        live = story(ledger)
    assert story(found.ledger) == live
    assert len(live["verdicts"]) >= len(SYMBOLS)
    assert len(live["fills"]) >= 2
    assert found.counters["documents_before"] == found.counters["documents_after"] == 0


def test_the_command_says_what_it_took_from_the_record(state: Path, tmp_path: Path) -> None:
    def run(*more: object) -> str:
        words = ["replay", str(state), "--intents", str(state), *map(str, more)]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "latency as recorded, median 0." in run()
    found = json.loads(run("--json"))
    assert (found["latency_from"], found["left_out"], found["opening_equity"]) == ("record", [], "100000")
    named = json.loads(run("--json", "--latency-ms", 7, "--equity", 50_000))
    assert (named["latency_from"], named["latency_ms"], named["opening_equity"]) == ("given", 7, "50000")
    tight = limits_file(tmp_path, max_position_size=0.05)
    other = json.loads(run("--json", "--vs", tight))
    assert (other["before"]["limits"], other["after"]["limits"]) == ("on record", str(tight))
    assert other["before"]["digest"] == found["digest"] != other["after"]["digest"]
