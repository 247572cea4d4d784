"""Documents from lines, files, folders and a former session: when each arrives, whose it is, and its bytes as they were."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hands.core.events import DocumentReceived
from hands.core.units import Ns
from hands.core.vocab import Code
from hands.replay.arrivals import (
    SIZE_MAX,
    Arrival,
    ArrivalError,
    in_order,
    read_arrivals,
    received,
    taken,
)
from tests.replay.markets import NOON

WRITTEN = "2026-01-05T15:00:00Z"


def line(**fields: object) -> str:
    return json.dumps({"intent": {"intent_id": "x", "timestamp": WRITTEN}} | fields)


def lines(tmp_path: Path, *text: str) -> Path:
    path = tmp_path / "brain.jsonl"
    path.write_text("\n".join(text))
    return path


def test_a_line_says_when_and_whose_and_else_the_document_says_when(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        line(at=NOON + 3, agent="momentum", name="a.json"),
        "",
        line(at="2026-01-05T15:00:00.000000001Z"),
        line(),
    )
    assert [(a.at_ns, a.agent, a.name) for a in read_arrivals(path)] == [
        (NOON, "default", "line-4.json"),
        (NOON + 1, "default", "line-3.json"),
        (NOON + 3, "momentum", "a.json"),
    ]


def test_the_documents_bytes_stay_as_they_are(tmp_path: Path) -> None:
    raw = '{"intent_id": "x",  "trigger_price": 150.10, "trigger_price": 1e2}'
    [arrival] = read_arrivals(lines(tmp_path, f'{{"at": 5, "intent": {raw}}}'))
    assert arrival.data == raw.encode()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1]", "not a JSON object"),
        ("{}", "a line is"),
        (line(when=3), "not known: when"),
        (line(at=1.5), "at is 1.5"),
        (line(at=True), "at is True"),
        (line(at="yesterday"), "at: "),
        (line(agent=""), "agent is ''"),
        ('{"intent": {"timestamp": "soon"}}', "says when it arrives"),
        ('{"intent": [1]}', "says when it arrives"),
    ],
)
def test_a_line_that_says_nothing_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = lines(tmp_path, line(), text)
    with pytest.raises(ArrivalError, match=r"brain\.jsonl:2") as caught:
        read_arrivals(path)
    assert says in str(caught.value)


def test_a_folder_is_read_like_the_drop_folder(tmp_path: Path) -> None:
    agent = tmp_path / "agents" / "momentum"
    agent.mkdir(parents=True)
    (agent / "b.json").write_text(json.dumps({"timestamp": WRITTEN}))
    (tmp_path / "a.json").write_text("{ no json")
    os.utime(tmp_path / "a.json", ns=(7, 7))
    (tmp_path / ".hidden.json").write_text("{}")
    (tmp_path / "HALT").write_text("")
    (tmp_path / "big.json").write_bytes(b" " * (SIZE_MAX + 1))
    os.utime(tmp_path / "big.json", ns=(9, 9))
    assert read_arrivals(tmp_path) == [
        Arrival(7, "default", "a.json", b"{ no json"),
        Arrival(9, "default", "big.json", b"", Code.TOO_LARGE),
        Arrival(NOON, "momentum", "b.json", json.dumps({"timestamp": WRITTEN}).encode()),
    ]


def test_one_file_is_one_document_or_lines(tmp_path: Path) -> None:
    one, many = tmp_path / "one.json", tmp_path / "many.json"
    one.write_text(json.dumps({"intent_id": "x", "timestamp": WRITTEN}, indent=1))
    many.write_text(f"{line(at=1)}\n{line(at=2)}\n")
    assert [a.at_ns for a in read_arrivals(one)] == [NOON]
    assert [a.at_ns for a in read_arrivals(many)] == [1, 2]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArrivalError, match=r"nowhere\.jsonl: No such file"):
        read_arrivals(tmp_path / "nowhere.jsonl")
    with pytest.raises(ArrivalError, match="no folder of documents"):
        read_arrivals(tmp_path)


def test_a_former_sessions_documents_arrive_when_they_did(tmp_path: Path) -> None:
    event = DocumentReceived(
        ts_ns=Ns(11),
        agent="momentum",
        name="a.json",
        data=b"{}\xff",
        file_event_ns=Ns(10),
        fault=Code.UNAUTHORISED,
    )
    assert taken(event) == Arrival(11, "momentum", "a.json", b"{}\xff", Code.UNAUTHORISED)
    (tmp_path / "journal.db").write_bytes(b"no database")
    with pytest.raises(ArrivalError, match=str(tmp_path)):
        read_arrivals(tmp_path)


def test_those_of_one_moment_stay_in_order() -> None:
    made = [Arrival(at_ns, "default", str(n), b"") for n, at_ns in enumerate((5, 3, 5, 3))]
    assert [a.name for a in in_order(made)] == ["1", "3", "0", "2"]


def test_an_arrival_is_the_event_that_the_daemon_gets() -> None:
    event = received(Arrival(5, "momentum", "a.json", b"{}"), 9)
    assert (event.ts_ns, event.file_event_ns, event.agent, event.name, event.data) == (
        9,
        9,
        "momentum",
        "a.json",
        b"{}",
    )
    assert event.fault is None
    large = received(Arrival(5, "default", "a.json", b"", Code.TOO_LARGE), 9)
    assert large.fault_detail == f"larger than {SIZE_MAX} bytes"
