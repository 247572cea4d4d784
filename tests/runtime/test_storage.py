"""The room on the state directory's disk, measured on a real one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hands.runtime.storage import MIB, Room


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk of its own can only be mounted by root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_entries_stop_below_the_bound_and_go_on_only_well_above_it(disk: Path) -> None:
    room = Room(disk)
    assert room.risk() is None
    filler = disk / "filler"
    filler.write_bytes(bytes(33 * MIB))
    assert room.risk() == f"31 MiB are left on the disk of {disk}: entries need 32"
    os.truncate(filler, 20 * MIB)
    assert room.risk() is not None
    os.truncate(filler, 15 * MIB)
    assert room.risk() is None
    os.truncate(filler, 20 * MIB)
    assert room.risk() is None


def test_a_folder_that_is_gone_is_no_place_for_records(tmp_path: Path) -> None:
    assert "cannot be looked at" in str(Room(tmp_path / "gone").risk())
