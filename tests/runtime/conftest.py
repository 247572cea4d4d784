"""A state with nothing wrong, a real journal, and a clock that the test moves."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hands.cli.check import ordinary_state
from hands.core.events import DocumentReceived
from hands.core.limits import read_limits
from hands.core.receipts import time_text
from hands.core.state import State
from hands.core.units import NS_PER_S, Ns
from hands.journal.store import JournalStore

NOW = Ns(1_790_000_000 * NS_PER_S)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> Ns:
        return self.now


class Books:
    """What a sequencer works on, all of it real."""

    def __init__(self, state: State, journal: JournalStore) -> None:
        self.state = state
        self.journal = journal
        self.clock = Clock()

    def document(self, **changes: Any) -> DocumentReceived:
        found = {
            "intent_id": str(uuid.uuid4()), "asset": "AAPL", "direction": "LONG", "trigger_price": 150,
            "take_profit": 155, "stop_loss": 148, "confidence": 0.7, "strategy_ref": "test/v1",
            "timestamp": time_text(self.clock()), "ttl_seconds": 15,
        } | changes  # fmt: skip
        now = self.clock()
        name = f"{found['intent_id']}.json"
        data = json.dumps(found).encode()
        return DocumentReceived(ts_ns=now, agent="default", name=name, data=data, file_event_ns=now)

    def written(self) -> list[str]:
        """The kinds of the committed events, in order."""
        return [kind for _, _, kind, _ in self.journal.events()]

    @contextmanager
    def refusing_disk(self) -> Iterator[None]:
        """While it lasts nothing can be written to the journal."""
        other = sqlite3.connect(self.journal.path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")
        finally:
            other.close()


@pytest.fixture
def books(root: Path, state_dir: Path) -> Iterator[Books]:
    limits = read_limits((root / "config" / "risk_limits.toml").read_text())
    journal = JournalStore(state_dir / "journal.db")
    yield Books(ordinary_state(limits, "AAPL", NOW, "149.98,150.00", "100000"), journal)
    journal.close()


async def _until(condition: Callable[[], object], what: str = "") -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (what is waited for has no event of its own)
            await asyncio.sleep(0.002)
    assert condition(), what


@pytest.fixture
def until() -> Callable[..., Any]:
    """Give the loop turns until a condition holds; bounded."""
    return _until
