"""A full disk under the receipts and a read-only archive: the order path goes on, and nothing is done twice or lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.e2e.harness import Floor, until

pytestmark = pytest.mark.e2e


class Disks:
    """Small disks, mounted where root may, so that the kernel itself refuses; else folders nobody may write to."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.mounted = os.geteuid() == 0
        self._ends: list[Callable[[], object]] = []

    def fill(self, folder: Path) -> None:
        """Let nothing more be written in `folder`: no space is left."""
        if self._mount(folder, "size=64k,mode=755"):
            filler = folder / ".filler"
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(b"x" * 4096)
            assert os.statvfs(folder).f_bavail == 0
            self._ends.append(filler.unlink)
        else:
            self._close(folder)

    def protect(self, folder: Path) -> None:
        """Let nothing more be written in `folder`: its disk is read-only."""
        if self._mount(folder, "size=1m,mode=755,ro"):
            self._ends.append(lambda: subprocess.run(["mount", "-o", "remount,rw", folder], check=True))
        else:
            self._close(folder)

    def give_back(self) -> None:
        """Let everything be written again."""
        while self._ends:
            self._ends.pop()()

    def _mount(self, folder: Path, options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        if self.mounted and subprocess.run(command, capture_output=True, check=False).returncode == 0:
            self._stack.callback(subprocess.run, ["umount", "-l", folder], check=True)
            return True
        if os.geteuid() == 0:
            pytest.skip("root, but may not mount: nothing is refused to it")
        return False

    def _close(self, folder: Path) -> None:
        folder.chmod(0o555)
        self._ends.append(lambda: folder.chmod(0o755))


@pytest.fixture
def disks() -> Iterator[Disks]:
    with ExitStack() as stack:
        yield Disks(stack)


def test_without_a_disk_for_papers_each_intent_has_one_order_and_is_filed_when_the_disk_is_back(
    floor: Floor, disks: Disks
) -> None:
    floor.open()
    disks.fill(floor.intents / "receipts")
    disks.protect(floor.intents / "archive")
    shares = floor.document("AAPL")
    first = floor.drop("AAPL", intent_id=shares["intent_id"])
    until("the order is at the exchange", lambda: len(floor.entries("AAPL")) == 1)
    until("it is protected", lambda: floor.stops("AAPL") == floor.held("AAPL") > 0)
    until("it is told", lambda: floor.status()["faults"].get("papers"))
    again = (floor.intents / f"{first}.json").read_bytes()
    floor.drop_bytes(again, f"{first}.json")  # the same bytes anew: another file, the same intent
    floor.drop_bytes(b"not json", "bad.json")
    coins = floor.drop("SOL/USD")
    until("verdicts go on", lambda: floor.stops("SOL/USD") == floor.held("SOL/USD") > 0)
    until("what can be filed is", (floor.intents / "refused/bad.json.receipt.json").exists)
    assert sorted(path.name for path in floor.intents.glob("*.json")) == sorted(
        [f"{first}.json", f"{coins}.json"]
    )
    assert floor.receipt(first) is None

    floor.kill()  # what was judged and could not be filed is met again at the start
    floor.launch().ready()
    until("it is told again", lambda: floor.status()["faults"].get("papers"))
    assert len(floor.entries()) == 2
    disks.give_back()
    for intent_id in (first, coins):
        assert floor.expect(intent_id, "OPEN")["verdict"] == "ACCEPTED"
    until("the drop folder is empty", lambda: not list(floor.intents.glob("*.json")))
    [filed] = (floor.intents / "archive").rglob(f"{first}.json")
    assert filed.read_bytes() == again
    until("nothing is wrong any more", lambda: "papers" not in floor.status()["faults"])
    assert len(floor.entries()) == 2
