"""Yesterday's journal: what an older version wrote is read, kept and gone on with."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hands.journal.chain import NO_SEAL, SEAL_BYTES, Chain, chain_key
from hands.journal.keys import FIRST_NAME, Keys, first_key, key_path
from hands.journal.steps import Step, sealed_body
from hands.journal.store import APPLICATION_ID, SCHEMA_VERSION, JournalStore

SCHEMA_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE events (seq INTEGER PRIMARY KEY, ts_ns INTEGER NOT NULL, kind TEXT NOT NULL, payload BLOB NOT NULL);
CREATE TABLE state (entity TEXT, key TEXT, doc BLOB NOT NULL, PRIMARY KEY (entity, key)) WITHOUT ROWID;
CREATE TABLE outbox (id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, tbl TEXT NOT NULL, row BLOB NOT NULL);
"""
"""As version 1 made it, to the letter."""


@pytest.fixture
def yesterdays(tmp_path: Path) -> Path:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(SCHEMA_1)
        db.execute("INSERT INTO meta VALUES ('bound_account', 'PA1')")
        db.executemany("INSERT INTO events VALUES (?, ?, 'wake', ?)", [(1, 10, b"{}"), (7, 20, b"[]")])
        db.execute("INSERT INTO state VALUES ('ticket', 'a', x'7b7d')")
        db.execute("INSERT INTO outbox (seq, tbl, row) VALUES (7, 'alerts', x'7b7d')")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        db.commit()
    return path


def test_a_journal_of_schema_1_is_opened_and_nothing_of_it_is_lost(yesterdays: Path) -> None:
    journal = JournalStore(yesterdays)
    assert journal.last_seq() == 7
    assert list(journal.steps()) == [Step(1, 10, "wake", b"{}"), Step(7, 20, "wake", b"[]")]
    assert list(journal.load("ticket")) == [("a", b"{}")]
    assert journal.meta_get("bound_account") == "PA1"
    assert journal._db.execute("SELECT count(*) FROM outbox").fetchone() == (1,)
    assert journal._db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    journal.close()


def test_the_chain_begins_after_what_was_never_sealed(yesterdays: Path) -> None:
    journal = JournalStore(yesterdays)
    journal.append(8, 30, "wake", b"{}", 5, b"[]")
    journal.close()
    first = first_key(yesterdays.parent)
    assert first is not None
    body = sealed_body(8, 30, "wake", b"{}", 5, b"[]", 0)
    seal = Chain(chain_key(first, b"steps")).seal(body)
    again = JournalStore(yesterdays)
    assert list(again.steps(8)) == [Step(8, 30, "wake", b"{}", 5, b"[]", 0, seal)]
    again.close()


def test_opened_twice_it_is_migrated_once(yesterdays: Path) -> None:
    for _ in range(2):
        JournalStore(yesterdays).close()
    journal = JournalStore(yesterdays)
    assert [step.seq for step in journal.steps()] == [1, 7]
    journal.close()


def test_a_chain_goes_on_over_restarts_and_over_keys_thrown_away(tmp_path: Path) -> None:
    seq = 0
    for _ in range(3):
        journal = JournalStore(tmp_path / "journal.db")
        for _ in range(3):
            seq += 1
            journal.append(seq, seq, "wake", b"{}")
            journal.keys.store("steps", *journal.ratchet())
        journal.close()
    first = first_key(tmp_path)
    assert first is not None
    chain = Chain(chain_key(first, b"steps"))
    journal = JournalStore(tmp_path / "journal.db")
    steps = list(journal.steps())
    assert [step.epoch for step in steps] == list(range(9))
    for step in steps:
        chain.advance(step.epoch)
        body = sealed_body(step.seq, step.ts_ns, step.kind, step.payload, step.row, step.commands, step.epoch)
        assert chain.seal(body) == step.seal
    journal.close()


def test_a_key_that_was_not_stored_in_time_is_caught_up_with(tmp_path: Path) -> None:
    journal = JournalStore(tmp_path / "journal.db")
    for seq in (1, 2, 3):
        journal.append(seq, seq, "wake", b"{}")
        journal.ratchet()  # and nobody stores it
    journal.close()
    again = JournalStore(tmp_path / "journal.db")
    again.append(4, 4, "wake", b"{}")
    again.commit()
    assert [step.epoch for step in again.steps()] == [0, 1, 2, 2]
    assert not again.keys.is_new
    again.close()


def test_without_its_key_a_chain_begins_anew_and_says_so(tmp_path: Path) -> None:
    journal = JournalStore(tmp_path / "journal.db")
    assert journal.keys.is_new
    journal.append(1, 1, "wake", b"{}")
    journal.close()
    key_path(tmp_path, "steps").unlink()
    again = JournalStore(tmp_path / "journal.db")
    assert again.keys.is_new
    assert again._chain.head == NO_SEAL
    again.close()


def test_keys_are_for_nobody_else_and_the_first_can_be_taken_away(tmp_path: Path) -> None:
    JournalStore(tmp_path / "journal.db").close()
    for name in (FIRST_NAME, "steps.key", "rows.key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    (tmp_path / FIRST_NAME).unlink()
    keys = Keys(tmp_path)
    assert first_key(tmp_path) is None
    assert len(keys.open("rows", 0, NO_SEAL).seal(b"")) == SEAL_BYTES
    assert not keys.is_new


def test_an_erased_key_is_not_to_be_had_again() -> None:
    chain = Chain(bytes(32))
    chain.seal(b"x")
    assert chain.ratchet()
    assert not chain.ratchet(), "a key that sealed nothing stays"
    with pytest.raises(ValueError, match="erased"):
        chain.advance(0)
