"""Disks that are full, read-only or locked, under the papers and under the records: nothing is done twice or lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from decimal import Decimal
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

    def mount(self, folder: Path, mebibytes: int) -> bool:
        """Put a disk of its own under `folder`; False where that is not allowed."""
        return self.mounted and self._mount(folder, f"size={mebibytes}m,mode=755")

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
    """Named before `floor` by whoever wants both: a daemon must end before its disk is taken away."""
    with ExitStack() as stack:
        yield Disks(stack)


@pytest.mark.skipif(
    not os.environ.get("HANDS_SOAK"), reason="its rules are held by tests/runtime and tests/intake"
)
def test_without_a_disk_for_papers_each_intent_has_one_order_and_is_filed_when_the_disk_is_back(
    disks: Disks, floor: Floor
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


# --- under the records themselves ------------------------------------------------------------------------------


def _reasons(floor: Floor) -> dict[str, str]:
    return {reason["code"]: reason["detail"] for reason in floor.status()["reasons"]}


def _fills_agree(floor: Floor) -> bool:
    told = {row["execution_id"] for row in floor.rows("SELECT execution_id FROM fills")}
    return told == {fill["execution_id"] for fill in floor.truth()["fills"]}


def _sells_at_the_target_while_it_cannot_write(floor: Floor, coins: str) -> None:
    """The target of coins is ours to watch: stop cancelled, sold, nothing left behind."""
    floor.move("SOL/USD", 165.10, 165.20)
    until("the coins are sold", lambda: floor.held("SOL/USD") < Decimal("0.001"))
    assert floor.naked_max_ms("SOL/USD") < 2000


def _is_whole_again(floor: Floor, coins: str) -> None:
    until("entries are allowed again", lambda: not _reasons(floor))
    floor.expect(coins, "CLOSED", where=lambda r: r["exit"]["reason"] == "TP")
    until("no record was lost", lambda: _fills_agree(floor))
    assert "records are being lost" not in floor.processes[-1].said
    floor.protected(floor.drop("SPY"))


def test_a_full_disk_stops_entries_before_a_record_is_lost_and_protection_goes_on(
    disks: Disks, floor: Floor
) -> None:
    floor.state.mkdir()
    if not disks.mount(floor.state, 64):
        pytest.skip("a small disk of its own can only be mounted by root")
    floor.open()
    coins = floor.drop("SOL/USD")
    floor.protected(coins)
    filler = floor.state / ".filler"
    filler.write_bytes(bytes((os.statvfs(floor.state).f_bavail >> 8) - 20 << 20))  # 20 MiB are left
    detail = until("entries stop while there is room", lambda: _reasons(floor).get("JOURNAL"))
    assert "MiB are left on the disk of" in detail
    floor.expect(floor.drop("AAPL"), "REJECTED", code="REDUCE_ONLY")

    with filler.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    floor.kill()
    floor.launch().ready()  # what is owned needs us all the same
    _sells_at_the_target_while_it_cannot_write(floor, coins)
    until("it is said", lambda: floor.status()["faults"].get("journal"))
    filler.unlink()
    _is_whole_again(floor, coins)


@pytest.mark.skipif(
    not os.environ.get("HANDS_SOAK"), reason="its rules are held by tests/runtime and tests/journal"
)
def test_a_locked_journal_stops_entries_and_loses_nothing_and_protection_goes_on(floor: Floor) -> None:
    floor.open()
    coins = floor.drop("SOL/USD")
    floor.protected(coins)
    other = sqlite3.connect(floor.state / "journal.db", isolation_level=None)
    with closing(other):
        until("it is ours for a moment", lambda: _begin(other))
        floor.move("AAPL", 149.97, 150.00)
        unsent = floor.drop("AAPL")
        receipt = floor.expect(unsent, where=lambda r: r["state"] not in ("WORKING", "UNKNOWN"))
        assert "the journal could not be written" in receipt["message"] or receipt["code"] == "REDUCE_ONLY"
        assert not floor.entries("AAPL")
        until("it is said", lambda: "locked" in _reasons(floor).get("JOURNAL", ""))
        floor.expect(floor.drop("SPY"), "REJECTED", code="REDUCE_ONLY")
        _sells_at_the_target_while_it_cannot_write(floor, coins)
        other.execute("ROLLBACK")
    _is_whole_again(floor, coins)


def _begin(db: sqlite3.Connection) -> bool:
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    return True


@pytest.mark.skipif(not os.environ.get("HANDS_SOAK"), reason="the parts of it are tested by themselves")
def test_a_lost_ledger_is_made_anew_and_a_broken_journal_is_refused_with_the_way_out(floor: Floor) -> None:
    floor.open()
    shares = floor.drop("AAPL")
    floor.protected(shares)
    until("its fills are told", lambda: _fills_agree(floor))
    for path in floor.state.glob("hands.db*"):
        path.unlink()
    floor.move("AAPL", 155.10, 155.12, print_at=155.10)
    floor.expect(shares, "CLOSED", where=lambda r: r["exit"]["reason"] == "TP")

    def is_there() -> bool:
        with suppress(sqlite3.OperationalError):  # not made yet, or not all of it
            return bool(floor.rows("SELECT 1 FROM trade_episodes WHERE intent_id = ?", shares))
        return False

    until("the trade is told", is_there)
    until("all of it is there again", lambda: _fills_agree(floor))
    coins = floor.drop("SOL/USD")
    floor.protected(coins)
    assert floor.stop() == 0

    journal = floor.state / "journal.db"
    broken = bytearray(journal.read_bytes())
    broken[100:] = os.urandom(len(broken) - 100)
    journal.write_bytes(broken)
    refused = floor.launch()
    assert refused.popen.wait(20) == 3
    assert "Move the whole state directory aside" in refused.said
    assert journal.read_bytes() == broken
    floor.state.rename(floor.folder / "aside")
    floor.launch().ready()
    assert coins in _reasons(floor)["UNEXPLAINED_POSITION"]
    assert floor.stops("SOL/USD") == floor.held("SOL/USD") > 0
