"""What the machine is asked, one thing at a time: well, to be looked at, or not to be started on."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import sqlite3
from collections import namedtuple
from pathlib import Path

import pytest

from hands.journal.store import JournalStore
from hands.runtime import machine
from hands.runtime.machine import Level
from tests.second_user import STRANGER, needs_root

OK, WARN, FAIL = Level.OK, Level.WARN, Level.FAIL


def test_this_machine_can_run_what_is_tested_on_it() -> None:
    lines = [machine.python(), *machine.packages(), machine.sqlite()]
    assert [line.level for line in lines] == [OK] * len(lines)


def test_an_old_python_and_an_old_sqlite_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PYTHON_MIN", (3, 99))
    monkeypatch.setattr(machine, "SQLITE_MIN", (99, 0, 0))
    assert [machine.python().level, machine.sqlite().level] == [FAIL, FAIL]


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        machine.metadata, "requires", lambda _: ["orjson>=3", "no-such-thing>=1; sys_platform != 'win32'"]
    )
    (line,) = machine.packages()
    assert (line.level, "no-such-thing" in line.said) == (FAIL, True)


@pytest.mark.parametrize(("soft", "level"), [(64, FAIL), (256, WARN), (1024, OK)])
def test_open_files(monkeypatch: pytest.MonkeyPatch, soft: int, level: Level) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, 4096))
    line = machine.open_files()
    assert (line.level, bool(line.cure)) == (level, level is not OK)


Usage = namedtuple("Usage", "total used free")  # noqa: PYI024  (as shutil's)


@pytest.mark.parametrize(("free_mb", "level"), [(50, FAIL), (500, WARN), (5_000, OK)])
def test_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free_mb: int, level: Level) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, free_mb * machine.MB))
    assert next(machine.disk(tmp_path / "not" / "there")).level is level


def test_a_folder_of_another_machine_is_named(tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    (tmp_path / "far away").mkdir()
    spelled = str(tmp_path / "far away").replace(" ", "\\040")
    table.write_text(f"/dev/vda / ext4 rw 0 0\nhost:/x {spelled} nfs4 rw 0 0\nbroken\n")
    (line,) = machine.mounts((tmp_path / "far away" / "intents", tmp_path), table)
    assert line.level is WARN
    assert "nfs4" in line.said
    assert list(machine.mounts((tmp_path,), tmp_path / "no table")) == []


def test_file_events_and_their_limits(tmp_path: Path) -> None:
    (tmp_path / "max_queued_events").write_text("16384\n")
    (tmp_path / "max_user_watches").write_text("100\n")
    assert machine.file_events(10, tmp_path).level is WARN
    (tmp_path / "max_user_watches").write_text("8192\n")
    assert machine.file_events(10, tmp_path).level is OK
    assert machine.file_events(10_000, tmp_path).level is WARN
    assert machine.file_events(10, tmp_path / "nothing").level is OK


def test_no_inotify_instance_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(machine, "InotifyWatcher", none_left)
    line = machine.file_events(1)
    assert (line.level, "max_user_instances" in line.cure) == (WARN, True)


def test_compiled_code_is_kept_where_it_may_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert machine.compiled_code().level is OK
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert machine.compiled_code().level is WARN


# --- the state directory -----------------------------------------------------------------------------------


def test_a_state_directory_is_private(state_dir: Path) -> None:
    assert machine.state_directory(state_dir / "new").level is OK
    assert machine.state_directory(state_dir).said.endswith("free")
    state_dir.chmod(0o750)
    assert machine.state_directory(state_dir).level is WARN
    state_dir.chmod(0o770)
    assert machine.state_directory(state_dir).level is FAIL


@needs_root
def test_a_state_directory_is_ours(state_dir: Path) -> None:
    os.chown(state_dir, STRANGER, -1)
    assert machine.state_directory(state_dir).level is FAIL


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the kernel has no list of locks")
def test_a_daemon_on_it_is_named_and_not_disturbed(state_dir: Path) -> None:
    with (state_dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert machine.state_directory(state_dir).said.endswith(f"in use by process {os.getpid()}")
    assert machine.state_directory(state_dir).said.endswith("free")


def test_the_account_it_belongs_to_is_read_and_nothing_is_written(state_dir: Path) -> None:
    assert machine.bound_account(state_dir) is None
    journal = JournalStore(state_dir / "journal.db")
    journal.bind(venue="sim", host="127.0.0.1", account="PA1")
    journal.close()
    assert machine.bound_account(state_dir) == "PA1"
    (state_dir / "journal.db").write_bytes(b"nonsense" * 100)
    assert machine.bound_account(state_dir) is None
    assert sqlite3.sqlite_version_info >= machine.SQLITE_MIN
