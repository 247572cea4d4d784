from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from hands.core.units import NANO, NS_PER_MS, NS_PER_S, Ns, Price, Qty
from hands.sim.market.files import FileError
from hands.sim.market.tape import BATCH_ROWS_MAX, MarketShape, Tape, TapeError, tape_from_config
from hands.sim.venue.ticks import Cancellation, Correction, MarketEvent, PriceBand, Quote, Status, Tick, Trade

NOW_NS = 1_800_000_000 * NS_PER_S
THEN_NS = 1_381_219_200 * NS_PER_S


class FakeClock:
    """A clock that only sleeping moves; what `cost_ns` says passes at every look."""

    def __init__(self, cost_ns: int = 0) -> None:
        self.now = NOW_NS
        self.cost_ns = cost_ns
        self.turns = 0

    def now_ns(self) -> int:
        self.now += self.cost_ns
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.turns += 1
        self.now += round(seconds * NS_PER_S)


def trade(t_ns: int, number: int = 1) -> Trade:
    return Trade("AAPL", Price(150 * NANO), Qty(NANO), Ns(t_ns), number)


def quote(t_ns: int) -> Quote:
    return Quote("AAPL", Price(150 * NANO), Price(151 * NANO), Qty(NANO), Qty(NANO), Ns(t_ns))


def play(
    rows: Sequence[Tick], speed: float = 1.0, clock: FakeClock | None = None
) -> list[tuple[int, list[Tick]]]:
    """Return (when, ticks) of every emission."""
    clock = clock or FakeClock()
    out: list[tuple[int, list[Tick]]] = []
    tape = Tape([(row.t_ns, [row]) for row in rows], clock.now_ns, speed, clock.sleep)
    asyncio.run(tape.run(lambda ticks: out.append((clock.now, list(ticks)))))
    return out


def test_the_first_row_is_now_and_the_others_keep_their_distance() -> None:
    rows = [trade(THEN_NS), quote(THEN_NS + 2 * NS_PER_S), trade(THEN_NS + 5 * NS_PER_S)]
    out = play(rows)
    assert [when - NOW_NS for when, _ in out] == [0, 2 * NS_PER_S, 5 * NS_PER_S]
    assert [tick.t_ns for _, ticks in out for tick in ticks] == [when for when, _ in out]
    assert out[1][1] == [quote(NOW_NS + 2 * NS_PER_S)]


def test_speed_divides_the_spacing_and_the_times_in_the_ticks() -> None:
    out = play([trade(THEN_NS), trade(THEN_NS + 10 * NS_PER_S)], speed=100)
    assert out[1] == (NOW_NS + 100 * NS_PER_MS, [trade(NOW_NS + 100 * NS_PER_MS)])


def test_rows_due_within_the_same_millisecond_leave_together() -> None:
    rows = [trade(THEN_NS), trade(THEN_NS + 900_000), trade(THEN_NS + 1_100_000)]
    assert [len(ticks) for _, ticks in play(rows)] == [2, 1]


def test_a_tape_that_is_behind_catches_up_in_bounded_batches_with_turns_for_the_loop() -> None:
    clock = FakeClock(cost_ns=NS_PER_S)  # every look at the clock costs a second: hopelessly behind
    rows = [trade(THEN_NS + n * NS_PER_MS * 2, n) for n in range(1000)]
    out = play(rows, clock=clock)
    assert [len(ticks) for _, ticks in out] == [BATCH_ROWS_MAX] * 3 + [1000 - 3 * BATCH_ROWS_MAX]
    assert clock.turns == len(out)
    assert [tick.trade_id for _, ticks in out for tick in ticks if isinstance(tick, Trade)] == list(
        range(1000)
    )


def test_nothing_is_emitted_before_it_is_due() -> None:
    rows = [trade(THEN_NS + n * 777_777) for n in range(500)]
    for when, ticks in play(rows):
        assert all(tick.t_ns < when + NS_PER_MS for tick in ticks)
        assert ticks[0].t_ns <= when


def test_a_late_print_keeps_its_own_earlier_time() -> None:
    clock = FakeClock()
    out: list[Tick] = []
    batches = [(THEN_NS, [trade(THEN_NS)]), (THEN_NS + NS_PER_S, [trade(THEN_NS + NS_PER_MS)])]
    asyncio.run(Tape(batches, clock.now_ns, 1, clock.sleep).run(out.extend))
    assert [tick.t_ns - NOW_NS for tick in out] == [0, NS_PER_MS]
    assert clock.now == NOW_NS + NS_PER_S


def test_a_manual_tape_never_emits_and_returns() -> None:
    out: list[Tick] = []
    asyncio.run(tape_from_config(["manual"], ["AAPL"], 1, 1.0, lambda: NOW_NS).run(out.extend))
    assert out == []


def test_a_synthetic_tape_starts_now_with_a_quote_of_every_symbol() -> None:
    async def first() -> list[Tick]:
        got: asyncio.Future[list[Tick]] = asyncio.get_running_loop().create_future()

        def emit(ticks: Sequence[Tick]) -> None:
            if not got.done():
                got.set_result(list(ticks))

        tape = tape_from_config(["synthetic"], ["AAPL", "BTC/USD"], 1, 1.0, lambda: NOW_NS)
        running = asyncio.create_task(tape.run(emit))
        ticks = await asyncio.wait_for(got, 10)
        running.cancel()
        return ticks

    ticks = asyncio.run(first())
    assert [(tick.symbol, tick.t_ns) for tick in ticks[:2]] == [("AAPL", NOW_NS), ("BTC/USD", NOW_NS)]


def test_files_are_played_by_their_paths(tmp_path: Path) -> None:
    file = tmp_path / "AAPL.jsonl"
    file.write_text('{"T":"t","p":150.5,"s":10,"t":"2024-01-02T15:00:00Z"}\n')
    out: list[Tick] = []
    asyncio.run(tape_from_config([str(file)], [], 1, 1.0, lambda: NOW_NS).run(out.extend))
    assert [(tick.symbol, tick.t_ns) for tick in out] == [("AAPL", NOW_NS)]


@pytest.mark.parametrize("tape", [[], ["synthetic", "manual"], ["manual", "x.csv"]])
def test_impossible_tapes_are_refused(tape: list[str]) -> None:
    with pytest.raises(TapeError):
        tape_from_config(tape, ["AAPL"], 1, 1.0, lambda: NOW_NS)


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_that_is_not_above_zero_is_refused(speed: float) -> None:
    with pytest.raises(TapeError, match="above 0"):
        tape_from_config(["manual"], ["AAPL"], 1, speed, lambda: NOW_NS)


def test_an_absent_file_is_refused_at_once() -> None:
    with pytest.raises(FileError, match="no such file"):
        tape_from_config(["nowhere.csv"], [], 1, 1.0, lambda: NOW_NS)


def test_a_tape_can_be_played_by_hand_to_the_same_ticks_and_no_further() -> None:
    clock = FakeClock()
    rows = [trade(THEN_NS), quote(THEN_NS + 10), trade(THEN_NS + 2 * NS_PER_S, 2)]
    tape = Tape([(row.t_ns, [row]) for row in rows], clock.now_ns, speed=2)
    out: list[MarketEvent] = []
    assert tape.next_due_ns == NOW_NS
    tape.play_until(NOW_NS, out.extend)
    assert (out, tape.next_due_ns) == ([trade(NOW_NS)], NOW_NS + 5)
    tape.play_until(NOW_NS + NS_PER_S - 1, out.extend)
    assert (out[1:], tape.next_due_ns) == ([quote(NOW_NS + 5)], NOW_NS + NS_PER_S)
    tape.play_until(NOW_NS + NS_PER_S, out.extend)
    assert (out[2:], tape.next_due_ns) == ([trade(NOW_NS + NS_PER_S, 2)], None)


def test_notices_are_retimed_with_the_prints_they_are_about() -> None:
    at, later = THEN_NS, THEN_NS + 10 * NS_PER_S
    events: list[MarketEvent] = [
        trade(at),
        Correction("AAPL", trade(at), trade(at, 2), Ns(later)),
        Cancellation("AAPL", trade(at, 2), Ns(later)),
        Status("AAPL", "H", "Trading Halt", "", "", Ns(later)),
        PriceBand("AAPL", Price(2), Price(1), "B", Ns(later)),
    ]
    out: list[MarketEvent] = []
    tape = Tape([(event.t_ns, [event]) for event in events], FakeClock().now_ns, speed=10)
    tape.play_until(NOW_NS + NS_PER_S, out.extend)
    assert [event.t_ns - NOW_NS for event in out] == [0] + [NS_PER_S] * 4
    _, correction, cancellation, status, band = out
    assert isinstance(correction, Correction)
    assert (correction.original, correction.corrected) == (trade(NOW_NS), trade(NOW_NS, 2))
    assert isinstance(cancellation, Cancellation)
    assert cancellation.trade == trade(NOW_NS, 2)
    assert isinstance(status, Status)
    assert isinstance(band, PriceBand)


def test_the_made_up_market_has_the_shape_asked_for() -> None:
    def events_of_20_s(shape: MarketShape) -> int:
        out: list[MarketEvent] = []
        tape_from_config(["synthetic"], ["AAPL"], 1, 1.0, lambda: NOW_NS, shape).play_until(
            NOW_NS + 20 * NS_PER_S, out.extend
        )
        return len(out)

    assert events_of_20_s(MarketShape()) == events_of_20_s(MarketShape(events_per_s=14))
    assert events_of_20_s(MarketShape(events_per_s=140)) > 5 * events_of_20_s(MarketShape())
    with pytest.raises(ValueError, match="regime 'wild'"):
        tape_from_config(["synthetic"], ["AAPL"], 1, 1.0, lambda: NOW_NS, MarketShape(regime="wild"))


def unreadable_after(*rows: Tick):
    for row in rows:
        yield row.t_ns, [row]
    raise FileError("bad.csv:3: unreadable")


def test_an_unreadable_row_is_told_once_those_before_it_were_played_and_ever_after() -> None:
    clock = FakeClock()
    tape = Tape(unreadable_after(trade(THEN_NS)), clock.now_ns)
    out: list[MarketEvent] = []
    for _ in range(2):
        with pytest.raises(FileError, match="unreadable"):
            tape.play_until(NOW_NS + NS_PER_S, out.extend)
        assert len(out) == 1
