"""`hands replay`: what it prints, its one document, what differs under other limits, and how it ends."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hands.cli.main import app
from hands.core.receipts import time_text
from hands.core.rows import RowKind
from tests.replay.markets import LOOSE, NOON, limits_file, some_intents, walk

MARKET = walk(("AAPL",), 900, 3, step_ms=400, jump=0.0006, odd=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded market, documents, two limits files and a strategy."""
    folder = tmp_path_factory.mktemp("replay")
    quotes, trades = folder / "AAPL_quotes.csv", folder / "AAPL_trades.csv"
    with quotes.open("w", newline="") as q, trades.open("w", newline="") as t:
        quote, trade = csv.writer(q), csv.writer(t)
        quote.writerow(("timestamp", "bid_price", "bid_size", "ask_price", "ask_size", "conditions", "tape"))
        trade.writerow(("timestamp", "price", "size", "exchange", "id", "conditions", "tape"))
        for row in MARKET.all:
            at = time_text(int(row["recv_ns"]))
            if row["kind"] == RowKind.QUOTE:
                quote.writerow((at, row["price"], row["size"], row["price2"], row["size2"], "R", "C"))
            else:
                trade.writerow((at, row["price"], row["size"], "V", row["trade_id"], "@", "C"))
    lines = [
        f'{{"at": {a.at_ns}, "agent": "default", "intent": {a.data.decode()}}}'
        for a in some_intents(MARKET, 14, 3)
    ]
    (folder / "brain.jsonl").write_text("\n".join(lines))
    limits_file(folder, "loose.toml", **LOOSE)
    limits_file(folder, "tight.toml", **(LOOSE | {"max_position_size": 0.03, "max_daily_trades": 3}))
    (folder / "binary.toml").write_bytes(b"\xff\xfe")
    (folder / "bad.py").write_text("def on_bar(view):\n    return view.nothing\n")
    return folder


def run(folder: Path, *more: str | Path) -> Result:
    market = [folder / "AAPL_quotes.csv", folder / "AAPL_trades.csv"]
    return CliRunner().invoke(app, ["replay", *map(str, (*market, "--limits", folder / "loose.toml", *more))])


def document(result: Result) -> dict[str, Any]:
    assert result.stdout.count("\n") == 1
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_replay_is_one_document_with_everything(folder: Path) -> None:
    result = run(folder, "--intents", folder / "brain.jsonl", "--json")
    assert result.exit_code == 0, result.stderr
    found = document(result)
    assert found["counters"]["rows"] == 900
    assert found["verdicts_by_code"]["OK"] >= 3
    assert len(found["verdicts"]) == found["counters"]["documents"]
    assert {trade["symbol"] for trade in found["trades"]} == {"AAPL"}
    gain = float(found["closing_equity"]) - float(found["opening_equity"])
    assert gain == pytest.approx(float(found["realised_pnl"]) + float(found["open_pnl"]), abs=0.01)
    assert all(isinstance(fill["price"], str) for fill in found["fills"])
    again = document(run(folder, "--intents", folder / "brain.jsonl", "--json"))
    assert again["digest"] == found["digest"]


def test_a_person_reads_verdicts_trades_and_the_digest(folder: Path) -> None:
    result = run(folder, "--intents", folder / "brain.jsonl", "--fills", "instant", "--latency-ms", "0.5")
    assert result.exit_code == 0, result.stderr
    for words in (
        "900 rows in",
        "fills instant, 0.5 ms each way",
        "OK",
        "trades over",
        "P&L",
        "digest ",
        "LONG",
    ):
        assert words in result.stdout


def test_a_market_alone_can_be_played_and_cut(folder: Path) -> None:
    result = run(folder, "--from", "2026-01-05T15:01:00Z", "--to", "2026-01-05T15:02:00Z", "--json")
    found = document(result)
    assert 0 < found["counters"]["rows"] < 300
    assert NOON + 60 * 10**9 <= found["from_ns"] <= found["to_ns"] < NOON + 120 * 10**9
    assert "no document was judged" in run(folder, "--symbols", "AAPL").stdout


def test_other_limits_are_told_by_what_differs(folder: Path) -> None:
    args = ("--intents", folder / "brain.jsonl", "--vs", folder / "tight.toml")
    found = document(run(folder, *args, "--json"))
    assert found["same"] is False
    codes = {each["after"]["code"] for each in found["verdicts"]}
    assert "DAILY_TRADES" in codes
    assert found["only_before"]
    moved = [float(each["after"]["qty"]) < float(each["before"]["qty"]) for each in found["moved"]]
    assert moved
    assert all(moved)
    difference = float(found["after"]["realised_pnl"]) - float(found["before"]["realised_pnl"])
    assert float(found["realised_pnl_difference"]) == pytest.approx(difference)
    told = run(folder, *args).stdout
    for words in ("verdicts differ", "trades only in A", "another end", "B - A"):
        assert words in told


def test_the_same_limits_differ_in_nothing(folder: Path) -> None:
    args = ("--intents", folder / "brain.jsonl", "--vs", folder / "loose.toml")
    assert "no verdict, no trade and no result differs" in run(folder, *args).stdout


def test_a_report_is_made_of_it(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "replay.html"
    result = run(folder, "--intents", folder / "brain.jsonl", "--report", page, "--json")
    assert result.exit_code == 0, result.stderr
    document(result)
    text = page.read_text()
    assert "Replay of AAPL" in text
    assert "<svg" in text


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--strategy", "bad.py"), "has no attribute 'nothing'"),
        (("--intents", "nowhere.jsonl"), "No such file"),
        (("--limits", "bad.py"), "bad.py: not readable"),
        (("--vs", "binary.toml"), "binary.toml: not readable"),
        (("--limits", "nowhere.toml"), "nowhere.toml"),
        (("--vs", "tight.toml", "--report", "x.html"), "leave --report or --vs out"),
        (("--from", "yesterday"), "--from"),
        (("--from", "2027-01-01"), "no rows to play"),
        (("--symbols", "TSLA"), "TSLA"),
        (("--equity", "much"), "equity"),
        (("--report", "nowhere/x.html", "--intents", "brain.jsonl"), "the folder nowhere is not there"),
        (("--report", ".", "--intents", "brain.jsonl"), "--report .: a folder"),
        (("--config", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_what_cannot_be_is_said_with_exit_2(
    folder: Path, more: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    result = run(folder, *more)
    assert result.exit_code == 2, result.stdout
    assert says in result.stderr
    assert "Traceback (most recent call last)" not in result.stderr


def test_what_is_wrong_with_the_other_limits_is_said_before_the_first_row(folder: Path) -> None:
    (folder / "stop.py").write_text("def on_bar(view):\n    raise KeyboardInterrupt\n")
    result = run(folder, "--strategy", folder / "stop.py", "--vs", folder / "nowhere.toml")
    assert result.exit_code == 2, result.stderr
    assert result.stderr == f"hands: {folder / 'nowhere.toml'}: No such file or directory\n"


def test_why_less_was_judged_or_entered_is_told(folder: Path) -> None:
    lines = (folder / "brain.jsonl").read_text().splitlines()
    (folder / "out.jsonl").write_text(
        "\n".join(
            [lines[0], *(json.dumps({"at": at, "intent": {}}) for at in (NOON - 60 * 10**9, NOON + 10**15))]
        )
    )
    told = run(folder, "--intents", folder / "out.jsonl").stdout
    assert "documents outside the market's time, left out: 1 before its first row, 1 after its last" in told
    assert "no quotes" not in told
    assert "no trades" not in told
    args = ("replay", str(folder / "AAPL_trades.csv"), "--limits", str(folder / "loose.toml"))
    told = CliRunner().invoke(app, [*args, "--intents", str(folder / "brain.jsonl")]).stdout
    assert "no quotes of AAPL: nothing is entered there (NO_MARKET_DATA)" in told
    assert document(CliRunner().invoke(app, [*args, "--json"]))["unquoted"] == ["AAPL"]
    args = ("replay", str(folder / "AAPL_quotes.csv"), "--limits", str(folder / "loose.toml"))
    assert "no trades of AAPL: a share's stop" in CliRunner().invoke(app, args).stdout


def test_without_a_terminal_stderr_is_empty(folder: Path) -> None:
    assert run(folder).stderr == ""


def test_an_interruption_while_the_page_is_made_ends_with_130(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hands.replay.page.write_page", stop)
    result = run(folder, "--report", tmp_path / "x.html", "--json")
    assert result.exit_code == 130
    assert "no report was written" in document(result)["error"]
    assert not list(tmp_path.glob("*.html"))


def test_a_market_that_is_none_is_said(tmp_path: Path, folder: Path) -> None:
    result = CliRunner().invoke(
        app, ["replay", str(tmp_path / "none.csv"), "--limits", str(folder / "loose.toml"), "--json"]
    )
    assert result.exit_code == 2
    assert json.loads(result.stdout)["ok"] is False


def test_an_interruption_ends_with_130(folder: Path) -> None:
    path = folder / "stop.py"
    path.write_text("def on_bar(view):\n    raise KeyboardInterrupt\n")
    result = run(folder, "--strategy", path)
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
