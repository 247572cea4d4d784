"""What an approval uses up is written in one transaction with what used it: whenever the process dies, all of it or nothing.

The child is killed at each statement of the write-ahead transaction in turn, and once it is committed, before the order's
first byte. What a start would read then is compared with what was decided.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from hands.cli.check import ordinary_state
from hands.core.commands import AnyCommand, SubmitEntry
from hands.core.limits import read_limits
from hands.core.market import Market
from hands.core.state import State
from hands.core.units import Ns
from hands.core.vocab import Venue
from hands.journal.store import JournalStore
from hands.runtime.sequencer import Sequencer
from tests.runtime.conftest import NOW, Books

KILLED, SURVIVED = 9, 0
ENTITIES = ("ticket", "seen", "day", "accepted", "performance", "agent", "reason")


def decide_and_die(folder: Path, limits: Any, at: int) -> None:
    """Have a document approved; the process is gone at the `at`th statement, or with the first order handed out."""
    journal = JournalStore(folder / "journal.db")
    books = Books(ordinary_state(limits, "AAPL", NOW, "149.98,150.00", "100000"), journal)
    statements = iter(range(1, 1_000))

    def count(_sql: str) -> None:
        if next(statements) == at:
            os._exit(KILLED)

    def dispatch(commands: list[AnyCommand], _decided_ns: Ns, journaled_ns: Ns | None) -> None:
        assert journaled_ns is not None
        assert any(isinstance(command, SubmitEntry) for command in commands)
        os._exit(SURVIVED)

    async def play() -> None:
        document = books.document(intent_id="00000000-0000-4000-8000-000000000001")
        journal._db.set_trace_callback(count)
        Sequencer(books.state, journal, books.clock, dispatch).feed(document)

    asyncio.run(play())


def restored(folder: Path, limits: Any) -> State:
    journal = JournalStore(folder / "journal.db")
    try:
        state = State(limits, Market(("AAPL",)), Venue.SIM)
        state.restore((kind, key, data) for kind in ENTITIES for key, data in journal.load(kind))
        return state
    finally:
        journal.close()


def test_trap_19_an_approval_and_its_budget_are_written_as_one_whenever_the_process_dies(
    root: Path, tmp_path: Path
) -> None:
    limits = read_limits((root / "config" / "risk_limits.toml").read_text())
    ordinary_state(limits, "AAPL", NOW, "149.98,150.00", "100000")  # loads the kernel, once for all children
    ends = []
    for at in range(1, 100):
        folder = tmp_path / str(at)
        folder.mkdir(mode=0o700)
        child = os.fork()
        if not child:
            try:
                decide_and_die(folder, limits, at)
            finally:
                os._exit(1)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        state = restored(folder, limits)
        written = (len(state.tickets), state.day.trades_of(None), len(state.seen), len(state.accepted))
        assert written == ((1, 1, 1, 1) if ends[-1] == SURVIVED else (0, 0, 0, 0)), at
        if ends[-1] != KILLED:
            break
    assert ends == [KILLED] * (len(ends) - 1) + [SURVIVED]
    assert len(ends) > 8, "each of the event, the entities and the rows is a statement of its own"
