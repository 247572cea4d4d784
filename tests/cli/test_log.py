"""hands log: lines, one document, what is grave enough, and following a ledger that grows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hands.cli.log import happening_line
from hands.journal.ledger import Ledger
from hands.journal.schema import encode_row
from hands.journal.store import JournalStore


class Book:
    """A ledger in a state directory, as a daemon writes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = JournalStore(folder / "journal.db")
        self.ledger = Ledger(folder / "hands.db", self.journal.path)
        self.ledger.start()
        self.say("ACTIVE", "cleared", 0)

    def say(self, state: str, event: str, at_ns: int | None = None, detail: str = "") -> None:
        """Record a change of the trading state, now unless a time is given."""
        row = {
            "at_ns": time.time_ns() if at_ns is None else at_ns, "state": state, "reason": "OPERATOR", "event": event,
            "detail": detail,
        }  # fmt: skip
        self.journal.outbox(1, "states", encode_row(row))
        self.journal.commit()
        self.ledger.wake()
        assert self.ledger.flush(5)

    def close(self) -> None:
        self.ledger.close(5)
        self.journal.close()


@pytest.fixture
def book(state_dir: Path):
    found = Book(state_dir)
    yield found
    found.close()


def test_what_happened_since_is_one_document_or_lines(hands, book: Book) -> None:
    book.say("HALTED", "set", detail="en\x1bough")
    result = hands("log", "--state", book.folder, "--json")
    assert result.exit_code == 0
    [happened] = result.document["happened"]
    assert (happened["kind"], happened["level"], happened["code"]) == ("state", "critical", "OPERATOR")
    plain = hands("log", "--state", book.folder).stdout
    assert plain.endswith(" X OPERATOR set; trading is HALTED: en?ough\n")


def test_a_level_and_a_span_leave_the_rest_out(hands, book: Book) -> None:
    book.say("REDUCE_ONLY", "set")
    book.say("ACTIVE", "cleared")
    book.say("HALTED", "set", at_ns=time.time_ns() - 3 * 3600 * 10**9)

    def levels(*arguments: str) -> list[str]:
        found = hands("log", "--state", book.folder, "--json", *arguments).document["happened"]
        return [each["level"] for each in found]

    assert levels() == ["warning", "info"]
    assert levels("--level", "warning") == ["warning"]
    assert levels("--since", "4h") == ["critical", "warning", "info"]
    assert levels("--since", "4h", "--level", "critical") == ["critical"]


@pytest.mark.parametrize("arguments", [("--since", "yesterday"), ("--level", "loud"), ("--since", "0h")])
def test_what_cannot_be_meant_exits_2(hands, book: Book, arguments: tuple[str, ...]) -> None:
    assert hands("log", "--state", book.folder, *arguments).exit_code == 2


def test_without_a_ledger_there_is_nothing_to_read(hands, state_dir: Path) -> None:
    result = hands("log", "--state", state_dir, "--json")
    assert result.exit_code == 2
    assert "hands.db" in result.document["error"]


def test_following_tells_what_is_written_meanwhile_and_ends_with_130(book: Book) -> None:
    book.say("HALTED", "set")
    command = [sys.executable, "-m", "hands", "log", "--follow", "--json", "--state", str(book.folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        first: dict[str, Any] = json.loads(process.stdout.readline())
        book.say("ACTIVE", "cleared")
        second: dict[str, Any] = json.loads(process.stdout.readline())
        assert [each["text"].split(";")[0] for each in (first, second)] == [
            "OPERATOR set",
            "OPERATOR cleared",
        ]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_line_says_when_how_grave_what_about_and_what() -> None:
    each = {
        "kind": "fill", "at_ns": 1_790_000_000_123_456_789, "level": "info", "symbol": "AAPL", "agent": "default",
        "intent_id": "6f9619ff-8b86-4d01-b42d-00cf4fc964ff", "text": "entry filled:\nbuy 66 at 150" + "x" * 400,
    }  # fmt: skip
    line = happening_line(each)
    assert line.startswith("2026-09-21 14:13:20.123   AAPL 6f9619ff default  entry filled: buy 66 at 150")
    assert line.endswith("xxx...")
