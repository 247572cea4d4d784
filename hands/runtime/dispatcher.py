"""The dispatcher: carries out what was decided, orders first, papers after.

Owns the way from a command to a shell, and the work that waits until the orders are out: the commit, receipts,
filing of documents. May not decide. The one idea: a submit is a synchronous write on a warm connection inside
the same turn as the decision; everything a person reads is written when the loop comes round again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

import orjson

from hands.core.commands import (
    Alert,
    AnyCommand,
    ArchiveDocument,
    CancelOrder,
    FetchQuote,
    QueryOrder,
    ReceiptChanged,
    RefuseDocument,
    RequestTruth,
    Stopped,
    SubmitEntry,
    SubmitExit,
)
from hands.core.events import (
    AnyEvent,
    DocumentSettled,
    ReceiptWritten,
    RequestFailed,
    RequestKind,
    RequestSent,
)
from hands.core.orders import ApprovedEntry, ReducingOrder
from hands.core.receipts import receipt
from hands.core.state import State
from hands.core.units import Ns
from hands.intake.inbox import Inbox
from hands.intake.reading import IntakeError
from hands.intake.receipts import ReceiptWriter
from hands.journal.ledger import Ledger
from hands.runtime.sequencer import Sequencer
from hands.venues.alpaca.order_entry import OrderEntry

log = logging.getLogger("hands")

PAPERS_PER_TURN = 32
"""Receipts and filings done per loop turn, so that a flood of them never holds up the market for long."""

RETRY_S = 0.25
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}


class Dispatcher:
    """Connects the sequencer's commands to the shells. The shells are given after construction (`connect`)."""

    def __init__(self, state: State, clock: Callable[[], Ns]) -> None:
        self.stopped: Stopped | None = None
        self.on_stopped: Callable[[], None] = lambda: None
        self._state = state
        self._clock = clock
        self._receipts_due: dict[str, None] = {}
        self._filings: deque[ArchiveDocument | RefuseDocument] = deque()
        self._scheduled = False
        self._papers_fault: str | None = None

    def connect(
        self,
        *,
        sequencer: Sequencer,
        order_entry: OrderEntry,
        inbox: Inbox,
        receipts: ReceiptWriter,
        ledger: Ledger,
        fetch_quote: Callable[[str], None],
        request_truth: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._sequencer = sequencer
        self._order_entry = order_entry
        self._inbox = inbox
        self._receipts = receipts
        self._ledger = ledger
        self._fetch_quote = fetch_quote
        self._request_truth = request_truth

    def dispatch(self, commands: list[AnyCommand], decided_ns: Ns, journaled_ns: Ns | None) -> None:
        """Carry out one decision's commands, in order."""
        for command in commands:
            match command:
                case SubmitEntry(entry=entry):
                    self._submit(entry, decided_ns, journaled_ns)
                case SubmitExit(order=order):
                    self._submit(order, decided_ns, journaled_ns)
                case CancelOrder():
                    self._sent(RequestKind.CANCEL, command.client_order_id, self._order_entry.cancel(command))
                case QueryOrder():
                    self._sent(RequestKind.QUERY, command.client_order_id, self._order_entry.query(command))
                case FetchQuote(symbol=symbol):
                    self._fetch_quote(symbol)
                case RequestTruth(client_order_ids=ids, reason=reason):
                    log.info("asking for the venue's truth: %s", reason)
                    self._request_truth(ids)
                case ReceiptChanged(intent_id=intent_id):
                    self._receipts_due[intent_id] = None
                case ArchiveDocument() | RefuseDocument():
                    self._filings.append(command)
                case Alert(level=level, code=code, message=message):
                    log.log(_LEVELS[level], "%s: %s", code, message, extra={"code": code})
                case Stopped():
                    self.stopped = command
                    self.on_stopped()
                case _:
                    pass  # records went into the journal with the event
        self._schedule(0.0)

    # --- orders --------------------------------------------------------------------------------------------

    def _submit(self, order: ApprovedEntry | ReducingOrder, decided_ns: Ns, journaled_ns: Ns | None) -> None:
        """Hand an order to the venue. An entry that could not be written ahead is not sent; an exit always is."""
        if journaled_ns is None and isinstance(order, ApprovedEntry):
            reason = f"the journal could not be written: {self._sequencer.journal_fault}"
            self._feed(
                RequestFailed(
                    ts_ns=self._clock(),
                    kind=RequestKind.SUBMIT,
                    client_order_id=order.client_order_id,
                    may_have_been_sent=False,
                    reason=reason,
                )
            )
            return
        sent_ns = self._order_entry.submit(order)
        if sent_ns is not None:
            self._feed(
                RequestSent(
                    ts_ns=sent_ns,
                    kind=RequestKind.SUBMIT,
                    client_order_id=order.client_order_id,
                    sent_ns=sent_ns,
                    decided_ns=decided_ns,
                    journaled_ns=journaled_ns,
                )
            )

    def _sent(self, kind: RequestKind, client_order_id: str, sent_ns: Ns | None) -> None:
        if sent_ns is not None:
            self._feed(
                RequestSent(ts_ns=sent_ns, kind=kind, client_order_id=client_order_id, sent_ns=sent_ns)
            )

    def _feed(self, event: AnyEvent) -> None:
        self._sequencer.feed(event)

    # --- papers --------------------------------------------------------------------------------------------

    def _schedule(self, delay_s: float) -> None:
        if not self._scheduled:
            self._scheduled = True
            loop = asyncio.get_running_loop()
            if delay_s:
                loop.call_later(delay_s, self._do_papers)
            else:
                loop.call_soon(self._do_papers)

    def _do_papers(self) -> None:
        """Commit, then write what people read. What fails is kept and tried again."""
        self._scheduled = False
        self._sequencer.commit()
        self._sequencer.drain()
        self._ledger.wake()
        try:
            self._some_papers()
        except IntakeError as error:
            if self._papers_fault is None:
                log.error("papers cannot be written, trying again: %s", error)  # noqa: TRY400  (the world, not a bug)
            self._papers_fault = str(error)
            self._schedule(RETRY_S)
            return
        if self._papers_fault is not None:
            log.info("papers are written again")
            self._papers_fault = None
        if self._receipts_due or self._filings or self._sequencer.has_unwritten:
            self._schedule(0.0)

    def _some_papers(self) -> None:
        for _ in range(PAPERS_PER_TURN):
            if self._receipts_due:
                intent_id = next(iter(self._receipts_due))
                del self._receipts_due[intent_id]  # first: what changes while it is written is due again
                try:
                    self.write_receipt(intent_id)
                except IntakeError:
                    self._receipts_due[intent_id] = None
                    raise
            elif self._filings:
                self._file(self._filings[0])
                self._filings.popleft()
            else:
                return

    def write_receipt(self, intent_id: str) -> None:
        """Write the current receipt of an intent. Raises IntakeError."""
        ticket = self._state.ticket(intent_id)
        if ticket is not None:
            document = receipt(self._state, ticket)
            self._receipts.write(intent_id, document)
            row = {
                "intent_id": intent_id,
                "state": document["state"],
                "sent_ns": ticket.stamps.sent,
                "updated_ns": self._clock(),
                "receipt": orjson.dumps(document).decode(),
            }
            self._sequencer.add_row("intents", row)
            if not ticket.is_live:
                self._feed(ReceiptWritten(ts_ns=self._clock(), intent_id=intent_id, seq=ticket.seq))

    def _file(self, filing: ArchiveDocument | RefuseDocument) -> None:
        if isinstance(filing, RefuseDocument):
            self._inbox.refuse(filing.agent, filing.name, filing.data, filing.receipt)
            return
        judged_ns = Ns(filing.judged_ns)
        self._inbox.archive(filing.intent_id, filing.agent, filing.name, filing.data, judged_ns)
        self._feed(DocumentSettled(ts_ns=self._clock(), intent_id=filing.intent_id))

    def finish_papers(self) -> bool:
        """Write everything that waits, for the end of a session; False if some of it cannot be written."""
        self._sequencer.commit()
        try:
            while self._receipts_due or self._filings:
                self._some_papers()
        except IntakeError as error:
            log.error("left unwritten: %s", error)  # noqa: TRY400
            return False
        self._sequencer.commit()
        return self._sequencer.journal_fault is None
