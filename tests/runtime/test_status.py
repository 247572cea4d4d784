"""What the daemon says of itself: status, quotes, the live view, what-if, and DOWN from the ledger."""

from __future__ import annotations

import json
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from hands.cli.check import ordinary_state
from hands.core.commands import Record
from hands.core.engine import decide
from hands.core.events import DocumentReceived, OperatorAction, OperatorRequest
from hands.core.limits import read_limits
from hands.core.receipts import receipt, time_text
from hands.core.state import State
from hands.core.units import NS_PER_MS, NS_PER_S, Ns
from hands.journal.ledger import Ledger
from hands.journal.reader import open_ledger
from hands.journal.schema import encode_row
from hands.journal.store import JournalStore
from hands.runtime import status
from hands.runtime.gaps import Filled
from hands.runtime.what_if import what_if
from hands.venues.alpaca.market_feed import FeedCounts

NOW = Ns(1_790_000_000 * NS_PER_S)


@pytest.fixture
def state(root: Path) -> State:
    limits = read_limits((root / "config" / "risk_limits.toml").read_text())
    return ordinary_state(limits, "AAPL", NOW, "149.98,150.00", "100000")


def document(**changes: Any) -> bytes:
    found = {
        "intent_id": str(uuid.uuid4()), "asset": "AAPL", "direction": "LONG", "trigger_price": 150, "take_profit": 155,
        "stop_loss": 148, "confidence": 0.7, "strategy_ref": "test/v1", "timestamp": time_text(NOW), "ttl_seconds": 15,
    } | changes  # fmt: skip
    return json.dumps(found).encode()


def receive(state: State, data: bytes, at_ns: int = NOW) -> list[Any]:
    """Let the engine judge a document that arrived 50 µs before `at_ns`; return its commands."""
    event = DocumentReceived(
        ts_ns=Ns(at_ns), agent="default", name="a.json", data=data, file_event_ns=Ns(at_ns - 50_000)
    )
    return decide(state, event)


def drop(state: State, data: bytes, at_ns: int = NOW) -> str:
    """Let the engine judge a document; return its intent_id."""
    receive(state, data, at_ns)
    return str(json.loads(data)["intent_id"])


def test_an_ordinary_state_is_active_and_ready(state: State) -> None:
    found = status.status(state, NOW, intents="/somewhere")
    assert (found["state"], found["ready"], found["reasons"], found["venue"]) == ("ACTIVE", True, [], "sim")
    assert found["account"]["equity"] == "100000.00"
    assert found["day"]["max_daily_loss_usd"] == "4000.00"
    assert found["day"]["max_gross_exposure_usd"] == "30000.00"
    assert found["intents"] == "/somewhere"
    json.dumps(found)


def test_reasons_say_since_when_and_what_clears_them(state: State) -> None:
    decide(state, OperatorRequest(ts_ns=NOW, action=OperatorAction.HALT, reason="enough"))
    found = status.status(state, NOW)
    assert found["state"] == "HALTED"
    [reason] = found["reasons"]
    assert reason == {
        "code": "OPERATOR", "state": "HALTED", "since": time_text(NOW), "clears": "operator", "detail": "enough",
    }  # fmt: skip


def test_a_fence_and_a_clock_that_is_off_are_told(state: State) -> None:
    assert (status.status(state, NOW)["fenced"], status.status(state, NOW)["clock_skew_ms"]) == (None, None)
    state.fenced_ns = Ns(NOW - NS_PER_S)
    assert state.session is not None
    state.session = structs.replace(state.session, ahead_min_ns=30 * NS_PER_MS, ahead_max_ns=40 * NS_PER_MS)
    found = status.status(state, NOW)
    assert found["fenced"] == time_text(NOW - NS_PER_S)
    assert found["clock_skew_ms"] == 30.0


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda state: setattr(state, "reconciled", False), "reconciled"),
        (lambda state: setattr(state, "stopping", True), "stopping"),
        (lambda state: setattr(state, "account", None), "account"),
        (lambda state: state.links.clear(), "trade stream"),
    ],
)
def test_what_is_missing_is_named(state: State, spoil: Any, why: str) -> None:
    spoil(state)
    found = status.status(state, NOW)
    assert found["ready"] is False
    assert why in found["not_ready"]


def test_what_the_guardian_would_say_is_what_status_says(state: State) -> None:
    assert state.account is not None
    state.account = structs.replace(state.account, status="ACCOUNT_CLOSED_PENDING")
    found = status.status(state, NOW)
    assert (found["ready"], found["not_ready"]) == (False, "the account is ACCOUNT_CLOSED_PENDING")
    state.account = structs.replace(state.account, status="ACTIVE", trading_blocked=True)
    assert "blocked" in status.status(state, NOW)["not_ready"]


def test_an_old_account_is_not_ready(state: State) -> None:
    assert "account" in str(status.not_ready(state, NOW + 16 * NS_PER_S))


def test_a_quote_has_both_sides_its_age_and_indicators(state: State) -> None:
    known, unknown = status.quotes(state, ["AAPL", "APPL"], NOW + 250 * NS_PER_MS)
    assert (known["bid"], known["ask"], known["age_ms"], known["last"]) == ("149.98", "150.00", 250.0, None)
    assert known["indicators"]["rsi_14"] is None
    assert (unknown["known"], unknown["bid"]) == (False, None)


def test_what_is_not_a_symbol_is_only_unknown(state: State) -> None:
    assert [quote["known"] for quote in status.quotes(state, [["AAPL"], None, 7], NOW)] == [False] * 3  # type: ignore[list-item]


def test_the_view_shows_the_trade_its_order_and_the_verdicts(state: State) -> None:
    intent_id = drop(state, document())
    denied = drop(state, document(confidence=0.1), NOW + 1)
    found = status.view(state, NOW)
    [order] = found["orders"]
    [trade] = found["trades"]
    assert (order["intent_id"], order["leg"], order["qty"], order["status"]) == (
        intent_id,
        "entry",
        "66",
        "unsent",
    )
    assert (trade["intent_id"], trade["state"], trade["stop_loss"]) == (intent_id, "WORKING", "148.00")
    assert [(v["intent_id"], v["code"]) for v in found["verdicts"]] == [
        (intent_id, "OK"), (denied, "CONFIDENCE_TOO_LOW"),
    ]  # fmt: skip
    assert found["latency_us"]["file_to_decided"] == {"n": 2, "p50": 50.0, "p99": 50.0, "max": 50.0}
    assert found["latency_us"]["file_to_sent"]["n"] == 0
    json.dumps(found)


def test_percentiles_are_nearest_rank() -> None:
    assert status.percentiles_us([]) == {"n": 0, "p50": None, "p99": None, "max": None}
    assert status.percentiles_us([n * 1000 for n in range(1, 101)]) == {
        "n": 100,
        "p50": 50.0,
        "p99": 99.0,
        "max": 100.0,
    }
    assert status.percentiles_us([3000]) == {"n": 1, "p50": 3.0, "p99": 3.0, "max": 3.0}


# --- what if -------------------------------------------------------------------------------------------------


def test_what_if_says_what_the_engine_then_says(state: State) -> None:
    for data in (
        document(),
        document(stop_loss=151),
        document(qty=0.5),
        document(entry="touch", trigger_price=149),
    ):
        asked = what_if(state, data, "default", NOW)
        ticket = state.ticket(drop(state, data))
        assert ticket is not None
        told = receipt(state, ticket)
        for name in ("verdict", "code", "order", "sizing", "retry", "nearest_admissible"):
            assert asked[name] == told[name]
        assert [(c["check"], c["ok"]) for c in asked["checks"]] == [
            (c["check"], c["ok"]) for c in told["checks"]
        ]
        if ticket.is_live:
            state.finish(ticket)


def test_what_if_has_no_consequences(state: State) -> None:
    data = document()
    for _ in range(3):
        assert what_if(state, data, "default", NOW)["code"] == "OK"
    assert (state.tickets, state.seen, state.agents, state.day.trades, state.changed) == ({}, {}, {}, {}, {})


def test_what_if_recognises_what_was_judged(state: State) -> None:
    data = document()
    drop(state, data)
    assert what_if(state, data, "default", NOW)["code"] == "DUPLICATE_INTENT"


def test_what_if_refuses_what_cannot_be_read(state: State) -> None:
    found = what_if(state, b"{", "default", NOW)
    assert (found["verdict"], found["code"]) == ("REFUSED", "MALFORMED_JSON")


# --- down ----------------------------------------------------------------------------------------------------


def test_down_tells_what_the_ledger_knows(state: State, state_dir: Path) -> None:
    halt = OperatorRequest(ts_ns=Ns(NOW + 1), action=OperatorAction.HALT, reason="enough")
    commands = [*receive(state, document()), *decide(state, halt)]
    journal = JournalStore(state_dir / "journal.db")
    journal.append(1, NOW, "test", b"")
    for command in commands:
        if isinstance(command, Record):
            journal.outbox(1, command.table, encode_row(command.row))
    journal.commit()
    ledger = Ledger(state_dir / "hands.db", journal.path)
    ledger.start()
    assert ledger.flush(10.0), ledger.fault
    ledger.close()
    journal.close()
    with closing(open_ledger(state_dir / "hands.db")) as db:
        found = status.down(db)
    assert (found["state"], found["ready"]) == ("DOWN", False)
    assert [(trade["symbol"], trade["state"]) for trade in found["trades"]] == [("AAPL", "WORKING")]
    [reason] = found["reasons"]
    assert (reason["code"], reason["detail"], reason["since"]) == ("OPERATOR", "enough", time_text(NOW + 1))
    assert [verdict["code"] for verdict in found["verdicts"]] == ["OK"]
    json.dumps(found)


# --- streams -------------------------------------------------------------------------------------------------


class Feed:
    """What a stream says of itself."""

    is_up = True
    up_since_ns = NOW - 60 * NS_PER_S
    last_row_ns = NOW - 250 * NS_PER_MS
    symbols = ("AAPL", "SPY")
    venue_offset_ns = -1_300 * NS_PER_MS
    repeated = 3
    from_future = 5
    counts = FeedCounts(frames=9, rows=90, malformed=1, unknown_symbols=2, unreadable_frames=4)


def test_a_stream_says_since_when_it_is_up_and_what_was_lost_and_repaired() -> None:
    filled = Filled(gaps=2, trades=17, last_ns=NOW - NS_PER_S)
    found = status.stream(Feed(), filled, NOW, 5 * NS_PER_S, is_filling=True, suspicious=8)  # type: ignore[arg-type]
    assert found == {
        "up": True,
        "since": time_text(Ns(NOW - 55 * NS_PER_S)),
        "symbols": 2,
        "last_age_ms": 250.0,
        "rows": 90,
        "repeated": 3,
        "dropped": 12,
        "suspicious": 8,
        "offset_ms": -1300.0,
        "gaps": {"filled": 2, "trades": 17, "last": time_text(Ns(NOW + 4 * NS_PER_S)), "filling": True},
    }


def test_what_could_not_be_used_is_a_fault_of_the_stream() -> None:
    found = status.feed_fault(Feed())  # type: ignore[arg-type]
    assert found == (
        "4 frames that could not be read, 1 malformed rows, 2 rows of symbols that were not asked for, "
        "5 rows stamped in the future"
    )


def test_a_stream_that_is_down_and_has_brought_nothing_says_so() -> None:
    feed = Feed()
    feed.is_up, feed.last_row_ns = False, 0
    found = status.stream(feed, Filled(), NOW, 0, is_filling=False, suspicious=0)  # type: ignore[arg-type]
    assert (found["up"], found["since"], found["last_age_ms"], found["gaps"]["last"]) == (
        False,
        None,
        None,
        None,
    )
