"""The dispatcher: carries out what was decided, orders first, papers after.

Owns the way from a command to a shell, and when the work is done that waits until the orders are out: the commit,
receipts, filing of documents. May not decide. The one idea: a submit is a synchronous write on a warm connection inside
the same turn as the decision; everything a person reads is written when the loop comes round again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from hands.core.commands import (
    Alert,
    AnyCommand,
    ArchiveDocument,
    CancelOrder,
    FetchQuote,
    OperatorAnswer,
    QueryOrder,
    ReceiptChanged,
    RefuseDocument,
    ReplaceOrder,
    RequestDayOrders,
    RequestFills,
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
from hands.core.receipts import receipt, receipt_row
from hands.core.state import State
from hands.core.units import Ns
from hands.intake.inbox import Inbox
from hands.intake.receipts import ReceiptWriter
from hands.journal.ledger import Ledger
from hands.runtime.beat import Heartbeat
from hands.runtime.papers import Filing, Papers
from hands.runtime.sequencer import Sequencer
from hands.venues.alpaca.order_entry import OrderEntry

log = logging.getLogger("hands")

PAPERS_PER_TURN = 32
"""Receipts and filings done per loop turn, so that a flood of them never holds up the market for long."""

RETRY_S = 0.25
"""How long what could not be written waits for the next attempt."""

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.CRITICAL}


class Dispatcher:
    """Connects the sequencer's commands to the shells. The shells are given after construction (`connect`)."""

    def __init__(self, state: State, clock: Callable[[], Ns]) -> None:
        self.stopped: Stopped | None = None
        self.on_stopped: Callable[[], None] = lambda: None
        self.on_answer: Callable[[OperatorAnswer], None] = lambda _: None
        self._state = state
        self._clock = clock
        self._papers = Papers(self._write_receipt, self._file)
        self._scheduled = False
        self._retry: asyncio.TimerHandle | None = None

    def connect(
        self,
        *,
        sequencer: Sequencer,
        beat: Heartbeat | None = None,
        order_entry: OrderEntry,
        inbox: Inbox,
        receipts: ReceiptWriter,
        ledger: Ledger,
        fetch_quote: Callable[[str], None],
        request_truth: Callable[[tuple[str, ...]], None],
        request_day_orders: Callable[[Ns, tuple[str, ...]], None],
        request_fills: Callable[[Ns], None],
    ) -> None:
        self._sequencer = sequencer
        self._beat = beat
        self._order_entry = order_entry
        self._inbox = inbox
        self._receipts = receipts
        self._ledger = ledger
        self._fetch_quote = fetch_quote
        self._request_truth = request_truth
        self._request_day_orders = request_day_orders
        self._request_fills = request_fills

    def dispatch(self, commands: list[AnyCommand], decided_ns: Ns, journaled_ns: Ns | None) -> None:
        """Carry out one decision's commands, in order."""
        for command in commands:
            match command:
                case SubmitEntry(entry=order) | SubmitExit(order=order):
                    self._submit(order, decided_ns, journaled_ns)
                case CancelOrder() | ReplaceOrder() | QueryOrder():
                    self._request(command)
                case FetchQuote() | RequestTruth() | RequestDayOrders() | RequestFills():
                    self._ask(command)
                case ReceiptChanged(intent_id=intent_id):
                    self._papers.add_receipt(intent_id)
                case ArchiveDocument() | RefuseDocument():
                    self._papers.add_filing(command)
                case Alert(level=level, code=code, message=message):
                    log.log(_LEVELS[level], "%s: %s", code, message, extra={"code": code})
                case OperatorAnswer():
                    self.on_answer(command)
                case Stopped():
                    self.stopped = command
                    self.on_stopped()
                case _:
                    pass  # records went into the journal with the event
        if self._beat is not None:
            self._beat.touch()
        self._schedule()

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
        if self._is_fenced(RequestKind.SUBMIT, order.client_order_id):
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
                    wire=self._wire(),
                )
            )

    def _request(self, command: CancelOrder | ReplaceOrder | QueryOrder) -> None:
        """Hand a request about an order that is at the venue to its connection."""
        name = command.client_order_id
        match command:
            case CancelOrder():
                if not self._is_fenced(RequestKind.CANCEL, name):
                    self._sent(RequestKind.CANCEL, name, self._order_entry.cancel(command))
            case ReplaceOrder():
                if not self._is_fenced(RequestKind.REPLACE, name):
                    self._sent(RequestKind.REPLACE, name, self._order_entry.replace(command))
            case QueryOrder():
                self._sent(RequestKind.QUERY, name, self._order_entry.query(command))

    def _ask(self, command: FetchQuote | RequestTruth | RequestDayOrders | RequestFills) -> None:
        """Begin a question that is answered by an event, sooner or later."""
        match command:
            case FetchQuote(symbol=symbol):
                self._fetch_quote(symbol)
            case RequestTruth(client_order_ids=ids, reason=reason):
                log.info("asking for the venue's truth: %s", reason)
                self._request_truth(ids)
            case RequestDayOrders(since_ns=since_ns, symbols=symbols):
                self._request_day_orders(since_ns, symbols)
            case RequestFills(after_ns=after_ns):
                self._request_fills(after_ns)

    def _is_fenced(self, kind: RequestKind, client_order_id: str) -> bool:
        """Whether somebody may have acted for us since this was decided: then it is not sent, and the core hears why."""
        if self._beat is None or not self._beat.is_fenced():
            return False
        self._feed(
            RequestFailed(
                ts_ns=self._clock(),
                kind=kind,
                client_order_id=client_order_id,
                may_have_been_sent=False,
                reason="fenced: the watchdog may have acted for us",
            )
        )
        return True

    def _sent(self, kind: RequestKind, client_order_id: str, sent_ns: Ns | None) -> None:
        if sent_ns is not None:
            self._feed(
                RequestSent(
                    ts_ns=sent_ns,
                    kind=kind,
                    client_order_id=client_order_id,
                    sent_ns=sent_ns,
                    wire=self._wire(),
                )
            )

    def _wire(self) -> bytes:
        """Return what was sent last, for the record."""
        sent = self._order_entry.sent
        return b"" if sent is None else sent.text

    def _feed(self, event: AnyEvent) -> None:
        self._sequencer.feed(event)

    # --- papers --------------------------------------------------------------------------------------------

    @property
    def papers_fault(self) -> str | None:
        """Why something that people read could not be written; None while all of it is."""
        return self._papers.fault

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._do_papers)

    def _do_papers(self) -> None:
        """Commit, then write what people read. What fails is kept and tried again, and holds nothing else up."""
        self._scheduled = False
        self._sequencer.commit()
        self._sequencer.drain()
        self._ledger.wake()
        if self._beat is not None:
            self._beat.note()
        self._papers.write_some(PAPERS_PER_TURN)
        if self._papers.are_due or self._sequencer.has_unwritten:
            self._schedule()
        if self._retry is None and (self._papers.have_failed or self._sequencer.journal_fault is not None):
            self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._papers.probe()
        self._do_papers()

    def _write_receipt(self, intent_id: str) -> None:
        """Write the current receipt of an intent. Raises IntakeError."""
        ticket = self._state.judged(intent_id)
        if ticket is not None:
            document = receipt(self._state, ticket)
            self._receipts.write(intent_id, document)
            self._sequencer.tell_receipt(intent_id, receipt_row(self._state, ticket, document))
            if not ticket.is_live:
                self._feed(ReceiptWritten(ts_ns=self._clock(), intent_id=intent_id, seq=ticket.seq))

    def _file(self, filing: Filing) -> None:
        if isinstance(filing, RefuseDocument):
            self._inbox.refuse(filing.agent, filing.name, filing.data, filing.receipt)
            return
        judged_ns = Ns(filing.judged_ns)
        self._inbox.archive(filing.intent_id, filing.agent, filing.name, filing.data, judged_ns)
        self._feed(DocumentSettled(ts_ns=self._clock(), intent_id=filing.intent_id))

    def finish_papers(self, within_s: float) -> bool:
        """Write everything that waits, for the end of a session; False if some of it cannot be written in time."""
        end_s = time.monotonic() + within_s
        self._sequencer.commit(at_once=True)
        self._papers.try_again()
        while self._papers.are_due and time.monotonic() < end_s:
            self._papers.write_some(PAPERS_PER_TURN)
        self._sequencer.commit(at_once=True)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._papers.are_due or self._papers.have_failed:
            log.error(
                "receipts or documents are left unwritten: %s", self._papers.fault or "no time was left"
            )
            return False
        return self._sequencer.journal_fault is None
