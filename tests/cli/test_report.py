"""`hands report`: a page and a summary from a state directory, and every way in which it says no."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.cli.test_explain import ledger_of
from tests.core.desk import Desk
from tests.replay.made_ledger import DAY, HOUR, T0, Book, empty_ledger


def kept(ledger: sqlite3.Connection, folder: Path) -> Path:
    """Write a ledger where a state directory has it."""
    with sqlite3.connect(folder / "hands.db") as copy:
        ledger.backup(copy)
    return folder


@pytest.fixture
def session(state_dir: Path) -> Path:
    book = Book()
    book.trade(T0, T0 + HOUR, strategy="\x1b]0;owned\x07<b>bold</b>")
    book.trade(T0 + DAY, T0 + DAY + HOUR, exit=98.0, reason="SL", strategy="b/v1")
    book.refusal(T0)
    return kept(book.db, state_dir)


def test_a_page_beside_the_ledger_and_a_summary_for_people(hands, session: Path) -> None:
    outcome = hands("report", session)
    assert outcome.exit_code == 0
    page = session / "report.html"
    assert page.read_text("utf-8").startswith("<!doctype html>")
    assert outcome.stdout.rstrip().endswith(str(page))
    assert "2 trades ended, 1 with a profit" in outcome.stdout
    assert "-10.00 USD  -0.01% of capital" in outcome.stdout
    assert "\x1b" not in outcome.stdout


def test_the_numbers_as_one_document_and_a_page_only_where_it_is_asked_for(
    hands, session: Path, tmp_path: Path
) -> None:
    found = hands("report", session, "--json").document
    assert (found["headline"]["net_pnl_usd"], found["capital_usd"], found["page"]) == (-10, 100_000, None)
    assert not (session / "report.html").exists()
    out = tmp_path / "january.html"
    again = hands(
        "report", session, "--json", "--out", out, "--capital", "2500.50", "--title", "January"
    ).document
    assert (again["capital_usd"], again["capital_from"], again["title"], again["page"]) == (
        2500.5,
        "given",
        "January",
        str(out),
    )
    assert "<title>January" in out.read_text("utf-8")


def test_dates_are_those_of_the_zone(hands, session: Path) -> None:
    """The first trade ends at 10:30 in New York on the fifth, which is already the sixth in Kiribati."""
    for zone, trades in (("America/New_York", 1), ("Pacific/Kiritimati", 0)):
        found = hands(
            "report", session, "--from", "2026-01-05", "--to", "2026-01-06", "--tz", zone, "--json"
        ).document
        assert len(found["trades"]) == trades, zone
    exact = hands("report", session, "--from", "2026-01-06T09:00:00-05:00", "--json").document
    assert [trade["pnl"] for trade in exact["trades"]] == ["-20"]


def test_an_empty_session_has_a_page_that_says_so(hands, state_dir: Path) -> None:
    outcome = hands("report", kept(empty_ledger(), state_dir))
    assert outcome.exit_code == 0
    assert "no trade was opened" in outcome.stdout
    assert "nothing is recorded" in (state_dir / "report.html").read_text("utf-8")


def test_the_directory_of_the_configuration_is_the_one_meant(hands, session: Path, tmp_path: Path) -> None:
    config = tmp_path / "hands.toml"
    config.write_text(f'[folders]\nstate = "{session}"\n')
    assert hands("report", "--config", config, "--json").document["headline"]["trades"] == 2


def test_what_the_engine_itself_recorded_has_a_report(hands, state_dir: Path) -> None:
    """The rows of `decide`, not those of a test: a target reached, a refusal, a document whose id is known."""
    desk = Desk()
    desk.drop(1)
    desk.run(0.5)
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(3)
    desk.quote("AAPL", "149.98", "150.00")
    desk.drop(2, stop_loss="100", take_profit="260")
    desk.drop(1, agent="default")
    found = hands("report", ledger_of(desk, state_dir), "--json").document
    assert (found["headline"]["trades"], found["headline"]["won"]) == (1, 1)
    assert found["trades"][0]["exit_reason"] == "TP"
    assert found["protection"]["known"] == 1
    assert {row["code"] for row in found["verdicts"]["by_code"]} == {"OK", "STOP_TOO_FAR", "DUPLICATE_INTENT"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--tz", "Mars/Base"), "no zone 'Mars/Base'"), (("--from", "yesterday"), "--from"), (("--capital", "0"), "above 0"),
        (("--capital", "many"), "--capital"), (("--from", "2026-01-06", "--to", "2026-01-05"), "--from must lie before --to"),
        (("--out", "nowhere/page.html"), "cannot be written"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_ends_with_2(hands, session: Path, flags: tuple[str, ...], words: str) -> None:
    outcome = hands("report", session, *flags)
    assert outcome.exit_code == 2
    assert words in outcome.stderr


def test_a_directory_without_a_ledger_is_told(hands, tmp_path: Path) -> None:
    outcome = hands("report", tmp_path / "nowhere", "--json")
    assert outcome.exit_code == 2
    assert "hands.db cannot be opened" in outcome.document["error"]
    (tmp_path / "hands.db").write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    assert hands("report", tmp_path).exit_code == 2
