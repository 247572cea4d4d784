"""The ledger's rows on their way, held against what the steps they belong to give when they are run again.

Owns the comparison of the journal's outbox. May not read a file. The one idea: a row of the ledger is a function of a
decision, or of the state after it (a receipt), or it is recorded as a step of its own; so none can be changed, added or
taken out without a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from hands.core.commands import Alert, AnyCommand, Record
from hands.core.ledger_rows import alert_record
from hands.core.receipts import receipt, receipt_row
from hands.core.state import State
from hands.journal.differences import ABSENT, Difference, first_difference, shown
from hands.journal.record import LedgerRow
from hands.journal.schema import encode_row
from hands.journal.steps import RECEIPT, TOLD, Step, told_row
from hands.journal.store import OUTBOX_KEPT

_RECEIPTS: Final = "intents"


class LedgerCheck:
    """Holds the rows that are still kept against the steps, which are given in order. Raises nothing; `difference` is the
    first that was found, `faults` what is wrong with the rows' own numbers.

    `compared` and `uncompared`: rows of steps that were run, and of others.
    """

    def __init__(self, rows: Iterator[LedgerRow] | None) -> None:
        """`rows` is None where there is no journal to have kept any."""
        self.compared = 0
        self.uncompared = 0
        self.difference: Difference | None = None
        self.faults: list[str] = []
        self._rows = iter(()) if rows is None else rows
        self._is_kept = rows is not None
        self._number = 0
        self._count = 0
        self._next = first = self._following()
        self._first_number = 1 if first is None else first.number
        self._complete_from = 0 if first is None or first.number == 1 else first.seq + 1

    def take(self, step: Step, state: State, commands: Sequence[AnyCommand]) -> None:
        """Compare the rows that were added after a step; `state` is the state after it."""
        if not self._is_kept:
            return
        self._pass_over(step.seq)
        found = self._rows_of(step.seq)
        if step.seq < self._complete_from:
            self.uncompared += len(found)
            return
        due = _due(step, state, commands)
        for n, (table, row) in enumerate(due):
            if n >= len(found):
                self._differ(step, f"row {n + 1} for the ledger, in {table}", "", ABSENT, shown(row))
                return
            self._compare(step, found[n], table, row)
        for extra in found[len(due) :]:
            self._differ(step, f"a row for the ledger, in {extra.table}", "", shown(extra.row), ABSENT)

    def finish(self) -> None:
        """Look at what is left: rows of steps that were not run, and whether too many are missing."""
        self._pass_over(None)
        if self._first_number > 1 and self._count < OUTBOX_KEPT:
            self.faults.append(
                f"rows for the ledger before number {self._first_number} are missing, and only {self._count} are there"
            )

    def _compare(self, step: Step, found: LedgerRow, table: str, row: bytes) -> None:
        self.compared += 1
        if found.table != table:
            self._differ(step, "the table of a row for the ledger", "", found.table, table)
        elif found.row != row:
            self._differ(step, f"a row for the ledger, in {table}", *first_difference(found.row, row))

    def _rows_of(self, seq: int) -> list[LedgerRow]:
        found = []
        while (row := self._next) is not None and row.seq == seq:
            found.append(row)
            self._next = self._following()
        return found

    def _pass_over(self, seq: int | None) -> None:
        """Leave out the rows of steps before that number, which were not run."""
        while (row := self._next) is not None and (seq is None or row.seq < seq):
            self.uncompared += 1
            self._next = self._following()

    def _following(self) -> LedgerRow | None:
        found = next(self._rows, None)
        if found is not None:
            if self._number and found.number != self._number + 1:
                self.faults.append(
                    f"rows for the ledger are missing between {self._number} and {found.number}"
                )
            self._number = found.number
            self._count += 1
        return found

    def _differ(self, step: Step, what: str, at: str, recorded: str, again: str) -> None:
        if self.difference is None:
            self.difference = Difference(
                seq=step.seq, ts_ns=step.ts_ns, kind=step.kind, what=what,
                event=shown(step.payload), at=at, recorded=recorded, again=again,
            )  # fmt: skip


def _due(step: Step, state: State, commands: Sequence[AnyCommand]) -> list[tuple[str, bytes]]:
    """Return the rows that a step makes by itself, in order."""
    if step.kind == TOLD:
        return [told_row(step.payload)]
    if step.kind == RECEIPT:
        judged = state.judged(step.payload.decode("utf-8", "replace"))
        return (
            []
            if judged is None
            else [(_RECEIPTS, encode_row(receipt_row(state, judged, receipt(state, judged))))]
        )
    told = (alert_record(each, state.now_ns) if isinstance(each, Alert) else each for each in commands)
    return [(each.table, encode_row(each.row)) for each in told if isinstance(each, Record)]
