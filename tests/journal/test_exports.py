"""What an export says of trades, executions and documents: exactly, and nothing that the ledger does not know."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.core.units import NANO, NS_PER_S, nano
from hands.journal.exports import EXPORTS, Span, open_for_export
from hands.journal.reader import LedgerUnreadable
from hands.journal.schema import SCHEMA_VERSION, TABLES, statement

T = 1_767_571_200 * NS_PER_S  # 2026-01-05 00:00 UTC
Rows = list[dict[str, Any]]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "hands.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        for ddl in (ddl for table in TABLES.values() for ddl in table.ddl()):
            db.execute(ddl)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        yield db


def put(db: sqlite3.Connection, table: str, **row: object) -> None:
    db.execute(*statement(table, row))


def fill(db: sqlite3.Connection, name: str, leg: str, qty: str, price: str, at_ns: int, **more: Any) -> None:
    row = {"symbol": "SOL/USD", "side": "buy" if leg == "entry" else "sell", "intent_id": "a", "fee": None}
    put(db, "fills", execution_id=name, leg=leg, qty=nano(qty), price=nano(price), at_ns=at_ns, **row | more)


def order(db: sqlite3.Connection, name: str, leg: str, filled: str, **more: Any) -> None:
    row = {"client_order_id": name, "order_id": f"venue-{name}", "intent_id": "a", "created_ns": T}
    put(db, "orders", leg=leg, filled_qty=nano(filled), **row | more)


def episode(db: sqlite3.Connection, intent_id: str = "a", **more: Any) -> None:
    row = {
        "intent_id": intent_id,
        "asset": "SOL/USD",
        "direction": "LONG",
        "qty": nano("3"),
        "closed_at": T + NS_PER_S,
    }
    put(db, "trade_episodes", **row | more)


def exported(path: Path, kind: str, span: Span | None = None) -> Rows:
    with closing(open_for_export(path / "hands.db", kind)) as db:
        span = span or Span()
        rows = list(EXPORTS[kind].rows(db, span))
        assert len(rows) == EXPORTS[kind].count(db, span)
        assert all(tuple(row) == EXPORTS[kind].columns for row in rows)
        return rows


def test_a_trade_has_both_legs_added_up_from_their_executions(
    ledger: sqlite3.Connection, tmp_path: Path
) -> None:
    fill(ledger, "e2", "entry", "2", "150.000000001", T + 2)
    fill(ledger, "e1", "entry", "1", "0.123456789", T + 1)  # told of later, happened before
    fill(ledger, "x1", "tp", "2.9925", "155", T + 9)
    order(ledger, "in", "entry", "3")
    order(ledger, "stop", "sl", "0")
    order(ledger, "target", "tp", "2.9925", order_id=None)
    episode(
        ledger, entry_price=nano("100.041152264"), exit_price=nano("155"), fees=nano("1.23"), fees_estimated=1,
        actual_pnl=nano("-0.000000001"), exit_reason="TP", agent="default", agent_thesis="why", opened_at=T,
    )  # fmt: skip
    (row,) = exported(tmp_path, "trades")
    assert (row["entry_qty"], row["entry_fills"], row["entry_avg_price"]) == ("3", 2, "100.041152264")
    assert row["entry_value_usd"] == "300.123456791"
    assert (row["entry_first_fill_ns"], row["entry_last_fill_ns"]) == (T + 1, T + 2)
    assert (row["exit_qty"], row["exit_value_usd"]) == ("2.9925", "463.8375")
    assert (row["entry_client_order_ids"], row["entry_order_ids"]) == (["in"], ["venue-in"])
    assert (row["exit_client_order_ids"], row["exit_order_ids"]) == (["target"], [])
    assert (row["fees_usd"], row["fees_estimated"], row["pnl_usd"]) == ("1.23", True, "-0.000000001")
    assert (row["exit_reason"], row["thesis"], row["closed_ns"]) == ("TP", "why", T + NS_PER_S)


def test_an_adopted_holding_has_a_price_and_no_executions(ledger: sqlite3.Connection, tmp_path: Path) -> None:
    episode(ledger, entry_price=nano("150.5"), qty=nano("3"))
    (row,) = exported(tmp_path, "trades")
    assert (row["entry_qty"], row["entry_value_usd"], row["entry_fills"]) == ("3", "451.5", None)
    unknown = ("entry_date", "entry_first_fill_at", "exit_qty", "exit_value_usd", "exit_avg_price", "fees_usd",
               "fees_estimated", "pnl_usd", "strategy_ref", "exit_date")  # fmt: skip
    assert [name for name in unknown if row[name] is not None] == []


def test_executions_that_are_lacking_do_not_make_a_trade_smaller(
    ledger: sqlite3.Connection, tmp_path: Path
) -> None:
    fill(ledger, "e1", "entry", "1", "10", T)
    episode(ledger, qty=nano("3"), entry_price=nano("11"))
    (row,) = exported(tmp_path, "trades")
    assert (row["entry_qty"], row["entry_value_usd"], row["entry_fills"]) == ("3", "33", 1)


def test_fills_are_told_in_the_order_in_which_they_happened_with_whose_they_were(
    ledger: sqlite3.Connection, tmp_path: Path
) -> None:
    put(ledger, "intents", intent_id="a", agent="default", strategy_ref="pullback/v3")
    fill(ledger, "late", "sl", "0.5", "9.5", T + 2, fee=nano("0.011875"), client_order_id="c", order_id="o")
    fill(ledger, "early", "entry", "2", "10", T + 1, symbol="AAPL", fee=0)
    fill(ledger, "unknown", "entry", "2", "10", T + 3, intent_id=None)
    rows = exported(tmp_path, "fills")
    assert [row["execution_id"] for row in rows] == ["early", "late", "unknown"]
    early, late, unknown = rows
    assert (early["value_usd"], early["fee_usd"], early["fee_estimated"]) == ("20", "0", False)
    assert (late["value_usd"], late["fee_usd"], late["fee_estimated"]) == ("4.75", "0.011875", True)
    assert (late["agent"], late["strategy_ref"], late["side"]) == ("default", "pullback/v3", "sell")
    assert (unknown["fee_usd"], unknown["fee_estimated"], unknown["agent"]) == (None, None, None)


RECEIPT = {
    "message": "m", "checks": [{"check": "ttl", "ok": True, "observed": "1", "limit": "15"},
                               {"check": "slippage", "ok": False, "observed": "151.000000001", "limit": "150.15"}],
    "order": None, "sizing": None,
}  # fmt: skip


def test_intents_are_told_with_their_verdicts_and_plans_and_what_was_refused_unread(
    ledger: sqlite3.Connection, tmp_path: Path
) -> None:
    plan = {"client_order_id": "in", "qty": "66", "limit_price": "150.15", "risk_usd": "141.90"}
    good = {"message": "ok", "checks": [], "order": plan, "sizing": {"binding": "max_position_size"}}
    document = {"thesis": "=cmd()", "trigger_price": 1}
    put(ledger, "intents", intent_id="a", kind="intent", verdict="ACCEPTED", code="OK", state="CLOSED",
        decided_ns=T + 3, confidence=nano("0.7"), trigger_price=nano("150"), receipt=good, document=document)  # fmt: skip
    put(ledger, "intents", intent_id="b", kind="intent", verdict="REJECTED", code="SLIPPAGE", received_ns=T + 1,
        receipt=RECEIPT, document="{")  # fmt: skip
    put(ledger, "rejections", intent_id="b", code="SLIPPAGE", at_ns=T + 1)  # told by the intent itself
    put(
        ledger, "rejections", intent_id="a", code="DUPLICATE_INTENT", at_ns=T + 4, detail={"message": "again"}
    )
    put(
        ledger,
        "rejections",
        code="MALFORMED_JSON",
        agent="default",
        at_ns=T + 2,
        detail={"message": "no JSON"},
    )
    rows = exported(tmp_path, "intents")
    assert [row["code"] for row in rows] == ["SLIPPAGE", "MALFORMED_JSON", "OK", "DUPLICATE_INTENT"]
    rejected, unread, accepted, again = rows
    assert (rejected["check"], rejected["observed"], rejected["allowed"]) == (
        "slippage",
        "151.000000001",
        "150.15",
    )
    assert (rejected["plan_qty"], rejected["thesis"], rejected["decided_at"]) == (None, None, None)
    assert (accepted["plan_qty"], accepted["plan_limit_price"], accepted["plan_bound_by"]) == (
        "66",
        "150.15",
        "max_position_size",
    )
    assert (accepted["confidence"], accepted["asked_trigger_price"], accepted["thesis"]) == (
        "0.7",
        "150",
        "=cmd()",
    )
    assert (unread["verdict"], unread["intent_id"], unread["message"]) == ("REFUSED", None, "no JSON")
    assert (again["intent_id"], again["verdict"], again["decided_ns"]) == ("a", "REFUSED", T + 4)


@pytest.mark.parametrize(
    ("from_ns", "to_ns", "found"),
    [(None, None, "abcd"), (T, None, "abc"), (T, T + 2, "ab"), (None, T + 1, "a"), (T + 3, None, "")],
)
def test_a_span_takes_its_first_moment_and_not_its_last(
    ledger: sqlite3.Connection, tmp_path: Path, from_ns: int | None, to_ns: int | None, found: str
) -> None:
    for number, name in enumerate("abc"):
        episode(ledger, name, closed_at=T + number)
    episode(ledger, "d", closed_at=None)  # nobody knows when
    told = [row["intent_id"] for row in exported(tmp_path, "trades", Span(from_ns, to_ns))]
    assert sorted(told) == sorted(found)


@pytest.mark.parametrize(
    ("zone", "ns", "text", "day"),
    [
        ("UTC", T + 1, "2026-01-05T00:00:00.000000001Z", "2026-01-05"),
        ("America/New_York", T, "2026-01-04T19:00:00.000000000-05:00", "2026-01-04"),
        (
            "America/New_York",
            T + 182 * 86_400 * NS_PER_S,
            "2026-07-05T20:00:00.000000000-04:00",
            "2026-07-05",
        ),
        ("Asia/Kolkata", T - 1, "2026-01-05T05:29:59.999999999+05:30", "2026-01-05"),
    ],
)
def test_times_are_told_in_the_zone_to_the_nanosecond(zone: str, ns: int, text: str, day: str) -> None:
    span = Span(zone=ZoneInfo(zone))
    assert (span.text(ns), span.day(ns)) == (text, day)
    assert (span.text(None), span.day(None)) == (None, None)


@given(st.integers(1, 10**15), st.integers(1, 10**15))
def test_a_value_is_exact_to_its_last_digit(qty: int, price: int) -> None:
    from decimal import Context, Decimal

    from hands.journal.exports import _product

    exact = Context(prec=60)
    made = exact.multiply(Decimal(qty).scaleb(-9, exact), Decimal(price).scaleb(-9, exact))
    assert Decimal(_product(qty * price)) == made
    assert "E" not in _product(qty * price)


def test_a_ledger_of_another_version_says_whose_business_that_is(
    ledger: sqlite3.Connection, tmp_path: Path
) -> None:
    ledger.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(LedgerUnreadable, match="newer Hands"):
        open_for_export(tmp_path / "hands.db", "fills")
    ledger.execute("PRAGMA user_version = 1")
    assert exported(tmp_path, "fills") == []  # older, and all that is wanted is there
    ledger.execute("DROP INDEX fills_by_intent")
    ledger.execute("DROP VIEW fills")
    ledger.execute("ALTER TABLE ledger_fills DROP COLUMN fee_nano")
    with pytest.raises(LedgerUnreadable, match=r"lacks fills\.fee: only the daemon .* `hands run`"):
        open_for_export(tmp_path / "hands.db", "fills")


def test_a_daemon_that_goes_on_writing_changes_nothing_in_an_export(
    ledger: sqlite3.Connection, tmp_path: Path
) -> None:
    for number in range(3):
        fill(ledger, f"e{number}", "entry", "1", "10", T + number)
    with closing(open_for_export(tmp_path / "hands.db", "fills")) as db:
        rows = EXPORTS["fills"].rows(db, Span())
        seen = [next(rows)["execution_id"]]
        fill(ledger, "new", "entry", "1", "10", T + 1)
        ledger.execute("UPDATE ledger_fills SET price_nano = ?", (20 * NANO,))
        rest = list(rows)
    assert seen + [row["execution_id"] for row in rest] == ["e0", "e1", "e2"]
    assert {row["price"] for row in rest} == {"10"}
