"""The daemon, made to die of a real SIGKILL at one exact step: `python -m tests.crash.real_launcher PLAN run …`.

Owns the names of the steps and the kill; the daemon itself is the shipped one, wrapped from outside. May not change what
any step does. The one idea: every durable and every network step is announced before, in the midst of and after it with
all the words that describe it; the file PLAN names a word, the how-manieth time and the moment, and the process that
gets there kills itself with SIGKILL. PLAN may appear or be replaced while the daemon runs: it counts from then on.

PLAN is JSON: `{"word": "write/submit/entry", "when": "sent", "nth": 1}`; `"signal": "SIGSTOP"` holds it still there instead,
and `"trace": true` writes every step to PLAN.trace. What was reached is written to PLAN.killed first: a death that
nobody ordered has no such file.

| word | before | mid | after | also |
|---|---|---|---|---|
| commit, commit/EVENT, commit/EVENT/DETAIL | nothing is written | all is written but the COMMIT | committed | |
| write/KIND/LEG | not handed over | | in the transport | sent: the bytes have left |
| answer/KIND/LEG | read, not taken | | taken | |
| report/EVENT/LEG | read, not taken | | taken | |
| receipt/STATE | nothing | the temporary file is whole | renamed | |
| archive | nothing | the copy is filed | the drop is gone | taken: the drop has a hidden name |
| project/TABLE | | the row is in, uncommitted | committed | |
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hands.cli.main import main
from hands.core.orders import parse_client_order_id
from hands.intake import files, receipts
from hands.intake.inbox import Inbox
from hands.journal import ledger
from hands.journal.steps import OWN_KINDS
from hands.journal.store import JournalStore
from hands.venues.alpaca.order_entry import OrderEntry
from hands.venues.alpaca.trade_stream import TradeStream

Words = tuple[str, ...]


class Steps:
    """Counts the steps since the plan was made, and ends the process at the one it names."""

    def __init__(self, plan: Path) -> None:
        self._file = plan
        self._known: tuple[int, int] | None = None
        self._plan: dict[str, Any] = {}
        self._count = 0

    def reached(self, when: str, words: Words) -> None:
        """Die here, if this is the place."""
        self._look()
        plan = self._plan
        if plan.get("trace"):
            with self._file.with_suffix(".trace").open("a") as trace:
                trace.write(f"{when} {' '.join(words)}\n")
        if plan.get("word") in words and plan["when"] == when:
            self._count += 1
            if self._count == plan["nth"]:
                self._die(f"{plan['word']}:{plan['nth']}:{when}")

    def _look(self) -> None:
        try:
            found = self._file.stat()
        except FileNotFoundError:
            self._known, self._plan = None, {}
            return
        known = (found.st_ino, found.st_mtime_ns)
        if known != self._known:
            self._known, self._count = known, 0
            self._plan = json.loads(self._file.read_text())

    def _die(self, step: str) -> None:
        number = signal.Signals[self._plan.get("signal", "SIGKILL")]
        self._file.with_suffix(".killed").write_text(step)
        os.kill(os.getpid(), number)


def leg_of(client_order_id: str, order_type: str = "") -> str:
    """Return which leg an order is; one that the venue names itself by its type, "leg" where that is not told."""
    named = parse_client_order_id(client_order_id)
    if named is not None:
        return str(named[1])
    return ("sl" if order_type.startswith("stop") else "tp") if order_type else "leg"


def watch_journal(steps: Steps) -> None:
    """A commit, in front of it, inside its transaction, and behind it."""
    open_journal, commit = JournalStore.__init__, JournalStore.commit

    class Watched:
        """The connection, which is about to commit when it says so."""

        def __init__(self, db: sqlite3.Connection) -> None:
            self.db = db
            self.words: Words | None = None

        def __getattr__(self, name: str) -> Any:
            return getattr(self.db, name)

        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql == "COMMIT" and self.words is not None:
                steps.reached("mid", self.words)
            return self.db.execute(sql, *values)

    def opened(self: JournalStore, *arguments: Any, **named: Any) -> None:
        open_journal(self, *arguments, **named)
        self._db = Watched(self._db)  # type: ignore[assignment]

    def committed(self: JournalStore) -> None:
        words = _commit_words(self) if self.pending else ()
        if not words:
            commit(self)
            return
        steps.reached("before", words)
        self._db.words = words  # type: ignore[attr-defined]
        commit(self)
        self._db.words = None  # type: ignore[attr-defined]
        steps.reached("after", words)

    JournalStore.__init__ = opened  # type: ignore[method-assign]
    JournalStore.commit = committed  # type: ignore[method-assign]


def _commit_words(journal: JournalStore) -> Words:
    """Return what a commit holds: the events' kinds and, of those about one order, which."""
    words = {"commit"}
    for _, _, kind, payload, *_ in journal._steps:
        words.add(f"commit/{kind}")
        event = {} if kind in OWN_KINDS else json.loads(payload)
        match kind:
            case "order_report":
                order = event["order"]
                leg = leg_of(order["client_order_id"], order["order_type"])
                words.add(f"commit/{kind}/{event['event']}/{leg}")
            case "request_sent" | "request_answered" | "request_failed":
                words.add(f"commit/{kind}/{event['kind']}/{leg_of(event['client_order_id'])}")
    words |= {f"commit/row/{table}" for _, table, _ in journal._outbox}
    return tuple(sorted(words))


def watch_orders(steps: Steps) -> None:
    """A request: handed over, on the wire; its answer: read, taken."""
    write, finish = OrderEntry._write, OrderEntry._finish

    def written(self: OrderEntry, request: Any) -> Any:
        words = (f"write/{request.kind}/{leg_of(request.client_order_id)}",)
        steps.reached("before", words)
        connection = self._connections._free[-1]
        sent_ns = write(self, request)
        steps.reached("after", words)
        loop = asyncio.get_running_loop()

        def flushed() -> None:
            transport = connection._transport
            if transport is not None and transport.get_write_buffer_size():
                loop.call_soon(flushed)
            else:
                steps.reached("sent", words)

        loop.call_soon(flushed)  # the transport writes at the end of this turn of the loop
        return sent_ns

    def finished(self: OrderEntry, request: Any, connection: Any, outcome: Any) -> None:
        words = (f"answer/{request.kind}/{leg_of(request.client_order_id)}",)
        steps.reached("before", words)
        finish(self, request, connection, outcome)
        steps.reached("after", words)

    OrderEntry._write = written  # type: ignore[method-assign]
    OrderEntry._finish = finished  # type: ignore[method-assign]


def watch_reports(steps: Steps) -> None:
    """A trade update: read, taken."""
    take = TradeStream._take_update

    def taken(self: TradeStream, body: Any, data: bytes) -> None:
        order = body["order"]
        words = (f"report/{body['event']}/{leg_of(order['client_order_id'], order['type'])}",)
        steps.reached("before", words)
        take(self, body, data)
        steps.reached("after", words)

    TradeStream._take_update = taken  # type: ignore[method-assign]


def watch_papers(steps: Steps) -> None:
    """A receipt and its temporary file; a document's copy, its hidden name, its end."""
    write, write_new = receipts.ReceiptWriter.write, receipts.write_new
    archive, take_content, taken = Inbox.archive, files._take_content, files._taken
    state: list[Words] = [()]

    def receipt_written(self: receipts.ReceiptWriter, intent_id: str, doc: Any) -> None:
        state[0] = (f"receipt/{doc['state']}",)
        steps.reached("before", state[0])
        write(self, intent_id, doc)
        steps.reached("after", state[0])

    def part_written(place_fd: int, name: str, data: bytes) -> None:
        write_new(place_fd, name, data)
        steps.reached("mid", state[0])

    def archived(self: Inbox, *arguments: Any) -> None:
        steps.reached("before", ("archive",))
        archive(self, *arguments)
        steps.reached("after", ("archive",))

    def content_taken(*arguments: Any) -> None:
        steps.reached("mid", ("archive",))
        take_content(*arguments)

    @contextlib.contextmanager
    def taken_away(drop_fd: int, name: str, claimed: files.Others) -> Iterator[str | None]:
        with taken(drop_fd, name, claimed) as hidden:
            if hidden is not None:
                steps.reached("taken", ("archive",))
            yield hidden

    receipts.ReceiptWriter.write = receipt_written  # type: ignore[method-assign]
    receipts.write_new = part_written  # type: ignore[attr-defined]
    Inbox.archive = archived  # type: ignore[method-assign]
    files._take_content = content_taken
    files._taken = taken_away


def watch_ledger(steps: Steps) -> None:
    """A projected row: written, committed. On the projection's own thread, which takes everything with it."""
    project, project_batch = ledger._project, ledger.Ledger._project_batch
    tables: list[str] = []

    def projected(db: sqlite3.Connection, table: str, data: bytes) -> str | None:
        reason = project(db, table, data)
        tables.append(table)
        steps.reached("mid", (f"project/{table}",))
        return reason

    def batch_projected(self: ledger.Ledger) -> int:
        tables.clear()
        moved = project_batch(self)
        if moved:
            steps.reached("after", tuple(f"project/{table}" for table in sorted(set(tables))))
        return moved

    ledger._project = projected
    ledger.Ledger._project_batch = batch_projected  # type: ignore[method-assign]


WATCHES: tuple[Callable[[Steps], None], ...] = (
    watch_journal, watch_orders, watch_reports, watch_papers, watch_ledger,
)  # fmt: skip

if __name__ == "__main__":
    plan_of_death = Steps(Path(sys.argv[1]))
    for watch in WATCHES:
        watch(plan_of_death)
    sys.argv = ["hands", *sys.argv[2:]]
    main()
