"""Yesterday's journal: what an older version wrote is read, kept and gone on with."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hands.journal.chain import EPOCHS_MAX, NO_SEAL, SEAL_BYTES, Chain, chain_key
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
    again.close()


def _sealed(folder: Path, seq: int) -> Step:
    """Let a process append one step."""
    journal = JournalStore(folder / "journal.db")
    journal.append(seq, seq, "wake", b"{}")
    journal.commit()
    step = list(journal.steps())[-1]
    journal.close()
    return step


def _bears_its_seal(step: Step, chain: Chain, before: Step) -> bool:
    chain.advance(step.epoch)
    chain.head = before.seal
    body = sealed_body(step.seq, step.ts_ns, step.kind, step.payload, step.row, step.commands, step.epoch)
    return chain.seal(body) == step.seal


def test_a_key_that_is_lost_is_made_again_while_the_first_one_lies_there(tmp_path: Path) -> None:
    one = _sealed(tmp_path, 1)
    first = first_key(tmp_path)
    assert first is not None
    key_path(tmp_path, "steps").unlink()  # as a first start that was killed between two files leaves it
    two = _sealed(tmp_path, 2)
    assert first_key(tmp_path) == first
    assert _bears_its_seal(two, Chain(chain_key(first, b"steps")), one)


def test_without_any_key_a_chain_begins_anew_and_the_other_one_goes_on(tmp_path: Path) -> None:
    one = _sealed(tmp_path, 1)
    (tmp_path / FIRST_NAME).unlink()
    key_path(tmp_path, "steps").unlink()
    rows = key_path(tmp_path, "rows").read_text()
    two = _sealed(tmp_path, 2)
    first = first_key(tmp_path)
    assert first is not None
    assert _bears_its_seal(two, Chain(chain_key(first, b"steps")), one)
    assert key_path(tmp_path, "rows").read_text() == rows


def test_a_first_key_that_was_never_taken_away_is_kept_where_another_must_be_made(tmp_path: Path) -> None:
    _sealed(tmp_path, 1)
    former = (tmp_path / FIRST_NAME).read_text()
    key_path(tmp_path, "steps").unlink()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.execute("UPDATE events SET epoch = ?", (EPOCHS_MAX + 1,))  # too far for the key to be made again
        db.commit()
    _sealed(tmp_path, 2)
    assert (tmp_path / FIRST_NAME).read_text() != former
    (kept,) = tmp_path.glob(f"{FIRST_NAME}.*")
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == (former, 0o600)


@pytest.mark.parametrize(
    "text",
    ["", "5", "x y", "5 abcd", f"5 {'ab' * 100}", f"-5 {'ab' * 32}", f"{2**70} {'ab' * 32}", "a folder"],
)
def test_a_key_that_is_none_keeps_nobody_from_starting(tmp_path: Path, text: str) -> None:
    _sealed(tmp_path, 1)
    for name in (FIRST_NAME, "steps.key", "rows.key"):
        path = tmp_path / name
        path.unlink()
        path.mkdir() if text == "a folder" else path.write_text(text)
    assert len(_sealed(tmp_path, 2).seal) == SEAL_BYTES
    assert len(Keys(tmp_path).open("rows", 3, bytes(SEAL_BYTES)).seal(b"")) == SEAL_BYTES


@pytest.mark.parametrize(
    ("column", "value"), [("epoch", 10**13), ("epoch", "x"), ("epoch", -3), ("seal", "x"), ("seal", b"x")]
)
def test_a_last_step_that_was_changed_keeps_nobody_from_starting(
    tmp_path: Path, column: str, value: object
) -> None:
    _sealed(tmp_path, 1)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.execute(f"UPDATE events SET {column} = ?", (value,))
        db.commit()
    step = _sealed(tmp_path, 2)
    assert (step.epoch, len(step.seal)) == (0, SEAL_BYTES)


def test_keys_are_for_nobody_else_and_the_first_can_be_taken_away(tmp_path: Path) -> None:
    JournalStore(tmp_path / "journal.db").close()
    for name in (FIRST_NAME, "steps.key", "rows.key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    (tmp_path / FIRST_NAME).unlink()
    keys = Keys(tmp_path)
    assert first_key(tmp_path) is None
    assert len(keys.open("rows", 0, NO_SEAL).seal(b"")) == SEAL_BYTES


def test_an_erased_key_is_not_to_be_had_again() -> None:
    chain = Chain(bytes(32))
    chain.seal(b"x")
    assert chain.ratchet()
    assert not chain.ratchet(), "a key that sealed nothing stays"
    with pytest.raises(ValueError, match="erased"):
        chain.advance(0)
