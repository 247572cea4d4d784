"""`hands export`: the ledger as a file that spreadsheets and programs can read, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import stat
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hands.cli import export
from hands.cli.main import app
from hands.core.units import NS_PER_S
from hands.journal.exports import EXPORTS, Span, open_for_export
from tests.cli.test_explain import ledger_of
from tests.core.desk import Desk
from tests.core.world import NOW, intent_id

HOSTILE = '=HYPERLINK("http://x.example";"a,b")\x1b[2J'


@pytest.fixture
def sold(state_dir: Path) -> Path:
    """The state of a session with a share and a coin that reached their targets, and a refusal; the words are an agent's."""
    desk = Desk()
    desk.drop(1, thesis=HOSTILE, strategy_ref="-1+1")
    desk.drop(2, asset="SOL/USD", trigger_price="150", stop_loss="147", take_profit="160")
    desk.run(0.5)
    desk.quote("AAPL", "155.01", "155.03")
    desk.quote("SOL/USD", "160.10", "160.12")
    desk.run(3)
    desk.drop(3, asset="QQQ")
    desk.run(0.1)
    return ledger_of(desk, state_dir)


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_trades_as_csv_with_both_legs(hands, sold: Path) -> None:
    outcome = hands("export", "trades", "--state", sold)
    assert outcome.exit_code == 0
    rows = {row["asset"]: row for row in read(outcome.stdout)}
    share, coin = rows["AAPL"], rows["SOL/USD"]
    assert (share["entry_qty"], share["entry_avg_price"], share["entry_value_usd"]) == ("66", "150", "9900")
    assert (share["exit_qty"], share["exit_avg_price"], share["exit_value_usd"]) == (
        "66",
        "155.01",
        "10230.66",
    )
    assert (share["pnl_usd"], share["fees_usd"], share["fees_estimated"]) == ("330.66", "0", "false")
    assert (share["exit_reason"], share["intent_id"], share["agent"]) == ("TP", intent_id(1), "default")
    assert share["entry_client_order_ids"]
    assert share["exit_order_ids"]
    assert share["entry_client_order_ids"] != share["exit_client_order_ids"]
    assert (coin["exit_reason"], coin["fees_estimated"], coin["thesis"]) == ("TP", "true", "")
    assert float(coin["fees_usd"]) > 0
    assert float(coin["entry_qty"]) > float(coin["exit_qty"]) > 0  # the fee came out of the coins


def test_an_agents_words_are_no_formula_in_csv_and_as_they_were_in_json(hands, sold: Path) -> None:
    (share,) = [
        row for row in read(hands("export", "trades", "--state", sold).stdout) if row["asset"] == "AAPL"
    ]
    assert share["thesis"] == "'" + HOSTILE.replace("\x1b", "?")
    assert share["strategy_ref"] == "'-1+1"
    found = hands("export", "trades", "--json", "--state", sold).document
    assert found["columns"] == list(EXPORTS["trades"].columns)
    (share,) = [row for row in found["rows"] if row["asset"] == "AAPL"]
    assert (share["thesis"], share["strategy_ref"], share["fees_estimated"]) == (HOSTILE, "-1+1", False)
    assert isinstance(share["entry_client_order_ids"], list)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""), (True, "true"), (False, "false"), ("-12.5", "-12.5"), (-3, "-3"), (["a", "b"], "a b"),
        ("=1", "'=1"), ("+1", "'+1"), ("-x", "'-x"), ("@x", "'@x"), (" \n=1", " \n'=1"), ("\t=1", "?=1"),
        ("\uff1d1", "'\uff1d1"), ("a;=1", "a;'=1"), ("a=1, b-2", "a=1, b-2"), ("-1.2.3", "'-1.2.3"), ("\x00\r", "??"),
    ],
)  # fmt: skip
def test_a_cell_says_what_it_says_and_runs_nothing(value: object, shown: str) -> None:
    assert export.cell(value) == shown


def test_fills_and_intents_as_lines_of_json(hands, sold: Path) -> None:
    fills = [
        json.loads(line) for line in hands("export", "fills", "--jsonl", "--state", sold).stdout.splitlines()
    ]
    assert [fill["at_ns"] for fill in fills] == sorted(fill["at_ns"] for fill in fills)
    assert {(fill["symbol"], fill["side"]) for fill in fills} >= {("AAPL", "buy"), ("AAPL", "sell")}
    intents = [
        json.loads(line)
        for line in hands("export", "intents", "--jsonl", "--state", sold).stdout.splitlines()
    ]
    told = {row["intent_id"]: row for row in intents}
    assert (told[intent_id(3)]["verdict"], told[intent_id(3)]["code"]) == ("REJECTED", "SYMBOL_NOT_ALLOWED")
    assert (told[intent_id(1)]["plan_qty"], told[intent_id(1)]["plan_bound_by"]) == (
        "66",
        "max_position_size",
    )


def test_dates_are_those_of_the_zone_and_the_last_is_not_included(hands, sold: Path) -> None:
    """The session was at 15:00 UTC."""
    at = ("export", "trades", "--json", "--state", sold)
    day = Span().day(NOW)
    assert day is not None
    following = Span().day(NOW + 86_400 * NS_PER_S)
    assert len(hands(*at, "--from", day, "--to", following).document["rows"]) == 2
    assert hands(*at, "--to", day).document["rows"] == []
    kiribati = ("--tz", "Pacific/Kiritimati")  # 14 hours ahead: there it is the next day already
    assert hands(*at, "--to", following, *kiribati).document["rows"] == []
    (row, _) = hands(*at, "--from", following, *kiribati).document["rows"]
    assert (row["entry_date"], row["opened_at"][-6:]) == (following, "+14:00")
    nothing = hands("export", "trades", "--state", sold, "--to", "2020-01-01T00:00:00+01:00")
    assert (nothing.exit_code, read(nothing.stdout)) == (0, [])
    assert nothing.stdout.startswith("intent_id,")


def test_a_file_appears_whole_for_its_owner_alone(hands, sold: Path, tmp_path: Path) -> None:
    place = tmp_path / "fills.csv"
    place.write_text("older")
    outcome = hands("export", "fills", "--state", sold, "--out", place)
    assert (outcome.exit_code, outcome.stdout) == (
        0,
        f"{len(read(place.read_bytes().decode()))} fills in {place}\n",
    )
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    written = place.read_bytes()
    assert written == CliRunner().invoke(app, ["export", "fills", "--state", str(sold)]).stdout_bytes
    assert written.count(b"\r\n") == written.count(b"\n") > 2
    said = hands("export", "fills", "--state", sold, "--json", "--out", tmp_path / "fills.json").document
    assert said["rows"] == len(json.loads((tmp_path / "fills.json").read_text())["rows"]) > 0


def test_a_file_that_cannot_be_finished_leaves_the_older_one(
    hands, sold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "fills.csv"
    place.write_text("older")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(export.WRITERS, "csv", full)
    outcome = hands("export", "fills", "--state", sold, "--out", place)
    assert (outcome.exit_code, outcome.stderr) == (1, f"hands: {place}: No space left on device\n")
    assert place.read_text() == "older"
    assert not list(tmp_path.glob(".fills*"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--from", "yesterday"), ("--from", "2026-13-01"), ("--to", "2026-01-05T00:00:00"), ("--tz", "Moon/Sea"),
        ("--tz", "../etc"), ("--from", "2026-01-02", "--to", "2026-01-02"), ("--csv", "--jsonl"),
        ("--out", "nowhere/fills.csv"), ("--out", "/dev/null"), ("--state", "nowhere"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_ends_with_2(hands, sold: Path, arguments: tuple[str, ...]) -> None:
    outcome = hands("export", "fills", "--state", sold, *arguments)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("hands: ")


def test_a_locked_ledger_is_said_to_be_locked(hands, sold: Path) -> None:
    with closing(sqlite3.connect(sold / "hands.db", isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        outcome = hands("export", "fills", "--state", sold, "--json")
    assert outcome.exit_code == 1
    assert "is locked by another program" in outcome.document["error"]


def test_many_fills_cost_no_memory(state_dir: Path, sold: Path) -> None:
    many = 2_500
    with closing(sqlite3.connect(sold / "hands.db")) as db, db:
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) INSERT INTO ledger_fills"
            " (execution_id, symbol, side, leg, qty_nano, price_nano, fee_nano, at_ns)"
            " SELECT 'many-' || i, 'AAPL', 'buy', 'entry', 1000000000, i * 1000000, 0, i FROM n",
            (many,),
        )
    with closing(open_for_export(sold / "hands.db", "fills")) as db, Path("/dev/null").open("w") as nowhere:
        tracemalloc.start()
        try:
            fills = EXPORTS["fills"]
            assert export.WRITERS["jsonl"](nowhere, fills.columns, fills.rows(db, Span())) > many
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 150_000  # bytes; together the rows are about a megabyte
