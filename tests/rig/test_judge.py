"""That the judge sees what is wrong: an engine with one thing broken in it, played once without any death or fault; and
that a dead process is dead.

What is broken stands in each test's name; without it the same play passes (`test_nothing_is_wrong_with_the_engine_as_it_is`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hands.core import closing, executions, protection, sizing
from hands.core.units import NS_PER_S
from hands.venues.alpaca.order_entry import OrderEntry
from tests.crash.cells import Cell, run
from tests.crash.scenarios import LATENCY_MS, QUOTES, Play, opened
from tests.rig import witness
from tests.rig.judge import judge
from tests.rig.stage import Stage, stage
from tests.rig.wires import End, Tap
from tests.rig.witness import Witness

COIN, SHARE = "entry, engine-held", "entry, native"


def wrongs_of(scenario: str) -> str:
    """Return what the judge says of a play."""
    return "\n".join(run(Cell(scenario, None, "nothing")).wrongs)


@pytest.mark.parametrize("scenario", [COIN, SHARE])
def test_nothing_is_wrong_with_the_engine_as_it_is(scenario: str) -> None:
    assert not wrongs_of(scenario)


def test_a_position_that_is_never_protected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protection, "_protect", lambda *_: None)
    assert "SOL/USD: naked for" in wrongs_of(COIN)


def test_an_entry_that_is_sent_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    once = OrderEntry.submit

    def twice(self: OrderEntry, order: object) -> object:
        once(self, order)  # type: ignore[arg-type]
        return once(self, order)  # type: ignore[arg-type]

    monkeypatch.setattr(OrderEntry, "submit", twice)
    assert "its entry was sent 2 times" in wrongs_of(SHARE)


def test_a_trade_without_its_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "episode_record", lambda _: None)
    assert "is over and has no row" in wrongs_of(SHARE)


def test_a_price_that_is_booked_a_cent_too_high(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executions, "div_half_up", lambda value, by: value // by + 10_000_000)
    assert "the row says" in wrongs_of(SHARE)


# --- things done to what it left behind ------------------------------------------------------------------------


def after_a_trade(spoil: Callable[[Stage], None]) -> str:
    """Return what the judge says of a trade, its records spoilt afterwards."""
    with stage(7, symbols=tuple(QUOTES), latency=LATENCY_MS) as made:
        play = Play(made, "AAPL", 7)

        async def trade() -> None:
            await made.open(play.quote_all)
            await opened(play)
            play.move("165.10", "165.20")
            await made.until("it is over", lambda: play.is_over)
            await asyncio.sleep(1)
            await made.engine.stop()

        made.loop.run_until_complete(trade())
        spoil(made)
        return "\n".join(judge(made.exchange, made.engine, made.witness, made.documents).wrongs)


def _only(folder: Path) -> Path:
    (found,) = folder.rglob("*.json")
    return found


SPOILS: dict[str, tuple[Callable[[Stage], object], str]] = {
    "nothing": (lambda _: None, ""),
    "a lost receipt": (lambda made: _only(made.engine.intents / "receipts").unlink(), "no receipt"),
    "a lost document": (
        lambda made: _only(made.engine.intents / "archive").unlink(),
        "0 entries in the archive",
    ),
    "another document": (
        lambda made: _only(made.engine.intents / "archive").write_bytes(b"{}"),
        "another document is in the archive",
    ),
    "a document left lying": (
        lambda made: (made.engine.intents / "late.json").write_bytes(b"{}"),
        "left in the drop folder",
    ),
    "a lost execution": (lambda made: _delete(made, "fills"), "has no row"),
}


def _delete(made: Stage, table: str) -> None:
    import sqlite3
    from contextlib import closing as closed

    with closed(sqlite3.connect(made.engine.state / "hands.db")) as db, db:
        db.execute(f"DELETE FROM ledger_{table} WHERE number = 1")


@pytest.mark.parametrize("what", SPOILS)
def test_what_was_spoilt_is_seen(what: str) -> None:
    spoil, complaint = SPOILS[what]
    said = after_a_trade(lambda made: spoil(made) and None)
    assert complaint in said if complaint else not said, said


def test_a_limit_that_was_not_kept() -> None:
    """The engine's limits file says twice what the witness holds it against."""
    with stage(7, symbols=tuple(QUOTES), limits={"max_position_size": 0.2}) as made:
        made.witness.limits.max_position_size = 0.1
        play = Play(made, "AAPL", 7)

        async def trade() -> None:
            await made.open(play.quote_all)
            await opened(play)
            await made.engine.stop()

        made.loop.run_until_complete(trade())
        assert any("max_position_size exceeded" in wrong for wrong in made.witness.wrongs)


async def traded(made: Stage, number: int) -> None:
    """Make a trade that ends at its stop."""
    play = Play(made, "AAPL", number)
    play.quote_all()
    await asyncio.sleep(0.1)  # of the loop's time: the quote is on its way
    play.drop()
    await made.until("it is open", lambda: play.held)
    play.move("144.90", "144.92")
    await made.until("it is over", lambda: play.is_over)
    await made.until("it has its row", lambda: made.rows("trade_episodes") == len(made.documents))


@pytest.mark.parametrize("most", [1, 2])
def test_a_trade_too_many(most: int) -> None:
    """The engine may make two, and makes them; the witness grants so many."""
    with stage(7, symbols=tuple(QUOTES), limits={"max_daily_trades": 2}) as made:
        made.witness.limits.max_daily_trades = most

        async def trade() -> None:
            await made.open(Play(made, "AAPL", 7).quote_all)
            await traded(made, 7)
            await traded(made, 8)
            await made.engine.stop()

        made.loop.run_until_complete(trade())
        assert any("max_daily_trades exceeded" in wrong for wrong in made.witness.wrongs) is (most == 1)


def test_an_entry_that_ended_unfilled_is_no_trade_of_the_day() -> None:
    with stage(7, symbols=tuple(QUOTES), limits={"max_daily_trades": 1}, latency={"ack": 500}) as made:
        play = Play(made, "AAPL", 7)

        async def trade() -> None:
            await made.open(play.quote_all)
            intent_id = play.drop(ttl_seconds=2)
            await made.until("an order is there", lambda: made.exchange.orders)
            play.move("150.98", "151.00")  # away before it can fill

            def ended() -> bool:
                receipt = made.receipt(intent_id)
                return receipt is not None and receipt["state"] == "EXPIRED"

            await made.until("it has ended", ended)
            again = Play(made, "AAPL", 8)
            again.quote_all()
            await asyncio.sleep(0.1)
            again.drop()
            await made.until("the second is open", lambda: again.held)
            await made.engine.stop()

        made.loop.run_until_complete(trade())
        assert not made.witness.wrongs


def test_a_day_begins_at_the_roll(monkeypatch: pytest.MonkeyPatch) -> None:
    """One trade before it and one after: neither two trades a day nor one loss beside the other's risk."""
    before = int(datetime(2026, 1, 5, 21, 59, tzinfo=UTC).timestamp()) * NS_PER_S
    monkeypatch.setattr("tests.rig.stage.START_NS", before)
    limits = {"max_daily_trades": 1, "max_daily_loss": 0.006}
    with stage(7, symbols=tuple(QUOTES), limits=limits) as made:

        async def trade() -> None:
            await made.open(Play(made, "AAPL", 7).quote_all)
            await traded(made, 7)
            await asyncio.sleep(80)
            await traded(made, 8)
            await made.engine.stop()

        made.loop.run_until_complete(trade())
        assert not made.witness.wrongs


DAYS_LOSS = {"max_daily_loss": 0.006}
"""Of 100 000: room for one trade that ends at its stop, and for a part of another."""


@pytest.mark.parametrize("forgets", [False, True])
def test_a_loss_that_is_forgotten(monkeypatch: pytest.MonkeyPatch, *, forgets: bool) -> None:
    """The engine risks the whole day's loss once more, 3 s after it has lost more than half of it."""
    if forgets:
        monkeypatch.setattr(sizing, "_day_loss", lambda *_: 0)
    with stage(7, symbols=tuple(QUOTES), limits=DAYS_LOSS) as made:
        play = Play(made, "SOL/USD", 8)

        async def trade() -> None:
            await made.open(Play(made, "AAPL", 7).quote_all)
            await traded(made, 7)
            await asyncio.sleep(3)
            play.quote_all()
            await asyncio.sleep(0.1)
            await opened(play)
            await made.engine.stop()

        made.loop.run_until_complete(trade())
        assert play.held
        assert any("max_daily_loss exceeded" in wrong for wrong in made.witness.wrongs) is forgets


@pytest.mark.parametrize(("unseen_ns", "blamed"), [(0, True), (witness.UNSEEN_NS, False)])
def test_a_fall_that_the_engine_cannot_have_seen(
    monkeypatch: pytest.MonkeyPatch, unseen_ns: int, *, blamed: bool
) -> None:
    """While the entry is on the slow network's way, what is held falls through its stop."""
    monkeypatch.setattr(witness, "UNSEEN_NS", unseen_ns)
    with stage(7, symbols=tuple(QUOTES), limits=DAYS_LOSS) as made:
        share, coin = Play(made, "AAPL", 7), Play(made, "SOL/USD", 8)

        class Fall(Tap):
            def wrote(self, end: End, data: bytes) -> None:
                if b"POST /v2/orders" in data and b"SOL" in data:
                    made.network.tap = Tap()
                    made.loop.call_soon(share.move, "138.00", "138.02", context=Context())

        async def trade() -> None:
            await made.open(share.quote_all)
            await opened(share)
            made.network.tap = Fall()
            made.network.slow_until_s = made.loop.time() + 5
            coin.drop()
            await made.until(
                "the coin's order is there", lambda: made.witness.entries.keys() == made.documents.keys()
            )
            assert not share.held
            await made.engine.stop()

        made.loop.run_until_complete(trade())
        assert any("max_daily_loss exceeded" in wrong for wrong in made.witness.wrongs) is blamed


@pytest.mark.parametrize("blamed", [True, False])
def test_a_position_from_a_request_that_was_given_up(
    monkeypatch: pytest.MonkeyPatch, *, blamed: bool
) -> None:
    """Two requests lie at a slow exchange; the first, which it denied to know, is filled while the second still lies there."""
    if blamed:
        monkeypatch.setattr(Witness, "_received_ns", lambda self, name: self.exchange.now_ns)
    with stage(7, symbols=tuple(QUOTES), limits={"semantic_duplicate_s": 0}) as made:

        async def trade() -> None:
            plays = [Play(made, "AAPL", number) for number in (7, 8)]
            await made.open(plays[0].quote_all)
            for play in plays:
                slow = {
                    "on": "POST /v2/orders",
                    "do": "delay",
                    "delay_ms": 20_000,
                    "at": "request",
                    "times": 1,
                }
                made.exchange.faults(slow)
                play.quote_all()
                await asyncio.sleep(0.1)
                given_up = play.drop(ttl_seconds=2)
                if play is plays[0]:
                    await made.until("it is over", lambda name=given_up: is_over(made, name))
            await made.until("both are there", lambda: made.witness.entries.keys() == made.documents.keys())
            await made.engine.stop()

        made.loop.run_until_complete(trade())
        assert any("an entry in AAPL, of which" in wrong for wrong in made.witness.wrongs) is blamed


def is_over(made: Stage, intent_id: str) -> bool:
    """Whether the engine takes a document's business for over."""
    receipt = made.receipt(intent_id)
    return receipt is not None and receipt["state"] in {"EXPIRED", "CANCELED", "REJECTED", "CLOSED"}


def test_a_dead_process_does_nothing_any_more() -> None:
    """With a trade open and requests under way; then the next one finds everything as it was left."""
    with stage(7, symbols=tuple(QUOTES), latency=LATENCY_MS) as made:
        play = Play(made, "SOL/USD", 7)

        def everything() -> dict[str, bytes]:
            kept = (made.engine.state, made.engine.intents)
            return {str(p): p.read_bytes() for f in kept for p in f.rglob("*") if p.is_file()}

        async def die() -> None:
            await made.open(play.quote_all)
            play.drop()
            await made.until("an order is there", lambda: made.exchange.orders)
            made.engine.die()
            left, count = everything(), len(made.exchange.floor.requests)
            await asyncio.sleep(60)
            assert everything() == left
            assert len(made.exchange.floor.requests) - count <= 3  # what was on the wire still arrives
            await made.start()
            await made.until("it is protected", lambda: play.is_covered)
            await made.engine.stop()

        made.loop.run_until_complete(die())
