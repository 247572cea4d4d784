"""The two watchers tell the same things through the same interface."""

from __future__ import annotations

import os
import select
import sys
import time
from pathlib import Path

import pytest

from hands.intake.inotify import (
    GONE_MASK,
    IN_CLOSE_WRITE,
    IN_CREATE,
    IN_MODIFY,
    IN_MOVED_TO,
    InotifyWatcher,
    PollingWatcher,
    open_watcher,
)
from hands.intake.places import open_below


@pytest.fixture
def folder(tmp_path: Path):
    (tmp_path / "box").mkdir()
    return tmp_path / "box"


def test_inotify_tells_of_creating_writing_closing_renaming_and_the_end_of_the_folder(folder: Path):
    watcher = InotifyWatcher()
    with open_below(folder) as fd:
        watch = watcher.add(fd, folder)
    assert watcher.read() == []
    (folder / "a.json").write_bytes(b"{}")
    (folder / "a.json").rename(folder / os.fsdecode(b"\xff.json"))
    assert select.select([watcher.fileno()], [], [], 5)[0]
    events = watcher.read()
    assert [(event.watch, event.name) for event in events] == [
        (watch, "a.json"),
        (watch, "a.json"),
        (watch, "a.json"),
        (watch, os.fsdecode(b"\xff.json")),
    ]
    assert [event.mask for event in events] == [IN_CREATE, IN_MODIFY, IN_CLOSE_WRITE, IN_MOVED_TO]
    (folder / os.fsdecode(b"\xff.json")).unlink()
    folder.rmdir()
    last = watcher.read()
    assert all(event.mask & GONE_MASK and event.name == "" for event in last)
    assert last
    watcher.remove(watch)  # the kernel has done so already
    watcher.close()
    watcher.close()


def test_a_watch_is_on_the_folder_that_was_opened_whatever_its_path_names_by_now(
    folder: Path, tmp_path: Path
):
    watcher = InotifyWatcher()
    with open_below(folder) as fd:
        folder.rename(tmp_path / "moved")
        folder.mkdir()
        watcher.add(fd, folder)
    (folder / "not-this.json").touch()
    (tmp_path / "moved/this.json").touch()
    assert {event.name for event in watcher.read()} == {"this.json"}
    watcher.close()


def test_a_watch_on_what_is_not_a_folder_is_an_error(tmp_path: Path):
    watcher = InotifyWatcher()
    (tmp_path / "file").touch()
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    with pytest.raises(OSError, match="inotify"):
        watcher.add(fd, tmp_path / "file")
    os.close(fd)
    watcher.close()


def test_the_other_watcher_wakes_its_reader_and_tells_of_watched_folders_only(folder: Path):
    (folder / "inner").mkdir()
    (folder / "unwatched").mkdir()
    watcher = PollingWatcher(folder)
    watches = {watcher.add(-1, folder): "", watcher.add(-1, folder / "inner"): "inner"}
    assert len(watches) == 2
    seen: set[tuple[str, str]] = set()
    number = 0
    end = time.monotonic() + 15
    while {place for place, _ in seen} != {"", "inner"}:  # until its thread has begun to watch
        assert time.monotonic() < end
        number += 1
        for place in ("unwatched", "inner", ""):
            (folder / place / f"{number}.json").touch()
        if select.select([watcher.fileno()], [], [], 0.1)[0]:
            seen |= {
                (watches[event.watch], event.name) for event in watcher.read() if event.mask == IN_MOVED_TO
            }
    watcher.close()
    watcher.close()
    assert not watcher.proves_complete


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
def test_linux_gets_inotify(tmp_path: Path):
    watcher = open_watcher(tmp_path)
    assert isinstance(watcher, InotifyWatcher)
    watcher.close()
