"""Receipts are replaced whole, and what cannot be written is said."""

from __future__ import annotations

import threading
from pathlib import Path

import orjson
import pytest

from hands.intake.reading import IntakeError
from hands.intake.receipts import ReceiptWriter


def test_a_receipt_replaces_the_former_one_and_leaves_nothing_else(tmp_path: Path):
    writer = ReceiptWriter(tmp_path)
    for seq in (1, 2):
        writer.write("id-1", {"v": 1, "seq": seq, "message": "é"})
    assert [path.name for path in (tmp_path / "receipts").iterdir()] == ["id-1.json"]
    assert orjson.loads((tmp_path / "receipts/id-1.json").read_bytes()) == {"v": 1, "seq": 2, "message": "é"}


def test_a_reader_never_sees_half_a_receipt(tmp_path: Path):
    writer = ReceiptWriter(tmp_path)
    writer.write("id-1", {"seq": 0, "text": ""})
    path = tmp_path / "receipts/id-1.json"
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(orjson.loads(path.read_bytes())["seq"])

    reader = threading.Thread(target=read)
    reader.start()
    for seq in range(1, 500):
        writer.write("id-1", {"seq": seq, "text": "x" * (seq * 37 % 20_000)})
    done.set()
    reader.join()
    assert seen == sorted(seen)


def test_a_missing_receipts_folder_is_made_again_and_a_link_in_its_place_is_not_followed(tmp_path: Path):
    writer = ReceiptWriter(tmp_path / "intents")
    writer.write("id-1", {})
    (tmp_path / "intents/receipts/id-1.json").unlink()
    (tmp_path / "intents/receipts").rmdir()
    writer.write("id-1", {})
    (tmp_path / "intents/receipts/id-1.json").unlink()
    (tmp_path / "intents/receipts").rmdir()
    (tmp_path / "intents/receipts").symlink_to(tmp_path)
    with pytest.raises(IntakeError, match="id-1"):
        writer.write("id-1", {})
    assert not (tmp_path / "id-1.json").exists()


@pytest.mark.parametrize("intent_id", ["../x", "", "a/b", ".x"])
def test_an_id_that_is_not_a_file_name_is_our_own_bug(tmp_path: Path, intent_id: str):
    with pytest.raises(ValueError, match="file name"):
        ReceiptWriter(tmp_path).write(intent_id, {})
