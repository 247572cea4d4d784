"""The inbox with real files, the real kernel and a real event loop."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from hands.core.events import DocumentReceived
from hands.core.vocab import Code
from hands.intake import files
from hands.intake import inbox as inbox_module
from hands.intake.inbox import Inbox
from hands.intake.inotify import PollingWatcher
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


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def started(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments])


def old(path: Path, seconds: float = 60.0) -> Path:
    """Make a file look as if it was last written to a while ago."""
    moment = time.time() - seconds
    os.utime(path, (moment, moment), follow_symlinks=False)
    return path


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


def test_two_thousand_files_at_once_are_each_delivered_exactly_once(rig: Rig):
    """Trap 32, and the loop lives on meanwhile."""
    turns = 0

    async def scenario(rig: Rig) -> None:
        nonlocal turns

        def flood() -> None:
            for number in range(2000):
                rig.drop(f"{number}.json", str(number).encode())

        thread = threading.Thread(target=flood)
        thread.start()
        end = time.monotonic() + 30
        while len(rig.docs) < 2000 and time.monotonic() < end:
            turns += 1
            await asyncio.sleep(0)
        thread.join()
        rig.inbox.rescan()
        await rig.settle()
        assert sorted(int(doc.data) for doc in rig.docs) == list(range(2000))

    rig.run(scenario)
    assert turns > 2000 / inbox_module.SLICE_FILES


def test_a_flood_beyond_the_kernels_queue_is_found_by_a_scan(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inbox_module, "QUIET_S", 0.05)
    monkeypatch.setattr(inbox_module, "RESCAN_S", 600.0)
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 20_000:
        pytest.skip("the kernel's queue is too long to overflow it in a test")

    async def scenario(rig: Rig) -> None:
        for number in range(
            limit + 100
        ):  # the loop does not run meanwhile; equal events in a row would be merged
            (rig.folder / f"{number % 2}.txt").touch()
        rig.drop("late.json", b"late")
        await rig.until(lambda: rig.names == ["late.json"])

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
        assert rig.inbox.fault is not None
        await rig.settle_without_archive()
        assert rig.names == ["a.json"]
        (rig.folder / "archive").unlink()
        rig.inbox.archive("id-1", "default", "a.json", b"{}", 0)
        assert not (rig.folder / "a.json").exists()
        rig.inbox.rescan()
        assert rig.inbox.fault is None

    async def settle_without_archive() -> None:
        rig.drop("last.json", b"x")
        await rig.until(lambda: "last.json" in rig.names)
        rig.docs.pop()

    rig.settle_without_archive = settle_without_archive  # type: ignore[attr-defined]
    rig.run(scenario)


def test_what_deliver_raises_is_reported_by_the_loop_and_the_next_document_comes_all_the_same(rig: Rig):
    def fail(doc: DocumentReceived) -> None:
        if doc.name == "bad.json":
            raise RuntimeError("a defect")

    rig.on_deliver = fail

    async def scenario(rig: Rig) -> None:
        for name in ("a.json", "bad.json", "b.json"):
            rig.drop(name, b"{}")
        await rig.until(lambda: rig.names == ["a.json", "bad.json", "b.json"])
        assert [str(context["exception"]) for context in rig.errors] == ["a defect"]
        rig.errors.clear()

    rig.run(scenario)


def test_a_document_taken_out_by_a_process_that_died_is_judged_at_the_next_start(rig: Rig):
    rig.folder.mkdir()
    old_file = rig.folder / f"{files.TAKEN_PREFIX}00ff"
    old_file.write_bytes(b"mid-flight")
    old(old_file)

    async def scenario(rig: Rig) -> None:
        await rig.until(lambda: [doc.data for doc in rig.docs] == [b"mid-flight"])
        assert rig.names == ["taken-00ff.json"]

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


def test_two_daemons_never_watch_one_folder(rig: Rig):
    other = Rig(rig.folder)

    async def scenario(_: Rig) -> None:
        with pytest.raises(IntakeError, match="another daemon watches"):
            other.inbox.start(asyncio.get_running_loop())

    rig.run(scenario)
    other.run(lambda again: again.settle())  # the first has let go: now it may
