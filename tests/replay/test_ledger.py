"""A replay's ledger: rows that wait come to what they would have come to one after the other."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hands.journal.schema import RowError
from hands.replay import ledger
from hands.replay.ledger import Rows, new_ledger

KEYS = st.sampled_from(["a", "b", "c"])
ORDERS = st.fixed_dictionaries(
    {"client_order_id": KEYS},
    optional={
        "status": st.sampled_from(["new", "filled"]),
        "qty": st.none() | st.integers(0, 9),
        "filled_qty": st.integers(0, 9),
    },
).map(lambda row: ("orders", row))
ALERTS = st.integers(0, 9).map(
    lambda n: ("alerts", {"at_ns": n, "level": "info", "code": "LINK", "message": str(n)})
)


def content(db: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    tables = ("ledger_orders", "ledger_alerts")
    return {name: [tuple(row) for row in db.execute(f"SELECT * FROM {name} ORDER BY number")] for name in tables}  # fmt: skip


@given(st.lists(ORDERS | ALERTS, max_size=30))
def test_waiting_changes_nothing(rows: list[tuple[str, dict[str, Any]]]) -> None:
    at_once, together = new_ledger(), new_ledger()
    one_by_one, waiting = Rows(at_once), Rows(together)
    for table, row in rows:
        one_by_one.add(table, row)
        one_by_one.write()
        waiting.add(table, row)
    waiting.write()
    assert content(together) == content(at_once)


def test_many_do_not_wait_for_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "WAITING_MAX", 3)
    db = new_ledger()
    rows = Rows(db)
    for number in range(4):
        rows.add("orders", {"client_order_id": str(number), "status": "new"})
    assert [row[0] for row in db.execute("SELECT client_order_id FROM orders")] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("table", "row"),
    [("orders", {"status": "new"}), ("orders", {"client_order_id": None}), ("none", {"a": 1})],
)
def test_a_row_that_does_not_fit(table: str, row: dict[str, Any]) -> None:
    rows = Rows(new_ledger())
    rows.add(table, row)
    with pytest.raises(RowError):
        rows.write()
