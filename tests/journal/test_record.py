"""The record read as one: while it grows, after its end, after a crash; nothing is missed and nothing is given twice."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from hands.core.commands import Alert
from hands.core.events import DocumentReceived
from hands.core.ledger_rows import alert_record
from hands.core.rows import ROW
from hands.core.units import Ns
from hands.journal.keys import FIRST_NAME, read_first_key
from hands.journal.record import NoRecord, Record, arrivals, session_rows
from hands.journal.ring import Ring, ring_path
from hands.journal.schema import encode_row
from hands.journal.segments import folder_of, segment_paths
from hands.journal.store import APPLICATION_ID
from hands.journal.verification import NoSession
from hands.runtime.proof import verify
from tests.journal.recorded import record
from tests.journal.test_migration import SCHEMA_1
from tests.rig.stage import Stage
from tests.storms.storm import Brain, Market


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("record") / "var")


def all_rows(found: Record, session: int) -> np.ndarray:
    rows, chunks, row = found.rows(session), [], 0
    while (chunk := rows.at(row, row + 37)) is not None:
        chunks.append(chunk.copy())
        row += len(chunk)
    return np.concatenate(chunks) if chunks else np.zeros(0, ROW)


# --- at any moment ---------------------------------------------------------------------------------------------------


def test_at_any_moment_of_a_life_all_that_is_committed_is_there_once(tmp_path: Path) -> None:
    seen: list[tuple[list[int], list[tuple[Any, ...]]]] = []

    async def grows(made: Stage, market: Market, brain: Brain) -> None:
        for n in range(8):
            brain.think_of("AAPL")
            await asyncio.sleep(3.3)
            if n == 4:
                made.engine.daemon._sequencer.snapshot()
            with Record(made.engine.state) as found:
                journal = made.engine.journal
                assert found.last_seq == journal.last_seq() - len(journal._steps)
                seen.append(([step.seq for step in found.steps()], all_rows(found, 1).tolist()))
                assert not found.faults

    with Record(record(tmp_path / "var", grows)) as end:
        rows = all_rows(end, 1).tolist()
        assert len(end.segments) == 2
    assert [steps for steps, _ in seen] == [list(range(1, len(steps) + 1)) for steps, _ in seen]
    assert [had for _, had in seen] == [rows[: len(had)] for _, had in seen]
    assert len({len(had) for _, had in seen}) == len(seen), "it grew all the time"


def test_what_moved_after_it_was_opened_is_found_where_it_went(tmp_path: Path) -> None:
    async def moves(made: Stage, market: Market, brain: Brain) -> None:
        brain.think_of("AAPL")
        await asyncio.sleep(3)
        with Record(made.engine.state) as found:
            last, waiting = found.last_seq, len(list(found._steps_in_journal(0, found.last_seq)))
            assert waiting > 20
            await asyncio.sleep(25)
            with closing(sqlite3.connect(made.engine.journal.path)) as db:
                assert db.execute("SELECT min(seq) FROM events").fetchone()[0] > last, "all of it was trimmed"
            steps = list(found.steps())
            assert [step.seq for step in steps] == list(range(1, last + 1))
            assert len(all_rows(found, 1)) >= steps[-1].row
            assert not found.faults

    record(tmp_path / "var", moves)


def _files(state: Path) -> dict[str, bytes]:
    """Return what is there, but SQLite's index of its log, which every reader makes anew."""
    files = (path for path in state.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {path.name: path.read_bytes() for path in files}


def test_after_a_crash_what_lies_in_the_ring_and_in_the_journal_is_read(tmp_path: Path) -> None:
    async def dies(made: Stage, market: Market, brain: Brain) -> None:
        brain.think_of("AAPL")
        await asyncio.sleep(4)
        made.engine.die()

    state = record(tmp_path / "var", dies, stops=False)
    before = _files(state)
    with Record(state) as found:
        (session,) = found.sessions()
        steps, rows = list(found.steps()), all_rows(found, session.number)
        assert len(steps) == found.last_seq > 30
        assert len(rows) >= steps[-1].row > 20
        assert not any(segment.rows(0) and list(segment.rows(0)) for segment in found.segments), (
            "all in the ring"
        )
    verdict = verify(state)
    assert verdict.is_good
    assert verdict.sessions[0].tally.rows == steps[-1].row
    assert _files(state) == before, "it was only read"


def test_a_ring_of_another_start_of_the_machine_is_lost_and_told(tmp_path: Path) -> None:
    async def dies(made: Stage, market: Market, brain: Brain) -> None:
        brain.think_of("AAPL")
        await asyncio.sleep(4)
        made.engine.die()

    state = record(tmp_path / "var", dies, stops=False)
    path = ring_path(folder_of(state), 1)
    data = bytearray(path.read_bytes())
    data[24] ^= 1  # the boot's number
    path.write_bytes(data)
    verdict = verify(state)
    assert verdict.is_good, "a crash of the machine is nobody's fault"
    assert "another start of the machine" in verdict.losses[0]
    (gap,) = verdict.sessions[0].gaps
    assert gap.is_at_end


def test_a_torn_end_of_the_newest_segment_is_no_fault_and_a_broken_middle_is(
    tmp_path: Path, whole: Path
) -> None:
    for number, is_good in ((-1, True), (0, False)):
        state = tmp_path / f"var{number}"
        shutil.copytree(whole, state)
        (state / "anchors").unlink()
        path = segment_paths(folder_of(state))[number]
        path.write_bytes(path.read_bytes()[:-5])
        assert verify(state).is_good is is_good


def test_rows_that_are_released_while_they_are_copied_are_left_out(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    folder.mkdir()
    ring = Ring.create(ring_path(folder, 1), 1, 8)
    rows = np.zeros(8, ROW)
    rows["trade_id"] = range(8)
    ring.offer(rows, 8)
    ring.release(3)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.execute(_OLD_EVENTS)
        db.execute("PRAGMA user_version = 1")
        db.execute("INSERT INTO events VALUES (1, 1, 'began', x'')")
        db.commit()
    with Record(tmp_path) as found:
        blocks = list(found._blocks(1))
    assert [(first, rows["trade_id"].tolist()) for first, rows in blocks] == [(3, [3, 4, 5, 6, 7])]


# --- what others ask for ---------------------------------------------------------------------------------------------


def test_all_rows_of_all_sessions_come_with_their_symbols(whole: Path) -> None:
    market = session_rows(whole)
    assert market.symbols == ("AAPL", "SPY", "BTC/USD", "SOL/USD")
    got = np.concatenate(list(market.chunks))
    with Record(whole) as found:
        kept = np.concatenate([all_rows(found, session.number) for session in found.sessions()])
    assert got.tolist() == kept.tolist()


def test_every_document_that_arrived_is_told_of(whole: Path) -> None:
    found = list(arrivals(whole))
    assert len(found) >= 3
    assert {each.agent for each in found} == {"default"}
    assert all(b"intent_id" in each.data for each in found)


def test_a_file_that_was_only_recognised_arrives_once(tmp_path: Path) -> None:
    judged, recognised = b'[{"type":"record"},{"type":"archive_document"}]', b'[{"type":"archive_document"}]'
    told = [
        (b"one", judged),
        (b"one", recognised),  # it still lay there after a crash
        (b"one", b"[]"),  # it waits for its quote, and is noticed a second time
        (b"one", b'[{"type":"refuse_document"}]'),  # dropped again, by somebody
        (b"two", b'[{"type":"fetch_quote"}]'),
        (b"two", b'[{"type":"fetch_quote"}]'),  # the first wait was not over when the process ended
        (b"old", b""),
        (b"old", b""),  # nothing is known of what was decided
    ]
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.execute(
            "CREATE TABLE events (seq INTEGER PRIMARY KEY, ts_ns INTEGER, kind TEXT, payload BLOB, row INTEGER,"
            " commands BLOB, epoch INTEGER, seal BLOB)"
        )
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 2")
        for n, (data, commands) in enumerate(told, 1):
            event = DocumentReceived(ts_ns=Ns(n), agent="a", name="a.json", data=data, file_event_ns=Ns(n))
            step = (n, n, "document", msgspec.json.encode(event), 0, commands, 0, b"")
            db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", step)
        db.commit()
    assert [event.ts_ns for event in arrivals(tmp_path)] == [1, 4, 5, 6, 7, 8]


# --- other records ---------------------------------------------------------------------------------------------------

_OLD_EVENTS = "CREATE TABLE events (seq INTEGER PRIMARY KEY, ts_ns INTEGER, kind TEXT, payload BLOB)"


def test_a_journal_of_the_version_before_is_read_and_said_to_hold_no_commands(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.execute(_OLD_EVENTS)
        db.execute("CREATE TABLE state (entity TEXT, key TEXT, doc BLOB)")
        db.execute("CREATE TABLE outbox (id INTEGER PRIMARY KEY, seq INTEGER, tbl TEXT, row BLOB)")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        wake = b'{"type":"wake","ts_ns":7}'
        db.executemany("INSERT INTO events VALUES (?, 7, 'wake', ?)", [(n, wake) for n in range(1, 4)])
        db.commit()
    with Record(tmp_path) as found:
        assert [session.number for session in found.sessions()] == [0]
        assert [(step.seq, step.commands, step.seal) for step in found.steps()] == [
            (n, b"", b"") for n in (1, 2, 3)
        ]
    verdict = verify(tmp_path)
    assert verdict.is_good
    assert verdict.evidence.unsealed == 3
    assert "did not keep commands" in verdict.sessions[0].gaps[0].why


def test_a_directory_that_the_version_before_began_is_verified_from_then_on(tmp_path: Path) -> None:
    def former(state: Path) -> None:
        state.mkdir()
        with closing(sqlite3.connect(state / "journal.db")) as db:
            db.executescript(SCHEMA_1)
            wake = b'{"type":"wake","ts_ns":7}'
            db.executemany("INSERT INTO events VALUES (?, 7, 'wake', ?)", [(n, wake) for n in (1, 2, 5)])
            db.execute("INSERT INTO meta VALUES ('journal_id', 'former')")
            seen = b'{"sha256":"","agent":"a","name":"x","at_ns":1767625200000000000,"settled":true}'
            db.execute("INSERT INTO state VALUES ('seen', 'x', ?)", (seen,))
            told = alert_record(Alert(level="info", code="FORMER", message="of then"), Ns(7))
            db.execute(
                "INSERT INTO outbox (seq, tbl, row) VALUES (5, ?, ?)", (told.table, encode_row(told.row))
            )
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute("PRAGMA user_version = 1")
            db.commit()

    state = record(tmp_path / "var", prepare=former)
    verdict = verify(state, first_keys=[read_first_key(state / FIRST_NAME)])
    assert verdict.is_good, (verdict.first_difference, verdict.faults, verdict.evidence.faults)
    before, *after = verdict.sessions
    assert (before.number, before.tally.skipped) == (0, 3)
    assert [(each.tally.skipped, each.difference) for each in after] == [(0, None), (0, None)]
    assert verdict.evidence.unsealed == 3
    assert verdict.uncompared_ledger_rows == 1
    assert verdict.is_table_compared


def test_where_nothing_is_recorded_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoRecord, match="neither"):
        Record(tmp_path)
    (tmp_path / "journal.db").write_bytes(b"no database at all, but long enough to look like one" * 40)
    with pytest.raises(NoRecord, match="cannot be read"):
        Record(tmp_path)
    with pytest.raises(NoRecord):
        session_rows(tmp_path / "nowhere")


def test_segments_alone_can_be_verified(tmp_path: Path, whole: Path) -> None:
    """What was copied away for good, without the journal."""
    shutil.copytree(folder_of(whole), folder_of(tmp_path))
    verdict = verify(tmp_path)
    assert verdict.is_good
    assert not verdict.is_table_compared
    assert sum(each.tally.skipped for each in verdict.sessions) == 0
    assert [each.is_compared for each in verdict.sessions] == [True, True]


def test_one_session_can_be_chosen(whole: Path) -> None:
    numbers = [each.number for each in verify(whole).sessions]
    assert len(numbers) == 2
    for only, number in ((numbers[0], numbers[0]), ("last", numbers[1])):
        verdict = verify(whole, only=only)
        assert [each.number for each in verdict.sessions] == [number]
        assert verdict.is_good
        assert verdict.evidence.steps == verify(whole).evidence.steps, "seals are checked of everything"
    with pytest.raises(NoSession, match="there is no session 17"):
        verify(whole, only=17)
