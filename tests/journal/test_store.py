"""The journal: what is committed is there after anything, what is not is not torn."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from hands.journal import checkpointer, log_size
from hands.journal import store as store_module
from hands.journal.lock import StateDirInUse
from hands.journal.reader import open_read_only
from hands.journal.store import JournalError, JournalStore, StateDirBoundElsewhere


@pytest.fixture
def journal(tmp_path: Path):
    store = JournalStore(tmp_path / "journal.db")
    yield store
    store.close()


def outbox_rows(store: JournalStore) -> Iterator[tuple[int, int, str, bytes]]:
    """What the projector will find."""
    return store._db.execute("SELECT id, seq, tbl, row FROM outbox ORDER BY id")


def reopened(store: JournalStore) -> JournalStore:
    store.close()
    return JournalStore(store.path)


def test_committed_events_state_and_outbox_are_there_after_reopening(journal: JournalStore):
    journal.append(1, 100, "wake", b"a")
    journal.append(2, 200, "document", b"\x00\xff")
    journal.put("trade", "AAPL", b"1")
    journal.put("trade", "AAPL", b"2")
    journal.put("trade", "SPY", b"3")
    journal.put("day", "count", b"4")
    journal.outbox(2, "intents", b"{}")
    assert journal.pending
    journal.commit()
    assert not journal.pending
    journal.delete("trade", "SPY")
    journal.delete("trade", "never seen")
    journal.commit()

    again = reopened(journal)
    assert list(again.events()) == [(1, 100, "wake", b"a"), (2, 200, "document", b"\x00\xff")]
    assert list(again.events(2)) == [(2, 200, "document", b"\x00\xff")]
    assert list(again.load("trade")) == [("AAPL", b"2")]
    assert list(again.load("day")) == [("count", b"4")]
    assert list(outbox_rows(again)) == [(1, 2, "intents", b"{}")]
    assert again.last_seq() == 2
    again.close()


def test_a_put_after_a_delete_in_the_same_turn_counts_and_the_other_way_round(journal: JournalStore):
    journal.delete("trade", "A")
    journal.put("trade", "A", b"1")
    journal.put("trade", "B", b"1")
    journal.delete("trade", "B")
    journal.commit()
    assert list(journal.load("trade")) == [("A", b"1")]


def test_commit_without_anything_pending_writes_nothing(journal: JournalStore):
    before = journal._db.total_changes
    journal.commit()
    assert journal._db.total_changes == before


def test_what_was_not_committed_is_written_by_close(journal: JournalStore):
    journal.append(1, 1, "wake", b"")
    again = reopened(journal)
    assert again.last_seq() == 1
    again.close()


def test_a_sequence_number_that_does_not_grow_is_our_own_bug(journal: JournalStore):
    journal.append(5, 1, "wake", b"")
    for seq in (5, 4):
        with pytest.raises(ValueError, match="only grow"):
            journal.append(seq, 1, "wake", b"")
    journal.commit()
    assert [row[0] for row in journal.events()] == [5]


def test_only_the_owner_may_read_the_journal_its_log_and_a_file_that_was_open_to_others(tmp_path: Path):
    path = tmp_path / "journal.db"
    path.touch(0o644)
    path.chmod(0o644)
    store = JournalStore(path)
    store.append(1, 1, "wake", b"")
    store.commit()
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600, name
    store.close()


@pytest.mark.parametrize(("durability", "synchronous"), [("process", 1), ("disk", 2)])
def test_durability_is_what_was_asked_for_and_commits_never_checkpoint(
    tmp_path: Path, durability, synchronous
):
    store = JournalStore(tmp_path / "journal.db", durability=durability)
    assert store._db.execute("PRAGMA synchronous").fetchone()[0] == synchronous
    assert store._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert store._db.execute("PRAGMA wal_autocheckpoint").fetchone()[0] == 0
    store.close()


def test_a_second_opener_is_told_which_process_holds_the_directory(journal: JournalStore):
    with pytest.raises(StateDirInUse, match=str(os.getpid())) as refusal:
        JournalStore(journal.path)
    assert refusal.value.pid == os.getpid()
    again = reopened(journal)
    again.close()


def test_the_lock_goes_with_the_process_that_held_it(tmp_path: Path):
    code = (
        "import sys, time, pathlib; from hands.journal.store import JournalStore; "
        "s = JournalStore(pathlib.Path(sys.argv[1])); print('ready', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "journal.db")], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        with pytest.raises(StateDirInUse) as refusal:
            JournalStore(tmp_path / "journal.db")
        assert refusal.value.pid == child.pid
        child.kill()
    JournalStore(tmp_path / "journal.db").close()


def test_a_failed_open_gives_the_lock_back(tmp_path: Path):
    (tmp_path / "journal.db").write_bytes(b"not a database" * 100)
    for _ in range(2):
        with pytest.raises(JournalError, match="cannot be used"):
            JournalStore(tmp_path / "journal.db")


def test_a_newer_journal_is_refused_and_left_alone(journal: JournalStore):
    journal._db.execute(f"PRAGMA user_version = {store_module.SCHEMA_VERSION + 1}")
    journal.close()
    before = journal.path.read_bytes()
    with pytest.raises(JournalError, match="newer Hands"):
        JournalStore(journal.path)
    assert journal.path.read_bytes() == before


def test_another_programs_database_is_refused(tmp_path: Path):
    db = sqlite3.connect(tmp_path / "journal.db")
    db.execute("CREATE TABLE precious (x)")
    db.close()
    with pytest.raises(JournalError, match="not a journal"):
        JournalStore(tmp_path / "journal.db")


def test_a_symlink_in_the_journals_place_is_not_followed(tmp_path: Path):
    (tmp_path / "elsewhere").touch()
    (tmp_path / "journal.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match="cannot be opened"):
        JournalStore(tmp_path / "journal.db")


def test_a_state_directory_is_bound_at_first_use_to_venue_host_and_account(journal: JournalStore):
    journal.bind(venue="paper", host="paper-api.alpaca.markets", account="PA1")
    again = reopened(journal)
    again.bind(venue="paper", host="paper-api.alpaca.markets", account="PA1")
    with pytest.raises(StateDirBoundElsewhere, match=r"PA1.*PA2"):
        again.bind(venue="paper", host="paper-api.alpaca.markets", account="PA2")
    assert again.meta_get("bound_account") == "PA1"
    assert again.meta_get("unheard of") is None
    again.close()


def test_a_directory_that_is_bound_is_held_against_without_a_write(journal: JournalStore):
    """A start with a full disk: what is open needs us all the same."""
    journal.bind(venue="paper", account="PA1")
    journal._db.execute("PRAGMA query_only = 1")
    journal.bind(venue="paper", account="PA1")
    with pytest.raises(StateDirBoundElsewhere):
        journal.bind(venue="paper", account="PA2")
    with pytest.raises(JournalError, match="not written"):
        journal.bind(host="elsewhere")
    journal._db.execute("PRAGMA query_only = 0")


@pytest.mark.parametrize("part", ["", "-wal"])
@pytest.mark.parametrize("harm", ["removed", "replaced", "moved"])
def test_a_journal_whose_files_were_taken_away_is_gone(journal: JournalStore, part: str, harm: str):
    journal.append(1, 1, "wake", b"x" * 10_000)
    journal.commit()
    journal._checkpointer._checkpoint()
    assert not journal.is_gone
    path = Path(f"{journal.path}{part}")
    data = path.read_bytes()
    path.rename(path.with_name("elsewhere"))
    if harm == "replaced":
        path.write_bytes(data)
    if harm == "removed":
        path.with_name("elsewhere").unlink()
    assert journal.is_gone


def test_a_journal_that_was_cut_is_gone_and_one_that_grew_is_not(journal: JournalStore):
    for seq in (1, 2, 3):
        journal.append(seq, seq, "wake", b"x" * 50_000)
        journal.commit()
        journal._checkpointer._checkpoint()
        assert not journal.is_gone
    os.truncate(journal.path, journal.path.stat().st_size - 4096)
    assert journal.is_gone


def test_a_log_that_was_cut_is_gone_unless_it_was_cut_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(log_size, "TOLD", 200_000)
    journal = JournalStore(tmp_path / "journal.db")
    log = Path(f"{journal.path}-wal")
    journal.append(1, 1, "wake", b"x" * 500_000)
    journal.commit()
    assert not journal.is_gone
    journal._checkpointer._checkpoint()
    journal.append(2, 2, "wake", b"")
    journal.commit()
    assert log.stat().st_size == 100_000, "it has begun anew"
    assert not journal.is_gone
    os.truncate(log, 4096)
    assert journal.is_gone
    journal.close()


def test_a_full_disk_loses_nothing_once_there_is_room_again(journal: JournalStore):
    journal.append(1, 1, "wake", b"x")
    journal.commit()
    journal._db.execute("PRAGMA max_page_count = 1")  # SQLite's own full disk
    journal.append(2, 2, "document", b"y" * 100_000)
    journal.put("trade", "AAPL", b"z" * 100_000)
    journal.outbox(2, "intents", b"{}")
    for _ in range(3):
        with pytest.raises(JournalError, match="full"):
            journal.commit()
        assert journal.pending
    assert [row[0] for row in journal.events()] == [1]
    assert list(journal.load("trade")) == []
    journal._db.execute("PRAGMA max_page_count = 1000000")
    journal.append(3, 3, "wake", b"")
    journal.commit()
    assert [row[0] for row in journal.events()] == [1, 2, 3]
    assert list(journal.load("trade")) == [("AAPL", b"z" * 100_000)]
    assert [row[2] for row in outbox_rows(journal)] == ["intents"]


def test_a_journal_that_is_locked_is_waited_for_once_and_then_only_looked_at(journal: JournalStore):
    """Trap 26: the engine's thread must not stand for a tenth of a second at every attempt."""

    def patience_ms() -> int:
        return journal._db.execute("PRAGMA busy_timeout").fetchone()[0]

    assert patience_ms() == 100
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal.append(1, 1, "wake", b"")
    for _ in range(2):
        with pytest.raises(JournalError, match="locked"):
            journal.commit()
        assert patience_ms() == 0
    other.execute("ROLLBACK")
    other.close()
    journal.commit()
    assert patience_ms() == 100
    assert [row[0] for row in journal.events()] == [1]


def test_a_write_that_the_system_refuses_is_reported_and_never_partly_applied(tmp_path: Path):
    """A real failing write(2), by a file size limit, in a process of its own."""
    code = textwrap.dedent("""
        import pathlib, resource, signal, sys
        from hands.journal.store import JournalError, JournalStore
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store = JournalStore(pathlib.Path(sys.argv[1]))
        store.append(1, 1, "wake", b"")
        store.commit()
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, resource.RLIM_INFINITY))
        for seq in range(2, 200):
            store.append(seq, 1, "document", b"x" * 2000)
            try:
                store.commit()
            except JournalError as error:
                print("refused", seq, error)
                break
        written = [row[0] for row in store.events()]
        assert written == list(range(1, seq)), (seq, written)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        store.commit()
        assert [row[0] for row in store.events()] == list(range(1, seq + 1))
        store.close()
        print("whole")
    """)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "journal.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "refused" in done.stdout
    assert "whole" in done.stdout


def test_trap_26_somebody_elses_write_lock_costs_a_bounded_wait_and_no_row(journal: JournalStore):
    intruder = sqlite3.connect(journal.path, isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    journal.append(1, 1, "wake", b"")
    with pytest.raises(JournalError, match="locked"):
        journal.commit()
    intruder.execute("ROLLBACK")
    intruder.close()
    journal.commit()
    assert [row[0] for row in journal.events()] == [1]


def test_the_backlog_of_a_refusing_disk_is_bounded(journal: JournalStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store_module, "BACKLOG_MAX", 3)
    for seq in (1, 2):
        journal.append(seq, 1, "wake", b"")
    journal.outbox(2, "intents", b"{}")
    with pytest.raises(JournalError, match="takes no more"):
        journal.append(3, 1, "wake", b"")
    journal.commit()
    journal.append(3, 1, "wake", b"")


def test_a_checkpoint_moves_everything_and_refresh_pays_for_the_restart(journal: JournalStore):
    for seq in range(1, 300):
        journal.append(seq, seq, "wake", b"x" * 1000)
        journal.commit()
    wal = journal.path.with_name("journal.db-wal")
    size = wal.stat().st_size
    journal._checkpointer._checkpoint()
    assert journal._checkpointer.restart_due
    assert journal.checkpoint_fault is None
    journal.refresh()
    assert not journal._checkpointer.restart_due
    for seq in range(300, 400):
        journal.append(seq, seq, "wake", b"x" * 1000)
        journal.commit()
    assert wal.stat().st_size == size, "the log is written over from its start"
    assert len(list(journal.events())) == 399


@pytest.mark.parametrize(
    ("passes", "is_whole"),
    [
        ([(0, 100, 100), (0, 110, 110), (0, 110, 110)], True),
        ([(0, 100, 90), (0, 100, 100), (0, 100, 100)], True),
        ([(0, n, n) for n in range(checkpointer.PASSES)], False),
        ([(0, 100, 90)] * checkpointer.PASSES, False),
    ],
)
def test_a_checkpoint_goes_on_until_nothing_was_committed_during_a_pass(
    journal: JournalStore, monkeypatch: pytest.MonkeyPatch, passes: list[tuple[int, int, int]], is_whole: bool
):
    """What SQLite says of a pass is what there was when it began; a log that is moved up to there does not begin anew."""
    left = iter(passes)
    db = SimpleNamespace(execute=lambda _: SimpleNamespace(fetchone=lambda: next(left)), close=lambda: None)
    fake = SimpleNamespace(connect=lambda *_, **__: db, Error=sqlite3.Error)
    monkeypatch.setattr(checkpointer, "sqlite3", fake)
    journal._checkpointer._checkpoint()
    assert next(left, None) is None
    assert journal._checkpointer.restart_due is is_whole
    monkeypatch.undo()


def test_the_outbox_is_trimmed_in_small_steps_and_keeps_what_is_new_or_not_projected(
    journal: JournalStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(store_module, "OUTBOX_KEPT", 10)
    monkeypatch.setattr(store_module, "TRIM_BATCH", 5)
    assert journal.trim_outbox(100) == 0
    for seq in range(1, 31):
        journal.append(seq, seq, "wake", b"")
        journal.outbox(seq, "states", b"{}")
    assert journal.trim_outbox(8) == 0, "what is pending goes first"
    journal.commit()
    assert journal.trim_outbox(8) == 5
    assert journal.trim_outbox(8) == 3
    assert journal.trim_outbox(8) == 0
    assert next(outbox_rows(journal))[0] == 9
    while journal.trim_outbox(30):
        pass
    assert [row[0] for row in outbox_rows(journal)] == list(range(21, 31))


def test_a_journal_can_be_read_while_it_is_being_written(journal: JournalStore):
    for seq in range(1, 11):
        journal.append(seq, seq, "wake", b"")
    journal.commit()
    with closing(open_read_only(journal.path)) as db:
        reading = db.execute("SELECT seq FROM events WHERE seq >= 3 ORDER BY seq")
        assert next(reading) == (3,)
        journal.append(11, 11, "wake", b"")
        journal.commit()
        assert [seq for (seq,) in reading] == list(range(4, 11))


WRITER = """
import pathlib, sys
from hands.journal.store import JournalStore
store = JournalStore(pathlib.Path(sys.argv[1]))
seq = store.last_seq()
while True:
    for _ in range(3):
        seq += 1
        store.append(seq, seq, "wake", str(seq).encode() * 50)
        store.outbox(seq, "intents", str(seq).encode())
    store.put("trade", "last", str(seq).encode())
    store.put("trade", str(seq), b"x")
    store.delete("trade", str(seq - 3))
    store.commit()
    if seq % 300 == 0:
        store._checkpointer._checkpoint()
    print(seq, flush=True)
"""


def test_sigkill_at_any_moment_leaves_every_committed_row_and_no_torn_one(tmp_path: Path):
    path = tmp_path / "journal.db"
    rng = random.Random(7)
    reported = 0
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for _ in range(
                rng.randrange(1, 400)
            ):  # killed after this many commits, at some point of the next ones
                reported = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            for line in child.stdout.read().splitlines():
                reported = int(line)
        store = JournalStore(path)
        last = store.last_seq()
        assert last >= reported, "a commit that was reported is missing"
        assert last % 3 == 0, "half of a turn"
        assert [row[0] for row in store.events()] == list(range(1, last + 1))
        assert all(row[3] == str(row[0]).encode() * 50 for row in store.events())
        assert [row[1] for row in outbox_rows(store)] == list(range(1, last + 1))
        assert dict(store.load("trade")) == {"last": str(last).encode(), str(last): b"x"}
        store.close()


# --- a log that is not tidied up, and a file that cannot be read ------------------------------------------------


def test_a_reader_of_the_journal_lets_its_log_grow_which_is_said_and_costs_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(log_size, "TOLD", 300_000)
    journal = JournalStore(tmp_path / "journal.db")
    journal.append(1, 1, "wake", b"")
    journal.commit()
    holding = sqlite3.connect(journal.path, isolation_level=None)
    holding.execute("BEGIN")
    assert holding.execute("SELECT count(*) FROM events").fetchone()[0] == 1
    for seq in range(2, 300):
        journal.append(seq, seq, "wake", b"x" * 1000)
        journal.commit()
        journal._checkpointer._checkpoint()
        journal.refresh()
    assert "journal.db: its log has grown" in str(journal.fault)
    holding.execute("COMMIT")
    holding.close()
    journal._checkpointer._checkpoint()
    journal.refresh()
    assert journal.fault is None
    assert len(list(journal.events())) == 299
    journal.close()


def test_a_checkpoint_that_stands_is_said_and_holds_up_neither_commits_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    go_on, connect = threading.Event(), sqlite3.connect
    journal = JournalStore(tmp_path / "journal.db")
    monkeypatch.setattr(checkpointer, "STALLED_S", 0.05)
    monkeypatch.setattr(checkpointer, "STOP_WITHIN_S", 0.1)
    monkeypatch.setattr(checkpointer, "COMMITS_PER_CHECKPOINT", 1)

    def stands(*arguments: object, **options: object) -> sqlite3.Connection:
        assert go_on.wait(20)
        return connect(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(checkpointer.sqlite3, "connect", stands)
    try:
        deadline = time.monotonic() + 10
        seq = 0
        while "has been under way" not in str(journal.checkpoint_fault):
            seq += 1
            journal.append(seq, seq, "wake", b"")
            journal.commit()
            assert time.monotonic() < deadline
        began = time.monotonic()
        journal.close()
        assert time.monotonic() - began < 5
    finally:
        go_on.set()
        monkeypatch.undo()
        journal._checkpointer.join(10)
    with closing(JournalStore(tmp_path / "journal.db")) as again:
        assert again.last_seq() == seq


@pytest.mark.parametrize("damage", ["header", "schema", "rubbish"])
def test_a_journal_that_cannot_be_read_is_refused_with_the_way_out_and_left_alone(
    tmp_path: Path, damage: str
):
    path = tmp_path / "journal.db"
    with closing(JournalStore(path)) as journal:
        for seq in range(1, 200):
            journal.append(seq, seq, "wake", b"x" * 500)
        journal.commit()
    data = bytearray(path.read_bytes())
    match damage:
        case "header":
            data[16:32] = b"\xff" * 16
        case "schema":
            data[100:4096] = os.urandom(3996)
        case _:
            data[:] = b"rubbish" * 1000
    path.write_bytes(data)
    with pytest.raises(JournalError, match="Move the whole state directory aside"):
        JournalStore(path)
    assert path.read_bytes() == data


def test_a_journal_that_is_only_locked_is_not_given_up(tmp_path: Path):
    path = tmp_path / "journal.db"
    JournalStore(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalError, match=r"locked.*Keep the directory: its records are needed"):
            JournalStore(path)
    JournalStore(path).close()


def test_steps_are_trimmed_in_small_batches_and_the_last_one_stays(
    journal: JournalStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(store_module, "TRIM_STEPS", 4)
    for seq in range(1, 11):
        journal.append(seq, seq, "wake", b"{}")
    assert journal.trim_steps(10) == 0, "what is pending goes first"
    journal.commit()
    assert journal.trim_steps(3) == 3
    assert [step.seq for step in journal.steps()] == list(range(4, 11))
    assert journal.trim_steps(10) == 4, "one batch at a time"
    assert journal.trim_steps(10) == 2
    assert journal.trim_steps(10) == 0
    assert [step.seq for step in journal.steps()] == [10], "the chain goes on from it"
    assert reopened(journal).last_seq() == 10
