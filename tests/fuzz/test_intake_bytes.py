"""Any bytes: no crash, no hang, and never an order that a plain reading of the bytes does not say.

50 000 mutated documents go through the whole decision in `make test`; under `HANDS_SOAK=1` five million from a seed that
is printed, or as many as fit into `HANDS_FUZZ_S` seconds. `HANDS_FUZZ_SEED` runs one seed again.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from random import Random
from typing import Any

import pytest

from hands.core.commands import AnyCommand, RefuseDocument, SubmitEntry
from hands.core.engine import decide
from hands.core.events import DocumentReceived, RequestFailed, RequestKind
from hands.core.intents import Change, Intent, Refusal, read_document
from hands.core.orders import ApprovedEntry
from hands.core.state import State
from hands.core.units import Ns
from hands.core.vocab import Side
from tests.core.world import NOW, world
from tests.fuzz.mutations import make
from tests.fuzz.plain_reading import plain_reading

IS_SOAK = bool(os.environ.get("HANDS_SOAK"))
INPUTS = 5_000_000 if IS_SOAK else 50_000
SEED = int(os.environ.get("HANDS_FUZZ_SEED") or (time.time_ns() if IS_SOAK else 20_260_105))
SECONDS = float(os.environ.get("HANDS_FUZZ_S") or "inf")
HANG_NS = 10_000_000
STATE_INPUTS = 2_000
"""Inputs that one state judges; then a fresh one, so that memory stays small and a failure's history short."""

NANO = 10**9
ASK = {
    "AAPL": Decimal("150.00"),
    "SPY": Decimal("600.02"),
    "BTC/USD": Decimal(100010),
    "SOL/USD": Decimal("150.00"),
}
LOOSE = {
    "max_daily_trades": "1000000",
    "orders_per_minute": "1000000",
    "rejections_latch": "1000000",
    "semantic_duplicate_s": "0",
}
FIELDS = {
    "trigger_price": "trigger_price", "take_profit": "take_profit", "stop_loss": "stop_loss", "confidence": "confidence", "qty": "qty",
    "ttl_seconds": "ttl_ns", "arm_seconds": "arm_ns", "max_hold_seconds": "max_hold_ns", "trailing_stop_pct": "trailing_stop_pct",
}  # fmt: skip


def test_mutated_documents_are_answered_and_an_order_says_what_its_bytes_say() -> None:
    random, seen, end = Random(SEED), Counter[str](), time.monotonic() + SECONDS
    state = world(**LOOSE)
    for number in range(INPUTS):
        if number % STATE_INPUTS == 0:
            state = world(**LOOSE)
            if time.monotonic() > end:
                break
        data = make(number, random)
        try:
            seen[_judge(state, number, data)] += 1
        except BaseException:
            print(f"seed {SEED}, input {number}: {data!r}")
            raise
    print(f"seed {SEED}: {seen.total()} inputs: {dict(seen.most_common())}")
    if seen.total() >= 50_000:  # the mutations must reach everything, or they prove nothing
        assert {
            "SCHEMA",
            "MALFORMED_JSON",
            "DUPLICATE_KEY",
            "NOT_FINITE",
            "TOO_LARGE",
            "denied",
            "ordered",
            "change",
        } <= set(seen)
        assert seen["ordered"] > seen.total() // 50
        assert seen["denied"] > seen.total() // 50


def _judge(state: State, number: int, data: bytes) -> str:
    """Judge one input; return what became of it."""
    event = DocumentReceived(
        ts_ns=Ns(NOW + number), agent="default", name="x.json", data=data, file_event_ns=Ns(NOW)
    )
    began = time.perf_counter_ns()
    commands = decide(state, event)
    if time.perf_counter_ns() - began > HANG_NS:
        _look_again(event)
    state.changed.clear()
    found, plain = read_document(data), plain_reading(data)
    entries = [command.entry for command in commands if isinstance(command, SubmitEntry)]
    if isinstance(found, Refusal):
        assert plain is None, f"refused, though it is within the contract: {found}"
        assert not entries
        _is_refused(found, commands)
        return str(found.code)
    assert plain is not None, f"read, though the contract refuses it: {found}"
    if isinstance(found, Change):
        assert not entries, "a change entered something"
        _changes_the_same(found, plain)
        return "change"
    _says_the_same(found, plain)
    if not entries:
        return "denied"
    [entry] = entries
    _is_what_was_asked(entry, plain)
    answer = RequestFailed(
        ts_ns=state.now_ns, kind=RequestKind.SUBMIT, client_order_id=entry.client_order_id, may_have_been_sent=False,
        reason="not sent",
    )  # fmt: skip
    decide(state, answer)  # so that the symbol is free for the next one
    state.changed.clear()
    return "ordered"


def _look_again(event: DocumentReceived) -> None:
    """Decide an input that took long by itself: a busy machine is slow once, a hang each time."""
    took = []
    for _ in range(20):
        state = world(**LOOSE)
        began = time.perf_counter_ns()
        decide(state, event)
        took.append(time.perf_counter_ns() - began)
    assert min(took) <= HANG_NS, f"{min(took) / 1e6:.1f} ms to decide {event.data[:200]!r}"


def _is_refused(found: Refusal, commands: list[AnyCommand]) -> None:
    [refused] = [command for command in commands if isinstance(command, RefuseDocument)]
    assert (refused.receipt["verdict"], refused.receipt["code"]) == ("REFUSED", found.code)
    assert found.message
    assert found.message.isascii()
    assert found.message.isprintable()
    assert len(found.message) < 700


def _says_the_same(found: Intent, plain: dict[str, Any]) -> None:
    """Every member that was read is, to the last digit, what the bytes say."""
    for key, field in FIELDS.items():
        value = getattr(found, field)
        assert (None if value is None else Decimal(value)) == (plain[key] * NANO if key in plain else None), (
            key
        )
    assert found.timestamp_ns == plain["timestamp"]
    for key in (
        "intent_id",
        "asset",
        "direction",
        "strategy_ref",
        "thesis",
        "context",
        "approval_id",
        "signature",
    ):
        assert getattr(found, key) == plain.get(key), key
    assert found.entry == plain.get("entry", "now")


def _changes_the_same(found: Change, plain: dict[str, Any]) -> None:
    for key in ("qty", "stop_loss", "take_profit", "max_hold_seconds"):
        value = getattr(found, FIELDS[key])
        assert (None if value is None else Decimal(value)) == (plain[key] * NANO if key in plain else None), (
            key
        )
    assert found.timestamp_ns == plain.get("timestamp")
    for key in ("kind", "intent_id", "target_id", "thesis", "context", "signature"):
        assert getattr(found, key) == plain.get(key), key


def _is_what_was_asked(entry: ApprovedEntry, plain: dict[str, Any]) -> None:
    """An order is for what the document names, at most at its price, and within the caps and its time."""
    is_long, is_coin = plain["direction"] == "LONG", "/" in plain["asset"]
    tick = Decimal("0.01")
    assert is_long, "shorts are not allowed in this world"
    assert entry.symbol == plain["asset"]
    assert entry.side is Side.BUY
    limit, qty = Decimal(entry.limit_price) / NANO, Decimal(entry.qty) / NANO
    highest = min(plain["trigger_price"], ASK[plain["asset"]]) * Decimal("1.001")
    assert highest - tick < limit <= highest
    assert 0 < qty <= plain.get("qty", Decimal("Infinity"))
    assert qty * limit <= 10_000
    assert plain["stop_loss"] < limit < plain["take_profit"]
    assert qty * (limit - plain["stop_loss"]) <= 2_000
    assert plain["confidence"] >= Decimal("0.6")
    assert plain.get("entry", "now") == "now"
    deadline_ns = min(plain["timestamp"], NOW + INPUTS) + int(plain["ttl_seconds"] * NANO)
    assert NOW < entry.deadline_ns <= deadline_ns
    if not is_coin:
        assert qty == qty.to_integral_value()
        assert entry.stop_loss is not None
        assert entry.take_profit is not None
        assert Decimal(entry.stop_loss) / NANO == plain["stop_loss"].quantize(tick, ROUND_CEILING)
        assert Decimal(entry.take_profit) / NANO == plain["take_profit"].quantize(tick, ROUND_FLOOR)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 65_536,
        b'{"a":' * 13_000,
        b'"' + b"\\" * 65_534,
        b'{"thesis":"' + b'[{"' * 20_000 + b'"}',
        b'{"' + b'\\"[' * 20_000 + b'":1}',
        b"9" * 65_536,
        b"1e" + b"9" * 65_000,
        b"[" + b"1," * 32_000 + b"1]",
        b"{" + b",".join(b'"%d":1' % n for n in range(7_000)) + b"}",
        b"{" + b'"a":1,' * 10_000 + b'"a":1}',
        b'{"context":{' + b",".join(b'"%d":1' % n for n in range(7_000)) + b"}}",
        b"\xf0\x9f\x98\x80" * 16_384,
        b'"' + b"\\ud83d" * 10_000 + b'"',
        b" " * 65_535 + b"x",
    ],
    ids=lambda data: repr(data[:16]),
)
def test_the_worst_64_kib_are_answered_in_no_time(data: bytes) -> None:
    assert plain_reading(data) is None
    _look_again(DocumentReceived(ts_ns=NOW, agent="default", name="x.json", data=data, file_event_ns=NOW))
