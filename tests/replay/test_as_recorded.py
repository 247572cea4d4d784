"""What a record says of a session's circumstances, and what a replay makes of it."""

from __future__ import annotations

import json
from dataclasses import replace as replaced
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hands.core.events import (
    AccountReport,
    Execution,
    LimitsRead,
    Link,
    OperatorAction,
    OperatorRequest,
    OrderReport,
    PositionSnapshot,
    RequestAnswered,
    RequestFailed,
    RequestKind,
    RequestSent,
    SessionReport,
    TradingStatusReport,
    TruthReport,
    VenueClockMeasured,
    VenueOrder,
)
from hands.core.units import NANO, NS_PER_MS, Ns, Price, Qty, Usd
from hands.core.vocab import OrderClass, OrderStatus, OrderType, Side
from hands.journal.steps import SESSION, Step
from hands.replay.as_recorded import AsRecorded, Restarted, _Reading
from hands.replay.floor import Holding
from hands.replay.given import Documents, circumstances
from hands.replay.outcome import Replay
from hands.replay.player import ReplayError
from hands.replay.run import replay
from hands.replay.ways import Heard, Measured, Way, Ways, report_of
from hands.sim.venue.calendar import MarketClock
from tests.replay.markets import LOOSE, NOON, intent, limits_file
from tests.replay.test_replay import at, codes, quotes

MS = NS_PER_MS
ENTRY = "hands-1-entry-1"
SPY = PositionSnapshot(symbol="SPY", qty=Qty(3 * NANO), qty_available=Qty(0), avg_price=Price(500 * NANO))
CALM = quotes(*((ms, 149.98, 150.0) for ms in range(0, 20_000, 500)))


def told(**changes: Any) -> VenueOrder:
    order = VenueOrder(
        order_id="v1",
        client_order_id=ENTRY,
        symbol="AAPL",
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        order_class=OrderClass.BRACKET,
        status=OrderStatus.NEW,
        status_text="new",
        qty=Qty(NANO),
        filled_qty=Qty(0),
    )
    return msgspec.structs.replace(order, **changes)


def read(*events: Any) -> AsRecorded:
    """Return what is read of a session with these events; a tuple is (ms, the commands of a wake)."""
    reading = _Reading()
    reading.take(Step(1, NOON, SESSION, b"no head", 0))
    for seq, event in enumerate(events, 2):
        if isinstance(event, tuple):
            reading.take(Step(seq, at(event[0]), "wake", b"", 0, json.dumps(event[1]).encode()))
        elif event is SESSION:
            reading.take(Step(seq, at(9_000), SESSION, b"no head", 0))
        else:
            tag = type(event).__struct_config__.tag
            assert isinstance(tag, str)
            reading.take(Step(seq, event.ts_ns, tag, msgspec.json.encode(event), 0, b"[]"))
    return reading.result()


def decided(ms: int, kind: str = "submit_entry") -> tuple[int, list[dict[str, Any]]]:
    about: dict[str, Any] = {"client_order_id": ENTRY}
    shape = {"submit_entry": {"entry": about}, "submit_exit": {"order": about}}.get(kind, about)
    return ms, [{"type": "record", "row": {}}, {"type": kind} | shape]


def sent(ms: int, kind: RequestKind = RequestKind.SUBMIT) -> RequestSent:
    return RequestSent(ts_ns=Ns(at(ms)), kind=kind, client_order_id=ENTRY, sent_ns=Ns(at(ms)))


def answered(
    ms: int, kind: RequestKind = RequestKind.SUBMIT, order: VenueOrder | None = None
) -> RequestAnswered:
    return RequestAnswered(ts_ns=Ns(at(ms)), kind=kind, client_order_id=ENTRY, status=200, order=order)


def clock(offset_ms: int) -> VenueClockMeasured:
    return VenueClockMeasured(ts_ns=Ns(NOON), link=Link.EQUITY_DATA, offset_ns=offset_ms * MS)


# --- ways ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset_ms", "submitted_ms", "way"),
    [
        (0, 103, Way(at(100), 3 * MS, 7 * MS)),
        (1, 103, Way(at(100), 4 * MS, 6 * MS)),  # what the venue did then, is seen here a millisecond later
        (-3_600_000, 3_600_103, Way(at(100), 3 * MS, 7 * MS)),  # its clock is an hour ahead
        (0, 98, Way(at(100), 0, 10 * MS)),  # not before it was decided
        (5, 109, Way(at(100), 10 * MS, 0)),  # not after it was answered
        (0, 3_600_103, Way(at(100), 5 * MS, 5 * MS)),  # nothing is known of its clock: half each way
        (0, None, Way(at(100), 5 * MS, 5 * MS)),
    ],
)
def test_a_request_took_what_the_venues_own_time_says(
    offset_ms: int, submitted_ms: int | None, way: Way
) -> None:
    order = told(submitted_ns=None if submitted_ms is None else at(submitted_ms))
    found = read(clock(offset_ms), decided(100), sent(101), answered(110, order=order))
    assert found.measured.requests == {(RequestKind.SUBMIT, ENTRY): [way]}
    assert found.measured.each_way_ns == 5 * MS


def test_an_older_orders_time_says_nothing_of_a_question() -> None:
    order = told(submitted_ns=at(100))
    found = read(
        decided(110, "query_order"), sent(111, RequestKind.QUERY), answered(120, RequestKind.QUERY, order)
    )
    assert found.measured.requests == {(RequestKind.QUERY, ENTRY): [Way(at(110), 5 * MS, 5 * MS)]}


def test_requests_without_an_answer_are_not_taken_for_answered_ones() -> None:
    failed = RequestFailed(
        ts_ns=Ns(at(130)),
        kind=RequestKind.CANCEL,
        client_order_id=ENTRY,
        may_have_been_sent=True,
        reason="broken",
    )
    cancel = RequestKind.CANCEL
    found = read(
        decided(100, "cancel_order"),  # never sent: a newer one took its place
        decided(120, "cancel_order"), sent(121, cancel), failed,
        decided(200, "cancel_order"), sent(201, cancel), answered(206, cancel),
        decided(300, "cancel_order"), sent(301, cancel), SESSION,
        answered(9_100, cancel),
        sent(9_200, cancel), answered(9_204, cancel),
    )  # fmt: skip
    assert found.measured.requests == {
        (cancel, ENTRY): [
            Way(at(200), 3 * MS, 3 * MS),
            Way(at(9_200), 2 * MS, 2 * MS),
        ]
    }


def test_a_report_took_what_passed_since_it_happened() -> None:
    filled = told(filled_qty=Qty(NANO), submitted_ns=at(100))
    execution = Execution(execution_id="x", qty=Qty(NANO), price=Price(NANO), at_ns=Ns(at(110)))
    found = read(
        clock(1),
        OrderReport(ts_ns=Ns(at(105)), event="new", order=told(submitted_ns=at(100))),
        OrderReport(ts_ns=Ns(at(113)), event="fill", order=filled, execution=execution),
        OrderReport(ts_ns=Ns(at(190)), event="fill", order=filled, execution=execution),  # told again
        OrderReport(ts_ns=Ns(at(200)), event="canceled", order=filled),  # nobody says when that was
    )
    assert found.measured.reports == {
        (ENTRY, "new", 0): [Heard(at(101), at(105))],
        (ENTRY, "fill", NANO): [Heard(at(111), at(113)), Heard(at(111), at(190))],
        (ENTRY, "canceled", NANO): [Heard(None, at(200))],
    }


def test_what_happens_when_it_did_is_heard_of_when_it_was() -> None:
    kind, known = RequestKind.CANCEL, [Way(at(100), 4 * MS, 6 * MS), Way(at(9_000), 2 * MS, 3 * MS)]
    ways = Ways(MS, Measured({(kind, "a"): known}))
    for early_ms in (-9, -2, 0, 3, 200):
        there_ns, back_ns = ways.of_request(kind, "a", at(100 - early_ms))
        assert there_ns == max(0, 4 + early_ms) * MS
        assert at(100 - early_ms) + there_ns + back_ns == at(110)
    assert ways.of_request(kind, "a", at(120)) == (0, 0), "here the answer is already late"
    assert ways.of_request(kind, "a", at(8_900)) == (102 * MS, 3 * MS), "the nearest of its kind"
    assert ways.of_request(kind, "a", at(60_000)) == (2 * MS, 3 * MS), (
        "another moment: only as long as it took"
    )
    fill, gone = ("a", "fill", NANO), ("a", "canceled", 0)
    ways = Ways(MS, Measured({}, {fill: [Heard(at(100), at(107))], gone: [Heard(None, at(200))]}))
    assert [ways.of_report(fill, at(ms)) for ms in (98, 100, 110, 5_000)] == [9 * MS, 7 * MS, 0, 7 * MS]
    assert [ways.of_report(gone, at(ms)) for ms in (190, 200, 201, 5_000)] == [10 * MS, 0, 0, 7 * MS]


def test_a_leg_is_known_by_what_it_is() -> None:
    leg = told(client_order_id="x", side=Side.SELL, limit_price=Price(155 * NANO))
    first, second = (
        OrderReport(ts_ns=Ns(NOON), event="new", order=msgspec.structs.replace(leg, client_order_id=name))
        for name in ("x", "y")
    )
    other = OrderReport(ts_ns=Ns(NOON), event="new", order=msgspec.structs.replace(leg, side=Side.BUY))
    assert report_of(first) == report_of(second) != report_of(other)


def test_what_is_not_known_takes_the_median() -> None:
    kind = RequestKind.SUBMIT
    measured = Measured(
        {(kind, "a"): [Way(0, 1, 5), Way(0, 2, 6)], (kind, "b"): [Way(0, 9, 10)]},
        {("a", "fill", 1): [Heard(0, 5), Heard(0, 7)], ("b", "fill", 1): [Heard(0, 9), Heard(None, 99)]},
    )
    ways = Ways(100, measured)
    assert ways.of_request(kind, "c", at(0)) == (2, 6)
    assert ways.of_request(RequestKind.CANCEL, "a", at(0)) == (2, 6)
    assert ways.of_report(("c", "new", 0), at(0)) == 7
    bare = Ways(100)
    assert bare.of_request(kind, "a", at(0)) == (100, 100)
    assert bare.of_report(("a", "new", 0), at(0)) == 100
    assert measured.each_way_ns == 4
    assert Measured().each_way_ns is None


# --- what else is on record ----------------------------------------------------------------------------------


def account(equity: int, multiplier: int = 4) -> AccountReport:
    return AccountReport(
        ts_ns=Ns(NOON), asked_ns=Ns(NOON), account_number="1", status="ACTIVE", equity=Usd(equity * NANO),
        cash=Usd(equity * NANO - 1_200 * NANO), buying_power=Usd(0), non_marginable_buying_power=Usd(0), multiplier=multiplier,
    )  # fmt: skip


def session(kind: str) -> SessionReport:
    reading = MarketClock(kind).at(NOON)
    return SessionReport(
        ts_ns=Ns(NOON),
        is_open=True,
        next_open_ns=reading.next_open_ns,
        next_close_ns=Ns(reading.next_close_ns + MS),
    )


def test_the_first_account_and_truth_count_and_acts_are_in_order() -> None:
    truth = TruthReport(
        ts_ns=Ns(NOON),
        asked_ns=Ns(NOON),
        orders=(),
        missing=(),
        positions=(SPY,),
    )
    first = LimitsRead(ts_ns=Ns(at(1)), text="a", at_start=True)
    halt = OperatorRequest(ts_ns=Ns(at(2)), action=OperatorAction.HALT)
    again = LimitsRead(ts_ns=Ns(at(9_001)), text="b", at_start=True)
    found = read(
        first, account(50_000), account(60_000), truth, session("always"), session("always"),
        session("calendar"), halt, SESSION, again,
    )  # fmt: skip
    assert found.account == account(50_000)
    assert found.holdings == (SPY,)
    assert (found.began_ns, found.ended_ns) == (NOON, at(9_001))
    assert (found.limits, found.session, found.sessions) == (first, "always", 2)
    assert found.acts == (halt, Restarted(at(9_000)), again)
    assert read(session("calendar")).session == "calendar"


# --- what a replay makes of it ---------------------------------------------------------------------------------


def recorded(**changes: Any) -> AsRecorded:
    empty = AsRecorded(
        measured=Measured(),
        acts=(),
        limits=None,
        account=None,
        account_asked_ns=(),
        session=None,
        began_with=(),
        holdings=(),
        orders=(),
        sessions=1,
        began_ns=NOON - 60 * 10**9,
        ended_ns=at(30_000),
        first_row_ns=NOON,
    )
    known = {name: getattr(empty, name) for name in AsRecorded.__slots__}
    return AsRecorded(**(known | changes))


def limits_text(folder: Path, **changes: Any) -> str:
    return limits_file(folder, **(LOOSE | changes)).read_text()


def played(circumstance: AsRecorded, *arrivals: Any, **more: Any) -> Replay:
    return replay(CALM, Documents(arrivals, circumstance), fills="instant", **more)


def test_what_is_named_counts_before_what_is_on_record(tmp_path: Path) -> None:
    read_at_start = LimitsRead(ts_ns=Ns(NOON), text=limits_text(tmp_path), symbols=("AAPL",), at_start=True)
    known = recorded(
        measured=Measured({(RequestKind.SUBMIT, ENTRY): [Way(at(100), 2 * MS, 4 * MS)]}),
        limits=read_at_start,
        account=account(50_000),
        session="always",
        holdings=(SPY,),
        orders=(told(symbol="SPY"),),
    )
    named: dict[str, Any] = {
        "limits": None,
        "symbols": None,
        "latency_ms": None,
        "equity": None,
        "session": "auto",
    }
    found = circumstances(known, **named)
    assert (found.latency_from, found.ways.usual_ns) == ("record", 3 * MS)
    assert (found.cash, found.equity) == (48_800 * NANO, 50_000 * NANO)
    assert found.holdings == (Holding("SPY", SPY.qty, SPY.avg_price, Price(400 * NANO)),)
    assert (found.multiplier, found.session, found.law.allow) == (4, "always", ("AAPL",))
    assert not found.random_partials
    assert found.left_out == ("an order to buy SPY from before the record",)
    tight = limits_file(tmp_path, "tight.toml", **(LOOSE | {"max_daily_trades": 1}))
    found = circumstances(
        known, limits=tight, symbols=("AAPL", "SPY"), latency_ms=7, equity=10, session="calendar"
    )
    assert (found.latency_from, found.ways.usual_ns, found.cash) == ("given", 7 * MS, 10 * NANO)
    assert (found.holdings, found.left_out[0]) == ((), "3 SPY, held before the record begins")
    assert found.ways.of_request(RequestKind.SUBMIT, ENTRY, at(100)) == (7 * MS, 7 * MS)
    assert (found.session, found.law.hard.max_daily_trades) == ("calendar", 1)
    with pytest.raises(ReplayError, match="no limits"):
        circumstances(None, **named)
    with pytest.raises(ReplayError, match="3 trades alive"):
        circumstances(recorded(limits=read_at_start, began_with=("a", "b", "c")), **named)


def test_the_operators_acts_happen_when_they_did(tmp_path: Path) -> None:
    law = LimitsRead(ts_ns=Ns(NOON), text=limits_text(tmp_path), at_start=True)
    halt = OperatorRequest(ts_ns=Ns(at(3_000)), action=OperatorAction.HALT)
    resume = OperatorRequest(ts_ns=Ns(at(6_000)), action=OperatorAction.RESUME)
    ideas = [intent(n, at(2_500 + 2_000 * n), "AAPL", 150.0) for n in range(3)]
    quiet = played(recorded(limits=law), *ideas)
    assert codes(quiet) == ["OK", "SYMBOL_BUSY", "SYMBOL_BUSY"]
    found = played(recorded(limits=law, acts=(halt, resume)), *ideas)
    assert codes(found) == ["OK", "HALTED", "SYMBOL_BUSY"]
    assert found.counters["acts"] == 2
    flat = OperatorRequest(ts_ns=Ns(at(3_000)), action=OperatorAction.FLATTEN)
    assert [t.exit_reason for t in played(recorded(limits=law, acts=(flat,)), *ideas).trades] == ["HALT"]
    before = OperatorRequest(ts_ns=Ns(NOON - 10**12), action=OperatorAction.HALT)
    assert codes(played(recorded(limits=law, acts=(before,)), *ideas)) == ["HALTED"] * 3


def test_a_symbol_is_halted_when_it_was(tmp_path: Path) -> None:
    law = LimitsRead(ts_ns=Ns(NOON), text=limits_text(tmp_path), at_start=True)
    halt, over = (
        TradingStatusReport(ts_ns=Ns(at(ms)), symbol="AAPL", halted=halted, venue_ns=at(ms))
        for ms, halted in ((3_000, True), (6_000, False))
    )
    assert read(halt, over).acts == (halt, over)
    ideas = [intent(n, at(3_500 + 3_500 * n), "AAPL", 150.0) for n in range(2)]
    assert codes(played(recorded(limits=law, acts=(halt, over)), *ideas)) == ["ASSET_NOT_TRADABLE", "OK"]


def test_limits_change_when_they_did_unless_others_are_named(tmp_path: Path) -> None:
    text = limits_text(tmp_path, max_daily_trades=5)
    law = LimitsRead(ts_ns=Ns(NOON), text=text, at_start=True)
    text = limits_text(tmp_path, max_daily_trades=5, min_confidence=0.95)
    tighter = LimitsRead(ts_ns=Ns(at(3_000)), text=text)
    text = limits_text(tmp_path, max_daily_trades=5, min_confidence=0.5)
    looser = LimitsRead(ts_ns=Ns(at(5_000)), text=text, at_start=True)
    ideas = [intent(n, at(2_500 + 1_500 * n), "AAPL", 150.0) for n in range(3)]
    know = recorded(limits=law, acts=(tighter, Restarted(at(4_900)), looser))
    assert codes(played(know, *ideas)) == ["OK", "CONFIDENCE_TOO_LOW", "SYMBOL_BUSY"]
    named = limits_file(tmp_path, "named.toml", **LOOSE)
    assert codes(played(know, *ideas, limits=named)) == ["OK", "SYMBOL_BUSY", "SYMBOL_BUSY"]


def test_a_stop_ends_what_waits_and_the_next_life_trades_again(tmp_path: Path) -> None:
    law = LimitsRead(ts_ns=Ns(NOON), text=limits_text(tmp_path), at_start=True)
    stop = OperatorRequest(ts_ns=Ns(at(3_000)), action=OperatorAction.STOP)
    armed = intent(1, at(2_500), "AAPL", 149.0, entry="touch", arm_seconds=600)
    later = intent(2, at(9_500), "AAPL", 150.0)
    assert codes(played(recorded(limits=law, acts=(stop,)), armed, later)) == ["OK", "NOT_READY"]
    found = played(recorded(limits=law, acts=(stop, Restarted(at(9_000)))), armed, later)
    assert codes(found) == ["OK", "OK"]
    assert [verdict.state for verdict in found.verdicts] == ["CANCELED", "OPEN"]


def test_what_the_account_held_is_there_and_keeps_its_symbol_busy(tmp_path: Path) -> None:
    law = LimitsRead(ts_ns=Ns(NOON), text=limits_text(tmp_path), at_start=True)
    held = msgspec.structs.replace(SPY, symbol="AAPL", avg_price=Price(100 * NANO))
    know = recorded(limits=law, account=account(50_000), holdings=(held,))
    found = played(know, intent(1, at(2_500), "AAPL", 150.0))
    assert codes(found) == ["SYMBOL_BUSY"]
    assert found.opening_equity == 50_000
    assert found.open_positions == (), "what the owner holds is no trade's"
    assert found.equity[-1].equity == 48_800 + 3 * Decimal("149.99")
    adopt = OperatorRequest(
        ts_ns=Ns(at(3_000)),
        action=OperatorAction.ADOPT,
        target="AAPL",
        stop_loss=Price(140 * NANO),
        new_id="6f9619ff-8b86-4d01-b42d-00c04fc964ff",
    )
    adopted = played(replaced(know, acts=(adopt,), holdings=(held,)))
    assert [(each.symbol, each.qty, each.avg_price) for each in adopted.open_positions] == [("AAPL", 3, 100)]
    assert [(order.leg, order.status) for order in adopted.orders] == [("sl", "new")]
    assert codes(played(know, intent(1, at(2_500), "AAPL", 150.0), equity=50_000)) == ["OK"]


def test_a_session_lasts_longer_than_its_rows_but_only_in_its_own_market(tmp_path: Path) -> None:
    law = LimitsRead(ts_ns=Ns(NOON), text=limits_text(tmp_path), at_start=True)
    flat = OperatorRequest(ts_ns=Ns(at(22_000)), action=OperatorAction.FLATTEN)
    early, late = intent(1, at(-30_000), "AAPL", 150.0), intent(2, at(25_000), "AAPL", 150.0)
    ideas = early, intent(3, at(15_000), "AAPL", 150.0), late
    found = played(recorded(limits=law, acts=(flat,)), *ideas)
    assert codes(found) == ["NO_MARKET_DATA", "OK", "HALTED"]
    assert [trade.exit_reason for trade in found.trades] == ["HALT"]
    assert found.to_ns == at(30_000)
    elsewhere = played(recorded(limits=law, acts=(flat,), first_row_ns=NOON - 1), *ideas)
    assert codes(elsewhere) == ["OK"]
    assert (elsewhere.counters["documents_before"], elsewhere.counters["documents_after"]) == (1, 1)
    assert codes(played(recorded(limits=law, acts=(flat,)), *ideas, end=at(19_000))) == [
        "NO_MARKET_DATA",
        "OK",
    ]
