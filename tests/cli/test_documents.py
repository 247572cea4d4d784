"""`hands send` and `hands new`: real files in a real folder, answered by a thread that plays the daemon."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hands.cli.documents import stamped

DEADLINE_S = 10.0
BRACKET = Path("intents/examples/01-equity-bracket-long.json")


@dataclass
class Answerer:
    """Takes what appears in `folder` and answers it with the next of `receipts` (a list: one after another)."""

    folder: Path
    receipts: list[list[dict[str, Any]]] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not self.stop.wait(0.002) and time.monotonic() < deadline:
            for path in sorted(self.folder.glob("*.json")):
                if not path.name.startswith("."):
                    self._answer(path)

    def _answer(self, path: Path) -> None:
        document = json.loads(path.read_text())  # whole at once, or this fails
        self.taken.append(document)
        path.unlink()
        for receipt in self.receipts[len(self.taken) - 1]:
            place = self.folder / "receipts" / f"{document['intent_id']}.json"
            if receipt["verdict"] == "REFUSED":
                place = self.folder / "refused" / f"{path.name}.receipt.json"
            whole = {"intent_id": document["intent_id"], "message": "m", "next": "n", "checks": []} | receipt
            part = place.with_suffix(".tmp")
            part.write_text(json.dumps(whole))
            part.rename(place)


OPEN = {"verdict": "ACCEPTED", "code": "OK", "state": "OPEN"}
CLOSED = OPEN | {"state": "CLOSED"}
REJECTED = {"verdict": "REJECTED", "code": "EXPIRED", "state": "REJECTED"}
REFUSED = {"verdict": "REFUSED", "code": "DUPLICATE_INTENT", "state": "REFUSED"}


@pytest.fixture
def answerer(tmp_path: Path) -> Iterator[Answerer]:
    folder = tmp_path / "intents"
    for name in ("receipts", "refused"):
        (folder / name).mkdir(parents=True)
    found = Answerer(folder)
    thread = threading.Thread(target=found.run)
    thread.start()
    yield found
    found.stop.set()
    thread.join(DEADLINE_S)


def _send(hands, answerer: Answerer, *arguments: object) -> Any:
    return hands("send", *arguments, "--intents", answerer.folder, "--json")


@pytest.mark.parametrize(("receipt", "code"), [(OPEN, 0), (REJECTED, 1), (REFUSED, 1)])
def test_send_exits_as_the_verdict_says(
    hands, answerer: Answerer, receipt: dict[str, Any], code: int
) -> None:
    answerer.receipts = [[receipt]]
    result = _send(hands, answerer, "--stamp", BRACKET)
    assert (result.exit_code, result.document["code"]) == (code, receipt["code"])
    assert [path.name for path in answerer.folder.iterdir() if path.is_file()] == []


def test_send_waits_until_the_trade_is_over(hands, answerer: Answerer) -> None:
    answerer.receipts = [[OPEN, CLOSED]]
    result = _send(hands, answerer, "--stamp", "--wait", "closed", "--timeout", DEADLINE_S, BRACKET)
    assert (result.exit_code, result.document["state"]) == (0, "CLOSED")


def test_a_trade_that_is_not_over_in_time_exits_1(hands, answerer: Answerer) -> None:
    answerer.receipts = [[OPEN]]
    result = _send(hands, answerer, "--stamp", "--wait", "closed", "--timeout", "0.2", BRACKET)
    assert (result.exit_code, result.document["timed_out"]) == (1, True)


def test_without_stamp_the_bytes_are_dropped_as_they_are(hands, answerer: Answerer) -> None:
    answerer.receipts = [[REJECTED]]
    _send(hands, answerer, BRACKET)
    assert answerer.taken == [json.loads(BRACKET.read_text())]


def test_the_receipt_of_an_earlier_document_is_not_taken_for_an_answer(hands, answerer: Answerer) -> None:
    intent_id = json.loads(BRACKET.read_text())["intent_id"]
    (answerer.folder / "receipts" / f"{intent_id}.json").write_text(json.dumps(OPEN))
    answerer.receipts = [[REFUSED]]
    result = _send(hands, answerer, BRACKET)
    assert (result.exit_code, result.document["code"]) == (1, "DUPLICATE_INTENT")


def test_several_files_are_answered_in_order(hands, answerer: Answerer) -> None:
    answerer.receipts = [[OPEN], [REJECTED]]
    result = _send(hands, answerer, "--stamp", BRACKET, "intents/examples/02-crypto-long.json")
    assert result.exit_code == 1
    assert [receipt["verdict"] for receipt in result.document] == ["ACCEPTED", "REJECTED"]
    assert [document["asset"] for document in answerer.taken] == ["AAPL", "SOL/USD"]


def test_what_cannot_be_read_is_not_dropped(hands, answerer: Answerer) -> None:
    result = _send(hands, answerer, "intents/examples/06-malformed.json")
    assert (result.exit_code, result.document["code"]) == (1, "MALFORMED_JSON")
    assert answerer.taken == []


def test_no_answer_is_no_daemon(hands, tmp_path: Path) -> None:
    result = hands("send", "--stamp", BRACKET, "--intents", tmp_path, "--timeout", "0.1", "--json")
    assert (result.exit_code, result.document["verdict"]) == (3, None)


def test_no_folder_and_no_file_exit_2(hands, tmp_path: Path) -> None:
    assert hands("send", BRACKET, "--intents", tmp_path / "absent").exit_code == 2
    assert hands("send", tmp_path / "absent.json", "--intents", tmp_path).exit_code == 2


def test_send_drops_where_the_daemon_looks(hands, answerer: Answerer, daemon) -> None:
    daemon.states("status", intents=str(answerer.folder))
    answerer.receipts = [[OPEN]]
    assert hands("send", "--stamp", BRACKET, "--state", daemon.state_dir).exit_code == 0


def test_a_stamp_changes_the_id_and_the_time_and_no_other_digit() -> None:
    text = BRACKET.read_text().replace("150.0,", "150.000000001,")
    fresh, old = json.loads(stamped(text.encode())), json.loads(text)
    assert b"150.000000001" in stamped(text.encode())
    assert uuid.UUID(fresh["intent_id"]) != uuid.UUID(old["intent_id"])
    assert fresh.keys() == old.keys()
    assert {k: v for k, v in fresh.items() if k not in {"intent_id", "timestamp"}} == {
        k: v for k, v in old.items() if k not in {"intent_id", "timestamp"}
    }


# --- new -----------------------------------------------------------------------------------------------------

NEW = ("new", "AAPL", "LONG", "--stop", "148", "--target", "155")


def test_new_writes_a_complete_intent_at_the_quote(hands, daemon) -> None:
    daemon.quotes()
    document = hands(*NEW, "--state", daemon.state_dir).document
    assert (document["trigger_price"], document["stop_loss"], document["take_profit"]) == (150.0, 148, 155)
    short = hands(
        "new", "AAPL", "short", "--stop", "152", "--target", "145", "--state", daemon.state_dir
    ).document
    assert (short["direction"], short["trigger_price"]) == ("SHORT", 149.98)


def test_new_takes_every_field(hands, daemon) -> None:
    daemon.quotes()
    options = ("--trigger", "149.5", "--confidence", "0.9", "--ttl", "10", "--strategy", "me/v1", "--entry", "touch",
               "--arm", "600", "--qty", "5", "--max-hold", "60", "--thesis", "because")  # fmt: skip
    document = hands(*NEW, *options, "--state", daemon.state_dir, "--json").document
    assert document["entry"] == "touch"
    assert document["arm_seconds"] == 600
    assert (document["trigger_price"], document["qty"], document["max_hold_seconds"]) == (149.5, 5, 60)
    assert (document["strategy_ref"], document["thesis"], document["ttl_seconds"]) == ("me/v1", "because", 10)


@pytest.mark.parametrize(
    "options", [("--trigger", "1e5000"), ("--confidence", "2"), ("--qty", "-1"), ("--arm", "5")]
)
def test_new_refuses_what_could_not_be_read(hands, daemon, options: tuple[str, str]) -> None:
    daemon.quotes()
    assert hands(*NEW, *options, "--state", daemon.state_dir).exit_code == 2


def test_new_without_a_quote_exits_1(hands, daemon) -> None:
    daemon.quotes(bid=None, ask=None)
    assert hands(*NEW, "--state", daemon.state_dir).exit_code == 1


def test_new_sends_what_it_wrote(hands, answerer: Answerer, daemon) -> None:
    daemon.quotes()
    daemon.states("status", intents=str(answerer.folder))
    answerer.receipts = [[OPEN], [REJECTED]]
    assert hands(*NEW, "--send", "--state", daemon.state_dir).exit_code == 0
    assert answerer.taken[0]["asset"] == "AAPL"
    assert hands(*NEW, "--send", "--state", daemon.state_dir, "--json").exit_code == 1
