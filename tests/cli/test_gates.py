"""`hands gates`: from a session's ledger and a recorded market to what each check has cost."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hands.core.units import NS_PER_S
from hands.journal.reader import open_ledger
from hands.journal.refusals import refusals
from tests.cli.test_explain import ledger_of
from tests.core.desk import Desk
from tests.core.world import NOW, intent_id

MINUTE_NS = 60 * NS_PER_S
SPAN = ("--from", "2020-01-01")


@pytest.fixture
def desk() -> Desk:
    """Refused: a stop too far away, twice; one more for a symbol that is not allowed; one that is not sure enough."""
    desk = Desk()
    desk.drop(1, stop_loss="100", take_profit="260")
    desk.drop(2, agent="default", stop_loss="100", take_profit="260")
    desk.drop(3, asset="QQQ")
    desk.drop(4, confidence="0.1")
    desk.drop(5, confidence="0.1", max_hold_seconds="30", qty="10")
    return desk


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Minute bars of AAPL from the decision on: up to the target of 155, and beyond."""
    minute_ns = NOW - NOW % MINUTE_NS
    lines = ["symbol,timestamp,open,high,low,close,volume"]
    for number, (low, high) in enumerate([(149.9, 150.1), (149.95, 152), (151, 155.5), (155, 156)]):
        at = datetime.fromtimestamp((minute_ns + number * MINUTE_NS) // NS_PER_S, UTC)
        lines.append(f"AAPL,{at:%Y-%m-%dT%H:%M:%SZ},{low + 0.05},{high},{low},{high - 0.05},1000")
    path = tmp_path / "market.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def gates_of(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["check"] + (f" {row['of']}" if row["of"] else ""): row for row in found["gates"]}


def test_each_check_with_what_it_refused_and_what_that_would_have_made(
    hands, desk: Desk, state_dir: Path, recording: Path
) -> None:
    ledger_of(desk, state_dir)
    outcome = hands("gates", *SPAN, "--market", recording, "--state", state_dir, "--json")
    assert outcome.exit_code == 0
    found = outcome.document
    assert (found["market"], found["refused"], found["valued"]) == ("files", 5, 4)
    gates = gates_of(found)
    assert list(gates) == ["symbol_allowed", "confidence", "stop_far"]  # in the order of the checks
    allowed = gates["symbol_allowed"]
    assert (allowed["fired"], allowed["valued"], allowed["unknown"], allowed["r_sum"]) == (1, 0, 1, None)
    sure = gates["confidence"]
    assert (sure["code"], sure["fired"], sure["valued"]) == ("CONFIDENCE_TOO_LOW", 2, 2)
    assert (sure["would_have_won"], sure["would_have_lost"], sure["sized_by_caps"]) == (2, 0, 2)
    held, timed = 66 * 5.0, 10 * (150.05 - 150)  # to the target; 30 s, to the close of the minute
    assert sure["usd_sum"] == pytest.approx(held + timed)
    assert sure["r_sum"] == pytest.approx((5 + 0.05) / 2.15)
    far = gates["stop_far"]
    assert (far["fired"], far["still_open"], far["would_have_won"]) == (2, 2, 2)


def test_apart_by_agent_and_by_symbol_and_for_people(
    hands, desk: Desk, state_dir: Path, recording: Path
) -> None:
    ledger_of(desk, state_dir)
    at = ("gates", *SPAN, "--market", recording, "--state", state_dir)
    gates = gates_of(hands(*at, "--by", "symbol", "--json").document)
    assert list(gates) == ["symbol_allowed QQQ", "confidence AAPL", "stop_far AAPL"]
    said = hands(*at, "--by", "agent").stdout
    assert "CONFIDENCE_TOO_LOW" in said
    assert "has cost" in said
    assert "5 refused, 4 valued; 1 of which no market is known" in said


def test_without_a_market_they_are_counted_and_not_valued(hands, desk: Desk, state_dir: Path) -> None:
    ledger_of(desk, state_dir)
    outcome = hands("gates", *SPAN, "--state", state_dir)
    assert outcome.exit_code == 0
    assert "5 refused, 0 valued" in outcome.stdout
    assert "--fetch" in outcome.stdout
    found = hands("gates", *SPAN, "--state", state_dir, "--json").document
    assert (found["market"], found["r_sum"], found["usd_sum"]) == ("noted", None, None)


def test_a_ledger_that_kept_no_scene_is_valued_by_the_documents_own_prices(
    hands, desk: Desk, state_dir: Path, recording: Path
) -> None:
    """As an older version wrote it."""
    for _, command in desk.commands:
        if getattr(command, "table", None) == "rejections":
            command.row["detail"].pop("scene", None)
    ledger_of(desk, state_dir)
    found = hands("gates", *SPAN, "--market", recording, "--state", state_dir, "--json").document
    sure = gates_of(found)["confidence"]
    assert sure["valued"] == 2
    assert sure["r_sum"] == pytest.approx(
        (5.05 + 0.1) / 2
    )  # filled at the minute's open, 149.95; a risk of 2


def test_a_stocks_minutes_count_in_regular_sessions_only() -> None:
    from hands.cli.gates_market import regular
    from hands.core.hindsight import Minute

    opening = int(datetime(2026, 1, 5, 14, 30, tzinfo=UTC).timestamp()) * NS_PER_S
    minutes = [Minute(opening + n * MINUTE_NS, 1, 1, 1, 1) for n in (-1, 0, 389, 390)]
    assert regular(minutes) == minutes[1:3]


def test_only_the_simulators_stocks_trade_at_night(
    hands, desk: Desk, state_dir: Path, recording: Path
) -> None:
    at_night = 9 * 3600 * NS_PER_S
    ledger_of(desk, state_dir, moved_ns=at_night)
    recording.write_text(recording.read_text().replace("T15:", "T00:").replace("2026-01-05", "2026-01-06"))
    at = ("gates", *SPAN, "--market", recording, "--state", state_dir, "--json")
    assert hands(*at).document["valued"] == 4
    with closing(sqlite3.connect(state_dir / "hands.db", isolation_level=None)) as db:
        db.execute("UPDATE ledger_intents SET receipt = json_set(receipt, '$.venue', 'paper')")
    assert hands(*at).document["valued"] == 0


def test_quotes_alone_are_a_market_too(tmp_path: Path) -> None:
    from hands.cli.gates_market import minutes_of

    path = tmp_path / "quotes.jsonl"
    rows = [
        {"T": "q", "S": "AAPL", "bp": bid, "bs": 1, "ap": bid + spread, "as": 1, "t": f"2026-01-05T15:00:{second:02}Z"}
        for second, (bid, spread) in enumerate([(100, 0.02), (101, 0.04), (99, 0.02)])
    ]  # fmt: skip
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    [minute] = minutes_of([path])["AAPL"]
    prices = minute.open, minute.high, minute.low, minute.close, minute.half_spread
    assert prices == (100_010_000_000, 101_020_000_000, 99_010_000_000, 99_010_000_000, 20_000_000)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--since", "soon"), "--since takes"),
        (("--since", "1h", "--from", "2026-01-05"), "either --since or --from"),
        (("--from", "yesterday"), "--from:"),
        (("--from", "2026-01-06", "--to", "2026-01-05"), "before --to"),
        (("--market", "nowhere.csv"), "nowhere.csv"),
        (("--market", "a.csv", "--fetch"), "either --market or --fetch"),
        (("--fetch", "--alpaca-url", "http://somewhere.else"), "clear text"),
        (("--fetch", "--alpaca-url", "http://127.0.0.1:1"), "cannot be fetched"),
    ],
)
def test_what_cannot_be_done_is_said(hands, desk: Desk, state_dir: Path, flags, said: str) -> None:
    ledger_of(desk, state_dir, moved_ns=_to_now())
    outcome = hands("gates", *flags, "--state", state_dir)
    assert outcome.exit_code == (1 if "fetched" in said else 2)
    assert said in outcome.stderr


def test_nothing_refused_and_no_ledger(hands, state_dir: Path) -> None:
    assert hands("gates", "--state", state_dir).exit_code == 2
    ledger_of(Desk(), state_dir)
    outcome = hands("gates", "--state", state_dir)
    assert (outcome.exit_code, outcome.stdout.strip()) == (1, "nothing was refused by a check")


def _to_now() -> int:
    return time.time_ns() - NOW


def test_the_ids_are_those_of_the_documents(desk: Desk, state_dir: Path) -> None:
    ledger_of(desk, state_dir)
    with closing(open_ledger(state_dir / "hands.db")) as db:
        found = list(refusals(db, 0, 2**62))
    assert [each.intent_id for each in found] == [intent_id(n) for n in (1, 2, 3, 4, 5)]
    assert {each.qty for each in found if each.check == "confidence"} == {66 * 10**9, 10 * 10**9}
    assert {(each.bid, each.ask) for each in found if each.symbol == "AAPL"} == {
        (149_980_000_000, 150_000_000_000)
    }


def test_rows_that_no_version_wrote_are_left_out(hands, desk: Desk, state_dir: Path, recording: Path) -> None:
    ledger_of(desk, state_dir)
    with closing(sqlite3.connect(state_dir / "hands.db", isolation_level=None)) as db:
        db.execute("UPDATE ledger_intents SET document = NULL WHERE intent_id = ?", (intent_id(1),))
        db.execute("UPDATE ledger_rejections SET detail = 'x' WHERE intent_id = ?", (intent_id(2),))
        db.execute("UPDATE ledger_intents SET receipt = '[' WHERE intent_id = ?", (intent_id(3),))
        for number, result in ((3, "nonesuch"), (4, "unfilled")):
            db.execute(
                "INSERT INTO ledger_hindsight (intent_id, result) VALUES (?, ?)", (intent_id(number), result)
            )
    found = hands("gates", *SPAN, "--state", state_dir, "--json").document
    assert (found["refused"], found["valued"]) == (3, 1)
    assert hands("gates", *SPAN, "--market", recording, "--state", state_dir).exit_code == 0


def test_a_quote_that_was_old_at_the_decision_is_not_met(
    hands, desk: Desk, state_dir: Path, recording: Path
) -> None:
    for _, command in desk.commands:
        if getattr(command, "table", None) == "rejections":
            command.row["detail"]["scene"]["quote_age_ms"] = 6_000.0
    ledger_of(desk, state_dir)
    with closing(open_ledger(state_dir / "hands.db")) as db:
        assert {(each.bid, each.ask) for each in refusals(db, 0, 2**62)} == {(None, None)}
    found = hands("gates", *SPAN, "--market", recording, "--state", state_dir, "--json").document
    far = 66 * (155 - 149.95) + 10 * (150.05 - 149.95)  # at the open of the minute instead
    assert gates_of(found)["confidence"]["usd_sum"] == pytest.approx(far)
