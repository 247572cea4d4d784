"""What cannot be written steps aside and comes back; nothing waits behind it but its own name."""

from __future__ import annotations

import logging
import math

import pytest

from hands.core.commands import ArchiveDocument
from hands.intake.reading import IntakeError
from hands.runtime.papers import PROBES, Filing, Papers


class Desk:
    """Papers whose writing fails where the test says so."""

    def __init__(self) -> None:
        self.wrote: list[str] = []
        self.tries = 0
        self.broken: dict[str, str] = {}
        self.papers = Papers(self._receipt, self._file, slice_s=math.inf)

    def _receipt(self, intent_id: str) -> None:
        self._write(f"receipt {intent_id}", intent_id)

    def _file(self, filing: Filing) -> None:
        self._write(f"{filing.name} {filing.data.decode()}", filing.name)

    def _write(self, paper: str, key: str) -> None:
        self.tries += 1
        if key in self.broken:
            raise IntakeError(f"{paper} not written") from OSError(28, self.broken[key])
        self.wrote.append(paper)

    def file(self, name: str, data: str = "x") -> None:
        filing = ArchiveDocument(intent_id=data, agent="default", name=name, data=data.encode(), judged_ns=1)
        self.papers.add_filing(filing)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_receipts_go_before_filings_and_a_changed_one_is_written_once(desk: Desk) -> None:
    desk.file("a.json")
    for intent_id in ("i1", "i2", "i1", "i1"):
        desk.papers.add_receipt(intent_id)
    desk.papers.write_some(10)
    assert desk.wrote == ["receipt i1", "receipt i2", "a.json x"]
    assert not desk.papers.are_due


def test_no_more_than_so_many_are_written_at_once(desk: Desk) -> None:
    for n in range(5):
        desk.papers.add_receipt(f"i{n}")
    desk.papers.write_some(3)
    assert len(desk.wrote) == 3
    assert desk.papers.are_due


def test_one_that_fails_holds_up_no_other(desk: Desk) -> None:
    desk.broken = {"a.json": "Read-only file system", "i1": "Read-only file system"}
    for name in ("a.json", "b.json", "c.json"):
        desk.file(name)
    for intent_id in ("i1", "i2"):
        desk.papers.add_receipt(intent_id)
    desk.papers.write_some(100)
    assert desk.wrote == ["receipt i2", "b.json x", "c.json x"]
    assert desk.papers.have_failed
    assert not desk.papers.are_due, "what failed is not tried again at once"
    desk.broken = {}
    desk.papers.try_again()
    desk.papers.write_some(100)
    assert desk.wrote[3:] == ["receipt i1", "a.json x"]
    assert not desk.papers.have_failed


def test_documents_of_one_name_are_filed_in_the_order_in_which_they_were_judged(desk: Desk) -> None:
    desk.broken = {"a.json": "No space left on device"}
    desk.file("a.json", "first")
    desk.papers.write_some(10)
    desk.file("a.json", "second")
    desk.broken = {}
    desk.papers.write_some(10)
    assert desk.wrote == [], "the second waits for the first"
    desk.papers.try_again()
    desk.papers.write_some(10)
    assert desk.wrote == ["a.json first", "a.json second"]


def test_a_fault_is_logged_once_and_so_is_its_end(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    desk.broken = {f"i{n}": "No space left on device" for n in range(50)} | {"a.json": "Permission denied"}
    desk.file("a.json")
    for n in range(50):
        desk.papers.add_receipt(f"i{n}")
    for _ in range(5):
        desk.papers.try_again()
        desk.papers.write_some(100)
    assert len([r for r in caplog.records if "cannot be written" in r.getMessage()]) == 2
    assert "not written" in str(desk.papers.fault)
    desk.broken = {}
    desk.papers.try_again()
    desk.papers.write_some(100)
    assert desk.papers.fault is None
    assert [r.getMessage() for r in caplog.records][-1] == "papers are written again"


def test_a_disk_that_refuses_is_asked_with_a_few_papers_and_with_ever_more_once_it_takes_them(
    desk: Desk,
) -> None:
    names = [f"{n}.json" for n in range(500)]
    desk.broken = dict.fromkeys([*names, *(f"i{n}" for n in range(500))], "No space left on device")
    for n, name in enumerate(names):
        desk.file(name)
        desk.papers.add_receipt(f"i{n}")
    desk.papers.write_some(10_000)

    def tried() -> int:
        before = desk.tries
        desk.papers.probe()
        desk.papers.write_some(10_000)
        return desk.tries - before

    assert [tried() for _ in range(20)] == [2 * PROBES] * 20, "full: no more than a few are tried at a time"
    desk.broken = {}
    tried()
    assert [tried() for _ in range(3)] == [4 * PROBES, 8 * PROBES, 16 * PROBES]
    rounds = 0
    while desk.papers.have_failed:
        tried()
        rounds += 1
    assert rounds <= 4
    assert sorted(desk.wrote) == sorted(
        [*(f"{name} x" for name in names), *(f"receipt i{n}" for n in range(500))]
    )


def test_every_paper_that_failed_gets_its_turn_though_others_fail_for_ever(desk: Desk) -> None:
    bad = {f"bad{n}.json": "Permission denied" for n in range(100)}
    desk.broken = bad | {"good.json": "No space left on device"}
    for name in desk.broken:
        desk.file(name)
    desk.papers.write_some(1000)
    desk.broken = bad
    for _ in range(100 // PROBES + 1):
        desk.papers.probe()
        desk.papers.write_some(1000)
    assert desk.wrote == ["good.json x"]


def test_a_turn_that_has_no_time_left_writes_one_paper_all_the_same() -> None:
    desk = Desk()
    desk.papers = Papers(desk._receipt, desk._file, slice_s=-1.0)
    for n in range(3):
        desk.papers.add_receipt(f"i{n}")
    desk.papers.write_some(100)
    assert len(desk.wrote) == 1


def test_probing_for_ever_with_nothing_to_write_costs_nothing_and_raises_nothing() -> None:
    """A journal that cannot be written is probed four times a second, whether or not any paper has failed."""
    papers = Papers(lambda intent_id: None, lambda filing: None)
    for _ in range(1_000):
        papers.probe()
    assert not papers.are_due
