"""`hands journal`: what is on record, what goes, and the key that is given out once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hands.core.units import NS_PER_S
from hands.journal.anchors import anchors_path, read
from hands.journal.keys import read_first_key
from hands.journal.retention import DAY_NS
from hands.journal.segments import Segment, segment_paths
from hands.journal.steps import SNAPSHOT
from tests.journal.record_desk import Desk


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Two sessions, now over: one of three segments, a day each, whose ring ran full once; and one of one, that was killed."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    desk = Desk(state)
    desk.now_ns = time.time_ns() - 4 * DAY_NS
    for _ in range(2):
        desk.offer(100)
        desk.work(86_400)
        desk.step(SNAPSHOT)
        desk.work(1)
    desk.offer(200)
    assert not desk.offer(100)
    desk.work(10)
    assert desk.ring.skip_to(desk.row)
    desk.offer(20)
    assert desk.end()
    desk.now_ns = time.time_ns() - 60 * NS_PER_S
    desk.begin()
    desk.offer(30)
    desk.late()
    desk.step()
    desk.late()
    desk.die()
    return state


def test_sessions_and_segments_are_listed(hands, recorded: Path) -> None:
    outcome = hands("journal", "ls", "--state", recorded, "--json")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    found = outcome.document
    one, two = found["sessions"]
    assert (one["session"], one["segments"], one["steps"], one["rows"], one["lost"]) == (1, 3, 4, 420, 100)
    assert (two["session"], two["segments"], two["rows"], two["ended_ns"]) == (5, 1, 30, None)
    assert one["ended_ns"] is not None
    assert [each["state"] for each in found["segments"]] == ["closed", "closed", "closed", "open"]
    assert [each["first_seq"] for each in found["segments"]] == [1, 2, 3, 5]
    assert found["bytes"] == sum(path.stat().st_size for path in segment_paths(recorded / "segments"))
    assert found["first_key_here"] is True
    last = list(read(anchors_path(recorded)))[-1]
    assert (found["anchored_ns"], found["anchored_seq"]) == (last.at_ns, last.seq)
    assert found["segments"][-1]["anchored_bytes"] == found["segments"][-1]["bytes"]
    assert found["segments"][1]["gb_per_hour"] == pytest.approx(found["segments"][1]["bytes"] / 1e9 / 24)


def test_for_people(hands, recorded: Path) -> None:
    outcome = hands("journal", "ls", "--state", recorded)
    assert outcome.exit_code == 0
    lines = outcome.stdout.splitlines()
    assert lines[0].split() == ["session", "began", "ended", "segments", "steps", "rows", "lost", "MB"]
    assert lines[1].split()[-5:-1] == ["3", "4", "420", "100"]
    assert any(line.startswith("0000000000000005.seg") and line.endswith("open") for line in lines)
    assert "hands journal key" in lines[-1]


def test_a_segment_that_lost_its_end_and_one_that_is_damaged_are_told(hands, recorded: Path) -> None:
    one, two, *_ = segment_paths(recorded / "segments")
    os.truncate(one, one.stat().st_size - 70)
    data, at = bytearray(two.read_bytes()), next(Segment(two).frames()).at
    data[at] = 99
    two.write_bytes(data)
    outcome = hands("journal", "ls", "--state", recorded, "--json")
    assert outcome.exit_code == 1
    first, second, third, _ = outcome.document["segments"]
    assert first["fault"].startswith(f"{one.name} has {first['bytes']} bytes; there were ")
    assert second["fault"].startswith(f"{two.name}, byte {at}: no frame: type 99, ")
    assert third["fault"] is None
    outcome = hands("journal", "ls", "--state", recorded)
    assert outcome.exit_code == 1
    assert outcome.stderr.count("hands: ") == 2


def test_a_segment_without_a_head_is_listed_all_the_same(hands, recorded: Path) -> None:
    segment_paths(recorded / "segments")[0].write_bytes(b"nothing")
    outcome = hands("journal", "ls", "--state", recorded)
    assert outcome.exit_code == 1
    assert "damaged" in outcome.stdout


def test_where_nothing_is_recorded(hands, tmp_path: Path) -> None:
    outcome = hands("journal", "ls", "--state", tmp_path)
    assert (outcome.exit_code, outcome.stdout) == (1, f"nothing is recorded in {tmp_path}\n")
    assert hands("journal", "ls", "--state", tmp_path, "--json").document["segments"] == []
    outcome = hands("journal", "ls", "--state", tmp_path / "absent", "--json")
    assert outcome.exit_code == 2
    assert outcome.document["ok"] is False


def test_pruning_says_first_what_would_go(hands, recorded: Path) -> None:
    before = segment_paths(recorded / "segments")
    arguments = ("journal", "prune", "--keep-days", "2.5", "--state", recorded)
    outcome = hands(*arguments, "--json")
    assert outcome.exit_code == 0
    assert [each["name"] for each in outcome.document["segments"]] == [before[0].name]
    assert outcome.document["removed"] is False
    assert segment_paths(recorded / "segments") == before
    assert "say --yes" in hands(*arguments).stdout
    assert hands(*arguments, "--yes").stdout.splitlines()[-1].startswith("removed: 1 segments")
    assert segment_paths(recorded / "segments") == before[1:]
    assert hands(*arguments, "--yes").stdout == "nothing is too old or too much\n"


def test_the_newest_segment_is_never_pruned(hands, recorded: Path) -> None:
    before = segment_paths(recorded / "segments")
    outcome = hands("journal", "prune", "--keep-gb", "0", "--yes", "--state", recorded)
    assert outcome.exit_code == 0
    assert segment_paths(recorded / "segments") == before[-1:]


def test_bounds_come_from_the_configuration_where_they_are_not_said(
    hands, recorded: Path, tmp_path: Path
) -> None:
    config = tmp_path / "hands.toml"
    config.write_text(f'[folders]\nstate = "{recorded}"\n[journal]\nkeep_days = 2.5\nkeep_gb = 20\n')
    assert len(hands("journal", "prune", "--config", config, "--json").document["segments"]) == 1
    assert (
        hands("journal", "prune", "--config", config, "--keep-days", "9", "--json").document["segments"] == []
    )
    config.write_text(f'[folders]\nstate = "{recorded}"\n')
    assert hands("journal", "prune", "--config", config, "--json").document["segments"] == []
    config.write_text("no toml at all")
    assert hands("journal", "prune", "--config", config).exit_code == 2


def test_the_first_key_is_given_out_once(hands, recorded: Path) -> None:
    path = recorded / "first.key"
    key = read_first_key(path).hex()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    outcome = hands("journal", "key", "--keep", "--state", recorded)
    assert (outcome.exit_code, outcome.stdout.strip()) == (0, key)
    assert path.exists()
    outcome = hands("journal", "key", "--state", recorded, "--json")
    assert outcome.document == {"ok": True, "first_key": key, "removed": True}
    assert "only copy" in outcome.stderr
    assert not path.exists()
    outcome = hands("journal", "key", "--state", recorded)
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert "taken away before" in outcome.stderr
    assert hands("journal", "ls", "--state", recorded, "--json").document["first_key_here"] is False


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_key_that_cannot_be_written_stays(recorded: Path) -> None:
    command = [sys.executable, "-m", "hands", "journal", "key", "--state", str(recorded)]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert f"it still lies in {recorded / 'first.key'}" in ended.stderr
    assert read_first_key(recorded / "first.key")


def test_a_key_that_is_none_is_told_and_stays(hands, recorded: Path) -> None:
    (recorded / "first.key").write_text("abcd\n")
    outcome = hands("journal", "key", "--state", recorded)
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert "32 bytes" in outcome.stderr
    assert (recorded / "first.key").exists()
