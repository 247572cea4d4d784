"""Sessions run again: what was recorded comes out, and whatever is not as it was is found at its first step.

The one idea: the record is of the shipped daemon; a test changes one input or one answer of it, as memory holds it, or lets
something go missing while it is recorded.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zstandard

from hands.core.commands import AnyCommand, CancelOrder, QueryOrder
from hands.core.events import OperatorAction, OperatorRequest, RequestFailed, RequestKind, RequestSent
from hands.core.rows import RowKind
from hands.core.state import State
from hands.core.units import Ns
from hands.journal import heads, reexecution
from hands.journal import store as store_module
from hands.journal.heads import HeadError, read_end
from hands.journal.record import Record, Session, SessionRows
from hands.journal.reexecution import Rerun, _event_of
from hands.journal.requests import Request, Requests
from hands.journal.steps import ENDED, SESSION, SNAPSHOT, Step
from hands.runtime import sequencer as sequencer_module
from hands.runtime.proof import ENCODERS, verify
from tests.journal.recorded import record
from tests.rig import engine as rig_engine
from tests.rig.stage import Stage
from tests.storms.storm import Brain, Market


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("record") / "var")


class Told:
    """One recorded session in memory."""

    def __init__(self, found: Record, session: Session, last: int) -> None:
        self.steps = list(found.steps(session.number, last))
        rows = found.rows(session.number)
        chunks = []
        row = 0
        while (chunk := rows.at(row, row + 50)) is not None:
            chunks.append(chunk.copy())
            row += len(chunk)
        self.rows = np.concatenate(chunks)

    def at(self, row: int, stop: int) -> np.ndarray | None:
        return self.rows[row:stop] if row < len(self.rows) else None

    def run(self, steps: Iterable[Step] | None = None, **options: Any) -> Rerun:
        rerun = Rerun(self, ENCODERS, **options)
        for step in self.steps if steps is None else steps:
            rerun.take(step)
        rerun.finish()
        return rerun

    def number_of(self, kind: str, nth: int = 0) -> int:
        """Return where the n-th step of a kind is."""
        return [n for n, step in enumerate(self.steps) if step.kind == kind][nth]

    def with_one(self, number: int, **changes: Any) -> list[Step]:
        steps = list(self.steps)
        values = {name: getattr(steps[number], name) for name in Step.__struct_fields__}
        steps[number] = Step(**values | changes)
        return steps


@pytest.fixture
def first(whole: Path) -> Told:
    """The first session, which was killed."""
    with Record(whole) as found:
        one, other = found.sessions()
        return Told(found, one, other.number - 1)


@pytest.fixture
def last(whole: Path) -> Told:
    """The second session, which ended orderly."""
    with Record(whole) as found:
        return Told(found, found.sessions()[1], found.last_seq)


# --- what is as it was ---------------------------------------------------------------------------------------------


def test_a_session_comes_out_as_it_was(first: Told, last: Told) -> None:
    for told in (first, last):
        rerun = told.run()
        assert rerun.difference is None
        assert rerun.gaps == []
        assert rerun.foreign is None
        assert rerun.tally.steps == len(told.steps)
        assert rerun.tally.rows == len(told.rows) == told.steps[-1].row
        assert rerun.entities is not None
    assert first.run().requests.compared >= 3
    assert last.run().is_ended
    assert not first.run().is_ended


def test_it_can_be_taken_up_at_any_snapshot(first: Told) -> None:
    number = first.number_of(SNAPSHOT)
    rerun = first.run(first.steps[number:])
    assert rerun.difference is None
    assert rerun.tally.steps == len(first.steps) - number
    assert rerun.tally.rows == len(first.rows) - first.steps[number].row
    assert rerun.entities is None, "what was written before it nobody knows"


def test_what_is_told_of_each_step_is_the_state_after_it(last: Told) -> None:
    told: list[tuple[int, int]] = []

    def on_step(step: Step, state: State, commands: Sequence[AnyCommand]) -> None:
        told.append((step.seq, state.market.rows_seen))
        assert json.loads(step.commands or b"[]") == json.loads(msgspec.json.encode(commands))

    last.run(on_step=on_step)
    assert told == [(step.seq, step.row) for step in last.steps]


def test_what_was_mended_just_before_a_snapshot_is_known_to_those_who_come_from_before_it(
    tmp_path: Path,
) -> None:
    async def mends(made: Stage, market: Market, brain: Brain) -> None:
        await asyncio.sleep(2)
        engine = made.engine.daemon
        engine.state.market.load_session(0, 1, 17, 1700.0, 17_000.0)
        engine._sequencer.snapshot()
        await asyncio.sleep(2)

    verdict = verify(record(tmp_path / "var", mends))
    assert verdict.first_difference is None
    assert verdict.sessions[0].tally.snapshots == 2


# --- what is not ---------------------------------------------------------------------------------------------------


def test_a_command_that_was_another_is_found_at_its_step_with_both_sides(first: Told) -> None:
    number = next(n for n, step in enumerate(first.steps) if b"submit_entry" in step.commands)
    step = first.steps[number]
    changed = step.commands.replace(b'"side":"buy"', b'"side":"sell"')
    found = first.run(first.with_one(number, commands=changed)).difference
    assert found is not None
    assert (found.seq, found.kind, found.what) == (step.seq, step.kind, "the commands")
    assert found.at.endswith("entry.side")
    assert (found.recorded, found.again) == ('"sell"', '"buy"')


def test_an_answer_of_the_venue_that_was_another_shows_in_what_came_of_it(first: Told) -> None:
    number = next(
        n for n, step in enumerate(first.steps) if step.kind == "order_report" and b'"fill"' in step.payload
    )
    payload = first.steps[number].payload.replace(b'"filled_qty":', b'"filled_qty":1')
    rerun = first.run(first.with_one(number, payload=payload))
    assert rerun.difference is not None
    assert rerun.difference.seq >= first.steps[number].seq


@pytest.mark.parametrize(
    "changes", [{"payload": b"{"}, {"kind": "wake"}, {"ts_ns": 1}, {"kind": "nothing known"}]
)
def test_a_step_that_never_was(first: Told, changes: dict[str, Any]) -> None:
    number = first.number_of("account")
    found = first.run(first.with_one(number, **changes)).difference
    assert found is not None
    assert (found.what, found.seq) == ("its event", first.steps[number].seq)


@pytest.mark.parametrize("row", [-1, 10_000])
def test_a_step_that_was_taken_at_no_such_row(first: Told, row: int) -> None:
    number = first.number_of("account")
    rerun = first.run(first.with_one(number, row=row))
    if row < 0:
        assert rerun.difference is not None
        assert rerun.difference.what == "its row"
    else:
        assert not rerun.gaps[0].is_declared


def test_a_request_whose_bytes_are_not_its_commands(first: Told) -> None:
    number = first.number_of("request_sent")
    event = json.loads(first.steps[number].payload)
    event["wire"] = "UE9TVCAvdjIvb3JkZXJzCnt9"
    rerun = first.run(first.with_one(number, payload=json.dumps(event).encode()))
    assert rerun.difference is not None
    assert rerun.difference.what == "the request's bytes"
    assert rerun.difference.recorded.startswith("POST /v2/orders")


def test_a_trade_that_was_another_shows_at_the_next_snapshot_at_the_latest(first: Told) -> None:
    snapshot = first.steps[first.number_of(SNAPSHOT)]
    rows = first.rows[: snapshot.row]
    trade = int(np.flatnonzero((rows["kind"] == RowKind.TRADE) & (rows["flags"] != 0))[-1])
    first.rows["size"][trade] += 1.0
    found = first.run().difference
    assert found is not None
    assert found.seq <= snapshot.seq
    assert found.recorded != found.again


def test_a_trigger_that_fired_at_another_row_or_not_at_all(tmp_path: Path) -> None:
    async def touches(made: Stage, market: Market, brain: Brain) -> None:
        idea = brain.idea("AAPL")
        price = idea["trigger_price"]
        made.drop(
            idea
            | {
                "entry": "touch",
                "arm_seconds": 30,
                "trigger_price": round(price * 1.004, 2),
                "ttl_seconds": 10,
            }
            | {"stop_loss": round(price * 0.99, 2), "take_profit": round(price * 1.03, 2)}
        )
        await asyncio.sleep(1)
        market.pull["AAPL"] = 0.003
        await asyncio.sleep(8)

    with Record(record(tmp_path / "var", touches)) as found:
        told = Told(found, found.sessions()[0], found.last_seq)
    number = told.number_of("triggers_fired")
    assert told.run().difference is None
    row = told.steps[number].row - 1
    quiet = told.rows.copy()
    for changed in (row, row - 1):
        told.rows = quiet.copy()
        told.rows["price"][changed] = told.rows["price2"][changed] = 1e6 if changed < row else 1.0
        difference = told.run().difference
        assert difference is not None
        assert difference.what in {"the triggers that fired", "the commands"}
    told.rows = quiet
    event = json.loads(told.steps[number].payload) | {"slots": [7]}
    difference = told.run(told.with_one(number, payload=json.dumps(event).encode())).difference
    assert difference is not None
    assert difference.what == "the triggers that fired"


def test_the_end_and_the_snapshots_hold_the_whole_state(last: Told, first: Told) -> None:
    other = heads._pack(heads.End(digest="0" * 64))
    assert last.run(last.with_one(last.number_of(ENDED), payload=other)).difference is not None
    number = first.number_of(SNAPSHOT)
    head = heads.read_head(first.steps[number].payload)
    for changed in (
        msgspec.structs.replace(head, state=head.state.replace(b'"fence":0', b'"fence":1')),
        msgspec.structs.replace(head, market=head.market[:-1] + b"\x01"),
    ):
        found = first.run(first.with_one(number, payload=heads._pack(changed))).difference
        assert found is not None
        assert found.what in {"the state", "the market"}
        assert found.seq == first.steps[number].seq


def test_an_input_that_is_not_on_record_is_found(first: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thing itself: a decision that depends on how often it was asked for."""
    decide, asked = reexecution.decide, 0

    def impure(state: State, event: Any) -> list[AnyCommand]:
        nonlocal asked
        asked += 1
        out = decide(state, event)
        return [*out, QueryOrder(client_order_id="who asked")] if asked == 30 else out

    monkeypatch.setattr(reexecution, "decide", impure)
    found = first.run().difference
    assert found is not None
    assert "who asked" in found.again


def test_a_decision_that_failed_is_on_record_and_fails_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours, planted: whoever has the directory can meet it again."""
    decide = reexecution.decide

    def has_a_bug(state: State, event: Any) -> list[AnyCommand]:
        out = decide(state, event)
        if isinstance(event, OperatorRequest) and event.action is OperatorAction.REDUCE_ONLY:
            raise ZeroDivisionError("our own bug")
        return out

    async def meets_it(made: Stage, market: Market, brain: Brain) -> None:
        brain.think_of("AAPL")
        await asyncio.sleep(2)
        with monkeypatch.context() as patched:
            patched.setattr(sequencer_module, "decide", has_a_bug)
            with pytest.raises(ZeroDivisionError):
                made.engine.daemon._sequencer.feed(
                    OperatorRequest(ts_ns=Ns(made.loop.wall_ns), action=OperatorAction.REDUCE_ONLY)
                )
        await asyncio.sleep(2)

    state = record(tmp_path / "var", meets_it)
    found = verify(state).first_difference
    assert found is not None
    assert (found.kind, found.recorded) == ("operator", reexecution.FAILED), "mended meanwhile"
    monkeypatch.setattr(reexecution, "decide", has_a_bug)
    verdict = verify(state)
    assert verdict.is_good, (verdict.first_difference, verdict.faults)
    assert verdict.sessions[0].is_ended


# --- other programs ------------------------------------------------------------------------------------------------


def test_what_another_program_recorded_is_not_compared_unless_asked(
    first: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = heads.versions()
    monkeypatch.setattr(reexecution, "versions", lambda: msgspec.structs.replace(now, numba="0.1"))
    rerun = first.run()
    assert rerun.foreign is not None
    assert f"numba {now.numba} (here 0.1)" in rerun.foreign
    assert (rerun.difference, rerun.tally.steps, rerun.tally.skipped) == (None, 0, len(first.steps))
    anyway = first.run(anyway=True)
    assert anyway.foreign is not None
    assert (anyway.difference, anyway.tally.steps) == (None, len(first.steps))


# --- gaps ----------------------------------------------------------------------------------------------------------


async def _floods(made: Stage, market: Market, brain: Brain) -> None:
    """Trade, with more rows in a moment than the ring takes."""
    brain.think_of("AAPL")
    await asyncio.sleep(2)
    for _ in range(40):
        market.quote()
        await asyncio.sleep(0.001)
    await asyncio.sleep(5)
    brain.think_of("SOL/USD")
    await asyncio.sleep(5)


def test_rows_that_were_lost_are_a_declared_gap_and_what_follows_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig_engine, "RING_ROWS", 32)
    verdict = verify(record(tmp_path / "var", _floods))
    (session,) = verdict.sessions
    assert verdict.is_good, (verdict.first_difference, verdict.faults)
    (gap,) = session.gaps
    assert gap.is_declared
    assert gap.rows_to > gap.rows_from
    assert session.tally.skipped == gap.last_seq - gap.first_seq + 1
    assert session.tally.decisions > 30
    assert session.is_ended


def test_rows_that_are_missing_and_not_declared_are_a_fault(first: Told) -> None:
    rows = first.rows
    first.rows = rows[: first.steps[first.number_of(SNAPSHOT)].row - 20]
    rerun = first.run()
    one, other = rerun.gaps
    assert not one.is_declared
    assert not one.is_at_end
    assert other.is_at_end, "nor are the rows after it there, and no orderly end follows"


def test_a_full_backlog_loses_steps_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def disk_fails(made: Stage, market: Market, brain: Brain) -> None:
        brain.think_of("AAPL")
        await asyncio.sleep(2)
        monkeypatch.setattr(store_module, "BACKLOG_MAX", 3)
        made.engine.disk.broken = True
        await asyncio.sleep(3)
        brain.think_of("SPY")
        await asyncio.sleep(3)
        made.engine.disk.broken = False
        await asyncio.sleep(3)
        monkeypatch.undo()
        brain.think_of("SOL/USD")
        await asyncio.sleep(3)

    verdict = verify(record(tmp_path / "var", disk_fails))
    assert verdict.is_good, (verdict.first_difference, verdict.faults)
    (session,) = verdict.sessions
    assert session.gaps
    assert all(gap.is_declared for gap in session.gaps)
    assert session.is_ended
    assert not verdict.is_table_compared, "what the lost steps wrote there nobody knows"


def test_a_step_that_was_taken_out_is_a_gap_that_nobody_declared(first: Told) -> None:
    before = first.number_of(SNAPSHOT)
    rerun = first.run(first.steps[: before - 5] + first.steps[before - 4 :])
    (gap,) = rerun.gaps
    assert (gap.is_declared, gap.is_at_end) == (False, False)
    assert gap.first_seq == first.steps[before - 5].seq
    assert gap.last_seq == first.steps[before].seq - 1


def test_steps_of_a_version_that_kept_no_commands_are_skipped_and_said(first: Told) -> None:
    old = [Step(n, n, "wake", b'{"type":"wake"}') for n in range(1, 5)]
    rerun = first.run(old)
    (gap,) = rerun.gaps
    assert gap.is_declared
    assert "did not keep commands" in gap.why
    assert (rerun.tally.steps, rerun.tally.skipped) == (0, 4)


# --- requests ------------------------------------------------------------------------------------------------------


def _sent(name: str, wire: bytes) -> RequestSent:
    return RequestSent(ts_ns=Ns(1), kind=RequestKind.CANCEL, client_order_id=name, sent_ns=Ns(1), wire=wire)


def _wire(command: Request) -> bytes:
    assert isinstance(command, CancelOrder)
    return command.order_id.encode()


def test_a_request_belongs_to_the_oldest_command_that_has_not_left() -> None:
    requests = Requests([_wire], is_whole=True)
    requests.note(
        [CancelOrder(order_id="a", client_order_id="x"), CancelOrder(order_id="b", client_order_id="x")]
    )
    assert requests.sent(_sent("x", b"a")) is None
    assert requests.sent(_sent("x", b"b")) is None
    assert requests.compared == 2
    unlike = requests.sent(_sent("x", b"b"))
    assert unlike is not None
    assert unlike.made == b""


def test_a_request_that_never_left_is_no_longer_waited_for() -> None:
    requests = Requests([_wire], is_whole=True)
    requests.note(
        [CancelOrder(order_id="a", client_order_id="x"), CancelOrder(order_id="b", client_order_id="x")]
    )
    failed = RequestFailed(
        ts_ns=Ns(1),
        kind=RequestKind.CANCEL,
        client_order_id="x",
        may_have_been_sent=False,
        reason="no connection",
    )
    requests.failed(failed)
    assert requests.sent(_sent("x", b"b")) is None


def test_what_was_asked_for_before_the_snapshot_is_counted_and_not_called_different() -> None:
    requests = Requests([_wire], is_whole=False)
    assert requests.sent(_sent("x", b"a")) is None
    assert (requests.compared, requests.of_unknown_commands) == (0, 1)


def test_a_setting_that_is_not_on_record_is_the_same_all_session() -> None:
    def loud(command: Request) -> bytes:
        return _wire(command).upper()

    requests = Requests([_wire, loud], is_whole=True)
    requests.note([CancelOrder(order_id=name, client_order_id=name) for name in "abc"])
    assert requests.sent(_sent("a", b"A")) is None
    assert requests.sent(_sent("b", b"B")) is None
    assert requests.sent(_sent("c", b"c")) is not None


def test_the_record_s_own_kinds_are_no_event_s() -> None:
    from hands.core.events import AnyEvent
    from hands.journal.steps import OWN_KINDS

    tags = {str(each.__struct_config__.tag) for each in AnyEvent.__args__}
    assert len(tags) == len(AnyEvent.__args__)
    assert not tags & OWN_KINDS
    assert SESSION in OWN_KINDS


def test_bytes_that_are_not_even_text_are_no_event_and_no_head() -> None:
    rerun = Rerun(SessionRows(iter(())))
    head = zstandard.compress(msgspec.msgpack.encode({"digest": "x"}).replace(b"x", b"\xff"))
    rerun.take(Step(1, 1, SESSION, head))
    assert rerun.difference is not None
    with pytest.raises(HeadError):
        read_end(head)
    assert _event_of(Step(2, 1, "document", b'{"type":"document","ts_ns":1,"agent":"\xff"}')) is None
