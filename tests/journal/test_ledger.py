"""The projection into the contract's views, against real files, threads and readers."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from hands.journal import ledger as ledger_module
from hands.journal import log_size, reader
from hands.journal.happenings import happenings
from hands.journal.ledger import Ledger, LedgerError
from hands.journal.schema import GATES, OWN_TABLES, TABLES, encode_row
from hands.journal.store import JournalStore

NANO = 10**9
OF_VERSION_2 = ("intents", "rejections", "orders", "fills", "states", "trade_episodes", "hindsight")
A = "00000000-0000-4000-8000-00000000000a"
B = "00000000-0000-4000-8000-00000000000b"


class Desk:
    """A journal and its ledger, as the engine has them."""

    def __init__(self, folder: Path) -> None:
        self.store = JournalStore(folder / "journal.db")
        self.path = folder / "hands.db"
        self.ledger = Ledger(self.path, self.store.path)

    def record(self, table: str, **row: object) -> None:
        seq = self.store.last_seq() + 1
        self.store.append(seq, seq, "test", b"")
        self.store.outbox(seq, table, encode_row(row))
        self.store.commit()
        self.ledger.wake()

    def shown(self, view: str) -> list[dict]:
        assert self.ledger.flush(10), self.ledger.fault
        return self.read(view)

    def read(self, view: str) -> list[dict]:
        with closing(reader.open_ledger(self.path)) as db:
            return list(reader.rows(db, view))

    def restart(self) -> None:
        self.close()
        self.__init__(self.path.parent)
        self.ledger.start()

    def close(self) -> None:
        self.ledger.close()
        self.store.close()


@pytest.fixture
def desk(tmp_path: Path):
    desk = Desk(tmp_path)
    desk.ledger.start()
    yield desk
    desk.close()


def until(condition, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "never came true"
        time.sleep(0.005)


def test_an_order_is_shown_in_plain_numbers_kept_exactly_and_updated_in_place(desk: Desk):
    desk.record(
        "orders",
        client_order_id="c1",
        symbol="AAPL",
        qty=66 * NANO,
        limit_price=150_150_000_000,
        status="new",
    )
    desk.record(
        "orders", client_order_id="c1", order_id="v1", filled_qty=66 * NANO, avg_price=150_000_000_001
    )
    [order] = desk.shown("orders")
    assert (order["qty"], order["limit_price"], order["filled_qty"]) == (66.0, 150.15, 66.0)
    assert (order["status"], order["order_id"], order["stop_price"]) == ("new", "v1", None)
    with closing(reader.open_ledger(desk.path)) as db:
        assert db.execute("SELECT avg_price_nano FROM ledger_orders").fetchone()[0] == 150_000_000_001


def test_rows_committed_in_one_turn_are_all_shown_once_in_order(desk: Desk):
    for number in range(1, 601):
        desk.store.append(number, number, "test", b"")
        desk.store.outbox(
            number, "states", encode_row({"at_ns": number, "reason": f"r{number}", "event": "set"})
        )
    desk.store.commit()
    desk.ledger.wake()
    assert [row["at_ns"] for row in desk.shown("states")] == list(range(1, 601))
    assert desk.ledger.position == 600


def test_an_execution_reported_three_times_is_one_fill(desk: Desk):
    """Trap 4."""
    for _ in range(3):
        desk.record("fills", execution_id="e1", intent_id=A, qty=NANO, price=2 * NANO, fee=None, at_ns=5)
    [fill] = desk.shown("fills")
    assert (fill["qty"], fill["price"], fill["fee"]) == (1.0, 2.0, None)


def test_every_denial_is_kept_and_unknown_is_null(desk: Desk):
    desk.record(
        "rejections",
        intent_id=A,
        agent="default",
        code="STALE_MARKET_DATA",
        limit_value="5000",
        observed="7000.5",
        detail={"x": 1},
        at_ns=1,
    )
    desk.record(
        "rejections",
        intent_id=None,
        agent="default",
        code="HALTED",
        limit_value=None,
        observed="HALTED",
        at_ns=2,
    )
    first, second = desk.shown("rejections")
    assert (first["limit_value"], first["observed"], first["detail"]) == (5000, 7000.5, '{"x":1}')
    assert (second["intent_id"], second["limit_value"], second["observed"]) == (None, None, "HALTED")


def test_an_episode_has_exactly_the_contracts_columns_and_times_in_rfc_3339(desk: Desk):
    desk.record(
        "trade_episodes",
        id=A,
        intent_id=A,
        asset="AAPL",
        pnl_pct=20_000_000,
        actual_pnl=-141_900_000_000,
        fees_estimated=False,
        opened_at=1_767_623_400_000_001_000,
        rsi_14=55.5,
        closed_at=None,
    )
    [episode] = desk.shown("trade_episodes")
    assert " ".join(episode) == (
        "id asset direction entry_price exit_price pnl_pct vix_at_entry rsi_14 macd_signal funding_rate volume_24h agent_thesis "
        "strategy_ref confidence_score exit_reason expected_pnl actual_pnl opened_at closed_at regime intent_id agent qty fees "
        "fees_estimated vwap latency_ns slippage"
    )
    assert (episode["pnl_pct"], episode["actual_pnl"], episode["rsi_14"]) == (0.02, -141.9, 55.5)
    assert (episode["opened_at"], episode["closed_at"]) == ("2026-01-05T14:30:00.000001Z", None)
    assert (episode["fees_estimated"], episode["fees"], episode["id"]) == (0, None, A)


def test_the_views_have_the_columns_others_depend_on(desk: Desk):
    columns = {
        view: " ".join(self_described(desk, view))
        for view in ("intents", "orders", "fills", "rejections", "states")
    }
    assert columns == {
        "intents": "intent_id agent kind symbol direction verdict code state strategy_ref confidence trigger_price stop_loss take_profit "
        "received_ns decided_ns sent_ns updated_ns document receipt",
        "orders": "client_order_id order_id intent_id leg symbol side order_type order_class time_in_force qty filled_qty avg_price "
        "limit_price stop_price status created_ns sent_ns acked_ns updated_ns",
        "fills": "execution_id client_order_id order_id intent_id leg symbol side qty price fee at_ns",
        "rejections": "intent_id agent code limit_value observed detail at_ns",
        "states": "at_ns state reason event detail",
    }


def self_described(desk: Desk, view: str) -> list[str]:
    assert desk.ledger.flush(10)
    with closing(reader.open_ledger(desk.path)) as db:
        return [column[0] for column in db.execute(f"SELECT * FROM {view}").description]


def test_a_document_of_raw_bytes_is_kept_as_text(desk: Desk):
    desk.record(
        "intents",
        intent_id=A,
        document=b'{"thesis": "\xff\xc3\xa9"}',
        receipt={"v": 1},
        confidence=600_000_000,
    )
    [row] = desk.shown("intents")
    assert row["document"] == '{"thesis": "\ufffdé"}'
    assert (row["receipt"], row["confidence"]) == ('{"v":1}', 0.6)


def test_an_amount_beyond_64_bits_is_shown_as_the_nearest_number(desk: Desk):
    desk.record("orders", client_order_id="shib", qty=10**14 * NANO)
    assert desk.shown("orders")[0]["qty"] == pytest.approx(1e14)


@pytest.mark.parametrize(
    ("table", "row", "reason"),
    [
        ("orders", {"client_order_id": "c2", "qty": 1.5}, "orders.qty takes NANO, found float"),
        ("orders", {"client_order_id": "c2", "qty": True}, "found bool"),
        ("orders", {"qty": NANO}, "needs its client_order_id"),
        ("orders", {"client_order_id": "c2", "colour": "red"}, "no column colour"),
        ("orders", {"client_order_id": "c2", "order_id": "v1"}, "UNIQUE"),
        ("nonsense", {}, "no view 'nonsense'"),
    ],
)
def test_a_row_that_does_not_fit_is_set_aside_and_does_not_stop_the_others(desk: Desk, table, row, reason):
    desk.record("orders", client_order_id="c1", order_id="v1", qty=NANO)
    desk.record(table, **row)
    desk.record("orders", client_order_id="c3", qty=NANO)
    assert [order["client_order_id"] for order in desk.shown("orders")] == ["c1", "c3"]
    assert desk.ledger.set_aside == 1
    with closing(reader.open_ledger(desk.path)) as db:
        [(tbl, said)] = [tuple(r) for r in db.execute("SELECT tbl, reason FROM set_aside")]
    assert tbl == table
    assert reason in said


def test_what_a_former_session_left_in_the_outbox_is_caught_up_at_start_and_nothing_twice(tmp_path: Path):
    desk = Desk(tmp_path)
    desk.record("states", at_ns=1, reason="operator", event="set")
    desk.ledger.start()
    assert len(desk.shown("states")) == 1
    desk.ledger.close()
    desk.record("states", at_ns=2, reason="operator", event="cleared")
    desk.restart()
    assert [row["at_ns"] for row in desk.shown("states")] == [1, 2]
    desk.restart()
    assert [row["at_ns"] for row in desk.shown("states")] == [1, 2]
    desk.close()


def test_uncommitted_rows_are_never_shown(desk: Desk):
    desk.store.outbox(1, "states", encode_row({"at_ns": 1}))
    assert desk.shown("states") == []
    desk.store.commit()
    assert len(desk.shown("states")) == 1


def test_trap_27_a_reader_holding_a_transaction_open_blocks_nobody(desk: Desk):
    """Trap 27."""
    desk.record("states", at_ns=1)
    assert desk.ledger.flush(10)
    with closing(sqlite3.connect(desk.path, isolation_level=None)) as holding:
        holding.execute("BEGIN")
        assert holding.execute("SELECT count(*) FROM states").fetchone()[0] == 1
        for number in range(2, 102):
            desk.record("states", at_ns=number)
        assert len(desk.shown("states")) == 101
        assert holding.execute("SELECT count(*) FROM states").fetchone()[0] == 1, "its own snapshot"
        holding.execute("COMMIT")


def test_trap_26_database_is_locked_delays_the_views_and_neither_blocks_the_engine_nor_loses_a_row(
    desk: Desk,
):
    """Trap 26."""
    desk.record("states", at_ns=1)
    assert desk.ledger.flush(10)
    with closing(sqlite3.connect(desk.path, isolation_level=None)) as rude:
        rude.execute("BEGIN IMMEDIATE")
        desk.record("states", at_ns=2)
        until(lambda: desk.ledger.fault is not None)
        assert "locked" in str(desk.ledger.fault)
        for number in range(3, 300):
            desk.record("states", at_ns=number)
        assert not desk.ledger.flush(0.05)
        rude.execute("ROLLBACK")
    assert [row["at_ns"] for row in desk.shown("states")] == list(range(1, 300))
    assert desk.ledger.fault is None


def test_a_deleted_ledger_is_rebuilt_from_the_outbox_while_running(desk: Desk):
    for number in range(1, 11):
        desk.record("states", at_ns=number)
    assert len(desk.shown("states")) == 10
    for name in ("hands.db", "hands.db-wal", "hands.db-shm"):
        (desk.path.parent / name).unlink(missing_ok=True)
    desk.record("states", at_ns=11)
    assert [row["at_ns"] for row in desk.shown("states")] == list(range(1, 12))


def test_a_ledger_whose_log_was_removed_goes_on_where_readers_find_it(desk: Desk):
    desk.record("states", at_ns=1)
    assert len(desk.shown("states")) == 1
    desk.path.with_name("hands.db-wal").unlink()
    desk.record("states", at_ns=2)
    assert [row["at_ns"] for row in desk.shown("states")] == [1, 2]


@pytest.mark.parametrize("damage", [b"rubbish" * 1000, b"SQLite format 3\x00" + b"\x00" * 5000])
def test_a_broken_ledger_is_moved_aside_and_rebuilt(tmp_path: Path, damage: bytes):
    desk = Desk(tmp_path)
    desk.ledger.start()
    desk.record("states", at_ns=1)
    assert desk.ledger.flush(10)
    desk.ledger.close()
    desk.path.write_bytes(damage)
    desk.restart()
    desk.record("states", at_ns=2)
    assert [row["at_ns"] for row in desk.shown("states")] == [1, 2]
    assert desk.path.with_name("hands.db.broken-1").read_bytes() == damage
    desk.close()


def test_a_new_journal_under_an_old_ledger_is_projected_from_its_beginning(tmp_path: Path):
    desk = Desk(tmp_path)
    desk.ledger.start()
    for number in (1, 2, 3):
        desk.record("states", at_ns=number)
    assert desk.ledger.flush(10)
    desk.close()
    desk.store.path.unlink()
    desk.__init__(tmp_path)
    desk.ledger.start()
    desk.record("states", at_ns=4)
    assert [row["at_ns"] for row in desk.shown("states")] == [1, 2, 3, 4]
    desk.close()


def test_rows_are_not_missed_when_a_power_cut_took_the_journals_last_commits(tmp_path: Path):
    desk = Desk(tmp_path)
    desk.ledger.start()
    for number in (1, 2, 3):
        desk.record("states", at_ns=number)
    assert desk.ledger.flush(10)
    desk.close()
    with closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as db:
        db.execute("DELETE FROM outbox WHERE id > 1")
    desk.restart()
    desk.record("states", at_ns=4)
    assert [row["at_ns"] for row in desk.shown("states")] == [1, 2, 3, 4]
    desk.close()


def test_yesterdays_ledger_keeps_its_rows_and_gets_what_it_lacks(tmp_path: Path):
    desk = Desk(tmp_path)
    with closing(sqlite3.connect(desk.path)) as db:
        for ddl in (*OWN_TABLES, *(ddl for view in OF_VERSION_2 for ddl in TABLES[view].ddl()), GATES):
            db.execute(ddl)
        db.execute("INSERT INTO ledger_states (at_ns, reason) VALUES (1, 'OPERATOR')")
        db.execute("PRAGMA user_version = 2")
        db.commit()
    with closing(reader.open_ledger(desk.path)) as db:  # before a daemon has opened it
        assert [each["code"] for each in happenings(db, 0)] == ["OPERATOR"]
    desk.ledger.start()
    desk.record("alerts", at_ns=2, level="warning", code="LINK", message="a link went down")
    assert desk.shown("alerts") == [
        {"at_ns": 2, "level": "warning", "code": "LINK", "message": "a link went down"}
    ]
    assert desk.shown("states")[0]["reason"] == "OPERATOR"
    with closing(reader.open_ledger(desk.path)) as db:
        assert [each["code"] for each in happenings(db, 0)] == ["OPERATOR", "LINK"]
    desk.close()


def test_a_newer_ledger_or_another_programs_database_is_refused(tmp_path: Path):
    desk = Desk(tmp_path)
    with closing(sqlite3.connect(desk.path)) as db:
        db.execute("CREATE TABLE precious (x)")
    with pytest.raises(LedgerError, match="not a ledger"):
        desk.ledger.start()
    with closing(sqlite3.connect(desk.path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match="newer Hands"):
        desk.ledger.start()
    desk.store.close()


def test_trap_27_many_readers_in_other_processes_see_only_whole_batches(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ledger_module, "GATHER_S", 0.0)
    code = (
        "import sys, pathlib; from hands.journal import reader\n"
        "db = reader.open_ledger(pathlib.Path(sys.argv[1])); print('reading', flush=True); seen = 0\n"
        "while seen < 400:\n"
        "    count, top = tuple(db.execute('SELECT count(*), coalesce(max(at_ns), 0) FROM states').fetchone())\n"
        "    assert count == top >= seen, (count, top, seen); seen = count\n"
    )
    assert desk.shown("states") == []
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(desk.path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for process in readers:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reading\n"
    for number in range(1, 401):
        desk.record("states", at_ns=number)
    for process in readers:
        _, said = process.communicate(timeout=30)
        assert process.returncode == 0, said.decode()
    assert len(desk.shown("states")) == 400


# --- a reader that never ends its transaction ------------------------------------------------------------------


def test_a_log_that_one_reader_holds_open_is_said_bounded_and_cut_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    """The ledger goes on up to a bound; from there the rows wait in the journal, and none is lost."""
    monkeypatch.setattr(log_size, "TOLD", 200_000)
    monkeypatch.setattr(log_size, "MIB", 1_000)
    monkeypatch.setattr(ledger_module, "LOG_MAX", 600_000)
    monkeypatch.setattr(ledger_module, "HELD_BACK_S", 0.02)
    monkeypatch.setattr(ledger_module, "BUSY_TIMEOUT_S", 0.01)
    monkeypatch.setattr(ledger_module, "HELD_BACK_ROWS", 64)
    desk.restart()
    desk.record("states", at_ns=1)
    assert desk.ledger.flush(10)
    count = 500
    with closing(sqlite3.connect(desk.path, isolation_level=None)) as holding:
        holding.execute("BEGIN")
        assert holding.execute("SELECT count(*) FROM states").fetchone()[0] == 1
        for number in range(2, count + 1):
            desk.record("states", at_ns=number, detail="x" * 3000)
        until(lambda: "nothing is added" in str(desk.ledger.fault))
        assert "somebody holds it open in a read that does not end" in str(desk.ledger.fault)
        assert 600_000 <= log_size.log_bytes(desk.path) < 1_200_000
        shown = len(desk.read("states"))
        assert 1 < shown < count
        assert holding.execute("SELECT count(*) FROM states").fetchone()[0] == 1
        holding.execute("COMMIT")
    assert [row["at_ns"] for row in desk.shown("states")] == list(range(1, count + 1))
    until(lambda: desk.ledger.fault is None)
    assert log_size.log_bytes(desk.path) < 600_000


def test_a_log_that_has_grown_is_said_while_the_views_go_on(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(log_size, "TOLD", 100_000)
    monkeypatch.setattr(ledger_module, "HELD_BACK_S", 0.02)
    with closing(sqlite3.connect(desk.path, isolation_level=None)) as holding:
        desk.record("states", at_ns=1)
        assert desk.ledger.flush(10)
        holding.execute("BEGIN")
        holding.execute("SELECT count(*) FROM states").fetchone()
        number = 1
        while desk.ledger.fault is None:
            number += 1
            desk.record("states", at_ns=number, detail="x" * 3000)
            if number % 100 == 0:
                assert desk.ledger.flush(10)  # the writer is quicker than the projection
            assert number < 5000
        assert len(desk.shown("states")) == number
        holding.execute("COMMIT")
    until(lambda: desk.ledger.fault is None)
