"""What the command line reads from the ledger."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hands.journal import reader
from hands.journal.ledger import Ledger
from hands.journal.schema import encode_row
from hands.journal.store import JournalStore


@pytest.fixture
def ledger_path(tmp_path: Path) -> Path:
    """A ledger left behind by a session that has ended."""
    store = JournalStore(tmp_path / "journal.db")
    ledger = Ledger(tmp_path / "hands.db", store.path)
    ledger.start()
    rows = [
        (
            "intents",
            {
                "intent_id": "a",
                "kind": "intent",
                "verdict": "ACCEPTED",
                "code": "OK",
                "state": "OPEN",
                "decided_ns": 1,
            },
        ),
        (
            "intents",
            {
                "intent_id": "b",
                "kind": "intent",
                "verdict": "REJECTED",
                "code": "SLIPPAGE",
                "state": "REJECTED",
                "decided_ns": 2,
            },
        ),
        (
            "intents",
            {
                "intent_id": "c",
                "kind": "intent",
                "verdict": "ACCEPTED",
                "code": "OK",
                "state": "CLOSED",
                "decided_ns": 3,
            },
        ),
        (
            "intents",
            {
                "intent_id": "d",
                "kind": "close",
                "verdict": "ACCEPTED",
                "code": "OK",
                "state": "OPEN",
                "decided_ns": 4,
            },
        ),
        (
            "rejections",
            {"intent_id": "b", "code": "SLIPPAGE", "limit_value": "150.15", "observed": "151", "at_ns": 2},
        ),
        ("orders", {"client_order_id": "o1", "intent_id": "a", "created_ns": 1}),
        ("fills", {"execution_id": "e1", "intent_id": "a", "at_ns": 2}),
        ("states", {"at_ns": 1, "state": "HALTED", "reason": "operator", "event": "set"}),
        ("states", {"at_ns": 2, "state": "REDUCE_ONLY", "reason": "stale_feed", "event": "set"}),
        ("states", {"at_ns": 3, "state": "HALTED", "reason": "stale_feed", "event": "cleared"}),
    ]
    for seq, (table, row) in enumerate(rows, 1):
        store.outbox(seq, table, encode_row(row))
    store.commit()
    assert ledger.flush(10)
    ledger.close()
    store.close()
    return tmp_path / "hands.db"


def test_a_ledger_can_be_read_when_no_daemon_runs(ledger_path: Path):
    with closing(reader.open_ledger(ledger_path)) as db:
        assert [row["intent_id"] for row in reader.open_trades(db)] == ["a"]
        assert [row["intent_id"] for row in reader.recent_verdicts(db, limit=3)] == ["d", "c", "b"]
        assert [row["intent_id"] for row in reader.recent_verdicts(db, since_ns=4)] == ["d"]
        denied = reader.recent_verdicts(db)[2]
        assert (denied["limit_value"], denied["observed"]) == (150.15, 151)
        assert [row["at_ns"] for row in reader.states(db, limit=2)] == [3, 2]
        assert [(row["reason"], row["event"]) for row in reader.reasons(db)] == [("operator", "set")]
        assert [row["client_order_id"] for row in reader.rows(db, "orders")] == ["o1"]
        assert [row["execution_id"] for row in reader.rows(db, "fills")] == ["e1"]
        found = reader.intent(db, "c")
        assert found is not None
        assert found["state"] == "CLOSED"
        assert reader.intent(db, "nobody") is None
        with pytest.raises(ValueError, match="no view"):
            reader.rows(db, "sqlite_master")


def test_a_reader_cannot_write(ledger_path: Path):
    with (
        closing(reader.open_ledger(ledger_path)) as db,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        db.execute("DELETE FROM ledger_intents")


def test_no_ledger_an_empty_file_and_rubbish_are_told_apart_from_a_ledger(tmp_path: Path):
    (tmp_path / "empty").touch()
    (tmp_path / "rubbish").write_bytes(b"rubbish" * 100)
    for name in ("missing", "empty", "rubbish"):
        with pytest.raises(reader.LedgerUnreadable, match=name):
            reader.open_ledger(tmp_path / name)
    assert not (tmp_path / "missing").exists()
