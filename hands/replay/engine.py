"""The engine of a replay: a state, `decide`, and the shells' duties that leave no trace but in the ledger.

Owns the order of events, the ledger's rows and the digest of all that was decided. May not know a market or an
exchange: commands to the venue go to `VenueLink`. The one idea: it is the daemon's sequencer and dispatcher without a
loop, a disk or a socket; an event that comes while another is being decided waits its turn, and papers are done when
no event waits any more.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import deque
from typing import Any

import numpy as np
import orjson

from hands.core.commands import (
    Alert,
    AnyCommand,
    ArchiveDocument,
    CancelOrder,
    FetchQuote,
    QueryOrder,
    ReceiptChanged,
    Record,
    RefuseDocument,
    ReplaceOrder,
    RequestDayOrders,
    RequestFills,
    RequestTruth,
    SubmitEntry,
    SubmitExit,
)
from hands.core.engine import decide
from hands.core.events import AnyEvent, DocumentSettled, ReceiptWritten, TriggersFired
from hands.core.image import digest_of
from hands.core.ledger_rows import alert_record
from hands.core.limits import LimitsFile
from hands.core.receipts import receipt
from hands.core.state import State, encode
from hands.core.units import Ns
from hands.replay.ledger import Rows
from hands.replay.outcome import Refused
from hands.replay.venue import VenueLink

NOTHING = encode([])
"""What most decisions come to."""


class Engine:
    """Decides events and carries the commands out. `connect` it to its venue before the first event."""

    def __init__(self, state: State, ledger: sqlite3.Connection) -> None:
        self.state = state
        self.ledger = ledger
        self._rows = Rows(ledger)
        self.decisions = 0
        self.triggers_fired = 0
        self.refused: list[Refused] = []
        self._digest = hashlib.sha256()
        self._queue: deque[AnyEvent] = deque()
        self._busy = False
        self._receipts: dict[str, None] = {}
        self._filings: list[ArchiveDocument] = []

    def connect(self, venue: VenueLink) -> None:
        self._venue = venue

    def feed(self, event: AnyEvent) -> None:
        """Decide `event` now, or after the one in hand."""
        if self._busy:
            self._queue.append(event)
            return
        self._busy = True
        try:
            self._step(event)
            while self._queue or self._receipts or self._filings:
                if self._queue:
                    self._step(self._queue.popleft())
                else:
                    self._do_papers()
        finally:
            self._busy = False

    def begin_anew(self, law: LimitsFile | None) -> None:
        """Let a further process life begin: it does not know of the last one's end, and its limits file is law.

        What it owns and what it counts is carried over, as the journal carries it.
        """
        self.state.stopping = self.state.stopped = False
        if law is not None:
            self.state.limits = law

    def take_rows(self, rows: np.ndarray, count: int) -> None:
        """Let the market consume rows that are not the market's own; what they fire is an event as ever."""
        start = 0
        while start < count:
            start = self.state.market.consume(rows, start, count)
            if self.state.market.fired_count:
                self.fired(int(rows[start - 1]["recv_ns"]))

    def fired(self, ts_ns: int) -> None:
        """Tell of the triggers that the last row has fired."""
        market = self.state.market
        slots = tuple(int(slot) for slot in market.fired[: market.fired_count])
        self.triggers_fired += len(slots)
        self.feed(TriggersFired(ts_ns=Ns(ts_ns), slots=slots))

    def _step(self, event: AnyEvent) -> None:
        self.decisions += 1
        commands = decide(self.state, event)
        self.state.changed.clear()  # what the journal would keep
        self._digest.update(encode(commands) if commands else NOTHING)
        for command in commands:
            self._carry_out(command)

    def _carry_out(self, command: AnyCommand) -> None:
        match command:
            case Record(table=table, row=row):
                self._rows.add(table, row)
            case SubmitEntry(entry=order) | SubmitExit(order=order):
                self._venue.submit(order)
            case CancelOrder():
                self._venue.cancel(command)
            case ReplaceOrder():
                self._venue.replace(command)
            case QueryOrder():
                self._venue.query(command)
            case FetchQuote(symbol=symbol):
                self._venue.fetch_quote(symbol)
            case RequestTruth(client_order_ids=asked):
                self._venue.request_truth(asked)
            case RequestDayOrders(since_ns=since_ns, symbols=symbols):
                self._venue.request_day_orders(since_ns, symbols)
            case RequestFills(after_ns=after_ns):
                self._venue.request_fills(after_ns)
            case ReceiptChanged(intent_id=intent_id):
                self._receipts[intent_id] = None
            case ArchiveDocument():
                self._filings.append(command)
            case RefuseDocument():
                self._refuse(command)
            case Alert():
                record = alert_record(command, self.state.now_ns)
                self._rows.add(record.table, record.row)
            case _:
                pass  # OperatorAnswer and Stopped: nobody operates a replay

    def _refuse(self, command: RefuseDocument) -> None:
        told = command.receipt
        self.refused.append(
            Refused(
                at_ns=int(self.state.now_ns),
                agent=command.agent,
                name=command.name,
                intent_id=told["intent_id"],
                code=str(told["code"]),
                message=str(told["message"]),
            )
        )

    # --- papers --------------------------------------------------------------------------------------------

    def _do_papers(self) -> None:
        """File documents and write the last receipts of what is over; others are written when the replay ends."""
        filings, self._filings = self._filings, []
        due, self._receipts = self._receipts, {}
        for intent_id in due:
            self._write_receipt(intent_id)
        for filing in filings:
            self.feed(DocumentSettled(ts_ns=self.state.now_ns, intent_id=filing.intent_id))

    def _write_receipt(self, intent_id: str, *, at_end: bool = False) -> None:
        found = self.state.judged(intent_id)
        if found is None or found.is_live is not at_end:
            return
        document: dict[str, Any] = receipt(self.state, found)
        row = {
            "intent_id": intent_id,
            "state": document["state"],
            "sent_ns": found.stamps.sent,
            "updated_ns": self.state.now_ns,
            "receipt": orjson.dumps(document).decode(),
        }
        self._rows.add("intents", row)
        if not at_end:
            self.feed(ReceiptWritten(ts_ns=self.state.now_ns, intent_id=intent_id, seq=found.seq))

    def finish(self) -> None:
        """Write the receipts of what is still live, and commit the ledger."""
        for intent_id in list(self.state.tickets):
            self._write_receipt(intent_id, at_end=True)
        self._rows.write()
        self.ledger.execute("COMMIT")

    def digest(self) -> str:
        """Return a SHA-256 over every command in order, and of the state and the market that it came to."""
        whole = self._digest.copy()
        whole.update(digest_of(self.state).encode())
        return whole.hexdigest()
