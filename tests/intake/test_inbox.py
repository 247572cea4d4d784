"""The inbox with real files, the real kernel and a real event loop."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hands.core.events import DocumentReceived
from hands.core.vocab import Code
from hands.intake import claims as claims_module
from hands.intake import drops as drops_module
from hands.intake import files
from hands.intake import inbox as inbox_module
from hands.intake import sweep as sweep_module
from hands.intake.inbox import Inbox
from hands.intake.inotify import FileEvent, InotifyWatcher, NoWatcher, PollingWatcher, Watcher, open_watcher
from hands.intake.reading import IntakeError

AS_ROOT = os.geteuid() == 0


class Rig:
    """An inbox on a loop of its own, and what it delivered."""

    def __init__(self, folder: Path, agents: dict[str, int | None] | None = None) -> None:
        self.folder = folder
        self.docs: list[DocumentReceived] = []
        self.halts = 0
        self.errors: list[dict[str, Any]] = []
        self.on_deliver: Callable[[DocumentReceived], None] = lambda _: None
        self.inbox = Inbox(
            folder, agents or {}, clock=time.time_ns, deliver=self._deliver, on_halt=self._halt
        )  # type: ignore[arg-type]

    def _deliver(self, doc: DocumentReceived) -> None:
        self.docs.append(doc)
        self.on_deliver(doc)

    def _halt(self) -> None:
        self.halts += 1

    def run(self, scenario: Callable[[Rig], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: self.errors.append(context))
            self.inbox.start(loop)
            try:
                await scenario(self)
            finally:
                self.inbox.stop()

        asyncio.run(main())
        assert not self.errors

    async def until(self, condition: Callable[[], bool], seconds: float = 15.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"never came true; delivered {[doc.name for doc in self.docs]}"
            await asyncio.sleep(0.002)

    async def settle(self) -> None:
        """Return when everything that was done to the folder before this has been taken in: a marker went through."""
        marker = f"marker-{len(self.docs)}-{time.monotonic_ns()}.json"
        self.drop(marker, b"marker")
        await self.until(lambda: any(doc.name == marker for doc in self.docs))
        self.docs = [doc for doc in self.docs if doc.name != marker]
        self.inbox.archive(f"m-{time.monotonic_ns()}", "default", marker, b"marker", 0)

    def drop(self, name: str, data: bytes, folder: str = ".") -> Path:
        place = self.folder / folder
        temporary = place / f".{name[:150]}.tmp"
        temporary.write_bytes(data)
        return temporary.rename(place / name)

    @property
    def names(self) -> list[str]:
        return [doc.name for doc in self.docs]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "intents")


class Deaf(InotifyWatcher):
    """What a network or container mount is: a watch can be had, and tells of nothing that others do."""

    def read(self) -> list[FileEvent]:
        super().read()
        return []


WATCHERS: dict[str, Callable[[Path], Watcher]] = {
    "inotify": open_watcher,
    "watchfiles": PollingWatcher,
    "no events": lambda _: Deaf(),
    "no watcher": lambda _: NoWatcher(OSError(errno.EMFILE, "Too many open files")),
}


@pytest.fixture(params=WATCHERS)
def any_watcher(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "open_watcher", WATCHERS[request.param])
    if request.param != "inotify":
        monkeypatch.setattr(inbox_module, "RESCAN_S", 0.05)
        monkeypatch.setattr(inbox_module, "UNWATCHED_RESCAN_S", 0.05)
        monkeypatch.setattr(inbox_module, "QUIET_S", 0.05)


with_every_watcher = pytest.mark.usefixtures("any_watcher")


def root_of(rig: Rig) -> drops_module.Drop:
    return next(drop for drop in rig.inbox._drops if drop.path == rig.folder)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def started(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments])


def old(path: Path, seconds: float = 60.0) -> Path:
    """Make a file look as if it was last written to a while ago."""
    moment = time.time() - seconds
    os.utime(path, (moment, moment), follow_symlinks=False)
    return path


@with_every_watcher
def test_a_file_renamed_into_place_is_delivered_once_with_its_bytes_and_the_time_of_its_event(rig: Rig):
    async def scenario(rig: Rig) -> None:
        before = time.time_ns()
        rig.drop("a.json", b'{"x": 1}')
        await rig.until(lambda: bool(rig.docs))
        await rig.settle()
        [doc] = rig.docs
        assert (doc.agent, doc.name, doc.data, doc.fault) == ("default", "a.json", b'{"x": 1}', None)
        assert before <= doc.file_event_ns <= doc.ts_ns <= time.time_ns()

    rig.run(scenario)


def test_a_file_written_in_place_counts_when_it_is_closed_and_not_before(rig: Rig):
    async def scenario(rig: Rig) -> None:
        with (rig.folder / "slow.json").open("wb", buffering=0) as file:
            file.write(b'{"half":')
            await rig.settle()
            rig.inbox.rescan()
            await rig.settle()
            assert rig.docs == []
            file.write(b" 1}")
        await rig.until(lambda: bool(rig.docs))
        await rig.settle()
        assert [doc.data for doc in rig.docs] == [b'{"half": 1}']

    rig.run(scenario)


def test_a_writer_that_pauses_is_waited_for_as_long_as_it_has_the_file_open(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    """An agent that streams its document into the folder thinks for longer than a sweep takes files for quiet."""
    monkeypatch.setattr(inbox_module, "QUIET_S", 0.0)
    monkeypatch.setattr(inbox_module, "RESCAN_S", 0.05)
    monkeypatch.setattr(drops_module, "BEGUN_MAX", 2)

    async def scenario(rig: Rig) -> None:
        with ExitStack() as stack:
            writers = []
            for number in range(3):
                writers.append(stack.enter_context((rig.folder / f"{number}.json").open("wb", buffering=0)))
                if number < 2:  # the last one thinks before it writes anything
                    writers[number].write(b'{"half":')
                await rig.until(lambda n=number: f"{n}.json" in root_of(rig).begun)
            writers[2].write(b'{"half":')
            for _ in range(3):
                rig.inbox.rescan()
                await rig.settle()
            assert rig.names == ["0.json"], "of more than are kept in mind the oldest counts as a quiet one"
            writers[1].write(b" 1}")
            writers[1].close()
            await rig.until(lambda: len(rig.docs) == 2)
            assert [doc.data for doc in rig.docs][1:] == [b'{"half": 1}']
            (rig.folder / "2.json").rename(rig.folder / ".whole")
            writers[2].close()
            os.link(
                rig.folder / ".whole", rig.folder / "2.json"
            )  # the same file, which nobody will close any more
            (rig.folder / ".whole").unlink()
            await rig.until(lambda: len(rig.docs) == 3)

    rig.run(scenario)


@with_every_watcher
def test_hidden_unfinished_and_other_names_and_other_folders_are_ignored(rig: Rig):
    async def scenario(rig: Rig) -> None:
        (rig.folder / "elsewhere").mkdir()
        for name in (".hidden.json", "a.json.tmp", "a.json.part", "a.tmp", "notes.txt", "a.JSON", "a.json~"):
            (rig.folder / name).write_bytes(b"{}")
        for folder in ("elsewhere", "receipts", "archive", "refused", "agents"):
            rig.drop("x.json", b"{}", folder)
        await rig.settle()
        rig.inbox.rescan()
        await rig.settle()
        assert rig.docs == []

    rig.run(scenario)


@with_every_watcher
def test_files_present_at_start_are_delivered_oldest_first_once_it_starts(rig: Rig):
    rig.folder.mkdir()
    for position, name in enumerate(("c.json", "a.json", "b.json")):
        (rig.folder / name).write_bytes(name.encode())
        old(rig.folder / name, 60 - position)

    async def scenario(rig: Rig) -> None:
        await rig.until(lambda: len(rig.docs) == 3)
        await rig.settle()
        assert rig.names == ["c.json", "a.json", "b.json"]

    rig.run(scenario)


def test_a_file_still_being_written_at_start_waits_until_it_is_quiet(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inbox_module, "QUIET_S", 0.2)
    rig.folder.mkdir()
    (rig.folder / "young.json").write_bytes(b"{")

    async def scenario(rig: Rig) -> None:
        assert rig.docs == []
        await rig.until(lambda: bool(rig.docs))
        assert rig.docs[0].ts_ns - (rig.folder / "young.json").stat().st_mtime_ns >= 0.2e9

    rig.run(scenario)


def test_seven_hundred_files_at_once_are_each_delivered_exactly_once(rig: Rig):
    """Trap 32, and the loop lives on meanwhile."""
    turns = 0

    async def scenario(rig: Rig) -> None:
        nonlocal turns

        def flood() -> None:
            for number in range(700):
                rig.drop(f"{number}.json", str(number).encode())

        thread = threading.Thread(target=flood)
        thread.start()
        end = time.monotonic() + 30
        while len(rig.docs) < 700 and time.monotonic() < end:
            turns += 1
            await asyncio.sleep(0.001)
        thread.join()
        rig.inbox.rescan()
        await rig.settle()
        assert sorted(int(doc.data) for doc in rig.docs) == list(range(700))

    rig.run(scenario)
    assert turns > 700 / inbox_module.SLICE_FILES


def test_a_flood_beyond_the_kernels_queue_is_found_by_a_scan(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inbox_module, "QUIET_S", 0.05)
    monkeypatch.setattr(inbox_module, "RESCAN_S", 600.0)
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 20_000:
        pytest.skip("the kernel's queue is too long to overflow it in a test")

    async def scenario(rig: Rig) -> None:
        with (rig.folder / "begun.json").open("wb") as begun:
            await rig.settle()
            for number in range(
                limit + 100
            ):  # the loop does not run meanwhile; equal events in a row would be merged
                os.close(os.open(rig.folder / f"{number % 2}.txt", os.O_WRONLY | os.O_CREAT))
            rig.drop("late.json", b"late")
            begun.write(b"whole")
        await rig.until(lambda: sorted(rig.names) == ["begun.json", "late.json"])
        assert {doc.data for doc in rig.docs} == {b"late", b"whole"}

    rig.run(scenario)


def test_a_file_filed_while_it_is_delivered_leaves_the_folder_and_a_new_one_of_its_name_is_a_new_document(
    rig: Rig,
):
    rig.on_deliver = lambda doc: rig.inbox.archive(
        f"id-{doc.data.decode()}", doc.agent, doc.name, doc.data, 0
    )

    async def scenario(rig: Rig) -> None:
        for number in range(1, 4):
            rig.drop("same.json", str(number).encode())
            await rig.until(lambda number=number: len(rig.docs) == number)
            assert not (rig.folder / "same.json").exists()
        assert [doc.data for doc in rig.docs] == [b"1", b"2", b"3"]
        assert (rig.folder / "archive/1970-01-01/id-2.json").read_bytes() == b"2"

    rig.run(scenario)


@with_every_watcher
def test_a_file_replaced_before_it_was_filed_is_kept_and_judged_in_its_own_right(rig: Rig):
    async def scenario(rig: Rig) -> None:
        rig.drop("a.json", b"first")
        await rig.until(lambda: len(rig.docs) == 1)
        rig.drop("a.json", b"second")  # not yet seen when the first one is filed
        rig.inbox.archive("id-1", "default", "a.json", b"first", 0)
        await rig.until(lambda: len(rig.docs) == 2)
        assert rig.docs[1].data == b"second"
        rig.inbox.archive("id-2", "default", "a.json", b"second", 0)
        await rig.settle()
        assert not (rig.folder / "a.json").exists()
        assert len(rig.docs) == 2
        for number, data in ((1, b"first"), (2, b"second")):
            assert (rig.folder / f"archive/1970-01-01/id-{number}.json").read_bytes() == data

    rig.run(scenario)


def test_a_file_rewritten_in_place_before_it_was_filed_is_two_documents(rig: Rig):
    async def scenario(rig: Rig) -> None:
        path = rig.drop("a.json", b"first")
        await rig.until(lambda: len(rig.docs) == 1)
        stamp = path.stat()
        path.write_bytes(b"secnd")
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # not even its time and size give it away
        with path.open("ab"):
            pass
        await rig.until(lambda: len(rig.docs) == 2)
        rig.inbox.archive("id-1", "default", "a.json", b"first", 0)
        assert path.read_bytes() == b"secnd"
        rig.inbox.archive("id-2", "default", "a.json", b"secnd", 0)
        assert not path.exists()

    rig.run(scenario)


@with_every_watcher
def test_what_is_not_a_regular_file_is_refused_at_once_without_being_opened(rig: Rig, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    rig.on_deliver = lambda doc: None

    async def scenario(rig: Rig) -> None:
        (rig.folder / "link.json").symlink_to(secret)
        (rig.folder / "dangling.json").symlink_to("nowhere")
        os.mkfifo(rig.folder / "pipe.json")
        (rig.folder / "folder.json").mkdir()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(rig.folder / "socket.json"))
        await rig.until(lambda: len(rig.docs) == 5)
        assert {doc.name: doc.fault_detail for doc in rig.docs} == {
            "link.json": "a symbolic link",
            "dangling.json": "a symbolic link",
            "pipe.json": "a named pipe",
            "folder.json": "a folder",
            "socket.json": "a socket",
        }
        assert {(doc.fault, doc.data) for doc in rig.docs} == {(Code.NOT_REGULAR_FILE, b"")}
        for doc in list(rig.docs):
            rig.inbox.refuse(doc.agent, doc.name, doc.data, {"code": doc.fault})
            assert doc.name not in listing(rig.folder)
            assert doc.name in listing(rig.folder / "refused")
            assert (rig.folder / "refused" / f"{doc.name}.receipt.json").exists()
        assert (rig.folder / "refused/link.json").readlink() == secret
        await rig.settle()
        assert len(rig.docs) == 5

    rig.run(scenario)
    assert secret.read_bytes() == b"secret"


@with_every_watcher
def test_a_file_with_a_second_name_is_refused(rig: Rig, tmp_path: Path):
    async def scenario(rig: Rig) -> None:
        (tmp_path / "mine").write_bytes(b"{}")
        os.link(old(tmp_path / "mine"), rig.folder / "hard.json")
        rig.inbox.rescan()
        await rig.until(lambda: len(rig.docs) == 1)
        assert (rig.docs[0].fault, rig.docs[0].fault_detail) == (
            Code.NOT_REGULAR_FILE,
            "2 hard links; at most 1",
        )

    rig.run(scenario)


def test_a_file_published_by_link_and_unlink_is_found(rig: Rig):
    async def scenario(rig: Rig) -> None:
        temporary = old(rig.drop(".x.tmp", b"{}"))
        os.link(temporary, rig.folder / "x.json")
        temporary.unlink()
        rig.inbox.rescan()
        await rig.until(lambda: len(rig.docs) == 1)
        assert (rig.docs[0].fault, rig.docs[0].data) == (None, b"{}")

    rig.run(scenario)


@with_every_watcher
def test_64_kib_are_read_and_one_byte_more_is_refused_unread(rig: Rig):
    async def scenario(rig: Rig) -> None:
        rig.drop("fits.json", b"x" * 65536)
        rig.drop("large.json", b"x" * 65537)
        rig.drop("empty.json", b"")
        await rig.until(lambda: len(rig.docs) == 3)
        found = {doc.name: doc for doc in rig.docs}
        assert (found["fits.json"].fault, len(found["fits.json"].data)) == (None, 65536)
        assert (found["large.json"].fault, found["large.json"].data) == (Code.TOO_LARGE, b"")
        assert (found["empty.json"].fault, found["empty.json"].data) == (None, b"")
        rig.inbox.refuse("default", "large.json", b"", {"code": "TOO_LARGE"})
        assert (rig.folder / "refused/large.json").stat().st_size == 65537
        rig.inbox.refuse("default", "empty.json", b"", {"code": "MALFORMED_JSON"})
        assert (rig.folder / "refused/empty.json").stat().st_size == 0
        assert not (rig.folder / "large.json").exists()

    rig.run(scenario)


@with_every_watcher
def test_an_agents_folder_is_its_identity_and_a_strangers_folder_is_answered(tmp_path: Path):
    rig = Rig(tmp_path / "intents", {"alpha": None})

    async def scenario(rig: Rig) -> None:
        rig.drop("a.json", b"1", "agents/alpha")
        await rig.until(lambda: len(rig.docs) == 1)
        (rig.folder / "agents/mallory").mkdir()
        (rig.folder / "agents/default").mkdir()
        await rig.settle()
        rig.drop("a.json", b"2", "agents/mallory")
        rig.drop("a.json", b"3", "agents/default")
        await rig.until(lambda: len(rig.docs) == 3)
        found = {doc.agent: (doc.name, doc.data, doc.fault) for doc in rig.docs}
        assert found == {
            "alpha": ("a.json", b"1", None),
            "mallory": ("a.json", b"", Code.UNKNOWN_AGENT),
            "agents/default": ("a.json", b"", Code.UNKNOWN_AGENT),
        }
        rig.inbox.archive("id-1", "alpha", "a.json", b"1", 0)
        assert rig.inbox.refuse("mallory", "a.json", b"", {}) == "a.json"
        assert rig.inbox.refuse("agents/default", "a.json", b"", {}) == "a.json.1"
        assert [
            list((rig.folder / "agents" / name).iterdir()) for name in ("alpha", "mallory", "default")
        ] == [[], [], []]

    rig.run(scenario)


@pytest.mark.skipif(not AS_ROOT, reason="only root may give files away")
def test_a_file_that_another_user_wrote_into_an_agents_folder_is_refused_unread(tmp_path: Path):
    """Trap 31."""
    rig = Rig(tmp_path / "intents", {"alpha": 12345, "default": 12345})

    async def scenario(rig: Rig) -> None:
        for folder in (".", "agents/alpha"):
            mine = rig.folder / folder / ".mine"
            mine.write_bytes(b"{}")
            os.chown(mine, 12345, -1)
            mine.rename(rig.folder / folder / "mine.json")
            rig.drop("forged.json", b"{}", folder)
        await rig.until(lambda: len(rig.docs) == 4)
        for agent in ("alpha", "default"):
            found = {doc.name: doc.fault for doc in rig.docs if doc.agent == agent}
            assert found == {"mine.json": None, "forged.json": Code.UNAUTHORISED}

    rig.run(scenario)


@with_every_watcher
def test_documents_in_a_folder_that_everybody_may_write_to_are_refused_and_such_a_root_is_not_started(
    tmp_path: Path,
):
    rig = Rig(tmp_path / "intents", {"alpha": None})

    async def scenario(rig: Rig) -> None:
        (rig.folder / "agents/alpha").chmod(0o777)
        rig.drop("a.json", b"{}", "agents/alpha")
        await rig.until(lambda: len(rig.docs) == 1)
        assert (rig.docs[0].fault, rig.docs[0].data) == (Code.UNAUTHORISED, b"")
        rig.folder.chmod(0o1777)
        rig.inbox.rescan()
        assert rig.inbox.fault is not None
        assert "writable by everybody" in rig.inbox.fault

    rig.run(scenario)
    with pytest.raises(IntakeError, match="writable by everybody"):
        rig.run(scenario)


def test_a_drop_folder_that_the_inbox_makes_lets_others_drop_and_do_nothing_else(tmp_path: Path):
    rig = Rig(tmp_path / "fresh" / "intents", {})

    async def scenario(rig: Rig) -> None:
        assert rig.folder.stat().st_mode & 0o7777 == 0o3775

    rig.run(scenario)


def test_a_halt_file_halts_when_it_appears_again_when_it_reappears_and_when_it_is_there_at_start(rig: Rig):
    async def scenario(rig: Rig) -> None:
        assert rig.halts == 0
        (rig.folder / "HALT").touch()
        await rig.until(lambda: rig.halts >= 1)
        await rig.settle()
        before = rig.halts
        rig.inbox.rescan()
        await rig.settle()
        assert rig.halts == before, "a scan does not halt again for a file that it knows"
        (rig.folder / "HALT").unlink()
        (rig.folder / "HALT").write_bytes(b"stop")
        await rig.until(lambda: rig.halts > before)
        rig.drop("HALT", b"stop, said again")
        await rig.until(lambda: rig.halts > before + 1)

    rig.run(scenario)

    async def at_start(rig: Rig) -> None:
        assert rig.halts == 1

    again = Rig(rig.folder)
    again.run(at_start)


def test_a_halt_file_that_is_gone_again_before_it_was_looked_at_halts_all_the_same(rig: Rig):
    async def scenario(rig: Rig) -> None:
        (rig.folder / "HALT").touch()
        (rig.folder / "HALT").unlink()
        await rig.until(lambda: rig.halts >= 1)

    rig.run(scenario)


def test_an_agents_folder_cannot_halt(tmp_path: Path):
    rig = Rig(tmp_path / "intents", {"alpha": None})

    async def scenario(rig: Rig) -> None:
        (rig.folder / "agents/alpha/HALT").touch()
        await rig.settle()
        assert rig.halts == 0

    rig.run(scenario)


@pytest.mark.parametrize("how", ["deleted", "deleted and made again", "moved away"])
def test_a_folder_that_was_replaced_is_watched_again(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inbox_module, "RESCAN_S", 0.1)
    rig = Rig(tmp_path / "intents", {"alpha": None})

    async def scenario(rig: Rig) -> None:
        for folder in ("agents/alpha", "."):
            place = rig.folder / folder
            if how == "moved away":
                place.rename(tmp_path / f"away-{len(rig.docs)}")
            else:
                shutil.rmtree(place)
            if how == "deleted and made again":
                place.mkdir()
            else:
                await rig.until(place.exists)
            await rig.until((rig.folder / "agents/alpha").is_dir)
            name = f"{len(rig.docs)}.json"
            rig.drop(name, b"{}", folder)
            old(rig.folder / folder / name)
            await rig.until(lambda name=name: name in rig.names)
        assert len(rig.docs) == 2
        await rig.settle()

    rig.run(scenario)


@with_every_watcher
def test_a_name_with_unprintable_or_undecodable_characters_is_delivered_and_filed_under_a_clean_one(rig: Rig):
    names = [b"\xff\xfe.json", b"esc\x1b[31m.json", b"x" * 245 + b".json", "ünï.json".encode()]

    async def scenario(rig: Rig) -> None:
        for name in names:
            path = rig.folder / os.fsdecode(name)
            path.write_bytes(b"{")
        await rig.until(lambda: len(rig.docs) == len(names))
        for doc in list(rig.docs):
            doc.name.encode()
            assert doc.name.isprintable()
            filed = rig.inbox.refuse(doc.agent, doc.name, doc.data, {})
            assert (rig.folder / "refused" / f"{filed}.receipt.json").exists()
        assert "ünï.json" in rig.names
        assert len(set(rig.names)) == len(names)
        assert [name for name in listing(rig.folder) if name.endswith(".json")] == []

    rig.run(scenario)


@with_every_watcher
def test_a_document_that_cannot_be_filed_stays_claimed_and_is_filed_at_the_next_try(rig: Rig):
    async def scenario(rig: Rig) -> None:
        rig.drop("a.json", b"{}")
        await rig.until(lambda: len(rig.docs) == 1)
        (rig.folder / "archive").rmdir()
        (rig.folder / "archive").write_bytes(b"in the way")
        with pytest.raises(IntakeError):
            rig.inbox.archive("id-1", "default", "a.json", b"{}", 0)
        assert (rig.folder / "a.json").exists()
        rig.inbox.rescan()
        assert "'archive' in the drop folder must be a folder of its own" in str(rig.inbox.fault)
        await rig.settle_without_archive()
        assert rig.names == ["a.json"]
        (rig.folder / "archive").unlink()
        rig.inbox.archive("id-1", "default", "a.json", b"{}", 0)
        assert not (rig.folder / "a.json").exists()
        rig.inbox.rescan()
        assert "archive" not in (rig.inbox.fault or "")

    async def settle_without_archive() -> None:
        rig.drop("last.json", b"x")
        await rig.until(lambda: "last.json" in rig.names)
        rig.docs.pop()

    rig.settle_without_archive = settle_without_archive  # type: ignore[attr-defined]
    rig.run(scenario)


@with_every_watcher
def test_what_deliver_raises_is_reported_by_the_loop_and_the_next_document_comes_all_the_same(rig: Rig):
    def fail(doc: DocumentReceived) -> None:
        if doc.name == "bad.json":
            raise RuntimeError("a defect")

    rig.on_deliver = fail

    async def scenario(rig: Rig) -> None:
        for name in ("a.json", "bad.json", "b.json"):
            rig.drop(name, b"{}")
        await rig.until(lambda: sorted(rig.names) == ["a.json", "b.json", "bad.json"])
        rig.drop("later.json", b"{}")
        await rig.until(lambda: "later.json" in rig.names)
        assert [str(context["exception"]) for context in rig.errors] == ["a defect"]
        rig.errors.clear()

    rig.run(scenario)


@pytest.mark.parametrize(("hidden", "given"), [("00ff.a.b.json", "a.b.json"), ("00ff", "taken-00ff.json")])
def test_a_document_taken_out_by_a_process_that_died_is_judged_at_the_next_start(
    rig: Rig, hidden: str, given: str
):
    rig.folder.mkdir()
    old_file = rig.folder / f"{files.TAKEN_PREFIX}{hidden}"
    old_file.write_bytes(b"mid-flight")
    old(old_file)

    async def scenario(rig: Rig) -> None:
        await rig.until(lambda: [doc.data for doc in rig.docs] == [b"mid-flight"])
        assert rig.names == [given]

    rig.run(scenario)


def test_filing_again_after_a_restart_is_harmless(rig: Rig):
    async def scenario(rig: Rig) -> None:
        rig.drop("a.json", b"{}")
        await rig.until(lambda: len(rig.docs) == 1)

    rig.run(scenario)
    again = Rig(rig.folder)
    for _ in range(2):
        again.inbox.archive("id-1", "default", "a.json", b"{}", 0)
    assert not (rig.folder / "a.json").exists()
    assert (rig.folder / "archive/1970-01-01/id-1.json").read_bytes() == b"{}"


@pytest.mark.parametrize(
    ("agent", "name"), [("../x", "a.json"), ("default", "../a.json"), ("..", "a.json"), ("a", "")]
)
def test_names_that_lead_out_of_the_drop_folder_are_our_own_bug(rig: Rig, agent: str, name: str):
    with pytest.raises(ValueError, match="not a document"):
        rig.inbox.archive("id-1", agent, name, b"{}", 0)


@pytest.mark.parametrize("agent", ["", "..", "a/b", ".hidden", "a\nb"])
def test_an_agents_name_must_be_a_plain_folder_name(tmp_path: Path, agent: str):
    with pytest.raises(ValueError, match="agent's name"):
        Rig(tmp_path, {agent: None})


def test_a_folder_of_ours_that_is_a_link_elsewhere_is_not_started(rig: Rig, tmp_path: Path):
    rig.folder.mkdir()
    (rig.folder / "receipts").symlink_to(tmp_path)

    async def scenario(rig: Rig) -> None:
        raise AssertionError

    with pytest.raises(IntakeError, match="folder of its own"):
        rig.run(scenario)


def test_other_processes_writing_at_once_lose_nothing(rig: Rig):
    code = (
        "import os, sys\n"
        "folder, who = sys.argv[1:]\n"
        "for n in range(200):\n"
        "    part = f'{folder}/.{who}-{n}'\n"
        "    with open(part, 'w') as f: f.write(f'{who}-{n}')\n"
        "    os.rename(part, f'{folder}/{n % 20}.json')\n"  # the writers overwrite each other's and their own
    )
    rig.on_deliver = lambda doc: rig.inbox.archive(doc.data.decode(), doc.agent, doc.name, doc.data, 0)

    async def scenario(rig: Rig) -> None:
        writers = [started(code, str(rig.folder), who) for who in ("a", "b")]
        await rig.until(lambda: all(writer.poll() is not None for writer in writers))
        await rig.settle()
        left = [
            name
            for name in listing(rig.folder)
            if name.endswith(".json") or name.startswith(files.TAKEN_PREFIX)
        ]
        assert left == []
        filed = sorted(
            path.stem for path in (rig.folder / "archive/1970-01-01").iterdir() if path.stem[0] in "ab"
        )
        assert filed == sorted(doc.data.decode() for doc in rig.docs), (
            "each delivered document is filed, once"
        )

    rig.run(scenario)


def test_without_inotify_files_arrive_once_nothing_was_written_to_them_for_a_while(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inbox_module, "open_watcher", PollingWatcher)
    monkeypatch.setattr(inbox_module, "POLLED_QUIET_S", 3600.0)
    monkeypatch.setattr(inbox_module, "QUIET_S", 3600.0)

    async def scenario(rig: Rig) -> None:
        rig.drop("young.json", b"half")
        (rig.folder / "HALT").touch()
        old(rig.drop(".old", b"whole"), 7200).rename(rig.folder / "old.json")
        await rig.until(lambda: bool(rig.docs) and rig.halts > 0)
        assert [(doc.name, doc.data) for doc in rig.docs] == [("old.json", b"whole")]
        old(rig.folder / "young.json", 7200)
        rig.inbox.rescan()
        await rig.until(lambda: rig.names == ["old.json", "young.json"])

    rig.run(scenario)


@with_every_watcher
def test_two_daemons_never_watch_one_folder(rig: Rig):
    other = Rig(rig.folder)

    async def scenario(_: Rig) -> None:
        with pytest.raises(IntakeError, match="another daemon watches"):
            other.inbox.start(asyncio.get_running_loop())

    rig.run(scenario)
    other.run(lambda again: again.settle())  # the first has let go: now it may


# --- floods ------------------------------------------------------------------------------------------------

FLOOD = 500
"""More than what is read or filed in several turns of the loop."""


def intent_bytes(born_s: float, ttl_s: float = 15.0, note: object = "") -> bytes:
    """Return what the backlog's hint can be read from."""
    stamp = datetime.fromtimestamp(born_s, UTC).isoformat()
    return f'{{"timestamp": "{stamp}", "ttl_seconds": {ttl_s}, "note": "{note}"}}'.encode()


def flood(rig: Rig, count: int, data: Callable[[int], bytes], folder: str = ".") -> None:
    """Drop so many files while the loop does not run: they are all there at once."""
    for number in range(count):
        rig.drop(f"{number:05}.json", data(number), folder)


def place_of(rig: Rig, name: str) -> int:
    return rig.names.index(name)


def test_a_live_document_behind_a_backlog_of_expired_ones_does_not_wait_for_them(rig: Rig):
    async def scenario(rig: Rig) -> None:
        flood(rig, FLOOD, lambda n: intent_bytes(time.time() - 60, note=n))
        rig.drop("live.json", intent_bytes(time.time()))
        await rig.until(lambda: len(rig.docs) == FLOOD + 1)
        assert place_of(rig, "live.json") < FLOOD // 8
        assert sorted(rig.names) == sorted([f"{n:05}.json" for n in range(FLOOD)] + ["live.json"])

    rig.run(scenario)


def test_an_agent_that_floods_takes_no_turn_from_another(tmp_path: Path):
    rig = Rig(tmp_path / "intents", {"noisy": None, "quiet": None})

    async def scenario(rig: Rig) -> None:
        flood(rig, FLOOD, lambda n: intent_bytes(time.time(), 1.0, n), "agents/noisy")
        rig.drop("one.json", intent_bytes(time.time(), 15.0), "agents/quiet")
        await rig.until(lambda: len(rig.docs) == FLOOD + 1)
        assert place_of(rig, "one.json") < FLOOD // 8

    rig.run(scenario)


def test_a_halt_file_behind_a_flood_is_seen_before_the_flood_is_through(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    """Its event lies behind the flood's, in the kernel's queue, more than one reading of it, and that waits while so much is unread."""
    monkeypatch.setattr(inbox_module, "READ_AHEAD", 1)
    monkeypatch.setattr(inbox_module, "UNREAD_MAX", 10)
    monkeypatch.setattr(inbox_module, "RESCAN_S", 600.0)
    seen_at: list[int] = []

    async def scenario(rig: Rig) -> None:
        rig.inbox._on_halt = lambda: seen_at.append(len(rig.docs))
        flood(rig, 4 * FLOOD, lambda n: str(n).encode())
        (rig.folder / "HALT").touch()
        await rig.until(lambda: len(rig.docs) == 4 * FLOOD)
        assert seen_at
        assert seen_at[0] <= 2 * inbox_module.SLICE_FILES

    rig.run(scenario)


def test_what_waits_unfiled_is_bounded_for_each_agent_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A disk that takes no papers, or a folder that lets nothing out: memory does not grow with it."""
    monkeypatch.setattr(claims_module, "HELD_MAX", 50)
    monkeypatch.setattr(inbox_module, "RESCAN_S", 600.0)
    monkeypatch.setattr(inbox_module, "QUIET_S", 0.05)
    rig = Rig(tmp_path / "intents", {"noisy": None})

    async def scenario(rig: Rig) -> None:
        flood(rig, 120, lambda n: str(n).encode(), "agents/noisy")
        await rig.until(lambda: len(rig.docs) == 50)
        rig.inbox.rescan()
        rig.drop("other.json", b"other")
        await rig.until(lambda: "other.json" in rig.names)
        assert rig.inbox.fault == "documents of noisy wait unfiled, no more are read"
        filed = 0
        while filed < 121:
            await rig.until(lambda filed=filed: len(rig.docs) > filed)
            doc = rig.docs[filed]
            rig.inbox.archive(f"id-{doc.data.decode()}", doc.agent, doc.name, doc.data, 0)
            filed += 1
            assert len(rig.docs) - filed <= 51
        assert rig.inbox.fault is None
        assert len({doc.data for doc in rig.docs}) == 121
        assert listing(rig.folder / "agents/noisy") == []

    rig.run(scenario)


def test_what_was_closed_and_kept_out_is_read_when_there_is_room(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claims_module, "HELD_MAX", 1)
    monkeypatch.setattr(inbox_module, "QUIET_S", 0.0)

    async def scenario(rig: Rig) -> None:
        for name in ("a.json", "b.json"):
            with (rig.folder / name).open("wb") as file:
                await rig.until(lambda name=name: name in root_of(rig).begun)
                file.write(name.encode())
        await rig.until(lambda: rig.inbox.fault is not None)
        rig.inbox.archive("id-1", "default", "a.json", b"a.json", 0)
        await rig.until(lambda: rig.names == ["a.json", "b.json"])

    rig.run(scenario)


def test_the_bytes_that_wait_unfiled_are_bounded_too(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claims_module, "HELD_BYTES_MAX", 200_000)

    async def scenario(rig: Rig) -> None:
        flood(rig, 8, lambda n: bytes([48 + n]) * 60_000)
        await rig.until(lambda: rig.inbox.fault is not None)
        assert len(rig.docs) == 4

    rig.run(scenario)


def test_a_folder_stuffed_with_other_things_hides_no_document_and_holds_nothing_up(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sweep_module, "FOUND_MAX", 10)
    monkeypatch.setattr(inbox_module, "SWEEP_NAMES", 20)
    monkeypatch.setattr(inbox_module, "RESCAN_S", 600.0)
    rig.folder.mkdir()
    for number in range(300):
        (rig.folder / f"{number}.txt").touch()
        (rig.folder / f"{number}.json").write_bytes(b"x")
        old(rig.folder / f"{number}.json")
    slices: list[int] = []
    look = sweep_module.Sweep.look
    monkeypatch.setattr(
        sweep_module.Sweep, "look", lambda sweep, most: slices.append(most) or look(sweep, most)
    )

    async def scenario(rig: Rig) -> None:
        await rig.until(lambda: len(rig.docs) == 300)
        assert len(set(rig.names)) == 300
        assert len(slices) >= 600 // 20
        assert set(slices) == {20}

    rig.run(scenario)


def test_a_time_in_the_future_does_not_make_a_file_finished_nor_keep_it_out(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    """A network mount's server has a clock of its own."""
    monkeypatch.setattr(inbox_module, "open_watcher", WATCHERS["no events"])
    monkeypatch.setattr(inbox_module, "RESCAN_S", 0.02)
    monkeypatch.setattr(inbox_module, "QUIET_S", 0.2)

    async def scenario(rig: Rig) -> None:
        path = rig.folder / "a.json"
        for number in range(5):
            path.write_bytes(b"x" * number)
            old(path, -3600 - number)
            await asyncio.sleep(0.05)
        assert rig.docs == [], "it was still being written to"
        await rig.until(lambda: [doc.data for doc in rig.docs] == [b"xxxx"])

    rig.run(scenario)


# --- folders that are not what they were -----------------------------------------------------------------------


@pytest.mark.parametrize("which", ["agents/alpha", "agents", "."])
def test_a_folder_that_was_replaced_by_a_link_is_not_followed(
    tmp_path: Path, which: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inbox_module, "RESCAN_S", 0.02)
    rig = Rig(tmp_path / "intents", {"alpha": None})
    outside = tmp_path / "outside"
    for folder in ("agents/alpha", "alpha", "."):
        (outside / folder).mkdir(parents=True, exist_ok=True)
        old_file = outside / folder / "x.json"
        old_file.write_bytes(b"outside")
        old(old_file)

    async def scenario(rig: Rig) -> None:
        rig.drop("before.json", b"before", "agents/alpha")
        await rig.until(lambda: len(rig.docs) == 1)
        (rig.folder / which).rename(tmp_path / "away")
        (tmp_path / "intents" if which == "." else rig.folder / which).symlink_to(outside)
        await rig.until(lambda: rig.inbox.fault is not None)
        if which == ".":
            assert rig.inbox.fault == f"{rig.folder} was replaced by a symbolic link: it is not followed"
        for _ in range(5):
            rig.inbox.rescan()
            await asyncio.sleep(0.01)
        assert rig.names == ["before.json"]
        files_outside = sorted(
            str(path.relative_to(outside)) for path in outside.rglob("*") if path.is_file()
        )
        assert files_outside == ["agents/alpha/x.json", "alpha/x.json", "x.json"]

    rig.run(scenario)


def test_filing_reaches_the_folder_that_was_opened_and_no_other_that_its_path_leads_to_by_now(tmp_path: Path):
    rig = Rig(tmp_path / "intents", {"alpha": None})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.json").write_bytes(b"{}")

    async def scenario(rig: Rig) -> None:
        rig.drop("a.json", b"{}", "agents/alpha")
        await rig.until(lambda: len(rig.docs) == 1)
        (rig.folder / "agents/alpha").rename(tmp_path / "away")
        (rig.folder / "agents/alpha").symlink_to(outside)
        rig.inbox.archive("id-1", "alpha", "a.json", b"{}", 0)
        assert (outside / "a.json").read_bytes() == b"{}"
        assert not (tmp_path / "away/a.json").exists()
        assert (rig.folder / "archive/1970-01-01/id-1.json").read_bytes() == b"{}"

    rig.run(scenario)


@pytest.mark.parametrize("which", ["archive", "archive/1970-01-01", "refused"])
def test_nothing_is_filed_through_a_link(rig: Rig, tmp_path: Path, which: str):
    (tmp_path / "outside").mkdir()

    async def scenario(rig: Rig) -> None:
        rig.drop("a.json", b"{}")
        await rig.until(lambda: len(rig.docs) == 1)
        if (rig.folder / which).exists():
            (rig.folder / which).rmdir()
        (rig.folder / which).symlink_to(tmp_path / "outside")
        way = rig.inbox.refuse if which == "refused" else partial(rig.inbox.archive, "id-1")
        with pytest.raises(IntakeError):
            way("default", "a.json", b"{}", 0)
        assert listing(tmp_path / "outside") == []
        assert (rig.folder / "a.json").exists()

    rig.run(scenario)


@pytest.mark.skipif(not AS_ROOT, reason="only root may give folders away")
def test_an_agents_folder_that_belongs_to_somebody_else_is_refused_unread(tmp_path: Path):
    rig = Rig(tmp_path / "intents", {"alpha": None, "beta": 12345, "gamma": 12345})

    async def scenario(rig: Rig) -> None:
        for agent, owner in (("alpha", 12345), ("beta", 54321), ("gamma", 12345)):
            os.chown(rig.folder / "agents" / agent, owner, -1)
            path = rig.folder / "agents" / agent / ".a"
            path.write_bytes(b"{}")
            os.chown(path, 12345, -1)
            path.rename(path.with_name("a.json"))
        await rig.until(lambda: len(rig.docs) == 3)
        found = {doc.agent: (doc.fault, doc.fault_detail) for doc in rig.docs}
        assert found == {
            "alpha": (Code.UNAUTHORISED, "its folder belongs to user 12345, who is not this agent's"),
            "beta": (Code.UNAUTHORISED, "its folder belongs to user 54321, who is not this agent's"),
            "gamma": (None, ""),
        }

    rig.run(scenario)


def test_a_new_folder_in_the_old_ones_place_is_held_against_another_daemon_too(rig: Rig, tmp_path: Path):
    other = Rig(rig.folder)

    async def scenario(rig: Rig) -> None:
        rig.folder.rename(tmp_path / "away")
        await rig.until(rig.folder.exists)
        await rig.until(lambda: rig.inbox.fault is None)
        with pytest.raises(IntakeError, match="another daemon watches"):
            other.inbox.start(asyncio.get_running_loop())

    rig.run(scenario)


def test_a_fault_never_repeats_what_a_stranger_wrote_into_a_name(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def scenario(rig: Rig) -> None:
        monkeypatch.setattr(inbox_module, "read_document", fail)
        (rig.folder / os.fsdecode(b"\xff\x1b[31m\nCRITICAL.json")).write_bytes(b"{}")
        await rig.until(lambda: rig.inbox.fault is not None)
        assert rig.inbox.fault.isascii()
        assert rig.inbox.fault.isprintable()
        monkeypatch.undo()
        rig.inbox.rescan()

    rig.run(scenario)


# --- systems without a watcher to give --------------------------------------------------------------------------


def test_without_a_watch_on_a_folder_it_is_looked_at_more_often_and_said_until_there_is_one(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inbox_module, "UNWATCHED_RESCAN_S", 0.02)
    monkeypatch.setattr(inbox_module, "RESCAN_S", 600.0)
    real = InotifyWatcher.add

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(InotifyWatcher, "add", fail)

    async def scenario(rig: Rig) -> None:
        fault = rig.inbox.fault
        assert fault is not None
        assert "not told of new files, looking every 0.02 s instead" in fault
        assert "No space left on device" in fault
        old(rig.drop(".a", b"{}")).rename(rig.folder / "a.json")
        await rig.until(lambda: rig.names == ["a.json"])
        monkeypatch.setattr(InotifyWatcher, "add", real)
        await rig.until(lambda: rig.inbox.fault is None)
        rig.drop("b.json", b"{}")
        await rig.until(lambda: rig.names == ["a.json", "b.json"])

    rig.run(scenario)


LIMITED = """
import asyncio, os, pathlib, sys, time
from hands.intake import inbox
from hands.intake.inotify import InotifyWatcher, NoWatcher

limit = pathlib.Path("/proc/sys/user", sys.argv[2])
folder = pathlib.Path(sys.argv[1])
usual = limit.read_text()
limit.write_text(sys.argv[3])  # of this user namespace alone
inbox.UNWATCHED_RESCAN_S, inbox.QUIET_S = 0.02, 0.02
docs = []

async def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, (docs, box.fault)
        await asyncio.sleep(0.005)

async def main():
    box.start(asyncio.get_running_loop())
    assert "not told of new files" in box.fault, box.fault
    print(box.fault)
    (folder / "a.json").write_bytes(b"{}")
    await until(lambda: docs == ["a.json"])
    limit.write_text(usual)
    await until(lambda: box.fault is None)
    assert isinstance(box._watcher, InotifyWatcher)
    inbox.QUIET_S = 3600
    (folder / "b.json").write_bytes(b"{}")
    await until(lambda: docs == ["a.json", "b.json"])
    box.stop()

box = inbox.Inbox(folder, {"alpha": None}, clock=time.time_ns, deliver=lambda doc: docs.append(doc.name), on_halt=lambda: None)
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("limit", "most", "said"),
    [
        ("max_inotify_instances", "0", "Too many open files"),
        ("max_inotify_watches", "0", "No space left on device"),
        ("max_inotify_watches", "2", "No space left on device"),
    ],
)
def test_at_the_kernels_limits_files_are_found_all_the_same_and_watched_again_when_it_gives(
    tmp_path: Path, limit: str, most: str, said: str
):
    """The kernel's own refusal, in a user namespace of its own."""
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", LIMITED]
    if shutil.which("unshare") is None or subprocess.run([*command[:3], "true"], check=False).returncode:
        pytest.skip("no user namespaces here")
    done = subprocess.run(
        [*command, str(tmp_path / "intents"), limit, most],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "Permission denied: '/proc/sys/user" in done.stderr or "Read-only file system" in done.stderr:
        pytest.skip("the limits of a user namespace cannot be set here")
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
