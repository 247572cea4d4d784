"""Papers: what people read of a decision, receipts and filed documents, and the trying again.

Owns which papers are due and which failed. May not write any itself: the dispatcher gives two functions for that.
The one idea: a paper that cannot be written steps aside until the next attempt, so it never holds up the others; only
the documents of one name keep their order, since they are told apart by it. A disk that refuses is asked with a few
papers at a time, twice as many after each time that all of them were written: ten thousand that fail must not take the
loop away from the market four times a second.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from itertools import islice

from hands.core.commands import ArchiveDocument, RefuseDocument
from hands.intake.reading import IntakeError

log = logging.getLogger("hands")

PROBES = 8
"""Of receipts and of documents each, so many are tried again at first."""

SLICE_S = 0.002
"""What one turn of the loop has for papers: as much as the inbox has, since a verdict matters more than its paper."""

Filing = ArchiveDocument | RefuseDocument


class Papers:
    """Keeps what is due. `write_receipt(intent_id)` and `file(filing)` do it, or raise IntakeError."""

    def __init__(
        self,
        write_receipt: Callable[[str], None],
        file: Callable[[Filing], None],
        slice_s: float = SLICE_S,
    ) -> None:
        self._slice_s = slice_s
        self.fault: str | None = None
        self._write_receipt = write_receipt
        self._file = file
        self._receipts: dict[str, None] = {}
        self._failed_receipts: dict[str, None] = {}
        self._filings: dict[tuple[str, str], deque[Filing]] = {}
        self._names: deque[tuple[str, str]] = deque()
        self._failed_names: deque[tuple[str, str]] = deque()
        self._faults: set[str] = set()
        self._probes = PROBES
        self._failures = 0

    def add_receipt(self, intent_id: str) -> None:
        """A receipt is another now; however often it changes before it is written, it is written once."""
        self._receipts[intent_id] = None

    def add_filing(self, filing: Filing) -> None:
        """A document was judged."""
        name = filing.agent, filing.name
        waiting = self._filings.setdefault(name, deque())
        if not waiting:
            self._names.append(name)
        waiting.append(filing)

    @property
    def are_due(self) -> bool:
        """Whether there is something to write now."""
        return bool(self._receipts or self._names)

    @property
    def have_failed(self) -> bool:
        """Whether something could not be written and waits for `probe` or `try_again`."""
        return bool(self._failed_receipts or self._failed_names)

    def try_again(self) -> None:
        """All that failed is due again, after what is due already."""
        self._receipts.update(self._failed_receipts)
        self._failed_receipts.clear()
        self._names.extend(self._failed_names)
        self._failed_names.clear()

    def probe(self) -> None:
        """Some of what failed is due again, that which waits longest first: twice as many each time all of them went well."""
        failed = len(self._failed_receipts) + len(self._failed_names)
        self._probes = PROBES if self._failures else min(2 * self._probes, max(PROBES, failed))
        self._failures = 0
        for intent_id in list(islice(self._failed_receipts, self._probes)):
            del self._failed_receipts[intent_id]
            self._receipts[intent_id] = None
        for _ in range(min(self._probes, len(self._failed_names))):
            self._names.append(self._failed_names.popleft())

    def write_some(self, most: int) -> None:
        """Write at most so many, receipts first: an agent waits for them. Ends after its slice of time, but writes one."""
        end_s = time.monotonic() + self._slice_s
        for _ in range(most):
            if self._receipts:
                self._next_receipt()
            elif self._names:
                self._next_filing()
            else:
                break
            if time.monotonic() > end_s:
                break
        if self._faults and not (self.have_failed or self.are_due):
            log.info("papers are written again")
            self._faults.clear()
            self.fault = None

    def _next_receipt(self) -> None:
        intent_id = next(iter(self._receipts))
        del self._receipts[intent_id]  # first: what changes while it is written is due again
        try:
            self._write_receipt(intent_id)
        except IntakeError as error:
            self._failed_receipts[intent_id] = None
            self._note(error)
        else:
            self._failed_receipts.pop(intent_id, None)

    def _next_filing(self) -> None:
        name = self._names.popleft()
        waiting = self._filings[name]
        try:
            self._file(waiting[0])
        except IntakeError as error:
            self._failed_names.append(name)
            self._note(error)
            return
        waiting.popleft()
        if waiting:
            self._names.append(name)
        else:
            del self._filings[name]

    def _note(self, error: IntakeError) -> None:
        """Log each fault once, however many papers it hits: a full disk is one fault."""
        self._failures += 1
        self.fault = str(error)
        cause = error.__cause__
        fault = str(error) if not isinstance(cause, OSError) or not cause.strerror else cause.strerror
        if fault not in self._faults:
            self._faults.add(fault)
            log.error("papers cannot be written, trying again: %s", error)
