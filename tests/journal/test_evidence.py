"""A record that was changed shows it: every column of every table, every kind of frame, whatever was taken out or cut off.

The one idea: the record is a real one, of a daemon that traded, died and traded on; a test changes one thing in a copy of it
and asks for the verdict.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hands.journal import chain as chains
from hands.journal import verification
from hands.journal.anchors import anchors_path, read
from hands.journal.chain import Chain, chain_key
from hands.journal.evidence import Evidence, StepEvidence, told_anchors
from hands.journal.keys import FIRST_NAME, read_first_key
from hands.journal.record import NoRecord, Record
from hands.journal.segments import Kind, Segment, folder_of, segment_paths
from hands.journal.steps import Step, sealed_body
from hands.runtime.proof import verify
from tests.journal.recorded import record
from tests.rig.stage import Stage, memory_folder
from tests.storms.storm import Brain, Market

COLUMNS = ("seq", "ts_ns", "kind", "payload", "row", "commands", "epoch", "seal")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("record") / "var")


async def _is_killed_early(made: Stage, market: Market, brain: Brain) -> None:
    """Trade, and die before the recorder has moved a step."""
    del market
    brain.think_of("AAPL")
    await asyncio.sleep(3)
    made.engine.die()


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record of which nothing but the first step has found its way into a segment, and the rows are in the ring."""
    state = record(tmp_path_factory.mktemp("dead") / "var", _is_killed_early, stops=False)
    with Record(state) as found:
        assert sum(1 for segment in found.segments for _ in segment.steps()) <= 1
        assert ask(state, "SELECT count(*) FROM events")[0][0] > 30
    return state


@pytest.fixture(scope="module")
def key(whole: Path) -> bytes:
    return read_first_key(whole / FIRST_NAME)


@pytest.fixture
def state(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy to be changed."""
    folder = (
        Path(memory_folder() or tmp_path_factory.mktemp("copy")) / f"hands-evidence-{random.getrandbits(64)}"
    )
    shutil.copytree(whole, folder)
    yield folder
    shutil.rmtree(folder)


def again(whole: Path, state: Path) -> None:
    """Take back what was changed."""
    shutil.rmtree(state)
    shutil.copytree(whole, state)


def change(state: Path, sql: str, *values: Any) -> int:
    """Change the journal; return how many rows that concerned."""
    with closing(sqlite3.connect(state / "journal.db")) as db:
        count = db.execute(sql, values).rowcount
        db.commit()
        return count


def ask(state: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(state / "journal.db")) as db:
        return db.execute(sql).fetchall()


def is_told(state: Path, key: bytes | None) -> bool:
    """Whether the verdict says that something is wrong."""
    try:
        return not verify(state, first_keys=() if key is None else [key]).is_good
    except NoRecord:
        return True


# --- what is well ------------------------------------------------------------------------------------------------


def test_a_record_that_nobody_changed_is_proven(whole: Path, key: bytes) -> None:
    verdict = verify(whole, first_keys=[key])
    found = verdict.evidence
    assert verdict.is_good
    assert found.is_proven
    assert (found.unsealed, found.faults, found.notes) == (0, [], []), "and the key is this directory's"
    assert found.steps == ask(whole, "SELECT max(seq) FROM events")[0][0]
    assert found.frames > len(segment_paths(folder_of(whole))) > 2
    assert found.anchors == len(list(read(anchors_path(whole)))) > 10
    assert found.anchored_seq == found.steps
    assert found.unanchored_steps == 0


def test_without_the_first_key_nothing_is_proven_and_that_is_said(whole: Path) -> None:
    verdict = verify(whole)
    assert verdict.is_good
    assert not verdict.evidence.is_proven


def test_another_first_key_fits_nothing(whole: Path) -> None:
    found = verify(whole, first_keys=[bytes(32)]).evidence
    assert found.fault_count == found.steps + found.frames + found.anchors + len(
        segment_paths(folder_of(whole))
    )
    assert len(found.faults) < found.fault_count, "they are counted, not all told"
    assert "another directory" in " ".join(found.notes)


def test_a_second_key_beside_the_right_one_does_no_harm(whole: Path, key: bytes) -> None:
    assert verify(whole, first_keys=[bytes(32), key]).is_good


def test_a_beginning_that_was_removed_is_no_fault(whole: Path, state: Path, key: bytes) -> None:
    first, *_ = segment_paths(folder_of(state))
    first.unlink()
    verdict = verify(state, first_keys=[key])
    assert verdict.is_good
    assert verdict.sessions[0].is_cut
    assert verdict.sessions[0].tally.decisions > 0


# --- the journal -------------------------------------------------------------------------------------------------


def _other(was: Any) -> Any:
    """Return another value of the same type."""
    if isinstance(was, int):
        return was + 1000
    if isinstance(was, str):
        return was[:-1] + "x"
    return bytes([was[0] ^ 1]) + was[1:] if was else b"x"


def _each_value(whole: Path, state: Path, column: str, every: int) -> Iterator[int]:
    """Change a column of one step after the other; yield the step's number while it is changed."""
    for (seq,) in ask(whole, "SELECT seq FROM events ORDER BY seq")[::every]:
        was = ask(whole, f"SELECT {column} FROM events WHERE seq = {seq}")[0][0]
        sql = f"UPDATE events SET {column} = ? WHERE seq = ?"
        assert change(state, sql, _other(was), seq) == 1
        yield seq
        again(whole, state)


@pytest.mark.parametrize("column", COLUMNS)
def test_any_column_of_any_step_in_the_journal(whole: Path, state: Path, key: bytes, column: str) -> None:
    for seq in _each_value(whole, state, column, 7):
        assert is_told(state, key), seq


@pytest.mark.parametrize("column", COLUMNS)
def test_any_column_of_any_step_that_is_in_no_segment_yet(tmp_path: Path, dead: Path, column: str) -> None:
    state = tmp_path / "var"
    shutil.copytree(dead, state)
    key = read_first_key(dead / FIRST_NAME)
    assert not is_told(state, key)
    for seq in _each_value(dead, state, column, 11):
        assert is_told(state, key), seq


def test_a_step_that_is_taken_out_of_the_journal(whole: Path, state: Path, key: bytes) -> None:
    _, *seqs = [seq for (seq,) in ask(whole, "SELECT seq FROM events ORDER BY seq")]  # the oldest may go
    for seq in (*seqs[::5], seqs[-1]):
        change(state, "DELETE FROM events WHERE seq = ?", seq)
        assert is_told(state, key), seq
        again(whole, state)


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_a_journal_that_ends_too_early(whole: Path, state: Path, key: bytes, kept: int) -> None:
    (first,) = ask(whole, "SELECT min(seq) FROM events")[0]
    change(state, "DELETE FROM events WHERE seq >= ?", first + kept)
    assert is_told(state, key)


def test_any_entry_of_open_business(whole: Path, state: Path, key: bytes) -> None:
    del key  # not even that is needed: it follows from the steps
    for entity, name in ask(whole, "SELECT entity, key FROM state"):
        for sql in (
            "DELETE FROM state WHERE entity = ? AND key = ?",
            "UPDATE state SET doc = CAST(doc || ' ' AS BLOB) WHERE entity = ? AND key = ?",
            "UPDATE state SET doc = 1 WHERE entity = ? AND key = ?",
            "UPDATE state SET key = key || 'x' WHERE entity = ? AND key = ?",
            "UPDATE state SET entity = 'seen2' WHERE entity = ? AND key = ?",
        ):
            assert change(state, sql, entity, name) == 1
            assert is_told(state, None), (entity, name, sql)
            again(whole, state)
    change(state, "INSERT INTO state VALUES ('reason', 'X', x'00')")
    assert is_told(state, None)


def test_any_row_on_its_way_to_the_ledger(whole: Path, state: Path) -> None:
    numbers = [number for (number,) in ask(whole, "SELECT id FROM outbox")]
    for number in (*numbers[:: len(numbers) // 5], numbers[-1]):
        for sql in (
            "DELETE FROM outbox WHERE id = ?",
            "UPDATE outbox SET seq = seq + 1 WHERE id = ?",
            "UPDATE outbox SET tbl = tbl || 's' WHERE id = ?",
            "UPDATE outbox SET row = CAST(replace(CAST(row AS TEXT), ':', ': ') AS BLOB) WHERE id = ?",
            "UPDATE outbox SET row = 'x' WHERE id = ?",
        ):
            assert change(state, sql, number) == 1
            assert is_told(state, None), (number, sql)
            again(whole, state)


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM outbox", "DELETE FROM outbox WHERE id < 20", "UPDATE outbox SET id = id + 100000",
     "INSERT INTO outbox (seq, tbl, row) SELECT max(seq), 'alerts', '{}' FROM outbox"],
)  # fmt: skip
def test_rows_for_the_ledger_that_are_gone_or_too_many(state: Path, sql: str) -> None:
    change(state, sql)
    assert is_told(state, None)


# --- segments ----------------------------------------------------------------------------------------------------


def _flips(path: Path, chance: random.Random) -> Iterator[int]:
    """Yield positions in every part of a segment: its head, each frame's head, body and seal."""
    segment = Segment(path)
    begin = next(iter(segment.frames())).at
    yield from (0, 9, 20, 28, 36, 44, begin - 1)
    for frame in segment.frames():
        yield from (frame.at, frame.at + 5, frame.at + 9, frame.at + 17)
        yield from (chance.randrange(frame.at + 20, frame.end - 16) for _ in range(2))
        yield frame.end - 1


def test_any_byte_of_any_segment(whole: Path, state: Path, key: bytes) -> None:
    chance = random.Random(1)
    kinds = set()
    for path in segment_paths(folder_of(whole)):
        kinds |= {frame.kind for frame in Segment(path).frames()}
        data = path.read_bytes()
        for position in _flips(path, chance):
            copy = folder_of(state) / path.name
            flipped = bytearray(data)
            flipped[position] ^= 1 << chance.randrange(8)
            copy.write_bytes(flipped)
            assert is_told(state, key), (path.name, position)
            copy.write_bytes(data)
    assert kinds == set(Kind)


def test_a_segment_that_is_missing_in_the_middle(whole: Path, state: Path) -> None:
    for path in segment_paths(folder_of(whole))[1:]:
        (folder_of(state) / path.name).unlink()
        assert is_told(state, None), path.name
        again(whole, state)


def test_all_segments_that_are_gone(dead: Path, tmp_path: Path) -> None:
    for name in ("segments", "journal.db"):
        state = tmp_path / f"without-{name}"
        shutil.copytree(dead, state)
        gone = state / name
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        assert is_told(state, None), name


def test_a_segment_that_is_pruned_while_it_is_verified_is_no_fault(
    state: Path, key: bytes, monkeypatch
) -> None:
    really, asked = verification.check_frames, []

    def meanwhile(record: Record, *rest: Any) -> None:
        asked.append(record.segments[0].path)
        if len(asked) == 1:
            asked[0].unlink()
        really(record, *rest)

    monkeypatch.setattr(verification, "check_frames", meanwhile)
    assert verify(state, first_keys=[key]).is_good
    assert len(set(asked)) == 2


def test_segments_that_end_before_the_last_anchor(whole: Path, state: Path) -> None:
    path = segment_paths(folder_of(state))[-1]
    data = path.read_bytes()
    for cut in (1, 17, 100, 1000, len(data) // 2):
        path.write_bytes(data[:-cut])
        assert is_told(state, None), cut


# --- anchors -----------------------------------------------------------------------------------------------------


def _lines(state: Path, edit: Callable[[list[bytes]], list[bytes]]) -> None:
    path = anchors_path(state)
    path.write_bytes(b"".join(edit(path.read_bytes().splitlines(keepends=True))))


@pytest.mark.parametrize(
    "member",
    [b'"at_ns":', b'"seq":', b'"step_seal":"', b'"length":', b'"head":"', b'"epoch":', b'"before":"'],
)
def test_an_anchor_that_was_changed(state: Path, key: bytes, member: bytes) -> None:
    _lines(state, lambda lines: [*lines[:5], lines[5].replace(member, member + b"1", 1), *lines[6:]])
    assert is_told(state, key)


def test_anchors_that_were_removed_before_the_next_came(state: Path, key: bytes) -> None:
    first = next(iter(read(anchors_path(state))))
    assert (first.before, first.epoch) == ("", 0)
    found = Evidence(is_proven=True)
    later = msgspec.structs.replace(first, epoch=7)
    anchors_path(state).write_bytes(msgspec.json.encode(later) + b"\n")
    assert list(told_anchors(anchors_path(state), later, found, [])) == [later]
    assert found.fault_count == 1


def test_an_anchor_that_was_taken_out(state: Path) -> None:
    _lines(state, lambda lines: [*lines[:5], *lines[6:]])
    assert is_told(state, None)


def test_what_comes_after_the_last_anchor_is_said_and_no_fault(whole: Path, state: Path, key: bytes) -> None:
    _lines(state, lambda lines: lines[:4])
    verdict = verify(state, first_keys=[key])
    assert verdict.is_good
    assert verdict.evidence.unanchored_steps > 0
    anchors_path(state).unlink()
    without = verify(state, first_keys=[key])
    assert without.is_good
    assert without.evidence.unanchored_steps == without.evidence.steps
    assert "no anchors" in without.evidence.notes[0]


def test_anchors_that_were_kept_elsewhere_show_an_end_that_was_cut_off(
    whole: Path, state: Path, key: bytes
) -> None:
    last = segment_paths(folder_of(state))[-1]
    last.unlink()
    change(state, "DELETE FROM events WHERE seq > (SELECT min(seq) FROM events)")
    change(state, "DELETE FROM outbox WHERE seq > (SELECT max(seq) FROM events)")
    anchors_path(state).unlink()
    elsewhere = verify(state, first_keys=[key], anchors=anchors_path(whole))
    assert any("its end is missing" in fault for fault in elsewhere.evidence.faults)


# --- the chain by itself -----------------------------------------------------------------------------------------


def _steps_of(whole: Path) -> list[Step]:
    with Record(whole) as found:
        return list(found.steps())


def _judged(steps: list[Step], key: bytes) -> Evidence:
    found = Evidence(is_proven=True)
    checked = StepEvidence(found, [key], told_anchors(Path("none"), None, found, [key]))
    for step in steps:
        checked.take(step)
    checked.finish()
    return found


def test_a_step_that_is_missing_breaks_the_chain_and_a_swap_does(whole: Path, key: bytes) -> None:
    steps = _steps_of(whole)
    assert _judged(steps, key).faults == []
    assert _judged(steps[:40] + steps[41:], key).fault_count == 1
    assert _judged([*steps[:40], steps[41], steps[40], *steps[42:]], key).fault_count >= 2
    assert _judged(steps[30:], key).faults == [], "whatever the first is, the others follow it"


def test_an_epoch_that_cannot_be_is_a_fault_and_not_an_endless_search(whole: Path, key: bytes) -> None:
    steps = _steps_of(whole)
    values = steps[10].__struct_fields__
    far = Step(**{name: getattr(steps[10], name) for name in values} | {"epoch": 1 << 62})
    assert _judged([*steps[:10], far, *steps[11:]], key).fault_count >= 1


def _far_steps(key: bytes, epochs: range) -> list[Step]:
    """Return steps of a record whose beginning was removed."""
    chain, steps = Chain(chain_key(key, b"steps")), []
    for seq, epoch in enumerate(epochs, 1_000):
        chain.advance(epoch)
        body = sealed_body(seq, 1, "wake", b"{}", 0, b"", epoch)
        steps.append(Step(seq, 1, "wake", b"{}", 0, b"", epoch, chain.seal(body)))
    return steps


def test_a_record_that_begins_long_after_its_first_key_is_proven(key: bytes, monkeypatch) -> None:
    monkeypatch.setattr(chains, "EPOCHS_MAX", 50)
    steps = _far_steps(key, range(500, 600, 10))
    assert _judged(steps, key).faults == []
    assert _judged([*steps[:5], *steps[6:]], key).fault_count == 1


def test_a_wrong_key_costs_no_more_than_the_right_one(key: bytes, monkeypatch) -> None:
    steps, made, really = _far_steps(key, range(0, 2_000, 5)), [], chains.ratcheted
    monkeypatch.setattr(chains, "ratcheted", lambda one: made.append(None) or really(one))
    assert _judged(steps, bytes(32)).fault_count == len(steps) - 1
    assert len(made) <= 2_000


def test_a_seal_that_was_taken_away_is_no_old_step(whole: Path, key: bytes) -> None:
    steps = _steps_of(whole)
    values = {name: getattr(steps[50], name) for name in steps[50].__struct_fields__}
    bare = Step(**values | {"seal": b"", "epoch": 0, "commands": b"", "row": 0})
    assert any("bears no seal" in fault for fault in _judged([*steps[:50], bare, *steps[51:]], key).faults)
