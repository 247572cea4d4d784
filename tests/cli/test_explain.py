"""`hands explain` and `hands envelope`: what is told of what happened, and of what would pass."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hands.core.commands import OperatorAnswer, Record
from hands.core.events import DocumentReceived, OperatorAction, OperatorRequest, PositionSnapshot
from hands.core.receipts import receipt
from hands.core.state import State
from hands.core.units import Ns, Price, Qty, nano
from hands.journal.schema import OWN_TABLES, SCHEMA_VERSION, TABLES, statement
from hands.journal.stories import summary
from hands.runtime.envelope import envelope
from tests.core.desk import Desk
from tests.core.test_changes import send
from tests.core.world import NOW, halt, intent_id, world


def ledger_of(desk: Desk, folder: Path, *, moved_ns: int = 0) -> Path:
    """Write what a desk recorded, and its last receipts, as the projection and the dispatcher do."""
    with closing(sqlite3.connect(folder / "hands.db", isolation_level=None)) as db:
        db.execute("BEGIN")
        for ddl in (*OWN_TABLES, *(ddl for table in TABLES.values() for ddl in table.ddl())):
            db.execute(ddl)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        rows = [(c.table, c.row) for _, c in desk.commands if isinstance(c, Record)]
        judged = (*desk.state.tickets.values(), *desk.state.finished.values(), *desk.state.changes.values())
        for ticket in judged:
            told = json.dumps(receipt(desk.state, ticket))
            rows.append(
                ("intents", {"intent_id": ticket.intent_id, "state": str(ticket.state), "receipt": told})
            )
        for table, row in rows:
            moved = {n: v + moved_ns if n.endswith("_ns") and v is not None else v for n, v in row.items()}
            if table == "trade_episodes":
                moved |= {n: row[n] + moved_ns for n in ("opened_at", "closed_at") if row[n] is not None}
            db.execute(*statement(table, moved))
        db.execute("COMMIT")
    return folder


@pytest.fixture
def desk() -> Desk:
    """A trade that reached its target, a denial with a suggestion, one without, a duplicate and an unreadable file."""
    desk = Desk()
    desk.drop(1, strategy_ref="pullback\x1b[2J/v3")
    desk.run(0.5)
    desk.quote("AAPL", "155.01", "155.03")
    desk.run(3)
    assert desk.receipt()["state"] == "CLOSED"
    desk.quote("AAPL", "149.98", "150.00")
    desk.drop(2, stop_loss="100", take_profit="260")
    desk.drop(3, asset="QQQ")
    desk.run(0.1)
    desk.drop(4, asset="QQQ")
    desk.drop(1, agent="default")
    broken = DocumentReceived(
        ts_ns=Ns(desk.now_ns), agent="default", name="broken.json", data=b"{", file_event_ns=Ns(desk.now_ns)
    )
    desk.feed(broken)
    return desk


def test_a_trade_is_told_from_its_document_to_its_result(hands, desk: Desk, state_dir: Path) -> None:
    ledger_of(desk, state_dir)
    result = hands("explain", intent_id(1), "--state", state_dir)
    text = result.stdout
    assert result.exit_code == 0
    for said in (
        "AAPL LONG of agent default",
        "trigger 150, stop 148, target 155",
        "ACCEPTED OK",
        "reward_risk",
        "size bound by max_position_size",
        "bracket buy 66 at 150.15: 9909.90 USD, 141.90 USD at risk",
        "entry buy 66 limit (limit 150.15): filled, 66 filled at 150",
        "filled sell 66 at 155.01",
        "ended by TP at 155.01: 330.66 USD (+3.34% of the entry)",
        "expected 320.10 USD; slippage 0",
        "took: ",
        "now CLOSED: The trade is over.",
        "refused, DUPLICATE_INTENT",
    ):
        assert said in text, f"{said!r} is not in\n{text}"
    assert "\x1b" not in text


def test_a_denial_is_told_with_every_check_and_what_would_have_passed(
    hands, desk: Desk, state_dir: Path
) -> None:
    ledger_of(desk, state_dir)
    text = hands("explain", intent_id(2), "--state", state_dir).stdout
    assert "REJECTED STOP_TOO_FAR: the stop is 0.333999334 of the limit away; at most 0.2" in text
    [line] = [line for line in text.splitlines() if line.strip().startswith("NO")]
    assert line.split()[:4] == ["NO", "stop_far", "0.333999334", "0.2"]
    assert "would have passed with stop_loss 120.12" in text


def test_a_document_that_changes_a_trade_is_told_with_what_it_came_to(hands, state_dir: Path) -> None:
    desk = Desk()
    desk.drop(1)
    desk.run(1)
    send(desk, "amend", stop_loss="149")
    send(desk, "amend", number=101, stop_loss="147")
    ledger_of(desk, state_dir)
    text = hands("explain", intent_id(100), "--state", state_dir).stdout
    assert f"amend of {intent_id(1)} by agent default" in text
    assert "ACCEPTED OK: its stop moves from 148 to 149" in text
    assert "now DONE" in text
    refused = hands("explain", intent_id(101), "--state", state_dir).stdout
    assert "REJECTED NOTHING_TO_DO: 147 is looser than 149" in refused


def test_an_adopted_trade_is_told_without_what_nobody_asked_for(hands, state_dir: Path) -> None:
    desk = Desk()
    desk.state.positions["SPY"] = PositionSnapshot(
        symbol="SPY", qty=Qty(nano("10")), qty_available=Qty(nano("10")), avg_price=Price(nano("598"))
    )
    desk.state.truth_of_ns = Ns(desk.now_ns)
    adoption = OperatorRequest(
        ts_ns=Ns(desk.now_ns),
        action=OperatorAction.ADOPT,
        target="SPY",
        stop_loss=Price(nano("590")),
        new_id=intent_id(7),
    )
    [answer] = [command for command in desk.feed(adoption) if isinstance(command, OperatorAnswer)]
    assert answer.ok, answer
    ledger_of(desk, state_dir)
    text = hands("explain", intent_id(7), "--state", state_dir).stdout
    assert "SPY LONG of agent operator (adopted)" in text
    assert "trigger 598, stop 590\n" in text


def test_the_story_as_json_is_exact(hands, desk: Desk, state_dir: Path) -> None:
    ledger_of(desk, state_dir)
    story = hands("explain", intent_id(1), "--state", state_dir, "--json").document
    assert story["receipt"]["verdict"] == "ACCEPTED"
    assert story["document"]["asset"] == "AAPL"
    assert [fill["leg"] for fill in story["fills"]] == ["entry", "tp"]
    assert story["trade"]["exit_reason"] == "TP"
    assert {order["leg"] for order in story["orders"]} >= {"entry", "tp", "sl"}
    assert story["latencies_us"]["sent"] is None or story["latencies_us"]["sent"] >= 0
    assert [each["code"] for each in story["rejections"]] == ["DUPLICATE_INTENT"]


def test_a_table_of_a_time_counts_every_verdict_with_its_last_example(
    hands, desk: Desk, state_dir: Path
) -> None:
    ledger_of(desk, state_dir, moved_ns=time.time_ns() - int(NOW))
    found = hands("explain", "--since", "1h", "--state", state_dir, "--json").document
    rows = {(row["verdict"], row["code"], row["symbol"]): row for row in found["verdicts"]}
    assert {key: row["count"] for key, row in rows.items()} == {
        ("ACCEPTED", "OK", "AAPL"): 1,
        ("REJECTED", "STOP_TOO_FAR", "AAPL"): 1,
        ("REJECTED", "SYMBOL_NOT_ALLOWED", "QQQ"): 2,
        ("REFUSED", "DUPLICATE_INTENT", None): 1,
        ("REFUSED", "MALFORMED_JSON", None): 1,
    }
    assert rows["REJECTED", "SYMBOL_NOT_ALLOWED", "QQQ"]["intent_id"] == intent_id(4)
    assert rows["REJECTED", "SYMBOL_NOT_ALLOWED", "QQQ"]["message"] == "QQQ is not on the allow-list"
    assert (found["documents"], found["trades_closed"], found["trades_won"]) == (6, 1, 1)
    assert found["pnl_usd"] == 330.66
    result = hands("explain", "--since", "1h", "--state", state_dir)
    assert result.exit_code == 0
    assert "6 documents; 1 trades ended, 1 of them with a profit: 330.66 USD" in result.stdout
    assert result.stdout.splitlines()[1].split()[:3] == ["2", "REJECTED", "SYMBOL_NOT_ALLOWED"]


def test_what_is_older_is_left_out(desk: Desk, state_dir: Path) -> None:
    ledger_of(desk, state_dir)
    with closing(sqlite3.connect(state_dir / "hands.db")) as db:
        db.row_factory = sqlite3.Row
        later = summary(db, int(NOW) + 1_000_000_000)
        never = summary(db, desk.now_ns + 1)
    assert [row["code"] for row in later["verdicts"] if row["verdict"] == "ACCEPTED"] == []
    assert (later["documents"], never["documents"], never["trades_closed"]) == (5, 0, 0)


def test_the_first_characters_are_enough_where_they_are_the_only_ones(
    hands, desk: Desk, state_dir: Path
) -> None:
    ledger_of(desk, state_dir)
    several = hands("explain", "00000000", "--state", state_dir)
    assert several.exit_code == 2
    assert intent_id(4) in several.stderr
    assert hands("explain", intent_id(2)[:36], "--state", state_dir).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        ((), 2),
        (("ffffffff", "--since", "1h"), 2),
        (("--since", "yesterday"), 2),
        (("--since", "0h"), 2),
        (("abc",), 2),
        (("ffffffff",), 1),
        (("%%%%",), 1),
        (("--since", "1s"), 1),
        (("--since", "999999d"), 0),
    ],
)
def test_what_cannot_be_told_says_so(
    hands, desk: Desk, state_dir: Path, arguments: tuple[str, ...], exit_code: int
) -> None:
    ledger_of(desk, state_dir)
    assert hands("explain", *arguments, "--state", state_dir, "--json").exit_code == exit_code


def test_without_a_ledger_it_says_which_is_missing(hands, state_dir: Path) -> None:
    result = hands("explain", "--since", "24h", "--state", state_dir)
    assert result.exit_code == 2
    assert "hands.db cannot be opened: No such file" in result.stderr


# --- the envelope ----------------------------------------------------------------------------------------------


def answered(state: State) -> dict[str, Any]:
    return {"ok": True, "envelope": envelope(state, "AAPL", "default", int(state.now_ns))}


def test_the_envelope_for_people(hands, daemon) -> None:
    daemon.answers["envelope"] = answered(world())
    result = hands("envelope", "AAPL", "--state", daemon.state_dir, "--stop", "148", "--agent", "default")
    assert result.exit_code == 0
    for said in (
        "AAPL for agent default: 149.98 / 150.00, 0 ms old; equity 100000.00 USD, 0.0 s old; trading is ACTIVE",
        "ttl_seconds up to 15, arm_seconds up to 3600, confidence from 0.6",
        "LONG: open",
        "trigger_price from 149.86 (SLIPPAGE) to 152.98 (PRICE_COLLAR)",
        "stop_loss from 120.12 (STOP_TOO_FAR) to 149.97 (BRACKET_GEOMETRY)",
        "take_profit from 150.33 (REWARD_RISK_TOO_LOW)",
        "up to 66, bound by max_position_size: 9909.90 USD",
        "SHORT: blocked",
        "SHORT_NOT_ALLOWED: no short sales: allow_short is false",
    ):
        assert said in result.stdout, f"{said!r} is not in\n{result.stdout}"
    [asked] = daemon.asked
    assert asked == {"do": "envelope", "symbol": "AAPL", "agent": "default", "trigger": None, "stop": "148"}


def test_an_envelope_with_everything_blocked_exits_1(hands, daemon) -> None:
    daemon.answers["envelope"] = answered(halt(world(quotes={"AAPL": None})))
    result = hands("envelope", "AAPL", "--state", daemon.state_dir)
    assert result.exit_code == 1
    assert "HALTED: trading is halted" in result.stdout
    assert "no two-sided quote" in result.stdout
    as_json = hands("envelope", "AAPL", "--state", daemon.state_dir, "--json")
    assert (as_json.exit_code, as_json.document["state"]) == (1, "HALTED")


@pytest.mark.parametrize("price", ["abc", "0", "-1", "1e400", "nan"])
@pytest.mark.parametrize("flag", ["--trigger", "--stop"])
def test_an_envelope_at_no_price_is_a_usage_error(hands, state_dir: Path, flag: str, price: str) -> None:
    result = hands("envelope", "AAPL", f"{flag}={price}", "--state", state_dir, "--json")
    assert result.exit_code == 2
    assert flag in result.document["error"]


def test_an_envelope_needs_a_daemon(hands, state_dir: Path) -> None:
    assert hands("envelope", "AAPL", "--state", state_dir).exit_code == 3
