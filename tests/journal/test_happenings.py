"""What happened, in order, from a real ledger that a real trade's records were projected into."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from hands.core.commands import Alert, Record
from hands.core.events import Link, LinkReport, OperatorAction, OperatorRequest
from hands.core.ledger_rows import alert_record
from hands.core.units import Ns
from hands.journal.happenings import Tail, happenings, orders
from hands.journal.ledger import Ledger
from hands.journal.reader import open_ledger
from hands.journal.schema import encode_row
from hands.journal.store import JournalStore
from tests.core.desk import Desk
from tests.core.world import NOW, intent_id


class Book:
    """A ledger that is told what a desk records, when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "hands.db"
        self.journal = JournalStore(folder / "journal.db")
        self.ledger = Ledger(self.path, self.journal.path)
        self.ledger.start()
        self.keep([])  # its tables are there

    def keep(self, rows: list[tuple[str, dict[str, Any]]]) -> None:
        for table, row in rows:
            self.journal.outbox(1, table, encode_row(row))
        self.journal.commit()
        self.ledger.wake()
        assert self.ledger.flush(5)

    def close(self) -> None:
        self.ledger.close(5)
        self.journal.close()


def records(desk: Desk) -> list[tuple[str, dict[str, Any]]]:
    return [(command.table, command.row) for _, command in desk.commands if isinstance(command, Record)]


def a_day() -> Desk:
    """A trade from its intent to its target, a denial, a halt."""
    desk = Desk()
    desk.drop(1)
    desk.run(1)
    desk.drop(2, stop_loss=151)
    desk.run(1)
    desk.quote("AAPL", "155.10", "155.12")
    desk.until(lambda: not desk.state.tickets)
    desk.feed(OperatorRequest(ts_ns=Ns(desk.now_ns), action=OperatorAction.HALT, reason='{"not": "json"}'))
    return desk


def test_a_day_is_told_in_order(state_dir: Path) -> None:
    with closing(Book(state_dir)) as book:
        book.keep(records(a_day()))
        with closing(open_ledger(book.path)) as db:
            found = happenings(db, NOW - 1)
    assert [each["at_ns"] for each in found] == sorted(each["at_ns"] for each in found)
    kinds = [each["kind"] for each in found if each["kind"] != "order_end"]
    assert [kind for kind in kinds if kind not in ("order", "fill")] == [
        "verdict",
        "verdict",
        "trade",
        "state",
    ]
    assert (kinds.count("order"), kinds.count("fill")) == (3, 2)
    texts = {each["kind"]: each["text"] for each in found}
    assert texts["trade"].startswith("trade over by TP at 155")
    assert texts["trade"].endswith(" USD")
    assert texts["state"] == 'OPERATOR set; trading is HALTED: {"not": "json"}'
    [entry] = [each for each in found if each["kind"] == "order" and each["code"] == "entry"]
    assert entry["text"] == "entry order: buy 66 limit at 150.15"
    assert (entry["symbol"], entry["intent_id"]) == ("AAPL", intent_id(1))
    assert any(each["text"].startswith("entry filled: buy 66 at 150") for each in found)


def test_what_was_never_filled_is_told_twice_what_was_wanted_and_how_it_ended(state_dir: Path) -> None:
    desk = Desk()
    desk.drop(1, entry="touch", trigger_price=149, stop_loss=147, arm_seconds=60)
    desk.run(61)
    assert desk.receipt()["state"] == "EXPIRED"
    with closing(Book(state_dir)) as book:
        book.keep(records(desk))
        told = {
            "intent_id": intent_id(1),
            "receipt": desk.receipt(),
            "updated_ns": desk.now_ns,
            "state": "EXPIRED",
        }
        book.keep([("intents", told)])
        with closing(open_ledger(book.path)) as db:
            wanted, ended = happenings(db, 0)
    assert wanted["text"] == "ACCEPTED OK: LONG, trigger 149, stop 147, target 155"
    assert (ended["kind"], ended["at_ns"]) == ("unfilled", desk.now_ns)
    assert ended["text"].startswith("over unfilled, EXPIRED: ")


def test_a_verdict_is_told_before_the_order_that_followed(state_dir: Path) -> None:
    desk = a_day()
    with closing(Book(state_dir)) as book:
        book.keep(records(desk))
        book.keep([("intents", {"intent_id": intent_id(1), "decided_ns": NOW + 500_000})])
        with closing(open_ledger(book.path)) as db:
            found = [each for each in happenings(db, NOW - 1) if each["intent_id"] == intent_id(1)]
    assert [each["kind"] for each in found][:2] == ["verdict", "order"]


def test_an_alert_is_told_unless_a_change_of_the_trading_state_says_it(state_dir: Path) -> None:
    desk = a_day()
    desk.feed(LinkReport(ts_ns=Ns(desk.now_ns), link=Link.TRADE_UPDATES, up=False, reason="hung up"))
    alerts = [alert_record(command, at_ns) for at_ns, command in desk.commands if isinstance(command, Alert)]
    assert {"OPERATOR", "LINK"} <= {alert.row["code"] for alert in alerts}
    with closing(Book(state_dir)) as book:
        book.keep(records(desk) + [(alert.table, alert.row) for alert in alerts])
        with closing(open_ledger(book.path)) as db:
            found = happenings(db, NOW - 1)
    told = [each for each in found if each["kind"] in ("state", "alert")]
    assert [(each["kind"], each["code"]) for each in told] == [("state", "OPERATOR"), ("alert", "LINK")]
    assert told[1]["level"] == "warning"
    assert "hung up" in told[1]["text"]


def test_only_what_is_grave_enough_and_late_enough_is_told(state_dir: Path) -> None:
    with closing(Book(state_dir)) as book:
        desk = a_day()
        book.keep(records(desk))
        refusal = {
            "intent_id": None,
            "agent": "a",
            "code": "SCHEMA",
            "detail": {"message": "no asset"},
            "at_ns": desk.now_ns,
        }
        book.keep([("rejections", refusal)])
        with closing(open_ledger(book.path)) as db:
            warnings = happenings(db, 0, level="warning")
            assert [each["kind"] for each in warnings] == ["refused", "state"]
            assert warnings[0]["text"] == "REFUSED SCHEMA: no asset"
            assert [each["level"] for each in happenings(db, 0, level="critical")] == ["critical"]
            assert happenings(db, desk.now_ns + 1) == []
            assert len(happenings(db, 0, most=2)) == 2
            assert happenings(db, 0, most=2)[-1]["at_ns"] == desk.now_ns


def test_each_happening_is_told_once_however_late_it_was_written(state_dir: Path) -> None:
    with closing(Book(state_dir)) as book:
        rows = records(a_day())
        early = [row for row in rows if row[0] in ("intents", "rejections", "orders")]
        late = [row for row in rows if row not in early]
        tail = Tail(NOW - 1)
        with closing(open_ledger(book.path)) as db:
            assert list(tail.new(db)) == []
            book.keep(late)  # what is older comes later and is told all the same
            first = list(tail.new(db))
            book.keep(early)
            second = list(tail.new(db))
            assert list(tail.new(db)) == []
            everything = {each["key"] for each in happenings(db, NOW - 1)}
        told = [each["key"] for each in (*first, *second)]
        assert len(told) == len(set(told))
        assert set(told) == everything


def test_orders_by_what_may_still_fill(state_dir: Path) -> None:
    desk = Desk()
    desk.drop(1)
    desk.run(1)
    with closing(Book(state_dir)) as book:
        book.keep(records(desk))
        with closing(open_ledger(book.path)) as db:
            assert [row["leg"] for row in orders(db, every=False)] == ["tp", "sl"]
            assert [row["leg"] for row in orders(db, every=True)] == ["entry", "tp", "sl"]
            assert [row["leg"] for row in orders(db, every=True, most=1)] == ["sl"]
