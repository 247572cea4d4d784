"""What each piece of an intent's way costs: `pytest tests/bench --benchmark-enable`. In `make test` each runs once.

Owns micro-benchmarks of the functions between a file and an order's bytes. They are warm: a function in a loop has
its code and data in the nearest cache, which an engine that waits for an intent has not (`python -m bench`).
"""

from __future__ import annotations

import uuid
from itertools import count

import numpy as np

from hands.core.commands import SubmitEntry
from hands.core.engine import decide
from hands.core.events import DocumentReceived, RequestAnswered, RequestKind
from hands.core.intents import Intent, read_document
from hands.core.market import RowFlag, RowKind, new_rows
from hands.core.receipts import receipt
from hands.core.units import Ns
from hands.journal.store import JournalStore
from hands.venues.alpaca import encode
from hands.venues.alpaca.endpoints import Credentials, Origin
from hands.venues.alpaca.http import RequestHead
from tests.core.world import case, document, encoded, intent, verdict, world

ROUNDS = 300


def _event(state, number: int = 1) -> DocumentReceived:
    data = encoded(document(number) | {"intent_id": str(uuid.uuid4())})
    return DocumentReceived(
        ts_ns=state.now_ns, agent="default", name="x.json", data=data, file_event_ns=state.now_ns
    )


def _accepted():
    """Return a state in which the contract's example was just accepted, its entry and its id."""
    state = world()
    [submit] = [command for command in decide(state, _event(state)) if isinstance(command, SubmitEntry)]
    return state, submit.entry


def test_reading_a_document(benchmark):
    data = encoded(document())
    assert isinstance(benchmark(read_document, data), Intent)


def test_judging_an_intent(benchmark):
    state, asked = world(), intent()
    assert benchmark(verdict, state, asked).denial is None


def test_making_a_case(benchmark):
    state, asked = world(), intent()
    assert benchmark(case, state, asked).quote is not None


def test_deciding_a_document(benchmark):
    """A whole decision; the order is refused by the venue in between, so that the symbol is free again."""
    state = world(max_daily_trades=1_000_000, orders_per_minute=1_000_000)

    def fresh():
        for ticket in list(state.tickets.values()):
            refusal = RequestAnswered(
                ts_ns=state.now_ns, kind=RequestKind.SUBMIT, status=403, code=40310000, message="no",
                client_order_id=ticket.entry.client_order_id,
            )  # fmt: skip
            decide(state, refusal)
        state.changed.clear()
        return (state, _event(state)), {}

    commands = benchmark.pedantic(decide, setup=fresh, rounds=ROUNDS)
    assert any(isinstance(command, SubmitEntry) for command in commands)


def test_writing_an_orders_body_and_request(benchmark):
    _, entry = _accepted()
    head = RequestHead(Origin("127.0.0.1", 80, tls=False), Credentials("sim", "sim"))
    data = benchmark(lambda: head.request("POST", encode.ORDERS_PATH, encode.submit_body(entry)))
    assert data.startswith(b"POST /v2/orders ")


def test_writing_a_receipt(benchmark):
    state, entry = _accepted()
    ticket = state.ticket(entry.intent_id)
    assert benchmark(receipt, state, ticket)["verdict"] == "ACCEPTED"


def test_committing_a_turn_to_the_journal(benchmark, state_dir):
    journal = JournalStore(state_dir / "journal.db")
    numbers = count(1)

    def turn():
        number = next(numbers)
        journal.append(number, number, "document", b"x" * 400)
        journal.put("ticket", f"id-{number}", b"x" * 1_500)
        journal.outbox(number, "orders", b"x" * 300)
        journal.commit()

    try:
        benchmark(turn)
        assert not journal.pending
    finally:
        journal.close()


def test_one_trade_through_the_kernel(benchmark):
    state = world()
    rows = new_rows(1)
    rows["kind"], rows["flags"] = RowKind.TRADE, RowFlag.ELIGIBLE
    rows["price"], rows["size"] = 150.0, 100.0
    rows["venue_ns"] = rows["recv_ns"] = np.int64(Ns(state.now_ns))
    assert benchmark(state.market.consume, rows, 0, 1) == 1
