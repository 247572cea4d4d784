"""From commands to shells: orders at once, papers when the loop comes round, what fails again later."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from hands.core.commands import (
    Alert,
    CancelOrder,
    FetchQuote,
    QueryOrder,
    ReceiptChanged,
    RefuseDocument,
    RequestDayOrders,
    RequestTruth,
    Stopped,
    SubmitExit,
)
from hands.core.orders import ApprovedEntry, ReducingOrder
from hands.core.units import NANO, Ns, Qty
from hands.core.vocab import AssetClass, Leg, OrderType, Side, TimeInForce
from hands.intake.inbox import Inbox
from hands.intake.receipts import ReceiptWriter
from hands.journal.ledger import Ledger
from hands.runtime import dispatcher as dispatcher_module
from hands.runtime.dispatcher import Dispatcher
from hands.runtime.sequencer import RETRY_NS, Sequencer


class Wire:
    """Order entry without a socket: notes what would be written, at the clock's time if `is_warm`."""

    def __init__(self, clock: Any) -> None:
        self.requests: list[tuple[str, str]] = []
        self.is_warm = True
        self._clock = clock

    sent = None

    def submit(self, order: ApprovedEntry | ReducingOrder) -> Ns | None:
        return self._note("submit", order.client_order_id)

    def cancel(self, command: CancelOrder) -> Ns | None:
        return self._note("cancel", command.client_order_id)

    def query(self, command: QueryOrder) -> Ns | None:
        return self._note("query", command.client_order_id)

    def _note(self, what: str, client_order_id: str) -> Ns | None:
        self.requests.append((what, client_order_id))
        return self._clock() if self.is_warm else None


class CountingReceipts(ReceiptWriter):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.writes: list[str] = []

    def write(self, intent_id: str, doc: Any) -> None:
        self.writes.append(intent_id)
        super().write(intent_id, doc)


class Desk:
    """A dispatcher between real books and real folders."""

    def __init__(self, books: Any, folder: Path) -> None:
        self.books = books
        self.folder = folder
        self.wire = Wire(books.clock)
        self.quotes: list[str] = []
        self.truths: list[tuple[str, ...]] = []
        self.days: list[Ns] = []
        self.fills: list[Ns] = []
        for name in ("receipts", "archive", "refused"):
            (folder / name).mkdir(parents=True)
        self.receipts = CountingReceipts(folder)
        self.dispatcher = Dispatcher(books.state, books.clock)
        self.sequencer = Sequencer(books.state, books.journal, books.clock, self.dispatcher.dispatch)
        self.dispatcher.connect(
            sequencer=self.sequencer,
            order_entry=self.wire,  # type: ignore[arg-type]
            inbox=Inbox(folder, {}, clock=books.clock, deliver=lambda _: None, on_halt=lambda: None),
            receipts=self.receipts,
            ledger=Ledger(books.journal.path.with_name("hands.db"), books.journal.path),
            fetch_quote=self.quotes.append,
            request_truth=self.truths.append,
            request_day_orders=lambda since_ns, _: self.days.append(since_ns),
            request_fills=self.fills.append,
        )

    def drop(self, **changes: Any) -> str:
        event = self.books.document(**changes)
        (self.folder / event.name).write_bytes(event.data)
        self.sequencer.feed(event)
        return str(json.loads(event.data)["intent_id"])

    def receipt(self, intent_id: str) -> dict[str, Any]:
        return dict(json.loads((self.folder / "receipts" / f"{intent_id}.json").read_text()))

    @property
    def archived(self) -> list[str]:
        return sorted(path.stem for path in (self.folder / "archive").rglob("*.json"))


@pytest.fixture
def desk(books: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(dispatcher_module, "RETRY_S", 0.01)
    return Desk(books, tmp_path / "intents")


def reducing(name: str = "x1") -> ReducingOrder:
    return ReducingOrder(
        client_order_id=name,
        intent_id="x",
        leg=Leg.EXIT,
        symbol="AAPL",
        asset_class=AssetClass.EQUITY,
        side=Side.SELL,
        qty=Qty(NANO),
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
    )


def test_the_order_leaves_in_the_same_turn_and_the_papers_in_the_next(desk: Desk, until: Any) -> None:
    async def scenario() -> None:
        intent_id = desk.drop()
        assert [what for what, _ in desk.wire.requests] == ["submit"]
        assert not desk.receipts.writes
        assert desk.archived == []
        await until(lambda: desk.archived == [intent_id])
        assert desk.receipt(intent_id)["verdict"] == "ACCEPTED"
        assert desk.receipt(intent_id)["stamps_ns"]["sent"] == desk.books.clock()
        assert not (desk.folder / f"{intent_id}.json").exists()
        await until(lambda: not desk.books.journal.pending)
        assert desk.books.written()[:2] == ["document", "request_sent"]

    asyncio.run(scenario())


def test_a_receipt_that_changes_many_times_in_a_turn_is_written_once(desk: Desk, until: Any) -> None:
    async def scenario() -> None:
        intent_id = desk.drop()
        for _ in range(20):
            desk.dispatcher.dispatch([ReceiptChanged(intent_id=intent_id)], desk.books.clock(), None)
        await until(lambda: desk.archived)
        assert desk.receipts.writes == [intent_id]

    asyncio.run(scenario())


def test_an_entry_that_could_not_be_written_down_is_not_sent_and_its_receipt_says_so(
    desk: Desk, until: Any
) -> None:
    async def scenario() -> None:
        with desk.books.refusing_disk():
            intent_id = desk.drop()
            assert desk.wire.requests == []
            await until(lambda: intent_id in desk.receipts.writes)
            assert desk.receipt(intent_id)["state"] != "OPEN"
            for _ in range(50):  # until nothing is left that would come round by itself
                await asyncio.sleep(0)
            desk.sequencer.stop()
        desk.books.clock.now = Ns(desk.books.clock() + RETRY_NS)
        await until(lambda: desk.sequencer.journal_fault is None)  # nobody but the retry is left to do it
        await until(lambda: "request_failed" in desk.books.written())
        assert desk.wire.requests == []

    asyncio.run(scenario())


def test_an_exit_that_could_not_be_written_down_is_sent_all_the_same(desk: Desk) -> None:
    async def scenario() -> None:
        desk.wire.is_warm = False
        desk.dispatcher.dispatch([SubmitExit(order=reducing())], desk.books.clock(), None)
        assert desk.wire.requests == [("submit", "x1")]

    asyncio.run(scenario())


def test_while_the_disk_refuses_the_loop_is_not_kept_busy(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = []
    do_papers = desk.dispatcher._do_papers
    monkeypatch.setattr(desk.dispatcher, "_do_papers", lambda: (turns.append(1), do_papers()))
    monkeypatch.setattr(dispatcher_module, "RETRY_S", 3600.0)

    async def scenario() -> None:
        with desk.books.refusing_disk():
            desk.drop()
            for _ in range(200):
                await asyncio.sleep(0)
            assert desk.sequencer.journal_fault is not None
            assert len(turns) < 10

    asyncio.run(scenario())


def test_a_receipt_that_cannot_be_written_is_tried_again_and_holds_up_no_filing(
    desk: Desk, until: Any
) -> None:
    async def scenario() -> None:
        (desk.folder / "receipts").rmdir()
        (desk.folder / "receipts").write_text("in the way")
        intent_id = desk.drop()
        await until(lambda: desk.archived == [intent_id])
        assert desk.dispatcher.papers_fault is not None
        (desk.folder / "receipts").unlink()
        await until(lambda: desk.dispatcher.papers_fault is None)
        assert desk.receipt(intent_id)["intent_id"] == intent_id

    asyncio.run(scenario())


def test_a_filing_that_cannot_be_done_holds_up_no_other(desk: Desk, until: Any) -> None:
    """A folder in the way of refused/ must not keep judged documents in the drop folder."""

    async def scenario() -> None:
        (desk.folder / "refused").rmdir()
        (desk.folder / "refused").write_text("in the way")
        (desk.folder / "bad.json").write_bytes(b"{")
        bad = RefuseDocument(agent="default", name="bad.json", data=b"{", receipt={"code": "MALFORMED_JSON"})
        desk.dispatcher.dispatch([bad], desk.books.clock(), None)
        intent_id = desk.drop()
        await until(lambda: desk.archived == [intent_id])
        assert (desk.folder / "bad.json").exists()
        (desk.folder / "refused").unlink()
        (desk.folder / "refused").mkdir()
        await until(lambda: not (desk.folder / "bad.json").exists())
        assert (desk.folder / "refused" / "bad.json.receipt.json").exists()

    asyncio.run(scenario())


def test_an_id_that_is_filed_already_with_other_bytes_blocks_nothing(desk: Desk, until: Any) -> None:
    """Old intents/ with a fresh state directory."""

    async def scenario() -> None:
        first = desk.drop()
        await until(lambda: desk.archived == [first])
        [filed] = (desk.folder / "archive").rglob("*.json")
        filed.write_bytes(b"what another engine judged")
        desk.books.state.seen.pop(first)  # this engine has never heard of it
        other = desk.books.document(intent_id=first, confidence=0.9)
        (desk.folder / other.name).write_bytes(other.data)
        desk.sequencer.feed(other)
        await until(lambda: not (desk.folder / other.name).exists())
        assert filed.read_bytes() == b"what another engine judged"
        assert filed.with_name(f"{filed.name}.1").read_bytes() == other.data

    asyncio.run(scenario())


def test_the_end_writes_what_waits_and_says_what_could_not_be(desk: Desk, caplog: Any) -> None:
    async def scenario() -> None:
        intent_id = desk.drop()
        assert desk.dispatcher.finish_papers(1.0)
        assert desk.archived == [intent_id]
        (desk.folder / "receipts" / f"{intent_id}.json").unlink()
        (desk.folder / "receipts").rmdir()
        (desk.folder / "receipts").write_text("in the way")
        desk.dispatcher.dispatch([ReceiptChanged(intent_id=intent_id)], desk.books.clock(), None)
        assert not desk.dispatcher.finish_papers(1.0)
        assert any("left unwritten" in record.getMessage() for record in caplog.records)

    asyncio.run(scenario())


def test_the_other_commands_reach_their_shells(desk: Desk, caplog: Any) -> None:
    stopped = []

    async def scenario() -> None:
        desk.wire.is_warm = False
        desk.dispatcher.on_stopped = lambda: stopped.append(desk.dispatcher.stopped)
        desk.dispatcher.dispatch(
            [
                CancelOrder(order_id="id1", client_order_id="c1"),
                QueryOrder(client_order_id="c2"),
                FetchQuote(symbol="AAPL"),
                RequestTruth(client_order_ids=("c3",), reason="a test"),
                RequestDayOrders(since_ns=Ns(7)),
                Alert(level="critical", code="LOUD", message="listen"),
                Stopped(still_open=("AAPL",)),
            ],
            desk.books.clock(),
            None,
        )
        assert desk.wire.requests == [("cancel", "c1"), ("query", "c2")]
        assert (desk.quotes, desk.truths, desk.days) == (["AAPL"], [("c3",)], [7])
        assert stopped == [Stopped(still_open=("AAPL",))]
        assert [r.levelno for r in caplog.records if "LOUD" in r.getMessage()] == [logging.CRITICAL]

    asyncio.run(scenario())
