"""Re-execution: a recorded session is decided again, and every answer is held against the one that was recorded.

Owns the run of one session: its state and market, the rows and steps put in in their order, and what is compared. May not
read a file (`hands.journal.record`) or judge the seals (`hands.journal.evidence`). The one idea: `decide` is a pure
function, so a record of everything that went in is a proof of everything that came out; a single difference means an input
that nobody recorded, another program, or a record that was changed.

What cannot be run is said, never guessed: a stretch whose rows or steps are missing is skipped to the next snapshot, and a
session that another program recorded is not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import numpy as np

from hands.core.commands import AnyCommand
from hands.core.engine import decide
from hands.core.events import AnyEvent, Link, LinkReport, RequestFailed, RequestSent, TriggersFired
from hands.core.image import ImageError, digest_of, image_of, restore_image
from hands.core.market import Market
from hands.core.state import State, encode
from hands.core.symbol_image import put_symbol
from hands.journal.business import Entities, entities_of
from hands.journal.differences import ABSENT, Difference, first_difference, shown
from hands.journal.heads import Head, HeadError, Versions, read_end, read_head, read_mend, versions
from hands.journal.requests import Encoder, Requests
from hands.journal.steps import ENDED, MENDED, OWN_KINDS, RECEIPT, SESSION, SNAPSHOT, TOLD, Step

_read_event: Final = msgspec.json.Decoder(AnyEvent).decode
_FIRED: Final = "triggers_fired"

_BROKEN = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What a decision may raise: on an event that never was, or for a bug that was recorded too."""

FAILED: Final = "the decision failed"

OnStep = Callable[[Step, State, Sequence[AnyCommand]], None]


class Rows(Protocol):
    """A session's rows; asked for in growing order."""

    def at(self, row: int, stop: int) -> np.ndarray | None:
        """Return some rows from number `row` on, at most up to `stop`, as `Market.consume` takes them; None where the row
        is not recorded."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch that could not be run again: the steps from `first_seq` to `last_seq`.

    `is_declared`: the record itself says that something is missing there; otherwise it was taken away, or lost by a crash
    of the machine.
    """

    first_seq: int
    last_seq: int
    rows_from: int
    rows_to: int
    is_declared: bool
    is_at_end: bool
    why: str


class Tally(msgspec.Struct):
    """What was done: steps run and skipped, rows consumed, decisions and commands compared, whole states compared."""

    steps: int = 0
    skipped: int = 0
    rows: int = 0
    decisions: int = 0
    commands: int = 0
    snapshots: int = 0


class Rerun:
    """One session run again. Give it the session's steps in order, from `session` or any `snapshot` on, then `finish`.

    `entities` is what the journal's table of open business holds after the last step, None where that is not known.
    `foreign` says why a session is not compared, where another program recorded it.
    """

    def __init__(
        self,
        rows: Rows,
        encoders: Sequence[Encoder] = (),
        *,
        anyway: bool = False,
        on_step: OnStep | None = None,
    ) -> None:
        """`anyway`: compare also what another program recorded. `on_step` is called after each decision."""
        self.tally = Tally()
        self.difference: Difference | None = None
        self.gaps: list[Gap] = []
        self.foreign: str | None = None
        self.recorded_by: Versions | None = None
        self.entities: Entities | None = None
        self.is_ended = False
        self.requests = Requests(encoders, is_whole=True)
        self._rows = rows
        self._encoders = encoders
        self._anyway = anyway
        self._on_step = on_step
        self._state: State | None = None
        self._before: Step | None = None
        self._lost: Gap | None = None

    @property
    def state(self) -> State | None:
        """The state after the last step; None where it is not known."""
        return self._state

    def take(self, step: Step) -> None:
        """Run one step. Nothing is run after the first difference."""
        if self.difference is not None:
            self.tally.skipped += 1
            return
        before, self._before = self._before, step
        if self._state is not None and before is not None and step.seq != before.seq + 1:
            self._lose(before.seq + 1, step.seq - 1, f"{step.seq - before.seq - 1} steps are missing")
        if self._state is None:
            self._begin(step)
        elif self._advance(step):
            self._run(step)
        if self._state is None:
            self.tally.skipped += 1
        else:
            self.tally.steps += 1

    def finish(self) -> None:
        """End the session: what is lost by now is not found again."""
        if self._lost is not None and self._before is not None:
            self._close_gap(self._before.seq, self._before.row, is_at_end=not self.is_ended)

    # --- beginnings ------------------------------------------------------------------------------------------------

    def _begin(self, step: Step) -> None:
        """Take up the state that a head has; without one nothing can be run."""
        if step.kind not in {SESSION, SNAPSHOT}:
            if self._lost is None and self.foreign is None:
                self._lose(step.seq, step.seq, _why_headless(step), is_declared=not step.seal)
            elif self._lost is not None and _is_journal_down(step):
                self._lost = msgspec.structs.replace(self._lost, is_declared=True)
            self.is_ended = step.kind == ENDED
            return
        try:
            head = read_head(step.payload)
        except HeadError as error:
            self._differ(step, "the state it begins with", "", shown(step.payload[:32]), str(error))
            return
        self.recorded_by = head.versions
        self.foreign = _unlike(head.versions)
        if self.foreign is not None and not self._anyway:
            return
        try:
            market = Market.restore(head.market)
            state = restore_image(head.state, market)
        except (ImageError, ValueError, LookupError, TypeError) as error:
            if self.foreign is None:
                self._differ(step, "the state it begins with", "", ABSENT, str(error))
            self.foreign = f"{self.foreign}: its state is of another shape"
            return
        if self._lost is not None:
            self._close_gap(step.seq - 1, step.row)
        is_whole = step.kind == SESSION
        self._state = state
        self.entities = entities_of(state) if is_whole else None
        if not is_whole:
            self.requests = self._requests_anew()
        if market.rows_seen != step.row:
            self._differ(step, "its row", "", str(step.row), str(market.rows_seen))
        else:
            self._tell(step, state, ())

    def _requests_anew(self) -> Requests:
        anew = Requests(self._encoders, is_whole=False)
        anew.compared, anew.of_unknown_commands = self.requests.compared, self.requests.of_unknown_commands
        return anew

    # --- rows ------------------------------------------------------------------------------------------------------

    def _advance(self, step: Step) -> bool:
        """Let the market consume the rows up to a step; whether they are all there and fire what is recorded."""
        assert self._state is not None
        market, fired = self._state.market, False
        while market.rows_seen < step.row:
            chunk = self._rows.at(market.rows_seen, step.row)
            if chunk is None:
                self._lose(step.seq, step.seq - 1, "rows are missing")
                self._begin(step)
                return False
            start = 0
            while start < len(chunk):
                start = market.consume(chunk, start, len(chunk))
                if market.fired_count:
                    fired = self._check_fired(step, market)
                    if not fired:
                        return False
            self.tally.rows += len(chunk)
        if market.rows_seen != step.row:
            self._differ(step, "its row", "", str(step.row), str(market.rows_seen))
            return False
        if step.kind == _FIRED and not fired:
            self._differ(step, "the triggers that fired", "", shown(step.payload), ABSENT)
            return False
        return True

    def _check_fired(self, step: Step, market: Market) -> bool:
        """Say whether what has just fired is what the step tells of."""
        slots = tuple(int(slot) for slot in market.fired[: market.fired_count])
        told = _event_of(step) if step.kind == _FIRED else None
        if market.rows_seen == step.row and isinstance(told, TriggersFired) and told.slots == slots:
            return True
        recorded = f"{told.slots} at row {step.row}" if isinstance(told, TriggersFired) else ABSENT
        self._differ(step, "the triggers that fired", "", recorded, f"{slots} at row {market.rows_seen}")
        return False

    # --- steps -----------------------------------------------------------------------------------------------------

    def _run(self, step: Step) -> None:
        state = self._state
        assert state is not None
        own = {SNAPSHOT: self._compare_head, ENDED: self._compare_end, MENDED: self._mend}.get(step.kind)
        if own is not None:
            own(step, state)
            self._tell(step, state, ())
        elif step.kind in {TOLD, RECEIPT}:
            self._tell(step, state, ())
        elif step.kind == SESSION:
            self._differ(step, "its place", "", "a session begins", "the one before has not ended")
        else:
            self._decide(step, state)

    def _decide(self, step: Step, state: State) -> None:
        event = _event_of(step)
        if event is None:
            self._differ(step, "its event", "", shown(step.payload), "no such event")
            return
        self._minds_requests(step, event)
        try:
            again = encode(commands := decide(state, event))
        except _BROKEN as error:
            if step.commands:
                what = f"{type(error).__name__}: {error}"
                self._differ(step, "the decision", "", shown(step.commands), what)
            else:  # it failed then, too, and left the same behind
                self.tally.decisions += 1
            return
        if not step.commands:
            self._differ(step, "the decision", "", FAILED, shown(again))
            return
        if again != step.commands:
            self._differ(step, "the commands", *first_difference(step.commands, again))
            return
        self.tally.decisions += 1
        self.tally.commands += len(commands)
        self.requests.note(commands)
        if self.entities is not None:
            for key, entity in state.changed.items():
                if entity is None:
                    self.entities.pop(key, None)
                else:
                    self.entities[key] = encode(entity)
        state.changed.clear()
        self._tell(step, state, commands)

    def _tell(self, step: Step, state: State, commands: Sequence[AnyCommand]) -> None:
        if self._on_step is not None and self.difference is None:
            self._on_step(step, state, commands)

    def _minds_requests(self, step: Step, event: AnyEvent) -> None:
        if isinstance(event, RequestFailed):
            self.requests.failed(event)
        elif isinstance(event, RequestSent) and self._encoders:
            unlike = self.requests.sent(event)
            if unlike is not None:
                self._differ(step, "the request's bytes", "", shown(unlike.sent), shown(unlike.made))

    def _mend(self, step: Step, state: State) -> None:
        try:
            mend = read_mend(step.payload)
            put_symbol(state.market, mend.sym, mend.image)
        except (HeadError, ValueError, LookupError) as error:
            self._differ(step, "a symbol's repaired state", "", shown(step.payload[:32]), str(error))

    def _compare_head(self, step: Step, state: State) -> None:
        """Hold the whole state against a snapshot of it."""
        try:
            head = read_head(step.payload)
        except HeadError as error:
            self._differ(step, "the snapshot", "", shown(step.payload[:32]), str(error))
            return
        again = image_of(state)
        if again != head.state:
            self._differ(step, "the state", *first_difference(head.state, again))
        elif state.market.snapshot() != head.market:
            self._differ(step, "the market", *_market_difference(head, state.market))
        self.tally.snapshots += 1

    def _compare_end(self, step: Step, state: State) -> None:
        self.is_ended = True
        try:
            recorded = read_end(step.payload).digest
        except HeadError as error:
            self._differ(step, "the session's end", "", shown(step.payload[:32]), str(error))
            return
        again = digest_of(state)
        if again != recorded:
            self._differ(step, "the state at the session's end", "", recorded, again)
        self.tally.snapshots += 1

    # --- what is missing, what is different ------------------------------------------------------------------------

    def _lose(self, first: int, last: int, why: str, *, is_declared: bool = False) -> None:
        """Stop until the next snapshot."""
        state, self._state, self.entities = self._state, None, None
        down = state is not None and state.links.get(Link.JOURNAL) is False
        row = 0 if state is None else state.market.rows_seen
        self._lost = Gap(
            first_seq=first,
            last_seq=last,
            rows_from=row,
            rows_to=row,
            is_declared=is_declared or down,
            is_at_end=False,
            why=why,
        )

    def _close_gap(self, last_seq: int, row: int, *, is_at_end: bool = False) -> None:
        lost, self._lost = self._lost, None
        assert lost is not None
        self.gaps.append(
            msgspec.structs.replace(
                lost, last_seq=max(lost.last_seq, last_seq), rows_to=row, is_at_end=is_at_end
            )
        )

    def _differ(self, step: Step, what: str, at: str, recorded: str, again: str) -> None:
        """Note the first difference; what comes after it follows from it."""
        if self.difference is None:
            self._state, self.entities = None, None
            event = "" if step.kind in OWN_KINDS else shown(step.payload)
            self.difference = Difference(
                seq=step.seq,
                ts_ns=step.ts_ns,
                kind=step.kind,
                what=what,
                event=event,
                at=at,
                recorded=recorded,
                again=again,
            )


def _event_of(step: Step) -> AnyEvent | None:
    """Return the event of a step, None where its payload is none of that kind."""
    try:
        event = _read_event(step.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    is_told = str(type(event).__struct_config__.tag) == step.kind and event.ts_ns == step.ts_ns
    return event if is_told else None


def _is_journal_down(step: Step) -> bool:
    event = _event_of(step) if step.kind == "link" else None
    return isinstance(event, LinkReport) and event.link is Link.JOURNAL and not event.up


def _why_headless(step: Step) -> str:
    if not step.seal:
        return "recorded by a version that did not keep commands"
    return "no state is recorded to begin with"


def _unlike(recorded: Versions) -> str | None:
    """Return by which other program a session was recorded, None where it was this one."""
    ours, theirs = msgspec.structs.asdict(versions()), msgspec.structs.asdict(recorded)
    unlike = [
        f"{name} {str(theirs[name])[:16]} (here {str(ours[name])[:16]})"
        for name in ours
        if ours[name] != theirs[name]
    ]
    return f"recorded with {', '.join(unlike)}" if unlike else None


def _market_difference(head: Head, market: Market) -> tuple[str, str, str]:
    """Return which part of the market is not as it was recorded."""
    try:
        recorded = Market.restore(head.market)
    except (ValueError, LookupError, TypeError) as error:
        return "", str(error), shown(market.snapshot()[:200])
    if recorded.symbols != market.symbols or recorded.rows_seen != market.rows_seen:
        return "", f"{recorded.symbols} {recorded.rows_seen}", f"{market.symbols} {market.rows_seen}"
    for sym, symbol in enumerate(market.symbols):
        if recorded.digest(sym) != market.digest(sym):
            return f" of {symbol}", recorded.digest(sym)[:16], market.digest(sym)[:16]
    return ", its triggers", recorded.digest()[:16], market.digest()[:16]
