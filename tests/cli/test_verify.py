"""`hands verify`: the verdict in words and as one document, its exit codes, and what it says of the key."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from hands.journal import heads, reexecution
from hands.journal.keys import FIRST_NAME
from tests.journal.recorded import record


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("record") / "var")


@pytest.fixture
def state(whole: Path, tmp_path: Path) -> Path:
    """A copy to be changed, whose first key was taken away."""
    folder = tmp_path / "var"
    shutil.copytree(whole, folder)
    (folder / FIRST_NAME).rename(tmp_path / "taken")
    return folder


def test_a_record_that_comes_out_again_is_identical(hands, state: Path) -> None:
    result = hands("verify", state, "--key", state.parent / "taken")
    assert result.exit_code == 0
    assert "IDENTICAL" in result.stdout
    assert "requests byte by byte" in result.stdout
    assert "were checked with the first key" in result.stdout
    assert "anchored until step" in result.stdout
    assert result.stderr == ""


def test_the_document_has_every_number(hands, state: Path) -> None:
    result = hands("verify", state, "--key", state.parent / "taken", "--json")
    found = result.document
    assert result.exit_code == 0
    assert (found["ok"], found["verdict"], found["first_difference"], found["faults"]) == (
        True,
        "identical",
        None,
        [],
    )
    one, other = found["sessions"]
    assert one["tally"]["decisions"] > 50
    assert (one["is_ended"], other["is_ended"], one["gaps"]) == (False, True, [])
    assert one["requests"] > 0
    assert found["evidence"]["is_proven"]
    assert found["handovers"] == 1
    assert found["open_business_compared"]
    assert found["steps_per_s"] > 0


def test_without_the_key_it_says_that_nothing_is_proven(hands, state: Path) -> None:
    result = hands("verify", state)
    assert result.exit_code == 0
    assert "NOT proven" in result.stdout


def test_a_key_that_was_left_where_it_lay_is_used_and_warned_of(hands, whole: Path) -> None:
    result = hands("verify", whole)
    assert result.exit_code == 0
    assert "were checked with the first key" in result.stdout
    assert "hands journal key" in result.stderr


def test_a_record_that_was_changed_is_told_with_both_sides(hands, state: Path) -> None:
    with closing(sqlite3.connect(state / "journal.db")) as db:
        (seq,) = db.execute("SELECT max(seq) FROM outbox").fetchone()
        db.execute("UPDATE outbox SET row = replace(CAST(row AS TEXT), '\"', '''') WHERE seq = ?", (seq,))
        db.commit()
    result = hands("verify", state)
    assert result.exit_code == 1
    assert f"the first difference: step {seq}" in result.stdout
    assert "  recorded  " in result.stdout
    assert "  again     " in result.stdout
    assert "DIFFERENT" in result.stdout
    document = hands("verify", state, "--json").document
    assert (document["ok"], document["verdict"]) == (False, "different")
    assert document["first_difference"]["seq"] == seq


def test_a_record_that_lacks_something_is_damaged(hands, state: Path) -> None:
    with (state / "anchors").open("ab") as file:
        file.write(b"\n")
    assert hands("verify", state, "--json").document["verdict"] == "identical", "an empty line says nothing"
    with closing(sqlite3.connect(state / "journal.db")) as db:
        db.execute("DELETE FROM outbox WHERE id = 30")
        db.commit()
    result = hands("verify", state, "--session", "last")
    assert result.exit_code == 1
    assert "rows for the ledger are missing between 29 and 31" in result.stdout
    assert "DAMAGED" in result.stdout


def test_what_another_version_recorded_is_not_called_different(
    hands, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = heads.versions()
    monkeypatch.setattr(reexecution, "versions", lambda: msgspec.structs.replace(now, hands="9.9.9"))
    result = hands("verify", state)
    assert result.exit_code == 0
    assert "NOT COMPARED" in result.stdout
    assert f"recorded with hands {now.hands} (here 9.9.9)" in result.stdout
    anyway = hands("verify", state, "--anyway")
    assert anyway.exit_code == 0
    assert "IDENTICAL" in anyway.stdout


def test_one_session_is_chosen_by_its_number_or_as_the_last(hands, state: Path) -> None:
    numbers = [each["number"] for each in hands("verify", state, "--json").document["sessions"]]
    for asked, number in (("last", numbers[-1]), (str(numbers[0]), numbers[0])):
        found = hands("verify", state, "--session", asked, "--json").document["sessions"]
        assert [each["number"] for each in found] == [number]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("--session", "7"), "there is no session 7"), (("--session", "first"), "--session takes a number or last"),
     (("--anchors", "nowhere"), "--anchors: nowhere: no such file"), (("--key", "nowhere"), "No such file"),
     (("--key", "/dev/null"), "is no first key")],
)  # fmt: skip
def test_what_cannot_be_meant_exits_2(hands, state: Path, arguments: tuple[str, ...], says: str) -> None:
    result = hands("verify", state, *arguments, "--json")
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.document["ok"] is False


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_where_nothing_is_recorded_it_exits_3(hands, tmp_path: Path, place: str) -> None:
    result = hands("verify", tmp_path / place, "--json")
    assert result.exit_code == 3
    assert "nothing is recorded there" in result.document["error"]


def test_an_interruption_is_a_document_too(hands, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hands.runtime.proof.verify", stop)
    monkeypatch.setattr("hands.replay.report_data.windows", stop)
    for command in ("verify", "report"):
        result = hands(command, state, "--json")
        assert result.exit_code == 130
        assert result.document["error"].startswith("interrupted; ")
